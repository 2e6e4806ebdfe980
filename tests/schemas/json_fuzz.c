/* JSON from outside. What decodes is written as JSON again, and that decodes to the same. */
#include <stdlib.h>

#include "schemas/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct schemas *schemas;
static struct arena *arena;
static struct buf out;

static void start(void)
{
    struct err err = ERR_INIT;
    const struct schemas_options options = {.events_format = FORMAT_JSON};
    if (schemas) return;
    if (!schemas_open(&schemas, &options, &err)) abort();
    arena = arena_new(64 * 1024, 4 * SCHEMAS_ARENA_MAX);
    buf_init(&out, 1024 * 1024);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = ERR_INIT;
    struct event event, back;
    struct item item;
    start();
    arena_reset(arena);
    struct str bytes = {(const char *)data, size};
    bool ok = schemas_event_decode(schemas, bytes, arena, &event, &err);
    if (!ok && (err.class != ERR_DATA || err.text[0] == 0)) abort();
    if (arena_used(arena) > SCHEMAS_ARENA_MAX) abort();
    if (ok) {
        buf_reset(&out);
        schemas_event_encode_json(&event, &out);
        struct str text = {(const char *)out.data, out.len};
        if (out.len <= SCHEMAS_MESSAGE_MAX &&
            !schemas_event_decode(schemas, text, arena, &back, &err))
            abort();
        if (out.len <= SCHEMAS_MESSAGE_MAX && !str_equal(event.user_id, back.user_id)) abort();
    }
    arena_reset(arena);
    if (schemas_item_decode(schemas, bytes, arena, &item, &err)) {
        buf_reset(&out);
        schemas_item_encode_json(&item, &out);
    }
    return 0;
}
