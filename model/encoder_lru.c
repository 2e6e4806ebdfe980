/* The lru encoder's part of a block: the recurrence of each row's own state.
 *
 * The recurrence goes row by row; the row's own state, or the row before, is what it goes on from.
 *
 * A state: for each block h as (2H), real parts first. Derived: lambda (L,3,H): real part, imaginary part, gamma. */

#include "model/internal.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

/* lambda and gamma of each block, in double and rounded once. */
static bool derive(struct model *model, struct err *err)
{
    int H = model->config.H;
    model->derived = mem_aligned(64, (size_t)model->config.L * 3 * (size_t)H * sizeof(float));
    for (int block = 0; block < model->config.L; block++) {
        float *out = model->derived + (size_t)block * 3 * (size_t)H;
        const float *nu_log = model__tensor(model, MODEL_LRU_NU_LOG, block);
        const float *theta_log = model__tensor(model, MODEL_LRU_THETA_LOG, block);
        const float *gamma_log = model__tensor(model, MODEL_LRU_GAMMA_LOG, block);
        for (int i = 0; i < H; i++) {
            double size = exp(-exp((double)nu_log[i])), angle = exp((double)theta_log[i]);
            out[i] = (float)(size * cos(angle));
            out[H + i] = (float)(size * sin(angle));
            out[2 * H + i] = (float)exp((double)gamma_log[i]);
            if (!isfinite(out[i]) || !isfinite(out[H + i]) || !isfinite(out[2 * H + i]))
                return err_fatal(err, ERR_EXIT_MODEL,
                                 "block %d, unit %d: theta_log or gamma_log is too large", block,
                                 i);
        }
    }
    return true;
}

/* h = lambda h + gamma u, row after row: h (n,2H) of the scratch <- the states behind it. */
static void mix(const struct model *model, struct model_scratch *scratch, int block, int n,
                const struct model_row *rows)
{
    size_t H = (size_t)model->config.H, width = 2 * H;
    const float *lambda = model->derived + (size_t)block * 3 * H;
    for (int r = 0; r < n; r++) {
        float *h = rows[r].state + (size_t)block * width;
        if (rows[r].fresh) memset(h, 0, width * sizeof *h);
        model->kernels->recur((int)H, lambda, scratch->u + (size_t)r * width, h);
        memcpy(scratch->h + (size_t)r * width, h, width * sizeof *h);
    }
}

static int state_floats(const struct model_config *config)
{
    return config->L * 2 * config->H;
}

const struct model__encoder model__encoder_lru = {
    .state_floats = state_floats,
    .derive = derive,
    .mix = mix,
};
