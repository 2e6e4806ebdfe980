#ifndef APP_REACH_H
#define APP_REACH_H

#include "app/settings.h"
#include "base/err.h"
#include "state/state.h"

/* Whether the topics hold what came after a copy of the store (its positions), so that it can become the store. begins false: what their
 * beginnings no longer hold comes from elsewhere, a changelog. *to_read: records that came since. Errors: ERR_FATAL exit 4 unreachable,
 * exit 5 they do not, or they are of another log. */
MUST_USE bool reach_check(const struct settings *settings, const struct state_backup *backup,
                          bool begins, int64_t *to_read, struct err *err);

#endif
