#ifndef APP_SETTINGS_H
#define APP_SETTINGS_H

#include "base/err.h"
#include "base/options.h"
#include "ingest/ingest.h"
#include "kafka/kafka.h"
#include "model/model.h"
#include "schemas/pseudonym.h"
#include "schemas/schemas.h"
#include "state/state.h"

enum { SETTINGS_SOURCES_MAX = USER_TOPICS_MAX + 2 };

/* Items that go with an item (rules 13 and 14 of docs/STATE.md). */
struct related_settings {
    const char *topic;          /* where they are published; "": the part is off */
    const char *trending_topic; /* likewise */
    int64_t popular_half_life_ms;
    char *pairs_topic; /* <application.id>-pairs-repartition; owned; NULL: nothing needs pairs */
    struct model_related_rules rules;
    int list_size;
    double change;               /* a list is published when a score moved by this share */
    int64_t publish_interval_ms; /* or when the one that stands is so old */
    size_t memory_bytes;
};

/* The configuration, typed: what the verbs that touch Kafka or the store work with. All texts are borrowed from the options,
 * which must outlive it. */
struct settings {
    const struct options *options;
    const char *application_id;
    char *state_folder; /* <state.dir>/<application.id>; owned */
    char *dlq_topic;    /* errors.deadletterqueue.topic.name, or <application.id>-dlq; owned */
    const char *recommendations_topic;
    const char *const *
        topics; /* (n_sources) events topics (n_topics), then internal ones; owned, room for SETTINGS_SOURCES_MAX */
    const char *items_topic; /* "" no catalogue */
    int n_topics;
    int n_sources;
    int pairs_at, erasures_at;     /* places of these two in topics; -1: not read */
    const char *erasures_topic;    /* "" none; read once settings_erasures_settle has found it */
    char *receipts_topic;          /* <application.id>-erasure-receipts; owned */
    int64_t guard_ms;              /* erasure.guard.ms */
    int erasures_partitions;       /* of that topic; 0: it is not read */
    struct pseudonyms *pseudonyms; /* NULL: privacy.pseudonymise=false; owned */
    struct related_settings related;
    char
        *transactional_id; /* <application.id>-<group.instance.id>, or NULL: at_least_once; owned */
    const char *model_folder; /* "" when none is configured */
    int shards;
    int list_size;
    bool reasons_name_items; /* list.reasons=items */
    int batch_max;
    int64_t commit_interval_ms;
    int epochs_max;        /* sealed and not yet written, per shard */
    size_t pending_bytes;  /* unwritten state per shard before it waits for the broker */
    int standbys;          /* num.standby.replicas */
    char *changelog_topic; /* <application.id>-state-changelog; NULL: none is kept; owned */
    char *
        snapshot_folder; /* of this process, in statestore.snapshot.dir; NULL: none are taken; owned */
    int64_t snapshot_every_ms;
    int snapshots_kept;
    int64_t task_timeout_ms;
    float blend_weights[ARM_COUNT];
    bool neighbours;        /* neighbours.enabled */
    int64_t session_gap_ms; /* a longer pause of a user begins a new session */
    bool poison_stop;       /* poison.policy=stop */
    double poison_max_share;
    struct kafka_config kafka;
    struct schemas_options schemas;
};

/* Reads and checks what single options cannot say. Errors: ERR_FATAL exit 2. */
MUST_USE bool settings_init(struct settings *settings, const struct options *options,
                            struct err *err);
void settings_fini(struct settings *settings);
/* Asks the cluster for erasures.topic and adds it to what is read; the default name need not be there. Errors: ERR_FATAL exit 4
 * unreachable, exit 5 a topic that was asked for, or that of receipts, is missing. */
MUST_USE bool settings_erasures_settle(struct settings *settings, struct err *err);
/* The parts that folders take. state_floats = S of the model, 0 without one. */
struct state_options settings_state(const struct settings *settings, int state_floats);
/* Interactions that a window needs for its encoder state to be stored, for a model of width D. */
int settings_stored_window(int D);
/* All but the bounds that memory gives: sessions_max and clicks_max are 0. options: the configuration. */
struct model_neighbours_options settings_neighbours_unbounded(const struct options *options);
/* Of one partition's index: its share of neighbours.memory.max.bytes gives the bounds. */
struct model_neighbours_options settings_neighbours(const struct settings *settings,
                                                    int n_partitions);
/* options: the configuration. */
struct model_related_rules settings_related_rules(const struct options *options);
struct ingest_options settings_ingest(const struct settings *settings);

#endif
