/* Bytes to requests, one at a time. llhttp, the parser of Node.js, does the syntax; here are the limits, the checks that its
 * versions differ in or that it leaves out, and the body made whole in place. Nothing is copied but bytes of chunked
 * bodies, which close up over their frames. */
#include <assert.h>
#include <strings.h>

#include "base/mem.h"
#include "serve/internal.h"

/* Behind the longest head and body: frames of chunks that are being parsed, and what clients send ahead. */
enum { BEHIND = 8 * 1024 };

/* One text for all that may be found first, depending on how the bytes were cut. */
static const char bad_chunks[] = "the chunks are malformed, too small, or followed by header lines";
static const char too_long[] = "the headers are too long, or more than 64 lines";

static struct serve__parser *parser_of(llhttp_t *http)
{
    return http->data;
}

static int bad(struct serve__parser *parser, int status, const char *text)
{
    parser->bad_status = status;
    parser->bad_text = text;
    return HPE_USER;
}

/* ---- what llhttp reports ---- */

/* A run goes on when the bytes lie behind it; they do, as the buffer does not move. */
static void extend(struct str *run, const char *at, size_t len)
{
    if (run->ptr == NULL) run->ptr = at;
    run->len = (size_t)(at + len - run->ptr);
}

static int on_url(llhttp_t *http, const char *at, size_t len)
{
    extend(&parser_of(http)->target, at, len);
    return 0;
}

static int on_header_field(llhttp_t *http, const char *at, size_t len)
{
    struct serve__parser *parser = parser_of(http);
    if (parser->head_len) return bad(parser, 400, bad_chunks);
    if (parser->n_headers == 0 || parser->is_in_value) {
        if (parser->n_headers == SERVE__HEADERS_MAX) return bad(parser, 431, too_long);
        parser->headers[parser->n_headers++] = (struct serve__header){{NULL, 0}, {NULL, 0}};
        parser->is_in_value = false;
    }
    extend(&parser->headers[parser->n_headers - 1].name, at, len);
    return 0;
}

static int on_header_value(llhttp_t *http, const char *at, size_t len)
{
    struct serve__parser *parser = parser_of(http);
    parser->is_in_value = true;
    extend(&parser->headers[parser->n_headers - 1].value, at, len);
    return 0;
}

static int on_header_value_complete(llhttp_t *http)
{
    parser_of(http)->is_in_value = true;
    return 0;
}

/* An offer to change the protocol is declined by answering as if it had not been made. */
static int on_headers_complete(llhttp_t *http)
{
    if (http->method != HTTP_CONNECT) http->upgrade = 0;
    return HPE_PAUSED;
}

/* Bytes of chunk frames up to `at`, in this turn and before. */
static size_t frames_len(const struct serve__parser *parser, const char *at)
{
    return parser->frame_len + (size_t)(at - parser->turn_from) -
           (parser->body.len - parser->turn_had);
}

/* The frames around many small chunks may not cost more than the bytes are worth. */
static bool frames_fit(const struct serve__parser *parser, const char *at)
{
    return frames_len(parser, at) <= parser->head_max + parser->body_max;
}

static int on_body(llhttp_t *http, const char *at, size_t len)
{
    struct serve__parser *parser = parser_of(http);
    char *end = parser->in + parser->head_len + parser->body.len;
    if (!frames_fit(parser, at)) return bad(parser, 400, bad_chunks);
    if (len > parser->body_max - parser->body.len) return bad(parser, 413, "the body is too large");
    if (end != at) memmove(end, at, len);
    parser->body.len += len;
    return 0;
}

static int on_message_complete(llhttp_t *http)
{
    parser_of(http)->is_done = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t *callbacks(void)
{
    static const llhttp_settings_t settings = {
        .on_url = on_url,
        .on_header_field = on_header_field,
        .on_header_value = on_header_value,
        .on_header_value_complete = on_header_value_complete,
        .on_headers_complete = on_headers_complete,
        .on_body = on_body,
        .on_message_complete = on_message_complete,
    };
    return &settings;
}

/* ---- the buffer ---- */

void serve__parser_init(struct serve__parser *parser, size_t head_max, size_t body_max)
{
    *parser = (struct serve__parser){.head_max = head_max, .body_max = body_max};
    parser->cap = head_max + body_max + BEHIND;
    parser->in = mem_alloc(parser->cap);
    serve__parser_reset(parser);
}

void serve__parser_fini(struct serve__parser *parser)
{
    mem_free(parser->in);
}

static void request_forget(struct serve__parser *parser)
{
    llhttp_init(&parser->http, HTTP_REQUEST, callbacks());
    parser->http.data = parser;
    parser->parsed = parser->head_len = parser->frame_len = 0;
    parser->target = parser->body = (struct str){NULL, 0};
    parser->n_headers = 0;
    parser->is_in_value = parser->is_done = false;
    parser->before = 0;
    parser->bad_status = 0;
    parser->bad_text = NULL;
}

void serve__parser_reset(struct serve__parser *parser)
{
    parser->filled = 0;
    request_forget(parser);
}

char *serve__parser_room(struct serve__parser *parser, size_t *room)
{
    *room = parser->cap - parser->filled;
    return *room ? parser->in + parser->filled : NULL;
}

void serve__parser_next(struct serve__parser *parser)
{
    size_t left = parser->filled - parser->parsed;
    assert(parser->is_done);
    if (left) memmove(parser->in, parser->in + parser->parsed, left);
    parser->filled = left;
    request_forget(parser);
}

/* ---- headers ---- */

static bool is_name(struct str a, struct str b)
{
    return a.len == b.len && strncasecmp(a.ptr, b.ptr, a.len) == 0;
}

const struct str *serve__parser_header(const struct serve__parser *parser, struct str name)
{
    for (int i = 0; i < parser->n_headers; i++)
        if (is_name(parser->headers[i].name, name)) return &parser->headers[i].value;
    return NULL;
}

int serve__parser_count(const struct serve__parser *parser, struct str name)
{
    int n = 0;
    for (int i = 0; i < parser->n_headers; i++)
        n += is_name(parser->headers[i].name, name);
    return n;
}

/* ---- the head ---- */

/* Lines end in CR LF and nothing else; none begins with a space (a folded line); no control character but tab. The empty
 * lines that may stand before a request are skipped. true: so it is; *first: where the request begins. */
static bool has_clean_lines(const char *head, size_t len, size_t *first)
{
    size_t i = 0;
    while (i + 1 < len && head[i] == '\r' && head[i + 1] == '\n')
        i += 2;
    *first = i;
    for (; i < len; i++) {
        unsigned char c = (unsigned char)head[i];
        if ((c >= ' ' && c != 0x7f) || c == '\t') continue;
        if (c != '\r' || i + 1 == len || head[i + 1] != '\n') return false;
        i++;
        if (i + 1 < len && (head[i + 1] == ' ' || head[i + 1] == '\t')) return false;
    }
    return true;
}

static bool has_names(const struct serve__parser *parser)
{
    for (int i = 0; i < parser->n_headers; i++)
        if (parser->headers[i].name.len == 0) return false;
    return true;
}

/* Space at the end of a value belongs to the line (RFC 9112, 5); llhttp takes off what stands before. */
static void values_trim(struct serve__parser *parser)
{
    for (int i = 0; i < parser->n_headers; i++) {
        struct str *value = &parser->headers[i].value;
        while (value->len &&
               (value->ptr[value->len - 1] == ' ' || value->ptr[value->len - 1] == '\t'))
            value->len--;
    }
}

/* What RFC 9112 wants of a request that llhttp took, and the two ways to state a length, of which one alone is taken. */
static bool head_check(struct serve__parser *parser)
{
    static const struct str te = {"transfer-encoding", 17}, host = {"host", 4},
                            cl = {"content-length", 14};
    const llhttp_t *http = &parser->http;
    size_t first;
    const struct str *coding = serve__parser_header(parser, te);
    values_trim(parser);
    if (!has_clean_lines(parser->in, parser->head_len, &first))
        return bad(parser, 400,
                   "a header line is folded, not ended by CR LF, or has control characters"),
               false;
    if (!has_names(parser)) return bad(parser, 400, "a header line has no name"), false;
    if (http->http_major != 1)
        return bad(parser, 505, "HTTP/1.1 and HTTP/1.0 are spoken here"), false;
    size_t method = strlen(llhttp_method_name((llhttp_method_t)http->method));
    if (parser->target.ptr != parser->in + first + method + 1)
        return bad(parser, 400, "one space belongs between method and target"), false;
    int hosts = serve__parser_count(parser, host);
    if (hosts > 1 || (hosts == 0 && http->http_minor > 0))
        return bad(parser, 400, "exactly one Host header is needed"), false;
    if (coding && (serve__parser_count(parser, cl) || serve__parser_count(parser, te) > 1))
        return bad(parser, 400, "the body's length is stated twice"), false;
    if (coding && (http->http_minor == 0 || !is_name(*coding, STR("chunked"))))
        return bad(parser, 400, "Transfer-Encoding: chunked alone is taken, in HTTP/1.1"), false;
    if (!coding && http->content_length > parser->body_max)
        return bad(parser, 413, "the body is too large"), false;
    return true;
}

/* ---- turns ---- */

static enum serve__parsed failed(struct serve__parser *parser, llhttp_errno_t code)
{
    if (parser->bad_status) return SERVE__PARSED_BAD;
    if (code == HPE_PAUSED_UPGRADE || code == HPE_PAUSED_H2_UPGRADE)
        (void)bad(parser, 501, "CONNECT and HTTP/2 are not spoken here");
    else
        (void)bad(parser, 400, llhttp_get_error_reason(&parser->http));
    return SERVE__PARSED_BAD;
}

static enum serve__parsed turn_head(struct serve__parser *parser)
{
    llhttp_errno_t code =
        llhttp_execute(&parser->http, parser->in + parser->parsed, parser->filled - parser->parsed);
    /* How far it came, so that the outcome is the same however the bytes came. */
    size_t at = parser->filled;
    if (code != HPE_OK) at = (size_t)(llhttp_get_error_pos(&parser->http) - parser->in);
    if (at > parser->head_max) return bad(parser, 431, too_long), SERVE__PARSED_BAD;
    parser->parsed = at;
    if (code == HPE_OK) return SERVE__PARSED_MORE;
    if (code != HPE_PAUSED) return failed(parser, code);
    parser->head_len = at;
    parser->body.ptr = parser->in + at;
    llhttp_resume(&parser->http);
    return head_check(parser) ? SERVE__PARSED_HEAD : SERVE__PARSED_BAD;
}

/* After the last byte of a chunked body llhttp 8 takes a bare LF for the empty line. */
static bool has_clean_end(const struct serve__parser *parser, const char *end)
{
    const char *from = parser->in + parser->parsed;
    if (!(parser->http.flags & F_CHUNKED)) return true;
    char last = end > from ? end[-1] : parser->before;
    char before = end > from + 1 ? end[-2] : parser->before;
    return last == '\n' && before == '\r';
}

static enum serve__parsed turn_body(struct serve__parser *parser)
{
    const char *end = parser->in + parser->filled;
    parser->turn_from = parser->in + parser->parsed;
    parser->turn_had = parser->body.len;
    llhttp_errno_t code =
        llhttp_execute(&parser->http, parser->turn_from, (size_t)(end - parser->turn_from));
    bool is_end = code == HPE_PAUSED && parser->is_done;
    if (is_end) end = llhttp_get_error_pos(&parser->http);
    if (code != HPE_OK && !is_end) {
        if (parser->bad_status == 0) (void)bad(parser, 400, bad_chunks);
        return SERVE__PARSED_BAD;
    }
    if (!frames_fit(parser, end) || (is_end && !has_clean_end(parser, end)))
        return bad(parser, 400, bad_chunks), SERVE__PARSED_BAD;
    if (is_end) {
        parser->parsed = (size_t)(end - parser->in);
        return SERVE__PARSED_DONE;
    }
    /* All is parsed: the next bytes follow the body. */
    if (end > parser->turn_from) parser->before = end[-1];
    parser->frame_len = frames_len(parser, end);
    parser->parsed = parser->filled = parser->head_len + parser->body.len;
    return SERVE__PARSED_MORE;
}

enum serve__parsed serve__parser_turn(struct serve__parser *parser)
{
    if (parser->bad_status) return SERVE__PARSED_BAD;
    if (parser->is_done) return SERVE__PARSED_DONE;
    if (!parser->head_len) {
        if (parser->parsed == parser->filled) return SERVE__PARSED_MORE;
        return turn_head(parser);
    }
    return turn_body(parser);
}
