/* Log lines: logfmt or JSON, one write(2) each, so that lines of several threads never mix.
 *
 *   ts=2026-01-31T12:00:00.000Z level=info area=ingest msg="started" topic=a partitions=8
 *   {"ts":"2026-01-31T12:00:00.000Z","level":"info","area":"ingest","msg":"started","topic":"a","partitions":"8"}
 *
 * The caller's fields are written in logfmt; for JSON they are taken apart again. What is too long is cut, never split over
 * two lines, and JSON stays whole. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/utf8.h"

enum {
    LINE_MAX_BYTES = 4096,
    FIELDS_MAX_BYTES = 1024, /* longer fields are cut */
};

static enum log_format format_chosen = LOG_LOGFMT;
static enum log_level lowest_shown = LOG_INFO;
static char debug_areas[256];

void log_init(enum log_format format, enum log_level lowest, const char *areas)
{
    format_chosen = format;
    lowest_shown = lowest;
    (void)snprintf(debug_areas, sizeof debug_areas, "%s", areas);
}

bool log_is_debug(const char *area)
{
    if (lowest_shown == LOG_DEBUG || strcmp(debug_areas, "all") == 0) return true;
    size_t len = strlen(area);
    /* A whole name between commas: "stat" is not "state". */
    for (const char *at = debug_areas; (at = strstr(at, area)) != NULL; at += len) {
        bool begins = at == debug_areas || at[-1] == ',';
        if (begins && (at[len] == '\0' || at[len] == ',')) return true;
    }
    return false;
}

/* Text in double quotes, with quotes, backslashes and control bytes escaped; the same rules serve both formats. */
static size_t put_quoted(char *out, size_t room, const char *text)
{
    size_t n = 0;
    if (room < 3) return 0;
    out[n++] = '"';
    /* 8 bytes: the longest escape, the closing quote and the NUL. */
    for (; *text && n + 8 < room; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            out[n++] = '\\';
            out[n++] = (char)c;
        } else if (c < 0x20) {
            n += (size_t)snprintf(out + n, room - n, "\\u%04x", c);
        } else {
            out[n++] = (char)c;
        }
    }
    out[n++] = '"';
    out[n] = '\0';
    return n;
}

/* Texts come from outside too: a control byte must not begin a line of its own, and JSON must stay UTF-8. */
static void sanitise(char *text)
{
    bool utf8 = utf8_is_valid(str_of(text));
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == 0x7f) *text = ' ';
        if (c >= 0x80 && !utf8) *text = '?';
    }
}

/* Takes the value at *fields, plain or in double quotes with \" and \\ inside, into out and moves *fields behind it. A quote
 * that is never closed ends with the text. */
static void take_value(const char **fields, char *out, size_t room)
{
    const char *at = *fields;
    bool quoted = *at == '"';
    size_t n = 0;
    if (quoted) at++;
    while (*at && *at != (quoted ? '"' : ' ')) {
        if (quoted && *at == '\\' && at[1]) at++;
        if (n + 1 < room) out[n++] = *at;
        at++;
    }
    if (quoted && *at) at++;
    out[n] = '\0';
    *fields = at + strspn(at, " ");
}

/* "key=value k2=\"v 2\"" as JSON members: values stay text. */
static size_t put_fields_json(char *out, size_t room, const char *fields)
{
    size_t n = 0;
    while (*fields) {
        char value[FIELDS_MAX_BYTES];
        size_t key = strcspn(fields, "=");
        if (!fields[key] || n + key + 16 >= room) break;
        n += (size_t)snprintf(out + n, room - n, ",\"%.*s\":", (int)key, fields);
        fields += key + 1;
        take_value(&fields, value, sizeof value);
        n += put_quoted(out + n, room - n, value);
    }
    return n;
}

/* UTC with milliseconds, as RFC 3339 has it. */
static size_t put_time(char *out, size_t room)
{
    struct timespec now;
    struct tm utc;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    size_t n = strftime(out, room, "%Y-%m-%dT%H:%M:%S", &utc);
    return n + (size_t)snprintf(out + n, room - n, ".%03ldZ", now.tv_nsec / 1000000);
}

void log_line(enum log_level level, const char *area, const char *text, const char *fields, ...)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    char line[LINE_MAX_BYTES], extra[FIELDS_MAX_BYTES] = "";
    char message[ERR_TEXT_MAX];
    bool json = format_chosen == LOG_JSON;
    size_t n = 0, room = sizeof line - 4;

    if (level < lowest_shown && !(level == LOG_DEBUG && log_is_debug(area))) return;
    if (fields) {
        va_list args;
        va_start(args, fields);
        (void)vsnprintf(extra, sizeof extra, fields, args);
        va_end(args);
        sanitise(extra);
    }
    (void)snprintf(message, sizeof message, "%s", text);
    sanitise(message);
    n += (size_t)snprintf(line + n, room - n, "%s", json ? "{\"ts\":\"" : "ts=");
    n += put_time(line + n, room - n);
    n += (size_t)snprintf(line + n, room - n,
                          json ? "\",\"level\":\"%s\",\"area\":\"%s\",\"msg\":"
                               : " level=%s area=%s msg=",
                          levels[level], area);
    n += put_quoted(line + n, room - n, message);
    if (json)
        n += put_fields_json(line + n, room - n, extra);
    else if (extra[0])
        n += (size_t)snprintf(line + n, room - n, " %s", extra);
    if (n > room - 1) n = room - 1;
    n += (size_t)snprintf(line + n, sizeof line - n, json ? "}\n" : "\n");
    /* A line that cannot be written is lost: there is nowhere to say so. */
    ssize_t ignored = write(STDERR_FILENO, line, n);
    (void)ignored;
}

void log_err(enum log_level level, const char *area, const struct err *err)
{
    log_line(level, area, err->text, "class=%s at=%s:%d", err_class_name(err->class),
             err->file ? err->file : "?", err->line);
}
