/* From the options table to typed settings. */
#include "app/settings.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "serve/serve.h"

/* Larger encoder states (keys and values of attention) are not stored: writing 16 KiB for each user of an epoch costs more than
 * encoding the windows of those who come back after they left the memory. */
enum { STORED_FLOATS_MAX = 4096 };

/* Nor are states of short windows. Of width 64, writing one costs as much as 5 to 9 steps (docs/STATE.md, "What it costs"), at each
 * commit that the user has part in; the steps are taken only when the user comes back after leaving the memory. Bytes grow with the width, a
 * step with its square. */
enum { STORED_WINDOW_TIMES_WIDTH = 512 };

/* Items of one session in the index of neighbours; of a longer one the newest stay. Items further apart than that say
 * nothing about each other. */
enum { SESSION_ITEMS_MAX = 64 };

enum { SETTLE_MS = 15000 }; /* to ask the cluster */

/* ---- settings passed through to librdkafka ---- */

struct setting_list {
    struct kafka_setting *list;
    size_t n;
    const char *prefix; /* put back in front of the key: "" for consumer. and producer. */
};

static void setting_add(void *context, const char *key, const char *value)
{
    struct setting_list *to = context;
    size_t len = strlen(to->prefix) + strlen(key) + 1;
    char *name = mem_alloc(len);
    (void)snprintf(name, len, "%s%s", to->prefix, key);
    to->list = mem_realloc(to->list, (to->n + 1) * sizeof *to->list);
    to->list[to->n++] = (struct kafka_setting){name, value};
}

static void setting_lists_make(struct settings *settings)
{
    static const char *const common[] = {"security.", "sasl.", "ssl."};
    struct setting_list consumer = {.prefix = ""}, producer = {.prefix = ""},
                        shared = {.prefix = ""};
    options_each_prefixed(settings->options, "consumer.", setting_add, &consumer);
    options_each_prefixed(settings->options, "producer.", setting_add, &producer);
    for (size_t i = 0; i < sizeof common / sizeof common[0]; i++) {
        shared.prefix = common[i];
        options_each_prefixed(settings->options, common[i], setting_add, &shared);
    }
    settings->kafka.consumer = consumer.list;
    settings->kafka.n_consumer = consumer.n;
    settings->kafka.producer = producer.list;
    settings->kafka.n_producer = producer.n;
    settings->kafka.common = shared.list;
    settings->kafka.n_common = shared.n;
}

static void setting_list_free(const struct kafka_setting *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        mem_free((void *)(uintptr_t)list[i].key);
    mem_free((void *)(uintptr_t)list);
}

/* ---- the rest ---- */

static char *join(const char *a, const char *between, const char *b)
{
    size_t len = strlen(a) + strlen(between) + strlen(b) + 1;
    char *text = mem_alloc(len);
    (void)snprintf(text, len, "%s%s%s", a, between, b);
    return text;
}

/* Files that the Kafka client reads by itself. */
static bool key_files_check(const struct kafka_setting *list, size_t n, struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        bool is_key = strcmp(list[i].key, "ssl.key.location") == 0 ||
                      strcmp(list[i].key, "ssl.keystore.location") == 0;
        if (is_key && !options_secret_file_check(list[i].value, err))
            return err_wrap(err, "%s", list[i].key);
    }
    return true;
}

/* The URLs are shown in logs and errors, so they hold no password. */
static bool registry_url_check(const char *url, struct err *err)
{
    const char *host = strstr(url, "://");
    if (host && strchr(host, '@'))
        return err_fatal(err, ERR_EXIT_USAGE,
                         "schema.registry.url holds a user and password: take them out of it and "
                         "set basic.auth.user.info=${file:/path} with user:password in that file");
    if (url[0] && strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
        return err_fatal(
            err, ERR_EXIT_USAGE,
            "schema.registry.url=%.200s: give a URL that begins with http:// or https://", url);
    return true;
}

static bool listen_check(const char *listen, struct err *err)
{
    return !listen[0] || serve_address_check(listen, err) || err_wrap(err, "http.listen");
}

static bool check(const struct settings *settings, struct err *err)
{
    const struct kafka_config *kafka = &settings->kafka;
    if (settings->transactional_id && strcmp(settings->kafka.bootstrap_servers, "embedded") == 0)
        return err_fatal(
            err, ERR_EXIT_USAGE,
            "processing.guarantee=exactly_once_v2 needs a real broker: the embedded one does not "
            "keep transactions; set bootstrap.servers, or processing.guarantee=at_least_once");
    if (settings->n_topics < 1 || settings->n_topics > USER_TOPICS_MAX)
        return err_fatal(err, ERR_EXIT_USAGE, "events.topics names %d topics: 1 to %d are possible",
                         settings->n_topics, USER_TOPICS_MAX);
    if (settings->standbys > 0 && !settings->changelog_topic)
        return err_fatal(err, ERR_EXIT_USAGE,
                         "num.standby.replicas=%d needs a changelog to copy from: set "
                         "statestore.changelog.enabled=true",
                         settings->standbys);
    return registry_url_check(settings->schemas.registry_url, err) &&
           listen_check(options_text(settings->options, "http.listen"), err) &&
           key_files_check(kafka->common, kafka->n_common, err) &&
           key_files_check(kafka->consumer, kafka->n_consumer, err) &&
           key_files_check(kafka->producer, kafka->n_producer, err) &&
           kafka_config_check(kafka, err);
}

static void schemas_settings_make(struct settings *settings)
{
    const struct options *options = settings->options;
    const char *user = options_text(options, "basic.auth.user.info");
    settings->schemas = (struct schemas_options){
        .registry_url = options_text(options, "schema.registry.url"),
        .registry_user = user[0] ? user : NULL,
        .auto_register = options_bool(options, "auto.register.schemas"),
        .registry_timeout_ms = (int)options_int(options, "schema.registry.timeout.ms"),
        .events_format = options_enum(options, "value.format") == 0 ? FORMAT_AVRO : FORMAT_JSON,
        .recommendations_topic = settings->recommendations_topic,
        .related_topic = settings->related.topic[0] ? settings->related.topic : NULL,
        .trending_topic =
            settings->related.trending_topic[0] ? settings->related.trending_topic : NULL,
    };
}

static const char *const arm_weights[ARM_COUNT] = {[ARM_ENCODER] = "blend.encoder.weight",
                                                   [ARM_NEIGHBOURS] = "blend.neighbours.weight",
                                                   [ARM_POPULAR] = "blend.popularity.weight",
                                                   [ARM_RELATED] = "blend.related.weight",
                                                   [ARM_TRENDING] = "blend.trending.weight"};

/* The topics that are read: those of events, and the internal one when somebody needs it. */
static void sources_make(struct settings *settings)
{
    const char *const *events;
    const char **topics;
    settings->n_topics = options_list(settings->options, "events.topics", &events);
    topics = mem_alloc(((size_t)settings->n_topics + SETTINGS_SOURCES_MAX - USER_TOPICS_MAX) *
                       sizeof *topics);
    for (int i = 0; i < settings->n_topics; i++)
        topics[i] = events[i];
    settings->n_sources = settings->n_topics;
    settings->pairs_at = settings->erasures_at = -1;
    if (settings->related.pairs_topic) {
        settings->pairs_at = settings->n_sources;
        topics[settings->n_sources++] = settings->related.pairs_topic;
    }
    settings->topics = topics;
}

static void related_make(struct settings *settings)
{
    const struct options *options = settings->options;
    struct related_settings *related = &settings->related;
    related->topic = options_text(options, "related.topic");
    related->trending_topic = options_text(options, "trending.topic");
    related->popular_half_life_ms = options_int(options, "popularity.half.life.ms");
    if (related->topic[0] || related->trending_topic[0])
        related->pairs_topic = join(settings->application_id, "-", "pairs-repartition");
    related->list_size = (int)options_int(options, "related.list.size");
    related->change = options_number(options, "related.change");
    related->publish_interval_ms = options_int(options, "related.publish.interval.ms");
    related->memory_bytes = (size_t)options_int(options, "related.memory.max.bytes");
    related->rules = settings_related_rules(options);
}

/* A transaction is what readers wait for, so it is short unless somebody says otherwise. */
enum { COMMIT_INTERVAL_TRANSACTIONS_MS = 100 };

static void guarantee_make(struct settings *settings)
{
    const struct options *options = settings->options;
    const char *instance = options_text(options, "group.instance.id");
    settings->commit_interval_ms = options_int(options, "commit.interval.ms");
    if (options_enum(options, "processing.guarantee") == 0) return;
    settings->transactional_id = join(settings->application_id, "-", instance[0] ? instance : "0");
    if (!options_is_set(options, "commit.interval.ms"))
        settings->commit_interval_ms = COMMIT_INTERVAL_TRANSACTIONS_MS;
}

/* A folder for each process: those of one application may share the place. */
static void snapshots_make(struct settings *settings)
{
    const struct options *options = settings->options;
    const char *dir = options_text(options, "statestore.snapshot.dir");
    const char *instance = options_text(options, "group.instance.id");
    settings->snapshot_every_ms = options_int(options, "statestore.snapshot.interval.ms");
    settings->snapshots_kept = (int)options_int(options, "statestore.snapshot.keep");
    if (!dir[0]) return;
    char *folder = join(dir, "/", settings->application_id);
    settings->snapshot_folder = join(folder, "/", instance[0] ? instance : "0");
    mem_free(folder);
}

bool settings_init(struct settings *settings, const struct options *options, struct err *err)
{
    *settings = (struct settings){.options = options};
    if (!options_check(options, err)) return false;
    const char *dlq = options_text(options, "errors.deadletterqueue.topic.name");
    settings->application_id = options_text(options, "application.id");
    settings->state_folder =
        join(options_text(options, "state.dir"), "/", settings->application_id);
    settings->dlq_topic = dlq[0] ? mem_strdup(dlq) : join(settings->application_id, "-", "dlq");
    settings->recommendations_topic = options_text(options, "recommendations.topic");
    related_make(settings);
    sources_make(settings);
    settings->erasures_topic = options_text(options, "erasures.topic");
    settings->receipts_topic = join(settings->application_id, "-", "erasure-receipts");
    settings->guard_ms = options_int(options, "erasure.guard.ms");
    settings->items_topic = options_text(options, "items.topic");
    settings->model_folder = options_text(options, "model.dir");
    settings->shards = (int)options_int(options, "num.stream.threads");
    settings->list_size = (int)options_int(options, "list.size");
    settings->reasons_name_items = options_enum(options, "list.reasons") == 0;
    settings->batch_max = (int)options_int(options, "batch.max.events");
    guarantee_make(settings);
    settings->epochs_max = (int)options_int(options, "max.in.flight.epochs");
    settings->pending_bytes = (size_t)options_int(options, "statestore.uncommitted.max.bytes");
    settings->task_timeout_ms = options_int(options, "task.timeout.ms");
    for (int arm = 0; arm < ARM_COUNT; arm++)
        settings->blend_weights[arm] = (float)options_number(options, arm_weights[arm]);
    settings->neighbours = options_bool(options, "neighbours.enabled");
    settings->session_gap_ms = options_int(options, "session.gap.ms");
    settings->poison_stop = options_enum(options, "poison.policy") == 1;
    settings->poison_max_share = options_number(options, "poison.max.share");
    settings->kafka.bootstrap_servers = options_text(options, "bootstrap.servers");
    settings->kafka.client_id = settings->application_id;
    settings->standbys = (int)options_int(options, "num.standby.replicas");
    if (options_bool(options, "statestore.changelog.enabled"))
        settings->changelog_topic = join(settings->application_id, "-", "state-changelog");
    snapshots_make(settings);
    setting_lists_make(settings);
    schemas_settings_make(settings);
    if (options_bool(options, "privacy.pseudonymise") &&
        !pseudonyms_open(&settings->pseudonyms,
                         str_of(options_text(options, "privacy.pseudonym.secret")), err))
        return false;
    return check(settings, err);
}

void settings_fini(struct settings *settings)
{
    setting_list_free(settings->kafka.common, settings->kafka.n_common);
    setting_list_free(settings->kafka.consumer, settings->kafka.n_consumer);
    setting_list_free(settings->kafka.producer, settings->kafka.n_producer);
    mem_free((void *)(uintptr_t)settings->topics);
    mem_free(settings->related.pairs_topic);
    mem_free(settings->changelog_topic);
    mem_free(settings->snapshot_folder);
    mem_free(settings->state_folder);
    mem_free(settings->dlq_topic);
    mem_free(settings->receipts_topic);
    pseudonyms_close(settings->pseudonyms);
    mem_free(settings->transactional_id);
}

/* Looking for a topic of the embedded broker makes it, with any number of partitions. */
static bool embedded_look(const struct settings *settings, bool *is_embedded, struct err *err)
{
    char cluster_id[64];
    if (!kafka_cluster_id(&settings->kafka, cluster_id, SETTLE_MS, err)) return false;
    *is_embedded = strncmp(cluster_id, "mockCluster", 11) == 0;
    return true;
}

bool settings_erasures_settle(struct settings *settings, struct err *err)
{
    const char *names[] = {settings->erasures_topic, settings->receipts_topic};
    struct kafka_topic_info info[2] = {0};
    if (!names[0][0] || settings->erasures_at >= 0) return true;
    bool is_asked_for = options_is_set(settings->options, "erasures.topic"), is_embedded;
    if (!embedded_look(settings, &is_embedded, err)) return false;
    if (is_embedded && !is_asked_for) return true;
    if (!kafka_topic_describe(&settings->kafka, names, 2, info, SETTLE_MS, err)) return false;
    if (info[0].partitions == 0 && !is_asked_for) {
        log_info("app", "no erasures", "topic %s does not exist", names[0]);
        return true;
    }
    for (int i = 0; i < 2; i++)
        if (info[i].partitions == 0)
            return err_fatal(err, ERR_EXIT_TOPIC,
                             "topic %s of erasures does not exist: create it with `freshet topics "
                             "create`, or set erasures.topic= for no erasures",
                             names[i]);
    const char **topics = (const char **)(uintptr_t)settings->topics;
    settings->erasures_at = settings->n_sources;
    settings->erasures_partitions = info[0].partitions;
    topics[settings->n_sources++] = names[0];
    return true;
}

struct state_options settings_state(const struct settings *settings, int state_floats)
{
    const struct options *options = settings->options;
    struct state_options state = {
        .window_max = (int)options_int(options, "session.window"),
        .late_tolerance_ms = options_int(options, "late.tolerance.ms"),
        .cache_bytes = (size_t)options_int(options, "statestore.cache.max.bytes"),
        .rocksdb_bytes = (size_t)options_int(options, "rocksdb.memory.max.bytes"),
        .popularity_max_items = (int)options_int(options, "popularity.max.items"),
        .popularity_half_life_ms = options_int(options, "popularity.half.life.ms"),
        .list_size = settings->list_size,
        .shards = settings->shards,
        .state_floats = state_floats,
        .rebuild_encoders = state_floats > STORED_FLOATS_MAX,
    };
    for (int type = 0; type < EVENT_TYPE_COUNT; type++) {
        char name[64];
        (void)snprintf(name, sizeof name, "event.weight.%s",
                       schemas_event_type_name((enum event_type)type));
        state.popularity_weight[type] = options_number(options, name);
    }
    return state;
}

int settings_stored_window(int D)
{
    return STORED_WINDOW_TIMES_WIDTH / D + 1;
}

struct model_neighbours_options settings_neighbours_unbounded(const struct options *options)
{
    return (struct model_neighbours_options){
        .items_max = SESSION_ITEMS_MAX,
        .max_age_ms = options_int(options, "neighbours.max.age.ms"),
        .m = (int)options_int(options, "neighbours.m"),
        .k = (int)options_int(options, "neighbours.k"),
        .last_n = (int)options_int(options, "neighbours.last"),
        .similarity = (enum model_neighbours_decay)options_enum(options, "neighbours.similarity"),
        .position = (enum model_neighbours_decay)options_enum(options, "neighbours.position"),
        .idf = (enum model_neighbours_idf)options_enum(options, "neighbours.idf"),
        .idf_weight = options_number(options, "neighbours.idf.weight"),
        .half_life_ms = (double)options_int(options, "neighbours.half.life.ms"),
        .reach = options_number(options, "neighbours.reach"),
    };
}

struct model_neighbours_options settings_neighbours(const struct settings *settings,
                                                    int n_partitions)
{
    struct model_neighbours_options neighbours = settings_neighbours_unbounded(settings->options);
    int64_t bytes = options_int(settings->options, "neighbours.memory.max.bytes") / n_partitions;
    model_neighbours_bound(&neighbours, (size_t)bytes);
    return neighbours;
}

struct model_related_rules settings_related_rules(const struct options *options)
{
    double orders_ms = (double)options_int(options, "related.half.life.ms");
    double views_ms = (double)options_int(options, "related.view.half.life.ms");
    struct model_related_rules rules = {
        .pairs = {.basket_max = (int)options_int(options, "related.basket.max"),
                  .session_items = (int)options_int(options, "related.session.items"),
                  .user_max = (int)options_int(options, "related.user.max"),
                  .window_ms = options_int(options, "related.window.ms"),
                  .session_gap_ms = options_int(options, "session.gap.ms")},
        .trending_half_life_ms = (double)options_int(options, "trending.half.life.ms"),
        .partners_max = (int)options_int(options, "related.partners.max"),
    };
    for (int kind = 0; kind < RELATED_KIND_COUNT; kind++)
        rules.half_life_ms[kind] = kind == RELATED_ALSO_VIEWED ? views_ms : orders_ms;
    return rules;
}

/* task.timeout.ms as an int: what is over it is for ever. */
static int patience_ms(const struct settings *settings)
{
    return settings->task_timeout_ms < INT_MAX ? (int)settings->task_timeout_ms : INT_MAX;
}

struct ingest_options settings_ingest(const struct settings *settings)
{
    const struct options *options = settings->options;
    const char *instance = options_text(options, "group.instance.id");
    return (struct ingest_options){
        .group_id = settings->application_id,
        .group_instance_id = instance[0] ? instance : NULL,
        .topics = settings->topics,
        .n_topics = settings->n_sources,
        .n_raw = settings->n_sources - settings->n_topics,
        .n_compacted = settings->erasures_at >= 0,
        .shards = settings->shards,
        .start = options_enum(options, "events.start") == 0 ? INGEST_EARLIEST : INGEST_LATEST,
        .on_gap = options_enum(options, "on.offset.gap") == 0 ? GAP_FAIL : GAP_ACCEPT,
        .transactional_source = options_bool(options, "events.transactional"),
        .transactional = settings->transactional_id != NULL,
        .max_future_ms = options_int(options, "events.max.future.ms"),
        .pseudonyms = settings->pseudonyms,
        .batch_max = settings->batch_max,
        .session_timeout_ms = (int)options_int(options, "session.timeout.ms"),
        .hold_ms = patience_ms(settings),
        .patience_ms = patience_ms(settings),
    };
}
