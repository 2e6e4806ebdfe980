#include "tests/schemas/fixture.h"

#include <math.h>

struct schemas *fixture_open(enum value_format format)
{
    struct schemas *schemas = NULL;
    struct err err = ERR_INIT;
    const struct schemas_options options = {.events_format = format};
    CHECK_OK(schemas_open(&schemas, &options, &err), err);
    return schemas;
}

struct arena *fixture_arena(void)
{
    return arena_new(64 * 1024, 8 * 1024 * 1024);
}

const char *fixture_schema(const char *text, char out[FIXTURE_SCHEMA_MAX])
{
    struct buf buf;
    bool raw = *text == 0 || strchr("{['<", *text);
    buf_init(&buf, FIXTURE_SCHEMA_MAX);
    if (!raw) buf_push_text(&buf, "{'type':'record','name':'E','fields':[");
    for (bool first = true; !raw && *text; first = false) {
        size_t name = strcspn(text, " "), field = strcspn(text, ";");
        buf_push_format(&buf, "%s{'name':'%.*s','type':%.*s}", first ? "" : ",", (int)name, text,
                        (int)(field - name - 1), text + name + 1);
        text += field + (text[field] == ';');
        text += strspn(text, " ");
    }
    buf_push_text(&buf, raw ? text + (*text == '<') : "]}");
    buf_push_byte(&buf, 0);
    CHECK(!buf.failed);
    for (size_t i = 0; i < buf.len; i++)
        out[i] = (char)(buf.data[i] == '\'' ? '"' : buf.data[i]);
    buf_fini(&buf);
    return out;
}

/* ---- random records ---- */

static struct str random_text(struct rng *rng, struct arena *arena, size_t max)
{
    static const char *const pieces[] = {"a",  "Z",  "0", "-",  " ", "\"",
                                         "\\", "\n", "é", "漢", "😀", "<"};
    char text[512];
    size_t len = 0, want = (size_t)rng_below(rng, max + 1);
    while (len < want && len + 4 < sizeof text) {
        const char *piece = pieces[rng_below(rng, sizeof pieces / sizeof *pieces)];
        memcpy(text + len, piece, strlen(piece));
        len += strlen(piece);
    }
    return arena_str(arena, (struct str){text, len});
}

static struct str maybe_text(struct rng *rng, struct arena *arena)
{
    return rng_below(rng, 2) ? random_text(rng, arena, 30) : (struct str){NULL, 0};
}

static struct str some_text(struct rng *rng, struct arena *arena)
{
    struct str text = random_text(rng, arena, 30);
    return text.len ? text : STR("x");
}

static int64_t random_time(struct rng *rng)
{
    return 1600000000000 + (int64_t)rng_below(rng, 200000000000);
}

static struct attribute *random_map(struct rng *rng, struct arena *arena, size_t *n)
{
    *n = rng_below(rng, 3) ? 0 : (size_t)rng_below(rng, 6);
    struct attribute *map = arena_alloc(arena, (*n + 1) * sizeof *map);
    for (size_t i = 0; i < *n; i++) {
        char key[16];
        int len = snprintf(key, sizeof key, "k%zu", i);
        map[i].key = arena_str(arena, (struct str){key, (size_t)len});
        map[i].value = random_text(rng, arena, 40);
    }
    return map;
}

void fixture_event(struct rng *rng, struct arena *arena, struct event *event)
{
    *event = (struct event){.type = (enum event_type)rng_below(rng, EVENT_TYPE_COUNT),
                            .time_ms = rng_below(rng, 5) ? random_time(rng) : 0};
    event->event_id = maybe_text(rng, arena);
    event->user_id = maybe_text(rng, arena);
    event->anonymous_id = maybe_text(rng, arena);
    event->session_id = maybe_text(rng, arena);
    event->n_items = (size_t)rng_below(rng, 5);
    event->items = arena_alloc(arena, (event->n_items + 1) * sizeof *event->items);
    for (size_t i = 0; i < event->n_items; i++) {
        struct event_item *item = &event->items[i];
        *item = (struct event_item){.quantity = 1 + rng_unit(rng), .position = -1};
        item->item_id = some_text(rng, arena);
        item->has_price = rng_below(rng, 2);
        if (item->has_price) item->price = rng_unit(rng) * 1000;
        if (rng_below(rng, 2)) item->position = (int32_t)rng_below(rng, 1000000);
    }
    event->query = maybe_text(rng, arena);
    event->order_id = maybe_text(rng, arena);
    event->has_value = rng_below(rng, 2);
    if (event->has_value) event->value = rng_normal(rng) * 100;
    event->currency = maybe_text(rng, arena);
    event->recommendation_id = maybe_text(rng, arena);
    event->tenant = maybe_text(rng, arena);
    event->consent = rng_below(rng, 2);
    event->context = random_map(rng, arena, &event->n_context);
    event->attributes = random_map(rng, arena, &event->n_attributes);
}

void fixture_item(struct rng *rng, struct arena *arena, struct item *item)
{
    *item = (struct item){.item_id = some_text(rng, arena),
                          .tenant = maybe_text(rng, arena),
                          .title = maybe_text(rng, arena),
                          .brand = maybe_text(rng, arena),
                          .stock = rng_below(rng, 2) ? (int64_t)rng_below(rng, 1000) : -1,
                          .hidden = rng_below(rng, 2),
                          .has_price = rng_below(rng, 2)};
    if (item->has_price) item->price = rng_unit(rng) * 1000;
    if (rng_below(rng, 2)) item->available_from_ms = random_time(rng);
    if (rng_below(rng, 2)) item->available_until_ms = random_time(rng);
    item->n_categories = (size_t)rng_below(rng, 4);
    item->categories = arena_alloc(arena, (item->n_categories + 1) * sizeof *item->categories);
    for (size_t i = 0; i < item->n_categories; i++)
        item->categories[i] = some_text(rng, arena);
    item->attributes = random_map(rng, arena, &item->n_attributes);
    item->n_vector = rng_below(rng, 2) ? 64 : 0;
    float *vector = arena_alloc(arena, (item->n_vector + 1) * sizeof *vector);
    for (size_t i = 0; i < item->n_vector; i++)
        vector[i] = (float)rng_normal(rng);
    item->vector = vector;
}

static struct trigger random_trigger(struct rng *rng, struct arena *arena)
{
    return (struct trigger){.topic = STR("freshet.events"),
                            .partition = (int32_t)rng_below(rng, 1000),
                            .offset = (int64_t)(rng_u64(rng) >> 2),
                            .event_id = maybe_text(rng, arena),
                            .event_time_ms = random_time(rng)};
}

void fixture_list(struct rng *rng, struct arena *arena, size_t n_items,
                  struct recommendations *list)
{
    struct list_item *items = arena_alloc(arena, (n_items + 1) * sizeof *items);
    memset(items, 0, (n_items + 1) * sizeof *items);
    for (size_t i = 0; i < n_items; i++) {
        items[i].item_id = some_text(rng, arena);
        items[i].score = (float)rng_normal(rng);
        items[i].n_reasons = (int)rng_below(rng, LIST_REASONS_MAX + 1);
        for (int r = 0; r < items[i].n_reasons; r++) {
            items[i].reasons[r].kind = (enum reason_kind)rng_below(rng, REASON_KIND_COUNT);
            items[i].reasons[r].item_id = maybe_text(rng, arena);
        }
    }
    *list = (struct recommendations){.recommendation_id = STR("0123456789abcdef0123456789abcdef"),
                                     .tenant = maybe_text(rng, arena),
                                     .user_id = some_text(rng, arena),
                                     .scenario = maybe_text(rng, arena),
                                     .items = items,
                                     .n_items = n_items,
                                     .model_version = maybe_text(rng, arena),
                                     .variant = maybe_text(rng, arena)};
    list->trigger = random_trigger(rng, arena);
}

static const struct counted_item *random_counted(struct rng *rng, struct arena *arena, size_t *n)
{
    *n = (size_t)rng_below(rng, 20);
    struct counted_item *items = arena_alloc(arena, (*n + 1) * sizeof *items);
    for (size_t i = 0; i < *n; i++)
        items[i] = (struct counted_item){some_text(rng, arena), (float)rng_normal(rng),
                                         rng_unit(rng) * 1000};
    return items;
}

/* Durations, 0 at times. */
static struct decay random_decay(struct rng *rng)
{
    return (struct decay){(int64_t)(rng_below(rng, 3) * rng_below(rng, 4000000000)),
                          (int64_t)(rng_below(rng, 3) * rng_below(rng, 4000000000))};
}

void fixture_related(struct rng *rng, struct arena *arena, struct related *related)
{
    *related = (struct related){.item_id = some_text(rng, arena),
                                .tenant = maybe_text(rng, arena),
                                .kind = (enum related_kind)rng_below(rng, RELATED_KIND_COUNT),
                                .count = rng_unit(rng) * 10000,
                                .decay = random_decay(rng),
                                .event_time_ms = random_time(rng)};
    related->items = random_counted(rng, arena, &related->n_items);
}

void fixture_trending(struct rng *rng, struct arena *arena, struct trending *trending)
{
    *trending = (struct trending){.tenant = maybe_text(rng, arena),
                                  .category = maybe_text(rng, arena),
                                  .count = rng_unit(rng) * 10000,
                                  .decay = random_decay(rng),
                                  .event_time_ms = random_time(rng)};
    trending->items = random_counted(rng, arena, &trending->n_items);
}

static const struct str *random_names(struct rng *rng, struct arena *arena, size_t n)
{
    struct str *names = arena_alloc(arena, (n + 1) * sizeof *names);
    for (size_t i = 0; i < n; i++)
        names[i] = some_text(rng, arena);
    return names;
}

/* NaN, which says "not known", at times. */
static const float *random_floats(struct rng *rng, struct arena *arena, size_t n)
{
    float *floats = arena_alloc(arena, (n + 1) * sizeof *floats);
    for (size_t i = 0; i < n; i++)
        floats[i] = rng_below(rng, 5) ? (float)rng_normal(rng) : NAN;
    return floats;
}

static void random_outcomes(struct rng *rng, struct arena *arena, struct training_example *example)
{
    struct outcome *outcomes = arena_alloc(arena, (example->n_outcomes + 1) * sizeof *outcomes);
    for (size_t i = 0; i < example->n_outcomes; i++) {
        outcomes[i] = (struct outcome){.type = (enum event_type)rng_below(rng, EVENT_TYPE_COUNT),
                                       .item_id = some_text(rng, arena),
                                       .time_ms = random_time(rng),
                                       .has_value = rng_below(rng, 2)};
        if (outcomes[i].has_value) outcomes[i].value = rng_unit(rng) * 1000;
    }
    example->outcomes = outcomes;
}

void fixture_example(struct rng *rng, struct arena *arena, struct training_example *example)
{
    *example = (struct training_example){.example_id = some_text(rng, arena),
                                         .tenant = maybe_text(rng, arena),
                                         .user_id = maybe_text(rng, arena),
                                         .anonymous_id = maybe_text(rng, arena),
                                         .recommendation_id = maybe_text(rng, arena),
                                         .scenario = maybe_text(rng, arena),
                                         .model_version = maybe_text(rng, arena),
                                         .variant = maybe_text(rng, arena),
                                         .trigger = random_trigger(rng, arena),
                                         .event_time_ms = random_time(rng),
                                         .n_context_names = (size_t)rng_below(rng, 6),
                                         .n_feature_names = (size_t)rng_below(rng, 6),
                                         .n_items = (size_t)rng_below(rng, 12),
                                         .n_outcomes = (size_t)rng_below(rng, 4)};
    example->n_context = example->n_context_names;
    example->context_names = random_names(rng, arena, example->n_context_names);
    example->context = random_floats(rng, arena, example->n_context);
    example->feature_names = random_names(rng, arena, example->n_feature_names);
    struct example_item *items = arena_alloc(arena, (example->n_items + 1) * sizeof *items);
    for (size_t i = 0; i < example->n_items; i++)
        items[i] =
            (struct example_item){.item_id = some_text(rng, arena),
                                  .position = (int32_t)i,
                                  .score = (float)rng_normal(rng),
                                  .shown = rng_below(rng, 2),
                                  .features = random_floats(rng, arena, example->n_feature_names),
                                  .n_features = example->n_feature_names};
    example->items = items;
    random_outcomes(rng, arena, example);
}

void fixture_erasure(struct rng *rng, struct arena *arena, struct erasure *erasure)
{
    *erasure = (struct erasure){.request_id = maybe_text(rng, arena),
                                .tenant = maybe_text(rng, arena),
                                .user_id = maybe_text(rng, arena),
                                .anonymous_id = maybe_text(rng, arena),
                                .source = maybe_text(rng, arena)};
    if (rng_below(rng, 2)) erasure->requested_at_ms = random_time(rng);
}

/* ---- comparisons ---- */

#define SAME_TEXT(field) CHECK_BYTES(a->field.ptr, a->field.len, b->field.ptr, b->field.len)
#define SAME_BITS(x, y)  CHECK_BYTES(&(x), sizeof(x), &(y), sizeof(y))

static void same_map(const struct attribute *a, size_t n_a, const struct attribute *b, size_t n_b)
{
    CHECK_INT(n_a, n_b);
    /* A map has no order. */
    for (size_t i = 0; i < n_a; i++) {
        size_t j = 0;
        while (j < n_b && !str_equal(a[i].key, b[j].key))
            j++;
        CHECK(j < n_b);
        CHECK_BYTES(a[i].value.ptr, a[i].value.len, b[j].value.ptr, b[j].value.len);
    }
}

void fixture_same_event(const struct event *a, const struct event *b)
{
    SAME_TEXT(event_id);
    CHECK_INT(a->type, b->type);
    CHECK_INT(a->time_ms, b->time_ms);
    SAME_TEXT(user_id);
    SAME_TEXT(anonymous_id);
    SAME_TEXT(session_id);
    CHECK_INT(a->n_items, b->n_items);
    for (size_t i = 0; i < a->n_items; i++) {
        SAME_TEXT(items[i].item_id);
        SAME_BITS(a->items[i].quantity, b->items[i].quantity);
        CHECK_INT(a->items[i].has_price, b->items[i].has_price);
        if (a->items[i].has_price) SAME_BITS(a->items[i].price, b->items[i].price);
        CHECK_INT(a->items[i].position, b->items[i].position);
    }
    SAME_TEXT(query);
    SAME_TEXT(order_id);
    CHECK_INT(a->has_value, b->has_value);
    if (a->has_value) SAME_BITS(a->value, b->value);
    SAME_TEXT(currency);
    SAME_TEXT(recommendation_id);
    SAME_TEXT(tenant);
    CHECK_INT(a->consent, b->consent);
    same_map(a->context, a->n_context, b->context, b->n_context);
    same_map(a->attributes, a->n_attributes, b->attributes, b->n_attributes);
}

void fixture_same_item(const struct item *a, const struct item *b)
{
    SAME_TEXT(item_id);
    SAME_TEXT(tenant);
    SAME_TEXT(title);
    SAME_TEXT(brand);
    CHECK_INT(a->n_categories, b->n_categories);
    for (size_t i = 0; i < a->n_categories; i++)
        SAME_TEXT(categories[i]);
    CHECK_INT(a->has_price, b->has_price);
    if (a->has_price) SAME_BITS(a->price, b->price);
    CHECK_INT(a->stock, b->stock);
    CHECK_INT(a->available_from_ms, b->available_from_ms);
    CHECK_INT(a->available_until_ms, b->available_until_ms);
    CHECK_INT(a->hidden, b->hidden);
    same_map(a->attributes, a->n_attributes, b->attributes, b->n_attributes);
    CHECK_BYTES(a->vector, a->n_vector * 4, b->vector, b->n_vector * 4);
}

static void same_trigger(const struct trigger *a, const struct trigger *b)
{
    SAME_TEXT(topic);
    CHECK_INT(a->partition, b->partition);
    CHECK_INT(a->offset, b->offset);
    SAME_TEXT(event_id);
    CHECK_INT(a->event_time_ms, b->event_time_ms);
}

void fixture_same_list(const struct recommendations *a, const struct recommendations *b)
{
    SAME_TEXT(recommendation_id);
    SAME_TEXT(tenant);
    SAME_TEXT(user_id);
    SAME_TEXT(scenario);
    CHECK_INT(a->n_items, b->n_items);
    for (size_t i = 0; i < a->n_items; i++) {
        SAME_TEXT(items[i].item_id);
        SAME_BITS(a->items[i].score, b->items[i].score);
        CHECK_INT(a->items[i].n_reasons, b->items[i].n_reasons);
        for (int r = 0; r < a->items[i].n_reasons; r++) {
            CHECK_INT(a->items[i].reasons[r].kind, b->items[i].reasons[r].kind);
            SAME_TEXT(items[i].reasons[r].item_id);
        }
    }
    SAME_TEXT(model_version);
    SAME_TEXT(variant);
    same_trigger(&a->trigger, &b->trigger);
}

static void same_counted(const struct counted_item *a, size_t n_a, const struct counted_item *b,
                         size_t n_b)
{
    CHECK_INT(n_a, n_b);
    for (size_t i = 0; i < n_a; i++) {
        CHECK_BYTES(a[i].item_id.ptr, a[i].item_id.len, b[i].item_id.ptr, b[i].item_id.len);
        SAME_BITS(a[i].score, b[i].score);
        SAME_BITS(a[i].count, b[i].count);
    }
}

void fixture_same_related(const struct related *a, const struct related *b)
{
    SAME_TEXT(item_id);
    SAME_TEXT(tenant);
    CHECK_INT(a->kind, b->kind);
    same_counted(a->items, a->n_items, b->items, b->n_items);
    SAME_BITS(a->count, b->count);
    CHECK_INT(a->decay.half_life_ms, b->decay.half_life_ms);
    CHECK_INT(a->decay.window_ms, b->decay.window_ms);
    CHECK_INT(a->event_time_ms, b->event_time_ms);
}

void fixture_same_trending(const struct trending *a, const struct trending *b)
{
    SAME_TEXT(tenant);
    SAME_TEXT(category);
    same_counted(a->items, a->n_items, b->items, b->n_items);
    SAME_BITS(a->count, b->count);
    CHECK_INT(a->decay.half_life_ms, b->decay.half_life_ms);
    CHECK_INT(a->decay.window_ms, b->decay.window_ms);
    CHECK_INT(a->event_time_ms, b->event_time_ms);
}

static void same_names(const struct str *a, size_t n_a, const struct str *b, size_t n_b)
{
    CHECK_INT(n_a, n_b);
    for (size_t i = 0; i < n_a; i++)
        CHECK_BYTES(a[i].ptr, a[i].len, b[i].ptr, b[i].len);
}

void fixture_same_example(const struct training_example *a, const struct training_example *b)
{
    SAME_TEXT(example_id);
    SAME_TEXT(tenant);
    SAME_TEXT(user_id);
    SAME_TEXT(anonymous_id);
    SAME_TEXT(recommendation_id);
    SAME_TEXT(scenario);
    SAME_TEXT(model_version);
    SAME_TEXT(variant);
    same_trigger(&a->trigger, &b->trigger);
    CHECK_INT(a->event_time_ms, b->event_time_ms);
    same_names(a->context_names, a->n_context_names, b->context_names, b->n_context_names);
    CHECK_BYTES(a->context, a->n_context * 4, b->context, b->n_context * 4);
    same_names(a->feature_names, a->n_feature_names, b->feature_names, b->n_feature_names);
    CHECK_INT(a->n_items, b->n_items);
    for (size_t i = 0; i < a->n_items; i++) {
        const struct example_item *x = &a->items[i], *y = &b->items[i];
        SAME_TEXT(items[i].item_id);
        CHECK_INT(x->position, y->position);
        SAME_BITS(x->score, y->score);
        CHECK_INT(x->shown, y->shown);
        CHECK_BYTES(x->features, x->n_features * 4, y->features, y->n_features * 4);
    }
    CHECK_INT(a->n_outcomes, b->n_outcomes);
    for (size_t i = 0; i < a->n_outcomes; i++) {
        CHECK_INT(a->outcomes[i].type, b->outcomes[i].type);
        SAME_TEXT(outcomes[i].item_id);
        CHECK_INT(a->outcomes[i].time_ms, b->outcomes[i].time_ms);
        CHECK_INT(a->outcomes[i].has_value, b->outcomes[i].has_value);
        if (a->outcomes[i].has_value) SAME_BITS(a->outcomes[i].value, b->outcomes[i].value);
    }
}

void fixture_same_erasure(const struct erasure *a, const struct erasure *b)
{
    SAME_TEXT(request_id);
    SAME_TEXT(tenant);
    SAME_TEXT(user_id);
    SAME_TEXT(anonymous_id);
    CHECK_INT(a->requested_at_ms, b->requested_at_ms);
    SAME_TEXT(source);
}
