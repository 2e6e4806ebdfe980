/* Scores of partners against their formulas over plain counts; carts and rising items against all that is possible, sorted. */
#include "tests/test.h"

#include "base/rng.h"
#include "model/model.h"

enum { ITEMS = 60, SUBJECTS = 12, PAIRS = 3000 };

/* ---- a small shop: counts as they are, and the tables ---- */

struct shop {
    double pair[SUBJECTS][ITEMS]; /* as of the newest moment */
    double newest[SUBJECTS];
    struct model_partner entries[SUBJECTS][ITEMS];
    struct model_partners rows[SUBJECTS];
    struct model_marginals *marginals;
};

/* Item 0 sells best; every item's pairs come at moments from 0 to 4. */
static void shop_fill(struct shop *shop, struct rng *rng)
{
    shop->marginals = model_marginals_new(ITEMS);
    for (int s = 0; s < SUBJECTS; s++)
        model_partners_init(&shop->rows[s], shop->entries[s], ITEMS);
    for (int i = 0; i < PAIRS; i++) {
        size_t s = (size_t)rng_below(rng, SUBJECTS);
        size_t a = (size_t)rng_below(rng, ITEMS), b = (size_t)rng_below(rng, ITEMS);
        size_t item = a < b ? a : b;
        double moment = (double)rng_below(rng, 17) / 4, weight = 0.5 + rng_unit(rng);
        model_partners_add(&shop->rows[s], item, weight, moment);
        model_marginals_add(shop->marginals, item, weight, moment);
        shop->pair[s][item] += weight * exp2(moment);
        shop->newest[s] = fmax(shop->newest[s], moment);
    }
}

static void shop_fini(struct shop *shop)
{
    model_marginals_free(shop->marginals);
}

/* 2 sum over the four cells of  observed ln(observed / expected), from the table itself. */
static double g_squared(double c, double r, double m, double g)
{
    double cell[2][2] = {{c, r - c}, {m - c, g - r - m + c}}, sum = 0;
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < 2; j++) {
            double row = cell[i][0] + cell[i][1], column = cell[0][j] + cell[1][j];
            if (cell[i][j] > 0) sum += cell[i][j] * log(cell[i][j] * g / (row * column));
        }
    }
    return 2 * sum;
}

static double score_of(const struct shop *shop, size_t s, size_t item,
                       const struct model_score_options *o)
{
    double scale = exp2(-shop->newest[s]), r = 0, m = 0, g = 0, c = shop->pair[s][item] * scale;
    for (size_t j = 0; j < ITEMS; j++)
        r += shop->pair[s][j] * scale;
    for (size_t t = 0; t < SUBJECTS; t++) {
        m += shop->pair[t][item] * scale;
        for (size_t j = 0; j < ITEMS; j++)
            g += shop->pair[t][j] * scale;
    }
    if (c == 0) return 0;
    double e = r * m / g, k = o->prior, a = o->damping;
    const double scores[MEASURES] = {[MEASURE_COUNT] = c / r,
                                     [MEASURE_COSINE] =
                                         (c + k * m / g) / (pow(r + k, 1 - a) * pow(m + k, a)),
                                     [MEASURE_LIFT] = c / (e + k),
                                     [MEASURE_LLR] = c > e ? g_squared(c, r, m, g) / (2 * r) : 0};
    return scores[o->measure];
}

static bool is_even(void *context, uint64_t key)
{
    (void)context;
    return key % 2 == 0;
}

/* Each of the list has its score by the formula, and nothing that is left out has a higher one. */
static void check_best(const struct shop *shop, size_t s, const struct model_score_options *o,
                       int K, bool skips)
{
    struct model_scored best[ITEMS];
    int n = model_partners_best(&shop->rows[s], shop->marginals, o, K, skips ? is_even : NULL, NULL,
                                best);
    int possible = 0, listed = 0;
    for (size_t item = 0; item < ITEMS; item++) {
        if (skips && item % 2 == 0) continue;
        double score = score_of(shop, s, item, o);
        int place = -1;
        for (int i = 0; i < n; i++)
            if (best[i].key == item) place = i;
        possible += score > 0;
        listed += place >= 0;
        if (place >= 0) CHECK_NEAR(best[place].score, score, 1e-9 * (1 + score));
        if (place < 0 && n > 0) CHECK(score <= best[n - 1].score + 1e-9);
    }
    CHECK_INT(listed, n);
    CHECK_INT(n, possible < K ? possible : K);
    for (int i = 1; i < n; i++)
        CHECK(best[i - 1].score >= best[i].score);
}

static void case_scores(void)
{
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    static const struct model_score_options options[] = {
        {MEASURE_COUNT, 0, 0},  {MEASURE_COSINE, 0, 0.5},   {MEASURE_COSINE, 7, 0.3},
        {MEASURE_COSINE, 2, 1}, {MEASURE_COSINE, 400, 0.1}, {MEASURE_LIFT, 0, 0},
        {MEASURE_LIFT, 3, 0},   {MEASURE_LLR, 0, 0}};
    for (int round = 0; round < 5; round++) {
        struct shop shop = {0};
        shop_fill(&shop, &rng);
        for (size_t o = 0; o < sizeof options / sizeof *options; o++) {
            for (size_t s = 0; s < SUBJECTS; s++) {
                check_best(&shop, s, &options[o], 1 + (int)rng_below(&rng, ITEMS), false);
                check_best(&shop, s, &options[o], 10, true);
            }
        }
        shop_fini(&shop);
    }
}

/* Everybody buys bread (key 1), with whatever; screws (2) go with drills, less often than bread does. */
static void case_best_sellers_do_not_win(void)
{
    struct model_partner entries[8];
    struct model_partners drill;
    struct model_marginals *m = model_marginals_new(100);
    model_partners_init(&drill, entries, 8);
    model_partners_add(&drill, 1, 100, 0);
    model_marginals_add(m, 1, 20000, 0);
    model_partners_add(&drill, 2, 80, 0);
    model_marginals_add(m, 2, 80, 0);
    for (uint64_t key = 3; key < 53; key++)
        model_marginals_add(m, key, 400, 0);
    struct model_score_options options = model_score_options_default();
    struct model_scored best[2];
    CHECK_INT(model_partners_best(&drill, m, &options, 2, NULL, NULL, best), 2);
    CHECK_INT(best[0].key, 2);
    options.measure = MEASURE_COUNT;
    CHECK_INT(model_partners_best(&drill, m, &options, 2, NULL, NULL, best), 2);
    CHECK_INT(best[0].key, 1);
    model_marginals_free(m);
}

/* One order tells the same of seven partners: the one that others buy most (7) comes first, though another (1) comes before it that
 * outdoes what nobody else buys. After a thousand such orders it is one that nobody else buys. */
static void case_little_known_rows(void)
{
    struct model_score_options options = model_score_options_default();
    struct model_partner entries[8];
    struct model_partners row;
    for (int orders = 1; orders <= 1000; orders *= 1000) {
        struct model_marginals *m = model_marginals_new(100);
        model_partners_init(&row, entries, 8);
        for (uint64_t key = 1; key <= 7; key++) {
            model_partners_add(&row, key, orders, 0);
            model_marginals_add(m, key, orders, 0);
        }
        model_marginals_add(m, 1, 100, 0);
        model_marginals_add(m, 7, 1000, 0);
        struct model_scored best;
        CHECK_INT(model_partners_best(&row, m, &options, 1, NULL, NULL, &best), 1);
        CHECK_INT(best.key, orders == 1 ? 7 : 2);
        model_marginals_free(m);
    }
}

/* Marginals that lost an item: it counts as if this row were its only one, and equal scores go by key. */
static void case_unknown_marginals(void)
{
    struct model_partner entries[8];
    struct model_partners row;
    struct model_marginals *m = model_marginals_new(4);
    model_partners_init(&row, entries, 8);
    struct model_score_options options = {MEASURE_COSINE, 0, 0.5};
    struct model_scored best[8];
    CHECK_INT(model_partners_best(&row, m, &options, 8, NULL, NULL, best), 0);
    for (uint64_t key = 8; key > 4; key--)
        model_partners_add(&row, key, 1, 30);
    CHECK_INT(model_partners_best(&row, m, &options, 3, NULL, NULL, best), 3);
    for (uint64_t i = 0; i < 3; i++) {
        CHECK_INT(best[i].key, 5 + i);
        CHECK_NEAR(best[i].score, 0.5, 1e-12);
    }
    model_marginals_free(m);
}

/* ---- carts ---- */

static void case_carts(void)
{
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    enum { POOL = 120, GIVEN = 3 };
    for (int round = 0; round < 300; round++) {
        struct model_scored pool[POOL], again[POOL], out[POOL], out_again[POOL];
        double sums[ITEMS] = {0};
        int n = (int)rng_below(&rng, POOL + 1), K = 1 + (int)rng_below(&rng, 15);
        uint64_t given[GIVEN];
        for (int i = 0; i < GIVEN; i++)
            given[i] = rng_below(&rng, ITEMS);
        for (int i = 0; i < n; i++) {
            pool[i] = (struct model_scored){rng_below(&rng, ITEMS), (double)rng_below(&rng, 9) / 8};
            again[n - 1 - i] = pool[i];
            sums[pool[i].key] += pool[i].score;
        }
        for (int i = 0; i < GIVEN; i++)
            sums[given[i]] = 0;
        int count = model_cart(pool, n, given, GIVEN, K, NULL, NULL, out);
        for (int i = 0; i < K; i++) {
            size_t best = 0;
            for (size_t key = 1; key < ITEMS; key++)
                if (sums[key] > sums[best]) best = key;
            CHECK_INT(i<count, sums[best]> 0);
            if (i >= count) break;
            CHECK_INT(out[i].key, best);
            CHECK_NEAR(out[i].score, sums[best], 0);
            sums[best] = 0;
        }
        CHECK_INT(model_cart(again, n, given, GIVEN, K, NULL, NULL, out_again), count);
        CHECK_BYTES(out, (size_t)count * sizeof *out, out_again, (size_t)count * sizeof *out);
        count = model_cart(pool, n, given, GIVEN, K, is_even, NULL, out);
        for (int i = 0; i < count; i++)
            CHECK(out[i].key % 2 == 1);
    }
}

/* ---- rising items ---- */

static void case_rising(void)
{
    enum { STEADY = 1, RISING = 2, FALLING = 3, NEW = 4 };
    const struct model_rising_options options = {3600e3, 7 * 86400e3, 3};
    struct model_partner fast_entries[8], slow_entries[8];
    struct model_partners fast, slow;
    model_partners_init(&fast, fast_entries, 8);
    model_partners_init(&slow, slow_entries, 8);
    double s[5] = {0}, l[5] = {0};
    int64_t now = 1700000000000, hour = 3600000;
    for (int64_t h = 60 * 24; h >= 0; h--) {
        int events[5] = {0, 20, h < 2 ? 20 : 2, h < 48 ? 0 : 20, h < 1 ? 8 : 0};
        for (int item = 1; item < 5; item++) {
            int64_t time = now - h * hour;
            s[item] += events[item] * exp2(-(double)h);
            l[item] += events[item] * exp2(-(double)h / (7 * 24));
            model_partners_add(&fast, (uint64_t)item, events[item],
                               model_moment(time, options.fast_half_life_ms));
            model_partners_add(&slow, (uint64_t)item, events[item],
                               model_moment(time, options.slow_half_life_ms));
        }
    }
    struct model_scored out[8];
    int n = model_partners_rising(&fast, &slow, &options, now, 8, NULL, NULL, out);
    CHECK(n >= 2);
    CHECK_INT(out[0].key, RISING);
    CHECK_INT(out[1].key, NEW);
    for (int i = 0; i < n; i++) {
        double e = l[out[i].key] / (7 * 24);
        CHECK_NEAR(out[i].score, (s[out[i].key] - e) / sqrt(e + 3), 1e-6);
        CHECK(out[i].key != FALLING);
    }
    CHECK_INT(model_partners_rising(&fast, &slow, &options, now, 1, is_even, NULL, out), 1);
    CHECK_INT(out[0].key, STEADY);
}

int main(void)
{
    CASE(case_scores);
    CASE(case_best_sellers_do_not_win);
    CASE(case_little_known_rows);
    CASE(case_unknown_marginals);
    CASE(case_carts);
    CASE(case_rising);
    return 0;
}
