#ifndef SCHEMAS_INTERNAL_H
#define SCHEMAS_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/schemas.h"

/* What the files of schemas/ share. See schemas.h for the folder's page. */

/* Made from schemas/avro/ at build time; NUL ended, the NUL is not in len. */
#define SCHEMAS__FILE(stem)                                                                        \
    extern const char schemas__avsc_##stem[];                                                      \
    extern const size_t schemas__avsc_##stem##_len;
SCHEMAS__FILE(event)
SCHEMAS__FILE(item)
SCHEMAS__FILE(recommendations)
SCHEMAS__FILE(related)
SCHEMAS__FILE(trending)
SCHEMAS__FILE(training_example)
SCHEMAS__FILE(erasure)
#undef SCHEMAS__FILE

enum {
    SCHEMAS__VECTOR_MAX = 4096,     /* floats in an item's vector */
    SCHEMAS__CATEGORIES_MAX = 256,  /* categories of an item */
    SCHEMAS__STEPS_MAX = 1 << 18,   /* values that one message may hold, empty ones counted */
    SCHEMAS__TEXT_MAX = 256 * 1024, /* bytes of a schema's text */
    SCHEMAS__NESTING_MAX = 64,      /* brackets inside brackets, in a schema's text */
    SCHEMAS__NODES_MAX = 8192,      /* parts of a compiled schema */
};

/* ---- targets.c: our structs, described field by field ----
 *
 * One table a struct. The Avro compiler and the JSON reader both find a writer's field in it by name (case, '_' and '-'
 * do not matter) or by alias, and learn from it how to store the value and where. */

enum store {
    STORE_TEXT,         /* struct str */
    STORE_TIME,         /* int64_t, ms since 1970 */
    STORE_I64,          /* int64_t */
    STORE_I32,          /* int32_t */
    STORE_DOUBLE,       /* double; extra: a bool that says it is there */
    STORE_FLOAT,        /* float */
    STORE_BOOL,         /* bool */
    STORE_EVENT_TYPE,   /* enum event_type */
    STORE_REASON_KIND,  /* enum reason_kind; REASON_KIND_COUNT for one that we do not know */
    STORE_RELATED_KIND, /* enum related_kind */
    STORE_RECORD,       /* a struct of `sub`, in place */
    STORE_RECORDS, /* pointer to an array of `sub`; extra: its size_t count. Plain texts fill the sub's field 0 */
    STORE_ELEMENT, /* one element of STORE_RECORDS or STORE_REASONS (inside the compiler only) */
    STORE_REASONS, /* LIST_REASONS_MAX structs of `sub` in place; extra: its int count; more are dropped */
    STORE_ATTRIBUTES, /* pointer to an array of struct attribute; extra: its size_t count */
    STORE_TEXTS, /* pointer to an array of struct str; extra: its size_t count. A plain text makes one */
    STORE_FLOATS, /* pointer to an array of float; extra: its size_t count */
};

/* The stores of our enums: texts and a writer's symbols become one of ours by name. */
static inline bool schemas__is_enum(enum store store)
{
    return store == STORE_EVENT_TYPE || store == STORE_REASON_KIND || store == STORE_RELATED_KIND;
}

enum { TARGET_NO_EXTRA = 0xffff, TARGET_ALIASES_MAX = 6, TARGET_FIELDS_MAX = 24 };

struct target_field {
    const char *name;
    enum store store;
    bool essential;  /* a writer's field of this name that cannot be stored refuses the schema */
    uint16_t offset; /* in the target's struct */
    uint16_t extra;  /* see enum store; TARGET_NO_EXTRA for none */
    const struct target *sub;
    const char *aliases[TARGET_ALIASES_MAX]; /* other systems' names; NULL behind the last */
};

struct target {
    const char *name;
    const struct target_field *fields; /* (n) */
    size_t n;
    size_t size;       /* bytes of the struct */
    const void *blank; /* (size) what stands there before decoding: the defaults */
    size_t max;        /* most of them in an array */
};

/* What an event is decoded into: `one` takes a top-level item_id of foreign schemas. */
struct event_slots {
    struct event event;
    struct event_item one;
};

extern const struct target schemas__target_event; /* struct event_slots */
extern const struct target schemas__target_item;
extern const struct target schemas__target_list;
extern const struct target schemas__target_related;
extern const struct target schemas__target_trending;
extern const struct target schemas__target_example;
extern const struct target schemas__target_erasure;

/* The field that a writer's name means, or NULL. */
const struct target_field *schemas__target_find(const struct target *target, struct str name);
/* Lower case, without '_', '-', '.', ' '. NUL ended. Returns the length, or 0 when it does not fit or
 * holds a NUL. */
size_t schemas__fold_name(struct str name, char *out, size_t cap);

/* ---- convert.c: one value into one field ---- */

/* One decoding under way. A failure leaves `fault` (static text) and the path of the field, innermost first. */
struct decode {
    const uint8_t *at;
    const uint8_t *end;
    struct arena *arena;
    int steps; /* left, of SCHEMAS__STEPS_MAX */
    int depth;
    const char *fault;
    const char *path[SCHEMAS_DEPTH_MAX + 2];
    int n_path;
};

enum scalar_type { SCALAR_NULL, SCALAR_BOOL, SCALAR_INT, SCALAR_REAL, SCALAR_TEXT };

struct scalar {
    enum scalar_type type;
    int64_t i;    /* BOOL, INT */
    double d;     /* REAL */
    struct str s; /* TEXT; lives as long as the message or the arena */
};

/* Sets d->fault; false. Inline, so that the compiler knows the false. */
static inline bool schemas__fault(struct decode *d, const char *text)
{
    if (!d->fault) d->fault = text;
    return false;
}

/* Puts a field's name on the path of a failure; false. */
bool schemas__fault_in(struct decode *d, const char *name);
/* "event: items.price: text": ERR_DATA; false. */
bool schemas__fault_err(const struct decode *d, const char *what, struct err *err);

/* Converts where that loses nothing and stores; SCALAR_NULL leaves the default. false: d->fault is set. */
bool schemas__store(struct decode *d, const struct target_field *field, const struct scalar *value,
                    char *base);
/* Seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by size, to milliseconds. */
bool schemas__time_from_number(double v, int64_t *ms);
/* ISO 8601 (date, or date and time with an optional fraction and zone; no zone is UTC) or digits. */
bool schemas__time_from_text(struct str text, int64_t *ms);
/* A whole decimal number, finite, nothing before or behind it. */
bool schemas__number_from_text(struct str text, double *out);

/* An array in the arena that grows by doubling; element i is at data + i * size. */
struct grown {
    char *data;
    size_t n, cap;
};
/* Room for `more` elements behind n. */
void schemas__grow(struct decode *d, struct grown *grown, size_t more, size_t size);
/* Writes pointer and count where an array field keeps them. */
void schemas__store_array(const struct target_field *field, const struct grown *grown, char *base);

/* ---- compile.c: a writer's schema to a program ---- */

struct program;

/* Text to program. `what` is "schema id 7" for errors. Calls Avro C: only under the lock of schemas.c.
 * Errors: ERR_DATA the text is too large, too deep, no Avro schema, or cannot make the target. */
MUST_USE bool schemas__compile(const char *text, size_t len, const struct target *target,
                               const char *what, struct program **program, struct err *err);
void schemas__program_free(struct program *program);
/* The two texts are the same schema (Avro C; under the lock). */
bool schemas__same_schema(const char *a, size_t a_len, const char *b, size_t b_len);

/* ---- decode.c ---- */

/* Avro binary (without framing) into base (target->size bytes). Errors: ERR_DATA. */
MUST_USE bool schemas__run(const struct program *program, const struct target *target,
                           struct str bytes, struct arena *arena, void *base, struct err *err);

/* ---- json.c ---- */

MUST_USE bool schemas__json_decode(const struct target *target, struct str bytes,
                                   struct arena *arena, void *base, struct err *err);

/* ---- encode.c: Avro binary behind the framing of id ---- */

void schemas__encode_event(int32_t id, const struct event *event, struct buf *out);
void schemas__encode_item(int32_t id, const struct item *item, struct buf *out);
void schemas__encode_list(int32_t id, const struct recommendations *list, struct buf *out);
void schemas__encode_related(int32_t id, const struct related *related, struct buf *out);
void schemas__encode_trending(int32_t id, const struct trending *trending, struct buf *out);
void schemas__encode_example(int32_t id, const struct training_example *example, struct buf *out);
void schemas__encode_erasure(int32_t id, const struct erasure *erasure, struct buf *out);

/* ---- registry.c: HTTP ---- */

struct registry;

struct registry *schemas__registry_new(const char *url, const char *user, int timeout_ms);
void schemas__registry_free(struct registry *registry);
/* GET /schemas/ids/{id}. The text is added to out. Errors: ERR_DATA the registry does not know it, or its answer is no
 * Avro schema; ERR_RETRY it does not answer. Thread: one at a time (the lock of schemas.c). */
MUST_USE bool schemas__registry_get(struct registry *registry, int32_t id, struct buf *out,
                                    struct err *err);
/* POST /subjects/{subject}/versions. Errors: ERR_FATAL exit 4 unreachable, exit 2 refused. */
MUST_USE bool schemas__registry_post(struct registry *registry, const char *subject,
                                     const char *text, int32_t *id, struct err *err);
/* POST /subjects/{subject}: is this very text one of the subject's versions? Errors: as for post. */
MUST_USE bool schemas__registry_find(struct registry *registry, const char *subject,
                                     const char *text, bool *found, int32_t *id, struct err *err);
/* GET /subjects/{subject}/versions/latest: id, and the text in out. found=false: there is no such subject.
 * Errors: as for post. */
MUST_USE bool schemas__registry_latest(struct registry *registry, const char *subject, bool *found,
                                       int32_t *id, struct buf *out, struct err *err);

#endif
