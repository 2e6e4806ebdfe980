/* What lists for orders come to: means over orders, parts of the targets, coverage, bootstrap intervals. Definitions in baskets.h. */
#include "train/baskets_tally.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"

const char *const basket_band_names[BANDS] = {"head", "mid", "tail"};

/* The head holds the first half of what was bought, the mid goes on to here. */
static const double HEAD_SHARE = 0.5, MID_SHARE = 0.8;
static const double LOW_SHARE = 0.025, HIGH_SHARE = 0.975;

enum { FIRST_ORDERS = 1024, CELLS = BASKET_ARMS * BASKET_K_MAX };

/* ---- bands ---- */

struct counted {
    uint32_t count;
    int32_t item;
};

static int by_count(const void *left, const void *right)
{
    const struct counted *a = left, *b = right;
    if (a->count != b->count) return a->count > b->count ? -1 : 1;
    return a->item < b->item ? -1 : a->item > b->item;
}

static void bands_set(struct train__basket_tally *tally, const uint32_t *count)
{
    struct counted *sorted = mem_alloc((size_t)tally->n_items * sizeof *sorted);
    double total = 0, before = 0;
    for (int32_t i = 0; i < tally->n_items; i++) {
        sorted[i] = (struct counted){count[i], i};
        total += count[i];
    }
    qsort(sorted, (size_t)tally->n_items, sizeof *sorted, by_count);
    for (int i = 0; i < tally->n_items; i++) {
        bool is_head = before < HEAD_SHARE * total, is_mid = before < MID_SHARE * total;
        tally->band[sorted[i].item] = is_head ? BAND_HEAD : is_mid ? BAND_MID : BAND_TAIL;
        before += sorted[i].count;
    }
    mem_free(sorted);
}

/* ---- counting ---- */

void train__basket_tally_init(struct train__basket_tally *tally,
                              const struct basket_options *options, const uint32_t *count,
                              int n_items)
{
    *tally = (struct train__basket_tally){.options = options, .n_items = n_items};
    tally->band = mem_zalloc((size_t)n_items);
    for (int a = 0; a < BASKET_ARMS; a++)
        tally->best_rank[a] = mem_zalloc((size_t)n_items);
    bands_set(tally, count);
}

void train__basket_tally_fini(struct train__basket_tally *tally)
{
    mem_free(tally->band);
    mem_free(tally->hr);
    for (int a = 0; a < BASKET_ARMS; a++)
        mem_free(tally->best_rank[a]);
}

void train__basket_tally_order(struct train__basket_tally *tally)
{
    if (tally->n_orders == tally->cap) {
        tally->cap = tally->cap ? 2 * tally->cap : FIRST_ORDERS;
        tally->hr = mem_realloc(tally->hr, tally->cap * CELLS * sizeof *tally->hr);
    }
    memset(tally->hr + tally->n_orders++ * CELLS, 0, CELLS * sizeof *tally->hr);
}

void train__basket_tally_target(struct train__basket_tally *tally, int32_t item, double weight)
{
    tally->band_weight[tally->band[item]] += weight;
}

void train__basket_tally_list(struct train__basket_tally *tally, enum basket_arm arm,
                              const int32_t *list, int n, const bool *is_target, int n_targets,
                              double share)
{
    double *hr = tally->hr + (tally->n_orders - 1) * CELLS + (size_t)arm * BASKET_K_MAX;
    double weight = share / n_targets;
    bool has_hit[BASKET_K_MAX] = {false};
    for (int r = 0; r < n; r++) {
        uint8_t *best = &tally->best_rank[arm][list[r]];
        if (*best == 0 || *best > r + 1) *best = (uint8_t)(r + 1);
        if (!is_target[list[r]]) continue;
        for (int i = 0; i < tally->options->n_k; i++) {
            if (r >= tally->options->k[i]) continue;
            hr[i] += weight;
            tally->band_hits[arm][tally->band[list[r]]][i] += weight;
            has_hit[i] = true;
        }
    }
    for (int i = 0; i < tally->options->n_k; i++)
        if (has_hit[i]) tally->any[arm][i] += share;
}

/* ---- intervals: bootstrap over orders, as bootstrap.c does over users ---- */

static int compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

/* The values (n) at both ends of the middle 95 %; they are sorted. */
static void percentiles(double *values, int n, double *low, double *high)
{
    qsort(values, (size_t)n, sizeof *values, compare_doubles);
    *low = values[(int)(LOW_SHARE * (n - 1) + 0.5)];
    *high = values[(int)(HIGH_SHARE * (n - 1) + 0.5)];
}

static void interval_of(const struct train__basket_tally *tally, const double *sums, int arm, int i,
                        struct basket_metrics *metrics)
{
    int n = tally->options->resamples;
    double *values = mem_alloc((size_t)n * sizeof *values);
    for (int s = 0; s < n; s++)
        values[s] = sums[s * CELLS + arm * BASKET_K_MAX + i] / (double)tally->n_orders;
    percentiles(values, n, &metrics->low[i], &metrics->high[i]);
    for (int s = 0; s < n; s++) {
        double other = sums[s * CELLS + arm * BASKET_K_MAX + i];
        double own = sums[s * CELLS + BASKET_TOGETHER * BASKET_K_MAX + i];
        values[s] = other > 0 ? own / other : 0;
    }
    percentiles(values, n, &metrics->ratio_low[i], &metrics->ratio_high[i]);
    mem_free(values);
}

static void intervals(const struct train__basket_tally *tally, struct basket_result *result)
{
    int n = tally->options->resamples;
    if (n == 0) return;
    struct rng rng;
    rng_init(&rng, tally->options->seed);
    double *sums = mem_zalloc((size_t)n * CELLS * sizeof *sums);
    for (int s = 0; s < n; s++) {
        double *sum = sums + (size_t)s * CELLS;
        for (size_t draw = 0; draw < tally->n_orders; draw++) {
            const double *hr = tally->hr + rng_below(&rng, tally->n_orders) * CELLS;
            for (int c = 0; c < CELLS; c++)
                sum[c] += hr[c];
        }
    }
    for (int arm = 0; arm < BASKET_ARMS; arm++)
        for (int i = 0; i < tally->options->n_k; i++)
            interval_of(tally, sums, arm, i, &result->arms[arm]);
    mem_free(sums);
}

void train__basket_tally_finish(const struct train__basket_tally *tally,
                                struct basket_result *result)
{
    double n = (double)tally->n_orders;
    assert(n > 0);
    for (int b = 0; b < BANDS; b++)
        result->band_share[b] = tally->band_weight[b] / n;
    for (int arm = 0; arm < BASKET_ARMS; arm++) {
        struct basket_metrics *metrics = &result->arms[arm];
        for (int i = 0; i < tally->options->n_k; i++) {
            for (size_t o = 0; o < tally->n_orders; o++)
                metrics->hr[i] += tally->hr[o * CELLS + (size_t)arm * BASKET_K_MAX + (size_t)i] / n;
            metrics->any[i] = tally->any[arm][i] / n;
            for (int b = 0; b < BANDS; b++)
                if (tally->band_weight[b] > 0)
                    metrics->band[b][i] = tally->band_hits[arm][b][i] / tally->band_weight[b];
            int listed = 0;
            for (int item = 0; item < tally->n_items; item++) {
                int rank = tally->best_rank[arm][item];
                listed += rank > 0 && rank <= tally->options->k[i];
            }
            metrics->coverage[i] = (double)listed / result->items;
        }
    }
    intervals(tally, result);
}
