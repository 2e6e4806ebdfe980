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

/* A share's piece of a run. Counts are multiples of 16. */
static struct run piece_of(struct run run, struct train__adamw_share share)
{
    size_t vectors = run.count / 16, n = (size_t)share.n, index = (size_t)share.index;
    size_t first = vectors * index / n * 16, end = vectors * (index + 1) / n * 16;
    return (struct run){run.offset + first, end - first, run.decays};
}

/* Floats that are done before the next ones, so that a second look at them finds them in the cache. */
enum { BLOCK = 4096 };

static size_t block_at(const struct run *run, size_t i)
{
    return run->count - i < BLOCK ? run->count - i : BLOCK;
}

double train__adamw_merge(const struct train__adamw *adamw, float *to, float *from,
                          const uint8_t *touched, struct train__adamw_share share)
{
    struct run run;
    double squares = 0;
    for (struct run_walk walk = {0}; next_run(adamw, touched, &walk, &run);) {
        struct run piece = piece_of(run, share);
        for (size_t i = 0; i < piece.count; i += BLOCK) {
            size_t n = block_at(&piece, i);
            float *a = to + piece.offset + i, *b = from + piece.offset + i;
            adamw->kernels->add_scaled(n, b, 1.0f, a);
            memset(b, 0, n * sizeof(float));
            squares += adamw->kernels->square_sum(n, a);
        }
    }
    return squares;
}

void train__adamw_begin(struct train__adamw *adamw, double squares, double rate, double decay,
                        double clip)
{
    struct train__adamw *a = adamw;
    double norm = sqrt(squares);
    a->steps++;
    double root = sqrt(1 - pow(0.999, (double)a->steps));
    a->grad_scale = clip > 0 && norm > clip ? (float)(clip / norm) : 1.0f;
    a->rate = (float)(rate * root / (1 - pow(0.9, (double)a->steps)));
    a->epsilon = (float)(1e-8 * root);
    a->keep = (float)(1 - rate * decay);
}

void train__adamw_step(const struct train__adamw *adamw, float *params, float *grads,
                       const uint8_t *touched, struct train__adamw_share share)
{
    const struct train__adamw *a = adamw;
    struct run run;
    for (struct run_walk walk = {0}; next_run(a, touched, &walk, &run);) {
        struct run piece = piece_of(run, share);
        for (size_t i = 0; i < piece.count; i += BLOCK) {
            size_t n = block_at(&piece, i), at = piece.offset + i;
            a->kernels->adamw(n, params + at, grads + at, a->grad_scale, a->mean + at,
                              a->square + at, a->rate, a->epsilon, run.decays ? a->keep : 1.0f);
            memset(grads + at, 0, n * sizeof(float));
        }
    }
}
