/* Adding up what shards counted, and the latency histogram. */
#include "app/stats.h"

#include <math.h>
#include <string.h>

static const double LATENCY_BASE_US = 100.0;

int stats_latency_bucket(int64_t us)
{
    if ((double)us <= LATENCY_BASE_US) return 0;
    int bucket = (int)ceil(8.0 * log2((double)us / LATENCY_BASE_US));
    return bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1;
}

double stats_latency_ms(const struct stats *stats, double q)
{
    uint64_t total = 0, seen = 0;
    for (int i = 0; i < LATENCY_BUCKETS; i++)
        total += stats->latency[i];
    if (total == 0) return 0.0;
    for (int i = 0; i < LATENCY_BUCKETS; i++) {
        seen += stats->latency[i];
        if ((double)seen >= q * (double)total) return LATENCY_BASE_US * exp2(i / 8.0) / 1000.0;
    }
    return 0.0;
}

static void quality_add(struct quality *sum, const struct quality *more)
{
    sum->events += more->events;
    for (int arm = 0; arm < 2; arm++) {
        sum->hits[arm] += more->hits[arm];
        sum->reciprocal[arm] += more->reciprocal[arm];
    }
}

void stats_add(struct stats *sum, const struct stats *more)
{
    sum->records += more->records;
    sum->events += more->events;
    sum->replayed += more->replayed;
    sum->duplicates += more->duplicates;
    sum->quiet += more->quiet;
    sum->late += more->late;
    sum->too_late += more->too_late;
    sum->lists += more->lists;
    sum->poison += more->poison;
    sum->steps += more->steps;
    sum->prefills += more->prefills;
    sum->epochs += more->epochs;
    sum->batches += more->batches;
    sum->allocations += more->allocations;
    if (more->first_ns && (!sum->first_ns || more->first_ns < sum->first_ns))
        sum->first_ns = more->first_ns;
    if (more->last_ns > sum->last_ns) sum->last_ns = more->last_ns;
    for (int i = 0; i < INGEST_REASON_COUNT; i++)
        sum->reasons[i] += more->reasons[i];
    for (int i = 0; i < STAGE_COUNT; i++)
        sum->stage_ns[i] += more->stage_ns[i];
    for (int i = 0; i < LATENCY_BUCKETS; i++)
        sum->latency[i] += more->latency[i];
    for (int i = 0; i < EVENT_TYPE_COUNT; i++)
        quality_add(&sum->quality[i], &more->quality[i]);
}

const char *stats_stage_name(enum stage stage)
{
    static const char *const names[] = {"poll+decode", "fold",    "neighbours", "encode",
                                        "rank",        "publish", "commit"};
    return names[stage];
}
