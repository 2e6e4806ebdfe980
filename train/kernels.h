#ifndef TRAIN_KERNELS_H
#define TRAIN_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* The inner loops of training that are no matrix products. One table of functions an instruction set; all are compiled
 * from kernels_simd.h. Training needs no equal bits between machines, so sums have whatever order is fast.
 *
 * n, D, H are multiples of 16. Arrays of a call do not overlap unless it says so. Thread: any. */
struct train__kernels {
    const char *name;
    /* The largest x; what is no number is passed over. */
    float (*largest)(size_t n, const float *x);
    /* x[i] = exp(x[i] - max); returns their sum. */
    float (*exp_sum)(size_t n, float *x, float max);
    /* sum[i] += scale x[i]. */
    void (*add_scaled)(size_t n, const float *x, float scale, float *sum);
    /* How many x[i] are above value or no number, those equal to it counted where i < ties. */
    int32_t (*count_above)(size_t n, const float *x, float value, int32_t ties);
    /* out[j] = dot(table[row[j]], x): table (..,D), row (n), any n. */
    void (*gather_dots)(int n, int D, const int32_t *row, const float *table, const float *x,
                        float *out);
    /* Its gradient: dx += g[j] table[row[j]], dtable[row[j]] += g[j] x. */
    void (*scatter_products)(int n, int D, const int32_t *row, const float *g, const float *table,
                             const float *x, float *dx, float *dtable);
    /* out[i] = gelu(x[i]) (Hendrycks and Gimpel 2016, with erf by Abramowitz and Stegun 7.1.26, error below 2e-7). */
    void (*gelu)(size_t n, const float *x, float *out);
    /* grad[i] *= gelu'(x[i]). */
    void (*gelu_backward)(size_t n, const float *x, float *grad);
    /* Keeps x[i] with probability 1 - rate, scaled by 1 / (1 - rate), else 0. The choice is a hash of seed and i, so that
     * the backward pass repeats it on the gradient. */
    void (*dropout)(size_t n, float *x, float rate, uint32_t seed);
    /* hat = (x - mean) / deviation for each row; out = hat * weight + bias. x, hat, out (P,D), x may be hat;
     * rstd (P) 1 / deviation. */
    void (*norm)(int P, int D, const float *x, const float *weight, const float *bias, float *hat,
                 float *rstd, float *out);
    /* grad (P,D): from that of out to that of x, in place; dweight, dbias (D) are added to. */
    void (*norm_backward)(int P, int D, const float *hat, const float *rstd, const float *weight,
                          float *grad, float *dweight, float *dbias);
    /* One sequence: h[t] = lambda h[t-1] + gamma u[t], complex. u (T,2H) becomes h in place; a row is H real parts, then H
     * imaginary ones. lambda (3H): real, imaginary, gamma. */
    void (*recur)(int T, int H, const float *lambda, float *u);
    /* g (T,2H): from the gradient of h as it is read to that of u, in place. h (T,2H) as recur left it.
     * dlambda (3H) is added to: by real and imaginary part of lambda, and by log gamma. */
    void (*recur_backward)(int T, int H, const float *lambda, const float *h, float *g,
                           float *dlambda);
    /* One position of a gated recurrent unit, as in model/model.h: u, s (3H); h (H) in place; keep (4H) written: r, z, n, s_n. */
    void (*gate)(int H, const float *u, const float *s, float *h, float *keep);
    /* Backward: keep becomes the gradients of u (3H) and s_n (H), ds (3H) is written, dh (H) goes from the gradient of h to the
     * part of that of `before`, the h before the step, that does not come through s. */
    void (*gate_backward)(int H, const float *before, float *keep, float *dh, float *ds);
    /* Row t of x (T,stride), t = 0..T-1: columns 0..t <- their softmax after a product with scale, the others <- 0. stride is a
     * multiple of 16, at least T. */
    void (*causal_softmax)(int T, int stride, float scale, float *x);
    /* grad (T,stride): from that of the softmax a (T,stride) to that of what went in, in place; it must be finite in all
     * columns, and is 0 behind column t. */
    void (*causal_softmax_backward)(int T, int stride, float scale, const float *a, float *grad);
    /* AdamW (Loshchilov and Hutter 2019). rate: with both bias corrections in rate and epsilon. */
    void (*adamw)(size_t n, float *param, const float *grad, float grad_scale, float *mean,
                  float *square, float rate, float epsilon, float keep);
    /* Sum of squares. */
    double (*square_sum)(size_t n, const float *x);
};

/* The best table for this processor. */
const struct train__kernels *train__kernels_best(void);
/* All tables that this processor runs, best first; returns how many. */
enum { TRAIN__KERNELS_MAX = 3 };
int train__kernels_all(const struct train__kernels *tables[TRAIN__KERNELS_MAX]);

#endif
