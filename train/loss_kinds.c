/* What each --loss does with a micro-batch: the full softmax, the sampled one, gBCE. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "train/kernels.h"
#include "train/worker.h"

static size_t item_tensor(const struct train__worker *w, enum model_tensor tensor)
{
    return model_param_offset(w->config, tensor, 0);
}

/* ---- full softmax ---- */

struct train__softmax train__softmax_of_all(struct train__worker *worker, const float *params,
                                            const float *x, float scale)
{
    struct train__worker *w = worker;
    return (struct train__softmax){
        .P = w->batch.P,
        .C = w->plan->N,
        .D = w->config->D,
        .x = x,
        .weight = params + item_tensor(w, MODEL_ITEM_EMBEDDING),
        .bias = params + item_tensor(w, MODEL_ITEM_BIAS),
        .target = w->batch.target,
        .scale = scale,
        .dx = w->dx,
        .dweight = w->grads + item_tensor(w, MODEL_ITEM_EMBEDDING),
        .dbias = w->grads + item_tensor(w, MODEL_ITEM_BIAS),
    };
}

static double full_run(struct train__worker *w, const float *params, const float *x, float scale)
{
    struct train__softmax args = train__softmax_of_all(w, params, x, scale);
    args.smoothing = (float)w->options->label_smoothing;
    return train__loss_softmax(w->loss, &args);
}

/* ---- sampled softmax ----
 *
 * Candidates of a micro-batch: its targets and n uniform draws, each once (mixed negative sampling: Yang et al. 2020). The sum over
 * all items is estimated by that over the candidates, each divided by its chance to be one (Horvitz and Thompson 1952),
 * that is, log of the chance is taken from its logit: logQ correction (Bengio and Senecal 2008, Yi et al. 2019). A
 * position's own target is there for certain, and is not corrected. */

static void sampled_init(struct train__worker *w)
{
    size_t n = (size_t)(w->positions_max + w->options->negatives + 15), D = (size_t)w->config->D;
    size_t N = (size_t)w->plan->N;
    w->candidates_max = (int)n;
    w->candidate = mem_alloc(n * sizeof(int32_t));
    w->target = mem_alloc((size_t)w->positions_max * sizeof(int32_t));
    w->place = mem_alloc(N * sizeof(int32_t));
    for (size_t i = 0; i < N; i++)
        w->place[i] = -1;
    w->weight = mem_aligned(64, n * D * sizeof(float));
    w->dweight = mem_aligned(64, n * D * sizeof(float));
    w->bias = mem_aligned(64, n * sizeof(float));
    w->boost = mem_aligned(64, n * sizeof(float));
    w->spread = mem_aligned(64, n * sizeof(float));
    w->dbias = mem_aligned(64, (n + 16) * sizeof(float));
}

static void add_candidate(struct train__worker *w, int32_t item)
{
    if (w->place[item] >= 0) return;
    w->place[item] = w->n_candidates;
    w->candidate[w->n_candidates++] = item;
}

/* log of the chance that an item which is not a position's own target is among the candidates: as the target of one of the other P - 1
 * positions, drawn by share, or as one of n uniform draws. */
static double log_chance(const struct train__worker *w, int32_t item)
{
    double N = w->plan->N, share = w->plan->share[item];
    double missed = 0;
    if (N > 1) missed += w->options->negatives * log1p(-1.0 / N);
    missed += (w->batch.P - 1) * log1p(-(share < 0.999999 ? share : 0.999999));
    return log(-expm1(missed) + 1e-30);
}

/* Each candidate with its embedding and what corrects for its chance. */
static void choose_candidates(struct train__worker *w, const float *params)
{
    size_t D = (size_t)w->config->D;
    const float *embedding = params + item_tensor(w, MODEL_ITEM_EMBEDDING);
    const float *bias = params + item_tensor(w, MODEL_ITEM_BIAS);
    w->n_candidates = 0;
    for (int p = 0; p < w->batch.P; p++) {
        add_candidate(w, w->batch.target[p]);
        w->target[p] = w->place[w->batch.target[p]];
    }
    for (int i = 0; i < w->options->negatives; i++)
        add_candidate(w, (int32_t)rng_below(&w->rng, (uint64_t)w->plan->N));
    train__worker_see(w, w->candidate, w->n_candidates);
    for (int c = 0; c < w->n_candidates; c++) {
        int32_t item = w->candidate[c];
        memcpy(w->weight + (size_t)c * D, embedding + (size_t)item * D, D * sizeof(float));
        double chance = log_chance(w, item);
        w->boost[c] = (float)chance;
        w->bias[c] = bias[item] - w->boost[c];
        w->spread[c] = (float)(exp(-chance) / w->plan->N);
    }
}

/* Adds the candidates' gradients to their items' rows. */
static void scatter_candidates(struct train__worker *w)
{
    size_t D = (size_t)w->config->D;
    float *embedding = w->grads + item_tensor(w, MODEL_ITEM_EMBEDDING);
    float *bias = w->grads + item_tensor(w, MODEL_ITEM_BIAS);
    for (int c = 0; c < w->n_candidates; c++) {
        int32_t item = w->candidate[c];
        w->place[item] = -1;
        w->touched[item] = 1;
        bias[item] += w->dbias[c];
        for (size_t d = 0; d < D; d++)
            embedding[(size_t)item * D + d] += w->dweight[(size_t)c * D + d];
    }
}

static double sampled_run(struct train__worker *w, const float *params, const float *x, float scale)
{
    choose_candidates(w, params);
    size_t C = (size_t)w->n_candidates;
    memset(w->dweight, 0, C * (size_t)w->config->D * sizeof(float));
    memset(w->dbias, 0, (C + 16) * sizeof(float));
    struct train__softmax args = train__softmax_of_all(w, params, x, scale);
    args.C = w->n_candidates;
    args.weight = w->weight;
    args.bias = w->bias;
    args.boost = w->boost;
    args.target = w->target;
    args.smoothing = (float)w->options->label_smoothing;
    args.spread = w->spread;
    args.dweight = w->dweight;
    args.dbias = w->dbias;
    double sum = train__loss_softmax(w->loss, &args);
    scatter_candidates(w);
    return sum;
}

/* ---- gBCE ---- */

static void gbce_init(struct train__worker *w)
{
    w->candidates_max = w->options->negatives + 1;
    w->candidate = mem_alloc((size_t)w->candidates_max * sizeof(int32_t));
    w->logit = mem_alloc((size_t)w->candidates_max * sizeof(float));
}

static void see(void *worker, const int32_t *items, int n)
{
    train__worker_see(worker, items, n);
}

static double gbce_run(struct train__worker *w, const float *params, const float *x, float scale)
{
    const struct train__gbce args = {
        .P = w->batch.P,
        .C = w->plan->N,
        .D = w->config->D,
        .K = w->plan->N > 1 ? w->options->negatives : 0,
        .t = w->options->gbce_t,
        .x = x,
        .weight = params + item_tensor(w, MODEL_ITEM_EMBEDDING),
        .bias = params + item_tensor(w, MODEL_ITEM_BIAS),
        .target = w->batch.target,
        .scale = scale,
        .dx = w->dx,
        .dweight = w->grads + item_tensor(w, MODEL_ITEM_EMBEDDING),
        .dbias = w->grads + item_tensor(w, MODEL_ITEM_BIAS),
        .touched = w->touched,
        .before = w->seen ? see : NULL,
        .context = w,
        .candidate = w->candidate,
        .logit = w->logit,
        .kernels = train__kernels_best(),
    };
    return train__loss_gbce(&args, &w->rng);
}

/* Positions: 2,048 keep their activations in the cache of the second level; in a sample the targets are candidates of each
 * other, so that fewer are as good. */
const struct train__loss_kind train__loss_kinds[] = {
    [TRAIN_FULL] = {.positions = 2048, .run = full_run},
    [TRAIN_SAMPLED] = {.positions = 1024,
                       .is_sparse = true,
                       .init = sampled_init,
                       .run = sampled_run},
    [TRAIN_GBCE] = {.positions = 1024, .is_sparse = true, .init = gbce_init, .run = gbce_run},
};
