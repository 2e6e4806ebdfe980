#ifndef TRAIN_TRAIN_H
#define TRAIN_TRAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "model/model.h"

/* train/: data sets, the backward pass, the optimiser, evaluation. May use more than one thread. */

/* ---- data sets: the four log file formats ---- */

enum log_format_kind { LOGFILE_PAIRS, LOGFILE_LINES, LOGFILE_SESSIONS, LOGFILE_EVENTS };

/* One row of a log file. Strings live until the next row. */
struct log_row {
    struct str user; /* user or session id */
    struct str item;
    struct str type;  /* "" when the format has none */
    int64_t time_ms;  /* 0 when the format has none: order is the time */
    struct str order; /* events: order id, if mapped */
    double quantity;  /* 1 when none */
    double price;     /* NaN when none */
    uint64_t line;    /* from 1, for messages */
};

struct log_reader;
/* Opens a log file; gzip is told by the content.
 *
 *   pairs     "user item" a line, in time order
 *   lines     one session a line, items separated by spaces; its user is the line's number
 *   sessions  SessionId ItemId Time, separated by tabs or spaces; a header is skipped; order in the file does not matter
 *   events    CSV (comma, tab or semicolon; RFC 4180 quotes) with a header
 *
 * map: for events, or NULL for the names that logs usually have: "user=visitorid,item=itemid,type=event,time=timestamp"
 * and order=, quantity=, price=. user=CustomerID|InvoiceNo takes the first that is not empty; type==purchase is a literal.
 * Times: seconds, milliseconds, microseconds or "YYYY-MM-DD HH:MM:SS" (UTC), told by their look.
 * Errors: ERR_FATAL exit 2 with file:line and what is expected. Thread: one owner. */
MUST_USE bool log_reader_open(struct log_reader **reader, const char *path,
                              enum log_format_kind kind, const char *map, struct err *err);
/* false with err->class ERR_NONE at the end; ERR_DATA for a bad row (the next call goes on behind it); ERR_FATAL exit 2 for a
 * damaged file. */
bool log_reader_next(struct log_reader *reader, struct log_row *row, struct err *err);
double log_reader_progress(const struct log_reader *reader); /* 0..1, by bytes */
void log_reader_close(struct log_reader *reader);
bool log_format_parse(const char *name, enum log_format_kind *kind);

#endif
