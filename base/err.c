/* Filling and naming errors. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool err_set_at(struct err *err, enum err_class class, enum err_exit code, const char *file, int line,
                const char *format, ...)
{
    va_list args;
    err->class = class;
    err->exit_code = code;
    err->file = file;
    err->line = line;
    va_start(args, format);
    (void)vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    return false;
}

bool err_wrap(struct err *err, const char *format, ...)
{
    char old[ERR_TEXT_MAX];
    va_list args;
    memcpy(old, err->text, sizeof old);
    va_start(args, format);
    int used = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    if (used >= 0 && (size_t)used < sizeof err->text)
        (void)snprintf(err->text + used, sizeof err->text - (size_t)used, ": %s", old);
    return false;
}

const char *err_class_name(enum err_class class)
{
    static const char *const names[] = {"none", "data", "retry", "abort", "fatal"};
    return names[class];
}
