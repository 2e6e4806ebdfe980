/* Filling and naming errors. An error is a plain value on the caller's stack: nothing is allocated, so an error can be made
 * when memory is short, and nothing has to be freed. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool err_set_at(struct err *err, enum err_class class, enum err_exit code, const char *file,
                int line, const char *format, ...)
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
    /* The prefix is written aside: its arguments may point into err->text. */
    char prefix[ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(prefix, sizeof prefix - 2, format, args);
    va_end(args);

    /* The old text moves behind the prefix; what no longer fits is cut at its end. */
    size_t used = strlen(prefix);
    memcpy(prefix + used, ": ", 2);
    used += 2;
    size_t old = strlen(err->text);
    if (old > sizeof err->text - 1 - used) old = sizeof err->text - 1 - used;
    memmove(err->text + used, err->text, old);
    memcpy(err->text, prefix, used);
    err->text[used + old] = '\0';
    return false;
}

bool err_passes(const struct err *err)
{
    return err->class == ERR_RETRY || err->exit_code == ERR_EXIT_UNREACHABLE;
}

const char *err_class_name(enum err_class class)
{
    static const char *const names[] = {"none", "data", "retry", "abort", "fatal"};
    return names[class];
}
