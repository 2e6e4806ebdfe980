#ifndef APP_APP_H
#define APP_APP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/options.h"

/* app/: main, verbs, pipeline, shard threads: the only place that knows everyone.
 *
 * A verb is one file app/verb_<name>.c with one `const struct verb verb_<name>`, listed in app/main.c. main parses the
 * command line:  freshet VERB [--config FILE] [--set key=value]... [--flag value | --flag=value]... [argument]...
 * and calls run. An error that run returns is printed once by main, and its exit code is the process's. */

struct app {
    struct options *config; /* the configuration: app/config.c */
    struct options *flags;  /* the verb's own */
    int n_args;             /* arguments that are no flags */
    const char *const *args;
};

struct verb {
    const char *name;
    const char *summary; /* one line for `freshet --help` */
    const char *usage;   /* "freshet train --input FILE --format lines --out FOLDER" */
    const char *help;    /* a paragraph with examples, for `freshet VERB --help` */
    const struct option_spec *flags;
    size_t n_flags;
    bool uses_config; /* takes --config and --set; its --help lists the configuration's groups */
    bool takes_args;  /* words that are no flags; else they are refused */
    bool (*run)(struct app *app, struct err *err);
};

/* The configuration's table (app/config.c). */
extern const struct option_spec app_config_specs[];
extern const size_t app_config_count;

#endif
