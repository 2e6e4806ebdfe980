#ifndef TRAIN_BASKETS_H
#define TRAIN_BASKETS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "model/model.h"

/* How well partners (model/partners.h) complete orders: prequential, over the orders of a log by time. A chapter of
 * train/train.h, which includes it.
 *
 * Each asked order is first predicted from all orders before it, then learnt. Of an order one item is given, the others are its
 * targets, ranked among all items; each of its items is given in turn. Or several items are given, drawn by the seed: a cart.
 * (eval_baskets.c, baskets_tally.c)
 *
 * A "user" of the data is one order: the log is read with user= mapped to the order's id. */

enum basket_arm {
    BASKET_TOGETHER, /* rows and marginals with the given score, half-life and bounds */
    BASKET_COUNTS,   /* raw co-occurrence: no decay, every pair of every order counts 1 */
    BASKET_POPULAR,  /* decayed counts of items */
    BASKET_ARMS
};
extern const char *const basket_arm_names[BASKET_ARMS];

/* Targets by how often their item stood in orders before the first asked one, as EVAL_BY_POPULARITY. */
enum basket_band { BAND_HEAD, BAND_MID, BAND_TAIL, BANDS };
extern const char *const basket_band_names[BANDS];

enum { BASKET_GIVEN_MAX = 32, BASKET_K_MAX = 8 };

struct train_data;

struct basket_options {
    double from,
        until; /* shares of the orders: those between are asked, those behind not looked at */
    int given; /* 1: each item alone; else so many as a cart, 2..BASKET_GIVEN_MAX */
    struct model_score_options score;
    double half_life_ms; /* of pairs; 0: none */
    int partners_max;    /* of a row, 4..MODEL_PARTNERS_MAX */
    int basket_max;      /* orders with more different items teach BASKET_TOGETHER nothing */
    double popular_half_life_ms;
    int k[BASKET_K_MAX]; /* ascending, 1..100 */
    int n_k;
    int resamples; /* of orders, for the intervals; 0: none */
    uint64_t seed; /* of the resamples and carts */
    /* Called now and then with the share done; may be NULL. */
    void (*progress)(void *context, double share);
    void *context;
};

/* Each order weighs the same, and so does each of its queries. */
struct basket_metrics {
    double hr[BASKET_K_MAX];          /* share of the targets within the first k */
    double any[BASKET_K_MAX];         /* share of the queries with a target within the first k */
    double band[BANDS][BASKET_K_MAX]; /* hr of the targets of a band */
    double coverage[BASKET_K_MAX]; /* items that stood in a list / items that stood in an order */
    double low[BASKET_K_MAX], high[BASKET_K_MAX]; /* of hr: 95 % of resampled orders */
    /* hr of BASKET_TOGETHER / hr of this arm, likewise. */
    double ratio_low[BASKET_K_MAX], ratio_high[BASKET_K_MAX];
};

struct basket_result {
    uint64_t orders;          /* read */
    uint64_t asked;           /* orders with more items than are given, from `from` to `until` */
    uint64_t queries;         /* of these */
    uint64_t skipped;         /* orders before `until` over basket_max */
    int items;                /* that stood in an order before `until` */
    double band_share[BANDS]; /* of the targets, weighed as the metrics */
    struct basket_metrics arms[BASKET_ARMS];
};

/* Errors: ERR_FATAL exit 2: no order to ask. */
MUST_USE bool eval_baskets(const struct train_data *data, const struct basket_options *options,
                           struct basket_result *result, struct err *err);

#endif
