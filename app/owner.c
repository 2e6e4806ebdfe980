/* The store of a configuration: what it belongs to, and opening it. */
#include "app/owner.h"

#include "kafka/kafka.h"

enum { TIMEOUT_MS = 15000 };

struct state_identity owner_identity(const struct settings *settings, const char *cluster_id,
                                     int n_partitions)
{
    return (struct state_identity){.application_id = settings->application_id,
                                   .cluster_id = cluster_id,
                                   .topics = settings->topics,
                                   .n_topics = settings->n_topics,
                                   .internal = settings->topics + settings->n_topics,
                                   .n_internal = settings->n_sources - settings->n_topics,
                                   .n_partitions = n_partitions};
}

bool owner_ask(struct owner *owner, const struct settings *settings, struct err *err)
{
    struct kafka_topic_info info[USER_TOPICS_MAX];
    if (!kafka_cluster_id(&settings->kafka, owner->cluster_id, TIMEOUT_MS, err)) return false;
    if (!kafka_topic_describe(&settings->kafka, settings->topics, settings->n_topics, info,
                              TIMEOUT_MS, err))
        return false;
    for (int i = 0; i < settings->n_topics; i++)
        if (info[i].partitions == 0 || info[i].partitions != info[0].partitions)
            return err_fatal(
                err, ERR_EXIT_TOPIC,
                "events topic %s has %d partitions and %s has %d: `freshet topics check` "
                "says what is wrong",
                settings->topics[i], info[i].partitions, settings->topics[0], info[0].partitions);
    owner->identity = owner_identity(settings, owner->cluster_id, info[0].partitions);
    return true;
}

bool owner_store_open(const struct settings *settings, const char *cluster_id, int n_partitions,
                      int state_floats, struct snapshots **snapshots, struct state **state,
                      struct err *err)
{
    const struct state_identity identity = owner_identity(settings, cluster_id, n_partitions);
    const struct state_options options = settings_state(settings, state_floats);
    if (settings->snapshot_folder && (!snapshots_open(snapshots, settings, err) ||
                                      !snapshots_restore(*snapshots, &identity, err)))
        return false;
    return state_open(state, settings->state_folder, &identity, &options, err);
}
