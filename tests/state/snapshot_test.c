/* Snapshots: what is put back is what was taken, whatever the store did since; files are shared with the snapshot before; one that
 * was cut off, is damaged or foreign is told from the others, and never becomes a store in part. */
#include "tests/state/fixture.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { USERS = 30, NAMES = 8 };

static char folder[256], elsewhere[256], place[300];
static int epochs;

/* One event more of each user; a table file of its own when asked to. */
static void epoch_write(struct state *state, bool is_flushed)
{
    struct state_shard *shard = fixture_shard_of(state, 1);
    char *error = NULL;
    for (int u = 0; u < USERS; u++)
        fixture_view(shard, fixture_get(shard, 1, u), epochs % 50, 1000 * epochs,
                     epochs * USERS + u);
    epochs++;
    fixture_commit(shard, 1, epochs * USERS);
    state_shard_free(shard);
    if (is_flushed) state__files_flush(state->db, state->family[FAMILY_USERS], &error);
    CHECK(!error);
}

static bool user_see(void *context, int32_t partition, struct str key, const struct user *user)
{
    (void)partition;
    (void)key;
    CHECK_INT(user->events, *(int *)context);
    return true;
}

/* The store in a folder is whole, as after so many epochs. */
static void store_check(const char *in, int want)
{
    struct err err = ERR_INIT;
    struct state_options options = fixture_options();
    struct state *state = fixture_open(in, &options);
    CHECK_INT(fixture_position(state, 0, 1), want * USERS);
    state_close(state);
    CHECK_OK(state_open_readonly(&state, in, &err), err);
    CHECK_OK(state_users_each(state, user_see, &want, &err), err);
    state_close(state);
}

static uint64_t moved_bytes;

static void moved(void *context, uint64_t bytes)
{
    (void)context;
    moved_bytes += bytes;
}

static struct state_snapshot_taken take(struct state *state, const char *before, int64_t now_ms)
{
    struct err err = ERR_INIT;
    struct state_snapshot_taken taken;
    CHECK_OK(state_snapshot_take(state, place, before, now_ms, &taken, &err), err);
    return taken;
}

static struct state *begin(void)
{
    struct err err = ERR_INIT;
    struct state_options options = fixture_options();
    struct state_lock *lock;
    fixture_folder(folder, sizeof folder);
    fixture_folder(elsewhere, sizeof elsewhere);
    (void)snprintf(place, sizeof place, "%s/shop/0", elsewhere);
    CHECK_OK(state_snapshots_open(place, &lock, &err), err);
    state_lock_release(lock);
    epochs = 0;
    return fixture_open(folder, &options);
}

static void end(void)
{
    fixture_remove(folder);
    fixture_remove(elsewhere);
}

static void restore_check(const char *name, int want)
{
    struct err err = ERR_INIT;
    struct state_backup backup;
    struct state_identity identity = fixture_identity();
    char to[320];
    (void)snprintf(to, sizeof to, "%s/new", elsewhere);
    CHECK_OK(state_snapshot_read(place, name, &identity, &backup, &err), err);
    moved_bytes = 0;
    CHECK_OK(state_snapshot_restore(place, name, to, moved, NULL, &err), err);
    CHECK_INT(moved_bytes, backup.bytes);
    state_backup_fini(&backup);
    store_check(to, want);
    fixture_remove(to);
}

/* ---- taken and put back ---- */

static void as_it_was_taken(void)
{
    struct err err = ERR_INIT;
    struct state_snapshot_name names[NAMES];
    struct state *state = begin();
    CHECK_INT(state_snapshots_list(place, names, NAMES), 0);
    epoch_write(state, true);
    epoch_write(state, false);
    struct state_snapshot_taken first = take(state, "", 1700000000000);
    CHECK(first.files > 3 && first.bytes > 0);
    /* The same disk: table files are shared with the store. */
    CHECK(first.bytes_new < first.bytes);
    epoch_write(state, true);
    (void)take(state, "snapshot-1700000000000", 1700000005000);
    CHECK_INT(state_snapshots_list(place, names, NAMES), 2);
    CHECK_STR(names[0].text, "snapshot-1700000005000");
    CHECK_INT(names[1].taken_ms, 1700000000000);
    CHECK_INT(state_snapshots_list(place, names, 1), 1);
    CHECK_STR(names[0].text, "snapshot-1700000005000");
    for (int i = 0; i < 3; i++)
        epoch_write(state, true);
    restore_check("snapshot-1700000000000", 2);
    restore_check("snapshot-1700000005000", 3);
    CHECK_OK(state_snapshot_remove(place, "snapshot-1700000000000", &err), err);
    CHECK_INT(state_snapshots_list(place, names, NAMES), 1);
    restore_check("snapshot-1700000005000", 3); /* what it shared is still there */
    state_close(state);
    store_check(folder, 6);
    end();
}

/* A store that was put back goes on with file numbers that the snapshot before knows by other bytes. */
static void same_names(void)
{
    struct err err = ERR_INIT;
    struct state_options options = fixture_options();
    struct state *state = begin();
    char again[320];
    epoch_write(state, true);
    (void)take(state, "", 1700000000000);
    epoch_write(state, true);
    (void)take(state, "snapshot-1700000000000", 1700000001000);
    state_close(state);
    (void)snprintf(again, sizeof again, "%s/again", elsewhere);
    CHECK_OK(state_snapshot_restore(place, "snapshot-1700000000000", again, moved, NULL, &err),
             err);
    state = fixture_open(again, &options);
    epochs = 1;
    for (int i = 0; i < 2; i++)
        epoch_write(state, true);
    (void)take(state, "snapshot-1700000001000", 1700000002000);
    state_close(state);
    restore_check("snapshot-1700000002000", 3);
    restore_check("snapshot-1700000001000", 2);
    end();
}

/* ---- cut off, damaged, foreign ---- */

static void cut_off(void)
{
    struct err err = ERR_INIT;
    struct state_snapshot_name names[NAMES];
    struct state_lock *lock;
    struct state_snapshot_taken taken;
    char path[400], store[320];
    struct state *state = begin();
    epoch_write(state, true);
    /* What a kill left of one, of its checkpoint, and of one that was put back. */
    (void)snprintf(path, sizeof path, "%s/snapshot-1700000000000.partial", place);
    CHECK_INT(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/snapshot-1700000000000.partial/db", place);
    CHECK_INT(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/db.snapshot", folder);
    CHECK_INT(mkdir(path, 0700), 0);
    CHECK_INT(state_snapshots_list(place, names, NAMES), 0);
    CHECK_OK(state_snapshots_open(place, &lock, &err), err);
    state_lock_release(lock);
    (void)snprintf(path, sizeof path, "%s/snapshot-1700000000000.partial", place);
    CHECK(access(path, F_OK) != 0);
    (void)take(state, "", 1700000000000);
    (void)snprintf(path, sizeof path, "%s/db.snapshot", folder);
    CHECK(access(path, F_OK) != 0);
    (void)snprintf(store, sizeof store, "%s/new", elsewhere);
    CHECK_INT(mkdir(store, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/db.restoring", store);
    CHECK_INT(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/db.restoring/CURRENT", store);
    (void)close(open(path, O_CREAT | O_WRONLY, 0600));
    restore_check("snapshot-1700000000000", 1);
    /* A place that cannot be written: none is taken, and nothing is left. */
    (void)snprintf(path, sizeof path, "%s/lock", place);
    CHECK_FAIL(state_snapshot_take(state, path, "", 1700000003000, &taken, &err), err, ERR_FATAL);
    (void)snprintf(path, sizeof path, "%s/db.snapshot", folder);
    CHECK(access(path, F_OK) != 0);
    state_close(state);
    end();
}

struct turning {
    const char *db;
    int n;
};

/* Each file of the snapshot with a byte changed: none becomes a store. */
static bool file_turn(void *context, const char *name)
{
    struct turning *turning = context;
    char path[800], to[320], db[340];
    struct stat info;
    struct err err = ERR_INIT;
    (void)snprintf(path, sizeof path, "%s/%s", turning->db, name);
    (void)snprintf(to, sizeof to, "%s/new", elsewhere);
    (void)snprintf(db, sizeof db, "%s/db", to);
    CHECK_INT(stat(path, &info), 0);
    if (info.st_size == 0) return true;
    fixture_byte_turn(path, info.st_size / 2);
    CHECK_FAIL(state_snapshot_restore(place, "snapshot-1700000000000", to, moved, NULL, &err), err,
               ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_STORE);
    CHECK_CONTAINS(err.text, "has other bytes than when it was taken");
    CHECK(access(db, F_OK) != 0);
    fixture_byte_turn(path, info.st_size / 2);
    turning->n++;
    return true;
}

static void damaged(void)
{
    struct err err = ERR_INIT;
    struct state_backup backup;
    struct state_identity identity = fixture_identity();
    char path[400];
    struct state *state = begin();
    epoch_write(state, true);
    (void)take(state, "", 1700000000000);
    state_close(state);
    (void)snprintf(path, sizeof path, "%s/snapshot-1700000000000/db", place);
    struct turning turning = {.db = path};
    CHECK_OK(state__folder_each(path, file_turn, &turning, &err), err);
    CHECK(turning.n > 3);
    restore_check("snapshot-1700000000000", 1);
    (void)snprintf(path, sizeof path, "%s/snapshot-1700000000000/manifest", place);
    fixture_byte_turn(path, 40);
    CHECK_FAIL(state_snapshot_read(place, "snapshot-1700000000000", &identity, &backup, &err), err,
               ERR_FATAL);
    CHECK_CONTAINS(err.text, "manifest is damaged");
    fixture_byte_turn(path, 40);
    end();
}

static void foreign_check(const struct state_identity *identity, const char *why)
{
    struct err err = ERR_INIT;
    struct state_backup backup;
    CHECK_FAIL(state_snapshot_read(place, "snapshot-1700000000000", identity, &backup, &err), err,
               ERR_FATAL);
    CHECK_CONTAINS(err.text, why);
}

static void foreign(void)
{
    static const char *const topics[] = {"purchases", "clicks"};
    struct state *state = begin();
    struct state_identity other = fixture_identity();
    epoch_write(state, true);
    (void)take(state, "", 1700000000000);
    state_close(state);
    other.application_id = "other";
    foreign_check(&other, "another application.id");
    other = fixture_identity();
    other.cluster_id = "other";
    foreign_check(&other, "another cluster");
    other = fixture_identity();
    other.n_partitions++;
    foreign_check(&other, "another number of partitions");
    other = fixture_identity();
    other.topics = topics;
    foreign_check(&other, "other events topics");
    end();
}

int main(void)
{
    CASE(as_it_was_taken);
    CASE(same_names);
    CASE(cut_off);
    CASE(damaged);
    CASE(foreign);
    return 0;
}
