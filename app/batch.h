#ifndef APP_BATCH_H
#define APP_BATCH_H

#include <stdint.h>

#include "app/companions.h"
#include "app/metrics.h"
#include "app/settings.h"
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
    struct state_shard *state;
    const struct model *model;     /* NULL: no encoder arm */
    struct neighbours *neighbours; /* NULL: no such arm */
    struct companions *companions; /* NULL: no arm of related items */
    struct pairs *pairs;           /* NULL: none are made */
    struct relations *relations;   /* NULL: as pairs */
    struct policy *policy;         /* NULL: neither catalogue nor rules */
    struct emit *emit;
    struct counters_slot *counters; /* app/metrics.h */
    struct tap *tap;                /* copies of lists for a view; NULL: nobody looks */
};

struct batch *batch_new(const struct batch_env *env);
void batch_free(struct batch *batch);
/* Another model from the next batch on: same size or not. NULL is not possible when the batch had one. */
void batch_model_set(struct batch *batch, const struct model *model);
/* Everything that is sent belongs to `epoch`. Errors: ERR_FATAL; the batch's state changes are then in memory only and
 * must not be sealed. */
MUST_USE bool batch_run(struct batch *batch, const struct ingest_batch *in,
                        struct emit_epoch *epoch, struct err *err);

#endif
