/* The blend: the lists of the other arms merged by the function that the pipeline merges its lists with.
 *
 * Each arm gives as many candidates as the list is long, as in app/publish.c. Seam: blend_list is where a learned ranker of the
 * model's folder takes the place of rank fusion. */
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
    struct train__query query[TRAIN__QUERIES];
    int n;
};

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
    blend->n_candidates = eval->K;
    if (blend->n_candidates * blend->n_sources > MODEL_MAX_CANDIDATES)
        blend->n_candidates = MODEL_MAX_CANDIDATES / blend->n_sources;
    blend->keys = mem_alloc((size_t)EVAL_ARMS * K * sizeof *blend->keys);
    blend->out = mem_alloc(K * sizeof *blend->out);
    return blend;
}

/* The lists of the other arms are there when the batch ends. */
static void blend_ask(void *arm, const struct train__query *query, int32_t *list)
{
    struct blend *blend = arm;
    (void)list;
    blend->query[blend->n++] = *query;
}

/* Merges the lists for query q into list (K). An item's index stands for its key. */
static void blend_list(struct blend *blend, int q, int32_t *list)
{
    struct model_candidates arms[EVAL_ARMS];
    int K = blend->eval->K;
    for (int s = 0; s < blend->n_sources; s++) {
        const int32_t *from = blend->eval->list[blend->source[s]] + (size_t)q * (size_t)K;
        uint64_t *keys = blend->keys + (size_t)s * (size_t)K;
        int n = 0;
        for (; n < blend->n_candidates && from[n] >= 0; n++)
            keys[n] = (uint64_t)from[n];
        arms[s] = (struct model_candidates){keys, n};
    }
    int n = model_blend(arms, blend->weight, blend->n_sources, K, blend->out);
    for (int i = 0; i < n; i++)
        list[i] = (int32_t)blend->out[i].key;
    if (n < K) list[n] = -1;
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
    mem_free(blend);
}

const struct train__arm train__arm_blend = {
    .start = blend_start,
    .ask = blend_ask,
    .end_batch = blend_end_batch,
    .stop = blend_stop,
};
