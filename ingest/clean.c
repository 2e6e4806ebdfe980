/* Cleaning of one event: the rules stand in ingest.h. */
#include "ingest/ingest.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/utf8.h"

static const int64_t TIME_ANCIENT_MS = 631152000000; /* 1990-01-01 UTC */
static const int64_t TIME_END_MS = 253402300799999;  /* the last one of the year 9999 */

const char *ingest_reason_name(enum ingest_reason reason)
{
    static const char *const names[INGEST_REASON_COUNT] = {
        [REASON_NONE] = "none",
        [POISON_DECODE] = "decode",
        [POISON_UNKNOWN_SCHEMA] = "unknown_schema",
        [POISON_EMPTY] = "empty",
        [POISON_TOO_LARGE] = "too_large",
        [POISON_MISSING_USER] = "missing_user",
        [POISON_MISSING_ITEMS] = "missing_items",
        [POISON_BAD_ID] = "bad_id",
        [POISON_KEY_COLLISION] = "key_collision",
        [CLEAN_TIME_MISSING] = "time_missing",
        [CLEAN_TIME_FUTURE] = "time_future",
        [CLEAN_TIME_ANCIENT] = "time_ancient",
        [CLEAN_ID_TRIMMED] = "id_trimmed",
        [CLEAN_ITEM_MERGED] = "item_merged",
        [CLEAN_ITEM_DROPPED] = "item_dropped",
        [CLEAN_QUANTITY] = "quantity",
        [CLEAN_PRICE] = "price",
    };
    assert((unsigned)reason < INGEST_REASON_COUNT);
    return names[reason];
}

/* ---- ids ---- */

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void trim(struct str *id, uint64_t *changed)
{
    size_t before = id->len;
    while (id->len && is_space(id->ptr[id->len - 1]))
        id->len--;
    while (id->len && is_space(id->ptr[0])) {
        id->ptr++;
        id->len--;
    }
    changed[CLEAN_ID_TRIMMED] += id->len != before;
}

static bool id_clean(struct str *id, const char *name, uint64_t *changed, struct err *err)
{
    trim(id, changed);
    if (id->len > SCHEMAS_ID_MAX)
        return err_set(err, ERR_DATA, "%s has %zu bytes, the limit is %d", name, id->len,
                       SCHEMAS_ID_MAX);
    bool ascii = true;
    for (size_t i = 0; i < id->len; i++) {
        unsigned char byte = (unsigned char)id->ptr[i];
        if (byte < 0x20 || byte == 0x7f)
            return err_set(err, ERR_DATA, "%s has a control character (0x%02x) at byte %zu", name,
                           (unsigned)byte, i);
        ascii = ascii && byte < 0x80;
    }
    if (!ascii && !utf8_is_valid(*id)) return err_set(err, ERR_DATA, "%s is not UTF-8", name);
    return true;
}

/* ---- items ---- */

/* Earlier items of the event by id: looked through one by one while they are few, else an open table of indexes + 1
 * with linear probing. Up to 8 items the loop is the faster of the two. */
enum { LOOP_MAX = 8 };

struct seen {
    uint16_t *slots; /* (mask + 1); NULL: loop */
    size_t mask;
};

static uint64_t id_hash(struct str id)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a; the table is small and lives for one event */
    for (size_t i = 0; i < id.len; i++)
        h = (h ^ (unsigned char)id.ptr[i]) * 1099511628211u;
    return h ^ (h >> 32);
}

static void seen_init(struct seen *seen, size_t n_items, struct arena *arena)
{
    size_t size = 32;
    seen->slots = NULL;
    seen->mask = 0;
    if (n_items <= LOOP_MAX || n_items >= UINT16_MAX) return;
    while (size < 2 * n_items)
        size *= 2;
    seen->slots = arena_alloc(arena, size * sizeof *seen->slots);
    memset(seen->slots, 0, size * sizeof *seen->slots);
    seen->mask = size - 1;
}

/* Index of the earlier item with this id, or n; then it is noted as item n. */
static size_t seen_find(struct seen *seen, const struct event_item *items, size_t n, struct str id)
{
    if (!seen->slots) {
        size_t i = 0;
        while (i < n && !str_equal(items[i].item_id, id))
            i++;
        return i;
    }
    size_t at = id_hash(id) & seen->mask;
    while (seen->slots[at] != 0) {
        size_t i = (size_t)seen->slots[at] - 1;
        if (str_equal(items[i].item_id, id)) return i;
        at = (at + 1) & seen->mask;
    }
    seen->slots[at] = (uint16_t)(n + 1);
    return n;
}

static void amounts_clean(struct event_item *item, uint64_t *changed)
{
    if (!(isfinite(item->quantity) && item->quantity > 0)) {
        item->quantity = 1;
        changed[CLEAN_QUANTITY]++;
    }
    if (item->has_price && !(isfinite(item->price) && item->price >= 0)) {
        item->has_price = false;
        item->price = 0;
        changed[CLEAN_PRICE]++;
    }
}

static bool items_clean(struct event *event, struct arena *arena, uint64_t *changed,
                        struct err *err)
{
    struct seen seen;
    size_t kept = 0;
    seen_init(&seen, event->n_items, arena);
    for (size_t i = 0; i < event->n_items; i++) {
        struct event_item item = event->items[i];
        if (!id_clean(&item.item_id, "item_id", changed, err)) return false;
        if (item.item_id.len == 0) {
            changed[CLEAN_ITEM_DROPPED]++;
            continue;
        }
        amounts_clean(&item, changed);
        size_t at = seen_find(&seen, event->items, kept, item.item_id);
        if (at < kept) {
            double sum = event->items[at].quantity + item.quantity;
            if (isfinite(sum)) event->items[at].quantity = sum;
            changed[CLEAN_ITEM_MERGED]++;
            continue;
        }
        event->items[kept++] = item;
    }
    event->n_items = kept;
    return true;
}

/* ---- time ---- */

static void time_clean(struct event *event, int64_t timestamp_ms, int64_t max_future_ms,
                       uint64_t *changed)
{
    enum ingest_reason why = REASON_NONE;
    if (event->time_ms == 0)
        why = CLEAN_TIME_MISSING;
    else if (event->time_ms < TIME_ANCIENT_MS)
        why = CLEAN_TIME_ANCIENT;
    else if (timestamp_ms >= 0 && event->time_ms - max_future_ms > timestamp_ms)
        why = CLEAN_TIME_FUTURE;
    if (why != REASON_NONE) event->time_ms = timestamp_ms > 0 ? timestamp_ms : 0;
    if (event->time_ms > TIME_END_MS) {
        event->time_ms = TIME_END_MS;
        why = CLEAN_TIME_FUTURE;
    }
    if (why != REASON_NONE) changed[why]++;
}

/* ---- the event ---- */

enum ingest_reason ingest_clean(struct event *event, int64_t timestamp_ms, int64_t max_future_ms,
                                struct arena *arena, uint64_t *changed, struct err *err)
{
    if (!id_clean(&event->tenant, "tenant", changed, err) ||
        !id_clean(&event->user_id, "user_id", changed, err) ||
        !id_clean(&event->anonymous_id, "anonymous_id", changed, err) ||
        !id_clean(&event->event_id, "event_id", changed, err) ||
        !id_clean(&event->session_id, "session_id", changed, err))
        return POISON_BAD_ID;
    if (event->user_id.len == 0 && event->anonymous_id.len == 0) {
        err_set(err, ERR_DATA, "neither user_id nor anonymous_id is set");
        return POISON_MISSING_USER;
    }
    if (!items_clean(event, arena, changed, err)) return POISON_BAD_ID;
    if (event->n_items == 0 && event->type != EVENT_SEARCH && event->type != EVENT_OTHER) {
        err_set(err, ERR_DATA, "a %s needs at least one item",
                schemas_event_type_name(event->type));
        return POISON_MISSING_ITEMS;
    }
    if (event->has_value && !isfinite(event->value)) {
        event->has_value = false;
        event->value = 0;
        changed[CLEAN_PRICE]++;
    }
    time_clean(event, timestamp_ms, max_future_ms, changed);
    return REASON_NONE;
}
