#ifndef APP_SHELF_H
#define APP_SHELF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "schemas/schemas.h"

/* What the server knows of items: enough for an answer of twenty of them without a look into the view, and titles to search in.
 * Thread: the server's. */
struct shelf;

struct shelf_item {
    uint64_t key; /* schemas_item_key */
    struct str tenant, id, title, brand;
    double price;              /* valid when has_price */
    int64_t stock;             /* -1 unknown */
    int64_t from_ms, until_ms; /* 0 none */
    uint64_t refused;          /* shelf_refuse */
    bool has_price, hidden;
};

/* max: items; more are not taken, and count as unknown. */
struct shelf *shelf_new(int max);
void shelf_free(struct shelf *shelf);
/* Copies what it needs. record_key: the Kafka key, by which a tombstone names it; what it named before goes. false: full. */
bool shelf_put(struct shelf *shelf, struct str record_key, const struct item *item);
void shelf_remove(struct shelf *shelf, struct str record_key);
/* The hard rules that refuse an item, a bit for each; none for one that was just put. */
void shelf_refuse(struct shelf *shelf, uint64_t key, uint64_t rules);
void shelf_clear(struct shelf *shelf);
int shelf_count(const struct shelf *shelf);
int64_t shelf_refused(const struct shelf *shelf); /* puts for which there was no room */

/* NULL: unknown. Lives until the next put, remove or clear. */
const struct shelf_item *shelf_get(const struct shelf *shelf, uint64_t key);
/* May be shown: not hidden, not sold out, between its times. An item that nobody knows may. */
bool shelf_is_listed(const struct shelf_item *item, int64_t now_ms);
/* Any n items of the tenant that are listed and that none of the rules `refusing` refuses, the same ones each time: for when there is
 * nothing else to say. */
int shelf_some(const struct shelf *shelf, struct str tenant, int64_t now_ms, uint64_t refusing,
               int n, uint64_t *keys);

/* Items of the tenant that are listed, and of which each word of the query begins a word of the title; case of ASCII and Latin-1
 * letters does not matter. Writes at most n keys, in the order in which they were first put; looks at a bounded number of items. */
int shelf_find(const struct shelf *shelf, struct str tenant, struct str query, int64_t now_ms,
               int n, uint64_t *keys);

#endif
