/* Rules files: random ones against a filter written naively on texts, conditions, and what is said of files that are wrong. */

#include "tests/test.h"

#include "app/rules.h"
#include "base/buf.h"
#include "base/rng.h"

static struct rules *parse(const char *text)
{
    struct rules *rules;
    struct err err = ERR_INIT;
    CHECK_OK(rules_parse(&rules, "rules.json", str_of(text), &err), err);
    return rules;
}

/* ---- random rules against texts ---- */

enum { RULES = 4, VALUES = 3, NAMES = 4, ROUNDS = 4000 };

static const char *const names[NAMES] = {"toys", "Caf\xc3\xa9 & tea", "\\\"odd\\\"", "x"};
static const char *const plain[NAMES] = {"toys", "Caf\xc3\xa9 & tea", "\"odd\"", "x"};

/* What an item is, in numbers of names; -1 none. */
struct thing {
    int id, category[2], brand, colour, size;
    double price; /* NaN none */
};

/* A rule in the same numbers: a list of names for each field, n = 0 not given. */
struct drawn {
    bool is_include;
    struct {
        int n, of[VALUES];
    } id, category, brand, colour, size;
    bool has_price;
    double min, max;
    int region; /* -1: always */
};

static bool holds(int n, const int *of, int value)
{
    for (int i = 0; i < n; i++)
        if (of[i] == value) return true;
    return n == 0;
}

static bool naive_match(const struct drawn *rule, const struct thing *thing)
{
    if (!holds(rule->id.n, rule->id.of, thing->id)) return false;
    if (!holds(rule->category.n, rule->category.of, thing->category[0]) &&
        !holds(rule->category.n, rule->category.of, thing->category[1]))
        return false;
    return holds(rule->brand.n, rule->brand.of, thing->brand) &&
           holds(rule->colour.n, rule->colour.of, thing->colour) &&
           holds(rule->size.n, rule->size.of, thing->size) &&
           (!rule->has_price || (thing->price >= rule->min && thing->price <= rule->max));
}

static int draw_list(struct rng *rng, int *of)
{
    int n = rng_below(rng, 3) ? 0 : 1 + (int)rng_below(rng, VALUES);
    for (int i = 0; i < n; i++)
        of[i] = (int)rng_below(rng, NAMES);
    return n;
}

static void put_list(struct buf *out, const char *key, int n, const int *of, const char **between)
{
    if (n == 0) return;
    buf_push_format(out, "%s\"%s\": ", *between, key);
    for (int i = 0; i < n; i++)
        buf_push_format(out, "%s\"%s\"", i ? ", " : n > 1 ? "[" : "", names[of[i]]);
    buf_push_text(out, n > 1 ? "]" : "");
    *between = ", ";
}

static void draw_rule(struct rng *rng, struct drawn *rule, struct buf *out)
{
    const char *between = "", *inner = "";
    *rule = (struct drawn){.is_include = rng_below(rng, 2) == 0,
                           .region = (int)rng_below(rng, NAMES + 1) - 1};
    rule->id.n = draw_list(rng, rule->id.of);
    rule->category.n = draw_list(rng, rule->category.of);
    rule->brand.n = draw_list(rng, rule->brand.of);
    rule->colour.n = draw_list(rng, rule->colour.of);
    rule->size.n = draw_list(rng, rule->size.of);
    rule->has_price = rng_below(rng, 3) == 0 || (rule->id.n + rule->category.n + rule->brand.n +
                                                 rule->colour.n + rule->size.n) == 0;
    rule->min = (double)rng_below(rng, 50);
    rule->max = rule->min + (double)rng_below(rng, 50);
    buf_push_text(out, "{");
    if (rule->region >= 0)
        buf_push_format(out, "\"when\": {\"context\": {\"region\": \"%s\"}}, ",
                        names[rule->region]);
    buf_push_format(out, "\"%s\": {", rule->is_include ? "include" : "exclude");
    put_list(out, "item", rule->id.n, rule->id.of, &between);
    put_list(out, "category", rule->category.n, rule->category.of, &between);
    put_list(out, "brand", rule->brand.n, rule->brand.of, &between);
    if (rule->colour.n || rule->size.n) {
        buf_push_format(out, "%s\"attribute\": {", between);
        put_list(out, "colour", rule->colour.n, rule->colour.of, &inner);
        put_list(out, "size", rule->size.n, rule->size.of, &inner);
        buf_push_text(out, "}");
        between = ", ";
    }
    if (rule->has_price)
        buf_push_format(out, "%s\"price\": {\"min\": %g, \"max\": %g}", between, rule->min,
                        rule->max);
    buf_push_text(out, "}}");
}

static struct thing draw_thing(struct rng *rng)
{
    struct thing thing = {
        .id = (int)rng_below(rng, NAMES),
        .category = {(int)rng_below(rng, NAMES + 1) - 1, (int)rng_below(rng, NAMES + 1) - 1},
        .brand = (int)rng_below(rng, NAMES + 1) - 1,
        .colour = (int)rng_below(rng, NAMES + 1) - 1,
        .size = (int)rng_below(rng, NAMES + 1) - 1,
        .price = rng_below(rng, 5) ? (double)rng_below(rng, 100) : (double)NAN};
    return thing;
}

static bool is_allowed(const struct rules *rules, const struct thing *thing, int region)
{
    uint64_t categories[2], attributes[2];
    struct attribute context = {STR("region"), region >= 0 ? str_of(plain[region]) : STR("")};
    struct event event = {.context = &context, .n_context = region >= 0};
    struct model_offer offer =
        model_offer_none(schemas_item_key(STR(""), str_of(plain[thing->id])));
    offer.categories = categories;
    offer.attributes = attributes;
    for (int c = 0; c < 2; c++)
        if (thing->category[c] >= 0)
            categories[offer.n_categories++] = schemas_id_hash(str_of(plain[thing->category[c]]));
    if (thing->brand >= 0) offer.brand = schemas_id_hash(str_of(plain[thing->brand]));
    if (thing->colour >= 0)
        attributes[offer.n_attributes++] = model_attribute_hash(
            schemas_id_hash(STR("colour")), schemas_id_hash(str_of(plain[thing->colour])));
    if (thing->size >= 0)
        attributes[offer.n_attributes++] = model_attribute_hash(
            schemas_id_hash(STR("size")), schemas_id_hash(str_of(plain[thing->size])));
    offer.price = thing->price;
    return model_rules_allow(rules_model(rules), rules_active(rules, &event, STR("default")),
                             &offer);
}

static void case_random_rules_as_a_naive_filter(void)
{
    struct rng rng;
    struct buf text;
    int allowed = 0, refused = 0;
    rng_init(&rng, TEST_SEED());
    buf_init(&text, 1 << 16);
    for (int round = 0; round < ROUNDS; round++) {
        struct drawn drawn[RULES];
        int n = 1 + (int)rng_below(&rng, RULES);
        buf_reset(&text);
        buf_push_text(&text, "{\"rules\": [");
        for (int r = 0; r < n; r++) {
            buf_push_text(&text, r ? ",\n" : "\n");
            draw_rule(&rng, &drawn[r], &text);
        }
        buf_push_text(&text, "]}");
        buf_push_byte(&text, 0);
        struct rules *rules = parse((const char *)text.data);
        for (int i = 0; i < 20; i++) {
            struct thing thing = draw_thing(&rng);
            int region = (int)rng_below(&rng, NAMES + 1) - 1;
            bool want = true;
            for (int r = 0; r < n; r++)
                if (drawn[r].region < 0 || drawn[r].region == region)
                    want = want && naive_match(&drawn[r], &thing) == drawn[r].is_include;
            if (is_allowed(rules, &thing, region) != want)
                test_fail(__FILE__, __LINE__, "allowed is %d, naively %d: %s", !want, want,
                          (const char *)text.data);
            allowed += want;
            refused += !want;
        }
        rules_free(rules);
    }
    buf_fini(&text);
    CHECK(allowed > ROUNDS && refused > ROUNDS);
}

/* ---- conditions ---- */

/* Whether the only rule is active for an event at this time. */
static bool is_active(const struct rules *rules, int64_t time_ms)
{
    struct event event = {.time_ms = time_ms};
    return rules_active(rules, &event, STR("default")) != 0;
}

static void case_hours_and_days_are_those_of_the_event(void)
{
    const int64_t hour = 3600000, day = 24 * hour, monday = 4 * day; /* 5 January 1970 */
    struct rules *night = parse("{\"rules\":[{\"when\":{\"hours\":\"22:00-06:00\","
                                "\"utc_offset\":\"+02:00\"},\"damping\":0.5}]}");
    for (int64_t d = -3; d < 3; d++)
        for (int h = 0; h < 24; h++) {
            int local = (h + 2) % 24;
            CHECK_INT(is_active(night, d * day + h * hour), local >= 22 || local < 6);
        }
    CHECK_INT(is_active(night, 4 * hour - 1), true);
    CHECK_INT(is_active(night, 4 * hour), false);
    rules_free(night);
    struct rules *weekend =
        parse("{\"rules\":[{\"when\":{\"days\":[\"sat\",\"sun\"]},\"damping\":0.5}]}");
    for (int d = -20; d < 20; d++)
        CHECK_INT(is_active(weekend, monday + d * day + hour), ((d % 7) + 7) % 7 >= 5);
    rules_free(weekend);
}

static void case_tenants_and_scenarios(void)
{
    struct rules *rules =
        parse("{\"rules\":[{\"when\":{\"tenant\":[\"a\",\"b\"],\"scenario\":\"home\"},"
              "\"exclude\":{\"item\":\"1\"}}, {\"pin\":\"7\",\"place\":2}]}");
    struct event event = {.tenant = STR("b")};
    CHECK_HEX(rules_active(rules, &event, STR("home")), 3);
    CHECK_HEX(rules_active(rules, &event, STR("cart")), 2);
    struct model_offer offer = model_offer_none(schemas_item_key(STR("b"), STR("1")));
    CHECK(!model_rules_allow(rules_model(rules), 3, &offer));
    offer.key = schemas_item_key(STR(""), STR("1"));
    CHECK(model_rules_allow(rules_model(rules), 3, &offer));
    CHECK_HEX(rules_model(rules)->rules[1].pin, schemas_item_key(STR(""), STR("7")));
    CHECK_BYTES(rules_pin_id(rules, 1).ptr, rules_pin_id(rules, 1).len, "7", 1);
    CHECK_HEX(rules_hard(rules), 1);
    rules_free(rules);
}

/* ---- files that are wrong ---- */

static const struct {
    const char *text, *says;
} wrong[] = {
    {"", "rules.json:1: no JSON"},
    {"{\"rules\": [\n{\"damping\": 0.5},\n}]", "rules.json:3: no JSON"},
    {"[]", "the file must be {\"rules\": [...]}"},
    {"{\"rules\": [], \"more\": 1}", "and nothing else"},
    {"{\"rules\": [\n{\"damping\": 0.5},\n{\"name\": \"a { b\", \"colour\": 1}]}",
     "rules.json:3: rule 2 (\"a { b\"): it does nothing"},
    {"{\"rules\": [{\n\"damping\": 0.5,\n\"explore\": 0.1}]}",
     "rules.json:3: rule 1: it has \"damping\" and \"explore\""},
    {"{\"rules\": [{\"name\": \"x\",\n\"exclude\": {\n\"colour\": \"red\"}}]}",
     "rules.json:3: rule 1 (\"x\"): items have no \"colour\": item, category, brand"},
    {"{\"rules\": [{\"exclude\": {}}]}", "must say which items"},
    {"{\"rules\": [{\"exclude\": {\"brand\": []}}]}", "\"brand\" is empty"},
    {"{\"rules\": [{\"exclude\": {\"brand\": 7}}]}", "must be a text or an array of texts"},
    {"{\"rules\": [{\"exclude\": {\"price\": {\"min\": 5, \"max\": 1}}}]}", "\"price\" must look"},
    {"{\"rules\": [{\"exclude\": {\"price\": {\"mim\": 5}}}]}", "\"price\" must look"},
    {"{\"rules\": [{\"exclude\": {\"attribute\": \"red\"}}]}", "\"attribute\" must be an object"},
    {"{\"rules\": [{\"boost\": 2}]}", "\"items\" must say which items"},
    {"{\"rules\": [{\"boost\": -1, \"items\": {\"brand\": \"x\"}}]}", "a number from 0 to 1e+06"},
    {"{\"rules\": [{\"diversity\": 1.5}]}", "\"diversity\" must be a number from 0 to 1"},
    {"{\"rules\": [{\"diversity\": 0.5, \"place\": 1}]}",
     "a rule with \"diversity\" has no \"place\""},
    {"{\"rules\": [{\"most\": 2}]}", "\"most\" needs \"of\""},
    {"{\"rules\": [{\"most\": 2, \"of\": \"shop\"}]}", "\"of\" must be \"category\" or \"brand\""},
    {"{\"rules\": [{\"most\": 65, \"of\": \"brand\"}]}", "a whole number from 0 to 64"},
    {"{\"rules\": [{\"pin\": \"a\", \"place\": 0}]}", "\"place\" must be a whole number from 1"},
    {"{\"rules\": [{\"pin\": \"a\", \"when\": {\"tenant\": [\"b\", \"c\"]}}]}",
     "a pin is an item of one tenant"},
    {"{\"rules\": [{\"damping\": 0.1,\n\"when\": {\"hours\": \"25:00-26:00\"}}]}",
     "rules.json:2: rule 1: \"hours\" must look like"},
    {"{\"rules\": [{\"damping\": 0.1, \"when\": {\"hours\": \"06:00-06:00\"}}]}", "empty time"},
    {"{\"rules\": [{\"damping\": 0.1, \"when\": {\"days\": \"monday\"}}]}", "is none of mon"},
    {"{\"rules\": [{\"damping\": 0.1, \"when\": {\"utc_offset\": \"2\"}}]}", "\"utc_offset\" must"},
    {"{\"rules\": [{\"damping\": 0.1, \"when\": {\"region\": \"NO\"}}]}",
     "\"when\" has no \"region\": tenant, scenario, context"},
    {"{\"rules\": [{\"damping\": 0.1, \"damping\": 0.2}]}", "duplicate"},
};

static void case_what_is_wrong_is_said(void)
{
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct rules *rules;
        struct err err = ERR_INIT;
        CHECK_FAIL(rules_parse(&rules, "rules.json", str_of(wrong[i].text), &err), err, ERR_FATAL);
        CHECK_INT(err.exit_code, ERR_EXIT_USAGE);
        CHECK_CONTAINS(err.text, wrong[i].says);
    }
    struct rules *rules;
    struct err err = ERR_INIT;
    CHECK_FAIL(rules_load(&rules, "/nowhere/rules.json", &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "rules.file=/nowhere/rules.json cannot be read");
}

int main(void)
{
    CASE(case_random_rules_as_a_naive_filter);
    CASE(case_hours_and_days_are_those_of_the_event);
    CASE(case_tenants_and_scenarios);
    CASE(case_what_is_wrong_is_said);
    return 0;
}
