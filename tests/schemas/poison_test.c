/* Hostile and foreign Avro: each limit at its edge, each lie of a length or a count, schemas that are not ours. */
#include "schemas/internal.h"
#include "tests/schemas/fixture.h"

/* ---- a small assembler of Avro bytes ---- */

static void put_long(struct buf *out, int64_t v)
{
    uint64_t zigzag = ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
    for (; zigzag > 127; zigzag >>= 7)
        buf_push_byte(out, (uint8_t)(zigzag | 128));
    buf_push_byte(out, (uint8_t)zigzag);
}

static void put_text(struct buf *out, const char *text)
{
    put_long(out, (int64_t)strlen(text));
    buf_push_text(out, text);
}

static struct buf new_buf(void)
{
    struct buf buf;
    buf_init(&buf, 1024 * 1024);
    return buf;
}

/* Decodes bytes by a writer's schema, from a block of their own size; event into *event when it is not NULL. */
static bool decode_by(const char *schema, const struct buf *bytes, struct arena *arena,
                      struct event_slots *slots, struct err *err)
{
    struct program *program = NULL;
    char text[FIXTURE_SCHEMA_MAX];
    schema = fixture_schema(schema, text);
    if (!schemas__compile(schema, strlen(schema), &schemas__target_event, "test", &program, err))
        return false;
    char *exact = mem_alloc(bytes->len);
    memcpy(exact, bytes->data, bytes->len);
    bool ok = schemas__run(program, &schemas__target_event, (struct str){exact, bytes->len}, arena,
                           slots, err);
    mem_free(exact);
    schemas__program_free(program);
    return ok;
}

static void expect_poison(const char *schema, const struct buf *bytes, const char *words)
{
    struct arena *arena = fixture_arena();
    struct err err = ERR_INIT;
    struct event_slots slots;
    CHECK_FAIL(decode_by(schema, bytes, arena, &slots, &err), err, ERR_DATA);
    CHECK_CONTAINS(err.text, words);
    CHECK(arena_used(arena) <= SCHEMAS_ARENA_MAX);
    arena_free(arena);
}

static void expect_ok(const char *schema, const struct buf *bytes)
{
    struct arena *arena = fixture_arena();
    struct err err = ERR_INIT;
    struct event_slots slots;
    CHECK_OK(decode_by(schema, bytes, arena, &slots, &err), err);
    CHECK(arena_used(arena) <= SCHEMAS_ARENA_MAX);
    arena_free(arena);
}

static const char ITEMS[] = "items {'type':'array','items':{'type':'record','name':'I','fields':["
                            "{'name':'item_id','type':'string'}]}}";
static const char MAP[] = "context {'type':'map','values':'string'}";
static const char TEXT[] = "user_id 'string'";
static const char SKIPPED[] = "user_id 'string'; other 'string'";

/* ---- lengths ---- */

static void test_strings(void)
{
    static const int64_t lies[] = {-1, INT64_MIN, INT64_MAX, 6, 100000, 8589934592};
    struct buf bytes = new_buf();
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        buf_reset(&bytes);
        put_long(&bytes, lies[i]);
        buf_push_text(&bytes, "hello");
        expect_poison(TEXT, &bytes,
                      lies[i] < 0 ? "field user_id: a negative length"
                                  : "field user_id: a length over");
    }
    for (size_t len = SCHEMAS_STRING_MAX; len <= SCHEMAS_STRING_MAX + 1; len++) {
        buf_reset(&bytes);
        put_long(&bytes, (int64_t)len);
        memset(buf_reserve(&bytes, len), 'x', len);
        bytes.len += len;
        if (len == SCHEMAS_STRING_MAX)
            expect_ok(TEXT, &bytes);
        else
            expect_poison(TEXT, &bytes, "field user_id: a string over the limit of 4096");
    }
    /* What is skipped takes no memory: only the message's own limit holds. */
    buf_reset(&bytes);
    put_text(&bytes, "u");
    put_long(&bytes, 50000);
    memset(buf_reserve(&bytes, 50000), 'x', 50000);
    bytes.len += 50000;
    expect_ok(SKIPPED, &bytes);
    buf_reset(&bytes);
    memset(buf_reserve(&bytes, 11), 0xff, 11);
    bytes.len = 11;
    expect_poison(TEXT, &bytes, "more than 64 bits");
    buf_fini(&bytes);
}

/* ---- blocks ---- */

static void put_items(struct buf *out, int n)
{
    for (int i = 0; i < n; i++)
        put_text(out, "i");
}

static void test_blocks(void)
{
    struct buf bytes = new_buf();
    static const int64_t lies[] = {INT64_MIN, INT64_MAX, 3, 1000000, -3};
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        buf_reset(&bytes);
        put_long(&bytes, lies[i]);
        if (lies[i] < 0) put_long(&bytes, 4);
        put_items(&bytes, 1);
        expect_poison(ITEMS, &bytes, "field items: a block");
    }
    /* A negative count carries the block's size, which must be right. */
    for (int size = 3; size <= 5; size++) {
        buf_reset(&bytes);
        put_long(&bytes, -2);
        put_long(&bytes, size);
        put_items(&bytes, 2);
        put_long(&bytes, 0);
        if (size == 4)
            expect_ok(ITEMS, &bytes);
        else
            expect_poison(ITEMS, &bytes, "a block of another size");
    }
    for (int n = SCHEMAS_ITEMS_MAX; n <= SCHEMAS_ITEMS_MAX + 1; n++) {
        for (int step = 1; step <= n;
             step = step == 1 ? n : n + 1) { /* blocks of one, then one block */
            buf_reset(&bytes);
            for (int i = 0; i < n; i += step) {
                put_long(&bytes, step);
                put_items(&bytes, step);
            }
            put_long(&bytes, 0);
            if (n == SCHEMAS_ITEMS_MAX)
                expect_ok(ITEMS, &bytes);
            else
                expect_poison(ITEMS, &bytes, "more elements than the limit");
        }
    }
    for (int n = SCHEMAS_MAP_MAX; n <= SCHEMAS_MAP_MAX + 1; n++) {
        buf_reset(&bytes);
        put_long(&bytes, n);
        put_items(&bytes, 2 * n);
        put_long(&bytes, 0);
        if (n == SCHEMAS_MAP_MAX)
            expect_ok(MAP, &bytes);
        else
            expect_poison(MAP, &bytes, "more map entries");
    }
    buf_fini(&bytes);
}

/* Elements that take no bytes must not take time either. */
static void test_empty_elements(void)
{
    struct buf bytes = new_buf();
    const char *nulls = "user_id 'string'; n {'type':'array','items':'null'}";
    put_text(&bytes, "u");
    put_long(&bytes, 20000000);
    put_long(&bytes, 0);
    expect_poison(nulls, &bytes, "a block count over");
    buf_reset(&bytes);
    put_text(&bytes, "u");
    for (int i = 0; i < 30000; i++) {
        put_long(&bytes, 1000);
    }
    put_long(&bytes, 0);
    expect_poison(nulls, &bytes, "more values than the limit");

    /* A short schema whose every element holds many values that take no bytes. */
    const char *nested =
        "user_id 'string'; x {'type':'array','items':{'type':'record','name':'A','fields':["
        "{'name':'a','type':{'type':'record','name':'B','fields':[{'name':'a','type':'null'},"
        "{'name':'b','type':'null'}]}},{'name':'b','type':'B'},{'name':'c','type':'B'}]}}";
    buf_reset(&bytes);
    put_text(&bytes, "u");
    for (int i = 0; i < 30000; i++)
        put_long(&bytes, 1000);
    put_long(&bytes, 0);
    expect_poison(nested, &bytes, "more values than the limit");
    buf_fini(&bytes);
}

/* ---- depth ---- */

static void test_depth(void)
{
    const char *list = "user_id 'string'; next ['null',{'type':'record','name':'L','fields':["
                       "{'name':'next','type':['null','L']}]}]";
    struct buf bytes = new_buf();
    static const int depths[] = {0, 3, SCHEMAS_DEPTH_MAX - 1, SCHEMAS_DEPTH_MAX, 50000};
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) {
        buf_reset(&bytes);
        put_text(&bytes, "u");
        for (int d = 0; d < depths[i]; d++)
            put_long(&bytes, 1);
        put_long(&bytes, 0);
        if (depths[i] < SCHEMAS_DEPTH_MAX)
            expect_ok(list, &bytes);
        else
            expect_poison(list, &bytes, "nested deeper than 16");
    }
    buf_fini(&bytes);
}

/* ---- enums, unions, booleans, ints ---- */

static void test_ranges(void)
{
    struct buf bytes = new_buf();
    const char *type = "event_type {'type':'enum','name':'T','symbols':['view','new']}";
    const char *optional = "user_id ['null','string']";
    const char *skipped = "user_id 'null'; session_id ['null','string']; "
                          "x {'type':'enum','name':'T','symbols':['a','b']}";
    for (int v = -2; v < 5; v++) {
        buf_reset(&bytes);
        put_long(&bytes, v);
        if (v == 0 || v == 1)
            expect_ok(type, &bytes);
        else
            expect_poison(type, &bytes, "field event_type: an enum symbol");
        if (v == 0)
            expect_ok(optional, &bytes);
        else if (v != 1)
            expect_poison(optional, &bytes, "field user_id: a union branch");
        buf_reset(&bytes);
        put_long(&bytes, 0);
        put_long(&bytes, v);
        if (v == 0 || v == 1)
            expect_ok(skipped, &bytes);
        else
            expect_poison(skipped, &bytes, "field x: an enum symbol");
    }
    for (int v = 0; v < 4; v++) {
        buf_reset(&bytes);
        buf_push_byte(&bytes, (uint8_t)v);
        if (v < 2)
            expect_ok("consent 'boolean'", &bytes);
        else
            expect_poison("consent 'boolean'", &bytes, "field consent: a boolean");
    }
    buf_reset(&bytes);
    put_long(&bytes, (int64_t)INT32_MAX + 1);
    expect_poison("position 'int'", &bytes, "field position: an int of more than 32 bits");
    expect_poison("position 'long'", &bytes, "field position: a number over 32 bits");
    put_long(&bytes, 0);
    expect_poison("event_time 'long'", &bytes, "left over");
    buf_fini(&bytes);
}

/* ---- framing ---- */

static void test_framing(void)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *words;
    } cases[] = {
        {"", 0, "empty"},
        {"\0\0\0\0", 4, "shorter than the framing"},
        {"\1\0\0\0\0abc", 8, "magic byte 0x01"},
        {"\2\0\0\0\1", 5, "magic byte 0x02"},
        {"{\"a\":1}", 7, "looks like JSON"},
        {"\0\0\0\0\7", 5, "unknown schema id 7"},
        {"\0\0\0\0\2", 5, "unknown schema id 2"},
        {"\0\xff\xff\xff\xff", 5, "unknown schema id -1"},
        {"\0\0\0\0\1", 5, "the message ends"},
    };
    struct schemas *schemas = fixture_open(FORMAT_AVRO);
    struct arena *arena = fixture_arena();
    struct err err = ERR_INIT;
    struct event event;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct str bytes = {cases[i].bytes, cases[i].len};
        CHECK_FAIL(schemas_event_decode(schemas, bytes, arena, &event, &err), err, ERR_DATA);
        CHECK_CONTAINS(err.text, cases[i].words);
    }
    char *big = mem_zalloc(SCHEMAS_MESSAGE_MAX + 1);
    CHECK_FAIL(schemas_event_decode(schemas, (struct str){big, SCHEMAS_MESSAGE_MAX + 1}, arena,
                                    &event, &err),
               err, ERR_DATA);
    CHECK_CONTAINS(err.text, "65537 bytes, the limit is 65536");
    mem_free(big);
    arena_free(arena);
    schemas_close(schemas);
}

/* ---- schemas that are not ours ---- */

/* Decodes by a foreign schema; texts point into bytes. */
static void decode_foreign(const char *schema, const struct buf *bytes, struct arena *arena,
                           struct event_slots *slots)
{
    struct program *program = NULL;
    struct err err = ERR_INIT;
    char text[FIXTURE_SCHEMA_MAX];
    schema = fixture_schema(schema, text);
    CHECK_OK(
        schemas__compile(schema, strlen(schema), &schemas__target_event, "test", &program, &err),
        err);
    CHECK_OK(
        schemas__run(program, &schemas__target_event, fixture_bytes(bytes), arena, slots, &err),
        err);
    schemas__program_free(program);
}

static void test_foreign(void)
{
    const char *schema =
        "['null',{'type':'record','name':'E','fields':["
        "{'name':'MessageId','type':{'type':'fixed','name':'Uuid','size':4}},"
        "{'name':'eventName','type':'string'},{'name':'ts','type':'double'},{'name':'visitorId','"
        "type':'int'},"
        "{'name':'products','type':{'type':'array','items':'string'}},"
        "{'name':'price','type':{'type':'bytes','logicalType':'decimal','precision':9,'scale':2}},"
        "{'name':'context','type':{'type':'map','values':'long'}},"
        "{'name':'user_id','type':['null','string']},{'name':'user','type':'string'}]}]";
    struct buf bytes = new_buf();
    struct arena *arena = fixture_arena();
    struct event_slots slots;
    double ts = 1700000000.25;
    put_long(&bytes, 1);
    buf_push_text(&bytes, "abcd");
    put_text(&bytes, "Product Viewed");
    buf_push(&bytes, &ts, 8);
    put_long(&bytes, 77);
    put_long(&bytes, 2);
    put_text(&bytes, "p1");
    put_text(&bytes, "p2");
    put_long(&bytes, 0);
    put_long(&bytes, 2);
    buf_push(&bytes, "\x04\xd2", 2); /* 1234: 12.34 */
    put_long(&bytes, 1);
    put_text(&bytes, "k");
    put_long(&bytes, -5);
    put_long(&bytes, 0);
    put_long(&bytes, 0);
    put_text(&bytes, "the alias, not the name");
    decode_foreign(schema, &bytes, arena, &slots);
    const struct event *event = &slots.event;
    CHECK_BYTES(event->event_id.ptr, event->event_id.len, "61626364", 8);
    CHECK_INT(event->type, EVENT_VIEW);
    CHECK_INT(event->time_ms, 1700000000250);
    CHECK_BYTES(event->anonymous_id.ptr, event->anonymous_id.len, "77", 2);
    CHECK_INT(event->n_items, 2);
    CHECK_BYTES(event->items[1].item_id.ptr, event->items[1].item_id.len, "p2", 2);
    CHECK_NEAR(event->items[1].quantity, 1, 0);
    CHECK_NEAR(slots.one.price, 12.34, 1e-12);
    CHECK_INT(event->n_context, 1);
    CHECK_BYTES(event->context[0].value.ptr, event->context[0].value.len, "-5", 2);
    CHECK_INT(event->user_id.len, 0); /* the exact name is there: the alias does not count */
    buf_fini(&bytes);
    arena_free(arena);
}

static void test_refused_schemas(void)
{
    static const struct {
        const char *schema;
        const char *words;
    } cases[] = {
        {"", "not an Avro schema"},
        {"<{", "not an Avro schema"},
        {"'string'", "not a record with the fields of an event"},
        {"colour 'string'", "not a record with the fields of an event"},
        {"user_id {'type':'array','items':'string'}", "its field user_id has a type"},
        {"items 'string'", "its field items has a type"},
        {"event_time 'boolean'", "its field event_time has a type"},
    };
    struct arena *arena = fixture_arena();
    struct buf none = new_buf();
    buf_push_byte(&none, 0);
    struct event_slots slots;
    struct err err = ERR_INIT;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_FAIL(decode_by(cases[i].schema, &none, arena, &slots, &err), err, ERR_DATA);
        CHECK_CONTAINS(err.text, cases[i].words);
    }
    /* Too large in text, in depth, in parts. */
    struct buf text = new_buf();
    buf_push_text(&text, "{\"type\":\"record\",\"name\":\"E\",\"fields\":[{\"name\":\"user_id\","
                         "\"type\":\"string\"}");
    for (int i = 0; i < 8300; i++)
        buf_push_format(&text, ",{\"name\":\"f%d\",\"type\":\"int\"}", i);
    buf_push_text(&text, "]}");
    struct program *program = NULL;
    size_t len = text.len;
    CHECK(len <= SCHEMAS__TEXT_MAX);
    bool ok = schemas__compile((const char *)text.data, len, &schemas__target_event, "test",
                               &program, &err);
    CHECK_FAIL(ok, err, ERR_DATA);
    CHECK_CONTAINS(err.text, "more than 8192 parts");
    memset(buf_reserve(&text, SCHEMAS__TEXT_MAX), ' ', SCHEMAS__TEXT_MAX);
    ok = schemas__compile((const char *)text.data, SCHEMAS__TEXT_MAX + 1, &schemas__target_event,
                          "test", &program, &err);
    CHECK_FAIL(ok, err, ERR_DATA);
    CHECK_CONTAINS(err.text, "the limit is 262144");
    buf_fini(&text);
    buf_fini(&none);
    arena_free(arena);
}

/* A reason that we do not know is left out of a list; more than we keep are dropped. */
static void test_reasons(void)
{
    const char *short_form =
        "user_id 'string'; items {'type':'array','items':{'type':'record','name':'I','fields':["
        "{'name':'item_id','type':'string'},{'name':'reasons','type':{'type':'array','items':"
        "{'type':'record','name':'Q','fields':[{'name':'kind','type':{'type':'enum','name':'K',"
        "'symbols':['from_the_future','popular','new']}}]}}}]}}";
    char schema[FIXTURE_SCHEMA_MAX];
    (void)fixture_schema(short_form, schema);
    static const int kinds[] = {0, 1, 2, 0, 1, 2, 1, 2};
    struct program *program = NULL;
    struct arena *arena = fixture_arena();
    struct err err = ERR_INIT;
    struct buf bytes = new_buf();
    struct recommendations list;
    put_text(&bytes, "u");
    put_long(&bytes, 1);
    put_text(&bytes, "i");
    put_long(&bytes, 8);
    for (int i = 0; i < 8; i++)
        put_long(&bytes, kinds[i]);
    put_long(&bytes, 0);
    put_long(&bytes, 0);
    CHECK_OK(
        schemas__compile(schema, strlen(schema), &schemas__target_list, "test", &program, &err),
        err);
    struct str s = fixture_bytes(&bytes);
    CHECK_OK(schemas__run(program, &schemas__target_list, s, arena, &list, &err), err);
    CHECK_INT(list.items[0].n_reasons, 5); /* of 6 that we know */
    CHECK_INT(list.items[0].reasons[0].kind, REASON_POPULAR);
    CHECK_INT(list.items[0].reasons[1].kind, REASON_NEW);
    CHECK_INT(list.items[0].reasons[3].kind, REASON_NEW);
    CHECK_INT(list.items[0].reasons[4].kind, REASON_POPULAR);
    schemas__program_free(program);
    buf_fini(&bytes);
    arena_free(arena);
}

int main(void)
{
    CASE(test_strings);
    CASE(test_blocks);
    CASE(test_empty_elements);
    CASE(test_depth);
    CASE(test_ranges);
    CASE(test_framing);
    CASE(test_foreign);
    CASE(test_refused_schemas);
    CASE(test_reasons);
    return 0;
}
