#ifndef BASE_SYNC_H
#define BASE_SYNC_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Everything that two threads may touch at once: the only place with atomics, locks and threads (with base/ring, which is
 * built on it). All structs are plain values in the caller's storage; their fields are private to the functions here.
 * All functions: any thread, unless they say otherwise.
 *
 * Words: relaxed = the number alone is right, nothing else is ordered by it (statistics). release = what this thread wrote
 * before is seen by a thread that reads the new value with acquire. */

/* ---- numbers ---- */

/* Zero-initialised is 0. */
struct sync_int {
    _Atomic int64_t value;
};

/* Relaxed; returns the value after the addition. */
static inline int64_t sync_int_add(struct sync_int *n, int64_t delta)
{
    return atomic_fetch_add_explicit(&n->value, delta, memory_order_relaxed) + delta;
}

static inline int64_t sync_int_get(const struct sync_int *n)
{
    return atomic_load_explicit(&n->value, memory_order_relaxed);
}

static inline void sync_int_set(struct sync_int *n, int64_t value)
{
    atomic_store_explicit(&n->value, value, memory_order_relaxed);
}

static inline int64_t sync_int_get_acquire(const struct sync_int *n)
{
    return atomic_load_explicit(&n->value, memory_order_acquire);
}

static inline void sync_int_set_release(struct sync_int *n, int64_t value)
{
    atomic_store_explicit(&n->value, value, memory_order_release);
}

/* One writer only: adds without a locked instruction (release). Readers on other threads see each whole value. */
static inline void sync_int_own_add(struct sync_int *n, int64_t delta)
{
    sync_int_set_release(n, sync_int_get(n) + delta);
}

/* Acquire and release; returns the value after the addition. For counts that guard memory (references, work left). */
static inline int64_t sync_int_add_acq_rel(struct sync_int *n, int64_t delta)
{
    return atomic_fetch_add_explicit(&n->value, delta, memory_order_acq_rel) + delta;
}

/* ---- pointers ---- */

/* A pointer that one thread publishes and others follow. Starts as {NULL}, or in zeroed memory. */
struct sync_ptr {
    void *_Atomic value;
};

static inline void *sync_ptr_get_acquire(const struct sync_ptr *p)
{
    return atomic_load_explicit(&p->value, memory_order_acquire);
}

static inline void sync_ptr_set_release(struct sync_ptr *p, void *value)
{
    atomic_store_explicit(&p->value, value, memory_order_release);
}

/* Puts value there and returns what stood there (acquire and release). */
static inline void *sync_ptr_swap(struct sync_ptr *p, void *value)
{
    return atomic_exchange_explicit(&p->value, value, memory_order_acq_rel);
}

/* ---- flags ---- */

/* Raised once by one side, looked at by the other. Zero-initialised is down. Safe inside a signal handler. */
struct flag {
    _Atomic int value;
};

static inline void flag_raise(struct flag *flag)
{
    atomic_store_explicit(&flag->value, 1, memory_order_release);
}

static inline void flag_lower(struct flag *flag)
{
    atomic_store_explicit(&flag->value, 0, memory_order_release);
}

static inline bool flag_is_raised(const struct flag *flag)
{
    return atomic_load_explicit(&flag->value, memory_order_acquire) != 0;
}

/* Raises it and says whether it was up before: of several threads one alone gets false. */
static inline bool flag_test_and_raise(struct flag *flag)
{
    return atomic_exchange_explicit(&flag->value, 1, memory_order_acq_rel) != 0;
}

/* ---- latches ---- */

/* Counts what is still out (acknowledgements to come) and what of it failed. One thread adds, any thread counts down, the
 * first reads: once it is open, all that the others wrote before latch_down is seen. Zero-initialised is open. */
struct latch {
    struct sync_int left;
    struct sync_int failed;
};

static inline void latch_add(struct latch *latch, int64_t n)
{
    (void)sync_int_add_acq_rel(&latch->left, n);
}

/* ok=false counts a failure, seen not later than the latch is open. */
static inline void latch_down(struct latch *latch, bool ok)
{
    if (!ok) (void)sync_int_add(&latch->failed, 1);
    (void)sync_int_add_acq_rel(&latch->left, -1);
}

static inline bool latch_is_open(const struct latch *latch)
{
    return sync_int_get_acquire(&latch->left) == 0;
}

static inline int64_t latch_left(const struct latch *latch)
{
    return sync_int_get_acquire(&latch->left);
}

static inline int64_t latch_failed(const struct latch *latch)
{
    return sync_int_get_acquire(&latch->failed);
}

/* ---- locks ---- */

struct mutex {
    pthread_mutex_t handle;
};

/* For a mutex with static storage; others call mutex_init. */
#define MUTEX_INIT                                                                                 \
    {                                                                                              \
        .handle = PTHREAD_MUTEX_INITIALIZER                                                        \
    }

void mutex_init(struct mutex *mutex);
void mutex_fini(struct mutex *mutex); /* nobody holds it */
void mutex_lock(struct mutex *mutex); /* not recursive; at most one is held by a thread at a time */
void mutex_unlock(struct mutex *mutex);

/* Waiting for something that a mutex guards. Waits wake without cause too: look again in a loop. */
struct condition {
    pthread_cond_t handle;
};

void condition_init(struct condition *condition);
void condition_fini(struct condition *condition);
void condition_wait(struct condition *condition, struct mutex *held);
/* false: the time is over (monotonic clock). */
bool condition_wait_ms(struct condition *condition, struct mutex *held, int64_t timeout_ms);
void condition_signal(struct condition *condition);    /* wakes one */
void condition_broadcast(struct condition *condition); /* wakes all */

/* One writer or many readers; a writer that waits goes before readers that come later. Readers may hold it for long (a whole
 * micro-batch) and take mutexes meanwhile: no mutex is held while a thread has it. Not recursive. */
struct rwlock {
    struct mutex mutex;
    struct condition changed;
    int readers, waiting; /* waiting: writers */
    bool is_writing;
};

void rwlock_init(struct rwlock *lock);
void rwlock_fini(struct rwlock *lock); /* nobody holds it */
void rwlock_read(struct rwlock *lock);
void rwlock_read_end(struct rwlock *lock);
void rwlock_write(struct rwlock *lock);
void rwlock_write_end(struct rwlock *lock);

/* ---- threads ---- */

struct thread {
    pthread_t handle;
    void (*run)(void *context);
    void *context;
    char name[16]; /* as ps -L and gdb show it; cut at 15 bytes */
};

/* Starts run(context). The struct stays where it is until thread_join. SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2 and
 * SIGPIPE are blocked in the new thread, so that they reach the main thread. Errors: ERR_FATAL. */
MUST_USE bool thread_start(struct thread *thread, const char *name, void (*run)(void *context),
                           void *context, struct err *err);
void thread_join(struct thread *thread);

/* Sleeps; a signal may end it early. */
void sync_sleep_ms(int64_t ms);

/* Does nothing: whoever starts a library that uses C11 threads calls it, so that the linker takes tsan.c along (which in builds
 * with ThreadSanitizer makes those threads known to it). */
void sync_tsan_link(void);

#endif
