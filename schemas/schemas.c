/* Opening, framing, and which program decodes which schema id.
 *
 * Programs are published once and never change or go away before close, so that a reader takes no lock: it follows
 * acquire-loaded pointers through an open-addressed table. A schema id that is not there yet is learned under the lock,
 * which also keeps Avro C (its errors are process-wide) and the registry's connection to one thread at a time. */
#include "schemas/schemas.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sync.h"
#include "schemas/internal.h"

enum {
    KNOWN_MAX = 512, /* (schema id, target) pairs */
    SLOTS = 2048,    /* of the table; a power of two, never more than a quarter full */
    REFUSALS = 64,   /* ids that lately did not work */
    FRAMING = 5,
    /* How long a refusal is believed before the registry is asked again. */
    UNKNOWN_MS = 10000,    /* 404: somebody may register it */
    UNREACHABLE_MS = 1000, /* no answer: the caller retries */
    UNUSABLE_MS = 600000,  /* not a schema of ours; its text never changes */
};

struct known {
    int32_t id;
    const struct target *target;
    struct program *program;
};

struct refusal {
    int32_t id;
    const struct target *target; /* NULL: the place is free */
    uint64_t until_us;
    struct err err;
};

struct schemas {
    enum value_format events_format;
    int32_t ids[SCHEMAS_BUILTIN_END]; /* by enum schemas_builtin: what we write; -1: no id */
    struct sync_ptr slots[SLOTS];     /* struct known */
    /* Under the lock. */
    struct mutex lock;
    struct registry *registry; /* NULL: none */
    int n_known;
    int next_refusal;
    struct refusal refusals[REFUSALS];
    struct buf text;
};

/* Avro C's errors are one for the process, so all struct schemas of it share this. */
static struct mutex avro_lock = MUTEX_INIT;

/* ---- the table ---- */

/* Fibonacci hashing: the upper 11 bits of the product, as SLOTS has 2^11 places. */
static size_t slot_of(int32_t id, const struct target *target)
{
    uint64_t mixed = ((uint64_t)(uint32_t)id + (uint64_t)(uintptr_t)target) * 0x9e3779b97f4a7c15u;
    return (size_t)(mixed >> 53);
}

/* The reader's side: no lock. Ends at an empty place, of which there are always some. */
static const struct program *find(const struct schemas *schemas, const struct target *target,
                                  int32_t id)
{
    for (size_t i = slot_of(id, target);; i = (i + 1) % SLOTS) {
        const struct known *known = sync_ptr_get_acquire(&schemas->slots[i]);
        if (!known) return NULL;
        if (known->id == id && known->target == target) return known->program;
    }
}

/* The writer's side, under the lock: the struct is whole before the pointer to it is seen. */
static void publish(struct schemas *schemas, const struct target *target, int32_t id,
                    struct program *program)
{
    struct known *known = mem_alloc(sizeof *known);
    *known = (struct known){id, target, program};
    size_t i = slot_of(id, target);
    while (sync_ptr_get_acquire(&schemas->slots[i]))
        i = (i + 1) % SLOTS;
    sync_ptr_set_release(&schemas->slots[i], known);
    schemas->n_known++;
}

/* ---- learning a schema id (under the lock) ---- */

/* The id failed a moment ago: the same error again, without asking. */
static bool is_refused(struct schemas *schemas, const struct target *target, int32_t id,
                       struct err *err)
{
    uint64_t now = clock_mono_ns() / 1000;
    for (int i = 0; i < REFUSALS; i++) {
        struct refusal *refusal = &schemas->refusals[i];
        if (refusal->target != target || refusal->id != id || refusal->until_us <= now) continue;
        *err = refusal->err;
        return true;
    }
    return false;
}

/* The oldest refusal makes room. */
static void refuse(struct schemas *schemas, const struct target *target, int32_t id,
                   const struct err *err)
{
    bool unknown = strncmp(err->text, SCHEMAS_UNKNOWN_ID, strlen(SCHEMAS_UNKNOWN_ID)) == 0;
    int ms = err->class == ERR_RETRY ? UNREACHABLE_MS : unknown ? UNKNOWN_MS : UNUSABLE_MS;
    uint64_t until_us = clock_mono_ns() / 1000 + (uint64_t)ms * 1000;
    schemas->refusals[schemas->next_refusal] = (struct refusal){id, target, until_us, *err};
    schemas->next_refusal = (schemas->next_refusal + 1) % REFUSALS;
}

/* Fetches and compiles. */
static struct program *fetch(struct schemas *schemas, const struct target *target, int32_t id,
                             struct err *err)
{
    struct program *program = NULL;
    char what[32];
    (void)snprintf(what, sizeof what, "schema id %d", (int)id);
    if (schemas->n_known >= KNOWN_MAX) {
        (void)err_set(err, ERR_DATA, "%s: more than %d schema ids in one process; restart it", what,
                      (int)KNOWN_MAX);
        return NULL;
    }
    buf_reset(&schemas->text);
    if (!schemas__registry_get(schemas->registry, id, &schemas->text, err)) return NULL;
    mutex_lock(&avro_lock);
    bool ok = schemas__compile((const char *)schemas->text.data, schemas->text.len, target, what,
                               &program, err);
    mutex_unlock(&avro_lock);
    if (ok) log_info("schemas", "new schema id", "id=%d as=%s", (int)id, target->name);
    return ok ? program : NULL;
}

/* The slow path, once for each id. Another thread may have learned it while this one waited for the lock. */
static const struct program *learn(struct schemas *schemas, const struct target *target, int32_t id,
                                   struct err *err)
{
    if (!schemas->registry) {
        (void)err_set(err, ERR_DATA,
                      SCHEMAS_UNKNOWN_ID
                      " %d for the %s: without schema.registry.url only the id of the built-in "
                      "file is known; set schema.registry.url to the registry of its producer",
                      (int)id, target->name);
        return NULL;
    }
    mutex_lock(&schemas->lock);
    const struct program *program = find(schemas, target, id);
    if (!program && !is_refused(schemas, target, id, err)) {
        struct program *made = fetch(schemas, target, id, err);
        if (made)
            publish(schemas, target, id, made);
        else
            refuse(schemas, target, id, err);
        program = made;
    }
    mutex_unlock(&schemas->lock);
    return program;
}

/* ---- decoding ---- */

/* Before anything else looks at the bytes. */
static bool check_size(struct str bytes, const char *what, struct err *err)
{
    if (bytes.len == 0) return err_set(err, ERR_DATA, "%s: the value is empty", what);
    if (bytes.len > SCHEMAS_MESSAGE_MAX)
        return err_set(err, ERR_DATA, "%s: %zu bytes, the limit is %d", what, bytes.len,
                       (int)SCHEMAS_MESSAGE_MAX);
    return true;
}

/* Takes the id out of the framing. Each other first byte that producers are known to write gets its own advice. */
static bool unframe(struct str bytes, const char *what, int32_t *id, struct err *err)
{
    const uint8_t *b = (const uint8_t *)bytes.ptr;
    if (b[0] == 1)
        return err_set(err, ERR_DATA,
                       "%s: magic byte 0x01 is the framing with a schema GUID, which is not "
                       "supported; let the producer write the 4-byte schema id (magic byte 0x00)",
                       what);
    if (b[0] == '{')
        return err_set(err, ERR_DATA,
                       "%s: this looks like JSON, expected Avro; set value.format=json", what);
    if (b[0] != 0)
        return err_set(err, ERR_DATA,
                       "%s: magic byte 0x%02x, expected 0x00 and a 4-byte schema id; ids in the "
                       "header __value_schema_id and Avro without framing are not supported",
                       what, b[0]);
    if (bytes.len < FRAMING)
        return err_set(err, ERR_DATA, "%s: %zu bytes, shorter than the framing", what, bytes.len);
    *id = (int32_t)((uint32_t)b[1] << 24 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 8 | b[4]);
    return true;
}

static bool decode_avro(struct schemas *schemas, const struct target *target, struct str bytes,
                        struct arena *arena, void *base, struct err *err)
{
    int32_t id = 0;
    if (!check_size(bytes, target->name, err) || !unframe(bytes, target->name, &id, err))
        return false;
    const struct program *program = find(schemas, target, id);
    if (!program) program = learn(schemas, target, id, err);
    if (!program) return false;
    struct str body = {bytes.ptr + FRAMING, bytes.len - FRAMING};
    return schemas__run(program, target, body, arena, base, err);
}

/* What comes in from outside: Avro, or JSON when the options say so. */
static bool decode_input(struct schemas *schemas, const struct target *target, struct str bytes,
                         struct arena *arena, void *base, struct err *err)
{
    if (schemas->events_format == FORMAT_AVRO)
        return decode_avro(schemas, target, bytes, arena, base, err);
    if (!check_size(bytes, target->name, err)) return false;
    if (bytes.ptr[0] == 0)
        return err_set(err, ERR_DATA,
                       "%s: this looks like Avro, expected JSON; set value.format=avro",
                       target->name);
    return schemas__json_decode(target, bytes, arena, base, err);
}

bool schemas_event_decode(struct schemas *schemas, struct str bytes, struct arena *arena,
                          struct event *event, struct err *err)
{
    struct event_slots slots;
    if (!decode_input(schemas, &schemas__target_event, bytes, arena, &slots, err)) return false;
    *event = slots.event;
    /* A foreign schema with one item at the top level. */
    if (event->n_items == 0 && slots.one.item_id.len > 0) {
        event->items = arena_alloc(arena, sizeof *event->items);
        *event->items = slots.one;
        event->n_items = 1;
    }
    return true;
}

bool schemas_item_decode(struct schemas *schemas, struct str bytes, struct arena *arena,
                         struct item *item, struct err *err)
{
    return decode_input(schemas, &schemas__target_item, bytes, arena, item, err);
}

bool schemas_recommendations_decode(struct schemas *schemas, struct str bytes, struct arena *arena,
                                    struct recommendations *list, struct err *err)
{
    return decode_avro(schemas, &schemas__target_list, bytes, arena, list, err);
}

bool schemas_related_decode(struct schemas *schemas, struct str bytes, struct arena *arena,
                            struct related *related, struct err *err)
{
    return decode_avro(schemas, &schemas__target_related, bytes, arena, related, err);
}

bool schemas_trending_decode(struct schemas *schemas, struct str bytes, struct arena *arena,
                             struct trending *trending, struct err *err)
{
    return decode_avro(schemas, &schemas__target_trending, bytes, arena, trending, err);
}

bool schemas_training_example_decode(struct schemas *schemas, struct str bytes, struct arena *arena,
                                     struct training_example *example, struct err *err)
{
    return decode_avro(schemas, &schemas__target_example, bytes, arena, example, err);
}

bool schemas_erasure_decode(struct schemas *schemas, struct str bytes, struct arena *arena,
                            struct erasure *erasure, struct err *err)
{
    if (bytes.len > 0 && bytes.ptr[0] != 0)
        return check_size(bytes, "erasure", err) &&
               schemas__json_decode(&schemas__target_erasure, bytes, arena, erasure, err);
    return decode_avro(schemas, &schemas__target_erasure, bytes, arena, erasure, err);
}

/* ---- encoding ---- */

/* The id that the record is written with; without one the buf fails. */
static bool id_for(const struct schemas *schemas, enum schemas_builtin record, struct buf *out,
                   int32_t *id)
{
    *id = schemas->ids[record];
    if (*id < 0) out->failed = true;
    return *id >= 0;
}

void schemas_event_encode(const struct schemas *schemas, const struct event *event, struct buf *out)
{
    int32_t id;
    if (id_for(schemas, SCHEMAS_EVENT, out, &id)) schemas__encode_event(id, event, out);
}

void schemas_item_encode(const struct schemas *schemas, const struct item *item, struct buf *out)
{
    int32_t id;
    if (id_for(schemas, SCHEMAS_ITEM, out, &id)) schemas__encode_item(id, item, out);
}

void schemas_recommendations_encode(const struct schemas *schemas,
                                    const struct recommendations *list, struct buf *out)
{
    int32_t id;
    if (id_for(schemas, SCHEMAS_RECOMMENDATIONS, out, &id)) schemas__encode_list(id, list, out);
}

void schemas_related_encode(const struct schemas *schemas, const struct related *related,
                            struct buf *out)
{
    int32_t id;
    if (id_for(schemas, SCHEMAS_RELATED, out, &id)) schemas__encode_related(id, related, out);
}

void schemas_trending_encode(const struct schemas *schemas, const struct trending *trending,
                             struct buf *out)
{
    int32_t id;
    if (id_for(schemas, SCHEMAS_TRENDING, out, &id)) schemas__encode_trending(id, trending, out);
}

void schemas_training_example_encode(const struct schemas *schemas,
                                     const struct training_example *example, struct buf *out)
{
    int32_t id;
    if (id_for(schemas, SCHEMAS_TRAINING_EXAMPLE, out, &id))
        schemas__encode_example(id, example, out);
}

void schemas_erasure_encode(const struct schemas *schemas, const struct erasure *erasure,
                            struct buf *out)
{
    int32_t id;
    if (id_for(schemas, SCHEMAS_ERASURE, out, &id)) schemas__encode_erasure(id, erasure, out);
}

/* ---- open and close ---- */

/* A record that we write: its file, and where a registry keeps it. */
struct builtin {
    const struct target *target;
    const char *text;
    const size_t *len;
    const char *full_name;
    size_t topic; /* offset in struct schemas_options of the topic's name, which may be NULL */
    enum schemas_builtin id;
    bool without_topic; /* auto_register registers it under its full name when no topic is named */
};

#define BUILTIN(id, target, stem, name, topic, without)                                            \
    {                                                                                              \
        &schemas__target_##target, schemas__avsc_##stem, &schemas__avsc_##stem##_len,              \
            "freshet." name, offsetof(struct schemas_options, topic), id, without                  \
    }
static const struct builtin builtins[] = {
    BUILTIN(SCHEMAS_EVENT, event, event, "Event", events_topic, true),
    BUILTIN(SCHEMAS_ITEM, item, item, "Item", items_topic, true),
    BUILTIN(SCHEMAS_RECOMMENDATIONS, list, recommendations, "Recommendations",
            recommendations_topic, true),
    BUILTIN(SCHEMAS_RELATED, related, related, "Related", related_topic, false),
    BUILTIN(SCHEMAS_TRENDING, trending, trending, "Trending", trending_topic, false),
    BUILTIN(SCHEMAS_TRAINING_EXAMPLE, example, training_example, "TrainingExample", training_topic,
            false),
    BUILTIN(SCHEMAS_ERASURE, erasure, erasure, "Erasure", erasures_topic, false),
};
#undef BUILTIN

/* Compiles a built-in file and publishes it under the id that we write with. */
static bool add_builtin(struct schemas *schemas, const struct builtin *b, int32_t id,
                        struct err *err)
{
    struct program *program = NULL;
    mutex_lock(&avro_lock);
    bool ok = schemas__compile(b->text, *b->len, b->target, b->full_name, &program, err);
    mutex_unlock(&avro_lock);
    if (ok) publish(schemas, b->target, id, program);
    return ok;
}

/* The subject has our schema, best as its newest version; its id. */
static bool look_up(struct schemas *schemas, const struct builtin *b, const char *subject,
                    int32_t *id, struct err *err)
{
    bool found;
    buf_reset(&schemas->text);
    if (!schemas__registry_latest(schemas->registry, subject, &found, id, &schemas->text, err))
        return false;
    if (!found)
        return err_fatal(err, ERR_EXIT_USAGE,
                         "schema registry: there is no subject %s; register %s there, or set "
                         "auto.register.schemas=true",
                         subject, b->full_name);
    mutex_lock(&avro_lock);
    bool same =
        schemas__same_schema((const char *)schemas->text.data, schemas->text.len, b->text, *b->len);
    mutex_unlock(&avro_lock);
    if (same) return true;
    /* In a rolling upgrade a newer program's schema is the newest: an older version of the subject will do. */
    if (!schemas__registry_find(schemas->registry, subject, b->text, &found, id, err)) return false;
    if (found) return true;
    return err_fatal(err, ERR_EXIT_USAGE,
                     "schema registry: no version of subject %s is this program's %s; register it, "
                     "or set auto.register.schemas=true",
                     subject, b->full_name);
}

/* Settles the id to write a record with: the built-in one, or what the registry says; -1 for none. */
static bool settle_id(struct schemas *schemas, const struct schemas_options *options,
                      const struct builtin *b, struct err *err)
{
    char subject[300];
    const char *topic;
    int32_t *id = &schemas->ids[b->id];
    *id = (int32_t)b->id;
    if (!schemas->registry) return add_builtin(schemas, b, *id, err);
    *id = -1;
    memcpy(&topic, (const char *)options + b->topic, sizeof topic);
    if (!topic && !(options->auto_register && b->without_topic)) return true;
    (void)snprintf(subject, sizeof subject, "%s%s", topic ? topic : b->full_name,
                   topic ? "-value" : "");
    bool ok = options->auto_register
                  ? schemas__registry_post(schemas->registry, subject, b->text, id, err)
                  : look_up(schemas, b, subject, id, err);
    return ok && add_builtin(schemas, b, *id, err);
}

bool schemas_open(struct schemas **schemas, const struct schemas_options *options, struct err *err)
{
    struct schemas *s = mem_zalloc(sizeof *s);
    s->events_format = options->events_format;
    mutex_init(&s->lock);
    buf_init(&s->text, SCHEMAS__TEXT_MAX);
    if (options->registry_url && options->registry_url[0])
        s->registry = schemas__registry_new(options->registry_url, options->registry_user,
                                            options->registry_timeout_ms);
    for (size_t i = 0; i < sizeof builtins / sizeof *builtins; i++)
        if (!settle_id(s, options, &builtins[i], err)) goto fail;
    *schemas = s;
    return true;
fail:
    schemas_close(s);
    if (err->class != ERR_FATAL)
        return err_fatal(err, ERR_EXIT_INTERNAL, "%s", "a built-in schema does not compile");
    return false;
}

void schemas_close(struct schemas *schemas)
{
    if (!schemas) return;
    for (size_t i = 0; i < SLOTS; i++) {
        struct known *known = sync_ptr_get_acquire(&schemas->slots[i]);
        if (known) schemas__program_free(known->program);
        mem_free(known);
    }
    schemas__registry_free(schemas->registry);
    buf_fini(&schemas->text);
    mutex_fini(&schemas->lock);
    mem_free(schemas);
}
