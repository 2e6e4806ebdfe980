/* Log lines as they reach standard error, in both formats and with hostile texts; errors and their wrapping. */
#include "base/log.h"

#include <fcntl.h>
#include <unistd.h>

#include "tests/test.h"

/* Standard error goes into a pipe while a case runs, and back for what the checks print. */
static const char *captured(void (*speak)(void))
{
    static char text[16384];
    int saved = dup(STDERR_FILENO), ends[2];
    CHECK_INT(pipe(ends), 0);
    CHECK(dup2(ends[1], STDERR_FILENO) >= 0);
    speak();
    CHECK(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    close(ends[1]);
    ssize_t n = read(ends[0], text, sizeof(text) - 1);
    close(ends[0]);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static int lines_in(const char *text)
{
    int lines = 0;
    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

static void speak_plain(void)
{
    log_info("ingest", "started", "topic=%s partitions=%d", "a.b", 8);
    log_warn("state", "no fields", NULL);
    log_line(LOG_DEBUG, "state", "hidden", NULL);
}

static void test_logfmt(void)
{
    log_init(LOG_LOGFMT, LOG_INFO, "");
    const char *text = captured(speak_plain);
    CHECK_INT(lines_in(text), 2);
    CHECK_CONTAINS(text, "Z level=info area=ingest msg=\"started\" topic=a.b partitions=8\n");
    CHECK_CONTAINS(text, " level=warn area=state msg=\"no fields\"\n");
    CHECK(strncmp(text, "ts=20", 5) == 0);
}

static void test_json(void)
{
    log_init(LOG_JSON, LOG_WARN, "");
    const char *text = captured(speak_plain);
    CHECK_INT(lines_in(text), 1);
    CHECK(strncmp(text, "{\"ts\":\"20", 9) == 0);
    CHECK_CONTAINS(text, "Z\",\"level\":\"warn\",\"area\":\"state\",\"msg\":\"no fields\"}\n");
}

static void speak_hostile(void)
{
    log_error("app", "line\nbreak \"quoted\" \\ and \xff",
              "id=\"a\nb \\\"c\\\" \\\\\" n=%d odd=\"open", 3);
}

static void test_hostile(void)
{
    log_init(LOG_LOGFMT, LOG_INFO, "");
    const char *text = captured(speak_hostile);
    CHECK_INT(lines_in(text), 1);
    CHECK_CONTAINS(text, "msg=\"line break \\\"quoted\\\" \\\\ and ?\" id=\"a b ");
    log_init(LOG_JSON, LOG_INFO, "");
    text = captured(speak_hostile);
    CHECK_INT(lines_in(text), 1);
    CHECK_CONTAINS(text, "\"msg\":\"line break \\\"quoted\\\" \\\\ and ?\","
                         "\"id\":\"a b \\\"c\\\" \\\\\",\"n\":\"3\",\"odd\":\"open\"}\n");
}

static void speak_long(void)
{
    static char long_text[9000];
    memset(long_text, '"', sizeof(long_text) - 1);
    log_error("app", long_text, "a=%s b=1", long_text);
}

/* Too long is cut, and it is still one line that ends where it should. */
static void test_long(void)
{
    log_init(LOG_JSON, LOG_INFO, "");
    const char *text = captured(speak_long);
    CHECK_INT(lines_in(text), 1);
    CHECK(strlen(text) <= 4096);
    CHECK_STR(text + strlen(text) - 3, "\"}\n");
}

static void speak_debug(void)
{
    log_debug("state", "one", NULL);
    log_debug("stat", "two", NULL);
    log_debug("ingest", "three", NULL);
}

static void test_areas(void)
{
    log_init(LOG_LOGFMT, LOG_INFO, "ingest,state");
    const char *text = captured(speak_debug);
    CHECK_INT(lines_in(text), 2);
    CHECK_CONTAINS(text, "msg=\"one\"");
    CHECK_CONTAINS(text, "msg=\"three\"");
    log_init(LOG_LOGFMT, LOG_INFO, "all");
    CHECK_INT(lines_in(captured(speak_debug)), 3);
    log_init(LOG_LOGFMT, LOG_DEBUG, "");
    CHECK_INT(lines_in(captured(speak_debug)), 3);
    log_init(LOG_LOGFMT, LOG_INFO, "");
    CHECK_INT(lines_in(captured(speak_debug)), 0);
}

static struct err shown;

static void speak_err(void)
{
    log_err(LOG_ERROR, "kafka", &shown);
}

static void test_err(void)
{
    struct err err = ERR_INIT;
    CHECK(!err_set(&err, ERR_RETRY, "broker %d is %s", 7, "busy"));
    CHECK_INT(err.class, ERR_RETRY);
    CHECK_STR(err.text, "broker 7 is busy");
    CHECK(!err_wrap(&err, "topic %s", "a"));
    CHECK_STR(err.text, "topic a: broker 7 is busy");
    CHECK(!err_wrap(&err, "%s", err.text));
    CHECK_STR(err.text, "topic a: broker 7 is busy: topic a: broker 7 is busy");
    CHECK_INT(err.class, ERR_RETRY);
    for (int i = 0; i < 6; i++)
        err_wrap(&err, "%s", err.text);
    CHECK_INT(strlen(err.text), ERR_TEXT_MAX - 1);
    CHECK(!err_fatal(&err, ERR_EXIT_DISK, "full"));
    CHECK_INT(err.exit_code, ERR_EXIT_DISK);
    CHECK_STR(err_class_name(err.class), "fatal");
    shown = err;
    log_init(LOG_LOGFMT, LOG_INFO, "");
    CHECK_CONTAINS(captured(speak_err), "level=error area=kafka msg=\"full\" class=fatal at=");
}

int main(void)
{
    CASE(test_logfmt);
    CASE(test_json);
    CASE(test_hostile);
    CASE(test_long);
    CASE(test_areas);
    CASE(test_err);
    return 0;
}
