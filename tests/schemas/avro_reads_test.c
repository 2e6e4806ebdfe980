/* LINK: avro-c */
/* Avro C takes our files and reads what we write. */
#include <avro.h>

#include "schemas/internal.h"
#include "tests/schemas/fixture.h"

enum { BYTES_MAX = 64 * 1024 };

static avro_schema_t parse_schema(const char *text, size_t len)
{
    avro_schema_t schema = NULL;
    if (avro_schema_from_json_length(text, len, &schema) != 0)
        test_fail(__FILE__, __LINE__, "Avro C: %s in %.*s", avro_strerror(), (int)len, text);
    return schema;
}

static size_t write_value(avro_value_t *value, char *bytes)
{
    avro_writer_t writer = avro_writer_memory(bytes, BYTES_MAX);
    if (avro_value_write(writer, value) != 0)
        test_fail(__FILE__, __LINE__, "Avro C: %s", avro_strerror());
    size_t len = (size_t)avro_writer_tell(writer);
    avro_writer_free(writer);
    return len;
}

/* What Avro C reads from our bytes and writes again. */
static size_t copy_value(const char *text, size_t text_len, struct str bytes, char *out)
{
    avro_schema_t schema = parse_schema(text, text_len);
    avro_value_iface_t *class = avro_generic_class_from_schema(schema);
    avro_reader_t reader = avro_reader_memory(bytes.ptr, (int64_t)bytes.len);
    avro_value_t value;
    (void)avro_generic_value_new(class, &value);
    if (avro_value_read(reader, &value) != 0)
        test_fail(__FILE__, __LINE__, "Avro C does not read ours: %s", avro_strerror());
    size_t len = write_value(&value, out);
    avro_value_decref(&value);
    avro_value_iface_decref(class);
    avro_reader_free(reader);
    avro_schema_decref(schema);
    return len;
}

static void test_ours_read_by_avro(void)
{
    struct arena *arena = fixture_arena();
    char *copy = mem_alloc(BYTES_MAX);
    struct buf out;
    struct rng rng;
    buf_init(&out, BYTES_MAX);
    rng_init(&rng, TEST_SEED());
    for (int i = 0; i < 1000; i++) {
        struct event event;
        struct item item;
        struct recommendations list;
        arena_reset(arena);
        fixture_event(&rng, arena, &event);
        fixture_item(&rng, arena, &item);
        fixture_list(&rng, arena, (size_t)rng_below(&rng, 30), &list);
        for (int kind = 0; kind < 3; kind++) {
            const char *texts[] = {schemas__avsc_event, schemas__avsc_item,
                                   schemas__avsc_recommendations};
            size_t lens[] = {schemas__avsc_event_len, schemas__avsc_item_len,
                             schemas__avsc_recommendations_len};
            buf_reset(&out);
            if (kind == 0) schemas__encode_event(1, &event, &out);
            if (kind == 1) schemas__encode_item(2, &item, &out);
            if (kind == 2) schemas__encode_list(3, &list, &out);
            struct str body = {(const char *)out.data + 5, out.len - 5};
            size_t len = copy_value(texts[kind], lens[kind], body, copy);
            CHECK_BYTES(body.ptr, body.len, copy, len);
        }
    }
    buf_fini(&out);
    mem_free(copy);
    arena_free(arena);
}

/* Every file of schemas/avro/ is one that Avro C takes. */
static void test_files(void)
{
    const struct {
        const char *text;
        size_t len;
        const char *name;
    } files[] = {
        {schemas__avsc_event, schemas__avsc_event_len, "Event"},
        {schemas__avsc_item, schemas__avsc_item_len, "Item"},
        {schemas__avsc_recommendations, schemas__avsc_recommendations_len, "Recommendations"},
        {schemas__avsc_related, schemas__avsc_related_len, "Related"},
        {schemas__avsc_trending, schemas__avsc_trending_len, "Trending"},
        {schemas__avsc_training_example, schemas__avsc_training_example_len, "TrainingExample"},
        {schemas__avsc_erasure, schemas__avsc_erasure_len, "Erasure"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        avro_schema_t schema = parse_schema(files[i].text, files[i].len);
        CHECK_STR(avro_schema_name(schema), files[i].name);
        CHECK_STR(avro_schema_namespace(schema), "freshet");
        avro_schema_decref(schema);
    }
}

int main(void)
{
    CASE(test_files);
    CASE(test_ours_read_by_avro);
    return 0;
}
