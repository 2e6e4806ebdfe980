#ifndef APP_RESTORE_INTERNAL_H
#define APP_RESTORE_INTERNAL_H

#include "app/restore.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/sync.h"
#include "emit/emit.h"
#include "ingest/ingest.h"

/* What app/restore.c (the thread), app/restore_job.c (one partition) and app/restore_log.c (writing into the log) share. */

/* One partition on its way.
 *
 *     IDLE --begin--> SEEK --last marker found--> BULK --there--> STEP --end--> DONE
 *                  \--little is missing------------------------->/
 *
 * A copy (num.standby.replicas) stays in STEP until its partition is ours, then goes on to DONE like any other.
 * SEEK reads the end of the log for its last marker: what stands before it is whole, so BULK may write rows as they come. In STEP rows
 * wait in memory for their marker. */
enum restore__state {
    RESTORE_IDLE,
    RESTORE_SEEK,
    RESTORE_BULK,
    RESTORE_STEP,
    RESTORE_DONE,
    RESTORE_STATES
};

struct restore__job {
    int32_t partition;
    enum restore__state state;
    struct state_image *image; /* in BULK and STEP */
    struct state_log log;      /* the store's place at the begin */
    int64_t *have;             /* (state_topics) the store's positions at the begin */
    int64_t *found;            /* (state_topics) those of the last marker that SEEK found */
    int64_t begin, end;        /* of the log, at the begin */
    int64_t from;              /* where reading begins; -1: at the log's beginning, with no rows */
    int64_t next;              /* first offset not looked at */
    int64_t sought;            /* where SEEK began */
    int64_t last;              /* offset of the last marker, -1 unknown */
    bool
        is_copy; /* another process has the partition: it never ends, and writes nothing into the log */
    bool is_told;         /* a copy has caught up and said so */
    bool has_reset;       /* a reset came behind the last marker: what follows is not looked at */
    bool writes;          /* the store goes into the log whole */
    struct map_str *torn; /* keys behind the last marker; NULL none */
    int64_t records;      /* applied */
    uint64_t began_us;
};

/* Shared by the threads, guarded by the lock. */
struct restore__want {
    bool is_wanted;
    bool is_held;  /* the thread works on it */
    bool is_ready; /* at its newest point, not taken yet */
    bool is_taken;
};

struct restore {
    struct restore_env env;
    struct clock clock;
    int64_t horizon_ms; /* delete.retention.ms of the topic */
    struct ingest_reader *reader;
    struct emit_copier *copier; /* NULL until something is written */
    struct restore__job *jobs;  /* (n_partitions) */
    struct thread thread;
    bool is_started;
    bool *copies; /* (n_partitions) that we keep copies of while they are another's */
    uint64_t spread_us,
        touched_us; /* when the group was asked for that; when stores were said to be up to date */
    struct sync_int partitions, left, records, full, repaired, written, n_copies, copies_lag;
    struct mutex lock;
    struct condition changed;
    struct restore__want *wants; /* (n_partitions) */
    struct ingest *ingest;       /* NULL: not there yet */
    bool is_stopping;
    struct err err; /* ERR_NONE: it goes on */
};

/* restore_job.c; restore's thread. Errors: ERR_FATAL. */
MUST_USE bool restore__job_begin(struct restore *restore, struct restore__job *job, bool is_copy,
                                 struct err *err);
/* A copy becomes ours: it ends at the end that the log has now. */
MUST_USE bool restore__job_claim(struct restore *restore, struct restore__job *job,
                                 struct err *err);
MUST_USE bool restore__job_record(struct restore *restore, struct restore__job *job,
                                  const struct ingest_reader_record *record, struct err *err);
void restore__job_end(struct restore *restore, struct restore__job *job);
bool restore__is_stopping(struct restore *restore);

/* restore_copies.c; restore's thread */
/* Now and then: which copies are ours to keep, and that the stores of all that are at the end of the log are of now. */
void restore__copies_serve(struct restore *restore);

/* restore_log.c */
/* Puts the rows behind the last marker right, or writes the whole store into the log; a marker behind them. *next: the offset behind
 * it. Errors: ERR_FATAL. */
MUST_USE bool restore__log_write(struct restore *restore, struct restore__job *job, int64_t *next,
                                 struct err *err);

#endif
