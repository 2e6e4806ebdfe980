/* The command line and the environment: any words, an empty one, any variables, each ended by a NUL. They make a configuration and what
 * the pipeline takes from it, or an error with exit 2. Words that name files are passed over: a fuzzer has no business in them. */
#include <stdlib.h>
#include <string.h>

#include "app/cli.h"
#include "app/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WORDS_MAX = 32, TEXT_MAX = 4096 };

static bool run(struct app *app, struct err *err)
{
    (void)app;
    (void)err;
    return true;
}

static const struct option_spec flags[] = {
    {"json", OPTION_BOOL, "false", 0, 0, "", NULL, "", ""},
    {"last", OPTION_INT, "10", 1, 1000, "", NULL, "", ""},
    {"since", OPTION_TEXT, "", 0, 0, "", NULL, "", ""},
    {"format", OPTION_ENUM, "x", 0, 0, "", "x|y", "", ""},
};

static const struct verb verb = {.name = "fuzz",
                                 .usage = "freshet fuzz",
                                 .flags = flags,
                                 .n_flags = sizeof flags / sizeof flags[0],
                                 .uses_config = true,
                                 .takes_args = true,
                                 .run = run};

static bool is_file(const char *word)
{
    return strstr(word, "${file:") || strstr(word, "--conf");
}

/* Up to the empty one, or the end. Returns what is left. */
static char *words_take(char *at, const char *end, char **words, int *n)
{
    *n = 0;
    while (at < end && *at) {
        if (*n < WORDS_MAX && !is_file(at)) words[(*n)++] = at;
        at += strlen(at) + 1;
    }
    words[*n] = NULL;
    return at < end ? at + 1 : at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[TEXT_MAX + 1], *words[WORDS_MAX + 1], *environment[WORDS_MAX + 1];
    struct app app;
    struct settings settings = {0};
    struct err err = ERR_INIT;
    enum cli_request request;
    int n, n_variables;
    if (size == 0 || size > TEXT_MAX) return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    char *rest = words_take(text, text + size, words, &n);
    (void)words_take(rest, text + size, environment, &n_variables);
    bool ok = cli_parse(&verb, n, words, environment, &app, &request, &err);
    if (ok && request == CLI_RUN) {
        ok = settings_init(&settings, app.config, &err);
        settings_fini(&settings);
    }
    if (!ok && (err.exit_code != ERR_EXIT_USAGE || err.text[0] == '\0')) abort();
    cli_app_free(&app);
    return 0;
}
