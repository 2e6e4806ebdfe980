/* LINK:rdkafka*/
/* Members come and go, and threads wake up, on a mock cluster. */
#include <poll.h>

#include "base/clock.h"
#include "tests/ingest/support.h"

static struct cluster cluster;

static int held(const struct app *app)
{
    return app->assigned - app->revoked;
}

static void two_members_share_and_take_over(void)
{
    struct err err = ERR_INIT;
    struct app first, second;
    app_init(&first, &cluster, 1, 2);
    second = first; /* names point into the first */
    for (int p = 0; p < PARTITIONS; p++)
        produce_clicks(&cluster, first.names[0], p, 20);
    app_open(&first, &cluster, PARTITIONS);
    CHECK_INT(app_take(&first, PARTITIONS * 20), PARTITIONS * 20);
    memcpy(second.next, first.next, sizeof first.next);
    CHECK_OK(app_try_open(&second, &cluster, &err), err);
    uint64_t until = clock_mono_ns() + 30000000000u;
    /* On a busy machine the group may need more than one rebalance to settle. */
    while ((held(&first) != PARTITIONS / 2 || held(&second) != PARTITIONS / 2) &&
           clock_mono_ns() < until) {
        CHECK_OK(ingest_serve(first.ingest, 20, &err), err);
        CHECK_OK(ingest_serve(second.ingest, 20, &err), err);
    }
    CHECK(first.revoked >= PARTITIONS);
    CHECK_INT(held(&first), PARTITIONS / 2);
    CHECK_INT(held(&second), PARTITIONS / 2);
    for (int p = 0; p < PARTITIONS; p++)
        produce_clicks(&cluster, first.names[0], p, 5);
    CHECK_INT(app_take(&second, PARTITIONS / 2 * 5),
              PARTITIONS / 2 * 5); /* in order, from the positions given */
    CHECK_INT(app_take(&first, PARTITIONS / 2 * 5), PARTITIONS / 2 * 5);
    app_close(&second);
    for (int p = 0; p < PARTITIONS; p++)
        if (second.next[0][p] > first.next[0][p]) first.next[0][p] = second.next[0][p];
    until = clock_mono_ns() + 30000000000u;
    while (held(&first) < PARTITIONS && clock_mono_ns() < until)
        CHECK_OK(ingest_serve(first.ingest, 20, &err), err);
    CHECK_INT(held(&first), PARTITIONS);
    for (int p = 0; p < PARTITIONS; p++)
        produce_clicks(&cluster, first.names[0], p, 5);
    CHECK_INT(app_take(&first, PARTITIONS * 5), PARTITIONS * 5);
    for (int p = 0; p < PARTITIONS; p++)
        CHECK_INT(first.next[0][p], 30);
    app_close(&first);
}

/* The descriptor tells of the assignment to one who waits on it alone, with a look each second as the contract asks. */
static void the_descriptor_wakes_the_main_thread(void)
{
    struct err err = ERR_INIT;
    struct app app;
    app_init(&app, &cluster, 1, 1);
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
    struct err err = ERR_INIT;
    struct thread thread;
    struct app app;
    app_init(&app, &cluster, 1, 1);
    app_open(&app, &cluster, PARTITIONS);
    struct waiter waiter = {.app = &app};
    CHECK_OK(thread_start(&thread, "shard", wait_run, &waiter, &err), err);
    sync_sleep_ms(300);
    produce_click(&cluster, app.names[0], 3, "u");
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
}

int main(void)
{
    cluster_start(&cluster);
    CASE(two_members_share_and_take_over);
    CASE(the_descriptor_wakes_the_main_thread);
    CASE(shards_wake_for_records_and_for_calls);
    cluster_stop(&cluster);
    return 0;
}
