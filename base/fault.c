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

/* Each thread draws from the seed and the process id, so that a restarted process dies at another pass. */
void fault_point(const char *name)
{
    static _Thread_local struct rng rng;
    static _Thread_local bool ready;
    struct kill_order order;
    if (!kill_order_read(&order) || strcmp(order.name, name) != 0) return;
    if (!ready) {
        rng_init(&rng, order.seed ^ ((unsigned long long)getpid() << 20));
        ready = true;
    }
    if (rng_unit(&rng) < order.probability) (void)kill(getpid(), SIGKILL);
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
