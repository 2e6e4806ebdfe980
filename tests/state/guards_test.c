/* Users that were erased: the row goes and a guard stays, late events change nothing, newer ones begin anew; the bytes leave the
 * files; guards expire. */
#include "tests/state/fixture.h"

#include <dirent.h>
#include <unistd.h>

static char folder[256];

/* ---- the files ---- */

static bool file_holds(const char *path, const char *text)
{
    static char bytes[8 << 20];
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    size_t n = fread(bytes, 1, sizeof bytes, file), len = strlen(text);
    bool found = false;
    CHECK(n < sizeof bytes);
    (void)fclose(file);
    for (size_t i = 0; i + len <= n && !found; i++)
        found = memcmp(bytes + i, text, len) == 0;
    return found;
}

/* How many files of the store hold the text. */
static int files_with(const char *text)
{
    char path[600];
    int n = 0;
    (void)snprintf(path, sizeof path, "%s/db", folder);
    DIR *dir = opendir(path);
    CHECK(dir != NULL);
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        (void)snprintf(path, sizeof path, "%s/db/%s", folder, entry->d_name);
        if (entry->d_name[0] == '.' || !file_holds(path, text)) continue;
        printf("    %s holds %s\n", entry->d_name, text);
        n++;
    }
    (void)closedir(dir);
    return n;
}

/* ---- a user ---- */

static struct state_erased erase(struct state_shard *shard, int number, int64_t erased_ms,
                                 int64_t next)
{
    struct fixture_event e;
    char key[SCHEMAS_USER_KEY_MAX];
    struct err err = ERR_INIT;
    struct state_erased what;
    const int64_t seen[] = {next, -1};
    const struct state_erasure how = {erased_ms, seen, 2};
    fixture_event(&e, EVENT_VIEW, number, 0, 0, NULL, 0);
    CHECK_OK(state_user_erase(shard, 1, fixture_user_key(&e, key), &how, &what, &err), err);
    return what;
}

static enum fold_outcome view(struct state_shard *shard, int number, int64_t time_ms,
                              int64_t offset)
{
    struct fixture_event e;
    int item = 5;
    fixture_event(&e, EVENT_VIEW, number, time_ms, 0, &item, 1);
    struct user *user = fixture_get(shard, 1, number);
    return state_user_fold(shard, user, &e.event, 0, offset).outcome;
}

static void purge(struct state *state, int expected)
{
    struct err err = ERR_INIT;
    int n;
    CHECK_OK(state_purge(state, &n, &err), err);
    CHECK_INT(n, expected);
}

/* ---- the cases ---- */

static bool count(void *context, int32_t partition, struct str key, const struct user *user)
{
    (void)partition;
    (void)key;
    (void)user;
    ++*(int *)context;
    return true;
}

static int users_stored(struct state *state)
{
    struct err err = ERR_INIT;
    int n = 0;
    CHECK_OK(state_users_each(state, count, &n, &err), err);
    return n;
}

static void test_erased_user_stays_away(void)
{
    struct state_options options = fixture_options();
    fixture_folder(folder, sizeof folder);
    struct state *state = fixture_open(folder, &options);
    struct state_shard *shard = fixture_shard_of(state, 1);
    for (int number = 41; number < 44; number++)
        CHECK_INT(view(shard, number, 1000, number), FOLD_APPLIED);
    fixture_commit(shard, 1, 44);
    CHECK_INT(users_stored(state), 3);
    CHECK(files_with("user-42") > 0);

    struct state_erased what = erase(shard, 42, 5000, 44);
    CHECK(what.is_found && !what.is_repeated);
    CHECK_INT(what.window, 1);
    CHECK_INT(what.events, 1);
    CHECK_INT(view(shard, 42, 5000, 44), FOLD_ERASED); /* in the same epoch */
    fixture_commit(shard, 1, 45);
    CHECK_INT(users_stored(state), 2);
    purge(state, 1);
    CHECK_INT(files_with("user-42"), 0);
    CHECK(files_with("user-41") > 0);
    purge(state, 0);

    /* From the files: what is late, and what was seen, changes nothing. */
    for (int open = 0; open < 2; open++) {
        state_shard_free(shard);
        state_close(state);
        state = fixture_open(folder, &options);
        shard = fixture_shard_of(state, 1);
        CHECK_INT(view(shard, 42, 4000, 50 + open), FOLD_ERASED);
        CHECK_INT(view(shard, 42, 6000, 43), FOLD_ERASED);
        fixture_commit(shard, 1, 51 + open);
        CHECK_INT(files_with("user-42"), 0);
    }

    /* The same request again is nothing; a newer event begins the user anew, who keeps the guard. */
    CHECK(erase(shard, 42, 5000, 60).is_repeated);
    CHECK_INT(view(shard, 42, 5001, 60), FOLD_APPLIED);
    CHECK_INT(fixture_get(shard, 1, 42)->n_window, 1);
    fixture_commit(shard, 1, 61);
    CHECK_INT(users_stored(state), 3);
    CHECK(erase(shard, 42, 5000, 61).is_repeated);
    CHECK_INT(fixture_get(shard, 1, 42)->n_window, 1);
    state_shard_free(shard);
    state_close(state);
    state = fixture_open(folder, &options);
    shard = fixture_shard_of(state, 1);
    CHECK_INT(view(shard, 42, 4999, 70), FOLD_ERASED);
    CHECK_INT(view(shard, 42, 5002, 71), FOLD_APPLIED);
    CHECK_INT(view(shard, 42, 5003, 60), FOLD_REPLAYED);
    CHECK_INT(view(shard, 99, 4999, 72), FOLD_APPLIED); /* nobody else is concerned */
    state_shard_free(shard);
    state_close(state);
    fixture_remove(folder);
}

/* Erased, back and erased again within one epoch. */
static void test_twice_in_an_epoch(void)
{
    struct state_options options = fixture_options();
    fixture_folder(folder, sizeof folder);
    struct state *state = fixture_open(folder, &options);
    struct state_shard *shard = fixture_shard_of(state, 1);
    CHECK_INT(view(shard, 7, 1000, 0), FOLD_APPLIED);
    CHECK_INT(erase(shard, 7, 2000, 1).window, 1);
    CHECK_INT(view(shard, 7, 2001, 1), FOLD_APPLIED);
    CHECK_INT(erase(shard, 7, 3000, 2).window, 1);
    fixture_commit(shard, 1, 2);
    CHECK_INT(users_stored(state), 0);
    CHECK_INT(view(shard, 7, 2500, 2), FOLD_ERASED);
    purge(state, 1);
    CHECK_INT(files_with("user-7"), 0);
    state_shard_free(shard);
    state_close(state);
    fixture_remove(folder);
}

/* The process ends between write and purge: the next one does it. */
static void test_purge_after_a_stop(void)
{
    struct state_options options = fixture_options();
    fixture_folder(folder, sizeof folder);
    struct state *state = fixture_open(folder, &options);
    struct state_shard *shard = fixture_shard_of(state, 1);
    CHECK_INT(view(shard, 8, 1000, 0), FOLD_APPLIED);
    fixture_commit(shard, 1, 1);
    (void)erase(shard, 8, 2000, 1);
    fixture_commit(shard, 1, 1);
    state_shard_free(shard);
    state_close(state);
    CHECK(files_with("user-8") > 0);
    state = fixture_open(folder, &options);
    purge(state, 0);
    CHECK_INT(files_with("user-8"), 0);
    state_close(state);
    fixture_remove(folder);
}

static void test_guards_expire(void)
{
    struct state_options options = fixture_options();
    struct err err = ERR_INIT;
    int n;
    fixture_folder(folder, sizeof folder);
    struct state *state = fixture_open(folder, &options);
    struct state_shard *shard = fixture_shard_of(state, 1);
    (void)erase(shard, 1, 2000, 1);
    (void)erase(shard, 2, 9000, 1);
    fixture_commit(shard, 1, 1);
    state_shard_free(shard);
    shard = fixture_shard_of(state, 1);
    CHECK_OK(state_guards_expire(shard, 1, 5000, &n, &err), err);
    CHECK_INT(n, 1);
    CHECK_OK(state_guards_expire(shard, 1, 5000, &n, &err), err);
    CHECK_INT(n, 0);
    CHECK_INT(view(shard, 1, 1500, 5), FOLD_APPLIED);
    CHECK_INT(view(shard, 2, 1500, 6), FOLD_ERASED);
    state_shard_free(shard);
    state_close(state);
    fixture_remove(folder);
}

int main(void)
{
    CASE(test_erased_user_stays_away);
    CASE(test_twice_in_an_epoch);
    CASE(test_purge_after_a_stop);
    CASE(test_guards_expire);
    return 0;
}
