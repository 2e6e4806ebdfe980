#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* Time is an argument: what needs it takes a struct clock, so that a test can turn it. */
struct clock {
    int64_t fixed_ms; /* 0: the system's clocks; else wall time stands still here (tests) */
};

int64_t clock_wall_ms(const struct clock *clock);  /* since 1970, UTC */
uint64_t clock_mono_us(const struct clock *clock); /* monotonic, from an arbitrary start */
uint64_t clock_mono_ns(void);                      /* for stage timings only */
uint64_t clock_thread_ns(void);                    /* that the calling thread has been at work */
int64_t clock_boot_ms(void); /* monotonic, and goes on while the machine is suspended */

#endif
