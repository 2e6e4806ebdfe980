/* The evaluation of orders against a twin that counts all pairs anew for each order it asks. */
#include "tests/test.h"

#include "base/mem.h"
#include "base/rng.h"
#include "tests/train/support.h"

enum { ITEMS = 25, ORDERS = 120, LONGEST = 6, K = 4, HOUR = 3600000 };

struct shop {
    struct train_data *data;
    int n[ORDERS];
    int32_t items[ORDERS][LONGEST]; /* different, as first seen */
    int64_t time_ms[ORDERS];
};

/* Orders of few items, small numbers more often, every third order with an item twice. Their rows stand in the file in another
 * order than that of time; ids are numbered as they appear in it. */
static void shop_make(struct shop *shop, struct rng *rng)
{
    char text[ORDERS * LONGEST * 48];
    size_t at = (size_t)snprintf(text, sizeof text, "user,item,type,time\n");
    for (int i = 0; i < ORDERS; i++) {
        int o = i * 7 % ORDERS, n = 1 + (int)rng_below(rng, LONGEST);
        shop->time_ms[o] = 1600000000000 + (int64_t)o * HOUR;
        for (int j = 0; j < n; j++) {
            uint64_t a = rng_below(rng, ITEMS), b = rng_below(rng, ITEMS);
            at += (size_t)snprintf(text + at, sizeof text - at, "o%d,i%d,purchase,%" PRId64 "\n", o,
                                   (int)(a < b ? a : b), shop->time_ms[o] / 1000);
        }
    }
    struct train_source source = {.kind = LOGFILE_EVENTS,
                                  .map = "user=user,item=item,type=type,time=time"};
    shop->data = support_data(text, LOGFILE_EVENTS, &source);
    const struct train_data *data = shop->data;
    for (int u = 0; u < data->n_users; u++) {
        int o = (int)((data->events[data->user_start[u]].time_ms - shop->time_ms[0]) / HOUR);
        shop->n[o] = 0;
        for (size_t e = data->user_start[u]; e < data->user_start[u + 1]; e++) {
            bool again = false;
            for (int j = 0; j < shop->n[o]; j++)
                again = again || shop->items[o][j] == data->events[e].item;
            if (!again) shop->items[o][shop->n[o]++] = data->events[e].item;
        }
    }
}

/* ---- the twin: hr and any at K, by the definitions ---- */

/* Scores (ITEMS) of the partners of an item from the orders before one. */
static void twin_scores(const struct shop *shop, const struct basket_options *o, int before,
                        int32_t given, int arm, double *score)
{
    double pair[ITEMS] = {0}, m[ITEMS] = {0}, r = 0, newest = 0, half = o->half_life_ms;
    for (int i = 0; i < before; i++) {
        int n = shop->n[i];
        if (arm == BASKET_POPULAR) {
            for (int a = 0; a < n; a++)
                pair[shop->items[i][a]] +=
                    exp2((double)(shop->time_ms[i] - shop->time_ms[0]) / o->popular_half_life_ms);
            continue;
        }
        if (n < 2 || (arm == BASKET_TOGETHER && n > o->basket_max)) continue;
        double at =
            arm == BASKET_TOGETHER ? (double)(shop->time_ms[i] - shop->time_ms[0]) / half : 0;
        double weight = arm == BASKET_TOGETHER ? exp2(at) / sqrt(n - 1) : 1.0;
        for (int a = 0; a < n; a++) {
            if (shop->items[i][a] == given) newest = at;
            for (int b = 0; b < n; b++) {
                if (a == b) continue;
                if (shop->items[i][a] == given) pair[shop->items[i][b]] += weight;
                if (shop->items[i][a] == given) r += weight;
                m[shop->items[i][b]] += weight;
            }
        }
    }
    double scale = exp2(-newest), k = o->score.prior, d = o->score.damping, g = 0;
    for (int i = 0; i < ITEMS; i++)
        g += m[i] * scale;
    for (int i = 0; i < ITEMS; i++) {
        double c = pair[i] * scale, all = m[i] * scale;
        score[i] = pair[i];
        if (arm == BASKET_TOGETHER)
            score[i] =
                c > 0 ? (c + k * all / g) / (pow(r * scale + k, 1 - d) * pow(all + k, d)) : 0;
    }
}

/* Rank 1 is the best; ties are taken as they come out worst, so a bound. strict: as they come out best. */
static int twin_rank(const double *score, int32_t item, int32_t given, bool strict)
{
    int rank = 1;
    for (int i = 0; i < ITEMS; i++) {
        if (i == item || i == given) continue;
        double slack = 1e-9 * fabs(score[item]);
        rank += strict ? score[i] > score[item] + slack : score[i] >= score[item] - slack;
    }
    return rank;
}

/* The mean over orders; ties make it an interval. */
static void twin_hr(const struct shop *shop, const struct basket_options *o, int arm, double *low,
                    double *high, int *asked)
{
    double sums[2] = {0};
    *asked = 0;
    for (int i = (int)(o->from * ORDERS); i < (int)(o->until * ORDERS); i++) {
        int n = shop->n[i];
        if (n < 2) continue;
        ++*asked;
        for (int a = 0; a < n; a++) {
            double score[ITEMS];
            twin_scores(shop, o, i, shop->items[i][a], arm, score);
            for (int b = 0; b < n; b++) {
                int32_t target = shop->items[i][b];
                if (a == b || score[target] <= 0) continue;
                for (int strict = 0; strict < 2; strict++)
                    sums[strict] += (twin_rank(score, target, shop->items[i][a], strict) <= K) /
                                    (double)(n * (n - 1));
            }
        }
    }
    *low = sums[0] / *asked;
    *high = sums[1] / *asked;
}

static struct basket_options some_options(void)
{
    return (struct basket_options){.from = 0.4,
                                   .until = 0.9,
                                   .given = 1,
                                   .score = {MEASURE_COSINE, 2.0, 0.4},
                                   .half_life_ms = 30.0 * HOUR,
                                   .partners_max = ITEMS,
                                   .basket_max = 4,
                                   .popular_half_life_ms = 20.0 * HOUR,
                                   .k = {1, K},
                                   .n_k = 2,
                                   .resamples = 200,
                                   .seed = 1};
}

static void case_against_twin(void)
{
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    for (int round = 0; round < 4; round++) {
        struct shop shop = {0};
        struct basket_result result;
        struct err err;
        shop_make(&shop, &rng);
        struct basket_options o = some_options();
        CHECK_OK(eval_baskets(shop.data, &o, &result, &err), err);
        for (int arm = 0; arm < BASKET_ARMS; arm++) {
            double low, high;
            int asked;
            twin_hr(&shop, &o, arm, &low, &high, &asked);
            CHECK_INT(result.asked, asked);
            const struct basket_metrics *m = &result.arms[arm];
            if (!(m->hr[1] >= low - 1e-9 && m->hr[1] <= high + 1e-9))
                test_fail(__FILE__, __LINE__, "%s: hr %g is not in [%g, %g]", basket_arm_names[arm],
                          m->hr[1], low, high);
            CHECK(m->hr[0] <= m->hr[1] && m->any[1] >= m->hr[1] && m->any[1] <= 1);
            CHECK(m->low[1] <= m->hr[1] && m->hr[1] <= m->high[1] && m->low[1] < m->high[1]);
            double parts = 0;
            for (int b = 0; b < BANDS; b++)
                parts += m->band[b][1] * result.band_share[b];
            CHECK_NEAR(parts, m->hr[1], 1e-9);
            CHECK(m->coverage[1] > 0 && m->coverage[1] <= 1);
        }
        CHECK_NEAR(result.band_share[0] + result.band_share[1] + result.band_share[2], 1, 1e-9);
        train_data_free(shop.data);
    }
}

/* Items 2 i and 2 i + 1 are bought together and with nothing else: nothing is simpler to foresee. */
static struct train_data *pairs_shop(int n)
{
    static char text[1 << 16];
    size_t at = (size_t)snprintf(text, sizeof text, "user,item,type,time\n");
    for (int o = 0; o < n; o++)
        for (int j = 0; j < 4; j++)
            at += (size_t)snprintf(text + at, sizeof text - at, "o%d,i%d,purchase,%d\n", o,
                                   o % 5 * 4 + j, 1600000000 + 60 * o);
    struct train_source source = {.kind = LOGFILE_EVENTS,
                                  .map = "user=user,item=item,type=type,time=time"};
    return support_data(text, LOGFILE_EVENTS, &source);
}

static void case_carts(void)
{
    struct train_data *data = pairs_shop(100);
    struct basket_options o = some_options();
    struct basket_result result, again;
    struct err err;
    for (int given = 1; given <= 3; given++) {
        o.given = given;
        CHECK_OK(eval_baskets(data, &o, &result, &err), err);
        CHECK_INT(result.asked, 50);
        CHECK_INT(result.queries, given == 1 ? 200 : 50);
        CHECK_NEAR(result.arms[BASKET_TOGETHER].hr[1], 1, 1e-9);
        CHECK(result.arms[BASKET_POPULAR].hr[1] < 0.9);
        CHECK_OK(eval_baskets(data, &o, &again, &err), err);
        CHECK_BYTES(&result, sizeof result, &again, sizeof again);
    }
    o.given = 4;
    CHECK_FAIL(eval_baskets(data, &o, &result, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "more than 4 items");
    train_data_free(data);
}

int main(void)
{
    CASE(case_against_twin);
    CASE(case_carts);
    return 0;
}
