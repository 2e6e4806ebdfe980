/* Dead letters: the original record byte for byte, with its headers, and behind them why it is here, under the names that
 * Kafka Connect's tools know (DeadLetterQueueReporter.java). */
#include "emit/internal.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

/* Further ahead than any clock should be, and well below what brokers refuse (message.timestamp.after.max.ms, an hour in Kafka 4). */
enum { AHEAD_MS = 300000 };

static void add(rd_kafka_headers_t *headers, const char *name, const char *value)
{
    (void)rd_kafka_header_add(headers, name, -1, value, (ssize_t)strlen(value));
}

/* The original headers first and untouched: a header of ours that is there already (a replayed letter) stays, ours goes
 * behind it, and readers take the last of a name. */
static rd_kafka_headers_t *headers_make(const struct emit_dead_letter *letter)
{
    rd_kafka_headers_t *original = NULL, *headers;
    char text[EMIT__SOURCE_MAX];
    bool has = letter->message && !letter->is_bare &&
               rd_kafka_message_headers(letter->message, &original) == RD_KAFKA_RESP_ERR_NO_ERROR;
    headers = has ? rd_kafka_headers_copy(original) : rd_kafka_headers_new(8);
    add(headers, "__connect.errors.topic", letter->source.topic);
    (void)snprintf(text, sizeof text, "%d", (int)letter->source.partition);
    add(headers, "__connect.errors.partition", text);
    (void)snprintf(text, sizeof text, "%lld", (long long)letter->source.offset);
    add(headers, "__connect.errors.offset", text);
    add(headers, "__connect.errors.stage", letter->stage);
    add(headers, "__connect.errors.class.name", "freshet");
    add(headers, "__connect.errors.exception.class.name", letter->reason);
    add(headers, "__connect.errors.exception.message", letter->text ? letter->text : "");
    size_t len = emit__source_text(letter->source, text);
    (void)rd_kafka_header_add(headers, "freshet-src", -1, text, (ssize_t)len);
    return headers;
}

/* A letter of a time to come would be refused for ever, or its segment kept past its retention. */
static int64_t time_choose(const struct emit_dead_letter *letter, rd_kafka_headers_t *headers)
{
    char text[24];
    int64_t now_ms = clock_wall_ms(&(struct clock){0});
    if (letter->timestamp_ms <= now_ms + AHEAD_MS) return letter->timestamp_ms;
    (void)snprintf(text, sizeof text, "%lld", (long long)letter->timestamp_ms);
    add(headers, "freshet-timestamp-ms", text);
    return now_ms;
}

static rd_kafka_resp_err_t letter_send(struct emit *emit, struct emit_epoch *epoch,
                                       const struct emit_dead_letter *letter, bool with_value,
                                       struct err *err)
{
    union {
        const char *in;
        void *out;
    } key = {.in = letter->is_bare ? NULL : letter->key.ptr},
      value = {.in = with_value ? letter->value.ptr : NULL};
    char size[24];
    rd_kafka_headers_t *headers = headers_make(letter);
    int64_t timestamp_ms = time_choose(letter, headers);
    (void)snprintf(size, sizeof size, "%zu", letter->value.len);
    if (!with_value) add(headers, "freshet-value-left-out-bytes", size);
    rd_kafka_vu_t parts[] = {
        {.vtype = RD_KAFKA_VTYPE_RKT},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {key.out, letter->is_bare ? 0 : letter->key.len}},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {value.out, with_value ? letter->value.len : 0}},
        {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = timestamp_ms},
        {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = epoch},
    };
    rd_kafka_resp_err_t code =
        emit__produce(emit, epoch, EMIT__DLQ, parts, sizeof parts / sizeof parts[0], err);
    if (code) rd_kafka_headers_destroy(headers);
    return code;
}

/* The headers make a letter longer than its original, which may already be as long as a record can be. Then the value
 * is left out, and a header says how long it was; where that is not enough, all of the original is. It still stands at its position. */
bool emit_dead_letter(struct emit *emit, struct emit_epoch *epoch,
                      const struct emit_dead_letter *letter, struct err *err)
{
    rd_kafka_resp_err_t code = letter_send(emit, epoch, letter, !letter->is_bare, err);
    if (code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
        code = letter_send(emit, epoch, letter, false, err);
    if (code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) {
        struct emit_dead_letter bare = *letter;
        bare.is_bare = true;
        code = letter_send(emit, epoch, &bare, false, err);
    }
    return code == RD_KAFKA_RESP_ERR_NO_ERROR;
}
