/* The cleaning rules of ingest.h, one row each, and what they count. */
#include "ingest/ingest.h"
#include "base/rng.h"
#include "tests/test.h"

enum { ITEMS_MAX = 4 };

static const int64_t STAMP = 1700000000000, FUTURE = 60000;

struct row {
    const char *name;
    enum event_type type;
    const char *user, *anonymous, *tenant, *event_id;
    const char *items[ITEMS_MAX]; /* up to the first NULL */
    double quantities[ITEMS_MAX]; /* 0 stands for 1; use the special rows for 0 itself */
    int64_t time_ms;
    /* what comes out */
    enum ingest_reason reason;
    const char *user_out;
    const char *items_out[ITEMS_MAX];
    double quantities_out[ITEMS_MAX];
    int64_t time_out;
    enum ingest_reason counted; /* REASON_NONE: nothing */
    int times;
};

#define T 1690000000000
#define LONG256                                                                                    \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"                                                        \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct row rows[] = {
    {.name = "good", .user = "u", .items = {"a"}, .time_ms = T, .items_out = {"a"}, .time_out = T},
    {.name = "anonymous",
     .anonymous = "x",
     .items = {"a"},
     .time_ms = T,
     .items_out = {"a"},
     .time_out = T},
    {.name = "nobody", .items = {"a"}, .time_ms = T, .reason = POISON_MISSING_USER},
    {.name = "blank user",
     .user = " \t\r\n\v\f",
     .items = {"a"},
     .time_ms = T,
     .reason = POISON_MISSING_USER},
    {.name = "trimmed user",
     .user = "\t u v \n",
     .items = {"a"},
     .time_ms = T,
     .user_out = "u v",
     .items_out = {"a"},
     .time_out = T,
     .counted = CLEAN_ID_TRIMMED,
     .times = 1},
    {.name = "trimmed items",
     .user = "u",
     .items = {" a", "b "},
     .time_ms = T,
     .items_out = {"a", "b"},
     .time_out = T,
     .counted = CLEAN_ID_TRIMMED,
     .times = 2},
    {.name = "no-break space stays",
     .user = "\xc2\xa0u",
     .items = {"a"},
     .time_ms = T,
     .user_out = "\xc2\xa0u",
     .items_out = {"a"},
     .time_out = T},
    {.name = "control in user",
     .user = "u\x01v",
     .items = {"a"},
     .time_ms = T,
     .reason = POISON_BAD_ID},
    {.name = "delete in item",
     .user = "u",
     .items = {"a\x7f"},
     .time_ms = T,
     .reason = POISON_BAD_ID},
    {.name = "tab inside item",
     .user = "u",
     .items = {"a\tb"},
     .time_ms = T,
     .reason = POISON_BAD_ID},
    {.name = "user not UTF-8",
     .user = "u\xff",
     .items = {"a"},
     .time_ms = T,
     .reason = POISON_BAD_ID},
    {.name = "overlong slash",
     .user = "u",
     .items = {"\xc0\xaf"},
     .time_ms = T,
     .reason = POISON_BAD_ID},
    {.name = "surrogate",
     .user = "u",
     .items = {"\xed\xa0\x80"},
     .time_ms = T,
     .reason = POISON_BAD_ID},
    {.name = "cut sequence",
     .user = "u",
     .items = {"\xe2\x82"},
     .time_ms = T,
     .reason = POISON_BAD_ID},
    {.name = "accents and emoji",
     .user = "u",
     .items = {"caf\xc3\xa9 \xf0\x9f\x98\x80"},
     .time_ms = T,
     .items_out = {"caf\xc3\xa9 \xf0\x9f\x98\x80"},
     .time_out = T},
    {.name = "tenant not UTF-8",
     .user = "u",
     .tenant = "\x80",
     .items = {"a"},
     .time_ms = T,
     .reason = POISON_BAD_ID},
    {.name = "event id with NUL's friend",
     .user = "u",
     .event_id = "e\x1f",
     .items = {"a"},
     .time_ms = T,
     .reason = POISON_BAD_ID},
    {.name = "256 bytes",
     .user = LONG256,
     .items = {"a"},
     .time_ms = T,
     .items_out = {"a"},
     .time_out = T},
    {.name = "257 bytes",
     .user = "u",
     .items = {LONG256 "a"},
     .time_ms = T,
     .reason = POISON_BAD_ID},
    {.name = "257 bytes, one of them space",
     .user = LONG256 " ",
     .items = {"a"},
     .time_ms = T,
     .user_out = LONG256,
     .items_out = {"a"},
     .time_out = T,
     .counted = CLEAN_ID_TRIMMED,
     .times = 1},
    {.name = "click on nothing",
     .user = "u",
     .type = EVENT_CLICK,
     .time_ms = T,
     .reason = POISON_MISSING_ITEMS},
    {.name = "purchase of blanks",
     .user = "u",
     .type = EVENT_PURCHASE,
     .items = {" ", ""},
     .time_ms = T,
     .reason = POISON_MISSING_ITEMS},
    {.name = "impression of nothing",
     .user = "u",
     .type = EVENT_IMPRESSION,
     .time_ms = T,
     .reason = POISON_MISSING_ITEMS},
    {.name = "search", .user = "u", .type = EVENT_SEARCH, .time_ms = T, .time_out = T},
    {.name = "other", .user = "u", .type = EVENT_OTHER, .time_ms = T, .time_out = T},
    {.name = "user comes before items",
     .items = {"a\x01"},
     .time_ms = T,
     .reason = POISON_MISSING_USER},
    {.name = "empty among others",
     .user = "u",
     .items = {"a", "", "b"},
     .time_ms = T,
     .items_out = {"a", "b"},
     .time_out = T,
     .counted = CLEAN_ITEM_DROPPED,
     .times = 1},
    {.name = "repeats merge",
     .user = "u",
     .items = {"a", "b", "a ", "a"},
     .quantities = {2, 5, 3, 4},
     .time_ms = T,
     .items_out = {"a", "b"},
     .quantities_out = {9, 5},
     .time_out = T,
     .counted = CLEAN_ITEM_MERGED,
     .times = 2},
    {.name = "negative quantity",
     .user = "u",
     .items = {"a"},
     .quantities = {-2},
     .time_ms = T,
     .items_out = {"a"},
     .time_out = T,
     .counted = CLEAN_QUANTITY,
     .times = 1},
    {.name = "endless quantity",
     .user = "u",
     .items = {"a"},
     .quantities = {(double)INFINITY},
     .time_ms = T,
     .items_out = {"a"},
     .time_out = T,
     .counted = CLEAN_QUANTITY,
     .times = 1},
    {.name = "quantity not a number",
     .user = "u",
     .items = {"a"},
     .quantities = {(double)NAN},
     .time_ms = T,
     .items_out = {"a"},
     .time_out = T,
     .counted = CLEAN_QUANTITY,
     .times = 1},
    {.name = "sum over the top",
     .user = "u",
     .items = {"a", "a"},
     .quantities = {1.5e308, 1.5e308},
     .time_ms = T,
     .items_out = {"a"},
     .quantities_out = {1.5e308},
     .time_out = T,
     .counted = CLEAN_ITEM_MERGED,
     .times = 1},
    {.name = "no time",
     .user = "u",
     .items = {"a"},
     .time_ms = 0,
     .items_out = {"a"},
     .time_out = 1700000000000,
     .counted = CLEAN_TIME_MISSING,
     .times = 1},
    {.name = "seconds for milliseconds",
     .user = "u",
     .items = {"a"},
     .time_ms = 1690000000,
     .items_out = {"a"},
     .time_out = 1700000000000,
     .counted = CLEAN_TIME_ANCIENT,
     .times = 1},
    {.name = "before 1970",
     .user = "u",
     .items = {"a"},
     .time_ms = INT64_MIN,
     .items_out = {"a"},
     .time_out = 1700000000000,
     .counted = CLEAN_TIME_ANCIENT,
     .times = 1},
    {.name = "last moment of 1989",
     .user = "u",
     .items = {"a"},
     .time_ms = 631151999999,
     .items_out = {"a"},
     .time_out = 1700000000000,
     .counted = CLEAN_TIME_ANCIENT,
     .times = 1},
    {.name = "1990",
     .user = "u",
     .items = {"a"},
     .time_ms = 631152000000,
     .items_out = {"a"},
     .time_out = 631152000000},
    {.name = "a minute ahead",
     .user = "u",
     .items = {"a"},
     .time_ms = 1700000060000,
     .items_out = {"a"},
     .time_out = 1700000060000},
    {.name = "a minute and a bit",
     .user = "u",
     .items = {"a"},
     .time_ms = 1700000060001,
     .items_out = {"a"},
     .time_out = 1700000000000,
     .counted = CLEAN_TIME_FUTURE,
     .times = 1},
    {.name = "the end of time",
     .user = "u",
     .items = {"a"},
     .time_ms = INT64_MAX,
     .items_out = {"a"},
     .time_out = 1700000000000,
     .counted = CLEAN_TIME_FUTURE,
     .times = 1},
};

static struct str text(const char *s)
{
    return s ? str_of(s) : (struct str){NULL, 0};
}

static void check_row(const struct row *row, struct arena *arena)
{
    struct event_item items[ITEMS_MAX];
    uint64_t changed[INGEST_REASON_COUNT] = {0}, total = 0;
    struct err err = ERR_INIT;
    struct event event = {.type = row->type == EVENT_IMPRESSION && row->items[0] ? EVENT_CLICK
                                                                                 : row->type,
                          .time_ms = row->time_ms,
                          .items = items,
                          .consent = true};
    printf("  %s\n", row->name);
    event.user_id = text(row->user);
    event.anonymous_id = text(row->anonymous);
    event.tenant = text(row->tenant);
    event.event_id = text(row->event_id);
    while (event.n_items < ITEMS_MAX && row->items[event.n_items]) {
        double quantity = row->quantities[event.n_items];
        items[event.n_items] =
            (struct event_item){.item_id = text(row->items[event.n_items]), .position = -1};
        items[event.n_items++].quantity = quantity == 0 ? 1 : quantity;
    }
    enum ingest_reason reason = ingest_clean(&event, STAMP, FUTURE, arena, changed, &err);
    CHECK_STR(ingest_reason_name(reason), ingest_reason_name(row->reason));
    if (reason != REASON_NONE) {
        CHECK_INT(err.class, ERR_DATA);
        CHECK(err.text[0] != '\0');
        return;
    }
    const char *user = row->user_out ? row->user_out : row->user ? row->user : "";
    CHECK_BYTES(event.user_id.ptr, event.user_id.len, user, strlen(user));
    size_t n = 0;
    for (; n < ITEMS_MAX && row->items_out[n]; n++) {
        CHECK(n < event.n_items);
        CHECK_BYTES(items[n].item_id.ptr, items[n].item_id.len, row->items_out[n],
                    strlen(row->items_out[n]));
        CHECK_NEAR(items[n].quantity, row->quantities_out[n] == 0 ? 1 : row->quantities_out[n], 0);
    }
    CHECK_INT(event.n_items, n);
    CHECK_INT(event.time_ms, row->time_out);
    for (int i = 0; i < INGEST_REASON_COUNT; i++)
        if (i != CLEAN_ID_TRIMMED || row->counted == CLEAN_ID_TRIMMED) total += changed[i];
    CHECK_INT(changed[row->counted], row->times);
    CHECK_INT(total, row->times);
}

static void rows_hold(void)
{
    struct arena *arena = arena_new(4096, 1 << 20);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check_row(&rows[i], arena);
    arena_free(arena);
}

static void prices_and_values(void)
{
    struct arena *arena = arena_new(4096, 1 << 20);
    uint64_t changed[INGEST_REASON_COUNT] = {0};
    struct err err = ERR_INIT;
    struct event_item items[] = {
        {.item_id = STR("a"), .quantity = 1, .price = -1, .has_price = true},
        {.item_id = STR("b"), .quantity = 1, .price = (double)NAN, .has_price = true},
        {.item_id = STR("c"), .quantity = 1, .price = 0, .has_price = true},
        {.item_id = STR("c"), .quantity = 1, .price = 7, .has_price = true, .position = 9},
    };
    struct event event = {.type = EVENT_PURCHASE,
                          .time_ms = T,
                          .user_id = STR("u"),
                          .items = items,
                          .n_items = 4,
                          .value = (double)INFINITY,
                          .has_value = true};
    CHECK_INT(ingest_clean(&event, STAMP, FUTURE, arena, changed, &err), REASON_NONE);
    CHECK_INT(event.n_items, 3);
    CHECK_INT(items[0].has_price, false);
    CHECK_INT(items[1].has_price, false);
    CHECK_INT(items[2].has_price, true);
    CHECK_NEAR(items[2].price, 0, 0); /* the first of the two is kept */
    CHECK_NEAR(items[2].quantity, 2, 0);
    CHECK_INT(event.has_value, false);
    CHECK_INT(changed[CLEAN_PRICE], 3);
    arena_free(arena);
}

/* A record without a timestamp: nothing is in its future, and 0 is taken. */
static void an_unknown_timestamp(void)
{
    struct arena *arena = arena_new(4096, 1 << 20);
    uint64_t changed[INGEST_REASON_COUNT] = {0};
    struct err err = ERR_INIT;
    struct event_item item = {.item_id = STR("a"), .quantity = 1};
    struct event event = {
        .type = EVENT_VIEW, .time_ms = T, .user_id = STR("u"), .items = &item, .n_items = 1};
    CHECK_INT(ingest_clean(&event, -1, FUTURE, arena, changed, &err), REASON_NONE);
    CHECK_INT(event.time_ms, T);
    event.time_ms = 0;
    CHECK_INT(ingest_clean(&event, -1, FUTURE, arena, changed, &err), REASON_NONE);
    CHECK_INT(event.time_ms, 0);
    CHECK_INT(changed[CLEAN_TIME_MISSING], 1);
    arena_free(arena);
}

/* Of the event where the record has none, and of the record. */
static void no_time_is_after_the_year_9999(void)
{
    struct arena *arena = arena_new(4096, 1 << 20);
    uint64_t changed[INGEST_REASON_COUNT] = {0};
    struct err err = ERR_INIT;
    struct event_item item = {.item_id = STR("a"), .quantity = 1};
    struct event event = {.type = EVENT_VIEW, .user_id = STR("u"), .items = &item, .n_items = 1};
    const int64_t last = 253402300799999;
    const struct {
        int64_t time_ms, timestamp_ms, want;
    } times[] = {{INT64_MAX, -1, last},  {0, INT64_MAX, last}, {INT64_MAX, INT64_MAX, last},
                 {last + 1, last, last}, {last, -1, last},     {T, INT64_MAX, T}};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        event.time_ms = times[i].time_ms;
        CHECK_INT(ingest_clean(&event, times[i].timestamp_ms, FUTURE, arena, changed, &err),
                  REASON_NONE);
        CHECK_INT(event.time_ms, times[i].want);
    }
    CHECK_INT(changed[CLEAN_TIME_FUTURE], 4);
    arena_free(arena);
}

/* Many items go through a table: against the plain double loop, with ids that repeat and collide in length. */
static void merging_agrees_with_the_naive_way(void)
{
    enum { N_MAX = 1000, KINDS = 300 };
    static struct event_item items[N_MAX], naive[N_MAX];
    static char names[KINDS][8];
    struct arena *arena = arena_new(4096, 1 << 20);
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    for (int k = 0; k < KINDS; k++)
        (void)snprintf(names[k], sizeof names[k], "i%d", k);
    for (int round = 0; round < 200; round++) {
        uint64_t changed[INGEST_REASON_COUNT] = {0};
        struct err err = ERR_INIT;
        size_t n = 1 + (size_t)rng_below(&rng, N_MAX), kept = 0;
        uint64_t kinds = 1 + rng_below(&rng, KINDS);
        for (size_t i = 0; i < n; i++) {
            struct str id = str_of(names[rng_below(&rng, kinds)]);
            size_t j = 0;
            items[i] = (struct event_item){
                .item_id = id, .quantity = (double)(1 + i % 5), .position = (int32_t)i};
            while (j < kept && !str_equal(naive[j].item_id, id))
                j++;
            if (j < kept)
                naive[j].quantity += items[i].quantity;
            else
                naive[kept++] = items[i];
        }
        struct event event = {
            .type = EVENT_VIEW, .time_ms = T, .user_id = STR("u"), .items = items, .n_items = n};
        CHECK_INT(ingest_clean(&event, STAMP, FUTURE, arena, changed, &err), REASON_NONE);
        CHECK_INT(event.n_items, kept);
        CHECK_INT(changed[CLEAN_ITEM_MERGED], n - kept);
        for (size_t i = 0; i < kept; i++) {
            CHECK_INT(items[i].position, naive[i].position);
            CHECK_NEAR(items[i].quantity, naive[i].quantity, 0);
        }
        arena_reset(arena);
    }
    arena_free(arena);
}

static void every_reason_has_a_name(void)
{
    for (int i = 0; i < INGEST_REASON_COUNT; i++) {
        const char *name = ingest_reason_name((enum ingest_reason)i);
        CHECK(name && name[0]);
        for (int j = 0; j < i; j++)
            CHECK(strcmp(name, ingest_reason_name((enum ingest_reason)j)) != 0);
    }
}

int main(void)
{
    CASE(rows_hold);
    CASE(prices_and_values);
    CASE(an_unknown_timestamp);
    CASE(no_time_is_after_the_year_9999);
    CASE(merging_agrees_with_the_naive_way);
    CASE(every_reason_has_a_name);
    return 0;
}
