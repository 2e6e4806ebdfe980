/* The server over real sockets: answers, held answers, keep-alive, pipelining. */
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "tests/serve/support.h"
#include "tests/test.h"

/* LINK: libuv */

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

static void get_answers(void)
{
    struct rig rig;
    rig_init(&rig);
    rig_open(&rig);
    const char *got = rig_once(&rig, GET("/hello/ann?n=7"));
    CHECK_CONTAINS(got, "HTTP/1.1 200 OK\r\n");
    CHECK_CONTAINS(got, "Content-Type: application/json\r\n");
    CHECK_CONTAINS(
        got,
        "\r\n\r\n{\"name\":\"ann\",\"n\":7,\"kind\":1,\"word\":\"\",\"ratio\":0.5,\"is\":false}");
    CHECK_INT(rig.last_route, 0);
    CHECK_INT(rig.last_status, 200);
    got = rig_once(&rig, GET("/nothing"));
    CHECK_CONTAINS(got, "HTTP/1.1 404 Not Found\r\n");
    CHECK_CONTAINS(got, "{\"error\":{\"code\":\"not_found\",\"message\":");
    CHECK_INT(rig.last_route, -1);
    CHECK_INT(rig.handled, 1);
    rig_stop(&rig);
}

static void post_answers(void)
{
    struct rig rig;
    rig_init(&rig);
    rig_open(&rig);
    const char *got =
        rig_once(&rig, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                       "Content-Length: 7\r\n\r\n{\"a\":1}");
    CHECK_CONTAINS(got, "HTTP/1.1 202 Accepted\r\n");
    CHECK_CONTAINS(got, "{\"body\":\"{\\\"a\\\":1}\"}");
    got = rig_once(&rig, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                         "Transfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n");
    CHECK_CONTAINS(got, "{\"body\":\"{\\\"a\\\":1}\"}");
    rig_stop(&rig);
}

static void held_answers(void)
{
    struct rig rig;
    rig_init(&rig);
    rig_open(&rig);
    int fd = rig_connect(&rig);
    rig_text(&rig, fd,
             "POST /late HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: "
             "2\r\n\r\n{}");
    rig_turn(&rig, 20);
    CHECK_INT(serve_numbers(rig.serve).held, 1);
    struct serve_request *request = serve_held(rig.serve, rig.ticket);
    CHECK(request != NULL);
    CHECK(serve_held(rig.serve, rig.ticket + 1) == NULL);
    CHECK(serve_held(rig.serve, 0) == NULL);
    serve_reply_error(request, 409, "no %d", 7);
    CHECK(serve_held(rig.serve, rig.ticket) == NULL);
    const char *got = rig_answer(&rig, fd);
    CHECK_CONTAINS(got, "HTTP/1.1 409 Conflict\r\n");
    CHECK_CONTAINS(got, "\"message\":\"no 7\"");
    /* The connection goes on. */
    rig_text(&rig, fd, GET("/open"));
    CHECK_CONTAINS(rig_answer(&rig, fd), "200 OK");
    close(fd);
    rig_stop(&rig);
}

static void client_gone_ticket_dead(void)
{
    struct rig rig;
    rig_init(&rig);
    rig_open(&rig);
    int fd = rig_connect(&rig);
    struct linger at_once = {.l_onoff = 1};
    rig_text(&rig, fd,
             "POST /late HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: "
             "2\r\n\r\n{}");
    rig_turn(&rig, 20);
    CHECK(serve_held(rig.serve, rig.ticket) != NULL);
    CHECK_INT(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    close(fd);
    rig_turn(&rig, 50);
    CHECK(serve_held(rig.serve, rig.ticket) == NULL);
    CHECK_INT(serve_numbers(rig.serve).held, 0);
    rig_stop(&rig);
}

static void pipelined_in_order(void)
{
    struct rig rig;
    rig_init(&rig);
    rig_open(&rig);
    int fd = rig_connect(&rig);
    rig_text(
        &rig, fd,
        GET("/hello/one") "POST /late HTTP/1.1\r\nHost: a\r\nContent-Type: "
                          "application/json\r\nContent-Length: 2\r\n\r\n{}" GET("/hello/three"));
    CHECK_CONTAINS(rig_answer(&rig, fd), "\"one\"");
    rig_turn(&rig, 20);
    CHECK_INT(rig.handled, 2);
    buf_push_text(serve_reply_body(serve_held(rig.serve, rig.ticket)), "\"two\"");
    serve_reply(serve_held(rig.serve, rig.ticket), 200);
    CHECK_CONTAINS(rig_answer(&rig, fd), "\"two\"");
    CHECK_CONTAINS(rig_answer(&rig, fd), "\"three\"");
    close(fd);
    rig_stop(&rig);
}

static void no_allocation_for_a_request(void)
{
    struct rig rig;
    rig_init(&rig);
    rig_open(&rig);
    int fd = rig_connect(&rig);
    uint64_t before = 0;
    for (int i = 0; i < 100; i++) {
        if (i == 10) before = mem_thread_count();
        rig_text(&rig, fd, i % 2 ? GET("/hello/ann") : GET("/nothing"));
        CHECK_CONTAINS(rig_answer(&rig, fd), "HTTP/1.1 ");
    }
    CHECK_INT(mem_thread_count() - before, 0);
    close(fd);
    rig_stop(&rig);
}

int main(void)
{
    CASE(get_answers);
    CASE(post_answers);
    CASE(held_answers);
    CASE(client_gone_ticket_dead);
    CASE(pipelined_in_order);
    CASE(no_allocation_for_a_request);
    return 0;
}
