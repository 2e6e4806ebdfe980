/* The lru encoder over whole sequences, forward and backward.
 *
 * The formulas are those of model/model.h. Dropout (training only) stands where LRURec has it: on the embedding before its norm,
 * on the output of the recurrence, behind gelu, and on the output of the feed-forward layer. */
#include "train/encoder.h"

#include <assert.h>
#include <cblas.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "train/kernels.h"

/* Which dropout of a pass; with the block it makes the seed. */
enum place { PLACE_EMBEDDING, PLACE_RECURRENCE, PLACE_ACTIVE, PLACE_FEED_FORWARD, PLACE_COUNT };

struct train__encoder {
    struct model_config config;
    const struct train__kernels *kernels;
    size_t offset[MODEL_MAX_BLOCKS][MODEL_TENSOR_COUNT]; /* SIZE_MAX: the model has none */
    int rows;                                            /* room, in positions */
    float *memory;                                       /* all arrays below */
    float *norm0_hat, *norm0_rstd, *x0;                  /* (P,D), (P), (P,D) */
    struct train__layer layers[MODEL_MAX_BLOCKS];
    float *scratch_d;    /* (P,D) */
    float *scratch_wide; /* (P, max(F,2H)) */
    float *lambda;       /* (L,3H) real, imaginary, gamma */
    float *dlambda;      /* (3H) */
    float rate;          /* of the forward pass under way */
    uint32_t seed;
};

static void *slice(float **at, size_t n)
{
    float *here = *at;
    *at += (n + 15) / 16 * 16;
    return here;
}

/* Hands out the arrays for `rows` positions from *at on; called once with a NULL start to measure. */
static void lay_out(struct train__encoder *e, size_t rows, float **at)
{
    size_t D = (size_t)e->config.D, H2 = 2 * (size_t)e->config.H, F = (size_t)e->config.F;
    e->norm0_hat = slice(at, rows * D);
    e->norm0_rstd = slice(at, rows);
    e->x0 = slice(at, rows * D);
    e->scratch_d = slice(at, rows * D);
    e->scratch_wide = slice(at, rows * (F > H2 ? F : H2));
    for (int l = 0; l < e->config.L; l++) {
        struct train__layer *layer = &e->layers[l];
        layer->h = slice(at, rows * H2);
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
    size_t D = (size_t)e->config.D, H2 = 2 * (size_t)e->config.H, F = (size_t)e->config.F;
    size_t a_row = 3 * D + 1 + (F > H2 ? F : H2) + (size_t)e->config.L * (H2 + 4 * D + 2 + 2 * F);
    size_t arrays = 5 + 9 * (size_t)e->config.L;
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
    e->kernels = train__kernels_best();
    for (int l = 0; l < config->L; l++) {
        for (int t = 0; t < MODEL_TENSOR_COUNT; t++)
            e->offset[l][t] = model_param_offset(config, (enum model_tensor)t, l);
    }
    e->lambda = mem_aligned(64, (size_t)config->L * 3 * (size_t)config->H * sizeof(float));
    e->dlambda = mem_aligned(64, 3 * (size_t)config->H * sizeof(float));
    return e;
}

void train__encoder_free(struct train__encoder *encoder)
{
    if (!encoder) return;
    mem_free(encoder->memory);
    mem_free(encoder->lambda);
    mem_free(encoder->dlambda);
    mem_free(encoder);
}

void train__matmul(int m, int n, int k, const float *a, int lda, bool a_flip, const float *b,
                   int ldb, bool b_flip, float beta, float *out, int ldo)
{
    cblas_sgemm(CblasRowMajor, a_flip ? CblasTrans : CblasNoTrans,
                b_flip ? CblasTrans : CblasNoTrans, m, n, k, 1.0f, a, lda, b, ldb, beta, out, ldo);
}

static uint32_t place_seed(const struct train__encoder *e, enum place place, int block)
{
    return e->seed + (uint32_t)(block * PLACE_COUNT + (int)place) * 0x632BE5ABu;
}

static const float *tensor(const struct train__encoder *e, const float *params,
                           enum model_tensor which, int block)
{
    return params + e->offset[block][which];
}

static float *tensor_grad(const struct train__encoder *e, float *grads, enum model_tensor which,
                          int block)
{
    return grads + e->offset[block][which];
}

/* out[p,:] = bias for every position: the start of a product with beta 1. bias (n), out (P,n). */
static void spread(int P, int n, const float *bias, float *out)
{
    for (int p = 0; p < P; p++)
        memcpy(out + (size_t)p * (size_t)n, bias, (size_t)n * sizeof(float));
}

/* sum[j] += sum over p of x[p,j]. */
static void column_sums(int P, int n, const float *x, float *sum)
{
    for (int p = 0; p < P; p++) {
        const float *x_p = x + (size_t)p * (size_t)n;
        for (int j = 0; j < n; j++)
            sum[j] += x_p[j];
    }
}

static void add(size_t n, const float *x, float *to)
{
    for (size_t i = 0; i < n; i++)
        to[i] += x[i];
}

/* ---- forward ---- */

/* lambda, gamma of every block from their logarithms. */
static void prepare_lambda(struct train__encoder *e, const float *params)
{
    int H = e->config.H;
    for (int l = 0; l < e->config.L; l++) {
        const float *nu = tensor(e, params, MODEL_LRU_NU_LOG, l);
        const float *theta = tensor(e, params, MODEL_LRU_THETA_LOG, l);
        const float *gamma = tensor(e, params, MODEL_LRU_GAMMA_LOG, l);
        float *out = e->lambda + (size_t)l * 3 * (size_t)H;
        for (int j = 0; j < H; j++) {
            double radius = exp(-exp((double)nu[j]));
            double angle = exp((double)theta[j]);
            out[j] = (float)(radius * cos(angle));
            out[H + j] = (float)(radius * sin(angle));
            out[2 * H + j] = (float)exp((double)gamma[j]);
        }
    }
}

static void embed(struct train__encoder *e, const float *params, const struct train__batch *batch)
{
    int D = e->config.D;
    size_t row = (size_t)D;
    const float *items = tensor(e, params, MODEL_ITEM_EMBEDDING, 0);
    const float *types = e->config.n_types ? tensor(e, params, MODEL_TYPE_EMBEDDING, 0) : NULL;
    const float *gaps = e->config.n_gaps ? tensor(e, params, MODEL_GAP_EMBEDDING, 0) : NULL;
    for (int p = 0; p < batch->P; p++) {
        float *x = e->scratch_d + (size_t)p * row;
        memcpy(x, items + (size_t)batch->item[p] * row, row * sizeof(float));
        if (types) add(row, types + (size_t)batch->type[p] * row, x);
        if (gaps) add(row, gaps + (size_t)batch->gap[p] * row, x);
    }
    const struct train__kernels *k = e->kernels;
    k->dropout((size_t)batch->P * row, e->scratch_d, e->rate, place_seed(e, PLACE_EMBEDDING, 0));
    k->norm(batch->P, D, e->scratch_d, tensor(e, params, MODEL_INPUT_NORM_WEIGHT, 0),
            tensor(e, params, MODEL_INPUT_NORM_BIAS, 0), e->norm0_hat, e->norm0_rstd, e->x0);
}

static void block_forward(struct train__encoder *e, const float *params,
                          const struct train__batch *batch, int l, const float *x)
{
    const struct train__kernels *k = e->kernels;
    struct train__layer *layer = &e->layers[l];
    int P = batch->P, D = e->config.D, H = e->config.H, F = e->config.F;
    size_t PD = (size_t)P * (size_t)D, PF = (size_t)P * (size_t)F;

    spread(P, 2 * H, tensor(e, params, MODEL_LRU_IN_BIAS, l), layer->h);
    train__matmul(P, 2 * H, D, x, D, false, tensor(e, params, MODEL_LRU_IN_WEIGHT, l), 2 * H, false,
                  1.0f, layer->h, 2 * H);
    for (int s = 0; s < batch->n; s++) {
        float *u = layer->h + (size_t)batch->start[s] * 2 * (size_t)H;
        k->recur(batch->start[s + 1] - batch->start[s], H, e->lambda + (size_t)l * 3 * (size_t)H,
                 u);
    }
    float *y = e->scratch_d;
    spread(P, D, tensor(e, params, MODEL_LRU_OUT_BIAS, l), y);
    train__matmul(P, D, 2 * H, layer->h, 2 * H, false, tensor(e, params, MODEL_LRU_OUT_WEIGHT, l),
                  D, false, 1.0f, y, D);
    k->dropout(PD, y, e->rate, place_seed(e, PLACE_RECURRENCE, l));
    add(PD, x, y);
    k->norm(P, D, y, tensor(e, params, MODEL_LRU_NORM_WEIGHT, l),
            tensor(e, params, MODEL_LRU_NORM_BIAS, l), layer->norm1_hat, layer->norm1_rstd,
            layer->z);

    spread(P, F, tensor(e, params, MODEL_FFN_IN_BIAS, l), layer->wide);
    train__matmul(P, F, D, layer->z, D, false, tensor(e, params, MODEL_FFN_IN_WEIGHT, l), F, false,
                  1.0f, layer->wide, F);
    k->gelu(PF, layer->wide, layer->active);
    k->dropout(PF, layer->active, e->rate, place_seed(e, PLACE_ACTIVE, l));
    spread(P, D, tensor(e, params, MODEL_FFN_OUT_BIAS, l), y);
    train__matmul(P, D, F, layer->active, F, false, tensor(e, params, MODEL_FFN_OUT_WEIGHT, l), D,
                  false, 1.0f, y, D);
    k->dropout(PD, y, e->rate, place_seed(e, PLACE_FEED_FORWARD, l));
    add(PD, layer->z, y);
    k->norm(P, D, y, tensor(e, params, MODEL_FFN_NORM_WEIGHT, l),
            tensor(e, params, MODEL_FFN_NORM_BIAS, l), layer->norm2_hat, layer->norm2_rstd,
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
    prepare_lambda(e, params);
    embed(e, params, batch);
    const float *x = e->x0;
    for (int l = 0; l < e->config.L; l++) {
        block_forward(e, params, batch, l, x);
        x = e->layers[l].out;
    }
    return x;
}

/* ---- backward ---- */

/* From dlambda (by the real and imaginary part of lambda, and by log gamma) to the logarithms that are learnt:
 * d/dnu_log = -exp(nu_log) Re(dlambda conj(lambda)), d/dtheta_log = exp(theta_log) (q re - p im) with dlambda = p + iq. */
static void lambda_backward(struct train__encoder *e, const float *params, int l, float *grads)
{
    int H = e->config.H;
    const float *lambda = e->lambda + (size_t)l * 3 * (size_t)H;
    const float *nu = tensor(e, params, MODEL_LRU_NU_LOG, l);
    const float *theta = tensor(e, params, MODEL_LRU_THETA_LOG, l);
    float *dnu = tensor_grad(e, grads, MODEL_LRU_NU_LOG, l);
    float *dtheta = tensor_grad(e, grads, MODEL_LRU_THETA_LOG, l);
    float *dgamma = tensor_grad(e, grads, MODEL_LRU_GAMMA_LOG, l);
    for (int j = 0; j < H; j++) {
        float re = lambda[j], im = lambda[H + j];
        float p = e->dlambda[j], q = e->dlambda[H + j];
        dnu[j] -= expf(nu[j]) * (p * re + q * im);
        dtheta[j] += expf(theta[j]) * (q * re - p * im);
        dgamma[j] += e->dlambda[2 * H + j];
    }
}

/* The feed-forward half: grad (P,D) from that of the block's output to that of z. */
static void feed_forward_backward(struct train__encoder *e, const float *params, int P, int l,
                                  float *grad, float *grads)
{
    const struct train__kernels *k = e->kernels;
    const struct train__layer *layer = &e->layers[l];
    int D = e->config.D, F = e->config.F;
    size_t PD = (size_t)P * (size_t)D, PF = (size_t)P * (size_t)F;
    float *branch = e->scratch_d, *wide = e->scratch_wide;

    k->norm_backward(P, D, layer->norm2_hat, layer->norm2_rstd,
                     tensor(e, params, MODEL_FFN_NORM_WEIGHT, l), grad,
                     tensor_grad(e, grads, MODEL_FFN_NORM_WEIGHT, l),
                     tensor_grad(e, grads, MODEL_FFN_NORM_BIAS, l));
    memcpy(branch, grad, PD * sizeof(float));
    k->dropout(PD, branch, e->rate, place_seed(e, PLACE_FEED_FORWARD, l));
    column_sums(P, D, branch, tensor_grad(e, grads, MODEL_FFN_OUT_BIAS, l));
    train__matmul(F, D, P, layer->active, F, true, branch, D, false, 1.0f,
                  tensor_grad(e, grads, MODEL_FFN_OUT_WEIGHT, l), D);
    train__matmul(P, F, D, branch, D, false, tensor(e, params, MODEL_FFN_OUT_WEIGHT, l), D, true,
                  0.0f, wide, F);
    k->dropout(PF, wide, e->rate, place_seed(e, PLACE_ACTIVE, l));
    k->gelu_backward(PF, layer->wide, wide);
    column_sums(P, F, wide, tensor_grad(e, grads, MODEL_FFN_IN_BIAS, l));
    train__matmul(D, F, P, layer->z, D, true, wide, F, false, 1.0f,
                  tensor_grad(e, grads, MODEL_FFN_IN_WEIGHT, l), F);
    train__matmul(P, D, F, wide, F, false, tensor(e, params, MODEL_FFN_IN_WEIGHT, l), F, true, 1.0f,
                  grad, D);
}

/* The recurrent half: grad (P,D) from that of z to that of the block's input x. */
static void recurrence_backward(struct train__encoder *e, const float *params,
                                const struct train__batch *batch, int l, const float *x,
                                float *grad, float *grads)
{
    const struct train__kernels *k = e->kernels;
    const struct train__layer *layer = &e->layers[l];
    int P = batch->P, D = e->config.D, H = e->config.H, W = 2 * H;
    size_t PD = (size_t)P * (size_t)D;
    float *branch = e->scratch_d, *wide = e->scratch_wide;

    k->norm_backward(P, D, layer->norm1_hat, layer->norm1_rstd,
                     tensor(e, params, MODEL_LRU_NORM_WEIGHT, l), grad,
                     tensor_grad(e, grads, MODEL_LRU_NORM_WEIGHT, l),
                     tensor_grad(e, grads, MODEL_LRU_NORM_BIAS, l));
    memcpy(branch, grad, PD * sizeof(float));
    k->dropout(PD, branch, e->rate, place_seed(e, PLACE_RECURRENCE, l));
    column_sums(P, D, branch, tensor_grad(e, grads, MODEL_LRU_OUT_BIAS, l));
    train__matmul(W, D, P, layer->h, W, true, branch, D, false, 1.0f,
                  tensor_grad(e, grads, MODEL_LRU_OUT_WEIGHT, l), D);
    train__matmul(P, W, D, branch, D, false, tensor(e, params, MODEL_LRU_OUT_WEIGHT, l), D, true,
                  0.0f, wide, W);
    memset(e->dlambda, 0, 3 * (size_t)H * sizeof(float));
    for (int s = 0; s < batch->n; s++) {
        size_t at = (size_t)batch->start[s] * (size_t)W;
        k->recur_backward(batch->start[s + 1] - batch->start[s], H,
                          e->lambda + (size_t)l * 3 * (size_t)H, layer->h + at, wide + at,
                          e->dlambda);
    }
    lambda_backward(e, params, l, grads);
    column_sums(P, W, wide, tensor_grad(e, grads, MODEL_LRU_IN_BIAS, l));
    train__matmul(D, W, P, x, D, true, wide, W, false, 1.0f,
                  tensor_grad(e, grads, MODEL_LRU_IN_WEIGHT, l), W);
    train__matmul(P, D, W, wide, W, false, tensor(e, params, MODEL_LRU_IN_WEIGHT, l), W, true, 1.0f,
                  grad, D);
}

static void embed_backward(struct train__encoder *e, const float *params,
                           const struct train__batch *batch, float *grad, float *grads)
{
    size_t row = (size_t)e->config.D;
    e->kernels->norm_backward(batch->P, e->config.D, e->norm0_hat, e->norm0_rstd,
                              tensor(e, params, MODEL_INPUT_NORM_WEIGHT, 0), grad,
                              tensor_grad(e, grads, MODEL_INPUT_NORM_WEIGHT, 0),
                              tensor_grad(e, grads, MODEL_INPUT_NORM_BIAS, 0));
    e->kernels->dropout((size_t)batch->P * row, grad, e->rate, place_seed(e, PLACE_EMBEDDING, 0));
    float *items = tensor_grad(e, grads, MODEL_ITEM_EMBEDDING, 0);
    float *types = e->config.n_types ? tensor_grad(e, grads, MODEL_TYPE_EMBEDDING, 0) : NULL;
    float *gaps = e->config.n_gaps ? tensor_grad(e, grads, MODEL_GAP_EMBEDDING, 0) : NULL;
    for (int p = 0; p < batch->P; p++) {
        const float *grad_p = grad + (size_t)p * row;
        add(row, grad_p, items + (size_t)batch->item[p] * row);
        if (types) add(row, grad_p, types + (size_t)batch->type[p] * row);
        if (gaps) add(row, grad_p, gaps + (size_t)batch->gap[p] * row);
    }
}

void train__encoder_backward(struct train__encoder *encoder, const float *params,
                             const struct train__batch *batch, float *grad, float *grads)
{
    struct train__encoder *e = encoder;
    for (int l = e->config.L - 1; l >= 0; l--) {
        const float *x = l > 0 ? e->layers[l - 1].out : e->x0;
        feed_forward_backward(e, params, batch->P, l, grad, grads);
        recurrence_backward(e, params, batch, l, x, grad, grads);
    }
    embed_backward(e, params, batch, grad, grads);
}
