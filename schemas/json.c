/* JSON to our structs, through the same field tables as Avro. jansson parses, behind a limit on size and depth; what is
 * kept is copied into the arena, because jansson's tree goes away. Fields that we do not know are ignored. */
#include "schemas/internal.h"

#include <assert.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

static bool store_value(struct decode *d, const struct target_field *field, const json_t *json,
                        char *base);

/* ---- values ---- */

/* Texts are copied: jansson's tree is freed before the struct is used. */
static bool scalar_of(struct decode *d, const json_t *json, struct scalar *value)
{
    *value = (struct scalar){.type = SCALAR_NULL};
    switch (json_typeof(json)) {
    case JSON_STRING:
        value->type = SCALAR_TEXT;
        value->s = (struct str){json_string_value(json), json_string_length(json)};
        if (value->s.len > SCHEMAS_STRING_MAX)
            return schemas__fault(d, "a string over the limit of 4096 bytes");
        value->s = arena_str(d->arena, value->s);
        return true;
    case JSON_INTEGER:
        value->type = SCALAR_INT;
        value->i = json_integer_value(json);
        return true;
    case JSON_REAL:
        value->type = SCALAR_REAL;
        value->d = json_real_value(json);
        return true;
    case JSON_TRUE:
    case JSON_FALSE:
        value->type = SCALAR_BOOL;
        value->i = json_is_true(json);
        return true;
    case JSON_NULL:
        return true;
    default:
        return schemas__fault(d, "a list or an object where a plain value is expected");
    }
}

static bool store_scalar(struct decode *d, const struct target_field *field, const json_t *json,
                         char *base)
{
    struct scalar value;
    return scalar_of(d, json, &value) && schemas__store(d, field, &value, base);
}

static bool store_object(struct decode *d, const struct target *target, const json_t *json,
                         char *base)
{
    uint32_t taken = 0; /* bit f: field f of ours is filled; the first of several aliases counts */
    /* An exact name goes before an alias, whatever their order. */
    for (int exact = 1; exact >= 0; exact--) {
        void *it = json_object_iter((json_t *)json);
        for (; it; it = json_object_iter_next((json_t *)json, it)) {
            const char *key = json_object_iter_key(it);
            const struct target_field *field = schemas__target_find(target, str_of(key));
            if (!field || (strcmp(field->name, key) == 0) != exact) continue;
            uint32_t bit = 1u << (field - target->fields);
            if (taken & bit) continue;
            taken |= bit;
            if (!store_value(d, field, json_object_iter_value(it), base))
                return schemas__fault_in(d, field->name);
        }
    }
    return true;
}

/* An element: an object, or a plain value that stands for the record's field 0. */
static bool store_element(struct decode *d, const struct target *sub, const json_t *json,
                          char *base)
{
    if (json_is_object(json)) return store_object(d, sub, json, base);
    return store_value(d, &sub->fields[0], json, base);
}

/* The count is known before the first element, so the array is made once. */
static bool store_records(struct decode *d, const struct target_field *field, const json_t *json,
                          char *base)
{
    const struct target *sub = field->sub;
    size_t n = json_array_size(json);
    struct grown grown = {0};
    if (!json_is_array(json)) return schemas__fault(d, "not a list");
    if (n > sub->max) return schemas__fault(d, "more elements than the limit");
    if (n) schemas__grow(d, &grown, n, sub->size);
    for (; grown.n < n; grown.n++) {
        char *at = grown.data + grown.n * sub->size;
        memcpy(at, sub->blank, sub->size);
        if (!store_element(d, sub, json_array_get(json, grown.n), at)) return false;
    }
    schemas__store_array(field, &grown, base);
    return true;
}

/* Values of any plain type become texts. */
static bool store_attributes(struct decode *d, const struct target_field *field, const json_t *json,
                             char *base)
{
    static const struct target_field slot = {.name = "value",
                                             .store = STORE_TEXT,
                                             .offset = offsetof(struct attribute, value),
                                             .extra = TARGET_NO_EXTRA};
    struct grown grown = {0};
    if (!json_is_object(json)) return schemas__fault(d, "not an object");
    size_t n = json_object_size(json);
    if (n > SCHEMAS_MAP_MAX) return schemas__fault(d, "more map entries than the limit of 256");
    if (n) schemas__grow(d, &grown, n, sizeof(struct attribute));
    void *it = json_object_iter((json_t *)json);
    for (; it; it = json_object_iter_next((json_t *)json, it)) {
        struct attribute attribute = {{NULL, 0}, {NULL, 0}};
        const json_t *value = json_object_iter_value(it);
        struct str key = str_of(json_object_iter_key(it));
        if (key.len > SCHEMAS_STRING_MAX)
            return schemas__fault(d, "a key over the limit of 4096 bytes");
        /* Nested values have no place here: they are ignored as unknown fields are. */
        if (json_is_object(value) || json_is_array(value)) continue;
        attribute.key = arena_str(d->arena, key);
        if (!store_scalar(d, &slot, value, (char *)&attribute)) return false;
        assert(grown.data);
        memcpy(grown.data + grown.n++ * sizeof attribute, &attribute, sizeof attribute);
    }
    schemas__store_array(field, &grown, base);
    return true;
}

/* A list of texts or of numbers; for texts also a single one. */
static bool store_list(struct decode *d, const struct target_field *field, const json_t *json,
                       char *base)
{
    bool texts = field->store == STORE_TEXTS;
    const struct target_field slot = {
        .name = "element", .extra = TARGET_NO_EXTRA, .store = texts ? STORE_TEXT : STORE_FLOAT};
    size_t size = texts ? sizeof(struct str) : sizeof(float);
    size_t max = texts ? SCHEMAS__CATEGORIES_MAX : SCHEMAS__VECTOR_MAX;
    bool single = texts && !json_is_array(json);
    size_t n = single ? 1 : json_array_size(json);
    struct grown grown = {0};
    if (!single && !json_is_array(json)) return schemas__fault(d, "not a list");
    if (n > max) return schemas__fault(d, "more elements than the limit");
    if (n) schemas__grow(d, &grown, n, size);
    for (; grown.n < n; grown.n++) {
        char *at = grown.data + grown.n * size;
        memset(at, 0, size);
        const json_t *element = single ? json : json_array_get(json, grown.n);
        if (!store_scalar(d, &slot, element, at)) return false;
    }
    schemas__store_array(field, &grown, base);
    return true;
}

static bool store_value(struct decode *d, const struct target_field *field, const json_t *json,
                        char *base)
{
    if (json_is_null(json)) return true;
    switch (field->store) {
    case STORE_RECORDS:
        return store_records(d, field, json, base);
    case STORE_ATTRIBUTES:
        return store_attributes(d, field, json, base);
    case STORE_TEXTS:
    case STORE_FLOATS:
        return store_list(d, field, json, base);
    default:
        return store_scalar(d, field, json, base);
    }
}

/* ---- a whole value ---- */

/* Brackets inside brackets stay within the limit, so that jansson's recursion does too. */
static bool is_shallow(struct str bytes)
{
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < bytes.len; i++) {
        char ch = bytes.ptr[i];
        if (quoted && ch == '\\')
            i++;
        else if (ch == '"')
            quoted = !quoted;
        else if (!quoted && (ch == '{' || ch == '[') && ++depth > SCHEMAS_DEPTH_MAX)
            return false;
        else if (!quoted && (ch == '}' || ch == ']'))
            depth--;
    }
    return true;
}

bool schemas__json_decode(const struct target *target, struct str bytes, struct arena *arena,
                          void *base, struct err *err)
{
    json_error_t error;
    struct decode d = {.arena = arena};
    memcpy(base, target->blank, target->size);
    if (!is_shallow(bytes))
        return err_set(err, ERR_DATA, "%s: JSON nested deeper than %d", target->name,
                       (int)SCHEMAS_DEPTH_MAX);
    json_t *json = json_loadb(bytes.ptr, bytes.len, JSON_REJECT_DUPLICATES, &error);
    if (!json)
        return err_set(err, ERR_DATA, "%s: not JSON at byte %d: %s", target->name, error.position,
                       error.text);
    bool ok = json_is_object(json) || schemas__fault(&d, "a JSON object is expected");
    ok = ok && store_object(&d, target, json, base);
    json_decref(json);
    return ok || schemas__fault_err(&d, target->name, err);
}
