/* The cache of rows under its limit: random adds of ids of all lengths against rows that are never put away. */
#include "app/relations_rows.h"
#include "base/mem.h"
#include "base/rng.h"
#include "tests/test.h"

enum { SUBJECTS = 300, PARTNERS = 16, STEPS = 20000, EPOCH = 60, MAX_BYTES = 256 << 10 };

static const double half_life_ms[ROW_KINDS] = {1e9, 1e9, 1e9, 1e9, 1e9, 1e9, 1e9};
static char folder[64];

static struct state *store_open(struct state_shard **shard)
{
    static const char *const topics[] = {"events"};
    struct state_identity identity = {.application_id = "rows",
                                      .cluster_id = "none",
                                      .topics = topics,
                                      .n_topics = 1,
                                      .n_partitions = 1};
    struct state_options options = {.window_max = 8,
                                    .cache_bytes = 1 << 20,
                                    .rocksdb_bytes = 4 << 20,
                                    .popularity_max_items = 10,
                                    .popularity_half_life_ms = 1000,
                                    .list_size = 10,
                                    .shards = 1};
    struct state *state;
    struct err err = ERR_INIT;
    CHECK(mkdtemp(folder) != NULL);
    CHECK_OK(state_open(&state, folder, &identity, &options, &err), err);
    *shard = state_shard_new(state, 0);
    CHECK_OK(state_partition_open(*shard, 0, &err), err);
    return state;
}

/* Its number, and as many letters as the number gives: up to SCHEMAS_ID_MAX. */
static struct str id_of(int number, char out[SCHEMAS_ID_MAX + 1])
{
    int len = 6 + number * 7919 % (SCHEMAS_ID_MAX - 6);
    memset(out, 'x', SCHEMAS_ID_MAX);
    (void)snprintf(out, 7, "%06d", number);
    out[6] = 'x';
    return (struct str){out, (size_t)len};
}

static struct row *row_of(struct rows *rows, int subject)
{
    char text[SCHEMAS_ID_MAX + 1];
    struct str id = id_of(subject, text);
    struct row *row;
    struct err err = ERR_INIT;
    uint64_t key = schemas_item_key((struct str){0}, id);
    CHECK_OK(rows_get(rows, 0, 0, key, (struct str){0}, id, &row, &err), err);
    return row;
}

static void row_compare(const struct row *row, const struct model_partners *naive)
{
    CHECK_INT(row->partners.n, naive->n);
    for (int i = 0; i < naive->n; i++) {
        CHECK(row->partners.entries[i].key == naive->entries[i].key);
        CHECK_NEAR(row->partners.entries[i].level, naive->entries[i].level, 0);
        struct str id = row_id_of(row, naive->entries[i].key);
        CHECK(schemas_item_key((struct str){0}, id) == naive->entries[i].key);
    }
}

static void epoch_end(struct rows *rows, struct state_shard *shard)
{
    struct err err = ERR_INIT;
    struct state_epoch *epoch = state_epoch_seal(shard, NULL, 0);
    rows_seal(rows, shard, epoch);
    CHECK_OK(state_epoch_write(shard, epoch, &err), err);
    rows_written(rows);
}

static void add(struct rows *rows, struct rng *rng, struct model_partners *naive, int64_t time_ms)
{
    char text[SCHEMAS_ID_MAX + 1];
    int subject = (int)rng_below(rng, SUBJECTS), other = (int)rng_below(rng, 2 * PARTNERS);
    struct str id = id_of(other, text);
    uint64_t key = schemas_item_key((struct str){0}, id);
    double weight = rng_below(rng, 10) == 0 ? -1 : 1;
    rows_add(rows, row_of(rows, subject), key, id, weight, time_ms);
    model_partners_add(&naive[subject], key, weight, model_moment(time_ms, half_life_ms[0]));
    if (naive[subject].n == 0 && isinf(naive[subject].total))
        model_partners_init(&naive[subject], naive[subject].entries, PARTNERS);
}

/* Clean rows are within the limit, whatever their ids are and however many were changed at a time. */
static void rows_stay_within_their_bytes(void)
{
    static struct model_partner entries[SUBJECTS][PARTNERS];
    static struct model_partners naive[SUBJECTS];
    struct state_shard *shard;
    struct rng rng;
    (void)snprintf(folder, sizeof folder, "/tmp/freshet-rows-XXXXXX");
    struct state *state = store_open(&shard);
    struct rows *rows = rows_new(state, MAX_BYTES, PARTNERS, half_life_ms);
    size_t most = 0;
    rng_init(&rng, TEST_SEED());
    for (int i = 0; i < SUBJECTS; i++)
        model_partners_init(&naive[i], entries[i], PARTNERS);
    for (int i = 0; i < STEPS; i++) {
        add(rows, &rng, naive, 1000 * i);
        int wait =
            i < STEPS / 2 ? EPOCH : 10 * EPOCH; /* then changed rows alone are over the limit */
        if (i % wait > 0) continue;
        epoch_end(rows, shard);
        (void)row_of(rows, SUBJECTS + i); /* one that comes into memory: the others make room */
        size_t bytes = rows_counts(rows).bytes;
        most = bytes > most ? bytes : most;
    }
    struct rows_counts counts = rows_counts(rows);
    printf("  %zu rows, %zu bytes at most, %llu evicted\n", counts.rows, most,
           (unsigned long long)counts.evicted);
    CHECK(counts.evicted > STEPS / 10);
    CHECK(most <= MAX_BYTES + MAX_BYTES / 64); /* one row more */
    for (int i = 0; i < SUBJECTS; i++)
        row_compare(row_of(rows, i), &naive[i]);
    rows_free(rows);
    state_shard_free(shard);
    state_close(state);
}

int main(void)
{
    char command[128];
    CASE(rows_stay_within_their_bytes);
    (void)snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK_INT(system(command), 0);
    return 0;
}
