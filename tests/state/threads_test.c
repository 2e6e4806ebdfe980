/* Two shards on two threads over one store, while a third syncs: each partition ends as if it had been alone. */
#include "tests/state/fixture.h"

#include "base/sync.h"

enum { EVENTS = 3000, USERS = 200 };

#ifdef FRESHET_SANITIZED
/* RocksDB is not built with TSan, so its atomics are not seen; some of its copies run inside libstdc++. */
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:librocksdb.so\nrace:libstdc++.so.6\ndeadlock:librocksdb.so\n";
}
#endif

static char folder[256];

struct job {
    struct state *state;
    int number; /* of the shard, and its only partition */
    struct flag *done;
};

static void run_shard(void *context)
{
    struct job *job = context;
    struct err err = ERR_INIT;
    struct state_shard *shard = state_shard_new(job->state, job->number);
    CHECK_OK(state_partition_open(shard, job->number, &err), err);
    for (uint64_t i = 0; i < EVENTS; i++) {
        struct fixture_event e;
        struct user *user;
        char key[SCHEMAS_USER_KEY_MAX];
        fixture_random_event(&e, (uint64_t)job->number, i, USERS);
        struct str user_key = fixture_user_key(&e, key);
        CHECK_OK(state_user_get(shard, job->number, user_key, &user, &err), err);
        (void)state_user_fold(shard, user, &e.event, 0, (int64_t)i);
        CHECK_OK(state_popularity_add(shard, job->number, &e.event, &err), err);
        if (i % 30 != 29) continue;
        struct state_move move = {0, job->number, (int64_t)i + 1};
        CHECK_OK(state_epoch_write(shard, state_epoch_seal(shard, &move, 1), &err), err);
        state_shard_trim(shard);
    }
    state_shard_free(shard);
    flag_raise(job->done);
}

struct check {
    struct naive_user users[2][USERS];
    int seen;
};

static bool compare_user(void *context, int32_t partition, struct str key, const struct user *user)
{
    struct check *check = context;
    char name[24] = {0};
    memcpy(name, key.ptr + 2, key.len - 2);
    naive_compare(&check->users[partition][strtol(name + 5, NULL, 10)], user);
    check->seen++;
    return true;
}

static void test_two_shards(void)
{
    static struct check check;
    struct state_options options = fixture_options();
    struct err err = ERR_INIT;
    struct flag done[2] = {{0}};
    struct thread threads[2];
    struct job jobs[2];
    options.shards = 2;
    options.cache_bytes = 512 * 1024;
    fixture_folder(folder, sizeof folder);
    struct state *state = fixture_open(folder, &options);
    for (int s = 0; s < 2; s++) {
        jobs[s] = (struct job){state, s, &done[s]};
        CHECK_OK(thread_start(&threads[s], "shard", run_shard, &jobs[s], &err), err);
    }
    while (!flag_is_raised(&done[0]) || !flag_is_raised(&done[1])) {
        CHECK_OK(state_sync(state, &err), err);
        sync_sleep_ms(5);
    }
    int met = 0;
    for (int s = 0; s < 2; s++) {
        thread_join(&threads[s]);
        for (int u = 0; u < USERS; u++)
            naive_init(&check.users[s][u]);
        for (uint64_t i = 0; i < EVENTS; i++) {
            struct fixture_event e;
            fixture_random_event(&e, (uint64_t)s, i, USERS);
            long u = strtol(e.user + 5, NULL, 10);
            (void)naive_fold(&options, &check.users[s][u], &e.event, 0, (int64_t)i);
        }
        for (int u = 0; u < USERS; u++)
            met += check.users[s][u].last_offset[0] >= 0;
    }
    CHECK_OK(state_users_each(state, compare_user, &check, &err), err);
    CHECK_INT(check.seen, met);
    state_close(state);
    fixture_remove(folder);
}

int main(void)
{
    CASE(test_two_shards);
    return 0;
}
