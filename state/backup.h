#ifndef STATE_BACKUP_H
#define STATE_BACKUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Copies of a store, taken from it while it is open or after it was closed, and put back.
 *
 *     open     state_checkpoint: RocksDB links the files that do not change and copies its log -> a folder beside the database
 *     closed   state_lock_take: nobody opens it meanwhile -> the database itself
 *     then     state_backup_write: files -> <to>.partial/db, manifest last, synced -> renamed to <to>
 *     back     state_backup_check -> state_backup_restore -> <folder>/db
 *
 * A backup has the layout of a store's folder, so state_open_readonly opens it. The manifest (docs/STATE.md, "Backups") names each
 * file with its size and XXH3-64 and says what the store belongs to and where it stood. Invariants: a folder with a manifest
 * is whole; nothing is put back that does not have the manifest's bytes. Thread: any, one at a time for a folder. */

struct state;

/* A store of this folder cannot be opened until it is released, nor is it now. */
struct state_lock;
/* Errors: ERR_FATAL exit 3 a process owns the store, or there is none; *is_owned (may be NULL) tells the first from the rest. */
MUST_USE bool state_lock_take(struct state_lock **lock, const char *folder, bool *is_owned,
                              struct err *err);
void state_lock_release(struct state_lock *lock); /* NULL is fine */

/* Beside running shards: the store as of some moment within the call, whole, in the new folder <state's folder>/<name>.
 * Errors: ERR_RETRY disk full; ERR_FATAL. */
MUST_USE bool state_checkpoint(struct state *state, const char *name, struct err *err);

enum { STATE_BACKUP_TOPICS_MAX = 64, STATE_BACKUP_NAME_MAX = 256 };

struct state_backup_position {
    char topic[STATE_BACKUP_NAME_MAX];
    int32_t partition;
    int64_t next;
};

/* What a manifest says. */
struct state_backup {
    int format; /* of the store */
    int64_t taken_ms;
    char application_id[STATE_BACKUP_NAME_MAX], cluster_id[STATE_BACKUP_NAME_MAX];
    int n_partitions;
    char topics[STATE_BACKUP_TOPICS_MAX][STATE_BACKUP_NAME_MAX]; /* (n_topics) of events */
    int n_topics;
    struct state_backup_position *positions; /* (n_positions) owned */
    size_t n_positions;
    size_t n_files;
    uint64_t bytes;
};

void state_backup_fini(struct state_backup *backup);

/* Copies the database in from (files that nobody changes) to a new backup folder `to`, and checks it: every file, and every row
 * of every table decodes. Errors: ERR_FATAL exit 2 `to` exists or cannot be made, exit 3 the store is damaged, exit 7 disk. */
MUST_USE bool state_backup_write(const char *from, const char *to, int64_t now_ms,
                                 struct state_backup *backup, struct err *err);
/* Reads the manifest and holds every file against it. Errors: ERR_FATAL exit 2 no backup there, exit 3 not as it was taken. */
MUST_USE bool state_backup_check(const char *folder, struct state_backup *backup, struct err *err);
/* Makes the backup, which was checked, the store in `folder`, which has none. Errors: ERR_FATAL exit 3, 7. */
MUST_USE bool state_backup_restore(const char *backup, const char *folder, struct err *err);

/* Takes the database and what belongs to it away. The caller has the lock and releases it after. Errors: ERR_FATAL exit 7. */
MUST_USE bool state_remove(const char *folder, struct err *err);
/* Moves <folder>/db to <folder>/<name>. Errors: ERR_FATAL exit 7. */
MUST_USE bool state_set_aside(const char *folder, const char *name, struct err *err);

#endif
