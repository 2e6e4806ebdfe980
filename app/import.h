#ifndef APP_IMPORT_H
#define APP_IMPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "schemas/schemas.h"
#include "train/train.h"

/* From a log file's rows to shop events, in time order.
 *
 * The whole log is read first, because sessions files and many exports are not in time order; it
 * takes about 110 bytes of memory a row. Consecutive rows of one user with the same order id become
 * one event with several items; a negative quantity makes it a refund. A log without times (pairs,
 * lines) gets one second for each row from `start_ms` on.
 *
 * Event ids are "<name>-<line>": the same file gives the same ids, so a second import changes
 * nothing downstream.
 *
 * Thread: one owner. */

enum import_bad {
    IMPORT_BAD_ROW,      /* the reader cannot make sense of it */
    IMPORT_BAD_TYPE,     /* event type that we do not know */
    IMPORT_BAD_USER,     /* no user id, or too long */
    IMPORT_BAD_ITEM,     /* no item id, or too long */
    IMPORT_BAD_TIME,     /* no time in a log that has times */
    IMPORT_BAD_QUANTITY, /* zero */
    IMPORT_SKIPPED_ITEM, /* on the list of items that are no products; no error */
    IMPORT_BAD_COUNT,
};
const char *import_bad_name(enum import_bad bad); /* "unknown event type"; static */

enum { IMPORT_SHOWN_MAX = 5, IMPORT_SHOWN_TEXT = 200 };

struct import_options {
    const char *path;
    enum log_format_kind kind;
    const char *map;               /* NULL: the usual names */
    enum event_type type;          /* of rows without a type */
    const char *const *skip_items; /* (n_skip) item ids; a trailing * matches any ending */
    int n_skip;
    const char *name; /* of the event ids; NULL: file name and a checksum of its beginning */
    const char *tenant;
    int64_t start_ms; /* for logs without times */
    int64_t limit;    /* rows that are read at most; 0 all */
    bool strict;      /* a bad row ends the import */
};

struct import;

/* Reads the file. on_progress (may be NULL) gets the share that is read. Errors: ERR_FATAL exit 2
 * with file and line. */
MUST_USE bool import_open(struct import **import, const struct import_options *options,
                          void (*on_progress)(void *context, double share, uint64_t rows),
                          void *context, struct err *err);
void import_close(struct import *import);
/* The next event in time order; false at the end. It lives until the next call. */
bool import_next(struct import *import, struct event *event);

size_t import_event_count(const struct import *import);
uint64_t import_row_count(const struct import *import); /* read, bad ones included */
uint64_t import_bad_count(const struct import *import, enum import_bad bad);
/* The first bad rows, as "line 12: ..."; NULL behind the last. */
const char *import_bad_shown(const struct import *import, int i);

#endif
