/* Catalogue and rules in the pipeline, on the in-process broker: lists do not depend on how events are cut into batches, new items
 * come in by content and by exploration, pins stand, and a changed rules file takes effect while a wrong one does not.
 *
 * LINK: rdkafka */
#include <stdlib.h>
#include <unistd.h>

#include "app/policy.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/sync.h"
#include "emit/emit.h"
#include "tests/app/live.h"

enum { EVENTS = 2000, NEW = 30, CATEGORIES = 8 };

static const int64_t first_ms = 1700000000000; /* of live_events_send: a second for each event */
static char rules_path[128];

static void rules_write(const char *text)
{
    char temporary[160];
    (void)snprintf(temporary, sizeof temporary, "%s.new", rules_path);
    FILE *file = fopen(temporary, "w");
    CHECK(file != NULL);
    CHECK(fputs(text, file) >= 0);
    CHECK_INT(fclose(file), 0);
    CHECK_INT(rename(temporary, rules_path), 0);
}

/* ---- the shop ---- */

/* A random model that has learnt a vector for each category. */
static void content_model_put(const char *name, uint64_t seed)
{
    struct model_config config = {.N = LIVE_ITEMS,
                                  .D = 32,
                                  .H = 32,
                                  .L = 2,
                                  .F = 128,
                                  .n_types = EVENT_TYPE_COUNT,
                                  .n_gaps = 24};
    struct model *plain = model_random_of(&config, seed), *model;
    char path[96], bytes[CATEGORIES][16];
    struct str ids[LIVE_ITEMS], names[CATEGORIES];
    struct err err = ERR_INIT;
    for (int i = 0; i < LIVE_ITEMS; i++)
        ids[i] = model_item_id(plain, i);
    for (int c = 0; c < CATEGORIES; c++) {
        (void)snprintf(bytes[c], sizeof bytes[c], "category:c%d", c);
        names[c] = str_of(bytes[c]);
    }
    config.n_content = CATEGORIES;
    size_t floats = model_params_floats(&config);
    float *params = mem_alloc(floats * sizeof *params);
    model_params_init(&config, seed, params);
    /* Longer than an item's, so that new items are proposed often. */
    float *content = params + model_param_offset(&config, MODEL_CONTENT_EMBEDDING, 0);
    struct rng rng;
    rng_init(&rng, seed);
    for (int i = 0; i < CATEGORIES * config.D; i++)
        content[i] = 0.06f * (float)rng_normal(&rng);
    struct model_parts parts = {.config = config,
                                .params = params,
                                .item_ids = ids,
                                .content = names,
                                .tenant = "",
                                .version = "content"};
    (void)snprintf(path, sizeof path, "%s/%s", live_shop.folder, name);
    CHECK_OK(model_from_params(&model, &parts, &err), err);
    CHECK_OK(model_save(model, path, &err), err);
    model_free(model);
    model_free(plain);
    mem_free(params);
}

/* Item i: known ones without a bound, or open from or until some time in the middle of the events. */
static void items_send(void)
{
    struct err err = ERR_INIT;
    struct emit_feed *feed;
    struct buf bytes;
    struct rng rng;
    struct kafka_config config = {.bootstrap_servers = kafka_embedded_bootstrap(live_shop.broker),
                                  .client_id = "items"};
    rng_init(&rng, 5);
    buf_init(&bytes, 1 << 16);
    CHECK_OK(emit_feed_open(&feed, &config, "freshet.items", &err), err);
    for (int i = 0; i < LIVE_ITEMS + NEW; i++) {
        char id[16], category[16];
        struct str name;
        struct item item = {.stock = i % 11 ? -1 : 0, .categories = &name, .n_categories = 1};
        int64_t moment = first_ms + (int64_t)rng_below(&rng, EVENTS) * 1000;
        (void)snprintf(id, sizeof id, "%d", i);
        (void)snprintf(category, sizeof category, "c%d", i % CATEGORIES);
        item.item_id = str_of(id);
        name = str_of(category);
        if (i % 5 == 1) item.available_from_ms = moment;
        if (i % 5 == 2) item.available_until_ms = moment;
        item.has_price = true;
        item.price = i % 50;
        buf_reset(&bytes);
        schemas_item_encode(live_shop.schemas, &item, &bytes);
        CHECK_OK(emit_feed_send(feed, item.item_id,
                                (struct str){(const char *)bytes.data, bytes.len}, first_ms, &err),
                 err);
    }
    CHECK_OK(emit_feed_close(feed, LIVE_WAIT_MS, &err), err);
    buf_fini(&bytes);
}

static struct options *options_make(const char *name, const char *lists, const char *batch)
{
    struct options *options = live_options(name, lists, batch);
    live_set(options, "items.topic", "freshet.items");
    live_set(options, "rules.file", rules_path);
    live_set(options, "rules.bought.days", "1");
    live_model_set(options, "content");
    return options;
}

/* ---- what lists hold ---- */

struct seen {
    int lists, reasons[REASON_KIND_COUNT], pinned_third, closed, refused;
};

static bool is_open(int item, int64_t time_ms, struct rng *rng)
{
    int64_t moment = first_ms + (int64_t)rng_below(rng, EVENTS) * 1000;
    if (item % 11 == 0) return false;
    if (item % 5 == 1) return time_ms >= moment;
    return item % 5 != 2 || time_ms < moment;
}

/* The times of items_send, drawn again. */
static void openings_make(int64_t time_ms, bool *open)
{
    struct rng rng;
    rng_init(&rng, 5);
    for (int i = 0; i < LIVE_ITEMS + NEW; i++)
        open[i] = is_open(i, time_ms, &rng);
}

static struct seen lists_look(const char *topic)
{
    struct live_list *all;
    struct seen seen = {.lists = live_lists_read(topic, &all)};
    struct arena *arena = arena_new(1 << 20, SIZE_MAX);
    struct err err = ERR_INIT;
    for (int l = 0; l < seen.lists; l++) {
        struct recommendations list;
        struct str bytes = {(const char *)all[l].value, all[l].len};
        bool open[LIVE_ITEMS + NEW];
        arena_reset(arena);
        CHECK_OK(schemas_recommendations_decode(live_shop.schemas, bytes, arena, &list, &err), err);
        openings_make(list.trigger.event_time_ms, open);
        for (size_t i = 0; i < list.n_items; i++) {
            char id[16];
            (void)snprintf(id, sizeof id, "%.*s", STR_ARG(list.items[i].item_id));
            int item = (int)strtol(id, NULL, 10);
            seen.closed += !open[item];
            seen.refused += item % CATEGORIES == 3;
            for (int r = 0; r < list.items[i].n_reasons; r++)
                seen.reasons[list.items[i].reasons[r].kind]++;
            seen.pinned_third += i == 2 && list.items[i].reasons[0].kind == REASON_PINNED;
        }
    }
    arena_free(arena);
    mem_free(all);
    printf("  %s: %d lists, items that are new by chance %d, by content %d, pinned third %d\n",
           topic, seen.lists, seen.reasons[REASON_NEW], seen.reasons[REASON_CONTENT],
           seen.pinned_third);
    return seen;
}

/* ---- cases ---- */

static const char every_kind[] =
    "{\"rules\": [{\"exclude\": {\"category\": \"c3\"}},"
    "{\"when\": {\"hours\": \"22:20-22:30\"}, \"exclude\": {\"price\": {\"min\": 20}}},"
    "{\"when\": {\"hours\": \"22:25-22:40\"}, \"include\": {\"category\": [\"c1\", \"c2\", "
    "\"c4\"]}},"
    "{\"most\": 5, \"of\": \"category\"}, {\"repeat\": {\"category\": \"c5\"}},"
    "{\"boost\": 1.5, \"items\": {\"category\": \"c6\"}}, {\"pin\": \"4\", \"place\": 3},"
    "{\"diversity\": 0.2}, {\"damping\": 0.3}, {\"explore\": 0.08}]}";

static void case_batches_do_not_matter(void)
{
    rules_write(every_kind);
    (void)live_run(options_make("of-1", "lists-a", "1"), EVENTS, METRIC_RECORDS);
    (void)live_run(options_make("of-256", "lists-b", "256"), EVENTS, METRIC_RECORDS);
    live_lists_compare("lists-a", "lists-b");
    struct seen seen = lists_look("lists-a");
    CHECK_INT(seen.closed, 0);
    CHECK_INT(seen.refused, 0);
    CHECK(seen.reasons[REASON_NEW] > seen.lists / 2);
    CHECK(seen.reasons[REASON_CONTENT] > seen.lists / 2);
    CHECK(seen.pinned_third > seen.lists / 2);
}

static void case_without_rules_new_items_come_by_content(void)
{
    struct options *options = options_make("bare", "lists-c", "64");
    live_set(options, "rules.file", "");
    (void)live_run(options, EVENTS, METRIC_RECORDS);
    struct seen seen = lists_look("lists-c");
    CHECK_INT(seen.closed, 0);
    CHECK(seen.refused > 0);
    CHECK(seen.reasons[REASON_CONTENT] > seen.lists / 2);
    CHECK_INT(seen.reasons[REASON_NEW] + seen.reasons[REASON_PINNED], 0);
}

static void case_a_changed_file_is_taken_a_wrong_one_not(void)
{
    struct err err = ERR_INIT;
    struct rules_watch *watch;
    rules_write("{\"rules\": [{\"damping\": 0.5}]}");
    CHECK_OK(rules_watch_open(&watch, rules_path, 1000, &err), err);
    const struct rules *first = rules_watch_take(watch);
    rules_watch_serve(watch, 10000);
    CHECK(!rules_watch_has_newer(watch, first));
    rules_write("{\"rules\": [{\"damping\": 5}]}");
    rules_watch_serve(watch, 10500); /* not yet */
    CHECK_INT(rules_watch_counts(watch).refused, 0);
    rules_watch_serve(watch, 11000);
    rules_watch_serve(watch, 12000); /* told of once */
    CHECK_INT(rules_watch_counts(watch).refused, 1);
    CHECK(!rules_watch_has_newer(watch, first));
    rules_write("{\"rules\": [{\"damping\": 0.5}, {\"explore\": 0.1}]}");
    rules_watch_serve(watch, 13000);
    CHECK(rules_watch_has_newer(watch, first));
    CHECK_INT(rules_model(first)->n, 1); /* lives while it is held */
    rules_watch_release(watch, first);
    const struct rules *second = rules_watch_take(watch);
    rules_watch_serve(watch, 13001);
    CHECK_INT(rules_model(second)->n, 2);
    rules_watch_release(watch, second);
    CHECK_INT(rules_watch_counts(watch).loaded, 1);
    rules_watch_close(watch);
}

/* Every arm full: all of it goes through the last order, and the best of it stand in the list. */
static void case_all_candidates_are_taken(void)
{
    struct err err = ERR_INIT;
    struct rules_watch *watch;
    struct settings settings;
    struct options *options = live_options("full", "lists-a", "16");
    static struct model_blended found[POLICY_FOUND_MAX];
    struct policy_listed listed[USER_LIST_MAX];
    struct event event = {.time_ms = first_ms};
    struct policy_gate gate;
    rules_write("{\"rules\": [{\"damping\": 0.5}]}");
    CHECK_OK(settings_init(&settings, options, &err), err);
    CHECK_OK(rules_watch_open(&watch, rules_path, 0, &err), err);
    struct policy *policy = policy_new(&(struct policy_env){&settings, NULL, watch});
    for (int i = 0; i < POLICY_FOUND_MAX; i++)
        found[i] = (struct model_blended){.key = (uint64_t)i + 1, .score = (float)-i};
    CHECK_OK(policy_begin(policy, NULL, false, &err), err);
    policy_slice(policy);
    policy_gate(policy, &event, &gate);
    CHECK(gate.is_reranked);
    CHECK_INT(policy_rerank(policy, &gate, found, POLICY_FOUND_MAX, 20, 1, NULL, NULL, listed), 20);
    for (int k = 0; k < 20; k++)
        CHECK_HEX(listed[k].blended.key, k + 1);
    policy_end(policy);
    policy_free(policy);
    rules_watch_close(watch);
    settings_fini(&settings);
    options_free(options);
}

static bool refuses_none(void *context, uint64_t key)
{
    (void)context;
    (void)key;
    return false;
}

/* More new items that nobody can buy, and newer ones, than are looked at: those that can be bought are found behind them. */
static void case_closed_items_take_no_places(void)
{
    enum { CLOSED = 1200, OPEN = 3 };
    struct err err = ERR_INIT;
    struct rules_watch *watch;
    struct settings settings;
    struct catalogue *catalogue;
    struct options *options = live_options("closed", "lists-a", "16");
    struct policy_listed listed[USER_LIST_MAX];
    struct event event = {.time_ms = first_ms};
    struct policy_gate gate;
    struct emit_feed *feed;
    struct buf bytes;
    buf_init(&bytes, 1 << 16);
    rules_write("{\"rules\": [{\"explore\": 1}]}");
    CHECK_OK(settings_init(&settings, options, &err), err);
    CHECK_OK(emit_feed_open(&feed, &settings.kafka, "shop.items", &err), err);
    for (int i = 0; i < OPEN + CLOSED;
         i++) { /* a third is hidden, a third sold out, a third not open yet */
        char id[16];
        (void)snprintf(id, sizeof id, "%s%d", i < OPEN ? "open" : "shut", i);
        struct item item = {.item_id = str_of(id), .stock = 5};
        if (i >= OPEN && i % 3 == 0) item.hidden = true;
        if (i >= OPEN && i % 3 == 1) item.stock = 0;
        if (i >= OPEN && i % 3 == 2) item.available_from_ms = first_ms + 1;
        buf_reset(&bytes);
        schemas_item_encode(live_shop.schemas, &item, &bytes);
        CHECK_OK(emit_feed_send(feed, item.item_id,
                                (struct str){(const char *)bytes.data, bytes.len}, 1000 + i, &err),
                 err);
    }
    CHECK_OK(emit_feed_close(feed, LIVE_WAIT_MS, &err), err);
    CHECK_OK(rules_watch_open(&watch, rules_path, 0, &err), err);
    const struct catalogue_options from = {.kafka = &settings.kafka,
                                           .topic = "shop.items",
                                           .schemas = live_shop.schemas,
                                           .bytes_max = 1 << 24,
                                           .timeout_ms = LIVE_WAIT_MS};
    CHECK_OK(catalogue_open(&catalogue, &from, &err), err);
    struct policy *policy = policy_new(&(struct policy_env){&settings, catalogue, watch});
    CHECK_OK(policy_begin(policy, NULL, false, &err), err);
    policy_slice(policy);
    policy_gate(policy, &event, &gate);
    int n = policy_rerank(policy, &gate, NULL, 0, 20, 1, refuses_none, NULL, listed);
    CHECK_INT(n, OPEN);
    for (int k = 0; k < n; k++)
        CHECK_BYTES(policy_item_id(policy, listed[k].blended.key).ptr, 4, "open", 4);
    policy_end(policy);
    policy_free(policy);
    catalogue_close(catalogue);
    rules_watch_close(watch);
    settings_fini(&settings);
    options_free(options);
    buf_fini(&bytes);
}

int main(void)
{
    live_open();
    (void)snprintf(rules_path, sizeof rules_path, "%s/rules.json", live_shop.folder);
    content_model_put("content", 3);
    items_send();
    live_events_send(EVENTS, TEST_SEED());
    CASE(case_batches_do_not_matter);
    CASE(case_without_rules_new_items_come_by_content);
    CASE(case_a_changed_file_is_taken_a_wrong_one_not);
    CASE(case_all_candidates_are_taken);
    CASE(case_closed_items_take_no_places);
    live_close();
    return 0;
}
