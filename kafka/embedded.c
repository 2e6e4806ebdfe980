/* The embedded broker: librdkafka's mock cluster on loopback. One broker, in memory, 5 MiB a partition, then the oldest
 * go; no admin calls, no static membership, no transactions worth the name. For the demo and for tests. */
#include "kafka/client.h"

#include <librdkafka/rdkafka_mock.h>

#include "base/mem.h"

enum { CLOSE_MS = 5000 };

struct kafka_embedded {
    struct kafka_notes notes;
    rd_kafka_t *client; /* the mock cluster's own handle */
    rd_kafka_mock_cluster_t *cluster;
    char *bootstrap;
};

bool kafka_embedded_start(struct kafka_embedded **out, const struct kafka_topic_spec *specs, int n,
                          struct err *err)
{
    struct kafka_embedded *broker = mem_zalloc(sizeof *broker);
    kafka_notes_init(&broker->notes, true, NULL);
    broker->client = kafka_client_new(rd_kafka_conf_new(), KAFKA_PRODUCER, &broker->notes, err);
    if (!broker->client) goto fail;
    broker->cluster = rd_kafka_mock_cluster_new(broker->client, 1);
    if (!broker->cluster) {
        err_fatal(err, ERR_EXIT_UNREACHABLE,
                  "the embedded broker does not start: is 127.0.0.1 usable");
        goto fail;
    }
    for (int i = 0; i < n; i++) {
        rd_kafka_resp_err_t code =
            rd_kafka_mock_topic_create(broker->cluster, specs[i].name, specs[i].partitions, 1);
        if (!code) continue;
        kafka_err_set(err, code, NULL, "the embedded broker does not create topic '%s'",
                      specs[i].name);
        goto fail;
    }
    broker->bootstrap = mem_strdup(rd_kafka_mock_cluster_bootstraps(broker->cluster));
    *out = broker;
    return true;
fail:
    kafka_embedded_stop(broker);
    return false;
}

const char *kafka_embedded_bootstrap(const struct kafka_embedded *broker)
{
    return broker->bootstrap;
}

void kafka_embedded_stop(struct kafka_embedded *broker)
{
    if (!broker) return;
    if (broker->cluster) rd_kafka_mock_cluster_destroy(broker->cluster);
    mem_free(broker->bootstrap);
    if (broker->client && !kafka_client_free(broker->client, CLOSE_MS))
        return; /* it may still log: the notes stay */
    kafka_notes_fini(&broker->notes);
    mem_free(broker);
}
