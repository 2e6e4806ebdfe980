#ifndef APP_ERASERS_H
#define APP_ERASERS_H

#include "app/metrics.h"
#include "app/purger.h"
#include "app/redactor.h"

/* The threads behind erasures: what brings the bytes of forgotten users out of the store's files (app/purger.h), and their letters
 * out of the topic (app/redactor.h). Zeroed: none run. */
struct erasers {
    struct purger *purger;
    struct redactor *redactor;
};

/* Without erasures nothing is started. */
MUST_USE bool erasers_start(struct erasers *erasers, struct state *state,
                            const struct redactor_env *env, struct err *err);
void erasers_count(const struct erasers *erasers, struct counters_slot *slot);
/* Once the shards are gone: the last of what they wrote is purged. */
void erasers_stop(struct erasers *erasers);

#endif
