/* The encoder's and the loss's gradients, parameter by parameter, against central differences of a naive reference in
 * double that follows the formulas of model/model.h; and each instruction set against that reference's parts. */
#include "tests/test.h"

#include "base/mem.h"
#include "base/rng.h"
#include "train/content.h"
#include "train/encoder.h"
#include "train/kernels.h"
#include "train/loss.h"

enum { P = 9, N_SEQUENCES = 3 };

/* Every kind of encoder; a case works on the one in config. */
static const struct {
    const char *name;
    struct model_config config;
} kinds[] = {
    {"lru", {.N = 23, .D = 16, .H = 16, .L = 2, .F = 32, .n_types = 11, .n_gaps = 8}},
    {"gru",
     {.N = 23,
      .D = 16,
      .H = 16,
      .L = 2,
      .F = 32,
      .n_types = 11,
      .n_gaps = 8,
      .encoder = ENCODER_GRU}},
    {"attention, learnt positions",
     {.N = 23,
      .D = 16,
      .H = 32,
      .L = 2,
      .F = 32,
      .n_types = 11,
      .n_gaps = 8,
      .encoder = ENCODER_ATTENTION,
      .heads = 2,
      .positions = 6,
      .window = 6}},
    {"attention, rotary",
     {.N = 23,
      .D = 16,
      .H = 32,
      .L = 2,
      .F = 32,
      .n_types = 11,
      .n_gaps = 8,
      .encoder = ENCODER_ATTENTION,
      .heads = 2,
      .window = 6,
      .rotary = true}},
};
static struct model_config config;
enum { STATE_MAX = 6 * 3 * 32, WIDTH_MAX = 3 * 32 }; /* doubles: of a block's state, of u */

static const int starts[N_SEQUENCES + 1] = {0, 1, 6, 9};
static int32_t items[P], types[P], gaps[P], targets[P];
static const struct train__batch batch = {.n = N_SEQUENCES,
                                          .start = starts,
                                          .P = P,
                                          .item = items,
                                          .type = types,
                                          .gap = gaps,
                                          .target = targets};

/* ---- the reference ---- */

static size_t offsets[2][MODEL_TENSOR_COUNT];

static const double *part(const double *params, enum model_tensor tensor, int block)
{
    return params + offsets[block][tensor];
}

/* v <- norm(v), (D). */
static void ref_norm(double *v, const double *weight, const double *bias)
{
    double mean = 0, variance = 0;
    for (int d = 0; d < config.D; d++)
        mean += v[d] / config.D;
    for (int d = 0; d < config.D; d++)
        variance += (v[d] - mean) * (v[d] - mean) / config.D;
    for (int d = 0; d < config.D; d++)
        v[d] = (v[d] - mean) / sqrt(variance + 1e-5) * weight[d] + bias[d];
}

/* out (m) = x (n) W (n,m) + bias (m). */
static void ref_linear(int n, int m, const double *x, const double *W, const double *bias,
                       double *out)
{
    for (int j = 0; j < m; j++) {
        out[j] = bias[j];
        for (int k = 0; k < n; k++)
            out[j] += x[k] * W[k * m + j];
    }
}

/* What comes before: u (U) = x A + a at step t of a sequence, state (STATE_MAX) the block's; mixed (W) written. */
static void ref_lru(const double *params, int l, int t, const double *u, double *state,
                    double *mixed)
{
    int H = config.H;
    double *h = state;
    (void)t;
    for (int j = 0; j < H; j++) {
        double radius = exp(-exp(part(params, MODEL_LRU_NU_LOG, l)[j]));
        double angle = exp(part(params, MODEL_LRU_THETA_LOG, l)[j]);
        double gamma = exp(part(params, MODEL_LRU_GAMMA_LOG, l)[j]);
        double re = radius * cos(angle), im = radius * sin(angle);
        double h_re = re * h[j] - im * h[H + j] + gamma * u[j];
        h[H + j] = re * h[H + j] + im * h[j] + gamma * u[H + j];
        h[j] = h_re;
    }
    memcpy(mixed, h, 2 * (size_t)H * sizeof *h);
}

static double sigmoid(double v)
{
    return 1 / (1 + exp(-v));
}

static void ref_gru(const double *params, int l, int t, const double *u, double *state,
                    double *mixed)
{
    int H = config.H;
    double s[WIDTH_MAX];
    (void)t;
    ref_linear(H, 3 * H, state, part(params, MODEL_GRU_STATE_WEIGHT, l),
               part(params, MODEL_GRU_STATE_BIAS, l), s);
    for (int j = 0; j < H; j++) {
        double r = sigmoid(u[j] + s[j]), z = sigmoid(u[H + j] + s[H + j]);
        double n = tanh(u[2 * H + j] + r * s[2 * H + j]);
        state[j] = (1 - z) * n + z * state[j];
    }
    memcpy(mixed, state, (size_t)H * sizeof *mixed);
}

/* Turns one head (d) to its position. */
static void ref_turn(int d, int t, double *v)
{
    for (int i = 0; config.rotary && i < d / 2; i++) {
        double angle = t * pow(10000, -2.0 * i / d);
        double re = v[i] * cos(angle) - v[d / 2 + i] * sin(angle);
        v[d / 2 + i] = v[d / 2 + i] * cos(angle) + v[i] * sin(angle);
        v[i] = re;
    }
}

/* state: query, key and value of every step so far, (t + 1,3H). */
static void ref_attention(const double *params, int l, int t, const double *u, double *state,
                          double *mixed)
{
    int H = config.H, d = H / config.heads;
    double *now = state + 3 * H * t;
    (void)params;
    (void)l;
    memcpy(now, u, 3 * (size_t)H * sizeof *u);
    for (int j = 0; j < 2 * H; j += d)
        ref_turn(d, t, now + j);
    for (int head = 0; head < H; head += d) {
        double weight[6], sum = 0;
        for (int s = 0; s <= t; s++) {
            double score = 0;
            for (int j = head; j < head + d; j++)
                score += now[j] * state[3 * H * s + H + j];
            sum += weight[s] = exp(score / sqrt(d));
        }
        for (int j = head; j < head + d; j++) {
            mixed[j] = 0;
            for (int s = 0; s <= t; s++)
                mixed[j] += weight[s] / sum * state[3 * H * s + 2 * H + j];
        }
    }
}

static void (*const ref_mix[ENCODER_KINDS])(const double *, int, int, const double *, double *,
                                            double *) = {
    [ENCODER_LRU] = ref_lru,
    [ENCODER_GRU] = ref_gru,
    [ENCODER_ATTENTION] = ref_attention,
};

/* Step t of a sequence, which is position p: states (L,STATE_MAX); out (D). */
static void ref_step(const double *params, int p, int t, double *states, double *out)
{
    double u[WIDTH_MAX], mixed[WIDTH_MAX], y[64], wide[64];
    int D = config.D, F = config.F;
    int U = model_param_cols(&config, MODEL_MIX_IN_WEIGHT);
    int W = model_param_rows(&config, MODEL_MIX_OUT_WEIGHT);
    for (int d = 0; d < D; d++)
        out[d] = part(params, MODEL_ITEM_EMBEDDING, 0)[items[p] * D + d] +
                 part(params, MODEL_TYPE_EMBEDDING, 0)[types[p] * D + d] +
                 part(params, MODEL_GAP_EMBEDDING, 0)[gaps[p] * D + d] +
                 (config.positions ? part(params, MODEL_POSITION_EMBEDDING, 0)[t * D + d] : 0);
    ref_norm(out, part(params, MODEL_INPUT_NORM_WEIGHT, 0), part(params, MODEL_INPUT_NORM_BIAS, 0));
    for (int l = 0; l < config.L; l++) {
        ref_linear(D, U, out, part(params, MODEL_MIX_IN_WEIGHT, l),
                   part(params, MODEL_MIX_IN_BIAS, l), u);
        ref_mix[config.encoder](params, l, t, u, states + l * STATE_MAX, mixed);
        ref_linear(W, D, mixed, part(params, MODEL_MIX_OUT_WEIGHT, l),
                   part(params, MODEL_MIX_OUT_BIAS, l), y);
        for (int d = 0; d < D; d++)
            out[d] += y[d];
        ref_norm(out, part(params, MODEL_MIX_NORM_WEIGHT, l), part(params, MODEL_MIX_NORM_BIAS, l));
        ref_linear(D, F, out, part(params, MODEL_FFN_IN_WEIGHT, l),
                   part(params, MODEL_FFN_IN_BIAS, l), wide);
        for (int f = 0; f < F; f++)
            wide[f] *= 0.5 * (1 + erf(wide[f] / sqrt(2.0)));
        ref_linear(F, D, wide, part(params, MODEL_FFN_OUT_WEIGHT, l),
                   part(params, MODEL_FFN_OUT_BIAS, l), y);
        for (int d = 0; d < D; d++)
            out[d] += y[d];
        ref_norm(out, part(params, MODEL_FFN_NORM_WEIGHT, l), part(params, MODEL_FFN_NORM_BIAS, l));
    }
}

/* Mean cross-entropy of the batch; boost as in train/loss.h or NULL. vectors (P,D) written when not NULL. */
static double ref_loss(const double *params, const float *boost, double *vectors)
{
    double total = 0;
    for (int s = 0; s < N_SEQUENCES; s++) {
        double states[2 * STATE_MAX] = {0}, x[64];
        for (int p = starts[s]; p < starts[s + 1]; p++) {
            ref_step(params, p, p - starts[s], states, x);
            double sum = 0, own = 0;
            for (int i = 0; i < config.N; i++) {
                double logit = part(params, MODEL_ITEM_BIAS, 0)[i];
                for (int d = 0; d < config.D; d++)
                    logit += x[d] * part(params, MODEL_ITEM_EMBEDDING, 0)[i * config.D + d];
                if (boost && i == targets[p]) logit += (double)boost[i];
                sum += exp(logit);
                if (i == targets[p]) own = logit;
            }
            total += log(sum) - own;
            for (int d = 0; d < config.D && vectors; d++)
                vectors[p * config.D + d] = x[d];
        }
    }
    return total / P;
}

/* ---- the code under test ---- */

static float *make_params(uint64_t seed)
{
    struct rng rng;
    rng_init(&rng, seed);
    size_t n = model_params_floats(&config);
    float *params = mem_aligned(64, n * sizeof(float));
    model_params_init(&config, seed, params);
    struct model_param table[MODEL_MAX_PARAMS];
    int count = model_params(&config, table);
    for (int t = 0; t < count; t++) {
        for (size_t i = 0; i < table[t].count; i++)
            params[table[t].offset + i] += (float)(0.2 * rng_normal(&rng));
    }
    for (int p = 0; p < P; p++) {
        items[p] = (int32_t)rng_below(&rng, (uint64_t)config.N);
        targets[p] = (int32_t)rng_below(&rng, (uint64_t)config.N);
        types[p] = (int32_t)rng_below(&rng, 11);
        gaps[p] = (int32_t)rng_below(&rng, 8);
    }
    return params;
}

/* Mean loss by train/; grads (a block, zeroed here) written when not NULL. */
static double loss_of(struct train__encoder *encoder, struct train__loss *loss, const float *params,
                      const float *boost, float rate, float *grads)
{
    static float dx[P * 16], weight[32 * 16], bias[32];
    const float *x = train__encoder_forward(encoder, params, &batch, rate, 77);
    memset(weight, 0, sizeof weight);
    memset(bias, 0, sizeof bias);
    struct train__softmax args = {
        .P = P,
        .C = config.N,
        .D = config.D,
        .x = x,
        .weight = params + model_param_offset(&config, MODEL_ITEM_EMBEDDING, 0),
        .bias = params + model_param_offset(&config, MODEL_ITEM_BIAS, 0),
        .boost = boost,
        .target = targets,
        .scale = 1.0f / P,
        .dx = dx,
        .dweight = weight,
        .dbias = bias,
    };
    double total = train__loss_softmax(loss, &args) / P;
    if (!grads) return total;
    memset(grads, 0, model_params_floats(&config) * sizeof(float));
    memcpy(grads + model_param_offset(&config, MODEL_ITEM_EMBEDDING, 0), weight,
           (size_t)(config.N * config.D) * sizeof(float));
    memcpy(grads + model_param_offset(&config, MODEL_ITEM_BIAS, 0), bias,
           (size_t)config.N * sizeof(float));
    train__encoder_backward(encoder, params, &batch, dx, grads);
    return total;
}

static void every_parameter(void)
{
    uint64_t seed = TEST_SEED();
    float *params = make_params(seed);
    size_t n = model_params_floats(&config);
    float *grads = mem_aligned(64, n * sizeof(float));
    double *exact = mem_alloc(n * sizeof(double));
    float boost[32];
    for (int i = 0; i < 32; i++)
        boost[i] = -0.1f * (float)i;
    for (size_t i = 0; i < n; i++)
        exact[i] = (double)params[i];
    for (int t = 0; t < 2 * MODEL_TENSOR_COUNT; t++)
        offsets[t % 2][t / 2] = model_param_offset(&config, (enum model_tensor)(t / 2), t % 2);
    struct train__encoder *encoder = train__encoder_new(&config);
    struct train__loss *loss = train__loss_new(256); /* tiles of two rows */
    double vectors[P * 16];
    CHECK_NEAR(loss_of(encoder, loss, params, boost, 0, grads), ref_loss(exact, boost, vectors),
               1e-5);
    const float *x = train__encoder_forward(encoder, params, &batch, 0, 1);
    for (int i = 0; i < P * config.D; i++)
        CHECK_NEAR(x[i], vectors[i], 1e-4);
    struct model_param table[MODEL_MAX_PARAMS];
    int count = model_params(&config, table);
    for (int t = 0; t < count; t++) {
        double largest = 0;
        /* All of a small tensor, every n-th of a matrix, n odd so that rows and columns are met. */
        size_t stride = table[t].count / 100 | 1;
        for (size_t i = table[t].offset; i < table[t].offset + table[t].count; i += stride) {
            double value = exact[i], step = 1e-5;
            exact[i] = value + step;
            double above = ref_loss(exact, boost, NULL);
            exact[i] = value - step;
            double below = ref_loss(exact, boost, NULL);
            exact[i] = value;
            double want = (above - below) / (2 * step);
            if (fabs((double)grads[i] - want) > 1e-5 + 1e-3 * fabs(want))
                test_fail(__FILE__, __LINE__, "%s[%zu]: gradient %.9g, by differences %.9g",
                          table[t].name, i - table[t].offset, (double)grads[i], want);
            largest = fmax(largest, fabs(want));
        }
        /* A tensor whose gradient is nothing would check nothing. */
        if (largest < 1e-5)
            test_fail(__FILE__, __LINE__, "%s: all gradients are below %g", table[t].name, largest);
    }
    train__encoder_free(encoder);
    train__loss_free(loss);
    mem_free(params);
    mem_free(grads);
    mem_free(exact);
}

/* Features of the items: i has i % 3 of them. */
static void give_features(struct train__content *content)
{
    static size_t start[32];
    static int32_t feature[64];
    size_t at = 0;
    for (int i = 0; i < config.N; i++) {
        start[i] = at;
        for (int j = 0; j < i % 3; j++)
            feature[at++] = (i + 2 * j) % config.n_content;
    }
    start[config.N] = at;
    *content = (struct train__content){.n = config.n_content, .start = start, .feature = feature};
}

/* E in O's place, in double. */
static void ref_mix_content(const struct train__content *content, const double *params,
                            double *mixed)
{
    memcpy(mixed, params, model_params_floats(&config) * sizeof *mixed);
    for (int i = 0; i < config.N; i++) {
        size_t n = content->start[i + 1] - content->start[i];
        for (size_t e = content->start[i]; e < content->start[i + 1]; e++) {
            const double *row =
                part(params, MODEL_CONTENT_EMBEDDING, 0) + content->feature[e] * config.D;
            for (int d = 0; d < config.D; d++)
                mixed[offsets[0][MODEL_ITEM_EMBEDDING] + (size_t)(i * config.D + d)] +=
                    row[d] / sqrt((double)n);
        }
    }
}

/* What items share and what is their own, through the mixture. */
static void content_features(void)
{
    config.n_content = 5;
    float *params = make_params(TEST_SEED());
    size_t n = model_params_floats(&config);
    float *mixed = mem_aligned(64, n * sizeof(float)), *grads = mem_aligned(64, n * sizeof(float));
    double *exact = mem_alloc(n * sizeof(double)), *exact_mixed = mem_alloc(n * sizeof(double));
    uint8_t touched[32];
    struct train__content content;
    memset(touched, 1, sizeof touched);
    for (int t = 0; t < 2 * MODEL_TENSOR_COUNT; t++)
        offsets[t % 2][t / 2] = model_param_offset(&config, (enum model_tensor)(t / 2), t % 2);
    give_features(&content);
    for (int s = 0; s < 2; s++)
        train__content_mix(&content, &config, params, mixed, (struct train__adamw_share){s, 2});
    for (size_t i = 0; i < n; i++)
        exact[i] = (double)params[i];
    ref_mix_content(&content, exact, exact_mixed);
    size_t own = offsets[0][MODEL_ITEM_EMBEDDING], shared = offsets[0][MODEL_CONTENT_EMBEDDING];
    size_t shared_end = shared + (size_t)(config.n_content * config.D);
    for (size_t i = 0; i < n; i++) /* the features themselves are not looked at */
        if (i < shared || i >= shared_end) CHECK_NEAR(mixed[i], exact_mixed[i], 1e-6);
    struct train__encoder *encoder = train__encoder_new(&config);
    struct train__loss *loss = train__loss_new(1 << 20);
    CHECK_NEAR(loss_of(encoder, loss, mixed, NULL, 0, grads), ref_loss(exact_mixed, NULL, NULL),
               1e-5);
    train__content_gather(&content, &config, touched, grads);
    double largest = 0;
    for (int j = 0; j < 5 * config.D; j++) {
        /* All of what is shared; of what is each item's own, as much. */
        size_t places[] = {shared + (size_t)j, own + (size_t)(j * 4)};
        for (int which = 0; which < 2; which++) {
            double value = exact[places[which]], ends[2];
            for (int side = 0; side < 2; side++) {
                exact[places[which]] = value + (side ? -1e-5 : 1e-5);
                ref_mix_content(&content, exact, exact_mixed);
                ends[side] = ref_loss(exact_mixed, NULL, NULL);
            }
            exact[places[which]] = value;
            double want = (ends[0] - ends[1]) / 2e-5;
            CHECK_NEAR(grads[places[which]], want, 1e-5 + 1e-3 * fabs(want));
            if (which == 0) largest = fmax(largest, fabs(want));
        }
    }
    CHECK(largest > 1e-3);
    train__encoder_free(encoder);
    train__loss_free(loss);
    mem_free(params);
    mem_free(mixed);
    mem_free(grads);
    mem_free(exact);
    mem_free(exact_mixed);
    config.n_content = 0;
}

/* With dropout the choices depend on the seed only, so the loss is smooth in the parameters; differences along random
 * directions in float. */
static void dropout_direction(void)
{
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    float *params = make_params(5);
    size_t n = model_params_floats(&config);
    float *grads = mem_aligned(64, n * sizeof(float));
    float *moved = mem_aligned(64, n * sizeof(float));
    float *direction = mem_aligned(64, n * sizeof(float));
    struct train__encoder *encoder = train__encoder_new(&config);
    struct train__loss *loss = train__loss_new(1 << 20);
    double plain = loss_of(encoder, loss, params, NULL, 0, NULL);
    double dropped = loss_of(encoder, loss, params, NULL, 0.4f, grads);
    CHECK(fabs(plain - dropped) > 1e-3);
    for (int trial = 0; trial < 10; trial++) {
        double slope = 0, ends[2];
        const double step = 2e-3;
        for (size_t i = 0; i < n; i++) {
            direction[i] = (float)rng_normal(&rng);
            slope += (double)direction[i] * (double)grads[i];
        }
        for (int side = 0; side < 2; side++) {
            for (size_t i = 0; i < n; i++)
                moved[i] = params[i] + (float)(side ? -step : step) * direction[i];
            ends[side] = loss_of(encoder, loss, moved, NULL, 0.4f, NULL);
        }
        CHECK_NEAR(slope, (ends[0] - ends[1]) / (2 * step), 0.02 + 0.02 * fabs(slope));
    }
    train__encoder_free(encoder);
    train__loss_free(loss);
    mem_free(params);
    mem_free(grads);
    mem_free(moved);
    mem_free(direction);
}

static void ranks(void)
{
    enum { C = 19, D = 16 };
    static float x[2 * D], weight[C * D], bias[C], unused[32 * D];
    int32_t rank[2], target[2] = {7, 3};
    for (int c = 0; c < C; c++)
        bias[c] = c == 4 || c == 5 ? -1.0f : (float)c;
    bias[3] = bias[9] = 9.0f; /* a tie with a larger index does not count */
    struct train__softmax args = {.P = 2,
                                  .C = C,
                                  .D = D,
                                  .x = x,
                                  .weight = weight,
                                  .bias = bias,
                                  .target = target,
                                  .scale = 1,
                                  .dx = unused,
                                  .dweight = unused,
                                  .dbias = unused};
    struct train__loss *loss = train__loss_new(1);
    train__loss_ranks(loss, &args, NULL, rank);
    CHECK_INT(rank[0], 13); /* 3, 8, 9, and 10 .. 18 */
    CHECK_INT(rank[1], 10); /* 10 .. 18 */
    const struct train_event seen[] = {{.item = 18}, {.item = 0}, {.item = 18}, {.item = 3}};
    const struct train__masked masked[2] = {{seen, 3}, {seen, 4}};
    train__loss_ranks(loss, &args, masked, rank);
    CHECK_INT(rank[0], 12);
    CHECK_INT(rank[1], C + 1); /* the target itself is masked */
    train__loss_free(loss);
}

static void kernels_agree(void)
{
    enum { n = 480, D = 48 };
    static float in[n], a[n], b[n], weight[n], sum[n], out[n], hat[n], rstd[n];
    const struct train__kernels *tables[TRAIN__KERNELS_MAX];
    int count = train__kernels_all(tables);
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    for (int i = 0; i < n; i++) {
        in[i] = (float)(3 * rng_normal(&rng));
        weight[i] = (float)rng_normal(&rng);
    }
    for (int t = 0; t < count; t++) {
        const struct train__kernels *k = tables[t];
        printf("  %s\n", k->name);
        k->gelu(n, in, out);
        for (int i = 0; i < n; i++)
            CHECK_NEAR(out[i], 0.5 * (double)in[i] * (1 + erf((double)in[i] / sqrt(2.0))), 2e-6);
        memcpy(a, in, sizeof a);
        memset(sum, 0, sizeof sum);
        for (int i = 0; i < n; i++)
            a[i] += weight[i];
        float max = k->largest(n, a);
        double want = 0;
        for (int i = 0; i < n; i++) {
            CHECK(in[i] + weight[i] <= max);
            want += exp((double)(in[i] + weight[i]) - (double)max);
        }
        float total = k->exp_sum(n, a, max);
        CHECK_NEAR(total, want, 1e-5 * want);
        k->add_scaled(n, a, 1.0f / total, sum);
        for (int i = 0; i < n; i++)
            CHECK_NEAR(sum[i], exp((double)(in[i] + weight[i]) - (double)max) / want, 1e-6);
        k->norm(n / D, D, in, weight, weight + D, hat, rstd, out);
        CHECK_NEAR(out[17], ((hat[17] * weight[17]) + weight[D + 17]), 1e-5);
        CHECK_NEAR(k->square_sum(n, in), tables[0]->square_sum(n, in), 1e-3);
        for (int i = 0; i < n; i++)
            a[i] = b[i] = 1;
        k->dropout(n, a, 0.25f, 9);
        tables[0]->dropout(n, b, 0.25f, 9);
        int kept = 0;
        for (int i = 0; i < n; i++) {
            CHECK_NEAR(a[i], b[i], 0);
            CHECK(a[i] == 0 || fabs((double)a[i] - 4.0 / 3) < 1e-6);
            kept += a[i] > 0;
        }
        CHECK(kept > n * 65 / 100 && kept < n * 85 / 100);
    }
}

int main(void)
{
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        config = kinds[k].config;
        printf("  %s\n", kinds[k].name);
        CASE(every_parameter);
        CASE(dropout_direction);
    }
    config = kinds[0].config;
    CASE(content_features);
    CASE(ranks);
    CASE(kernels_agree);
    return 0;
}
