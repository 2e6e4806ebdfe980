#ifndef STATE_VIEW_H
#define STATE_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/* A copy of the output topics in a RocksDB of its own, for answers: the newest record of each key as it came, and how far each
 * partition has been read, in one WriteBatch. It can be thrown away at any time: the topics hold all of it.
 *
 *     view's thread     put, forget ... -> write: one WriteBatch, positions with it
 *     any other thread  get: what the last write left
 *
 * It knows nothing of what is in a record. Bytes: docs/STATE.md, "The view". */
struct state_view;

enum state_view_family { VIEW_LISTS, VIEW_RELATED, VIEW_TRENDING, VIEW_ITEMS, VIEW_FAMILIES };

struct state_view_options {
    const char *cluster_id;
    const char *topics[VIEW_FAMILIES]; /* what each family is a copy of; "" or NULL: nothing */
    size_t rocksdb_bytes;              /* memtables and block cache together */
};

/* Opens or makes <folder>/db (folders 0700). Errors: ERR_FATAL exit 3 another cluster's or other topics' view, another owner,
 * damaged; exit 7 disk. Each says that the folder may be moved away. Owns: copies the options. */
MUST_USE bool state_view_open(struct state_view **view, const char *folder,
                              const struct state_view_options *options, struct err *err);
/* What was put and not written is forgotten. NULL is fine. */
void state_view_close(struct state_view *view);

/* The next offset to read of a family's topic; -1: none was written. View's thread. */
MUST_USE bool state_view_position(struct state_view *view, enum state_view_family family,
                                  int32_t partition, int64_t *next, struct err *err);

/* The newest record of a key; value.ptr NULL: a tombstone. offset + 1 is the partition's position after the next write. */
struct state_view_record {
    enum state_view_family family;
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms;
    struct str key, value;
};
/* View's thread; nothing is seen before the write. */
void state_view_put(struct state_view *view, const struct state_view_record *record);
/* Every row that came from this partition goes, and its position: its log is another one now. Errors: ERR_FATAL read. */
MUST_USE bool state_view_forget(struct state_view *view, enum state_view_family family,
                                int32_t partition, struct err *err);
/* Puts since the last write; nothing happens when there are none. Errors: ERR_RETRY disk full, the puts are kept; ERR_FATAL. */
MUST_USE bool state_view_write(struct state_view *view, struct err *err);

/* Brings rows of lists that tombstones deleted, and that write has taken out, out of the files as well (state_purge has how and why).
 * Nothing happens when there are none. View's thread. Errors: ERR_RETRY disk full; ERR_FATAL. */
MUST_USE bool state_view_purge(struct state_view *view, struct err *err);

/* A row borrowed from the database, until state_view_release. */
struct state_view_row {
    struct str value;
    int64_t timestamp_ms; /* the record's: when it was published */
    void *pin;
};
/* found false: no such key (nothing to release then). Any thread. Errors: ERR_FATAL read failed, damaged. */
MUST_USE bool state_view_get(struct state_view *view, enum state_view_family family, struct str key,
                             bool *found, struct state_view_row *row, struct err *err);
void state_view_release(struct state_view_row *row);
/* Every row of a family as of now, by key, until visit returns false; key and value live until it returns. Any thread. */
MUST_USE bool state_view_each(struct state_view *view, enum state_view_family family,
                              bool (*visit)(void *context, struct str key, struct str value,
                                            int64_t timestamp_ms),
                              void *context, struct err *err);

#endif
