/* Names of users looked for in records. Ids are looked up in a map, never searched one by one: a topic of letters is read once for any
 * number of requests. */
#include "app/redact_names.h"

#include "base/map.h"
#include "ingest/ingest.h"

enum { NAMES_MAX = 16 << 20, ARENA_BLOCK = 1 << 16 };
enum { FRAMING = 5 }; /* of an Avro record: a zero and the schema's id */

/* Users of one id, each of another tenant. */
struct named {
    struct str tenant;
    struct named *next;
};

struct redact_names {
    struct arena *arena;
    struct map_str *ids; /* to struct named */
    size_t longest;      /* id */
};

struct redact_names *redact_names_new(void)
{
    struct redact_names *names = mem_zalloc(sizeof *names);
    names->arena = arena_new(ARENA_BLOCK, SIZE_MAX);
    names->ids = map_str_new(NAMES_MAX, MAP_KEYS_BORROWED);
    return names;
}

void redact_names_free(struct redact_names *names)
{
    if (!names) return;
    map_str_free(names->ids);
    arena_free(names->arena);
    mem_free(names);
}

void redact_names_clear(struct redact_names *names)
{
    map_str_clear(names->ids);
    arena_reset(names->arena);
    names->longest = 0;
}

int redact_names_count(const struct redact_names *names)
{
    return (int)map_str_count(names->ids);
}

static void name_add(struct redact_names *names, struct str tenant, struct str id)
{
    if (id.len == 0) return;
    struct named *named = arena_alloc(names->arena, sizeof *named);
    *named = (struct named){arena_str(names->arena, tenant), map_str_get(names->ids, id)};
    if (!map_str_set(names->ids, arena_str(names->arena, id), named)) return;
    if (id.len > names->longest) names->longest = id.len;
}

void redact_names_add(struct redact_names *names, const struct erasure *request)
{
    name_add(names, request->tenant, request->user_id);
    if (!str_equal(request->user_id, request->anonymous_id))
        name_add(names, request->tenant, request->anonymous_id);
}

/* ---- one id ---- */

static bool is_named(const struct redact_names *names, struct str tenant, struct str id)
{
    if (id.len == 0 || id.len > names->longest) return false;
    const struct named *named = map_str_get(names->ids, id);
    while (named && !str_equal(named->tenant, tenant))
        named = named->next;
    return named != NULL;
}

/* The id, or what it is called under one of the keys. */
static bool is_of(const struct redact_names *names, const struct pseudonyms *pseudonyms,
                  struct str tenant, struct str id)
{
    char bytes[PSEUDONYM_MAX];
    if (is_named(names, tenant, id)) return true;
    if (!pseudonyms || id.len == 0 || id.len > SCHEMAS_ID_MAX) return false;
    for (int k = 0; k < pseudonyms_keys(pseudonyms); k++)
        if (is_named(names, tenant, pseudonym_of(pseudonyms, k, tenant, id, bytes))) return true;
    return false;
}

/* ---- whole strings within bytes ---- */

static bool is_telling(const struct redact_names *names, struct str id, size_t least)
{
    return id.len >= least && id.len <= names->longest && map_str_get(names->ids, id);
}

/* Between two quotes that follow each other. */
static bool json_holds(const struct redact_names *names, struct str bytes, size_t least)
{
    const char *end = bytes.ptr + bytes.len, *quote = memchr(bytes.ptr, '"', bytes.len);
    while (quote) {
        const char *from = quote + 1;
        quote = memchr(from, '"', (size_t)(end - from));
        if (quote && is_telling(names, (struct str){from, (size_t)(quote - from)}, least))
            return true;
    }
    return false;
}

/* Behind its length, a zigzag varint; an id takes two bytes of it at most. */
static bool avro_holds(const struct redact_names *names, struct str bytes, size_t least)
{
    for (size_t i = 0; i < bytes.len; i++) {
        size_t first = (uint8_t)bytes.ptr[i], at = i + 1, twice = first;
        if (first & 0x80) {
            if (at == bytes.len || (uint8_t)bytes.ptr[at] & 0x80) continue;
            twice = (first & 0x7f) | (size_t)(uint8_t)bytes.ptr[at] << 7;
            at++;
        }
        if (twice & 1 || twice / 2 > bytes.len - at) continue;
        if (is_telling(names, (struct str){bytes.ptr + at, twice / 2}, least)) return true;
    }
    return false;
}

/* least: bytes of an id that counts. */
static bool bytes_hold(const struct redact_names *names, struct str bytes, size_t least)
{
    if (bytes.len == 0) return false;
    return is_telling(names, bytes, least) || json_holds(names, bytes, least) ||
           avro_holds(names, bytes, least);
}

/* ---- a record ---- */

static bool key_holds(const struct redact_names *names, const struct pseudonyms *pseudonyms,
                      struct str key)
{
    if (key.len == 0) return false;
    const char *colon = memchr(key.ptr, ':', key.len);
    if (is_of(names, pseudonyms, (struct str){0}, key)) return true;
    if (colon) {
        size_t n = (size_t)(colon - key.ptr);
        if (is_of(names, pseudonyms, (struct str){key.ptr, n},
                  (struct str){colon + 1, key.len - n - 1}))
            return true;
    }
    bool is_quoted = key.ptr[0] == '"', is_framed = key.len > FRAMING && key.ptr[0] == '\0';
    if (is_quoted) return json_holds(names, key, 1);
    return is_framed && avro_holds(names, (struct str){key.ptr + FRAMING, key.len - FRAMING}, 1);
}

/* The value's users, named as the pipeline would. */
static bool event_holds(const struct redact_names *names, const struct pseudonyms *pseudonyms,
                        struct event *event, struct arena *scratch)
{
    struct err ignored = ERR_INIT;
    uint64_t changed[INGEST_REASON_COUNT] = {0};
    (void)ingest_clean(event, 0, 0, scratch, changed, &ignored);
    return is_of(names, pseudonyms, event->tenant, event->user_id) ||
           is_of(names, pseudonyms, event->tenant, event->anonymous_id);
}

bool redact_names_hold(const struct redact_names *names, const struct pseudonyms *pseudonyms,
                       struct schemas *schemas, struct arena *scratch, struct str key,
                       struct str value)
{
    struct err ignored = ERR_INIT;
    struct event event;
    if (names->longest == 0) return false;
    if (key_holds(names, pseudonyms, key)) return true;
    if (value.len == 0) return false;
    if (schemas_event_decode(schemas, value, scratch, &event, &ignored))
        return event_holds(names, pseudonyms, &event, scratch);
    return bytes_hold(names, value, key.len == 0 ? 1 : NAMES_TELLING);
}
