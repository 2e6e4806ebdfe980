/* The inner loops in plain C: the definition that the vector kernels follow to the bit, and the kernels
 * of processors that have none of their own. */

#include "model/internal.h"

#include <math.h>
#include <string.h>

#include "model/kernels.h"

/* Adds the 16 chains: l and l+8, l and l+4, l and l+2, l and l+1. */
static float chains_sum(float chain[MODEL__CHAINS])
{
    for (int half = MODEL__CHAINS / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            chain[l] += chain[l + half];
    return chain[0];
}

static void matmul(int B, int n, int m, const float *x, const float *W, const float *bias,
                   float *out)
{
    for (int b = 0; b < B; b++) {
        for (int j = 0; j < m; j++) {
            int tile = j - j % MODEL__TILE;
            int width = m - tile < MODEL__TILE ? m - tile : MODEL__TILE;
            const float *W_j = W + (size_t)tile * (size_t)n + (j - tile); /* W[:,j], by width */
            float sum = bias[j];
            for (int k = 0; k < n; k++)
                sum =
                    fmaf(x[(size_t)b * (size_t)n + (size_t)k], W_j[(size_t)k * (size_t)width], sum);
            out[(size_t)b * (size_t)m + (size_t)j] = sum;
        }
    }
}

static void norm_row(int D, const float *a, const float *c, const float *weight, const float *bias,
                     float *out)
{
    float sum[MODEL__CHAINS] = {0}, square[MODEL__CHAINS] = {0};
    for (int j = 0; j < D; j++) {
        out[j] = c != NULL ? a[j] + c[j] : a[j];
        sum[j % MODEL__CHAINS] += out[j];
    }
    float mean = chains_sum(sum) / (float)D;
    for (int j = 0; j < D; j++) {
        out[j] -= mean;
        square[j % MODEL__CHAINS] = fmaf(out[j], out[j], square[j % MODEL__CHAINS]);
    }
    float scale = 1.0f / sqrtf(chains_sum(square) / (float)D + MODEL__NORM_EPSILON);
    for (int j = 0; j < D; j++)
        out[j] = fmaf(out[j] * scale, weight[j], bias[j]);
}

static void norm(int B, int D, const float *a, const float *c, const float *weight,
                 const float *bias, float *out)
{
    for (int b = 0; b < B; b++) {
        size_t row = (size_t)b * (size_t)D;
        norm_row(D, a + row, c != NULL ? c + row : NULL, weight, bias, out + row);
    }
}

static float erf_of(float x)
{
    float limited = fminf(fmaxf(x, -MODEL__ERF_LIMIT), MODEL__ERF_LIMIT);
    float t = limited * limited;
    float p = MODEL__ERF_P5;
    p = fmaf(p, t, MODEL__ERF_P4);
    p = fmaf(p, t, MODEL__ERF_P3);
    p = fmaf(p, t, MODEL__ERF_P2);
    p = fmaf(p, t, MODEL__ERF_P1);
    p = fmaf(p, t, MODEL__ERF_P0);
    float q = MODEL__ERF_Q5;
    q = fmaf(q, t, MODEL__ERF_Q4);
    q = fmaf(q, t, MODEL__ERF_Q3);
    q = fmaf(q, t, MODEL__ERF_Q2);
    q = fmaf(q, t, MODEL__ERF_Q1);
    q = fmaf(q, t, MODEL__ERF_Q0);
    return limited * p / q;
}

static void gelu(size_t n, float *x)
{
    for (size_t i = 0; i < n; i++) {
        float half = 0.5f * x[i];
        x[i] = fmaf(half, erf_of(x[i] * MODEL__SQRT_HALF), half);
    }
}

/* (a + bi)(c + di) + g(u + vi): the real part is fma(a, c, fma(-b, d, g u)), the imaginary part
 * fma(a, d, fma(b, c, g v)). */
static void recur(int H, const float *lambda, const float *u, float *h)
{
    const float *real = lambda, *imaginary = lambda + H, *gamma = lambda + 2 * H;
    for (int i = 0; i < H; i++) {
        float re = h[i], im = h[H + i];
        h[i] = fmaf(real[i], re, fmaf(-imaginary[i], im, gamma[i] * u[i]));
        h[H + i] = fmaf(real[i], im, fmaf(imaginary[i], re, gamma[i] * u[H + i]));
    }
}

/* exp(x), x at most 80. */
static float exp_of(float x)
{
    x = x > MODEL__EXP_LEAST ? x : MODEL__EXP_LEAST;
    float k = fmaf(x, MODEL__EXP_PER_LN2, MODEL__EXP_ROUND);
    uint32_t k_bits, bits;
    memcpy(&k_bits, &k, sizeof k_bits);
    k -= MODEL__EXP_ROUND;
    float r = fmaf(k, -MODEL__EXP_LN2_UPPER, x);
    r = fmaf(k, -MODEL__EXP_LN2_LOWER, r);
    float q = MODEL__EXP_Q4;
    q = fmaf(q, r, MODEL__EXP_Q3);
    q = fmaf(q, r, MODEL__EXP_Q2);
    q = fmaf(q, r, MODEL__EXP_Q1);
    q = fmaf(q, r, MODEL__EXP_Q0);
    float y = fmaf(q, r * r, r) + 1.0f;
    memcpy(&bits, &y, sizeof bits);
    bits += k_bits << 23;
    memcpy(&y, &bits, sizeof y);
    return y;
}

static float sigmoid_of(float v)
{
    float x = 0.0f - v;
    x = x < MODEL__SIGMOID_MOST ? x : MODEL__SIGMOID_MOST;
    return 1.0f / (1.0f + exp_of(x));
}

static void gate(int H, const float *u, const float *s, float *h)
{
    for (int i = 0; i < H; i++) {
        float r = sigmoid_of(u[i] + s[i]), z = sigmoid_of(u[H + i] + s[H + i]);
        float x = fmaf(r, s[2 * H + i], u[2 * H + i]);
        float n = fmaf(2.0f, sigmoid_of(x + x), -1.0f);
        h[i] = fmaf(z, h[i] - n, n);
    }
}

/* weight (n) <- softmax without the division; returns what to divide by. Positions that fill up the last 16 weigh 4e-38:
 * beside the 1 of the largest they leave no trace in the sum. */
static float soften(int n, float *weight)
{
    float largest = -INFINITY, sum[MODEL__CHAINS] = {0};
    for (int s = 0; s < n; s++)
        largest = weight[s] > largest ? weight[s] : largest;
    for (int s = 0; s < n; s++)
        weight[s] = exp_of(weight[s] - largest);
    for (int s = 0; s < (n + 15) / 16 * 16; s++)
        sum[s % MODEL__CHAINS] += s < n ? weight[s] : exp_of(-INFINITY);
    return chains_sum(sum);
}

static void attend(const struct model__head *head, float scale, const float *query, float *weight,
                   float *out)
{
    for (int s = 0; s < head->n; s++) {
        weight[s] = 0;
        for (int j = 0; j < head->d; j++)
            weight[s] = fmaf(query[j] * scale,
                             head->keys[(size_t)j * (size_t)head->stride + (size_t)s], weight[s]);
    }
    float share = 1.0f / soften(head->n, weight);
    for (int j = 0; j < head->d; j++) {
        float chain[4] = {0};
        for (int s = 0; s < head->n; s++)
            chain[s % 4] = fmaf(
                weight[s], head->values[(size_t)s * (size_t)head->width + (size_t)j], chain[s % 4]);
        out[j] = ((chain[0] + chain[2]) + (chain[1] + chain[3])) * share;
    }
}

static void turn_rows(int rows, int n, const float *turn, const float *x, const float *other,
                      float *out)
{
    for (int i = 0; i < rows * n; i++)
        out[i] = fmaf(x[i], turn[i % n], other[i] * turn[n + i % n]);
}

static float dot(int D, const float *a, const float *b)
{
    float chain[MODEL__CHAINS] = {0};
    for (int j = 0; j < D; j++)
        chain[j % MODEL__CHAINS] = fmaf(a[j], b[j], chain[j % MODEL__CHAINS]);
    return chains_sum(chain);
}

/* ---- scan ---- */

static float approximate(int D, const struct model__scan_tile *tile, int i,
                         const struct model__scan_user *user)
{
    const uint8_t *group = tile->codes + (size_t)(i / 16) * 16 * (size_t)D;
    int32_t sum = user->start;
    for (int j = 0; j < D; j++)
        sum += group[j / 4 * 64 + i % 16 * 4 + j % 4] * user->codes[j];
    return fmaf((float)sum * tile->scale[i], user->scale, tile->bias[i]);
}

static void scan_scores(int D, const struct model__scan_tile *tile, int n,
                        const struct model__scan_user *user, float *approx)
{
    for (int u = 0; u < n; u++)
        for (int i = 0; i < MODEL__SCAN_TILE; i++)
            approx[u * MODEL__SCAN_TILE + i] = approximate(D, tile, i, &user[u]);
}

static void scan_hits(int D, const struct model__scan_tile *tile, int n,
                      const struct model__scan_user *user, uint16_t *hits)
{
    for (int u = 0; u < n; u++)
        for (int g = 0; g < MODEL__SCAN_TILE / 16; g++) {
            unsigned mask = 0;
            for (int l = 0; l < 16; l++)
                mask |= (unsigned)(approximate(D, tile, 16 * g + l, &user[u]) >= user[u].threshold)
                        << l;
            hits[u * (MODEL__SCAN_TILE / 16) + g] = (uint16_t)mask;
        }
}

static void raise(int n, const float *a, float shift, float *lanes)
{
    for (int i = 0; i < n; i++) {
        float low = a[i] - shift;
        lanes[i] = low > lanes[i] ? low : lanes[i];
    }
}

static int count_reaching(int n, const float *a, float x)
{
    int count = 0;
    for (int i = 0; i < n; i++)
        count += a[i] >= x;
    return count;
}

static int find_reaching(int n, const float *a, float x, uint16_t *hits)
{
    memset(hits, 0, (size_t)n / 16 * sizeof *hits);
    for (int i = 0; i < n; i++)
        hits[i / 16] |= (uint16_t)((a[i] >= x) << (i % 16));
    return count_reaching(n, a, x);
}

static void dots(int D, int n, const float *const *a, const float *const *b, float *out)
{
    for (int i = 0; i < n; i++)
        out[i] = dot(D, a[i], b[i]);
}

static void rank_keys(int n, const uint64_t *key, uint8_t *rank)
{
    for (int i = 0; i < n; i++) {
        int larger = 0;
        for (int j = 0; j < n; j++)
            larger += key[j] > key[i];
        rank[i] = (uint8_t)larger;
    }
}

const struct model__kernels model__kernels_plain = {
    .name = "plain",
    .matmul = matmul,
    .norm = norm,
    .gelu = gelu,
    .recur = recur,
    .gate = gate,
    .attend = attend,
    .turn = turn_rows,
    .dot = dot,
    .dots = dots,
    .rank = rank_keys,
    .scan_scores = scan_scores,
    .scan_hits = scan_hits,
    .raise = raise,
    .count_reaching = count_reaching,
    .find_reaching = find_reaching,
    .user_code_max = 127,
    .scan_users = MODEL__SCAN_USERS,
};
