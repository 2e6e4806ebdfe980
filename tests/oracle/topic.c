/* Reads a whole topic into memory with a plain consumer that belongs to no group. */
#include "tests/oracle/topic.h"

#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { TIMEOUT_MS = 20000 };

static struct str copy(const void *bytes, size_t len)
{
    if (!bytes) return (struct str){0};
    return (struct str){mem_strndup(bytes, len), len};
}

static struct str header(const rd_kafka_headers_t *headers, const char *name)
{
    const void *value;
    size_t size;
    if (!headers ||
        rd_kafka_header_get_last(headers, name, &value, &size) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return copy("", 0);
    return copy(value, size);
}

static bool has_header(rd_kafka_headers_t *headers, const char *name)
{
    const void *value;
    size_t size;
    return headers &&
           rd_kafka_header_get_last(headers, name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR;
}

static void record_add(struct topic *topic, int *cap, rd_kafka_message_t *message)
{
    rd_kafka_headers_t *headers = NULL;
    if (topic->n == *cap) {
        *cap = *cap ? *cap * 2 : 1024;
        topic->records = mem_realloc(topic->records, (size_t)*cap * sizeof *topic->records);
    }
    (void)rd_kafka_message_headers(message, &headers);
    topic->records[topic->n++] = (struct topic_record){
        .partition = message->partition,
        .offset = message->offset,
        .timestamp_ms = rd_kafka_message_timestamp(message, NULL),
        .key = copy(message->key, message->key_len),
        .value = copy(message->payload, message->len),
        .source = header(headers, "freshet-src"),
        .reason = header(headers, "__connect.errors.exception.class.name"),
        .is_moved = has_header(headers, "freshet-dlq-was"),
        .is_mark = has_header(headers, "freshet-dlq-mark"),
    };
}

/* The partitions below the high watermarks as they are at the start; offset: where to read from. */
static bool ends_query(rd_kafka_t *client, const char *name, rd_kafka_topic_partition_list_t *list,
                       int64_t *high, struct err *err)
{
    for (int32_t p = 0; p < list->cnt; p++) {
        int64_t low;
        rd_kafka_resp_err_t code =
            rd_kafka_query_watermark_offsets(client, name, p, &low, &high[p], TIMEOUT_MS);
        if (code) return err_set(err, ERR_FATAL, "%s/%d: %s", name, (int)p, rd_kafka_err2str(code));
        list->elems[p].offset = low;
    }
    return true;
}

/* Reads until each partition has come to its end. next (partitions): the first offset not seen yet. */
static bool records_read(rd_kafka_t *client, struct topic *topic, const char *name, int64_t *next,
                         const int64_t *high, struct err *err)
{
    int cap = 0, open = 0;
    for (int32_t p = 0; p < topic->partitions; p++)
        open += next[p] < high[p];
    while (open > 0) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(client, TIMEOUT_MS);
        if (!message)
            return err_set(err, ERR_FATAL, "%s: %d partitions do not come to their end", name,
                           open);
        int32_t p = message->partition;
        bool is_end = message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF, was_open = false;
        if (!message->err || is_end) {
            was_open = next[p] < high[p];
            if (!is_end && message->offset < high[p]) record_add(topic, &cap, message);
            next[p] = message->offset + !is_end;
            open -= was_open && next[p] >= high[p];
        }
        rd_kafka_message_destroy(message);
    }
    return true;
}

/* By partition, then offset. */
static int record_compare(const void *a, const void *b)
{
    const struct topic_record *x = a, *y = b;
    if (x->partition != y->partition) return x->partition < y->partition ? -1 : 1;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* All partitions at once: one after the other, each waits for the client to find its way anew. */
static bool partitions_read(rd_kafka_t *client, struct topic *topic, const char *name,
                            struct err *err)
{
    size_t n = (size_t)topic->partitions;
    int64_t *high = mem_zalloc(n * sizeof *high), *next = mem_zalloc(n * sizeof *next);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(topic->partitions);
    for (int32_t p = 0; p < topic->partitions; p++)
        rd_kafka_topic_partition_list_add(list, name, p);
    bool ok = ends_query(client, name, list, high, err);
    for (size_t p = 0; ok && p < n; p++)
        next[p] = list->elems[p].offset;
    if (ok) (void)rd_kafka_assign(client, list);
    ok = ok && records_read(client, topic, name, next, high, err);
    if (topic->n) qsort(topic->records, (size_t)topic->n, sizeof *topic->records, record_compare);
    rd_kafka_topic_partition_list_destroy(list);
    mem_free(high);
    mem_free(next);
    return ok;
}

static int partitions_of(rd_kafka_t *client, const char *name)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *handle = rd_kafka_topic_new(client, name, NULL);
    int n = 0;
    if (rd_kafka_metadata(client, 0, handle, &metadata, TIMEOUT_MS) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        if (metadata->topic_cnt == 1) n = metadata->topics[0].partition_cnt;
        rd_kafka_metadata_destroy(metadata);
    }
    rd_kafka_topic_destroy(handle);
    return n;
}

static rd_kafka_t *client_make(const char *bootstrap, const char *group, struct err *err)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    (void)rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap, text, sizeof text);
    (void)rd_kafka_conf_set(conf, "group.id", group, text, sizeof text);
    (void)rd_kafka_conf_set(conf, "enable.auto.commit", "false", text, sizeof text);
    (void)rd_kafka_conf_set(conf, "enable.partition.eof", "true", text, sizeof text);
    (void)rd_kafka_conf_set(conf, "fetch.wait.max.ms", "10", text, sizeof text);
    (void)rd_kafka_conf_set(conf, "isolation.level", "read_committed", text, sizeof text);
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    if (client)
        (void)rd_kafka_poll_set_consumer(client);
    else
        err_set(err, ERR_FATAL, "%s", text);
    return client;
}

bool topic_read(struct topic *topic, const char *bootstrap, const char *name, struct err *err)
{
    bool ok = true;
    *topic = (struct topic){0};
    rd_kafka_t *client = client_make(bootstrap, "freshet-oracle", err);
    if (!client) return false;
    topic->partitions = partitions_of(client, name);
    if (topic->partitions == 0) ok = err_set(err, ERR_FATAL, "topic %s does not exist", name);
    ok = ok && partitions_read(client, topic, name, err);
    (void)rd_kafka_consumer_close(client);
    rd_kafka_destroy(client);
    return ok;
}

bool topic_committed(const char *bootstrap, const char *group, const char *name, int partitions,
                     int64_t *next, struct err *err)
{
    rd_kafka_t *client = client_make(bootstrap, group, err);
    if (!client) return false;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
    for (int32_t p = 0; p < partitions; p++)
        rd_kafka_topic_partition_list_add(list, name, p);
    rd_kafka_resp_err_t code = rd_kafka_committed(client, list, TIMEOUT_MS);
    for (int32_t p = 0; p < partitions; p++)
        next[p] = list->elems[p].offset < 0 ? -1 : list->elems[p].offset;
    rd_kafka_topic_partition_list_destroy(list);
    (void)rd_kafka_consumer_close(client);
    rd_kafka_destroy(client);
    if (code) return err_set(err, ERR_FATAL, "%s: %s", name, rd_kafka_err2str(code));
    return true;
}

static void bytes_free(struct str s)
{
    mem_free((void *)(uintptr_t)s.ptr);
}

void topic_free(struct topic *topic)
{
    for (int i = 0; i < topic->n; i++) {
        bytes_free(topic->records[i].key);
        bytes_free(topic->records[i].value);
        bytes_free(topic->records[i].source);
        bytes_free(topic->records[i].reason);
    }
    mem_free(topic->records);
}
