/* Damage to the store: corrupt values and files are told, never read past; a store that went back is noticed. */
#include "tests/state/fixture.h"

#include <dirent.h>
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

int main(void)
{
    CASE(test_corrupt_value);
    CASE(test_corrupt_popularity);
    CASE(test_high_water);
    CASE(test_high_water_behind);
    CASE(test_corrupt_file);
    return 0;
}
