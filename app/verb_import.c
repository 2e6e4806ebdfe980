/* freshet import: a log file into the events topic. */
#include <stdio.h>
#include <string.h>

#include "app/app.h"
#include "app/feeding.h"
#include "app/import.h"
#include "base/clock.h"

enum { PROGRESS_EVERY = 256, READ_UNITS = 1000 };
static const int64_t untimed_start_ms = 1577836800000;  /* 2020-01-01: for logs without times */
static const int64_t usual_retention_ms = 7 * 86400000; /* a topic's default retention.ms */

static bool read_options(const struct options *flags, struct import_options *options,
                         struct err *err)
{
    const char *format = options_text(flags, "format");
    const char *type = options_text(flags, "type");
    const char *map = options_text(flags, "map");
    const char *id = options_text(flags, "id-prefix");
    if (!log_format_parse(format, &options->kind)) {
        return err_fatal(err, ERR_EXIT_USAGE,
                         "--format is pairs, lines, sessions or events, not '%.40s'", format);
    }
    if (!schemas_event_type_parse(str_of(type), &options->type)) {
        return err_fatal(err, ERR_EXIT_USAGE,
                         "--type '%.40s' is no event type: click, view, purchase, ...", type);
    }
    if (map[0] && options->kind != LOGFILE_EVENTS) {
        return err_fatal(err, ERR_EXIT_USAGE,
                         "--map is for --format events: the columns of %s are fixed", format);
    }
    options->path = options_text(flags, "input");
    options->map = map[0] ? map : NULL;
    options->n_skip = options_list(flags, "skip-items", &options->skip_items);
    options->name = id[0] ? id : NULL;
    options->tenant = options_text(flags, "tenant");
    options->start_ms = untimed_start_ms;
    options->limit = options_int(flags, "limit");
    options->strict = options_bool(flags, "strict");
    return true;
}

struct importing {
    struct feeding feeding;
    struct import *import;
    uint64_t events, types[EVENT_TYPE_COUNT];
    int64_t first_ms, last_ms;
    double speed;
};

static void show_reading(void *context, double share, uint64_t rows)
{
    struct importing *importing = context;
    (void)rows;
    feeding_progress(&importing->feeding, (uint64_t)(share * READ_UNITS));
}

static bool send_all(struct importing *importing, struct err *err)
{
    struct event event;
    struct pacer pacer;
    pacer_start(&pacer, importing->speed);
    feeding_progress_begin(&importing->feeding, "send", "events",
                           import_event_count(importing->import));
    while (!feeding_is_stopped() && import_next(importing->import, &event)) {
        if (importing->events == 0) importing->first_ms = event.time_ms;
        importing->last_ms = event.time_ms;
        double due = (double)(event.time_ms - importing->first_ms) / 1000;
        while (!pacer_wait(&pacer, due) && !feeding_is_stopped()) {
        }
        if (!sink_event(importing->feeding.sink, &event, err)) return false;
        importing->types[event.type]++;
        if (++importing->events % PROGRESS_EVERY == 0)
            feeding_progress(&importing->feeding, importing->events);
    }
    feeding_progress(&importing->feeding, importing->events);
    return sink_finish(importing->feeding.sink, err);
}

/* ---- the end ---- */

static void print_bad_rows(const struct importing *importing)
{
    for (int bad = 0; bad < IMPORT_BAD_COUNT; bad++) {
        uint64_t n = import_bad_count(importing->import, (enum import_bad)bad);
        if (n)
            printf("  rows left out, %s: %llu\n", import_bad_name((enum import_bad)bad),
                   (unsigned long long)n);
    }
    for (int i = 0; import_bad_shown(importing->import, i); i++) {
        printf("    %s\n", import_bad_shown(importing->import, i));
    }
}

static void print_summary(const struct importing *importing, const char *path)
{
    const struct feeding *feeding = &importing->feeding;
    double seconds = feeding_seconds(feeding);
    struct clock clock = {0};
    printf("imported %s: %llu rows, %llu events in %.1f s (%.0f events/s)\n", path,
           (unsigned long long)import_row_count(importing->import),
           (unsigned long long)importing->events, seconds,
           (double)importing->events / (seconds > 0 ? seconds : 1));
    for (int type = 0; type < EVENT_TYPE_COUNT; type++) {
        if (importing->types[type] == 0) continue;
        printf("  %-16s %llu\n", schemas_event_type_name((enum event_type)type),
               (unsigned long long)importing->types[type]);
    }
    print_bad_rows(importing);
    if (feeding->target != SINK_TO_TOPIC || importing->events == 0) return;
    if (clock_wall_ms(&clock) - importing->first_ms > usual_retention_ms) {
        printf("note: Kafka's timestamps are the event times, and the oldest is over 7 days old: "
               "unless the topic has\n"
               "      retention.ms=-1, the broker will delete these records (--timestamps now "
               "avoids it)\n");
    }
    feeding_next_print(feeding);
}

static bool run(struct app *app, struct err *err)
{
    struct import_options options = {0};
    struct importing importing = {.speed = options_number(app->flags, "speed")};
    const struct options *flags = app->flags;
    struct feeding_options feeding = {.to = options_text(flags, "to"),
                                      .topic = options_text(flags, "topic"),
                                      .items_topic = "",
                                      .flat = options_text(flags, "flat"),
                                      .format = options_enum(flags, "value-format"),
                                      .quiet = options_bool(flags, "quiet"),
                                      .timestamps_now = options_enum(flags, "timestamps") == 1};
    if (!read_options(flags, &options, err)) return false;
    if (!feeding_open(&importing.feeding, app, &feeding, err)) return false;
    feeding_progress_begin(&importing.feeding, "read", "", READ_UNITS);
    bool ok = import_open(&importing.import, &options, show_reading, &importing, err);
    if (ok) feeding_progress(&importing.feeding, READ_UNITS);
    ok = ok && send_all(&importing, err);
    feeding_progress_end(&importing.feeding);
    if (ok) print_summary(&importing, options.path);
    import_close(importing.import);
    feeding_close(&importing.feeding);
    return ok;
}

/* ---- the verb ---- */

static const char group_log[] = "The log";
static const char group_out[] = "Where to";

/* {name, type, default, min, max, unit, values, help, group} */
static const struct option_spec flags[] = {
    /* clang-format off */
    {"input", OPTION_TEXT, NULL, 0, 0, "", NULL, "The log file; gzip is recognised.", group_log},
    {"format", OPTION_TEXT, "events", 0, 0, "", NULL,
     "pairs (`user item` a line), lines (a session a line), sessions (TSV SessionId ItemId Time) or events (CSV with a "
     "header).", group_log},
    {"map", OPTION_TEXT, "", 0, 0, "", NULL,
     "Columns of events: user=visitorid,item=itemid,type=event,time=timestamp, and order, quantity, price. "
     "user=A|B takes the first that is not empty; type==purchase is the same for every row.", group_log},
    {"type", OPTION_TEXT, "click", 0, 0, "", NULL, "Event type of rows that have none.", group_log},
    {"skip-items", OPTION_LIST, "", 0, 0, "", NULL,
     "Item ids that are no products (POST,D,M,BANK CHARGES,gift_*): their rows are left out.", group_log},
    {"limit", OPTION_INT, "0", 0, 1e15, "rows", NULL, "Read so many rows at most. 0: all.", group_log},
    {"strict", OPTION_BOOL, "false", 0, 0, "", NULL, "End at the first bad row (exit 9) before anything is sent.", group_log},
    {"id-prefix", OPTION_TEXT, "", 0, 0, "", NULL,
     "Event ids are <prefix>-<line>. Default: the file's name and a checksum, so that rows "
     "that come twice are known again: among the last 32 events of their user, not further back.",
     group_log},
    {"to", OPTION_TEXT, "topic", 0, 0, "", NULL, "`topic`, a file (gzip when it ends in .gz), or `none` (only checks the log).",
     group_out},
    {"topic", OPTION_TEXT, "", 0, 0, "", NULL, "Events topic; default: the first of events.topics.", group_out},
    {"value-format", OPTION_ENUM, "auto", 0, 0, "", FEEDING_FORMATS,
     "avro or json for the topic; json, events, sessions, pairs or lines for a file. auto: value.format of the configuration for "
     "the topic, json for a file.", group_out},
    {"tenant", OPTION_TEXT, "", 0, 0, "", NULL, "Tenant of all events.", group_out},
    {"speed", OPTION_NUMBER, "0", 0, 1e9, "", NULL,
     "Replay at so many times real time, by plan. 0: as fast as possible.", group_out},
    {"timestamps", OPTION_ENUM, "event", 0, 0, "", "event|now",
     "Kafka timestamps: the event time, or the time of sending.", group_out},
    {"quiet", OPTION_BOOL, "false", 0, 0, "", NULL, "No progress bar.", group_out},
    {"flat", OPTION_TEXT, "", 0, 0, "", NULL, "Also write every record to this file, one JSON object a line.", group_out},
    /* clang-format on */
};

const struct verb verb_import = {
    .name = "import",
    .summary = "put a log file of clicks and orders into the events topic",
    .usage = "freshet import --input FILE --format pairs|lines|sessions|events [--map ...] [--set "
             "key=value]...",
    .help = "Reads the log, sorts it by time and sends it: consecutive rows of one order become "
            "one event, negative quantities\n"
            "refunds. Bad rows are counted by reason and the first are shown.\n\n"
            "  freshet import --input clicks.tsv.gz --format sessions --set "
            "bootstrap.servers=localhost:9092\n"
            "  freshet import --input events.csv --map "
            "user=visitorid,item=itemid,type=event,time=timestamp\n"
            "  freshet import --input online_retail.csv.gz --skip-items "
            "POST,D,M,DOT,S,CRUK,C2,PADS,B,BANK\\ CHARGES,AMAZONFEE \\\n"
            "      --map "
            "'user=CustomerID|InvoiceNo,item=StockCode,type==purchase,time=InvoiceDate,order="
            "InvoiceNo,quantity=Quantity,price=UnitPrice'\n"
            "  freshet import --input clicks.csv --to none --strict       # only checks the file",
    .flags = flags,
    .n_flags = sizeof(flags) / sizeof(flags[0]),
    .uses_config = true,
    .run = run,
};
