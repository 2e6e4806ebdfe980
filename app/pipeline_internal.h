#ifndef APP_PIPELINE_INTERNAL_H
#define APP_PIPELINE_INTERNAL_H

#include "app/catalogue.h"
#include "app/checkpoints.h"
#include "app/committer.h"
#include "app/erasers.h"
#include "app/group.h"
#include "app/pipeline.h"
#include "app/requests.h"
#include "app/restore.h"
#include "app/rules_watch.h"
#include "app/shard.h"
#include "app/snapshots.h"
#include "base/clock.h"
#include "base/recent.h"
#include "base/sync.h"
#include "emit/emit.h"
#include "ingest/ingest.h"
#include "state/state.h"

/* What app/pipeline.c (life, rebalances) and app/pipeline_counts.c (positions, counts) share. */

enum { PARTITIONS_MAX = 4096, MODEL_VERSION_MAX = 260 };

struct pipeline {
    const struct settings *settings;
    struct models *models;                 /* NULL: no model */
    char model_version[MODEL_VERSION_MAX]; /* of the first; "none" */
    int state_floats;                      /* of the first */
    struct schemas *schemas;
    struct catalogue *catalogue;   /* NULL: none */
    struct rules_watch *rules;     /* NULL: none */
    struct companions *companions; /* NULL: neither arm of published lists */
    struct state *state;
    struct restore *restore; /* NULL: no changelog */
    struct checkpoints checkpoints;
    struct erasers erasers;
    struct requests_keeper *requests; /* NULL: no erasures */
    struct snapshots *snapshots;      /* NULL: none are taken */
    struct emit *emit;
    struct committer *committer; /* NULL: at_least_once */
    struct ingest *ingest;
    struct counters *counters; /* a slot for each shard, the last for the main thread */
    struct recent *recent;     /* of them */
    int64_t recent_lists;      /* observed when it was last taken */
    struct shard **shards;     /* (settings->shards) */
    char cluster_id[64];
    int n_partitions;                         /* of each events topic */
    struct sync_int assigned[PARTITIONS_MAX]; /* 1: ours now; the group's thread writes */
    struct sync_int *start; /* (n_topics, PARTITIONS_MAX) A_p at assignment + 1; 0 none; likewise */
    struct group *group;
    int wake[2]; /* the group's thread writes a byte when it has failed */
    int64_t synced_ms;
};

static inline int64_t pipeline__now_ms(void)
{
    return (int64_t)(clock_mono_ns() / 1000000);
}

#endif
