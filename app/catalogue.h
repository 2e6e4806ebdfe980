#ifndef APP_CATALOGUE_H
#define APP_CATALOGUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "kafka/kafka.h"
#include "model/rerank.h"
#include "schemas/schemas.h"

/* What the shop sells now: the items topic, read whole before anything is answered and followed from then on.
 *
 *   own thread     records -> decoded, made into items --lock--> in their places --> counted as delivered
 *   each shard     confirm -> lock -> a micro-batch's lists, from one state of the catalogue -> unlock
 *
 * What is kept of an item is its newest record. A record without value takes the item of its key away.
 *
 * Invariant: after catalogue_confirm every item record that was acknowledged before the call is applied.
 * Bound: bytes_max; a catalogue that needs more fails for good, since an item left out might be one that is sold out. */
struct catalogue;

struct catalogue_options {
    const struct kafka_config *kafka;
    const char *topic;
    struct schemas *schemas;
    size_t bytes_max;
    int timeout_ms; /* to reach the broker */
};

struct catalogue_item {
    struct model_offer offer;
    struct str id, tenant, title, brand;
    const struct str *categories; /* (offer.n_categories) */
    const float *vector;          /* (n_vector) as the record has it; NULL: none */
    int n_vector;
    int64_t
        since_ms; /* when it was new: the later of from_ms and the timestamp of the first record met */
    /* the catalogue's own */
    int32_t partition;
    uint64_t record; /* hash of the record's key */
    size_t bytes;
};

/* What rules look at. categories (from->n_categories) and attributes (from->n_attributes) are written; offer points to them. Thread: any. */
void catalogue_offer(const struct item *from, uint64_t *categories, uint64_t *attributes,
                     struct model_offer *offer);

/* Returns when everything that the topic held is applied. Errors: ERR_FATAL: exit 4 unreachable, exit 5 no such topic, exit 2
 * more than bytes_max. */
MUST_USE bool catalogue_open(struct catalogue **catalogue, const struct catalogue_options *options,
                             struct err *err);
/* Nobody holds it or waits. NULL is fine. */
void catalogue_close(struct catalogue *catalogue);

/* Any thread that does not hold the catalogue. Errors: ERR_RETRY not within timeout_ms; ERR_FATAL it can be followed no
 * further. */
MUST_USE bool catalogue_confirm(struct catalogue *catalogue, int timeout_ms, struct err *err);
/* Any thread: ERR_FATAL when it can be followed no further. */
MUST_USE bool catalogue_check(struct catalogue *catalogue, struct err *err);

struct catalogue_counts {
    int64_t items, bytes, records, refused, lag; /* refused: records that did not decode */
};
struct catalogue_counts catalogue_counts(struct catalogue *catalogue); /* any thread */

/* From hold to release nothing changes. Any thread, many at once. */
void catalogue_hold(struct catalogue *catalogue);
void catalogue_release(struct catalogue *catalogue);

/* ---- while it is held; what is returned lives until release ---- */

/* NULL: no such item. */
const struct catalogue_item *catalogue_find(const struct catalogue *catalogue, uint64_t key);
/* The tenant has an item. */
bool catalogue_has_tenant(const struct catalogue *catalogue, struct str tenant);
/* Grows with each item that changes. */
uint64_t catalogue_version(const struct catalogue *catalogue);
/* The keys that changed since that version, oldest first, some more than once. False: it is too long ago to tell. */
bool catalogue_changes(const struct catalogue *catalogue, uint64_t since,
                       void (*visit)(void *context, uint64_t key), void *context);
/* All items, in no order. */
void catalogue_each(const struct catalogue *catalogue,
                    void (*visit)(void *context, const struct catalogue_item *item), void *context);

#endif
