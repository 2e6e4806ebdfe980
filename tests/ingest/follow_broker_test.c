/* LINK: rdkafka */
/* What of following only a real broker shows: transactions, records deleted from the front, a topic that is missing.
 * Needs FRESHET_TEST_BOOTSTRAP (scripts/kafka start); each case has a topic of its own. */
#include <unistd.h>

#include "base/clock.h"
#include "ingest/follow.h"
#include "tests/ingest/reader.h"
#include "tests/ingest/support.h"

static struct cluster cluster;

static void topic_make(struct app *app)
{
    struct err err = ERR_INIT;
    app_name(app, 1, 1);
    const struct kafka_topic_spec spec = {app->names[0], 2, 1, false, 0, 0};
    CHECK_OK(kafka_topics_create(&cluster.config, &spec, 1, 20000, &err), err);
}

static rd_kafka_t *transactions_open(const char *id)
{
    char why[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    (void)rd_kafka_conf_set(conf, "bootstrap.servers", cluster.config.bootstrap_servers, why,
                            sizeof why);
    (void)rd_kafka_conf_set(conf, "transactional.id", id, why, sizeof why);
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    CHECK(client);
    CHECK(rd_kafka_init_transactions(client, 20000) == NULL);
    return client;
}

/* Some records over two partitions; returns when they are acknowledged. */
static void records_produce(rd_kafka_t *client, const char *topic, int n)
{
    char key[] = "k";
    for (int i = 0; i < n; i++) {
        const rd_kafka_vu_t parts[] = {
            {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = topic},
            {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = i % 2},
            {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {key, 1}},
        };
        CHECK(rd_kafka_produceva(client, parts, sizeof parts / sizeof parts[0]) == NULL);
    }
    CHECK_INT(rd_kafka_flush(client, 10000), 0);
}

/* Some records in one transaction; returns when it is committed or aborted. */
static void transaction(rd_kafka_t *client, const char *topic, int n, bool is_committed)
{
    CHECK(rd_kafka_begin_transaction(client) == NULL);
    records_produce(client, topic, n);
    if (is_committed)
        CHECK(rd_kafka_commit_transaction(client, 20000) == NULL);
    else
        CHECK(rd_kafka_abort_transaction(client, 20000) == NULL);
}

/* The broker writes the marks of a transaction a moment after it said that it is committed; then a question shows it. */
static void confirm_until(struct reader *reader, int n)
{
    struct err err = ERR_INIT;
    uint64_t until = clock_mono_ns() + 10000000000u;
    do {
        CHECK_OK(ingest_follow_confirm(reader->follow, 10000, &err), err);
    } while (sync_int_get_acquire(&reader->applied) < n && clock_mono_ns() < until);
    CHECK_INT(sync_int_get_acquire(&reader->applied), n);
}

/* The last marks may be written after the last question was answered. */
static void lag_ends(struct reader *reader)
{
    uint64_t until = clock_mono_ns() + 10000000000u;
    while (ingest_follow_lag(reader->follow) > 0 && clock_mono_ns() < until)
        sync_sleep_ms(10);
}

/* Marks are no records: the end of the topic is behind the last of them, and still nobody waits for ever. */
static void committed_records_are_confirmed_and_aborted_ones_never_come(void)
{
    struct app app;
    struct reader reader;
    topic_make(&app);
    rd_kafka_t *client = transactions_open(app.names[0]);
    transaction(client, app.names[0], 4, true);
    reader_init(&reader);
    reader.has_holes = true;
    reader_open(&reader, &cluster, app.topics, 1);
    reader_start(&reader);
    confirm_until(&reader, 4);
    CHECK_INT(ingest_follow_is_caught_up(reader.follow), true);
    for (int i = 1; i <= 5; i++) {
        transaction(client, app.names[0], 6, false);
        transaction(client, app.names[0], 2, true);
        confirm_until(&reader, 4 + 2 * i);
    }
    lag_ends(&reader);
    reader_stop(&reader);
    CHECK_INT(ingest_follow_lag(reader.follow), 0);
    reader_close(&reader);
    rd_kafka_destroy(client);
}

/* A committed record behind the open transaction of another producer is not read before that one ends. Who waits for it, gets it; who
 * does not, is caught up without it. */
static void open_transactions_hide_what_is_behind_them(void)
{
    struct app app;
    struct reader patient, other;
    topic_make(&app);
    rd_kafka_t *open = transactions_open("another"), *client = transactions_open(app.names[0]);
    CHECK(rd_kafka_begin_transaction(open) == NULL);
    records_produce(open, app.names[0], 2);
    transaction(client, app.names[0], 4, true);
    reader_init(&patient);
    reader_init(&other);
    patient.has_holes = other.has_holes = patient.waits_for_open = true;
    reader_open(&patient, &cluster, app.topics, 1);
    reader_open(&other, &cluster, app.topics, 1);
    CHECK(ingest_follow_is_caught_up(other.follow));
    CHECK(!ingest_follow_is_caught_up(patient.follow));
    CHECK(rd_kafka_abort_transaction(open, 20000) == NULL);
    reader_take(&patient, 4);
    CHECK_INT(patient.total, 4);
    reader_close(&patient);
    reader_close(&other);
    rd_kafka_destroy(client);
    rd_kafka_destroy(open);
}

/* Two hundred records, each asked for right after its acknowledgement; and what a question costs when nothing is new. */
static void confirm_shows_what_was_acknowledged(void)
{
    struct err err = ERR_INIT;
    struct app app;
    struct reader reader;
    topic_make(&app);
    reader_init(&reader);
    reader_open(&reader, &cluster, app.topics, 1);
    reader_start(&reader);
    for (int i = 1; i <= 200; i++) {
        produce_clicks(&cluster, app.names[0], i % 2, 1);
        CHECK_OK(ingest_follow_confirm(reader.follow, 10000, &err), err);
        CHECK_INT(sync_int_get_acquire(&reader.applied), i);
    }
    uint64_t begun = clock_mono_ns();
    for (int i = 0; i < 1000; i++)
        CHECK_OK(ingest_follow_confirm(reader.follow, 10000, &err), err);
    printf("  a question of an idle topic: %.0f us\n", (double)(clock_mono_ns() - begun) / 1e6);
    reader_stop(&reader);
    reader_close(&reader);
}

static void records_delete(const char *topic, int64_t before)
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

/* One partition begins again where its log now begins; the other goes on where it was. */
static void a_position_before_the_log_begins_again(void)
{
    struct err err = ERR_INIT;
    struct app app;
    struct reader reader;
    topic_make(&app);
    produce_clicks(&cluster, app.names[0], 0, 10);
    produce_clicks(&cluster, app.names[0], 1, 10);
    records_delete(app.names[0], 6);
    reader_init(&reader);
    reader.start[0][0] = 3;
    reader.start[0][1] = 8;
    reader_open(&reader, &cluster, app.topics, 1);
    reader_take(&reader, 4 + 2);
    CHECK_INT(reader.restarts, 1);
    CHECK_INT(reader.next[0][0], 10);
    reader_start(&reader);
    produce_clicks(&cluster, app.names[0], 0, 1);
    CHECK_OK(ingest_follow_confirm(reader.follow, 10000, &err), err);
    CHECK_INT(sync_int_get_acquire(&reader.applied), 7);
    reader_stop(&reader);
    reader_close(&reader);
    records_delete(app.names[0], 11); /* nothing is left, and the end is still an end */
    reader_init(&reader);
    reader_open(&reader, &cluster, app.topics, 1);
    reader_take(&reader, 10);
    reader_close(&reader);
}

static void a_missing_topic_is_named(void)
{
    struct err err = ERR_INIT;
    struct ingest_follow *follow;
    const char *const names[] = {"test-no-such-topic"};
    const struct ingest_follow_options options = {
        .topics = names, .n_topics = 1, .batch_max = 10, .timeout_ms = 10000};
    CHECK_FAIL(ingest_follow_open(&follow, &cluster.config, &options, &err), err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_TOPIC);
    CHECK_CONTAINS(err.text, "topic 'test-no-such-topic'");
}

int main(void)
{
    const char *bootstrap = getenv("FRESHET_TEST_BOOTSTRAP");
    if (!bootstrap || !bootstrap[0]) {
        printf("SKIP FRESHET_TEST_BOOTSTRAP is not set: start a broker with scripts/kafka start\n");
        return 77;
    }
    cluster_join(&cluster, bootstrap);
    CASE(committed_records_are_confirmed_and_aborted_ones_never_come);
    CASE(open_transactions_hide_what_is_behind_them);
    CASE(confirm_shows_what_was_acknowledged);
    CASE(a_position_before_the_log_begins_again);
    CASE(a_missing_topic_is_named);
    cluster_leave(&cluster);
    return 0;
}
