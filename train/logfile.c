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

enum { NUMBER_TEXT = 24 };

struct log_reader {
    struct train__records *records;
    enum log_format_kind kind;
    struct train__columns columns;        /* events */
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

/* ---- opening ---- */

bool log_reader_open(struct log_reader **reader, const char *path, enum log_format_kind kind,
                     const char *map, struct err *err)
{
    struct log_reader *r = mem_zalloc(sizeof *r);
    r->kind = kind;
    r->columns = (struct train__columns){.flag = "--map",
                                         .names = map_names,
                                         .n = TARGET_COUNT,
                                         .n_required = TARGET_ITEM + 1,
                                         .usual = default_map};
    if (kind != LOGFILE_EVENTS && map != NULL && map[0] != '\0') {
        (void)err_fatal(err, ERR_EXIT_USAGE, "--map belongs to --format events only");
        goto fail;
    }
    if (!train__records_open(&r->records, path, kind == LOGFILE_EVENTS, err)) goto fail;
    if (kind == LOGFILE_EVENTS && !train__columns_read(&r->columns, r->records, map, err))
        goto fail;
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
    train__columns_free(&reader->columns);
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

static struct str mapped(const struct log_reader *reader, enum target target)
{
    return train__columns_get(&reader->columns, target, reader->tokens);
}

static bool events_row(struct log_reader *reader, struct str text, char *bytes, struct log_row *row,
                       struct err *err)
{
    int n = train__split(bytes, text.len, reader->columns.delimiter, reader->tokens);
    if (n != reader->columns.n_columns) {
        char what[80];
        (void)snprintf(what, sizeof what, "%d fields; the header has %d", n,
                       reader->columns.n_columns);
        return bad_row(reader, err, what, n > 0 ? reader->tokens[0] : text);
    }
    row->user = mapped(reader, TARGET_USER);
    row->item = mapped(reader, TARGET_ITEM);
    row->type = mapped(reader, TARGET_TYPE);
    row->order = mapped(reader, TARGET_ORDER);
    struct str time = mapped(reader, TARGET_TIME);
    struct str quantity = mapped(reader, TARGET_QUANTITY);
    struct str price = mapped(reader, TARGET_PRICE);
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
