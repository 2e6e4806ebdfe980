#ifndef APP_SNAPSHOTS_H
#define APP_SNAPSHOTS_H

#include <stdbool.h>

#include "app/metrics.h"
#include "app/settings.h"
#include "base/err.h"
#include "state/state.h"

/* Snapshots of the process's store (state/snapshot.h): one every statestore.snapshot.interval.ms on a thread of its own, the newest
 * statestore.snapshot.keep stay. At a start without a store the newest one that is sound, of this application, cluster and topics, and that the
 * topics (or the changelog) still reach back to, becomes the store; the others are passed over with a warning.
 *
 *     snapshots_open -> snapshots_restore -> (the store is opened) -> snapshots_start -> snapshots_close -> (it is closed)
 *
 * Thread: the main thread's. */
struct snapshots;

/* The folder is ours: one process has it at a time. Errors: ERR_FATAL exit 2, 3, 7. */
MUST_USE bool snapshots_open(struct snapshots **snapshots, const struct settings *settings,
                             struct err *err);
/* Nothing to do while there is a store. Never without one that is whole: if all are passed over there is none, as before. Errors: ERR_FATAL
 * exit 4 unreachable, exit 7 disk. */
MUST_USE bool snapshots_restore(struct snapshots *snapshots, const struct state_identity *identity,
                                struct err *err);
/* is_settled: whether the store is worth a snapshot now; any thread. snapshots NULL: nothing to do. Errors: ERR_FATAL. */
MUST_USE bool snapshots_start(struct snapshots *snapshots, struct state *state,
                              bool (*is_settled)(void *context), void *context, struct err *err);
/* Into the slot of who calls. NULL is fine. */
void snapshots_count(struct snapshots *snapshots, struct counters_slot *slot);
void snapshots_close(struct snapshots *snapshots); /* NULL is fine */

/* Takes all away, for a store that begins again. dry: only counts. *n: how many there were. Errors: ERR_FATAL exit 3 a process is at work, exit 7. */
MUST_USE bool snapshots_remove(const struct settings *settings, bool dry, int *n, struct err *err);

#endif
