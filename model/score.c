/* Scores and lists by their definition: what topk.c must agree with to the bit. */

#include "model/internal.h"

#include <assert.h>
#include <math.h>

static const float zeros[1024];

const float *model__usable_vector(int D, const float *vector)
{
    int unusable[16] = {0};
    for (int j = 0; j < D; j += 16)
        for (int l = 0; l < 16; l++)
            unusable[l] |= !(fabsf(vector[j + l]) <= MODEL__VECTOR_MAX);
    for (int l = 1; l < 16; l++)
        unusable[0] |= unusable[l];
    return unusable[0] ? zeros : vector;
}

float model__item_score(const struct model *model, const float *vector, int32_t item)
{
    size_t D = (size_t)model->config.D;
    const float *v = model__tensor(model, MODEL_ITEM_EMBEDDING, 0) + (size_t)item * D;
    return model__score_of(model->kernels->dot((int)D, vector, v),
                           model__tensor(model, MODEL_ITEM_BIAS, 0)[item]);
}

void model_score(const struct model *model, const float *vector, float *score)
{
    const float *usable = model__usable_vector(model->config.D, vector);
    for (int32_t i = 0; i < model->config.N; i++)
        score[i] = model__item_score(model, usable, i);
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
        struct model_exclusions none = {.n = 0};
        struct model_exclusions out = exclusions != NULL ? exclusions[b] : none;
        const float *usable = model__usable_vector(model->config.D, vector[b]);
        int32_t *row_item = out_item + (size_t)b * (size_t)K;
        float *row_score = out_score + (size_t)b * (size_t)K;
        int n = 0;
        for (int32_t i = 0, e = 0; i < model->config.N; i++) {
            if (e < out.n && out.items[e] == i)
                e++;
            else if (out.filter == NULL || !model_filter_refuses(out.filter, model, i))
                n = keep_best(i, model__item_score(model, usable, i), n, K, row_item, row_score);
        }
        for (; n < K; n++) {
            row_item[n] = -1;
            row_score[n] = -INFINITY;
        }
    }
}
