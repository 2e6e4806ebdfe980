/* Opening and stopping: what is in work is finished, the rest ends, nothing stays open. */
#include <dirent.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/serve/support.h"
#include "tests/test.h"

/* LINK: libuv */

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define LATE                                                                                       \
    "POST /late HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: "         \
    "2\r\n\r\n{}"

static int64_t now_ms(void)
{
    struct clock clock = {0};
    return (int64_t)(clock_mono_us(&clock) / 1000);
}

static void on_done(void *context)
{
    struct rig *rig = context;
    rig->is_done = true;
}

static int open_files(void)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    CHECK(dir != NULL);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static void finishes_what_is_in_work(void)
{
    struct rig rig;
    rig_init(&rig);
    rig_open(&rig);
    int idle = rig_connect(&rig), busy = rig_connect(&rig), half = rig_connect(&rig),
        stream = rig_connect(&rig);
    rig_text(&rig, idle, GET("/open"));
    CHECK_CONTAINS(rig_answer(&rig, idle), "200 OK");
    rig_text(&rig, busy, LATE);
    rig_text(&rig, half, "GET /open HTTP/1.1\r\nHo");
    rig_text(&rig, stream, GET("/stream"));
    CHECK_CONTAINS(rig_until(&rig, stream, ": freshet\n\n"), "200 OK");
    serve_stop(rig.serve, 5000, on_done, &rig);
    CHECK_STR(rig_end(&rig, idle, 3000), "");
    CHECK_STR(rig_end(&rig, stream, 3000), "");
    CHECK(!rig.is_done);
    /* The one held and the one half sent are answered, and told that this was the last. */
    serve_reply_error(serve_held(rig.serve, rig.ticket), 404, "late");
    CHECK_CONTAINS(rig_end(&rig, busy, 3000), "Connection: close\r\n");
    rig_text(&rig, half, "st: a\r\n\r\n");
    const char *got = rig_end(&rig, half, 3000);
    CHECK_CONTAINS(got, "200 OK");
    CHECK_CONTAINS(got, "Connection: close\r\n");
    close(idle);
    close(busy);
    close(half);
    close(stream);
    rig_turn(&rig, 20);
    CHECK(rig.is_done);
    serve_free(rig.serve);
    CHECK_INT(uv_loop_close(&rig.loop), 0);
}

/* A request that was on its way when the server was told to stop is answered, not met by a closed socket. */
static void answers_what_is_on_its_way(void)
{
    struct rig rig;
    rig_init(&rig);
    rig_open(&rig);
    int idle = rig_connect(&rig);
    rig_text(&rig, idle, GET("/open"));
    CHECK_CONTAINS(rig_answer(&rig, idle), "200 OK");
    serve_stop(rig.serve, 5000, on_done, &rig);
    rig_text(&rig, idle, GET("/open"));
    const char *got = rig_end(&rig, idle, 3000);
    CHECK_CONTAINS(got, "200 OK");
    CHECK_CONTAINS(got, "Connection: close\r\n");
    close(idle);
    rig_turn(&rig, 20);
    CHECK(rig.is_done);
    serve_free(rig.serve);
    CHECK_INT(uv_loop_close(&rig.loop), 0);
}

static void grace_has_an_end(void)
{
    struct rig rig;
    rig_init(&rig);
    rig_open(&rig);
    int busy = rig_connect(&rig);
    rig_text(&rig, busy, LATE);
    rig_turn(&rig, 20);
    int64_t start = now_ms();
    serve_stop(rig.serve, 60 * 1000, on_done, &rig);
    rig_turn(&rig, 100);
    CHECK(!rig.is_done);
    serve_stop(rig.serve, 200, NULL, NULL);
    while (!rig.is_done && now_ms() - start < 5000)
        rig_turn(&rig, 5);
    CHECK(rig.is_done);
    CHECK(serve_numbers(rig.serve).held == 0);
    close(busy);
    serve_free(rig.serve);
    CHECK_INT(uv_loop_close(&rig.loop), 0);
}

static void no_file_stays_open(void)
{
    int before = open_files();
    for (int i = 0; i < 5; i++) {
        struct rig rig;
        rig_init(&rig);
        rig_open(&rig);
        for (int c = 0; c < 20; c++)
            CHECK_CONTAINS(rig_once(&rig, c % 2 ? GET("/open") : GET("/nothing")), "HTTP/1.1 ");
        rig_stop(&rig);
    }
    CHECK_INT(open_files(), before);
}

static void addresses(void)
{
    static const struct {
        const char *listen;
        enum err_exit exit_code;
        const char *part;
    } wrong[] = {
        {"8080", ERR_EXIT_USAGE, "no address to listen on"},
        {"127.0.0.1:", ERR_EXIT_USAGE, "no address to listen on"},
        {"127.0.0.1:http", ERR_EXIT_USAGE, "no address to listen on"},
        {"127.0.0.1:65536", ERR_EXIT_USAGE, "no address to listen on"},
        {"256.0.0.1:80", ERR_EXIT_USAGE, "cannot listen on"},
        {"192.0.2.1:0", ERR_EXIT_UNREACHABLE, "cannot listen on"},
    };
    static const char *const right[] = {"127.0.0.1:0", ":0", "localhost:0", "[::1]:0"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct rig rig;
        struct err err = ERR_INIT;
        rig_init(&rig);
        rig.options.listen = wrong[i].listen;
        CHECK_INT(uv_loop_init(&rig.loop), 0);
        CHECK_FAIL(serve_open(&rig.serve, &rig.options, &rig.loop, &err), err, ERR_FATAL);
        CHECK_INT(err.exit_code, wrong[i].exit_code);
        CHECK_CONTAINS(err.text, wrong[i].part);
        CHECK_INT(uv_loop_close(&rig.loop), 0);
    }
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
        struct rig rig;
        rig_init(&rig);
        rig.options.listen = right[i];
        if (i == 3 && access("/proc/net/if_inet6", R_OK) != 0) continue;
        rig_open(&rig);
        if (i < 3) CHECK_CONTAINS(rig_once(&rig, GET("/open")), "200 OK");
        rig_stop(&rig);
    }
}

static void port_taken(void)
{
    struct rig one, two;
    struct err err = ERR_INIT;
    char listen[40];
    rig_init(&one);
    rig_open(&one);
    rig_init(&two);
    (void)snprintf(listen, sizeof listen, "127.0.0.1:%d", one.port);
    two.options.listen = listen;
    CHECK_INT(uv_loop_init(&two.loop), 0);
    CHECK_FAIL(serve_open(&two.serve, &two.options, &two.loop, &err), err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_UNREACHABLE);
    CHECK_CONTAINS(err.text, "address already in use");
    CHECK_INT(uv_loop_close(&two.loop), 0);
    rig_stop(&one);
}

int main(void)
{
    CASE(finishes_what_is_in_work);
    CASE(answers_what_is_on_its_way);
    CASE(grace_has_an_end);
    CASE(no_file_stays_open);
    CASE(addresses);
    CASE(port_taken);
    return 0;
}
