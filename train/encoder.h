#ifndef TRAIN_ENCODER_H
#define TRAIN_ENCODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/model.h"

/* The encoders of model/model.h over whole sequences: forward with what backward needs kept, and backward.
 * (encoder.c the frame, encoder_<kind>.c what is a kind's own, mix.h what they share)
 *
 * Letters as in model/model.h, and P: positions of a batch, all its sequences one behind the other. */

/* Sequences to learn from. All arrays are the caller's. */
struct train__batch {
    int n;            /* sequences */
    const int *start; /* (n + 1) where each begins; start[n] = P */
    int P;            /* positions */
    int32_t *item;    /* (P) what is seen at a position */
    int32_t *type;    /* (P) enum event_type */
    int32_t *gap;     /* (P) row of gap.embedding; 0 when the model has none */
    int32_t *target;  /* (P) what comes next */
};

/* Working memory of one thread. Grows to the largest batch seen. */
struct train__encoder;

struct train__encoder *train__encoder_new(const struct model_config *config);
void train__encoder_free(struct train__encoder *encoder);

/* Runs the batch; returns the user vectors (P,D), which live until the next call. params: one parameter block.
 * rate: dropout; 0 for evaluation. seed: of the dropout choices. */
const float *train__encoder_forward(struct train__encoder *encoder, const float *params,
                                    const struct train__batch *batch, float rate, uint32_t seed);
/* Adds to grads (a block like params) the gradient of all that forward read, from that of the user vectors: grad (P,D), which
 * is overwritten. After forward with the same batch and params. */
void train__encoder_backward(struct train__encoder *encoder, const float *params,
                             const struct train__batch *batch, float *grad, float *grads);

/* out (m,n) = alpha a b + beta out, row-major; a is (m,k), or (k,m) when a_flip; b is (k,n), or (n,k) when b_flip. */
void train__matmul(int m, int n, int k, const float *a, int lda, bool a_flip, const float *b,
                   int ldb, bool b_flip, float beta, float *out, int ldo);

#endif
