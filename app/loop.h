#ifndef APP_LOOP_H
#define APP_LOOP_H

#include "app/pipeline.h"
#include "base/err.h"

/* The main thread's loop (libuv): turns a pipeline until a signal, an error or a time limit. SIGINT and SIGTERM finish what is
 * in flight; a second one ends the process at once. SIGHUP loads the model folder again. */
struct loop_options {
    struct pipeline *pipeline;
    const struct settings
        *settings;    /* of the pipeline; with http.listen the loop serves HTTP, too */
    int64_t limit_ms; /* 0: none */
    int tick_ms;      /* how often `tick` is called; 0 never */
    /* May end the loop by returning false; then err, if its class is set, is the loop's. */
    bool (*tick)(void *context, struct err *err);
    void *context;
    const char *metrics_file; /* "": none */
    int64_t metrics_ms;       /* how often it is written, from the start on; once more at the end */
};

/* Turns until it ends by signal, limit or tick, then finishes what is in flight. Does not close the pipeline, whose numbers are
 * final then. Errors: the pipeline's; ERR_FATAL exit 2 when the metrics file cannot be written at the start (later that
 * is a warning). */
MUST_USE bool loop_run(const struct loop_options *options, struct err *err);

#endif
