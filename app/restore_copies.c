/* Copies of other processes' partitions: which are ours to keep. The group's coordinator knows who has what; each process asks it by
 * itself, and all come to the same answer (kafka_group_copies). A wrong one for a while costs a copy more or less. */
#include "app/restore_internal.h"
#include "base/log.h"

enum { SPREAD_MS = 5000, ASK_MS = 5000, TOUCH_MS = 60000 };

static bool is_due(struct restore *restore, uint64_t *last_us, int64_t every_ms)
{
    uint64_t now_us = clock_mono_us(&restore->clock);
    if (*last_us && now_us - *last_us < (uint64_t)every_ms * 1000) return false;
    *last_us = now_us;
    return true;
}

/* While partitions of ours are restored nothing is asked. */
static bool is_busy(const struct restore *restore)
{
    bool is_any = false;
    for (int32_t p = 0; p < restore->env.n_partitions; p++) {
        const struct restore__job *job = &restore->jobs[p];
        is_any =
            is_any || (job->state != RESTORE_IDLE && job->state != RESTORE_DONE && !job->is_copy);
    }
    return is_any;
}

static void spread(struct restore *restore)
{
    const struct settings *settings = restore->env.settings;
    struct err err = ERR_INIT;
    char member[INGEST_MEMBER_MAX] = "";
    mutex_lock(&restore->lock);
    struct ingest *ingest = restore->ingest;
    mutex_unlock(&restore->lock);
    if (ingest) ingest_member(ingest, member);
    if (!member[0]) return;
    if (!kafka_group_copies(&settings->kafka, settings->application_id, settings->topics[0], member,
                            settings->standbys, restore->env.n_partitions, restore->copies, ASK_MS,
                            &err))
        log_err(LOG_WARN, "app", &err);
}

/* Who is at the end of the log has missed nothing: tombstones may go. */
static void touch(struct restore *restore)
{
    int64_t now_ms = clock_wall_ms(&restore->clock);
    for (int32_t p = 0; p < restore->env.n_partitions; p++) {
        const struct restore__job *job = &restore->jobs[p];
        struct err err = ERR_INIT;
        bool is_copy = job->state == RESTORE_STEP && job->is_copy &&
                       ingest_reader_end(restore->reader, p) <= job->next;
        if (job->state != RESTORE_DONE && !is_copy) continue;
        if (!state_log_touch(restore->env.state, p, now_ms, &err)) log_err(LOG_WARN, "state", &err);
    }
}

void restore__copies_serve(struct restore *restore)
{
    if (is_due(restore, &restore->touched_us, TOUCH_MS)) touch(restore);
    if (restore->env.settings->standbys == 0 || is_busy(restore)) return;
    if (is_due(restore, &restore->spread_us, SPREAD_MS)) spread(restore);
}
