#ifndef TRAIN_EVAL_H
#define TRAIN_EVAL_H

#include "train/train.h"

/* Shared by the arms of an evaluation. */

/* ---- tally.c: lists against targets ---- */

struct train__tally {
    const struct eval_options *options;
    uint64_t n;                                               /* targets, misses too */
    double hr[EVAL_K_MAX], ndcg[EVAL_K_MAX], mrr[EVAL_K_MAX]; /* sums */
    uint8_t *
        level; /* (n_items) index of the smallest k that an item was listed for; EVAL_K_MAX never */
    int n_items;
};

void train__tally_init(struct train__tally *tally, const struct eval_options *options, int n_items);
/* One target and its list (n, best first; -1 ends it early). target -1: cannot be in the list. */
void train__tally_add(struct train__tally *tally, const int32_t *list, int n, int32_t target);
/* A target for which there is no list. */
void train__tally_miss(struct train__tally *tally);
/* Writes the means; coverage is of `catalogue` items. Frees what the tally holds. */
void train__tally_finish(struct train__tally *tally, int catalogue, struct eval_metrics *metrics);

/* ---- eval.c: which events are predicted, from what ---- */

/* The first event of a user that may be predicted (its end when none). */
size_t train__eval_first(const struct train_data *data, struct train_split split, int user);
/* Whether event e of data counts as a target. */
bool train__eval_is_target(const struct eval_options *options, const struct train_event *event);
/* Where the window begins once event `at` is in it: the older half goes when it is full (docs/STATE.md, rule 8). */
size_t train__eval_window(const struct eval_options *options, size_t window_start, size_t at);

/* ---- popularity.c ---- */

/* Fills result->popular and result->popular_recent. */
void train__eval_popularity(const struct train_data *data, const struct train_data *history,
                            const struct eval_options *options, int catalogue,
                            struct eval_result *result);

#endif
