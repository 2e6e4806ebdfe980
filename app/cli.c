/* The command line: parsing, suggestions, help. The contract is in cli.h. */
#include "app/cli.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/config.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/suggest.h"

enum {
    HELP_BYTES_MAX = 1 << 20, /* the longest help text */
    AREAS_BYTES_MAX = 4096,   /* the names behind --debug */
};

/* ---- finding a verb ---- */

const struct verb *cli_find(const struct cli_group *groups, size_t n_groups, const char *name)
{
    for (size_t g = 0; g < n_groups; g++) {
        for (const struct verb *const *verb = groups[g].verbs; *verb; verb++) {
            if (strcmp((*verb)->name, name) == 0) return *verb;
        }
    }
    return NULL;
}

bool cli_unknown(const struct cli_group *groups, size_t n_groups, const char *name, struct err *err)
{
    const char *nearest = NULL;
    int best = suggest_limit(name) + 1;
    for (size_t g = 0; g < n_groups; g++) {
        for (const struct verb *const *verb = groups[g].verbs; *verb; verb++) {
            int distance = suggest_distance(name, (*verb)->name);
            if (distance >= best) continue;
            best = distance;
            nearest = (*verb)->name;
        }
    }
    if (nearest) {
        return err_fatal(err, ERR_EXIT_USAGE,
                         "unknown verb '%.40s'; did you mean '%s'? `freshet --help` lists all",
                         name, nearest);
    }
    return err_fatal(err, ERR_EXIT_USAGE, "unknown verb '%.40s'; `freshet --help` lists all", name);
}

/* ---- flags ---- */

/* One walk over the words. Two are made: the first reads --config, so that the environment and
 * --set win. */
struct walk {
    const struct verb *verb;
    struct app *app;
    int n;
    char *const *words;
    int at;     /* the word being read */
    bool files; /* the first walk: --config only */
};

/* NULL when the verb has no such flag. */
static const struct option_spec *find_flag(const struct verb *verb, const char *name)
{
    for (size_t i = 0; i < verb->n_flags; i++) {
        if (strcmp(verb->flags[i].name, name) == 0) return &verb->flags[i];
    }
    return NULL;
}

/* The value of a flag that must have one: behind '=', or the next word. */
static bool take_value(struct walk *walk, const char *name, const char *inlined, const char **value,
                       struct err *err)
{
    if (inlined) {
        *value = inlined;
        return true;
    }
    if (walk->at + 1 >= walk->n) {
        return err_fatal(err, ERR_EXIT_USAGE, "--%.40s needs a value; see `freshet %s --help`",
                         name, walk->verb->name);
    }
    *value = walk->words[++walk->at];
    return true;
}

/* key=value of --set. */
static bool set_config(struct walk *walk, const char *pair, struct err *err)
{
    assert(pair);
    const char *equals = strchr(pair, '=');
    if (!equals || equals == pair) {
        return err_fatal(err, ERR_EXIT_USAGE, "--set takes key=value, not '%.80s'", pair);
    }
    char *key = mem_strndup(pair, (size_t)(equals - pair));
    bool ok = options_set(walk->app->config, key, equals + 1, "--set", err);
    mem_free(key);
    return ok;
}

/* Flags that are short for keys of the configuration, for every verb. */
static const struct {
    const char *flag, *key;
} log_flags[] = {{"debug", "debug"}, {"log-format", "log.format"}, {"log-level", "log.level"}};

/* The flags that every verb has. *taken: it was one of them. */
static bool take_common(struct walk *walk, const char *name, const char *inlined, bool *taken,
                        struct err *err)
{
    const char *value = NULL;
    bool config = walk->verb->uses_config;
    *taken = true;
    for (size_t i = 0; i < sizeof(log_flags) / sizeof(log_flags[0]); i++) {
        if (strcmp(name, log_flags[i].flag) != 0) continue;
        if (!take_value(walk, name, inlined, &value, err)) return false;
        return walk->files ||
               options_set(walk->app->config, log_flags[i].key, value, "command line", err);
    }
    if (config && strcmp(name, "config") == 0) {
        if (!take_value(walk, name, inlined, &value, err)) return false;
        return !walk->files || options_load_file(walk->app->config, value, err);
    }
    if (config && strcmp(name, "set") == 0) {
        if (!take_value(walk, name, inlined, &value, err)) return false;
        return walk->files || set_config(walk, value, err);
    }
    *taken = false;
    return true;
}

/* The value of a bool: behind '=', the next word when it is one, else true. */
static const char *bool_value(struct walk *walk, const char *inlined)
{
    if (inlined) return inlined;
    const char *next = walk->at + 1 < walk->n ? walk->words[walk->at + 1] : "";
    if (strcmp(next, "true") != 0 && strcmp(next, "false") != 0) return "true";
    walk->at++;
    return next;
}

/* One word that begins with two dashes (taken off). A flag that nobody knows is left to options_set, which says so and names
 * the nearest. */
static bool take_flag(struct walk *walk, const char *word, struct err *err)
{
    const char *equals = strchr(word, '=');
    const char *inlined = equals ? equals + 1 : NULL;
    char *name = equals ? mem_strndup(word, (size_t)(equals - word)) : mem_strdup(word);
    const char *value = NULL;
    bool taken = false;
    bool ok = take_common(walk, name, inlined, &taken, err);
    if (ok && !taken) {
        const struct option_spec *spec = find_flag(walk->verb, name);
        if (!spec || spec->type == OPTION_BOOL) {
            value = bool_value(walk, inlined);
        } else {
            ok = take_value(walk, name, inlined, &value, err);
        }
        if (ok && !walk->files)
            ok = options_set(walk->app->flags, name, value, "command line", err);
    }
    mem_free(name);
    return ok;
}

/* A word that no flag takes, of a verb without arguments: often the configuration's file. */
static bool stray_word(const struct walk *walk, const char *word, struct err *err)
{
    bool is_file = walk->verb->uses_config && access(word, R_OK) == 0;
    return err_fatal(err, ERR_EXIT_USAGE,
                     "'%.80s' belongs to no flag%s%.80s%s; see `freshet %s --help`", word,
                     is_file ? ": --config " : "", is_file ? word : "", is_file ? " reads it" : "",
                     walk->verb->name);
}

/* All words once; what is no flag becomes an argument. */
static bool walk_words(struct walk *walk, struct err *err)
{
    const char **args = mem_alloc(sizeof(*args) * ((size_t)walk->n + 1));
    bool flags_end = false;
    mem_free((void *)walk->app->args);
    walk->app->args = args;
    walk->app->n_args = 0;
    for (walk->at = 0; walk->at < walk->n; walk->at++) {
        const char *word = walk->words[walk->at];
        if (!flags_end && strcmp(word, "--") == 0) {
            flags_end = true;
        } else if (!flags_end && strncmp(word, "--", 2) == 0) {
            if (!take_flag(walk, word + 2, err)) return false;
        } else if (!flags_end && word[0] == '-' && word[1] != '\0') {
            return err_fatal(
                err, ERR_EXIT_USAGE,
                "unknown flag '%.40s': flags begin with two dashes; see `freshet %s --help`", word,
                walk->verb->name);
        } else if (!walk->verb->takes_args && !walk->files) {
            return stray_word(walk, word, err);
        } else {
            args[walk->app->n_args++] = word;
        }
    }
    return true;
}

/* Looked for first: help is given whatever else is wrong. */
static bool asks_for_help(int n, char *const *words)
{
    for (int i = 0; i < n && strcmp(words[i], "--") != 0; i++) {
        if (strcmp(words[i], "--help") == 0 || strcmp(words[i], "-h") == 0) return true;
    }
    return false;
}

/* Logging as the configuration says, before the verb begins. */
static void start_log(const struct options *config)
{
    static const enum log_level levels[] = {LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR};
    struct buf areas;
    const char *const *names;
    int n = options_list(config, "debug", &names);
    buf_init(&areas, AREAS_BYTES_MAX);
    for (int i = 0; i < n; i++) {
        buf_push_format(&areas, "%s%s", i ? "," : "", names[i]);
    }
    buf_push_byte(&areas, 0);
    log_init(options_enum(config, "log.format") == 1 ? LOG_JSON : LOG_LOGFMT,
             levels[options_enum(config, "log.level")],
             areas.failed ? "" : (const char *)areas.data);
    buf_fini(&areas);
}

bool cli_parse(const struct verb *verb, int n, char *const *words, char *const *environ_,
               struct app *app, enum cli_request *request, struct err *err)
{
    *app = (struct app){0};
    *request = CLI_RUN;
    app->config = options_new(app_config_specs, app_config_count);
    app_config_prefixes(app->config);
    app->flags = options_new(verb->flags, verb->n_flags);
    if (asks_for_help(n, words)) {
        *request = CLI_HELP;
        return true;
    }
    struct walk walk = {.verb = verb, .app = app, .n = n, .words = words, .files = true};
    if (!walk_words(&walk, err)) return false;
    if (verb->uses_config && !options_load_env(app->config, "FRESHET_", environ_, err))
        return false;
    walk.files = false;
    if (!walk_words(&walk, err)) return false;
    start_log(app->config);
    return options_check(app->flags, err);
}

void cli_app_free(struct app *app)
{
    options_free(app->config);
    options_free(app->flags);
    mem_free((void *)app->args);
    *app = (struct app){0};
}

/* ---- help ---- */

void cli_print_overview(const struct cli_group *groups, size_t n_groups)
{
    printf(
        "freshet %s: a shop's events come in from Kafka, refreshed recommendation lists go out.\n\n"
        "Usage: freshet VERB [--config FILE] [--set key=value]... [--flag value]... "
        "[argument]...\n",
        FRESHET_VERSION);
    for (size_t g = 0; g < n_groups; g++) {
        printf("\n%s\n", groups[g].purpose);
        for (const struct verb *const *verb = groups[g].verbs; *verb; verb++) {
            printf("  %-10s %s\n", (*verb)->name, (*verb)->summary);
        }
    }
    printf("\nMore\n"
           "  freshet VERB --help    what the verb does, its flags, examples\n"
           "  freshet help config    every key of the configuration (--config, --set, FRESHET_*)\n"
           "  freshet --version\n"
           "\nFirst look: freshet demo\n");
}

static void print_buf(struct buf *text)
{
    (void)fwrite(text->data, 1, text->len, stdout);
    buf_fini(text);
}

/* The headings of the configuration, each once, in the table's order. */
static void print_config_groups(void)
{
    const char *last = "";
    const char *separator = "";
    printf("\nConfiguration (--config FILE, then FRESHET_* variables, then --set key=value; "
           "`freshet help config` lists the keys):\n  ");
    for (size_t i = 0; i < app_config_count; i++) {
        const char *group = app_config_specs[i].group ? app_config_specs[i].group : "";
        if (strcmp(group, last) == 0) continue;
        printf("%s%s", separator, group);
        separator = ", ";
        last = group;
    }
    printf("\n");
}

void cli_print_verb(const struct verb *verb)
{
    printf("freshet %s: %s\n\nUsage: %s\n", verb->name, verb->summary, verb->usage);
    if (verb->help && verb->help[0]) printf("\n%s\n", verb->help);
    if (verb->n_flags > 0) {
        struct buf text;
        buf_init(&text, HELP_BYTES_MAX);
        options_help(verb->flags, verb->n_flags, true, &text);
        printf("\nFlags\n");
        print_buf(&text);
    }
    printf("\nEvery verb: --debug AREAS (ingest,state,... or all), --log-format logfmt|json, "
           "--help\n");
    if (verb->uses_config) print_config_groups();
}

void cli_print_config(void)
{
    struct buf text;
    buf_init(&text, HELP_BYTES_MAX);
    options_help(app_config_specs, app_config_count, false, &text);
    print_buf(&text);
    printf("\nKeys under consumer., producer., admin., security., sasl. and ssl. go to librdkafka "
           "as they "
           "are.\n");
}
