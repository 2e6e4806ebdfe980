/* The metrics of targets that have something in common: --by. */
#include <string.h>

#include "base/mem.h"
#include "schemas/schemas.h"
#include "train/eval.h"

/* ---- the groups ---- */

static const char *const length_names[] = {"1",     "2-4",   "5-9",     "10-19",
                                           "20-49", "50-99", "100-199", "200+"};
static const uint32_t length_ends[] = {1, 4, 9, 19, 49, 99, 199};
enum { LENGTHS = sizeof length_names / sizeof length_names[0] };

enum { HEAD, MID, TAIL, UNSEEN, POPULARITIES };
static const char *const popularity_names[] = {"head", "mid", "tail", "unseen"};
static const double head_share = 0.5, mid_share = 0.8; /* of the events of the training part */

const char *const eval_by_names[EVAL_BYS] = {"length", "popularity", "type"};

const char *eval_group_name(enum eval_by by, int group)
{
    switch (by) {
    case EVAL_BY_LENGTH:
        return group < LENGTHS ? length_names[group] : NULL;
    case EVAL_BY_POPULARITY:
        return group < POPULARITIES ? popularity_names[group] : NULL;
    case EVAL_BY_TYPE:
        return group < EVENT_TYPE_COUNT ? schemas_event_type_name((enum event_type)group) : NULL;
    case EVAL_BYS:
        break;
    }
    return NULL;
}

static int length_group(uint32_t before)
{
    int group = 0;
    while (group < LENGTHS - 1 && before > length_ends[group])
        group++;
    return group;
}

/* The group of each item; the caller frees it. An item is head as long as those before it hold less than half of the events. */
static uint8_t *popularity_groups(const struct train__items *items)
{
    uint8_t *group = mem_alloc((size_t)items->n);
    double all = 0, before = 0;
    memset(group, UNSEEN, (size_t)items->n);
    for (int p = 0; p < items->n_counted; p++)
        all += items->count[items->by_count[p]];
    for (int p = 0; p < items->n_counted; p++) {
        int32_t item = items->by_count[p];
        group[item] = before < head_share * all ? HEAD : before < mid_share * all ? MID : TAIL;
        before += items->count[item];
    }
    return group;
}

/* ---- their metrics ---- */

struct grouping {
    const struct eval_options *options;
    const uint8_t *group; /* (n) of each target */
    size_t n;
    double *hist; /* (EVAL_GROUPS_MAX,K+1) targets by rank */
};

static void measure(const struct grouping *g, const struct train__tally *tally, int arm,
                    struct eval_group *groups)
{
    size_t places = (size_t)g->options->k[g->options->n_k - 1] + 1;
    memset(g->hist, 0, EVAL_GROUPS_MAX * places * sizeof *g->hist);
    for (size_t q = 0; q < g->n; q++)
        g->hist[g->group[q] * places + tally->rank[q]] += 1;
    for (int i = 0; i < EVAL_GROUPS_MAX; i++)
        train__accuracy(g->options, g->hist + (size_t)i * places, (double)groups[i].targets,
                        &groups[i].arms[arm]);
}

void train__group(const struct train__eval *eval, const struct train__asked *asked,
                  const struct train__tally *tallies)
{
    struct eval_result *result = eval->result;
    size_t n = result->targets, places = (size_t)eval->K + 1;
    uint8_t *popularity = popularity_groups(&eval->items), *group = mem_alloc(n + 1);
    struct grouping g = {.options = eval->options, .group = group, .n = n};
    g.hist = mem_alloc(EVAL_GROUPS_MAX * places * sizeof *g.hist);
    for (int by = 0; by < EVAL_BYS; by++) {
        for (size_t q = 0; q < n; q++) {
            group[q] = by == EVAL_BY_LENGTH ? (uint8_t)length_group(asked[q].before)
                       : by == EVAL_BY_TYPE ? asked[q].type
                                            : popularity[asked[q].item];
            result->by[by][group[q]].targets++;
        }
        for (int arm = 0; arm < EVAL_ARMS; arm++)
            if (result->asked[arm]) measure(&g, &tallies[arm], arm, result->by[by]);
    }
    mem_free(popularity);
    mem_free(group);
    mem_free(g.hist);
}
