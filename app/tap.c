/* A small ring of list copies between the shards and a view. */
#include "app/tap.h"

#include "base/mem.h"
#include "base/sync.h"

struct tap {
    struct mutex mutex;
    struct tap_list *lists; /* (capacity) guarded by mutex, as all below */
    int capacity, first, n;
};

struct tap *tap_new(int capacity)
{
    struct tap *tap = mem_zalloc(sizeof *tap);
    mutex_init(&tap->mutex);
    tap->lists = mem_zalloc((size_t)capacity * sizeof *tap->lists);
    tap->capacity = capacity;
    return tap;
}

void tap_free(struct tap *tap)
{
    if (!tap) return;
    mutex_fini(&tap->mutex);
    mem_free(tap->lists);
    mem_free(tap);
}

void tap_put(struct tap *tap, const struct tap_list *list)
{
    mutex_lock(&tap->mutex);
    if (tap->n < tap->capacity) tap->lists[(tap->first + tap->n++) % tap->capacity] = *list;
    mutex_unlock(&tap->mutex);
}

bool tap_take(struct tap *tap, struct tap_list *list)
{
    mutex_lock(&tap->mutex);
    bool any = tap->n > 0;
    if (any) {
        *list = tap->lists[tap->first];
        tap->first = (tap->first + 1) % tap->capacity;
        tap->n--;
    }
    mutex_unlock(&tap->mutex);
    return any;
}
