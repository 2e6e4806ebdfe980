/* For builds with ThreadSanitizer: C11's threads, locks and conditions, which librdkafka uses, made of POSIX's.
 *
 * The sanitizer does not know the C11 functions: a thread that thrd_create starts crashes in its first malloc, and what
 * mtx_lock orders looks like a race. glibc's mtx_t and cnd_t hold the POSIX objects, so the program's own functions stand
 * in for glibc's, and librdkafka finds them first. In other builds this file is empty. */
#include "base/sync.h"

#if defined(__SANITIZE_THREAD__)
#define SYNC_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SYNC_TSAN 1
#endif
#endif

void sync_tsan_link(void)
{
}

#ifdef SYNC_TSAN
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <threads.h>

#include "base/mem.h"

#define EXPORT __attribute__((visibility("default")))

_Static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t), "mtx_t is not a POSIX mutex here");
_Static_assert(sizeof(cnd_t) == sizeof(pthread_cond_t), "cnd_t is not a POSIX condition here");

static int result(int code)
{
    return code == 0           ? thrd_success
           : code == ETIMEDOUT ? thrd_timedout
           : code == EBUSY     ? thrd_busy
                               : thrd_error;
}

static pthread_mutex_t *mutex(mtx_t *m)
{
    return (pthread_mutex_t *)(void *)m;
}

static pthread_cond_t *condition(cnd_t *c)
{
    return (pthread_cond_t *)(void *)c;
}

struct start {
    thrd_start_t run;
    void *argument;
};

static void *run(void *context)
{
    struct start start = *(struct start *)context;
    mem_free(context);
    return (void *)(intptr_t)start.run(start.argument);
}

EXPORT int thrd_create(thrd_t *thread, thrd_start_t function, void *argument)
{
    struct start *start = mem_alloc(sizeof *start);
    start->run = function;
    start->argument = argument;
    int code = pthread_create(thread, NULL, run, start);
    if (code) mem_free(start);
    return result(code);
}

EXPORT int thrd_join(thrd_t thread, int *status)
{
    void *value = NULL;
    int code = pthread_join(thread, &value);
    if (status) *status = (int)(intptr_t)value;
    return result(code);
}

EXPORT int thrd_detach(thrd_t thread)
{
    return result(pthread_detach(thread));
}

EXPORT int mtx_init(mtx_t *m, int type)
{
    pthread_mutexattr_t attributes;
    (void)pthread_mutexattr_init(&attributes);
    if (type & mtx_recursive) (void)pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    int code = pthread_mutex_init(mutex(m), &attributes);
    (void)pthread_mutexattr_destroy(&attributes);
    return result(code);
}

EXPORT void mtx_destroy(mtx_t *m)
{
    (void)pthread_mutex_destroy(mutex(m));
}

EXPORT int mtx_lock(mtx_t *m)
{
    return result(pthread_mutex_lock(mutex(m)));
}

EXPORT int mtx_trylock(mtx_t *m)
{
    return result(pthread_mutex_trylock(mutex(m)));
}

EXPORT int mtx_unlock(mtx_t *m)
{
    return result(pthread_mutex_unlock(mutex(m)));
}

EXPORT int cnd_init(cnd_t *c)
{
    return result(pthread_cond_init(condition(c), NULL));
}

EXPORT void cnd_destroy(cnd_t *c)
{
    (void)pthread_cond_destroy(condition(c));
}

EXPORT int cnd_signal(cnd_t *c)
{
    return result(pthread_cond_signal(condition(c)));
}

EXPORT int cnd_broadcast(cnd_t *c)
{
    return result(pthread_cond_broadcast(condition(c)));
}

EXPORT int cnd_wait(cnd_t *c, mtx_t *m)
{
    return result(pthread_cond_wait(condition(c), mutex(m)));
}

EXPORT int cnd_timedwait(cnd_t *c, mtx_t *m, const struct timespec *until)
{
    return result(pthread_cond_timedwait(condition(c), mutex(m), until));
}
#endif
