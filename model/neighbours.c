/* The index of session neighbours, and its query.
 *
 * A click is a node in two lists: that of its session (newest item first) and that of its item (session clicked last
 * first). A click moves all nodes of its session to the front of their items' lists, so each of these is always sorted by
 * recency. A query is then one merge of at most last_n sorted lists: it meets sessions newest first, all shares of one
 * session at once, and stops behind m. */
#include "model/model.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"

#define NONE UINT32_MAX

enum { NEAR = 64 }; /* places; behind them e ^ (-d / reach) counts as nothing */

struct node {
    uint32_t session, item;
    uint32_t newer, older; /* in the item's list */
    uint32_t next;         /* in the session's list, or in that of free nodes */
};

struct session {
    uint64_t id;
    uint64_t recency; /* number of the add that touched it last */
    int64_t last_ms;  /* its newest click */
    uint32_t first;   /* node of the newest item */
    int n;
    uint32_t newer, older; /* among sessions; older links free ones */
};

struct item {
    uint64_t key;
    uint32_t newest; /* node of the session clicked last; links free items */
    int n;           /* sessions that hold it */
};

struct sample {
    double sim;
    int steps; /* 1 when it holds the query's newest item */
    uint32_t session;
    uint32_t match; /* item: the newest of the query's that it holds */
};

struct model_neighbours {
    struct model_neighbours_options options;
    struct node *nodes;         /* (clicks_max) */
    struct session *sessions;   /* (sessions_max) */
    struct item *items;         /* (clicks_max): no item without a click */
    struct map_u64 *session_of; /* id to place */
    struct map_u64 *item_of;    /* key to place */
    uint32_t free_node, free_session, free_item;
    uint32_t newest, oldest; /* session */
    int n_clicks;
    uint64_t adds;
    int64_t newest_ms;                              /* of all adds */
    double position[MODEL_NEIGHBOURS_LAST_MAX + 1]; /* by steps */
    double near[NEAR];                              /* by places from the match; 0 behind */
    struct sample *samples;                         /* (m) newest session first */
    int *best;         /* (k) heap of places in samples, the worst on top */
    double *sum;       /* (clicks_max) by item, 0 between queries */
    uint32_t *touched; /* (clicks_max) items whose sum is set */
};

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

static void weights_init(struct model_neighbours *x)
{
    for (int steps = 1; steps <= MODEL_NEIGHBOURS_LAST_MAX; steps++)
        x->position[steps] = position_of(x->options.position, steps);
    for (int d = 0; d < NEAR && x->options.reach > 0; d++)
        x->near[d] = exp(-d / x->options.reach);
}

/* ---- life ---- */

struct model_neighbours *model_neighbours_new(const struct model_neighbours_options *options)
{
    struct model_neighbours *x = mem_zalloc(sizeof *x);
    size_t clicks = (size_t)options->clicks_max, sessions = (size_t)options->sessions_max;
    assert(clicks > 0 && sessions > 0 && options->items_max > 0 && options->m > 0);
    assert(options->k > 0 && options->last_n > 0);
    assert(options->last_n <= MODEL_NEIGHBOURS_LAST_MAX);
    x->options = *options;
    x->nodes = mem_alloc(clicks * sizeof *x->nodes);
    x->sessions = mem_alloc(sessions * sizeof *x->sessions);
    x->items = mem_alloc(clicks * sizeof *x->items);
    x->session_of = map_u64_new(sessions);
    x->item_of = map_u64_new(clicks);
    x->samples = mem_alloc((size_t)options->m * sizeof *x->samples);
    x->best = mem_alloc((size_t)options->k * sizeof *x->best);
    x->sum = mem_zalloc(clicks * sizeof *x->sum);
    x->touched = mem_alloc(clicks * sizeof *x->touched);
    for (uint32_t i = 0; i < clicks; i++) {
        x->nodes[i].next = i + 1 < clicks ? i + 1 : NONE;
        x->items[i].newest = i + 1 < clicks ? i + 1 : NONE;
    }
    for (uint32_t i = 0; i < sessions; i++)
        x->sessions[i].older = i + 1 < sessions ? i + 1 : NONE;
    x->newest = x->oldest = NONE;
    x->newest_ms = INT64_MIN;
    weights_init(x);
    return x;
}

void model_neighbours_free(struct model_neighbours *x)
{
    if (!x) return;
    map_u64_free(x->session_of);
    map_u64_free(x->item_of);
    mem_free(x->nodes);
    mem_free(x->sessions);
    mem_free(x->items);
    mem_free(x->samples);
    mem_free(x->best);
    mem_free(x->sum);
    mem_free(x->touched);
    mem_free(x);
}

/* ---- the index ---- */

static void node_unlink(struct model_neighbours *x, uint32_t at)
{
    const struct node *node = &x->nodes[at];
    if (node->newer != NONE)
        x->nodes[node->newer].older = node->older;
    else
        x->items[node->item].newest = node->older;
    if (node->older != NONE) x->nodes[node->older].newer = node->newer;
}

static void node_to_front(struct model_neighbours *x, uint32_t at)
{
    struct node *node = &x->nodes[at];
    struct item *item = &x->items[node->item];
    node->newer = NONE;
    node->older = item->newest;
    if (item->newest != NONE) x->nodes[item->newest].newer = at;
    item->newest = at;
}

/* Takes a node out of its item's list and frees it, and the item when it was the last. */
static void node_drop(struct model_neighbours *x, uint32_t at)
{
    uint32_t place = x->nodes[at].item;
    struct item *item = &x->items[place];
    node_unlink(x, at);
    if (--item->n == 0) {
        (void)map_u64_delete(x->item_of, item->key);
        item->newest = x->free_item;
        x->free_item = place;
    }
    x->nodes[at].next = x->free_node;
    x->free_node = at;
    x->n_clicks--;
}

static void session_unlink(struct model_neighbours *x, uint32_t at)
{
    const struct session *s = &x->sessions[at];
    *(s->newer != NONE ? &x->sessions[s->newer].older : &x->newest) = s->older;
    *(s->older != NONE ? &x->sessions[s->older].newer : &x->oldest) = s->newer;
}

static void session_to_front(struct model_neighbours *x, uint32_t at)
{
    struct session *s = &x->sessions[at];
    s->newer = NONE;
    s->older = x->newest;
    *(x->newest != NONE ? &x->sessions[x->newest].newer : &x->oldest) = at;
    x->newest = at;
}

static void session_drop(struct model_neighbours *x, uint32_t at)
{
    struct session *s = &x->sessions[at];
    for (uint32_t node = s->first, next; node != NONE; node = next) {
        next = x->nodes[node].next;
        node_drop(x, node);
    }
    session_unlink(x, at);
    (void)map_u64_delete(x->session_of, s->id);
    s->older = x->free_session;
    x->free_session = at;
}

/* Drops the session's oldest item. */
static void session_shorten(struct model_neighbours *x, struct session *s)
{
    uint32_t *link = &s->first;
    while (x->nodes[*link].next != NONE)
        link = &x->nodes[*link].next;
    uint32_t last = *link;
    *link = NONE;
    s->n--;
    node_drop(x, last);
}

/* The session's place; made when it is new. */
static uint32_t session_take(struct model_neighbours *x, uint64_t id)
{
    const uint64_t *known = map_u64_get(x->session_of, id);
    if (known) {
        session_unlink(x, (uint32_t)*known);
        session_to_front(x, (uint32_t)*known);
        return (uint32_t)*known;
    }
    if (x->free_session == NONE) session_drop(x, x->oldest);
    uint32_t at = x->free_session;
    x->free_session = x->sessions[at].older;
    x->sessions[at] = (struct session){.id = id, .last_ms = INT64_MIN, .first = NONE};
    (void)map_u64_set(x->session_of, id, at);
    session_to_front(x, at);
    return at;
}

static uint32_t item_take(struct model_neighbours *x, uint64_t key)
{
    const uint64_t *known = map_u64_get(x->item_of, key);
    if (known) return (uint32_t)*known;
    uint32_t at = x->free_item;
    x->free_item = x->items[at].newest;
    x->items[at] = (struct item){.key = key, .newest = NONE};
    (void)map_u64_set(x->item_of, key, at);
    return at;
}

/* Makes room for one more item of session `at`, which is the newest. */
static void room_make(struct model_neighbours *x, uint32_t at)
{
    if (x->sessions[at].n == x->options.items_max) session_shorten(x, &x->sessions[at]);
    while (x->free_node == NONE && x->oldest != at)
        session_drop(x, x->oldest);
    if (x->free_node == NONE) session_shorten(x, &x->sessions[at]);
}

static bool session_holds(const struct model_neighbours *x, const struct session *s, uint64_t key)
{
    for (uint32_t at = s->first; at != NONE; at = x->nodes[at].next)
        if (x->items[x->nodes[at].item].key == key) return true;
    return false;
}

/* False when a click of this time is itself too old. */
static bool expire(struct model_neighbours *x, int64_t time_ms)
{
    if (time_ms > x->newest_ms) x->newest_ms = time_ms;
    if (x->options.max_age_ms == 0) return true;
    int64_t since = x->newest_ms - x->options.max_age_ms;
    while (x->oldest != NONE && x->sessions[x->oldest].last_ms < since)
        session_drop(x, x->oldest);
    return time_ms >= since;
}

void model_neighbours_add(struct model_neighbours *x, uint64_t id, uint64_t key, int64_t time_ms)
{
    if (!expire(x, time_ms)) return;
    uint32_t at = session_take(x, id);
    struct session *s = &x->sessions[at];
    s->recency = ++x->adds;
    if (time_ms > s->last_ms) s->last_ms = time_ms;
    for (uint32_t node = s->first; node != NONE; node = x->nodes[node].next) {
        node_unlink(x, node);
        node_to_front(x, node);
    }
    if (session_holds(x, s, key)) return;
    room_make(x, at);
    uint32_t item = item_take(x, key), node = x->free_node;
    x->free_node = x->nodes[node].next;
    x->nodes[node] = (struct node){.session = at, .item = item, .next = s->first};
    s->first = node;
    s->n++;
    x->items[item].n++;
    x->n_clicks++;
    node_to_front(x, node);
}

/* ---- the query ---- */

struct head {
    double share; /* of sim */
    uint32_t node;
    int steps;
};

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
        heads[count++] =
            (struct head){.node = x->items[*place].newest,
                          .share = similarity_of(x->options.similarity, i - first + 1, n - first),
                          .steps = n - i};
    }
    return count;
}

/* Halves with each half-life behind the newest click of all, so never above 1. */
static double age_weight(const struct model_neighbours *x, const struct session *s)
{
    return exp2(-(double)(x->newest_ms - s->last_ms) / x->options.half_life_ms);
}

/* Merges the lists into samples, newest session first. Returns how many. */
static int sample_take(struct model_neighbours *x, uint64_t own, struct head *heads, int n_heads)
{
    int n = 0;
    while (n < x->options.m) {
        uint32_t newest = NONE;
        for (int h = 0; h < n_heads; h++) {
            if (heads[h].node == NONE) continue;
            uint32_t at = x->nodes[heads[h].node].session;
            if (newest == NONE || x->sessions[at].recency > x->sessions[newest].recency)
                newest = at;
        }
        if (newest == NONE) break;
        struct sample sample = {.session = newest};
        for (int h = 0; h < n_heads; h++) {
            if (heads[h].node == NONE || x->nodes[heads[h].node].session != newest) continue;
            sample.sim += heads[h].share;
            if (sample.steps == 0) sample.match = x->nodes[heads[h].node].item;
            if (sample.steps == 0) sample.steps = heads[h].steps;
            heads[h].node = x->nodes[heads[h].node].older;
        }
        if (x->sessions[newest].id == own) continue;
        if (x->options.half_life_ms > 0) sample.sim *= age_weight(x, &x->sessions[newest]);
        x->samples[n++] = sample;
    }
    return n;
}

/* Sample a is nearer than b; places rise from the newest. */
static bool is_nearer(const struct sample *samples, int a, int b)
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

/* Places of the matching item from the session's newest. */
static int match_place(const struct model_neighbours *x, const struct sample *sample)
{
    int place = 0;
    uint32_t at = x->sessions[sample->session].first;
    for (; x->nodes[at].item != sample->match; at = x->nodes[at].next)
        place++;
    return place;
}

/* Adds what one neighbour gives to its items. Returns how many items are touched now. */
static int sums_add(struct model_neighbours *x, const struct sample *sample, int count)
{
    double weight = sample->sim * x->position[sample->steps];
    if (weight <= 0) return count;
    bool reaches = x->options.reach > 0;
    int match = reaches ? match_place(x, sample) : 0, place = 0;
    uint32_t at = x->sessions[sample->session].first;
    for (; at != NONE; at = x->nodes[at].next, place++) {
        uint32_t item = x->nodes[at].item;
        int d = abs(place - match);
        double given = !reaches ? weight : d < NEAR ? weight * x->near[d] : 0.0;
        if (given <= 0) continue;
        if (x->sum[item] == 0) x->touched[count++] = item;
        x->sum[item] += given;
    }
    return count;
}

/* Adds what each neighbour gives to its items, newest neighbour first. Returns how many items. */
static int sums_make(struct model_neighbours *x, int n)
{
    int farthest = farthest_find(x, n), count = 0;
    for (int i = 0; i < n; i++) {
        const struct sample *sample = &x->samples[i];
        if (i != farthest && !is_nearer(x->samples, i, farthest)) continue;
        count = sums_add(x, sample, count);
    }
    return count;
}

static double idf_of(const struct model_neighbours *x, const struct item *item)
{
    if (x->options.idf == NEIGHBOURS_IDF_NONE) return 1.0;
    double sessions = (double)map_u64_count(x->session_of);
    double idf = x->options.idf_weight * log(sessions / (double)item->n);
    return x->options.idf == NEIGHBOURS_IDF_PLUS ? 1.0 + idf : idf;
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
    for (int i = 0; i < count; i++) {
        const struct item *item = &x->items[x->touched[i]];
        struct model_neighbour found = {item->key, x->sum[x->touched[i]] * idf_of(x, item)};
        x->sum[x->touched[i]] = 0;
        if (kept == K && !is_better(&found, &out[K - 1])) continue;
        if (skip && skip(context, found.key)) continue;
        int at = kept < K ? kept++ : K - 1;
        for (; at > 0 && is_better(&found, &out[at - 1]); at--)
            out[at] = out[at - 1];
        out[at] = found;
    }
    return kept;
}

int model_neighbours_sessions(const struct model_neighbours *x)
{
    return (int)map_u64_count(x->session_of);
}

int model_neighbours_clicks(const struct model_neighbours *x)
{
    return x->n_clicks;
}

size_t model_neighbours_bytes(const struct model_neighbours *x)
{
    const struct model_neighbours_options *o = &x->options;
    size_t click = sizeof *x->nodes + sizeof *x->items + sizeof *x->sum + sizeof *x->touched;
    return sizeof *x + (size_t)o->clicks_max * click +
           (size_t)o->sessions_max * sizeof *x->sessions + (size_t)o->m * sizeof *x->samples +
           (size_t)o->k * sizeof *x->best + map_u64_bytes(x->session_of) +
           map_u64_bytes(x->item_of);
}
