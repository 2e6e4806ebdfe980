/* LINK: avro-c */
/* Our codec against Avro C.
 *
 * Random writer schemas: the fields of an event in random order, left out, under an alias, with other types that promote,
 * with more enum symbols, between fields that nobody knows. Avro C writes random events with them; we read the same. */
#include <avro.h>

#include "schemas/internal.h"
#include "tests/schemas/fixture.h"

enum { BYTES_MAX = 64 * 1024 };

/* ---- writing with Avro C ---- */

static avro_schema_t parse_schema(const char *text, size_t len)
{
    avro_schema_t schema = NULL;
    if (avro_schema_from_json_length(text, len, &schema) != 0)
        test_fail(__FILE__, __LINE__, "Avro C: %s in %.*s", avro_strerror(), (int)len, text);
    return schema;
}

static size_t write_value(avro_value_t *value, char *bytes)
{
    avro_writer_t writer = avro_writer_memory(bytes, BYTES_MAX);
    if (avro_value_write(writer, value) != 0)
        test_fail(__FILE__, __LINE__, "Avro C: %s", avro_strerror());
    size_t len = (size_t)avro_writer_tell(writer);
    avro_writer_free(writer);
    return len;
}

/* ---- random writer schemas ---- */

static const char *pick(struct rng *rng, const char *const *choices)
{
    size_t n = 0;
    while (choices[n])
        n++;
    return choices[rng_below(rng, n)];
}

static const char *const text_types[] = {"\"string\"",
                                         "[\"null\",\"string\"]",
                                         "[\"string\",\"null\"]",
                                         "[\"null\",\"bytes\"]",
                                         "\"bytes\"",
                                         "[\"int\",\"null\",\"string\"]",
                                         NULL};
static const char *const number_types[] = {
    "\"double\"",           "\"float\"", "\"int\"", "\"long\"", "[\"null\",\"double\"]",
    "[\"float\",\"null\"]", NULL};
static const char *const whole_types[] = {"\"int\"", "\"long\"", "[\"null\",\"int\"]",
                                          "[\"long\",\"null\"]", NULL};
static const char *const bool_types[] = {"\"boolean\"", "[\"null\",\"boolean\"]",
                                         "[\"string\",\"boolean\"]", NULL};
static const char *const time_types[] = {
    "{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}",
    "{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}",
    "[\"null\",{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}]",
    "[{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"},\"null\"]", NULL};
static const char *const map_types[] = {"{\"type\":\"map\",\"values\":\"string\"}",
                                        "[\"null\",{\"type\":\"map\",\"values\":\"bytes\"}]",
                                        "{\"type\":\"map\",\"values\":[\"null\",\"string\"]}",
                                        NULL};

static const struct {
    const char *names[4]; /* ours, then what counts as it */
    const char *const *types;
} known[] = {
    {{"event_id", "eventId", "message_id"}, text_types},
    {{"event_time", "timestamp", "eventTime"}, time_types},
    {{"user_id", "customer_id", "USERID"}, text_types},
    {{"anonymous_id", "visitor_id"}, text_types},
    {{"session_id", "SessionId"}, text_types},
    {{"query", "search_term"}, text_types},
    {{"order_id", "transaction_id"}, text_types},
    {{"value", "revenue"}, number_types},
    {{"currency", "currencyCode"}, text_types},
    {{"recommendation_id", "attribution_token"}, text_types},
    {{"tenant", "tenant_id"}, text_types},
    {{"consent", "user_consent"}, bool_types},
    {{"context"}, map_types},
    {{"attributes", "properties"}, map_types},
};
enum { KNOWN = sizeof known / sizeof *known, EVENT_TYPE_FIELD = KNOWN, ITEMS_FIELD, FIELDS };

static const char *pick_name(struct rng *rng, const char *const names[4])
{
    size_t n = 1;
    while (n < 4 && names[n])
        n++;
    return names[rng_below(rng, n)];
}

/* A type that we have no field for. names: counts named types, which must differ. */
static void push_unknown_type(struct rng *rng, struct buf *out, int depth, int *names)
{
    static const char *const plain[] = {"\"null\"",  "\"boolean\"", "\"int\"",
                                        "\"long\"",  "\"float\"",   "\"double\"",
                                        "\"bytes\"", "\"string\"",  NULL};
    switch (depth > 2 ? 0 : rng_below(rng, 8)) {
    case 1:
        buf_push_text(out, "{\"type\":\"array\",\"items\":");
        push_unknown_type(rng, out, depth + 1, names);
        buf_push_text(out, "}");
        break;
    case 2:
        buf_push_text(out, "{\"type\":\"map\",\"values\":");
        push_unknown_type(rng, out, depth + 1, names);
        buf_push_text(out, "}");
        break;
    case 3:
        buf_push_format(out, "{\"type\":\"fixed\",\"name\":\"N%d\",\"size\":%d}", (*names)++,
                        1 + (int)rng_below(rng, 20));
        break;
    case 4:
        buf_push_format(out, "{\"type\":\"enum\",\"name\":\"N%d\",\"symbols\":[\"A\",\"B\",\"C\"]}",
                        (*names)++);
        break;
    case 5:
        buf_push_text(out, "[\"null\",{\"type\":\"array\",\"items\":");
        push_unknown_type(rng, out, depth + 1, names);
        buf_push_text(out, "},\"string\"]");
        break;
    case 6:
        buf_push_format(out, "{\"type\":\"record\",\"name\":\"N%d\",\"fields\":[", (*names)++);
        for (int i = 0, n = (int)rng_below(rng, 4); i < n; i++) {
            buf_push_format(out, "%s{\"name\":\"f%d\",\"type\":", i ? "," : "", i);
            push_unknown_type(rng, out, depth + 1, names);
            buf_push_text(out, "}");
        }
        buf_push_text(out, "]}");
        break;
    default:
        buf_push_text(out, pick(rng, plain));
    }
}

static void push_event_type(struct rng *rng, struct buf *out)
{
    static const char *const types[] = {
        "\"string\"",
        "{\"type\":\"enum\",\"name\":\"T\",\"symbols\":[\"purchase\",\"brand_new\",\"view\","
        "\"like\","
        "\"click\",\"search\",\"refund\",\"dislike\",\"other\",\"impression\",\"add_to_cart\","
        "\"remove_from_cart\"]}",
        "[\"null\",{\"type\":\"enum\",\"name\":\"T\",\"symbols\":[\"impression\",\"click\","
        "\"view\","
        "\"add_to_cart\",\"remove_from_cart\",\"purchase\",\"refund\",\"search\",\"like\","
        "\"dislike\","
        "\"other\",\"brand_new\"]}]",
        NULL};
    buf_push_text(out, pick(rng, types));
}

static void push_items(struct rng *rng, struct buf *out, int *names)
{
    static const char *const optional[] = {"%s", "[\"null\",%s]", "[%s,\"null\"]"};
    size_t form = rng_below(rng, 3);
    buf_push(out, optional[form], strcspn(optional[form], "%"));
    buf_push_text(out,
                  "{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"L\",\"fields\":[");
    if (rng_below(rng, 2)) {
        buf_push_text(out, "{\"name\":\"unknown_first\",\"type\":");
        push_unknown_type(rng, out, 1, names);
        buf_push_text(out, "},");
    }
    buf_push_format(out, "{\"name\":\"price\",\"type\":%s},", pick(rng, number_types));
    buf_push_format(out, "{\"name\":\"%s\",\"type\":%s}", rng_below(rng, 2) ? "item_id" : "sku",
                    pick(rng, text_types));
    if (rng_below(rng, 2))
        buf_push_format(out, ",{\"name\":\"quantity\",\"type\":%s}", pick(rng, number_types));
    if (rng_below(rng, 2))
        buf_push_format(out, ",{\"name\":\"position\",\"type\":%s}", pick(rng, whole_types));
    buf_push_text(out, "]}}");
    buf_push_text(out, strchr(optional[form], '%') + 2);
}

static void push_schema(struct rng *rng, struct buf *out)
{
    int order[FIELDS], names = 0;
    const char *comma = "";
    for (int i = 0; i < FIELDS; i++)
        order[i] = i;
    for (int i = FIELDS - 1; i > 0; i--) {
        int j = (int)rng_below(rng, (uint64_t)i + 1), keep = order[i];
        order[i] = order[j];
        order[j] = keep;
    }
    buf_push_text(out,
                  "{\"type\":\"record\",\"name\":\"Foreign\",\"namespace\":\"shop\",\"fields\":[");
    for (int i = 0; i < FIELDS; i++) {
        int f = order[i];
        if (rng_below(rng, 3) == 0) {
            buf_push_format(out, "%s{\"name\":\"unknown_%d\",\"type\":", comma, i);
            push_unknown_type(rng, out, 0, &names);
            buf_push_text(out, "}");
            comma = ",";
        }
        if (i > 0 && rng_below(rng, 5) == 0) continue; /* a field that this writer does not have */
        const char *name = f == EVENT_TYPE_FIELD ? "event_type"
                           : f == ITEMS_FIELD    ? "items"
                                                 : pick_name(rng, known[f].names);
        buf_push_format(out, "%s{\"name\":\"%s\",\"type\":", comma, name);
        if (f == EVENT_TYPE_FIELD)
            push_event_type(rng, out);
        else if (f == ITEMS_FIELD)
            push_items(rng, out, &names);
        else
            buf_push_text(out, pick(rng, known[f].types));
        buf_push_text(out, "}");
        comma = ",";
    }
    buf_push_text(out, "]}");
}

/* ---- random values of them; `want` becomes what we have to read ---- */

static void fill_random(struct rng *rng, avro_value_t *value, int depth);

static void fill_nested(struct rng *rng, avro_value_t *value, int depth)
{
    avro_value_t child = {0};
    size_t n = 0;
    char bytes[32] = {0};
    avro_schema_t schema = avro_value_get_schema(value);
    switch (avro_value_get_type(value)) {
    case AVRO_ARRAY:
        for (n = depth > 3 ? 0 : (size_t)rng_below(rng, 4); n > 0; n--) {
            (void)avro_value_append(value, &child, NULL);
            fill_random(rng, &child, depth + 1);
        }
        break;
    case AVRO_MAP:
        for (n = depth > 3 ? 0 : (size_t)rng_below(rng, 4); n > 0; n--) {
            (void)snprintf(bytes, sizeof bytes, "key %zu", n);
            (void)avro_value_add(value, bytes, &child, NULL, NULL);
            fill_random(rng, &child, depth + 1);
        }
        break;
    case AVRO_UNION:
        n = avro_schema_union_size(schema);
        (void)avro_value_set_branch(value, (int)rng_below(rng, n), &child);
        fill_random(rng, &child, depth + 1);
        break;
    case AVRO_RECORD:
        (void)avro_value_get_size(value, &n);
        for (size_t i = 0; i < n; i++) {
            (void)avro_value_get_by_index(value, i, &child, NULL);
            fill_random(rng, &child, depth + 1);
        }
        break;
    default:
        break;
    }
}

static void fill_random(struct rng *rng, avro_value_t *value, int depth)
{
    char bytes[32] = {0};
    avro_schema_t schema = avro_value_get_schema(value);
    switch (avro_value_get_type(value)) {
    case AVRO_BOOLEAN:
        (void)avro_value_set_boolean(value, (int)rng_below(rng, 2));
        break;
    case AVRO_INT32:
        (void)avro_value_set_int(value, (int32_t)rng_u64(rng));
        break;
    case AVRO_INT64:
        (void)avro_value_set_long(value, (int64_t)(rng_u64(rng) >> rng_below(rng, 64)));
        break;
    case AVRO_FLOAT:
        (void)avro_value_set_float(value, (float)rng_normal(rng));
        break;
    case AVRO_DOUBLE:
        (void)avro_value_set_double(value, rng_normal(rng));
        break;
    case AVRO_BYTES:
        (void)avro_value_set_bytes(value, bytes, (size_t)rng_below(rng, 30));
        break;
    case AVRO_STRING:
        (void)avro_value_set_string(value, "a string that nobody reads");
        break;
    case AVRO_FIXED:
        (void)avro_value_set_fixed(value, bytes, (size_t)avro_schema_fixed_size(schema));
        break;
    case AVRO_ENUM:
        (void)avro_value_set_enum(value, (int)rng_below(rng, 3));
        break;
    case AVRO_NULL:
        (void)avro_value_set_null(value);
        break;
    default:
        fill_nested(rng, value, depth);
    }
}

/* The branch that is neither null nor a decoy; `present` false takes null if there is one. Returns false for null. */
static bool enter_union(avro_value_t *value, bool present, avro_type_t decoy)
{
    if (avro_value_get_type(value) != AVRO_UNION) return true;
    avro_schema_t schema = avro_value_get_schema(value);
    int n = (int)avro_schema_union_size(schema);
    avro_value_t child = {0};
    for (int i = 0; i < n; i++) {
        avro_type_t type = avro_typeof(avro_schema_union_branch(schema, i));
        if ((type == AVRO_NULL) != !present || type == decoy) continue;
        (void)avro_value_set_branch(value, i, &child);
        *value = child;
        return present;
    }
    return enter_union(value, true, decoy);
}

static void set_text(avro_value_t value, struct str text)
{
    if (!enter_union(&value, text.len > 0, AVRO_INT32)) return;
    if (avro_value_get_type(&value) == AVRO_BYTES)
        (void)avro_value_set_bytes(&value, (void *)(uintptr_t)(text.len ? text.ptr : ""), text.len);
    else
        (void)avro_value_set_string_len(&value, (char *)(uintptr_t)(text.len ? text.ptr : ""),
                                        text.len + 1);
}

/* Writes the number as the type allows and leaves in *number what remains of it. */
static void set_number(avro_value_t value, bool *has, double *number)
{
    if (!enter_union(&value, *has, AVRO_LINK)) return;
    if (!*has) *number = 0;
    *has = true;
    switch (avro_value_get_type(&value)) {
    case AVRO_FLOAT:
        *number = (double)(float)*number;
        (void)avro_value_set_float(&value, (float)*number);
        break;
    case AVRO_INT32:
        *number = (double)(int32_t)*number;
        (void)avro_value_set_int(&value, (int32_t)*number);
        break;
    case AVRO_INT64:
        *number = (double)(int64_t)*number;
        (void)avro_value_set_long(&value, (int64_t)*number);
        break;
    default:
        (void)avro_value_set_double(&value, *number);
    }
}

static void set_position(avro_value_t value, int32_t *position)
{
    if (!enter_union(&value, *position >= 0, AVRO_LINK)) return;
    if (avro_value_get_type(&value) == AVRO_INT32)
        (void)avro_value_set_int(&value, *position);
    else
        (void)avro_value_set_long(&value, *position);
}

static bool is_micros(const char *text, const char *name)
{
    char key[64];
    (void)snprintf(key, sizeof key, "\"name\":\"%s\"", name);
    const char *at = strstr(text, key);
    const char *unit = at ? strstr(at, "timestamp-") : NULL;
    return unit && strncmp(unit, "timestamp-micros", 16) == 0;
}

static void set_map(avro_value_t value, const struct attribute *map, size_t n)
{
    if (!enter_union(&value, n > 0, AVRO_LINK)) return;
    (void)avro_value_reset(&value);
    for (size_t i = 0; i < n; i++) {
        char key[32];
        avro_value_t child = {0};
        (void)snprintf(key, sizeof key, "%.*s", STR_ARG(map[i].key));
        (void)avro_value_add(&value, key, &child, NULL, NULL);
        set_text(child, map[i].value);
    }
}

static void set_type(struct rng *rng, avro_value_t value, enum event_type *type)
{
    const char *name = schemas_event_type_name(*type);
    if (rng_below(rng, 4) == 0) {
        name = "brand_new";
        *type = EVENT_OTHER;
    }
    if (!enter_union(&value, true, AVRO_LINK)) return;
    if (avro_value_get_type(&value) == AVRO_STRING)
        (void)avro_value_set_string(&value, name);
    else
        (void)avro_value_set_enum(
            &value, avro_schema_enum_get_by_name(avro_value_get_schema(&value), name));
}

static void set_items(struct rng *rng, avro_value_t value, struct event *want)
{
    if (!enter_union(&value, want->n_items > 0, AVRO_LINK)) {
        want->n_items = 0;
        return;
    }
    (void)avro_value_reset(&value);
    for (size_t i = 0; i < want->n_items; i++) {
        struct event_item *item = &want->items[i];
        avro_value_t record = {0}, child = {0};
        bool has_quantity = true;
        (void)avro_value_append(&value, &record, NULL);
        fill_random(rng, &record, 2);
        (void)avro_value_get_by_name(&record, "price", &child, NULL);
        set_number(child, &item->has_price, &item->price);
        if (avro_value_get_by_name(&record, "item_id", &child, NULL) == 0 ||
            avro_value_get_by_name(&record, "sku", &child, NULL) == 0)
            set_text(child, item->item_id);
        if (avro_value_get_by_name(&record, "quantity", &child, NULL) == 0)
            set_number(child, &has_quantity, &item->quantity);
        else
            item->quantity = 1;
        if (avro_value_get_by_name(&record, "position", &child, NULL) == 0)
            set_position(child, &item->position);
        else
            item->position = -1;
    }
}

static bool find_field(avro_value_t *record, int f, avro_value_t *child, const char **name)
{
    for (int i = 0; i < 4 && known[f].names[i]; i++) {
        *name = known[f].names[i];
        if (avro_value_get_by_name(record, *name, child, NULL) == 0) return true;
    }
    return false;
}

/* Sets the known fields; clears in `want` those that the writer's schema does not have. */
static void set_known(struct rng *rng, avro_value_t *record, const char *text, struct event *want)
{
    struct str *texts[KNOWN] = {&want->event_id,   NULL,
                                &want->user_id,    &want->anonymous_id,
                                &want->session_id, &want->query,
                                &want->order_id,   NULL,
                                &want->currency,   &want->recommendation_id,
                                &want->tenant};
    for (int f = 0; f < KNOWN; f++) {
        avro_value_t child = {0};
        const char *name;
        bool there = find_field(record, f, &child, &name);
        if (texts[f] && there) set_text(child, *texts[f]);
        if (texts[f] && !there) *texts[f] = (struct str){NULL, 0};
        if (known[f].types == time_types && !there) want->time_ms = 0;
        if (known[f].types == time_types && there && enter_union(&child, true, AVRO_LINK))
            (void)avro_value_set_long(&child, want->time_ms * (is_micros(text, name) ? 1000 : 1));
        if (known[f].types == number_types && there)
            set_number(child, &want->has_value, &want->value);
        if (known[f].types == number_types && !there) want->has_value = false;
        if (known[f].types == bool_types && there && enter_union(&child, true, AVRO_STRING))
            (void)avro_value_set_boolean(&child, want->consent);
        if (known[f].types == bool_types && !there) want->consent = true;
        struct attribute *map = f == KNOWN - 1 ? want->attributes : want->context;
        size_t *n = f == KNOWN - 1 ? &want->n_attributes : &want->n_context;
        if (known[f].types == map_types && there) set_map(child, map, *n);
        if (known[f].types == map_types && !there) *n = 0;
    }
    avro_value_t child = {0};
    if (avro_value_get_by_name(record, "event_type", &child, NULL) == 0)
        set_type(rng, child, &want->type);
    else
        want->type = EVENT_OTHER;
    if (avro_value_get_by_name(record, "items", &child, NULL) == 0)
        set_items(rng, child, want);
    else
        want->n_items = 0;
}

/* ---- the comparison ---- */

/* Bytes in a heap block of their own size, so that AddressSanitizer sees a read behind their end. */
static bool run_exact(const struct program *program, const char *bytes, size_t len,
                      struct arena *arena, struct event_slots *slots, struct err *err)
{
    char *exact = mem_alloc(len);
    memcpy(exact, bytes, len);
    bool ok =
        schemas__run(program, &schemas__target_event, (struct str){exact, len}, arena, slots, err);
    mem_free(exact);
    return ok;
}

/* Shorter is always poison; a flipped bit is poison or another event, never a crash. */
static void damage(struct rng *rng, const struct program *program, char *bytes, size_t len,
                   struct arena *arena)
{
    struct err err = ERR_INIT;
    struct event_slots slots;
    for (size_t cut = 0; cut < len; cut++) {
        if (run_exact(program, bytes, cut, arena, &slots, &err))
            test_fail(__FILE__, __LINE__, "%zu of %zu bytes decode", cut, len);
        CHECK_INT(err.class, ERR_DATA);
        arena_reset(arena);
    }
    bytes[len] = 0;
    CHECK_FAIL(run_exact(program, bytes, len + 1, arena, &slots, &err), err, ERR_DATA);
    for (int i = 0; i < 200 && len > 0; i++) {
        size_t bit = (size_t)rng_below(rng, len * 8);
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ (1 << (bit % 8)));
        (void)!run_exact(program, bytes, len, arena, &slots, &err);
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ (1 << (bit % 8)));
        CHECK(arena_used(arena) <= SCHEMAS_ARENA_MAX);
        arena_reset(arena);
    }
}

static void test_avro_read_by_us(void)
{
    struct arena *arena = fixture_arena(), *scratch = fixture_arena();
    char *bytes = mem_alloc(BYTES_MAX);
    struct buf text;
    struct rng rng;
    buf_init(&text, 64 * 1024);
    rng_init(&rng, TEST_SEED());
    for (int i = 0; i < 300; i++) {
        struct err err = ERR_INIT;
        struct program *program = NULL;
        buf_reset(&text);
        push_schema(&rng, &text);
        buf_push_byte(&text, 0);
        const char *schema_text = (const char *)text.data;
        avro_schema_t schema = parse_schema(schema_text, text.len - 1);
        avro_value_iface_t *class = avro_generic_class_from_schema(schema);
        CHECK_OK(schemas__compile(schema_text, text.len - 1, &schemas__target_event, "test",
                                  &program, &err),
                 err);
        for (int j = 0; j < 10; j++) {
            struct event want;
            struct event_slots slots;
            avro_value_t value;
            arena_reset(arena);
            fixture_event(&rng, arena, &want);
            (void)avro_generic_value_new(class, &value);
            fill_random(&rng, &value, 0);
            set_known(&rng, &value, schema_text, &want);
            size_t len = write_value(&value, bytes);
            if (!schemas__run(program, &schemas__target_event, (struct str){bytes, len}, arena,
                              &slots, &err))
                test_fail(__FILE__, __LINE__, "%s\n%s", err.text, schema_text);
            fixture_same_event(&want, &slots.event);
            if (j == 0 && i % 5 == 0) damage(&rng, program, bytes, len, scratch);
            avro_value_decref(&value);
        }
        schemas__program_free(program);
        avro_value_iface_decref(class);
        avro_schema_decref(schema);
    }
    buf_fini(&text);
    mem_free(bytes);
    arena_free(arena);
    arena_free(scratch);
}

int main(void)
{
    CASE(test_avro_read_by_us);
    return 0;
}
