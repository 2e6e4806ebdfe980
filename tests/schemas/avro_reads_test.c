/* LINK: avro-c */
/* Avro C takes our files and reads what we write. */
#include <avro.h>

#include "tests/schemas/kinds.h"

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

/* What Avro C writes again is byte for byte ours, so it is what Avro C would have written; and we read it. */
static void test_ours_read_by_avro(void)
{
    struct schemas *schemas = fixture_open(FORMAT_AVRO);
    struct arena *arena = fixture_arena();
    struct err err = ERR_INIT;
    char *copy = mem_alloc(BYTES_MAX);
    struct buf out;
    struct rng rng;
    buf_init(&out, BYTES_MAX);
    rng_init(&rng, TEST_SEED());
    for (size_t i = 0; i < 1000 * n_kinds; i++) {
        const struct kind *kind = &kinds[i % n_kinds];
        union kind_record record, back;
        arena_reset(arena);
        buf_reset(&out);
        kind->make(&rng, arena, &record);
        kind->encode(schemas, &record, &out);
        struct str body = {(const char *)out.data + 5, out.len - 5};
        size_t len = copy_value(kind->text, *kind->len, body, copy);
        CHECK_BYTES(body.ptr, body.len, copy, len);
        memcpy(out.data + 5, copy, len);
        CHECK_OK(kind->decode(schemas, fixture_bytes(&out), arena, &back, &err), err);
        kind->same(&record, &back);
    }
    buf_fini(&out);
    mem_free(copy);
    arena_free(arena);
    schemas_close(schemas);
}

/* Every file of schemas/avro/ is one that Avro C takes. */
static void test_files(void)
{
    for (size_t i = 0; i < n_kinds; i++) {
        avro_schema_t schema = parse_schema(kinds[i].text, *kinds[i].len);
        CHECK_STR(avro_schema_name(schema), kinds[i].name);
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
