/* Purges, one behind the other. */
#include "app/purger.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sync.h"

enum { STEP_MS = 50, PAUSE_MS = 500, PAUSE_TIMES = 9 };

struct purger {
    struct state *state;
    struct thread thread;
    struct flag stop;
    struct sync_int count;
};

/* Returns how long it took, ms. A full disk is tried again at the next turn. */
static int64_t turn(struct purger *purger)
{
    struct err err = ERR_INIT;
    uint64_t since = clock_mono_ns();
    int n;
    if (!state_purge(purger->state, &n, &err)) log_err(LOG_WARN, "state", &err);
    int64_t took_ms = (int64_t)((clock_mono_ns() - since) / 1000000);
    if (n > 0)
        log_info("state", "erased users have left the store's files", "users=%d ms=%lld", n,
                 (long long)took_ms);
    (void)sync_int_add(&purger->count, n);
    return took_ms;
}

static void run(void *context)
{
    struct purger *purger = context;
    while (!flag_is_raised(&purger->stop)) {
        int64_t pause_ms = turn(purger) * PAUSE_TIMES;
        if (pause_ms < PAUSE_MS) pause_ms = PAUSE_MS;
        for (; pause_ms > 0 && !flag_is_raised(&purger->stop); pause_ms -= STEP_MS)
            sync_sleep_ms(STEP_MS);
    }
}

bool purger_start(struct purger **out, struct state *state, struct err *err)
{
    struct purger *purger = mem_zalloc(sizeof *purger);
    purger->state = state;
    if (!thread_start(&purger->thread, "purger", run, purger, err)) {
        mem_free(purger);
        return false;
    }
    *out = purger;
    return true;
}

int64_t purger_count(const struct purger *purger)
{
    return sync_int_get(&purger->count);
}

void purger_stop(struct purger *purger)
{
    if (!purger) return;
    flag_raise(&purger->stop);
    thread_join(&purger->thread);
    (void)turn(purger);
    mem_free(purger);
}
