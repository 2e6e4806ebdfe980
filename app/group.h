#ifndef APP_GROUP_H
#define APP_GROUP_H

#include <stdbool.h>

#include "app/committer.h"
#include "app/settings.h"
#include "app/shard.h"
#include "base/err.h"
#include "emit/emit.h"
#include "ingest/ingest.h"

/* The thread that stands in the consumer group for the process: it takes events of the group, gives partitions to the shards and
 * takes them back, and begins again after a lost transaction, or when the process stood still. All of that waits, for brokers, shards and
 * disks; the main thread, which answers HTTP, does not.
 *
 *     turn:  ingest_serve -> shards, committer and producer are well, else recover -> env.turned
 *
 * Threads: ingest's "main thread" is this one from group_start to group_stop. All functions here: the main thread. */
struct group;

struct group_env {
    const struct settings *settings;
    struct ingest *ingest;
    struct emit *emit;
    struct committer *committer; /* NULL: at_least_once */
    struct shard **shards;       /* (settings->shards) */
    const struct counters *counters;
    /* On the group's thread, after each turn, five times a second and more often. Errors: as group_check. */
    bool (*turned)(void *context, struct err *err);
    /* Called once, on the group's thread, when it can go no further. */
    void (*failed)(void *context);
    void *context;
};

MUST_USE bool group_start(struct group **group, const struct group_env *env, struct err *err);
/* A shard or the committer has failed: it looks at once. Any thread. */
void group_wake(struct group *group);
/* Errors: ERR_FATAL, why it goes no further. */
MUST_USE bool group_check(struct group *group, struct err *err);
/* What was under way is being done again. Any thread. */
bool group_is_recovering(const struct group *group);
/* Ends the thread; a wait for brokers ends within some 10 s. */
void group_stop(struct group *group);
void group_free(struct group *group); /* NULL is fine; after group_stop */

#endif
