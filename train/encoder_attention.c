/* The attention encoder's part over whole sequences: queries, keys and values of all positions by one product, then
 * attention.c sequence by sequence; and learnt positions. layer->own keeps queries, keys and values, (P,3H). */
#include "train/mix.h"

#include <assert.h>

#include "base/mem.h"
#include "train/attention.h"

struct own {
    struct train__attention attention;
    float *dqkv; /* (rows,3H) */
    int rows;
};

static void *make(const struct model_config *config)
{
    struct own *own = mem_zalloc(sizeof *own);
    train__attention_init(&own->attention, train__kernels_best(), config->H, config->heads,
                          config->rotary);
    return own;
}

static void drop(void *of)
{
    struct own *own = of;
    train__attention_fini(&own->attention);
    mem_free(own->dqkv);
    mem_free(own);
}

static int layer_floats(const struct model_config *config)
{
    return 3 * config->H;
}

static void begin(struct train__encoder *e, const float *params, const struct train__batch *batch)
{
    struct own *own = e->own;
    (void)params;
    if (batch->P <= own->rows) return;
    mem_free(own->dqkv);
    own->dqkv = mem_aligned(64, (size_t)batch->P * (size_t)e->U * sizeof(float));
    own->rows = batch->P;
}

/* ---- learnt positions: a sequence begins at the first ---- */

static void embed(struct train__encoder *e, const float *params, const struct train__batch *batch,
                  float *x)
{
    size_t D = (size_t)e->config.D;
    if (e->config.positions == 0) return;
    const float *positions = train__tensor(e, params, MODEL_POSITION_EMBEDDING, 0);
    for (int s = 0; s < batch->n; s++) {
        int first = batch->start[s], T = batch->start[s + 1] - first;
        assert(T <= e->config.positions);
        train__add((size_t)T * D, positions, x + (size_t)first * D);
    }
}

static void embed_backward(struct train__encoder *e, const struct train__batch *batch,
                           const float *grad, float *grads)
{
    size_t D = (size_t)e->config.D;
    if (e->config.positions == 0) return;
    float *positions = train__tensor_grad(e, grads, MODEL_POSITION_EMBEDDING, 0);
    for (int s = 0; s < batch->n; s++) {
        int first = batch->start[s], T = batch->start[s + 1] - first;
        train__add((size_t)T * D, grad + (size_t)first * D, positions);
    }
}

/* ---- the mix ---- */

/* Of the dropout of one sequence's softmax. */
static uint32_t sequence_seed(const struct train__encoder *e, int l, int s)
{
    return (train__place_seed(e, PLACE_WITHIN, l) ^ (uint32_t)s * 0xC2B2AE35u) * 0x9E3779B1u;
}

static void forward(struct train__encoder *e, const float *params, const struct train__batch *batch,
                    int l, const float *x)
{
    struct own *own = e->own;
    const struct train__layer *layer = &e->layers[l];
    train__affine(e, params, batch->P, MODEL_MIX_IN_WEIGHT, MODEL_MIX_IN_BIAS, l, x, layer->own);
    for (int s = 0; s < batch->n; s++) {
        size_t first = (size_t)batch->start[s];
        train__attention_forward(&own->attention, batch->start[s + 1] - batch->start[s],
                                 layer->own + first * (size_t)e->U, e->rate, sequence_seed(e, l, s),
                                 layer->h + first * (size_t)e->W);
    }
}

static void backward(struct train__encoder *e, const float *params,
                     const struct train__batch *batch, int l, const float *x, float *dh,
                     float *grad, float *grads)
{
    struct own *own = e->own;
    const struct train__layer *layer = &e->layers[l];
    for (int s = 0; s < batch->n; s++) {
        size_t first = (size_t)batch->start[s];
        train__attention_backward(&own->attention, batch->start[s + 1] - batch->start[s],
                                  layer->own + first * (size_t)e->U, dh + first * (size_t)e->W,
                                  e->rate, sequence_seed(e, l, s),
                                  own->dqkv + first * (size_t)e->U);
    }
    train__affine_backward(e, params, batch->P, MODEL_MIX_IN_WEIGHT, MODEL_MIX_IN_BIAS, l, x,
                           own->dqkv, 1.0f, grad, grads);
}

const struct train__mix train__mix_attention = {
    .make = make,
    .drop = drop,
    .layer_floats = layer_floats,
    .begin = begin,
    .embed = embed,
    .embed_backward = embed_backward,
    .forward = forward,
    .backward = backward,
};
