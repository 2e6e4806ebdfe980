/* One value into one field of our structs: what converts without loss converts, the rest is a fault that names the
 * field. Shared by the Avro decoder (for values whose type is not ours) and the JSON reader. */
#include "schemas/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- faults ---- */

bool schemas__fault_in(struct decode *d, const char *name)
{
    if (name && (size_t)d->n_path < sizeof d->path / sizeof *d->path) d->path[d->n_path++] = name;
    return false;
}

bool schemas__fault_err(const struct decode *d, const char *what, struct err *err)
{
    char path[160];
    size_t used = 0;
    path[0] = 0;
    for (int i = d->n_path - 1; i >= 0 && used < sizeof path - 1; i--) {
        int n = snprintf(path + used, sizeof path - used, "%s%s", used ? "." : "", d->path[i]);
        used += n > 0 ? (size_t)n : 0;
    }
    return err_set(err, ERR_DATA, "%s%s%s: %s", what, used ? " field " : "", path,
                   d->fault ? d->fault : "does not decode");
}

/* ---- times and numbers ---- */

bool schemas__number_from_text(struct str text, double *out)
{
    char copy[64];
    char *stop;
    if (text.len == 0 || text.len >= sizeof copy) return false;
    /* strtod also takes blanks, hexadecimal, "inf" and "nan": not a number of ours. */
    for (size_t i = 0; i < text.len; i++)
        if (!strchr("0123456789+-.eE", text.ptr[i]) || !text.ptr[i]) return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = 0;
    *out = strtod(copy, &stop);
    return *stop == 0 && isfinite(*out);
}

bool schemas__time_from_number(double v, int64_t *ms)
{
    double size = fabs(v);
    if (!(size < 1e20)) return false;
    /* 1e11 s is the year 5138, 1e11 ms is 1973: the scales do not meet for times that shops see. */
    double scale = size < 1e11 ? 1000 : size < 1e14 ? 1 : size < 1e17 ? 1e-3 : 1e-6;
    *ms = (int64_t)floor(v * scale + (scale > 1 ? 0.5 : 0));
    return true;
}

/* n digits at *at; -1 when there are fewer. */
static int digits(const char **at, const char *end, int n)
{
    int v = 0;
    if (end - *at < n) return -1;
    for (int i = 0; i < n; i++, (*at)++) {
        if (**at < '0' || **at > '9') return -1;
        v = v * 10 + (**at - '0');
    }
    return v;
}

/* One byte of `any`. */
static bool take(const char **at, const char *end, const char *any)
{
    if (*at == end || !**at || !strchr(any, **at)) return false;
    (*at)++;
    return true;
}

/* Days from 1970-01-01 of a date of the Gregorian calendar (Howard Hinnant, "chrono-compatible low-level date
 * algorithms"). */
static int64_t days_from_civil(int64_t y, int m, int d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

/* "+02:00", "-0730", "Z" or nothing: minutes east. */
static bool zone_minutes(const char **at, const char *end, int *minutes)
{
    *minutes = 0;
    if (*at == end || take(at, end, "Zz")) return true;
    bool west = **at == '-';
    if (!take(at, end, "+-")) return false;
    int hours = digits(at, end, 2);
    (void)take(at, end, ":");
    int rest = *at == end ? 0 : digits(at, end, 2);
    if (hours < 0 || hours > 18 || rest < 0 || rest > 59) return false;
    *minutes = (west ? -1 : 1) * (hours * 60 + rest);
    return true;
}

/* HH:MM[:SS[.fraction]]: milliseconds of the day. */
static bool clock_ms(const char **at, const char *end, int64_t *ms)
{
    int hour = digits(at, end, 2);
    if (hour < 0 || hour > 23 || !take(at, end, ":")) return false;
    int minute = digits(at, end, 2);
    if (minute < 0 || minute > 59) return false;
    int second = 0;
    double fraction = 0, unit = 100;
    if (take(at, end, ":")) {
        second = digits(at, end, 2);
        if (second < 0 || second > 60) return false;
        if (take(at, end, ".,"))
            for (; *at < end && **at >= '0' && **at <= '9'; (*at)++, unit /= 10)
                fraction += unit * (**at - '0');
    }
    *ms = ((int64_t)hour * 3600 + minute * 60 + second) * 1000 + (int64_t)(fraction + 1e-6);
    return true;
}

bool schemas__time_from_text(struct str text, int64_t *ms)
{
    double number;
    if (schemas__number_from_text(text, &number)) return schemas__time_from_number(number, ms);
    if (text.len > 40) return false;
    const char *at = text.ptr, *end = text.ptr + text.len;
    int year = digits(&at, end, 4);
    if (year < 0 || !take(&at, end, "-")) return false;
    int month = digits(&at, end, 2);
    if (month < 1 || month > 12 || !take(&at, end, "-")) return false;
    int day = digits(&at, end, 2);
    if (day < 1 || day > 31) return false;
    int64_t of_day = 0;
    int minutes = 0;
    if (at < end && !take(&at, end, "Tt ")) return false;
    if (at > text.ptr + 10 && !clock_ms(&at, end, &of_day)) return false;
    if (!zone_minutes(&at, end, &minutes) || at != end) return false;
    *ms = days_from_civil(year, month, day) * 86400000 + of_day - (int64_t)minutes * 60000;
    return true;
}

/* ---- storing ---- */

#define PUT(base, offset, value) memcpy((base) + (offset), &(value), sizeof(value))

/* A number, also out of a text (CSV habits: "12.50"). */
static bool number_of(const struct scalar *value, double *out)
{
    if (value->type == SCALAR_REAL) *out = value->d;
    if (value->type == SCALAR_INT) *out = (double)value->i;
    return value->type == SCALAR_REAL || value->type == SCALAR_INT ||
           (value->type == SCALAR_TEXT && schemas__number_from_text(value->s, out));
}

/* Whole numbers only; a double holds them exactly up to 2^53. */
static bool integer_of(const struct scalar *value, int64_t *out)
{
    double number;
    *out = value->i;
    if (value->type == SCALAR_INT) return true;
    if (!number_of(value, &number) || number != floor(number) || fabs(number) >= 9e15) return false;
    *out = (int64_t)number;
    return true;
}

/* Numbers become texts: many shops have integer ids. */
static bool store_text(struct decode *d, const struct target_field *field,
                       const struct scalar *value, char *base)
{
    struct str text = value->s;
    if (value->type != SCALAR_TEXT) {
        char number[40];
        int n = 0;
        if (value->type == SCALAR_INT)
            n = snprintf(number, sizeof number, "%lld", (long long)value->i);
        if (value->type == SCALAR_REAL) n = snprintf(number, sizeof number, "%.15g", value->d);
        if (value->type == SCALAR_BOOL)
            n = snprintf(number, sizeof number, "%s", value->i ? "true" : "false");
        text = arena_str(d->arena, (struct str){number, (size_t)n});
    }
    if (text.len > SCHEMAS_STRING_MAX)
        return schemas__fault(d, "a string over the limit of 4096 bytes");
    PUT(base, field->offset, text);
    return true;
}

/* An empty text is no time, as null is. */
static bool store_time(struct decode *d, const struct target_field *field,
                       const struct scalar *value, char *base)
{
    int64_t ms = 0;
    bool ok = false;
    if (value->type == SCALAR_TEXT && value->s.len == 0) return true;
    if (value->type == SCALAR_INT) ok = schemas__time_from_number((double)value->i, &ms);
    if (value->type == SCALAR_REAL) ok = schemas__time_from_number(value->d, &ms);
    if (value->type == SCALAR_TEXT) ok = schemas__time_from_text(value->s, &ms);
    if (!ok)
        return schemas__fault(
            d, "not a time: expected seconds or milliseconds since 1970, or ISO 8601");
    PUT(base, field->offset, ms);
    return true;
}

/* Out of 32 bits is a fault, not a wrap. */
static bool store_integer(struct decode *d, const struct target_field *field,
                          const struct scalar *value, char *base)
{
    int64_t wide;
    if (!integer_of(value, &wide)) return schemas__fault(d, "not a whole number");
    if (field->store == STORE_I64) {
        PUT(base, field->offset, wide);
        return true;
    }
    if (wide < INT32_MIN || wide > INT32_MAX) return schemas__fault(d, "a number over 32 bits");
    int32_t narrow = (int32_t)wide;
    PUT(base, field->offset, narrow);
    return true;
}

/* Raises the field's flag, where it has one. */
static bool store_number(struct decode *d, const struct target_field *field,
                         const struct scalar *value, char *base)
{
    double number = 0;
    bool there = true;
    if (!number_of(value, &number)) return schemas__fault(d, "not a number");
    if (field->store == STORE_FLOAT) {
        float single = (float)number;
        PUT(base, field->offset, single);
        return true;
    }
    PUT(base, field->offset, number);
    if (field->extra != TARGET_NO_EXTRA) PUT(base, field->extra, there);
    return true;
}

static bool store_bool(struct decode *d, const struct target_field *field,
                       const struct scalar *value, char *base)
{
    bool truth = value->i != 0;
    bool ok = value->type == SCALAR_BOOL || value->type == SCALAR_INT;
    if (value->type == SCALAR_TEXT) {
        truth = str_equal(value->s, STR("true")) || str_equal(value->s, STR("1"));
        ok = truth || str_equal(value->s, STR("false")) || str_equal(value->s, STR("0"));
    }
    if (!ok) return schemas__fault(d, "not true or false");
    PUT(base, field->offset, truth);
    return true;
}

/* Names that we do not know: `other`, or a reason that the list leaves out. */
static bool store_name(struct decode *d, const struct target_field *field,
                       const struct scalar *value, char *base)
{
    if (value->type != SCALAR_TEXT) return schemas__fault(d, "not a name");
    if (field->store == STORE_EVENT_TYPE) {
        enum event_type type = EVENT_OTHER;
        (void)schemas_event_type_parse(value->s, &type);
        PUT(base, field->offset, type);
        return true;
    }
    if (field->store == STORE_RELATED_KIND) {
        enum related_kind related = RELATED_OTHER;
        (void)schemas_related_parse(value->s, &related);
        PUT(base, field->offset, related);
        return true;
    }
    enum reason_kind kind = 0;
    while (kind < REASON_KIND_COUNT && !str_equal(value->s, str_of(schemas_reason_name(kind))))
        kind++;
    PUT(base, field->offset, kind);
    return true;
}

bool schemas__store(struct decode *d, const struct target_field *field, const struct scalar *value,
                    char *base)
{
    if (value->type == SCALAR_NULL) return true;
    switch (field->store) {
    case STORE_TEXT:
        return store_text(d, field, value, base);
    case STORE_TIME:
        return store_time(d, field, value, base);
    case STORE_I64:
    case STORE_I32:
        return store_integer(d, field, value, base);
    case STORE_DOUBLE:
    case STORE_FLOAT:
        return store_number(d, field, value, base);
    case STORE_BOOL:
        return store_bool(d, field, value, base);
    case STORE_EVENT_TYPE:
    case STORE_REASON_KIND:
    case STORE_RELATED_KIND:
        return store_name(d, field, value, base);
    default:
        return schemas__fault(d, "not a record, list or map");
    }
}

/* ---- arrays in the arena ---- */

void schemas__grow(struct decode *d, struct grown *grown, size_t more, size_t size)
{
    if (more <= grown->cap - grown->n) return;
    size_t cap = 2 * grown->cap > grown->n + more ? 2 * grown->cap : grown->n + more;
    char *data = arena_alloc(d->arena, cap * size);
    if (grown->n) memcpy(data, grown->data, grown->n * size);
    grown->data = data;
    grown->cap = cap;
}

void schemas__store_array(const struct target_field *field, const struct grown *grown, char *base)
{
    void *data = grown->data;
    PUT(base, field->offset, data);
    PUT(base, field->extra, grown->n);
}
