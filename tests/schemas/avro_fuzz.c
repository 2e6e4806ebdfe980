/* Framed Avro from outside. The first byte chooses the record and the writer's schema: ours, or a foreign one with
 * every type, so that skipping and converting are walked too. Whatever decodes must encode and decode again. */
#include <stdlib.h>
#include <string.h>

#include "schemas/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char foreign[] =
    "{\"type\":\"record\",\"name\":\"F\",\"fields\":["
    "{\"name\":\"id\",\"type\":{\"type\":\"fixed\",\"name\":\"U\",\"size\":4}},"
    "{\"name\":\"type\",\"type\":[\"null\",\"string\",{\"type\":\"enum\",\"name\":\"T\","
    "\"symbols\":[\"view\",\"x\"]}]},"
    "{\"name\":\"ts\",\"type\":[\"long\",\"double\",\"string\"]},"
    "{\"name\":\"user_id\",\"type\":[\"null\",\"int\",\"float\",\"boolean\",\"bytes\"]},"
    "{\"name\":\"tree\",\"type\":[\"null\",{\"type\":\"record\",\"name\":\"N\",\"fields\":["
    "{\"name\":\"kids\",\"type\":{\"type\":\"array\",\"items\":\"N\"}},{\"name\":\"tags\",\"type\":"
    "{\"type\":\"map\","
    "\"values\":[\"null\",\"N\"]}},{\"name\":\"none\",\"type\":{\"type\":\"array\",\"items\":"
    "\"null\"}}]}]},"
    "{\"name\":\"products\",\"type\":[{\"type\":\"array\",\"items\":[\"null\",\"string\",{\"type\":"
    "\"record\","
    "\"name\":\"P\",\"fields\":[{\"name\":\"sku\",\"type\":[\"long\",\"string\"]},{\"name\":"
    "\"price\",\"type\":"
    "{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"scale\":2}},{\"name\":\"rank\",\"type\":"
    "\"long\"}]}]},\"null\"]},"
    "{\"name\":\"context\",\"type\":{\"type\":\"map\",\"values\":[\"null\",\"double\",\"string\"]}}"
    ","
    "{\"name\":\"consent\",\"type\":[\"string\",\"boolean\",\"int\"]}]}";

static struct schemas *schemas;
static struct program *program;
static struct arena *arena;
static struct buf out;

static void start(void)
{
    struct err err = ERR_INIT;
    const struct schemas_options options = {.events_format = FORMAT_AVRO};
    if (schemas) return;
    if (!schemas_open(&schemas, &options, &err)) abort();
    if (!schemas__compile(foreign, strlen(foreign), &schemas__target_event, "foreign", &program,
                          &err))
        abort();
    arena = arena_new(64 * 1024, 4 * SCHEMAS_ARENA_MAX);
    buf_init(&out, 1024 * 1024);
}

static void again(const struct event *event)
{
    struct err err = ERR_INIT;
    struct event back;
    buf_reset(&out);
    schemas_event_encode(schemas, event, &out);
    schemas_event_encode_json(event, &out);
    buf_reset(&out);
    schemas_event_encode(schemas, event, &out);
    /* A text from the message may be as long as the message; ours is longer by the framing. */
    if (out.len > SCHEMAS_MESSAGE_MAX) return;
    struct str bytes = {(const char *)out.data, out.len};
    if (!schemas_event_decode(schemas, bytes, arena, &back, &err)) abort();
    if (back.n_items != event->n_items || back.type != event->type) abort();
}

/* What was just encoded; false when it is longer than a message may be. */
static bool encoded(struct str *bytes)
{
    *bytes = (struct str){(const char *)out.data, out.len};
    return out.len <= SCHEMAS_MESSAGE_MAX;
}

static void related_again(const struct related *related)
{
    struct err err = ERR_INIT;
    struct related back;
    struct str bytes;
    buf_reset(&out);
    schemas_related_encode_json(related, &out);
    buf_reset(&out);
    schemas_related_encode(schemas, related, &out);
    if (!encoded(&bytes)) return;
    if (!schemas_related_decode(schemas, bytes, arena, &back, &err)) abort();
    if (back.kind != related->kind || back.n_items != related->n_items) abort();
}

static void trending_again(const struct trending *trending)
{
    struct err err = ERR_INIT;
    struct trending back;
    struct str bytes;
    buf_reset(&out);
    schemas_trending_encode_json(trending, &out);
    buf_reset(&out);
    schemas_trending_encode(schemas, trending, &out);
    if (!encoded(&bytes)) return;
    if (!schemas_trending_decode(schemas, bytes, arena, &back, &err)) abort();
    if (back.n_items != trending->n_items) abort();
}

static void example_again(const struct training_example *example)
{
    struct err err = ERR_INIT;
    struct training_example back;
    struct str bytes;
    buf_reset(&out);
    schemas_training_example_encode_json(example, &out);
    buf_reset(&out);
    schemas_training_example_encode(schemas, example, &out);
    if (!encoded(&bytes)) return;
    if (!schemas_training_example_decode(schemas, bytes, arena, &back, &err)) abort();
    if (back.n_items != example->n_items || back.n_outcomes != example->n_outcomes) abort();
}

static void erasure_again(const struct erasure *erasure)
{
    struct err err = ERR_INIT;
    struct erasure back;
    struct str bytes;
    buf_reset(&out);
    schemas_erasure_encode_json(erasure, &out);
    buf_reset(&out);
    schemas_erasure_encode(schemas, erasure, &out);
    if (!encoded(&bytes)) return;
    if (!schemas_erasure_decode(schemas, bytes, arena, &back, &err)) abort();
    if (!str_equal(back.user_id, erasure->user_id)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = ERR_INIT;
    struct event_slots slots;
    struct item item;
    struct recommendations list;
    struct related related;
    struct trending trending;
    struct training_example example;
    struct erasure erasure;
    start();
    arena_reset(arena);
    if (size == 0) return 0;
    struct str bytes = {(const char *)data + 1, size - 1};
    bool ok = false;
    switch (data[0] % 8) {
    case 0:
        ok = schemas_event_decode(schemas, bytes, arena, &slots.event, &err);
        if (ok) again(&slots.event);
        break;
    case 1:
        ok = schemas_item_decode(schemas, bytes, arena, &item, &err);
        break;
    case 2:
        ok = schemas_recommendations_decode(schemas, bytes, arena, &list, &err);
        break;
    case 3:
        ok = schemas_related_decode(schemas, bytes, arena, &related, &err);
        if (ok) related_again(&related);
        break;
    case 4:
        ok = schemas_trending_decode(schemas, bytes, arena, &trending, &err);
        if (ok) trending_again(&trending);
        break;
    case 5:
        ok = schemas_training_example_decode(schemas, bytes, arena, &example, &err);
        if (ok) example_again(&example);
        break;
    case 6:
        ok = schemas_erasure_decode(schemas, bytes, arena, &erasure, &err);
        if (ok) erasure_again(&erasure);
        break;
    default:
        ok = schemas__run(program, &schemas__target_event, bytes, arena, &slots, &err);
        if (ok) again(&slots.event);
    }
    if (!ok && (err.class != ERR_DATA || err.text[0] == 0)) abort();
    if (arena_used(arena) > 2 * SCHEMAS_ARENA_MAX) abort();
    return 0;
}
