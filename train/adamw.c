/* AdamW over the parameter table. */
#include "train/adamw.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

void train__adamw_init(struct train__adamw *adamw, const struct model_config *config)
{
    *adamw = (struct train__adamw){.kernels = train__kernels_best(), .config = *config};
    adamw->n = model_params(config, adamw->table);
    size_t bytes = model_params_floats(config) * sizeof(float);
    adamw->mean = mem_aligned(64, bytes);
    adamw->square = mem_aligned(64, bytes);
}

void train__adamw_fini(struct train__adamw *adamw)
{
    mem_free(adamw->mean);
    mem_free(adamw->square);
}

/* A run of floats that is stepped as one: a tensor with its padding, or touched rows next to each other. */
struct run {
    size_t offset, count;
    bool decays;
};

struct run_walk {
    int tensor;
    size_t row; /* of the item embedding */
};

/* The next run; false at the end. Starts zeroed. */
static bool next_run(const struct train__adamw *a, const uint8_t *touched, struct run_walk *walk,
                     struct run *run)
{
    size_t N = (size_t)a->config.N, D = (size_t)a->config.D;
    while (walk->tensor == 0) { /* item.embedding stands first in the table */
        while (walk->row < N && !touched[walk->row])
            walk->row++;
        size_t first = walk->row;
        while (walk->row < N && touched[walk->row])
            walk->row++;
        *run = (struct run){a->table[0].offset + first * D, (walk->row - first) * D, true};
        if (run->count > 0) return true;
        walk->tensor = 1;
    }
    if (walk->tensor >= a->n) return false;
    const struct model_param *param = &a->table[walk->tensor++];
    *run = (struct run){param->offset, (param->count + 15) / 16 * 16, param->n_dims > 1};
    return true;
}

void train__adamw_merge(const struct train__adamw *adamw, float *to, float *from,
                        const uint8_t *touched)
{
    struct run run;
    struct run_walk walk = {0};
    while (next_run(adamw, touched, &walk, &run)) {
        for (size_t i = run.offset; i < run.offset + run.count; i++)
            to[i] += from[i];
        memset(from + run.offset, 0, run.count * sizeof(float));
    }
}

void train__adamw_step(struct train__adamw *adamw, float *params, float *grads,
                       const uint8_t *touched, double rate, double decay, double clip)
{
    struct train__adamw *a = adamw;
    struct run run;
    double squares = 0;
    for (struct run_walk walk = {0}; clip > 0 && next_run(a, touched, &walk, &run);)
        squares += a->kernels->square_sum(run.count, grads + run.offset);
    double norm = sqrt(squares);
    float scale = clip > 0 && norm > clip ? (float)(clip / norm) : 1.0f;

    a->steps++;
    double root = sqrt(1 - pow(0.999, (double)a->steps));
    float corrected = (float)(rate * root / (1 - pow(0.9, (double)a->steps)));
    float epsilon = (float)(1e-8 * root);
    for (struct run_walk walk = {0}; next_run(a, touched, &walk, &run);) {
        a->kernels->adamw(run.count, params + run.offset, grads + run.offset, scale,
                          a->mean + run.offset, a->square + run.offset, corrected, epsilon,
                          run.decays ? (float)(1 - rate * decay) : 1.0f);
        memset(grads + run.offset, 0, run.count * sizeof(float));
    }
}
