/* New items, and the last order of a list. */
#include "app/policy_internal.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { EXPLORE_MAX = 256 };

/* ---- new items ---- */

void policy__fresh_clear(struct policy *policy)
{
    for (int i = 0; i < policy->n_fresh; i++)
        mem_free(policy->fresh[i].vector);
    policy->n_fresh = 0;
    policy->is_fresh_cut = policy->is_fresh_short = false;
}

static bool is_before(const struct policy_fresh *a, const struct policy_fresh *b)
{
    return a->since_ms != b->since_ms ? a->since_ms > b->since_ms : a->key < b->key;
}

static void fresh_put(struct policy *policy, struct policy_fresh one)
{
    int at = policy->n_fresh;
    while (at > 0 && is_before(&one, &policy->fresh[at - 1]))
        at--;
    if (policy->n_fresh == FRESH_MAX) {
        policy->is_fresh_cut = true;
        if (at == FRESH_MAX) {
            mem_free(one.vector);
            return;
        }
        mem_free(policy->fresh[--policy->n_fresh].vector);
    }
    memmove(&policy->fresh[at + 1], &policy->fresh[at],
            (size_t)(policy->n_fresh - at) * sizeof policy->fresh[0]);
    policy->fresh[at] = one;
    policy->n_fresh++;
}

/* The item's vector from what the catalogue says; NULL: nothing that the model has learnt. */
static float *vector_make(const struct policy *policy, const struct catalogue_item *item)
{
    if (!policy->model) return NULL;
    struct model_content content = {.title = item->title,
                                    .brand = item->brand,
                                    .categories = item->categories,
                                    .n_categories = (size_t)item->offer.n_categories,
                                    .price = item->offer.price};
    float *vector = mem_alloc((size_t)policy->info.D * sizeof *vector);
    if (model_content_vector(policy->model, &content, vector) > 0) return vector;
    mem_free(vector);
    return NULL;
}

/* Puts the item where it belongs, if it is a new one: unknown to the model, of its tenant. What is hidden or sold out has no place
 * meanwhile: its next record brings it back. */
static void fresh_visit(void *context, const struct catalogue_item *item)
{
    struct policy *policy = context;
    if (item->offer.hidden || item->offer.stock == 0) return;
    if (policy->model && (model_item_index(policy->model, item->offer.key) >= 0 ||
                          !str_equal(item->tenant, str_of(policy->info.tenant))))
        return;
    struct policy_fresh one = {.key = item->offer.key, .since_ms = item->since_ms};
    bool is_late = policy->n_fresh == FRESH_MAX && !is_before(&one, &policy->fresh[FRESH_MAX - 1]);
    if (is_late)
        policy->is_fresh_cut = true;
    else {
        one.vector = vector_make(policy, item);
        fresh_put(policy, one);
    }
}

void policy__fresh_make(struct policy *policy)
{
    policy__fresh_clear(policy);
    if (policy->env.catalogue) catalogue_each(policy->env.catalogue, fresh_visit, policy);
}

void policy__fresh_update(struct policy *policy, uint64_t key)
{
    const struct catalogue_item *item = catalogue_find(policy->env.catalogue, key);
    int at = 0, n = policy->n_fresh;
    while (at < n && policy->fresh[at].key != key)
        at++;
    bool was_there = at < n;
    if (was_there) {
        mem_free(policy->fresh[at].vector);
        policy->n_fresh--;
        memmove(&policy->fresh[at], &policy->fresh[at + 1],
                (size_t)(policy->n_fresh - at) * sizeof policy->fresh[0]);
    }
    bool is_cut = policy->is_fresh_cut; /* as it was: the item's return to a full list cuts none */
    if (item) fresh_visit(policy, item);
    /* Gone, or now the oldest: those that were cut may come before it. */
    bool is_last = policy->n_fresh == 0 || policy->fresh[policy->n_fresh - 1].key == key;
    if (was_there && is_cut && (policy->n_fresh < n || is_last)) policy->is_fresh_short = true;
}

int policy_content(struct policy *policy, const struct policy_gate *gate, const float *vector,
                   int K, bool (*skip)(void *context, uint64_t key), void *context, uint64_t *keys,
                   float *scores)
{
    int n = 0;
    for (int i = 0; i < policy->n_fresh; i++) {
        const struct policy_fresh *fresh = &policy->fresh[i];
        const float *item = fresh->vector;
        float score;
        if (!item) continue;
        model_content_score(policy->model, vector, 1, &item, policy->tail_bias, &score);
        if (n == K && !(score > scores[K - 1])) continue;
        if (!policy_allows(policy, gate, fresh->key) || skip(context, fresh->key)) continue;
        int at = n < K ? n++ : K - 1;
        for (; at > 0 && score > scores[at - 1]; at--) {
            scores[at] = scores[at - 1];
            keys[at] = keys[at - 1];
        }
        scores[at] = score;
        keys[at] = fresh->key;
    }
    return n;
}

/* ---- the last order ---- */

/* Of an item of the model, 1 the most popular: items stand there by falling count in training. */
static float popularity_of(const struct policy *policy, int32_t index)
{
    if (index < 0) return 0;
    return (float)(1.0 - log1p((double)index) / log1p((double)policy->info.N));
}

static struct model_listing listing_of(const struct policy *policy, const struct model_offer *offer)
{
    int32_t index = policy->model ? model_item_index(policy->model, offer->key) : -1;
    const float *vector =
        index >= 0 ? policy->item_vectors + (size_t)index * (size_t)policy->info.D : NULL;
    return (struct model_listing){
        .offer = offer, .vector = vector, .popularity = popularity_of(policy, index)};
}

/* Everything that a list is made of, in one place of the stack. */
struct choice {
    struct model_listing found[POLICY_FOUND_MAX], pins[MODEL_RULES_MAX], fresh[EXPLORE_MAX];
    struct model_offer found_none[POLICY_FOUND_MAX], pin_none[MODEL_RULES_MAX];
    int places[MODEL_RULES_MAX];
    int n_found, n_pins, n_fresh;
};

static void pins_choose(const struct policy *policy, const struct policy_gate *gate,
                        bool (*skip)(void *context, uint64_t key), void *context,
                        struct choice *choice)
{
    const struct model_rules *rules = rules_model(policy__rules(policy));
    uint64_t pins = gate->active & model_rules_of(rules, RULE_PIN);
    for (; pins != 0; pins &= pins - 1) {
        const struct model_rule *rule = &rules->rules[__builtin_ctzll(pins)];
        int n = choice->n_pins;
        const struct model_offer *offer =
            policy__offer(policy, gate->is_required, rule->pin, &choice->pin_none[n]);
        if (!offer || skip(context, rule->pin)) continue;
        choice->pins[n] = listing_of(policy, offer);
        choice->places[choice->n_pins++] = rule->place;
    }
}

static void fresh_choose(const struct policy *policy, const struct policy_gate *gate,
                         bool (*skip)(void *context, uint64_t key), void *context,
                         struct choice *choice)
{
    if ((gate->active & model_rules_of(rules_model(policy__rules(policy)), RULE_EXPLORE)) == 0)
        return;
    for (int i = 0; i < policy->n_fresh && choice->n_fresh < EXPLORE_MAX; i++) {
        const struct catalogue_item *item =
            catalogue_find(policy->env.catalogue, policy->fresh[i].key);
        if (!model_offer_is_open(&item->offer, gate->time_ms) ||
            !str_equal(item->tenant, gate->tenant) || skip(context, item->offer.key))
            continue;
        choice->fresh[choice->n_fresh] = listing_of(policy, &item->offer);
        choice->fresh[choice->n_fresh++].vector = policy->fresh[i].vector;
    }
}

static struct policy_listed listed_of(const struct choice *choice,
                                      const struct model_blended *found,
                                      const struct model_reranked *one)
{
    struct policy_listed listed = {.blended = {.score = one->score}};
    if (one->origin == ORIGIN_FOUND) {
        listed.blended = found[one->index];
        listed.blended.score = one->score;
    } else if (one->origin == ORIGIN_PIN) {
        listed.origin = POLICY_PINNED;
        listed.blended.key = choice->pins[one->index].offer->key;
    } else {
        listed.origin = POLICY_NEW;
        listed.blended.key = choice->fresh[one->index].offer->key;
    }
    return listed;
}

int policy_rerank(struct policy *policy, const struct policy_gate *gate,
                  const struct model_blended *found, int n, int K, uint64_t seed,
                  bool (*skip)(void *context, uint64_t key), void *context,
                  struct policy_listed *out)
{
    struct choice choice;
    struct model_reranked got[MODEL_RERANK_LIST_MAX];
    assert(n <= POLICY_FOUND_MAX);
    choice.n_found = choice.n_pins = choice.n_fresh = 0;
    for (int i = 0; i < n; i++) /* each was allowed when it was found, so it has an offer */
        choice.found[choice.n_found++] =
            listing_of(policy, policy__offer(policy, false, found[i].key, &choice.found_none[i]));
    pins_choose(policy, gate, skip, context, &choice);
    fresh_choose(policy, gate, skip, context, &choice);
    struct model_rerank in = {.rules = rules_model(policy__rules(policy)),
                              .active = gate->active,
                              .time_ms = gate->time_ms,
                              .found = choice.found,
                              .n_found = choice.n_found,
                              .pins = choice.pins,
                              .places = choice.places,
                              .n_pins = choice.n_pins,
                              .fresh = choice.fresh,
                              .n_fresh = choice.n_fresh,
                              .D = policy->info.D,
                              .K = K,
                              .seed = seed};
    int listed = model_rerank(&in, got);
    for (int k = 0; k < listed; k++)
        out[k] = listed_of(&choice, found, &got[k]);
    return listed;
}
