/* freshet serve: answers over HTTP from the output topics, in any number of copies. */
#include <string.h>

#include "app/app.h"
#include "app/http.h"
#include "app/loop.h"
#include "app/models.h"
#include "app/settings.h"

static bool serve(struct app *app, const struct settings *settings, struct err *err)
{
    struct models *models = NULL;
    const char *listen = options_text(app->config, "http.listen");
    const char *file = options_text(app->flags, "sessions");
    const struct models_options from = {.folder = settings->model_folder,
                                        .interval_ms =
                                            options_int(app->config, "model.check.interval.ms")};
    if (settings->model_folder[0] && !models_open(&models, &from, err)) return false;
    const struct http_options http = {.settings = settings,
                                      .models = models,
                                      .listen = listen[0] ? listen : "127.0.0.1:8080",
                                      .sessions_file = file[0] ? file : NULL,
                                      .sessions_format = options_text(app->flags, "format")};
    const struct loop_options loop = {
        .http = &http, .limit_ms = options_int(app->flags, "seconds") * 1000, .metrics_file = ""};
    bool ok = loop_run(&loop, err);
    models_close(models);
    return ok;
}

static bool run(struct app *app, struct err *err)
{
    struct settings settings;
    bool ok =
        settings_init(&settings, app->config, err) && settings_erasures_settle(&settings, err);
    if (ok && strcmp(settings.kafka.bootstrap_servers, "embedded") == 0)
        ok = err_fatal(err, ERR_EXIT_USAGE,
                       "bootstrap.servers=embedded is the demo's broker, inside its own process: "
                       "`freshet serve` needs a real one");
    if (ok) ok = serve(app, &settings, err);
    settings_fini(&settings);
    return ok;
}

static const struct option_spec flags[] = {
    {.name = "sessions",
     .type = OPTION_TEXT,
     .fallback = "",
     .help = "A log file of sessions that POST /v1/session compares with, in place of the events "
             "topics.",
     .group = "Sessions"},
    {.name = "format",
     .type = OPTION_ENUM,
     .fallback = "sessions",
     .values = "pairs|lines|sessions|events",
     .help = "Its format, as for `freshet import`.",
     .group = "Sessions"},
    {.name = "seconds",
     .type = OPTION_INT,
     .fallback = "0",
     .max = 1e9,
     .unit = "s",
     .help = "Stop after so many seconds; 0 runs until a signal.",
     .group = "Ending"},
};

const struct verb verb_serve = {
    .name = "serve",
    .summary = "answer over HTTP from the published lists",
    .usage = "freshet serve --config shop.properties [--set http.listen=:8080]",
    .help =
        "Keeps a copy of the output topics and answers from it: lists, related items, trending, "
        "the "
        "catalogue, a stream of changes, and lists for sessions that come with the request. Any "
        "number of copies can run, anywhere; they need the topics alone. Each needs a state.dir of "
        "its own.\n\n"
        "SIGTERM answers what is in work and ends; TLS is a proxy's work.\n\n"
        "  freshet serve --config shop.properties --set http.listen=127.0.0.1:8080\n"
        "  curl localhost:8080/v1/recommend/u1",
    .flags = flags,
    .n_flags = sizeof flags / sizeof flags[0],
    .uses_config = true,
    .run = run,
};
