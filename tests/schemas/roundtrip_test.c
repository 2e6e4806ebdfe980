/* What we write is what we read: Avro and JSON, no allocation once warm. */
#include "tests/schemas/fixture.h"

enum { ROUNDS = 3000 };

static void test_avro(void)
{
    struct schemas *schemas = fixture_open(FORMAT_AVRO);
    struct arena *arena = fixture_arena(), *out_arena = fixture_arena();
    struct err err = ERR_INIT;
    struct buf out;
    struct rng rng;
    buf_init(&out, 256 * 1024);
    rng_init(&rng, TEST_SEED());
    for (int i = 0; i < ROUNDS; i++) {
        struct event event, event_back;
        struct item item, item_back;
        struct recommendations list, list_back;
        arena_reset(arena);
        arena_reset(out_arena);
        fixture_event(&rng, arena, &event);
        fixture_item(&rng, arena, &item);
        fixture_list(&rng, arena, (size_t)rng_below(&rng, 30), &list);

        buf_reset(&out);
        schemas_event_encode(schemas, &event, &out);
        CHECK_BYTES(out.data, 5, "\0\0\0\0\1", 5);
        CHECK_OK(schemas_event_decode(schemas, fixture_bytes(&out), out_arena, &event_back, &err),
                 err);
        fixture_same_event(&event, &event_back);

        buf_reset(&out);
        schemas_item_encode(schemas, &item, &out);
        CHECK_OK(schemas_item_decode(schemas, fixture_bytes(&out), out_arena, &item_back, &err),
                 err);
        fixture_same_item(&item, &item_back);

        buf_reset(&out);
        schemas_recommendations_encode(schemas, &list, &out);
        CHECK_OK(schemas_recommendations_decode(schemas, fixture_bytes(&out), out_arena, &list_back,
                                                &err),
                 err);
        fixture_same_list(&list, &list_back);
        CHECK(!out.failed);
    }
    buf_fini(&out);
    arena_free(arena);
    arena_free(out_arena);
    schemas_close(schemas);
}

static void test_json(void)
{
    struct schemas *schemas = fixture_open(FORMAT_JSON);
    struct arena *arena = fixture_arena();
    struct err err = ERR_INIT;
    struct buf out;
    struct rng rng;
    buf_init(&out, 256 * 1024);
    rng_init(&rng, TEST_SEED());
    for (int i = 0; i < ROUNDS; i++) {
        struct event event, event_back;
        struct item item, item_back;
        arena_reset(arena);
        fixture_event(&rng, arena, &event);
        fixture_item(&rng, arena, &item);
        buf_reset(&out);
        schemas_event_encode_json(&event, &out);
        CHECK_OK(schemas_event_decode(schemas, fixture_bytes(&out), arena, &event_back, &err), err);
        fixture_same_event(&event, &event_back);
        buf_reset(&out);
        schemas_item_encode_json(&item, &out);
        CHECK_OK(schemas_item_decode(schemas, fixture_bytes(&out), arena, &item_back, &err), err);
        fixture_same_item(&item, &item_back);
    }
    buf_fini(&out);
    arena_free(arena);
    schemas_close(schemas);
}

static void test_no_allocation(void)
{
    struct schemas *schemas = fixture_open(FORMAT_AVRO);
    struct arena *arena = fixture_arena(), *out_arena = fixture_arena();
    struct err err = ERR_INIT;
    struct buf out, list_out;
    struct event event, back;
    struct recommendations list;
    struct rng rng;
    uint64_t before = 0;
    buf_init(&out, 256 * 1024);
    buf_init(&list_out, 256 * 1024);
    rng_init(&rng, 1);
    fixture_event(&rng, arena, &event);
    fixture_list(&rng, arena, 20, &list);
    for (int i = 0; i < 100; i++) {
        if (i == 1) before = mem_thread_count();
        arena_reset(out_arena);
        buf_reset(&out);
        buf_reset(&list_out);
        schemas_event_encode(schemas, &event, &out);
        schemas_recommendations_encode(schemas, &list, &list_out);
        CHECK_OK(schemas_event_decode(schemas, fixture_bytes(&out), out_arena, &back, &err), err);
    }
    CHECK_INT(mem_thread_count(), before);
    buf_fini(&out);
    buf_fini(&list_out);
    arena_free(arena);
    arena_free(out_arena);
    schemas_close(schemas);
}

int main(void)
{
    CASE(test_avro);
    CASE(test_json);
    CASE(test_no_allocation);
    return 0;
}
