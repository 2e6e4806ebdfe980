/* The store: what is written comes back, what is not does not; positions; the identity's refusals; locks; damage. */
#include "tests/state/fixture.h"

#include <dirent.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[256];

static struct user *get(struct state_shard *shard, int32_t partition, int number)
{
    struct fixture_event e;
    char key[SCHEMAS_USER_KEY_MAX];
    struct user *user = NULL;
    struct err err = ERR_INIT;
    fixture_event(&e, EVENT_VIEW, number, 0, 0, NULL, 0);
    CHECK_OK(state_user_get(shard, partition, fixture_user_key(&e, key), &user, &err), err);
    return user;
}

static void view(struct state_shard *shard, struct user *user, int item, int64_t time_ms,
                 int64_t offset)
{
    struct fixture_event e;
    struct err err = ERR_INIT;
    fixture_event(&e, EVENT_VIEW, 0, time_ms, 0, &item, 1);
    struct fold_result result = state_user_fold(shard, user, &e.event, 0, offset);
    CHECK_INT(result.outcome, FOLD_APPLIED);
    CHECK_OK(state_popularity_add(shard, 1, &e.event, &err), err);
}

static struct state_shard *shard_of(struct state *state, int32_t partition)
{
    struct err err = ERR_INIT;
    struct state_shard *shard = state_shard_new(state, 0);
    CHECK_OK(state_partition_open(shard, partition, &err), err);
    return shard;
}

static void commit(struct state_shard *shard, int32_t partition, int64_t next)
{
    struct err err = ERR_INIT;
    struct state_move move = {.topic = 0, .partition = partition, .next = next};
    struct state_epoch *epoch = state_epoch_seal(shard, &move, 1);
    CHECK_OK(state_epoch_write(shard, epoch, &err), err);
}

static int64_t position(struct state *state, int topic, int32_t partition)
{
    int64_t next = -7;
    struct err err = ERR_INIT;
    CHECK_OK(state_position(state, topic, partition, &next, &err), err);
    return next;
}

/* Written state and position come back together after a plain reopen. */
static void test_round_trip(void)
{
    struct state_options options = fixture_options();
    fixture_folder(folder, sizeof folder);
    struct state *state = fixture_open(folder, &options);
    struct stat info;
    CHECK(stat(folder, &info) == 0);
    CHECK_INT(info.st_mode & 0777, 0700);
    CHECK_INT(position(state, 0, 1), -1);
    struct state_shard *shard = shard_of(state, 1);
    struct user *user = get(shard, 1, 3);
    CHECK_INT(user->n_window, 0);
    CHECK_INT(user->last_offset[0], -1);
    view(shard, user, 5, 1000, 10);
    user->model_id = 77;
    for (int i = 0; i < options.state_floats; i++)
        user->encoder[i] = (float)i / 3;
    user->last_list[0] = fixture_item(9);
    user->n_last_list = 1;
    commit(shard, 1, 11);
    view(shard, user, 6, 2000, 11); /* not written */
    state_shard_free(shard);
    state_close(state);

    state = fixture_open(folder, &options);
    CHECK_INT(position(state, 0, 1), 11);
    CHECK_INT(position(state, 1, 1), -1);
    CHECK_INT(position(state, 0, 2), -1);
    shard = shard_of(state, 1);
    user = get(shard, 1, 3);
    CHECK_INT(user->n_window, 1);
    CHECK_HEX(user->window[0].item, fixture_item(5));
    CHECK_INT(user->last_offset[0], 10);
    CHECK_INT(user->model_id, 77);
    CHECK_NEAR(user->encoder[5], 5.0f / 3, 0);
    CHECK_HEX(user->last_list[0], fixture_item(9));
    struct str id = state_item_id(shard, 1, (struct str){NULL, 0}, fixture_item(5));
    CHECK_BYTES(id.ptr, id.len, "item-5", 6);
    CHECK_INT(state_item_id(shard, 1, (struct str){NULL, 0}, fixture_item(6)).len, 0);
    state_shard_free(shard);
    state_close(state);
    fixture_remove(folder);
}

/* ---- epochs ---- */

/* What changes after seal is not in the epoch; the user stays to be written. */
static void test_epoch_isolation(void)
{
    struct state_options options = fixture_options();
    struct err err = ERR_INIT;
    fixture_folder(folder, sizeof folder);
    struct state *state = fixture_open(folder, &options);
    struct state_shard *shard = shard_of(state, 1);
    struct user *user = get(shard, 1, 3);
    view(shard, user, 1, 1000, 0);
    struct state_move first = {0, 1, 1}, second = {0, 1, 2};
    struct state_epoch *one = state_epoch_seal(shard, &first, 1);
    view(shard, user, 2, 2000, 1);
    struct state_epoch *two = state_epoch_seal(shard, &second, 1);
    view(shard, user, 3, 3000, 2);
    CHECK(state_pending_bytes(shard) > 0);
    CHECK_OK(state_epoch_write(shard, one, &err), err);
    state_shard_free(shard);

    shard = shard_of(state, 1);
    CHECK_INT(position(state, 0, 1), 1);
    CHECK_INT(get(shard, 1, 3)->n_window, 1);
    CHECK_INT(state_item_id(shard, 1, (struct str){NULL, 0}, fixture_item(1)).len, 6);
    CHECK_INT(state_item_id(shard, 1, (struct str){NULL, 0}, fixture_item(2)).len, 0);
    user = get(shard, 1, 3);
    view(shard, user, 2, 2000, 1);
    two = state_epoch_seal(shard, &second, 1);
    view(shard, user, 3, 3000, 2);
    CHECK_OK(state_epoch_write(shard, two, &err), err);
    commit(shard, 1, 3); /* the third view was still dirty */
    CHECK_INT(state_pending_bytes(shard), 0);
    state_shard_free(shard);
    shard = shard_of(state, 1);
    CHECK_INT(get(shard, 1, 3)->n_window, 3);
    state_shard_free(shard);
    state_close(state);
    fixture_remove(folder);
}

/* A closed partition loses what was not written, sealed or not; other partitions of the same epoch do not. */
static void test_partition_close(void)
{
    struct state_options options = fixture_options();
    struct err err = ERR_INIT;
    fixture_folder(folder, sizeof folder);
    struct state *state = fixture_open(folder, &options);
    struct state_shard *shard = shard_of(state, 1);
    CHECK_OK(state_partition_open(shard, 2, &err), err);
    view(shard, get(shard, 1, 3), 1, 1000, 0);
    view(shard, get(shard, 2, 4), 1, 1000, 0);
    struct state_move moves[] = {{0, 1, 1}, {0, 2, 1}};
    struct state_epoch *epoch = state_epoch_seal(shard, moves, 2);
    view(shard, get(shard, 1, 3), 2, 2000, 1);
    view(shard, get(shard, 1, 5), 2, 2000, 2);
    state_partition_close(shard, 1);
    CHECK_OK(state_partition_open(shard, 1, &err), err);
    CHECK_INT(get(shard, 1, 3)->n_window, 0);
    CHECK_INT(state_item_id(shard, 1, (struct str){NULL, 0}, fixture_item(1)).len, 0);
    view(shard, get(shard, 1, 3), 9, 1000, 0);
    CHECK_OK(state_epoch_write(shard, epoch, &err), err);
    CHECK_INT(position(state, 0, 1), -1);
    CHECK_INT(position(state, 0, 2), 1);
    commit(shard, 1, 1);
    state_shard_free(shard);
    shard = shard_of(state, 1);
    CHECK_HEX(get(shard, 1, 3)->window[0].item, fixture_item(9));
    CHECK_INT(get(shard, 1, 5)->n_window, 0);
    CHECK_OK(state_partition_open(shard, 2, &err), err);
    CHECK_INT(get(shard, 2, 4)->n_window, 1);
    state_shard_free(shard);
    state_close(state);
    fixture_remove(folder);
}

/* ---- identity (I5) ---- */

static void refuse(const struct state_identity *identity, const char *has, const char *given,
                   const char *todo)
{
    struct state_options options = fixture_options();
    struct state *state = NULL;
    struct err err = ERR_INIT;
    CHECK_FAIL(state_open(&state, folder, identity, &options, &err), err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_STORE);
    CHECK_CONTAINS(err.text, has);
    CHECK_CONTAINS(err.text, given);
    CHECK_CONTAINS(err.text, todo);
    CHECK(strchr(err.text, '\n') == NULL);
}

/* Overwrites the stored identity's format. */
static void set_format(uint8_t format)
{
    struct state_options options = fixture_options();
    struct state_identity identity = fixture_identity();
    struct state *state = fixture_open(folder, &options);
    struct buf value;
    char *error = NULL;
    buf_init(&value, 4096);
    state__identity_encode(&identity, &value);
    value.data[4] = format;
    rocksdb_put_cf(state->db, state->write, state->family[FAMILY_META], "identity", 8,
                   (char *)value.data, value.len, &error);
    CHECK(error == NULL);
    buf_fini(&value);
    state_close(state);
}

static void test_identity(void)
{
    struct state_options options = fixture_options();
    fixture_folder(folder, sizeof folder);
    state_close(fixture_open(folder, &options));
    struct state_identity other = fixture_identity();
    other.application_id = "mall";
    refuse(&other, "application.id \"shop\"", "\"mall\"", "state.dir");
    other = fixture_identity();
    other.cluster_id = "cluster-2";
    refuse(&other, "cluster \"cluster-1\"", "\"cluster-2\"", "bootstrap.servers");
    other = fixture_identity();
    static const char *const swapped[] = {"purchases", "clicks"};
    other.topics = swapped;
    refuse(&other, "clicks,purchases", "purchases,clicks", "events.topics");
    other = fixture_identity();
    other.n_topics = 1;
    refuse(&other, "clicks,purchases", "says clicks", "events.topics");
    other = fixture_identity();
    other.n_partitions = 8;
    refuse(&other, "4 partitions", "8", "rebuild");
    state_close(fixture_open(folder, &options)); /* refusals changed nothing */
    set_format(STATE_FORMAT + 1);
    other = fixture_identity();
    refuse(&other, "format 2", "newer", "run the newer");
    fixture_remove(folder);
    fixture_folder(folder, sizeof folder);
    state_close(fixture_open(folder, &options));
    set_format(0);
    refuse(&other, "format 0", "older", "rebuild");
    fixture_remove(folder);
}

/* A model of another size: users stay, their encoder states go. */
static void test_other_model(void)
{
    struct state_options options = fixture_options();
    fixture_folder(folder, sizeof folder);
    struct state *state = fixture_open(folder, &options);
    struct state_shard *shard = shard_of(state, 1);
    struct user *user = get(shard, 1, 3);
    view(shard, user, 5, 1000, 0);
    user->model_id = 4;
    commit(shard, 1, 1);
    state_shard_free(shard);
    state_close(state);
    options.state_floats = 12;
    state = fixture_open(folder, &options);
    shard = shard_of(state, 1);
    user = get(shard, 1, 3);
    CHECK_INT(user->model_id, 0);
    CHECK_INT(user->n_window, 1);
    state_shard_free(shard);
    state_close(state);
    fixture_remove(folder);
}

/* With rebuild_encoders a user comes back without encoder state, the rest as it was; values are 4 S bytes smaller. */
static void test_rebuild_encoders(void)
{
    struct state_options options = fixture_options();
    size_t bytes[2];
    for (int rebuild = 0; rebuild < 2; rebuild++) {
        options.rebuild_encoders = rebuild;
        fixture_folder(folder, sizeof folder);
        struct state *state = fixture_open(folder, &options);
        struct state_shard *shard = shard_of(state, 1);
        struct user *user = get(shard, 1, 3);
        view(shard, user, 5, 1000, 0);
        user->model_id = 4;
        user->encoder[1] = 2.5f;
        struct state_move move = {0, 1, 1};
        struct err err = ERR_INIT;
        struct state_epoch *epoch = state_epoch_seal(shard, &move, 1);
        bytes[rebuild] = epoch->bytes.len;
        CHECK_OK(state_epoch_write(shard, epoch, &err), err);
        CHECK_INT(user->model_id, 4); /* in memory it stays */
        state_shard_free(shard);
        shard = shard_of(state, 1);
        user = get(shard, 1, 3);
        CHECK_INT(user->model_id, rebuild ? 0 : 4);
        CHECK_NEAR(user->encoder[1], rebuild ? 0 : 2.5, 0);
        CHECK_HEX(user->window[0].item, fixture_item(5));
        state_shard_free(shard);
        state_close(state);
        fixture_remove(folder);
    }
    CHECK_INT(bytes[0] - bytes[1], (int)sizeof(float) * options.state_floats);
}

/* ---- one owner (I6), readers beside it ---- */

static bool count_user(void *context, int32_t partition, struct str key, const struct user *user)
{
    CHECK_INT(partition, 1);
    CHECK_BYTES(key.ptr, key.len, "\0uuser-3", 8);
    CHECK_INT(user->n_window, 1);
    CHECK_NEAR(user->encoder[2], 2.5, 0);
    ++*(int *)context;
    return true;
}

static bool count_position(void *context, const char *topic, int32_t partition, int64_t next)
{
    CHECK_STR(topic, "clicks");
    CHECK_INT(partition, 1);
    CHECK_INT(next, 11);
    ++*(int *)context;
    return true;
}

static void read_beside(void)
{
    struct err err = ERR_INIT;
    struct state *reader = NULL;
    int users = 0, positions = 0;
    CHECK_OK(state_open_readonly(&reader, folder, &err), err);
    CHECK_OK(state_users_each(reader, count_user, &users, &err), err);
    CHECK_OK(state_positions_each(reader, count_position, &positions, &err), err);
    CHECK_INT(users, 1);
    CHECK_INT(positions, 1);
    state_close(reader);
}

static void test_one_owner(void)
{
    struct state_options options = fixture_options();
    struct state_identity identity = fixture_identity();
    struct state *second = NULL;
    struct err err = ERR_INIT;
    fixture_folder(folder, sizeof folder);
    struct state *state = fixture_open(folder, &options);
    struct state_shard *shard = shard_of(state, 1);
    struct user *user = get(shard, 1, 3);
    view(shard, user, 5, 1000, 10);
    user->model_id = 1;
    user->encoder[2] = 2.5f;
    commit(shard, 1, 11);
    CHECK_FAIL(state_open(&second, folder, &identity, &options, &err), err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_STORE);
    CHECK_CONTAINS(err.text, "another process owns");
    read_beside();
    state_shard_free(shard);
    state_close(state);
    read_beside();
    fixture_remove(folder);
    CHECK_FAIL(state_open_readonly(&second, "/nowhere/at/all", &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "/nowhere/at/all");
}

/* The same from another process, which is how it happens. */
static void test_one_owner_process(void)
{
    struct state_options options = fixture_options();
    struct state_identity identity = fixture_identity();
    struct err err = ERR_INIT;
    int ready[2], done[2];
    char byte = 0;
    fixture_folder(folder, sizeof folder);
    CHECK(pipe(ready) == 0 && pipe(done) == 0);
    pid_t child = fork();
    if (child == 0) {
        struct state *state = fixture_open(folder, &options);
        CHECK(write(ready[1], "x", 1) == 1);
        (void)!read(done[0], &byte, 1);
        state_close(state);
        _exit(0);
    }
    CHECK(read(ready[0], &byte, 1) == 1);
    struct state *second = NULL;
    CHECK_FAIL(state_open(&second, folder, &identity, &options, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "another process owns");
    CHECK(write(done[1], "x", 1) == 1);
    int status = -1;
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
    state_close(fixture_open(folder, &options));
    fixture_remove(folder);
}

/* ---- damage ---- */

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
    struct state_shard *shard = shard_of(state, 1);
    fixture_event(&e, EVENT_VIEW, 3, 0, 0, NULL, 0);
    CHECK_FAIL(state_user_get(shard, 1, fixture_user_key(&e, key), &user, &err), err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_STORE);
    CHECK_CONTAINS(err.text, "rebuild");
    CHECK(strstr(err.text, "user-3") == NULL); /* a hash, not the id */
    CHECK_INT(get(shard, 1, 4)->n_window, 0);  /* others are read as before */
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
    struct state_shard *shard = shard_of(state, 1);
    view(shard, get(shard, 1, 3), 1, 1000, 0);
    commit(shard, 1, 41);
    CHECK_OK(state_sync(state, &err), err);
    CHECK_INT(state__highwater_check(state), 0);
    state_shard_free(shard);
    state_close(state);
    remove_files(".log"); /* a reopen would have moved the log's content into tables */
    state = fixture_open(folder, &options);
    CHECK_INT(position(state, 0, 1), -1);
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
    struct state_shard *shard = shard_of(state, 1);
    commit(shard, 1, 41);
    commit(shard, 2, 7); /* a position needs no open partition */
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
        struct state_shard *shard = shard_of(state, 1);
        for (int i = 0; i < 300 && round == 0; i++)
            view(shard, get(shard, 1, i), i % 60, 1000, i);
        commit(shard, 1, 300);
        state_shard_free(shard);
        state_close(state);
    }
    flip_middles(".sst");
    state = fixture_open(folder, &options);
    struct state_shard *shard = shard_of(state, 1);
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
    CASE(test_one_owner_process); /* forks: before RocksDB has threads in this process */
    CASE(test_round_trip);
    CASE(test_epoch_isolation);
    CASE(test_partition_close);
    CASE(test_identity);
    CASE(test_other_model);
    CASE(test_rebuild_encoders);
    CASE(test_one_owner);
    CASE(test_corrupt_value);
    CASE(test_corrupt_popularity);
    CASE(test_high_water);
    CASE(test_high_water_behind);
    CASE(test_corrupt_file);
    return 0;
}
