/* Rows of log files as users' sequences of interactions. */
#include "train/train.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "schemas/schemas.h"

enum { PROGRESS_ROWS = 4096 };
static const size_t IDS_MAX = (size_t)1 << 31;

/* An interaction with its user, before users are put together. */
struct raw_event {
    struct train_event event;
    uint32_t user;
};

struct builder {
    struct train_data *data;
    struct map_str *users; /* id to number + 1, as a pointer */
    struct map_str *items;
    struct raw_event *raw;
    size_t n, cap;
    int items_cap;
    const struct train_source *source;
    uint32_t types;
};

uint32_t train_window_types(void)
{
    return 1u << EVENT_CLICK | 1u << EVENT_VIEW | 1u << EVENT_ADD_TO_CART | 1u << EVENT_PURCHASE |
           1u << EVENT_LIKE;
}

/* The number of an id, given in order of first appearance. */
static int number_of(struct map_str *map, struct str id, bool *is_new)
{
    void *known = map_str_get(map, id);
    *is_new = known == NULL;
    if (known) return (int)((uintptr_t)known - 1);
    uintptr_t next = map_str_count(map) + 1;
    (void)map_str_set(map, id, (void *)next);
    return (int)(next - 1);
}

static int item_number(struct builder *b, struct str id)
{
    bool is_new;
    int item = number_of(b->items, id, &is_new);
    if (!is_new) return item;
    struct train_data *data = b->data;
    if (item == b->items_cap) {
        b->items_cap = b->items_cap ? b->items_cap * 2 : 1024;
        data->item_ids = mem_realloc(data->item_ids, (size_t)b->items_cap * sizeof *data->item_ids);
    }
    data->item_ids[item] = (struct str){mem_strndup(id.ptr, id.len), id.len};
    data->n_items = item + 1;
    return item;
}

static bool is_skipped(const struct train_source *source, struct str item)
{
    for (int i = 0; i < source->n_skip; i++) {
        struct str pattern = str_of(source->skip[i]);
        bool is_prefix = pattern.len > 0 && pattern.ptr[pattern.len - 1] == '*';
        if (is_prefix && item.len >= pattern.len - 1 &&
            memcmp(item.ptr, pattern.ptr, pattern.len - 1) == 0)
            return true;
        if (str_equal(pattern, item)) return true;
    }
    return false;
}

static void take_row(struct builder *b, const struct log_row *row)
{
    struct train_data *data = b->data;
    enum event_type type = EVENT_CLICK;
    if (row->type.len > 0 && !schemas_event_type_parse(row->type, &type)) type = EVENT_OTHER;
    if (!(b->types >> type & 1u) || row->quantity <= 0 || is_skipped(b->source, row->item)) {
        data->skipped++;
        return;
    }
    if (row->item.len > SCHEMAS_ID_MAX || row->user.len > SCHEMAS_ID_MAX) {
        data->bad++;
        return;
    }
    if (b->n == b->cap) {
        b->cap = b->cap ? b->cap * 2 : 1 << 14;
        b->raw = mem_realloc(b->raw, b->cap * sizeof *b->raw);
    }
    bool is_new;
    struct raw_event *raw = &b->raw[b->n];
    raw->user = (uint32_t)number_of(b->users, row->user, &is_new);
    raw->event = (struct train_event){.time_ms = data->has_times ? row->time_ms : (int64_t)b->n,
                                      .item = item_number(b, row->item),
                                      .type = (uint8_t)type};
    b->n++;
}

static bool read_file(struct builder *b, int file, struct err *err)
{
    const struct train_source *source = b->source;
    struct log_reader *reader;
    if (!log_reader_open(&reader, source->paths[file], source->kind, source->map, err))
        return false;
    struct train_data *data = b->data;
    struct log_row row;
    while (log_reader_next(reader, &row, err) || err->class == ERR_DATA) {
        data->rows++;
        if (err->class == ERR_DATA) {
            if (data->bad++ == 0) memcpy(data->first_bad, err->text, sizeof data->first_bad);
            continue;
        }
        if (row.time_ms != 0) data->has_times = true;
        take_row(b, &row);
        if (source->progress && data->rows % PROGRESS_ROWS == 0)
            source->progress(source->context,
                             (file + log_reader_progress(reader)) / source->n_paths);
    }
    log_reader_close(reader);
    return err->class == ERR_NONE;
}

/* ---- users ---- */

struct time_order {
    int64_t time_ms;
    size_t at;
};

static int by_time_then_place(const void *left, const void *right)
{
    const struct time_order *a = left, *b = right;
    if (a->time_ms != b->time_ms) return a->time_ms < b->time_ms ? -1 : 1;
    return a->at < b->at ? -1 : a->at > b->at;
}

/* Sorts n events by time, equal times as they stand. */
static void sort_user(struct train_event *events, size_t n)
{
    bool sorted = true;
    for (size_t i = 1; i < n && sorted; i++)
        sorted = events[i - 1].time_ms <= events[i].time_ms;
    if (sorted) return;
    struct time_order *order = mem_alloc(n * sizeof *order);
    struct train_event *copy = mem_alloc(n * sizeof *copy);
    for (size_t i = 0; i < n; i++)
        order[i] = (struct time_order){events[i].time_ms, i};
    qsort(order, n, sizeof *order, by_time_then_place);
    memcpy(copy, events, n * sizeof *copy);
    for (size_t i = 0; i < n; i++)
        events[i] = copy[order[i].at];
    mem_free(order);
    mem_free(copy);
}

/* From rows in file order to users, each in time order. */
static void group_by_user(struct builder *b)
{
    struct train_data *data = b->data;
    data->n_users = (int)map_str_count(b->users);
    data->n_events = b->n;
    data->user_start = mem_zalloc(((size_t)data->n_users + 1) * sizeof *data->user_start);
    data->events = mem_alloc(b->n * sizeof *data->events);
    for (size_t i = 0; i < b->n; i++)
        data->user_start[b->raw[i].user + 1]++;
    for (int u = 0; u < data->n_users; u++)
        data->user_start[u + 1] += data->user_start[u];
    size_t *next = mem_alloc((size_t)data->n_users * sizeof *next);
    memcpy(next, data->user_start, (size_t)data->n_users * sizeof *next);
    data->first_ms = INT64_MAX;
    data->last_ms = INT64_MIN;
    for (size_t i = 0; i < b->n; i++) {
        int64_t time_ms = b->raw[i].event.time_ms;
        if (time_ms < data->first_ms) data->first_ms = time_ms;
        if (time_ms > data->last_ms) data->last_ms = time_ms;
        data->events[next[b->raw[i].user]++] = b->raw[i].event;
    }
    mem_free(next);
    for (int u = 0; u < data->n_users; u++)
        sort_user(data->events + data->user_start[u],
                  data->user_start[u + 1] - data->user_start[u]);
}

bool train_data_read(struct train_data **data, const struct train_source *source, struct err *err)
{
    struct builder b = {
        .data = mem_zalloc(sizeof *b.data),
        .users = map_str_new(IDS_MAX, MAP_KEYS_COPIED),
        .items = map_str_new(IDS_MAX, MAP_KEYS_COPIED),
        .source = source,
        .types = source->types ? source->types : train_window_types(),
    };
    bool ok = true;
    for (int f = 0; f < source->n_paths && ok; f++)
        ok = read_file(&b, f, err);
    if (ok && b.data->bad * 2 > b.data->rows)
        ok = err_fatal(err, ERR_EXIT_USAGE, "%llu of %llu rows cannot be read; the first: %s",
                       (unsigned long long)b.data->bad, (unsigned long long)b.data->rows,
                       b.data->first_bad);
    if (ok && b.n == 0)
        ok = err_fatal(err, ERR_EXIT_USAGE,
                       "%s: no interaction (click, view, add_to_cart, purchase, like) in %llu rows",
                       source->paths[0], (unsigned long long)b.data->rows);
    if (ok) group_by_user(&b);
    map_str_free(b.users);
    map_str_free(b.items);
    mem_free(b.raw);
    if (!ok) {
        train_data_free(b.data);
        return false;
    }
    *data = b.data;
    return true;
}

void train_data_free(struct train_data *data)
{
    if (!data) return;
    for (int i = 0; i < data->n_items; i++)
        mem_free((char *)(uintptr_t)data->item_ids[i].ptr);
    mem_free(data->item_ids);
    mem_free(data->user_start);
    mem_free(data->events);
    mem_free(data);
}

/* ---- splits ---- */

int64_t train_split_ms(const struct train_data *data, struct train_split split)
{
    if (split.protocol != TRAIN_NEXT_ITEM) return INT64_MAX;
    double span = (double)data->last_ms - (double)data->first_ms;
    return data->first_ms + (int64_t)(span * split.share);
}

size_t train_split_end(const struct train_data *data, struct train_split split, int user)
{
    size_t begin = data->user_start[user], end = data->user_start[user + 1];
    if (split.protocol == TRAIN_LEAVE_ONE_OUT) return end - begin > 1 ? end - 1 : begin;
    int64_t cut_ms = train_split_ms(data, split);
    while (split.protocol == TRAIN_NEXT_ITEM && end > begin &&
           data->events[end - 1].time_ms >= cut_ms)
        end--;
    return end;
}
