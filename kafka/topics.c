/* Topics and the cluster: asked and created through short-lived clients that never create a topic by asking. */
#include "kafka/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sync.h"

enum { CLOSE_MS = 5000, ASK_MS = 5000, ASK_PAUSE_MS = 100 };

bool kafka__asker_open(struct kafka__admin **out, const struct kafka_config *config,
                       enum kafka_role role, const struct kafka_setting *own, size_t n_own,
                       struct err *err)
{
    struct kafka__admin *admin = mem_zalloc(sizeof *admin);
    kafka_notes_init(&admin->notes, true, NULL);
    rd_kafka_conf_t *conf = kafka_client_conf(config, role, own, n_own, err);
    if (conf) admin->client = kafka_client_new(conf, role, &admin->notes, err);
    if (admin->client) {
        *out = admin;
        return true;
    }
    kafka_notes_fini(&admin->notes);
    mem_free(admin);
    return false;
}

bool kafka__admin_open(struct kafka__admin **admin, const struct kafka_config *config,
                       struct err *err)
{
    return kafka__asker_open(admin, config, KAFKA_ADMIN, NULL, 0, err);
}

void kafka__admin_close(struct kafka__admin *admin)
{
    if (!kafka_client_free(admin->client, CLOSE_MS)) return; /* it may still log: the notes stay */
    kafka_notes_fini(&admin->notes);
    mem_free(admin);
}

bool kafka__unreachable(struct kafka_notes *notes, rd_kafka_resp_err_t code, const char *what,
                        int timeout_ms, struct err *err)
{
    char last[sizeof notes->last];
    mutex_lock(&notes->lock);
    memcpy(last, notes->last, sizeof last);
    mutex_unlock(&notes->lock);
    return kafka_err_set(err, code, last, "cannot %s within %d ms", what, timeout_ms);
}

/* ---- asking ---- */

static int left_ms(uint64_t until_ns)
{
    int64_t left = (int64_t)(until_ns - clock_mono_ns()) / 1000000;
    return left > 0 ? (int)left : 0;
}

/* rd_kafka_clusterid takes a first answer without an id for that of an old broker, and waits no more. Such an answer also comes over a
 * connection whose question for versions was not answered in time. */
char *kafka__cluster_id(rd_kafka_t *client, int timeout_ms)
{
    uint64_t until = clock_mono_ns() + (uint64_t)timeout_ms * 1000000;
    for (;;) {
        const struct rd_kafka_metadata *metadata;
        char *id = rd_kafka_clusterid(client, left_ms(until));
        int left = left_ms(until);
        if (id || left == 0) return id;
        if (!rd_kafka_metadata(client, 0, NULL, &metadata, left < ASK_MS ? left : ASK_MS))
            rd_kafka_metadata_destroy(metadata);
        sync_sleep_ms(ASK_PAUSE_MS);
    }
}

bool kafka_cluster_id(const struct kafka_config *config, char cluster_id[64], int timeout_ms,
                      struct err *err)
{
    struct kafka__admin *admin;
    if (!kafka__admin_open(&admin, config, err)) return false;
    char *id = kafka__cluster_id(admin->client, timeout_ms);
    bool ok = id != NULL;
    if (ok)
        (void)snprintf(cluster_id, 64, "%s", id);
    else {
        char what[160];
        (void)snprintf(what, sizeof what, "reach Kafka at '%s'", config->bootstrap_servers);
        (void)kafka__unreachable(&admin->notes, RD_KAFKA_RESP_ERR__TRANSPORT, what, timeout_ms,
                                 err);
    }
    if (id) rd_kafka_mem_free(admin->client, id);
    kafka__admin_close(admin);
    return ok;
}

/* One topic by name: a list of all topics of a large cluster is megabytes. A leader that is being elected is waited
 * for, until the time is over. info->compact is left alone. */
static rd_kafka_resp_err_t topic_ask(rd_kafka_t *client, rd_kafka_topic_t *handle,
                                     struct kafka_topic_info *info, uint64_t until_ns)
{
    for (;;) {
        const struct rd_kafka_metadata *metadata = NULL;
        int left = left_ms(until_ns);
        rd_kafka_resp_err_t code =
            rd_kafka_metadata(client, 0, handle, &metadata, left > 1 ? left : 1);
        if (code) return code;
        const struct rd_kafka_metadata_topic *topic = metadata->topics;
        bool known = metadata->topic_cnt == 1 && topic->err == RD_KAFKA_RESP_ERR_NO_ERROR;
        code = metadata->topic_cnt == 1 ? topic->err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        info->partitions = known ? topic->partition_cnt : 0;
        info->replication = known && topic->partition_cnt ? topic->partitions[0].replica_cnt : 0;
        rd_kafka_metadata_destroy(metadata);
        if (code != RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE || left <= 50) return code;
        sync_sleep_ms(50);
    }
}

static bool topics_ask(rd_kafka_t *client, struct kafka_notes *notes, const char *const *topics,
                       int n, struct kafka_topic_info *info, int timeout_ms, struct err *err)
{
    uint64_t until = clock_mono_ns() + (uint64_t)timeout_ms * 1000000;
    for (int i = 0; i < n; i++) {
        char what[300];
        memset(&info[i], 0, sizeof info[i]);
        info[i].delete_retention_ms = -1;
        (void)snprintf(what, sizeof what, "ask Kafka about topic '%s'", topics[i]);
        rd_kafka_topic_t *handle = rd_kafka_topic_new(client, topics[i], NULL);
        if (!handle) return kafka_err_set(err, rd_kafka_last_error(), NULL, "cannot %s", what);
        rd_kafka_resp_err_t code = topic_ask(client, handle, &info[i], until);
        rd_kafka_topic_destroy(handle);
        if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
            code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC)
            continue;
        if (code) return kafka__unreachable(notes, code, what, timeout_ms, err);
    }
    return true;
}

bool kafka_topics_partitions(const struct kafka_config *config, const char *const *topics, int n,
                             int *partitions, int timeout_ms, struct err *err)
{
    struct kafka__admin *admin;
    bool ok = true;
    if (!kafka__admin_open(&admin, config, err)) return false;
    for (int i = 0; i < n && ok; i++) {
        struct kafka_topic_info info;
        ok = topics_ask(admin->client, &admin->notes, &topics[i], 1, &info, timeout_ms, err);
        partitions[i] = ok ? info.partitions : 0;
        if (ok && info.partitions == 0)
            ok = kafka_err_set(err, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, NULL,
                               "topic '%s' at '%s'", topics[i], config->bootstrap_servers);
    }
    kafka__admin_close(admin);
    return ok;
}

/* ---- settings of topics ---- */

static void setting_take(struct kafka_topic_info *info, const char *name, const char *value)
{
    if (strcmp(name, "cleanup.policy") == 0) info->compact = strstr(value, "compact") != NULL;
    if (strcmp(name, "delete.retention.ms") == 0)
        info->delete_retention_ms = strtoll(value, NULL, 10);
    if (strcmp(name, "min.insync.replicas") == 0) info->min_insync = (int)strtol(value, NULL, 10);
    if (strcmp(name, "max.message.bytes") == 0) info->message_max = strtoll(value, NULL, 10);
    if (strcmp(name, "segment.ms") == 0) info->segment_ms = strtoll(value, NULL, 10);
}

static void settings_read(const rd_kafka_event_t *event, const char *const *names, int n,
                          struct kafka_topic_info *info)
{
    size_t n_results = 0;
    const rd_kafka_ConfigResource_t **results = rd_kafka_DescribeConfigs_result_resources(
        rd_kafka_event_DescribeConfigs_result((rd_kafka_event_t *)(uintptr_t)event), &n_results);
    for (size_t r = 0; r < n_results; r++) {
        size_t n_entries = 0;
        const rd_kafka_ConfigEntry_t **entries =
            rd_kafka_ConfigResource_configs(results[r], &n_entries);
        for (size_t e = 0; e < n_entries; e++) {
            const char *value = rd_kafka_ConfigEntry_value(entries[e]);
            for (int i = 0; i < n && value; i++)
                if (strcmp(names[i], rd_kafka_ConfigResource_name(results[r])) == 0)
                    setting_take(&info[i], rd_kafka_ConfigEntry_name(entries[e]), value);
        }
    }
}

static void settings_ask(struct kafka__admin *admin, const char *const *names, int n,
                         struct kafka_topic_info *info, int timeout_ms)
{
    char why[128];
    rd_kafka_ConfigResource_t **resources = mem_alloc((size_t)n * sizeof *resources);
    size_t n_known = 0;
    for (int i = 0; i < n; i++)
        if (info[i].partitions > 0)
            resources[n_known++] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, names[i]);
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(admin->client, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(admin->client);
    (void)rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, why, sizeof why);
    if (n_known) {
        rd_kafka_DescribeConfigs(admin->client, resources, n_known, options, queue);
        rd_kafka_event_t *event = rd_kafka_queue_poll(queue, timeout_ms + 1000);
        if (event && !rd_kafka_event_error(event))
            settings_read(event, names, n, info);
        else
            log_debug("kafka", "the broker does not tell its topics' settings", "error=\"%s\"",
                      event ? rd_kafka_event_error_string(event) : "timeout");
        if (event) rd_kafka_event_destroy(event);
    }
    rd_kafka_queue_destroy(queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_ConfigResource_destroy_array(resources, n_known);
    mem_free(resources);
}

/* The mock does not answer admin calls: the wait would be for nothing. */
static bool is_embedded(const struct kafka__admin *admin)
{
    char *id = rd_kafka_clusterid(admin->client, 0);
    bool embedded = id && strncmp(id, "mockCluster", 11) == 0;
    if (id) rd_kafka_mem_free(admin->client, id);
    return embedded;
}

bool kafka_topic_describe(const struct kafka_config *config, const char *const *names, int n,
                          struct kafka_topic_info *info, int timeout_ms, struct err *err)
{
    struct kafka__admin *admin;
    if (!kafka__admin_open(&admin, config, err)) return false;
    bool ok = topics_ask(admin->client, &admin->notes, names, n, info, timeout_ms, err);
    if (ok && !is_embedded(admin)) settings_ask(admin, names, n, info, timeout_ms);
    kafka__admin_close(admin);
    return ok;
}

/* ---- creating ---- */

static bool created_read(rd_kafka_event_t *event, struct err *err)
{
    size_t n = 0;
    if (rd_kafka_event_error(event))
        return kafka_err_set(err, rd_kafka_event_error(event), rd_kafka_event_error_string(event),
                             "cannot create topics");
    const rd_kafka_topic_result_t **results =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n);
    for (size_t i = 0; i < n; i++) {
        rd_kafka_resp_err_t code = rd_kafka_topic_result_error(results[i]);
        if (code && code != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
            return kafka_err_set(err, code, rd_kafka_topic_result_error_string(results[i]),
                                 "cannot create topic '%s'",
                                 rd_kafka_topic_result_name(results[i]));
    }
    return true;
}

static void ms_set(rd_kafka_NewTopic_t *topic, const char *name, int64_t ms)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%lld", (long long)ms);
    if (ms > 0) (void)rd_kafka_NewTopic_set_config(topic, name, text);
}

static void cleanup_set(rd_kafka_NewTopic_t *topic, const struct kafka_topic_spec *spec)
{
    if (spec->compact)
        (void)rd_kafka_NewTopic_set_config(topic, "cleanup.policy",
                                           spec->retention_ms > 0 ? "compact,delete" : "compact");
    ms_set(topic, "retention.ms", spec->retention_ms);
    ms_set(topic, "segment.ms", spec->segment_ms);
}

static bool topics_make(struct kafka__admin *admin, const struct kafka_topic_spec *specs,
                        const struct kafka_topic_info *have, int n, int timeout_ms, struct err *err)
{
    char why[200] = "";
    rd_kafka_NewTopic_t **missing = mem_alloc((size_t)n * sizeof *missing);
    size_t n_missing = 0;
    bool ok = true;
    for (int i = 0; i < n && ok; i++) {
        if (have[i].partitions > 0) continue;
        rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(specs[i].name, specs[i].partitions,
                                                           specs[i].replication, why, sizeof why);
        ok = topic ||
             err_fatal(err, ERR_EXIT_USAGE, "cannot create topic '%s': %s", specs[i].name, why);
        if (!topic) break;
        missing[n_missing++] = topic;
        cleanup_set(topic, &specs[i]);
        if (specs[i].compact != KAFKA_CHANGELOG) continue;
        (void)rd_kafka_NewTopic_set_config(topic, "delete.retention.ms", "604800000");
        (void)rd_kafka_NewTopic_set_config(topic, "min.compaction.lag.ms", "60000");
    }
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(admin->client, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(admin->client);
    (void)rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, why, sizeof why);
    (void)rd_kafka_AdminOptions_set_operation_timeout(options, timeout_ms, why, sizeof why);
    if (ok && n_missing) {
        rd_kafka_CreateTopics(admin->client, missing, n_missing, options, queue);
        rd_kafka_event_t *event = rd_kafka_queue_poll(queue, timeout_ms + 1000);
        ok = event ? created_read(event, err)
                   : kafka__unreachable(&admin->notes, RD_KAFKA_RESP_ERR__TIMED_OUT,
                                        "create topics", timeout_ms, err);
        if (event) rd_kafka_event_destroy(event);
    }
    rd_kafka_queue_destroy(queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_NewTopic_destroy_array(missing, n_missing);
    mem_free(missing);
    return ok;
}

/* Until each new topic is seen with its partitions: who produces right after creation must not meet "unknown". */
static bool topics_await(struct kafka__admin *admin, const char *const *names,
                         struct kafka_topic_info *info, int n, int timeout_ms, struct err *err)
{
    uint64_t until = clock_mono_ns() + (uint64_t)timeout_ms * 1000000;
    for (;;) {
        int seen = 0;
        if (!topics_ask(admin->client, &admin->notes, names, n, info, timeout_ms, err))
            return false;
        for (int i = 0; i < n; i++)
            seen += info[i].partitions > 0;
        if (seen == n) return true;
        if (clock_mono_ns() > until)
            return err_fatal(err, ERR_EXIT_UNREACHABLE,
                             "created topics do not appear within %d ms: look at the broker's log",
                             timeout_ms);
        sync_sleep_ms(20);
    }
}

bool kafka_topics_create(const struct kafka_config *config, const struct kafka_topic_spec *specs,
                         int n, int timeout_ms, struct err *err)
{
    struct kafka__admin *admin;
    if (!kafka__admin_open(&admin, config, err)) return false;
    struct kafka_topic_info *info = mem_zalloc((size_t)n * sizeof *info);
    const char **names = mem_alloc((size_t)n * sizeof *names);
    for (int i = 0; i < n; i++)
        names[i] = specs[i].name;
    bool ok = topics_ask(admin->client, &admin->notes, names, n, info, timeout_ms, err) &&
              topics_make(admin, specs, info, n, timeout_ms, err) &&
              topics_await(admin, names, info, n, timeout_ms, err);
    for (int i = 0; i < n && ok; i++)
        if (specs[i].partitions > 0 && info[i].partitions != specs[i].partitions)
            ok = err_fatal(err, ERR_EXIT_TOPIC,
                           "topic '%s' has %d partitions and %d are wanted: change the setting, or "
                           "delete the topic and "
                           "create it again (adding partitions moves users to other partitions)",
                           names[i], info[i].partitions, specs[i].partitions);
    mem_free(names);
    mem_free(info);
    kafka__admin_close(admin);
    return ok;
}
