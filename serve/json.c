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

/* Is the byte written as it is? Those beyond ASCII are, once the text is known to be UTF-8. */
static bool is_plain(unsigned char c)
{
    return c >= ' ' && c != '"' && c != '\\';
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

/* text is UTF-8. Runs that need no escape, mostly all of it, go out at once. */
static void text_push(struct buf *out, struct str text)
{
    size_t from = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (is_plain((unsigned char)text.ptr[i])) continue;
        buf_push(out, text.ptr + from, i - from);
        escape(out, (unsigned char)text.ptr[i]);
        from = i + 1;
    }
    if (text.len > from) buf_push(out, text.ptr + from, text.len - from);
}

/* Byte by byte: of each longest valid character, or U+FFFD for one byte that begins none. */
static void text_mend(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.len;) {
        size_t n = 1;
        while (n < 4 && n < text.len - i && !utf8_is_valid((struct str){text.ptr + i, n}))
            n++;
        struct str one = {text.ptr + i, n};
        if (utf8_is_valid(one)) {
            text_push(out, one);
            i += n;
        } else {
            utf8_push(out, 0xfffd);
            i++;
        }
    }
}

static void quoted_push(struct buf *out, struct str text)
{
    buf_push_byte(out, '"');
    if (utf8_is_valid(text))
        text_push(out, text);
    else
        text_mend(out, text);
    buf_push_byte(out, '"');
}

/* ---- nesting ---- */

static bool is_array(const struct serve_json *json)
{
    return json->depth == 0 || (json->arrays >> json->depth & 1);
}

static void value_begin(struct serve_json *json, const char *key)
{
    assert((key == NULL) == is_array(json));
    if (json->needs_comma) buf_push_byte(json->out, ',');
    json->needs_comma = true;
    if (key == NULL) return;
    quoted_push(json->out, str_of(key));
    buf_push_byte(json->out, ':');
}

static void open_one(struct serve_json *json, const char *key, bool as_array)
{
    value_begin(json, key);
    assert(json->depth < DEPTH_MAX);
    json->depth++;
    json->arrays &= ~((uint64_t)1 << json->depth);
    json->arrays |= (uint64_t)as_array << json->depth;
    json->needs_comma = false;
    buf_push_byte(json->out, as_array ? '[' : '{');
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
    value_begin(json, key);
    quoted_push(json->out, text);
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
    char digits[STR_NUMBER_MAX];
    value_begin(json, key);
    buf_push(json->out, digits, str_put_number(digits, number));
}

/* printf takes ten times as long, and lists are mostly numbers like these. */
static void decimal_push(struct buf *out, double number)
{
    enum { MICRO = 1000000 };
    char digits[STR_NUMBER_MAX + 8];
    size_t n = 0;
    int64_t micros = llround(number * MICRO);
    uint64_t size = micros < 0 ? 0 - (uint64_t)micros : (uint64_t)micros;
    unsigned part = (unsigned)(size % MICRO);
    if (micros < 0) digits[n++] = '-';
    n += str_put_number(digits + n, (int64_t)(size / MICRO));
    if (part) digits[n++] = '.';
    for (unsigned unit = MICRO / 10; part; unit /= 10) {
        digits[n++] = (char)('0' + part / unit);
        part %= unit;
    }
    buf_push(out, digits, n);
}

void serve_json_number(struct serve_json *json, const char *key, double number)
{
    if (!isfinite(number)) {
        serve_json_null(json, key);
        return;
    }
    value_begin(json, key);
    if (fabs(number) < 1e9)
        decimal_push(json->out, number);
    else
        buf_push_format(json->out, "%.9g", number);
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
    value_begin(json, key);
    buf_push_str(json->out, value);
}
