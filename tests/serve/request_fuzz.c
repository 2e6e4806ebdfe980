/* Bytes of a client, against the whole of serve/ but the sockets: parser, routes, handlers, answers. The same bytes go to one
 * connection at once and to another in pieces, with sends that are done at once or later: what comes back must be the same.
 * The first byte chooses the pieces, the second what the bytes follow, so that deep places are reached soon. */
#include <stdlib.h>

#include "base/mem.h"
#include "serve/internal.h"
#include "tests/serve/support.h"

/* LINK: libuv llhttp */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD_MAX = 1024, BODY_MAX = 512, TAKEN_MAX = 1024 * 1024 };

static struct serve serve;
static struct rig rig;
static struct buf taken[2]; /* what each connection was sent */
static struct buf *into;
static bool is_later; /* sends are done by a call of serve__conn_sent */

/* ---- the wire ---- */

static enum serve__sent mem_send(struct serve__conn *conn)
{
    buf_push_str(into, conn->sending[0]);
    buf_push_str(into, conn->sending[1]);
    /* 100 Continue alone is sent from a state in which later is not allowed. */
    return is_later && conn->state != SERVE__BODY ? SERVE__SENT_LATER : SERVE__SENT_ALL;
}

static void mem_read(struct serve__conn *conn, bool is_on)
{
    conn->is_reading = is_on;
}

static void mem_shut(struct serve__conn *conn)
{
    (void)conn;
    buf_push_text(into, "<end>");
}

static void mem_close(struct serve__conn *conn)
{
    (void)conn;
}

static int64_t mem_now_ms(const struct serve *any)
{
    (void)any;
    return 1000;
}

static const struct serve__wire wire = {mem_send, mem_read, mem_shut, mem_close, mem_now_ms};

static void start(void)
{
    static const struct serve_file page = {"/page", "text/html", (const uint8_t *)"<p>", 3};
    if (serve.wire) return;
    rig_init(&rig);
    rig.options.n_routes = RIG_ROUTES - 1; /* a row that logs errors is not wanted here */
    rig.options.files = &page;
    rig.options.n_files = 1;
    rig.options.cors_origin = "*";
    rig.options.limits =
        (struct serve_limits){.head = HEAD_MAX, .body = BODY_MAX, .answer = 64 * 1024};
    rig.serve = &serve;
    serve__init(&serve, &rig.options, &wire);
    buf_init(&taken[0], TAKEN_MAX);
    buf_init(&taken[1], TAKEN_MAX);
}

/* ---- a client ---- */

static const char *const openings[] = {
    "",
    "GET ",
    "GET /hello/",
    "GET /hello/ann?",
    "GET /open HTTP/1.1\r\nHost: a\r\n",
    "GET /open HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /page HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nIf-None-Match: ",
    "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n",
    "OPTIONS /echo HTTP/1.1\r\nHost: a\r\nOrigin: x\r\n",
    "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n",
    "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nExpect: "
    "100-continue\r\nContent-Length: 9\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: "
    "chunked\r\n\r\n",
    "POST /late HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: "
    "2\r\n\r\n{}GET ",
};

/* What the loop would do: sends that end, held answers that come. */
static void settle(struct serve__conn *conn)
{
    for (;;) {
        struct serve_request *held = serve_held(&serve, rig.ticket);
        if (conn->is_sending) {
            serve__conn_sent(conn);
        } else if (held) {
            buf_push_text(serve_reply_body(held), "\"late\"");
            serve_reply(held, 200);
        } else {
            return;
        }
    }
}

static bool is_taking(const struct serve__conn *conn)
{
    return conn->state != SERVE__CLOSED && conn->state != SERVE__LINGERING &&
           conn->state != SERVE__STREAMING;
}

/* pieces 0: all at once; else each of 1 to `pieces` bytes. */
static void talk(const uint8_t *bytes, size_t size, size_t pieces)
{
    struct serve__conn *conn = serve__conn_take(&serve);
    unsigned turn = 7;
    serve__conn_begin(conn);
    for (size_t at = 0; at < size && is_taking(conn);) {
        size_t room, n = pieces ? 1 + (turn = turn * 31 + 17) % pieces : size;
        char *to = serve__parser_room(&conn->parser, &room);
        if (n > size - at) n = size - at;
        if (n > room) n = room;
        if (n == 0) abort();
        memcpy(to, bytes + at, n);
        serve__conn_fed(conn, n);
        at += n;
        settle(conn);
    }
    serve__streams_flush(&serve);
    settle(conn);
    serve__conn_ended(conn);
    serve__conn_close(conn);
    serve__conn_closed(conn);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t bytes[8192];
    if (size < 2 || size > 4096) return 0;
    start();
    const char *opening = openings[data[1] % (sizeof openings / sizeof openings[0])];
    size_t n = strlen(opening);
    memcpy(bytes, opening, n);
    memcpy(bytes + n, data + 2, size - 2);
    for (int i = 0; i < 2; i++) {
        into = &taken[i];
        buf_reset(into);
        is_later = i == 1 && (data[0] & 1);
        talk(bytes, n + size - 2, i == 0 ? 0 : 1 + (data[0] >> 1) % 64);
    }
    if (taken[0].len != taken[1].len ||
        (taken[0].len && memcmp(taken[0].data, taken[1].data, taken[0].len) != 0))
        abort();
    if (taken[0].len && memcmp(taken[0].data, "HTTP/1.1 ", 9) != 0) abort();
    if (serve.n_open != 0 || serve.numbers.held != 0 || serve.numbers.streams != 0 ||
        serve.n_live != 0)
        abort();
    return 0;
}
