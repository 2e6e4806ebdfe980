/* LINK: rdkafka */
/* Clusters that cannot do what exactly_once_v2 wants: said at start, with what to do. */
#include "tests/emit/support.h"

enum { API_TXN_OFFSET_COMMIT = 28, FIND_COORDINATOR = 10, ERRORS = 200, START_MS = 1500 };

static const struct emit_options OPTIONS = {.recommendations_topic = "lists",
                                            .dlq_topic = "letters",
                                            .queue_bytes = 8 * 1024 * 1024,
                                            .open_ms = START_MS,
                                            .transactional_id = "shop-a"};

/* The start fails; its words hold `words`. */
static void start_fails(struct cluster *cluster, enum err_exit code, const char *words)
{
    struct emit *emit;
    struct err err = ERR_INIT;
    CHECK(!emit_open(&emit, &cluster->config, &OPTIONS, &err));
    printf("  %s\n", err.text);
    CHECK_INT(err.class, ERR_FATAL);
    CHECK_INT(err.exit_code, code);
    CHECK(strstr(err.text, words));
}

static void old_brokers(void)
{
    struct cluster cluster;
    cluster_start(&cluster, 1);
    start_fails(&cluster, ERR_EXIT_USAGE, "up to version 2"); /* as the mock is */
    CHECK_INT(rd_kafka_mock_set_apiversion(cluster.mock, API_TXN_OFFSET_COMMIT, -1, -1), 0);
    start_fails(&cluster, ERR_EXIT_USAGE, "up to version -1");
    cluster_stop(&cluster);
}

static void no_rights(void)
{
    struct cluster cluster;
    cluster_start(&cluster, 1);
    rd_kafka_mock_push_request_errors(cluster.mock, API_INIT_PRODUCER_ID, 1,
                                      RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    start_fails(&cluster, ERR_EXIT_USAGE, "grant this user WRITE and DESCRIBE");
    cluster_stop(&cluster);
}

/* As brokers answer whose transaction log cannot have its copies. */
static void no_transaction_log(void)
{
    struct cluster cluster;
    rd_kafka_resp_err_t errors[ERRORS];
    cluster_start(&cluster, 1);
    for (int i = 0; i < ERRORS; i++)
        errors[i] = RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE;
    rd_kafka_mock_push_request_errors_array(cluster.mock, FIND_COORDINATOR, ERRORS, errors);
    start_fails(&cluster, ERR_EXIT_UNREACHABLE, "transaction.state.log.replication.factor");
    cluster_stop(&cluster);
}

int main(void)
{
    CASE(old_brokers);
    CASE(no_rights);
    CASE(no_transaction_log);
    return 0;
}
