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
};

void train__adamw_init(struct train__adamw *adamw, const struct model_config *config);
void train__adamw_fini(struct train__adamw *adamw);
/* One step. touched (N): rows of item.embedding. clip: largest norm of grads, 0 none. grads are zero afterwards, but for
 * rows that are not touched, which are not looked at. */
void train__adamw_step(struct train__adamw *adamw, float *params, float *grads,
                       const uint8_t *touched, double rate, double decay, double clip);
/* to += from for all that a step looks at; `from` is zero afterwards. */
void train__adamw_merge(const struct train__adamw *adamw, float *to, float *from,
                        const uint8_t *touched);

#endif
