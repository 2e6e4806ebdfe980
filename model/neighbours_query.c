/* The query of the index of session neighbours: formulas in model.h, lists in neighbours_internal.h. */
#include "model/neighbours_internal.h"

#include <math.h>
#include <stdlib.h>

/* ---- weights: the table in model.h ---- */

static double similarity_of(enum model_neighbours_decay shape, int place, int places)
{
    double part = (double)place / (double)places;
    int behind = places - place;
    switch (shape) {
    case NEIGHBOURS_SAME:
        return 1.0;
    case NEIGHBOURS_LINEAR:
        return fmax(0.0, 1.0 - 0.1 * behind);
    case NEIGHBOURS_DIV:
        return part;
    case NEIGHBOURS_LOG:
        return 1.0 / log10(behind + 1.7);
    case NEIGHBOURS_QUADRATIC:
        return part * part;
    }
    return 0.0;
}

static double position_of(enum model_neighbours_decay shape, int steps)
{
    switch (shape) {
    case NEIGHBOURS_SAME:
        return 1.0;
    case NEIGHBOURS_LINEAR:
        return fmax(0.0, 1.0 - 0.1 * steps);
    case NEIGHBOURS_DIV:
        return 1.0 / steps;
    case NEIGHBOURS_LOG:
        return 1.0 / log10(steps + 1.7);
    case NEIGHBOURS_QUADRATIC:
        return 1.0 / ((double)steps * steps);
    }
    return 0.0;
}

void model__neighbours_weights(struct model_neighbours *x)
{
    for (int steps = 1; steps <= MODEL_NEIGHBOURS_LAST_MAX; steps++)
        x->position[steps] = position_of(x->options.position, steps);
    for (int d = 0; d < MODEL__NEAR && x->options.reach > 0; d++)
        x->near[d] = exp(-d / x->options.reach);
}

/* ---- the query ---- */

/* A place in the list of one of the query's items. The lists run through memory without order, so each step asks for what the
 * next ones will read. */
struct head {
    uint64_t recency; /* of the session; 0 behind the end of the list */
    uint32_t session;
    uint32_t next; /* node behind this one */
    uint32_t item;
    int steps;
    double share; /* of sim */
};

/* Moves to head->next. */
static void head_advance(const struct model_neighbours *x, struct head *head)
{
    if (head->next == MODEL__NONE) {
        head->recency = 0;
        return;
    }
    const struct model__node *node = &x->nodes[head->next];
    head->session = node->session;
    head->recency = x->sessions[node->session].recency;
    head->next = node->older;
    if (head->next == MODEL__NONE) return;
    const struct model__node *next = &x->nodes[head->next];
    __builtin_prefetch(&x->sessions[next->session]);
    if (next->older != MODEL__NONE) __builtin_prefetch(&x->nodes[next->older]);
}

/* The lists that the query merges: of each distinct known item at its newest place. Returns how many. */
static int heads_make(const struct model_neighbours *x, const uint64_t *items, int n,
                      struct head *heads)
{
    int first = n > x->options.last_n ? n - x->options.last_n : 0, count = 0;
    for (int i = n - 1; i >= first; i--) {
        bool newer = false;
        for (int j = i + 1; j < n && !newer; j++)
            newer = items[j] == items[i];
        const uint64_t *place = newer ? NULL : map_u64_get(x->item_of, items[i]);
        if (!place) continue;
        heads[count] =
            (struct head){.item = (uint32_t)*place,
                          .next = x->items[*place].newest,
                          .share = similarity_of(x->options.similarity, i - first + 1, n - first),
                          .steps = n - i};
        head_advance(x, &heads[count++]);
    }
    return count;
}

/* Halves with each half-life behind the newest click of all, so never above 1. */
static double age_weight(const struct model_neighbours *x, const struct model__session *s)
{
    return exp2(-(double)(x->newest_ms - s->last_ms) / x->options.half_life_ms);
}

/* Merges the lists into samples, newest session first. Returns how many. */
static int sample_take(struct model_neighbours *x, uint64_t own, struct head *heads, int n_heads)
{
    int n = 0;
    while (n < x->options.m) {
        uint64_t newest = 0;
        for (int h = 0; h < n_heads; h++)
            if (heads[h].recency > newest) newest = heads[h].recency;
        if (newest == 0) break;
        struct model__sample sample = {0};
        for (int h = 0; h < n_heads; h++) {
            if (heads[h].recency != newest) continue;
            sample.session = heads[h].session;
            sample.sim += heads[h].share;
            if (sample.steps == 0) sample.match = heads[h].item;
            if (sample.steps == 0) sample.steps = heads[h].steps;
            head_advance(x, &heads[h]);
        }
        const struct model__session *s = &x->sessions[sample.session];
        if (s->id == own) continue;
        if (x->options.half_life_ms > 0) sample.sim *= age_weight(x, s);
        x->samples[n++] = sample;
    }
    return n;
}

/* Sample a is nearer than b; places rise from the newest. */
static bool is_nearer(const struct model__sample *samples, int a, int b)
{
    if (samples[a].sim != samples[b].sim) return samples[a].sim > samples[b].sim;
    return a < b;
}

static void sift_down(struct model_neighbours *x, int n)
{
    for (int at = 0, child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && is_nearer(x->samples, x->best[child], x->best[child + 1])) child++;
        if (is_nearer(x->samples, x->best[child], x->best[at])) return;
        int swap = x->best[at];
        x->best[at] = x->best[child];
        x->best[child] = swap;
    }
}

/* The place of the k-th nearest of n samples: those not farther are the neighbours. */
static int farthest_find(struct model_neighbours *x, int n)
{
    int k = x->options.k < n ? x->options.k : n;
    for (int i = 0; i < k; i++) /* a later sample is farther only by sim, so it may have to rise */
        for (int at = i, up; x->best[at] = i, at > 0; at = up) {
            up = (at - 1) / 2;
            if (!is_nearer(x->samples, x->best[up], i)) break;
            x->best[at] = x->best[up];
        }
    for (int i = k; i < n; i++) {
        if (!is_nearer(x->samples, i, x->best[0])) continue;
        x->best[0] = i;
        sift_down(x, k);
    }
    return x->best[0];
}

/* The items of n samples' sessions, newest first, into gathered[sample,:]. The lists of long sessions are walked at once: each
 * step waits for memory, and so they wait together. n at most MODEL__LANES. */
static void items_gather(struct model_neighbours *x, const struct model__sample *samples, int n)
{
    uint32_t at[MODEL__LANES], *to[MODEL__LANES];
    int left = 0;
    for (int i = 0; i < n; i++) {
        const struct model__session *s = &x->sessions[samples[i].session];
        uint32_t *items = x->gathered + i * x->options.items_max;
        if (s->n > MODEL__RECENT) {
            at[left] = s->first;
            to[left++] = items;
            __builtin_prefetch(&x->nodes[s->first]);
            continue;
        }
        for (int place = 0; place < s->n; place++) {
            items[place] = s->recent[place];
            __builtin_prefetch(&x->sum[items[place]]);
        }
    }
    while (left > 0) {
        for (int i = 0; i < left; i++) {
            const struct model__node *node = &x->nodes[at[i]];
            *to[i]++ = node->item;
            __builtin_prefetch(&x->sum[node->item]);
            at[i] = node->next;
            if (at[i] != MODEL__NONE) {
                __builtin_prefetch(&x->nodes[at[i]]);
                continue;
            }
            at[i] = at[--left];
            to[i--] = to[left];
        }
    }
}

/* Adds what one neighbour gives to its items (newest first), and counts the one that it went to from the query's newest: that is
 * near, so it is touched. Returns how many items are touched now. */
static int sums_add(struct model_neighbours *x, const struct model__sample *sample,
                    const uint32_t *items, int count)
{
    double weight = sample->sim * x->position[sample->steps];
    int n = x->sessions[sample->session].n, match = 0;
    bool reaches = x->options.reach > 0;
    if (weight <= 0) return count;
    while (items[match] != sample->match)
        match++;
    if (sample->steps == 1 && match > 0) x->follows[items[match - 1]]++;
    for (int place = 0; place < n; place++) {
        int d = abs(place - match);
        double given = !reaches ? weight : d < MODEL__NEAR ? weight * x->near[d] : 0.0;
        if (given <= 0) continue;
        if (x->sum[items[place]] == 0) x->touched[count++] = items[place];
        x->sum[items[place]] += given;
    }
    return count;
}

/* Samples [0, n) that are neighbours, to the front, newest first. Returns how many. */
static int neighbours_keep(struct model_neighbours *x, int n)
{
    int farthest = farthest_find(x, n), kept = 0;
    struct model__sample last = x->samples[farthest];
    for (int i = 0; i < n; i++) {
        bool is_kept =
            x->samples[i].sim > last.sim || (x->samples[i].sim == last.sim && i <= farthest);
        if (is_kept) x->samples[kept++] = x->samples[i];
    }
    return kept;
}

/* Adds what each neighbour gives to its items, newest neighbour first. Returns how many items. */
static int sums_make(struct model_neighbours *x, int n)
{
    int count = 0;
    n = neighbours_keep(x, n);
    for (int at = 0; at < n; at += MODEL__LANES) {
        int lanes = n - at < MODEL__LANES ? n - at : MODEL__LANES;
        items_gather(x, x->samples + at, lanes);
        for (int i = 0; i < lanes; i++)
            count = sums_add(x, &x->samples[at + i], x->gathered + i * x->options.items_max, count);
    }
    return count;
}

static double idf_of(const struct model_neighbours *x, const struct model__item *item)
{
    if (x->options.idf == NEIGHBOURS_IDF_NONE) return 1.0;
    double sessions = (double)map_u64_count(x->session_of);
    double idf = x->options.idf_weight * log(sessions / (double)item->n);
    return x->options.idf == NEIGHBOURS_IDF_PLUS ? 1.0 + idf : idf;
}

/* The idf of an item that one session holds, which no item exceeds; a little more, for log's last bit. */
static double idf_most(const struct model_neighbours *x)
{
    struct model__item rarest = {.n = 1};
    return idf_of(x, &rarest) * (1.0 + 1e-9);
}

static bool is_better(const struct model_neighbour *a, const struct model_neighbour *b)
{
    return a->score > b->score || (a->score == b->score && a->key < b->key);
}

int model_neighbours_query(struct model_neighbours *x, uint64_t session, const uint64_t *items,
                           int n, int K, bool (*skip)(void *context, uint64_t key), void *context,
                           struct model_neighbour *out)
{
    struct head heads[MODEL_NEIGHBOURS_LAST_MAX];
    int n_heads = heads_make(x, items, n, heads), kept = 0;
    int n_samples = sample_take(x, session, heads, n_heads);
    int count = n_samples ? sums_make(x, n_samples) : 0;
    double most = count ? idf_most(x) : 0;
    for (int i = 0; i < count; i++) {
        const struct model__item *item = &x->items[x->touched[i]];
        double sum = x->sum[x->touched[i]];
        uint32_t follows = x->follows[x->touched[i]];
        x->sum[x->touched[i]] = 0;
        x->follows[x->touched[i]] = 0;
        if (kept == K && sum * most < out[K - 1].score) continue;
        struct model_neighbour found = {item->key, sum * idf_of(x, item), follows};
        if (kept == K && !is_better(&found, &out[K - 1])) continue;
        if (skip && skip(context, found.key)) continue;
        int at = kept < K ? kept++ : K - 1;
        for (; at > 0 && is_better(&found, &out[at - 1]); at--)
            out[at] = out[at - 1];
        out[at] = found;
    }
    return kept;
}
