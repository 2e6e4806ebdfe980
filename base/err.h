#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdbool.h>

/* Errors by class: the class is what the caller acts on, the text is for a person.
 *
 * A function that touches the outside returns bool and takes `struct err *err` last. The struct is on the caller's
 * stack and never NULL. On false it is filled; on true it is untouched. Who creates an error does not log it; who
 * handles it logs it once. */

enum err_class {
    ERR_NONE,  /* nothing failed */
    ERR_DATA,  /* this record is bad: count it and dead-letter it */
    ERR_RETRY, /* the same call again, with a limit */
    ERR_ABORT, /* abort what is in flight, rewind, replay */
    ERR_FATAL, /* stop the process; exit code is err.exit_code */
};

/* Exit codes that a supervisor can tell apart (docs/OPERATIONS.md, "Exit codes"). */
enum err_exit {
    ERR_EXIT_OK = 0,
    ERR_EXIT_INTERNAL = 1, /* a bug of ours, or a failure nobody classified */
    ERR_EXIT_USAGE = 2,    /* wrong command line or configuration: restarting does not help */
    ERR_EXIT_STORE =
        3, /* the state store refuses: other cluster, other format, corrupt, or locked */
    ERR_EXIT_UNREACHABLE = 4, /* broker or registry cannot be reached: restarting later may help */
    ERR_EXIT_TOPIC = 5,  /* a topic is missing or has another partition count, or an offset gap */
    ERR_EXIT_MODEL = 6,  /* the model folder is missing, damaged or of another kind */
    ERR_EXIT_DISK = 7,   /* the disk is full or failed */
    ERR_EXIT_FENCED = 8, /* another process owns this instance id: do not restart quickly */
    ERR_EXIT_DATA = 9,   /* poison policy `stop`, or too large a share of poison */
};

#define ERR_TEXT_MAX 480

/* Who returns true leaves `class` as it was: what was met on the way and passed is taken back. */
struct err {
    enum err_class class;
    enum err_exit exit_code; /* meaningful for ERR_FATAL */
    const char *file;        /* where it was made; static string */
    int line;
    char text[ERR_TEXT_MAX]; /* what happened, where, and what to do; one line, no trailing stop */
};

#define ERR_INIT                                                                                   \
    {                                                                                              \
        .class = ERR_NONE                                                                          \
    }

/* Sets class and text and returns false, so that a function may end with `return err_set(...)`.
 * Text over ERR_TEXT_MAX - 1 bytes is cut. Thread: any. */
#define err_set(err, class, ...)                                                                   \
    err_set_at((err), (class), ERR_EXIT_INTERNAL, __FILE__, __LINE__, __VA_ARGS__)
/* The same for ERR_FATAL with its exit code. */
#define err_fatal(err, code, ...)                                                                  \
    err_set_at((err), ERR_FATAL, (code), __FILE__, __LINE__, __VA_ARGS__)

bool err_set_at(struct err *err, enum err_class class, enum err_exit code, const char *file,
                int line, const char *format, ...) __attribute__((format(printf, 6, 7)));

/* Puts "prefix: " before the text that is there; keeps class and place. Returns false. */
bool err_wrap(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What it met may be well again when it is asked once more: busy, or away. */
bool err_passes(const struct err *err);

/* "data", "retry", ... ; static string. */
const char *err_class_name(enum err_class class);

#define MUST_USE __attribute__((warn_unused_result))

#endif
