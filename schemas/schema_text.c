/* What is known about a schema's text: Avro C says what it is made of, jansson what its numbers mean (the logical types,
 * which Avro C throws away). Avro C's errors are one for the process: call only under the lock of schemas.c. */
#include <avro.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "schemas/program.h"

/* ---- Avro C's memory ---- */

/* Avro C forgets memory when it refuses a text. So between begin and end all that it asks for hangs on one list. */
struct block {
    struct block *prev, *next;
};

static struct block blocks; /* the list's head; prev and next are NULL while no one has begun */
static struct avro_allocator_state before;

/* The one function of Avro C's allocators: new_size 0 frees, ptr NULL allocates. */
static void *allocate(void *context, void *ptr, size_t old_size, size_t new_size)
{
    (void)context;
    (void)old_size;
    struct block *old = ptr ? (struct block *)ptr - 1 : NULL;
    if (old) {
        old->prev->next = old->next;
        old->next->prev = old->prev;
    }
    if (new_size == 0) {
        mem_free(old);
        return NULL;
    }
    struct block *block = mem_realloc(old, sizeof *block + new_size);
    block->prev = &blocks;
    block->next = blocks.next;
    block->prev->next = block;
    block->next->prev = block;
    return block + 1;
}

void schemas__avro_begin(void)
{
    blocks.prev = blocks.next = &blocks;
    before = AVRO_CURRENT_ALLOCATOR;
    avro_set_allocator(allocate, NULL);
}

void schemas__avro_end(void)
{
    avro_set_allocator(before.alloc, before.user_data);
    while (blocks.next != &blocks)
        (void)allocate(NULL, blocks.next + 1, 0, 0);
}

/* ---- the text ---- */

/* Brackets inside brackets, outside of strings. */
static int nesting(const char *text, size_t len)
{
    int depth = 0, most = 0;
    bool quoted = false;
    for (size_t i = 0; i < len; i++) {
        char ch = text[i];
        if (quoted && ch == '\\')
            i++;
        else if (ch == '"')
            quoted = !quoted;
        else if (!quoted && (ch == '{' || ch == '['))
            most = ++depth > most ? depth : most;
        else if (!quoted && (ch == '}' || ch == ']'))
            depth--;
    }
    return most;
}

avro_schema_t schemas__parse(const char *text, size_t len, const char *what, struct err *err)
{
    avro_schema_t schema = NULL;
    if (len > SCHEMAS__TEXT_MAX) {
        (void)err_set(err, ERR_DATA, "%s: its text has %zu bytes, the limit is %d", what, len,
                      (int)SCHEMAS__TEXT_MAX);
        return NULL;
    }
    if (nesting(text, len) > SCHEMAS__NESTING_MAX) {
        (void)err_set(err, ERR_DATA, "%s: its text nests deeper than %d", what,
                      (int)SCHEMAS__NESTING_MAX);
        return NULL;
    }
    if (avro_schema_from_json_length(text, len, &schema) == 0) return schema;
    (void)err_set(err, ERR_DATA, "%s: not an Avro schema: %.200s", what, avro_strerror());
    return NULL;
}

bool schemas__same_schema(const char *a, size_t a_len, const char *b, size_t b_len)
{
    struct err err = ERR_INIT;
    schemas__avro_begin();
    avro_schema_t left = schemas__parse(a, a_len, "a", &err);
    avro_schema_t right = left ? schemas__parse(b, b_len, "b", &err) : NULL;
    bool same = right && avro_schema_equal(left, right);
    schemas__avro_end();
    return same;
}

/* ---- logical types ---- */

/* The JSON of a part: {"type": {...}} may nest. NULL when there is none (a name). */
const json_t *schemas__json_part(const json_t *json, const char *key)
{
    return json_is_object(json) ? json_object_get(json, key) : NULL;
}

static bool is_logical(const json_t *json, const char *name)
{
    const char *text = json_string_value(schemas__json_part(json, "logicalType"));
    return text && strcmp(text, name) == 0;
}

bool schemas__is_decimal(enum wire wire)
{
    return wire == WIRE_DECIMAL_BYTES || wire == WIRE_DECIMAL_FIXED;
}

enum wire schemas__wire_of(avro_schema_t schema, const json_t *json)
{
    switch (avro_typeof(schema)) {
    case AVRO_NULL:
        return WIRE_NULL;
    case AVRO_BOOLEAN:
        return WIRE_BOOL;
    case AVRO_INT32:
        return WIRE_INT;
    case AVRO_INT64:
        return WIRE_LONG;
    case AVRO_FLOAT:
        return WIRE_FLOAT;
    case AVRO_DOUBLE:
        return WIRE_DOUBLE;
    case AVRO_STRING:
        return WIRE_BYTES;
    case AVRO_BYTES:
        return is_logical(json, "decimal") ? WIRE_DECIMAL_BYTES : WIRE_BYTES;
    case AVRO_FIXED:
        return is_logical(json, "decimal") ? WIRE_DECIMAL_FIXED : WIRE_FIXED;
    case AVRO_ENUM:
        return WIRE_ENUM;
    default:
        return WIRE_NESTED;
    }
}

/* A logical type that says what a number means: times this makes ms (for times) or the value (for decimals). */
double schemas__scale_of(const json_t *json, enum wire wire, bool *is_time)
{
    *is_time = true;
    if (is_logical(json, "timestamp-millis")) return 1;
    if (is_logical(json, "local-timestamp-millis")) return 1;
    if (is_logical(json, "timestamp-micros")) return 1e-3;
    if (is_logical(json, "local-timestamp-micros")) return 1e-3;
    if (is_logical(json, "timestamp-nanos")) return 1e-6;
    if (is_logical(json, "date")) return 86400000;
    *is_time = false;
    if (schemas__is_decimal(wire))
        return pow(10, -(double)json_integer_value(schemas__json_part(json, "scale")));
    return 1;
}
