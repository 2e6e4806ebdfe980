/* The walk over orders: ask, then learn. What is asked and measured: baskets.h. */
#include "train/baskets_tally.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"

const char *const basket_arm_names[BASKET_ARMS] = {"bought_together", "raw_counts", "popularity"};

enum {
    FIRST_PARTNERS = 8,
    CART_DEPTH = 50, /* of the list that each item of a cart brings */
    TOP_MAX = 100 + BASKET_GIVEN_MAX,
};

/* Partners go by key; ties by smaller key are to mean nothing, as with the hashes of the pipeline. So keys are item numbers times
 * an odd number, which its inverse undoes. */
static const uint64_t KEY_FACTOR = 0x9e3779b97f4a7c15u, KEY_INVERSE = 0xf1de83e19937733du;

static uint64_t key_of(int32_t item)
{
    return (uint64_t)item * KEY_FACTOR;
}

static int32_t item_of(uint64_t key)
{
    return (int32_t)(key * KEY_INVERSE);
}

struct order {
    int64_t time_ms; /* of its first row */
    int user;        /* its place in the data */
};

struct walk {
    const struct train_data *data;
    const struct basket_options *options;
    struct basket_result *result;
    struct rng rng;
    struct order *orders; /* (n_users) by time */
    int n_orders;
    int32_t *items; /* (n) different items of the order at hand, in the log's order */
    int n;
    int32_t *drawn;  /* items in the order in which they are given */
    bool *is_in;     /* (n_items) stands in the order at hand and is not given */
    uint32_t *count; /* (n_items) orders that held it */
    /* BASKET_TOGETHER and BASKET_COUNTS */
    struct model_partners *rows[BASKET_POPULAR]; /* (n_items) */
    struct model_marginals *marginals;           /* of BASKET_TOGETHER: raw counts need none */
    /* BASKET_POPULAR */
    double *level;        /* (n_items) */
    int32_t top[TOP_MAX]; /* (n_top) the highest levels, best first */
    int n_top;
    struct train__basket_tally tally;
};

/* ---- orders ---- */

static int by_time(const void *left, const void *right)
{
    const struct order *a = left, *b = right;
    if (a->time_ms != b->time_ms) return a->time_ms < b->time_ms ? -1 : 1;
    return a->user < b->user ? -1 : a->user > b->user;
}

static void orders_sort(struct walk *w)
{
    const struct train_data *data = w->data;
    for (int u = 0; u < data->n_users; u++) {
        size_t first = data->user_start[u];
        if (first == data->user_start[u + 1]) continue;
        w->orders[w->n_orders++] = (struct order){data->events[first].time_ms, u};
    }
    qsort(w->orders, (size_t)w->n_orders, sizeof *w->orders, by_time);
}

/* The order's different items; is_in is set for them. */
static void order_load(struct walk *w, const struct order *order)
{
    const struct train_data *data = w->data;
    w->n = 0;
    for (size_t e = data->user_start[order->user]; e < data->user_start[order->user + 1]; e++) {
        int32_t item = data->events[e].item;
        if (w->is_in[item]) continue;
        w->is_in[item] = true;
        w->items[w->n++] = item;
    }
}

static void order_unload(struct walk *w)
{
    for (int i = 0; i < w->n; i++)
        w->is_in[w->items[i]] = false;
}

/* ---- learning ---- */

/* Rows begin small: most items have few partners. */
static void row_grow(struct model_partners *row, int limit)
{
    if (row->n < row->max || row->max >= limit) return;
    int max = 2 * row->max < limit ? 2 * row->max : limit;
    row->entries = mem_realloc(row->entries, (size_t)max * sizeof *row->entries);
    row->max = max;
}

static void learn_pairs(struct walk *w, int arm, double weight, double moment, int limit)
{
    for (int a = 0; a < w->n; a++) {
        struct model_partners *row = &w->rows[arm][w->items[a]];
        for (int b = 0; b < w->n; b++) {
            if (a == b) continue;
            row_grow(row, limit);
            model_partners_add(row, key_of(w->items[b]), weight, moment);
        }
    }
}

static bool is_more_popular(const struct walk *w, int32_t a, int32_t b)
{
    return w->level[a] > w->level[b] || (w->level[a] == w->level[b] && a < b);
}

/* Levels only rise, so an item that did not change cannot overtake those in the top. */
static void top_raise(struct walk *w, int32_t item)
{
    int place = 0;
    while (place < w->n_top && w->top[place] != item)
        place++;
    if (place == w->n_top) {
        if (w->n_top < TOP_MAX)
            w->n_top++;
        else if (is_more_popular(w, item, w->top[TOP_MAX - 1]))
            place = TOP_MAX - 1;
        else
            return;
    }
    for (; place > 0 && is_more_popular(w, item, w->top[place - 1]); place--)
        w->top[place] = w->top[place - 1];
    w->top[place] = item;
}

static void learn(struct walk *w, int64_t time_ms)
{
    const struct basket_options *o = w->options;
    double popular = model_moment(time_ms, o->popular_half_life_ms);
    for (int i = 0; i < w->n; i++) {
        int32_t item = w->items[i];
        double old = w->level[item], high = fmax(old, popular), low = fmin(old, popular);
        w->level[item] = high + log2(1.0 + exp2(low - high));
        top_raise(w, item);
        w->result->items += w->count[item]++ == 0;
    }
    if (w->n < 2) return;
    learn_pairs(w, BASKET_COUNTS, 1.0, 0.0, MODEL_PARTNERS_MAX);
    if (w->n > o->basket_max) {
        w->result->skipped++;
        return;
    }
    double weight = model_basket_weight(w->n), moment = model_moment(time_ms, o->half_life_ms);
    learn_pairs(w, BASKET_TOGETHER, weight, moment, o->partners_max);
    /* An item is the partner of all others of the order. */
    for (int i = 0; i < w->n; i++)
        model_marginals_add(w->marginals, key_of(w->items[i]), weight * (w->n - 1), moment);
}

/* ---- asking ---- */

/* Lists of popular items less the given ones: those that are in the order but no target. */
static int list_popular(const struct walk *w, const int32_t *given, int n_given, int K,
                        int32_t *list)
{
    int n = 0;
    for (int i = 0; i < w->n_top && n < K; i++) {
        bool is_given = false;
        for (int g = 0; g < n_given; g++)
            is_given = is_given || given[g] == w->top[i];
        if (!is_given) list[n++] = w->top[i];
    }
    return n;
}

static int list_partners(const struct walk *w, int arm, const int32_t *given, int n_given, int K,
                         int32_t *list)
{
    struct model_score_options score = {.measure = MEASURE_COUNT};
    if (arm == BASKET_TOGETHER) score = w->options->score;
    struct model_scored pool[BASKET_GIVEN_MAX * CART_DEPTH], best[TOP_MAX];
    uint64_t keys[BASKET_GIVEN_MAX];
    int n = 0, depth = n_given == 1 ? K : CART_DEPTH;
    if (n_given == 1) {
        n = model_partners_best(&w->rows[arm][given[0]], w->marginals, &score, K, NULL, NULL, best);
    } else {
        int n_pool = 0;
        for (int g = 0; g < n_given; g++) {
            keys[g] = key_of(given[g]);
            n_pool += model_partners_best(&w->rows[arm][given[g]], w->marginals, &score, depth,
                                          NULL, NULL, pool + n_pool);
        }
        n = model_cart(pool, n_pool, keys, n_given, K, NULL, NULL, best);
    }
    for (int i = 0; i < n; i++)
        list[i] = item_of(best[i].key);
    return n;
}

/* One query; share: what it weighs in its order. */
static void ask(struct walk *w, const int32_t *given, int n_given, double share)
{
    int K = w->options->k[w->options->n_k - 1], n_targets = w->n - n_given;
    int32_t list[TOP_MAX];
    for (int g = 0; g < n_given; g++)
        w->is_in[given[g]] = false;
    for (int i = 0; i < w->n; i++)
        if (w->is_in[w->items[i]])
            train__basket_tally_target(&w->tally, w->items[i], share / n_targets);
    for (int arm = 0; arm < BASKET_ARMS; arm++) {
        int n = arm == BASKET_POPULAR ? list_popular(w, given, n_given, K, list)
                                      : list_partners(w, arm, given, n_given, K, list);
        train__basket_tally_list(&w->tally, (enum basket_arm)arm, list, n, w->is_in, n_targets,
                                 share);
    }
    for (int g = 0; g < n_given; g++)
        w->is_in[given[g]] = true;
    w->result->queries++;
}

/* The first of a random order of the items, in `drawn`. */
static void draw(struct walk *w, int n)
{
    memcpy(w->drawn, w->items, (size_t)w->n * sizeof *w->drawn);
    for (int i = 0; i < n; i++) {
        int other = i + (int)rng_below(&w->rng, (uint64_t)(w->n - i));
        int32_t swap = w->drawn[i];
        w->drawn[i] = w->drawn[other];
        w->drawn[other] = swap;
    }
}

static void ask_order(struct walk *w)
{
    int given = w->options->given;
    if (w->n <= given) return;
    train__basket_tally_order(&w->tally);
    w->result->asked++;
    if (given == 1) {
        for (int i = 0; i < w->n; i++)
            ask(w, &w->items[i], 1, 1.0 / w->n);
    } else {
        draw(w, given);
        ask(w, w->drawn, given, 1.0);
    }
}

/* ---- the walk ---- */

static struct model_partners *rows_new(int n, int limit)
{
    struct model_partners *rows = mem_alloc((size_t)n * sizeof *rows);
    int max = FIRST_PARTNERS < limit ? FIRST_PARTNERS : limit;
    for (int i = 0; i < n; i++) {
        struct model_partner *entries = mem_alloc((size_t)max * sizeof *entries);
        model_partners_init(&rows[i], entries, max);
    }
    return rows;
}

static void walk_init(struct walk *w)
{
    size_t items = (size_t)w->data->n_items;
    w->orders = mem_alloc((size_t)w->data->n_users * sizeof *w->orders);
    w->items = mem_alloc(items * sizeof *w->items);
    w->drawn = mem_alloc(items * sizeof *w->drawn);
    w->is_in = mem_zalloc(items * sizeof *w->is_in);
    w->count = mem_zalloc(items * sizeof *w->count);
    w->level = mem_alloc(items * sizeof *w->level);
    for (size_t i = 0; i < items; i++)
        w->level[i] = -(double)INFINITY;
    for (int arm = 0; arm < BASKET_POPULAR; arm++) {
        int limit = arm == BASKET_COUNTS ? MODEL_PARTNERS_MAX : w->options->partners_max;
        w->rows[arm] = rows_new(w->data->n_items, limit);
    }
    w->marginals = model_marginals_new(items < 2 ? 2 : items);
    rng_init(&w->rng, w->options->seed);
    orders_sort(w);
}

static void walk_fini(struct walk *w)
{
    for (int arm = 0; arm < BASKET_POPULAR; arm++) {
        for (int i = 0; i < w->data->n_items; i++)
            mem_free(w->rows[arm][i].entries);
        mem_free(w->rows[arm]);
    }
    model_marginals_free(w->marginals);
    mem_free(w->orders);
    mem_free(w->items);
    mem_free(w->drawn);
    mem_free(w->is_in);
    mem_free(w->count);
    mem_free(w->level);
}

static void walk_orders(struct walk *w, int begin, int end)
{
    for (int i = begin; i < end; i++) {
        bool is_asked = w->tally.options != NULL;
        order_load(w, &w->orders[i]);
        if (is_asked) ask_order(w);
        learn(w, w->orders[i].time_ms);
        order_unload(w);
        if (w->options->progress && i % 64 == 0)
            w->options->progress(w->options->context, (double)i / w->n_orders);
    }
}

bool eval_baskets(const struct train_data *data, const struct basket_options *options,
                  struct basket_result *result, struct err *err)
{
    assert(options->n_k >= 1 && options->k[options->n_k - 1] <= TOP_MAX - BASKET_GIVEN_MAX);
    assert(options->given >= 1 && options->given <= BASKET_GIVEN_MAX);
    *result = (struct basket_result){0};
    struct walk w = {.data = data, .options = options, .result = result};
    walk_init(&w);
    int first = (int)(options->from * w.n_orders), end = (int)(options->until * w.n_orders);
    result->orders = (uint64_t)w.n_orders;
    walk_orders(&w, 0, first < end ? first : end);
    train__basket_tally_init(&w.tally, options, w.count, data->n_items);
    walk_orders(&w, first, end);
    if (result->asked > 0) train__basket_tally_finish(&w.tally, result);
    train__basket_tally_fini(&w.tally);
    walk_fini(&w);
    if (result->asked == 0)
        return err_fatal(err, ERR_EXIT_USAGE,
                         "nothing to predict: none of the %d orders asked has more than %d items; "
                         "is user= mapped to the order's id?",
                         first < end ? end - first : 0, options->given);
    return true;
}
