/* freshet query on a store that was written through state/: ids, ranks, positions, and what it says
 * when there is nothing. */
#include "state/state.h"

#include <stdlib.h>

#include "base/err.h"
#include "tests/app/program.h"
#include "tests/test.h"

static char folder[64];

static const char *const topics[] = {"shop.events"};

static struct state *open_store(void)
{
    char path[128];
    struct err err = ERR_INIT;
    struct state *state;
    struct state_identity identity = {.application_id = "shop",
                                      .cluster_id = "c1",
                                      .topics = topics,
                                      .n_topics = 1,
                                      .n_partitions = 2};
    struct state_options options = {.window_max = 10,
                                    .late_tolerance_ms = 1000,
                                    .cache_bytes = 1 << 20,
                                    .rocksdb_bytes = 16 << 20,
                                    .popularity_max_items = 1000,
                                    .popularity_half_life_ms = 604800000,
                                    .list_size = 20,
                                    .shards = 1};
    for (int t = 0; t < EVENT_TYPE_COUNT; t++)
        options.popularity_weight[t] = 1;
    (void)snprintf(path, sizeof(path), "%s/shop", folder);
    CHECK_OK(state_open(&state, path, &identity, &options, &err), err);
    return state;
}

/* Applies one event of the user to partition 1. */
static void apply(struct state_shard *shard, const char *tenant, const char *user_id,
                  enum event_type type, const char *item_id, int64_t offset)
{
    char key[SCHEMAS_USER_KEY_MAX];
    struct err err = ERR_INIT;
    struct user *user;
    struct event_item item = {.item_id = str_of(item_id), .quantity = 1, .position = -1};
    struct event event = {.type = type,
                          .time_ms = 1736150400000 + offset * 1000,
                          .user_id = str_of(user_id),
                          .tenant = str_of(tenant),
                          .items = &item,
                          .n_items = 1,
                          .consent = true};
    CHECK_OK(state_user_get(shard, 1, schemas_user_key(&event, key), &user, &err), err);
    CHECK_OK(state_popularity_add(shard, 1, &event, &err), err);
    CHECK_INT(state_user_fold(shard, user, &event, 0, offset).outcome, FOLD_APPLIED);
    user->last_list[0] = schemas_item_key(event.tenant, STR("kettle"));
    user->n_last_list = 1;
    state_user_dirty(shard, user);
}

static void write_store(void)
{
    struct err err = ERR_INIT;
    struct state *state = open_store();
    struct state_shard *shard = state_shard_new(state, 0);
    struct state_move move = {.topic = 0, .partition = 1, .next = 6};
    CHECK_OK(state_partition_open(shard, 1, &err), err);
    apply(shard, "", "ann", EVENT_VIEW, "kettle", 0);
    apply(shard, "", "ann", EVENT_PURCHASE, "teapot", 1);
    apply(shard, "", "bob", EVENT_VIEW, "kettle", 2);
    apply(shard, "", "bob", EVENT_DISLIKE, "spoon", 3);
    apply(shard, "b2", "ann", EVENT_VIEW, "hose", 4);
    apply(shard, "", "odd \"name\"", EVENT_VIEW, "kettle", 5);
    CHECK_OK(state_epoch_write(shard, state_epoch_seal(shard, &move, 1), &err), err);
    state_shard_free(shard);
    state_close(state);
}

static void expect(const char *arguments, int code, const char *part)
{
    char all[512];
    (void)snprintf(all, sizeof(all), "query %s --set application.id=shop --set state.dir=%s",
                   arguments, folder);
    int got = program_call(folder, "", all);
    if (got != code) fprintf(stderr, "%s", program_output);
    CHECK_INT(got, code);
    CHECK_CONTAINS(program_output, part);
}

static void users(void)
{
    expect("user ann", 0, "partition 1, 2 events, window of 2");
    CHECK_CONTAINS(program_output, "list      kettle");
    CHECK_CONTAINS(program_output, "bought    teapot");
    CHECK_CONTAINS(program_output, "1736150401000  purchase     teapot");
    CHECK(strstr(program_output, "hose") == NULL); /* the other tenant's ann */
    expect("user ann --tenant b2", 0, "hose");
    expect("user bob --json", 0, "{\"user\":\"bob\",\"partition\":1,\"events\":2,");
    CHECK_CONTAINS(program_output, "\"disliked\":[\"spoon\"]");
    CHECK_CONTAINS(
        program_output,
        "\"window\":[{\"time_ms\":1736150402000,\"type\":\"view\",\"item_id\":\"kettle\"}]}");
    expect("user 'odd \"name\"' --json", 0, "{\"user\":\"odd \\\"name\\\"\",");
    expect("user nobody", ERR_EXIT_USAGE, "knows no user or visitor 'nobody'");
}

static void items(void)
{
    expect("item kettle", 0, "in the windows of 3 users, bought by 0, on the newest lists of 3");
    CHECK_CONTAINS(program_output, "partition 1: popularity rank 1\n");
    expect("item teapot --json", 0, "\"users_seen\":1,\"users_bought\":1,\"lists\":0,");
    CHECK_CONTAINS(program_output, "\"rank\":");
    expect("item hose", ERR_EXIT_USAGE, "knows no item 'hose'");
    expect("item hose --tenant b2", 0, "popularity rank 1");
}

static void positions(void)
{
    expect("position --json", 0, "{\"topic\":\"shop.events\",\"partition\":1,\"next\":6}\n");
    expect("position", 0, "shop.events");
}

static void no_store(void)
{
    char all[512];
    (void)snprintf(all, sizeof(all), "query position --set application.id=other --set state.dir=%s",
                   folder);
    CHECK_INT(program_call(folder, "", all), ERR_EXIT_STORE);
    CHECK_CONTAINS(program_output, "other");
}

int main(void)
{
    char command[128];
    (void)snprintf(folder, sizeof(folder), "/tmp/freshet-query-XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
    write_store();
    CASE(users);
    CASE(items);
    CASE(positions);
    CASE(no_store);
    (void)snprintf(command, sizeof(command), "rm -r %s", folder);
    CHECK_INT(system(command), 0);
    return 0;
}
