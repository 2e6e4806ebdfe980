/* freshet topics create | check: the topics that the configuration names. */
#include <stdio.h>
#include <string.h>

#include "app/app.h"
#include "app/settings.h"
#include "app/topics.h"

enum { TIMEOUT_MS = 15000, PARTITIONS_DEFAULT = 8 };

/* ---- check ---- */

static bool check(const struct topic_plan *plan, struct err *err)
{
    char text[TOPIC_PROBLEM_MAX];
    int problems = 0;
    for (int i = 0; i < plan->n; i++) {
        bool ok = topic_plan_judge(plan, i, text);
        printf("%-8s %-32s %s\n", ok ? "ok" : "problem", plan->topics[i].name, text);
        problems += !ok;
    }
    if (problems == 0) return true;
    return err_fatal(err, ERR_EXIT_TOPIC,
                     "%d of %d topics need attention; `freshet topics create` makes missing ones",
                     problems, plan->n);
}

/* ---- create ---- */

static int partitions_of(const struct topic_plan *plan, const struct options *flags)
{
    int wanted = (int)options_int(flags, "partitions");
    if (wanted > 0) return wanted;
    for (int i = 0; i < plan->n; i++) {
        if (plan->topics[i].role == TOPIC_EVENTS && plan->info[i].partitions > 0)
            return plan->info[i].partitions;
    }
    return PARTITIONS_DEFAULT;
}

/* An existing topic that the flags contradict. Those that are read together must agree with each other; the rest only with
 * themselves. */
static bool refuse_other_partitions(const struct topic_plan *plan, int partitions, struct err *err)
{
    for (int i = 0; i < plan->n; i++) {
        int have = plan->info[i].partitions;
        if (!topic_is_copartitioned(plan->topics[i].role) || have == 0 || have == partitions)
            continue;
        if (plan->topics[i].role == TOPIC_ERASURES)
            return err_fatal(err, ERR_EXIT_TOPIC,
                             "'%s' has %d partitions and %d are wanted: when another shop uses it, "
                             "name one of your own in erasures.topic; else delete it, it is made "
                             "anew",
                             plan->topics[i].name, have, partitions);
        if (plan->topics[i].role != TOPIC_EVENTS)
            return err_fatal(err, ERR_EXIT_TOPIC,
                             "internal topic '%s' has %d partitions and %d are wanted: delete it, "
                             "it is made anew (docs/RUNBOOK.md)",
                             plan->topics[i].name, have, partitions);
        return err_fatal(err, ERR_EXIT_TOPIC,
                         "events topic '%s' has %d partitions and %d are wanted: give --partitions "
                         "%d, or delete the topic and "
                         "create it again (adding partitions moves users to other partitions)",
                         plan->topics[i].name, have, partitions, have);
    }
    return true;
}

static bool create(const struct settings *settings, const struct topic_plan *plan,
                   const struct options *flags, struct err *err)
{
    struct kafka_topic_spec missing[TOPIC_PLAN_MAX];
    int n = 0;
    int partitions = partitions_of(plan, flags);
    int replication = (int)options_int(flags, "replication");
    bool dry = options_bool(flags, "dry-run");
    if (!refuse_other_partitions(plan, partitions, err)) return false;
    for (int i = 0; i < plan->n; i++) {
        const struct topic_wanted *topic = &plan->topics[i];
        if (plan->info[i].partitions > 0) {
            printf("%-12s %-32s %d partitions\n", "exists", topic->name, plan->info[i].partitions);
            continue;
        }
        printf("%-12s %-32s %d partitions%s\n", dry ? "would create" : "create", topic->name,
               partitions, topic->compact ? ", compacted" : "");
        enum kafka_compact compact = topic->compact ? KAFKA_COMPACTED : KAFKA_DELETED;
        if (topic->role == TOPIC_CHANGELOG) compact = KAFKA_CHANGELOG;
        missing[n++] = (struct kafka_topic_spec){
            topic->name, partitions, replication, compact, topic->retention_ms, topic->segment_ms};
    }
    if (dry || n == 0) return true;
    return kafka_topics_create(&settings->kafka, missing, n, TIMEOUT_MS, err);
}

static bool run(struct app *app, struct err *err)
{
    struct settings settings;
    struct topic_plan plan;
    const char *what = app->n_args == 1 ? app->args[0] : "";
    bool creates = strcmp(what, "create") == 0;
    if (!creates && strcmp(what, "check") != 0) {
        return err_fatal(err, ERR_EXIT_USAGE,
                         "say what to do: `freshet topics create` or `freshet topics check`");
    }
    bool ok = settings_init(&settings, app->config, err);
    if (ok && !options_is_set(app->flags, "items-topic"))
        ok = options_set(app->flags, "items-topic", settings.items_topic, "items.topic", err);
    ok = ok && topic_plan_make(&plan, &settings, options_text(app->flags, "items-topic"),
                               TIMEOUT_MS, err);
    if (ok && !options_is_set(app->flags, "replication") && creates) {
        ok = options_set(app->flags, "replication", options_text(app->config, "replication.factor"),
                         "replication.factor", err);
    }
    if (ok) ok = creates ? create(&settings, &plan, app->flags, err) : check(&plan, err);
    settings_fini(&settings);
    return ok;
}

static const char group_topics[] = "Topics";

/* {name, type, default, min, max, unit, values, help, group} */
static const struct option_spec flags[] = {
    /* clang-format off */
    {"partitions", OPTION_INT, "0", 0, 100000, "", NULL,
     "Partitions of the topics that are created: the most processes and threads that can ever share the work. 0: as the "
     "events topics have, else 8.", group_topics},
    {"replication", OPTION_INT, "-1", -1, 100, "", NULL, "Replicas. Default: replication.factor of the configuration.", group_topics},
    {"items-topic", OPTION_TEXT, "freshet.items", 0, 0, "", NULL, "Topic of the catalogue; '' leaves it out. Default: items.topic of the configuration.", group_topics},
    {"dry-run", OPTION_BOOL, "false", 0, 0, "", NULL, "create: only say what would be done.", group_topics},
    /* clang-format on */
};

const struct verb verb_topics = {
    .name = "topics",
    .summary = "create the topics that the configuration names, or check them",
    .usage = "freshet topics create|check --config shop.properties [--partitions N] [--replication "
             "N] [--dry-run]",
    .help = "Events topics keep events for their retention; lists and items are compacted; dead "
            "letters are kept aside. What exists\n"
            "is never changed. check exits with 5 when something needs attention.\n\n"
            "  freshet topics create --config shop.properties --partitions 8 --dry-run\n"
            "  freshet topics check --config shop.properties",
    .flags = flags,
    .n_flags = sizeof(flags) / sizeof(flags[0]),
    .uses_config = true,
    .takes_args = true,
    .run = run,
};
