#ifndef APP_SINK_H
#define APP_SINK_H

#include <stdbool.h>
#include <stdint.h>

#include "app/inject.h"
#include "app/settings.h"
#include "base/err.h"
#include "schemas/schemas.h"

/* Where `freshet import` and `freshet simulate` put events: a topic, a file (gzip when its name
 * ends in .gz), or nowhere; and beside it, on demand, the flat file: every record as it was sent,
 * one JSON object a line,
 *
 *   {"n":0,"key":"<base64>","value":"<base64>"|null,"timestamp":1736150400000,"mark":""}
 *
 * mark says what was done to the record on purpose (inject.h): "", "late", "duplicate", "future",
 * "poison:<kind>". The order of lines is the order of sending, so within a partition it is the
 * order of offsets. Thread: one owner. */

enum sink_format {
    SINK_AVRO,     /* framed Avro, as in the events topic */
    SINK_JSON,     /* the same fields as JSON; one line each in a file */
    SINK_EVENTS,   /* file: CSV user,item,event,time,order,quantity,price; one row an item */
    SINK_SESSIONS, /* file: TSV SessionId ItemId Time of views */
    SINK_PAIRS,    /* file: "user item" of views */
    SINK_LINES,    /* file: the items of a session's views, one session a line (session_lines.h) */
};

enum sink_target { SINK_TO_TOPIC, SINK_TO_FILE, SINK_TO_NOTHING };

struct sink_options {
    enum sink_target target;
    const struct settings *settings; /* of a topic */
    struct schemas *schemas;         /* for SINK_AVRO; borrowed */
    const char *topic;
    const char *path; /* of a file */
    const char *flat; /* path of the flat file, or NULL */
    enum sink_format format;
    bool timestamps_now; /* Kafka timestamps are the time of sending, else the event time */
    struct inject_options inject;
};

struct sink;

/* Errors: ERR_FATAL, exit 2 for a file that cannot be written, 4 and 5 for the topic. */
MUST_USE bool sink_open(struct sink **sink, const struct sink_options *options, struct err *err);
MUST_USE bool sink_event(struct sink *sink, const struct event *event, struct err *err);
/* Sends what injection holds back and waits until all is acknowledged or written. The sink takes
 * nothing more. */
MUST_USE bool sink_finish(struct sink *sink, struct err *err);
/* Without sink_finish before it, what is under way may be lost. NULL is fine. */
void sink_free(struct sink *sink);
uint64_t sink_records(const struct sink *sink); /* sent so far, injected ones included */
const struct inject *sink_inject(const struct sink *sink);

bool sink_format_is_text(enum sink_format format); /* one of the log file formats */

/* Sends at planned times: the n-th at start + n / rate, whatever the ones before took. */
struct pacer {
    uint64_t start_us;
    double per_us; /* units of progress for each microsecond; 0: no waiting */
};
void pacer_start(struct pacer *pacer, double per_second);
/* Waits until `done` units are due, 100 ms at most. True when they are due. */
bool pacer_wait(const struct pacer *pacer, double done);

#endif
