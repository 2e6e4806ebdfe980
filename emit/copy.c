/* Records copied from one topic into another, each awaited. */
#include "emit/copy.h"

#include <string.h>

#include "base/mem.h"
#include "kafka/client.h"

enum { CLOSE_MS = 5000, WAIT_MS = 200, CALL_MS = 10000 };

struct emit_copier {
    struct kafka_notes notes;
    rd_kafka_t *client;
    rd_kafka_queue_t *reports;
    bool is_alone; /* it has a transactional.id */
    bool failed;
    struct err failure; /* the first one */
};

/* The topic says how long a record may be: a copy has one header more than what it is of, which was as long as it may be for who sent it. */
static const struct kafka_setting length = {"message.max.bytes", "100000000"};

static bool copier_open(struct emit_copier **out, const struct kafka_config *config,
                        const struct kafka_setting *own, size_t n_own, bool is_alone,
                        struct err *err)
{
    struct emit_copier *copier = mem_zalloc(sizeof *copier);
    copier->is_alone = is_alone;
    kafka_notes_init(&copier->notes, is_alone, copier);
    rd_kafka_conf_t *conf = kafka_client_conf(config, KAFKA_PRODUCER, own, n_own, err);
    if (conf) {
        rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR);
        copier->client = kafka_client_new(conf, KAFKA_PRODUCER, &copier->notes, err);
    }
    if (!copier->client) {
        emit_copier_close(copier);
        return false;
    }
    copier->reports = rd_kafka_queue_get_main(copier->client);
    *out = copier;
    return true;
}

bool emit_copier_open(struct emit_copier **copier, const struct kafka_config *config,
                      struct err *err)
{
    return copier_open(copier, config, &length, 1, false, err);
}

/* What a transaction's call came to. */
static bool is_done(rd_kafka_error_t *error, const char *what, struct err *err)
{
    if (!error) return true;
    (void)kafka_err_set(err, rd_kafka_error_code(error), rd_kafka_error_string(error), "%s", what);
    rd_kafka_error_destroy(error);
    return false;
}

bool emit_copier_open_alone(struct emit_copier **copier, const struct kafka_config *config,
                            const char *transactional_id, struct err *err)
{
    const struct kafka_setting own[] = {length,
                                        {"transactional.id", transactional_id},
                                        {"transaction.timeout.ms", "20000"},
                                        {"message.timeout.ms", "10000"}};
    if (!copier_open(copier, config, own, sizeof own / sizeof own[0], true, err)) return false;
    if (is_done(rd_kafka_init_transactions((*copier)->client, CALL_MS), "cannot begin to copy",
                err))
        return true;
    emit_copier_close(*copier);
    *copier = NULL;
    return false;
}

void emit_copier_close(struct emit_copier *copier)
{
    if (!copier) return;
    if (copier->reports) rd_kafka_queue_destroy(copier->reports);
    if (copier->client) {
        (void)rd_kafka_purge(copier->client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        if (!kafka_client_free(copier->client, CLOSE_MS)) return; /* it may still log */
    }
    kafka_notes_fini(&copier->notes);
    mem_free(copier);
}

/* ---- sending ---- */

static rd_kafka_headers_t *headers_make(const struct emit_copy *copy)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(8), *original;
    const char *name;
    const void *value;
    size_t len;
    if (copy->message && !rd_kafka_message_headers(copy->message, &original))
        for (size_t i = 0;
             i < copy->n_headers &&
             !rd_kafka_header_get_all(original, copy->first_header + i, &name, &value, &len);
             i++)
            (void)rd_kafka_header_add(headers, name, -1, value, value ? (ssize_t)len : 0);
    for (int i = 0; i < EMIT_COPY_HEADERS_MAX && copy->extra[i].name; i++) {
        const struct emit_header *extra = &copy->extra[i];
        (void)rd_kafka_header_remove(headers, extra->name);
        (void)rd_kafka_header_add(headers, extra->name, -1, extra->value.ptr,
                                  (ssize_t)extra->value.len);
    }
    return headers;
}

static bool copy_put(struct emit_copier *copier, struct emit_copy *copy, struct err *err)
{
    union {
        const char *in;
        void *out;
    } key = {.in = copy->key.ptr}, value = {.in = copy->value.ptr};
    rd_kafka_headers_t *headers = headers_make(copy);
    const rd_kafka_vu_t parts[] = {
        {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = copy->topic},
        {.vtype = RD_KAFKA_VTYPE_PARTITION,
         .u.i32 = copy->partition < 0 ? RD_KAFKA_PARTITION_UA : copy->partition},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {key.out, copy->key.len}},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {value.out, copy->value.len}},
        {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = copy->timestamp_ms},
        {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = copy},
    };
    rd_kafka_error_t *error =
        rd_kafka_produceva(copier->client, parts, sizeof parts / sizeof parts[0]);
    if (!error) return true;
    (void)kafka_err_set(err, rd_kafka_error_code(error), rd_kafka_error_string(error),
                        "cannot send to topic '%s'", copy->topic);
    rd_kafka_error_destroy(error);
    rd_kafka_headers_destroy(headers);
    return false;
}

/* One report: where the record stands, or why not. */
static void report_take(struct emit_copier *copier, const rd_kafka_message_t *message)
{
    struct emit_copy *copy = message->_private;
    copy->is_acked = !message->err;
    copy->at_partition = message->partition;
    copy->at_offset = message->offset;
    if (!message->err || copier->failed) return;
    copier->failed = true;
    (void)kafka_err_set(&copier->failure, message->err, NULL,
                        "a record for topic '%s' was not acknowledged", copy->topic);
}

/* Takes n reports; librdkafka makes one for each record, within message.timeout.ms. */
static void reports_await(struct emit_copier *copier, int n)
{
    while (n > 0) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(copier->reports, WAIT_MS);
        const rd_kafka_message_t *message;
        char why[256] = "";
        if (!event) continue;
        while (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR &&
               (message = rd_kafka_event_message_next(event))) {
            report_take(copier, message);
            n--;
        }
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR &&
            rd_kafka_event_error_is_fatal(event) && !copier->failed) {
            rd_kafka_resp_err_t code = rd_kafka_fatal_error(copier->client, why, sizeof why);
            (void)kafka_err_set(&copier->failure, code, why, "the producer cannot go on");
            copier->failed = true;
        }
        rd_kafka_event_destroy(event);
    }
}

static bool copies_send(struct emit_copier *copier, struct emit_copy *copies, int n,
                        struct err *err)
{
    int sent = 0;
    bool ok = true;
    for (int i = 0; i < n; i++)
        copies[i].is_acked = false;
    for (int i = 0; i < n && ok; i++) {
        ok = copy_put(copier, &copies[i], err);
        sent += ok;
    }
    reports_await(copier, sent);
    if (ok && copier->failed) *err = copier->failure;
    return ok && !copier->failed;
}

bool emit_copy_send(struct emit_copier *copier, struct emit_copy *copies, int n, struct err *err)
{
    if (!copier->is_alone) return copies_send(copier, copies, n, err);
    return is_done(rd_kafka_begin_transaction(copier->client), "cannot begin to copy", err) &&
           copies_send(copier, copies, n, err) &&
           is_done(rd_kafka_commit_transaction(copier->client, CALL_MS), "cannot copy", err);
}
