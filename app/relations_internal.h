#ifndef APP_RELATIONS_INTERNAL_H
#define APP_RELATIONS_INTERNAL_H

#include "app/relations.h"
#include "app/relations_rows.h"
#include "base/buf.h"
#include "base/mem.h"

/* What app/relations.c and app/relations_publish.c share. */

/* A partition of the pairs topic. */
struct relations_part {
    bool is_open, is_changed;
    int64_t *last;  /* (n_topics, n_partitions) last source offset applied, -1 none */
    int64_t offset; /* of its newest record; -1 none yet */
    struct relations_standing standing; /* as of the opening */
    int settling; /* seals to come in which every changed row is published (relations_publish.c) */
    struct model_marginals *marginals[RELATED_KIND_COUNT];
};

struct relations {
    struct relations_env env;
    double half_life_ms[ROW_KINDS];
    struct rows *rows;
    struct relations_part *parts; /* (n_partitions) */
    struct arena *arena;          /* of one record */
    struct buf bytes;             /* of one list or stored value */
    struct buf key;
};

#endif
