#ifndef TRAIN_INTERNAL_H
#define TRAIN_INTERNAL_H

/* Shared inside train/ only. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/* ---- records.c: bytes of a file, plain or gzip, cut into records and fields ---- */

enum { TRAIN__FIELDS_MAX = 256, TRAIN__RECORD_MAX = 1 << 20, TRAIN__QUOTED_MAX = 1 << 16 };

struct train__records;

/* quoted: a record may hold line ends inside double quotes (RFC 4180).
 * Errors: ERR_FATAL exit 2 the file cannot be opened. */
MUST_USE bool train__records_open(struct train__records **records, const char *path, bool quoted,
                                  struct err *err);
/* The next record that is not blank, without its line end. Lives until the next call; the bytes may be changed in place.
 * false with ERR_NONE at the end; ERR_DATA a record over the limit (skipped); ERR_FATAL exit 2 a
 * damaged or unreadable file: every later call is the end. */
bool train__records_next(struct train__records *records, char **text, size_t *len, struct err *err);
/* Set once the header is seen; ',' before. */
void train__records_delimiter(struct train__records *records, char delimiter);
const char *train__records_path(const struct train__records *records);
uint64_t train__records_line(const struct train__records *records); /* of the record's first byte */
double train__records_progress(const struct train__records *records);
void train__records_close(struct train__records *records);

/* Cuts text (len bytes, changed in place: quotes are taken off) at `delimiter`; ' ' stands for any run of spaces
 * and tabs. Returns the number of fields, or -1 when there are more than TRAIN__FIELDS_MAX. */
int train__split(char *text, size_t len, char delimiter, struct str fields[TRAIN__FIELDS_MAX]);

/* ---- columns.c: which column of a CSV file with a header means what ---- */

enum { TRAIN__TARGETS_MAX = 8, TRAIN__ALTERNATIVES_MAX = 8 };

struct train__mapping {
    struct str literal; /* "type==purchase": every row has this text; ptr NULL: none */
    int columns[TRAIN__ALTERNATIVES_MAX];
    int n; /* alternatives: the first that is not empty counts */
};

struct train__columns {
    /* Set before reading. */
    const char *flag;         /* "--map", for messages */
    const char *const *names; /* (n) what a column can be mapped to */
    int n, n_required;        /* the first n_required need a column */
    const char *usual; /* the map when none is given; columns that the header lacks are skipped */
    /* Read. */
    char delimiter;
    int n_columns;
    char *map; /* what the literals point into */
    struct train__mapping mappings[TRAIN__TARGETS_MAX];
};

/* Reads the header: delimiter (comma, tab or semicolon), columns, and what map ("user=A|B,type==purchase"; NULL or "": the usual
 * one) makes of them. Errors: ERR_FATAL exit 2. */
MUST_USE bool train__columns_read(struct train__columns *columns, struct train__records *records,
                                  const char *map, struct err *err);
/* The value of a target in a row of n_columns fields, without the spaces around it; len 0: empty or not mapped. Lives as long as the
 * fields or the columns. */
struct str train__columns_get(const struct train__columns *columns, int target,
                              const struct str *fields);
void train__columns_free(struct train__columns *columns);

/* ---- timestamp.c ---- */

/* Milliseconds since 1970 UTC from seconds ("1592337718.5"), milliseconds or microseconds (told by their size), or
 * "2010-12-01 08:26:00[.123]" with ' ' or 'T' between and an optional 'Z'. false: none of these. */
bool train__time_parse(struct str text, int64_t *time_ms);
/* A finite decimal number, whole text. */
bool train__number_parse(struct str text, double *value);

#endif
