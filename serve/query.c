/* Percent codes (RFC 3986, 2.1), decoded where they lie: the result is never longer. */
#include "base/utf8.h"
#include "serve/internal.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* Almost every text has neither codes nor bytes beyond ASCII, and stays as it is. */
static bool is_plain(struct str text, bool plus_is_space)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c == '%' || c < ' ' || c >= 0x7f || (plus_is_space && c == '+')) return false;
    }
    return true;
}

bool serve__decode(struct str *text, bool plus_is_space)
{
    if (is_plain(*text, plus_is_space)) return true;
    char *to = (char *)(uintptr_t)text->ptr; /* the parser's own buffer */
    size_t n = 0;
    for (size_t i = 0; i < text->len; i++) {
        char c = text->ptr[i];
        if (c == '+' && plus_is_space) {
            c = ' ';
        } else if (c == '%') {
            int high = text->len - i > 2 ? hex_digit(text->ptr[i + 1]) : -1;
            int low = text->len - i > 2 ? hex_digit(text->ptr[i + 2]) : -1;
            if (high < 0 || low < 0) return false;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if ((unsigned char)c < ' ' || c == 0x7f) return false;
        to[n++] = c;
    }
    text->len = n;
    return utf8_is_valid(*text);
}
