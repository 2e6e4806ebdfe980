/* What import and simulate share. The contract is in feeding.h. */
#include "app/feeding.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sync.h"

static uint64_t now_us(void)
{
    struct clock clock = {0};
    return clock_mono_us(&clock);
}

/* Neither import nor simulate needs an application's name, but the settings do. */
static const char nobody[] = "freshet-feed";

/* ---- signals ---- */

static struct flag stopped;

static void on_signal(int number)
{
    flag_raise(&stopped);
    (void)signal(number, SIG_DFL);
}

static void watch_signals(void)
{
    (void)signal(SIGINT, on_signal);
    (void)signal(SIGTERM, on_signal);
}

bool feeding_is_stopped(void)
{
    return flag_is_raised(&stopped);
}

/* ---- opening ---- */

/* Which formats go where, and what `auto` means. */
static bool choose_format(struct feeding *feeding, const struct feeding_options *options,
                          struct err *err)
{
    static const enum sink_format formats[] = {SINK_AVRO,     SINK_AVRO,  SINK_JSON, SINK_EVENTS,
                                               SINK_SESSIONS, SINK_PAIRS, SINK_LINES};
    feeding->format = formats[options->format];
    bool automatic = options->format == 0;
    if (feeding->target == SINK_TO_FILE && automatic) feeding->format = SINK_JSON;
    if (feeding->target == SINK_TO_TOPIC && automatic &&
        feeding->settings.schemas.events_format == FORMAT_JSON) {
        feeding->format = SINK_JSON;
    }
    bool text = sink_format_is_text(feeding->format);
    if (feeding->target != SINK_TO_FILE && text) {
        return err_fatal(
            err, ERR_EXIT_USAGE,
            "the formats events, sessions, pairs and lines are for files: give --to FILE, or "
            "--format avro or json");
    }
    if (feeding->target == SINK_TO_FILE && feeding->format == SINK_AVRO) {
        return err_fatal(err, ERR_EXIT_USAGE,
                         "--format avro is for topics; a file takes json, events, sessions, "
                         "pairs or lines, and --flat keeps "
                         "Avro records as base64");
    }
    if (text && options->flat[0]) {
        return err_fatal(err, ERR_EXIT_USAGE,
                         "--flat keeps records of avro or json, not of the log file formats");
    }
    return true;
}

static bool open_settings(struct feeding *feeding, struct app *app, struct err *err)
{
    if (!options_is_set(app->config, "application.id") &&
        !options_set(app->config, "application.id", nobody, "default", err)) {
        return false;
    }
    return settings_init(&feeding->settings, app->config, err);
}

/* Reads --to and --topic. */
static bool check_target(struct feeding *feeding, const struct feeding_options *options,
                         struct err *err)
{
    feeding->target = strcmp(options->to, "topic") == 0  ? SINK_TO_TOPIC
                      : strcmp(options->to, "none") == 0 ? SINK_TO_NOTHING
                                                         : SINK_TO_FILE;
    feeding->topic = options->topic[0] ? options->topic : feeding->settings.topics[0];
    if (feeding->target == SINK_TO_TOPIC &&
        strcmp(feeding->settings.kafka.bootstrap_servers, "embedded") == 0) {
        return err_fatal(err, ERR_EXIT_USAGE,
                         "bootstrap.servers=embedded lives inside one process: nothing can be put "
                         "into it from here; give "
                         "a real broker, or use `freshet demo`");
    }
    return choose_format(feeding, options, err);
}

/* The registry is asked only for a topic: a file keeps built-in ids. */
static bool open_sink(struct feeding *feeding, const struct feeding_options *options,
                      struct err *err)
{
    struct schemas_options schemas = feeding->settings.schemas;
    schemas.events_topic = feeding->topic;
    schemas.items_topic = options->items_topic[0] ? options->items_topic : NULL;
    if (feeding->target != SINK_TO_TOPIC) schemas.registry_url = NULL;
    if (!schemas_open(&feeding->schemas, &schemas, err)) return false;
    struct sink_options sink = {
        .target = feeding->target,
        .settings = &feeding->settings,
        .schemas = feeding->schemas,
        .topic = feeding->topic,
        .path = options->to,
        .flat = options->flat[0] ? options->flat : NULL,
        .format = feeding->format,
        .timestamps_now = options->timestamps_now,
        .inject = options->inject,
    };
    return sink_open(&feeding->sink, &sink, err);
}

bool feeding_open(struct feeding *feeding, struct app *app, const struct feeding_options *options,
                  struct err *err)
{
    *feeding = (struct feeding){.started_us = now_us(), .quiet = options->quiet};
    bool ok = open_settings(feeding, app, err);
    ok = ok && check_target(feeding, options, err) && open_sink(feeding, options, err);
    if (ok) {
        watch_signals();
        return true;
    }
    feeding_close(feeding);
    return false;
}

void feeding_close(struct feeding *feeding)
{
    feeding_progress_end(feeding);
    sink_free(feeding->sink);
    if (feeding->schemas) schemas_close(feeding->schemas);
    settings_fini(&feeding->settings);
}

void feeding_next_print(const struct feeding *feeding)
{
    const struct settings *settings = &feeding->settings;
    bool has_name = strcmp(settings->application_id, nobody) != 0;
    printf("next: freshet run --set application.id=%s --set bootstrap.servers=%s --set "
           "events.topics=%s\n",
           has_name ? settings->application_id : "shop", settings->kafka.bootstrap_servers,
           feeding->topic);
}

/* ---- progress ---- */

double feeding_seconds(const struct feeding *feeding)
{
    return (double)(now_us() - feeding->started_us) / 1e6;
}

void feeding_progress_begin(struct feeding *feeding, const char *what, const char *unit,
                            uint64_t total)
{
    struct progress_options options = {
        .what = what, .unit = unit, .total = total, .quiet = feeding->quiet, .fd = STDERR_FILENO};
    feeding_progress_end(feeding);
    feeding->progress = progress_new(&options);
}

void feeding_progress(struct feeding *feeding, uint64_t done)
{
    if (feeding->progress) progress_update(feeding->progress, done, NULL);
}

void feeding_progress_end(struct feeding *feeding)
{
    progress_end(feeding->progress);
    feeding->progress = NULL;
}
