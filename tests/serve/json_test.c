/* The JSON writer against jansson: what is written is read back the same. */
#include <jansson.h>
#include <math.h>

#include "base/rng.h"
#include "base/utf8.h"
#include "serve/serve.h"
#include "tests/test.h"

/* LINK: jansson */

static struct buf out;

static const char *text_of(void)
{
    buf_push_byte(&out, '\0');
    CHECK(!out.failed);
    out.len--;
    return (const char *)out.data;
}

static void nesting_and_commas(void)
{
    buf_reset(&out);
    struct serve_json json = serve_json_begin(&out);
    serve_json_object(&json, NULL);
    serve_json_array(&json, "a");
    serve_json_int(&json, NULL, -7);
    serve_json_object(&json, NULL);
    serve_json_end(&json);
    serve_json_array(&json, NULL);
    serve_json_end(&json);
    serve_json_end(&json);
    serve_json_cstr(&json, "b", NULL);
    serve_json_cstr(&json, "c", "x");
    serve_json_bool(&json, "d", true);
    serve_json_raw(&json, "e", STR("{\"f\":[]}"));
    serve_json_int(&json, "g", INT64_MIN);
    serve_json_end(&json);
    CHECK_STR(text_of(), "{\"a\":[-7,{},[]],\"b\":null,\"c\":\"x\",\"d\":true,\"e\":{\"f\":[]},"
                         "\"g\":-9223372036854775808}");
}

static const char *number(double value)
{
    buf_reset(&out);
    struct serve_json json = serve_json_begin(&out);
    serve_json_number(&json, NULL, value);
    return text_of();
}

static void numbers_known(void)
{
    CHECK_STR(number(0), "0");
    CHECK_STR(number(-0.0), "0");
    CHECK_STR(number(0.1), "0.1");
    CHECK_STR(number(-0.000001), "-0.000001");
    CHECK_STR(number(0.0000004), "0");
    CHECK_STR(number(1.0000005), "1.000001");
    CHECK_STR(number(79.95), "79.95");
    CHECK_STR(number(999999999.5), "999999999.5");
    CHECK_STR(number(123456789012.0), "1.23456789e+11");
    CHECK_STR(number((double)NAN), "null");
    CHECK_STR(number(-(double)INFINITY), "null");
}

static void numbers_come_back(void)
{
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    for (int i = 0; i < 100000; i++) {
        double value = rng_normal(&rng) * pow(10, (double)rng_below(&rng, 12) - 3);
        char *end;
        double back = strtod(number(value), &end);
        CHECK_INT(*end, 0);
        CHECK_NEAR(back, value,
                   fabs(value) < 1e9 ? 0.5e-6 + fabs(value) * 1e-15 : fabs(value) * 1e-8);
    }
}

/* Every character up to U+FFFF that there is, and some beyond, as value and as key. */
static void texts_come_back(void)
{
    for (uint32_t code = 1; code < 0x11000; code++) {
        struct buf text;
        json_error_t error;
        if (code >= 0xd800 && code < 0xe000) continue;
        buf_init(&text, 16);
        buf_push_byte(&text, 'a');
        utf8_push(&text, code);
        buf_reset(&out);
        struct serve_json json = serve_json_begin(&out);
        struct str value = {(const char *)text.data, text.len};
        buf_push_byte(&text, '\0');
        serve_json_object(&json, NULL);
        serve_json_text(&json, (const char *)text.data, value);
        serve_json_end(&json);
        json_t *back = json_loads(text_of(), 0, &error);
        if (!back) test_fail(__FILE__, __LINE__, "U+%04X: %s", (unsigned)code, error.text);
        json_t *same = json_object_get(back, (const char *)text.data);
        CHECK(same != NULL);
        CHECK_BYTES(json_string_value(same), json_string_length(same), value.ptr, value.len);
        json_decref(back);
        buf_fini(&text);
    }
}

/* A byte that needs an escape, at each place of texts of each length: eight bytes are looked at at once. */
static void each_place_is_seen(void)
{
    static const char special[] = {'"', '\\', '\n', 0x1f, 0x7f, ' ', '!', '#', '[', ']'};
    for (size_t len = 1; len < 40; len++) {
        for (size_t i = 0; i < len * sizeof special; i++) {
            char text[40];
            memset(text, 'x', len);
            text[i / sizeof special] = special[i % sizeof special];
            buf_reset(&out);
            struct serve_json json = serve_json_begin(&out);
            serve_json_text(&json, NULL, (struct str){text, len});
            json_t *back = json_loads(text_of(), JSON_DECODE_ANY, NULL);
            CHECK(back != NULL);
            CHECK_BYTES(json_string_value(back), json_string_length(back), text, len);
            json_decref(back);
        }
    }
}

/* What does not fit marks the buffer and writes nothing beyond it. */
static void full_buffer_is_marked(void)
{
    for (size_t max = 0; max < 40; max++) {
        struct buf small;
        buf_init(&small, max);
        struct serve_json json = serve_json_begin(&small);
        serve_json_object(&json, NULL);
        serve_json_text(&json, "key", STR("val\"ue"));
        serve_json_number(&json, "n", 0.5);
        serve_json_end(&json);
        CHECK(small.len <= max);
        CHECK(max >= 25 || small.failed);
        buf_fini(&small);
    }
}

/* Any bytes give a text that can be read, with the valid characters in it and U+FFFD for the rest. */
static void bytes_are_mended(void)
{
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    for (int i = 0; i < 20000; i++) {
        char bytes[24];
        size_t len = rng_below(&rng, sizeof bytes);
        for (size_t b = 0; b < len; b++)
            bytes[b] = (char)rng_below(&rng, 256);
        buf_reset(&out);
        struct serve_json json = serve_json_begin(&out);
        serve_json_text(&json, NULL, (struct str){bytes, len});
        json_t *back = json_loads(text_of(), JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        CHECK(back != NULL);
        CHECK(utf8_is_valid((struct str){json_string_value(back), json_string_length(back)}));
        json_decref(back);
    }
    buf_reset(&out);
    struct serve_json json = serve_json_begin(&out);
    serve_json_text(&json, NULL, STR("a\xff\xc3\xa4\xe2\x82z\""));
    CHECK_STR(text_of(), "\"a\xef\xbf\xbd\xc3\xa4\xef\xbf\xbd\xef\xbf\xbdz\\\"\"");
}

int main(void)
{
    buf_init(&out, 1024 * 1024);
    CASE(nesting_and_commas);
    CASE(numbers_known);
    CASE(numbers_come_back);
    CASE(texts_come_back);
    CASE(each_place_is_seen);
    CASE(full_buffer_is_marked);
    CASE(bytes_are_mended);
    buf_fini(&out);
    return 0;
}
