/* Fail-points and planted bugs; empty but in builds for the fault tests. */
#include "base/fault.h"

#ifdef FRESHET_FAULTS

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/rng.h"
#include "base/sync.h"

struct kill_order {
    char name[64];
    double probability;
    unsigned long long seed;
};

/* FRESHET_KILL_AT, read at each pass: fault builds may be slow. */
static bool kill_order_read(struct kill_order *order)
{
    const char *text = getenv("FRESHET_KILL_AT");
    if (!text) return false;
    return sscanf(text, "%63[^:]:%lf:%llu", order->name, &order->probability, &order->seed) == 3;
}

/* Whether this pass of the point is the one. Each thread draws from the seed and the process id, so that a restarted process dies
 * at another pass. delay_us: random, for fault_point_within. */
static bool is_chosen(const char *name, long *delay_us)
{
    static _Thread_local struct rng rng;
    static _Thread_local bool ready;
    struct kill_order order;
    if (!kill_order_read(&order) || strcmp(order.name, name) != 0) return false;
    if (!ready) {
        rng_init(&rng, order.seed ^ ((unsigned long long)getpid() << 20));
        ready = true;
    }
    *delay_us = (long)rng_below(&rng, 500);
    return rng_unit(&rng) < order.probability;
}

void fault_point(const char *name)
{
    long delay_us;
    if (is_chosen(name, &delay_us)) (void)kill(getpid(), SIGKILL);
}

static void kill_later(void *context)
{
    const long *delay_us = context;
    struct timespec wait = {.tv_nsec = *delay_us * 1000};
    (void)nanosleep(&wait, NULL);
    (void)kill(getpid(), SIGKILL);
}

void fault_point_within(const char *name)
{
    static struct thread thread;
    static long delay_us;
    struct err err = ERR_INIT;
    if (!is_chosen(name, &delay_us)) return;
    if (!thread_start(&thread, "kill", kill_later, &delay_us, &err)) (void)kill(getpid(), SIGKILL);
}

bool fault_mutant(const char *name)
{
    const char *chosen = getenv("FRESHET_MUTANT");
    return chosen && strcmp(chosen, name) == 0;
}

#else
/* ISO C wants a file to hold something. */
typedef int fault_is_off;
#endif
