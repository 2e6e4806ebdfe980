/* The rules file. Texts become hashes when it is read; only conditions keep theirs. */
#include "app/rules_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { FILE_MAX = 4 << 20, ARENA_BLOCK = 16 << 10 };

/* ---- which items ---- */

static uint64_t *hashes_of(struct rules *rules, const struct texts *texts)
{
    uint64_t *hashes = arena_alloc(rules->arena, (size_t)texts->n * sizeof *hashes + 1);
    for (int i = 0; i < texts->n; i++)
        hashes[i] = schemas_id_hash(texts->text[i]);
    return hashes;
}

/* Items by id: of the tenants that the rule's condition names, or of "". */
static void test_items(struct rules *rules, const struct when *when, const struct texts *ids,
                       struct model_test *test)
{
    int tenants = when->tenants.n ? when->tenants.n : 1;
    uint64_t *keys = arena_alloc(rules->arena, (size_t)(ids->n * tenants) * sizeof *keys + 1);
    *test = (struct model_test){.field = TEST_ITEM, .values = keys, .n = ids->n * tenants};
    for (int i = 0; i < ids->n; i++)
        for (int t = 0; t < tenants; t++)
            keys[i * tenants + t] =
                schemas_item_key(when->tenants.n ? when->tenants.text[t] : STR(""), ids->text[i]);
}

static bool read_price(struct reading *reading, const json_t *json, struct model_test *test)
{
    const char *key;
    json_t *value;
    *test = (struct model_test){.field = TEST_PRICE, .min = -HUGE_VAL, .max = HUGE_VAL};
    bool ok = json_is_object(json) && json_object_size(json) > 0;
    json_object_foreach((json_t *)(uintptr_t)json, key, value)
    {
        double number = json_is_number(value) ? json_number_value(value) : (double)NAN;
        if (strcmp(key, "min") == 0)
            test->min = number;
        else if (strcmp(key, "max") == 0)
            test->max = number;
        else
            ok = false;
    }
    if (ok && test->min <= test->max) return true;
    return rules__refuse(reading, "price", "\"price\" must look like {\"min\": 5, \"max\": 20}");
}

/* "attribute": {"colour": ["red", "blue"], "size": "L"}: a test for each name. Returns the tests added, -1 with err. */
static int read_attributes(struct reading *reading, const json_t *json, struct model_test *tests)
{
    const char *key;
    json_t *value;
    int n = 0;
    if (!json_is_object(json) || json_object_size(json) == 0) {
        (void)rules__refuse(
            reading, "attribute",
            "\"attribute\" must be an object, like {\"colour\": [\"red\", \"blue\"]}");
        return -1;
    }
    json_object_foreach((json_t *)(uintptr_t)json, key, value)
    {
        struct texts texts;
        if (!rules__texts_read(reading, key, value, &texts)) return -1;
        uint64_t *hashes = hashes_of(reading->rules, &texts);
        for (int i = 0; i < texts.n; i++)
            hashes[i] = model_attribute_hash(schemas_id_hash(str_of(key)), hashes[i]);
        tests[n++] = (struct model_test){.field = TEST_ATTRIBUTE, .values = hashes, .n = texts.n};
    }
    return n;
}

/* One field of a match; returns how many tests it adds, -1 with err. */
static int read_field(struct reading *reading, const struct when *when, const char *key,
                      const json_t *value, struct model_test *tests)
{
    struct texts texts;
    if (strcmp(key, "price") == 0) return read_price(reading, value, tests) ? 1 : -1;
    if (strcmp(key, "attribute") == 0) return read_attributes(reading, value, tests);
    bool is_item = strcmp(key, "item") == 0, is_brand = strcmp(key, "brand") == 0;
    if (!is_item && !is_brand && strcmp(key, "category") != 0) {
        (void)rules__refuse(reading, key,
                            "items have no \"%.40s\": item, category, brand, attribute or price",
                            key);
        return -1;
    }
    if (!rules__texts_read(reading, key, value, &texts)) return -1;
    if (is_item)
        test_items(reading->rules, when, &texts, tests);
    else
        *tests = (struct model_test){.field = is_brand ? TEST_BRAND : TEST_CATEGORY,
                                     .values = hashes_of(reading->rules, &texts),
                                     .n = texts.n};
    return 1;
}

static bool read_match(struct reading *reading, const char *name, const struct when *when,
                       const json_t *json, struct model_match *match)
{
    const char *key;
    json_t *value;
    if (!json_is_object(json) || json_object_size(json) == 0)
        return rules__refuse(reading, name,
                             "\"%s\" must say which items, like {\"category\": \"Toys\"}", name);
    size_t most = json_object_size(json) + json_object_size(json_object_get(json, "attribute"));
    struct model_test *tests = arena_alloc(reading->rules->arena, most * sizeof *tests);
    json_object_foreach((json_t *)(uintptr_t)json, key, value)
    {
        int added = read_field(reading, when, key, value, tests + match->n);
        if (added < 0) return false;
        match->n += added;
    }
    match->tests = tests;
    return true;
}

/* ---- what a rule does ---- */

enum action_form { FORM_MATCH, FORM_BOOST, FORM_PIN, FORM_MOST, FORM_SHARE };

static const struct action {
    const char *key;
    enum model_rule_kind kind;
    enum action_form form;
} actions[] = {
    {"exclude", RULE_EXCLUDE, FORM_MATCH},
    {"include", RULE_INCLUDE, FORM_MATCH},
    {"repeat", RULE_REPEAT, FORM_MATCH},
    {"boost", RULE_BOOST, FORM_BOOST},
    {"pin", RULE_PIN, FORM_PIN},
    {"most", RULE_MOST, FORM_MOST},
    {"diversity", RULE_DIVERSITY, FORM_SHARE},
    {"damping", RULE_DAMPING, FORM_SHARE},
    {"explore", RULE_EXPLORE, FORM_SHARE},
};
enum { ACTIONS = sizeof actions / sizeof actions[0] };

/* A number within bounds, with its key. */
static bool read_number(struct reading *reading, const char *key, const json_t *json, double min,
                        double max, double *out)
{
    *out = json_is_number(json) ? json_number_value(json) : (double)NAN;
    if (*out >= min && *out <= max) return true;
    return rules__refuse(reading, key, "\"%s\" must be a number from %g to %g", key, min, max);
}

static bool read_pin(struct reading *reading, const json_t *json, const struct when *when,
                     struct model_rule *rule)
{
    const json_t *id = json_object_get(json, "pin"), *place = json_object_get(json, "place");
    if (!json_is_string(id))
        return rules__refuse(reading, "pin", "\"pin\" must be the id of an item, as a text");
    if (when->tenants.n > 1)
        return rules__refuse(reading, "tenant",
                             "a pin is an item of one tenant: write one rule for each");
    if (place && (!json_is_integer(place) || json_integer_value(place) < 1 ||
                  json_integer_value(place) > MODEL_RERANK_LIST_MAX))
        return rules__refuse(reading, "place", "\"place\" must be a whole number from 1 to %d",
                             MODEL_RERANK_LIST_MAX);
    struct str *kept = &reading->rules->pin_id[reading->rules->model.n];
    *kept = rules__text_keep(reading->rules, id);
    rule->pin = schemas_item_key(when->tenants.n ? when->tenants.text[0] : STR(""), *kept);
    rule->place = place ? (int)json_integer_value(place) : 1;
    return true;
}

/* {"most": 3, "of": "category"} or {"most": 2, "items": {...}} */
static bool read_most(struct reading *reading, const json_t *json, const struct when *when,
                      struct model_rule *rule)
{
    const json_t *most = json_object_get(json, "most"), *of = json_object_get(json, "of"),
                 *items = json_object_get(json, "items");
    if (!json_is_integer(most) || json_integer_value(most) < 0 ||
        json_integer_value(most) > MODEL_RERANK_LIST_MAX)
        return rules__refuse(reading, "most", "\"most\" must be a whole number from 0 to %d",
                             MODEL_RERANK_LIST_MAX);
    rule->most = (int)json_integer_value(most);
    if (!of == !items)
        return rules__refuse(reading, "most",
                             "\"most\" needs \"of\" (\"category\" or \"brand\") or \"items\"");
    if (items) return read_match(reading, "items", when, items, &rule->match);
    const char *text = json_is_string(of) ? json_string_value(of) : "";
    rule->of = strcmp(text, "brand") == 0 ? MOST_OF_BRAND : MOST_OF_CATEGORY;
    return strcmp(text, "brand") == 0 || strcmp(text, "category") == 0 ||
           rules__refuse(reading, "of", "\"of\" must be \"category\" or \"brand\"");
}

static bool read_action(struct reading *reading, const struct action *action, const json_t *json,
                        const struct when *when, struct model_rule *rule)
{
    const json_t *value = json_object_get(json, action->key);
    rule->kind = action->kind;
    switch (action->form) {
    case FORM_MATCH:
        return read_match(reading, action->key, when, value, &rule->match);
    case FORM_BOOST:
        return read_number(reading, action->key, value, 0, 1e6, &rule->amount) &&
               read_match(reading, "items", when, json_object_get(json, "items"), &rule->match);
    case FORM_PIN:
        return read_pin(reading, json, when, rule);
    case FORM_MOST:
        return read_most(reading, json, when, rule);
    case FORM_SHARE:
        return read_number(reading, action->key, value, 0, 1, &rule->amount);
    }
    return false;
}

/* ---- a rule, the file ---- */

/* Whether a key may stand beside the action. */
static bool is_known(const char *key, const struct action *action)
{
    static const char *const common[] = {"name", "when", "comment"};
    for (size_t i = 0; i < sizeof common / sizeof common[0]; i++)
        if (strcmp(key, common[i]) == 0) return true;
    if (strcmp(key, action->key) == 0) return true;
    if (strcmp(key, "items") == 0) return action->form == FORM_BOOST || action->form == FORM_MOST;
    if (strcmp(key, "of") == 0) return action->form == FORM_MOST;
    return strcmp(key, "place") == 0 && action->form == FORM_PIN;
}

/* The one action that the rule names; NULL with err. */
static const struct action *action_find(struct reading *reading, const json_t *json)
{
    const struct action *found = NULL;
    for (int a = 0; a < ACTIONS; a++) {
        if (!json_object_get(json, actions[a].key)) continue;
        if (found) {
            (void)rules__refuse(reading, actions[a].key,
                                "it has \"%s\" and \"%s\": a rule does one thing, write two",
                                found->key, actions[a].key);
            return NULL;
        }
        found = &actions[a];
    }
    if (!found)
        (void)rules__refuse(
            reading, "",
            "it does nothing: give it one of exclude, include, repeat, boost, pin, most, "
            "diversity, damping, explore");
    return found;
}

static bool read_rule(struct reading *reading, const json_t *json)
{
    struct rules *rules = reading->rules;
    struct when *when = &rules->when[rules->model.n];
    const char *key;
    json_t *value;
    rules__find(reading, ++reading->number);
    reading->name = "";
    if (!json_is_object(json)) return rules__refuse(reading, "", "a rule must be an object");
    const json_t *name = json_object_get(json, "name");
    if (name && !json_is_string(name))
        return rules__refuse(reading, "name", "\"name\" must be a text");
    if (name) reading->name = json_string_value(name);
    const struct action *action = action_find(reading, json);
    if (!action) return false;
    json_object_foreach((json_t *)(uintptr_t)json, key, value)
    {
        if (!is_known(key, action))
            return rules__refuse(reading, key, "a rule with \"%s\" has no \"%.40s\"", action->key,
                                 key);
    }
    const json_t *condition = json_object_get(json, "when");
    if (condition && !rules__when_read(reading, condition, when)) return false;
    if (!read_action(reading, action, json, when, &rules->rule[rules->model.n])) return false;
    rules->model.n++;
    return true;
}

/* Errors of the file as a whole, which have a line of their own or none. */
static bool read_rules(struct reading *reading, const json_t *json)
{
    const json_t *list = json_object_get(json, "rules");
    if (!json_is_array(list) || json_object_size(json) != 1)
        return err_fatal(reading->err, ERR_EXIT_USAGE,
                         "%.200s:1: the file must be {\"rules\": [...]} and nothing else",
                         reading->path);
    if (json_array_size(list) > MODEL_RULES_MAX)
        return err_fatal(reading->err, ERR_EXIT_USAGE,
                         "%.200s:1: %zu rules, at most %d are possible", reading->path,
                         json_array_size(list), MODEL_RULES_MAX);
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!read_rule(reading, json_array_get(list, i))) return false;
    return true;
}

bool rules_parse(struct rules **out, const char *path, struct str text, struct err *err)
{
    json_error_t at;
    json_t *json = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, &at);
    if (!json)
        return err_fatal(err, ERR_EXIT_USAGE, "%.200s:%d: no JSON: %.160s (column %d)", path,
                         at.line, at.text, at.column);
    struct rules *rules = mem_zalloc(sizeof *rules);
    rules->arena = arena_new(ARENA_BLOCK, SIZE_MAX);
    rules->model.rules = rules->rule;
    struct reading reading = {.rules = rules, .path = path, .text = text, .name = "", .err = err};
    bool ok = read_rules(&reading, json);
    json_decref(json);
    if (!ok) {
        rules_free(rules);
        return false;
    }
    rules->hard =
        model_rules_of(&rules->model, RULE_EXCLUDE) | model_rules_of(&rules->model, RULE_INCLUDE);
    *out = rules;
    return true;
}

bool rules_load(struct rules **rules, const char *path, struct err *err)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return err_fatal(err, ERR_EXIT_USAGE, "rules.file=%.300s cannot be read: is it there?",
                         path);
    char *bytes = mem_alloc(FILE_MAX);
    size_t n = fread(bytes, 1, FILE_MAX, file);
    (void)fclose(file);
    bool ok = n < FILE_MAX
                  ? rules_parse(rules, path, (struct str){bytes, n}, err)
                  : err_fatal(err, ERR_EXIT_USAGE, "%.300s: over %d bytes", path, FILE_MAX);
    mem_free(bytes);
    return ok;
}

void rules_free(struct rules *rules)
{
    if (!rules) return;
    arena_free(rules->arena);
    mem_free(rules);
}

/* ---- reading them ---- */

const struct model_rules *rules_model(const struct rules *rules)
{
    return &rules->model;
}

struct str rules_pin_id(const struct rules *rules, int rule)
{
    return rules->pin_id[rule];
}

uint64_t rules_hard(const struct rules *rules)
{
    return rules->hard;
}

uint64_t rules_active(const struct rules *rules, const struct event *event, struct str scenario)
{
    uint64_t active = 0;
    for (int r = 0; r < rules->model.n; r++)
        if (rules__when_holds(&rules->when[r], event, scenario)) active |= UINT64_C(1) << r;
    return active;
}
