#ifndef KAFKA_KAFKA_H
#define KAFKA_KAFKA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/* kafka/: what ingest and emit share of Kafka: client settings and what is refused of them, errors, topics, the embedded
 * broker. It refuses to consume or produce: that is ingest/ and emit/.
 *
 * Files, in reading order: kafka.h (for everyone), client.h (for ingest/ and emit/, names librdkafka's types), config.c
 * (settings: ours and the user's), refuse.c (those that are refused), error.c (librdkafka's codes as class, exit code and advice), client.c
 * (a client's life and its log), version.c (what brokers understand), topics.c, groups.c (places by time, groups, topics emptied), places.c
 * (what a group has committed or shall have, records deleted up to a place), takeover.c
 * (the transactions of a process that is gone), copies.c (who keeps copies of a group's partitions), embedded.c.
 *
 * Invariants
 * - Every client is made by kafka_client_conf and kafka_client_new: no other place sets a property.
 * - No request of ours creates a topic by asking for it.
 * - Ending a client is bounded in time; one that hangs is left to the end of the process.
 *
 * Words: bootstrap, the addresses a client starts from. Broker, one Kafka server. Embedded broker, librdkafka's mock.
 * All functions: any thread, not two at a time with the same broker handle. */

struct kafka_setting {
    const char *key; /* librdkafka's name, prefix taken off */
    const char *value;
};

/* How to reach the cluster, and the settings passed through. Borrowed for the lifetime of what is opened with it. */
struct kafka_config {
    const char *bootstrap_servers; /* "embedded": see kafka_embedded_start */
    const char *client_id;
    const struct kafka_setting
        *common; /* (n_common) security.protocol, sasl.*, ssl.*, ... for every client */
    size_t n_common;
    const struct kafka_setting *consumer; /* consumer.* */
    size_t n_consumer;
    const struct kafka_setting *producer; /* producer.* */
    size_t n_producer;
};

/* Refuses keys that run code or break an invariant, each with why (RELIABILITY 5). Errors: ERR_FATAL exit 2. */
MUST_USE bool kafka_config_check(const struct kafka_config *config, struct err *err);

/* highest: the highest version of a request, by its name ("TxnOffsetCommit"), that a broker of the cluster understands; -1: it does not
 * know it. Errors: ERR_FATAL exit 4 unreachable. */
MUST_USE bool kafka_request_version(const struct kafka_config *config, const char *request,
                                    int *highest, int timeout_ms, struct err *err);

/* ---- topics ---- */

/* The last: compacted, with tombstones for a week, for that long a process may be away before its store is read anew, and not within a
 * minute, so that rows which no marker has closed yet do not take the place of older ones. */
enum kafka_compact { KAFKA_DELETED, KAFKA_COMPACTED, KAFKA_CHANGELOG };

struct kafka_topic_spec {
    const char *name;
    int partitions;
    int replication;            /* -1: broker default */
    enum kafka_compact compact; /* true and false are the first two */
    int64_t retention_ms;       /* 0: as the broker says; with compact: deleted as well */
    int64_t segment_ms;         /* 0: as the broker says */
};

struct kafka_topic_info {
    int partitions; /* 0: the topic does not exist */
    int replication;
    bool compact;
    int64_t delete_retention_ms; /* -1: the broker does not say */
    int min_insync;      /* min.insync.replicas; 0: the broker did not tell, as for the next */
    int64_t message_max; /* max.message.bytes */
    int64_t segment_ms;  /* segment.ms; 0: the broker did not tell */
};

/* cluster_id: caller's buffer of 64 bytes. Errors: ERR_FATAL exit 4 unreachable, with what was tried. */
MUST_USE bool kafka_cluster_id(const struct kafka_config *config, char cluster_id[64],
                               int timeout_ms, struct err *err);
/* info (n): what is there of names (n); a topic that does not exist is no error. Errors: ERR_FATAL exit 4 unreachable, exit
 * 2 no rights. */
MUST_USE bool kafka_topic_describe(const struct kafka_config *config, const char *const *names,
                                   int n, struct kafka_topic_info *info, int timeout_ms,
                                   struct err *err);
/* Creates what does not exist; an existing topic with other partitions is ERR_FATAL exit 5. */
MUST_USE bool kafka_topics_create(const struct kafka_config *config,
                                  const struct kafka_topic_spec *specs, int n, int timeout_ms,
                                  struct err *err);

/* Deletes the topic and makes it again, empty, with the partitions and replicas of info and the settings that it had of its
 * own. Errors: ERR_FATAL; the text says when it is gone and not made again. */
MUST_USE bool kafka_topic_empty(const struct kafka_config *config, const char *topic,
                                const struct kafka_topic_info *info, int timeout_ms,
                                struct err *err);
/* Every topic of the cluster, until visit returns false. */
MUST_USE bool kafka_topics_each(const struct kafka_config *config,
                                bool (*visit)(void *context, const char *name, int partitions,
                                              int replication),
                                void *context, int timeout_ms, struct err *err);

/* ---- places and groups ---- */

enum { KAFKA_AT_END = -1, KAFKA_AT_BEGIN = -2 };
/* offsets (n_partitions): of each partition its end, its first record, or (at 0 or more, a time in ms) its first record of that
 * time or a later one, KAFKA_AT_END when there is none. Errors: ERR_FATAL exit 4 unreachable, exit 5 no such topic. */
MUST_USE bool kafka_offsets(const struct kafka_config *config, const char *topic, int n_partitions,
                            int64_t at, int64_t *offsets, int timeout_ms, struct err *err);

enum { KAFKA_GROUP_SHOWN = 8 };
struct kafka_group {
    int n_members;                        /* 0: nobody, or there is no such group */
    char members[KAFKA_GROUP_SHOWN][288]; /* the first of them: "client instance x at host" */
};
MUST_USE bool kafka_group_describe(const struct kafka_config *config, const char *name,
                                   struct kafka_group *group, int timeout_ms, struct err *err);

/* Calls visit with the group.instance.id of each member, "" for one that has none, and its member id. */
MUST_USE bool kafka_group_members(const struct kafka_config *config, const char *name,
                                  void (*visit)(void *context, const char *instance,
                                                const char *member),
                                  void *context, int timeout_ms, struct err *err);
/* Aborts what a transactional.id has open, and fences the process that has it. Errors: ERR_FATAL exit 4, 2 no rights. */
MUST_USE bool kafka_transaction_end(const struct kafka_config *config, const char *transactional_id,
                                    int timeout_ms, struct err *err);
/* Which partitions of the topic a member of the group keeps copies of: for each partition its owner's `copies` successors, in an order of
 * the members that is another one for each partition (rendezvous hashing), so that copies are spread and few move when members come or
 * go. is_ours (n_partitions): set for partitions that have an owner now, the others stay as they are. member: its id in the group; one
 * that is not in it has none. Errors: as kafka_group_describe. */
MUST_USE bool kafka_group_copies(const struct kafka_config *config, const char *name,
                                 const char *topic, const char *member, int copies,
                                 int n_partitions, bool *is_ours, int timeout_ms, struct err *err);
/* How many of the members (n, ids) other than the owner stand before `member` for the partition. Pure. */
int kafka_copies_rank(const char *const *members, int n, const char *owner, const char *member,
                      int32_t partition);

struct kafka_place {
    const char *topic;
    int32_t partition;
    int64_t offset;
};
/* Asks for what a group has committed, over connections that stay. One thread. */
struct kafka_committed;
/* Does not wait for a broker. Errors: ERR_FATAL exit 2. */
MUST_USE bool kafka_committed_open(struct kafka_committed **committed,
                                   const struct kafka_config *config, const char *name,
                                   struct err *err);
/* offsets (n_partitions): of the topic, -1 nothing. Errors: ERR_FATAL exit 4, 2 no rights. */
MUST_USE bool kafka_committed_read(struct kafka_committed *committed, const char *topic,
                                   int n_partitions, int64_t *offsets, int timeout_ms,
                                   struct err *err);
void kafka_committed_close(struct kafka_committed *committed); /* NULL is fine */
/* Sets the committed offsets of a group that has no members. */
MUST_USE bool kafka_group_move(const struct kafka_config *config, const char *name,
                               const struct kafka_place *places, int n, int timeout_ms,
                               struct err *err);
/* Deletes the records before each place (n): nobody reads them any more from then on, and the broker's files go, by whole segments that
 * have ended. Errors: ERR_FATAL exit 4, 2 no rights, a topic that is compacted and not deleted. */
MUST_USE bool kafka_records_delete(const struct kafka_config *config,
                                   const struct kafka_place *places, int n, int timeout_ms,
                                   struct err *err);

/* ---- the embedded broker: librdkafka's in-process mock cluster; nothing is durable ---- */

/* One broker in this process on a free port of 127.0.0.1; other processes can connect while it runs. A partition keeps
 * 5 MiB, then its oldest records go. No admin calls, no static membership. */
struct kafka_embedded;

/* Starts it with the topics specs (n). Errors: ERR_FATAL exit 4. */
MUST_USE bool kafka_embedded_start(struct kafka_embedded **broker,
                                   const struct kafka_topic_spec *specs, int n, struct err *err);
const char *
kafka_embedded_bootstrap(const struct kafka_embedded *broker); /* lives as long as the broker */
/* Clients that still run lose their connection. NULL is fine. */
void kafka_embedded_stop(struct kafka_embedded *broker);

#endif
