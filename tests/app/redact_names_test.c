/* Whose record is it? Keys of all forms, values that are events, values that are not; tenants, pseudonyms; random bytes. */
#include "app/redact_names.h"

#include "base/buf.h"
#include "base/rng.h"
#include "tests/test.h"

enum { VALUE_MAX = 4096, ROUNDS = 20000 };
/* Users were forgotten up to then; records are from before or after. */
enum { MOMENT_MS = 1000000, BEFORE_MS = 999999, AFTER_MS = 1000001 };

static struct schemas *json, *avro;
static struct redact_names *of_json, *of_avro, *names; /* names: one of them */

static void ask_for(const char *tenant, const char *user, const char *anonymous)
{
    const struct erasure request = {
        .tenant = str_of(tenant), .user_id = str_of(user), .anonymous_id = str_of(anonymous)};
    redact_names_add(names, &request, MOMENT_MS);
}

static enum redact_claim claim_of(struct str key, struct str value, int64_t timestamp_ms)
{
    const struct redact_record record = {key, value, timestamp_ms, false};
    return redact_names_claim(names, &record);
}

static enum redact_claim claim(const char *key, const char *value)
{
    return claim_of(str_of(key), str_of(value), BEFORE_MS);
}

static bool holds_as(struct redact_names *as, struct str key, struct str value)
{
    const struct redact_record record = {key, value, BEFORE_MS, false};
    return redact_names_claim(as, &record) == REDACT_THEIRS;
}

static bool holds(const char *key, const char *value)
{
    return holds_as(names, str_of(key), str_of(value));
}

static void test_keys(void)
{
    redact_names_clear(names);
    CHECK(!holds("u42", "{}"));
    ask_for("", "u42", "a7");
    ask_for("shop", "u43", "");
    CHECK_INT(redact_names_count(names), 3);
    CHECK(holds("u42", "") && holds("a7", "") && holds("\"u42\"", ""));
    CHECK(!holds("u4", "") && !holds("u421", "") && !holds("\"u4\"", "") && !holds("", ""));
    CHECK(holds("shop:u43", "") && !holds("u43", "") && !holds("other:u43", ""));
    CHECK(!holds("shop:u42", ""));
    CHECK(holds_as(names, STR("\0\0\0\0\7\6u42"), (struct str){0}));
    CHECK(!holds_as(names, STR("\0\0\0\0\7\6u44"), (struct str){0}));
    redact_names_clear(names);
    CHECK(!holds("u42", "") && redact_names_count(names) == 0);
}

/* An event says whose it is; what else holds the id does not make it the user's. */
static void test_events(void)
{
    struct event_item items[] = {{.item_id = {"u42", 3}}};
    struct event event = {.event_id = STR("e1"),
                          .type = EVENT_VIEW,
                          .time_ms = 1700000000000,
                          .user_id = STR("u1"),
                          .items = items,
                          .n_items = 1};
    uint8_t bytes[VALUE_MAX];
    struct buf buf;
    redact_names_clear(names);
    redact_names_clear(of_avro);
    names = of_avro;
    ask_for("", "u42", "");
    names = of_json;
    ask_for("", "u42", "");
    CHECK(holds("s9", "{\"user_id\":\"u42\",\"event_type\":\"view\"}"));
    CHECK(holds("s9", "{\"user_id\":\" u42 \",\"event_type\":\"view\"}"));
    CHECK(holds("", "{\"anonymous_id\":\"u42\",\"event_type\":\"view\"}"));
    CHECK(!holds("s9",
                 "{\"user_id\":\"u1\",\"event_type\":\"view\",\"items\":[{\"item_id\":\"u42\"}]}"));
    CHECK(!holds("", "{\"user_id\":\"u42\",\"tenant\":\"shop\",\"event_type\":\"view\"}"));
    buf_init(&buf, VALUE_MAX);
    for (int is_users = 0; is_users < 2; is_users++) {
        event.user_id = is_users ? STR("u42") : STR("u1");
        buf_reset(&buf);
        schemas_event_encode(avro, &event, &buf);
        CHECK(!buf.failed && buf.len <= sizeof bytes);
        struct str value = {(const char *)buf.data, buf.len};
        CHECK_INT(holds_as(of_avro, STR("s9"), value), is_users);
        CHECK_INT(holds_as(of_avro, (struct str){0}, value), is_users);
    }
    buf_fini(&buf);
}

/* What cannot be read: a whole string counts where the key says nothing, or where nothing else is called so. */
static void test_poison(void)
{
    redact_names_clear(names);
    ask_for("", "42", "");
    ask_for("", "customer-5f1c9a", "");
    CHECK(holds("", "{\"user\":\"42\",") && !holds("", "{\"user\":\"421\",") && !holds("", "42 "));
    CHECK(!holds("u1", "{\"item\":\"42\","));
    CHECK(holds("u1", "{\"user\":\"customer-5f1c9a\",") && holds("u1", "customer-5f1c9a"));
    CHECK(!holds("u1", "a customer-5f1c9a b"));
    CHECK(holds_as(names, STR("u1"),
                   STR("\0\0\0\1\7\xff\x1e"
                       "customer-5f1c9a\2")));
    CHECK(!holds_as(names, STR("u1"),
                    STR("\0\0\0\1\7\xff\x1c"
                        "customer-5f1c9a\2")));
    CHECK(holds_as(names, (struct str){0},
                   STR("\xff\4"
                       "42")));
    CHECK(!holds_as(names, (struct str){0},
                    STR("\xff\x04"
                        "4")));
    CHECK(!holds_as(names, (struct str){0}, STR("\xff")));
}

static void test_long(void)
{
    char id[201], value[VALUE_MAX];
    memset(id, 'x', sizeof id - 1);
    id[sizeof id - 1] = '\0';
    redact_names_clear(names);
    ask_for("", id, "");
    int n = snprintf(value, sizeof value, "\x01\x90\x03%s", id); /* 200: 400 is 0x90 0x03 */
    CHECK(holds_as(names, STR("u1"), (struct str){value, (size_t)n}));
    CHECK(!holds_as(names, STR("u1"), (struct str){value, (size_t)n - 1}));
}

/* What cannot be told for sure. */
static void test_maybe(void)
{
    redact_names_clear(names);
    ask_for("", "42", "");
    ask_for("", "customer-5f1c9a", "");
    ask_for("", "J\xc3\xbcrgen.K@x.org", "");
    CHECK_INT(claim("u1", "{\"user\":\"42\","), REDACT_MAYBE);
    CHECK_INT(claim("u1", "{\"user\":42,"), REDACT_MAYBE);
    CHECK_INT(claim("u1", "{\"user\":421,"), REDACT_NONE);
    CHECK_INT(claim("u1", "user=42&item=7"), REDACT_MAYBE);
    CHECK_INT(claim("u1", "a customer-5f1c9a b"), REDACT_MAYBE);
    CHECK_INT(claim("u1", "a customer-5f1c9ab b"), REDACT_NONE);
    CHECK_INT(claim("u1", "mail to J\xc3\xbcrgen.K@x.org, now"), REDACT_MAYBE);
    CHECK_INT(claim("u1", "{\"user\":\"J\\u00fcrgen.K@x.org\","), REDACT_THEIRS);
    CHECK_INT(claim("u1", "{\"user\":\"J\\u00fcrgen.K@x.de\","), REDACT_NONE);
    CHECK_INT(claim("u1", "{\"user\":\"customer-5f"), REDACT_MAYBE);
    CHECK_INT(claim("u1", "{\"user\":\"cust"), REDACT_MAYBE);
    CHECK_INT(claim("u1", "{\"user\":\"cus"), REDACT_NONE);
    CHECK_INT(claim("u1", "{\"user\":\"customer-6f"), REDACT_NONE);
    CHECK_INT(claim("u1", "{\"user\":\"customer-5f\","), REDACT_NONE);
    ask_for("", "customer-6f0000", ""); /* added since ids were sorted */
    CHECK_INT(claim("u1", "{\"user\":\"customer-6f"), REDACT_MAYBE);
    const struct redact_record beside = {STR("u1"), STR("an event"), AFTER_MS, true};
    CHECK_INT(redact_names_claim(names, &beside), REDACT_MAYBE);
    CHECK(redact_names_is_called(names, STR("42")) && !redact_names_is_called(names, STR("421")));
}

/* Who came back is not who was forgotten; what cannot be read may be late. */
static void test_moments(void)
{
    static const char at[] = "{\"user_id\":\"u42\",\"event_type\":\"view\",\"event_time\":%s}";
    const struct erasure request = {.user_id = STR("u42")};
    char early[128], late[128];
    int64_t moment = 1700000000000;
    (void)snprintf(early, sizeof early, at, "1700000000000");
    (void)snprintf(late, sizeof late, at, "1700000000001");
    redact_names_clear(names);
    redact_names_add(names, &request, moment - 5);
    redact_names_add(names, &request, moment);
    redact_names_add(names, &request, moment - 7);
    CHECK_INT(redact_names_count(names), 1);
    for (int has_key = 0; has_key < 2; has_key++) {
        struct str key = has_key ? STR("u42") : STR("s9");
        CHECK_INT(claim_of(key, str_of(early), moment + 10), REDACT_THEIRS);
        CHECK_INT(claim_of(key, str_of(late), moment + 10), REDACT_NONE);
        CHECK_INT(claim_of(key, str_of(late), moment), REDACT_THEIRS);
        CHECK_INT(claim_of(key, STR("{\"user_id\":\"u42\",\"event_type\":\"view\"}"), moment + 1),
                  REDACT_NONE);
    }
    CHECK_INT(claim_of(STR("u42"), STR("{"), moment), REDACT_THEIRS);
    CHECK_INT(claim_of(STR("u42"), STR("{"), moment + 1), REDACT_MAYBE);
    CHECK_INT(claim_of(STR("u42"), (struct str){0}, moment + 1), REDACT_MAYBE);
    CHECK_INT(claim_of((struct str){0}, STR("{\"user_id\":\"u42\""), moment + 1), REDACT_MAYBE);
    redact_names_expire(names, moment);
    CHECK_INT(claim_of(STR("u42"), STR("{"), moment), REDACT_THEIRS);
    redact_names_expire(names, moment + 1);
    CHECK_INT(claim_of(STR("u42"), STR("{"), moment), REDACT_NONE);
    CHECK_INT(claim_of(STR("s1"), STR("{\"u42\""), moment), REDACT_NONE);
    redact_names_expire(names, INT64_MIN);
}

static void test_pseudonyms(void)
{
    static const char secret[] = "k1:"
                                 "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f";
    struct err err = ERR_INIT;
    struct pseudonyms *pseudonyms;
    char name[PSEUDONYM_MAX];
    CHECK_OK(pseudonyms_open(&pseudonyms, STR(secret), &err), err);
    struct str u42 = pseudonym_of(pseudonyms, 0, (struct str){0}, STR("u42"), name);
    const struct redact_reading reading = {pseudonyms, json, 0};
    const struct erasure request = {.user_id = u42};
    struct redact_names *under = redact_names_new(&reading);
    redact_names_add(under, &request, MOMENT_MS);
    redact_names_clear(names);
    redact_names_add(names, &request, MOMENT_MS);
    CHECK(holds_as(under, STR("u42"), (struct str){0}));
    CHECK(!holds_as(under, STR("u43"), (struct str){0}) && !holds("u42", ""));
    CHECK(holds_as(under, (struct str){0}, STR("{\"user_id\":\"u42\",\"event_type\":\"view\"}")));
    CHECK(holds_as(under, (struct str){0}, STR("{\"user_id\":\"u42\",")));
    CHECK(redact_names_is_called(under, STR("u42")) && !redact_names_is_called(under, STR("u43")));
    redact_names_free(under);
    pseudonyms_close(pseudonyms);
}

/* Any bytes, in buffers of their own size, so that the sanitizer sees a read beyond them. */
static void test_random(void)
{
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    redact_names_clear(names);
    for (int i = 0; i < 50; i++) {
        char id[8];
        (void)snprintf(id, sizeof id, "%c%d", 'a' + i % 3, i);
        names = i % 2 ? of_json : of_avro;
        ask_for(i % 3 ? "t" : "", id, "");
    }
    for (int i = 0; i < ROUNDS; i++) {
        static const char letters[] = "\0\2\4\6\x80\x90\"\"::tabc0123";
        char *bytes[2];
        size_t len[2];
        for (int b = 0; b < 2; b++) {
            len[b] = rng_below(&rng, 24);
            bytes[b] = mem_alloc(len[b]);
            for (size_t k = 0; k < len[b]; k++)
                bytes[b][k] = letters[rng_below(&rng, sizeof letters - 1)];
        }
        (void)holds_as(i % 2 ? of_json : of_avro, (struct str){bytes[0], len[0]},
                       (struct str){bytes[1], len[1]});
        mem_free(bytes[0]);
        mem_free(bytes[1]);
    }
}

int main(void)
{
    struct err err = ERR_INIT;
    const struct schemas_options json_events = {.events_format = FORMAT_JSON};
    const struct schemas_options avro_events = {.events_format = FORMAT_AVRO};
    CHECK_OK(schemas_open(&json, &json_events, &err), err);
    CHECK_OK(schemas_open(&avro, &avro_events, &err), err);
    const struct redact_reading with_json = {.schemas = json}, with_avro = {.schemas = avro};
    names = of_json = redact_names_new(&with_json);
    of_avro = redact_names_new(&with_avro);
    CASE(test_keys);
    CASE(test_events);
    CASE(test_poison);
    CASE(test_long);
    CASE(test_maybe);
    CASE(test_moments);
    CASE(test_pseudonyms);
    CASE(test_random);
    redact_names_free(of_json);
    redact_names_free(of_avro);
    schemas_close(json);
    schemas_close(avro);
    return 0;
}
