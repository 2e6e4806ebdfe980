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
#include "model/model.h"
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

/* Writes a random model to <folder>/<name>; its version is its seed. */
static void model_put_of(const char *name, const struct model_config *config, uint64_t seed)
{
    struct err err = ERR_INIT;
    char path[96], version[24];
    struct model *random = model_random_of(config, seed), *model;
    struct str ids[ITEMS];
    for (int i = 0; i < ITEMS; i++)
        ids[i] = model_item_id(random, i);
    (void)snprintf(version, sizeof version, "%llu", (unsigned long long)seed);
    struct model_parts parts = {.config = model_shape(random),
                                .params = model_raw_params(random),
                                .item_ids = ids,
                                .tenant = "",
                                .version = version};
    CHECK_OK(model_from_params(&model, &parts, &err), err);
    (void)snprintf(path, sizeof path, "%s/%s", shop.folder, name);
    CHECK_OK(model_save(model, path, &err), err);
    model_free(model);
    model_free(random);
}

static void model_put(const char *name, int D, int H, int L, uint64_t seed)
{
    model_put_of(name, &(struct model_config){.N = ITEMS, .D = D, .H = H, .L = L, .F = 4 * D},
                 seed);
}

static void shop_open(void)
{
    struct err err = ERR_INIT;
    struct schemas_options none = {0};
    struct kafka_topic_spec topics[] = {
        {.name = "freshet.events", .partitions = PARTITIONS, .replication = 1},
        {.name = "lists-a", .partitions = 1, .replication = 1},
        {.name = "lists-b", .partitions = 1, .replication = 1},
        {.name = "lists-c", .partitions = 1, .replication = 1},
        {.name = "lists-swapped", .partitions = 1, .replication = 1},
        {.name = "lists-second", .partitions = 1, .replication = 1},
        {.name = "lists-large", .partitions = 1, .replication = 1},
        {.name = "lists-scarce", .partitions = 1, .replication = 1},
        {.name = "test-dlq", .partitions = 1, .replication = 1}};
    (void)snprintf(shop.folder, sizeof shop.folder, "/tmp/freshet-pipeline-XXXXXX");
    CHECK(mkdtemp(shop.folder) != NULL);
    (void)snprintf(shop.model, sizeof shop.model, "%s/model", shop.folder);
    model_put("model", 32, 32, 2, 7);
    CHECK_OK(kafka_embedded_start(&shop.broker, topics, sizeof topics / sizeof topics[0], &err),
             err);
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

static void set_model(struct options *options, const char *name)
{
    char path[96];
    (void)snprintf(path, sizeof path, "%s/%s", shop.folder, name);
    set(options, "model.dir", path);
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
    set(options, "neighbours.memory.max.bytes", "128KiB"); /* sessions leave at the bounds */
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

/* One life of a pipeline: reads `records` and closes. Takes the options. */
static struct stats live_with(struct options *options, uint64_t records)
{
    struct err err = ERR_INIT;
    struct settings settings;
    struct pipeline *pipeline;
    CHECK_OK(settings_init(&settings, options, &err), err);
    CHECK_OK(pipeline_open(&pipeline, &settings, NULL, &err), err);
    struct stats stats = pipeline_until(pipeline, records);
    CHECK_OK(pipeline_finish(pipeline, &err), err);
    pipeline_close(pipeline);
    settings_fini(&settings);
    options_free(options);
    return stats;
}

static void live(const char *name, const char *lists, const char *batch, uint64_t records)
{
    (void)live_with(options_make(name, lists, batch), records);
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

/* States too large to be stored: what comes out is the same whether memory holds all of them or hardly any. */
static void lists_do_not_depend_on_memory(void)
{
    /* 10,384 floats: too many to be stored. Windows of 30 go past the 16 positions. */
    static const struct model_config attention = {.N = ITEMS,
                                                  .D = 64,
                                                  .H = 64,
                                                  .L = 5,
                                                  .F = 64,
                                                  .encoder = ENCODER_ATTENTION,
                                                  .heads = 2,
                                                  .positions = 16,
                                                  .window = 16};
    model_put_of("large", &attention, 9);
    uint64_t prefills[2];
    for (int scarce = 0; scarce < 2; scarce++) {
        struct options *options = options_make(scarce ? "scarce" : "large",
                                               scarce ? "lists-scarce" : "lists-large", "64");
        set_model(options, "large");
        set(options, "statestore.cache.max.bytes", scarce ? "1MiB" : "64MiB");
        set(options, "num.stream.threads", scarce ? "2" : "1");
        prefills[scarce] = live_with(options, shop.sent).prefills;
    }
    printf("  windows encoded: %llu with memory for all states, %llu without\n",
           (unsigned long long)prefills[0], (unsigned long long)prefills[1]);
    CHECK(prefills[1] > prefills[0] + 100);
    lists_compare("lists-large", "lists-scarce");
}

/* ---- another model while the pipeline runs ---- */

/* A store's user against the models: the state is the prefill of the window by the model whose id it has. */
struct states_check {
    struct model *models[2];
    struct model_scratch *scratch[2];
    int n[2]; /* users of each */
};

static bool user_check(void *context, int32_t partition, struct str key, const struct user *user)
{
    struct states_check *check = context;
    int which = user->model_id == model_info(check->models[1]).id, n = 0;
    const struct model *model = check->models[which];
    struct model_input inputs[64];
    (void)partition;
    (void)key;
    if (user->n_window == 0) return true;
    CHECK_HEX(user->model_id, model_info(model).id);
    for (int i = 0, before = -1; i < user->n_window; i++) {
        int32_t item = model_item_index(model, user->window[i].item);
        if (item < 0) continue;
        int64_t gap = before < 0 ? 0 : user->window[i].time_ms - user->window[before].time_ms;
        inputs[n++] = (struct model_input){item, user->window[i].type, gap > 0 ? gap : 0};
        before = i;
    }
    size_t bytes = (size_t)model_info(model).S * sizeof(float);
    float *state = mem_aligned(64, bytes);
    model_prefill(model, check->scratch[which], n, inputs, state);
    CHECK_BYTES(user->encoder, bytes, state, bytes);
    mem_free(state);
    check->n[which]++;
    return true;
}

static void states_check(const char *name)
{
    struct err err = ERR_INIT;
    struct states_check check = {0};
    struct state *state;
    char path[96];
    for (int i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", shop.folder, i ? "second" : "model");
        CHECK_OK(model_load(&check.models[i], path, &err), err);
        check.scratch[i] = model_scratch_new(check.models[i]);
    }
    (void)snprintf(path, sizeof path, "%s/%s", shop.folder, name);
    CHECK_OK(state_open_readonly(&state, path, &err), err);
    CHECK_OK(state_users_each(state, user_check, &check, &err), err);
    state_close(state);
    printf("  %d users of the first model, %d of the second\n", check.n[0], check.n[1]);
    CHECK(check.n[0] > 0 && check.n[1] > 0);
    for (int i = 0; i < 2; i++) {
        model_scratch_free(check.scratch[i]);
        model_free(check.models[i]);
    }
}

/* Every list has the bytes of the one from the same event in the topic of the model that made it. Returns how many are of
 * the second. */
static int versions_compare(const char *swapped, const char *first, const char *second)
{
    struct published *all, *of[2], *same;
    int n = lists_read(swapped, &all),
        m[2] = {lists_read(first, &of[0]), lists_read(second, &of[1])};
    int n_second = 0;
    CHECK_INT(n, m[0]);
    CHECK_INT(n, m[1]);
    for (int i = 0; i < n; i++) {
        int which =
            all[i].len != of[0][i].len || memcmp(all[i].value, of[0][i].value, all[i].len) != 0;
        same = &of[which][i];
        CHECK_STR(all[i].source, same->source);
        CHECK_BYTES(all[i].value, all[i].len, same->value, same->len);
        n_second += which;
    }
    mem_free(all);
    mem_free(of[0]);
    mem_free(of[1]);
    return n_second;
}

/* A model of another size comes while the pipeline runs: the lists before are those of a pipeline that has the first model, the
 * lists after are those of one that had the second all along, none is missing and none is there twice; users with events
 * since then have states of the second. */
static void another_model_while_running(void)
{
    struct err err = ERR_INIT;
    struct settings settings;
    struct pipeline *pipeline;
    struct stats stats;
    int64_t lag;
    model_put("swapped", 32, 32, 2, 7); /* the same as "model" */
    model_put("second", 48, 16, 1, 8);
    struct options *options = options_make("swap", "lists-swapped", "64");
    set_model(options, "swapped");
    set(options, "model.check.interval.ms", "20");
    CHECK_OK(settings_init(&settings, options, &err), err);
    CHECK_OK(pipeline_open(&pipeline, &settings, NULL, &err), err);
    (void)pipeline_until(pipeline, shop.sent);
    model_put("swapped", 48, 16, 1, 8);
    do {
        sync_sleep_ms(10);
        pipeline_stats(pipeline, &stats, &lag);
    } while (stats.models_loaded == 0);
    sync_sleep_ms(300); /* idle shards look every 50 ms */
    uint64_t before = shop.sent;
    events_send(30, 300); /* so that some users have none */
    stats = pipeline_until(pipeline, before + 30);
    CHECK_OK(pipeline_finish(pipeline, &err), err);
    CHECK_INT(stats.models_refused, 0);
    pipeline_close(pipeline);
    settings_fini(&settings);
    options_free(options);
    states_check("swap");
    live("batches-of-256", "lists-a", "256", 30);
    options = options_make("second", "lists-second", "64");
    set_model(options, "second");
    (void)live_with(options, shop.sent);
    int n = versions_compare("lists-swapped", "lists-a", "lists-second");
    printf("  %d lists of the second model\n", n);
    CHECK(n > 20 && n <= 30);
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
    CASE(lists_do_not_depend_on_memory);
    CASE(another_model_while_running);
    CASE(no_allocation_per_event);
    schemas_close(shop.schemas);
    kafka_embedded_stop(shop.broker);
    (void)snprintf(command, sizeof command, "rm -r %s", shop.folder);
    CHECK_INT(system(command), 0);
    return 0;
}
