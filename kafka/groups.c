/* Places in topics by time, consumer groups, and topics emptied: what the operator's verbs ask and change. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/sync.h"
#include "kafka/internal.h"

enum { SETTINGS_MAX = 64, SETTING_BYTES = 512, AWAIT_MS = 30000, ASK_AGAIN_MS = 50 };

rd_kafka_event_t *kafka__request(struct kafka__admin *admin, const struct kafka__request *request,
                                 int timeout_ms, struct err *err)
{
    char why[128];
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(admin->client, request->op);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(admin->client);
    (void)rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, why, sizeof why);
    request->send(admin->client, options, queue, request->context);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, timeout_ms + 1000);
    rd_kafka_resp_err_t code = event ? rd_kafka_event_error(event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (code) {
        char what[200];
        (void)snprintf(what, sizeof what, "%s", request->what);
        if (event)
            (void)kafka_err_set(err, code, rd_kafka_event_error_string(event), "cannot %s", what);
        else
            (void)kafka__unreachable(&admin->notes, code, what, timeout_ms, err);
        if (event) rd_kafka_event_destroy(event);
        event = NULL;
    }
    rd_kafka_queue_destroy(queue);
    rd_kafka_AdminOptions_destroy(options);
    return event;
}

/* ---- places ---- */

static rd_kafka_resp_err_t offsets_ask(rd_kafka_t *client, rd_kafka_topic_partition_list_t *list,
                                       int64_t at, int timeout_ms)
{
    for (int i = 0; i < list->cnt; i++)
        list->elems[i].offset = at;
    rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(client, list, timeout_ms);
    for (int i = 0; i < list->cnt && !code; i++)
        code = list->elems[i].err;
    return code;
}

bool kafka_offsets(const struct kafka_config *config, const char *topic, int n_partitions,
                   int64_t at, int64_t *offsets, int timeout_ms, struct err *err)
{
    struct kafka__admin *admin;
    uint64_t until = clock_mono_ns() + (uint64_t)timeout_ms * 1000000;
    bool ok, again;
    if (!kafka__admin_open(&admin, config, err)) return false;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(n_partitions);
    for (int32_t p = 0; p < n_partitions; p++)
        rd_kafka_topic_partition_list_add(list, topic, p);
    do {
        struct err why = ERR_INIT;
        int left_ms = (int)((int64_t)(until - clock_mono_ns()) / 1000000);
        rd_kafka_resp_err_t code = offsets_ask(admin->client, list, at, left_ms > 1 ? left_ms : 1);
        ok =
            !code || kafka_err_set(&why, code, NULL, "cannot ask for offsets of topic '%s'", topic);
        again = !ok && kafka_err_passes(&why, code) && left_ms > ASK_AGAIN_MS;
        if (again) sync_sleep_ms(ASK_AGAIN_MS);
        if (!ok && !again) *err = why;
    } while (again);
    for (int p = 0; p < n_partitions && ok; p++)
        offsets[list->elems[p].partition] = list->elems[p].offset;
    rd_kafka_topic_partition_list_destroy(list);
    kafka__admin_close(admin);
    return ok;
}

/* ---- groups ---- */

static void describe_send(rd_kafka_t *client, const rd_kafka_AdminOptions_t *options,
                          rd_kafka_queue_t *queue, void *context)
{
    const char *names[] = {context};
    rd_kafka_DescribeConsumerGroups(client, names, 1, options, queue);
}

static void members_read(const rd_kafka_ConsumerGroupDescription_t *described, void *context)
{
    struct kafka_group *group = context;
    group->n_members = (int)rd_kafka_ConsumerGroupDescription_member_count(described);
    for (int i = 0; i < group->n_members && i < KAFKA_GROUP_SHOWN; i++) {
        const rd_kafka_MemberDescription_t *member =
            rd_kafka_ConsumerGroupDescription_member(described, (size_t)i);
        const char *instance = rd_kafka_MemberDescription_group_instance_id(member);
        (void)snprintf(group->members[i], sizeof group->members[i], "%.80s%s%.40s at %.80s",
                       rd_kafka_MemberDescription_client_id(member), instance ? " instance " : "",
                       instance ? instance : "", rd_kafka_MemberDescription_host(member));
    }
}

bool kafka__group_ask(const struct kafka_config *config, const char *name,
                      void (*read)(const rd_kafka_ConsumerGroupDescription_t *described,
                                   void *context),
                      void *read_context, int timeout_ms, struct err *err)
{
    union {
        const char *in;
        void *out;
    } context = {.in = name};
    struct kafka__request request = {RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, describe_send,
                                     context.out, "ask for the members of the group"};
    struct kafka__admin *admin;
    size_t n;
    if (!kafka__admin_open(&admin, config, err)) return false;
    rd_kafka_event_t *event = kafka__request(admin, &request, timeout_ms, err);
    bool ok = event != NULL;
    if (event) {
        const rd_kafka_ConsumerGroupDescription_t **groups =
            rd_kafka_DescribeConsumerGroups_result_groups(
                rd_kafka_event_DescribeConsumerGroups_result(event), &n);
        const rd_kafka_error_t *error =
            n == 1 ? rd_kafka_ConsumerGroupDescription_error(groups[0]) : NULL;
        if (error)
            ok = kafka_err_set(err, rd_kafka_error_code(error), rd_kafka_error_string(error),
                               "cannot ask for the members of group '%s'", name);
        else if (n == 1)
            read(groups[0], read_context);
        rd_kafka_event_destroy(event);
    }
    kafka__admin_close(admin);
    return ok;
}

bool kafka_group_describe(const struct kafka_config *config, const char *name,
                          struct kafka_group *group, int timeout_ms, struct err *err)
{
    *group = (struct kafka_group){0};
    return kafka__group_ask(config, name, members_read, group, timeout_ms, err);
}

struct members_visit {
    void (*visit)(void *context, const char *instance, const char *member);
    void *context;
};

static void each_read(const rd_kafka_ConsumerGroupDescription_t *described, void *context)
{
    const struct members_visit *each = context;
    size_t n = rd_kafka_ConsumerGroupDescription_member_count(described);
    for (size_t i = 0; i < n; i++) {
        const rd_kafka_MemberDescription_t *member =
            rd_kafka_ConsumerGroupDescription_member(described, i);
        const char *instance = rd_kafka_MemberDescription_group_instance_id(member);
        const char *id = rd_kafka_MemberDescription_consumer_id(member);
        each->visit(each->context, instance ? instance : "", id ? id : "");
    }
}

bool kafka_group_members(const struct kafka_config *config, const char *name,
                         void (*visit)(void *context, const char *instance, const char *member),
                         void *context, int timeout_ms, struct err *err)
{
    struct members_visit each = {visit, context};
    return kafka__group_ask(config, name, each_read, &each, timeout_ms, err);
}

/* ---- topics that begin anew ---- */

/* A setting that the topic has of its own. */
struct setting {
    char name[128], value[SETTING_BYTES];
};

struct anew {
    const char *topic;
    rd_kafka_NewTopic_t *made;
    struct setting settings[SETTINGS_MAX]; /* (n_settings) */
    int n_settings;
};

static void settings_send(rd_kafka_t *client, const rd_kafka_AdminOptions_t *options,
                          rd_kafka_queue_t *queue, void *context)
{
    struct anew *anew = context;
    rd_kafka_ConfigResource_t *resource =
        rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, anew->topic);
    rd_kafka_DescribeConfigs(client, &resource, 1, options, queue);
    rd_kafka_ConfigResource_destroy(resource);
}

static bool settings_read(rd_kafka_event_t *event, struct anew *anew, struct err *err)
{
    size_t n = 0, n_entries = 0;
    const rd_kafka_ConfigResource_t **resources =
        rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(event), &n);
    if (n != 1 || rd_kafka_ConfigResource_error(resources[0]))
        return err_fatal(err, ERR_EXIT_TOPIC, "the settings of topic '%s' cannot be read: %s",
                         anew->topic,
                         n == 1 ? rd_kafka_ConfigResource_error_string(resources[0]) : "no answer");
    const rd_kafka_ConfigEntry_t **entries =
        rd_kafka_ConfigResource_configs(resources[0], &n_entries);
    for (size_t i = 0; i < n_entries; i++) {
        const char *value = rd_kafka_ConfigEntry_value(entries[i]);
        if (!value ||
            rd_kafka_ConfigEntry_source(entries[i]) != RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG)
            continue;
        if (anew->n_settings == SETTINGS_MAX || strlen(value) >= SETTING_BYTES)
            return err_fatal(err, ERR_EXIT_TOPIC,
                             "topic '%s' has too many settings of its own: empty it by hand",
                             anew->topic);
        struct setting *setting = &anew->settings[anew->n_settings++];
        (void)snprintf(setting->name, sizeof setting->name, "%s",
                       rd_kafka_ConfigEntry_name(entries[i]));
        (void)snprintf(setting->value, sizeof setting->value, "%s", value);
    }
    return true;
}

static void delete_send(rd_kafka_t *client, const rd_kafka_AdminOptions_t *options,
                        rd_kafka_queue_t *queue, void *context)
{
    struct anew *anew = context;
    rd_kafka_DeleteTopic_t *gone = rd_kafka_DeleteTopic_new(anew->topic);
    rd_kafka_DeleteTopics(client, &gone, 1, options, queue);
    rd_kafka_DeleteTopic_destroy(gone);
}

static void create_send(rd_kafka_t *client, const rd_kafka_AdminOptions_t *options,
                        rd_kafka_queue_t *queue, void *context)
{
    struct anew *anew = context;
    rd_kafka_CreateTopics(client, &anew->made, 1, options, queue);
}

/* The first topic's result of deleting or creating. */
static rd_kafka_resp_err_t result_code(rd_kafka_event_t *event)
{
    size_t n = 0;
    const rd_kafka_topic_result_t **results =
        rd_kafka_event_type(event) == RD_KAFKA_EVENT_DELETETOPICS_RESULT
            ? rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &n)
            : rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n);
    return n == 1 ? rd_kafka_topic_result_error(results[0]) : RD_KAFKA_RESP_ERR__FAIL;
}

static bool topic_delete(struct kafka__admin *admin, struct anew *anew, int timeout_ms,
                         struct err *err)
{
    struct kafka__request request = {RD_KAFKA_ADMIN_OP_DELETETOPICS, delete_send, anew,
                                     "delete the topic"};
    rd_kafka_event_t *event = kafka__request(admin, &request, timeout_ms, err);
    if (!event) return false;
    rd_kafka_resp_err_t code = result_code(event);
    rd_kafka_event_destroy(event);
    return !code || kafka_err_set(err, code, NULL, "cannot delete topic '%s'", anew->topic);
}

/* A broker may take a moment to let go of the old one. */
static bool topic_create(struct kafka__admin *admin, struct anew *anew,
                         const struct kafka_topic_info *info, int timeout_ms, struct err *err)
{
    char why[200] = "";
    struct kafka__request request = {RD_KAFKA_ADMIN_OP_CREATETOPICS, create_send, anew,
                                     "create the topic"};
    uint64_t until = clock_mono_ns() + (uint64_t)AWAIT_MS * 1000000;
    anew->made =
        rd_kafka_NewTopic_new(anew->topic, info->partitions, info->replication, why, sizeof why);
    if (!anew->made)
        return err_fatal(err, ERR_EXIT_USAGE, "cannot create topic '%s': %s", anew->topic, why);
    for (int i = 0; i < anew->n_settings; i++)
        (void)rd_kafka_NewTopic_set_config(anew->made, anew->settings[i].name,
                                           anew->settings[i].value);
    rd_kafka_resp_err_t code = 0;
    bool ok = true;
    do {
        if (code) sync_sleep_ms(100);
        rd_kafka_event_t *event = kafka__request(admin, &request, timeout_ms, err);
        ok = event != NULL;
        code = event ? result_code(event) : 0;
        if (event) rd_kafka_event_destroy(event);
    } while (code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS && clock_mono_ns() < until);
    rd_kafka_NewTopic_destroy(anew->made);
    if (ok && code)
        ok = kafka_err_set(err, code, NULL, "topic '%s' was deleted and cannot be created again",
                           anew->topic);
    return ok;
}

bool kafka_topic_empty(const struct kafka_config *config, const char *topic,
                       const struct kafka_topic_info *info, int timeout_ms, struct err *err)
{
    struct anew *anew = mem_zalloc(sizeof *anew);
    struct kafka__request request = {RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, settings_send, anew,
                                     "read the topic's settings"};
    struct kafka__admin *admin;
    anew->topic = topic;
    bool ok = kafka__admin_open(&admin, config, err);
    if (ok) {
        rd_kafka_event_t *event = kafka__request(admin, &request, timeout_ms, err);
        ok = event && settings_read(event, anew, err);
        if (event) rd_kafka_event_destroy(event);
        ok = ok && topic_delete(admin, anew, timeout_ms, err) &&
             topic_create(admin, anew, info, timeout_ms, err);
        kafka__admin_close(admin);
    }
    mem_free(anew);
    return ok;
}

bool kafka_topics_each(const struct kafka_config *config,
                       bool (*visit)(void *context, const char *name, int partitions,
                                     int replication),
                       void *context, int timeout_ms, struct err *err)
{
    struct kafka__admin *admin;
    const struct rd_kafka_metadata *metadata = NULL;
    if (!kafka__admin_open(&admin, config, err)) return false;
    rd_kafka_resp_err_t code = rd_kafka_metadata(admin->client, 1, NULL, &metadata, timeout_ms);
    bool ok = !code || kafka__unreachable(&admin->notes, code, "list the topics", timeout_ms, err);
    for (int i = 0; ok && i < metadata->topic_cnt; i++) {
        const rd_kafka_metadata_topic_t *topic = &metadata->topics[i];
        int replication = topic->partition_cnt ? topic->partitions[0].replica_cnt : 0;
        if (!visit(context, topic->topic, topic->partition_cnt, replication)) break;
    }
    if (metadata) rd_kafka_metadata_destroy(metadata);
    kafka__admin_close(admin);
    return ok;
}
