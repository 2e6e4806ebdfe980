/* The growing byte buffer and the cursor that reads it back.
 *
 * Both fail the same way: once something does not fit (or is not there), a flag stays set and what follows stores (or
 * reads) nothing, so that a caller writes a whole record and looks at the flag once. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

void buf_init(struct buf *buf, size_t max)
{
    *buf = (struct buf){.max = max};
}

void buf_fini(struct buf *buf)
{
    mem_free(buf->data);
    *buf = (struct buf){.max = buf->max};
}

void buf_reset(struct buf *buf)
{
    buf->len = 0;
    buf->failed = false;
}

uint8_t *buf_reserve(struct buf *buf, size_t n)
{
    /* len <= max always holds, so the difference cannot wrap. */
    if (n > buf->max - buf->len) {
        buf->failed = true;
        return NULL;
    }
    if (n > buf->cap - buf->len || !buf->data) {
        /* Doubling keeps the copies at two for each byte; the maximum cuts the last step. */
        size_t cap = buf->cap ? buf->cap * 2 : 256;
        if (cap < buf->len + n) cap = buf->len + n;
        if (cap > buf->max) cap = buf->max;
        buf->data = mem_realloc(buf->data, cap);
        buf->cap = cap;
    }
    return buf->data + buf->len;
}

void buf_push(struct buf *buf, const void *bytes, size_t n)
{
    uint8_t *room = buf_reserve(buf, n);
    if (!room || n == 0) return;
    memcpy(room, bytes, n);
    buf->len += n;
}

void buf_push_byte(struct buf *buf, uint8_t byte)
{
    buf_push(buf, &byte, 1);
}

void buf_push_str(struct buf *buf, struct str s)
{
    buf_push(buf, s.ptr, s.len);
}

void buf_push_text(struct buf *buf, const char *text)
{
    buf_push(buf, text, strlen(text));
}

void buf_push_format(struct buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    /* The first pass measures, the second writes: vsnprintf needs room for a NUL that is not counted. */
    va_list again;
    va_copy(again, args);
    int need = vsnprintf(NULL, 0, format, args);
    va_end(args);
    uint8_t *room = need < 0 ? NULL : buf_reserve(buf, (size_t)need + 1);
    if (room) {
        (void)vsnprintf((char *)room, (size_t)need + 1, format, again);
        buf->len += (size_t)need;
    }
    va_end(again);
}

/* One byte order helper for both directions: the i-th byte of an n-byte number. */
static void push_number(struct buf *buf, uint64_t v, size_t n, bool big)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < n; i++)
        bytes[big ? n - 1 - i : i] = (uint8_t)(v >> (8 * i));
    buf_push(buf, bytes, n);
}

void buf_push_u16(struct buf *buf, uint16_t v)
{
    push_number(buf, v, 2, false);
}

void buf_push_u32(struct buf *buf, uint32_t v)
{
    push_number(buf, v, 4, false);
}

void buf_push_u64(struct buf *buf, uint64_t v)
{
    push_number(buf, v, 8, false);
}

void buf_push_double(struct buf *buf, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    buf_push_u64(buf, bits);
}

void buf_push_be32(struct buf *buf, uint32_t v)
{
    push_number(buf, v, 4, true);
}

void buf_push_be64(struct buf *buf, uint64_t v)
{
    push_number(buf, v, 8, true);
}

const uint8_t *cursor_bytes(struct cursor *c, size_t n)
{
    if (c->failed || n > c->left) {
        c->failed = true;
        return NULL;
    }
    const uint8_t *at = c->ptr;
    c->ptr += n;
    c->left -= n;
    return at;
}

/* The n-byte number at the cursor, n at most 8; 0 when fewer bytes are left. */
static uint64_t read_number(struct cursor *c, size_t n, bool big)
{
    const uint8_t *bytes = cursor_bytes(c, n);
    uint64_t v = 0;
    if (!bytes) return 0;
    for (size_t i = 0; i < n; i++)
        v |= (uint64_t)bytes[big ? n - 1 - i : i] << (8 * i);
    return v;
}

uint8_t cursor_u8(struct cursor *c)
{
    return (uint8_t)read_number(c, 1, false);
}

uint16_t cursor_u16(struct cursor *c)
{
    return (uint16_t)read_number(c, 2, false);
}

uint32_t cursor_u32(struct cursor *c)
{
    return (uint32_t)read_number(c, 4, false);
}

uint64_t cursor_u64(struct cursor *c)
{
    return read_number(c, 8, false);
}

double cursor_double(struct cursor *c)
{
    uint64_t bits = cursor_u64(c);
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

uint32_t cursor_be32(struct cursor *c)
{
    return (uint32_t)read_number(c, 4, true);
}

uint64_t cursor_be64(struct cursor *c)
{
    return read_number(c, 8, true);
}
