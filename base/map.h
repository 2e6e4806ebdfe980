#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* Hash maps with open addressing: linear probing, at most 3/4 full, deletion by shifting back (Knuth, TAOCP 3, 6.4,
 * algorithm R), so that no tombstones pile up. The order of iteration is unspecified; it depends on the keys and on the
 * history of the map, so nothing that must be the same on replay may follow it.
 *
 * Storage doubles up to the maximum and is kept; map_*_reserve up front makes later puts free of allocation.
 * Thread: one owner. */

/* ---- 64-bit key to 64-bit value ---- */

struct map_u64;

/* max: entries, at least 1. Any key may be used, 0 too. */
struct map_u64 *map_u64_new(size_t max);
void map_u64_free(struct map_u64 *map);
/* Room for n entries without another allocation; n <= max. */
void map_u64_reserve(struct map_u64 *map, size_t n);
size_t map_u64_count(const struct map_u64 *map);
size_t map_u64_bytes(const struct map_u64 *map); /* of heap, for memory limits */
size_t map_u64_bytes_for(size_t n);              /* the same of a map with n entries */

/* The value's place, or NULL. Lives until the next put, delete, reserve or clear. */
uint64_t *map_u64_get(const struct map_u64 *map, uint64_t key);
/* The value's place, made (with value 0) when the key is new; NULL when it is new and the map holds its maximum.
 * added may be NULL. Lives like that of get. */
uint64_t *map_u64_put(struct map_u64 *map, uint64_t key, bool *added);
/* Sets the value; false when the map holds its maximum. */
bool map_u64_set(struct map_u64 *map, uint64_t key, uint64_t value);
/* Values that are pointers: NULL when the key is absent. */
void *map_u64_get_ptr(const struct map_u64 *map, uint64_t key);
bool map_u64_set_ptr(struct map_u64 *map, uint64_t key, void *value);
bool map_u64_delete(struct map_u64 *map, uint64_t key); /* false: was not there */
void map_u64_clear(struct map_u64 *map);                /* storage is kept */

/* Iteration: at starts at 0; false at the end. The map must not change meanwhile, values may.
 *   size_t at = 0; uint64_t key, *value;
 *   while (map_u64_next(map, &at, &key, &value)) ... */
bool map_u64_next(const struct map_u64 *map, size_t *at, uint64_t *key, uint64_t **value);

/* Asserts the invariants: every entry is reachable from its home place, counts agree. For tests. */
void map_u64_verify(const struct map_u64 *map);

/* ---- bytes to pointer ---- */

struct map_str;

enum map_keys {
    MAP_KEYS_COPIED,   /* the map keeps its own copy of each key */
    MAP_KEYS_BORROWED, /* the caller's bytes stay where they are while the entry exists */
};

struct map_str *map_str_new(size_t max, enum map_keys keys);
void map_str_free(struct map_str *map); /* the values are the caller's */
void map_str_reserve(struct map_str *map, size_t n);
size_t map_str_count(const struct map_str *map);
size_t map_str_bytes(const struct map_str *map); /* of heap, copied keys counted */

/* The value, or NULL when the key is absent. */
void *map_str_get(const struct map_str *map, struct str key);
/* Sets the value (not NULL); false when the key is new and the map holds its maximum. */
bool map_str_set(struct map_str *map, struct str key, void *value);
/* The value that was there, or NULL. */
void *map_str_delete(struct map_str *map, struct str key);
void map_str_clear(struct map_str *map);
bool map_str_next(const struct map_str *map, size_t *at, struct str *key, void **value);
void map_str_verify(const struct map_str *map);

#endif
