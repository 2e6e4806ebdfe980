/* A partition as records of a log, and back: every prefix up to a marker is the store as of some epoch; bulk is begun again after an unclean
 * stop; what is no record is refused. */
#include <string.h>

#include "base/mem.h"
#include "state/image.h"
#include "tests/state/fixture.h"

enum { USERS = 60, EPOCHS = 40, EVENTS = 15, PARTITION = 1, RECORDS_MAX = 20000 };

static char from_folder[128], to_folder[128];

/* The log: keys and values one behind the other. */
struct record {
    struct str key, value; /* owned; value ptr NULL: a tombstone */
};
static struct record records[RECORDS_MAX];
static int n_records;

static char *copy_of(struct str s)
{
    char *copy = mem_alloc(s.len + 1);
    if (s.len) memcpy(copy, s.ptr, s.len);
    return copy;
}

static void record_add(struct str key, struct str value)
{
    CHECK(n_records < RECORDS_MAX);
    records[n_records++] =
        (struct record){{copy_of(key), key.len}, {value.ptr ? copy_of(value) : NULL, value.len}};
}

static bool change_add(void *context, const struct state_change *change)
{
    (void)context;
    CHECK_INT(change->partition, PARTITION);
    record_add(change->key, change->value);
    return true;
}

static void marker_add(struct state *state, int64_t next)
{
    int64_t positions[2] = {next, -1};
    struct buf value;
    buf_init(&value, 4096);
    state_marker_encode(state, positions, 1000, &value);
    record_add(STATE_MARKER_KEY, (struct str){(const char *)value.data, value.len});
    buf_fini(&value);
}

static void records_free(void)
{
    for (int i = 0; i < n_records; i++) {
        mem_free((void *)(uintptr_t)records[i].key.ptr);
        mem_free((void *)(uintptr_t)records[i].value.ptr);
    }
    n_records = 0;
}

/* Epochs of random events with sessions and related rows that come and go; the log of them; returns the last A_p. */
static int64_t log_make(struct state *state, uint64_t seed)
{
    struct err err = ERR_INIT;
    struct state_shard *shard = fixture_shard_of(state, PARTITION);
    struct fixture_event event;
    struct user *user;
    struct rng rng;
    char key[SCHEMAS_USER_KEY_MAX];
    int64_t next = 0;
    rng_init(&rng, seed);
    for (int epoch = 0; epoch < EPOCHS; epoch++) {
        for (int i = 0; i < EVENTS; i++, next++) {
            fixture_random_event(&event, seed, (uint64_t)next, USERS);
            struct str user_key = fixture_user_key(&event, key);
            CHECK_OK(state_user_get(shard, PARTITION, user_key, &user, &err), err);
            (void)state_user_fold(shard, user, &event.event, 0, next);
            CHECK_OK(state_popularity_add(shard, PARTITION, &event.event, &err), err);
        }
        const struct state_move move = {0, PARTITION, next};
        struct state_epoch *sealed = state_epoch_seal(shard, &move, 1);
        uint64_t items[2] = {rng_below(&rng, 9), 7};
        struct state_session session = {rng_below(&rng, 5), (uint64_t)epoch + 1, 5, items,
                                        (int)rng_below(&rng, 3)};
        state_session_put(shard, sealed, PARTITION, &session);
        bool is_gone = rng_below(&rng, 3) == 0;
        struct str related = {is_gone ? NULL : "row", is_gone ? 0 : 3};
        state_related_put(shard, sealed, PARTITION, 1, rng_below(&rng, 5), related);
        CHECK(state_epoch_changes(sealed, change_add, NULL));
        CHECK_OK(state_epoch_write(shard, sealed, &err), err);
        marker_add(state, next);
    }
    state_shard_free(shard);
    return next;
}

/* ---- comparing ---- */

struct image_rows {
    struct record *list;
    int n;
};

static bool row_note(void *context, const struct state_change *change)
{
    struct image_rows *rows = context;
    rows->list = mem_realloc(rows->list, (size_t)(rows->n + 1) * sizeof *rows->list);
    rows->list[rows->n++] = (struct record){{copy_of(change->key), change->key.len},
                                            {copy_of(change->value), change->value.len}};
    return true;
}

static struct image_rows rows_of(struct state *state)
{
    struct image_rows rows = {0};
    struct err err = ERR_INIT;
    CHECK_OK(state_image_each(state, PARTITION, row_note, &rows, &err), err);
    return rows;
}

static void rows_free(struct image_rows *rows)
{
    for (int i = 0; i < rows->n; i++) {
        mem_free((void *)(uintptr_t)rows->list[i].key.ptr);
        mem_free((void *)(uintptr_t)rows->list[i].value.ptr);
    }
    mem_free(rows->list);
}

static void images_compare(struct state *a, struct state *b)
{
    struct image_rows want = rows_of(a), got = rows_of(b);
    CHECK_INT(got.n, want.n);
    for (int i = 0; i < want.n; i++) {
        CHECK_BYTES(got.list[i].key.ptr, got.list[i].key.len, want.list[i].key.ptr,
                    want.list[i].key.len);
        CHECK_BYTES(got.list[i].value.ptr, got.list[i].value.len, want.list[i].value.ptr,
                    want.list[i].value.len);
    }
    rows_free(&want);
    rows_free(&got);
}

/* ---- putting back ---- */

/* Applies records [from, to); a marker is committed when `commits`, or when it is the last of all. */
static void apply(struct state *state, struct state_image *image, int from, int to, bool commits)
{
    struct err err = ERR_INIT;
    int64_t next[2];
    for (int i = from; i < to; i++) {
        if (state_record_kind(records[i].key) == STATE_RECORD_ROW) {
            CHECK_OK(state_image_row(image, records[i].key, records[i].value, &err), err);
        } else if (commits || i == n_records - 1) {
            const struct state_log log = {.next = i + 1, .wall_ms = 2000};
            CHECK_OK(state_marker_decode(state, records[i].value, next, &err), err);
            CHECK_OK(state_image_commit(image, next, &log, &err), err);
        }
    }
}

static struct state *other_open(void)
{
    struct state_options options = fixture_options();
    return fixture_open(to_folder, &options);
}

static void test_steps(struct state *state, int64_t end)
{
    struct err err = ERR_INIT;
    struct state_log log;
    fixture_folder(to_folder, sizeof to_folder);
    struct state *other = other_open();
    struct state_image *image = state_image_new(other, PARTITION);
    apply(other, image, 0, n_records, true);
    state_image_free(image);
    images_compare(state, other);
    CHECK_INT(fixture_position(other, 0, PARTITION), end);
    CHECK_OK(state_log_get(other, PARTITION, &log, &err), err);
    CHECK_INT(log.next, n_records);
    CHECK_INT(log.sum, end);
    CHECK_INT(log.is_restoring, 0);
    state_close(other);
    fixture_remove(to_folder);
}

/* Dropped in the middle, as by a kill, and begun again from the beginning; then a little more from where it stands. */
static void test_bulk(struct state *state, int64_t end)
{
    struct err err = ERR_INIT;
    struct state_log log;
    fixture_folder(to_folder, sizeof to_folder);
    struct state *other = other_open();
    struct state_image *image = state_image_new(other, PARTITION);
    CHECK_OK(state_image_bulk(image, -1, 0, &err), err);
    apply(other, image, 0, n_records / 2, false);
    state_image_free(image);
    state_close(other);
    other = other_open();
    CHECK_OK(state_log_get(other, PARTITION, &log, &err), err);
    CHECK_INT(log.is_restoring, 1);
    CHECK_INT(log.next, -1);
    image = state_image_new(other, PARTITION);
    CHECK_OK(state_image_bulk(image, log.next, log.wall_ms, &err), err);
    apply(other, image, 0, n_records, false);
    state_image_free(image);
    state_close(other);
    other = other_open();
    images_compare(state, other);
    CHECK_INT(fixture_position(other, 0, PARTITION), end);
    CHECK_OK(state_log_get(other, PARTITION, &log, &err), err);
    CHECK_INT(log.is_restoring, 0);
    CHECK_OK(state_image_wipe(other, PARTITION, &err), err);
    struct image_rows none = rows_of(other);
    CHECK_INT(none.n, 0);
    CHECK_INT(fixture_position(other, 0, PARTITION), -1);
    state_close(other);
    fixture_remove(to_folder);
}

static void key_count(void *context, struct str key)
{
    int *n = context;
    CHECK(key.len > 1);
    (*n)++;
}

/* Rows behind the last marker are told and change nothing. */
static void test_torn(void)
{
    struct err err = ERR_INIT;
    int last = n_records - 1, torn = 0, n = 0;
    fixture_folder(to_folder, sizeof to_folder);
    struct state *other = other_open();
    struct state_image *image = state_image_new(other, PARTITION);
    while (state_record_kind(records[last - 1].key) == STATE_RECORD_ROW)
        last--;
    apply(other, image, 0, last, true);
    struct image_rows before = rows_of(other);
    for (int i = last; i < n_records - 1; i++, torn++)
        CHECK_OK(state_image_row(image, records[i].key, records[i].value, &err), err);
    CHECK(state_image_bytes(image) > 0);
    state_image_drop(image, key_count, &n);
    CHECK_INT(n, torn);
    CHECK_INT(state_image_bytes(image), 0);
    struct image_rows after = rows_of(other);
    CHECK_INT(after.n, before.n);
    rows_free(&before);
    rows_free(&after);
    state_image_free(image);
    state_close(other);
    fixture_remove(to_folder);
}

/* Truncated, lengthened or flipped, a record is a row, or an error, and never more than that; a marker of another store is refused. */
static void test_damage(struct state *state, uint64_t seed)
{
    struct state_image *image = state_image_new(state, PARTITION);
    struct rng rng;
    int refused = 0;
    int64_t next[2];
    rng_init(&rng, seed + 1);
    for (int i = 0; i < n_records; i++) {
        struct err err = ERR_INIT;
        struct record bad = records[i];
        char *value = copy_of(bad.value);
        if (bad.value.len == 0) {
            mem_free(value);
            continue;
        }
        if (rng_below(&rng, 2) == 0)
            bad.value.len = (size_t)rng_below(&rng, (uint32_t)bad.value.len);
        else
            value[rng_below(&rng, (uint32_t)bad.value.len)] ^= (char)(1 + rng_below(&rng, 255));
        bad.value.ptr = value;
        bool ok = state_record_kind(bad.key) == STATE_RECORD_ROW
                      ? state_image_row(image, bad.key, bad.value, &err)
                      : state_marker_decode(state, bad.value, next, &err);
        if (!ok) CHECK_INT(err.exit_code, ERR_EXIT_STORE);
        refused += !ok;
        mem_free(value);
    }
    CHECK(refused > n_records / 4);
    struct err err = ERR_INIT;
    CHECK(!state_image_row(image,
                           (struct str){"\x7f"
                                        "x",
                                        2},
                           (struct str){"y", 1}, &err));
    state_image_free(image);
}

int main(void)
{
    struct state_options options = fixture_options();
    uint64_t seed = TEST_SEED();
    fixture_folder(from_folder, sizeof from_folder);
    struct state *state = fixture_open(from_folder, &options);
    int64_t end = log_make(state, seed);
    test_steps(state, end);
    test_bulk(state, end);
    test_torn();
    test_damage(state, seed);
    records_free();
    state_close(state);
    fixture_remove(from_folder);
    return 0;
}
