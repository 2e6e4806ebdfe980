#ifndef APP_READER_H
#define APP_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "ingest/follow.h"
#include "kafka/kafka.h"

/* A thread that reads topics whole and follows them, for a table that all shards look at.
 *
 *   open    apply(...) on the caller's thread until everything that the topics held is applied; then the thread begins
 *   thread  poll -> apply -> the records count as delivered
 *
 * What fails ends the thread; reader_check and reader_confirm say why from then on. */
struct reader;

struct reader_options {
    const char *name; /* of the thread, 15 bytes at most */
    const struct kafka_config *kafka;
    const char *const *topics; /* (n_topics) */
    int n_topics;
    int timeout_ms; /* to reach the broker */
    int batch_max;  /* records in one call of apply */
    /* Applies records, in offset order within a partition (ingest/follow.h). False: it can go on no further. Who waits in it asks
     * reader_is_stopping. */
    bool (*apply)(void *context, struct reader *reader, const struct ingest_follow_batch *batch,
                  struct err *err);
    void *context;
};

/* Errors: ERR_FATAL exit 4 unreachable, exit 5 a topic does not exist, and those of apply. */
MUST_USE bool reader_open(struct reader **reader, const struct reader_options *options,
                          struct err *err);
/* Nobody waits in confirm. NULL is fine. */
void reader_close(struct reader *reader);
bool reader_is_stopping(const struct reader *reader); /* reader_close was called; any thread */
/* Any thread: ERR_FATAL when it has ended. */
MUST_USE bool reader_check(struct reader *reader, struct err *err);
/* Any other thread: waits until everything acknowledged in the topics before the call is applied. Errors: ERR_RETRY not within
 * timeout_ms; ERR_FATAL it has ended. */
MUST_USE bool reader_confirm(struct reader *reader, int timeout_ms, struct err *err);
int64_t reader_lag(struct reader *reader); /* records not applied yet; any thread */

#endif
