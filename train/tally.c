/* Ranks of targets in lists, summed up as HR, NDCG, MRR and coverage at each k. */
#include "train/eval.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

void train__tally_init(struct train__tally *tally, const struct eval_options *options, int n_items)
{
    *tally = (struct train__tally){.options = options, .n_items = n_items};
    tally->level = mem_alloc((size_t)n_items);
    memset(tally->level, EVAL_K_MAX, (size_t)n_items);
}

/* Index of the smallest k above a place (from 0); n_k when there is none. */
static int level_of(const struct eval_options *options, int place)
{
    int level = 0;
    while (level < options->n_k && place >= options->k[level])
        level++;
    return level;
}

void train__tally_add(struct train__tally *tally, const int32_t *list, int n, int32_t target)
{
    const struct eval_options *options = tally->options;
    tally->n++;
    for (int place = 0; place < n && list[place] >= 0; place++) {
        int level = level_of(options, place);
        uint8_t *seen = &tally->level[list[place]];
        if (level < *seen) *seen = (uint8_t)level;
        if (list[place] != target) continue;
        for (int i = level; i < options->n_k; i++) {
            tally->hr[i] += 1;
            tally->ndcg[i] += 1 / log2(place + 2.0);
            tally->mrr[i] += 1 / (place + 1.0);
        }
    }
}

void train__tally_miss(struct train__tally *tally)
{
    tally->n++;
}

void train__tally_finish(struct train__tally *tally, int catalogue, struct eval_metrics *metrics)
{
    uint64_t listed[EVAL_K_MAX + 1] = {0};
    double n = tally->n > 0 ? (double)tally->n : 1;
    for (int i = 0; i < tally->n_items; i++)
        listed[tally->level[i]]++;
    uint64_t distinct = 0;
    for (int i = 0; i < tally->options->n_k; i++) {
        distinct += listed[i];
        metrics->hr[i] = tally->hr[i] / n;
        metrics->ndcg[i] = tally->ndcg[i] / n;
        metrics->mrr[i] = tally->mrr[i] / n;
        metrics->coverage[i] = catalogue > 0 ? (double)distinct / catalogue : 0;
    }
    mem_free(tally->level);
    tally->level = NULL;
}
