#ifndef TESTS_INGEST_READER_H
#define TESTS_INGEST_READER_H

#include "base/sync.h"
#include "ingest/follow.h"
#include "tests/ingest/support.h"

/* Who follows topics and checks that nothing is missing or out of order; by hand or on a thread of its own. */
struct reader {
    struct ingest_follow *follow;
    struct thread thread;
    struct flag stop;
    struct sync_int applied;      /* records, as of the last release (release) */
    int64_t start[2][PARTITIONS]; /* -1: the beginning */
    int64_t next[2][PARTITIONS];  /* first offset not seen; -1 none seen */
    int total, tombstones, restarts;
    int taken_before_restart; /* records */
    bool waits_for_open;      /* as the option */
    bool has_holes;           /* offsets may be missing: marks of transactions */
};

/* Everything from the beginning, unless `start` is changed behind it. */
void reader_init(struct reader *reader);
void reader_open(struct reader *reader, struct cluster *cluster, const char *const *topics, int n);
/* Polls until `total` has reached n (10 s), then once more: nothing may be left. */
void reader_take(struct reader *reader, int n);
void reader_start(struct reader *reader);
void reader_stop(struct reader *reader);
void reader_close(struct reader *reader);

#endif
