#ifndef BASE_PROPERTIES_H
#define BASE_PROPERTIES_H

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

/* The syntax of Java's .properties files (java.util.Properties.load), in UTF-8:
 *
 *   # comment        ! comment
 *   key = value      key: value      key value
 *   long.value = one, \
 *                two
 *   escapes: \t \n \r \f \\ \: \= \# \uXXXX; before any other character the backslash is dropped
 *
 * Departures: white space at the end of a value is dropped too (Kafka trims it as well), and \u0000, a NUL byte, half a
 * surrogate pair and bytes that are no UTF-8 are errors. */

enum { PROPERTIES_LINE_MAX = 65536 }; /* bytes of one key and value together */

struct properties_entry {
    const char *key; /* NUL-terminated; lives until visit returns, as value does */
    const char *value;
    int line; /* from 1; where the entry begins */
};

/* Calls visit for each entry in order until it returns false, which is then returned with the error it made.
 * origin: the file's name, for messages. Errors: ERR_FATAL exit 2 "origin:line: ...". Thread: any. */
MUST_USE bool properties_parse(struct str text, const char *origin,
                               bool (*visit)(void *context, const struct properties_entry *entry,
                                             struct err *err),
                               void *context, struct err *err);

#endif
