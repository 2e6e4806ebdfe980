/* From the text of an option to its value: numbers with units, bounds, enums, lists; and which values are secret.
 *
 * An INT option has a unit in its spec. "bytes", "ms" and "s" are families with suffixes (64MiB, 7d), and the value is kept
 * in the family's base; any other unit ("events") is a word for the help text, and the number stands alone. */
#include "base/options_internal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

/* ---- units ---- */

struct unit {
    const char *family; /* the spec's unit that it belongs to */
    const char *suffix;
    int64_t factor; /* to the family's base */
};

/* By family from the largest, so that bounds print with the largest that divides them. */
static const struct unit units[] = {
    {"bytes", "TiB", INT64_C(1) << 40},
    {"bytes", "GiB", INT64_C(1) << 30},
    {"bytes", "MiB", INT64_C(1) << 20},
    {"bytes", "KiB", INT64_C(1) << 10},
    {"bytes", "B", 1},
    {"ms", "d", INT64_C(86400000)},
    {"ms", "h", INT64_C(3600000)},
    {"ms", "m", INT64_C(60000)},
    {"ms", "s", INT64_C(1000)},
    {"ms", "ms", 1},
    {"s", "d", INT64_C(86400)},
    {"s", "h", INT64_C(3600)},
    {"s", "m", INT64_C(60)},
    {"s", "s", 1},
};

enum { UNIT_COUNT = sizeof(units) / sizeof(units[0]) };

/* Does the suffix belong to the spec's family? */
static bool unit_is_of(const struct unit *unit, const struct option_spec *spec)
{
    return spec->unit != NULL && strcmp(unit->family, spec->unit) == 0;
}

/* 0 when the suffix is none of the spec's. */
static int64_t unit_factor(const struct option_spec *spec, const char *suffix)
{
    if (*suffix == '\0') return 1;
    for (int i = 0; i < UNIT_COUNT; i++) {
        if (unit_is_of(&units[i], spec) && strcmp(units[i].suffix, suffix) == 0) {
            return units[i].factor;
        }
    }
    return 0;
}

/* A bound for a person: 604800000 of "ms" is 7d. The largest suffix that leaves a whole number is taken. */
static void push_quantity(const struct option_spec *spec, double quantity, struct buf *out)
{
    if (spec->type != OPTION_INT) {
        buf_push_format(out, "%.15g", quantity);
        return;
    }
    int64_t n = (int64_t)quantity;
    for (int i = 0; i < UNIT_COUNT && n != 0; i++) {
        if (!unit_is_of(&units[i], spec) || n % units[i].factor != 0) continue;
        buf_push_format(out, "%lld%s", (long long)(n / units[i].factor), units[i].suffix);
        return;
    }
    buf_push_format(out, "%lld", (long long)n);
}

void options__bounds(const struct option_spec *spec, struct buf *out)
{
    bool counts = spec->type == OPTION_INT || spec->type == OPTION_NUMBER;
    if (!counts || (spec->min == 0 && spec->max == 0)) return;
    buf_push_text(out, "from ");
    push_quantity(spec, spec->min, out);
    buf_push_text(out, " to ");
    push_quantity(spec, spec->max, out);
}

/* ---- one parser a type ---- */

/* Both bounds 0 mean none. Bounds are doubles; all in use are below 2^53, so the comparison is exact. */
static bool within_bounds(const struct option_spec *spec, double v)
{
    return (spec->min == 0 && spec->max == 0) || (v >= spec->min && v <= spec->max);
}

/* Digits, perhaps a sign, perhaps blanks and a suffix. What overflows with its suffix is refused, not wrapped. */
static bool parse_int(const struct option_spec *spec, const char *text, int64_t *out)
{
    /* strtoll would skip white space; the text is trimmed, so what is left of it is wrong. */
    if (*text == '\0') return false;
    char *end = NULL;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (end == text || errno != 0) return false;
    while (*end == ' ')
        end++;
    int64_t factor = unit_factor(spec, end);
    int64_t scaled = 0;
    if (factor == 0 || __builtin_mul_overflow((int64_t)n, factor, &scaled)) return false;
    *out = scaled;
    return within_bounds(spec, (double)scaled);
}

/* Finite numbers only: NaN would pass every comparison further on. */
static bool parse_number(const struct option_spec *spec, const char *text, double *out)
{
    if (*text == '\0') return false;
    char *end = NULL;
    double v = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(v)) return false;
    *out = v;
    return within_bounds(spec, v);
}

/* "yes", "on" and "1" are refused: Kafka refuses them too. */
static bool parse_bool(const char *text, int64_t *out)
{
    *out = strcasecmp(text, "true") == 0;
    return *out || strcasecmp(text, "false") == 0;
}

/* The index of text among "a|b|c". */
static bool parse_enum(const struct option_spec *spec, const char *text, int64_t *out)
{
    size_t len = strlen(text);
    const char *at = spec->values;
    for (*out = 0; at != NULL; ++*out) {
        size_t n = strcspn(at, "|");
        if (n == len && strncasecmp(at, text, n) == 0) return true;
        at = at[n] == '|' ? at + n + 1 : NULL;
    }
    return false;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

/* Cuts text at commas and trims; empty items are no items. */
static void parse_list(const char *text, struct options__value *value)
{
    size_t commas = 0;
    for (const char *at = text; *at; at++)
        commas += *at == ',';
    value->item_storage = mem_strdup(text);
    value->items = mem_alloc((commas + 1) * sizeof(*value->items));
    value->n_items = 0;
    char *at = value->item_storage;
    while (at != NULL) {
        char *comma = strchr(at, ',');
        if (comma != NULL) *comma = '\0';
        while (is_blank(*at))
            at++;
        size_t n = strlen(at);
        while (n > 0 && is_blank(at[n - 1]))
            at[--n] = '\0';
        if (n > 0) value->items[value->n_items++] = at;
        at = comma == NULL ? NULL : comma + 1;
    }
}

/* ---- the whole ---- */

/* A copy without blanks at both ends. */
static char *trimmed(const char *text)
{
    while (is_blank(*text))
        text++;
    size_t n = strlen(text);
    while (n > 0 && is_blank(text[n - 1]))
        n--;
    return mem_strndup(text, n);
}

/* value->text is there already; fills the rest. false: the text is not of the type, or out of bounds. */
static bool parse_by_type(const struct option_spec *spec, struct options__value *value)
{
    switch (spec->type) {
    case OPTION_INT:
        return parse_int(spec, value->text, &value->integer);
    case OPTION_NUMBER:
        return parse_number(spec, value->text, &value->number);
    case OPTION_BOOL:
        return parse_bool(value->text, &value->integer);
    case OPTION_ENUM:
        return parse_enum(spec, value->text, &value->integer);
    case OPTION_LIST:
        parse_list(value->text, value);
        break;
    case OPTION_TEXT:
        break;
    }
    /* What has no default must not be set to nothing either. */
    return spec->fallback != NULL || value->text[0] != '\0';
}

/* What would have been right, for the error: "a time (250ms, 10s, 5m, 12h, 7d) from 1s to 7d". */
static void describe(const struct option_spec *spec, struct buf *out)
{
    const char *unit = spec->unit == NULL ? "" : spec->unit;
    switch (spec->type) {
    case OPTION_INT:
        buf_push_text(out, strcmp(unit, "bytes") == 0 ? "a size (bytes, or 512KiB, 64MiB, 1GiB)"
                           : strcmp(unit, "ms") == 0 || strcmp(unit, "s") == 0
                               ? "a time (250ms, 10s, 5m, 12h, 7d)"
                               : "a whole number");
        break;
    case OPTION_NUMBER:
        buf_push_text(out, "a number");
        break;
    case OPTION_BOOL:
        buf_push_text(out, "true or false");
        break;
    case OPTION_ENUM:
        buf_push_format(out, "one of %s", spec->values);
        break;
    case OPTION_TEXT:
    case OPTION_LIST:
        buf_push_text(out, "a value");
        break;
    }
    bool bounded = spec->min != 0 || spec->max != 0;
    if (bounded) buf_push_byte(out, ' ');
    options__bounds(spec, out);
}

bool options__value_parse(const struct option_spec *spec, const char *text,
                          struct options__value *value, struct buf *expected)
{
    *value = (struct options__value){.text = trimmed(text)};
    if (parse_by_type(spec, value)) return true;
    options__value_fini(value);
    describe(spec, expected);
    buf_push_byte(expected, 0);
    return false;
}

void options__value_fini(struct options__value *value)
{
    /* Of every option, secret or not: there are few, and what is not asked cannot be forgotten. */
    mem_free_text(value->text);
    mem_free(value->item_storage);
    mem_free((void *)value->items);
    *value = (struct options__value){0};
}

/* ---- secrets ---- */

/* Case does not matter. */
static bool contains(const char *text, const char *part)
{
    size_t n = strlen(part);
    for (; *text; text++) {
        if (strncasecmp(text, part, n) == 0) return true;
    }
    return false;
}

bool options_is_secret(const char *name)
{
    static const char *const parts[] = {"password",  "passphrase", "secret", "credential",
                                        "sasl.jaas", "user.info",  "token",  "oauthbearer.config"};
    /* Better one key hidden too many than one password shown. */
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (contains(name, parts[i])) return true;
    }
    size_t n = strlen(name);
    return n >= 4 && strcasecmp(name + n - 4, ".pem") == 0;
}

bool options_is_kept_aside(const char *name)
{
    /* Certificates are public, and a URL or a file's name that has one of those words in its own is no secret. */
    static const char *const tails[] = {".url", ".location", ".method", ".ca.pem",
                                        ".certificate.pem"};
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
        size_t tail = strlen(tails[i]);
        if (n >= tail && strcasecmp(name + n - tail, tails[i]) == 0) return false;
    }
    return options_is_secret(name);
}

const char *options_redacted(const char *name, const char *value)
{
    return options_is_secret(name) && value[0] != '\0' ? "(hidden)" : value;
}
