/* freshet backup FOLDER: a copy of the store, of a running process or a stopped one. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/app.h"
#include "app/checkpoints.h"
#include "app/settings.h"
#include "app/when.h"
#include "base/clock.h"
#include "state/state.h"

enum { PATH_BYTES_MAX = 4096 };

static void tell(const char *folder, const struct state_backup *backup)
{
    char taken[WHEN_TEXT_MAX];
    printf("%s: taken %s, %zu files, %" PRIu64 " bytes\n", folder,
           when_print(backup->taken_ms, taken), backup->n_files, backup->bytes);
    printf("store of application.id %s on cluster %s, %d partitions, format %d\n",
           backup->application_id, backup->cluster_id, backup->n_partitions, backup->format);
    for (size_t i = 0; i < backup->n_positions; i++)
        printf("%-32s %9d next %12" PRId64 "\n", backup->positions[i].topic,
               (int)backup->positions[i].partition, backup->positions[i].next);
}

/* The database to copy: the stopped store's own, under its lock, or a copy that the owner made. */
static bool source_take(const struct settings *settings, int timeout_ms, struct state_lock **lock,
                        char path[PATH_BYTES_MAX], struct err *err)
{
    bool is_owned = false;
    *lock = NULL;
    (void)snprintf(path, PATH_BYTES_MAX, "%s/db", settings->state_folder);
    if (state_lock_take(lock, settings->state_folder, &is_owned, err)) return true;
    if (!is_owned) return false;
    err->class = ERR_NONE;
    return checkpoint_ask(settings->state_folder, timeout_ms, path, err);
}

static bool take(const struct settings *settings, const char *to, int timeout_ms, struct err *err)
{
    char path[PATH_BYTES_MAX];
    struct state_lock *lock;
    struct state_backup backup = {0};
    struct clock clock = {0};
    if (access(to, F_OK) == 0)
        return err_fatal(err, ERR_EXIT_USAGE,
                         "%s is there already: name a new folder for each backup", to);
    bool ok = source_take(settings, timeout_ms, &lock, path, err) &&
              state_backup_write(path, to, clock_wall_ms(&clock), &backup, err);
    if (ok) tell(to, &backup);
    state_backup_fini(&backup);
    if (!lock) checkpoints_remove(settings->state_folder);
    state_lock_release(lock);
    return ok;
}

static bool check(const char *folder, struct err *err)
{
    struct state_backup backup;
    if (!state_backup_check(folder, &backup, err)) return false;
    tell(folder, &backup);
    printf("ok: every file is as it was taken\n");
    state_backup_fini(&backup);
    return true;
}

static bool run(struct app *app, struct err *err)
{
    struct settings settings;
    if (app->n_args != 1)
        return err_fatal(err, ERR_EXIT_USAGE,
                         "name the folder of the backup: `freshet backup /backups/shop-1 --config "
                         "shop.properties`");
    if (options_bool(app->flags, "check")) return check(app->args[0], err);
    bool ok = settings_init(&settings, app->config, err) &&
              take(&settings, app->args[0], (int)options_int(app->flags, "timeout"), err);
    settings_fini(&settings);
    return ok;
}

/* {name, type, default, min, max, unit, values, help, group} */
static const struct option_spec flags[] = {
    /* clang-format off */
    {"check", OPTION_BOOL, "false", 0, 0, "", NULL, "Take none: hold the backup in FOLDER against its manifest and say what it is.", "How"},
    {"timeout", OPTION_INT, "30000", 1, 3600000, "ms", NULL, "How long the process that owns the store may take to answer.", "How"},
    /* clang-format on */
};

const struct verb verb_backup = {
    .name = "backup",
    .summary = "copy the store of a running or stopped process, or check a copy",
    .usage = "freshet backup FOLDER --config shop.properties [--check]",
    .help = "FOLDER must not be there yet. A running `freshet run` is asked through its state "
            "folder for a copy of the moment: it\n"
            "links files and goes on; lists are not held up. A stopped store is locked and copied. "
            "All is read once, and the\n"
            "manifest with sizes and checksums is written last, so a folder with a manifest is "
            "whole. The state folder needs room for\n"
            "what changes while the copy is made.\n"
            "A backup is of one process: take one of each. It is of use as long as the events "
            "topics hold what came after\n"
            "it (`freshet restore` says so): take one more often than their retention.\n\n"
            "  freshet backup /backups/shop-$(date +%F) --config shop.properties\n"
            "  freshet backup /backups/shop-2026-11-22 --check\n"
            "  freshet restore --from /backups/shop-2026-11-22 --config shop.properties --dry-run",
    .flags = flags,
    .n_flags = sizeof(flags) / sizeof(flags[0]),
    .uses_config = true,
    .takes_args = true,
    .run = run,
};
