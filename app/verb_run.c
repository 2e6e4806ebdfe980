/* freshet run: the pipeline, until a signal. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "app/app.h"
#include "app/loop.h"
#include "app/pipeline.h"
#include "app/settings.h"
#include "base/log.h"

enum { TICK_MS = 1000 };

struct runner {
    struct pipeline *pipeline;
    struct stats before; /* at the last summary */
    int64_t every_ms, since_ms;
    int64_t until_events;           /* --events: stop after so many records; 0 never */
    int64_t idle_ms, idle_limit_ms; /* --idle: stop when nothing came for so long; 0 never */
    uint64_t last_records;
};

/* One line: what happened since the last one. */
static void summary_log(struct runner *runner, const struct stats *now, int64_t lag)
{
    double seconds = (double)runner->since_ms / 1000.0;
    log_info("app", "summary",
             "events_per_s=%.0f lists=%llu dead_letters=%llu duplicates=%llu late=%llu "
             "too_late=%llu lag=%lld p50_ms=%.1f p99_ms=%.1f",
             (double)(now->records - runner->before.records) / (seconds > 0 ? seconds : 1.0),
             (unsigned long long)now->lists, (unsigned long long)now->poison,
             (unsigned long long)now->duplicates, (unsigned long long)now->late,
             (unsigned long long)now->too_late, (long long)lag, stats_latency_ms(now, 0.5),
             stats_latency_ms(now, 0.99));
    runner->before = *now;
    runner->since_ms = 0;
}

static bool tick(void *context, struct err *err)
{
    struct runner *runner = context;
    struct stats now;
    int64_t lag;
    (void)err;
    pipeline_stats(runner->pipeline, &now, &lag);
    runner->since_ms += TICK_MS;
    if (runner->since_ms >= runner->every_ms) summary_log(runner, &now, lag);
    runner->idle_ms = now.records == runner->last_records ? runner->idle_ms + TICK_MS : 0;
    runner->last_records = now.records;
    if (runner->until_events && now.records >= (uint64_t)runner->until_events) return false;
    bool is_caught_up = lag == 0 || (lag < 0 && now.records > 0);
    return !(runner->idle_limit_ms && is_caught_up && runner->idle_ms >= runner->idle_limit_ms);
}

/* CPU time of the process so far, all threads. */
static double cpu_seconds(void)
{
    struct rusage used;
    (void)getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

/* One JSON object on stdout: everything that was counted, for scripts. cpu_s: of all threads since the pipeline was open. */
static void report_print(const struct stats *stats, double cpu_s)
{
    printf("{\"records\":%llu,\"events\":%llu,\"lists\":%llu,\"replayed\":%llu,\"duplicates\":%llu,"
           "\"quiet\":%llu,"
           "\"late\":%llu,\"too_late\":%llu,\"dead_letters\":%llu,\"epochs\":%llu,\"batches\":%llu,"
           "\"steps\":%llu,"
           "\"prefills\":%llu,\"models_loaded\":%llu,\"models_refused\":%llu,\"allocations\":%llu,"
           "\"records_per_s\":%.0f,\"cpu_us_per_record\":%."
           "2f,\"reasons\":{",
           (unsigned long long)stats->records, (unsigned long long)stats->events,
           (unsigned long long)stats->lists, (unsigned long long)stats->replayed,
           (unsigned long long)stats->duplicates, (unsigned long long)stats->quiet,
           (unsigned long long)stats->late, (unsigned long long)stats->too_late,
           (unsigned long long)stats->poison, (unsigned long long)stats->epochs,
           (unsigned long long)stats->batches, (unsigned long long)stats->steps,
           (unsigned long long)stats->prefills, (unsigned long long)stats->models_loaded,
           (unsigned long long)stats->models_refused, (unsigned long long)stats->allocations,
           stats->last_ns > stats->first_ns
               ? (double)stats->records * 1e9 / (double)(stats->last_ns - stats->first_ns)
               : 0.0,
           stats->records ? cpu_s * 1e6 / (double)stats->records : 0.0);
    for (int i = 1; i < INGEST_REASON_COUNT; i++)
        printf("%s\"%s\":%llu", i > 1 ? "," : "", ingest_reason_name((enum ingest_reason)i),
               (unsigned long long)stats->reasons[i]);
    printf("},\"stage_us_per_event\":{");
    for (int i = 0; i < STAGE_COUNT; i++)
        printf("%s\"%s\":%.2f", i ? "," : "", stats_stage_name((enum stage)i),
               stats->records ? (double)stats->stage_ns[i] / 1000.0 / (double)stats->records : 0.0);
    printf("},\"quality\":{");
    bool first = true;
    for (int type = 0; type < EVENT_TYPE_COUNT; type++) {
        const struct quality *q = &stats->quality[type];
        double n = (double)q->events;
        if (q->events == 0) continue;
        printf("%s\"%s\":{\"events\":%llu,\"hr20\":%.5f,\"mrr20\":%.5f,\"popularity_hr20\":%.5f,"
               "\"popularity_mrr20\":%.5f}",
               first ? "" : ",", schemas_event_type_name((enum event_type)type),
               (unsigned long long)q->events, (double)q->hits[0] / n, q->reciprocal[0] / n,
               (double)q->hits[1] / n, q->reciprocal[1] / n);
        first = false;
    }
    printf("},\"latency_ms\":{\"p50\":%.2f,\"p99\":%.2f}}\n", stats_latency_ms(stats, 0.5),
           stats_latency_ms(stats, 0.99));
}

static bool run_pipeline(struct app *app, const struct settings *settings, struct err *err)
{
    struct runner runner = {.every_ms = options_int(app->config, "log.summary.interval.ms"),
                            .until_events = options_int(app->flags, "events"),
                            .idle_limit_ms = options_int(app->flags, "idle")};
    (void)signal(SIGHUP,
                 SIG_IGN); /* means "load the model again", also while there is no loop yet */
    if (!pipeline_open(&runner.pipeline, settings, NULL, err)) return false;
    double opened_s = cpu_seconds();
    struct loop_options loop = {.pipeline = runner.pipeline,
                                .limit_ms = options_int(app->flags, "seconds") * 1000,
                                .tick_ms = TICK_MS,
                                .tick = tick,
                                .context = &runner};
    struct loop_end end;
    bool ok = loop_run(&loop, &end, err);
    summary_log(&runner, &end.stats, end.lag);
    if (options_bool(app->flags, "report")) report_print(&end.stats, cpu_seconds() - opened_s);
    pipeline_close(runner.pipeline);
    return ok;
}

static bool run(struct app *app, struct err *err)
{
    struct settings settings;
    bool ok = settings_init(&settings, app->config, err);
    if (ok && strcmp(settings.kafka.bootstrap_servers, "embedded") == 0)
        ok = err_fatal(err, ERR_EXIT_USAGE,
                       "bootstrap.servers=embedded is the demo's broker, where nothing is durable: "
                       "`freshet demo` "
                       "uses it; `freshet run` needs a real one");
    if (ok) ok = run_pipeline(app, &settings, err);
    settings_fini(&settings);
    return ok;
}

static const struct option_spec flags[] = {
    {.name = "seconds",
     .type = OPTION_INT,
     .fallback = "0",
     .max = 1e9,
     .unit = "s",
     .help = "Stop after so many seconds; 0 runs until a signal.",
     .group = "Ending"},
    {.name = "events",
     .type = OPTION_INT,
     .fallback = "0",
     .max = 1e15,
     .unit = "records",
     .help = "Stop when so many records have been read; 0 never.",
     .group = "Ending"},
    {.name = "idle",
     .type = OPTION_INT,
     .fallback = "0",
     .max = 1e9,
     .unit = "ms",
     .help =
         "Stop when all that is there has been read and nothing new has come for so long; 0 never.",
     .group = "Ending"},
    {.name = "report",
     .type = OPTION_BOOL,
     .fallback = "false",
     .help =
         "Print all counts, stage times and live quality as one JSON object on stdout at the end.",
     .group = "Output"},
};

const struct verb verb_run = {
    .name = "run",
    .summary = "read events from Kafka, keep state, publish lists",
    .usage = "freshet run --config shop.properties [--set key=value]... [--report]",
    .help =
        "Runs the pipeline until SIGTERM or Ctrl-C; then what is in flight is finished and "
        "written. A second signal ends it at "
        "once; so does kill -9: the next start goes on where the store stands, nothing is lost.\n\n"
        "A new model in model.dir is taken over without a pause, within two times "
        "model.check.interval.ms or at once with "
        "SIGHUP; a damaged one is refused with a line on stderr and the one in use stays.\n\n"
        "  freshet run --config shop.properties\n"
        "  freshet run --set application.id=shop --set bootstrap.servers=localhost:9092 --set "
        "model.dir=model",
    .flags = flags,
    .n_flags = sizeof flags / sizeof flags[0],
    .uses_config = true,
    .run = run,
};
