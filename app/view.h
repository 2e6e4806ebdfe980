#ifndef APP_VIEW_H
#define APP_VIEW_H

#include <stdio.h>

#include "app/metrics.h"
#include "app/tap.h"

/* The demo's terminal view: figures of the last seconds, live quality, and the lists of a few users by product title as they
 * click. On a terminal it redraws one screen; elsewhere it prints a line every few seconds. Thread: main's. */
struct view;

struct view_options {
    FILE *out;
    bool is_screen;   /* out is a terminal: redraw; else lines */
    const char *head; /* what runs, one line */
    const char *note; /* under live quality once carts or purchases stand in it; NULL: none */
    struct tap *tap;
    /* Title of an item, len 0 when unknown; lives until the next call. */
    struct str (*title)(void *context, struct str item_id);
    void *context;
};

struct view *view_new(const struct view_options *options);
void view_free(struct view *view);
/* Called a few times a second. now_ms: wall clock. */
void view_update(struct view *view, const struct counters *counters, int64_t now_ms);
/* The end: a summary that stays on the screen. seconds: how long it ran. */
void view_summary(struct view *view, const struct counters *counters, double seconds);

#endif
