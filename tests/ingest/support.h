#ifndef TESTS_INGEST_SUPPORT_H
#define TESTS_INGEST_SUPPORT_H

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "base/sync.h"
#include "ingest/ingest.h"
#include "tests/test.h"

/* A mock cluster of one broker, or a real one. A test program has one: the mock takes a second to stop, and three to let
 * a group begin. */
struct cluster {
    rd_kafka_t *client; /* owns the mock; also the producer of raw bytes */
    rd_kafka_t *producer;
    rd_kafka_mock_cluster_t *mock;
    struct kafka_config config;
    struct schemas *schemas; /* without a registry */
};

enum { PARTITIONS = 4 };

void cluster_start(struct cluster *cluster);
void cluster_stop(struct cluster *cluster);
/* A real broker instead (client and mock are NULL); cluster_leave undoes it. */
void cluster_join(struct cluster *cluster, const char *bootstrap);
void cluster_leave(struct cluster *cluster);
/* The settings of consumers that a test changed in config are again what they were. */
void cluster_reset(struct cluster *cluster);

/* Raw bytes (NULL: null value) and an event of one item, into a partition; returns when they are acknowledged. */
void produce_bytes(struct cluster *cluster, const char *topic, int32_t partition, const void *value,
                   size_t size);
void produce_click(struct cluster *cluster, const char *topic, int32_t partition, const char *user);
void produce_clicks(struct cluster *cluster, const char *topic, int32_t partition, int n);

/* An application that keeps positions as the store would: next[topic][partition], -1 none. One thread. */
struct app {
    struct ingest *ingest;
    struct ingest_options options;
    char names[2][64]; /* of topics: kind, process, time */
    const char *topics[2];
    char group[64];
    int64_t next[2][PARTITIONS];
    int assigned, revoked, lost; /* callbacks so far */
    bool refuse;                 /* assigned returns false */
};

/* Topics of PARTITIONS partitions on the mock and a group, all new. The struct stays where it is. */
void app_init(struct app *app, struct cluster *cluster, int n_topics, int shards);
/* The same without creating the topics. */
void app_name(struct app *app, int n_topics, int shards);
/* Opens; nobody is assigned yet. */
MUST_USE bool app_try_open(struct app *app, struct cluster *cluster, struct err *err);
/* Opens under `options.group_id`, waits until `partitions` partitions are assigned (30 s). */
void app_open(struct app *app, struct cluster *cluster, int partitions);
/* One poll of one shard, from the thread that has it; checks order, moves next. Returns what came, or -1 with err set. */
int app_take_shard(struct app *app, int shard, struct err *err);
/* Serves and polls all shards until n records came in or 10 s are over; checks order, moves next. Returns what came. */
int app_take(struct app *app, int n);
/* The same until ingest_serve or ingest_poll fails; 20 s. */
void app_await_failure(struct app *app, struct err *err);
void app_close(struct app *app);

enum { API_PRODUCE = 0, API_FETCH = 1, API_LIST_OFFSETS = 2, API_METADATA = 3 };

#endif
