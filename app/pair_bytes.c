/* Groups of pairs as bytes. Strict: bytes that encoding would not have made are refused. */
#include "app/pair_bytes.h"

#include <math.h>
#include <string.h>

enum {
    GROUP_VERSION = 1,
    LENGTH_BYTES = 4,
    BODY_BYTES_MIN = 28, /* without tenant, items and pairs */
    /* of a pair's kind byte */
    KIND_BITS = 0x1f,
    HAS_WEIGHT = 0x20,
    IS_BACK = 0x40,
    HAS_TIME = 0x80,
};

/* ---- writing ---- */

static void text_put(struct buf *out, struct str text)
{
    buf_push_u16(out, (uint16_t)text.len);
    buf_push_str(out, text);
}

static void pair_put(const struct pair_group *group, const struct model_pair *pair, struct buf *out)
{
    bool has_time = pair->time_ms != group->time_ms,
         has_weight = pair->weight < 1 || pair->weight > 1;
    uint32_t bits;
    buf_push_u16(out, pair->subject);
    buf_push_u16(out, pair->other);
    buf_push_byte(out, (uint8_t)(pair->kind | (has_weight ? HAS_WEIGHT : 0) |
                                 (pair->is_back ? IS_BACK : 0) | (has_time ? HAS_TIME : 0)));
    memcpy(&bits, &pair->weight, sizeof bits);
    if (has_weight) buf_push_u32(out, bits);
    if (has_time) buf_push_u64(out, (uint64_t)pair->time_ms);
}

void pair_group_put(const struct pair_group *group, struct buf *out)
{
    size_t at = out->len;
    buf_push_u32(out, 0);
    buf_push_byte(out, GROUP_VERSION);
    buf_push_byte(out, (uint8_t)group->topic);
    buf_push_u32(out, (uint32_t)group->partition);
    buf_push_u64(out, (uint64_t)group->offset);
    buf_push_u64(out, (uint64_t)group->time_ms);
    text_put(out, group->tenant);
    buf_push_u16(out, (uint16_t)group->n_items);
    for (int i = 0; i < group->n_items; i++)
        text_put(out, group->items[i]);
    buf_push_u16(out, (uint16_t)group->n_pairs);
    for (int i = 0; i < group->n_pairs; i++)
        pair_put(group, &group->pairs[i], out);
    if (out->failed) return;
    size_t len = out->len - at - LENGTH_BYTES;
    for (int i = 0; i < LENGTH_BYTES; i++)
        out->data[at + (size_t)i] = (uint8_t)(len >> 8 * i);
}

/* ---- reading ---- */

size_t pair_group_size(struct str bytes)
{
    struct cursor c = {.ptr = (const uint8_t *)bytes.ptr, .left = bytes.len};
    size_t len = cursor_u32(&c);
    return c.failed || len > c.left || len < BODY_BYTES_MIN ? 0 : LENGTH_BYTES + len;
}

static struct str text_get(struct cursor *c)
{
    size_t len = cursor_u16(c);
    const uint8_t *bytes = cursor_bytes(c, len);
    return (struct str){(const char *)bytes, bytes ? len : 0};
}

static const char *pair_get(const struct pair_group *group, struct cursor *c,
                            struct model_pair *pair)
{
    pair->subject = cursor_u16(c);
    pair->other = cursor_u16(c);
    uint8_t kind = cursor_u8(c);
    uint32_t bits = kind & HAS_WEIGHT ? cursor_u32(c) : 0;
    pair->time_ms = kind & HAS_TIME ? (int64_t)cursor_u64(c) : group->time_ms;
    pair->kind = kind & KIND_BITS;
    pair->is_back = (kind & IS_BACK) != 0;
    pair->weight = 1;
    if (kind & HAS_WEIGHT) memcpy(&pair->weight, &bits, sizeof bits);
    if (c->failed) return "it ends within a pair";
    if (pair->subject >= group->n_items || pair->other >= group->n_items)
        return "a pair names an item that is not there";
    if (pair->kind >= PAIRS_KINDS) return "a pair is of no known kind";
    bool is_named = group->items[pair->subject].len > 0 || pair->kind == PAIRS_COUNTED;
    if (!is_named || group->items[pair->other].len == 0) return "no item id";
    return isfinite(pair->weight) && pair->weight > 0 ? NULL : "a weight is no number above 0";
}

static const char *body_get(struct cursor *c, struct arena *arena, struct pair_group *group)
{
    if (cursor_u8(c) != GROUP_VERSION) return "version of a group is unknown";
    group->topic = cursor_u8(c);
    group->partition = (int32_t)cursor_u32(c);
    group->offset = (int64_t)cursor_u64(c);
    group->time_ms = (int64_t)cursor_u64(c);
    group->tenant = text_get(c);
    group->n_items = cursor_u16(c);
    if (c->failed || group->n_items > PAIRS_TABLE_MAX) return "too many items";
    group->items = arena_alloc(arena, (size_t)group->n_items * sizeof *group->items + 1);
    for (int i = 0; i < group->n_items; i++) {
        group->items[i] = text_get(c);
        if (group->items[i].len > SCHEMAS_ID_MAX) return "an id is too long";
    }
    group->n_pairs = cursor_u16(c);
    if (c->failed || group->n_pairs > MODEL_PAIRS_MAX) return "too many pairs";
    group->pairs = arena_alloc(arena, (size_t)group->n_pairs * sizeof *group->pairs + 1);
    for (int i = 0; i < group->n_pairs; i++) {
        const char *why = pair_get(group, c, &group->pairs[i]);
        if (why) return why;
    }
    if (group->tenant.len > SCHEMAS_ID_MAX || group->partition < 0 || group->offset < 0)
        return "a tenant or position is out of bounds";
    return c->left > 0 ? "bytes behind a group's pairs" : NULL;
}

bool pair_group_get(struct cursor *from, struct arena *arena, struct pair_group *group,
                    const char **why)
{
    size_t len = cursor_u32(from);
    const uint8_t *bytes = cursor_bytes(from, len);
    struct cursor body = {.ptr = bytes, .left = len};
    *why = bytes ? body_get(&body, arena, group) : "it ends within a group";
    return *why == NULL;
}
