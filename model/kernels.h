#ifndef MODEL_KERNELS_H
#define MODEL_KERNELS_H

/* What the kernels of every instruction set share. The steps are written out, one number at a time, in
 * kernels_plain.c; the vector files take the same steps, lane by lane. */

enum {
    MODEL__CHAINS = 16,      /* partial chains of a sum */
    MODEL__TILE = 64,        /* columns of a weight matrix that lie together, see model__pack */
    MODEL__TILE_DEPTH = 128, /* rows of a tile taken at once: 32 KiB, two thirds of an L1 cache */
};

#define MODEL__NORM_EPSILON 1e-5f /* as PyTorch's LayerNorm */

/* erf(x) = x P(x^2) / Q(x^2) for |x| <= LIMIT, +-1 beyond; P and Q by Horner's rule in fma, then one
 * product and one division. Fitted by reweighted least squares on 4,000 Chebyshev nodes against double
 * precision: at most 3.6e-7 from erf in float32 (kernels_test.c). All coefficients are positive, so
 * nothing cancels. */
#define MODEL__ERF_LIMIT 3.925f
#define MODEL__ERF_P0    0x1.20dd74p+0f
#define MODEL__ERF_P1    0x1.86560cp-3f
#define MODEL__ERF_P2    0x1.b04944p-5f
#define MODEL__ERF_P3    0x1.ee79e2p-9f
#define MODEL__ERF_P4    0x1.2aae2ep-12f
#define MODEL__ERF_P5    0x1.129d0ep-19f
#define MODEL__ERF_Q0    1.0f
#define MODEL__ERF_Q1    0x1.0125e0p-1f
#define MODEL__ERF_Q2    0x1.d3b14ap-4f
#define MODEL__ERF_Q3    0x1.eaf83cp-7f
#define MODEL__ERF_Q4    0x1.311940p-10f
#define MODEL__ERF_Q5    0x1.3f2b10p-15f

#define MODEL__SQRT_HALF 0x1.6a09e6p-1f

/* exp(x) = 2^k (1 + r + r^2 Q(r)) for x <= 80, k = x / ln 2 rounded to a whole number, r = x - k ln 2 in two fma; Q by
 * Horner's rule in fma. k is read from the low bits of x / ln 2 + ROUND. Below LEAST it is exp(LEAST), 4e-38. Q fitted as
 * above: at most 3e-9 from exp before the roundings of float32 (kernels_test.c). */
#define MODEL__EXP_LEAST     -86.0f
#define MODEL__SIGMOID_MOST  40.0f /* exp(-40) is nothing beside 1 */
#define MODEL__EXP_PER_LN2   0x1.715476p+0f
#define MODEL__EXP_ROUND     12582912.0f /* 1.5 * 2^23: its last bit counts ones */
#define MODEL__EXP_LN2_UPPER 0x1.63p-1f
#define MODEL__EXP_LN2_LOWER -0x1.bd0106p-13f
#define MODEL__EXP_Q0        0x1.fffffcp-2f
#define MODEL__EXP_Q1        0x1.555492p-3f
#define MODEL__EXP_Q2        0x1.5558f2p-5f
#define MODEL__EXP_Q3        0x1.1239e4p-7f
#define MODEL__EXP_Q4        0x1.6a242ap-10f

#endif
