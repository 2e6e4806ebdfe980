#ifndef KAFKA_KAFKA_H
#define KAFKA_KAFKA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/* kafka/: what ingest and emit share: client configuration and its refusals, error mapping, topics (create, check,
 * cluster id), the embedded broker. Hides librdkafka; the typedef names below are opaque to everyone else. */

struct kafka_setting {
    const char *key; /* librdkafka's name, prefix taken off */
    const char *value;
};

/* How to reach the cluster, and the settings passed through. Borrowed for the lifetime of what is opened with it. */
struct kafka_config {
    const char *bootstrap_servers; /* "embedded": see kafka_embedded_start */
    const char *client_id;
    const struct kafka_setting
        *common; /* (n_common) security.protocol, sasl.*, ssl.*, ... for every client */
    size_t n_common;
    const struct kafka_setting *consumer; /* consumer.* */
    size_t n_consumer;
    const struct kafka_setting *producer; /* producer.* */
    size_t n_producer;
};

/* Refuses keys that run code or break an invariant, each with why (RELIABILITY 5). Errors: ERR_FATAL exit 2. */
MUST_USE bool kafka_config_check(const struct kafka_config *config, struct err *err);

/* ---- topics ---- */

struct kafka_topic_spec {
    const char *name;
    int partitions;
    int replication; /* -1: broker default */
    bool compact;
};

struct kafka_topic_info {
    int partitions; /* 0: the topic does not exist */
    int replication;
    bool compact;
};

/* cluster_id: caller's buffer of 64 bytes. Errors: ERR_FATAL exit 4 unreachable, with what was tried. */
MUST_USE bool kafka_cluster_id(const struct kafka_config *config, char cluster_id[64],
                               int timeout_ms, struct err *err);
MUST_USE bool kafka_topic_describe(const struct kafka_config *config, const char *const *names,
                                   int n, struct kafka_topic_info *info, int timeout_ms,
                                   struct err *err);
/* Creates what does not exist; an existing topic with other partitions is ERR_FATAL exit 5. */
MUST_USE bool kafka_topics_create(const struct kafka_config *config,
                                  const struct kafka_topic_spec *specs, int n, int timeout_ms,
                                  struct err *err);

/* ---- the embedded broker: librdkafka's in-process mock cluster; nothing is durable ---- */

struct kafka_embedded;
MUST_USE bool kafka_embedded_start(struct kafka_embedded **broker,
                                   const struct kafka_topic_spec *specs, int n, struct err *err);
const char *
kafka_embedded_bootstrap(const struct kafka_embedded *broker); /* lives as long as the broker */
void kafka_embedded_stop(struct kafka_embedded *broker);

#endif
