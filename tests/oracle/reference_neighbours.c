/* The reference's session neighbours: formulas of model/model.h and rule 12 of docs/STATE.md over a plain array of sessions.
 * Every query looks at every session. */
#include "tests/oracle/reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct reference_index *reference_index_new(const struct model_neighbours_options *options)
{
    struct reference_index *x = mem_zalloc(sizeof *x);
    x->options = *options;
    x->newest_ms = INT64_MIN;
    return x;
}

void reference_index_free(struct reference_index *x)
{
    if (!x) return;
    mem_free(x->sessions);
    mem_free(x);
}

/* ---- adds ---- */

static void drop_oldest(struct reference_index *x)
{
    x->n_clicks -= x->sessions[0].n;
    memmove(x->sessions, x->sessions + 1, (size_t)--x->n * sizeof *x->sessions);
}

/* Makes the session the last of the array, new when there is none with the id. */
static struct reference_session *to_the_end(struct reference_index *x, uint64_t id)
{
    struct reference_session moved = {.id = id, .last_ms = INT64_MIN};
    int at = 0;
    while (at < x->n && x->sessions[at].id != id)
        at++;
    if (at < x->n) {
        moved = x->sessions[at];
        memmove(x->sessions + at, x->sessions + at + 1,
                (size_t)(--x->n - at) * sizeof *x->sessions);
    } else if (x->n == x->options.sessions_max) {
        drop_oldest(x);
    }
    if (x->n == x->cap) {
        x->cap = x->cap ? 2 * x->cap : 64;
        x->sessions = mem_realloc(x->sessions, (size_t)x->cap * sizeof *x->sessions);
    }
    x->sessions[x->n++] = moved;
    return &x->sessions[x->n - 1];
}

/* Place of the item in the session, oldest 0; -1 when it does not hold it. */
static int place_of(const struct reference_session *s, uint64_t item)
{
    for (int i = 0; i < s->n; i++)
        if (s->items[i] == item) return i;
    return -1;
}

void reference_index_add(struct reference_index *x, uint64_t id, uint64_t item, int64_t time_ms)
{
    if (time_ms > x->newest_ms) x->newest_ms = time_ms;
    int64_t since = x->newest_ms - x->options.max_age_ms;
    bool expires = x->options.max_age_ms > 0;
    while (expires && x->n > 0 && x->sessions[0].last_ms < since)
        drop_oldest(x);
    if (expires && time_ms < since) return;
    struct reference_session *s = to_the_end(x, id);
    s->recency = ++x->adds;
    if (time_ms > s->last_ms) s->last_ms = time_ms;
    if (place_of(s, item) >= 0) return;
    if (s->n == x->options.items_max) {
        memmove(s->items, s->items + 1, (size_t)(--s->n) * sizeof *s->items);
        x->n_clicks--;
    }
    while (x->n_clicks == x->options.clicks_max)
        drop_oldest(x);
    s = &x->sessions[x->n - 1];
    s->items[s->n++] = item;
    x->n_clicks++;
}

int reference_index_forget(struct reference_index *x, uint64_t user)
{
    int kept = 0, before = x->n;
    x->n_clicks = 0;
    for (int i = 0; i < x->n; i++) {
        if (x->sessions[i].id >> 32 == user >> 32) continue;
        x->sessions[kept++] = x->sessions[i];
        x->n_clicks += x->sessions[i].n;
    }
    x->n = kept;
    return before - kept;
}

/* ---- a query ---- */

static double weight_of(enum model_neighbours_decay shape, double part, double linear, int behind)
{
    if (shape == NEIGHBOURS_LINEAR) return linear > 0 ? linear : 0;
    if (shape == NEIGHBOURS_DIV) return part;
    if (shape == NEIGHBOURS_LOG) return 1.0 / log10(behind + 1.7);
    if (shape == NEIGHBOURS_QUADRATIC) return part * part;
    return 1.0;
}

/* p from 1, the oldest, to n. */
static double similarity_of(const struct reference_index *x, int p, int n)
{
    return weight_of(x->options.similarity, (double)p / n, 1.0 - 0.1 * (n - p), n - p);
}

static double position_of(const struct reference_index *x, int steps)
{
    double weight = weight_of(x->options.position, 1.0 / steps, 1.0 - 0.1 * steps, steps);
    return x->options.position == NEIGHBOURS_QUADRATIC ? 1.0 / ((double)steps * steps) : weight;
}

struct sampled {
    const struct reference_session *session;
    double sim;
    int steps, match;
    bool is_neighbour;
};

/* What the session shares with the query's n items; false: nothing. */
static bool sample(const struct reference_index *x, const struct reference_session *s,
                   const uint64_t *items, int n, struct sampled *out)
{
    *out = (struct sampled){.session = s};
    for (int i = n - 1; i >= 0; i--) {
        bool again = false;
        for (int j = i + 1; j < n; j++)
            again = again || items[j] == items[i];
        int place = again ? -1 : place_of(s, items[i]);
        if (place < 0) continue;
        out->sim += similarity_of(x, i + 1, n);
        if (out->steps == 0) out->match = place;
        if (out->steps == 0) out->steps = n - i;
    }
    double age = (double)(x->newest_ms - s->last_ms);
    if (x->options.half_life_ms > 0) out->sim *= exp2(-age / x->options.half_life_ms);
    return out->steps > 0;
}

/* Marks the k with the largest sim, of equals the newer; samples stand newest first. */
static void mark(struct sampled *samples, int n, int k)
{
    for (int i = 0; i < k && i < n; i++) {
        int best = -1;
        for (int j = 0; j < n; j++)
            if (!samples[j].is_neighbour && (best < 0 || samples[j].sim > samples[best].sim))
                best = j;
        samples[best].is_neighbour = true;
    }
}

struct sums {
    struct reference_neighbour *all;
    int n, cap;
};

static struct reference_neighbour *sum_of(struct sums *sums, uint64_t item)
{
    int at = 0;
    while (at < sums->n && sums->all[at].key != item)
        at++;
    if (at == sums->cap) {
        sums->cap = sums->cap ? 2 * sums->cap : 64;
        sums->all = mem_realloc(sums->all, (size_t)sums->cap * sizeof *sums->all);
    }
    if (at == sums->n) sums->all[sums->n++] = (struct reference_neighbour){.key = item};
    return &sums->all[at];
}

static void neighbour_give(const struct reference_index *x, const struct sampled *from,
                           struct sums *sums)
{
    double weight = from->sim * position_of(x, from->steps);
    for (int i = from->session->n - 1; i >= 0; i--) {
        int d = abs(i - from->match);
        double near = x->options.reach > 0 ? exp(-d / x->options.reach) : 1.0;
        if (x->options.reach > 0 && d >= 64) near = 0;
        if (weight * near <= 0) continue;
        struct reference_neighbour *to = sum_of(sums, from->session->items[i]);
        to->score += weight * near;
        if (from->steps == 1 && i == from->match + 1) to->follows++;
    }
}

static double idf_of(const struct reference_index *x, uint64_t item)
{
    int with = 0;
    if (x->options.idf == NEIGHBOURS_IDF_NONE) return 1.0;
    for (int i = 0; i < x->n; i++)
        with += place_of(&x->sessions[i], item) >= 0;
    double l = x->options.idf_weight * log((double)x->n / (double)with);
    return x->options.idf == NEIGHBOURS_IDF_PLUS ? 1.0 + l : l;
}

static int by_sum(const void *a, const void *b)
{
    const struct reference_neighbour *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return (x->key > y->key) - (x->key < y->key);
}

int reference_index_query(const struct reference_index *x, uint64_t own, const uint64_t *items,
                          int n, struct reference_neighbour *out)
{
    struct sampled *samples = mem_alloc((size_t)x->options.m * sizeof *samples);
    struct sums sums = {0};
    int found = 0;
    if (n > x->options.last_n) {
        items += n - x->options.last_n;
        n = x->options.last_n;
    }
    for (int i = x->n - 1; i >= 0 && found < x->options.m; i--)
        if (x->sessions[i].id != own && sample(x, &x->sessions[i], items, n, &samples[found]))
            found++;
    mark(samples, found, x->options.k);
    for (int i = 0; i < found; i++)
        if (samples[i].is_neighbour) neighbour_give(x, &samples[i], &sums);
    for (int i = 0; i < sums.n; i++)
        sums.all[i].score *= idf_of(x, sums.all[i].key);
    if (sums.n > 0) qsort(sums.all, (size_t)sums.n, sizeof *sums.all, by_sum);
    int count = sums.n < REFERENCE_CANDIDATES_MAX ? sums.n : REFERENCE_CANDIDATES_MAX;
    for (int i = 0; i < count; i++)
        out[i] = sums.all[i];
    mem_free(sums.all);
    mem_free(samples);
    return count;
}
