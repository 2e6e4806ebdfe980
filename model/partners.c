/* Rows of partners: bounded, decayed counts of what goes with one subject. Formulas in partners.h.
 *
 * Entries stand by key, so that a row's bytes depend on what it holds and not on how it came about, and a partner is found by
 * bisection. A row is a few KiB: moving its end for a new partner costs less than a hash table would. */
#include "model/partners_internal.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Of what was there, less is nothing. Rounding moves a count by 4e-11 of itself at a half-life of an hour, where levels are the largest; an
 * event that is 20 half-lives older than what is taken back does not count any more. */
static const double NOTHING = 0x1p-20;

double model_moment(int64_t time_ms, double half_life_ms)
{
    return half_life_ms > 0 ? (double)time_ms / half_life_ms : 0.0;
}

double model_basket_weight(int n)
{
    assert(n >= 2);
    return 1.0 / sqrt((double)(n - 1));
}

double model__level_add(double level, double weight, double moment)
{
    if (weight == 0) return level;
    double amount = moment + log2(fabs(weight));
    if (weight > 0) {
        double high = level > amount ? level : amount;
        double low = level > amount ? amount : level;
        return high + log2(1.0 + exp2(low - high));
    }
    double left = 1.0 - exp2(amount - level); /* -infinity when there is nothing to take from */
    return left > NOTHING ? level + log2(left) : -(double)INFINITY;
}

/* ---- the strongest ---- */

static bool is_weaker(struct model_partner a, struct model_partner b)
{
    return a.level < b.level || (a.level == b.level && a.key > b.key);
}

/* The n entries are a heap with the weakest on top, but for the one at `at`. */
static void sift_down(struct model_partner *heap, size_t n, size_t at)
{
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && is_weaker(heap[child + 1], heap[child])) child++;
        if (!is_weaker(heap[child], heap[at])) return;
        struct model_partner swap = heap[at];
        heap[at] = heap[child];
        heap[child] = swap;
    }
}

void model__strongest(struct model_partner *entries, size_t n, size_t keep)
{
    for (size_t at = keep / 2; at-- > 0;)
        sift_down(entries, keep, at);
    for (size_t i = keep; i < n && keep > 0; i++) {
        if (!is_weaker(entries[0], entries[i])) continue;
        struct model_partner swap = entries[0];
        entries[0] = entries[i];
        entries[i] = swap;
        sift_down(entries, keep, 0);
    }
}

/* ---- rows ---- */

void model_partners_init(struct model_partners *row, struct model_partner *entries, int max)
{
    assert(max >= 4 && max <= MODEL_PARTNERS_MAX);
    double none = -(double)INFINITY;
    *row = (struct model_partners){.total = none, .newest = none, .max = max, .entries = entries};
}

/* The first entry whose key is not below this one. */
static int place_of(const struct model_partners *row, uint64_t key)
{
    int low = 0, high = row->n;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (row->entries[middle].key < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_at(const struct model_partners *row, int place, uint64_t key)
{
    return place < row->n && row->entries[place].key == key;
}

const struct model_partner *model_partners_find(const struct model_partners *row, uint64_t key)
{
    int place = place_of(row, key);
    return is_at(row, place, key) ? row->entries + place : NULL;
}

void model_partners_trim(struct model_partners *row, int keep)
{
    if (row->n <= keep) return;
    struct model_partner *e = row->entries;
    model__strongest(e, (size_t)row->n, (size_t)keep);
    row->n = keep;
    /* Back in the order of keys. By insertion: once in max / 4 newcomers, some 4 us for 200 entries. */
    for (int i = 1; i < keep; i++) {
        struct model_partner moved = e[i];
        int place = i;
        for (; place > 0 && e[place - 1].key > moved.key; place--)
            e[place] = e[place - 1];
        e[place] = moved;
    }
}

static void insert(struct model_partners *row, uint64_t key, double level)
{
    if (row->n == row->max) model_partners_trim(row, row->max - row->max / 4);
    int place = place_of(row, key);
    struct model_partner *at = row->entries + place;
    memmove(at + 1, at, (size_t)(row->n - place) * sizeof *at);
    *at = (struct model_partner){key, level};
    row->n++;
}

static void take_out(struct model_partners *row, int place)
{
    struct model_partner *at = row->entries + place;
    memmove(at, at + 1, (size_t)(row->n - place - 1) * sizeof *at);
    row->n--;
}

void model_partners_add(struct model_partners *row, uint64_t key, double weight, double moment)
{
    if (weight == 0) return;
    if (weight > 0 && moment > row->newest) row->newest = moment;
    row->total = model__level_add(row->total, weight, moment);
    int place = place_of(row, key);
    if (!is_at(row, place, key)) {
        if (weight > 0) insert(row, key, moment + log2(weight));
        return;
    }
    double level = model__level_add(row->entries[place].level, weight, moment);
    if (isinf(level))
        take_out(row, place);
    else
        row->entries[place].level = level;
}

/* -infinity: of nothing. Half-lives of a second since 1970 are 2^31. */
static bool is_level(double level)
{
    return (isinf(level) && level < 0) || (level >= -0x1p100 && level <= 0x1p100);
}

bool model_partners_is_valid(const struct model_partners *row)
{
    if (row->n < 0 || row->n > row->max || isnan(row->total) || isnan(row->newest)) return false;
    if (!is_level(row->total) || !is_level(row->newest)) return false;
    for (int i = 0; i < row->n; i++) {
        if (!isfinite(row->entries[i].level) || !is_level(row->entries[i].level)) return false;
        if (i > 0 && row->entries[i].key <= row->entries[i - 1].key) return false;
    }
    return true;
}
