/* freshet serve: answers over HTTP from the output topics, in any number of copies. */
#include <signal.h>
#include <string.h>
#include <uv.h>

#include "app/app.h"
#include "app/http.h"
#include "app/models.h"
#include "app/settings.h"
#include "base/log.h"

enum { TICK_MS = 500, GRACE_MS = 5000 };

struct server {
    struct http *http;
    struct models *models; /* NULL: none */
    uv_loop_t loop;
    uv_timer_t tick, limit;
    uv_signal_t interrupt, terminate, hangup;
    bool is_stopping, ok;
    struct err err;
};

static void handle_close(uv_handle_t *handle, void *context)
{
    (void)context;
    if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

/* Everything of HTTP is closed: what is left is ours. */
static void on_stopped(void *context)
{
    struct server *server = context;
    uv_walk(&server->loop, handle_close, NULL);
}

static void stop(struct server *server)
{
    if (server->is_stopping) return;
    server->is_stopping = true;
    http_stop(server->http, GRACE_MS, on_stopped, server);
}

static void on_tick(uv_timer_t *handle)
{
    struct server *server = handle->data;
    if (server->is_stopping || http_check(server->http, &server->err)) return;
    server->ok = false;
    stop(server);
}

static void on_limit(uv_timer_t *handle)
{
    stop(handle->data);
}

/* The default action is back for a second signal, which ends the process. */
static void on_signal(uv_signal_t *handle, int number)
{
    log_info("app", "stopping: what is in work is answered first", "signal=%d", number);
    (void)signal(SIGINT, SIG_DFL);
    (void)signal(SIGTERM, SIG_DFL);
    stop(handle->data);
}

static void on_hangup(uv_signal_t *handle, int number)
{
    struct server *server = handle->data;
    (void)number;
    if (server->models) models_reload(server->models);
}

static void signal_start(struct server *server, uv_signal_t *handle, uv_signal_cb call, int number)
{
    handle->data = server;
    (void)uv_signal_init(&server->loop, handle);
    (void)uv_signal_start(handle, call, number);
}

static void timer_start(struct server *server, uv_timer_t *timer, uv_timer_cb call, int64_t ms)
{
    timer->data = server;
    (void)uv_timer_init(&server->loop, timer);
    if (ms) (void)uv_timer_start(timer, call, (uint64_t)ms, (uint64_t)ms);
}

static bool turn(struct server *server, const struct http_options *options, int64_t limit_ms,
                 struct err *err)
{
    (void)uv_loop_init(&server->loop);
    server->ok = http_open(&server->http, options, &server->loop, &server->err);
    timer_start(server, &server->tick, on_tick, TICK_MS);
    timer_start(server, &server->limit, on_limit, limit_ms);
    signal_start(server, &server->interrupt, on_signal, SIGINT);
    signal_start(server, &server->terminate, on_signal, SIGTERM);
    signal_start(server, &server->hangup, on_hangup, SIGHUP);
    if (!server->ok) stop(server);
    (void)uv_run(&server->loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&server->loop);
    http_close(server->http);
    if (!server->ok) *err = server->err;
    return server->ok;
}

static bool serve(struct app *app, const struct settings *settings, struct err *err)
{
    struct server server = {.err = ERR_INIT};
    const char *listen = options_text(app->config, "http.listen");
    const char *file = options_text(app->flags, "sessions");
    const struct models_options models = {.folder = settings->model_folder,
                                          .interval_ms =
                                              options_int(app->config, "model.check.interval.ms")};
    if (settings->model_folder[0] && !models_open(&server.models, &models, err)) return false;
    const struct http_options options = {.settings = settings,
                                         .models = server.models,
                                         .listen = listen[0] ? listen : "127.0.0.1:8080",
                                         .sessions_file = file[0] ? file : NULL,
                                         .sessions_format = options_text(app->flags, "format")};
    bool ok = turn(&server, &options, options_int(app->flags, "seconds") * 1000, err);
    models_close(server.models);
    return ok;
}

static bool run(struct app *app, struct err *err)
{
    struct settings settings;
    bool ok = settings_init(&settings, app->config, err);
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
