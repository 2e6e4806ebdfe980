/* Views become lines: one session a line, in the order in which sessions end, within the bound. */
#include "app/session_lines.h"
#include "base/buf.h"
#include "tests/test.h"

static struct buf written;

static bool take(void *context, struct str line, struct err *err)
{
    (void)context;
    (void)err;
    buf_push_str(&written, line);
    return true;
}

static bool refuse(void *context, struct str line, struct err *err)
{
    (void)context;
    (void)line;
    return err_fatal(err, ERR_EXIT_DISK, "no room");
}

static struct session_lines *lines_new(int max)
{
    buf_init(&written, 1 << 24);
    struct session_lines_options options = {.max = max, .idle_ms = 1000, .write = take};
    return session_lines_new(&options);
}

static void add(struct session_lines *lines, const char *session, const char *item, int64_t time_ms)
{
    struct err err = ERR_INIT;
    CHECK_OK(session_lines_add(lines, str_of(session), str_of(item), time_ms, &err), err);
}

static void end(struct session_lines *lines, const char *expected)
{
    struct err err = ERR_INIT;
    CHECK_OK(session_lines_flush(lines, &err), err);
    buf_push_byte(&written, 0);
    CHECK_STR((const char *)written.data, expected);
    session_lines_free(lines);
    buf_fini(&written);
}

/* Interleaved sessions; one ends by time and comes back as another; the rest at the end, last views first. */
static void interleaved(void)
{
    struct session_lines *lines = lines_new(10);
    add(lines, "a", "1", 0);
    add(lines, "b", "2", 100);
    add(lines, "a", "3", 200);
    add(lines, "c", "4", 1150); /* b's last view is 1,050 ms ago, a's 950 */
    add(lines, "b", "5", 1160);
    add(lines, "a", "6", 1170);
    CHECK_BYTES(written.data, written.len, "2\n", 2);
    end(lines, "2\n4\n5\n1 3 6\n");
}

/* With room for two the third sends the one away whose last view is the oldest. */
static void bounded(void)
{
    struct session_lines *lines = lines_new(2);
    add(lines, "a", "1", 0);
    add(lines, "b", "2", 1);
    add(lines, "a", "3", 2);
    add(lines, "c", "4", 3);
    CHECK_BYTES(written.data, written.len, "2\n", 2);
    end(lines, "2\n1 3\n4\n");
}

/* A session of more than a megabyte goes on in another line: nothing is cut. */
static void long_one(void)
{
    struct session_lines *lines = lines_new(2);
    char item[101] = {0};
    memset(item, 'x', 100);
    for (int i = 0; i < 30000; i++)
        add(lines, "a", item, i / 1000);
    struct err err = ERR_INIT;
    CHECK_OK(session_lines_flush(lines, &err), err);
    size_t n_lines = 0, n_x = 0;
    for (size_t i = 0; i < written.len; i++) {
        n_lines += written.data[i] == '\n';
        n_x += written.data[i] == 'x';
    }
    CHECK_INT(n_x, 3000000);
    CHECK_INT(n_lines, 3);
    session_lines_free(lines);
    buf_fini(&written);
}

static void failure_is_passed_on(void)
{
    struct session_lines_options options = {.max = 1, .idle_ms = 1000, .write = refuse};
    struct session_lines *lines = session_lines_new(&options);
    struct err err = ERR_INIT;
    CHECK_OK(session_lines_add(lines, STR("a"), STR("1"), 0, &err), err);
    CHECK_FAIL(session_lines_add(lines, STR("b"), STR("1"), 0, &err), err, ERR_FATAL);
    session_lines_free(lines);
}

int main(void)
{
    CASE(interleaved);
    CASE(bounded);
    CASE(long_one);
    CASE(failure_is_passed_on);
    return 0;
}
