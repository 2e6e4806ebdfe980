/* freshet demo: a shop, a broker, a trained model and the pipeline in one process, and a view of lists that change as people
 * click. */
#include <stdio.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/app.h"
#include "app/demo_feed.h"
#include "app/loop.h"
#include "app/pipeline.h"
#include "app/settings.h"
#include "app/view.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

extern const struct verb verb_train;

enum { PAGE_PORT = 8080, PARTITIONS = 4, TICK_MS = 250, TAP_CAPACITY = 512, PATH_MAX_BYTES = 512 };
static const char fetch_wait[] = "consumer.fetch.wait.max.ms";

struct demo {
    struct app *app;
    struct settings settings;
    struct kafka_embedded *broker; /* NULL: a real one */
    struct demo_feed *feed;
    struct pipeline *pipeline;
    struct tap *tap;
    struct view *view;
    char model[PATH_MAX_BYTES], state[PATH_MAX_BYTES], head[512];
    char title[256]; /* behind view_title */
    uint64_t started_us;
    bool is_open; /* the shop's present has begun */
};

/* ---- the model: learnt once from the shop's past, then kept ---- */

static bool is_file(const char *folder, const char *name)
{
    char path[PATH_MAX_BYTES];
    struct stat status;
    int len = snprintf(path, sizeof path, "%s/%s", folder, name);
    return len > 0 && (size_t)len < sizeof path && stat(path, &status) == 0;
}

/* `freshet train` with the demo's flags. */
static bool model_train(const struct demo *demo, const char *log, struct err *err)
{
    static const char *const fixed[][2] = {{"format", "sessions"}, {"epochs", "8"}};
    struct options *flags = options_new(verb_train.flags, verb_train.n_flags);
    struct app train = {.config = demo->app->config, .flags = flags};
    bool ok = options_set(flags, "input", log, "demo", err) &&
              options_set(flags, "out", demo->model, "demo", err);
    for (size_t i = 0; ok && i < sizeof fixed / sizeof fixed[0]; i++)
        ok = options_set(flags, fixed[i][0], fixed[i][1], "demo", err);
    if (ok) ok = options_check(flags, err) && verb_train.run(&train, err);
    options_free(flags);
    return ok;
}

/* The folder and those above it. */
static bool folder_make(const char *folder, struct err *err)
{
    char path[PATH_MAX_BYTES];
    int len = snprintf(path, sizeof path, "%s", folder);
    for (int i = 1; i <= len && len < PATH_MAX_BYTES; i++) {
        if (path[i] != '/' && path[i] != '\0') continue;
        char kept = path[i];
        path[i] = '\0';
        (void)mkdir(path, 0700);
        path[i] = kept;
    }
    if (access(folder, W_OK) == 0) return true;
    return err_fatal(err, ERR_EXIT_USAGE, "cannot write in %s: name another folder with --work",
                     folder);
}

static bool model_prepare(struct demo *demo, const char *work, struct err *err)
{
    char log[PATH_MAX_BYTES];
    const struct options *flags = demo->app->flags;
    (void)snprintf(demo->model, sizeof demo->model, "%s/model-%lld-items-seed-%lld", work,
                   (long long)options_int(flags, "items"), (long long)options_int(flags, "seed"));
    (void)snprintf(log, sizeof log, "%s/past.tsv", work);
    if (is_file(demo->model, "model.json")) return demo_feed_past(demo->feed, NULL, err);
    (void)fprintf(stderr,
                  "The shop's past is written and a model learnt from it (once; kept in %s).\n",
                  work);
    if (!demo_feed_past(demo->feed, log, err) || !model_train(demo, log, err)) return false;
    (void)unlink(log);
    return true;
}

/* ---- the broker ---- */

/* bootstrap.servers=embedded (the demo's default): an in-process broker with the topics that are needed. */
static bool broker_start(struct demo *demo, struct err *err)
{
    struct app *app = demo->app;
    char pairs[PATH_MAX_BYTES];
    struct kafka_topic_spec topics[] = {
        {.name = "freshet.events", .partitions = PARTITIONS, .replication = 1},
        {.name = "freshet.recommendations",
         .partitions = PARTITIONS,
         .replication = 1,
         .compact = true},
        {.name = "demo-dlq", .partitions = 1, .replication = 1},
        {.name = options_text(app->config, "related.topic"),
         .partitions = PARTITIONS,
         .replication = 1,
         .compact = true},
        {.name = pairs, .partitions = PARTITIONS, .replication = 1},
        {.name = options_text(app->config, "items.topic"),
         .partitions = 1,
         .replication = 1,
         .compact = true},
        {.name = options_text(app->config, "trending.topic"),
         .partitions = 1,
         .replication = 1,
         .compact = true},
    };
    int n_topics = 0, n_all = sizeof topics / sizeof topics[0];
    bool embedded = !options_is_set(app->config, "bootstrap.servers") ||
                    strcmp(options_text(app->config, "bootstrap.servers"), "embedded") == 0;
    if (!options_is_set(app->config, "application.id") &&
        !options_set(app->config, "application.id", "demo", "demo", err))
        return false;
    if (!embedded) return true;
    topics[2].name = options_is_set(app->config, "errors.deadletterqueue.topic.name")
                         ? options_text(app->config, "errors.deadletterqueue.topic.name")
                         : "demo-dlq";
    (void)snprintf(pairs, sizeof pairs, "%s-pairs-repartition",
                   options_text(app->config, "application.id"));
    if (!topics[3].name[0] && !options_text(app->config, "trending.topic")[0])
        topics[4].name = "";        /* neither related items nor trending: no pairs */
    for (int i = 0; i < n_all; i++) /* an empty name switches a part off */
        if (topics[i].name[0]) topics[n_topics++] = topics[i];
    if (!kafka_embedded_start(&demo->broker, topics, n_topics, err)) return false;
    /* That broker lets a fetch wait to its end, though data have come. */
    if (!options_is_set(app->config, fetch_wait) &&
        !options_set(app->config, fetch_wait, "5", "demo", err))
        return false;
    return options_set(app->config, "bootstrap.servers", kafka_embedded_bootstrap(demo->broker),
                       "demo", err);
}

/* ---- the page ---- */

/* The port, or when another process has it, a free one. 0: none. */
static int port_find(int wanted)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)wanted)};
    socklen_t len = sizeof at;
    const int yes = 1; /* as the server binds: a port that a process has just left is free */
    int found = 0, fd = socket(AF_INET, SOCK_STREAM, 0);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0) return 0;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, (const struct sockaddr *)&at, sizeof at) == 0 &&
        getsockname(fd, (struct sockaddr *)&at, &len) == 0)
        found = ntohs(at.sin_port);
    (void)close(fd);
    return found || wanted == 0 ? found : port_find(0);
}

/* http.listen is on in the demo; http.listen= switches it off. */
static bool page_prepare(struct options *config, struct err *err)
{
    char listen[32];
    if (options_is_set(config, "http.listen")) return true;
    (void)snprintf(listen, sizeof listen, "127.0.0.1:%d", port_find(PAGE_PORT));
    return options_set(config, "http.listen", listen, "demo", err);
}

/* ---- the view ---- */

static struct str view_title(void *context, struct str item_id)
{
    struct demo *demo = context;
    demo_feed_title(demo->feed, item_id, demo->title, sizeof demo->title);
    return str_of(demo->title);
}

/* What a reader of the figures would ask about the demo's own model. */
static const char orders_note[] =
    "carts and orders hold what was just looked at; these lists, what comes next";

static void view_start(struct demo *demo)
{
    const struct options *flags = demo->app->flags;
    bool is_own = strcmp(options_text(demo->app->config, "model.dir"), demo->model) == 0;
    struct view_options options = {.out = stdout,
                                   .is_screen =
                                       isatty(STDOUT_FILENO) == 1 && !options_bool(flags, "plain"),
                                   .head = demo->head,
                                   .note = is_own ? orders_note : NULL,
                                   .tap = demo->tap,
                                   .title = view_title,
                                   .context = demo};
    const char *page = options_text(demo->app->config, "http.listen");
    (void)snprintf(demo->head, sizeof demo->head,
                   "%s%s%s%s, a shop of %lld products and %lld users, model %s",
                   page[0] ? "the page: http://" : "", page, page[0] ? "/; " : "",
                   demo->broker ? "in-process broker (nothing is durable)"
                                : demo->settings.kafka.bootstrap_servers,
                   (long long)options_int(flags, "items"), (long long)options_int(flags, "users"),
                   pipeline_model_version(demo->pipeline));
    if (!options.is_screen) printf("freshet demo: %s\n", demo->head);
    demo->view = view_new(&options);
}

static bool tick(void *context, struct err *err)
{
    struct demo *demo = context;
    struct clock clock = {0};
    if (!demo->is_open) {
        /* People come in when the shop is ready to serve them: a group takes seconds to form. */
        if (pipeline_partitions(demo->pipeline) == 0) return true;
        if (!demo_feed_start(demo->feed, &demo->settings, pipeline_schemas(demo->pipeline), err))
            return false;
        demo->is_open = true;
    }
    view_update(demo->view, pipeline_counters(demo->pipeline), clock_wall_ms(&clock));
    return demo_feed_is_running(demo->feed, err);
}

/* ---- the whole ---- */

/* A store of its own for each run: the embedded broker forgets everything, so must the store. */
static bool config_finish(struct demo *demo, const char *work, struct err *err)
{
    struct options *config = demo->app->config;
    (void)snprintf(demo->state, sizeof demo->state, "%s/state-XXXXXX", work);
    if (!options_is_set(config, "state.dir")) {
        if (!mkdtemp(demo->state))
            return err_fatal(err, ERR_EXIT_DISK, "cannot make a folder in %s", work);
        if (!options_set(config, "state.dir", demo->state, "demo", err)) return false;
    } else {
        demo->state[0] = '\0';
    }
    if (!page_prepare(config, err)) return false;
    if (!options_is_set(config, "model.dir") &&
        !options_set(config, "model.dir", demo->model, "demo", err))
        return false;
    if (!options_is_set(config, "log.level")) log_init(LOG_LOGFMT, LOG_WARN, "");
    return settings_init(&demo->settings, config, err);
}

static bool demo_run(struct demo *demo, struct err *err)
{
    struct clock clock = {0};
    demo->tap = tap_new(TAP_CAPACITY);
    if (!pipeline_open(&demo->pipeline, &demo->settings, demo->tap, err)) return false;
    view_start(demo);
    demo->started_us = clock_mono_us(&clock);
    struct loop_options loop = {.pipeline = demo->pipeline,
                                .settings = &demo->settings,
                                .limit_ms = options_int(demo->app->flags, "seconds") * 1000,
                                .tick_ms = TICK_MS,
                                .tick = tick,
                                .context = demo,
                                .metrics_file = options_text(demo->app->config, "metrics.file"),
                                .metrics_ms =
                                    options_int(demo->app->config, "metrics.interval.ms")};
    bool ok = loop_run(&loop, err);
    view_summary(demo->view, pipeline_counters(demo->pipeline),
                 (double)(clock_mono_us(&clock) - demo->started_us) / 1e6);
    return ok;
}

/* A folder and what is in it. */
static void folder_remove(const char *folder)
{
    char path[PATH_MAX_BYTES];
    DIR *opened = opendir(folder);
    for (struct dirent *entry; opened && (entry = readdir(opened)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        int len = snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (len > 0 && (size_t)len < sizeof path && unlink(path) != 0) folder_remove(path);
    }
    if (opened) (void)closedir(opened);
    (void)rmdir(folder);
}

static bool run(struct app *app, struct err *err)
{
    struct demo demo = {.app = app};
    const struct options *flags = app->flags;
    const char *work = options_text(flags, "work");
    struct demo_feed_options feed = {.seed = (uint64_t)options_int(flags, "seed"),
                                     .users = (int)options_int(flags, "users"),
                                     .items = (int)options_int(flags, "items"),
                                     .past_events = options_int(flags, "past"),
                                     .events_per_second = options_number(flags, "rate")};
    if (!folder_make(work, err)) return false;
    demo.feed = demo_feed_new(&feed);
    bool ok = model_prepare(&demo, work, err) && broker_start(&demo, err) &&
              config_finish(&demo, work, err) && demo_run(&demo, err);
    demo_feed_stop(demo.feed); /* it encodes with the pipeline's schemas */
    pipeline_close(demo.pipeline);
    demo_feed_free(demo.feed);
    view_free(demo.view);
    tap_free(demo.tap);
    if (demo.settings.options) settings_fini(&demo.settings);
    if (demo.broker) kafka_embedded_stop(demo.broker);
    if (demo.state[0]) folder_remove(demo.state);
    return ok;
}

static const struct option_spec flags[] = {
    {.name = "seconds",
     .type = OPTION_INT,
     .fallback = "0",
     .max = 1e9,
     .unit = "s",
     .help = "Ends by itself after so many seconds; 0 runs until Ctrl-C.",
     .group = "Demo"},
    {.name = "rate",
     .type = OPTION_NUMBER,
     .fallback = "200",
     .min = 1,
     .max = 50000,
     .unit = "events/s",
     .help = "How busy the shop is.",
     .group = "Demo"},
    {.name = "items",
     .type = OPTION_INT,
     .fallback = "1000",
     .min = 50,
     .max = 100000,
     .unit = "products",
     .help = "How many products it has.",
     .group = "Demo"},
    {.name = "users",
     .type = OPTION_INT,
     .fallback = "2000",
     .min = 10,
     .max = 1000000,
     .unit = "users",
     .help = "How many people know it.",
     .group = "Demo"},
    {.name = "seed",
     .type = OPTION_INT,
     .fallback = "1",
     .max = 1e9,
     .help = "Another seed is another shop.",
     .group = "Demo"},
    {.name = "past",
     .type = OPTION_INT,
     .fallback = "150000",
     .min = 1000,
     .max = 1e8,
     .unit = "events",
     .help = "How much of the shop's past the model learns from, the first time.",
     .group = "Demo"},
    {.name = "work",
     .type = OPTION_TEXT,
     .fallback = ".cache/demo",
     .unit = "",
     .help = "Where the trained model is kept.",
     .group = "Demo"},
    {.name = "plain",
     .type = OPTION_BOOL,
     .fallback = "false",
     .help = "Lines instead of a screen, also on a terminal.",
     .group = "Demo"},
};

const struct verb verb_demo = {
    .name = "demo",
    .summary = "see it: a simulated shop, lists that change as people click",
    .usage = "freshet demo [--seconds N] [--rate N] [--set bootstrap.servers=localhost:9092]",
    .help = "Starts an in-process broker, a simulated shop whose people view, search, carry and "
            "buy, a model learnt from the shop's "
            "past (the first time: a minute), the pipeline, and the page at http://127.0.0.1:8080/ "
            "(http.listen); shows events/s, event-to-list "
            "latency, live quality beside "
            "popularity, and a few people's lists by product title. With bootstrap.servers it uses "
            "your broker instead, where its topics must be.\n\n"
            "  freshet demo\n"
            "  freshet demo --seconds 30 --rate 1000\n\n"
            "  freshet topics create --set application.id=demo --set "
            "bootstrap.servers=localhost:9092\n"
            "  freshet demo --set bootstrap.servers=localhost:9092",
    .flags = flags,
    .n_flags = sizeof flags / sizeof flags[0],
    .uses_config = true,
    .run = run,
};
