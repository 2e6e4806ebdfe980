/* LINK:rdkafka*/
/* Dead letters byte for byte: value, key, timestamp, the original headers, then ours. */
#include "base/clock.h"
#include "emit/copy.h"
#include "tests/emit/support.h"

static const struct emit_options OPTIONS = {
    .recommendations_topic = "lists", .dlq_topic = "letters", .queue_bytes = 8 * 1024 * 1024};

/* Poison: NUL bytes, an incomplete UTF-8 sequence, a magic byte that is none. */
static const char VALUE[] = "\x07\x00\x00\xff{\"items\":[\xc3";
static const char KEY[] = "shop\x00u1";
static const char TRACE[] = "00-0af7651916cd43dd\x00-01";

static void check_header(rd_kafka_headers_t *headers, size_t index, const char *name,
                         const void *want, size_t want_size)
{
    const char *got_name;
    const void *got;
    size_t got_size;
    CHECK_INT(rd_kafka_header_get_all(headers, index, &got_name, &got, &got_size), 0);
    CHECK_STR(got_name, name);
    CHECK_BYTES(got, got_size, want, want_size);
}

static void check_text(rd_kafka_headers_t *headers, size_t index, const char *name,
                       const char *want)
{
    check_header(headers, index, name, want, strlen(want));
}

static void check_letter(void *context, rd_kafka_message_t *message)
{
    int *n = context;
    rd_kafka_headers_t *headers;
    size_t at = 0;
    CHECK_BYTES(message->payload, message->len, VALUE, sizeof VALUE - 1);
    CHECK_BYTES(message->key, message->key_len, KEY, sizeof KEY - 1);
    CHECK_INT(rd_kafka_message_timestamp(message, NULL), 1699999999123);
    CHECK_INT(rd_kafka_message_headers(message, &headers), 0);
    check_header(headers, at++, "traceparent", TRACE, sizeof TRACE - 1);
    check_header(headers, at++, "empty", "", 0);
    check_text(headers, at++, "__connect.errors.stage", "an earlier letter's");
    check_text(headers, at++, "__connect.errors.topic", "shop.clicks");
    check_text(headers, at++, "__connect.errors.partition", "7");
    check_text(headers, at++, "__connect.errors.offset", "9007199254740993");
    check_text(headers, at++, "__connect.errors.stage", "decode");
    check_text(headers, at++, "__connect.errors.class.name", "freshet");
    check_text(headers, at++, "__connect.errors.exception.class.name", "bad_id");
    check_text(headers, at++, "__connect.errors.exception.message", "user_id is not UTF-8");
    check_text(headers, at++, "freshet-src", "shop.clicks/7/9007199254740993");
    CHECK_INT(rd_kafka_header_cnt(headers), at);
    (*n)++;
}

/* A cluster, a producer of letters, an epoch. */
struct sending {
    struct cluster cluster;
    struct emit *emit;
    struct emit_epoch *epoch;
};

static void sending_open(struct sending *sending)
{
    struct err err = ERR_INIT;
    cluster_start(&sending->cluster, 1);
    CHECK_OK(emit_open(&sending->emit, &sending->cluster.config, &OPTIONS, &err), err);
    sending->epoch = emit_epoch_new(sending->emit);
}

static void letter_put(struct sending *sending, const struct emit_dead_letter *letter)
{
    struct err err = ERR_INIT;
    CHECK_OK(emit_dead_letter(sending->emit, sending->epoch, letter, &err), err);
}

/* All n letters, once they are acknowledged. */
static void letters_read(struct sending *sending, int n,
                         void (*visit)(void *context, rd_kafka_message_t *message), void *context)
{
    struct err err = ERR_INIT;
    CHECK_INT(epoch_await(sending->epoch, 5000, &err), EMIT_ACKED);
    cluster_read(&sending->cluster, "letters", 0, n, visit, context);
}

static void sending_close(struct sending *sending)
{
    emit_epoch_free(sending->epoch);
    emit_close(sending->emit);
    cluster_stop(&sending->cluster);
}

/* Puts the original with its headers into `lists`, reads it as a consumer does, and makes a letter of it. */
static void send_letter(void *context, rd_kafka_message_t *message)
{
    const struct emit_dead_letter letter = {
        .source = {"shop.clicks", 7, 9007199254740993},
        .key = {message->key, message->key_len},
        .value = {message->payload, message->len},
        .timestamp_ms = rd_kafka_message_timestamp(message, NULL),
        .stage = "decode",
        .reason = "bad_id",
        .text = "user_id is not UTF-8",
        .message = message,
    };
    letter_put(context, &letter);
}

static void produce_original(struct cluster *cluster)
{
    char why[256], value[sizeof VALUE], key[sizeof KEY];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    memcpy(value, VALUE, sizeof VALUE);
    memcpy(key, KEY, sizeof KEY);
    (void)rd_kafka_conf_set(conf, "bootstrap.servers", cluster->config.bootstrap_servers, why,
                            sizeof why);
    rd_kafka_t *producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    const rd_kafka_vu_t parts[] = {
        {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = "lists"},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = 0},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {key, sizeof KEY - 1}},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {value, sizeof VALUE - 1}},
        {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = 1699999999123},
        {.vtype = RD_KAFKA_VTYPE_HEADER, .u.header = {"traceparent", TRACE, sizeof TRACE - 1}},
        {.vtype = RD_KAFKA_VTYPE_HEADER, .u.header = {"empty", "", 0}},
        {.vtype = RD_KAFKA_VTYPE_HEADER,
         .u.header = {"__connect.errors.stage", "an earlier letter's",
                      (ssize_t)strlen("an earlier letter's")}},
    };
    CHECK(rd_kafka_produceva(producer, parts, sizeof parts / sizeof parts[0]) == NULL);
    CHECK_INT(rd_kafka_flush(producer, 5000), 0);
    rd_kafka_destroy(producer);
}

static void the_original_comes_whole(void)
{
    struct sending sending;
    int n = 0;
    sending_open(&sending);
    produce_original(&sending.cluster);
    cluster_read(&sending.cluster, "lists", 0, 1, send_letter, &sending);
    letters_read(&sending, 1, check_letter, &n);
    CHECK_INT(n, 1);
    sending_close(&sending);
}

/* ---- what does not fit, and what is not there ---- */

static void check_edges(void *context, rd_kafka_message_t *message)
{
    int *n = context;
    rd_kafka_headers_t *headers;
    const void *value;
    size_t size;
    CHECK_INT(rd_kafka_message_headers(message, &headers), 0);
    CHECK(message->payload == NULL);
    CHECK_INT(message->key_len, *n == 1);
    if (*n == 0) {
        CHECK(rd_kafka_header_get_last(headers, "freshet-value-left-out-bytes", &value, &size) !=
              0);
    } else {
        CHECK_INT(rd_kafka_header_get_last(headers, "freshet-value-left-out-bytes", &value, &size),
                  0);
        CHECK_BYTES(value, size, *n == 1 ? "999950" : "8", *n == 1 ? 6u : 1u);
    }
    (*n)++;
}

/* A record as long as records can be does not fit once headers are added: it must not stop the pipeline. */
static void null_values_and_too_long_records(void)
{
    struct sending sending;
    static char big[999950];
    int n = 0;
    sending_open(&sending);
    struct emit_dead_letter letter = {.source = {"shop.clicks", 0, 1},
                                      .timestamp_ms = 1,
                                      .stage = "decode",
                                      .reason = "empty",
                                      .text = NULL};
    letter_put(&sending, &letter);
    letter.value = (struct str){big, sizeof big};
    letter.key = STR("u");
    letter_put(&sending, &letter);
    letter.key = letter.value;
    letter.value = STR("no event");
    letter_put(&sending, &letter);
    letters_read(&sending, 3, check_edges, &n);
    sending_close(&sending);
}

/* Values of growing lengths up to what a record may have: around the last one that fits. */
enum { LENGTH_MIN = 999200, LENGTH_MAX = 1000000, LENGTH_STEP = 20 };

struct longest {
    struct emit_copier *copier;
    int whole, cut;
};

static void copy_whole(void *context, rd_kafka_message_t *message)
{
    struct longest *longest = context;
    struct err err = ERR_INIT;
    longest->whole += message->payload != NULL;
    longest->cut += message->payload == NULL;
    struct emit_copy copy = {.topic = "lists",
                             .key = {message->key, message->key_len},
                             .value = {message->payload, message->len},
                             .message = message,
                             .n_headers = SIZE_MAX,
                             .extra = {{"freshet-dlq-was", STR("letters/0/1234567890")}}};
    CHECK_OK(emit_copy_send(longest->copier, &copy, 1, &err), err);
}

/* The redactor does, with one header more. */
static void the_longest_letters_can_be_copied(void)
{
    struct sending sending;
    struct longest longest = {0};
    struct err err = ERR_INIT;
    static char big[LENGTH_MAX];
    sending_open(&sending);
    CHECK_OK(emit_copier_open(&longest.copier, &sending.cluster.config, &err), err);
    struct emit_dead_letter letter = {
        .source = {"shop.clicks", 0, 1}, .stage = "decode", .reason = "decode"};
    int n = 0;
    for (size_t len = LENGTH_MIN; len <= LENGTH_MAX; len += LENGTH_STEP, n++) {
        letter.value = (struct str){big, len};
        letter_put(&sending, &letter);
    }
    letters_read(&sending, n, copy_whole, &longest);
    CHECK(longest.whole > 0 && longest.cut > 0);
    emit_copier_close(longest.copier);
    sending_close(&sending);
}

/* ---- a time to come ---- */

enum { MINUTE_MS = 60000, HOUR_MS = 3600000 };

struct times {
    int64_t now_ms, ahead_ms;
    int n;
};

static void check_time(void *context, rd_kafka_message_t *message)
{
    struct times *times = context;
    rd_kafka_headers_t *headers;
    const void *value;
    size_t size;
    char ahead[24];
    int64_t got = rd_kafka_message_timestamp(message, NULL);
    CHECK_INT(rd_kafka_message_headers(message, &headers), 0);
    bool has = rd_kafka_header_get_last(headers, "freshet-timestamp-ms", &value, &size) == 0;
    if (times->n++ == 0) {
        CHECK(!has);
        CHECK_INT(got, times->now_ms + MINUTE_MS);
        return;
    }
    CHECK(has);
    CHECK(got >= times->now_ms && got <= times->now_ms + MINUTE_MS);
    (void)snprintf(ahead, sizeof ahead, "%lld", (long long)times->ahead_ms);
    CHECK_BYTES(value, size, ahead, strlen(ahead));
}

/* Brokers refuse it. A clock that is a little behind the sender's is none. */
static void a_time_to_come_goes_into_a_header(void)
{
    struct sending sending;
    sending_open(&sending);
    struct times times = {.now_ms = clock_wall_ms(&(struct clock){0})};
    times.ahead_ms = times.now_ms + HOUR_MS;
    struct emit_dead_letter letter = {.source = {"shop.clicks", 0, 1},
                                      .value = STR("no event"),
                                      .timestamp_ms = times.now_ms + MINUTE_MS,
                                      .stage = "decode",
                                      .reason = "decode"};
    letter_put(&sending, &letter);
    letter.timestamp_ms = times.ahead_ms;
    letter_put(&sending, &letter);
    letters_read(&sending, 2, check_time, &times);
    sending_close(&sending);
}

int main(void)
{
    CASE(the_original_comes_whole);
    CASE(null_values_and_too_long_records);
    CASE(the_longest_letters_can_be_copied);
    CASE(a_time_to_come_goes_into_a_header);
    return 0;
}
