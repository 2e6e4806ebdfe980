/* The fold: each rule of docs/STATE.md with an example, then random events against the naive fold of fixture.c. */
#include "tests/state/fixture.h"

#include "base/mem.h"

static struct state_options options;
static struct user *user;
static int64_t next_offset;

static void start(void)
{
    options = fixture_options();
    if (user) fixture_user_free(user);
    user = fixture_user_new(options.window_max, options.state_floats);
    next_offset = 0;
}

static struct fold_result apply(enum event_type type, int64_t time_ms, uint64_t id, int item)
{
    struct fixture_event e;
    fixture_event(&e, type, 1, time_ms, id, &item, 1);
    return state__fold(&options, user, &e.event, 0, next_offset++);
}

/* "5 7 9": the items of the window, oldest first. */
static const char *window_text(void)
{
    static char text[256];
    size_t at = 0;
    text[0] = '\0';
    for (int i = 0; i < user->n_window; i++)
        for (int item = 0; item < 100; item++)
            if (fixture_item(item) == user->window[i].item)
                at += (size_t)snprintf(text + at, sizeof text - at, "%s%d", at ? " " : "", item);
    return text;
}

/* Rule 3. */
static void test_replayed(void)
{
    start();
    (void)apply(EVENT_VIEW, 1000, 0, 5);
    next_offset = 0;
    struct fold_result result = apply(EVENT_VIEW, 2000, 0, 6);
    CHECK_INT(result.outcome, FOLD_REPLAYED);
    CHECK_STR(window_text(), "5");
    CHECK_INT(user->last_offset[0], 0);
    /* The other topic has offsets of its own. */
    struct fixture_event e;
    int item = 6;
    fixture_event(&e, EVENT_VIEW, 1, 2000, 0, &item, 1);
    CHECK_INT(state__fold(&options, user, &e.event, 1, 0).outcome, FOLD_APPLIED);
    CHECK_INT(user->last_offset[1], 0);
}

/* Rule 4: the last 32 ids, not the 33rd. */
static void test_duplicates(void)
{
    start();
    CHECK_INT(apply(EVENT_VIEW, 1000, 900, 5).outcome, FOLD_APPLIED);
    CHECK_INT(apply(EVENT_VIEW, 1001, 900, 5).outcome, FOLD_DUPLICATE);
    CHECK_INT(user->last_offset[0], 1);
    for (uint64_t id = 1; id <= 31; id++)
        (void)apply(EVENT_VIEW, 1002, id, 6);
    CHECK_INT(apply(EVENT_VIEW, 1003, 900, 5).outcome, FOLD_DUPLICATE);
    (void)apply(EVENT_VIEW, 1004, 32, 6);
    CHECK_INT(apply(EVENT_VIEW, 1005, 900, 7).outcome, FOLD_APPLIED);
    CHECK_INT(apply(EVENT_VIEW, 1005, 0, 7).outcome, FOLD_APPLIED);
    CHECK_INT(apply(EVENT_VIEW, 1005, 0, 7).outcome, FOLD_APPLIED);
}

/* Rule 5: quiet events enter the ring and nothing else; without consent not even that. */
static void test_quiet(void)
{
    start();
    CHECK_INT(apply(EVENT_IMPRESSION, 1000, 1, 5).outcome, FOLD_QUIET);
    CHECK_INT(apply(EVENT_OTHER, 1000, 2, 5).outcome, FOLD_QUIET);
    CHECK_INT(apply(EVENT_VIEW, 1000, 1, 5).outcome, FOLD_DUPLICATE);
    struct fixture_event e;
    int item = 5;
    fixture_event(&e, EVENT_PURCHASE, 1, 1000, 3, &item, 1);
    e.event.consent = false;
    int64_t before = user->last_offset[0];
    CHECK_INT(state__fold(&options, user, &e.event, 0, next_offset++).outcome, FOLD_QUIET);
    CHECK_INT(user->n_window + user->n_bought, 0);
    CHECK_INT(user->last_offset[0], before); /* nothing at all */
    CHECK_INT(apply(EVENT_SEARCH, 1000, 3, 5).outcome, FOLD_APPLIED);
    user->events = 0;
    CHECK_INT(user->events, 0);
    CHECK_INT(apply(EVENT_SEARCH, 1000, 4, 5).outcome, FOLD_APPLIED);
    CHECK_INT(apply(EVENT_REMOVE_FROM_CART, 1000, 5, 5).outcome, FOLD_APPLIED);
    CHECK_INT(user->n_window, 0);
}

/* Rule 7. */
static void test_sets(void)
{
    start();
    (void)apply(EVENT_PURCHASE, 1, 0, 5);
    (void)apply(EVENT_PURCHASE, 2, 0, 6);
    (void)apply(EVENT_PURCHASE, 3, 0, 5);
    CHECK_INT(user->n_bought, 2);
    CHECK_HEX(user->bought[1], fixture_item(5));
    (void)apply(EVENT_REFUND, 4, 0, 6);
    CHECK_INT(user->n_bought, 1);
    (void)apply(EVENT_DISLIKE, 5, 0, 8);
    CHECK_INT(user->n_disliked, 1);
    CHECK_INT(apply(EVENT_LIKE, 6, 0, 8).appended, 1);
    CHECK_INT(user->n_disliked, 0);
    for (int i = 100; i < 100 + USER_BOUGHT_MAX; i++)
        (void)apply(EVENT_PURCHASE, 7, 0, i);
    CHECK_INT(user->n_bought, USER_BOUGHT_MAX);
    CHECK_HEX(user->bought[0], fixture_item(100));
    for (int i = 100; i <= 100 + USER_DISLIKED_MAX; i++)
        (void)apply(EVENT_DISLIKE, 7, 0, i);
    CHECK_INT(user->n_disliked, USER_DISLIKED_MAX);
    CHECK_HEX(user->disliked[0], fixture_item(101));
}

/* Rule 8, late events: tolerance is 1000 ms. */
static void test_late(void)
{
    start();
    (void)apply(EVENT_VIEW, 1000, 0, 1);
    (void)apply(EVENT_VIEW, 5000, 0, 2);
    struct fold_result result = apply(EVENT_VIEW, 4000, 0, 3); /* within the tolerance */
    CHECK_INT(result.appended, 1);
    CHECK_INT(result.late, false);
    CHECK_STR(window_text(), "1 2 3");
    CHECK_INT(user->newest_ms, 5000);
    result = apply(EVENT_VIEW, 3999, 0, 4);
    CHECK_INT(result.late, true);
    CHECK_INT(result.rebuild, true);
    CHECK_STR(window_text(), "1 4 2 3");
    (void)apply(EVENT_VIEW, 500, 0, 5);
    CHECK_STR(window_text(), "5 1 4 2 3"); /* nothing was forgotten: the front is a place */
    (void)apply(EVENT_VIEW, 1000, 0, 6);
    CHECK_STR(window_text(), "5 1 6 4 2 3"); /* behind its equal */
}

/* Rule 8, the older half goes when full; after it the front is no place. W is 8. */
static void test_full(void)
{
    start();
    for (int i = 0; i < 8; i++)
        CHECK_INT(apply(EVENT_VIEW, 10000 + 2000 * i, 0, i).rebuild, false);
    CHECK_INT(user->truncated, false);
    struct fold_result result = apply(EVENT_VIEW, 30000, 0, 8);
    CHECK_INT(result.rebuild, true);
    CHECK_INT(user->truncated, true);
    CHECK_STR(window_text(), "4 5 6 7 8");
    result = apply(EVENT_VIEW, 17000, 0, 9);
    CHECK_INT(result.too_late, 1);
    CHECK_INT(result.appended, 0);
    CHECK_STR(window_text(), "4 5 6 7 8");
    result = apply(EVENT_VIEW, 19000, 0, 9);
    CHECK_INT(result.too_late, 0);
    CHECK_STR(window_text(), "4 9 5 6 7 8");
}

/* Edges: a window of one forgets all; times at the ends of their range do not overflow. */
static void test_edges(void)
{
    start();
    options.window_max = 1;
    (void)apply(EVENT_VIEW, 1000, 0, 1);
    (void)apply(EVENT_VIEW, 2000, 0, 2);
    CHECK_STR(window_text(), "2");
    start();
    (void)apply(EVENT_VIEW, INT64_MAX, 0, 1);
    CHECK_INT(apply(EVENT_VIEW, INT64_MIN + 1, 0, 2).late, true);
    CHECK_STR(window_text(), "2 1");
}

/* Many users and windows against the naive fold; each value is stored and read back on the way. */
static void test_random(void)
{
    uint64_t seed = TEST_SEED();
    static const int windows[] = {1, 2, 3, 8, 21, 200};
    uint64_t outcomes[4] = {0}, late = 0, too_late = 0;
    for (size_t w = 0; w < sizeof windows / sizeof *windows; w++) {
        start();
        options.window_max = windows[w];
        fixture_user_free(user);
        user = fixture_user_new(options.window_max, options.state_floats);
        struct naive_user *naive = mem_alloc(sizeof *naive);
        naive_init(naive);
        for (uint64_t i = 0; i < 6000; i++) {
            struct fixture_event e;
            fixture_random_event(&e, seed + w, i, 1);
            int64_t offset = (int64_t)i - (i % 37 == 0 ? 3 : 0); /* some are replays */
            int topic = (int)(i % 2);
            struct fold_result want = naive_fold(&options, naive, &e.event, topic, offset);
            struct fold_result got = state__fold(&options, user, &e.event, topic, offset);
            CHECK_INT(got.outcome, want.outcome);
            CHECK_INT(got.appended, want.appended);
            CHECK_INT(got.rebuild, want.rebuild);
            CHECK_INT(got.too_late, want.too_late);
            CHECK_INT(got.late, want.late);
            naive_compare(naive, user);
            outcomes[got.outcome]++;
            late += got.late;
            too_late += (uint64_t)got.too_late;
        }
        mem_free(naive);
    }
    for (int i = 0; i < 4; i++)
        CHECK(outcomes[i] > 100);
    CHECK(late > 100 && too_late > 100);
}

int main(void)
{
    CASE(test_replayed);
    CASE(test_duplicates);
    CASE(test_quiet);
    CASE(test_sets);
    CASE(test_late);
    CASE(test_full);
    CASE(test_edges);
    CASE(test_random);
    fixture_user_free(user);
    return 0;
}
