/* Popularity of a shard's partitions: which table an event counts in, collisions of item keys, and the tables' rows in
 * the store. */
#include "state/internal.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"

enum {
    ROW_VERSION = 1,
    ROW_HEAD = 9,                             /* version, level */
    ROW_KEY_MAX = 4 + 2 + SCHEMAS_ID_MAX + 8, /* partition, tenant's length, tenant, item key */
};

/* ---- rows in the store ---- */

static struct str row_key(int32_t partition, struct str tenant, uint64_t key, struct buf *out)
{
    uint8_t len[2] = {(uint8_t)(tenant.len >> 8), (uint8_t)tenant.len};
    buf_reset(out);
    buf_push_be32(out, (uint32_t)partition);
    buf_push(out, len, sizeof len);
    buf_push_str(out, tenant);
    buf_push_be64(out, key);
    return (struct str){(const char *)out->data, out->len};
}

static void row_value(double level, struct str id, struct buf *out)
{
    uint64_t bits;
    memcpy(&bits, &level, sizeof bits);
    buf_push_byte(out, ROW_VERSION);
    buf_push_u64(out, bits);
    buf_push_str(out, id);
}

const char *state__row_decode(struct str key, struct str value, struct state__row *row)
{
    struct cursor k = {.ptr = (const uint8_t *)key.ptr, .left = key.len};
    (void)cursor_be32(&k);
    size_t len = (size_t)cursor_u8(&k) << 8;
    len |= cursor_u8(&k);
    row->tenant = (struct str){(const char *)cursor_bytes(&k, len), len};
    row->key = cursor_be64(&k);
    if (k.failed || k.left > 0 || len > SCHEMAS_ID_MAX) return "the key has another length";
    if (value.len < ROW_HEAD || value.len > ROW_HEAD + SCHEMAS_ID_MAX)
        return "the value is too short or too long";
    struct cursor v = {.ptr = (const uint8_t *)value.ptr, .left = value.len};
    if (cursor_u8(&v) != ROW_VERSION) return "version of the value is unknown";
    uint64_t bits = cursor_u64(&v);
    memcpy(&row->level, &bits, sizeof row->level);
    row->id = (struct str){value.ptr + ROW_HEAD, value.len - ROW_HEAD};
    if (!isfinite(row->level)) return "the level is no number";
    if (schemas_item_key(row->tenant, row->id) != row->key) return "the id does not fit its key";
    return NULL;
}

/* ---- tables of a partition ---- */

static struct pop_table *find_table(const struct pop_partition *tables, struct str tenant)
{
    for (int i = 0; i < tables->n_tables; i++)
        if (str_equal(tables->tables[i]->tenant, tenant)) return tables->tables[i];
    return NULL;
}

/* NULL when the partition holds STATE_TENANTS_MAX others. */
static struct pop_table *make_table(const struct state_shard *shard, struct pop_partition *tables,
                                    struct str tenant)
{
    struct pop_table *table = find_table(tables, tenant);
    if (table || tables->n_tables == STATE_TENANTS_MAX) return table;
    table = state__pop_new(tenant, (uint32_t)shard->state->options.popularity_max_items);
    tables->tables[tables->n_tables++] = table;
    return table;
}

static struct pop_partition *partition_of(const struct state_shard *shard, int32_t partition)
{
    assert(partition >= 0 && partition < shard->state->n_partitions);
    assert(shard->partitions[partition]);
    return shard->partitions[partition];
}

void state__popularity_free(struct pop_partition *tables)
{
    if (!tables) return;
    for (int i = 0; i < tables->n_tables; i++)
        state__pop_free(tables->tables[i]);
    mem_free(tables);
}

static bool load_row(struct state_shard *shard, struct pop_partition *tables, struct str key,
                     struct str value, struct err *err)
{
    struct state__row row;
    const char *why = state__row_decode(key, value, &row);
    struct pop_table *table = why ? NULL : make_table(shard, tables, row.tenant);
    if (!why && !table) why = "too many tenants in the partition";
    if (!why && !state__pop_load(table, row.key, row.id, row.level)) why = "the key is there twice";
    return why ? state__corrupt(shard->state, "popularity", schemas_id_hash(key), why, err) : true;
}

bool state__popularity_load(struct state_shard *shard, int32_t partition,
                            struct pop_partition *tables, struct err *err)
{
    struct state *state = shard->state;
    char prefix[4], *error = NULL;
    bool ok = true;
    (void)state__user_key(partition, (struct str){NULL, 0}, prefix);
    rocksdb_iterator_t *it =
        rocksdb_create_iterator_cf(state->db, state->read, state->family[FAMILY_POPULARITY]);
    rocksdb_iter_seek(it, prefix, sizeof prefix);
    for (; ok && rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        struct str key, value;
        key.ptr = rocksdb_iter_key(it, &key.len);
        value.ptr = rocksdb_iter_value(it, &value.len);
        if (key.len < sizeof prefix || memcmp(key.ptr, prefix, sizeof prefix) != 0) break;
        ok = load_row(shard, tables, key, value, err);
    }
    if (ok) rocksdb_iter_get_error(it, &error);
    rocksdb_iter_destroy(it);
    if (error) return state__rocksdb_error(state, error, "reading popularity", err);
    for (int i = 0; i < tables->n_tables; i++)
        state__pop_loaded(tables->tables[i]);
    return ok;
}

static void seal_table(struct state_shard *shard, struct state_epoch *epoch, int32_t partition,
                       struct pop_table *table)
{
    for (uint32_t i = 0; i < table->n_removed; i++)
        state__epoch_delete(epoch, FAMILY_POPULARITY, partition,
                            row_key(partition, table->tenant, table->removed[i], &shard->key));
    for (uint32_t i = 0; i < table->n_dirty; i++) {
        struct pop_row *row = table->rows + table->dirty[i];
        state__epoch_begin(epoch, FAMILY_POPULARITY, partition,
                           row_key(partition, table->tenant, row->key, &shard->key));
        row_value(row->level, state__pop_id(table, row), &epoch->bytes);
        state__epoch_end(epoch);
        row->dirty = false;
        row->stored = true;
    }
    table->n_removed = table->n_dirty = 0;
}

void state__popularity_seal(struct state_shard *shard, struct state_epoch *epoch)
{
    for (int32_t p = 0; p < shard->state->n_partitions; p++) {
        struct pop_partition *tables = shard->partitions[p];
        for (int i = 0; tables && i < tables->n_tables; i++)
            seal_table(shard, epoch, p, tables->tables[i]);
    }
}

/* ---- events ---- */

static bool collision(const struct event *event, struct str known, struct str id, struct err *err)
{
    return err_set(err, ERR_DATA,
                   "items \"%.*s\" and \"%.*s\" of tenant \"%.*s\" have one 64-bit key",
                   STR_ARG(known), STR_ARG(id), STR_ARG(event->tenant));
}

/* Whether an item before i in the event has the key of item i and another id. */
static bool collides_within(const struct event *event, const uint64_t key, size_t i, size_t *other)
{
    for (size_t j = 0; j < i; j++) {
        if (str_equal(event->items[j].item_id, event->items[i].item_id)) continue;
        if (schemas_item_key(event->tenant, event->items[j].item_id) != key) continue;
        *other = j;
        return true;
    }
    return false;
}

bool state_items_check(struct state_shard *shard, int32_t partition, const struct event *event,
                       struct err *err)
{
    const struct pop_partition *tables = partition_of(shard, partition);
    const struct pop_table *table = find_table(tables, event->tenant);
    if (!table && tables->n_tables == STATE_TENANTS_MAX && event->n_items > 0)
        return err_set(err, ERR_DATA,
                       "tenant \"%.*s\" is one more than the %d a partition can hold",
                       STR_ARG(event->tenant), STATE_TENANTS_MAX);
    for (size_t i = 0; i < event->n_items; i++) {
        struct str id = event->items[i].item_id;
        size_t other;
        if (id.len > SCHEMAS_ID_MAX)
            return err_set(err, ERR_DATA, "an item id has %zu bytes, the limit is %d", id.len,
                           SCHEMAS_ID_MAX);
        uint64_t key = schemas_item_key(event->tenant, id);
        const struct pop_row *row = table ? state__pop_find(table, key) : NULL;
        if (row) {
            struct str known = state__pop_id(table, row);
            if (!str_equal(known, id)) return collision(event, known, id, err);
        } else if (collides_within(event, key, i, &other)) {
            return collision(event, event->items[other].item_id, id, err);
        }
    }
    return true;
}

bool state_popularity_add(struct state_shard *shard, int32_t partition, const struct event *event,
                          struct err *err)
{
    const struct state_options *options = &shard->state->options;
    if (!(options->popularity_weight[event->type] > 0) || event->n_items == 0) return true;
    if (!state_items_check(shard, partition, event, err)) return false;
    struct pop_table *table = make_table(shard, partition_of(shard, partition), event->tenant);
    double amount = (double)event->time_ms / (double)options->popularity_half_life_ms +
                    shard->log2_weight[event->type];
    for (size_t i = 0; i < event->n_items; i++) {
        struct str id = event->items[i].item_id;
        state__pop_add(table, schemas_item_key(event->tenant, id), id, amount);
    }
    return true;
}

int state_popularity_top(struct state_shard *shard, int32_t partition, struct str tenant, int n,
                         uint64_t *keys, bool (*skip)(void *context, uint64_t key), void *context)
{
    const struct pop_table *table = find_table(partition_of(shard, partition), tenant);
    if (!table || n <= 0) return 0;
    if (n > shard->n_scratch) {
        shard->scratch = mem_realloc(shard->scratch, (size_t)n * sizeof *shard->scratch);
        shard->n_scratch = n;
    }
    return state__pop_best(table, n, keys, skip, context, shard->scratch);
}

struct str state_item_id(struct state_shard *shard, int32_t partition, struct str tenant,
                         uint64_t key)
{
    const struct pop_table *table = find_table(partition_of(shard, partition), tenant);
    const struct pop_row *row = table ? state__pop_find(table, key) : NULL;
    return row ? state__pop_id(table, row) : (struct str){NULL, 0};
}
