/* The nearest items against a naive twin. */
#include "tests/test.h"

#include <math.h>

#include "base/rng.h"
#include "model/model.h"

enum { N = 500, D = 16, K = 12 };

static double cosine(const float *a, const float *b)
{
    double ab = 0, aa = 0, bb = 0;
    for (int d = 0; d < D; d++) {
        ab += (double)a[d] * (double)b[d];
        aa += (double)a[d] * (double)a[d];
        bb += (double)b[d] * (double)b[d];
    }
    return ab / sqrt(aa * bb);
}

static bool is_third(void *context, uint64_t key)
{
    (void)context;
    return key % 3 == 0;
}

static bool is_in(const struct model_scored *list, int n, uint64_t key)
{
    for (int i = 0; i < n; i++)
        if (list[i].key == key) return true;
    return false;
}

/* No item outside the list is nearer than its last one. */
static void nearest(void)
{
    struct rng rng;
    struct model *model = model_random(N, D, 16, 1, TEST_SEED());
    struct model_config shape = model_shape(model);
    const float *items =
        model_raw_params(model) + model_param_offset(&shape, MODEL_ITEM_EMBEDDING, 0);
    rng_init(&rng, test_seed());
    for (int round = 0; round < 20; round++) {
        float vector[D];
        struct model_scored list[K];
        for (int d = 0; d < D; d++)
            vector[d] = (float)(rng_unit(&rng) - 0.5);
        CHECK_INT(model_similar(model, vector, K, is_third, NULL, list), K);
        for (int32_t i = 0; i < N; i++) {
            uint64_t key = model_item_key(model, i);
            double near = cosine(items + i * D, vector);
            if (is_in(list, K, key))
                CHECK(key % 3 != 0);
            else
                CHECK(key % 3 == 0 || near <= list[K - 1].score + 1e-6);
        }
        for (int k = 0; k < K; k++) {
            const float *item = items + model_item_index(model, list[k].key) * D;
            CHECK_NEAR(list[k].score, cosine(item, vector), 1e-6);
            CHECK(k == 0 || list[k].score <= list[k - 1].score);
        }
    }
    const float zeros[D] = {0};
    struct model_scored none[K];
    CHECK_INT(model_similar(model, zeros, K, NULL, NULL, none), 0);
    model_free(model);
}

int main(void)
{
    CASE(nearest);
    return 0;
}
