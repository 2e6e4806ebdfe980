/* LINK: rdkafka */
/* Transactions as a state machine: every move against the rules in words, and what the client's errors mean. */
#include "emit/transaction.h"

#include "tests/test.h"

#define E(name) RD_KAFKA_RESP_ERR_##name

/* ---- every move ---- */

static bool is_over(enum txn_state state)
{
    return state == TXN_FENCED || state == TXN_REFUSED;
}

static bool is_renewed(enum txn_state state)
{
    return state == TXN_STALE || state == TXN_SPOILED || state == TXN_UNKNOWN;
}

static bool is_done(enum txn_outcome outcome)
{
    return outcome == TXN_DONE || outcome == TXN_DONE_LATE;
}

/* Where a call that is not done leads, but for the commit's. */
static enum txn_state failed(enum txn_state state, enum txn_outcome outcome)
{
    if (outcome == TXN_TAKEN_OVER) return TXN_FENCED;
    if (outcome == TXN_DISPLACED && state == TXN_OPEN) return TXN_DOUBTED;
    if (outcome == TXN_DENIED) return TXN_REFUSED;
    if (outcome == TXN_AGAIN) return state;
    /* A client whose start never ends is no better than the next. */
    if (state == TXN_NEW && outcome == TXN_LATE) return TXN_REFUSED;
    return TXN_SPOILED;
}

static enum txn_state commit_leads_to(enum txn_outcome outcome)
{
    if (outcome == TXN_DONE) return TXN_READY;
    if (outcome == TXN_DONE_LATE) return TXN_STALE;
    bool is_unknown = outcome == TXN_LOST || outcome == TXN_LATE || outcome == TXN_DISPLACED;
    if (is_unknown) return TXN_UNKNOWN; /* never guessed (E6) */
    return failed(TXN_PREPARED, outcome);
}

/* Of the renewal: it is made, or the process ends; nothing of it speaks with the broker. */
static enum txn_state renewal_leads_to(enum txn_outcome outcome)
{
    if (is_done(outcome)) return TXN_NEW;
    bool is_possible = outcome == TXN_LOST || outcome == TXN_LATE || outcome == TXN_DENIED;
    return is_possible ? TXN_REFUSED : TXN_STATE_COUNT;
}

static enum txn_state expected(enum txn_state state, enum txn_outcome outcome)
{
    static const enum txn_state forward[] = {[TXN_NEW] = TXN_READY,
                                             [TXN_READY] = TXN_OPEN,
                                             [TXN_OPEN] = TXN_PREPARED,
                                             [TXN_DOUBTED] = TXN_SPOILED};
    if (is_over(state)) return TXN_STATE_COUNT;
    if (is_renewed(state)) return renewal_leads_to(outcome);
    if (state == TXN_PREPARED) return commit_leads_to(outcome);
    return is_done(outcome) ? forward[state] : failed(state, outcome);
}

static void every_move(void)
{
    int legal = 0;
    for (int state = 0; state < TXN_STATE_COUNT; state++)
        for (int outcome = 0; outcome < TXN_OUTCOME_COUNT; outcome++) {
            enum txn_state want = expected((enum txn_state)state, (enum txn_outcome)outcome);
            enum txn_state got = txn_next((enum txn_state)state, (enum txn_outcome)outcome);
            CHECK_STR(txn_state_name(got), txn_state_name(want));
            if (want == TXN_STATE_COUNT) continue;
            struct txn txn = {.state = (enum txn_state)state};
            txn_move(&txn, (enum txn_outcome)outcome);
            CHECK_INT(txn.state, want);
            legal++;
        }
    CHECK_INT(legal, 5 * 9 + 3 * 5);
}

/* A state has one duty; memory is dropped exactly when the transaction is not known to be committed and the process goes on. */
static void duties(void)
{
    static const enum txn_duty want[] = {TXN_INIT,  TXN_BEGIN, TXN_OFFSETS, TXN_COMMIT, TXN_RENEW,
                                         TXN_RENEW, TXN_RENEW, TXN_ASK,     TXN_STOP,   TXN_STOP};
    for (int state = 0; state < TXN_STATE_COUNT; state++) {
        CHECK_INT(txn_duty((enum txn_state)state), want[state]);
        CHECK_INT(txn_needs_rewind((enum txn_state)state),
                  state == TXN_SPOILED || state == TXN_UNKNOWN);
    }
}

/* Random lives: an epoch counts as committed only behind a commit that was done; after every loss the client is new before
 * anything else; whatever is not over comes to an open transaction again when calls succeed. */
static void random_lives(void)
{
    uint64_t seed = TEST_SEED();
    for (int life = 0; life < 2000; life++) {
        struct txn txn = {.state = TXN_NEW};
        for (int step = 0; step < 60 && !is_over(txn.state); step++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            enum txn_outcome outcome = (enum txn_outcome)((seed >> 33) % TXN_OUTCOME_COUNT);
            enum txn_state before = txn.state;
            if (txn_next(before, outcome) == TXN_STATE_COUNT) continue;
            txn_move(&txn, outcome);
            bool is_committed = before == TXN_PREPARED && is_done(outcome);
            if (is_committed) CHECK(txn.state == TXN_READY || txn.state == TXN_STALE);
            if (before == TXN_PREPARED && !is_committed)
                CHECK(txn.state != TXN_READY && txn.state != TXN_STALE);
            if (is_renewed(before)) CHECK(txn.state == TXN_NEW || txn.state == TXN_REFUSED);
        }
        for (int step = 0; step < 5 && !is_over(txn.state) && txn.state != TXN_OPEN; step++)
            txn_move(&txn, TXN_DONE);
        CHECK(is_over(txn.state) || txn.state == TXN_OPEN);
    }
}

/* ---- errors, the table of RELIABILITY 2.4 ---- */

static void errors(void)
{
    enum { FATAL = 1, ABORT = 2, RETRIABLE = 4 };
    static const struct {
        rd_kafka_resp_err_t code;
        int flags;
        enum txn_outcome outcome;
    } rows[] = {
        {E(NO_ERROR), 0, TXN_DONE},
        {E(OUT_OF_ORDER_SEQUENCE_NUMBER), FATAL, TXN_LOST},
        {E(UNKNOWN_PRODUCER_ID), ABORT, TXN_ABORT},
        {E(MSG_SIZE_TOO_LARGE), ABORT, TXN_ABORT},
        {E(INVALID_TXN_STATE), FATAL, TXN_LOST},
        {E(INVALID_PRODUCER_EPOCH), FATAL, TXN_TAKEN_OVER},
        {E(_FENCED), FATAL, TXN_TAKEN_OVER},
        {E(_FENCED), ABORT,
         TXN_TAKEN_OVER}, /* AddOffsets, TxnOffsetCommit: flagged abortable only */
        {E(PRODUCER_FENCED), ABORT, TXN_TAKEN_OVER},
        {E(INVALID_PRODUCER_ID_MAPPING), ABORT, TXN_ABORT},
        {E(INVALID_PRODUCER_ID_MAPPING), FATAL, TXN_LOST},
        {E(ILLEGAL_GENERATION), ABORT, TXN_ABORT},
        {E(UNKNOWN_MEMBER_ID), ABORT, TXN_ABORT},
        {E(REBALANCE_IN_PROGRESS), ABORT, TXN_ABORT},
        {E(FENCED_INSTANCE_ID), ABORT, TXN_DISPLACED}, /* ours after a lost session, or another's */
        {E(GROUP_AUTHORIZATION_FAILED), ABORT, TXN_DENIED},
        {E(TOPIC_AUTHORIZATION_FAILED), ABORT, TXN_DENIED},
        {E(TRANSACTIONAL_ID_AUTHORIZATION_FAILED), FATAL, TXN_DENIED},
        {E(_UNSUPPORTED_FEATURE), FATAL, TXN_DENIED},
        {E(_TIMED_OUT), RETRIABLE, TXN_AGAIN},
        {E(CONCURRENT_TRANSACTIONS), RETRIABLE, TXN_AGAIN},
        {E(COORDINATOR_NOT_AVAILABLE), RETRIABLE, TXN_AGAIN},
        {E(_TIMED_OUT), RETRIABLE | ABORT, TXN_ABORT}, /* the order of the tests */
        {E(_STATE), 0, TXN_LOST},
        {E(_FAIL), 0, TXN_LOST},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int flags = rows[i].flags;
        enum txn_outcome got =
            txn_outcome_of(rows[i].code, flags & FATAL, flags & ABORT, flags & RETRIABLE);
        if (got != rows[i].outcome) printf("%s\n", rd_kafka_err2name(rows[i].code));
        CHECK_INT(got, rows[i].outcome);
    }
}

int main(void)
{
    CASE(every_move);
    CASE(duties);
    CASE(random_lives);
    CASE(errors);
    return 0;
}
