#ifndef SCHEMAS_PROGRAM_H
#define SCHEMAS_PROGRAM_H

#include "schemas/internal.h"

/* A writer's schema compiled against one of our structs: a graph of nodes that decode.c walks along the bytes.
 *
 * A node is one Avro type at one place of the schema, with what to do about it: store into our field (the op is chosen
 * so that the common types need no conversion), or skip. Recursive schemas make cycles, but only among skipped nodes:
 * our structs do not recurse. Immutable once compiled; read by any thread. */

enum op {
    OP_NOTHING,     /* null */
    OP_SKIP_FIXED,  /* `size` bytes: boolean, float, double, fixed */
    OP_SKIP_VARINT, /* int, long */
    OP_SKIP_BYTES,  /* bytes, string */
    OP_SKIP_ENUM,   /* n symbols */
    OP_SKIP_BLOCKS, /* array, map: first edge is the element */
    OP_UNION,       /* n edges */
    OP_RECORD,      /* n edges; base moves by `offset` */
    OP_TEXT,        /* bytes, string to STORE_TEXT */
    OP_LONG, /* int, long to STORE_I64, or STORE_TIME when the schema says that it is milliseconds */
    OP_DOUBLE,  /* double to STORE_DOUBLE */
    OP_FLOAT,   /* float to STORE_FLOAT */
    OP_BOOL,    /* boolean to STORE_BOOL */
    OP_ENUM,    /* n symbols to one of our enums: values[first + symbol] */
    OP_CONVERT, /* any other scalar to any other field, by schemas__store */
    OP_RECORDS, /* array to STORE_RECORDS; first edge is the element, stored into one struct of field->sub */
    OP_REASONS, /* array to STORE_REASONS */
    OP_ATTRIBUTES, /* map to STORE_ATTRIBUTES; first edge is the value, stored into one struct attribute */
    OP_TEXTS,    /* array to STORE_TEXTS; first edge is the element, stored into one struct str */
    OP_ONE_TEXT, /* a scalar to STORE_TEXTS: an array of one; first edge as for OP_TEXTS */
    OP_FLOATS,   /* array to STORE_FLOATS; first edge is the element, stored into one float */
};

enum wire {
    WIRE_NULL,
    WIRE_BOOL,
    WIRE_INT,
    WIRE_LONG,
    WIRE_FLOAT,
    WIRE_DOUBLE,
    WIRE_BYTES,
    WIRE_FIXED,
    WIRE_ENUM,
    WIRE_DECIMAL_BYTES, /* logical type decimal: big-endian two's complement, unscaled */
    WIRE_DECIMAL_FIXED,
    WIRE_NESTED, /* array, map, union, record */
};

struct node {
    uint8_t op;
    uint8_t wire;
    bool is_map;     /* OP_SKIP_BLOCKS: elements have a key in front */
    bool has_flag;   /* a bool at `flag` becomes true with the value */
    uint16_t offset; /* in the struct that base points to */
    uint16_t flag;
    uint32_t n;                       /* edges, or symbols */
    uint32_t first;                   /* index of the first edge, value or symbol */
    uint32_t size;                    /* bytes of a fixed */
    uint32_t least;                   /* fewest bytes that a value takes */
    double scale;                     /* WIRE_INT, WIRE_LONG, WIRE_DECIMAL_*: times this */
    const struct target_field *field; /* NULL: skipped */
};

struct edge {
    uint32_t node;
    const char *name; /* of the writer's field, for errors; NULL when it is no field */
};

struct program {
    struct arena *arena; /* holds all of it */
    struct node *nodes;
    struct edge *edges;
    uint8_t *values;     /* of OP_ENUM */
    struct str *symbols; /* of WIRE_ENUM under OP_CONVERT */
    uint32_t n_nodes, n_edges, n_values, n_symbols;
    uint32_t root;
};

/* ---- schema_text.c ---- */

struct avro_obj_t; /* Avro C's avro_schema_t points to it */
struct json_t;

/* Between them Avro C's memory is ours; end frees all of it, schemas too. */
void schemas__avro_begin(void);
void schemas__avro_end(void);
/* Behind limits on size and nesting. NULL: err is ERR_DATA. Lives until schemas__avro_end. */
struct avro_obj_t *schemas__parse(const char *text, size_t len, const char *what, struct err *err);
/* The JSON of a part, for instance under "items"; NULL when there is none (a name stands there). Borrowed. */
const struct json_t *schemas__json_part(const struct json_t *json, const char *key);
enum wire schemas__wire_of(struct avro_obj_t *schema, const struct json_t *json);
bool schemas__is_decimal(enum wire wire);
/* What a number is times to become ms (is_time) or the value (decimals); 1 without a logical type. */
double schemas__scale_of(const struct json_t *json, enum wire wire, bool *is_time);

#endif
