/* Our structs as tables: what a writer's field is called, how its value is stored and where. */
#include "schemas/internal.h"

#include <string.h>

#define AT(type, member) (uint16_t) offsetof(struct type, member)
#define FIELD(text, how, type, member)                                                             \
    .name = (text), .store = (how), .offset = AT(type, member), .extra = TARGET_NO_EXTRA
/* A field with a companion: the flag that says it is there, or the count of its array. */
#define FIELD_AND(text, how, type, member, companion)                                              \
    .name = (text), .store = (how), .offset = AT(type, member), .extra = AT(type, companion)
#define COUNT(fields) (sizeof(fields) / sizeof *(fields))

/* ---- event ---- */

/* Field 0 is what a plain text in the array stands for. */
static const struct target_field event_item_fields[] = {
    {FIELD("item_id", STORE_TEXT, event_item, item_id), .essential = true,
     .aliases = {"item", "product_id", "id", "sku", "article_id"}},
    {FIELD("quantity", STORE_DOUBLE, event_item, quantity), .aliases = {"qty"}},
    {FIELD_AND("price", STORE_DOUBLE, event_item, price, has_price), .aliases = {"unit_price"}},
    {FIELD("position", STORE_I32, event_item, position), .aliases = {"rank"}},
};

static const struct event_item blank_event_item = {.quantity = 1, .position = -1};

static const struct target target_event_item = {"item",
                                                event_item_fields,
                                                COUNT(event_item_fields),
                                                sizeof(struct event_item),
                                                &blank_event_item,
                                                SCHEMAS_ITEMS_MAX};

#define SLOT(text, how, member) FIELD(text, how, event_slots, event.member)
#define SLOT_AND(text, how, member, companion)                                                     \
    FIELD_AND(text, how, event_slots, event.member, event.companion)

static const struct target_field event_fields[] = {
    {SLOT("event_id", STORE_TEXT, event_id), .essential = true, .aliases = {"id", "message_id"}},
    {SLOT("event_type", STORE_EVENT_TYPE, type), .essential = true,
     .aliases = {"type", "event", "event_name", "action", "action_name"}},
    {SLOT("event_time", STORE_TIME, time_ms), .essential = true,
     .aliases = {"timestamp", "time", "ts", "event_timestamp"}},
    {SLOT("user_id", STORE_TEXT, user_id), .essential = true,
     .aliases = {"user", "customer_id", "account_id"}},
    {SLOT("anonymous_id", STORE_TEXT, anonymous_id), .essential = true,
     .aliases = {"visitor_id", "client_id", "device_id", "cookie_id"}},
    {SLOT("session_id", STORE_TEXT, session_id), .aliases = {"session"}},
    {SLOT_AND("items", STORE_RECORDS, items, n_items), .essential = true, .sub = &target_event_item,
     .aliases = {"products", "line_items", "item_ids", "product_ids"}},
    {SLOT("query", STORE_TEXT, query), .aliases = {"search_query", "search_term"}},
    {SLOT("order_id", STORE_TEXT, order_id), .aliases = {"transaction_id"}},
    {SLOT_AND("value", STORE_DOUBLE, value, has_value), .aliases = {"revenue", "total"}},
    {SLOT("currency", STORE_TEXT, currency), .aliases = {"currency_code"}},
    {SLOT("recommendation_id", STORE_TEXT, recommendation_id),
     .aliases = {"attribution_token", "recomm_id", "query_id"}},
    {SLOT("tenant", STORE_TEXT, tenant), .essential = true, .aliases = {"tenant_id"}},
    {SLOT("consent", STORE_BOOL, consent), .essential = true, .aliases = {"user_consent"}},
    {SLOT_AND("context", STORE_ATTRIBUTES, context, n_context)},
    {SLOT_AND("attributes", STORE_ATTRIBUTES, attributes, n_attributes), .aliases = {"properties"}},
    {FIELD("item_id", STORE_TEXT, event_slots, one.item_id), .essential = true,
     .aliases = {"item", "product_id", "sku", "article_id"}},
    {FIELD("quantity", STORE_DOUBLE, event_slots, one.quantity), .aliases = {"qty"}},
    {FIELD_AND("price", STORE_DOUBLE, event_slots, one.price, one.has_price),
     .aliases = {"unit_price"}},
    {FIELD("position", STORE_I32, event_slots, one.position), .aliases = {"rank"}},
};

static const struct event_slots blank_event = {.event = {.type = EVENT_OTHER, .consent = true},
                                               .one = {.quantity = 1, .position = -1}};

const struct target schemas__target_event = {
    "event", event_fields, COUNT(event_fields), sizeof(struct event_slots), &blank_event, 1};

/* ---- item ---- */

static const struct target_field item_fields[] = {
    {FIELD("item_id", STORE_TEXT, item, item_id), .essential = true,
     .aliases = {"id", "product_id", "sku", "article_id"}},
    {FIELD("tenant", STORE_TEXT, item, tenant), .essential = true, .aliases = {"tenant_id"}},
    {FIELD("title", STORE_TEXT, item, title), .aliases = {"name"}},
    {FIELD_AND("categories", STORE_TEXTS, item, categories, n_categories),
     .aliases = {"category", "category_path"}},
    {FIELD("brand", STORE_TEXT, item, brand), .aliases = {"manufacturer"}},
    {FIELD_AND("price", STORE_DOUBLE, item, price, has_price), .aliases = {"sale_price"}},
    {FIELD("stock", STORE_I64, item, stock), .aliases = {"quantity", "available_quantity"}},
    {FIELD("available_from", STORE_TIME, item, available_from_ms), .aliases = {"available_time"}},
    {FIELD("available_until", STORE_TIME, item, available_until_ms), .aliases = {"expire_time"}},
    {FIELD_AND("attributes", STORE_ATTRIBUTES, item, attributes, n_attributes)},
    {FIELD_AND("vector", STORE_FLOATS, item, vector, n_vector), .aliases = {"embedding"}},
    {FIELD("hidden", STORE_BOOL, item, hidden)},
};

static const struct item blank_item = {.stock = -1};

const struct target schemas__target_item = {
    "item", item_fields, COUNT(item_fields), sizeof(struct item), &blank_item, 1};

/* ---- list ---- */

static const struct target_field reason_fields[] = {
    {FIELD("kind", STORE_REASON_KIND, reason, kind)},
    {FIELD("item_id", STORE_TEXT, reason, item_id)},
};
static const struct reason blank_reason = {.kind = REASON_KIND_COUNT};
static const struct target target_reason = {
    "reason",      reason_fields,    COUNT(reason_fields), sizeof(struct reason),
    &blank_reason, SCHEMAS_ITEMS_MAX};

static const struct target_field list_item_fields[] = {
    {FIELD("item_id", STORE_TEXT, list_item, item_id), .essential = true},
    {FIELD("score", STORE_FLOAT, list_item, score)},
    {FIELD_AND("reasons", STORE_REASONS, list_item, reasons, n_reasons), .sub = &target_reason},
};
static const struct list_item blank_list_item;
static const struct target target_list_item = {
    "item",           list_item_fields, COUNT(list_item_fields), sizeof(struct list_item),
    &blank_list_item, SCHEMAS_ITEMS_MAX};

static const struct target_field trigger_fields[] = {
    {FIELD("topic", STORE_TEXT, trigger, topic)},
    {FIELD("partition", STORE_I32, trigger, partition)},
    {FIELD("offset", STORE_I64, trigger, offset)},
    {FIELD("event_id", STORE_TEXT, trigger, event_id)},
    {FIELD("event_time", STORE_TIME, trigger, event_time_ms)},
};
static const struct trigger blank_trigger;
static const struct target target_trigger = {
    "trigger", trigger_fields, COUNT(trigger_fields), sizeof(struct trigger), &blank_trigger, 1};

static const struct target_field list_fields[] = {
    {FIELD("recommendation_id", STORE_TEXT, recommendations, recommendation_id)},
    {FIELD("tenant", STORE_TEXT, recommendations, tenant)},
    {FIELD("user_id", STORE_TEXT, recommendations, user_id), .essential = true},
    {FIELD("scenario", STORE_TEXT, recommendations, scenario)},
    {FIELD_AND("items", STORE_RECORDS, recommendations, items, n_items), .essential = true,
     .sub = &target_list_item},
    {FIELD("model_version", STORE_TEXT, recommendations, model_version)},
    {FIELD("variant", STORE_TEXT, recommendations, variant)},
    {FIELD("trigger", STORE_RECORD, recommendations, trigger), .sub = &target_trigger},
};
static const struct recommendations blank_list;

const struct target schemas__target_list = {
    "list", list_fields, COUNT(list_fields), sizeof(struct recommendations), &blank_list, 1};

/* ---- related and trending ---- */

static const struct target_field counted_item_fields[] = {
    {FIELD("item_id", STORE_TEXT, counted_item, item_id), .essential = true},
    {FIELD("score", STORE_FLOAT, counted_item, score)},
    {FIELD("count", STORE_DOUBLE, counted_item, count)},
};
static const struct counted_item blank_counted_item;
static const struct target target_counted_item = {"item",
                                                  counted_item_fields,
                                                  COUNT(counted_item_fields),
                                                  sizeof(struct counted_item),
                                                  &blank_counted_item,
                                                  SCHEMAS_ITEMS_MAX};

static const struct target_field related_fields[] = {
    {FIELD("item_id", STORE_TEXT, related, item_id), .essential = true},
    {FIELD("tenant", STORE_TEXT, related, tenant)},
    {FIELD("kind", STORE_RELATED_KIND, related, kind), .essential = true},
    {FIELD_AND("items", STORE_RECORDS, related, items, n_items), .essential = true,
     .sub = &target_counted_item},
    {FIELD("count", STORE_DOUBLE, related, count)},
    {FIELD("half_life_ms", STORE_I64, related, decay.half_life_ms)},
    {FIELD("window_ms", STORE_I64, related, decay.window_ms)},
    {FIELD("event_time", STORE_TIME, related, event_time_ms)},
};
static const struct related blank_related = {.kind = RELATED_OTHER};

const struct target schemas__target_related = {"related record",      related_fields,
                                               COUNT(related_fields), sizeof(struct related),
                                               &blank_related,        1};

static const struct target_field trending_fields[] = {
    {FIELD("tenant", STORE_TEXT, trending, tenant)},
    {FIELD("category", STORE_TEXT, trending, category), .essential = true},
    {FIELD_AND("items", STORE_RECORDS, trending, items, n_items), .essential = true,
     .sub = &target_counted_item},
    {FIELD("count", STORE_DOUBLE, trending, count)},
    {FIELD("half_life_ms", STORE_I64, trending, decay.half_life_ms)},
    {FIELD("window_ms", STORE_I64, trending, decay.window_ms)},
    {FIELD("event_time", STORE_TIME, trending, event_time_ms)},
};
static const struct trending blank_trending;

const struct target schemas__target_trending = {"trending record",      trending_fields,
                                                COUNT(trending_fields), sizeof(struct trending),
                                                &blank_trending,        1};

/* ---- training example ---- */

static const struct target_field example_item_fields[] = {
    {FIELD("item_id", STORE_TEXT, example_item, item_id), .essential = true},
    {FIELD("position", STORE_I32, example_item, position)},
    {FIELD("score", STORE_FLOAT, example_item, score)},
    {FIELD("shown", STORE_BOOL, example_item, shown)},
    {FIELD_AND("features", STORE_FLOATS, example_item, features, n_features)},
};
static const struct example_item blank_example_item;
static const struct target target_example_item = {"item",
                                                  example_item_fields,
                                                  COUNT(example_item_fields),
                                                  sizeof(struct example_item),
                                                  &blank_example_item,
                                                  SCHEMAS_ITEMS_MAX};

static const struct target_field outcome_fields[] = {
    {FIELD("item_id", STORE_TEXT, outcome, item_id), .essential = true},
    {FIELD("event_type", STORE_EVENT_TYPE, outcome, type), .essential = true},
    {FIELD("event_time", STORE_TIME, outcome, time_ms)},
    {FIELD_AND("value", STORE_DOUBLE, outcome, value, has_value)},
};
static const struct outcome blank_outcome = {.type = EVENT_OTHER};
static const struct target target_outcome = {
    "outcome",      outcome_fields,   COUNT(outcome_fields), sizeof(struct outcome),
    &blank_outcome, SCHEMAS_ITEMS_MAX};

#define EXAMPLE(text, how, member) FIELD(text, how, training_example, member)
#define EXAMPLE_AND(text, how, member, companion)                                                  \
    FIELD_AND(text, how, training_example, member, companion)
static const struct target_field example_fields[] = {
    {EXAMPLE("example_id", STORE_TEXT, example_id), .essential = true},
    {EXAMPLE("tenant", STORE_TEXT, tenant)},
    {EXAMPLE("user_id", STORE_TEXT, user_id), .essential = true},
    {EXAMPLE("anonymous_id", STORE_TEXT, anonymous_id), .essential = true},
    {EXAMPLE("recommendation_id", STORE_TEXT, recommendation_id)},
    {EXAMPLE("scenario", STORE_TEXT, scenario)},
    {EXAMPLE("model_version", STORE_TEXT, model_version)},
    {EXAMPLE("variant", STORE_TEXT, variant)},
    {EXAMPLE("trigger", STORE_RECORD, trigger), .sub = &target_trigger},
    {EXAMPLE("event_time", STORE_TIME, event_time_ms)},
    {EXAMPLE_AND("context_names", STORE_TEXTS, context_names, n_context_names)},
    {EXAMPLE_AND("context", STORE_FLOATS, context, n_context)},
    {EXAMPLE_AND("feature_names", STORE_TEXTS, feature_names, n_feature_names)},
    {EXAMPLE_AND("items", STORE_RECORDS, items, n_items), .essential = true,
     .sub = &target_example_item},
    {EXAMPLE_AND("outcomes", STORE_RECORDS, outcomes, n_outcomes), .essential = true,
     .sub = &target_outcome},
};
static const struct training_example blank_example;

const struct target schemas__target_example = {
    "training example",    example_fields,
    COUNT(example_fields), sizeof(struct training_example),
    &blank_example,        1};

/* ---- erasure ---- */

static const struct target_field erasure_fields[] = {
    {FIELD("request_id", STORE_TEXT, erasure, request_id), .aliases = {"id", "message_id"}},
    {FIELD("tenant", STORE_TEXT, erasure, tenant), .essential = true, .aliases = {"tenant_id"}},
    {FIELD("user_id", STORE_TEXT, erasure, user_id), .essential = true,
     .aliases = {"user", "customer_id", "account_id"}},
    {FIELD("anonymous_id", STORE_TEXT, erasure, anonymous_id), .essential = true,
     .aliases = {"visitor_id", "client_id", "device_id", "cookie_id"}},
    {FIELD("requested_at", STORE_TIME, erasure, requested_at_ms),
     .aliases = {"timestamp", "time", "ts"}},
    {FIELD("source", STORE_TEXT, erasure, source), .aliases = {"requested_by"}},
};
static const struct erasure blank_erasure;

const struct target schemas__target_erasure = {
    "erasure", erasure_fields, COUNT(erasure_fields), sizeof(struct erasure), &blank_erasure, 1};

/* ---- finding a field ---- */

size_t schemas__fold_name(struct str name, char *out, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (c == '_' || c == '-' || c == '.' || c == ' ') continue;
        if (c == 0 || n + 1 >= cap) return 0;
        out[n++] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    }
    out[n] = 0;
    return n;
}

/* ours, which is lower case with '_', is the folded name. */
static bool folds_to(const char *ours, const char *folded)
{
    for (; *ours; ours++) {
        if (*ours == '_') continue;
        if (*ours != *folded++) return false;
    }
    return *folded == 0;
}

const struct target_field *schemas__target_find(const struct target *target, struct str name)
{
    for (size_t i = 0; i < target->n; i++)
        if (str_equal(str_of(target->fields[i].name), name)) return &target->fields[i];
    char folded[40];
    if (schemas__fold_name(name, folded, sizeof folded) == 0) return NULL;
    for (size_t i = 0; i < target->n; i++)
        if (folds_to(target->fields[i].name, folded)) return &target->fields[i];
    for (size_t i = 0; i < target->n; i++)
        for (size_t a = 0; a < TARGET_ALIASES_MAX && target->fields[i].aliases[a]; a++)
            if (folds_to(target->fields[i].aliases[a], folded)) return &target->fields[i];
    return NULL;
}
