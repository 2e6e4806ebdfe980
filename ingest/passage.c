/* The way behind a damaged batch, as on.offset.gap=accept says. Shard thread.
 *
 * Where a damaged batch ends stands in the batch itself, so its end is sought by fetches: steps double from its first offset
 * until a fetch meets something else, then the rest is halved.
 *
 *     expected ... low | ? ... probe ... ? | high ... end of the log
 *          damaged     |    not known      | not of this batch
 *
 * A seek counts at once: what the queue gives behind it comes from the offset that it names. One thing does not. The client
 * (librdkafka 2.0.2) reads on within a damaged batch, and what it takes for the next batch there can send it to an offset that
 * is none. Then the fetcher stops with AUTO_OFFSET_RESET, even when a seek has come in between, and a fetcher that has stopped
 * refuses seeks without a word: it is started again (restart.c). */
#include "ingest/internal.h"

#include <inttypes.h>

#include "base/log.h"

enum { END_MS = 5000 };

int64_t ingest__target(const struct ingest__slot *slot)
{
    return slot->passage.probe > 0 ? slot->passage.probe : slot->expected;
}

static void seek(struct ingest *ingest, int topic, int32_t partition, int64_t offset)
{
    (void)rd_kafka_seek(ingest->handles[topic], partition, offset, 0);
}

/* The end is found: the partition goes on there. */
static void finish(struct ingest *ingest, int topic, int32_t partition, struct ingest__slot *slot)
{
    struct ingest__passage *way = &slot->passage;
    log_warn("ingest", "a damaged batch is passed, as on.offset.gap=accept says",
             "topic=%s partition=%d first=%" PRId64 " last=%" PRId64, ingest->topics[topic],
             (int)partition, slot->expected, way->high - 1);
    way->probe = 0;
    sync_int_set(&slot->passed_from, slot->expected);
    slot->expected = way->high;
    sync_int_set_release(&slot->passed, slot->expected);
}

static void look_further(struct ingest *ingest, int topic, int32_t partition,
                         struct ingest__slot *slot)
{
    struct ingest__passage *way = &slot->passage;
    int64_t half = (way->high - way->low) / 2;
    if (half == 0) {
        finish(ingest, topic, partition, slot);
    } else {
        way->probe = way->low + (way->step < half ? way->step : half);
        if (way->step < half) way->step *= 2;
    }
    seek(ingest, topic, partition, ingest__target(slot));
}

/* The log's end is outside. It is asked for: the client's own copy may be older than its error. No answer: the error comes
 * again behind the seek. */
static bool begin(struct ingest *ingest, int topic, int32_t partition, struct ingest__slot *slot)
{
    struct ingest__passage *way = &slot->passage;
    int64_t first = 0, end = -1;
    way->has_met = true;
    if (rd_kafka_query_watermark_offsets(ingest->client, ingest->topics[topic], partition, &first,
                                         &end, END_MS)) {
        seek(ingest, topic, partition, slot->expected);
        return true;
    }
    if (end <= slot->expected) return false;
    way->low = slot->expected;
    way->high = end;
    way->step = 1;
    look_further(ingest, topic, partition, slot);
    return true;
}

/* The batch at the probe is damaged and begins at base: it is the same one, or another behind it. */
static void probe_is_damaged(const struct ingest__slot *slot, struct ingest__passage *way,
                             int64_t base)
{
    if (base <= slot->expected)
        way->low = way->probe;
    else if (base > way->low && base < way->high)
        way->high = base;
    else
        way->high = way->probe;
}

static bool damaged(struct ingest *ingest, int topic, struct ingest__slot *slot,
                    const rd_kafka_message_t *message)
{
    if (slot->passage.probe == 0) return begin(ingest, topic, message->partition, slot);
    probe_is_damaged(slot, &slot->passage, message->offset);
    look_further(ingest, topic, message->partition, slot);
    return true;
}

bool ingest__passage_error(struct ingest *ingest, int topic, struct ingest__slot *slot,
                           const rd_kafka_message_t *message)
{
    const struct ingest__passage *way = &slot->passage;
    if (ingest->options.on_gap != GAP_ACCEPT) return false;
    switch (message->err) {
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
        return damaged(ingest, topic, slot, message);
    case RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED: /* the version of what is no batch */
        return way->has_met;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
        /* Where the partition is to be read there is nothing: that is no leap of the client's. */
        if (message->offset == ingest__target(slot)) return false;
        if (!way->has_met) return false;
        ingest__restart_ask(ingest);
        return true;
    default:
        return false;
    }
}

bool ingest__passage_record(struct ingest *ingest, int topic, struct ingest__slot *slot,
                            const rd_kafka_message_t *message)
{
    if (slot->passage.probe == 0) return false;
    slot->passage.high = slot->passage.probe;
    look_further(ingest, topic, message->partition, slot);
    return true;
}
