/* The arm of session neighbours: the index that the pipeline keeps (model.h), asked with the newest events of the window.
 *
 * A session is a user of the log. Static (neighbours_live false, as the published protocols): the index holds the training
 * part, in the order of time, and no more. Live: each event of the log is added once it was predicted, as in the
 * pipeline; the training part then comes by itself, being earlier. */
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

/* Session ids: of users of data from 1, those of another history behind. */
static uint64_t session_of(const struct neighbours *arm, bool is_history, int user)
{
    const struct train__eval *eval = arm->eval;
    bool is_other = is_history && eval->history != eval->data;
    return 1 + (uint64_t)user + (is_other ? (uint64_t)eval->data->n_users : 0);
}

static void add_training(struct neighbours *arm)
{
    const struct train__eval *eval = arm->eval;
    const struct train_data *history = eval->history;
    struct train__moment *moments = train__eval_moments(history);
    size_t *end = mem_alloc((size_t)history->n_users * sizeof *end);
    for (int u = 0; u < history->n_users; u++)
        end[u] = train_split_end(history, eval->options->split, u);
    for (size_t i = 0; i < history->n_events; i++) {
        int user = moments[i].user;
        const struct train_event *event = &history->events[moments[i].event];
        if (moments[i].event >= end[user]) continue;
        model_neighbours_add(arm->index, session_of(arm, true, user),
                             eval->items.key[eval->items.from_history[event->item]],
                             event->time_ms);
    }
    mem_free(moments);
    mem_free(end);
}

static int at_most(int wanted, size_t most)
{
    if (most < 1) most = 1;
    return wanted > 0 && (size_t)wanted < most ? wanted
                                               : (int)(most < INT32_MAX ? most : INT32_MAX);
}

/* The options with bounds that these logs can reach. */
static struct model_neighbours_options fitted(const struct train__eval *eval)
{
    const struct train_data *data = eval->data, *history = eval->history;
    struct model_neighbours_options o = *eval->options->neighbours;
    size_t users = (size_t)data->n_users, events = data->n_events;
    if (history != data) {
        users += (size_t)history->n_users;
        events += history->n_events;
    }
    o.sessions_max = at_most(o.sessions_max, users);
    o.clicks_max = at_most(o.clicks_max, events);
    o.m = at_most(o.m, users);
    o.k = at_most(o.k, users);
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
    if (!eval->options->neighbours_live || eval->history != eval->data) add_training(arm);
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
    size_t begin = query->window;
    int n = 0;
    if (query->event - begin > MODEL_NEIGHBOURS_LAST_MAX)
        begin = query->event - MODEL_NEIGHBOURS_LAST_MAX;
    for (size_t e = begin; e < query->event; e++)
        keys[n++] = eval->items.key[eval->data->events[e].item];
    n = model_neighbours_query(arm->index, session_of(arm, false, query->user), keys, n, eval->K,
                               is_masked, arm, arm->found);
    for (int i = 0; i < n; i++)
        list[i] = item_of(arm, arm->found[i].key);
    if (n < eval->K) list[n] = -1;
}

static void neighbours_learn(void *context, const struct train__query *query)
{
    struct neighbours *arm = context;
    const struct train__eval *eval = arm->eval;
    const struct train_event *event = &eval->data->events[query->event];
    if (!eval->options->neighbours_live) return;
    model_neighbours_add(arm->index, session_of(arm, false, query->user),
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
