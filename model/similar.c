/* The items whose vectors point where another's does, by a look at all of them. */
#include "model/internal.h"

#include <math.h>

#include "model/partners_internal.h"

enum { BLOCK = 64 };

int model_similar(const struct model *model, const float *vector, int K,
                  bool (*skip)(void *context, uint64_t key), void *context,
                  struct model_scored *out)
{
    int D = model->config.D, kept = 0;
    const float *items = model__tensor(model, MODEL_ITEM_EMBEDDING, 0);
    float own = model->kernels->dot(D, vector, vector);
    for (int at = 0; at < model->config.N && own > 0; at += BLOCK) {
        const float *a[BLOCK], *b[BLOCK];
        float dots[BLOCK], squares[BLOCK];
        int n = model->config.N - at < BLOCK ? model->config.N - at : BLOCK;
        for (int i = 0; i < n; i++) {
            a[i] = items + (size_t)(at + i) * (size_t)D;
            b[i] = vector;
        }
        model->kernels->dots(D, n, a, b, dots);
        model->kernels->dots(D, n, a, a, squares);
        for (int i = 0; i < n; i++) {
            double cosine = (double)dots[i] / sqrt((double)squares[i] * (double)own);
            if (!(cosine > 0) || (kept == K && cosine <= out[K - 1].score)) continue;
            uint64_t key = model_item_key(model, at + i);
            if (!skip || !skip(context, key))
                model__best_push(out, &kept, K, (struct model_scored){key, cosine});
        }
    }
    return kept;
}
