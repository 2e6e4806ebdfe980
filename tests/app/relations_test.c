/* What goes together, from events to the related topic, on the in-process broker: the four kinds, refunds, caps, a restart.
 * (Counts against a naive fold, under faults: tests/oracle, tests/e2e/faults.py.)
 *
 * LINK: rdkafka */
#include "base/sync.h"
#include "emit/emit.h"
#include "tests/app/live.h"

enum { MINUTE = 60000, QUIET_MS = 400 };

static const int64_t START_MS = 1700000000000;
static uint64_t sent;

/* One event of a user; items by one letter each. */
static void event_send(enum event_type type, const char *user, const char *letters, int64_t time_ms)
{
    struct err err = ERR_INIT;
    struct emit_feed *feed;
    struct buf bytes;
    struct event_item items[26];
    struct kafka_config config = {.bootstrap_servers = kafka_embedded_bootstrap(live_shop.broker),
                                  .client_id = "feed"};
    struct event event = {.type = type,
                          .items = items,
                          .n_items = strlen(letters),
                          .user_id = str_of(user),
                          .time_ms = time_ms,
                          .consent = true};
    for (size_t i = 0; i < event.n_items; i++)
        items[i] = (struct event_item){.item_id = {letters + i, 1}, .quantity = 1, .position = -1};
    buf_init(&bytes, 1 << 16);
    schemas_event_encode(live_shop.schemas, &event, &bytes);
    CHECK_OK(emit_feed_open(&feed, &config, "shop.events", &err), err);
    CHECK_OK(emit_feed_send(feed, event.user_id, (struct str){(const char *)bytes.data, bytes.len},
                            time_ms, &err),
             err);
    CHECK_OK(emit_feed_close(feed, LIVE_WAIT_MS, &err), err);
    buf_fini(&bytes);
    sent++;
}

static const char *half_life = "180d";

/* Lives until every event was read and all its pairs have been applied. */
static void live_on(uint64_t events)
{
    struct err err = ERR_INIT;
    struct settings settings;
    struct pipeline *pipeline;
    struct options *options = live_options("related", "lists-a", "16");
    live_set(options, "events.topics", "shop.events");
    live_set(options, "related.topic", "related-a");
    live_set(options, "trending.topic", "trending-a");
    live_set(options, "related.basket.max", "4");
    live_set(options, "related.user.max", "8");
    live_set(options, "related.half.life.ms", half_life);
    CHECK_OK(settings_init(&settings, options, &err), err);
    CHECK_OK(pipeline_open(&pipeline, &settings, NULL, &err), err);
    live_until(pipeline, events);
    for (int ms = 0, quiet = 0; quiet < QUIET_MS; ms += 10) {
        CHECK(ms < LIVE_WAIT_MS);
        CHECK_OK(pipeline_serve(pipeline, &err), err);
        quiet = live_count(pipeline, METRIC_LAG) == 0 ? quiet + 10 : 0;
        sync_sleep_ms(10);
    }
    CHECK_INT(live_count(pipeline, METRIC_DEAD_LETTERS), 0);
    CHECK_OK(pipeline_finish(pipeline, &err), err);
    pipeline_close(pipeline);
    settings_fini(&settings);
    options_free(options);
}

static int by_letter(const void *a, const void *b)
{
    return *(const char *)a - *(const char *)b;
}

/* The list that stands under the key, its items by letter, and what all of them count; "" none. Returns the first item's score. */
static double list_is(const char *key, const char *letters, double count)
{
    struct live_list *all;
    int n = live_lists_read("related-a", &all), newest = -1;
    char found[32] = "";
    double score = 0;
    struct related related = {0};
    struct err err = ERR_INIT;
    struct arena *arena = arena_new(1 << 16, 1 << 20);
    for (int i = 0; i < n; i++)
        if (strcmp(all[i].key, key) == 0 && (newest < 0 || all[i].offset > all[newest].offset))
            newest = i;
    if (newest >= 0 && all[newest].len > 0) {
        struct str value = {(const char *)all[newest].value, all[newest].len};
        CHECK_OK(schemas_related_decode(live_shop.schemas, value, arena, &related, &err), err);
        for (size_t i = 0; i < related.n_items; i++)
            found[i] = related.items[i].item_id.ptr[0];
        score = related.n_items ? (double)related.items[0].score : 0;
        qsort(found, related.n_items, 1, by_letter);
    }
    printf("  %s: %s\n", key, found);
    CHECK_STR(found, letters);
    CHECK_NEAR(related.count, count, 1e-3);
    arena_free(arena);
    mem_free(all);
    return score;
}

/* The newest list of the whole shop: every item counted, the one that counts most first. */
static void trending_is(char first, size_t n_items)
{
    struct live_list *all;
    int n = live_lists_read("trending-a", &all), newest = 0;
    struct trending list;
    struct err err = ERR_INIT;
    struct arena *arena = arena_new(1 << 16, 1 << 20);
    CHECK(n > 0);
    for (int i = 1; i < n; i++)
        if (all[i].offset > all[newest].offset) newest = i;
    struct str value = {(const char *)all[newest].value, all[newest].len};
    CHECK_STR(all[newest].key, "");
    CHECK_OK(schemas_trending_decode(live_shop.schemas, value, arena, &list, &err), err);
    CHECK_INT(list.category.len, 0);
    CHECK_INT(list.n_items, n_items);
    CHECK_INT(list.items[0].item_id.ptr[0], first);
    for (size_t i = 1; i < list.n_items; i++)
        CHECK(list.items[i].score <= list.items[i - 1].score);
    CHECK_NEAR(list.items[0].count, 5, 0.2); /* G: seen once, bought once, which counts four */
    arena_free(arena);
    mem_free(all);
}

static void orders_and_sessions_pair_items(void)
{
    event_send(EVENT_PURCHASE, "u1", "AB", START_MS);
    event_send(EVENT_PURCHASE, "u2", "CDE", START_MS); /* pairs weigh less, by the order's size */
    event_send(EVENT_VIEW, "u3", "F", START_MS);
    event_send(EVENT_VIEW, "u3", "G", START_MS + MINUTE);
    event_send(EVENT_VIEW, "u3", "F", START_MS + 2 * MINUTE); /* known to the session */
    event_send(EVENT_PURCHASE, "u3", "G", START_MS + 3 * MINUTE);
    event_send(EVENT_PURCHASE, "u1", "H", START_MS + MINUTE);
    live_on(sent);
    (void)list_is("A:bought_together", "B", 1);
    (void)list_is("B:bought_together", "A", 1);
    (void)list_is("C:bought_together", "DE", 2 * model_basket_weight(3));
    (void)list_is("F:also_viewed", "G", 1);
    (void)list_is("G:also_viewed", "F", 1);
    (void)list_is("F:viewed_then_bought", "G", 1);
    (void)list_is("G:viewed_then_bought", "", 0);
    (void)list_is("H:also_bought", "AB", 2);
    (void)list_is("A:also_bought", "H", 1);
    (void)list_is("H:bought_together", "", 0);
    trending_is('G', 8); /* A to H */
}

/* The order of A and B loses B; H was bought by the same user. */
static void a_refund_takes_back_once(void)
{
    event_send(EVENT_REFUND, "u1", "B", START_MS + 2 * MINUTE);
    event_send(EVENT_REFUND, "u1", "B", START_MS + 2 * MINUTE);
    event_send(EVENT_REFUND, "u2", "D", START_MS + 2 * MINUTE);
    live_on(3);
    (void)list_is("A:bought_together", "", 0);
    (void)list_is("B:bought_together", "", 0);
    (void)list_is("H:also_bought", "A", 1);
    (void)list_is("C:bought_together", "E", model_basket_weight(3));
}

static void baskets_and_robots_have_caps(void)
{
    event_send(EVENT_PURCHASE, "u4", "IJKLM", START_MS); /* over related.basket.max */
    for (int i = 0; i < 12; i++)                         /* only the first 8 are a person's */
        event_send(EVENT_VIEW, "u5", (char[]){(char)('N' + i), 0}, START_MS + i);
    live_on(13);
    (void)list_is("I:bought_together", "", 0);
    (void)list_is("U:also_viewed", "PQRST", 1 + 1 / 2.0 + 1 / 3.0 + 1 / 4.0 + 1 / 5.0);
    (void)list_is("V:also_viewed", "", 0);
}

/* Counts of rows and marginals stay what they are as of the newest event, so scores do: with those of one half-life against those of another
 * every score is nothing, or no partner counts as popular. */
static void a_half_life_may_change(void)
{
    static const char *const half_lives[] = {"7d", "180d"};
    for (int i = 0; i < 2; i++) {
        half_life = half_lives[i];
        event_send(EVENT_PURCHASE, i ? "u7" : "u6", "CE", START_MS + 6 * MINUTE);
        live_on(1);
        double count = model_basket_weight(3) + 1 + i;
        double score = list_is("C:bought_together", "E", count);
        /* What is left of all pairs are those of C with E and of E with C. */
        double prior = model_score_options_default().prior;
        CHECK_NEAR(score, (count + prior / 2) / (count + prior), 1e-4);
    }
}

/* The user's newest list holds the item, with this reason and the item that it is because of. */
static void list_holds(const char *user, const char *item, enum reason_kind kind, const char *why)
{
    struct live_list *all;
    struct recommendations list = {0};
    struct err err = ERR_INIT;
    struct arena *arena = arena_new(1 << 16, 1 << 20);
    int n = live_lists_read("lists-a", &all), newest = -1;
    bool is_held = false;
    for (int i = 0; i < n; i++)
        if (strcmp(all[i].key, user) == 0 && (newest < 0 || all[i].offset > all[newest].offset))
            newest = i;
    CHECK(newest >= 0);
    struct str value = {(const char *)all[newest].value, all[newest].len};
    CHECK_OK(schemas_recommendations_decode(live_shop.schemas, value, arena, &list, &err), err);
    for (size_t i = 0; i < list.n_items; i++) {
        const struct list_item *at = &list.items[i];
        for (int r = 0; str_equal(at->item_id, str_of(item)) && r < at->n_reasons; r++)
            is_held = is_held || (at->reasons[r].kind == kind &&
                                  str_equal(at->reasons[r].item_id, str_of(why)));
    }
    printf("  %s of %s because of %s: %d\n", item, user, why, is_held);
    CHECK(is_held);
    arena_free(arena);
    mem_free(all);
}

/* Lists of the topic reach users of all partitions, who are told why; what is taken out of the history takes its items along. */
static void lists_name_what_goes_together(void)
{
    char user[8];
    for (int i = 0; i < 8; i++) { /* of every partition some */
        (void)snprintf(user, sizeof user, "v%d", i);
        event_send(EVENT_VIEW, user, "F", START_MS + 5 * MINUTE);
        (void)snprintf(user, sizeof user, "w%d", i);
        event_send(EVENT_VIEW, user, "C", START_MS + 5 * MINUTE);
    }
    live_on(16);
    for (int i = 0; i < 8; i++) {
        (void)snprintf(user, sizeof user, "v%d", i);
        list_holds(user, "G", REASON_BECAUSE_VIEWED, "F");
        (void)snprintf(user, sizeof user, "w%d", i);
        list_holds(user, "E", REASON_BOUGHT_TOGETHER, "C");
    }
}

int main(void)
{
    live_open();
    CASE(orders_and_sessions_pair_items);
    CASE(a_refund_takes_back_once);
    CASE(baskets_and_robots_have_caps);
    CASE(a_half_life_may_change);
    CASE(lists_name_what_goes_together);
    live_close();
    return 0;
}
