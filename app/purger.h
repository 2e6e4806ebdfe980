#ifndef APP_PURGER_H
#define APP_PURGER_H

#include <stdint.h>

#include "base/err.h"
#include "state/state.h"

/* A thread that brings the bytes of erased users out of the store's files soon after their epoch was written (state_purge). It is at
 * work for at most a tenth of the time: what comes meanwhile is purged together. */
struct purger;

MUST_USE bool purger_start(struct purger **purger, struct state *state, struct err *err);
int64_t purger_count(const struct purger *purger); /* users purged so far; any thread */
void purger_stop(struct purger *purger);           /* NULL is fine */

#endif
