#ifndef INGEST_INTERNAL_H
#define INGEST_INTERNAL_H

#include "base/sync.h"
#include "ingest/ingest.h"
#include "kafka/client.h"

enum {
    INGEST__ARENA_SOFT = 8 * 1024 * 1024, /* a batch that has used so much ends */
    INGEST__ARENA_MAX = 64 * 1024 * 1024, /* which one record of 64 KiB cannot reach on top */
};

/* One partition of one topic. The main thread assigns and revokes it; its shard reads it. */
struct ingest__slot {
    struct sync_int
        generation; /* 0: not ours; else the number of the assignment that gave it to us (release) */
    struct sync_int start;  /* first offset of that assignment; written before generation */
    struct sync_int commit; /* C_p wished for; -1 none. Any thread writes, the main thread sends */
    int64_t committed;      /* last one sent; main thread */
    int64_t seen;           /* generation that `expected` belongs to; shard thread */
    int64_t expected;       /* next offset (I3); shard thread */
    int64_t passing; /* where the way behind a damaged batch is sought; 0: not; shard thread */
};

/* What one shard thread reads. Partition p belongs to shard p % shards. */
struct ingest__shard {
    rd_kafka_queue_t *queue;       /* all partitions of the shard are forwarded to it */
    struct ingest_record *records; /* (batch_max) of the batch that is out */
    rd_kafka_message_t **messages; /* (batch_max) theirs */
    int n;                         /* messages out */
    struct arena *arena;
    rd_kafka_message_t *held; /* waits for the schema registry; NULL none */
    int64_t held_generation;  /* of its partition when it was held; a later one reads it again */
    uint64_t held_until_ns;   /* then it is given up */
    uint64_t retry_at_ns;
    uint64_t retry_delay_ns;
    struct err
        failed; /* met behind the records of the last batch: the next poll's; ERR_NONE none */
};

struct ingest {
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
    int64_t *next;                 /* (n_topics) what callbacks.assigned fills; main thread */
    int64_t generation;            /* assignments so far; main thread */
    struct ingest__shard *shards;  /* (shards) */
    rd_kafka_queue_t *main_queue;
    int event_fd;
    uint64_t commit_at_ns; /* earliest next commit; main thread */
    bool has_failed;       /* main thread */
    struct err failure;    /* the first one, when has_failed */
};

static inline struct ingest__slot *ingest__slot(struct ingest *ingest, int topic, int32_t partition)
{
    return &ingest->slots[(size_t)topic * (size_t)ingest->partitions + (size_t)partition];
}

/* consumer.c */
int ingest__topic_index(const struct ingest *ingest, const char *name); /* -1: none of ours */
void ingest__fail(struct ingest *ingest,
                  const struct err *err); /* main thread; the first one stays */

/* assign.c */
void ingest__on_rebalance(rd_kafka_t *client, rd_kafka_resp_err_t code,
                          rd_kafka_topic_partition_list_t *list, void *opaque);
/* Sends the commits wished for; main thread. */
void ingest__commit_send(struct ingest *ingest);

#endif
