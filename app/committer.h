#ifndef APP_COMMITTER_H
#define APP_COMMITTER_H

#include "app/settings.h"
#include "base/err.h"
#include "emit/emit.h"
#include "ingest/ingest.h"
#include "state/state.h"

/* exactly_once_v2: one transaction of the process at a time, for all its shards together (E1). A thread of its own makes the calls.
 *
 *     begin n -> shards send -> time is over, or a shard asks -> wanted = n: each shard seals its epoch at its next round and
 *     hands over its positions -> all have: commit -> committed = n: each shard writes its epoch to RocksDB (E2) -> begin n + 1
 *
 * A shard that has sealed n goes on with its next micro-batch; what it sends waits in emit/ until n + 1 is open. So commits cost a
 * shard the time in which it has nothing more to compute.
 *
 * Threads: a shard's calls come from its thread; new, start, stop, free and recover from the main thread. */
struct committer;

struct committer_env {
    const struct settings *settings;
    struct emit *emit;
    /* Called once, on the committer's thread, when it can go no further. */
    void (*failed)(void *context);
    void *failed_context;
};

struct committer *committer_new(const struct committer_env *env);
MUST_USE bool committer_start(struct committer *committer, struct ingest *ingest, struct err *err);
/* After ERR_ABORT and committer_stop: as if new, with further numbers. No shard calls. */
void committer_reset(struct committer *committer);
/* Ends the thread; what is open is left to the next start, which aborts it. */
void committer_stop(struct committer *committer);
void committer_free(struct committer *committer); /* NULL is fine */

/* The process of that group.instance.id was killed or stands still. What it left open would keep readers from all that comes behind
 * it, and its offsets from us, for transaction.timeout.ms: it is aborted, and the process fenced. A failure is logged. */
void committer_fence(const struct settings *settings, const char *instance);

/* ---- shards ---- */

/* The transaction that a shard begins with; before committer_start. */
int64_t committer_first(const struct committer *committer);
/* Epochs of transactions up to this number are to be sealed. */
int64_t committer_wanted(const struct committer *committer);
/* Epochs of transactions up to this number may be written. */
int64_t committer_committed(const struct committer *committer);
/* The shard's open epoch, of transaction `number`, has something in it: commit it in interval_ms at the latest. */
void committer_touch(struct committer *committer, int64_t number, int64_t interval_ms);
/* A position to commit with the transaction that is wanted; before committer_seal. */
void committer_move(struct committer *committer, const struct state_move *move);
/* The shard's epoch of the transaction that is wanted is sealed. */
void committer_seal(struct committer *committer, int shard, int64_t number);
/* The shard has ended with nothing open: no transaction waits for it any more. */
void committer_leave(struct committer *committer, int shard);
/* The shard has ended within a transaction: nothing is committed any more. */
void committer_break(struct committer *committer, const struct err *why);

/* ---- main thread ---- */

/* Transactions committed so far, by number. Any thread: committer_committed. Errors: why it goes no further. ERR_ABORT: what the shards hold and did not write is not committed, or nobody knows. */
MUST_USE bool committer_check(struct committer *committer, struct err *err);

#endif
