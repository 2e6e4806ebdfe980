/* The pipeline on the in-process broker: lists do not depend on batch boundaries, a restart goes on where the store stands, and
 * an event costs no heap allocation once its user is known. (Guarantees under faults: tests/e2e/faults.py, on a real broker.)
 *
 * LINK: rdkafka */
#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/app.h"
#include "app/config.h"
#include "app/pipeline.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/sync.h"
#include "emit/emit.h"
#include "tests/test.h"

enum { PARTITIONS = 2, USERS = 40, ITEMS = 300, WAIT_MS = 30000 };

struct shop {
    struct kafka_embedded *broker;
    struct schemas *schemas;
    char folder[64], model[96];
    uint64_t sent;
};

static struct shop shop;

/* ---- the setting ---- */

static void shop_open(void)
{
    struct err err = ERR_INIT;
    struct schemas_options none = {0};
    struct kafka_topic_spec topics[] = {
        {.name = "freshet.events", .partitions = PARTITIONS, .replication = 1},
        {.name = "lists-a", .partitions = 1, .replication = 1},
        {.name = "lists-b", .partitions = 1, .replication = 1},
        {.name = "lists-c", .partitions = 1, .replication = 1},
        {.name = "test-dlq", .partitions = 1, .replication = 1}};
    (void)snprintf(shop.folder, sizeof shop.folder, "/tmp/freshet-pipeline-XXXXXX");
    CHECK(mkdtemp(shop.folder) != NULL);
    (void)snprintf(shop.model, sizeof shop.model, "%s/model", shop.folder);
    struct model *model = model_random(ITEMS, 32, 32, 2, 7);
    CHECK_OK(model_save(model, shop.model, &err), err);
    model_free(model);
    CHECK_OK(kafka_embedded_start(&shop.broker, topics, 5, &err), err);
    CHECK_OK(schemas_open(&shop.schemas, &none, &err), err);
}

/* n views, carts and orders of random items by random users. */
static void events_send(int n, uint64_t seed)
{
    struct err err = ERR_INIT;
    struct emit_feed *feed;
    struct buf bytes;
    struct rng rng;
    struct kafka_config config = {.bootstrap_servers = kafka_embedded_bootstrap(shop.broker),
                                  .client_id = "feed"};
    static const enum event_type types[] = {EVENT_VIEW,        EVENT_VIEW,     EVENT_VIEW,
                                            EVENT_ADD_TO_CART, EVENT_PURCHASE, EVENT_SEARCH,
                                            EVENT_DISLIKE};
    rng_init(&rng, seed);
    buf_init(&bytes, 1 << 16);
    CHECK_OK(emit_feed_open(&feed, &config, "freshet.events", &err), err);
    for (int i = 0; i < n; i++) {
        char user[16], id[32], names[3][16];
        struct event_item items[3];
        struct event event = {.type = types[rng_below(&rng, 7)], .items = items, .consent = true};
        (void)snprintf(user, sizeof user, "u%d", (int)rng_below(&rng, USERS));
        (void)snprintf(id, sizeof id, "%llu-%d", (unsigned long long)seed, i);
        event.n_items = event.type == EVENT_SEARCH     ? 0
                        : event.type == EVENT_PURCHASE ? 1 + rng_below(&rng, 3)
                                                       : 1;
        for (size_t k = 0; k < event.n_items; k++) {
            (void)snprintf(names[k], sizeof names[k], "%d",
                           (int)(rng_below(&rng, ITEMS / 3) * 3 + k));
            items[k] =
                (struct event_item){.item_id = str_of(names[k]), .quantity = 1, .position = -1};
        }
        event.event_id = str_of(id);
        event.user_id = str_of(user);
        /* Mostly in order, sometimes late by up to 100 s. */
        event.time_ms = 1700000000000 + (int64_t)(shop.sent + (uint64_t)i) * 1000;
        if (rng_below(&rng, 20) == 0) event.time_ms -= (int64_t)rng_below(&rng, 100000);
        buf_reset(&bytes);
        schemas_event_encode(shop.schemas, &event, &bytes);
        CHECK_OK(emit_feed_send(feed, event.user_id,
                                (struct str){(const char *)bytes.data, bytes.len}, event.time_ms,
                                &err),
                 err);
    }
    CHECK_OK(emit_feed_close(feed, WAIT_MS, &err), err);
    buf_fini(&bytes);
    shop.sent += (uint64_t)n;
}

static void set(struct options *options, const char *name, const char *value)
{
    struct err err = ERR_INIT;
    CHECK_OK(options_set(options, name, value, "test", &err), err);
}

static struct options *options_make(const char *name, const char *lists, const char *batch)
{
    struct options *options = options_new(app_config_specs, app_config_count);
    app_config_prefixes(options);
    set(options, "application.id", name);
    set(options, "bootstrap.servers", kafka_embedded_bootstrap(shop.broker));
    set(options, "recommendations.topic", lists);
    set(options, "errors.deadletterqueue.topic.name", "test-dlq");
    set(options, "state.dir", shop.folder);
    set(options, "model.dir", shop.model);
    set(options, "session.window", "30");
    set(options, "batch.max.events", batch);
    set(options, "commit.interval.ms", "50");
    set(options, "session.timeout.ms",
        "6000"); /* the in-process broker waits for it at each restart */
    set(options, "log.level", "warn");
    return options;
}

/* Turns the pipeline until it has read so many records. */
static struct stats pipeline_until(struct pipeline *pipeline, uint64_t records)
{
    struct err err = ERR_INIT;
    struct stats stats;
    int64_t lag;
    for (int ms = 0; ms < WAIT_MS; ms += 10) {
        CHECK_OK(pipeline_serve(pipeline, &err), err);
        pipeline_stats(pipeline, &stats, &lag);
        if (stats.records >= records) return stats;
        sync_sleep_ms(10);
    }
    test_fail(__FILE__, __LINE__, "%llu records read, %llu wanted",
              (unsigned long long)stats.records, (unsigned long long)records);
    return stats;
}

/* One life of a pipeline: reads `records` and closes. */
static void live(const char *name, const char *lists, const char *batch, uint64_t records)
{
    struct err err = ERR_INIT;
    struct settings settings;
    struct pipeline *pipeline;
    struct options *options = options_make(name, lists, batch);
    CHECK_OK(settings_init(&settings, options, &err), err);
    CHECK_OK(pipeline_open(&pipeline, &settings, NULL, &err), err);
    (void)pipeline_until(pipeline, records);
    CHECK_OK(pipeline_finish(pipeline, &err), err);
    pipeline_close(pipeline);
    settings_fini(&settings);
    options_free(options);
}

/* ---- reading lists back ---- */

struct published {
    char source[64];
    size_t len;
    uint8_t value[2048];
};

static int compare_source(const void *a, const void *b)
{
    return strcmp(((const struct published *)a)->source, ((const struct published *)b)->source);
}

/* All records of a lists topic, sorted by where they come from; (returned count) owned by the caller. */
static int lists_read(const char *topic, struct published **out)
{
    char text[256];
    int n = 0, cap = 4096;
    struct published *all = mem_alloc((size_t)cap * sizeof *all);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    (void)rd_kafka_conf_set(conf, "bootstrap.servers", kafka_embedded_bootstrap(shop.broker), text,
                            sizeof text);
    (void)rd_kafka_conf_set(conf, "group.id", "reader", text, sizeof text);
    (void)rd_kafka_conf_set(conf, "enable.partition.eof", "true", text, sizeof text);
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, 0)->offset = RD_KAFKA_OFFSET_BEGINNING;
    (void)rd_kafka_assign(client, list);
    rd_kafka_topic_partition_list_destroy(list);
    for (bool end = false; !end;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(client, WAIT_MS);
        CHECK(message != NULL);
        end = message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
        if (!message->err) {
            rd_kafka_headers_t *headers;
            const void *source;
            size_t size;
            CHECK(n < cap && message->len <= sizeof all->value);
            CHECK_INT(rd_kafka_message_headers(message, &headers), 0);
            CHECK_INT(rd_kafka_header_get_last(headers, "freshet-src", &source, &size), 0);
            (void)snprintf(all[n].source, sizeof all[n].source, "%.*s", (int)size,
                           (const char *)source);
            memcpy(all[n].value, message->payload, message->len);
            all[n++].len = message->len;
        }
        rd_kafka_message_destroy(message);
    }
    (void)rd_kafka_consumer_close(client);
    rd_kafka_destroy(client);
    qsort(all, (size_t)n, sizeof *all, compare_source);
    *out = all;
    return n;
}

static void lists_compare(const char *a, const char *b)
{
    struct published *left, *right;
    int n = lists_read(a, &left), m = lists_read(b, &right);
    CHECK_INT(n, m);
    CHECK(n > 1000);
    for (int i = 0; i < n; i++) {
        CHECK_STR(left[i].source, right[i].source);
        CHECK_BYTES(left[i].value, left[i].len, right[i].value, right[i].len);
    }
    mem_free(left);
    mem_free(right);
}

/* ---- cases ---- */

static void lists_do_not_depend_on_batches(void)
{
    live("batches-of-256", "lists-a", "256", shop.sent);
    live("batches-of-1", "lists-b", "1", shop.sent);
    lists_compare("lists-a", "lists-b");
}

/* Two lives, events arriving between them: the same lists as in one, none twice. */
static void restart_goes_on(uint64_t seed)
{
    events_send(1000, seed);
    live("restarted", "lists-c", "16", 1000);
    events_send(1000, seed + 1);
    live("restarted", "lists-c", "16", 1000);
}

static void no_allocation_per_event(void)
{
    struct err err = ERR_INIT;
    struct settings settings;
    struct pipeline *pipeline;
    struct options *options = options_make("batches-of-256", "lists-a", "256");
    uint64_t records = 0;
    CHECK_OK(settings_init(&settings, options, &err), err);
    CHECK_OK(pipeline_open(&pipeline, &settings, NULL, &err), err);
    /* Warm: every user is in the cache, every table and buffer has its size. */
    for (int round = 0; round < 3; round++) {
        events_send(2000, 100 + (uint64_t)round);
        (void)pipeline_until(pipeline, records += 2000);
    }
    sync_sleep_ms(200);
    struct stats before = pipeline_until(pipeline, records);
    events_send(2000, 200);
    struct stats after = pipeline_until(pipeline, records + 2000);
    CHECK(after.steps > before.steps);
    CHECK_INT(after.allocations - before.allocations, 0);
    CHECK_OK(pipeline_finish(pipeline, &err), err);
    pipeline_close(pipeline);
    settings_fini(&settings);
    options_free(options);
}

int main(void)
{
    char command[128];
    shop_open();
    restart_goes_on(TEST_SEED());
    CASE(lists_do_not_depend_on_batches);
    lists_compare("lists-a", "lists-c");
    CASE(no_allocation_per_event);
    schemas_close(shop.schemas);
    kafka_embedded_stop(shop.broker);
    (void)snprintf(command, sizeof command, "rm -r %s", shop.folder);
    CHECK_INT(system(command), 0);
    return 0;
}
