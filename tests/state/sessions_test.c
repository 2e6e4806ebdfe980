/* Rows of session neighbours: they change with their epoch or not at all, by partition; stores without them; damage. */
#include "tests/state/fixture.h"

#include <stdlib.h>

enum { PARTITIONS = 3, IDS = 40, MOST = 9, ROUNDS = 300 };

static char folder[256];

struct model_session {
    uint64_t recency;
    int64_t last_ms;
    uint64_t items[MOST];
    int n; /* 0 none */
};

/* What the store must hold. */
struct mirror {
    struct model_session sessions[PARTITIONS][IDS];
    struct state_sessions_head head[PARTITIONS];
};

static struct mirror written, sealed;

/* ---- comparing ---- */

struct seen {
    const struct model_session *expected; /* (IDS) */
    int n;
    uint64_t last_id;
};

static bool compare(void *context, const struct state_session *session)
{
    struct seen *seen = context;
    CHECK(session->id < IDS && (seen->n == 0 || session->id > seen->last_id));
    const struct model_session *expected = &seen->expected[session->id];
    CHECK_INT(session->recency, expected->recency);
    CHECK_INT(session->last_ms, expected->last_ms);
    CHECK_BYTES(session->items, (size_t)session->n * 8, expected->items, (size_t)expected->n * 8);
    seen->last_id = session->id;
    seen->n++;
    return true;
}

static void compare_all(struct state *state)
{
    struct err err = ERR_INIT;
    for (int32_t p = 0; p < PARTITIONS; p++) {
        struct seen seen = {.expected = written.sessions[p]};
        struct state_sessions_head head;
        int expected = 0;
        for (int id = 0; id < IDS; id++)
            expected += written.sessions[p][id].n > 0;
        CHECK_OK(state_sessions_each(state, p, &head, compare, &seen, &err), err);
        CHECK_INT(seen.n, expected);
        CHECK_INT(head.clicks, written.head[p].clicks);
        CHECK_INT(head.newest_ms, written.head[p].newest_ms);
    }
}

/* ---- random epochs ---- */

/* Some sessions of one partition change or leave. */
static void change(struct rng *rng, struct state_shard *shard, struct state_epoch *epoch, int32_t p)
{
    struct state_sessions_head *head = &sealed.head[p];
    for (int i = (int)rng_below(rng, 8); i >= 0; i--) {
        uint64_t id = rng_below(rng, IDS);
        struct model_session *s = &sealed.sessions[p][id];
        s->recency = ++head->clicks;
        s->last_ms = head->newest_ms = (int64_t)rng_below(rng, 1000000) - 500000;
        s->n = (int)rng_below(rng, MOST + 1);
        for (int k = 0; k < s->n; k++)
            s->items[k] = rng_u64(rng);
        struct state_session row = {id, s->recency, s->last_ms, s->items, s->n};
        state_session_put(shard, epoch, p, &row);
    }
    state_sessions_head_put(shard, epoch, p, head);
}

static void test_random_epochs(void)
{
    struct state_options options = fixture_options();
    struct err err = ERR_INIT;
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    fixture_folder(folder, sizeof folder);
    struct state *state = fixture_open(folder, &options);
    struct state_shard *shard = fixture_shard_of(state, 1);
    for (int32_t p = 0; p < PARTITIONS; p++)
        written.head[p].newest_ms = INT64_MIN;
    sealed = written;
    for (int round = 0; round < ROUNDS; round++) {
        struct state_move move = {0, 1, round + 1};
        struct state_epoch *epoch = state_epoch_seal(shard, &move, 1);
        size_t before = state_pending_bytes(shard);
        for (int i = 0; i < 2; i++)
            change(&rng, shard, epoch, (int32_t)rng_below(&rng, PARTITIONS));
        CHECK(state_pending_bytes(shard) > before);
        compare_all(state);
        CHECK_OK(state_epoch_write(shard, epoch, &err), err);
        written = sealed;
        compare_all(state);
        CHECK_INT(state_pending_bytes(shard), 0);
        if (rng_below(&rng, 20) > 0) continue;
        state_shard_free(shard);
        state_close(state);
        state = fixture_open(folder, &options);
        shard = fixture_shard_of(state, 1);
    }
    state_shard_free(shard);
    state_close(state);
    fixture_remove(folder);
}

/* A partition that went to another owner takes its rows out of what is not written. */
static void test_partition_close(void)
{
    struct state_options options = fixture_options();
    struct err err = ERR_INIT;
    uint64_t item = 5;
    struct state_session row = {3, 1, 10, &item, 1}, old = {4, 1, 10, &item, 1}, none = {.id = 4};
    struct state_sessions_head head = {1, 10};
    fixture_folder(folder, sizeof folder);
    struct state *state = fixture_open(folder, &options);
    struct state_shard *shard = fixture_shard_of(state, 1);
    CHECK_OK(state_partition_open(shard, 2, &err), err);
    struct state_epoch *before = state_epoch_seal(shard, NULL, 0);
    state_session_put(shard, before, 2, &old);
    CHECK_OK(state_epoch_write(shard, before, &err), err);
    struct state_epoch *epoch = state_epoch_seal(shard, NULL, 0);
    for (int32_t p = 1; p <= 2; p++) {
        state_session_put(shard, epoch, p, &none);
        state_session_put(shard, epoch, p, &row);
        state_sessions_head_put(shard, epoch, p, &head);
    }
    state_partition_close(shard, 1);
    CHECK_OK(state_epoch_write(shard, epoch, &err), err);
    written = (struct mirror){.head = {{0, INT64_MIN}, {0, INT64_MIN}, head}};
    written.sessions[2][3] = (struct model_session){1, 10, {5}, 1};
    compare_all(state);
    state_shard_free(shard);
    state_close(state);
    fixture_remove(folder);
}

/* ---- other stores ---- */

static bool refuse(void *context, const struct state_session *session)
{
    (void)context;
    test_fail(__FILE__, __LINE__, "session %llu was not expected", (unsigned long long)session->id);
    return false;
}

/* A store from before there were sessions is read as it is, and gets their place when its owner opens it. */
static void test_old_store(void)
{
    struct state_options options = fixture_options();
    struct state_sessions_head head;
    struct err err = ERR_INIT;
    char *error = NULL;
    fixture_folder(folder, sizeof folder);
    struct state *state = fixture_open(folder, &options);
    rocksdb_drop_column_family(state->db, state->family[FAMILY_SESSIONS], &error);
    CHECK(error == NULL);
    state_close(state);
    CHECK_OK(state_open_readonly(&state, folder, &err), err);
    CHECK_OK(state_sessions_each(state, 0, &head, refuse, NULL, &err), err);
    CHECK_INT(head.clicks, 0);
    state_close(state);
    state = fixture_open(folder, &options);
    CHECK_OK(state_sessions_each(state, 0, &head, refuse, NULL, &err), err);
    CHECK_INT(head.clicks, 0);
    state_close(state);
    fixture_remove(folder);
}

/* The store has the row; reading it must say that it is damaged. */
static void damaged(const char *key, size_t key_len, const char *value, size_t value_len)
{
    struct state_options options = fixture_options();
    struct state_sessions_head head;
    struct err err = ERR_INIT;
    char *error = NULL;
    fixture_folder(folder, sizeof folder);
    struct state *state = fixture_open(folder, &options);
    rocksdb_put_cf(state->db, state->write, state->family[FAMILY_SESSIONS], key, key_len, value,
                   value_len, &error);
    CHECK(error == NULL);
    CHECK(!state_sessions_each(state, 1, &head, refuse, NULL, &err));
    CHECK_INT(err.exit_code, ERR_EXIT_STORE);
    state_close(state);
    fixture_remove(folder);
}

static void test_damage(void)
{
    static const char key[13] = "\0\0\0\1\0\0\0\0\0\0\0\7"; /* partition 1, session 7 */
    static const char row[26] = "\1\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0";
    damaged(key, 12, row, 17);     /* no items */
    damaged(key, 12, row, 24);     /* half an item */
    damaged(key, 11, row, 25);     /* half a key */
    damaged(key, 12, row + 1, 25); /* recency without a head, version 1 by chance */
    damaged(key, 12, "", 0);
    damaged(key, 12, "\2", 1);
    damaged(key, 4, row, 18); /* a head that is too long */
    damaged(key, 4, row, 16);
    damaged(key, 12, row, 25); /* newer than the head, which is not there */
}

int main(void)
{
    CASE(test_random_epochs);
    CASE(test_partition_close);
    CASE(test_old_store);
    CASE(test_damage);
    return 0;
}
