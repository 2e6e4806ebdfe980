/* What we write is what we read: Avro and JSON, no allocation once warm. */
#include "tests/schemas/kinds.h"

enum { ROUNDS = 3000 };

static void test_avro(void)
{
    struct coding c;
    struct err err = ERR_INIT;
    coding_open(&c, FORMAT_AVRO, TEST_SEED());
    for (size_t i = 0; i < ROUNDS * n_kinds; i++) {
        const struct kind *kind = &kinds[i % n_kinds];
        union kind_record record, back;
        arena_reset(c.arena);
        arena_reset(c.back);
        buf_reset(&c.out);
        kind->make(&c.rng, c.arena, &record);
        kind->encode(c.schemas, &record, &c.out);
        CHECK(!c.out.failed);
        CHECK_OK(kind->decode(c.schemas, fixture_bytes(&c.out), c.back, &back, &err), err);
        kind->same(&record, &back);
    }
    coding_close(&c);
}

static void test_json(void)
{
    struct coding c;
    struct err err = ERR_INIT;
    coding_open(&c, FORMAT_JSON, TEST_SEED());
    for (size_t i = 0; i < ROUNDS * n_kinds; i++) {
        const struct kind *kind = &kinds[i % n_kinds];
        union kind_record record, back;
        if (!kind->reads_json) continue;
        arena_reset(c.arena);
        arena_reset(c.back);
        buf_reset(&c.out);
        kind->make(&c.rng, c.arena, &record);
        kind->encode_json(&record, &c.out);
        /* Only events and items have a public decoder that takes JSON. */
        struct str bytes = fixture_bytes(&c.out);
        bool input = kind->id == SCHEMAS_EVENT || kind->id == SCHEMAS_ITEM;
        bool ok = input ? kind->decode(c.schemas, bytes, c.back, &back, &err)
                        : schemas__json_decode(kind->target, bytes, c.back, &back, &err);
        CHECK_OK(ok, err);
        kind->same(&record, &back);
    }
    coding_close(&c);
}

static void test_no_allocation(void)
{
    struct coding c;
    struct err err = ERR_INIT;
    struct buf list_out;
    struct event event, back;
    struct recommendations list;
    uint64_t before = 0;
    coding_open(&c, FORMAT_AVRO, 1);
    buf_init(&list_out, 256 * 1024);
    fixture_event(&c.rng, c.arena, &event);
    fixture_list(&c.rng, c.arena, 20, &list);
    for (int i = 0; i < 100; i++) {
        if (i == 1) before = mem_thread_count();
        arena_reset(c.back);
        buf_reset(&c.out);
        buf_reset(&list_out);
        schemas_event_encode(c.schemas, &event, &c.out);
        schemas_recommendations_encode(c.schemas, &list, &list_out);
        CHECK_OK(schemas_event_decode(c.schemas, fixture_bytes(&c.out), c.back, &back, &err), err);
    }
    CHECK_INT(mem_thread_count(), before);
    buf_fini(&list_out);
    coding_close(&c);
}

int main(void)
{
    CASE(test_avro);
    CASE(test_json);
    CASE(test_no_allocation);
    return 0;
}
