/* Assignment: which partitions are ours, where each begins, and handing them to the shards. Main thread only.
 *
 * The protocol is eager (`range`): a rebalance takes every partition away, then gives the new set. A partition goes
 *
 *     not ours --assigned (start set, then generation)--> ours --revoked (generation 0)--> not ours
 *
 * A shard may still have records of an assignment that ended: librdkafka drops them by its own version number when they
 * are taken from the queue, and the shard drops what is left by the generation. */
#include "ingest/internal.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

enum { WATERMARK_MS = 30000, WATERMARK_PAUSE_MS = 50 };

/* ---- where a partition begins ---- */

/* First and next offset of the log. A leader that moves, or is not known yet, is asked again. */
static bool log_ask(struct ingest *ingest, int topic, int32_t partition, int64_t *low,
                    int64_t *high, struct err *err)
{
    const char *name = ingest->topics[topic];
    uint64_t until = clock_mono_ns() + (uint64_t)WATERMARK_MS * 1000000;
    for (;;) {
        rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(ingest->client, name, partition,
                                                                    low, high, WATERMARK_MS);
        if (!code) return true;
        (void)kafka_err_set(err, code, NULL, "cannot ask for the offsets of %s/%d", name,
                            (int)partition);
        bool passes = err->class == ERR_RETRY || err->exit_code == ERR_EXIT_UNREACHABLE;
        if (!passes || clock_mono_ns() > until) return false;
        sync_sleep_ms(WATERMARK_PAUSE_MS);
    }
}

/* Turns the store's position (-1 none) into the offset to start at. A position outside the log is a gap (I3). */
static bool start_find(struct ingest *ingest, int topic, int32_t partition, int64_t *next,
                       struct err *err)
{
    const char *name = ingest->topics[topic];
    int64_t low = 0, high = 0;
    if (!log_ask(ingest, topic, partition, &low, &high, err)) return false;
    if (*next < 0) {
        bool at_end = ingest->options.start == INGEST_LATEST && !ingest__is_raw(ingest, topic);
        *next = at_end ? high : low;
        return true;
    }
    if (*next >= low && *next <= high) return true;
    if (ingest->options.on_gap == GAP_ACCEPT) {
        log_warn("ingest",
                 "the position is outside the log; going on at its beginning, as "
                 "on.offset.gap=accept says",
                 "topic=%s partition=%d position=%" PRId64 " low=%" PRId64 " high=%" PRId64, name,
                 (int)partition, *next, low, high);
        *next = low;
        return true;
    }
    if (*next < low)
        return err_fatal(err, ERR_EXIT_TOPIC,
                         "%s/%d: the store's position is %" PRId64
                         ", but the log begins at %" PRId64 ": %" PRId64
                         " records are gone by retention: move the state folder aside to "
                         "start over, on.offset.gap=accept goes on behind the hole",
                         name, (int)partition, *next, low, low - *next);
    return err_fatal(
        err, ERR_EXIT_TOPIC,
        "%s/%d: the store's position is %" PRId64 ", but the log ends at %" PRId64
        ": the topic was created again, or lost records: move the state folder aside to "
        "start over, on.offset.gap=accept reads it from the beginning",
        name, (int)partition, *next, high);
}

/* ---- assigning ---- */

static rd_kafka_topic_partition_t *find(rd_kafka_topic_partition_list_t *list, const char *topic,
                                        int32_t partition)
{
    return rd_kafka_topic_partition_list_find(list, topic, partition);
}

/* Every topic's partition of one number, together: asks the application, then sets start and generation. */
static bool partition_assign(struct ingest *ingest, rd_kafka_topic_partition_list_t *list,
                             int32_t partition, struct err *err)
{
    const struct ingest_options *options = &ingest->options;
    for (int t = 0; t < options->n_topics; t++) {
        if (!find(list, ingest->topics[t], partition))
            return err_fatal(err, ERR_EXIT_TOPIC,
                             "partition %d of topic '%s' went to another process than that of "
                             "'%s': every member of "
                             "group '%s' must read the same topics with the `range` assignor",
                             (int)partition, ingest->topics[t], ingest->topics[0],
                             options->group_id);
        ingest->next[t] = -1;
    }
    if (!ingest->callbacks.assigned(ingest->callbacks.context, partition, ingest->next, err))
        return false;
    ingest->owned[partition] = true;
    for (int t = 0; t < options->n_topics; t++) {
        struct ingest__slot *slot = ingest__slot(ingest, t, partition);
        if (!start_find(ingest, t, partition, &ingest->next[t], err)) return false;
        find(list, ingest->topics[t], partition)->offset = ingest->next[t];
        slot->committed = -1;
        sync_int_set(&slot->commit, -1);
        sync_int_set(&slot->passed, -1);
        sync_int_set(&slot->start, ingest->next[t]);
        sync_int_set_release(&slot->generation, ingest->generation);
        log_debug("ingest", "partition assigned", "topic=%s partition=%d shard=%d start=%" PRId64,
                  ingest->topics[t], (int)partition, (int)(partition % options->shards),
                  ingest->next[t]);
    }
    return true;
}

void ingest__queue_forward(struct ingest *ingest, const rd_kafka_topic_partition_t *part)
{
    rd_kafka_queue_t *queue =
        rd_kafka_queue_get_partition(ingest->client, part->topic, part->partition);
    assert(queue);
    rd_kafka_queue_forward(queue, ingest->shards[part->partition % ingest->options.shards].queue);
    rd_kafka_queue_destroy(queue);
}

static bool assign(struct ingest *ingest, rd_kafka_topic_partition_list_t *list, struct err *err)
{
    ingest->generation++;
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *part = &list->elems[i];
        int topic = ingest__topic_index(ingest, part->topic);
        if (topic < 0 || part->partition < 0 || part->partition >= ingest->partitions)
            return err_fatal(err, ERR_EXIT_TOPIC,
                             "topic '%s' has a partition %d now and had %d partitions at start: "
                             "partitions were added, which moves users to other partitions; move "
                             "the state folder aside to start over",
                             part->topic, (int)part->partition, ingest->partitions);
    }
    for (int i = 0; i < list->cnt; i++) {
        int32_t partition = list->elems[i].partition;
        if (ingest->owned[partition]) continue;
        if (!partition_assign(ingest, list, partition, err)) return false;
    }
    /* Before the client starts to fetch, so that nothing goes elsewhere. */
    for (int i = 0; i < list->cnt; i++)
        ingest__queue_forward(ingest, &list->elems[i]);
    rd_kafka_resp_err_t code = rd_kafka_assign(ingest->client, list);
    if (!code)
        log_info("ingest", "partitions assigned", "count=%d of=%d",
                 list->cnt / ingest->options.n_topics, ingest->partitions);
    if (code)
        return kafka_err_set(err, code, NULL, "cannot take the assignment of group '%s'",
                             ingest->options.group_id);
    return true;
}

/* ---- revoking ---- */

/* First no record of the partition goes to the shard any more, then the application lets go of it, then its last
 * position is committed for the lag tools. */
static void revoke_all(struct ingest *ingest, bool lost)
{
    int n = 0;
    for (int p = 0; p < ingest->partitions; p++) {
        if (!ingest->owned[p]) continue;
        for (int t = 0; t < ingest->options.n_topics; t++)
            sync_int_set_release(&ingest__slot(ingest, t, p)->generation, 0);
        ingest->callbacks.revoked(ingest->callbacks.context, p, lost);
        n++;
    }
    if (!lost) ingest__commit_send(ingest);
    memset(ingest->owned, 0, (size_t)ingest->partitions * sizeof *ingest->owned);
    if (n) log_info("ingest", "partitions revoked", "count=%d lost=%s", n, lost ? "true" : "false");
}

void ingest__on_rebalance(rd_kafka_t *client, rd_kafka_resp_err_t code,
                          rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct ingest *ingest = ((struct kafka_notes *)opaque)->owner;
    struct err err = ERR_INIT;
    if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS && !ingest->has_failed) {
        if (assign(ingest, list, &err)) return;
        ingest__fail(ingest, &err);
    }
    revoke_all(ingest, rd_kafka_assignment_lost(client));
    (void)rd_kafka_assign(client, NULL);
}

/* ---- commits ---- */

void ingest__commit_send(struct ingest *ingest)
{
    rd_kafka_topic_partition_list_t *list = NULL;
    for (int t = 0; t < ingest->options.n_topics; t++)
        for (int p = 0; p < ingest->partitions; p++) {
            struct ingest__slot *slot = ingest__slot(ingest, t, p);
            int64_t commit = sync_int_get(&slot->commit);
            if (!ingest->owned[p] || commit <= slot->committed) continue;
            if (!list) list = rd_kafka_topic_partition_list_new(16);
            rd_kafka_topic_partition_list_add(list, ingest->topics[t], p)->offset = commit;
            slot->committed = commit;
        }
    if (!list) return;
    rd_kafka_resp_err_t code = rd_kafka_commit(ingest->client, list, 1);
    if (code)
        log_debug("ingest", "positions were not committed for lag tools", "error=%s",
                  rd_kafka_err2name(code));
    rd_kafka_topic_partition_list_destroy(list);
}
