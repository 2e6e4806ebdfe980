/* Framed Avro from outside. The first byte chooses the record and the writer's schema: ours, or a foreign one with
 * every type, so that skipping and converting are walked too. Whatever decodes must encode and decode again. */
#include <stdlib.h>
#include <string.h>

#include "schemas/internal.h"
#include "tests/schemas/kinds.h"

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
static struct buf out, second;

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
    buf_init(&second, 1024 * 1024);
}

/* What decoded goes out again and comes back as the same bytes; also through JSON, which must only not fail. */
static void again(const struct kind *kind, const union kind_record *record)
{
    struct err err = ERR_INIT;
    union kind_record back;
    buf_reset(&out);
    kind->encode_json(record, &out);
    buf_reset(&out);
    kind->encode(schemas, record, &out);
    /* A text from the message may be as long as the message; ours is longer by the framing. */
    if (out.len > SCHEMAS_MESSAGE_MAX) return;
    struct str bytes = {(const char *)out.data, out.len};
    if (!kind->decode(schemas, bytes, arena, &back, &err)) abort();
    buf_reset(&second);
    kind->encode(schemas, &back, &second);
    if (second.len != out.len || memcmp(second.data, out.data, out.len) != 0) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = ERR_INIT;
    union kind_record record;
    struct event_slots slots;
    start();
    arena_reset(arena);
    if (size == 0) return 0;
    struct str bytes = {(const char *)data + 1, size - 1};
    size_t choice = data[0] % (n_kinds + 1);
    const struct kind *kind = &kinds[choice % n_kinds]; /* the foreign schema is one of events */
    bool ok;
    if (choice < n_kinds) {
        ok = kind->decode(schemas, bytes, arena, &record, &err);
    } else {
        ok = schemas__run(program, &schemas__target_event, bytes, arena, &slots, &err);
        if (ok) record.event = slots.event;
    }
    if (ok) again(kind, &record);
    if (!ok && (err.class != ERR_DATA || err.text[0] == 0)) abort();
    if (arena_used(arena) > 2 * SCHEMAS_ARENA_MAX) abort();
    return 0;
}
