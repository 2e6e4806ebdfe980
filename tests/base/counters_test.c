/* Counting by several threads, quantiles against the sorted values, and the text of /metrics line by line. */
#include "base/counters.h"

#include "base/rng.h"
#include "base/sync.h"
#include "tests/test.h"

enum { EVENTS, DROPPED, CACHE, LATENCY, SPECS };
static const char *const reasons[] = {"empty", "a \"b\""};
static const struct counter_spec specs[SPECS] = {
    [EVENTS] = {"freshet_events_total", "Events applied.", COUNTER_TOTAL, NULL, NULL, 0},
    [DROPPED] = {"freshet_dropped_total", "Dropped.", COUNTER_TOTAL, "reason", reasons, 2},
    [CACHE] = {"freshet_cache_bytes", "Cached.", COUNTER_GAUGE, NULL, NULL, 0},
    [LATENCY] = {"freshet_list_seconds", "Took.", COUNTER_LATENCY, NULL, NULL, 0},
};

enum { THREADS = 3, ROUNDS = 100000 };

static void count(void *context)
{
    struct counters_slot *slot = context;
    for (int i = 0; i < ROUNDS; i++) {
        counters_add(slot, EVENTS, 0, 1);
        if (i % 10 == 0) counters_add(slot, DROPPED, i % 20 == 0, 1);
        counters_observe(slot, LATENCY, 0, i % 100);
    }
    counters_set(slot, CACHE, 0, 7);
}

/* Nothing is lost, and a reader meanwhile never sees a sum go back. */
static void test_threads(void)
{
    struct counters *counters = counters_new(specs, SPECS, THREADS);
    struct thread threads[THREADS];
    struct err err = ERR_INIT;
    for (int i = 0; i < THREADS; i++) {
        CHECK_OK(thread_start(&threads[i], "count", count, counters_slot(counters, i), &err), err);
    }
    int64_t before = 0;
    while (before < THREADS * ROUNDS) {
        int64_t now = counters_get(counters, EVENTS, 0);
        CHECK(now >= before);
        before = now;
    }
    for (int i = 0; i < THREADS; i++)
        thread_join(&threads[i]);
    CHECK_INT(counters_get(counters, DROPPED, 0), THREADS * ROUNDS / 20);
    CHECK_INT(counters_get(counters, DROPPED, 1), THREADS * ROUNDS / 20);
    CHECK_INT(counters_get(counters, CACHE, 0), THREADS * 7);
    CHECK_INT(counters_get(counters, LATENCY, 0), THREADS * ROUNDS);
    counters_free(counters);
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* A quantile is never too small, and at most 1/16 too large. */
static void test_quantiles(void)
{
    enum { N = 5000 };
    static int64_t values[N];
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    for (int round = 0; round < 5; round++) {
        struct counters *counters = counters_new(specs, SPECS, 2);
        CHECK_INT(counters_quantile(counters, LATENCY, 0, 0.5), 0);
        for (int i = 0; i < N; i++) {
            values[i] = (int64_t)exp(rng_unit(&rng) * 5 * (round + 1));
            if (values[i] >= INT64_C(1) << 36) values[i] = (INT64_C(1) << 36) - 1;
            counters_observe(counters_slot(counters, i % 2), LATENCY, 0, values[i]);
        }
        qsort(values, N, sizeof(values[0]), ascending);
        static const double q[] = {0, 0.5, 0.9, 0.99, 1};
        for (int i = 0; i < 5; i++) {
            int at = (int)ceil(q[i] * N) - 1;
            int64_t want = values[at < 0 ? 0 : at];
            int64_t got = counters_quantile(counters, LATENCY, 0, q[i]);
            CHECK(got >= want);
            CHECK(got <= want + want / 16);
        }
        counters_free(counters);
    }
}

static void test_extremes(void)
{
    struct counters *counters = counters_new(specs, SPECS, 1);
    counters_observe(counters_slot(counters, 0), LATENCY, 0, -5);
    CHECK_INT(counters_quantile(counters, LATENCY, 0, 1), 0);
    counters_observe(counters_slot(counters, 0), LATENCY, 0, INT64_MAX / 4);
    CHECK_INT(counters_quantile(counters, LATENCY, 0, 1), (INT64_C(1) << 36) - 1);
    counters_free(counters);
}

static void test_text(void)
{
    struct counters *counters = counters_new(specs, SPECS, 1);
    struct counters_slot *slot = counters_slot(counters, 0);
    counters_add(slot, EVENTS, 0, 3);
    counters_add(slot, DROPPED, 1, 2);
    counters_set(slot, CACHE, 0, 4096);
    counters_observe(slot, LATENCY, 0, 63);
    counters_observe(slot, LATENCY, 0, 64);
    counters_observe(slot, LATENCY, 0, 100000000);
    struct buf text;
    buf_init(&text, 1 << 16);
    counters_render(counters, &text);
    buf_push_byte(&text, 0);
    const char *have = (const char *)text.data;
    CHECK_CONTAINS(have, "# HELP freshet_events_total Events applied.\n"
                         "# TYPE freshet_events_total counter\nfreshet_events_total 3\n");
    CHECK_CONTAINS(have, "freshet_dropped_total{reason=\"empty\"} 0\n"
                         "freshet_dropped_total{reason=\"a \\\"b\\\"\"} 2\n");
    CHECK_CONTAINS(have, "# TYPE freshet_cache_bytes gauge\nfreshet_cache_bytes 4096\n");
    CHECK_CONTAINS(have, "# TYPE freshet_list_seconds histogram\n");
    CHECK_CONTAINS(have, "freshet_list_seconds_bucket{le=\"0.000064\"} 1\n");
    CHECK_CONTAINS(have, "freshet_list_seconds_bucket{le=\"0.000128\"} 2\n");
    CHECK_CONTAINS(have, "freshet_list_seconds_bucket{le=\"67.108864\"} 2\n");
    CHECK_CONTAINS(have, "freshet_list_seconds_bucket{le=\"+Inf\"} 3\n"
                         "freshet_list_seconds_sum 100.000127\nfreshet_list_seconds_count 3\n");
    buf_fini(&text);
    counters_free(counters);
}

int main(void)
{
    CASE(test_threads);
    CASE(test_quantiles);
    CASE(test_extremes);
    CASE(test_text);
    return 0;
}
