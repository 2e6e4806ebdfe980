#ifndef APP_FEEDING_H
#define APP_FEEDING_H

#include <stdbool.h>
#include <stdint.h>

#include "app/app.h"
#include "app/settings.h"
#include "app/sink.h"
#include "base/err.h"
#include "base/progress.h"
#include "schemas/schemas.h"

/* What `freshet import` and `freshet simulate` share: from the flags --to, --topic, --format and
 * --flat to an open sink, and the progress line. Thread: one owner. */

struct feeding {
    struct settings settings;
    struct schemas *schemas;
    struct sink *sink;
    const char *topic; /* of the events; "" when none */
    enum sink_target target;
    enum sink_format format;
    uint64_t started_us;       /* monotonic */
    struct progress *progress; /* NULL between phases */
    bool quiet;
};

struct feeding_options {
    const char *to;          /* "topic", "none" or a file's path */
    const char *topic;       /* "" the first of events.topics */
    const char *items_topic; /* "" none */
    const char *flat;        /* "" none */
    int format;              /* index into FEEDING_FORMATS */
    bool timestamps_now;
    bool quiet; /* no progress bar */
    struct inject_options inject;
};

/* Values of a --format flag; `auto` is the topic's value.format, and JSON in a file. */
#define FEEDING_FORMATS "auto|avro|json|events|sessions|pairs|lines"

/* Errors: ERR_FATAL; exit 2 for flags that contradict each other. On false nothing stays open. */
MUST_USE bool feeding_open(struct feeding *feeding, struct app *app,
                           const struct feeding_options *options, struct err *err);
/* Frees all. Without sink_finish before it, what is under way may be lost. */
void feeding_close(struct feeding *feeding);
/* One phase of the work, as base/progress shows it on stderr; --quiet shows nothing. */
void feeding_progress_begin(struct feeding *feeding, const char *what, const char *unit,
                            uint64_t total);
void feeding_progress(struct feeding *feeding, uint64_t done);
void feeding_progress_end(struct feeding *feeding);
/* Ctrl-C or SIGTERM came: end soon, what is sent will be acknowledged. A second signal ends the
 * process at once. */
bool feeding_is_stopped(void);
double feeding_seconds(const struct feeding *feeding); /* since feeding_open */
/* The command that reads what was put into the topic, on stdout. */
void feeding_next_print(const struct feeding *feeding);

#endif
