/* The JSON writer (RFC 8259): straight into the answer's buffer. */
#include <assert.h>
#include <math.h>
#include <stdio.h>

#include "base/utf8.h"
#include "serve/internal.h"

enum { DEPTH_MAX = 63 };

struct serve_json serve_json_begin(struct buf *out)
{
    return (struct serve_json){.out = out};
}

/* ---- texts ---- */

/* Is the byte written as it is? */
static bool is_plain(unsigned char c)
{
    return c >= ' ' && c != '"' && c != '\\' && c < 0x80;
}

/* The same of eight at once (S. E. Anderson, Bit Twiddling Hacks, "Determine if a word has a byte less than n"): the top bit
 * of a byte is set where it is below n; of one that equals c, where its difference is below 1. */
static bool are_plain(uint64_t eight)
{
    const uint64_t ones = UINT64_MAX / 255, tops = ones * 0x80;
    uint64_t quote = eight ^ ones * '"', slash = eight ^ ones * '\\';
    uint64_t below = (eight - ones * ' ') & ~eight;
    uint64_t equal = ((quote - ones) & ~quote) | ((slash - ones) & ~slash);
    return ((eight | below | equal) & tops) == 0;
}

/* Copies what needs no escape, mostly all of it; returns how many bytes that were. to has room for all. */
static size_t plain_copy(char *to, struct str text)
{
    size_t i = 0;
    uint64_t eight;
    for (; text.len - i >= sizeof eight; i += sizeof eight) {
        memcpy(&eight, text.ptr + i, sizeof eight);
        if (!are_plain(eight)) break;
        memcpy(to + i, &eight, sizeof eight);
    }
    for (; i < text.len && is_plain((unsigned char)text.ptr[i]); i++)
        to[i] = text.ptr[i];
    return i;
}

static void escape(struct buf *out, unsigned char c)
{
    static const char named[] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f',
                                 ['\r'] = 'r', ['"'] = '"',  ['\\'] = '\\'};
    buf_push_byte(out, '\\');
    if (c < sizeof named && named[c])
        buf_push_byte(out, (uint8_t)named[c]);
    else
        buf_push_format(out, "u%04x", (unsigned)c);
}

/* Length of the character that begins the text, 0 when none does. */
static size_t character_len(struct str text)
{
    for (size_t n = 1; n <= 4 && n <= text.len; n++)
        if (utf8_is_valid((struct str){text.ptr, n})) return n;
    return 0;
}

/* Character by character: with escapes, beyond ASCII, or no UTF-8 at all. */
static void text_push(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.len;) {
        struct str rest = {text.ptr + i, text.len - i};
        size_t n = character_len(rest);
        if (n == 0)
            utf8_push(out, 0xfffd);
        else if (n > 1 || is_plain((unsigned char)rest.ptr[0]))
            buf_push(out, rest.ptr, n);
        else
            escape(out, (unsigned char)rest.ptr[0]);
        i += n ? n : 1;
    }
}

/* ---- nesting ---- */

static bool is_array(const struct serve_json *json)
{
    return json->depth == 0 || (json->arrays >> json->depth & 1);
}

static void value_end(struct serve_json *json, const char *end)
{
    json->out->len = (size_t)(end - (const char *)json->out->data);
}

/* The rest of a text whose first bytes, and the quote before them, end at `at`. */
static void text_finish(struct serve_json *json, const char *at, struct str rest)
{
    value_end(json, at);
    text_push(json->out, rest);
    buf_push_byte(json->out, '"');
}

/* Comma and key, and behind them room for so many bytes of the value. NULL: the buffer is full. */
static char *value_begin(struct serve_json *json, const char *key, size_t room)
{
    struct str name = key ? str_of(key) : (struct str){NULL, 0};
    assert((key == NULL) == is_array(json));
    char *at = (char *)buf_reserve(json->out, name.len + 4 + room);
    if (at == NULL) return NULL;
    if (json->needs_comma) *at++ = ',';
    json->needs_comma = true;
    if (key == NULL) return at;
    *at++ = '"';
    size_t n = plain_copy(at, name);
    at += n;
    if (n < name.len) {
        text_finish(json, at, (struct str){name.ptr + n, name.len - n});
        buf_push_byte(json->out, ':');
        return (char *)buf_reserve(json->out, room);
    }
    *at++ = '"';
    *at++ = ':';
    return at;
}

static void open_one(struct serve_json *json, const char *key, bool as_array)
{
    char *at = value_begin(json, key, 1);
    assert(json->depth < DEPTH_MAX);
    json->depth++;
    json->arrays &= ~((uint64_t)1 << json->depth);
    json->arrays |= (uint64_t)as_array << json->depth;
    json->needs_comma = false;
    if (at == NULL) return;
    *at++ = as_array ? '[' : '{';
    value_end(json, at);
}

void serve_json_object(struct serve_json *json, const char *key)
{
    open_one(json, key, false);
}

void serve_json_array(struct serve_json *json, const char *key)
{
    open_one(json, key, true);
}

void serve_json_end(struct serve_json *json)
{
    assert(json->depth > 0);
    buf_push_byte(json->out, is_array(json) ? ']' : '}');
    json->depth--;
    json->needs_comma = true;
}

/* ---- values ---- */

void serve_json_text(struct serve_json *json, const char *key, struct str text)
{
    char *at = value_begin(json, key, text.len + 2);
    if (at == NULL) return;
    *at++ = '"';
    size_t n = plain_copy(at, text);
    at += n;
    if (n < text.len) {
        text_finish(json, at, (struct str){text.ptr + n, text.len - n});
        return;
    }
    *at++ = '"';
    value_end(json, at);
}

void serve_json_cstr(struct serve_json *json, const char *key, const char *text)
{
    if (text)
        serve_json_text(json, key, str_of(text));
    else
        serve_json_null(json, key);
}

void serve_json_int(struct serve_json *json, const char *key, int64_t number)
{
    char *at = value_begin(json, key, STR_NUMBER_MAX);
    if (at) value_end(json, at + str_put_number(at, number));
}

/* printf takes ten times as long, and lists are mostly numbers like these. Returns how many bytes, 32 at most. */
static size_t decimal_put(char *out, double number)
{
    enum { MICRO = 1000000 };
    size_t n = 0;
    int64_t micros = llround(number * MICRO);
    uint64_t size = micros < 0 ? 0 - (uint64_t)micros : (uint64_t)micros;
    unsigned part = (unsigned)(size % MICRO);
    if (micros < 0) out[n++] = '-';
    n += str_put_number(out + n, (int64_t)(size / MICRO));
    if (part) out[n++] = '.';
    for (unsigned unit = MICRO / 10; part; unit /= 10) {
        out[n++] = (char)('0' + part / unit);
        part %= unit;
    }
    return n;
}

void serve_json_number(struct serve_json *json, const char *key, double number)
{
    enum { ROOM = 32 };
    if (!isfinite(number)) {
        serve_json_null(json, key);
        return;
    }
    char *at = value_begin(json, key, ROOM);
    if (at == NULL) return;
    if (fabs(number) < 1e9)
        at += decimal_put(at, number);
    else
        at += snprintf(at, ROOM, "%.9g", number);
    value_end(json, at);
}

void serve_json_bool(struct serve_json *json, const char *key, bool is_true)
{
    serve_json_raw(json, key, is_true ? STR("true") : STR("false"));
}

void serve_json_null(struct serve_json *json, const char *key)
{
    serve_json_raw(json, key, STR("null"));
}

void serve_json_raw(struct serve_json *json, const char *key, struct str value)
{
    char *at = value_begin(json, key, value.len);
    if (at == NULL) return;
    if (value.len) memcpy(at, value.ptr, value.len);
    value_end(json, at + value.len);
}
