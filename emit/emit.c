/* The producer: opening, sending, acknowledgements, closing.
 *
 * Acknowledgements come as events on one queue, read by one thread, a whole batch of the broker at a time; it adds their
 * number to each epoch. A record that fails, fails the process: everything that is not acknowledged is made again from
 * the positions in the store, so there is nothing to save here. */
#include "emit/internal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"

enum {
    OPEN_MS = 30000, /* to reach the broker at start */
    PATIENCE_MS = 300000,
    ASK_MS = 10000,
    ASK_PAUSE_MS = 50,
    TXN_OFFSET_COMMIT = 3, /* its first version with the member and the generation */
    CLOSE_MS = 5000,       /* to end the client */
    REPORTS_MAX = 512,     /* acknowledgements taken from an event at once */
    REPORTS_WAIT_MS = 100,
};

/* ---- acknowledgements ---- */

void emit__fail(struct emit *emit, const struct err *err)
{
    mutex_lock(&emit->lock);
    if (!flag_is_raised(&emit->failed)) {
        emit->failure = *err;
        flag_raise(&emit->failed);
    }
    mutex_unlock(&emit->lock);
}

bool emit__failure_get(const struct emit *emit, struct err *err)
{
    if (!flag_is_raised(&emit->failed)) return false;
    *err = emit->failure;
    return true;
}

/* What cannot be sent or was not acknowledged ends the process, or with transactions this one of them. A new instance goes on, also
 * without them where it can. */
static void class_set(const struct emit *emit, rd_kafka_resp_err_t code, struct err *err)
{
    bool is_fenced = err->exit_code == ERR_EXIT_FENCED &&
                     !(emit->transactions && emit__fence_is_doubted(emit->transactions));
    bool is_lost = emit->transactions ? !is_fenced : emit__begins_again(emit, code);
    err->class = is_lost ? ERR_ABORT : ERR_FATAL;
    if (err->exit_code == ERR_EXIT_INTERNAL) err->exit_code = ERR_EXIT_UNREACHABLE;
}

/* A record's opaque is its epoch, or its mark with this bit set. */
static const uintptr_t MARKED = 1;

/* The record's epoch; a mark learns the offset. */
static struct emit_epoch *epoch_of(const rd_kafka_message_t *message)
{
    uintptr_t opaque = (uintptr_t)message->_private;
    if (!(opaque & MARKED)) return message->_private;
    struct emit_mark *mark = (struct emit_mark *)(opaque - MARKED);
    if (!message->err) sync_int_set(&mark->offset, message->offset);
    return mark->epoch;
}

/* Runs of one epoch are added at once: one store for each run, not for each record. */
static void reports_count(struct emit *emit, const rd_kafka_message_t *const *messages, size_t n)
{
    for (size_t i = 0; i < n;) {
        struct emit_epoch *epoch = epoch_of(messages[i]);
        int64_t acked = 0;
        for (; i < n && epoch_of(messages[i]) == epoch; i++) {
            const rd_kafka_message_t *message = messages[i];
            struct err err = ERR_INIT;
            acked += message->err == RD_KAFKA_RESP_ERR_NO_ERROR;
            if (!message->err || flag_is_raised(&emit->failed)) continue;
            (void)kafka_err_set(&err, message->err, NULL,
                                "a record for topic '%s' was not acknowledged",
                                rd_kafka_topic_name(message->rkt));
            class_set(emit, message->err, &err);
            emit__fail(emit, &err);
        }
        if (acked) sync_int_set_release(&epoch->acked, sync_int_get(&epoch->acked) + acked);
    }
}

static void error_take(struct emit *emit, rd_kafka_event_t *event)
{
    char why[256];
    struct err err = ERR_INIT;
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    if (!rd_kafka_event_error_is_fatal(event)) {
        log_debug("emit", "the client met an error and goes on", "code=%s",
                  rd_kafka_err2name(code));
        return;
    }
    code = rd_kafka_fatal_error(emit->client, why, sizeof why);
    (void)kafka_err_set(&err, code, why, "the producer cannot go on");
    class_set(emit, code, &err);
    emit__fail(emit, &err);
}

static void reports_run(void *context)
{
    struct emit *emit = context;
    const rd_kafka_message_t *messages[REPORTS_MAX];
    size_t n;
    while (!flag_is_raised(&emit->stop)) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(emit->reports, REPORTS_WAIT_MS);
        emit__awake(emit);
        if (!event) continue;
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR)
            while ((n = rd_kafka_event_message_array(event, messages, REPORTS_MAX)) > 0)
                reports_count(emit, messages, n);
        else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR)
            error_take(emit, event);
        rd_kafka_event_destroy(event);
    }
}

/* ---- opening and closing ---- */

/* A topic's metadata: without it the first record to it waits a second. A broker that starts is asked again. */
static bool topic_warm(struct emit *emit, rd_kafka_topic_t *topic, uint64_t until_ns,
                       struct err *err)
{
    for (;;) {
        const struct rd_kafka_metadata *metadata = NULL;
        rd_kafka_resp_err_t code = rd_kafka_metadata(emit->client, 0, topic, &metadata, ASK_MS);
        if (metadata) rd_kafka_metadata_destroy(metadata);
        if (!code) return true;
        (void)kafka_err_set(err, code, NULL, "cannot prepare topic '%s'",
                            rd_kafka_topic_name(topic));
        bool is_over = clock_mono_ns() > until_ns || flag_is_raised(&emit->is_hurried);
        if (!err_passes(err) || is_over) return false;
        err->class = ERR_NONE;
        sync_sleep_ms(ASK_PAUSE_MS);
    }
}

static bool topics_warm(struct emit *emit, const char *const *names, struct err *err)
{
    uint64_t until = clock_mono_ns() + (uint64_t)emit->open_ms * 1000000;
    for (int i = 0; i < EMIT__TOPICS; i++) {
        if (!names[i]) continue;
        emit->topics[i] = rd_kafka_topic_new(emit->client, names[i], NULL);
        if (!emit->topics[i])
            return kafka_err_set(err, rd_kafka_last_error(), NULL, "cannot prepare topic '%s'",
                                 names[i]);
        if (!topic_warm(emit, emit->topics[i], until, err)) return false;
    }
    return true;
}

/* awake.h; 0 is without end. */
static void age_bound(const struct emit *emit, rd_kafka_conf_t *conf)
{
    char text[32];
    int64_t most = emit__age_max_ms(emit), set = kafka_conf_number(conf, "message.timeout.ms");
    if (most == 0 || (set > 0 && set <= most)) return;
    (void)snprintf(text, sizeof text, "%" PRId64, most);
    (void)rd_kafka_conf_set(conf, "message.timeout.ms", text, NULL, 0);
}

static bool client_make(struct emit *emit, struct err *err)
{
    char kbytes[32];
    size_t queue_kbytes = emit->options.queue_bytes / 1024;
    (void)snprintf(kbytes, sizeof kbytes, "%zu", queue_kbytes < 1024 ? 1024 : queue_kbytes);
    const struct kafka_setting own[] = {{"queue.buffering.max.kbytes", kbytes},
                                        {"transactional.id", emit->options.transactional_id}};
    size_t n_own = emit->transactions ? 2 : 1;
    rd_kafka_conf_t *conf = kafka_client_conf(emit->config, KAFKA_PRODUCER, own, n_own, err);
    if (!conf) return false;
    age_bound(emit, conf);
    emit->timeout_ms = kafka_conf_number(conf, "message.timeout.ms");
    if (emit->transactions && !emit->transactions->timeout_ms) { /* once: the watchdog reads it */
        emit->transactions->timeout_ms = kafka_conf_number(conf, "transaction.timeout.ms");
        emit->transactions->slow_ms = kafka_conf_number(conf, "socket.timeout.ms");
    }
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR);
    emit->client = kafka_client_new(conf, KAFKA_PRODUCER, &emit->notes, err);
    return emit->client != NULL;
}

static const char *named(const char *topic)
{
    return topic && topic[0] ? topic : NULL;
}

/* Those with a name are there. */
static bool topics_check(const struct kafka_config *config, const char *const *names,
                         struct err *err)
{
    const char *wanted[EMIT__TOPICS];
    int partitions[EMIT__TOPICS], n = 0;
    for (int i = 0; i < EMIT__TOPICS; i++)
        if (names[i]) wanted[n++] = names[i];
    return kafka_topics_partitions(config, wanted, n, partitions, OPEN_MS, err);
}

static void names_fill(const struct emit_options *options, const char **names)
{
    names[EMIT_RECOMMENDATIONS] = options->recommendations_topic;
    names[EMIT_PAIRS] = named(options->pairs_topic);
    names[EMIT_RELATED] = named(options->related_topic);
    names[EMIT_TRENDING] = named(options->trending_topic);
    names[EMIT_RECEIPTS] = named(options->receipts_topic);
    names[EMIT_CHANGELOG] = named(options->changelog_topic);
    names[EMIT__DLQ] = options->dlq_topic;
}

bool emit__client_start(struct emit *emit, struct err *err)
{
    const char *names[EMIT__TOPICS];
    names_fill(&emit->options, names);
    if (!client_make(emit, err)) return false;
    emit->reports = rd_kafka_queue_get_main(emit->client);
    if (!topics_warm(emit, names, err)) return false;
    sync_int_set(&emit->awake_ms, clock_boot_ms());
    emit->started = thread_start(&emit->thread, "emit", reports_run, emit, err);
    return emit->started;
}

bool emit__client_end(struct emit *emit, int64_t wait_ms)
{
    rd_kafka_t *client = emit->client;
    if (emit->started) {
        flag_raise(&emit->stop);
        rd_kafka_queue_yield(emit->reports);
        thread_join(&emit->thread);
    }
    for (int i = 0; i < EMIT__TOPICS; i++) {
        if (emit->topics[i]) rd_kafka_topic_destroy(emit->topics[i]);
        emit->topics[i] = NULL;
    }
    if (emit->reports) rd_kafka_queue_destroy(emit->reports);
    emit->reports = NULL;
    emit->started = false;
    emit->client = NULL;
    flag_lower(&emit->stop);
    flag_lower(&emit->failed);
    if (!client) return true;
    (void)rd_kafka_purge(client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    return kafka_client_free(client, (int)wait_ms);
}

/* Older brokers let anybody commit offsets within a transaction, also who is no member of the group any more (KIP-447). */
static bool version_check(const struct kafka_config *config, struct err *err)
{
    static const char request[] = "TxnOffsetCommit";
    int highest;
    if (!kafka_request_version(config, request, &highest, OPEN_MS, err)) return false;
    if (highest >= TXN_OFFSET_COMMIT) return true;
    return err_fatal(err, ERR_EXIT_USAGE,
                     "processing.guarantee=exactly_once_v2 needs Kafka brokers from 2.5 on: this "
                     "one understands %s up to version %d, and %d is needed: take newer brokers, "
                     "or at_least_once",
                     request, highest, TXN_OFFSET_COMMIT);
}

bool emit_open(struct emit **out, const struct kafka_config *config,
               const struct emit_options *options, struct err *err)
{
    const char *names[EMIT__TOPICS];
    names_fill(options, names);
    if (!topics_check(config, names, err)) return false;
    struct emit *emit = mem_zalloc(sizeof *emit);
    emit->config = config;
    emit->options = *options;
    emit->open_ms = options->open_ms > 0 ? options->open_ms : OPEN_MS;
    if (emit->options.patience_ms <= 0) emit->options.patience_ms = PATIENCE_MS;
    kafka_notes_init(&emit->notes, false, emit);
    mutex_init(&emit->lock);
    if (options->transactional_id) emit->transactions = emit__transactions_new();
    if (!emit__client_start(emit, err)) goto fail;
    if (emit->transactions && !emit__transactions_start(emit, err)) goto fail;
    if (emit->transactions && !version_check(config, err)) goto fail;
    *out = emit;
    return true;
fail:
    emit_close(emit);
    return false;
}

bool emit_flush(struct emit *emit, int timeout_ms, struct err *err)
{
    uint64_t until = clock_mono_ns() + (uint64_t)timeout_ms * 1000000;
    do {
        rd_kafka_resp_err_t code = rd_kafka_flush(emit->client, 10);
        if (emit__failure_get(emit, err)) return false;
        if (!code) return true;
    } while (clock_mono_ns() < until);
    return err_fatal(err, ERR_EXIT_UNREACHABLE,
                     "%d records are not acknowledged after %d ms: check the broker",
                     rd_kafka_outq_len(emit->client), timeout_ms);
}

void emit_close(struct emit *emit)
{
    if (!emit) return;
    if (!emit__client_end(emit, CLOSE_MS)) return; /* it may still log: the rest stays */
    while (emit->orphans) {
        struct emit_epoch *epoch = emit->orphans;
        emit->orphans = epoch->next_orphan;
        mem_free(epoch);
    }
    emit__transactions_free(emit->transactions);
    mutex_fini(&emit->lock);
    kafka_notes_fini(&emit->notes);
    mem_free(emit);
}

/* ---- epochs ---- */

struct emit_epoch *emit_epoch_new(struct emit *emit)
{
    struct emit_epoch *epoch = mem_zalloc(sizeof *epoch);
    epoch->emit = emit;
    return epoch;
}

void emit_epoch_free(struct emit_epoch *epoch)
{
    struct emit *emit = epoch->emit;
    if (sync_int_get_acquire(&epoch->acked) == epoch->sent) {
        mem_free(epoch);
        return;
    }
    mutex_lock(&emit->lock);
    epoch->next_orphan = emit->orphans;
    emit->orphans = epoch;
    mutex_unlock(&emit->lock);
}

enum emit_epoch_state emit_epoch_poll(const struct emit_epoch *epoch, struct err *err)
{
    if (sync_int_get_acquire(&epoch->acked) == epoch->sent) return EMIT_ACKED;
    return emit__failure_get(epoch->emit, err) ? EMIT_FAILED : EMIT_PENDING;
}

/* ---- sending ---- */

size_t emit__source_text(struct emit_source source, char out[EMIT__SOURCE_MAX])
{
    size_t len = strnlen(source.topic, 249);
    memcpy(out, source.topic, len);
    out[len++] = '/';
    len += str_put_number(out + len, source.partition);
    out[len++] = '/';
    len += str_put_number(out + len, source.offset);
    return len;
}

rd_kafka_resp_err_t emit__produce(struct emit *emit, struct emit_epoch *epoch, int topic,
                                  rd_kafka_vu_t *parts, size_t n_parts, struct err *err)
{
    uint64_t until = clock_mono_ns() + (uint64_t)emit->timeout_ms * 1000000;
    rd_kafka_resp_err_t code;
    if (emit->transactions && !emit__gate_pass(emit, epoch, err)) return RD_KAFKA_RESP_ERR__STATE;
    if (!emit__may_send(emit, err)) return RD_KAFKA_RESP_ERR__STATE;
    if (emit->transactions && fault_fails("record_refused")) {
        err_set(err, ERR_ABORT, "a record is not sent: a planted fault");
        return RD_KAFKA_RESP_ERR__STATE;
    }
    /* Not before the gate: behind it there may be a new client with handles of its own. */
    assert(emit->topics[topic]);
    parts[0] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = emit->topics[topic]};
    epoch->sent++; /* before: the acknowledgement may be faster than we are */
    for (;;) {
        rd_kafka_error_t *error = rd_kafka_produceva(emit->client, parts, n_parts);
        if (!error) return RD_KAFKA_RESP_ERR_NO_ERROR;
        code = rd_kafka_error_code(error);
        bool wait = code == RD_KAFKA_RESP_ERR__QUEUE_FULL && clock_mono_ns() < until;
        if (!wait)
            (void)kafka_err_set(err, code, rd_kafka_error_string(error),
                                "cannot send to topic '%s'",
                                rd_kafka_topic_name(emit->topics[topic]));
        rd_kafka_error_destroy(error);
        if (!wait) break;
        if (emit__failure_get(emit, err)) break;
        sync_sleep_ms(1);
    }
    class_set(emit, code, err);
    epoch->sent--;
    return code;
}

/* librdkafka takes void * for bytes that it only copies. */
static void *bytes_of(struct str s)
{
    union {
        const char *in;
        void *out;
    } cast = {.in = s.ptr};
    return cast.out;
}

static bool record_send(struct emit *emit, struct emit_epoch *epoch, enum emit_topic topic,
                        int32_t partition, struct str key, struct str value,
                        struct emit_source source, int64_t timestamp_ms, struct err *err)
{
    char src[EMIT__SOURCE_MAX];
    size_t src_len = emit__source_text(source, src);
    rd_kafka_vu_t parts[] = {
        {.vtype = RD_KAFKA_VTYPE_RKT},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = partition},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {bytes_of(key), key.len}},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {bytes_of(value), value.len}},
        {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = timestamp_ms},
        {.vtype = RD_KAFKA_VTYPE_HEADER, .u.header = {"freshet-src", src, (ssize_t)src_len}},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = epoch},
    };
    assert(topic < EMIT_TOPIC_COUNT);
    return emit__produce(emit, epoch, topic, parts, sizeof parts / sizeof parts[0], err) ==
           RD_KAFKA_RESP_ERR_NO_ERROR;
}

bool emit_send(struct emit *emit, struct emit_epoch *epoch, enum emit_topic topic, struct str key,
               struct str value, struct emit_source source, int64_t timestamp_ms, struct err *err)
{
    return record_send(emit, epoch, topic, RD_KAFKA_PARTITION_UA, key, value, source, timestamp_ms,
                       err);
}

bool emit_send_to(struct emit *emit, struct emit_epoch *epoch, enum emit_topic topic,
                  int32_t partition, struct str value, struct emit_source source, struct err *err)
{
    return record_send(emit, epoch, topic, partition, (struct str){0}, value, source, 0, err);
}

bool emit_send_change(struct emit *emit, struct emit_epoch *epoch, int32_t partition,
                      struct str key, struct str value, struct emit_mark *mark, struct err *err)
{
    void *opaque = mark ? (void *)((uintptr_t)mark | MARKED) : (void *)epoch;
    rd_kafka_vu_t parts[] = {
        {.vtype = RD_KAFKA_VTYPE_RKT},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = partition},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {bytes_of(key), key.len}},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {bytes_of(value), value.len}},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = opaque},
    };
    if (mark) {
        mark->epoch = epoch;
        sync_int_set(&mark->offset, -1);
    }
    return emit__produce(emit, epoch, EMIT_CHANGELOG, parts, sizeof parts / sizeof parts[0], err) ==
           RD_KAFKA_RESP_ERR_NO_ERROR;
}
