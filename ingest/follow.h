#ifndef INGEST_FOLLOW_H
#define INGEST_FOLLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "kafka/kafka.h"

/* Reads whole topics for whoever keeps a copy of them: all partitions, no group, no commits; records come out raw, in offset
 * order within a partition, aborted ones never.
 *
 *     reader's thread   poll -> records -> the caller applies them -> release: they count as delivered
 *     any other thread  confirm: what are the ends now? (asked on a connection of its own, so that no fetch stands before the
 *                       question) -> waits until everything below them is delivered
 *
 * Invariants
 * - A record that was acknowledged before confirm was called is applied when confirm returns true. Of a transaction this holds
 *   once the broker has marked it as committed, which it does some milliseconds after it told the producer.
 * - A partition whose position its log no longer holds (retention, a topic made anew) begins again at its beginning, and a
 *   FOLLOW_RESTART says so before the first record that follows.
 * - Partitions that a topic gets later are not read until it is opened again. */
struct ingest_follow;

enum ingest_follow_kind {
    FOLLOW_RECORD,
    FOLLOW_RESTART, /* what was kept of this partition is of a log that is no more: forget it */
};

struct ingest_follow_record {
    enum ingest_follow_kind kind;
    int topic; /* index into options.topics */
    int32_t partition;
    int64_t offset; /* FOLLOW_RESTART: the position that is gone */
    int64_t timestamp_ms;
    struct str key;   /* ptr NULL: none */
    struct str value; /* ptr NULL: a tombstone */
    const void
        *message; /* the client's message, for its headers (ingest_follow_headers, emit_copy) */
};

/* Borrowed until ingest_follow_release. */
struct ingest_follow_batch {
    const struct ingest_follow_record *records; /* (n) */
    int n;
};

struct ingest_follow_options {
    const char *const *topics; /* (n_topics), copied */
    int n_topics;
    int batch_max;  /* records in one batch */
    int timeout_ms; /* how long open may take to reach the cluster */
    /* The ends are those of the logs: what stands behind a transaction that is still open, of whomever, is waited for, as long as that
     * one takes. Else they are those of a reader of committed records, who does not see it. */
    bool waits_for_open;
    int64_t
        tail; /* over 0: of each partition at most so many records before the end; `start` is not asked */
    /* Over 0: each partition begins at its first record with this timestamp or a later one; `start` is not asked. */
    int64_t since_ms;
    /* The next offset to read of a partition, -1: from its beginning. Called by open only; NULL: all from the beginning. */
    int64_t (*start)(void *context, int topic, int32_t partition);
    void *context;
};

/* Begins to read, and notes the ends that the topics have now. Errors: ERR_FATAL exit 4 unreachable, exit 5 a topic does not
 * exist, exit 2 settings. */
MUST_USE bool ingest_follow_open(struct ingest_follow **follow, const struct kafka_config *config,
                                 const struct ingest_follow_options *options, struct err *err);
/* Reader's thread. Waits up to timeout_ms for a first record, then takes what is queued, up to batch_max; batch->n may be 0.
 * One batch is out at a time. Errors: ERR_FATAL, the partition cannot be read on (damaged, no rights); for good. */
MUST_USE bool ingest_follow_poll(struct ingest_follow *follow, int timeout_ms,
                                 struct ingest_follow_batch *batch, struct err *err);
/* The batch is applied: its memory goes back, and who waits in confirm is told. Reader's thread; also after a poll that gave
 * nothing. */
void ingest_follow_release(struct ingest_follow *follow, struct ingest_follow_batch *batch);
/* The headers of a record in their order, until visit returns false. A header without a value has ptr NULL. */
void ingest_follow_headers(const struct ingest_follow_record *record,
                           bool (*visit)(void *context, const char *name, struct str value),
                           void *context);
/* Makes a waiting poll return at once (or the next one, if none waits). Any thread. */
void ingest_follow_wake(struct ingest_follow *follow);

/* Everything that the topics held when ingest_follow_open was called is delivered. Any thread. */
bool ingest_follow_is_caught_up(struct ingest_follow *follow);
/* Records not delivered yet, by the ends that the fetches told of. Any thread. */
int64_t ingest_follow_lag(struct ingest_follow *follow);
int ingest_follow_partitions(const struct ingest_follow *follow, int topic); /* of a topic */

/* Waits until everything that was acknowledged in the topics before the call is delivered. Callers share questions: one request
 * for each broker serves all who came before it was sent. Any thread but the reader's, any number at once.
 * Errors: ERR_RETRY not within timeout_ms (the broker is away, or the reader is slow); ERR_FATAL as the broker says. */
MUST_USE bool ingest_follow_confirm(struct ingest_follow *follow, int timeout_ms, struct err *err);

/* Nobody is inside poll or confirm. NULL is fine. */
void ingest_follow_close(struct ingest_follow *follow);

#endif
