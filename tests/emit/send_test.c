/* LINK:rdkafka*/
/* Sending and acknowledgement on a mock cluster, one case for each class of error. */
#include "base/clock.h"
#include "base/sync.h"
#include "tests/emit/support.h"

static const struct emit_options OPTIONS = {
    .recommendations_topic = "lists", .dlq_topic = "letters", .queue_bytes = 8 * 1024 * 1024};

static void send_n(struct emit *emit, struct emit_epoch *epoch, int n)
{
    struct err err = ERR_INIT;
    for (int i = 0; i < n; i++) {
        char key[16], value[32];
        (void)snprintf(key, sizeof key, "user-%d", i % 7);
        (void)snprintf(value, sizeof value, "list %d", i);
        CHECK_OK(emit_send(emit, epoch, EMIT_RECOMMENDATIONS, str_of(key), str_of(value),
                           (struct emit_source){"shop.clicks", 3, 1000000000000 + i},
                           1700000000000 + i, &err),
                 err);
    }
}

/* ---- what arrives ---- */

struct seen {
    int n;
    int tombstones;
    int empty;
};

static void check_list(void *context, rd_kafka_message_t *message)
{
    struct seen *seen = context;
    const void *value;
    size_t size;
    rd_kafka_headers_t *headers;
    char want[64];
    (void)snprintf(want, sizeof want, "list %d", seen->n);
    CHECK_BYTES(message->payload, message->len, want, strlen(want));
    CHECK_INT(rd_kafka_message_timestamp(message, NULL), 1700000000000 + seen->n);
    CHECK_INT(rd_kafka_message_headers(message, &headers), 0);
    CHECK_INT(rd_kafka_header_cnt(headers), 1);
    CHECK_INT(rd_kafka_header_get_last(headers, "freshet-src", &value, &size), 0);
    (void)snprintf(want, sizeof want, "shop.clicks/3/%" PRId64, 1000000000000 + (int64_t)seen->n);
    CHECK_BYTES(value, size, want, strlen(want));
    seen->n++;
}

static void lists_arrive_in_order_with_their_source(void)
{
    struct cluster cluster;
    struct emit *emit;
    struct err err = ERR_INIT;
    struct seen seen = {0};
    cluster_start(&cluster, 1);
    CHECK_OK(emit_open(&emit, &cluster.config, &OPTIONS, &err), err);
    struct emit_epoch *epoch = emit_epoch_new(emit);
    CHECK_INT(emit_epoch_poll(epoch, &err), EMIT_ACKED); /* nothing sent, nothing owed */
    send_n(emit, epoch, 500);
    CHECK_INT(epoch_await(epoch, 5000, &err), EMIT_ACKED);
    send_n(emit, epoch, 1); /* an epoch can be used again */
    CHECK_INT(epoch_await(epoch, 5000, &err), EMIT_ACKED);
    emit_epoch_free(epoch);
    emit_close(emit);
    cluster_read(&cluster, "lists", 0, 500, check_list, &seen);
    cluster_stop(&cluster);
}

static void check_value(void *context, rd_kafka_message_t *message)
{
    struct seen *seen = context;
    seen->tombstones += message->payload == NULL;
    seen->empty += message->payload != NULL && message->len == 0;
    seen->n++;
}

static void a_null_value_is_a_tombstone(void)
{
    struct cluster cluster;
    struct emit *emit;
    struct err err = ERR_INIT;
    struct seen seen = {0};
    struct emit_source source = {"shop.clicks", 0, 1};
    cluster_start(&cluster, 1);
    CHECK_OK(emit_open(&emit, &cluster.config, &OPTIONS, &err), err);
    struct emit_epoch *epoch = emit_epoch_new(emit);
    CHECK_OK(emit_send(emit, epoch, EMIT_RECOMMENDATIONS, STR("u"), (struct str){NULL, 0}, source,
                       1, &err),
             err);
    CHECK_OK(emit_send(emit, epoch, EMIT_RECOMMENDATIONS, STR("u"), STR(""), source, 1, &err), err);
    CHECK_OK(emit_flush(emit, 5000, &err), err);
    CHECK_INT(epoch_await(epoch, 1000, &err), EMIT_ACKED);
    emit_epoch_free(epoch);
    emit_close(emit);
    cluster_read(&cluster, "lists", 0, 2, check_value, &seen);
    CHECK_INT(seen.tombstones, 1);
    CHECK_INT(seen.empty, 1);
    cluster_stop(&cluster);
}

/* ---- the partition of a key, as Java's clients choose it: toPositive(murmur2(key)) % partitions ---- */

static void check_partition(void *context, rd_kafka_message_t *message)
{
    struct seen *seen = context;
    seen->n += message->key_len == 6 && memcmp(message->key, "foobar", 6) == 0;
}

/* Kafka's UtilsTest.java: murmur2("foobar") == -790332482; & 0x7fffffff = 1357151166; % 8 = 6. */
static void keys_meet_the_partitions_of_java_producers(void)
{
    struct cluster cluster;
    struct emit_feed *feed;
    struct err err = ERR_INIT;
    struct seen seen = {0};
    cluster_start(&cluster, 8);
    CHECK_OK(emit_feed_open(&feed, &cluster.config, "lists", &err), err);
    CHECK_OK(emit_feed_send(feed, STR("foobar"), STR("x"), 1700000000000, &err), err);
    CHECK_OK(emit_feed_close(feed, 5000, &err), err);
    cluster_read(&cluster, "lists", 6, 1, check_partition, &seen);
    CHECK_INT(seen.n, 1);
    cluster_stop(&cluster);
}

/* ---- errors ---- */

struct injected {
    const char *name;
    rd_kafka_resp_err_t code;
    int times;
    enum emit_epoch_state want;
    enum err_exit exit_code; /* when it fails */
    const char *text;
};

static void each_produce_error_has_its_class(void)
{
    static const struct injected table[] = {
        {"disconnect", RD_KAFKA_RESP_ERR__TRANSPORT, 2, EMIT_ACKED, 0, NULL},
        {"leader moved", RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, 2, EMIT_ACKED, 0, NULL},
        {"no leader", RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, 2, EMIT_ACKED, 0, NULL},
        {"slow broker", RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, 2, EMIT_ACKED, 0, NULL},
        {"few replicas", RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, 2, EMIT_ACKED, 0, NULL},
        {"few replicas after append", RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND, 2,
         EMIT_ACKED, 0, NULL},
        {"storage", RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, 2, EMIT_ACKED, 0, NULL},
        {"repeat", RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER, 1, EMIT_ACKED, 0, NULL},
        {"too large", RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, 1, EMIT_FAILED, ERR_EXIT_TOPIC,
         "max.message.bytes"},
        {"no rights", RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 1, EMIT_FAILED, ERR_EXIT_USAGE,
         "grant"},
        {"bad record", RD_KAFKA_RESP_ERR_INVALID_RECORD, 1, EMIT_FAILED, ERR_EXIT_TOPIC,
         "cleanup.policy"},
        {"lost place", RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, 1, EMIT_FAILED,
         ERR_EXIT_UNREACHABLE, "start again"},
    };
    struct cluster cluster;
    cluster_start(&cluster, 1);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const struct injected *row = &table[i];
        struct emit *emit;
        struct err err = ERR_INIT;
        rd_kafka_resp_err_t codes[4] = {row->code, row->code, row->code, row->code};
        printf("  %s\n", row->name);
        CHECK_OK(emit_open(&emit, &cluster.config, &OPTIONS, &err), err);
        struct emit_epoch *epoch = emit_epoch_new(emit);
        send_n(emit, epoch, 1);
        CHECK_INT(epoch_await(epoch, 5000, &err), EMIT_ACKED);
        rd_kafka_mock_push_request_errors_array(cluster.mock, API_PRODUCE, (size_t)row->times,
                                                codes);
        send_n(emit, epoch, 20);
        CHECK_INT(epoch_await(epoch, 15000, &err), row->want);
        if (row->want == EMIT_FAILED) {
            CHECK_INT(err.class, ERR_FATAL);
            CHECK_INT(err.exit_code, row->exit_code);
            CHECK_CONTAINS(err.text, row->text);
        }
        rd_kafka_mock_clear_request_errors(cluster.mock, API_PRODUCE);
        emit_epoch_free(epoch);
        emit_close(emit);
    }
    cluster_stop(&cluster);
}

/* The broker goes away and comes back: records wait and arrive. */
static void an_outage_is_waited_out(void)
{
    struct cluster cluster;
    struct emit *emit;
    struct err err = ERR_INIT;
    cluster_start(&cluster, 1);
    CHECK_OK(emit_open(&emit, &cluster.config, &OPTIONS, &err), err);
    struct emit_epoch *epoch = emit_epoch_new(emit);
    CHECK_INT(rd_kafka_mock_broker_set_down(cluster.mock, 1), 0);
    send_n(emit, epoch, 50);
    sync_sleep_ms(500);
    CHECK_INT(emit_epoch_poll(epoch, &err), EMIT_PENDING);
    CHECK_INT(rd_kafka_mock_broker_set_up(cluster.mock, 1), 0);
    CHECK_INT(epoch_await(epoch, 15000, &err), EMIT_ACKED);
    emit_epoch_free(epoch);
    emit_close(emit);
    cluster_stop(&cluster);
}

/* Each record is a request of its own, of which five are on their way for a second: all take longer than the end waits for one. */
static void a_feed_ends_well_as_long_as_records_are_acknowledged(void)
{
    enum { RECORDS = 35, RTT_MS = 1000, NONE_MS = 5000 };
    struct cluster cluster;
    struct emit_feed *feed;
    struct err err = ERR_INIT;
    struct kafka_setting alone[] = {{"batch.num.messages", "1"}};
    cluster_start(&cluster, 1);
    cluster.config.producer = alone;
    cluster.config.n_producer = 1;
    CHECK_OK(emit_feed_open(&feed, &cluster.config, "lists", &err), err);
    CHECK_INT(rd_kafka_mock_broker_set_rtt(cluster.mock, 1, RTT_MS), 0);
    for (int i = 0; i < RECORDS; i++)
        CHECK_OK(emit_feed_send(feed, STR("u"), STR("x"), 1700000000000, &err), err);
    uint64_t start = clock_mono_ns();
    CHECK_OK(emit_feed_close(feed, NONE_MS, &err), err);
    CHECK(clock_mono_ns() - start > (uint64_t)NONE_MS * 1000000);
    cluster_stop(&cluster);
}

/* A full queue is waited for, but not for ever; closing does not hang on what cannot be sent. */
static void a_full_queue_is_bounded_in_bytes_and_time(void)
{
    struct cluster cluster;
    struct emit *emit;
    struct err err = ERR_INIT;
    static char big[200000];
    struct kafka_setting timeout[] = {{"message.timeout.ms", "1500"},
                                      {"socket.timeout.ms", "1000"}};
    struct emit_options options = OPTIONS;
    options.queue_bytes = 1024 * 1024;
    cluster_start(&cluster, 1);
    cluster.config.producer = timeout;
    cluster.config.n_producer = 2;
    CHECK_OK(emit_open(&emit, &cluster.config, &options, &err), err);
    struct emit_epoch *epoch = emit_epoch_new(emit);
    CHECK_INT(rd_kafka_mock_broker_set_down(cluster.mock, 1), 0);
    int sent = 0;
    while (emit_send(emit, epoch, EMIT_RECOMMENDATIONS, STR("u"), (struct str){big, sizeof big},
                     (struct emit_source){"t", 0, sent}, 1, &err) &&
           sent < 100)
        sent++;
    CHECK(sent >= 5 && sent < 20);
    CHECK_INT(err.class, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_UNREACHABLE);
    uint64_t start = clock_mono_ns();
    emit_epoch_free(epoch);
    emit_close(emit);
    CHECK(clock_mono_ns() - start < 7000000000u);
    cluster_stop(&cluster);
}

int main(void)
{
    CASE(lists_arrive_in_order_with_their_source);
    CASE(a_null_value_is_a_tombstone);
    CASE(keys_meet_the_partitions_of_java_producers);
    CASE(each_produce_error_has_its_class);
    CASE(an_outage_is_waited_out);
    CASE(a_feed_ends_well_as_long_as_records_are_acknowledged);
    CASE(a_full_queue_is_bounded_in_bytes_and_time);
    return 0;
}
