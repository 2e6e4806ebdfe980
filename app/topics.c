/* The topics that a configuration names, beside what the cluster has. */
#include "app/topics.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"

enum {
    CONNECT_MS = 15000,
    PAIRS_BYTES = 900 * 1024, /* app/pairs.c: a record of one event's pairs */
    DLQ_SEGMENT_MS = 3600000  /* app/redactor.h: when the bytes of erased letters can go */
};

/* A topic without a name is not wanted. */
static void add(struct topic_plan *plan, const char *name, enum topic_role role, bool compact)
{
    if (name[0]) plan->topics[plan->n++] = (struct topic_wanted){name, role, compact, 0, 0};
}

bool topic_plan_make(struct topic_plan *plan, const struct settings *settings,
                     const char *items_topic, int timeout_ms, struct err *err)
{
    const char *names[TOPIC_PLAN_MAX];
    *plan = (struct topic_plan){.replication =
                                    (int)options_int(settings->options, "replication.factor")};
    for (int i = 0; i < settings->n_topics; i++)
        add(plan, settings->topics[i], TOPIC_EVENTS, false);
    add(plan, settings->recommendations_topic, TOPIC_RECOMMENDATIONS, true);
    if (settings->related.pairs_topic) add(plan, settings->related.pairs_topic, TOPIC_PAIRS, false);
    add(plan, settings->related.topic, TOPIC_RELATED, true);
    add(plan, settings->related.trending_topic, TOPIC_TRENDING, true);
    add(plan, items_topic, TOPIC_ITEMS, true);
    if (settings->changelog_topic) add(plan, settings->changelog_topic, TOPIC_CHANGELOG, true);
    add(plan, settings->dlq_topic, TOPIC_DLQ, false);
    plan->topics[plan->n - 1].segment_ms = DLQ_SEGMENT_MS;
    add(plan, settings->erasures_topic, TOPIC_ERASURES, true);
    if (settings->erasures_topic[0]) {
        plan->topics[plan->n - 1].retention_ms = settings->guard_ms;
        add(plan, settings->receipts_topic, TOPIC_RECEIPTS, false);
        /* They say where requests took effect, as long as these stand. */
        plan->topics[plan->n - 1].retention_ms = settings->guard_ms;
    }
    for (int i = 0; i < plan->n; i++)
        names[i] = plan->topics[i].name;
    return kafka_topic_describe(&settings->kafka, names, plan->n, plan->info, timeout_ms, err);
}

/* Partitions of the first events topic that is there; 0 none. */
static int events_partitions(const struct topic_plan *plan)
{
    for (int i = 0; i < plan->n; i++) {
        if (plan->topics[i].role == TOPIC_EVENTS && plan->info[i].partitions > 0)
            return plan->info[i].partitions;
    }
    return 0;
}

bool topic_is_copartitioned(enum topic_role role)
{
    return role == TOPIC_EVENTS || role == TOPIC_PAIRS || role == TOPIC_ERASURES ||
           role == TOPIC_CHANGELOG;
}

/* text, and false. */
#define PROBLEM(...) (snprintf(text, TOPIC_PROBLEM_MAX, __VA_ARGS__) < 0)

static bool partitions_judge(const struct topic_plan *plan, int i, char text[TOPIC_PROBLEM_MAX])
{
    const struct topic_wanted *topic = &plan->topics[i];
    int partitions = plan->info[i].partitions, events = events_partitions(plan);
    if (partitions == 0) return PROBLEM("does not exist: `freshet topics create`");
    if (!topic_is_copartitioned(topic->role) || events == 0 || partitions == events) return true;
    if (topic->role == TOPIC_EVENTS)
        return PROBLEM("has %d partitions, '%s' has %d: events topics must have the same number, "
                       "so that a user's events meet",
                       partitions, plan->topics[0].name, events);
    if (topic->role == TOPIC_ERASURES)
        return PROBLEM("has %d partitions, the events topics have %d: name one of this shop's own "
                       "in erasures.topic, or delete it and `freshet topics create`",
                       partitions, events);
    return PROBLEM(
        "has %d partitions, the events topics have %d: delete it and `freshet topics create`",
        partitions, events);
}

static bool cleanup_judge(const struct topic_wanted *topic, const struct kafka_topic_info *info,
                          char text[TOPIC_PROBLEM_MAX])
{
    bool is_log =
        topic->role == TOPIC_EVENTS || topic->role == TOPIC_PAIRS || topic->role == TOPIC_DLQ;
    if (is_log && info->compact)
        return PROBLEM("is compacted, which deletes all but a key's newest record: set "
                       "cleanup.policy=delete (kafka-configs --alter)");
    if (topic->compact && !info->compact)
        return PROBLEM("is not compacted, so its newest records expire: set cleanup.policy=compact "
                       "(kafka-configs --alter)");
    return true;
}

/* What the broker did not tell is taken to be right. */
static bool copies_judge(const struct topic_plan *plan, int i, char text[TOPIC_PROBLEM_MAX])
{
    const struct kafka_topic_info *info = &plan->info[i];
    if (info->min_insync > info->replication)
        return PROBLEM("has %d replicas and min.insync.replicas=%d: nothing can be written",
                       info->replication, info->min_insync);
    if (plan->replication > info->replication)
        return PROBLEM("has %d replicas, replication.factor is %d: reassign its partitions "
                       "(kafka-reassign-partitions)",
                       info->replication, plan->replication);
    if (plan->topics[i].role == TOPIC_PAIRS && info->message_max > 0 &&
        info->message_max < PAIRS_BYTES)
        return PROBLEM("has max.message.bytes=%lld, records have up to %d: raise it "
                       "(kafka-configs --alter)",
                       (long long)info->message_max, PAIRS_BYTES);
    return true;
}

bool topic_plan_judge(const struct topic_plan *plan, int i, char text[TOPIC_PROBLEM_MAX])
{
    const struct kafka_topic_info *info = &plan->info[i];
    if (!partitions_judge(plan, i, text) || !cleanup_judge(&plan->topics[i], info, text) ||
        !copies_judge(plan, i, text))
        return false;
    (void)snprintf(text, TOPIC_PROBLEM_MAX, "%d partitions, %d replicas%s", info->partitions,
                   info->replication, info->compact ? ", compacted" : "");
    return true;
}

bool topics_check(const struct settings *settings, char cluster_id[64], int *partitions,
                  struct err *err)
{
    struct kafka_topic_info info[SETTINGS_SOURCES_MAX];
    if (!kafka_cluster_id(&settings->kafka, cluster_id, CONNECT_MS, err)) return false;
    if (!kafka_topic_describe(&settings->kafka, settings->topics, settings->n_sources, info,
                              CONNECT_MS, err))
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
                "topic %s has %d partitions and %s has %d: topics that are read together must have "
                "the same number",
                settings->topics[i], info[i].partitions, settings->topics[0], info[0].partitions);
    }
    *partitions = info[0].partitions;
    return true;
}

bool topics_items_look(const struct settings *settings, bool *is_there, struct err *err)
{
    struct kafka_topic_info info = {0};
    *is_there = false;
    if (!settings->items_topic[0]) return true;
    if (!kafka_topic_describe(&settings->kafka, &settings->items_topic, 1, &info, CONNECT_MS, err))
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
