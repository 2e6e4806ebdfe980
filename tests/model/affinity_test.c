/* Categories and prices in what the ranker looks at, by their formulas over names. */

#include "tests/test.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "model/model.h"

enum { N = 60, KINDS = 24, SESSION = 30, EACH = 6 };

/* Ten categories, ten prices, and four names that are neither. */
static const char *const names[KINDS] = {
    "category:0", "category:1", "category:2", "category:3", "category:4", "category:5",
    "category:6", "category:7", "category:8", "category:9", "price:-3",   "price:-1",
    "price:0",    "price:1",    "price:2",    "price:3",    "price:9",    "price:10",
    "price:12",   "price:40",   "brand:a",    "word:price", "word:b",     "categories"};

struct shop {
    struct model *model;
    size_t start[N + 1];
    int32_t features[N * EACH];
};

/* Up to EACH features an item, in any order, at most one of them a price. */
static void shop_draw(struct shop *shop, struct rng *rng)
{
    struct model_config config = {.N = N, .D = 16, .H = 16, .L = 1, .F = 16, .n_content = KINDS};
    float *params = mem_alloc(model_params_floats(&config) * sizeof *params);
    struct str ids[N], content[KINDS];
    char texts[N][8];
    struct err err = ERR_INIT;
    size_t at = 0;
    model_params_init(&config, rng_u64(rng), params);
    for (int f = 0; f < KINDS; f++)
        content[f] = str_of(names[f]);
    for (int i = 0; i < N; i++) {
        bool has[KINDS] = {false}, is_priced = false;
        (void)snprintf(texts[i], sizeof texts[i], "i%d", i);
        ids[i] = str_of(texts[i]);
        shop->start[i] = at;
        for (int j = 0; j < (int)rng_below(rng, EACH + 1); j++) {
            int f = (int)rng_below(rng, KINDS);
            bool is_price = strncmp(names[f], "price:", 6) == 0;
            if (has[f] || (is_price && is_priced)) continue;
            has[f] = true;
            is_priced = is_priced || is_price;
            shop->features[at++] = f;
        }
    }
    shop->start[N] = at;
    struct model_parts parts = {.config = config,
                                .params = params,
                                .item_ids = ids,
                                .content = content,
                                .feature_start = shop->start,
                                .features = shop->features,
                                .tenant = "",
                                .version = ""};
    CHECK_OK(model_from_params(&shop->model, &parts, &err), err);
    mem_free(params);
}

static bool holds(const struct shop *shop, int item, const char *name)
{
    if (item < 0) return false;
    for (size_t j = shop->start[item]; j < shop->start[item + 1]; j++)
        if (strcmp(names[shop->features[j]], name) == 0) return true;
    return false;
}

/* The most frequent of the candidate's categories among the newest items of the session (-1: not known to the model). */
static double category_naive(const struct shop *shop, const int *session, int n, int item)
{
    int most = 0;
    for (int f = 0; f < KINDS; f++) {
        int count = 0;
        if (strncmp(names[f], "category:", 9) != 0 || !holds(shop, item, names[f])) continue;
        for (int i = 0; i < n; i++)
            count += holds(shop, session[i], names[f]);
        if (count > most) most = count;
    }
    return (double)most / n;
}

static double step_of(const struct shop *shop, int item)
{
    for (int f = 0; f < KINDS; f++)
        if (strncmp(names[f], "price:", 6) == 0 && holds(shop, item, names[f]))
            return (double)strtol(names[f] + 6, NULL, 10);
    return (double)NAN;
}

static double price_naive(const struct shop *shop, const int *session, int n, int item)
{
    double sum = 0, own = step_of(shop, item);
    int priced = 0;
    for (int i = 0; i < n; i++) {
        double step = step_of(shop, session[i]);
        if (isnan(step)) continue;
        sum += step;
        priced++;
    }
    if (priced == 0 || isnan(own)) return 0;
    return 1 / (1 + fabs(own - sum / priced));
}

/* Sessions with repeats and unknown items; the whole catalogue and an unknown item are candidates. */
static void case_against_names(void)
{
    struct rng rng;
    struct shop shop;
    int shared = 0, priced = 0;
    rng_init(&rng, TEST_SEED());
    shop_draw(&shop, &rng);
    for (int round = 0; round < 200; round++) {
        uint64_t keys[SESSION], candidates[N + 1];
        int items[SESSION], n = 1 + (int)rng_below(&rng, SESSION);
        for (int i = 0; i < n; i++) {
            items[i] = (int)rng_below(&rng, 12) - 1;
            keys[i] = items[i] < 0 ? 77 : model_item_key(shop.model, items[i]);
        }
        for (int i = 0; i <= N; i++)
            candidates[i] = i < N ? model_item_key(shop.model, i) : 78;
        struct model_ranking ranking = {.arms = {[ARM_POPULAR] = {.keys = candidates, .n = N + 1}},
                                        .session = keys,
                                        .n_session = n};
        struct model_blended met[N + 1];
        float x[N + 1][MODEL_FEATURES];
        CHECK_INT(model_rank_features(shop.model, &ranking, met, x[0]), N + 1);
        int cut = n > MODEL_RANKER_SESSION ? n - MODEL_RANKER_SESSION : 0;
        for (int i = 0; i <= N; i++) {
            int item = i < N ? i : -1;
            double category = category_naive(&shop, items + cut, n - cut, item);
            double price = price_naive(&shop, items + cut, n - cut, item);
            CHECK_NEAR(x[i][FEATURE_CATEGORY], category, 1e-6);
            CHECK_NEAR(x[i][FEATURE_PRICE], price, 1e-6);
            shared += category > 0;
            priced += price > 0;
        }
    }
    CHECK(shared > 1000);
    CHECK(priced > 1000);
    model_free(shop.model);
}

/* Content without the items' own: nothing is known. */
static void case_nothing_known(void)
{
    struct model_config config = {.N = N, .D = 16, .H = 16, .L = 1, .F = 16, .n_content = 2};
    struct model *model = model_random_of(&config, 3);
    const int32_t *features;
    CHECK_INT(model_item_features(model, 5, &features), 0);
    uint64_t keys[] = {model_item_key(model, 1), model_item_key(model, 2)};
    struct model_ranking ranking = {
        .arms = {[ARM_POPULAR] = {.keys = keys, .n = 2}}, .session = keys, .n_session = 2};
    struct model_blended met[2];
    float x[2][MODEL_FEATURES];
    CHECK_INT(model_rank_features(model, &ranking, met, x[0]), 2);
    CHECK_NEAR(x[0][FEATURE_CATEGORY], 0, 0);
    CHECK_NEAR(x[0][FEATURE_PRICE], 0, 0);
    model_free(model);
}

int main(void)
{
    CASE(case_against_names);
    CASE(case_nothing_known);
    return 0;
}
