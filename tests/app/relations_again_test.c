/* From where pairs are read again after another process may have had the partition: what the head of a store says of the group, as it
 * was known when the head was sealed. */
#include "app/pair_bytes.h"
#include "app/relations.h"
#include "state/state.h"
#include "tests/app/live.h"

enum { STANDS = 21, PARTITION = 0 };

static struct settings settings;
static struct ingest *ingest;
static struct state *state;
static struct state_shard *shard;
static struct counters *counters;
static bool is_assigned;

/* ---- a process that has the partition ---- */

static bool assigned(void *context, int32_t partition, int64_t *next, struct err *err)
{
    (void)context;
    (void)err;
    for (int topic = 0; topic < settings.n_sources; topic++)
        next[topic] = -1;
    is_assigned = is_assigned || partition == PARTITION;
    return true;
}

static void revoked(void *context, int32_t partition, bool lost)
{
    (void)context;
    (void)partition;
    (void)lost;
}

static void serve(void)
{
    struct err err = ERR_INIT;
    CHECK_OK(ingest_serve(ingest, 20, &err), err);
}

static void store_open(void)
{
    struct err err = ERR_INIT;
    char path[96];
    struct state_identity identity = {.application_id = "related",
                                      .cluster_id = "one",
                                      .topics = settings.topics,
                                      .n_topics = settings.n_topics,
                                      .n_partitions = LIVE_PARTITIONS};
    struct state_options options = settings_state(&settings, 0);
    (void)snprintf(path, sizeof path, "%s/store", live_shop.folder);
    CHECK_OK(state_open(&state, path, &identity, &options, &err), err);
    shard = state_shard_new(state, 0);
    CHECK_OK(state_partition_open(shard, PARTITION, &err), err);
}

static void group_join(void)
{
    struct err err = ERR_INIT;
    struct ingest_options options = settings_ingest(&settings);
    struct ingest_callbacks callbacks = {.assigned = assigned, .revoked = revoked};
    CHECK_OK(ingest_open(&ingest, &settings.kafka, &options, live_shop.schemas, &callbacks, &err),
             err);
    for (int ms = 0; !is_assigned; ms += 20) {
        CHECK(ms < LIVE_WAIT_MS);
        serve();
    }
}

/* ---- what a head says ---- */

/* A record of the pairs topic is applied, and an epoch written. */
static void epoch_write(const struct relations_env *env)
{
    struct err err = ERR_INIT;
    static struct str items[] = {{"a", 1}, {"b", 1}};
    struct relations *relations = relations_new(env);
    struct relations_standing standing = {0};
    struct buf bytes;
    struct pair_group group = {.items = items, .n_items = 2};
    buf_init(&bytes, 1 << 12);
    pair_group_put(&group, &bytes);
    struct ingest_record record = {.topic = settings.pairs_at,
                                   .partition = PARTITION,
                                   .value = {(const char *)bytes.data, bytes.len}};
    CHECK_OK(relations_open(relations, PARTITION, &standing, &err), err);
    CHECK_OK(relations_apply(relations, &record, &err), err);
    struct state_epoch *epoch = state_epoch_seal(shard, NULL, 0);
    relations_seal(relations, epoch);
    CHECK_OK(state_epoch_write(shard, epoch, &err), err);
    relations_written(relations);
    relations_free(relations);
    buf_fini(&bytes);
}

static int64_t again_from(int64_t begin)
{
    struct err err = ERR_INIT;
    int64_t from = STANDS;
    CHECK_OK(relations_again(state, PARTITION, begin, &from, &err), err);
    return from;
}

static void where_pairs_begin_again(void)
{
    struct relations_env env = {.settings = &settings,
                                .state = state,
                                .shard = shard,
                                .ingest = ingest,
                                .counters = counters_slot(counters, 0),
                                .n_partitions = LIVE_PARTITIONS};
    CHECK_INT(again_from(0), STANDS); /* no head: nothing was applied */

    /* Nobody has committed yet, or not so that we know: another begins with the log. */
    CHECK_INT(ingest_acked(ingest, settings.pairs_at, PARTITION), -1);
    epoch_write(&env);
    CHECK_INT(again_from(0), 0);
    CHECK_INT(again_from(9), 9);
    CHECK_INT(again_from(STANDS + 1), STANDS);

    ingest_commit(ingest, settings.pairs_at, PARTITION, 16);
    for (int ms = 0; ingest_acked(ingest, settings.pairs_at, PARTITION) != 16; ms += 20) {
        CHECK(ms < LIVE_WAIT_MS);
        serve();
    }
    epoch_write(&env);
    CHECK_INT(again_from(0), 16);
    CHECK_INT(again_from(18), 18); /* older records are gone: what is left of them */

    /* Nobody else ever has the partition. */
    env.ingest = NULL;
    epoch_write(&env);
    CHECK_INT(again_from(0), STANDS);
}

int main(void)
{
    struct err err = ERR_INIT;
    live_open();
    struct options *options = live_options("related", "lists-a", "16");
    live_set(options, "events.topics", "shop.events");
    live_set(options, "related.topic", "related-a");
    CHECK_OK(settings_init(&settings, options, &err), err);
    counters = counters_new(metrics_table, METRIC_COUNT, 1);
    store_open();
    group_join();
    CASE(where_pairs_begin_again);
    ingest_close(ingest);
    state_shard_free(shard);
    state_close(state);
    counters_free(counters);
    settings_fini(&settings);
    options_free(options);
    live_close();
    return 0;
}
