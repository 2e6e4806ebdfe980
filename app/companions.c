/* The topics of related items and of what rises in memory. */
#include "app/companions.h"

#include <math.h>
#include <string.h>

#include "app/reader.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/sync.h"

enum {
    BATCH_MAX = 256,
    ARENA_BLOCK = 1 << 16,
    NONE = -1,
    ROWS_FIRST = 1024,
    ROWS_MAX = 1 << 30,
    NAMES_MAX = 1 << 30
};

/* Ids, for each list of the bound: items stand in several lists each, and when ids are more or longer, fewer lists are kept. */
enum { NAMES_PER_LIST = 3, NAME_BYTES = 48 };

/* A list. Rows lie in one block and are chained from the one published last to the one published longest ago; those not in use are
 * chained by `older` alone. */
struct row {
    uint64_t id;     /* of item and kind */
    uint64_t record; /* hash of the record's key */
    int32_t newer, older;
    int32_t n;
    int32_t topic, partition; /* it came from */
    int64_t time_ms, half_life_ms;
    struct model_scored list[MODEL_RELATED_PARTNERS]; /* (n) */
};

/* An id, for as long as some list holds its item. */
struct name {
    int64_t holders;
    size_t len;
    char id[];
};

struct companions {
    struct schemas *schemas;
    struct reader *reader; /* NULL: the table alone */
    const char *topics[2]; /* (n_topics) */
    int n_topics;
    int trending;        /* which of them tells what rises; -1 none */
    struct arena *arena; /* of one record; the reader's thread */
    struct sync_int n_lists, n_records, n_refused, n_evicted;
    size_t rows_max, names_max, names_bytes_max;
    struct rwlock lock;
    /* guarded by lock */
    struct row *rows; /* (rows_cap) */
    int32_t n_rows, rows_cap;
    int32_t newest, oldest, unused;
    struct map_u64 *by_id, *by_record; /* to the row's number */
    struct map_u64 *names;             /* item key to struct name */
    size_t names_bytes;
};

/* Lists of one item and kind: the low bits of a key are as good as any others. */
static uint64_t id_of(uint64_t item, enum related_kind kind)
{
    return item ^ (uint64_t)(kind + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

/* ---- rows ---- */

static void unchain(struct companions *c, int32_t at)
{
    struct row *row = &c->rows[at];
    *(row->newer == NONE ? &c->newest : &c->rows[row->newer].older) = row->older;
    *(row->older == NONE ? &c->oldest : &c->rows[row->older].newer) = row->newer;
}

static void chain(struct companions *c, int32_t at)
{
    struct row *row = &c->rows[at];
    row->newer = NONE;
    row->older = c->newest;
    *(c->newest == NONE ? &c->oldest : &c->rows[c->newest].newer) = at;
    c->newest = at;
}

static void name_hold(struct companions *c, uint64_t key, struct str id)
{
    struct name *name = map_u64_get_ptr(c->names, key);
    if (!name) {
        name = mem_alloc(sizeof *name + id.len);
        *name = (struct name){.len = id.len};
        memcpy(name->id, id.ptr, id.len);
        (void)map_u64_set_ptr(c->names, key, name);
        c->names_bytes += sizeof *name + id.len;
    }
    name->holders++;
}

static void name_let_go(struct companions *c, uint64_t key)
{
    struct name *name = map_u64_get_ptr(c->names, key);
    if (--name->holders > 0) return;
    c->names_bytes -= sizeof *name + name->len;
    (void)map_u64_delete(c->names, key);
    mem_free(name);
}

static void row_drop(struct companions *c, int32_t at)
{
    unchain(c, at);
    for (int i = 0; i < c->rows[at].n; i++)
        name_let_go(c, c->rows[at].list[i].key);
    (void)map_u64_delete(c->by_id, c->rows[at].id);
    (void)map_u64_delete(c->by_record, c->rows[at].record);
    c->rows[at].older = c->unused;
    c->unused = at;
    sync_int_add(&c->n_lists, -1);
}

static void oldest_drop(struct companions *c)
{
    row_drop(c, c->oldest);
    sync_int_add(&c->n_evicted, 1);
}

static int32_t row_new(struct companions *c)
{
    if (c->unused == NONE && (size_t)c->n_rows == c->rows_max) oldest_drop(c);
    sync_int_add(&c->n_lists, 1);
    if (c->unused != NONE) {
        int32_t at = c->unused;
        c->unused = c->rows[at].older;
        return at;
    }
    if (c->n_rows == c->rows_cap) {
        size_t cap = c->rows_cap ? (size_t)c->rows_cap * 2 : ROWS_FIRST;
        c->rows_cap = (int32_t)(cap < c->rows_max ? cap : c->rows_max);
        c->rows = mem_realloc(c->rows, (size_t)c->rows_cap * sizeof *c->rows);
    }
    return c->n_rows++;
}

struct companions *companions_new(size_t bytes_max)
{
    struct companions *c = mem_zalloc(sizeof *c);
    size_t place = map_u64_bytes_for(ROWS_FIRST) / ROWS_FIRST;
    size_t each = sizeof(struct row) + 2 * place + NAMES_PER_LIST * (place + NAME_BYTES);
    c->rows_max = bytes_max / each;
    if (c->rows_max < 1) c->rows_max = 1;
    if (c->rows_max > ROWS_MAX) c->rows_max = ROWS_MAX;
    c->names_max = NAMES_PER_LIST * c->rows_max;
    c->names_bytes_max = NAME_BYTES * c->names_max;
    c->newest = c->oldest = c->unused = NONE;
    c->by_id = map_u64_new(c->rows_max);
    c->by_record = map_u64_new(c->rows_max);
    c->names = map_u64_new(NAMES_MAX);
    rwlock_init(&c->lock);
    return c;
}

void companions_take(struct companions *c, uint64_t record)
{
    const uint64_t *at = map_u64_get(c->by_record, record);
    if (at) row_drop(c, (int32_t)*at);
}

void companions_put(struct companions *c, uint64_t record, const struct related *list)
{
    uint64_t id = id_of(schemas_item_key(list->tenant, list->item_id), list->kind);
    const uint64_t *same = map_u64_get(c->by_id, id);
    if (same) row_drop(c, (int32_t)*same);
    companions_take(c, record);
    if (list->n_items == 0) return;
    int32_t at = row_new(c);
    struct row *row = &c->rows[at];
    row->id = id;
    row->record = record;
    row->time_ms = list->event_time_ms;
    row->half_life_ms = list->decay.half_life_ms;
    row->n =
        (int32_t)(list->n_items < MODEL_RELATED_PARTNERS ? list->n_items : MODEL_RELATED_PARTNERS);
    for (int i = 0; i < row->n; i++) {
        struct str other = list->items[i].item_id;
        row->list[i] = (struct model_scored){schemas_item_key(list->tenant, other),
                                             (double)list->items[i].score};
        name_hold(c, row->list[i].key, other);
    }
    chain(c, at);
    (void)map_u64_set(c->by_id, id, (uint64_t)at);
    (void)map_u64_set(c->by_record, record, (uint64_t)at);
    while (c->oldest != at &&
           (map_u64_count(c->names) > c->names_max || c->names_bytes > c->names_bytes_max))
        oldest_drop(c);
}

/* ---- the thread ---- */

/* A partition whose log is another one now. */
static void partition_forget(struct companions *c, int32_t topic, int32_t partition)
{
    for (int32_t at = c->newest; at != NONE;) {
        int32_t older = c->rows[at].older;
        if (c->rows[at].topic == topic && c->rows[at].partition == partition) row_drop(c, at);
        at = older;
    }
}

static void refused(struct companions *c, const struct ingest_follow_record *record,
                    const struct err *err)
{
    sync_int_add(&c->n_refused, 1);
    log_warn("app", "no list of items", "topic=%s partition=%d offset=%lld reason=\"%s\"",
             c->topics[record->topic], (int)record->partition, (long long)record->offset,
             err->text);
}

/* A list of what rises is told as one of related items, of the category. */
static bool list_decode(struct companions *c, const struct ingest_follow_record *record,
                        struct related *list, struct err *err)
{
    struct trending rising;
    if (record->topic != c->trending)
        return schemas_related_decode(c->schemas, record->value, c->arena, list, err);
    if (!schemas_trending_decode(c->schemas, record->value, c->arena, &rising, err)) return false;
    *list = (struct related){.item_id = rising.category,
                             .tenant = rising.tenant,
                             .kind = (enum related_kind)COMPANIONS_RISING,
                             .items = rising.items,
                             .n_items = rising.n_items,
                             .decay = rising.decay,
                             .event_time_ms = rising.event_time_ms};
    return true;
}

static void record_apply(struct companions *c, const struct ingest_follow_record *record)
{
    struct err err = ERR_INIT;
    struct related list;
    uint64_t id = schemas_id_hash(record->key) + (uint64_t)record->topic; /* a key of each topic */
    arena_reset(c->arena);
    bool has_list = record->kind == FOLLOW_RECORD && record->value.ptr;
    if (has_list && !list_decode(c, record, &list, &err)) {
        refused(c, record, &err);
        return;
    }
    sync_int_add(&c->n_records, 1);
    rwlock_write(&c->lock);
    if (record->kind == FOLLOW_RESTART) partition_forget(c, record->topic, record->partition);
    if (record->kind == FOLLOW_RECORD && !has_list) companions_take(c, id);
    if (has_list) {
        companions_put(c, id, &list);
        if (list.n_items > 0) {
            c->rows[c->newest].topic = record->topic;
            c->rows[c->newest].partition = record->partition;
        }
    }
    rwlock_write_end(&c->lock);
}

static bool batch_apply(void *context, struct reader *reader,
                        const struct ingest_follow_batch *batch, struct err *err)
{
    (void)reader;
    (void)err;
    for (int i = 0; i < batch->n; i++)
        record_apply(context, &batch->records[i]);
    return true;
}

static void topics_set(struct companions *c, const struct companions_options *options)
{
    c->trending = -1;
    if (options->related_topic) c->topics[c->n_topics++] = options->related_topic;
    if (!options->trending_topic) return;
    c->trending = c->n_topics;
    c->topics[c->n_topics++] = options->trending_topic;
}

bool companions_open(struct companions **out, const struct companions_options *options,
                     struct err *err)
{
    struct companions *c = companions_new(options->bytes_max);
    c->schemas = options->schemas;
    c->arena = arena_new(ARENA_BLOCK, SIZE_MAX);
    topics_set(c, options);
    struct reader_options reader = {.name = "companions",
                                    .kafka = options->kafka,
                                    .topics = c->topics,
                                    .n_topics = c->n_topics,
                                    .timeout_ms = options->timeout_ms,
                                    .batch_max = BATCH_MAX,
                                    .apply = batch_apply,
                                    .context = c};
    if (!reader_open(&c->reader, &reader, err)) {
        companions_close(c);
        return false;
    }
    log_info("app", "published lists read", "lists=%lld", (long long)sync_int_get(&c->n_lists));
    *out = c;
    return true;
}

void companions_close(struct companions *c)
{
    if (!c) return;
    reader_close(c->reader);
    while (c->newest != NONE)
        row_drop(c, c->newest);
    arena_free(c->arena);
    map_u64_free(c->names);
    map_u64_free(c->by_id);
    map_u64_free(c->by_record);
    rwlock_fini(&c->lock);
    mem_free(c->rows);
    mem_free(c);
}

bool companions_check(struct companions *c, struct err *err)
{
    return reader_check(c->reader, err);
}

struct companions_counts companions_counts(struct companions *c)
{
    rwlock_read(&c->lock);
    size_t bytes = (size_t)c->rows_cap * sizeof *c->rows + map_u64_bytes(c->by_id) +
                   map_u64_bytes(c->by_record) + map_u64_bytes(c->names) + c->names_bytes;
    rwlock_read_end(&c->lock);
    return (struct companions_counts){.lists = sync_int_get(&c->n_lists),
                                      .bytes = (int64_t)bytes,
                                      .records = sync_int_get(&c->n_records),
                                      .refused = sync_int_get(&c->n_refused),
                                      .evicted = sync_int_get(&c->n_evicted),
                                      .lag = c->reader ? reader_lag(c->reader) : 0};
}

/* ---- shards ---- */

void companions_hold(struct companions *c)
{
    rwlock_read(&c->lock);
}

void companions_release(struct companions *c)
{
    rwlock_read_end(&c->lock);
}

int companions_find(const struct companions *c, uint64_t item, enum related_kind kind,
                    const struct model_scored **list)
{
    const uint64_t *at = map_u64_get(c->by_id, id_of(item, kind));
    if (!at) return 0;
    *list = c->rows[*at].list;
    return c->rows[*at].n;
}

int companions_rising(const struct companions *c, uint64_t category, int64_t now_ms,
                      const struct model_scored **list, double *weight)
{
    const uint64_t *at =
        map_u64_get(c->by_id, id_of(category, (enum related_kind)COMPANIONS_RISING));
    if (!at) return 0;
    const struct row *row = &c->rows[*at];
    double age = now_ms > row->time_ms ? (double)(now_ms - row->time_ms) : 0;
    *list = row->list;
    *weight = row->half_life_ms > 0 ? exp2(-age / (double)row->half_life_ms) : 1;
    return row->n;
}

struct str companions_item_id(const struct companions *c, uint64_t key)
{
    const struct name *name = map_u64_get_ptr(c->names, key);
    return name ? (struct str){name->id, name->len} : (struct str){0};
}
