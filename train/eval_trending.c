/* The arm of what rises: of the categories of the newest items and of the whole shop, by the rows of the pipeline (model/partners.h),
 * counted event by event.
 *
 * Categories are those that the model learnt of its items (`freshet train --items`); without them there is the whole shop alone. A
 * row's list is made anew for each query; the pipeline looks at the list that was published last. */
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "train/eval.h"

enum { SHOP = 0 };

struct trending_arm {
    struct train__eval *eval;
    struct model_rising_options rising;
    int n_rows;                  /* the whole shop, then a row for each feature of the model */
    struct model_partners *fast; /* (n_rows) entries NULL: nothing is counted yet */
    struct model_partners *slow; /* (n_rows) */
    struct map_u64 *item_of;     /* item key to item */
};

/* Rows of an item's categories; returns how many. */
static int item_rows(const struct trending_arm *arm, int32_t item, int *rows)
{
    static const char prefix[] = "category:";
    const struct model *model = arm->eval->model;
    const int32_t *features;
    int32_t index = model ? arm->eval->items.to_model[item] : -1;
    int n_features = index >= 0 ? model_item_features(model, index, &features) : 0, n = 0;
    for (int f = 0; f < n_features && n < MODEL_TRENDING_CATEGORIES; f++) {
        struct str name = model_content_name(model, features[f]);
        if (name.len >= sizeof prefix && memcmp(name.ptr, prefix, sizeof prefix - 1) == 0)
            rows[n++] = 1 + features[f];
    }
    return n;
}

/* ---- counting ---- */

static void row_count(struct model_partners *row, int max, uint64_t key, double moment)
{
    if (!row->entries) model_partners_init(row, mem_alloc((size_t)max * sizeof *row->entries), max);
    model_partners_add(row, key, 1, moment);
}

static void item_count(struct trending_arm *arm, int32_t item, int64_t time_ms)
{
    int rows[1 + MODEL_TRENDING_CATEGORIES] = {SHOP};
    int n = 1 + item_rows(arm, item, rows + 1);
    uint64_t key = arm->eval->items.key[item];
    int max = arm->eval->options->related->partners_max;
    double fast = model_moment(time_ms, arm->rising.fast_half_life_ms);
    double slow = model_moment(time_ms, arm->rising.slow_half_life_ms);
    for (int r = 0; r < n; r++) {
        row_count(&arm->fast[rows[r]], max, key, fast);
        row_count(&arm->slow[rows[r]], max, key, slow);
    }
}

/* Another log that came before is counted whole; a log's own events are counted as they come. */
static void *trending_start(struct train__eval *eval)
{
    struct trending_arm *arm = mem_zalloc(sizeof *arm);
    const struct train_data *history = eval->history;
    arm->eval = eval;
    arm->rising =
        (struct model_rising_options){eval->options->related->trending_half_life_ms,
                                      (double)eval->options->half_life_ms, MODEL_RISING_PRIOR};
    arm->n_rows = 1 + (eval->model ? model_shape(eval->model).n_content : 0);
    arm->fast = mem_zalloc((size_t)arm->n_rows * sizeof *arm->fast);
    arm->slow = mem_zalloc((size_t)arm->n_rows * sizeof *arm->slow);
    arm->item_of = map_u64_new((size_t)eval->items.n);
    for (int i = 0; i < eval->items.n; i++)
        (void)map_u64_set(arm->item_of, eval->items.key[i], (uint64_t)i);
    if (history == eval->data) return arm;
    struct train__moment *moments = train__eval_moments(history);
    for (size_t i = 0; i < history->n_events; i++) {
        const struct train_event *event = &history->events[moments[i].event];
        item_count(arm, eval->items.from_history[event->item], event->time_ms);
    }
    mem_free(moments);
    return arm;
}

static void trending_learn(void *context, const struct train__query *query)
{
    struct trending_arm *arm = context;
    const struct train_event *event = &arm->eval->data->events[query->event];
    item_count(arm, event->item, event->time_ms);
}

/* ---- lists ---- */

static int32_t item_of(const struct trending_arm *arm, uint64_t key)
{
    return (int32_t)*map_u64_get(arm->item_of, key);
}

static bool is_masked(void *context, uint64_t key)
{
    const struct trending_arm *arm = context;
    return train__eval_is_masked(arm->eval, item_of(arm, key));
}

/* The rows of the query, each once: those of the newest different items, newest first, then the shop's. Returns how many. */
static int rows_find(const struct trending_arm *arm, const struct train__query *query, int *rows,
                     double *weights)
{
    const struct train_data *data = arm->eval->data;
    int32_t items[MODEL_RELATED_ITEMS];
    int n_items = train__query_newest(query, data, items), n = 0;
    double weight = 1;
    for (int i = 0; i < n_items; i++, weight *= MODEL_RELATED_FADE) {
        int of_item[MODEL_TRENDING_CATEGORIES];
        int n_of_item = item_rows(arm, items[i], of_item);
        for (int c = 0; c < n_of_item; c++) {
            int at = 0;
            while (at < n && rows[at] != of_item[c])
                at++;
            if (at < n) continue;
            rows[n] = of_item[c];
            weights[n++] = weight;
        }
    }
    rows[n] = SHOP;
    weights[n++] = MODEL_TRENDING_SHOP;
    return n;
}

static void trending_ask(void *context, const struct train__query *query, int32_t *list)
{
    struct trending_arm *arm = context;
    const struct train__eval *eval = arm->eval;
    struct model_scored lists[MODEL_RELATED_SOURCES][MODEL_RELATED_PARTNERS];
    struct model_related_source sources[MODEL_RELATED_SOURCES];
    struct model_related_item found[MODEL_RELATED_MAX];
    int rows[MODEL_RELATED_SOURCES];
    double weights[MODEL_RELATED_SOURCES];
    int64_t now_ms = eval->data->events[query->event].time_ms;
    int K = eval->K < MODEL_RELATED_MAX ? eval->K : MODEL_RELATED_MAX;
    int n_rows = rows_find(arm, query, rows, weights), n = 0;
    for (int r = 0; r < n_rows; r++) {
        const struct model_partners *fast = &arm->fast[rows[r]];
        if (!fast->entries) continue;
        int count = model_partners_rising(fast, &arm->slow[rows[r]], &arm->rising, now_ms,
                                          MODEL_RELATED_PARTNERS, NULL, NULL, lists[n]);
        if (count == 0) continue;
        sources[n] = (struct model_related_source){lists[n], count, weights[r]};
        n++;
    }
    n = n == 0 ? 0 : model_related(sources, n, K, is_masked, arm, found);
    size_t at = (size_t)(list - eval->list[EVAL_TRENDING]);
    for (int i = 0; i < n; i++) {
        list[i] = item_of(arm, found[i].key);
        eval->score[EVAL_TRENDING][at + (size_t)i] = found[i].score;
    }
    if (n < eval->K) list[n] = -1;
}

static void trending_stop(void *context)
{
    struct trending_arm *arm = context;
    for (int r = 0; r < arm->n_rows; r++) {
        mem_free(arm->fast[r].entries);
        mem_free(arm->slow[r].entries);
    }
    mem_free(arm->fast);
    mem_free(arm->slow);
    map_u64_free(arm->item_of);
    mem_free(arm);
}

const struct train__arm train__arm_trending = {
    .start = trending_start,
    .ask = trending_ask,
    .learn = trending_learn,
    .stop = trending_stop,
};
