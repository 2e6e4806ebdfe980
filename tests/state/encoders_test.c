/* Encoder states apart from users: the bound when they are not stored, who loses one, another model's size. */
#include "tests/state/fixture.h"

#include "base/mem.h"
#include "base/rng.h"

static char folder[256];

enum { USERS = 400, BIG = 2048 /* floats: 8 KiB */ };

static struct state_shard *start(struct state **state, struct state_options *options, bool rebuild)
{
    *options = fixture_options();
    options->state_floats = BIG;
    options->rebuild_encoders = rebuild;
    fixture_folder(folder, sizeof folder);
    *state = fixture_open(folder, options);
    return fixture_shard_of(*state, 1);
}

static void stop(struct state *state, struct state_shard *shard)
{
    state_shard_free(shard);
    state_close(state);
    fixture_remove(folder);
}

/* A state whose floats say whose it is. */
static void encode(struct state_shard *shard, struct user *user, int number, uint64_t model)
{
    float *state = state_user_encoder(shard, user);
    for (int i = 0; i < shard->encoders.floats; i++)
        state[i] = (float)(number + i);
    user->model_id = model;
}

static void check_state(const struct user *user, int number, int floats)
{
    CHECK_NEAR(user->encoder[0], (float)number, 0);
    CHECK_NEAR(user->encoder[floats - 1], (float)(number + floats - 1), 0);
}

/* Not stored: users in memory keep their states only within the bound; whoever keeps one has his own. A seed's random
 * walk over the users, with trims in between; users asked for in each round never lose theirs. */
static void test_bound(void)
{
    struct state_options options;
    struct state *state;
    struct state_shard *shard = start(&state, &options, true);
    struct rng rng;
    uint64_t allocations = 0;
    int rebuilt = 0, kept = 0;
    rng_init(&rng, TEST_SEED());
    for (int round = 0; round < 2000; round++) {
        if (round == 1000) allocations = mem_thread_count();
        for (int k = 0; k < 8; k++) {
            bool is_hot = k < 4;
            int number = is_hot ? k : 4 + (int)rng_below(&rng, USERS - 4);
            struct user *user = fixture_get(shard, 1, number);
            bool was_there = user->model_id == 7;
            if (was_there) check_state(user, number, BIG);
            if (is_hot && round > 0) CHECK(was_there);
            if (!is_hot) was_there ? kept++ : rebuilt++;
            encode(shard, user, number, 7);
        }
        state_shard_trim(shard);
        CHECK(shard->encoders.bytes <= options.cache_bytes / 4 * 3);
        CHECK(state_cache_bytes(shard) <= options.cache_bytes);
    }
    printf("  %d kept, %d rebuilt, %zu of %d users hold one\n", kept, rebuilt,
           shard->encoders.n_holders, USERS);
    CHECK(shard->encoders.n_holders > 80); /* and the bound is used: 95 fit */
    CHECK_INT(mem_thread_count() - allocations, 0);
    stop(state, shard);
}

/* Pointers live until the next trim, over the bound too. */
static void test_pointers_live(void)
{
    struct state_options options;
    struct state *state;
    struct state_shard *shard = start(&state, &options, true);
    struct user *users[USERS];
    float *states[USERS];
    for (int i = 0; i < USERS; i++) {
        users[i] = fixture_get(shard, 1, i);
        encode(shard, users[i], i, 7);
        states[i] = users[i]->encoder;
    }
    for (int i = 0; i < USERS; i++) {
        CHECK(users[i]->encoder == states[i]);
        check_state(users[i], i, BIG);
    }
    state_encoders_trim(shard);
    CHECK(shard->encoders.bytes <= options.cache_bytes / 4 * 3);
    int holders = 0;
    for (int i = 0; i < USERS; i++) {
        CHECK_INT(users[i]->model_id, users[i]->encoder ? 7 : 0);
        holders += users[i]->encoder != NULL;
    }
    CHECK_INT(holders, (int)shard->encoders.n_holders);
    stop(state, shard);
}

/* A dirty user may lose a state that is not stored; nothing else of him changes. */
static void test_dirty_loses(void)
{
    struct state_options options;
    struct state *state;
    struct state_shard *shard = start(&state, &options, true);
    for (int i = 0; i < USERS; i++) {
        struct user *user = fixture_get(shard, 1, i);
        fixture_view(shard, user, 5, 1000 + i, i);
        encode(shard, user, i, 7);
    }
    state_shard_trim(shard);
    fixture_commit(shard, 1, USERS);
    state_shard_trim(shard);
    for (int i = 0; i < USERS; i++)
        CHECK_INT(fixture_get(shard, 1, i)->window[0].time_ms, 1000 + i);
    stop(state, shard);
}

/* Another model between two epochs, with users clean, dirty and sealed: states of the size before are given up when asked
 * for, all else stays, and what is stored has the size of its own model. */
static void test_other_model(void)
{
    struct state_options options;
    struct state *state;
    struct state_shard *shard = start(&state, &options, false);
    struct state_move move = {0, 1, 100};
    struct err err = ERR_INIT;
    for (int i = 0; i < 30; i++) {
        struct user *user = fixture_get(shard, 1, i);
        fixture_view(shard, user, 5, 1000 + i, i);
        encode(shard, user, i, 7);
        if (i == 9) fixture_commit(shard, 1, 50); /* 0..9 clean */
        if (i == 19) (void)state_epoch_seal(shard, &move, 1);
    }
    state_shard_model(shard, 6, false, 0);
    struct state_epoch *epoch = shard->first; /* 10..19, then 20..29 still dirty */
    CHECK_OK(state_epoch_write(shard, epoch, &err), err);
    for (int i = 0; i < 30; i++) {
        struct user *user = fixture_get(shard, 1, i);
        CHECK_INT(user->n_window, 1);
        CHECK_INT(user->model_id, 7);
        if (i % 2) continue; /* the odd ones have no event more */
        (void)state_user_encoder(shard, user);
        CHECK_INT(user->model_id, 0);
        encode(shard, user, i, 8);
        check_state(user, i, 6);
        state_user_dirty(shard, user);
    }
    fixture_commit(shard, 1, 101);
    state_shard_free(shard);
    shard = fixture_shard_of(state, 1); /* its states are of the first size, as the options say */
    for (int i = 1; i < 30; i += 2) {
        struct user *user = fixture_get(shard, 1, i);
        CHECK_INT(user->model_id, 7);
        check_state(user, i, BIG);
    }
    state_shard_model(shard, 6, false, 0);
    for (int i = 0; i < 30; i += 2) {
        struct user *user = fixture_get(shard, 1, i);
        CHECK_INT(user->model_id, 8);
        check_state(user, i, 6);
    }
    CHECK_INT(shard->encoders.bytes, 15 * BIG * sizeof(float) + 15 * 64 + 15 * 64);
    stop(state, shard);
}

/* States of short windows stay in memory alone: a user read again has none, and the rest as it was. */
static void test_short_windows(void)
{
    struct state_options options;
    struct state *state;
    struct state_shard *shard = start(&state, &options, false);
    state_shard_model(shard, BIG, false, 3);
    for (int i = 0; i < 5; i++) {
        struct user *user = fixture_get(shard, 1, i);
        for (int n = 0; n <= i; n++)
            fixture_view(shard, user, 5 + n, 1000 + n, 10 * i + n);
        encode(shard, user, i, 7);
    }
    fixture_commit(shard, 1, 50);
    check_state(fixture_get(shard, 1, 0), 0, BIG);
    state_shard_free(shard);
    shard = fixture_shard_of(state, 1);
    for (int i = 0; i < 5; i++) {
        struct user *user = fixture_get(shard, 1, i);
        CHECK_INT(user->n_window, i + 1);
        CHECK_HEX(user->window[i].item, fixture_item(5 + i));
        CHECK_INT(user->model_id, i + 1 < 3 ? 0 : 7);
        if (user->model_id) check_state(user, i, BIG);
    }
    stop(state, shard);
}

int main(void)
{
    CASE(test_bound);
    CASE(test_pointers_live);
    CASE(test_dirty_loses);
    CASE(test_other_model);
    CASE(test_short_windows);
    return 0;
}
