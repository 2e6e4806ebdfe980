/* Versions of something shared, in a list from the newest to the oldest. */
#include "app/versions.h"

#include "base/mem.h"

struct version {
    struct version *older;
    void *what;
    int holders;
};

void versions_init(struct versions *versions)
{
    *versions = (struct versions){.first = NULL};
    mutex_init(&versions->mutex);
}

void versions_fini(struct versions *versions, void (*free_one)(void *what))
{
    for (struct version *version = versions->first, *older; version; version = older) {
        older = version->older;
        free_one(version->what);
        mem_free(version);
    }
    mutex_fini(&versions->mutex);
}

void versions_put(struct versions *versions, void *what)
{
    struct version *version = mem_zalloc(sizeof *version);
    version->what = what;
    mutex_lock(&versions->mutex);
    version->older = versions->first;
    versions->first = version;
    sync_ptr_set_release(&versions->newest, what);
    mutex_unlock(&versions->mutex);
}

void *versions_unused(struct versions *versions)
{
    struct version *unused = NULL;
    mutex_lock(&versions->mutex);
    struct version **link = versions->first ? &versions->first->older : NULL;
    while (link && *link && (*link)->holders > 0)
        link = &(*link)->older;
    if (link && *link) {
        unused = *link;
        *link = unused->older;
    }
    mutex_unlock(&versions->mutex);
    void *what = unused ? unused->what : NULL;
    mem_free(unused);
    return what;
}

void *versions_take(struct versions *versions)
{
    mutex_lock(&versions->mutex);
    struct version *version = versions->first;
    version->holders++;
    mutex_unlock(&versions->mutex);
    return version->what;
}

bool versions_release(struct versions *versions, const void *what)
{
    mutex_lock(&versions->mutex);
    struct version *version = versions->first;
    while (version->what != what)
        version = version->older;
    bool is_free = --version->holders == 0;
    mutex_unlock(&versions->mutex);
    return is_free;
}

bool versions_has_newer(const struct versions *versions, const void *what)
{
    return sync_ptr_get_acquire(&versions->newest) != what;
}

void *versions_newest(const struct versions *versions)
{
    return sync_ptr_get_acquire(&versions->newest);
}
