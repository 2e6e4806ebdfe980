/* freshet: the program. Finds the verb, reads the command line, runs it, prints an error once.
 *
 * A new verb is a file app/verb_<name>.c and two lines here. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "app/app.h"
#include "app/cli.h"
#include "app/sandbox.h"
#include "base/log.h"
#include "train/train.h"

extern const struct verb verb_backup;
extern const struct verb verb_demo;
extern const struct verb verb_dlq;
extern const struct verb verb_eval;
extern const struct verb verb_forget;
extern const struct verb verb_import;
extern const struct verb verb_query;
extern const struct verb verb_reset;
extern const struct verb verb_restore;
extern const struct verb verb_run;
extern const struct verb verb_serve;
extern const struct verb verb_simulate;
extern const struct verb verb_topics;
extern const struct verb verb_trace;
extern const struct verb verb_train;
extern const struct verb verb_validate;
extern char **environ;

static const struct verb *const verbs_start[] = {&verb_demo, &verb_run, &verb_serve, NULL};
static const struct verb *const verbs_models[] = {&verb_train, &verb_eval, NULL};
static const struct verb *const verbs_input[] = {&verb_import, &verb_simulate, NULL};
static const struct verb *const verbs_look[] = {&verb_query, &verb_trace, NULL};
static const struct verb *const verbs_operate[] = {&verb_topics, &verb_validate, NULL};
static const struct verb *const verbs_repair[] = {&verb_dlq,     &verb_reset,  &verb_backup,
                                                  &verb_restore, &verb_forget, NULL};

static const struct cli_group groups[] = {
    {"Start here", verbs_start},          {"Learn", verbs_models},
    {"Put events in", verbs_input},       {"Look inside", verbs_look},
    {"Prepare and check", verbs_operate}, {"Repair", verbs_repair},
};
enum { GROUP_COUNT = sizeof(groups) / sizeof(groups[0]) };

/* Prints the error and returns the exit code that a supervisor sees. */
static int report(const struct err *err)
{
    fprintf(stderr, "freshet: %s\n", err->text);
    if (err->class != ERR_FATAL || err->exit_code == ERR_EXIT_OK) return ERR_EXIT_INTERNAL;
    return (int)err->exit_code;
}

/* What the process gives up, before it reads anything from outside and before it has threads. */
static bool confine(const struct options *config, struct err *err)
{
    if (options_bool(config, "process.dumpable")) sandbox_dumpable();
    return !options_bool(config, "process.sandbox") || sandbox_enter(err);
}

static int run_verb(const struct verb *verb, int n, char *const *words)
{
    struct err err = ERR_INIT;
    struct app app;
    enum cli_request request;
    int code = ERR_EXIT_OK;
    if (!cli_parse(verb, n, words, environ, &app, &request, &err)) {
        code = report(&err);
    } else if (request == CLI_HELP) {
        cli_print_verb(verb);
    } else if (!confine(app.config, &err) || !verb->run(&app, &err)) {
        code = report(&err);
    }
    cli_app_free(&app);
    return code;
}

/* `freshet help`, `freshet help config`, `freshet help VERB`. */
static int run_help(const char *topic)
{
    const struct verb *verb = NULL;
    if (topic && strcmp(topic, "config") == 0) {
        cli_print_config();
        return ERR_EXIT_OK;
    }
    if (topic) verb = cli_find(groups, GROUP_COUNT, topic);
    if (topic && !verb) {
        struct err err = ERR_INIT;
        (void)cli_unknown(groups, GROUP_COUNT, topic, &err);
        return report(&err);
    }
    if (verb) {
        cli_print_verb(verb);
    } else {
        cli_print_overview(groups, GROUP_COUNT);
    }
    return ERR_EXIT_OK;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    /* A reader that goes away is an error of write, not a silent end of the process. */
    signal(SIGPIPE, SIG_IGN);
    sandbox_keep_secrets();
    train_threads_end();
    log_init(LOG_LOGFMT, LOG_INFO, "");
    if (name[0] == '\0') {
        cli_print_overview(groups, GROUP_COUNT);
        return ERR_EXIT_USAGE;
    }
    if (strcmp(name, "--version") == 0 || strcmp(name, "version") == 0) {
        printf("freshet %s\n", FRESHET_VERSION);
        return ERR_EXIT_OK;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        return run_help(argc > 2 ? argv[2] : NULL);
    }
    const struct verb *verb = cli_find(groups, GROUP_COUNT, name);
    if (!verb) {
        struct err err = ERR_INIT;
        (void)cli_unknown(groups, GROUP_COUNT, name, &err);
        return report(&err);
    }
    return run_verb(verb, argc - 2, argv + 2);
}
