#ifndef TRAIN_RANKER_H
#define TRAIN_RANKER_H

#include "train/train.h"

/* What ranker.c (learning) and ranker_lists.c (examples) share. */

/* Candidates of one target that stands among them: rows [first, first + n) of x. */
struct train__ranked {
    size_t first;
    int n, target; /* target: place among the n */
    int user;
};

struct train__lists {
    float *x; /* (n_rows,FEATURE_COUNT) features of model_rank_features */
    size_t n_rows, rows_cap;
    struct train__ranked *lists; /* (n) */
    int n, cap, max;             /* more than max are not taken */
    uint64_t asked;              /* targets, those in no list included */
    const struct model *model;   /* whose features are taken */
};

/* ---- ranker_lists.c ---- */

void train__lists_init(struct train__lists *lists, const struct model *model, int max);
void train__lists_fini(struct train__lists *lists);
/* One more target; left out when no arm proposes it. */
void train__lists_add(struct train__lists *lists, const struct model_ranking *ranking, uint64_t key,
                      int user);

/* ---- ranker.c ---- */

enum { TRAIN__CANDIDATES = ARM_COUNT * MODEL_RANKER_DEPTH + MODEL_RANKER_SESSION };

/* Rank fusion as a ranker, its scores times a constant: where learning begins. */
void train__ranker_start(struct model_ranker *ranker, uint64_t seed);
/* Minus ln of the target's share, softmax over the list's candidates; grads, unless NULL, gets the gradient added. */
double train__ranker_loss(const struct model_ranker *ranker, const struct train__lists *lists,
                          int list, struct model_ranker *grads);
/* Learns from all lists, as long as lists of a fifth of the users say. Writes epochs, fusion and ranked of the result. */
void train__ranker_learn(const struct train__lists *lists, uint64_t seed,
                         struct model_ranker *ranker, struct train_ranker_result *result);

#endif
