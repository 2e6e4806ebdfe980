/* Our structs as JSON, with the field names of schemas/avro/: for people, curl and the page. What an Avro record would
 * have as null or empty is left out, but for lists of items and of outcomes. */
#include "schemas/schemas.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- values ---- */

/* Bytes of the UTF-8 sequence at s, 0 when there is no valid one. */
static size_t utf8_len(const uint8_t *s, size_t left)
{
    static const struct {
        uint8_t low, high, second_low, second_high, len;
    } forms[] = {{0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
                 {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3},
                 {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
                 {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
    if (s[0] < 0x80) return 1;
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
        if (s[0] < forms[f].low || s[0] > forms[f].high || left < forms[f].len) continue;
        if (s[1] < forms[f].second_low || s[1] > forms[f].second_high) return 0;
        for (size_t i = 2; i < forms[f].len; i++)
            if ((s[i] & 0xc0) != 0x80) return 0;
        return forms[f].len;
    }
    return 0;
}

/* The bytes that stand for themselves inside a JSON string, from i on. */
static size_t plain_run(struct str s, size_t i)
{
    size_t start = i;
    for (; i < s.len; i++) {
        uint8_t c = (uint8_t)s.ptr[i];
        if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\' || c == '<') break;
    }
    return i - start;
}

/* Bytes that are not UTF-8 become U+FFFD, so that the line is always valid JSON. '<' is written as an escape: the line
 * may stand inside a page's script. */
static void push_text(struct buf *out, struct str s)
{
    const uint8_t *bytes = (const uint8_t *)s.ptr;
    buf_push_byte(out, '"');
    for (size_t i = 0; i < s.len;) {
        size_t n = plain_run(s, i);
        if (n) buf_push(out, bytes + i, n);
        i += n;
        if (i == s.len) break;
        uint8_t c = bytes[i];
        n = utf8_len(bytes + i, s.len - i);
        if (n == 0)
            buf_push_text(out, "\\ufffd");
        else if (c == '"' || c == '\\')
            buf_push_format(out, "\\%c", c);
        else if (n == 1)
            buf_push_format(out, "\\u%04x", c);
        else
            buf_push(out, bytes + i, n);
        i += n ? n : 1;
    }
    buf_push_byte(out, '"');
}

/* A short decimal that reads back as the same number. JSON has no infinity: null. */
static void push_number(struct buf *out, double v)
{
    char text[40];
    if (!isfinite(v)) {
        buf_push_text(out, "null");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, v);
        double back = strtod(text, NULL);
        if (back >= v && back <= v) break;
    }
    buf_push_text(out, text);
}

/* As push_number, for float: 6 digits always survive, 9 always suffice. */
static void push_float(struct buf *out, float v)
{
    char text[40];
    if (!isfinite(v)) {
        buf_push_text(out, "null");
        return;
    }
    for (int digits = 6; digits <= 9; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, (double)v);
        float back = strtof(text, NULL);
        if (back >= v && back <= v) break;
    }
    buf_push_text(out, text);
}

/* ---- members; each begins with a comma unless it is the first of its object ---- */

/* The comma goes in unless something was just opened. A text cannot end in '{' or '[': it ends in a quote. */
static void push_key(struct buf *out, const char *key)
{
    uint8_t last = out->len ? out->data[out->len - 1] : 0;
    if (last != '{' && last != '[' && !out->failed) buf_push_byte(out, ',');
    buf_push_byte(out, '"');
    buf_push_text(out, key);
    buf_push_text(out, "\":");
}

/* Left out when empty. */
static void member_text(struct buf *out, const char *key, struct str s)
{
    if (s.len == 0) return;
    push_key(out, key);
    push_text(out, s);
}

static void member_number(struct buf *out, const char *key, bool has, double v)
{
    if (!has) return;
    push_key(out, key);
    push_number(out, v);
}

static void member_integer(struct buf *out, const char *key, bool has, int64_t v)
{
    if (!has) return;
    push_key(out, key);
    buf_push_format(out, "%" PRId64, v);
}

static void member_bool(struct buf *out, const char *key, bool v)
{
    push_key(out, key);
    buf_push_text(out, v ? "true" : "false");
}

static void member_map(struct buf *out, const char *key, const struct attribute *map, size_t n)
{
    if (n == 0) return;
    push_key(out, key);
    buf_push_byte(out, '{');
    for (size_t i = 0; i < n; i++) {
        if (i) buf_push_byte(out, ',');
        push_text(out, map[i].key);
        buf_push_byte(out, ':');
        push_text(out, map[i].value);
    }
    buf_push_byte(out, '}');
}

static void member_texts(struct buf *out, const char *key, const struct str *texts, size_t n)
{
    if (n == 0) return;
    push_key(out, key);
    for (size_t i = 0; i < n; i++) {
        buf_push_byte(out, i ? ',' : '[');
        push_text(out, texts[i]);
    }
    buf_push_byte(out, ']');
}

static void member_floats(struct buf *out, const char *key, const float *floats, size_t n)
{
    if (n == 0) return;
    push_key(out, key);
    for (size_t i = 0; i < n; i++) {
        buf_push_byte(out, i ? ',' : '[');
        push_float(out, floats[i]);
    }
    buf_push_byte(out, ']');
}

/* ---- records ---- */

void schemas_event_encode_json(const struct event *e, struct buf *out)
{
    buf_push_byte(out, '{');
    member_text(out, "event_id", e->event_id);
    member_text(out, "event_type", str_of(schemas_event_type_name(e->type)));
    member_integer(out, "event_time", e->time_ms != 0, e->time_ms);
    member_text(out, "user_id", e->user_id);
    member_text(out, "anonymous_id", e->anonymous_id);
    member_text(out, "session_id", e->session_id);
    push_key(out, "items");
    buf_push_byte(out, '[');
    for (size_t i = 0; i < e->n_items; i++) {
        const struct event_item *item = &e->items[i];
        buf_push_text(out, i ? ",{" : "{");
        member_text(out, "item_id", item->item_id);
        member_number(out, "quantity", true, item->quantity);
        member_number(out, "price", item->has_price, item->price);
        member_integer(out, "position", item->position >= 0, item->position);
        buf_push_byte(out, '}');
    }
    buf_push_byte(out, ']');
    member_text(out, "query", e->query);
    member_text(out, "order_id", e->order_id);
    member_number(out, "value", e->has_value, e->value);
    member_text(out, "currency", e->currency);
    member_text(out, "recommendation_id", e->recommendation_id);
    member_text(out, "tenant", e->tenant);
    if (!e->consent) member_bool(out, "consent", false);
    member_map(out, "context", e->context, e->n_context);
    member_map(out, "attributes", e->attributes, e->n_attributes);
    buf_push_byte(out, '}');
}

void schemas_item_encode_json(const struct item *item, struct buf *out)
{
    buf_push_byte(out, '{');
    member_text(out, "item_id", item->item_id);
    member_text(out, "tenant", item->tenant);
    member_text(out, "title", item->title);
    member_texts(out, "categories", item->categories, item->n_categories);
    member_text(out, "brand", item->brand);
    member_number(out, "price", item->has_price, item->price);
    member_integer(out, "stock", item->stock >= 0, item->stock);
    member_integer(out, "available_from", item->available_from_ms != 0, item->available_from_ms);
    member_integer(out, "available_until", item->available_until_ms != 0, item->available_until_ms);
    if (item->hidden) member_bool(out, "hidden", true);
    member_map(out, "attributes", item->attributes, item->n_attributes);
    member_floats(out, "vector", item->vector, item->n_vector);
    buf_push_byte(out, '}');
}

static void push_list_item(struct buf *out, const struct list_item *item)
{
    buf_push_byte(out, '{');
    member_text(out, "item_id", item->item_id);
    push_key(out, "score");
    push_float(out, item->score);
    push_key(out, "reasons");
    buf_push_byte(out, '[');
    for (int r = 0; r < item->n_reasons; r++) {
        buf_push_text(out, r ? ",{" : "{");
        member_text(out, "kind", str_of(schemas_reason_name(item->reasons[r].kind)));
        member_text(out, "item_id", item->reasons[r].item_id);
        buf_push_byte(out, '}');
    }
    buf_push_text(out, "]}");
}

static void member_trigger(struct buf *out, const struct trigger *trigger)
{
    push_key(out, "trigger");
    buf_push_byte(out, '{');
    member_text(out, "topic", trigger->topic);
    member_integer(out, "partition", true, trigger->partition);
    member_integer(out, "offset", true, trigger->offset);
    member_text(out, "event_id", trigger->event_id);
    member_integer(out, "event_time", true, trigger->event_time_ms);
    buf_push_byte(out, '}');
}

void schemas_recommendations_encode_json(const struct recommendations *list, struct buf *out)
{
    buf_push_byte(out, '{');
    member_text(out, "recommendation_id", list->recommendation_id);
    member_text(out, "tenant", list->tenant);
    member_text(out, "user_id", list->user_id);
    member_text(out, "scenario", list->scenario);
    push_key(out, "items");
    buf_push_byte(out, '[');
    for (size_t i = 0; i < list->n_items; i++) {
        if (i) buf_push_byte(out, ',');
        push_list_item(out, &list->items[i]);
    }
    buf_push_byte(out, ']');
    member_text(out, "model_version", list->model_version);
    member_text(out, "variant", list->variant);
    member_trigger(out, &list->trigger);
    buf_push_byte(out, '}');
}

/* What related and trending records have in common. */
static void member_counted(struct buf *out, const struct counted_item *items, size_t n,
                           double count, const struct decay *decay, int64_t event_time_ms)
{
    push_key(out, "items");
    buf_push_byte(out, '[');
    for (size_t i = 0; i < n; i++) {
        buf_push_text(out, i ? ",{" : "{");
        member_text(out, "item_id", items[i].item_id);
        push_key(out, "score");
        push_float(out, items[i].score);
        member_number(out, "count", true, items[i].count);
        buf_push_byte(out, '}');
    }
    buf_push_byte(out, ']');
    member_number(out, "count", true, count);
    member_integer(out, "half_life_ms", decay->half_life_ms != 0, decay->half_life_ms);
    member_integer(out, "window_ms", decay->window_ms != 0, decay->window_ms);
    member_integer(out, "event_time", true, event_time_ms);
}

void schemas_related_encode_json(const struct related *related, struct buf *out)
{
    buf_push_byte(out, '{');
    member_text(out, "item_id", related->item_id);
    member_text(out, "tenant", related->tenant);
    member_text(out, "kind", str_of(schemas_related_name(related->kind)));
    member_counted(out, related->items, related->n_items, related->count, &related->decay,
                   related->event_time_ms);
    buf_push_byte(out, '}');
}

void schemas_trending_encode_json(const struct trending *trending, struct buf *out)
{
    buf_push_byte(out, '{');
    member_text(out, "tenant", trending->tenant);
    member_text(out, "category", trending->category);
    member_counted(out, trending->items, trending->n_items, trending->count, &trending->decay,
                   trending->event_time_ms);
    buf_push_byte(out, '}');
}

static void push_example_item(struct buf *out, const struct example_item *item)
{
    buf_push_byte(out, '{');
    member_text(out, "item_id", item->item_id);
    member_integer(out, "position", true, item->position);
    push_key(out, "score");
    push_float(out, item->score);
    member_bool(out, "shown", item->shown);
    member_floats(out, "features", item->features, item->n_features);
    buf_push_byte(out, '}');
}

static void push_outcome(struct buf *out, const struct outcome *outcome)
{
    buf_push_byte(out, '{');
    member_text(out, "event_type", str_of(schemas_event_type_name(outcome->type)));
    member_text(out, "item_id", outcome->item_id);
    member_integer(out, "event_time", true, outcome->time_ms);
    member_number(out, "value", outcome->has_value, outcome->value);
    buf_push_byte(out, '}');
}

void schemas_training_example_encode_json(const struct training_example *e, struct buf *out)
{
    buf_push_byte(out, '{');
    member_text(out, "example_id", e->example_id);
    member_text(out, "tenant", e->tenant);
    member_text(out, "user_id", e->user_id);
    member_text(out, "anonymous_id", e->anonymous_id);
    member_text(out, "recommendation_id", e->recommendation_id);
    member_text(out, "scenario", e->scenario);
    member_text(out, "model_version", e->model_version);
    member_text(out, "variant", e->variant);
    member_trigger(out, &e->trigger);
    member_integer(out, "event_time", true, e->event_time_ms);
    member_texts(out, "context_names", e->context_names, e->n_context_names);
    member_floats(out, "context", e->context, e->n_context);
    member_texts(out, "feature_names", e->feature_names, e->n_feature_names);
    push_key(out, "items");
    buf_push_byte(out, '[');
    for (size_t i = 0; i < e->n_items; i++) {
        if (i) buf_push_byte(out, ',');
        push_example_item(out, &e->items[i]);
    }
    buf_push_byte(out, ']');
    push_key(out, "outcomes");
    buf_push_byte(out, '[');
    for (size_t i = 0; i < e->n_outcomes; i++) {
        if (i) buf_push_byte(out, ',');
        push_outcome(out, &e->outcomes[i]);
    }
    buf_push_text(out, "]}");
}

void schemas_erasure_encode_json(const struct erasure *erasure, struct buf *out)
{
    buf_push_byte(out, '{');
    member_text(out, "request_id", erasure->request_id);
    member_text(out, "tenant", erasure->tenant);
    member_text(out, "user_id", erasure->user_id);
    member_text(out, "anonymous_id", erasure->anonymous_id);
    member_integer(out, "requested_at", erasure->requested_at_ms != 0, erasure->requested_at_ms);
    member_text(out, "source", erasure->source);
    buf_push_byte(out, '}');
}
