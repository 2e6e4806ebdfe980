/* The parameter table: which tensors an lru encoder has, their names, shapes and places in one block.
 *
 * Everything that walks over parameters (load, save, gradients, optimiser, tests) walks over this table,
 * so that a tensor is described once. */

#include "model/model.h"

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
    LETTER_F,
    LETTER_TYPES,
    LETTER_GAPS
};

/* In the order of enum model_tensor. */
static const struct {
    const char *name; /* behind "block.<l>." for the tensors of a block */
    enum letter rows, cols;
} tensors[MODEL_TENSOR_COUNT] = {
    [MODEL_ITEM_EMBEDDING] = {"item.embedding", LETTER_N, LETTER_D},
    [MODEL_ITEM_BIAS] = {"item.bias", LETTER_N, LETTER_NONE},
    [MODEL_TYPE_EMBEDDING] = {"type.embedding", LETTER_TYPES, LETTER_D},
    [MODEL_GAP_EMBEDDING] = {"gap.embedding", LETTER_GAPS, LETTER_D},
    [MODEL_INPUT_NORM_WEIGHT] = {"input.norm.weight", LETTER_D, LETTER_NONE},
    [MODEL_INPUT_NORM_BIAS] = {"input.norm.bias", LETTER_D, LETTER_NONE},
    [MODEL_LRU_NU_LOG] = {"lru.nu_log", LETTER_H, LETTER_NONE},
    [MODEL_LRU_THETA_LOG] = {"lru.theta_log", LETTER_H, LETTER_NONE},
    [MODEL_LRU_GAMMA_LOG] = {"lru.gamma_log", LETTER_H, LETTER_NONE},
    [MODEL_LRU_IN_WEIGHT] = {"lru.in.weight", LETTER_D, LETTER_2H},
    [MODEL_LRU_IN_BIAS] = {"lru.in.bias", LETTER_2H, LETTER_NONE},
    [MODEL_LRU_OUT_WEIGHT] = {"lru.out.weight", LETTER_2H, LETTER_D},
    [MODEL_LRU_OUT_BIAS] = {"lru.out.bias", LETTER_D, LETTER_NONE},
    [MODEL_LRU_NORM_WEIGHT] = {"lru.norm.weight", LETTER_D, LETTER_NONE},
    [MODEL_LRU_NORM_BIAS] = {"lru.norm.bias", LETTER_D, LETTER_NONE},
    [MODEL_FFN_IN_WEIGHT] = {"ffn.in.weight", LETTER_D, LETTER_F},
    [MODEL_FFN_IN_BIAS] = {"ffn.in.bias", LETTER_F, LETTER_NONE},
    [MODEL_FFN_OUT_WEIGHT] = {"ffn.out.weight", LETTER_F, LETTER_D},
    [MODEL_FFN_OUT_BIAS] = {"ffn.out.bias", LETTER_D, LETTER_NONE},
    [MODEL_FFN_NORM_WEIGHT] = {"ffn.norm.weight", LETTER_D, LETTER_NONE},
    [MODEL_FFN_NORM_BIAS] = {"ffn.norm.bias", LETTER_D, LETTER_NONE},
};

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
    case LETTER_F:
        return config->F;
    case LETTER_TYPES:
        return config->n_types;
    case LETTER_GAPS:
        return config->n_gaps;
    }
    return 0;
}

/* Calls the loop body for every tensor of the config in block order: shared by the functions below.
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
        walk->tensor = MODEL_LRU_NU_LOG;
        walk->block++;
    }
    walk->count = 0;
    if (walk->block == config->L) return false;
    walk->count = (size_t)letter_size(config, tensors[walk->tensor].rows) *
                  (size_t)letter_size(config, tensors[walk->tensor].cols);
    return true;
}

/* ---- public ---- */

static bool is_multiple_of_16(int value, int max)
{
    return value >= 16 && value <= max && value % 16 == 0;
}

const char *model_config_check(const struct model_config *config)
{
    if (config->N < 1 || config->N > 100000000) return "the number of items must be 1 to 100000000";
    if (!is_multiple_of_16(config->D, 1024)) return "D must be a multiple of 16 from 16 to 1024";
    if (!is_multiple_of_16(config->H, 1024)) return "H must be a multiple of 16 from 16 to 1024";
    if (!is_multiple_of_16(config->F, 4096)) return "F must be a multiple of 16 from 16 to 4096";
    if (config->L < 1 || config->L > MODEL_MAX_BLOCKS) return "L must be 1 to 8";
    if (config->n_types < 0 || config->n_types > 256) return "n_types must be 0 to 256";
    if (config->n_gaps < 0 || config->n_gaps > 64) return "n_gaps must be 0 to 64";
    return NULL;
}

int model_params(const struct model_config *config, struct model_param *table)
{
    int n = 0;
    struct walk walk = {.tensor = -1};
    while (walk_next(config, &walk)) {
        if (walk.count == 0) continue;
        struct model_param *param = &table[n++];
        const char *name = tensors[walk.tensor].name;
        if (walk.tensor < MODEL_LRU_NU_LOG)
            (void)snprintf(param->name, sizeof param->name, "%s", name);
        else
            (void)snprintf(param->name, sizeof param->name, "block.%d.%s", walk.block, name);
        param->n_dims = tensors[walk.tensor].cols == LETTER_NONE ? 1 : 2;
        param->dims[0] = letter_size(config, tensors[walk.tensor].rows);
        param->dims[1] = letter_size(config, tensors[walk.tensor].cols);
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
        if (walk.tensor < MODEL_LRU_NU_LOG || walk.block == block) return walk.offset;
    }
    return SIZE_MAX;
}

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

void model_params_init(const struct model_config *config, uint64_t seed, float *params)
{
    struct rng rng;
    rng_init(&rng, seed);
    size_t total = model_params_floats(config);
    for (size_t i = 0; i < total; i++)
        params[i] = 0.0f;
    struct walk walk = {.tensor = -1};
    while (walk_next(config, &walk)) {
        float *p = params + walk.offset;
        bool is_matrix = tensors[walk.tensor].cols != LETTER_NONE;
        bool is_scale = walk.tensor == MODEL_INPUT_NORM_WEIGHT ||
                        walk.tensor == MODEL_LRU_NORM_WEIGHT ||
                        walk.tensor == MODEL_FFN_NORM_WEIGHT;
        for (size_t i = 0; i < walk.count && (is_matrix || is_scale); i++)
            p[i] = is_scale ? 1.0f : truncated_normal(&rng);
        if (walk.tensor == MODEL_LRU_NU_LOG) {
            size_t theta = model_param_offset(config, MODEL_LRU_THETA_LOG, walk.block);
            size_t gamma = model_param_offset(config, MODEL_LRU_GAMMA_LOG, walk.block);
            init_ring(&rng, config->H, p, params + theta, params + gamma);
        }
    }
}

int model_gap_bucket(int64_t gap_ms, int n_gaps)
{
    assert(n_gaps >= 1);
    int bucket = 0;
    for (int64_t seconds = gap_ms / 1000; seconds > 0 && bucket < n_gaps - 1; seconds >>= 1)
        bucket++;
    return bucket;
}
