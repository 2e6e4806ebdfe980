/* Records with tags, for an event loop: delivery reports come through a queue that tells a descriptor. */
#include "emit/post.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "kafka/client.h"

enum { CLOSE_MS = 5000 };

struct emit_post {
    struct kafka_notes notes;
    rd_kafka_t *client;
    rd_kafka_topic_t *topic;
    rd_kafka_queue_t *reports;
    int event_fd;
};

bool emit_post_open(struct emit_post **out, const struct kafka_config *config, const char *topic,
                    struct err *err)
{
    static const uint64_t one = 1;
    struct emit_post *post = mem_zalloc(sizeof *post);
    kafka_notes_init(&post->notes, false, post);
    post->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    rd_kafka_conf_t *conf = kafka_client_conf(config, KAFKA_PRODUCER, NULL, 0, err);
    if (!conf) goto fail;
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR);
    post->client = kafka_client_new(conf, KAFKA_PRODUCER, &post->notes, err);
    if (!post->client) goto fail;
    post->topic = rd_kafka_topic_new(post->client, topic, NULL);
    if (!post->topic || post->event_fd < 0) {
        err_fatal(err, ERR_EXIT_INTERNAL, "cannot prepare to send to topic '%s': %s", topic,
                  strerror(errno));
        goto fail;
    }
    post->reports = rd_kafka_queue_get_main(post->client);
    rd_kafka_queue_io_event_enable(post->reports, post->event_fd, &one, sizeof one);
    *out = post;
    return true;
fail:
    emit_post_close(post);
    return false;
}

bool emit_post_send_to(struct emit_post *post, int32_t partition, struct str key, struct str value,
                       int64_t timestamp_ms, uint64_t tag, struct err *err)
{
    union {
        const char *in;
        void *out;
    } key_bytes = {.in = key.ptr}, value_bytes = {.in = value.ptr};
    const rd_kafka_vu_t parts[] = {
        {.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = post->topic},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = partition},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {key_bytes.out, key.len}},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {value_bytes.out, value.len}},
        {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = timestamp_ms},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = (void *)(uintptr_t)tag},
    };
    rd_kafka_error_t *error =
        rd_kafka_produceva(post->client, parts, sizeof parts / sizeof parts[0]);
    if (!error) return true;
    (void)kafka_err_set(err, rd_kafka_error_code(error), rd_kafka_error_string(error),
                        "cannot send to topic '%s'", rd_kafka_topic_name(post->topic));
    rd_kafka_error_destroy(error);
    return false;
}

bool emit_post_send(struct emit_post *post, struct str key, struct str value, int64_t timestamp_ms,
                    uint64_t tag, struct err *err)
{
    return emit_post_send_to(post, RD_KAFKA_PARTITION_UA, key, value, timestamp_ms, tag, err);
}

int emit_post_event_fd(const struct emit_post *post)
{
    return post->event_fd;
}

void emit_post_take(struct emit_post *post,
                    void (*visit)(void *context, const struct emit_posted *posted), void *context)
{
    uint64_t told;
    rd_kafka_event_t *event;
    while (read(post->event_fd, &told, sizeof told) > 0)
        continue;
    while ((event = rd_kafka_queue_poll(post->reports, 0)) != NULL) {
        const rd_kafka_message_t *message;
        while (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR &&
               (message = rd_kafka_event_message_next(event))) {
            const struct emit_posted posted = {.tag = (uint64_t)(uintptr_t)message->_private,
                                               .ok = !message->err,
                                               .why = message->err ? rd_kafka_err2str(message->err)
                                                                   : NULL};
            visit(context, &posted);
        }
        rd_kafka_event_destroy(event);
    }
}

void emit_post_close(struct emit_post *post)
{
    if (!post) return;
    if (post->reports) {
        rd_kafka_queue_io_event_enable(post->reports, -1, NULL, 0);
        rd_kafka_queue_destroy(post->reports);
    }
    if (post->topic) rd_kafka_topic_destroy(post->topic);
    if (post->client)
        (void)rd_kafka_purge(post->client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    if (post->event_fd >= 0) (void)close(post->event_fd);
    if (post->client && !kafka_client_free(post->client, CLOSE_MS)) return;
    kafka_notes_fini(&post->notes);
    mem_free(post);
}
