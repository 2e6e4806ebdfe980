/* Two open-addressing maps, one for numbers and one for bytes. They share the probing rule, written out twice because the
 * entries differ; tests compare both with a plain array of all keys.
 *
 *   place:   0    1    2    3    4    5    6    7
 *          [ c ][   ][   ][   ][ a ][ b ][ d ][   ]      home(a) = home(b) = 4, home(d) = 5, home(c) = 0
 *
 * A key is at its home place or in the unbroken run of used places behind it, the end joined to the beginning. So a search
 * stops at the first free place, and a deletion must not leave a hole in a run: deleting a moves b to 4 and d to 5, and
 * stops at the free place 7. */
#include "base/map.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

enum { MAP_SMALLEST = 16 };

/* Entries that fit in `places` places at the highest load. */
static size_t map_fill_limit(size_t places)
{
    return places - places / 4;
}

/* The smallest power of two that holds n entries. */
static size_t map_places_for(size_t n)
{
    size_t places = MAP_SMALLEST;
    while (map_fill_limit(places) < n)
        places *= 2;
    return places;
}

/* Is place `home` outside the cyclic range (gap, at]? Then the entry at `at` may move to the gap. */
static bool map_may_shift(size_t home, size_t gap, size_t at)
{
    if (gap <= at) return home <= gap || home > at;
    return home <= gap && home > at;
}

/* ---- 64-bit keys ---- */

struct map_u64_entry {
    uint64_t key;
    uint64_t value;
};

struct map_u64 {
    struct map_u64_entry *entries; /* (places) */
    uint8_t *used;                 /* (places) 1 where an entry is */
    size_t places;                 /* power of two */
    size_t count;
    size_t max;
};

/* Finaliser of splitmix64: keys may be small numbers in a row. */
static size_t map_u64_home(const struct map_u64 *map, uint64_t key)
{
    key ^= key >> 30;
    key *= 0xbf58476d1ce4e5b9u;
    key ^= key >> 27;
    key *= 0x94d049bb133111ebu;
    key ^= key >> 31;
    return (size_t)key & (map->places - 1);
}

/* The key's place, or the free place where it would go. */
static size_t map_u64_find(const struct map_u64 *map, uint64_t key)
{
    /* The load factor leaves a free place, so this ends. */
    size_t at = map_u64_home(map, key);
    while (map->used[at] && map->entries[at].key != key)
        at = (at + 1) & (map->places - 1);
    return at;
}

/* Moves all entries to new storage of `places` places. Both arrays come first, the old ones go last: a reader of the old
 * copy stays valid while entries move. */
static void map_u64_resize(struct map_u64 *map, size_t places)
{
    struct map_u64 old = *map;
    map->places = places;
    map->entries = mem_alloc(places * sizeof(*map->entries));
    map->used = mem_zalloc(places);
    for (size_t i = 0; i < old.places; i++) {
        if (!old.used[i]) continue;
        size_t at = map_u64_find(map, old.entries[i].key);
        map->entries[at] = old.entries[i];
        map->used[at] = 1;
    }
    mem_free(old.entries);
    mem_free(old.used);
}

struct map_u64 *map_u64_new(size_t max)
{
    assert(max > 0);
    struct map_u64 *map = mem_zalloc(sizeof(*map));
    map->max = max;
    map_u64_resize(map, MAP_SMALLEST);
    return map;
}

void map_u64_free(struct map_u64 *map)
{
    if (map == NULL) return;
    mem_free(map->entries);
    mem_free(map->used);
    mem_free(map);
}

void map_u64_reserve(struct map_u64 *map, size_t n)
{
    assert(n <= map->max);
    size_t places = map_places_for(n);
    if (places > map->places) map_u64_resize(map, places);
}

size_t map_u64_count(const struct map_u64 *map)
{
    return map->count;
}

size_t map_u64_bytes(const struct map_u64 *map)
{
    return sizeof(*map) + map->places * (sizeof(*map->entries) + 1);
}

size_t map_u64_bytes_for(size_t n)
{
    return sizeof(struct map_u64) + map_places_for(n) * (sizeof(struct map_u64_entry) + 1);
}

uint64_t *map_u64_get(const struct map_u64 *map, uint64_t key)
{
    size_t at = map_u64_find(map, key);
    return map->used[at] ? &map->entries[at].value : NULL;
}

uint64_t *map_u64_put(struct map_u64 *map, uint64_t key, bool *added)
{
    size_t at = map_u64_find(map, key);
    bool is_new = !map->used[at];
    if (added != NULL) *added = is_new && map->count < map->max;
    if (!is_new) return &map->entries[at].value;
    if (map->count == map->max) return NULL;
    /* Full by load, not by maximum: grow, and find the place anew. */
    if (map->count == map_fill_limit(map->places)) {
        map_u64_resize(map, map->places * 2);
        at = map_u64_find(map, key);
    }
    map->used[at] = 1;
    map->entries[at] = (struct map_u64_entry){.key = key, .value = 0};
    map->count++;
    return &map->entries[at].value;
}

bool map_u64_set(struct map_u64 *map, uint64_t key, uint64_t value)
{
    uint64_t *place = map_u64_put(map, key, NULL);
    if (place == NULL) return false;
    *place = value;
    return true;
}

void *map_u64_get_ptr(const struct map_u64 *map, uint64_t key)
{
    const uint64_t *place = map_u64_get(map, key);
    return place == NULL ? NULL : (void *)(uintptr_t)*place;
}

bool map_u64_set_ptr(struct map_u64 *map, uint64_t key, void *value)
{
    return map_u64_set(map, key, (uint64_t)(uintptr_t)value);
}

bool map_u64_delete(struct map_u64 *map, uint64_t key)
{
    size_t gap = map_u64_find(map, key);
    if (!map->used[gap]) return false;
    /* Move back what was pushed past the gap, until a free place ends the run. */
    size_t at = gap;
    for (;;) {
        at = (at + 1) & (map->places - 1);
        if (!map->used[at]) break;
        if (!map_may_shift(map_u64_home(map, map->entries[at].key), gap, at)) continue;
        map->entries[gap] = map->entries[at];
        gap = at;
    }
    map->used[gap] = 0;
    map->count--;
    return true;
}

void map_u64_clear(struct map_u64 *map)
{
    memset(map->used, 0, map->places);
    map->count = 0;
}

bool map_u64_next(const struct map_u64 *map, size_t *at, uint64_t *key, uint64_t **value)
{
    while (*at < map->places && !map->used[*at])
        ++*at;
    if (*at >= map->places) return false;
    *key = map->entries[*at].key;
    *value = &map->entries[*at].value;
    ++*at;
    return true;
}

void map_u64_verify(const struct map_u64 *map)
{
    size_t count = 0;
    for (size_t i = 0; i < map->places; i++) {
        if (!map->used[i]) continue;
        count++;
        assert(map_u64_find(map, map->entries[i].key) == i);
    }
    assert(count == map->count);
    assert(count <= map->max && count <= map_fill_limit(map->places));
    (void)count;
}

/* ---- byte keys ---- */

struct map_str_entry {
    uint64_t hash;
    struct str key; /* the map's copy, or borrowed */
    void *value;    /* NULL: the place is free */
};

struct map_str {
    struct map_str_entry *entries; /* (places) */
    size_t places;                 /* power of two */
    size_t count;
    size_t max;
    size_t key_bytes; /* of copied keys */
    enum map_keys keys;
};

/* FNV-1a, then mixed, because the low bits choose the place. Not against chosen keys: keys from outside are bounded in
 * number by max, and maps on the hot path are keyed by XXH3 in map_u64. */
static uint64_t map_str_hash(struct str key)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < key.len; i++) {
        hash ^= (uint8_t)key.ptr[i];
        hash *= 0x100000001b3u;
    }
    hash ^= hash >> 32;
    hash *= 0x9e3779b97f4a7c15u;
    return hash ^ (hash >> 29);
}

/* The key's place, or the free place where it would go. The hash is compared first: most keys differ in it. */
static size_t map_str_find(const struct map_str *map, struct str key, uint64_t hash)
{
    size_t at = (size_t)hash & (map->places - 1);
    while (map->entries[at].value != NULL) {
        if (map->entries[at].hash == hash && str_equal(map->entries[at].key, key)) break;
        at = (at + 1) & (map->places - 1);
    }
    return at;
}

/* As map_u64_resize; the hashes are kept, so no key is read again. */
static void map_str_resize(struct map_str *map, size_t places)
{
    struct map_str old = *map;
    map->places = places;
    map->entries = mem_zalloc(places * sizeof(*map->entries));
    for (size_t i = 0; i < old.places; i++) {
        if (old.entries[i].value == NULL) continue;
        size_t at = map_str_find(map, old.entries[i].key, old.entries[i].hash);
        map->entries[at] = old.entries[i];
    }
    mem_free(old.entries);
}

/* Frees a key of ours. The cast takes off the const that struct str puts on it. */
static void map_str_drop_key(struct map_str *map, struct str key)
{
    if (map->keys != MAP_KEYS_COPIED) return;
    map->key_bytes -= key.len + 1;
    mem_free((char *)(uintptr_t)key.ptr);
}

struct map_str *map_str_new(size_t max, enum map_keys keys)
{
    assert(max > 0);
    struct map_str *map = mem_zalloc(sizeof(*map));
    map->max = max;
    map->keys = keys;
    map_str_resize(map, MAP_SMALLEST);
    return map;
}

void map_str_free(struct map_str *map)
{
    if (map == NULL) return;
    map_str_clear(map);
    mem_free(map->entries);
    mem_free(map);
}

void map_str_reserve(struct map_str *map, size_t n)
{
    assert(n <= map->max);
    size_t places = map_places_for(n);
    if (places > map->places) map_str_resize(map, places);
}

size_t map_str_count(const struct map_str *map)
{
    return map->count;
}

size_t map_str_bytes(const struct map_str *map)
{
    return sizeof(*map) + map->places * sizeof(*map->entries) + map->key_bytes;
}

void *map_str_get(const struct map_str *map, struct str key)
{
    return map->entries[map_str_find(map, key, map_str_hash(key))].value;
}

bool map_str_set(struct map_str *map, struct str key, void *value)
{
    assert(value != NULL);
    uint64_t hash = map_str_hash(key);
    size_t at = map_str_find(map, key, hash);
    if (map->entries[at].value != NULL) {
        map->entries[at].value = value;
        return true;
    }
    if (map->count == map->max) return false;
    if (map->count == map_fill_limit(map->places)) {
        map_str_resize(map, map->places * 2);
        at = map_str_find(map, key, hash);
    }
    if (map->keys == MAP_KEYS_COPIED) {
        map->key_bytes += key.len + 1;
        key.ptr = mem_strndup(key.len ? key.ptr : "", key.len);
    }
    map->entries[at] = (struct map_str_entry){.hash = hash, .key = key, .value = value};
    map->count++;
    return true;
}

void *map_str_delete(struct map_str *map, struct str key)
{
    size_t gap = map_str_find(map, key, map_str_hash(key));
    void *value = map->entries[gap].value;
    if (value == NULL) return NULL;
    map_str_drop_key(map, map->entries[gap].key);
    size_t at = gap;
    for (;;) {
        at = (at + 1) & (map->places - 1);
        if (map->entries[at].value == NULL) break;
        size_t home = (size_t)map->entries[at].hash & (map->places - 1);
        if (!map_may_shift(home, gap, at)) continue;
        map->entries[gap] = map->entries[at];
        gap = at;
    }
    map->entries[gap].value = NULL;
    map->count--;
    return value;
}

void map_str_clear(struct map_str *map)
{
    for (size_t i = 0; i < map->places; i++) {
        if (map->entries[i].value == NULL) continue;
        map_str_drop_key(map, map->entries[i].key);
        map->entries[i].value = NULL;
    }
    map->count = 0;
}

bool map_str_next(const struct map_str *map, size_t *at, struct str *key, void **value)
{
    while (*at < map->places && map->entries[*at].value == NULL)
        ++*at;
    if (*at >= map->places) return false;
    *key = map->entries[*at].key;
    *value = map->entries[*at].value;
    ++*at;
    return true;
}

void map_str_verify(const struct map_str *map)
{
    size_t count = 0, bytes = 0;
    for (size_t i = 0; i < map->places; i++) {
        const struct map_str_entry *entry = &map->entries[i];
        if (entry->value == NULL) continue;
        count++;
        bytes += entry->key.len + 1;
        assert(entry->hash == map_str_hash(entry->key));
        assert(map_str_find(map, entry->key, entry->hash) == i);
    }
    assert(count == map->count && count <= map->max);
    assert(map->keys == MAP_KEYS_BORROWED || bytes == map->key_bytes);
    (void)count;
    (void)bytes;
}
