/* A shard's users in memory: a hash map of (partition, key) over blocks of one size, with a byte limit.
 *
 * A block has room for the longest window, so a user never moves and never needs another block: no allocation once the
 * cache is full, no fragments. The price is the unused part of short windows, 24 bytes an interaction (docs/STATE.md,
 * "Memory", has the arithmetic). Encoder states have blocks of their own (encoders.c), which count here too.
 *
 * Only clean users (nothing to write) stand in the LRU list, so dropping is always its tail. Blocks are taken back
 * to the heap only by state_shard_trim, when users that could not be dropped had pushed the cache over its limit. */
#include "state/internal.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

enum { BLOCK_ALIGN = 64, BUCKETS_MIN = 64 };

void *state__grow(void *array, size_t n, size_t *cap, size_t element)
{
    if (n < *cap) return array;
    *cap = *cap ? *cap * 2 : 64;
    return mem_realloc(array, *cap * element);
}

/* ---- blocks ---- */

static size_t round_up(size_t n)
{
    return (n + BLOCK_ALIGN - 1) & ~(size_t)(BLOCK_ALIGN - 1);
}

static size_t window_at(void)
{
    return round_up(sizeof(struct slot));
}

static struct slot *slot_new(struct state_shard *shard)
{
    struct slot *slot = mem_aligned(BLOCK_ALIGN, shard->cache.slot_bytes);
    slot->user.encoder = NULL;
    slot->user.window = (struct interaction *)(void *)((char *)slot + window_at());
    shard->cache.n_slots++;
    return slot;
}

static void slot_free(struct state_shard *shard, struct slot *slot)
{
    struct cache *cache = &shard->cache;
    state__encoder_drop(shard, slot);
    if (slot->long_key) cache->extra_bytes -= STATE_KEY_MAX;
    mem_free(slot->long_key);
    mem_free(slot);
    cache->n_slots--;
}

struct str state__slot_key(const struct slot *slot)
{
    return (struct str){slot->key_len > STATE_KEY_INLINE ? slot->long_key : slot->key,
                        slot->key_len};
}

static void slot_set_key(struct cache *cache, struct slot *slot, struct str key)
{
    slot->key_len = (uint16_t)key.len;
    if (key.len > STATE_KEY_INLINE && !slot->long_key) {
        slot->long_key = mem_alloc(STATE_KEY_MAX);
        cache->extra_bytes += STATE_KEY_MAX;
    }
    memcpy(key.len > STATE_KEY_INLINE ? slot->long_key : slot->key, key.ptr, key.len);
}

/* ---- the LRU list of clean users ---- */

static void lru_remove(struct cache *cache, struct slot *slot)
{
    *(slot->newer ? &slot->newer->older : &cache->newest) = slot->older;
    *(slot->older ? &slot->older->newer : &cache->oldest) = slot->newer;
    slot->newer = slot->older = NULL;
}

static void lru_insert(struct cache *cache, struct slot *slot)
{
    slot->newer = NULL;
    slot->older = cache->newest;
    *(cache->newest ? &cache->newest->newer : &cache->oldest) = slot;
    cache->newest = slot;
}

static bool is_clean(const struct slot *slot)
{
    return !slot->dirty && slot->sealed == 0;
}

/* ---- the map ---- */

static struct slot **bucket_of(struct cache *cache, uint64_t hash)
{
    return cache->buckets + (hash & cache->bucket_mask);
}

static struct slot *map_find(struct cache *cache, uint64_t hash, struct str key)
{
    for (struct slot *slot = *bucket_of(cache, hash); slot; slot = slot->chain)
        if (slot->hash == hash && str_equal(state__slot_key(slot), key)) return slot;
    return NULL;
}

static void map_remove(struct cache *cache, struct slot *gone)
{
    struct slot **link = bucket_of(cache, gone->hash);
    while (*link != gone)
        link = &(*link)->chain;
    *link = gone->chain;
}

static void slot_to_free_list(struct cache *cache, struct slot *slot)
{
    slot->chain = cache->free;
    cache->free = slot;
    cache->n_free++;
}

static void evict(struct state_shard *shard, struct slot *slot)
{
    struct cache *cache = &shard->cache;
    state__encoder_drop(shard, slot);
    lru_remove(cache, slot);
    map_remove(cache, slot);
    slot_to_free_list(cache, slot);
}

static size_t held_bytes(const struct state_shard *shard)
{
    const struct cache *cache = &shard->cache;
    return cache->n_slots * cache->slot_bytes + cache->extra_bytes + shard->encoders.bytes +
           (cache->bucket_mask + 1) * sizeof *cache->buckets;
}

/* What one more user takes. */
static size_t user_bytes(const struct state_shard *shard)
{
    return shard->cache.slot_bytes + (shard->encoders.rebuild ? 0 : shard->encoders.block_bytes);
}

/* A block for a new user: a free one; at the limit the oldest clean user's, unless it was asked for since the last trim
 * (its pointer still lives); else one from the heap. */
static struct slot *slot_take(struct state_shard *shard)
{
    struct cache *cache = &shard->cache;
    if (!cache->free && held_bytes(shard) + user_bytes(shard) > cache->limit && cache->oldest &&
        cache->oldest->used < cache->generation)
        evict(shard, cache->oldest);
    struct slot *slot = cache->free;
    if (!slot) return slot_new(shard);
    cache->free = slot->chain;
    cache->n_free--;
    return slot;
}

void state__cache_init(struct state_shard *shard)
{
    const struct state_options *options = &shard->state->options;
    struct cache *cache = &shard->cache;
    cache->slot_bytes =
        round_up(window_at() + (size_t)options->window_max * sizeof(struct interaction));
    cache->limit = options->cache_bytes / (size_t)options->shards;
    cache->generation = 1;
    size_t n = BUCKETS_MIN;
    while (n < cache->limit / user_bytes(shard))
        n *= 2;
    cache->bucket_mask = n - 1;
    cache->buckets = mem_zalloc(n * sizeof(struct slot *));
}

void state__cache_fini(struct state_shard *shard)
{
    struct cache *cache = &shard->cache;
    for (size_t i = 0; i <= cache->bucket_mask; i++)
        for (struct slot *slot = cache->buckets[i], *next; slot; slot = next) {
            next = slot->chain;
            slot_free(shard, slot);
        }
    for (struct slot *slot = cache->free, *next; slot; slot = next) {
        next = slot->chain;
        slot_free(shard, slot);
    }
    mem_free(cache->buckets);
}

void state__cache_release(struct state_shard *shard, struct slot *slot)
{
    if (is_clean(slot)) lru_insert(&shard->cache, slot);
}

void state__cache_drop(struct state_shard *shard, int32_t partition)
{
    struct cache *cache = &shard->cache;
    size_t kept = 0;
    for (size_t i = 0; i < shard->n_dirty; i++)
        if (shard->dirty[i]->partition != partition) shard->dirty[kept++] = shard->dirty[i];
    shard->n_dirty = kept;
    for (size_t i = 0; i <= cache->bucket_mask; i++) {
        struct slot **link = cache->buckets + i;
        while (*link) {
            struct slot *slot = *link;
            if (slot->partition != partition) {
                link = &slot->chain;
                continue;
            }
            if (is_clean(slot)) lru_remove(cache, slot);
            state__encoder_drop(shard, slot);
            *link = slot->chain;
            slot_to_free_list(cache, slot);
        }
    }
}

/* ---- users ---- */

/* What the store has of the user, with its encoder state when that is of the model's size. */
static const char *decode(struct state_shard *shard, struct slot *slot, struct str value)
{
    uint32_t n_window, n_encoder;
    int S = shard->encoders.floats, window_max = shard->state->options.window_max;
    if (state__user_shape(value, &n_window, &n_encoder) && n_encoder > 0 && (int)n_encoder == S)
        (void)state_user_encoder(shard, &slot->user);
    return state__user_decode(value, window_max, S, &slot->user);
}

/* Reads the user's value into the slot. */
static bool load(struct state_shard *shard, struct slot *slot, struct err *err)
{
    struct state *state = shard->state;
    struct str key = state__slot_key(slot);
    char *error = NULL;
    rocksdb_pinnableslice_t *found = rocksdb_get_pinned_cf(
        state->db, state->read, state->family[FAMILY_USERS], key.ptr, key.len, &error);
    if (error) return state__rocksdb_error(state, error, "reading a user", err);
    if (!found) {
        state__user_clear(&slot->user);
        return state__guard_load(shard, slot, true, err);
    }
    struct str value;
    value.ptr = rocksdb_pinnableslice_value(found, &value.len);
    const char *why = decode(shard, slot, value);
    rocksdb_pinnableslice_destroy(found);
    if (why) return state__corrupt(state, "user", slot->hash, why, err);
    return state__guard_load(shard, slot, false, err);
}

bool state_user_get(struct state_shard *shard, int32_t partition, struct str key,
                    struct user **user, struct err *err)
{
    struct cache *cache = &shard->cache;
    char bytes[STATE_KEY_MAX];
    assert(key.len <= SCHEMAS_USER_KEY_MAX && partition >= 0);
    assert(partition < shard->state->n_partitions && shard->partitions[partition]);
    struct str stored = {bytes, state__user_key(partition, key, bytes)};
    uint64_t hash = schemas_id_hash(stored);
    struct slot *slot = map_find(cache, hash, stored);
    if (slot) {
        if (is_clean(slot) && slot != cache->newest) {
            lru_remove(cache, slot);
            lru_insert(cache, slot);
        }
    } else {
        slot = slot_take(shard);
        slot->hash = hash;
        slot->partition = partition;
        slot->dirty = false;
        slot->sealed = 0;
        slot_set_key(cache, slot, stored);
        if (!load(shard, slot, err)) {
            state__encoder_drop(shard, slot);
            slot_to_free_list(cache, slot);
            return false;
        }
        slot->chain = *bucket_of(cache, hash);
        *bucket_of(cache, hash) = slot;
        lru_insert(cache, slot);
    }
    slot->used = cache->generation;
    *user = &slot->user;
    return true;
}

void state_user_dirty(struct state_shard *shard, struct user *user)
{
    struct slot *slot = (struct slot *)(void *)user;
    if (slot->dirty) return;
    if (is_clean(slot)) lru_remove(&shard->cache, slot);
    slot->dirty = true;
    shard->dirty =
        state__grow(shard->dirty, shard->n_dirty, &shard->cap_dirty, sizeof(struct slot *));
    shard->dirty[shard->n_dirty++] = slot;
}

void state_shard_trim(struct state_shard *shard)
{
    struct cache *cache = &shard->cache;
    state_encoders_trim(shard);
    while (held_bytes(shard) > cache->limit) {
        if (state__encoders_shrink(shard)) continue;
        if (!cache->free && !cache->oldest) break;
        if (!cache->free) evict(shard, cache->oldest);
        struct slot *slot = cache->free;
        cache->free = slot->chain;
        cache->n_free--;
        slot_free(shard, slot);
    }
    cache->generation++;
}

size_t state_cache_bytes(const struct state_shard *shard)
{
    return held_bytes(shard);
}
