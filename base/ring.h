#ifndef BASE_RING_H
#define BASE_RING_H

#include <stdbool.h>
#include <stddef.h>

/* A bounded queue between two threads: one pushes, one pops, nobody locks. Records have a fixed size and are copied in and
 * out; a ring of pointers is a ring of records of sizeof(void *), and hands over what they point to.
 *
 * Invariants: 0 <= pushed - popped <= capacity; records come out in the order they went in; what the pusher wrote before
 * the push is seen by the popper after the pop. */
struct ring;

/* capacity: records, rounded up to a power of two. */
struct ring *ring_new(size_t record_bytes, size_t capacity);
void ring_free(struct ring *ring); /* both threads are done with it; records inside are forgotten */

/* Pushing thread. false: the ring is full, or closed. */
bool ring_push(struct ring *ring, const void *record);
/* Popping thread. false: nothing there now; with ring_is_closed() seen true *before* the call, nothing will ever be. */
bool ring_pop(struct ring *ring, void *record);
/* No more pushes; what is inside can still be popped. Either thread, any number of times. */
void ring_close(struct ring *ring);
bool ring_is_closed(const struct ring *ring);
/* Records inside: exact for the caller's own end, a moment old for the other. Any thread. */
size_t ring_count(const struct ring *ring);

#endif
