/* An event from outside on its way in: Avro or JSON, cleaned, under pseudonyms. What passes has ids as everything behind it takes
 * for granted: of 1 to 256 bytes of UTF-8 without control characters, numbers that are finite, and times that can be added to. The first
 * byte chooses; with 4 in it the bytes are the secret of the pseudonyms, with 8 in it they begin with the record's timestamp. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "ingest/ingest.h"
#include "schemas/pseudonym.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { IS_JSON = 1, IS_HIDDEN = 2, IS_SECRET = 4, IS_STAMPED = 8 };

static const int64_t STAMP_MS = 1700000000000, FUTURE_MS = 60000, YEAR_10000_MS = 253402300800000;
static struct schemas *avro, *json;
static struct pseudonyms *pseudonyms;
static struct arena *arena;

static void start(void)
{
    struct err err = ERR_INIT;
    const struct schemas_options formats[] = {{.events_format = FORMAT_AVRO},
                                              {.events_format = FORMAT_JSON}};
    const struct str secret = STR("a:00112233445566778899aabbccddeeff"
                                  "00112233445566778899aabbccddeeff");
    if (arena) return;
    if (!schemas_open(&avro, &formats[0], &err) || !schemas_open(&json, &formats[1], &err) ||
        !pseudonyms_open(&pseudonyms, secret, &err))
        abort();
    arena = arena_new(64 * 1024, 4 * SCHEMAS_ARENA_MAX);
}

static void id_check(struct str id)
{
    if (id.len > SCHEMAS_ID_MAX || !utf8_is_valid(id)) abort();
    for (size_t i = 0; i < id.len; i++)
        if ((unsigned char)id.ptr[i] < ' ' || id.ptr[i] == 0x7f) abort();
}

static void event_check(const struct event *event, int64_t stamp_ms)
{
    char key[SCHEMAS_USER_KEY_MAX];
    id_check(event->user_id);
    id_check(event->anonymous_id);
    id_check(event->tenant);
    if (event->user_id.len + event->anonymous_id.len == 0 || event->time_ms < 0) abort();
    if (event->time_ms == 0 && stamp_ms > 0) abort();
    if (event->time_ms >= YEAR_10000_MS) abort();
    if (schemas_user_key(event, key).len > sizeof key) abort();
    for (size_t i = 0; i < event->n_items; i++) {
        const struct event_item *item = &event->items[i];
        id_check(item->item_id);
        if (item->item_id.len == 0 || !(item->quantity > 0) || !isfinite(item->quantity)) abort();
        if (item->has_price && (!isfinite(item->price) || item->price < 0)) abort();
    }
}

static void secret_read(struct str secret)
{
    struct err err = ERR_INIT;
    struct pseudonyms *own = NULL;
    char name[PSEUDONYM_MAX];
    if (!pseudonyms_open(&own, secret, &err)) {
        if (err.exit_code != ERR_EXIT_USAGE || err.text[0] == '\0') abort();
        return;
    }
    for (int k = 0; k < pseudonyms_keys(own); k++)
        if (!pseudonym_is(own, pseudonym_of(own, k, STR("t"), STR("u"), name))) abort();
    pseudonyms_close(own);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = ERR_INIT;
    struct event event;
    uint64_t changed[INGEST_REASON_COUNT] = {0};
    if (size == 0) return 0;
    start();
    arena_reset(arena);
    struct str bytes = {(const char *)data + 1, size - 1};
    if (data[0] & IS_SECRET) {
        secret_read(bytes);
        return 0;
    }
    int64_t stamp_ms = STAMP_MS;
    if (data[0] & IS_STAMPED && bytes.len >= sizeof stamp_ms) {
        memcpy(&stamp_ms, bytes.ptr, sizeof stamp_ms);
        bytes = (struct str){bytes.ptr + sizeof stamp_ms, bytes.len - sizeof stamp_ms};
    }
    if (!schemas_event_decode(data[0] & IS_JSON ? json : avro, bytes, arena, &event, &err))
        return 0;
    if (ingest_clean(&event, stamp_ms, FUTURE_MS, arena, changed, &err) != REASON_NONE) {
        if (err.text[0] == '\0') abort();
        return 0;
    }
    event_check(&event, stamp_ms);
    if (data[0] & IS_HIDDEN) {
        pseudonyms_apply(pseudonyms, &event, arena);
        event_check(&event, stamp_ms);
    }
    return 0;
}
