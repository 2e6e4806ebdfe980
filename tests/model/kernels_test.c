/* The vector kernels against plain C, to the bit, for every shape of remainder; gelu against libm. */

#include "tests/test.h"

#include "base/mem.h"
#include "base/rng.h"
#include "model/internal.h"

static uint64_t seed;

static const char *const names[] = {"avx2", "avx512"};

static float *normals(struct rng *rng, size_t n)
{
    float *p = mem_aligned(64, n * sizeof *p);
    for (size_t i = 0; i < n; i++)
        p[i] = (float)rng_normal(rng);
    return p;
}

/* out[b,j] by its definition, from the matrix before packing. */
static void reference(int B, int n, int m, const float *x, const float *W, const float *bias,
                      float *out)
{
    for (int b = 0; b < B; b++)
        for (int j = 0; j < m; j++) {
            float sum = bias[j];
            for (int k = 0; k < n; k++)
                sum = fmaf(x[b * n + k], W[k * m + j], sum);
            out[b * m + j] = sum;
        }
}

static void case_matmul(void)
{
    struct rng rng;
    rng_init(&rng, seed);
    for (int round = 0; round < 60; round++) {
        int B = 1 + (int)rng_below(&rng, 20), n = 16 * (1 + (int)rng_below(&rng, 20));
        int m = 16 * (1 + (int)rng_below(&rng, 12));
        float *x = normals(&rng, (size_t)(B * n)), *W = normals(&rng, (size_t)(n * m));
        float *bias = normals(&rng, (size_t)m), *packed = normals(&rng, (size_t)(n * m));
        float *want = normals(&rng, (size_t)(B * m)), *got = normals(&rng, (size_t)(B * m));
        size_t bytes = (size_t)(B * m) * sizeof(float);
        model__pack(n, m, W, packed);
        reference(B, n, m, x, W, bias, want);
        model__kernels_plain.matmul(B, n, m, x, packed, bias, got);
        CHECK_BYTES(got, bytes, want, bytes);
        for (int k = 0; k < 2; k++) {
            const struct model__kernels *kernels = model__kernels_named(names[k], 64);
            if (kernels == NULL) continue;
            kernels->matmul(B, n, m, x, packed, bias, got);
            CHECK_BYTES(got, bytes, want, bytes);
        }
        mem_free(x), mem_free(W), mem_free(bias), mem_free(packed), mem_free(want), mem_free(got);
    }
}

static void case_rows(void)
{
    enum { B = 5, D = 80 };
    struct rng rng;
    rng_init(&rng, seed + 1);
    float *a = normals(&rng, B * D), *c = normals(&rng, B * D), *weight = normals(&rng, D);
    float *bias = normals(&rng, D), *want = normals(&rng, B * D), *got = normals(&rng, B * D);
    size_t bytes = B * D * sizeof(float);
    for (int k = 0; k < 2; k++) {
        const struct model__kernels *kernels = model__kernels_named(names[k], 64);
        if (kernels == NULL) continue;
        for (int both = 0; both < 2; both++) {
            model__kernels_plain.norm(B, D, a, both ? c : NULL, weight, bias, want);
            kernels->norm(B, D, a, both ? c : NULL, weight, bias, got);
            CHECK_BYTES(got, bytes, want, bytes);
        }
        model__kernels_plain.gelu(B * D, want);
        kernels->gelu(B * D, got);
        CHECK_BYTES(got, bytes, want, bytes);
        model__kernels_plain.recur(32, a, c, want);
        kernels->recur(32, a, c, got);
        CHECK_BYTES(got, bytes, want, bytes);
        for (int n = 16; n <= D; n += 16) {
            float x = model__kernels_plain.dot(n, a, c), y = kernels->dot(n, a, c);
            CHECK_BYTES(&x, sizeof x, &y, sizeof y);
            uint16_t x_hits[D / 16], y_hits[D / 16];
            CHECK_INT(model__kernels_plain.count_reaching(n, a, 0.3f),
                      kernels->count_reaching(n, a, 0.3f));
            CHECK_INT(model__kernels_plain.find_reaching(n, a, 0.3f, x_hits),
                      kernels->find_reaching(n, a, 0.3f, y_hits));
            CHECK_BYTES(x_hits, (size_t)n / 8, y_hits, (size_t)n / 8);
        }
        model__kernels_plain.raise(D, a, 0.1f, want);
        kernels->raise(D, a, 0.1f, got);
        CHECK_BYTES(got, bytes, want, bytes);
    }
    mem_free(a), mem_free(c), mem_free(weight), mem_free(bias), mem_free(want), mem_free(got);
}

/* gelu(v) = v/2 (1 + erf): erf is off by at most 4e-7, so gelu by at most |v| 2e-7 and its roundings. */
static void case_gelu(void)
{
    for (float v = -12.0f; v < 12.0f; v += 0.0007f) {
        float x[16] = {v};
        model__kernels_plain.gelu(16, x);
        double want = 0.5 * (double)v * (1.0 + erf((double)v / sqrt(2.0)));
        CHECK_NEAR(x[0], want, 4e-7 * (1.0 + fabs((double)v)));
    }
    float big[16] = {1e30f, -1e30f, 0.0f};
    model__kernels_plain.gelu(16, big);
    CHECK_NEAR(big[0] / 1e30f, 1.0, 1e-6);
    CHECK_NEAR(big[1] / 1e30f, 0.0, 1e-6);
    CHECK_NEAR(big[2], 0.0, 0.0);
}

/* gate against tanh and the logistic function of libm, and each instruction set against plain. */
static void case_gate(void)
{
    struct rng rng;
    rng_init(&rng, seed + 1);
    for (int round = 0; round < 60; round++) {
        int H = 16 * (1 + (int)rng_below(&rng, 9));
        size_t bytes = (size_t)H * sizeof(float);
        float *u = normals(&rng, 3 * (size_t)H), *s = normals(&rng, 3 * (size_t)H);
        float *h = normals(&rng, (size_t)H), *want = normals(&rng, (size_t)H);
        float *got = normals(&rng, (size_t)H);
        for (int i = 0; i < 3 * H; i++)
            u[i] *= powf(10.0f, (float)(round % 6) - 3.0f);
        memcpy(want, h, bytes);
        model__kernels_plain.gate(H, u, s, want);
        for (int i = 0; i < H; i++) {
            double r = 1 / (1 + exp(-(double)u[i] - (double)s[i]));
            double z = 1 / (1 + exp(-(double)u[H + i] - (double)s[H + i]));
            double n = tanh((double)u[2 * H + i] + r * (double)s[2 * H + i]);
            CHECK_NEAR(want[i], n + z * ((double)h[i] - n), 5e-7 * (1 + fabs((double)h[i])));
        }
        for (int k = 0; k < 2; k++) {
            const struct model__kernels *kernels = model__kernels_named(names[k], 64);
            if (kernels == NULL) continue;
            memcpy(got, h, bytes);
            kernels->gate(H, u, s, got);
            CHECK_BYTES(got, bytes, want, bytes);
        }
        mem_free(u), mem_free(s), mem_free(h), mem_free(want), mem_free(got);
    }
}

/* One head in double, by the definition of softmax. */
static void reference_attend(const struct model__head *head, double scale, const float *query,
                             double *out)
{
    double weight[512], sum = 0;
    for (int s = 0; s < head->n; s++) {
        double score = 0;
        for (int j = 0; j < head->d; j++)
            score += scale * (double)query[j] * (double)head->keys[j * head->stride + s];
        sum += weight[s] = exp(score);
    }
    for (int j = 0; j < head->d; j++) {
        out[j] = 0;
        for (int s = 0; s < head->n; s++)
            out[j] += weight[s] / sum * (double)head->values[s * head->width + j];
    }
}

static void case_attend(void)
{
    struct rng rng;
    rng_init(&rng, seed + 2);
    for (int round = 0; round < 80; round++) {
        int d = 16 * (1 + (int)rng_below(&rng, 4)), n = 1 + (int)rng_below(&rng, 300);
        int stride = (n + 15) / 16 * 16 + 16 * (int)rng_below(&rng, 3), width = 3 * d;
        size_t bytes = (size_t)d * sizeof(float);
        float *keys = normals(&rng, (size_t)(d * stride)), *weight = normals(&rng, (size_t)stride);
        float *values = normals(&rng, (size_t)(n * width)), *query = normals(&rng, (size_t)d);
        float want[64], got[64];
        double exact[64];
        struct model__head head = {d, n, stride, width, keys, values};
        model__kernels_plain.attend(&head, 0.7f, query, weight, want);
        reference_attend(&head, (double)0.7f, query, exact);
        for (int j = 0; j < d; j++)
            CHECK_NEAR(want[j], exact[j], 2e-5);
        for (int j = 0; j < d; j++) /* behind the n stands anything */
            for (int s = n; s < stride; s++)
                keys[j * stride + s] = rng_below(&rng, 2) ? NAN : INFINITY;
        for (int k = 0; k < 2; k++) {
            const struct model__kernels *kernels = model__kernels_named(names[k], 64);
            if (kernels == NULL) continue;
            kernels->attend(&head, 0.7f, query, weight, got);
            CHECK_BYTES(got, bytes, want, bytes);
        }
        mem_free(keys), mem_free(weight), mem_free(values), mem_free(query);
    }
}

/* exp through attend: over two positions with the scores 0 and -v, the first value 0 and the second 1, a head's
 * output is exp(-v) / (1 + exp(-v)). */
static void case_exp(void)
{
    float keys[16 * 16] = {0}, values[2 * 16] = {0}, query[16] = {1.0f}, weight[16], out[16];
    struct model__head head = {16, 2, 16, 16, keys, values};
    for (int j = 0; j < 16; j++)
        values[16 + j] = 1.0f;
    for (float v = 0.0f; v < 85.0f; v += 0.004f) {
        keys[1] = -v;
        model__kernels_plain.attend(&head, 1.0f, query, weight, out);
        double want = exp(-(double)v) / (1.0 + exp(-(double)v));
        CHECK_NEAR((double)out[0] / want, 1.0, 3e-7);
    }
    keys[1] = -1e30f;
    model__kernels_plain.attend(&head, 1.0f, query, weight, out);
    CHECK_NEAR(out[0], 0.0, 1e-37);
}

static void case_turn(void)
{
    enum { ROWS = 3, N = 48 };
    struct rng rng;
    rng_init(&rng, seed + 3);
    float *x = normals(&rng, ROWS * N), *other = normals(&rng, ROWS * N);
    float *turn = normals(&rng, 2 * N), *want = normals(&rng, ROWS * N);
    float *got = normals(&rng, ROWS * N);
    size_t bytes = ROWS * N * sizeof(float);
    model__kernels_plain.turn(ROWS, N, turn, x, other, want);
    for (int i = 0; i < ROWS * N; i++)
        CHECK_NEAR(want[i],
                   (double)x[i] * (double)turn[i % N] + (double)other[i] * (double)turn[N + i % N],
                   1e-5);
    for (int k = 0; k < 2; k++) {
        const struct model__kernels *kernels = model__kernels_named(names[k], 64);
        if (kernels == NULL) continue;
        kernels->turn(ROWS, N, turn, x, other, got);
        CHECK_BYTES(got, bytes, want, bytes);
    }
    mem_free(x), mem_free(other), mem_free(turn), mem_free(want), mem_free(got);
}

/* The table covers the block in order, without overlap, and finds what it lists. */
static void case_parameter_table(void)
{
    struct model_config config = {
        .N = 33, .D = 48, .H = 32, .L = 3, .F = 64, .n_types = 11, .n_gaps = 7};
    struct model_param table[MODEL_MAX_PARAMS];
    CHECK(model_config_check(&config) == NULL);
    int n = model_params(&config, table);
    CHECK_INT(n, 6 + 3 * 15);
    size_t end = 0;
    for (int p = 0; p < n; p++) {
        size_t count = 1;
        for (int d = 0; d < table[p].n_dims; d++)
            count *= (size_t)table[p].dims[d];
        CHECK_INT(table[p].count, count);
        CHECK_INT(table[p].offset % 16, 0);
        CHECK(table[p].offset >= end && table[p].offset < end + 16);
        end = table[p].offset + count;
    }
    CHECK_INT(model_params_floats(&config), (end + 15) / 16 * 16);
    CHECK_STR(table[0].name, "item.embedding");
    CHECK_STR(table[n - 1].name, "block.2.ffn.norm.bias");
    CHECK_INT(model_param_offset(&config, MODEL_FFN_NORM_BIAS, 2), table[n - 1].offset);
    config.n_types = 0;
    CHECK_INT(model_params(&config, table), n - 1);
    CHECK(model_param_offset(&config, MODEL_TYPE_EMBEDDING, 0) == SIZE_MAX);
    config.D = 50;
    CHECK(model_config_check(&config) != NULL);
    config.D = 48;
    config.encoder = ENCODER_GRU;
    CHECK(model_config_check(&config) == NULL);
    CHECK_INT(model_params(&config, table), 5 + 3 * 14);
    CHECK_INT(model_param_rows(&config, MODEL_GRU_STATE_WEIGHT), 32);
    CHECK_INT(model_param_cols(&config, MODEL_GRU_STATE_WEIGHT), 96);
    CHECK_INT(model_param_rows(&config, MODEL_LRU_NU_LOG), 0);
    config.heads = 2;
    CHECK(model_config_check(&config) != NULL);
}

int main(void)
{
    seed = TEST_SEED();
    CASE(case_matmul);
    CASE(case_rows);
    CASE(case_gelu);
    CASE(case_gate);
    CASE(case_attend);
    CASE(case_exp);
    CASE(case_turn);
    CASE(case_parameter_table);
    return 0;
}
