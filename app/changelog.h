#ifndef APP_CHANGELOG_H
#define APP_CHANGELOG_H

#include "app/metrics.h"
#include "app/settings.h"
#include "base/err.h"
#include "emit/emit.h"
#include "state/state.h"

/* A shard's part of the changelog: the rows of each epoch, and behind them one marker for each partition that the epoch touched,
 * with all its positions. Partition p of the topic is partition p of the store.
 *
 *     at_least_once      lists acknowledged -> rows, markers -> acknowledged -> the epoch is written   (D1: A_p moves last)
 *     exactly_once_v2    rows, markers in the epoch's transaction -> committed -> the epoch is written
 *
 * In a partition of the topic everything stands in the order of the epochs, each whole up to its marker (the producer is
 * idempotent), so up to any marker the topic is the store as of some epoch. Thread: the shard's. */
struct changelog;

struct changelog_env {
    struct state *state;
    struct state_shard *shard;
    struct emit *emit;
    struct counters_slot *counters;
    int n_partitions;
};

struct changelog *changelog_new(const struct changelog_env *env);
void changelog_free(struct changelog *changelog); /* NULL is fine */
/* The partition's positions are those of the store. Errors: ERR_FATAL. */
MUST_USE bool changelog_open(struct changelog *changelog, int32_t partition, struct err *err);
/* Nothing is written for it any more. */
void changelog_close(struct changelog *changelog, int32_t partition);

/* The markers of one epoch, until it is written. */
struct changelog_markers;
struct changelog_markers *changelog_markers_new(const struct changelog *changelog);
void changelog_markers_free(struct changelog_markers *markers);

/* Sends the rows of an epoch that is sealed, and its markers, in `epoch`. moves (n): its positions. Errors: as emit_send. */
MUST_USE bool changelog_send(struct changelog *changelog, struct emit_epoch *epoch,
                             const struct state_epoch *values, const struct state_move *moves,
                             int n, struct changelog_markers *markers, struct err *err);
/* All is acknowledged: where the markers stand goes into the epoch, before it is written. */
void changelog_place(struct changelog *changelog, struct state_epoch *values,
                     struct changelog_markers *markers);

#endif
