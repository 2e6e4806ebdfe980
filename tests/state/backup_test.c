/* Backups: copies taken while a shard writes are each of one moment; what is put back is what was taken; a manifest or a file with
 * any byte changed is refused. */
#include "tests/state/fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sync.h"

enum { COPIES = 6, USERS = 40 };

static char folder[256], elsewhere[256];

/* ---- while it is written ---- */

struct writer {
    struct thread thread;
    struct state *state;
    struct flag stop;
};

/* Every epoch has one event of each user: so in a store as of any moment all users have as many. */
static void write_epochs(void *context)
{
    struct writer *writer = context;
    struct state_shard *shard = fixture_shard_of(writer->state, 1);
    for (int64_t n = 0; !flag_is_raised(&writer->stop); n++) {
        for (int u = 0; u < USERS; u++)
            fixture_view(shard, fixture_get(shard, 1, u), (int)(n % 50), 1000 * n, n * USERS + u);
        fixture_commit(shard, 1, (n + 1) * USERS);
        state_shard_trim(shard);
    }
    state_shard_free(shard);
}

struct counted {
    uint64_t events;
    int users;
};

static bool count_user(void *context, int32_t partition, struct str key, const struct user *user)
{
    struct counted *counted = context;
    (void)partition;
    (void)key;
    if (counted->users++ == 0) counted->events = user->events;
    CHECK_INT(user->events, counted->events);
    return true;
}

/* Returns the events of each user. */
static uint64_t moment_check(const char *copy, const struct state_backup *backup)
{
    struct err err = ERR_INIT;
    struct state *state;
    struct counted counted = {0};
    CHECK_OK(state_open_readonly(&state, copy, &err), err);
    CHECK_OK(state_users_each(state, count_user, &counted, &err), err);
    state_close(state);
    if (backup->n_positions == 0) {
        CHECK_INT(counted.users, 0);
        return 0;
    }
    CHECK_INT(backup->n_positions, 1);
    CHECK_INT(counted.users, USERS);
    CHECK_INT(backup->positions[0].next, counted.events * USERS);
    return counted.events;
}

static void while_it_is_written(void)
{
    struct err err = ERR_INIT;
    struct state_options options = fixture_options();
    struct writer writer = {0};
    uint64_t last = 0;
    fixture_folder(folder, sizeof folder);
    fixture_folder(elsewhere, sizeof elsewhere);
    writer.state = fixture_open(folder, &options);
    CHECK_OK(thread_start(&writer.thread, "writer", write_epochs, &writer, &err), err);
    for (int i = 0; i < COPIES; i++) {
        char name[32], from[320], to[320];
        struct state_backup backup, again;
        sync_sleep_ms(30);
        (void)snprintf(name, sizeof name, "copy-%d", i);
        (void)snprintf(from, sizeof from, "%s/%s", folder, name);
        (void)snprintf(to, sizeof to, "%s/%s", elsewhere, name);
        CHECK_OK(state_checkpoint(writer.state, name, &err), err);
        CHECK_OK(state_backup_write(from, to, 1000 + i, &backup, &err), err);
        uint64_t events = moment_check(to, &backup);
        CHECK(events >= last);
        last = events;
        CHECK_OK(state_backup_check(to, &again, &err), err);
        CHECK_INT(again.taken_ms, 1000 + i);
        CHECK_STR(again.application_id, "shop");
        CHECK_STR(again.topics[1], "purchases");
        CHECK_INT(again.n_positions, backup.n_positions);
        CHECK_INT(again.n_files, backup.n_files);
        state_backup_fini(&backup);
        state_backup_fini(&again);
    }
    flag_raise(&writer.stop);
    thread_join(&writer.thread);
    CHECK(last > 0);
    state_close(writer.state);
    fixture_remove(folder);
    fixture_remove(elsewhere);
}

/* ---- put back ---- */

static void copy_of_three(char *copy, size_t size)
{
    struct err err = ERR_INIT;
    struct state_options options = fixture_options();
    struct state_backup backup;
    struct state_lock *lock;
    char db[320];
    bool is_owned = true;
    fixture_folder(folder, sizeof folder);
    fixture_folder(elsewhere, sizeof elsewhere);
    (void)snprintf(copy, size, "%s/copy", elsewhere);
    (void)snprintf(db, sizeof db, "%s/db", folder);
    CHECK_FAIL(state_lock_take(&lock, folder, &is_owned, &err), err, ERR_FATAL);
    CHECK(!is_owned);
    err = (struct err)ERR_INIT;
    struct state *state = fixture_open(folder, &options);
    struct state_shard *shard = fixture_shard_of(state, 1);
    for (int n = 0; n < 3; n++)
        fixture_view(shard, fixture_get(shard, 1, 7), n, 1000 * n, n);
    fixture_commit(shard, 1, 3);
    state_shard_free(shard);
    state_close(state);
    CHECK_OK(state_lock_take(&lock, folder, NULL, &err), err);
    CHECK_OK(state_backup_write(db, copy, 5, &backup, &err), err);
    state_lock_release(lock);
    state_backup_fini(&backup);
}

static void put_back(void)
{
    struct err err = ERR_INIT;
    struct state_options options = fixture_options();
    char copy[320], other[320];
    struct state_backup backup;
    copy_of_three(copy, sizeof copy);
    /* What is left of one that was cut off is told of, and is no backup. */
    (void)snprintf(other, sizeof other, "%s/cut.partial", elsewhere);
    CHECK_INT(mkdir(other, 0700), 0);
    CHECK_FAIL(state_backup_check(other, &backup, &err), err, ERR_FATAL);
    (void)snprintf(other, sizeof other, "%s/cut", elsewhere);
    err = (struct err)ERR_INIT;
    CHECK_FAIL(state_backup_write(folder, other, 5, &backup, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "cut.partial is left of a backup");
    err = (struct err)ERR_INIT;
    (void)snprintf(other, sizeof other, "%s/a/new/place", elsewhere);
    CHECK_OK(state_backup_restore(copy, other, &err), err);
    struct state_lock *lock;
    CHECK_OK(state_lock_take(&lock, other, NULL, &err), err);
    state_lock_release(lock);
    struct state *state = fixture_open(other, &options);
    struct state_shard *shard = fixture_shard_of(state, 1);
    CHECK_INT(fixture_get(shard, 1, 7)->n_window, 3);
    CHECK_INT(fixture_position(state, 0, 1), 3);
    state_shard_free(shard);
    state_close(state);
    CHECK_OK(state_set_aside(other, "db.aside", &err), err);
    CHECK_OK(state_backup_restore(copy, other, &err), err); /* the copy is as it was */
    CHECK_OK(state_remove(other, &err), err);
    state = fixture_open(other, &options);
    CHECK_INT(fixture_position(state, 0, 1), -1);
    state_close(state);
    fixture_remove(folder);
    fixture_remove(elsewhere);
}

/* ---- damaged ---- */

/* Each byte of the manifest, and one of the file that holds the users. */
static void damaged(void)
{
    struct err err = ERR_INIT;
    struct state_backup backup;
    struct stat info;
    char copy[320], path[340];
    copy_of_three(copy, sizeof copy);
    (void)snprintf(path, sizeof path, "%s/manifest", copy);
    CHECK_INT(stat(path, &info), 0);
    for (off_t at = 0; at < info.st_size; at++) {
        fixture_byte_turn(path, at);
        err = (struct err)ERR_INIT;
        CHECK_FAIL(state_backup_check(copy, &backup, &err), err, ERR_FATAL);
        CHECK_INT(err.exit_code, ERR_EXIT_STORE);
        fixture_byte_turn(path, at);
    }
    err = (struct err)ERR_INIT;
    CHECK_OK(state_backup_check(copy, &backup, &err), err);
    state_backup_fini(&backup);
    (void)snprintf(path, sizeof path, "%s/db/CURRENT", copy);
    fixture_byte_turn(path, 3);
    CHECK_FAIL(state_backup_check(copy, &backup, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "db/CURRENT has other bytes");
    CHECK_INT(unlink(path), 0);
    err = (struct err)ERR_INIT;
    CHECK_FAIL(state_backup_check(copy, &backup, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "db/CURRENT is missing");
    (void)snprintf(path, sizeof path, "%s/manifest", copy);
    CHECK_INT(truncate(path, 30), 0);
    err = (struct err)ERR_INIT;
    CHECK_FAIL(state_backup_check(copy, &backup, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "manifest is damaged");
    err = (struct err)ERR_INIT;
    CHECK_FAIL(state_backup_check(elsewhere, &backup, &err), err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_USAGE);
    fixture_remove(folder);
    fixture_remove(elsewhere);
}

int main(void)
{
    CASE(while_it_is_written);
    CASE(put_back);
    CASE(damaged);
    return 0;
}
