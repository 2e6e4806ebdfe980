/* What is sold out, hidden, deleted or over is in no list of an event written after the item's record was acknowledged; what the
 * rules refuse is in none. The pipeline runs on the broker of FRESHET_TEST_BOOTSTRAP, else on the in-process one, while items
 * change all the time; it is kept some 50 events behind, so that changes and events meet.
 *
 * STOCK_LISTS and STOCK_CHANGES say how many (tests/e2e/stock.sh: 100,000 and 1,000). STOCK_CONFIRM=false shows that it can
 * fail: without the question to the broker some lists are made before the catalogue knows. LINK: rdkafka */
#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/sync.h"
#include "kafka/kafka.h"
#include "schemas/schemas.h"
#include "tests/app/live.h"

enum {
    LATER = 40,                 /* items that come during the run; the model does not know them */
    ITEMS = LIVE_ITEMS + LATER, /* ids are their numbers */
    USERS = 500,
    AHEAD = 60, /* events written and not yet read, at most */
    CLOSED_MAX = 60,
    CATEGORIES = 12,
    MOST = 3,
};

static const int64_t first_ms = 1700000000000;

/* One item record. From it on the item is open or not, for events at or after `from_ms` of event time. */
struct change {
    int item;
    bool is_open;
    int64_t timestamp_ms; /* of the record */
    uint64_t acked_us;    /* when its acknowledgement was there, on the wall clock */
};

struct stock {
    char bootstrap[128], events[64], items[64], lists[64];
    rd_kafka_t *producer;
    struct rng rng;
    struct buf bytes;
    struct change *changes; /* (n_changes) */
    int n_changes, changes_wanted, lists_wanted;
    bool is_open[ITEMS], is_there[ITEMS];
    int n_closed, n_later;
    int sent;
    char rules[128];
};

static struct stock stock;

static int number_of(const char *name, int fallback)
{
    const char *text = getenv(name);
    return text ? (int)strtol(text, NULL, 10) : fallback;
}

static uint64_t wall_us(void)
{
    struct clock clock = {0};
    return (uint64_t)clock_wall_ms(&clock) * 1000;
}

/* ---- writing ---- */

static void produce(const char *topic, const char *key, bool has_value, int64_t timestamp_ms)
{
    rd_kafka_vu_t parts[] = {
        {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = topic},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {(void *)(uintptr_t)key, strlen(key)}},
        {.vtype = RD_KAFKA_VTYPE_VALUE,
         .u.mem = {has_value ? stock.bytes.data : NULL, has_value ? stock.bytes.len : 0}},
        {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = timestamp_ms},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
    };
    rd_kafka_error_t *error =
        rd_kafka_produceva(stock.producer, parts, sizeof parts / sizeof parts[0]);
    CHECK(error == NULL);
    (void)rd_kafka_poll(stock.producer, 0);
}

static void acknowledged(void)
{
    CHECK_INT(rd_kafka_flush(stock.producer, LIVE_WAIT_MS), 0);
}

static int64_t event_time(void)
{
    return first_ms + stock.sent;
}

/* Writes an item's record as it is now and waits for the acknowledgement. kind: how a closed one is closed. */
static void item_send(int item, int kind)
{
    char id[16], category[2][16];
    struct str categories[2];
    struct item record = {.item_id = {id, 0}, .categories = categories, .stock = 5};
    (void)snprintf(id, sizeof id, "%d", item);
    record.item_id = str_of(id);
    for (int c = 0; c < 2; c++) {
        (void)snprintf(category[c], sizeof category[c], "c%d", c ? 6 + item % 6 : item % 5);
        categories[c] = str_of(category[c]);
    }
    record.n_categories = 2;
    record.brand = item % 7 == 0 ? STR("refused") : STR("fine");
    bool is_closed = !stock.is_open[item];
    if (is_closed && kind == 0) record.stock = 0;
    if (is_closed && kind == 1) record.hidden = true;
    if (is_closed && kind == 2) record.available_until_ms = event_time();
    if (is_closed && kind == 3) record.available_from_ms = event_time() + INT64_C(1000000000);
    buf_reset(&stock.bytes);
    schemas_item_encode(live_shop.schemas, &record, &stock.bytes);
    struct clock clock = {0};
    struct change *change = &stock.changes[stock.n_changes++];
    *change =
        (struct change){.item = item, .is_open = !is_closed, .timestamp_ms = clock_wall_ms(&clock)};
    produce(stock.items, id, !(is_closed && kind == 4), change->timestamp_ms);
}

/* A random item opens or closes, or a new one comes. */
static void change_send(void)
{
    int item;
    if (stock.n_later < LATER && rng_below(&stock.rng, 10) == 0) {
        item = LIVE_ITEMS + stock.n_later++;
        stock.is_open[item] = stock.is_there[item] = true;
    } else {
        do
            item = (int)rng_below(&stock.rng, ITEMS);
        while (!stock.is_there[item] || (stock.is_open[item] && stock.n_closed >= CLOSED_MAX));
        stock.is_open[item] = !stock.is_open[item];
        stock.n_closed += stock.is_open[item] ? -1 : 1;
    }
    item_send(item, (int)rng_below(&stock.rng, 5));
    acknowledged();
    stock.changes[stock.n_changes - 1].acked_us = wall_us();
}

/* Half of the events are about what a list then likely holds: the items around. Its id says how many changes came before. */
static void event_send(void)
{
    char user[16], id[32], name[16];
    struct event_item item = {.item_id = {name, 0}, .quantity = 1, .position = -1};
    struct clock clock = {0};
    int number = (int)rng_below(&stock.rng, LIVE_ITEMS / 3) * (rng_below(&stock.rng, 2) ? 3 : 1);
    (void)snprintf(user, sizeof user, "u%d", (int)rng_below(&stock.rng, USERS));
    (void)snprintf(id, sizeof id, "%d-%d", stock.n_changes, stock.sent);
    (void)snprintf(name, sizeof name, "%d", number);
    item.item_id = str_of(name);
    struct event event = {.event_id = str_of(id),
                          .type = rng_below(&stock.rng, 20) ? EVENT_VIEW : EVENT_PURCHASE,
                          .time_ms = event_time(),
                          .user_id = str_of(user),
                          .items = &item,
                          .n_items = 1,
                          .consent = true};
    buf_reset(&stock.bytes);
    schemas_event_encode(live_shop.schemas, &event, &stock.bytes);
    produce(stock.events, user, true, clock_wall_ms(&clock));
    stock.sent++;
}

/* ---- the run ---- */

static void broker_open(void)
{
    struct err err = ERR_INIT;
    char text[256];
    const char *given = getenv("FRESHET_TEST_BOOTSTRAP");
    unsigned pid = (unsigned)getpid();
    (void)snprintf(stock.events, sizeof stock.events, "stock%u.events", pid);
    (void)snprintf(stock.items, sizeof stock.items, "stock%u.items", pid);
    (void)snprintf(stock.lists, sizeof stock.lists, "stock%u.lists", pid);
    struct kafka_topic_spec topics[] = {
        {.name = stock.events, .partitions = 2, .replication = 1},
        {.name = stock.items, .partitions = 2, .replication = 1, .compact = true},
        {.name = stock.lists, .partitions = 1, .replication = 1},
        {.name = "test-dlq", .partitions = 1, .replication = 1}};
    if (given) {
        (void)snprintf(stock.bootstrap, sizeof stock.bootstrap, "%s", given);
        struct kafka_config config = {.bootstrap_servers = stock.bootstrap, .client_id = "stock"};
        CHECK_OK(kafka_topics_create(&config, topics, 4, LIVE_WAIT_MS, &err), err);
    } else {
        CHECK_OK(kafka_embedded_start(&live_shop.broker, topics, 4, &err), err);
        (void)snprintf(stock.bootstrap, sizeof stock.bootstrap, "%s",
                       kafka_embedded_bootstrap(live_shop.broker));
    }
    printf("  broker: %s\n", given ? "real" : "in process");
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    (void)rd_kafka_conf_set(conf, "bootstrap.servers", stock.bootstrap, text, sizeof text);
    (void)rd_kafka_conf_set(conf, "linger.ms", "0", text, sizeof text);
    stock.producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    CHECK(stock.producer != NULL);
}

static void rules_write(void)
{
    (void)snprintf(stock.rules, sizeof stock.rules, "%s/rules.json", live_shop.folder);
    FILE *file = fopen(stock.rules, "w");
    CHECK(file != NULL);
    fprintf(file,
            "{\"rules\": [{\"exclude\": {\"brand\": \"refused\"}},"
            "{\"most\": %d, \"of\": \"category\"}, {\"explore\": 0.1}, {\"diversity\": 0.2}]}",
            MOST);
    CHECK_INT(fclose(file), 0);
}

static struct options *options_make(const char *name, bool has_rules)
{
    struct options *options = live_options(name, stock.lists, "64");
    live_set(options, "events.topics", stock.events);
    live_set(options, "items.topic", stock.items);
    live_set(options, "bootstrap.servers", stock.bootstrap);
    live_set(options, "num.stream.threads", "2");
    if (has_rules) live_set(options, "rules.file", stock.rules);
    if (getenv("STOCK_CONFIRM")) live_set(options, "items.confirm", getenv("STOCK_CONFIRM"));
    return options;
}

/* Events and changes until all lists are there. */
static void feed(struct pipeline *pipeline)
{
    struct err err = ERR_INIT;
    int every = stock.lists_wanted / stock.changes_wanted;
    uint64_t waited_ns = clock_mono_ns();
    for (int64_t records = 0; records < stock.lists_wanted;) {
        CHECK_OK(pipeline_serve(pipeline, &err), err);
        int64_t now = live_count(pipeline, METRIC_RECORDS);
        if (now > records) waited_ns = clock_mono_ns();
        CHECK((clock_mono_ns() - waited_ns) / 1000000 < 3 * LIVE_WAIT_MS);
        records = now;
        while (stock.sent < stock.lists_wanted && stock.sent - records < AHEAD) {
            event_send();
            if ((int)rng_below(&stock.rng, (uint64_t)every) == 0) change_send();
        }
        sync_sleep_ms(1);
    }
}

/* One life of the pipeline over all events; the topic of lists holds those of every life. */
static void run(const char *name, bool has_rules)
{
    struct err err = ERR_INIT;
    struct settings settings;
    struct pipeline *pipeline;
    struct options *options = options_make(name, has_rules);
    CHECK_OK(settings_init(&settings, options, &err), err);
    CHECK_OK(pipeline_open(&pipeline, &settings, NULL, &err), err);
    uint64_t since = clock_mono_ns();
    feed(pipeline);
    printf("  %s: %d lists in %.1f s, p50 %.1f ms, p99 %.1f ms\n", name, stock.lists_wanted,
           (double)(clock_mono_ns() - since) / 1e9,
           metrics_latency_ms(pipeline_counters(pipeline), 0.5),
           metrics_latency_ms(pipeline_counters(pipeline), 0.99));
    CHECK_OK(pipeline_finish(pipeline, &err), err);
    CHECK_INT(live_count(pipeline, METRIC_DEAD_LETTERS), 0);
    pipeline_close(pipeline);
    settings_fini(&settings);
    options_free(options);
}

/* ---- the check ---- */

struct found {
    int lists, items, empty, closed, refused, over; /* the last three: violations */
    int meanwhile; /* items that closed between the event and its list: nothing is promised of these */
    int launched; /* lists with an item that the model does not know */
};

/* The newest change of the item among the first n; NULL: none. */
static const struct change *newest(int item, int n)
{
    for (int i = n - 1; i >= 0; i--)
        if (stock.changes[i].item == item) return &stock.changes[i];
    return NULL;
}

/* A change after the first n opened the item before the list was sent. */
static bool is_opened_since(int item, int n, int64_t list_ms)
{
    for (int i = n; i < stock.n_changes; i++)
        if (stock.changes[i].item == item && stock.changes[i].is_open &&
            stock.changes[i].timestamp_ms <= list_ms)
            return true;
    return false;
}

static bool is_closed_since(int item, int n, int64_t list_ms)
{
    for (int i = n; i < stock.n_changes; i++)
        if (stock.changes[i].item == item && !stock.changes[i].is_open &&
            stock.changes[i].acked_us + 1000 < (uint64_t)list_ms * 1000)
            return true;
    return false;
}

static void list_check(struct found *found, const struct recommendations *list, int64_t list_ms,
                       bool has_rules)
{
    char label[32];
    int of[2 * CATEGORIES] = {0};
    (void)snprintf(label, sizeof label, "%.*s", STR_ARG(list->trigger.event_id));
    int n = (int)strtol(label, NULL, 10); /* changes before the event */
    bool has_new = false;
    found->lists++;
    found->empty += list->n_items == 0;
    for (size_t i = 0; i < list->n_items; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "%.*s", STR_ARG(list->items[i].item_id));
        int item = (int)strtol(name, NULL, 10);
        const struct change *state = newest(item, n);
        bool is_open = state && state->is_open;
        found->items++;
        found->closed += !is_open && !is_opened_since(item, n, list_ms);
        found->meanwhile += is_open && is_closed_since(item, n, list_ms);
        found->refused += has_rules && item % 7 == 0;
        found->over += has_rules && (++of[item % 5] > MOST || ++of[6 + item % 6] > MOST);
        has_new = has_new || item >= LIVE_ITEMS;
    }
    found->launched += has_new;
}

/* Reads the lists from `from` on; returns how many there are in all. */
static struct found lists_check(int from, bool has_rules)
{
    char text[256];
    struct found found = {0};
    struct err err = ERR_INIT;
    struct arena *arena = arena_new(1 << 20, SIZE_MAX);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    (void)rd_kafka_conf_set(conf, "bootstrap.servers", stock.bootstrap, text, sizeof text);
    (void)rd_kafka_conf_set(conf, "group.id", "reader", text, sizeof text);
    (void)rd_kafka_conf_set(conf, "enable.partition.eof", "true", text, sizeof text);
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, stock.lists, 0)->offset = from;
    (void)rd_kafka_assign(client, list);
    rd_kafka_topic_partition_list_destroy(list);
    for (bool end = false; !end;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(client, LIVE_WAIT_MS);
        CHECK(message != NULL);
        end = message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
        if (!message->err) {
            struct recommendations one;
            struct str bytes = {message->payload, message->len};
            arena_reset(arena);
            CHECK_OK(schemas_recommendations_decode(live_shop.schemas, bytes, arena, &one, &err),
                     err);
            list_check(&found, &one, rd_kafka_message_timestamp(message, NULL), has_rules);
        }
        rd_kafka_message_destroy(message);
    }
    (void)rd_kafka_consumer_close(client);
    rd_kafka_destroy(client);
    arena_free(arena);
    return found;
}

static void check(const struct found *found)
{
    printf("  %d lists of %.1f items, %d changes of %d items: %d closed, %d refused and %d over "
           "a limit in lists; %d closed between event and list; %d lists with new items\n",
           found->lists, (double)found->items / found->lists, stock.n_changes, ITEMS, found->closed,
           found->refused, found->over, found->meanwhile, found->launched);
    CHECK_INT(found->lists, stock.lists_wanted);
    CHECK_INT(found->closed, 0);
    CHECK_INT(found->refused, 0);
    CHECK_INT(found->over, 0);
    CHECK_INT(found->empty, 0);
}

static void case_what_is_closed_is_in_no_list(void)
{
    run("stock", false);
    struct found found = lists_check(0, false);
    check(&found);
    CHECK(stock.n_changes >= ITEMS / 2 + stock.changes_wanted / 2);
    CHECK_NEAR((double)found.items / found.lists, 20, 0.01);
}

/* Again over the same events, by the catalogue as it is now. */
static void case_what_rules_refuse_is_in_no_list(void)
{
    run("ruled", true);
    struct found found = lists_check(stock.lists_wanted, true);
    check(&found);
    CHECK(found.launched > found.lists / 2);
}

int main(void)
{
    struct schemas_options none = {0};
    struct err err = ERR_INIT;
    char command[128];
    rng_init(&stock.rng, TEST_SEED());
    stock.lists_wanted = number_of("STOCK_LISTS", 3000);
    stock.changes_wanted = number_of("STOCK_CHANGES", 300);
    stock.changes = mem_zalloc((size_t)(ITEMS + 10 * stock.changes_wanted) * sizeof *stock.changes);
    buf_init(&stock.bytes, 1 << 16);
    (void)snprintf(live_shop.folder, sizeof live_shop.folder, "/tmp/freshet-stock-XXXXXX");
    CHECK(mkdtemp(live_shop.folder) != NULL);
    (void)snprintf(live_shop.model, sizeof live_shop.model, "%s/model", live_shop.folder);
    live_lru_put("model", 32, 32, 2, 7, false);
    CHECK_OK(schemas_open(&live_shop.schemas, &none, &err), err);
    broker_open();
    rules_write();
    for (int i = 0; i < LIVE_ITEMS; i++) {
        stock.is_open[i] = stock.is_there[i] = true;
        item_send(i, 0);
    }
    acknowledged();
    CASE(case_what_is_closed_is_in_no_list);
    CASE(case_what_rules_refuse_is_in_no_list);
    rd_kafka_destroy(stock.producer);
    schemas_close(live_shop.schemas);
    if (live_shop.broker) kafka_embedded_stop(live_shop.broker);
    (void)snprintf(command, sizeof command, "rm -r %s", live_shop.folder);
    CHECK_INT(system(command), 0);
    buf_fini(&stock.bytes);
    mem_free(stock.changes);
    return 0;
}
