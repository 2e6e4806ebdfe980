#ifndef BASE_RECENT_H
#define BASE_RECENT_H

#include <stdint.h>

#include "base/counters.h"

/* What counters counted lately: they less a copy of what they were a while ago. Who counts knows nothing of it and pays nothing.
 *
 *   copies   [t-10s] [t-9s] ... [t-1s]     the oldest is taken off; a new one takes its place every `every_ms`
 *
 * Thread: one, the reader's. */
struct recent;

/* Windows of n_copies * every_ms, once so much time has passed. Counts up to now are not of the window. */
struct recent *recent_new(const struct counters *counters, int n_copies, int64_t every_ms,
                          int64_t now_ms);
void recent_free(struct recent *recent); /* NULL is fine */

/* Totals and latencies of the window that ends now, of the counters that recent_new was given; gauges and moments as they are.
 * Lives until the next call. now_ms: never less than before. */
const struct counters *recent_take(struct recent *recent, int64_t now_ms);
/* How long the window of the last call is, s. */
double recent_seconds(const struct recent *recent);

#endif
