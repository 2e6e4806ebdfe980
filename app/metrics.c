/* The table of metrics, what is derived from it, and the metrics file. */
#include "app/metrics.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "app/pair_bytes.h"
#include "base/buf.h"
#include "base/clock.h"

enum { TEXT_MAX = 1 << 20, PATH_BYTES = 4096 };

/* ---- label values ---- */

static const char *outcome_value(int outcome)
{
    static const char *const names[] = {[FOLD_APPLIED] = "applied",
                                        [FOLD_REPLAYED] = "replayed",
                                        [FOLD_DUPLICATE] = "duplicate",
                                        [FOLD_QUIET] = "quiet",
                                        [FOLD_ERASED] = "erased"};
    return names[outcome];
}

static const char *poison_value(int i)
{
    return ingest_reason_name((enum ingest_reason)(POISON_DECODE + i));
}

static const char *cleaning_value(int i)
{
    return ingest_reason_name((enum ingest_reason)(CLEAN_TIME_MISSING + i));
}

static const char *type_value(int type)
{
    return schemas_event_type_name((enum event_type)type);
}

static const char *arm_value(int arm)
{
    return arm == QUALITY_LIST ? "list" : "popular";
}

static const char *related_table_value(int table)
{
    return table == 0 ? "rows" : "marginals";
}

static const char *related_value(int kind)
{
    return kind == PAIRS_COUNTED ? "trending" : schemas_related_name((enum related_kind)kind);
}

static const char *refused_value(int i)
{
    return i == MODEL_PAIRS_BASKET - MODEL_PAIRS_BASKET ? "basket" : "user";
}

static const char *group_value(int i)
{
    return i == 0 ? "applied" : "replayed";
}

static const char *quantile_value(int i)
{
    static const char *const names[RECENT_COUNT] = {[RECENT_P50] = "0.5", [RECENT_P99] = "0.99"};
    return names[i];
}

static const char *version_value(int i)
{
    (void)i;
    return FRESHET_VERSION;
}

const char *metrics_erasure_name(int outcome)
{
    static const char *const names[] = {"erased", "nothing", "repeated"};
    return names[outcome];
}

const char *metrics_stage_name(int stage)
{
    static const char *const names[] = {"poll+decode", "catalogue", "fold",
                                        "neighbours",  "encode",    "rank",
                                        "publish",     "relate",    "commit"};
    return names[stage];
}

/* ---- the table ---- */

/* clang-format off */
#define NONE  {{NULL, NULL, 0}}
#define TYPES {"event_type", type_value, EVENT_TYPE_COUNT}
#define KINDS {"kind", related_value, PAIRS_KINDS}
#define ARMS  {"arm", arm_value, QUALITY_ARM_COUNT}

/* {name, help, type, labels, unit}. Names as in Prometheus' conventions: base units, _total for what only grows. */
const struct counter_spec metrics_table[METRIC_COUNT] = {
    [METRIC_RECORDS] = {"freshet_records_total",
        "Records taken from the events topics.", COUNTER_TOTAL, NONE, 0},
    [METRIC_EVENTS] = {"freshet_events_total",
        "Records that are events: applied; replayed, their effect was stored already; duplicate, their id was seen; "
        "quiet, of a kind that changes no list; erased, of a time before their user was forgotten.",
        COUNTER_TOTAL, {{"outcome", outcome_value, FOLD_ERASED + 1}}, 0},
    [METRIC_LATE] = {"freshet_late_events_total",
        "Events older than late.tolerance.ms allows, put in their place in the window.", COUNTER_TOTAL, NONE, 0},
    [METRIC_TOO_LATE] = {"freshet_late_items_dropped_total",
        "Items of events older than all that is left of the user's window.", COUNTER_TOTAL, NONE, 0},
    [METRIC_LISTS] = {"freshet_lists_total",
        "Lists handed to the producer.", COUNTER_TOTAL, NONE, 0},
    [METRIC_DEAD_LETTERS] = {"freshet_dead_letters_total",
        "Records that are no events, by reason.",
        COUNTER_TOTAL, {{"reason", poison_value, CLEAN_TIME_MISSING - POISON_DECODE}}, 0},
    [METRIC_CLEANED] = {"freshet_cleaned_total",
        "Fields of events that were mended, by reason.",
        COUNTER_TOTAL, {{"reason", cleaning_value, INGEST_REASON_COUNT - CLEAN_TIME_MISSING}}, 0},
    [METRIC_EVENT_TO_LIST] = {"freshet_event_to_publish_seconds",
        "From the event's Kafka timestamp to its list in the producer, with exactly_once_v2 to its transaction's commit; events older than ten minutes are left out.",
        COUNTER_LATENCY, NONE, 0},
    [METRIC_EVENT_TO_LIST_RECENT] = {"freshet_event_to_publish_recent_seconds",
        "Quantiles of the same over the last ten seconds in which there were any; each at most 1/16 too large.",
        COUNTER_GAUGE, {{"quantile", quantile_value, RECENT_COUNT}}, 1e-6},
    [METRIC_PAIRS] = {"freshet_pairs_total",
        "Pairs of items that go together, and of categories and items (trending), sent to the pairs topic.", COUNTER_TOTAL, {KINDS}, 0},
    [METRIC_PAIRS_REFUSED] = {"freshet_pairs_refused_total",
        "Events that gave no pairs: of more items than related.basket.max (basket), or in a session of more events than "
        "related.user.max (user).",
        COUNTER_TOTAL, {{"reason", refused_value, MODEL_PAIRS_OUTCOME_COUNT - MODEL_PAIRS_BASKET}}, 0},
    [METRIC_PAIR_RECORDS] = {"freshet_pair_records_total",
        "Records taken from the pairs topic.", COUNTER_TOTAL, NONE, 0},
    [METRIC_ERASURES] = {"freshet_erasures_total",
        "Requests to forget a user: erased; nothing, there was no state of that user; repeated, one as new was applied before.",
        COUNTER_TOTAL, {{"outcome", metrics_erasure_name, ERASURE_OUTCOMES}}, 0},
    [METRIC_PURGED] = {"freshet_erasures_purged_total",
        "Names of erased users (user id and anonymous id count apart) whose bytes have left the store's files.", COUNTER_TOTAL, NONE, 0},
    [METRIC_REDACTED] = {"freshet_erased_dead_letters_total",
        "Dead letters of forgotten users that this process took out of their topic, or emptied because they may be of such a user.", COUNTER_TOTAL, NONE, 0},
    [METRIC_SNAPSHOTS] = {"freshet_snapshots_total",
        "Snapshots of the store that were taken (statestore.snapshot.dir).", COUNTER_TOTAL, NONE, 0},
    [METRIC_SNAPSHOTS_FAILED] = {"freshet_snapshot_failures_total",
        "Snapshots that could not be taken; the next try comes within a minute.", COUNTER_TOTAL, NONE, 0},
    [METRIC_SNAPSHOT_TIME] = {"freshet_snapshot_timestamp_seconds",
        "When the newest snapshot was taken; 0: there is none.", COUNTER_LATEST, NONE, 1e-3},
    [METRIC_SNAPSHOT_BYTES] = {"freshet_snapshot_bytes",
        "Files of the newest snapshot that this process took; most may be shared with the store or the snapshot before.", COUNTER_GAUGE, NONE, 0},
    [METRIC_PAIR_GROUPS] = {"freshet_pair_groups_total",
        "Events in them: applied; replayed, sent a second time and applied before.",
        COUNTER_TOTAL, {{"outcome", group_value, 2}}, 0},
    [METRIC_RELATED] = {"freshet_related_lists_total",
        "Lists of related items, and of what rises (trending), handed to the producer.", COUNTER_TOTAL, {KINDS}, 0},
    [METRIC_RELATED_ROWS] = {"freshet_related_rows",
        "Rows of what goes with an item, or counts in a category, that are in memory.", COUNTER_GAUGE, NONE, 0},
    [METRIC_RELATED_BYTES] = {"freshet_related_bytes",
        "Memory for what goes together (related.memory.max.bytes): rows; how often each item is part of anything.",
        COUNTER_GAUGE, {{"table", related_table_value, 2}}, 0},
    [METRIC_STAGE] = {"freshet_stage_seconds_total",
        "Time of the shards' threads by stage; the first includes waiting for a record that came.", COUNTER_TOTAL, {{"stage", metrics_stage_name, STAGE_COUNT}}, 1e-9},
    [METRIC_QUALITY_EVENTS] = {"freshet_quality_events_total",
        "Items of events that were looked for in the list that stood before the event.",
        COUNTER_TOTAL, {TYPES}, 0},
    [METRIC_QUALITY_HITS] = {"freshet_quality_hits_total",
        "How many were among the first 20 of the list, or of the popular items at that time.",
        COUNTER_TOTAL, {TYPES, ARMS}, 0},
    [METRIC_QUALITY_INVERSE] = {"freshet_quality_reciprocal_rank_total",
        "Sum of 1 / rank of those: divided by the events it is MRR@20.",
        COUNTER_TOTAL, {TYPES, ARMS}, 1.0 / RANK_UNIT},
    [METRIC_STEPS] = {"freshet_encoder_steps_total",
        "Steps of the encoder, those of whole windows included.", COUNTER_TOTAL, NONE, 0},
    [METRIC_PREFILLS] = {"freshet_encoder_prefills_total",
        "Windows that were encoded whole.", COUNTER_TOTAL, NONE, 0},
    [METRIC_BATCHES] = {"freshet_batches_total",
        "Micro-batches.", COUNTER_TOTAL, NONE, 0},
    [METRIC_COMMITS] = {"freshet_commits_total",
        "Epochs written: state and positions of what is acknowledged.", COUNTER_TOTAL, NONE, 0},
    [METRIC_CHANGELOG_RECORDS] = {"freshet_changelog_records_total",
        "Records sent to the changelog: rows that an epoch changed, and markers.", COUNTER_TOTAL, NONE, 0},
    [METRIC_CHANGELOG_BYTES] = {"freshet_changelog_bytes_total",
        "Keys and values of them.", COUNTER_TOTAL, NONE, 0},
    [METRIC_ALLOCATIONS] = {"freshet_allocations_total",
        "Heap calls of the shards' threads in micro-batches.", COUNTER_TOTAL, NONE, 0},
    [METRIC_FIRST_RECORD] = {"freshet_first_record_timestamp_seconds",
        "When the first record was taken; 0: none yet.", COUNTER_EARLIEST, NONE, 1e-3},
    [METRIC_LAST_BATCH] = {"freshet_last_batch_timestamp_seconds",
        "When the last micro-batch was finished; 0: none yet.", COUNTER_LATEST, NONE, 1e-3},
    [METRIC_LAG] = {"freshet_lag_records",
        "Records behind our positions in the partitions that are ours; -1 while unknown.", COUNTER_GAUGE, NONE, 0},
    [METRIC_PARTITIONS] = {"freshet_partitions",
        "Partitions that the group has given us.", COUNTER_GAUGE, NONE, 0},
    [METRIC_RESTORE_PARTITIONS] = {"freshet_restore_partitions",
        "Partitions of ours that are being brought to their newest point; nothing of them is read yet.", COUNTER_GAUGE, NONE, 0},
    [METRIC_RESTORE_LEFT] = {"freshet_restore_remaining_records",
        "Records of the changelog that they still have to read.", COUNTER_GAUGE, NONE, 0},
    [METRIC_RESTORE_RECORDS] = {"freshet_restore_records_total",
        "Records of the changelog put into the store, copies for other processes included.", COUNTER_TOTAL, NONE, 0},
    [METRIC_RESTORE_FULL] = {"freshet_restore_full_total",
        "Partitions that were read from the changelog's beginning: a lost disk, a partition that was never here, or a store that was away for too long.",
        COUNTER_TOTAL, NONE, 0},
    [METRIC_RESTORE_REPAIRED] = {"freshet_restore_repaired_rows_total",
        "Rows put right in the changelog behind a writer that died within an epoch.", COUNTER_TOTAL, NONE, 0},
    [METRIC_RESTORE_WRITTEN] = {"freshet_restore_written_rows_total",
        "Rows of stores that were written into the changelog whole.", COUNTER_TOTAL, NONE, 0},
    [METRIC_STANDBY_PARTITIONS] = {"freshet_standby_partitions",
        "Partitions of other processes that a copy is kept of here.", COUNTER_GAUGE, NONE, 0},
    [METRIC_STANDBY_LAG] = {"freshet_standby_lag_records",
        "Records of the changelog that these copies are behind.", COUNTER_GAUGE, NONE, 0},
    [METRIC_MODELS_LOADED] = {"freshet_models_loaded_total",
        "Models that took the place of another.", COUNTER_TOTAL, NONE, 0},
    [METRIC_MODELS_REFUSED] = {"freshet_models_refused_total",
        "Models that were refused.", COUNTER_TOTAL, NONE, 0},
    [METRIC_CATALOGUE_ITEMS] = {"freshet_catalogue_items",
        "Items that the catalogue holds.", COUNTER_GAUGE, NONE, 0},
    [METRIC_CATALOGUE_RECORDS] = {"freshet_catalogue_records_total",
        "Item records applied.", COUNTER_TOTAL, NONE, 0},
    [METRIC_CATALOGUE_REFUSED] = {"freshet_catalogue_records_refused_total",
        "Item records that did not decode: their items stay as they were.", COUNTER_TOTAL, NONE, 0},
    [METRIC_RULES_LOADED] = {"freshet_rules_loaded_total",
        "Rules files that took the place of another.", COUNTER_TOTAL, NONE, 0},
    [METRIC_RULES_REFUSED] = {"freshet_rules_refused_total",
        "Rules files with errors.", COUNTER_TOTAL, NONE, 0},
    [METRIC_CPU] = {"process_cpu_seconds_total",
        "CPU time of the process, all threads.", COUNTER_TOTAL, NONE, 1e-6},
    [METRIC_RESIDENT] = {"process_resident_memory_bytes",
        "Memory of the process.", COUNTER_GAUGE, NONE, 0},
    [METRIC_STARTED] = {"process_start_time_seconds",
        "When the pipeline was opened.", COUNTER_EARLIEST, NONE, 1e-3},
    [METRIC_BUILD] = {"freshet_build_info",
        "Always 1; its label is the version.", COUNTER_GAUGE, {{"version", version_value, 1}}, 0},
};
/* clang-format on */

struct counters *metrics_new(int n_slots)
{
    return counters_new(metrics_table, METRIC_COUNT, n_slots);
}

/* ---- what is derived ---- */

struct quality metrics_quality(const struct counters *counters, enum event_type type)
{
    struct quality quality = {.events = counters_get(counters, METRIC_QUALITY_EVENTS, (int)type)};
    if (quality.events == 0) return quality;
    double n = (double)quality.events;
    for (int arm = 0; arm < QUALITY_ARM_COUNT; arm++) {
        int label = metrics_quality_label(type, (enum quality_arm)arm);
        quality.hr[arm] = counters_value(counters, METRIC_QUALITY_HITS, label) / n;
        quality.mrr[arm] = counters_value(counters, METRIC_QUALITY_INVERSE, label) / n;
    }
    return quality;
}

int64_t metrics_reason(const struct counters *counters, enum ingest_reason reason)
{
    return reason < CLEAN_TIME_MISSING
               ? counters_get(counters, METRIC_DEAD_LETTERS, (int)(reason - POISON_DECODE))
               : counters_get(counters, METRIC_CLEANED, (int)(reason - CLEAN_TIME_MISSING));
}

double metrics_latency_ms(const struct counters *counters, double q)
{
    return (double)counters_quantile(counters, METRIC_EVENT_TO_LIST, 0, q) / 1000.0;
}

/* ---- the process ---- */

/* Pages in memory, from the second number of /proc/self/statm; 0 where there is none. */
static int64_t resident_bytes(void)
{
    long long size, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file) return 0;
    if (fscanf(file, "%lld %lld", &size, &resident) != 2) resident = 0;
    (void)fclose(file);
    return (int64_t)resident * sysconf(_SC_PAGESIZE);
}

void metrics_process_set(struct counters_slot *slot)
{
    struct rusage used;
    (void)getrusage(RUSAGE_SELF, &used);
    int64_t seconds = (int64_t)used.ru_utime.tv_sec + (int64_t)used.ru_stime.tv_sec;
    int64_t rest = (int64_t)used.ru_utime.tv_usec + (int64_t)used.ru_stime.tv_usec;
    counters_set(slot, METRIC_CPU, 0, seconds * 1000000 + rest);
    counters_set(slot, METRIC_RESIDENT, 0, resident_bytes());
}

/* ---- the file ---- */

static bool text_write(const struct buf *text, const char *path)
{
    FILE *file = fopen(path, "wb");
    if (!file) return false;
    bool ok = fwrite(text->data, 1, text->len, file) == text->len;
    return fclose(file) == 0 && ok;
}

bool metrics_write(const struct counters *counters, const char *path, struct err *err)
{
    char fresh[PATH_BYTES];
    struct buf text;
    int len = snprintf(fresh, sizeof fresh, "%s.tmp", path);
    if (len < 0 || len >= PATH_BYTES)
        return err_set(err, ERR_RETRY, "metrics.file: the path is too long");
    buf_init(&text, TEXT_MAX);
    counters_render(counters, &text);
    bool ok = !text.failed && text_write(&text, fresh) && rename(fresh, path) == 0;
    if (!ok) {
        (void)err_set(err, ERR_RETRY, "metrics.file: cannot write %s: %s", path, strerror(errno));
        (void)unlink(fresh);
    }
    buf_fini(&text);
    return ok;
}

struct counters *metrics_start(int shards)
{
    struct clock clock = {0};
    struct counters *counters = metrics_new(shards + 1);
    struct counters_slot *slot = counters_slot(counters, shards);
    counters_set(slot, METRIC_STARTED, 0, clock_wall_ms(&clock));
    counters_set(slot, METRIC_BUILD, 0, 1);
    counters_set(slot, METRIC_LAG, 0, -1);
    return counters;
}
