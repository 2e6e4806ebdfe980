#ifndef INGEST_INGEST_H
#define INGEST_INGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "ingest/follow.h" /* chapter: whole topics without a group */
#include "ingest/reader.h" /* chapter: partitions of a topic, each by itself */
#include "kafka/kafka.h"
#include "schemas/pseudonym.h"
#include "schemas/schemas.h"

/* ingest/: the consumer: decoded and cleaned batches of events, in offset order for each partition. Hides librdkafka. It
 * refuses to keep positions (the store does), to skip anything without a record, and to be a general consumer.
 *
 * Files, in reading order: ingest.h, clean.c (the rules of an event, pure), internal.h, consumer.c (open, serve, close),
 * assign.c (partitions come and go, where they begin), peers.c (who is not there any more), poll.c (from queue to batch), passage.c (the way behind a damaged
 * batch), restart.c (fetchers that stopped start again), renew.c (a client that lost its place is made anew).
 * Beside it follow.h, follow.c: whole topics without a group; reader.h, reader.c: partitions of a topic, started and stopped
 * one by one.
 *
 *     main thread   ingest_serve -> rebalance -> callbacks.assigned -> start offsets -> partition queues
 *                                                                                           | forwarded
 *     shard thread  ingest_poll <- gap check, decode, clean <- one queue a shard <----------+
 *
 * Invariants
 * - A partition begins where callbacks.assigned says (A_p), never at the group's committed offset.
 * - The group's offsets (C_p) are read before that: what lies below them was told, by whichever process had the partition. With
 *   options.transactional they are read once no transaction of ours is open.
 * - I3: the next offset of a partition is the expected one; else it is a gap: explained by transactions, accepted by
 *   on_gap, or the end of the process. A damaged batch, and a position outside the log, are gaps.
 * - Every record of a partition comes out once for each assignment: as an event, or as poison with its reason.
 * - After callbacks.revoked returned, no record of the partition comes out any more until it is assigned again.
 * - No heap call of ours for a record; librdkafka's queue of a shard is bounded (32 MiB, consumer.queued.max.messages.kbytes).
 *
 * Words: poison, a record that cannot become an event. Position (pos), the next offset to apply. Generation, the number
 * of an assignment. Held, a record that waits for the schema registry. */

/* Why a record was dead-lettered, or what cleaning changed. Each has a counter; docs/OPTIONS.md is not concerned. */
enum ingest_reason {
    REASON_NONE,
    /* poison: dead-lettered */
    POISON_DECODE,         /* bytes do not decode: see the text */
    POISON_UNKNOWN_SCHEMA, /* schema id that the registry does not know */
    POISON_EMPTY,          /* null value */
    POISON_TOO_LARGE,      /* over the message limit */
    POISON_MISSING_USER,
    POISON_MISSING_ITEMS,
    POISON_BAD_ID,        /* id too long, not UTF-8, or with control characters */
    POISON_KEY_COLLISION, /* two item ids with one item key (found by state/) */
    /* changed and counted */
    CLEAN_TIME_MISSING, /* record timestamp taken */
    CLEAN_TIME_FUTURE, /* more than events.max.future.ms after the record: record timestamp taken */
    CLEAN_TIME_ANCIENT, /* before 1990: record timestamp taken */
    CLEAN_ID_TRIMMED,
    CLEAN_ITEM_MERGED,  /* the same item twice in an event: quantities added */
    CLEAN_ITEM_DROPPED, /* empty item id among others */
    CLEAN_QUANTITY,     /* not a positive finite number: 1 */
    CLEAN_PRICE,        /* not a finite number at least 0: dropped */
    INGEST_REASON_COUNT,
};

const char *ingest_reason_name(enum ingest_reason reason); /* "missing_user"; static */

/* Validates and normalises in place. Pure: the result depends on the arguments alone (the reference fold of the tests
 * follows the same rules in code of its own). timestamp_ms is the record's; below 0 it is unknown. changed
 * (INGEST_REASON_COUNT) counters are added to. Returns REASON_NONE, or the poison reason with text in err (ERR_DATA).
 *
 * Rules, in this order; the first poison ends it:
 *  1. tenant, user_id, anonymous_id, event_id, session_id: ASCII white space (0x09 to 0x0d, 0x20) at both ends goes
 *     (CLEAN_ID_TRIMMED each). Then over SCHEMAS_ID_MAX bytes, not UTF-8, or a byte below 0x20 or 0x7f in it:
 *     POISON_BAD_ID.
 *  2. user_id and anonymous_id both empty: POISON_MISSING_USER.
 *  3. Each item in order: rule 1 for its item_id; empty: the item is left out (CLEAN_ITEM_DROPPED); a quantity that is
 *     not finite and above 0 becomes 1 (CLEAN_QUANTITY); a price that is not finite and at least 0 goes (CLEAN_PRICE);
 *     an item_id that an earlier item of the event has: its quantity is added to the earlier one, which keeps the
 *     rest, and the item is left out (CLEAN_ITEM_MERGED). A sum that is not finite is not added.
 *  4. No item is left and the type is neither search nor other: POISON_MISSING_ITEMS.
 *  5. A value of the event that is not finite goes (CLEAN_PRICE).
 *  6. Time. 0: timestamp_ms is taken (CLEAN_TIME_MISSING). Before 1990-01-01 UTC, 631152000000: timestamp_ms is taken
 *     (CLEAN_TIME_ANCIENT). Over timestamp_ms + max_future_ms: timestamp_ms is taken (CLEAN_TIME_FUTURE). An unknown
 *     timestamp counts as 0 where it is taken, and takes no part in the last rule. What is then after the year 9999 is its end
 *     (CLEAN_TIME_FUTURE): times can be added to.
 *
 * Shapes: arena is used only for events of many items. Thread: any; touches no shared state. */
enum ingest_reason ingest_clean(struct event *event, int64_t timestamp_ms, int64_t max_future_ms,
                                struct arena *arena, uint64_t *changed, struct err *err);

/* One consumer of one group. ingest_open to ingest_close on the main thread; ingest_poll, ingest_batch_release by each
 * shard's thread. */
struct ingest;

/* One record of a batch, in offset order within its partition. Borrowed until ingest_batch_release. */
struct ingest_record {
    int topic; /* index into options.topics */
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms;
    struct str key;
    struct str value;          /* the original bytes */
    struct event event;        /* valid when reason is REASON_NONE and the topic is not raw */
    enum ingest_reason reason; /* REASON_NONE, or poison */
    const char *text;          /* of the poison, else NULL; lives as long as the batch */
    const void *message; /* the client's message: emit copies its headers into the dead letter */
};

struct ingest_batch {
    struct ingest_record *records; /* (n) */
    int n;
    uint64_t changed[INGEST_REASON_COUNT]; /* cleaning counters of this batch */
    struct arena *arena;                   /* of the batch; reset at release */
};

/* What the application answers. All are called on the thread that calls ingest_serve. */
struct ingest_callbacks {
    void *context;
    /* A partition (of every topic) is ours. Fills next[topic] with A_p, or -1 for "the store has none"; or next[0] with
     * INGEST_LATER: nothing of it is read before ingest_begin. On false the process stops. */
    bool (*assigned)(void *context, int32_t partition, int64_t *next, struct err *err);
    /* The partition goes away. Must return only after its shard has let go of it. lost: write nothing. */
    void (*revoked)(void *context, int32_t partition, bool lost);
    /* A process of that group.instance.id was in the group and is not any more, nor has it left it: before the partitions that
     * were its come to anybody. NULL: nobody wants to know. */
    void (*gone)(void *context, const char *instance);
};

enum { INGEST_LATER = -2 };

enum ingest_start { INGEST_EARLIEST, INGEST_LATEST };
enum ingest_gap { GAP_FAIL, GAP_ACCEPT };

struct ingest_options {
    const char *group_id;          /* application.id */
    const char *group_instance_id; /* or NULL */
    const char *const *topics;     /* (n_topics) */
    int n_topics;
    /* The last so many of the topics are internal: their records come out as they are, with no event in them, and begin at
     * the log's beginning when the store has no position. */
    int n_raw;
    int n_compacted; /* and the last so many of these are compacted, so that gaps in them are no loss */
    int shards;
    enum ingest_start start;   /* for a partition that the store has never seen */
    enum ingest_gap on_gap;    /* on.offset.gap */
    bool transactional_source; /* control records may take offsets: gaps are explained */
    bool
        transactional; /* ours too: internal topics and the group's offsets are written in transactions */
    int64_t max_future_ms;
    const struct pseudonyms
        *pseudonyms; /* of user ids, before anything else sees them; NULL: none */
    int batch_max;   /* records in one batch */
    int session_timeout_ms;
    int hold_ms; /* how long a schema id that the registry does not answer for is waited for; 0: five minutes */
    int patience_ms; /* likewise brokers, when a partition comes to us */
};

/* Checks the topics, joins the group; partitions come in ingest_serve. Strings of options are copied as far as they are
 * kept beyond the call, but group_id and group_instance_id, which are borrowed as the configuration is. Errors: ERR_FATAL exit 4 unreachable, exit 5 a topic is missing
 * or partition counts differ, exit 2 settings. Main thread. */
MUST_USE bool ingest_open(struct ingest **ingest, const struct kafka_config *config,
                          const struct ingest_options *options, struct schemas *schemas,
                          const struct ingest_callbacks *callbacks, struct err *err);
/* Main thread: group events, errors, rebalances, at least every second. Errors: ERR_FATAL; exit 8, another process has our
 * group.instance.id: before it returns all partitions are lost. */
MUST_USE bool ingest_serve(struct ingest *ingest, int timeout_ms, struct err *err);
/* A descriptor that becomes readable when ingest_serve has work (for the loop). */
int ingest_event_fd(const struct ingest *ingest);

/* Shard thread. Waits up to timeout_ms for a first record, then takes what is queued, up to batch_max. batch->n may be
 * 0. A partition of the shard is partition % shards. Errors: ERR_FATAL gap (I3), partition error; only when the records
 * before it have been given out, and from then on. */
MUST_USE bool ingest_poll(struct ingest *ingest, int shard, int timeout_ms,
                          struct ingest_batch *batch, struct err *err);
/* Gives the batch's memory back. One batch of a shard is out at a time. Shard thread. */
void ingest_batch_release(struct ingest *ingest, int shard, struct ingest_batch *batch);
/* Makes a waiting ingest_poll of the shard return at once (or the next one, if none waits). Any thread. */
void ingest_wake(struct ingest *ingest, int shard);

/* C_p as of the assignment: the next offset that the group has committed, -1 none. Valid within callbacks.assigned. */
int64_t ingest_committed(struct ingest *ingest, int topic, int32_t partition);
/* The newest C_p that the group is known to have: whoever takes the partition over begins there or later. -1 none. Any thread. */
int64_t ingest_acked(struct ingest *ingest, int topic, int32_t partition);
/* Where reading began, or begins, with the assignment. Any thread. */
int64_t ingest_read_from(struct ingest *ingest, int topic, int32_t partition);
/* Where the log began and ended then. As ingest_committed. */
int64_t ingest_log_begin(struct ingest *ingest, int topic, int32_t partition);
int64_t ingest_log_end(struct ingest *ingest, int topic, int32_t partition);
/* Who we are in the group at this moment, as bytes for emit_transaction_commit. out is reset first. Any thread. Errors: ERR_ABORT:
 * the session was lost, so nobody; ERR_FATAL. */
MUST_USE bool ingest_group(struct ingest *ingest, struct buf *out, struct err *err);

/* Begins anew without a rebalance: ingest_drop calls callbacks.revoked (lost) for all partitions, ingest_retake callbacks.assigned for
 * them, unless the session was lost meanwhile: then they come with the next assignment. Shards poll nothing between the two. Main
 * thread. Errors: as ingest_serve; ERR_ABORT: both once more. */
void ingest_drop(struct ingest *ingest);
MUST_USE bool ingest_retake(struct ingest *ingest, struct err *err);

/* False: another process has our group.instance.id since the last assignment; a producer that is made anew would end its transactions.
 * True as well where nobody can be asked. Main thread. Errors: ERR_FATAL exit 8. */
MUST_USE bool ingest_keeps_place(struct ingest *ingest, struct err *err);

/* A partition that is ours since callbacks.assigned said INGEST_LATER is read from now on; next as there. Main thread. Errors: as
 * ingest_serve. */
MUST_USE bool ingest_begin(struct ingest *ingest, int32_t partition, const int64_t *next,
                           struct err *err);
/* Our id in the group, "" while we are not in it. Any thread. */
enum { INGEST_MEMBER_MAX = 512 };
void ingest_member(struct ingest *ingest, char id[INGEST_MEMBER_MAX]);
/* Makes the descriptor of ingest_event_fd readable. Any thread. */
void ingest_nudge(struct ingest *ingest);
/* Ends what waits for brokers that are away, in ingest_serve and ingest_retake, within some 10 s. Any thread; for good. */
void ingest_hurry(struct ingest *ingest);

/* D3: C_p follows A_p: what is below it was told. Asynchronous, failures are logged and forgotten; refused when we are no member any more. */
void ingest_commit(struct ingest *ingest, int topic, int32_t partition, int64_t next);
/* Records waiting behind the position, for each partition we own: high watermark - next, less what a damaged batch or
 * marks of transactions take up behind it; -1 unknown. next below 0: nothing was read yet, from where events.start says. */
int64_t ingest_lag(struct ingest *ingest, int topic, int32_t partition, int64_t next);

/* Gives the partitions back (callbacks.revoked), leaves the group unless a static member, ends the client: at most some 10 s,
 * after it nothing calls back. No shard thread is inside ingest_poll; batches still out are released. NULL is fine. */
void ingest_close(struct ingest *ingest);

#endif
