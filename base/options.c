/* The options: a table of specs, the values set so far, and keys kept as they are under allowed prefixes.
 *
 *   specs[i]  {"session.window", INT, "200", 2, 10000, ...}     borrowed, the table
 *   slots[i]  {value 30, origin "shop.properties:12"}           what holds now; origin NULL = the default
 *   prefixed  {"consumer.fetch.min.bytes", "1", "--set"}        not in the table: librdkafka judges them
 *
 * A value is parsed when it is set, so that the error names the place it came from and reading cannot fail. A value that is
 * refused changes nothing. The table has some fifty rows: a search is a walk over it, and nobody reads options per event. */
#include "base/options.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/options_internal.h"
#include "base/suggest.h"

enum {
    PREFIXES_MAX = 16,
    PREFIXED_MAX = 1024, /* keys under prefixes */
    ENV_NAME_MAX = 160,  /* bytes of a variable's name */
    EXPECTED_MAX = 512,
};

struct slot {
    struct options__value value;
    char *origin; /* NULL: the default holds */
};

struct prefixed {
    char *key; /* whole, with its prefix */
    char *value;
    char *origin;
};

struct options {
    const struct option_spec *specs; /* (n) borrowed */
    struct slot *slots;              /* (n) */
    size_t n;
    const char *prefixes[PREFIXES_MAX];
    size_t n_prefixes;
    struct prefixed *prefixed; /* (n_prefixed) in the order they were first set */
    size_t n_prefixed;
};

struct options *options_new(const struct option_spec *specs, size_t n)
{
    struct options *options = mem_zalloc(sizeof(*options));
    options->specs = specs;
    options->n = n;
    options->slots = mem_zalloc((n + 1) * sizeof(*options->slots));
    struct buf expected;
    buf_init(&expected, EXPECTED_MAX);
    for (size_t i = 0; i < n; i++) {
        if (specs[i].fallback == NULL) continue;
        bool ok =
            options__value_parse(&specs[i], specs[i].fallback, &options->slots[i].value, &expected);
        assert(ok && "a default of the table does not parse");
        (void)ok;
    }
    buf_fini(&expected);
    return options;
}

void options_free(struct options *options)
{
    if (options == NULL) return;
    for (size_t i = 0; i < options->n; i++) {
        options__value_fini(&options->slots[i].value);
        mem_free(options->slots[i].origin);
    }
    for (size_t i = 0; i < options->n_prefixed; i++) {
        mem_free(options->prefixed[i].key);
        mem_free_text(options->prefixed[i].value);
        mem_free(options->prefixed[i].origin);
    }
    mem_free(options->prefixed);
    mem_free(options->slots);
    mem_free(options);
}

void options_allow_prefix(struct options *options, const char *prefix)
{
    assert(options->n_prefixes < PREFIXES_MAX);
    options->prefixes[options->n_prefixes++] = prefix;
}

/* ---- setting ---- */

/* The index of name in the table; n when it is not there. */
static size_t find(const struct options *options, const char *name)
{
    size_t i = 0;
    while (i < options->n && strcmp(options->specs[i].name, name) != 0)
        i++;
    return i;
}

/* The allowed prefix that name has (with something behind it), or NULL. */
static const char *prefix_of(const struct options *options, const char *name)
{
    for (size_t i = 0; i < options->n_prefixes; i++) {
        size_t n = strlen(options->prefixes[i]);
        if (strncmp(name, options->prefixes[i], n) == 0 && name[n] != '\0') {
            return options->prefixes[i];
        }
    }
    return NULL;
}

/* The option of the table that is spelled most alike, or NULL when none is near. */
static const char *nearest(const struct options *options, const char *name)
{
    const char *best = NULL;
    int distance = suggest_limit(name) + 1;
    for (size_t i = 0; i < options->n; i++) {
        int d = suggest_distance(name, options->specs[i].name);
        if (d >= distance) continue;
        distance = d;
        best = options->specs[i].name;
    }
    return best;
}

/* Returns false with the error. */
static bool fail_unknown(const struct options *options, const char *name, const char *origin,
                         struct err *err)
{
    const char *suggestion = nearest(options, name);
    if (suggestion != NULL) {
        return err_fatal(err, ERR_EXIT_USAGE, "%s: unknown option %.80s; did you mean %s?", origin,
                         name, suggestion);
    }
    return err_fatal(err, ERR_EXIT_USAGE, "%s: unknown option %.80s", origin, name);
}

/* The place of a key under a prefix, n_prefixed when it has none. */
static size_t prefixed_find(const struct options *options, const char *name)
{
    size_t i = 0;
    while (i < options->n_prefixed && strcmp(options->prefixed[i].key, name) != 0)
        i++;
    return i;
}

/* Keeps a key under a prefix; a key that is there gets the new value and keeps its place in the order. */
static bool set_prefixed(struct options *options, const char *name, const char *value,
                         const char *origin, struct err *err)
{
    size_t i = prefixed_find(options, name);
    if (i == PREFIXED_MAX) {
        return err_fatal(err, ERR_EXIT_USAGE, "%s: more than %d keys for librdkafka", origin,
                         PREFIXED_MAX);
    }
    if (i == options->n_prefixed) {
        size_t bytes = (options->n_prefixed + 1) * sizeof(*options->prefixed);
        options->prefixed = mem_realloc(options->prefixed, bytes);
        options->prefixed[i] = (struct prefixed){.key = mem_strdup(name)};
        options->n_prefixed++;
    }
    mem_free_text(options->prefixed[i].value);
    mem_free(options->prefixed[i].origin);
    options->prefixed[i].value = mem_strdup(value);
    options->prefixed[i].origin = mem_strdup(origin);
    return true;
}

/* Parses, and on success replaces the value of option i. is_hidden: an error does not show it. */
static bool set_known(struct options *options, size_t i, const char *value, bool is_hidden,
                      const char *origin, struct err *err)
{
    const struct option_spec *spec = &options->specs[i];
    struct options__value parsed;
    struct buf expected;
    buf_init(&expected, EXPECTED_MAX);
    bool ok = options__value_parse(spec, value, &parsed, &expected);
    if (ok) {
        struct slot *slot = &options->slots[i];
        options__value_fini(&slot->value);
        mem_free(slot->origin);
        *slot = (struct slot){.value = parsed, .origin = mem_strdup(origin)};
    } else {
        err_fatal(err, ERR_EXIT_USAGE, "%s: %s: expected %s, not '%.80s'", origin, spec->name,
                  (const char *)expected.data,
                  is_hidden ? "(hidden)" : options_redacted(spec->name, value));
    }
    buf_fini(&expected);
    return ok;
}

/* is_inline: the value was written out, in a file that others may read or where `ps` shows it. */
static bool set_any(struct options *options, const char *name, const char *value, bool is_inline,
                    const char *origin, struct err *err)
{
    size_t i = find(options, name);
    bool known = i < options->n;
    if (!known && prefix_of(options, name) == NULL) {
        return fail_unknown(options, name, origin, err);
    }
    bool is_from_file = strstr(value, "${file:") != NULL;
    if (is_inline && !is_from_file && value[0] != '\0' && options_is_kept_aside(name)) {
        return err_fatal(err, ERR_EXIT_USAGE,
                         "%s: %.80s is a secret and must not be written out here: put it into a "
                         "file of mode 600 and set %.80s=${file:/path/of/it}, or set it in the "
                         "environment",
                         origin, name, name);
    }
    /* ${file:...} is replaced before parsing, for options and passed keys alike. */
    char *resolved = NULL;
    if (!options__resolve(value, &resolved, err)) {
        return err_wrap(err, "%s: %.80s", origin, name);
    }
    bool ok = known ? set_known(options, i, resolved, is_from_file, origin, err)
                    : set_prefixed(options, name, resolved, origin, err);
    mem_free_text(resolved);
    return ok;
}

bool options_set(struct options *options, const char *name, const char *value, const char *origin,
                 struct err *err)
{
    return set_any(options, name, value, true, origin, err);
}

bool options_check(const struct options *options, struct err *err)
{
    for (size_t i = 0; i < options->n; i++) {
        const char *name = options->specs[i].name;
        if (options->specs[i].fallback != NULL || options->slots[i].origin != NULL) continue;
        /* Options of the configuration have dots, flags of a verb have none. */
        if (strchr(name, '.') == NULL) {
            return err_fatal(err, ERR_EXIT_USAGE, "--%s is required; --help says what it is", name);
        }
        return err_fatal(err, ERR_EXIT_USAGE,
                         "%s is required: set it in the file of --config or with --set %s=...",
                         name, name);
    }
    return true;
}

/* ---- the environment ---- */

/* What Kubernetes sets in every pod for a Service whose name begins with ours ("freshet-kafka"): ..._SERVICE_HOST,
 * ..._SERVICE_PORT[_NAME], ..._PORT=tcp://ip:port, ..._PORT_9092_TCP[_ADDR]. An unknown-variable error for them would keep
 * freshet from starting there. */
static bool env_is_service(const char *name, const char *value)
{
    if (strstr(name, "SERVICE_HOST") || strstr(name, "SERVICE_PORT")) return true;
    for (const char *at = name; (at = strstr(at, "PORT")) != NULL; at += 4) {
        if (at[4] == '_' && isdigit((unsigned char)at[5])) return true;
        if (at[4] == '\0' && strstr(value, "://")) return true;
    }
    return false;
}

/* Variables with our prefix that are no options: fail-points of the test build (base/fault), places that the test scripts
 * name, and Kubernetes' own. The table is asked first: an option of such a name is an option. */
static bool env_is_foreign(const char *name, const char *value)
{
    static const char *const exact[] = {"KILL_AT", "FAIL_AT", "STOP_AT", "MUTANT", "DATA"};
    for (size_t i = 0; i < sizeof(exact) / sizeof(exact[0]); i++) {
        if (strcmp(name, exact[i]) == 0) return true;
    }
    return strncmp(name, "TEST_", 5) == 0 || env_is_service(name, value);
}

/* Does APPLICATION_ID name application.id? '.', '-' and '_' of the option all are '_' in the variable. */
static bool env_names(const char *variable, size_t len, const char *option)
{
    if (strlen(option) != len) return false;
    for (size_t i = 0; i < len; i++) {
        char c = option[i];
        c = c == '.' || c == '-' ? '_' : (char)toupper((unsigned char)c);
        if (variable[i] != c) return false;
    }
    return true;
}

/* SECURITY_PROTOCOL to security.protocol; "__" stands for '_' (as in Kafka's container images). */
static void env_to_key(const char *variable, size_t len, char *key)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        bool doubled = variable[i] == '_' && i + 1 < len && variable[i + 1] == '_';
        char c = (char)tolower((unsigned char)variable[i]);
        key[n++] = c != '_' ? c : doubled ? '_' : '.';
        i += doubled;
    }
    key[n] = '\0';
}

/* One variable. name: whole, for messages; variable: its name less the prefix. */
static bool set_from_env(struct options *options, const char *name, const char *variable,
                         const char *value, struct err *err)
{
    size_t len = strlen(variable);
    const char *match = NULL;
    for (size_t i = 0; i < options->n; i++) {
        if (!env_names(variable, len, options->specs[i].name)) continue;
        /* Two options of one variable name are a fault of the table. */
        assert(match == NULL);
        match = options->specs[i].name;
    }
    if (match != NULL) return set_any(options, match, value, false, name, err);
    if (env_is_foreign(variable, value)) return true;
    /* No option of the table: it may be a passed key, else options_set says what is near. */
    char key[ENV_NAME_MAX + 1];
    env_to_key(variable, len, key);
    return set_any(options, key, value, false, name, err);
}

bool options_load_env(struct options *options, const char *prefix, char *const *environ_,
                      struct err *err)
{
    size_t prefix_len = strlen(prefix);
    for (char *const *at = environ_; *at != NULL; at++) {
        if (strncmp(*at, prefix, prefix_len) != 0) continue;
        size_t len = strcspn(*at, "=");
        char name[ENV_NAME_MAX + 1];
        if (len > ENV_NAME_MAX) {
            return err_fatal(err, ERR_EXIT_USAGE, "environment: unknown variable %.80s...", *at);
        }
        memcpy(name, *at, len);
        name[len] = '\0';
        const char *value = *at + len + ((*at)[len] == '=');
        if (!set_from_env(options, name, name + prefix_len, value, err)) return false;
    }
    return true;
}

/* ---- reading ---- */

/* The value of an option that our own code names: a wrong name or type is our bug. Any type may be read as text. */
static const struct slot *slot_of(const struct options *options, const char *name,
                                  enum option_type type)
{
    size_t i = find(options, name);
    assert(i < options->n && "no such option in the table");
    assert(options->specs[i].type == type || type == OPTION_TEXT);
    (void)type;
    return &options->slots[i];
}

const char *options_text(const struct options *options, const char *name)
{
    const char *text = slot_of(options, name, OPTION_TEXT)->value.text;
    return text == NULL ? "" : text;
}

int64_t options_int(const struct options *options, const char *name)
{
    return slot_of(options, name, OPTION_INT)->value.integer;
}

double options_number(const struct options *options, const char *name)
{
    return slot_of(options, name, OPTION_NUMBER)->value.number;
}

bool options_bool(const struct options *options, const char *name)
{
    return slot_of(options, name, OPTION_BOOL)->value.integer != 0;
}

int options_enum(const struct options *options, const char *name)
{
    return (int)slot_of(options, name, OPTION_ENUM)->value.integer;
}

int options_list(const struct options *options, const char *name, const char *const **items)
{
    const struct slot *slot = slot_of(options, name, OPTION_LIST);
    *items = slot->value.items;
    return slot->value.n_items;
}

bool options_is_set(const struct options *options, const char *name)
{
    if (prefix_of(options, name)) return prefixed_find(options, name) < options->n_prefixed;
    return slot_of(options, name, OPTION_TEXT)->origin != NULL;
}

void options_each_prefixed(const struct options *options, const char *prefix,
                           void (*visit)(void *context, const char *key, const char *value),
                           void *context)
{
    size_t n = strlen(prefix);
    for (size_t i = 0; i < options->n_prefixed; i++) {
        const struct prefixed *entry = &options->prefixed[i];
        if (strncmp(entry->key, prefix, n) == 0) visit(context, entry->key + n, entry->value);
    }
}

void options_print(const struct options *options, struct buf *out)
{
    for (size_t i = 0; i < options->n; i++) {
        const char *name = options->specs[i].name;
        const struct slot *slot = &options->slots[i];
        buf_push_format(out, "%s = %s  # %s\n", name,
                        options_redacted(name, slot->value.text ? slot->value.text : ""),
                        slot->origin ? slot->origin : "default");
    }
    for (size_t i = 0; i < options->n_prefixed; i++) {
        const struct prefixed *entry = &options->prefixed[i];
        buf_push_format(out, "%s = %s  # %s\n", entry->key,
                        options_redacted(entry->key, entry->value), entry->origin);
    }
}
