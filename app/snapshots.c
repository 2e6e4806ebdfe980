/* Snapshots: the thread that takes them, and the start that goes on from one. */
#include "app/snapshots.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/reach.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/sync.h"

enum { LISTED_MAX = 128, STEP_MS = 50, AGAIN_MS = 60000, PATH_BYTES_MAX = 4096 };

struct snapshots {
    const struct settings *settings;
    const char *folder; /* the settings' */
    struct clock clock;
    struct state_lock *lock;
    struct state *state;
    bool (*is_settled)(void *context);
    void *context;
    struct thread thread;
    bool is_started;
    struct flag stop;
    struct sync_int taken, failed, newest_ms, bytes;
};

/* ---- the folder ---- */

bool snapshots_open(struct snapshots **out, const struct settings *settings, struct err *err)
{
    struct snapshots *snapshots = mem_zalloc(sizeof *snapshots);
    snapshots->settings = settings;
    snapshots->folder = settings->snapshot_folder;
    if (!state_snapshots_open(snapshots->folder, &snapshots->lock, err)) {
        mem_free(snapshots);
        return false;
    }
    *out = snapshots;
    return true;
}

static int64_t newest_ms(const struct snapshots *snapshots, char name[STATE_SNAPSHOT_NAME_MAX])
{
    struct state_snapshot_name newest;
    name[0] = '\0';
    if (state_snapshots_list(snapshots->folder, &newest, 1) == 0) return 0;
    (void)snprintf(name, STATE_SNAPSHOT_NAME_MAX, "%s", newest.text);
    return newest.taken_ms;
}

/* ---- taking ---- */

/* The newest so many stay. What cannot be removed is tried again with the next one. */
static void old_remove(const struct snapshots *snapshots, int kept)
{
    struct state_snapshot_name names[LISTED_MAX];
    int n = state_snapshots_list(snapshots->folder, names, LISTED_MAX);
    for (int i = kept; i < n; i++) {
        struct err err = ERR_INIT;
        if (!state_snapshot_remove(snapshots->folder, names[i].text, &err))
            log_err(LOG_WARN, "app", &err);
    }
}

static bool take(struct snapshots *snapshots, int64_t now_ms)
{
    struct err err = ERR_INIT;
    struct state_snapshot_taken taken;
    char before[STATE_SNAPSHOT_NAME_MAX];
    uint64_t began_us = clock_mono_us(&snapshots->clock);
    (void)newest_ms(snapshots, before);
    if (!state_snapshot_take(snapshots->state, snapshots->folder, before, now_ms, &taken, &err)) {
        (void)sync_int_add(&snapshots->failed, 1);
        log_err(LOG_WARN, "app", &err);
        return false;
    }
    old_remove(snapshots, snapshots->settings->snapshots_kept);
    (void)sync_int_add(&snapshots->taken, 1);
    sync_int_set(&snapshots->newest_ms, now_ms);
    sync_int_set(&snapshots->bytes, (int64_t)taken.bytes);
    log_info("app", "snapshot taken",
             "folder=\"%s\" files=%zu bytes=%" PRIu64 " bytes_new=%" PRIu64 " took_ms=%.0f",
             snapshots->folder, taken.files, taken.bytes, taken.bytes_new,
             (double)(clock_mono_us(&snapshots->clock) - began_us) / 1000.0);
    return true;
}

/* One that seems to come from the future is of a clock that was set back: it is not waited for. */
static bool is_due(const struct snapshots *snapshots, int64_t now_ms)
{
    int64_t newest = sync_int_get(&snapshots->newest_ms);
    return newest > now_ms || now_ms - newest >= snapshots->settings->snapshot_every_ms;
}

static void run(void *context)
{
    struct snapshots *snapshots = context;
    int64_t every_ms = snapshots->settings->snapshot_every_ms, again_ms = 0;
    for (; !flag_is_raised(&snapshots->stop); sync_sleep_ms(STEP_MS)) {
        int64_t now_ms = clock_wall_ms(&snapshots->clock);
        int64_t mono_ms = (int64_t)(clock_mono_us(&snapshots->clock) / 1000);
        if (mono_ms < again_ms || !is_due(snapshots, now_ms)) continue;
        if (!snapshots->is_settled(snapshots->context)) continue;
        if (!take(snapshots, now_ms))
            again_ms = mono_ms + (every_ms < AGAIN_MS ? every_ms : AGAIN_MS);
    }
}

bool snapshots_start(struct snapshots *snapshots, struct state *state,
                     bool (*is_settled)(void *context), void *context, struct err *err)
{
    char ignored[STATE_SNAPSHOT_NAME_MAX];
    if (!snapshots) return true;
    snapshots->state = state;
    snapshots->is_settled = is_settled;
    snapshots->context = context;
    sync_int_set(&snapshots->newest_ms, newest_ms(snapshots, ignored));
    snapshots->is_started = thread_start(&snapshots->thread, "snapshots", run, snapshots, err);
    return snapshots->is_started;
}

void snapshots_count(struct snapshots *snapshots, struct counters_slot *slot)
{
    if (!snapshots) return;
    counters_set(slot, METRIC_SNAPSHOTS, 0, sync_int_get(&snapshots->taken));
    counters_set(slot, METRIC_SNAPSHOTS_FAILED, 0, sync_int_get(&snapshots->failed));
    counters_set(slot, METRIC_SNAPSHOT_TIME, 0, sync_int_get(&snapshots->newest_ms));
    counters_set(slot, METRIC_SNAPSHOT_BYTES, 0, sync_int_get(&snapshots->bytes));
}

void snapshots_close(struct snapshots *snapshots)
{
    if (!snapshots) return;
    flag_raise(&snapshots->stop);
    if (snapshots->is_started) thread_join(&snapshots->thread);
    state_lock_release(snapshots->lock);
    mem_free(snapshots);
}

bool snapshots_remove(const struct settings *settings, bool dry, int *n, struct err *err)
{
    struct state_snapshot_name names[LISTED_MAX];
    struct state_lock *lock;
    *n = settings->snapshot_folder
             ? state_snapshots_list(settings->snapshot_folder, names, LISTED_MAX)
             : 0;
    if (*n == 0) return true;
    if (!state_snapshots_open(settings->snapshot_folder, &lock, err)) return false;
    bool ok = true;
    for (int i = 0; ok && !dry && i < *n; i++)
        ok = state_snapshot_remove(settings->snapshot_folder, names[i].text, err);
    state_lock_release(lock);
    return ok;
}

/* ---- a start without a store ---- */

struct moving {
    struct progress *bar;
    uint64_t bytes;
};

static void moved(void *context, uint64_t bytes)
{
    struct moving *moving = context;
    moving->bytes += bytes;
    if (moving->bar) progress_update(moving->bar, moving->bytes, NULL);
}

static void restored_tell(const struct snapshots *snapshots, const char *name,
                          const struct state_backup *backup, uint64_t began_us, int64_t to_read)
{
    double seconds = (double)(clock_mono_us(&snapshots->clock) - began_us) / 1e6;
    int64_t age_ms = clock_wall_ms(&snapshots->clock) - backup->taken_ms;
    log_info("app", "the store was restored from a snapshot",
             "snapshot=\"%s/%s\" age_s=%" PRId64 " files=%zu bytes=%" PRIu64
             " seconds=%.2f events_since=%" PRId64,
             snapshots->folder, name, age_ms / 1000, backup->n_files, backup->bytes, seconds,
             to_read);
}

/* Errors: why it is passed over, and those that end the start (is_over). */
static bool one_restore(const struct snapshots *snapshots, const char *name,
                        const struct state_identity *identity, struct err *err)
{
    const struct settings *settings = snapshots->settings;
    struct state_backup backup;
    struct moving moving = {0};
    int64_t to_read = 0;
    uint64_t began_us = clock_mono_us(&snapshots->clock);
    if (!state_snapshot_read(snapshots->folder, name, identity, &backup, err)) return false;
    bool ok = reach_check(settings, &backup, settings->changelog_topic == NULL, &to_read, err);
    if (ok) {
        const struct progress_options bar = {
            .what = "restore", .unit = "bytes", .total = backup.bytes, .fd = 2};
        if (isatty(2)) moving.bar = progress_new(&bar);
        ok = state_snapshot_restore(snapshots->folder, name, settings->state_folder, moved, &moving,
                                    err);
        progress_end(moving.bar);
    }
    if (ok) restored_tell(snapshots, name, &backup, began_us, to_read);
    state_backup_fini(&backup);
    return ok;
}

/* Not the snapshot's fault: the next one would fare no better. */
static bool is_over(const struct err *err)
{
    return err->exit_code == ERR_EXIT_DISK || err->exit_code == ERR_EXIT_UNREACHABLE;
}

bool snapshots_restore(struct snapshots *snapshots, const struct state_identity *identity,
                       struct err *err)
{
    struct state_snapshot_name names[LISTED_MAX];
    char path[PATH_BYTES_MAX];
    (void)snprintf(path, sizeof path, "%s/db", snapshots->settings->state_folder);
    if (access(path, F_OK) == 0) return true;
    int n = state_snapshots_list(snapshots->folder, names, LISTED_MAX);
    if (n > 0)
        log_info("app", "there is no store: it is restored from a snapshot", "store=\"%s\" n=%d",
                 path, n);
    for (int i = 0; i < n; i++) {
        struct err why = ERR_INIT;
        if (one_restore(snapshots, names[i].text, identity, &why)) return true;
        if (is_over(&why)) {
            *err = why;
            return false;
        }
        log_warn("app", "a snapshot is passed over", "snapshot=\"%s/%s\" why=\"%s\"",
                 snapshots->folder, names[i].text, why.text);
    }
    if (n > 0)
        log_warn("app",
                 "no snapshot is of use: the store begins anew, from the changelog or the events "
                 "topics",
                 "folder=\"%s\"", snapshots->folder);
    return true;
}
