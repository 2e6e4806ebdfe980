#include "tests/schemas/fake_registry.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "schemas/internal.h"
#include "tests/test.h"

enum { REQUEST_MAX = 256 * 1024, ANSWER_MAX = 8 * 1024 * 1024 };

/* ---- answers ---- */

static void push_json_string(struct buf *out, const char *text, size_t len)
{
    buf_push_byte(out, '"');
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\n') continue;
        if (text[i] == '"' || text[i] == '\\') buf_push_byte(out, '\\');
        buf_push_byte(out, (uint8_t)text[i]);
    }
    buf_push_byte(out, '"');
}

static void push_schema(struct buf *out, const char *text, size_t len, const char *more)
{
    buf_push_text(out, "{\"schema\":");
    push_json_string(out, text, len);
    buf_push_format(out, "%s}", more);
}

static void push_text_schema(struct buf *out, const char *text)
{
    push_schema(out, text, strlen(text), "");
}

static void push_deep(struct buf *out)
{
    struct buf deep;
    buf_init(&deep, 64 * 1024);
    for (int i = 0; i < 1000; i++)
        buf_push_text(&deep, "{\"type\":\"array\",\"items\":");
    buf_push_text(&deep, "\"int\"");
    for (int i = 0; i < 1000; i++)
        buf_push_text(&deep, "}");
    push_schema(out, (const char *)deep.data, deep.len, "");
    buf_fini(&deep);
}

/* Schemas that parse somehow, but not as events. */
static void push_odd_schema(int id, struct buf *out)
{
    switch (id) {
    case FAKE_DEEP:
        push_deep(out);
        break;
    case FAKE_STRANGER:
        push_text_schema(
            out,
            "{\"type\":\"record\",\"name\":\"A\",\"fields\":[{\"name\":\"x\",\"type\":\"int\"}]}");
        break;
    case FAKE_WRONG_TYPE:
        push_text_schema(
            out, "{\"type\":\"record\",\"name\":\"A\",\"fields\":[{\"name\":\"user_id\",\"type\":"
                 "{\"type\":\"record\",\"name\":\"B\",\"fields\":[]}}]}");
        break;
    default:
        push_text_schema(
            out, "{\"type\":\"record\",\"name\":\"A\",\"fields\":[{\"name\":\"next\",\"type\":"
                 "[\"null\",\"A\"]},{\"name\":\"user_id\",\"type\":\"string\"}]}");
        break;
    }
}

static int body_for_id(int id, struct buf *out)
{
    switch (id) {
    case FAKE_EVENT:
        push_schema(out, schemas__avsc_event, schemas__avsc_event_len,
                    ",\"schemaType\":\"AVRO\",\"references\":[]");
        return 200;
    case FAKE_UNKNOWN:
        buf_push_text(out, "{\"error_code\":40403,\"message\":\"Schema not found\"}");
        return 404;
    case FAKE_GARBAGE:
        buf_push_text(out, "<html>please log in</html>");
        return 200;
    case FAKE_NO_SCHEMA:
        buf_push_text(out, "{\"hello\":1}");
        return 200;
    case FAKE_NOT_AVRO:
        push_text_schema(out, "{\"type\":\"nonsense\"}");
        return 200;
    case FAKE_REFERENCES:
        push_schema(out, "\"string\"", 8,
                    ",\"references\":[{\"name\":\"a\",\"subject\":\"b\",\"version\":1}]");
        return 200;
    case FAKE_PROTOBUF:
        push_schema(out, "message A {}", 12, ",\"schemaType\":\"PROTOBUF\"");
        return 200;
    case FAKE_HUGE:
        for (int i = 0; i < 4 * 1024 * 1024 / 16; i++)
            buf_push_text(out, "                ");
        return 200;
    case FAKE_UNAUTHORISED:
        buf_push_text(out, "{\"error_code\":401,\"message\":\"no\"}");
        return 401;
    case FAKE_BROKEN:
        buf_push_text(out, "{\"error_code\":50001,\"message\":\"the store is down\"}");
        return 500;
    case FAKE_REDIRECT:
        return 302;
    case FAKE_DEEP:
    case FAKE_STRANGER:
    case FAKE_WRONG_TYPE:
    case FAKE_RECURSIVE:
        push_odd_schema(id, out);
        return 200;
    default:
        buf_push_text(out, "not found");
        return 404;
    }
}

static int body_for_subject(struct fake_registry *fake, const char *request, struct buf *out)
{
    int64_t mode = sync_int_get(&fake->latest_is_ours);
    bool post = strncmp(request, "POST", 4) == 0;
    const char *versions = strstr(request, "/versions");
    if (post && (!versions || versions > strchr(request, '\n'))) { /* a look-up */
        if (mode == 2)
            buf_push_text(out, "{\"id\":79}");
        else
            buf_push_text(out, "{\"error_code\":40403,\"message\":\"Schema not found\"}");
        return mode == 2 ? 200 : 404;
    }
    if (post && mode == -2) {
        buf_push_text(out, "{\"error_code\":409,\"message\":\"incompatible\"}");
        return 409;
    }
    if (post) {
        buf_push_text(out, "{\"id\":77}");
        return 200;
    }
    if (mode < 0) {
        buf_push_text(out, "{\"error_code\":40401,\"message\":\"Subject not found\"}");
        return 404;
    }
    if (mode != 1)
        push_schema(out, "\"string\"", 8, ",\"id\":5,\"version\":1");
    else
        push_schema(out, schemas__avsc_recommendations, schemas__avsc_recommendations_len,
                    ",\"id\":78,\"version\":3");
    return 200;
}

/* ---- one connection ---- */

static void send_all(int fd, const void *bytes, size_t n)
{
    const char *at = bytes;
    while (n > 0) {
        ssize_t sent = send(fd, at, n, MSG_NOSIGNAL);
        if (sent <= 0) return;
        at += sent;
        n -= (size_t)sent;
    }
}

/* Until the client goes away or the test ends. */
static void linger(struct fake_registry *fake, int fd, bool drip)
{
    char byte;
    if (drip) send_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", 44);
    while (!flag_is_raised(&fake->stop)) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        if (drip) send_all(fd, " ", 1);
        if (poll(&poll_fd, 1, 20) > 0 && recv(fd, &byte, 1, 0) <= 0) return;
    }
}

static void answer(struct fake_registry *fake, int fd, const char *request)
{
    struct buf body, head;
    int id = 0, status = 404;
    const char *at = strstr(request, "/schemas/ids/");
    if (at) id = (int)strtol(at + strlen("/schemas/ids/"), NULL, 10);
    if (strstr(request, "Authorization: Basic dXNlcjpzZWNyZXQ="))
        (void)sync_int_add(&fake->authorised, 1);
    (void)sync_int_add(&fake->requests, 1);
    if (id == FAKE_CHANGES) {
        id = sync_int_get(&fake->changes) ? FAKE_STRANGER : FAKE_EVENT;
        (void)sync_int_add(&fake->changes, 1);
    }
    if (id == FAKE_SILENT || id == FAKE_DRIP) linger(fake, fd, id == FAKE_DRIP);
    if (id == FAKE_SILENT || id == FAKE_DRIP || id == FAKE_CLOSES) return;
    buf_init(&body, ANSWER_MAX);
    buf_init(&head, 4096);
    if (strstr(request, "/subjects/"))
        status = body_for_subject(fake, request, &body);
    else
        status = body_for_id(id == FAKE_CUT ? FAKE_EVENT : id, &body);
    buf_push_format(
        &head,
        "HTTP/1.1 %d X\r\nContent-Type: application/json\r\nLocation: /schemas/ids/101\r\n"
        "Connection: close\r\nContent-Length: %zu\r\n\r\n",
        status, body.len);
    send_all(fd, head.data, head.len);
    send_all(fd, body.data, id == FAKE_CUT ? body.len / 2 : body.len);
    buf_fini(&head);
    buf_fini(&body);
}

/* A whole request: head, and as much body as Content-Length says. */
static bool read_request(struct fake_registry *fake, int fd, char *request)
{
    size_t len = 0;
    while (len < REQUEST_MAX - 1 && !flag_is_raised(&fake->stop)) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        if (poll(&poll_fd, 1, 20) <= 0) continue;
        ssize_t n = recv(fd, request + len, REQUEST_MAX - 1 - len, 0);
        if (n <= 0) return false;
        len += (size_t)n;
        request[len] = 0;
        const char *end = strstr(request, "\r\n\r\n");
        const char *size = strstr(request, "Content-Length: ");
        if (!end) continue;
        size_t want = size && size < end ? (size_t)strtol(size + 16, NULL, 10) : 0;
        if (len >= (size_t)(end + 4 - request) + want) return true;
    }
    return false;
}

static void serve(void *context)
{
    struct fake_registry *fake = context;
    char *request = mem_alloc(REQUEST_MAX);
    while (!flag_is_raised(&fake->stop)) {
        struct pollfd poll_fd = {.fd = fake->listener, .events = POLLIN};
        if (poll(&poll_fd, 1, 20) <= 0) continue;
        int fd = accept(fake->listener, NULL, NULL);
        if (fd < 0) continue;
        if (read_request(fake, fd, request)) answer(fake, fd, request);
        (void)close(fd);
    }
    mem_free(request);
}

void fake_registry_start(struct fake_registry *fake)
{
    struct err err = ERR_INIT;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)fake->port)};
    socklen_t len = sizeof address;
    int yes = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    flag_lower(&fake->stop);
    fake->listener = socket(AF_INET, SOCK_STREAM, 0);
    (void)setsockopt(fake->listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    CHECK(bind(fake->listener, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(listen(fake->listener, 8) == 0);
    CHECK(getsockname(fake->listener, (struct sockaddr *)&address, &len) == 0);
    fake->port = ntohs(address.sin_port);
    (void)snprintf(fake->url, sizeof fake->url, "http://127.0.0.1:%d", fake->port);
    CHECK_OK(thread_start(&fake->thread, "registry", serve, fake, &err), err);
}

void fake_registry_stop(struct fake_registry *fake)
{
    flag_raise(&fake->stop);
    thread_join(&fake->thread);
    (void)close(fake->listener);
}
