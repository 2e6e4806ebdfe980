/* A writer's schema text to a program (program.h).
 *
 * Avro C parses the text, behind limits of our own; jansson reads it a second time for the logical types, which Avro C
 * throws away. Then one walk over both resolves the writer's fields to ours:
 *   - a field of ours takes the writer's field of the same name, else the first one under an alias;
 *   - what our struct has no place for is skipped; a named type is compiled once for skipping, so that a schema whose
 *     types use each other many times stays small;
 *   - a field that cannot be stored (a record where we want a text) refuses the schema when it is essential, else it is
 *     skipped with a warning in the log, once for each schema.
 */
#include "schemas/program.h"

#include <avro.h>
#include <jansson.h>
#include <string.h>

#include "base/log.h"

#define NONE UINT32_MAX

struct compiler {
    struct program *program;
    const char *what;
    struct { /* records compiled for skipping */
        avro_schema_t schema;
        uint32_t node;
    } * seen;
    uint32_t n_seen;
    bool mismatch;  /* something below could not be stored */
    bool too_large; /* over SCHEMAS__NODES_MAX */
    int stored;     /* fields of ours that the schema fills */
    struct err *err;
    bool failed;
};

/* ---- building blocks ---- */

/* At the limit it marks the schema as too large and gives node 0, so that callers need not look at each step. */
static uint32_t new_node(struct compiler *c, enum op op, enum wire wire)
{
    struct program *p = c->program;
    if (p->n_nodes >= SCHEMAS__NODES_MAX) {
        c->too_large = true;
        return 0;
    }
    p->nodes[p->n_nodes] = (struct node){.op = (uint8_t)op, .wire = (uint8_t)wire};
    return p->n_nodes++;
}

/* n edges in a row; the first one's index. */
static uint32_t new_edges(struct compiler *c, size_t n)
{
    struct program *p = c->program;
    if (n > SCHEMAS__NODES_MAX - p->n_edges) {
        c->too_large = true;
        return NONE;
    }
    uint32_t first = p->n_edges;
    memset(p->edges + first, 0, n * sizeof *p->edges);
    p->n_edges += (uint32_t)n;
    return first;
}

/* A name for error messages, cut at 64 bytes: the schema's own memory goes away. */
static const char *keep_name(struct compiler *c, const char *name)
{
    struct str s = str_of(name);
    if (s.len > 64) s.len = 64;
    return arena_str(c->program->arena, s).ptr;
}

/* Saturates. */
static uint32_t add_least(uint32_t a, uint32_t b)
{
    return a + b < a ? UINT32_MAX : a + b;
}

/* A link is how Avro C shows a type's name used again. */
static avro_schema_t unlink_schema(avro_schema_t schema)
{
    return is_avro_link(schema) ? avro_schema_link_target(schema) : schema;
}

/* Bytes on the wire, and the fewest of them: what block counts are held against. */
static void set_size(struct node *node, avro_schema_t schema)
{
    switch (node->wire) {
    case WIRE_NULL:
        break;
    case WIRE_BOOL:
        node->size = node->least = 1;
        break;
    case WIRE_FLOAT:
        node->size = node->least = 4;
        break;
    case WIRE_DOUBLE:
        node->size = node->least = 8;
        break;
    case WIRE_FIXED:
    case WIRE_DECIMAL_FIXED: {
        int64_t size = avro_schema_fixed_size(schema);
        node->size = size < 0 || size > INT32_MAX ? INT32_MAX : (uint32_t)size;
        node->least = node->size;
        break;
    }
    default:
        node->least = 1;
    }
}

/* ---- skipping ---- */

/* Any type, without storing anything. */
static uint32_t compile_skip(struct compiler *c, avro_schema_t schema);

/* Published in `seen` before its fields are walked: that is what makes recursion a cycle of nodes and not of calls.
 * While it is walked its `least` is 0, which only makes the check of block counts weaker. */
static uint32_t skip_record(struct compiler *c, avro_schema_t schema)
{
    for (uint32_t i = 0; i < c->n_seen; i++)
        if (c->seen[i].schema == schema) return c->seen[i].node;
    uint32_t at = new_node(c, OP_RECORD, WIRE_NESTED);
    size_t n = avro_schema_record_size(schema);
    uint32_t first = new_edges(c, n);
    if (c->too_large) return 0;
    c->seen[c->n_seen].schema = schema;
    c->seen[c->n_seen++].node = at;
    uint32_t least = 0;
    for (size_t i = 0; i < n && !c->too_large; i++) {
        avro_schema_t child = avro_schema_record_field_get_by_index(schema, (int)i);
        uint32_t to = compile_skip(c, child);
        const char *name = avro_schema_record_field_name(schema, (int)i);
        c->program->edges[first + i] = (struct edge){to, keep_name(c, name)};
        least = add_least(least, c->program->nodes[to].least);
    }
    struct node *node = &c->program->nodes[at];
    node->n = (uint32_t)n;
    node->first = first;
    node->least = least;
    return at;
}

/* Counts as one byte, the branch: a branch may be null. */
static uint32_t skip_union(struct compiler *c, avro_schema_t schema)
{
    uint32_t at = new_node(c, OP_UNION, WIRE_NESTED);
    size_t n = avro_schema_union_size(schema);
    uint32_t first = new_edges(c, n);
    for (size_t i = 0; i < n && !c->too_large; i++)
        c->program->edges[first + i].node =
            compile_skip(c, avro_schema_union_branch(schema, (int)i));
    struct node *node = &c->program->nodes[at];
    node->n = (uint32_t)n;
    node->first = first;
    node->least = 1;
    return at;
}

/* Arrays and maps: at least the 0 that ends them. */
static uint32_t skip_blocks(struct compiler *c, avro_schema_t element, bool is_map)
{
    uint32_t at = new_node(c, OP_SKIP_BLOCKS, WIRE_NESTED);
    uint32_t first = new_edges(c, 1);
    if (c->too_large) return 0;
    c->program->edges[first].node = compile_skip(c, element);
    struct node *node = &c->program->nodes[at];
    node->n = 1;
    node->first = first;
    node->is_map = is_map;
    node->least = 1;
    return at;
}

static uint32_t skip_scalar(struct compiler *c, avro_schema_t schema)
{
    static const uint8_t ops[] = {
        [WIRE_NULL] = OP_NOTHING,     [WIRE_BOOL] = OP_SKIP_FIXED,  [WIRE_INT] = OP_SKIP_VARINT,
        [WIRE_LONG] = OP_SKIP_VARINT, [WIRE_FLOAT] = OP_SKIP_FIXED, [WIRE_DOUBLE] = OP_SKIP_FIXED,
        [WIRE_BYTES] = OP_SKIP_BYTES, [WIRE_FIXED] = OP_SKIP_FIXED, [WIRE_ENUM] = OP_SKIP_ENUM,
    };
    enum wire wire = schemas__wire_of(schema, NULL);
    uint32_t at = new_node(c, ops[wire], wire);
    struct node *node = &c->program->nodes[at];
    set_size(node, schema);
    if (wire == WIRE_ENUM) node->n = (uint32_t)avro_schema_enum_number_of_symbols(schema);
    return at;
}

static uint32_t compile_skip(struct compiler *c, avro_schema_t schema)
{
    if (c->too_large) return 0;
    schema = unlink_schema(schema);
    switch (avro_typeof(schema)) {
    case AVRO_RECORD:
        return skip_record(c, schema);
    case AVRO_UNION:
        return skip_union(c, schema);
    case AVRO_ARRAY:
        return skip_blocks(c, avro_schema_array_items(schema), false);
    case AVRO_MAP:
        return skip_blocks(c, avro_schema_map_values(schema), true);
    default:
        return skip_scalar(c, schema);
    }
}

/* ---- storing scalars ---- */

/* Symbols become values of our enum here, once, so that decoding is one look into a table. */
static uint32_t store_enum(struct compiler *c, avro_schema_t schema, uint32_t at)
{
    struct program *p = c->program;
    struct node *node = &p->nodes[at];
    int n = avro_schema_enum_number_of_symbols(schema);
    bool to_name = schemas__is_enum(node->field->store);
    if ((uint32_t)n > SCHEMAS__NODES_MAX - (to_name ? p->n_values : p->n_symbols)) {
        c->too_large = true;
        return 0;
    }
    node->n = (uint32_t)n;
    node->op = to_name ? OP_ENUM : OP_CONVERT;
    node->first = to_name ? p->n_values : p->n_symbols;
    for (int i = 0; i < n; i++) {
        struct str symbol = str_of(keep_name(c, avro_schema_enum_get(schema, i)));
        struct scalar value = {.type = SCALAR_TEXT, .s = symbol};
        struct target_field slot = {.store = node->field->store, .extra = TARGET_NO_EXTRA};
        struct decode d = {0};
        int stored = 0; /* all our enums have its size */
        if (!to_name) p->symbols[p->n_symbols++] = symbol;
        if (to_name && schemas__store(&d, &slot, &value, (char *)&stored))
            p->values[p->n_values++] = (uint8_t)stored;
    }
    return at;
}

/* The op that needs no conversion, or OP_CONVERT. */
static enum op direct_op(enum wire wire, enum store store, bool exact_time)
{
    bool whole = wire == WIRE_INT || wire == WIRE_LONG;
    if (store == STORE_TEXT && wire == WIRE_BYTES) return OP_TEXT;
    if (store == STORE_I64 && whole) return OP_LONG;
    if (store == STORE_TIME && whole && exact_time) return OP_LONG;
    if (store == STORE_DOUBLE && wire == WIRE_DOUBLE) return OP_DOUBLE;
    if (store == STORE_FLOAT && wire == WIRE_FLOAT) return OP_FLOAT;
    if (store == STORE_BOOL && wire == WIRE_BOOL) return OP_BOOL;
    return OP_CONVERT;
}

/* What schemas__store can convert. A no here refuses or skips the field for all messages of the schema. */
static bool can_store(enum wire wire, enum store store)
{
    bool number = wire == WIRE_INT || wire == WIRE_LONG || wire == WIRE_FLOAT ||
                  wire == WIRE_DOUBLE || schemas__is_decimal(wire);
    bool text = wire == WIRE_BYTES || wire == WIRE_ENUM;
    switch (store) {
    case STORE_TEXT:
        return number || text || wire == WIRE_BOOL || wire == WIRE_FIXED;
    case STORE_TIME:
    case STORE_I64:
    case STORE_I32:
    case STORE_DOUBLE:
    case STORE_FLOAT:
        return number || wire == WIRE_BYTES;
    case STORE_BOOL:
        return text || wire == WIRE_BOOL || wire == WIRE_INT || wire == WIRE_LONG;
    case STORE_EVENT_TYPE:
    case STORE_REASON_KIND:
    case STORE_RELATED_KIND:
        return text;
    default:
        return false;
    }
}

/* The field cannot be stored; its bytes still have to be walked over. */
static uint32_t mismatch(struct compiler *c, avro_schema_t schema)
{
    c->mismatch = true;
    return compile_skip(c, schema);
}

static uint32_t store_scalar(struct compiler *c, avro_schema_t schema, const json_t *json,
                             const struct target_field *field)
{
    enum wire wire = schemas__wire_of(schema, json);
    if (wire == WIRE_NULL) return new_node(c, OP_NOTHING, wire);
    if (!can_store(wire, field->store)) return mismatch(c, schema);
    bool is_time;
    double scale = schemas__scale_of(json, wire, &is_time);
    uint32_t at =
        new_node(c, direct_op(wire, field->store, is_time && scale >= 1 && scale <= 1), wire);
    if (c->too_large) return 0;
    struct node *node = &c->program->nodes[at];
    set_size(node, schema);
    node->field = field;
    node->offset = field->offset;
    node->has_flag = field->store == STORE_DOUBLE && field->extra != TARGET_NO_EXTRA;
    node->flag = field->extra;
    if (is_time ? field->store == STORE_TIME : schemas__is_decimal(wire)) node->scale = scale;
    return wire == WIRE_ENUM ? store_enum(c, schema, at) : at;
}

/* ---- storing what is made of parts ---- */

/* Any type into one field of ours: the heart of the walk. json is the part of the text that belongs to the schema, or NULL
 * where only a name stands; without it a logical type is not seen. */
static uint32_t compile_into(struct compiler *c, avro_schema_t schema, const json_t *json,
                             const struct target_field *field);

/* Every branch is compiled for the same field; those that cannot be stored are skipped when they come. */
static uint32_t store_union(struct compiler *c, avro_schema_t schema, const json_t *json,
                            const struct target_field *field)
{
    bool before = c->mismatch, any = false;
    uint32_t at = new_node(c, OP_UNION, WIRE_NESTED);
    size_t n = avro_schema_union_size(schema);
    uint32_t first = new_edges(c, n);
    for (size_t i = 0; i < n && !c->too_large; i++) {
        c->mismatch = false;
        avro_schema_t branch = avro_schema_union_branch(schema, (int)i);
        uint32_t to = compile_into(c, branch, json_array_get(json, i), field);
        c->program->edges[first + i].node = to;
        any |= !c->mismatch && avro_typeof(branch) != AVRO_NULL;
    }
    struct node *node = &c->program->nodes[at];
    node->n = (uint32_t)n;
    node->first = first;
    node->least = 1;
    /* One branch that fits is enough: values of the others are skipped. */
    c->mismatch = before || !any;
    return at;
}

/* An array or map whose elements are stored by `element` into one struct at a time. */
static uint32_t store_blocks(struct compiler *c, enum op op, avro_schema_t child,
                             const json_t *json, const struct target_field *element,
                             const struct target_field *field)
{
    uint32_t at = new_node(c, op, WIRE_NESTED);
    uint32_t first = new_edges(c, 1);
    if (c->too_large) return 0;
    c->program->edges[first].node = compile_into(c, child, json, element);
    struct node *node = &c->program->nodes[at];
    node->n = 1;
    node->first = first;
    node->least = 1;
    node->offset = field->offset;
    node->field = field;
    return at;
}

/* Elements of arrays and maps, as fields at the place where decode.c puts one. */
static const struct target_field element_text = {
    .name = "element", .store = STORE_TEXT, .extra = TARGET_NO_EXTRA};
static const struct target_field element_float = {
    .name = "element", .store = STORE_FLOAT, .extra = TARGET_NO_EXTRA};
static const struct target_field element_value = {.name = "value",
                                                  .store = STORE_TEXT,
                                                  .offset = offsetof(struct attribute, value),
                                                  .extra = TARGET_NO_EXTRA};

static uint32_t store_record(struct compiler *c, avro_schema_t schema, const json_t *json,
                             const struct target *target, size_t offset);

/* A list of records; elements that are plain values stand for the record's field 0. */
static uint32_t store_records(struct compiler *c, enum op op, avro_schema_t schema,
                              const json_t *json, const struct target_field *field)
{
    const struct target_field element = {
        .name = "element", .store = STORE_ELEMENT, .sub = field->sub, .extra = TARGET_NO_EXTRA};
    return store_blocks(c, op, avro_schema_array_items(schema), schemas__json_part(json, "items"),
                        &element, field);
}

/* A list of texts, or a single one. */
static uint32_t store_texts(struct compiler *c, avro_schema_t schema, const json_t *json,
                            const struct target_field *field)
{
    if (avro_typeof(schema) == AVRO_ARRAY)
        return store_blocks(c, OP_TEXTS, avro_schema_array_items(schema),
                            schemas__json_part(json, "items"), &element_text, field);
    if (schemas__wire_of(schema, json) == WIRE_NULL) return new_node(c, OP_NOTHING, WIRE_NULL);
    if (!can_store(schemas__wire_of(schema, json), STORE_TEXT)) return mismatch(c, schema);
    return store_blocks(c, OP_ONE_TEXT, schema, json, &element_text, field);
}

static uint32_t compile_into(struct compiler *c, avro_schema_t schema, const json_t *json,
                             const struct target_field *field)
{
    if (c->too_large) return 0;
    if (is_avro_link(schema)) json = NULL;
    schema = unlink_schema(schema);
    avro_type_t type = avro_typeof(schema);
    /* {"type": {"type": "long", "logicalType": ...}} is allowed: look at the inner one. */
    if (json_is_object(schemas__json_part(json, "type"))) json = schemas__json_part(json, "type");
    if (type == AVRO_UNION) return store_union(c, schema, json, field);
    if (type == AVRO_NULL) return new_node(c, OP_NOTHING, WIRE_NULL);
    switch (field->store) {
    case STORE_RECORD:
        if (type != AVRO_RECORD) return mismatch(c, schema);
        return store_record(c, schema, json, field->sub, field->offset);
    case STORE_ELEMENT:
        if (type == AVRO_RECORD) return store_record(c, schema, json, field->sub, 0);
        return compile_into(c, schema, json, &field->sub->fields[0]);
    case STORE_RECORDS:
    case STORE_REASONS:
        if (type != AVRO_ARRAY) return mismatch(c, schema);
        return store_records(c, field->store == STORE_RECORDS ? OP_RECORDS : OP_REASONS, schema,
                             json, field);
    case STORE_ATTRIBUTES:
        if (type != AVRO_MAP) return mismatch(c, schema);
        return store_blocks(c, OP_ATTRIBUTES, avro_schema_map_values(schema),
                            schemas__json_part(json, "values"), &element_value, field);
    case STORE_TEXTS:
        return store_texts(c, schema, json, field);
    case STORE_FLOATS:
        if (type != AVRO_ARRAY) return mismatch(c, schema);
        return store_blocks(c, OP_FLOATS, avro_schema_array_items(schema),
                            schemas__json_part(json, "items"), &element_float, field);
    default:
        return store_scalar(c, schema, json, field);
    }
}

/* ---- records ---- */

static struct str field_name(avro_schema_t record, size_t i)
{
    return str_of(avro_schema_record_field_name(record, (int)i));
}

/* Which of the writer's fields fills each of ours: an exact name goes before an alias, an earlier field before a later.
 * taken[f]: index of the writer's field, or NONE. */
static void resolve(avro_schema_t record, const struct target *target, uint32_t *taken)
{
    size_t n = avro_schema_record_size(record);
    memset(taken, 0xff, target->n * sizeof *taken);
    for (size_t i = 0; i < n; i++) {
        const struct target_field *field = schemas__target_find(target, field_name(record, i));
        if (!field) continue;
        size_t f = (size_t)(field - target->fields);
        struct str ours = str_of(field->name);
        bool exact = str_equal(field_name(record, i), ours);
        if (taken[f] == NONE || (exact && !str_equal(field_name(record, taken[f]), ours)))
            taken[f] = (uint32_t)i;
    }
}

/* The field of ours that the writer's field i fills, or NULL. */
static const struct target_field *filled_by(const struct target *target, const uint32_t *taken,
                                            size_t i)
{
    for (size_t f = 0; f < target->n; f++)
        if (taken[f] == i) return &target->fields[f];
    return NULL;
}

/* One field of a record, with the refusal or the warning when it does not fit. */
static uint32_t compile_field(struct compiler *c, avro_schema_t schema, const json_t *json,
                              const struct target_field *field, const char *name)
{
    bool before = c->mismatch;
    c->mismatch = false;
    uint32_t to = compile_into(c, schema, json, field);
    if (!c->mismatch) c->stored++;
    if (c->mismatch && field->essential && !c->failed)
        c->failed = !err_set(c->err, ERR_DATA,
                             "%s: its field %s has a type that cannot be our %s; write the events "
                             "with another type or name",
                             c->what, name, field->name);
    else if (c->mismatch)
        log_warn("schemas", "a field's type does not fit ours, it is skipped",
                 "schema=\"%s\" field=%s", c->what, name);
    c->mismatch = before;
    return to;
}

/* The writer's fields in the writer's order, as the bytes come; each stored or skipped. */
static uint32_t store_record(struct compiler *c, avro_schema_t schema, const json_t *json,
                             const struct target *target, size_t offset)
{
    uint32_t at = new_node(c, OP_RECORD, WIRE_NESTED);
    size_t n = avro_schema_record_size(schema);
    uint32_t first = new_edges(c, n);
    uint32_t least = 0;
    uint32_t taken[TARGET_FIELDS_MAX];
    resolve(schema, target, taken);
    for (size_t i = 0; i < n && !c->too_large; i++) {
        const struct target_field *field = filled_by(target, taken, i);
        avro_schema_t child = avro_schema_record_field_get_by_index(schema, (int)i);
        const json_t *part =
            schemas__json_part(json_array_get(schemas__json_part(json, "fields"), i), "type");
        const char *name = avro_schema_record_field_name(schema, (int)i);
        /* A name's definition stands elsewhere, but a primitive's attributes may stand in the field itself. */
        if (json_is_string(part)) part = json_array_get(schemas__json_part(json, "fields"), i);
        uint32_t to = field ? compile_field(c, child, part, field, name) : compile_skip(c, child);
        c->program->edges[first + i] = (struct edge){to, keep_name(c, name)};
        least = add_least(least, c->program->nodes[to].least);
    }
    struct node *node = &c->program->nodes[at];
    node->n = (uint32_t)n;
    node->first = first;
    node->offset = (uint16_t)offset;
    node->least = least;
    return at;
}

/* ---- the whole program ---- */

/* The tables are as large as they may get and lie in scratch until tidy; names lie in the program's own arena. */
static struct program *new_program(struct arena *scratch)
{
    struct arena *arena = arena_new(16 * 1024, 4 * 1024 * 1024);
    struct program *p = arena_alloc(arena, sizeof *p);
    *p = (struct program){.arena = arena};
    p->nodes = arena_alloc(scratch, SCHEMAS__NODES_MAX * sizeof *p->nodes);
    p->edges = arena_alloc(scratch, SCHEMAS__NODES_MAX * sizeof *p->edges);
    p->values = arena_alloc(scratch, SCHEMAS__NODES_MAX);
    p->symbols = arena_alloc(scratch, SCHEMAS__NODES_MAX * sizeof *p->symbols);
    return p;
}

/* Out of scratch into the program's own arena, at its true size. */
static void *keep(struct program *p, const void *table, size_t bytes)
{
    void *copy = arena_alloc(p->arena, bytes ? bytes : 1);
    memcpy(copy, table, bytes);
    return copy;
}

static void tidy(struct program *p)
{
    p->nodes = keep(p, p->nodes, p->n_nodes * sizeof *p->nodes);
    p->edges = keep(p, p->edges, p->n_edges * sizeof *p->edges);
    p->values = keep(p, p->values, p->n_values);
    p->symbols = keep(p, p->symbols, p->n_symbols * sizeof *p->symbols);
}

/* What the walk found, as an error; false when there is none. */
static bool is_refused(struct compiler *c, const struct target *target)
{
    if (c->too_large)
        return !err_set(c->err, ERR_DATA, "%s: it has more than %d parts", c->what,
                        (int)SCHEMAS__NODES_MAX);
    if (c->failed) return true;
    if (!c->mismatch && c->stored > 0) return false;
    return !err_set(c->err, ERR_DATA, "%s: it is not a record with the fields of %s %s", c->what,
                    target->name[0] == 'e' || target->name[0] == 'i' ? "an" : "a", target->name);
}

static struct program *compile(avro_schema_t schema, const json_t *json,
                               const struct target *target, const char *what, struct err *err)
{
    struct arena *scratch = arena_new(64 * 1024, 4 * 1024 * 1024);
    struct compiler c = {.program = new_program(scratch), .what = what, .err = err};
    c.seen = arena_alloc(scratch, SCHEMAS__NODES_MAX * sizeof *c.seen);
    const struct target_field root = {
        .name = "value", .store = STORE_RECORD, .sub = target, .extra = TARGET_NO_EXTRA};
    c.program->root = compile_into(&c, schema, json, &root);
    bool ok = !is_refused(&c, target);
    if (ok) tidy(c.program);
    arena_free(scratch);
    if (ok) return c.program;
    schemas__program_free(c.program);
    return NULL;
}

bool schemas__compile(const char *text, size_t len, const struct target *target, const char *what,
                      struct program **program, struct err *err)
{
    schemas__avro_begin();
    avro_schema_t schema = schemas__parse(text, len, what, err);
    if (schema) {
        json_t *json = json_loadb(text, len, JSON_DECODE_ANY, NULL);
        *program = compile(schema, json, target, what, err);
        json_decref(json);
    }
    schemas__avro_end();
    return schema && *program;
}

void schemas__program_free(struct program *program)
{
    if (program) arena_free(program->arena);
}
