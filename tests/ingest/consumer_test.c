/* LINK:rdkafka*/
/* Positions, order, poison and batches, on a mock cluster. */
#include "base/clock.h"
#include "tests/ingest/support.h"

static struct cluster cluster;

static void starts_where_the_store_says(void)
{
    struct app app;
    app_init(&app, &cluster, 1, 2);
    for (int p = 0; p < PARTITIONS; p++)
        produce_clicks(&cluster, app.names[0], p, 10);
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
    produce_clicks(&cluster, app.names[0], 0, 3);
    app_open(&app, &cluster, PARTITIONS);
    CHECK_INT(app_take(&app, 3), 3);
    app_close(&app);
}

static void latest_is_a_number_from_the_start(void)
{
    struct app app;
    app_init(&app, &cluster, 1, 1);
    produce_clicks(&cluster, app.names[0], 0, 10);
    app.options.start = INGEST_LATEST;
    app_open(&app, &cluster, PARTITIONS);
    produce_clicks(&cluster, app.names[0], 0, 2);
    CHECK_INT(app_take(&app, 2), 2);
    CHECK_INT(app.next[0][0], 12);
    app_close(&app);
}

static void topics_meet_in_one_partition_number(void)
{
    struct app app;
    app_init(&app, &cluster, 2, 3);
    for (int p = 0; p < PARTITIONS; p++) {
        produce_clicks(&cluster, app.names[0], p, 5);
        produce_clicks(&cluster, app.names[1], p, 3);
    }
    app_open(&app, &cluster, PARTITIONS);
    CHECK_INT(app_take(&app, PARTITIONS * 8), PARTITIONS * 8);
    for (int p = 0; p < PARTITIONS; p++) {
        CHECK_INT(app.next[0][p], 5);
        CHECK_INT(app.next[1][p], 3);
    }
    app_close(&app);
}

/* The second topic is internal: bytes that are no event come out as they are, from the log's beginning whatever the start. */
static void raw_topics_come_out_as_they_are(void)
{
    static const struct {
        const char *value;
        size_t size;
    } raw[] = {{"pairs", 5}, {"\0\0\0\0\1", 5}, {NULL, 0}};
    enum { N = sizeof raw / sizeof raw[0] };
    struct err err = ERR_INIT;
    struct ingest_batch batch;
    int at = 0;
    struct app app;
    app_init(&app, &cluster, 2, 1);
    app.options.n_raw = 1;
    app.options.start = INGEST_LATEST;
    produce_clicks(&cluster, app.names[0], 0, 3);
    for (int i = 0; i < N; i++)
        produce_bytes(&cluster, app.names[1], 0, raw[i].value, raw[i].size);
    app_open(&app, &cluster, PARTITIONS);
    while (at < N) {
        CHECK_OK(ingest_poll(app.ingest, 0, 5000, &batch, &err), err);
        CHECK(batch.n > 0);
        for (int i = 0; i < batch.n; i++, at++) {
            const struct ingest_record *r = &batch.records[i];
            CHECK_INT(r->topic, 1);
            CHECK_INT(r->offset, at);
            CHECK_INT(r->reason, REASON_NONE);
            CHECK(r->text == NULL);
            CHECK_BYTES(r->value.ptr, r->value.len, raw[at].value, raw[at].size);
        }
        ingest_batch_release(app.ingest, 0, &batch);
    }
    app_close(&app);
}

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
    struct err err = ERR_INIT;
    struct ingest_batch batch;
    static char big[64 * 1024 + 1];
    int at = 0;
    struct app app;
    app_init(&app, &cluster, 1, 1);
    produce_click(&cluster, app.names[0], 0, "u");
    for (int i = 0; i < N; i++)
        produce_bytes(&cluster, app.names[0], 0, poison[i].value, poison[i].size);
    produce_bytes(&cluster, app.names[0], 0, big, sizeof big);
    produce_click(&cluster, app.names[0], 0, " ");
    produce_click(&cluster, app.names[0], 0, "v");
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
}

/* Batches keep to their size, and a record held until close does not hang it. */
static void batches_are_bounded(void)
{
    struct err err = ERR_INIT;
    struct ingest_batch batch;
    int got = 0;
    struct app app;
    app_init(&app, &cluster, 1, 1);
    produce_clicks(&cluster, app.names[0], 0, 250);
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
}

/* Bytes of internal records in a batch end it: none comes behind a quarter of a MiB. */
static void internal_records_end_a_batch(void)
{
    enum { N = 40, SIZE = 20000, ENOUGH = 256 * 1024 };
    static char value[SIZE];
    struct err err = ERR_INIT;
    struct ingest_batch batch;
    int got = 0, most = 0;
    struct app app;
    app_init(&app, &cluster, 2, 1);
    app.options.n_raw = 1;
    for (int i = 0; i < N; i++)
        produce_bytes(&cluster, app.names[1], 0, value, SIZE);
    app_open(&app, &cluster, PARTITIONS);
    sync_sleep_ms(300); /* so that many wait in the queue */
    while (got < N) {
        CHECK_OK(ingest_poll(app.ingest, 0, 5000, &batch, &err), err);
        CHECK((batch.n - 1) * SIZE < ENOUGH);
        got += batch.n;
        most = batch.n > most ? batch.n : most;
        ingest_batch_release(app.ingest, 0, &batch);
    }
    CHECK_INT(got, N);
    CHECK(most > 1);
    app_close(&app);
}

int main(void)
{
    cluster_start(&cluster);
    CASE(starts_where_the_store_says);
    CASE(latest_is_a_number_from_the_start);
    CASE(topics_meet_in_one_partition_number);
    CASE(raw_topics_come_out_as_they_are);
    CASE(poison_is_handed_out_with_its_reason);
    CASE(batches_are_bounded);
    CASE(internal_records_end_a_batch);
    cluster_stop(&cluster);
    return 0;
}
