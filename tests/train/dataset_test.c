/* Rows as users' sequences, splits, and what is cut from them to learn from. */
#include "tests/test.h"

#include "base/mem.h"
#include "schemas/schemas.h"
#include "tests/train/support.h"
#include "train/plan.h"

static void check_user(const struct train_data *data, int user, const char *want)
{
    char got[256] = "";
    for (size_t e = data->user_start[user]; e < data->user_start[user + 1]; e++) {
        size_t n = strlen(got);
        struct str id = data->item_ids[data->events[e].item];
        (void)snprintf(got + n, sizeof got - n, "%s%.*s", n ? " " : "", STR_ARG(id));
    }
    CHECK_STR(got, want);
}

static void users_in_time_order(void)
{
    struct train_data *data = support_data("SessionId\tItemId\tTime\n"
                                           "s2\ta\t100\ns1\tb\t50\ns1\ta\t40\ns2\tc\t90\n"
                                           "s1\tc\t40\ns1\td\t1000\n",
                                           LOGFILE_SESSIONS, NULL);
    CHECK_INT(data->n_users, 2);
    CHECK_INT(data->n_items, 4);
    CHECK_INT(data->rows, 6);
    CHECK_INT(data->n_events, 6);
    check_user(data, 0, "c a");
    check_user(data, 1, "a c b d"); /* rows of one time keep their order */
    CHECK_INT(data->first_ms, 40000);
    CHECK_INT(data->last_ms, 1000000);
    struct train_split half = {TRAIN_NEXT_ITEM, 0.0625};
    CHECK_INT(train_split_ms(data, half), 100000);
    CHECK_INT(train_split_end(data, half, 0) - data->user_start[0], 1);
    CHECK_INT(train_split_end(data, half, 1) - data->user_start[1], 3);
    struct train_split last = {TRAIN_LEAVE_ONE_OUT, 1};
    CHECK_INT(train_split_end(data, last, 1) - data->user_start[1], 3);
    struct train_split all = {TRAIN_ALL, 1};
    CHECK_INT(train_split_end(data, all, 1) - data->user_start[1], 4);
    train_data_free(data);
}

static void which_rows_count(void)
{
    static const char *const skip[] = {"POST", "gift_*"};
    struct train_source source = {
        .map = "user=user,item=item,type=event,time=time,quantity=quantity",
        .skip = skip,
        .n_skip = 2,
    };
    struct train_data *data =
        support_data("user,item,event,time,quantity\n"
                     "u,a,view,1,\nu,b,impression,2,\nu,c,transaction,3,2\n"
                     "u,d,purchase,4,-1\nu,POST,purchase,5,1\n"
                     "u,gift_9,purchase,6,1\nu,e,nonsense,7,1\nu,f,addtocart,x,1\n"
                     "u,g,addtocart,9,1\n",
                     LOGFILE_EVENTS, &source);
    check_user(data, 0, "a c g");
    CHECK_INT(data->events[1].type, EVENT_PURCHASE);
    CHECK_INT(data->events[2].type, EVENT_ADD_TO_CART);
    CHECK_INT(data->rows, 9);
    CHECK_INT(data->bad, 1);
    CHECK_INT(data->skipped, 5);
    CHECK_CONTAINS(data->first_bad, ":9: no time");
    train_data_free(data);
}

static void plan_of(struct train__plan *plan, const struct train_data *data,
                    const struct train_options *options)
{
    struct err err = ERR_INIT;
    CHECK_OK(train__plan_make(plan, data, options, &err), err);
}

/* Every event behind a user's first is the target of exactly one sequence or held out. */
static void every_target_once(void)
{
    char *text = support_ring(40, 7, 23, 0.3, TEST_SEED());
    struct train_data *data = support_data(text, LOGFILE_PAIRS, NULL);
    mem_free(text);
    struct train_options options = train_options_default();
    static const int lengths[] = {1, 2, 5, 22, 200};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        options.max_len = lengths[i];
        struct train__plan plan;
        plan_of(&plan, data, &options);
        int held = 0;
        for (int u = 0; u < plan.n_held_out; u++)
            held += plan.held_out[u].tail;
        CHECK_INT(held, plan.n_held_targets);
        CHECK_INT(plan.n_held_out, 8); /* a fifth of 40 */
        CHECK_INT(plan.n_positions + (uint64_t)held, 40 * 22);
        CHECK(plan.longest <= options.max_len);
        uint64_t targets = 0;
        double share = 0;
        for (int s = 0; s < plan.n_sequences; s++)
            targets += plan.sequences[s].end - plan.sequences[s].begin - 1;
        for (int item = 0; item < plan.N; item++)
            share += plan.share[item];
        CHECK_INT(targets, plan.n_positions);
        CHECK_NEAR(share, 1, 1e-9);
        train__plan_free(&plan);
    }
    train_data_free(data);
}

static void rare_items_and_nothing_left(void)
{
    struct train_data *data =
        support_data("u a\nu b\nu a\nv a\nv c\nv b\nw c\n", LOGFILE_PAIRS, NULL);
    struct train_options options = train_options_default();
    options.validation = 0;
    options.min_item_count = 2;
    struct train__plan plan;
    plan_of(&plan, data, &options);
    CHECK_INT(plan.N, 3);
    CHECK(str_equal(plan.ids[0], STR("a"))); /* most frequent first */
    train__plan_free(&plan);
    options.min_item_count = 3;
    plan_of(&plan, data, &options);
    CHECK_INT(plan.N, 1);
    CHECK_INT(plan.n_positions, 1); /* u: a a; v has one event left, w none */
    train__plan_free(&plan);
    options.min_item_count = 4;
    struct err err = ERR_INIT;
    CHECK_FAIL(train__plan_make(&plan, data, &options, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "nothing to learn from");
    train_data_free(data);
}

int main(void)
{
    CASE(users_in_time_order);
    CASE(which_rows_count);
    CASE(every_target_once);
    CASE(rare_items_and_nothing_left);
    return 0;
}
