/* The blend: the lists of the other arms merged by the functions that the pipeline merges its lists with: the model's ranker,
 * or rank fusion when it has none. Each arm gives as many candidates as in app/batch.c. */
#include "base/map.h"
#include "base/mem.h"
#include "train/eval.h"

struct blend {
    struct train__eval *eval;
    int source
        [EVAL_ARMS]; /* (n_sources) arms that are merged, in the order in which ties are met */
    float weight[EVAL_ARMS]; /* (n_sources) */
    int n_sources;
    int n_candidates;          /* of each source */
    uint64_t *keys;            /* (n_sources,K) */
    struct model_blended *out; /* (K) */
    struct map_u64 *item_of;   /* item key to item; NULL unless the evaluation ranks */
    struct train__query query[TRAIN__QUERIES];
    struct model_session session[TRAIN__QUERIES]; /* by query; only when the evaluation ranks */
    int n;
};

static int fewer(int a, int b)
{
    return a < b ? a : b;
}

static void *blend_start(struct train__eval *eval)
{
    struct blend *blend = mem_zalloc(sizeof *blend);
    size_t K = (size_t)eval->K;
    blend->eval = eval;
    for (int a = 0; a < EVAL_ARMS; a++) {
        if (!eval->is_running[a] || eval->options->blend[a] <= 0) continue;
        blend->source[blend->n_sources] = a;
        blend->weight[blend->n_sources++] = eval->options->blend[a];
    }
    int shown = eval->options->k[eval->options->n_k - 1];
    blend->n_candidates = fewer(shown, MODEL_MAX_CANDIDATES / blend->n_sources);
    blend->keys = mem_alloc((size_t)EVAL_ARMS * K * sizeof *blend->keys);
    blend->out = mem_alloc(K * sizeof *blend->out);
    if (!eval->ranks) return blend;
    blend->item_of = map_u64_new((size_t)eval->items.n);
    for (int i = 0; i < eval->items.n; i++)
        (void)map_u64_set(blend->item_of, eval->items.key[i], (uint64_t)i);
    return blend;
}

/* What may not be listed now. */
static bool is_masked(void *context, uint64_t key)
{
    const struct blend *blend = context;
    return train__eval_is_masked(blend->eval, (int32_t)*map_u64_get(blend->item_of, key));
}

/* The newest items of the window. */
static void session_note(struct blend *blend, const struct train__query *query)
{
    const struct train__eval *eval = blend->eval;
    uint64_t keys[MODEL_RANKER_SESSION];
    size_t begin = query->window, most = MODEL_RANKER_SESSION;
    int n = 0;
    if (query->event - begin > most) begin = query->event - most;
    for (size_t e = begin; e < query->event; e++)
        keys[n++] = eval->items.key[eval->data->events[e].item];
    model_session_note(&blend->session[blend->n], keys, n, is_masked, blend);
}

/* The lists of the other arms are there when the batch ends; what is masked is known now alone. */
static void blend_ask(void *arm, const struct train__query *query, int32_t *list)
{
    struct blend *blend = arm;
    (void)list;
    if (blend->eval->ranks) session_note(blend, query);
    blend->query[blend->n++] = *query;
}

/* ---- rank fusion ---- */

/* Merges the lists for query q into list (K). An item's index stands for its key. */
static int fuse(struct blend *blend, int q, int32_t *list)
{
    struct model_candidates arms[ARM_COUNT] = {0};
    int K = blend->eval->K;
    for (int s = 0; s < blend->n_sources; s++) {
        const int32_t *from = blend->eval->list[blend->source[s]] + (size_t)q * (size_t)K;
        uint64_t *keys = blend->keys + (size_t)s * (size_t)K;
        int n = 0;
        for (; n < blend->n_candidates && from[n] >= 0; n++)
            keys[n] = (uint64_t)from[n];
        arms[s].keys = keys;
        arms[s].n = n;
    }
    int n = model_blend(arms, blend->weight, blend->n_sources, K, blend->out);
    for (int i = 0; i < n; i++)
        list[i] = (int32_t)blend->out[i].key;
    return n;
}

/* ---- the ranker ---- */

static enum model_arm arm_of(int source)
{
    if (source == EVAL_ENCODER) return ARM_ENCODER;
    if (source == EVAL_RELATED) return ARM_RELATED;
    if (source == EVAL_TRENDING) return ARM_TRENDING;
    return source == EVAL_NEIGHBOURS ? ARM_NEIGHBOURS : ARM_POPULAR;
}

/* Lists, scores and session of query q. */
static void ranking_make(struct blend *blend, int q, struct model_ranking *ranking)
{
    const struct train__eval *eval = blend->eval;
    size_t row = (size_t)q * (size_t)eval->K;
    *ranking = (struct model_ranking){.follows = eval->follows + row};
    model_ranking_session(ranking, &blend->session[q]);
    for (int s = 0; s < blend->n_sources; s++) {
        int source = blend->source[s], n = 0;
        const int32_t *from = eval->list[source] + row;
        uint64_t *keys = blend->keys + (size_t)s * (size_t)eval->K;
        for (; n < MODEL_RANKER_DEPTH && from[n] >= 0; n++)
            keys[n] = eval->items.key[from[n]];
        bool has_scores = arm_of(source) != ARM_POPULAR;
        ranking->arms[arm_of(source)] = (struct model_candidates){
            .keys = keys, .n = n, .scores = has_scores ? eval->score[source] + row : NULL};
    }
}

static int rank(struct blend *blend, const struct model_ranking *ranking, int32_t *list)
{
    int n = model_rank(blend->eval->model, ranking, blend->eval->K, blend->out);
    for (int i = 0; i < n; i++)
        list[i] = (int32_t)*map_u64_get(blend->item_of, blend->out[i].key);
    return n;
}

static void blend_list(struct blend *blend, int q, int32_t *list)
{
    const struct train__eval *eval = blend->eval;
    const struct eval_options *options = eval->options;
    const struct train__query *query = &blend->query[q];
    struct model_ranking ranking;
    int n;
    if (eval->ranks) ranking_make(blend, q, &ranking);
    if (options->listen)
        options->listen(options->listener, &ranking,
                        eval->items.key[eval->data->events[query->event].item], query->user);
    if (eval->ranks && model_ranker(eval->model) && !options->fusion)
        n = rank(blend, &ranking, list);
    else
        n = fuse(blend, q, list);
    if (n < eval->K) list[n] = -1;
}

static void blend_end_batch(void *arm)
{
    struct blend *blend = arm;
    size_t K = (size_t)blend->eval->K;
    for (int q = 0; q < blend->n; q++)
        blend_list(blend, q, blend->eval->list[EVAL_BLEND] + (size_t)q * K);
    blend->n = 0;
}

static void blend_stop(void *arm)
{
    struct blend *blend = arm;
    mem_free(blend->keys);
    mem_free(blend->out);
    map_u64_free(blend->item_of);
    mem_free(blend);
}

const struct train__arm train__arm_blend = {
    .start = blend_start,
    .ask = blend_ask,
    .end_batch = blend_end_batch,
    .stop = blend_stop,
};
