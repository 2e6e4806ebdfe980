#ifndef APP_TOPICS_H
#define APP_TOPICS_H

#include <stdbool.h>

#include "app/settings.h"
#include "base/err.h"
#include "kafka/kafka.h"

/* The topics that a configuration names, beside what the cluster has. For `freshet topics` and
 * `freshet validate`. */

enum topic_role {
    TOPIC_EVENTS,
    TOPIC_PAIRS,
    TOPIC_RECOMMENDATIONS,
    TOPIC_RELATED,
    TOPIC_TRENDING,
    TOPIC_ITEMS,
    TOPIC_ERASURES,
    TOPIC_RECEIPTS,
    TOPIC_CHANGELOG,
    TOPIC_DLQ
};

struct topic_wanted {
    const char *name; /* borrowed from the settings */
    enum topic_role role;
    bool compact;
    int64_t retention_ms; /* 0: as the broker says; with compact: deleted as well */
    int64_t segment_ms;   /* likewise */
};

enum { TOPIC_PLAN_MAX = USER_TOPICS_MAX + 9, TOPIC_PROBLEM_MAX = 256 };

struct topic_plan {
    struct topic_wanted topics[TOPIC_PLAN_MAX]; /* (n) */
    struct kafka_topic_info info[TOPIC_PLAN_MAX];
    int n;
    int replication; /* replication.factor; below 1: the broker's */
};

/* Asks the cluster. items_topic "": none. Errors: ERR_FATAL exit 4 unreachable. */
MUST_USE bool topic_plan_make(struct topic_plan *plan, const struct settings *settings,
                              const char *items_topic, int timeout_ms, struct err *err);
/* Whether topics of this role have as many partitions as the events topics: partition p of all of them is one process's. */
bool topic_is_copartitioned(enum topic_role role);
/* Whether topic i is as it must be; text says how it is, or what is wrong and what to do. */
bool topic_plan_judge(const struct topic_plan *plan, int i, char text[TOPIC_PROBLEM_MAX]);

/* What is read is there, all topics with one number of partitions; and what cluster it is. Errors: ERR_FATAL exit 4 unreachable, exit 5
 * as it says. */
MUST_USE bool topics_check(const struct settings *settings, char cluster_id[64], int *partitions,
                           struct err *err);
/* Whether the catalogue's topic is there. That of the default name need not be; one that was asked for must. Errors: the same. */
MUST_USE bool topics_items_look(const struct settings *settings, bool *is_there, struct err *err);

#endif
