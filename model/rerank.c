/* Offers, rules and the order of a list, by the definitions of rerank.h. */

#include "model/rerank.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/rng.h"

/* ---- offers and rules ---- */

bool model_offer_is_open(const struct model_offer *offer, int64_t time_ms)
{
    return !offer->hidden && offer->stock != 0 &&
           (offer->from_ms == 0 || time_ms >= offer->from_ms) &&
           (offer->until_ms == 0 || time_ms < offer->until_ms);
}

uint64_t model_attribute_hash(uint64_t name, uint64_t value)
{
    /* The finaliser of splitmix64: name and value do not cancel, as their sum would. */
    uint64_t x = name * UINT64_C(0x9e3779b97f4a7c15) ^ value;
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static bool is_one_of(uint64_t value, const uint64_t *values, int n)
{
    for (int i = 0; i < n; i++)
        if (values[i] == value) return true;
    return false;
}

static bool is_any_of(const uint64_t *own, int n_own, const struct model_test *test)
{
    for (int i = 0; i < n_own; i++)
        if (is_one_of(own[i], test->values, test->n)) return true;
    return false;
}

static bool test_holds(const struct model_test *test, const struct model_offer *offer)
{
    switch (test->field) {
    case TEST_ITEM:
        return is_one_of(offer->key, test->values, test->n);
    case TEST_CATEGORY:
        return is_any_of(offer->categories, offer->n_categories, test);
    case TEST_BRAND:
        return offer->brand != 0 && is_one_of(offer->brand, test->values, test->n);
    case TEST_ATTRIBUTE:
        return is_any_of(offer->attributes, offer->n_attributes, test);
    case TEST_PRICE:
        return offer->price >= test->min && offer->price <= test->max; /* false for NaN */
    }
    return false;
}

bool model_match_holds(const struct model_match *match, const struct model_offer *offer)
{
    for (int i = 0; i < match->n; i++)
        if (!test_holds(&match->tests[i], offer)) return false;
    return true;
}

uint64_t model_rules_of(const struct model_rules *rules, enum model_rule_kind kind)
{
    uint64_t mask = 0;
    for (int r = 0; r < rules->n; r++)
        if (rules->rules[r].kind == kind) mask |= UINT64_C(1) << r;
    return mask;
}

bool model_rules_allow(const struct model_rules *rules, uint64_t active,
                       const struct model_offer *offer)
{
    for (uint64_t left = active; left != 0; left &= left - 1) {
        const struct model_rule *rule = &rules->rules[__builtin_ctzll(left)];
        if (rule->kind == RULE_EXCLUDE && model_match_holds(&rule->match, offer)) return false;
        if (rule->kind == RULE_INCLUDE && !model_match_holds(&rule->match, offer)) return false;
    }
    return true;
}

bool model_rules_repeat(const struct model_rules *rules, uint64_t active,
                        const struct model_offer *offer)
{
    for (uint64_t left = active; left != 0; left &= left - 1) {
        const struct model_rule *rule = &rules->rules[__builtin_ctzll(left)];
        if (rule->kind == RULE_REPEAT && model_match_holds(&rule->match, offer)) return true;
    }
    return false;
}

double model_rules_amount(const struct model_rules *rules, uint64_t active,
                          enum model_rule_kind kind)
{
    double amount = 0;
    for (uint64_t left = active; left != 0; left &= left - 1) {
        const struct model_rule *rule = &rules->rules[__builtin_ctzll(left)];
        if (rule->kind == kind) amount = rule->amount;
    }
    return amount;
}

/* ---- a list in the making ---- */

struct making {
    const struct model_rerank *in;
    const struct model_listing *at[MODEL_RERANK_LIST_MAX]; /* (K) by place; NULL: free */
    struct model_reranked got[MODEL_RERANK_LIST_MAX];      /* (K) */
    int n_found;
    float relevance[MODEL_RERANK_MAX]; /* (n_found) */
    float likeness[MODEL_RERANK_MAX];  /* (n_found) to the nearest of those listed */
    float length[MODEL_RERANK_MAX];    /* (n_found) of the vectors; set when diversity is over 0 */
    bool is_out[MODEL_RERANK_MAX];     /* (n_found) listed, or not to be */
    float diversity;
};

static int count_at(const struct making *making, const struct model_rule *rule, uint64_t value)
{
    int n = 0;
    for (int k = 0; k < making->in->K; k++) {
        if (!making->at[k]) continue;
        const struct model_offer *offer = making->at[k]->offer;
        if (rule->of == MOST_OF_MATCH)
            n += model_match_holds(&rule->match, offer);
        else if (rule->of == MOST_OF_BRAND)
            n += offer->brand == value;
        else
            n += is_one_of(value, offer->categories, offer->n_categories);
    }
    return n;
}

/* The list with the offer in it would still hold the rule. */
static bool has_room(const struct making *making, const struct model_rule *rule,
                     const struct model_offer *offer)
{
    switch (rule->of) {
    case MOST_OF_MATCH:
        return !model_match_holds(&rule->match, offer) || count_at(making, rule, 0) < rule->most;
    case MOST_OF_BRAND:
        return offer->brand == 0 || count_at(making, rule, offer->brand) < rule->most;
    case MOST_OF_CATEGORY:
        for (int i = 0; i < offer->n_categories; i++)
            if (count_at(making, rule, offer->categories[i]) >= rule->most) return false;
        return true;
    }
    return true;
}

static bool is_listed(const struct making *making, uint64_t key)
{
    for (int k = 0; k < making->in->K; k++)
        if (making->at[k] && making->at[k]->offer->key == key) return true;
    return false;
}

/* By every hard rule, for the list as it stands. What is refused once is refused for good: lists only grow. */
static bool may_list(const struct making *making, const struct model_offer *offer)
{
    const struct model_rerank *in = making->in;
    if (!model_offer_is_open(offer, in->time_ms) || is_listed(making, offer->key) ||
        !model_rules_allow(in->rules, in->active, offer))
        return false;
    for (uint64_t left = in->active; left != 0; left &= left - 1) {
        const struct model_rule *rule = &in->rules->rules[__builtin_ctzll(left)];
        if (rule->kind == RULE_MOST && !has_room(making, rule, offer)) return false;
    }
    return true;
}

/* ---- likeness ---- */

static float dot(int D, const float *a, const float *b)
{
    float sum = 0;
    for (int j = 0; j < D; j++)
        sum += a[j] * b[j];
    return sum;
}

static float length_of(int D, const struct model_listing *listing)
{
    return listing->vector ? sqrtf(dot(D, listing->vector, listing->vector)) : 0.0f;
}

/* lengths: the product of those of the vectors. */
static float likeness_of(int D, const struct model_listing *a, const struct model_listing *b,
                         float lengths)
{
    const struct model_offer *x = a->offer, *y = b->offer;
    if (lengths > 0) {
        float cosine = dot(D, a->vector, b->vector) / lengths;
        return cosine > 0 ? cosine : 0.0f;
    }
    int common = 0;
    for (int i = 0; i < x->n_categories; i++)
        common += is_one_of(x->categories[i], y->categories, y->n_categories);
    int all = x->n_categories + y->n_categories - common;
    return all > 0 ? (float)common / (float)all : 0.0f;
}

/* ---- places ---- */

/* The listing stands at place k from now on. */
static void put(struct making *making, int k, const struct model_listing *listing,
                enum model_origin origin, int index)
{
    making->at[k] = listing;
    making->got[k] = (struct model_reranked){.origin = origin, .index = index};
    if (making->diversity <= 0) return;
    const struct model_rerank *in = making->in;
    float length = length_of(in->D, listing);
    for (int i = 0; i < making->n_found; i++) {
        if (making->is_out[i]) continue;
        float like = likeness_of(in->D, listing, &in->found[i], length * making->length[i]);
        if (like > making->likeness[i]) making->likeness[i] = like;
    }
}

/* The first free place from k on, in a ring from `first` to the end; -1 when there is none. */
static int free_place(const struct making *making, int first, int k)
{
    int n = making->in->K - first;
    for (int i = 0; i < n; i++) {
        int at = first + (k - first + i) % n;
        if (!making->at[at]) return at;
    }
    return -1;
}

static void put_pins(struct making *making)
{
    const struct model_rerank *in = making->in;
    for (int i = 0; i < in->n_pins; i++) {
        if (in->places[i] < 1 || in->places[i] > in->K) continue;
        int k = free_place(making, 0, in->places[i] - 1);
        if (k >= 0 && may_list(making, in->pins[i].offer))
            put(making, k, &in->pins[i], ORIGIN_PIN, i);
    }
}

/* A new item that may be listed: the newest, or the first such from a drawn one on. -1: none. */
static int fresh_draw(const struct making *making, struct rng *rng)
{
    const struct model_rerank *in = making->in;
    bool is_newest = rng_below(rng, 2) == 0;
    int from = is_newest ? 0 : (int)rng_below(rng, (uint64_t)in->n_fresh);
    for (int i = 0; i < in->n_fresh; i++) {
        int at = (from + i) % in->n_fresh;
        if (may_list(making, in->fresh[at].offer)) return at;
    }
    return -1;
}

static void put_fresh(struct making *making)
{
    const struct model_rerank *in = making->in;
    double share = model_rules_amount(in->rules, in->active, RULE_EXPLORE);
    struct rng rng;
    if (share <= 0 || in->n_fresh == 0) return;
    rng_init(&rng, in->seed);
    int n = (int)floor(share * in->K + rng_unit(&rng));
    for (int i = 0; i < n; i++) {
        int first = in->K / 4, at = fresh_draw(making, &rng);
        int drawn = first + (int)rng_below(&rng, (uint64_t)(in->K - first));
        int k = free_place(making, first, drawn);
        if (at < 0 || k < 0) return;
        put(making, k, &in->fresh[at], ORIGIN_FRESH, at);
    }
}

/* ---- the rest, greedily ---- */

static void relevance_make(struct making *making)
{
    const struct model_rerank *in = making->in;
    double damping = model_rules_amount(in->rules, in->active, RULE_DAMPING);
    uint64_t boosts = in->active & model_rules_of(in->rules, RULE_BOOST);
    for (int i = 0; i < making->n_found; i++) {
        double value = exp2(-2.0 * i / in->K) * (1.0 - damping * (double)in->found[i].popularity);
        for (uint64_t left = boosts; left != 0; left &= left - 1) {
            const struct model_rule *rule = &in->rules->rules[__builtin_ctzll(left)];
            if (model_match_holds(&rule->match, in->found[i].offer)) value *= rule->amount;
        }
        making->relevance[i] = (float)value;
        if (making->diversity > 0) making->length[i] = length_of(in->D, &in->found[i]);
    }
}

static float value_of(const struct making *making, int i)
{
    return (1.0f - making->diversity) * making->relevance[i] -
           making->diversity * making->likeness[i];
}

/* The best that may be listed; of equals the first. -1: none. */
static int best_found(struct making *making)
{
    for (;;) {
        int best = -1;
        for (int i = 0; i < making->n_found; i++) {
            if (making->is_out[i]) continue;
            if (best < 0 || value_of(making, i) > value_of(making, best)) best = i;
        }
        if (best < 0) return -1;
        making->is_out[best] = true;
        if (may_list(making, making->in->found[best].offer)) return best;
    }
}

/* Fills the free places from the first on; returns the list's length. */
static int put_found(struct making *making)
{
    for (int k = 0; k < making->in->K; k++) {
        if (making->at[k]) continue;
        int best = best_found(making);
        if (best < 0) break;
        put(making, k, &making->in->found[best], ORIGIN_FOUND, best);
        making->got[k].score = value_of(making, best) + making->diversity; /* likeness <= 1 */
    }
    int n = 0;
    for (int k = 0; k < making->in->K; k++)
        if (making->at[k]) making->got[n++] = making->got[k];
    return n;
}

/* Scores fall along the list: what was put has that of the next found item behind it. Greedy values only fall. */
static void scores_make(struct model_reranked *got, int n)
{
    float next = 0;
    for (int k = n - 1; k >= 0; k--) {
        if (got[k].origin != ORIGIN_FOUND || got[k].score < next) got[k].score = next;
        next = got[k].score;
    }
}

int model_rerank(const struct model_rerank *in, struct model_reranked *out)
{
    struct making making = {.in = in};
    assert(in->K >= 1 && in->K <= MODEL_RERANK_LIST_MAX);
    making.n_found = in->n_found < MODEL_RERANK_MAX ? in->n_found : MODEL_RERANK_MAX;
    making.diversity = (float)model_rules_amount(in->rules, in->active, RULE_DIVERSITY);
    relevance_make(&making);
    put_pins(&making);
    put_fresh(&making);
    int n = put_found(&making);
    scores_make(making.got, n);
    memcpy(out, making.got, (size_t)n * sizeof *out);
    return n;
}
