#ifndef BASE_COUNTERS_H
#define BASE_COUNTERS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Counters of the whole program from one table, which drives counting, the text of /metrics and its help lines.
 *
 * Each thread has a slot of its own: it alone writes there, with plain moves, and a reader adds up all slots. So counting
 * costs no locked instruction and no shared cache line. Labels take their values from lists in the table: nothing from
 * outside becomes a label, and memory is fixed when the counters are made.
 *
 * Histograms are log-linear (as in HdrHistogram): 16 buckets to each doubling, so a quantile is at most 1/16 too large. */

enum counter_type {
    COUNTER_TOTAL,    /* only grows; the name ends in _total */
    COUNTER_GAUGE,    /* a level; the slots' levels add up */
    COUNTER_EARLIEST, /* a moment, 0 not yet; the earliest of the slots'; _timestamp_seconds */
    COUNTER_LATEST,   /* the same, the latest */
    COUNTER_LATENCY,  /* a histogram of microseconds; the name ends in _seconds */
};

struct counter_label {
    const char *name; /* "reason"; NULL: no such label */
    /* Of 0 to n-1; lives for ever. NULL, in the first label: what has this value is not shown. */
    const char *(*value)(int);
    int n;
};

struct counter_spec {
    const char *name; /* "freshet_events_total" */
    const char *help; /* one sentence */
    enum counter_type type;
    /* The numbers called `label` below are value of labels[0] * labels[1].n + value of labels[1]; 0 without labels. */
    struct counter_label labels[2];
    double
        unit; /* one of what is counted, in the unit of the name: 1e-9 for nanoseconds; 0: 1. Latencies: 0 */
};

struct counters;
struct counters_slot; /* of one thread */

/* specs and what they point to outlive the counters. slots: threads that count. */
struct counters *counters_new(const struct counter_spec *specs, int n_specs, int n_slots);
void counters_free(struct counters *counters);
/* Lives as long as the counters. */
struct counters_slot *counters_slot(struct counters *counters, int slot);

/* The slot's thread only. spec: index into the table. Whoever sees a count also sees what the thread counted before it. */
void counters_add(struct counters_slot *slot, int spec, int label, int64_t delta); /* totals */
/* All but latencies; a total only by who knows the whole of it, and never lower. */
void counters_set(struct counters_slot *slot, int spec, int label, int64_t level);
void counters_observe(struct counters_slot *slot, int spec, int label,
                      int64_t us); /* latencies; below 0 counts as 0 */

/* Any thread; a moment old. */
int64_t counters_get(const struct counters *counters, int spec,
                     int label); /* latencies: how many were observed */
/* The same over all labels; totals, gauges, latencies. */
int64_t counters_sum(const struct counters *counters, int spec);
/* counters_get in the unit of the name. */
double counters_value(const struct counters *counters, int spec, int label);
/* The q-quantile (0..1) in us: the largest value of its bucket; 0 when nothing was observed. */
int64_t counters_quantile(const struct counters *counters, int spec, int label, double q);
/* Prometheus' text format, version 0.0.4, in the units of the names; latencies in seconds. */
void counters_render(const struct counters *counters, struct buf *out);

/* Counters with one slot serve as a copy of others of the same table. into: nobody else's. */
struct counters *counters_like(const struct counters *from); /* such ones, all 0 */
void counters_copy(struct counters *into, const struct counters *from);
/* Leaves what totals and latencies counted since `earlier`, a copy; other types stay as they are now. */
void counters_subtract(struct counters *into, const struct counters *earlier);

#endif
