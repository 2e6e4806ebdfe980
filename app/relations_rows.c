/* The cache of rows: a hash table of blocks of one size, and of what they say. */
#include "app/relations_rows.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/fault.h"
#include "base/mem.h"

/* ID_BYTES: room for each id that a row has from the start; longer ones make the row grow. EVICT_LOOK: rows that the clock's hand looks at
 * for one that may go. */
enum { BUCKETS_FIRST = 1024, ID_BYTES = 12, EVICT_LOOK = 128 };

struct rows {
    struct state *state;
    double half_life_ms[ROW_KINDS];
    int partners_max;
    struct row **buckets; /* (bucket_mask + 1) */
    size_t bucket_mask;
    struct row **all; /* (n) */
    size_t n, cap, hand;
    size_t held, held_max; /* bytes of the rows */
    uint64_t evicted;      /* so far */
    struct row **changed;  /* (n_changed) */
    size_t n_changed, cap_changed;
    uint64_t seals, written; /* so far */
    struct buf bytes;        /* of a stored row */
};

static size_t ids_max(int partners_max)
{
    return (size_t)partners_max + (size_t)partners_max / 2;
}

/* Of the block, and with the texts of a row whose ids are of ID_BYTES. */
static size_t block_bytes(int partners_max)
{
    return sizeof(struct row) + (size_t)partners_max * sizeof(struct model_partner) +
           ids_max(partners_max) * sizeof(struct row_id);
}

static size_t row_bytes(int partners_max)
{
    return block_bytes(partners_max) + ids_max(partners_max) * ID_BYTES;
}

struct rows *rows_new(struct state *state, size_t bytes_max, int partners_max,
                      const double *half_life_ms)
{
    struct rows *rows = mem_zalloc(sizeof *rows);
    size_t buckets = BUCKETS_FIRST;
    rows->state = state;
    memcpy(rows->half_life_ms, half_life_ms, sizeof rows->half_life_ms);
    rows->partners_max = partners_max;
    rows->held_max = bytes_max;
    while (buckets < bytes_max / row_bytes(partners_max))
        buckets *= 2;
    rows->bucket_mask = buckets - 1;
    rows->buckets = mem_zalloc(buckets * sizeof(struct row *));
    buf_init(&rows->bytes, STATE_RELATED_MAX);
    return rows;
}

void rows_free(struct rows *rows)
{
    if (!rows) return;
    for (size_t i = 0; i < rows->n; i++) {
        buf_fini(&rows->all[i]->texts);
        mem_free(rows->all[i]);
    }
    buf_fini(&rows->bytes);
    mem_free(rows->buckets);
    mem_free(rows->all);
    mem_free(rows->changed);
    mem_free(rows);
}

/* ---- the table ---- */

/* A key's partition follows from it, so key and kind name a row. */
static struct row **bucket_of(const struct rows *rows, uint8_t kind, uint64_t key)
{
    uint64_t hash = (key ^ (uint64_t)kind << 56) * 0x9e3779b97f4a7c15u;
    return &rows->buckets[(hash >> 20) & rows->bucket_mask];
}

static struct row *find(const struct rows *rows, uint8_t kind, uint64_t key)
{
    for (struct row *row = *bucket_of(rows, kind, key); row; row = row->chain)
        if (row->key == key && row->kind == kind) return row;
    return NULL;
}

static void unchain(struct rows *rows, struct row *row)
{
    struct row **at = bucket_of(rows, row->kind, row->key);
    while (*at && *at != row)
        at = &(*at)->chain;
    if (*at) *at = row->chain;
}

static struct row *row_make(struct rows *rows)
{
    size_t n_ids = ids_max(rows->partners_max);
    struct row *row = mem_zalloc(block_bytes(rows->partners_max));
    if (rows->n == rows->cap) {
        rows->cap = rows->cap ? 2 * rows->cap : BUCKETS_FIRST;
        rows->all = mem_realloc(rows->all, rows->cap * sizeof(struct row *));
    }
    rows->all[rows->n++] = row;
    buf_init(&row->texts, (n_ids + 2) * SCHEMAS_ID_MAX); /* tenant, subject, ids */
    (void)buf_reserve(&row->texts, n_ids * ID_BYTES);
    row->ids = (struct row_id *)(void *)(row->entries + rows->partners_max);
    rows->held += block_bytes(rows->partners_max) + row->texts.cap;
    return row;
}

/* The place of a row that may go, out of its chain: the clock's hand takes the first clean one that was not used since it came by, or else
 * the first clean one. rows->n: all that it looked at are changed. */
static size_t row_evict(struct rows *rows)
{
    size_t used = rows->n;
    for (int i = 0; i < EVICT_LOOK && rows->n > 0; i++) {
        size_t at = rows->hand++ % rows->n;
        struct row *row = rows->all[at];
        if (row->is_dirty || row->sealed > rows->written) continue;
        if (used == rows->n || !row->is_used) used = at;
        if (!row->is_used) break;
        row->is_used = false;
    }
    if (used == rows->n) return used;
    unchain(rows, rows->all[used]);
    rows->evicted++;
    return used;
}

static void row_free(struct rows *rows, size_t at)
{
    struct row *row = rows->all[at];
    rows->held -= block_bytes(rows->partners_max) + row->texts.cap;
    rows->all[at] = rows->all[--rows->n];
    buf_fini(&row->texts);
    mem_free(row);
}

/* A row for a subject that comes into memory. At the limit it is another's; over it, since rows grew or changed ones could not go,
 * more of them leave. When none may go there is one more than the limit has room for. */
static struct row *row_take(struct rows *rows)
{
    size_t at;
    while (rows->held > rows->held_max && (at = row_evict(rows)) < rows->n)
        row_free(rows, at);
    bool is_full = rows->held + row_bytes(rows->partners_max) > rows->held_max;
    at = is_full ? row_evict(rows) : rows->n;
    return at < rows->n ? rows->all[at] : row_make(rows);
}

static void row_clear(const struct rows *rows, struct row *row)
{
    model_partners_init(&row->partners, row->entries, rows->partners_max);
    buf_reset(&row->texts);
    row->n_ids = row->list.n = 0;
    row->tenant_len = row->subject_len = 0;
    row->list.time_ms = row->newest_ms = INT64_MIN;
    row->looked = -(double)INFINITY;
    row->is_stored = false;
    row->sealed = 0;
}

bool rows_get(struct rows *rows, int32_t partition, uint8_t kind, uint64_t key, struct str tenant,
              struct str subject, struct row **out, struct err *err)
{
    struct row *row = find(rows, kind, key);
    bool found;
    *out = row;
    if (row) row->is_used = true;
    if (row) return true;
    buf_reset(&rows->bytes);
    uint8_t table = (uint8_t)(1 + kind);
    if (!state_related_get(rows->state, partition, table, key, &rows->bytes, &found, err))
        return false;
    row = row_take(rows);
    size_t texts = row->texts.cap;
    row_clear(rows, row);
    row->partition = partition;
    row->kind = kind;
    row->key = key;
    row->is_used = true;
    struct row **bucket = bucket_of(rows, kind, key);
    row->chain = *bucket;
    *bucket = *out = row;
    if (found) {
        struct str value = {(const char *)rows->bytes.data, rows->bytes.len};
        const char *why = row_decode(value, rows->half_life_ms[kind], row);
        row->is_stored = true;
        rows->held += row->texts.cap - texts;
        return why ? state_related_damaged(rows->state, partition, table, key, why, err) : true;
    }
    row->tenant_len = (uint16_t)tenant.len;
    row->subject_len = (uint16_t)subject.len;
    buf_push_str(&row->texts, tenant);
    buf_push_str(&row->texts, subject);
    rows->held += row->texts.cap - texts;
    return true;
}

void rows_drop(struct rows *rows, int32_t partition)
{
    size_t kept = 0;
    for (size_t i = 0; i < rows->n_changed; i++)
        if (rows->changed[i]->partition != partition) rows->changed[kept++] = rows->changed[i];
    rows->n_changed = kept;
    for (size_t i = 0; i < rows->n; i++) {
        struct row *row = rows->all[i];
        if (row->partition != partition) continue;
        unchain(rows, row);
        row->partition = -1;
        row->is_dirty = row->is_used = false;
        row->sealed = 0;
    }
}

/* ---- changes ---- */

static void dirty(struct rows *rows, struct row *row)
{
    if (row->is_dirty) return;
    row->is_dirty = true;
    if (rows->n_changed == rows->cap_changed) {
        rows->cap_changed = rows->cap_changed ? 2 * rows->cap_changed : BUCKETS_FIRST;
        rows->changed = mem_realloc(rows->changed, rows->cap_changed * sizeof(struct row *));
    }
    rows->changed[rows->n_changed++] = row;
}

void rows_touch(struct rows *rows, struct row *row)
{
    dirty(rows, row);
}

struct row *const *rows_changed(const struct rows *rows, size_t *n)
{
    *n = rows->n_changed;
    return rows->changed;
}

void rows_seal(struct rows *rows, struct state_shard *shard, struct state_epoch *epoch)
{
    rows->seals++;
    for (size_t i = 0; i < rows->n_changed; i++) {
        struct row *row = rows->changed[i];
        bool is_empty = row->partners.n == 0 && isinf(row->partners.total) && row->list.n == 0;
        struct str value = {0};
        buf_reset(&rows->bytes);
        if (!is_empty) {
            row_encode(row, rows->half_life_ms[row->kind], &rows->bytes);
            assert(!rows->bytes.failed);
            value = (struct str){(const char *)rows->bytes.data, rows->bytes.len};
        }
        if ((!is_empty || row->is_stored) && !fault_mutant("rows_not_stored"))
            state_related_put(shard, epoch, row->partition, (uint8_t)(1 + row->kind), row->key,
                              value);
        row->is_stored = !is_empty;
        row->is_dirty = false;
        row->sealed = rows->seals;
    }
    rows->n_changed = 0;
}

void rows_written(struct rows *rows)
{
    rows->written++;
}

struct rows_counts rows_counts(const struct rows *rows)
{
    return (struct rows_counts){.rows = rows->n, .bytes = rows->held, .evicted = rows->evicted};
}

size_t rows_pending_bytes(const struct rows *rows)
{
    return rows->n_changed * row_bytes(rows->partners_max);
}

/* ---- a row ---- */

struct str row_tenant(const struct row *row)
{
    return (struct str){(const char *)row->texts.data, row->tenant_len};
}

struct str row_subject(const struct row *row)
{
    return (struct str){(const char *)row->texts.data + row->tenant_len, row->subject_len};
}

/* The first id whose key is not below this one. */
static int id_place(const struct row *row, uint64_t key)
{
    int low = 0, high = row->n_ids;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (row->ids[middle].key < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct str row_id_of(const struct row *row, uint64_t key)
{
    int at = id_place(row, key);
    if (at == row->n_ids || row->ids[at].key != key) return (struct str){0};
    return (struct str){(const char *)row->texts.data + row->ids[at].at, row->ids[at].len};
}

/* Forgets ids of partners that the row does not hold. */
static void ids_tidy(struct rows *rows, struct row *row)
{
    struct buf *kept = &rows->bytes;
    int n = 0;
    buf_reset(kept);
    buf_push(kept, row->texts.data, (size_t)row->tenant_len + row->subject_len);
    for (int i = 0; i < row->n_ids; i++) {
        struct row_id id = row->ids[i];
        if (!model_partners_find(&row->partners, id.key)) continue;
        row->ids[n++] = (struct row_id){id.key, (uint32_t)kept->len, id.len};
        buf_push(kept, row->texts.data + id.at, id.len);
    }
    row->n_ids = n;
    buf_reset(&row->texts);
    buf_push(&row->texts, kept->data, kept->len);
}

static void id_keep(struct rows *rows, struct row *row, uint64_t key, struct str id)
{
    if (row_id_of(row, key).len > 0) return;
    if (row->n_ids == (int)ids_max(row->partners.max)) ids_tidy(rows, row);
    int at = id_place(row, key);
    memmove(row->ids + at + 1, row->ids + at, (size_t)(row->n_ids - at) * sizeof *row->ids);
    row->ids[at] = (struct row_id){key, (uint32_t)row->texts.len, (uint16_t)id.len};
    row->n_ids++;
    buf_push_str(&row->texts, id);
    assert(!row->texts.failed);
}

void rows_add(struct rows *rows, struct row *row, uint64_t key, struct str id, double weight,
              int64_t time_ms)
{
    struct model_partners *partners = &row->partners;
    size_t texts = row->texts.cap;
    if (weight > 0 && !model_partners_find(partners, key)) id_keep(rows, row, key, id);
    rows->held += row->texts.cap - texts;
    model_partners_add(partners, key, weight, model_moment(time_ms, rows->half_life_ms[row->kind]));
    if (weight > 0 && time_ms > row->newest_ms) row->newest_ms = time_ms;
    dirty(rows, row);
    if (partners->n > 0 || isfinite(partners->total)) return;
    model_partners_init(partners, row->entries, partners->max);
    row->newest_ms = INT64_MIN;
    row->looked = -(double)INFINITY;
}
