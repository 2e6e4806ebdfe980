/* A shop on the in-process broker, for tests that run the pipeline. */
#include "tests/app/live.h"

#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/app.h"
#include "app/config.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/sync.h"
#include "emit/emit.h"

struct live_shop live_shop;

/* ---- the setting ---- */

static struct model_ranker ranker_draw(uint64_t seed)
{
    struct model_ranker ranker = {0};
    struct rng rng;
    rng_init(&rng, seed);
    for (int f = 0; f < FEATURE_COUNT; f++) {
        ranker.linear[f] = (float)(rng_unit(&rng) - 0.5);
        for (int j = 0; j < MODEL_RANKER_HIDDEN; j++)
            ranker.in_weight[f * MODEL_RANKER_HIDDEN + j] = (float)(rng_unit(&rng) - 0.5);
    }
    for (int j = 0; j < MODEL_RANKER_HIDDEN; j++)
        ranker.out_weight[j] = (float)(rng_unit(&rng) - 0.5);
    return ranker;
}

void live_model_put(const char *name, const struct model_config *config, uint64_t seed, bool ranks)
{
    struct err err = ERR_INIT;
    char path[96], version[24];
    struct model *random = model_random_of(config, seed), *model;
    struct str ids[LIVE_ITEMS];
    for (int i = 0; i < LIVE_ITEMS; i++)
        ids[i] = model_item_id(random, i);
    (void)snprintf(version, sizeof version, "%llu", (unsigned long long)seed);
    struct model_parts parts = {.config = model_shape(random),
                                .params = model_raw_params(random),
                                .item_ids = ids,
                                .tenant = "",
                                .version = version};
    struct model_ranker ranker = ranker_draw(seed);
    CHECK_OK(model_from_params(&model, &parts, &err), err);
    if (ranks) model_set_ranker(model, &ranker);
    (void)snprintf(path, sizeof path, "%s/%s", live_shop.folder, name);
    CHECK_OK(model_save(model, path, &err), err);
    model_free(model);
    model_free(random);
}

void live_lru_put(const char *name, int D, int H, int L, uint64_t seed, bool ranks)
{
    live_model_put(name,
                   &(struct model_config){.N = LIVE_ITEMS,
                                          .D = D,
                                          .H = H,
                                          .L = L,
                                          .F = 4 * D,
                                          .n_types = EVENT_TYPE_COUNT,
                                          .n_gaps = 24},
                   seed, ranks);
}

void live_open(void)
{
    struct err err = ERR_INIT;
    struct schemas_options none = {0};
    struct kafka_topic_spec topics[] = {
        {.name = "freshet.events", .partitions = LIVE_PARTITIONS, .replication = 1},
        {.name = "solo.events", .partitions = 1, .replication = 1},
        {.name = "lists-a", .partitions = 1, .replication = 1},
        {.name = "lists-b", .partitions = 1, .replication = 1},
        {.name = "lists-c", .partitions = 1, .replication = 1},
        {.name = "lists-d", .partitions = 1, .replication = 1},
        {.name = "lists-e", .partitions = 1, .replication = 1},
        {.name = "lists-f", .partitions = 1, .replication = 1},
        {.name = "lists-g", .partitions = 1, .replication = 1},
        {.name = "lists-h", .partitions = 1, .replication = 1},
        {.name = "related-a", .partitions = 1, .replication = 1},
        {.name = "trending-a", .partitions = 1, .replication = 1},
        {.name = "shop.events", .partitions = LIVE_PARTITIONS, .replication = 1},
        {.name = "shop.items", .partitions = 1, .replication = 1},
        {.name = "related-pairs-repartition", .partitions = LIVE_PARTITIONS, .replication = 1},
        {.name = "test-dlq", .partitions = 1, .replication = 1}};
    (void)snprintf(live_shop.folder, sizeof live_shop.folder, "/tmp/freshet-pipeline-XXXXXX");
    CHECK(mkdtemp(live_shop.folder) != NULL);
    (void)snprintf(live_shop.model, sizeof live_shop.model, "%s/model", live_shop.folder);
    live_lru_put("model", 32, 32, 2, 7, false);
    CHECK_OK(
        kafka_embedded_start(&live_shop.broker, topics, sizeof topics / sizeof topics[0], &err),
        err);
    CHECK_OK(schemas_open(&live_shop.schemas, &none, &err), err);
}

void live_events_send(int n, uint64_t seed)
{
    struct err err = ERR_INIT;
    struct emit_feed *feed;
    struct buf bytes;
    struct rng rng;
    struct kafka_config config = {.bootstrap_servers = kafka_embedded_bootstrap(live_shop.broker),
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
        (void)snprintf(user, sizeof user, "u%d", (int)rng_below(&rng, LIVE_USERS));
        (void)snprintf(id, sizeof id, "%llu-%d", (unsigned long long)seed, i);
        event.n_items = event.type == EVENT_SEARCH     ? 0
                        : event.type == EVENT_PURCHASE ? 1 + rng_below(&rng, 3)
                                                       : 1;
        for (size_t k = 0; k < event.n_items; k++) {
            (void)snprintf(names[k], sizeof names[k], "%d",
                           (int)(rng_below(&rng, LIVE_ITEMS / 3) * 3 + k));
            items[k] =
                (struct event_item){.item_id = str_of(names[k]), .quantity = 1, .position = -1};
        }
        event.event_id = str_of(id);
        event.user_id = str_of(user);
        /* Mostly in order, sometimes late by up to 100 s. */
        event.time_ms = 1700000000000 + (int64_t)(live_shop.sent + (uint64_t)i) * 1000;
        if (rng_below(&rng, 20) == 0) event.time_ms -= (int64_t)rng_below(&rng, 100000);
        buf_reset(&bytes);
        schemas_event_encode(live_shop.schemas, &event, &bytes);
        CHECK_OK(emit_feed_send(feed, event.user_id,
                                (struct str){(const char *)bytes.data, bytes.len}, event.time_ms,
                                &err),
                 err);
    }
    CHECK_OK(emit_feed_close(feed, LIVE_WAIT_MS, &err), err);
    buf_fini(&bytes);
    live_shop.sent += (uint64_t)n;
}

void live_set(struct options *options, const char *name, const char *value)
{
    struct err err = ERR_INIT;
    CHECK_OK(options_set(options, name, value, "test", &err), err);
}

void live_model_set(struct options *options, const char *name)
{
    char path[96];
    (void)snprintf(path, sizeof path, "%s/%s", live_shop.folder, name);
    live_set(options, "model.dir", path);
}

struct options *live_options(const char *name, const char *lists, const char *batch)
{
    struct options *options = options_new(app_config_specs, app_config_count);
    app_config_prefixes(options);
    live_set(options, "application.id", name);
    if (live_shop.broker)
        live_set(options, "bootstrap.servers", kafka_embedded_bootstrap(live_shop.broker));
    live_set(options, "recommendations.topic", lists);
    live_set(options, "related.topic", "");
    live_set(options, "trending.topic", "");
    live_set(options, "errors.deadletterqueue.topic.name", "test-dlq");
    live_set(options, "state.dir", live_shop.folder);
    live_set(options, "model.dir", live_shop.model);
    live_set(options, "session.window", "30");
    live_set(options, "batch.max.events", batch);
    live_set(options, "neighbours.memory.max.bytes", "128KiB"); /* sessions leave at the bounds */
    live_set(options, "commit.interval.ms", "50");
    /* The in-process broker waits for it at each restart; a real one's machine may stand still. */
    live_set(options, "session.timeout.ms", live_shop.broker ? "6000" : "30000");
    live_set(options, "log.level", "warn");
    return options;
}

int64_t live_count(struct pipeline *pipeline, enum metric metric)
{
    return counters_sum(pipeline_counters(pipeline), (int)metric);
}

void live_until(struct pipeline *pipeline, uint64_t records)
{
    struct err err = ERR_INIT;
    for (int ms = 0; ms < LIVE_WAIT_MS; ms += 10) {
        CHECK_OK(pipeline_serve(pipeline, &err), err);
        if (live_count(pipeline, METRIC_RECORDS) >= (int64_t)records) return;
        sync_sleep_ms(10);
    }
    test_fail(__FILE__, __LINE__, "%lld records read, %llu wanted",
              (long long)live_count(pipeline, METRIC_RECORDS), (unsigned long long)records);
}

int64_t live_run(struct options *options, uint64_t records, enum metric metric)
{
    struct err err = ERR_INIT;
    struct settings settings;
    struct pipeline *pipeline;
    CHECK_OK(settings_init(&settings, options, &err), err);
    CHECK_OK(pipeline_open(&pipeline, &settings, NULL, &err), err);
    live_until(pipeline, records);
    CHECK_OK(pipeline_finish(pipeline, &err), err);
    int64_t counted = live_count(pipeline, metric);
    pipeline_close(pipeline);
    settings_fini(&settings);
    options_free(options);
    return counted;
}

void live_plain(const char *name, const char *lists, const char *batch, uint64_t records)
{
    (void)live_run(live_options(name, lists, batch), records, METRIC_RECORDS);
}

/* ---- reading lists back ---- */

static int compare_source(const void *a, const void *b)
{
    return strcmp(((const struct live_list *)a)->source, ((const struct live_list *)b)->source);
}

int live_lists_read(const char *topic, struct live_list **out)
{
    char text[256];
    int n = 0, cap = 4096;
    struct live_list *all = mem_alloc((size_t)cap * sizeof *all);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    (void)rd_kafka_conf_set(conf, "bootstrap.servers", kafka_embedded_bootstrap(live_shop.broker),
                            text, sizeof text);
    (void)rd_kafka_conf_set(conf, "group.id", "reader", text, sizeof text);
    (void)rd_kafka_conf_set(conf, "enable.partition.eof", "true", text, sizeof text);
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, 0)->offset = RD_KAFKA_OFFSET_BEGINNING;
    (void)rd_kafka_assign(client, list);
    rd_kafka_topic_partition_list_destroy(list);
    for (bool end = false; !end;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(client, LIVE_WAIT_MS);
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
            (void)snprintf(all[n].key, sizeof all[n].key, "%.*s", (int)message->key_len,
                           message->key ? (const char *)message->key : "");
            all[n].offset = message->offset;
            if (message->len) memcpy(all[n].value, message->payload, message->len);
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

void live_lists_compare(const char *a, const char *b)
{
    struct live_list *left, *right;
    int n = live_lists_read(a, &left), m = live_lists_read(b, &right);
    CHECK_INT(n, m);
    CHECK(n > 1000);
    for (int i = 0; i < n; i++) {
        CHECK_STR(left[i].source, right[i].source);
        CHECK_BYTES(left[i].value, left[i].len, right[i].value, right[i].len);
    }
    mem_free(left);
    mem_free(right);
}

void live_close(void)
{
    char command[128];
    schemas_close(live_shop.schemas);
    kafka_embedded_stop(live_shop.broker);
    (void)snprintf(command, sizeof command, "rm -r %s", live_shop.folder);
    CHECK_INT(system(command), 0);
}
