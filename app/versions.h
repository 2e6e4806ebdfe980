#ifndef APP_VERSIONS_H
#define APP_VERSIONS_H

#include <stdbool.h>

#include "base/sync.h"

/* Something shared that is replaced while it is in use: the newest version and those before it that somebody still holds. Who uses one
 * moves a reference; making and freeing is the owner's.
 *
 *     owner   put -> newest ... unused -> free           holders   has_newer? -> take ... release
 *
 * Invariant: one that is the newest or held is never given out by versions_unused. Thread: any, but as said. */
struct version;
struct versions {
    struct sync_ptr newest; /* what has_newer compares with */
    struct mutex mutex;
    struct version *first; /* the newest, then those before it; guarded by mutex */
};

void versions_init(struct versions *versions); /* holds none */
/* Takes out all, held or not, and gives them to free_one. */
void versions_fini(struct versions *versions, void (*free_one)(void *what));
/* what is the newest from now on. One thread. */
void versions_put(struct versions *versions, void *what);
/* One that is neither the newest nor held, for the owner to free; NULL: there is none. */
void *versions_unused(struct versions *versions);

/* The newest, held until versions_release; there is one. */
void *versions_take(struct versions *versions);
/* Returns whether nobody holds it any more. */
bool versions_release(struct versions *versions, const void *what);
/* There is a newer one than `what`. One load. */
bool versions_has_newer(const struct versions *versions, const void *what);
/* The newest, not held: for the thread that puts, until its next put. */
void *versions_newest(const struct versions *versions);

#endif
