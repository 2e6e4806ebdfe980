/* The generator against its published numbers and against what its distributions must have; suggestions; clocks. */
#include "base/rng.h"

#include "base/clock.h"
#include "base/suggest.h"
#include "tests/test.h"

enum { DRAWS = 200000 };

/* xoshiro256** from the state {1, 2, 3, 4}: the first outputs as published with the reference code's ports. */
static void test_published(void)
{
    static const uint64_t want[] = {11520u, 0u, 1509978240u, 1215971899390074240u};
    struct rng rng = {{1, 2, 3, 4}};
    for (int i = 0; i < 4; i++)
        CHECK_HEX(rng_u64(&rng), want[i]);
}

static void test_same_seed(void)
{
    struct rng a, b, c;
    rng_init(&a, 7);
    rng_init(&b, 7);
    rng_init(&c, 8);
    int differ = 0;
    for (int i = 0; i < 100; i++) {
        uint64_t x = rng_u64(&a);
        CHECK_HEX(x, rng_u64(&b));
        differ += x != rng_u64(&c);
    }
    CHECK(differ >= 99);
}

/* Means and deviations within five standard errors. */
static void test_distributions(void)
{
    struct rng rng;
    double unit = 0, normal = 0, normal_sq = 0, exponential = 0;
    int64_t below[7] = {0};
    rng_init(&rng, TEST_SEED());
    for (int i = 0; i < DRAWS; i++) {
        double u = rng_unit(&rng), n = rng_normal(&rng), e = rng_exponential(&rng);
        CHECK(u >= 0 && u < 1 && e >= 0 && isfinite(n));
        unit += u;
        normal += n;
        normal_sq += n * n;
        exponential += e;
        below[rng_below(&rng, 7)]++;
    }
    double root = sqrt((double)DRAWS);
    CHECK_NEAR(unit / DRAWS, 0.5, 5 * sqrt(1.0 / 12) / root);
    CHECK_NEAR(normal / DRAWS, 0, 5 / root);
    CHECK_NEAR(normal_sq / DRAWS, 1, 5 * sqrt(2.0) / root);
    CHECK_NEAR(exponential / DRAWS, 1, 5 / root);
    for (int i = 0; i < 7; i++)
        CHECK_NEAR(below[i], DRAWS / 7.0, 5 * sqrt(DRAWS * 6.0 / 49));
    for (int i = 0; i < 100; i++)
        CHECK_INT(rng_below(&rng, 1), 0);
}

static void test_suggest(void)
{
    CHECK_INT(suggest_distance("", ""), 0);
    CHECK_INT(suggest_distance("abc", ""), 3);
    CHECK_INT(suggest_distance("kitten", "sitting"), 3);
    CHECK_INT(suggest_distance("abcd", "abdc"), 1);
    CHECK_INT(suggest_distance("Train", "train"), 0);
    CHECK_INT(
        suggest_distance("a", "0123456789012345678901234567890123456789012345678901234567890123"),
        SUGGEST_WORD_MAX);
    CHECK_INT(suggest_limit("run"), 2);
    CHECK_INT(suggest_limit("session.window"), 4);
}

static void test_clock(void)
{
    struct clock fixed = {.fixed_ms = 1234}, system = {0};
    CHECK_INT(clock_wall_ms(&fixed), 1234);
    CHECK_INT(clock_mono_us(&fixed), 1234000);
    CHECK(clock_wall_ms(&system) > 1600000000000);
    uint64_t a = clock_mono_us(&system), b = clock_mono_us(&system);
    CHECK(b >= a);
}

int main(void)
{
    CASE(test_published);
    CASE(test_same_seed);
    CASE(test_distributions);
    CASE(test_suggest);
    CASE(test_clock);
    return 0;
}
