#ifndef MODEL_PARTNERS_INTERNAL_H
#define MODEL_PARTNERS_INTERNAL_H

/* Shared by partners.c, marginals.c, partners_score.c and partners_lists.c. */

#include "model/partners.h"

/* ---- partners.c ---- */

/* The level after an add of this weight at this moment; -infinity: nothing. level may be -infinity. */
double model__level_add(double level, double weight, double moment);
/* Puts the keep strongest of the entries (n) in front, in no order; of equal levels the smaller keys. keep <= n. */
void model__strongest(struct model_partner *entries, size_t n, size_t keep);

/* ---- marginals.c ---- */

/* No item's level is above this one; the highest that ever was, so that what was taken back may leave it too high. */
double model__marginals_highest(const struct model_marginals *m);

/* ---- partners_score.c ---- */

/* Takes a candidate into the list of the at most K best (*n held), best first. Scores not above 0 are left out. */
void model__best_push(struct model_scored *best, int *n, int K, struct model_scored candidate);

#endif
