/* A plain producer for import and simulate: throughput first, one thread, every record acknowledged before the end. */
#include "emit/emit.h"

#include <limits.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "kafka/client.h"

enum { OPEN_MS = 30000, CLOSE_MS = 5000, STALL_MS = 300000, SERVE_EVERY = 1024 };

struct emit_feed {
    struct kafka_notes notes;
    rd_kafka_t *client;
    rd_kafka_topic_t *topic;
    rd_kafka_queue_t *reports;
    uint64_t sent;
    bool failed;
    struct err failure; /* the first one; set when failed */
};

static void feed_free(struct emit_feed *feed)
{
    if (feed->topic) rd_kafka_topic_destroy(feed->topic);
    if (feed->reports) rd_kafka_queue_destroy(feed->reports);
    if (feed->client) {
        (void)rd_kafka_purge(feed->client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        if (!kafka_client_free(feed->client, CLOSE_MS))
            return; /* it may still log: the notes stay */
    }
    kafka_notes_fini(&feed->notes);
    mem_free(feed);
}

bool emit_feed_open(struct emit_feed **out, const struct kafka_config *config, const char *topic,
                    struct err *err)
{
    int partitions;
    if (!kafka_topics_partitions(config, &topic, 1, &partitions, OPEN_MS, err)) return false;
    struct emit_feed *feed = mem_zalloc(sizeof *feed);
    kafka_notes_init(&feed->notes, false, feed);
    rd_kafka_conf_t *conf = kafka_client_conf(config, KAFKA_PRODUCER, NULL, 0, err);
    if (!conf) goto fail;
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR);
    feed->client = kafka_client_new(conf, KAFKA_PRODUCER, &feed->notes, err);
    if (!feed->client) goto fail;
    feed->reports = rd_kafka_queue_get_main(feed->client);
    feed->topic = rd_kafka_topic_new(feed->client, topic, NULL);
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t code = rd_kafka_metadata(feed->client, 0, feed->topic, &metadata, OPEN_MS);
    if (metadata) rd_kafka_metadata_destroy(metadata);
    if (code) {
        (void)kafka_err_set(err, code, NULL, "cannot prepare topic '%s'", topic);
        goto fail;
    }
    *out = feed;
    return true;
fail:
    feed_free(feed);
    return false;
}

/* Takes what is acknowledged; waits up to timeout_ms for the first. */
static void reports_take(struct emit_feed *feed, int timeout_ms)
{
    rd_kafka_event_t *event;
    while ((event = rd_kafka_queue_poll(feed->reports, timeout_ms)) != NULL) {
        const rd_kafka_message_t *message;
        char why[256] = "";
        timeout_ms = 0;
        while (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR &&
               (message = rd_kafka_event_message_next(event)))
            if (message->err && !feed->failed) {
                (void)kafka_err_set(&feed->failure, message->err, NULL,
                                    "a record for topic '%s' was not acknowledged",
                                    rd_kafka_topic_name(feed->topic));
                feed->failed = true;
            }
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR &&
            rd_kafka_event_error_is_fatal(event) && !feed->failed) {
            rd_kafka_resp_err_t code = rd_kafka_fatal_error(feed->client, why, sizeof why);
            (void)kafka_err_set(&feed->failure, code, why, "the producer cannot go on");
            feed->failed = true;
        }
        rd_kafka_event_destroy(event);
    }
}

bool emit_feed_send_to(struct emit_feed *feed, int32_t partition, struct str key, struct str value,
                       int64_t timestamp_ms, struct err *err)
{
    union {
        const char *in;
        void *out;
    } key_bytes = {.in = key.ptr}, value_bytes = {.in = value.ptr};
    const rd_kafka_vu_t parts[] = {
        {.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = feed->topic},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = partition},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {key_bytes.out, key.len}},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {value_bytes.out, value.len}},
        {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = timestamp_ms},
    };
    uint64_t until = 0;
    if (feed->sent++ % SERVE_EVERY == 0) reports_take(feed, 0);
    for (;;) {
        if (feed->failed) {
            *err = feed->failure;
            return false;
        }
        rd_kafka_error_t *error =
            rd_kafka_produceva(feed->client, parts, sizeof parts / sizeof parts[0]);
        if (!error) return true;
        rd_kafka_resp_err_t code = rd_kafka_error_code(error);
        (void)kafka_err_set(err, code, rd_kafka_error_string(error), "cannot send to topic '%s'",
                            rd_kafka_topic_name(feed->topic));
        rd_kafka_error_destroy(error);
        if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) return false;
        if (!until) until = clock_mono_ns() + (uint64_t)STALL_MS * 1000000;
        if (clock_mono_ns() > until) return false;
        reports_take(feed, 20);
    }
}

bool emit_feed_send(struct emit_feed *feed, struct str key, struct str value, int64_t timestamp_ms,
                    struct err *err)
{
    return emit_feed_send_to(feed, RD_KAFKA_PARTITION_UA, key, value, timestamp_ms, err);
}

bool emit_feed_close(struct emit_feed *feed, int timeout_ms, struct err *err)
{
    const uint64_t patience = (uint64_t)timeout_ms * 1000000;
    uint64_t until = clock_mono_ns() + patience;
    bool ok = true;
    int left, before = INT_MAX;
    /* A flush alone would stop the waiting for fuller batches; reports are read here, since no thread does. */
    while ((left = rd_kafka_outq_len(feed->client)) > 0 && !feed->failed) {
        if (left < before) until = clock_mono_ns() + patience;
        before = left;
        if (clock_mono_ns() > until) {
            ok = err_fatal(err, ERR_EXIT_UNREACHABLE,
                           "%d records for topic '%s' are not acknowledged, and none was for %d ms",
                           left, rd_kafka_topic_name(feed->topic), timeout_ms);
            break;
        }
        reports_take(feed, 10);
    }
    if (feed->failed) {
        *err = feed->failure;
        ok = false;
    }
    feed_free(feed);
    return ok;
}
