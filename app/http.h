#ifndef APP_HTTP_H
#define APP_HTTP_H

#include "app/models.h"
#include "app/pipeline.h"
#include "app/settings.h"
#include "base/err.h"

/* The HTTP API over the view: what `freshet serve` is, and `freshet run` has with http.listen.
 *
 *   mirror's thread   output topics -> view, changes ----+
 *   clicks' thread    events -> clicks ------------------+-- wake --> loop's thread: shelf, sessions, streams
 *   loop's thread     request -> handler (app/handlers_*.c) -> view, shelf, sessions -> answer
 *
 * Handlers answer at once, but POST /v1/events, whose answer waits for the broker's acknowledgement. Thread: the loop's. */
struct http;
struct uv_loop_s; /* libuv's uv_loop_t */

struct http_options {
    const struct settings *settings;
    struct models *models;     /* NULL: none */
    struct pipeline *pipeline; /* of the same process; NULL: none */
    const char *listen;
    const char *sessions_file; /* NULL: the events topics, as http.sessions says */
    const char *sessions_format;
};

/* Opens the view, begins to read, listens. Errors: ERR_FATAL of whatever does not open. Options' texts are borrowed.
 * Also on false *http is to be stopped and closed. */
MUST_USE bool http_open(struct http **http, const struct http_options *options,
                        struct uv_loop_s *loop, struct err *err);
int http_port(const struct http *http);
/* false: reading failed for good, err says why. */
MUST_USE bool http_check(struct http *http, struct err *err);
/* Reads the rules file again, where it is the server's own (freshet serve). */
void http_reload(struct http *http);
/* Answers what is in work, for grace_ms at most, closes all handles on the loop, then calls done. */
void http_stop(struct http *http, int64_t grace_ms, void (*done)(void *context), void *context);
/* After done. NULL is fine. */
void http_close(struct http *http);

#endif
