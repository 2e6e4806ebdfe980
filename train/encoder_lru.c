/* The lru encoder's part of a block over whole sequences: u in place of h, then the recurrence along each sequence. */
#include "train/mix.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

struct lru {
    float *lambda;  /* (L,3H) real, imaginary, gamma */
    float *dlambda; /* (3H) */
};

static void *make(const struct model_config *config)
{
    struct lru *lru = mem_alloc(sizeof *lru);
    size_t floats = 3 * (size_t)config->H;
    lru->lambda = mem_aligned(64, (size_t)config->L * floats * sizeof(float));
    lru->dlambda = mem_aligned(64, floats * sizeof(float));
    return lru;
}

static void drop(void *own)
{
    struct lru *lru = own;
    mem_free(lru->lambda);
    mem_free(lru->dlambda);
    mem_free(lru);
}

static float *lambda_of(const struct train__encoder *e, int l)
{
    const struct lru *lru = e->own;
    return lru->lambda + (size_t)l * 3 * (size_t)e->config.H;
}

/* lambda, gamma of every block from their logarithms. */
static void begin(struct train__encoder *e, const float *params, const struct train__batch *batch)
{
    (void)batch;
    int H = e->config.H;
    for (int l = 0; l < e->config.L; l++) {
        const float *nu = train__tensor(e, params, MODEL_LRU_NU_LOG, l);
        const float *theta = train__tensor(e, params, MODEL_LRU_THETA_LOG, l);
        const float *gamma = train__tensor(e, params, MODEL_LRU_GAMMA_LOG, l);
        float *out = lambda_of(e, l);
        for (int j = 0; j < H; j++) {
            double radius = exp(-exp((double)nu[j]));
            double angle = exp((double)theta[j]);
            out[j] = (float)(radius * cos(angle));
            out[H + j] = (float)(radius * sin(angle));
            out[2 * H + j] = (float)exp((double)gamma[j]);
        }
    }
}

static void forward(struct train__encoder *e, const float *params, const struct train__batch *batch,
                    int l, const float *x)
{
    float *h = e->layers[l].h;
    train__affine(e, params, batch->P, MODEL_MIX_IN_WEIGHT, MODEL_MIX_IN_BIAS, l, x, h);
    for (int s = 0; s < batch->n; s++)
        e->kernels->recur(batch->start[s + 1] - batch->start[s], e->config.H, lambda_of(e, l),
                          h + (size_t)batch->start[s] * (size_t)e->W);
}

/* From dlambda (by the real and imaginary part of lambda, and by log gamma) to the logarithms that are learnt:
 * d/dnu_log = -exp(nu_log) Re(dlambda conj(lambda)), d/dtheta_log = exp(theta_log) (q re - p im) with dlambda = p + iq. */
static void lambda_backward(struct train__encoder *e, const float *params, int l, float *grads)
{
    const struct lru *lru = e->own;
    int H = e->config.H;
    const float *lambda = lambda_of(e, l);
    const float *nu = train__tensor(e, params, MODEL_LRU_NU_LOG, l);
    const float *theta = train__tensor(e, params, MODEL_LRU_THETA_LOG, l);
    float *dnu = train__tensor_grad(e, grads, MODEL_LRU_NU_LOG, l);
    float *dtheta = train__tensor_grad(e, grads, MODEL_LRU_THETA_LOG, l);
    float *dgamma = train__tensor_grad(e, grads, MODEL_LRU_GAMMA_LOG, l);
    for (int j = 0; j < H; j++) {
        float re = lambda[j], im = lambda[H + j];
        float p = lru->dlambda[j], q = lru->dlambda[H + j];
        dnu[j] -= expf(nu[j]) * (p * re + q * im);
        dtheta[j] += expf(theta[j]) * (q * re - p * im);
        dgamma[j] += lru->dlambda[2 * H + j];
    }
}

static void backward(struct train__encoder *e, const float *params,
                     const struct train__batch *batch, int l, const float *x, float *dh,
                     float *grad, float *grads)
{
    struct lru *lru = e->own;
    memset(lru->dlambda, 0, 3 * (size_t)e->config.H * sizeof(float));
    for (int s = 0; s < batch->n; s++) {
        size_t at = (size_t)batch->start[s] * (size_t)e->W;
        e->kernels->recur_backward(batch->start[s + 1] - batch->start[s], e->config.H,
                                   lambda_of(e, l), e->layers[l].h + at, dh + at, lru->dlambda);
    }
    lambda_backward(e, params, l, grads);
    train__affine_backward(e, params, batch->P, MODEL_MIX_IN_WEIGHT, MODEL_MIX_IN_BIAS, l, x, dh,
                           1.0f, grad, grads);
}

const struct train__mix train__mix_lru = {
    .make = make,
    .drop = drop,
    .begin = begin,
    .forward = forward,
    .backward = backward,
};
