/* A full disk: writing an epoch says ERR_RETRY and keeps it; reads go on; when space returns the same call succeeds and
 * nothing is missing. Needs a small file system of its own: root and tmpfs, else it is skipped, loudly. */
#include "state/internal.h"
#include "tests/state/fixture.h"

#include <errno.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sync.h"
#include "state/view.h"

#define MOUNT_NAME "freshet-test-" /* and the process id: the source of the mount */

enum { DISK_MIB = 32, BALLAST_MIB = 14, USERS = 400, ROUNDS = 2, WAIT_MS = 20000 };

static char disk[256], folder[300], ballast[300];

static struct user *get(struct state_shard *shard, int number)
{
    char key[64];
    struct user *user = NULL;
    struct err err = ERR_INIT;
    int len = snprintf(key, sizeof key, "%cuuser-%d", 0, number);
    CHECK_OK(state_user_get(shard, 0, (struct str){key, (size_t)len}, &user, &err), err);
    return user;
}

/* One epoch that changes every user: offset n. */
static struct state_epoch *seal(struct state_shard *shard, int64_t n)
{
    for (int i = 0; i < USERS; i++) {
        struct user *user = get(shard, i);
        user->last_offset[0] = n;
        state_user_encoder(shard, user)[i % 500] = (float)n; /* so that blocks do not repeat */
        user->model_id = 1;
        state_user_dirty(shard, user);
    }
    struct state_move move = {0, 0, n + 1};
    return state_epoch_seal(shard, &move, 1);
}

static bool make_ballast(void)
{
    static char mib[1 << 20];
    FILE *file = fopen(ballast, "w");
    bool ok = file != NULL;
    memset(mib, 'x', sizeof mib);
    for (int i = 0; ok && i < BALLAST_MIB; i++)
        ok = fwrite(mib, sizeof mib, 1, file) == 1;
    if (file && fclose(file) != 0) ok = false;
    return ok;
}

static void check_users(struct state *state, int64_t n)
{
    struct err err = ERR_INIT;
    struct state_shard *shard = state_shard_new(state, 0);
    int64_t next = -1;
    CHECK_OK(state_partition_open(shard, 0, &err), err);
    CHECK_OK(state_position(state, 0, 0, &next, &err), err);
    CHECK_INT(next, n + 1);
    for (int i = 0; i < USERS; i++) {
        CHECK_INT(get(shard, i)->last_offset[0], n);
        CHECK_NEAR(get(shard, i)->encoder[i % 500], (float)n, 0);
    }
    state_shard_free(shard);
}

/* To the last byte, as often as others make room. */
static void fill_to_the_brim(FILE *file)
{
    static char page[4096];
    while (fwrite(page, sizeof page, 1, file) == 1 && fflush(file) == 0)
        continue;
    clearerr(file);
}

/* What RocksDB frees when it has written tables is taken, too. */
static void keep_full(void)
{
    FILE *file = fopen(ballast, "a");
    CHECK(file != NULL);
    fill_to_the_brim(file);
    (void)fclose(file);
}

/* Writes until the disk is full; returns the number of the epoch that was refused. */
static int64_t fill(struct state *state, struct state_shard *shard, int64_t n,
                    struct state_epoch **refused)
{
    for (int64_t last = n + 2000; n < last; n++) {
        struct err err = ERR_INIT;
        *refused = seal(shard, n);
        if (state_epoch_write(shard, *refused, &err)) continue;
        CHECK_INT(err.class, ERR_RETRY);
        CHECK_CONTAINS(err.text, "disk is full");
        keep_full();
        CHECK_FAIL(state_epoch_write(shard, *refused, &err), err, ERR_RETRY);
        check_users(state, n - 1); /* reads work, and see the last epoch that was written */
        return n;
    }
    test_fail(__FILE__, __LINE__, "2,000 epochs did not fill %d MiB", DISK_MIB);
}

static void wait_for_space(struct state_shard *shard, struct state_epoch *epoch)
{
    struct err err = ERR_INIT;
    for (int ms = 0; ms < WAIT_MS; ms += 100) {
        if (state_epoch_write(shard, epoch, &err)) {
            printf("  written %d ms after space came back\n", ms);
            return;
        }
        CHECK_INT(err.class, ERR_RETRY);
        sync_sleep_ms(100);
    }
    test_fail(__FILE__, __LINE__, "no write in %d ms after space came back", WAIT_MS);
}

static void wait_for_purge(struct state *state)
{
    struct err err = ERR_INIT;
    int purged = 0;
    for (int ms = 0; ms < WAIT_MS; ms += 100) {
        if (state_purge(state, &purged, &err)) return;
        CHECK_INT(err.class, ERR_RETRY);
        sync_sleep_ms(100);
    }
    test_fail(__FILE__, __LINE__, "no purge in %d ms after space came back", WAIT_MS);
}

static void test_disk_full(void)
{
    struct state_options options = fixture_options();
    options.state_floats = 500;
    options.cache_bytes = 16 << 20;
    struct state *state = fixture_open(folder, &options);
    struct state_shard *shard = state_shard_new(state, 0);
    struct err err = ERR_INIT;
    CHECK_OK(state_partition_open(shard, 0, &err), err);
    int64_t n = 0;
    for (int round = 0; round < ROUNDS; round++) {
        struct state_epoch *refused = NULL;
        CHECK(make_ballast());
        n = fill(state, shard, n, &refused);
        CHECK(unlink(ballast) == 0);
        wait_for_space(shard, refused);
        check_users(state, n++);
    }
    state_shard_free(shard);
    state_close(state);
    state = fixture_open(folder, &options);
    check_users(state, n - 1);
    state_close(state);
}

static bool erase(struct state_shard *shard, int number, struct err *err)
{
    char key[64];
    struct state_erased what;
    const int64_t next = 0;
    const struct state_erasure how = {.erased_ms = 1, .next = &next, .n_next = 1};
    int len = snprintf(key, sizeof key, "%cuuser-%d", 0, number);
    return state_user_erase(shard, 0, (struct str){key, (size_t)len}, &how, &what, err);
}

/* A store of its own with all users, of whom one was erased (epochs 0 and 1). Sets folder. */
static struct state *open_with_erased(const char *name, int number, struct state_options *options,
                                      struct state_shard **shard)
{
    struct state_move move = {0, 0, 2};
    struct err err = ERR_INIT;
    *options = fixture_options();
    options->state_floats = 500;
    (void)snprintf(folder, sizeof folder, "%s/%s", disk, name);
    struct state *state = fixture_open(folder, options);
    *shard = state_shard_new(state, 0);
    CHECK_OK(state_partition_open(*shard, 0, &err), err);
    CHECK_OK(state_epoch_write(*shard, seal(*shard, 0), &err), err);
    CHECK_OK(erase(*shard, number, &err), err);
    CHECK_OK(state_epoch_write(*shard, state_epoch_seal(*shard, &move, 1), &err), err);
    return state;
}

/* Erasures and their purges wait for room; nothing is tried that a full disk would break (a log that failed once must not be appended to). */
static void test_purge_full(void)
{
    struct err err = ERR_INIT;
    struct state_options options;
    struct state_shard *shard;
    struct state *state = open_with_erased("purged", 7, &options, &shard);
    struct state_move move = {0, 0, 2};
    int purged = 0;
    CHECK_OK(erase(shard, 8, &err), err);
    move.next++;
    struct state_epoch *refused = state_epoch_seal(shard, &move, 1);
    FILE *file = fopen(ballast, "w");
    CHECK(file != NULL);
    for (int i = 0; i < 5; i++) {
        fill_to_the_brim(file);
        CHECK_FAIL(state_epoch_write(shard, refused, &err), err, ERR_RETRY);
        CHECK_FAIL(state_purge(state, &purged, &err), err, ERR_RETRY);
        CHECK_CONTAINS(err.text, "disk is full");
        CHECK_FAIL(state_begin(state, 0, 1, &err), err, ERR_FATAL);
        CHECK_INT(err.exit_code, ERR_EXIT_DISK);
    }
    (void)fclose(file);
    CHECK(unlink(ballast) == 0);
    wait_for_space(shard, refused);
    wait_for_purge(state);
    state_shard_free(shard);
    state_close(state);
    state = fixture_open(folder, &options);
    state_close(state);
}

/* A line that finds no room there would end the process with the next one, also while RocksDB opens. */
static void check_no_lines(void)
{
    char path[400];
    struct stat log;
    (void)snprintf(path, sizeof path, "%s/db/LOG", folder);
    CHECK(stat(path, &log) == 0);
    CHECK_INT(log.st_size, 0);
}

/* A write that fails within RocksDB's log, past the look for room, as when somebody else fills the disk in between. */
static void log_break(struct state *state)
{
    static char value[1 << 16];
    char *error = NULL;
    struct err err = ERR_INIT;
    for (int i = 0; !error && i < 1000; i++)
        rocksdb_put_cf(state->db, state->write, state->family[FAMILY_META], "big", 3, value,
                       sizeof value, &error);
    CHECK(error != NULL);
    CHECK(!state__write_error(state, error, "breaking the log", &err));
    CHECK_INT(err.class, ERR_RETRY);
}

/* Neither syncs nor flushes touch such a log (Debian's RocksDB would end the process); it is well again with the first write, of an epoch or,
 * where nothing comes, of a purge. */
static void test_broken_log(void)
{
    struct err err = ERR_INIT;
    struct state_options options;
    struct state_shard *shard;
    struct state *state = open_with_erased("broken", USERS + 7, &options, &shard);
    for (int n = 2; n < 5; n++) {
        struct state_epoch *next = seal(shard, n);
        FILE *file = fopen(ballast, "w");
        CHECK(file != NULL);
        fill_to_the_brim(file);
        log_break(state);
        (void)fclose(file);
        CHECK(unlink(ballast) == 0);
        CHECK_FAIL(state_sync(state, &err), err, ERR_RETRY);
        if (n == 4) break; /* and closes so */
        if (n == 2) wait_for_purge(state);
        wait_for_space(shard, next);
        CHECK_OK(state_sync(state, &err), err);
    }
    state_shard_free(shard);
    state_close(state);
    state = fixture_open(folder, &options);
    check_no_lines();
    check_users(state, 3);
    state_close(state);
}

static struct state_view *view_open(void)
{
    const struct state_view_options options = {
        .cluster_id = "cluster-1", .topics = {"lists"}, .rocksdb_bytes = 4 << 20};
    struct state_view *view;
    struct err err = ERR_INIT;
    (void)snprintf(folder, sizeof folder, "%s/view", disk);
    CHECK_OK(state_view_open(&view, folder, &options, &err), err);
    check_no_lines();
    return view;
}

/* The list of a user, or that it goes. */
static void view_put(struct state_view *view, int64_t offset, struct str value)
{
    const struct state_view_record record = {
        .family = VIEW_LISTS, .offset = offset, .key = STR("user-1"), .value = value};
    state_view_put(view, &record);
}

/* Lists and their erasures wait for room, and so does a start; nothing is tried that a full disk would break. */
static void test_view_full(void)
{
    struct state_view *view = view_open(), *second;
    struct err err = ERR_INIT;
    struct state_view_row row;
    bool found;
    view_put(view, 0, STR("a list"));
    CHECK_OK(state_view_write(view, &err), err);
    view_put(view, 1, (struct str){0});
    CHECK_OK(state_view_write(view, &err), err);
    FILE *file = fopen(ballast, "w");
    CHECK(file != NULL);
    for (int i = 2; i < 7; i++) {
        fill_to_the_brim(file);
        view_put(view, i, STR("another list"));
        CHECK_FAIL(state_view_write(view, &err), err, ERR_RETRY);
        CHECK_CONTAINS(err.text, "disk is full");
        CHECK_FAIL(state_view_purge(view, &err), err, ERR_RETRY);
    }
    const struct state_view_options options = {.cluster_id = "cluster-1", .topics = {"lists"}};
    CHECK_FAIL(state_view_open(&second, folder, &options, &err), err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_DISK);
    (void)fclose(file);
    CHECK(unlink(ballast) == 0);
    CHECK_OK(state_view_write(view, &err), err);
    CHECK_OK(state_view_purge(view, &err), err);
    state_view_close(view);
    view = view_open();
    CHECK_OK(state_view_get(view, VIEW_LISTS, STR("user-1"), &found, &row, &err), err);
    CHECK(found);
    CHECK_BYTES(row.value.ptr, row.value.len, "another list", strlen("another list"));
    state_view_release(&row);
    state_view_close(view);
}

static void folder_unmount(const char *mounted)
{
    (void)umount2(mounted, MNT_DETACH);
    (void)rmdir(mounted);
}

/* Also when a check failed. */
static void unmount(void)
{
    folder_unmount(disk);
}

/* A test that was killed leaves its file system mounted. The source names the process, so that one that lives keeps its own. */
static void unmount_stale(void)
{
    char line[1024], mounted[512];
    int pid;
    FILE *mounts = fopen("/proc/self/mounts", "r");
    CHECK(mounts != NULL);
    while (fgets(line, sizeof line, mounts)) {
        if (sscanf(line, MOUNT_NAME "%d %511s tmpfs", &pid, mounted) != 2 || pid <= 0) continue;
        if (kill(pid, 0) == 0 || errno != ESRCH) continue;
        folder_unmount(mounted);
        printf("  unmounted %s, which process %d left behind\n", mounted, pid);
    }
    (void)fclose(mounts);
}

static bool disk_mount(const char *at, const char *size_option)
{
    char name[64];
    (void)snprintf(name, sizeof name, MOUNT_NAME "%d", (int)getpid());
    return mount(name, at, "tmpfs", 0, size_option) == 0;
}

/* The mount of a process that was killed goes, ours stays. */
static void test_stale_mount(void)
{
    char stale[256];
    struct stat before, after;
    fixture_folder(stale, sizeof stale);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        if (disk_mount(stale, "size=1m")) (void)kill(getpid(), SIGKILL);
        _exit(1);
    }
    int status = 0;
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK(WIFSIGNALED(status));
    CHECK(stat(disk, &before) == 0);
    unmount_stale();
    CHECK(stat(stale, &after) != 0);
    CHECK(stat(disk, &after) == 0);
    CHECK_INT(after.st_dev, before.st_dev);
}

int main(void)
{
    char size[32];
    unmount_stale();
    fixture_folder(disk, sizeof disk);
    (void)snprintf(folder, sizeof folder, "%s/store", disk);
    (void)snprintf(ballast, sizeof ballast, "%s/ballast", disk);
    (void)snprintf(size, sizeof size, "size=%dm", DISK_MIB);
    if (!disk_mount(disk, size)) {
        printf("SKIPPED: test_disk_full cannot mount a tmpfs here (run it as root)\n");
        (void)rmdir(disk);
        return 0;
    }
    CHECK(atexit(unmount) == 0);
    CASE(test_stale_mount);
    CASE(test_disk_full);
    CASE(test_purge_full);
    CASE(test_broken_log);
    CASE(test_view_full);
    return 0;
}
