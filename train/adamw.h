#ifndef TRAIN_ADAMW_H
#define TRAIN_ADAMW_H

#include "model/model.h"
#include "train/kernels.h"

/* The optimiser: AdamW (Loshchilov and Hutter 2019) over the parameter table, with gradient clipping. (adamw.c)
 *
 * Matrices decay, vectors (biases, norms, the recurrence) do not. Rows of item.embedding that no example touched are left
 * alone, moments included, as with sparse gradients. */
struct train__adamw {
    const struct train__kernels *kernels;
    struct model_config config;
    struct model_param table[MODEL_MAX_PARAMS];
    int n;
    float *mean, *square; /* moments, one parameter block each */
    uint64_t steps;
    /* Of the step under way; train__adamw_begin. */
    float grad_scale, rate, epsilon, keep;
};

/* The part of the work that one of several threads does: of n shares, the one with this index. Each share is the same piece of
 * memory whoever does it, so that a result does not depend on the number of threads. */
struct train__adamw_share {
    int index, n;
};

void train__adamw_init(struct train__adamw *adamw, const struct model_config *config);
void train__adamw_fini(struct train__adamw *adamw);
/* A step in three parts. touched (N): rows of item.embedding that have a gradient; what is not touched is not looked at.
 * First: to += from, from = 0; returns the sum of squares of `to`. Thread: one a share. */
double train__adamw_merge(const struct train__adamw *adamw, float *to, float *from,
                          const uint8_t *touched, struct train__adamw_share share);
/* Then, once: squares, the sum over the shares; clip: largest norm of a gradient, 0 none. */
void train__adamw_begin(struct train__adamw *adamw, double squares, double rate, double decay,
                        double clip);
/* Last: params and moments move, grads = 0. Thread: one a share. */
void train__adamw_step(const struct train__adamw *adamw, float *params, float *grads,
                       const uint8_t *touched, struct train__adamw_share share);

#endif
