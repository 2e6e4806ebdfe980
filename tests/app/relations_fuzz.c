/* Records of the pairs topic, applied over stored rows, marginals and heads of any bytes (docs/STATE.md, "Related"): each is applied or
 * refused, and what an epoch then writes is read again.
 *
 * Input: parts one behind the other, each a table (1; 255: a record), a key (8, little-endian), a length (2) and bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/app.h"
#include "app/relations.h"
#include "app/relations_rows.h"
#include "base/log.h"
#include "state/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RECORD = 255, TABLES = 64, PARTS_MAX = 32, FOLDER_BYTES = 64, COMMAND_BYTES = 128 };

static char folder[FOLDER_BYTES] = "/tmp/freshet-relations-fuzz-XXXXXX";
static struct settings settings;
static struct options *options;
static struct counters *counters;
static struct state *state;
static struct state_shard *shard;

static void die(const struct err *err)
{
    (void)fprintf(stderr, "%s\n", err->text);
    abort();
}

static void store_remove(void)
{
    char command[COMMAND_BYTES];
    state_shard_free(shard);
    state_close(state);
    counters_free(counters);
    settings_fini(&settings);
    options_free(options);
    (void)snprintf(command, sizeof command, "rm -r %s", folder);
    if (system(command) != 0) (void)fprintf(stderr, "%s is left\n", folder);
}

static void store_open(void)
{
    static const char *const topics[] = {"events"};
    struct err err = ERR_INIT;
    struct state_identity identity = {.application_id = "fuzz",
                                      .cluster_id = "fuzz",
                                      .topics = topics,
                                      .n_topics = 1,
                                      .n_partitions = 1};
    struct state_options store = settings_state(&settings, 0);
    store.shards = 1;
    store.rocksdb_bytes = 4 << 20;
    if (!state_open(&state, folder, &identity, &store, &err)) die(&err);
    shard = state_shard_new(state, 0);
    if (!state_partition_open(shard, 0, &err)) die(&err);
}

static void start(void)
{
    struct err err = ERR_INIT;
    if (state) return;
    log_init(LOG_LOGFMT, LOG_ERROR, "");
    options = options_new(app_config_specs, app_config_count);
    if (!options_set(options, "application.id", "fuzz", "fuzz", &err) ||
        !options_set(options, "bootstrap.servers", "127.0.0.1:1", "fuzz", &err) ||
        !options_set(options, "related.memory.max.bytes", "4MiB", "fuzz", &err) ||
        !settings_init(&settings, options, &err))
        die(&err);
    settings.shards = 1;
    counters = counters_new(metrics_table, METRIC_COUNT, 1);
    if (!mkdtemp(folder)) abort();
    store_open();
    if (atexit(store_remove) != 0) abort(); /* before RocksDB's own, so behind its first use */
}

/* ---- stored rows ---- */

static void epoch_write(struct state_epoch *epoch)
{
    struct err err = ERR_INIT;
    if (!state_epoch_write(shard, epoch, &err)) die(&err);
}

struct deletion {
    struct state_epoch *epoch;
    uint8_t table;
};

static bool row_delete(void *context, uint64_t key, struct str value)
{
    const struct deletion *deletion = context;
    (void)value;
    state_related_put(shard, deletion->epoch, 0, deletion->table, key, (struct str){0});
    return true;
}

/* touched: tables that rows were put into. */
static void rows_delete(uint64_t touched)
{
    struct err err = ERR_INIT;
    struct deletion deletion = {.epoch = state_epoch_seal(shard, NULL, 0)};
    for (deletion.table = 0; deletion.table < TABLES; deletion.table++)
        if (touched >> deletion.table & 1 &&
            !state_related_each(state, 0, deletion.table, row_delete, &deletion, &err))
            die(&err);
    epoch_write(deletion.epoch);
}

struct part {
    uint8_t table;
    uint64_t key;
    struct str bytes;
};

static int parts_take(const uint8_t *data, size_t size, struct part *parts)
{
    struct cursor c = {.ptr = data, .left = size};
    int n = 0;
    while (n < PARTS_MAX && c.left > 0) {
        struct part *part = &parts[n];
        part->table = cursor_u8(&c);
        part->key = cursor_u64(&c);
        uint16_t len = cursor_u16(&c);
        part->bytes = (struct str){(const char *)cursor_bytes(&c, len), len};
        if (c.failed) break;
        if (part->table != RECORD) part->table %= TABLES;
        n++;
    }
    return n;
}

/* Returns the tables that may have rows by the end of the input. */
static uint64_t rows_put(const struct part *parts, int n)
{
    const uint64_t of_records = 1 | ((UINT64_C(1) << ROW_KINDS) - 1) << RELATED_ROWS |
                                ((UINT64_C(1) << RELATED_KIND_COUNT) - 1) << RELATED_MARGINALS;
    uint64_t touched = of_records;
    struct state_epoch *epoch = state_epoch_seal(shard, NULL, 0);
    for (int i = 0; i < n; i++) {
        if (parts[i].table == RECORD) continue;
        touched |= UINT64_C(1) << parts[i].table;
        state_related_put(shard, epoch, 0, parts[i].table, parts[i].key, parts[i].bytes);
    }
    epoch_write(epoch);
    return touched;
}

/* ---- records ---- */

/* false: a stored row was damaged, which ends the process. */
static bool records_apply(struct relations *relations, const struct part *parts, int n)
{
    for (int i = 0; i < n; i++) {
        struct err err = ERR_INIT;
        struct ingest_record record = {.topic = 1, .offset = i, .value = parts[i].bytes};
        if (parts[i].table != RECORD || relations_apply(relations, &record, &err)) continue;
        if (err.class != ERR_DATA && err.exit_code != ERR_EXIT_STORE) abort();
        if (err.class == ERR_FATAL) return false;
    }
    return true;
}

static void life(const struct part *parts, int n)
{
    struct err err = ERR_INIT;
    struct relations_standing standing = {0};
    struct relations_env env = {.settings = &settings,
                                .state = state,
                                .shard = shard,
                                .counters = counters_slot(counters, 0),
                                .n_partitions = 1};
    struct relations *relations = relations_new(&env);
    bool ok = relations_open(relations, 0, &standing, &err);
    if (!ok && err.exit_code != ERR_EXIT_STORE) abort();
    ok = ok && records_apply(relations, parts, n);
    if (ok) {
        struct state_epoch *epoch = state_epoch_seal(shard, NULL, 0);
        relations_seal(relations, epoch);
        epoch_write(epoch);
        relations_written(relations);
        relations_close(relations, 0);
        if (!relations_open(relations, 0, &standing, &err)) die(&err);
        if (!records_apply(relations, parts, n)) abort();
    }
    relations_free(relations);
}

/* A damaged row has marked the store: not for the next input. */
static void sound_again(void)
{
    char path[COMMAND_BYTES];
    flag_lower(&state->damaged);
    (void)snprintf(path, sizeof path, "%s/damaged", folder);
    (void)unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct part parts[PARTS_MAX];
    int n = parts_take(data, size, parts);
    if (n == 0) return 0;
    start();
    uint64_t touched = rows_put(parts, n);
    life(parts, n);
    sound_again();
    rows_delete(touched);
    return 0;
}
