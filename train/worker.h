#ifndef TRAIN_WORKER_H
#define TRAIN_WORKER_H

#include "base/rng.h"
#include "train/encoder.h"
#include "train/loss.h"
#include "train/plan.h"

/* One thread's share of a batch: its sequences, in micro-batches that fit the caches, become a gradient. (worker.c) */

struct train__worker;

/* What an option --loss does with a micro-batch. (loss_kinds.c) */
struct train__loss_kind {
    int positions; /* of a micro-batch, at most */
    bool
        is_sparse; /* only rows of the item tensors that it, or the encoder, marks as touched have a gradient */
    void (*init)(struct train__worker *worker); /* scratch of its own, or NULL */
    /* Writes worker->dx, adds to worker->grads and sets touched; returns the loss summed over positions. x (P,D) user vectors. */
    double (*run)(struct train__worker *worker, const float *params, const float *x, float scale);
};
extern const struct train__loss_kind train__loss_kinds[]; /* by enum train_loss */

struct train__worker {
    const struct train__loss_kind *kind;
    const struct model_config *config;
    const struct train__plan *plan;
    const struct train_options *options;
    struct train__encoder *encoder;
    struct train__loss *loss;
    float *grads; /* one parameter block; zero where touched is 0 */
    uint8_t *
        touched; /* (N) rows of the item tensors whose gradient may not be zero; all 1 unless the loss is sparse */
    struct rng rng; /* of the negatives; seeded for each batch */
    /* A sparse loss and items with content: mixed (content.h) are the rows that are looked at, before they are. */
    float *seen;         /* one parameter block; NULL: params hold the item vectors already */
    uint32_t *seen_at;   /* (N) the batch for which a row was mixed */
    uint32_t batches;    /* the one under way, from 1 */
    const float *params; /* of it, not mixed */
    double sum;          /* loss of the batch, summed over positions */
    /* The micro-batch. */
    int positions_max;
    int *start;       /* (positions_max + 1) */
    int32_t *columns; /* what item, type, gap and target of `batch` point into */
    struct train__batch batch;
    float *dx;                    /* (positions_max,D) */
    struct train__masked *masked; /* (positions_max) of the ranks */
    /* Sampled softmax: the candidates. gBCE: candidate and logit, those of one position. */
    int candidates_max;
    int n_candidates;
    int32_t *candidate;                           /* (candidates_max) item */
    int32_t *place;                               /* (N) of an item among the candidates; -1 none */
    int32_t *target;                              /* (positions_max) candidate index */
    float *weight, *dweight;                      /* (candidates_max,D) */
    float *bias, *boost, *spread, *dbias, *logit; /* (candidates_max) */
};

void train__worker_init(struct train__worker *worker, const struct model_config *config,
                        const struct train__plan *plan, const struct train_options *options);
void train__worker_fini(struct train__worker *worker);
/* The full softmax's arguments for the worker's micro-batch, without smoothing. x (P,D). */
struct train__softmax train__softmax_of_all(struct train__worker *worker, const float *params,
                                            const float *x, float scale);
/* Mixes the rows of item.embedding of these items for the batch under way; nothing without worker->seen. */
void train__worker_see(struct train__worker *worker, const int32_t *items, int n);
/* Adds the gradient of n sequences to worker->grads. params: not mixed if worker->seen is there. scale: 1 / positions of the whole batch. seed: of dropout and negatives.
 * Thread: one a worker. */
void train__worker_run(struct train__worker *worker, const float *params,
                       const struct train__span *sequences, int n, float scale, uint64_t seed);
/* Ranks of the tails of n spans, after at most max_len inputs in all, less what options->mask leaves out. rank (sum of the tails) written; returns how many. */
int train__worker_ranks(struct train__worker *worker, const float *params,
                        const struct train__span *spans, int n, int32_t *rank);

#endif
