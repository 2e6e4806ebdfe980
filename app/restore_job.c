/* One partition: from where the store stands to the end of the changelog. */
#include <assert.h>
#include <string.h>

#include "app/restore_internal.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"

enum {
    BOUNDS_MS = 60000,
    STEP_RECORDS =
        5000, /* so many wait in memory for their marker, more are written under a mark */
    SEEK_RECORDS = 20000, /* of the log's end, at first */
    SEEK_TIMES = 8,
    TORN_MAX = 50 << 20, /* keys behind a last marker; an epoch of 64 MiB has far fewer */
    DISK_AGAIN_MS = 500,
};

static const char *const state_names[RESTORE_STATES] = {"idle", "seek", "bulk", "step", "done"};

/* The only way to another state. */
static void state_set(struct restore__job *job, enum restore__state to)
{
    static const bool legal[RESTORE_STATES][RESTORE_STATES] = {
        [RESTORE_IDLE] = {[RESTORE_SEEK] = true, [RESTORE_STEP] = true, [RESTORE_DONE] = true},
        [RESTORE_SEEK] = {[RESTORE_BULK] = true,
                          [RESTORE_STEP] = true,
                          [RESTORE_DONE] = true,
                          [RESTORE_IDLE] = true},
        [RESTORE_BULK] = {[RESTORE_STEP] = true, [RESTORE_IDLE] = true},
        [RESTORE_STEP] = {[RESTORE_DONE] = true, [RESTORE_SEEK] = true, [RESTORE_IDLE] = true},
        [RESTORE_DONE] = {[RESTORE_IDLE] = true},
    };
    log_debug("app", "restore", "partition=%d from=%s to=%s next=%lld", (int)job->partition,
              state_names[job->state], state_names[to], (long long)job->next);
    assert(legal[job->state][to]);
    job->state = to;
}

/* ---- a disk that is full is waited for ---- */

static bool is_waited(struct restore *restore, int64_t *since_ms, struct err *err)
{
    int64_t now_ms = (int64_t)(clock_mono_us(&restore->clock) / 1000);
    if (err->class != ERR_RETRY) return false;
    if (!*since_ms) log_err(LOG_WARN, "state", err);
    if (!*since_ms) *since_ms = now_ms;
    if (now_ms - *since_ms > restore->env.settings->task_timeout_ms)
        return err_fatal(err, ERR_EXIT_DISK, "the disk of %s is full: make room and start again",
                         restore->env.settings->state_folder);
    if (restore__is_stopping(restore))
        return err_fatal(err, ERR_EXIT_DISK, "stopped while the disk is full");
    err->class = ERR_NONE;
    sync_sleep_ms(DISK_AGAIN_MS);
    return true;
}

static bool bulk_begin(struct restore *restore, struct restore__job *job, struct err *err)
{
    int64_t since_ms = 0;
    while (!state_image_bulk(job->image, job->from, job->log.wall_ms, err))
        if (!is_waited(restore, &since_ms, err)) return false;
    return true;
}

static bool row_apply(struct restore *restore, struct restore__job *job,
                      const struct ingest_reader_record *record, struct err *err)
{
    int64_t since_ms = 0;
    job->records++;
    (void)sync_int_add(&restore->records, 1);
    if (state_image_row(job->image, record->key, record->value, err)) return true;
    /* What is written with the next rows is in memory until then. */
    return is_waited(restore, &since_ms, err);
}

static bool marker_apply(struct restore *restore, struct restore__job *job,
                         const struct ingest_reader_record *record, struct err *err)
{
    int64_t since_ms = 0,
            *next = mem_alloc((size_t)state_topics(restore->env.state) * sizeof *next);
    const struct state_log log = {.next = record->offset + 1,
                                  .wall_ms = clock_wall_ms(&restore->clock)};
    bool ok = state_marker_decode(restore->env.state, record->value, next, err);
    while (ok && !state_image_commit(job->image, next, &log, err))
        ok = is_waited(restore, &since_ms, err);
    mem_free(next);
    return ok;
}

/* ---- ending ---- */

static void key_note(void *context, struct str key)
{
    struct restore__job *job = context;
    (void)map_str_set(job->torn, key, job);
}

/* The end of the log: the rows are as of its last marker. */
static bool finish(struct restore *restore, struct restore__job *job, struct err *err)
{
    struct state_log log = {.next = job->next, .wall_ms = clock_wall_ms(&restore->clock)};
    ingest_reader_stop(restore->reader, job->partition);
    if (job->image && state_image_bytes(job->image) > 0)
        state_image_drop(job->image, key_note, job);
    bool is_torn = map_str_count(job->torn) > 0 && !fault_mutant("torn_rows_left");
    if (job->has_reset) job->writes = true;
    if ((job->writes || is_torn) && !restore__log_write(restore, job, &log.next, err)) return false;
    if (!state_positions_get(restore->env.state, job->partition, job->have, err)) return false;
    log.sum = state_log_sum(restore->env.state, job->have);
    bool is_changed = job->records > 0 || job->writes || is_torn;
    if (!state_log_put(restore->env.state, job->partition, &log, is_changed, err)) {
        if (err->class == ERR_RETRY) err->class = ERR_FATAL;
        return false;
    }
    double seconds = (double)(clock_mono_us(&restore->clock) - job->began_us) / 1e6;
    if (is_changed)
        log_info("app", "partition restored",
                 "partition=%d records=%lld seconds=%.2f records_per_s=%.0f repaired=%zu "
                 "written_whole=%d next=%lld",
                 (int)job->partition, (long long)job->records, seconds,
                 seconds > 0 ? (double)job->records / seconds : 0.0, map_str_count(job->torn),
                 job->writes, (long long)job->have[0]);
    restore__job_end(restore, job);
    state_set(job, RESTORE_DONE);
    return true;
}

void restore__job_end(struct restore *restore, struct restore__job *job)
{
    if (job->state != RESTORE_IDLE && job->state != RESTORE_DONE)
        ingest_reader_stop(restore->reader, job->partition);
    state_image_free(job->image);
    if (job->torn) map_str_free(job->torn);
    job->image = NULL;
    job->torn = NULL;
}

/* ---- where to begin ---- */

static bool read_from(struct restore *restore, struct restore__job *job, int64_t from,
                      struct err *err)
{
    job->next = from < job->begin ? job->begin : from;
    return ingest_reader_start(restore->reader, job->partition, job->next, err);
}

/* Once: what was behind is there, and what comes is followed. */
static void copy_tell(struct restore__job *job)
{
    if (job->is_told) return;
    job->is_told = true;
    log_info("app", "a copy of another process's partition is kept", "partition=%d records=%lld",
             (int)job->partition, (long long)job->records);
}

static bool step_begin(struct restore *restore, struct restore__job *job, struct err *err)
{
    if (!job->image) job->image = state_image_new(restore->env.state, job->partition);
    state_set(job, RESTORE_STEP);
    if (job->next >= job->end && !job->is_copy) return finish(restore, job, err);
    if (job->next >= job->end) copy_tell(job);
    return true;
}

/* A copy of a partition whose log has no marker to begin at: the first one that comes is, and what stands before it is read then. */
static bool copy_wait(struct restore *restore, struct restore__job *job, struct err *err)
{
    job->has_reset = true;
    return read_from(restore, job, job->end, err) && step_begin(restore, job, err);
}

static bool seek_begin(struct restore *restore, struct restore__job *job, struct err *err)
{
    int64_t lowest = job->from < job->begin ? job->begin : job->from;
    int64_t n = job->sought < 0 ? SEEK_RECORDS : (job->end - job->sought) * SEEK_TIMES;
    job->sought = job->end - n < lowest ? lowest : job->end - n;
    if (job->state != RESTORE_SEEK) state_set(job, RESTORE_SEEK);
    return read_from(restore, job, job->sought, err);
}

/* The store's rows are of no use beside the log. */
static bool is_rebuilt(struct restore *restore, struct restore__job *job)
{
    int64_t age_ms = clock_wall_ms(&restore->clock) - job->log.wall_ms;
    if (job->log.next < 0 || job->log.next == job->end) return false;
    if (age_ms > restore->horizon_ms && !fault_mutant("horizon_ignored")) {
        log_warn("app",
                 "the store is older than the changelog keeps deletions: the partition is restored "
                 "from the changelog's beginning",
                 "partition=%d age_s=%lld delete_retention_s=%lld", (int)job->partition,
                 (long long)(age_ms / 1000), (long long)(restore->horizon_ms / 1000));
        return true;
    }
    if (job->log.next >= job->begin && job->log.next <= job->end) return false;
    log_warn("app", "the changelog no longer holds the store's place in it",
             "partition=%d place=%lld begin=%lld end=%lld", (int)job->partition,
             (long long)job->log.next, (long long)job->begin, (long long)job->end);
    job->log.next = -1; /* perhaps the topic is new: who is ahead counts */
    return true;
}

/* What a restore left in the middle, and no log to go on from: the source topics are. */
static bool remains_remove(struct restore *restore, struct restore__job *job, struct err *err)
{
    if (!job->log.is_restoring) return true;
    if (!state_image_wipe(restore->env.state, job->partition, err)) {
        err->class = ERR_FATAL;
        return false;
    }
    return state_positions_get(restore->env.state, job->partition, job->have, err);
}

/* Nothing in the log is of use: the store as it is goes into it, if it has anything. */
static bool begin_without_log(struct restore *restore, struct restore__job *job, bool is_known,
                              struct err *err)
{
    if (job->begin == job->end && !remains_remove(restore, job, err)) return false;
    if (job->is_copy)
        return read_from(restore, job, job->end, err) && step_begin(restore, job, err);
    job->next = job->end;
    if (!is_known && state_log_sum(restore->env.state, job->have) > 0) job->writes = true;
    return finish(restore, job, err);
}

static bool bounds_ask(struct restore *restore, struct restore__job *job, struct err *err)
{
    if (ingest_reader_bounds(restore->reader, job->partition, &job->begin, &job->end, BOUNDS_MS,
                             err))
        return true;
    err->class = ERR_FATAL;
    return false;
}

bool restore__job_claim(struct restore *restore, struct restore__job *job, struct err *err)
{
    job->is_copy = false;
    job->records = 0;
    job->began_us = clock_mono_us(&restore->clock);
    if (!bounds_ask(restore, job, err)) return false;
    log_debug("app", "a copy is ours now", "partition=%d left=%lld", (int)job->partition,
              (long long)(job->end - job->next));
    if (job->state == RESTORE_STEP && job->next >= job->end) return finish(restore, job, err);
    return true;
}

bool restore__job_begin(struct restore *restore, struct restore__job *job, bool is_copy,
                        struct err *err)
{
    struct state *state = restore->env.state;
    int32_t partition = job->partition;
    job->is_copy = is_copy;
    job->is_told = false;
    job->began_us = clock_mono_us(&restore->clock);
    job->records = 0;
    job->last = job->sought = -1;
    job->writes = job->has_reset = false;
    job->torn = map_str_new(TORN_MAX, MAP_KEYS_COPIED);
    if (!state_log_get(state, partition, &job->log, err)) return false;
    if (!state_positions_get(state, partition, job->have, err)) return false;
    if (!bounds_ask(restore, job, err)) return false;
    job->from = is_rebuilt(restore, job) ? -1 : job->log.next;
    bool is_known = job->from >= 0 && !job->log.is_restoring;
    bool is_apart = is_known && job->log.sum != state_log_sum(state, job->have);
    if (is_apart && is_copy) job->from = -1; /* the log is right: its owner writes it */
    if (is_apart && is_copy) is_known = false;
    job->writes = is_apart && !is_copy;
    log_debug("app", "restore begins", "partition=%d from=%lld begin=%lld end=%lld", (int)partition,
              (long long)job->from, (long long)job->begin, (long long)job->end);
    if (job->begin == job->end || (is_known && job->from == job->end) || job->writes)
        return begin_without_log(restore, job, is_known, err);
    if (!is_known || job->end - job->from > STEP_RECORDS) return seek_begin(restore, job, err);
    return read_from(restore, job, job->from, err) && step_begin(restore, job, err);
}

/* ---- seeking ---- */

/* Whether the store, of which nobody knows where it is in the log, is at least where the log is. */
static bool is_store_ahead(const struct restore *restore, const struct restore__job *job)
{
    int topics = state_topics(restore->env.state);
    bool is_any = false;
    if (job->log.is_restoring || job->log.next >= 0 || job->is_copy) return false;
    for (int i = 0; i < topics; i++) {
        if (job->have[i] < job->found[i]) return false;
        is_any = is_any || job->have[i] >= 0;
    }
    return is_any;
}

/* The end of the log, and no marker in what was read of it: further back, or there is none. */
static bool seek_further(struct restore *restore, struct restore__job *job, struct err *err)
{
    int64_t lowest = job->from < job->begin ? job->begin : job->from;
    if (job->sought > lowest) return seek_begin(restore, job, err);
    bool is_kept = job->from >= 0 && !job->log.is_restoring;
    if (is_kept) return read_from(restore, job, job->from, err) && step_begin(restore, job, err);
    if (job->is_copy) return copy_wait(restore, job, err);
    log_warn("app", "the changelog has records and no marker: it is written anew",
             "partition=%d records=%lld", (int)job->partition, (long long)(job->end - job->begin));
    if (!remains_remove(restore, job, err)) return false;
    job->writes = true;
    return finish(restore, job, err);
}

static bool seek_end(struct restore *restore, struct restore__job *job, struct err *err)
{
    if (job->last < 0) return seek_further(restore, job, err);
    if (is_store_ahead(restore, job)) {
        job->writes = true;
        return finish(restore, job, err);
    }
    if (job->from < 0) (void)sync_int_add(&restore->full, 1);
    job->image = state_image_new(restore->env.state, job->partition);
    log_info("app", "restoring a partition", "partition=%d records=%lld from=%lld to=%lld",
             (int)job->partition, (long long)(job->end - (job->from < 0 ? job->begin : job->from)),
             (long long)job->from, (long long)job->end);
    if (!bulk_begin(restore, job, err)) return false;
    state_set(job, RESTORE_BULK);
    return read_from(restore, job, job->from, err);
}

static bool seek_record(struct restore *restore, struct restore__job *job,
                        const struct ingest_reader_record *record, struct err *err)
{
    if (state_record_kind(record->key) == STATE_RECORD_MARKER) {
        job->last = record->offset;
        if (!state_marker_decode(restore->env.state, record->value, job->found, err)) return false;
    }
    return true;
}

/* ---- rows ---- */

static bool bulk_record(struct restore *restore, struct restore__job *job,
                        const struct ingest_reader_record *record, struct err *err)
{
    switch (state_record_kind(record->key)) {
    case STATE_RECORD_RESET:
        job->from = -1;
        return bulk_begin(restore, job, err);
    case STATE_RECORD_MARKER:
        if (record->offset < job->last) return true;
        if (!marker_apply(restore, job, record, err)) return false;
        return step_begin(restore, job, err);
    default:
        return row_apply(restore, job, record, err);
    }
}

static bool step_record(struct restore *restore, struct restore__job *job,
                        const struct ingest_reader_record *record, struct err *err)
{
    switch (state_record_kind(record->key)) {
    case STATE_RECORD_RESET:
        job->has_reset = true;
        return true;
    case STATE_RECORD_MARKER:
        if (!job->has_reset) return marker_apply(restore, job, record, err);
        /* The log was written anew: its rows take the place of ours. */
        job->has_reset = false;
        job->from = -1;
        job->sought = -1;
        job->last = -1;
        job->log.next = 0;
        if (job->end <= record->offset) job->end = record->offset + 1;
        state_image_free(job->image);
        job->image = NULL;
        return seek_begin(restore, job, err);
    default:
        return job->has_reset || row_apply(restore, job, record, err);
    }
}

static bool record_apply(struct restore *restore, struct restore__job *job,
                         const struct ingest_reader_record *record, struct err *err)
{
    switch (job->state) {
    case RESTORE_SEEK:
        return seek_record(restore, job, record, err);
    case RESTORE_BULK:
        return bulk_record(restore, job, record, err);
    case RESTORE_STEP:
        return step_record(restore, job, record, err);
    default:
        return true;
    }
}

bool restore__job_record(struct restore *restore, struct restore__job *job,
                         const struct ingest_reader_record *record, struct err *err)
{
    enum restore__state before = job->state;
    if (record->kind == READER_GONE)
        return err_fatal(
            err, ERR_EXIT_TOPIC,
            "the changelog lost offset %lld of partition %d while it was read: was the "
            "topic deleted? Start again",
            (long long)job->next, (int)job->partition);
    if (record->kind == READER_RECORD && !record_apply(restore, job, record, err))
        return err_wrap(err, "%s/%d offset %lld", restore->env.settings->changelog_topic,
                        (int)job->partition, (long long)record->offset);
    /* Reading may have begun elsewhere just now. */
    bool is_elsewhere =
        job->state != before && (job->state == RESTORE_SEEK || job->state == RESTORE_DONE);
    if (is_elsewhere) return true;
    job->next = record->kind == READER_RECORD ? record->offset + 1 : record->offset;
    if (job->next < job->end) return true;
    if (job->state == RESTORE_SEEK) return seek_end(restore, job, err);
    if (job->state != RESTORE_STEP) return true;
    if (!job->is_copy) return finish(restore, job, err);
    copy_tell(job);
    return true;
}
