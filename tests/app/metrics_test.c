/* The table of metrics, and the metrics file: Prometheus text that says what the report says, renewed while the pipeline runs.
 *
 * LINK: rdkafka */
#include "app/metrics.h"

#include <stdlib.h>
#include <unistd.h>

#include "app/loop.h"
#include "base/clock.h"
#include "base/sync.h"
#include "emit/emit.h"
#include "tests/app/live.h"
#include "tests/app/program.h"

enum { TEXT_MAX = 1 << 20, SENT = 1500, POISON = 40, MORE = 500, READS = 1000 };

/* ---- the table ---- */

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Names tell the unit and the type, no two are the same, and every label value is a word. */
static void names_are_prometheus_names(void)
{
    for (int i = 0; i < METRIC_COUNT; i++) {
        const struct counter_spec *spec = &metrics_table[i];
        CHECK(spec->name != NULL && spec->help != NULL);
        bool is_own = strncmp(spec->name, "freshet_", 8) == 0;
        bool is_total = spec->type == COUNTER_TOTAL;
        bool is_moment = spec->type == COUNTER_EARLIEST || spec->type == COUNTER_LATEST;
        bool is_quantile =
            spec->labels[0].name != NULL && strcmp(spec->labels[0].name, "quantile") == 0;
        bool is_seconds = ends_with(spec->name, "_seconds");
        CHECK(is_own || strncmp(spec->name, "process_", 8) == 0);
        CHECK_INT(ends_with(spec->name, "_total"), is_total);
        CHECK_INT(is_seconds, is_moment || is_quantile || spec->type == COUNTER_LATENCY);
        CHECK(ends_with(spec->help, "."));
        for (int j = 0; j < i; j++)
            CHECK(strcmp(spec->name, metrics_table[j].name) != 0);
        for (int k = 0; k < 2; k++)
            for (int v = 0; spec->labels[k].name && v < spec->labels[k].n; v++)
                CHECK(spec->labels[k].value(v)[0] != '\0');
    }
}

/* RANK_UNIT / rank has no rest for any rank that counts, so a mean of 1 / rank is exact. */
static void reciprocal_ranks_add_up(void)
{
    struct counters *counters = metrics_new(1);
    struct counters_slot *slot = counters_slot(counters, 0);
    int label = metrics_quality_label(EVENT_CLICK, QUALITY_POPULAR);
    double want = 0;
    for (int rank = 1; rank <= QUALITY_K; rank++) {
        CHECK_INT(RANK_UNIT % rank, 0);
        counters_add(slot, METRIC_QUALITY_EVENTS, EVENT_CLICK, 1);
        counters_add(slot, METRIC_QUALITY_HITS, label, 1);
        counters_add(slot, METRIC_QUALITY_INVERSE, label, RANK_UNIT / rank);
        want += 1.0 / rank;
    }
    struct quality quality = metrics_quality(counters, EVENT_CLICK);
    CHECK_INT(quality.events, QUALITY_K);
    CHECK_NEAR(quality.hr[QUALITY_POPULAR], 1.0, 0);
    CHECK_NEAR(quality.mrr[QUALITY_POPULAR], want / QUALITY_K, 1e-12);
    CHECK_NEAR(quality.mrr[QUALITY_LIST], 0.0, 0);
    CHECK_INT(metrics_quality(counters, EVENT_VIEW).events, 0);
    counters_free(counters);
}

/* ---- the file ---- */

/* Takes the open file; NULL gives NULL. */
static const char *text_take(FILE *file)
{
    static char text[TEXT_MAX];
    if (!file) return NULL;
    size_t n = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[n] = '\0';
    return text;
}

static const char *file_read(const char *path)
{
    return text_take(fopen(path, "rb"));
}

static const char last_line[] = "\nfreshet_build_info{version=\"" FRESHET_VERSION "\"} ";

/* Who has opened the file when it is written again reads what it was, to its end. */
static void a_reader_is_not_disturbed(void)
{
    struct err err = ERR_INIT;
    struct counters *counters = metrics_new(1);
    char path[96], fresh[112];
    (void)snprintf(path, sizeof path, "%s/twice.prom", live_shop.folder);
    (void)snprintf(fresh, sizeof fresh, "%s.tmp", path);
    counters_add(counters_slot(counters, 0), METRIC_LISTS, 0, 5);
    CHECK_OK(metrics_write(counters, path, &err), err);
    FILE *reader = fopen(path, "rb");
    CHECK(reader != NULL);
    counters_add(counters_slot(counters, 0), METRIC_LISTS, 0, 5);
    CHECK_OK(metrics_write(counters, path, &err), err);
    const char *text = text_take(reader);
    CHECK_CONTAINS(text, "\nfreshet_lists_total 5\n");
    CHECK_CONTAINS(text, last_line);
    CHECK_CONTAINS(file_read(path), "\nfreshet_lists_total 10\n");
    CHECK(access(fresh, F_OK) != 0);
    CHECK_FAIL(metrics_write(counters, live_shop.folder, &err), err, ERR_RETRY);
    (void)snprintf(fresh, sizeof fresh, "%s.tmp", live_shop.folder);
    CHECK(access(fresh, F_OK) != 0);
    counters_free(counters);
}

/* ---- the file against the report ---- */

/* A click of now, whose latency counts, and with a quantity that is cleaned. */
static void click_send(struct emit_feed *feed, struct buf *bytes, int64_t now_ms)
{
    struct err err = ERR_INIT;
    struct event_item item = {.item_id = STR("3"), .quantity = -1, .position = -1};
    struct event event = {.type = EVENT_CLICK,
                          .time_ms = now_ms,
                          .user_id = STR("u1"),
                          .items = &item,
                          .n_items = 1,
                          .consent = true};
    buf_reset(bytes);
    schemas_event_encode(live_shop.schemas, &event, bytes);
    struct str value = {(const char *)bytes->data, bytes->len};
    CHECK_OK(emit_feed_send(feed, event.user_id, value, now_ms, &err), err);
}

/* n clicks of now, and for each a record that is no event. */
static void clicks_and_poison_send(int n)
{
    struct err err = ERR_INIT;
    struct emit_feed *feed;
    struct clock clock = {0};
    struct buf bytes;
    struct kafka_config config = {.bootstrap_servers = kafka_embedded_bootstrap(live_shop.broker),
                                  .client_id = "poison"};
    buf_init(&bytes, 1 << 16);
    CHECK_OK(emit_feed_open(&feed, &config, "freshet.events", &err), err);
    for (int i = 0; i < n; i++) {
        struct str value = i % 2 ? STR("{}") : STR("");
        CHECK_OK(emit_feed_send(feed, STR("u2"), value, 1700000000000, &err), err);
        click_send(feed, &bytes, clock_wall_ms(&clock));
    }
    CHECK_OK(emit_feed_close(feed, LIVE_WAIT_MS, &err), err);
    buf_fini(&bytes);
    live_shop.sent += 2 * (uint64_t)n;
}

/* A life of the program up to the end of the topic: the report is in report.json, the metrics in freshet.prom. Nobody looks at
 * the model folder: libuv closes descriptors where ThreadSanitizer does not see it, and would have them raced for. */
static void program_run(const char *application)
{
    char arguments[1024];
    (void)snprintf(arguments, sizeof arguments,
                   "run --report --idle 1000 --set application.id=%s --set bootstrap.servers=%s "
                   "--set state.dir=%s --set model.dir=%s --set metrics.file=freshet.prom "
                   "--set session.timeout.ms=6000 --set recommendations.topic=lists-a "
                   "--set related.topic= --set trending.topic= "
                   "--set errors.deadletterqueue.topic.name=test-dlq --set num.stream.threads=2 "
                   "--set log.level=warn --set model.check.interval.ms=0 > report.json",
                   application, kafka_embedded_bootstrap(live_shop.broker), live_shop.folder,
                   live_shop.model);
    int code = program_call(live_shop.folder, "", arguments);
    if (code != 0) fprintf(stderr, "%s", program_output);
    CHECK_INT(code, 0);
}

/* tests/app/prometheus_text.py looks at both files. */
static void files_compare(void)
{
    char command[512], path[96];
    (void)snprintf(command, sizeof command,
                   "python3 -B %s/tests/app/prometheus_text.py %s/freshet.prom %s/report.json",
                   FRESHET_SOURCE_DIR, live_shop.folder, live_shop.folder);
    int status = system(command);
    if (status == 127 << 8)
        printf("SKIP files_compare: python3 is not installed\n");
    else
        CHECK_INT(status, 0);
    (void)snprintf(path, sizeof path, "%s/freshet.prom", live_shop.folder);
    const char *text = file_read(path);
    CHECK(text != NULL);
    for (int i = 0; i < METRIC_COUNT; i++) {
        char line[128];
        (void)snprintf(line, sizeof line, "# TYPE %s ", metrics_table[i].name);
        CHECK_CONTAINS(text, line);
    }
}

/* What the metrics file of the last program says. */
static const char *file_text(void)
{
    char path[96];
    (void)snprintf(path, sizeof path, "%s/freshet.prom", live_shop.folder);
    return file_read(path);
}

static void file_expect(const char *line)
{
    CHECK_CONTAINS(file_text(), line);
}

/* Two lives of one application: the second counts what came since, and nothing of the first again. */
static void lives_count_their_own(void)
{
    live_events_send(SENT, TEST_SEED());
    clicks_and_poison_send(POISON);
    program_run("counted");
    files_compare();
    file_expect("\nfreshet_records_total 1580\n");
    file_expect("\nfreshet_dead_letters_total{reason=\"empty\"} 20\n");
    file_expect("\nfreshet_cleaned_total{reason=\"quantity\"} 40\n");
    file_expect("\nfreshet_event_to_publish_seconds_count 40\n");
    CHECK(!strstr(file_text(), "recent_seconds{quantile=\"0.5\"} 0\n"));
    CHECK_CONTAINS(file_text(), "recent_seconds{quantile=\"0.5\"} ");
    file_expect("\nfreshet_lag_records 0\n");
    file_expect("\nfreshet_partitions 2\n");
    live_events_send(MORE, TEST_SEED()); /* the first of these ids were sent before: duplicates */
    live_events_send(MORE, TEST_SEED() + 1);
    program_run("counted");
    files_compare();
    file_expect("\nfreshet_records_total 1000\n");
    file_expect("\nfreshet_events_total{outcome=\"replayed\"} 0\n");
}

/* ---- while it runs ---- */

struct renewal {
    struct pipeline *pipeline;
    char path[96];
    long long records; /* as the file said last */
};

/* A record is counted when all that was done with it is. */
static void order_check(const struct counters *counters)
{
    for (int i = 0; i < READS; i++) {
        int64_t records = counters_get(counters, METRIC_RECORDS, 0);
        int64_t dead_letters = counters_sum(counters, METRIC_DEAD_LETTERS);
        CHECK(counters_sum(counters, METRIC_EVENTS) + dead_letters >= records);
    }
}

/* Looks at the file, and at the counters while the shards write there. */
static bool renewal_tick(void *context, struct err *err)
{
    struct renewal *renewal = context;
    const char *text = file_read(renewal->path), *line;
    (void)err;
    order_check(pipeline_counters(renewal->pipeline));
    CHECK(text != NULL);
    CHECK_CONTAINS(text, last_line);
    line = strstr(text, "\nfreshet_records_total ");
    CHECK(line != NULL);
    long long records = strtoll(line + strlen("\nfreshet_records_total "), NULL, 10);
    CHECK(records >= renewal->records);
    renewal->records = records;
    return records < (long long)live_shop.sent;
}

static void file_follows_the_pipeline(void)
{
    struct err err = ERR_INIT;
    struct settings settings;
    struct renewal renewal = {0};
    char fresh[112];
    struct options *options = live_options("followed", "lists-b", "16");
    live_set(options, "num.stream.threads", "2");
    live_set(options, "model.check.interval.ms", "0"); /* see program_run */
    (void)snprintf(renewal.path, sizeof renewal.path, "%s/live.prom", live_shop.folder);
    (void)snprintf(fresh, sizeof fresh, "%s.tmp", renewal.path);
    CHECK_OK(settings_init(&settings, options, &err), err);
    CHECK_OK(pipeline_open(&renewal.pipeline, &settings, NULL, &err), err);
    struct loop_options loop = {.pipeline = renewal.pipeline,
                                .settings = &settings,
                                .limit_ms = LIVE_WAIT_MS,
                                .tick_ms = 1,
                                .tick = renewal_tick,
                                .context = &renewal,
                                .metrics_file = "/nowhere/live.prom",
                                .metrics_ms = 10};
    CHECK(!loop_run(&loop, &err));
    CHECK_INT(err.class, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_USAGE);
    CHECK_CONTAINS(err.text, "/nowhere/live.prom");
    err.class = ERR_NONE;
    loop.metrics_file = renewal.path;
    CHECK_OK(loop_run(&loop, &err), err);
    CHECK_INT(renewal.records, live_shop.sent);
    CHECK(access(fresh, F_OK) != 0);
    pipeline_close(renewal.pipeline);
    settings_fini(&settings);
    options_free(options);
}

int main(void)
{
    CASE(names_are_prometheus_names);
    CASE(reciprocal_ranks_add_up);
    live_open();
    CASE(a_reader_is_not_disturbed);
    CASE(lives_count_their_own);
    CASE(file_follows_the_pipeline);
    live_close();
    return 0;
}
