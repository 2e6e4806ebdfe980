/* LINK: rdkafka */
/* Whole topics without a group, and what confirm promises, on a mock cluster. */
#include "base/clock.h"
#include "ingest/follow.h"
#include "tests/ingest/reader.h"
#include "tests/ingest/support.h"

static struct cluster cluster;

/* Two new topics of PARTITIONS partitions. */
static void topics_make(struct app *app)
{
    app_init(app, &cluster, 2, 1);
}

static void everything_comes_in_order(void)
{
    struct app app;
    struct reader reader;
    topics_make(&app);
    reader_init(&reader);
    for (int p = 0; p < PARTITIONS; p++) {
        produce_clicks(&cluster, app.names[0], p, 40 + p);
        produce_clicks(&cluster, app.names[1], p, p);
    }
    produce_bytes(&cluster, app.names[1], 2, NULL, 0);
    reader_open(&reader, &cluster, app.topics, 2);
    CHECK_INT(ingest_follow_partitions(reader.follow, 1), PARTITIONS);
    CHECK_INT(ingest_follow_is_caught_up(reader.follow), false);
    reader_take(&reader, 4 * 40 + 6 + 6 + 1);
    CHECK_INT(ingest_follow_is_caught_up(reader.follow), true);
    CHECK_INT(ingest_follow_lag(reader.follow), 0);
    CHECK_INT(reader.tombstones, 1);
    CHECK_INT(reader.restarts, 0);
    for (int p = 0; p < PARTITIONS; p++) {
        CHECK_INT(reader.next[0][p], 40 + p);
        CHECK_INT(reader.next[1][p], p == 0 ? -1 : p + (p == 2));
    }
    reader_close(&reader);
}

static void empty_topics_are_caught_up(void)
{
    struct app app;
    struct reader reader;
    topics_make(&app);
    reader_init(&reader);
    reader_open(&reader, &cluster, app.topics, 2);
    CHECK_INT(ingest_follow_is_caught_up(reader.follow), true);
    reader_close(&reader);
}

static void reading_starts_where_it_is_told_to(void)
{
    struct app app;
    struct reader reader;
    topics_make(&app);
    reader_init(&reader);
    produce_clicks(&cluster, app.names[0], 1, 10);
    reader.start[0][1] = 7;
    reader_open(&reader, &cluster, app.topics, 2);
    reader_take(&reader, 3);
    CHECK_INT(reader.next[0][1], 10);
    CHECK_INT(reader.total, 3);
    reader_close(&reader);
    reader_init(&reader);
    reader.start[0][1] = 10;
    reader_open(&reader, &cluster, app.topics, 2);
    CHECK_INT(ingest_follow_is_caught_up(reader.follow), true);
    reader_close(&reader);
}

/* A topic made anew: what was kept of the old one is told to be forgotten before the first record of the new one. */
static void a_position_behind_the_end_begins_again(void)
{
    struct app app;
    struct reader reader;
    topics_make(&app);
    reader_init(&reader);
    produce_clicks(&cluster, app.names[0], 1, 10);
    reader.start[0][1] = 11;
    reader_open(&reader, &cluster, app.topics, 2);
    CHECK_INT(ingest_follow_is_caught_up(reader.follow), false);
    reader_take(&reader, 10);
    CHECK_INT(reader.restarts, 1);
    CHECK_INT(reader.taken_before_restart, 0);
    CHECK_INT(reader.next[0][1], 10);
    reader_close(&reader);
}

/* ---- confirm ---- */

static void confirm_shows_what_was_acknowledged(void)
{
    struct err err = ERR_INIT;
    struct app app;
    struct reader reader;
    topics_make(&app);
    reader_init(&reader);
    reader_open(&reader, &cluster, app.topics, 2);
    reader_start(&reader);
    CHECK_OK(ingest_follow_confirm(reader.follow, 5000, &err), err);
    for (int i = 1; i <= 200; i++) {
        produce_clicks(&cluster, app.names[i % 2], i % PARTITIONS, 1);
        CHECK_OK(ingest_follow_confirm(reader.follow, 5000, &err), err);
        CHECK_INT(sync_int_get(&reader.applied), i);
    }
    reader_stop(&reader);
    reader_close(&reader);
}

enum { ASKERS = 4, QUESTIONS = 100 };

struct asker {
    struct thread thread;
    struct reader *reader;
    struct sync_int *produced;
};

/* What was produced before the question is applied after it, whoever's question was shared. */
static void asker_run(void *context)
{
    struct asker *asker = context;
    for (int i = 0; i < QUESTIONS; i++) {
        struct err err = ERR_INIT;
        int64_t before = sync_int_get_acquire(asker->produced);
        CHECK_OK(ingest_follow_confirm(asker->reader->follow, 10000, &err), err);
        int64_t applied = sync_int_get_acquire(&asker->reader->applied);
        if (applied < before)
            test_fail(__FILE__, __LINE__, "%" PRId64 " produced before, %" PRId64 " applied after",
                      before, applied);
    }
}

static void askers_share_questions(void)
{
    struct app app;
    struct reader reader;
    struct err err = ERR_INIT;
    struct sync_int produced = {0};
    struct asker askers[ASKERS];
    topics_make(&app);
    reader_init(&reader);
    reader_open(&reader, &cluster, app.topics, 2);
    reader_start(&reader);
    for (int a = 0; a < ASKERS; a++) {
        askers[a].reader = &reader;
        askers[a].produced = &produced;
        CHECK_OK(thread_start(&askers[a].thread, "asker", asker_run, &askers[a], &err), err);
    }
    for (int i = 0; i < 300; i++) {
        produce_clicks(&cluster, app.names[0], i % PARTITIONS, 1);
        sync_int_set_release(&produced, i + 1);
    }
    for (int a = 0; a < ASKERS; a++)
        thread_join(&askers[a].thread);
    reader_stop(&reader);
    reader_close(&reader);
}

static void confirm_gives_up_when_nobody_reads(void)
{
    struct err err = ERR_INIT;
    struct app app;
    struct reader reader;
    topics_make(&app);
    reader_init(&reader);
    reader_open(&reader, &cluster, app.topics, 2);
    produce_clicks(&cluster, app.names[0], 0, 1);
    CHECK_FAIL(ingest_follow_confirm(reader.follow, 300, &err), err, ERR_RETRY);
    CHECK_CONTAINS(err.text, "not yet read");
    reader_take(&reader, 1);
    CHECK_OK(ingest_follow_confirm(reader.follow, 5000, &err), err);
    reader_close(&reader);
}

/* The answer of a broker that just lost the partition is no answer. */
static void confirm_asks_again(void)
{
    struct err err = ERR_INIT;
    struct app app;
    struct reader reader;
    topics_make(&app);
    reader_init(&reader);
    reader_open(&reader, &cluster, app.topics, 2);
    reader_start(&reader);
    rd_kafka_mock_push_request_errors(cluster.mock, API_LIST_OFFSETS, 2,
                                      RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                                      RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE);
    produce_clicks(&cluster, app.names[0], 0, 5);
    CHECK_OK(ingest_follow_confirm(reader.follow, 10000, &err), err);
    CHECK_INT(sync_int_get(&reader.applied), 5);
    rd_kafka_mock_push_request_errors(cluster.mock, API_LIST_OFFSETS, 1,
                                      RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    CHECK_FAIL(ingest_follow_confirm(reader.follow, 5000, &err), err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_USAGE);
    reader_stop(&reader);
    reader_close(&reader);
}

static void no_rights_to_read_end_it(void)
{
    struct err err = ERR_INIT;
    struct app app;
    struct reader reader;
    struct ingest_follow_batch batch;
    bool ok = true;
    topics_make(&app);
    reader_init(&reader);
    produce_clicks(&cluster, app.names[0], 0, 5);
    for (int i = 0; i < 50; i++) /* the first fetches may ask for nothing yet */
        rd_kafka_mock_push_request_errors(cluster.mock, API_FETCH, 1,
                                          RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    reader_open(&reader, &cluster, app.topics, 2);
    for (int i = 0; i < 100 && ok; i++) {
        ok = ingest_follow_poll(reader.follow, 50, &batch, &err);
        ingest_follow_release(reader.follow, &batch);
    }
    CHECK_INT(ok, false);
    CHECK_INT(err.class, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_USAGE);
    reader_close(&reader);
}

int main(void)
{
    cluster_start(&cluster);
    CASE(everything_comes_in_order);
    CASE(empty_topics_are_caught_up);
    CASE(reading_starts_where_it_is_told_to);
    CASE(a_position_behind_the_end_begins_again);
    CASE(confirm_shows_what_was_acknowledged);
    CASE(askers_share_questions);
    CASE(confirm_gives_up_when_nobody_reads);
    CASE(confirm_asks_again);
    CASE(no_rights_to_read_end_it);
    cluster_stop(&cluster);
    return 0;
}
