/* A single-producer single-consumer ring after Lamport (1983), with each side's last view of the other cached, so that
 * an index crosses between cores only when the cached view is used up (as in folly and FastForward). */
#include "base/ring.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "base/sync.h"

enum { RING_LINE = 64 }; /* bytes of a cache line */

/* Indices count records ever pushed or popped; the place is the index modulo capacity. */
struct ring {
    /* Set once. */
    unsigned char *records; /* (capacity, record_bytes) */
    size_t record_bytes;
    size_t capacity; /* power of two */
    struct flag closed;
    unsigned char pad_shared[RING_LINE];
    /* The pusher's line. */
    struct sync_int pushed;
    int64_t popped_seen; /* the pusher's last look at popped */
    unsigned char pad_pusher[RING_LINE];
    /* The popper's line. */
    struct sync_int popped;
    int64_t pushed_seen; /* the popper's last look at pushed */
    unsigned char pad_popper[RING_LINE];
};

struct ring *ring_new(size_t record_bytes, size_t capacity)
{
    assert(record_bytes > 0 && capacity > 0);
    size_t rounded = 1;
    while (rounded < capacity)
        rounded *= 2;
    struct ring *ring = mem_aligned(RING_LINE, sizeof(*ring));
    ring->record_bytes = record_bytes;
    ring->capacity = rounded;
    ring->records = mem_alloc(rounded * record_bytes);
    return ring;
}

void ring_free(struct ring *ring)
{
    if (ring == NULL) return;
    mem_free(ring->records);
    mem_free(ring);
}

static unsigned char *ring_place(const struct ring *ring, int64_t index)
{
    return ring->records + ((size_t)index & (ring->capacity - 1)) * ring->record_bytes;
}

bool ring_push(struct ring *ring, const void *record)
{
    if (flag_is_raised(&ring->closed)) return false;
    int64_t at = sync_int_get(&ring->pushed);
    if (at - ring->popped_seen == (int64_t)ring->capacity) {
        ring->popped_seen = sync_int_get_acquire(&ring->popped);
        if (at - ring->popped_seen == (int64_t)ring->capacity) return false;
    }
    memcpy(ring_place(ring, at), record, ring->record_bytes);
    sync_int_set_release(&ring->pushed, at + 1);
    return true;
}

bool ring_pop(struct ring *ring, void *record)
{
    int64_t at = sync_int_get(&ring->popped);
    if (at == ring->pushed_seen) {
        ring->pushed_seen = sync_int_get_acquire(&ring->pushed);
        if (at == ring->pushed_seen) return false;
    }
    memcpy(record, ring_place(ring, at), ring->record_bytes);
    sync_int_set_release(&ring->popped, at + 1);
    return true;
}

void ring_close(struct ring *ring)
{
    flag_raise(&ring->closed);
}

bool ring_is_closed(const struct ring *ring)
{
    return flag_is_raised(&ring->closed);
}

size_t ring_count(const struct ring *ring)
{
    /* popped is read first: it only grows, so pushed - popped cannot come out negative. */
    int64_t popped = sync_int_get_acquire(&ring->popped);
    int64_t pushed = sync_int_get_acquire(&ring->pushed);
    int64_t count = pushed - popped;
    return (size_t)(count > (int64_t)ring->capacity ? (int64_t)ring->capacity : count);
}
