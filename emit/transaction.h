#ifndef EMIT_TRANSACTION_H
#define EMIT_TRANSACTION_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

#include "base/err.h"

/* The life of a process's transactions as one enum, one table of legal moves and one setter: what each outcome of a call to the
 * client leads to (RELIABILITY 2.4, measured on librdkafka 2.0.2). Pure: it makes no call, reads no clock. commit.c makes the
 * calls; each state names the one that is due.
 *
 *     NEW --init--> READY --begin--> OPEN --offsets--> PREPARED --commit--> READY
 *      ^                              |                   |----- slowly --> STALE --renew--> NEW
 *      +----- renew, then rewind -- SPOILED <-- abort ----+
 *      +----- renew, then rewind -- UNKNOWN <-- lost -----+         FENCED, REFUSED: the process ends
 *
 *     OPEN --displaced--> DOUBTED --ask--> SPOILED, or FENCED
 *
 * No transaction is ever aborted and gone on with: the client is made anew, whose init aborts what is open or waits for what is
 * being committed. So an outcome that is not known becomes known before positions are read again (E6).
 *
 * A group that knows our instance under another member is no proof of another process: librdkafka forgets its member id when it
 * had no answer for session.timeout.ms, and then joins as a new member, which displaces the one it was. The broker's epochs of
 * producers are a proof, so it is asked by aborting: a producer that another one has fenced may not. */

enum txn_state {
    TXN_NEW,      /* a client without a producer id */
    TXN_READY,    /* nothing is open */
    TXN_OPEN,     /* records may be sent */
    TXN_PREPARED, /* the offsets are in it too */
    TXN_STALE, /* committed, but so slowly that an EndTxn may still be under way: it could end the next transaction */
    TXN_SPOILED, /* it is not committed and will not be */
    TXN_UNKNOWN, /* it is committed or it is not */
    TXN_DOUBTED, /* it will not be committed; perhaps another process has the transactional.id */
    TXN_FENCED,  /* another process has the transactional.id */
    TXN_REFUSED, /* nothing that we can do helps */
    TXN_STATE_COUNT
};

/* What a call came to. */
enum txn_outcome {
    TXN_DONE,
    TXN_DONE_LATE, /* after more than socket.timeout.ms, after TXN_AGAIN, or after a connection that the transaction used ended */
    TXN_AGAIN,     /* the same call again */
    TXN_ABORT,     /* the transaction is lost, the client says that it could go on */
    TXN_LOST,      /* the client is of no use any more */
    TXN_LATE,      /* not done within its time */
    TXN_DISPLACED, /* our place in the group has another member */
    TXN_TAKEN_OVER, /* fenced */
    TXN_DENIED,     /* no rights, or not known to this broker */
    TXN_OUTCOME_COUNT
};

/* What is due in a state. */
enum txn_duty {
    TXN_INIT,
    TXN_BEGIN,
    TXN_OFFSETS,
    TXN_COMMIT,
    TXN_ASK,   /* abort, to hear whether another has fenced us */
    TXN_RENEW, /* destroy the client and make a new one */
    TXN_STOP
};

struct txn {
    enum txn_state state; /* changed by txn_move alone */
};

enum txn_duty txn_duty(enum txn_state state);
/* Memory is ahead of what is committed, or may be: after the renewal all partitions begin again where the store and the group's
 * offsets say. */
bool txn_needs_rewind(enum txn_state state);
/* Where the outcome leads; TXN_STATE_COUNT when it cannot be. */
enum txn_state txn_next(enum txn_state state, enum txn_outcome outcome);
/* The only setter. The move is legal. */
void txn_move(struct txn *txn, enum txn_outcome outcome);
const char *txn_state_name(enum txn_state state);

/* The outcome behind librdkafka's error. The code of a fenced producer counts whatever the flags say: on AddOffsets and
 * TxnOffsetCommit it comes as abortable only. */
enum txn_outcome txn_outcome_of(rd_kafka_resp_err_t code, bool is_fatal, bool requires_abort,
                                bool is_retriable);

#endif
