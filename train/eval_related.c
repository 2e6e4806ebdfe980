/* The arm of related items: what goes with the newest items of the window, by the pairs, rows and lists of the pipeline
 * (model/pairs.h, model/partners.h), counted event by event.
 *
 * Static (neighbours_live false, as the published protocols): the rows hold the training part, and no more. Live: each event of the
 * log is counted once it was predicted. A row's list is made anew for each query; the pipeline looks at the list that was published
 * last, so here it is a moment younger. */
#include "base/map.h"
#include "base/mem.h"
#include "schemas/schemas.h"
#include "train/eval.h"

enum { KINDS = RELATED_OTHER };
static const int64_t ENDLESS_MS = INT64_MAX / 4;

struct related_arm {
    struct train__eval *eval;
    struct model_related_rules rules;
    struct model_partners *rows[KINDS]; /* (items n); entries NULL: nothing is counted yet */
    struct model_marginals *marginals[KINDS];
    struct map_u64 *item_of;    /* item key to item */
    struct interaction *window; /* (window) */
    struct model_pairs_found found;
};

static int32_t item_of(const struct related_arm *arm, uint64_t key)
{
    return (int32_t)*map_u64_get(arm->item_of, key);
}

/* ---- counting ---- */

static void pair_count(struct related_arm *arm, const struct model_pair *pair)
{
    uint64_t other = arm->found.items[pair->other];
    struct model_partners *row =
        &arm->rows[pair->kind][item_of(arm, arm->found.items[pair->subject])];
    double moment = model_moment(pair->time_ms, arm->rules.half_life_ms[pair->kind]);
    if (!row->entries) {
        int max = arm->rules.partners_max;
        model_partners_init(row, mem_alloc((size_t)max * sizeof *row->entries), max);
    }
    model_partners_add(row, other, (double)pair->weight, moment);
    model_marginals_add(arm->marginals[pair->kind], other, (double)pair->weight, moment);
}

/* Event e of a log, whose user's window begins at event window. keys: of the log's items, or NULL for those of the evaluation. */
static void event_count(struct related_arm *arm, const struct train_data *log, size_t window,
                        size_t e, const int32_t *items)
{
    const uint64_t *key = arm->eval->items.key;
    struct model_pairs_user user = {.window = arm->window};
    for (size_t i = window; i < e; i++) {
        const struct train_event *event = &log->events[i];
        int32_t item = items ? items[event->item] : event->item;
        arm->window[user.n_window++] = (struct interaction){key[item], event->time_ms, event->type};
    }
    const struct train_event *now = &log->events[e];
    uint64_t its = key[items ? items[now->item] : now->item];
    if (model_pairs_find(&arm->rules.pairs, &user, now->type, now->time_ms, &its, 1, &arm->found) !=
        MODEL_PAIRS_TAKEN)
        return;
    for (int i = 0; i < arm->found.n_pairs; i++)
        pair_count(arm, &arm->found.pairs[i]);
}

static void training_count(void *context, const struct train__query *query)
{
    struct related_arm *arm = context;
    const struct train__eval *eval = arm->eval;
    event_count(arm, eval->history, query->window, query->event, eval->items.from_history);
}

static void *related_start(struct train__eval *eval)
{
    struct related_arm *arm = mem_zalloc(sizeof *arm);
    size_t n = (size_t)eval->items.n;
    int64_t gap_ms = eval->data->has_times ? eval->options->session_gap_ms : 0;
    arm->eval = eval;
    arm->rules = *eval->options->related;
    arm->rules.pairs.session_gap_ms = gap_ms ? gap_ms : ENDLESS_MS;
    for (int k = 0; k < KINDS && !eval->data->has_times; k++)
        arm->rules.half_life_ms[k] = 0;
    arm->window = mem_alloc((size_t)eval->options->window * sizeof *arm->window);
    arm->found.pairs = mem_alloc(MODEL_PAIRS_MAX * sizeof *arm->found.pairs);
    for (int k = 0; k < KINDS; k++) {
        arm->rows[k] = mem_zalloc(n * sizeof *arm->rows[k]);
        arm->marginals[k] = model_marginals_new(n + 2);
    }
    arm->item_of = map_u64_new(n);
    for (int i = 0; i < eval->items.n; i++)
        (void)map_u64_set(arm->item_of, eval->items.key[i], (uint64_t)i);
    if (!eval->options->neighbours_live || eval->history != eval->data)
        train__eval_training(eval, training_count, arm);
    return arm;
}

static void related_learn(void *context, const struct train__query *query)
{
    struct related_arm *arm = context;
    const struct train__eval *eval = arm->eval;
    if (!eval->options->neighbours_live) return;
    event_count(arm, eval->data, query->window, query->event, NULL);
}

/* ---- lists ---- */

static bool is_masked(void *context, uint64_t key)
{
    const struct related_arm *arm = context;
    return train__eval_is_masked(arm->eval, item_of(arm, key));
}

static void related_ask(void *context, const struct train__query *query, int32_t *list)
{
    struct related_arm *arm = context;
    const struct train__eval *eval = arm->eval;
    struct model_score_options score = model_score_options_default();
    struct model_scored lists[MODEL_RELATED_SOURCES][MODEL_RELATED_PARTNERS];
    struct model_related_source sources[MODEL_RELATED_SOURCES];
    struct model_related_item found[MODEL_RELATED_MAX];
    int32_t items[MODEL_RELATED_ITEMS];
    int K = eval->K < MODEL_RELATED_MAX ? eval->K : MODEL_RELATED_MAX;
    int n_items = train__query_newest(query, eval->data, items), n = 0;
    double weight = 1;
    for (int i = 0; i < n_items; i++, weight *= MODEL_RELATED_FADE)
        for (int k = 0; k < KINDS; k++) {
            const struct model_partners *row = &arm->rows[k][items[i]];
            int count = row->entries
                            ? model_partners_best(row, arm->marginals[k], &score,
                                                  MODEL_RELATED_PARTNERS, NULL, NULL, lists[n])
                            : 0;
            if (count == 0) continue;
            sources[n] = (struct model_related_source){lists[n], count, weight};
            n++;
        }
    n = model_related(sources, n, K, is_masked, arm, found);
    size_t at = (size_t)(list - eval->list[EVAL_RELATED]);
    for (int i = 0; i < n; i++) {
        list[i] = item_of(arm, found[i].key);
        eval->score[EVAL_RELATED][at + (size_t)i] = found[i].score;
    }
    if (n < eval->K) list[n] = -1;
}

static void related_stop(void *context)
{
    struct related_arm *arm = context;
    for (int k = 0; k < KINDS; k++) {
        for (int i = 0; i < arm->eval->items.n; i++)
            mem_free(arm->rows[k][i].entries);
        mem_free(arm->rows[k]);
        model_marginals_free(arm->marginals[k]);
    }
    mem_free(arm->found.pairs);
    mem_free(arm->window);
    map_u64_free(arm->item_of);
    mem_free(arm);
}

const struct train__arm train__arm_related = {
    .start = related_start,
    .ask = related_ask,
    .learn = related_learn,
    .stop = related_stop,
};
