#ifndef TRAIN_CONTENT_H
#define TRAIN_CONTENT_H

#include "train/adamw.h"
#include "train/train.h"

/* Content features while a model learns. (content.c)
 *
 *   E[item] = O[item] + sum over its features f of G[f] / sqrt(their number)             (model/model.h)
 *
 * The parameters that AdamW moves hold O as item.embedding and G as content.embedding. Encoder and losses see another block, mixed
 * from them after every step, with E in O's place; so they know nothing of features, and the gradient that they give for E is that
 * for O, and summed up over items that for G. A loss that looks at few items has few of them mixed (worker.c). */
struct train__content {
    int n;             /* features; 0: the two blocks are one */
    struct str *names; /* (n) borrowed from the catalogue */
    size_t *start;     /* (N + 1) into feature */
    int32_t *feature;  /* features of item i: [start[i], start[i + 1]) */
    int n_known;       /* items of the catalogue among the N */
};

/* The features that N items with these ids have, each shared by two items of the catalogue or more. catalogue NULL: none. It
 * outlives the content. */
void train__content_init(struct train__content *content, const struct train_catalogue *catalogue,
                         const struct str *ids, int N);
void train__content_fini(struct train__content *content);
/* Of all that training depends on. */
uint64_t train__content_hash(const struct train__content *content, int N);

/* Writes E[item,:] to mixed, a block like params. */
void train__content_mix_item(const struct train__content *content,
                             const struct model_config *config, const float *params, int item,
                             float *mixed);
/* Copies what is not mixed: all but item.embedding and content.embedding. */
void train__content_copy(const struct model_config *config, const float *params, float *mixed);
/* Both, for all items: the whole of mixed but content.embedding is written. Thread: one a share; each writes its own piece. */
void train__content_mix(const struct train__content *content, const struct model_config *config,
                        const float *params, float *mixed, struct train__adamw_share share);
/* Adds to the gradient of G what that of E, in grads, makes of it. touched (N): rows that have a gradient. */
void train__content_gather(const struct train__content *content, const struct model_config *config,
                           const uint8_t *touched, float *grads);

#endif
