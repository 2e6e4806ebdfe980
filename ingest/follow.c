/* Whole topics without a group: librdkafka's simple consumer, which starts and stops each partition alone, all of them into one
 * queue. The reader alone touches librdkafka's side of it; what confirm needs to know is copied under the lock at each release.
 *
 *     start -> fetch -> queue -> poll: record | end of partition | position is gone
 *                                       |             |                  |
 *                                  next = offset+1  next = end   stop, FOLLOW_RESTART, start at the beginning
 *                                       +------ release: delivered = next, waiters wake
 *
 * The end of a partition counts because behind the last record there may be marks of transactions, which no record tells of. */
#include "ingest/follow.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sync.h"
#include "kafka/client.h"

enum { CLOSE_MS = 5000, ASK_AGAIN_MS = 20 };

static const uint64_t MS = 1000000; /* ns */

/* One partition of one topic. */
struct part {
    int topic;
    int32_t partition;
    int64_t next;        /* reader: first offset not handed out */
    int64_t delivered;   /* lock: next as of the last release */
    int64_t first_begin; /* as open found them; constant */
    int64_t first_end;
    int64_t gone;    /* reader: the position that open found beyond the end, to be told; -1 none */
    bool is_started; /* reader: librdkafka fetches it */
};

/* A client and its notes. */
struct line {
    struct kafka_notes notes;
    rd_kafka_t *client;
};

struct ingest_follow {
    struct line reading, asking;
    int n_topics, n_parts, batch_max;
    char **topics;              /* (n_topics) names */
    rd_kafka_topic_t **handles; /* (n_topics) of the reading client */
    int *first;                 /* (n_topics + 1) a topic's first part */
    struct part *parts;         /* (n_parts) by topic, partition */
    rd_kafka_queue_t *queue;
    struct ingest_follow_record *records; /* (batch_max) */
    rd_kafka_message_t **messages;        /* (batch_max) of the batch that is out */
    int n_messages;

    struct mutex lock;        /* guards delivered and the question */
    struct condition changed; /* delivered or the question did */
    int64_t asked;            /* questions that have begun, each one number higher */
    int64_t answered;         /* the last question that ended with an answer */
    bool is_asking;           /* one is under way */
    int64_t *ends;            /* (n_parts) its answer; who asks has it */
    bool is_caught_up;
};

/* ---- clients ---- */

static bool line_open(struct line *line, const struct kafka_config *config, bool sees_open,
                      struct err *err)
{
    static const struct kafka_setting own[] = {{"enable.partition.eof", "true"},
                                               {"isolation.level", "read_uncommitted"}};
    kafka_notes_init(&line->notes, false, NULL);
    rd_kafka_conf_t *conf = kafka_client_conf(config, KAFKA_CONSUMER, own, sees_open ? 2 : 1, err);
    if (conf) line->client = kafka_client_new(conf, KAFKA_CONSUMER, &line->notes, err);
    return line->client != NULL;
}

/* false: the client hangs, and what its callbacks know must stay. */
static bool line_close(struct line *line)
{
    if (line->client && !kafka_client_free(line->client, CLOSE_MS)) return false;
    kafka_notes_fini(&line->notes);
    return true;
}

/* ---- the ends ---- */

/* Asks for the first offsets at a time, or the end offsets, and fills follow->ends. One
 * request for each broker. */
static rd_kafka_resp_err_t ends_ask_once(struct ingest_follow *follow, int64_t at,
                                         rd_kafka_topic_partition_list_t *list, int timeout_ms,
                                         const char **topic)
{
    for (int i = 0; i < follow->n_parts; i++)
        list->elems[i].offset = at;
    rd_kafka_resp_err_t code =
        rd_kafka_offsets_for_times(follow->asking.client, list, timeout_ms > 1 ? timeout_ms : 1);
    for (int i = 0; i < follow->n_parts && !code; i++) {
        *topic = list->elems[i].topic;
        code = list->elems[i].err;
        follow->ends[i] = list->elems[i].offset;
    }
    return code;
}

/* A partition that has no leader at the moment is asked for again. at: a time, or RD_KAFKA_OFFSET_END. */
static bool ends_ask(struct ingest_follow *follow, int64_t at, uint64_t until_ns, struct err *err)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(follow->n_parts);
    const char *topic = follow->topics[0];
    struct err why = ERR_INIT;
    bool ok, again = true;
    for (int i = 0; i < follow->n_parts; i++)
        rd_kafka_topic_partition_list_add(list, follow->topics[follow->parts[i].topic],
                                          follow->parts[i].partition);
    for (;;) {
        uint64_t now = clock_mono_ns();
        int left_ms = now < until_ns ? (int)((until_ns - now) / MS) : 0;
        rd_kafka_resp_err_t code = ends_ask_once(follow, at, list, left_ms, &topic);
        ok = !code || kafka_err_set(&why, code, NULL, "cannot ask for the end of '%s'", topic);
        again = kafka_err_passes(&why, code);
        if (ok || !again || left_ms <= ASK_AGAIN_MS) break;
        sync_sleep_ms(ASK_AGAIN_MS);
    }
    if (!ok) *err = why;
    rd_kafka_topic_partition_list_destroy(list);
    return ok;
}

/* ---- starting ---- */

static bool part_start(struct ingest_follow *follow, struct part *part, int64_t offset,
                       struct err *err)
{
    rd_kafka_topic_t *handle = follow->handles[part->topic];
    if (rd_kafka_consume_start_queue(handle, part->partition, offset, follow->queue))
        return kafka_err_set(err, rd_kafka_last_error(), NULL, "cannot read %s/%d",
                             follow->topics[part->topic], (int)part->partition);
    part->is_started = true;
    return true;
}

static bool topics_learn(struct ingest_follow *follow, const struct kafka_config *config,
                         const struct ingest_follow_options *options, struct err *err)
{
    int n = options->n_topics;
    int *counts = mem_zalloc((size_t)n * sizeof *counts);
    follow->n_topics = n;
    follow->topics = mem_zalloc((size_t)n * sizeof *follow->topics);
    follow->handles = mem_zalloc((size_t)n * sizeof(rd_kafka_topic_t *));
    follow->first = mem_zalloc((size_t)(n + 1) * sizeof *follow->first);
    for (int t = 0; t < n; t++)
        follow->topics[t] = mem_strdup(options->topics[t]);
    bool ok = kafka_topics_partitions(config, options->topics, n, counts, options->timeout_ms, err);
    for (int t = 0; ok && t < n; t++)
        follow->first[t + 1] = follow->first[t] + counts[t];
    mem_free(counts);
    if (!ok) return false;
    follow->n_parts = follow->first[n];
    follow->parts = mem_zalloc((size_t)follow->n_parts * sizeof *follow->parts);
    follow->ends = mem_zalloc((size_t)follow->n_parts * sizeof *follow->ends);
    for (int t = 0; t < n; t++)
        for (int i = follow->first[t]; i < follow->first[t + 1]; i++)
            follow->parts[i] = (struct part){.topic = t, .partition = i - follow->first[t]};
    return true;
}

/* Where a partition begins; -1: at its beginning. */
static int64_t part_begin(const struct ingest_follow *follow, const struct part *part,
                          const struct ingest_follow_options *options, const int64_t *since)
{
    if (since) return since[part - follow->parts];
    if (options->tail > 0)
        return part->first_end > options->tail ? part->first_end - options->tail : -1;
    return options->start ? options->start(options->context, part->topic, part->partition) : -1;
}

/* A position beyond the end is of another log. since NULL or (n_parts). */
static bool parts_start(struct ingest_follow *follow, const struct ingest_follow_options *options,
                        const int64_t *since, struct err *err)
{
    for (int t = 0; t < follow->n_topics; t++) {
        follow->handles[t] = rd_kafka_topic_new(follow->reading.client, follow->topics[t], NULL);
        if (!follow->handles[t])
            return kafka_err_set(err, rd_kafka_last_error(), NULL, "cannot read topic '%s'",
                                 follow->topics[t]);
    }
    for (int i = 0; i < follow->n_parts; i++) {
        struct part *part = &follow->parts[i];
        int64_t from = part_begin(follow, part, options, since);
        part->gone = from > part->first_end ? from : -1;
        if (part->gone >= 0 || from < 0) from = part->first_begin;
        part->next = part->delivered = from;
        if (!part_start(follow, part, from, err)) return false;
    }
    return true;
}

static void caught_up_look(struct ingest_follow *follow)
{
    int behind = 0;
    for (int i = 0; i < follow->n_parts; i++)
        behind += follow->parts[i].delivered < follow->parts[i].first_end;
    follow->is_caught_up = behind == 0;
}

/* The beginning is asked for here, since librdkafka, told to begin there, takes half a second to find it: it asks before it is
 * connected and tries again then. */
static bool first_bounds_ask(struct ingest_follow *follow, int timeout_ms, struct err *err)
{
    uint64_t until = clock_mono_ns() + (uint64_t)timeout_ms * MS;
    if (!ends_ask(follow, RD_KAFKA_OFFSET_BEGINNING, until, err)) return false;
    for (int i = 0; i < follow->n_parts; i++)
        follow->parts[i].first_begin = follow->ends[i];
    if (!ends_ask(follow, RD_KAFKA_OFFSET_END, until, err)) return false;
    for (int i = 0; i < follow->n_parts; i++)
        follow->parts[i].first_end = follow->ends[i];
    return true;
}

/* Where each partition has its first record of that time: (n_parts), freed by mem_free; behind the last one its end. */
static bool since_ask(struct ingest_follow *follow, const struct ingest_follow_options *options,
                      int64_t **since, struct err *err)
{
    uint64_t until = clock_mono_ns() + (uint64_t)options->timeout_ms * MS;
    *since = NULL;
    if (options->since_ms <= 0) return true;
    if (!ends_ask(follow, options->since_ms, until, err)) return false;
    *since = mem_alloc((size_t)follow->n_parts * sizeof **since);
    for (int i = 0; i < follow->n_parts; i++)
        (*since)[i] = follow->ends[i] >= 0 ? follow->ends[i] : follow->parts[i].first_end;
    return true;
}

bool ingest_follow_open(struct ingest_follow **out, const struct kafka_config *config,
                        const struct ingest_follow_options *options, struct err *err)
{
    struct ingest_follow *follow = mem_zalloc(sizeof *follow);
    int64_t *since = NULL;
    mutex_init(&follow->lock);
    condition_init(&follow->changed);
    follow->batch_max = options->batch_max;
    follow->records = mem_zalloc((size_t)options->batch_max * sizeof *follow->records);
    follow->messages = mem_zalloc((size_t)options->batch_max * sizeof(rd_kafka_message_t *));
    bool ok = line_open(&follow->reading, config, false, err);
    ok = line_open(&follow->asking, config, options->waits_for_open, err) && ok;
    if (!ok || !topics_learn(follow, config, options, err)) goto fail;
    if (!first_bounds_ask(follow, options->timeout_ms, err)) goto fail;
    if (!since_ask(follow, options, &since, err)) goto fail;
    follow->queue = rd_kafka_queue_new(follow->reading.client);
    if (!parts_start(follow, options, since, err)) goto fail;
    mem_free(since);
    caught_up_look(follow);
    *out = follow;
    return true;
fail:
    mem_free(since);
    ingest_follow_close(follow);
    return false;
}

/* ---- reading ---- */

static struct part *part_of(struct ingest_follow *follow, const rd_kafka_message_t *message)
{
    for (int t = 0; t < follow->n_topics; t++) {
        int i = follow->first[t] + message->partition;
        if (follow->handles[t] == message->rkt && message->partition >= 0 &&
            i < follow->first[t + 1])
            return &follow->parts[i];
    }
    return NULL;
}

static void restart_tell(struct ingest_follow *follow, const struct part *part, int64_t position,
                         struct ingest_follow_record *record)
{
    *record = (struct ingest_follow_record){.kind = FOLLOW_RESTART,
                                            .topic = part->topic,
                                            .partition = part->partition,
                                            .offset = position};
    log_warn("ingest", "a topic no longer holds the position; it is read from its beginning again",
             "topic=%s partition=%d offset=%" PRId64, follow->topics[part->topic],
             (int)part->partition, position);
}

/* Its fetcher has stopped with the error; stopping it for librdkafka, too, is what allows to start it elsewhere. */
static bool part_restart(struct ingest_follow *follow, struct part *part,
                         struct ingest_follow_record *record, struct err *err)
{
    restart_tell(follow, part, part->next, record);
    (void)rd_kafka_consume_stop(follow->handles[part->topic], part->partition);
    part->is_started = false;
    part->next = 0;
    return part_start(follow, part, RD_KAFKA_OFFSET_BEGINNING, err);
}

/* What open found gone is told before any record. Returns how many. */
static int gone_tell(struct ingest_follow *follow)
{
    int n = 0;
    for (int i = 0; i < follow->n_parts && n < follow->batch_max; i++) {
        if (follow->parts[i].gone < 0) continue;
        restart_tell(follow, &follow->parts[i], follow->parts[i].gone, &follow->records[n++]);
        follow->parts[i].gone = -1;
    }
    return n;
}

/* An error in place of a record. Returns false with err when the partition cannot be read on; *n grows with a restart. */
static bool error_take(struct ingest_follow *follow, struct part *part,
                       const rd_kafka_message_t *message, int *n, struct err *err)
{
    switch (message->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        if (message->offset > part->next) part->next = message->offset;
        return true;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        return part_restart(follow, part, &follow->records[(*n)++], err);
    default:
        break;
    }
    (void)kafka_err_set(err, message->err, rd_kafka_message_errstr(message),
                        "%s/%d at offset %" PRId64, follow->topics[part->topic],
                        (int)part->partition, part->next);
    if (!err_passes(err)) {
        err->class = ERR_FATAL;
        return false;
    }
    log_warn("ingest", "a followed partition met an error and goes on",
             "topic=%s partition=%d error=%s", follow->topics[part->topic], (int)part->partition,
             rd_kafka_err2name(message->err));
    err->class = ERR_NONE;
    return true;
}

static void record_take(struct part *part, const rd_kafka_message_t *message,
                        struct ingest_follow_record *record)
{
    *record = (struct ingest_follow_record){
        .kind = FOLLOW_RECORD,
        .topic = part->topic,
        .partition = part->partition,
        .offset = message->offset,
        .timestamp_ms = rd_kafka_message_timestamp(message, NULL),
        .key = {message->key, message->key ? message->key_len : 0},
        .value = {message->payload, message->payload ? message->len : 0},
        .message = message,
    };
    part->next = message->offset + 1;
}

void ingest_follow_headers(const struct ingest_follow_record *record,
                           bool (*visit)(void *context, const char *name, struct str value),
                           void *context)
{
    rd_kafka_headers_t *headers;
    const char *name;
    const void *value;
    size_t len;
    if (!record->message || rd_kafka_message_headers(record->message, &headers)) return;
    for (size_t i = 0; !rd_kafka_header_get_all(headers, i, &name, &value, &len); i++)
        if (!visit(context, name, (struct str){value, value ? len : 0})) return;
}

bool ingest_follow_poll(struct ingest_follow *follow, int timeout_ms,
                        struct ingest_follow_batch *batch, struct err *err)
{
    rd_kafka_message_t *message;
    bool ok = true;
    assert(follow->n_messages == 0); /* one batch at a time */
    (void)rd_kafka_poll(follow->reading.client, 0);
    (void)rd_kafka_poll(follow->asking.client, 0);
    int n = gone_tell(follow);
    while (ok && n < follow->batch_max &&
           (message = rd_kafka_consume_queue(follow->queue, n == 0 ? timeout_ms : 0)) != NULL) {
        struct part *part = part_of(follow, message);
        bool is_record = part && !message->err && message->offset >= part->next;
        if (part && message->err) ok = error_take(follow, part, message, &n, err);
        if (is_record) {
            record_take(part, message, &follow->records[n++]);
            follow->messages[follow->n_messages++] = message;
        } else {
            rd_kafka_message_destroy(message);
            timeout_ms = 0; /* the end of a partition is news for who waits in confirm */
        }
    }
    *batch = (struct ingest_follow_batch){follow->records, n};
    return ok;
}

void ingest_follow_release(struct ingest_follow *follow, struct ingest_follow_batch *batch)
{
    bool has_changed = false;
    for (int i = 0; i < follow->n_messages; i++)
        rd_kafka_message_destroy(follow->messages[i]);
    follow->n_messages = 0;
    batch->n = 0;
    mutex_lock(&follow->lock);
    for (int i = 0; i < follow->n_parts; i++) {
        struct part *part = &follow->parts[i];
        has_changed = has_changed || part->delivered != part->next;
        part->delivered = part->next;
    }
    if (has_changed && !follow->is_caught_up) caught_up_look(follow);
    if (has_changed) condition_broadcast(&follow->changed);
    mutex_unlock(&follow->lock);
}

void ingest_follow_wake(struct ingest_follow *follow)
{
    rd_kafka_queue_yield(follow->queue);
}

bool ingest_follow_is_caught_up(struct ingest_follow *follow)
{
    mutex_lock(&follow->lock);
    bool is_caught_up = follow->is_caught_up;
    mutex_unlock(&follow->lock);
    return is_caught_up;
}

int64_t ingest_follow_lag(struct ingest_follow *follow)
{
    int64_t lag = 0;
    for (int i = 0; i < follow->n_parts; i++) {
        const struct part *part = &follow->parts[i];
        int64_t low = 0, high = 0;
        if (rd_kafka_get_watermark_offsets(follow->reading.client, follow->topics[part->topic],
                                           part->partition, &low, &high))
            continue;
        mutex_lock(&follow->lock);
        if (high > part->delivered) lag += high - part->delivered;
        mutex_unlock(&follow->lock);
    }
    return lag;
}

int ingest_follow_partitions(const struct ingest_follow *follow, int topic)
{
    return follow->first[topic + 1] - follow->first[topic];
}

/* ---- confirming; any thread but the reader's ---- */

static bool is_delivered(const struct ingest_follow *follow)
{
    for (int i = 0; i < follow->n_parts; i++)
        if (follow->parts[i].delivered < follow->ends[i]) return false;
    return true;
}

/* false: the time is over. The lock is held. */
static bool change_await(struct ingest_follow *follow, uint64_t until_ns)
{
    uint64_t now = clock_mono_ns();
    if (now >= until_ns) return false;
    (void)condition_wait_ms(&follow->changed, &follow->lock, (int64_t)((until_ns - now) / MS) + 1);
    return true;
}

/* Asks and waits until what the answer says is delivered; for all who wait for this question. The lock is held, but not while
 * the broker is asked. */
static bool question_ask(struct ingest_follow *follow, uint64_t until_ns, struct err *err)
{
    int64_t number = ++follow->asked;
    follow->is_asking = true;
    mutex_unlock(&follow->lock);
    bool ok = ends_ask(follow, RD_KAFKA_OFFSET_END, until_ns, err);
    mutex_lock(&follow->lock);
    while (ok && !is_delivered(follow))
        ok = change_await(follow, until_ns) ||
             err_set(err, ERR_RETRY, "the topics' ends are known but not yet read: try again");
    if (ok) follow->answered = number;
    follow->is_asking = false;
    condition_broadcast(&follow->changed);
    return ok;
}

bool ingest_follow_confirm(struct ingest_follow *follow, int timeout_ms, struct err *err)
{
    uint64_t until = clock_mono_ns() + (uint64_t)timeout_ms * MS;
    bool ok = true;
    mutex_lock(&follow->lock);
    /* A question that is under way may have been put before what the caller wants to see was acknowledged. */
    int64_t wanted = follow->asked + 1;
    while (ok && follow->answered < wanted) {
        if (!follow->is_asking)
            ok = question_ask(follow, until, err);
        else
            ok = change_await(follow, until) ||
                 err_set(err, ERR_RETRY, "the topics' ends were not learnt in time: try again");
    }
    mutex_unlock(&follow->lock);
    if (!ok && err->exit_code == ERR_EXIT_UNREACHABLE) err->class = ERR_RETRY;
    return ok;
}

/* ---- closing ---- */

static void parts_stop(struct ingest_follow *follow)
{
    for (int i = 0; i < follow->n_parts; i++)
        if (follow->parts[i].is_started)
            (void)rd_kafka_consume_stop(follow->handles[follow->parts[i].topic],
                                        follow->parts[i].partition);
}

void ingest_follow_close(struct ingest_follow *follow)
{
    if (!follow) return;
    for (int i = 0; i < follow->n_messages; i++)
        rd_kafka_message_destroy(follow->messages[i]);
    parts_stop(follow);
    if (follow->queue) rd_kafka_queue_destroy(follow->queue);
    for (int t = 0; t < follow->n_topics; t++) {
        if (follow->handles[t]) rd_kafka_topic_destroy(follow->handles[t]);
        mem_free(follow->topics[t]);
    }
    bool is_gone = line_close(&follow->asking);
    is_gone = line_close(&follow->reading) && is_gone;
    if (!is_gone) return; /* its notes may still be written to */
    condition_fini(&follow->changed);
    mutex_fini(&follow->lock);
    mem_free(follow->topics);
    mem_free(follow->handles);
    mem_free(follow->first);
    mem_free(follow->parts);
    mem_free(follow->ends);
    mem_free(follow->records);
    mem_free(follow->messages);
    mem_free(follow);
}
