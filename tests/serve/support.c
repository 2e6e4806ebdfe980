#include "tests/serve/support.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "tests/test.h"

enum { WAIT_MS = 10000, GRACE_MS = 500, ANSWER_MAX = 4 * 1024 * 1024 };

/* ---- routes ---- */

static void hello(void *context, struct serve_request *request)
{
    struct rig *rig = context;
    struct serve_json json = serve_json_begin(serve_reply_body(request));
    rig->handled++;
    serve_json_object(&json, NULL);
    serve_json_text(&json, "name", serve_text(request, "name"));
    serve_json_int(&json, "n", serve_int(request, "n"));
    serve_json_int(&json, "kind", serve_enum(request, "kind"));
    serve_json_text(&json, "word", serve_text(request, "word"));
    serve_json_number(&json, "ratio", serve_number(request, "ratio"));
    serve_json_bool(&json, "is", serve_bool(request, "is"));
    serve_json_end(&json);
    serve_reply(request, 200);
}

static void echo(void *context, struct serve_request *request)
{
    struct rig *rig = context;
    struct serve_json json = serve_json_begin(serve_reply_body(request));
    rig->handled++;
    serve_json_object(&json, NULL);
    serve_json_text(&json, "body", serve_body(request));
    serve_json_end(&json);
    serve_reply(request, 202);
}

static void late(void *context, struct serve_request *request)
{
    struct rig *rig = context;
    rig->handled++;
    rig->ticket = serve_hold(request);
}

static void stream(void *context, struct serve_request *request)
{
    struct rig *rig = context;
    rig->handled++;
    serve_stream_open(request);
}

static void big(void *context, struct serve_request *request)
{
    struct rig *rig = context;
    struct buf *body = serve_reply_body(request);
    int64_t n = serve_int(request, "n");
    rig->handled++;
    buf_push_byte(body, '"');
    for (int64_t i = 0; i < n - 2 && !body->failed; i++)
        buf_push_byte(body, (uint8_t)('a' + i % 26));
    buf_push_byte(body, '"');
    serve_reply(request, 200);
}

static void open_one(void *context, struct serve_request *request)
{
    struct rig *rig = context;
    rig->handled++;
    buf_push_text(serve_reply_body(request), "{}");
    serve_reply(request, 200);
}

static void mute(void *context, struct serve_request *request)
{
    struct rig *rig = context;
    (void)request;
    rig->handled++;
}

static void erase(void *context, struct serve_request *request)
{
    struct rig *rig = context;
    struct serve_json json = serve_json_begin(serve_reply_body(request));
    rig->handled++;
    serve_json_object(&json, NULL);
    serve_json_text(&json, "deleted", serve_text(request, "name"));
    serve_json_end(&json);
    serve_reply(request, 200);
}

static void fixed(void *context, struct serve_request *request)
{
    struct rig *rig = context;
    rig->handled++;
    serve_reply_static(request, 200, "text/plain", STR("as it is"));
}

const struct serve_route rig_routes[RIG_ROUTES] = {
    {.method = SERVE_GET,
     .path = "/hello/{name}",
     .handle = hello,
     .summary = "says what it was asked",
     .tag = "tests",
     .answer = "Hello",
     .params =
         {{.name = "name", .type = SERVE_TEXT, .max = 20, .help = "who", .example = "ann"},
          {.name = "n", .type = SERVE_INT, .fallback = "3", .min = 1, .max = 9, .help = "how many"},
          {.name = "kind", .type = SERVE_ENUM, .values = "a|b|long_one", .fallback = "b"},
          {.name = "word", .type = SERVE_TEXT},
          {.name = "ratio", .type = SERVE_NUMBER, .min = -1, .max = 1, .fallback = "0.5"},
          {.name = "is", .type = SERVE_BOOL}}},
    {.method = SERVE_POST, .path = "/echo", .handle = echo, .body = "Hello", .is_accepting = true},
    {.method = SERVE_POST, .path = "/late", .handle = late, .body = "Hello"},
    {.method = SERVE_GET,
     .path = "/stream",
     .handle = stream,
     .type = "text/event-stream",
     .params = {{.name = "topic", .type = SERVE_TEXT}}},
    {.method = SERVE_GET,
     .path = "/big",
     .handle = big,
     .params = {{.name = "n", .type = SERVE_INT, .is_required = true, .min = 2, .max = 10000000}}},
    {.method = SERVE_GET, .path = "/open", .handle = open_one, .is_open = true},
    {.method = SERVE_DELETE,
     .path = "/hello/{name}",
     .handle = erase,
     .params = {{.name = "name", .type = SERVE_TEXT, .min = 1, .max = 20}}},
    {.method = SERVE_GET, .path = "/fixed", .handle = fixed, .type = "text/plain"},
    {.method = SERVE_GET, .path = "/mute", .handle = mute, .is_undocumented = true},
};

/* ---- the server ---- */

static void observe(void *context, int route, int status, int64_t us)
{
    struct rig *rig = context;
    CHECK(us >= 0);
    rig->observed++;
    rig->last_route = route;
    rig->last_status = status;
}

void rig_init(struct rig *rig)
{
    *rig = (struct rig){.last_route = -2};
    rig->options = (struct serve_options){
        .listen = "127.0.0.1:0",
        .routes = rig_routes,
        .n_routes = RIG_ROUTES,
        .context = rig,
        .title = "rig",
        .schemas = "{\"Hello\":{\"type\":\"object\"}}",
        .observe = observe,
    };
}

void rig_open(struct rig *rig)
{
    struct err err = ERR_INIT;
    CHECK_INT(uv_loop_init(&rig->loop), 0);
    CHECK_OK(serve_open(&rig->serve, &rig->options, &rig->loop, &err), err);
    rig->port = serve_port(rig->serve);
    CHECK(rig->port > 0);
}

static void on_done(void *context)
{
    struct rig *rig = context;
    rig->is_done = true;
}

void rig_stop(struct rig *rig)
{
    serve_stop(rig->serve, GRACE_MS, on_done, rig);
    for (int64_t i = 0; i < 2 * WAIT_MS && !rig->is_done; i++)
        rig_turn(rig, 1);
    CHECK(rig->is_done);
    CHECK_INT(serve_numbers(rig->serve).connections, 0);
    CHECK_INT(serve_numbers(rig->serve).held, 0);
    CHECK_INT(serve_numbers(rig->serve).streams, 0);
    serve_free(rig->serve);
    CHECK_INT(uv_loop_close(&rig->loop), 0);
}

static int64_t now_ms(void)
{
    struct clock clock = {0};
    return (int64_t)(clock_mono_us(&clock) / 1000);
}

static void wake(uv_timer_t *timer)
{
    (void)timer;
}

void rig_turn(struct rig *rig, int64_t ms)
{
    uv_timer_t timer;
    int64_t end = now_ms() + ms;
    uv_timer_init(&rig->loop, &timer);
    do {
        int64_t left = end - now_ms();
        uv_update_time(&rig->loop);
        if (left > 0) uv_timer_start(&timer, wake, (uint64_t)left, 0);
        uv_run(&rig->loop, left > 0 ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    } while (now_ms() < end);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&rig->loop, UV_RUN_NOWAIT);
}

/* ---- clients ---- */

int rig_connect(struct rig *rig)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)rig->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(fd >= 0);
    CHECK_INT(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    CHECK_INT(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

void rig_send(struct rig *rig, int fd, const char *bytes, size_t n)
{
    int64_t end = now_ms() + WAIT_MS;
    while (n) {
        ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EPIPE || errno == ECONNRESET)) return;
        CHECK(sent >= 0 || errno == EAGAIN);
        CHECK(now_ms() < end);
        if (sent > 0) bytes += sent, n -= (size_t)sent;
        uv_run(&rig->loop, UV_RUN_NOWAIT);
    }
}

void rig_text(struct rig *rig, int fd, const char *text)
{
    rig_send(rig, fd, text, strlen(text));
}

static char taken[ANSWER_MAX + 1];
static size_t n_taken;

enum took { TOOK_SOME, TOOK_NONE, TOOK_END };

static enum took take(int fd)
{
    ssize_t n = recv(fd, taken + n_taken, ANSWER_MAX - n_taken, 0);
    if (n == 0 || (n < 0 && errno == ECONNRESET)) return TOOK_END;
    if (n < 0) return TOOK_NONE;
    n_taken += (size_t)n;
    taken[n_taken] = '\0';
    return TOOK_SOME;
}

const char *rig_until(struct rig *rig, int fd, const char *until)
{
    int64_t end = now_ms() + WAIT_MS;
    n_taken = 0;
    taken[0] = '\0';
    while (!strstr(taken, until) && now_ms() < end) {
        enum took took = take(fd);
        if (took == TOOK_END) break;
        if (took == TOOK_NONE) rig_turn(rig, 1);
    }
    return taken;
}

const char *rig_end(struct rig *rig, int fd, int64_t ms)
{
    int64_t end = now_ms() + ms;
    n_taken = 0;
    taken[0] = '\0';
    for (;;) {
        enum took took = take(fd);
        if (took == TOOK_END) return taken;
        if (now_ms() >= end)
            test_fail(__FILE__, __LINE__, "the server did not close; it sent \"%s\"", taken);
        if (took == TOOK_NONE) rig_turn(rig, 1);
    }
}

static bool is_whole(void)
{
    const char *body = strstr(taken, "\r\n\r\n");
    const char *length = strstr(taken, "Content-Length: ");
    if (!body) return false;
    if (!length || length > body) return true;
    return n_taken >= (size_t)(body + 4 - taken) + strtoul(length + 16, NULL, 10);
}

/* Byte by byte from the socket, so that the next answer stays there. */
const char *rig_answer(struct rig *rig, int fd)
{
    int64_t end = now_ms() + WAIT_MS;
    n_taken = 0;
    taken[0] = '\0';
    while (!is_whole()) {
        ssize_t n = recv(fd, taken + n_taken, 1, 0);
        if (n == 0) break;
        if (n > 0) taken[++n_taken] = '\0';
        if (n < 0) rig_turn(rig, 1);
        CHECK(now_ms() < end);
    }
    return taken;
}

const char *rig_once(struct rig *rig, const char *text)
{
    int fd = rig_connect(rig);
    rig_text(rig, fd, text);
    (void)rig_answer(rig, fd);
    close(fd);
    return taken;
}
