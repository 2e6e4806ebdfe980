/* The four log file formats, read as one stream of rows. */
#include "train/train.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "train/internal.h"

/* What a column can be mapped to. The order is that of map_names. */
enum target {
    TARGET_USER,
    TARGET_ITEM,
    TARGET_TYPE,
    TARGET_TIME,
    TARGET_ORDER,
    TARGET_QUANTITY,
    TARGET_PRICE,
    TARGET_COUNT
};

static const char *const map_names[TARGET_COUNT] = {"user",  "item",     "type", "time",
                                                    "order", "quantity", "price"};

/* Used when no map is given: the names that logs usually have. A name that the header lacks is skipped. */
static const char default_map[] =
    "user=user_id|user|visitorid|userId|session_id,item=item_id|item|itemid|movieId,"
    "type=event_type|type|event,time=event_time|time|timestamp,order=order_id|transactionid,"
    "quantity=quantity,price=price";

enum { ALTERNATIVES_MAX = 8, NUMBER_TEXT = 24 };

struct mapping {
    struct str literal; /* "type==purchase": every row has this text; ptr NULL: none */
    int columns[ALTERNATIVES_MAX];
    int n; /* alternatives: the first that is not empty counts */
};

struct log_reader {
    struct train__records *records;
    enum log_format_kind kind;
    char delimiter;
    char *map; /* what the literals point into */
    struct mapping mappings[TARGET_COUNT];
    int n_columns;                        /* events: of the header */
    bool header_is_past;                  /* sessions: the first record was looked at */
    struct str tokens[TRAIN__FIELDS_MAX]; /* the record's fields */
    /* lines: what is left of the session under way */
    char *rest;
    size_t rest_len;
    char session[NUMBER_TEXT];
};

bool log_format_parse(const char *name, enum log_format_kind *kind)
{
    static const char *const names[] = {"pairs", "lines", "sessions", "events"};
    for (int i = 0; i < 4; i++) {
        if (strcmp(name, names[i]) == 0) {
            *kind = (enum log_format_kind)i;
            return true;
        }
    }
    return false;
}

/* ---- the map of the events format ---- */

/* Takes the text up to `separator` (or the end) off the front. */
static struct str take_until(struct str *text, char separator)
{
    size_t n = 0;
    while (n < text->len && text->ptr[n] != separator)
        n++;
    struct str part = {text->ptr, n};
    size_t used = n < text->len ? n + 1 : n;
    text->ptr += used;
    text->len -= used;
    return part;
}

static int column_find(const struct log_reader *reader, struct str name)
{
    for (int i = 0; i < reader->n_columns; i++) {
        if (str_equal(reader->tokens[i], name)) return i;
    }
    return -1;
}

/* "the header has: a, b, c" for messages; cut when long. */
static void header_text(const struct log_reader *reader, char *out, size_t size)
{
    size_t at = 0;
    out[0] = '\0';
    for (int i = 0; i < reader->n_columns && at + 1 < size; i++) {
        int n = snprintf(out + at, size - at, "%s%.*s", i ? ", " : "", STR_ARG(reader->tokens[i]));
        if (n < 0) return;
        at += (size_t)n;
    }
}

/* "Name" or "Name|Other" of one target. strict: a name that the header lacks is an error. */
static bool map_columns(struct log_reader *reader, enum target target, struct str names,
                        bool strict, struct err *err)
{
    struct mapping *m = &reader->mappings[target];
    while (names.len > 0) {
        struct str name = take_until(&names, '|');
        int column = column_find(reader, name);
        if (column < 0 && strict) {
            char header[240];
            header_text(reader, header, sizeof header);
            return err_fatal(
                err, ERR_EXIT_USAGE, "%s:1: no column \"%.*s\" (--map %s=); the header has: %s",
                train__records_path(reader->records), STR_ARG(name), map_names[target], header);
        }
        if (column < 0) continue;
        if (m->n == ALTERNATIVES_MAX)
            return err_fatal(err, ERR_EXIT_USAGE, "--map %s=: more than %d columns",
                             map_names[target], ALTERNATIVES_MAX);
        m->columns[m->n++] = column;
    }
    return true;
}

static bool map_entry(struct log_reader *reader, struct str entry, bool strict, struct err *err)
{
    struct str value = entry;
    struct str name = take_until(&value, '=');
    for (int i = 0; i < TARGET_COUNT; i++) {
        if (!str_equal(name, str_of(map_names[i]))) continue;
        if (value.len > 0 && value.ptr[0] == '=') {
            reader->mappings[i].literal = (struct str){value.ptr + 1, value.len - 1};
            return true;
        }
        return map_columns(reader, (enum target)i, value, strict, err);
    }
    return err_fatal(err, ERR_EXIT_USAGE,
                     "--map: \"%.*s\" is no field; fields are user, item, type, time, order, "
                     "quantity, price (user=column, user=column|other, type==literal)",
                     STR_ARG(name));
}

static bool map_parse(struct log_reader *reader, const char *map, struct err *err)
{
    bool strict = map != NULL && map[0] != '\0';
    reader->map = mem_strdup(strict ? map : default_map);
    struct str rest = str_of(reader->map);
    while (rest.len > 0) {
        struct str entry = take_until(&rest, ',');
        if (entry.len > 0 && !map_entry(reader, entry, strict, err)) return false;
    }
    const struct mapping *m = reader->mappings;
    for (int i = TARGET_USER; i <= TARGET_ITEM; i++) {
        if (m[i].n > 0 || m[i].literal.ptr) continue;
        char header[240];
        header_text(reader, header, sizeof header);
        return err_fatal(err, ERR_EXIT_USAGE,
                         "%s:1: which column is the %s? Say --map %s=COLUMN; the header has: %s",
                         train__records_path(reader->records), map_names[i], map_names[i], header);
    }
    return true;
}

/* The header of an events file: finds the delimiter, the columns, and what they mean. */
static bool header_read(struct log_reader *reader, const char *map, struct err *err)
{
    char *text;
    size_t len;
    if (!train__records_next(reader->records, &text, &len, err)) {
        if (err->class == ERR_NONE)
            return err_fatal(err, ERR_EXIT_USAGE,
                             "%s: is empty; a header with column names is expected",
                             train__records_path(reader->records));
        err->class = ERR_FATAL;
        err->exit_code = ERR_EXIT_USAGE;
        return false;
    }
    static const char byte_order_mark[] = "\xEF\xBB\xBF";
    if (len >= 3 && memcmp(text, byte_order_mark, 3) == 0) {
        text += 3;
        len -= 3;
    }
    reader->delimiter = memchr(text, ',', len)    ? ','
                        : memchr(text, '\t', len) ? '\t'
                        : memchr(text, ';', len)  ? ';'
                                                  : ',';
    train__records_delimiter(reader->records, reader->delimiter);
    reader->n_columns = train__split(text, len, reader->delimiter, reader->tokens);
    if (reader->n_columns < 0)
        return err_fatal(err, ERR_EXIT_USAGE, "%s:1: more than %d columns",
                         train__records_path(reader->records), TRAIN__FIELDS_MAX);
    return map_parse(reader, map, err);
}

/* ---- opening ---- */

bool log_reader_open(struct log_reader **reader, const char *path, enum log_format_kind kind,
                     const char *map, struct err *err)
{
    struct log_reader *r = mem_zalloc(sizeof *r);
    r->kind = kind;
    r->delimiter = ' ';
    if (kind != LOGFILE_EVENTS && map != NULL && map[0] != '\0') {
        (void)err_fatal(err, ERR_EXIT_USAGE, "--map belongs to --format events only");
        goto fail;
    }
    if (!train__records_open(&r->records, path, kind == LOGFILE_EVENTS, err)) goto fail;
    if (kind == LOGFILE_EVENTS && !header_read(r, map, err)) goto fail;
    *reader = r;
    return true;
fail:
    log_reader_close(r);
    return false;
}

void log_reader_close(struct log_reader *reader)
{
    if (!reader) return;
    train__records_close(reader->records);
    mem_free(reader->map);
    mem_free(reader);
}

double log_reader_progress(const struct log_reader *reader)
{
    return train__records_progress(reader->records);
}

/* ---- rows ---- */

static bool bad_row(const struct log_reader *reader, struct err *err, const char *what,
                    struct str value)
{
    return err_set(err, ERR_DATA, "%s:%llu: %s: \"%.*s\"", train__records_path(reader->records),
                   (unsigned long long)train__records_line(reader->records), what,
                   value.len > 80 ? 80 : (int)value.len, value.len ? value.ptr : "");
}

/* Without the spaces around it: exports pad their fields, ids are compared byte for byte. */
static struct str trimmed(struct str text)
{
    while (text.len > 0 && (text.ptr[0] == ' ' || text.ptr[0] == '\t')) {
        text.ptr++;
        text.len--;
    }
    while (text.len > 0 && strchr(" \t\r", text.ptr[text.len - 1]) && text.ptr[text.len - 1])
        text.len--;
    return text;
}

static struct str mapped(const struct log_reader *reader, enum target target, int n_fields)
{
    const struct mapping *m = &reader->mappings[target];
    if (m->literal.ptr) return m->literal;
    for (int i = 0; i < m->n; i++) {
        int column = m->columns[i];
        struct str value = column < n_fields ? trimmed(reader->tokens[column]) : (struct str){0};
        if (value.len > 0) return value;
    }
    return (struct str){NULL, 0};
}

static bool events_row(struct log_reader *reader, struct str text, char *bytes, struct log_row *row,
                       struct err *err)
{
    int n = train__split(bytes, text.len, reader->delimiter, reader->tokens);
    if (n != reader->n_columns) {
        char what[80];
        (void)snprintf(what, sizeof what, "%d fields; the header has %d", n, reader->n_columns);
        return bad_row(reader, err, what, n > 0 ? reader->tokens[0] : text);
    }
    row->user = mapped(reader, TARGET_USER, n);
    row->item = mapped(reader, TARGET_ITEM, n);
    row->type = mapped(reader, TARGET_TYPE, n);
    row->order = mapped(reader, TARGET_ORDER, n);
    struct str time = mapped(reader, TARGET_TIME, n);
    struct str quantity = mapped(reader, TARGET_QUANTITY, n);
    struct str price = mapped(reader, TARGET_PRICE, n);
    if (row->user.len == 0) return bad_row(reader, err, "the user is empty", row->item);
    if (row->item.len == 0) return bad_row(reader, err, "the item is empty", row->user);
    if (time.len > 0 && !train__time_parse(time, &row->time_ms))
        return bad_row(reader, err, "no time (seconds, milliseconds or YYYY-MM-DD HH:MM:SS)", time);
    if (quantity.len > 0 && !train__number_parse(quantity, &row->quantity))
        return bad_row(reader, err, "the quantity is no number", quantity);
    if (price.len > 0 && !train__number_parse(price, &row->price))
        return bad_row(reader, err, "the price is no number", price);
    return true;
}

static bool pairs_row(struct log_reader *reader, struct str text, char *bytes, struct log_row *row,
                      struct err *err)
{
    int n = train__split(bytes, text.len, ' ', reader->tokens);
    if (n != 2) return bad_row(reader, err, "expected two fields, \"user item\"", text);
    row->user = reader->tokens[0];
    row->item = reader->tokens[1];
    return true;
}

/* false with ERR_NONE: this is the header. */
static bool sessions_row(struct log_reader *reader, struct str text, char *bytes,
                         struct log_row *row, struct err *err)
{
    bool first = !reader->header_is_past;
    reader->header_is_past = true;
    int n = train__split(bytes, text.len, ' ', reader->tokens);
    if (n != 3)
        return bad_row(reader, err, "expected three fields, \"SessionId ItemId Time\"", text);
    row->user = reader->tokens[0];
    row->item = reader->tokens[1];
    if (train__time_parse(reader->tokens[2], &row->time_ms)) return true;
    if (first) return false;
    return bad_row(reader, err, "no time (seconds or milliseconds)", reader->tokens[2]);
}

/* The next item of the session under way; false when it has none left. */
static bool lines_item(struct log_reader *reader, struct log_row *row)
{
    char *p = reader->rest;
    size_t left = reader->rest_len;
    while (left > 0 && (*p == ' ' || *p == '\t')) {
        p++;
        left--;
    }
    size_t n = 0;
    while (n < left && p[n] != ' ' && p[n] != '\t')
        n++;
    reader->rest = p + n;
    reader->rest_len = left - n;
    row->user = str_of(reader->session);
    row->item = (struct str){p, n};
    return n > 0;
}

bool log_reader_next(struct log_reader *reader, struct log_row *row, struct err *err)
{
    err->class = ERR_NONE;
    for (;;) {
        *row = (struct log_row){.quantity = 1, .price = (double)NAN};
        row->line = train__records_line(reader->records);
        if (reader->rest_len > 0 && lines_item(reader, row)) return true;
        char *bytes;
        size_t len;
        if (!train__records_next(reader->records, &bytes, &len, err)) return false;
        row->line = train__records_line(reader->records);
        struct str text = {bytes, len};
        switch (reader->kind) {
        case LOGFILE_PAIRS:
            return pairs_row(reader, text, bytes, row, err);
        case LOGFILE_EVENTS:
            return events_row(reader, text, bytes, row, err);
        case LOGFILE_SESSIONS:
            if (sessions_row(reader, text, bytes, row, err)) return true;
            if (err->class != ERR_NONE) return false;
            break;
        case LOGFILE_LINES:
            (void)snprintf(reader->session, sizeof reader->session, "%llu",
                           (unsigned long long)row->line);
            reader->rest = bytes;
            reader->rest_len = len;
            break;
        }
    }
}
