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

struct order {
    char name[64];
    double probability;
    unsigned long long seed;
};

/* A variable of the environment, read at each pass: fault builds may be slow. */
static bool order_read(const char *variable, struct order *order)
{
    const char *text = getenv(variable);
    if (!text) return false;
    return sscanf(text, "%63[^:]:%lf:%llu", order->name, &order->probability, &order->seed) == 3;
}

/* Whether this pass of the point is the one. Each thread draws from the seed and the process id, so that a restarted process dies
 * at another pass. delay_us: random, below most_us. */
static bool is_chosen(const char *variable, const char *name, int most_us, long *delay_us)
{
    static _Thread_local struct rng rng;
    static _Thread_local bool ready;
    struct order order;
    if (!order_read(variable, &order) || strcmp(order.name, name) != 0) return false;
    if (!ready) {
        static struct sync_int threads;
        unsigned long long number = (unsigned long long)sync_int_add(&threads, 1);
        rng_init(&rng, order.seed ^ ((unsigned long long)getpid() << 20) ^ (number << 50));
        ready = true;
    }
    *delay_us = (long)rng_below(&rng, (uint64_t)most_us);
    return rng_unit(&rng) < order.probability;
}

static void stop(const char *name)
{
    const char *text = getenv("FRESHET_STOP_AT");
    size_t len = strlen(name);
    if (text && strncmp(text, name, len) == 0 && text[len] == ':' && unlink(text + len + 1) == 0)
        (void)kill(getpid(), SIGSTOP);
}

void fault_point(const char *name)
{
    long delay_us;
    stop(name);
    if (is_chosen("FRESHET_KILL_AT", name, 1, &delay_us)) (void)kill(getpid(), SIGKILL);
}

static void kill_later(void *context)
{
    const long *delay_us = context;
    struct timespec wait = {.tv_nsec = *delay_us * 1000};
    (void)nanosleep(&wait, NULL);
    (void)kill(getpid(), SIGKILL);
}

void fault_point_within(const char *name, int most_us)
{
    static struct thread thread;
    static long delay_us;
    struct err err = ERR_INIT;
    if (!is_chosen("FRESHET_KILL_AT", name, most_us, &delay_us)) return;
    if (!thread_start(&thread, "kill", kill_later, &delay_us, &err)) (void)kill(getpid(), SIGKILL);
}

bool fault_fails(const char *name)
{
    long ignored;
    return is_chosen("FRESHET_FAIL_AT", name, 1, &ignored);
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
