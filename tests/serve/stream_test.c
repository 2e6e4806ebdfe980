/* Server-sent events: bytes on the wire, many readers, a slow one, limits. */
#include <sys/socket.h>
#include <unistd.h>

#include "tests/serve/support.h"
#include "tests/test.h"

/* LINK: libuv */

#define STREAM(topic)                                                                              \
    "GET /stream?topic=" topic " HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n"

struct sending {
    const char *topic; /* NULL: all */
    struct str data;
    int sent, refused;
};

static void visit(void *context, struct serve_request *request)
{
    struct sending *sending = context;
    if (sending->topic && !str_equal(serve_text(request, "topic"), str_of(sending->topic))) return;
    if (serve_stream_send(request, "list", "7", sending->data))
        sending->sent++;
    else
        sending->refused++;
}

static struct sending send_to(struct rig *rig, const char *topic, struct str data)
{
    struct sending sending = {topic, data, 0, 0};
    serve_stream_each(rig->serve, "/stream", visit, &sending);
    return sending;
}

static void events_arrive(void)
{
    struct rig rig;
    rig_init(&rig);
    rig_open(&rig);
    int a = rig_connect(&rig), b = rig_connect(&rig);
    rig_text(&rig, a, STREAM("a"));
    rig_text(&rig, b, STREAM("b"));
    const char *got = rig_until(&rig, a, ": freshet\n\n");
    CHECK_CONTAINS(got, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n");
    CHECK(strstr(got, "Content-Length") == NULL);
    CHECK_CONTAINS(rig_until(&rig, b, ": freshet\n\n"), "\r\n\r\n");
    CHECK_INT(serve_numbers(rig.serve).streams, 2);
    CHECK_INT(send_to(&rig, "b", STR("x")).sent, 1);
    CHECK_INT(send_to(&rig, NULL, STR("{\"y\":1}\nz\n")).sent, 2);
    CHECK_STR(
        rig_until(&rig, b, "z\ndata: \n\n"),
        "event: list\nid: 7\ndata: x\n\nevent: list\nid: 7\ndata: {\"y\":1}\ndata: z\ndata: \n\n");
    CHECK_STR(rig_until(&rig, a, "z\ndata: \n\n"),
              "event: list\nid: 7\ndata: {\"y\":1}\ndata: z\ndata: \n\n");
    /* Who goes is forgotten. */
    close(a);
    rig_turn(&rig, 50);
    CHECK_INT(serve_numbers(rig.serve).streams, 1);
    CHECK_INT(send_to(&rig, NULL, STR("")).sent, 1);
    CHECK_STR(rig_until(&rig, b, "data: \n\n"), "event: list\nid: 7\ndata: \n\n");
    close(b);
    rig_stop(&rig);
}

/* Nobody reads: once the sockets are full the queue fills up to its limit, then that reader goes, and no other. */
static void slow_reader_is_dropped(void)
{
    struct rig rig;
    static char data[8192];
    int refused = 0, small = 4096, turns = 0;
    rig_init(&rig);
    rig.options.limits.queue = 64 * 1024;
    rig_open(&rig);
    int slow = rig_connect(&rig), quick = rig_connect(&rig);
    CHECK_INT(setsockopt(slow, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    memset(data, 'd', sizeof data);
    rig_text(&rig, slow, STREAM("slow"));
    rig_text(&rig, quick, STREAM("quick"));
    rig_turn(&rig, 20);
    CHECK_INT(serve_numbers(rig.serve).streams, 2);
    while (refused == 0 && turns++ < 4000) {
        refused = send_to(&rig, "slow", (struct str){data, sizeof data}).refused;
        CHECK_INT(send_to(&rig, "quick", STR("q")).sent, 1);
        rig_turn(&rig, 0);
        CHECK_CONTAINS(rig_until(&rig, quick, "data: q\n\n"), "data: q\n\n");
    }
    CHECK_INT(refused, 1);
    CHECK_INT(serve_numbers(rig.serve).streams, 1);
    CHECK_INT(serve_numbers(rig.serve).streams_dropped, 1);
    close(slow);
    close(quick);
    rig_stop(&rig);
}

/* A reader that stopped with little waiting goes too, by the clock. */
static void stuck_reader_is_dropped(void)
{
    struct rig rig;
    static char data[200 * 1024];
    rig_init(&rig);
    rig.options.limits.write_ms = 1000;
    rig.options.limits.queue = 32 * 1024 * 1024;
    rig_open(&rig);
    int fd = rig_connect(&rig), small = 4096;
    CHECK_INT(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    memset(data, 'd', sizeof data);
    rig_text(&rig, fd, STREAM("x"));
    rig_turn(&rig, 20);
    for (int i = 0; i < 100; i++)
        CHECK_INT(send_to(&rig, NULL, (struct str){data, sizeof data}).sent, 1);
    rig_turn(&rig, 50);
    CHECK_INT(serve_numbers(rig.serve).streams, 1);
    for (int i = 0; i < 400 && serve_numbers(rig.serve).streams; i++)
        rig_turn(&rig, 20);
    CHECK_INT(serve_numbers(rig.serve).streams, 0);
    close(fd);
    rig_stop(&rig);
}

static void streams_have_a_limit(void)
{
    struct rig rig;
    rig_init(&rig);
    rig.options.limits.streams = 1;
    rig_open(&rig);
    int fd = rig_connect(&rig);
    rig_text(&rig, fd, STREAM("x"));
    CHECK_CONTAINS(rig_until(&rig, fd, ": freshet\n\n"), "200 OK");
    CHECK_CONTAINS(rig_once(&rig, STREAM("y")), "503 Service Unavailable");
    /* HEAD looks and takes none. */
    CHECK_INT(serve_numbers(rig.serve).streams, 1);
    close(fd);
    rig_turn(&rig, 20);
    int head = rig_connect(&rig);
    rig_text(&rig, head, "HEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK_CONTAINS(rig_end(&rig, head, 3000), "text/event-stream");
    CHECK_INT(serve_numbers(rig.serve).streams, 0);
    close(head);
    rig_stop(&rig);
}

/* What a reader says on an open stream is dropped, however much it is. */
static void readers_may_talk(void)
{
    struct rig rig;
    static char noise[300 * 1024];
    rig_init(&rig);
    rig_open(&rig);
    int fd = rig_connect(&rig);
    rig_text(&rig, fd, STREAM("x"));
    CHECK_CONTAINS(rig_until(&rig, fd, ": freshet\n\n"), "200 OK");
    memset(noise, 'G', sizeof noise);
    rig_send(&rig, fd, noise, sizeof noise);
    rig_turn(&rig, 20);
    CHECK_INT(send_to(&rig, "x", STR("still here")).sent, 1);
    CHECK_CONTAINS(rig_until(&rig, fd, "here\n\n"), "data: still here\n\n");
    close(fd);
    rig_stop(&rig);
}

static void silent_streams_get_comments(void)
{
    struct rig rig;
    rig_init(&rig);
    rig.options.limits.beat_ms = 50;
    rig_open(&rig);
    int fd = rig_connect(&rig);
    rig_text(&rig, fd, STREAM("x"));
    CHECK_CONTAINS(rig_until(&rig, fd, ":\n\n:\n\n:\n\n"), ": freshet\n\n:\n\n:\n\n");
    close(fd);
    rig_stop(&rig);
}

int main(void)
{
    CASE(silent_streams_get_comments);
    CASE(events_arrive);
    CASE(slow_reader_is_dropped);
    CASE(stuck_reader_is_dropped);
    CASE(streams_have_a_limit);
    CASE(readers_may_talk);
    return 0;
}
