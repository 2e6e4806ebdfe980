/* The gru encoder's part of a block: gated recurrent units.
 *
 * A row needs the state that the row before it left, so rows go in waves: the first of every state, then the second of
 * those that have one, and so on. The recurrent product takes a whole wave at once.
 *
 * A state: for each block h (H). */

#include "model/internal.h"

#include <string.h>

struct waves {
    int n;
    int start[MODEL_MAX_BATCH + 1]; /* (n + 1) where each begins in row */
    int row[MODEL_MAX_BATCH];
};

/* The rows by wave, in order within each. */
static void plan(int n, const struct model_row *rows, struct waves *waves)
{
    int wave[MODEL_MAX_BATCH];
    memset(waves->start, 0, sizeof waves->start);
    waves->n = 0;
    for (int r = 0; r < n; r++) {
        int before = r - 1;
        while (before >= 0 && rows[before].state != rows[r].state)
            before--;
        wave[r] = before >= 0 ? wave[before] + 1 : 0;
        waves->start[wave[r] + 1]++;
        if (wave[r] == waves->n) waves->n++;
    }
    for (int w = 0; w < waves->n; w++)
        waves->start[w + 1] += waves->start[w];
    int next[MODEL_MAX_BATCH];
    memcpy(next, waves->start, (size_t)waves->n * sizeof *next);
    for (int r = 0; r < n; r++)
        waves->row[next[wave[r]]++] = r;
}

/* One wave of m rows. own: (m,H) the states before it, then (m,3H) their products. */
static void step_wave(const struct model *model, struct model_scratch *scratch, int block, int m,
                      const int *row, const struct model_row *rows)
{
    const struct model__kernels *k = model->kernels;
    size_t H = (size_t)model->config.H;
    float *before = scratch->own, *product = scratch->own + (size_t)m * H;
    for (int i = 0; i < m; i++) {
        float *h = rows[row[i]].state + (size_t)block * H;
        if (rows[row[i]].fresh) memset(h, 0, H * sizeof *h);
        memcpy(before + (size_t)i * H, h, H * sizeof *h);
    }
    k->matmul(m, (int)H, 3 * (int)H, before, model__packed(model, MODEL_GRU_STATE_WEIGHT, block),
              model__tensor(model, MODEL_GRU_STATE_BIAS, block), product);
    for (int i = 0; i < m; i++) {
        float *h = rows[row[i]].state + (size_t)block * H;
        k->gate((int)H, scratch->u + (size_t)row[i] * 3 * H, product + (size_t)i * 3 * H, h);
        memcpy(scratch->h + (size_t)row[i] * H, h, H * sizeof *h);
    }
}

static void mix(const struct model *model, struct model_scratch *scratch, int block, int n,
                const struct model_row *rows)
{
    struct waves waves;
    plan(n, rows, &waves);
    for (int w = 0; w < waves.n; w++)
        step_wave(model, scratch, block, waves.start[w + 1] - waves.start[w],
                  waves.row + waves.start[w], rows);
}

static int state_floats(const struct model_config *config)
{
    return config->L * config->H;
}

static int row_floats(const struct model_config *config)
{
    return 4 * config->H;
}

const struct model__encoder model__encoder_gru = {
    .state_floats = state_floats,
    .row_floats = row_floats,
    .mix = mix,
};
