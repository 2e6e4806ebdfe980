#ifndef TESTS_ORACLE_PAIRS_CHECK_H
#define TESTS_ORACLE_PAIRS_CHECK_H

#include "app/settings.h"
#include "base/err.h"
#include "state/state.h"
#include "tests/oracle/reference.h"
#include "tests/oracle/topic.h"

/* The second step, looked at from outside: the pairs topic against the pairs that the events give, the stored rows against a fold of
 * the topic, the related topic against the stored rows, the trending topic against
 * them and what they say rises. */

struct pairs_input {
    const struct settings *settings;
    struct schemas *schemas;
    struct state *const *states;        /* (events->partitions) read-only: the partition's */
    const struct topic *events;         /* by partition and offset */
    const struct expectation *expected; /* (events->n) */
    bool counts_stale; /* a list that stands may be older than one before it, which is right */
};

struct pairs_result {
    int64_t groups, repeats; /* in the pairs topic; repeats: sent before */
    int64_t rows, lists;     /* rows of partners; lists that stand */
    int64_t trending;        /* lists that stand */
    int64_t unknown;         /* rows that do not know what was published of them */
    int64_t stale;           /* lists behind which an older one stands */
    int64_t wrong;
    int64_t *end; /* (events->partitions) of the pairs topic; the caller frees */
};

/* Differences are counted; the first few go to stderr. Errors: ERR_FATAL: it cannot look. */
MUST_USE bool pairs_check(const struct pairs_input *input, struct pairs_result *result,
                          struct err *err);

#endif
