/* Copies of a running store, by request. */
#include "app/checkpoints.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

static const char wanted_name[] = "checkpoint-wanted", prefix[] = "checkpoint-copy-",
                  failed_suffix[] = ".failed";

enum { POLL_MS = 20 };

/* A name of ours, and nothing that leads out of the folder. */
static bool is_name(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return strncmp(name, prefix, sizeof prefix - 1) == 0 && name[n] == '\0' &&
           n < CHECKPOINTS_NAME_MAX;
}

/* folder/name; too long a path becomes "", which nothing opens. */
static void path_put(char path[CHECKPOINTS_PATH_MAX], const char *folder, const char *name)
{
    int n = snprintf(path, CHECKPOINTS_PATH_MAX, "%s/%s", folder, name);
    if (n < 0 || n >= CHECKPOINTS_PATH_MAX) path[0] = '\0';
}

/* Written under another name first: who looks sees all of it or nothing. */
static bool text_write(const char *folder, const char *name, const char *suffix, const char *text)
{
    char path[CHECKPOINTS_PATH_MAX], fresh[CHECKPOINTS_PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/%s%s", folder, name, suffix);
    (void)snprintf(fresh, sizeof fresh, "%s/%s%s.new", folder, name, suffix);
    FILE *file = fopen(fresh, "w");
    bool ok = file && fputs(text, file) >= 0;
    if (file && fclose(file) != 0) ok = false;
    return ok && rename(fresh, path) == 0;
}

/* The file's first line; false: there is none. */
static bool text_read(const char *path, char *text, size_t cap)
{
    FILE *file = fopen(path, "r");
    if (!file) return false;
    bool ok = fgets(text, (int)cap, file) != NULL;
    (void)fclose(file);
    if (ok) text[strcspn(text, "\n")] = '\0';
    return ok;
}

/* ---- the owner ---- */

static void checkpoint_make(void *context)
{
    struct checkpoints *checkpoints = context;
    struct err err = ERR_INIT;
    struct clock clock = {0};
    uint64_t began_us = clock_mono_us(&clock);
    if (state_checkpoint(checkpoints->state, checkpoints->name, &err)) {
        log_info("app", "copy of the store made", "name=%s took_ms=%.1f", checkpoints->name,
                 (double)(clock_mono_us(&clock) - began_us) / 1000.0);
    } else {
        log_err(LOG_WARN, "app", &err);
        if (!text_write(checkpoints->folder, checkpoints->name, failed_suffix, err.text))
            log_warn("app", "who asked for a copy of the store cannot be told", "folder=\"%s\"",
                     checkpoints->folder);
    }
    flag_raise(&checkpoints->done);
}

void checkpoints_close(struct checkpoints *checkpoints)
{
    if (checkpoints->is_running) thread_join(&checkpoints->thread);
    checkpoints->is_running = false;
}

/* Takes the request away. false: there is none. */
static bool request_take(struct checkpoints *checkpoints)
{
    char path[CHECKPOINTS_PATH_MAX];
    path_put(path, checkpoints->folder, wanted_name);
    if (access(path, F_OK) != 0) return false;
    bool has_name =
        text_read(path, checkpoints->name, sizeof checkpoints->name) && is_name(checkpoints->name);
    if (unlink(path) == 0 && has_name) return true;
    log_warn("app", "a request for a copy of the store is none", "file=\"%s\"", path);
    return false;
}

void checkpoints_serve(struct checkpoints *checkpoints, struct state *state, const char *folder,
                       int64_t now_ms)
{
    struct err err = ERR_INIT;
    if (now_ms - checkpoints->looked_ms < CHECKPOINTS_EVERY_MS) return;
    checkpoints->looked_ms = now_ms;
    checkpoints->state = state;
    checkpoints->folder = folder;
    if (checkpoints->is_running && !flag_is_raised(&checkpoints->done)) return;
    checkpoints_close(checkpoints);
    if (!request_take(checkpoints)) return;
    flag_lower(&checkpoints->done);
    checkpoints->is_running =
        thread_start(&checkpoints->thread, "checkpoint", checkpoint_make, checkpoints, &err);
    if (!checkpoints->is_running) log_err(LOG_WARN, "app", &err);
}

/* ---- who asks ---- */

/* Done: the copy is there, or err says why not. */
static bool is_answered(const char *path, struct err *err)
{
    char failed[CHECKPOINTS_PATH_MAX], why[400];
    if (access(path, F_OK) == 0) return true;
    (void)snprintf(failed, sizeof failed, "%.*s%s", CHECKPOINTS_PATH_MAX - 16, path, failed_suffix);
    if (!text_read(failed, why, sizeof why)) return false;
    (void)err_fatal(err, ERR_EXIT_STORE, "the process that owns the store cannot copy it: %s", why);
    return true;
}

bool checkpoint_ask(const char *folder, int timeout_ms, char path[CHECKPOINTS_PATH_MAX],
                    struct err *err)
{
    char name[CHECKPOINTS_NAME_MAX], wanted[CHECKPOINTS_PATH_MAX];
    struct clock clock = {0};
    uint64_t until = clock_mono_us(&clock) + (uint64_t)timeout_ms * 1000;
    (void)snprintf(name, sizeof name, "%s%d-%" PRId64, prefix, (int)getpid(),
                   clock_wall_ms(&clock));
    path_put(path, folder, name);
    path_put(wanted, folder, wanted_name);
    if (!text_write(folder, wanted_name, "", name))
        return err_fatal(err, ERR_EXIT_STORE, "cannot write into %s: %s", folder, strerror(errno));
    while (!is_answered(path, err)) {
        if (clock_mono_us(&clock) > until) {
            (void)unlink(wanted);
            return err_fatal(err, ERR_EXIT_STORE,
                             "the process that owns %s did not make a copy within %d ms: is it "
                             "stopped or starting, or an older freshet? Try again, or stop it and "
                             "back up the stopped store",
                             folder, timeout_ms);
        }
        sync_sleep_ms(POLL_MS);
    }
    return err->class == ERR_NONE;
}

/* A copy is a folder of files. */
static void copy_remove(const char *path)
{
    char file[CHECKPOINTS_PATH_MAX];
    struct dirent *entry;
    DIR *dir = opendir(path);
    while (dir && (entry = readdir(dir)) != NULL) {
        path_put(file, path, entry->d_name);
        (void)unlink(file);
    }
    if (dir) (void)closedir(dir);
    if (rmdir(path) != 0) (void)unlink(path);
}

void checkpoints_remove(const char *folder)
{
    char path[CHECKPOINTS_PATH_MAX];
    struct dirent *entry;
    DIR *dir = opendir(folder);
    while (dir && (entry = readdir(dir)) != NULL) {
        if (strncmp(entry->d_name, prefix, sizeof prefix - 1) != 0) continue;
        path_put(path, folder, entry->d_name);
        copy_remove(path);
    }
    if (dir) (void)closedir(dir);
}
