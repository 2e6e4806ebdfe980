#ifndef TRAIN_LOSS_H
#define TRAIN_LOSS_H

#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"
#include "train/train.h"

/* Losses over user vectors, forward and backward in one go.
 *
 * Letters: P positions, C candidates, D dimension. x (P,D) user vectors, W (C,D) item vectors. */

/* Working memory of one thread. */
struct train__loss;

/* memory_max: bytes for logits; at least one row of C is taken. Thread: one owner. */
struct train__loss *train__loss_new(size_t memory_max);
void train__loss_free(struct train__loss *loss);

/* ---- softmax cross-entropy over a set of candidates (loss.c) ---- */

/*   logit[p,c] = dot(x[p], W[c]) + bias[c] (+ boost[c] when c is the target of p)
 *   loss       = - sum over p, c of q[p,c] log softmax(logit[p])[c]
 *   q[p,c]     = smoothing spread[c] (+ 1 - smoothing when c is the target of p)    (Szegedy et al. 2016, section 7)
 *
 * With all items as candidates this is the full softmax. With a sample it is the sampled softmax with logQ correction: bias
 * holds -log of the chance to be in the sample, boost that log again (worker's candidates, loss_kinds.c). */
struct train__softmax {
    int P, C, D;
    const float *x;        /* (P,D) */
    const float *weight;   /* (C,D) */
    const float *bias;     /* (C) */
    const float *boost;    /* (C), or NULL for zeros */
    const int32_t *target; /* (P) candidate index */
    float smoothing;       /* [0,1) */
    const float *spread;   /* (C), adds up to 1 or about 1; NULL for 1 / C */
    float scale;           /* of the gradients: 1 / positions of the whole batch */
    float *dx;             /* (P,D) written */
    float *dweight;        /* (C,D) added to */
    float *dbias;          /* (C rounded up to 16) added to; what lies behind C is meaningless */
};

/* Returns the loss summed over positions, not scaled (with smoothing and boost: of the candidates' logits without boost in the
 * smoothed part). */
double train__loss_softmax(struct train__loss *loss, const struct train__softmax *args);

/* Items that a position's ranks leave out: those of events [0, n). */
struct train__masked {
    const struct train_event *events;
    int n;
};

/* Ranks only, no gradient (dx, dweight, dbias unused): rank[p] = 1 + how many candidates score above the target, ties that
 * have a smaller index counted. masked (P), or NULL for none: its items, which are candidates' indices, do not count; a target
 * among them has the rank C + 1. */
void train__loss_ranks(struct train__loss *loss, const struct train__softmax *args,
                       const struct train__masked *masked, int32_t *rank);

/* ---- generalised binary cross-entropy (gbce.c) ---- */

/*   loss = sum over p of -1 / (K + 1) (beta log sigma(s[p,target]) + sum over K negatives c of log(1 - sigma(s[p,c])))
 *   beta = 1 - t (1 - alpha),  alpha = K / (C - 1)                     (Petrov and Macdonald 2023, gSASRec, eq. 9 and 10)
 *
 * s as logit above, without boost. Each position has K negatives of its own, drawn evenly from all candidates but its target. t: 0 is
 * binary cross-entropy, 1 makes sigma(s) a calibrated probability. */
struct train__gbce {
    int P, C, D;
    int K; /* negatives, at least 1; 0 when C is 1 */
    double t;
    const float *x, *weight, *bias; /* as above */
    const int32_t *target;
    float scale;
    float *dx;              /* (P,D) written */
    float *dweight, *dbias; /* (C,D), (C) added to */
    uint8_t *touched;       /* (C) set to 1 where dweight or dbias were added to */
    /* Called with the candidates of each position before their weights are read; NULL: nobody asks. */
    void (*before)(void *context, const int32_t *candidate, int n);
    void *context;
    int32_t *candidate; /* (K + 1) scratch */
    float *logit;       /* (K + 1) scratch */
    const struct train__kernels *kernels;
};

/* Returns the loss summed over positions, not scaled. rng draws the negatives. */
double train__loss_gbce(const struct train__gbce *args, struct rng *rng);

#endif
