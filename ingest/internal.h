#ifndef INGEST_INTERNAL_H
#define INGEST_INTERNAL_H

#include "base/fault.h"
#include "base/sync.h"
#include "ingest/ingest.h"
#include "kafka/client.h"

enum {
    INGEST__ARENA_SOFT = 8 * 1024 * 1024, /* a batch that has used so much ends */
    INGEST__RAW_SOFT = 256 * 1024, /* likewise bytes of internal records: pairs change many rows */
    INGEST__ARENA_MAX = 64 * 1024 * 1024, /* which one record of 64 KiB cannot reach on top */
};

/* The search for the end of a damaged batch that begins at the slot's expected offset. */
struct ingest__passage {
    int64_t low;   /* last offset known to be in it */
    int64_t high;  /* first offset known to be outside */
    int64_t probe; /* where is looked now; 0 no search */
    int64_t step;  /* from low to the next probe, while that is not over the middle */
    bool has_met;  /* a damaged batch, this one or one before */
};

/* One partition of one topic. The main thread assigns and revokes it; its shard reads it. */
struct ingest__slot {
    struct sync_int
        generation; /* 0: not ours; else the number of the assignment that gave it to us (release) */
    struct sync_int start;  /* first offset of that assignment; written before generation */
    struct sync_int commit; /* C_p wished for; -1 none. Any thread writes, the main thread sends */
    int64_t committed;      /* last one sent; main thread */
    struct sync_int told;   /* C_p as of the assignment, -1 none; main thread writes */
    struct sync_int acked;  /* the newest C_p that the group is known to have had; likewise */
    int64_t low, high;      /* of the log as of the assignment; main thread */
    int64_t seen;           /* generation that `expected` belongs to; shard thread */
    int64_t expected;       /* next offset (I3); shard thread */
    struct ingest__passage passage; /* of the generation seen; shard thread */
    struct sync_int passed_from,
        passed; /* [,) no records, and nobody waits for them: a damaged batch,
                                          * markers of transactions; passed -1: none. The shard writes */
};

/* What one shard thread reads. Partition p belongs to shard p % shards. */
struct ingest__shard {
    rd_kafka_queue_t *queue;       /* all partitions of the shard are forwarded to it */
    struct ingest_record *records; /* (batch_max) of the batch that is out */
    rd_kafka_message_t **messages; /* (batch_max) theirs */
    int n;                         /* messages out */
    size_t raw_bytes;              /* of values of internal topics among them */
    struct arena *arena;
    rd_kafka_message_t *held; /* waits for the schema registry; NULL none */
    int64_t held_generation;  /* of its partition when it was held; a later one reads it again */
    uint64_t held_until_ns;   /* then it is given up */
    uint64_t retry_at_ns;
    uint64_t retry_delay_ns;
    int64_t parked_at; /* the halt that it has parked for (restart.c) */
    struct err
        failed; /* met behind the records of the last batch: the next poll's; ERR_NONE none */
};

/* Members of the group as of the last assignment. */
struct ingest__peers {
    char **names; /* (n) group.instance.id; owned */
    int n;
};

struct ingest {
    const struct kafka_config *config;
    struct mutex
        lock; /* held while client and queues are replaced, and by other threads that use them */
    struct kafka_notes notes;
    rd_kafka_t *client;
    struct schemas *schemas;
    struct ingest_callbacks callbacks;
    struct ingest_options options; /* topics: copies, owned */
    char **topics;                 /* (n_topics) names */
    rd_kafka_topic_t **handles;    /* (n_topics) */
    int partitions;                /* of each topic */
    struct ingest__slot *slots;    /* (n_topics, partitions) */
    bool *owned;                   /* (partitions); main thread */
    bool *dropped;                 /* (partitions) by ingest_drop; main thread */
    bool *waiting;      /* (partitions) owned, and not read before ingest_begin; main thread */
    int64_t *next;      /* (n_topics) what callbacks.assigned fills; main thread */
    int64_t generation; /* assignments so far; main thread */
    struct ingest__peers peers;     /* main thread */
    char member[INGEST_MEMBER_MAX]; /* ours as of the last assignment; "" none. Main thread */
    struct ingest__shard *shards;   /* (shards) */
    rd_kafka_queue_t *main_queue;
    int event_fd;
    struct sync_int restart_asked; /* 1: some fetcher has stopped; shards write, main takes */
    struct sync_int halt;          /* odd: shards take nothing; the main thread writes */
    struct sync_int parked;        /* shards that have parked for this halt */
    bool is_started_again;         /* in this halt; main thread */
    int strays;                    /* messages astray since then (restart.c); main thread */
    uint64_t commit_at_ns;         /* earliest next commit; main thread */
    struct flag is_hurried;        /* brokers that are away are not waited for any more */
    bool is_displaced;             /* the client is to be made anew (renew.c); main thread */
    uint64_t renewed_at_ns;        /* when it was last, 0 never; main thread */
    uint64_t doubts_at_ns;         /* first of the renewals that followed each other closely */
    bool has_failed;               /* main thread */
    struct err failure;            /* the first one, when has_failed */
};

static inline struct ingest__slot *ingest__slot(struct ingest *ingest, int topic, int32_t partition)
{
    return &ingest->slots[(size_t)topic * (size_t)ingest->partitions + (size_t)partition];
}

static inline bool ingest__is_raw(const struct ingest *ingest, int topic)
{
    return topic >= ingest->options.n_topics - ingest->options.n_raw;
}

/* Markers of transactions, or records that compaction took, leave holes in the offsets there. Internal topics have markers also from a
 * time with exactly_once_v2 before. */
static inline bool ingest__has_markers(const struct ingest *ingest, int topic)
{
    return ingest->options.transactional_source ||
           topic >= ingest->options.n_topics - ingest->options.n_compacted ||
           ingest__is_raw(ingest, topic);
}

/* Where no position is stored, and the group has none: nobody of us has ever read it. */
static inline bool ingest__begins_at_end(struct ingest *ingest, int topic, int32_t partition)
{
    bool is_unknown = sync_int_get(&ingest__slot(ingest, topic, partition)->told) < 0;
    return ingest->options.start == INGEST_LATEST && !ingest__is_raw(ingest, topic) &&
           (is_unknown || fault_mutant("auto_offset_reset_latest"));
}

/* consumer.c */
int ingest__topic_index(const struct ingest *ingest, const char *name); /* -1: none of ours */
void ingest__fail(struct ingest *ingest,
                  const struct err *err); /* main thread; the first one stays */

/* Handles, queues and the subscription of a client that is made here; and what the client is not needed for to end. Main thread;
 * no shard polls. */
MUST_USE bool ingest__client_open(struct ingest *ingest, struct err *err);
void ingest__client_close(struct ingest *ingest);

/* assign.c */
/* Every partition that is ours goes. */
void ingest__revoke_all(struct ingest *ingest, bool lost);
void ingest__on_rebalance(rd_kafka_t *client, rd_kafka_resp_err_t code,
                          rd_kafka_topic_partition_list_t *list, void *opaque);
/* Sends the commits wished for; main thread. */
void ingest__commit_send(struct ingest *ingest);
/* The partition's own queue feeds its shard's. Main thread. */
void ingest__queue_forward(struct ingest *ingest, const rd_kafka_topic_partition_t *part);

/* peers.c: asks who is in the group, and tells of who is not any more. */
void ingest__peers_look(struct ingest *ingest);
void ingest__peers_free(struct ingest__peers *peers);
/* Whether the group's broker has us as a member at this moment; also where we have no right to ask. Errors: ERR_ABORT: no answer. */
MUST_USE bool ingest__is_listed(struct ingest *ingest, bool *is_listed, struct err *err);
/* After our session was lost: whether a younger process has our group.instance.id. Then this one has failed, and must not join again. */
bool ingest__is_replaced(struct ingest *ingest);

/* passage.c; shard thread. */
/* Where the partition is to be read: the probe of a search, else the next offset. */
int64_t ingest__target(const struct ingest__slot *slot);
/* An error in place of a record. true: it belongs to a damaged batch that is passed, and is dealt with. */
bool ingest__passage_error(struct ingest *ingest, int topic, struct ingest__slot *slot,
                           const rd_kafka_message_t *message);
/* A record. true: it only told the search where the batch ends not, and comes again. */
bool ingest__passage_record(struct ingest *ingest, int topic, struct ingest__slot *slot,
                            const rd_kafka_message_t *message);

/* renew.c; main thread */
/* The session was lost: we are no member at the moment. */
bool ingest__is_outside(struct ingest *ingest);
/* As ingest_member, without the lock: main thread, or with it. */
void ingest__member(struct ingest *ingest, char id[INGEST_MEMBER_MAX]);
bool ingest__is_fresh(
    const struct ingest *ingest); /* a fence may be our own former client's doing */
void ingest__displace(struct ingest *ingest);
MUST_USE bool ingest__client_renew(struct ingest *ingest, struct err *err);

/* restart.c */
/* From now on shards take nothing, until all fetchers have begun anew where their partitions stand. Main thread. */
void ingest__restart_begin(struct ingest *ingest);
/* Some fetcher has stopped. Any thread. */
void ingest__restart_ask(struct ingest *ingest);
/* Whether the shard may take nothing now; it parks with this. Shard thread. */
bool ingest__is_parked(struct ingest *ingest, struct ingest__shard *shard);
/* Does what is asked for, as far as it can now. Main thread. */
void ingest__restart_serve(struct ingest *ingest);

#endif
