/* Damage to the store: corrupt values and files are told, never read past; a store that went back is noticed. */
#include "tests/state/fixture.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[256];

/* Replaces the stored bytes of user 3 of partition 1. */
static void put_user(struct state *state, const char *bytes, size_t len)
{
    struct fixture_event e;
    char key[SCHEMAS_USER_KEY_MAX], stored[STATE_KEY_MAX], *error = NULL;
    fixture_event(&e, EVENT_VIEW, 3, 0, 0, NULL, 0);
    size_t stored_len = state__user_key(1, fixture_user_key(&e, key), stored);
    rocksdb_put_cf(state->db, state->write, state->family[FAMILY_USERS], stored, stored_len, bytes,
                   len, &error);
    CHECK(error == NULL);
}

static bool ignore_user(void *context, int32_t partition, struct str key, const struct user *user)
{
    (void)context, (void)partition, (void)key, (void)user;
    return true;
}

static void test_corrupt_value(void)
{
    struct state_options options = fixture_options();
    struct fixture_event e;
    char key[SCHEMAS_USER_KEY_MAX];
    struct user *user;
    struct err err = ERR_INIT;
    fixture_folder(folder, sizeof folder);
    struct state *state = fixture_open(folder, &options);
    put_user(state, "\1nonsense", 9);
    struct state_shard *shard = fixture_shard_of(state, 1);
    fixture_event(&e, EVENT_VIEW, 3, 0, 0, NULL, 0);
    CHECK_FAIL(state_user_get(shard, 1, fixture_user_key(&e, key), &user, &err), err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_STORE);
    CHECK_CONTAINS(err.text, "rebuild");
    CHECK(strstr(err.text, "user-3") == NULL);        /* a hash, not the id */
    CHECK_INT(fixture_get(shard, 1, 4)->n_window, 0); /* others are read as before */
    CHECK_FAIL(state_users_each(state, ignore_user, NULL, &err), err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_STORE);
    state_shard_free(shard);
    state_close(state);
    fixture_remove(folder);
}

/* A popularity row whose id is not that of its key. */
static void test_corrupt_popularity(void)
{
    struct state_options options = fixture_options();
    struct err err = ERR_INIT;
    char *error = NULL;
    fixture_folder(folder, sizeof folder);
    struct state *state = fixture_open(folder, &options);
    rocksdb_put_cf(state->db, state->write, state->family[FAMILY_POPULARITY],
                   "\0\0\0\1\0\0\0\0\0\0\0\0\0\1", 14, "\1\0\0\0\0\0\0\0\0item", 13, &error);
    CHECK(error == NULL);
    struct state_shard *shard = state_shard_new(state, 0);
    CHECK_OK(state_partition_open(shard, 0, &err), err);
    CHECK_FAIL(state_partition_open(shard, 1, &err), err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_STORE);
    CHECK_CONTAINS(err.text, "popularity");
    state_shard_free(shard);
    state_close(state);
    fixture_remove(folder);
}

/* Calls with the path of each file of the database whose name ends so. */
static void each_file(const char *suffix, void (*visit)(const char *path))
{
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/db", folder);
    DIR *dir = opendir(path);
    CHECK(dir != NULL);
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        size_t len = strlen(entry->d_name), tail = strlen(suffix);
        if (len < tail || strcmp(entry->d_name + len - tail, suffix) != 0) continue;
        (void)snprintf(path, sizeof path, "%s/db/%s", folder, entry->d_name);
        visit(path);
    }
    (void)closedir(dir);
}

static void remove_file(const char *path)
{
    CHECK(unlink(path) == 0);
}

static void remove_files(const char *suffix)
{
    each_file(suffix, remove_file);
}

static void flip_middle(const char *path)
{
    FILE *file = fopen(path, "r+b");
    CHECK(file != NULL && fseek(file, 0, SEEK_END) == 0);
    long middle = ftell(file) / 2;
    if (middle < 8192) { /* positions, popularity: opening reads these whole */
        CHECK(fclose(file) == 0);
        return;
    }
    CHECK(fseek(file, middle, SEEK_SET) == 0);
    int byte = fgetc(file);
    CHECK(fseek(file, middle, SEEK_SET) == 0 && fputc(byte ^ 0x10, file) != EOF);
    CHECK(fclose(file) == 0);
}

static void flip_middles(const char *suffix)
{
    each_file(suffix, flip_middle);
}

/* A lost log opens at an earlier position: the high-water file tells. */
static void test_high_water(void)
{
    struct state_options options = fixture_options();
    struct err err = ERR_INIT;
    fixture_folder(folder, sizeof folder);
    struct state *state = fixture_open(folder, &options);
    struct state_shard *shard = fixture_shard_of(state, 1);
    fixture_view(shard, fixture_get(shard, 1, 3), 1, 1000, 0);
    fixture_commit(shard, 1, 41);
    CHECK_OK(state_sync(state, &err), err);
    CHECK_INT(state__highwater_check(state), 0);
    state_shard_free(shard);
    state_close(state);
    remove_files(".log"); /* a reopen would have moved the log's content into tables */
    state = fixture_open(folder, &options);
    CHECK_INT(fixture_position(state, 0, 1), -1);
    state_close(state); /* the file is now that of the store again */
    state = fixture_open(folder, &options);
    CHECK_INT(state__highwater_check(state), 0);
    state_close(state);
    fixture_remove(folder);
}

/* The check that opening makes: one partition behind of two. */
static void test_high_water_behind(void)
{
    struct state_options options = fixture_options();
    char path[600];
    fixture_folder(folder, sizeof folder);
    struct state *state = fixture_open(folder, &options);
    struct state_shard *shard = fixture_shard_of(state, 1);
    fixture_commit(shard, 1, 41);
    fixture_commit(shard, 2, 7); /* a position needs no open partition */
    (void)snprintf(path, sizeof path, "%s/high-water", folder);
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    CHECK(fputs("freshet-high-water 1\n1 42 clicks\n2 7 clicks\n3 5 gone\nnoise\n", file) >= 0);
    CHECK(fclose(file) == 0);
    CHECK_INT(state__highwater_check(state), 1);
    state_shard_free(shard);
    state_close(state);
    fixture_remove(folder);
}

/* One byte in the middle of the users' table file: a read that meets it is fatal with exit 3, never another value. */
static void test_corrupt_file(void)
{
    struct state_options options = fixture_options();
    struct err err = ERR_INIT;
    struct state *state;
    int refused = 0;
    fixture_folder(folder, sizeof folder);
    for (int round = 0; round < 2; round++) { /* the second opening writes the table files */
        state = fixture_open(folder, &options);
        struct state_shard *shard = fixture_shard_of(state, 1);
        for (int i = 0; i < 300 && round == 0; i++)
            fixture_view(shard, fixture_get(shard, 1, i), i % 60, 1000, i);
        fixture_commit(shard, 1, 300);
        state_shard_free(shard);
        state_close(state);
    }
    flip_middles(".sst");
    state = fixture_open(folder, &options);
    struct state_shard *shard = fixture_shard_of(state, 1);
    for (int i = 0; i < 300; i++) {
        struct fixture_event e;
        char key[SCHEMAS_USER_KEY_MAX];
        struct user *user;
        fixture_event(&e, EVENT_VIEW, i, 0, 0, NULL, 0);
        if (state_user_get(shard, 1, fixture_user_key(&e, key), &user, &err)) {
            CHECK_HEX(user->window[0].item, fixture_item(i % 60));
            continue;
        }
        CHECK_INT(err.class, ERR_FATAL);
        CHECK_INT(err.exit_code, ERR_EXIT_STORE);
        refused++;
    }
    CHECK(refused > 0);
    CHECK_CONTAINS(err.text, "damaged");
    printf("  %d of 300 users refused\n", refused);
    state_shard_free(shard);
    state_close(state);
    fixture_remove(folder);
}

/* ---- quarantine ---- */

/* After the first damage that is met nothing is written any more: not by this process, not by the next. */
static void test_quarantine(void)
{
    struct state_options options = fixture_options();
    struct state_identity identity = fixture_identity();
    struct fixture_event e;
    char key[SCHEMAS_USER_KEY_MAX], path[600];
    struct user *user;
    struct state *again = NULL;
    struct err err = ERR_INIT;
    fixture_folder(folder, sizeof folder);
    struct state *state = fixture_open(folder, &options);
    struct state_shard *shard = fixture_shard_of(state, 1);
    fixture_view(shard, fixture_get(shard, 1, 4), 1, 1000, 0);
    fixture_commit(shard, 1, 1);
    put_user(state, "\1nonsense", 9);
    fixture_event(&e, EVENT_VIEW, 3, 0, 0, NULL, 0);
    CHECK_FAIL(state_user_get(shard, 1, fixture_user_key(&e, key), &user, &err), err, ERR_FATAL);
    fixture_view(shard, fixture_get(shard, 1, 4), 2, 2000, 1);
    struct state_move move = {0, 1, 2};
    struct state_epoch *epoch = state_epoch_seal(shard, &move, 1);
    CHECK_FAIL(state_epoch_write(shard, epoch, &err), err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_STORE);
    CHECK_CONTAINS(err.text, "not written any more");
    CHECK_CONTAINS(err.text, "move the folder away");
    CHECK_FAIL(state_sync(state, &err), err, ERR_FATAL);
    CHECK_INT(fixture_position(state, 0, 1), 1);
    state_shard_free(shard);
    state_close(state);
    CHECK_FAIL(state_open(&again, folder, &identity, &options, &err), err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_STORE);
    CHECK_CONTAINS(err.text, "was found damaged");
    CHECK_CONTAINS(err.text, "user row");
    CHECK_CONTAINS(err.text, "move the folder away");
    CHECK_OK(state_open_readonly(&again, folder, &err), err); /* to look at, it may be opened */
    state_close(again);
    (void)snprintf(path, sizeof path, "%s/damaged", folder);
    CHECK_INT(unlink(path), 0);
    state_close(fixture_open(folder, &options));
    fixture_remove(folder);
}

/* ---- random bytes in each kind of file ---- */

enum { DAMAGE_USERS = 60, DAMAGE_FIRST = 100, DAMAGE_THEN = 40 };

static const char *const file_kinds[] = {".sst",    ".log",     "MANIFEST",  "CURRENT",
                                         "OPTIONS", "IDENTITY", "high-water"};

struct damage_counts {
    int unharmed, rewound, read_refused, open_refused;
};

static char chosen[1024]; /* path of a file of the kind, the largest */
static long chosen_bytes;

static void choose(const char *path)
{
    struct stat status;
    CHECK_INT(stat(path, &status), 0);
    if (status.st_size <= chosen_bytes) return;
    chosen_bytes = (long)status.st_size;
    (void)snprintf(chosen, sizeof chosen, "%s", path);
}

static void choose_named(const char *kind)
{
    char path[1024];
    chosen_bytes = 0;
    if (kind[0] == '.') {
        each_file(kind, choose);
        return;
    }
    (void)snprintf(path, sizeof path, "%s/%s", folder, kind);
    if (access(path, F_OK) == 0) choose(path);
    (void)snprintf(path, sizeof path, "%s/db", folder);
    DIR *dir = opendir(path);
    CHECK(dir != NULL);
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        (void)snprintf(path, sizeof path, "%s/db/%s", folder, entry->d_name);
        if (strncmp(entry->d_name, kind, strlen(kind)) == 0) choose(path);
    }
    (void)closedir(dir);
}

/* Event i is of user i mod DAMAGE_USERS and looks at item i mod 50, so that a stored user says which event it is of. */
static void store_events(int from, int to)
{
    struct state_options options = fixture_options();
    struct state *state = fixture_open(folder, &options);
    struct state_shard *shard = fixture_shard_of(state, 1);
    for (int i = from; i < to; i++) {
        fixture_view(shard, fixture_get(shard, 1, i % DAMAGE_USERS), i % 50, 1000 + i, i);
        fixture_commit(shard, 1, i + 1);
    }
    state_shard_free(shard);
    state_close(state);
}

/* Tables of the first events, a log of the rest; made once, then copied. */
static void store_copy(const char *sound)
{
    char command[1024];
    fixture_folder(folder, sizeof folder);
    (void)snprintf(command, sizeof command, "cp -R %s/. %s", sound, folder);
    CHECK_INT(system(command), 0);
}

static void byte_change(struct rng *rng)
{
    FILE *file = fopen(chosen, "r+b");
    long at = (long)rng_below(rng, (uint64_t)chosen_bytes);
    CHECK(file != NULL && fseek(file, at, SEEK_SET) == 0);
    int byte = fgetc(file);
    CHECK(fseek(file, at, SEEK_SET) == 0);
    CHECK(fputc(byte ^ (1 + (int)rng_below(rng, 255)), file) != EOF);
    CHECK_INT(fclose(file), 0);
}

/* Every user is as of the stored position, or is refused; another value than the true one never comes. */
static int users_check(struct state_shard *shard, int64_t next)
{
    int refused = 0;
    for (int number = 0; number < DAMAGE_USERS; number++) {
        struct fixture_event e;
        char key[SCHEMAS_USER_KEY_MAX];
        struct user *user;
        struct err err = ERR_INIT;
        fixture_event(&e, EVENT_VIEW, number, 0, 0, NULL, 0);
        if (!state_user_get(shard, 1, fixture_user_key(&e, key), &user, &err)) {
            CHECK_INT(err.exit_code, ERR_EXIT_STORE);
            CHECK_CONTAINS(err.text, "move the folder away");
            refused++;
            continue;
        }
        int64_t last = number;
        while (last + DAMAGE_USERS < next)
            last += DAMAGE_USERS;
        if (last >= next) last = -1;
        CHECK_INT(user->last_offset[0], last);
        if (last >= 0)
            CHECK_HEX(user->window[user->n_window - 1].item, fixture_item((int)(last % 50)));
    }
    return refused;
}

static void damaged_open(const char *kind, struct damage_counts *counts)
{
    struct state_options options = fixture_options();
    struct state_identity identity = fixture_identity();
    struct state *state = NULL;
    struct err err = ERR_INIT;
    int64_t next = -1, end = DAMAGE_FIRST + DAMAGE_THEN;
    if (!state_open(&state, folder, &identity, &options, &err)) {
        if (err.exit_code != ERR_EXIT_STORE && err.exit_code != ERR_EXIT_DISK)
            test_fail(__FILE__, __LINE__, "%s: exit %d: %s", kind, (int)err.exit_code, err.text);
        CHECK_CONTAINS(err.text, folder);
        counts->open_refused++;
        return;
    }
    int behind = state__highwater_check(state), refused = 0;
    struct state_shard *shard = state_shard_new(state, 0);
    bool ok = state_position(state, 0, 1, &next, &err) && state_partition_open(shard, 1, &err);
    if (ok) refused = users_check(shard, next);
    if (!ok) CHECK_INT(err.exit_code, ERR_EXIT_STORE);
    CHECK(next <= end);
    /* It went back: somebody is told. */
    if (ok && next < end) CHECK_INT(behind, 1);
    counts->rewound += ok && next < end;
    counts->read_refused += !ok || refused > 0;
    counts->unharmed += ok && refused == 0 && next == end;
    state_shard_free(shard);
    state_close(state);
}

static void test_random_bytes(void)
{
    const char *given = getenv("DAMAGE_ROUNDS");
    int rounds = given ? (int)strtol(given, NULL, 10) : 5;
    char sound[sizeof folder];
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    fixture_folder(folder, sizeof folder);
    store_events(0, DAMAGE_FIRST);
    store_events(DAMAGE_FIRST, DAMAGE_FIRST + DAMAGE_THEN);
    memcpy(sound, folder, sizeof folder);
    for (size_t k = 0; k < sizeof file_kinds / sizeof file_kinds[0]; k++) {
        struct damage_counts counts = {0};
        for (int round = 0; round < rounds; round++) {
            store_copy(sound);
            choose_named(file_kinds[k]);
            CHECK(chosen_bytes > 0);
            byte_change(&rng);
            damaged_open(file_kinds[k], &counts);
            fixture_remove(folder);
        }
        printf(
            "  %-10s %d bytes: %d unharmed, %d rewound and told, %d refused when read, %d refused "
            "when opened\n",
            file_kinds[k], rounds, counts.unharmed, counts.rewound, counts.read_refused,
            counts.open_refused);
    }
}

int main(void)
{
    CASE(test_corrupt_value);
    CASE(test_corrupt_popularity);
    CASE(test_high_water);
    CASE(test_high_water_behind);
    CASE(test_corrupt_file);
    CASE(test_quarantine);
    CASE(test_random_bytes);
    return 0;
}
