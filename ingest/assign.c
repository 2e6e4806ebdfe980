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

enum { ASK_MS = 10000, ASK_PAUSE_MS = 50 };

/* ---- where a partition begins ---- */

/* Nobody waits any more. */
static bool is_over(const struct ingest *ingest, uint64_t until_ns)
{
    return clock_mono_ns() > until_ns || flag_is_raised(&ingest->is_hurried);
}

/* First and next offset of the log. A leader that moves, or is not known yet, is asked again. */
static bool log_ask(struct ingest *ingest, int topic, int32_t partition, int64_t *low,
                    int64_t *high, struct err *err)
{
    const char *name = ingest->topics[topic];
    uint64_t until = clock_mono_ns() + (uint64_t)ingest->options.patience_ms * 1000000;
    for (;;) {
        rd_kafka_resp_err_t code =
            rd_kafka_query_watermark_offsets(ingest->client, name, partition, low, high, ASK_MS);
        if (!code) return true;
        (void)kafka_err_set(err, code, NULL, "cannot ask for the offsets of %s/%d", name,
                            (int)partition);
        if (!kafka_err_passes(err, code) || is_over(ingest, until)) return false;
        err->class = ERR_NONE;
        sync_sleep_ms(ASK_PAUSE_MS);
    }
}

/* What the group has committed must be in the log; else nothing is taken to be told. */
static bool told_check(struct ingest *ingest, int topic, int32_t partition, struct err *err)
{
    const char *name = ingest->topics[topic];
    struct ingest__slot *slot = ingest__slot(ingest, topic, partition);
    int64_t told = sync_int_get(&slot->told);
    if (told <= slot->high) return true;
    if (ingest->options.transactional && ingest->options.on_gap != GAP_ACCEPT)
        return err_fatal(err, ERR_EXIT_TOPIC,
                         "%s/%d: the group has committed %" PRId64 ", but the log ends at %" PRId64
                         ": the topic was created again, or lost records: take another "
                         "application.id, or on.offset.gap=accept",
                         name, (int)partition, told, slot->high);
    log_warn("ingest", "what the group has committed is behind the log's end and does not count",
             "topic=%s partition=%d committed=%" PRId64 " high=%" PRId64, name, (int)partition,
             told, slot->high);
    sync_int_set(&slot->told, -1);
    return true;
}

/* Turns the store's position (-1 none) into the offset to start at. A position outside the log is a gap (I3). */
static bool start_find(struct ingest *ingest, int topic, int32_t partition, int64_t *next,
                       struct err *err)
{
    const char *name = ingest->topics[topic];
    int64_t low = ingest__slot(ingest, topic, partition)->low;
    int64_t high = ingest__slot(ingest, topic, partition)->high;
    if (*next < 0) {
        bool at_end = ingest__begins_at_end(ingest, topic, partition);
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

/* ---- what the group has committed ---- */

int64_t ingest_committed(struct ingest *ingest, int topic, int32_t partition)
{
    return sync_int_get(&ingest__slot(ingest, topic, partition)->told);
}

int64_t ingest_acked(struct ingest *ingest, int topic, int32_t partition)
{
    return sync_int_get(&ingest__slot(ingest, topic, partition)->acked);
}

int64_t ingest_read_from(struct ingest *ingest, int topic, int32_t partition)
{
    return sync_int_get(&ingest__slot(ingest, topic, partition)->start);
}

int64_t ingest_log_begin(struct ingest *ingest, int topic, int32_t partition)
{
    return ingest__slot(ingest, topic, partition)->low;
}

int64_t ingest_log_end(struct ingest *ingest, int topic, int32_t partition)
{
    return ingest__slot(ingest, topic, partition)->high;
}

/* Asked until it is answered: while a transaction that nobody carries on is open, the broker does not (KIP-447), at most for
 * transaction.timeout.ms. */
static bool committed_ask(struct ingest *ingest, rd_kafka_topic_partition_list_t *list,
                          struct err *err)
{
    uint64_t until = clock_mono_ns() + (uint64_t)ingest->options.patience_ms * 1000000;
    for (;;) {
        rd_kafka_resp_err_t code = rd_kafka_committed(ingest->client, list, ASK_MS);
        for (int i = 0; !code && i < list->cnt; i++)
            code = list->elems[i].err;
        if (!code) return true;
        (void)kafka_err_set(err, code, NULL, "cannot read what group '%s' has committed",
                            ingest->options.group_id);
        bool passes = err_passes(err) || code == RD_KAFKA_RESP_ERR__WAIT_COORD ||
                      code == RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT;
        if (!passes || is_over(ingest, until)) return false;
        err->class = ERR_NONE;
        sync_sleep_ms(ASK_PAUSE_MS);
    }
}

/* C_p of every partition of the list. */
static bool committed_read(struct ingest *ingest, const rd_kafka_topic_partition_list_t *list,
                           struct err *err)
{
    rd_kafka_topic_partition_list_t *asked = rd_kafka_topic_partition_list_copy(list);
    bool ok = committed_ask(ingest, asked, err);
    for (int i = 0; ok && i < asked->cnt; i++) {
        const rd_kafka_topic_partition_t *part = &asked->elems[i];
        int topic = ingest__topic_index(ingest, part->topic);
        int64_t told = part->offset >= 0 ? part->offset : -1;
        sync_int_set(&ingest__slot(ingest, topic, part->partition)->told, told);
        sync_int_set(&ingest__slot(ingest, topic, part->partition)->acked, told);
    }
    rd_kafka_topic_partition_list_destroy(asked);
    return ok;
}

/* Nobody of this generation can commit any more: another assignment comes. */
static bool is_behind_us(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION ||
           code == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID ||
           code == RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS ||
           code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID;
}

/* Without transactions what comes of a partition's events may be out before any position is told. Who takes it next, with a store that
 * knows nothing of it, must not take it for one that nobody has begun: so the group knows where it begins before it is read. Who begins
 * at the log's end does not tell: with a position told the next start would read what this one was to leave out. */
static bool begin_tell(struct ingest *ingest, int32_t partition, int64_t start, struct err *err)
{
    struct sync_int *told = &ingest__slot(ingest, 0, partition)->told;
    uint64_t until = clock_mono_ns() + (uint64_t)ingest->options.patience_ms * 1000000;
    bool is_known = ingest->options.transactional || sync_int_get(told) >= 0;
    if (is_known || ingest->options.start == INGEST_LATEST || fault_mutant("begin_untold"))
        return true;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, ingest->topics[0], partition)->offset = start;
    bool ok = false;
    for (;;) {
        rd_kafka_resp_err_t code = rd_kafka_commit(ingest->client, list, 0);
        if (!code) sync_int_set(told, start);
        ok = !code || is_behind_us(code);
        if (ok) break;
        (void)kafka_err_set(err, code, NULL, "cannot tell group '%s' where %s/%d begins",
                            ingest->options.group_id, ingest->topics[0], (int)partition);
        if (is_over(ingest, until)) break;
        err->class = ERR_NONE;
        sync_sleep_ms(ASK_PAUSE_MS);
    }
    rd_kafka_topic_partition_list_destroy(list);
    return ok;
}

/* ---- assigning ---- */

static rd_kafka_topic_partition_t *find(rd_kafka_topic_partition_list_t *list, const char *topic,
                                        int32_t partition)
{
    return rd_kafka_topic_partition_list_find(list, topic, partition);
}

/* Where it begins, then that it is ours: next (n_topics) as the application said. */
static bool slots_start(struct ingest *ingest, int32_t partition, struct err *err)
{
    for (int t = 0; t < ingest->options.n_topics; t++) {
        struct ingest__slot *slot = ingest__slot(ingest, t, partition);
        bool is_unread = t == 0 && ingest->next[t] < 0;
        if (!start_find(ingest, t, partition, &ingest->next[t], err)) return false;
        if (is_unread && !begin_tell(ingest, partition, ingest->next[t], err)) return false;
        slot->committed = -1;
        sync_int_set(&slot->commit, -1);
        sync_int_set(&slot->passed, -1);
        sync_int_set(&slot->start, ingest->next[t]);
        sync_int_set_release(&slot->generation, ingest->generation);
        log_debug("ingest", "partition assigned", "topic=%s partition=%d shard=%d start=%" PRId64,
                  ingest->topics[t], (int)partition, (int)(partition % ingest->options.shards),
                  ingest->next[t]);
    }
    return true;
}

/* Every topic's partition of one number, together: asks the application, then sets start and generation. One that waits leaves the
 * list. */
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
        struct ingest__slot *slot = ingest__slot(ingest, t, partition);
        if (!log_ask(ingest, t, partition, &slot->low, &slot->high, err) ||
            !told_check(ingest, t, partition, err))
            return false;
        ingest->next[t] = -1;
    }
    if (!ingest->callbacks.assigned(ingest->callbacks.context, partition, ingest->next, err))
        return false;
    ingest->owned[partition] = true;
    ingest->waiting[partition] = ingest->next[0] == INGEST_LATER;
    if (!ingest->waiting[partition] && !slots_start(ingest, partition, err)) return false;
    for (int t = 0; t < options->n_topics; t++) {
        if (ingest->waiting[partition])
            sync_int_set(&ingest__slot(ingest, t, partition)->commit, -1);
        if (ingest->waiting[partition])
            (void)rd_kafka_topic_partition_list_del(list, ingest->topics[t], partition);
        else
            find(list, ingest->topics[t], partition)->offset = ingest->next[t];
    }
    return true;
}

bool ingest_begin(struct ingest *ingest, int32_t partition, const int64_t *next, struct err *err)
{
    assert(ingest->owned[partition] && ingest->waiting[partition]);
    memcpy(ingest->next, next, (size_t)ingest->options.n_topics * sizeof *next);
    if (!slots_start(ingest, partition, err)) return false;
    ingest->waiting[partition] = false;
    ingest__restart_ask(ingest);
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

static bool is_listed(const struct ingest *ingest, rd_kafka_topic_partition_list_t *list,
                      int32_t partition)
{
    for (int t = 0; t < ingest->options.n_topics; t++)
        if (find(list, ingest->topics[t], partition)) return true;
    return false;
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
    ingest__peers_look(ingest);
    if (!committed_read(ingest, list, err)) return false;
    int n = list->cnt / ingest->options.n_topics;
    for (int32_t partition = 0; partition < ingest->partitions; partition++) {
        if (ingest->owned[partition] || !is_listed(ingest, list, partition)) continue;
        if (!partition_assign(ingest, list, partition, err)) return false;
    }
    /* Before the client starts to fetch, so that nothing goes elsewhere. */
    for (int i = 0; i < list->cnt; i++)
        ingest__queue_forward(ingest, &list->elems[i]);
    rd_kafka_resp_err_t code = rd_kafka_assign(ingest->client, list);
    if (!code) log_info("ingest", "partitions assigned", "count=%d of=%d", n, ingest->partitions);
    if (code)
        return kafka_err_set(err, code, NULL, "cannot take the assignment of group '%s'",
                             ingest->options.group_id);
    return true;
}

/* ---- revoking ---- */

/* First no record of any partition goes to the shards any more, then the application lets go of each, then the last
 * positions are committed: who gets the partition next reads them. */
void ingest__revoke_all(struct ingest *ingest, bool lost)
{
    int n = 0;
    for (int p = 0; p < ingest->partitions; p++)
        for (int t = 0; ingest->owned[p] && t < ingest->options.n_topics; t++)
            sync_int_set_release(&ingest__slot(ingest, t, p)->generation, 0);
    for (int p = 0; p < ingest->partitions; p++) {
        if (!ingest->owned[p]) continue;
        ingest->callbacks.revoked(ingest->callbacks.context, p, lost);
        n++;
    }
    if (!lost) ingest__commit_send(ingest);
    memset(ingest->owned, 0, (size_t)ingest->partitions * sizeof *ingest->owned);
    if (n) log_info("ingest", "partitions revoked", "count=%d lost=%s", n, lost ? "true" : "false");
}

void ingest_drop(struct ingest *ingest)
{
    for (int p = 0; p < ingest->partitions; p++)
        ingest->dropped[p] = ingest->dropped[p] || ingest->owned[p];
    ingest__revoke_all(ingest, true);
}

/* Whether our partitions are ours still. With transactions the group is asked at each commit. */
static bool is_ours_still(struct ingest *ingest, bool *is_ours, struct err *err)
{
    *is_ours = !ingest__is_outside(ingest);
    return !*is_ours || ingest->options.transactional || ingest__is_listed(ingest, is_ours, err);
}

bool ingest_retake(struct ingest *ingest, struct err *err)
{
    bool is_ours;
    if (!is_ours_still(ingest, &is_ours, err)) return false;
    if (!is_ours) { /* they come with the next assignment */
        memset(ingest->dropped, 0, (size_t)ingest->partitions * sizeof *ingest->dropped);
        return true;
    }
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    ingest->generation++;
    for (int p = 0; p < ingest->partitions; p++)
        for (int t = 0; ingest->dropped[p] && t < ingest->options.n_topics; t++)
            rd_kafka_topic_partition_list_add(list, ingest->topics[t], p);
    bool ok = list->cnt == 0 || committed_read(ingest, list, err);
    for (int p = 0; ok && p < ingest->partitions; p++)
        ok = !ingest->dropped[p] || partition_assign(ingest, list, p, err);
    if (ok && list->cnt > 0) ingest__restart_begin(ingest);
    if (ok) memset(ingest->dropped, 0, (size_t)ingest->partitions * sizeof *ingest->dropped);
    rd_kafka_topic_partition_list_destroy(list);
    if (!ok && ingest__is_outside(ingest)) err->class = ERR_ABORT; /* lost meanwhile: once more */
    return ok;
}

void ingest__on_rebalance(rd_kafka_t *client, rd_kafka_resp_err_t code,
                          rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct ingest *ingest = ((struct kafka_notes *)opaque)->owner;
    struct err err = ERR_INIT;
    bool is_lost = rd_kafka_assignment_lost(client);
    if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS && !ingest->has_failed) {
        if (assign(ingest, list, &err)) return;
        is_lost = ingest__is_outside(ingest);
        if (!is_lost) ingest__fail(ingest, &err);
    }
    ingest__revoke_all(ingest, is_lost);
    if (is_lost && ingest__is_replaced(ingest)) return; /* the answer is what joins again */
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
        log_debug("ingest", "positions were not committed", "error=%s", rd_kafka_err2name(code));
    rd_kafka_topic_partition_list_destroy(list);
}
