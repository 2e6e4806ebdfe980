#ifndef TESTS_EMIT_SUPPORT_H
#define TESTS_EMIT_SUPPORT_H

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "emit/emit.h"
#include "tests/test.h"

/* A mock cluster of one broker with the topics `lists` and `letters`, and a plain consumer to read them back. */
struct cluster {
    rd_kafka_t *client;
    rd_kafka_mock_cluster_t *mock;
    struct kafka_config config;
};

void cluster_start(struct cluster *cluster, int partitions);
void cluster_stop(struct cluster *cluster);

/* Reads n records of a partition from its beginning; each goes to visit. Fails the test after 10 s. */
/* n < 0: to the end. */
void cluster_read(struct cluster *cluster, const char *topic, int32_t partition, int n,
                  void (*visit)(void *context, rd_kafka_message_t *message), void *context);

/* Waits up to timeout_ms for the epoch to settle. */
enum emit_epoch_state epoch_await(struct emit_epoch *epoch, int timeout_ms, struct err *err);

/* API keys, as the mock's error stacks take them. */
enum {
    API_PRODUCE = 0,
    API_FETCH = 1,
    API_LIST_OFFSETS = 2,
    API_METADATA = 3,
    API_INIT_PRODUCER_ID = 22
};

#endif
