/* Rows of items that go together: random puts in epochs against a plain table, a partition that closes, a store from before. */
#include "base/mem.h"
#include "tests/state/fixture.h"

enum { KEYS = 40, TABLES = 3, STEPS = 3000, PARTS = 2 };

static char folder[128];

/* What the store must hold: 0 nothing, else a value of this many bytes of this number. */
static uint8_t naive[PARTS][TABLES][KEYS];

static struct str value_of(uint8_t n, char out[256])
{
    memset(out, n, 256);
    return (struct str){n ? out : NULL, n};
}

struct walk {
    int32_t partition;
    uint8_t table;
    uint64_t last;
    int n;
};

static bool visit(void *context, uint64_t key, struct str value)
{
    struct walk *walk = context;
    char expected[256];
    CHECK(walk->n == 0 || key > walk->last);
    CHECK(key < KEYS);
    struct str same = value_of(naive[walk->partition][walk->table][key], expected);
    CHECK_BYTES(value.ptr, value.len, same.ptr, same.len);
    walk->last = key;
    walk->n++;
    return true;
}

static void compare(struct state *state)
{
    struct err err = ERR_INIT;
    struct buf bytes;
    bool found;
    buf_init(&bytes, 1 << 10);
    for (int32_t p = 0; p < PARTS; p++)
        for (uint8_t t = 0; t < TABLES; t++) {
            struct walk walk = {.partition = p, .table = t};
            int held = 0;
            CHECK_OK(state_related_each(state, p, t, visit, &walk, &err), err);
            for (uint64_t key = 0; key < KEYS; key++) {
                buf_reset(&bytes);
                CHECK_OK(state_related_get(state, p, t, key, &bytes, &found, &err), err);
                CHECK_INT(found, naive[p][t][key] > 0);
                CHECK_INT(bytes.len, naive[p][t][key]);
                held += found;
            }
            CHECK_INT(walk.n, held);
        }
    buf_fini(&bytes);
}

static void test_random_epochs(uint64_t seed)
{
    struct state_options options = fixture_options();
    struct err err = ERR_INIT;
    struct rng rng;
    char bytes[256];
    rng_init(&rng, seed);
    fixture_folder(folder, sizeof folder);
    struct state *state = fixture_open(folder, &options);
    struct state_shard *shard = state_shard_new(state, 0);
    for (int i = 0; i < STEPS; i += 30) {
        struct state_epoch *epoch = state_epoch_seal(shard, NULL, 0);
        for (int k = 0; k < 30; k++) {
            int32_t p = (int32_t)rng_below(&rng, PARTS);
            uint8_t t = (uint8_t)rng_below(&rng, TABLES), n = (uint8_t)rng_below(&rng, 200);
            uint64_t key = rng_below(&rng, KEYS);
            if (rng_below(&rng, 3) == 0) n = 0;
            naive[p][t][key] = n;
            state_related_put(shard, epoch, p, t, key, value_of(n, bytes));
        }
        CHECK(state_pending_bytes(shard) > 0);
        CHECK_OK(state_epoch_write(shard, epoch, &err), err);
        CHECK_INT(state_pending_bytes(shard), 0);
    }
    compare(state);
    state_shard_free(shard);
    state_close(state);
    state = fixture_open(folder, &options);
    compare(state);
    state_close(state);
    fixture_remove(folder);
}

/* What is sealed and not written of a partition that closes is not written later. */
static void test_partition_close(void)
{
    struct state_options options = fixture_options();
    struct err err = ERR_INIT;
    char bytes[256];
    memset(naive, 0, sizeof naive);
    fixture_folder(folder, sizeof folder);
    struct state *state = fixture_open(folder, &options);
    struct state_shard *shard = state_shard_new(state, 0);
    for (int32_t p = 0; p < PARTS; p++)
        CHECK_OK(state_partition_open(shard, p, &err), err);
    struct state_epoch *epoch = state_epoch_seal(shard, NULL, 0);
    for (int32_t p = 0; p < PARTS; p++)
        state_related_put(shard, epoch, p, 1, 7, value_of(9, bytes));
    state_partition_close(shard, 0);
    naive[1][1][7] = 9;
    CHECK_OK(state_epoch_write(shard, epoch, &err), err);
    compare(state);
    state_shard_free(shard);
    state_close(state);
    fixture_remove(folder);
}

/* A store from before: no family `related`, no position of an internal topic, an identity that knows nothing of it. It is read
 * as it is, opens under a configuration that has the internal topic, and goes on. */
static void test_old_store(void)
{
    static const char *const internal[] = {"shop-pairs-repartition"};
    struct state_options options = fixture_options();
    struct state_identity identity = fixture_identity();
    struct err err = ERR_INIT;
    struct buf bytes;
    char *error = NULL, value[256];
    int64_t next;
    bool found;
    buf_init(&bytes, 1 << 10);
    memset(naive, 0, sizeof naive);
    fixture_folder(folder, sizeof folder);
    struct state *state = fixture_open(folder, &options);
    rocksdb_drop_column_family(state->db, state->family[FAMILY_RELATED], &error);
    CHECK(error == NULL);
    state_close(state);
    CHECK_OK(state_open_readonly(&state, folder, &err), err);
    CHECK_OK(state_related_get(state, 0, 1, 7, &bytes, &found, &err), err);
    CHECK(!found);
    compare(state);
    state_close(state);
    identity.internal = internal;
    identity.n_internal = 1;
    CHECK_OK(state_open(&state, folder, &identity, &options, &err), err);
    CHECK_OK(state_position(state, 2, 1, &next, &err), err);
    CHECK_INT(next, -1);
    struct state_shard *shard = state_shard_new(state, 0);
    struct state_move move = {.topic = 2, .partition = 1, .next = 41};
    struct state_epoch *epoch = state_epoch_seal(shard, &move, 1);
    state_related_put(shard, epoch, 1, 2, 3, value_of(5, value));
    naive[1][2][3] = 5;
    CHECK_OK(state_epoch_write(shard, epoch, &err), err);
    state_shard_free(shard);
    state_close(state);
    CHECK_OK(state_open(&state, folder, &identity, &options, &err), err);
    CHECK_OK(state_position(state, 2, 1, &next, &err), err);
    CHECK_INT(next, 41);
    compare(state);
    state_close(state);
    buf_fini(&bytes);
    fixture_remove(folder);
}

int main(void)
{
    uint64_t seed = TEST_SEED();
    test_random_epochs(seed);
    CASE(test_partition_close);
    CASE(test_old_store);
    return 0;
}
