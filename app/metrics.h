#ifndef APP_METRICS_H
#define APP_METRICS_H

#include "base/counters.h"
#include "base/err.h"
#include "ingest/ingest.h"
#include "schemas/schemas.h"
#include "state/state.h"

/* What the pipeline counts: one table (app/metrics.c), from which `freshet run --report`, the summary lines, the demo's
 * view and the metrics file are made. base/counters.h does the counting; each shard's thread has a slot, and the last
 * slot is the main thread's.
 *
 * What is counted is work done: an event that is read again, because its partition was lost before its epoch was written
 * or after a restart, is counted again, as replayed when its effect was stored already. In one life of the process
 *
 *   records = events of all outcomes + dead letters        between two micro-batches
 *
 * A new metric is a name here and a row there. */
enum metric {
    /* Counted last in a micro-batch: who reads it first sees in all others at least what belongs to these records. */
    METRIC_RECORDS,
    METRIC_EVENTS, /* label: enum fold_outcome */
    METRIC_LATE,
    METRIC_TOO_LATE,
    METRIC_LISTS,
    METRIC_DEAD_LETTERS, /* label: reason - POISON_DECODE */
    METRIC_CLEANED,      /* label: reason - CLEAN_TIME_MISSING */
    METRIC_EVENT_TO_LIST,
    METRIC_PAIRS,         /* label: enum related_kind */
    METRIC_PAIRS_REFUSED, /* label: enum model_pairs_outcome - MODEL_PAIRS_BASKET */
    METRIC_PAIR_RECORDS,
    METRIC_ERASURES,    /* label: enum erasure_outcome */
    METRIC_PAIR_GROUPS, /* label: 0 applied, 1 seen before */
    METRIC_RELATED,     /* label: enum related_kind */
    METRIC_RELATED_ROWS,
    METRIC_RELATED_BYTES,   /* label: 0 rows, 1 marginals */
    METRIC_STAGE,           /* ns; label: enum stage */
    METRIC_QUALITY_EVENTS,  /* label: enum event_type */
    METRIC_QUALITY_HITS,    /* label: metrics_quality_label */
    METRIC_QUALITY_INVERSE, /* label: the same; RANK_UNIT / rank each */
    METRIC_STEPS,
    METRIC_PREFILLS,
    METRIC_BATCHES,
    METRIC_COMMITS,
    METRIC_CHANGELOG_RECORDS,
    METRIC_CHANGELOG_BYTES,
    METRIC_ALLOCATIONS,
    METRIC_FIRST_RECORD, /* ms */
    METRIC_LAST_BATCH,   /* ms */
    /* the main thread's */
    METRIC_EVENT_TO_LIST_RECENT, /* us; label: enum recent_quantile */
    METRIC_LAG,
    METRIC_PARTITIONS,
    METRIC_RESTORE_PARTITIONS,
    METRIC_RESTORE_LEFT,
    METRIC_RESTORE_RECORDS,
    METRIC_RESTORE_FULL,
    METRIC_RESTORE_REPAIRED,
    METRIC_RESTORE_WRITTEN,
    METRIC_STANDBY_PARTITIONS,
    METRIC_STANDBY_LAG,
    METRIC_MODELS_LOADED,
    METRIC_MODELS_REFUSED,
    METRIC_CATALOGUE_ITEMS,
    METRIC_CATALOGUE_RECORDS,
    METRIC_CATALOGUE_REFUSED,
    METRIC_RULES_LOADED,
    METRIC_RULES_REFUSED,
    METRIC_PURGED,
    METRIC_REDACTED,
    METRIC_SNAPSHOTS,
    METRIC_SNAPSHOTS_FAILED,
    METRIC_SNAPSHOT_TIME, /* ms */
    METRIC_SNAPSHOT_BYTES,
    METRIC_CPU, /* us */
    METRIC_RESIDENT,
    METRIC_STARTED, /* ms */
    METRIC_BUILD,
    METRIC_COUNT
};

/* What a request to forget somebody came to. */
enum erasure_outcome { ERASURE_DONE, ERASURE_NOTHING, ERASURE_REPEATED, ERASURE_OUTCOMES };
const char *metrics_erasure_name(int outcome);

enum stage {
    STAGE_POLL,
    STAGE_CATALOGUE,
    STAGE_FOLD,
    STAGE_NEIGHBOURS,
    STAGE_ENCODE,
    STAGE_RANK,
    STAGE_PUBLISH,
    STAGE_RELATE,
    STAGE_COMMIT,
    STAGE_COUNT
};

/* Of METRIC_EVENT_TO_LIST, over the last ten seconds in which there were any. */
enum recent_quantile { RECENT_P50, RECENT_P99, RECENT_COUNT };

/* Live quality compares the list that stood before the event with the popular arm as it was then. */
enum quality_arm { QUALITY_LIST, QUALITY_POPULAR, QUALITY_ARM_COUNT };

/* Ranks to QUALITY_K are hits. RANK_UNIT is the least common multiple of 1 to 20, so the sum of 1 / rank is exact. */
enum { QUALITY_K = 20, RANK_UNIT = 232792560 };

extern const struct counter_spec metrics_table[METRIC_COUNT];

/* A slot for each shard and the last one for the main thread, with what is known at the start. */
struct counters *metrics_start(int shards);
struct counters *metrics_new(int n_slots);
const char *metrics_stage_name(int stage);

static inline int metrics_quality_label(enum event_type type, enum quality_arm arm)
{
    return (int)type * QUALITY_ARM_COUNT + (int)arm;
}

/* Prequential quality of one event type: each event against what stood before it. */
struct quality {
    int64_t events;
    double hr[QUALITY_ARM_COUNT];  /* HR@20; 0 without events */
    double mrr[QUALITY_ARM_COUNT]; /* MRR@20 */
};
struct quality metrics_quality(const struct counters *counters, enum event_type type);

/* Reason of a dead letter or of cleaning: how often. */
int64_t metrics_reason(const struct counters *counters, enum ingest_reason reason);
/* The q-quantile (0..1) from the record's timestamp to the list's publication, ms; 0 when nothing was counted. */
double metrics_latency_ms(const struct counters *counters, double q);

/* The process's own: CPU time, memory, start. The slot's thread. */
void metrics_process_set(struct counters_slot *slot);

/* Writes all as Prometheus text (as node_exporter's textfile collector reads it): to a new file beside `path`, which then takes
 * its place, so a reader never sees half of it. Errors: ERR_RETRY: the file system refuses. */
MUST_USE bool metrics_write(const struct counters *counters, const char *path, struct err *err);

#endif
