/* Opening, turning and closing the pipeline; rebalances between the group and the shards. */
#include "app/pipeline.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/catalogue.h"
#include "app/models.h"
#include "app/rules_watch.h"
#include "app/shard.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sync.h"
#include "emit/emit.h"
#include "ingest/ingest.h"
#include "state/state.h"

/* Each fsync of the log holds writes back for some 20 ms: every 3 s it put the p99 of event to list at 14 ms, every 10 s at 10
 * (bench/run latency). */
enum {
    CONNECT_TIMEOUT_MS = 15000,
    SYNC_EVERY_MS = 10000,
    PARTITIONS_MAX = 4096,
    MODEL_VERSION_MAX = 260
};

struct pipeline {
    const struct settings *settings;
    struct models *models;                 /* NULL: no model */
    char model_version[MODEL_VERSION_MAX]; /* of the first; "none" */
    int state_floats;                      /* of the first */
    struct schemas *schemas;
    struct catalogue *catalogue;   /* NULL: none */
    struct rules_watch *rules;     /* NULL: none */
    struct companions *companions; /* NULL: no arm of related items */
    struct state *state;
    struct emit *emit;
    struct ingest *ingest;
    struct counters *counters; /* a slot for each shard, the last for the main thread */
    struct shard **shards;     /* (settings->shards) */
    char cluster_id[64];
    int n_partitions; /* of each events topic */
    bool assigned[PARTITIONS_MAX];
    int64_t *start; /* (n_topics, PARTITIONS_MAX) A_p at assignment, -1 when the store had none */
    int wake[2];    /* a shard that failed writes one byte */
    int64_t synced_ms;
};

/* ---- what the folders call back ---- */

static void shard_failed(void *context)
{
    struct pipeline *pipeline = context;
    ssize_t ignored = write(pipeline->wake[1], "!", 1);
    (void)ignored;
}

static bool partition_assigned(void *context, int32_t partition, int64_t *next, struct err *err)
{
    struct pipeline *pipeline = context;
    const struct settings *settings = pipeline->settings;
    if (partition >= PARTITIONS_MAX)
        return err_fatal(err, ERR_EXIT_TOPIC, "partition %d: at most %d partitions are supported",
                         (int)partition, PARTITIONS_MAX);
    for (int topic = 0; topic < settings->n_sources; topic++) {
        if (!state_position(pipeline->state, topic, partition, &next[topic], err)) return false;
        if (fault_mutant("auto_offset_reset_latest")) next[topic] = -1;
        pipeline->start[topic * PARTITIONS_MAX + partition] = next[topic];
    }
    if (!shard_partition_open(pipeline->shards[partition % settings->shards], partition, err))
        return false;
    pipeline->assigned[partition] = true;
    log_info("app", "partition assigned", "partition=%d next=%lld", (int)partition,
             (long long)next[0]);
    return true;
}

static void partition_revoked(void *context, int32_t partition, bool lost)
{
    struct pipeline *pipeline = context;
    if (partition >= PARTITIONS_MAX || !pipeline->assigned[partition]) return;
    shard_partition_close(pipeline->shards[partition % pipeline->settings->shards], partition,
                          lost);
    pipeline->assigned[partition] = false;
    log_info("app", "partition revoked", "partition=%d lost=%d", (int)partition, lost);
}

/* ---- opening ---- */

/* The topics are there, with one partition count for all events topics. */
static bool topics_check(struct pipeline *pipeline, struct err *err)
{
    const struct settings *settings = pipeline->settings;
    struct kafka_topic_info info[USER_TOPICS_MAX + 1];
    if (!kafka_cluster_id(&settings->kafka, pipeline->cluster_id, CONNECT_TIMEOUT_MS, err))
        return false;
    if (!kafka_topic_describe(&settings->kafka, settings->topics, settings->n_sources, info,
                              CONNECT_TIMEOUT_MS, err))
        return false;
    for (int i = 0; i < settings->n_sources; i++) {
        if (info[i].partitions == 0 && i >= settings->n_topics)
            return err_fatal(
                err, ERR_EXIT_TOPIC,
                "internal topic %s does not exist: create it with `freshet topics create`, or "
                "set related.topic and trending.topic to nothing",
                settings->topics[i]);
        if (info[i].partitions == 0)
            return err_fatal(
                err, ERR_EXIT_TOPIC,
                "topic %s does not exist: create it with `freshet topics create`, or name yours in "
                "events.topics",
                settings->topics[i]);
        if (info[i].partitions != info[0].partitions)
            return err_fatal(
                err, ERR_EXIT_TOPIC,
                "topic %s has %d partitions and %s has %d: events topics must have the same number",
                settings->topics[i], info[i].partitions, settings->topics[0], info[0].partitions);
    }
    pipeline->n_partitions = info[0].partitions;
    return true;
}

static bool store_open(struct pipeline *pipeline, struct err *err)
{
    const struct settings *settings = pipeline->settings;
    struct state_identity identity = {.application_id = settings->application_id,
                                      .cluster_id = pipeline->cluster_id,
                                      .topics = settings->topics,
                                      .n_topics = settings->n_topics,
                                      .internal = settings->topics + settings->n_topics,
                                      .n_internal = settings->n_sources - settings->n_topics,
                                      .n_partitions = pipeline->n_partitions};
    struct state_options options = settings_state(settings, pipeline->state_floats);
    return state_open(&pipeline->state, settings->state_folder, &identity, &options, err);
}

static bool shards_start(struct pipeline *pipeline, struct tap *tap, struct err *err)
{
    struct shard_env env = {.settings = pipeline->settings,
                            .schemas = pipeline->schemas,
                            .state = pipeline->state,
                            .n_partitions = pipeline->n_partitions,
                            .ingest = pipeline->ingest,
                            .models = pipeline->models,
                            .catalogue = pipeline->catalogue,
                            .rules = pipeline->rules,
                            .companions = pipeline->companions,
                            .emit = pipeline->emit,
                            .tap = tap,
                            .counters = pipeline->counters,
                            .failed = shard_failed,
                            .failed_context = pipeline};
    pipeline->shards = mem_zalloc((size_t)pipeline->settings->shards * sizeof(struct shard *));
    for (int i = 0; i < pipeline->settings->shards; i++) {
        pipeline->shards[i] = shard_new(&env, i);
        if (!shard_start(pipeline->shards[i], err)) return false;
    }
    return true;
}

static bool first_model_open(struct pipeline *pipeline, struct err *err)
{
    const struct settings *settings = pipeline->settings;
    struct models_options options = {.folder = settings->model_folder,
                                     .interval_ms =
                                         options_int(settings->options, "model.check.interval.ms")};
    (void)snprintf(pipeline->model_version, sizeof pipeline->model_version, "none");
    if (!settings->model_folder[0]) return true;
    if (!models_open(&pipeline->models, &options, err))
        return err_wrap(err, "model.dir is of no use, `freshet train` makes one anew");
    const struct model *model = models_take(pipeline->models);
    struct model_info info = model_info(model);
    (void)snprintf(pipeline->model_version, sizeof pipeline->model_version, "%s", info.version);
    pipeline->state_floats = info.S;
    models_release(pipeline->models, model);
    return true;
}

/* The topic of the default name need not be there; one that was asked for must. */
static bool items_topic_look(const struct pipeline *pipeline, bool *is_there, struct err *err)
{
    const struct settings *settings = pipeline->settings;
    struct kafka_topic_info info = {0};
    *is_there = false;
    if (!settings->items_topic[0]) return true;
    if (!kafka_topic_describe(&settings->kafka, &settings->items_topic, 1, &info,
                              CONNECT_TIMEOUT_MS, err))
        return false;
    *is_there = info.partitions > 0;
    if (*is_there) return true;
    if (options_is_set(settings->options, "items.topic"))
        return err_fatal(
            err, ERR_EXIT_TOPIC,
            "items.topic=%s does not exist: create it with `freshet topics create`, or "
            "set items.topic= for no catalogue",
            settings->items_topic);
    log_info("app", "no catalogue", "topic %s does not exist", settings->items_topic);
    return true;
}

/* What lists may hold: the catalogue, read whole, and the rules. */
static bool policy_open(struct pipeline *pipeline, struct err *err)
{
    const struct settings *settings = pipeline->settings;
    const struct options *options = settings->options;
    const char *rules = options_text(options, "rules.file");
    struct catalogue_options catalogue = {
        .kafka = &settings->kafka,
        .topic = settings->items_topic,
        .schemas = pipeline->schemas,
        .bytes_max = (size_t)options_int(options, "items.memory.max.bytes"),
        .timeout_ms = CONNECT_TIMEOUT_MS};
    bool has_items;
    if (rules[0] && !rules_watch_open(&pipeline->rules, rules,
                                      options_int(options, "rules.check.interval.ms"), err))
        return false;
    if (!items_topic_look(pipeline, &has_items, err)) return false;
    return !has_items || catalogue_open(&pipeline->catalogue, &catalogue, err);
}

/* The lists of related items that all processes published. */
static bool related_open(struct pipeline *pipeline, struct err *err)
{
    const struct settings *settings = pipeline->settings;
    struct companions_options options = {
        .kafka = &settings->kafka,
        .topic = settings->related.topic,
        .schemas = pipeline->schemas,
        .bytes_max = (size_t)options_int(settings->options, "related.lists.memory.max.bytes"),
        .timeout_ms = CONNECT_TIMEOUT_MS};
    if (!settings->related.topic[0] || settings->blend_weights[ARM_RELATED] <= 0) return true;
    return companions_open(&pipeline->companions, &options, err);
}

static bool consumer_open(struct pipeline *pipeline, struct err *err)
{
    struct ingest_options options = settings_ingest(pipeline->settings);
    struct ingest_callbacks callbacks = {
        .context = pipeline, .assigned = partition_assigned, .revoked = partition_revoked};
    if (fault_mutant("auto_offset_reset_latest")) options.start = INGEST_LATEST;
    return ingest_open(&pipeline->ingest, &pipeline->settings->kafka, &options, pipeline->schemas,
                       &callbacks, err);
}

static bool parts_open(struct pipeline *pipeline, struct tap *tap, struct err *err)
{
    const struct settings *settings = pipeline->settings;
    struct emit_options emit = {
        .recommendations_topic = settings->recommendations_topic,
        .dlq_topic = settings->dlq_topic,
        .pairs_topic = settings->related.pairs_topic,
        .related_topic = settings->related.topic,
        .trending_topic = settings->related.trending_topic,
        .queue_bytes = (size_t)options_int(settings->options, "producer.queue.max.bytes")};
    if (pipe(pipeline->wake) != 0) return err_set(err, ERR_FATAL, "cannot make a pipe");
    (void)fcntl(pipeline->wake[0], F_SETFL, O_NONBLOCK);
    if (!first_model_open(pipeline, err)) return false;
    if (!topics_check(pipeline, err)) return false;
    if (!schemas_open(&pipeline->schemas, &settings->schemas, err)) return false;
    if (!policy_open(pipeline, err) || !related_open(pipeline, err)) return false;
    if (!store_open(pipeline, err)) return false;
    if (!emit_open(&pipeline->emit, &settings->kafka, &emit, err)) return false;
    fault_point("opened");
    if (!consumer_open(pipeline, err)) return false;
    return shards_start(pipeline, tap, err);
}

static struct counters *counters_start(int shards)
{
    struct clock clock = {0};
    struct counters *counters = metrics_new(shards + 1);
    struct counters_slot *slot = counters_slot(counters, shards);
    counters_set(slot, METRIC_STARTED, 0, clock_wall_ms(&clock));
    counters_set(slot, METRIC_BUILD, 0, 1);
    counters_set(slot, METRIC_LAG, 0, -1);
    return counters;
}

bool pipeline_open(struct pipeline **pipeline, const struct settings *settings, struct tap *tap,
                   struct err *err)
{
    struct pipeline *p = mem_zalloc(sizeof *p);
    p->settings = settings;
    p->wake[0] = p->wake[1] = -1;
    p->counters = counters_start(settings->shards);
    p->start = mem_alloc((size_t)settings->n_sources * PARTITIONS_MAX * sizeof *p->start);
    if (!parts_open(p, tap, err)) {
        pipeline_close(p);
        return false;
    }
    log_info("app", "pipeline open",
             "application=%s cluster=%s partitions=%d shards=%d model=%s state=%s",
             settings->application_id, p->cluster_id, p->n_partitions, settings->shards,
             p->model_version, settings->state_folder);
    *pipeline = p;
    return true;
}

/* ---- turning ---- */

static bool shards_check(struct pipeline *pipeline, struct err *err)
{
    char bytes[64];
    while (read(pipeline->wake[0], bytes, sizeof bytes) > 0)
        continue;
    for (int i = 0; i < pipeline->settings->shards; i++)
        if (!shard_is_running(pipeline->shards[i], err)) return false;
    return true;
}

bool pipeline_serve(struct pipeline *pipeline, struct err *err)
{
    struct clock clock = {0};
    int64_t now_ms = (int64_t)(clock_mono_us(&clock) / 1000);
    if (!ingest_serve(pipeline->ingest, 0, err) || !shards_check(pipeline, err)) return false;
    if (pipeline->rules) rules_watch_serve(pipeline->rules, now_ms);
    if (pipeline->catalogue && !catalogue_check(pipeline->catalogue, err)) return false;
    if (pipeline->companions && !companions_check(pipeline->companions, err)) return false;
    if (now_ms - pipeline->synced_ms < SYNC_EVERY_MS) return true;
    pipeline->synced_ms = now_ms;
    if (state_sync(pipeline->state, err)) return true;
    if (err->class != ERR_RETRY) return false;
    log_err(LOG_WARN, "state", err);
    err->class = ERR_NONE;
    return true;
}

int pipeline_event_fd(const struct pipeline *pipeline)
{
    return ingest_event_fd(pipeline->ingest);
}

/* Records that wait behind our positions, -1 while unknown. */
static int64_t lag_of(struct pipeline *pipeline)
{
    int64_t lag = -1;
    for (int32_t partition = 0; partition < pipeline->n_partitions; partition++) {
        if (!pipeline->assigned[partition]) continue;
        struct shard *shard = pipeline->shards[partition % pipeline->settings->shards];
        for (int topic = 0; topic < pipeline->settings->n_sources; topic++) {
            int64_t next = shard_next(shard, topic, partition);
            if (next < 0) next = pipeline->start[topic * PARTITIONS_MAX + partition];
            int64_t behind = next < 0 ? -1 : ingest_lag(pipeline->ingest, topic, partition, next);
            if (behind >= 0) lag = (lag < 0 ? 0 : lag) + behind;
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
    policy_count(pipeline, slot);
    metrics_process_set(slot);
    return pipeline->counters;
}

int pipeline_partitions(const struct pipeline *pipeline)
{
    int n = 0;
    for (int i = 0; i < pipeline->n_partitions; i++)
        n += pipeline->assigned[i];
    return n;
}

const char *pipeline_model_version(const struct pipeline *pipeline)
{
    return pipeline->model_version;
}

void pipeline_reload(struct pipeline *pipeline)
{
    if (pipeline->rules) rules_watch_reload(pipeline->rules);
    if (pipeline->models)
        models_reload(pipeline->models);
    else
        log_warn("app", "no model to load: model.dir is empty", NULL);
}

struct models *pipeline_models(const struct pipeline *pipeline)
{
    return pipeline->models;
}

struct state *pipeline_state(const struct pipeline *pipeline)
{
    return pipeline->state;
}

struct schemas *pipeline_schemas(const struct pipeline *pipeline)
{
    return pipeline->schemas;
}

/* ---- closing ---- */

bool pipeline_finish(struct pipeline *pipeline, struct err *err)
{
    bool ok = true;
    for (int i = 0; pipeline->shards && i < pipeline->settings->shards; i++) {
        struct err one = ERR_INIT;
        if (!pipeline->shards[i] || shard_stop(pipeline->shards[i], &one)) continue;
        if (ok) *err = one;
        ok = false;
    }
    return ok;
}

void pipeline_close(struct pipeline *pipeline)
{
    struct err ignored;
    if (!pipeline) return;
    (void)!pipeline_finish(pipeline, &ignored);
    if (pipeline->ingest) ingest_close(pipeline->ingest);
    for (int i = 0; pipeline->shards && i < pipeline->settings->shards; i++)
        shard_free(pipeline->shards[i]);
    if (pipeline->emit) emit_close(pipeline->emit);
    catalogue_close(pipeline->catalogue);
    companions_close(pipeline->companions);
    rules_watch_close(pipeline->rules);
    if (pipeline->state) state_close(pipeline->state);
    if (pipeline->schemas) schemas_close(pipeline->schemas);
    models_close(pipeline->models);
    if (pipeline->wake[0] >= 0) (void)close(pipeline->wake[0]);
    if (pipeline->wake[1] >= 0) (void)close(pipeline->wake[1]);
    counters_free(pipeline->counters);
    mem_free(pipeline->shards);
    mem_free(pipeline->start);
    mem_free(pipeline);
}
