/* Counting by several threads, quantiles against the sorted values, and the text of /metrics line by line. */
#include "base/counters.h"

#include "base/rng.h"
#include "base/sync.h"
#include "tests/test.h"

enum { EVENTS, DROPPED, CACHE, LATENCY, HITS, BUSY, FIRST, LAST, SPECS };

static const char *reason_value(int i)
{
    static const char *const values[] = {"empty", "a \"b\"\n\\c", NULL};
    return values[i];
}

static const char *arm_value(int i)
{
    static const char *const values[] = {"list", "popular", "new"};
    return values[i];
}

static const struct counter_spec specs[SPECS] = {
    [EVENTS] = {.name = "freshet_events_total", .help = "Events applied.", .type = COUNTER_TOTAL},
    [DROPPED] = {.name = "freshet_dropped_total",
                 .help = "Dropped.",
                 .type = COUNTER_TOTAL,
                 .labels = {{"reason", reason_value, 3}}}, /* the third is not shown */
    [CACHE] = {.name = "freshet_cache_bytes", .help = "Cached.", .type = COUNTER_GAUGE},
    [LATENCY] = {.name = "freshet_list_seconds", .help = "Took.", .type = COUNTER_LATENCY},
    [HITS] = {.name = "freshet_hits_total",
              .help = "Said \"so\",\n\\.",
              .type = COUNTER_TOTAL,
              .labels = {{"reason", reason_value, 2}, {"arm", arm_value, 3}}},
    [BUSY] = {.name = "freshet_busy_seconds_total",
              .help = "Busy.",
              .type = COUNTER_TOTAL,
              .unit = 1e-9},
    [FIRST] = {.name = "freshet_first_timestamp_seconds",
               .help = "First.",
               .type = COUNTER_EARLIEST,
               .unit = 1e-3},
    [LAST] = {.name = "freshet_last_timestamp_seconds",
              .help = "Last.",
              .type = COUNTER_LATEST,
              .unit = 1e-3},
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
                         "freshet_dropped_total{reason=\"a \\\"b\\\"\\n\\\\c\"} 2\n");
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

/* Two labels, a unit, and moments. */
static void test_units_and_labels(void)
{
    struct counters *counters = counters_new(specs, SPECS, 2);
    struct counters_slot *slot = counters_slot(counters, 0), *other = counters_slot(counters, 1);
    counters_add(slot, HITS, 0 * 3 + 2, 5);
    counters_add(other, HITS, 1 * 3 + 0, 6);
    counters_add(slot, BUSY, 0, 1234567890123);
    CHECK_INT(counters_sum(counters, HITS), 11);
    CHECK_NEAR(counters_value(counters, BUSY, 0), 1234.567890123, 1e-9);
    CHECK_INT(counters_get(counters, FIRST, 0), 0);
    counters_set(other, FIRST, 0, 1700000000123);
    counters_set(other, LAST, 0, 1700000000123);
    CHECK_INT(counters_get(counters, FIRST, 0), 1700000000123);
    counters_set(slot, FIRST, 0, 1700000000045);
    counters_set(slot, LAST, 0, 1700000000045);
    struct buf text;
    buf_init(&text, 1 << 16);
    counters_render(counters, &text);
    buf_push_byte(&text, 0);
    const char *have = (const char *)text.data;
    CHECK_CONTAINS(have, "# HELP freshet_hits_total Said \"so\",\\n\\\\.\n# TYPE");
    CHECK_CONTAINS(have, "freshet_hits_total{reason=\"empty\",arm=\"new\"} 5\n"
                         "freshet_hits_total{reason=\"a \\\"b\\\"\\n\\\\c\",arm=\"list\"} 6\n");
    CHECK_CONTAINS(have, "freshet_busy_seconds_total 1234.567890123\n");
    CHECK_CONTAINS(have, "# TYPE freshet_first_timestamp_seconds gauge\n"
                         "freshet_first_timestamp_seconds 1700000000.045\n");
    CHECK_CONTAINS(have, "freshet_last_timestamp_seconds 1700000000.123\n");
    buf_fini(&text);
    counters_free(counters);
}

/* What was counted between two copies. */
static void test_copies(void)
{
    struct counters *counters = counters_new(specs, SPECS, 2);
    struct counters *before = counters_new(specs, SPECS, 1), *since = counters_new(specs, SPECS, 1);
    struct counters_slot *slot = counters_slot(counters, 0), *other = counters_slot(counters, 1);
    counters_add(slot, EVENTS, 0, 3);
    counters_observe(slot, LATENCY, 0, 1000000);
    counters_set(slot, CACHE, 0, 10);
    counters_set(other, LAST, 0, 8);
    counters_copy(before, counters);
    counters_add(other, EVENTS, 0, 4);
    counters_add(other, HITS, 5, 2);
    counters_observe(other, LATENCY, 0, 10);
    counters_set(other, CACHE, 0, 5);
    counters_set(slot, LAST, 0, 9);
    counters_copy(since, counters);
    CHECK_INT(counters_get(since, EVENTS, 0), 7);
    CHECK_INT(counters_quantile(since, LATENCY, 0, 0), 10);
    CHECK(counters_quantile(since, LATENCY, 0, 1) >= 1000000);
    counters_subtract(since, before);
    CHECK_INT(counters_get(since, EVENTS, 0), 4);
    CHECK_INT(counters_get(since, HITS, 5), 2);
    CHECK_INT(counters_get(since, LATENCY, 0), 1);
    CHECK_INT(counters_quantile(since, LATENCY, 0, 1), 10);
    CHECK_INT(counters_get(since, CACHE, 0), 15);
    CHECK_INT(counters_get(since, LAST, 0), 9);
    CHECK_INT(counters_get(before, EVENTS, 0), 3);
    counters_free(counters);
    counters_free(before);
    counters_free(since);
}

/* EVENTS is counted last: who sees it sees the round's DROPPED and BUSY, on processors that reorder too. */
static void count_rounds(void *context)
{
    struct counters_slot *slot = context;
    for (int i = 0; i < ROUNDS; i++) {
        counters_add(slot, BUSY, 0, 1);
        counters_add(slot, DROPPED, 0, 1);
        counters_add(slot, EVENTS, 0, 1);
    }
}

static void test_order(void)
{
    struct counters *counters = counters_new(specs, SPECS, 1);
    struct thread thread;
    struct err err = ERR_INIT;
    CHECK_OK(thread_start(&thread, "count", count_rounds, counters_slot(counters, 0), &err), err);
    for (int64_t events = 0; events < ROUNDS;) {
        events = counters_get(counters, EVENTS, 0);
        int64_t dropped = counters_get(counters, DROPPED, 0);
        CHECK(dropped >= events);
        CHECK(counters_get(counters, BUSY, 0) >= dropped);
    }
    thread_join(&thread);
    counters_free(counters);
}

int main(void)
{
    CASE(test_threads);
    CASE(test_quantiles);
    CASE(test_extremes);
    CASE(test_text);
    CASE(test_units_and_labels);
    CASE(test_copies);
    CASE(test_order);
    return 0;
}
