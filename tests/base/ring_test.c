/* The ring alone, and between two threads; and the other things of base/sync that threads share. */
#include "base/ring.h"

#include <signal.h>

#include "base/clock.h"
#include "base/sync.h"
#include "tests/test.h"

enum { RECORDS = 100000, CAPACITY = 64 };

struct record {
    int64_t number;
    int64_t square; /* tells a torn copy */
};

static void test_alone(void)
{
    struct ring *ring = ring_new(sizeof(int), 3); /* rounded to 4 */
    int out = 0;
    CHECK(!ring_pop(ring, &out));
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 4; i++)
            CHECK(ring_push(ring, &i));
        int more = 9;
        CHECK(!ring_push(ring, &more));
        CHECK_INT(ring_count(ring), 4);
        for (int i = 0; i < 4; i++) {
            CHECK(ring_pop(ring, &out));
            CHECK_INT(out, i);
        }
        CHECK(!ring_pop(ring, &out));
    }
    int last = 77;
    CHECK(ring_push(ring, &last));
    CHECK(!ring_is_closed(ring));
    ring_close(ring);
    CHECK(ring_is_closed(ring));
    CHECK(!ring_push(ring, &last));
    CHECK(ring_pop(ring, &out));
    CHECK_INT(out, 77);
    ring_free(ring);
}

static void push_all(void *context)
{
    struct ring *ring = context;
    for (int64_t i = 0; i < RECORDS;) {
        struct record record = {i, i * i};
        if (ring_push(ring, &record)) {
            i++;
        } else {
            sync_sleep_ms(0);
        }
    }
    ring_close(ring);
}

/* All records arrive, in order and whole; after the close nothing more comes. */
static void test_two_threads(void)
{
    struct ring *ring = ring_new(sizeof(struct record), CAPACITY);
    struct thread thread;
    struct err err = ERR_INIT;
    CHECK_OK(thread_start(&thread, "pusher", push_all, ring, &err), err);
    int64_t next = 0;
    for (;;) {
        bool closed = ring_is_closed(ring);
        struct record record;
        CHECK(ring_count(ring) <= CAPACITY);
        if (ring_pop(ring, &record)) {
            CHECK_INT(record.number, next);
            CHECK_INT(record.square, next * next);
            next++;
        } else if (closed) {
            break;
        }
    }
    CHECK_INT(next, RECORDS);
    thread_join(&thread);
    ring_free(ring);
}

/* ---- base/sync ---- */

struct shared {
    struct mutex mutex;
    struct condition condition;
    int64_t guarded;
    bool ready;
    struct sync_int counted;
    struct latch latch;
    struct flag winner;
    struct sync_int winners;
    bool signals_blocked;
};

enum { WORKERS = 4, ROUNDS = 20000 };

static void work(void *context)
{
    struct shared *shared = context;
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    mutex_lock(&shared->mutex);
    shared->signals_blocked = sigismember(&mask, SIGTERM) == 1;
    while (!shared->ready)
        condition_wait(&shared->condition, &shared->mutex);
    mutex_unlock(&shared->mutex);
    for (int i = 0; i < ROUNDS; i++) {
        (void)sync_int_add(&shared->counted, 1);
        mutex_lock(&shared->mutex);
        shared->guarded++;
        mutex_unlock(&shared->mutex);
        latch_down(&shared->latch, i % 1000 != 0);
    }
    if (!flag_test_and_raise(&shared->winner)) (void)sync_int_add(&shared->winners, 1);
}

static void test_shared(void)
{
    static struct shared shared;
    struct thread threads[WORKERS];
    struct err err = ERR_INIT;
    mutex_init(&shared.mutex);
    condition_init(&shared.condition);
    CHECK(latch_is_open(&shared.latch));
    latch_add(&shared.latch, (int64_t)WORKERS * ROUNDS);
    CHECK(!latch_is_open(&shared.latch));
    for (int i = 0; i < WORKERS; i++) {
        CHECK_OK(thread_start(&threads[i], "a-name-over-15-bytes", work, &shared, &err), err);
    }
    mutex_lock(&shared.mutex);
    shared.ready = true;
    mutex_unlock(&shared.mutex);
    condition_broadcast(&shared.condition);
    for (int i = 0; i < WORKERS; i++)
        thread_join(&threads[i]);
    CHECK_INT(sync_int_get(&shared.counted), WORKERS * ROUNDS);
    CHECK_INT(shared.guarded, WORKERS * ROUNDS);
    CHECK(latch_is_open(&shared.latch));
    CHECK_INT(latch_failed(&shared.latch), WORKERS * ROUNDS / 1000);
    CHECK_INT(sync_int_get(&shared.winners), 1);
    CHECK(shared.signals_blocked);
    condition_fini(&shared.condition);
    mutex_fini(&shared.mutex);
}

/* A wait that nobody ends is over after its time, not before. */
static void test_timed_wait(void)
{
    struct mutex mutex = MUTEX_INIT;
    struct condition condition;
    struct clock clock = {0};
    condition_init(&condition);
    mutex_lock(&mutex);
    uint64_t before = clock_mono_us(&clock);
    while (condition_wait_ms(&condition, &mutex, 30))
        continue;
    uint64_t waited = clock_mono_us(&clock) - before;
    mutex_unlock(&mutex);
    CHECK(waited >= 29000);
    condition_fini(&condition);
}

static void test_pointer(void)
{
    struct sync_ptr p = {NULL};
    int a = 1, b = 2;
    CHECK(sync_ptr_get_acquire(&p) == NULL);
    sync_ptr_set_release(&p, &a);
    CHECK(sync_ptr_swap(&p, &b) == &a);
    CHECK(sync_ptr_get_acquire(&p) == &b);
    struct sync_int n = {0};
    CHECK_INT(sync_int_add_acq_rel(&n, 5), 5);
    sync_int_own_add(&n, -2);
    CHECK_INT(sync_int_get_acquire(&n), 3);
    sync_int_set_release(&n, -1);
    CHECK_INT(sync_int_get(&n), -1);
}

int main(void)
{
    CASE(test_alone);
    CASE(test_two_threads);
    CASE(test_shared);
    CASE(test_timed_wait);
    CASE(test_pointer);
    return 0;
}
