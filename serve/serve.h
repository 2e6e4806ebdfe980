#ifndef SERVE_SERVE_H
#define SERVE_SERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* serve/: an HTTP/1.1 server for whoever gives it routes. It knows nothing of shops, lists or Kafka.
 *
 * One thread, one libuv loop, which is the caller's. A table of routes drives matching, checking of parameters and the OpenAPI 3
 * document at /openapi.json. A handler answers at once, later (it takes a ticket), or goes on answering (server-sent events).
 *
 * It refuses: TLS (a proxy's work), HTTP/2 (likewise), uploads beyond the body's limit, an own parser (llhttp, that of Node.js).
 *
 * Files, in reading order
 *   parse.c    bytes to one request at a time (llhttp, and the checks that it leaves out)
 *   route.c    the table: method and path to a row, texts to checked parameters      query.c   percent codes
 *   reply.c    the answer's head and its error bodies                                json.c    the JSON writer
 *   conn.c     a connection: its states, its deadlines; no libuv call in it
 *   sse.c      streams of events                                                     files.c   the page's files
 *   openapi.c  the document                                                          wire.c    libuv: sockets
 *   serve.c    open, stop, connections and their pool
 *
 * Invariants
 *   - Nothing is allocated for a request once the connection's buffers have grown; connections are pooled.
 *   - An answer is one write(2). Header lines are read where they lie, never copied.
 *   - One request of a connection is in work at a time; what was sent behind it waits, in the same bounded buffer.
 *   - All deadlines are absolute: bytes that trickle in move none of them.
 *   - A request that is in any doubt (two lengths, bare CR or LF, folded lines, ...) is answered 400 and its connection closed.
 *   - GET and HEAD change nothing; that is the handlers' duty.
 *
 * Words: route = row of the table; ticket = number that stands for a request whose answer comes later; stream = an answer that
 * goes on; idle = a connection between two requests. RFC 9110 and 9112 are followed; what is refused beyond them is listed at
 * the limits below. */

struct serve;
struct serve_request;
struct uv_loop_s; /* libuv's uv_loop_t */

/* ---- routes ---- */

enum serve_method { SERVE_GET, SERVE_POST, SERVE_PUT, SERVE_DELETE, SERVE_METHODS };

enum serve_type {
    SERVE_TEXT, /* UTF-8, no control characters; min and max are bytes, max 0: 512 */
    SERVE_INT,
    SERVE_NUMBER,
    SERVE_BOOL, /* true, false, 1, 0 */
    SERVE_ENUM, /* one of `values` */
};

enum { SERVE_PARAMS_MAX = 12, SERVE_SEGMENTS_MAX = 8 };

/* A parameter of the path (its name stands in the path) or else of the query string. */
struct serve_param {
    const char *name;
    enum serve_type type;
    bool is_required;     /* of the query; those of the path always are, and never empty */
    const char *fallback; /* the value when it is not given; NULL: 0, "" or the first of `values` */
    double min, max;      /* inclusive; both 0: unbounded */
    const char *values;   /* for ENUM: "bought_together|also_bought" */
    const char *help;     /* a sentence, for the document and for errors */
    const char *example;  /* for the document; may be NULL */
};

struct serve_route {
    enum serve_method method; /* GET answers HEAD too */
    const char *path; /* "/v1/recommend/{user}"; of two rows that fit, the earlier is taken */
    void (*handle)(void *context, struct serve_request *request);
    struct serve_param params[SERVE_PARAMS_MAX]; /* up to the first without a name */
    const char *summary;                         /* one line for the document */
    const char *tag;                             /* its heading there; NULL: none */
    /* Schemas of JSON bodies: names in options.schemas. */
    const char *body;   /* of the request; NULL: a body is refused */
    const char *answer; /* with 200 or 202; NULL: none stated */
    const char *type;   /* content type of the answer; NULL: application/json */
    bool is_open;       /* no token needed: health checks */
    bool is_accepting;  /* answers 202, not 200 */
    bool is_undocumented;
};

/* A file of the page, in memory that outlives the server. */
struct serve_file {
    const char *path; /* "/", "/app.js" */
    const char *type; /* "text/html; charset=utf-8" */
    const uint8_t *bytes;
    size_t len;
};

/* ---- the server ---- */

/* What bounds one connection. Zero means the default in brackets. Times in ms, absolute. */
struct serve_limits {
    int connections; /* (256) the longest idle one makes room; is none idle, the newcomer gets 503 */
    int streams;     /* (half of the connections) more get 503 */
    size_t head;     /* (8 KiB) request line and headers: 431; 64 header lines at most */
    size_t body;     /* (64 KiB) 413 */
    size_t answer;   /* (1 MiB) a handler that writes more: 500 */
    size_t queue;    /* (256 KiB) waiting bytes of a stream; a slower reader is dropped */
    int64_t head_ms;  /* (10 s) first byte (or connection) to the end of the headers: 408 */
    int64_t body_ms;  /* (30 s) end of the headers to the end of the body: 408 */
    int64_t hold_ms;  /* (30 s) a ticket's life: 504 */
    int64_t write_ms; /* (30 s) the client takes its answer, or is cut off */
    int64_t idle_ms;  /* (30 s) between two requests */
    int64_t
        beat_ms; /* (15 s) how often streams get a comment, so that no proxy takes them for dead */
};

struct serve_options {
    const char *
        listen; /* "127.0.0.1:8080", "[::1]:8080", ":8080" (all addresses), "localhost:0" (any port) */
    const char *
        token; /* "": none; else `Authorization: Bearer <token>` or 401, except for open routes and files */
    const char *cors_origin; /* "": none; "*" or one origin that pages may call from */
    const struct serve_route *routes;
    int n_routes;
    const struct serve_file *files;
    int n_files;
    void *context; /* of the handlers */
    struct serve_limits limits;
    const char *title; /* of the document */
    const char
        *schemas; /* members of components.schemas as JSON text: "{\"List\":{...}}"; NULL: none */
    /* After each answer; route -1: none fitted (files, errors of the protocol). us: from the last byte of the request to the
     * answer's hand-over. May be NULL. */
    void (*observe)(void *context, int route, int status, int64_t us);
};

/* What happened so far. */
struct serve_numbers {
    int64_t connections, streams, held; /* now */
    int64_t accepted, refused, evicted; /* connections; refused: 503 for want of room */
    int64_t requests, bad, timeouts;    /* bad: refused by the protocol's rules */
    int64_t streams_dropped;            /* for being slow */
    int64_t sent_bytes;
};

/* Whether listen is written as an address of serve_options: so that a typing error is found before anything is opened.
 * Errors: ERR_FATAL, exit 2. Thread: any. */
MUST_USE bool serve_address_check(const char *listen, struct err *err);

/* Opens the socket and listens; turning the loop serves. What options point to outlives the server. The routes are checked: a
 * wrong row is our bug (assert). Errors: ERR_FATAL, exit 2 (the address) or 4 (taken, or not allowed).
 * Thread of this and all below: the loop's. */
MUST_USE bool serve_open(struct serve **serve, const struct serve_options *options,
                         struct uv_loop_s *loop, struct err *err);
int serve_port(const struct serve *serve); /* the one it listens on */
/* No new connections; streams are closed and a moment later idle connections; requests in work or on their way are answered, for
 * grace_ms at most. Then, from the loop, done(context) is called once, if not NULL. A second call shortens the time. */
void serve_stop(struct serve *serve, int64_t grace_ms, void (*done)(void *context), void *context);
/* After `done`. NULL is fine. */
void serve_free(struct serve *serve);
struct serve_numbers serve_numbers(const struct serve *serve);
/* The OpenAPI document, as GET /openapi.json answers it. */
struct str serve_openapi(const struct serve *serve);

/* ---- what a handler reads ----
 * All texts lie in the connection's buffer and live until the answer is given (of a stream: until it is closed). A name that
 * is not in the route's table is our bug (assert). */

struct str serve_text(const struct serve_request *request, const char *name);
int64_t serve_int(const struct serve_request *request, const char *name);
double serve_number(const struct serve_request *request, const char *name);
bool serve_bool(const struct serve_request *request, const char *name);
int serve_enum(const struct serve_request *request, const char *name); /* index into values */
struct str serve_body(const struct serve_request *request);
/* Any case; the value without space around it, ptr NULL when there is none (of several the first). */
struct str serve_header(const struct serve_request *request, const char *name);

/* ---- what a handler answers: exactly one of serve_reply*, serve_hold, serve_stream_open ---- */

/* Where the body is written, empty at first. */
struct buf *serve_reply_body(struct serve_request *request);
/* A further header line, before the answer. Name and value hold no CR or LF (assert); what does not fit (512 bytes) is left out. */
void serve_reply_header(struct serve_request *request, const char *name, struct str value);
/* Sends the body that was written, as JSON, or as `type`. */
void serve_reply(struct serve_request *request, int status);
void serve_reply_as(struct serve_request *request, int status, const char *type);
/* Bytes that outlive the server; nothing is copied. */
void serve_reply_static(struct serve_request *request, int status, const char *type,
                        struct str bytes);
/* {"error":{"code":"not_found","message":"..."}}; the code goes with the status. What was written to the body is dropped. */
void serve_reply_error(struct serve_request *request, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The answer comes later: the ticket brings the request back, from the loop's thread, until it was answered, its time is over
 * or its client is gone; then NULL. Tickets are never 0 and not used twice. */
uint64_t serve_hold(struct serve_request *request);
struct serve_request *serve_held(struct serve *serve, uint64_t ticket);

/* ---- server-sent events ---- */

/* 200 text/event-stream. The request, with its parameters, stays until the stream ends. */
void serve_stream_open(struct serve_request *request);
/* One event: `event:`, `id:` (NULL: none) and `data:` lines (data may hold several lines). Goes out at the end of the loop's turn,
 * with others. false: the reader is too slow, the stream is closed. */
bool serve_stream_send(struct serve_request *request, const char *event, const char *id,
                       struct str data);
/* Every open stream of a route's path (NULL: all). */
void serve_stream_each(struct serve *serve, const char *path,
                       void (*visit)(void *context, struct serve_request *request), void *context);

/* ---- JSON ----
 * Writes to a buffer, commas and quotes by itself. key NULL: an array's element, or the outermost value. Wrong nesting is our bug
 * (assert). No line breaks. Bytes that are no UTF-8 become U+FFFD.
 *
 *   struct serve_json json = serve_json_begin(serve_reply_body(request));
 *   serve_json_object(&json, NULL);
 *   serve_json_text(&json, "user_id", user);
 *   serve_json_array(&json, "items");
 *   ...
 *   serve_json_end(&json);  (array)
 *   serve_json_end(&json);  (object) */

struct serve_json {
    struct buf *out;
    uint64_t arrays; /* bit d: what is open at depth d is an array */
    int depth;       /* 63 at most */
    bool needs_comma;
};

struct serve_json serve_json_begin(struct buf *out);
void serve_json_object(struct serve_json *json, const char *key);
void serve_json_array(struct serve_json *json, const char *key);
void serve_json_end(struct serve_json *json); /* of the innermost */
void serve_json_text(struct serve_json *json, const char *key, struct str text);
void serve_json_cstr(struct serve_json *json, const char *key, const char *text); /* NULL: null */
void serve_json_int(struct serve_json *json, const char *key, int64_t number);
/* Rounded to 6 decimals below 1e9 (exact there, and quick), else 9 significant digits; NaN and infinities: null. */
void serve_json_number(struct serve_json *json, const char *key, double number);
void serve_json_bool(struct serve_json *json, const char *key, bool is_true);
void serve_json_null(struct serve_json *json, const char *key);
void serve_json_raw(struct serve_json *json, const char *key, struct str value); /* JSON already */

#endif
