#ifndef KAFKA_KAFKA_H
#define KAFKA_KAFKA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/* kafka/: what ingest and emit share of Kafka: client settings and what is refused of them, errors, topics, the embedded
 * broker. It refuses to consume or produce: that is ingest/ and emit/.
 *
 * Files, in reading order: kafka.h (for everyone), client.h (for ingest/ and emit/, names librdkafka's types), config.c
 * (settings: ours, the user's, refused ones), error.c (librdkafka's codes as class, exit code and advice), client.c
 * (a client's life and its log), topics.c, embedded.c, tsan.c (only for ThreadSanitizer).
 *
 * Invariants
 * - Every client is made by kafka_client_conf and kafka_client_new: no other place sets a property.
 * - No request of ours creates a topic by asking for it.
 * - Ending a client is bounded in time; one that hangs is left to the end of the process.
 *
 * Words: bootstrap, the addresses a client starts from. Broker, one Kafka server. Embedded broker, librdkafka's mock.
 * All functions: any thread, not two at a time with the same broker handle. */

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
/* info (n): what is there of names (n); a topic that does not exist is no error. Errors: ERR_FATAL exit 4 unreachable, exit
 * 2 no rights. */
MUST_USE bool kafka_topic_describe(const struct kafka_config *config, const char *const *names,
                                   int n, struct kafka_topic_info *info, int timeout_ms,
                                   struct err *err);
/* Creates what does not exist; an existing topic with other partitions is ERR_FATAL exit 5. */
MUST_USE bool kafka_topics_create(const struct kafka_config *config,
                                  const struct kafka_topic_spec *specs, int n, int timeout_ms,
                                  struct err *err);

/* ---- the embedded broker: librdkafka's in-process mock cluster; nothing is durable ---- */

/* One broker in this process on a free port of 127.0.0.1; other processes can connect while it runs. A partition keeps
 * 5 MiB, then its oldest records go. No admin calls, no static membership. */
struct kafka_embedded;

/* Starts it with the topics specs (n). Errors: ERR_FATAL exit 4. */
MUST_USE bool kafka_embedded_start(struct kafka_embedded **broker,
                                   const struct kafka_topic_spec *specs, int n, struct err *err);
const char *
kafka_embedded_bootstrap(const struct kafka_embedded *broker); /* lives as long as the broker */
/* Clients that still run lose their connection. NULL is fine. */
void kafka_embedded_stop(struct kafka_embedded *broker);

#endif
