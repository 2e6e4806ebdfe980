/* What an item of the encoder's list is said to be there for. */
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "model/model.h"
#include "tests/test.h"

enum { ITEMS = 500, DIM = 32 };

static double cosine(const struct model *model, int32_t a, int32_t b)
{
    struct model_config shape = model_shape(model);
    const float *items =
        model_raw_params(model) + model_param_offset(&shape, MODEL_ITEM_EMBEDDING, 0);
    double dot = 0, aa = 0, bb = 0;
    for (int d = 0; d < DIM; d++) {
        double x = (double)items[a * DIM + d], y = (double)items[b * DIM + d];
        dot += x * y;
        aa += x * x;
        bb += y * y;
    }
    return dot / sqrt(aa * bb);
}

static void nearest_is_named(void)
{
    struct model *model = model_random(ITEMS, DIM, 16, 1, test_seed());
    struct rng rng;
    rng_init(&rng, test_seed());
    for (int round = 0; round < 2000; round++) {
        struct model_because because = {0};
        int n = 1 + (int)rng_below(&rng, MODEL_BECAUSE_MAX);
        while (because.n < n)
            (void)model_because_add(model, &because, (int32_t)rng_below(&rng, ITEMS));
        int32_t item = (int32_t)rng_below(&rng, ITEMS);
        int32_t named = model_because(model, &because, item);
        double best = -2;
        bool is_added = false;
        for (int i = 0; i < n; i++) {
            best = fmax(best, cosine(model, item, because.items[i]));
            is_added = is_added || because.items[i] == named;
        }
        CHECK(is_added);
        CHECK_NEAR(cosine(model, item, named), best, 1e-5);
    }
    model_free(model);
}

static void items_are_added_once(void)
{
    struct model *model = model_random(ITEMS, DIM, 16, 1, 1);
    struct model_because because = {0};
    CHECK_INT(model_because(model, &because, 3), -1);
    CHECK(model_because_add(model, &because, -1)); /* unknown to the model */
    CHECK_INT(because.n, 0);
    CHECK(model_because_add(model, &because, 7));
    CHECK(model_because_add(model, &because, 7));
    CHECK_INT(because.n, 1);
    CHECK_INT(model_because(model, &because, 3), 7);
    for (int32_t i = 0; i < MODEL_BECAUSE_MAX - 2; i++)
        CHECK(model_because_add(model, &because, 20 + i));
    CHECK(!model_because_add(model, &because, 8)); /* the last place */
    CHECK_INT(because.n, MODEL_BECAUSE_MAX);
    CHECK(!model_because_add(model, &because, 9));
    CHECK_INT(because.n, MODEL_BECAUSE_MAX);
    CHECK_INT(model_because(model, &because, 8), 8); /* itself is nearest */
    model_free(model);
}

int main(void)
{
    CASE(nearest_is_named);
    CASE(items_are_added_once);
    return 0;
}
