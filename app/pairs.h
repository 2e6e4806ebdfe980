#ifndef APP_PAIRS_H
#define APP_PAIRS_H

#include "app/metrics.h"
#include "app/settings.h"
#include "base/err.h"
#include "emit/emit.h"
#include "ingest/ingest.h"
#include "state/state.h"

/* From events to pairs of items (rule 13 of docs/STATE.md), the second step's input: each pair goes to the partition of the internal
 * topic that owns its subject, item key % partitions.
 *
 *     fold: model_pairs_find on the user as before -> applied? -> pairs_take: a group for each partition -> end of slice: pairs_send
 *
 * Groups of one source partition appear in a partition of the pairs topic by rising source offset, however records are cut into
 * batches and however often they are read again: by that the other side (app/relations.h) knows what it has. Thread: the shard's. */
struct pairs;

struct pairs *pairs_new(const struct settings *settings, int n_partitions, struct emit *emit,
                        struct counters_slot *counters);
void pairs_free(struct pairs *pairs);

/* Notes what the event pairs; user as before the event, keys (n) its items. */
void pairs_note(struct pairs *pairs, const struct user *user, const struct event *event,
                const uint64_t *keys, int n);
/* What pairs_take asks; texts live until it returns. */
struct pairs_asks {
    void *context;
    /* The id behind a key; len 0 when nobody knows it any more: its pairs are left out. */
    struct str (*id_of)(void *context, uint64_t key);
    /* The categories of an item; returns how many. */
    int (*categories_of)(void *context, uint64_t key, const struct str **categories);
};
/* The event noted last was applied: its pairs, and what it counts in categories, go out with the next pairs_send. */
void pairs_take(struct pairs *pairs, const struct ingest_record *record,
                const struct pairs_asks *asks);
/* Sends what was taken. Errors: ERR_FATAL. */
MUST_USE bool pairs_send(struct pairs *pairs, struct emit_epoch *epoch, struct err *err);

/* What was taken and not sent is forgotten. */
void pairs_reset(struct pairs *pairs);

/* The partition of the pairs topic that a subject belongs to. */
static inline int32_t pairs_partition_of(uint64_t subject, int n_partitions)
{
    return (int32_t)(subject % (uint64_t)n_partitions);
}

#endif
