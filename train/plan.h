#ifndef TRAIN_PLAN_H
#define TRAIN_PLAN_H

#include "train/content.h"
#include "train/train.h"

/* What is learnt from and what is held out, cut from a data set. (plan.c) */

/* Events [begin, end) of train__plan.events, one behind the other in time. The inputs are all but the last, the targets all
 * but the first, or, where a span is held out, the last `tail`. */
struct train__span {
    size_t begin, end;
    int tail;
};

struct train__plan {
    int N;                         /* items to learn, the most frequent first */
    struct str *ids;               /* (N) borrowed from the data set */
    double *share;                 /* (N) of an item among the targets */
    struct train__content content; /* of the N items */
    struct train_event
        *events; /* training part; item is an index below N, time_ms the gap to the one before it */
    struct train__span *sequences; /* (n_sequences) at most max_len inputs each */
    int n_sequences;
    uint64_t n_positions;         /* inputs of all sequences */
    int longest;                  /* inputs of the longest sequence */
    struct train__span *held_out; /* (n_held_out) tails are predicted, and are in no sequence */
    int n_held_out;
    int n_held_targets; /* the sum of their tails */
};

/* Errors: ERR_FATAL exit 2 nothing to learn from; no item is in the catalogue. data and the catalogue outlive the plan. */
MUST_USE bool train__plan_make(struct train__plan *plan, const struct train_data *data,
                               const struct train_options *options, struct err *err);
void train__plan_free(struct train__plan *plan);

#endif
