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
    TOPIC_DLQ
};

struct topic_wanted {
    const char *name; /* borrowed from the settings */
    enum topic_role role;
    bool compact;
};

enum { TOPIC_PLAN_MAX = USER_TOPICS_MAX + 6, TOPIC_PROBLEM_MAX = 256 };

struct topic_plan {
    struct topic_wanted topics[TOPIC_PLAN_MAX]; /* (n) */
    struct kafka_topic_info info[TOPIC_PLAN_MAX];
    int n;
};

/* Asks the cluster. items_topic "": none. Errors: ERR_FATAL exit 4 unreachable. */
MUST_USE bool topic_plan_make(struct topic_plan *plan, const struct settings *settings,
                              const char *items_topic, int timeout_ms, struct err *err);
/* Whether topic i is as it must be; text says how it is, or what is wrong and what to do. */
bool topic_plan_judge(const struct topic_plan *plan, int i, char text[TOPIC_PROBLEM_MAX]);

#endif
