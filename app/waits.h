#ifndef APP_WAITS_H
#define APP_WAITS_H

#include <stdint.h>

#include "app/metrics.h"
#include "base/mem.h"

/* With exactly_once_v2 a list is there for its readers when its transaction is committed, so its latency (METRIC_EVENT_TO_LIST) ends
 * there. Times of events whose lists wait for that: as many as lists in an epoch, which its memory bounds. Zero-initialised is
 * empty. Thread: the shard's. */
struct waits {
    int64_t *since_ms; /* (n) */
    int n, cap;
};

enum { WAITS_FIRST = 1024 };

static inline void waits_add(struct waits *waits, int64_t since_ms)
{
    if (waits->n == waits->cap) {
        waits->cap = waits->cap ? 2 * waits->cap : WAITS_FIRST;
        waits->since_ms =
            mem_realloc(waits->since_ms, (size_t)waits->cap * sizeof *waits->since_ms);
    }
    waits->since_ms[waits->n++] = since_ms;
}

/* `to` is empty before, `from` after it. */
static inline void waits_move(struct waits *to, struct waits *from)
{
    struct waits empty = *to;
    *to = *from;
    *from = empty;
    from->n = 0;
}

static inline void waits_end(struct waits *waits, struct counters_slot *counters, int64_t now_ms)
{
    for (int i = 0; i < waits->n; i++)
        counters_observe(counters, METRIC_EVENT_TO_LIST, 0, (now_ms - waits->since_ms[i]) * 1000);
    waits->n = 0;
}

static inline void waits_fini(struct waits *waits)
{
    mem_free(waits->since_ms);
}

#endif
