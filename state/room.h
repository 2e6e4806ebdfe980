#ifndef STATE_ROOM_H
#define STATE_ROOM_H

#include <rocksdb/c.h>

#include "base/err.h"
#include "base/sync.h"

/* What a full disk asks of a RocksDB: a look for room before all that writes, and its log left alone once a write to it failed. Debian's
 * RocksDB 7.8.3 has its assertions on, and one ends the process when a file is touched after a write to it found no room: by a
 * flush, a sync, a checkpoint or a line of its LOG, which is why that stays empty. The next write of ours waits for RocksDB's own recovery.
 * Thread: any, but for begin. */
struct state__room {
    const char *what;          /* "state store", for errors */
    const char *folder;        /* borrowed */
    uint64_t memory;           /* bytes that all memtables can have */
    struct flag is_log_broken; /* a write found no room, and none has gone well since */
};

/* Options of a database: its LOG stays empty. */
void state__room_set(rocksdb_options_t *options);
/* There is room to open it. Errors: ERR_FATAL exit 7. */
MUST_USE bool state__room_begin(const struct state__room *room, struct err *err);
/* There is room for a batch of so many bytes, the memtables, and some to spare. Errors: ERR_RETRY. */
MUST_USE bool state__room_check(const struct state__room *room, size_t bytes, struct err *err);
/* The log may be touched by what is no write. Errors: ERR_RETRY. */
MUST_USE bool state__room_check_log(const struct state__room *room, struct err *err);
/* Both, for a flush or a checkpoint. Errors: ERR_RETRY. */
MUST_USE bool state__room_check_flush(const struct state__room *room, struct err *err);
/* An error's text says that a disk is full. */
bool state__room_is_full(const char *error);
/* How a write ended; error NULL: well. */
void state__room_written(struct state__room *room, const char *error);

#endif
