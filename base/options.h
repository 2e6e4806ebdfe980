#ifndef BASE_OPTIONS_H
#define BASE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* The options table: one array of specs drives parsing, bounds, --help and docs/OPTIONS.md.
 * Used twice: for the configuration (dotted names; app/config.c) and for each verb's own flags (--name). */

enum option_type { OPTION_TEXT, OPTION_INT, OPTION_NUMBER, OPTION_BOOL, OPTION_ENUM, OPTION_LIST };

struct option_spec {
    const char *name; /* "session.window" or, for a flag, "input" */
    enum option_type type;
    const char *
        fallback; /* the default, as text; NULL: required (an error when it is missing at options_check) */
    double min, max;    /* for INT and NUMBER, inclusive; both 0: unbounded */
    const char *unit;   /* "ms", "bytes", "events", "" */
    const char *values; /* for ENUM: "fail|accept" */
    const char *help;   /* one or two sentences: what it does, when to change it */
    const char *group;  /* heading in --help and docs */
};

struct options;

struct options *options_new(const struct option_spec *specs, size_t n);
void options_free(struct options *options);
/* Prefixes whose keys are kept as they are, beside the table ("consumer.", "producer.", "security.", ...). */
void options_allow_prefix(struct options *options, const char *prefix);

/* ${file:/path} in a value stands for that file's content; the file must be its owner's alone (mode 600 or less). A secret
 * (options_is_kept_aside) comes from such a file or from the environment; written out in --set or in the configuration it is
 * refused.
 * All: ERR_FATAL exit 2; the text names the origin ("shop.properties:12"), the key, what is expected, and for an
 * unknown key the nearest known one. Sizes take KiB/MiB/GiB, times ms/s/m/h/d. */
MUST_USE bool options_set(struct options *options, const char *name, const char *value,
                          const char *origin, struct err *err);
MUST_USE bool options_load_file(struct options *options, const char *path,
                                struct err *err); /* Java properties */
/* FRESHET_APPLICATION_ID sets application.id; an unknown FRESHET_ name is an error. */
MUST_USE bool options_load_env(struct options *options, const char *prefix, char *const *environ_,
                               struct err *err);
/* Required ones are there. */
MUST_USE bool options_check(const struct options *options, struct err *err);

/* Reading: a name that is not in the table is our bug (assert). Texts live as long as the options. */
const char *options_text(const struct options *options, const char *name);
int64_t options_int(const struct options *options, const char *name);
double options_number(const struct options *options, const char *name);
bool options_bool(const struct options *options, const char *name);
int options_enum(const struct options *options, const char *name); /* index into values */
/* Comma-separated, trimmed; (returned count) texts. */
int options_list(const struct options *options, const char *name, const char *const **items);
/* Not just the default. The name may be a key under an allowed prefix. */
bool options_is_set(const struct options *options, const char *name);
/* Keys under an allowed prefix, e.g. "consumer."; the visited key has the prefix taken off. */
void options_each_prefixed(const struct options *options, const char *prefix,
                           void (*visit)(void *context, const char *key, const char *value),
                           void *context);

/* Is the value of this key a password, a key or the like? Then no log, help or error may show it. */
bool options_is_secret(const char *name);
/* Must the value come from a file of its own or from the environment? Secrets must, but for what is public. */
bool options_is_kept_aside(const char *name);
/* A file that a client reads by itself, such as a private key: it is there and its owner's alone. Errors: ERR_FATAL exit 2. */
MUST_USE bool options_secret_file_check(const char *path, struct err *err);
/* The value, or "(hidden)" when the key is secret. */
const char *options_redacted(const char *name, const char *value);
/* What is in force, one "key = value" a line with its origin, secrets hidden. */
void options_print(const struct options *options, struct buf *out);

void options_help(const struct option_spec *specs, size_t n, bool as_flags,
                  struct buf *out); /* for a terminal */
void options_markdown(const struct option_spec *specs, size_t n, struct buf *out); /* for docs */

#endif
