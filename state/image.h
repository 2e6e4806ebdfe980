#ifndef STATE_IMAGE_H
#define STATE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* A partition's part of the store as records of a log (the changelog): what an epoch changed, and the same put back into a store.
 *
 *     epoch, sealed   state_epoch_changes -> records, a marker behind them            (the caller sends them)
 *     records         state_image_row ... state_image_commit at a marker -> the rows as of that marker, positions with them
 *
 * A record's key is a table (1 byte) and the stored key without its partition; its value is the stored value, none when the row is
 * gone. A marker has the key STATE_MARKER_KEY and says where the partition stood: rows before it are whole, rows behind the last one
 * are not. A reset has the key STATE_RESET_KEY: what stands before it counts no more. Bytes: docs/STATE.md, "The changelog".
 *
 * Two ways of putting back. In steps: what came since the last marker is one WriteBatch, so the store is whole at any moment. In
 * bulk: rows are written as they come, without RocksDB's log, and until the commit a mark says that the partition is of no use; who
 * finds it begins again where it says. Records are bytes from outside: each is checked as if it were read from the store.
 * Thread: one at a time for a partition, beside shards that have other partitions. */

struct state;
struct state_epoch;
struct state_shard;

#define STATE_MARKER_KEY ((struct str){"\x00", 1})
#define STATE_RESET_KEY  ((struct str){"\x01", 1})

enum state_record { STATE_RECORD_ROW, STATE_RECORD_MARKER, STATE_RECORD_RESET };
/* By its key; what is neither of the others is taken for a row, and state_image_row says whether it is one. */
enum state_record state_record_kind(struct str key);

struct state_change {
    int32_t partition;
    struct str key;
    struct str value; /* ptr NULL: the row is gone */
};

/* The rows of an epoch that is sealed and not written, in its order, but for positions; until visit returns false, then false. */
bool state_epoch_changes(const struct state_epoch *epoch,
                         bool (*visit)(void *context, const struct state_change *change),
                         void *context);
/* Every row of the partition as the last epoch written left it, until visit returns false. Errors: ERR_FATAL. */
MUST_USE bool state_image_each(struct state *state, int32_t partition,
                               bool (*visit)(void *context, const struct state_change *change),
                               void *context, struct err *err);
/* One of them: appends its value to out. found false: there is no such row, or the key is none. Errors: ERR_FATAL. */
MUST_USE bool state_image_get(struct state *state, int32_t partition, struct str key,
                              struct buf *out, bool *found, struct err *err);

/* ---- markers ---- */

/* next (topics of the identity, then internal ones): A_p of each, -1 none. */
void state_marker_encode(const struct state *state, const int64_t *next, int64_t wall_ms,
                         struct buf *out);
/* Topics that the store does not have are passed over, those that the marker does not have become -1. Errors: ERR_FATAL exit 3: no
 * marker, or one of another application, cluster, or number of partitions. */
MUST_USE bool state_marker_decode(const struct state *state, struct str value, int64_t *next,
                                  struct err *err);
int state_topics(const struct state *state); /* how many `next` has */

/* ---- where in the log the partition's rows are ---- */

struct state_log {
    int64_t
        next; /* everything below is in the store; -1: nothing is known. While restoring: where to begin, -1 at the log's
                          beginning with no rows */
    int64_t wall_ms; /* when that was so */
    int64_t
        sum; /* A_p of all topics then, added up: another sum now says that epochs were written without the log */
    bool is_restoring; /* rows are not whole */
};

/* Of positions as a marker has them (-1 counts as 0). */
int64_t state_log_sum(const struct state *state, const int64_t *next);
/* The positions of a partition (state_topics), -1 none. Errors: ERR_FATAL. Thread: any. */
MUST_USE bool state_positions_get(struct state *state, int32_t partition, int64_t *next,
                                  struct err *err);

/* Errors: ERR_FATAL. Thread: any. */
MUST_USE bool state_log_get(struct state *state, int32_t partition, struct state_log *log,
                            struct err *err);
/* Puts it on its own, synced when asked to. Errors: ERR_RETRY disk full; ERR_FATAL. Thread: any. */
MUST_USE bool state_log_put(struct state *state, int32_t partition, const struct state_log *log,
                            bool sync, struct err *err);
/* Nothing was missed up to now: wall_ms is at least this from now on. Errors and thread: the same. */
MUST_USE bool state_log_touch(struct state *state, int32_t partition, int64_t wall_ms,
                              struct err *err);
/* Adds it to an epoch that is sealed and not written. Thread: the shard's. */
void state_epoch_log_put(struct state_shard *shard, struct state_epoch *epoch, int32_t partition,
                         const struct state_log *log);

/* ---- putting back ---- */

struct state_image;

struct state_image *state_image_new(struct state *state, int32_t partition);
void state_image_free(
    struct state_image *image); /* NULL is fine; what was not committed is dropped */
/* From now on in bulk, also when it is; what came since the last commit is dropped. Marks the partition, synced; from below 0 takes its
 * rows away first. wall_ms: since when the store may miss what was taken away. Errors: ERR_RETRY, ERR_FATAL. */
MUST_USE bool state_image_bulk(struct state_image *image, int64_t from, int64_t wall_ms,
                               struct err *err);
/* A row; value ptr NULL takes it away. Errors: ERR_RETRY disk full (bulk; call again with the next row), ERR_FATAL exit 3 the bytes are
 * no row, exit 7. */
MUST_USE bool state_image_row(struct state_image *image, struct str key, struct str value,
                              struct err *err);
/* What came is whole: rows, positions of the marker and the log's place (its sum is made here) are in the store when it returns. Ends bulk. Errors: ERR_RETRY
 * disk full, call again; ERR_FATAL. */
MUST_USE bool state_image_commit(struct state_image *image, const int64_t *next,
                                 const struct state_log *log, struct err *err);
size_t state_image_bytes(
    const struct state_image *image); /* rows since the last commit; in steps they are in memory */
/* In steps: drops what came since the last commit, and tells the keys. */
void state_image_drop(struct state_image *image, void (*visit)(void *context, struct str key),
                      void *context);
/* Takes every row and position of the partition away. Errors: ERR_RETRY, ERR_FATAL. */
MUST_USE bool state_image_wipe(struct state *state, int32_t partition, struct err *err);

#endif
