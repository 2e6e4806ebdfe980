#ifndef APP_AISLES_H
#define APP_AISLES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "schemas/schemas.h"

/* Which items stand in which category, for pages that let people walk through a shop. Beside the shelf, which knows the items.
 * Bounded: of an item the first 4 categories count, of a shop the first 4,096, of a category the first 32,768 items are found.
 * Thread: the server's. */
struct aisles;

struct aisle {
    struct str tenant, name; /* live as long as the aisles */
    int items;               /* in it now */
};

/* max: items; more are not taken. */
struct aisles *aisles_new(int max);
void aisles_free(struct aisles *aisles);
void aisles_clear(struct aisles *aisles);
/* record_key: the Kafka key, by which a tombstone names the item; what it named before goes. */
void aisles_put(struct aisles *aisles, struct str record_key, const struct item *item);
void aisles_remove(struct aisles *aisles, struct str record_key);

/* In the order in which they were first met. */
int aisles_count(const struct aisles *aisles);
const struct aisle *aisles_get(const struct aisles *aisles, int i);

/* item_key: schemas_item_key. */
bool aisles_has(const struct aisles *aisles, struct str tenant, struct str name, uint64_t item_key);
/* The item at the place, or 0 where the item has left; *place goes on to the next. false: the aisle has no more. */
bool aisles_next(const struct aisles *aisles, struct str tenant, struct str name, int *place,
                 uint64_t *item_key);

#endif
