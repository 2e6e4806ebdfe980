/* The lru encoder's part of a block: the recurrence of each row's own state.
 *
 * The matrix products take all rows at once; only the recurrence goes row by row, and there the row's own state, or
 * the row before, is what it goes on from.
 *
 * A state: for each block h as (2H), real parts first. */

#include "model/internal.h"

#include <string.h>

static const float *block_lambda(const struct model *model, int block)
{
    return model->lambda + (size_t)block * 3 * (size_t)model->config.H;
}

/* The recurrence of one block, row after row: h (rows,2H) of the scratch <- the states behind it. */
static void recur_rows(const struct model *model, struct model_scratch *scratch, int block, int n,
                       const struct model_row *rows)
{
    size_t width = 2 * (size_t)model->config.H;
    for (int r = 0; r < n; r++) {
        float *h = rows[r].state + (size_t)block * width;
        if (rows[r].fresh) memset(h, 0, width * sizeof *h);
        model->kernels->recur(model->config.H, block_lambda(model, block),
                              scratch->u + (size_t)r * width, h);
        memcpy(scratch->h + (size_t)r * width, h, width * sizeof *h);
    }
}

/* u = x B + b, h = lambda h + gamma u. */
static void mix(const struct model *model, struct model_scratch *scratch, int block, int n,
                const struct model_row *rows)
{
    const struct model_config *c = &model->config;
    model->kernels->matmul(n, c->D, 2 * c->H, scratch->x,
                           model__packed(model, MODEL_LRU_IN_WEIGHT, block),
                           model__tensor(model, MODEL_LRU_IN_BIAS, block), scratch->u);
    recur_rows(model, scratch, block, n, rows);
}

static int state_floats(const struct model_config *config)
{
    return config->L * 2 * config->H;
}

const struct model__encoder model__encoder_lru = {
    .name = "lru",
    .state_floats = state_floats,
    .mix = mix,
};
