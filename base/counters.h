#ifndef BASE_COUNTERS_H
#define BASE_COUNTERS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Counters of the whole program from one table, which drives counting, the text of /metrics and its help lines.
 *
 * Each thread has a slot of its own: it alone writes there, with plain moves, and a reader adds up all slots. So counting
 * costs no locked instruction and no shared cache line. A label takes its values from a list in the table: nothing from
 * outside becomes a label, and memory is fixed when the counters are made.
 *
 * Histograms are log-linear (as in HdrHistogram): 16 buckets to each doubling, so a quantile is at most 1/16 too large. */

enum counter_type {
    COUNTER_TOTAL,   /* only grows; the name ends in _total */
    COUNTER_GAUGE,   /* a level; the slots' levels add up */
    COUNTER_LATENCY, /* a histogram of microseconds; the name ends in _seconds */
};

struct counter_spec {
    const char *name; /* "freshet_events_total" */
    const char *help; /* one sentence */
    enum counter_type type;
    const char *label;               /* "reason", or NULL: no label */
    const char *const *label_values; /* (n_label_values) */
    int n_label_values;              /* 0 without a label */
};

struct counters;
struct counters_slot; /* of one thread */

/* specs and what they point to outlive the counters. slots: threads that count. */
struct counters *counters_new(const struct counter_spec *specs, int n_specs, int n_slots);
void counters_free(struct counters *counters);
/* Lives as long as the counters. */
struct counters_slot *counters_slot(struct counters *counters, int slot);

/* The slot's thread only. spec: index into the table; label: index into its values, 0 without a label. */
void counters_add(struct counters_slot *slot, int spec, int label, int64_t delta);
void counters_set(struct counters_slot *slot, int spec, int label, int64_t level); /* gauges */
void counters_observe(struct counters_slot *slot, int spec, int label,
                      int64_t us); /* latencies; below 0 counts as 0 */

/* Any thread; a moment old. */
int64_t counters_get(const struct counters *counters, int spec,
                     int label); /* latencies: how many were observed */
/* The q-quantile (0..1) in us: the largest value of its bucket; 0 when nothing was observed. */
int64_t counters_quantile(const struct counters *counters, int spec, int label, double q);
/* Prometheus' text format, version 0.0.4; latencies in seconds. */
void counters_render(const struct counters *counters, struct buf *out);

#endif
