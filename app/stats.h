#ifndef APP_STATS_H
#define APP_STATS_H

#include <stdint.h>

#include "ingest/ingest.h"
#include "schemas/schemas.h"

/* What a shard counts. Plain numbers, owned by the shard's thread; stats_publish makes a copy that others may read. */

enum stage {
    STAGE_POLL,
    STAGE_FOLD,
    STAGE_NEIGHBOURS,
    STAGE_ENCODE,
    STAGE_RANK,
    STAGE_PUBLISH,
    STAGE_COMMIT,
    STAGE_COUNT
};

enum { QUALITY_K = 20 };

/* Prequential quality: each event scored against the list that stood before it. */
struct quality {
    uint64_t events;
    uint64_t hits[2];     /* list published before; popular arm before: rank <= QUALITY_K */
    double reciprocal[2]; /* sum of 1/rank, 0 beyond QUALITY_K: MRR@20 = reciprocal / events */
};

enum { LATENCY_BUCKETS = 256 };

struct stats {
    uint64_t records; /* taken from Kafka */
    uint64_t events;  /* applied */
    uint64_t replayed, duplicates, quiet, late, too_late;
    uint64_t lists;
    uint64_t poison;
    uint64_t reasons[INGEST_REASON_COUNT]; /* dead letters and cleaning, by reason */
    uint64_t steps;                        /* of the encoder, prefills included */
    uint64_t prefills;
    uint64_t epochs, batches;
    uint64_t models_loaded, models_refused; /* of the process, not of a shard */
    uint64_t first_ns, last_ns; /* monotonic: first record taken, last batch finished; 0 none */
    uint64_t stage_ns[STAGE_COUNT];
    uint64_t allocations; /* heap calls of the shard thread in batches */
    uint64_t latency
        [LATENCY_BUCKETS]; /* record timestamp to publication; bucket: stats_latency_bucket */
    struct quality quality[EVENT_TYPE_COUNT];
};

/* Buckets grow by 2^(1/8): 8 to each doubling, from 100 us. */
int stats_latency_bucket(int64_t us);
/* The q-quantile (0..1) in ms, upper edge of its bucket; 0 when nothing was counted. */
double stats_latency_ms(const struct stats *stats, double q);
void stats_add(struct stats *sum, const struct stats *more);
const char *stats_stage_name(enum stage stage);

#endif
