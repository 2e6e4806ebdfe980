/* Memory of what goes together: rows and marginals of one shard, fed with pairs of many items, under related.memory.max.bytes.
 *
 *   relations_bench [items] [pairs] [memory, MiB] [id bytes]        default 1000000 4000000 128 12
 *
 * Subjects are all items alike, so that most rows are not in memory; partners by Zipf's law (the item of rank r every 1 / r). Four
 * partitions, as one process has them; an epoch every EPOCH_PAIRS pairs, in a store under TMPDIR that is removed. RSS is above that
 * before the first pair, and holds the store's own memory (rocksdb.memory.max.bytes, 16 MiB here). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/app.h"
#include "app/config.h"
#include "app/pair_bytes.h"
#include "app/pairs.h"
#include "app/relations.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"

enum { PARTITIONS = 4, GROUP_PAIRS = 8, EPOCH_PAIRS = 4000, REPORTS = 8, ID_MAX = 64 };

struct bench {
    struct state *state;
    struct state_shard *shard;
    struct relations *relations;
    struct rng rng;
    struct buf bytes;
    int items, id_bytes;
    int64_t offset, before; /* before: RSS, bytes */
    uint64_t began_ns;
};

static void die(const struct err *err)
{
    (void)fprintf(stderr, "relations_bench: %s\n", err->text);
    exit(1);
}

static int64_t resident_bytes(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file) return 0;
    if (fscanf(file, "%*s %ld", &pages) != 1) pages = 0;
    (void)fclose(file);
    return (int64_t)pages * sysconf(_SC_PAGESIZE);
}

static struct str id_of(const struct bench *b, int item, char *out)
{
    (void)snprintf(out, ID_MAX, "%0*d", b->id_bytes, item);
    return (struct str){out, (size_t)b->id_bytes};
}

static void apply(struct bench *b, int n, const struct model_pair *pairs, struct str *ids)
{
    struct err err = ERR_INIT;
    uint64_t subject = schemas_item_key((struct str){0}, ids[0]);
    struct pair_group group = {.offset = b->offset++,
                               .time_ms = 1700000000000 + b->offset,
                               .items = ids,
                               .n_items = n + 1,
                               .pairs = (struct model_pair *)(uintptr_t)pairs,
                               .n_pairs = n};
    buf_reset(&b->bytes);
    pair_group_put(&group, &b->bytes);
    struct ingest_record record = {.topic = 1,
                                   .partition = pairs_partition_of(subject, PARTITIONS),
                                   .offset = b->offset,
                                   .value = {(const char *)b->bytes.data, b->bytes.len}};
    if (!relations_apply(b->relations, &record, &err)) die(&err);
}

/* An item, and what went with it. */
static void some_pairs(struct bench *b)
{
    struct model_pair pairs[GROUP_PAIRS];
    struct str ids[GROUP_PAIRS + 1];
    char texts[GROUP_PAIRS + 1][ID_MAX];
    uint8_t kind = (uint8_t)rng_below(&b->rng, RELATED_OTHER);
    ids[0] = id_of(b, (int)rng_below(&b->rng, (uint64_t)b->items), texts[0]);
    for (int i = 0; i < GROUP_PAIRS; i++) {
        int other = (int)exp2(rng_unit(&b->rng) * log2(b->items));
        ids[i + 1] = id_of(b, other, texts[i + 1]);
        pairs[i] = (struct model_pair){.other = (uint16_t)(i + 1),
                                       .kind = kind,
                                       .weight = 1,
                                       .time_ms = 1700000000000 + b->offset};
    }
    apply(b, GROUP_PAIRS, pairs, ids);
}

static void epoch_end(struct bench *b)
{
    struct err err = ERR_INIT;
    struct state_epoch *epoch = state_epoch_seal(b->shard, NULL, 0);
    relations_seal(b->relations, epoch);
    if (!state_epoch_write(b->shard, epoch, &err)) die(&err);
    relations_written(b->relations);
}

static void report(const struct bench *b, long pairs)
{
    struct relations_counts c = relations_counts(b->relations);
    double us = (double)(clock_mono_ns() - b->began_ns) / 1e3 / (double)(pairs ? pairs : 1);
    printf("%10ld %9zu %9.1f %10llu %10zu %10.1f %8.1f %8.2f\n", pairs, c.rows,
           (double)c.row_bytes / 1048576.0, (unsigned long long)c.evicted, c.marginals,
           (double)c.marginal_bytes / 1048576.0, (double)(resident_bytes() - b->before) / 1048576.0,
           us);
    (void)fflush(stdout);
}

static void run(struct bench *b, long pairs)
{
    printf("%10s %9s %9s %10s %10s %10s %8s %8s\n", "pairs", "rows", "MiB", "evicted", "marginals",
           "MiB", "RSS MiB", "us/pair");
    b->began_ns = clock_mono_ns();
    for (long done = 0; done < pairs;) {
        some_pairs(b);
        done += GROUP_PAIRS;
        if (done % EPOCH_PAIRS == 0) epoch_end(b);
        if (done % (pairs / REPORTS / GROUP_PAIRS * GROUP_PAIRS) == 0) report(b, done);
    }
}

static void open_all(struct bench *b, const struct settings *settings, const char *folder)
{
    static const char *const topics[] = {"events"};
    struct err err = ERR_INIT;
    struct state_identity identity = {.application_id = "bench",
                                      .cluster_id = "bench",
                                      .topics = topics,
                                      .n_topics = 1,
                                      .n_partitions = PARTITIONS};
    struct state_options options = settings_state(settings, 0);
    options.shards = 1;
    if (!state_open(&b->state, folder, &identity, &options, &err)) die(&err);
    b->shard = state_shard_new(b->state, 0);
    struct relations_env env = {.settings = settings,
                                .state = b->state,
                                .shard = b->shard,
                                .counters =
                                    counters_slot(counters_new(metrics_table, METRIC_COUNT, 1), 0),
                                .n_partitions = PARTITIONS};
    b->relations = relations_new(&env);
    for (int32_t p = 0; p < PARTITIONS; p++)
        if (!state_partition_open(b->shard, p, &err) ||
            !relations_open(b->relations, p, &(struct relations_standing){0}, &err))
            die(&err);
}

int main(int argc, char **argv)
{
    struct bench b = {.items = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 1000000,
                      .id_bytes = argc > 4 ? (int)strtol(argv[4], NULL, 10) : 12};
    long pairs = argc > 2 ? strtol(argv[2], NULL, 10) : 4000000;
    struct options *options = options_new(app_config_specs, app_config_count);
    struct settings settings;
    struct err err = ERR_INIT;
    char folder[256], memory[32], command[600];
    const char *base = getenv("TMPDIR");
    (void)snprintf(memory, sizeof memory, "%sMiB", argc > 3 ? argv[3] : "128");
    (void)snprintf(folder, sizeof folder, "%s/freshet-bench-XXXXXX", base ? base : "/tmp");
    if (!options_set(options, "related.memory.max.bytes", memory, "bench", &err) ||
        !options_set(options, "application.id", "bench", "bench", &err) ||
        !options_set(options, "bootstrap.servers", "127.0.0.1:1", "bench", &err) ||
        !options_set(options, "rocksdb.memory.max.bytes", "16MiB", "bench", &err) ||
        !settings_init(&settings, options, &err))
        die(&err);
    settings.shards = 1;
    if (!mkdtemp(folder)) return 1;
    rng_init(&b.rng, 1);
    buf_init(&b.bytes, 1 << 20);
    open_all(&b, &settings, folder);
    b.before = resident_bytes();
    printf(
        "%d items, ids of %d bytes, %s: half for rows, half for marginals of %d partitions and %d "
        "kinds, %zu items each\n",
        b.items, b.id_bytes, memory, PARTITIONS, RELATED_OTHER,
        relations_marginals_max(&settings.related, PARTITIONS));
    run(&b, pairs);
    relations_free(b.relations);
    state_shard_free(b.shard);
    state_close(b.state);
    settings_fini(&settings);
    options_free(options);
    buf_fini(&b.bytes);
    (void)snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command) == 0 ? 0 : 1;
}
