/* The arm of related items against its definition. */
#include <math.h>

#include "base/rng.h"
#include "model/partners.h"
#include "tests/test.h"

enum { ITEMS = 60 };

struct lists {
    struct model_scored list[MODEL_RELATED_SOURCES][MODEL_RELATED_PARTNERS + 4];
    struct model_related_source sources[MODEL_RELATED_SOURCES];
    int n;
};

static void lists_draw(struct lists *lists, struct rng *rng)
{
    lists->n = (int)rng_below(rng, MODEL_RELATED_SOURCES + 1);
    for (int s = 0; s < lists->n; s++) {
        int n = (int)rng_below(rng, MODEL_RELATED_PARTNERS + 5);
        uint64_t key = rng_below(rng, 20);
        for (int i = 0; i < n; i++) {
            /* Few different scores, so that there are ties. */
            lists->list[s][i] = (struct model_scored){key % ITEMS + 1, (double)(n - i / 3)};
            key += 1 + rng_below(rng, 2);
        }
        lists->sources[s] = (struct model_related_source){lists->list[s], n, 1.0 / (1 << s / 4)};
    }
}

static bool is_odd(void *context, uint64_t key)
{
    (void)context;
    return key % 2 == 1;
}

/* The sum of an item's parts, and the first of the sources that gave most. */
static double score_of(const struct lists *lists, uint64_t key, int *source)
{
    double sum = 0, most = -1;
    for (int s = 0; s < lists->n; s++) {
        const struct model_related_source *from = &lists->sources[s];
        for (int i = 0; i < from->n && i < MODEL_RELATED_PARTNERS; i++) {
            if (from->list[i].key != key) continue;
            double part = from->list[i].score * from->weight;
            sum += part;
            if (part > most) *source = s;
            if (part > most) most = part;
        }
    }
    return sum;
}

static void found_is(const struct lists *lists, int K, bool skips,
                     const struct model_related_item *found, int n)
{
    bool is_taken[ITEMS + 1] = {false};
    for (int place = 0;; place++) {
        double best = 0;
        uint64_t key = 0;
        int source = -1, its = -1;
        for (uint64_t k = 1; k <= ITEMS; k++) {
            double score = score_of(lists, k, &its);
            bool is_out = is_taken[k] || (skips && is_odd(NULL, k));
            if (is_out || score <= best) continue;
            best = score;
            key = k;
            source = its;
        }
        if (best <= 0 || place == K) {
            CHECK_INT(n, place);
            return;
        }
        CHECK(place < n);
        CHECK_INT(found[place].key, key);
        CHECK_NEAR((double)found[place].score, best, 1e-5);
        CHECK_INT(found[place].source, source);
        is_taken[key] = true;
    }
}

static void lists_add_up(void)
{
    struct rng rng;
    struct lists lists;
    struct model_related_item found[MODEL_RELATED_MAX];
    rng_init(&rng, test_seed());
    for (int round = 0; round < 2000; round++) {
        lists_draw(&lists, &rng);
        int K = 1 + (int)rng_below(&rng, MODEL_RELATED_MAX);
        bool skips = rng_below(&rng, 2);
        int n = model_related(lists.sources, lists.n, K, skips ? is_odd : NULL, NULL, found);
        found_is(&lists, K, skips, found, n);
    }
}

int main(void)
{
    CASE(lists_add_up);
    return 0;
}
