#ifndef APP_OWNER_H
#define APP_OWNER_H

#include "app/settings.h"
#include "app/snapshots.h"
#include "base/err.h"
#include "state/state.h"

/* What the store of a configuration must belong to, as the cluster says now: for verbs that work on the store without the
 * pipeline. Borrows from the settings. */
struct owner {
    char cluster_id[64];
    struct state_identity identity;
};

/* The same of what is known already. Borrows from both. */
struct state_identity owner_identity(const struct settings *settings, const char *cluster_id,
                                     int n_partitions);

/* Errors: ERR_FATAL exit 4 unreachable, exit 5 an events topic is missing or has another number of partitions. */
MUST_USE bool owner_ask(struct owner *owner, const struct settings *settings, struct err *err);

/* Opens the store for writing; without one, from the newest snapshot that is of use. *snapshots: NULL when none are taken; whoever closes the
 * store closes them first, also after a failure. Errors: as snapshots_open, snapshots_restore, state_open. */
MUST_USE bool owner_store_open(const struct settings *settings, const char *cluster_id,
                               int n_partitions, int state_floats, struct snapshots **snapshots,
                               struct state **state, struct err *err);

#endif
