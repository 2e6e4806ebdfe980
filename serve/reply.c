/* Answers. The body is written first, behind room for the head; the head is then put right before it, so that both go out
 * as one run of bytes. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "base/log.h"
#include "serve/internal.h"

/* ---- statuses ---- */

struct status {
    int number;
    const char *line; /* of the head */
    const char *code; /* of error bodies */
};

static const struct status statuses[] = {
    {200, "HTTP/1.1 200 OK\r\n", "ok"},
    {202, "HTTP/1.1 202 Accepted\r\n", "accepted"},
    {204, "HTTP/1.1 204 No Content\r\n", "no_content"},
    {304, "HTTP/1.1 304 Not Modified\r\n", "not_modified"},
    {400, "HTTP/1.1 400 Bad Request\r\n", "bad_request"},
    {401, "HTTP/1.1 401 Unauthorized\r\n", "unauthorized"},
    {403, "HTTP/1.1 403 Forbidden\r\n", "forbidden"},
    {404, "HTTP/1.1 404 Not Found\r\n", "not_found"},
    {405, "HTTP/1.1 405 Method Not Allowed\r\n", "method_not_allowed"},
    {408, "HTTP/1.1 408 Request Timeout\r\n", "timeout"},
    {409, "HTTP/1.1 409 Conflict\r\n", "conflict"},
    {413, "HTTP/1.1 413 Content Too Large\r\n", "too_large"},
    {415, "HTTP/1.1 415 Unsupported Media Type\r\n", "unsupported_media_type"},
    {417, "HTTP/1.1 417 Expectation Failed\r\n", "expectation_failed"},
    {422, "HTTP/1.1 422 Unprocessable Content\r\n", "unprocessable"},
    {429, "HTTP/1.1 429 Too Many Requests\r\n", "too_many_requests"},
    {431, "HTTP/1.1 431 Request Header Fields Too Large\r\n", "headers_too_large"},
    {500, "HTTP/1.1 500 Internal Server Error\r\n", "internal"},
    {501, "HTTP/1.1 501 Not Implemented\r\n", "not_implemented"},
    {503, "HTTP/1.1 503 Service Unavailable\r\n", "unavailable"},
    {504, "HTTP/1.1 504 Gateway Timeout\r\n", "timeout"},
    {505, "HTTP/1.1 505 HTTP Version Not Supported\r\n", "version_not_supported"},
};

static const struct status *status_find(int number)
{
    size_t i = 0, n = sizeof statuses / sizeof statuses[0];
    while (i < n && statuses[i].number != number)
        i++;
    assert(i < n && "handlers answer with statuses of the table");
    return &statuses[i];
}

const char *serve__status_code(int status)
{
    return status_find(status)->code;
}

/* ---- the head ---- */

/* Room for every line that a head can have: the status, the type (of options and routes, short), and the others here. */
struct head {
    char bytes[SERVE__HEAD_ROOM];
    size_t n;
};

static void put(struct head *head, struct str text)
{
    if (text.len > sizeof head->bytes - head->n) return;
    memcpy(head->bytes + head->n, text.ptr, text.len);
    head->n += text.len;
}

/* The date changes once a second; making it costs more than all the rest of the head. */
static struct str date_line(struct serve *serve)
{
    int64_t now_ms = serve->wire->now_ms(serve);
    if (serve->date[0] == '\0' || now_ms - serve->date_ms >= 500) {
        static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
        static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
        time_t now = time(NULL);
        struct tm utc = {0};
        (void)gmtime_r(&now, &utc);
        (void)snprintf(serve->date, sizeof serve->date, "%s, %02d %s %04d %02d:%02d:%02d GMT",
                       days[utc.tm_wday], utc.tm_mday, months[utc.tm_mon], utc.tm_year + 1900,
                       utc.tm_hour, utc.tm_min, utc.tm_sec);
        serve->date_ms = now_ms;
    }
    return str_of(serve->date);
}

static void head_cors(struct head *head, const struct serve_request *request)
{
    const char *origin = request->conn->serve->options.cors_origin;
    if (!request->has_origin) return;
    put(head, STR("Access-Control-Allow-Origin: "));
    put(head, str_of(origin));
    put(head, strcmp(origin, "*") == 0 ? STR("\r\n") : STR("\r\nVary: Origin\r\n"));
}

/* len < 0: an answer without end. */
static void head_write(struct head *head, const struct serve_request *request, const char *type,
                       int64_t len)
{
    struct serve *serve = request->conn->serve;
    char digits[STR_NUMBER_MAX];
    head->n = 0;
    put(head, str_of(status_find(request->status)->line));
    if (type) {
        put(head, STR("Content-Type: "));
        put(head, str_of(type));
        put(head, STR("\r\n"));
    }
    if (len >= 0 && request->status != 204 && request->status != 304) {
        put(head, STR("Content-Length: "));
        put(head, (struct str){digits, str_put_number(digits, len)});
        put(head, STR("\r\n"));
    }
    put(head, STR("Date: "));
    put(head, date_line(serve));
    put(head, STR("\r\nX-Content-Type-Options: nosniff\r\n"));
    put(head, (struct str){request->extra, request->n_extra});
    head_cors(head, request);
    put(head, request->is_last ? STR("Connection: close\r\n\r\n") : STR("\r\n"));
}

/* Puts the head before what stands in conn->out, and takes both as what is to be sent; more: bytes that lie elsewhere. */
static void send_with_head(struct serve_request *request, const char *type, int64_t len,
                           struct str more)
{
    struct serve__conn *conn = request->conn;
    struct head head;
    head_write(&head, request, type, len);
    size_t from = SERVE__HEAD_ROOM - head.n;
    size_t body = request->is_head ? 0 : conn->out.len - SERVE__HEAD_ROOM;
    memcpy(conn->out.data + from, head.bytes, head.n);
    conn->sending[0] = (struct str){(const char *)conn->out.data + from, head.n + body};
    conn->sending[1] = request->is_head ? (struct str){NULL, 0} : more;
    serve__conn_answer(conn);
}

/* ---- what a handler writes ---- */

struct buf *serve_reply_body(struct serve_request *request)
{
    return &request->conn->out;
}

void serve_reply_header(struct serve_request *request, const char *name, struct str value)
{
    size_t name_len = strlen(name), need = name_len + 2 + value.len + 2;
    assert(strpbrk(name, "\r\n: ") == NULL);
    assert(value.len == 0 ||
           (!memchr(value.ptr, '\r', value.len) && !memchr(value.ptr, '\n', value.len)));
    if (need > sizeof request->extra - request->n_extra) return;
    char *at = request->extra + request->n_extra;
    memcpy(at, name, name_len);
    memcpy(at + name_len, ": ", 2);
    if (value.len) memcpy(at + name_len + 2, value.ptr, value.len);
    memcpy(at + need - 2, "\r\n", 2);
    request->n_extra += need;
}

/* What was written before, if anything, is dropped. */
static void body_clear(struct serve_request *request)
{
    struct buf *out = &request->conn->out;
    out->len = SERVE__HEAD_ROOM;
    out->failed = false;
}

static void answer_mark(struct serve_request *request, int status)
{
    assert(!request->is_answered && "a request is answered once");
    request->is_answered = true;
    request->status = status;
    /* Bytes of a body that nobody reads cannot be followed by another request. */
    if (!request->conn->parser.is_done) request->is_last = true;
}

void serve_reply_as(struct serve_request *request, int status, const char *type)
{
    struct buf *out = &request->conn->out;
    if (out->failed) {
        log_error("serve", "an answer is over the limit", "path=\"%.*s\" bytes=%zu",
                  STR_ARG(request->path), out->max);
        serve_reply_error(request, 500, "the answer is too large: ask for less");
        return;
    }
    answer_mark(request, status);
    send_with_head(request, type, (int64_t)(out->len - SERVE__HEAD_ROOM), (struct str){NULL, 0});
}

void serve_reply(struct serve_request *request, int status)
{
    serve_reply_as(request, status, "application/json");
}

void serve_reply_static(struct serve_request *request, int status, const char *type,
                        struct str bytes)
{
    answer_mark(request, status);
    body_clear(request);
    send_with_head(request, type, (int64_t)bytes.len, bytes);
}

void serve_reply_error(struct serve_request *request, int status, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    body_clear(request);
    struct serve_json json = serve_json_begin(&request->conn->out);
    serve_json_object(&json, NULL);
    serve_json_object(&json, "error");
    serve_json_cstr(&json, "code", serve__status_code(status));
    serve_json_cstr(&json, "message", text);
    serve_json_end(&json);
    serve_json_end(&json);
    serve_reply(request, status);
}

void serve_stream_open(struct serve_request *request)
{
    struct serve__conn *conn = request->conn;
    struct serve *serve = conn->serve;
    if (serve->numbers.streams >= serve->options.limits.streams) {
        serve_reply_error(request, 503, "all streams are taken");
        return;
    }
    answer_mark(request, 200);
    body_clear(request);
    serve_reply_header(request, "Cache-Control", STR("no-store"));
    serve_reply_header(request, "X-Accel-Buffering", STR("no"));
    request->is_last = true;
    if (request->is_head) {
        send_with_head(request, "text/event-stream", -1, (struct str){NULL, 0});
        return;
    }
    buf_reset(&conn->queue);
    serve__conn_move(conn, SERVE__STREAMING);
    send_with_head(request, "text/event-stream", -1, STR(": freshet\n\n"));
}
