/* LINK:rdkafka*/
/* The consumer on a mock cluster: positions, order, gaps, poison, rebalances, wake-ups, errors. */
#include <poll.h>

#include "base/clock.h"
#include "tests/ingest/support.h"

/* ---- positions ---- */

static void starts_where_the_store_says(void)
{
    struct cluster cluster;
    cluster_start(&cluster);
    for (int p = 0; p < PARTITIONS; p++)
        produce_clicks(&cluster, "clicks", p, 10);
    struct app app = app_of(1, 2);
    app.next[0][1] = 7; /* the others: never seen, so from the beginning */
    app.next[0][2] = 10;
    app_open(&app, &cluster, PARTITIONS);
    CHECK_INT(app_take(&app, 23), 23);
    for (int p = 0; p < PARTITIONS; p++) {
        CHECK_INT(app.next[0][p], 10);
        CHECK_INT(ingest_lag(app.ingest, 0, p, 4), 6);
    }
    app_close(&app);
    CHECK_INT(app.revoked, PARTITIONS);
    app.options.start = INGEST_LATEST; /* positions are known: `latest` must not matter */
    produce_clicks(&cluster, "clicks", 0, 3);
    app_open(&app, &cluster, PARTITIONS);
    CHECK_INT(app_take(&app, 3), 3);
    app_close(&app);
    cluster_stop(&cluster);
}

static void latest_is_a_number_from_the_start(void)
{
    struct cluster cluster;
    cluster_start(&cluster);
    produce_clicks(&cluster, "clicks", 0, 10);
    struct app app = app_of(1, 1);
    app.options.start = INGEST_LATEST;
    app_open(&app, &cluster, PARTITIONS);
    produce_clicks(&cluster, "clicks", 0, 2);
    CHECK_INT(app_take(&app, 2), 2);
    CHECK_INT(app.next[0][0], 12);
    app_close(&app);
    cluster_stop(&cluster);
}

static void topics_meet_in_one_partition_number(void)
{
    struct cluster cluster;
    cluster_start(&cluster);
    for (int p = 0; p < PARTITIONS; p++) {
        produce_clicks(&cluster, "clicks", p, 5);
        produce_clicks(&cluster, "orders", p, 3);
    }
    struct app app = app_of(2, 3);
    app_open(&app, &cluster, PARTITIONS);
    CHECK_INT(app_take(&app, PARTITIONS * 8), PARTITIONS * 8);
    for (int p = 0; p < PARTITIONS; p++) {
        CHECK_INT(app.next[0][p], 5);
        CHECK_INT(app.next[1][p], 3);
    }
    app_close(&app);
    cluster_stop(&cluster);
}

/* ---- what stops at open or at assignment ---- */

static void says_which_topics_do_not_match(void)
{
    struct cluster cluster;
    struct err err = ERR_INIT;
    cluster_start(&cluster);
    CHECK_INT(rd_kafka_mock_topic_create(cluster.mock, "views", 6, 1), 0);
    struct app app = app_of(2, 1);
    const char *const topics[] = {"clicks", "views"};
    const struct ingest_callbacks callbacks = {0};
    app.options.topics = topics;
    CHECK_FAIL(
        ingest_open(&app.ingest, &cluster.config, &app.options, cluster.schemas, &callbacks, &err),
        err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_TOPIC);
    CHECK_CONTAINS(err.text, "'clicks' has 4 partitions and 'views' has 6");
    cluster_stop(&cluster);
}

static void failure_of(struct app *app, struct cluster *cluster, struct err *err)
{
    CHECK_OK(app_try_open(app, cluster, err), err);
    app_await_failure(app, err);
    CHECK_INT(err->class, ERR_FATAL);
}

static void a_position_outside_the_log_stops(void)
{
    struct cluster cluster;
    struct err err = ERR_INIT;
    cluster_start(&cluster);
    produce_clicks(&cluster, "clicks", 1, 10);
    struct app app = app_of(1, 1);
    app.next[0][1] = 11; /* the log ends at 10: the topic was created again */
    failure_of(&app, &cluster, &err);
    CHECK_INT(err.exit_code, ERR_EXIT_TOPIC);
    CHECK_CONTAINS(err.text, "clicks/1: the store's position is 11, but the log ends at 10");
    app_close(&app);
    app.options.on_gap = GAP_ACCEPT;
    app_open(&app, &cluster, PARTITIONS);
    app.next[0][1] = -1;
    CHECK_INT(app_take(&app, 10), 10);
    app_close(&app);
    cluster_stop(&cluster);
}

static void a_refusing_application_stops(void)
{
    struct cluster cluster;
    struct err err = ERR_INIT;
    cluster_start(&cluster);
    struct app app = app_of(1, 1);
    app.refuse = true;
    failure_of(&app, &cluster, &err);
    CHECK_INT(err.exit_code, ERR_EXIT_STORE);
    CHECK_CONTAINS(err.text, "another cluster");
    app_close(&app);
    CHECK_INT(app.revoked, 0); /* what was never taken is not given back */
    cluster_stop(&cluster);
}

/* ---- poison ---- */

static void poison_is_handed_out_with_its_reason(void)
{
    static const struct {
        const char *value;
        size_t size;
        enum ingest_reason reason;
    } poison[] = {
        {NULL, 0, POISON_EMPTY},
        {"", 0, POISON_EMPTY},
        {"\x07 no frame", 9, POISON_DECODE},
        {"\0\0\0\0\1", 5, POISON_DECODE},
        {"\0\0\0\xff\xff{}", 7, POISON_UNKNOWN_SCHEMA},
    };
    enum { N = sizeof poison / sizeof poison[0] };
    struct cluster cluster;
    struct err err = ERR_INIT;
    struct ingest_batch batch;
    static char big[64 * 1024 + 1];
    int at = 0;
    cluster_start(&cluster);
    produce_click(&cluster, "clicks", 0, "u");
    for (int i = 0; i < N; i++)
        produce_bytes(&cluster, "clicks", 0, poison[i].value, poison[i].size);
    produce_bytes(&cluster, "clicks", 0, big, sizeof big);
    produce_click(&cluster, "clicks", 0, " ");
    produce_click(&cluster, "clicks", 0, "v");
    struct app app = app_of(1, 1);
    app_open(&app, &cluster, PARTITIONS);
    while (at < N + 4) {
        CHECK_OK(ingest_poll(app.ingest, 0, 5000, &batch, &err), err);
        CHECK(batch.n > 0);
        for (int i = 0; i < batch.n; i++, at++) {
            const struct ingest_record *r = &batch.records[i];
            enum ingest_reason want = at == 0 || at == N + 3 ? REASON_NONE
                                      : at == N + 1          ? POISON_TOO_LARGE
                                      : at == N + 2          ? POISON_MISSING_USER
                                                             : poison[at - 1].reason;
            CHECK_INT(r->offset, at);
            CHECK_STR(ingest_reason_name(r->reason), ingest_reason_name(want));
            CHECK((r->text != NULL) == (want != REASON_NONE));
            if (want != REASON_NONE && at <= N) {
                CHECK_BYTES(r->value.ptr, r->value.len, poison[at - 1].value, poison[at - 1].size);
                CHECK((r->value.ptr == NULL) == (poison[at - 1].value == NULL));
            }
            CHECK_INT(r->timestamp_ms, 1700000000000);
        }
        ingest_batch_release(app.ingest, 0, &batch);
    }
    CHECK_INT(at, N + 4);
    app_close(&app);
    cluster_stop(&cluster);
}

/* ---- gaps (I3): the mock's answer to a fetch cannot skip, so the log's beginning is moved under the position ---- */

/* Retention passes the position while we read: the mock drops the oldest batches past 5 MiB of a partition. */
static void retention_under_way_stops(void)
{
    struct cluster cluster;
    struct err err = ERR_INIT;
    static char big[60000];
    cluster_start(&cluster);
    produce_clicks(&cluster, "clicks", 0, 3);
    struct app app = app_of(1, 1);
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
        produce_bytes(&cluster, "clicks", 0, big, sizeof big); /* 18 MB */
    app_await_failure(&app, &err);
    CHECK_INT(err.class, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_TOPIC);
    CHECK_CONTAINS(err.text, "clicks/0");
    app_close(&app);
    app.next[0][0] = 3; /* the restart says what is lost, and `accept` goes on */
    failure_of(&app, &cluster, &err);
    CHECK_INT(err.exit_code, ERR_EXIT_TOPIC);
    CHECK_CONTAINS(err.text, "gone by retention");
    app_close(&app);
    app.options.on_gap = GAP_ACCEPT;
    app_open(&app, &cluster, PARTITIONS);
    CHECK(app_take(&app, 20) >= 20);
    app_close(&app);
    cluster_stop(&cluster);
}

/* ---- rebalances ---- */

static void two_members_share_and_take_over(void)
{
    struct cluster cluster;
    struct err err = ERR_INIT;
    cluster_start(&cluster);
    for (int p = 0; p < PARTITIONS; p++)
        produce_clicks(&cluster, "clicks", p, 20);
    struct app first = app_of(1, 2), second = app_of(1, 2);
    app_open(&first, &cluster, PARTITIONS);
    CHECK_INT(app_take(&first, PARTITIONS * 20), PARTITIONS * 20);
    memcpy(second.next, first.next, sizeof first.next);
    CHECK_OK(app_try_open(&second, &cluster, &err), err);
    uint64_t until = clock_mono_ns() + 30000000000u;
    while ((second.assigned == 0 || first.assigned == PARTITIONS) && clock_mono_ns() < until) {
        CHECK_OK(ingest_serve(first.ingest, 20, &err), err);
        CHECK_OK(ingest_serve(second.ingest, 20, &err), err);
    }
    CHECK_INT(first.revoked, PARTITIONS);
    CHECK_INT(first.assigned - PARTITIONS + second.assigned, PARTITIONS);
    CHECK_INT(second.assigned, PARTITIONS / 2);
    for (int p = 0; p < PARTITIONS; p++)
        produce_clicks(&cluster, "clicks", p, 5);
    CHECK_INT(app_take(&second, PARTITIONS / 2 * 5),
              PARTITIONS / 2 * 5); /* in order, from the positions given */
    CHECK_INT(app_take(&first, PARTITIONS / 2 * 5), PARTITIONS / 2 * 5);
    app_close(&second);
    for (int p = 0; p < PARTITIONS; p++)
        if (second.next[0][p] > first.next[0][p]) first.next[0][p] = second.next[0][p];
    int before = first.assigned;
    until = clock_mono_ns() + 30000000000u;
    while (first.assigned - before < PARTITIONS && clock_mono_ns() < until)
        CHECK_OK(ingest_serve(first.ingest, 20, &err), err);
    CHECK_INT(first.assigned - before, PARTITIONS);
    for (int p = 0; p < PARTITIONS; p++)
        produce_clicks(&cluster, "clicks", p, 5);
    CHECK_INT(app_take(&first, PARTITIONS * 5), PARTITIONS * 5);
    for (int p = 0; p < PARTITIONS; p++)
        CHECK_INT(first.next[0][p], 30);
    app_close(&first);
    cluster_stop(&cluster);
}

/* ---- waking up ---- */

/* The descriptor tells of the assignment to one who waits on it alone, with a look each second as the contract asks. */
static void the_descriptor_wakes_the_main_thread(void)
{
    struct cluster cluster;
    struct err err = ERR_INIT;
    cluster_start(&cluster);
    struct app app = app_of(1, 1);
    CHECK_OK(app_try_open(&app, &cluster, &err), err);
    int woken = 0;
    uint64_t until = clock_mono_ns() + 20000000000u;
    while (app.assigned == 0 && clock_mono_ns() < until) {
        struct pollfd wait = {.fd = ingest_event_fd(app.ingest), .events = POLLIN};
        woken += poll(&wait, 1, 20000) == 1;
        CHECK_OK(ingest_serve(app.ingest, 0, &err), err);
    }
    CHECK_INT(app.assigned, PARTITIONS);
    CHECK(woken > 0);
    app_close(&app);
    cluster_stop(&cluster);
}

/* A shard that waits on its queue gets a record at once, and ingest_wake ends the wait. */
struct waiter {
    struct app *app;
    struct sync_int woken_after_us;
    int records;
};

static void wait_run(void *context)
{
    struct waiter *waiter = context;
    struct ingest_batch batch;
    struct err err = ERR_INIT;
    uint64_t start = clock_mono_ns();
    CHECK_OK(ingest_poll(waiter->app->ingest, 0, 10000, &batch, &err), err);
    sync_int_set(&waiter->woken_after_us, (int64_t)((clock_mono_ns() - start) / 1000));
    waiter->records = batch.n;
    ingest_batch_release(waiter->app->ingest, 0, &batch);
}

static void shards_wake_for_records_and_for_calls(void)
{
    struct cluster cluster;
    struct err err = ERR_INIT;
    struct thread thread;
    cluster_start(&cluster);
    struct app app = app_of(1, 1);
    app_open(&app, &cluster, PARTITIONS);
    struct waiter waiter = {.app = &app};
    CHECK_OK(thread_start(&thread, "shard", wait_run, &waiter, &err), err);
    sync_sleep_ms(300);
    produce_click(&cluster, "clicks", 3, "u");
    thread_join(&thread);
    CHECK_INT(waiter.records, 1);
    CHECK(sync_int_get(&waiter.woken_after_us) >= 300000 &&
          sync_int_get(&waiter.woken_after_us) < 5000000);
    CHECK_OK(thread_start(&thread, "shard", wait_run, &waiter, &err), err);
    sync_sleep_ms(300);
    ingest_wake(app.ingest, 0);
    thread_join(&thread);
    CHECK_INT(waiter.records, 0);
    CHECK(sync_int_get(&waiter.woken_after_us) < 5000000);
    app_close(&app);
    cluster_stop(&cluster);
}

/* ---- broker errors ---- */

static void fetch_errors_pass(void)
{
    static const rd_kafka_resp_err_t codes[] = {
        RD_KAFKA_RESP_ERR__TRANSPORT,           RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,    RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
        RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE,
    };
    struct cluster cluster;
    cluster_start(&cluster);
    struct app app = app_of(1, 1);
    app_open(&app, &cluster, PARTITIONS);
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        rd_kafka_mock_push_request_errors_array(cluster.mock, API_FETCH, 1, &codes[i]);
        produce_clicks(&cluster, "clicks", 0, 10);
        CHECK_INT(app_take(&app, 10), 10);
    }
    CHECK_INT(rd_kafka_mock_broker_set_down(cluster.mock, 1), 0);
    sync_sleep_ms(500);
    CHECK_INT(rd_kafka_mock_broker_set_up(cluster.mock, 1), 0);
    produce_clicks(&cluster, "clicks", 1, 10);
    CHECK_INT(app_take(&app, 10), 10);
    app_close(&app);
    cluster_stop(&cluster);
}

/* Batches keep to their size, and a record held until close does not hang it. */
static void batches_are_bounded(void)
{
    struct cluster cluster;
    struct err err = ERR_INIT;
    struct ingest_batch batch;
    int got = 0;
    cluster_start(&cluster);
    produce_clicks(&cluster, "clicks", 0, 250);
    struct app app = app_of(1, 1);
    app_open(&app, &cluster, PARTITIONS);
    while (got < 200) {
        CHECK_OK(ingest_poll(app.ingest, 0, 5000, &batch, &err), err);
        CHECK(batch.n >= 1 && batch.n <= 100);
        got += batch.n;
        if (got < 200) ingest_batch_release(app.ingest, 0, &batch);
    }
    uint64_t start = clock_mono_ns();
    app_close(&app); /* the last batch is still out */
    CHECK(clock_mono_ns() - start < 9000000000u);
    cluster_stop(&cluster);
}

int main(void)
{
    CASE(starts_where_the_store_says);
    CASE(latest_is_a_number_from_the_start);
    CASE(topics_meet_in_one_partition_number);
    CASE(says_which_topics_do_not_match);
    CASE(a_position_outside_the_log_stops);
    CASE(a_refusing_application_stops);
    CASE(poison_is_handed_out_with_its_reason);
    CASE(retention_under_way_stops);
    CASE(two_members_share_and_take_over);
    CASE(the_descriptor_wakes_the_main_thread);
    CASE(shards_wake_for_records_and_for_calls);
    CASE(fetch_errors_pass);
    CASE(batches_are_bounded);
    return 0;
}
