/* Sockets, by libuv: the only file with its calls. An answer is written at once by uv_try_write; what the socket does not
 * take waits in libuv. */
#include <assert.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "serve/internal.h"

enum { BACKLOG = 511, TICK_MIN_MS = 5, TICK_MAX_MS = 250, HOST_MAX = 256 };

/* Not uv_now, which stands still while a handler works. */
static int64_t now_ms(const struct serve *serve)
{
    (void)serve;
    return (int64_t)(clock_mono_ns() / 1000000);
}

/* ---- writing ---- */

static void on_write(uv_write_t *write, int status)
{
    struct serve__conn *conn = write->data;
    if (conn->state == SERVE__CLOSED) return;
    if (status < 0)
        serve__conn_lost(conn);
    else
        serve__conn_sent(conn);
}

/* The bytes as libuv takes them; from: how many are gone already. */
static unsigned pieces(const struct serve__conn *conn, size_t from, uv_buf_t out[2])
{
    unsigned n = 0;
    for (int i = 0; i < 2; i++) {
        struct str part = conn->sending[i];
        size_t gone = from < part.len ? from : part.len;
        from -= gone;
        if (part.len > gone)
            out[n++] = uv_buf_init((char *)(uintptr_t)part.ptr + gone, (unsigned)(part.len - gone));
    }
    return n;
}

static enum serve__sent wire_send(struct serve__conn *conn)
{
    uv_buf_t bufs[2];
    size_t len = conn->sending[0].len + conn->sending[1].len;
    int sent = uv_try_write(&conn->uv.stream, bufs, pieces(conn, 0, bufs));
    if (sent < 0 && sent != UV_EAGAIN) return SERVE__SENT_FAILED;
    if (sent == UV_EAGAIN) sent = 0;
    if ((size_t)sent == len) return SERVE__SENT_ALL;
    conn->write.data = conn;
    int code =
        uv_write(&conn->write, &conn->uv.stream, bufs, pieces(conn, (size_t)sent, bufs), on_write);
    return code == 0 ? SERVE__SENT_LATER : SERVE__SENT_FAILED;
}

/* ---- reading ---- */

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    static char dropped[4096]; /* what comes when nothing is wanted any more; never read */
    struct serve__conn *conn = handle->data;
    size_t room;
    (void)suggested;
    if (conn->state == SERVE__LINGERING || conn->state == SERVE__STREAMING) {
        *buf = uv_buf_init(dropped, sizeof dropped);
        return;
    }
    char *at = serve__parser_room(&conn->parser, &room);
    *buf = uv_buf_init(at, (unsigned)room);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct serve__conn *conn = stream->data;
    (void)buf;
    if (n > 0)
        serve__conn_fed(conn, (size_t)n);
    else if (n == UV_EOF)
        serve__conn_ended(conn);
    else if (n < 0)
        serve__conn_lost(conn);
}

static void wire_read(struct serve__conn *conn, bool is_on)
{
    if (conn->is_reading == is_on) return;
    conn->is_reading = is_on;
    if (is_on)
        (void)uv_read_start(&conn->uv.stream, on_room, on_read);
    else
        (void)uv_read_stop(&conn->uv.stream);
}

/* ---- ending ---- */

static void on_client(uv_stream_t *listener, int status);

/* After the last connection the server's own handles go, then `done` is called. */
static void stop_check(struct serve *serve)
{
    if (serve->is_stopping && serve->n_open == 0) serve__wire_close(serve);
}

static void on_close(uv_handle_t *handle)
{
    struct serve__conn *conn = handle->data;
    struct serve *serve = conn->serve;
    serve__conn_closed(conn);
    if (serve->is_waiting && !serve->is_stopping) on_client((uv_stream_t *)&serve->listener, 0);
    stop_check(serve);
}

static void wire_close(struct serve__conn *conn)
{
    uv_close(&conn->uv.handle, on_close);
}

static void on_shut(uv_shutdown_t *shutdown, int status)
{
    struct serve__conn *conn = shutdown->data;
    if (status < 0 && conn->state != SERVE__CLOSED) serve__conn_lost(conn);
}

static void wire_shut(struct serve__conn *conn)
{
    conn->shutdown.data = conn;
    if (uv_shutdown(&conn->shutdown, &conn->uv.stream, on_shut) < 0) serve__conn_lost(conn);
}

const struct serve__wire serve__wire_uv = {wire_send, wire_read, wire_shut, wire_close, now_ms};

/* ---- clients ---- */

static void client_take(struct serve *serve, struct serve__conn *conn)
{
    (void)uv_tcp_init(serve->loop, &conn->uv.tcp);
    conn->uv.handle.data = conn;
    if (uv_accept((uv_stream_t *)&serve->listener, &conn->uv.stream) < 0) {
        serve__conn_begin(conn);
        serve__conn_close(conn);
        return;
    }
    (void)uv_tcp_nodelay(&conn->uv.tcp, 1);
    serve->numbers.accepted++;
    serve__conn_begin(conn);
    if (serve->n_live <= serve->options.limits.connections) return;
    serve->numbers.refused++;
    serve_reply_header(&conn->request, "Retry-After", STR("1"));
    serve_reply_error(&conn->request, 503, "all connections are taken");
}

static void on_client(uv_stream_t *listener, int status)
{
    struct serve *serve = listener->data;
    if (status < 0) {
        log_warn("serve", "a connection could not be taken", "reason=\"%s\"", uv_strerror(status));
        return;
    }
    /* Without room even to say no it waits: libuv asks for no other until this one is accepted. */
    struct serve__conn *conn = serve__conn_take(serve);
    serve->is_waiting = conn == NULL;
    if (conn) client_take(serve, conn);
}

static void on_tick(uv_timer_t *timer)
{
    struct serve *serve = timer->data;
    serve__tick(serve);
}

static void on_turn(uv_prepare_t *prepare)
{
    struct serve *serve = prepare->data;
    serve__streams_flush(serve);
}

/* ---- the address ---- */

static bool address_wrong(const char *listen, struct err *err)
{
    return err_fatal(err, ERR_EXIT_USAGE,
                     "\"%s\" is no address to listen on: write HOST:PORT, [IPV6]:PORT or :PORT",
                     listen);
}

/* "[::1]:8080" to "::1" and "8080". */
static bool address_split(const char *listen, char *host, size_t room, const char **port)
{
    const char *colon = strrchr(listen, ':');
    const char *from = listen;
    if (colon == NULL || colon[1] == '\0') return false;
    size_t len = (size_t)(colon - listen);
    if (len >= 2 && from[0] == '[' && from[len - 1] == ']') {
        from++;
        len -= 2;
    }
    if (len >= room) return false;
    memcpy(host, from, len);
    host[len] = '\0';
    *port = colon + 1;
    return strspn(*port, "0123456789") == strlen(*port) && strtol(*port, NULL, 10) <= 65535;
}

bool serve_address_check(const char *listen, struct err *err)
{
    char host[HOST_MAX];
    const char *port;
    return address_split(listen, host, sizeof host, &port) || address_wrong(listen, err);
}

static bool address_find(const char *listen, struct sockaddr_storage *address, struct err *err)
{
    char host[HOST_MAX];
    const char *port;
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE},
                    *found;
    if (!address_split(listen, host, sizeof host, &port)) return address_wrong(listen, err);
    int code = getaddrinfo(host[0] ? host : NULL, port, &hints, &found);
    if (code != 0)
        return err_fatal(err, ERR_EXIT_USAGE, "cannot listen on \"%s\": %s", listen,
                         gai_strerror(code));
    memcpy(address, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return true;
}

static int port_of(const uv_tcp_t *tcp)
{
    struct sockaddr_storage address;
    int len = sizeof address;
    char port[8] = "";
    if (uv_tcp_getsockname(tcp, (struct sockaddr *)&address, &len) < 0) return 0;
    (void)getnameinfo((struct sockaddr *)&address, (socklen_t)len, NULL, 0, port, sizeof port,
                      NI_NUMERICSERV);
    return (int)strtol(port, NULL, 10);
}

/* ---- open and close ---- */

static void on_own_close(uv_handle_t *handle)
{
    struct serve *serve = handle->data;
    if (--serve->n_handles > 0 || serve->is_done) return;
    serve->is_done = true;
    if (serve->done) serve->done(serve->done_context);
}

static void own_close(uv_handle_t *handle)
{
    if (!uv_is_closing(handle)) uv_close(handle, on_own_close);
}

void serve__wire_close(struct serve *serve)
{
    own_close((uv_handle_t *)&serve->listener);
    own_close((uv_handle_t *)&serve->ticker);
    own_close((uv_handle_t *)&serve->flusher);
}

void serve__wire_stop(struct serve *serve)
{
    own_close((uv_handle_t *)&serve->listener);
    stop_check(serve);
}

static int64_t tick_ms(const struct serve_limits *limits)
{
    int64_t least = limits->head_ms;
    const int64_t others[] = {limits->body_ms, limits->hold_ms, limits->write_ms, limits->idle_ms,
                              limits->beat_ms};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (others[i] < least) least = others[i];
    least /= 8;
    return least < TICK_MIN_MS ? TICK_MIN_MS : least > TICK_MAX_MS ? TICK_MAX_MS : least;
}

static void handles_start(struct serve *serve)
{
    uint64_t every = (uint64_t)tick_ms(&serve->options.limits);
    (void)uv_tcp_init(serve->loop, &serve->listener);
    (void)uv_timer_init(serve->loop, &serve->ticker);
    (void)uv_prepare_init(serve->loop, &serve->flusher);
    serve->listener.data = serve->ticker.data = serve->flusher.data = serve;
    serve->n_handles = 3;
    (void)uv_timer_start(&serve->ticker, on_tick, every, every);
    (void)uv_prepare_start(&serve->flusher, on_turn);
}

bool serve__wire_open(struct serve *serve, struct err *err)
{
    struct sockaddr_storage address;
    if (!address_find(serve->options.listen, &address, err)) return false;
    handles_start(serve);
    int code = uv_tcp_bind(&serve->listener, (struct sockaddr *)&address, 0);
    if (code == 0) code = uv_listen((uv_stream_t *)&serve->listener, BACKLOG, on_client);
    if (code == 0) {
        serve->port = port_of(&serve->listener);
        return true;
    }
    serve__wire_close(serve);
    while (serve->n_handles > 0)
        (void)uv_run(serve->loop, UV_RUN_NOWAIT);
    return err_fatal(err, ERR_EXIT_UNREACHABLE, "cannot listen on \"%s\": %s%s",
                     serve->options.listen, uv_strerror(code),
                     code == UV_EADDRINUSE ? "; end what listens there, or take another port" : "");
}
