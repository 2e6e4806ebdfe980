/* The store: what is written comes back, what is not does not; positions; the identity's refusals; locks. */
#include "tests/state/fixture.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[256];

/* Written state and position come back together after a plain reopen. */
static void test_round_trip(void)
{
    struct state_options options = fixture_options();
    fixture_folder(folder, sizeof folder);
    struct state *state = fixture_open(folder, &options);
    struct stat info;
    CHECK(stat(folder, &info) == 0);
    CHECK_INT(info.st_mode & 0777, 0700);
    CHECK_INT(fixture_position(state, 0, 1), -1);
    struct state_shard *shard = fixture_shard_of(state, 1);
    struct user *user = fixture_get(shard, 1, 3);
    CHECK_INT(user->n_window, 0);
    CHECK_INT(user->last_offset[0], -1);
    fixture_view(shard, user, 5, 1000, 10);
    CHECK(user->encoder == NULL);
    for (int i = 0; i < options.state_floats; i++)
        state_user_encoder(shard, user)[i] = (float)i / 3;
    user->model_id = 77;
    user->last_list[0] = fixture_item(9);
    user->n_last_list = 1;
    fixture_commit(shard, 1, 11);
    fixture_view(shard, user, 6, 2000, 11); /* not written */
    state_shard_free(shard);
    state_close(state);

    state = fixture_open(folder, &options);
    CHECK_INT(fixture_position(state, 0, 1), 11);
    CHECK_INT(fixture_position(state, 1, 1), -1);
    CHECK_INT(fixture_position(state, 0, 2), -1);
    shard = fixture_shard_of(state, 1);
    user = fixture_get(shard, 1, 3);
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

/* ---- from other threads ---- */

/* What somebody on another thread is told of a user. */
struct told {
    int n, n_window;
    int32_t partition;
};

static bool tell(void *context, int32_t partition, struct str key, const struct user *user)
{
    struct told *told = context;
    CHECK(key.len > 0);
    told->n++;
    told->partition = partition;
    told->n_window = user->n_window;
    return false;
}

/* One user of a store that is at work, as the last epoch written left it. */
static void test_user_find(void)
{
    struct err err = ERR_INIT;
    struct told told = {0};
    struct fixture_event event;
    char key[SCHEMAS_USER_KEY_MAX];
    int item = 5;
    struct state_options options = fixture_options();
    fixture_folder(folder, sizeof folder);
    struct state *state = fixture_open(folder, &options);
    struct state_shard *shard = fixture_shard_of(state, 1);
    struct user *user = fixture_get(shard, 1, 3);
    fixture_view(shard, user, 5, 1000, 10);
    fixture_event(&event, EVENT_VIEW, 3, 1000, 0, &item, 1);
    struct str name = fixture_user_key(&event, key);
    CHECK_OK(state_user_find(state, name, tell, &told, &err), err);
    CHECK_INT(told.n, 0); /* not written */
    fixture_commit(shard, 1, 11);
    fixture_view(shard, user, 6, 2000, 11);
    CHECK_OK(state_user_find(state, name, tell, &told, &err), err);
    CHECK_INT(told.n, 1);
    CHECK_INT(told.partition, 1);
    CHECK_INT(told.n_window, 1);
    CHECK_OK(state_user_find(state, STR("nobody"), tell, &told, &err), err);
    CHECK_INT(told.n, 1);
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
    struct state_shard *shard = fixture_shard_of(state, 1);
    struct user *user = fixture_get(shard, 1, 3);
    fixture_view(shard, user, 1, 1000, 0);
    struct state_move first = {0, 1, 1}, second = {0, 1, 2};
    struct state_epoch *one = state_epoch_seal(shard, &first, 1);
    fixture_view(shard, user, 2, 2000, 1);
    struct state_epoch *two = state_epoch_seal(shard, &second, 1);
    fixture_view(shard, user, 3, 3000, 2);
    CHECK(state_pending_bytes(shard) > 0);
    CHECK_OK(state_epoch_write(shard, one, &err), err);
    state_shard_free(shard);

    shard = fixture_shard_of(state, 1);
    CHECK_INT(fixture_position(state, 0, 1), 1);
    CHECK_INT(fixture_get(shard, 1, 3)->n_window, 1);
    CHECK_INT(state_item_id(shard, 1, (struct str){NULL, 0}, fixture_item(1)).len, 6);
    CHECK_INT(state_item_id(shard, 1, (struct str){NULL, 0}, fixture_item(2)).len, 0);
    user = fixture_get(shard, 1, 3);
    fixture_view(shard, user, 2, 2000, 1);
    two = state_epoch_seal(shard, &second, 1);
    fixture_view(shard, user, 3, 3000, 2);
    CHECK_OK(state_epoch_write(shard, two, &err), err);
    fixture_commit(shard, 1, 3); /* the third view was still dirty */
    CHECK_INT(state_pending_bytes(shard), 0);
    state_shard_free(shard);
    shard = fixture_shard_of(state, 1);
    CHECK_INT(fixture_get(shard, 1, 3)->n_window, 3);
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
    struct state_shard *shard = fixture_shard_of(state, 1);
    CHECK_OK(state_partition_open(shard, 2, &err), err);
    fixture_view(shard, fixture_get(shard, 1, 3), 1, 1000, 0);
    for (int i = 0; i < 8; i++) /* the value that stays is longer than one byte of length says */
        fixture_view(shard, fixture_get(shard, 2, 4), i, 1000 + i, i);
    struct state_move moves[] = {{0, 1, 1}, {0, 2, 1}};
    struct state_epoch *epoch = state_epoch_seal(shard, moves, 2);
    fixture_view(shard, fixture_get(shard, 1, 3), 2, 2000, 1);
    fixture_view(shard, fixture_get(shard, 1, 5), 2, 2000, 2);
    state_partition_close(shard, 1);
    CHECK_OK(state_partition_open(shard, 1, &err), err);
    CHECK_INT(fixture_get(shard, 1, 3)->n_window, 0);
    CHECK_INT(state_item_id(shard, 1, (struct str){NULL, 0}, fixture_item(1)).len, 0);
    fixture_view(shard, fixture_get(shard, 1, 3), 9, 1000, 0);
    CHECK_OK(state_epoch_write(shard, epoch, &err), err);
    CHECK_INT(fixture_position(state, 0, 1), -1);
    CHECK_INT(fixture_position(state, 0, 2), 1);
    fixture_commit(shard, 1, 1);
    state_shard_free(shard);
    shard = fixture_shard_of(state, 1);
    CHECK_HEX(fixture_get(shard, 1, 3)->window[0].item, fixture_item(9));
    CHECK_INT(fixture_get(shard, 1, 5)->n_window, 0);
    CHECK_OK(state_partition_open(shard, 2, &err), err);
    CHECK_INT(fixture_get(shard, 2, 4)->n_window, 8);
    for (int i = 0; i < 8; i++)
        CHECK_HEX(fixture_get(shard, 2, 4)->window[i].item, fixture_item(i));
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
    state__identity_encode(&identity, STATE_FORMAT, &value);
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
    struct state_shard *shard = fixture_shard_of(state, 1);
    struct user *user = fixture_get(shard, 1, 3);
    fixture_view(shard, user, 5, 1000, 0);
    (void)state_user_encoder(shard, user);
    user->model_id = 4;
    fixture_commit(shard, 1, 1);
    state_shard_free(shard);
    state_close(state);
    options.state_floats = 12;
    state = fixture_open(folder, &options);
    shard = fixture_shard_of(state, 1);
    user = fixture_get(shard, 1, 3);
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
        struct state_shard *shard = fixture_shard_of(state, 1);
        struct user *user = fixture_get(shard, 1, 3);
        fixture_view(shard, user, 5, 1000, 0);
        state_user_encoder(shard, user)[1] = 2.5f;
        user->model_id = 4;
        struct state_move move = {0, 1, 1};
        struct err err = ERR_INIT;
        struct state_epoch *epoch = state_epoch_seal(shard, &move, 1);
        bytes[rebuild] = epoch->size;
        CHECK_OK(state_epoch_write(shard, epoch, &err), err);
        CHECK_INT(user->model_id, 4); /* in memory it stays */
        state_shard_free(shard);
        shard = fixture_shard_of(state, 1);
        user = fixture_get(shard, 1, 3);
        CHECK_INT(user->model_id, rebuild ? 0 : 4);
        CHECK_INT(user->encoder == NULL, rebuild);
        if (!rebuild) CHECK_NEAR(user->encoder[1], 2.5, 0);
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
    struct state_shard *shard = fixture_shard_of(state, 1);
    struct user *user = fixture_get(shard, 1, 3);
    fixture_view(shard, user, 5, 1000, 10);
    state_user_encoder(shard, user)[2] = 2.5f;
    user->model_id = 1;
    fixture_commit(shard, 1, 11);
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

int main(void)
{
    CASE(test_one_owner_process); /* forks: before RocksDB has threads in this process */
    CASE(test_round_trip);
    CASE(test_user_find);
    CASE(test_epoch_isolation);
    CASE(test_partition_close);
    CASE(test_identity);
    CASE(test_other_model);
    CASE(test_rebuild_encoders);
    CASE(test_one_owner);
    return 0;
}
