/* freshet simulate: events of a shop that does not exist, into a topic or a file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/app.h"
#include "app/feeding.h"
#include "app/shop.h"
#include "base/clock.h"
#include "emit/emit.h"

enum { CLOSE_MS = 120000, ITEM_BYTES_MAX = 64 * 1024, PROGRESS_EVERY = 256 };

struct simulation {
    struct feeding feeding;
    struct shop *shop;
    struct emit_feed *items; /* NULL: item records are not sent */
    struct buf item;
    struct pacer pacer;
    struct str tenant;
    bool by_rate; /* paced by count, else by simulated time */
    uint64_t events, wanted, item_records;
    int64_t start_ms, last_ms;
};

/* ---- options ---- */

/* Days since 1970 of a date (proleptic Gregorian; Hinnant, "chrono-compatible low-level date
 * algorithms"). */
static int64_t days_from_date(int64_t y, int64_t m, int64_t d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year = y - era * 400;
    int64_t day = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + year * 365 + year / 4 - year / 100 + day - 719468;
}

/* "now", milliseconds since 1970, or YYYY-MM-DD (midnight, UTC). */
static bool parse_start(const char *text, int64_t *start_ms, struct err *err)
{
    struct clock clock = {0};
    int year, month, day, used = 0;
    char *end;
    if (strcmp(text, "now") == 0) {
        *start_ms = clock_wall_ms(&clock);
        return true;
    }
    if (sscanf(text, "%4d-%2d-%2d%n", &year, &month, &day, &used) == 3 && text[used] == '\0' &&
        month >= 1 && month <= 12 && day >= 1 && day <= 31) {
        *start_ms = days_from_date(year, month, day) * 86400000;
        return true;
    }
    *start_ms = strtoll(text, &end, 10);
    if (end != text && *end == '\0' && *start_ms > 0) return true;
    return err_fatal(
        err, ERR_EXIT_USAGE,
        "--start is `now`, a date like 2025-01-06 or milliseconds since 1970, not '%.40s'", text);
}

static bool make_shop(struct simulation *sim, const struct options *flags, struct err *err)
{
    struct shop_options options = shop_options_default();
    double rate = options_number(flags, "rate");
    double speed = options_number(flags, "speed");
    if (rate > 0 && speed > 0) {
        return err_fatal(err, ERR_EXIT_USAGE,
                         "--rate and --speed are two ways of pacing: give one of them");
    }
    options.seed = (uint64_t)options_int(flags, "seed");
    options.users = (int)options_int(flags, "users");
    options.items = (int)options_int(flags, "items");
    options.bots = options_number(flags, "bots");
    options.anonymous = options_number(flags, "anonymous");
    options.events_per_second = options_number(flags, "events-per-second");
    if (rate > 0 && !(options.events_per_second > 0)) options.events_per_second = rate;
    if (options_is_set(flags, "start") &&
        !parse_start(options_text(flags, "start"), &options.start_ms, err))
        return false;
    sim->start_ms = options.start_ms;
    sim->by_rate = rate > 0;
    sim->wanted = (uint64_t)options_int(flags, "events");
    sim->tenant = str_of(options_text(flags, "tenant"));
    sim->shop = shop_new(&options);
    pacer_start(&sim->pacer, rate > 0 ? rate : speed);
    return true;
}

/* Kafka timestamps of simulated events are old ones, which a topic's retention deletes: so the time
 * of sending is put there, unless the records must be the same each time or differ from their event
 * times. */
static bool use_sending_time(const struct options *flags)
{
    int timestamps = options_enum(flags, "timestamps");
    bool exact = options_text(flags, "flat")[0] != '\0' || options_number(flags, "future") > 0;
    return timestamps == 2 || (timestamps == 0 && !exact);
}

static struct feeding_options feeding_options_of(const struct options *flags)
{
    return (struct feeding_options){
        .to = options_text(flags, "to"),
        .topic = options_text(flags, "topic"),
        .items_topic = options_text(flags, "items-topic"),
        .flat = options_text(flags, "flat"),
        .format = options_enum(flags, "format"),
        .quiet = options_bool(flags, "quiet"),
        .timestamps_now = use_sending_time(flags),
        .inject = {.seed = (uint64_t)options_int(flags, "seed"),
                   .duplicates = options_number(flags, "duplicates"),
                   .late = options_number(flags, "late"),
                   .future = options_number(flags, "future"),
                   .poison = options_number(flags, "poison")},
    };
}

/* ---- running ---- */

static bool put_item(struct simulation *sim, struct item *item, int64_t time_ms, struct err *err)
{
    char key[512];
    if (!sim->items) return true;
    item->tenant = sim->tenant;
    int n = item->tenant.len ? snprintf(key, sizeof(key), "%.*s:%.*s", STR_ARG(item->tenant),
                                        STR_ARG(item->item_id))
                             : snprintf(key, sizeof(key), "%.*s", STR_ARG(item->item_id));
    buf_reset(&sim->item);
    schemas_item_encode(sim->feeding.schemas, item, &sim->item);
    sim->item_records++;
    struct str value = {(const char *)sim->item.data, sim->item.len};
    return emit_feed_send(sim->items, (struct str){key, (size_t)n}, value, time_ms, err);
}

static bool play(struct simulation *sim, struct err *err)
{
    struct shop_output output;
    feeding_progress_begin(&sim->feeding, "simulate", "events", sim->wanted);
    while (sim->events < sim->wanted && !feeding_is_stopped()) {
        shop_next(sim->shop, &output);
        if (output.kind == SHOP_ITEM) {
            if (!put_item(sim, &output.item, output.time_ms, err)) return false;
            continue;
        }
        double due =
            sim->by_rate ? (double)sim->events : (double)(output.time_ms - sim->start_ms) / 1000;
        while (!pacer_wait(&sim->pacer, due) && !feeding_is_stopped()) {
        }
        output.event.tenant = sim->tenant;
        if (!sink_event(sim->feeding.sink, &output.event, err)) return false;
        sim->last_ms = output.time_ms;
        sim->events++;
        if (sim->events % PROGRESS_EVERY == 0) feeding_progress(&sim->feeding, sim->events);
    }
    feeding_progress(&sim->feeding, sim->events);
    return true;
}

static void print_injected(const struct simulation *sim)
{
    struct inject_counts counts = inject_counts(sink_inject(sim->feeding.sink));
    uint64_t poison = 0;
    for (int k = 0; k < INJECT_POISON_COUNT; k++)
        poison += counts.poison[k];
    if (counts.duplicates + counts.late + counts.future + poison == 0) return;
    printf("  on purpose: %llu duplicates, %llu late, %llu from the future, %llu poisoned",
           (unsigned long long)counts.duplicates, (unsigned long long)counts.late,
           (unsigned long long)counts.future, (unsigned long long)poison);
    const char *separator = " (";
    for (int k = 0; k < INJECT_POISON_COUNT; k++) {
        if (counts.poison[k] == 0) continue;
        printf("%s%s %llu", separator, inject_poison_name(k), (unsigned long long)counts.poison[k]);
        separator = ", ";
    }
    printf("%s\n", poison ? ")" : "");
}

static void print_summary(const struct simulation *sim)
{
    double seconds = feeding_seconds(&sim->feeding);
    printf("simulated %llu events, %.1f hours of shop time, in %.1f s (%.0f events/s)\n",
           (unsigned long long)sim->events, (double)(sim->last_ms - sim->start_ms) / 3.6e6, seconds,
           (double)sim->events / (seconds > 0 ? seconds : 1));
    print_injected(sim);
    if (sim->feeding.target != SINK_TO_TOPIC) return;
    printf("  topic %s: %llu records; item records: %llu\n", sim->feeding.topic,
           (unsigned long long)sink_records(sim->feeding.sink),
           (unsigned long long)sim->item_records);
    feeding_next_print(&sim->feeding);
}

static bool open_items(struct simulation *sim, const struct options *flags, struct err *err)
{
    const char *topic = options_text(flags, "items-topic");
    buf_init(&sim->item, ITEM_BYTES_MAX);
    if (sim->feeding.target != SINK_TO_TOPIC || topic[0] == '\0') return true;
    if (emit_feed_open(&sim->items, &sim->feeding.settings.kafka, topic, err)) return true;
    return err_wrap(err, "item records (--items-topic '' leaves them out)");
}

static bool run(struct app *app, struct err *err)
{
    struct simulation sim = {0};
    if (!options_is_set(app->flags, "items-topic") &&
        !options_set(app->flags, "items-topic", options_text(app->config, "items.topic"),
                     "items.topic", err))
        return false;
    struct feeding_options options = feeding_options_of(app->flags);
    if (!feeding_open(&sim.feeding, app, &options, err)) return false;
    bool ok = open_items(&sim, app->flags, err) && make_shop(&sim, app->flags, err) &&
              play(&sim, err) && sink_finish(sim.feeding.sink, err);
    if (sim.items) {
        struct err second = ERR_INIT;
        bool closed = emit_feed_close(sim.items, ok ? CLOSE_MS : 0, ok ? err : &second);
        ok = ok && closed;
    }
    feeding_progress_end(&sim.feeding);
    if (ok) print_summary(&sim);
    shop_free(sim.shop);
    buf_fini(&sim.item);
    feeding_close(&sim.feeding);
    return ok;
}

/* ---- the verb ---- */

static const char group_shop[] = "The shop";
static const char group_out[] = "Where to";
static const char group_pace[] = "Pace";
static const char group_faults[] = "Faults on purpose";

/* {name, type, default, min, max, unit, values, help, group} */
static const struct option_spec flags[] = {
    /* clang-format off */
    {"events", OPTION_INT, "100000", 1, 1e12, "events", NULL, "How many.", group_shop},
    {"users", OPTION_INT, "2000", 1, 1e7, "users", NULL, "Registered users.", group_shop},
    {"items", OPTION_INT, "1000", 20, 5e6, "items", NULL, "Products, those launched later included.", group_shop},
    {"seed", OPTION_INT, "1", 0, 1e15, "", NULL, "Another seed is another shop.", group_shop},
    {"start", OPTION_TEXT, "2025-01-06", 0, 0, "", NULL,
     "Event time of the beginning: `now`, a date (UTC) or milliseconds since 1970.", group_shop},
    {"events-per-second", OPTION_NUMBER, "0", 0, 1e7, "", NULL,
     "Events for each second of shop time, mean over a day. 0: users / 2000, or --rate.", group_shop},
    {"bots", OPTION_NUMBER, "0.001", 0, 1, "", NULL, "Share of sessions by bots, which are long.", group_shop},
    {"anonymous", OPTION_NUMBER, "0.3", 0, 1, "", NULL, "Share of sessions that begin without login.", group_shop},
    {"tenant", OPTION_TEXT, "", 0, 0, "", NULL, "Tenant of all events and items.", group_shop},
    {"to", OPTION_TEXT, "topic", 0, 0, "", NULL, "`topic`, a file (gzip when it ends in .gz), or `none`.", group_out},
    {"format", OPTION_ENUM, "auto", 0, 0, "", FEEDING_FORMATS,
     "avro or json for the topic; json, events (CSV), sessions (TSV of views), pairs or lines (a session of views each) for a file. auto: value.format of "
     "the configuration for the topic, json for a file.", group_out},
    {"topic", OPTION_TEXT, "", 0, 0, "", NULL, "Events topic; default: the first of events.topics.", group_out},
    {"items-topic", OPTION_TEXT, "freshet.items", 0, 0, "", NULL,
     "Topic of the item records, with --to topic; '' leaves them out. Default: items.topic of the configuration.", group_out},
    {"flat", OPTION_TEXT, "", 0, 0, "", NULL,
     "Also write every record to this file, one JSON object a line: key and value as base64, timestamp, what was done "
     "to it.", group_out},
    {"quiet", OPTION_BOOL, "false", 0, 0, "", NULL, "No progress bar.", group_out},
    {"rate", OPTION_NUMBER, "0", 0, 1e7, "events/s", NULL, "Send so many a second, by plan. 0: as fast as possible.", group_pace},
    {"speed", OPTION_NUMBER, "0", 0, 1e9, "", NULL, "Play shop time so many times faster than real time. 0: do not wait.", group_pace},
    {"timestamps", OPTION_ENUM, "auto", 0, 0, "", "auto|event|now",
     "Kafka timestamps: the event time, or the time of sending, which keeps a topic's retention from deleting old events. "
     "auto: event with --flat or --future, else now.", group_pace},
    {"duplicates", OPTION_NUMBER, "0", 0, 1, "", NULL, "Share of events that are sent twice.", group_faults},
    {"late", OPTION_NUMBER, "0", 0, 1, "", NULL, "Share of events that are sent up to 300 records later.", group_faults},
    {"future", OPTION_NUMBER, "0", 0, 1, "", NULL, "Share of events whose time is a day ahead.", group_faults},
    {"poison", OPTION_NUMBER, "0", 0, 1, "", NULL, "Bad records of every kind beside the events, as a share of them.", group_faults},
    /* clang-format on */
};

const struct verb verb_simulate = {
    .name = "simulate",
    .summary = "put the events of a simulated shop into a topic or a file",
    .usage = "freshet simulate [--events N] [--to topic|FILE|none] [--rate R | --speed S] [--set "
             "key=value]...",
    .help = "A shop with named products, sessions with an intent, carts, orders, refunds, bots and "
            "nights; the same seed gives\n"
            "the same events.\n\n"
            "  freshet simulate --events 100000 --set bootstrap.servers=localhost:9092\n"
            "  freshet simulate --rate 200 --events 100000 --start now     # like a live shop\n"
            "  freshet simulate --to shop.csv.gz --format events           # a log for `freshet "
            "train`\n"
            "  freshet simulate --poison 0.01 --duplicates 0.05 --late 0.05 --flat sent.jsonl   # "
            "for fault tests",
    .flags = flags,
    .n_flags = sizeof(flags) / sizeof(flags[0]),
    .uses_config = true,
    .run = run,
};
