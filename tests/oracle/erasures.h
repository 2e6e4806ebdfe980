#ifndef TESTS_ORACLE_ERASURES_H
#define TESTS_ORACLE_ERASURES_H

#include "app/settings.h"
#include "base/err.h"
#include "tests/oracle/reference.h"
#include "tests/oracle/topic.h"

/* Requests to forget somebody, for the oracle. Where a request stands between the events says its receipt, `next`; of several receipts of
 * one request (at least once) the one that is furthest. Checked:
 *   - each request has a receipt, and with exactly_once_v2 one; what it tells is what the reference had of the user
 *   - a tombstone stands behind the last list from before the request, for each name; none for a request that changed nothing
 * Differences are shown on stderr and counted. */
struct erasures;

/* Reads both topics whole; partitions: of the events. Errors: as topic_read. */
MUST_USE bool erasures_read(struct erasures **erasures, const struct settings *settings,
                            struct schemas *schemas, int partitions, struct err *err);
/* Erases what stands before `offset` of the partition and was not erased before. gone is told of each name that was. */
void erasures_apply(struct erasures *erasures, struct reference *reference, int32_t partition,
                    int64_t offset, void (*gone)(void *context, const struct reference_user *user),
                    void *context);
/* After all were applied. */
void erasures_check(struct erasures *erasures, const struct topic *lists);
/* erasures NULL: nobody asked. Somebody asked to forget whom this record may be of: its key is the user's, or its value has the id somewhere. */
bool erasures_may_name(const struct erasures *erasures, const struct topic_record *record);
/* The same, or its value ends in the midst of such an id. */
bool erasures_may_begin(const struct erasures *erasures, const struct topic_record *record);
/* Next offset of the topic behind the last record. */
int64_t erasures_end(const struct erasures *erasures, int32_t partition);

struct erasures_counts {
    int64_t requests, erased, repeats, wrong;
};
struct erasures_counts erasures_counts(const struct erasures *erasures);

#endif
