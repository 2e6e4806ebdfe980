/* Our structs to Avro binary, field by field in the order of schemas/avro/.
 *
 * Each encoder reserves the most that the record can take once, writes with a bare pointer, and counts what it wrote:
 * no check and no call per field. The differential test holds these functions to the .avsc files.
 *
 * Framing:  OFFSET SIZE MEANING
 *           0      1    0x00
 *           1      4    schema id, big-endian
 *           5      -    Avro binary
 */
#include "schemas/internal.h"

#include <string.h>

/* Most bytes of a long, of a length in front of a text, and of a union branch in front of a value. */
enum { LONG_MAX_BYTES = 10, TEXT_HEAD = 11 };

/* ---- values ---- */

/* Zigzag, 7 bits a byte, lowest first. */
static uint8_t *put_long(uint8_t *p, int64_t v)
{
    uint64_t zigzag = ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
    while (zigzag > 127) {
        *p++ = (uint8_t)(zigzag | 128);
        zigzag >>= 7;
    }
    *p++ = (uint8_t)zigzag;
    return p;
}

/* Length and bytes. */
static uint8_t *put_text(uint8_t *p, struct str s)
{
    p = put_long(p, (int64_t)s.len);
    if (s.len) memcpy(p, s.ptr, s.len);
    return p + s.len;
}

/* [null, string]: an empty text is null. */
static uint8_t *put_optional(uint8_t *p, struct str s)
{
    if (s.len == 0) {
        *p++ = 0;
        return p;
    }
    *p++ = 2;
    return put_text(p, s);
}

/* Little-endian IEEE 754, as this machine stores it (x86-64, aarch64). */
static uint8_t *put_double(uint8_t *p, double v)
{
    memcpy(p, &v, 8);
    return p + 8;
}

static uint8_t *put_float(uint8_t *p, float v)
{
    memcpy(p, &v, 4);
    return p + 4;
}

/* [null, double] */
static uint8_t *put_optional_double(uint8_t *p, bool has, double v)
{
    *p++ = has ? 2 : 0;
    return has ? put_double(p, v) : p;
}

/* [null, int], [null, long]: one form on the wire. */
static uint8_t *put_optional_long(uint8_t *p, bool has, int64_t v)
{
    *p++ = has ? 2 : 0;
    return has ? put_long(p, v) : p;
}

/* Arrays, like maps: one block of n, then the 0 that ends them; nothing but the 0 when they are empty. */
static uint8_t *put_texts(uint8_t *p, const struct str *texts, size_t n)
{
    if (n) p = put_long(p, (int64_t)n);
    for (size_t i = 0; i < n; i++)
        p = put_text(p, texts[i]);
    *p++ = 0;
    return p;
}

static uint8_t *put_floats(uint8_t *p, const float *floats, size_t n)
{
    if (n) p = put_long(p, (int64_t)n);
    if (n) memcpy(p, floats, 4 * n);
    p += 4 * n;
    *p++ = 0;
    return p;
}

/* Most bytes of put_texts. */
static size_t texts_room(const struct str *texts, size_t n)
{
    size_t room = LONG_MAX_BYTES + 1;
    for (size_t i = 0; i < n; i++)
        room += TEXT_HEAD + texts[i].len;
    return room;
}

/* One block of n, then the 0 that ends the map; nothing but the 0 when it is empty. */
static uint8_t *put_map(uint8_t *p, const struct attribute *attributes, size_t n)
{
    if (n) p = put_long(p, (int64_t)n);
    for (size_t i = 0; i < n; i++) {
        p = put_text(p, attributes[i].key);
        p = put_text(p, attributes[i].value);
    }
    *p++ = 0;
    return p;
}

/* Most bytes of put_map. */
static size_t map_room(const struct attribute *attributes, size_t n)
{
    size_t room = LONG_MAX_BYTES + 1;
    for (size_t i = 0; i < n; i++)
        room += 2 * TEXT_HEAD + attributes[i].key.len + attributes[i].value.len;
    return room;
}

/* ---- framing ---- */

enum { FRAMING = 5 };

/* The framing; NULL when the record does not fit the buf. */
static uint8_t *begin(struct buf *out, int32_t id, size_t room)
{
    uint8_t *p = buf_reserve(out, FRAMING + room);
    if (!p) return NULL;
    uint32_t bits = (uint32_t)id;
    p[0] = 0;
    p[1] = (uint8_t)(bits >> 24);
    p[2] = (uint8_t)(bits >> 16);
    p[3] = (uint8_t)(bits >> 8);
    p[4] = (uint8_t)bits;
    return p + FRAMING;
}

static void end(struct buf *out, const uint8_t *p)
{
    out->len = (size_t)(p - out->data);
}

/* ---- records ---- */

static size_t event_room(const struct event *e)
{
    size_t room = 9 * TEXT_HEAD + 4 * LONG_MAX_BYTES + 32 + e->event_id.len + e->user_id.len +
                  e->anonymous_id.len + e->session_id.len + e->query.len + e->order_id.len +
                  e->currency.len + e->recommendation_id.len + e->tenant.len;
    for (size_t i = 0; i < e->n_items; i++)
        room += TEXT_HEAD + 8 + 9 + TEXT_HEAD + e->items[i].item_id.len;
    return room + map_room(e->context, e->n_context) + map_room(e->attributes, e->n_attributes);
}

static uint8_t *put_event_items(uint8_t *p, const struct event_item *items, size_t n)
{
    if (n) p = put_long(p, (int64_t)n);
    for (size_t i = 0; i < n; i++) {
        p = put_text(p, items[i].item_id);
        p = put_double(p, items[i].quantity);
        p = put_optional_double(p, items[i].has_price, items[i].price);
        p = put_optional_long(p, items[i].position >= 0, items[i].position);
    }
    *p++ = 0;
    return p;
}

void schemas__encode_event(int32_t id, const struct event *e, struct buf *out)
{
    uint8_t *p = begin(out, id, event_room(e));
    if (!p) return;
    p = put_optional(p, e->event_id);
    p = put_long(p, (int64_t)e->type);
    p = put_optional_long(p, e->time_ms != 0, e->time_ms);
    p = put_optional(p, e->user_id);
    p = put_optional(p, e->anonymous_id);
    p = put_optional(p, e->session_id);
    p = put_event_items(p, e->items, e->n_items);
    p = put_optional(p, e->query);
    p = put_optional(p, e->order_id);
    p = put_optional_double(p, e->has_value, e->value);
    p = put_optional(p, e->currency);
    p = put_optional(p, e->recommendation_id);
    p = put_text(p, e->tenant);
    *p++ = e->consent;
    p = put_map(p, e->context, e->n_context);
    p = put_map(p, e->attributes, e->n_attributes);
    end(out, p);
}

void schemas__encode_item(int32_t id, const struct item *item, struct buf *out)
{
    size_t room = 4 * TEXT_HEAD + 9 * LONG_MAX_BYTES + 32 + item->item_id.len + item->tenant.len +
                  item->title.len + item->brand.len + 4 * item->n_vector +
                  texts_room(item->categories, item->n_categories) +
                  map_room(item->attributes, item->n_attributes);
    uint8_t *p = begin(out, id, room);
    if (!p) return;
    p = put_text(p, item->item_id);
    p = put_text(p, item->tenant);
    p = put_optional(p, item->title);
    p = put_texts(p, item->categories, item->n_categories);
    p = put_optional(p, item->brand);
    p = put_optional_double(p, item->has_price, item->price);
    p = put_optional_long(p, item->stock >= 0, item->stock);
    p = put_optional_long(p, item->available_from_ms != 0, item->available_from_ms);
    p = put_optional_long(p, item->available_until_ms != 0, item->available_until_ms);
    *p++ = item->hidden;
    p = put_map(p, item->attributes, item->n_attributes);
    p = put_floats(p, item->vector, item->n_vector);
    end(out, p);
}

static size_t trigger_room(const struct trigger *trigger)
{
    return 2 * TEXT_HEAD + 3 * LONG_MAX_BYTES + trigger->topic.len + trigger->event_id.len;
}

static uint8_t *put_trigger(uint8_t *p, const struct trigger *trigger)
{
    p = put_text(p, trigger->topic);
    p = put_long(p, trigger->partition);
    p = put_long(p, trigger->offset);
    p = put_optional(p, trigger->event_id);
    return put_long(p, trigger->event_time_ms);
}

static size_t list_room(const struct recommendations *list)
{
    size_t room = 6 * TEXT_HEAD + LONG_MAX_BYTES + 1 + list->recommendation_id.len +
                  list->tenant.len + list->user_id.len + list->scenario.len +
                  list->model_version.len + list->variant.len + trigger_room(&list->trigger);
    for (size_t i = 0; i < list->n_items; i++) {
        const struct list_item *item = &list->items[i];
        room += TEXT_HEAD + item->item_id.len + 4 + 2;
        for (int r = 0; r < item->n_reasons; r++)
            room += 1 + TEXT_HEAD + item->reasons[r].item_id.len;
    }
    return room;
}

static uint8_t *put_list_item(uint8_t *p, const struct list_item *item)
{
    p = put_text(p, item->item_id);
    p = put_float(p, item->score);
    if (item->n_reasons) p = put_long(p, item->n_reasons);
    for (int r = 0; r < item->n_reasons; r++) {
        p = put_long(p, (int64_t)item->reasons[r].kind);
        p = put_optional(p, item->reasons[r].item_id);
    }
    *p++ = 0;
    return p;
}

void schemas__encode_list(int32_t id, const struct recommendations *list, struct buf *out)
{
    uint8_t *p = begin(out, id, list_room(list));
    if (!p) return;
    p = put_text(p, list->recommendation_id);
    p = put_text(p, list->tenant);
    p = put_text(p, list->user_id);
    p = put_text(p, list->scenario);
    if (list->n_items) p = put_long(p, (int64_t)list->n_items);
    for (size_t i = 0; i < list->n_items; i++)
        p = put_list_item(p, &list->items[i]);
    *p++ = 0;
    p = put_text(p, list->model_version);
    p = put_text(p, list->variant);
    p = put_trigger(p, &list->trigger);
    end(out, p);
}

/* ---- related and trending ---- */

static size_t counted_room(const struct counted_item *items, size_t n)
{
    size_t room = LONG_MAX_BYTES + 1;
    for (size_t i = 0; i < n; i++)
        room += TEXT_HEAD + items[i].item_id.len + 4 + 8;
    return room;
}

static uint8_t *put_counted(uint8_t *p, const struct counted_item *items, size_t n)
{
    if (n) p = put_long(p, (int64_t)n);
    for (size_t i = 0; i < n; i++) {
        p = put_text(p, items[i].item_id);
        p = put_float(p, items[i].score);
        p = put_double(p, items[i].count);
    }
    *p++ = 0;
    return p;
}

void schemas__encode_related(int32_t id, const struct related *related, struct buf *out)
{
    size_t room = 2 * TEXT_HEAD + 4 * LONG_MAX_BYTES + 8 + related->item_id.len +
                  related->tenant.len + counted_room(related->items, related->n_items);
    uint8_t *p = begin(out, id, room);
    if (!p) return;
    p = put_text(p, related->item_id);
    p = put_text(p, related->tenant);
    p = put_long(p, (int64_t)related->kind);
    p = put_counted(p, related->items, related->n_items);
    p = put_double(p, related->count);
    p = put_long(p, related->decay.half_life_ms);
    p = put_long(p, related->decay.window_ms);
    p = put_long(p, related->event_time_ms);
    end(out, p);
}

void schemas__encode_trending(int32_t id, const struct trending *trending, struct buf *out)
{
    size_t room = 2 * TEXT_HEAD + 3 * LONG_MAX_BYTES + 8 + trending->tenant.len +
                  trending->category.len + counted_room(trending->items, trending->n_items);
    uint8_t *p = begin(out, id, room);
    if (!p) return;
    p = put_text(p, trending->tenant);
    p = put_text(p, trending->category);
    p = put_counted(p, trending->items, trending->n_items);
    p = put_double(p, trending->count);
    p = put_long(p, trending->decay.half_life_ms);
    p = put_long(p, trending->decay.window_ms);
    p = put_long(p, trending->event_time_ms);
    end(out, p);
}

/* ---- training example ---- */

static size_t example_room(const struct training_example *e)
{
    size_t room = 8 * TEXT_HEAD + 4 * LONG_MAX_BYTES + 4 + e->example_id.len + e->tenant.len +
                  e->user_id.len + e->anonymous_id.len + e->recommendation_id.len +
                  e->scenario.len + e->model_version.len + e->variant.len +
                  trigger_room(&e->trigger) + texts_room(e->context_names, e->n_context_names) +
                  4 * e->n_context + texts_room(e->feature_names, e->n_feature_names);
    for (size_t i = 0; i < e->n_items; i++)
        room += TEXT_HEAD + e->items[i].item_id.len + 2 * LONG_MAX_BYTES + 4 + 1 +
                4 * e->items[i].n_features + 1;
    for (size_t i = 0; i < e->n_outcomes; i++)
        room += TEXT_HEAD + e->outcomes[i].item_id.len + 2 * LONG_MAX_BYTES + 9;
    return room;
}

static uint8_t *put_example_items(uint8_t *p, const struct example_item *items, size_t n)
{
    if (n) p = put_long(p, (int64_t)n);
    for (size_t i = 0; i < n; i++) {
        p = put_text(p, items[i].item_id);
        p = put_long(p, items[i].position);
        p = put_float(p, items[i].score);
        *p++ = items[i].shown;
        p = put_floats(p, items[i].features, items[i].n_features);
    }
    *p++ = 0;
    return p;
}

static uint8_t *put_outcomes(uint8_t *p, const struct outcome *outcomes, size_t n)
{
    if (n) p = put_long(p, (int64_t)n);
    for (size_t i = 0; i < n; i++) {
        p = put_long(p, (int64_t)outcomes[i].type);
        p = put_text(p, outcomes[i].item_id);
        p = put_long(p, outcomes[i].time_ms);
        p = put_optional_double(p, outcomes[i].has_value, outcomes[i].value);
    }
    *p++ = 0;
    return p;
}

void schemas__encode_example(int32_t id, const struct training_example *e, struct buf *out)
{
    uint8_t *p = begin(out, id, example_room(e));
    if (!p) return;
    p = put_text(p, e->example_id);
    p = put_text(p, e->tenant);
    p = put_optional(p, e->user_id);
    p = put_optional(p, e->anonymous_id);
    p = put_optional(p, e->recommendation_id);
    p = put_text(p, e->scenario);
    p = put_text(p, e->model_version);
    p = put_text(p, e->variant);
    p = put_trigger(p, &e->trigger);
    p = put_long(p, e->event_time_ms);
    p = put_texts(p, e->context_names, e->n_context_names);
    p = put_floats(p, e->context, e->n_context);
    p = put_texts(p, e->feature_names, e->n_feature_names);
    p = put_example_items(p, e->items, e->n_items);
    p = put_outcomes(p, e->outcomes, e->n_outcomes);
    end(out, p);
}

/* ---- erasure ---- */

void schemas__encode_erasure(int32_t id, const struct erasure *erasure, struct buf *out)
{
    size_t room = 5 * TEXT_HEAD + 1 + LONG_MAX_BYTES + erasure->request_id.len +
                  erasure->tenant.len + erasure->user_id.len + erasure->anonymous_id.len +
                  erasure->source.len;
    uint8_t *p = begin(out, id, room);
    if (!p) return;
    p = put_optional(p, erasure->request_id);
    p = put_text(p, erasure->tenant);
    p = put_optional(p, erasure->user_id);
    p = put_optional(p, erasure->anonymous_id);
    p = put_optional_long(p, erasure->requested_at_ms != 0, erasure->requested_at_ms);
    p = put_optional(p, erasure->source);
    end(out, p);
}
