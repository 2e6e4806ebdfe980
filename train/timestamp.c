/* Times and numbers of log files, told by their look. */
#include "train/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A number at or above this is no longer seconds (as seconds, the year 5138), resp. no longer milliseconds. */
static const int64_t SECONDS_BELOW = 100000000000;
static const int64_t MILLISECONDS_BELOW = 100000000000000;

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* n digits at text->ptr, taken off its front. */
static bool take_digits(struct str *text, size_t n, int *value)
{
    if (text->len < n) return false;
    *value = 0;
    for (size_t i = 0; i < n; i++) {
        if (!is_digit(text->ptr[i])) return false;
        *value = *value * 10 + (text->ptr[i] - '0');
    }
    text->ptr += n;
    text->len -= n;
    return true;
}

static bool take_char(struct str *text, const char *any_of)
{
    if (text->len == 0 || text->ptr[0] == '\0' || !strchr(any_of, text->ptr[0])) return false;
    text->ptr++;
    text->len--;
    return true;
}

/* The first three digits of a fraction as milliseconds; all its digits are taken. false: no digit. */
static bool take_fraction(struct str *text, int *ms)
{
    size_t n = 0;
    int scale = 100;
    *ms = 0;
    while (n < text->len && is_digit(text->ptr[n])) {
        *ms += (text->ptr[n] - '0') * scale;
        scale /= 10;
        n++;
    }
    text->ptr += n;
    text->len -= n;
    return n > 0;
}

/* Days from 1970-01-01 to a date of the proleptic Gregorian calendar (Howard Hinnant, "days_from_civil"): years begin
 * in March, so that the leap day is a year's last. */
static int64_t days_from_civil(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = y / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static int days_in_month(int year, int month)
{
    static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap ? 1 : 0);
}

static bool parse_date(struct str text, int64_t *time_ms)
{
    int year, month, day, hour = 0, minute = 0, second = 0, ms = 0;
    if (!take_digits(&text, 4, &year) || !take_char(&text, "-") || !take_digits(&text, 2, &month) ||
        !take_char(&text, "-") || !take_digits(&text, 2, &day))
        return false;
    if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month)) return false;
    if (take_char(&text, " T")) {
        if (!take_digits(&text, 2, &hour) || !take_char(&text, ":") ||
            !take_digits(&text, 2, &minute))
            return false;
        if (take_char(&text, ":") && !take_digits(&text, 2, &second)) return false;
        if (take_char(&text, ".") && !take_fraction(&text, &ms)) return false;
        (void)take_char(&text, "Z");
    }
    if (text.len > 0 || hour > 23 || minute > 59 || second > 60) return false;
    int64_t seconds =
        days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    *time_ms = seconds * 1000 + ms;
    return true;
}

bool train__time_parse(struct str text, int64_t *time_ms)
{
    struct str rest = text;
    int64_t whole = 0;
    while (rest.len > 0 && is_digit(rest.ptr[0])) {
        if (whole > INT64_MAX / 10 - 1) return false;
        whole = whole * 10 + (rest.ptr[0] - '0');
        rest.ptr++;
        rest.len--;
    }
    if (rest.len == text.len) return false;
    if (rest.len > 0 && rest.ptr[0] == '-') return parse_date(text, time_ms);
    int ms = 0;
    if (take_char(&rest, ".") && rest.len > 0 && !take_fraction(&rest, &ms)) return false;
    if (rest.len > 0) return false;
    if (whole < SECONDS_BELOW) {
        *time_ms = whole * 1000 + ms;
    } else if (whole < MILLISECONDS_BELOW) {
        *time_ms = whole;
    } else {
        *time_ms = whole / 1000;
    }
    return true;
}

bool train__number_parse(struct str text, double *value)
{
    char copy[64];
    if (text.len == 0 || text.len >= sizeof copy) return false;
    /* strtod would also take spaces, hexadecimal and "inf". */
    for (size_t i = 0; i < text.len; i++) {
        if (!is_digit(text.ptr[i]) && (text.ptr[i] == '\0' || !strchr("+-.eE", text.ptr[i])))
            return false;
    }
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    char *end;
    *value = strtod(copy, &end);
    return end == copy + text.len && isfinite(*value);
}
