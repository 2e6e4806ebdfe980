/* The demo's terminal view. */
#include "app/view.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/recent.h"

enum {
    FOLLOWED = 3, /* users shown */
    SHOWN = 5,    /* items of a list shown */
    TITLE_COLUMNS = 34,
    SILENT_MS =
        4000, /* a followed user who did nothing for so long gives way: time to read the last list */
    LINE_EVERY_MS = 5000,
    WINDOW = 10,       /* figures are of so many copies back ... */
    SNAPSHOT_MS = 500, /* ... taken so often */
    FRAME_MAX = 1 << 16,
};

struct followed {
    struct tap_list list;
    char before[TAP_LIST][TAP_TEXT]; /* the list before this one */
    int n_before;
    uint64_t lists;
};

struct view {
    struct view_options options;
    struct followed followed[FOLLOWED];
    struct recent *recent; /* NULL until the first update */
    int64_t line_ms;       /* when the last line was printed */
    struct buf frame;
};

struct view *view_new(const struct view_options *options)
{
    struct view *view = mem_zalloc(sizeof *view);
    view->options = *options;
    buf_init(&view->frame, FRAME_MAX);
    if (options->is_screen) fputs("\x1b[?25l\x1b[2J", options->out);
    return view;
}

void view_free(struct view *view)
{
    if (!view) return;
    buf_fini(&view->frame);
    recent_free(view->recent);
    mem_free(view);
}

/* ---- whom to show ---- */

static void follow(struct view *view, const struct tap_list *list, int64_t now_ms)
{
    struct followed *place = NULL;
    for (int i = 0; i < FOLLOWED; i++)
        if (strcmp(view->followed[i].list.user, list->user) == 0) place = &view->followed[i];
    for (int i = 0; i < FOLLOWED && !place; i++)
        if (now_ms - view->followed[i].list.published_ms > SILENT_MS) {
            place = &view->followed[i];
            *place = (struct followed){0};
        }
    if (!place) return;
    memcpy(place->before, place->list.list, sizeof place->before);
    place->n_before = place->list.n;
    place->list = *list;
    place->lists++;
}

static bool is_new(const struct followed *followed, const char *item)
{
    for (int i = 0; i < followed->n_before; i++)
        if (strcmp(followed->before[i], item) == 0) return false;
    return followed->n_before > 0;
}

/* ---- figures ---- */

/* Records a second, and how long their lists took, over the last seconds. */
struct pace {
    double records_per_s, p50_ms, p99_ms;
};

static struct pace pace_of(const struct counters *counters, double seconds)
{
    double records = (double)counters_get(counters, METRIC_RECORDS, 0);
    return (struct pace){.records_per_s = seconds > 0 ? records / seconds : 0.0,
                         .p50_ms = metrics_latency_ms(counters, 0.5),
                         .p99_ms = metrics_latency_ms(counters, 0.99)};
}

static long long lag_of(const struct counters *counters)
{
    long long lag = (long long)counters_get(counters, METRIC_LAG, 0);
    return lag < 0 ? 0 : lag;
}

static void quality_put(const struct view *view, struct buf *out, const struct counters *counters,
                        const char *end)
{
    bool has_orders = false;
    static const enum event_type shown[] = {EVENT_VIEW, EVENT_CLICK, EVENT_ADD_TO_CART,
                                            EVENT_PURCHASE};
    buf_push_format(out, "  live quality      HR@20   MRR@20   popularity alone    events%s", end);
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++) {
        struct quality q = metrics_quality(counters, shown[i]);
        if (q.events == 0) continue;
        has_orders |= shown[i] == EVENT_ADD_TO_CART || shown[i] == EVENT_PURCHASE;
        buf_push_format(out, "    %-14s %6.3f   %6.3f   %6.3f   %6.3f  %8lld%s",
                        schemas_event_type_name(shown[i]), q.hr[QUALITY_LIST], q.mrr[QUALITY_LIST],
                        q.hr[QUALITY_POPULAR], q.mrr[QUALITY_POPULAR], (long long)q.events, end);
    }
    if (has_orders && view->options.note) buf_push_format(out, "    %s%s", view->options.note, end);
}

/* A title cut to the column, by characters rather than bytes. */
static void title_put(struct view *view, struct buf *out, const char *item)
{
    struct str title = view->options.title(view->options.context, str_of(item));
    int columns = 0;
    if (title.len == 0) title = str_of(item);
    for (size_t i = 0; i < title.len && columns < TITLE_COLUMNS; i++) {
        buf_push_byte(out, (uint8_t)title.ptr[i]);
        bool ends_character =
            i + 1 == title.len || ((unsigned char)title.ptr[i + 1] & 0xC0) != 0x80;
        columns += ends_character;
    }
}

static const char *did(enum event_type type)
{
    static const char *const words[EVENT_TYPE_COUNT] = {
        [EVENT_CLICK] = "clicked",
        [EVENT_VIEW] = "viewed",
        [EVENT_ADD_TO_CART] = "put in the cart",
        [EVENT_REMOVE_FROM_CART] = "took out of the cart",
        [EVENT_PURCHASE] = "bought",
        [EVENT_REFUND] = "gave back",
        [EVENT_SEARCH] = "searched for",
        [EVENT_LIKE] = "liked",
        [EVENT_DISLIKE] = "disliked",
    };
    return words[type] ? words[type] : "did";
}

static void followed_put(struct view *view, const struct followed *followed, struct buf *out,
                         const char *end)
{
    bool colours = view->options.is_screen;
    const struct tap_list *list = &followed->list;
    if (list->user[0] == '\0') return;
    buf_push_format(out, "%s  %s%s%s %s ", end, colours ? "\x1b[1m" : "", list->user,
                    colours ? "\x1b[0m" : "", did(list->type));
    if (list->type == EVENT_SEARCH)
        buf_push_text(out, list->query);
    else
        title_put(view, out, list->item);
    buf_push_format(out, "  (list %llu, %lld ms after the event)%s",
                    (unsigned long long)followed->lists,
                    (long long)(list->published_ms - list->record_ms), end);
    for (int i = 0; i < list->n && i < SHOWN; i++) {
        bool fresh = is_new(followed, list->list[i]);
        buf_push_format(out, "    %s%d  ", fresh ? (colours ? "\x1b[32m+ " : "+ ") : "  ", i + 1);
        title_put(view, out, list->list[i]);
        buf_push_format(out, "%s%s", fresh && colours ? "\x1b[0m" : "", end);
    }
}

/* ---- frames ---- */

static void screen_draw(struct view *view, const struct counters *counters, struct pace pace)
{
    static const char *const end = "\x1b[K\n";
    struct buf *out = &view->frame;
    buf_reset(out);
    buf_push_format(out, "\x1b[H\x1b[1mfreshet\x1b[0m  %s%s%s", view->options.head, end, end);
    buf_push_format(out,
                    "  %.0f events/s   event to list p50 %.1f ms, p99 %.1f ms   lag %lld   lists "
                    "%lld   dead letters %lld%s%s",
                    pace.records_per_s, pace.p50_ms, pace.p99_ms, lag_of(counters),
                    (long long)counters_get(counters, METRIC_LISTS, 0),
                    (long long)counters_sum(counters, METRIC_DEAD_LETTERS), end, end);
    quality_put(view, out, counters, end);
    for (int i = 0; i < FOLLOWED; i++)
        followed_put(view, &view->followed[i], out, end);
    buf_push_format(out, "%s  Ctrl-C ends it.%s\x1b[J", end, end);
    (void)fwrite(out->data, 1, out->len, view->options.out);
    (void)fflush(view->options.out);
}

static void line_print(struct view *view, const struct counters *counters, struct pace pace)
{
    struct quality q = metrics_quality(counters, EVENT_VIEW);
    (void)fprintf(view->options.out,
                  "%.0f events/s, event to list p50 %.1f ms p99 %.1f ms, lag %lld, %lld lists, "
                  "views: HR@20 %.3f MRR@20 %.3f "
                  "(popularity %.3f %.3f)\n",
                  pace.records_per_s, pace.p50_ms, pace.p99_ms, lag_of(counters),
                  (long long)counters_get(counters, METRIC_LISTS, 0), q.hr[QUALITY_LIST],
                  q.mrr[QUALITY_LIST], q.hr[QUALITY_POPULAR], q.mrr[QUALITY_POPULAR]);
    (void)fflush(view->options.out);
}

void view_update(struct view *view, const struct counters *counters, int64_t now_ms)
{
    struct tap_list list;
    while (tap_take(view->options.tap, &list))
        follow(view, &list, now_ms);
    if (!view->recent) view->recent = recent_new(counters, WINDOW, SNAPSHOT_MS, now_ms);
    const struct counters *since = recent_take(view->recent, now_ms);
    struct pace pace = pace_of(since, recent_seconds(view->recent));
    if (view->options.is_screen) {
        screen_draw(view, counters, pace);
    } else if (now_ms - view->line_ms >= LINE_EVERY_MS) {
        line_print(view, counters, pace);
        view->line_ms = now_ms;
    }
}

void view_summary(struct view *view, const struct counters *counters, double seconds)
{
    struct buf *out = &view->frame;
    struct pace pace = pace_of(counters, seconds);
    buf_reset(out);
    if (view->options.is_screen) buf_push_text(out, "\x1b[?25h\x1b[H\x1b[2J");
    buf_push_format(out, "freshet demo ran %.0f s\n", seconds);
    buf_push_format(
        out, "  %lld events, %lld lists, %lld dead letters, %lld duplicates; %.0f events/s\n",
        (long long)counters_get(counters, METRIC_RECORDS, 0),
        (long long)counters_get(counters, METRIC_LISTS, 0),
        (long long)counters_sum(counters, METRIC_DEAD_LETTERS),
        (long long)counters_get(counters, METRIC_EVENTS, FOLD_DUPLICATE), pace.records_per_s);
    buf_push_format(out, "  event to list: p50 %.1f ms, p99 %.1f ms\n", pace.p50_ms, pace.p99_ms);
    quality_put(view, out, counters, "\n");
    for (int i = 0; i < FOLLOWED && !view->options.is_screen; i++)
        followed_put(view, &view->followed[i], out, "\n");
    (void)fwrite(out->data, 1, out->len, view->options.out);
    (void)fflush(view->options.out);
}
