/* The conditions of rules: how they are read, and whether they hold for an event; and what reading a rules file needs for that. */
#include "app/rules_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MINUTES = 24 * 60, MESSAGE_MAX = 320 };

/* ---- errors, with lines ---- */

void rules__find(struct reading *reading, int n)
{
    int depth = 0, met = 0;
    bool is_text = false;
    for (size_t i = 0; i < reading->text.len; i++) {
        char c = reading->text.ptr[i];
        if (is_text) {
            if (c == '\\') i++;
            if (c == '"') is_text = false;
            continue;
        }
        if (c == '"') is_text = true;
        if (c == '{' && depth == 2 && ++met == n) reading->begin = i;
        if (c == '{' || c == '[') depth++;
        if (c != '}' && c != ']') continue;
        if (--depth == 2 && met == n) {
            reading->end = i;
            return;
        }
    }
}

/* The line of "key" inside the current rule; the rule's first line when it is not there. */
static int line_of(const struct reading *reading, const char *key)
{
    size_t len = strlen(key), at = reading->begin;
    for (size_t i = reading->begin; key[0] && i + len + 1 < reading->end; i++) {
        const char *p = reading->text.ptr + i;
        if (p[0] != '"' || memcmp(p + 1, key, len) != 0 || p[len + 1] != '"') continue;
        at = i;
        break;
    }
    int line = 1;
    for (size_t i = 0; i < at; i++)
        line += reading->text.ptr[i] == '\n';
    return line;
}

bool rules__refuse(struct reading *reading, const char *key, const char *format, ...)
{
    char message[MESSAGE_MAX], name[80] = "";
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (reading->name[0]) (void)snprintf(name, sizeof name, " (\"%.60s\")", reading->name);
    return err_fatal(reading->err, ERR_EXIT_USAGE, "%.200s:%d: rule %d%s: %s", reading->path,
                     line_of(reading, key), reading->number, name, message);
}

/* ---- texts ---- */

struct str rules__text_keep(struct rules *rules, const json_t *json)
{
    return arena_str(rules->arena, (struct str){json_string_value(json), json_string_length(json)});
}

bool rules__texts_read(struct reading *reading, const char *key, const json_t *json,
                       struct texts *texts)
{
    bool is_array = json_is_array(json);
    size_t n = is_array ? json_array_size(json) : 1;
    struct str *text = arena_alloc(reading->rules->arena, n * sizeof *text + 1);
    for (size_t i = 0; i < n; i++) {
        const json_t *one = is_array ? json_array_get(json, i) : json;
        if (!json_is_string(one))
            return rules__refuse(reading, key, "\"%s\" must be a text or an array of texts", key);
        text[i] = rules__text_keep(reading->rules, one);
    }
    if (n == 0)
        return rules__refuse(reading, key, "\"%s\" is empty: name something or leave it out", key);
    *texts = (struct texts){text, (int)n};
    return true;
}

static bool is_in(const struct texts *texts, struct str text)
{
    for (int i = 0; i < texts->n; i++)
        if (str_equal(texts->text[i], text)) return true;
    return texts->n == 0;
}

/* ---- conditions ---- */

/* "22:00-06:00" */
static bool read_hours(struct reading *reading, const json_t *json, struct when *when)
{
    int from_hour, from, until_hour, until, used = 0;
    const char *text = json_is_string(json) ? json_string_value(json) : "";
    bool ok =
        sscanf(text, "%2d:%2d-%2d:%2d%n", &from_hour, &from, &until_hour, &until, &used) == 4 &&
        text[used] == '\0' && from_hour >= 0 && from_hour < 24 && from >= 0 && from < 60 &&
        until_hour >= 0 && until_hour <= 24 && until >= 0 && until < 60 &&
        until_hour * 60 + until <= MINUTES;
    if (!ok) return rules__refuse(reading, "hours", "\"hours\" must look like \"22:00-06:00\"");
    when->from_minute = from_hour * 60 + from;
    when->until_minute = until_hour * 60 + until;
    if (when->from_minute == when->until_minute)
        return rules__refuse(reading, "hours",
                             "\"hours\" is an empty time: leave it out for all day");
    return true;
}

/* "+02:00" */
static bool read_offset(struct reading *reading, const json_t *json, struct when *when)
{
    int hours, minutes, used = 0;
    char sign;
    const char *text = json_is_string(json) ? json_string_value(json) : "";
    if (sscanf(text, "%c%2d:%2d%n", &sign, &hours, &minutes, &used) != 3 || text[used] != '\0' ||
        (sign != '+' && sign != '-') || hours < 0 || hours > 14 || minutes < 0 || minutes > 59)
        return rules__refuse(reading, "utc_offset", "\"utc_offset\" must look like \"+02:00\"");
    when->offset_minutes = (sign == '-' ? -1 : 1) * (hours * 60 + minutes);
    return true;
}

static bool read_days(struct reading *reading, const json_t *json, struct when *when)
{
    static const char *const names[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
    struct texts days;
    if (!rules__texts_read(reading, "days", json, &days)) return false;
    for (int i = 0; i < days.n; i++) {
        int d = 0;
        while (d < 7 && !str_equal(days.text[i], str_of(names[d])))
            d++;
        if (d == 7)
            return rules__refuse(reading, "days",
                                 "\"days\": \"%.20s\" is none of mon, tue, ..., sun",
                                 days.text[i].ptr);
        when->days |= 1u << d;
    }
    return true;
}

static bool read_context(struct reading *reading, const json_t *json, struct when *when)
{
    const char *key;
    json_t *value;
    if (!json_is_object(json))
        return rules__refuse(reading, "context",
                             "\"context\" must be an object, like {\"region\": [\"NO\", \"SE\"]}");
    struct context_test *tests =
        arena_alloc(reading->rules->arena, json_object_size(json) * sizeof *tests + 1);
    json_object_foreach((json_t *)(uintptr_t)json, key, value)
    {
        struct context_test *test = &tests[when->n_context++];
        test->key = arena_str(reading->rules->arena, str_of(key));
        if (!rules__texts_read(reading, key, value, &test->values)) return false;
    }
    when->context = tests;
    return true;
}

bool rules__when_read(struct reading *reading, const json_t *json, struct when *when)
{
    const char *key;
    json_t *value;
    if (!json_is_object(json)) return rules__refuse(reading, "when", "\"when\" must be an object");
    json_object_foreach((json_t *)(uintptr_t)json, key, value)
    {
        bool ok;
        if (strcmp(key, "tenant") == 0)
            ok = rules__texts_read(reading, key, value, &when->tenants);
        else if (strcmp(key, "scenario") == 0)
            ok = rules__texts_read(reading, key, value, &when->scenarios);
        else if (strcmp(key, "context") == 0)
            ok = read_context(reading, value, when);
        else if (strcmp(key, "hours") == 0)
            ok = read_hours(reading, value, when);
        else if (strcmp(key, "days") == 0)
            ok = read_days(reading, value, when);
        else if (strcmp(key, "utc_offset") == 0)
            ok = read_offset(reading, value, when);
        else
            ok = rules__refuse(
                reading, key,
                "\"when\" has no \"%.40s\": tenant, scenario, context, hours, days or "
                "utc_offset",
                key);
        if (!ok) return false;
    }
    return true;
}

/* ---- whether they hold ---- */

/* The shop's minute of the day and weekday (0 Monday; 1 January 1970 was a Thursday). */
static bool is_time(const struct when *when, int64_t time_ms)
{
    int64_t minutes = time_ms / 60000 - (time_ms % 60000 < 0) + when->offset_minutes;
    int64_t day = minutes / MINUTES - (minutes % MINUTES < 0);
    int minute = (int)(minutes - day * MINUTES), weekday = (int)(((day + 3) % 7 + 7) % 7);
    if (when->days && (when->days >> weekday & 1) == 0) return false;
    if (when->from_minute == when->until_minute) return true;
    if (when->from_minute < when->until_minute)
        return minute >= when->from_minute && minute < when->until_minute;
    return minute >= when->from_minute || minute < when->until_minute;
}

static bool is_context(const struct when *when, const struct event *event)
{
    for (int t = 0; t < when->n_context; t++) {
        const struct context_test *test = &when->context[t];
        bool is_met = false;
        for (size_t c = 0; c < event->n_context; c++)
            is_met = is_met || (str_equal(event->context[c].key, test->key) &&
                                is_in(&test->values, event->context[c].value));
        if (!is_met) return false;
    }
    return true;
}

bool rules__when_holds(const struct when *when, const struct event *event, struct str scenario)
{
    return is_in(&when->tenants, event->tenant) && is_in(&when->scenarios, scenario) &&
           is_context(when, event) && is_time(when, event->time_ms);
}
