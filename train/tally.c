/* Ranks of targets in lists, and how often each item is listed, as the metrics at each k. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "train/eval.h"

void train__tally_init(struct train__tally *tally, const struct eval_options *options,
                       const struct train__items *items, const struct train__vectors *vectors)
{
    *tally = (struct train__tally){.options = options, .items = items, .vectors = vectors};
    tally->listed = mem_zalloc((size_t)options->n_k * (size_t)items->n * sizeof *tally->listed);
}

void train__tally_free(struct train__tally *tally)
{
    mem_free(tally->listed);
    mem_free(tally->rank);
}

void train__tally_add(struct train__tally *tally, const int32_t *list, int n, int32_t target)
{
    const struct eval_options *options = tally->options;
    if (tally->n == tally->room) {
        tally->room = tally->room ? tally->room * 2 : 1024;
        tally->rank = mem_realloc(tally->rank, tally->room * sizeof *tally->rank);
    }
    uint16_t *rank = &tally->rank[tally->n++];
    *rank = 0;
    for (int place = 0, level = 0; place < n && list[place] >= 0; place++) {
        while (place >= options->k[level])
            level++;
        tally->listed[(size_t)level * (size_t)tally->items->n + (size_t)list[place]]++;
        if (list[place] == target) *rank = (uint16_t)(place + 1);
    }
    int surprise = tally->items->popular_rank[target] - *rank;
    for (int i = 0; i < options->n_k; i++)
        if (*rank > 0 && *rank <= options->k[i] && surprise > 0) tally->serendipity[i] += surprise;
    train__diversity_add(tally->vectors, options, list, n, &tally->diversity);
}

/* ---- means over targets ---- */

void train__accuracy(const struct eval_options *options, const double *hist, double n,
                     struct eval_accuracy *mean)
{
    double hr = 0, ndcg = 0, mrr = 0, all = n > 0 ? n : 1;
    for (int i = 0, rank = 1; i < options->n_k; i++) {
        for (; rank <= options->k[i]; rank++) {
            hr += hist[rank];
            ndcg += hist[rank] / log2(rank + 1.0);
            mrr += hist[rank] / rank;
        }
        mean->hr[i] = hr / all;
        mean->ndcg[i] = ndcg / all;
        mean->mrr[i] = mrr / all;
    }
}

static void finish_ranks(const struct train__tally *tally, struct eval_metrics *metrics)
{
    const struct eval_options *options = tally->options;
    struct eval_accuracy mean;
    double *hist = mem_zalloc(((size_t)options->k[options->n_k - 1] + 1) * sizeof *hist);
    for (size_t q = 0; q < tally->n; q++)
        hist[tally->rank[q]] += 1;
    train__accuracy(options, hist, (double)tally->n, &mean);
    for (int i = 0; i < options->n_k; i++) {
        metrics->hr[i] = mean.hr[i];
        metrics->ndcg[i] = mean.ndcg[i];
        metrics->mrr[i] = mean.mrr[i];
        metrics->precision[i] = metrics->hr[i] / options->k[i];
        metrics->f1[i] = 2 * metrics->hr[i] / (options->k[i] + 1);
        double most = (double)options->k[i] * tally->items->catalogue * (double)tally->n;
        double lists = tally->diversity.lists[i];
        metrics->serendipity[i] = most > 0 ? tally->serendipity[i] / most : 0;
        metrics->diversity[i] = lists > 0 ? tally->diversity.sum[i] / lists : 0;
    }
    mem_free(hist);
}

/* ---- means over the places of all lists ---- */

static int ascending(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return a < b ? -1 : a > b;
}

/* counts (n), sorted here: how often each listed item is listed. The rest of the N items is listed never. */
static double gini(uint32_t *counts, int n, int N)
{
    double sum = 0, weighted = 0;
    if (n > 0) qsort(counts, (size_t)n, sizeof *counts, ascending);
    for (int i = 0; i < n; i++) {
        double j = N - n + i + 1;
        weighted += (2 * j - N - 1) * counts[i];
        sum += counts[i];
    }
    return sum > 0 ? weighted / (N * sum) : 0;
}

/* times (n_items): lists that hold each item within the first k[i]. counts (n_items): scratch. */
static void finish_items(const struct train__items *items, const uint32_t *times, uint32_t *counts,
                         int i, struct eval_metrics *metrics)
{
    double places = 0, popularity = 0, novelty = 0, tail = 0;
    int distinct = 0, tail_begin = items->n_counted - items->n_counted / 10; /* popular rank */
    for (int item = 0; item < items->n; item++) {
        if (times[item] == 0) continue;
        double users = items->users[item] > 1 ? items->users[item] : 1;
        counts[distinct++] = times[item];
        places += times[item];
        popularity += times[item] * items->count[item];
        if (items->popular_rank[item] > tail_begin) tail += times[item];
        novelty -= times[item] * log2(users / (items->n_users > 0 ? items->n_users : 1));
    }
    int N = distinct > items->catalogue ? distinct : items->catalogue;
    metrics->coverage[i] = N > 0 ? (double)distinct / N : 0;
    metrics->gini[i] = gini(counts, distinct, N);
    metrics->novelty[i] = places > 0 ? novelty / places : 0;
    metrics->popularity[i] = places > 0 ? popularity / places : 0;
    metrics->tail[i] = places > 0 ? tail / places : 0;
}

void train__tally_finish(struct train__tally *tally, struct eval_metrics *metrics)
{
    const struct train__items *items = tally->items;
    size_t n = (size_t)items->n;
    uint32_t *times = mem_zalloc(n * sizeof *times), *counts = mem_alloc(n * sizeof *counts);
    finish_ranks(tally, metrics);
    for (int i = 0; i < tally->options->n_k; i++) {
        for (size_t item = 0; item < n; item++)
            times[item] += tally->listed[(size_t)i * n + item]; /* places up to k[i] */
        finish_items(items, times, counts, i, metrics);
    }
    mem_free(times);
    mem_free(counts);
}
