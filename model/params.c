/* The parameter table: which tensors an encoder has, their names, shapes, start values and places in one block.
 *
 * Everything that walks over parameters (load, save, gradients, optimiser, tests) walks over this table,
 * so that a tensor is described once. The frame's tensors are the same for every kind of encoder; each kind adds its own. */

#include "model/internal.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

#include "base/rng.h"

enum { ALIGN_FLOATS = 16 }; /* a cache line: tensors start at one */

enum letter {
    LETTER_NONE,
    LETTER_N,
    LETTER_D,
    LETTER_H,
    LETTER_2H,
    LETTER_3H,
    LETTER_F,
    LETTER_TYPES,
    LETTER_GAPS,
    LETTER_POSITIONS,
    LETTER_CONTENT,
};

enum start {
    START_ZERO,
    START_ONE,
    START_NORMAL,
    START_UNIFORM, /* within 1 / sqrt(H) */
    START_RING,    /* of nu_log; gives theta_log and gamma_log their values too */
    START_WITH_RING,
};

struct shape {
    const char *name; /* behind "block.<l>." for the tensors of a block; NULL: no such tensor */
    enum letter rows, cols;
    enum start start;
};

static const struct shape frame[MODEL_TENSOR_COUNT] = {
    [MODEL_ITEM_EMBEDDING] = {"item.embedding", LETTER_N, LETTER_D, START_NORMAL},
    [MODEL_ITEM_BIAS] = {"item.bias", LETTER_N, LETTER_NONE, START_ZERO},
    [MODEL_TYPE_EMBEDDING] = {"type.embedding", LETTER_TYPES, LETTER_D, START_NORMAL},
    [MODEL_GAP_EMBEDDING] = {"gap.embedding", LETTER_GAPS, LETTER_D, START_NORMAL},
    [MODEL_POSITION_EMBEDDING] = {"position.embedding", LETTER_POSITIONS, LETTER_D, START_NORMAL},
    [MODEL_CONTENT_EMBEDDING] = {"content.embedding", LETTER_CONTENT, LETTER_D, START_ZERO},
    [MODEL_INPUT_NORM_WEIGHT] = {"input.norm.weight", LETTER_D, LETTER_NONE, START_ONE},
    [MODEL_INPUT_NORM_BIAS] = {"input.norm.bias", LETTER_D, LETTER_NONE, START_ZERO},
    [MODEL_FFN_IN_WEIGHT] = {"ffn.in.weight", LETTER_D, LETTER_F, START_NORMAL},
    [MODEL_FFN_IN_BIAS] = {"ffn.in.bias", LETTER_F, LETTER_NONE, START_ZERO},
    [MODEL_FFN_OUT_WEIGHT] = {"ffn.out.weight", LETTER_F, LETTER_D, START_NORMAL},
    [MODEL_FFN_OUT_BIAS] = {"ffn.out.bias", LETTER_D, LETTER_NONE, START_ZERO},
    [MODEL_FFN_NORM_WEIGHT] = {"ffn.norm.weight", LETTER_D, LETTER_NONE, START_ONE},
    [MODEL_FFN_NORM_BIAS] = {"ffn.norm.bias", LETTER_D, LETTER_NONE, START_ZERO},
};

static const struct shape own[ENCODER_KINDS][MODEL_TENSOR_COUNT] =
    {
        [ENCODER_LRU] =
            {
                [MODEL_LRU_NU_LOG] = {"lru.nu_log", LETTER_H, LETTER_NONE, START_RING},
                [MODEL_LRU_THETA_LOG] = {"lru.theta_log", LETTER_H, LETTER_NONE, START_WITH_RING},
                [MODEL_LRU_GAMMA_LOG] = {"lru.gamma_log", LETTER_H, LETTER_NONE, START_WITH_RING},
                [MODEL_MIX_IN_WEIGHT] = {"lru.in.weight", LETTER_D, LETTER_2H, START_NORMAL},
                [MODEL_MIX_IN_BIAS] = {"lru.in.bias", LETTER_2H, LETTER_NONE, START_ZERO},
                [MODEL_MIX_OUT_WEIGHT] = {"lru.out.weight", LETTER_2H, LETTER_D, START_NORMAL},
                [MODEL_MIX_OUT_BIAS] = {"lru.out.bias", LETTER_D, LETTER_NONE, START_ZERO},
                [MODEL_MIX_NORM_WEIGHT] = {"lru.norm.weight", LETTER_D, LETTER_NONE, START_ONE},
                [MODEL_MIX_NORM_BIAS] = {"lru.norm.bias", LETTER_D, LETTER_NONE, START_ZERO},
            },
        [ENCODER_GRU] =
            {
                [MODEL_MIX_IN_WEIGHT] = {"gru.in.weight", LETTER_D, LETTER_3H, START_UNIFORM},
                [MODEL_MIX_IN_BIAS] = {"gru.in.bias", LETTER_3H, LETTER_NONE, START_ZERO},
                [MODEL_GRU_STATE_WEIGHT] = {"gru.state.weight", LETTER_H, LETTER_3H, START_UNIFORM},
                [MODEL_GRU_STATE_BIAS] = {"gru.state.bias", LETTER_3H, LETTER_NONE, START_ZERO},
                [MODEL_MIX_OUT_WEIGHT] = {"gru.out.weight", LETTER_H, LETTER_D, START_NORMAL},
                [MODEL_MIX_OUT_BIAS] = {"gru.out.bias", LETTER_D, LETTER_NONE, START_ZERO},
                [MODEL_MIX_NORM_WEIGHT] = {"gru.norm.weight", LETTER_D, LETTER_NONE, START_ONE},
                [MODEL_MIX_NORM_BIAS] = {"gru.norm.bias", LETTER_D, LETTER_NONE, START_ZERO},
            },
        [ENCODER_ATTENTION] =
            {
                [MODEL_MIX_IN_WEIGHT] = {"attention.in.weight", LETTER_D, LETTER_3H, START_NORMAL},
                [MODEL_MIX_IN_BIAS] = {"attention.in.bias", LETTER_3H, LETTER_NONE, START_ZERO},
                [MODEL_MIX_OUT_WEIGHT] = {"attention.out.weight", LETTER_H, LETTER_D, START_NORMAL},
                [MODEL_MIX_OUT_BIAS] = {"attention.out.bias", LETTER_D, LETTER_NONE, START_ZERO},
                [MODEL_MIX_NORM_WEIGHT] = {"attention.norm.weight", LETTER_D, LETTER_NONE,
                                           START_ONE},
                [MODEL_MIX_NORM_BIAS] = {"attention.norm.bias", LETTER_D, LETTER_NONE, START_ZERO},
            },
};

static const struct shape *shape_of(const struct model_config *config, int tensor)
{
    const struct shape *shape = &own[config->encoder][tensor];
    return shape->name != NULL ? shape : &frame[tensor];
}

static int letter_size(const struct model_config *config, enum letter letter)
{
    switch (letter) {
    case LETTER_NONE:
        return 1;
    case LETTER_N:
        return config->N;
    case LETTER_D:
        return config->D;
    case LETTER_H:
        return config->H;
    case LETTER_2H:
        return 2 * config->H;
    case LETTER_3H:
        return 3 * config->H;
    case LETTER_F:
        return config->F;
    case LETTER_TYPES:
        return config->n_types;
    case LETTER_GAPS:
        return config->n_gaps;
    case LETTER_POSITIONS:
        return config->positions;
    case LETTER_CONTENT:
        return config->n_content;
    }
    return 0;
}

/* Calls the loop body for every tensor of the config in block order: shared by the functions below. count is 0 for those
 * that the config has not.
 * cursor: begin with {.tensor = -1}. */
struct walk {
    int tensor;
    int block;
    size_t offset, count;
};

static bool walk_next(const struct model_config *config, struct walk *walk)
{
    walk->offset += (walk->count + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
    walk->tensor++;
    if (walk->tensor == MODEL_TENSOR_COUNT) {
        walk->tensor = MODEL_FIRST_OF_BLOCK;
        walk->block++;
    }
    walk->count = 0;
    if (walk->block == config->L) return false;
    walk->count = (size_t)model_param_rows(config, (enum model_tensor)walk->tensor) *
                  (size_t)model_param_cols(config, (enum model_tensor)walk->tensor);
    return true;
}

/* ---- public ---- */

static bool is_multiple_of_16(int value, int max)
{
    return value >= 16 && value <= max && value % 16 == 0;
}

static const char *check_attention(const struct model_config *config)
{
    if (config->heads < 1 || config->heads > config->H / 16 ||
        config->H % (16 * config->heads) != 0)
        return "heads must share out H in multiples of 16";
    if (config->window < 1 || config->window > MODEL_MAX_WINDOW)
        return "window, the longest sequence of attention, must be 1 to 1024";
    if (config->positions != 0 && config->positions != config->window)
        return "positions must be 0 or as many as window";
    return NULL;
}

const char *model_config_check(const struct model_config *config)
{
    if ((int)config->encoder < 0 || config->encoder >= ENCODER_KINDS) return "no such encoder";
    if (model__encoders[config->encoder] == NULL) return "this encoder is not built in";
    if (config->N < 1 || config->N > 100000000) return "the number of items must be 1 to 100000000";
    if (!is_multiple_of_16(config->D, 1024)) return "D must be a multiple of 16 from 16 to 1024";
    if (!is_multiple_of_16(config->H, 1024)) return "H must be a multiple of 16 from 16 to 1024";
    if (!is_multiple_of_16(config->F, 4096)) return "F must be a multiple of 16 from 16 to 4096";
    if (config->L < 1 || config->L > MODEL_MAX_BLOCKS) return "L must be 1 to 8";
    if (config->n_types < 0 || config->n_types > 256) return "n_types must be 0 to 256";
    if (config->n_gaps < 0 || config->n_gaps > 64) return "n_gaps must be 0 to 64";
    if (config->n_content < 0 || config->n_content > 10000000)
        return "n_content must be 0 to 10000000";
    if (config->encoder == ENCODER_ATTENTION) return check_attention(config);
    bool is_plain =
        config->heads == 0 && config->positions == 0 && config->window == 0 && !config->rotary;
    if (!is_plain) return "heads, positions, window and rotary belong to attention";
    return NULL;
}

int model_param_rows(const struct model_config *config, enum model_tensor tensor)
{
    const struct shape *shape = shape_of(config, (int)tensor);
    return shape->name != NULL ? letter_size(config, shape->rows) : 0;
}

int model_param_cols(const struct model_config *config, enum model_tensor tensor)
{
    const struct shape *shape = shape_of(config, (int)tensor);
    return shape->name != NULL ? letter_size(config, shape->cols) : 0;
}

int model_params(const struct model_config *config, struct model_param *table)
{
    int n = 0;
    struct walk walk = {.tensor = -1};
    while (walk_next(config, &walk)) {
        if (walk.count == 0) continue;
        struct model_param *param = &table[n++];
        const struct shape *shape = shape_of(config, walk.tensor);
        if (walk.tensor < MODEL_FIRST_OF_BLOCK)
            (void)snprintf(param->name, sizeof param->name, "%s", shape->name);
        else
            (void)snprintf(param->name, sizeof param->name, "block.%d.%s", walk.block, shape->name);
        param->n_dims = shape->cols == LETTER_NONE ? 1 : 2;
        param->dims[0] = letter_size(config, shape->rows);
        param->dims[1] = letter_size(config, shape->cols);
        param->dims[2] = 1;
        param->offset = walk.offset;
        param->count = walk.count;
    }
    return n;
}

size_t model_params_floats(const struct model_config *config)
{
    struct walk walk = {.tensor = -1};
    while (walk_next(config, &walk))
        ;
    return walk.offset;
}

size_t model_param_offset(const struct model_config *config, enum model_tensor tensor, int block)
{
    struct walk walk = {.tensor = -1};
    while (walk_next(config, &walk)) {
        if (walk.tensor != (int)tensor || walk.count == 0) continue;
        if (walk.tensor < MODEL_FIRST_OF_BLOCK || walk.block == block) return walk.offset;
    }
    return SIZE_MAX;
}

/* ---- start values ---- */

/* Normal with deviation 0.02, drawn again beyond 0.04. */
static float truncated_normal(struct rng *rng)
{
    double v;
    do
        v = rng_normal(rng);
    while (fabs(v) > 2.0);
    return (float)(0.02 * v);
}

/* nu_log, theta_log and gamma_log so that lambda is uniform in the ring 0.8 <= |lambda| <= 0.99 and
 * gamma = sqrt(1 - |lambda|^2) (Orvieto et al. 2023, section 3.3 and eq. 7). Each (H). */
static void init_ring(struct rng *rng, int H, float *nu_log, float *theta_log, float *gamma_log)
{
    const double r_min = 0.8, r_max = 0.99, two_pi = 6.283185307179586;
    for (int i = 0; i < H; i++) {
        double square = r_min * r_min + rng_unit(rng) * (r_max * r_max - r_min * r_min);
        nu_log[i] = (float)log(-0.5 * log(square));
        theta_log[i] = (float)log(two_pi * (rng_unit(rng) + 1e-9));
        gamma_log[i] = (float)(0.5 * log(1.0 - square));
    }
}

static void init_tensor(const struct model_config *config, struct rng *rng, const struct walk *walk,
                        float *params)
{
    float *p = params + walk->offset;
    enum start start = shape_of(config, walk->tensor)->start;
    if (start == START_RING) {
        size_t theta = model_param_offset(config, MODEL_LRU_THETA_LOG, walk->block);
        size_t gamma = model_param_offset(config, MODEL_LRU_GAMMA_LOG, walk->block);
        init_ring(rng, config->H, p, params + theta, params + gamma);
        return;
    }
    for (size_t i = 0; i < walk->count; i++) {
        if (start == START_ONE) p[i] = 1.0f;
        if (start == START_NORMAL) p[i] = truncated_normal(rng);
        if (start == START_UNIFORM)
            p[i] = (float)((2 * rng_unit(rng) - 1) / sqrt((double)config->H));
    }
}

void model_params_init(const struct model_config *config, uint64_t seed, float *params)
{
    struct rng rng;
    rng_init(&rng, seed);
    size_t total = model_params_floats(config);
    for (size_t i = 0; i < total; i++)
        params[i] = 0.0f;
    struct walk walk = {.tensor = -1};
    while (walk_next(config, &walk))
        init_tensor(config, &rng, &walk, params);
}

int model_gap_bucket(int64_t gap_ms, int n_gaps)
{
    assert(n_gaps >= 1);
    int bucket = 0;
    for (int64_t seconds = gap_ms / 1000; seconds > 0 && bucket < n_gaps - 1; seconds >>= 1)
        bucket++;
    return bucket;
}
