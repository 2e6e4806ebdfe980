#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing over U+10FFFF. Thread: any. */

bool utf8_is_valid(struct str text);
/* code is a character: 1..0x10FFFF, no surrogate. */
void utf8_push(struct buf *out, uint32_t code);

#endif
