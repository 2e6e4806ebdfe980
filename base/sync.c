/* Locks, conditions and threads over POSIX. A call that can fail only through a bug of ours (unlocking a mutex that is
 * not held, destroying one in use) is asserted. */
#include "base/sync.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

/* ---- locks ---- */

void mutex_init(struct mutex *mutex)
{
    int code = pthread_mutex_init(&mutex->handle, NULL);
    assert(code == 0);
    (void)code;
}

void mutex_fini(struct mutex *mutex)
{
    int code = pthread_mutex_destroy(&mutex->handle);
    assert(code == 0);
    (void)code;
}

void mutex_lock(struct mutex *mutex)
{
    int code = pthread_mutex_lock(&mutex->handle);
    assert(code == 0);
    (void)code;
}

void mutex_unlock(struct mutex *mutex)
{
    int code = pthread_mutex_unlock(&mutex->handle);
    assert(code == 0);
    (void)code;
}

/* ---- conditions ---- */

void condition_init(struct condition *condition)
{
    /* The monotonic clock: a step of the wall clock must not stretch or cut a wait. */
    pthread_condattr_t attributes;
    int code = pthread_condattr_init(&attributes);
    assert(code == 0);
    code = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    assert(code == 0);
    code = pthread_cond_init(&condition->handle, &attributes);
    assert(code == 0);
    (void)code;
    pthread_condattr_destroy(&attributes);
}

void condition_fini(struct condition *condition)
{
    pthread_cond_destroy(&condition->handle);
}

void condition_wait(struct condition *condition, struct mutex *held)
{
    int code = pthread_cond_wait(&condition->handle, &held->handle);
    assert(code == 0);
    (void)code;
}

bool condition_wait_ms(struct condition *condition, struct mutex *held, int64_t timeout_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    if (timeout_ms < 0) timeout_ms = 0;
    until.tv_sec += (time_t)(timeout_ms / 1000);
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec += 1;
        until.tv_nsec -= 1000000000L;
    }
    int code = pthread_cond_timedwait(&condition->handle, &held->handle, &until);
    assert(code == 0 || code == ETIMEDOUT);
    return code == 0;
}

void condition_signal(struct condition *condition)
{
    pthread_cond_signal(&condition->handle);
}

void condition_broadcast(struct condition *condition)
{
    pthread_cond_broadcast(&condition->handle);
}

/* ---- readers and writers ---- */

void rwlock_init(struct rwlock *lock)
{
    *lock = (struct rwlock){.readers = 0};
    mutex_init(&lock->mutex);
    condition_init(&lock->changed);
}

void rwlock_fini(struct rwlock *lock)
{
    assert(lock->readers == 0 && !lock->is_writing);
    condition_fini(&lock->changed);
    mutex_fini(&lock->mutex);
}

void rwlock_read(struct rwlock *lock)
{
    mutex_lock(&lock->mutex);
    while (lock->is_writing || lock->waiting > 0)
        condition_wait(&lock->changed, &lock->mutex);
    lock->readers++;
    mutex_unlock(&lock->mutex);
}

void rwlock_read_end(struct rwlock *lock)
{
    mutex_lock(&lock->mutex);
    assert(lock->readers > 0);
    if (--lock->readers == 0 && lock->waiting > 0) condition_broadcast(&lock->changed);
    mutex_unlock(&lock->mutex);
}

void rwlock_write(struct rwlock *lock)
{
    mutex_lock(&lock->mutex);
    lock->waiting++;
    while (lock->is_writing || lock->readers > 0)
        condition_wait(&lock->changed, &lock->mutex);
    lock->waiting--;
    lock->is_writing = true;
    mutex_unlock(&lock->mutex);
}

void rwlock_write_end(struct rwlock *lock)
{
    mutex_lock(&lock->mutex);
    assert(lock->is_writing);
    lock->is_writing = false;
    condition_broadcast(&lock->changed);
    mutex_unlock(&lock->mutex);
}

/* ---- threads ---- */

/* What every thread runs first: its name, as far as the kernel takes it, then the work. */
static void *thread_main(void *arg)
{
    struct thread *thread = arg;
    prctl(PR_SET_NAME, thread->name, 0, 0, 0);
    thread->run(thread->context);
    return NULL;
}

bool thread_start(struct thread *thread, const char *name, void (*run)(void *context),
                  void *context, struct err *err)
{
    static const int blocked[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE};

    thread->run = run;
    thread->context = context;
    snprintf(thread->name, sizeof(thread->name), "%.15s", name);

    /* A new thread inherits the mask of its maker: block, start, restore. */
    sigset_t mask, before;
    sigemptyset(&mask);
    for (size_t i = 0; i < sizeof(blocked) / sizeof(blocked[0]); i++)
        sigaddset(&mask, blocked[i]);
    pthread_sigmask(SIG_BLOCK, &mask, &before);
    int code = pthread_create(&thread->handle, NULL, thread_main, thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code != 0) {
        char reason[128];
        if (strerror_r(code, reason, sizeof(reason)) != 0) reason[0] = '\0';
        return err_fatal(err, ERR_EXIT_INTERNAL,
                         "thread %s does not start: %s (limit of processes?)", name, reason);
    }
    return true;
}

void thread_join(struct thread *thread)
{
    int code = pthread_join(thread->handle, NULL);
    assert(code == 0);
    (void)code;
}

void sync_sleep_ms(int64_t ms)
{
    if (ms <= 0) return;
    struct timespec duration = {.tv_sec = (time_t)(ms / 1000),
                                .tv_nsec = (long)(ms % 1000) * 1000000L};
    nanosleep(&duration, NULL);
}
