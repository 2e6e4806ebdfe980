#ifndef EMIT_COMMIT_H
#define EMIT_COMMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/* Transactions of a producer that was opened with a transactional_id: one at a time, numbered from 1. A record goes into the
 * transaction that its epoch is bound to: a sender who is ahead of it waits. Thread: one at a time calls begin, commit and renew
 * (its states: transaction.h), while others send.
 *
 *     emit_transaction_begin(n) -> records of epochs bound to n -> nobody sends for n any more -> emit_transaction_commit
 *
 * Errors, of all three: ERR_ABORT: the transaction is not committed, or nobody knows; nothing more can be sent. After
 * emit_transaction_renew it is one or the other, and positions are read from the broker. ERR_FATAL: exit 8 another process has the
 * transactional.id, exit 2 and 4 as it says. */
struct emit;
struct emit_epoch;

struct emit_offset {
    const char *topic;
    int32_t partition;
    int64_t next;
};

/* Records of the epoch belong to this transaction. The epoch is settled. */
void emit_epoch_bind(struct emit_epoch *epoch, int64_t transaction);
/* What was sent in it is forgotten; the client that it was sent with is gone (emit_transaction_renew). */
void emit_epoch_reset(struct emit_epoch *epoch);

MUST_USE bool emit_transaction_begin(struct emit *emit, int64_t number, struct err *err);
/* Everything that was sent, and the offsets (n) on behalf of the group (ingest_group), or nothing of it. */
MUST_USE bool emit_transaction_commit(struct emit *emit, const struct emit_offset *offsets, int n,
                                      struct str group, struct err *err);
/* What is open will not be committed: the broker is asked whether another process has our transactional.id, for some seconds at
 * most. false: it has (ERR_FATAL exit 8). Afterwards comes emit_transaction_renew. */
MUST_USE bool emit_transaction_drop(struct emit *emit, struct err *err);
/* A new client. Its start ends what the one before has left open; nobody sends meanwhile. Brokers that are away are waited for
 * (emit_options.patience_ms). */
MUST_USE bool emit_transaction_renew(struct emit *emit, struct err *err);
/* Ends what waits for brokers that are away in emit_transaction_renew, within some 10 s. Any thread; for good. */
void emit_hurry(struct emit *emit);
/* Nothing more is sent: who waits gets this error. */
void emit_transaction_break(struct emit *emit, const struct err *why);
/* A call that is under way for twice transaction.timeout.ms has no end (librdkafka 2.0.2 can hang in one whatever its time-out
 * says): true. What was before awake_ms (of clock_mono_ns, in ms) does not count: the process stood still. Any thread. */
bool emit_transaction_hangs(const struct emit *emit, int64_t awake_ms);

#endif
