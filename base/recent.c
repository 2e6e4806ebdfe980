/* A window over counters, from copies taken at intervals. */
#include "base/recent.h"

#include <assert.h>

#include "base/mem.h"

struct copy {
    struct counters *counters;
    int64_t time_ms;
};

struct recent {
    const struct counters *counters;
    struct counters *since;
    struct copy *copies; /* (n_max), a ring: (n) of them are taken */
    int n_max, n, oldest;
    int64_t every_ms;
    double seconds;
};

static void copy_take(struct recent *recent, int64_t now_ms)
{
    if (recent->n == recent->n_max)
        recent->oldest = (recent->oldest + 1) % recent->n_max;
    else
        recent->n++;
    struct copy *newest = &recent->copies[(recent->oldest + recent->n - 1) % recent->n_max];
    counters_copy(newest->counters, recent->counters);
    newest->time_ms = now_ms;
}

struct recent *recent_new(const struct counters *counters, int n_copies, int64_t every_ms,
                          int64_t now_ms)
{
    struct recent *recent = mem_zalloc(sizeof *recent);
    assert(n_copies > 0 && every_ms > 0);
    recent->counters = counters;
    recent->since = counters_like(counters);
    recent->copies = mem_zalloc((size_t)n_copies * sizeof *recent->copies);
    recent->n_max = n_copies;
    recent->every_ms = every_ms;
    for (int i = 0; i < n_copies; i++)
        recent->copies[i].counters = counters_like(counters);
    copy_take(recent, now_ms);
    return recent;
}

void recent_free(struct recent *recent)
{
    if (!recent) return;
    for (int i = 0; i < recent->n_max; i++)
        counters_free(recent->copies[i].counters);
    counters_free(recent->since);
    mem_free(recent->copies);
    mem_free(recent);
}

const struct counters *recent_take(struct recent *recent, int64_t now_ms)
{
    const struct copy *newest = &recent->copies[(recent->oldest + recent->n - 1) % recent->n_max];
    const struct copy *base = &recent->copies[recent->oldest];
    counters_copy(recent->since, recent->counters);
    counters_subtract(recent->since, base->counters);
    recent->seconds = (double)(now_ms - base->time_ms) / 1000.0;
    /* After the window is made: a copy that takes the oldest one's place shortens the next window, not this one. */
    if (now_ms - newest->time_ms >= recent->every_ms) copy_take(recent, now_ms);
    return recent->since;
}

double recent_seconds(const struct recent *recent)
{
    return recent->seconds;
}
