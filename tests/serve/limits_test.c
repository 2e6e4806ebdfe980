/* Deadlines and limits over real sockets. All deadlines are absolute: bytes that trickle in move none of them. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/serve/support.h"
#include "tests/test.h"

/* LINK: libuv */

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST(path, length)                                                                         \
    "POST " path                                                                                   \
    " HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: " length "\r\n\r\n"

enum { SHORT_MS = 300, FIRM_MS = 8000 };

static int64_t now_ms(void)
{
    struct clock clock = {0};
    return (int64_t)(clock_mono_us(&clock) / 1000);
}

static void rig_with(struct rig *rig, const struct serve_limits *limits)
{
    rig_init(rig);
    rig->options.limits = *limits;
    rig_open(rig);
}

/* Sends text, then one byte of `drip` each 40 ms until an answer or the end comes; says when that was. */
static const char *trickle(struct rig *rig, int fd, const char *text, char drip, int64_t *took_ms)
{
    int64_t start = now_ms();
    static char seen[4096];
    size_t n = 0;
    rig_text(rig, fd, text);
    while (now_ms() - start < FIRM_MS) {
        if (drip) rig_send(rig, fd, &drip, 1);
        rig_turn(rig, 40);
        ssize_t got = recv(fd, seen + n, sizeof seen - 1 - n, 0);
        if (got > 0) n += (size_t)got;
        if (got == 0 || (got < 0 && errno != EAGAIN)) break;
    }
    seen[n] = '\0';
    *took_ms = now_ms() - start;
    return seen;
}

struct deadline {
    const char *name;
    struct serve_limits limits;
    const char *text; /* sent at once */
    char drip;
    const char *want; /* of the answer; "": the connection is closed without one */
};

static const struct deadline deadlines[] = {
    {"nothing comes", {.head_ms = SHORT_MS}, "", 0, ""},
    {"a slow head", {.head_ms = SHORT_MS}, "GET /open HTTP/1.1\r\nX: ", 'x', "HTTP/1.1 408 "},
    {"empty lines for ever", {.head_ms = SHORT_MS}, "\r\n", '\n', "HTTP/1.1 408 "},
    {"a head that stops", {.head_ms = SHORT_MS}, "GET /open HTTP/1.1\r\n", 0, "HTTP/1.1 408 "},
    {"a slow body", {.body_ms = SHORT_MS}, POST("/echo", "1000"), 'x', "HTTP/1.1 408 "},
    {"a body that stops", {.body_ms = SHORT_MS}, POST("/echo", "1000") "abc", 0, "HTTP/1.1 408 "},
    {"slow chunks",
     {.body_ms = SHORT_MS},
     "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: "
     "chunked\r\n\r\n1;",
     'e',
     "HTTP/1.1 408 "},
    {"an answer that does not come",
     {.hold_ms = SHORT_MS},
     POST("/late", "2") "{}",
     0,
     "HTTP/1.1 504 "},
    {"the same while more is sent",
     {.hold_ms = SHORT_MS},
     POST("/late", "2") "{}",
     'G',
     "HTTP/1.1 504 "},
};

static void each_deadline_is_absolute(void)
{
    for (size_t i = 0; i < sizeof deadlines / sizeof deadlines[0]; i++) {
        const struct deadline *deadline = &deadlines[i];
        struct rig rig;
        int64_t took_ms;
        printf("  %s\n", deadline->name);
        rig_with(&rig, &deadline->limits);
        int fd = rig_connect(&rig);
        const char *got = trickle(&rig, fd, deadline->text, deadline->drip, &took_ms);
        if (strncmp(got, deadline->want, strlen(deadline->want)) != 0 ||
            (deadline->want[0] == '\0' && got[0] != '\0'))
            test_fail(__FILE__, __LINE__, "%s: \"%s\", not \"%s\"", deadline->name, got,
                      deadline->want);
        CHECK(took_ms < FIRM_MS);
        CHECK(took_ms >= SHORT_MS);
        close(fd);
        rig_stop(&rig);
    }
}

static void idle_connections_end(void)
{
    struct rig rig;
    int64_t start;
    rig_with(&rig, &(struct serve_limits){.idle_ms = SHORT_MS});
    int fd = rig_connect(&rig);
    rig_text(&rig, fd, GET("/open"));
    CHECK_CONTAINS(rig_answer(&rig, fd), "200 OK");
    start = now_ms();
    CHECK_STR(rig_end(&rig, fd, FIRM_MS), "");
    CHECK(now_ms() - start >= SHORT_MS / 2);
    close(fd);
    rig_stop(&rig);
}

/* The client never reads: the answer fills the sockets' buffers, and the connection is cut. */
static void answer_not_taken(void)
{
    struct rig rig;
    rig_with(&rig, &(struct serve_limits){.write_ms = SHORT_MS, .answer = 64 * 1024 * 1024});
    int fd = rig_connect(&rig);
    rig_text(&rig, fd, GET("/big?n=10000000"));
    rig_turn(&rig, SHORT_MS / 6);
    CHECK_INT(serve_numbers(rig.serve).connections, 1);
    for (int64_t start = now_ms();
         serve_numbers(rig.serve).connections && now_ms() - start < FIRM_MS;)
        rig_turn(&rig, 20);
    CHECK_INT(serve_numbers(rig.serve).connections, 0);
    CHECK_INT(serve_numbers(rig.serve).timeouts, 1);
    close(fd);
    rig_stop(&rig);
}

static void answer_over_the_limit(void)
{
    struct rig rig;
    rig_with(&rig, &(struct serve_limits){.answer = 1000});
    CHECK_CONTAINS(rig_once(&rig, GET("/big?n=1000")), "200 OK");
    CHECK_CONTAINS(rig_once(&rig, GET("/big?n=1001")), "500 Internal Server Error");
    rig_stop(&rig);
}

/* More than the sockets hold, read at last: all of it comes. */
static void great_answer_slow_reader(void)
{
    struct rig rig;
    rig_with(&rig, &(struct serve_limits){.answer = 4 * 1024 * 1024});
    int fd = rig_connect(&rig), small = 128 * 1024;
    CHECK_INT(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    rig_text(&rig, fd, GET("/big?n=3000000") GET("/open"));
    rig_turn(&rig, 50);
    const char *got = rig_until(&rig, fd, "\r\n\r\n{}");
    const char *body = strstr(got, "\r\n\r\n");
    CHECK(body != NULL);
    CHECK_INT(strcspn(body + 5, "\""), 2999998);
    CHECK_CONTAINS(got, "\r\n\r\n{}");
    close(fd);
    rig_stop(&rig);
}

/* ---- how many ---- */

static void newcomers_when_full(void)
{
    struct rig rig;
    enum { MOST = 4 };
    int fds[MOST];
    rig_with(&rig, &(struct serve_limits){.connections = MOST});
    for (int i = 0; i < MOST; i++) {
        fds[i] = rig_connect(&rig);
        rig_text(&rig, fds[i], POST("/late", "2") "{}");
        rig_turn(&rig, 10);
    }
    CHECK_INT(serve_numbers(rig.serve).connections, MOST);
    /* All are at work: the next is told so. */
    int late = rig_connect(&rig);
    const char *got = rig_end(&rig, late, FIRM_MS);
    CHECK_CONTAINS(got, "HTTP/1.1 503 Service Unavailable\r\n");
    CHECK_CONTAINS(got, "Retry-After: 1\r\n");
    CHECK_INT(serve_numbers(rig.serve).refused, 1);
    close(late);
    /* One becomes idle: it makes room. */
    serve_reply_error(serve_held(rig.serve, rig.ticket), 404, "x");
    CHECK_CONTAINS(rig_answer(&rig, fds[MOST - 1]), "404");
    CHECK_CONTAINS(rig_once(&rig, GET("/open")), "200 OK");
    CHECK_INT(serve_numbers(rig.serve).evicted, 1);
    CHECK_STR(rig_end(&rig, fds[MOST - 1], FIRM_MS), "");
    for (int i = 0; i < MOST; i++)
        close(fds[i]);
    rig_stop(&rig);
}

/* Far more than there is room for, none of which says a word: one who does is served all the same. */
static void crowd_of_silent_ones(void)
{
    struct rig rig;
    enum { CROWD = 200 };
    int fds[CROWD];
    rig_with(&rig, &(struct serve_limits){.connections = 8});
    for (int i = 0; i < CROWD; i++) {
        fds[i] = rig_connect(&rig);
        if (i % 10 == 0) rig_turn(&rig, 1);
    }
    CHECK_CONTAINS(rig_once(&rig, GET("/open")), "200 OK");
    CHECK(serve_numbers(rig.serve).connections <= 8 + 16);
    for (int i = 0; i < CROWD; i++)
        close(fds[i]);
    rig_turn(&rig, 50);
    CHECK_CONTAINS(rig_once(&rig, GET("/open")), "200 OK");
    rig_stop(&rig);
}

/* ---- refused at once ---- */

static void too_large_is_refused_early(void)
{
    struct rig rig;
    rig_with(&rig, &(struct serve_limits){.body = 100, .head = 300});
    int fd = rig_connect(&rig);
    rig_text(&rig, fd, POST("/echo", "101"));
    const char *got = rig_end(&rig, fd, FIRM_MS);
    CHECK_CONTAINS(got, "HTTP/1.1 413 ");
    CHECK_CONTAINS(got, "Connection: close\r\n");
    close(fd);
    char head[600];
    (void)snprintf(head, sizeof head, "GET /open HTTP/1.1\r\nHost: a\r\nX: %0400d\r\n\r\n", 1);
    CHECK_CONTAINS(rig_once(&rig, head), "HTTP/1.1 431 ");
    CHECK_INT(rig.handled, 0);
    CHECK_INT(serve_numbers(rig.serve).bad, 2);
    rig_stop(&rig);
}

/* Whatever follows a request in doubt is not looked at. */
static void closes_after_an_error(void)
{
    struct rig rig;
    rig_with(&rig, &(struct serve_limits){0});
    int fd = rig_connect(&rig);
    rig_text(&rig, fd, "GET /open HTTP/1.1\r\nHost: a\nX: y\r\n\r\n" GET("/open"));
    const char *got = rig_end(&rig, fd, FIRM_MS);
    CHECK_CONTAINS(got, "HTTP/1.1 400 ");
    CHECK_CONTAINS(got, "Connection: close\r\n");
    CHECK(strstr(got, "200 OK") == NULL);
    CHECK_INT(rig.handled, 0);
    close(fd);
    rig_stop(&rig);
}

/* A request arrives one byte a turn: the same answer as at once. */
static void byte_by_byte(void)
{
    struct rig rig;
    rig_with(&rig, &(struct serve_limits){0});
    const char *text = POST("/echo", "7") "{\"a\":1}" GET("/hello/ann");
    int fd = rig_connect(&rig);
    for (size_t i = 0; i < strlen(text); i++) {
        rig_send(&rig, fd, text + i, 1);
        rig_turn(&rig, 0);
    }
    CHECK_CONTAINS(rig_answer(&rig, fd), "{\"body\":\"{\\\"a\\\":1}\"}");
    CHECK_CONTAINS(rig_answer(&rig, fd), "\"name\":\"ann\"");
    close(fd);
    rig_stop(&rig);
}

int main(void)
{
    CASE(each_deadline_is_absolute);
    CASE(idle_connections_end);
    CASE(answer_not_taken);
    CASE(answer_over_the_limit);
    CASE(great_answer_slow_reader);
    CASE(newcomers_when_full);
    CASE(crowd_of_silent_ones);
    CASE(too_large_is_refused_early);
    CASE(closes_after_an_error);
    CASE(byte_by_byte);
    return 0;
}
