#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A borrowed run of bytes, not ended by NUL. ptr may be NULL only when len is 0. Who hands one out says until when the
 * bytes live. */
struct str {
    const char *ptr;
    size_t len;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
/* For printf: "%.*s", STR_ARG(s). */
#define STR_ARG(s) (int)(s).len, ((s).len ? (s).ptr : "")

static inline struct str str_of(const char *text)
{
    return (struct str){text, strlen(text)};
}

static inline bool str_equal(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* The number's decimal digits, as printf writes them but in a tenth of its time, for what runs for each event. No NUL. Returns how
 * many bytes; out has room for STR_NUMBER_MAX. */
enum { STR_NUMBER_MAX = 20 };
size_t str_put_number(char *out, int64_t number);

#endif
