#ifndef APP_REQUESTS_H
#define APP_REQUESTS_H

#include "app/settings.h"
#include "base/err.h"
#include "state/state.h"

/* Requests to forget somebody that stand in the erasures topic, and where each took effect: its receipt says so, `next`. Who opens a
 * partition knows by them what is to be forgotten before the partition's events are read, and puts each request that was answered where
 * it stood: between the same events, so that a store which is made again comes out as it was.
 *
 * Of several receipts for one request (at_least_once) the one that is furthest counts: app/asked.c says why. Thread: one makes it, any reads. */
struct requests;

struct request_known {
    int64_t offset, timestamp_ms;
    struct str value;              /* the record's; ptr NULL: it was taken back */
    bool is_answered;              /* it has a receipt */
    int64_t next[USER_TOPICS_MAX]; /* by the receipt; -1 nothing was read of the topic */
};

/* By partition, then offset: i from 0. */
int requests_count(const struct requests *requests);
const struct request_known *requests_at(const struct requests *requests, int i, int32_t *partition);

/* Reads them when a partition wants them, once for all that are opened until one goes: meanwhile nobody else answers theirs. */
struct requests_keeper;
struct ingest;
/* NULL: no erasures topic is read. */
struct requests_keeper *requests_keeper_new(const struct settings *settings, struct state *state);
void requests_keeper_free(struct requests_keeper *keeper);
/* In callbacks.assigned or after: those that the partition's store may not know; NULL: none. Reads both topics to their ends, waiting
 * for brokers up to task.timeout.ms. Errors: ERR_FATAL exit 4 unreachable, exit 5. */
MUST_USE bool requests_find(struct requests_keeper *keeper, int32_t partition,
                            struct ingest *ingest, const struct requests **found, struct err *err);
void requests_drop(struct requests_keeper *keeper); /* a partition went; NULL is fine, also below */
void requests_stop(struct requests_keeper *keeper); /* ends what waits; any thread */

#endif
