/* Faults at the level of messages. The contract is in inject.h. */
#include "app/inject.h"

#include <string.h>

#include "base/mem.h"
#include "base/rng.h"

enum {
    HELD_MAX = 256,       /* records that wait to be sent late or again */
    HELD_RECORDS = 300,   /* for at most so many others */
    VALUE_MAX = 1 << 20,  /* bytes of one record */
    FRAME = 5,            /* bytes before the Avro record */
    LONG_STRING = 900000, /* under the brokers' default limit of a message */
    SHORT_STRING = 70000, /* over the limit of our decoder */
};
static const int64_t day_ms = 86400000;

struct held {
    struct buf key, value;
    int64_t timestamp_ms;
    uint64_t due;     /* count of events at which it is sent */
    const char *mark; /* NULL: the slot is free */
};

struct inject {
    struct inject_options options;
    struct schemas *schemas;
    bool json;
    struct inject_target target;
    struct rng rng;
    uint64_t events;
    uint64_t next_due; /* the smallest of all held */
    struct held held[HELD_MAX];
    struct buf value, bad;
    char *long_string; /* (LONG_STRING) */
    struct inject_counts counts;
};

static const struct {
    const char *name, *mark;
} kinds[INJECT_POISON_COUNT] = {
    {"bad_magic", "poison:bad_magic"},
    {"unknown_schema", "poison:unknown_schema"},
    {"truncated", "poison:truncated"},
    {"huge_length", "poison:huge_length"},
    {"bad_enum", "poison:bad_enum"},
    {"wrong_type", "poison:wrong_type"},
    {"long_string", "poison:long_string"},
    {"garbage", "poison:garbage"},
    {"empty", "poison:empty"},
    {"trailing", "poison:trailing"},
    {"no_user", "poison:no_user"},
    {"no_items", "poison:no_items"},
    {"bad_id", "poison:bad_id"},
};

const char *inject_poison_name(enum inject_poison kind)
{
    return kinds[kind].name;
}

struct inject *inject_new(const struct inject_options *options, struct schemas *schemas, bool json,
                          struct inject_target target)
{
    struct inject *inject = mem_zalloc(sizeof(*inject));
    inject->options = *options;
    inject->schemas = schemas;
    inject->json = json;
    inject->target = target;
    inject->next_due = UINT64_MAX;
    rng_init(&inject->rng, options->seed ^ 0x1213u);
    buf_init(&inject->value, VALUE_MAX);
    buf_init(&inject->bad, VALUE_MAX);
    for (int i = 0; i < HELD_MAX; i++) {
        buf_init(&inject->held[i].key, VALUE_MAX);
        buf_init(&inject->held[i].value, VALUE_MAX);
    }
    inject->long_string = mem_alloc(LONG_STRING);
    memset(inject->long_string, 'x', LONG_STRING);
    return inject;
}

void inject_free(struct inject *inject)
{
    if (!inject) return;
    for (int i = 0; i < HELD_MAX; i++) {
        buf_fini(&inject->held[i].key);
        buf_fini(&inject->held[i].value);
    }
    buf_fini(&inject->value);
    buf_fini(&inject->bad);
    mem_free(inject->long_string);
    mem_free(inject);
}

struct inject_counts inject_counts(const struct inject *inject)
{
    return inject->counts;
}

static struct str bytes_of(const struct buf *buf)
{
    return (struct str){(const char *)buf->data, buf->len};
}

/* As the topic takes it: framed Avro or JSON. */
static void encode(const struct inject *inject, const struct event *event, struct buf *out)
{
    buf_reset(out);
    if (inject->json) {
        schemas_event_encode_json(event, out);
    } else {
        schemas_event_encode(inject->schemas, event, out);
    }
}

/* ---- records that wait ---- */

/* False when all slots are taken: the caller sends at once. */
static bool hold(struct inject *inject, struct str key, int64_t timestamp_ms, const char *mark)
{
    for (int i = 0; i < HELD_MAX; i++) {
        struct held *held = &inject->held[i];
        if (held->mark) continue;
        buf_reset(&held->key);
        buf_push_str(&held->key, key);
        buf_reset(&held->value);
        buf_push_str(&held->value, bytes_of(&inject->value));
        held->timestamp_ms = timestamp_ms;
        held->due = inject->events + 1 + rng_below(&inject->rng, HELD_RECORDS);
        held->mark = mark;
        if (held->due < inject->next_due) inject->next_due = held->due;
        return true;
    }
    return false;
}

/* Sends what is due by now, the earliest first. */
static bool send_due(struct inject *inject, uint64_t now, struct err *err)
{
    while (inject->next_due <= now) {
        struct held *first = NULL;
        uint64_t next = UINT64_MAX;
        for (int i = 0; i < HELD_MAX; i++) {
            struct held *held = &inject->held[i];
            if (!held->mark) continue;
            if (!first || held->due < first->due) {
                if (first && first->due < next) next = first->due;
                first = held;
            } else if (held->due < next) {
                next = held->due;
            }
        }
        inject->next_due = next;
        if (!first) return true;
        const char *mark = first->mark;
        first->mark = NULL;
        if (!inject->target.send(inject->target.context, bytes_of(&first->key),
                                 bytes_of(&first->value), first->timestamp_ms, mark, err)) {
            return false;
        }
    }
    return true;
}

bool inject_flush(struct inject *inject, struct err *err)
{
    return send_due(inject, UINT64_MAX - 1, err);
}

/* ---- poison ---- */

/* Where the enum of the event type stands in a framed Avro event: behind the event id (a union
 * branch, a length of one or two bytes, the text). 0: not there. */
static size_t enum_place(const struct buf *value)
{
    size_t at = FRAME + 1;
    if (value->len < at + 2 || value->data[FRAME] != 2) return 0;
    size_t length = value->data[at] & 0x7f;
    if (value->data[at++] & 0x80) length |= (size_t)(value->data[at++] & 0x7f) << 7;
    at += length / 2;
    return at < value->len ? at : 0;
}

/* 1 to 200 random bytes. */
static void make_garbage(struct inject *inject)
{
    size_t n = 1 + rng_below(&inject->rng, 200);
    for (size_t i = 0; i < n; i++)
        buf_push_byte(&inject->bad, (uint8_t)rng_u64(&inject->rng));
    inject->bad.data[0] |= 0x80; /* neither the magic byte nor JSON */
}

/* Bytes of a good record, changed. */
static void break_bytes(struct inject *inject, enum inject_poison kind)
{
    struct buf *bad = &inject->bad;
    const struct buf *value = &inject->value;
    static const uint8_t two_gib[] = {2, 0xFE, 0xFF, 0xFF, 0xFF, 0x0F};
    size_t place = enum_place(value);
    buf_push(bad, value->data, kind == INJECT_TRUNCATED ? value->len / 2 : value->len);
    if (kind == INJECT_BAD_MAGIC) bad->data[0] = 7;
    if (kind == INJECT_UNKNOWN_SCHEMA) memset(bad->data + 1, 0x7E, 4);
    if (kind == INJECT_BAD_ENUM && place) bad->data[place] = 126;
    if (kind == INJECT_TRAILING) buf_push_text(bad, "behind");
    if (kind == INJECT_HUGE_LENGTH) {
        bad->len = FRAME;
        buf_push(bad, two_gib, sizeof(two_gib));
        buf_push_text(bad, "short");
    }
}

/* An event that decodes and cannot be used, or one that is too long. */
static void break_event(struct inject *inject, const struct event *event, enum inject_poison kind)
{
    struct event changed = *event;
    struct event_item item = {.item_id = STR("a\nb"), .quantity = 1, .position = -1};
    changed.type = EVENT_VIEW;
    if (kind == INJECT_NO_USER) {
        changed.user_id.len = 0;
        changed.anonymous_id.len = 0;
    } else if (kind == INJECT_NO_ITEMS) {
        changed.n_items = 0;
    } else if (kind == INJECT_BAD_ID) {
        changed.items = &item;
        changed.n_items = 1;
    } else {
        bool second = inject->counts.poison[INJECT_LONG_STRING] % 2 == 1;
        changed.query = (struct str){inject->long_string, second ? SHORT_STRING : LONG_STRING};
    }
    encode(inject, &changed, &inject->bad);
}

/* A whole record of another kind, under its own schema id. */
static void make_wrong_type(struct inject *inject, const struct event *event)
{
    struct item item = {.item_id = STR("p1"), .title = event->event_id, .stock = -1};
    if (inject->json) {
        buf_push_text(&inject->bad, "{\"event_type\":{\"no\":1},\"items\":7}");
    } else {
        schemas_item_encode(inject->schemas, &item, &inject->bad);
    }
}

/* One bad record beside the event, under the same key, of a kind drawn evenly. */
static bool send_poison(struct inject *inject, const struct event *event, struct str key,
                        int64_t timestamp_ms, struct err *err)
{
    enum inject_poison kind = (enum inject_poison)rng_below(&inject->rng, INJECT_POISON_COUNT);
    bool avro_only = kind == INJECT_BAD_MAGIC || kind == INJECT_UNKNOWN_SCHEMA ||
                     kind == INJECT_HUGE_LENGTH || kind == INJECT_BAD_ENUM;
    if (inject->json && avro_only) kind = INJECT_GARBAGE;
    buf_reset(&inject->bad);
    switch (kind) {
    case INJECT_WRONG_TYPE:
        make_wrong_type(inject, event);
        break;
    case INJECT_GARBAGE:
        make_garbage(inject);
        break;
    case INJECT_EMPTY:
        break;
    case INJECT_LONG_STRING:
    case INJECT_NO_USER:
    case INJECT_NO_ITEMS:
    case INJECT_BAD_ID:
        break_event(inject, event, kind);
        break;
    default:
        break_bytes(inject, kind);
    }
    inject->counts.poison[kind]++;
    struct str value = kind == INJECT_EMPTY ? (struct str){NULL, 0} : bytes_of(&inject->bad);
    return inject->target.send(inject->target.context, key, value, timestamp_ms, kinds[kind].mark,
                               err);
}

/* ---- an event ---- */

/* A share of 0 draws no random number: faults that are off change nothing. */
static bool happens(struct inject *inject, double share)
{
    return share > 0 && rng_unit(&inject->rng) < share;
}

bool inject_event(struct inject *inject, const struct event *event, struct str key,
                  int64_t timestamp_ms, struct err *err)
{
    const struct inject_options *options = &inject->options;
    struct event changed = *event;
    const char *mark = "";
    if (happens(inject, options->future)) {
        changed.time_ms += day_ms;
        inject->counts.future++;
        mark = "future";
    }
    inject->events++;
    encode(inject, &changed, &inject->value);
    if (happens(inject, options->poison) && !send_poison(inject, event, key, timestamp_ms, err))
        return false;
    if (happens(inject, options->duplicates) && hold(inject, key, timestamp_ms, "duplicate")) {
        inject->counts.duplicates++;
    }
    if (happens(inject, options->late) && hold(inject, key, timestamp_ms, "late")) {
        inject->counts.late++;
    } else if (!inject->target.send(inject->target.context, key, bytes_of(&inject->value),
                                    timestamp_ms, mark, err)) {
        return false;
    }
    return send_due(inject, inject->events, err);
}
