/* The gru encoder's part of a block over whole sequences.
 *
 * Time is the outer loop: one wave holds position t of every sequence that is so long. With the sequences in order of
 * falling length a wave is always the first rows of `state`, so the recurrent product is one matrix product a wave and
 * nothing is padded. All other products take the whole batch at once.
 *
 * layer->own (P,4H): r, z, n and s_n = h R_n + b_n of each position; the backward pass puts the gradients of u (3H) and of
 * s_n (H) in their place (those of s_r and s_z are those of u_r and u_z). */
#include "train/mix.h"

#include <string.h>

#include "base/mem.h"

struct gru {
    int rows;       /* room, in sequences */
    int *order;     /* (rows) sequences by falling length */
    float *state;   /* (rows,H) forward h, backward its gradient; by place in order */
    float *product; /* (rows,3H) forward s, backward its gradient */
    float *zeros;   /* (H) */
    float *sums;    /* (4H) */
};

static void *make(const struct model_config *config)
{
    struct gru *gru = mem_zalloc(sizeof *gru);
    gru->zeros = mem_aligned(64, (size_t)config->H * sizeof(float));
    gru->sums = mem_aligned(64, 4 * (size_t)config->H * sizeof(float));
    memset(gru->zeros, 0, (size_t)config->H * sizeof(float));
    return gru;
}

static void release(struct gru *gru)
{
    mem_free(gru->order);
    mem_free(gru->state);
    mem_free(gru->product);
}

static void drop(void *own)
{
    struct gru *gru = own;
    release(gru);
    mem_free(gru->zeros);
    mem_free(gru->sums);
    mem_free(gru);
}

static int length_of(const struct train__batch *batch, int sequence)
{
    return batch->start[sequence + 1] - batch->start[sequence];
}

/* Room for the batch, and its sequences by falling length; those of one length keep their order. */
static void begin(struct train__encoder *e, const float *params, const struct train__batch *batch)
{
    (void)params;
    struct gru *gru = e->own;
    size_t n = (size_t)batch->n, H = (size_t)e->config.H;
    if (batch->n > gru->rows) {
        release(gru);
        gru->rows = batch->n;
        gru->order = mem_alloc(n * sizeof(int));
        gru->state = mem_aligned(64, n * H * sizeof(float));
        gru->product = mem_aligned(64, n * 3 * H * sizeof(float));
    }
    int longest = 0, place = 0;
    for (int s = 0; s < batch->n; s++)
        longest = length_of(batch, s) > longest ? length_of(batch, s) : longest;
    int *count = mem_zalloc(((size_t)longest + 1) * sizeof(int));
    for (int s = 0; s < batch->n; s++)
        count[length_of(batch, s)]++;
    for (int length = longest; length >= 0; length--) {
        int here = count[length];
        count[length] = place;
        place += here;
    }
    for (int s = 0; s < batch->n; s++)
        gru->order[count[length_of(batch, s)]++] = s;
    mem_free(count);
}

/* How many sequences have a position t. before: the answer for a smaller t, or all. */
static int wave_size(const struct gru *gru, const struct train__batch *batch, int t, int before)
{
    while (before > 0 && length_of(batch, gru->order[before - 1]) <= t)
        before--;
    return before;
}

static void forward(struct train__encoder *e, const float *params, const struct train__batch *batch,
                    int l, const float *x)
{
    struct gru *gru = e->own;
    const struct train__layer *layer = &e->layers[l];
    size_t H = (size_t)e->config.H;
    float *u = e->scratch_wide;
    train__affine(e, params, batch->P, MODEL_MIX_IN_WEIGHT, MODEL_MIX_IN_BIAS, l, x, u);
    memset(gru->state, 0, (size_t)batch->n * H * sizeof(float));
    int n = batch->n;
    for (int t = 0; (n = wave_size(gru, batch, t, n)) > 0; t++) {
        train__affine(e, params, n, MODEL_GRU_STATE_WEIGHT, MODEL_GRU_STATE_BIAS, l, gru->state,
                      gru->product);
        for (int k = 0; k < n; k++) {
            size_t p = (size_t)(batch->start[gru->order[k]] + t);
            e->kernels->gate((int)H, u + p * 3 * H, gru->product + (size_t)k * 3 * H,
                             gru->state + (size_t)k * H, layer->own + p * 4 * H);
            memcpy(layer->h + p * H, gru->state + (size_t)k * H, H * sizeof(float));
        }
    }
}

/* layer->own from what forward kept to gradients, position by position from the last back. dh (P,H). */
static void gates_backward(struct train__encoder *e, const float *params,
                           const struct train__batch *batch, int l, const float *dh)
{
    struct gru *gru = e->own;
    const struct train__layer *layer = &e->layers[l];
    int H = e->config.H;
    size_t row = (size_t)H;
    const float *weight = train__tensor(e, params, MODEL_GRU_STATE_WEIGHT, l);
    memset(gru->state, 0, (size_t)batch->n * row * sizeof(float));
    for (int t = length_of(batch, gru->order[0]) - 1; t >= 0; t--) {
        int n = wave_size(gru, batch, t, batch->n);
        for (int k = 0; k < n; k++) {
            size_t p = (size_t)(batch->start[gru->order[k]] + t);
            train__add(row, dh + p * row, gru->state + (size_t)k * row);
            e->kernels->gate_backward(H, t > 0 ? layer->h + (p - 1) * row : gru->zeros,
                                      layer->own + p * 4 * row, gru->state + (size_t)k * row,
                                      gru->product + (size_t)k * 3 * row);
        }
        if (t > 0)
            train__matmul(n, H, 3 * H, gru->product, 3 * H, false, weight, 3 * H, true, 1.0f,
                          gru->state, H);
    }
}

/* Those of R and b from layer->own. The first position of a sequence has no h before it: its row leaves the product, as it is
 * not needed any more. */
static void state_grads(struct train__encoder *e, const struct train__batch *batch, int l,
                        float *grads)
{
    const struct gru *gru = e->own;
    const struct train__layer *layer = &e->layers[l];
    int H = e->config.H, P = batch->P;
    size_t row = 4 * (size_t)H;
    float *weight = train__tensor_grad(e, grads, MODEL_GRU_STATE_WEIGHT, l);
    float *bias = train__tensor_grad(e, grads, MODEL_GRU_STATE_BIAS, l);
    train__add(2 * (size_t)H, gru->sums, bias);
    train__add((size_t)H, gru->sums + 3 * H, bias + 2 * H);
    for (int s = 0; s < batch->n; s++)
        memset(layer->own + (size_t)batch->start[s] * row, 0, row * sizeof(float));
    train__matmul(H, 2 * H, P - 1, layer->h, H, true, layer->own + row, 4 * H, false, 1.0f, weight,
                  3 * H);
    train__matmul(H, H, P - 1, layer->h, H, true, layer->own + row + 3 * (size_t)H, 4 * H, false,
                  1.0f, weight + 2 * H, 3 * H);
}

static void backward(struct train__encoder *e, const float *params,
                     const struct train__batch *batch, int l, const float *x, float *dh,
                     float *grad, float *grads)
{
    struct gru *gru = e->own;
    int D = e->config.D, H = e->config.H, P = batch->P;
    const float *du = e->layers[l].own; /* (P,3H), 4H from row to row */
    gates_backward(e, params, batch, l, dh);
    memset(gru->sums, 0, 4 * (size_t)H * sizeof(float));
    train__column_sums(P, 4 * H, du, gru->sums);
    train__add(3 * (size_t)H, gru->sums, train__tensor_grad(e, grads, MODEL_MIX_IN_BIAS, l));
    train__matmul(D, 3 * H, P, x, D, true, du, 4 * H, false, 1.0f,
                  train__tensor_grad(e, grads, MODEL_MIX_IN_WEIGHT, l), 3 * H);
    train__matmul(P, D, 3 * H, du, 4 * H, false, train__tensor(e, params, MODEL_MIX_IN_WEIGHT, l),
                  3 * H, true, 1.0f, grad, D);
    state_grads(e, batch, l, grads);
}

static int layer_floats(const struct model_config *config)
{
    return 4 * config->H;
}

const struct train__mix train__mix_gru = {
    .make = make,
    .drop = drop,
    .layer_floats = layer_floats,
    .begin = begin,
    .forward = forward,
    .backward = backward,
};
