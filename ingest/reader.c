/* Partitions of one topic: librdkafka's simple consumer, all of them into one queue. */
#include "ingest/reader.h"

#include <assert.h>
#include <inttypes.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sync.h"
#include "kafka/client.h"

enum { CLOSE_MS = 5000, ASK_AGAIN_MS = 20 };

struct part {
    int64_t next;   /* first offset not handed out */
    uint64_t start; /* how often it was started or stopped */
    bool is_started;
};

struct ingest_reader {
    struct kafka_notes notes;
    rd_kafka_t *client;
    rd_kafka_topic_t *handle;
    rd_kafka_queue_t *queue;
    struct part *parts; /* (n_parts) */
    int n_parts, batch_max;
    struct ingest_reader_record *records; /* (batch_max) */
    rd_kafka_message_t **messages;        /* (batch_max) of the batch that is out */
    int n_messages;
};

/* ---- life ---- */

static bool client_open(struct ingest_reader *reader, const struct kafka_config *config,
                        struct err *err)
{
    /* Whole logs are read: longer fetches than for a stream. */
    static const struct kafka_setting own[] = {{"enable.partition.eof", "true"},
                                               {"max.partition.fetch.bytes", "4194304"},
                                               {"queued.max.messages.kbytes", "65536"},
                                               {"fetch.max.bytes", "33554432"}};
    rd_kafka_conf_t *conf =
        kafka_client_conf(config, KAFKA_CONSUMER, own, sizeof own / sizeof own[0], err);
    if (conf) reader->client = kafka_client_new(conf, KAFKA_CONSUMER, &reader->notes, err);
    return reader->client != NULL;
}

bool ingest_reader_open(struct ingest_reader **out, const struct kafka_config *config,
                        const char *topic, int batch_max, int timeout_ms, struct err *err)
{
    struct ingest_reader *reader = mem_zalloc(sizeof *reader);
    kafka_notes_init(&reader->notes, false, NULL);
    reader->batch_max = batch_max;
    reader->records = mem_zalloc((size_t)batch_max * sizeof *reader->records);
    reader->messages = mem_zalloc((size_t)batch_max * sizeof(rd_kafka_message_t *));
    if (!kafka_topics_partitions(config, &topic, 1, &reader->n_parts, timeout_ms, err)) goto fail;
    reader->parts = mem_zalloc((size_t)reader->n_parts * sizeof *reader->parts);
    if (!client_open(reader, config, err)) goto fail;
    reader->handle = rd_kafka_topic_new(reader->client, topic, NULL);
    reader->queue = rd_kafka_queue_new(reader->client);
    if (!reader->handle) {
        (void)kafka_err_set(err, rd_kafka_last_error(), NULL, "cannot read topic '%s'", topic);
        goto fail;
    }
    *out = reader;
    return true;
fail:
    ingest_reader_close(reader);
    return false;
}

void ingest_reader_close(struct ingest_reader *reader)
{
    if (!reader) return;
    for (int i = 0; i < reader->n_messages; i++)
        rd_kafka_message_destroy(reader->messages[i]);
    for (int32_t p = 0; reader->handle && p < reader->n_parts; p++)
        ingest_reader_stop(reader, p);
    if (reader->queue) rd_kafka_queue_destroy(reader->queue);
    if (reader->handle) rd_kafka_topic_destroy(reader->handle);
    if (reader->client && !kafka_client_free(reader->client, CLOSE_MS)) return;
    kafka_notes_fini(&reader->notes);
    mem_free(reader->parts);
    mem_free(reader->records);
    mem_free(reader->messages);
    mem_free(reader);
}

int ingest_reader_partitions(const struct ingest_reader *reader)
{
    return reader->n_parts;
}

void ingest_reader_wake(struct ingest_reader *reader)
{
    rd_kafka_queue_yield(reader->queue);
}

/* ---- bounds ---- */

static rd_kafka_resp_err_t offset_ask(struct ingest_reader *reader, int32_t partition, int64_t at,
                                      int timeout_ms, int64_t *offset)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *part =
        rd_kafka_topic_partition_list_add(list, rd_kafka_topic_name(reader->handle), partition);
    part->offset = at;
    rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(reader->client, list, timeout_ms);
    if (!code) code = part->err;
    *offset = part->offset;
    rd_kafka_topic_partition_list_destroy(list);
    return code;
}

bool ingest_reader_bounds(struct ingest_reader *reader, int32_t partition, int64_t *begin,
                          int64_t *end, int timeout_ms, struct err *err)
{
    uint64_t until = clock_mono_ns() + (uint64_t)timeout_ms * 1000000;
    for (;;) {
        uint64_t now = clock_mono_ns();
        int left_ms = now < until ? (int)((until - now) / 1000000) + 1 : 1;
        rd_kafka_resp_err_t code =
            offset_ask(reader, partition, RD_KAFKA_OFFSET_BEGINNING, left_ms, begin);
        if (!code) code = offset_ask(reader, partition, RD_KAFKA_OFFSET_END, left_ms, end);
        if (!code) return true;
        (void)kafka_err_set(err, code, NULL, "cannot ask for the end of %s/%d",
                            rd_kafka_topic_name(reader->handle), (int)partition);
        bool again = kafka_err_passes(err, code);
        if (again) err->class = ERR_RETRY;
        if (!again || left_ms <= ASK_AGAIN_MS) return false;
        err->class = ERR_NONE;
        sync_sleep_ms(ASK_AGAIN_MS);
    }
}

int64_t ingest_reader_end(const struct ingest_reader *reader, int32_t partition)
{
    int64_t low = 0, high = 0;
    rd_kafka_resp_err_t code = rd_kafka_get_watermark_offsets(
        reader->client, rd_kafka_topic_name(reader->handle), partition, &low, &high);
    return code || high < 0 ? 0 : high;
}

/* ---- partitions ---- */

void ingest_reader_stop(struct ingest_reader *reader, int32_t partition)
{
    if (!reader->parts[partition].is_started) return;
    (void)rd_kafka_consume_stop(reader->handle, partition);
    reader->parts[partition].is_started = false;
    reader->parts[partition].start++;
}

bool ingest_reader_start(struct ingest_reader *reader, int32_t partition, int64_t from,
                         struct err *err)
{
    struct part *part = &reader->parts[partition];
    ingest_reader_stop(reader, partition);
    if (rd_kafka_consume_start_queue(reader->handle, partition, from, reader->queue))
        return kafka_err_set(err, rd_kafka_last_error(), NULL, "cannot read %s/%d",
                             rd_kafka_topic_name(reader->handle), (int)partition);
    *part = (struct part){.next = from, .start = part->start + 1, .is_started = true};
    return true;
}

/* ---- reading ---- */

/* In place of a record. Returns false with err when nothing can be read on; *tells: it is one for the caller. */
static bool error_take(struct ingest_reader *reader, const rd_kafka_message_t *message,
                       struct ingest_reader_record *record, bool *tells, struct err *err)
{
    *tells = true;
    *record = (struct ingest_reader_record){.kind = READER_END,
                                            .partition = message->partition,
                                            .offset = message->offset,
                                            .start = reader->parts[message->partition].start};
    switch (message->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        return true;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        record->kind = READER_GONE;
        return true;
    default:
        break;
    }
    *tells = false;
    (void)kafka_err_set(err, message->err, rd_kafka_message_errstr(message),
                        "%s/%d at offset %" PRId64, rd_kafka_topic_name(reader->handle),
                        (int)message->partition, reader->parts[message->partition].next);
    bool passes = err_passes(err);
    if (passes)
        log_warn("ingest", "a partition that is restored met an error and goes on",
                 "partition=%d error=%s", (int)message->partition, rd_kafka_err2name(message->err));
    err->class = passes ? ERR_NONE : ERR_FATAL;
    return passes;
}

static bool message_take(struct ingest_reader *reader, rd_kafka_message_t *message,
                         struct ingest_reader_record *record, bool *is_taken, struct err *err)
{
    bool is_ours = message->rkt == reader->handle && message->partition >= 0 &&
                   message->partition < reader->n_parts &&
                   reader->parts[message->partition].is_started;
    *is_taken = false;
    if (!is_ours) return true;
    if (message->err) return error_take(reader, message, record, is_taken, err);
    struct part *part = &reader->parts[message->partition];
    if (message->offset < part->next) return true;
    *record = (struct ingest_reader_record){
        .kind = READER_RECORD,
        .partition = message->partition,
        .offset = message->offset,
        .key = {message->key, message->key ? message->key_len : 0},
        .value = {message->payload, message->payload ? message->len : 0},
        .start = part->start,
    };
    part->next = message->offset + 1;
    *is_taken = true;
    return true;
}

bool ingest_reader_poll(struct ingest_reader *reader, int timeout_ms,
                        struct ingest_reader_batch *batch, struct err *err)
{
    rd_kafka_message_t *message;
    bool ok = true, is_taken;
    int n = 0;
    assert(reader->n_messages == 0); /* one batch at a time */
    (void)rd_kafka_poll(reader->client, 0);
    while (ok && n < reader->batch_max &&
           (message = rd_kafka_consume_queue(reader->queue, n == 0 ? timeout_ms : 0)) != NULL) {
        ok = message_take(reader, message, &reader->records[n], &is_taken, err);
        n += is_taken;
        if (is_taken && !message->err)
            reader->messages[reader->n_messages++] = message;
        else
            rd_kafka_message_destroy(message);
    }
    *batch = (struct ingest_reader_batch){reader->records, n};
    return ok;
}

bool ingest_reader_is_current(const struct ingest_reader *reader,
                              const struct ingest_reader_record *record)
{
    return reader->parts[record->partition].start == record->start;
}

void ingest_reader_release(struct ingest_reader *reader, struct ingest_reader_batch *batch)
{
    for (int i = 0; i < reader->n_messages; i++)
        rd_kafka_message_destroy(reader->messages[i]);
    reader->n_messages = 0;
    batch->n = 0;
}
