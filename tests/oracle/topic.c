/* Reads a whole topic into memory with a plain consumer that belongs to no group. */
#include "tests/oracle/topic.h"

#include <librdkafka/rdkafka.h>
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
    };
}

/* Everything below the high watermark as it is at the start. */
static bool partition_read(rd_kafka_t *client, struct topic *topic, int *cap, const char *name,
                           int32_t partition, struct err *err)
{
    int64_t low, high, next;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_resp_err_t code =
        rd_kafka_query_watermark_offsets(client, name, partition, &low, &high, TIMEOUT_MS);
    if (code) {
        rd_kafka_topic_partition_list_destroy(list);
        return err_set(err, ERR_FATAL, "%s/%d: %s", name, (int)partition, rd_kafka_err2str(code));
    }
    rd_kafka_topic_partition_list_add(list, name, partition)->offset = low;
    (void)rd_kafka_assign(client, list);
    rd_kafka_topic_partition_list_destroy(list);
    for (next = low; next < high;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(client, TIMEOUT_MS);
        if (!message)
            return err_set(err, ERR_FATAL, "%s/%d: nothing after offset %lld", name, (int)partition,
                           (long long)next);
        if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            next = message->offset;
        } else if (!message->err) {
            if (message->offset < high) record_add(topic, cap, message);
            next = message->offset + 1;
        }
        rd_kafka_message_destroy(message);
    }
    return true;
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

bool topic_read(struct topic *topic, const char *bootstrap, const char *name, struct err *err)
{
    char text[256];
    int cap = 0;
    bool ok = true;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    *topic = (struct topic){0};
    (void)rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap, text, sizeof text);
    (void)rd_kafka_conf_set(conf, "group.id", "freshet-oracle", text, sizeof text);
    (void)rd_kafka_conf_set(conf, "enable.auto.commit", "false", text, sizeof text);
    (void)rd_kafka_conf_set(conf, "enable.partition.eof", "true", text, sizeof text);
    (void)rd_kafka_conf_set(conf, "isolation.level", "read_committed", text, sizeof text);
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    if (!client) return err_set(err, ERR_FATAL, "%s", text);
    (void)rd_kafka_poll_set_consumer(client);
    topic->partitions = partitions_of(client, name);
    if (topic->partitions == 0) ok = err_set(err, ERR_FATAL, "topic %s does not exist", name);
    for (int32_t p = 0; ok && p < topic->partitions; p++)
        ok = partition_read(client, topic, &cap, name, p, err);
    (void)rd_kafka_consumer_close(client);
    rd_kafka_destroy(client);
    return ok;
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
