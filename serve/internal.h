#ifndef SERVE_INTERNAL_H
#define SERVE_INTERNAL_H

#include <llhttp.h>
#include <uv.h>

#include "serve/serve.h"

/* parse.c */

enum { SERVE__HEADERS_MAX = 64 };

struct serve__header {
    struct str name, value; /* in the parser's buffer */
};

enum serve__parsed {
    SERVE__PARSED_MORE, /* all bytes were used, more are needed */
    SERVE__PARSED_HEAD, /* the headers are complete; the next turn goes on with the body */
    SERVE__PARSED_DONE, /* the request is complete; bytes behind it wait until serve__parser_next */
    SERVE__PARSED_BAD,  /* bad_status and bad_text say why; nothing more can be parsed */
};

/* Bytes to requests, one at a time, in one buffer that does not move:
 *
 *   in: | head of this request | its body, chunk frames taken out | not parsed yet, or of later requests | free |
 *       0                      head_len                           parsed                                 filled  cap
 */
struct serve__parser {
    llhttp_t http;
    char *in;
    size_t cap, filled, parsed;
    size_t head_max, body_max;
    size_t head_len;       /* 0: the headers are not complete */
    size_t frame_len;      /* bytes of chunk frames so far */
    const char *turn_from; /* of the body's turn: where it began, */
    size_t turn_had;       /* and how much body there was */
    struct str target;
    struct str body;
    struct serve__header headers[SERVE__HEADERS_MAX];
    int n_headers;
    bool is_in_value; /* the newest header's value has begun */
    bool is_done;
    char before;          /* the last byte that was parsed in an earlier turn */
    int bad_status;       /* 400, 408, 413, 431, 501, 505 */
    const char *bad_text; /* static */
};

void serve__parser_init(struct serve__parser *parser, size_t head_max, size_t body_max);
void serve__parser_fini(struct serve__parser *parser);
/* Forgets all bytes, for another connection. */
void serve__parser_reset(struct serve__parser *parser);
/* Where the next bytes go; NULL and 0: no room until serve__parser_next. Who put some there adds them to `filled`. */
char *serve__parser_room(struct serve__parser *parser, size_t *room);
/* To be repeated until MORE, DONE or BAD. */
enum serve__parsed serve__parser_turn(struct serve__parser *parser);
/* After DONE: forgets the request, moves what lies behind it to the front. */
void serve__parser_next(struct serve__parser *parser);
/* NULL: no such header. name in lower case. */
const struct str *serve__parser_header(const struct serve__parser *parser, struct str name);
/* How many there are. */
int serve__parser_count(const struct serve__parser *parser, struct str name);

/* query.c */

/* Percent codes in place; plus_is_space in queries. false: a broken code, or what they make is no UTF-8 or has control
 * characters. */
bool serve__decode(struct str *text, bool plus_is_space);

/* route.c */

struct serve__value {
    struct str text;
    double number;   /* of NUMBER */
    int64_t integer; /* of INT, BOOL and ENUM (index) */
    bool is_given;
};

struct serve__segment {
    struct str literal; /* ptr NULL: a parameter */
    int param;
};

struct serve__row {
    const struct serve_route *route;
    struct serve__segment segments[SERVE_SEGMENTS_MAX];
    int n_segments;
    int n_params;
    struct serve__value
        fallbacks[SERVE_PARAMS_MAX]; /* what stands for a parameter that is not given */
};

struct serve__routes {
    struct serve__row *rows;
    int n;
};

void serve__routes_init(struct serve__routes *routes, const struct serve_route *table, int n);
void serve__routes_fini(struct serve__routes *routes);
/* Splits and decodes path (in place), finds the row and puts the path's parameters into request->values. Returns the status: 200;
 * 404; 405 with request->allowed set; 400 with the answer's text in request->why. */
int serve__route(const struct serve__routes *routes, struct serve_request *request,
                 enum serve_method method, struct str path);
/* The query string's parameters, decoded in place, and the fallbacks of the others. 200, or 400 with request->why. */
int serve__route_query(struct serve_request *request, struct str query);
/* true when the text is a value of the parameter; else why (a sentence) goes to `why`. */
bool serve__param_check(const struct serve_param *param, struct str text,
                        struct serve__value *value, struct buf *why);

/* openapi.c */

void serve__openapi_write(const struct serve_options *options, struct buf *out);

/* files.c */

struct serve__file {
    const struct serve_file *file;
    uint8_t *zipped; /* NULL: no gain */
    size_t zipped_len;
    char etag[2][24]; /* plain, gzip */
};

struct serve__files {
    struct serve__file *list;
    int n;
};

void serve__files_init(struct serve__files *files, const struct serve_file *table, int n);
void serve__files_fini(struct serve__files *files);
/* Answers when the path is a file's; false: it is none. */
bool serve__files_answer(const struct serve__files *files, struct serve_request *request,
                         struct str path);

/* reply.c */

enum { SERVE__HEAD_ROOM = 1024, SERVE__EXTRA_MAX = 512 };

/* "not_found" */
const char *serve__status_code(int status);

/* conn.c */

enum serve__state {
    SERVE__FREE,      /* in the pool */
    SERVE__IDLE,      /* no byte of a request has come */
    SERVE__HEAD,      /* some of its head */
    SERVE__BODY,      /* the whole head */
    SERVE__HANDLING,  /* the handler has it, or holds it */
    SERVE__WRITING,   /* the answer is on its way */
    SERVE__STREAMING, /* an answer without end */
    SERVE__LINGERING, /* the last answer is out, our side is shut: what still comes is dropped, so that it arrives */
    SERVE__CLOSED, /* waits for libuv to let go */
    SERVE__STATES
};

enum serve__sent { SERVE__SENT_ALL, SERVE__SENT_LATER, SERVE__SENT_FAILED };

struct serve__conn;

/* What carries the bytes: libuv in wire.c; memory in tests. */
struct serve__wire {
    /* The bytes of conn->sending. LATER: serve__conn_sent or serve__conn_lost will be called. */
    enum serve__sent (*send)(struct serve__conn *conn);
    void (*read)(struct serve__conn *conn, bool is_on);
    void (*shut)(struct serve__conn *conn);       /* our side: all is sent */
    void (*close)(struct serve__conn *conn);      /* serve__conn_closed will be called */
    int64_t (*now_ms)(const struct serve *serve); /* monotonic */
};

struct serve_request {
    struct serve__conn *conn;
    const struct serve__row *row; /* NULL: none fitted */
    enum serve_method method;
    bool is_head, is_held, is_answered, is_last; /* is_last: the connection closes after it */
    bool has_origin;                             /* CORS applies */
    int status;                                  /* of the answer */
    unsigned allowed;                            /* bits of methods, for 405 */
    struct str path;
    struct serve__value values[SERVE_PARAMS_MAX];
    uint64_t begun_ns;
    char extra[SERVE__EXTRA_MAX]; /* further header lines */
    size_t n_extra;
    char why_bytes[256]; /* of why */
    struct str why;
};

struct serve__conn {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
    } uv;
    uv_write_t write;
    uv_shutdown_t shutdown;
    struct serve *serve;
    enum serve__state state;
    int64_t deadline_ms;
    uint32_t slot, generation; /* of tickets */
    struct serve__parser parser;
    struct serve_request request;
    struct buf out;   /* SERVE__HEAD_ROOM bytes for the head, then the body */
    struct buf queue; /* of a stream: what goes out next */
    struct str sending[2];
    bool is_sending, is_reading, is_pumping, is_ended; /* is_ended: the client has shut its side */
    bool is_dirty;                                     /* in the list of streams to flush */
    struct serve__conn *next, *prev;                   /* of the list for its state */
    struct serve__conn *next_dirty;
};

/* A new client. */
void serve__conn_begin(struct serve__conn *conn);
/* n bytes were put into the parser's room. */
void serve__conn_fed(struct serve__conn *conn, size_t n);
void serve__conn_sent(struct serve__conn *conn);
/* The client shut its side. */
void serve__conn_ended(struct serve__conn *conn);
/* The connection broke. */
void serve__conn_lost(struct serve__conn *conn);
void serve__conn_closed(struct serve__conn *conn);
/* now is past conn->deadline_ms. */
void serve__conn_late(struct serve__conn *conn);
/* The server stops: streams end, idle ones too unless a request was on its way to them, others after their answer. */
void serve__conn_stop(struct serve__conn *conn);
void serve__conn_close(struct serve__conn *conn);
void serve__conn_move(struct serve__conn *conn, enum serve__state to);
/* conn->sending is the answer; goes out. */
void serve__conn_answer(struct serve__conn *conn);

/* sse.c */

/* Every stream with something in its queue sends it; beats: also a comment to those that were silent. */
void serve__streams_flush(struct serve *serve);
void serve__streams_beat(struct serve *serve);
void serve__stream_sent(struct serve__conn *conn);

/* serve.c */

/* A ring of connections; `next` of the head is the longest there. */
struct serve__list {
    struct serve__conn *first, *last;
};

struct serve {
    struct serve_options options; /* limits filled in */
    const struct serve__wire *wire;
    struct uv_loop_s *loop;
    uv_tcp_t listener;
    uv_timer_t ticker;
    uv_prepare_t flusher;
    int n_handles; /* of these, not closed yet */
    int port;
    struct serve__routes routes;
    struct serve__files files;
    struct buf openapi;
    struct serve__conn **conns; /* by slot; NULL: not made yet */
    int n_slots, n_made;
    int n_open; /* connections not in the pool */
    int n_live; /* of these, not on their way out */
    struct serve__list pool, idle, busy, streams;
    struct serve__conn *dirty;
    struct serve_numbers numbers;
    char date[96];   /* "Sun, 06 Nov 1994 08:49:37 GMT"; room for what gcc thinks a year may be */
    int64_t date_ms; /* when it was made */
    int64_t beat_ms; /* of the last heartbeat */
    bool is_waiting; /* a client, for a connection to come free */
    bool is_stopping, is_done;
    int64_t stop_ms; /* when what is left is cut off */
    void (*done)(void *context);
    void *done_context;
};

void serve__list_push(struct serve__list *list, struct serve__conn *conn);
void serve__list_remove(struct serve__list *list, struct serve__conn *conn);
struct serve__list *serve__list_of(struct serve *serve, enum serve__state state);
/* A connection for a new client, or NULL: no room. */
struct serve__conn *serve__conn_take(struct serve *serve);
void serve__tick(struct serve *serve);
/* The parts without sockets. */
void serve__init(struct serve *serve, const struct serve_options *options,
                 const struct serve__wire *wire);
void serve__fini(struct serve *serve);

/* wire.c */

extern const struct serve__wire serve__wire_uv;
MUST_USE bool serve__wire_open(struct serve *serve, struct err *err);
void serve__wire_stop(struct serve *serve);  /* no more clients */
void serve__wire_close(struct serve *serve); /* the handles that are not connections */

#endif
