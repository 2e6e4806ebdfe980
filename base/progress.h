#ifndef BASE_PROGRESS_H
#define BASE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

/* Progress of long work, on stderr, for who waits in front of it:
 *
 *   train   42% [########------------]  1.2M/2.9M steps  38k/s  00:44 left  epoch 3 loss 4.218
 *
 * On a terminal the line is redrawn in place, ten times a second; elsewhere a plain line comes every ten seconds and at the
 * end. Thread: one owner. */

struct progress_options {
    const char *what;          /* "train", "import" */
    const char *unit;          /* "steps", "events"; "" none */
    uint64_t total;            /* units in all; 0: not known, then no share and no time left */
    bool quiet;                /* print nothing at all (--quiet) */
    int fd;                    /* 2, stderr; tests take another */
    const struct clock *clock; /* NULL: the system's */
};

struct progress;

/* The texts are copied. */
struct progress *progress_new(const struct progress_options *options);
/* done: units so far, never falling. text: free words behind the numbers ("loss 4.2"), NULL for those from before. Cheap
 * enough for every few thousand units: it looks at the clock and prints when it is time. */
void progress_update(struct progress *progress, uint64_t done, const char *text);
/* The total when it turns out otherwise, or only now known. */
void progress_total(struct progress *progress, uint64_t total);
/* Clears the line on a terminal, so that another may be printed; the next update draws it again. */
void progress_hide(struct progress *progress);
/* Prints the last state with the time taken, ends the line, and frees. NULL is fine. */
void progress_end(struct progress *progress);

/* "1.2M", "38k", "950": at most 5 characters for what is below 1000 T. Returns out. */
char *progress_count(double n, char out[8]);
/* "00:44", "01:02:03", "2d 03h". Returns out. */
char *progress_time(double seconds, char out[32]);

#endif
