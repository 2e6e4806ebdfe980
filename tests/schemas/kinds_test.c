/* Every record type: damaged bytes, the ids without a registry, the subjects with one. */
#include <math.h>

#include "tests/schemas/fake_registry.h"
#include "tests/schemas/kinds.h"

/* Decodes from a heap block of its own size, so that AddressSanitizer sees a read behind its end. */
static bool decode_exact(const struct kind *kind, struct schemas *schemas, const uint8_t *bytes,
                         size_t len, struct arena *arena, struct err *err)
{
    union kind_record back;
    char *exact = mem_alloc(len ? len : 1);
    memcpy(exact, bytes, len);
    bool ok = kind->decode(schemas, (struct str){exact, len}, arena, &back, err);
    mem_free(exact);
    return ok;
}

/* Shorter or longer is always poison; a flipped bit is poison or another record, never a crash. */
static void damage(struct rng *rng, const struct kind *kind, struct schemas *schemas,
                   struct buf *whole, struct arena *arena)
{
    struct err err = ERR_INIT;
    size_t len = whole->len;
    for (size_t cut = 0; cut < len; cut++) {
        if (decode_exact(kind, schemas, whole->data, cut, arena, &err))
            test_fail(__FILE__, __LINE__, "%s: %zu of %zu bytes decode", kind->name, cut, len);
        CHECK_INT(err.class, ERR_DATA);
        arena_reset(arena);
    }
    buf_push_byte(whole, 0);
    CHECK_FAIL(decode_exact(kind, schemas, whole->data, len + 1, arena, &err), err, ERR_DATA);
    for (int i = 0; i < 200; i++) {
        size_t bit = (size_t)rng_below(rng, len * 8);
        uint8_t *byte = &whole->data[bit / 8], mask = (uint8_t)(1u << (bit % 8));
        *byte ^= mask;
        if (!decode_exact(kind, schemas, whole->data, len, arena, &err))
            CHECK_INT(err.class, ERR_DATA);
        *byte ^= mask;
        CHECK(arena_used(arena) <= SCHEMAS_ARENA_MAX);
        arena_reset(arena);
    }
}

static void test_damage(void)
{
    struct coding c;
    coding_open(&c, FORMAT_AVRO, TEST_SEED());
    for (int i = 0; i < 40; i++) {
        const struct kind *kind = &kinds[(size_t)i % n_kinds];
        union kind_record record;
        arena_reset(c.arena);
        buf_reset(&c.out);
        kind->make(&c.rng, c.arena, &record);
        kind->encode(c.schemas, &record, &c.out);
        damage(&c.rng, kind, c.schemas, &c.out, c.back);
    }
    coding_close(&c);
}

/* A kind that only a newer writer has is `other`; a symbol that the writer does not have is poison. */
static void test_new_kind(void)
{
    static const char schema[] =
        "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"kind\",\"type\":{\"type\":"
        "\"enum\",\"name\":\"K\",\"symbols\":[\"from_the_future\",\"also_viewed\"]}},"
        "{\"name\":\"item_id\",\"type\":\"string\"}]}";
    static const char *const messages[] = {"\0\2i", "\2\2i", "\4\2i"};
    struct program *program = NULL;
    struct arena *arena = fixture_arena();
    struct err err = ERR_INIT;
    struct related related;
    CHECK_OK(
        schemas__compile(schema, strlen(schema), &schemas__target_related, "test", &program, &err),
        err);
    for (int i = 0; i < 3; i++) {
        struct str bytes = {messages[i], 3};
        bool ok = schemas__run(program, &schemas__target_related, bytes, arena, &related, &err);
        CHECK_INT(ok, i < 2);
        if (ok) CHECK_INT(related.kind, i == 0 ? RELATED_OTHER : RELATED_ALSO_VIEWED);
    }
    CHECK_CONTAINS(err.text, "field kind: an enum symbol");
    schemas__program_free(program);
    arena_free(arena);
}

/* For people; no decoder of ours reads it back. */
static void test_example_as_json(void)
{
    static const float context[] = {0.5f, NAN}, features[] = {2};
    const struct str names[] = {STR("hour"), STR("age")};
    const struct example_item items[] = {
        {.item_id = STR("i1"), .score = 1.5f, .shown = true, .features = features, .n_features = 1},
        {.item_id = STR("i2"), .position = 1}};
    const struct outcome outcomes[] = {{.type = EVENT_CLICK, .item_id = STR("i2"), .time_ms = 12},
                                       {.type = EVENT_PURCHASE,
                                        .item_id = STR("i9"),
                                        .time_ms = 13,
                                        .value = 9.5,
                                        .has_value = true}};
    const struct training_example example = {
        .example_id = STR("e"),
        .anonymous_id = STR("a"),
        .scenario = STR("home"),
        .trigger = {.topic = STR("t"), .partition = 2, .offset = 3, .event_time_ms = 11},
        .event_time_ms = 14,
        .context_names = names,
        .n_context_names = 2,
        .context = context,
        .n_context = 2,
        .feature_names = names,
        .n_feature_names = 1,
        .items = items,
        .n_items = 2,
        .outcomes = outcomes,
        .n_outcomes = 2};
    struct buf out;
    buf_init(&out, 4096);
    schemas_training_example_encode_json(&example, &out);
    buf_push_byte(&out, 0);
    CHECK_STR((const char *)out.data,
              "{\"example_id\":\"e\",\"anonymous_id\":\"a\",\"scenario\":\"home\",\"trigger\":{"
              "\"topic\":\"t\",\"partition\":2,\"offset\":3,\"event_time\":11},\"event_time\":14,"
              "\"context_names\":[\"hour\",\"age\"],\"context\":[0.5,null],"
              "\"feature_names\":[\"hour\"],\"items\":[{\"item_id\":\"i1\",\"position\":0,"
              "\"score\":1.5,\"shown\":true,\"features\":[2]},{\"item_id\":\"i2\",\"position\":1,"
              "\"score\":0,\"shown\":false}],\"outcomes\":[{\"event_type\":\"click\","
              "\"item_id\":\"i2\",\"event_time\":12},{\"event_type\":\"purchase\","
              "\"item_id\":\"i9\",\"event_time\":13,\"value\":9.5}]}");
    buf_fini(&out);
}

/* A record is not another one: an id belongs to one file. */
static void test_ids(void)
{
    struct coding c;
    struct err err = ERR_INIT;
    coding_open(&c, FORMAT_AVRO, TEST_SEED());
    for (size_t i = 0; i < n_kinds * n_kinds; i++) {
        const struct kind *writer = &kinds[i / n_kinds], *reader = &kinds[i % n_kinds];
        union kind_record record, back;
        buf_reset(&c.out);
        writer->make(&c.rng, c.arena, &record);
        writer->encode(c.schemas, &record, &c.out);
        CHECK_INT(c.out.data[4], writer->id);
        bool ok = reader->decode(c.schemas, fixture_bytes(&c.out), c.back, &back, &err);
        CHECK_INT(ok, writer == reader);
        if (!ok) CHECK_CONTAINS(err.text, SCHEMAS_UNKNOWN_ID);
    }
    coding_close(&c);
}

/* Whether each record has an id to be written with, as bits by enum schemas_builtin. */
static unsigned writable(const struct schemas *schemas)
{
    struct arena *arena = fixture_arena();
    unsigned bits = 0;
    struct rng rng;
    rng_init(&rng, 1);
    for (size_t i = 0; i < n_kinds; i++) {
        union kind_record record;
        struct buf out;
        buf_init(&out, 256 * 1024);
        kinds[i].make(&rng, arena, &record);
        kinds[i].encode(schemas, &record, &out);
        if (!out.failed) bits |= 1u << kinds[i].id;
        buf_fini(&out);
    }
    arena_free(arena);
    return bits;
}

/* A record whose topic nobody named costs no request and has no id; a named one is registered, once. */
static void test_subjects(void)
{
    static struct fake_registry fake;
    const unsigned always =
        1u << SCHEMAS_EVENT | 1u << SCHEMAS_ITEM | 1u << SCHEMAS_RECOMMENDATIONS;
    const unsigned named = 1u << SCHEMAS_TRAINING_EXAMPLE | 1u << SCHEMAS_RELATED |
                           1u << SCHEMAS_TRENDING | 1u << SCHEMAS_ERASURE;
    struct schemas *schemas = NULL;
    struct err err = ERR_INIT;
    fake_registry_start(&fake);
    struct schemas_options options = {
        .registry_url = fake.url, .registry_timeout_ms = 5000, .auto_register = true};
    CHECK_OK(schemas_open(&schemas, &options, &err), err);
    CHECK_INT(sync_int_get(&fake.requests), 3);
    CHECK_HEX(writable(schemas), always);
    schemas_close(schemas);
    options.related_topic = "freshet.related-items";
    options.trending_topic = "freshet.trending";
    options.training_topic = "freshet.training-examples";
    options.erasures_topic = "freshet.erasures";
    CHECK_OK(schemas_open(&schemas, &options, &err), err);
    CHECK_INT(sync_int_get(&fake.requests), 3 + 7);
    CHECK_HEX(writable(schemas), always | named);
    schemas_close(schemas);
    options.auto_register = false;
    sync_int_set(&fake.latest_is_ours, -1);
    CHECK_FAIL(schemas_open(&schemas, &options, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text,
                   "there is no subject freshet.related-items-value; register freshet.Related");
    fake_registry_stop(&fake);
}

int main(void)
{
    CASE(test_damage);
    CASE(test_new_kind);
    CASE(test_example_as_json);
    CASE(test_ids);
    CASE(test_subjects);
    return 0;
}
