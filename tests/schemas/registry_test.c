/* LINK: libcurl */
/* The registry's client against a real, Confluent-compatible registry, whose URL stands in FRESHET_TEST_REGISTRY
 * (scripts/registry starts one). */
#include <curl/curl.h>

#include "schemas/internal.h"
#include "tests/schemas/fixture.h"

static const char *url;
static char topic[64];

static bool open_on(bool auto_register, const char *lists, const char *events,
                    struct schemas **schemas, struct err *err)
{
    const struct schemas_options options = {.registry_url = url,
                                            .registry_timeout_ms = 10000,
                                            .auto_register = auto_register,
                                            .recommendations_topic = lists,
                                            .events_topic = events};
    return schemas_open(schemas, &options, err);
}

static int id_of(const struct buf *framed)
{
    const uint8_t *b = framed->data;
    return (int)((uint32_t)b[1] << 24 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 8 | b[4]);
}

/* Registers, writes with the registry's ids, and a second program reads by fetching the writer's schema. */
static void test_register_and_read(void)
{
    struct schemas *writer = NULL, *reader = NULL;
    struct arena *arena = fixture_arena();
    struct err err = ERR_INIT;
    struct rng rng;
    struct buf out, list_out;
    struct event event, back;
    struct recommendations list, list_back;
    rng_init(&rng, TEST_SEED());
    buf_init(&out, 64 * 1024);
    buf_init(&list_out, 64 * 1024);
    CHECK_OK(open_on(true, topic, topic, &writer, &err), err);
    fixture_event(&rng, arena, &event);
    fixture_list(&rng, arena, 20, &list);
    schemas_event_encode(writer, &event, &out);
    schemas_recommendations_encode(writer, &list, &list_out);
    printf("event id %d, list id %d\n", id_of(&out), id_of(&list_out));
    CHECK(id_of(&out) != id_of(&list_out));
    CHECK_OK(open_on(false, NULL, NULL, &reader, &err), err);
    CHECK_OK(schemas_event_decode(reader, fixture_bytes(&out), arena, &back, &err), err);
    fixture_same_event(&event, &back);
    CHECK_OK(
        schemas_recommendations_decode(reader, fixture_bytes(&list_out), arena, &list_back, &err),
        err);
    fixture_same_list(&list, &list_back);
    schemas_close(reader);
    schemas_close(writer);
    buf_fini(&out);
    buf_fini(&list_out);
    arena_free(arena);
}

/* Without leave to register: the subject must be there, with our schema. */
static void test_look_up(void)
{
    struct schemas *schemas = NULL;
    struct err err = ERR_INIT;
    struct registry *registry = schemas__registry_new(url, NULL, 10000);
    char subject[100], other[80];
    int32_t id = 0, found_id = 0;
    bool found = false;
    struct buf text;
    buf_init(&text, 64 * 1024);
    (void)snprintf(other, sizeof other, "%s.lists", topic);
    (void)snprintf(subject, sizeof subject, "%s-value", other);
    CHECK_FAIL(open_on(false, other, NULL, &schemas, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "there is no subject");
    CHECK_OK(schemas__registry_post(registry, subject, schemas__avsc_recommendations, &id, &err),
             err);
    CHECK_OK(open_on(false, other, NULL, &schemas, &err), err);
    schemas_close(schemas);
    CHECK_OK(schemas__registry_latest(registry, subject, &found, &found_id, &text, &err), err);
    CHECK(found);
    CHECK_INT(found_id, id);
    CHECK_OK(schemas__registry_post(registry, subject, "{\"type\":\"string\"}", &id, &err), err);
    /* Ours is an older version now, as for the last process of a rolling upgrade. */
    CHECK_OK(open_on(false, other, NULL, &schemas, &err), err);
    schemas_close(schemas);
    (void)snprintf(subject, sizeof subject, "%s.strings-value", topic);
    CHECK_OK(schemas__registry_post(registry, subject, "{\"type\":\"string\"}", &id, &err), err);
    (void)snprintf(other, sizeof other, "%s.strings", topic);
    CHECK_FAIL(open_on(false, other, NULL, &schemas, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "no version of subject");
    CHECK_FAIL(schemas__registry_post(registry, subject, "{\"type\":\"nonsense\"}", &id, &err), err,
               ERR_FATAL);
    CHECK_CONTAINS(err.text, "status 422");
    schemas__registry_free(registry);
    buf_fini(&text);
}

/* A producer of the shop's own schema: other names, other order, an optional item at the top. */
static void test_foreign_schema(void)
{
    static const char schema[] =
        "{\"type\":\"record\",\"name\":\"Click\",\"namespace\":\"shop\",\"fields\":["
        "{\"name\":\"timestamp\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}}"
        ","
        "{\"name\":\"customer_id\",\"type\":\"long\"},"
        "{\"name\":\"page\",\"type\":[\"null\",\"string\"]},"
        "{\"name\":\"product_id\",\"type\":[\"string\",\"null\"]},"
        "{\"name\":\"action\",\"type\":\"string\"}]}";
    struct schemas *schemas = NULL;
    struct arena *arena = fixture_arena();
    struct err err = ERR_INIT;
    struct registry *registry = schemas__registry_new(url, NULL, 10000);
    char subject[80], bytes[] = "\0\0\0\0\0\x80\x89\x0f\x54\0\0\4p1\x16"
                                "add-to-cart";
    struct event event;
    int32_t id = 0;
    (void)snprintf(subject, sizeof subject, "%s.clicks-value", topic);
    CHECK_OK(schemas__registry_post(registry, subject, schema, &id, &err), err);
    bytes[3] = (char)(id >> 8);
    bytes[4] = (char)id;
    CHECK_OK(open_on(false, NULL, NULL, &schemas, &err), err);
    CHECK_OK(
        schemas_event_decode(schemas, (struct str){bytes, sizeof bytes - 1}, arena, &event, &err),
        err);
    CHECK_INT(event.time_ms, 123);
    CHECK_BYTES(event.user_id.ptr, event.user_id.len, "42", 2);
    CHECK_INT(event.type, EVENT_ADD_TO_CART);
    CHECK_INT(event.n_items, 1);
    CHECK_BYTES(event.items[0].item_id.ptr, event.items[0].item_id.len, "p1", 2);
    schemas_close(schemas);
    schemas__registry_free(registry);
    arena_free(arena);
}

static void test_unknown(void)
{
    struct schemas *schemas = NULL;
    struct arena *arena = fixture_arena();
    struct err err = ERR_INIT;
    struct event event;
    char wrong[200];
    CHECK_OK(open_on(false, NULL, NULL, &schemas, &err), err);
    struct str bytes = {"\0\x7f\xff\xff\xf0", 5};
    CHECK_FAIL(schemas_event_decode(schemas, bytes, arena, &event, &err), err, ERR_DATA);
    CHECK_CONTAINS(err.text, SCHEMAS_UNKNOWN_ID " 2147483632");
    schemas_close(schemas);
    /* A wrong base URL also answers 404, but no record may be condemned for that. */
    (void)snprintf(wrong, sizeof wrong, "%s/not/here", url);
    const struct schemas_options options = {.registry_url = wrong, .registry_timeout_ms = 10000};
    CHECK_OK(schemas_open(&schemas, &options, &err), err);
    CHECK_FAIL(schemas_event_decode(schemas, bytes, arena, &event, &err), err, ERR_RETRY);
    printf("%s\n", err.text);
    schemas_close(schemas);
    arena_free(arena);
}

/* POSTs a body as it is to a subject. */
static void post_raw(const char *subject, const char *body)
{
    char path[200];
    struct curl_slist *headers =
        curl_slist_append(NULL, "Content-Type: application/vnd.schemaregistry.v1+json");
    CURL *curl = curl_easy_init();
    long status = 0;
    (void)snprintf(path, sizeof path, "%s/subjects/%s/versions", url, subject);
    (void)curl_easy_setopt(curl, CURLOPT_URL, path);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    CHECK_INT(curl_easy_perform(curl), CURLE_OK);
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    CHECK_INT(status, 200);
    printf("\n");
    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
}

/* A schema that names a type of another subject is refused, and the message says what to do. */
static void test_references(void)
{
    struct registry *registry = schemas__registry_new(url, NULL, 10000);
    struct err err = ERR_INIT;
    char subject[100], body[512];
    bool found = false;
    int32_t id = 0;
    struct buf text;
    buf_init(&text, 64 * 1024);
    (void)snprintf(subject, sizeof subject, "%s.type-value", topic);
    CHECK_OK(schemas__registry_post(registry, subject,
                                    "{\"type\":\"record\",\"name\":\"x.B\",\"fields\":[]}", &id,
                                    &err),
             err);
    (void)snprintf(body, sizeof body,
                   "{\"schema\":\"{\\\"type\\\":\\\"record\\\",\\\"name\\\":\\\"A\\\","
                   "\\\"fields\\\":[{\\\"name\\\":"
                   "\\\"b\\\",\\\"type\\\":\\\"x.B\\\"}]}\",\"references\":[{\"name\":\"x.B\","
                   "\"subject\":\"%s\","
                   "\"version\":1}]}",
                   subject);
    (void)snprintf(subject, sizeof subject, "%s.user-value", topic);
    post_raw(subject, body);
    CHECK_FAIL(schemas__registry_latest(registry, subject, &found, &id, &text, &err), err,
               ERR_FATAL);
    CHECK_FAIL(schemas__registry_get(registry, id, &text, &err), err, ERR_DATA);
    CHECK_CONTAINS(err.text, "references, which are not supported");
    buf_fini(&text);
    schemas__registry_free(registry);
}

int main(void)
{
    url = getenv("FRESHET_TEST_REGISTRY");
    if (!url || !url[0]) {
        printf("SKIP FRESHET_TEST_REGISTRY is not set: scripts/registry start prints its value\n");
        return 77;
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    (void)snprintf(topic, sizeof topic, "test-%lld-%ld", (long long)now.tv_sec, now.tv_nsec);
    CASE(test_register_and_read);
    CASE(test_look_up);
    CASE(test_foreign_schema);
    CASE(test_references);
    CASE(test_unknown);
    return 0;
}
