/* Opening, turning and closing the pipeline; rebalances between the group and the shards. */
#include "app/pipeline_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/models.h"
#include "app/owner.h"
#include "app/relations.h"
#include "app/topics.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"

/* An fsync of the log holds writes back for 20 ms: every 3 s the p99 of event to list was 14 ms, every 10 s 10 (bench/run latency). */
enum { CONNECT_TIMEOUT_MS = 15000, SYNC_EVERY_MS = 10000 };
enum { RECENT_COPIES = 10, RECENT_MS = 1000 }; /* window of METRIC_EVENT_TO_LIST_RECENT */

/* ---- what the folders call back ---- */

/* Of a shard or the committer. */
static void part_failed(void *context)
{
    struct pipeline *pipeline = context;
    if (pipeline->group) group_wake(pipeline->group);
}

static void group_failed(void *context)
{
    struct pipeline *pipeline = context;
    ssize_t ignored = write(pipeline->wake[1], "!", 1);
    (void)ignored;
}

/* A_p against C_p. The store is behind: another process had the partition, the store is new, or a crash came between commit and write;
 * what was told is applied with output off. */
static void tail_log(const struct pipeline *pipeline, int32_t partition, const int64_t *next,
                     const int64_t *told)
{
    const struct settings *settings = pipeline->settings;
    for (int topic = 0; topic < settings->n_sources; topic++)
        if (told[topic] > next[topic] &&
            told[topic] > ingest_log_begin(pipeline->ingest, topic, partition))
            log_info("app", "the store is behind what is committed: applied again without output",
                     "topic=%s partition=%d store=%lld committed=%lld", settings->topics[topic],
                     (int)partition, (long long)next[topic], (long long)told[topic]);
}

/* The pairs begin where others may have begun. */
static bool pairs_again(struct pipeline *pipeline, int32_t partition, int64_t *next,
                        struct err *err)
{
    int pairs = pipeline->settings->pairs_at;
    if (pairs < 0 || pipeline->committer || fault_mutant("pairs_not_again")) return true;
    int64_t begin = ingest_log_begin(pipeline->ingest, pairs, partition);
    return relations_again(pipeline->state, partition, begin, &next[pairs], err);
}

/* The store is at its newest point: the shard takes the partition, next says where it begins. */
static bool partition_open(struct pipeline *pipeline, int32_t partition, int64_t *next,
                           struct err *err)
{
    const struct settings *settings = pipeline->settings;
    int64_t told[SETTINGS_SOURCES_MAX];
    for (int topic = 0; topic < settings->n_sources; topic++) {
        if (!state_position(pipeline->state, topic, partition, &next[topic], err)) return false;
        if (fault_mutant("auto_offset_reset_latest")) next[topic] = -1;
        sync_int_set(&pipeline->start[topic * PARTITIONS_MAX + partition], next[topic] + 1);
        told[topic] = ingest_committed(pipeline->ingest, topic, partition);
    }
    struct shard_opening opening = {.told = told};
    if (pipeline->requests &&
        !requests_find(pipeline->requests, partition, pipeline->ingest, &opening.requests, err))
        return false;
    if (!shard_partition_open(pipeline->shards[partition % settings->shards], partition, &opening,
                              err))
        return false;
    tail_log(pipeline, partition, next, told);
    if (!pairs_again(pipeline, partition, next, err)) return false;
    sync_int_set_release(&pipeline->assigned[partition], 1);
    log_info("app", "partition assigned", "partition=%d next=%lld", (int)partition,
             (long long)next[0]);
    return true;
}

static bool partition_assigned(void *context, int32_t partition, int64_t *next, struct err *err)
{
    struct pipeline *pipeline = context;
    if (partition >= PARTITIONS_MAX)
        return err_fatal(err, ERR_EXIT_TOPIC, "partition %d: at most %d partitions are supported",
                         (int)partition, PARTITIONS_MAX);
    if (!pipeline->restore) return partition_open(pipeline, partition, next, err);
    next[0] = INGEST_LATER;
    restore_begin(pipeline->restore, partition);
    return true;
}

/* Partitions whose state came to its newest point begin. */
static bool restored_open(void *context, struct err *err)
{
    struct pipeline *pipeline = context;
    int64_t next[SETTINGS_SOURCES_MAX];
    int32_t partition;
    if (!pipeline->restore) return true;
    while (restore_take(pipeline->restore, &partition))
        if (!partition_open(pipeline, partition, next, err) ||
            !ingest_begin(pipeline->ingest, partition, next, err))
            return false;
    return restore_check(pipeline->restore, err);
}

/* What was sent for it is in the open transaction, its position cannot be; or it would come behind what the new owner sends. */
static void outputs_lose(struct pipeline *pipeline)
{
    struct err err = ERR_INIT;
    (void)err_set_at(&err, ERR_ABORT, ERR_EXIT_UNREACHABLE, __FILE__, __LINE__,
                     "the group has given our partitions away");
    if (pipeline->committer) committer_break(pipeline->committer, &err);
    emit_break(pipeline->emit, &err);
}

static void partition_revoked(void *context, int32_t partition, bool lost)
{
    struct pipeline *pipeline = context;
    requests_drop(pipeline->requests);
    if (partition >= PARTITIONS_MAX) return;
    if (!sync_int_get(&pipeline->assigned[partition])) {
        if (pipeline->restore) restore_end(pipeline->restore, partition);
        return;
    }
    if (fault_mutant("group_unnamed")) lost = false;
    bool is_lost = lost && !fault_mutant("lost_is_kept");
    if (is_lost) outputs_lose(pipeline);
    shard_partition_close(pipeline->shards[partition % pipeline->settings->shards], partition,
                          lost);
    if (is_lost) outputs_lose(pipeline); /* what the shard had in hand */
    if (pipeline->restore) restore_end(pipeline->restore, partition); /* a copy may be kept now */
    sync_int_set(&pipeline->assigned[partition], 0);
    log_info("app", "partition revoked", "partition=%d lost=%d", (int)partition, lost);
}

static void peer_gone(void *context, const char *instance)
{
    const struct pipeline *pipeline = context;
    committer_fence(pipeline->settings, instance);
}

/* ---- opening ---- */

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
                            .committer = pipeline->committer,
                            .tap = tap,
                            .counters = pipeline->counters,
                            .failed = part_failed,
                            .failed_context = pipeline};
    pipeline->shards = mem_zalloc((size_t)pipeline->settings->shards * sizeof(struct shard *));
    for (int i = 0; i < pipeline->settings->shards; i++) {
        pipeline->shards[i] = shard_new(&env, i);
        if (!shard_start(pipeline->shards[i], err)) return false;
    }
    return true;
}

static void committer_make(struct pipeline *pipeline)
{
    struct committer_env env = {.settings = pipeline->settings,
                                .emit = pipeline->emit,
                                .failed = part_failed,
                                .failed_context = pipeline};
    if (pipeline->settings->transactional_id) pipeline->committer = committer_new(&env);
}

static bool first_model_open(struct pipeline *pipeline, struct err *err)
{
    const struct settings *settings = pipeline->settings;
    struct models_options options = {.folder = settings->model_folder};
    options.interval_ms = options_int(settings->options, "model.check.interval.ms");
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
    if (!topics_items_look(settings, &has_items, err)) return false;
    return !has_items || catalogue_open(&pipeline->catalogue, &catalogue, err);
}

/* The lists of related items and of what rises that all processes published, as far as an arm looks at them. */
static bool companions_start(struct pipeline *pipeline, struct err *err)
{
    const struct settings *settings = pipeline->settings;
    struct companions_options options = {
        .kafka = &settings->kafka,
        .schemas = pipeline->schemas,
        .bytes_max = (size_t)options_int(settings->options, "related.lists.memory.max.bytes"),
        .timeout_ms = CONNECT_TIMEOUT_MS};
    if (settings->related.topic[0] && settings->blend_weights[ARM_RELATED] > 0)
        options.related_topic = settings->related.topic;
    if (settings->related.trending_topic[0] && settings->blend_weights[ARM_TRENDING] > 0)
        options.trending_topic = settings->related.trending_topic;
    if (!options.related_topic && !options.trending_topic) return true;
    return companions_open(&pipeline->companions, &options, err);
}

static bool consumer_open(struct pipeline *pipeline, struct err *err)
{
    struct ingest_options options = settings_ingest(pipeline->settings);
    struct ingest_callbacks callbacks = {
        .context = pipeline, .assigned = partition_assigned, .revoked = partition_revoked};
    if (pipeline->settings->transactional_id) callbacks.gone = peer_gone;
    if (fault_mutant("auto_offset_reset_latest")) options.start = INGEST_LATEST;
    return ingest_open(&pipeline->ingest, &pipeline->settings->kafka, &options, pipeline->schemas,
                       &callbacks, err);
}

static void restore_woken(void *context)
{
    struct ingest *ingest = ((struct pipeline *)context)->ingest;
    if (ingest) ingest_nudge(ingest);
}

/* Before the consumer, whose assignments want it; it calls back only for what was begun then. */
static bool restore_make(struct pipeline *pipeline, struct err *err)
{
    struct restore_env env = {.settings = pipeline->settings,
                              .state = pipeline->state,
                              .n_partitions = pipeline->n_partitions,
                              .wake = restore_woken,
                              .context = pipeline};
    return !pipeline->settings->changelog_topic || restore_open(&pipeline->restore, &env, err);
}

static bool group_open(struct pipeline *pipeline, struct err *err)
{
    struct group_env env = {.settings = pipeline->settings,
                            .ingest = pipeline->ingest,
                            .emit = pipeline->emit,
                            .committer = pipeline->committer,
                            .shards = pipeline->shards,
                            .counters = pipeline->counters,
                            .turned = restored_open,
                            .failed = group_failed,
                            .context = pipeline};
    return group_start(&pipeline->group, &env, err);
}

/* A store that is on its way to where it was before is not worth a snapshot. */
static bool store_is_settled(void *context)
{
    const struct pipeline *pipeline = context;
    return pipeline_partitions(pipeline) > 0 && pipeline_restoring(pipeline) == 0 &&
           !pipeline_is_behind(pipeline);
}

static bool first_is_ours(void *context)
{
    struct pipeline *pipeline = context;
    return sync_int_get_acquire(&pipeline->assigned[0]) != 0;
}

static bool erasers_open(struct pipeline *pipeline, struct err *err)
{
    const struct redactor_env env = {.settings = pipeline->settings,
                                     .schemas = pipeline->schemas,
                                     .n_partitions = pipeline->n_partitions,
                                     .leads = first_is_ours,
                                     .context = pipeline};
    return erasers_start(&pipeline->erasers, pipeline->state, &env, err);
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
        .receipts_topic = settings->erasures_at >= 0 ? settings->receipts_topic : NULL,
        .changelog_topic = settings->changelog_topic,
        .queue_bytes = (size_t)options_int(settings->options, "producer.queue.max.bytes"),
        .patience_ms = settings->task_timeout_ms,
        .session_ms = options_int(settings->options, "session.timeout.ms"),
        .transactional_id = settings->transactional_id};
    if (pipe(pipeline->wake) != 0) return err_set(err, ERR_FATAL, "cannot make a pipe");
    (void)fcntl(pipeline->wake[0], F_SETFL, O_NONBLOCK);
    if (!first_model_open(pipeline, err)) return false;
    if (!topics_check(settings, pipeline->cluster_id, &pipeline->n_partitions, err)) return false;
    if (!schemas_open(&pipeline->schemas, &settings->schemas, err)) return false;
    if (!policy_open(pipeline, err) || !companions_start(pipeline, err)) return false;
    if (!owner_store_open(settings, pipeline->cluster_id, pipeline->n_partitions,
                          pipeline->state_floats, &pipeline->snapshots, &pipeline->state, err))
        return false;
    if (!restore_make(pipeline, err)) return false;
    pipeline->requests = requests_keeper_new(settings, pipeline->state);
    if (!erasers_open(pipeline, err)) return false;
    if (!emit_open(&pipeline->emit, &settings->kafka, &emit, err)) return false;
    fault_point("opened");
    if (!consumer_open(pipeline, err)) return false;
    if (pipeline->restore) restore_group(pipeline->restore, pipeline->ingest);
    committer_make(pipeline);
    if (!shards_start(pipeline, tap, err)) return false;
    if (pipeline->committer && !committer_start(pipeline->committer, pipeline->ingest, err))
        return false;
    return group_open(pipeline, err) &&
           snapshots_start(pipeline->snapshots, pipeline->state, store_is_settled, pipeline, err);
}

bool pipeline_open(struct pipeline **pipeline, const struct settings *settings, struct tap *tap,
                   struct err *err)
{
    struct pipeline *p = mem_zalloc(sizeof *p);
    p->settings = settings;
    p->wake[0] = p->wake[1] = -1;
    p->counters = metrics_start(settings->shards);
    p->recent = recent_new(p->counters, RECENT_COPIES, RECENT_MS, pipeline__now_ms());
    p->start = mem_zalloc((size_t)settings->n_sources * PARTITIONS_MAX * sizeof *p->start);
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

bool pipeline_serve(struct pipeline *pipeline, struct err *err)
{
    char bytes[64];
    int64_t now = pipeline__now_ms();
    while (read(pipeline->wake[0], bytes, sizeof bytes) > 0)
        continue;
    if (!group_check(pipeline->group, err)) return false;
    if (pipeline->rules) rules_watch_serve(pipeline->rules, now);
    if (pipeline->catalogue && !catalogue_check(pipeline->catalogue, err)) return false;
    if (pipeline->companions && !companions_check(pipeline->companions, err)) return false;
    checkpoints_serve(&pipeline->checkpoints, pipeline->state, pipeline->settings->state_folder,
                      now);
    if (now - pipeline->synced_ms < SYNC_EVERY_MS) return true;
    pipeline->synced_ms = now;
    if (state_sync(pipeline->state, err)) return true;
    if (err->class != ERR_RETRY) return false;
    log_err(LOG_WARN, "state", err);
    err->class = ERR_NONE;
    return true;
}

int pipeline_event_fd(const struct pipeline *pipeline)
{
    return pipeline->wake[0];
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

struct rules_watch *pipeline_rules(const struct pipeline *pipeline)
{
    return pipeline->rules;
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
    requests_stop(pipeline->requests);
    if (pipeline->group) group_stop(pipeline->group);
    for (int i = 0; pipeline->shards && i < pipeline->settings->shards; i++) {
        struct err one = ERR_INIT;
        if (!pipeline->shards[i] || shard_stop(pipeline->shards[i], &one)) continue;
        if (ok) *err = one;
        ok = false;
    }
    /* Also for a transaction that was lost: the next start does it again. */
    if (!ok) err->class = ERR_FATAL;
    return ok;
}

void pipeline_close(struct pipeline *pipeline)
{
    struct err ignored;
    if (!pipeline) return;
    (void)!pipeline_finish(pipeline, &ignored);
    snapshots_close(pipeline->snapshots);
    if (pipeline->committer) committer_stop(pipeline->committer);
    if (pipeline->restore) restore_stop(pipeline->restore);
    if (pipeline->ingest) ingest_close(pipeline->ingest);
    restore_close(pipeline->restore);
    for (int i = 0; pipeline->shards && i < pipeline->settings->shards; i++)
        shard_free(pipeline->shards[i]);
    group_free(pipeline->group);
    committer_free(pipeline->committer);
    if (pipeline->emit) emit_close(pipeline->emit);
    catalogue_close(pipeline->catalogue);
    companions_close(pipeline->companions);
    rules_watch_close(pipeline->rules);
    checkpoints_close(&pipeline->checkpoints);
    erasers_stop(&pipeline->erasers);
    requests_keeper_free(pipeline->requests);
    if (pipeline->state) state_close(pipeline->state);
    if (pipeline->schemas) schemas_close(pipeline->schemas);
    models_close(pipeline->models);
    for (int i = 0; i < 2; i++)
        if (pipeline->wake[i] >= 0) (void)close(pipeline->wake[i]);
    recent_free(pipeline->recent);
    counters_free(pipeline->counters);
    mem_free(pipeline->shards);
    mem_free(pipeline->start);
    mem_free(pipeline);
}
