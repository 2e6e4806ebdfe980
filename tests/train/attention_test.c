/* Attention over one sequence against a naive version in double, forward and by central differences, with and without rotary
 * positions and dropout, for lengths around the groups of 16. */
#include "tests/test.h"

#include "base/mem.h"
#include "base/rng.h"
#include "model/model.h"
#include "train/attention.h"
#include "train/encoder.h"

enum { H = 64, HEADS = 2, D_HEAD = H / HEADS, T_MAX = 40, ROW = 3 * H };

static uint64_t seed;

/* out (T,H) of qkv (T,3H), by the definition. kept (HEADS,T,T): what dropout multiplies each weight with. */
static void reference(int T, bool rotary, const double *qkv, const double *kept, double *out)
{
    static double turned[T_MAX * ROW];
    memcpy(turned, qkv, (size_t)(T * ROW) * sizeof(double));
    for (int t = 0; t < T && rotary; t++)
        for (int c = 0; c < 2 * H; c++) {
            int i = c % D_HEAD % (D_HEAD / 2);
            bool is_low = c % D_HEAD < D_HEAD / 2;
            double angle = t * pow(10000.0, -2.0 * i / D_HEAD);
            double other = qkv[t * ROW + (is_low ? c + D_HEAD / 2 : c - D_HEAD / 2)];
            turned[t * ROW + c] =
                qkv[t * ROW + c] * cos(angle) + (is_low ? -other : other) * sin(angle);
        }
    for (int h = 0; h < HEADS; h++)
        for (int t = 0; t < T; t++) {
            double weight[T_MAX], sum = 0;
            for (int s = 0; s <= t; s++) {
                double score = 0;
                for (int j = h * D_HEAD; j < (h + 1) * D_HEAD; j++)
                    score += turned[t * ROW + j] * turned[s * ROW + H + j];
                sum += weight[s] = exp(score / sqrt((double)D_HEAD));
            }
            for (int j = h * D_HEAD; j < (h + 1) * D_HEAD; j++) {
                out[t * H + j] = 0;
                for (int s = 0; s <= t; s++)
                    out[t * H + j] +=
                        weight[s] / sum * kept[(h * T + t) * T + s] * turned[s * ROW + 2 * H + j];
            }
        }
}

/* The factors of dropout, read off the code: with zero queries every weight of row t is 1/(t+1) before it, and with values
 * that pick one column at a time the output is the weight. */
static void read_dropout(struct train__attention *a, int T, float rate, uint32_t from, double *kept)
{
    static float qkv[T_MAX * ROW], out[T_MAX * H];
    for (int first = 0; first < T; first += D_HEAD) {
        memset(qkv, 0, sizeof qkv);
        for (int s = first; s < T && s < first + D_HEAD; s++)
            for (int h = 0; h < HEADS; h++)
                qkv[s * ROW + 2 * H + h * D_HEAD + s - first] = 1.0f;
        train__attention_forward(a, T, qkv, rate, from, out);
        for (int h = 0; h < HEADS; h++)
            for (int t = 0; t < T; t++)
                for (int s = first; s <= t && s < first + D_HEAD; s++)
                    kept[(h * T + t) * T + s] =
                        (double)out[t * H + h * D_HEAD + s - first] * (t + 1);
    }
}

static void check(int T, bool rotary, float rate)
{
    static float qkv[T_MAX * ROW], out[T_MAX * H], grad[T_MAX * H], dqkv[T_MAX * ROW];
    static double exact[T_MAX * ROW], want[T_MAX * H], kept[HEADS * T_MAX * T_MAX];
    struct rng rng;
    struct train__attention a;
    rng_init(&rng, seed + (uint64_t)T);
    train__attention_init(&a, train__kernels_best(), H, HEADS, rotary);
    read_dropout(&a, T, rate, 5, kept);
    for (int i = 0; i < T * ROW; i++) {
        qkv[i] = (float)rng_normal(&rng);
        exact[i] = (double)qkv[i];
    }
    for (int i = 0; i < T * H; i++)
        grad[i] = (float)rng_normal(&rng);
    train__attention_forward(&a, T, qkv, rate, 5, out);
    reference(T, rotary, exact, kept, want);
    for (int i = 0; i < T * H; i++)
        CHECK_NEAR(out[i], want[i], 2e-5);
    train__attention_backward(&a, T, qkv, grad, rate, 5, dqkv);
    for (int trial = 0; trial < 60; trial++) {
        int i = (int)rng_below(&rng, (uint64_t)(T * ROW));
        double ends[2] = {0, 0}, at = exact[i];
        for (int side = 0; side < 2; side++) {
            exact[i] = at + (side ? -1e-5 : 1e-5);
            reference(T, rotary, exact, kept, want);
            for (int k = 0; k < T * H; k++)
                ends[side] += want[k] * (double)grad[k];
        }
        exact[i] = at;
        CHECK_NEAR(dqkv[i], (ends[0] - ends[1]) / 2e-5, 1e-4);
    }
    train__attention_fini(&a);
}

static void case_lengths(void)
{
    const int lengths[] = {1, 2, 15, 16, 17, 33, T_MAX};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
        for (int rotary = 0; rotary < 2; rotary++)
            check(lengths[i], rotary, 0.0f);
}

static void case_dropout(void)
{
    static double kept[HEADS * T_MAX * T_MAX];
    struct train__attention a;
    int zeros = 0, all = 0;
    train__attention_init(&a, train__kernels_best(), H, HEADS, false);
    read_dropout(&a, T_MAX, 0.25f, 9, kept);
    for (int h = 0; h < HEADS; h++)
        for (int t = 0; t < T_MAX; t++)
            for (int s = 0; s <= t; s++, all++) {
                double factor = kept[(h * T_MAX + t) * T_MAX + s];
                zeros += factor < 0.5;
                CHECK_NEAR(factor, factor < 0.5 ? 0.0 : 4.0 / 3, 1e-5);
            }
    CHECK(zeros > all / 5 && zeros < all * 3 / 10);
    train__attention_fini(&a);
    check(T_MAX, true, 0.4f);
    check(21, false, 0.4f);
}

/* One working memory for sequences of any length, in any order: as with a fresh one. */
static void case_reuse(void)
{
    static float first[T_MAX * ROW], again[T_MAX * ROW], grad[T_MAX * H];
    static float out[2][T_MAX * H], dqkv[2][T_MAX * ROW];
    const int lengths[] = {3, T_MAX, 18, 5};
    struct train__attention kept, fresh;
    struct rng rng;
    rng_init(&rng, seed);
    train__attention_init(&kept, train__kernels_best(), H, HEADS, true);
    for (int l = 0; l < 4; l++) {
        int T = lengths[l];
        for (int i = 0; i < T * ROW; i++)
            first[i] = again[i] = (float)rng_normal(&rng);
        for (int i = 0; i < T * H; i++)
            grad[i] = (float)rng_normal(&rng);
        train__attention_init(&fresh, train__kernels_best(), H, HEADS, true);
        train__attention_forward(&kept, T, first, 0.3f, 3, out[0]);
        train__attention_forward(&fresh, T, again, 0.3f, 3, out[1]);
        train__attention_backward(&kept, T, first, grad, 0.3f, 3, dqkv[0]);
        train__attention_backward(&fresh, T, again, grad, 0.3f, 3, dqkv[1]);
        size_t bytes = (size_t)T * H * sizeof(float);
        CHECK_BYTES(out[0], bytes, out[1], bytes);
        CHECK_BYTES(dqkv[0], 3 * bytes, dqkv[1], 3 * bytes);
        train__attention_fini(&fresh);
    }
    train__attention_fini(&kept);
}

/* ---- the whole encoder ---- */

enum { SEQUENCES = 4, P = 45 };

static const int starts[SEQUENCES + 1] = {0, 1, 19, 20, P};
static int32_t items[P], types[P], gaps[P], targets[P];
static const struct train__batch batch = {.n = SEQUENCES,
                                          .start = starts,
                                          .P = P,
                                          .item = items,
                                          .type = types,
                                          .gap = gaps,
                                          .target = targets};

static struct model_config config_of(bool rotary)
{
    return (struct model_config){.N = 31,
                                 .D = 32,
                                 .H = 64,
                                 .L = 2,
                                 .F = 48,
                                 .n_types = 11,
                                 .encoder = ENCODER_ATTENTION,
                                 .heads = 2,
                                 .positions = rotary ? 0 : 25,
                                 .window = 25,
                                 .rotary = rotary};
}

static float *lively_params(const struct model_config *config)
{
    struct rng rng;
    rng_init(&rng, seed + 1);
    size_t n = model_params_floats(config);
    float *params = mem_zalloc(n * sizeof(float));
    struct model_param table[MODEL_MAX_PARAMS];
    int count = model_params(config, table);
    for (int t = 0; t < count; t++) {
        bool is_scale = strstr(table[t].name, "norm.weight") != NULL;
        for (size_t i = 0; i < table[t].count; i++)
            params[table[t].offset + i] = (is_scale ? 1.0f : 0.0f) + 0.2f * (float)rng_normal(&rng);
    }
    for (int p = 0; p < P; p++) {
        items[p] = (int32_t)rng_below(&rng, (uint64_t)config->N);
        types[p] = (int32_t)rng_below(&rng, 11);
    }
    return params;
}

/* What is trained is what runs: the vector at each position is that of the model's steps. */
static void case_encoder_is_the_models(void)
{
    for (int rotary = 0; rotary < 2; rotary++) {
        struct model_config config = config_of(rotary);
        float *params = lively_params(&config);
        struct str ids[31];
        char text[31][4];
        for (int i = 0; i < config.N; i++)
            ids[i] = (struct str){text[i], (size_t)snprintf(text[i], 4, "%d", i)};
        struct model_parts parts = {
            .config = config, .params = params, .item_ids = ids, .tenant = "", .version = "v"};
        struct model *model;
        struct err err = ERR_INIT;
        CHECK_OK(model_from_params(&model, &parts, &err), err);
        struct model_scratch *scratch = model_scratch_new(model);
        float *state = mem_alloc((size_t)model_info(model).S * sizeof(float));
        struct train__encoder *encoder = train__encoder_new(&config);
        const float *x = train__encoder_forward(encoder, params, &batch, 0.0f, 1);
        for (int s = 0; s < SEQUENCES; s++) {
            model_state_init(model, state);
            for (int p = starts[s]; p < starts[s + 1]; p++) {
                struct model_input input = {.item = items[p], .type = types[p]};
                model_step(model, scratch, 1, &state, &input);
                for (int d = 0; d < config.D; d++)
                    CHECK_NEAR(x[p * config.D + d], model_state_vector(model, state)[d], 2e-5);
            }
        }
        train__encoder_free(encoder);
        mem_free(state);
        model_scratch_free(scratch);
        model_free(model);
        mem_free(params);
    }
}

/* sum of grad x vectors, in double. */
static double weighed(struct train__encoder *encoder, const float *params, const float *grad,
                      float rate, int n)
{
    const float *x = train__encoder_forward(encoder, params, &batch, rate, 7);
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)x[i] * (double)grad[i];
    return sum;
}

/* Each tensor's gradient along random directions against differences, with dropout, whose choices the seed fixes. */
static void check_encoder(bool rotary, float rate)
{
    struct model_config config = config_of(rotary);
    struct rng rng;
    rng_init(&rng, seed + 2);
    size_t floats = model_params_floats(&config);
    float *params = lively_params(&config), *grads = mem_zalloc(floats * sizeof(float));
    float *moved = mem_alloc(floats * sizeof(float));
    static float grad[P * 32], used[P * 32], direction[64 * 64 * 3];
    struct train__encoder *encoder = train__encoder_new(&config);
    for (int i = 0; i < P * config.D; i++)
        grad[i] = used[i] = (float)rng_normal(&rng);
    (void)weighed(encoder, params, grad, rate, P * config.D);
    train__encoder_backward(encoder, params, &batch, used, grads);
    struct model_param table[MODEL_MAX_PARAMS];
    int count = model_params(&config, table);
    for (int t = 0; t < count; t++) {
        if (strcmp(table[t].name, "item.bias") == 0) continue; /* not the encoder's */
        const double step = 1e-3;
        double slope = 0, ends[2], size = 0;
        for (size_t i = 0; i < table[t].count; i++) {
            direction[i] = (float)rng_normal(&rng);
            slope += (double)direction[i] * (double)grads[table[t].offset + i];
            size += pow((double)grads[table[t].offset + i], 2);
        }
        for (int side = 0; side < 2; side++) {
            memcpy(moved, params, floats * sizeof(float));
            for (size_t i = 0; i < table[t].count; i++)
                moved[table[t].offset + i] += (float)(side ? -step : step) * direction[i];
            ends[side] = weighed(encoder, moved, grad, rate, P * config.D);
        }
        double want = (ends[0] - ends[1]) / (2 * step);
        if (fabs(slope - want) > 0.02 + 0.01 * sqrt(size))
            test_fail(__FILE__, __LINE__, "%s: slope %g, by differences %g, gradient's length %g",
                      table[t].name, slope, want, sqrt(size));
        if (size < 1e-6) test_fail(__FILE__, __LINE__, "%s: no gradient", table[t].name);
    }
    train__encoder_free(encoder);
    mem_free(params);
    mem_free(grads);
    mem_free(moved);
}

static void case_encoder_gradients(void)
{
    check_encoder(true, 0.0f);
    check_encoder(false, 0.0f);
    check_encoder(true, 0.3f);
    check_encoder(false, 0.3f);
}

int main(void)
{
    seed = TEST_SEED();
    CASE(case_lengths);
    CASE(case_dropout);
    CASE(case_reuse);
    CASE(case_encoder_is_the_models);
    CASE(case_encoder_gradients);
    return 0;
}
