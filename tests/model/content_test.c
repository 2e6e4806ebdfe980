/* Names of content features, and items made of them. */
#include "tests/test.h"

#include "base/mem.h"
#include "model/model.h"

static void expect_names(const struct model_content *content, const char *want)
{
    struct model_features features;
    char got[8192] = "";
    size_t at = 0;
    model_content_features(content, &features);
    for (int i = 0; i < features.n; i++)
        at += (size_t)snprintf(got + at, sizeof got - at, "%s%.*s", i ? " " : "",
                               STR_ARG(features.name[i]));
    CHECK_STR(got, want);
}

static void names(void)
{
    const struct str categories[] = {STR("Shoes"), STR("shoes"), STR("Shoes"), STR(""),
                                     STR("bad \xFF")};
    expect_names(&(struct model_content){.categories = categories,
                                         .n_categories = 5,
                                         .brand = STR("Acme"),
                                         .price = 8,
                                         .title = STR("Red RUNNING-shoe, no. 7b (red) \xC3\x84")},
                 "category:Shoes category:shoes brand:Acme price:6 word:red word:running word:shoe "
                 "word:no word:7b word:\xC3\x84");
    expect_names(&(struct model_content){.price = (double)NAN}, "");
    expect_names(&(struct model_content){.price = -3, .title = STR("a - b")}, "");
    expect_names(&(struct model_content){.price = (double)INFINITY}, "");
}

/* Two steps for each doubling, also below 1. */
static void price_steps(void)
{
    static const struct {
        double price;
        const char *want;
    } steps[] = {{1, "price:0"},     {1.41, "price:0"}, {1.42, "price:1"}, {2, "price:2"},
                 {0.99, "price:-1"}, {0.5, "price:-2"}, {100, "price:13"}, {1e-300, "price:-1994"}};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        expect_names(&(struct model_content){.price = steps[i].price}, steps[i].want);
}

/* Many words and long ones. */
static void limits(void)
{
    char title[1000], longest[200];
    size_t at = 0;
    for (int i = 0; i < 100; i++)
        at += (size_t)snprintf(title + at, sizeof title - at, "w%d ", i);
    struct model_features features;
    model_content_features(&(struct model_content){.title = str_of(title), .price = (double)NAN},
                           &features);
    CHECK_INT(features.n, MODEL_CONTENT_MAX);
    memset(longest, 'x', sizeof longest);
    for (size_t len = MODEL_CONTENT_NAME - 8; len < MODEL_CONTENT_NAME; len++) {
        struct str word = {longest, len};
        model_content_features(&(struct model_content){.title = word, .price = (double)NAN},
                               &features);
        CHECK_INT(features.n, len + strlen("word:") <= MODEL_CONTENT_NAME);
    }
}

static void vectors(void)
{
    struct model_config config = {.N = 2, .D = 16, .H = 16, .L = 1, .F = 16, .n_content = 2};
    float *params = mem_zalloc(model_params_floats(&config) * sizeof *params);
    model_params_init(&config, TEST_SEED(), params);
    float *shared = params + model_param_offset(&config, MODEL_CONTENT_EMBEDDING, 0), vector[16];
    for (int i = 0; i < 32; i++)
        shared[i] = (float)(i * i);
    const struct str ids[] = {STR("a"), STR("b")}, content[] = {STR("brand:x"), STR("word:one")};
    struct model_parts parts = {.config = config,
                                .params = params,
                                .item_ids = ids,
                                .content = content,
                                .tenant = "",
                                .version = ""};
    struct model *model, *plain = model_random(2, 16, 16, 1, 1);
    struct err err = ERR_INIT;
    CHECK_OK(model_from_params(&model, &parts, &err), err);
    struct model_content both = {.title = STR("One two"), .brand = STR("x"), .price = 7};
    CHECK_INT(model_content_vector(model, &both, vector), 2); /* two and the price are not known */
    for (int d = 0; d < 16; d++)
        CHECK_NEAR(vector[d], (d * d + (16 + d) * (16 + d)) / sqrt(2), 1e-3);
    both.brand = STR("y");
    CHECK_INT(model_content_vector(model, &both, vector), 1);
    CHECK_NEAR(vector[3], 19 * 19, 0);
    CHECK_INT(model_content_vector(plain, &both, vector), 0);
    CHECK_NEAR(vector[3], 0, 0);
    struct model *wrong = NULL;
    const struct str twice[] = {STR("brand:x"), STR("brand:x")};
    parts.content = twice;
    CHECK_FAIL(model_from_params(&wrong, &parts, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "twice");
    model_free(model);
    model_free(plain);
    mem_free(params);
}

int main(void)
{
    CASE(names);
    CASE(price_steps);
    CASE(limits);
    CASE(vectors);
    return 0;
}
