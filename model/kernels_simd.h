/* The vector kernels, written once over groups of 16 floats; kernels_avx512.c and kernels_avx2.c define
 * the group and include this file. The including file defines:
 *
 *   TARGET         the instruction sets, as the target attribute takes them
 *   GROUPS         groups of outputs that one pass of the matrix product holds in registers
 *   ROWS           rows that it holds, at most 6
 *   KERNELS_NAME   text; KERNELS_TABLE the table's name
 *   v16 and v16_load, _store, _set1, _fma, _mul, _add, _sub, _div, _min, _max, _sum
 *   v16_reaches    16 bits: a >= b
 *   v16_times_2(a, k)  a times 2 to the power that stands in the low bits of k, added to its exponent
 *   i16            16 int32 or 64 bytes; i16_load, _set1, v16_of_i16
 *   i16_dot4       sum + the four products of bytes, unsigned by signed, in each lane
 *   u8_count_larger(key, n, than)  how many of n <= 8 unsigned 64-bit keys are larger
 *   SCAN_GROUPS    groups of items that one pass of the scan holds in registers, 1, 2 or 4
 *   USER_CODE_MAX  largest signed byte that i16_dot4 takes without saturating
 *
 * Each function takes the steps of its namesake in kernels_plain.c. */

#include <math.h>
#include <string.h>

#include "model/kernels.h"

#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#define INLINE static inline __attribute__((always_inline, target(TARGET)))
#define KERNEL static __attribute__((target(TARGET)))

/* ---- matrix product ---- */

/* R rows by G groups of outputs by n steps of the inner index, kept in registers. x (R,n_x) and out (R,m)
 * begin at this pass's place, W_k at its first k and output: W_k[k * stride + j]. from: (G,16) bias, or NULL
 * to go on from out. */
INLINE void matmul_pass(int R, int G, int n, const float *x, size_t n_x, const float *W,
                        size_t stride, const float *from, float *out, size_t m)
{
    v16 sum[6][4];
    UNROLL for (int r = 0; r < R; r++)
    {
        UNROLL for (int g = 0; g < G; g++) sum[r][g] =
            v16_load(from != NULL ? from + 16 * g : out + (size_t)r * m + 16 * g);
    }
    for (int k = 0; k < n; k++) {
        v16 w[4];
        UNROLL for (int g = 0; g < G; g++) w[g] = v16_load(W + (size_t)k * stride + 16 * g);
        UNROLL for (int r = 0; r < R; r++)
        {
            v16 x_k = v16_set1(x[(size_t)r * n_x + (size_t)k]);
            UNROLL for (int g = 0; g < G; g++) sum[r][g] = v16_fma(x_k, w[g], sum[r][g]);
        }
    }
    UNROLL for (int r = 0; r < R; r++)
    {
        UNROLL for (int g = 0; g < G; g++) v16_store(out + (size_t)r * m + 16 * g, sum[r][g]);
    }
}

/* All rows for one pass of G groups. */
INLINE void matmul_columns(int B, int G, int n, const float *x, size_t n_x, const float *W,
                           size_t stride, const float *from, float *out, size_t m)
{
    int b = 0;
    for (; b + ROWS <= B; b += ROWS)
        matmul_pass(ROWS, G, n, x + (size_t)b * n_x, n_x, W, stride, from, out + (size_t)b * m, m);
    for (; b + 2 <= B; b += 2)
        matmul_pass(2, G, n, x + (size_t)b * n_x, n_x, W, stride, from, out + (size_t)b * m, m);
    if (b < B)
        matmul_pass(1, G, n, x + (size_t)b * n_x, n_x, W, stride, from, out + (size_t)b * m, m);
}

/* One tile of W by all rows, in pieces of the inner index small enough that the piece of W stays in the L1
 * cache for all rows (128 x 64 floats = 32 KiB). */
KERNEL void matmul_tile(int B, int n, int width, const float *x, const float *W, const float *bias,
                        float *out, size_t m)
{
    for (int k = 0; k < n; k += MODEL__TILE_DEPTH) {
        int depth = n - k < MODEL__TILE_DEPTH ? n - k : MODEL__TILE_DEPTH;
        const float *W_k = W + (size_t)k * (size_t)width;
        int j = 0;
        for (; j + 16 * GROUPS <= width; j += 16 * GROUPS)
            matmul_columns(B, GROUPS, depth, x + k, (size_t)n, W_k + j, (size_t)width,
                           k == 0 ? bias + j : NULL, out + j, m);
        for (; j < width; j += 16)
            matmul_columns(B, 1, depth, x + k, (size_t)n, W_k + j, (size_t)width,
                           k == 0 ? bias + j : NULL, out + j, m);
    }
}

KERNEL void matmul(int B, int n, int m, const float *x, const float *W, const float *bias,
                   float *out)
{
    for (int j = 0; j < m; j += MODEL__TILE) {
        int width = m - j < MODEL__TILE ? m - j : MODEL__TILE;
        matmul_tile(B, n, width, x, W + (size_t)j * (size_t)n, bias + j, out + j, (size_t)m);
    }
}

/* ---- rows ---- */

INLINE void norm_row(int D, const float *a, const float *c, const float *weight, const float *bias,
                     float *out)
{
    v16 sum = v16_set1(0.0f), square = v16_set1(0.0f);
    for (int j = 0; j < D; j += 16) {
        v16 v = v16_load(a + j);
        if (c != NULL) v = v16_add(v, v16_load(c + j));
        v16_store(out + j, v);
        sum = v16_add(sum, v);
    }
    v16 mean = v16_set1(v16_sum(sum) / (float)D);
    for (int j = 0; j < D; j += 16) {
        v16 v = v16_sub(v16_load(out + j), mean);
        v16_store(out + j, v);
        square = v16_fma(v, v, square);
    }
    v16 scale = v16_set1(1.0f / sqrtf(v16_sum(square) / (float)D + MODEL__NORM_EPSILON));
    for (int j = 0; j < D; j += 16)
        v16_store(out + j, v16_fma(v16_mul(v16_load(out + j), scale), v16_load(weight + j),
                                   v16_load(bias + j)));
}

KERNEL void norm(int B, int D, const float *a, const float *c, const float *weight,
                 const float *bias, float *out)
{
    for (int b = 0; b < B; b++) {
        size_t row = (size_t)b * (size_t)D;
        norm_row(D, a + row, c != NULL ? c + row : NULL, weight, bias, out + row);
    }
}

INLINE v16 erf_of(v16 x)
{
    v16 limited = v16_min(v16_max(x, v16_set1(-MODEL__ERF_LIMIT)), v16_set1(MODEL__ERF_LIMIT));
    v16 t = v16_mul(limited, limited);
    v16 p = v16_set1(MODEL__ERF_P5);
    p = v16_fma(p, t, v16_set1(MODEL__ERF_P4));
    p = v16_fma(p, t, v16_set1(MODEL__ERF_P3));
    p = v16_fma(p, t, v16_set1(MODEL__ERF_P2));
    p = v16_fma(p, t, v16_set1(MODEL__ERF_P1));
    p = v16_fma(p, t, v16_set1(MODEL__ERF_P0));
    v16 q = v16_set1(MODEL__ERF_Q5);
    q = v16_fma(q, t, v16_set1(MODEL__ERF_Q4));
    q = v16_fma(q, t, v16_set1(MODEL__ERF_Q3));
    q = v16_fma(q, t, v16_set1(MODEL__ERF_Q2));
    q = v16_fma(q, t, v16_set1(MODEL__ERF_Q1));
    q = v16_fma(q, t, v16_set1(MODEL__ERF_Q0));
    return v16_div(v16_mul(limited, p), q);
}

KERNEL void gelu(size_t n, float *x)
{
    for (size_t i = 0; i < n; i += 16) {
        v16 v = v16_load(x + i);
        v16 half = v16_mul(v16_set1(0.5f), v);
        v16_store(x + i, v16_fma(half, erf_of(v16_mul(v, v16_set1(MODEL__SQRT_HALF))), half));
    }
}

KERNEL void recur(int H, const float *lambda, const float *u, float *h)
{
    const v16 zero = v16_set1(0.0f);
    for (int i = 0; i < H; i += 16) {
        v16 real = v16_load(lambda + i), imaginary = v16_load(lambda + H + i);
        v16 gamma = v16_load(lambda + 2 * H + i);
        v16 re = v16_load(h + i), im = v16_load(h + H + i);
        v16 u_re = v16_mul(gamma, v16_load(u + i)), u_im = v16_mul(gamma, v16_load(u + H + i));
        v16_store(h + i, v16_fma(real, re, v16_fma(v16_sub(zero, imaginary), im, u_re)));
        v16_store(h + H + i, v16_fma(real, im, v16_fma(imaginary, re, u_im)));
    }
}

KERNEL float dot(int D, const float *a, const float *b)
{
    v16 chain = v16_set1(0.0f);
    for (int j = 0; j < D; j += 16)
        chain = v16_fma(v16_load(a + j), v16_load(b + j), chain);
    return v16_sum(chain);
}

/* ---- gates and attention ---- */

INLINE v16 exp_of(v16 x)
{
    x = v16_max(x, v16_set1(MODEL__EXP_LEAST));
    v16 bits = v16_fma(x, v16_set1(MODEL__EXP_PER_LN2), v16_set1(MODEL__EXP_ROUND));
    v16 k = v16_sub(bits, v16_set1(MODEL__EXP_ROUND));
    v16 r = v16_fma(k, v16_set1(-MODEL__EXP_LN2_UPPER), x);
    r = v16_fma(k, v16_set1(-MODEL__EXP_LN2_LOWER), r);
    v16 q = v16_set1(MODEL__EXP_Q4);
    q = v16_fma(q, r, v16_set1(MODEL__EXP_Q3));
    q = v16_fma(q, r, v16_set1(MODEL__EXP_Q2));
    q = v16_fma(q, r, v16_set1(MODEL__EXP_Q1));
    q = v16_fma(q, r, v16_set1(MODEL__EXP_Q0));
    return v16_times_2(v16_add(v16_fma(q, v16_mul(r, r), r), v16_set1(1.0f)), bits);
}

INLINE v16 sigmoid_of(v16 v)
{
    v16 x = v16_min(v16_sub(v16_set1(0.0f), v), v16_set1(MODEL__SIGMOID_MOST));
    return v16_div(v16_set1(1.0f), v16_add(v16_set1(1.0f), exp_of(x)));
}

KERNEL void gate(int H, const float *u, const float *s, float *h)
{
    for (int i = 0; i < H; i += 16) {
        v16 r = sigmoid_of(v16_add(v16_load(u + i), v16_load(s + i)));
        v16 z = sigmoid_of(v16_add(v16_load(u + H + i), v16_load(s + H + i)));
        v16 x = v16_fma(r, v16_load(s + 2 * H + i), v16_load(u + 2 * H + i));
        v16 n = v16_fma(v16_set1(2.0f), sigmoid_of(v16_add(x, x)), v16_set1(-1.0f));
        v16_store(h + i, v16_fma(z, v16_sub(v16_load(h + i), n), n));
    }
}

/* weight[0..16 G) <- query times G groups of columns of the keys, which begin at `keys`. */
INLINE void scores_pass(int G, const struct model__head *head, float scale, const float *query,
                        const float *keys, float *weight)
{
    v16 sum[4];
    UNROLL for (int g = 0; g < G; g++) sum[g] = v16_set1(0.0f);
    for (int j = 0; j < head->d; j++) {
        v16 q_j = v16_set1(query[j] * scale);
        const float *keys_j = keys + (size_t)j * (size_t)head->stride;
        UNROLL for (int g = 0; g < G; g++) sum[g] = v16_fma(q_j, v16_load(keys_j + 16 * g), sum[g]);
    }
    UNROLL for (int g = 0; g < G; g++) v16_store(weight + 16 * g, sum[g]);
}

/* As soften in kernels_plain.c; weight has room for n rounded up to 16. */
INLINE float soften(int n, float *weight)
{
    float lanes[16], largest;
    int end = (n + 15) / 16 * 16;
    for (int s = n; s < end; s++)
        weight[s] = -INFINITY;
    v16 most = v16_load(weight), sum = v16_set1(0.0f);
    for (int s = 16; s < end; s += 16)
        most = v16_max(v16_load(weight + s), most);
    v16_store(lanes, most);
    largest = lanes[0];
    for (int l = 1; l < 16; l++)
        largest = lanes[l] > largest ? lanes[l] : largest;
    for (int s = 0; s < end; s += 16) {
        v16 e = exp_of(v16_sub(v16_load(weight + s), v16_set1(largest)));
        v16_store(weight + s, e);
        sum = v16_add(sum, e);
    }
    return v16_sum(sum);
}

/* 16 columns of the weighted sum of values. */
INLINE v16 weigh(int n, const float *weight, const float *values, size_t width)
{
    v16 chain[4];
    UNROLL for (int c = 0; c < 4; c++) chain[c] = v16_set1(0.0f);
    int s = 0;
    for (; s + 4 <= n; s += 4) {
        UNROLL for (int c = 0; c < 4; c++) chain[c] =
            v16_fma(v16_set1(weight[s + c]), v16_load(values + (size_t)(s + c) * width), chain[c]);
    }
    for (int c = 0; s + c < n; c++)
        chain[c] =
            v16_fma(v16_set1(weight[s + c]), v16_load(values + (size_t)(s + c) * width), chain[c]);
    return v16_add(v16_add(chain[0], chain[2]), v16_add(chain[1], chain[3]));
}

KERNEL void attend(const struct model__head *head, float scale, const float *query, float *weight,
                   float *out)
{
    int s = 0, n = head->n;
    for (; s + 48 < n; s += 64)
        scores_pass(4, head, scale, query, head->keys + s, weight + s);
    for (; s < n; s += 16)
        scores_pass(1, head, scale, query, head->keys + s, weight + s);
    v16 share = v16_set1(1.0f / soften(n, weight));
    for (int j = 0; j < head->d; j += 16)
        v16_store(out + j, v16_mul(weigh(n, weight, head->values + j, (size_t)head->width), share));
}

KERNEL void turn_rows(int rows, int n, const float *turn, const float *x, const float *other,
                      float *out)
{
    for (int r = 0; r < rows; r++, x += n, other += n, out += n)
        for (int i = 0; i < n; i += 16)
            v16_store(out + i, v16_fma(v16_load(x + i), v16_load(turn + i),
                                       v16_mul(v16_load(other + i), v16_load(turn + n + i))));
}

/* ---- scan ---- */

/* U users by G groups of 16 items, kept in registers: approx[u][g] written. codes: of the first group. */
INLINE void scan_pass(int U, int G, int D, const struct model__scan_tile *tile, int first_group,
                      const struct model__scan_user *user,
                      v16 approx[MODEL__SCAN_USERS][SCAN_GROUPS])
{
    const uint8_t *codes = tile->codes + (size_t)first_group * 16 * (size_t)D;
    i16 sum[MODEL__SCAN_USERS][SCAN_GROUPS];
    UNROLL for (int u = 0; u < U; u++)
    {
        UNROLL for (int g = 0; g < G; g++) sum[u][g] = i16_set1(user[u].start);
    }
    for (int k = 0; k < D / 4; k++) {
        i16 line[SCAN_GROUPS];
        UNROLL for (int g = 0; g < G; g++) line[g] =
            i16_load(codes + (size_t)g * 16 * (size_t)D + (size_t)k * 64);
        UNROLL for (int u = 0; u < U; u++)
        {
            int32_t four;
            memcpy(&four, user[u].codes + 4 * k, sizeof four);
            i16 q = i16_set1(four);
            UNROLL for (int g = 0; g < G; g++) sum[u][g] = i16_dot4(sum[u][g], line[g], q);
        }
    }
    UNROLL for (int g = 0; g < G; g++)
    {
        v16 scale = v16_load(tile->scale + 16 * (first_group + g));
        v16 bias = v16_load(tile->bias + 16 * (first_group + g));
        UNROLL for (int u = 0; u < U; u++) approx[u][g] =
            v16_fma(v16_mul(v16_of_i16(sum[u][g]), scale), v16_set1(user[u].scale), bias);
    }
}

INLINE void scan_scores_of(int U, int D, const struct model__scan_tile *tile,
                           const struct model__scan_user *user, float *out)
{
    v16 approx[MODEL__SCAN_USERS][SCAN_GROUPS];
    for (int g = 0; g < MODEL__SCAN_TILE / 16; g += SCAN_GROUPS) {
        scan_pass(U, SCAN_GROUPS, D, tile, g, user, approx);
        UNROLL for (int u = 0; u < U; u++)
        {
            UNROLL for (int i = 0; i < SCAN_GROUPS; i++)
                v16_store(out + u * MODEL__SCAN_TILE + 16 * (g + i), approx[u][i]);
        }
    }
}

INLINE void scan_hits_of(int U, int D, const struct model__scan_tile *tile,
                         const struct model__scan_user *user, uint16_t *hits)
{
    v16 approx[MODEL__SCAN_USERS][SCAN_GROUPS];
    for (int g = 0; g < MODEL__SCAN_TILE / 16; g += SCAN_GROUPS) {
        scan_pass(U, SCAN_GROUPS, D, tile, g, user, approx);
        UNROLL for (int u = 0; u < U; u++)
        {
            v16 threshold = v16_set1(user[u].threshold);
            UNROLL for (int i = 0; i < SCAN_GROUPS; i++) hits[u * (MODEL__SCAN_TILE / 16) + g + i] =
                v16_reaches(approx[u][i], threshold);
        }
    }
}

KERNEL void scan_scores(int D, const struct model__scan_tile *tile, int n,
                        const struct model__scan_user *user, float *approx)
{
    if (n == MODEL__SCAN_USERS) {
        scan_scores_of(MODEL__SCAN_USERS, D, tile, user, approx);
        return;
    }
    for (int u = 0; u < n; u++)
        scan_scores_of(1, D, tile, user + u, approx + u * MODEL__SCAN_TILE);
}

KERNEL void scan_hits(int D, const struct model__scan_tile *tile, int n,
                      const struct model__scan_user *user, uint16_t *hits)
{
    if (n == MODEL__SCAN_USERS) {
        scan_hits_of(MODEL__SCAN_USERS, D, tile, user, hits);
        return;
    }
    for (int u = 0; u < n; u++)
        scan_hits_of(1, D, tile, user + u, hits + u * (MODEL__SCAN_TILE / 16));
}

KERNEL void raise(int n, const float *a, float shift, float *lanes)
{
    for (int i = 0; i < n; i += 16)
        v16_store(lanes + i,
                  v16_max(v16_sub(v16_load(a + i), v16_set1(shift)), v16_load(lanes + i)));
}

KERNEL int count_reaching(int n, const float *a, float x)
{
    int count = 0;
    for (int i = 0; i < n; i += 16)
        count += __builtin_popcount(v16_reaches(v16_load(a + i), v16_set1(x)));
    return count;
}

KERNEL int find_reaching(int n, const float *a, float x, uint16_t *hits)
{
    int count = 0;
    for (int i = 0; i < n; i += 16) {
        hits[i / 16] = v16_reaches(v16_load(a + i), v16_set1(x));
        count += __builtin_popcount(hits[i / 16]);
    }
    return count;
}

KERNEL void dots(int D, int n, const float *const *a, const float *const *b, float *out)
{
    for (int i = 0; i < n; i++) {
        v16 chain = v16_set1(0.0f);
        for (int j = 0; j < D; j += 16)
            chain = v16_fma(v16_load(a[i] + j), v16_load(b[i] + j), chain);
        out[i] = v16_sum(chain);
    }
}

KERNEL void rank_keys(int n, const uint64_t *key, uint8_t *rank)
{
    for (int i = 0; i < n; i++) {
        int larger = 0;
        for (int j = 0; j < n; j += 8)
            larger += u8_count_larger(key + j, n - j < 8 ? n - j : 8, key[i]);
        rank[i] = (uint8_t)larger;
    }
}

#define KERNELS_OF_TEMPLATE                                                                        \
    .matmul = matmul, .norm = norm, .gelu = gelu, .recur = recur, .gate = gate, .attend = attend,  \
    .turn = turn_rows, .dot = dot, .dots = dots, .rank = rank_keys, .raise = raise,                \
    .count_reaching = count_reaching, .find_reaching = find_reaching,                              \
    .user_code_max = USER_CODE_MAX

const struct model__kernels KERNELS_TABLE = {
    KERNELS_OF_TEMPLATE,
    .name = KERNELS_NAME,
    .scan_scores = scan_scores,
    .scan_hits = scan_hits,
    .scan_users = MODEL__SCAN_USERS,
};
