/* The restore thread: which partitions are wanted, reading for all of them, what is told of them. */
#include "app/restore.h"

#include <string.h>
#include <unistd.h>

#include "app/restore_internal.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/progress.h"

enum {
    OPEN_MS = 15000,
    BATCH_MAX = 4096,
    POLL_MS = 100,
    TELL_MS = 2000,
    HORIZON_UNKNOWN_MS = 86400000, /* the brokers' default */
};

bool restore__is_stopping(struct restore *restore)
{
    mutex_lock(&restore->lock);
    bool is_stopping = restore->is_stopping;
    mutex_unlock(&restore->lock);
    return is_stopping;
}

/* ---- the thread ---- */

static bool is_active(const struct restore__job *job)
{
    return job->state != RESTORE_IDLE && job->state != RESTORE_DONE;
}

/* Records that the job still has to read. */
static int64_t left_of(const struct restore__job *job)
{
    int64_t from = job->from < job->begin ? job->begin : job->from;
    if (!is_active(job) || job->is_copy) return 0;
    return job->end - (job->state == RESTORE_SEEK ? from : job->next);
}

static void counts_set(struct restore *restore)
{
    int64_t partitions = 0, left = 0, copies = 0, lag = 0;
    for (int32_t p = 0; p < restore->env.n_partitions; p++) {
        const struct restore__job *job = &restore->jobs[p];
        bool is_copy = is_active(job) && job->is_copy;
        int64_t behind = is_copy ? ingest_reader_end(restore->reader, p) - job->next : 0;
        partitions += is_active(job) && !job->is_copy;
        left += left_of(job);
        copies += is_copy;
        lag += behind > 0 ? behind : 0;
    }
    sync_int_set(&restore->partitions, partitions);
    sync_int_set(&restore->left, left);
    sync_int_set(&restore->n_copies, copies);
    sync_int_set(&restore->copies_lag, lag);
}

/* A line each two seconds, or a bar on a terminal. */
struct telling {
    struct progress *bar; /* NULL: not on a terminal, or nothing to tell */
    uint64_t told_us;
    int64_t records; /* when it was told */
};

static void tell(struct restore *restore, struct telling *telling)
{
    uint64_t now_us = clock_mono_us(&restore->clock);
    int64_t left = sync_int_get(&restore->left), records = sync_int_get(&restore->records);
    if (telling->bar) {
        progress_total(telling->bar, (uint64_t)(records + left));
        progress_update(telling->bar, (uint64_t)records, NULL);
    }
    if (now_us - telling->told_us < (uint64_t)TELL_MS * 1000 || left == 0) return;
    double seconds = (double)(now_us - telling->told_us) / 1e6;
    double rate = (double)(records - telling->records) / seconds;
    telling->told_us = now_us;
    telling->records = records;
    if (telling->bar || rate <= 0) return;
    log_info("app", "restoring", "partitions=%lld left=%lld records_per_s=%.0f seconds_left=%.0f",
             (long long)sync_int_get(&restore->partitions), (long long)left, rate,
             (double)left / rate);
}

/* The bar is there while something is restored. */
static void bar_serve(struct restore *restore, struct telling *telling)
{
    bool is_busy = sync_int_get(&restore->left) > 0;
    const struct progress_options options = {.what = "restore", .unit = "records", .fd = 2};
    if (is_busy && !telling->bar && isatty(2)) telling->bar = progress_new(&options);
    if (!is_busy && telling->bar) {
        progress_end(telling->bar);
        telling->bar = NULL;
    }
}

/* Nobody waits for a partition that was revoked meanwhile. */
static void want_ready(struct restore *restore, int32_t partition)
{
    mutex_lock(&restore->lock);
    restore->wants[partition].is_ready = restore->wants[partition].is_wanted;
    mutex_unlock(&restore->lock);
    restore->env.wake(restore->env.context);
}

/* The thread has let go of the partition. */
static void job_drop(struct restore *restore, struct restore__job *job)
{
    restore__job_end(restore, job);
    job->state = RESTORE_IDLE;
    mutex_lock(&restore->lock);
    restore->wants[job->partition].is_held = false;
    condition_broadcast(&restore->changed);
    mutex_unlock(&restore->lock);
}

/* Starts what is wanted, ours before copies, and lets go of what is not. Errors: as jobs. */
static bool want_serve(struct restore *restore, struct restore__job *job, struct err *err)
{
    int32_t p = job->partition;
    mutex_lock(&restore->lock);
    bool is_wanted = restore->wants[p].is_wanted;
    if (is_wanted) restore->wants[p].is_held = true;
    mutex_unlock(&restore->lock);
    enum restore__state before = job->state;
    bool is_copy = before != RESTORE_IDLE && job->is_copy, ok = true;
    bool is_kept = is_wanted || (is_copy && restore->copies[p]);
    if (before != RESTORE_IDLE && !is_kept) job_drop(restore, job);
    if (is_wanted && is_copy) ok = restore__job_claim(restore, job, err);
    if (job->state == RESTORE_IDLE && (is_wanted || restore->copies[p]))
        ok = restore__job_begin(restore, job, !is_wanted, err);
    if (ok && before != RESTORE_DONE && job->state == RESTORE_DONE) want_ready(restore, p);
    return ok;
}

static bool wants_serve(struct restore *restore, struct err *err)
{
    for (int32_t p = 0; p < restore->env.n_partitions; p++)
        if (!want_serve(restore, &restore->jobs[p], err)) return false;
    return true;
}

static bool batch_apply(struct restore *restore, const struct ingest_reader_batch *batch,
                        struct err *err)
{
    for (int i = 0; i < batch->n; i++) {
        const struct ingest_reader_record *record = &batch->records[i];
        struct restore__job *job = &restore->jobs[record->partition];
        if (!is_active(job) || !ingest_reader_is_current(restore->reader, record)) continue;
        if (!restore__job_record(restore, job, record, err)) return false;
        if (job->state == RESTORE_DONE) want_ready(restore, job->partition);
    }
    return true;
}

static bool round_run(struct restore *restore, struct telling *telling, struct err *err)
{
    struct ingest_reader_batch batch;
    if (!wants_serve(restore, err)) return false;
    restore__copies_serve(restore);
    counts_set(restore);
    bar_serve(restore, telling);
    tell(restore, telling);
    bool ok = ingest_reader_poll(restore->reader, POLL_MS, &batch, err) &&
              batch_apply(restore, &batch, err);
    ingest_reader_release(restore->reader, &batch);
    return ok;
}

static void restore_run(void *context)
{
    struct restore *restore = context;
    struct telling telling = {.told_us = clock_mono_us(&restore->clock)};
    struct err err = ERR_INIT;
    while (!restore__is_stopping(restore) && round_run(restore, &telling, &err))
        continue;
    progress_end(telling.bar);
    bool was_stopped = restore__is_stopping(restore);
    mutex_lock(&restore->lock);
    if (!was_stopped) restore->err = err;
    for (int32_t p = 0; p < restore->env.n_partitions; p++)
        restore->wants[p].is_held = false;
    condition_broadcast(&restore->changed);
    mutex_unlock(&restore->lock);
    if (!was_stopped) restore->env.wake(restore->env.context);
}

/* ---- life ---- */

static bool topic_check(struct restore *restore, struct err *err)
{
    const struct settings *settings = restore->env.settings;
    const char *name = settings->changelog_topic;
    struct kafka_topic_info info;
    if (!kafka_topic_describe(&settings->kafka, &name, 1, &info, OPEN_MS, err)) return false;
    restore->horizon_ms =
        info.delete_retention_ms >= 0 ? info.delete_retention_ms : HORIZON_UNKNOWN_MS;
    if (info.partitions == 0)
        return err_fatal(err, ERR_EXIT_TOPIC,
                         "changelog topic %s does not exist: create it with `freshet topics "
                         "create`, or set statestore.changelog.enabled=false",
                         name);
    if (info.partitions != restore->env.n_partitions)
        return err_fatal(err, ERR_EXIT_TOPIC,
                         "changelog topic %s has %d partitions and the events topics have %d: "
                         "delete it and `freshet topics create`",
                         name, info.partitions, restore->env.n_partitions);
    if (!info.compact && info.delete_retention_ms >= 0)
        return err_fatal(err, ERR_EXIT_TOPIC,
                         "changelog topic %s is not compacted, so it forgets users: set "
                         "cleanup.policy=compact (kafka-configs --alter)",
                         name);
    return true;
}

bool restore_open(struct restore **out, const struct restore_env *env, struct err *err)
{
    struct restore *restore = mem_zalloc(sizeof *restore);
    size_t n = (size_t)env->n_partitions, topics = (size_t)state_topics(env->state);
    restore->env = *env;
    mutex_init(&restore->lock);
    condition_init(&restore->changed);
    restore->wants = mem_zalloc(n * sizeof *restore->wants);
    restore->jobs = mem_zalloc(n * sizeof *restore->jobs);
    restore->copies = mem_zalloc(n * sizeof *restore->copies);
    for (size_t p = 0; p < n; p++) {
        restore->jobs[p].partition = (int32_t)p;
        restore->jobs[p].have = mem_zalloc(topics * sizeof(int64_t));
        restore->jobs[p].found = mem_zalloc(topics * sizeof(int64_t));
    }
    bool ok = topic_check(restore, err) &&
              ingest_reader_open(&restore->reader, &env->settings->kafka,
                                 env->settings->changelog_topic, BATCH_MAX, OPEN_MS, err);
    restore->is_started =
        ok && thread_start(&restore->thread, "restore", restore_run, restore, err);
    if (!restore->is_started) {
        restore_close(restore);
        return false;
    }
    *out = restore;
    return true;
}

void restore_stop(struct restore *restore)
{
    mutex_lock(&restore->lock);
    restore->is_stopping = true;
    mutex_unlock(&restore->lock);
    if (restore->reader) ingest_reader_wake(restore->reader);
    if (restore->is_started) thread_join(&restore->thread);
    restore->is_started = false;
}

void restore_close(struct restore *restore)
{
    if (!restore) return;
    restore_stop(restore);
    for (int32_t p = 0; p < restore->env.n_partitions; p++) {
        if (restore->reader) restore__job_end(restore, &restore->jobs[p]);
        mem_free(restore->jobs[p].have);
        mem_free(restore->jobs[p].found);
    }
    ingest_reader_close(restore->reader);
    emit_copier_close(restore->copier);
    condition_fini(&restore->changed);
    mutex_fini(&restore->lock);
    mem_free(restore->copies);
    mem_free(restore->wants);
    mem_free(restore->jobs);
    mem_free(restore);
}

/* ---- the main thread ---- */

void restore_group(struct restore *restore, struct ingest *ingest)
{
    mutex_lock(&restore->lock);
    restore->ingest = ingest;
    mutex_unlock(&restore->lock);
}

static void want_set(struct restore *restore, int32_t partition, bool is_wanted)
{
    struct restore__want *want = &restore->wants[partition];
    mutex_lock(&restore->lock);
    want->is_wanted = is_wanted;
    want->is_ready = want->is_taken = false;
    mutex_unlock(&restore->lock);
    ingest_reader_wake(restore->reader);
}

void restore_begin(struct restore *restore, int32_t partition)
{
    want_set(restore, partition, true);
}

void restore_end(struct restore *restore, int32_t partition)
{
    want_set(restore, partition, false);
    mutex_lock(&restore->lock);
    while (restore->wants[partition].is_held && restore->err.class == ERR_NONE)
        condition_wait(&restore->changed, &restore->lock);
    mutex_unlock(&restore->lock);
}

bool restore_take(struct restore *restore, int32_t *partition)
{
    bool is_there = false;
    mutex_lock(&restore->lock);
    for (int32_t p = 0; !is_there && p < restore->env.n_partitions; p++) {
        is_there = restore->wants[p].is_ready;
        restore->wants[p].is_ready = false;
        if (is_there) restore->wants[p].is_taken = true;
        if (is_there) *partition = p;
    }
    mutex_unlock(&restore->lock);
    return is_there;
}

int restore_waiting(struct restore *restore)
{
    int n = 0;
    mutex_lock(&restore->lock);
    for (int32_t p = 0; p < restore->env.n_partitions; p++)
        n += restore->wants[p].is_wanted && !restore->wants[p].is_taken;
    mutex_unlock(&restore->lock);
    return n;
}

bool restore_check(struct restore *restore, struct err *err)
{
    mutex_lock(&restore->lock);
    bool ok = restore->err.class == ERR_NONE;
    if (!ok) *err = restore->err;
    mutex_unlock(&restore->lock);
    return ok;
}

void restore_count(struct restore *restore, struct counters_slot *slot)
{
    counters_set(slot, METRIC_RESTORE_PARTITIONS, 0, sync_int_get(&restore->partitions));
    counters_set(slot, METRIC_RESTORE_LEFT, 0, sync_int_get(&restore->left));
    counters_set(slot, METRIC_RESTORE_RECORDS, 0, sync_int_get(&restore->records));
    counters_set(slot, METRIC_RESTORE_FULL, 0, sync_int_get(&restore->full));
    counters_set(slot, METRIC_RESTORE_REPAIRED, 0, sync_int_get(&restore->repaired));
    counters_set(slot, METRIC_RESTORE_WRITTEN, 0, sync_int_get(&restore->written));
    counters_set(slot, METRIC_STANDBY_PARTITIONS, 0, sync_int_get(&restore->n_copies));
    counters_set(slot, METRIC_STANDBY_LAG, 0, sync_int_get(&restore->copies_lag));
}
