#ifndef APP_BATCH_H
#define APP_BATCH_H

#include <stdint.h>

#include "app/companions.h"
#include "app/metrics.h"
#include "app/requests.h"
#include "app/settings.h"
#include "app/tail.h"
#include "base/err.h"
#include "emit/emit.h"
#include "ingest/ingest.h"
#include "model/model.h"
#include "schemas/schemas.h"
#include "state/state.h"

/* One micro-batch: records in, lists out (the rules of the fold, docs/STATE.md).
 *
 *   1 fold      each record in order: clean -> user -> sets, window, popularity; what the encoder has to do is noted
 *   2 encode    all steps of all users together, a user's steps in order
 *   3 rank      exact top-k of all users that get a list, together
 *   4 publish   in record order: live quality, the ranker or rank fusion, Avro, producer
 *
 * What comes out does not depend on how records are cut into batches. Thread: the shard's. */
struct batch;

/* What a batch works with; borrowed, and the same for all batches of a shard. */
struct batch_env {
    const struct settings *settings;
    struct schemas *schemas;
    struct state *store;
    struct state_shard *state;
    const struct model *model;     /* NULL: no encoder arm */
    struct neighbours *neighbours; /* NULL: no such arm */
    struct companions *companions; /* NULL: neither related items nor what rises */
    struct pairs *pairs;           /* NULL: none are made */
    struct relations *relations;   /* NULL: as pairs */
    struct policy *policy;         /* NULL: neither catalogue nor rules */
    const struct tail *tail;
    struct emit *emit;
    struct counters_slot *counters; /* app/metrics.h */
    int n_partitions;               /* of each events topic */
    struct waits *waits;            /* of the open epoch; NULL: latency ends in the producer */
    struct tap *tap;                /* copies of lists for a view; NULL: nobody looks */
};

struct batch *batch_new(const struct batch_env *env);
void batch_free(struct batch *batch);
/* Another model from the next batch on: same size or not. NULL is not possible when the batch had one. */
void batch_model_set(struct batch *batch, const struct model *model);
/* What is known of a partition that the shard takes. */
struct batch_opening {
    const struct requests *requests; /* NULL: none that was not applied */
    const int64_t *told;             /* (n_sources) C_p, -1 none */
    const int64_t *ends;             /* (n_sources) where each log ended */
    bool is_new;                     /* nothing of its events was ever published */
    int64_t first_below;             /* requests below come before any event */
};
/* Requests to forget somebody that were answered are put where they stood. Errors: as state_position. */
MUST_USE bool batch_partition_open(struct batch *batch, int32_t partition,
                                   const struct batch_opening *opening, struct err *err);
/* Requests wait for events before them. */
bool batch_requests_wait(const struct batch *batch, int32_t partition);
/* Applies the first that waits if nothing stands before it; is_at_end: no event is there that was not read. Errors: as batch_run. */
MUST_USE bool batch_requests_run(struct batch *batch, int32_t partition, bool is_at_end,
                                 struct emit_epoch *epoch, struct err *err);
/* The position in the erasures topic, of each partition where it has moved; false: of no other. */
bool batch_requests_moved(struct batch *batch, int32_t *partition, int64_t *next);
/* Next offset of an events topic by the batches so far or the store; -1 none. Errors: as state_position. */
MUST_USE bool batch_standing(const struct batch *batch, int topic, int32_t partition, int64_t *next,
                             struct err *err);
/* The partition is another's. */
void batch_partition_forget(struct batch *batch, int32_t partition);
/* Everything that is sent belongs to `epoch`. Errors: ERR_FATAL; the batch's state changes are then in memory only and
 * must not be sealed. */
MUST_USE bool batch_run(struct batch *batch, const struct ingest_batch *in,
                        struct emit_epoch *epoch, struct err *err);

#endif
