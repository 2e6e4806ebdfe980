/* Lists: the K best items of each user, exactly. */

#include "model/internal.h"

#include <assert.h>
#include <math.h>

/* ---- by definition ---- */

static const float *item_vector(const struct model *model, int32_t item)
{
    return model__tensor(model, MODEL_ITEM_EMBEDDING, 0) + (size_t)item * (size_t)model->config.D;
}

static float item_score(const struct model *model, const float *vector, int32_t item)
{
    return model->kernels->dot(model->config.D, vector, item_vector(model, item)) +
           model__tensor(model, MODEL_ITEM_BIAS, 0)[item];
}

void model_score(const struct model *model, const float *vector, float *score)
{
    for (int32_t i = 0; i < model->config.N; i++)
        score[i] = item_score(model, vector, i);
}

/* Puts an item met in ascending order of index into the n best of at most K; returns the new n. */
static int keep_best(int32_t item, float score, int n, int K, int32_t *out_item, float *out_score)
{
    int at = n;
    while (at > 0 && score > out_score[at - 1])
        at--;
    if (at >= K) return n;
    if (n < K) n++;
    for (int j = n - 1; j > at; j--) {
        out_item[j] = out_item[j - 1];
        out_score[j] = out_score[j - 1];
    }
    out_item[at] = item;
    out_score[at] = score;
    return n;
}

void model_topk_naive(const struct model *model, int B, const float *const *vector,
                      const struct model_exclusions *exclusions, int K, int32_t *out_item,
                      float *out_score)
{
    for (int b = 0; b < B; b++) {
        struct model_exclusions none = {NULL, 0};
        struct model_exclusions out = exclusions != NULL ? exclusions[b] : none;
        int32_t *row_item = out_item + (size_t)b * (size_t)K;
        float *row_score = out_score + (size_t)b * (size_t)K;
        int n = 0;
        for (int32_t i = 0, e = 0; i < model->config.N; i++) {
            if (e < out.n && out.items[e] == i)
                e++;
            else
                n = keep_best(i, item_score(model, vector[b], i), n, K, row_item, row_score);
        }
        for (; n < K; n++) {
            row_item[n] = -1;
            row_score[n] = -INFINITY;
        }
    }
}

void model_topk(const struct model *model, struct model_scratch *scratch, int B,
                const float *const *vector, const struct model_exclusions *exclusions, int K,
                int32_t *out_item, float *out_score)
{
    (void)scratch;
    assert(B <= MODEL_MAX_BATCH && K >= 1 && K <= MODEL_MAX_K);
    model_topk_naive(model, B, vector, exclusions, K, out_item, out_score);
}
