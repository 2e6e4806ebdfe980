/* The items topic in memory: one block for each item, two maps, and a ring of what changed last. */
#include "app/catalogue.h"

#include <math.h>
#include <string.h>

#include "app/reader.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/sync.h"

enum {
    BATCH_MAX = 1024,
    RETRY_MS = 200,
    RING = 1 << 16, /* changes that can be told of; a power of two */
    ITEMS_MAX = 1 << 28,
    ARENA_BLOCK = 1 << 20,
    REFUSED_LOGGED = 10, /* records that do not decode: so many are told of */
    /* of heap for each item beside its block: its places in the two maps, at most 3/4 and at least 3/8 full */
    MAPS_BYTES = 96
};

/* A record on its way in: the item it makes, or NULL when its key's item goes. */
struct change {
    uint64_t record;
    struct catalogue_item *item;
};

struct catalogue {
    struct schemas *schemas;
    size_t bytes_max;
    struct reader *reader;
    struct sync_int n_items, n_bytes, n_records, n_refused;
    /* the thread's alone */
    struct arena *arena;
    struct change *changes; /* (BATCH_MAX) */
    /* guarded by lock */
    struct rwlock lock;
    struct map_u64 *items;   /* item key -> struct catalogue_item */
    struct map_u64 *records; /* hash of the record's key -> item key */
    struct map_u64 *tenants; /* hash of the tenant -> its items */
    uint64_t version;        /* changes so far */
    uint64_t *ring;          /* (RING) the newest changed keys, change v at v % RING */
};

static uint64_t hash_of(struct str text)
{
    return schemas_id_hash(text);
}

/* ---- one item ---- */

/* Gives out parts of a block, 16 bytes apart at least. */
struct block {
    char *bytes;
    size_t used;
};

static void *block_take(struct block *block, size_t size)
{
    void *taken = block->bytes + block->used;
    block->used += (size + 15) & ~(size_t)15;
    return taken;
}

static struct str block_str(struct block *block, struct str text)
{
    char *bytes = block_take(block, text.len);
    if (text.len) memcpy(bytes, text.ptr, text.len);
    return (struct str){bytes, text.len};
}

static size_t rounded(size_t size)
{
    return (size + 15) & ~(size_t)15;
}

static size_t item_bytes(const struct item *from)
{
    size_t bytes = rounded(sizeof(struct catalogue_item)) + rounded(from->item_id.len) +
                   rounded(from->tenant.len) + rounded(from->title.len) + rounded(from->brand.len) +
                   rounded(from->n_categories * sizeof(struct str)) +
                   rounded(from->n_categories * sizeof(uint64_t)) +
                   rounded(from->n_attributes * sizeof(uint64_t)) +
                   rounded(from->n_vector * sizeof(float));
    for (size_t c = 0; c < from->n_categories; c++)
        bytes += rounded(from->categories[c].len);
    return bytes;
}

void catalogue_offer(const struct item *from, uint64_t *categories, uint64_t *attributes,
                     struct model_offer *offer)
{
    for (size_t c = 0; c < from->n_categories; c++)
        categories[c] = hash_of(from->categories[c]);
    for (size_t a = 0; a < from->n_attributes; a++)
        attributes[a] = model_attribute_hash(hash_of(from->attributes[a].key),
                                             hash_of(from->attributes[a].value));
    *offer = (struct model_offer){
        .key = schemas_item_key(from->tenant, from->item_id),
        .brand = from->brand.len ? hash_of(from->brand) : 0,
        .categories = categories,
        .n_categories = (int)from->n_categories,
        .attributes = attributes,
        .n_attributes = (int)from->n_attributes,
        .price = from->has_price ? from->price : (double)NAN,
        .stock = from->stock,
        .from_ms = from->available_from_ms,
        .until_ms = from->available_until_ms,
        .hidden = from->hidden,
    };
}

static void offer_make(struct block *block, const struct item *from, struct model_offer *offer)
{
    uint64_t *categories = block_take(block, from->n_categories * sizeof *categories);
    uint64_t *attributes = block_take(block, from->n_attributes * sizeof *attributes);
    catalogue_offer(from, categories, attributes, offer);
}

static struct catalogue_item *item_make(const struct item *from,
                                        const struct ingest_follow_record *record)
{
    size_t bytes = item_bytes(from);
    struct block block = {mem_alloc(bytes), 0};
    struct catalogue_item *item = block_take(&block, sizeof *item);
    *item = (struct catalogue_item){.partition = record->partition,
                                    .record = hash_of(record->key),
                                    .bytes = bytes + MAPS_BYTES,
                                    .n_vector = (int)from->n_vector,
                                    .since_ms = record->timestamp_ms};
    struct str *categories = block_take(&block, from->n_categories * sizeof *categories);
    float *vector = block_take(&block, from->n_vector * sizeof *vector);
    offer_make(&block, from, &item->offer);
    item->id = block_str(&block, from->item_id);
    item->tenant = block_str(&block, from->tenant);
    item->title = block_str(&block, from->title);
    item->brand = block_str(&block, from->brand);
    for (size_t c = 0; c < from->n_categories; c++)
        categories[c] = block_str(&block, from->categories[c]);
    item->categories = categories;
    if (from->n_vector)
        item->vector = memcpy(vector, from->vector, from->n_vector * sizeof *vector);
    return item;
}

/* ---- the state; the lock is held for writing ---- */

static void changed(struct catalogue *catalogue, uint64_t key)
{
    catalogue->ring[catalogue->version++ % RING] = key;
}

static void tenant_count(struct catalogue *catalogue, struct str tenant, int delta)
{
    uint64_t hash = hash_of(tenant), *n = map_u64_put(catalogue->tenants, hash, NULL);
    *n += (uint64_t)(int64_t)delta;
    if (*n == 0) (void)map_u64_delete(catalogue->tenants, hash);
}

/* Takes the item out of the state. It is the caller's to free. */
static struct catalogue_item *item_take(struct catalogue *catalogue, uint64_t key)
{
    struct catalogue_item *item = map_u64_get_ptr(catalogue->items, key);
    if (!item) return NULL;
    (void)map_u64_delete(catalogue->items, key);
    (void)map_u64_delete(catalogue->records, item->record);
    tenant_count(catalogue, item->tenant, -1);
    (void)sync_int_add(&catalogue->n_items, -1);
    (void)sync_int_add(&catalogue->n_bytes, -(int64_t)item->bytes);
    changed(catalogue, key);
    return item;
}

static void item_put(struct catalogue *catalogue, struct catalogue_item *item)
{
    uint64_t key = item->offer.key;
    const struct catalogue_item *before = map_u64_get_ptr(catalogue->items, key);
    if (before && before->since_ms < item->since_ms) item->since_ms = before->since_ms;
    mem_free(item_take(catalogue, key));
    if (item->offer.from_ms > item->since_ms) item->since_ms = item->offer.from_ms;
    (void)map_u64_set_ptr(catalogue->items, key, item);
    (void)map_u64_set(catalogue->records, item->record, key);
    tenant_count(catalogue, item->tenant, 1);
    (void)sync_int_add(&catalogue->n_items, 1);
    (void)sync_int_add(&catalogue->n_bytes, (int64_t)item->bytes);
    changed(catalogue, key);
}

/* What the record's key stood for before goes, also when it was another item. */
static void change_apply(struct catalogue *catalogue, struct change *change)
{
    const uint64_t *key = map_u64_get(catalogue->records, change->record);
    if (key && (!change->item || *key != change->item->offer.key))
        mem_free(item_take(catalogue, *key));
    if (change->item) item_put(catalogue, change->item);
}

/* The partition's log began anew: its items are taken away. */
static void partition_forget(struct catalogue *catalogue, int32_t partition)
{
    size_t at = 0, n = 0;
    uint64_t key, *value;
    uint64_t *keys = mem_alloc(map_u64_count(catalogue->items) * sizeof *keys + 1);
    while (map_u64_next(catalogue->items, &at, &key, &value))
        if (((const struct catalogue_item *)(uintptr_t)*value)->partition == partition)
            keys[n++] = key;
    for (size_t i = 0; i < n; i++)
        mem_free(item_take(catalogue, keys[i]));
    mem_free(keys);
}

/* ---- the thread ---- */

static void refused(struct catalogue *catalogue, const struct ingest_follow_record *record,
                    struct err *err)
{
    if (sync_int_add(&catalogue->n_refused, 1) <= REFUSED_LOGGED)
        log_warn("app", "item record is of no use, the item stays as it was",
                 "partition=%d offset=%lld why=\"%.200s\"", (int)record->partition,
                 (long long)record->offset, err->text);
    err->class = ERR_NONE;
}

/* false: the record makes no change. Waits for a registry that is silent: what comes later must not be applied before. */
static bool change_make(struct catalogue *catalogue, const struct reader *reader,
                        const struct ingest_follow_record *record, struct change *change)
{
    struct item from;
    struct err err = ERR_INIT;
    *change = (struct change){.record = hash_of(record->key)};
    if (!record->value.ptr) return true;
    arena_reset(catalogue->arena);
    while (!schemas_item_decode(catalogue->schemas, record->value, catalogue->arena, &from, &err)) {
        if (err.class != ERR_RETRY || reader_is_stopping(reader)) {
            refused(catalogue, record, &err);
            return false;
        }
        sync_sleep_ms(RETRY_MS);
    }
    change->item = item_make(&from, record);
    return true;
}

/* Items are made before the lock is taken, so that readers wait for their places alone. Errors: over the bound. */
static bool batch_apply(void *context, struct reader *reader,
                        const struct ingest_follow_batch *batch, struct err *err)
{
    struct catalogue *catalogue = context;
    int n = 0;
    for (int i = 0; i < batch->n; i++) {
        const struct ingest_follow_record *record = &batch->records[i];
        if (record->kind == FOLLOW_RECORD)
            n += change_make(catalogue, reader, record, &catalogue->changes[n]);
        if (record->kind == FOLLOW_RECORD && i + 1 < batch->n) continue;
        rwlock_write(&catalogue->lock);
        for (int c = 0; c < n; c++)
            change_apply(catalogue, &catalogue->changes[c]);
        if (record->kind == FOLLOW_RESTART) partition_forget(catalogue, record->partition);
        rwlock_write_end(&catalogue->lock);
        n = 0;
    }
    (void)sync_int_add(&catalogue->n_records, batch->n);
    int64_t bytes = sync_int_get(&catalogue->n_bytes);
    if ((size_t)bytes <= catalogue->bytes_max) return true;
    return err_fatal(
        err, ERR_EXIT_USAGE,
        "the catalogue takes over items.memory.max.bytes=%zu with %lld items: raise it",
        catalogue->bytes_max, (long long)sync_int_get(&catalogue->n_items));
}

/* ---- public ---- */

static struct catalogue *catalogue_new(const struct catalogue_options *options)
{
    struct catalogue *catalogue = mem_zalloc(sizeof *catalogue);
    catalogue->schemas = options->schemas;
    catalogue->bytes_max = options->bytes_max;
    catalogue->arena = arena_new(ARENA_BLOCK, SIZE_MAX);
    catalogue->changes = mem_alloc(BATCH_MAX * sizeof *catalogue->changes);
    catalogue->items = map_u64_new(ITEMS_MAX);
    catalogue->records = map_u64_new(ITEMS_MAX);
    catalogue->tenants = map_u64_new(ITEMS_MAX);
    catalogue->ring = mem_alloc(RING * sizeof *catalogue->ring);
    rwlock_init(&catalogue->lock);
    return catalogue;
}

bool catalogue_open(struct catalogue **out, const struct catalogue_options *options,
                    struct err *err)
{
    struct catalogue *catalogue = catalogue_new(options);
    struct reader_options reader = {.name = "catalogue",
                                    .kafka = options->kafka,
                                    .topics = &options->topic,
                                    .n_topics = 1,
                                    .timeout_ms = options->timeout_ms,
                                    .batch_max = BATCH_MAX,
                                    .apply = batch_apply,
                                    .context = catalogue};
    if (!reader_open(&catalogue->reader, &reader, err)) {
        catalogue_close(catalogue);
        return false;
    }
    log_info("app", "catalogue read", "topic=%s items=%lld bytes=%lld", options->topic,
             (long long)sync_int_get(&catalogue->n_items),
             (long long)sync_int_get(&catalogue->n_bytes));
    *out = catalogue;
    return true;
}

void catalogue_close(struct catalogue *catalogue)
{
    if (!catalogue) return;
    reader_close(catalogue->reader);
    size_t at = 0;
    uint64_t key, *value;
    while (map_u64_next(catalogue->items, &at, &key, &value))
        mem_free((void *)(uintptr_t)*value);
    map_u64_free(catalogue->items);
    map_u64_free(catalogue->records);
    map_u64_free(catalogue->tenants);
    arena_free(catalogue->arena);
    rwlock_fini(&catalogue->lock);
    mem_free(catalogue->changes);
    mem_free(catalogue->ring);
    mem_free(catalogue);
}

bool catalogue_check(struct catalogue *catalogue, struct err *err)
{
    return reader_check(catalogue->reader, err);
}

bool catalogue_confirm(struct catalogue *catalogue, int timeout_ms, struct err *err)
{
    return reader_confirm(catalogue->reader, timeout_ms, err);
}

struct catalogue_counts catalogue_counts(struct catalogue *catalogue)
{
    return (struct catalogue_counts){.items = sync_int_get(&catalogue->n_items),
                                     .bytes = sync_int_get(&catalogue->n_bytes),
                                     .records = sync_int_get(&catalogue->n_records),
                                     .refused = sync_int_get(&catalogue->n_refused),
                                     .lag = reader_lag(catalogue->reader)};
}

void catalogue_hold(struct catalogue *catalogue)
{
    rwlock_read(&catalogue->lock);
}

void catalogue_release(struct catalogue *catalogue)
{
    rwlock_read_end(&catalogue->lock);
}

const struct catalogue_item *catalogue_find(const struct catalogue *catalogue, uint64_t key)
{
    return map_u64_get_ptr(catalogue->items, key);
}

bool catalogue_has_tenant(const struct catalogue *catalogue, struct str tenant)
{
    return map_u64_get(catalogue->tenants, hash_of(tenant)) != NULL;
}

uint64_t catalogue_version(const struct catalogue *catalogue)
{
    return catalogue->version;
}

bool catalogue_changes(const struct catalogue *catalogue, uint64_t since,
                       void (*visit)(void *context, uint64_t key), void *context)
{
    if (catalogue->version - since > RING) return false;
    for (uint64_t v = since; v < catalogue->version; v++)
        visit(context, catalogue->ring[v % RING]);
    return true;
}

void catalogue_each(const struct catalogue *catalogue,
                    void (*visit)(void *context, const struct catalogue_item *item), void *context)
{
    size_t at = 0;
    uint64_t key, *value;
    while (map_u64_next(catalogue->items, &at, &key, &value))
        visit(context, (const struct catalogue_item *)(uintptr_t)*value);
}
