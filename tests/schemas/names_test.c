/* Names, keys, hashes. */
#include "schemas/internal.h"
#include "tests/schemas/fixture.h"

static void test_event_types(void)
{
    static const struct {
        const char *name;
        enum event_type type;
    } names[] = {
        {"view", EVENT_VIEW},
        {"detail-page-view", EVENT_VIEW},
        {"Product Viewed", EVENT_VIEW},
        {"view_item", EVENT_VIEW},
        {"add-to-cart", EVENT_ADD_TO_CART},
        {"AddToCart", EVENT_ADD_TO_CART},
        {"addtocart", EVENT_ADD_TO_CART},
        {"Product Added", EVENT_ADD_TO_CART},
        {"cartaddition", EVENT_ADD_TO_CART},
        {"remove_from_cart", EVENT_REMOVE_FROM_CART},
        {"purchase-complete", EVENT_PURCHASE},
        {"Order Completed", EVENT_PURCHASE},
        {"transaction", EVENT_PURCHASE},
        {"Order Cancelled", EVENT_REFUND},
        {"Products Searched", EVENT_SEARCH},
        {"add_to_wishlist", EVENT_LIKE},
        {"bookmark", EVENT_LIKE},
        {"Product List Viewed", EVENT_IMPRESSION},
        {"view_item_list", EVENT_IMPRESSION},
        {"list_click", EVENT_CLICK},
        {"select_item", EVENT_CLICK},
        {"dislike", EVENT_DISLIKE},
    };
    enum event_type type = EVENT_TYPE_COUNT;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!schemas_event_type_parse(str_of(names[i].name), &type))
            test_fail(__FILE__, __LINE__, "%s is not known", names[i].name);
        CHECK_STR(schemas_event_type_name(type), schemas_event_type_name(names[i].type));
    }
    for (int t = 0; t < EVENT_TYPE_COUNT; t++) {
        CHECK(schemas_event_type_parse(str_of(schemas_event_type_name((enum event_type)t)), &type));
        CHECK_INT(type, t);
    }
    CHECK(!schemas_event_type_parse(STR("home-page-view"), &type));
    CHECK(!schemas_event_type_parse(STR(""), &type));
    CHECK(!schemas_event_type_parse(STR("view\0x"), &type));
    CHECK(!schemas_event_type_parse(
        STR("a name that is longer than any name of an event type can be"), &type));
}

/* The enums of the .avsc files and ours have one order: encode.c writes the number. */
static void test_symbols(void)
{
    static const char *const texts[] = {schemas__avsc_event, schemas__avsc_training_example};
    const char *at = NULL;
    char quoted[40];
    for (int i = 0; i < 2 * EVENT_TYPE_COUNT; i++) {
        int t = i % EVENT_TYPE_COUNT;
        if (t == 0) at = strstr(texts[i / EVENT_TYPE_COUNT], "\"symbols\"");
        (void)snprintf(quoted, sizeof quoted, "\"%s\"",
                       schemas_event_type_name((enum event_type)t));
        at = at ? strstr(at, quoted) : NULL;
        if (!at)
            test_fail(__FILE__, __LINE__, "%s is not in its place in file %d", quoted,
                      i / EVENT_TYPE_COUNT);
    }
    at = strstr(schemas__avsc_recommendations, "\"symbols\"");
    for (int k = 0; k < REASON_KIND_COUNT; k++) {
        (void)snprintf(quoted, sizeof quoted, "\"%s\"", schemas_reason_name((enum reason_kind)k));
        at = at ? strstr(at, quoted) : NULL;
        if (!at)
            test_fail(__FILE__, __LINE__, "%s is not in its place in recommendations.avsc", quoted);
    }
    at = strstr(schemas__avsc_related, "\"symbols\"");
    for (int k = 0; k < RELATED_KIND_COUNT; k++) {
        enum related_kind back = RELATED_KIND_COUNT, kind = (enum related_kind)k;
        (void)snprintf(quoted, sizeof quoted, "\"%s\"", schemas_related_name(kind));
        at = at ? strstr(at, quoted) : NULL;
        if (!at) test_fail(__FILE__, __LINE__, "%s is not in its place in related.avsc", quoted);
        CHECK(schemas_related_parse(str_of(schemas_related_name(kind)), &back));
        CHECK_INT(back, kind);
    }
}

static void test_item_key(void)
{
    char long_id[600];
    memset(long_id, 'x', sizeof long_id);
    /* Stored in every store: these values must never change. */
    CHECK_HEX(schemas_item_key(STR(""), STR("a")),
              schemas_item_key((struct str){NULL, 0}, STR("a")));
    CHECK(schemas_item_key(STR("a"), STR("b")) != schemas_item_key(STR("ab"), STR("")));
    CHECK(schemas_item_key(STR("a"), STR("b")) != schemas_item_key(STR(""), STR("ab")));
    CHECK_HEX(schemas_item_key(STR("shop"), STR("item-1")), UINT64_C(0x368ddacc835e046d));
    /* Long ids take another way to the same hash. */
    struct str all = {long_id, 600};
    long_id[300] = 0;
    CHECK_HEX(schemas_item_key((struct str){long_id, 300}, (struct str){long_id + 301, 299}),
              schemas_id_hash(all));
    CHECK(schemas_id_hash(STR("")) != 0);
}

static void test_user_key(void)
{
    char out[SCHEMAS_USER_KEY_MAX], id[SCHEMAS_ID_MAX + 1];
    struct event event = {.tenant = STR("t"), .user_id = STR("u1"), .anonymous_id = STR("a1")};
    struct str key = schemas_user_key(&event, out);
    CHECK_BYTES(key.ptr, key.len, "t\0uu1", 5);
    event.user_id.len = 0;
    key = schemas_user_key(&event, out);
    CHECK_BYTES(key.ptr, key.len, "t\0aa1", 5);
    event.anonymous_id.len = 0;
    CHECK_INT(schemas_user_key(&event, out).len, 0);
    memset(id, 'x', sizeof id);
    event.user_id = event.tenant = (struct str){id, SCHEMAS_ID_MAX};
    CHECK_INT(schemas_user_key(&event, out).len, SCHEMAS_USER_KEY_MAX);
    event.user_id.len++;
    CHECK_INT(schemas_user_key(&event, out).len, 0);
}

static void test_recommendation_id(void)
{
    char a[33], b[33];
    schemas_recommendation_id(STR("freshet.events"), 3, 42, a);
    CHECK_STR(a, "ee81dff7efe81f8f3413305fdc8d2442");
    schemas_recommendation_id(STR("freshet.events"), 3, 43, b);
    CHECK(strcmp(a, b) != 0);
}

int main(void)
{
    CASE(test_event_types);
    CASE(test_symbols);
    CASE(test_item_key);
    CASE(test_user_key);
    CASE(test_recommendation_id);
    return 0;
}
