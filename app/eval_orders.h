#ifndef APP_EVAL_ORDERS_H
#define APP_EVAL_ORDERS_H

#include "base/options.h"
#include "train/train.h"

/* `freshet eval --protocol baskets`: partners of items that stand in one order, measured on a log (train/baskets.h). Prints a table on stderr
 * and one JSON object on stdout. k (n_k): ascending list lengths. Errors: ERR_FATAL exit 2. Thread: main's. */
MUST_USE bool eval_orders_run(const struct options *flags, const int *k, int n_k, struct err *err);

/* The specs of its flags, to be placed in the verb's table. */
/* clang-format off */
#define EVAL_ORDERS_FLAGS(group) \
    {"given", OPTION_INT, "1", 1, BASKET_GIVEN_MAX, "items", NULL, \
     "1: each item of an order is given, the others are predicted; more: so many drawn items at once, a cart.", group}, \
    {"split-orders", OPTION_NUMBER, "0.8", 0, 1, "", NULL, \
     "The share of the orders, by time, that is learnt before the first is predicted.", group}, \
    {"until-orders", OPTION_NUMBER, "1", 0, 1, "", NULL, \
     "The share of the orders after which nothing is read: --split-orders 0.6 --until-orders 0.8 to choose options on.", group}, \
    {"score", OPTION_ENUM, "cosine", 0, 0, "", "count|cosine|lift|llr", "How partners are scored.", group}, \
    {"prior", OPTION_NUMBER, "50", 0, 1e9, "adds", NULL, \
     "Of cosine and lift: so many adds that are not there are taken to go as all adds do; keeps chance meetings down.", group}, \
    {"damping", OPTION_NUMBER, "0.15", 0, 1, "", NULL, \
     "Of cosine: 0 ranks by conditional probability, with best-sellers first; 0.5 is the cosine; 1 ranks by lift.", group}, \
    {"pair-half-life-days", OPTION_NUMBER, "180", 0, 100000, "days", NULL, "Of the pairs; 0: they never fade.", group}, \
    {"partners", OPTION_INT, "256", 4, MODEL_PARTNERS_MAX, "items", NULL, "Partners that are kept for an item.", group}, \
    {"basket-max", OPTION_INT, "50", 2, 100000, "items", NULL, \
     "Orders with more different items teach bought_together nothing.", group}
/* clang-format on */

#endif
