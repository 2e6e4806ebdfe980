#include "tests/emit/support.h"

#include "base/clock.h"
#include "base/sync.h"

void cluster_start(struct cluster *cluster, int partitions)
{
    char why[256];
    cluster->client = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), why, sizeof why);
    CHECK(cluster->client);
    cluster->mock = rd_kafka_mock_cluster_new(cluster->client, 1);
    CHECK(cluster->mock);
    CHECK_INT(rd_kafka_mock_topic_create(cluster->mock, "lists", partitions, 1), 0);
    CHECK_INT(rd_kafka_mock_topic_create(cluster->mock, "letters", 1, 1), 0);
    memset(&cluster->config, 0, sizeof cluster->config);
    cluster->config.bootstrap_servers = rd_kafka_mock_cluster_bootstraps(cluster->mock);
}

void cluster_stop(struct cluster *cluster)
{
    rd_kafka_mock_cluster_destroy(cluster->mock);
    rd_kafka_destroy(cluster->client);
}

void cluster_read(struct cluster *cluster, const char *topic, int32_t partition, int n,
                  void (*visit)(void *context, rd_kafka_message_t *message), void *context)
{
    char why[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    (void)rd_kafka_conf_set(conf, "bootstrap.servers", cluster->config.bootstrap_servers, why,
                            sizeof why);
    (void)rd_kafka_conf_set(conf, "group.id", "reader", why, sizeof why);
    (void)rd_kafka_conf_set(conf, "fetch.wait.max.ms", "10", why, sizeof why);
    (void)rd_kafka_conf_set(conf, "enable.partition.eof", "true", why, sizeof why);
    rd_kafka_t *reader = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    CHECK(reader);
    (void)rd_kafka_poll_set_consumer(reader);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = RD_KAFKA_OFFSET_BEGINNING;
    (void)rd_kafka_assign(reader, list);
    rd_kafka_topic_partition_list_destroy(list);
    uint64_t until = clock_mono_ns() + 10000000000u;
    bool at_end = false;
    for (int got = 0; n < 0 ? !at_end : got < n;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(reader, 100);
        if (clock_mono_ns() > until) test_fail(__FILE__, __LINE__, "read %d of %d records", got, n);
        if (!message) continue;
        at_end = message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
        if (!message->err) {
            visit(context, message);
            got++;
        }
        rd_kafka_message_destroy(message);
    }
    (void)rd_kafka_consumer_close(reader);
    rd_kafka_destroy(reader);
}

enum emit_epoch_state epoch_await(struct emit_epoch *epoch, int timeout_ms, struct err *err)
{
    uint64_t until = clock_mono_ns() + (uint64_t)timeout_ms * 1000000;
    enum emit_epoch_state state;
    while ((state = emit_epoch_poll(epoch, err)) == EMIT_PENDING && clock_mono_ns() < until)
        sync_sleep_ms(1);
    return state;
}
