#ifndef APP_EPOCHS_H
#define APP_EPOCHS_H

#include "app/changelog.h"
#include "app/committer.h"
#include "app/metrics.h"
#include "app/neighbours.h"
#include "app/relations.h"
#include "app/settings.h"
#include "app/tail.h"
#include "base/err.h"
#include "emit/emit.h"
#include "ingest/ingest.h"
#include "state/state.h"

/* The commit protocol of a shard (DESIGN section 4): one open epoch, a queue of sealed ones, oldest written first: with
 * at_least_once when all its records are acknowledged (with a changelog these are lists first, then its rows: app/changelog.h), with exactly_once_v2 when its transaction is committed; there the committer
 * says when an epoch ends, for all shards. Thread: the shard's, but for epochs_next. */
struct epochs;

struct epochs_env {
    const struct settings *settings;
    struct state_shard *state;
    struct neighbours *neighbours; /* NULL: none */
    struct relations *relations;   /* NULL: none */
    struct changelog *changelog;   /* NULL: none */
    struct ingest *ingest;
    struct emit *emit;
    struct waits *waits;         /* of the open epoch; NULL: none */
    struct committer *committer; /* NULL: at_least_once */
    const struct tail *tail;
    int shard;
    struct counters_slot *counters;
};

struct epochs *epochs_new(const struct epochs_env *env);
void epochs_free(struct epochs *epochs);

struct emit_epoch *epochs_current(struct epochs *epochs); /* what is sent now belongs to it */
/* The records of a batch are applied: A_p moves with the open epoch, but of the erasures topic, whose positions say epochs_move. */
void epochs_move(struct epochs *epochs, int topic, int32_t partition, int64_t next);
void epochs_moved(struct epochs *epochs, const struct ingest_batch *in);
/* Something is open or sealed. */
bool epochs_are_pending(const struct epochs *epochs);
/* Room for another batch: neither the queue nor the unwritten state is at its bound. */
bool epochs_has_room(const struct epochs *epochs);
/* Seals when it is time, writes what is acknowledged, waiting up to wait_ms for the oldest. A full disk is waited out up to
 * task.timeout.ms. Errors: ERR_FATAL. */
MUST_USE bool epochs_advance(struct epochs *epochs, int wait_ms, struct err *err);
/* Seals what is open, so that what comes now is of another epoch. is_cut false: not yet. Errors: ERR_FATAL. */
MUST_USE bool epochs_cut(struct epochs *epochs, bool *is_cut, struct err *err);
/* Seals and writes everything. Errors: ERR_FATAL, also when it takes longer than wait_ms. */
MUST_USE bool epochs_finish(struct epochs *epochs, int64_t wait_ms, struct err *err);
/* After ERR_ABORT: everything open or sealed is forgotten (all partitions are closed), and later, when the
 * producer is new, what it needs to go on: with exactly_once_v2 the next transaction. */
void epochs_forget(struct epochs *epochs);
void epochs_restart(struct epochs *epochs);
/* The partition is another's: its position is no longer ours to move. */
void epochs_partition_forget(struct epochs *epochs, int32_t partition);
/* Next offset to apply as of the last batch; -1 unknown. Any thread. */
int64_t epochs_next(const struct epochs *epochs, int topic, int32_t partition);

#endif
