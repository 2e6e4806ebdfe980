/* freshet dlq list | replay: the dead letters, looked at and sent back to where they came from.
 *
 *     pass 1   the whole topic: notes of earlier replays, source topics of the letters that are asked for
 *     pass 2   the letters themselves: printed, or sent in chunks: originals -> acknowledged -> notes -> acknowledged
 *
 * A kill between the two acknowledgements of a chunk leaves letters that are replayed and do not say so. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/app.h"
#include "app/letters.h"
#include "app/settings.h"
#include "app/sink.h"
#include "app/sweep.h"
#include "app/when.h"
#include "base/clock.h"
#include "base/suggest.h"
#include "emit/emit.h"
#include "serve/serve.h"

enum {
    NAMED_MAX = 256,   /* letters named on the command line */
    REASONS_MAX = 32,  /* of --reason */
    SOURCES_MAX = 64,  /* topics that letters came from */
    CHUNK_MAX = 100,   /* letters sent together */
    LINE_MAX = 1 << 16 /* bytes of one letter in the list */
};

/* A letter named on the command line. */
struct named {
    int32_t partition;
    int64_t offset;
    bool is_found;
};

struct source_topic {
    char name[LETTER_SOURCE_MAX];
    int partitions;
};

/* One call of the verb. */
struct dlq {
    const struct settings *settings;
    const char *topic; /* of the dead letters */
    /* which letters */
    const char *const *reasons; /* (n_reasons); none: all */
    int n_reasons;
    const char *from; /* "" or the topic of the original */
    int64_t since_ms, until_ms;
    struct named named[NAMED_MAX];
    int n_named;
    int64_t max; /* 0: no bound */
    /* what to do */
    bool is_replay, dry, again, json;
    /* what was learnt */
    struct letter_notes *notes;
    struct source_topic sources[SOURCES_MAX];
    int n_sources;
    int64_t n_listed, n_replayed, n_before, n_left_out, n_other;
    struct buf line;
    /* replay */
    struct emit_copier *copier;
    struct pacer pacer;
    struct emit_copy copies[CHUNK_MAX]; /* (n_copies) */
    struct letter letters[CHUNK_MAX];   /* (n_copies) */
    char origins[CHUNK_MAX][LETTER_SOURCE_MAX];
    int n_copies, chunk;
};

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    (void)signal(number, SIG_DFL);
    stopped = 1;
}

/* ---- which letters ---- */

/* By where it stands, or by where it stood first. */
static bool is_named(struct dlq *dlq, const struct letter *letter)
{
    for (int i = 0; i < dlq->n_named; i++) {
        const struct named *named = &dlq->named[i];
        if (named->partition != letter->record->partition ||
            (named->offset != letter->record->offset && named->offset != letter->first))
            continue;
        dlq->named[i].is_found = true;
        return true;
    }
    return dlq->n_named == 0;
}

static bool is_wanted(struct dlq *dlq, const struct letter *letter)
{
    bool has_reason = dlq->n_reasons == 0;
    if (letter->kind != LETTER || !is_named(dlq, letter)) return false;
    if (dlq->from[0] && strcmp(letter->topic, dlq->from) != 0) return false;
    for (int i = 0; i < dlq->n_reasons; i++)
        has_reason = has_reason || strcmp(dlq->reasons[i], letter->reason) == 0;
    return has_reason && letter->record->timestamp_ms >= dlq->since_ms &&
           letter->record->timestamp_ms < dlq->until_ms;
}

/* ---- pass 1 ---- */

static bool source_note(struct dlq *dlq, const char *name, struct err *err)
{
    for (int i = 0; i < dlq->n_sources; i++)
        if (strcmp(dlq->sources[i].name, name) == 0) return true;
    if (dlq->n_sources == SOURCES_MAX)
        return err_fatal(err, ERR_EXIT_USAGE,
                         "the letters come from more than %d topics: name one with --topic",
                         SOURCES_MAX);
    (void)snprintf(dlq->sources[dlq->n_sources++].name, LETTER_SOURCE_MAX, "%s", name);
    return true;
}

static bool learn(void *context, const struct ingest_follow_batch *batch, struct err *err)
{
    struct dlq *dlq = context;
    struct letter letter;
    for (int i = 0; i < batch->n; i++) {
        if (batch->records[i].kind != FOLLOW_RECORD) continue;
        letter_read(&batch->records[i], &letter);
        dlq->n_other += letter.kind == LETTER_OTHER;
        if (!letter_notes_add(dlq->notes, &letter, err)) return false;
        if (is_wanted(dlq, &letter) && !source_note(dlq, letter.topic, err)) return false;
    }
    return true;
}

/* The letters go to topics that are there. */
static bool sources_check(struct dlq *dlq, struct err *err)
{
    for (int i = 0; i < dlq->n_sources; i++) {
        struct kafka_topic_info info;
        const char *name = dlq->sources[i].name;
        if (!kafka_topic_describe(&dlq->settings->kafka, &name, 1, &info, SWEEP_TIMEOUT_MS, err))
            return false;
        if (info.partitions == 0)
            return err_fatal(err, ERR_EXIT_TOPIC,
                             "letters came from topic '%s', which does not exist any more: create "
                             "it, or leave them out with --topic",
                             name);
        dlq->sources[i].partitions = info.partitions;
    }
    return true;
}

static bool named_check(const struct dlq *dlq, struct err *err)
{
    for (int i = 0; i < dlq->n_named; i++)
        if (!dlq->named[i].is_found)
            return err_fatal(err, ERR_EXIT_USAGE,
                             "there is no dead letter %s/%d/%" PRId64
                             ": `freshet dlq list` shows those that there are",
                             dlq->topic, (int)dlq->named[i].partition, dlq->named[i].offset);
    return true;
}

/* ---- list ---- */

static void line_json(struct dlq *dlq, const struct letter *letter, const char *replayed)
{
    const struct ingest_follow_record *record = letter->record;
    struct serve_json json = serve_json_begin(&dlq->line);
    serve_json_object(&json, NULL);
    serve_json_cstr(&json, "topic", dlq->topic);
    serve_json_int(&json, "partition", record->partition);
    serve_json_int(&json, "offset", record->offset);
    serve_json_cstr(&json, "reason", letter->reason);
    serve_json_cstr(&json, "stage", letter->stage);
    serve_json_cstr(&json, "error", letter->text);
    serve_json_int(&json, "time_ms", record->timestamp_ms);
    serve_json_int(&json, "bytes",
                   letter->left_out >= 0 ? letter->left_out : (int64_t)record->value.len);
    serve_json_object(&json, "source");
    serve_json_cstr(&json, "topic", letter->topic);
    serve_json_int(&json, "partition", letter->partition);
    serve_json_int(&json, "offset", letter->offset);
    serve_json_end(&json);
    serve_json_cstr(&json, "replayed_to", replayed);
    serve_json_end(&json);
    buf_push_byte(&dlq->line, '\n');
}

static void letter_print(struct dlq *dlq, const struct letter *letter)
{
    const struct ingest_follow_record *record = letter->record;
    const char *replayed = letter_notes_find(dlq->notes, letter);
    char time[WHEN_TEXT_MAX];
    buf_reset(&dlq->line);
    if (dlq->json)
        line_json(dlq, letter, replayed);
    else
        buf_push_format(&dlq->line, "%s/%d/%" PRId64 "  %s  %s  from %s/%d/%" PRId64 "  %s%s%s\n",
                        dlq->topic, (int)record->partition, record->offset, letter->reason,
                        when_print(record->timestamp_ms, time), letter->topic,
                        (int)letter->partition, letter->offset, letter->text,
                        replayed ? "  replayed to " : "", replayed ? replayed : "");
    (void)fwrite(dlq->line.data, 1, dlq->line.len, stdout);
    dlq->n_listed++;
    dlq->n_before += replayed != NULL;
}

/* ---- replay ---- */

/* What was sent and acknowledged is noted, also when something else of the chunk failed. */
static bool chunk_note(struct dlq *dlq, struct err *err)
{
    struct emit_copy notes[CHUNK_MAX];
    char places[CHUNK_MAX][LETTER_SOURCE_MAX];
    int n = 0;
    for (int i = 0; i < dlq->n_copies; i++) {
        const struct emit_copy *copy = &dlq->copies[i];
        if (!copy->is_acked) continue;
        (void)snprintf(places[n], sizeof places[n], "%.*s/%d/%" PRId64, LETTER_SOURCE_MAX - 40,
                       copy->topic, (int)copy->at_partition, copy->at_offset);
        notes[n] = (struct emit_copy){.topic = dlq->topic,
                                      .partition = dlq->letters[i].record->partition,
                                      .extra = {{LETTERS_REPLAYED, str_of(dlq->origins[i])},
                                                {LETTERS_TO, str_of(places[n])}}};
        n++;
    }
    if (!emit_copy_send(dlq->copier, notes, n, err)) return false;
    for (int i = 0, k = 0; i < dlq->n_copies; i++)
        if (dlq->copies[i].is_acked) printf("replayed %s to %s\n", dlq->origins[i], places[k++]);
    dlq->n_replayed += n;
    return true;
}

static bool chunk_send(struct dlq *dlq, struct err *err)
{
    struct err failure = ERR_INIT, ignored = ERR_INIT;
    if (dlq->n_copies == 0) return true;
    while (!stopped && !pacer_wait(&dlq->pacer, (double)dlq->n_replayed))
        continue;
    bool ok = true;
    if (!stopped) {
        ok = emit_copy_send(dlq->copier, dlq->copies, dlq->n_copies, &failure);
        bool noted = chunk_note(dlq, ok ? &failure : &ignored);
        ok = ok && noted;
    }
    dlq->n_copies = 0;
    if (!ok) *err = failure;
    return ok && !stopped;
}

static int partition_of(const struct dlq *dlq, const struct letter *letter)
{
    for (int i = 0; i < dlq->n_sources; i++)
        if (strcmp(dlq->sources[i].name, letter->topic) == 0)
            return letter->partition < dlq->sources[i].partitions ? letter->partition : -1;
    return -1;
}

/* The letter joins the chunk, or is left alone and said why. */
static bool letter_replay(struct dlq *dlq, const struct letter *letter, struct err *err)
{
    const struct ingest_follow_record *record = letter->record;
    const char *before = letter_notes_find(dlq->notes, letter);
    char *origin = dlq->origins[dlq->n_copies];
    (void)snprintf(origin, LETTER_SOURCE_MAX, "%s/%d/%" PRId64, dlq->topic, (int)record->partition,
                   letter->first);
    if (letter->left_out >= 0) {
        dlq->n_left_out++;
        printf("left alone %s: its %" PRId64
               " bytes are not in the dead letter; the original is %s/%d/%" PRId64 "\n",
               origin, letter->left_out, letter->topic, (int)letter->partition, letter->offset);
        return true;
    }
    if (before && !dlq->again) {
        dlq->n_before++;
        printf("left alone %s: replayed before, to %s\n", origin, before);
        return true;
    }
    if (dlq->dry) {
        dlq->n_replayed++;
        printf("would replay %s to %s/%d: %s: %s\n", origin, letter->topic, (int)letter->partition,
               letter->reason, letter->text);
        return true;
    }
    dlq->letters[dlq->n_copies] = *letter;
    dlq->copies[dlq->n_copies] = (struct emit_copy){.topic = dlq->letters[dlq->n_copies].topic,
                                                    .partition = partition_of(dlq, letter),
                                                    .key = record->key,
                                                    .value = record->value,
                                                    .timestamp_ms = record->timestamp_ms,
                                                    .message = record->message,
                                                    .n_headers = letter->n_original,
                                                    .extra = {{LETTERS_ORIGIN, str_of(origin)}}};
    return ++dlq->n_copies < dlq->chunk || chunk_send(dlq, err);
}

/* ---- pass 2 ---- */

static int64_t handled(const struct dlq *dlq)
{
    return dlq->is_replay ? dlq->n_replayed + dlq->n_copies : dlq->n_listed;
}

static bool handle(void *context, const struct ingest_follow_batch *batch, struct err *err)
{
    struct dlq *dlq = context;
    struct letter letter;
    bool goes_on = true;
    for (int i = 0; i < batch->n && goes_on; i++) {
        if (batch->records[i].kind != FOLLOW_RECORD) continue;
        letter_read(&batch->records[i], &letter);
        if (!is_wanted(dlq, &letter) || !letter_notes_is_last(dlq->notes, &letter)) continue;
        if (dlq->max > 0 && handled(dlq) >= dlq->max) {
            goes_on = false;
        } else if (dlq->is_replay) {
            if (!letter_replay(dlq, &letter, err)) return false;
        } else {
            letter_print(dlq, &letter);
        }
    }
    /* The records live until the batch ends. */
    return chunk_send(dlq, err) && goes_on;
}

static void summary(const struct dlq *dlq)
{
    fflush(stdout);
    if (!dlq->is_replay) {
        fprintf(stderr, "%" PRId64 " dead letters in %s, %" PRId64 " of them replayed already%s\n",
                dlq->n_listed, dlq->topic, dlq->n_before,
                dlq->n_listed > dlq->n_before
                    ? "; `freshet dlq replay --dry-run` with the same flags shows what it would do"
                    : "");
    } else {
        fprintf(stderr,
                "%" PRId64 " %s, %" PRId64 " left alone as replayed before%s, %" PRId64
                " without their value%s\n",
                dlq->n_replayed, dlq->dry ? "would be replayed" : "replayed and acknowledged",
                dlq->n_before, dlq->n_before ? " (--again replays them)" : "", dlq->n_left_out,
                stopped ? "; stopped by a signal, the same command goes on" : "");
    }
    if (dlq->n_other > 0)
        fprintf(stderr, "%" PRId64 " records of %s are no dead letters of freshet: left alone\n",
                dlq->n_other, dlq->topic);
}

static bool work(struct dlq *dlq, struct err *err)
{
    const struct kafka_config *kafka = &dlq->settings->kafka;
    struct ingest_follow_options options = {.topics = &dlq->topic,
                                            .n_topics = 1,
                                            .batch_max = SWEEP_BATCH,
                                            .timeout_ms = SWEEP_TIMEOUT_MS};
    if (!sweep(kafka, &options, learn, dlq, err) || !named_check(dlq, err)) return false;
    if (dlq->is_replay && !sources_check(dlq, err)) return false;
    if (dlq->is_replay && !dlq->dry) {
        if (!emit_copier_open(&dlq->copier, kafka, err)) return false;
        (void)signal(SIGINT, on_signal);
        (void)signal(SIGTERM, on_signal);
    }
    bool ok = sweep(kafka, &options, handle, dlq, err);
    summary(dlq);
    if (!ok && dlq->n_replayed > 0)
        (void)err_wrap(err, "%" PRId64 " letters were replayed before it failed", dlq->n_replayed);
    return ok;
}

/* ---- the command line ---- */

/* "3/17" as in topic/partition/offset, or all of it as `list` prints it. */
static bool named_add(struct dlq *dlq, const char *text, struct err *err)
{
    char topic[LETTER_SOURCE_MAX], whole[LETTER_SOURCE_MAX];
    struct named named = {0};
    const char *slash = strchr(text, '/');
    bool is_short = slash && !strchr(slash + 1, '/');
    (void)snprintf(whole, sizeof whole, "%s%s%s", is_short ? dlq->topic : "", is_short ? "/" : "",
                   text);
    if (!place_parse(whole, topic, &named.partition, &named.offset) ||
        strcmp(topic, dlq->topic) != 0)
        return err_fatal(err, ERR_EXIT_USAGE,
                         "'%.80s' names no letter of %s: give PARTITION/OFFSET or "
                         "TOPIC/PARTITION/OFFSET, as `freshet dlq list` prints them",
                         text, dlq->topic);
    if (dlq->n_named == NAMED_MAX)
        return err_fatal(err, ERR_EXIT_USAGE, "at most %d letters can be named", NAMED_MAX);
    dlq->named[dlq->n_named++] = named;
    return true;
}

static bool reasons_check(const struct dlq *dlq, struct err *err)
{
    char all[256] = "";
    for (int r = POISON_DECODE; r <= POISON_KEY_COLLISION; r++) {
        size_t len = strlen(all);
        (void)snprintf(all + len, sizeof all - len, "%s%s", r > POISON_DECODE ? ", " : "",
                       ingest_reason_name((enum ingest_reason)r));
    }
    for (int i = 0; i < dlq->n_reasons; i++) {
        bool known = false;
        for (int r = POISON_DECODE; r <= POISON_KEY_COLLISION; r++)
            known =
                known || strcmp(dlq->reasons[i], ingest_reason_name((enum ingest_reason)r)) == 0;
        if (!known)
            return err_fatal(err, ERR_EXIT_USAGE, "--reason %.40s is none of: %s", dlq->reasons[i],
                             all);
    }
    return true;
}

static bool flags_read(struct dlq *dlq, const struct app *app, struct err *err)
{
    const struct options *flags = app->flags;
    struct clock clock = {0};
    int64_t now_ms = clock_wall_ms(&clock);
    const char *since = options_text(flags, "since"), *until = options_text(flags, "until");
    double rate = options_number(flags, "rate");
    dlq->n_reasons = options_list(flags, "reason", &dlq->reasons);
    dlq->from = options_text(flags, "topic");
    dlq->since_ms = INT64_MIN;
    dlq->until_ms = INT64_MAX;
    dlq->max = options_int(flags, "max");
    dlq->dry = options_bool(flags, "dry-run");
    dlq->again = options_bool(flags, "again");
    dlq->json = options_bool(flags, "json");
    dlq->chunk = rate > 0 && rate < 10 * CHUNK_MAX ? (int)(rate / 10) + 1 : CHUNK_MAX;
    pacer_start(&dlq->pacer, rate);
    if (since[0] && !when_parse("--since", since, now_ms, &dlq->since_ms, err)) return false;
    if (until[0] && !when_parse("--until", until, now_ms, &dlq->until_ms, err)) return false;
    for (int i = 1; i < app->n_args; i++)
        if (!named_add(dlq, app->args[i], err)) return false;
    bool has_filter =
        dlq->n_named > 0 || dlq->n_reasons > 0 || dlq->from[0] || since[0] || until[0];
    if (dlq->is_replay && !has_filter && !options_bool(flags, "all"))
        return err_fatal(err, ERR_EXIT_USAGE,
                         "say which letters: --reason, --since, --until, --topic, "
                         "PARTITION/OFFSET of some, or --all; with --dry-run first");
    return reasons_check(dlq, err);
}

static bool run(struct app *app, struct err *err)
{
    static struct dlq dlq; /* its chunk of letters is too large for a stack */
    struct settings settings;
    const char *what = app->n_args > 0 ? app->args[0] : "";
    dlq = (struct dlq){.settings = &settings, .is_replay = strcmp(what, "replay") == 0};
    if (!dlq.is_replay && strcmp(what, "list") != 0)
        return err_fatal(err, ERR_EXIT_USAGE,
                         "say what to do: `freshet dlq list` or `freshet dlq replay`");
    dlq.notes = letter_notes_new();
    buf_init(&dlq.line, LINE_MAX);
    bool ok = settings_init(&settings, app->config, err);
    dlq.topic = settings.dlq_topic;
    ok = ok && flags_read(&dlq, app, err) && work(&dlq, err);
    emit_copier_close(dlq.copier);
    letter_notes_free(dlq.notes);
    buf_fini(&dlq.line);
    settings_fini(&settings);
    return ok;
}

static const char group_which[] = "Which", group_how[] = "How";

/* {name, type, default, min, max, unit, values, help, group} */
static const struct option_spec flags[] = {
    /* clang-format off */
    {"reason", OPTION_LIST, "", 0, 0, "", NULL, "Only letters with one of these reasons, separated by commas: decode, unknown_schema, empty, too_large, missing_user, missing_items, bad_id, key_collision.", group_which},
    {"since", OPTION_TEXT, "", 0, 0, "", NULL, "Only letters whose original has this timestamp or a later one: 2026-11-22, 2026-11-22T08:30:15Z, 2h (ago), or ms since 1970.", group_which},
    {"until", OPTION_TEXT, "", 0, 0, "", NULL, "Only letters whose original is older than this.", group_which},
    {"topic", OPTION_TEXT, "", 0, 0, "", NULL, "Only letters that came from this topic.", group_which},
    {"max", OPTION_INT, "0", 0, 1e15, "letters", NULL, "At most so many; 0 all.", group_which},
    {"all", OPTION_BOOL, "false", 0, 0, "", NULL, "replay: every letter, without any of the above.", group_which},
    {"json", OPTION_BOOL, "false", 0, 0, "", NULL, "list: one JSON object a line instead of text.", group_how},
    {"dry-run", OPTION_BOOL, "false", 0, 0, "", NULL, "replay: only say what would be sent.", group_how},
    {"rate", OPTION_NUMBER, "0", 0, 1e6, "letters/s", NULL, "replay: at most so many in a second; 0 as fast as the broker takes them.", group_how},
    {"again", OPTION_BOOL, "false", 0, 0, "", NULL, "replay: also letters that were replayed before.", group_how},
    /* clang-format on */
};

const struct verb verb_dlq = {
    .name = "dlq",
    .summary = "list the dead letters, or send them back to their topic",
    .usage = "freshet dlq list|replay [PARTITION/OFFSET]... --config shop.properties [--reason "
             "R,...] [--since T] [--dry-run]",
    .help = "A record that cannot become an event goes to the dead-letter topic, byte for byte, "
            "with the reason in its\n"
            "headers. Repair what made it so (a schema that was not registered, a wrong setting), "
            "then replay: the original\n"
            "key, value, timestamp and headers go back to the partition they came from, behind "
            "what is there, with the header\n"
            "freshet-replayed that names the letter. It says `replayed` when the broker has "
            "acknowledged it. The letter stays, with a\n"
            "note behind it, so that a second replay leaves it alone (a kill within a chunk of up "
            "to 100 letters can leave\n"
            "some without a note). A letter that fails again becomes a new letter.\n\n"
            "  freshet dlq list --config shop.properties --since 2h\n"
            "  freshet dlq list --config shop.properties --reason unknown_schema --json\n"
            "  freshet dlq replay --config shop.properties --reason unknown_schema --dry-run\n"
            "  freshet dlq replay --config shop.properties 0/17 0/18 --rate 50",
    .flags = flags,
    .n_flags = sizeof(flags) / sizeof(flags[0]),
    .uses_config = true,
    .takes_args = true,
    .run = run,
};
