/* The baselines: the most popular items of the training part, and the most popular ones lately.
 *
 * Lately: counts that halve every half-life, kept as L(item) = log2(sum of 2^(t / half-life)) as the pipeline's popular arm does
 * (docs/STATE.md, rule 6), each event of every type counted once, after it was predicted. */
#include "train/eval.h"

#include <math.h>

#include "base/mem.h"

/* The items with the largest scores, best first. Scores only grow, so a list that is updated at each growth stays exact. An
 * item below the first TOP_MAX stands in no list, even where nearly all above it are masked. */
enum { TOP_MAX = 4096 };

struct top {
    double *score;  /* (n_items) */
    int32_t *place; /* (n_items) in list; -1 not in it */
    int32_t list[TOP_MAX];
    int n;
};

static void top_init(struct top *top, int n_items)
{
    top->score = mem_alloc((size_t)n_items * sizeof *top->score);
    top->place = mem_alloc((size_t)n_items * sizeof *top->place);
    for (int i = 0; i < n_items; i++) {
        top->score[i] = -(double)INFINITY;
        top->place[i] = -1;
    }
    top->n = 0;
}

static void top_fini(struct top *top)
{
    mem_free(top->score);
    mem_free(top->place);
}

static bool is_better(const struct top *top, int32_t a, int32_t b)
{
    if (top->score[a] > top->score[b]) return true;
    return !(top->score[a] < top->score[b]) && a < b;
}

static void top_raise(struct top *top, int32_t item, double score)
{
    top->score[item] = score;
    int at = top->place[item];
    if (at < 0 && top->n < TOP_MAX) {
        at = top->n++;
    } else if (at < 0) {
        int32_t last = top->list[TOP_MAX - 1];
        if (!is_better(top, item, last)) return;
        top->place[last] = -1;
        at = TOP_MAX - 1;
    }
    while (at > 0 && is_better(top, item, top->list[at - 1])) {
        top->list[at] = top->list[at - 1];
        top->place[top->list[at]] = at;
        at--;
    }
    top->list[at] = item;
    top->place[item] = at;
}

/* One more event at time_ms: log2(2^L + 2^(t/H)). */
static void top_decayed(struct top *top, int32_t item, int64_t time_ms, int64_t half_life_ms)
{
    double now = (double)time_ms / (double)half_life_ms;
    double old = top->score[item];
    double high = old > now ? old : now, low = old > now ? now : old;
    top_raise(top, item, high + log1p(exp2(low - high)) * 1.4426950408889634);
}

/* ---- the arm of all times ---- */

static void *popular_start(struct train__eval *eval)
{
    return eval;
}

static void popular_ask(void *arm, const struct train__query *query, int32_t *list)
{
    const struct train__eval *eval = arm;
    int n = 0;
    (void)query;
    for (int p = 0; p < eval->items.n_counted && n < eval->K; p++) {
        int32_t item = eval->items.by_count[p];
        if (!train__eval_is_masked(eval, item)) list[n++] = item;
    }
    if (n < eval->K) list[n] = -1;
}

static void popular_stop(void *arm)
{
    (void)arm;
}

const struct train__arm train__arm_popular = {
    .start = popular_start,
    .ask = popular_ask,
    .stop = popular_stop,
};

/* ---- the arm of late ---- */

struct recent {
    const struct train__eval *eval;
    struct top top;
};

/* Another log that came before is learnt whole; a log's own events are learnt as they come. */
static void *recent_start(struct train__eval *eval)
{
    struct recent *recent = mem_alloc(sizeof *recent);
    const struct train_data *history = eval->history;
    recent->eval = eval;
    top_init(&recent->top, eval->items.n);
    if (history == eval->data) return recent;
    struct train__moment *moments = train__eval_moments(history);
    for (size_t i = 0; i < history->n_events; i++) {
        const struct train_event *event = &history->events[moments[i].event];
        top_decayed(&recent->top, eval->items.from_history[event->item], event->time_ms,
                    eval->options->half_life_ms);
    }
    mem_free(moments);
    return recent;
}

static void recent_ask(void *arm, const struct train__query *query, int32_t *list)
{
    const struct recent *recent = arm;
    int n = 0, K = recent->eval->K;
    (void)query;
    for (int p = 0; p < recent->top.n && n < K; p++) {
        int32_t item = recent->top.list[p];
        if (!train__eval_is_masked(recent->eval, item)) list[n++] = item;
    }
    if (n < K) list[n] = -1;
}

static void recent_learn(void *arm, const struct train__query *query)
{
    struct recent *recent = arm;
    const struct train_event *event = &recent->eval->data->events[query->event];
    top_decayed(&recent->top, event->item, event->time_ms, recent->eval->options->half_life_ms);
}

static void recent_stop(void *arm)
{
    struct recent *recent = arm;
    top_fini(&recent->top);
    mem_free(recent);
}

const struct train__arm train__arm_recent = {
    .start = recent_start,
    .ask = recent_ask,
    .learn = recent_learn,
    .stop = recent_stop,
};
