#ifndef APP_CLI_H
#define APP_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "app/app.h"

/* The command line: which verb, its flags, the configuration's sources, and the help texts.
 *
 *   freshet VERB [--config FILE]... [--set key=value]... [--flag value | --flag=value | --flag]...
 *   [argument]...
 *
 * A flag alone, or with true or false behind it, is a bool.
 *
 * The configuration is read in this order, the later wins: defaults, the files of --config, the
 * environment (FRESHET_APPLICATION_ID), --set. `--` ends the flags. Thread: main's. */

struct cli_group {
    const char *purpose;             /* heading in `freshet --help` */
    const struct verb *const *verbs; /* (until NULL) */
};

/* The verb of that name, or NULL. */
const struct verb *cli_find(const struct cli_group *groups, size_t n_groups, const char *name);
/* ERR_FATAL exit 2 "unknown verb ...", with the nearest verb. Returns false. */
bool cli_unknown(const struct cli_group *groups, size_t n_groups, const char *name,
                 struct err *err);

enum cli_request {
    CLI_RUN,  /* the app is ready for verb->run */
    CLI_HELP, /* --help or -h was given */
};

/* Reads the n words behind the verb into a new app (cli_app_free frees it, also after false).
 * environ_: "NAME=value" until NULL. *request says what is asked for. Errors: ERR_FATAL exit 2. */
MUST_USE bool cli_parse(const struct verb *verb, int n, char *const *words, char *const *environ_,
                        struct app *app, enum cli_request *request, struct err *err);
void cli_app_free(struct app *app);

/* Help texts, to stdout. */
void cli_print_overview(const struct cli_group *groups, size_t n_groups);
void cli_print_verb(const struct verb *verb);
void cli_print_config(void);

#endif
