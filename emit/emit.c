/* The producer: opening, sending, acknowledgements, closing.
 *
 * Acknowledgements come as events on one queue, read by one thread, a whole batch of the broker at a time; it adds their
 * number to each epoch. A record that fails, fails the process: everything that is not acknowledged is made again from
 * the positions in the store, so there is nothing to save here. */
#include "emit/internal.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum {
    OPEN_MS = 30000,   /* to reach the broker at start */
    CLOSE_MS = 5000,   /* to end the client */
    REPORTS_MAX = 512, /* acknowledgements taken from an event at once */
    REPORTS_WAIT_MS = 100,
};

/* ---- acknowledgements ---- */

static void fail(struct emit *emit, const struct err *err)
{
    mutex_lock(&emit->lock);
    if (!flag_is_raised(&emit->failed)) {
        emit->failure = *err;
        flag_raise(&emit->failed);
    }
    mutex_unlock(&emit->lock);
}

static bool failure_get(const struct emit *emit, struct err *err)
{
    if (!flag_is_raised(&emit->failed)) return false;
    *err = emit->failure;
    return true;
}

/* Runs of one epoch are added at once: one store for each run, not for each record. */
static void reports_count(struct emit *emit, const rd_kafka_message_t *const *messages, size_t n)
{
    for (size_t i = 0; i < n;) {
        struct emit_epoch *epoch = messages[i]->_private;
        int64_t acked = 0;
        for (; i < n && messages[i]->_private == epoch; i++) {
            const rd_kafka_message_t *message = messages[i];
            struct err err = ERR_INIT;
            acked += message->err == RD_KAFKA_RESP_ERR_NO_ERROR;
            if (!message->err || flag_is_raised(&emit->failed)) continue;
            (void)kafka_err_set(&err, message->err, NULL,
                                "a record for topic '%s' was not acknowledged",
                                rd_kafka_topic_name(message->rkt));
            err.class = ERR_FATAL;
            fail(emit, &err);
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
    err.class = ERR_FATAL;
    if (err.exit_code == ERR_EXIT_INTERNAL)
        err.exit_code = ERR_EXIT_UNREACHABLE; /* a new instance goes on */
    fail(emit, &err);
}

static void reports_run(void *context)
{
    struct emit *emit = context;
    const rd_kafka_message_t *messages[REPORTS_MAX];
    size_t n;
    while (!flag_is_raised(&emit->stop)) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(emit->reports, REPORTS_WAIT_MS);
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

/* Topic handles and their metadata: without it the first record to a topic waits a second. */
static bool topics_warm(struct emit *emit, const char *const *names, struct err *err)
{
    for (int i = 0; i < EMIT__TOPICS; i++) {
        if (!names[i]) continue;
        const struct rd_kafka_metadata *metadata = NULL;
        emit->topics[i] = rd_kafka_topic_new(emit->client, names[i], NULL);
        rd_kafka_resp_err_t code =
            emit->topics[i]
                ? rd_kafka_metadata(emit->client, 0, emit->topics[i], &metadata, OPEN_MS)
                : rd_kafka_last_error();
        if (metadata) rd_kafka_metadata_destroy(metadata);
        if (code) return kafka_err_set(err, code, NULL, "cannot prepare topic '%s'", names[i]);
    }
    return true;
}

static bool client_make(struct emit *emit, const struct kafka_config *config,
                        const struct emit_options *options, struct err *err)
{
    char kbytes[32], timeout[32];
    size_t size = sizeof timeout;
    size_t queue_kbytes = options->queue_bytes / 1024;
    (void)snprintf(kbytes, sizeof kbytes, "%zu", queue_kbytes < 1024 ? 1024 : queue_kbytes);
    const struct kafka_setting own[] = {{"queue.buffering.max.kbytes", kbytes}};
    rd_kafka_conf_t *conf = kafka_client_conf(config, KAFKA_PRODUCER, own, 1, err);
    if (!conf) return false;
    (void)rd_kafka_conf_get(conf, "message.timeout.ms", timeout, &size);
    (void)sscanf(timeout, "%d", &emit->timeout_ms);
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

bool emit_open(struct emit **out, const struct kafka_config *config,
               const struct emit_options *options, struct err *err)
{
    const char *names[EMIT__TOPICS] = {[EMIT_RECOMMENDATIONS] = options->recommendations_topic,
                                       [EMIT_PAIRS] = named(options->pairs_topic),
                                       [EMIT_RELATED] = named(options->related_topic),
                                       [EMIT_TRENDING] = named(options->trending_topic),
                                       [EMIT__DLQ] = options->dlq_topic};
    if (!topics_check(config, names, err)) return false;
    struct emit *emit = mem_zalloc(sizeof *emit);
    kafka_notes_init(&emit->notes, false, emit);
    mutex_init(&emit->lock);
    if (!client_make(emit, config, options, err)) goto fail;
    emit->reports = rd_kafka_queue_get_main(emit->client);
    if (!topics_warm(emit, names, err)) goto fail;
    if (!thread_start(&emit->thread, "emit", reports_run, emit, err)) goto fail;
    emit->started = true;
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
        if (failure_get(emit, err)) return false;
        if (!code) return true;
    } while (clock_mono_ns() < until);
    return err_fatal(err, ERR_EXIT_UNREACHABLE,
                     "%d records are not acknowledged after %d ms: check the broker",
                     rd_kafka_outq_len(emit->client), timeout_ms);
}

void emit_close(struct emit *emit)
{
    if (!emit) return;
    if (emit->started) {
        flag_raise(&emit->stop);
        rd_kafka_queue_yield(emit->reports);
        thread_join(&emit->thread);
    }
    for (int i = 0; i < EMIT__TOPICS; i++)
        if (emit->topics[i]) rd_kafka_topic_destroy(emit->topics[i]);
    if (emit->reports) rd_kafka_queue_destroy(emit->reports);
    if (emit->client) {
        (void)rd_kafka_purge(emit->client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        if (!kafka_client_free(emit->client, CLOSE_MS))
            return; /* it may still log: the rest stays */
    }
    while (emit->orphans) {
        struct emit_epoch *epoch = emit->orphans;
        emit->orphans = epoch->next_orphan;
        mem_free(epoch);
    }
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
    return failure_get(epoch->emit, err) ? EMIT_FAILED : EMIT_PENDING;
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
                                  const rd_kafka_vu_t *parts, size_t n_parts, struct err *err)
{
    uint64_t until = clock_mono_ns() + (uint64_t)emit->timeout_ms * 1000000;
    rd_kafka_resp_err_t code;
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
        if (failure_get(emit, err)) break;
        sync_sleep_ms(1);
    }
    err->class = ERR_FATAL;
    if (err->exit_code == ERR_EXIT_INTERNAL)
        err->exit_code = ERR_EXIT_UNREACHABLE; /* a new instance goes on */
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
    const rd_kafka_vu_t parts[] = {
        {.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = emit->topics[topic]},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = partition},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {bytes_of(key), key.len}},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {bytes_of(value), value.len}},
        {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = timestamp_ms},
        {.vtype = RD_KAFKA_VTYPE_HEADER, .u.header = {"freshet-src", src, (ssize_t)src_len}},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = epoch},
    };
    assert(topic < EMIT_TOPIC_COUNT && emit->topics[topic]);
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
