/* Checking and writing UTF-8. */
#include "base/utf8.h"

#include <assert.h>

/* Bytes of the character that begins at s; 0 when it is malformed. left > 0. */
static size_t utf8_length(const uint8_t *s, size_t left)
{
    uint8_t first = s[0];
    if (first < 0x80) return 1;
    size_t n = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || left < n) return 0;
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
    }
    /* The second byte tells overlong forms, surrogates and what lies over U+10FFFF. */
    if (first == 0xe0 && s[1] < 0xa0) return 0;
    if (first == 0xed && s[1] > 0x9f) return 0;
    if (first == 0xf0 && s[1] < 0x90) return 0;
    if (first == 0xf4 && s[1] > 0x8f) return 0;
    return n;
}

bool utf8_is_valid(struct str text)
{
    const uint8_t *s = (const uint8_t *)text.ptr;
    size_t at = 0;
    while (at < text.len) {
        size_t n = utf8_length(s + at, text.len - at);
        if (n == 0) return false;
        at += n;
    }
    return true;
}

void utf8_push(struct buf *out, uint32_t code)
{
    assert(code > 0 && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff));
    if (code < 0x80) {
        buf_push_byte(out, (uint8_t)code);
        return;
    }
    int trailing = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const uint8_t lead[] = {0, 0xc0, 0xe0, 0xf0};
    buf_push_byte(out, (uint8_t)(lead[trailing] | (code >> (6 * trailing))));
    for (int i = trailing - 1; i >= 0; i--) {
        buf_push_byte(out, (uint8_t)(0x80 | ((code >> (6 * i)) & 0x3f)));
    }
}
