/* A producer without transactions that must not send what has become old: looking at the time, and beginning again. */
#include "emit/awake.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "emit/internal.h"

enum { CLOSE_MS = 60000 };

/* 0: nobody asks. */
static int64_t session_ms(const struct emit *emit)
{
    return emit->transactions || fault_mutant("lost_is_kept") ? 0 : emit->options.session_ms;
}

/* How long the process may have stood still. */
static int64_t still_max_ms(const struct emit *emit)
{
    return session_ms(emit) / 2;
}

int64_t emit__age_max_ms(const struct emit *emit)
{
    return session_ms(emit) * 3 / 4;
}

static void still_fail(struct emit *emit, int64_t still_ms)
{
    struct err err = ERR_INIT;
    (void)err_set_at(&err, ERR_ABORT, ERR_EXIT_UNREACHABLE, __FILE__, __LINE__,
                     "the process stood still for %" PRId64
                     " ms: another may have its partitions, so what it had in hand is dropped",
                     still_ms);
    emit__fail(emit, &err);
}

/* Fails before it says that it is awake: who sees the new time sees the failure, too. */
void emit__awake(struct emit *emit)
{
    int64_t most = still_max_ms(emit), now = clock_boot_ms();
    if (most == 0) return;
    int64_t still = now - sync_int_get(&emit->awake_ms);
    if (still > most) still_fail(emit, still);
    sync_int_set_release(&emit->awake_ms, now);
}

bool emit__may_send(struct emit *emit, struct err *err)
{
    int64_t most = still_max_ms(emit);
    if (most == 0) return true;
    int64_t still = clock_boot_ms() - sync_int_get_acquire(&emit->awake_ms);
    if (still > most) still_fail(emit, still);
    return !emit__failure_get(emit, err);
}

bool emit__begins_again(const struct emit *emit, rd_kafka_resp_err_t code)
{
    if (emit__age_max_ms(emit) == 0) return false;
    switch ((int)code) {
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR__PURGE_QUEUE:
    case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT:
    case RD_KAFKA_RESP_ERR__FATAL:
    case RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE:
    case RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER:
    case RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID:
        return true;
    default:
        return false;
    }
}

void emit_break(struct emit *emit, const struct err *why)
{
    if (emit->transactions) {
        emit_transaction_break(emit, why);
        return;
    }
    emit__fail(emit, why);
    (void)rd_kafka_purge(emit->client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
}

bool emit_check(const struct emit *emit, struct err *err)
{
    return !emit__failure_get(emit, err);
}

bool emit_renew(struct emit *emit, struct err *err)
{
    if (emit->transactions) return emit_transaction_renew(emit, err);
    log_info("emit", "the producer is made anew", NULL);
    emit->open_ms = emit->options.patience_ms;
    if (!emit__client_end(emit, CLOSE_MS))
        return err_fatal(err, ERR_EXIT_UNREACHABLE,
                         "the producer does not end: start again, nothing is lost");
    return emit__client_start(emit, err);
}
