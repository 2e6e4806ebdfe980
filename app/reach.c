/* A copy of the store against the topics that its events came from. */
#include "app/reach.h"

#include <inttypes.h>
#include <string.h>

#include "base/mem.h"

enum { TIMEOUT_MS = 15000 };

/* The log of one topic of the backup. */
struct log_bounds {
    int64_t *begin, *end; /* (n_partitions) owned */
};

static bool bounds_ask(const struct settings *settings, const char *topic, int n_partitions,
                       struct log_bounds *bounds, struct err *err)
{
    bounds->begin = mem_alloc((size_t)n_partitions * sizeof *bounds->begin);
    bounds->end = mem_alloc((size_t)n_partitions * sizeof *bounds->end);
    return kafka_offsets(&settings->kafka, topic, n_partitions, KAFKA_AT_BEGIN, bounds->begin,
                         TIMEOUT_MS, err) &&
           kafka_offsets(&settings->kafka, topic, n_partitions, KAFKA_AT_END, bounds->end,
                         TIMEOUT_MS, err);
}

static bool position_check(const struct state_backup_position *at, const struct log_bounds *bounds,
                           bool begins, int64_t *to_read, struct err *err)
{
    int64_t begin = bounds->begin[at->partition], end = bounds->end[at->partition];
    if (begins && at->next < begin)
        return err_fatal(err, ERR_EXIT_TOPIC,
                         "the log no longer reaches back to this backup: %s partition %d begins at "
                         "%" PRId64 ", the backup goes on at %" PRId64
                         ": use a younger backup, or none (move the state folder away: it is built "
                         "anew from what the topics hold)",
                         at->topic, (int)at->partition, begin, at->next);
    if (at->next > end)
        return err_fatal(err, ERR_EXIT_TOPIC,
                         "the backup is of another log: %s partition %d ends at %" PRId64
                         ", the backup goes on at %" PRId64 ": was the topic made anew?",
                         at->topic, (int)at->partition, end, at->next);
    *to_read += end - at->next;
    return true;
}

/* Each position of one topic. A topic that is no longer read does not matter. */
static bool topic_check(const struct settings *settings, const struct state_backup *backup,
                        const char *topic, bool begins, int64_t *to_read, struct err *err)
{
    struct log_bounds bounds = {0};
    bool ok = bounds_ask(settings, topic, backup->n_partitions, &bounds, err);
    for (size_t i = 0; ok && i < backup->n_positions; i++)
        if (strcmp(backup->positions[i].topic, topic) == 0 &&
            backup->positions[i].partition < backup->n_partitions)
            ok = position_check(&backup->positions[i], &bounds, begins, to_read, err);
    mem_free(bounds.begin);
    mem_free(bounds.end);
    return ok;
}

bool reach_check(const struct settings *settings, const struct state_backup *backup, bool begins,
                 int64_t *to_read, struct err *err)
{
    *to_read = 0;
    for (int i = 0; i < settings->n_sources; i++)
        if (!topic_check(settings, backup, settings->topics[i], begins, to_read, err)) return false;
    return true;
}
