/* The pipeline on the in-process broker: lists do not depend on batch boundaries, a restart goes on where the store stands, and
 * an event costs no heap allocation once its user is known. (Guarantees under faults: tests/e2e/faults.py, on a real broker.)
 *
 * LINK: rdkafka */
#include "base/sync.h"
#include "tests/app/live.h"

enum { QUIET_MS = 1000 }; /* nothing came for so long: then nothing is under way */

static void lists_do_not_depend_on_batches(void)
{
    live_plain("batches-of-256", "lists-a", "256", live_shop.sent);
    live_plain("batches-of-1", "lists-b", "1", live_shop.sent);
    live_lists_compare("lists-a", "lists-b");
}

/* The same with a ranker in the place of rank fusion. */
static void ranked_lists_do_not_depend_on_batches(void)
{
    live_lru_put("ranked", 32, 32, 2, 7, true);
    for (int one = 0; one < 2; one++) {
        struct options *options = live_options(one ? "ranked-of-1" : "ranked-of-256",
                                               one ? "lists-e" : "lists-d", one ? "1" : "256");
        live_model_set(options, "ranked");
        (void)live_run(options, live_shop.sent, METRIC_RECORDS);
    }
    live_lists_compare("lists-d", "lists-e");
}

/* Two lives, events arriving between them: the same lists as in one, none twice. */
static void restart_goes_on(uint64_t seed)
{
    live_events_send(1000, seed);
    live_plain("restarted", "lists-c", "16", 1000);
    live_events_send(1000, seed + 1);
    live_plain("restarted", "lists-c", "16", 1000);
}

/* Until every event sent so far was read and, with related items, all that followed from it: pairs, lists. */
static void live_all(struct pipeline *pipeline, uint64_t records)
{
    struct err err = ERR_INIT;
    int64_t groups = 0;
    live_until(pipeline, records);
    for (int ms = 0, quiet = 0; quiet < QUIET_MS; ms += 10) {
        int64_t before = groups;
        CHECK(ms < LIVE_WAIT_MS);
        CHECK_OK(pipeline_serve(pipeline, &err), err);
        groups = live_count(pipeline, METRIC_PAIR_GROUPS);
        quiet = live_count(pipeline, METRIC_LAG) == 0 && groups == before ? quiet + 10 : 0;
        sync_sleep_ms(10);
    }
}

static void no_allocation_per_event(struct options *options, const char *model)
{
    struct err err = ERR_INIT;
    struct settings settings;
    struct pipeline *pipeline;
    uint64_t records = 0;
    live_model_set(options, model);
    live_set(options, "commit.interval.ms",
             "3000"); /* an epoch changes all that there is, on a busy machine, too */
    CHECK_OK(settings_init(&settings, options, &err), err);
    CHECK_OK(pipeline_open(&pipeline, &settings, NULL, &err), err);
    /* Warm: every user, row and item is known, every table and buffer has its size, those of an epoch for more than comes below. */
    for (int round = 0; round < 3; round++) {
        live_events_send(4000, 100 + (uint64_t)round);
        live_all(pipeline, records += 4000);
    }
    int64_t steps = live_count(pipeline, METRIC_STEPS);
    int64_t groups = live_count(pipeline, METRIC_PAIR_GROUPS);
    int64_t allocations = live_count(pipeline, METRIC_ALLOCATIONS);
    live_events_send(2000, 200);
    live_all(pipeline, records + 2000);
    CHECK(live_count(pipeline, METRIC_STEPS) > steps);
    CHECK_INT(live_count(pipeline, METRIC_PAIR_GROUPS) > groups,
              settings.related.pairs_topic != NULL);
    CHECK_INT(live_count(pipeline, METRIC_ALLOCATIONS) - allocations, 0);
    CHECK_OK(pipeline_finish(pipeline, &err), err);
    pipeline_close(pipeline);
    settings_fini(&settings);
    options_free(options);
}

static void no_allocation_with_rank_fusion(void)
{
    no_allocation_per_event(live_options("batches-of-256", "lists-a", "256"), "model");
}

static void no_allocation_with_a_ranker(void)
{
    no_allocation_per_event(live_options("ranked-of-256", "lists-d", "256"), "ranked");
}

/* As the configuration's defaults have it: pairs, rows, lists of what goes together and of what rises, and the arm that reads them. */
static void no_allocation_with_related_items(void)
{
    struct options *options = live_options("related", "lists-f", "256");
    live_set(options, "related.topic", "related-a");
    live_set(options, "trending.topic", "trending-a");
    no_allocation_per_event(options, "model");
}

/* Allocations are the same under sanitizers, and their 40,000 events take minutes there; the same code runs in the other cases and
 * in relations_test. */
#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
static const bool is_slow = true;
#else
static const bool is_slow = false;
#endif

int main(void)
{
    live_open();
    restart_goes_on(TEST_SEED());
    CASE(lists_do_not_depend_on_batches);
    live_lists_compare("lists-a", "lists-c");
    CASE(ranked_lists_do_not_depend_on_batches);
    if (!is_slow) {
        CASE(no_allocation_with_rank_fusion);
        CASE(no_allocation_with_a_ranker);
        CASE(no_allocation_with_related_items);
    }
    live_close();
    return 0;
}
