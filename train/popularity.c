/* The baselines: the most popular items of the training part, and the most popular ones lately.
 *
 * Lately: counts that halve every half-life, kept as L(item) = log2(sum of 2^(t / half-life)) as the pipeline's popular arm does
 * (docs/STATE.md, rule 6), each event of every type counted once, after it was predicted. */
#include "train/eval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"

/* The items with the largest scores, best first. Scores only grow, so a list that is updated at each growth stays exact. */
enum { TOP_MAX = 4096 };

struct top {
    double *score;  /* (n_items) */
    int32_t *place; /* (n_items) in list; -1 not in it */
    int32_t list[TOP_MAX];
    int n;
};

static void top_init(struct top *top, int n_items)
{
    top->score = mem_alloc((size_t)n_items * sizeof *top->score);
    top->place = mem_alloc((size_t)n_items * sizeof *top->place);
    for (int i = 0; i < n_items; i++) {
        top->score[i] = -(double)INFINITY;
        top->place[i] = -1;
    }
    top->n = 0;
}

static void top_fini(struct top *top)
{
    mem_free(top->score);
    mem_free(top->place);
}

static bool is_better(const struct top *top, int32_t a, int32_t b)
{
    if (top->score[a] > top->score[b]) return true;
    return !(top->score[a] < top->score[b]) && a < b;
}

static void top_raise(struct top *top, int32_t item, double score)
{
    top->score[item] = score;
    int at = top->place[item];
    if (at < 0 && top->n < TOP_MAX) {
        at = top->n++;
    } else if (at < 0) {
        int32_t last = top->list[TOP_MAX - 1];
        if (!is_better(top, item, last)) return;
        top->place[last] = -1;
        at = TOP_MAX - 1;
    }
    while (at > 0 && is_better(top, item, top->list[at - 1])) {
        top->list[at] = top->list[at - 1];
        top->place[top->list[at]] = at;
        at--;
    }
    top->list[at] = item;
    top->place[item] = at;
}

/* One more event at time_ms: log2(2^L + 2^(t/H)). */
static void top_decayed(struct top *top, int32_t item, int64_t time_ms, int64_t half_life_ms)
{
    double now = (double)time_ms / (double)half_life_ms;
    double old = top->score[item];
    double high = old > now ? old : now, low = old > now ? now : old;
    top_raise(top, item, high + log1p(exp2(low - high)) * 1.4426950408889634);
}

/* ---- the walk over all events in time order ---- */

struct moment {
    int64_t time_ms;
    size_t event;
    int user;
};

static int by_time(const void *left, const void *right)
{
    const struct moment *a = left, *b = right;
    if (a->time_ms != b->time_ms) return a->time_ms < b->time_ms ? -1 : 1;
    return a->event < b->event ? -1 : a->event > b->event;
}

static struct moment *in_time_order(const struct train_data *data)
{
    struct moment *moments = mem_alloc(data->n_events * sizeof *moments);
    for (int u = 0; u < data->n_users; u++) {
        for (size_t e = data->user_start[u]; e < data->user_start[u + 1]; e++)
            moments[e] = (struct moment){data->events[e].time_ms, e, u};
    }
    qsort(moments, data->n_events, sizeof *moments, by_time);
    return moments;
}

struct walk {
    const struct train_data *data;
    const struct eval_options *options;
    struct top counted, recent;
    size_t *first;  /* (n_users) first event that is predicted */
    size_t *window; /* (n_users) where the window begins */
    uint64_t *mark; /* (n_items) stamp of the last list that the item may not stand in */
    uint64_t stamp;
    struct train__tally popular_tally, recent_tally;
};

/* Marks what the list before event e of its user may not hold. */
static void mark_masked(struct walk *w, int user, size_t e)
{
    size_t from = e;
    if (w->options->mask == EVAL_MASK_CURRENT) from = e - 1;
    if (w->options->mask == EVAL_MASK_WINDOW) from = w->window[user];
    if (w->options->mask == EVAL_MASK_HISTORY) from = w->data->user_start[user];
    w->stamp++;
    for (size_t i = from; i < e; i++)
        w->mark[w->data->events[i].item] = w->stamp;
}

static void tally_top(struct walk *w, const struct top *top, struct train__tally *tally,
                      int32_t target)
{
    int32_t list[MODEL_MAX_K];
    int K = w->options->k[w->options->n_k - 1], n = 0;
    for (int i = 0; i < top->n && n < K; i++) {
        if (w->mark[top->list[i]] != w->stamp) list[n++] = top->list[i];
    }
    train__tally_add(tally, list, n, target);
}

static void walk_event(struct walk *w, const struct moment *moment)
{
    const struct train_event *event = &w->data->events[moment->event];
    int user = moment->user;
    if (moment->event >= w->first[user] && train__eval_is_target(w->options, event)) {
        mark_masked(w, user, moment->event);
        tally_top(w, &w->counted, &w->popular_tally, event->item);
        tally_top(w, &w->recent, &w->recent_tally, event->item);
    }
    w->window[user] = train__eval_window(w->options, w->window[user], moment->event);
    top_decayed(&w->recent, event->item, event->time_ms, w->options->half_life_ms);
}

/* ---- what was counted before ---- */

static void count_own(struct walk *w)
{
    for (int u = 0; u < w->data->n_users; u++) {
        size_t end = train_split_end(w->data, w->options->split, u);
        for (size_t e = w->data->user_start[u]; e < end; e++) {
            int32_t item = w->data->events[e].item;
            double count = w->counted.score[item];
            top_raise(&w->counted, item, isfinite(count) ? count + 1 : 1);
        }
    }
}

/* Another log came before: its items are found by their ids; the others cannot be targets but do stand in lists, as items
 * n_items and above. */
static void count_history(struct walk *w, const struct train_data *history, const int32_t *item_of)
{
    struct moment *moments = in_time_order(history);
    for (size_t i = 0; i < history->n_events; i++) {
        const struct train_event *event = &history->events[moments[i].event];
        int32_t item = item_of[event->item];
        double count = w->counted.score[item];
        top_raise(&w->counted, item, isfinite(count) ? count + 1 : 1);
        top_decayed(&w->recent, item, event->time_ms, w->options->half_life_ms);
    }
    mem_free(moments);
}

/* item_of (history's n_items) written; returns the number of items of both. */
static int unite_items(const struct train_data *data, const struct train_data *history,
                       int32_t *item_of)
{
    int n = data->n_items;
    struct map_str *map = map_str_new((size_t)n, MAP_KEYS_BORROWED);
    for (int i = 0; i < data->n_items; i++)
        (void)map_str_set(map, data->item_ids[i], &data->item_ids[i]);
    for (int i = 0; i < history->n_items; i++) {
        const struct str *known = map_str_get(map, history->item_ids[i]);
        item_of[i] = known ? (int32_t)(known - data->item_ids) : n++;
    }
    map_str_free(map);
    return n;
}

void train__eval_popularity(const struct train_data *data, const struct train_data *history,
                            const struct eval_options *options, int catalogue,
                            struct eval_result *result)
{
    struct walk *w = mem_zalloc(sizeof *w);
    int32_t *item_of = mem_alloc((size_t)history->n_items * sizeof *item_of);
    int n_items = history == data ? data->n_items : unite_items(data, history, item_of);
    size_t n_users = (size_t)data->n_users;
    w->data = data;
    w->options = options;
    top_init(&w->counted, n_items);
    top_init(&w->recent, n_items);
    w->mark = mem_zalloc((size_t)n_items * sizeof *w->mark);
    w->first = mem_alloc(n_users * sizeof *w->first);
    w->window = mem_alloc(n_users * sizeof *w->window);
    for (int u = 0; u < data->n_users; u++) {
        w->first[u] = train__eval_first(data, options->split, u);
        w->window[u] = data->user_start[u];
    }
    train__tally_init(&w->popular_tally, options, n_items);
    train__tally_init(&w->recent_tally, options, n_items);
    if (history == data) {
        count_own(w);
    } else {
        count_history(w, history, item_of);
    }
    struct moment *moments = in_time_order(data);
    for (size_t i = 0; i < data->n_events; i++)
        walk_event(w, &moments[i]);
    train__tally_finish(&w->popular_tally, catalogue, &result->popular);
    train__tally_finish(&w->recent_tally, catalogue, &result->popular_recent);
    top_fini(&w->counted);
    top_fini(&w->recent);
    void *const arrays[] = {moments, item_of, w->mark, w->first, w->window, w};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++)
        mem_free(arrays[i]);
}
