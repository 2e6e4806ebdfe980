#ifndef APP_LOOP_H
#define APP_LOOP_H

#include "app/http.h"
#include "app/pipeline.h"
#include "base/err.h"

/* The main thread's loop (libuv): turns a pipeline, HTTP or both until a signal, an error or a time limit. SIGINT and SIGTERM
 * finish what is in flight; a second one ends the process at once. SIGHUP loads the model folder again.
 *
 * The end of a loop with both: HTTP answers what is in work while the pipeline turns on, then the pipeline finishes. When
 * reading into HTTP's view fails for good, a loop without a pipeline ends; one with a pipeline goes on, and /health says so. */
struct loop_options {
    struct pipeline *pipeline; /* NULL: HTTP alone */
    const struct settings
        *settings; /* of the pipeline; with http.listen the loop serves HTTP, too */
    const struct http_options *http; /* what is served without a pipeline */
    int64_t limit_ms;                /* 0: none */
    int tick_ms;                     /* how often `tick` is called; 0 never */
    /* May end the loop by returning false; then err, if its class is set, is the loop's. */
    bool (*tick)(void *context, struct err *err);
    void *context;
    const char *metrics_file; /* of the pipeline; "": none */
    int64_t metrics_ms;       /* how often it is written, from the start on; once more at the end */
};

/* Turns until it ends by signal, limit or tick, then finishes what is in flight. Does not close the pipeline, whose numbers are
 * final then. Errors: the pipeline's and http_open's; ERR_FATAL exit 2 when the metrics file cannot be written at the start (later that
 * is a warning). */
MUST_USE bool loop_run(const struct loop_options *options, struct err *err);

#endif
