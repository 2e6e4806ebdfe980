/* The arm of session neighbours: the index that the pipeline keeps (model.h), asked with the newest events of the window.
 *
 * A session is what the log has of a user without a pause longer than session_gap_ms (app/neighbours.c). Static (neighbours_live
 * false, as the published protocols): the index holds the training part, in the order of time, and no more. Live: each event of
 * the log is added once it was predicted, as in the pipeline; the training part then comes by itself, being earlier. A live
 * session goes on as another one when the window forgets its older half (docs/STATE.md, rule 12). */
#include "base/map.h"
#include "base/mem.h"
#include "train/eval.h"

struct neighbours {
    struct train__eval *eval;
    struct model_neighbours *index;
    struct map_u64 *item_of;       /* item key to item */
    struct model_neighbour *found; /* (K) */
};

/* ---- the index ---- */

/* The first event of the session that event e of a user is in, whose window begins at event window. */
static size_t session_begin(const struct neighbours *arm, const struct train_data *log, int user,
                            size_t window, size_t e)
{
    const struct eval_options *options = arm->eval->options;
    int64_t gap_ms = log->has_times ? options->session_gap_ms : 0;
    bool forgets = options->neighbours_live && options->split.protocol != TRAIN_LEAVE_ONE_OUT;
    size_t begin = forgets ? window : log->user_start[user];
    if (gap_ms == 0) return begin;
    while (e > begin && log->events[e].time_ms - log->events[e - 1].time_ms <= gap_ms)
        e--;
    return e;
}

/* Session ids: first events of data from 1, those of another history behind. */
static uint64_t session_of(const struct neighbours *arm, const struct train_data *log, int user,
                           size_t window, size_t e)
{
    size_t others = log == arm->eval->data ? 0 : arm->eval->data->n_events;
    return 1 + session_begin(arm, log, user, window, e) + others;
}

static void training_add(void *context, const struct train__query *query)
{
    struct neighbours *arm = context;
    const struct train__eval *eval = arm->eval;
    const struct train_event *event = &eval->history->events[query->event];
    size_t window = train__eval_window(eval->options, query->window, query->event);
    model_neighbours_add(arm->index,
                         session_of(arm, eval->history, query->user, window, query->event),
                         eval->items.key[eval->items.from_history[event->item]], event->time_ms);
}

static int at_most(int wanted, size_t most)
{
    if (most < 1) most = 1;
    return wanted > 0 && (size_t)wanted < most ? wanted
                                               : (int)(most < INT32_MAX ? most : INT32_MAX);
}

/* The options with bounds that these logs can reach. Nothing expires of a static index, and a session that is a whole history has
 * room for a window. */
static struct model_neighbours_options fitted(const struct train__eval *eval)
{
    const struct train_data *data = eval->data, *history = eval->history;
    struct model_neighbours_options o = *eval->options->neighbours;
    size_t events = data->n_events + (history != data ? history->n_events : 0);
    o.sessions_max = at_most(o.sessions_max, events);
    o.clicks_max = at_most(o.clicks_max, events);
    o.m = at_most(o.m, events);
    o.k = at_most(o.k, events);
    if (!eval->options->neighbours_live) o.max_age_ms = 0;
    if (eval->options->session_gap_ms == 0 || !data->has_times) o.items_max = eval->options->window;
    return o;
}

static void *neighbours_start(struct train__eval *eval)
{
    struct neighbours *arm = mem_zalloc(sizeof *arm);
    struct model_neighbours_options options = fitted(eval);
    arm->eval = eval;
    arm->index = model_neighbours_new(&options);
    arm->found = mem_alloc((size_t)eval->K * sizeof *arm->found);
    arm->item_of = map_u64_new((size_t)eval->items.n);
    for (int i = 0; i < eval->items.n; i++)
        (void)map_u64_set(arm->item_of, eval->items.key[i], (uint64_t)i);
    if (!eval->options->neighbours_live || eval->history != eval->data)
        train__eval_training(eval, training_add, arm);
    return arm;
}

/* ---- lists ---- */

static int32_t item_of(const struct neighbours *arm, uint64_t key)
{
    return (int32_t)*map_u64_get(arm->item_of, key);
}

static bool is_masked(void *context, uint64_t key)
{
    const struct neighbours *arm = context;
    return train__eval_is_masked(arm->eval, item_of(arm, key));
}

static void neighbours_ask(void *context, const struct train__query *query, int32_t *list)
{
    struct neighbours *arm = context;
    const struct train__eval *eval = arm->eval;
    uint64_t keys[MODEL_NEIGHBOURS_LAST_MAX];
    size_t begin = session_begin(arm, eval->data, query->user, query->window, query->event - 1);
    int n = 0;
    if (begin < query->window) begin = query->window;
    if (query->event - begin > MODEL_NEIGHBOURS_LAST_MAX)
        begin = query->event - MODEL_NEIGHBOURS_LAST_MAX;
    for (size_t e = begin; e < query->event; e++)
        keys[n++] = eval->items.key[eval->data->events[e].item];
    n = model_neighbours_query(
        arm->index, session_of(arm, eval->data, query->user, query->window, query->event - 1), keys,
        n, eval->K, is_masked, arm, arm->found);
    size_t at = (size_t)(list - eval->list[EVAL_NEIGHBOURS]);
    for (int i = 0; i < n; i++) {
        list[i] = item_of(arm, arm->found[i].key);
        eval->score[EVAL_NEIGHBOURS][at + (size_t)i] = (float)arm->found[i].score;
        eval->follows[at + (size_t)i] = arm->found[i].follows;
    }
    if (n < eval->K) list[n] = -1;
}

static void neighbours_learn(void *context, const struct train__query *query)
{
    struct neighbours *arm = context;
    const struct train__eval *eval = arm->eval;
    const struct train_event *event = &eval->data->events[query->event];
    if (!eval->options->neighbours_live) return;
    size_t window = train__eval_window(eval->options, query->window, query->event);
    model_neighbours_add(arm->index, session_of(arm, eval->data, query->user, window, query->event),
                         eval->items.key[event->item], event->time_ms);
}

static void neighbours_stop(void *context)
{
    struct neighbours *arm = context;
    model_neighbours_free(arm->index);
    map_u64_free(arm->item_of);
    mem_free(arm->found);
    mem_free(arm);
}

const struct train__arm train__arm_neighbours = {
    .start = neighbours_start,
    .ask = neighbours_ask,
    .learn = neighbours_learn,
    .stop = neighbours_stop,
};
