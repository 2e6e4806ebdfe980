#ifndef APP_REDACTOR_H
#define APP_REDACTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "app/settings.h"
#include "base/err.h"

/* A thread that brings the dead letters of forgotten users out of their topic (whose letter it is: app/redact_names.h; how it goes:
 * app/redact_letters.h).
 *
 * It looks every few seconds whether requests were answered: the group of the application has committed their places in the erasures
 * topic, so what the events before them left is in the topic of letters. And whether letters came: a late one may be of somebody who was
 * forgotten within erasure.guard.ms. How far it is itself stands in the offsets of a group of its own, "<application.id>-dead-letters", of both
 * topics; they move when the bytes of all letters can leave the broker's files, too. One process of the application does it, the one
 * that has partition 0. At work for at most a tenth of the time; to wait for a broker is no work. */
struct redactor;

struct redactor_env {
    const struct settings *settings;
    struct schemas *schemas;
    int n_partitions;             /* of the erasures topic */
    bool (*leads)(void *context); /* this process is the one */
    void *context;
};

MUST_USE bool redactor_start(struct redactor **redactor, const struct redactor_env *env,
                             struct err *err);
/* Letters that went or lost their bytes so far. Any thread. */
int64_t redactor_count(const struct redactor *redactor);
/* NULL is fine. Within half a minute, also without a broker. */
void redactor_stop(struct redactor *redactor);

#endif
