/* The progress line on a pipe (plain lines) and on a pseudo-terminal (one line, redrawn), with a clock that the test turns. */
#define _XOPEN_SOURCE 700 /* pseudo-terminals */
#include "base/progress.h"

#include <fcntl.h>
#include <unistd.h>

#include "tests/test.h"

static const char *drain(int fd)
{
    static char text[4096];
    ssize_t n = read(fd, text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void test_numbers(void)
{
    char n[8], t[32];
    CHECK_STR(progress_count(0, n), "0");
    CHECK_STR(progress_count(950, n), "950");
    CHECK_STR(progress_count(999.6, n), "1.0k");
    CHECK_STR(progress_count(1234, n), "1.2k");
    CHECK_STR(progress_count(123456, n), "123k");
    CHECK_STR(progress_count(999999, n), "1.0M");
    CHECK_STR(progress_count(2.9e6, n), "2.9M");
    CHECK_STR(progress_count(1e30, n), "99999T");
    CHECK_STR(progress_time(44.4, t), "00:44");
    CHECK_STR(progress_time(3599.6, t), "01:00:00");
    CHECK_STR(progress_time(2 * 86400 + 3 * 3600, t), "2d 03h");
    CHECK_STR(progress_time(-1, t), "00:00");
}

static void test_plain(void)
{
    int ends[2];
    struct clock clock = {.fixed_ms = 1000000};
    CHECK_INT(pipe(ends), 0);
    CHECK_INT(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    struct progress_options options = {
        .what = "train", .unit = "steps", .total = 2000, .fd = ends[1], .clock = &clock};
    struct progress *progress = progress_new(&options);
    progress_update(progress, 100, NULL);
    CHECK_STR(drain(ends[0]), "");
    clock.fixed_ms += 10000;
    progress_update(progress, 1000, "loss 4.2");
    CHECK_STR(drain(ends[0]),
              "train   50% [##########----------]  1.0k/2.0k steps  100/s  00:10 left  loss 4.2\n");
    clock.fixed_ms += 9999;
    progress_update(progress, 1999, NULL);
    CHECK_STR(drain(ends[0]), "");
    clock.fixed_ms += 1;
    progress_update(progress, 2000, NULL);
    CHECK_CONTAINS(drain(ends[0]), "train  100% [####################]  2.0k/2.0k steps");
    clock.fixed_ms += 5000;
    progress_end(progress);
    CHECK_STR(drain(ends[0]), "train  100% [####################]  2.0k/2.0k steps  80/s  in 00:25"
                              "  loss 4.2\n");
    close(ends[0]);
    close(ends[1]);
}

static void test_quiet(void)
{
    int ends[2];
    struct clock clock = {.fixed_ms = 1000000};
    CHECK_INT(pipe(ends), 0);
    CHECK_INT(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    struct progress_options options = {
        .what = "x", .unit = "", .quiet = true, .fd = ends[1], .clock = &clock};
    struct progress *progress = progress_new(&options);
    clock.fixed_ms += 100000;
    progress_update(progress, 5, "text");
    progress_end(progress);
    CHECK_STR(drain(ends[0]), "");
    progress_end(NULL);
    close(ends[0]);
    close(ends[1]);
}

/* A pseudo-terminal: the line is redrawn in place and ends once. */
static void test_terminal(void)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) {
        printf("SKIPPED: no pseudo-terminal here\n");
        return;
    }
    int terminal = open(ptsname(master), O_RDWR | O_NOCTTY);
    CHECK(terminal >= 0);
    struct clock clock = {.fixed_ms = 1000000};
    struct progress_options options = {
        .what = "import", .unit = "events", .total = 0, .fd = terminal, .clock = &clock};
    struct progress *progress = progress_new(&options);
    clock.fixed_ms += 1000;
    progress_update(progress, 5000, NULL);
    CHECK_STR(drain(master), "\rimport  5.0k events  5.0k/s\x1b[K");
    clock.fixed_ms += 50;
    progress_update(progress, 5001, NULL);
    progress_hide(progress);
    CHECK_STR(drain(master), "\r\x1b[K");
    progress_total(progress, 10000);
    clock.fixed_ms += 950;
    progress_update(progress, 10000, NULL);
    CHECK_CONTAINS(drain(master), "\rimport  100% [####################]  10.0k/10.0k events");
    progress_end(progress);
    CHECK_CONTAINS(drain(master), "in 00:02\x1b[K\r\n");
    close(terminal);
    close(master);
}

int main(void)
{
    CASE(test_numbers);
    CASE(test_plain);
    CASE(test_quiet);
    CASE(test_terminal);
    return 0;
}
