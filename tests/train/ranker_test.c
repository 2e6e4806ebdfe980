/* Learning the ranker: its gradient, a blend whose right answer is known, and the whole on logs. */
#include "tests/test.h"

#include "base/mem.h"
#include "base/rng.h"
#include "tests/train/support.h"
#include "train/ranker.h"

enum { N = 60, DEPTH = 10 };

/* One list: encoder and neighbours each propose DEPTH items. */
struct draw {
    uint64_t keys[2][DEPTH];
    float scores[2][DEPTH];
    struct model_ranking ranking;
};

static void draw_lists(const struct model *model, struct rng *rng, struct draw *draw)
{
    draw->ranking = (struct model_ranking){0};
    for (int a = 0; a < 2; a++) {
        int from = (int)rng_below(rng, N);
        for (int i = 0; i < DEPTH; i++) {
            draw->keys[a][i] = model_item_key(model, (from + i * 7) % N);
            draw->scores[a][i] = (float)(2 * DEPTH - i) + (float)rng_unit(rng);
        }
        draw->ranking.arms[a ? ARM_NEIGHBOURS : ARM_ENCODER] =
            (struct model_candidates){.keys = draw->keys[a], .n = DEPTH, .scores = draw->scores[a]};
    }
}

/* The target is the neighbours' first in nine of ten lists, else any of the encoder's. */
static void lists_fill(struct train__lists *lists, struct rng *rng, int n)
{
    for (int l = 0; l < n; l++) {
        struct draw draw;
        draw_lists(lists->model, rng, &draw);
        bool is_first = rng_below(rng, 10) > 0;
        uint64_t target = is_first ? draw.keys[1][0] : draw.keys[0][rng_below(rng, DEPTH)];
        train__lists_add(lists, &draw.ranking, target, l);
    }
}

static void case_gradient(void)
{
    struct rng rng;
    struct model *model = model_random(N, 16, 16, 1, 3);
    struct train__lists lists;
    struct model_ranker ranker, grads = {0};
    rng_init(&rng, TEST_SEED());
    train__lists_init(&lists, model, 10);
    lists_fill(&lists, &rng, 3);
    train__ranker_start(&ranker, 5);
    float *weight = (float *)&ranker;
    const float *slope = (const float *)&grads;
    for (size_t i = 0; i < sizeof ranker / sizeof(float); i++)
        weight[i] += (float)(0.2 * (rng_unit(&rng) - 0.5));
    /* Units far from the kink of the relu, on either side. */
    for (int j = 0; j < MODEL_RANKER_HIDDEN; j++)
        ranker.in_bias[j] = j % 2 ? 8.0f : -8.0f;
    for (int l = 0; l < 3; l++)
        (void)train__ranker_loss(&ranker, &lists, l, &grads);
    size_t n_linear = FEATURE_COUNT, from_bias = offsetof(struct model_ranker, in_bias) / 4;
    int checked = 0;
    for (size_t i = 0; i < sizeof ranker / sizeof(float); i++) {
        size_t row = i < MODEL_FEATURES ? i : (i - MODEL_FEATURES) / MODEL_RANKER_HIDDEN;
        if (i < from_bias && row >= n_linear) continue;
        const float step = 1e-2f;
        float old = weight[i];
        double high = 0, low = 0;
        weight[i] = old + step;
        for (int l = 0; l < 3; l++)
            high += train__ranker_loss(&ranker, &lists, l, NULL);
        weight[i] = old - step;
        for (int l = 0; l < 3; l++)
            low += train__ranker_loss(&ranker, &lists, l, NULL);
        weight[i] = old;
        CHECK_NEAR(slope[i], (high - low) / (2 * (double)step), 2e-3);
        checked++;
    }
    CHECK_INT(checked, FEATURE_COUNT * (1 + MODEL_RANKER_HIDDEN) + 2 * MODEL_RANKER_HIDDEN);
    train__lists_fini(&lists);
    model_free(model);
}

/* Rank fusion puts the two firsts side by side; the ranker must learn whom to believe. */
static void case_learns_the_better_arm(void)
{
    struct rng rng;
    struct model *model = model_random(N, 16, 16, 1, 3);
    struct train__lists lists;
    struct model_ranker ranker, again;
    struct train_ranker_result result, second;
    rng_init(&rng, TEST_SEED());
    train__lists_init(&lists, model, 2000);
    lists_fill(&lists, &rng, 1500);
    train__ranker_learn(&lists, 1, &ranker, &result);
    train__ranker_learn(&lists, 1, &again, &second);
    CHECK_BYTES(&ranker, sizeof ranker, &again, sizeof again);
    printf("  NDCG@20 %.3f, of rank fusion %.3f, %d epochs\n", result.ranked, result.fusion,
           result.epochs);
    CHECK(result.ranked > result.fusion + 0.1);
    model_set_ranker(model, &ranker);
    int first = 0;
    for (int l = 0; l < 200; l++) {
        struct draw draw;
        struct model_blended out[1];
        draw_lists(model, &rng, &draw);
        CHECK_INT(model_rank(model, &draw.ranking, 1, out), 1);
        first += out[0].key == draw.keys[1][0];
    }
    printf("  the neighbours' first leads %d of 200 lists\n", first);
    CHECK(first > 180);
    train__lists_fini(&lists);
    model_free(model);
}

/* A target that nobody proposes is asked for and not learnt; the limit holds. */
static void case_lists(void)
{
    struct rng rng;
    struct model *model = model_random(N, 16, 16, 1, 3);
    struct train__lists lists;
    struct draw draw;
    rng_init(&rng, TEST_SEED());
    train__lists_init(&lists, model, 2);
    draw_lists(model, &rng, &draw);
    train__lists_add(&lists, &draw.ranking, 77, 1);
    CHECK_INT(lists.n, 0);
    for (int i = 0; i < 3; i++)
        train__lists_add(&lists, &draw.ranking, draw.keys[0][4], 1);
    CHECK_INT(lists.n, 2);
    CHECK_INT(lists.asked, 4);
    CHECK_INT(lists.lists[0].target, 4);
    CHECK_INT(lists.lists[1].first, lists.lists[0].n);
    train__lists_fini(&lists);
    model_free(model);
}

/* ---- the whole ---- */

static const struct model_neighbours_options neighbours = {.items_max = 50,
                                                           .m = 100,
                                                           .k = 50,
                                                           .last_n = 5,
                                                           .similarity = NEIGHBOURS_LINEAR,
                                                           .position = NEIGHBOURS_DIV};

static struct train_ranker_result learn(int users, enum train_protocol protocol, int validation,
                                        bool *has_ranker)
{
    char *text = support_ring(users, 40, 12, 0.3, 9);
    struct train_data *data = support_data(text, LOGFILE_PAIRS, NULL);
    struct train_options train = train_options_default();
    struct train_result ignored;
    struct train_ranker_result result;
    struct model *model;
    struct err err = ERR_INIT;
    train.dim = train.hidden = 16;
    train.feed = 32;
    train.blocks = 1;
    train.batch = 128;
    train.rate = 0.01;
    train.epochs = 4;
    train.validation = validation;
    train.split.protocol = protocol;
    CHECK_OK(train_model(data, &train, NULL, NULL, &model, &ignored, &err), err);
    struct train_ranker_options options = {
        .train = &train, .neighbours = &neighbours, .window = 50, .half_life_ms = 1000};
    CHECK_OK(train_ranker(model, data, &options, NULL, NULL, &result, &err), err);
    printf("  %d lists of %d events, NDCG@20 %.3f, fusion %.3f %s\n", result.lists,
           (int)result.asked, result.ranked, result.fusion, result.why);
    *has_ranker = model_ranker(model) != NULL;
    CHECK_INT(*has_ranker, result.is_learnt);
    if (!result.is_learnt) CHECK(*result.why != '\0');
    model_free(model);
    train_data_free(data);
    mem_free(text);
    return result;
}

static void case_on_logs(void)
{
    bool has_ranker;
    struct train_ranker_result result = learn(500, TRAIN_ALL, -1, &has_ranker);
    CHECK(result.lists >= 300);
    CHECK(result.asked <= 600);
    CHECK_INT(has_ranker, result.ranked > result.fusion);
    result = learn(500, TRAIN_LEAVE_ONE_OUT, -1, &has_ranker);
    CHECK_INT(result.asked, 500); /* of each user the last event of those that are no test */
    CHECK(result.lists >= 300);
}

static void case_falls_back(void)
{
    bool has_ranker;
    (void)learn(100, TRAIN_ALL, -1, &has_ranker); /* 120 events of 1,200 */
    CHECK(!has_ranker);
    (void)learn(100, TRAIN_LEAVE_ONE_OUT, -1, &has_ranker);
    CHECK(!has_ranker);
    (void)learn(500, TRAIN_LEAVE_ONE_OUT, 10, &has_ranker); /* the encoder has learnt the others' */
    CHECK(!has_ranker);
}

int main(void)
{
    CASE(case_gradient);
    CASE(case_learns_the_better_arm);
    CASE(case_lists);
    CASE(case_on_logs);
    CASE(case_falls_back);
    return 0;
}
