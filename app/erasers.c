/* Both threads' lives. */
#include "app/erasers.h"

bool erasers_start(struct erasers *erasers, struct state *state, const struct redactor_env *env,
                   struct err *err)
{
    if (env->settings->erasures_at < 0) return true;
    return purger_start(&erasers->purger, state, err) &&
           redactor_start(&erasers->redactor, env, err);
}

void erasers_count(const struct erasers *erasers, struct counters_slot *slot)
{
    if (erasers->purger) counters_set(slot, METRIC_PURGED, 0, purger_count(erasers->purger));
    if (erasers->redactor)
        counters_set(slot, METRIC_REDACTED, 0, redactor_count(erasers->redactor));
}

void erasers_stop(struct erasers *erasers)
{
    redactor_stop(erasers->redactor);
    purger_stop(erasers->purger);
    *erasers = (struct erasers){0};
}
