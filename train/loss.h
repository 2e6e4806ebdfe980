#ifndef TRAIN_LOSS_H
#define TRAIN_LOSS_H

#include <stddef.h>
#include <stdint.h>

#include "train/train.h"

/* Softmax cross-entropy over a set of candidates, forward and backward in one go. (loss.c)
 *
 *   logit[p,c] = dot(x[p], W[c]) + bias[c] (+ boost[c] when c is the target of p)
 *   loss       = sum over p of -log softmax(logit[p])[target[p]]
 *
 * Letters: P positions, C candidates. With all items as candidates this is the full softmax; with a sample whose bias
 * holds -log of the chance to be in the sample, and boost that log again, the denominator is its Horvitz-Thompson estimate. */

struct train__loss;

/* memory_max: bytes for logits; at least one row of C is taken. Thread: one owner. */
struct train__loss *train__loss_new(size_t memory_max);
void train__loss_free(struct train__loss *loss);

/* Items that a position's ranks leave out: those of events [0, n). */
struct train__masked {
    const struct train_event *events;
    int n;
};

struct train__softmax {
    int P, C, D;
    const float *x;        /* (P,D) */
    const float *weight;   /* (C,D) */
    const float *bias;     /* (C) */
    const float *boost;    /* (C), or NULL for zeros */
    const int32_t *target; /* (P) candidate index */
    float scale;           /* of the gradients: 1 / positions of the whole batch */
    float *dx;             /* (P,D) written */
    float *dweight;        /* (C,D) added to */
    float *dbias;          /* (C rounded up to 16) added to; what lies behind C is meaningless */
};

/* Returns the loss summed over positions, not scaled. */
double train__loss_softmax(struct train__loss *loss, const struct train__softmax *args);
/* Ranks only, no gradient (dx, dweight, dbias unused): rank[p] = 1 + how many candidates score above the target, ties that
 * have a smaller index counted. masked (P), or NULL for none: its items, which are candidates' indices, do not count; a target
 * among them has the rank C + 1. */
void train__loss_ranks(struct train__loss *loss, const struct train__softmax *args,
                       const struct train__masked *masked, int32_t *rank);

#endif
