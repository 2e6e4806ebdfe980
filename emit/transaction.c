/* States, moves and duties of transactions: tables. */
#include "emit/transaction.h"

#include <assert.h>

#define NONE TXN_STATE_COUNT /* cannot be */

/* In the order of enum txn_outcome. */
static const enum txn_state moves[TXN_STATE_COUNT][TXN_OUTCOME_COUNT] = {
    /*  DONE, DONE_LATE, AGAIN, ABORT, LOST, LATE, DISPLACED, TAKEN_OVER, DENIED */
    [TXN_NEW] = {TXN_READY, TXN_READY, TXN_NEW, TXN_SPOILED, TXN_SPOILED, TXN_REFUSED, TXN_SPOILED,
                 TXN_FENCED, TXN_REFUSED},
    [TXN_READY] = {TXN_OPEN, TXN_OPEN, TXN_READY, TXN_SPOILED, TXN_SPOILED, TXN_SPOILED,
                   TXN_SPOILED, TXN_FENCED, TXN_REFUSED},
    [TXN_OPEN] = {TXN_PREPARED, TXN_PREPARED, TXN_OPEN, TXN_SPOILED, TXN_SPOILED, TXN_SPOILED,
                  TXN_DOUBTED, TXN_FENCED, TXN_REFUSED},
    /* A commit that requires an abort was refused. One that ends the client may have been answered before. */
    [TXN_PREPARED] = {TXN_READY, TXN_STALE, TXN_PREPARED, TXN_SPOILED, TXN_UNKNOWN, TXN_UNKNOWN,
                      TXN_UNKNOWN, TXN_FENCED, TXN_REFUSED},
    [TXN_STALE] = {TXN_NEW, TXN_NEW, NONE, NONE, TXN_REFUSED, TXN_REFUSED, NONE, NONE, TXN_REFUSED},
    [TXN_SPOILED] = {TXN_NEW, TXN_NEW, NONE, NONE, TXN_REFUSED, TXN_REFUSED, NONE, NONE,
                     TXN_REFUSED},
    [TXN_UNKNOWN] = {TXN_NEW, TXN_NEW, NONE, NONE, TXN_REFUSED, TXN_REFUSED, NONE, NONE,
                     TXN_REFUSED},
    /* Whoever does not say that we are fenced leaves it to the next client's init, which aborts. */
    [TXN_DOUBTED] = {TXN_SPOILED, TXN_SPOILED, TXN_DOUBTED, TXN_SPOILED, TXN_SPOILED, TXN_SPOILED,
                     TXN_SPOILED, TXN_FENCED, TXN_REFUSED},
    [TXN_FENCED] = {NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE},
    [TXN_REFUSED] = {NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE},
};

static const enum txn_duty duties[TXN_STATE_COUNT] = {
    [TXN_NEW] = TXN_INIT,        [TXN_READY] = TXN_BEGIN, [TXN_OPEN] = TXN_OFFSETS,
    [TXN_PREPARED] = TXN_COMMIT, [TXN_STALE] = TXN_RENEW, [TXN_SPOILED] = TXN_RENEW,
    [TXN_UNKNOWN] = TXN_RENEW,   [TXN_DOUBTED] = TXN_ASK, [TXN_FENCED] = TXN_STOP,
    [TXN_REFUSED] = TXN_STOP,
};

enum txn_duty txn_duty(enum txn_state state)
{
    return duties[state];
}

bool txn_needs_rewind(enum txn_state state)
{
    return state == TXN_SPOILED || state == TXN_UNKNOWN;
}

enum txn_state txn_next(enum txn_state state, enum txn_outcome outcome)
{
    return moves[state][outcome];
}

void txn_move(struct txn *txn, enum txn_outcome outcome)
{
    enum txn_state next = txn_next(txn->state, outcome);
    assert(next != NONE);
    txn->state = next;
}

const char *txn_state_name(enum txn_state state)
{
    static const char *const names[TXN_STATE_COUNT + 1] = {
        "new",     "ready",   "open",   "prepared", "stale", "spoiled",
        "unknown", "doubted", "fenced", "refused",  ""};
    return names[state];
}

/* ---- librdkafka's errors ---- */

#define E(name) RD_KAFKA_RESP_ERR_##name

static bool is_fenced(rd_kafka_resp_err_t code)
{
    return code == E(_FENCED) || code == E(PRODUCER_FENCED) || code == E(INVALID_PRODUCER_EPOCH);
}

/* What another try, and another client, meets again. */
static bool is_denied(rd_kafka_resp_err_t code)
{
    return code == E(_UNSUPPORTED_FEATURE) || code == E(UNSUPPORTED_VERSION) ||
           code == E(UNSUPPORTED_FOR_MESSAGE_FORMAT) || code == E(INVALID_TRANSACTION_TIMEOUT) ||
           code == E(TRANSACTIONAL_ID_AUTHORIZATION_FAILED) ||
           code == E(CLUSTER_AUTHORIZATION_FAILED) || code == E(GROUP_AUTHORIZATION_FAILED) ||
           code == E(TOPIC_AUTHORIZATION_FAILED) || code == E(SASL_AUTHENTICATION_FAILED) ||
           code == E(_AUTHENTICATION);
}

enum txn_outcome txn_outcome_of(rd_kafka_resp_err_t code, bool is_fatal, bool requires_abort,
                                bool is_retriable)
{
    if (code == E(NO_ERROR)) return TXN_DONE;
    if (is_fenced(code)) return TXN_TAKEN_OVER;
    if (code == E(FENCED_INSTANCE_ID)) return TXN_DISPLACED;
    if (is_denied(code)) return TXN_DENIED;
    if (is_fatal) return TXN_LOST;
    if (requires_abort) return TXN_ABORT;
    return is_retriable ? TXN_AGAIN : TXN_LOST;
}
