#ifndef STATE_SNAPSHOT_H
#define STATE_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "state/backup.h"

/* Snapshots: copies of a running store that it takes of itself, and that become the store when there is none.
 *
 *     taking    checkpoint beside the database -> linked or copied to <folder>/snapshot-<ms>.partial, manifest last -> renamed
 *     back      manifest read, files linked or copied to <state's folder>/db.restoring, each held against the manifest -> renamed
 *
 * A snapshot is a backup (state/backup.h) in a folder of snapshots: same layout, same manifest, `freshet restore --from` takes it. Table
 * files are linked where the disk is the same, and copied elsewhere, but only those that the snapshot before does not have: it is
 * linked to that one. They never change; everything else is copied. Positions in the manifest were read just before the files: the
 * snapshot is there or further.
 *
 * Invariants: a name without a suffix is a whole snapshot; the store's folder has a database that is whole, or none. Whatever a
 * crash leaves behind has a suffix and is taken away by state_snapshots_open or the next try. Thread: one at a time for a folder. */

struct state;
struct state_identity;

enum { STATE_SNAPSHOT_NAME_MAX = 32 };

/* Makes the folder, takes it for this process until the lock is released, and takes away what a crash left behind. Errors: ERR_FATAL exit 3 another
 * process has it, exit 3, 7 it cannot be made. */
MUST_USE bool state_snapshots_open(const char *folder, struct state_lock **lock, struct err *err);

struct state_snapshot_taken {
    uint64_t bytes,
        bytes_new; /* of all files; of those that neither the store nor the snapshot before shares */
    size_t files;
};

/* Takes one: <folder>/snapshot-<now_ms>. before: the name of the newest one there, "" none. Errors: ERR_RETRY disk full; ERR_FATAL: none was
 * taken, the store is as it was. */
MUST_USE bool state_snapshot_take(struct state *state, const char *folder, const char *before,
                                  int64_t now_ms, struct state_snapshot_taken *taken,
                                  struct err *err);

struct state_snapshot_name {
    char text[STATE_SNAPSHOT_NAME_MAX];
    int64_t taken_ms;
};
/* Those in the folder, newest first, at most max; the number. A folder that is not there has none. */
int state_snapshots_list(const char *folder, struct state_snapshot_name *names, int max);
/* Takes one away. Errors: ERR_FATAL exit 7. */
MUST_USE bool state_snapshot_remove(const char *folder, const char *name, struct err *err);
/* What its manifest says, the files not looked at. Errors: ERR_FATAL exit 3 it is damaged, of another store, or of a format that is not read. */
MUST_USE bool state_snapshot_read(const char *folder, const char *name,
                                  const struct state_identity *identity,
                                  struct state_backup *backup, struct err *err);
/* Makes it the store in to, which has none. moved: told of so many bytes more that are in place. Errors: ERR_FATAL exit 3 a file is not as it was
 * taken, exit 7 disk; then there is no store as before. */
MUST_USE bool state_snapshot_restore(const char *folder, const char *name, const char *to,
                                     void (*moved)(void *context, uint64_t bytes), void *context,
                                     struct err *err);

#endif
