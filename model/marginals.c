/* Marginals: how much every item is anybody's partner. A dense array of rows with an index by key; what a store must write is
 * kept as a list of changed rows, which the rows point back to, so that a row can leave both in a few steps. */
#include "model/partners_internal.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"

enum { FIRST_ROWS = 16 };

struct note {
    uint32_t changed; /* place in the list of changed rows, from 1; 0: not in it */
    bool is_stored;   /* was told of by changes, or restored */
};

struct model_marginals {
    size_t max;
    double total;               /* level */
    double highest;             /* no level is above */
    size_t n, cap;              /* rows */
    struct model_partner *rows; /* (cap) in no order */
    struct note *notes;         /* (cap) of the rows */
    uint32_t *changed;          /* (cap) rows */
    size_t n_changed;
    uint64_t *left; /* (cap_left) keys that were stored and left */
    size_t n_left, cap_left;
    struct map_u64 *place; /* key -> row */
};

struct model_marginals *model_marginals_new(size_t max)
{
    assert(max >= 2 && max < UINT32_MAX);
    struct model_marginals *m = mem_zalloc(sizeof *m);
    m->max = max;
    m->total = m->highest = -(double)INFINITY;
    m->place = map_u64_new(max);
    return m;
}

void model_marginals_free(struct model_marginals *m)
{
    if (!m) return;
    map_u64_free(m->place);
    mem_free(m->rows);
    mem_free(m->notes);
    mem_free(m->changed);
    mem_free(m->left);
    mem_free(m);
}

/* ---- what a store must write ---- */

static void mark(struct model_marginals *m, size_t at)
{
    if (m->notes[at].changed) return;
    m->changed[m->n_changed++] = (uint32_t)at;
    m->notes[at].changed = (uint32_t)m->n_changed;
}

static void unmark(struct model_marginals *m, size_t at)
{
    uint32_t place = m->notes[at].changed;
    if (place == 0) return;
    uint32_t last = m->changed[--m->n_changed];
    m->changed[place - 1] = last;
    m->notes[last].changed = place;
    m->notes[at].changed = 0;
}

static void tell_left(struct model_marginals *m, uint64_t key)
{
    if (m->n_left == m->cap_left) {
        m->cap_left = m->cap_left ? 2 * m->cap_left : FIRST_ROWS;
        m->left = mem_realloc(m->left, m->cap_left * sizeof *m->left);
    }
    m->left[m->n_left++] = key;
}

void model_marginals_changes(struct model_marginals *m,
                             void (*visit)(void *context, uint64_t key, double level),
                             void *context)
{
    for (size_t i = 0; i < m->n_left; i++)
        visit(context, m->left[i], -(double)INFINITY);
    for (size_t i = 0; i < m->n_changed; i++) {
        uint32_t at = m->changed[i];
        visit(context, m->rows[at].key, m->rows[at].level);
        m->notes[at] = (struct note){.is_stored = true};
    }
    m->n_left = m->n_changed = 0;
}

/* ---- rows ---- */

/* Room for one more row. */
static void grow(struct model_marginals *m)
{
    if (m->n < m->cap) return;
    m->cap = m->cap ? 2 * m->cap : FIRST_ROWS;
    if (m->cap > m->max) m->cap = m->max;
    m->rows = mem_realloc(m->rows, m->cap * sizeof *m->rows);
    m->notes = mem_realloc(m->notes, m->cap * sizeof *m->notes);
    m->changed = mem_realloc(m->changed, m->cap * sizeof *m->changed);
}

static size_t row_new(struct model_marginals *m, uint64_t key, double level)
{
    grow(m);
    m->highest = fmax(m->highest, level);
    m->rows[m->n] = (struct model_partner){key, level};
    m->notes[m->n] = (struct note){0};
    (void)map_u64_set(m->place, key, m->n);
    return m->n++;
}

/* The last row takes the place. */
static void row_leave(struct model_marginals *m, size_t at)
{
    uint64_t key = m->rows[at].key;
    unmark(m, at);
    if (m->notes[at].is_stored) tell_left(m, key);
    (void)map_u64_delete(m->place, key);
    size_t last = --m->n;
    if (at == last) return;
    m->rows[at] = m->rows[last];
    m->notes[at] = m->notes[last];
    if (m->notes[at].changed) m->changed[m->notes[at].changed - 1] = (uint32_t)at;
    (void)map_u64_set(m->place, m->rows[at].key, at);
}

/* The worse half leaves. */
static void drop_half(struct model_marginals *m)
{
    size_t n = m->n, keep = n - n / 2;
    struct model_partner *split = mem_alloc(n * sizeof *split);
    memcpy(split, m->rows, n * sizeof *split);
    model__strongest(split, n, keep);
    for (size_t i = keep; i < n; i++)
        row_leave(m, (size_t)*map_u64_get(m->place, split[i].key));
    mem_free(split);
}

void model_marginals_add(struct model_marginals *m, uint64_t key, double weight, double moment)
{
    if (weight == 0) return;
    m->total = model__level_add(m->total, weight, moment);
    const uint64_t *place = map_u64_get(m->place, key);
    if (!place) {
        if (weight < 0) return;
        if (m->n == m->max) drop_half(m);
        mark(m, row_new(m, key, moment + log2(weight)));
        return;
    }
    size_t at = (size_t)*place;
    double level = model__level_add(m->rows[at].level, weight, moment);
    if (isinf(level)) {
        row_leave(m, at);
        return;
    }
    m->rows[at].level = level;
    m->highest = fmax(m->highest, level);
    mark(m, at);
}

void model_marginals_restore(struct model_marginals *m, uint64_t key, double level)
{
    if (m->n == m->max) drop_half(m);
    size_t at = row_new(m, key, level); /* may move the notes */
    m->notes[at].is_stored = true;
}

void model_marginals_resume(struct model_marginals *m, double total)
{
    m->total = total;
}

void model_marginals_shift(struct model_marginals *m, double moments)
{
    m->total += moments;
    for (size_t i = 0; i < m->n; i++) {
        m->rows[i].level += moments;
        mark(m, i);
    }
}

/* ---- reading ---- */

double model_marginals_level(const struct model_marginals *m, uint64_t key)
{
    const uint64_t *at = map_u64_get(m->place, key);
    return at ? m->rows[*at].level : -(double)INFINITY;
}

double model_marginals_total(const struct model_marginals *m)
{
    return m->total;
}

double model__marginals_highest(const struct model_marginals *m)
{
    return m->highest;
}

size_t model_marginals_count(const struct model_marginals *m)
{
    return m->n;
}

static size_t bytes_of(const struct model_marginals *m, size_t rows, size_t left)
{
    return sizeof *m + rows * (sizeof *m->rows + sizeof *m->notes + sizeof *m->changed) +
           left * sizeof *m->left;
}

size_t model_marginals_bytes(const struct model_marginals *m)
{
    return bytes_of(m, m->cap, m->cap_left) + map_u64_bytes(m->place);
}

size_t model_marginals_bytes_max(size_t max)
{
    /* Those that left were held, and doubling may have made room for as many again. */
    size_t left = 2 * max > FIRST_ROWS ? 2 * max : FIRST_ROWS;
    return bytes_of(NULL, max > FIRST_ROWS ? max : FIRST_ROWS, left) + map_u64_bytes_for(max);
}
