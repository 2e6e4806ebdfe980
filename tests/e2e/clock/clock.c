/* A wall clock that jumps, for one process that it is preloaded into. WALL_CLOCK_FILE names a file with an offset in seconds, which may
 * change at any time. The monotonic clock stays as it is.
 *
 * Waits up to a point of wall-clock time jump with it, as they do under the kernel when the clock is set: librdkafka waits so
 * (cnd_timedwait), and its calls pass by libfaketime, which then makes every wait of a process end at once or never. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>

enum { SLICE_NS = 50000000, SECOND_NS = 1000000000 };
/* A deadline below is one of the monotonic clock. */
static const time_t WALL_FROM_S = 1000000000;

static int (*real_gettime)(clockid_t, struct timespec *);
static int (*real_cnd_timedwait)(cnd_t *, mtx_t *, const struct timespec *);
static int (*real_cond_timedwait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
static _Atomic long offset_s, read_at_ns;

/* dlsym gives no function pointer in ISO C. */
#define FIND(to, symbol)                                                                           \
    do {                                                                                           \
        void *found = (symbol);                                                                    \
        if (!found) abort();                                                                       \
        *(void **)&(to) = found;                                                                   \
    } while (0)

__attribute__((constructor)) static void find_all(void)
{
    FIND(real_gettime, dlsym(RTLD_NEXT, "clock_gettime"));
    FIND(real_cnd_timedwait, dlsym(RTLD_NEXT, "cnd_timedwait"));
    FIND(real_cond_timedwait, dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2"));
}

/* Reads the file again when the last look is a slice ago. */
static long offset(void)
{
    struct timespec mono;
    (void)real_gettime(CLOCK_MONOTONIC, &mono);
    long now_ns = mono.tv_sec * SECOND_NS + mono.tv_nsec, last_ns = atomic_load(&read_at_ns);
    if (now_ns - last_ns < SLICE_NS ||
        !atomic_compare_exchange_strong(&read_at_ns, &last_ns, now_ns))
        return atomic_load(&offset_s);
    const char *path = getenv("WALL_CLOCK_FILE");
    FILE *file = path ? fopen(path, "r") : NULL;
    char text[32];
    if (file && fgets(text, sizeof text, file)) atomic_store(&offset_s, strtol(text, NULL, 10));
    if (file) (void)fclose(file);
    return atomic_load(&offset_s);
}

int clock_gettime(clockid_t id, struct timespec *now)
{
    if (!real_gettime) find_all(); /* another library's constructor comes first */
    int code = real_gettime(id, now);
    if (code == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) now->tv_sec += offset();
    return code;
}

int timespec_get(struct timespec *now, int base)
{
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, now) == 0 ? base : 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec at;
    (void)zone;
    int code = clock_gettime(CLOCK_REALTIME, &at);
    *now = (struct timeval){.tv_sec = at.tv_sec, .tv_usec = at.tv_nsec / 1000};
    return code;
}

time_t time(time_t *now)
{
    struct timespec at;
    (void)clock_gettime(CLOCK_REALTIME, &at);
    if (now) *now = at.tv_sec;
    return at.tv_sec;
}

/* The next slice of a wait until `end` by the clock as it is now: *stop in true wall-clock time. Returns whether it is the last. */
static int next_slice(const struct timespec *end, struct timespec *stop)
{
    (void)real_gettime(CLOCK_REALTIME, stop);
    long left_s = end->tv_sec - stop->tv_sec - offset();
    long left_ns =
        left_s > 10 ? 10L * SECOND_NS : left_s * SECOND_NS + end->tv_nsec - stop->tv_nsec;
    int is_last = left_ns <= SLICE_NS;
    long slice_ns = left_ns < 0 ? 0 : is_last ? left_ns : SLICE_NS;
    stop->tv_nsec += slice_ns;
    stop->tv_sec += stop->tv_nsec / SECOND_NS;
    stop->tv_nsec %= SECOND_NS;
    return is_last;
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex,
                  const struct timespec *restrict end)
{
    struct timespec stop;
    for (;;) {
        int is_last = next_slice(end, &stop);
        int code = real_cnd_timedwait(condition, mutex, &stop);
        if (code != thrd_timedout || is_last) return code;
    }
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict end)
{
    struct timespec stop;
    if (end->tv_sec < WALL_FROM_S) return real_cond_timedwait(condition, mutex, end);
    for (;;) {
        int is_last = next_slice(end, &stop);
        int code = real_cond_timedwait(condition, mutex, &stop);
        if (code == 0 || is_last) return code;
    }
}
