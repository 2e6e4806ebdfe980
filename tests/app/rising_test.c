/* What rises in the categories of the user's newest items stands in the list with its category, and does not without the published list
 * or the item of that category. On the in-process broker. */
#include "base/mem.h"
#include "emit/emit.h"
#include "tests/app/live.h"

static const int64_t START_MS = 1700000000000;

static void send(const char *topic, const char *key, const struct buf *bytes)
{
    struct err err = ERR_INIT;
    struct emit_feed *feed;
    struct kafka_config config = {.bootstrap_servers = kafka_embedded_bootstrap(live_shop.broker),
                                  .client_id = "feed"};
    CHECK_OK(emit_feed_open(&feed, &config, topic, &err), err);
    CHECK_OK(emit_feed_send(feed, str_of(key), (struct str){(const char *)bytes->data, bytes->len},
                            START_MS, &err),
             err);
    CHECK_OK(emit_feed_close(feed, LIVE_WAIT_MS, &err), err);
}

static void item_send(const char *id, const char *category)
{
    struct buf bytes;
    struct str categories[] = {str_of(category)};
    struct item item = {
        .item_id = str_of(id), .categories = categories, .n_categories = 1, .stock = 5};
    buf_init(&bytes, 1 << 16);
    schemas_item_encode(live_shop.schemas, &item, &bytes);
    send("shop.items", id, &bytes);
    buf_fini(&bytes);
}

/* Items by one letter each, of falling score. */
static void rising_send(const char *category, const char *letters)
{
    struct buf bytes;
    struct counted_item items[26];
    struct trending list = {.category = str_of(category),
                            .items = items,
                            .n_items = strlen(letters),
                            .decay = {.half_life_ms = 3600000},
                            .event_time_ms = START_MS};
    for (size_t i = 0; i < list.n_items; i++)
        items[i] = (struct counted_item){.item_id = {letters + i, 1}, .score = 9 - (float)i};
    buf_init(&bytes, 1 << 16);
    schemas_trending_encode(live_shop.schemas, &list, &bytes);
    send("trending-a", category, &bytes);
    buf_fini(&bytes);
}

static void view_send(const char *user, const char *id)
{
    struct buf bytes;
    struct event_item item = {.item_id = str_of(id), .quantity = 1, .position = -1};
    struct event event = {.type = EVENT_VIEW,
                          .items = &item,
                          .n_items = 1,
                          .user_id = str_of(user),
                          .time_ms = START_MS + 1000,
                          .consent = true};
    buf_init(&bytes, 1 << 16);
    schemas_event_encode(live_shop.schemas, &event, &bytes);
    send("shop.events", user, &bytes);
    buf_fini(&bytes);
}

/* One life over all events; lists of events that were read before are not made again. */
static void live_on(uint64_t events)
{
    struct options *options = live_options("related", "lists-a", "16");
    live_set(options, "events.topics", "shop.events");
    live_set(options, "items.topic", "shop.items");
    live_set(options, "trending.topic", "trending-a");
    live_set(options, "blend.trending.weight", "1");
    (void)live_run(options, events, METRIC_LISTS);
}

/* Why the user's list holds the item: the category of its reason `trending`, "" the whole shop, "-" it has no such reason. */
static void reason_is(const char *user, const char *item, const char *category)
{
    struct live_list *all;
    struct recommendations list = {0};
    struct err err = ERR_INIT;
    struct arena *arena = arena_new(1 << 16, 1 << 20);
    struct str found = STR("-");
    int n = live_lists_read("lists-a", &all), at = -1;
    for (int i = 0; i < n; i++)
        if (strcmp(all[i].key, user) == 0) at = i;
    CHECK(at >= 0);
    struct str value = {(const char *)all[at].value, all[at].len};
    CHECK_OK(schemas_recommendations_decode(live_shop.schemas, value, arena, &list, &err), err);
    for (size_t i = 0; i < list.n_items; i++)
        for (int r = 0;
             str_equal(list.items[i].item_id, str_of(item)) && r < list.items[i].n_reasons; r++)
            if (list.items[i].reasons[r].kind == REASON_TRENDING)
                found = list.items[i].reasons[r].item_id;
    printf("  %s of %s rises in '%.*s'\n", item, user, STR_ARG(found));
    CHECK(str_equal(found, str_of(category)));
    arena_free(arena);
    mem_free(all);
}

static void a_list_names_the_category(void)
{
    item_send("A", "hats");
    item_send("B", "shoes");
    item_send("X", "hats");
    item_send("Z", "bags");
    rising_send("hats", "XA");
    rising_send("", "ZX");
    view_send("ada", "A");
    view_send("bob", "B");
    live_on(2);
    reason_is("ada", "X", "hats");
    reason_is("ada", "Z", "");
    reason_is("bob", "X", ""); /* no hat in the history */
    reason_is("bob", "Z", "");
}

static void without_the_list_the_item_falls(void)
{
    rising_send("hats", "");
    rising_send("", "Z");
    view_send("eve", "A");
    live_on(1);
    reason_is("eve", "X", "-");
    reason_is("eve", "Z", "");
}

int main(void)
{
    live_open();
    CASE(a_list_names_the_category);
    CASE(without_the_list_the_item_falls);
    live_close();
    return 0;
}
