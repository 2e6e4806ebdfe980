/* Batches: taken from the shard's queue, checked for gaps, decoded, cleaned. Shard thread.
 *
 * The life of a record here:
 *
 *     queue -> ours? -> next offset? -> decode -> clean -> batch
 *                |no        |no           |poison  |poison
 *              dropped   I3: stop       in the batch, with its reason
 *
 * A schema id that the registry does not answer for holds the record and with it the shard: the poll returns, and the
 * next ones try again with growing pauses, until options.hold_ms is over. */
#include "ingest/internal.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

enum {
    RETRY_FIRST_MS = 50,
    RETRY_LAST_MS = 2000,
    PARKED_MS = 1,
};

static const uint64_t MS = 1000000; /* ns */

enum taken {
    TAKEN,   /* in the batch */
    DROPPED, /* not ours any more, or nothing */
    HELD,    /* waits for the registry */
    FAILED,  /* err is set */
};

/* ---- checks ---- */

static int topic_of(const struct ingest *ingest, const rd_kafka_message_t *message)
{
    for (int t = 0; t < ingest->options.n_topics; t++)
        if (ingest->handles[t] == message->rkt) return t;
    return message->rkt ? ingest__topic_index(ingest, rd_kafka_topic_name(message->rkt)) : -1;
}

/* An error in place of a record. A damaged batch is a gap (I3). */
static enum taken error_take(struct ingest *ingest, int topic, struct ingest__slot *slot,
                             const rd_kafka_message_t *message, struct err *err)
{
    const char *reason = rd_kafka_message_errstr(message);
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        if (slot->passage.probe == 0 && ingest__has_markers(ingest, topic)) {
            sync_int_set(&slot->passed_from, slot->expected);
            sync_int_set_release(&slot->passed, message->offset);
        }
        return DROPPED;
    }
    if (ingest__passage_error(ingest, topic, slot, message)) return DROPPED;
    (void)kafka_err_set(err, message->err, reason, "%s/%d at offset %" PRId64,
                        ingest->topics[topic], (int)message->partition, slot->expected);
    if (!err_passes(err)) {
        err->class = ERR_FATAL;
        return FAILED;
    }
    log_warn("ingest", "a partition met an error and goes on",
             "topic=%s partition=%d offset=%" PRId64 " error=%s", ingest->topics[topic],
             (int)message->partition, slot->expected, rd_kafka_err2name(message->err));
    return DROPPED;
}

/* I3: the next offset is the expected one, or a gap that is explained. An earlier one was seen before. */
static enum taken gap_check(struct ingest *ingest, int topic, struct ingest__slot *slot,
                            const rd_kafka_message_t *message, struct err *err)
{
    if (message->offset == slot->expected) return TAKEN;
    if (message->offset < slot->expected) return DROPPED;
    if (ingest__has_markers(ingest, topic)) return TAKEN;
    int64_t missing = message->offset - slot->expected;
    if (ingest->options.on_gap == GAP_ACCEPT) {
        log_warn("ingest",
                 "records are missing; going on behind them, as on.offset.gap=accept says",
                 "topic=%s partition=%d expected=%" PRId64 " got=%" PRId64, ingest->topics[topic],
                 (int)message->partition, slot->expected, message->offset);
        return TAKEN;
    }
    err_fatal(err, ERR_EXIT_TOPIC,
              "%s/%d: offset %" PRId64 " follows %" PRId64 ": %" PRId64
              " records are missing: set events.transactional=true if producers use transactions, "
              "or on.offset.gap=accept to go on without them",
              ingest->topics[topic], (int)message->partition, message->offset, slot->expected - 1,
              missing);
    return FAILED;
}

/* ---- decoding ---- */

static struct str value_of(const rd_kafka_message_t *message)
{
    return (struct str){message->payload, message->payload ? message->len : 0};
}

/* The reason a value is poison before the decoder sees it. */
static enum ingest_reason value_check(struct str value, struct err *err)
{
    if (value.len == 0) {
        err_set(err, ERR_DATA, "the value is %s", value.ptr ? "empty" : "null");
        return POISON_EMPTY;
    }
    if (value.len > SCHEMAS_MESSAGE_MAX) {
        err_set(err, ERR_DATA, "the value has %zu bytes, the limit is %d", value.len,
                SCHEMAS_MESSAGE_MAX);
        return POISON_TOO_LARGE;
    }
    return REASON_NONE;
}

/* Fills record->event or its reason. false: ERR_RETRY, the registry. */
static bool record_decode(struct ingest *ingest, struct ingest__shard *shard,
                          struct ingest_record *record, uint64_t *changed, struct err *err)
{
    struct err why = ERR_INIT;
    record->reason = value_check(record->value, &why);
    if (record->reason == REASON_NONE &&
        !schemas_event_decode(ingest->schemas, record->value, shard->arena, &record->event, &why)) {
        if (why.class == ERR_RETRY) {
            *err = why;
            return false;
        }
        record->reason = strncmp(why.text, SCHEMAS_UNKNOWN_ID, strlen(SCHEMAS_UNKNOWN_ID)) == 0
                             ? POISON_UNKNOWN_SCHEMA
                             : POISON_DECODE;
    }
    if (record->reason == REASON_NONE)
        record->reason = ingest_clean(&record->event, record->timestamp_ms,
                                      ingest->options.max_future_ms, shard->arena, changed, &why);
    if (record->reason == REASON_NONE)
        pseudonyms_apply(ingest->options.pseudonyms, &record->event, shard->arena);
    record->text =
        record->reason == REASON_NONE ? NULL : arena_str(shard->arena, str_of(why.text)).ptr;
    return true;
}

/* ---- the registry is away ---- */

/* Keeps the message; the first time sets the limit. false: the limit is over. */
static bool hold(struct ingest *ingest, struct ingest__shard *shard, rd_kafka_message_t *message,
                 struct err *err)
{
    uint64_t now = clock_mono_ns();
    if (shard->held != message) {
        shard->held = message;
        shard->held_until_ns = now + (uint64_t)ingest->options.hold_ms * MS;
        shard->retry_delay_ns = RETRY_FIRST_MS * MS;
        log_warn("ingest",
                 "a schema is not known and the registry does not answer; the shard waits",
                 "partition=%d offset=%" PRId64 " error=\"%s\"", (int)message->partition,
                 message->offset, err->text);
    } else if (now >= shard->held_until_ns) {
        err->class = ERR_FATAL;
        err->exit_code = ERR_EXIT_UNREACHABLE;
        return err_wrap(err, "gave up after %d ms at partition %d offset %" PRId64,
                        ingest->options.hold_ms, (int)message->partition, message->offset);
    }
    shard->retry_at_ns = now + shard->retry_delay_ns;
    shard->retry_delay_ns *= 2;
    if (shard->retry_delay_ns > RETRY_LAST_MS * MS) shard->retry_delay_ns = RETRY_LAST_MS * MS;
    return true;
}

/* ---- a batch ---- */

static enum taken take(struct ingest *ingest, struct ingest__shard *shard,
                       rd_kafka_message_t *message, struct ingest_batch *batch, struct err *err)
{
    int topic = topic_of(ingest, message);
    if (topic < 0 || message->partition < 0 || message->partition >= ingest->partitions)
        return DROPPED;
    struct ingest__slot *slot = ingest__slot(ingest, topic, message->partition);
    int64_t generation = sync_int_get_acquire(&slot->generation);
    if (generation == 0) return DROPPED;
    if (generation != slot->seen) {
        slot->seen = generation;
        slot->expected = sync_int_get(&slot->start);
        slot->passage = (struct ingest__passage){0};
    }
    if (message == shard->held && generation != shard->held_generation) return DROPPED;
    if (message->err) return error_take(ingest, topic, slot, message, err);
    if (ingest__passage_record(ingest, topic, slot, message)) return DROPPED;
    enum taken taken = gap_check(ingest, topic, slot, message, err);
    if (taken != TAKEN) return taken;

    struct ingest_record *record = &shard->records[shard->n];
    record->topic = topic;
    record->partition = message->partition;
    record->offset = message->offset;
    record->timestamp_ms = rd_kafka_message_timestamp(message, NULL);
    record->key = (struct str){message->key, message->key ? message->key_len : 0};
    record->value = value_of(message);
    record->message = message;
    record->reason = REASON_NONE;
    record->text = NULL;
    bool is_raw = ingest__is_raw(ingest, topic);
    if (!is_raw && !record_decode(ingest, shard, record, batch->changed, err)) {
        shard->held_generation = generation;
        return hold(ingest, shard, message, err) ? HELD : FAILED;
    }
    if (is_raw) shard->raw_bytes += record->value.len;
    slot->expected = message->offset + 1;
    shard->messages[shard->n++] = message;
    return TAKEN;
}

static int left_ms(uint64_t until_ns)
{
    uint64_t now = clock_mono_ns();
    return now < until_ns ? (int)((until_ns - now + MS - 1) / MS) : 0;
}

/* The held message when its pause is over, else the next of the queue; NULL: nothing within the time. */
static rd_kafka_message_t *next_message(struct ingest__shard *shard, uint64_t until_ns)
{
    bool first = shard->n == 0;
    if (!shard->held) return rd_kafka_consume_queue(shard->queue, first ? left_ms(until_ns) : 0);
    if (!first) return NULL;
    if (clock_mono_ns() < shard->retry_at_ns)
        sync_sleep_ms(left_ms(shard->retry_at_ns < until_ns ? shard->retry_at_ns : until_ns));
    return clock_mono_ns() < shard->retry_at_ns ? NULL : shard->held;
}

/* For another record in the batch. */
static bool has_room(const struct ingest *ingest, const struct ingest__shard *shard)
{
    return shard->n < ingest->options.batch_max && arena_used(shard->arena) < INGEST__ARENA_SOFT &&
           shard->raw_bytes < INGEST__RAW_SOFT;
}

bool ingest_poll(struct ingest *ingest, int shard_index, int timeout_ms, struct ingest_batch *batch,
                 struct err *err)
{
    struct ingest__shard *shard = &ingest->shards[shard_index];
    uint64_t until = clock_mono_ns() + (uint64_t)timeout_ms * MS;
    rd_kafka_message_t *message;
    enum taken taken = DROPPED;
    assert(shard->n == 0); /* one batch at a time */
    memset(batch, 0, sizeof *batch);
    if (shard->failed.class != ERR_NONE) {
        *err = shard->failed;
        return false;
    }
    batch->records = shard->records;
    batch->arena = shard->arena;
    if (ingest__is_parked(ingest, shard)) {
        sync_sleep_ms(timeout_ms < PARKED_MS ? timeout_ms : PARKED_MS);
        return true;
    }
    while (has_room(ingest, shard) && (message = next_message(shard, until)) != NULL) {
        taken = take(ingest, shard, message, batch, &shard->failed);
        if (taken == HELD) break;
        if (shard->held == message) shard->held = NULL;
        if (taken != TAKEN) rd_kafka_message_destroy(message);
        if (taken == FAILED) break;
    }
    batch->n = shard->n;
    if (taken != FAILED) shard->failed.class = ERR_NONE; /* a registry that is away: held instead */
    if (taken != FAILED || batch->n > 0) return true;
    *err = shard->failed;
    return false;
}

void ingest_batch_release(struct ingest *ingest, int shard_index, struct ingest_batch *batch)
{
    struct ingest__shard *shard = &ingest->shards[shard_index];
    for (int i = 0; i < shard->n; i++)
        rd_kafka_message_destroy(shard->messages[i]);
    shard->n = 0;
    shard->raw_bytes = 0;
    batch->n = 0;
    arena_reset(shard->arena);
}

void ingest_wake(struct ingest *ingest, int shard)
{
    mutex_lock(&ingest->lock);
    if (ingest->shards[shard].queue) rd_kafka_queue_yield(ingest->shards[shard].queue);
    mutex_unlock(&ingest->lock);
}
