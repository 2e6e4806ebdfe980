/* Wall and monotonic time. */
#include "base/clock.h"

#include <time.h>

int64_t clock_wall_ms(const struct clock *clock)
{
    struct timespec now;
    if (clock->fixed_ms) return clock->fixed_ms;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

uint64_t clock_mono_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t clock_thread_ns(void)
{
    struct timespec used;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

uint64_t clock_mono_us(const struct clock *clock)
{
    if (clock->fixed_ms) return (uint64_t)clock->fixed_ms * 1000;
    return clock_mono_ns() / 1000;
}

int64_t clock_boot_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
