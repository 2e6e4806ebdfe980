/* All fetchers of the client started again, each where its partition stands; for one that has stopped (passage.c), or one that begins
 * later than it was assigned (ingest_begin). The eager protocol has no way to start one alone.
 *
 * Nothing may be taken from the queues meanwhile, else a shard could not tell what came from where. So
 *
 *     shard asks -> main thread halts -> each shard, before it takes a record, parks -> main thread assigns -> they go on
 *
 * A shard parks by itself at its next poll and nobody waits for it: polls of a halted consumer return nothing.
 *
 * What a fetcher brings before its queue is the shard's lands in the main thread's queue, astray. So that queue is looked at once more
 * before the shards go on, and if a record was in it, all is started again. */
#include "ingest/internal.h"

#include <unistd.h>

#include "base/log.h"

enum { FAULT_MS = 300 };

void ingest_nudge(struct ingest *ingest)
{
    static const uint64_t one = 1;
    (void)!write(ingest->event_fd, &one, sizeof one);
}

/* ---- shard thread ---- */

void ingest__restart_ask(struct ingest *ingest)
{
    sync_int_set_release(&ingest->restart_asked, 1);
    ingest_nudge(ingest);
}

bool ingest__is_parked(struct ingest *ingest, struct ingest__shard *shard)
{
    int64_t halt = sync_int_get_acquire(&ingest->halt);
    if (halt % 2 == 0) return false;
    if (shard->parked_at == halt) return true;
    shard->parked_at = halt;
    (void)sync_int_add_acq_rel(&ingest->parked, 1);
    ingest_nudge(ingest);
    return true;
}

/* ---- main thread; reads what is the shards' while they are parked ---- */

static int64_t target(struct ingest__slot *slot)
{
    return slot->seen == sync_int_get(&slot->generation) ? ingest__target(slot)
                                                         : sync_int_get(&slot->start);
}

static rd_kafka_topic_partition_list_t *targets(struct ingest *ingest)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    for (int p = 0; p < ingest->partitions; p++) {
        bool is_read = ingest->owned[p] && !ingest->waiting[p];
        for (int t = 0; is_read && t < ingest->options.n_topics; t++)
            rd_kafka_topic_partition_list_add(list, ingest->topics[t], p)->offset =
                target(ingest__slot(ingest, t, p));
    }
    return list;
}

/* Stopping a fetcher takes its queue out of the shard's. It is done before the client answers the question that follows the
 * assignment, since the client's thread does what it is told in order; then the queue is put back. */
static bool start_again(struct ingest *ingest, rd_kafka_topic_partition_list_t *list,
                        struct err *err)
{
    rd_kafka_topic_partition_list_t *answer = NULL;
    rd_kafka_resp_err_t code = rd_kafka_assign(ingest->client, list);
    if (!code) code = rd_kafka_assignment(ingest->client, &answer);
    if (code)
        return kafka_err_set(err, code, NULL, "cannot start to read again for group '%s'",
                             ingest->options.group_id);
    rd_kafka_topic_partition_list_destroy(answer);
    if (fault_fails("forwarded_late")) sync_sleep_ms(FAULT_MS);
    for (int i = 0; i < list->cnt; i++)
        ingest__queue_forward(ingest, &list->elems[i]);
    log_debug("ingest", "fetchers start again", "partitions=%d", list->cnt);
    return true;
}

static void halt(struct ingest *ingest)
{
    sync_int_set(&ingest->restart_asked, 0);
    ingest->is_started_again = false;
    if (sync_int_get(&ingest->halt) % 2 == 1) return;
    sync_int_set(&ingest->parked, 0);
    (void)sync_int_add_acq_rel(&ingest->halt, 1);
    for (int s = 0; s < ingest->options.shards; s++)
        ingest_wake(ingest, s);
}

/* What came astray before is of no use now. */
static bool targets_start(struct ingest *ingest, struct err *err)
{
    rd_kafka_topic_partition_list_t *list = targets(ingest);
    bool ok = list->cnt == 0 || start_again(ingest, list, err);
    rd_kafka_topic_partition_list_destroy(list);
    ingest->strays = 0;
    return ok || ingest__is_outside(ingest);
}

void ingest__restart_begin(struct ingest *ingest)
{
    halt(ingest);
    ingest_nudge(ingest);
}

void ingest__restart_serve(struct ingest *ingest)
{
    struct err err = ERR_INIT;
    if (sync_int_get_acquire(&ingest->restart_asked)) halt(ingest);
    if (sync_int_get(&ingest->halt) % 2 == 0) return;
    if (sync_int_get_acquire(&ingest->parked) < ingest->options.shards) return;
    bool is_over = ingest->is_displaced || (ingest->is_started_again && ingest->strays == 0);
    bool ok = ingest->is_displaced ? ingest__client_renew(ingest, &err)
                                   : is_over || targets_start(ingest, &err);
    if (!ok) ingest__fail(ingest, &err);
    ingest->is_started_again = true;
    if (ok && !is_over)
        ingest_nudge(ingest);
    else
        (void)sync_int_add_acq_rel(&ingest->halt, 1);
}
