/* The simulated shop: the same seed gives the same stream, the funnel looks like a shop's, order
 * carries information. */
#include "app/shop.h"

#include "base/clock.h"
#include "base/mem.h"
#include "tests/test.h"

/* ---- determinism ---- */

static uint64_t fnv(uint64_t h, const void *bytes, size_t n)
{
    const unsigned char *b = bytes;
    for (size_t i = 0; i < n; i++)
        h = (h ^ b[i]) * 0x100000001B3u;
    return h;
}

static uint64_t fnv_str(uint64_t h, struct str s)
{
    return fnv(fnv(h, s.ptr, s.len), "|", 1);
}

static uint64_t hash_output(uint64_t h, const struct shop_output *o)
{
    h = fnv(h, &o->time_ms, sizeof(o->time_ms));
    if (o->kind == SHOP_ITEM) {
        h = fnv_str(fnv_str(h, o->item.item_id), o->item.title);
        return fnv(h, &o->item.stock, sizeof(o->item.stock));
    }
    const struct event *e = &o->event;
    int type = (int)e->type;
    h = fnv(h, &type, sizeof(type));
    h = fnv_str(fnv_str(fnv_str(fnv_str(h, e->event_id), e->user_id), e->anonymous_id), e->query);
    for (size_t i = 0; i < e->n_items; i++) {
        h = fnv_str(h, e->items[i].item_id);
        h = fnv(h, &e->items[i].quantity, sizeof(double));
    }
    return h;
}

static uint64_t hash_stream(uint64_t seed, int outputs)
{
    struct shop_options options = shop_options_default();
    struct shop_output output;
    uint64_t h = 0xCBF29CE484222325u;
    options.seed = seed;
    struct shop *shop = shop_new(&options);
    for (int i = 0; i < outputs; i++) {
        shop_next(shop, &output);
        h = hash_output(h, &output);
    }
    shop_free(shop);
    return h;
}

static void same_seed_same_stream(void)
{
    uint64_t first = hash_stream(7, 100000);
    CHECK_HEX(hash_stream(7, 100000), first);
    CHECK(hash_stream(8, 100000) != first);
}

/* ---- what a shop looks like ---- */

struct census {
    uint64_t types[EVENT_TYPE_COUNT];
    uint64_t items, events, several, anonymous, both, bots, changes, sold_out, restocked, new_items;
    double first_ms, last_ms;
};

/* Checks each record for itself and counts it. */
static void check_event(const struct shop *shop, const struct shop_output *o, struct census *c)
{
    const struct event *e = &o->event;
    c->events++;
    c->types[e->type]++;
    CHECK_INT(e->time_ms, o->time_ms);
    CHECK(e->event_id.len > 0 && e->consent);
    CHECK(e->user_id.len > 0 || e->anonymous_id.len > 0);
    CHECK(e->n_items > 0 || e->type == EVENT_SEARCH);
    CHECK(e->type != EVENT_SEARCH || e->query.len > 0);
    for (size_t i = 0; i < e->n_items; i++) {
        CHECK(shop_truth_item_category(shop, e->items[i].item_id) >= 0);
        CHECK(e->items[i].quantity >= 1 && e->items[i].price > 0);
    }
    c->several += e->type == EVENT_PURCHASE && e->n_items > 1;
    c->anonymous += e->user_id.len == 0;
    c->both += e->user_id.len > 0 && e->anonymous_id.len > 0;
    c->bots += o->bot;
    c->changes += o->intent_changed;
    if (e->type == EVENT_VIEW && !o->bot && e->user_id.len > 0 &&
        shop_truth_user_intent(shop, e->user_id) >= 0) {
        CHECK_INT(shop_truth_user_intent(shop, e->user_id), o->intent);
    }
}

static uint64_t item_hash(struct str id)
{
    return schemas_id_hash(id);
}

/* Stock as the item records tell it: 1 + stock, 0 unknown. */
static void check_item(const struct shop_output *o, uint64_t *stock_of, size_t slots,
                       struct census *c)
{
    uint64_t *known = &stock_of[item_hash(o->item.item_id) % slots];
    CHECK(o->item.title.len > 5 && o->item.brand.len > 2);
    CHECK_INT(o->item.n_categories, 2);
    CHECK(o->item.price > 0);
    c->items++;
    c->sold_out += o->item.stock == 0;
    c->restocked += *known == 1 && o->item.stock > 0;
    c->new_items += *known == 0 && c->events > 0;
    *known = 1 + (uint64_t)o->item.stock;
}

static void looks_like_a_shop(void)
{
    enum { EVENTS = 300000, SLOTS = 1 << 22 };
    struct shop_options options = shop_options_default();
    struct shop_output o;
    struct census c = {0};
    uint64_t *stock_of = mem_zalloc(SLOTS * sizeof(*stock_of));
    int64_t last_ms = 0;
    options.seed = TEST_SEED();
    struct shop *shop = shop_new(&options);
    while (c.events < EVENTS) {
        shop_next(shop, &o);
        CHECK(o.time_ms >= last_ms);
        last_ms = o.time_ms;
        if (o.kind == SHOP_ITEM) {
            check_item(&o, stock_of, SLOTS, &c);
            continue;
        }
        check_event(shop, &o, &c);
        if (o.event.type != EVENT_PURCHASE) continue;
        for (size_t i = 0; i < o.event.n_items; i++) {
            CHECK(stock_of[item_hash(o.event.items[i].item_id) % SLOTS] >
                  1); /* told to be on sale */
        }
    }
    for (int t = 0; t < EVENT_TYPE_COUNT; t++) {
        printf("  %-16s %8" PRIu64 "\n", schemas_event_type_name(t), c.types[t]);
    }
    printf("  simulated hours %.1f, several %" PRIu64 " anonymous %" PRIu64 " logged in %" PRIu64
           " bots %" PRIu64 " intent changes %" PRIu64 " sold out %" PRIu64 " restocked %" PRIu64
           " new %" PRIu64 "\n",
           (double)(last_ms - options.start_ms) / 3.6e6, c.several, c.anonymous, c.both, c.bots,
           c.changes, c.sold_out, c.restocked, c.new_items);
    double per_s = (double)c.events / ((double)(last_ms - options.start_ms) / 1000);
    CHECK_NEAR(per_s, 1.0, 0.25); /* users / 2000, over some days */
    CHECK(c.types[EVENT_VIEW] > EVENTS / 2);
    CHECK_NEAR((double)c.types[EVENT_ADD_TO_CART] / EVENTS, 0.06, 0.03);
    CHECK_NEAR((double)c.types[EVENT_PURCHASE] / EVENTS, 0.025, 0.015);
    CHECK(c.types[EVENT_PURCHASE] < c.types[EVENT_ADD_TO_CART]);
    for (int t = 0; t < EVENT_OTHER; t++)
        CHECK(c.types[t] > 100);
    CHECK_INT(c.types[EVENT_OTHER], 0);
    CHECK(c.several > c.types[EVENT_PURCHASE] / 10);
    CHECK_NEAR((double)c.anonymous / EVENTS, 0.25, 0.12);
    CHECK(c.both > 1000);
    CHECK_NEAR((double)c.bots / EVENTS, 0.03, 0.03);
    CHECK(c.changes > EVENTS / 100);
    CHECK(c.sold_out > 10);
    CHECK(c.restocked > 10);
    CHECK(c.new_items > 10);
    shop_free(shop);
    mem_free(stock_of);
}

static void daily_rhythm(void)
{
    struct shop_options options = shop_options_default();
    struct shop_output o = {0};
    uint64_t hours[24] = {0};
    options.start_ms = 1736121600000; /* midnight */
    struct shop *shop = shop_new(&options);
    while (o.time_ms < options.start_ms + 2 * 86400000) {
        shop_next(shop, &o);
        hours[o.time_ms / 3600000 % 24] += o.kind == SHOP_EVENT;
    }
    printf("  3 h: %" PRIu64 " events, 20 h: %" PRIu64 "\n", hours[3], hours[20]);
    CHECK(hours[20] > 5 * hours[3]);
    shop_free(shop);
}

/* ---- learnability: what follows what, counted on the first part, asked on the last ---- */

enum { LEARN_ITEMS = 500, LEARN_EVENTS = 400000, K = 20 };

static int item_number(struct str id)
{
    int number = 0;
    for (size_t i = 1; i < id.len; i++)
        number = number * 10 + (id.ptr[i] - '0');
    return number;
}

/* Reciprocal rank of the item among those with a larger count; 0 beyond K. */
static double reciprocal(const uint32_t *counts, int item)
{
    int rank = 1;
    for (int i = 0; i < LEARN_ITEMS; i++)
        rank += counts[i] > counts[item] || (counts[i] == counts[item] && i < item);
    return rank <= K ? 1.0 / rank : 0;
}

static void order_carries_information(void)
{
    struct shop_options options = shop_options_default();
    struct shop_output o;
    double markov = 0, popular = 0;
    int asked = 0;
    uint32_t *follows = mem_zalloc(sizeof(uint32_t) * LEARN_ITEMS * LEARN_ITEMS);
    uint32_t *counts = mem_zalloc(sizeof(uint32_t) * LEARN_ITEMS);
    int *last = mem_zalloc(sizeof(int) * 2000);
    options.items = LEARN_ITEMS;
    options.seed = TEST_SEED();
    struct shop *shop = shop_new(&options);
    for (int i = 0; i < LEARN_EVENTS;) {
        shop_next(shop, &o);
        if (o.kind == SHOP_ITEM) continue;
        i++;
        if (o.event.type != EVENT_VIEW || o.event.user_id.len == 0) continue;
        int user = item_number(o.event.user_id);
        int item = item_number(o.event.items[0].item_id);
        int from = last[user] - 1;
        last[user] = item + 1;
        if (i > LEARN_EVENTS * 7 / 10 && from >= 0) {
            markov += reciprocal(follows + (size_t)from * LEARN_ITEMS, item);
            popular += reciprocal(counts, item);
            asked++;
        }
        if (from >= 0) follows[from * LEARN_ITEMS + item]++;
        counts[item]++;
    }
    printf("  MRR@%d of %d views: what followed before %.4f, popularity %.4f\n", K, asked,
           markov / asked, popular / asked);
    CHECK(asked > 10000);
    CHECK(markov > 2 * popular);
    CHECK(popular > 0);
    mem_free(follows);
    mem_free(counts);
    mem_free(last);
    shop_free(shop);
}

/* Views after a change of intent are of the new category, until the next change. */
static void views_follow_the_intent(void)
{
    struct shop_options options = shop_options_default();
    struct shop_output o;
    uint64_t in = 0, out = 0;
    struct shop *shop = shop_new(&options);
    for (int i = 0; i < 100000; i++) {
        shop_next(shop, &o);
        if (o.kind != SHOP_EVENT || o.event.type != EVENT_VIEW || o.bot) continue;
        bool same = shop_truth_item_category(shop, o.event.items[0].item_id) == o.intent;
        in += same;
        out += !same;
    }
    printf("  views of the intent's category %" PRIu64 ", of another %" PRIu64 "\n", in, out);
    CHECK(in > 7 * out);
    shop_free(shop);
}

/* ---- limits ---- */

static void ids_come_back(void)
{
    static const int sizes[] = {20, 999, 1000, 65536};
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        struct shop_options options = shop_options_default();
        struct shop_output o;
        options.items = sizes[s];
        struct shop *shop = shop_new(&options);
        int known = 0;
        for (int i = 0; i < options.items; i++) {
            char id[16];
            (void)snprintf(id, sizeof(id), "p%d", i);
            known += shop_truth_item_category(shop, str_of(id)) >= 0;
        }
        CHECK_INT(known, sizes[s]);
        CHECK_INT(shop_truth_item_category(shop, STR("p")), -1);
        CHECK_INT(shop_truth_item_category(shop, STR("x1")), -1);
        CHECK_INT(shop_truth_item_category(shop, STR("p99999999")), -1);
        CHECK_INT(shop_truth_user_intent(shop, STR("u99999999")), -1);
        shop_next(shop, &o);
        CHECK_INT(o.kind, SHOP_ITEM);
        CHECK(shop_truth_item_on_sale(shop, o.item.item_id));
        shop_free(shop);
    }
}

static void small_and_hurried_shops_run(void)
{
    struct shop_options options = shop_options_default();
    struct shop_output o;
    options.users = 1;
    options.items = 1; /* brought to 20 */
    options.events_per_second = 1000;
    options.bots = 0.5;
    struct shop *shop = shop_new(&options);
    for (int i = 0; i < 20000; i++)
        shop_next(shop, &o);
    shop_free(shop);
}

static void no_allocation_for_an_event(void)
{
    enum { OUTPUTS = 300000 };
    struct clock clock = {0};
    struct shop_options options = shop_options_default();
    struct shop_output o;
    options.users = 20000;
    options.items = 50000;
    struct shop *shop = shop_new(&options);
    for (int i = 0; i < 60000; i++)
        shop_next(shop, &o);
    uint64_t allocations = mem_thread_count();
    uint64_t start = clock_mono_us(&clock);
    for (int i = 0; i < OUTPUTS; i++)
        shop_next(shop, &o);
    double us = (double)(clock_mono_us(&clock) - start);
    printf("  %.0f outputs/s\n", OUTPUTS / us * 1e6);
    CHECK(mem_thread_count() - allocations < 20); /* the agenda doubles a few times */
    shop_free(shop);
}

int main(void)
{
    CASE(same_seed_same_stream);
    CASE(looks_like_a_shop);
    CASE(daily_rhythm);
    CASE(order_carries_information);
    CASE(views_follow_the_intent);
    CASE(ids_come_back);
    CASE(small_and_hurried_shops_run);
    CASE(no_allocation_for_an_event);
    return 0;
}
