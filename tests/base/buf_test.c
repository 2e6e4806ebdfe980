/* Buffers and cursors against each other, the maximum, and UTF-8 against a table and a count of all characters. */
#include "base/buf.h"

#include "base/rng.h"
#include "base/utf8.h"
#include "tests/test.h"

static uint64_t seed;

/* What is pushed comes back, in both byte orders, at any cut of the storage. */
static void test_round_trip(void)
{
    struct rng rng;
    struct buf buf;
    rng_init(&rng, seed);
    buf_init(&buf, 1 << 20);
    for (int round = 0; round < 200; round++) {
        uint64_t v = rng_u64(&rng);
        buf_reset(&buf);
        size_t pad = (size_t)rng_below(&rng, 300);
        for (size_t i = 0; i < pad; i++)
            buf_push_byte(&buf, (uint8_t)i);
        buf_push_u16(&buf, (uint16_t)v);
        buf_push_u32(&buf, (uint32_t)v);
        buf_push_u64(&buf, v);
        buf_push_be32(&buf, (uint32_t)v);
        buf_push_be64(&buf, v);
        buf_push_text(&buf, "text");
        buf_push_format(&buf, "%d-%s", 7, "x");
        CHECK(!buf.failed);
        CHECK_INT(buf.len, pad + 2 + 4 + 8 + 4 + 8 + 4 + 3);
        struct cursor c = {buf.data, buf.len, false};
        CHECK(cursor_bytes(&c, pad) != NULL);
        CHECK_HEX(cursor_u16(&c), (uint16_t)v);
        CHECK_HEX(cursor_u32(&c), (uint32_t)v);
        CHECK_HEX(cursor_u64(&c), v);
        CHECK_HEX(cursor_be32(&c), (uint32_t)v);
        CHECK_HEX(cursor_be64(&c), v);
        CHECK_BYTES(cursor_bytes(&c, 7), 7, "text7-x", 7);
        CHECK_INT(c.left, 0);
        CHECK(!c.failed);
        CHECK_INT(cursor_u8(&c), 0);
        CHECK(c.failed);
    }
    buf_fini(&buf);
}

static void test_bytes_in_order(void)
{
    struct buf buf;
    buf_init(&buf, 100);
    buf_push_u32(&buf, 0x01020304);
    buf_push_be32(&buf, 0x01020304);
    CHECK_BYTES(buf.data, buf.len, "\x04\x03\x02\x01\x01\x02\x03\x04", 8);
    buf_fini(&buf);
}

/* Over the maximum nothing is stored, the failure stays until reset, and what was there is whole. */
static void test_maximum(void)
{
    struct buf buf;
    buf_init(&buf, 10);
    buf_push_text(&buf, "12345678");
    CHECK(!buf.failed);
    buf_push_u32(&buf, 1);
    CHECK(buf.failed);
    CHECK_BYTES(buf.data, buf.len, "12345678", 8);
    buf_push_byte(&buf, '9');
    CHECK(buf.failed);
    buf_reset(&buf);
    CHECK(!buf.failed);
    CHECK_INT(buf.len, 0);
    buf_push_text(&buf, "1234567890");
    CHECK(!buf.failed);
    CHECK(buf_reserve(&buf, 0) != NULL);
    CHECK(buf_reserve(&buf, 1) == NULL);
    buf_fini(&buf);
    CHECK(buf_reserve(&buf, 0) != NULL);
    buf_fini(&buf);
}

/* A cursor that failed gives nothing more, even what would fit. */
static void test_cursor_failure(void)
{
    struct cursor c = {(const uint8_t *)"abc", 3, false};
    CHECK_INT(cursor_u32(&c), 0);
    CHECK(c.failed);
    CHECK_INT(cursor_u8(&c), 0);
    CHECK(cursor_bytes(&c, 1) == NULL);
    CHECK_INT(c.left, 3);
}

static bool valid(const char *bytes, size_t n)
{
    return utf8_is_valid((struct str){bytes, n});
}

static void test_utf8_table(void)
{
    static const char *const good[] = {"",
                                       "a",
                                       "\xc3\xa9",
                                       "\xe2\x82\xac",
                                       "\xf0\x9f\x98\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {
        "\x80",         "\xc3",         "\xc0\x80",         "\xc1\xbf",         "\xe0\x80\x80",
        "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
        "\xff",         "a\xe2\x82",    "\xc3\x28",         "\xe2\x82\x28"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        CHECK(valid(good[i], strlen(good[i])));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (valid(bad[i], strlen(bad[i]))) test_fail(__FILE__, __LINE__, "bad[%zu] passed", i);
    }
    CHECK(valid("a\0b", 3));
}

/* Every character is written so that it is valid; and of all three-byte strings exactly as many are valid as there are
 * ways to write three bytes of characters. */
static void test_utf8_all(void)
{
    struct buf buf;
    buf_init(&buf, 8);
    for (uint32_t code = 1; code <= 0x10ffff; code++) {
        if (code >= 0xd800 && code <= 0xdfff) continue;
        buf_reset(&buf);
        utf8_push(&buf, code);
        CHECK(valid((const char *)buf.data, buf.len));
    }
    buf_fini(&buf);
    int64_t count = 0;
    for (uint32_t v = 0; v < 1u << 24; v++) {
        const char bytes[3] = {(char)(v >> 16), (char)(v >> 8), (char)v};
        count += valid(bytes, 3);
    }
    /* one: 128; two: 1920; three: 65536 - 2048 - 2048 = 61440 */
    CHECK_INT(count, 128LL * 128 * 128 + 2LL * 128 * 1920 + 61440);
}

int main(void)
{
    seed = TEST_SEED();
    CASE(test_round_trip);
    CASE(test_bytes_in_order);
    CASE(test_maximum);
    CASE(test_cursor_failure);
    CASE(test_utf8_table);
    CASE(test_utf8_all);
    return 0;
}
