/* The encoders' frame over whole sequences, forward and backward.
 *
 * The formulas are those of model/model.h. Dropout (training only) stands where LRURec has it: on the embedding before its norm,
 * on what was mixed and multiplied by C, behind gelu, and on the output of the feed-forward layer. */
#include "train/encoder.h"

#include <assert.h>
#include <cblas.h>
#include <string.h>

#include "base/mem.h"
#include "train/mix.h"

static const struct train__mix *const mixes[ENCODER_KINDS] = {
    [ENCODER_LRU] = &train__mix_lru,
    [ENCODER_GRU] = &train__mix_gru,
    [ENCODER_ATTENTION] = &train__mix_attention,
};

static void *slice(float **at, size_t n)
{
    float *here = *at;
    *at += (n + 15) / 16 * 16;
    return here;
}

static size_t largest(size_t a, size_t b, size_t c)
{
    size_t two = a > b ? a : b;
    return two > c ? two : c;
}

static size_t layer_floats(const struct train__encoder *e)
{
    return e->mix->layer_floats ? (size_t)e->mix->layer_floats(&e->config) : 0;
}

/* Hands out the arrays for `rows` positions from *at on. */
static void lay_out(struct train__encoder *e, size_t rows, float **at)
{
    size_t D = (size_t)e->config.D, F = (size_t)e->config.F, U = (size_t)e->U, W = (size_t)e->W;
    e->norm0_hat = slice(at, rows * D);
    e->norm0_rstd = slice(at, rows);
    e->x0 = slice(at, rows * D);
    e->scratch_d = slice(at, rows * D);
    e->scratch_wide = slice(at, rows * largest(F, U, W));
    for (int l = 0; l < e->config.L; l++) {
        struct train__layer *layer = &e->layers[l];
        layer->h = slice(at, rows * W);
        layer->own = slice(at, rows * layer_floats(e));
        layer->norm1_hat = slice(at, rows * D);
        layer->norm1_rstd = slice(at, rows);
        layer->z = slice(at, rows * D);
        layer->wide = slice(at, rows * F);
        layer->active = slice(at, rows * F);
        layer->norm2_hat = slice(at, rows * D);
        layer->norm2_rstd = slice(at, rows);
        layer->out = slice(at, rows * D);
    }
}

static void reserve(struct train__encoder *e, int P)
{
    if (P <= e->rows) return;
    size_t D = (size_t)e->config.D, F = (size_t)e->config.F, U = (size_t)e->U, W = (size_t)e->W;
    size_t a_row = 3 * D + 1 + largest(F, U, W) +
                   (size_t)e->config.L * (W + layer_floats(e) + 4 * D + 2 + 2 * F);
    size_t arrays = 5 + 10 * (size_t)e->config.L;
    mem_free(e->memory);
    e->memory = mem_aligned(64, ((size_t)P * a_row + 16 * arrays) * sizeof(float));
    e->rows = P;
    float *at = e->memory;
    lay_out(e, (size_t)P, &at);
}

struct train__encoder *train__encoder_new(const struct model_config *config)
{
    struct train__encoder *e = mem_zalloc(sizeof *e);
    e->config = *config;
    e->U = model_param_cols(config, MODEL_MIX_IN_WEIGHT);
    e->W = model_param_rows(config, MODEL_MIX_OUT_WEIGHT);
    e->mix = mixes[config->encoder];
    e->kernels = train__kernels_best();
    for (int l = 0; l < config->L; l++) {
        for (int t = 0; t < MODEL_TENSOR_COUNT; t++)
            e->offset[l][t] = model_param_offset(config, (enum model_tensor)t, l);
    }
    if (e->mix->make) e->own = e->mix->make(config);
    return e;
}

void train__encoder_free(struct train__encoder *encoder)
{
    if (!encoder) return;
    if (encoder->mix->drop) encoder->mix->drop(encoder->own);
    mem_free(encoder->memory);
    mem_free(encoder);
}

void train__matmul(int m, int n, int k, const float *a, int lda, bool a_flip, const float *b,
                   int ldb, bool b_flip, float beta, float *out, int ldo)
{
    cblas_sgemm(CblasRowMajor, a_flip ? CblasTrans : CblasNoTrans,
                b_flip ? CblasTrans : CblasNoTrans, m, n, k, 1.0f, a, lda, b, ldb, beta, out, ldo);
}

uint32_t train__place_seed(const struct train__encoder *e, enum train__place place, int block)
{
    return e->seed + (uint32_t)(block * PLACE_COUNT + (int)place) * 0x632BE5ABu;
}

const float *train__tensor(const struct train__encoder *e, const float *params,
                           enum model_tensor which, int block)
{
    return params + e->offset[block][which];
}

float *train__tensor_grad(const struct train__encoder *e, float *grads, enum model_tensor which,
                          int block)
{
    return grads + e->offset[block][which];
}

void train__column_sums(int P, int n, const float *x, float *sum)
{
    for (int p = 0; p < P; p++) {
        const float *x_p = x + (size_t)p * (size_t)n;
        for (int j = 0; j < n; j++)
            sum[j] += x_p[j];
    }
}

void train__add(size_t n, const float *x, float *to)
{
    for (size_t i = 0; i < n; i++)
        to[i] += x[i];
}

void train__affine(const struct train__encoder *e, const float *params, int P,
                   enum model_tensor weight, enum model_tensor bias, int l, const float *x,
                   float *out)
{
    int n = model_param_rows(&e->config, weight), m = model_param_cols(&e->config, weight);
    const float *start = train__tensor(e, params, bias, l);
    for (int p = 0; p < P; p++)
        memcpy(out + (size_t)p * (size_t)m, start, (size_t)m * sizeof(float));
    train__matmul(P, m, n, x, n, false, train__tensor(e, params, weight, l), m, false, 1.0f, out,
                  m);
}

void train__affine_backward(const struct train__encoder *e, const float *params, int P,
                            enum model_tensor weight, enum model_tensor bias, int l, const float *x,
                            const float *dout, float beta, float *dx, float *grads)
{
    int n = model_param_rows(&e->config, weight), m = model_param_cols(&e->config, weight);
    train__column_sums(P, m, dout, train__tensor_grad(e, grads, bias, l));
    train__matmul(n, m, P, x, n, true, dout, m, false, 1.0f,
                  train__tensor_grad(e, grads, weight, l), m);
    train__matmul(P, n, m, dout, m, false, train__tensor(e, params, weight, l), m, true, beta, dx,
                  n);
}

/* ---- forward ---- */

static void embed(struct train__encoder *e, const float *params, const struct train__batch *batch)
{
    int D = e->config.D;
    size_t row = (size_t)D;
    const float *items = train__tensor(e, params, MODEL_ITEM_EMBEDDING, 0);
    const float *types =
        e->config.n_types ? train__tensor(e, params, MODEL_TYPE_EMBEDDING, 0) : NULL;
    const float *gaps = e->config.n_gaps ? train__tensor(e, params, MODEL_GAP_EMBEDDING, 0) : NULL;
    for (int p = 0; p < batch->P; p++) {
        float *x = e->scratch_d + (size_t)p * row;
        memcpy(x, items + (size_t)batch->item[p] * row, row * sizeof(float));
        if (types) train__add(row, types + (size_t)batch->type[p] * row, x);
        if (gaps) train__add(row, gaps + (size_t)batch->gap[p] * row, x);
    }
    if (e->mix->embed) e->mix->embed(e, params, batch, e->scratch_d);
    const struct train__kernels *k = e->kernels;
    k->dropout((size_t)batch->P * row, e->scratch_d, e->rate,
               train__place_seed(e, PLACE_EMBEDDING, 0));
    k->norm(batch->P, D, e->scratch_d, train__tensor(e, params, MODEL_INPUT_NORM_WEIGHT, 0),
            train__tensor(e, params, MODEL_INPUT_NORM_BIAS, 0), e->norm0_hat, e->norm0_rstd, e->x0);
}

static void block_forward(struct train__encoder *e, const float *params,
                          const struct train__batch *batch, int l, const float *x)
{
    const struct train__kernels *k = e->kernels;
    struct train__layer *layer = &e->layers[l];
    int P = batch->P, D = e->config.D;
    size_t PD = (size_t)P * (size_t)D, PF = (size_t)P * (size_t)e->config.F;

    e->mix->forward(e, params, batch, l, x);
    float *y = e->scratch_d;
    train__affine(e, params, P, MODEL_MIX_OUT_WEIGHT, MODEL_MIX_OUT_BIAS, l, layer->h, y);
    k->dropout(PD, y, e->rate, train__place_seed(e, PLACE_MIXED, l));
    train__add(PD, x, y);
    k->norm(P, D, y, train__tensor(e, params, MODEL_MIX_NORM_WEIGHT, l),
            train__tensor(e, params, MODEL_MIX_NORM_BIAS, l), layer->norm1_hat, layer->norm1_rstd,
            layer->z);

    train__affine(e, params, P, MODEL_FFN_IN_WEIGHT, MODEL_FFN_IN_BIAS, l, layer->z, layer->wide);
    k->gelu(PF, layer->wide, layer->active);
    k->dropout(PF, layer->active, e->rate, train__place_seed(e, PLACE_ACTIVE, l));
    train__affine(e, params, P, MODEL_FFN_OUT_WEIGHT, MODEL_FFN_OUT_BIAS, l, layer->active, y);
    k->dropout(PD, y, e->rate, train__place_seed(e, PLACE_FEED_FORWARD, l));
    train__add(PD, layer->z, y);
    k->norm(P, D, y, train__tensor(e, params, MODEL_FFN_NORM_WEIGHT, l),
            train__tensor(e, params, MODEL_FFN_NORM_BIAS, l), layer->norm2_hat, layer->norm2_rstd,
            layer->out);
}

const float *train__encoder_forward(struct train__encoder *encoder, const float *params,
                                    const struct train__batch *batch, float rate, uint32_t seed)
{
    struct train__encoder *e = encoder;
    assert(batch->P > 0);
    reserve(e, batch->P);
    e->rate = rate;
    e->seed = seed;
    if (e->mix->begin) e->mix->begin(e, params, batch);
    embed(e, params, batch);
    const float *x = e->x0;
    for (int l = 0; l < e->config.L; l++) {
        block_forward(e, params, batch, l, x);
        x = e->layers[l].out;
    }
    return x;
}

/* ---- backward ---- */

/* The feed-forward half: grad (P,D) from that of the block's output to that of z. */
static void feed_forward_backward(struct train__encoder *e, const float *params, int P, int l,
                                  float *grad, float *grads)
{
    const struct train__kernels *k = e->kernels;
    const struct train__layer *layer = &e->layers[l];
    int D = e->config.D;
    size_t PD = (size_t)P * (size_t)D, PF = (size_t)P * (size_t)e->config.F;
    float *branch = e->scratch_d, *wide = e->scratch_wide;

    k->norm_backward(P, D, layer->norm2_hat, layer->norm2_rstd,
                     train__tensor(e, params, MODEL_FFN_NORM_WEIGHT, l), grad,
                     train__tensor_grad(e, grads, MODEL_FFN_NORM_WEIGHT, l),
                     train__tensor_grad(e, grads, MODEL_FFN_NORM_BIAS, l));
    memcpy(branch, grad, PD * sizeof(float));
    k->dropout(PD, branch, e->rate, train__place_seed(e, PLACE_FEED_FORWARD, l));
    train__affine_backward(e, params, P, MODEL_FFN_OUT_WEIGHT, MODEL_FFN_OUT_BIAS, l, layer->active,
                           branch, 0.0f, wide, grads);
    k->dropout(PF, wide, e->rate, train__place_seed(e, PLACE_ACTIVE, l));
    k->gelu_backward(PF, layer->wide, wide);
    train__affine_backward(e, params, P, MODEL_FFN_IN_WEIGHT, MODEL_FFN_IN_BIAS, l, layer->z, wide,
                           1.0f, grad, grads);
}

/* The half that mixes: grad (P,D) from that of z to that of the block's input x. */
static void mixed_backward(struct train__encoder *e, const float *params,
                           const struct train__batch *batch, int l, const float *x, float *grad,
                           float *grads)
{
    const struct train__kernels *k = e->kernels;
    const struct train__layer *layer = &e->layers[l];
    int P = batch->P, D = e->config.D;
    size_t PD = (size_t)P * (size_t)D;
    float *branch = e->scratch_d, *dh = e->scratch_wide;

    k->norm_backward(P, D, layer->norm1_hat, layer->norm1_rstd,
                     train__tensor(e, params, MODEL_MIX_NORM_WEIGHT, l), grad,
                     train__tensor_grad(e, grads, MODEL_MIX_NORM_WEIGHT, l),
                     train__tensor_grad(e, grads, MODEL_MIX_NORM_BIAS, l));
    memcpy(branch, grad, PD * sizeof(float));
    k->dropout(PD, branch, e->rate, train__place_seed(e, PLACE_MIXED, l));
    train__affine_backward(e, params, P, MODEL_MIX_OUT_WEIGHT, MODEL_MIX_OUT_BIAS, l, layer->h,
                           branch, 0.0f, dh, grads);
    e->mix->backward(e, params, batch, l, x, dh, grad, grads);
}

static void embed_backward(struct train__encoder *e, const float *params,
                           const struct train__batch *batch, float *grad, float *grads)
{
    size_t row = (size_t)e->config.D;
    e->kernels->norm_backward(batch->P, e->config.D, e->norm0_hat, e->norm0_rstd,
                              train__tensor(e, params, MODEL_INPUT_NORM_WEIGHT, 0), grad,
                              train__tensor_grad(e, grads, MODEL_INPUT_NORM_WEIGHT, 0),
                              train__tensor_grad(e, grads, MODEL_INPUT_NORM_BIAS, 0));
    e->kernels->dropout((size_t)batch->P * row, grad, e->rate,
                        train__place_seed(e, PLACE_EMBEDDING, 0));
    if (e->mix->embed_backward) e->mix->embed_backward(e, batch, grad, grads);
    float *items = train__tensor_grad(e, grads, MODEL_ITEM_EMBEDDING, 0);
    float *types = e->config.n_types ? train__tensor_grad(e, grads, MODEL_TYPE_EMBEDDING, 0) : NULL;
    float *gaps = e->config.n_gaps ? train__tensor_grad(e, grads, MODEL_GAP_EMBEDDING, 0) : NULL;
    for (int p = 0; p < batch->P; p++) {
        const float *grad_p = grad + (size_t)p * row;
        train__add(row, grad_p, items + (size_t)batch->item[p] * row);
        if (types) train__add(row, grad_p, types + (size_t)batch->type[p] * row);
        if (gaps) train__add(row, grad_p, gaps + (size_t)batch->gap[p] * row);
    }
}

void train__encoder_backward(struct train__encoder *encoder, const float *params,
                             const struct train__batch *batch, float *grad, float *grads)
{
    struct train__encoder *e = encoder;
    for (int l = e->config.L - 1; l >= 0; l--) {
        const float *x = l > 0 ? e->layers[l - 1].out : e->x0;
        feed_forward_backward(e, params, batch->P, l, grad, grads);
        mixed_backward(e, params, batch, l, x, grad, grads);
    }
    embed_backward(e, params, batch, grad, grads);
}
