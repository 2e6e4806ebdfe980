/* First-order transitions: what followed the newest item most often in the training part.
 *
 *   count(a, b) = places of the training part where a user's b comes right after a
 *
 * A list is the row of the newest item by count, then by popularity; where it is short, the most popular items fill it. */
#include <stdlib.h>

#include "base/mem.h"
#include "train/eval.h"

struct transition {
    int32_t from, to;
    uint32_t count;
    double popularity; /* of `to` */
};

struct markov {
    struct train__eval *eval;
    struct transition *rows; /* (row_start[items n]) by `from`, then best first */
    size_t *row_start;       /* (items n + 1) */
};

static int by_pair(const void *left, const void *right)
{
    const struct transition *a = left, *b = right;
    if (a->from != b->from) return a->from < b->from ? -1 : 1;
    return a->to < b->to ? -1 : a->to > b->to;
}

static int by_rank(const void *left, const void *right)
{
    const struct transition *a = left, *b = right;
    if (a->from != b->from) return a->from < b->from ? -1 : 1;
    if (a->count != b->count) return a->count > b->count ? -1 : 1;
    if (a->popularity > b->popularity) return -1;
    if (a->popularity < b->popularity) return 1;
    return a->to < b->to ? -1 : a->to > b->to;
}

/* One transition for each place; returns how many. */
static size_t collect(struct markov *markov)
{
    const struct train_data *history = markov->eval->history;
    const struct train__items *items = &markov->eval->items;
    size_t n = 0;
    markov->rows = mem_alloc(history->n_events * sizeof *markov->rows);
    for (int u = 0; u < history->n_users; u++) {
        size_t end = train_split_end(history, markov->eval->options->split, u);
        for (size_t e = history->user_start[u] + 1; e < end; e++) {
            int32_t from = items->from_history[history->events[e - 1].item];
            int32_t to = items->from_history[history->events[e].item];
            markov->rows[n++] = (struct transition){from, to, 1, items->count[to]};
        }
    }
    return n;
}

/* Equal pairs become one with their sum; returns how many are left. */
static size_t merge(struct transition *rows, size_t n)
{
    size_t kept = 0;
    if (n == 0) return 0;
    qsort(rows, n, sizeof *rows, by_pair);
    for (size_t i = 0; i < n; i++) {
        if (kept > 0 && by_pair(&rows[kept - 1], &rows[i]) == 0) {
            rows[kept - 1].count++;
        } else {
            rows[kept++] = rows[i];
        }
    }
    qsort(rows, kept, sizeof *rows, by_rank);
    return kept;
}

static void *markov_start(struct train__eval *eval)
{
    struct markov *markov = mem_zalloc(sizeof *markov);
    markov->eval = eval;
    size_t n = collect(markov);
    n = merge(markov->rows, n);
    markov->row_start = mem_alloc(((size_t)eval->items.n + 1) * sizeof *markov->row_start);
    size_t at = 0;
    for (int32_t i = 0; i <= eval->items.n; i++) {
        while (at < n && markov->rows[at].from < i)
            at++;
        markov->row_start[i] = at;
    }
    return markov;
}

static void markov_ask(void *arm, const struct train__query *query, int32_t *list)
{
    struct markov *markov = arm;
    struct train__eval *eval = markov->eval;
    int32_t newest = eval->data->events[query->event - 1].item;
    int n = 0, n_row = 0;
    for (size_t r = markov->row_start[newest]; r < markov->row_start[newest + 1] && n < eval->K;
         r++) {
        int32_t item = markov->rows[r].to;
        if (!train__eval_is_masked(eval, item)) list[n++] = item;
    }
    n_row = n;
    for (int p = 0; p < eval->items.n_counted && n < eval->K; p++) {
        int32_t item = eval->items.by_count[p];
        bool is_listed = train__eval_is_masked(eval, item);
        for (int i = 0; i < n_row && !is_listed; i++)
            is_listed = list[i] == item;
        if (!is_listed) list[n++] = item;
    }
    if (n < eval->K) list[n] = -1;
}

static void markov_stop(void *arm)
{
    struct markov *markov = arm;
    mem_free(markov->rows);
    mem_free(markov->row_start);
    mem_free(markov);
}

const struct train__arm train__arm_markov = {
    .start = markov_start,
    .ask = markov_ask,
    .stop = markov_stop,
};
