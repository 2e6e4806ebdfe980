/* What we write is what we read: Avro and JSON, no allocation once warm. */
#include "tests/schemas/kinds.h"

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
    for (size_t i = 0; i < ROUNDS * n_kinds; i++) {
        const struct kind *kind = &kinds[i % n_kinds];
        union kind_record record, back;
        arena_reset(arena);
        arena_reset(out_arena);
        buf_reset(&out);
        kind->make(&rng, arena, &record);
        kind->encode(schemas, &record, &out);
        CHECK(!out.failed);
        CHECK_OK(kind->decode(schemas, fixture_bytes(&out), out_arena, &back, &err), err);
        kind->same(&record, &back);
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
    for (size_t i = 0; i < ROUNDS * n_kinds; i++) {
        const struct kind *kind = &kinds[i % n_kinds];
        union kind_record record, back;
        if (!kind->reads_json) continue;
        arena_reset(arena);
        buf_reset(&out);
        kind->make(&rng, arena, &record);
        kind->encode_json(&record, &out);
        /* Only events and items have a public decoder that takes JSON. */
        bool input = kind->id == SCHEMAS_EVENT || kind->id == SCHEMAS_ITEM;
        bool ok = input
                      ? kind->decode(schemas, fixture_bytes(&out), arena, &back, &err)
                      : schemas__json_decode(kind->target, fixture_bytes(&out), arena, &back, &err);
        CHECK_OK(ok, err);
        kind->same(&record, &back);
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
