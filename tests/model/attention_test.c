/* The attention encoder: against vectors computed elsewhere (attention_reference.py), and against itself to the bit: steps in
 * batches, in any cuts and past the window against a prefill, whatever the state held before, in each instruction set. */

#include "tests/test.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "model/internal.h"
#include "tests/model/attention_reference.h"
#include "tests/model/support.h"

static uint64_t seed;

static const struct model_config SLIDING = {.N = 90,
                                            .D = 48,
                                            .H = 64,
                                            .L = 2,
                                            .F = 96,
                                            .n_types = 11,
                                            .n_gaps = 9,
                                            .encoder = ENCODER_ATTENTION,
                                            .heads = 4,
                                            .window = 21,
                                            .rotary = true};
static const struct model_config LEARNT = {.N = 60,
                                           .D = 32,
                                           .H = 32,
                                           .L = 3,
                                           .F = 64,
                                           .encoder = ENCODER_ATTENTION,
                                           .heads = 1,
                                           .positions = 17,
                                           .window = 17};

/* The start values of training with more life in them: they are too small to show an error. */
static struct model *lively(struct model_config config)
{
    struct rng rng;
    rng_init(&rng, seed);
    struct model *m = model_random_of(&config, seed);
    size_t floats = model_params_floats(&config);
    float *params = mem_aligned(64, floats * sizeof *params);
    memcpy(params, model_raw_params(m), floats * sizeof *params);
    struct model_param table[MODEL_MAX_PARAMS];
    int n = model_params(&config, table);
    for (int p = 0; p < n; p++)
        for (size_t i = 0; i < table[p].count; i++)
            params[table[p].offset + i] += 0.3f * (float)rng_normal(&rng);
    struct str *ids = mem_alloc((size_t)config.N * sizeof *ids);
    for (int i = 0; i < config.N; i++)
        ids[i] = model_item_id(m, i);
    struct model_parts parts = {
        .config = config, .params = params, .item_ids = ids, .tenant = "", .version = "v"};
    struct model *made;
    struct err err = ERR_INIT;
    CHECK_OK(model_from_params(&made, &parts, &err), err);
    mem_free(ids);
    mem_free(params);
    model_free(m);
    return made;
}

/* ---- cases ---- */

/* The parameters, inputs and lengths of attention_reference.py. */
static void case_reference(void)
{
    for (int rotary = 0; rotary < 2; rotary++) {
        struct model_config c = {.N = 11,
                                 .D = 32,
                                 .H = 64,
                                 .L = 2,
                                 .F = 48,
                                 .n_types = 4,
                                 .n_gaps = 6,
                                 .encoder = ENCODER_ATTENTION,
                                 .heads = 2,
                                 .positions = rotary ? 0 : 6,
                                 .window = 6,
                                 .rotary = rotary};
        float *params = mem_zalloc(model_params_floats(&c) * sizeof *params);
        struct model_param table[MODEL_MAX_PARAMS];
        int n = model_params(&c, table);
        for (int p = 0; p < n; p++) {
            int sum = 0;
            for (const char *name = table[p].name; *name; name++)
                sum += (unsigned char)*name;
            bool is_scale = strstr(table[p].name, "norm.weight") != NULL;
            for (size_t i = 0; i < table[p].count; i++)
                params[table[p].offset + i] =
                    (float)((is_scale ? 1.0 : 0.0) + 0.3 * sin(0.7 * sum + 1.3 * (double)i));
        }
        static const char digits[] = "0123456789A";
        struct str ids[11];
        for (int i = 0; i < 11; i++)
            ids[i] = (struct str){digits + i, 1};
        struct model_parts parts = {
            .config = c, .params = params, .item_ids = ids, .tenant = "", .version = "v"};
        struct model *m;
        struct err err = ERR_INIT;
        CHECK_OK(model_from_params(&m, &parts, &err), err);
        struct model_scratch *scratch = model_scratch_new(m);
        float *state = mem_alloc((size_t)m->S * sizeof *state);
        struct model_input input[16];
        int64_t gap = 700;
        for (int t = 0; t < 16; t++, gap *= 3)
            input[t] = (struct model_input){.item = 5 * t % 11, .type = t % 4, .gap_ms = gap};
        for (int l = 0; l < LENGTHS; l++) {
            model_prefill(m, scratch, reference_lengths[l], input, state);
            for (int j = 0; j < c.D; j++)
                CHECK_NEAR(model_state_vector(m, state)[j], reference_vectors[rotary][l][j], 1e-5);
        }
        mem_free(state);
        mem_free(params);
        model_scratch_free(scratch);
        model_free(m);
    }
}

/* Users at different places of their histories, far past the window, in batches of any size. */
static void case_step_is_prefill(void)
{
    enum { T = 75, USERS = 23 };
    const struct model_config configs[] = {SLIDING, LEARNT};
    for (size_t i = 0; i < 2; i++) {
        struct model *m = lively(configs[i]);
        struct model_scratch *scratch = model_scratch_new(m);
        struct rng rng;
        rng_init(&rng, seed + i);
        size_t bytes = (size_t)m->S * sizeof(float);
        static struct model_input window[USERS][T];
        int at[USERS] = {0};
        float *state[USERS], *want = mem_alloc(bytes);
        for (int b = 0; b < USERS; b++) {
            support_window(m, &rng, T, window[b]);
            state[b] = mem_alloc(bytes);
            model_state_init(m, state[b]);
        }
        for (int left = USERS * T; left > 0;) {
            float *chosen[USERS];
            struct model_input input[USERS];
            int B = 0;
            for (int b = 0; b < USERS; b++) {
                if (at[b] == T || rng_below(&rng, 3) == 0) continue;
                chosen[B] = state[b];
                input[B++] = window[b][at[b]++];
            }
            model_step(m, scratch, B, chosen, input);
            left -= B;
        }
        for (int b = 0; b < USERS; b++) {
            model_prefill(m, scratch, T, window[b], want);
            CHECK_BYTES(state[b], bytes, want, bytes);
            mem_free(state[b]);
        }
        mem_free(want);
        model_scratch_free(scratch);
        model_free(m);
    }
}

/* Rows of several users mixed, cut into calls anywhere, the first of each fresh over any bits: vectors as from prefills. */
static void case_any_cut(void)
{
    enum { T = 50, USERS = 5, ROWS = USERS * T };
    const struct model_config configs[] = {SLIDING, LEARNT};
    for (size_t i = 0; i < 2; i++) {
        struct model *m = lively(configs[i]);
        struct model_scratch *scratch = model_scratch_new(m);
        struct rng rng;
        rng_init(&rng, seed + 5 + i);
        size_t S = (size_t)m->S, D = (size_t)m->config.D;
        static struct model_input window[USERS][T];
        static struct model_row rows[ROWS];
        int at[USERS] = {0}, user_of[ROWS], length[ROWS];
        float *states = mem_alloc(USERS * S * sizeof(float));
        float *vectors = mem_alloc(ROWS * D * sizeof(float));
        float *want = mem_alloc(S * sizeof(float));
        memset(states, 0xFF, USERS * S * sizeof(float)); /* no numbers */
        for (int b = 0; b < USERS; b++)
            support_window(m, &rng, T, window[b]);
        for (int r = 0; r < ROWS; r++) {
            int b = (int)rng_below(&rng, USERS);
            while (at[b] == T)
                b = (b + 1) % USERS;
            rows[r] = (struct model_row){.state = states + (size_t)b * S,
                                         .input = window[b][at[b]],
                                         .fresh = at[b] == 0,
                                         .passing = at[b] + 1 < T && rng_below(&rng, 4) == 0};
            user_of[r] = b;
            length[r] = ++at[b];
        }
        for (int r = 0, n; r < ROWS; r += n) {
            n = 1 + (int)rng_below(&rng, 60);
            n = n < ROWS - r ? n : ROWS - r;
            model_advance(m, scratch, n, rows + r, vectors + (size_t)r * D);
        }
        for (int r = 0; r < ROWS; r++) {
            if (rows[r].passing) continue;
            model_prefill(m, scratch, length[r], window[user_of[r]], want);
            CHECK_BYTES(vectors + (size_t)r * D, D * sizeof(float), model_state_vector(m, want),
                        D * sizeof(float));
        }
        mem_free(states);
        mem_free(vectors);
        mem_free(want);
        model_scratch_free(scratch);
        model_free(m);
    }
}

static void case_instruction_sets_agree(void)
{
    const struct model_config configs[] = {SLIDING, LEARNT};
    for (size_t i = 0; i < 2; i++) {
        struct model *m = lively(configs[i]);
        support_instruction_sets_agree(m, 60, seed + 3);
        model_free(m);
    }
}

static void case_saved_model_is_the_same(void)
{
    const struct model_config configs[] = {SLIDING, LEARNT};
    for (size_t i = 0; i < 2; i++) {
        char folder[] = "/tmp/freshet-attention-XXXXXX", command[64];
        struct err err = ERR_INIT;
        struct model *m = lively(configs[i]), *loaded;
        CHECK(mkdtemp(folder) != NULL);
        CHECK_OK(model_save(m, folder, &err), err);
        CHECK_OK(model_load(&loaded, folder, &err), err);
        CHECK_HEX(model_info(m).id, model_info(loaded).id);
        CHECK_STR(model_info(loaded).encoder, "attention");
        struct model_config a = model_shape(m), b = model_shape(loaded);
        CHECK_INT(a.heads, b.heads);
        CHECK_INT(a.positions, b.positions);
        CHECK_INT(a.window, b.window);
        CHECK_INT(a.rotary, b.rotary);
        (void)snprintf(command, sizeof command, "rm -r %s", folder);
        CHECK_INT(system(command), 0);
        model_free(m);
        model_free(loaded);
    }
}

static void case_shapes(void)
{
    const struct {
        int heads, positions, window;
        bool ok;
    } shapes[] = {{4, 0, 21, true},  {4, 21, 21, true},  {2, 0, 1024, true}, {1, 1, 1, true},
                  {0, 0, 21, false}, {3, 0, 21, false},  {8, 0, 21, false},  {4, 20, 21, false},
                  {4, 0, 0, false},  {4, 0, 1025, false}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        struct model_config c = SLIDING;
        c.heads = shapes[i].heads;
        c.positions = shapes[i].positions;
        c.window = shapes[i].window;
        CHECK_INT(model_config_check(&c) == NULL, shapes[i].ok);
    }
}

static void case_no_allocation_once_warm(void)
{
    enum { T = 100 };
    const struct model_config configs[] = {SLIDING, LEARNT};
    for (size_t i = 0; i < 2; i++) {
        struct model *m = lively(configs[i]);
        struct model_scratch *scratch = model_scratch_new(m);
        float *state = mem_alloc((size_t)m->S * sizeof *state);
        struct model_input input[T] = {{0}};
        model_prefill(m, scratch, T, input, state);
        uint64_t before = mem_thread_count();
        model_prefill(m, scratch, T, input, state);
        for (int t = 0; t < T; t++)
            model_step(m, scratch, 1, &state, input);
        CHECK_INT(mem_thread_count() - before, 0);
        mem_free(state);
        model_scratch_free(scratch);
        model_free(m);
    }
}

int main(void)
{
    seed = TEST_SEED();
    CASE(case_reference);
    CASE(case_step_is_prefill);
    CASE(case_any_cut);
    CASE(case_instruction_sets_agree);
    CASE(case_saved_model_is_the_same);
    CASE(case_shapes);
    CASE(case_no_allocation_once_warm);
    return 0;
}
