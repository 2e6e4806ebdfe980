#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/err.h"

/* One line an event of interest, on stderr: level, area, text, then key=value pairs.
 * Areas are folder names; debug lines of an area appear when it is named in --debug=ingest,state.
 * Format logfmt (default) or JSON. Nothing per event above debug. Thread: any; a line is one write(2). */

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_LOGFMT, LOG_JSON };

/* areas: comma-separated, "" none, "all" every area. Called once before threads start. */
void log_init(enum log_format format, enum log_level lowest, const char *areas);

/* `fields` is a printf format that makes "key=value key2=\"value 2\"", or NULL. */
void log_line(enum log_level level, const char *area, const char *text, const char *fields, ...)
    __attribute__((format(printf, 4, 5)));
/* An error, once, by who handles it: text, class, place. */
void log_err(enum log_level level, const char *area, const struct err *err);
bool log_is_debug(const char *area);

#define log_debug(area, ...)                                                                       \
    do {                                                                                           \
        if (log_is_debug(area)) log_line(LOG_DEBUG, area, __VA_ARGS__);                            \
    } while (0)
#define log_info(area, ...)  log_line(LOG_INFO, area, __VA_ARGS__)
#define log_warn(area, ...)  log_line(LOG_WARN, area, __VA_ARGS__)
#define log_error(area, ...) log_line(LOG_ERROR, area, __VA_ARGS__)

#endif
