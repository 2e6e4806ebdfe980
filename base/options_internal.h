#ifndef BASE_OPTIONS_INTERNAL_H
#define BASE_OPTIONS_INTERNAL_H

#include "base/options.h"

/* Shared by options.c, options_value.c, options_file.c and options_print.c only. */

/* ---- options_value.c ---- */

/* One option as it was read. All is owned by the value. */
struct options__value {
    char *text;         /* as given, trimmed */
    int64_t integer;    /* INT in the spec's unit; BOOL 0 or 1; ENUM the index */
    double number;      /* NUMBER */
    char *item_storage; /* LIST: the items, NUL-terminated, in a row */
    const char **items; /* LIST: (n_items) into item_storage */
    int n_items;
};

/* Fills value from text. On false `expected` says what would have been right ("a whole number from 1 to 64"). */
bool options__value_parse(const struct option_spec *spec, const char *text,
                          struct options__value *value, struct buf *expected);
void options__value_fini(struct options__value *value);
/* The bounds for a person: "from 1 to 64", "from 1s to 7d", "" when there are none. */
void options__bounds(const struct option_spec *spec, struct buf *out);

/* ---- options_file.c ---- */

/* Replaces each ${file:/path} in text by the file's content less its last line end. The file must be a regular one that
 * nobody but its owner can read. out gets the text, NUL-terminated; mem_free it. */
MUST_USE bool options__resolve(const char *text, char **out, struct err *err);

#endif
