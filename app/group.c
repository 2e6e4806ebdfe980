/* The group's thread: turns, and beginning again after a lost transaction. */
#include "app/group.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "app/metrics.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sync.h"

enum { TURN_MS = 200, RECOVERY_PAUSE_MS = 200, RECOVERY_PAUSES = 25 };

struct group {
    struct group_env env;
    struct thread thread;
    bool is_started;
    int wake[2];
    struct flag stop, is_recovering;
    /* of the thread alone */
    int recoveries;            /* since something was committed */
    int64_t lost_ms;           /* when the first of them began */
    int64_t recovered_through; /* transactions committed, or epochs written, at the last one */
    /* guarded by mutex */
    struct mutex mutex;
    struct err err; /* why it goes no further; ERR_NONE: it goes */
};

static int64_t now_ms(void)
{
    return (int64_t)(clock_mono_ns() / 1000000);
}

/* ---- the thread ---- */

static bool shards_check(struct group *group, struct err *err)
{
    for (int i = 0; i < group->env.settings->shards; i++)
        if (!shard_is_running(group->env.shards[i], err)) return false;
    return group->env.committer ? committer_check(group->env.committer, err)
                                : emit_check(group->env.emit, err);
}

/* E6: nothing that was not written is of use, and a new producer knows what is committed. So memory is dropped and every partition
 * begins again, as after a crash. The same where a process of the default mode may send no more (emit/awake.h). */
static bool begin_again(struct group *group, struct err *err)
{
    const struct group_env *env = &group->env;
    int n = env->settings->shards;
    if (env->committer) committer_stop(env->committer);
    if (env->committer && !emit_transaction_drop(env->emit, err)) return false;
    ingest_drop(env->ingest);
    for (int i = 0; i < n; i++)
        if (!shard_reset(env->shards[i], err)) return false;
    if (env->committer && !ingest_keeps_place(env->ingest, err)) return false;
    if (!emit_renew(env->emit, err)) return false;
    if (env->committer) committer_reset(env->committer);
    if (!ingest_retake(env->ingest, err)) return false;
    for (int i = 0; i < n; i++)
        if (!shard_resume(env->shards[i], err)) return false;
    return !env->committer || committer_start(env->committer, env->ingest, err);
}

/* Whether another loss, with none committed since the last one, is tried again. */
static bool may_recover(struct group *group, struct err *err)
{
    int64_t committed = group->env.committer ? committer_committed(group->env.committer)
                                             : counters_get(group->env.counters, METRIC_COMMITS, 0);
    if (committed > group->recovered_through) group->recoveries = 0;
    group->recovered_through = committed;
    if (err->class != ERR_ABORT || flag_is_raised(&group->stop)) return false;
    if (group->recoveries++ == 0) group->lost_ms = now_ms();
    int64_t lost_ms = now_ms() - group->lost_ms;
    if (lost_ms <= group->env.settings->task_timeout_ms) return true;
    return err_wrap(err, "nothing was committed for %lld s (task.timeout.ms)",
                    (long long)lost_ms / 1000);
}

/* Tries when it is lost again and again, as long as task.timeout.ms says. */
static bool recover(struct group *group, struct err *err)
{
    bool is_done = false;
    flag_raise(&group->is_recovering);
    while (!is_done && may_recover(group, err)) {
        int pauses = group->recoveries - 1;
        log_err(LOG_WARN, "app", err);
        err->class = ERR_NONE;
        sync_sleep_ms((int64_t)RECOVERY_PAUSE_MS *
                      (pauses < RECOVERY_PAUSES ? pauses : RECOVERY_PAUSES));
        is_done = begin_again(group, err);
    }
    flag_lower(&group->is_recovering);
    if (is_done) log_info("app", "what was under way is done again", NULL);
    return is_done;
}

static void await_event(struct group *group)
{
    char bytes[64];
    struct pollfd fds[] = {{.fd = ingest_event_fd(group->env.ingest), .events = POLLIN},
                           {.fd = group->wake[0], .events = POLLIN}};
    (void)poll(fds, sizeof fds / sizeof fds[0], TURN_MS);
    while (read(group->wake[0], bytes, sizeof bytes) > 0)
        continue;
}

static void group_run(void *context)
{
    struct group *group = context;
    struct err err = ERR_INIT;
    while (!flag_is_raised(&group->stop)) {
        if (!ingest_serve(group->env.ingest, 0, &err)) break;
        if (!shards_check(group, &err) && !recover(group, &err)) break;
        if (!group->env.turned(group->env.context, &err)) break;
        await_event(group);
    }
    if (err.class == ERR_NONE || flag_is_raised(&group->stop)) return;
    err.class = ERR_FATAL;
    mutex_lock(&group->mutex);
    group->err = err;
    mutex_unlock(&group->mutex);
    group->env.failed(group->env.context);
}

/* ---- the main thread ---- */

bool group_start(struct group **out, const struct group_env *env, struct err *err)
{
    struct group *group = *out = mem_zalloc(sizeof *group);
    group->env = *env;
    group->wake[0] = group->wake[1] = -1;
    mutex_init(&group->mutex);
    if (pipe(group->wake) != 0) return err_set(err, ERR_FATAL, "cannot make a pipe");
    (void)fcntl(group->wake[0], F_SETFL, O_NONBLOCK);
    (void)fcntl(group->wake[1], F_SETFL, O_NONBLOCK);
    group->is_started = thread_start(&group->thread, "group", group_run, group, err);
    return group->is_started;
}

void group_wake(struct group *group)
{
    ssize_t ignored = write(group->wake[1], "!", 1);
    (void)ignored;
}

bool group_check(struct group *group, struct err *err)
{
    mutex_lock(&group->mutex);
    bool ok = group->err.class == ERR_NONE;
    if (!ok) *err = group->err;
    mutex_unlock(&group->mutex);
    return ok;
}

bool group_is_recovering(const struct group *group)
{
    return flag_is_raised(&group->is_recovering);
}

void group_stop(struct group *group)
{
    if (!group->is_started) return;
    flag_raise(&group->stop);
    emit_hurry(group->env.emit);
    ingest_hurry(group->env.ingest);
    group_wake(group);
    thread_join(&group->thread);
    group->is_started = false;
}

void group_free(struct group *group)
{
    if (!group) return;
    if (group->wake[0] >= 0) (void)close(group->wake[0]);
    if (group->wake[1] >= 0) (void)close(group->wake[1]);
    mutex_fini(&group->mutex);
    mem_free(group);
}
