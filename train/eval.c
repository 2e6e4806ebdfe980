/* Evaluation: which events are predicted, and the walk that puts each of them to every arm. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "train/eval.h"

static const struct train__arm *const arms[EVAL_ARMS] = {
    [EVAL_ENCODER] = &train__arm_encoder, [EVAL_POPULAR] = &train__arm_popular,
    [EVAL_RECENT] = &train__arm_recent,   [EVAL_NEIGHBOURS] = &train__arm_neighbours,
    [EVAL_MARKOV] = &train__arm_markov,   [EVAL_BLEND] = &train__arm_blend,
    [EVAL_RELATED] = &train__arm_related, [EVAL_TRENDING] = &train__arm_trending,
};

const char *const eval_arm_names[EVAL_ARMS] = {
    [EVAL_ENCODER] = "encoder",
    [EVAL_POPULAR] = "popularity",
    [EVAL_RECENT] = "popularity_recent",
    [EVAL_NEIGHBOURS] = "neighbours",
    [EVAL_MARKOV] = "markov",
    [EVAL_BLEND] = "blend",
    [EVAL_RELATED] = "related",
    [EVAL_TRENDING] = "trending",
};

/* ---- which events ---- */

/* The first event of a user that may be predicted (its end when none). */
static size_t first_target(const struct train_data *data, const struct eval_options *options,
                           int user)
{
    struct train_split split = options->split;
    size_t begin = data->user_start[user], end = data->user_start[user + 1];
    size_t least = options->min_events > 2 ? (size_t)options->min_events : 2;
    if (split.protocol == TRAIN_LEAVE_ONE_OUT) return end - begin < least ? end : end - 1;
    if (end - begin < 2) return end;
    size_t first = split.protocol == TRAIN_NEXT_ITEM ? train_split_end(data, split, user) : begin;
    return first > begin ? first : begin + 1;
}

size_t train__eval_window(const struct eval_options *options, size_t window_start, size_t at)
{
    size_t size = (size_t)options->window;
    if (at - window_start < size) return window_start;
    /* Published leave-one-out protocols slide by one; the pipeline forgets half. */
    if (options->split.protocol == TRAIN_LEAVE_ONE_OUT) return at + 1 - size;
    return at - size / 2;
}

int train__query_newest(const struct train__query *query, const struct train_data *data,
                        int32_t *items)
{
    int n = 0;
    for (size_t e = query->event; e > query->window && n < MODEL_RELATED_ITEMS; e--) {
        int at = 0;
        while (at < n && items[at] != data->events[e - 1].item)
            at++;
        if (at == n) items[n++] = data->events[e - 1].item;
    }
    return n;
}

bool train__eval_is_masked(const struct train__eval *eval, int32_t item)
{
    return eval->mark[item] == eval->stamp;
}

static int by_time(const void *left, const void *right)
{
    const struct train__moment *a = left, *b = right;
    if (a->time_ms != b->time_ms) return a->time_ms < b->time_ms ? -1 : 1;
    return a->event < b->event ? -1 : a->event > b->event;
}

struct train__moment *train__eval_moments(const struct train_data *data)
{
    struct train__moment *moments = mem_alloc(data->n_events * sizeof *moments);
    for (int u = 0; u < data->n_users; u++) {
        for (size_t e = data->user_start[u]; e < data->user_start[u + 1]; e++)
            moments[e] = (struct train__moment){data->events[e].time_ms, e, u};
    }
    qsort(moments, data->n_events, sizeof *moments, by_time);
    return moments;
}

void train__eval_training(const struct train__eval *eval,
                          void (*visit)(void *context, const struct train__query *query),
                          void *context)
{
    const struct train_data *history = eval->history;
    struct train__moment *moments = train__eval_moments(history);
    size_t *end = mem_alloc((size_t)history->n_users * sizeof *end);
    size_t *window = mem_alloc((size_t)history->n_users * sizeof *window);
    for (int u = 0; u < history->n_users; u++) {
        end[u] = train_split_end(history, eval->options->split, u);
        window[u] = history->user_start[u];
    }
    for (size_t i = 0; i < history->n_events; i++) {
        int user = moments[i].user;
        struct train__query query = {user, moments[i].event, window[user], 0};
        if (query.event >= end[user]) continue;
        visit(context, &query);
        window[user] = train__eval_window(eval->options, query.window, query.event);
    }
    mem_free(moments);
    mem_free(end);
    mem_free(window);
}

/* ---- the walk ---- */

struct walk {
    struct train__eval eval;
    void *arm[EVAL_ARMS]; /* NULL: not running */
    struct train__tally tally[EVAL_ARMS];
    struct train__vectors vectors;
    struct train__asked *asked; /* (n_asked) */
    size_t n_asked, asked_cap;
    int n;          /* queries of the batch: the last of those asked */
    size_t *window; /* (n_users) where the window begins */
    size_t *first;  /* (n_users) the first event that is predicted */
    size_t *past;   /* (n_users) end of the training part */
};

static bool can_run(const struct eval_options *options, const struct model *model, int arm)
{
    bool is_blended = false;
    for (int a = 0; a < EVAL_ARMS; a++)
        is_blended = is_blended || options->blend[a] > 0;
    if (arm == EVAL_ENCODER) return model != NULL;
    if (arm == EVAL_NEIGHBOURS) return options->neighbours != NULL;
    if (arm == EVAL_RELATED || arm == EVAL_TRENDING) return options->related != NULL;
    return arm != EVAL_BLEND || is_blended;
}

/* With leave-one-out the targets are spread over all times: what is popular lately is no baseline there. */
static bool is_asked(const struct eval_options *options, const struct model *model, int arm)
{
    bool is_last = options->split.protocol == TRAIN_LEAVE_ONE_OUT;
    if (options->arms != 0 && !(options->arms >> arm & 1u)) return false;
    if (options->arms == 0 && (arm == EVAL_RECENT || arm == EVAL_TRENDING) && is_last) return false;
    return can_run(options, model, arm);
}

/* An arm whose list nobody sees still runs for the blend. */
static bool is_running(const struct eval_options *options, const struct model *model, int arm)
{
    if (is_asked(options, model, arm)) return true;
    return is_asked(options, model, EVAL_BLEND) && options->blend[arm] > 0 &&
           can_run(options, model, arm);
}

static void walk_init(struct walk *w, const struct model *model, const struct train_data *data,
                      const struct train_data *history, const struct eval_options *options,
                      struct eval_result *result)
{
    int K = options->k[options->n_k - 1];
    bool ranks = options->listen || (model && model_ranker(model) && !options->fusion);
    if (ranks && K < MODEL_RANKER_DEPTH) K = MODEL_RANKER_DEPTH;
    w->eval = (struct train__eval){.model = model,
                                   .ranks = ranks,
                                   .data = data,
                                   .history = history,
                                   .options = options,
                                   .K = K,
                                   .result = result};
    train__items_init(&w->eval.items, model, data, history, options->split);
    bool is_last = options->split.protocol == TRAIN_LEAVE_ONE_OUT;
    train__vectors_init(&w->vectors, &w->eval.items, model, history, options,
                        is_last ? (size_t)data->n_users : data->n_events);
    w->eval.mark = mem_zalloc((size_t)w->eval.items.n * sizeof *w->eval.mark);
    w->window = mem_alloc((size_t)data->n_users * sizeof *w->window);
    w->first = mem_alloc((size_t)data->n_users * sizeof *w->first);
    w->past = mem_alloc((size_t)data->n_users * sizeof *w->past);
    for (int u = 0; u < data->n_users; u++) {
        w->window[u] = data->user_start[u];
        w->first[u] = first_target(data, options, u);
        w->past[u] = train_split_end(data, options->split, u);
    }
    for (int a = 0; a < EVAL_ARMS; a++) {
        result->asked[a] = is_asked(options, model, a);
        w->eval.is_running[a] = is_running(options, model, a);
    }
    for (int a = 0; a < EVAL_ARMS; a++) {
        if (!w->eval.is_running[a]) continue;
        w->arm[a] = arms[a]->start(&w->eval);
        w->eval.list[a] = mem_alloc((size_t)TRAIN__QUERIES * (size_t)K * sizeof(int32_t));
        w->eval.score[a] = mem_alloc((size_t)TRAIN__QUERIES * (size_t)K * sizeof(float));
        train__tally_init(&w->tally[a], options, &w->eval.items, &w->vectors);
    }
    w->eval.follows = mem_alloc((size_t)TRAIN__QUERIES * (size_t)K * sizeof(uint32_t));
}

static void walk_fini(struct walk *w)
{
    for (int a = 0; a < EVAL_ARMS; a++) {
        if (!w->arm[a]) continue;
        arms[a]->stop(w->arm[a]);
        mem_free(w->eval.list[a]);
        mem_free(w->eval.score[a]);
        train__tally_free(&w->tally[a]);
    }
    train__vectors_fini(&w->vectors);
    train__items_fini(&w->eval.items);
    mem_free(w->eval.follows);
    mem_free(w->eval.mark);
    mem_free(w->window);
    mem_free(w->first);
    mem_free(w->past);
    mem_free(w->asked);
}

static void end_batch(struct walk *w)
{
    int K = w->eval.K, shown = w->eval.options->k[w->eval.options->n_k - 1];
    if (w->n == 0) return;
    const struct train__asked *asked = w->asked + (w->n_asked - (size_t)w->n);
    for (int a = 0; a < EVAL_ARMS; a++) {
        if (!w->arm[a]) continue;
        if (arms[a]->end_batch) arms[a]->end_batch(w->arm[a]);
        for (int q = 0; q < w->n; q++)
            train__tally_add(&w->tally[a], w->eval.list[a] + (size_t)q * (size_t)K, shown,
                             asked[q].item);
    }
    w->n = 0;
}

/* Where the events begin whose items the list before an event may not hold. */
static size_t mask_of(const struct walk *w, const struct train__query *query)
{
    switch (w->eval.options->mask) {
    case EVAL_MASK_NONE:
        return query->event;
    case EVAL_MASK_CURRENT:
        return query->event - 1;
    case EVAL_MASK_WINDOW:
        return query->window;
    case EVAL_MASK_HISTORY:
        return w->eval.data->user_start[query->user];
    }
    return query->event;
}

static void push_asked(struct walk *w, const struct train__query *query)
{
    const struct train_data *data = w->eval.data;
    const struct train_event *event = &data->events[query->event];
    if (w->n_asked == w->asked_cap) {
        w->asked_cap = w->asked_cap ? w->asked_cap * 2 : 1024;
        w->asked = mem_realloc(w->asked, w->asked_cap * sizeof *w->asked);
    }
    w->asked[w->n_asked++] = (struct train__asked){
        .user = query->user,
        .item = event->item,
        .before = (uint32_t)(query->event - data->user_start[query->user]),
        .type = event->type,
    };
}

static void ask(struct walk *w, struct train__query *query)
{
    struct train__eval *eval = &w->eval;
    int32_t target = eval->data->events[query->event].item;
    bool is_known = eval->model ? eval->items.to_model[target] >= 0 : eval->items.count[target] > 0;
    query->mask = mask_of(w, query);
    eval->stamp++;
    for (size_t e = query->mask; e < query->event; e++)
        eval->mark[eval->data->events[e].item] = eval->stamp;
    for (int a = 0; a < EVAL_ARMS; a++) {
        if (w->arm[a])
            arms[a]->ask(w->arm[a], query, eval->list[a] + (size_t)w->n * (size_t)eval->K);
    }
    eval->result->targets++;
    eval->result->unseen += !is_known;
    push_asked(w, query);
    if (++w->n == TRAIN__QUERIES) end_batch(w);
}

static bool is_target(const struct walk *w, const struct train__query *query)
{
    const struct eval_options *options = w->eval.options;
    const struct train_data *data = w->eval.data;
    size_t first = w->first[query->user];
    if (options->is_frozen) {
        bool is_next = query->event == first && w->past[query->user] == first;
        if (!is_next) return false;
    }
    return query->event >= first &&
           (options->targets == 0 || (options->targets >> data->events[query->event].type & 1u));
}

static void learn(struct walk *w, const struct train__query *query)
{
    if (w->eval.options->is_frozen && query->event >= w->past[query->user]) return;
    for (int a = 0; a < EVAL_ARMS; a++) {
        if (w->arm[a] && arms[a]->learn) arms[a]->learn(w->arm[a], query);
    }
}

static void walk_all(struct walk *w)
{
    const struct train_data *data = w->eval.data;
    const struct eval_options *options = w->eval.options;
    struct train__moment *moments = train__eval_moments(data);
    for (size_t i = 0; i < data->n_events; i++) {
        int user = moments[i].user;
        struct train__query query = {user, moments[i].event, w->window[user], 0};
        if (is_target(w, &query)) ask(w, &query);
        learn(w, &query);
        w->window[user] = train__eval_window(options, query.window, query.event);
        if (options->progress && i % 4096 == 0)
            options->progress(options->context, (double)i / (double)data->n_events);
    }
    end_batch(w);
    mem_free(moments);
}

/* First events of users at or behind the moment of the split. */
static uint64_t first_events(const struct train_data *data, struct train_split split)
{
    int64_t cut_ms = train_split_ms(data, split);
    uint64_t n = 0;
    for (int u = 0; u < data->n_users; u++) {
        size_t begin = data->user_start[u];
        if (begin == data->user_start[u + 1]) continue;
        n += split.protocol == TRAIN_ALL || data->events[begin].time_ms >= cut_ms;
    }
    return n;
}

bool eval_run(const struct model *model, const struct train_data *data,
              const struct train_data *history, const struct eval_options *options,
              struct eval_result *result, struct err *err)
{
    assert(options->n_k >= 1 && options->n_k <= EVAL_K_MAX && options->window >= 2);
    assert(options->k[options->n_k - 1] <= MODEL_MAX_K);
    if (options->resamples > 0 && options->against >= 0 &&
        !is_asked(options, model, options->against))
        return err_fatal(err, ERR_EXIT_USAGE, "differences from %s: that arm does not run here",
                         eval_arm_names[options->against]);
    *result = (struct eval_result){.first = first_events(data, options->split)};
    struct walk *w = mem_zalloc(sizeof *w);
    walk_init(w, model, data, history, options, result);
    result->items = w->eval.items.catalogue;
    walk_all(w);
    for (int a = 0; a < EVAL_ARMS; a++) {
        if (result->asked[a]) train__tally_finish(&w->tally[a], &result->arms[a]);
    }
    train__group(&w->eval, w->asked, w->tally);
    if (options->resamples > 0)
        train__bootstrap(options, w->asked, data->n_users, w->tally, result);
    walk_fini(w);
    mem_free(w);
    if (result->targets == 0)
        return err_fatal(err, ERR_EXIT_USAGE,
                         "nothing to predict: no user has an event of the asked types behind the "
                         "split and one before it (%zu events)",
                         data->n_events);
    return true;
}
