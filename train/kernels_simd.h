/* The loops of kernels.h, written once. kernels.c includes this file for each instruction set, with KERNEL (the function
 * attribute) and NAMED(x) (the name's ending) defined. No guard: it is included several times. */

KERNEL static float NAMED(largest)(size_t n, const float *x)
{
    v16 best = splat(-1e30f);
    for (size_t i = 0; i < n; i += 16) {
        v16 v = LOAD(x + i);
        v16i above = v > best;
        best = SELECT(above, v, best);
    }
    float max = best[0];
    for (int l = 1; l < 16; l++)
        max = best[l] > max ? best[l] : max;
    return max;
}

KERNEL static float NAMED(exp_sum)(size_t n, float *x, float max)
{
    v16 sum = splat(0.0f);
    for (size_t i = 0; i < n; i += 16) {
        v16 v = LOAD(x + i) - max;
        EXP(v);
        STORE(x + i, v);
        sum += v;
    }
    return SUM(sum);
}

KERNEL static void NAMED(add_scaled)(size_t n, const float *x, float scale, float *sum)
{
    for (size_t i = 0; i < n; i += 16)
        STORE(sum + i, LOAD(sum + i) + LOAD(x + i) * scale);
}

KERNEL static int32_t NAMED(count_above)(size_t n, const float *x, float value, int32_t ties)
{
    v16i lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, count = {0};
    for (size_t i = 0; i < n; i += 16) {
        v16 v = LOAD(x + i);
        v16i above = ~(v16i)(v <= value);
        v16i tied = ~(v16i)(v < value) & (v16i)(lane + (int32_t)i < ties);
        count -= above | tied;
    }
    int32_t total = 0;
    for (int l = 0; l < 16; l++)
        total += count[l];
    return total;
}

KERNEL static void NAMED(gather_dots)(int n, int D, const int32_t *row, const float *table,
                                      const float *x, float *out)
{
    for (int j = 0; j < n; j++) {
        const float *w = table + (size_t)row[j] * (size_t)D;
        v16 sum = splat(0.0f);
        for (int d = 0; d < D; d += 16)
            sum += LOAD(w + d) * LOAD(x + d);
        out[j] = SUM(sum);
    }
}

KERNEL static void NAMED(scatter_products)(int n, int D, const int32_t *row, const float *g,
                                           const float *table, const float *x, float *dx,
                                           float *dtable)
{
    for (int j = 0; j < n; j++) {
        size_t at = (size_t)row[j] * (size_t)D;
        for (int d = 0; d < D; d += 16) {
            STORE(dx + d, LOAD(dx + d) + LOAD(table + at + d) * g[j]);
            STORE(dtable + at + d, LOAD(dtable + at + d) + LOAD(x + d) * g[j]);
        }
    }
}

/* Phi(v), the normal distribution function, and e = exp(-v^2 / 2), both v16 variables. */
#define NORMAL_CDF(v, phi, e)                                                                      \
    do {                                                                                           \
        v16 z_ = (v)*0.70710678f;                                                                  \
        v16 a_ = SELECT(z_ < 0.0f, -z_, z_);                                                       \
        v16 t_ = 1.0f / (1.0f + 0.3275911f * a_);                                                  \
        (e) = -(a_ * a_);                                                                          \
        EXP(e);                                                                                    \
        v16 p_ =                                                                                   \
            ((((1.061405429f * t_ - 1.453152027f) * t_ + 1.421413741f) * t_ - 0.284496736f) * t_ + \
             0.254829592f) *                                                                       \
            t_ * (e);                                                                              \
        v16 half_ = 0.5f * p_;                                                                     \
        (phi) = SELECT(z_ < 0.0f, half_, 1.0f - half_);                                            \
    } while (0)

KERNEL static void NAMED(gelu)(size_t n, const float *x, float *out)
{
    for (size_t i = 0; i < n; i += 16) {
        v16 v = LOAD(x + i);
        v16 phi, e;
        NORMAL_CDF(v, phi, e);
        STORE(out + i, v * phi);
    }
}

KERNEL static void NAMED(gelu_backward)(size_t n, const float *x, float *grad)
{
    for (size_t i = 0; i < n; i += 16) {
        v16 v = LOAD(x + i);
        v16 phi, e;
        NORMAL_CDF(v, phi, e);
        STORE(grad + i, LOAD(grad + i) * (phi + v * e * 0.39894228f));
    }
}

KERNEL static void NAMED(dropout)(size_t n, float *x, float rate, uint32_t seed)
{
    if (rate <= 0.0f) return;
    uint32_t below = (uint32_t)((double)rate * 4294967295.0);
    float scale = 1.0f / (1.0f - rate);
    v16w lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    for (size_t i = 0; i < n; i += 16) {
        /* The finaliser of MurmurHash3 (Appleby) over seed and place. */
        v16w h = (lane + (uint32_t)i) * 0x9E3779B1u + seed;
        h = (h ^ (h >> 16)) * 0x85EBCA6Bu;
        h = (h ^ (h >> 13)) * 0xC2B2AE35u;
        h ^= h >> 16;
        v16i kept = (v16i)(h >= below);
        STORE(x + i, (v16)((v16i)(LOAD(x + i) * scale) & kept));
    }
}

KERNEL static void NAMED(norm)(int P, int D, const float *x, const float *weight, const float *bias,
                               float *hat, float *rstd, float *out)
{
    float one_over_d = 1.0f / (float)D;
    for (int p = 0; p < P; p++) {
        const float *x_p = x + (size_t)p * (size_t)D;
        float *hat_p = hat + (size_t)p * (size_t)D;
        float *out_p = out + (size_t)p * (size_t)D;
        v16 sum = splat(0.0f);
        for (int d = 0; d < D; d += 16)
            sum += LOAD(x_p + d);
        float mean = SUM(sum) * one_over_d;
        v16 squares = splat(0.0f);
        for (int d = 0; d < D; d += 16) {
            v16 v = LOAD(x_p + d) - mean;
            squares += v * v;
        }
        float r = 1.0f / sqrtf(SUM(squares) * one_over_d + 1e-5f);
        rstd[p] = r;
        for (int d = 0; d < D; d += 16) {
            v16 v = (LOAD(x_p + d) - mean) * r;
            STORE(hat_p + d, v);
            STORE(out_p + d, v * LOAD(weight + d) + LOAD(bias + d));
        }
    }
}

/* dx = rstd (g - mean(g) - hat mean(g hat)) with g = dout weight, means over d. */
KERNEL static void NAMED(norm_backward)(int P, int D, const float *hat, const float *rstd,
                                        const float *weight, float *grad, float *dweight,
                                        float *dbias)
{
    float one_over_d = 1.0f / (float)D;
    for (int p = 0; p < P; p++) {
        const float *hat_p = hat + (size_t)p * (size_t)D;
        float *grad_p = grad + (size_t)p * (size_t)D;
        v16 sum = splat(0.0f), sum_hat = splat(0.0f);
        for (int d = 0; d < D; d += 16) {
            v16 out = LOAD(grad_p + d);
            v16 v = LOAD(hat_p + d);
            v16 g = out * LOAD(weight + d);
            STORE(dweight + d, LOAD(dweight + d) + out * v);
            STORE(dbias + d, LOAD(dbias + d) + out);
            STORE(grad_p + d, g);
            sum += g;
            sum_hat += g * v;
        }
        float mean = SUM(sum) * one_over_d;
        float mean_hat = SUM(sum_hat) * one_over_d;
        for (int d = 0; d < D; d += 16)
            STORE(grad_p + d, (LOAD(grad_p + d) - mean - LOAD(hat_p + d) * mean_hat) * rstd[p]);
    }
}

KERNEL static void NAMED(recur)(int T, int H, const float *lambda, float *u)
{
    size_t row = 2 * (size_t)H;
    for (int j = 0; j < H; j += 16) {
        v16 re = LOAD(lambda + j), im = LOAD(lambda + H + j), gamma = LOAD(lambda + 2 * H + j);
        v16 h_re = splat(0.0f), h_im = splat(0.0f);
        for (int t = 0; t < T; t++) {
            float *u_re = u + (size_t)t * row + j;
            float *u_im = u_re + H;
            v16 next_re = re * h_re - im * h_im + gamma * LOAD(u_re);
            h_im = re * h_im + im * h_re + gamma * LOAD(u_im);
            h_re = next_re;
            STORE(u_re, h_re);
            STORE(u_im, h_im);
        }
    }
}

/* Backwards in time: G[t] = g[t] + conj(lambda) G[t+1]; du = gamma G; dlambda = sum G[t] conj(h[t-1]); and since
 * gamma u[t] = h[t] - lambda h[t-1], the gradient by log gamma is the sum of Re(G[t] conj(gamma u[t])). */
KERNEL static void NAMED(recur_backward)(int T, int H, const float *lambda, const float *h,
                                         float *g, float *dlambda)
{
    size_t row = 2 * (size_t)H;
    for (int j = 0; j < H; j += 16) {
        v16 re = LOAD(lambda + j), im = LOAD(lambda + H + j), gamma = LOAD(lambda + 2 * H + j);
        v16 g_re = splat(0.0f), g_im = splat(0.0f);
        v16 d_re = splat(0.0f), d_im = splat(0.0f), d_gamma = splat(0.0f);
        for (int t = T - 1; t >= 0; t--) {
            size_t at = (size_t)t * row + (size_t)j;
            v16 new_re = LOAD(g + at) + re * g_re + im * g_im;
            v16 new_im = LOAD(g + at + H) + re * g_im - im * g_re;
            g_re = new_re;
            g_im = new_im;
            v16 in_re = LOAD(h + at), in_im = LOAD(h + at + H);
            if (t > 0) {
                v16 p_re = LOAD(h + at - row), p_im = LOAD(h + at - row + H);
                d_re += g_re * p_re + g_im * p_im;
                d_im += g_im * p_re - g_re * p_im;
                in_re -= re * p_re - im * p_im;
                in_im -= re * p_im + im * p_re;
            }
            d_gamma += g_re * in_re + g_im * in_im;
            STORE(g + at, g_re * gamma);
            STORE(g + at + H, g_im * gamma);
        }
        STORE(dlambda + j, LOAD(dlambda + j) + d_re);
        STORE(dlambda + H + j, LOAD(dlambda + H + j) + d_im);
        STORE(dlambda + 2 * H + j, LOAD(dlambda + 2 * H + j) + d_gamma);
    }
}

/* v = 1 / (1 + exp(-v)), v a v16 variable. */
#define SIGMOID(v)                                                                                 \
    do {                                                                                           \
        v16 minus_ = SELECT((v) < -40.0f, splat(40.0f), -(v));                                     \
        EXP(minus_);                                                                               \
        (v) = 1.0f / (1.0f + minus_);                                                              \
    } while (0)

KERNEL static void NAMED(gate)(int H, const float *u, const float *s, float *h, float *keep)
{
    for (int i = 0; i < H; i += 16) {
        v16 r = LOAD(u + i) + LOAD(s + i), z = LOAD(u + H + i) + LOAD(s + H + i);
        v16 s_n = LOAD(s + 2 * H + i);
        SIGMOID(r);
        SIGMOID(z);
        v16 n = 2.0f * (LOAD(u + 2 * H + i) + r * s_n);
        SIGMOID(n);
        n = 2.0f * n - 1.0f;
        STORE(keep + i, r);
        STORE(keep + H + i, z);
        STORE(keep + 2 * H + i, n);
        STORE(keep + 3 * H + i, s_n);
        STORE(h + i, n + z * (LOAD(h + i) - n));
    }
}

KERNEL static void NAMED(gate_backward)(int H, const float *before, float *keep, float *dh,
                                        float *ds)
{
    for (int i = 0; i < H; i += 16) {
        v16 r = LOAD(keep + i), z = LOAD(keep + H + i), n = LOAD(keep + 2 * H + i);
        v16 g = LOAD(dh + i);
        v16 g_n = g * (1.0f - z) * (1.0f - n * n);
        v16 g_z = g * (LOAD(before + i) - n) * z * (1.0f - z);
        v16 g_r = g_n * LOAD(keep + 3 * H + i) * r * (1.0f - r);
        STORE(keep + i, g_r);
        STORE(keep + H + i, g_z);
        STORE(keep + 2 * H + i, g_n);
        STORE(keep + 3 * H + i, g_n * r);
        STORE(ds + i, g_r);
        STORE(ds + H + i, g_z);
        STORE(ds + 2 * H + i, g_n * r);
        STORE(dh + i, g * z);
    }
}

KERNEL static void NAMED(causal_softmax)(int T, int stride, float scale, float *x)
{
    for (int t = 0; t < T; t++, x += stride) {
        int n = (t + 16) / 16 * 16; /* columns 0..t in whole groups */
        for (int s = t + 1; s < n; s++)
            x[s] = -1e30f;
        v16 most = splat(-1e30f), sum = splat(0.0f);
        for (int s = 0; s < n; s += 16) {
            v16 v = LOAD(x + s) * scale;
            STORE(x + s, v);
            most = SELECT(v > most, v, most);
        }
        float max = most[0];
        for (int l = 1; l < 16; l++)
            max = most[l] > max ? most[l] : max;
        for (int s = 0; s < n; s += 16) {
            v16 v = LOAD(x + s) - max;
            EXP(v);
            STORE(x + s, v);
            sum += v;
        }
        float share = 1.0f / SUM(sum);
        memset(x + t + 1, 0, (size_t)(stride - t - 1) * sizeof(float));
        for (int s = 0; s < n; s += 16)
            STORE(x + s, LOAD(x + s) * share);
    }
}

KERNEL static void NAMED(causal_softmax_backward)(int T, int stride, float scale, const float *a,
                                                  float *grad)
{
    for (int t = 0; t < T; t++, a += stride, grad += stride) {
        int n = (t + 16) / 16 * 16;
        v16 sum = splat(0.0f);
        for (int s = 0; s < n; s += 16)
            sum += LOAD(a + s) * LOAD(grad + s);
        float mean = SUM(sum);
        for (int s = 0; s < n; s += 16)
            STORE(grad + s, LOAD(a + s) * (LOAD(grad + s) - mean) * scale);
        memset(grad + n, 0, (size_t)(stride - n) * sizeof(float));
    }
}

KERNEL static void NAMED(adamw)(size_t n, float *param, const float *grad, float grad_scale,
                                float *mean, float *square, float rate, float epsilon, float keep)
{
    const float beta1 = 0.9f, beta2 = 0.999f;
    for (size_t i = 0; i < n; i += 16) {
        v16 g = LOAD(grad + i) * grad_scale;
        v16 m = LOAD(mean + i) * beta1 + g * (1.0f - beta1);
        v16 s = LOAD(square + i) * beta2 + g * g * (1.0f - beta2);
        STORE(mean + i, m);
        STORE(square + i, s);
        v16 root;
        for (int l = 0; l < 16; l++)
            root[l] = sqrtf(s[l]);
        STORE(param + i, LOAD(param + i) * keep - rate * m / (root + epsilon));
    }
}

KERNEL static double NAMED(square_sum)(size_t n, const float *x)
{
    double total = 0;
    for (size_t i = 0; i < n;) {
        v16 sum = splat(0.0f);
        for (size_t end = n - i < 4096 ? n : i + 4096; i < end; i += 16)
            sum += LOAD(x + i) * LOAD(x + i);
        total += (double)SUM(sum);
    }
    return total;
}

static const struct train__kernels NAMED(table) = {
    .name = KERNEL_SET,
    .largest = NAMED(largest),
    .exp_sum = NAMED(exp_sum),
    .add_scaled = NAMED(add_scaled),
    .count_above = NAMED(count_above),
    .gather_dots = NAMED(gather_dots),
    .scatter_products = NAMED(scatter_products),
    .gelu = NAMED(gelu),
    .gelu_backward = NAMED(gelu_backward),
    .dropout = NAMED(dropout),
    .norm = NAMED(norm),
    .norm_backward = NAMED(norm_backward),
    .recur = NAMED(recur),
    .recur_backward = NAMED(recur_backward),
    .gate = NAMED(gate),
    .gate_backward = NAMED(gate_backward),
    .causal_softmax = NAMED(causal_softmax),
    .causal_softmax_backward = NAMED(causal_softmax_backward),
    .adamw = NAMED(adamw),
    .square_sum = NAMED(square_sum),
};

#undef NORMAL_CDF
#undef SIGMOID
#undef KERNEL
#undef NAMED
#undef KERNEL_SET
