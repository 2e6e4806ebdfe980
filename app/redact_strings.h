#ifndef APP_REDACT_STRINGS_H
#define APP_REDACT_STRINGS_H

#include <stdbool.h>

#include "base/str.h"

/* Strings within bytes that nobody can read as a whole. Each of these visits what may be one, in no order, perhaps more than once, until
 * visit returns true, which they return. The strings live until visit returns. Thread: any. */

/* All of the bytes; what stands between two quotes that follow each other, its JSON escapes undone; what an Avro length of one or two
 * bytes stands before. */
bool redact_strings_whole(struct str bytes, bool (*visit)(void *context, struct str string),
                          void *context);
/* Words: runs of letters, digits, '_', '-' and bytes over 127; and runs of those and of any of .:@+~/ */
bool redact_strings_words(struct str bytes, bool (*visit)(void *context, struct str string),
                          void *context);

#endif
