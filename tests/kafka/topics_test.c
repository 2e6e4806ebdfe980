/* Topics on the embedded broker, and what is said when no broker answers. */
#include "kafka/kafka.h"
#include "base/clock.h"
#include "tests/test.h"

static void describes_the_embedded_broker(void)
{
    struct err err = ERR_INIT;
    struct kafka_embedded *broker;
    const struct kafka_topic_spec specs[] = {
        {.name = "events", .partitions = 8, .replication = 1},
        {.name = "lists", .partitions = 4, .replication = 1, .compact = true}};
    CHECK_OK(kafka_embedded_start(&broker, specs, 2, &err), err);
    struct kafka_config config = {.bootstrap_servers = kafka_embedded_bootstrap(broker)};
    const char *names[] = {"events", "lists"};
    struct kafka_topic_info info[2];
    char cluster[64] = "";
    CHECK_OK(kafka_cluster_id(&config, cluster, 5000, &err), err);
    CHECK(cluster[0] != '\0');
    CHECK_OK(kafka_topic_describe(&config, names, 2, info, 5000, &err), err);
    CHECK_INT(info[0].partitions, 8);
    CHECK_INT(info[1].partitions, 4);
    CHECK_INT(info[1].replication, 1);
    kafka_embedded_stop(broker);
}

/* Nothing listens on port 1. */
static void says_what_was_tried(void)
{
    struct err err = ERR_INIT;
    struct kafka_config config = {.bootstrap_servers = "127.0.0.1:1"};
    char cluster[64];
    const char *names[] = {"events"};
    struct kafka_topic_info info[1];
    struct clock clock = {0};
    uint64_t start = clock_mono_us(&clock);
    CHECK_FAIL(kafka_cluster_id(&config, cluster, 300, &err), err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_UNREACHABLE);
    CHECK_CONTAINS(err.text, "127.0.0.1:1");
    CHECK_CONTAINS(err.text, "Connection refused");
    CHECK_FAIL(kafka_topic_describe(&config, names, 1, info, 300, &err), err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_UNREACHABLE);
    CHECK_CONTAINS(err.text, "topic 'events'");
    CHECK(clock_mono_us(&clock) - start < 10 * 1000000);
}

static void embedded_is_refused_where_nothing_was_started(void)
{
    struct err err = ERR_INIT;
    struct kafka_config config = {.bootstrap_servers = "embedded"};
    char cluster[64];
    CHECK_FAIL(kafka_cluster_id(&config, cluster, 300, &err), err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_USAGE);
}

int main(void)
{
    CASE(describes_the_embedded_broker);
    CASE(says_what_was_tried);
    CASE(embedded_is_refused_where_nothing_was_started);
    return 0;
}
