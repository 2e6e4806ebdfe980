/* The topics that a configuration names, beside what the cluster has. */
#include "app/topics.h"

#include <stdio.h>
#include <string.h>

/* A topic without a name is not wanted. */
static void add(struct topic_plan *plan, const char *name, enum topic_role role, bool compact)
{
    if (name[0]) plan->topics[plan->n++] = (struct topic_wanted){name, role, compact};
}

bool topic_plan_make(struct topic_plan *plan, const struct settings *settings,
                     const char *items_topic, int timeout_ms, struct err *err)
{
    const char *names[TOPIC_PLAN_MAX];
    *plan = (struct topic_plan){0};
    for (int i = 0; i < settings->n_topics; i++)
        add(plan, settings->topics[i], TOPIC_EVENTS, false);
    add(plan, settings->recommendations_topic, TOPIC_RECOMMENDATIONS, true);
    if (settings->related.pairs_topic) add(plan, settings->related.pairs_topic, TOPIC_PAIRS, false);
    add(plan, settings->related.topic, TOPIC_RELATED, true);
    add(plan, settings->related.trending_topic, TOPIC_TRENDING, true);
    add(plan, items_topic, TOPIC_ITEMS, true);
    add(plan, settings->dlq_topic, TOPIC_DLQ, false);
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

bool topic_plan_judge(const struct topic_plan *plan, int i, char text[TOPIC_PROBLEM_MAX])
{
    const struct topic_wanted *topic = &plan->topics[i];
    const struct kafka_topic_info *info = &plan->info[i];
    int events = events_partitions(plan);
    if (info->partitions == 0) {
        (void)snprintf(text, TOPIC_PROBLEM_MAX, "does not exist: `freshet topics create`");
        return false;
    }
    if (topic->role == TOPIC_PAIRS && events > 0 && info->partitions != events) {
        (void)snprintf(
            text, TOPIC_PROBLEM_MAX,
            "has %d partitions, the events topics have %d: delete it and `freshet topics create`",
            info->partitions, events);
        return false;
    }
    if (topic->role == TOPIC_EVENTS && info->partitions != events) {
        (void)snprintf(text, TOPIC_PROBLEM_MAX,
                       "has %d partitions, '%s' has %d: events topics must have the same number, "
                       "so that a user's events meet",
                       info->partitions, plan->topics[0].name, events);
        return false;
    }
    if ((topic->role == TOPIC_EVENTS || topic->role == TOPIC_PAIRS) && info->compact) {
        (void)snprintf(text, TOPIC_PROBLEM_MAX,
                       "is compacted, which deletes events: set cleanup.policy=delete "
                       "(kafka-configs --alter)");
        return false;
    }
    if (topic->compact && !info->compact) {
        (void)snprintf(text, TOPIC_PROBLEM_MAX,
                       "is not compacted, so its newest records expire: set cleanup.policy=compact "
                       "(kafka-configs --alter)");
        return false;
    }
    (void)snprintf(text, TOPIC_PROBLEM_MAX, "%d partitions, %d replicas%s", info->partitions,
                   info->replication, info->compact ? ", compacted" : "");
    return true;
}
