/* The registry's client against one that lies, hangs and goes away: which class of error, how often it is asked. */
#include "base/clock.h"
#include "tests/schemas/fake_registry.h"
#include "tests/schemas/fixture.h"

enum { TIMEOUT_MS = 1000 };

static struct fake_registry fake;

static struct schemas *open_with(const char *url)
{
    struct schemas *schemas = NULL;
    struct err err = ERR_INIT;
    const struct schemas_options options = {
        .registry_url = url, .registry_timeout_ms = TIMEOUT_MS, .registry_user = "user:secret"};
    CHECK_OK(schemas_open(&schemas, &options, &err), err);
    return schemas;
}

/* A small event as written by freshet.Event, under any id. */
static struct str framed(int id, char *bytes)
{
    struct event event = {.user_id = STR("u"), .consent = true, .type = EVENT_CLICK};
    struct buf out;
    struct schemas *schemas = fixture_open(FORMAT_AVRO);
    buf_init(&out, 4096);
    schemas_event_encode(schemas, &event, &out);
    memcpy(bytes, out.data, out.len);
    struct str s = {bytes, out.len};
    bytes[3] = (char)(id >> 8);
    bytes[4] = (char)id;
    buf_fini(&out);
    schemas_close(schemas);
    return s;
}

static bool decode(struct schemas *schemas, int id, struct err *err)
{
    char bytes[256];
    struct arena *arena = fixture_arena();
    struct event event;
    bool ok = schemas_event_decode(schemas, framed(id, bytes), arena, &event, err);
    if (ok) CHECK_BYTES(event.user_id.ptr, event.user_id.len, "u", 1);
    arena_free(arena);
    return ok;
}

static void test_answers(void)
{
    static const struct {
        int id;
        enum err_class class;
        const char *words; /* part of the text */
    } cases[] = {
        {FAKE_UNKNOWN, ERR_DATA, "unknown schema id 102"},
        {FAKE_GARBAGE, ERR_RETRY, "does schema.registry.url point to a schema registry"},
        {FAKE_NO_SCHEMA, ERR_RETRY, "does schema.registry.url point to a schema registry"},
        {FAKE_NOT_AVRO, ERR_DATA, "not an Avro schema"},
        {FAKE_REFERENCES, ERR_DATA, "references, which are not supported"},
        {FAKE_PROTOBUF, ERR_DATA, "PROTOBUF, only AVRO"},
        {FAKE_SILENT, ERR_RETRY, "no answer"},
        {FAKE_DRIP, ERR_RETRY, "no answer"},
        {FAKE_CLOSES, ERR_RETRY, "no answer"},
        {FAKE_HUGE, ERR_RETRY, "the answer is over"},
        {FAKE_CUT, ERR_RETRY, "no answer"},
        {FAKE_UNAUTHORISED, ERR_RETRY, "check basic.auth.user.info"},
        {FAKE_BROKEN, ERR_RETRY, "status 500: the store is down"},
        {FAKE_OTHER_404, ERR_RETRY, "status 404"},
        {FAKE_REDIRECT, ERR_RETRY, "status 302"},
        {FAKE_DEEP, ERR_DATA, "nests deeper than 64"},
        {FAKE_STRANGER, ERR_DATA, "not a record with the fields of an event"},
        {FAKE_WRONG_TYPE, ERR_DATA, "user_id"},
    };
    struct schemas *schemas = open_with(fake.url);
    struct err err = ERR_INIT;
    CHECK_OK(decode(schemas, FAKE_EVENT, &err), err);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t start = clock_mono_ns();
        CHECK_FAIL(decode(schemas, cases[i].id, &err), err, cases[i].class);
        CHECK_CONTAINS(err.text, cases[i].words);
        if (cases[i].class == ERR_RETRY) CHECK_CONTAINS(err.text, "/schemas/ids/");
        CHECK(strstr(err.text, "secret") == NULL);
        uint64_t ms = (clock_mono_ns() - start) / 1000000;
        if (ms > 10 * TIMEOUT_MS)
            test_fail(__FILE__, __LINE__, "id %d took %d ms", cases[i].id, (int)ms);
        /* What failed for one id does not disturb the next. */
        CHECK_OK(decode(schemas, FAKE_EVENT, &err), err);
    }
    CHECK_INT(sync_int_get(&fake.authorised), sync_int_get(&fake.requests));
    schemas_close(schemas);
}

/* A refusal is believed for a while: poison does not become a storm of requests. */
static void test_negative_cache(void)
{
    struct schemas *schemas = open_with(fake.url);
    struct err err = ERR_INIT;
    int64_t before = sync_int_get(&fake.requests);
    for (int i = 0; i < 50; i++) {
        CHECK_FAIL(decode(schemas, FAKE_UNKNOWN, &err), err, ERR_DATA);
        CHECK(strncmp(err.text, SCHEMAS_UNKNOWN_ID, strlen(SCHEMAS_UNKNOWN_ID)) == 0);
        CHECK_FAIL(decode(schemas, FAKE_BROKEN, &err), err, ERR_RETRY);
    }
    int64_t asked = sync_int_get(&fake.requests) - before;
    if (asked < 2 || asked > 8) test_fail(__FILE__, __LINE__, "asked %d times", (int)asked);
    schemas_close(schemas);
}

/* An id stands for one schema for ever: the first answer is kept. A process that starts after the change takes the records for poison,
 * with what does not fit, and never reads them as something else. */
static void test_changed_answer(void)
{
    struct schemas *schemas = open_with(fake.url);
    struct err err = ERR_INIT;
    for (int i = 0; i < 50; i++)
        CHECK_OK(decode(schemas, FAKE_CHANGES, &err), err);
    CHECK_INT(sync_int_get(&fake.changes), 1);
    schemas_close(schemas);
    schemas = open_with(fake.url);
    CHECK_FAIL(decode(schemas, FAKE_CHANGES, &err), err, ERR_DATA);
    CHECK_CONTAINS(err.text, "not a record with the fields of an event");
    schemas_close(schemas);
}

/* Known ids outlive the registry; it is asked again when it is back. */
static void test_outage(void)
{
    struct schemas *schemas = open_with(fake.url);
    struct err err = ERR_INIT;
    CHECK_OK(decode(schemas, FAKE_EVENT, &err), err);
    fake_registry_stop(&fake);
    CHECK_OK(decode(schemas, FAKE_EVENT, &err), err);
    CHECK_FAIL(decode(schemas, FAKE_RECURSIVE, &err), err, ERR_RETRY);
    fake_registry_start(&fake);
    uint64_t start = clock_mono_ns();
    while (err.class == ERR_RETRY && clock_mono_ns() - start < 5000000000u) {
        err = (struct err)ERR_INIT;
        (void)!decode(schemas, FAKE_RECURSIVE, &err);
        sync_sleep_ms(50);
    }
    /* The bytes are those of another schema: poison now, no longer a retry. */
    CHECK_INT(err.class, ERR_DATA);
    schemas_close(schemas);
}

/* The first URL of several that answers is taken. */
static void test_several_urls(void)
{
    char urls[160];
    struct err err = ERR_INIT;
    (void)snprintf(urls, sizeof urls, "http://127.0.0.1:1, %s/", fake.url);
    struct schemas *schemas = open_with(urls);
    CHECK_OK(decode(schemas, FAKE_EVENT, &err), err);
    schemas_close(schemas);
}

static bool open_subject(bool auto_register, int mode, const char *url, struct err *err, int *id)
{
    struct schemas *schemas = NULL;
    const struct schemas_options options = {.registry_url = url,
                                            .registry_timeout_ms = TIMEOUT_MS,
                                            .auto_register = auto_register,
                                            .recommendations_topic = "lists/of us"};
    sync_int_set(&fake.latest_is_ours, mode);
    if (!schemas_open(&schemas, &options, err)) return false;
    struct buf out;
    struct recommendations list = {.user_id = STR("u")};
    buf_init(&out, 4096);
    schemas_recommendations_encode(schemas, &list, &out);
    CHECK(!out.failed);
    *id = out.data[4];
    buf_reset(&out);
    /* Without a topic, events are registered only when we may register. */
    struct event event = {.user_id = STR("u")};
    schemas_event_encode(schemas, &event, &out);
    CHECK_INT(out.failed, !auto_register);
    buf_fini(&out);
    schemas_close(schemas);
    return true;
}

static void test_subjects(void)
{
    struct err err = ERR_INIT;
    int id = 0;
    CHECK_OK(open_subject(true, 1, fake.url, &err, &id), err);
    CHECK_INT(id, 77);
    CHECK_OK(open_subject(false, 1, fake.url, &err, &id), err);
    CHECK_INT(id, 78);
    CHECK_OK(open_subject(false, 2, fake.url, &err, &id),
             err); /* ours is there, but not the newest */
    CHECK_INT(id, 79);
    CHECK_FAIL(open_subject(false, 0, fake.url, &err, &id), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "no version of subject lists/of us-value");
    CHECK_INT(err.exit_code, ERR_EXIT_USAGE);
    CHECK_FAIL(open_subject(false, -1, fake.url, &err, &id), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "there is no subject lists/of us-value");
    CHECK_FAIL(open_subject(true, -2, fake.url, &err, &id), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "not compatible");
    CHECK_FAIL(open_subject(true, 1, "http://127.0.0.1:1", &err, &id), err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_UNREACHABLE);
    CHECK_CONTAINS(err.text, "http://127.0.0.1:1");
    CHECK_FAIL(open_subject(true, 1, "file:///etc/passwd", &err, &id), err, ERR_FATAL);
}

/* ---- many threads meet a new id ---- */

struct worker {
    struct thread thread;
    struct schemas *schemas;
    struct str bytes;
};

static void work(void *context)
{
    struct worker *worker = context;
    struct arena *arena = fixture_arena();
    for (int i = 0; i < 2000; i++) {
        struct err err = ERR_INIT;
        struct event event;
        CHECK_OK(schemas_event_decode(worker->schemas, worker->bytes, arena, &event, &err), err);
        arena_reset(arena);
    }
    arena_free(arena);
}

static void test_threads(void)
{
    struct worker workers[4];
    struct err err = ERR_INIT;
    char bytes[256];
    struct str message = framed(FAKE_EVENT, bytes);
    struct schemas *schemas = open_with(fake.url);
    int64_t before = sync_int_get(&fake.requests);
    for (int i = 0; i < 4; i++) {
        workers[i] = (struct worker){.schemas = schemas, .bytes = message};
        CHECK_OK(thread_start(&workers[i].thread, "worker", work, &workers[i], &err), err);
    }
    for (int i = 0; i < 4; i++)
        thread_join(&workers[i].thread);
    CHECK_INT(sync_int_get(&fake.requests) - before, 1);
    schemas_close(schemas);
}

int main(void)
{
    fake_registry_start(&fake);
    CASE(test_answers);
    CASE(test_negative_cache);
    CASE(test_changed_answer);
    CASE(test_outage);
    CASE(test_several_urls);
    CASE(test_subjects);
    CASE(test_threads);
    fake_registry_stop(&fake);
    return 0;
}
