/* A connection, from its first byte to its end: which state follows which, what bounds each, and the way of a request through
 * parser, checks, handler and answer. No libuv here: bytes come by serve__conn_fed and go by serve->wire. */
#include <assert.h>
#include <strings.h>

#include "base/clock.h"
#include "base/log.h"
#include "serve/internal.h"

enum {
    LINGER_MS = 1000,
    DRAIN_MS = 100 /* after a stop: what a client sent before it could know of it is answered */
};

/* ---- states ---- */

static const char *const state_names[SERVE__STATES] = {
    "free", "idle", "head", "body", "handling", "writing", "streaming", "lingering", "closed"};

#define TO(state) (1u << SERVE__##state)

/* From the row's state to those named. Every state but FREE may end in CLOSED. */
static const unsigned legal_moves[SERVE__STATES] = {
    [SERVE__FREE] = TO(IDLE),
    [SERVE__IDLE] = TO(HEAD) | TO(WRITING) | TO(CLOSED),
    [SERVE__HEAD] = TO(BODY) | TO(WRITING) | TO(CLOSED),
    [SERVE__BODY] = TO(HANDLING) | TO(WRITING) | TO(CLOSED),
    [SERVE__HANDLING] = TO(WRITING) | TO(STREAMING) | TO(CLOSED),
    [SERVE__WRITING] = TO(IDLE) | TO(LINGERING) | TO(CLOSED),
    [SERVE__STREAMING] = TO(LINGERING) | TO(CLOSED),
    [SERVE__LINGERING] = TO(CLOSED),
    [SERVE__CLOSED] = TO(FREE),
};

static int64_t time_of(const struct serve *serve, enum serve__state state)
{
    const struct serve_limits *limits = &serve->options.limits;
    switch (state) {
    case SERVE__IDLE:
        return limits->idle_ms;
    case SERVE__HEAD:
        return limits->head_ms;
    case SERVE__BODY:
        return limits->body_ms;
    case SERVE__HANDLING:
        return limits->hold_ms;
    case SERVE__WRITING:
        return limits->write_ms;
    case SERVE__LINGERING:
        return LINGER_MS;
    default:
        return INT64_MAX / 2;
    }
}

/* Does it count against the limit? What is on its way out does not. */
static int is_live(enum serve__state state)
{
    return state != SERVE__FREE && state != SERVE__LINGERING && state != SERVE__CLOSED;
}

/* The deadline of a state counts from the move into it, whatever bytes come. */
void serve__conn_move(struct serve__conn *conn, enum serve__state to)
{
    struct serve *serve = conn->serve;
    struct serve__list *from_list = serve__list_of(serve, conn->state),
                       *to_list = serve__list_of(serve, to);
    log_debug("serve", "connection", "slot=%u from=%s to=%s", conn->slot, state_names[conn->state],
              state_names[to]);
    assert(legal_moves[conn->state] & 1u << to);
    if (from_list != to_list) {
        serve__list_remove(from_list, conn);
        serve__list_push(to_list, conn);
    }
    serve->n_live += is_live(to) - is_live(conn->state);
    serve->numbers.streams += (to == SERVE__STREAMING) - (conn->state == SERVE__STREAMING);
    conn->state = to;
    conn->deadline_ms = serve->wire->now_ms(serve) + time_of(serve, to);
}

/* ---- the request's checks, before its body is read ---- */

static bool token_is_right(const struct serve__conn *conn)
{
    struct str want = str_of(conn->serve->options.token);
    const struct str *value = serve__parser_header(&conn->parser, STR("authorization"));
    if (value == NULL || value->len < 7 || strncasecmp(value->ptr, "Bearer ", 7) != 0) return false;
    struct str given = {value->ptr + 7, value->len - 7};
    unsigned differ = given.len != want.len;
    /* As long for a wrong token as for the right one, so that its letters cannot be found one by one. */
    for (size_t i = 0; i < given.len; i++)
        differ |=
            (unsigned char)given.ptr[i] ^ (unsigned char)want.ptr[want.len ? i % want.len : 0];
    return differ == 0;
}

/* 0: another one. */
static bool method_of(const struct serve__conn *conn, enum serve_method *method, bool *is_head,
                      bool *is_options)
{
    llhttp_method_t given = (llhttp_method_t)conn->parser.http.method;
    *is_head = given == HTTP_HEAD;
    *is_options = given == HTTP_OPTIONS;
    *method = SERVE_GET;
    if (given == HTTP_POST) *method = SERVE_POST;
    if (given == HTTP_PUT) *method = SERVE_PUT;
    if (given == HTTP_DELETE) *method = SERVE_DELETE;
    return *method != SERVE_GET || given == HTTP_GET || *is_head || *is_options;
}

/* The target as path and query: "/a?b", or "http://host/a?b" from clients that take us for a proxy. */
static void target_split(struct str target, struct str *path, struct str *query)
{
    const char *end = target.ptr + target.len;
    if (target.len && target.ptr[0] != '/') {
        const char *host = memchr(target.ptr, ':', target.len);
        if (host && end - host > 3 && host[1] == '/' && host[2] == '/') {
            const char *slash = memchr(host + 3, '/', (size_t)(end - host - 3));
            target = slash ? (struct str){slash, (size_t)(end - slash)} : STR("/");
        }
    }
    const char *mark = memchr(target.ptr, '?', target.len);
    size_t len = mark ? (size_t)(mark - target.ptr) : target.len;
    *path = (struct str){target.ptr, len};
    *query = mark ? (struct str){mark + 1, target.len - len - 1} : (struct str){target.ptr, 0};
}

static void allow_header(struct serve_request *request, const char *name)
{
    static const char *const names[SERVE_METHODS] = {"GET, HEAD", "POST", "PUT", "DELETE"};
    char text[64];
    size_t n = 0;
    for (int m = 0; m < SERVE_METHODS; m++) {
        size_t len = strlen(names[m]);
        if (!(request->allowed & 1u << m) || n + len + 4 > sizeof text) continue;
        if (n) text[n++] = ',', text[n++] = ' ';
        memcpy(text + n, names[m], len);
        n += len;
    }
    serve_reply_header(request, name, (struct str){text, n});
}

/* OPTIONS: what is allowed, and of a page elsewhere what its browser asks before it calls. */
static void options_answer(struct serve_request *request)
{
    allow_header(request, "Allow");
    if (request->has_origin) {
        allow_header(request, "Access-Control-Allow-Methods");
        serve_reply_header(request, "Access-Control-Allow-Headers",
                           STR("authorization, content-type"));
        serve_reply_header(request, "Access-Control-Max-Age", STR("600"));
    }
    serve_reply_as(request, 204, NULL);
}

static bool has_body(const struct serve__conn *conn)
{
    return (conn->parser.http.flags & F_CHUNKED) || conn->parser.http.content_length > 0;
}

/* A body must say that it is JSON: that also keeps other sites' plain forms from posting here. */
static bool type_is_json(const struct serve__conn *conn)
{
    const struct str *value = serve__parser_header(&conn->parser, STR("content-type"));
    static const char json[] = "application/json";
    size_t len = sizeof json - 1;
    if (value == NULL || value->len < len || strncasecmp(value->ptr, json, len) != 0) return false;
    return value->len == len || value->ptr[len] == ';' || value->ptr[len] == ' ';
}

/* true: the route may go on. */
static bool body_check(struct serve_request *request)
{
    struct serve__conn *conn = request->conn;
    const struct str *expect = serve__parser_header(&conn->parser, STR("expect"));
    if (request->row->route->body == NULL) {
        if (has_body(conn)) serve_reply_error(request, 413, "no body is taken here");
        return !request->is_answered;
    }
    if (!type_is_json(conn)) {
        serve_reply_error(request, 415,
                          "the body must be JSON, with Content-Type: application/json");
        return false;
    }
    if (expect == NULL || !has_body(conn)) return true;
    if (expect->len != 12 || strncasecmp(expect->ptr, "100-continue", 12) != 0) {
        serve_reply_error(request, 417, "of expectations 100-continue alone is known");
        return false;
    }
    conn->sending[0] = STR("HTTP/1.1 100 Continue\r\n\r\n");
    conn->sending[1] = (struct str){NULL, 0};
    /* Nothing else is on its way: a client that has no room for these bytes takes none. */
    if (conn->serve->wire->send(conn) != SERVE__SENT_ALL) serve__conn_close(conn);
    return conn->state != SERVE__CLOSED;
}

static bool route_check(struct serve_request *request, enum serve_method method, struct str path,
                        struct str query)
{
    struct serve *serve = request->conn->serve;
    int status = serve__route(&serve->routes, request, method, path);
    bool is_open = request->row && request->row->route->is_open;
    if (serve->options.token[0] && !is_open && !token_is_right(request->conn)) {
        serve_reply_header(request, "WWW-Authenticate", STR("Bearer"));
        serve_reply_error(request, 401, "Authorization: Bearer TOKEN is needed");
        return false;
    }
    if (status == 200) status = serve__route_query(request, query);
    if (status == 200) return body_check(request);
    if (status == 405) allow_header(request, "Allow");
    if (status == 400)
        serve_reply_error(request, 400, "%.*s", STR_ARG(request->why));
    else
        serve_reply_error(request, status,
                          status == 405 ? "another method is taken here"
                                        : "there is nothing here; /openapi.json lists the paths");
    return false;
}

/* Answers what needs no handler and what is refused; true: the body may be read and a handler called. */
static bool head_check(struct serve__conn *conn)
{
    struct serve *serve = conn->serve;
    struct serve_request *request = &conn->request;
    struct str query;
    bool is_options;
    request->is_last =
        request->is_last || serve->is_stopping || !llhttp_should_keep_alive(&conn->parser.http);
    if (!method_of(conn, &request->method, &request->is_head, &is_options)) {
        request->is_last = true;
        serve_reply_error(request, 501, "this method is not known here");
        return false;
    }
    target_split(conn->parser.target, &request->path, &query);
    if (serve->options.cors_origin[0] && serve__parser_header(&conn->parser, STR("origin")))
        request->has_origin = true;
    if (is_options) {
        (void)serve__route(&serve->routes, request, SERVE_GET, request->path);
        request->row = NULL;
        options_answer(request);
        return false;
    }
    if (request->method == SERVE_GET && !has_body(conn) &&
        serve__files_answer(&serve->files, request, request->path))
        return false;
    return route_check(request, request->method, request->path, query);
}

/* ---- a request's way ---- */

static void request_begin(struct serve__conn *conn)
{
    struct serve_request *request = &conn->request;
    request->conn = conn;
    request->row = NULL;
    request->is_head = request->is_held = request->is_answered = request->is_last =
        request->has_origin = false;
    request->n_extra = 0;
    request->path = (struct str){"", 0};
    request->begun_ns = clock_mono_ns();
    request->why = (struct str){"", 0};
    buf_reset(&conn->out);
    (void)buf_reserve(&conn->out, SERVE__HEAD_ROOM);
    conn->out.len = SERVE__HEAD_ROOM;
}

static void protocol_error(struct serve__conn *conn, int status, const char *text)
{
    conn->serve->numbers.bad++;
    conn->request.is_last = true;
    serve_reply_error(&conn->request, status, "%s", text);
}

static void handle(struct serve__conn *conn)
{
    struct serve_request *request = &conn->request;
    request->begun_ns = clock_mono_ns();
    serve__conn_move(conn, SERVE__HANDLING);
    request->row->route->handle(conn->serve->options.context, request);
    if (request->is_answered || request->is_held) return;
    log_error("serve", "a handler gave no answer", "path=%s", request->row->route->path);
    serve_reply_error(request, 500, "no answer was found");
}

/* Goes on with the bytes that are there. true: look again, the state has moved. */
static bool parse(struct serve__conn *conn)
{
    enum serve__parsed parsed = serve__parser_turn(&conn->parser);
    if (parsed == SERVE__PARSED_HEAD) {
        serve__conn_move(conn, SERVE__BODY);
        /* Without a body the request is complete now, so that whatever the answer is, another one may follow. */
        if (!has_body(conn)) parsed = serve__parser_turn(&conn->parser);
        if (parsed != SERVE__PARSED_BAD && !head_check(conn)) return true;
    }
    if (parsed == SERVE__PARSED_DONE) handle(conn);
    if (parsed == SERVE__PARSED_BAD)
        protocol_error(conn, conn->parser.bad_status, conn->parser.bad_text);
    return parsed != SERVE__PARSED_MORE;
}

/* The answer is out: the next request, or the end. */
static void finish(struct serve__conn *conn)
{
    conn->generation++;
    if (conn->request.is_last || conn->is_ended || conn->serve->is_stopping) {
        serve__conn_move(conn, SERVE__LINGERING);
        if (conn->is_ended)
            serve__conn_close(conn);
        else
            conn->serve->wire->shut(conn);
        return;
    }
    serve__conn_move(conn, SERVE__IDLE);
    serve__parser_next(&conn->parser);
}

static bool turn(struct serve__conn *conn)
{
    switch (conn->state) {
    case SERVE__IDLE:
        if (conn->parser.filled == 0) return false;
        request_begin(conn);
        serve__conn_move(conn, SERVE__HEAD);
        return true;
    case SERVE__HEAD:
    case SERVE__BODY:
        return parse(conn);
    case SERVE__WRITING:
        if (conn->is_sending) return false;
        finish(conn);
        return true;
    default:
        return false;
    }
}

/* Handlers answer within a turn, so the loop is here and nowhere deeper. */
static void pump(struct serve__conn *conn)
{
    size_t room;
    if (conn->is_pumping) return;
    conn->is_pumping = true;
    while (turn(conn))
        ;
    conn->is_pumping = false;
    if (conn->state == SERVE__CLOSED || conn->state == SERVE__FREE || conn->is_ended) return;
    bool is_dropping = conn->state == SERVE__LINGERING || conn->state == SERVE__STREAMING;
    conn->serve->wire->read(conn, is_dropping || serve__parser_room(&conn->parser, &room) != NULL);
}

void serve__conn_answer(struct serve__conn *conn)
{
    struct serve *serve = conn->serve;
    struct serve_request *request = &conn->request;
    int64_t us = (int64_t)((clock_mono_ns() - request->begun_ns) / 1000);
    int row = request->row ? (int)(request->row - serve->routes.rows) : -1;
    if (request->is_held) serve->numbers.held--;
    request->is_held = false;
    serve->numbers.requests++;
    serve->numbers.sent_bytes += (int64_t)(conn->sending[0].len + conn->sending[1].len);
    if (conn->state != SERVE__STREAMING) serve__conn_move(conn, SERVE__WRITING);
    enum serve__sent sent = serve->wire->send(conn);
    conn->is_sending = sent == SERVE__SENT_LATER;
    if (serve->options.observe)
        serve->options.observe(serve->options.context, row, request->status, us);
    if (sent == SERVE__SENT_FAILED) serve__conn_close(conn);
    pump(conn);
}

/* ---- what happens to a connection ---- */

void serve__conn_begin(struct serve__conn *conn)
{
    serve__parser_reset(&conn->parser);
    conn->is_sending = conn->is_reading = conn->is_ended = false;
    request_begin(conn);
    serve__conn_move(conn, SERVE__IDLE);
    /* A newcomer is to speak as promptly as one who has begun. */
    conn->deadline_ms =
        conn->serve->wire->now_ms(conn->serve) + conn->serve->options.limits.head_ms;
    pump(conn);
}

void serve__conn_fed(struct serve__conn *conn, size_t n)
{
    if (conn->state == SERVE__LINGERING || conn->state == SERVE__STREAMING ||
        conn->state == SERVE__CLOSED)
        return;
    conn->parser.filled += n;
    pump(conn);
}

void serve__conn_sent(struct serve__conn *conn)
{
    conn->is_sending = false;
    if (conn->state == SERVE__STREAMING)
        serve__stream_sent(conn);
    else
        pump(conn);
}

void serve__conn_ended(struct serve__conn *conn)
{
    conn->is_ended = true;
    if (conn->state != SERVE__HANDLING && conn->state != SERVE__WRITING) serve__conn_close(conn);
}

void serve__conn_lost(struct serve__conn *conn)
{
    serve__conn_close(conn);
}

void serve__conn_close(struct serve__conn *conn)
{
    if (conn->state == SERVE__CLOSED || conn->state == SERVE__FREE) return;
    if (conn->request.is_held) conn->serve->numbers.held--;
    conn->request.is_held = false;
    conn->generation++;
    serve__conn_move(conn, SERVE__CLOSED);
    conn->serve->wire->close(conn);
}

/* Back to the pool; a buffer that one great answer blew up is not kept. */
void serve__conn_closed(struct serve__conn *conn)
{
    enum { KEPT = 128 * 1024 };
    if (conn->out.cap > KEPT) buf_fini(&conn->out);
    if (conn->queue.cap > KEPT) buf_fini(&conn->queue);
    serve__conn_move(conn, SERVE__FREE);
    conn->serve->n_open--;
}

void serve__conn_late(struct serve__conn *conn)
{
    struct serve *serve = conn->serve;
    switch (conn->state) {
    case SERVE__HEAD:
    case SERVE__BODY:
        serve->numbers.timeouts++;
        conn->request.is_last = true;
        serve_reply_error(&conn->request, 408, "the request took too long");
        return;
    case SERVE__HANDLING:
        serve->numbers.timeouts++;
        conn->request.is_last = true;
        serve_reply_error(&conn->request, 504, "the answer took too long");
        return;
    case SERVE__WRITING:
        serve->numbers.timeouts++;
        serve__conn_close(conn);
        return;
    default:
        serve__conn_close(conn);
    }
}

void serve__conn_stop(struct serve__conn *conn)
{
    conn->request.is_last = true;
    if (conn->state == SERVE__STREAMING) serve__conn_close(conn);
    if (conn->state == SERVE__IDLE)
        conn->deadline_ms = conn->serve->wire->now_ms(conn->serve) + DRAIN_MS;
}

/* ---- tickets ---- */

uint64_t serve_hold(struct serve_request *request)
{
    struct serve__conn *conn = request->conn;
    assert(!request->is_answered && !request->is_held);
    request->is_held = true;
    conn->serve->numbers.held++;
    return ((uint64_t)conn->generation << 32 | conn->slot) + 1;
}

struct serve_request *serve_held(struct serve *serve, uint64_t ticket)
{
    uint32_t slot = (uint32_t)((ticket - 1) & UINT32_MAX),
             generation = (uint32_t)((ticket - 1) >> 32);
    if (ticket == 0 || slot >= (uint32_t)serve->n_slots || serve->conns[slot] == NULL) return NULL;
    struct serve__conn *conn = serve->conns[slot];
    bool is_it =
        conn->generation == generation && conn->state == SERVE__HANDLING && conn->request.is_held;
    return is_it ? &conn->request : NULL;
}
