/* The encoder against an independent double-precision version, and against itself to the bit: step against
 * prefill, alone against in a batch, each instruction set against plain C. */

#include "tests/test.h"

#include "base/mem.h"
#include "base/rng.h"
#include "model/internal.h"
#include "tests/model/recurrent_reference.h"
#include "tests/model/support.h"

static uint64_t seed;

/* ---- the same formulas in double, written from the header's text ---- */

static void ref_norm(int D, double *v, const float *weight, const float *bias)
{
    double mean = 0.0, variance = 0.0;
    for (int j = 0; j < D; j++)
        mean += v[j] / D;
    for (int j = 0; j < D; j++)
        variance += (v[j] - mean) * (v[j] - mean) / D;
    for (int j = 0; j < D; j++)
        v[j] = (v[j] - mean) / sqrt(variance + 1e-5) * (double)weight[j] + (double)bias[j];
}

static void ref_affine(int n, int m, const double *x, const float *W, const float *bias,
                       double *out)
{
    for (int j = 0; j < m; j++) {
        out[j] = (double)bias[j];
        for (int k = 0; k < n; k++)
            out[j] += x[k] * (double)W[k * m + j];
    }
}

/* What an encoder takes from the steps before: u (U) = x A + a, state the block's; mixed (W) written. */
static void ref_lru(const struct model *m, int block, const double *u, double *h, double *mixed)
{
    int H = m->config.H;
    for (int i = 0; i < H; i++) {
        double size = exp(-exp((double)model__tensor(m, MODEL_LRU_NU_LOG, block)[i]));
        double angle = exp((double)model__tensor(m, MODEL_LRU_THETA_LOG, block)[i]);
        double g = exp((double)model__tensor(m, MODEL_LRU_GAMMA_LOG, block)[i]);
        double re = size * cos(angle), im = size * sin(angle);
        double h_re = re * h[i] - im * h[H + i] + g * u[i];
        h[H + i] = re * h[H + i] + im * h[i] + g * u[H + i];
        h[i] = h_re;
    }
    memcpy(mixed, h, 2 * (size_t)H * sizeof *h);
}

static double sigmoid(double v)
{
    return 1 / (1 + exp(-v));
}

static void ref_gru(const struct model *m, int block, const double *u, double *h, double *mixed)
{
    int H = m->config.H;
    double s[3072];
    ref_affine(H, 3 * H, h, model__tensor(m, MODEL_GRU_STATE_WEIGHT, block),
               model__tensor(m, MODEL_GRU_STATE_BIAS, block), s);
    for (int i = 0; i < H; i++) {
        double r = sigmoid(u[i] + s[i]), z = sigmoid(u[H + i] + s[H + i]);
        double n = tanh(u[2 * H + i] + r * s[2 * H + i]);
        h[i] = (1 - z) * n + z * h[i];
    }
    memcpy(mixed, h, (size_t)H * sizeof *h);
}

static void (*const ref_mix[ENCODER_KINDS])(const struct model *, int, const double *, double *,
                                            double *) = {
    [ENCODER_LRU] = ref_lru,
    [ENCODER_GRU] = ref_gru,
};

/* x (D) goes through one block; h is that block's state. */
static void ref_block(const struct model *m, int block, double *x, double *h)
{
    const struct model_config *c = &m->config;
    int D = c->D, F = c->F;
    double u[3072], mixed[2048], z[1024], wide[4096];
    ref_affine(D, m->mix_in, x, model__tensor(m, MODEL_MIX_IN_WEIGHT, block),
               model__tensor(m, MODEL_MIX_IN_BIAS, block), u);
    ref_mix[c->encoder](m, block, u, h, mixed);
    ref_affine(m->mix_out, D, mixed, model__tensor(m, MODEL_MIX_OUT_WEIGHT, block),
               model__tensor(m, MODEL_MIX_OUT_BIAS, block), z);
    for (int j = 0; j < D; j++)
        z[j] += x[j];
    ref_norm(D, z, model__tensor(m, MODEL_MIX_NORM_WEIGHT, block),
             model__tensor(m, MODEL_MIX_NORM_BIAS, block));
    ref_affine(D, F, z, model__tensor(m, MODEL_FFN_IN_WEIGHT, block),
               model__tensor(m, MODEL_FFN_IN_BIAS, block), wide);
    for (int j = 0; j < F; j++)
        wide[j] = 0.5 * wide[j] * (1.0 + erf(wide[j] / sqrt(2.0)));
    ref_affine(F, D, wide, model__tensor(m, MODEL_FFN_OUT_WEIGHT, block),
               model__tensor(m, MODEL_FFN_OUT_BIAS, block), x);
    for (int j = 0; j < D; j++)
        x[j] += z[j];
    ref_norm(D, x, model__tensor(m, MODEL_FFN_NORM_WEIGHT, block),
             model__tensor(m, MODEL_FFN_NORM_BIAS, block));
}

static void ref_prefill(const struct model *m, int T, const struct model_input *input, double *x)
{
    const struct model_config *c = &m->config;
    double h[MODEL_MAX_BLOCKS][2048] = {{0}};
    for (int t = 0; t < T; t++) {
        for (int j = 0; j < c->D; j++) {
            x[j] = (double)model__tensor(m, MODEL_ITEM_EMBEDDING, 0)[input[t].item * c->D + j];
            if (c->n_types > 0)
                x[j] += (double)model__tensor(m, MODEL_TYPE_EMBEDDING, 0)[input[t].type * c->D + j];
            int64_t bucket = input[t].gap_ms < 1000
                                 ? 0
                                 : 1 + (int64_t)floor(log2((double)(input[t].gap_ms / 1000)));
            if (bucket >= c->n_gaps) bucket = c->n_gaps - 1;
            if (c->n_gaps > 0)
                x[j] += (double)model__tensor(m, MODEL_GAP_EMBEDDING, 0)[bucket * c->D + j];
        }
        ref_norm(c->D, x, model__tensor(m, MODEL_INPUT_NORM_WEIGHT, 0),
                 model__tensor(m, MODEL_INPUT_NORM_BIAS, 0));
        for (int block = 0; block < c->L; block++)
            ref_block(m, block, x, h[block]);
    }
}

/* ---- models and windows ---- */

/* A model of these parameters, which are freed; item i is "i". */
static struct model *model_of(const struct model_config *config, float *params)
{
    struct str *ids = mem_alloc((size_t)config->N * sizeof *ids);
    char(*text)[16] = mem_alloc((size_t)config->N * 16);
    for (int i = 0; i < config->N; i++)
        ids[i] = (struct str){text[i], (size_t)snprintf(text[i], 16, "%d", i)};
    struct model_parts parts = {
        .config = *config, .params = params, .item_ids = ids, .tenant = "t", .version = "v"};
    struct model *model;
    struct err err = ERR_INIT;
    CHECK_OK(model_from_params(&model, &parts, &err), err);
    mem_free(ids);
    mem_free(text);
    mem_free(params);
    return model;
}

/* A model of random, lively weights: the start values of training are too small to show an error. */
static struct model *lively(struct model_config config, uint64_t from)
{
    struct rng rng;
    rng_init(&rng, from);
    float *params = mem_aligned(64, model_params_floats(&config) * sizeof *params);
    model_params_init(&config, from, params);
    struct model_param table[MODEL_MAX_PARAMS];
    int n = model_params(&config, table);
    for (int p = 0; p < n; p++)
        for (size_t i = 0; i < table[p].count && strstr(table[p].name, "_log") == NULL; i++)
            params[table[p].offset + i] += 0.15f * (float)rng_normal(&rng);
    return model_of(&config, params);
}

enum { SHAPES = 4 };

/* Two shapes of each kind of encoder. */
static const struct model_config shapes[SHAPES] = {
    {.N = 300, .D = 64, .H = 128, .L = 2, .F = 256, .n_types = 11, .n_gaps = 20},
    {.N = 37, .D = 48, .H = 16, .L = 3, .F = 80},
    {.N = 300,
     .D = 64,
     .H = 128,
     .L = 2,
     .F = 256,
     .n_types = 11,
     .n_gaps = 20,
     .encoder = ENCODER_GRU},
    {.N = 37, .D = 48, .H = 32, .L = 3, .F = 80, .encoder = ENCODER_GRU},
};

/* recurrent_reference.py in this folder: its shape and parameters, which are written there too. */
static struct model *outside_model(enum model_encoder_kind kind)
{
    struct model_config config = {
        .N = 11, .D = 32, .H = 64, .L = 2, .F = 48, .n_types = 4, .n_gaps = 6, .encoder = kind};
    float *params = mem_zalloc(model_params_floats(&config) * sizeof *params);
    struct model_param table[MODEL_MAX_PARAMS];
    int n = model_params(&config, table);
    for (int p = 0; p < n; p++) {
        double sum = 0, one = strstr(table[p].name, "norm.weight") != NULL;
        for (const char *name = table[p].name; *name; name++)
            sum += (unsigned char)*name;
        for (size_t i = 0; i < table[p].count; i++)
            params[table[p].offset + i] = (float)(one + 0.3 * sin(0.7 * sum + 1.3 * (double)i));
    }
    return model_of(&config, params);
}

/* The vectors that recurrent_reference.py computes from the formulas alone, in another language and another way (the lru as a
 * sum instead of a recurrence). */
static void case_against_outside_values(void)
{
    static const enum model_encoder_kind kinds[] = {ENCODER_LRU, ENCODER_GRU};
    struct model_input input[11];
    int64_t gap = 700;
    for (int t = 0; t < 11; t++, gap *= 3)
        input[t] = (struct model_input){.item = 5 * t % 11, .type = t % 4, .gap_ms = gap};
    for (int k = 0; k < 2; k++) {
        struct model *m = outside_model(kinds[k]);
        struct model_scratch *scratch = model_scratch_new(m);
        float *state = mem_alloc((size_t)m->S * sizeof *state);
        for (int l = 0; l < LENGTHS; l++) {
            model_prefill(m, scratch, reference_lengths[l], input, state);
            for (int j = 0; j < m->config.D; j++)
                CHECK_NEAR(model_state_vector(m, state)[j], reference_vectors[k][l][j], 1e-5);
        }
        mem_free(state);
        model_scratch_free(scratch);
        model_free(m);
    }
}

static void case_against_reference(void)
{
    for (size_t i = 0; i < SHAPES; i++) {
        struct model *m = lively(shapes[i], seed + i);
        struct model_scratch *scratch = model_scratch_new(m);
        struct rng rng;
        rng_init(&rng, seed);
        struct model_input input[130];
        float *state = mem_alloc((size_t)m->S * sizeof *state);
        double want[1024];
        for (int T = 1; T <= 130; T += 43) {
            support_window(m, &rng, T, input);
            model_prefill(m, scratch, T, input, state);
            ref_prefill(m, T, input, want);
            for (int j = 0; j < m->config.D; j++)
                CHECK_NEAR(model_state_vector(m, state)[j], want[j], 2e-5);
        }
        mem_free(state);
        model_scratch_free(scratch);
        model_free(m);
    }
}

/* Every user's state after T steps in a batch equals the prefill of his window, for any batch. */
static void case_step_is_prefill(void)
{
    enum { T = 70, B_MAX = 37 };
    for (size_t i = 0; i < SHAPES; i++) {
        struct model *m = lively(shapes[i], seed + 7 + i);
        struct model_scratch *scratch = model_scratch_new(m);
        struct rng rng;
        rng_init(&rng, seed);
        size_t S = (size_t)m->S;
        struct model_input window[B_MAX][T], input[B_MAX];
        float *state[B_MAX], *want = mem_alloc(S * sizeof *want);
        for (int b = 0; b < B_MAX; b++) {
            support_window(m, &rng, T, window[b]);
            state[b] = mem_alloc(S * sizeof(float));
            model_state_init(m, state[b]);
        }
        /* The batch is of another size at each step; users not in it catch up alone. */
        for (int t = 0; t < T; t++) {
            int B = 1 + (int)rng_below(&rng, B_MAX);
            for (int b = 0; b < B_MAX; b++)
                input[b] = window[b][t];
            model_step(m, scratch, B, state, input);
            for (int b = B; b < B_MAX; b++)
                model_step(m, scratch, 1, &state[b], &input[b]);
        }
        for (int b = 0; b < B_MAX; b++) {
            model_prefill(m, scratch, T, window[b], want);
            CHECK_BYTES(state[b], S * sizeof(float), want, S * sizeof(float));
            mem_free(state[b]);
        }
        mem_free(want);
        model_scratch_free(scratch);
        model_free(m);
    }
}

static void case_instruction_sets_agree(void)
{
    for (size_t i = 0; i < SHAPES; i++) {
        struct model *m = lively(shapes[i], seed + 11);
        support_instruction_sets_agree(m, 40, seed + 3);
        model_free(m);
    }
}

/* Passing rows change no other row and no state, only that their own vector is not made. */
static void check_passing_rows(enum model_encoder_kind kind)
{
    enum { USERS = 3, STEPS = 7, ROWS = USERS * STEPS, D = 32 };
    const struct model_config config = {.N = 50, .D = D, .H = 16, .L = 2, .F = 64, .encoder = kind};
    struct model *m = model_random_of(&config, seed);
    struct model_scratch *scratch = model_scratch_new(m);
    size_t S = (size_t)model_info(m).S;
    float *state[2] = {mem_zalloc(USERS * S * sizeof(float)),
                       mem_zalloc(USERS * S * sizeof(float))};
    float vectors[2][ROWS * D] = {{0}};
    struct rng rng;
    rng_init(&rng, seed);
    struct model_row rows[ROWS];
    for (int r = 0; r < ROWS; r++)
        rows[r].input = (struct model_input){.item = (int32_t)rng_below(&rng, 50)};
    for (int with = 0; with < 2; with++) {
        for (int r = 0; r < ROWS; r++) {
            rows[r].state = state[with] + (size_t)(r % USERS) * S;
            rows[r].fresh = r < USERS;
            rows[r].passing = with && r < ROWS - USERS && r % 2 == 1;
        }
        model_advance(m, scratch, ROWS, rows, vectors[with]);
    }
    CHECK(memcmp(state[0], state[1], USERS * S * sizeof(float)) == 0);
    for (int r = 0; r < ROWS; r++) {
        bool is_same = memcmp(vectors[0] + r * D, vectors[1] + r * D, D * sizeof(float)) == 0;
        CHECK_INT(is_same, !rows[r].passing);
    }
    mem_free(state[0]);
    mem_free(state[1]);
    model_scratch_free(scratch);
    model_free(m);
}

static void case_passing_rows(void)
{
    check_passing_rows(ENCODER_LRU);
    check_passing_rows(ENCODER_GRU);
}

/* Rows of several users in any order, cut into calls anywhere, leave the bits of one step after the other; a fresh row
 * begins anew whatever the state held. */
static void case_cuts_change_nothing(void)
{
    enum { USERS = 9, ROWS = 200 };
    for (size_t i = 0; i < SHAPES; i++) {
        struct model *m = lively(shapes[i], seed + 13);
        struct model_scratch *scratch = model_scratch_new(m);
        struct rng rng;
        rng_init(&rng, seed + i);
        size_t S = (size_t)m->S, bytes = USERS * S * sizeof(float);
        float *states[2] = {mem_zalloc(bytes), mem_zalloc(bytes)};
        struct model_input input[ROWS];
        int user[ROWS], cut = 0;
        bool fresh[ROWS];
        support_window(m, &rng, ROWS, input);
        for (int r = 0; r < ROWS; r++) {
            user[r] = (int)rng_below(&rng, USERS);
            fresh[r] = rng_below(&rng, 10) == 0;
        }
        for (int cuts = 0; cuts < 2; cuts++) {
            for (int at = 0; at < ROWS; at += cut) {
                struct model_row rows[ROWS];
                cut = cuts ? 1 + (int)rng_below(&rng, 60) : 1;
                if (cut > ROWS - at) cut = ROWS - at;
                for (int r = 0; r < cut; r++)
                    rows[r] = (struct model_row){.state = states[cuts] + (size_t)user[at + r] * S,
                                                 .input = input[at + r],
                                                 .fresh = fresh[at + r]};
                model_advance(m, scratch, cut, rows, NULL);
            }
        }
        CHECK_BYTES(states[1], bytes, states[0], bytes);
        mem_free(states[0]);
        mem_free(states[1]);
        model_scratch_free(scratch);
        model_free(m);
    }
}

static void case_empty_window_is_nobody(void)
{
    struct model *m = model_random(10, 16, 16, 1, seed);
    struct model_scratch *scratch = model_scratch_new(m);
    float state[64], nobody[64];
    CHECK_INT(model_info(m).S, 48);
    memset(state, 1, sizeof state);
    model_state_init(m, nobody);
    model_prefill(m, scratch, 0, NULL, state);
    CHECK_BYTES(state, 48 * sizeof(float), nobody, 48 * sizeof(float));
    CHECK_NEAR(model_state_vector(m, state)[0], 0.0, 0.0);
    model_scratch_free(scratch);
    model_free(m);
}

static void check_no_allocation_once_warm(const struct model_config *config)
{
    struct model *m = model_random_of(config, seed);
    struct model_scratch *scratch = model_scratch_new(m);
    float *state[8];
    struct model_input input[200] = {{0}};
    for (int b = 0; b < 8; b++) {
        state[b] = mem_alloc((size_t)m->S * sizeof(float));
        model_prefill(m, scratch, 200, input, state[b]);
    }
    uint64_t before = mem_thread_count();
    for (int B = 8; B >= 1; B--)
        model_step(m, scratch, B, state, input);
    model_prefill(m, scratch, 150, input, state[0]);
    CHECK_INT(mem_thread_count() - before, 0);
    for (int b = 0; b < 8; b++)
        mem_free(state[b]);
    model_scratch_free(scratch);
    model_free(m);
}

static void case_no_allocation_once_warm(void)
{
    for (size_t i = 0; i < SHAPES; i++)
        check_no_allocation_once_warm(&shapes[i]);
}

static void case_gap_buckets(void)
{
    CHECK_INT(model_gap_bucket(0, 20), 0);
    CHECK_INT(model_gap_bucket(-5000, 20), 0);
    CHECK_INT(model_gap_bucket(999, 20), 0);
    CHECK_INT(model_gap_bucket(1000, 20), 1);
    CHECK_INT(model_gap_bucket(2000, 20), 2);
    CHECK_INT(model_gap_bucket(3999, 20), 2);
    CHECK_INT(model_gap_bucket(4000, 20), 3);
    CHECK_INT(model_gap_bucket(INT64_MAX, 20), 19);
    CHECK_INT(model_gap_bucket(INT64_MAX, 1), 0);
}

int main(void)
{
    seed = TEST_SEED();
    CASE(case_against_reference);
    CASE(case_against_outside_values);
    CASE(case_step_is_prefill);
    CASE(case_instruction_sets_agree);
    CASE(case_passing_rows);
    CASE(case_cuts_change_nothing);
    CASE(case_empty_window_is_nobody);
    CASE(case_no_allocation_once_warm);
    CASE(case_gap_buckets);
    return 0;
}
