#ifndef APP_WHEN_H
#define APP_WHEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Moments as people write them on a command line, and as they read them. UTC throughout. */

/* 2026-11-22, 2026-11-22T08:30, 2026-11-22T08:30:15.250Z (also with a blank for the T), 90s, 15m, 2h, 7d (so long before
 * now_ms), or milliseconds since 1970. Errors: ERR_FATAL exit 2, what names the flag. */
MUST_USE bool when_parse(const char *what, const char *text, int64_t now_ms, int64_t *ms,
                         struct err *err);
enum { WHEN_TEXT_MAX = 40 };
/* 2026-11-22T08:30:15.250Z. Returns out. */
const char *when_print(int64_t ms, char out[WHEN_TEXT_MAX]);

#endif
