/* The twin of ingest_clean, written from the rules and not from its code. */
#include "tests/oracle/reference.h"

#include <math.h>
#include <string.h>

static const int64_t YEAR_1990_MS = 631152000000, YEAR_10000_MS = 253402300800000;

static struct str trim(struct str s)
{
    while (s.len && (unsigned char)s.ptr[0] <= ' ' && strchr(" \t\r\n\v\f", s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len && strchr(" \t\r\n\v\f", s.ptr[s.len - 1]) && s.ptr[s.len - 1])
        s.len--;
    return s;
}

/* One UTF-8 sequence; its length, or 0 when it is none (overlong forms, surrogates and values over U+10FFFF are none). */
static size_t sequence_len(const unsigned char *p, size_t left)
{
    unsigned long value;
    size_t n = p[0] < 0x80         ? 1
               : (p[0] >> 5) == 6  ? 2
               : (p[0] >> 4) == 14 ? 3
               : (p[0] >> 3) == 30 ? 4
                                   : 0;
    static const unsigned long least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (n == 0 || n > left) return 0;
    value = n == 1 ? p[0] : (unsigned long)(p[0] & (0x7F >> n));
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80) return 0;
        value = (value << 6) | (p[i] & 0x3F);
    }
    if (value < least[n] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) return 0;
    return n;
}

static bool is_good_id(struct str s)
{
    if (s.len > 256) return false;
    for (size_t i = 0; i < s.len;) {
        unsigned char c = (unsigned char)s.ptr[i];
        size_t n = sequence_len((const unsigned char *)s.ptr + i, s.len - i);
        if (n == 0 || c < 0x20 || c == 0x7F) return false;
        i += n;
    }
    return true;
}

static bool needs_items(enum event_type type)
{
    return type != EVENT_SEARCH && type != EVENT_OTHER;
}

static const char *clean_items(struct event *event)
{
    size_t kept = 0;
    for (size_t i = 0; i < event->n_items; i++) {
        struct event_item item = event->items[i];
        size_t same = 0;
        item.item_id = trim(item.item_id);
        if (item.item_id.len == 0) continue;
        if (!is_good_id(item.item_id)) return "bad_id";
        if (!isfinite(item.quantity) || item.quantity <= 0) item.quantity = 1;
        while (same < kept && !str_equal(event->items[same].item_id, item.item_id))
            same++;
        if (same < kept)
            event->items[same].quantity += item.quantity;
        else
            event->items[kept++] = item;
    }
    event->n_items = kept;
    return kept == 0 && needs_items(event->type) ? "missing_items" : NULL;
}

const char *reference_clean(struct event *event, int64_t timestamp_ms, int64_t max_future_ms)
{
    struct str *ids[] = {&event->event_id, &event->user_id, &event->anonymous_id,
                         &event->session_id, &event->tenant};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        *ids[i] = trim(*ids[i]);
        if (!is_good_id(*ids[i])) return "bad_id";
    }
    if (event->user_id.len == 0 && event->anonymous_id.len == 0) return "missing_user";
    const char *reason = clean_items(event);
    if (reason) return reason;
    if (event->time_ms < YEAR_1990_MS || event->time_ms > timestamp_ms + max_future_ms)
        event->time_ms = timestamp_ms;
    if (event->time_ms >= YEAR_10000_MS) event->time_ms = YEAR_10000_MS - 1;
    return NULL;
}
