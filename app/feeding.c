/* What import and simulate share. The contract is in feeding.h. */
#include "app/feeding.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

enum { SHOW_EVERY_US = 200000, BAR_WIDTH = 30 };

static uint64_t now_us(void)
{
    struct clock clock = {0};
    return clock_mono_us(&clock);
}

/* ---- opening ---- */

static bool choose_format(struct feeding *feeding, const struct feeding_options *options,
                          struct err *err)
{
    static const enum sink_format formats[] = {SINK_AVRO,   SINK_AVRO,     SINK_JSON,
                                               SINK_EVENTS, SINK_SESSIONS, SINK_PAIRS};
    feeding->format = formats[options->format];
    bool automatic = options->format == 0;
    if (feeding->target == SINK_TO_FILE && automatic) feeding->format = SINK_JSON;
    if (feeding->target == SINK_TO_TOPIC && automatic &&
        feeding->settings.schemas.events_format == FORMAT_JSON) {
        feeding->format = SINK_JSON;
    }
    bool text = sink_format_is_text(feeding->format);
    if (feeding->target != SINK_TO_FILE && text) {
        return err_fatal(err, ERR_EXIT_USAGE,
                         "the formats events, sessions and pairs are for files: give --to FILE, or "
                         "--format avro or json");
    }
    if (feeding->target == SINK_TO_FILE && feeding->format == SINK_AVRO) {
        return err_fatal(err, ERR_EXIT_USAGE,
                         "--format avro is for topics; a file takes json, events, sessions or "
                         "pairs, and --flat keeps "
                         "Avro records as base64");
    }
    if (text && options->flat[0]) {
        return err_fatal(err, ERR_EXIT_USAGE,
                         "--flat keeps records of avro or json, not of the log file formats");
    }
    return true;
}

/* Neither import nor simulate needs an application's name, but the settings do. */
static bool open_settings(struct feeding *feeding, struct app *app, struct err *err)
{
    if (!options_is_set(app->config, "application.id") &&
        !options_set(app->config, "application.id", "freshet-feed", "default", err)) {
        return false;
    }
    return settings_init(&feeding->settings, app->config, err);
}

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
    *feeding = (struct feeding){.started_us = now_us(), .is_terminal = isatty(STDERR_FILENO) == 1};
    bool ok = open_settings(feeding, app, err);
    ok = ok && check_target(feeding, options, err) && open_sink(feeding, options, err);
    if (ok) return true;
    feeding_close(feeding);
    return false;
}

void feeding_close(struct feeding *feeding)
{
    sink_free(feeding->sink);
    if (feeding->schemas) schemas_close(feeding->schemas);
    settings_fini(&feeding->settings);
}

/* ---- progress ---- */

void feeding_progress_end(struct feeding *feeding)
{
    if (feeding->shown_us) fprintf(stderr, "\r\033[K");
    feeding->shown_us = 0;
}

double feeding_seconds(const struct feeding *feeding)
{
    return (double)(now_us() - feeding->started_us) / 1e6;
}

void feeding_progress(struct feeding *feeding, double share, uint64_t count)
{
    if (!feeding->is_terminal) return;
    uint64_t now = now_us();
    if (now - feeding->shown_us < SHOW_EVERY_US) return;
    feeding->shown_us = now;
    double seconds = feeding_seconds(feeding);
    int filled = (int)(share * BAR_WIDTH);
    char bar[BAR_WIDTH + 1];
    for (int i = 0; i < BAR_WIDTH; i++)
        bar[i] = i < filled ? '#' : '.';
    bar[BAR_WIDTH] = '\0';
    double left = share > 0.001 ? seconds / share - seconds : 0;
    fprintf(stderr, "\r\033[K[%s] %3.0f %%  %llu events  %.0f/s  %.0f s left", bar, share * 100,
            (unsigned long long)count, (double)count / (seconds > 0 ? seconds : 1), left);
    fflush(stderr);
}
