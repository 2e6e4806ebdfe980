/* Transactions: the calls, their outcomes, and the gate that keeps records of the next transaction out of this one. */
#include "emit/commit.h"

#include <assert.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "emit/internal.h"

enum {
    CALL_MS = 10000,
    AGAIN_MS = 20,
    GATE_LOOK_MS = 100,
    HANGS_TIMES = 2,
    FENCED_AGAIN_MS = 60000,
    CLOSE_MS = 60000
};

static int64_t now_ms(void)
{
    return (int64_t)(clock_mono_ns() / 1000000);
}

/* ---- the gate ---- */

static void gate_set(struct emit *emit, int64_t number)
{
    struct emit__transactions *t = emit->transactions;
    mutex_lock(&t->lock);
    sync_int_set_release(&t->open, number);
    condition_broadcast(&t->changed);
    mutex_unlock(&t->lock);
}

static bool is_open_for(const struct emit__transactions *t, const struct emit_epoch *epoch)
{
    int64_t open = sync_int_get_acquire(&t->open);
    return open == epoch->transaction || (open && fault_mutant("no_barrier"));
}

bool emit__gate_pass(struct emit *emit, const struct emit_epoch *epoch, struct err *err)
{
    struct emit__transactions *t = emit->transactions;
    bool is_open = is_open_for(t, epoch);
    if (!is_open || flag_is_raised(&emit->failed)) {
        mutex_lock(&t->lock);
        while (!(is_open = is_open_for(t, epoch)) && !flag_is_raised(&emit->failed))
            (void)condition_wait_ms(&t->changed, &t->lock, GATE_LOOK_MS);
        mutex_unlock(&t->lock);
        if (emit__failure_get(emit, err) || !is_open) return false;
    }
    if (!sync_int_get(&t->sent_ms)) sync_int_set(&t->sent_ms, now_ms());
    return true;
}

bool emit__fence_is_doubted(struct emit__transactions *t)
{
    int64_t sent = sync_int_get(&t->sent_ms), before = sync_int_get(&t->fenced_ms), now = now_ms();
    flag_raise(&t->is_fenced);
    return (sent && now - sent > t->timeout_ms) || !before || now - before > FENCED_AGAIN_MS;
}

void emit_epoch_bind(struct emit_epoch *epoch, int64_t transaction)
{
    assert(sync_int_get_acquire(&epoch->acked) == epoch->sent);
    epoch->transaction = transaction;
}

void emit_epoch_reset(struct emit_epoch *epoch)
{
    epoch->sent = 0;
    sync_int_set(&epoch->acked, 0);
}

void emit_transaction_break(struct emit *emit, const struct err *why)
{
    emit__fail(emit, why);
    gate_set(emit, 0);
}

/* ---- calls ---- */

struct call {
    const char *what;
    rd_kafka_error_t *(*run)(struct emit *emit, const struct call *call, int timeout_ms);
    const rd_kafka_topic_partition_list_t *offsets;
    const rd_kafka_consumer_group_metadata_t *group;
};

static rd_kafka_error_t *init_run(struct emit *emit, const struct call *call, int timeout_ms)
{
    (void)call;
    return rd_kafka_init_transactions(emit->client, timeout_ms);
}

static rd_kafka_error_t *begin_run(struct emit *emit, const struct call *call, int timeout_ms)
{
    (void)call;
    (void)timeout_ms;
    return rd_kafka_begin_transaction(emit->client);
}

static rd_kafka_error_t *offsets_run(struct emit *emit, const struct call *call, int timeout_ms)
{
    return rd_kafka_send_offsets_to_transaction(emit->client, call->offsets, call->group,
                                                timeout_ms);
}

/* No time-out but the transaction's own: a commit that is given up may still be carried out. */
static rd_kafka_error_t *commit_run(struct emit *emit, const struct call *call, int timeout_ms)
{
    (void)call;
    (void)timeout_ms;
    return rd_kafka_commit_transaction(emit->client, -1);
}

static rd_kafka_error_t *abort_run(struct emit *emit, const struct call *call, int timeout_ms)
{
    (void)call;
    return rd_kafka_abort_transaction(emit->client, timeout_ms);
}

static enum txn_outcome outcome_take(rd_kafka_error_t *error, const char *what, struct err *err)
{
    if (!error) return TXN_DONE;
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    enum txn_outcome outcome = txn_outcome_of(code, rd_kafka_error_is_fatal(error),
                                              rd_kafka_error_txn_requires_abort(error),
                                              rd_kafka_error_is_retriable(error));
    (void)kafka_err_set(err, code, rd_kafka_error_string(error), "%s", what);
    rd_kafka_error_destroy(error);
    return outcome;
}

/* Faults that no broker makes on demand: a call that is refused, one that is carried out and not heard of, one that is neither. */
static enum txn_outcome call_once(struct emit *emit, const struct call *call, struct err *err)
{
    bool is_commit = call->run == commit_run, is_offsets = call->run == offsets_run;
    while (is_offsets && fault_fails("call_hangs")) /* odds 1 */
        sync_sleep_ms(CALL_MS);
    bool is_lost = is_commit && fault_fails("commit_lost");
    bool is_refused = (is_commit && fault_fails("commit_refused")) ||
                      (is_offsets && fault_fails("offsets_refused"));
    if (is_refused && is_commit && fault_mutant("commit_on_abort")) {
        rd_kafka_error_t *ignored = rd_kafka_abort_transaction(emit->client, -1);
        if (ignored) rd_kafka_error_destroy(ignored);
        return TXN_DONE;
    }
    if (is_lost || is_refused) {
        err_set(err, ERR_FATAL, "%s: a planted fault", call->what);
        return is_lost ? TXN_LOST : TXN_ABORT;
    }
    enum txn_outcome outcome = outcome_take(call->run(emit, call, CALL_MS), call->what, err);
    if (!is_commit || outcome != TXN_DONE || !fault_fails("commit_unheard")) return outcome;
    err_set(err, ERR_FATAL, "%s: a planted fault", call->what);
    return TXN_LOST;
}

/* How long a call is repeated. */
static int64_t limit_ms(const struct emit *emit, const struct call *call)
{
    if (call->run == abort_run) return CALL_MS;
    if (call->run == init_run) return flag_is_raised(&emit->is_hurried) ? 0 : emit->open_ms;
    return emit->transactions->timeout_ms;
}

/* A request of the transaction may still be under way on a connection that has ended, while librdkafka has sent it again on another. An
 * EndTxn that arrives in the next transaction ends that one, torn; an epoch of its own keeps such requests out. */
static bool has_strays(const struct emit *emit)
{
    if (fault_mutant("strays_ignored")) return false;
    return sync_int_get(&emit->notes.closed) != emit->transactions->closed;
}

/* The call until it comes to something; the state follows. */
static void call_make(struct emit *emit, const struct call *call, struct err *err)
{
    struct emit__transactions *t = emit->transactions;
    int64_t since = now_ms();
    bool was_repeated = false;
    for (enum txn_outcome outcome = TXN_AGAIN; outcome == TXN_AGAIN; was_repeated = true) {
        sync_int_set(&t->called_ms, now_ms());
        outcome = call_once(emit, call, err);
        sync_int_set(&t->called_ms, 0);
        bool is_slow = was_repeated || now_ms() - since > t->slow_ms ||
                       (call->run == commit_run && has_strays(emit));
        if (outcome == TXN_DONE && is_slow) outcome = TXN_DONE_LATE;
        if (outcome == TXN_AGAIN && now_ms() - since > limit_ms(emit, call)) outcome = TXN_LATE;
        if (outcome == TXN_TAKEN_OVER && emit__fence_is_doubted(t)) outcome = TXN_LOST;
        txn_move(&t->txn, outcome);
        if (outcome == TXN_AGAIN) sync_sleep_ms(AGAIN_MS);
    }
}

/* What the state means to the caller: true, or err with its class. */
static bool verdict(struct emit *emit, struct err *err)
{
    enum txn_state state = emit->transactions->txn.state;
    bool is_rewind = txn_needs_rewind(state);
    if (!is_rewind && txn_duty(state) != TXN_STOP) {
        err->class = ERR_NONE; /* of a call that was repeated */
        return true;
    }
    err->class = is_rewind ? ERR_ABORT : ERR_FATAL;
    if (state == TXN_FENCED) err->exit_code = ERR_EXIT_FENCED;
    if (state != TXN_FENCED && err->exit_code == ERR_EXIT_INTERNAL)
        err->exit_code = ERR_EXIT_UNREACHABLE;
    emit_transaction_break(emit, err);
    return false;
}

/* Whether another process has fenced us, where that is in doubt. */
static void doubt_settle(struct emit *emit, struct err *err)
{
    static const struct call call = {.what = "cannot abort the transaction", .run = abort_run};
    struct err answer = ERR_INIT;
    if (txn_duty(emit->transactions->txn.state) != TXN_ASK) return;
    call_make(emit, &call, &answer);
    if (emit->transactions->txn.state == TXN_FENCED)
        *err = answer;
    else
        err_set_at(err, ERR_ABORT, ERR_EXIT_UNREACHABLE, __FILE__, __LINE__,
                   "our place in the group was lost while its broker was away: the transaction is "
                   "done again");
}

bool emit_transaction_drop(struct emit *emit, struct err *err)
{
    struct txn *txn = &emit->transactions->txn;
    if (txn->state == TXN_OPEN) txn_move(txn, TXN_DISPLACED);
    doubt_settle(emit, err);
    if (txn->state != TXN_FENCED) return true;
    err->class = ERR_FATAL;
    err->exit_code = ERR_EXIT_FENCED;
    return false;
}

static bool init(struct emit *emit, struct err *err)
{
    static const struct call call = {.what = "cannot start transactions", .run = init_run};
    call_make(emit, &call, err);
    bool is_late =
        emit->transactions->txn.state == TXN_REFUSED && err->exit_code == ERR_EXIT_UNREACHABLE;
    if (is_late)
        (void)err_wrap(err, "is there a transaction log? It wants as many brokers as "
                            "transaction.state.log.replication.factor says");
    return verdict(emit, err);
}

void emit_hurry(struct emit *emit)
{
    flag_raise(&emit->is_hurried);
}

/* ---- the life of a client ---- */

struct emit__transactions *emit__transactions_new(void)
{
    struct emit__transactions *t = mem_zalloc(sizeof *t);
    mutex_init(&t->lock);
    condition_init(&t->changed);
    return t;
}

void emit__transactions_free(struct emit__transactions *t)
{
    if (!t) return;
    condition_fini(&t->changed);
    mutex_fini(&t->lock);
    mem_free(t);
}

bool emit__transactions_start(struct emit *emit, struct err *err)
{
    return init(emit, err);
}

bool emit_transaction_renew(struct emit *emit, struct err *err)
{
    struct emit__transactions *t = emit->transactions;
    log_info("emit", "the producer is made anew", "transaction=%s", txn_state_name(t->txn.state));
    gate_set(emit, 0);
    /* A record failed, or a sender did: no call has met it. */
    if (txn_duty(t->txn.state) != TXN_RENEW) txn_move(&t->txn, TXN_ABORT);
    sync_int_set(&t->sent_ms, 0);
    if (flag_is_raised(&t->is_fenced)) sync_int_set(&t->fenced_ms, now_ms());
    flag_lower(&t->is_fenced);
    emit->open_ms = emit->options.patience_ms;
    bool is_made = emit__client_end(emit, CLOSE_MS);
    if (!is_made)
        err_fatal(err, ERR_EXIT_UNREACHABLE,
                  "the producer does not end: start again, nothing is lost");
    is_made = is_made && emit__client_start(emit, err);
    txn_move(&t->txn, is_made ? TXN_DONE : TXN_LOST);
    return is_made && init(emit, err);
}

bool emit_transaction_begin(struct emit *emit, int64_t number, struct err *err)
{
    static const struct call call = {.what = "cannot begin a transaction", .run = begin_run};
    struct emit__transactions *t = emit->transactions;
    if (txn_duty(t->txn.state) == TXN_RENEW && !emit_transaction_renew(emit, err)) return false;
    assert(txn_duty(t->txn.state) == TXN_BEGIN);
    sync_int_set(&t->sent_ms, 0);
    t->closed = sync_int_get(&emit->notes.closed);
    call_make(emit, &call, err);
    if (!verdict(emit, err)) return false;
    gate_set(emit, number);
    return true;
}

/* ---- commit ---- */

static bool offsets_send(struct emit *emit, const struct emit_offset *offsets, int n,
                         struct str group, struct err *err)
{
    struct call call = {.what = "cannot put positions into the transaction", .run = offsets_run};
    rd_kafka_consumer_group_metadata_t *member = NULL;
    if (n == 0 || fault_mutant("offsets_outside")) {
        txn_move(&emit->transactions->txn, TXN_DONE);
        return true;
    }
    rd_kafka_error_t *error = rd_kafka_consumer_group_metadata_read(&member, group.ptr, group.len);
    if (error) {
        txn_move(&emit->transactions->txn, outcome_take(error, call.what, err));
        return verdict(emit, err);
    }
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(n);
    for (int i = 0; i < n; i++)
        rd_kafka_topic_partition_list_add(list, offsets[i].topic, offsets[i].partition)->offset =
            offsets[i].next;
    call.offsets = list;
    call.group = member;
    call_make(emit, &call, err);
    doubt_settle(emit, err);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_consumer_group_metadata_destroy(member);
    return verdict(emit, err);
}

bool emit_transaction_commit(struct emit *emit, const struct emit_offset *offsets, int n,
                             struct str group, struct err *err)
{
    static const struct call call = {.what = "cannot commit the transaction", .run = commit_run};
    assert(emit->transactions->txn.state == TXN_OPEN);
    gate_set(emit, 0);
    if (!offsets_send(emit, offsets, n, group, err)) return false;
    fault_point("offsets_sent");
    fault_point_within("commit_sent", 500);
    call_make(emit, &call, err);
    return verdict(emit, err);
}

bool emit_transaction_hangs(const struct emit *emit, int64_t awake_ms)
{
    const struct emit__transactions *t = emit->transactions;
    int64_t since = t ? sync_int_get(&t->called_ms) : 0;
    if (since && since < awake_ms) since = awake_ms;
    return since && now_ms() - since > (int64_t)HANGS_TIMES * t->timeout_ms;
}
