#ifndef TESTS_TRAIN_SUPPORT_H
#define TESTS_TRAIN_SUPPORT_H

#include "train/train.h"

/* What the tests of train/ share. */

/* The data set of a log's text. source: NULL for `kind` without a map; else all but its paths. */
struct train_data *support_data(const char *text, enum log_format_kind kind,
                                const struct train_source *source);
/* The catalogue of a file's text. */
struct train_catalogue *support_catalogue(const char *text, const char *map);
/* Users that walk along a ring of `items` items: each begins somewhere and takes `length` steps, to the next item or,
 * with `noise`, to any. pairs format. The caller frees it with mem_free. */
char *support_ring(int users, int items, int length, double noise, uint64_t seed);
/* The data set of such a ring. */
struct train_data *support_ring_data(int users, int items, int length, double noise, uint64_t seed);
/* Options of a model that learns within moments: 16 numbers an item, one block of 32, batches of 128, a rate of 0.01. */
struct train_options support_options(void);
/* The trained model; the caller frees it. */
struct model *support_learn(const struct train_data *data, const struct train_options *options,
                            struct train_result *result);

#endif
