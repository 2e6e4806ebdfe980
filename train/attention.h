#ifndef TRAIN_ATTENTION_H
#define TRAIN_ATTENTION_H

#include <stdbool.h>
#include <stdint.h>

#include "train/kernels.h"

/* Causal self attention of many heads over one sequence at a time, forward and backward. (attention.c)
 *
 * d = H / heads columns belong to each head; T rows are the steps of one sequence. For each head, row t of
 *
 *   out = dropout(softmax over s <= t of (Q K^T / sqrt d)) V        (Vaswani et al. 2017, eq. 1)
 *
 * Nothing as large as T x T outlives a call: the backward pass makes the softmax of each head again from Q and K. */
struct train__attention {
    const struct train__kernels *kernels;
    int H, heads;
    bool rotary;  /* queries and keys are turned by their step (Su et al. 2021) */
    float *turns; /* (turns_T, 2, d/2) cosine and sine of the angles of each step */
    int turns_T;
    float *weights, *dweights; /* (T, T rounded up to 16) of one head; room for weights_T */
    int weights_T;
};

void train__attention_init(struct train__attention *attention, const struct train__kernels *kernels,
                           int H, int heads, bool rotary);
void train__attention_fini(struct train__attention *attention);
/* qkv (T,3H): Q, K and V of each step; with rotary Q and K are turned in place. out (T,H) written.
 * rate, seed: dropout of the softmax, as in train__kernels. */
void train__attention_forward(struct train__attention *attention, int T, float *qkv, float rate,
                              uint32_t seed, float *out);
/* grad (T,H) of out -> dqkv (T,3H) written: by the queries and keys before they were turned. qkv, rate, seed as forward left
 * and had them. */
void train__attention_backward(struct train__attention *attention, int T, const float *qkv,
                               const float *grad, float rate, uint32_t seed, float *dqkv);

#endif
