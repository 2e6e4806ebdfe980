/* A store's folder from outside: who owns it, files copied and taken away. */
#include "state/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

enum { COPY_BYTES = 1 << 20 };

void state__path(char out[STATE__PATH_MAX], const char *folder, const char *name)
{
    int n = snprintf(out, STATE__PATH_MAX, "%s/%s", folder, name);
    if (n < 0 || n >= STATE__PATH_MAX) out[0] = '\0';
}

/* ---- the lock ---- */

struct state_lock {
    int file;
};

/* RocksDB's own: a write lock of the process on <db>/LOCK. */
bool state__lock_file(struct state_lock **out, const char *path, bool *is_owned)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    *is_owned = false;
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600); /* a restored store has none yet */
    if (file < 0) return false;
    if (fcntl(file, F_SETLK, &lock) != 0) {
        (void)close(file);
        *is_owned = true;
        return false;
    }
    *out = mem_zalloc(sizeof **out);
    (*out)->file = file;
    return true;
}

bool state_lock_take(struct state_lock **out, const char *folder, bool *is_owned, struct err *err)
{
    char path[STATE__PATH_MAX];
    bool owned;
    state__path(path, folder, "db/LOCK");
    bool ok = state__lock_file(out, path, &owned);
    if (is_owned) *is_owned = owned;
    if (ok) return true;
    if (owned)
        return err_fatal(err, ERR_EXIT_STORE, "a process owns state store %s: stop it first",
                         folder);
    return err_fatal(err, ERR_EXIT_STORE,
                     "no state store in %s (%s): check state.dir and application.id", folder,
                     strerror(errno));
}

void state_lock_release(struct state_lock *lock)
{
    if (!lock) return;
    (void)close(lock->file);
    mem_free(lock);
}

/* ---- files ---- */

static bool disk_error(const char *doing, const char *path, struct err *err)
{
    return err_fatal(err, ERR_EXIT_DISK, "cannot %s %s: %s", doing, path, strerror(errno));
}

static bool copy_bytes(int from, int to, uint8_t *bytes)
{
    ssize_t n;
    while ((n = read(from, bytes, COPY_BYTES)) > 0)
        for (ssize_t done = 0, m; done < n; done += m)
            if ((m = write(to, bytes + done, (size_t)(n - done))) <= 0) return false;
    return n == 0 && fsync(to) == 0;
}

bool state__file_copy(const char *from, const char *to, struct err *err)
{
    int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0) return disk_error("read", from, err);
    struct stat info;
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    uint8_t *bytes = mem_alloc(COPY_BYTES);
    bool ok = out >= 0 && fstat(in, &info) == 0 && copy_bytes(in, out, bytes);
    if (ok) (void)futimens(out, (struct timespec[2]){info.st_atim, info.st_mtim});
    if (!ok) (void)disk_error("write", to, err);
    if (out >= 0 && close(out) != 0 && ok) ok = disk_error("write", to, err);
    (void)close(in);
    mem_free(bytes);
    return ok;
}

/* The names in a folder come to be as they are. */
bool state__folder_sync(const char *folder, struct err *err)
{
    int file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = file >= 0 && fsync(file) == 0;
    if (!ok) (void)disk_error("sync", folder, err);
    if (file >= 0) (void)close(file);
    return ok;
}

bool state__folder_make(const char *path, struct err *err)
{
    if (mkdir(path, 0700) == 0) return true;
    return err_fatal(err, errno == ENOSPC ? ERR_EXIT_DISK : ERR_EXIT_USAGE,
                     "cannot make folder %s: %s", path, strerror(errno));
}

bool state__folder_each(const char *folder, bool (*visit)(void *context, const char *name),
                        void *context, struct err *err)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    bool ok = true;
    if (!dir) return disk_error("read", folder, err);
    while (ok && (entry = readdir(dir)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            ok = visit(context, entry->d_name);
    (void)closedir(dir);
    return ok;
}

static bool file_remove(void *context, const char *name)
{
    char path[STATE__PATH_MAX];
    state__path(path, (const char *)context, name);
    (void)unlink(path);
    return true;
}

/* A folder of a database has files only. */
bool state__folder_remove(const char *folder, struct err *err)
{
    struct stat info;
    union {
        const char *in;
        void *out;
    } context = {.in = folder};
    if (stat(folder, &info) != 0 && errno == ENOENT) return true;
    if (!state__folder_each(folder, file_remove, context.out, err)) return false;
    return rmdir(folder) == 0 || disk_error("remove", folder, err);
}

/* ---- a store's folder ---- */

/* The database goes by a new name first: what is left of it after a crash is no store. */
bool state_remove(const char *folder, struct err *err)
{
    char path[STATE__PATH_MAX], removed[STATE__PATH_MAX];
    state__path(removed, folder, "db.removed");
    if (!state__folder_remove(removed, err) || !state_set_aside(folder, "db.removed", err))
        return false;
    state__path(path, folder, "high-water");
    (void)unlink(path);
    return state__folder_remove(removed, err);
}

bool state_set_aside(const char *folder, const char *name, struct err *err)
{
    char from[STATE__PATH_MAX], to[STATE__PATH_MAX];
    state__path(from, folder, "db");
    state__path(to, folder, name);
    if (rename(from, to) != 0) return disk_error("move aside", from, err);
    return state__folder_sync(folder, err);
}
