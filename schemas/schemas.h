#ifndef SCHEMAS_SCHEMAS_H
#define SCHEMAS_SCHEMAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

/* schemas/: the records that cross Kafka as plain structs, the files that define them (schemas/avro/), and the codec between
 * the two. Refuses: other formats than Avro and JSON, schema references, ids in headers, keeping anything of a message.
 *
 * Files, in reading order
 *   avro/...avsc    the records; compiled into the program; they evolve BACKWARD
 *   pseudonym.h, pseudonym.c  what stands for a user's id
 *   names.c         hashes and keys of ids, names of event types in other systems
 *   targets.c       our structs as tables: which writer's field means which of ours
 *   convert.c       one value into one field; times and numbers out of texts
 *   program.h       a writer's schema compiled against one of our structs
 *   schema_text.c   a schema's text: Avro C and jansson behind limits
 *   compile.c       text to program: fields by name and alias, what is unknown is skipped
 *   decode.c        walks a program along the bytes of a message
 *   encode.c        our structs to Avro; encode_json.c to JSON; json.c from JSON
 *   schemas.c       open, framing, the table of known schema ids
 *   registry.c      HTTP
 *
 * Invariants
 *   - Nothing that a message says is believed: see the limits below. Bad bytes are ERR_DATA with the field's name, never a
 *     crash, never a read behind their end, never more of the arena than SCHEMAS_ARENA_MAX.
 *   - Avro C never sees a message (version 1.11.1 is not safe on hostile bytes); it parses schema texts, under one lock.
 *   - A program, once published, stays until close: decoding takes no lock and allocates nothing but from the arena.
 *   - A record is condemned only by its own bytes or by the registry's own word that a schema does not exist. A registry that
 *     is silent, broken or refuses our credentials is ERR_RETRY.
 *   - An id is asked for once: what is known stays known in an outage, what failed is not asked again for a moment
 *     (unknown id 10 s, no answer 1 s, unusable schema 10 min).
 *
 * Words: writer's schema = what the message was written with; target = the struct it is read into; framing = byte 0x00 and
 * the 4-byte schema id in front of the Avro bytes; subject = the registry's name for a topic's schema, <topic>-value.
 *
 * A foreign schema works when its fields correspond: names without regard to case and '_', a few aliases (targets.c), types
 * that promote, also numbers as ids and texts as numbers, logical types of time and decimals, one item at the top level
 * instead of a list. A field of an essential name whose type cannot fit refuses the schema; others are skipped, with one
 * warning.
 *
 * Follows: the Avro 1.11 specification (schema resolution); Confluent's wire format. Departs: schemas resolve by our tables,
 * not by a reader's schema in JSON; an unknown enum symbol is `other` whatever default the writer has; an int that is not
 * declared as a time is taken as s, ms, us or ns by its size. */

/* ---- records ---- */

enum event_type {
    EVENT_IMPRESSION,
    EVENT_CLICK,
    EVENT_VIEW,
    EVENT_ADD_TO_CART,
    EVENT_REMOVE_FROM_CART,
    EVENT_PURCHASE,
    EVENT_REFUND,
    EVENT_SEARCH,
    EVENT_LIKE,
    EVENT_DISLIKE,
    EVENT_OTHER,
    EVENT_TYPE_COUNT,
};

struct event_item {
    struct str item_id;
    double quantity;  /* 1 when absent */
    double price;     /* in the event's currency; valid when has_price */
    int32_t position; /* place in a shown list, from 0; -1 when absent */
    bool has_price;
};

struct attribute {
    struct str key;
    struct str value;
};

/* One shop event. Every str borrows from the message or the arena it was decoded into, and lives as long as both.
 * An absent optional text has len 0. */
struct event {
    struct str event_id;
    enum event_type type;
    int64_t time_ms; /* event time; 0 when absent */
    struct str user_id;
    struct str anonymous_id;
    struct str
        former_id; /* the pseudonym of before, while keys change; len 0: none (schemas/pseudonym.h) */
    struct str session_id;
    struct event_item *items; /* (n_items) */
    size_t n_items;
    struct str query;
    struct str order_id;
    double value; /* valid when has_value */
    struct str currency;
    struct str recommendation_id;
    struct str tenant;
    struct attribute *context; /* (n_context) */
    size_t n_context;
    struct attribute *attributes; /* (n_attributes) */
    size_t n_attributes;
    bool has_value;
    bool consent; /* true when absent */
};

/* A catalogue record of freshet.items. */
struct item {
    struct str item_id;
    struct str tenant;
    struct str title;
    struct str *categories; /* (n_categories) */
    size_t n_categories;
    struct str brand;
    double price;               /* valid when has_price */
    int64_t stock;              /* pieces; -1 unknown */
    int64_t available_from_ms;  /* 0 none */
    int64_t available_until_ms; /* 0 none */
    struct attribute *attributes;
    size_t n_attributes;
    const float *vector; /* (n_vector) or NULL */
    size_t n_vector;
    bool has_price;
    bool hidden;
};

enum reason_kind {
    REASON_ENCODER,
    REASON_POPULAR,
    REASON_TRENDING,
    REASON_BECAUSE_VIEWED,
    REASON_BOUGHT_TOGETHER,
    REASON_SIMILAR_SESSIONS,
    REASON_NEW,
    REASON_REPEAT,
    REASON_CONTENT,
    REASON_PINNED,
    REASON_KIND_COUNT,
};

struct reason {
    enum reason_kind kind;
    struct str
        item_id; /* the item that it is because of; of trending the category, len 0 the whole shop; len 0 when none */
};

enum { LIST_REASONS_MAX = 5 };

struct list_item {
    struct str item_id;
    float score; /* of the blend; no unit; descending along the list */
    int n_reasons;
    struct reason reasons[LIST_REASONS_MAX];
};

struct trigger {
    struct str topic;
    int32_t partition;
    int64_t offset;
    struct str event_id;
    int64_t event_time_ms;
};

/* A recommendation list. No wall clock in it: a replay makes the same bytes. */
struct recommendations {
    struct str recommendation_id; /* schemas_recommendation_id of the trigger's position */
    struct str tenant;
    struct str user_id; /* the user id, or the anonymous id */
    struct str scenario;
    const struct list_item *items; /* (n_items), best first */
    size_t n_items;
    struct str model_version;
    struct str variant;
    struct trigger trigger;
};

/* In the order of related.avsc. */
enum related_kind {
    RELATED_BOUGHT_TOGETHER,    /* in one order */
    RELATED_ALSO_BOUGHT,        /* by the same user, in other orders */
    RELATED_ALSO_VIEWED,        /* by the same user, in one session */
    RELATED_VIEWED_THEN_BOUGHT, /* who viewed this item bought that one */
    RELATED_OTHER,
    RELATED_KIND_COUNT,
};

struct counted_item {
    struct str item_id;
    float score;  /* no unit; descending along the list */
    double count; /* of pairs or events, decayed to the record's event_time */
};

/* How counts grow old; in event time, so that a replay counts the same. */
struct decay {
    int64_t half_life_ms; /* 0: counts do not decay */
    int64_t
        window_ms; /* what is older than this before event_time does not count; 0: everything does */
};

/* What goes with an item, of freshet.related-items: one record for each item and kind. */
struct related {
    struct str item_id;
    struct str tenant;
    enum related_kind kind;
    const struct counted_item *items; /* (n_items), best first */
    size_t n_items;
    double count; /* all pairs of the item and kind, listed or not */
    struct decay decay;
    int64_t event_time_ms; /* of the newest event that counts in it */
};

/* What rises in a category, of freshet.trending. */
struct trending {
    struct str tenant;
    struct str category;              /* len 0: the whole shop */
    const struct counted_item *items; /* (n_items), best first */
    size_t n_items;
    double count; /* all events of the category, listed or not */
    struct decay decay;
    int64_t event_time_ms; /* of the newest event that counts in it */
};

struct example_item {
    struct str item_id;
    int32_t position;      /* in the list, from 0 */
    float score;           /* of the blend; no unit */
    bool shown;            /* an impression says that the user saw it */
    const float *features; /* (n_features), in the order of feature_names; NaN not known */
    size_t n_features;
};

/* One thing that the user did with one item after the list; the item may be in the list or not. */
struct outcome {
    enum event_type type;
    struct str item_id;
    int64_t time_ms; /* event time */
    double value;    /* price times quantity; valid when has_value */
    bool has_value;
};

/* What was listed, the features as they were then, and what happened after it; of freshet.training-examples. */
struct training_example {
    struct str example_id; /* a replay makes the same */
    struct str tenant;
    struct str user_id;
    struct str anonymous_id;
    struct str recommendation_id;
    struct str scenario;
    struct str model_version;
    struct str variant;
    struct trigger trigger;          /* of the list */
    int64_t event_time_ms;           /* up to when outcomes are in */
    const struct str *context_names; /* (n_context_names) */
    size_t n_context_names;
    const float *
        context; /* (n_context) features of the user and the moment, in the order of context_names */
    size_t n_context;
    const struct str *feature_names; /* (n_feature_names) */
    size_t n_feature_names;
    const struct example_item *items; /* (n_items) the list, best first */
    size_t n_items;
    const struct outcome *outcomes; /* (n_outcomes), by time */
    size_t n_outcomes;
};

/* A request to forget a user, of freshet.erasures. One of user_id and anonymous_id is there, or it names nobody. */
struct erasure {
    struct str request_id;
    struct str tenant;
    struct str user_id;
    struct str anonymous_id;
    int64_t requested_at_ms; /* 0 when absent */
    struct str source;       /* who asked */
};

/* The moment up to which is forgotten: when it was asked for, or else when the request came (its record's timestamp, -1 unknown); never
 * after that. */
static inline int64_t schemas_erasure_moment(const struct erasure *erasure, int64_t timestamp_ms)
{
    int64_t asked = erasure->requested_at_ms;
    return asked > 0 && (timestamp_ms < 0 || asked < timestamp_ms) ? asked : timestamp_ms;
}

/* What is remembered of an event, for each of its items. */
struct interaction {
    uint64_t item; /* item key */
    int64_t time_ms;
    uint8_t type; /* enum event_type */
};

/* ---- names ---- */

/* XXH3-64 of tenant, 0x00, item id. Thread: any. */
uint64_t schemas_item_key(struct str tenant, struct str item_id);
/* The user's key in the store: tenant, 0x00, 'u' and user id, or 'a' and anonymous id when there is no user id.
 * Written to out (SCHEMAS_USER_KEY_MAX bytes); the str returned points there. len 0: the event names nobody. */
enum { SCHEMAS_ID_MAX = 256, SCHEMAS_USER_KEY_MAX = 2 * SCHEMAS_ID_MAX + 2 };
struct str schemas_user_key(const struct event *event, char *out);
/* The id of a session: the upper half of XXH3-64 of the user key, so that all sessions of a user are found, and the lower half of that of
 * user key and the time of the session's first event (8 bytes, little-endian). */
#define SCHEMAS_SESSION_USER 0xffffffff00000000u /* the bits that are the user's */
uint64_t schemas_session_id(struct str user_key, int64_t first_ms);
/* What stands for a user that was erased: BLAKE2b-128 of the user key. No way leads back to the id but trying ids. */
enum { SCHEMAS_GUARD_BYTES = 16 };
void schemas_guard_key(struct str user_key, char out[SCHEMAS_GUARD_BYTES]);
/* XXH3-64 of any id (event ids for dedupe). 0 is never returned: 0 means "none" in stored tables. */
uint64_t schemas_id_hash(struct str id);
/* 32 hex digits of XXH3-128 of "topic/partition/offset", NUL behind them. */
void schemas_recommendation_id(struct str topic, int32_t partition, int64_t offset, char out[33]);
/* "add_to_cart"; static. */
const char *schemas_event_type_name(enum event_type type);
/* Our names and the aliases of CONVENTIONS 1 (case and '-', ' ', '_' do not matter); false when unknown. */
bool schemas_event_type_parse(struct str name, enum event_type *type);
const char *schemas_reason_name(enum reason_kind kind);
/* "also_bought"; static. */
const char *schemas_related_name(enum related_kind kind);
/* The names above, exactly; false when unknown. */
bool schemas_related_parse(struct str name, enum related_kind *kind);

/* ---- the codec ---- */

enum value_format { FORMAT_AVRO, FORMAT_JSON };

struct schemas_options {
    const char *registry_url;  /* NULL or "": no registry; the ids of the built-in files */
    const char *registry_user; /* "user:password" for basic auth, or NULL */
    bool auto_register;        /* register our output schemas at open */
    int registry_timeout_ms;
    enum value_format events_format;   /* of what comes in; what goes out is always Avro */
    const char *recommendations_topic; /* subject name: <topic>-value */
    /* Where events and items are written, by who writes any (import, simulate, POST /v1/events); subject <topic>-value.
     * NULL (as for lists): with auto_register the subject is the record's full name, freshet.Event; without it the record
     * has no id, and encoding it fails the buf. */
    const char *events_topic;
    const char *items_topic;
    /* Of each of these, NULL: the record is not written here, so with a registry nothing is registered or looked up, it has no id, and
     * encoding it fails the buf. Without a registry it has the built-in id like all others. */
    const char *related_topic;
    const char *trending_topic;
    const char *training_topic;
    const char *erasures_topic;
};

/* The ids of the built-in files: what the framing carries when there is no registry. They never change. */
enum schemas_builtin {
    SCHEMAS_EVENT = 1,
    SCHEMAS_ITEM,
    SCHEMAS_RECOMMENDATIONS,
    SCHEMAS_RELATED,
    SCHEMAS_TRENDING,
    SCHEMAS_TRAINING_EXAMPLE,
    SCHEMAS_ERASURE,
    SCHEMAS_BUILTIN_END,
};

/* Limits of one message; what goes over one is poison. */
enum {
    SCHEMAS_MESSAGE_MAX = 64 * 1024, /* bytes */
    SCHEMAS_STRING_MAX = 4 * 1024, /* bytes of a string that is kept; skipped ones may be longer */
    SCHEMAS_ITEMS_MAX = 1000,
    SCHEMAS_MAP_MAX = 256,
    SCHEMAS_DEPTH_MAX = 16,
    SCHEMAS_ARENA_MAX = 512 * 1024, /* most that decoding one message takes from the arena */
};
/* The text of an ERR_DATA begins with this when the registry does not know the schema id. */
#define SCHEMAS_UNKNOWN_ID "unknown schema id"

struct schemas;

/* Reads the built-in schemas (compiled into the program from schemas/avro/). With a registry: registers what we write
 * (auto_register), or else looks up those whose topic is given: one version of the subject must be ours.
 * Errors: ERR_FATAL: exit 4 registry unreachable; exit 2 subject missing, another schema, refused.
 * Thread: open and close on one thread; encode and decode on any, each thread with its own arena and buf. */
MUST_USE bool schemas_open(struct schemas **schemas, const struct schemas_options *options,
                           struct err *err);
void schemas_close(struct schemas *schemas);

/* One event from the bytes of a message. Strings point into `bytes` where they stand there, else into the arena.
 * Also into the program's symbols, which live as long as `schemas`. The format is events_format, for items too.
 * Errors: ERR_DATA poison, text says which field; ERR_RETRY the registry did not answer for a new schema id.
 * Limits: message 64 KiB, string 4 KiB, 1,000 items, 256 map entries, depth 16; trailing bytes are poison. */
MUST_USE bool schemas_event_decode(struct schemas *schemas, struct str bytes, struct arena *arena,
                                   struct event *event, struct err *err);
/* The same for catalogue records, and for what freshet itself writes and reads again: always Avro. */
MUST_USE bool schemas_item_decode(struct schemas *schemas, struct str bytes, struct arena *arena,
                                  struct item *item, struct err *err);
MUST_USE bool schemas_recommendations_decode(struct schemas *schemas, struct str bytes,
                                             struct arena *arena, struct recommendations *list,
                                             struct err *err);
MUST_USE bool schemas_related_decode(struct schemas *schemas, struct str bytes, struct arena *arena,
                                     struct related *related, struct err *err);
MUST_USE bool schemas_trending_decode(struct schemas *schemas, struct str bytes,
                                      struct arena *arena, struct trending *trending,
                                      struct err *err);
MUST_USE bool schemas_training_example_decode(struct schemas *schemas, struct str bytes,
                                              struct arena *arena, struct training_example *example,
                                              struct err *err);
/* Avro, or JSON when it does not begin with the framing's zero: whoever asks to be forgotten need not know Avro. */
MUST_USE bool schemas_erasure_decode(struct schemas *schemas, struct str bytes, struct arena *arena,
                                     struct erasure *erasure, struct err *err);

/* Appends the framed Avro record. No allocation beyond the buf. out->failed: it does not fit the buf's maximum (which
 * must leave room for the longest form of each number), or there is a registry and no subject for this record (see
 * schemas_options). An event's position below 0, a stock below 0, times of 0 and empty optional texts are null. */
void schemas_event_encode(const struct schemas *schemas, const struct event *event,
                          struct buf *out);
void schemas_item_encode(const struct schemas *schemas, const struct item *item, struct buf *out);
void schemas_recommendations_encode(const struct schemas *schemas,
                                    const struct recommendations *list, struct buf *out);
void schemas_related_encode(const struct schemas *schemas, const struct related *related,
                            struct buf *out);
void schemas_trending_encode(const struct schemas *schemas, const struct trending *trending,
                             struct buf *out);
void schemas_training_example_encode(const struct schemas *schemas,
                                     const struct training_example *example, struct buf *out);
void schemas_erasure_encode(const struct schemas *schemas, const struct erasure *erasure,
                            struct buf *out);
/* One line of JSON, no line end, the same field names as the Avro schema. */
void schemas_event_encode_json(const struct event *event, struct buf *out);
void schemas_item_encode_json(const struct item *item, struct buf *out);
void schemas_recommendations_encode_json(const struct recommendations *list, struct buf *out);
void schemas_related_encode_json(const struct related *related, struct buf *out);
void schemas_trending_encode_json(const struct trending *trending, struct buf *out);
void schemas_training_example_encode_json(const struct training_example *example, struct buf *out);
void schemas_erasure_encode_json(const struct erasure *erasure, struct buf *out);

#endif
