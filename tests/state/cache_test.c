/* The shard's cache: its byte limit, what may be dropped, and no allocation once it is warm. */
#include "tests/state/fixture.h"

#include "base/mem.h"

static char folder[256];

static struct str key_of(int number, char *out)
{
    int len = snprintf(out, SCHEMAS_USER_KEY_MAX, "%cuuser-%d", 0, number);
    return (struct str){out, (size_t)len};
}

static struct user *get(struct state_shard *shard, int number)
{
    char bytes[SCHEMAS_USER_KEY_MAX];
    struct user *user = NULL;
    struct err err = ERR_INIT;
    CHECK_OK(state_user_get(shard, 0, key_of(number, bytes), &user, &err), err);
    return user;
}

static void touch(struct state_shard *shard, int number, int64_t offset)
{
    struct user *user = get(shard, number);
    user->last_offset[0] = offset;
    state_user_dirty(shard, user);
}

static void commit(struct state_shard *shard, int64_t next)
{
    struct err err = ERR_INIT;
    struct state_move move = {0, 0, next};
    CHECK_OK(state_epoch_write(shard, state_epoch_seal(shard, &move, 1), &err), err);
}

static struct state_shard *start(struct state **state, const struct state_options *options)
{
    struct err err = ERR_INIT;
    fixture_folder(folder, sizeof folder);
    *state = fixture_open(folder, options);
    struct state_shard *shard = state_shard_new(*state, 0);
    CHECK_OK(state_partition_open(shard, 0, &err), err);
    return shard;
}

static void stop(struct state *state, struct state_shard *shard)
{
    state_shard_free(shard);
    state_close(state);
    fixture_remove(folder);
}

/* Clean users never take the cache over its limit, even between trims. */
static void test_limit(void)
{
    struct state_options options = fixture_options();
    struct state *state;
    struct state_shard *shard = start(&state, &options);
    size_t most = 0;
    for (int i = 0; i < 20000; i++) {
        (void)get(shard, i);
        if (i % 20 == 0) state_shard_trim(shard);
        if (state_cache_bytes(shard) > most) most = state_cache_bytes(shard);
    }
    CHECK(most <= options.cache_bytes);
    CHECK(most > options.cache_bytes * 9 / 10); /* and the limit is used */
    printf("  most %zu of %zu bytes, %zu a user\n", most, options.cache_bytes,
           shard->cache.slot_bytes);
    stop(state, shard);
}

/* A pointer lives until the next trim, however many users come between. */
static void test_pointers_live(void)
{
    struct state_options options = fixture_options();
    struct state *state;
    struct state_shard *shard = start(&state, &options);
    for (int round = 0; round < 3; round++) {
        struct user *first = get(shard, 1);
        for (int i = 2; i < 2000; i++)
            (void)get(shard, i);
        CHECK(get(shard, 1) == first);
        CHECK(state_cache_bytes(shard) > options.cache_bytes);
        state_shard_trim(shard);
        CHECK(state_cache_bytes(shard) <= options.cache_bytes);
    }
    stop(state, shard);
}

/* Users with unwritten changes stay, sealed or not; written they go. */
static void test_pinned(void)
{
    struct state_options options = fixture_options();
    struct state *state;
    struct err err = ERR_INIT;
    struct state_shard *shard = start(&state, &options);
    for (int i = 0; i < 1000; i++)
        touch(shard, i, 100 + i);
    struct state_move move = {0, 0, 1};
    struct state_epoch *epoch = state_epoch_seal(shard, &move, 1);
    for (int i = 0; i < 500; i++)
        touch(shard, i, 5000 + i);
    state_shard_trim(shard);
    CHECK(state_cache_bytes(shard) > options.cache_bytes);
    for (int i = 0; i < 1000; i++)
        CHECK_INT(get(shard, i)->last_offset[0], i < 500 ? 5000 + i : 100 + i);
    CHECK_OK(state_epoch_write(shard, epoch, &err), err);
    state_shard_trim(shard);
    for (int i = 0; i < 500; i++)
        CHECK_INT(get(shard, i)->last_offset[0], 5000 + i);
    commit(shard, 2);
    state_shard_trim(shard);
    CHECK(state_cache_bytes(shard) <= options.cache_bytes);
    for (int i = 0; i < 1000; i++) {
        CHECK_INT(get(shard, i)->last_offset[0], i < 500 ? 5000 + i : 100 + i);
        state_shard_trim(shard);
    }
    stop(state, shard);
}

/* The oldest use goes first: users asked for again and again are never read from the database. */
static void test_lru(void)
{
    struct state_options options = fixture_options();
    struct state *state;
    struct state_shard *shard = start(&state, &options);
    for (int i = 0; i < 50; i++)
        get(shard, i)->batch = 7; /* not stored: lost when the user is dropped */
    for (int i = 100; i < 10000; i++) {
        (void)get(shard, i);
        CHECK_INT(get(shard, i % 50)->batch, 7);
        state_shard_trim(shard);
    }
    CHECK_INT(get(shard, 101)->batch, 0);
    stop(state, shard);
}

/* Keys over the inline size, up to the longest. */
static void test_long_keys(void)
{
    struct state_options options = fixture_options();
    struct state *state;
    struct err err = ERR_INIT;
    struct state_shard *shard = start(&state, &options);
    char bytes[SCHEMAS_USER_KEY_MAX];
    memset(bytes, 'x', sizeof bytes);
    for (int round = 0; round < 2; round++) {
        for (size_t len = 1; len <= sizeof bytes; len++) {
            struct user *user;
            CHECK_OK(state_user_get(shard, 0, (struct str){bytes, len}, &user, &err), err);
            CHECK_INT(user->last_offset[0], round ? (int64_t)len : -1);
            user->last_offset[0] = (int64_t)len;
            state_user_dirty(shard, user);
        }
        commit(shard, 1);
        state_shard_trim(shard);
        CHECK(state_cache_bytes(shard) <= options.cache_bytes);
    }
    stop(state, shard);
}

/* Hits, misses, new users, commits: nothing comes from the heap once as much was seen before. */
static void test_no_allocation(void)
{
    struct state_options options = fixture_options();
    struct state *state;
    struct err err = ERR_INIT;
    struct state_shard *shard = start(&state, &options);
    uint64_t before = 0;
    for (uint64_t i = 0; i < 40000; i++) {
        struct fixture_event e;
        struct user *user;
        char key[SCHEMAS_USER_KEY_MAX];
        uint64_t keys[10];
        fixture_random_event(&e, 5, i, 3000);
        if (i == 20000) before = mem_thread_count();
        struct str user_key = fixture_user_key(&e, key);
        CHECK_OK(state_user_get(shard, 0, user_key, &user, &err), err);
        (void)state_user_fold(shard, user, &e.event, 0, (int64_t)i);
        CHECK_OK(state_popularity_add(shard, 0, &e.event, &err), err);
        (void)state_popularity_top(shard, 0, e.event.tenant, 10, keys, NULL, NULL);
        if (i % 50 == 49) {
            commit(shard, (int64_t)i);
            state_shard_trim(shard);
        }
    }
    CHECK_INT(mem_thread_count() - before, 0);
    stop(state, shard);
}

int main(void)
{
    CASE(test_limit);
    CASE(test_pointers_live);
    CASE(test_pinned);
    CASE(test_lru);
    CASE(test_long_keys);
    CASE(test_no_allocation);
    return 0;
}
