/* freshet validate: everything that `freshet run` needs, looked at before it runs. One line each:
 * ok or problem. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "app/app.h"
#include "app/owner.h"
#include "app/rules.h"
#include "app/settings.h"
#include "app/topics.h"
#include "model/model.h"
#include "state/state.h"

enum { TIMEOUT_MS = 10000 };

struct validation {
    int checks, problems;
    enum err_exit first; /* exit code of the first problem */
};

/* One line, and the count. The first problem decides the exit code. */
static void tell(struct validation *validation, bool ok, const char *what, const char *text,
                 enum err_exit code)
{
    printf("%-8s %-12s %s\n", ok ? "ok" : "problem", what, text);
    fflush(stdout);
    validation->checks++;
    if (ok) return;
    if (validation->problems++ == 0) validation->first = code;
}

static void tell_err(struct validation *validation, const char *what, const struct err *err)
{
    tell(validation, false, what, err->text, err->exit_code);
}

static void check_model(struct validation *validation, const struct settings *settings)
{
    struct err err = ERR_INIT;
    struct model *model;
    char text[300];
    if (settings->model_folder[0] == '\0') {
        tell(validation, true, "model",
             "none configured: lists come from popularity alone (`freshet train` makes one)",
             ERR_EXIT_OK);
        return;
    }
    if (!model_load(&model, settings->model_folder, &err)) {
        tell_err(validation, "model", &err);
        return;
    }
    struct model_info info = model_info(model);
    (void)snprintf(text, sizeof(text), "%s: %s, %d items, dimension %d, version %s",
                   settings->model_folder, info.encoder, info.N, info.D, info.version);
    tell(validation, true, "model", text, ERR_EXIT_OK);
    model_free(model);
}

static void check_rules(struct validation *validation, const struct settings *settings)
{
    struct err err = ERR_INIT;
    struct rules *rules;
    char text[300];
    const char *path = options_text(settings->options, "rules.file");
    if (path[0] == '\0') return;
    if (!rules_load(&rules, path, &err)) {
        tell_err(validation, "rules", &err);
        return;
    }
    (void)snprintf(text, sizeof(text), "%s: %d rules", path, rules_model(rules)->n);
    tell(validation, true, "rules", text, ERR_EXIT_OK);
    rules_free(rules);
}

static bool check_cluster(struct validation *validation, const struct settings *settings,
                          char cluster_id[64])
{
    struct err err = ERR_INIT;
    char text[400];
    if (!kafka_cluster_id(&settings->kafka, cluster_id, TIMEOUT_MS, &err)) {
        tell_err(validation, "cluster", &err);
        return false;
    }
    (void)snprintf(text, sizeof(text), "%s, cluster id %s", settings->kafka.bootstrap_servers,
                   cluster_id);
    tell(validation, true, "cluster", text, ERR_EXIT_OK);
    return true;
}

/* Opens as `run` does, but registers nothing. */
static void check_registry(struct validation *validation, const struct settings *settings)
{
    struct err err = ERR_INIT;
    struct schemas *schemas;
    struct schemas_options options = settings->schemas;
    options.auto_register = false; /* looking changes nothing */
    if (options.registry_url[0] == '\0') {
        tell(validation, true, "registry", "none: records carry the ids of the built-in schemas",
             ERR_EXIT_OK);
        return;
    }
    if (!schemas_open(&schemas, &options, &err)) {
        tell_err(validation, "registry", &err);
        return;
    }
    tell(validation, true, "registry", options.registry_url, ERR_EXIT_OK);
    schemas_close(schemas);
}

/* Partitions of the events topics; 0 when they do not stand. */
static int check_topics(struct validation *validation, const struct settings *settings)
{
    struct err err = ERR_INIT;
    struct topic_plan plan;
    /* The catalogue of the default name need not be there. */
    const char *items =
        options_is_set(settings->options, "items.topic") ? settings->items_topic : "";
    if (!topic_plan_make(&plan, settings, items, TIMEOUT_MS, &err)) {
        tell_err(validation, "topics", &err);
        return 0;
    }
    for (int i = 0; i < plan.n; i++) {
        char how[TOPIC_PROBLEM_MAX], text[TOPIC_PROBLEM_MAX + 280];
        bool ok = topic_plan_judge(&plan, i, how);
        (void)snprintf(text, sizeof(text), "%s: %s", plan.topics[i].name, how);
        tell(validation, ok, "topic", text, ERR_EXIT_TOPIC);
    }
    return plan.info[0].partitions;
}

static bool is_folder(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* Opens the store as `run` would, so that its identity is compared; then closes it untouched. */
static void check_store(struct validation *validation, const struct settings *settings,
                        const char *cluster_id, int partitions)
{
    struct err err = ERR_INIT;
    struct state *state;
    if (!is_folder(settings->state_folder)) {
        tell(validation, true, "store", "not there yet: the first run makes it", ERR_EXIT_OK);
        return;
    }
    if (partitions == 0) {
        tell(validation, false, "store",
             "not compared: that needs the cluster and the events topics", ERR_EXIT_TOPIC);
        return;
    }
    struct state_identity identity = owner_identity(settings, cluster_id, partitions);
    struct state_options options = settings_state(settings, 0);
    if (!state_open(&state, settings->state_folder, &identity, &options, &err)) {
        tell_err(validation, "store", &err);
        return;
    }
    tell(validation, true, "store", settings->state_folder, ERR_EXIT_OK);
    state_close(state);
}

static bool run(struct app *app, struct err *err)
{
    struct validation validation = {0};
    struct settings settings;
    char cluster_id[64] = "";
    if (!settings_init(&settings, app->config, err)) {
        settings_fini(&settings);
        return false;
    }
    tell(&validation, true, "config", settings.application_id, ERR_EXIT_OK);
    check_model(&validation, &settings);
    check_rules(&validation, &settings);
    check_registry(&validation, &settings);
    bool reached = check_cluster(&validation, &settings, cluster_id);
    int partitions = reached ? check_topics(&validation, &settings) : 0;
    check_store(&validation, &settings, cluster_id, partitions);
    settings_fini(&settings);
    if (validation.problems == 0) return true;
    return err_fatal(err, validation.first, "%d of %d checks found a problem", validation.problems,
                     validation.checks);
}

const struct verb verb_validate = {
    .name = "validate",
    .summary = "check configuration, model, rules, cluster, topics and store before running",
    .usage = "freshet validate --config shop.properties",
    .help = "One line for each check, ok or problem, with what to do. Nothing is changed. The exit "
            "code is that of the first problem:\n"
            "2 configuration, 3 store, 4 cluster or registry not reachable, 5 topics, 6 model.\n\n"
            "  freshet validate --config shop.properties",
    .uses_config = true,
    .run = run,
};
