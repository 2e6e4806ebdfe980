/* Causal self attention over one sequence.
 *
 * The products of a head are GEMMs over T x d slices of rows of 3H floats. Half of each T x T product is thrown away: a
 * product by blocks would save at most a third of this file's time, which is a small part of a step beside the softmax over
 * the items. */
#include "train/attention.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "model/model.h"
#include "train/encoder.h"

void train__attention_init(struct train__attention *attention, const struct train__kernels *kernels,
                           int H, int heads, bool rotary)
{
    *attention =
        (struct train__attention){.kernels = kernels, .H = H, .heads = heads, .rotary = rotary};
}

void train__attention_fini(struct train__attention *attention)
{
    mem_free(attention->turns);
    mem_free(attention->weights);
    mem_free(attention->dweights);
}

static int stride_of(int T)
{
    return (T + 15) / 16 * 16;
}

/* Room for sequences of T steps. What lies behind a row's T columns is read, so it is a number from the start. */
static void reserve(struct train__attention *a, int T)
{
    if (T <= a->weights_T) return;
    size_t bytes = (size_t)T * (size_t)stride_of(T) * sizeof(float);
    mem_free(a->weights);
    mem_free(a->dweights);
    a->weights = mem_aligned(64, bytes);
    a->dweights = mem_aligned(64, bytes);
    memset(a->weights, 0, bytes);
    memset(a->dweights, 0, bytes);
    a->weights_T = T;
}

/* ---- rotary positions ---- */

static void prepare_turns(struct train__attention *a, int T)
{
    if (!a->rotary || T <= a->turns_T) return;
    int d = a->H / a->heads, half = d / 2;
    a->turns = mem_realloc(a->turns, (size_t)T * (size_t)d * sizeof(float));
    for (int t = a->turns_T; t < T; t++) {
        float *turn = a->turns + (size_t)t * (size_t)d;
        for (int i = 0; i < half; i++) {
            double angle = t * model_rotary_frequency(i, d);
            turn[i] = (float)cos(angle);
            turn[half + i] = (float)sin(angle);
        }
    }
    a->turns_T = T;
}

/* Turns the pairs (i, i + d/2) of each head of x (T rows of 3H, the first H floats) by their step's angles; back when
 * direction is -1. */
static void turn_rows(const struct train__attention *a, int T, float direction, float *x)
{
    int d = a->H / a->heads, half = d / 2;
    for (int t = 0; t < T; t++, x += 3 * (size_t)a->H) {
        const float *cosine = a->turns + (size_t)t * (size_t)d, *sine = cosine + half;
        for (float *low = x; low < x + a->H; low += d) {
            for (int i = 0; i < half; i++) {
                float u = low[i], v = low[half + i], s = direction * sine[i];
                low[i] = u * cosine[i] - v * s;
                low[half + i] = v * cosine[i] + u * s;
            }
        }
    }
}

/* ---- one head ---- */

static uint32_t head_seed(uint32_t seed, int head)
{
    return (seed ^ (uint32_t)(head + 1) * 0x9E3779B9u) * 0x85EBCA6Bu;
}

/* a->weights (T,stride) <- softmax of a head's scores, without dropout. qkv at the head's first column. */
static void soften(struct train__attention *a, int T, const float *qkv)
{
    int d = a->H / a->heads, row = 3 * a->H, stride = stride_of(T);
    train__matmul(T, T, d, qkv, row, false, qkv + a->H, row, true, 0.0f, a->weights, stride);
    a->kernels->causal_softmax(T, stride, 1.0f / sqrtf((float)d), a->weights);
}

static void head_forward(struct train__attention *a, int T, const float *qkv, float rate,
                         uint32_t seed, float *out)
{
    int d = a->H / a->heads, row = 3 * a->H, stride = stride_of(T);
    soften(a, T, qkv);
    a->kernels->dropout((size_t)T * (size_t)stride, a->weights, rate, seed);
    train__matmul(T, d, T, a->weights, stride, false, qkv + 2 * a->H, row, false, 0.0f, out, a->H);
}

/* With A the softmax, M the dropout and G the gradient of out: dV = (M A)^T G; dA = M (G V^T);
 * dS = A (dA - sum over s of A dA); dQ = dS K / sqrt d; dK = dS^T Q / sqrt d. */
static void head_backward(struct train__attention *a, int T, const float *qkv, const float *grad,
                          float rate, uint32_t seed, float *dqkv)
{
    int H = a->H, d = H / a->heads, row = 3 * H, stride = stride_of(T);
    size_t n = (size_t)T * (size_t)stride;
    const float *q = qkv, *k = qkv + H, *v = qkv + 2 * H;
    soften(a, T, qkv);
    memcpy(a->dweights, a->weights, n * sizeof(float));
    a->kernels->dropout(n, a->dweights, rate, seed);
    train__matmul(T, d, T, a->dweights, stride, true, grad, H, false, 0.0f, dqkv + 2 * H, row);
    train__matmul(T, T, d, grad, H, false, v, row, true, 0.0f, a->dweights, stride);
    a->kernels->dropout(n, a->dweights, rate, seed);
    a->kernels->causal_softmax_backward(T, stride, 1.0f / sqrtf((float)d), a->weights, a->dweights);
    train__matmul(T, d, T, a->dweights, stride, false, k, row, false, 0.0f, dqkv, row);
    train__matmul(T, d, T, a->dweights, stride, true, q, row, false, 0.0f, dqkv + H, row);
}

/* ---- public ---- */

void train__attention_forward(struct train__attention *attention, int T, float *qkv, float rate,
                              uint32_t seed, float *out)
{
    struct train__attention *a = attention;
    int d = a->H / a->heads;
    reserve(a, T);
    prepare_turns(a, T);
    if (a->rotary) {
        turn_rows(a, T, 1, qkv);
        turn_rows(a, T, 1, qkv + a->H);
    }
    for (int h = 0; h < a->heads; h++)
        head_forward(a, T, qkv + h * d, rate, head_seed(seed, h), out + h * d);
}

void train__attention_backward(struct train__attention *attention, int T, const float *qkv,
                               const float *grad, float rate, uint32_t seed, float *dqkv)
{
    struct train__attention *a = attention;
    int d = a->H / a->heads;
    for (int h = 0; h < a->heads; h++)
        head_backward(a, T, qkv + h * d, grad + h * d, rate, head_seed(seed, h), dqkv + h * d);
    if (!a->rotary) return;
    turn_rows(a, T, -1, dqkv);
    turn_rows(a, T, -1, dqkv + a->H);
}
