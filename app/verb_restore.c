/* freshet restore --from FOLDER: a backup becomes the store again. The events since are read again from Kafka, so what counts is
 * that the topics still hold them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/app.h"
#include "app/owner.h"
#include "app/reach.h"
#include "app/settings.h"
#include "app/when.h"
#include "base/clock.h"
#include "base/mem.h"
#include "state/state.h"

enum { PATH_BYTES_MAX = 4096 };

/* ---- what the topics still hold ---- */

static bool log_check(const struct settings *settings, const struct state_backup *backup,
                      struct err *err)
{
    int64_t to_read = 0;
    if (!reach_check(settings, backup, true, &to_read, err)) return false;
    printf("the topics hold what came after it: %" PRId64 " records will be read again\n", to_read);
    return true;
}

/* ---- the verb ---- */

static bool position_take(void *context, const char *topic, int32_t partition, int64_t next)
{
    struct state_backup *backup = context;
    backup->positions =
        mem_realloc(backup->positions, (backup->n_positions + 1) * sizeof *backup->positions);
    struct state_backup_position *position = &backup->positions[backup->n_positions++];
    *position = (struct state_backup_position){.partition = partition, .next = next};
    (void)snprintf(position->topic, sizeof position->topic, "%s", topic);
    return true;
}

/* Of this application, cluster, topics and partitions. The positions that count are the store's own, not the manifest's. */
static bool owner_check(const struct settings *settings, const char *from,
                        struct state_backup *backup, struct err *err)
{
    struct owner owner;
    struct state *state;
    if (!owner_ask(&owner, settings, err)) return false;
    if (!state_open_readonly(&state, from, err)) return false;
    backup->n_positions = 0;
    backup->n_partitions = owner.identity.n_partitions;
    bool ok = state_belongs_to(state, &owner.identity, err) &&
              state_positions_each(state, position_take, backup, err);
    state_close(state);
    return ok;
}

/* The store that is there goes aside under a name of its own; nobody may have it open. */
static bool place_clear(const struct settings *settings, bool replace, bool dry, struct err *err)
{
    char path[PATH_BYTES_MAX], aside[64];
    struct state_lock *lock;
    struct clock clock = {0};
    const char *folder = settings->state_folder;
    (void)snprintf(path, sizeof path, "%s/db", folder);
    if (access(path, F_OK) != 0) return true;
    if (!state_lock_take(&lock, folder, NULL, err)) return false;
    (void)snprintf(aside, sizeof aside, "db.before-restore-%" PRId64, clock_wall_ms(&clock));
    bool ok = replace ||
              err_fatal(err, ERR_EXIT_USAGE,
                        "%s has a store already: --replace moves it aside (to %s)", folder, aside);
    if (ok)
        printf("%s the store that is there to %s/%s\n", dry ? "would move" : "moving", folder,
               aside);
    if (ok && !dry) ok = state_set_aside(folder, aside, err);
    state_lock_release(lock);
    return ok;
}

static bool restore(const struct settings *settings, const struct options *flags, struct err *err)
{
    const char *from = options_text(flags, "from");
    bool dry = options_bool(flags, "dry-run");
    struct state_backup backup;
    char taken[WHEN_TEXT_MAX];
    if (!state_backup_check(from, &backup, err)) return false;
    printf("%s: taken %s, %zu files, %" PRIu64 " bytes, every file as it was taken\n", from,
           when_print(backup.taken_ms, taken), backup.n_files, backup.bytes);
    bool ok = owner_check(settings, from, &backup, err) && log_check(settings, &backup, err) &&
              place_clear(settings, options_bool(flags, "replace"), dry, err);
    state_backup_fini(&backup);
    if (!ok) return false;
    if (dry) {
        printf("would make it the store in %s\n", settings->state_folder);
        return true;
    }
    if (!state_backup_restore(from, settings->state_folder, err)) return false;
    printf("restored into %s: start `freshet run`, it goes on from there\n",
           settings->state_folder);
    return true;
}

static bool run(struct app *app, struct err *err)
{
    struct settings settings;
    if (options_text(app->flags, "from")[0] == '\0')
        return err_fatal(err, ERR_EXIT_USAGE, "say which backup: --from FOLDER");
    bool ok = settings_init(&settings, app->config, err) && restore(&settings, app->flags, err);
    settings_fini(&settings);
    return ok;
}

/* {name, type, default, min, max, unit, values, help, group} */
static const struct option_spec flags[] = {
    /* clang-format off */
    {"from", OPTION_TEXT, "", 0, 0, "", NULL, "The backup's folder.", "Which"},
    {"replace", OPTION_BOOL, "false", 0, 0, "", NULL, "Move a store that is there aside; it is not deleted.", "How"},
    {"dry-run", OPTION_BOOL, "false", 0, 0, "", NULL, "Check all and only say what would be done.", "How"},
    /* clang-format on */
};

const struct verb verb_restore = {
    .name = "restore",
    .summary = "make a backup the store again",
    .usage = "freshet restore --from FOLDER --config shop.properties [--replace] [--dry-run]",
    .help =
        "Checks first, and touches nothing when something is wrong: every file against the "
        "manifest; that the backup is of this\n"
        "application, cluster, events topics and number of partitions; that no process owns the "
        "state folder; and that\n"
        "the topics still hold every event since the backup. The next `freshet run` goes on at the "
        "backup's positions\n"
        "and reads those events again: users come out as they were, and lists of that time are "
        "published again, with the\n"
        "freshet-src that they had. For a moment in the past choose the backup of that moment.\n\n"
        "  freshet restore --from /backups/shop-2026-11-22 --config shop.properties --dry-run\n"
        "  freshet restore --from /backups/shop-2026-11-22 --config shop.properties --replace",
    .flags = flags,
    .n_flags = sizeof(flags) / sizeof(flags[0]),
    .uses_config = true,
    .run = run,
};
