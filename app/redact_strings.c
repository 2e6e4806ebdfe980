/* Strings within bytes. */
#include "app/redact_strings.h"

#include <ctype.h>
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* ---- whole ---- */

/* quoted: with its quotes, and escapes in it. */
static bool escaped_visit(struct str quoted, bool (*visit)(void *context, struct str string),
                          void *context)
{
    json_t *json = json_loadb(quoted.ptr, quoted.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    bool is_over = json_is_string(json) &&
                   visit(context, (struct str){json_string_value(json), json_string_length(json)});
    json_decref(json);
    return is_over;
}

static bool json_visit(struct str bytes, bool (*visit)(void *context, struct str string),
                       void *context)
{
    const char *end = bytes.ptr + bytes.len, *quote = memchr(bytes.ptr, '"', bytes.len);
    while (quote) {
        const char *from = quote + 1;
        quote = memchr(from, '"', (size_t)(end - from));
        if (!quote) break;
        struct str string = {from, (size_t)(quote - from)};
        if (visit(context, string)) return true;
        if (string.len > 0 && memchr(string.ptr, '\\', string.len) &&
            escaped_visit((struct str){from - 1, string.len + 2}, visit, context))
            return true;
    }
    return false;
}

/* Behind its length, a zigzag varint; an id takes two bytes of it at most. */
static bool avro_visit(struct str bytes, bool (*visit)(void *context, struct str string),
                       void *context)
{
    for (size_t i = 0; i < bytes.len; i++) {
        size_t first = (uint8_t)bytes.ptr[i], at = i + 1, twice = first;
        if (first & 0x80) {
            if (at == bytes.len || (uint8_t)bytes.ptr[at] & 0x80) continue;
            twice = (first & 0x7f) | (size_t)(uint8_t)bytes.ptr[at] << 7;
            at++;
        }
        if (twice & 1 || twice / 2 > bytes.len - at) continue;
        if (visit(context, (struct str){bytes.ptr + at, twice / 2})) return true;
    }
    return false;
}

bool redact_strings_whole(struct str bytes, bool (*visit)(void *context, struct str string),
                          void *context)
{
    return bytes.len > 0 && (visit(context, bytes) || json_visit(bytes, visit, context) ||
                             avro_visit(bytes, visit, context));
}

/* ---- words ---- */

static bool is_letter(char byte, const char *also)
{
    return (byte & 0x80) || isalnum((unsigned char)byte) || (byte && strchr(also, byte));
}

static bool runs_visit(struct str bytes, const char *also,
                       bool (*visit)(void *context, struct str string), void *context)
{
    size_t from = 0;
    for (size_t i = 0; i <= bytes.len; i++) {
        if (i < bytes.len && is_letter(bytes.ptr[i], also)) continue;
        if (i > from && visit(context, (struct str){bytes.ptr + from, i - from})) return true;
        from = i + 1;
    }
    return false;
}

bool redact_strings_words(struct str bytes, bool (*visit)(void *context, struct str string),
                          void *context)
{
    return runs_visit(bytes, "_-", visit, context) || runs_visit(bytes, "_-.:@+~/", visit, context);
}
