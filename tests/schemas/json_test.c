/* Events as JSON: what is taken, how times are read, and that a refusal names the field. */
#include "schemas/internal.h"
#include "tests/schemas/fixture.h"

static struct schemas *schemas;
static struct arena *arena;

static struct event decode_ok(const char *text)
{
    struct event event;
    struct err err = ERR_INIT;
    CHECK_OK(schemas_event_decode(schemas, str_of(text), arena, &event, &err), err);
    return event;
}

static void expect_poison(struct str text, const char *words)
{
    struct event event;
    struct err err = ERR_INIT;
    CHECK_FAIL(schemas_event_decode(schemas, text, arena, &event, &err), err, ERR_DATA);
    CHECK_CONTAINS(err.text, words);
}

#define SAME(s, text) CHECK_BYTES((s).ptr, (s).len, text, strlen(text))

static void test_fields(void)
{
    struct event event =
        decode_ok("{\"eventId\":\"e1\",\"event_type\":\"add-to-cart\",\"event_time\":1700000000123,"
                  "\"user_id\":42,"
                  "\"session_id\":null,\"items\":[{\"item_id\":\"a\",\"quantity\":2,\"price\":\"12."
                  "50\",\"position\":3},\"b\","
                  "{\"product_id\":7}],\"value\":1e2,\"consent\":false,\"context\":{\"page\":\"/"
                  "x\",\"n\":1,\"b\":true,"
                  "\"nested\":{\"ignored\":[1]}},\"what_is_this\":{\"deep\":[[1]]}}");
    SAME(event.event_id, "e1");
    CHECK_INT(event.type, EVENT_ADD_TO_CART);
    CHECK_INT(event.time_ms, 1700000000123);
    SAME(event.user_id, "42");
    CHECK_INT(event.session_id.len, 0);
    CHECK_INT(event.n_items, 3);
    SAME(event.items[0].item_id, "a");
    CHECK_NEAR(event.items[0].quantity, 2, 0);
    CHECK_NEAR(event.items[0].price, 12.5, 0);
    CHECK_INT(event.items[0].position, 3);
    SAME(event.items[1].item_id, "b");
    CHECK_INT(event.items[1].has_price, false);
    CHECK_INT(event.items[1].position, -1);
    SAME(event.items[2].item_id, "7");
    CHECK_NEAR(event.value, 100, 0);
    CHECK_INT(event.consent, false);
    CHECK_INT(event.n_context, 3);
}

static void test_defaults(void)
{
    struct event event = decode_ok("{}");
    CHECK_INT(event.type, EVENT_OTHER);
    CHECK_INT(event.time_ms, 0);
    CHECK_INT(event.n_items, 0);
    CHECK_INT(event.consent, true);
    CHECK_INT(event.has_value, false);
    event = decode_ok(" \n{\"type\":\"something new\",\"user\":\"u\",\"sku\":\"s\",\"qty\":3} \n");
    CHECK_INT(event.type, EVENT_OTHER);
    SAME(event.user_id, "u");
    CHECK_INT(event.n_items, 1);
    SAME(event.items[0].item_id, "s");
    CHECK_NEAR(event.items[0].quantity, 3, 0);
    /* The exact name goes before an alias, wherever it stands. */
    SAME(decode_ok("{\"user\":\"alias\",\"user_id\":\"name\"}").user_id, "name");
    SAME(decode_ok("{\"user_id\":\"name\",\"user\":\"alias\"}").user_id, "name");
    /* The list goes before the top-level item. */
    event = decode_ok("{\"item_id\":\"one\",\"items\":[\"x\",\"y\"]}");
    CHECK_INT(event.n_items, 2);
}

static void test_times(void)
{
    static const struct {
        const char *text;
        int64_t ms;
    } times[] = {
        {"1700000000", 1700000000000},
        {"1700000000.5", 1700000000500},
        {"1700000000123", 1700000000123},
        {"1700000000123456", 1700000000123},
        {"1700000000123456789", 1700000000123},
        {"170000000000000", 170000000000}, /* us of 1975 */
        {"\"1700000000\"", 1700000000000},
        {"\"2023-11-14T22:13:20Z\"", 1700000000000},
        {"\"2023-11-14 22:13:20\"", 1700000000000},
        {"\"2023-11-14T22:13:20.123Z\"", 1700000000123},
        {"\"2023-11-14T22:13:20.123456789Z\"", 1700000000123},
        {"\"2023-11-14T23:13:20+01:00\"", 1700000000000},
        {"\"2023-11-14T14:43:20-0730\"", 1700000000000},
        {"\"2023-11-14\"", 1699920000000},
        {"\"2024-02-29T00:00Z\"", 1709164800000},
        {"\"1969-12-31T23:59:59Z\"", -1000},
        {"\"\"", 0},
        {"null", 0},
    };
    static const char *const bad[] = {"true",
                                      "[]",
                                      "{}",
                                      "\"yesterday\"",
                                      "\"2023-13-01\"",
                                      "\"2023-01-32\"",
                                      "\"2023-01-01T25:00\"",
                                      "\"2023-01-01T10:61\"",
                                      "\"2023-01-01T10:00:00+99:00\"",
                                      "\"2023-01-01Tx\"",
                                      "\"2023-01-01T10:00:00Zx\"",
                                      "1e300",
                                      "\"0x10\"",
                                      "\"nan\"",
                                      "\"inf\""};
    char text[128];
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        (void)snprintf(text, sizeof text, "{\"event_time\":%s}", times[i].text);
        int64_t ms = decode_ok(text).time_ms;
        if (ms != times[i].ms)
            test_fail(__FILE__, __LINE__, "%s is %lld, %lld was to come", times[i].text,
                      (long long)ms, (long long)times[i].ms);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        (void)snprintf(text, sizeof text, "{\"event_time\":%s}", bad[i]);
        expect_poison(str_of(text), "event field event_time: ");
    }
}

static void test_refusals(void)
{
    static const struct {
        const char *text;
        const char *words;
    } cases[] = {
        {"nonsense", "not JSON at byte"},
        {"{\"a\":1", "not JSON at byte"},
        {"{} {}", "not JSON at byte"},
        {"[]", "a JSON object is expected"},
        {"\"x\"", "not JSON"},
        {"{\"user_id\":\"a\\u0000b\"}", "not JSON"},
        {"{\"user_id\":\"\xff\"}", "not JSON"},
        {"{\"a\":1,\"a\":2}", "duplicate"},
        {"{\"value\":99999999999999999999999999}", "not JSON"},
        {"{\"user_id\":{}}", "event field user_id: a list or an object"},
        {"{\"user_id\":[]}", "event field user_id: a list or an object"},
        {"{\"items\":{}}", "event field items: not a list"},
        {"{\"items\":[[]]}", "event field items: a list or an object"},
        {"{\"items\":[{\"price\":\"cheap\"}]}", "event field items.price: not a number"},
        {"{\"items\":[{\"position\":1.5}]}", "event field items.position: not a whole number"},
        {"{\"items\":[{\"position\":3000000000}]}",
         "event field items.position: a number over 32 bits"},
        {"{\"consent\":\"maybe\"}", "event field consent: not true or false"},
        {"{\"event_type\":3}", "event field event_type: not a name"},
        {"{\"context\":[]}", "event field context: not an object"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_poison(str_of(cases[i].text), cases[i].words);
    expect_poison((struct str){"", 0}, "the value is empty");
    expect_poison((struct str){"\0\0\0\0\1", 5}, "looks like Avro");
}

static void push_many(struct buf *text, const char *open, const char *element, const char *end,
                      int n)
{
    buf_reset(text);
    buf_push_text(text, open);
    for (int i = 0; i < n; i++) {
        if (i) buf_push_byte(text, ',');
        for (const char *at = element; *at; at++) {
            if (*at == '#')
                buf_push_format(text, "%d", i);
            else
                buf_push_byte(text, (uint8_t)*at);
        }
    }
    buf_push_text(text, end);
    buf_push_byte(text, 0);
}

static void test_limits(void)
{
    struct buf text;
    buf_init(&text, 1024 * 1024);
    for (int over = 0; over < 2; over++) {
        push_many(&text, "{\"items\":[", "\"i#\"", "]}", SCHEMAS_ITEMS_MAX + over);
        if (over)
            expect_poison(str_of((char *)text.data), "event field items: more elements");
        else
            CHECK_INT(decode_ok((char *)text.data).n_items, SCHEMAS_ITEMS_MAX);
        push_many(&text, "{\"context\":{", "\"k#\":1", "}}", SCHEMAS_MAP_MAX + over);
        if (over)
            expect_poison(str_of((char *)text.data), "event field context: more map entries");
        else
            CHECK_INT(decode_ok((char *)text.data).n_context, SCHEMAS_MAP_MAX);
        buf_reset(&text);
        buf_push_text(&text, "{\"query\":\"");
        for (int i = 0; i < SCHEMAS_STRING_MAX + over; i++)
            buf_push_byte(&text, 'x');
        buf_push_text(&text, "\"}");
        buf_push_byte(&text, 0);
        if (over)
            expect_poison(str_of((char *)text.data), "event field query: a string over");
        else
            CHECK_INT(decode_ok((char *)text.data).query.len, SCHEMAS_STRING_MAX);
        buf_reset(&text);
        buf_push_text(&text, "{\"x\":");
        for (int i = 0; i < SCHEMAS_DEPTH_MAX - 1 + over; i++)
            buf_push_byte(&text, '[');
        for (int i = 0; i < SCHEMAS_DEPTH_MAX - 1 + over; i++)
            buf_push_byte(&text, ']');
        buf_push_text(&text, "}");
        buf_push_byte(&text, 0);
        if (over)
            expect_poison(str_of((char *)text.data), "nested deeper than 16");
        else
            (void)decode_ok((char *)text.data);
        arena_reset(arena);
    }
    buf_reset(&text);
    memset(buf_reserve(&text, SCHEMAS_MESSAGE_MAX + 1), '[', SCHEMAS_MESSAGE_MAX + 1);
    expect_poison((struct str){(char *)text.data, SCHEMAS_MESSAGE_MAX}, "nested deeper than 16");
    expect_poison((struct str){(char *)text.data, SCHEMAS_MESSAGE_MAX + 1}, "the limit is 65536");
    buf_fini(&text);
}

/* What we write is JSON whatever the bytes, and looks as documented. */
static void test_written(void)
{
    struct event_item item = {.item_id = STR("a\xff\"<\n"), .quantity = 0.1, .position = -1};
    struct event event = {
        .type = EVENT_VIEW, .user_id = STR("u"), .items = &item, .n_items = 1, .consent = true};
    struct buf out;
    buf_init(&out, 1024);
    schemas_event_encode_json(&event, &out);
    buf_push_byte(&out, 0);
    CHECK_STR((char *)out.data,
              "{\"event_type\":\"view\",\"user_id\":\"u\",\"items\":[{\"item_id\":"
              "\"a\\ufffd\\\"\\u003c\\u000a\",\"quantity\":0.1}]}");
    SAME(decode_ok((char *)out.data).items[0].item_id, "a\xef\xbf\xbd\"<\n");
    struct list_item items[2] = {{.item_id = STR("i"), .score = 0.3f, .n_reasons = 1},
                                 {.item_id = STR("j")}};
    items[0].reasons[0] = (struct reason){REASON_BECAUSE_VIEWED, STR("k")};
    struct recommendations list = {
        .recommendation_id = STR("r"), .user_id = STR("u"), .items = items, .n_items = 2};
    list.trigger = (struct trigger){STR("t"), 1, 2, {NULL, 0}, 3};
    buf_reset(&out);
    schemas_recommendations_encode_json(&list, &out);
    buf_push_byte(&out, 0);
    CHECK_STR((char *)out.data,
              "{\"recommendation_id\":\"r\",\"user_id\":\"u\",\"items\":[{\"item_id\":\"i\","
              "\"score\":0.3,\"reasons\":"
              "[{\"kind\":\"because_viewed\",\"item_id\":\"k\"}]},{\"item_id\":\"j\",\"score\":0,"
              "\"reasons\":[]}],"
              "\"trigger\":{\"topic\":\"t\",\"partition\":1,\"offset\":2,\"event_time\":3}}");
    buf_fini(&out);
}

int main(void)
{
    schemas = fixture_open(FORMAT_JSON);
    arena = fixture_arena();
    CASE(test_fields);
    CASE(test_defaults);
    CASE(test_times);
    CASE(test_refusals);
    CASE(test_limits);
    CASE(test_written);
    arena_free(arena);
    schemas_close(schemas);
    return 0;
}
