#ifndef APP_COMPANIONS_H
#define APP_COMPANIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "kafka/kafka.h"
#include "model/model.h"
#include "schemas/schemas.h"

/* What the topics of related items and of what rises say, in memory: for each item and kind, and for each category, the list that was
 * published last, whichever process made it. Read whole before anything is answered and followed from then on; the arms of published
 * lists look here (app/related_arm.c).
 *
 *   own thread   records -> decoded --lock--> in their places
 *   each shard   hold -> lists of the newest items of its users -> release
 *
 * Bound: bytes_max; the list that was published longest ago makes room. */
struct companions;

struct companions_options {
    const struct kafka_config *kafka;
    const char *related_topic, *trending_topic; /* NULL: that one is not read; not both */
    struct schemas *schemas;
    size_t bytes_max;
    int timeout_ms; /* to reach the broker */
};

/* Returns when everything that the topics held is applied. Errors: ERR_FATAL exit 4 unreachable, exit 5 a topic does not exist. */
MUST_USE bool companions_open(struct companions **companions,
                              const struct companions_options *options, struct err *err);
/* Nobody holds it. NULL is fine. */
void companions_close(struct companions *companions);
/* Any thread: ERR_FATAL when it can be followed no further. */
MUST_USE bool companions_check(struct companions *companions, struct err *err);

struct companions_counts {
    int64_t lists, bytes, records, refused, evicted, lag; /* refused: records that did not decode */
};
struct companions_counts companions_counts(struct companions *companions); /* any thread */

/* From hold to release nothing changes. Any thread, many at once. */
void companions_hold(struct companions *companions);
void companions_release(struct companions *companions);
/* While it is held: the list of an item and kind, at most MODEL_RELATED_PARTNERS, best first; 0 when there is none. It lives until
 * release. */
int companions_find(const struct companions *companions, uint64_t item, enum related_kind kind,
                    const struct model_scored **list);
/* Likewise what rises in a category, by schemas_item_key of tenant and category ("" the whole shop). *weight: what is left of its
 * scores at now_ms, in event time: half after a half-life of the counts that it was made from, since a category that nobody looks at
 * gets no new list. */
int companions_rising(const struct companions *companions, uint64_t category, int64_t now_ms,
                      const struct model_scored **list, double *weight);

/* While it is held: the id behind the key of an item that stands in a list; len 0 when it stands in none. Lives until release. */
struct str companions_item_id(const struct companions *companions, uint64_t key);

/* ---- the table alone, for the reader's thread and for tests ---- */

/* The kind, in companions_put, of what rises; its item_id is the category. */
enum { COMPANIONS_RISING = RELATED_KIND_COUNT };

struct companions *companions_new(size_t bytes_max);
void companions_put(struct companions *companions, uint64_t record, const struct related *list);
void companions_take(struct companions *companions, uint64_t record);

#endif
