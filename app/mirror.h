#ifndef APP_MIRROR_H
#define APP_MIRROR_H

#include <stdbool.h>
#include <stdint.h>

#include "app/settings.h"
#include "base/err.h"
#include "state/state.h"

/* Keeps the view of the output topics up to date on a thread of its own, and tells the server what changed.
 *
 *     own thread      follow -> view: put, write -> changes -> wake
 *     server's thread mirror_take ... ; reads the view at any time
 *
 * A change is told after it can be read. Topics that do not exist are left out, with a warning; that of the lists must exist. */
struct mirror;

enum mirror_kind {
    MIRROR_RECORD,
    MIRROR_RELOAD, /* rows of the family have gone: what was made of it is to be made from the view again */
};

struct mirror_change {
    enum mirror_kind kind;
    enum state_view_family family;
    int64_t timestamp_ms;
    struct str key, value; /* value.ptr NULL: a tombstone; live until mirror_done */
};

struct mirror_options {
    const struct settings *settings;
    const char *folder; /* of the view */
    /* There are changes, it is caught up, or it failed. Called on the mirror's thread. */
    void (*wake)(void *context);
    void *context;
};

/* Opens the view and begins to read; changes come from mirror_start on. Errors: ERR_FATAL as state_view_open and
 * ingest_follow_open. */
MUST_USE bool mirror_open(struct mirror **mirror, const struct mirror_options *options,
                          struct err *err);
MUST_USE bool mirror_start(struct mirror *mirror, struct err *err);
void mirror_close(struct mirror *mirror); /* NULL is fine */

struct state_view *mirror_view(const struct mirror *mirror);
/* Changes of the catalogue are always told, those of the other families while somebody wants them. Any thread. */
void mirror_tell_all(struct mirror *mirror, bool is_wanted);
/* The next changes, n of them; false: none wait. To be given back by mirror_done. Server's thread. */
bool mirror_take(struct mirror *mirror, struct mirror_change **changes, int *n);
void mirror_done(struct mirror_change *changes);

/* All that the topics held at the start can be read. Any thread. */
bool mirror_is_caught_up(const struct mirror *mirror);
int64_t mirror_lag(const struct mirror *mirror);
int64_t mirror_records(const struct mirror *mirror); /* read so far */
/* false: it failed for good, and err says why. Any thread. */
bool mirror_is_running(struct mirror *mirror, struct err *err);

#endif
