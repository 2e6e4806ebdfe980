#ifndef EMIT_EMIT_H
#define EMIT_EMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "base/sync.h"
#include "emit/awake.h"  /* chapter: a process that stands still */
#include "emit/commit.h" /* chapter: transactions */
#include "emit/copy.h"   /* chapter: records that go on as they are */
#include "emit/post.h"   /* chapter: records whose sender waits */
#include "kafka/kafka.h"

/* emit/: the producer: lists, pairs, changelog and dead letters (later examples), in transactions or not, and a plain one for
 * import and simulate. One instance a process, shared by the shards. Hides librdkafka. It refuses to retry beyond
 * librdkafka's own retries: what fails, fails the process, and the store's positions say where to begin again.
 *
 * Files, in reading order: emit.h, internal.h, emit.c (open, send, acknowledgements, close), letter.c (dead letters),
 * awake.h, awake.c (a process that stood still), commit.h, commit.c (transactions: the calls), transaction.h, transaction.c (what their outcomes lead to, pure), feed.c (the
 * plain producer), post.h, post.c (records one by one, each with its acknowledgement), copy.h, copy.c (records that go on
 * as they are).
 *
 * Invariants
 * - Idempotent, acks=all: retries neither repeat nor reorder. Keys go to the partitions that Java's producers choose. But a
 *   broker that restarts forgets a producer whose last record in a partition has a timestamp older than a day
 *   (producer.id.expiration.ms), and a batch in flight may then come twice: so lists carry the time of publishing.
 * - An epoch is EMIT_ACKED only when each record sent in it is acknowledged; a failed record never counts.
 * - The first failure stays until the client is made anew: from then on nothing is sent, and every epoch that is not yet settled
 *   is EMIT_FAILED.
 * - Memory of what waits is bounded by queue_bytes; a full queue makes the sender wait, for a bounded time.
 * - A broker that restarts is waited for (producer.message.timeout.ms, five minutes).
 *
 * Words: epoch, the records whose acknowledgement one step of the commit protocol waits for. Report, librdkafka's word
 * that a record is acknowledged or failed. Letter, a dead letter. */

struct emit;

/* Counts the records of one epoch that are not acknowledged yet. Owned by a shard. The producer's thread counts down. */
struct emit_epoch;

struct emit_source { /* goes into the header freshet-src=<topic>/<partition>/<offset> */
    const char *topic;
    int32_t partition;
    int64_t offset;
};

struct emit_options {
    const char *recommendations_topic;
    const char *dlq_topic;
    const char *pairs_topic; /* NULL or "", as for the next: nothing is sent there */
    const char *related_topic;
    const char *trending_topic;
    const char *receipts_topic; /* of erasures */
    const char *changelog_topic;
    size_t queue_bytes;  /* bound on what waits in the producer */
    int64_t open_ms;     /* how long the first producer's start waits for brokers; 0: 30 s */
    int64_t patience_ms; /* how long a new producer's start waits for brokers; 0: five minutes */
    int64_t session_ms;  /* session.timeout.ms of who sends (awake.h); 0: nobody asks */
    const char *
        transactional_id; /* NULL: no transactions. With one, all texts are borrowed until emit_close */
};

/* Creates topic handles and fetches their metadata (a cold first produce costs a second). Starts the thread that reads
 * delivery reports. Errors: ERR_FATAL exit 4 unreachable, exit 5 topic missing. */
MUST_USE bool emit_open(struct emit **emit, const struct kafka_config *config,
                        const struct emit_options *options, struct err *err);

/* Empty, so EMIT_ACKED; may be used again whenever it is settled. Any thread. */
struct emit_epoch *emit_epoch_new(struct emit *emit);
void emit_epoch_free(struct emit_epoch *epoch); /* at any time before emit_close */

enum emit_topic {
    EMIT_RECOMMENDATIONS,
    EMIT_PAIRS,
    EMIT_RELATED,
    EMIT_TRENDING,
    EMIT_RECEIPTS,
    EMIT_CHANGELOG,
    EMIT_TOPIC_COUNT
};

/* Copies key and value. A full queue waits (bounded by the delivery timeout). value len 0 with NULL ptr: tombstone.
 * Errors: ERR_FATAL; ERR_ABORT as awake.h and commit.h say. Thread: any; an epoch by one thread at a time. */
MUST_USE bool emit_send(struct emit *emit, struct emit_epoch *epoch, enum emit_topic topic,
                        struct str key, struct str value, struct emit_source source,
                        int64_t timestamp_ms, struct err *err);

/* The same into a partition of the caller's choice, without a key. */
MUST_USE bool emit_send_to(struct emit *emit, struct emit_epoch *epoch, enum emit_topic topic,
                           int32_t partition, struct str value, struct emit_source source,
                           struct err *err);

/* Where a record went, by its acknowledgement: -1 until then. Lives until its epoch is settled. */
struct emit_mark {
    struct emit_epoch *epoch;
    struct sync_int offset;
};
/* A record of the changelog: no headers. value ptr NULL: tombstone. mark may be NULL. Errors: as emit_send. */
MUST_USE bool emit_send_change(struct emit *emit, struct emit_epoch *epoch, int32_t partition,
                               struct str key, struct str value, struct emit_mark *mark,
                               struct err *err);

/* A dead letter: original key, value, headers and timestamp byte for byte, plus __connect.errors.topic, .partition,
 * .offset, .stage, .class.name ("freshet"), .exception.class.name (the reason), .exception.message; freshet-src. A timestamp more than
 * five minutes ahead of this machine's clock goes into freshet-timestamp-ms, and the letter is of now. */
struct emit_dead_letter {
    struct emit_source source;
    struct str key;
    struct str value; /* ptr NULL: null value */
    int64_t timestamp_ms;
    const char *stage;  /* "decode", "clean", "state" */
    const char *reason; /* ingest_reason_name */
    const char *text;
    const void *message; /* ingest_record.message, for its headers; may be NULL */
    bool is_bare;        /* without key, value and headers of the original, which may name a user */
};
MUST_USE bool emit_dead_letter(struct emit *emit, struct emit_epoch *epoch,
                               const struct emit_dead_letter *letter, struct err *err);

enum emit_epoch_state { EMIT_PENDING, EMIT_ACKED, EMIT_FAILED };
/* EMIT_ACKED: every record sent in it is acknowledged. EMIT_FAILED: err says why; the process must stop and replay. */
enum emit_epoch_state emit_epoch_poll(const struct emit_epoch *epoch, struct err *err);

/* Waits up to timeout_ms for everything sent. */
MUST_USE bool emit_flush(struct emit *emit, int timeout_ms, struct err *err);
/* Bounded; what is not acknowledged is dropped (it will be replayed). */
void emit_close(struct emit *emit);

/* ---- a plain producer for import and simulate ---- */

struct emit_feed;
/* Partitions are chosen by the key's murmur2. Errors: ERR_FATAL exit 4 unreachable, exit 5 the topic is missing. One thread
 * for open, send and close. */
MUST_USE bool emit_feed_open(struct emit_feed **feed, const struct kafka_config *config,
                             const char *topic, struct err *err);
/* Copies key and value; a full queue waits, five minutes at most. Errors: as emit_send, also of records sent before. */
MUST_USE bool emit_feed_send(struct emit_feed *feed, struct str key, struct str value,
                             int64_t timestamp_ms, struct err *err);
/* The same into a partition of the caller's choice. */
MUST_USE bool emit_feed_send_to(struct emit_feed *feed, int32_t partition, struct str key,
                                struct str value, int64_t timestamp_ms, struct err *err);
/* Waits until all is acknowledged, as long as something is within timeout_ms; frees the feed in every case. */
MUST_USE bool emit_feed_close(struct emit_feed *feed, int timeout_ms, struct err *err);

#endif
