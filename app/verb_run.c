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
#include "base/mem.h"

enum { TICK_MS = 1000 };

struct runner {
    struct pipeline *pipeline;
    int64_t before; /* records at the last summary */
    int64_t every_ms, since_ms;
    int64_t until_events;           /* --events: stop after so many records; 0 never */
    int64_t idle_ms, idle_limit_ms; /* --idle: stop when nothing came for so long; 0 never */
    int64_t last_records;
};

/* One line: what happened since the last one. */
static void summary_log(struct runner *runner, const struct counters *now)
{
    double seconds = (double)runner->since_ms / 1000.0;
    int64_t records = counters_get(now, METRIC_RECORDS, 0);
    log_info("app", "summary",
             "events_per_s=%.0f lists=%lld dead_letters=%lld duplicates=%lld late=%lld "
             "too_late=%lld lag=%lld p50_ms=%.1f p99_ms=%.1f",
             (double)(records - runner->before) / (seconds > 0 ? seconds : 1.0),
             (long long)counters_get(now, METRIC_LISTS, 0),
             (long long)counters_sum(now, METRIC_DEAD_LETTERS),
             (long long)counters_get(now, METRIC_EVENTS, FOLD_DUPLICATE),
             (long long)counters_get(now, METRIC_LATE, 0),
             (long long)counters_get(now, METRIC_TOO_LATE, 0),
             (long long)counters_get(now, METRIC_LAG, 0), metrics_latency_ms(now, 0.5),
             metrics_latency_ms(now, 0.99));
    runner->before = records;
    runner->since_ms = 0;
}

static bool tick(void *context, struct err *err)
{
    struct runner *runner = context;
    (void)err;
    const struct counters *now = pipeline_counters(runner->pipeline);
    int64_t records = counters_get(now, METRIC_RECORDS, 0), lag = counters_get(now, METRIC_LAG, 0);
    runner->since_ms += TICK_MS;
    if (runner->since_ms >= runner->every_ms) summary_log(runner, now);
    runner->idle_ms = records == runner->last_records ? runner->idle_ms + TICK_MS : 0;
    runner->last_records = records;
    if (runner->until_events && records >= runner->until_events) return false;
    bool is_left_out = records > 0 && pipeline_partitions(runner->pipeline) == 0;
    bool is_caught_up = lag == 0 || is_left_out;
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

/* ---- the report ---- */

/* Counts under their names in the report. label -1: the sum over all. */
static const struct {
    const char *key;
    enum metric metric;
    int label;
} report_counts[] = {
    {"records", METRIC_RECORDS, 0},
    {"events", METRIC_EVENTS, FOLD_APPLIED},
    {"lists", METRIC_LISTS, 0},
    {"replayed", METRIC_EVENTS, FOLD_REPLAYED},
    {"duplicates", METRIC_EVENTS, FOLD_DUPLICATE},
    {"quiet", METRIC_EVENTS, FOLD_QUIET},
    {"erased_events", METRIC_EVENTS, FOLD_ERASED},
    {"erasures", METRIC_ERASURES, -1},
    {"late", METRIC_LATE, 0},
    {"too_late", METRIC_TOO_LATE, 0},
    {"dead_letters", METRIC_DEAD_LETTERS, -1},
    {"epochs", METRIC_COMMITS, 0},
    {"batches", METRIC_BATCHES, 0},
    {"steps", METRIC_STEPS, 0},
    {"prefills", METRIC_PREFILLS, 0},
    {"models_loaded", METRIC_MODELS_LOADED, 0},
    {"models_refused", METRIC_MODELS_REFUSED, 0},
    {"allocations", METRIC_ALLOCATIONS, 0},
};

static void report_quality(const struct counters *counters)
{
    const char *between = "";
    printf("\"quality\":{");
    for (int type = 0; type < EVENT_TYPE_COUNT; type++) {
        struct quality q = metrics_quality(counters, (enum event_type)type);
        if (q.events == 0) continue;
        printf("%s\"%s\":{\"events\":%lld,\"hr20\":%.5f,\"mrr20\":%.5f,\"popularity_hr20\":%.5f,"
               "\"popularity_mrr20\":%.5f}",
               between, schemas_event_type_name((enum event_type)type), (long long)q.events,
               q.hr[QUALITY_LIST], q.mrr[QUALITY_LIST], q.hr[QUALITY_POPULAR],
               q.mrr[QUALITY_POPULAR]);
        between = ",";
    }
    printf("},");
}

/* One JSON object on stdout: everything that was counted, for scripts. cpu_s: of all threads since the pipeline was open. */
static void report_print(const struct counters *counters, double cpu_s)
{
    double records = (double)counters_get(counters, METRIC_RECORDS, 0);
    double seconds = counters_value(counters, METRIC_LAST_BATCH, 0) -
                     counters_value(counters, METRIC_FIRST_RECORD, 0);
    for (size_t i = 0; i < sizeof report_counts / sizeof report_counts[0]; i++) {
        int label = report_counts[i].label;
        int64_t n = label < 0 ? counters_sum(counters, report_counts[i].metric)
                              : counters_get(counters, report_counts[i].metric, label);
        printf("%s\"%s\":%lld", i ? "," : "{", report_counts[i].key, (long long)n);
    }
    printf(",\"records_per_s\":%.0f,\"cpu_us_per_record\":%.2f,\"reasons\":{",
           seconds > 0 ? records / seconds : 0.0, records > 0 ? cpu_s * 1e6 / records : 0.0);
    for (int i = REASON_NONE + 1; i < INGEST_REASON_COUNT; i++)
        printf("%s\"%s\":%lld", i > 1 ? "," : "", ingest_reason_name((enum ingest_reason)i),
               (long long)metrics_reason(counters, (enum ingest_reason)i));
    printf("},\"stage_us_per_event\":{");
    for (int i = 0; i < STAGE_COUNT; i++)
        printf("%s\"%s\":%.2f", i ? "," : "", metrics_stage_name(i),
               records > 0 ? counters_value(counters, METRIC_STAGE, i) * 1e6 / records : 0.0);
    printf("},");
    report_quality(counters);
    printf("\"latency_ms\":{\"p50\":%.2f,\"p99\":%.2f}}\n", metrics_latency_ms(counters, 0.5),
           metrics_latency_ms(counters, 0.99));
}

/* ---- the verb ---- */

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
                                .settings = settings,
                                .limit_ms = options_int(app->flags, "seconds") * 1000,
                                .tick_ms = TICK_MS,
                                .tick = tick,
                                .context = &runner,
                                .metrics_file = options_text(app->config, "metrics.file"),
                                .metrics_ms = options_int(app->config, "metrics.interval.ms")};
    bool ok = loop_run(&loop, err);
    const struct counters *counters = pipeline_counters(runner.pipeline);
    summary_log(&runner, counters);
    if (options_bool(app->flags, "report")) report_print(counters, cpu_seconds() - opened_s);
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
    ok = ok && settings_erasures_settle(&settings, err);
    if (ok) {
        mem_heaps_limit(settings.shards);
        ok = run_pipeline(app, &settings, err);
    }
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
