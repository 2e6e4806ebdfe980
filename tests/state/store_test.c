/* The store: what is written comes back, what is not does not; positions; the identity's refusals; locks; damage. */
#include "tests/state/fixture.h"

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

int main(void)
{
    CASE(test_round_trip);
    return 0;
}
