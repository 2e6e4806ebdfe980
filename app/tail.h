#ifndef APP_TAIL_H
#define APP_TAIL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fault.h"

/* What is below C_p was told before, by us or by whichever process had the partition: its lists, pairs and dead letters are acknowledged
 * or, with exactly_once_v2, committed. A store that is behind that (A_p < C_p), be it new, an old copy, or that of a crash between commit
 * and write, applies the tail again with output off (E3): who reads the lists never sees old ones come after new ones. Thread: the
 * shard's. */
struct tail {
    int64_t *told; /* (n_sources, n_partitions) C_p as of the partition's opening; -1 none */
    int n_partitions;
};

static inline int64_t tail_end(const struct tail *tail, int topic, int32_t partition)
{
    return tail->told[topic * tail->n_partitions + partition];
}

static inline bool tail_holds(const struct tail *tail, int topic, int32_t partition, int64_t offset)
{
    return offset < tail_end(tail, topic, partition) && !fault_mutant("output_in_tail");
}

#endif
