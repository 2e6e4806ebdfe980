#ifndef APP_CHECKPOINTS_H
#define APP_CHECKPOINTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/sync.h"
#include "state/state.h"

/* A copy of the store asked of the process that owns it, through its folder: RocksDB lets nobody else take one.
 *
 *     freshet backup                                        freshet run, looks every CHECKPOINTS_EVERY_MS
 *     <folder>/checkpoint-wanted (holds a name)  ---------> reads and removes it
 *     waits for <folder>/<name>                  <--------- state_checkpoint: links and a copied log, synced
 *            or <folder>/<name>.failed (why)     <---------
 *     copies it elsewhere, removes it
 *
 * Works from any process that sees the folder, also from another container. */

enum { CHECKPOINTS_EVERY_MS = 250, CHECKPOINTS_NAME_MAX = 80 };

/* The owner's side. One is made at a time, on a thread of its own: it waits for the disk, and the main thread answers HTTP. */
struct checkpoints {
    struct state *state;
    const char *folder; /* borrowed */
    int64_t looked_ms;
    struct thread thread;
    bool is_running; /* the thread was started and not joined */
    struct flag done;
    char name[CHECKPOINTS_NAME_MAX];
};

/* Zeroed at first. Never fails: what went wrong is said to who asked and logged. */
void checkpoints_serve(struct checkpoints *checkpoints, struct state *state, const char *folder,
                       int64_t now_ms);
/* Waits for one that is being made. Before the state is closed. */
void checkpoints_close(struct checkpoints *checkpoints);

enum { CHECKPOINTS_PATH_MAX = 4096 };
/* The asking side: path is the copy, a database that nobody changes. Errors: ERR_FATAL exit 3 no answer within timeout_ms, or
 * the owner's refusal. */
MUST_USE bool checkpoint_ask(const char *folder, int timeout_ms, char path[CHECKPOINTS_PATH_MAX],
                             struct err *err);
/* Takes checkpoints away that are left in the folder, this one or others. */
void checkpoints_remove(const char *folder);

#endif
