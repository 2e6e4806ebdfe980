/* LINK:rdkafka*/
/* Fetchers are started again while records flow and threads read: none is lost, none comes twice, none out of order. */
#include "base/clock.h"
#include "ingest/internal.h"
#include "tests/ingest/support.h"

enum { SHARDS = 2, ROUNDS = 40, PER_ROUND = 25, ALL = ROUNDS * PER_ROUND * PARTITIONS };

static struct cluster cluster;

struct reader {
    struct app *app;
    struct sync_int *got; /* records of all readers */
    struct flag *stop;
    int shard;
};

/* A thread of one shard; app_take_shard compares each offset with the next one. */
static void read_run(void *context)
{
    struct reader *reader = context;
    struct err err = ERR_INIT;
    while (!flag_is_raised(reader->stop)) {
        int n = app_take_shard(reader->app, reader->shard, &err);
        if (n < 0) test_fail(__FILE__, __LINE__, "poll failed: %s", err.text);
        (void)sync_int_add(reader->got, n);
    }
}

static void serve_for(struct app *app, int ms)
{
    struct err err = ERR_INIT;
    uint64_t until = clock_mono_ns() + (uint64_t)ms * 1000000;
    do
        CHECK_OK(ingest_serve(app->ingest, 2, &err), err);
    while (clock_mono_ns() < until);
}

static void restarts_lose_and_repeat_nothing(void)
{
    struct err err = ERR_INIT;
    struct thread threads[SHARDS];
    struct reader readers[SHARDS];
    struct sync_int got = {0};
    struct flag stop = {0};
    struct app app;
    app_init(&app, &cluster, 1, SHARDS);
    app_open(&app, &cluster, PARTITIONS);
    for (int p = 0; p < PARTITIONS; p++)
        app.next[0][p] = 0;
    for (int s = 0; s < SHARDS; s++) {
        readers[s] = (struct reader){&app, &got, &stop, s};
        CHECK_OK(thread_start(&threads[s], "shard", read_run, &readers[s], &err), err);
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int p = 0; p < PARTITIONS; p++)
            produce_clicks(&cluster, app.names[0], p, PER_ROUND);
        ingest__restart_ask(app.ingest);
        serve_for(&app, round % 3 * 10);
    }
    uint64_t until = clock_mono_ns() + 20000000000u;
    while (sync_int_get(&got) < ALL && clock_mono_ns() < until)
        serve_for(&app, 10);
    flag_raise(&stop);
    for (int s = 0; s < SHARDS; s++)
        thread_join(&threads[s]);
    int restarts = (int)sync_int_get(&app.ingest->halt) / 2;
    printf("  %d records, %d restarts\n", (int)sync_int_get(&got), restarts);
    CHECK_INT(sync_int_get(&got), ALL);
    CHECK(restarts >= ROUNDS / 4);
    for (int p = 0; p < PARTITIONS; p++)
        CHECK_INT(app.next[0][p], ROUNDS * PER_ROUND);
    app_close(&app);
}

int main(void)
{
    cluster_start(&cluster);
    CASE(restarts_lose_and_repeat_nothing);
    cluster_stop(&cluster);
    return 0;
}
