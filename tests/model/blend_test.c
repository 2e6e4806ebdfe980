/* Rank fusion by known values. */

#include "tests/test.h"

#include "base/rng.h"
#include "model/model.h"

static void case_known_values(void)
{
    const uint64_t encoder[] = {10, 20, 30}, popular[] = {30, 40};
    const struct model_candidates arms[] = {{.keys = encoder, .n = 3}, {.keys = popular, .n = 2}};
    const float weights[] = {1.0f, 0.5f};
    struct model_blended out[10];
    CHECK_INT(model_blend(arms, weights, 2, 10, out), 4);
    CHECK_INT(out[0].key, 30);
    CHECK_NEAR(out[0].score, 1.0 / 63 + 0.5 / 61, 1e-8);
    CHECK_HEX(out[0].arms, 3);
    CHECK_INT(out[1].key, 10);
    CHECK_NEAR(out[1].score, 1.0 / 61, 1e-8);
    CHECK_HEX(out[1].arms, 1);
    CHECK_INT(out[2].key, 20);
    CHECK_INT(out[3].key, 40);
    CHECK_NEAR(out[3].score, 0.5 / 62, 1e-8);
    CHECK_HEX(out[3].arms, 2);
}

static void case_ties_keep_first_met(void)
{
    const uint64_t a[] = {7, 5}, b[] = {3, 1};
    const struct model_candidates arms[] = {{.keys = a, .n = 2}, {.keys = b, .n = 2}};
    const float weights[] = {1.0f, 1.0f};
    struct model_blended out[3];
    CHECK_INT(model_blend(arms, weights, 2, 3, out), 3);
    CHECK_INT(out[0].key, 7);
    CHECK_INT(out[1].key, 3);
    CHECK_INT(out[2].key, 5);
}

static void case_empty_arms(void)
{
    const uint64_t a[] = {0};
    const struct model_candidates arms[] = {{.keys = NULL, .n = 0}, {.keys = a, .n = 1}};
    const float weights[] = {1.0f, 1.0f};
    struct model_blended out[2];
    CHECK_INT(model_blend(arms, weights, 1, 2, out), 0);
    CHECK_INT(model_blend(arms, weights, 2, 2, out), 1);
    CHECK_INT(out[0].key, 0);
    CHECK_HEX(out[0].arms, 2);
}

/* Against sums by hand over all keys. */
static void case_random(void)
{
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    for (int round = 0; round < 300; round++) {
        uint64_t keys[2][100];
        double sum[200] = {0};
        const float weights[] = {(float)rng_unit(&rng), (float)rng_unit(&rng)};
        for (int a = 0; a < 2; a++)
            for (int i = 0; i < 100; i++) {
                /* Keys of an arm differ: the even ones from the front, a random offset. */
                keys[a][i] = (uint64_t)((i * 7 + (int)(round + a * 31)) % 200);
                sum[keys[a][i]] += (double)weights[a] / (61 + i);
            }
        const struct model_candidates arms[] = {{.keys = keys[0], .n = 100},
                                                {.keys = keys[1], .n = 100}};
        struct model_blended out[20];
        CHECK_INT(model_blend(arms, weights, 2, 20, out), 20);
        for (int k = 0; k < 20; k++) {
            CHECK_NEAR(out[k].score, sum[out[k].key], 1e-7);
            if (k > 0) CHECK(out[k].score <= out[k - 1].score);
            sum[out[k].key] = -1.0;
        }
        for (int i = 0; i < 200; i++)
            CHECK(sum[i] <= (double)out[19].score + 1e-7);
    }
}

int main(void)
{
    CASE(case_known_values);
    CASE(case_ties_keep_first_met);
    CASE(case_empty_arms);
    CASE(case_random);
    return 0;
}
