#ifndef TRAIN_BASKETS_TALLY_H
#define TRAIN_BASKETS_TALLY_H

#include "train/train.h"

/* What eval_baskets.c tells of its lists, and what they come to (baskets.h). Inside train/ only. */

struct train__basket_tally {
    const struct basket_options *options;
    int n_items;
    uint8_t *band; /* (n_items) */
    double band_weight[BANDS];
    double *hr; /* (n_orders, BASKET_ARMS, BASKET_K_MAX) of each asked order */
    size_t n_orders, cap;
    double any[BASKET_ARMS][BASKET_K_MAX];
    double band_hits[BASKET_ARMS][BANDS][BASKET_K_MAX];
    uint8_t *best_rank[BASKET_ARMS]; /* (n_items) the best rank at which a list held it; 0: none */
};

/* count (n_items): how often an item stood in an order so far: what the bands follow from. */
void train__basket_tally_init(struct train__basket_tally *tally,
                              const struct basket_options *options, const uint32_t *count,
                              int n_items);
void train__basket_tally_fini(struct train__basket_tally *tally);
/* The next order: what follows belongs to it. */
void train__basket_tally_order(struct train__basket_tally *tally);
/* A target, weight: of the order's 1. */
void train__basket_tally_target(struct train__basket_tally *tally, int32_t item, double weight);
/* A list (n) of an arm for a query with so many targets; is_target tells which they are. share: of the query in its order. */
void train__basket_tally_list(struct train__basket_tally *tally, enum basket_arm arm,
                              const int32_t *list, int n, const bool *is_target, int n_targets,
                              double share);
void train__basket_tally_finish(const struct train__basket_tally *tally,
                                struct basket_result *result);

#endif
