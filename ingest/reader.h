#ifndef INGEST_READER_H
#define INGEST_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "kafka/kafka.h"

/* Reads partitions of one topic, each started, stopped and started elsewhere when the caller likes: for state that is put back from a
 * changelog. No group, no commits; records come out raw, in offset order within a partition, aborted ones never.
 *
 *     start(p, from) -> records ... -> READER_END: nothing more is there now -> records as they come
 *                                   -> READER_GONE: `from` is not in the log
 *
 * Thread: one, but for wake. */
struct ingest_reader;

enum ingest_reader_kind {
    READER_RECORD,
    READER_END,  /* offset: of the record that comes next, marks of transactions are passed */
    READER_GONE, /* the log does not hold the offset that was asked for: nothing more comes */
};

struct ingest_reader_record {
    enum ingest_reader_kind kind;
    int32_t partition;
    int64_t offset;
    struct str key;   /* ptr NULL: none */
    struct str value; /* ptr NULL: a tombstone */
    uint64_t start;   /* ingest_reader_is_current knows it */
};

/* Borrowed until ingest_reader_release. */
struct ingest_reader_batch {
    const struct ingest_reader_record *records; /* (n) */
    int n;
};

/* Errors: ERR_FATAL exit 4 unreachable, exit 5 no such topic, exit 2 settings. */
MUST_USE bool ingest_reader_open(struct ingest_reader **reader, const struct kafka_config *config,
                                 const char *topic, int batch_max, int timeout_ms, struct err *err);
int ingest_reader_partitions(const struct ingest_reader *reader);
/* The log's first offset and the one behind its newest record that is committed. Errors: ERR_RETRY not within timeout_ms; ERR_FATAL. */
MUST_USE bool ingest_reader_bounds(struct ingest_reader *reader, int32_t partition, int64_t *begin,
                                   int64_t *end, int timeout_ms, struct err *err);
/* The end as the fetches last told it; 0 unknown. Does not ask. */
int64_t ingest_reader_end(const struct ingest_reader *reader, int32_t partition);
/* from: an offset. Started already: it goes on there. Errors: ERR_FATAL. */
MUST_USE bool ingest_reader_start(struct ingest_reader *reader, int32_t partition, int64_t from,
                                  struct err *err);
/* Nothing of it comes out any more. Not started: nothing to do. No batch is out. */
void ingest_reader_stop(struct ingest_reader *reader, int32_t partition);
/* Waits up to timeout_ms for a first record, then takes what is queued; batch->n may be 0. One batch is out at a time. Errors:
 * ERR_FATAL, a partition cannot be read on (damaged, no rights); for good. */
MUST_USE bool ingest_reader_poll(struct ingest_reader *reader, int timeout_ms,
                                 struct ingest_reader_batch *batch, struct err *err);
/* Its partition was neither stopped nor started elsewhere since the batch was taken. */
bool ingest_reader_is_current(const struct ingest_reader *reader,
                              const struct ingest_reader_record *record);
void ingest_reader_release(struct ingest_reader *reader, struct ingest_reader_batch *batch);
/* Makes a waiting poll return at once (or the next one, if none waits). Any thread. */
void ingest_reader_wake(struct ingest_reader *reader);
void ingest_reader_close(struct ingest_reader *reader); /* NULL is fine */

#endif
