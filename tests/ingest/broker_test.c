/* LINK:rdkafka*/
/* What only a real broker shows: topics, static membership, fencing, transactions, lost records, added partitions.
 * Needs FRESHET_TEST_BOOTSTRAP (scripts/kafka start); each case has topics and a group of its own. */
#include <unistd.h>

#include "base/clock.h"
#include "tests/ingest/support.h"

static struct cluster cluster;
static const char *topic; /* of the case */

/* A new topic of so many partitions, and an application that reads it under a new group. */
static void app_on(struct app *app, int partitions)
{
    struct err err = ERR_INIT;
    app_name(app, 1, 1);
    topic = app->names[0];
    const struct kafka_topic_spec spec = {topic, partitions, 1, false, 0, 0};
    CHECK_OK(kafka_topics_create(&cluster.config, &spec, 1, 20000, &err), err);
    app->options.session_timeout_ms = 10000;
}

static void serve_for(struct app *app, int ms)
{
    struct err err = ERR_INIT;
    uint64_t until = clock_mono_ns() + (uint64_t)ms * 1000000;
    while (clock_mono_ns() < until)
        CHECK_OK(ingest_serve(app->ingest, 20, &err), err);
}

/* ---- topics ---- */

static void topics_are_created_checked_and_described(void)
{
    struct err err = ERR_INIT;
    char one[64], two[64], cluster_id[64] = "";
    (void)snprintf(one, sizeof one, "test-one-%d-%" PRIu64, (int)getpid(), clock_mono_ns());
    (void)snprintf(two, sizeof two, "test-two-%d-%" PRIu64, (int)getpid(), clock_mono_ns());
    struct kafka_topic_spec specs[] = {{one, 3, -1, false, 0, 0}, {two, 2, 1, true, 0, 0}};
    const char *names[] = {one, two};
    struct kafka_topic_info info[2];
    CHECK_OK(kafka_cluster_id(&cluster.config, cluster_id, 10000, &err), err);
    CHECK_INT(strlen(cluster_id), 22);
    CHECK_OK(kafka_topic_describe(&cluster.config, names, 2, info, 10000, &err), err);
    CHECK_INT(info[0].partitions, 0);
    CHECK_OK(kafka_topics_create(&cluster.config, specs, 1, 20000, &err), err);
    CHECK_OK(kafka_topics_create(&cluster.config, specs, 2, 20000, &err), err); /* one is there */
    CHECK_OK(kafka_topic_describe(&cluster.config, names, 2, info, 10000, &err), err);
    CHECK_INT(info[0].partitions, 3);
    CHECK_INT(info[0].compact, false);
    CHECK_INT(info[1].partitions, 2);
    CHECK_INT(info[1].replication, 1);
    CHECK_INT(info[1].compact, true);
    specs[0].partitions = 5;
    CHECK_FAIL(kafka_topics_create(&cluster.config, specs, 2, 20000, &err), err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_TOPIC);
    CHECK_CONTAINS(err.text, "has 3 partitions and 5 are wanted");
    specs[0] = (struct kafka_topic_spec){"not a name", 1, 1, false, 0, 0};
    CHECK_FAIL(kafka_topics_create(&cluster.config, specs, 1, 20000, &err), err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_TOPIC);
}

static void a_missing_topic_is_named(void)
{
    struct err err = ERR_INIT;
    struct app app;
    app_on(&app, 1);
    const char *const missing[] = {"test-no-such-topic"};
    app.options.topics = missing;
    CHECK_FAIL(app_try_open(&app, &cluster, &err), err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_TOPIC);
    CHECK_CONTAINS(err.text, "topic 'test-no-such-topic'");
    CHECK_CONTAINS(err.text, "freshet topics create");
}

/* ---- membership ---- */

static void a_static_member_restarts_and_nothing_moves(void)
{
    struct err err = ERR_INIT;
    struct app a, b;
    app_on(&a, 4);
    b = a;
    a.options.group_instance_id = "a";
    b.options.group_instance_id = "b";
    app_open(&a, &cluster, 4);
    CHECK_OK(app_try_open(&b, &cluster, &err), err);
    uint64_t until = clock_mono_ns() + 30000000000u;
    while ((b.assigned < 2 || a.assigned < 6) && clock_mono_ns() < until) {
        serve_for(&a, 20);
        serve_for(&b, 20);
    }
    CHECK_INT(a.assigned, 6);
    CHECK_INT(a.revoked, 4);
    for (int round = 0; round < 3; round++) {
        int before = b.assigned;
        app_close(&b);
        serve_for(&a, 300);
        CHECK_OK(app_try_open(&b, &cluster, &err), err);
        until = clock_mono_ns() + 20000000000u;
        while (b.assigned - before < 2 && clock_mono_ns() < until) {
            serve_for(&b, 20);
            serve_for(&a, 20);
        }
        CHECK_INT(b.assigned - before, 2);
    }
    serve_for(&a, 500);
    CHECK_INT(a.revoked, 4); /* as before the restarts */
    app_close(&b);
    app_close(&a);
}

static void the_older_of_two_with_one_instance_id_stops(void)
{
    struct err err = ERR_INIT;
    struct app older, newer;
    app_on(&older, 2);
    older.options.group_instance_id = "same";
    newer = older;
    app_open(&older, &cluster, 2);
    app_open(&newer, &cluster, 2);
    app_await_failure(&older, &err);
    CHECK_INT(err.class, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_FENCED);
    CHECK_CONTAINS(err.text, "group.instance.id");
    app_close(&older);
    serve_for(&newer, 300);
    app_close(&newer);
}

/* ---- transactions and gaps ---- */

/* Offsets 0-2 committed, 3 marker, 4-6 aborted, 7 marker, 8-10 committed, 11 marker. */
static void transactions_write(void)
{
    char why[256], click[512];
    size_t size;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    (void)rd_kafka_conf_set(conf, "bootstrap.servers", cluster.config.bootstrap_servers, why,
                            sizeof why);
    (void)rd_kafka_conf_set(conf, "transactional.id", topic, why, sizeof why);
    rd_kafka_t *producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    struct buf bytes;
    struct event_item item = {.item_id = STR("item-1"), .quantity = 1, .position = -1};
    struct event event = {
        .type = EVENT_CLICK, .user_id = STR("u"), .items = &item, .n_items = 1, .consent = true};
    buf_init(&bytes, sizeof click);
    schemas_event_encode(cluster.schemas, &event, &bytes);
    memcpy(click, bytes.data, size = bytes.len);
    buf_fini(&bytes);
    CHECK(rd_kafka_init_transactions(producer, 20000) == NULL);
    for (int t = 0; t < 3; t++) {
        CHECK(rd_kafka_begin_transaction(producer) == NULL);
        for (int i = 0; i < 3; i++) {
            const rd_kafka_vu_t parts[] = {
                {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = topic},
                {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = 0},
                {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
                {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {click, size}},
            };
            CHECK(rd_kafka_produceva(producer, parts, 4) == NULL);
        }
        CHECK_INT(rd_kafka_flush(producer, 10000), 0);
        CHECK((t == 1 ? rd_kafka_abort_transaction(producer, 20000)
                      : rd_kafka_commit_transaction(producer, 20000)) == NULL);
    }
    rd_kafka_destroy(producer);
}

static void transactions_explain_gaps_only_where_they_are_said_to_be(void)
{
    struct err err = ERR_INIT;
    struct app app;
    app_on(&app, 1);
    transactions_write();
    app.options.transactional_source = true;
    app_open(&app, &cluster, 1);
    CHECK_INT(app_take(&app, 6), 6); /* nothing of the aborted one */
    CHECK_INT(app.next[0][0], 11);
    uint64_t until = clock_mono_ns() + 10000000000u;
    while (ingest_lag(app.ingest, 0, 0, 11) != 0 && clock_mono_ns() < until)
        CHECK_INT(app_take_shard(&app, 0, &err), 0);
    CHECK_INT(ingest_lag(app.ingest, 0, 0, 11), 0); /* a mark alone is not waited for */
    CHECK_INT(ingest_lag(app.ingest, 0, 0, 10), 2); /* a record that was taken and not applied is */
    app_close(&app);
    memset(app.next, 0xff, sizeof app.next);
    app.options.transactional_source = false;
    app_open(&app, &cluster, 1);
    app_await_failure(&app, &err);
    CHECK_INT(err.exit_code, ERR_EXIT_TOPIC);
    CHECK_CONTAINS(err.text, "offset 8 follows 2: 5 records are missing");
    CHECK_INT(app.next[0][0], 3); /* what stands before the gap was given out first */
    app_close(&app);
    memset(app.next, 0xff, sizeof app.next);
    app.options.on_gap = GAP_ACCEPT;
    app_open(&app, &cluster, 1);
    CHECK_INT(app_take(&app, 6), 6);
    app_close(&app);
}

/* ---- records that are gone ---- */

static void records_delete(int64_t before)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, 0)->offset = before;
    rd_kafka_DeleteRecords_t *records = rd_kafka_DeleteRecords_new(list);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(cluster.producer);
    rd_kafka_DeleteRecords(cluster.producer, &records, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 20000);
    CHECK(event);
    CHECK_INT(rd_kafka_event_error(event), 0);
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_DeleteRecords_destroy(records);
    rd_kafka_topic_partition_list_destroy(list);
}

static void a_position_before_the_log_stops(void)
{
    struct err err = ERR_INIT;
    struct app app;
    app_on(&app, 1);
    produce_clicks(&cluster, topic, 0, 10);
    records_delete(6);
    app.next[0][0] = 4;
    CHECK_OK(app_try_open(&app, &cluster, &err), err);
    app_await_failure(&app, &err);
    CHECK_INT(err.exit_code, ERR_EXIT_TOPIC);
    CHECK_CONTAINS(err.text,
                   "the store's position is 4, but the log begins at 6: 2 records are gone");
    app_close(&app);
    app.options.on_gap = GAP_ACCEPT;
    app_open(&app, &cluster, 1);
    app.next[0][0] = -1;
    CHECK_INT(app_take(&app, 4), 4);
    CHECK_INT(app.next[0][0], 10);
    app_close(&app);
    app.options.on_gap = GAP_FAIL; /* the first record of the log is a position like any other */
    app.next[0][0] = 6;
    app_open(&app, &cluster, 1);
    CHECK_INT(app_take(&app, 4), 4);
    app_close(&app);
}

/* Positions committed for lag tools: seen by the next member of the group, but not used by it. */
static void commits_are_seen_and_not_used(void)
{
    struct app app;
    app_on(&app, 1);
    produce_clicks(&cluster, topic, 0, 10);
    app_open(&app, &cluster, 1);
    CHECK_INT(app_take(&app, 10), 10);
    ingest_commit(app.ingest, 0, 0, 8);
    serve_for(&app, 1500);
    app_close(&app);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, 0);
    char why[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    (void)rd_kafka_conf_set(conf, "bootstrap.servers", cluster.config.bootstrap_servers, why,
                            sizeof why);
    (void)rd_kafka_conf_set(conf, "group.id", app.group, why, sizeof why);
    rd_kafka_t *reader = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    CHECK_INT(rd_kafka_committed(reader, list, 10000), 0);
    CHECK_INT(list->elems[0].offset, 8);
    rd_kafka_topic_partition_list_destroy(list);
    (void)rd_kafka_consumer_close(reader);
    rd_kafka_destroy(reader);
    app.next[0][0] = 3;
    app_open(&app, &cluster, 1);
    CHECK_INT(app_take(&app, 7), 7);
    app_close(&app);
}

/* ---- partitions are added ---- */

static void partitions_grow(size_t count)
{
    char why[256];
    rd_kafka_NewPartitions_t *grow = rd_kafka_NewPartitions_new(topic, count, why, sizeof why);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(cluster.producer);
    rd_kafka_CreatePartitions(cluster.producer, &grow, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 20000);
    CHECK(event);
    CHECK_INT(rd_kafka_event_error(event), 0);
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_NewPartitions_destroy(grow);
}

static void added_partitions_stop_with_the_numbers(void)
{
    struct err err = ERR_INIT;
    struct app app;
    app_on(&app, 2);
    struct kafka_setting refresh = {"topic.metadata.refresh.interval.ms", "500"};
    cluster.config.consumer = &refresh;
    cluster.config.n_consumer = 1;
    app_open(&app, &cluster, 2);
    partitions_grow(4);
    app_await_failure(&app, &err);
    CHECK_INT(err.exit_code, ERR_EXIT_TOPIC);
    CHECK_CONTAINS(err.text, "had 2 partitions at start");
    app_close(&app);
    cluster_reset(&cluster);
}

int main(void)
{
    const char *bootstrap = getenv("FRESHET_TEST_BOOTSTRAP");
    if (!bootstrap || !bootstrap[0]) {
        printf("SKIP FRESHET_TEST_BOOTSTRAP is not set: start a broker with scripts/kafka start\n");
        return 77;
    }
    cluster_join(&cluster, bootstrap);
    CASE(topics_are_created_checked_and_described);
    CASE(a_missing_topic_is_named);
    CASE(a_static_member_restarts_and_nothing_moves);
    CASE(the_older_of_two_with_one_instance_id_stops);
    CASE(transactions_explain_gaps_only_where_they_are_said_to_be);
    CASE(a_position_before_the_log_stops);
    CASE(commits_are_seen_and_not_used);
    CASE(added_partitions_stop_with_the_numbers);
    cluster_leave(&cluster);
    return 0;
}
