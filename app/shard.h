#ifndef APP_SHARD_H
#define APP_SHARD_H

#include "app/batch.h"
#include "app/models.h"
#include "base/err.h"

/* A shard: one thread that owns partitions p with p % shards == its number, their users and their epochs.
 *
 *   loop:  commands of the main thread -> poll a micro-batch -> batch_run -> epochs
 *
 * An epoch is what one commit holds: the lists sent in commit.interval.ms and the state that goes with them (D1):
 *
 *   OPEN --seal--> SEALED --all acknowledged--> written: state and A_p in one WriteBatch (I1) --> C_p told (D3)
 *
 * Sealing copies the values out, so the next micro-batches go on while acknowledgements are under way. With exactly_once_v2 the
 * committer (app/committer.h) says when all shards seal, and a commit stands in place of the acknowledgements. */

struct shard;

struct shard_env {
    const struct settings *settings;
    struct schemas *schemas;
    struct state *state;
    int n_partitions; /* of each events topic */
    struct ingest *ingest;
    struct models *models;         /* NULL: no encoder arm */
    struct catalogue *catalogue;   /* NULL: none */
    struct rules_watch *rules;     /* NULL: none */
    struct companions *companions; /* NULL: no arm of related items */
    struct emit *emit;
    struct committer *committer; /* NULL: at_least_once */
    struct tap *tap;
    struct counters *counters; /* slot: the shard's number */
    /* Called on the shard's thread, when it stops by an error; at_least_once also when it waits after ERR_ABORT. */
    void (*failed)(void *context);
    void *failed_context;
};

struct shard *shard_new(const struct shard_env *env, int number);
MUST_USE bool shard_start(struct shard *shard, struct err *err);

/* Main thread; each waits until the shard has done it. Errors: what the shard met, or its earlier failure. */
struct shard_opening {
    const int64_t *told; /* (n_sources) C_p of the partition, -1 none */
    const struct requests
        *requests; /* to forget somebody; NULL: none that the store does not know */
};
MUST_USE bool shard_partition_open(struct shard *shard, int32_t partition,
                                   const struct shard_opening *opening, struct err *err);
/* lost: what is not acknowledged is dropped at once instead of waited for. */
void shard_partition_close(struct shard *shard, int32_t partition, bool lost);

/* After ERR_ABORT (app/committer.h, emit/awake.h), with all partitions closed: forgets what was not written, and takes nothing until shard_resume,
 * when producer and committer are new. */
MUST_USE bool shard_reset(struct shard *shard, struct err *err);
MUST_USE bool shard_resume(struct shard *shard, struct err *err);

/* Finishes what is in flight (bounded by task.timeout.ms), writes it, ends the thread. Errors: why it had ended before, or what
 * could not be finished. A second call does nothing and returns true. */
MUST_USE bool shard_stop(struct shard *shard, struct err *err);
void shard_free(struct shard *shard);

/* Any thread: false with the error when it failed. */
bool shard_is_running(struct shard *shard, struct err *err);
/* A_p as this shard has it in memory (not yet written): the next offset to apply; -1 when not its own. */
int64_t shard_next(struct shard *shard, int topic, int32_t partition);

#endif
