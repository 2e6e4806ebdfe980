#ifndef APP_RELATIONS_H
#define APP_RELATIONS_H

#include "app/metrics.h"
#include "app/settings.h"
#include "base/err.h"
#include "emit/emit.h"
#include "ingest/ingest.h"
#include "model/model.h"
#include "state/state.h"

/* The second step: what goes with an item (rule 14 of docs/STATE.md). The owner of a partition of the pairs topic keeps, for its
 * subjects, a row of partners for each kind, and publishes those whose list changed.
 *
 *     relations_apply: group -> seen before? -> rows, marginals      ... relations_publish: changed rows -> related.topic
 *                                                                       relations_seal: rows, marginals, head -> the same epoch
 *
 * So rows and the position in the pairs topic are of one WriteBatch, and it is written when the lists are acknowledged. A group is
 * applied once: the head keeps for each source partition the last source offset applied. Rows are cached under a limit and
 * written back; marginals are in memory whole, under a limit. Thread: the shard's. */
struct relations;

struct relations_env {
    const struct settings *settings;
    struct schemas *schemas;
    struct state *state;
    struct state_shard *shard;
    struct emit *emit;
    struct ingest *ingest; /* where the group stands; NULL: nobody else ever has a partition */
    struct counters_slot *counters;
    int n_partitions;
};

struct relations *relations_new(const struct relations_env *env);
void relations_free(struct relations *relations);
/* What of the pairs topic was worked on before, and the store knows nothing of. */
struct relations_standing {
    int64_t tail; /* where the records end that were told; 0: there are none */
    int64_t end; /* where those end that others may have published from, told or not; 0: the same */
    int64_t
        applied; /* where those end that the store has; those from relations_again on come again */
};
/* Without transactions the group's position follows the store's. Whoever had the partition meanwhile began at the group's, and may have
 * published lists of rows that our store takes for published by us. So the head notes what the group was known to have, and the records
 * from there on are read again: their groups were applied, and what was published of their rows is unknown from then on. from: where the
 * store stands, set back; begin: of the log. Errors: ERR_FATAL exit 7 read. */
MUST_USE bool relations_again(struct state *state, int32_t partition, int64_t begin, int64_t *from,
                              struct err *err);
/* Reads head and marginals. Open already: nothing to do. Errors: ERR_FATAL exit 3 damaged, exit 7 read. */
MUST_USE bool relations_open(struct relations *relations, int32_t partition,
                             const struct relations_standing *standing, struct err *err);
/* Drops the partition; what was not sealed is forgotten. */
void relations_close(struct relations *relations, int32_t partition);

/* A record of the pairs topic. Errors: ERR_DATA: it holds no pairs (nothing of it is applied); ERR_FATAL. */
MUST_USE bool relations_apply(struct relations *relations, const struct ingest_record *record,
                              struct err *err);
/* Lists that changed enough since they were published, of the rows changed since the last seal. Errors: ERR_FATAL. */
MUST_USE bool relations_publish(struct relations *relations, struct emit_epoch *epoch,
                                struct err *err);
/* What changed since the last call goes into the epoch, which is sealed and not written. */
void relations_seal(struct relations *relations, struct state_epoch *epoch);
/* The oldest epoch that was sealed and not written is written now. */
void relations_written(struct relations *relations);
/* Of changed rows, not sealed. */
size_t relations_pending_bytes(const struct relations *relations);
struct relations_counts {
    size_t rows, row_bytes, marginals, marginal_bytes; /* in memory */
    uint64_t evicted;                                  /* rows, so far */
};
struct relations_counts relations_counts(const struct relations *relations);

/* Half-lives of each kind of row (ROW_KINDS of app/relations_rows.h). */
void relations_half_lives(const struct related_settings *settings, double *half_life_ms);
/* Marginals hold so many items for each kind and partition: they share half of related.memory.max.bytes. */
size_t relations_marginals_max(const struct related_settings *settings, int n_partitions);

/* ---- tables of the family `related`, as the store's keys name them ---- */

enum related_table {
    RELATED_HEAD,           /* one row, key 0 */
    RELATED_ROWS,           /* + kind: a row for each subject */
    RELATED_MARGINALS = 32, /* + kind: a row for each partner */
};

#endif
