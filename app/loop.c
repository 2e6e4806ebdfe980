/* The main thread's libuv loop. */
#include "app/loop.h"

#include <signal.h>
#include <unistd.h>
#include <uv.h>

#include "base/log.h"

enum { SERVE_EVERY_MS = 200, EXIT_SECOND_SIGNAL = 130, HTTP_GRACE_MS = 5000 };

struct loop {
    const struct loop_options *options;
    uv_loop_t uv;
    struct http *http; /* NULL: not asked for */
    uv_poll_t events;
    uv_timer_t serve, tick, limit, metrics;
    uv_signal_t interrupt, terminate, hangup;
    bool is_stopping;
    bool ok;
    bool is_unwritable; /* the metrics file, the last time */
    struct err err;
};

static void on_http_stopped(void *context)
{
    struct loop *loop = context;
    uv_stop(&loop->uv);
}

/* Requests in work are answered first. */
static void stop(struct loop *loop)
{
    if (loop->is_stopping) return;
    loop->is_stopping = true;
    if (loop->http)
        http_stop(loop->http, HTTP_GRACE_MS, on_http_stopped, loop);
    else
        uv_stop(&loop->uv);
}

static void serve(struct loop *loop)
{
    struct pipeline *pipeline = loop->options->pipeline;
    if (loop->is_stopping) return;
    if (pipeline ? pipeline_serve(pipeline, &loop->err) : http_check(loop->http, &loop->err))
        return;
    loop->ok = false;
    stop(loop);
}

static void on_events(uv_poll_t *handle, int status, int events)
{
    (void)status;
    (void)events;
    serve(handle->data);
}

static void on_serve(uv_timer_t *handle)
{
    serve(handle->data);
}

static void on_tick(uv_timer_t *handle)
{
    struct loop *loop = handle->data;
    if (loop->is_stopping) return;
    if (loop->options->tick(loop->options->context, &loop->err)) return;
    loop->ok = loop->err.class == ERR_NONE;
    stop(loop);
}

static void on_limit(uv_timer_t *handle)
{
    stop(handle->data);
}

/* A file that cannot be written is told of once, and again after it could. */
static void on_metrics(uv_timer_t *handle)
{
    struct loop *loop = handle->data;
    struct err err = ERR_INIT;
    const struct counters *counters = pipeline_counters(loop->options->pipeline);
    bool ok = metrics_write(counters, loop->options->metrics_file, &err);
    if (!ok && !loop->is_unwritable) log_err(LOG_WARN, "app", &err);
    loop->is_unwritable = !ok;
}

/* The first signal ends the loop; the default action is back for the second, which ends the process. */
static void on_signal(uv_signal_t *handle, int number)
{
    struct loop *loop = handle->data;
    log_info("app", "stopping: what is in flight is finished first", "signal=%d", number);
    (void)signal(SIGINT, SIG_DFL);
    (void)signal(SIGTERM, SIG_DFL);
    stop(loop);
}

static void on_hangup(uv_signal_t *handle, int number)
{
    struct loop *loop = handle->data;
    (void)number;
    if (loop->options->pipeline)
        pipeline_reload(loop->options->pipeline);
    else if (loop->http) {
        if (loop->options->http->models) models_reload(loop->options->http->models);
        http_reload(loop->http);
    }
}

static void close_handle(uv_handle_t *handle, void *context)
{
    (void)context;
    if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

/* every_ms 0: never. */
static void timer_start(struct loop *loop, uv_timer_t *timer, uv_timer_cb call, int64_t every_ms)
{
    timer->data = loop;
    (void)uv_timer_init(&loop->uv, timer);
    if (every_ms) (void)uv_timer_start(timer, call, (uint64_t)every_ms, (uint64_t)every_ms);
}

static void http_start(struct loop *loop, const struct http_options *options)
{
    loop->ok = http_open(&loop->http, options, &loop->uv, &loop->err);
    if (!loop->ok) stop(loop);
}

static void pipeline_start(struct loop *loop)
{
    const struct settings *settings = loop->options->settings;
    struct pipeline *pipeline = loop->options->pipeline;
    const struct http_options http = {.settings = settings,
                                      .models = pipeline_models(pipeline),
                                      .pipeline = pipeline,
                                      .listen = options_text(settings->options, "http.listen")};
    loop->events.data = loop;
    (void)uv_poll_init(&loop->uv, &loop->events, pipeline_event_fd(pipeline));
    (void)uv_poll_start(&loop->events, UV_READABLE, on_events);
    serve(loop);
    if (!loop->is_stopping && http.listen[0]) http_start(loop, &http);
}

static void signals_start(struct loop *loop)
{
    loop->interrupt.data = loop->terminate.data = loop->hangup.data = loop;
    (void)uv_signal_init(&loop->uv, &loop->interrupt);
    (void)uv_signal_start(&loop->interrupt, on_signal, SIGINT);
    (void)uv_signal_init(&loop->uv, &loop->terminate);
    (void)uv_signal_start(&loop->terminate, on_signal, SIGTERM);
    (void)uv_signal_init(&loop->uv, &loop->hangup);
    (void)uv_signal_start(&loop->hangup, on_hangup, SIGHUP);
}

/* From the first event to the last: what comes is served. */
static bool turn(const struct loop_options *options, struct err *err)
{
    struct loop loop = {.options = options, .ok = true, .err = ERR_INIT};
    (void)uv_loop_init(&loop.uv);
    timer_start(&loop, &loop.serve, on_serve, SERVE_EVERY_MS);
    timer_start(&loop, &loop.tick, on_tick, options->tick_ms);
    timer_start(&loop, &loop.limit, on_limit, options->limit_ms);
    timer_start(&loop, &loop.metrics, on_metrics,
                options->metrics_file[0] ? options->metrics_ms : 0);
    signals_start(&loop);
    if (options->pipeline)
        pipeline_start(&loop);
    else
        http_start(&loop, options->http);
    (void)uv_run(&loop.uv, UV_RUN_DEFAULT);
    uv_walk(&loop.uv, close_handle, NULL);
    (void)uv_run(&loop.uv, UV_RUN_DEFAULT);
    (void)uv_loop_close(&loop.uv);
    http_close(loop.http);
    (void)signal(SIGHUP, SIG_IGN); /* libuv gave it back its default, which ends the process */
    if (!loop.ok) *err = loop.err;
    return loop.ok;
}

/* Also when the pipeline failed: the last numbers say what it had done. */
static void metrics_finish(const struct loop_options *options)
{
    struct err err = ERR_INIT;
    if (!options->metrics_file[0]) return;
    const struct counters *counters = pipeline_counters(options->pipeline);
    if (!metrics_write(counters, options->metrics_file, &err)) log_err(LOG_WARN, "app", &err);
}

bool loop_run(const struct loop_options *options, struct err *err)
{
    const char *file = options->metrics_file;
    if (file[0] && !metrics_write(pipeline_counters(options->pipeline), file, err)) {
        err->class = ERR_FATAL;
        err->exit_code = ERR_EXIT_USAGE;
        return false;
    }
    bool ok = turn(options, err);
    if (options->pipeline) ok = ok && pipeline_finish(options->pipeline, err);
    metrics_finish(options);
    return ok;
}
