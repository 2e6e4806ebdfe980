/* Snapshots: taken, listed, taken away, put back. */
#include "state/snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/mem.h"
#include "state/internal.h"

static const char prefix[] = "snapshot-", partial_suffix[] = ".partial", making[] = "db.snapshot";

enum { FILES_MAX = 1 << 20, NAME_DIGITS_MIN = 13 };

/* ---- placing files ---- */

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Table files never change once written, so two databases may share one. */
static bool is_table(const char *name)
{
    return ends_with(name, ".sst");
}

/* Linked when it can be, else copied; *is_linked. */
static bool file_place(const char *from, const char *to, const char *name, bool *is_linked,
                       struct err *err)
{
    char source[STATE__PATH_MAX], target[STATE__PATH_MAX];
    state__path(source, from, name);
    state__path(target, to, name);
    *is_linked = is_table(name) && link(source, target) == 0;
    return *is_linked || state__file_copy(source, target, err);
}

/* ---- taking ---- */

/* A file of the snapshot before, by its name. */
struct kept {
    uint64_t size, hash;
};

struct taking {
    char from[STATE__PATH_MAX];   /* the checkpoint */
    char before[STATE__PATH_MAX]; /* db of the snapshot before; "" none */
    char to[STATE__PATH_MAX];     /* db of the new one */
    struct map_str *kept;         /* struct kept by name */
    struct buf manifest;
    struct state_backup backup;
    struct state_snapshot_taken *taken;
    struct err *err;
};

static bool kept_see(void *context, const struct state__file *file)
{
    struct taking *taking = context;
    struct str name = str_of(file->name);
    if (!is_table(file->name) || map_str_get(taking->kept, name)) return true;
    struct kept *kept = mem_alloc(sizeof *kept);
    *kept = (struct kept){file->size, file->hash};
    return map_str_set(taking->kept, name, kept);
}

static void kept_free(struct taking *taking)
{
    struct str name;
    void *value;
    size_t at = 0;
    while (map_str_next(taking->kept, &at, &name, &value))
        mem_free(value);
    map_str_free(taking->kept);
}

/* A manifest that does not read only costs that all is copied. */
static void before_look(struct taking *taking, const char *folder, const char *before)
{
    char path[STATE__PATH_MAX];
    struct state_backup backup;
    struct err ignored = ERR_INIT;
    taking->kept = map_str_new(FILES_MAX, MAP_KEYS_COPIED);
    taking->before[0] = '\0';
    if (!before[0]) return;
    state__path(path, folder, before);
    if (!state__backup_read(path, &backup, kept_see, taking, &ignored)) return;
    state_backup_fini(&backup);
    state__path(taking->before, path, "db");
}

/* The same file stands in the snapshot before: its name alone does not say so, a store that was put back counts on from an older number. */
static const struct kept *kept_find(const struct taking *taking, const char *name)
{
    char here[STATE__PATH_MAX], there[STATE__PATH_MAX];
    struct stat a, b;
    const struct kept *kept = map_str_get(taking->kept, str_of(name));
    if (!kept) return NULL;
    state__path(here, taking->from, name);
    state__path(there, taking->before, name);
    if (stat(here, &a) != 0 || stat(there, &b) != 0) return NULL;
    bool is_same = a.st_size == b.st_size && (uint64_t)a.st_size == kept->size &&
                   a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
    return is_same ? kept : NULL;
}

static bool file_take(void *context, const char *name)
{
    struct taking *taking = context;
    struct state__file file = {.name = name};
    char path[STATE__PATH_MAX];
    bool is_linked = false;
    if (!state__file_is_data(name)) return true;
    const struct kept *kept = kept_find(taking, name);
    if (!file_place(kept ? taking->before : taking->from, taking->to, name, &is_linked,
                    taking->err))
        return false;
    state__path(path, taking->to, name);
    if (kept && is_linked) {
        file.size = kept->size;
        file.hash = kept->hash;
    } else if (!state__file_hash(path, &file.hash, &file.size)) {
        return err_fatal(taking->err, ERR_EXIT_DISK, "cannot read %s: %s", path, strerror(errno));
    }
    if (!is_linked) taking->taken->bytes_new += file.size;
    state__backup_file(&taking->manifest, &taking->backup, &file);
    return true;
}

/* The owner and positions first, so that the files are there or further; then the files; then the manifest. */
static bool partial_fill(struct taking *taking, struct state *state, const char *partial,
                         int64_t now_ms, struct err *err)
{
    if (!state__backup_owner(&taking->manifest, state, now_ms, &taking->backup, err)) return false;
    if (!state_checkpoint(state, making, err)) return false;
    if (!state__folder_make(partial, err) || !state__folder_make(taking->to, err)) return false;
    return state__folder_each(taking->from, file_take, taking, err) &&
           state__folder_sync(taking->to, err) &&
           state__backup_end(&taking->manifest, partial, err);
}

static bool folder_remove(const char *folder, struct err *err)
{
    char path[STATE__PATH_MAX];
    state__path(path, folder, "manifest");
    (void)unlink(path);
    state__path(path, folder, "db");
    return state__folder_remove(path, err) && state__folder_remove(folder, err);
}

static void name_make(char name[STATE_SNAPSHOT_NAME_MAX], int64_t now_ms)
{
    (void)snprintf(name, STATE_SNAPSHOT_NAME_MAX, "%s%013" PRId64, prefix, now_ms);
}

/* A full disk may have room later. */
static bool disk_is_full(struct err *err)
{
    if (err->class == ERR_FATAL && strstr(err->text, strerror(ENOSPC))) err->class = ERR_RETRY;
    return false;
}

bool state_snapshot_take(struct state *state, const char *folder, const char *before,
                         int64_t now_ms, struct state_snapshot_taken *taken, struct err *err)
{
    char name[STATE_SNAPSHOT_NAME_MAX], to[STATE__PATH_MAX], partial[STATE__PATH_MAX];
    struct taking *taking = mem_zalloc(sizeof *taking);
    struct err left = ERR_INIT;
    *taken = (struct state_snapshot_taken){0};
    taking->taken = taken;
    taking->err = err;
    name_make(name, now_ms);
    state__path(to, folder, name);
    (void)snprintf(partial, sizeof partial, "%.*s%s", STATE__PATH_MAX / 2, to, partial_suffix);
    state__path(taking->to, partial, "db");
    state__path(taking->from, state->folder, making);
    before_look(taking, folder, before);
    state__backup_begin(&taking->manifest);
    bool ok = state__check_sound(state, err) && state__folder_remove(taking->from, err) &&
              folder_remove(partial, err) && partial_fill(taking, state, partial, now_ms, err);
    fault_point("snapshot_taken");
    if (ok && rename(partial, to) != 0)
        ok = err_fatal(err, ERR_EXIT_DISK, "cannot rename %s to %s: %s", partial, to,
                       strerror(errno));
    if (ok) ok = state__folder_sync(folder, err);
    if (!ok) (void)!folder_remove(partial, &left);
    (void)!state__folder_remove(taking->from, &left);
    taken->bytes = taking->backup.bytes;
    taken->files = taking->backup.n_files;
    buf_fini(&taking->manifest);
    state_backup_fini(&taking->backup);
    kept_free(taking);
    mem_free(taking);
    return ok || disk_is_full(err);
}

/* ---- what there is ---- */

struct listing {
    struct state_snapshot_name *names;
    int n, max;
};

/* The time in a name; -1: it is no snapshot's. */
static int64_t name_time(const char *name)
{
    size_t digits = strncmp(name, prefix, sizeof prefix - 1) == 0
                        ? strspn(name + sizeof prefix - 1, "0123456789")
                        : 0;
    bool is_name = digits >= NAME_DIGITS_MIN && digits < 19 && !name[sizeof prefix - 1 + digits];
    return is_name ? (int64_t)strtoll(name + sizeof prefix - 1, NULL, 10) : -1;
}

/* Kept in order; beyond max the oldest is left out. */
static bool name_see(void *context, const char *text)
{
    struct listing *listing = context;
    int64_t taken_ms = name_time(text);
    int at = 0;
    if (taken_ms < 0) return true;
    while (at < listing->n && listing->names[at].taken_ms > taken_ms)
        at++;
    if (at == listing->max) return true;
    if (listing->n < listing->max) listing->n++;
    memmove(&listing->names[at + 1], &listing->names[at],
            (size_t)(listing->n - 1 - at) * sizeof *listing->names);
    listing->names[at].taken_ms = taken_ms;
    (void)snprintf(listing->names[at].text, sizeof listing->names[at].text, "%s", text);
    return true;
}

int state_snapshots_list(const char *folder, struct state_snapshot_name *names, int max)
{
    struct listing listing = {.names = names, .max = max};
    struct err ignored = ERR_INIT;
    (void)!state__folder_each(folder, name_see, &listing, &ignored);
    return listing.n;
}

/* Under another name first: what is left of it after a crash is no snapshot. */
bool state_snapshot_remove(const char *folder, const char *name, struct err *err)
{
    char path[STATE__PATH_MAX], partial[STATE__PATH_MAX];
    state__path(path, folder, name);
    (void)snprintf(partial, sizeof partial, "%.*s%s", STATE__PATH_MAX / 2, path, partial_suffix);
    if (!folder_remove(partial, err)) return false;
    if (rename(path, partial) != 0)
        return err_fatal(err, ERR_EXIT_DISK, "cannot remove %s: %s", path, strerror(errno));
    return folder_remove(partial, err);
}

static bool left_remove(void *context, const char *name)
{
    const char *const *folder = context;
    char path[STATE__PATH_MAX];
    struct err ignored = ERR_INIT;
    state__path(path, *folder, name);
    if (strncmp(name, prefix, sizeof prefix - 1) == 0 && ends_with(name, partial_suffix))
        (void)!folder_remove(path, &ignored);
    return true;
}

bool state_snapshots_open(const char *folder, struct state_lock **lock, struct err *err)
{
    char path[STATE__PATH_MAX];
    bool is_owned = false;
    struct err ignored = ERR_INIT;
    state__path(path, folder, "lock");
    if (!state__make_folders(folder, err)) return false;
    if (!state__lock_file(lock, path, &is_owned)) {
        if (!is_owned)
            return err_fatal(err, ERR_EXIT_DISK, "cannot write %s: %s", path, strerror(errno));
        return err_fatal(err, ERR_EXIT_STORE,
                         "another process has the snapshots in %s: stop it, or give each process a "
                         "group.instance.id or a statestore.snapshot.dir of its own",
                         folder);
    }
    (void)!state__folder_each(folder, left_remove, &folder, &ignored);
    return true;
}

/* ---- putting back ---- */

/* Why it is not the identity's; NULL: it is. */
static const char *foreign(const struct state_backup *backup, const struct state_identity *identity)
{
    if (backup->format < STATE_FORMAT_OLDEST || backup->format > STATE_FORMAT)
        return "its format is not read by this freshet";
    if (strcmp(backup->application_id, identity->application_id) != 0)
        return "it belongs to another application.id";
    if (strcmp(backup->cluster_id, identity->cluster_id) != 0)
        return "it belongs to another cluster";
    if (backup->n_partitions != identity->n_partitions)
        return "the events topics have another number of partitions now";
    bool is_same = backup->n_topics == identity->n_topics;
    for (int i = 0; is_same && i < backup->n_topics; i++)
        is_same = strcmp(backup->topics[i], identity->topics[i]) == 0;
    return is_same ? NULL : "it is of other events topics";
}

bool state_snapshot_read(const char *folder, const char *name,
                         const struct state_identity *identity, struct state_backup *backup,
                         struct err *err)
{
    char path[STATE__PATH_MAX];
    state__path(path, folder, name);
    if (!state__backup_read(path, backup, NULL, NULL, err)) return false;
    const char *why = foreign(backup, identity);
    if (!why) return true;
    state_backup_fini(backup);
    return err_fatal(err, ERR_EXIT_STORE, "%s", why);
}

struct restoring {
    char from[STATE__PATH_MAX], to[STATE__PATH_MAX]; /* databases */
    void (*moved)(void *context, uint64_t bytes);
    void *context;
    struct err *err;
};

/* What is compared is what the store will read. */
static bool file_restore(void *context, const struct state__file *file)
{
    struct restoring *restoring = context;
    bool is_linked;
    fault_point("snapshot_file");
    if (!file_place(restoring->from, restoring->to, file->name, &is_linked, restoring->err))
        return false;
    if (!fault_mutant("snapshot_unchecked") &&
        !state__file_check(restoring->to, file, restoring->err))
        return false;
    restoring->moved(restoring->context, file->size);
    return true;
}

/* The high-water file goes: it is of a store that is gone. */
static bool place_take(const char *fresh, const char *folder, struct err *err)
{
    char path[STATE__PATH_MAX];
    if (!state__folder_sync(fresh, err)) return false;
    state__path(path, folder, "high-water");
    (void)unlink(path);
    fault_point("snapshot_placed");
    state__path(path, folder, "db");
    if (strcmp(fresh, path) != 0 && rename(fresh, path) != 0)
        return err_fatal(err, ERR_EXIT_DISK, "cannot rename %s to %s: %s", fresh, path,
                         strerror(errno));
    return state__folder_sync(folder, err);
}

bool state_snapshot_restore(const char *folder, const char *name, const char *to,
                            void (*moved)(void *context, uint64_t bytes), void *context,
                            struct err *err)
{
    char path[STATE__PATH_MAX];
    struct state_backup backup = {0};
    struct err left = ERR_INIT;
    struct restoring *restoring = mem_zalloc(sizeof *restoring);
    restoring->moved = moved;
    restoring->context = context;
    restoring->err = err;
    state__path(path, folder, name);
    state__path(restoring->from, path, "db");
    state__path(restoring->to, to, fault_mutant("snapshot_in_place") ? "db" : "db.restoring");
    bool ok = state__make_folders(to, err) && state__folder_remove(restoring->to, err) &&
              state__folder_make(restoring->to, err) &&
              state__backup_read(path, &backup, file_restore, restoring, err) &&
              err->class == ERR_NONE && place_take(restoring->to, to, err);
    if (!ok) (void)!state__folder_remove(restoring->to, &left);
    state_backup_fini(&backup);
    mem_free(restoring);
    return ok;
}
