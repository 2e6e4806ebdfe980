/* The best partners of a row. Formulas in partners.h.
 *
 * All counts are taken as of the newest add of the row: a list follows from the row and the marginals, and time that goes by
 * with nothing bought leaves it as it is. */
#include "model/partners_internal.h"

#include <assert.h>
#include <math.h>

const char *const model_measure_names[MEASURES] = {"count", "cosine", "lift", "llr"};

struct model_score_options model_score_options_default(void)
{
    return (struct model_score_options){.measure = MEASURE_COSINE, .prior = 50.0, .damping = 0.15};
}

/* What the score of every entry of a row has in common. */
struct subject {
    double moment; /* of the newest add */
    double r, g;   /* counts of the row and of all */
    double share;  /* (r + k)^(1 - a) */
    double most;   /* no m is above */
    double damped; /* (most + k)^a */
    const struct model_score_options *options;
};

/* x ln(x / y), 0 for nothing. */
static double term(double x, double y)
{
    return x > 0 ? x * log(x / y) : 0.0;
}

/* G^2 / 2 of the table  c | r - c  over  m - c | g - r - m + c, of which each is at least 0. */
static double log_likelihood(double c, double r, double m, double g)
{
    double other = fmax(0.0, g - r - m + c);
    return term(c, r * m / g) + term(r - c, r * (g - m) / g) + term(m - c, (g - r) * m / g) +
           term(other, (g - r) * (g - m) / g);
}

static double score_of(const struct subject *s, double c, double m)
{
    double k = s->options->prior, r = fmax(s->r, c), e;
    m = fmax(m, c);
    double g = fmax(s->g, fmax(r, m));
    e = r * m / g;
    switch (s->options->measure) {
    case MEASURE_COUNT:
        return c / r;
    case MEASURE_COSINE:
        return (c + k * m / g) / (s->share * pow(m + k, s->options->damping));
    case MEASURE_LIFT:
        return c / (e + k);
    case MEASURE_LLR:
        return c > e ? log_likelihood(c, r, m, g) / r : 0.0;
    case MEASURES:
        break;
    }
    return 0.0;
}

/* ---- lists of the best ---- */

static bool is_better(struct model_scored a, struct model_scored b)
{
    return a.score > b.score || (a.score == b.score && a.key < b.key);
}

void model__best_push(struct model_scored *best, int *n, int K, struct model_scored candidate)
{
    if (!(candidate.score > 0)) return;
    if (*n == K && !is_better(candidate, best[K - 1])) return;
    int place = *n < K ? (*n)++ : K - 1;
    for (; place > 0 && is_better(candidate, best[place - 1]); place--)
        best[place] = best[place - 1];
    best[place] = candidate;
}

/* Could an entry of this count still come among the K? As the partner's own count grows, scores fall, and of COSINE they may rise
 * again behind a lowest point; so one of the two ends has the highest. The margin is for rounding. */
static bool is_hopeless(const struct subject *s, double c, double least)
{
    static const double margin = 1.0 + 1e-9;
    if (s->options->measure == MEASURE_COSINE) {
        double share = s->most < s->g ? s->most / s->g : 1.0;
        double highest = (c + s->options->prior * share) / (s->share * s->damped);
        if (!(highest * margin < least)) return false;
    }
    return score_of(s, c, c) * margin < least;
}

int model_partners_best(const struct model_partners *row, const struct model_marginals *marginals,
                        const struct model_score_options *options, int K,
                        bool (*skip)(void *context, uint64_t key), void *context,
                        struct model_scored *out)
{
    assert(K >= 1);
    double hopeless = -(double)INFINITY; /* level up to which entries are */
    struct subject s = {.moment = row->newest,
                        .r = exp2(row->total - row->newest),
                        .g = exp2(model_marginals_total(marginals) - row->newest),
                        .most = exp2(model__marginals_highest(marginals) - row->newest),
                        .options = options};
    s.share = pow(s.r + options->prior, 1.0 - options->damping);
    s.damped = pow(s.most + options->prior, options->damping);
    int n = 0;
    for (int i = 0; i < row->n; i++) {
        const struct model_partner *entry = row->entries + i;
        if (entry->level <= hopeless) continue;
        double c = exp2(entry->level - s.moment);
        if (n == K && is_hopeless(&s, c, out[K - 1].score)) {
            hopeless = entry->level;
            continue;
        }
        double m = exp2(model_marginals_level(marginals, entry->key) - s.moment);
        struct model_scored candidate = {entry->key, score_of(&s, c, m)};
        if (n == K && !is_better(candidate, out[K - 1])) continue;
        if (skip && skip(context, entry->key)) continue;
        model__best_push(out, &n, K, candidate);
    }
    return n;
}
