/* Where imported and simulated events go. The contract is in sink.h. */
#include "app/sink.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "app/session_lines.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/sync.h"
#include "emit/emit.h"

enum {
    RECORD_MAX = 4 << 20, /* bytes of one line of a file */
    KEY_MAX = 1024,
    CLOSE_MS = 120000, /* for the broker to acknowledge the last records */
    FILE_BUFFER = 256 * 1024,
    WAIT_MAX_US = 100000,
    SESSIONS_MAX = 100000,
    SESSION_IDLE_MS = 30 * 60000, /* what web analytics takes for the end of a visit */
};

struct sink {
    struct sink_options options;
    struct emit_feed *feed;
    gzFile file, flat;
    struct session_lines *lines; /* SINK_LINES: the sessions that are open */
    struct inject *inject;
    struct buf key, line;
    struct clock clock;
    uint64_t records;
};

bool sink_format_is_text(enum sink_format format)
{
    return format == SINK_EVENTS || format == SINK_SESSIONS || format == SINK_PAIRS ||
           format == SINK_LINES;
}

/* ---- files ---- */

/* zlib writes both kinds: compressed when the name asks for it, else as it is. */
static bool file_open(gzFile *file, const char *path, struct err *err)
{
    size_t n = strlen(path);
    bool zip = n > 3 && strcmp(path + n - 3, ".gz") == 0;
    *file = gzopen(path, zip ? "wb6" : "wbT");
    if (!*file) {
        return err_fatal(err, ERR_EXIT_USAGE, "cannot write '%.300s': %s", path, strerror(errno));
    }
    gzbuffer(*file, FILE_BUFFER);
    return true;
}

static bool file_write(gzFile file, const struct buf *line, struct err *err)
{
    if (gzwrite(file, line->data, (unsigned)line->len) == (int)line->len) return true;
    int code;
    const char *text = gzerror(file, &code);
    return err_fatal(err, ERR_EXIT_DISK, "cannot write the file: %s",
                     code == Z_ERRNO ? strerror(errno) : text);
}

/* What is buffered is written here, so a full disk may show only now. */
static bool file_close(gzFile *file, struct err *err)
{
    if (!*file) return true;
    int code = gzclose(*file);
    *file = NULL;
    if (code == Z_OK) return true;
    return err_fatal(err, ERR_EXIT_DISK, "cannot write the end of a file: %s",
                     code == Z_ERRNO ? strerror(errno) : zError(code));
}

/* RFC 4648, with padding. */
static void push_base64(struct buf *out, struct str bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *in = (const uint8_t *)bytes.ptr;
    size_t groups = (bytes.len + 2) / 3;
    char *at = (char *)buf_reserve(out, 4 * groups);
    if (!at) return;
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = bytes.len - i;
        uint32_t bits = (uint32_t)in[i] << 16 | (left > 1 ? (uint32_t)in[i + 1] << 8 : 0) |
                        (left > 2 ? in[i + 2] : 0);
        *at++ = digits[bits >> 18];
        *at++ = digits[bits >> 12 & 63];
        *at++ = left > 1 ? digits[bits >> 6 & 63] : '=';
        *at++ = left > 2 ? digits[bits & 63] : '=';
    }
    out->len += 4 * groups;
}

/* One line of the flat file, before the record is sent: a crash leaves a line too many, never one
 * too few. */
static bool write_flat(struct sink *sink, struct str key, struct str value, int64_t timestamp_ms,
                       const char *mark, struct err *err)
{
    struct buf *line = &sink->line;
    buf_reset(line);
    buf_push_format(line, "{\"n\":%llu,\"key\":\"", (unsigned long long)sink->records);
    push_base64(line, key);
    if (value.ptr) {
        buf_push_text(line, "\",\"value\":\"");
        push_base64(line, value);
        buf_push_text(line, "\"");
    } else {
        buf_push_text(line, "\",\"value\":null");
    }
    buf_push_format(line, ",\"timestamp\":%lld,\"mark\":\"%s\"}\n", (long long)timestamp_ms, mark);
    return file_write(sink->flat, line, err);
}

/* ---- one record, as it is ---- */

/* To the flat file, and to the topic or file. */
static bool send(void *context, struct str key, struct str value, int64_t timestamp_ms,
                 const char *mark, struct err *err)
{
    struct sink *sink = context;
    if (sink->options.timestamps_now) timestamp_ms = clock_wall_ms(&sink->clock);
    if (sink->flat && !write_flat(sink, key, value, timestamp_ms, mark, err)) return false;
    sink->records++;
    if (sink->feed) return emit_feed_send(sink->feed, key, value, timestamp_ms, err);
    if (!sink->file) return true;
    buf_reset(&sink->line);
    buf_push_str(&sink->line, value);
    buf_push_byte(&sink->line, '\n');
    return file_write(sink->file, &sink->line, err);
}

/* ---- the log file formats ---- */

/* A CSV field, quoted where it must be (RFC 4180), and a comma. */
static void push_field(struct buf *line, struct str text)
{
    bool quoted = false;
    for (size_t i = 0; i < text.len; i++)
        quoted = quoted || strchr(",\"\r\n", text.ptr[i]) != NULL;
    if (quoted) buf_push_byte(line, '"');
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '"') buf_push_byte(line, '"');
        buf_push_byte(line, (uint8_t)text.ptr[i]);
    }
    buf_push_text(line, quoted ? "\"," : ",");
}

/* CSV, a row an item. */
static bool write_event_rows(struct sink *sink, const struct event *event, struct str user,
                             struct err *err)
{
    struct buf *line = &sink->line;
    buf_reset(line);
    for (size_t i = 0; i < event->n_items; i++) {
        const struct event_item *item = &event->items[i];
        push_field(line, user);
        push_field(line, item->item_id);
        buf_push_format(line, "%s,%lld,", schemas_event_type_name(event->type),
                        (long long)event->time_ms);
        push_field(line, event->order_id);
        buf_push_format(line, "%g,", item->quantity);
        if (item->has_price) buf_push_format(line, "%.2f", item->price);
        buf_push_byte(line, '\n');
    }
    sink->records += event->n_items;
    return line->len == 0 || file_write(sink->file, line, err);
}

static bool write_line(void *context, struct str line, struct err *err)
{
    struct sink *sink = context;
    buf_reset(&sink->line);
    buf_push_str(&sink->line, line);
    return file_write(sink->file, &sink->line, err);
}

/* Other events than views leave no line: these formats know one kind only. */
static bool write_view(struct sink *sink, const struct event *event, struct str user,
                       struct err *err)
{
    struct buf *line = &sink->line;
    if (event->type != EVENT_VIEW || event->n_items == 0) return true;
    struct str item = event->items[0].item_id;
    struct str session = event->session_id.len ? event->session_id : user;
    buf_reset(line);
    if (sink->lines) {
        sink->records++;
        return session_lines_add(sink->lines, session, item, event->time_ms, err);
    }
    if (sink->options.format == SINK_PAIRS) {
        buf_push_format(line, "%.*s %.*s\n", STR_ARG(user), STR_ARG(item));
    } else {
        buf_push_format(line, "%.*s\t%.*s\t%.3f\n", STR_ARG(session), STR_ARG(item),
                        (double)event->time_ms / 1000);
    }
    sink->records++;
    return file_write(sink->file, line, err);
}

static bool write_header(struct sink *sink, struct err *err)
{
    buf_reset(&sink->line);
    if (sink->options.format == SINK_EVENTS)
        buf_push_text(&sink->line, "user,item,event,time,order,quantity,price\n");
    if (sink->options.format == SINK_SESSIONS)
        buf_push_text(&sink->line, "SessionId\tItemId\tTime\n");
    return sink->line.len == 0 || file_write(sink->file, &sink->line, err);
}

/* ---- public ---- */

bool sink_open(struct sink **out, const struct sink_options *options, struct err *err)
{
    struct sink *sink = mem_zalloc(sizeof(*sink));
    sink->options = *options;
    buf_init(&sink->key, KEY_MAX);
    buf_init(&sink->line, RECORD_MAX);
    if (options->flat && !file_open(&sink->flat, options->flat, err)) goto fail;
    if (options->target == SINK_TO_FILE) {
        if (!file_open(&sink->file, options->path, err) || !write_header(sink, err)) goto fail;
    } else if (options->target == SINK_TO_TOPIC) {
        if (!emit_feed_open(&sink->feed, &options->settings->kafka, options->topic, err)) goto fail;
    }
    struct session_lines_options lines = {
        .max = SESSIONS_MAX, .idle_ms = SESSION_IDLE_MS, .write = write_line, .context = sink};
    if (options->format == SINK_LINES) sink->lines = session_lines_new(&lines);
    sink->inject = inject_new(&options->inject, options->schemas, options->format == SINK_JSON,
                              (struct inject_target){sink, send});
    *out = sink;
    return true;
fail:
    sink_free(sink);
    return false;
}

/* The Kafka key: the user or anonymous id, behind "tenant:" when there is a tenant. */
static struct str make_key(struct sink *sink, const struct event *event)
{
    buf_reset(&sink->key);
    if (event->tenant.len) {
        buf_push_str(&sink->key, event->tenant);
        buf_push_byte(&sink->key, ':');
    }
    buf_push_str(&sink->key, event->user_id.len ? event->user_id : event->anonymous_id);
    return (struct str){(const char *)sink->key.data, sink->key.len};
}

bool sink_event(struct sink *sink, const struct event *event, struct err *err)
{
    struct str user = event->user_id.len ? event->user_id : event->anonymous_id;
    if (sink->options.format == SINK_EVENTS) return write_event_rows(sink, event, user, err);
    if (sink_format_is_text(sink->options.format)) return write_view(sink, event, user, err);
    return inject_event(sink->inject, event, make_key(sink, event), event->time_ms, err);
}

bool sink_finish(struct sink *sink, struct err *err)
{
    if (!inject_flush(sink->inject, err)) return false;
    if (sink->lines && !session_lines_flush(sink->lines, err)) return false;
    struct emit_feed *feed = sink->feed;
    sink->feed = NULL;
    if (feed && !emit_feed_close(feed, CLOSE_MS, err)) return false;
    return file_close(&sink->file, err) && file_close(&sink->flat, err);
}

void sink_free(struct sink *sink)
{
    struct err ignored = ERR_INIT;
    if (!sink) return;
    if (sink->feed && !emit_feed_close(sink->feed, 0, &ignored)) sink->feed = NULL;
    if (!file_close(&sink->file, &ignored) || !file_close(&sink->flat, &ignored)) sink->file = NULL;
    inject_free(sink->inject);
    session_lines_free(sink->lines);
    buf_fini(&sink->key);
    buf_fini(&sink->line);
    mem_free(sink);
}

uint64_t sink_records(const struct sink *sink)
{
    return sink->records;
}

const struct inject *sink_inject(const struct sink *sink)
{
    return sink->inject;
}

/* ---- planned times ---- */

void pacer_start(struct pacer *pacer, double per_second)
{
    struct clock clock = {0};
    pacer->start_us = clock_mono_us(&clock);
    pacer->per_us = per_second / 1e6;
}

bool pacer_wait(const struct pacer *pacer, double done)
{
    struct clock clock = {0};
    if (!(pacer->per_us > 0)) return true;
    uint64_t due = pacer->start_us + (uint64_t)(done / pacer->per_us);
    uint64_t until = clock_mono_us(&clock) + WAIT_MAX_US;
    for (;;) {
        uint64_t now = clock_mono_us(&clock);
        if (now >= due) return true;
        if (now >= until) return false;
        /* The last sleep is under a millisecond too long. */
        uint64_t left_ms = ((due < until ? due : until) - now) / 1000;
        sync_sleep_ms(left_ms > 0 ? (int64_t)left_ms : 1);
    }
}
