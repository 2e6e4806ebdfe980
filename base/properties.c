/* Java properties in three steps: natural lines are joined to logical ones, a logical line is split at the first separator
 * that is not escaped, and the escapes of both sides are resolved.
 *
 *   text           "a\ b = one, \\n    two\n"
 *   logical line   "a\ b = one, two"         the backslash and the blanks that begin the next line are gone
 *   key, value     "a\ b", "one, two"        cut at '=': the blank before it is escaped, the one after is not
 *   resolved       "a b", "one, two" */
#include "base/properties.h"

#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/utf8.h"

struct properties_reader {
    struct str left; /* what was not read yet */
    int line;        /* number of the next natural line, from 1 */
    int entry_line;  /* where the logical line at hand began */
    const char *origin;
    struct buf logical; /* natural lines joined, escapes as they stand */
    struct buf key;     /* resolved, NUL-terminated */
    struct buf value;
};

/* White space inside a line, as Java has it. */
static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\f';
}

static struct str skip_blanks(struct str s)
{
    while (s.len > 0 && is_blank(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    return s;
}

/* ---- lines ---- */

/* The next natural line without its end (\n, \r or \r\n). */
static struct str take_line(struct properties_reader *reader)
{
    struct str left = reader->left;
    size_t n = 0;
    while (n < left.len && left.ptr[n] != '\n' && left.ptr[n] != '\r')
        n++;
    struct str line = {left.ptr, n};
    if (n < left.len) {
        bool pair = left.ptr[n] == '\r' && n + 1 < left.len && left.ptr[n + 1] == '\n';
        n += pair ? 2 : 1;
    }
    reader->left = (struct str){left.ptr + n, left.len - n};
    reader->line++;
    return line;
}

/* An odd number of backslashes at the end: the next line belongs to this one. */
static bool is_continued(struct str line)
{
    /* Two of them are one escaped backslash, which continues nothing. */
    size_t backslashes = 0;
    while (backslashes < line.len && line.ptr[line.len - 1 - backslashes] == '\\')
        backslashes++;
    return backslashes % 2 == 1;
}

/* Fills reader->logical with the next line that is neither blank nor a comment; false at the end. */
static bool take_logical(struct properties_reader *reader)
{
    buf_reset(&reader->logical);
    while (reader->left.len > 0) {
        reader->entry_line = reader->line;
        struct str line = skip_blanks(take_line(reader));
        if (line.len == 0 || line.ptr[0] == '#' || line.ptr[0] == '!') continue;
        while (is_continued(line)) {
            buf_push(&reader->logical, line.ptr, line.len - 1);
            line = reader->left.len > 0 ? skip_blanks(take_line(reader)) : (struct str){"", 0};
        }
        buf_push_str(&reader->logical, line);
        return true;
    }
    return false;
}

/* ---- splitting and escapes ---- */

/* Bytes of the key: up to the first '=', ':' or blank that is not escaped. */
static size_t key_length(struct str line)
{
    size_t n = 0;
    while (n < line.len) {
        char c = line.ptr[n];
        if (c == '=' || c == ':' || is_blank(c)) break;
        n += c == '\\' && n + 1 < line.len ? 2 : 1;
    }
    return n;
}

/* An error at the entry being read. Returns false. */
static bool bad(const struct properties_reader *reader, struct err *err, const char *what)
{
    return err_fatal(err, ERR_EXIT_USAGE, "%s:%d: %s", reader->origin, reader->entry_line, what);
}

/* Four hex digits behind \u; -1 when they are not there. */
static int32_t hex4(const char *at, size_t left)
{
    int32_t v = 0;
    if (left < 4) return -1;
    for (int i = 0; i < 4; i++) {
        static const char digits[] = "0123456789abcdef";
        char c = at[i] >= 'A' && at[i] <= 'F' ? (char)(at[i] - 'A' + 'a') : at[i];
        const char *digit = c == '\0' ? NULL : strchr(digits, c);
        if (digit == NULL) return -1;
        v = v * 16 + (int32_t)(digit - digits);
    }
    return v;
}

/* One \uXXXX, or two that make a surrogate pair. at points behind the 'u'; returns the bytes read, 0 when wrong. */
static size_t unescape_unicode(struct buf *out, const char *at, size_t left)
{
    int32_t code = hex4(at, left);
    size_t used = 4;
    if (code >= 0xd800 && code < 0xdc00) {
        if (left < 10 || at[4] != '\\' || at[5] != 'u') return 0;
        int32_t low = hex4(at + 6, left - 6);
        if (low < 0xdc00 || low > 0xdfff) return 0;
        code = 0x10000 + (code - 0xd800) * 0x400 + (low - 0xdc00);
        used = 10;
    } else if (code >= 0xdc00 && code <= 0xdfff) {
        return 0;
    }
    if (code <= 0) return 0;
    utf8_push(out, (uint32_t)code);
    return used;
}

/* Resolves the escapes of raw into out and ends it with a NUL. */
static bool unescape(const struct properties_reader *reader, struct str raw, struct buf *out,
                     struct err *err)
{
    buf_reset(out);
    for (size_t i = 0; i < raw.len; i++) {
        char c = raw.ptr[i];
        if (c == '\0') return bad(reader, err, "a NUL byte; is this a text file?");
        if (c != '\\' || i + 1 == raw.len) {
            if (c != '\\') buf_push_byte(out, (uint8_t)c);
            continue;
        }
        c = raw.ptr[++i];
        if (c == 'u') {
            size_t used = unescape_unicode(out, raw.ptr + i + 1, raw.len - i - 1);
            if (used == 0) return bad(reader, err, "\\u takes four hex digits of a character");
            i += used;
            continue;
        }
        if (c == 't') c = '\t';
        if (c == 'n') c = '\n';
        if (c == 'r') c = '\r';
        if (c == 'f') c = '\f';
        if (c == '\0') return bad(reader, err, "a NUL byte; is this a text file?");
        buf_push_byte(out, (uint8_t)c);
    }
    if (!utf8_is_valid((struct str){(const char *)out->data, out->len})) {
        return bad(reader, err, "the text is not UTF-8");
    }
    buf_push_byte(out, 0);
    /* The buffers hold as much as the longest logical line, and no escape grows. */
    return !out->failed || bad(reader, err, "the entry is too long");
}

/* Splits reader->logical into reader->key and reader->value. */
static bool split(struct properties_reader *reader, struct err *err)
{
    struct str line = {(const char *)reader->logical.data, reader->logical.len};
    if (reader->logical.failed) return bad(reader, err, "the entry is too long");
    size_t n = key_length(line);
    struct str key = {line.ptr, n};
    struct str value = skip_blanks((struct str){line.ptr + n, line.len - n});
    if (value.len > 0 && (value.ptr[0] == '=' || value.ptr[0] == ':')) {
        value = skip_blanks((struct str){value.ptr + 1, value.len - 1});
    }
    /* Blanks at the end go, but an escaped one stays. */
    while (value.len > 0 && is_blank(value.ptr[value.len - 1])) {
        if (is_continued((struct str){value.ptr, value.len - 1})) break;
        value.len--;
    }
    if (n == 0) return bad(reader, err, "no key before the separator");
    return unescape(reader, key, &reader->key, err) && unescape(reader, value, &reader->value, err);
}

bool properties_parse(struct str text, const char *origin,
                      bool (*visit)(void *context, const struct properties_entry *entry,
                                    struct err *err),
                      void *context, struct err *err)
{
    struct properties_reader reader = {.left = text, .line = 1, .origin = origin};
    buf_init(&reader.logical, PROPERTIES_LINE_MAX);
    buf_init(&reader.key, PROPERTIES_LINE_MAX);
    buf_init(&reader.value, PROPERTIES_LINE_MAX);
    /* Editors of some systems put a byte order mark first. */
    if (text.len >= 3 && memcmp(text.ptr, "\xef\xbb\xbf", 3) == 0) {
        reader.left = (struct str){text.ptr + 3, text.len - 3};
    }

    bool ok = true;
    while (ok && take_logical(&reader)) {
        ok = split(&reader, err);
        if (!ok) break;
        struct properties_entry entry = {.key = (const char *)reader.key.data,
                                         .value = (const char *)reader.value.data,
                                         .line = reader.entry_line};
        ok = visit(context, &entry, err);
    }
    buf_fini(&reader.logical);
    buf_fini(&reader.key);
    buf_fini(&reader.value);
    return ok;
}
