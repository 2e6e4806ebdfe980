/* Log rows to shop events. The contract is in import.h. */
#include "app/import.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/mem.h"

enum {
    NAME_MAX_BYTES = 64,
    SUM_BYTES = 1 << 20,   /* of the file, in the checksum of the event ids */
    PROGRESS_EVERY = 4096, /* rows */
    EVENT_ITEMS_MAX = 500, /* a longer order becomes several events; our decoder takes 1,000 */
    ID_TEXT = NAME_MAX_BYTES + 24,
};

/* A row that is kept. Texts are offsets into `texts`. */
struct kept_item {
    uint32_t item_len;
    float price; /* NaN when none */
    double quantity;
    size_t item;
};

/* An event to be: rows first_item .. first_item + n_items - 1. */
struct kept_event {
    int64_t time_ms;
    uint64_t line;
    size_t user, order;
    uint32_t user_len, order_len;
    size_t first_item;
    uint32_t n_items;
    enum event_type type;
};

struct import {
    struct import_options options;
    char name[NAME_MAX_BYTES];
    char *texts;
    size_t texts_len, texts_cap;
    struct kept_item *items;
    size_t n_items, items_cap;
    struct kept_event *events;
    size_t n_events, events_cap;
    size_t next;
    uint64_t rows, bad[IMPORT_BAD_COUNT];
    char shown[IMPORT_SHOWN_MAX][IMPORT_SHOWN_TEXT];
    int n_shown;
    struct event_item out[EVENT_ITEMS_MAX];
    char event_id[ID_TEXT];
};

static const char *const bad_names[IMPORT_BAD_COUNT] = {
    "unreadable row", "unknown event type", "no user id",  "no item id",
    "no time",        "quantity zero",      "skipped item"};

const char *import_bad_name(enum import_bad bad)
{
    return bad_names[bad];
}

/* ---- memory that grows ---- */

/* Room for one more; doubles. */
static void *grown(void *array, size_t n, size_t *cap, size_t size)
{
    if (n < *cap) return array;
    *cap = *cap ? *cap * 2 : 1024;
    return mem_realloc(array, *cap * size);
}

/* Returns the text's offset; the texts may move. */
static size_t keep_text(struct import *import, struct str text)
{
    size_t at = import->texts_len;
    if (at + text.len > import->texts_cap) {
        import->texts_cap = (at + text.len) * 2 + 4096;
        import->texts = mem_realloc(import->texts, import->texts_cap);
    }
    if (text.len) memcpy(import->texts + at, text.ptr, text.len);
    import->texts_len = at + text.len;
    return at;
}

/* ---- what a row becomes ---- */

/* Counts the row; in strict mode, fills err and returns false. */
static bool refuse(struct import *import, enum import_bad bad, uint64_t line, const char *text,
                   struct err *err)
{
    import->bad[bad]++;
    if (bad == IMPORT_SKIPPED_ITEM) return true;
    if (import->n_shown < IMPORT_SHOWN_MAX) {
        (void)snprintf(import->shown[import->n_shown++], IMPORT_SHOWN_TEXT, "line %llu: %s",
                       (unsigned long long)line, text);
    }
    if (!import->options.strict) return true;
    return err_fatal(err, ERR_EXIT_DATA, "%.200s:%llu: %.200s (--strict)", import->options.path,
                     (unsigned long long)line, text);
}

/* Exact ids, or a prefix in front of a star. */
static bool is_skipped(const struct import_options *options, struct str item)
{
    for (int i = 0; i < options->n_skip; i++) {
        struct str skip = str_of(options->skip_items[i]);
        bool prefix = skip.len > 0 && skip.ptr[skip.len - 1] == '*';
        if (!prefix && str_equal(skip, item)) return true;
        if (prefix && item.len >= skip.len - 1 && memcmp(skip.ptr, item.ptr, skip.len - 1) == 0)
            return true;
    }
    return false;
}

/* IMPORT_BAD_COUNT: the row is good. */
static enum import_bad judge(const struct import *import, const struct log_row *row,
                             enum event_type *type, char *text, size_t size)
{
    *type = import->options.type;
    if (row->item.len == 0 || row->item.len > SCHEMAS_ID_MAX) {
        (void)snprintf(text, size, row->item.len ? "the item id is too long" : "no item id");
        return IMPORT_BAD_ITEM;
    }
    if (is_skipped(&import->options, row->item)) return IMPORT_SKIPPED_ITEM;
    if (row->user.len == 0 || row->user.len > SCHEMAS_ID_MAX) {
        (void)snprintf(text, size, row->user.len ? "the user id is too long" : "no user id");
        return IMPORT_BAD_USER;
    }
    if (row->type.len && !schemas_event_type_parse(row->type, type)) {
        (void)snprintf(text, size, "unknown event type '%.*s'",
                       (int)(row->type.len < 60 ? row->type.len : 60), row->type.ptr);
        return IMPORT_BAD_TYPE;
    }
    bool timed = import->options.kind == LOGFILE_SESSIONS || import->options.kind == LOGFILE_EVENTS;
    if (timed && row->time_ms <= 0) {
        (void)snprintf(text, size, "no time");
        return IMPORT_BAD_TIME;
    }
    if (!(fabs(row->quantity) > 0) || !isfinite(row->quantity)) {
        (void)snprintf(text, size, "quantity %g", row->quantity);
        return IMPORT_BAD_QUANTITY;
    }
    if (row->quantity < 0 && *type == EVENT_PURCHASE) *type = EVENT_REFUND;
    return IMPORT_BAD_COUNT;
}

static bool same_text(const struct import *import, size_t at, uint32_t len, struct str text)
{
    return str_equal((struct str){import->texts + at, len}, text);
}

/* The event under way takes this row, too. */
static bool joins(const struct import *import, const struct log_row *row, enum event_type type)
{
    if (import->n_events == 0 || row->order.len == 0) return false;
    const struct kept_event *last = &import->events[import->n_events - 1];
    return last->type == type && last->n_items < EVENT_ITEMS_MAX &&
           same_text(import, last->order, last->order_len, row->order) &&
           same_text(import, last->user, last->user_len, row->user);
}

/* The row goes into the event under way, or begins one. */
static void keep(struct import *import, const struct log_row *row, enum event_type type)
{
    if (!joins(import, row, type)) {
        import->events =
            grown(import->events, import->n_events, &import->events_cap, sizeof(*import->events));
        int64_t time_ms = row->time_ms;
        if (time_ms <= 0) time_ms = import->options.start_ms + (int64_t)import->n_events * 1000;
        /* Rows of one user mostly stand together: the id is kept once for a run of them. */
        const struct kept_event *last =
            import->n_events ? &import->events[import->n_events - 1] : NULL;
        bool again = last && same_text(import, last->user, last->user_len, row->user);
        size_t user = again ? last->user : keep_text(import, row->user);
        import->events[import->n_events++] =
            (struct kept_event){.time_ms = time_ms,
                                .line = row->line,
                                .user = user,
                                .user_len = (uint32_t)row->user.len,
                                .order = keep_text(import, row->order),
                                .order_len = (uint32_t)row->order.len,
                                .first_item = import->n_items,
                                .type = type};
    }
    import->items =
        grown(import->items, import->n_items, &import->items_cap, sizeof(*import->items));
    import->items[import->n_items++] = (struct kept_item){.item = keep_text(import, row->item),
                                                          .item_len = (uint32_t)row->item.len,
                                                          .quantity = fabs(row->quantity),
                                                          .price = (float)row->price};
    import->events[import->n_events - 1].n_items++;
}

/* ---- the file ---- */

/* Names the event ids: the file's name without folder, and a checksum of its beginning, since many
 * logs are called train.tsv. */
static bool make_name(struct import *import, struct err *err)
{
    const char *path = import->options.path;
    if (import->options.name) {
        (void)snprintf(import->name, sizeof(import->name), "%s", import->options.name);
        return true;
    }
    FILE *file = fopen(path, "rb");
    if (!file)
        return err_fatal(err, ERR_EXIT_USAGE, "cannot open '%.300s': %s", path, strerror(errno));
    uint8_t *bytes = mem_alloc(SUM_BYTES);
    size_t n = fread(bytes, 1, SUM_BYTES, file);
    (void)fclose(file);
    unsigned long sum = crc32(0, bytes, (unsigned)n);
    mem_free(bytes);
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    (void)snprintf(import->name, sizeof(import->name), "%.*s-%08lx", (int)strcspn(base, "."), base,
                   sum);
    return true;
}

/* Judges and keeps; false only in strict mode. */
static bool take_row(struct import *import, const struct log_row *row, struct err *err)
{
    char text[IMPORT_SHOWN_TEXT] = "";
    enum event_type type;
    enum import_bad bad = judge(import, row, &type, text, sizeof(text));
    if (bad != IMPORT_BAD_COUNT) return refuse(import, bad, row->line, text, err);
    keep(import, row, type);
    return true;
}

/* To the end or the limit. A bad row is skipped by the reader, an unreadable file is not. */
static bool read_rows(struct import *import, struct log_reader *reader,
                      void (*on_progress)(void *context, double share, uint64_t rows),
                      void *context, struct err *err)
{
    uint64_t limit = import->options.limit > 0 ? (uint64_t)import->options.limit : UINT64_MAX;
    while (import->rows < limit) {
        struct log_row row = {0};
        struct err row_err = ERR_INIT;
        bool got = log_reader_next(reader, &row, &row_err);
        if (!got && row_err.class == ERR_NONE) return true;
        import->rows++;
        if (!got && row_err.class != ERR_DATA) {
            *err = row_err;
            return false;
        }
        bool ok = got ? take_row(import, &row, err)
                      : refuse(import, IMPORT_BAD_ROW, row.line, row_err.text, err);
        if (!ok) return false;
        if (on_progress && import->rows % PROGRESS_EVERY == 0) {
            on_progress(context, log_reader_progress(reader), import->rows);
        }
    }
    return true;
}

/* By time, then by place in the file: qsort is not stable by itself. */
static int by_time(const void *a, const void *b)
{
    const struct kept_event *x = a, *y = b;
    if (x->time_ms != y->time_ms) return x->time_ms < y->time_ms ? -1 : 1;
    return x->first_item < y->first_item ? -1 : x->first_item > y->first_item;
}

bool import_open(struct import **out, const struct import_options *options,
                 void (*on_progress)(void *context, double share, uint64_t rows), void *context,
                 struct err *err)
{
    struct import *import = mem_zalloc(sizeof(*import));
    struct log_reader *reader = NULL;
    import->options = *options;
    bool ok = make_name(import, err) &&
              log_reader_open(&reader, options->path, options->kind, options->map, err);
    if (ok) {
        ok = read_rows(import, reader, on_progress, context, err);
        log_reader_close(reader);
    }
    if (!ok) {
        import_close(import);
        return false;
    }
    if (import->n_events) qsort(import->events, import->n_events, sizeof(*import->events), by_time);
    *out = import;
    return true;
}

void import_close(struct import *import)
{
    if (!import) return;
    mem_free(import->texts);
    mem_free(import->items);
    mem_free(import->events);
    mem_free(import);
}

/* ---- events ---- */

bool import_next(struct import *import, struct event *event)
{
    if (import->next == import->n_events) return false;
    const struct kept_event *kept = &import->events[import->next++];
    double value = 0;
    bool priced = true;
    for (uint32_t i = 0; i < kept->n_items; i++) {
        const struct kept_item *item = &import->items[kept->first_item + i];
        bool has_price = isfinite(item->price) && item->price >= 0;
        import->out[i] =
            (struct event_item){.item_id = {import->texts + item->item, item->item_len},
                                .quantity = item->quantity,
                                .price = has_price ? (double)item->price : 0,
                                .has_price = has_price,
                                .position = -1};
        priced = priced && has_price;
        value += item->quantity * import->out[i].price;
    }
    int n = snprintf(import->event_id, ID_TEXT, "%s-%llu", import->name,
                     (unsigned long long)kept->line);
    *event = (struct event){
        .event_id = {import->event_id, (size_t)n},
        .type = kept->type,
        .time_ms = kept->time_ms,
        .user_id = {import->texts + kept->user, kept->user_len},
        .order_id = {import->texts + kept->order, kept->order_len},
        .items = import->out,
        .n_items = kept->n_items,
        .tenant = str_of(import->options.tenant),
        .consent = true,
    };
    event->has_value = priced && (kept->type == EVENT_PURCHASE || kept->type == EVENT_REFUND);
    if (event->has_value) event->value = value;
    return true;
}

size_t import_event_count(const struct import *import)
{
    return import->n_events;
}

uint64_t import_row_count(const struct import *import)
{
    return import->rows;
}

uint64_t import_bad_count(const struct import *import, enum import_bad bad)
{
    return import->bad[bad];
}

const char *import_bad_shown(const struct import *import, int i)
{
    return i < import->n_shown ? import->shown[i] : NULL;
}
