/* Windows over counters. */
#include "base/recent.h"

#include "base/rng.h"
#include "tests/test.h"

enum { EVENTS, LATENCY, LEVEL, SPECS };

#define NONE                                                                                       \
    {                                                                                              \
        {                                                                                          \
            NULL, NULL, 0                                                                          \
        }                                                                                          \
    }
static const struct counter_spec specs[SPECS] = {
    [EVENTS] = {"events_total", "Events.", COUNTER_TOTAL, NONE, 0},
    [LATENCY] = {"latency_seconds", "Latency.", COUNTER_LATENCY, NONE, 0},
    [LEVEL] = {"level", "Level.", COUNTER_GAUGE, NONE, 0},
};

/* Of 10 copies a second: what is older than 10 s is not in it, what is younger is. */
static void old_counts_leave(void)
{
    struct counters *counters = counters_new(specs, SPECS, 2);
    struct counters_slot *slot = counters_slot(counters, 0), *other = counters_slot(counters, 1);
    struct recent *recent = recent_new(counters, 10, 1000, 5000);
    counters_observe(slot, LATENCY, 0, 9000000); /* slow, in the first second */
    counters_add(slot, EVENTS, 0, 7);
    counters_set(slot, LEVEL, 0, 3);
    const struct counters *since = recent_take(recent, 5500);
    CHECK_INT(counters_get(since, EVENTS, 0), 7);
    CHECK_INT(counters_get(since, LEVEL, 0), 3);
    CHECK(counters_quantile(since, LATENCY, 0, 0.99) >= 9000000);
    CHECK_NEAR(recent_seconds(recent), 0.5, 1e-9);
    for (int64_t ms = 6000; ms <= 15000; ms += 1000) {
        counters_observe(other, LATENCY, 0, 10);
        since = recent_take(recent, ms);
        CHECK_INT(counters_quantile(since, LATENCY, 0, 0.99) >= 9000000, true);
    }
    since = recent_take(recent, 16000);
    CHECK_INT(counters_quantile(since, LATENCY, 0, 0.99), 10);
    CHECK_INT(counters_get(since, LATENCY, 0), 9);
    CHECK_INT(counters_get(since, EVENTS, 0), 0);
    CHECK_INT(counters_get(since, LEVEL, 0), 3);
    recent_free(recent);
    counters_free(counters);
}

/* Against a log of all that was counted. */
static void windows_are_those_of_a_log(void)
{
    enum { STEPS = 2000, COPIES = 5, EVERY = 100 };
    static int64_t at[STEPS];
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    struct counters *counters = counters_new(specs, SPECS, 1);
    struct recent *recent = recent_new(counters, COPIES, EVERY, 0);
    int64_t now = 0;
    for (int i = 0; i < STEPS; i++) {
        now += (int64_t)rng_below(&rng, 60);
        at[i] = now;
        counters_add(counters_slot(counters, 0), EVENTS, 0, 1);
        int64_t have = counters_get(recent_take(recent, now), EVENTS, 0);
        int64_t from = now - (int64_t)(recent_seconds(recent) * 1000 + 0.5), want = 0;
        for (int j = 0; j <= i; j++)
            want += at[j] > from;
        int64_t before = 0; /* of the same moment as the copy: it may hold some of them */
        for (int j = 0; j <= i; j++)
            before += at[j] == from;
        CHECK(have >= want && have <= want + before);
        CHECK(now < COPIES * EVERY || now - from >= (COPIES - 1) * EVERY);
        CHECK(now - from <= COPIES * (EVERY + 60));
    }
    recent_free(recent);
    counters_free(counters);
}

int main(void)
{
    CASE(old_counts_leave);
    CASE(windows_are_those_of_a_log);
    return 0;
}
