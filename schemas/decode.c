/* Walks a program along the bytes of a message. Zero-copy: texts point into the message; arrays lie in the arena.
 *
 * Nothing that the bytes say is believed: every length is held against what is left, every count against what is left
 * over the fewest bytes of an element and against the field's maximum, every enum and branch against its range; depth
 * and the number of values are bounded; bytes that are left over at the end are a fault. */
#include "schemas/program.h"

#include <math.h>
#include <string.h>

#define PUT(base, offset, value) memcpy((base) + (offset), &(value), sizeof(value))

/* ---- bytes ---- */

static bool ended(struct decode *d)
{
    return schemas__fault(d, "the message ends in the middle of a value");
}

static inline size_t left(const struct decode *d)
{
    return (size_t)(d->end - d->at);
}

/* Ten bytes carry 70 bits: the tenth may only hold the 64th. */
static bool take_long_slow(struct decode *d, int64_t *v)
{
    uint64_t bits = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (d->at == d->end) return ended(d);
        uint8_t byte = *d->at++;
        if (shift == 63 && byte > 1) break;
        bits |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) {
            *v = (int64_t)(bits >> 1) ^ -(int64_t)(bits & 1);
            return true;
        }
    }
    return schemas__fault(d, "a number of more than 64 bits");
}

/* Zigzag, 7 bits a byte, lowest first. */
static inline bool take_long(struct decode *d, int64_t *v)
{
    if (d->at < d->end && *d->at < 128) {
        uint8_t byte = *d->at++;
        *v = (byte >> 1) ^ -(byte & 1);
        return true;
    }
    return take_long_slow(d, v);
}

/* An int is a long on the wire, but for its range. */
static bool take_int(struct decode *d, int64_t *v)
{
    if (!take_long(d, v)) return false;
    return (*v >= INT32_MIN && *v <= INT32_MAX) || schemas__fault(d, "an int of more than 32 bits");
}

/* Borrowed from the message. */
static inline bool take_bytes(struct decode *d, size_t n, const uint8_t **bytes)
{
    if (n > left(d)) return ended(d);
    *bytes = d->at;
    d->at += n;
    return true;
}

/* Length and bytes: string and bytes look alike. */
static inline bool take_text(struct decode *d, struct str *s)
{
    int64_t n;
    const uint8_t *bytes;
    if (!take_long(d, &n)) return false;
    if (n < 0) return schemas__fault(d, "a negative length");
    if ((uint64_t)n > left(d)) return schemas__fault(d, "a length over the end of the message");
    if (!take_bytes(d, (size_t)n, &bytes)) return false;
    *s = (struct str){(const char *)bytes, (size_t)n};
    return true;
}

/* 0 .. n-1: an enum's symbol or a union's branch. */
static inline bool take_index(struct decode *d, uint32_t n, uint32_t *index, const char *fault)
{
    int64_t v;
    if (!take_long(d, &v)) return false;
    if (v < 0 || v >= (int64_t)n) return schemas__fault(d, fault);
    *index = (uint32_t)v;
    return true;
}

/* Anything but 0 and 1 says that the bytes are not what the schema says. */
static bool take_bool(struct decode *d, bool *v)
{
    const uint8_t *byte;
    if (!take_bytes(d, 1, &byte)) return false;
    *v = *byte == 1;
    return *byte <= 1 || schemas__fault(d, "a boolean that is neither 0 nor 1");
}

/* ---- blocks of arrays and maps ---- */

struct blocks {
    int64_t count;      /* elements left in this block */
    const uint8_t *end; /* of this block; NULL when it does not say its size */
};

/* Goes to the next block. count 0: the end of the array. `least`: fewest bytes of an element. */
static bool next_block(struct decode *d, struct blocks *b, uint32_t least)
{
    if (b->end && b->end != d->at) return schemas__fault(d, "a block of another size than it says");
    b->end = NULL;
    if (!take_long(d, &b->count)) return false;
    if (b->count < 0) {
        int64_t size;
        if (b->count == INT64_MIN) return schemas__fault(d, "a block count out of range");
        b->count = -b->count;
        if (!take_long(d, &size)) return false;
        if (size < 0 || (uint64_t)size > left(d))
            return schemas__fault(d, "a block size over the end of the message");
        b->end = d->at + size;
    }
    /* Elements may take no bytes at all (null): then the fixed limit holds. */
    if ((uint64_t)b->count > (least ? left(d) / least : SCHEMAS_ITEMS_MAX))
        return schemas__fault(d, "a block count over what the message can hold");
    return true;
}

/* ---- nodes ---- */

static bool run(struct decode *d, const struct program *p, const struct node *node, char *base);

static const struct node *element_of(const struct program *p, const struct node *node)
{
    return &p->nodes[p->edges[node->first].node];
}

/* Fewest bytes of a map's entry: its key takes at least one. */
static uint32_t with_key(const struct node *element)
{
    return element->least == UINT32_MAX ? UINT32_MAX : element->least + 1;
}

/* The fields, in the writer's order. On failure the path of names grows from the inside out. */
static bool run_record(struct decode *d, const struct program *p, const struct node *node,
                       char *base)
{
    const struct edge *edge = &p->edges[node->first];
    base += node->offset;
    for (uint32_t i = 0; i < node->n; i++, edge++)
        if (!run(d, p, &p->nodes[edge->node], base)) return schemas__fault_in(d, edge->name);
    return true;
}

/* Walks over elements only where it must: a block that says its size is jumped over. base is passed on but not written to. */
static bool skip_blocks(struct decode *d, const struct program *p, const struct node *node,
                        char *base)
{
    const struct node *element = element_of(p, node);
    struct blocks b = {0};
    for (;;) {
        if (!next_block(d, &b, node->is_map ? with_key(element) : element->least)) return false;
        if (b.count == 0) return true;
        if (b.end) { /* its size is known: nothing in it has to be looked at */
            d->at = b.end;
            continue;
        }
        for (; b.count > 0; b.count--) {
            struct str key;
            if (node->is_map && !take_text(d, &key)) return false;
            if (!run(d, p, element, base)) return false;
        }
    }
}

/* Arrays whose elements are `size` bytes in the arena, made from `blank` (zeros when NULL). */
static bool run_array(struct decode *d, const struct program *p, const struct node *node,
                      char *base, size_t size, const void *blank, size_t max)
{
    const struct node *element = element_of(p, node);
    struct blocks b = {0};
    struct grown grown = {0};
    for (;;) {
        if (!next_block(d, &b, element->least)) return false;
        if (b.count == 0) break;
        if ((uint64_t)b.count > max - grown.n)
            return schemas__fault(d, "more elements than the limit");
        schemas__grow(d, &grown, (size_t)b.count, size);
        for (; b.count > 0; b.count--, grown.n++) {
            char *at = grown.data + grown.n * size;
            if (blank)
                memcpy(at, blank, size);
            else
                memset(at, 0, size);
            if (!run(d, p, element, at)) return false;
        }
    }
    schemas__store_array(node->field, &grown, base);
    return true;
}

/* Keys are texts of ours, values whatever the element converts. */
static bool run_attributes(struct decode *d, const struct program *p, const struct node *node,
                           char *base)
{
    const struct node *element = element_of(p, node);
    struct blocks b = {0};
    struct grown grown = {0};
    for (;;) {
        if (!next_block(d, &b, with_key(element))) return false;
        if (b.count == 0) break;
        if ((uint64_t)b.count > SCHEMAS_MAP_MAX - grown.n)
            return schemas__fault(d, "more map entries than the limit of 256");
        schemas__grow(d, &grown, (size_t)b.count, sizeof(struct attribute));
        for (; b.count > 0; b.count--, grown.n++) {
            struct attribute attribute = {{NULL, 0}, {NULL, 0}};
            if (!take_text(d, &attribute.key)) return false;
            if (attribute.key.len > SCHEMAS_STRING_MAX)
                return schemas__fault(d, "a map key over the limit of 4096 bytes");
            if (!run(d, p, element, (char *)&attribute)) return false;
            memcpy(grown.data + grown.n * sizeof attribute, &attribute, sizeof attribute);
        }
    }
    schemas__store_array(node->field, &grown, base);
    return true;
}

/* The reasons of a list's item: in place, the first LIST_REASONS_MAX of those we know. */
static bool run_reasons(struct decode *d, const struct program *p, const struct node *node,
                        char *base)
{
    const struct node *element = element_of(p, node);
    struct blocks b = {0};
    int n = 0;
    for (;;) {
        if (!next_block(d, &b, element->least)) return false;
        if (b.count == 0) break;
        for (; b.count > 0; b.count--) {
            struct reason reason;
            memcpy(&reason, node->field->sub->blank, sizeof reason);
            if (!run(d, p, element, (char *)&reason)) return false;
            if (n < LIST_REASONS_MAX && reason.kind != REASON_KIND_COUNT) {
                PUT(base, node->offset + (size_t)n * sizeof reason, reason);
                n++;
            }
        }
    }
    PUT(base, node->field->extra, n);
    return true;
}

/* A single text where we keep a list, as one category is. */
static bool run_one_text(struct decode *d, const struct program *p, const struct node *node,
                         char *base)
{
    struct grown grown = {0};
    schemas__grow(d, &grown, 1, sizeof(struct str));
    memset(grown.data, 0, sizeof(struct str));
    if (!run(d, p, element_of(p, node), grown.data)) return false;
    grown.n = 1;
    schemas__store_array(node->field, &grown, base);
    return true;
}

/* ---- scalars that need a conversion ---- */

static bool take_decimal(struct decode *d, const struct node *node, struct scalar *value)
{
    struct str s;
    const uint8_t *bytes;
    if (node->wire == WIRE_DECIMAL_BYTES) {
        if (!take_text(d, &s)) return false;
    } else {
        if (!take_bytes(d, node->size, &bytes)) return false;
        s = (struct str){(const char *)bytes, node->size};
    }
    double v = 0;
    for (size_t i = 0; i < s.len && i < 64; i++)
        v = v * 256 + (i == 0 ? (double)(int8_t)s.ptr[i] : (double)(uint8_t)s.ptr[i]);
    *value = (struct scalar){.type = SCALAR_REAL, .d = v * node->scale};
    return isfinite(value->d) || schemas__fault(d, "a decimal out of range");
}

/* A fixed is a binary id (a UUID): as hex digits. */
static bool take_fixed(struct decode *d, const struct node *node, struct scalar *value)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *bytes = NULL;
    char hex[128];
    if (!take_bytes(d, node->size, &bytes)) return false;
    if (node->size > sizeof hex / 2) return schemas__fault(d, "a fixed over 64 bytes");
    for (size_t i = 0; i < node->size; i++) {
        hex[2 * i] = digits[bytes[i] >> 4];
        hex[2 * i + 1] = digits[bytes[i] & 15];
    }
    value->type = SCALAR_TEXT;
    value->s = arena_str(d->arena, (struct str){hex, 2 * (size_t)node->size});
    return true;
}

/* Reads by the wire's type; what it means is schemas__store's matter. */
static bool take_scalar(struct decode *d, const struct program *p, const struct node *node,
                        struct scalar *value)
{
    const uint8_t *bytes;
    uint32_t index;
    float single;
    *value = (struct scalar){0};
    switch (node->wire) {
    case WIRE_BOOL: {
        bool truth;
        if (!take_bool(d, &truth)) return false;
        value->type = SCALAR_BOOL;
        value->i = truth;
        return true;
    }
    case WIRE_INT:
    case WIRE_LONG:
        value->type = SCALAR_INT;
        return node->wire == WIRE_INT ? take_int(d, &value->i) : take_long(d, &value->i);
    case WIRE_FLOAT:
        if (!take_bytes(d, 4, &bytes)) return false;
        memcpy(&single, bytes, 4);
        value->type = SCALAR_REAL;
        value->d = (double)single;
        return true;
    case WIRE_DOUBLE:
        if (!take_bytes(d, 8, &bytes)) return false;
        memcpy(&value->d, bytes, 8);
        value->type = SCALAR_REAL;
        return true;
    case WIRE_BYTES:
        value->type = SCALAR_TEXT;
        return take_text(d, &value->s);
    case WIRE_ENUM:
        if (!take_index(d, node->n, &index, "an enum symbol that the schema does not have"))
            return false;
        value->type = SCALAR_TEXT;
        value->s = p->symbols[node->first + index];
        return true;
    case WIRE_FIXED:
        return take_fixed(d, node, value);
    default:
        return take_decimal(d, node, value);
    }
}

/* All that is not the common case: other types, logical times, decimals. */
static bool run_convert(struct decode *d, const struct program *p, const struct node *node,
                        char *base)
{
    struct scalar value;
    if (!take_scalar(d, p, node, &value)) return false;
    if (value.type == SCALAR_INT && node->field->store == STORE_TIME && node->scale > 0) {
        /* The schema says the unit: nothing to guess. */
        int64_t ms = node->scale < 1 ? value.i / (int64_t)(1 / node->scale + 0.5) : 0;
        if (node->scale >= 1 && __builtin_mul_overflow(value.i, (int64_t)node->scale, &ms))
            return schemas__fault(d, "a time out of range");
        PUT(base, node->field->offset, ms);
        return true;
    }
    return schemas__store(d, node->field, &value, base);
}

static bool run_enum(struct decode *d, const struct program *p, const struct node *node, char *base)
{
    uint32_t index;
    if (!take_index(d, node->n, &index, "an enum symbol that the schema does not have"))
        return false;
    index = p->values[node->first + index];
    PUT(base, node->offset, index); /* all our enums are as wide as an int */
    return true;
}

static bool run_array_kind(struct decode *d, const struct program *p, const struct node *node,
                           char *base)
{
    switch (node->op) {
    case OP_SKIP_BLOCKS:
        return skip_blocks(d, p, node, base);
    case OP_RECORDS: {
        const struct target *sub = node->field->sub;
        return run_array(d, p, node, base, sub->size, sub->blank, sub->max);
    }
    case OP_REASONS:
        return run_reasons(d, p, node, base);
    case OP_ATTRIBUTES:
        return run_attributes(d, p, node, base);
    case OP_TEXTS:
        return run_array(d, p, node, base, sizeof(struct str), NULL, SCHEMAS__CATEGORIES_MAX);
    default:
        return run_array(d, p, node, base, sizeof(float), NULL, SCHEMAS__VECTOR_MAX);
    }
}

/* What nests: one level of depth. */
static bool run_nested(struct decode *d, const struct program *p, const struct node *node,
                       char *base)
{
    if (++d->depth > SCHEMAS_DEPTH_MAX) return schemas__fault(d, "nested deeper than 16");
    bool ok =
        node->op == OP_RECORD ? run_record(d, p, node, base) : run_array_kind(d, p, node, base);
    d->depth--;
    return ok;
}

/* One value. The cases that events are made of come first and need no call; `steps` bounds the work where values take no
 * bytes. */
static bool run(struct decode *d, const struct program *p, const struct node *node, char *base)
{
    const uint8_t *bytes;
    struct str s;
    int64_t wide;
    uint32_t index;
    bool truth;
    if (--d->steps < 0) return schemas__fault(d, "more values than the limit");
    switch (node->op) {
    case OP_NOTHING:
        return true;
    case OP_SKIP_FIXED:
        return take_bytes(d, node->size, &bytes);
    case OP_SKIP_VARINT:
        return node->wire == WIRE_INT ? take_int(d, &wide) : take_long(d, &wide);
    case OP_SKIP_BYTES:
        return take_text(d, &s);
    case OP_SKIP_ENUM:
        return take_index(d, node->n, &index, "an enum symbol that the schema does not have");
    case OP_UNION:
        if (!take_index(d, node->n, &index, "a union branch that the schema does not have"))
            return false;
        return run(d, p, &p->nodes[p->edges[node->first + index].node], base);
    case OP_TEXT:
        if (!take_text(d, &s)) return false;
        if (s.len > SCHEMAS_STRING_MAX)
            return schemas__fault(d, "a string over the limit of 4096 bytes");
        PUT(base, node->offset, s);
        return true;
    case OP_LONG:
        if (!(node->wire == WIRE_INT ? take_int(d, &wide) : take_long(d, &wide))) return false;
        PUT(base, node->offset, wide);
        return true;
    case OP_DOUBLE:
        if (!take_bytes(d, 8, &bytes)) return false;
        memcpy(base + node->offset, bytes, 8);
        truth = true;
        if (node->has_flag) PUT(base, node->flag, truth);
        return true;
    case OP_FLOAT:
        if (!take_bytes(d, 4, &bytes)) return false;
        memcpy(base + node->offset, bytes, 4);
        return true;
    case OP_BOOL:
        if (!take_bool(d, &truth)) return false;
        PUT(base, node->offset, truth);
        return true;
    case OP_ENUM:
        return run_enum(d, p, node, base);
    case OP_CONVERT:
        return run_convert(d, p, node, base);
    case OP_ONE_TEXT:
        return run_one_text(d, p, node, base);
    default:
        return run_nested(d, p, node, base);
    }
}

/* ---- a whole value ---- */

bool schemas__run(const struct program *program, const struct target *target, struct str bytes,
                  struct arena *arena, void *base, struct err *err)
{
    const uint8_t *at = (const uint8_t *)bytes.ptr;
    struct decode d = {
        .at = at, .end = at + bytes.len, .arena = arena, .steps = SCHEMAS__STEPS_MAX};
    memcpy(base, target->blank, target->size);
    if (!run(&d, program, &program->nodes[program->root], base))
        return schemas__fault_err(&d, target->name, err);
    if (d.at != d.end)
        return err_set(err, ERR_DATA, "%s: %zu bytes are left over behind the value", target->name,
                       left(&d));
    return true;
}
