/* AdamW in shares against its formula in double, one number at a time. */
#include "tests/test.h"

#include "base/mem.h"
#include "base/rng.h"
#include "train/adamw.h"

static const struct model_config config = {.N = 700, .D = 16, .H = 16, .L = 1, .F = 32};

struct reference {
    double *param, *mean, *square;
};

/* Loshchilov and Hutter 2019, algorithm 2, beta 0.9 and 0.999, on element i. */
static void ref_step(struct reference *r, size_t i, double g, int t, double rate, double decay)
{
    r->mean[i] = 0.9 * r->mean[i] + 0.1 * g;
    r->square[i] = 0.999 * r->square[i] + 0.001 * g * g;
    double mean = r->mean[i] / (1 - pow(0.9, t)), square = r->square[i] / (1 - pow(0.999, t));
    r->param[i] -= rate * decay * r->param[i] + rate * mean / (sqrt(square) + 1e-8);
}

/* Is element i of a row or tensor that a step looks at, and does it decay? */
static bool is_looked_at(const struct train__adamw *adamw, const uint8_t *touched, size_t i,
                         bool *decays)
{
    for (int t = 0; t < adamw->n; t++) {
        const struct model_param *param = &adamw->table[t];
        if (i < param->offset || i >= param->offset + param->count) continue;
        *decays = param->n_dims > 1;
        return t > 0 || touched[(i - param->offset) / (size_t)config.D];
    }
    return false;
}

static void like_its_formula(void)
{
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    size_t n = model_params_floats(&config), block = n * sizeof(float);
    float *params = mem_aligned(64, block), *a = mem_aligned(64, block),
          *b = mem_aligned(64, block);
    struct reference r = {mem_zalloc(n * sizeof(double)), mem_zalloc(n * sizeof(double)),
                          mem_zalloc(n * sizeof(double))};
    double *sum = mem_alloc(n * sizeof(double));
    uint8_t touched[700];
    struct train__adamw adamw;
    train__adamw_init(&adamw, &config);
    for (size_t i = 0; i < n; i++)
        r.param[i] = (double)(params[i] = (float)rng_normal(&rng));
    for (int t = 1; t <= 8; t++) {
        int shares = t % 3 + 1;
        double rate = 0.01 * t, decay = 0.1, clip = t % 2 ? 0 : 3, squares = 0, want = 0;
        bool decays = false;
        for (int i = 0; i < config.N; i++)
            touched[i] = t == 1 || rng_below(&rng, 3) == 0;
        for (size_t i = 0; i < n; i++) {
            sum[i] = 0;
            if (!is_looked_at(&adamw, touched, i, &decays)) continue;
            a[i] = (float)rng_normal(&rng);
            b[i] = (float)rng_normal(&rng);
            sum[i] = (double)(a[i] + b[i]);
            want += sum[i] * sum[i];
        }
        for (int s = 0; s < shares; s++)
            squares +=
                train__adamw_merge(&adamw, a, b, touched, (struct train__adamw_share){s, shares});
        CHECK_NEAR(squares, want, 1e-5 * want);
        train__adamw_begin(&adamw, squares, rate, decay, clip);
        for (int s = 0; s < shares; s++)
            train__adamw_step(&adamw, params, a, touched, (struct train__adamw_share){s, shares});
        double scale = clip > 0 ? clip / sqrt(want) : 1;
        for (size_t i = 0; i < n; i++) {
            if (is_looked_at(&adamw, touched, i, &decays))
                ref_step(&r, i, scale * sum[i], t, rate, decays ? decay : 0);
            CHECK_NEAR(params[i], r.param[i], 2e-5 * (1 + fabs(r.param[i])));
            CHECK(a[i] == 0 && b[i] == 0);
        }
    }
    train__adamw_fini(&adamw);
    mem_free(params);
    mem_free(a);
    mem_free(b);
    mem_free(r.param);
    mem_free(r.mean);
    mem_free(r.square);
    mem_free(sum);
}

int main(void)
{
    CASE(like_its_formula);
    return 0;
}
