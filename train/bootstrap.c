/* How far the metrics could be off by the choice of users: bootstrap intervals (Efron, Tibshirani 1993, chapter 13).
 *
 * A resample draws as many users as there are, with replacement, and takes all targets of each: the targets of one user are no
 * independent draws. The interval is from the 2.5th to the 97.5th percentile of the resamples' means. All arms see the same
 * resamples, so the difference of two arms is that of the same users. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "train/eval.h"

enum { METRICS = 3 * EVAL_K_MAX };
static const double low_share = 0.025, high_share = 0.975;

/* A target that stands in an arm's list. */
struct hit {
    int32_t user; /* 0..n_users-1 */
    uint16_t rank;
};

struct bootstrap {
    const struct eval_options *options;
    int n_users;
    uint32_t *targets; /* (n_users) */
    uint32_t *times;   /* (n_users) how often the resample holds the user */
    struct hit *hits[EVAL_ARMS];
    size_t n_hits[EVAL_ARMS];
    double *hist;             /* (K+1) weighted targets by rank */
    double *value[EVAL_ARMS]; /* (METRICS,resamples) */
};

/* Numbers the users that have targets. users (n). Returns the number of each target's user; the caller frees it. */
static int32_t *number_users(struct bootstrap *b, const struct train__asked *asked, size_t n,
                             int n_users)
{
    int32_t *number = mem_alloc((size_t)n_users * sizeof *number);
    int32_t *of = mem_alloc((n > 0 ? n : 1) * sizeof *of);
    memset(number, -1, (size_t)n_users * sizeof *number);
    for (size_t q = 0; q < n; q++) {
        int32_t *user = &number[asked[q].user];
        if (*user < 0) *user = b->n_users++;
        of[q] = *user;
    }
    b->targets = mem_zalloc(((size_t)b->n_users + 1) * sizeof *b->targets);
    b->times = mem_alloc(((size_t)b->n_users + 1) * sizeof *b->times);
    for (size_t q = 0; q < n; q++)
        b->targets[of[q]]++;
    mem_free(number);
    return of;
}

static void take_hits(struct bootstrap *b, int arm, const struct train__tally *tally,
                      const int32_t *user)
{
    b->hits[arm] = mem_alloc((tally->n + 1) * sizeof *b->hits[arm]);
    b->value[arm] =
        mem_alloc((size_t)METRICS * (size_t)b->options->resamples * sizeof *b->value[arm]);
    for (size_t q = 0; q < tally->n; q++) {
        if (tally->rank[q] > 0)
            b->hits[arm][b->n_hits[arm]++] = (struct hit){user[q], tally->rank[q]};
    }
}

/* ---- resamples ---- */

static double *value_of(const struct bootstrap *b, int arm, int metric, int i)
{
    return b->value[arm] + (size_t)(metric * EVAL_K_MAX + i) * (size_t)b->options->resamples;
}

static void measure(struct bootstrap *b, int arm, int resample, double n)
{
    struct eval_accuracy mean;
    int K = b->options->k[b->options->n_k - 1];
    memset(b->hist, 0, ((size_t)K + 1) * sizeof *b->hist);
    for (size_t h = 0; h < b->n_hits[arm]; h++)
        b->hist[b->hits[arm][h].rank] += b->times[b->hits[arm][h].user];
    train__accuracy(b->options, b->hist, n, &mean);
    for (int i = 0; i < b->options->n_k; i++) {
        value_of(b, arm, 0, i)[resample] = mean.hr[i];
        value_of(b, arm, 1, i)[resample] = mean.ndcg[i];
        value_of(b, arm, 2, i)[resample] = mean.mrr[i];
    }
}

static void draw(struct bootstrap *b, struct rng *rng, int resample)
{
    double n = 0;
    memset(b->times, 0, (size_t)b->n_users * sizeof *b->times);
    for (int u = 0; u < b->n_users; u++)
        b->times[rng_below(rng, (uint64_t)b->n_users)]++;
    for (int u = 0; u < b->n_users; u++)
        n += (double)b->times[u] * b->targets[u];
    for (int arm = 0; arm < EVAL_ARMS; arm++)
        if (b->hits[arm]) measure(b, arm, resample, n);
}

/* ---- percentiles ---- */

static int ascending(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* Of sorted values, between two neighbours in a straight line. */
static double percentile(const double *sorted, int n, double share)
{
    double at = share * (n - 1);
    int below = (int)at;
    if (below + 1 >= n) return sorted[n - 1];
    return sorted[below] + (at - below) * (sorted[below + 1] - sorted[below]);
}

/* values (resamples), sorted here. */
static void bounds(double *values, int n, double *low, double *high)
{
    qsort(values, (size_t)n, sizeof *values, ascending);
    *low = percentile(values, n, low_share);
    *high = percentile(values, n, high_share);
}

/* less: the arm that is taken off; -1: none. */
static void interval_make(const struct bootstrap *b, int arm, int less, double *scratch,
                          struct eval_interval *interval)
{
    double *const low[] = {interval->low.hr, interval->low.ndcg, interval->low.mrr};
    double *const high[] = {interval->high.hr, interval->high.ndcg, interval->high.mrr};
    int n = b->options->resamples;
    for (int metric = 0; metric < 3; metric++) {
        for (int i = 0; i < b->options->n_k; i++) {
            const double *values = value_of(b, arm, metric, i);
            const double *others = less >= 0 ? value_of(b, less, metric, i) : NULL;
            for (int r = 0; r < n; r++)
                scratch[r] = values[r] - (others ? others[r] : 0);
            bounds(scratch, n, &low[metric][i], &high[metric][i]);
        }
    }
}

void train__bootstrap(const struct eval_options *options, const struct train__asked *asked,
                      int n_users, const struct train__tally *tallies, struct eval_result *result)
{
    struct bootstrap b = {.options = options};
    struct rng rng;
    double *scratch = mem_alloc((size_t)options->resamples * sizeof *scratch);
    int32_t *user = number_users(&b, asked, result->targets, n_users);
    int K = options->k[options->n_k - 1], against = options->against;
    b.hist = mem_alloc(((size_t)K + 1) * sizeof *b.hist);
    for (int arm = 0; arm < EVAL_ARMS; arm++)
        if (result->asked[arm]) take_hits(&b, arm, &tallies[arm], user);
    rng_init(&rng, options->seed);
    for (int r = 0; r < options->resamples; r++)
        draw(&b, &rng, r);
    for (int arm = 0; arm < EVAL_ARMS; arm++) {
        if (!result->asked[arm]) continue;
        interval_make(&b, arm, -1, scratch, &result->interval[arm]);
        if (against >= 0 && result->asked[against])
            interval_make(&b, arm, against, scratch, &result->difference[arm]);
    }
    for (int arm = 0; arm < EVAL_ARMS; arm++) {
        mem_free(b.hits[arm]);
        mem_free(b.value[arm]);
    }
    mem_free(b.targets);
    mem_free(b.times);
    mem_free(b.hist);
    mem_free(user);
    mem_free(scratch);
}
