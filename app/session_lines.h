#ifndef APP_SESSION_LINES_H
#define APP_SESSION_LINES_H

#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/* The log format `lines` from a stream of views: each session is held until it ends, then written as one line of its items,
 * separated by spaces. So lines stand in the order in which sessions end. Thread: one owner. */
struct session_lines;

struct session_lines_options {
    int max;         /* sessions held; over it the one whose last view is longest ago is written */
    int64_t idle_ms; /* event time without a view that ends a session */
    /* Takes one line, its end included. Errors: its own, passed on. */
    bool (*write)(void *context, struct str line, struct err *err);
    void *context;
};

struct session_lines *session_lines_new(const struct session_lines_options *options);
void session_lines_free(struct session_lines *lines); /* what is held is lost */
/* Views come in about the order of time. */
MUST_USE bool session_lines_add(struct session_lines *lines, struct str session, struct str item,
                                int64_t time_ms, struct err *err);
/* Writes all that are held. */
MUST_USE bool session_lines_flush(struct session_lines *lines, struct err *err);

#endif
