#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* A byte buffer that grows up to a maximum. A push over the maximum stores nothing more and sets `failed`, which the
 * caller looks at once, at the end (as curl's dynbuf). The storage is kept over buf_reset. Thread: one owner. */
struct buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    size_t max;  /* bytes; set by buf_init */
    bool failed; /* a push went over max */
};

void buf_init(struct buf *buf, size_t max);
void buf_fini(struct buf *buf);
void buf_reset(struct buf *buf);
/* Room for n more bytes, not yet counted in len; NULL when that is over max. Lives until the next push. */
uint8_t *buf_reserve(struct buf *buf, size_t n);
void buf_push(struct buf *buf, const void *bytes, size_t n);
void buf_push_byte(struct buf *buf, uint8_t byte);
void buf_push_str(struct buf *buf, struct str s);
void buf_push_text(struct buf *buf, const char *text);
void buf_push_format(struct buf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Little-endian fixed width, for stored values. */
void buf_push_u16(struct buf *buf, uint16_t v);
void buf_push_u32(struct buf *buf, uint32_t v);
void buf_push_u64(struct buf *buf, uint64_t v);
void buf_push_double(struct buf *buf, double v); /* its bits */
/* Big-endian, for keys that must sort by number. */
void buf_push_be32(struct buf *buf, uint32_t v);
void buf_push_be64(struct buf *buf, uint64_t v);

/* Reading back: a cursor over borrowed bytes. Reading past the end returns 0 and sets `failed`, looked at once. */
struct cursor {
    const uint8_t *ptr;
    size_t left;
    bool failed;
};

uint8_t cursor_u8(struct cursor *c);
uint16_t cursor_u16(struct cursor *c);
uint32_t cursor_u32(struct cursor *c);
uint64_t cursor_u64(struct cursor *c);
double cursor_double(struct cursor *c);
uint32_t cursor_be32(struct cursor *c);
uint64_t cursor_be64(struct cursor *c);
/* n bytes, borrowed; NULL and failed when fewer are left. */
const uint8_t *cursor_bytes(struct cursor *c, size_t n);

#endif
