/* LINK: avro-c */
/* Every pair of schema versions: an event written with each of them is read, and what the version does not say has its
 * default. Avro C writes. (differential_test.c draws such schemas at random; here they are named one by one.) */
#include <avro.h>

#include "schemas/internal.h"
#include "tests/schemas/fixture.h"

#define TIME        "{'type':'long','logicalType':'timestamp-millis'}"
#define TYPES(more) "{'type':'enum','name':'T','symbols':[" more "'view','click']}"
#define ITEMS(more)                                                                                \
    "{'type':'array','items':{'type':'record','name':'I','fields':[{'name':'item_id','type':'"     \
    "string'}" more "]}}"

/* clang-format off */
static const struct version {
    const char *name;
    const char *fields;
    bool has_time, has_items, new_symbol;
} versions[] = {
    {"first",
     "user_id 'string'; event_type " TYPES("") "; event_time " TIME "; items " ITEMS(""),
     true, true, false},
    {"field removed",
     "user_id 'string'; event_type " TYPES("") "; items " ITEMS(""),
     false, true, false},
    {"field added",
     "user_id 'string'; colour 'string'; event_type " TYPES("") "; event_time " TIME "; "
     "items " ITEMS(",{'name':'shelf','type':'int'}"),
     true, true, false},
    {"fields reordered",
     "items " ITEMS("") "; event_time " TIME "; event_type " TYPES("") "; user_id 'string'",
     true, true, false},
    {"fields renamed",
     "customer_id 'string'; eventType " TYPES("") "; timestamp " TIME "; line_items " ITEMS(""),
     true, true, false},
    {"new enum symbol in front",
     "user_id 'string'; event_type " TYPES("'rotate',") "; event_time " TIME "; items " ITEMS(""),
     true, true, true},
    {"enum became a string",
     "user_id 'string'; event_type 'string'; event_time " TIME "; items " ITEMS(""),
     true, true, false},
    {"all optional",
     "user_id ['null','string']; event_type ['null'," TYPES("") "]; event_time ['null'," TIME "]; "
     "items ['null'," ITEMS("") "]",
     true, true, false},
    {"unions reordered",
     "user_id ['string','null']; event_type [" TYPES("") ",'null']; event_time [" TIME ",'null']; "
     "items [" ITEMS("") ",'null']",
     true, true, false},
    {"branch added",
     "user_id ['null','int','string']; event_type ['int'," TYPES("") "]; "
     "event_time ['null','string'," TIME "]; items ['string','null'," ITEMS("") "]",
     true, true, false},
    {"string became bytes",
     "user_id 'bytes'; event_type " TYPES("") "; event_time " TIME "; items " ITEMS(""),
     true, true, false},
    {"no items", "user_id 'string'; event_type " TYPES(""), false, false, false},
};
/* clang-format on */
enum { VERSIONS = sizeof versions / sizeof *versions };

/* The deepest branch that is no null, int or decoy string. */
static avro_value_t enter(avro_value_t value, avro_type_t want)
{
    if (avro_value_get_type(&value) != AVRO_UNION) return value;
    avro_schema_t schema = avro_value_get_schema(&value);
    for (int i = 0; i < (int)avro_schema_union_size(schema); i++) {
        avro_value_t branch = {0};
        if (avro_typeof(avro_schema_union_branch(schema, i)) != want) continue;
        (void)avro_value_set_branch(&value, i, &branch);
        return branch;
    }
    return value;
}

static void set_text(avro_value_t value, const char *text)
{
    value = enter(value, AVRO_STRING);
    if (avro_value_get_type(&value) == AVRO_BYTES)
        (void)avro_value_set_bytes(&value, (void *)(uintptr_t)text, strlen(text));
    else
        (void)avro_value_set_string(&value, text);
}

static void set_type(avro_value_t value, const char *symbol)
{
    value = enter(value, AVRO_ENUM);
    if (avro_value_get_type(&value) == AVRO_STRING)
        (void)avro_value_set_string(&value, symbol);
    else
        (void)avro_value_set_enum(
            &value, avro_schema_enum_get_by_name(avro_value_get_schema(&value), symbol));
}

static void set_items(avro_value_t value)
{
    avro_value_t item = {0}, child = {0};
    value = enter(value, AVRO_ARRAY);
    (void)avro_value_append(&value, &item, NULL);
    (void)avro_value_get_by_name(&item, "item_id", &child, NULL);
    (void)avro_value_set_string(&child, "i1");
    if (avro_value_get_by_name(&item, "shelf", &child, NULL) == 0)
        (void)avro_value_set_int(&child, 9);
}

/* One event by that version: user u1, click (or its new symbol), time 1700000000123, item i1. */
static size_t write_event(const char *schema_text, const char *symbol, char *bytes, size_t cap)
{
    avro_schema_t schema = NULL;
    if (avro_schema_from_json_length(schema_text, strlen(schema_text), &schema) != 0)
        test_fail(__FILE__, __LINE__, "%s in %s", avro_strerror(), schema_text);
    avro_value_iface_t *class = avro_generic_class_from_schema(schema);
    avro_value_t value = {0}, child = {0};
    size_t n = 0;
    (void)avro_generic_value_new(class, &value);
    (void)avro_value_get_size(&value, &n);
    for (size_t i = 0; i < n; i++) {
        const char *name = NULL;
        (void)avro_value_get_by_index(&value, i, &child, &name);
        const struct target_field *field =
            schemas__target_find(&schemas__target_event, str_of(name));
        if (!field)
            (void)avro_value_set_string(&child, "red");
        else if (strcmp(field->name, "user_id") == 0)
            set_text(child, "u1");
        else if (strcmp(field->name, "event_type") == 0)
            set_type(child, symbol);
        else if (strcmp(field->name, "items") == 0)
            set_items(child);
        else {
            child = enter(child, AVRO_INT64);
            (void)avro_value_set_long(&child, 1700000000123);
        }
    }
    avro_writer_t writer = avro_writer_memory(bytes, (int64_t)cap);
    if (avro_value_write(writer, &value) != 0) test_fail(__FILE__, __LINE__, "%s", avro_strerror());
    size_t len = (size_t)avro_writer_tell(writer);
    avro_writer_free(writer);
    avro_value_decref(&value);
    avro_value_iface_decref(class);
    avro_schema_decref(schema);
    return len;
}

static void check_version(const struct version *version, const char *symbol, enum event_type type)
{
    char text[FIXTURE_SCHEMA_MAX], bytes[512];
    struct program *program = NULL;
    struct arena *arena = fixture_arena();
    struct err err = ERR_INIT;
    struct event_slots slots;
    (void)fixture_schema(version->fields, text);
    size_t len = write_event(text, symbol, bytes, sizeof bytes);
    CHECK_OK(
        schemas__compile(text, strlen(text), &schemas__target_event, version->name, &program, &err),
        err);
    CHECK_OK(schemas__run(program, &schemas__target_event, (struct str){bytes, len}, arena, &slots,
                          &err),
             err);
    CHECK_BYTES(slots.event.user_id.ptr, slots.event.user_id.len, "u1", 2);
    CHECK_INT(slots.event.type, type);
    CHECK_INT(slots.event.time_ms, version->has_time ? 1700000000123 : 0);
    CHECK_INT(slots.event.n_items, version->has_items ? 1 : 0);
    if (version->has_items) {
        const struct event_item *item = &slots.event.items[0];
        CHECK_BYTES(item->item_id.ptr, item->item_id.len, "i1", 2);
        CHECK_NEAR(item->quantity, 1, 0);
        CHECK_INT(item->position, -1);
    }
    CHECK_INT(slots.event.consent, true);
    schemas__program_free(program);
    arena_free(arena);
}

static void test_versions(void)
{
    for (int i = 0; i < VERSIONS; i++) {
        printf("  %s\n", versions[i].name);
        check_version(&versions[i], "click", EVENT_CLICK);
        if (versions[i].new_symbol) check_version(&versions[i], "rotate", EVENT_OTHER);
    }
}

/* One process meets all versions, mixed, each by its own id. */
static void test_mixed(void)
{
    struct program *programs[VERSIONS] = {NULL};
    char bytes[VERSIONS][512];
    size_t lens[VERSIONS];
    struct arena *arena = fixture_arena();
    struct err err = ERR_INIT;
    for (int i = 0; i < VERSIONS; i++) {
        char text[FIXTURE_SCHEMA_MAX];
        (void)fixture_schema(versions[i].fields, text);
        lens[i] = write_event(text, "click", bytes[i], sizeof bytes[i]);
        CHECK_OK(
            schemas__compile(text, strlen(text), &schemas__target_event, "v", &programs[i], &err),
            err);
    }
    /* Bytes of one version read by another's program: an event or poison, never a crash. */
    int read = 0;
    for (int i = 0; i < VERSIONS; i++)
        for (int j = 0; j < VERSIONS; j++) {
            struct event_slots slots;
            struct str message = {bytes[i], lens[i]};
            bool ok =
                schemas__run(programs[j], &schemas__target_event, message, arena, &slots, &err);
            if (i == j)
                CHECK_OK(ok, err);
            else if (!ok)
                CHECK_INT(err.class, ERR_DATA);
            read += ok;
        }
    CHECK(read >= VERSIONS);
    for (int i = 0; i < VERSIONS; i++)
        schemas__program_free(programs[i]);
    arena_free(arena);
}

int main(void)
{
    CASE(test_versions);
    CASE(test_mixed);
    return 0;
}
