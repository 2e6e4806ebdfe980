/* Why the encoder lists an item: the interaction of the user's that is most like it. */

#include "model/internal.h"

#include <math.h>

static const float *item_vector(const struct model *model, int32_t item)
{
    return model__tensor(model, MODEL_ITEM_EMBEDDING, 0) + (size_t)item * (size_t)model->config.D;
}

static bool is_in(const struct model_because *because, int32_t item)
{
    for (int i = 0; i < because->n; i++)
        if (because->items[i] == item) return true;
    return false;
}

bool model_because_add(const struct model *model, struct model_because *because, int32_t item)
{
    if (because->n == MODEL_BECAUSE_MAX) return false;
    if (item < 0 || is_in(because, item)) return true;
    const float *vector = item_vector(model, item);
    float square = model->kernels->dot(model->config.D, vector, vector);
    because->items[because->n] = item;
    because->scale[because->n++] = square > 0 ? 1.0F / sqrtf(square) : 0;
    return because->n < MODEL_BECAUSE_MAX;
}

int32_t model_because(const struct model *model, const struct model_because *because, int32_t item)
{
    const float *a[MODEL_BECAUSE_MAX], *b[MODEL_BECAUSE_MAX];
    float dots[MODEL_BECAUSE_MAX];
    int best = 0;
    for (int i = 0; i < because->n; i++) {
        a[i] = item_vector(model, item);
        b[i] = item_vector(model, because->items[i]);
    }
    if (because->n == 0) return -1;
    model->kernels->dots(model->config.D, because->n, a, b, dots);
    for (int i = 1; i < because->n; i++)
        if (dots[i] * because->scale[i] > dots[best] * because->scale[best]) best = i;
    return because->items[best];
}
