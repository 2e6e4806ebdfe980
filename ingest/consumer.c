/* The consumer's life on the main thread: opening, group events and errors, lag and commits, closing. */
#include "ingest/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"

enum {
    OPEN_MS = 30000,
    CLOSE_MS = 5000,
    CLOSE_FAILED_MS = 500,
    COMMIT_EVERY_MS = 250,
    HOLD_MS = 300000, /* also patience_ms */
    ARENA_BLOCK = 256 * 1024,
};

/* ---- errors ---- */

void ingest__fail(struct ingest *ingest, const struct err *err)
{
    if (ingest->has_failed) return;
    ingest->failure = *err;
    ingest->failure.class = ERR_FATAL;
    ingest->has_failed = true;
}

/* An error of the whole client. What passes by itself (brokers away, group in motion) is logged by librdkafka already;
 * what does not, ends the process. */
static void error_take(struct ingest *ingest, rd_kafka_resp_err_t code, const char *reason)
{
    struct err err = ERR_INIT;
    char why[256];
    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        code = rd_kafka_fatal_error(ingest->client, why, sizeof why);
        reason = why;
    }
    if (code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID &&
        (ingest->is_displaced || ingest__is_outside(ingest) || ingest__is_fresh(ingest))) {
        if (!ingest->is_displaced) ingest__displace(ingest);
        return;
    }
    (void)kafka_err_set(&err, code, reason, "consumer of group '%s'", ingest->options.group_id);
    if (err_passes(&err))
        log_debug("ingest", "the consumer met an error and goes on", "error=%s",
                  rd_kafka_err2name(code));
    else
        ingest__fail(ingest, &err);
}

static void on_error(rd_kafka_t *client, int code, const char *reason, void *opaque)
{
    (void)client;
    struct ingest *ingest = ((struct kafka_notes *)opaque)->owner;
    error_take(ingest, (rd_kafka_resp_err_t)code, reason);
}

static void on_commit(rd_kafka_t *client, rd_kafka_resp_err_t code,
                      rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct ingest *ingest = ((struct kafka_notes *)opaque)->owner;
    (void)client;
    if (code && code != RD_KAFKA_RESP_ERR__NO_OFFSET)
        log_debug("ingest", "positions were not committed", "error=%s", rd_kafka_err2name(code));
    for (int i = 0; list && !code && i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *part = &list->elems[i];
        int topic = ingest__topic_index(ingest, part->topic);
        if (topic >= 0 && !part->err)
            sync_int_set(&ingest__slot(ingest, topic, part->partition)->acked, part->offset);
    }
}

/* ---- opening ---- */

int ingest__topic_index(const struct ingest *ingest, const char *name)
{
    for (int t = 0; t < ingest->options.n_topics; t++)
        if (strcmp(ingest->topics[t], name) == 0) return t;
    return -1;
}

/* All topics must have the same number of partitions: a user's events meet in one partition number. */
static bool partitions_check(struct ingest *ingest, const struct kafka_config *config,
                             struct err *err)
{
    const struct ingest_options *options = &ingest->options;
    int *counts = mem_alloc((size_t)options->n_topics * sizeof *counts);
    bool ok =
        kafka_topics_partitions(config, options->topics, options->n_topics, counts, OPEN_MS, err);
    ingest->partitions = ok ? counts[0] : 0;
    for (int t = 1; ok && t < options->n_topics; t++)
        if (counts[t] != counts[0])
            ok = err_fatal(err, ERR_EXIT_TOPIC,
                           "topic '%s' has %d partitions and '%s' has %d: topics that are read "
                           "together need the same "
                           "number, so that a user's events meet; create one of them again",
                           options->topics[0], counts[0], options->topics[t], counts[t]);
    mem_free(counts);
    return ok;
}

static bool client_make(struct ingest *ingest, struct err *err)
{
    const struct ingest_options *options = &ingest->options;
    char session[16], heartbeat[16];
    int session_ms = options->session_timeout_ms > 0 ? options->session_timeout_ms : 45000;
    (void)snprintf(session, sizeof session, "%d", session_ms);
    (void)snprintf(heartbeat, sizeof heartbeat, "%d",
                   session_ms / 10 < 3000 ? session_ms / 10 : 3000);
    const struct kafka_setting own[] = {
        {"group.id", options->group_id},
        {"session.timeout.ms", session},
        {"heartbeat.interval.ms", heartbeat},
        /* What stands behind the last record may be markers alone: the end says so (ingest__slot.passed). */
        {"enable.partition.eof", "true"},
        {"group.instance.id", options->group_instance_id},
    };
    size_t n = sizeof own / sizeof own[0] - (options->group_instance_id ? 0 : 1);
    rd_kafka_conf_t *conf = kafka_client_conf(ingest->config, KAFKA_CONSUMER, own, n, err);
    if (!conf) return false;
    rd_kafka_conf_set_rebalance_cb(conf, ingest__on_rebalance);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_offset_commit_cb(conf, on_commit);
    ingest->client = kafka_client_new(conf, KAFKA_CONSUMER, &ingest->notes, err);
    if (!ingest->client) return false;
    (void)rd_kafka_poll_set_consumer(ingest->client);
    return true;
}

static void tables_make(struct ingest *ingest)
{
    size_t n_topics = (size_t)ingest->options.n_topics, partitions = (size_t)ingest->partitions;
    size_t batch_max = (size_t)ingest->options.batch_max;
    ingest->handles = mem_zalloc(n_topics * sizeof(rd_kafka_topic_t *));
    ingest->slots = mem_zalloc(n_topics * partitions * sizeof *ingest->slots);
    for (size_t i = 0; i < n_topics * partitions; i++) {
        sync_int_set(&ingest->slots[i].commit, -1);
        sync_int_set(&ingest->slots[i].passed, -1);
    }
    ingest->owned = mem_zalloc(partitions * sizeof *ingest->owned);
    ingest->dropped = mem_zalloc(partitions * sizeof *ingest->dropped);
    ingest->waiting = mem_zalloc(partitions * sizeof *ingest->waiting);
    ingest->next = mem_zalloc(n_topics * sizeof *ingest->next);
    ingest->shards = mem_zalloc((size_t)ingest->options.shards * sizeof *ingest->shards);
    for (int s = 0; s < ingest->options.shards; s++) {
        struct ingest__shard *shard = &ingest->shards[s];
        shard->records = mem_zalloc(batch_max * sizeof *shard->records);
        shard->messages = mem_zalloc(batch_max * sizeof(rd_kafka_message_t *));
        shard->arena = arena_new(ARENA_BLOCK, INGEST__ARENA_MAX);
    }
}

/* The descriptor is told once by hand: librdkafka tells it only when the queue turns from empty to not empty, and it may
 * have done so before we listened. */
static bool events_enable(struct ingest *ingest, struct err *err)
{
    static const uint64_t one = 1;
    if (ingest->event_fd < 0) ingest->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (ingest->event_fd < 0)
        return err_fatal(err, ERR_EXIT_INTERNAL, "cannot make an eventfd: %s", strerror(errno));
    ingest->main_queue = rd_kafka_queue_get_consumer(ingest->client);
    rd_kafka_queue_io_event_enable(ingest->main_queue, ingest->event_fd, &one, sizeof one);
    return write(ingest->event_fd, &one, sizeof one) == sizeof one;
}

static bool subscribe(struct ingest *ingest, struct err *err)
{
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new(ingest->options.n_topics);
    for (int t = 0; t < ingest->options.n_topics; t++)
        rd_kafka_topic_partition_list_add(list, ingest->topics[t], RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t code = rd_kafka_subscribe(ingest->client, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (code)
        return kafka_err_set(err, code, NULL, "cannot join group '%s'", ingest->options.group_id);
    return true;
}

bool ingest__client_open(struct ingest *ingest, struct err *err)
{
    if (!client_make(ingest, err)) return false;
    for (int t = 0; t < ingest->options.n_topics; t++)
        ingest->handles[t] = rd_kafka_topic_new(ingest->client, ingest->topics[t], NULL);
    for (int s = 0; s < ingest->options.shards; s++)
        ingest->shards[s].queue = rd_kafka_queue_new(ingest->client);
    return events_enable(ingest, err) && subscribe(ingest, err);
}

static void tables_free(struct ingest *ingest)
{
    for (int t = 0; ingest->topics && t < ingest->options.n_topics; t++)
        mem_free(ingest->topics[t]);
    mem_free(ingest->topics);
    mem_free(ingest->handles);
    mem_free(ingest->slots);
    mem_free(ingest->owned);
    mem_free(ingest->dropped);
    mem_free(ingest->waiting);
    mem_free(ingest->next);
    ingest__peers_free(&ingest->peers);
    for (int s = 0; ingest->shards && s < ingest->options.shards; s++) {
        mem_free(ingest->shards[s].records);
        mem_free(ingest->shards[s].messages);
        arena_free(ingest->shards[s].arena);
    }
    mem_free(ingest->shards);
}

bool ingest_open(struct ingest **out, const struct kafka_config *config,
                 const struct ingest_options *options, struct schemas *schemas,
                 const struct ingest_callbacks *callbacks, struct err *err)
{
    struct ingest *ingest = mem_zalloc(sizeof *ingest);
    ingest->config = config;
    mutex_init(&ingest->lock);
    kafka_notes_init(&ingest->notes, false, ingest);
    ingest->options = *options;
    if (ingest->options.hold_ms <= 0) ingest->options.hold_ms = HOLD_MS;
    if (ingest->options.patience_ms <= 0) ingest->options.patience_ms = HOLD_MS;
    ingest->schemas = schemas;
    ingest->callbacks = *callbacks;
    ingest->event_fd = -1;
    ingest->topics = mem_zalloc((size_t)options->n_topics * sizeof(char *));
    for (int t = 0; t < options->n_topics; t++)
        ingest->topics[t] = mem_strdup(options->topics[t]);
    if (!partitions_check(ingest, config, err)) goto fail;
    tables_make(ingest);
    if (!ingest__client_open(ingest, err)) goto fail;
    *out = ingest;
    return true;
fail:
    ingest_close(ingest);
    return false;
}

/* ---- serving ---- */

bool ingest_serve(struct ingest *ingest, int timeout_ms, struct err *err)
{
    uint64_t told;
    while (read(ingest->event_fd, &told, sizeof told) > 0)
        continue;
    rd_kafka_message_t *message;
    while (!ingest->has_failed &&
           (message = rd_kafka_consumer_poll(ingest->client, timeout_ms)) != NULL) {
        /* Records go to the shards' queues. Here come errors, what a partition says that is just being given back, and strays. */
        ingest->strays += !message->err || message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
        if (message->err && message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
            error_take(ingest, message->err, rd_kafka_message_errstr(message));
        rd_kafka_message_destroy(message);
        timeout_ms = 0;
    }
    if (!ingest->is_displaced && fault_fails("displaced")) ingest__displace(ingest);
    ingest__restart_serve(ingest);
    uint64_t now = clock_mono_ns();
    if (now >= ingest->commit_at_ns) {
        ingest->commit_at_ns = now + (uint64_t)COMMIT_EVERY_MS * 1000000;
        ingest__commit_send(ingest);
    }
    if (!ingest->has_failed) return true;
    /* Another process is at work in our place: what we hold is worth nothing, and nothing more goes out. */
    if (ingest->failure.exit_code == ERR_EXIT_FENCED) ingest_drop(ingest);
    *err = ingest->failure;
    return false;
}

void ingest_hurry(struct ingest *ingest)
{
    flag_raise(&ingest->is_hurried);
}

int ingest_event_fd(const struct ingest *ingest)
{
    return ingest->event_fd;
}

void ingest_commit(struct ingest *ingest, int topic, int32_t partition, int64_t next)
{
    sync_int_set(&ingest__slot(ingest, topic, partition)->commit, next);
}

int64_t ingest_lag(struct ingest *ingest, int topic, int32_t partition, int64_t next)
{
    int64_t low = -1, high = -1;
    mutex_lock(&ingest->lock);
    rd_kafka_resp_err_t code =
        ingest->client ? rd_kafka_get_watermark_offsets(ingest->client, ingest->topics[topic],
                                                        partition, &low, &high)
                       : RD_KAFKA_RESP_ERR__STATE;
    mutex_unlock(&ingest->lock);
    if (code || high < 0) return -1;
    if (next < 0) next = ingest__begins_at_end(ingest, topic, partition) ? high : low > 0 ? low : 0;
    const struct ingest__slot *slot = ingest__slot(ingest, topic, partition);
    int64_t passed = sync_int_get_acquire(&slot->passed);
    if (passed > next && next >= sync_int_get(&slot->passed_from)) next = passed;
    return high > next ? high - next : 0;
}

/* As librdkafka 2.0.2 writes it: "CGMDv2:", the generation (4 bytes, of this machine's order), group and member id, each with its
 * zero. Without generation and member a broker checks nothing, or takes us for another process of our instance. Bytes of another
 * version are believed. */
static bool is_member(const uint8_t *bytes, size_t size)
{
    static const char magic[] = "CGMDv2:";
    enum { MAGIC = sizeof magic - 1, FIXED = MAGIC + sizeof(int32_t) };
    int32_t generation;
    if (size <= FIXED || memcmp(bytes, magic, MAGIC) != 0) return true;
    memcpy(&generation, bytes + MAGIC, sizeof generation);
    size_t member = FIXED + strnlen((const char *)bytes + FIXED, size - FIXED) + 1;
    return generation >= 0 && member < size && bytes[member] != '\0';
}

bool ingest_group(struct ingest *ingest, struct buf *out, struct err *err)
{
    void *bytes = NULL;
    size_t size = 0;
    mutex_lock(&ingest->lock);
    rd_kafka_consumer_group_metadata_t *group =
        fault_mutant("group_unnamed")
            ? rd_kafka_consumer_group_metadata_new(ingest->options.group_id)
            : rd_kafka_consumer_group_metadata(ingest->client);
    rd_kafka_error_t *error = rd_kafka_consumer_group_metadata_write(group, &bytes, &size);
    mutex_unlock(&ingest->lock);
    rd_kafka_consumer_group_metadata_destroy(group);
    buf_reset(out);
    if (error) {
        (void)kafka_err_set(err, rd_kafka_error_code(error), rd_kafka_error_string(error),
                            "cannot say who we are in group '%s'", ingest->options.group_id);
        rd_kafka_error_destroy(error);
        err->class = ERR_FATAL;
        return false;
    }
    buf_push(out, bytes, size);
    rd_kafka_mem_free(NULL, bytes);
    if (is_member(out->data, out->len) || fault_mutant("group_unnamed")) return true;
    return err_set_at(err, ERR_ABORT, ERR_EXIT_UNREACHABLE, __FILE__, __LINE__,
                      "group '%s' has not heard of us for session.timeout.ms: the transaction is "
                      "dropped, and done again once we are back in the group",
                      ingest->options.group_id);
}

/* ---- closing ---- */

/* Leaves the group (a static member keeps its place) and gives the partitions back, for a bounded time; a client that
 * has failed often cannot, and gets less of it. */
static void group_leave(struct ingest *ingest)
{
    int wait_ms = ingest->has_failed ? CLOSE_FAILED_MS : CLOSE_MS;
    uint64_t until = clock_mono_ns() + (uint64_t)wait_ms * 1000000;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(ingest->client);
    rd_kafka_error_t *error = rd_kafka_consumer_close_queue(ingest->client, queue);
    if (error) rd_kafka_error_destroy(error);
    while (!rd_kafka_consumer_closed(ingest->client) && clock_mono_ns() < until) {
        rd_kafka_message_t *message = rd_kafka_consume_queue(queue, 20);
        if (message) rd_kafka_message_destroy(message);
    }
    rd_kafka_queue_destroy(queue);
}

/* A record that is not given back would keep the client from ending. */
static void shard_drop(struct ingest__shard *shard)
{
    for (int i = 0; i < shard->n; i++)
        rd_kafka_message_destroy(shard->messages[i]);
    if (shard->held) rd_kafka_message_destroy(shard->held);
    if (shard->queue) rd_kafka_queue_destroy(shard->queue);
    shard->n = 0;
    shard->held = NULL;
    shard->queue = NULL;
}

void ingest__client_close(struct ingest *ingest)
{
    if (ingest->main_queue) {
        rd_kafka_queue_io_event_enable(ingest->main_queue, -1, NULL, 0);
        rd_kafka_queue_destroy(ingest->main_queue);
    }
    ingest->main_queue = NULL;
    for (int s = 0; ingest->shards && s < ingest->options.shards; s++)
        shard_drop(&ingest->shards[s]);
    for (int t = 0; ingest->handles && t < ingest->options.n_topics; t++) {
        if (ingest->handles[t]) rd_kafka_topic_destroy(ingest->handles[t]);
        ingest->handles[t] = NULL;
    }
}

void ingest_close(struct ingest *ingest)
{
    if (!ingest) return;
    if (ingest->main_queue) rd_kafka_queue_io_event_enable(ingest->main_queue, -1, NULL, 0);
    if (ingest->client && ingest->main_queue) group_leave(ingest);
    ingest__client_close(ingest);
    if (ingest->event_fd >= 0) (void)close(ingest->event_fd);
    if (ingest->client && !kafka_client_free(ingest->client, CLOSE_MS))
        return; /* its callbacks may still come */
    tables_free(ingest);
    kafka_notes_fini(&ingest->notes);
    mutex_fini(&ingest->lock);
    mem_free(ingest);
}
