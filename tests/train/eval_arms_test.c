/* The arms of published lists in an evaluation, by hand: what goes with the newest items, and what rises. */
#include "tests/test.h"
#include "tests/train/support.h"
#include "train/train.h"

/* With 1 went 2 twice and 3 once; 2 is also 4's. So after 1 the list is 2 3, and after 4 it is 2. What stands two places apart weighs
 * half: after 5 it is 7, then 6. Live, the second 8 9 is known when the third is asked for. */
static void related_by_hand(void)
{
    struct train_data *past = support_data("a 1\na 2\nb 1\nb 2\nc 1\nc 3\nd 4\nd 2\n"
                                           "e 6\ne 7\ne 5\nf 8\n",
                                           LOGFILE_PAIRS, NULL);
    struct train_data *data = support_data("q 1\nq 2\nr 1\nr 3\ns 4\ns 2\nt 5\nt 6\n"
                                           "u 8\nu 9\nv 8\nv 9\n",
                                           LOGFILE_PAIRS, NULL);
    struct model_related_rules rules = {
        .pairs = {.basket_max = 50, .session_items = 5, .user_max = 100}, .partners_max = 64};
    struct eval_options options = {.split = {TRAIN_ALL, 1},
                                   .mask = EVAL_MASK_CURRENT,
                                   .k = {1, 2},
                                   .n_k = 2,
                                   .window = 10,
                                   .half_life_ms = 1000,
                                   .related = &rules,
                                   .arms = 1u << EVAL_RELATED};
    struct eval_result got;
    struct err err = ERR_INIT;
    CHECK_OK(eval_run(NULL, data, past, &options, &got, &err), err);
    CHECK_INT(got.targets, 6);
    CHECK_NEAR(got.arms[EVAL_RELATED].hr[0], 2.0 / 6, 1e-12); /* q and s */
    CHECK_NEAR(got.arms[EVAL_RELATED].hr[1], 4.0 / 6, 1e-12); /* r and t too */
    options.neighbours_live = true;
    CHECK_OK(eval_run(NULL, data, past, &options, &got, &err), err);
    CHECK_NEAR(got.arms[EVAL_RELATED].hr[0], 3.0 / 6, 1e-12); /* and v's 9 */
    train_data_free(data);
    train_data_free(past);
}

/* The whole shop, since no model knows categories: 1 was met three times, 2 twice, 3 once. 9 was met most, all of it a week ago, and
 * rises least. */
static void trending_by_hand(void)
{
    struct train_data *data = support_data("a\t9\t1000\na\t9\t1001\na\t9\t1002\na\t9\t1003\n"
                                           "b\t1\t605800\nb\t2\t605801\nc\t1\t605802\n"
                                           "d\t2\t605803\ne\t1\t605804\ne\t3\t605805\n"
                                           "f\t3\t605806\nf\t1\t605807\n"
                                           "g\t3\t605808\ng\t2\t605809\n",
                                           LOGFILE_SESSIONS, NULL);
    struct model_related_rules rules = {.trending_half_life_ms = 3600000, .partners_max = 64};
    struct eval_options options = {.split = {TRAIN_NEXT_ITEM, 0.9999928},
                                   .mask = EVAL_MASK_CURRENT,
                                   .k = {1, 2, 3},
                                   .n_k = 3,
                                   .window = 10,
                                   .half_life_ms = 7 * 86400000LL,
                                   .related = &rules,
                                   .arms = 1u << EVAL_TRENDING};
    struct eval_result got;
    struct err err = ERR_INIT;
    CHECK_OK(eval_run(NULL, data, data, &options, &got, &err), err);
    CHECK_INT(got.targets, 3);                                 /* e's 3, f's 1, g's 2 */
    CHECK_NEAR(got.arms[EVAL_TRENDING].hr[0], 1.0 / 3, 1e-12); /* f: 1 */
    CHECK_NEAR(got.arms[EVAL_TRENDING].hr[1], 2.0 / 3,
               1e-12); /* g: 1 2; e: 2 9, for 3 was never met */
    train_data_free(data);
}

int main(void)
{
    CASE(related_by_hand);
    CASE(trending_by_hand);
    return 0;
}
