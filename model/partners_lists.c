/* Lists made of several rows: what completes a cart, what rises in a category. Formulas in partners.h. */
#include "model/partners_internal.h"

#include <assert.h>
#include <math.h>

/* By key, of equals by score: sums then do not depend on the order of the lists. */
static bool is_before(struct model_scored a, struct model_scored b)
{
    return a.key < b.key || (a.key == b.key && a.score < b.score);
}

static void sift_down(struct model_scored *heap, int n, int at)
{
    for (int child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && is_before(heap[child], heap[child + 1])) child++;
        if (!is_before(heap[at], heap[child])) return;
        struct model_scored swap = heap[at];
        heap[at] = heap[child];
        heap[child] = swap;
    }
}

/* Heap sort: no recursion and no memory, as pools come from outside. */
static void sort(struct model_scored *pool, int n)
{
    for (int at = n / 2 - 1; at >= 0; at--)
        sift_down(pool, n, at);
    for (int end = n - 1; end > 0; end--) {
        struct model_scored swap = pool[0];
        pool[0] = pool[end];
        pool[end] = swap;
        sift_down(pool, end, 0);
    }
}

static bool is_given(const uint64_t *given, int n_given, uint64_t key)
{
    for (int i = 0; i < n_given; i++)
        if (given[i] == key) return true;
    return false;
}

int model_cart(struct model_scored *pool, int n, const uint64_t *given, int n_given, int K,
               bool (*skip)(void *context, uint64_t key), void *context, struct model_scored *out)
{
    assert(K >= 1);
    int count = 0;
    sort(pool, n);
    for (int i = 0; i < n;) {
        struct model_scored sum = {pool[i].key, 0.0};
        for (; i < n && pool[i].key == sum.key; i++)
            sum.score += pool[i].score;
        if (is_given(given, n_given, sum.key)) continue;
        if (skip && skip(context, sum.key)) continue;
        model__best_push(out, &count, K, sum);
    }
    return count;
}

int model_partners_rising(const struct model_partners *fast, const struct model_partners *slow,
                          const struct model_rising_options *options, int64_t now_ms, int K,
                          bool (*skip)(void *context, uint64_t key), void *context,
                          struct model_scored *out)
{
    assert(K >= 1 && options->prior > 0);
    double fast_now = model_moment(now_ms, options->fast_half_life_ms);
    double slow_now = model_moment(now_ms, options->slow_half_life_ms);
    double rate = options->fast_half_life_ms / options->slow_half_life_ms;
    int n = 0;
    for (int i = 0; i < fast->n; i++) {
        uint64_t key = fast->entries[i].key;
        const struct model_partner *old = model_partners_find(slow, key);
        double s = exp2(fast->entries[i].level - fast_now);
        double e = old ? exp2(old->level - slow_now) * rate : 0.0;
        struct model_scored candidate = {key, (s - e) / sqrt(e + options->prior)};
        if (skip && skip(context, key)) continue;
        model__best_push(out, &n, K, candidate);
    }
    return n;
}
