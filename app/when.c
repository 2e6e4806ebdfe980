/* Moments in text. */
#include "app/when.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const int64_t DAY_MS = 86400000;

/* Days since 1970 of a date of the Gregorian calendar; March is the first month, so that the leap day is the last. */
static int64_t days_of(int year, int month, int day)
{
    int64_t y = year - (month <= 2);
    int64_t era = y / 400, year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           719468;
}

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* n digits; false when there are others. */
static bool digits(const char **text, int n, int *value)
{
    *value = 0;
    for (int i = 0; i < n; i++, (*text)++) {
        if (**text < '0' || **text > '9') return false;
        *value = *value * 10 + (**text - '0');
    }
    return true;
}

static bool date_parse(const char **text, int64_t *ms)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year, month, day;
    if (!digits(text, 4, &year) || *(*text)++ != '-' || !digits(text, 2, &month) ||
        *(*text)++ != '-' || !digits(text, 2, &day))
        return false;
    if (year < 1970 || month < 1 || month > 12 || day < 1) return false;
    if (day > lengths[month - 1] + (month == 2 && is_leap(year))) return false;
    *ms = days_of(year, month, day) * DAY_MS;
    return true;
}

/* :SS and .mmm may be left out. */
static bool clock_parse(const char **text, int64_t *ms)
{
    int hour, minute, second = 0, milli = 0;
    if (!digits(text, 2, &hour) || *(*text)++ != ':' || !digits(text, 2, &minute)) return false;
    if (**text == ':' && ((*text)++, !digits(text, 2, &second))) return false;
    if (**text == '.' && ((*text)++, !digits(text, 3, &milli))) return false;
    if (hour > 23 || minute > 59 || second > 59) return false;
    *ms += ((hour * 60 + minute) * 60 + second) * INT64_C(1000) + milli;
    return true;
}

static bool moment_parse(const char *text, int64_t *ms)
{
    if (!date_parse(&text, ms)) return false;
    if (*text == 'T' || *text == ' ') {
        text++;
        if (!clock_parse(&text, ms)) return false;
    }
    if (*text == 'Z') text++;
    return *text == '\0';
}

/* "15m" before now, or a plain number. */
static bool number_parse(const char *text, int64_t now_ms, int64_t *ms)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || errno || number < 0) return false;
    if (*end == '\0') {
        *ms = number;
        return true;
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(end, units[i].unit) != 0 || number > now_ms / units[i].ms) continue;
        *ms = now_ms - number * units[i].ms;
        return true;
    }
    return false;
}

bool when_parse(const char *what, const char *text, int64_t now_ms, int64_t *ms, struct err *err)
{
    if (moment_parse(text, ms) || number_parse(text, now_ms, ms)) return true;
    return err_fatal(
        err, ERR_EXIT_USAGE,
        "%s takes a time (UTC) such as 2026-11-22, 2026-11-22T08:30:15Z, 2h (two hours "
        "ago) or milliseconds since 1970, not '%.60s'",
        what, text);
}

const char *when_print(int64_t ms, char out[WHEN_TEXT_MAX])
{
    int64_t second_ms = ms - ms % 1000 - (ms % 1000 < 0 ? 1000 : 0);
    time_t seconds = (time_t)(second_ms / 1000);
    struct tm tm;
    char text[WHEN_TEXT_MAX - 8];
    if (ms < 0 || !gmtime_r(&seconds, &tm) ||
        !strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm))
        (void)snprintf(out, WHEN_TEXT_MAX, "%" PRId64, ms);
    else
        (void)snprintf(out, WHEN_TEXT_MAX, "%s.%03dZ", text, (int)(ms - second_ms));
    return out;
}
