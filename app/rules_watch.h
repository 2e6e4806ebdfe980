#ifndef APP_RULES_WATCH_H
#define APP_RULES_WATCH_H

#include "app/rules.h"

/* The rules in use, and those that take their place when the file changes. One thread (the main one) looks at the file; shards
 * take and let go, as with models (app/models.h). Rules are freed when they are not the newest and nobody holds them. */
struct rules_watch;

struct rules_watch_counts {
    int64_t loaded, refused; /* files that took the place of another; files with errors */
};

/* interval_ms between two looks, 0: only rules_watch_reload looks. Errors: ERR_FATAL exit 2, as rules_load. */
MUST_USE bool rules_watch_open(struct rules_watch **watch, const char *path, int64_t interval_ms,
                               struct err *err);
void rules_watch_close(struct rules_watch *watch); /* everybody has let go; NULL is fine */

/* The main thread's. A changed file is loaded; one with errors is logged with its line, and the rules in use stay. */
void rules_watch_serve(struct rules_watch *watch, int64_t now_ms);
void rules_watch_reload(struct rules_watch *watch);

/* Any thread. */
const struct rules *rules_watch_take(struct rules_watch *watch);
void rules_watch_release(struct rules_watch *watch, const struct rules *rules);
bool rules_watch_has_newer(const struct rules_watch *watch, const struct rules *rules);
struct rules_watch_counts rules_watch_counts(const struct rules_watch *watch);

#endif
