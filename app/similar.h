#ifndef APP_SIMILAR_H
#define APP_SIMILAR_H

#include <stdbool.h>
#include <stdint.h>

#include "model/model.h"
#include "schemas/schemas.h"

/* What is like an item of which little is known: the model's items whose vectors point where its own does. The vector is the one that
 * the model learnt, or for an item that it never met, made of title, categories, brand and price.
 *
 * item: its id and tenant, and what the catalogue says, as far as it is known. Writes at most K items, best first, none that is_listed
 * does not name and not the item itself; score is the cosine, count 0. Ids live as long as the model. Returns how many; 0 for a tenant that is
 * not the model's, and where nothing is known that the model has learnt. K at most SIMILAR_MAX. Thread: any. */
enum { SIMILAR_MAX = 100 };

int similar_find(const struct model *model, const struct item *item, int K,
                 bool (*is_listed)(void *context, uint64_t key), void *context,
                 struct counted_item *out);

#endif
