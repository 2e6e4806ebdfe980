/* Rules and reranking: random rules against a filter written naively, and each soft rule on its own. */

#include "tests/test.h"

#include "base/rng.h"
#include "model/rerank.h"

enum { ITEMS = 200, RULES = 12, K = 20, D = 8 };

static uint64_t seed;

/* ---- a random shop ---- */

struct shop {
    struct model_offer offer[ITEMS];
    uint64_t categories[ITEMS][3], attributes[ITEMS][2];
    float vector[ITEMS][D];
    struct model_listing listing[ITEMS];
    struct model_rule rule[RULES];
    struct model_test test[RULES][2];
    uint64_t value[RULES][2][3];
    struct model_rules rules;
};

static void draw_items(struct shop *shop, struct rng *rng)
{
    for (int i = 0; i < ITEMS; i++) {
        struct model_offer *offer = &shop->offer[i];
        *offer = model_offer_none((uint64_t)(1000 + i));
        offer->categories = shop->categories[i];
        offer->attributes = shop->attributes[i];
        offer->n_categories = (int)rng_below(rng, 4);
        offer->n_attributes = (int)rng_below(rng, 3);
        for (int c = 0; c < offer->n_categories; c++)
            shop->categories[i][c] = 1 + (uint64_t)(3 * c) + rng_below(rng, 3);
        for (int a = 0; a < offer->n_attributes; a++)
            shop->attributes[i][a] = model_attribute_hash((uint64_t)a, rng_below(rng, 3));
        offer->brand = rng_below(rng, 6);
        if (rng_below(rng, 4)) offer->price = (double)rng_below(rng, 100);
        if (rng_below(rng, 2)) offer->stock = (int64_t)rng_below(rng, 5);
        if (rng_below(rng, 3) == 0) offer->from_ms = (int64_t)rng_below(rng, 2000);
        if (rng_below(rng, 3) == 0) offer->until_ms = (int64_t)rng_below(rng, 2000);
        offer->hidden = rng_below(rng, 20) == 0;
        for (int j = 0; j < D; j++)
            shop->vector[i][j] = (float)rng_normal(rng);
        shop->listing[i] = (struct model_listing){.offer = offer,
                                                  .vector = i % 5 ? shop->vector[i] : NULL,
                                                  .popularity = (float)rng_unit(rng)};
    }
}

static void draw_test(struct shop *shop, struct rng *rng, int r, int t)
{
    struct model_test *test = &shop->test[r][t];
    *test = (struct model_test){.field = (enum model_test_field)rng_below(rng, 5),
                                .values = shop->value[r][t],
                                .n = 1 + (int)rng_below(rng, 3)};
    for (int v = 0; v < test->n; v++) {
        uint64_t *value = &shop->value[r][t][v];
        switch (test->field) {
        case TEST_ITEM:
            *value = 1000 + rng_below(rng, ITEMS);
            break;
        case TEST_ATTRIBUTE:
            *value = model_attribute_hash(rng_below(rng, 2), rng_below(rng, 3));
            break;
        default:
            *value = 1 + rng_below(rng, 9);
        }
    }
    test->min = (double)rng_below(rng, 60);
    test->max = test->min + (double)rng_below(rng, 60);
}

static void draw_rules(struct shop *shop, struct rng *rng)
{
    for (int r = 0; r < RULES; r++) {
        struct model_rule *rule = &shop->rule[r];
        *rule = (struct model_rule){.kind = (enum model_rule_kind)rng_below(rng, RULE_KINDS),
                                    .match = {shop->test[r], (int)rng_below(rng, 3)},
                                    .pin = 1000 + rng_below(rng, ITEMS),
                                    .place = 1 + (int)rng_below(rng, K + 3),
                                    .most = (int)rng_below(rng, 6),
                                    .of = (enum model_most_of)rng_below(rng, 3),
                                    .amount = rng_unit(rng)};
        if (rule->kind == RULE_BOOST) rule->amount *= 4;
        if (rule->kind == RULE_EXCLUDE && rule->match.n == 0) rule->match.n = 2;
        for (int t = 0; t < 2; t++)
            draw_test(shop, rng, r, t);
    }
    shop->rules = (struct model_rules){shop->rule, RULES};
}

/* ---- the naive filter: rules by their words ---- */

static bool naive_test(const struct model_test *test, const struct model_offer *offer)
{
    for (int v = 0; v < test->n; v++) {
        uint64_t value = test->values[v];
        if (test->field == TEST_ITEM && offer->key == value) return true;
        if (test->field == TEST_BRAND && offer->brand == value && value != 0) return true;
        for (int c = 0; c < offer->n_categories; c++)
            if (test->field == TEST_CATEGORY && offer->categories[c] == value) return true;
        for (int a = 0; a < offer->n_attributes; a++)
            if (test->field == TEST_ATTRIBUTE && offer->attributes[a] == value) return true;
    }
    return test->field == TEST_PRICE && !isnan(offer->price) && !(offer->price < test->min) &&
           !(offer->price > test->max);
}

static bool naive_match(const struct model_rule *rule, const struct model_offer *offer)
{
    bool all = true;
    for (int t = 0; t < rule->match.n; t++)
        all = all && naive_test(&rule->match.tests[t], offer);
    return all;
}

static bool naive_allowed(const struct shop *shop, uint64_t active, const struct model_offer *offer,
                          int64_t now)
{
    if (offer->hidden || offer->stock == 0) return false;
    if (offer->from_ms != 0 && now < offer->from_ms) return false;
    if (offer->until_ms != 0 && now >= offer->until_ms) return false;
    for (int r = 0; r < RULES; r++) {
        if ((active >> r & 1) == 0) continue;
        if (shop->rule[r].kind == RULE_EXCLUDE && naive_match(&shop->rule[r], offer)) return false;
        if (shop->rule[r].kind == RULE_INCLUDE && !naive_match(&shop->rule[r], offer)) return false;
    }
    return true;
}

/* Whether a list of these offers breaks the rule that says how many there may be. */
static bool naive_too_many(const struct model_rule *rule, const struct model_offer *const *list,
                           int n)
{
    int matching = 0, of[16] = {0};
    for (int k = 0; k < n; k++) {
        matching += naive_match(rule, list[k]);
        if (rule->of == MOST_OF_BRAND && list[k]->brand) of[list[k]->brand]++;
        for (int c = 0; rule->of == MOST_OF_CATEGORY && c < list[k]->n_categories; c++)
            of[list[k]->categories[c]]++;
    }
    for (int i = 0; i < 16; i++)
        if (of[i] > rule->most) return true;
    return rule->of == MOST_OF_MATCH && matching > rule->most;
}

/* ---- hard rules ---- */

static const struct model_listing *listed(const struct model_rerank *in,
                                          const struct model_reranked *one)
{
    const struct model_listing *from = one->origin == ORIGIN_PIN     ? in->pins
                                       : one->origin == ORIGIN_FRESH ? in->fresh
                                                                     : in->found;
    return &from[one->index];
}

static void check_list(const struct shop *shop, const struct model_rerank *in,
                       const struct model_reranked *out, int n)
{
    const struct model_offer *list[K] = {NULL};
    CHECK(n <= K);
    for (int k = 0; k < n; k++) {
        list[k] = listed(in, &out[k])->offer;
        CHECK(naive_allowed(shop, in->active, list[k], in->time_ms));
        for (int i = 0; i < k; i++)
            CHECK(list[i]->key != list[k]->key);
        CHECK(out[k].score >= 0);
        CHECK(k == 0 || out[k].score <= out[k - 1].score);
    }
    for (int r = 0; r < RULES; r++)
        if (shop->rule[r].kind == RULE_MOST && (in->active >> r & 1) != 0)
            CHECK(!naive_too_many(&shop->rule[r], list, n));
}

/* A list that is short holds everything that could still be added. */
static void check_full(const struct shop *shop, const struct model_rerank *in,
                       const struct model_reranked *out, int n)
{
    const struct model_offer *list[K + 1];
    for (int k = 0; k < n; k++)
        list[k] = listed(in, &out[k])->offer;
    for (int i = 0; n < K && i < in->n_found; i++) {
        bool is_addable = naive_allowed(shop, in->active, in->found[i].offer, in->time_ms);
        for (int k = 0; k < n; k++)
            is_addable = is_addable && list[k]->key != in->found[i].offer->key;
        list[n] = in->found[i].offer;
        for (int r = 0; r < RULES; r++)
            if (shop->rule[r].kind == RULE_MOST && (in->active >> r & 1) != 0)
                is_addable = is_addable && !naive_too_many(&shop->rule[r], list, n + 1);
        CHECK(!is_addable);
    }
}

static void case_hard_rules_hold_for_random_lists(void)
{
    static struct shop shop;
    struct rng rng;
    int64_t listed_in_all = 0, fresh_in_all = 0, pins_in_all = 0;
    rng_init(&rng, seed);
    for (int round = 0; round < 3000; round++) {
        draw_items(&shop, &rng);
        draw_rules(&shop, &rng);
        struct model_listing pins[4];
        int places[4];
        for (int p = 0; p < 4; p++) {
            pins[p] = shop.listing[rng_below(&rng, ITEMS)];
            places[p] = (int)rng_below(&rng, K + 2);
        }
        struct model_rerank in = {.rules = &shop.rules,
                                  .active = rng_u64(&rng) & ((1u << RULES) - 1),
                                  .time_ms = (int64_t)rng_below(&rng, 2000),
                                  .found = shop.listing,
                                  .n_found = (int)rng_below(&rng, ITEMS - 20),
                                  .pins = pins,
                                  .places = places,
                                  .n_pins = (int)rng_below(&rng, 5),
                                  .fresh = shop.listing + ITEMS - 40,
                                  .n_fresh = (int)rng_below(&rng, 41),
                                  .D = D,
                                  .K = K,
                                  .seed = rng_u64(&rng)};
        struct model_reranked out[K], again[K];
        int n = model_rerank(&in, out);
        check_list(&shop, &in, out, n);
        check_full(&shop, &in, out, n);
        CHECK_INT(model_rerank(&in, again), n);
        CHECK_BYTES(out, (size_t)n * sizeof *out, again, (size_t)n * sizeof *out);
        for (int k = 0; k < n; k++) {
            fresh_in_all += out[k].origin == ORIGIN_FRESH;
            pins_in_all += out[k].origin == ORIGIN_PIN;
        }
        listed_in_all += n;
    }
    CHECK(listed_in_all > 3000); /* the rules drawn do not refuse everything */
    CHECK(fresh_in_all > 300);
    CHECK(pins_in_all > 300);
}

/* ---- soft rules, one at a time ---- */

/* K items of 40, all open, by one rule. */
static int list_with(struct shop *shop, const struct model_rule *rule, struct model_rerank *in,
                     struct model_reranked *out)
{
    static struct model_rules rules;
    for (int i = 0; i < 40; i++) {
        shop->offer[i] = model_offer_none((uint64_t)(1000 + i));
        shop->listing[i] = (struct model_listing){.offer = &shop->offer[i]};
    }
    rules = (struct model_rules){rule, 1};
    in->rules = &rules;
    in->active = 1;
    in->found = shop->listing;
    if (in->n_found == 0) in->n_found = 40;
    in->K = K;
    return model_rerank(in, out);
}

static void case_without_soft_rules_the_order_stays(void)
{
    static struct shop shop;
    struct model_rule rule = {.kind = RULE_REPEAT};
    struct model_rerank in = {.D = D};
    struct model_reranked out[K];
    CHECK_INT(list_with(&shop, &rule, &in, out), K);
    for (int k = 0; k < K; k++)
        CHECK_INT(out[k].index, k);
}

static void case_a_boost_of_two_is_half_a_list(void)
{
    static struct shop shop;
    uint64_t item = 1025;
    struct model_test test = {.field = TEST_ITEM, .values = &item, .n = 1};
    struct model_rule rule = {.kind = RULE_BOOST, .match = {&test, 1}, .amount = 2.01};
    struct model_rerank in = {.D = D};
    struct model_reranked out[K];
    CHECK_INT(list_with(&shop, &rule, &in, out), K);
    CHECK_INT(out[15].index, 25); /* place 26 goes to place 16 */
    rule.amount = 1e6;
    (void)list_with(&shop, &rule, &in, out);
    CHECK_INT(out[0].index, 25);
    item = 1000;
    rule.amount = 0;
    (void)list_with(&shop, &rule, &in, out);
    CHECK_INT(out[0].index, 1);
    CHECK_INT(out[K - 1].index, K);
}

static void case_a_pin_stands_at_its_place(void)
{
    static struct shop shop;
    struct model_rule rule = {.kind = RULE_PIN};
    struct model_offer pinned = model_offer_none(1030);
    struct model_listing pin = {.offer = &pinned};
    int place = 3;
    struct model_rerank in = {.D = D, .pins = &pin, .places = &place, .n_pins = 1};
    struct model_reranked out[K];
    CHECK_INT(list_with(&shop, &rule, &in, out), K);
    CHECK_INT(out[2].origin, ORIGIN_PIN);
    CHECK_INT(out[3].index, 2);
    pinned.stock = 0;
    (void)list_with(&shop, &rule, &in, out);
    CHECK_INT(out[2].index, 2);
    CHECK_INT(out[2].origin, ORIGIN_FOUND);
}

static void case_new_items_get_their_share(void)
{
    static struct shop shop;
    static struct model_offer offer[10];
    static struct model_listing fresh[10];
    struct model_rule rule = {.kind = RULE_EXPLORE, .amount = 0.07};
    int n_fresh = 0, newest = 0, distinct = 0;
    bool seen[10] = {false};
    for (int i = 0; i < 10; i++) {
        offer[i] = model_offer_none((uint64_t)(5000 + i));
        fresh[i] = (struct model_listing){.offer = &offer[i]};
    }
    for (uint64_t s = 0; s < 1000; s++) {
        struct model_rerank in = {.D = D, .fresh = fresh, .n_fresh = 10, .seed = seed + s};
        struct model_reranked out[K];
        CHECK_INT(list_with(&shop, &rule, &in, out), K);
        for (int k = 0; k < K; k++) {
            if (out[k].origin != ORIGIN_FRESH) continue;
            CHECK(k >= K / 4);
            n_fresh++;
            newest += out[k].index == 0;
            distinct += !seen[out[k].index];
            seen[out[k].index] = true;
        }
    }
    CHECK_NEAR(n_fresh / 1000.0, 0.07 * K, 0.08);
    CHECK(newest > 400 && newest < 900);
    CHECK_INT(distinct, 10);
}

static void case_diversity_parts_what_is_alike(void)
{
    static struct shop shop;
    static float vector[40][D];
    struct model_rule rule = {.kind = RULE_DIVERSITY, .amount = 0.7};
    struct model_rerank in = {.D = D};
    struct model_reranked out[K];
    static struct model_rules rules;
    (void)list_with(&shop, &rule, &in, out);
    for (int i = 0; i < 40; i++) { /* ten of each kind behind one another */
        vector[i][i / 10] = 1.0f;
        shop.listing[i].vector = vector[i];
    }
    rules = (struct model_rules){&rule, 1};
    in.rules = &rules;
    CHECK_INT(model_rerank(&in, out), K);
    CHECK_INT(out[0].index, 0);
    CHECK_INT(out[1].index, 10);
    CHECK_INT(out[2].index, 20);
    CHECK_INT(out[3].index, 30);
}

static void case_damping_takes_the_popular_down(void)
{
    static struct shop shop;
    struct model_rule rule = {.kind = RULE_DAMPING, .amount = 0.5};
    struct model_rerank in = {.D = D};
    struct model_reranked out[K];
    static struct model_rules rules;
    (void)list_with(&shop, &rule, &in, out);
    shop.listing[0].popularity = 1.0f;
    rules = (struct model_rules){&rule, 1};
    in.rules = &rules;
    (void)model_rerank(&in, out);
    CHECK_INT(out[0].index, 1);
    CHECK(out[10].index == 0 || out[9].index == 0);
}

int main(void)
{
    seed = TEST_SEED();
    CASE(case_hard_rules_hold_for_random_lists);
    CASE(case_without_soft_rules_the_order_stays);
    CASE(case_a_boost_of_two_is_half_a_list);
    CASE(case_a_pin_stands_at_its_place);
    CASE(case_new_items_get_their_share);
    CASE(case_diversity_parts_what_is_alike);
    CASE(case_damping_takes_the_popular_down);
    return 0;
}
