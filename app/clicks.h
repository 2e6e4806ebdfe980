#ifndef APP_CLICKS_H
#define APP_CLICKS_H

#include <stdbool.h>
#include <stdint.h>

#include "app/sessions.h"
#include "app/settings.h"
#include "base/err.h"
#include "schemas/schemas.h"

/* Events of the shop as the server's own learning sees them: the newest ones of the events topics, then what comes, read on a
 * thread of its own and handed over as clicks. Nothing of it is stored: it is read again at each start.
 *
 * A user's session ends with a pause over session.gap.ms, as in the pipeline. Records that do not decode are counted and passed
 * over: the pipeline makes dead letters of them. */
struct clicks;

/* Errors: ERR_FATAL as ingest_follow_open. wake is called on the clicks' thread. */
MUST_USE bool clicks_open(struct clicks **clicks, const struct settings *settings,
                          struct schemas *schemas, void (*wake)(void *context), void *context,
                          struct err *err);
void clicks_close(struct clicks *clicks); /* NULL is fine */
/* Gives what waits to the sessions, at most for max_ns; true: more waits. Server's thread. */
bool clicks_give(struct clicks *clicks, struct sessions *sessions, uint64_t max_ns);
/* What was there at the start has been given; true from then on, whatever waits. Server's thread. */
bool clicks_is_caught_up(struct clicks *clicks);
int64_t clicks_refused(const struct clicks *clicks); /* records that are no events. Any thread */

/* The same from a log file, at once (`freshet serve --sessions`): each row is a click of the session that its user column names.
 * Errors: ERR_FATAL exit 2. */
MUST_USE bool clicks_load(struct sessions *sessions, const struct settings *settings,
                          const char *path, const char *format, struct err *err);

#endif
