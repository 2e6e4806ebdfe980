#ifndef APP_RESTORE_H
#define APP_RESTORE_H

#include <stdbool.h>
#include <stdint.h>

#include "app/metrics.h"
#include "app/settings.h"
#include "base/err.h"
#include "state/state.h"

/* Brings partitions to their newest point from the changelog, on a thread of its own, while other partitions run and HTTP answers.
 *
 *     assigned -> restore_begin -> (reads the rest of the changelog, or all of it) -> wake -> restore_take: it is at its newest point
 *     revoked  -> restore_end: the thread has let go of it
 *
 * With nothing missing that takes one look at the end of the log. What the log holds behind its last marker is of a writer that died
 * within an epoch; before the partition begins the rows it touched are put right in the log, and a marker behind them. A store that is
 * ahead of the log (the changelog was off, or is new) is written into it whole.
 *
 * Thread: the main thread's, but for what says otherwise. */
struct restore;

struct restore_env {
    const struct settings *settings;
    struct state *state;
    int n_partitions;
    /* On the restore thread: restore_take or restore_check has news. */
    void (*wake)(void *context);
    void *context;
};

/* Checks the topic and starts the thread. Errors: ERR_FATAL exit 4 unreachable, exit 5 the topic is missing, has other partitions, or is
 * not compacted. */
MUST_USE bool restore_open(struct restore **restore, const struct restore_env *env,
                           struct err *err);
/* The member of the group that we are; it lives until restore_stop. From then on copies are kept (num.standby.replicas). */
void restore_group(struct restore *restore, struct ingest *ingest);
void restore_begin(struct restore *restore, int32_t partition);
/* Waits until the thread has let go of the partition. Not begun: nothing to do. */
void restore_end(struct restore *restore, int32_t partition);
/* The next partition that is at its newest point; false: none. */
bool restore_take(struct restore *restore, int32_t *partition);
/* Errors: why it goes no further. ERR_FATAL exit 3 a record of the changelog is damaged, exit 4, 5, 7. */
MUST_USE bool restore_check(struct restore *restore, struct err *err);

/* Partitions that were begun and not taken. Any thread. */
int restore_waiting(struct restore *restore);

/* Into the slot of who calls. Any thread. */
void restore_count(struct restore *restore, struct counters_slot *slot);
/* Ends the thread: nothing is restored or copied any more, and restore_end does not wait. */
void restore_stop(struct restore *restore);
void restore_close(struct restore *restore); /* NULL is fine */

#endif
