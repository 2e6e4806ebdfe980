/* Where the pipeline stands and what it counted. */
#include "app/models.h"
#include "app/pipeline_internal.h"

/* Next offset to apply; -1: nothing was applied before or since the assignment. */
static int64_t next_of(const struct pipeline *pipeline, int topic, int32_t partition)
{
    struct shard *shard = pipeline->shards[partition % pipeline->settings->shards];
    int64_t next = shard_next(shard, topic, partition);
    return next >= 0 ? next
                     : sync_int_get(&pipeline->start[topic * PARTITIONS_MAX + partition]) - 1;
}

/* Others told of what was not applied here. Where nothing was applied yet what counts is where reading begins. */
static bool is_told_more(const struct pipeline *pipeline, int topic, int32_t partition)
{
    int64_t next = next_of(pipeline, topic, partition);
    if (next < 0) next = ingest_read_from(pipeline->ingest, topic, partition);
    return next < ingest_committed(pipeline->ingest, topic, partition);
}

bool pipeline_is_behind(const struct pipeline *pipeline)
{
    if (group_is_recovering(pipeline->group)) return true;
    for (int32_t partition = 0; partition < pipeline->n_partitions; partition++)
        for (int topic = 0; topic < pipeline->settings->n_sources; topic++)
            if (sync_int_get_acquire(&pipeline->assigned[partition]) &&
                is_told_more(pipeline, topic, partition))
                return true;
    return false;
}

/* Records that wait behind our positions; -1 while that of any partition is unknown, or none is ours. */
static int64_t lag_of(struct pipeline *pipeline)
{
    int64_t lag = pipeline_partitions(pipeline) > 0 ? 0 : -1;
    if (pipeline_restoring(pipeline) > 0) return -1;
    for (int32_t partition = 0; partition < pipeline->n_partitions; partition++) {
        if (!sync_int_get_acquire(&pipeline->assigned[partition])) continue;
        for (int topic = 0; topic < pipeline->settings->n_sources; topic++) {
            int64_t next = next_of(pipeline, topic, partition);
            int64_t behind = ingest_lag(pipeline->ingest, topic, partition, next);
            if (behind < 0) return -1;
            lag += behind;
        }
    }
    return lag;
}

static void policy_count(struct pipeline *pipeline, struct counters_slot *slot)
{
    if (pipeline->catalogue) {
        struct catalogue_counts catalogue = catalogue_counts(pipeline->catalogue);
        counters_set(slot, METRIC_CATALOGUE_ITEMS, 0, catalogue.items);
        counters_set(slot, METRIC_CATALOGUE_RECORDS, 0, catalogue.records);
        counters_set(slot, METRIC_CATALOGUE_REFUSED, 0, catalogue.refused);
    }
    if (!pipeline->rules) return;
    struct rules_watch_counts rules = rules_watch_counts(pipeline->rules);
    counters_set(slot, METRIC_RULES_LOADED, 0, rules.loaded);
    counters_set(slot, METRIC_RULES_REFUSED, 0, rules.refused);
}

/* Without new lists the window stands still, so that its quantiles are of some. */
static void recent_count(struct pipeline *pipeline, struct counters_slot *slot)
{
    static const double quantiles[RECENT_COUNT] = {[RECENT_P50] = 0.5, [RECENT_P99] = 0.99};
    int64_t lists = counters_get(pipeline->counters, METRIC_EVENT_TO_LIST, 0);
    if (lists == pipeline->recent_lists) return;
    pipeline->recent_lists = lists;
    const struct counters *since = recent_take(pipeline->recent, pipeline__now_ms());
    for (int i = 0; i < RECENT_COUNT; i++)
        counters_set(slot, METRIC_EVENT_TO_LIST_RECENT, i,
                     counters_quantile(since, METRIC_EVENT_TO_LIST, 0, quantiles[i]));
}

const struct counters *pipeline_counters(struct pipeline *pipeline)
{
    struct counters_slot *slot = counters_slot(pipeline->counters, pipeline->settings->shards);
    counters_set(slot, METRIC_LAG, 0, lag_of(pipeline));
    counters_set(slot, METRIC_PARTITIONS, 0, pipeline_partitions(pipeline));
    if (pipeline->models) {
        struct models_counts models = models_counts(pipeline->models);
        counters_set(slot, METRIC_MODELS_LOADED, 0, models.loaded);
        counters_set(slot, METRIC_MODELS_REFUSED, 0, models.refused);
    }
    erasers_count(&pipeline->erasers, slot);
    snapshots_count(pipeline->snapshots, slot);
    policy_count(pipeline, slot);
    if (pipeline->restore) restore_count(pipeline->restore, slot);
    recent_count(pipeline, slot);
    metrics_process_set(slot);
    return pipeline->counters;
}

int pipeline_partitions(const struct pipeline *pipeline)
{
    int n = 0;
    for (int i = 0; i < pipeline->n_partitions; i++)
        n += (int)sync_int_get(&pipeline->assigned[i]);
    return n;
}

int pipeline_restoring(const struct pipeline *pipeline)
{
    return pipeline->restore ? restore_waiting(pipeline->restore) : 0;
}
