/* LINK:rdkafka*/
/* What stops the consumer and what does not, on a mock cluster. */
#include "base/clock.h"
#include "tests/ingest/support.h"

static struct cluster cluster;

static void failure_of(struct app *app, struct err *err)
{
    CHECK_OK(app_try_open(app, &cluster, err), err);
    app_await_failure(app, err);
    CHECK_INT(err->class, ERR_FATAL);
}

static void says_which_topics_do_not_match(void)
{
    struct err err = ERR_INIT;
    struct app app;
    app_init(&app, &cluster, 2, 1);
    CHECK_INT(rd_kafka_mock_topic_create(cluster.mock, "views", 6, 1), 0);
    const char *const topics[] = {app.names[0], "views"};
    const struct ingest_callbacks callbacks = {0};
    app.options.topics = topics;
    CHECK_FAIL(
        ingest_open(&app.ingest, &cluster.config, &app.options, cluster.schemas, &callbacks, &err),
        err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_TOPIC);
    CHECK_CONTAINS(err.text, app.names[0]);
    CHECK_CONTAINS(err.text, "has 4 partitions and 'views' has 6");
}

static void a_position_outside_the_log_stops(void)
{
    struct err err = ERR_INIT;
    struct app app;
    app_init(&app, &cluster, 1, 1);
    produce_clicks(&cluster, app.names[0], 1, 10);
    app.next[0][1] = 11; /* the log ends at 10: the topic was created again */
    failure_of(&app, &err);
    CHECK_INT(err.exit_code, ERR_EXIT_TOPIC);
    CHECK_CONTAINS(err.text, app.names[0]);
    CHECK_CONTAINS(err.text, "/1: the store's position is 11, but the log ends at 10");
    app_close(&app);
    app.options.on_gap = GAP_ACCEPT;
    app_open(&app, &cluster, PARTITIONS);
    app.next[0][1] = -1;
    CHECK_INT(app_take(&app, 10), 10);
    app_close(&app);
}

static void a_refusing_application_stops(void)
{
    struct err err = ERR_INIT;
    struct app app;
    app_init(&app, &cluster, 1, 1);
    app.refuse = true;
    failure_of(&app, &err);
    CHECK_INT(err.exit_code, ERR_EXIT_STORE);
    CHECK_CONTAINS(err.text, "another cluster");
    app_close(&app);
    CHECK_INT(app.revoked, 0); /* what was never taken is not given back */
}

/* Retention passes the position while we read: the mock drops the oldest batches past 5 MiB of a partition. */
static void retention_under_way_stops(void)
{
    struct err err = ERR_INIT;
    static char big[60000];
    struct app app;
    app_init(&app, &cluster, 1, 1);
    produce_clicks(&cluster, app.names[0], 0, 3);
    struct kafka_setting small[] = {{"queued.min.messages", "1"},
                                    {"fetch.max.bytes", "100000"},
                                    {"queued.max.messages.kbytes", "64"},
                                    {"message.max.bytes", "100000"},
                                    {"fetch.message.max.bytes", "60000"}};
    cluster.config.consumer = small;
    cluster.config.n_consumer = 5;
    app_open(&app, &cluster, PARTITIONS);
    CHECK_INT(app_take(&app, 3), 3);
    for (int i = 0; i < 300; i++)
        produce_bytes(&cluster, app.names[0], 0, big, sizeof big); /* 18 MB */
    app_await_failure(&app, &err);
    CHECK_INT(err.class, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_TOPIC);
    CHECK_CONTAINS(err.text, app.names[0]);
    app_close(&app);
    app.next[0][0] = 3; /* the restart says what is lost, and `accept` goes on */
    failure_of(&app, &err);
    CHECK_INT(err.exit_code, ERR_EXIT_TOPIC);
    CHECK_CONTAINS(err.text, "gone by retention");
    app_close(&app);
    app.options.on_gap = GAP_ACCEPT;
    cluster_reset(&cluster);
    app_open(&app, &cluster, PARTITIONS);
    CHECK(app_take(&app, 20) >= 20);
    app_close(&app);
}

static void fetch_errors_pass(void)
{
    static const rd_kafka_resp_err_t codes[] = {
        RD_KAFKA_RESP_ERR__TRANSPORT,           RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,    RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
        RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE,
    };
    struct app app;
    app_init(&app, &cluster, 1, 1);
    app_open(&app, &cluster, PARTITIONS);
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        rd_kafka_mock_push_request_errors_array(cluster.mock, API_FETCH, 1, &codes[i]);
        produce_clicks(&cluster, app.names[0], 0, 10);
        CHECK_INT(app_take(&app, 10), 10);
    }
    CHECK_INT(rd_kafka_mock_broker_set_down(cluster.mock, 1), 0);
    sync_sleep_ms(500);
    CHECK_INT(rd_kafka_mock_broker_set_up(cluster.mock, 1), 0);
    produce_clicks(&cluster, app.names[0], 1, 10);
    CHECK_INT(app_take(&app, 10), 10);
    app_close(&app);
}

/* A broker that just lost the partition is asked again, and its first answer is forgotten. */
static void a_leader_that_moves_is_asked_again(void)
{
    struct app app;
    app_init(&app, &cluster, 1, 1);
    produce_clicks(&cluster, app.names[0], 0, 3);
    rd_kafka_mock_push_request_errors(cluster.mock, API_LIST_OFFSETS, 2,
                                      RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                                      RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE);
    app_open(&app, &cluster, PARTITIONS);
    CHECK_INT(app_take(&app, 3), 3);
    app_close(&app);
}

int main(void)
{
    cluster_start(&cluster);
    CASE(says_which_topics_do_not_match);
    CASE(a_position_outside_the_log_stops);
    CASE(a_refusing_application_stops);
    CASE(retention_under_way_stops);
    CASE(fetch_errors_pass);
    CASE(a_leader_that_moves_is_asked_again);
    cluster_stop(&cluster);
    return 0;
}
