/* freshet trace: one event's way, in words or as JSON. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "app/app.h"
#include "app/trace.h"
#include "app/when.h"
#include "base/clock.h"
#include "base/mem.h"
#include "serve/serve.h"

enum { ANSWER_MAX = 1 << 22 };

static const char *kind_name(int kind)
{
    return kind == PAIRS_COUNTED ? "counted_in_category"
                                 : schemas_related_name((enum related_kind)kind);
}

/* ---- words ---- */

static void verdict_tell(const struct trace *trace, const struct trace_seen *seen)
{
    const struct trace_place *first =
        seen->duplicate_of >= 0 ? &trace->seen[seen->duplicate_of].at : NULL;
    printf("  verdict   %s: ", trace_verdict_name(seen->verdict));
    switch (seen->verdict) {
    case TRACE_APPLIED:
        printf("the user's newest list is its own\n");
        break;
    case TRACE_REPLACED:
        printf("applied, and a later event of the user has the list that stands now (%s)\n",
               seen->newest_list[0] ? seen->newest_list : "not in the topic any more");
        break;
    case TRACE_DUPLICATE:
        printf("the user had it before, at %s/%d/%" PRId64 "; it changed nothing\n", first->topic,
               (int)first->partition, first->offset);
        break;
    case TRACE_DEAD_LETTER:
        printf("it is no event; when the cause is repaired: freshet dlq replay %d/%" PRId64 "\n",
               (int)seen->letter.partition, seen->letter.offset);
        break;
    case TRACE_QUIET:
        printf("%s: remembered to notice duplicates, nothing else changes\n",
               seen->consent ? "events of this type make no list" : "it has no consent");
        break;
    case TRACE_WAITING:
        printf("not applied yet, %" PRId64 " records stand before it: is `freshet run` at work?\n",
               seen->at.offset - seen->next);
        break;
    case TRACE_UNKNOWN:
        printf(seen->has_store
                   ? "it was read here and left no trace: the list may be gone with the topic's "
                     "retention, or the user's next events replaced it\n"
                   : "there is no store of this partition here and no list stands for it: run it "
                     "on the "
                     "machine that has partition %d\n",
               (int)seen->at.partition);
        break;
    }
}

static void outcome_tell(const struct trace_seen *seen)
{
    if (seen->letter.offset >= 0)
        printf("  letter    %s/%d/%" PRId64 ": %s: %s%s%s\n", seen->letter.topic,
               (int)seen->letter.partition, seen->letter.offset, seen->reason, seen->text,
               seen->replayed_to[0] ? "; replayed to " : "", seen->replayed_to);
    if (seen->list.offset >= 0)
        printf("  list      %s/%d/%" PRId64 ": %d items, model %s, recommendation %s, %" PRId64
               " ms after the event's record\n",
               seen->list.topic, (int)seen->list.partition, seen->list.offset, seen->n_listed,
               seen->model_version, seen->recommendation_id,
               seen->list.timestamp_ms - seen->at.timestamp_ms);
    if (seen->pairs.offset >= 0) {
        printf("  pairs     from %s/%d/%" PRId64 " on:", seen->pairs.topic,
               (int)seen->pairs.partition, seen->pairs.offset);
        for (int kind = 0; kind < PAIRS_KINDS; kind++)
            if (seen->n_pairs[kind]) printf(" %s %d", kind_name(kind), seen->n_pairs[kind]);
        printf("\n");
    }
    for (int r = 0; r < seen->n_rows; r++)
        if (seen->rows[r].at.offset >= 0)
            printf("  %-9s %s in %s/%d/%" PRId64 "\n",
                   seen->rows[r].is_trending ? "trending" : "related",
                   seen->rows[r].key[0] ? seen->rows[r].key : "(the whole shop)",
                   seen->rows[r].at.topic, (int)seen->rows[r].at.partition,
                   seen->rows[r].at.offset);
}

static void seen_tell(const struct trace *trace, const struct trace_seen *seen)
{
    char time[WHEN_TEXT_MAX];
    printf("%s/%d/%" PRId64 "  record of %s%s%s\n", seen->at.topic, (int)seen->at.partition,
           seen->at.offset, when_print(seen->at.timestamp_ms, time),
           seen->replayed_from[0] ? ", replayed from dead letter " : "", seen->replayed_from);
    if (seen->is_decoded)
        printf("  event     %s: %s of %s by %s, at %s\n",
               seen->event_id[0] ? seen->event_id : "(no id)", schemas_event_type_name(seen->type),
               seen->items[0] ? seen->items : "nothing", seen->user,
               when_print(seen->time_ms, time));
    else
        printf("  event     %s%snone: %s\n", seen->event_id, seen->event_id[0] ? ": " : "",
               seen->why);
    if (seen->has_store)
        printf("  store     stands at %" PRId64 "%s%s%s\n", seen->next,
               !seen->is_decoded ? ""
               : seen->has_user  ? "; knows the user"
                                 : "; does not know the user",
               seen->remembers ? ", remembers the id" : "",
               seen->in_window ? ", has it in the window" : "");
    outcome_tell(seen);
    verdict_tell(trace, seen);
}

/* ---- JSON ---- */

static void place_json(struct serve_json *json, const char *name, const struct trace_place *at)
{
    if (at->offset < 0) {
        serve_json_null(json, name);
        return;
    }
    serve_json_object(json, name);
    serve_json_cstr(json, "topic", at->topic);
    serve_json_int(json, "partition", at->partition);
    serve_json_int(json, "offset", at->offset);
    serve_json_int(json, "timestamp_ms", at->timestamp_ms);
    serve_json_end(json);
}

static const char *or_null(const char *text)
{
    return text[0] ? text : NULL;
}

static void event_json(struct serve_json *json, const struct trace_seen *seen)
{
    place_json(json, "at", &seen->at);
    serve_json_cstr(json, "verdict", trace_verdict_name(seen->verdict));
    serve_json_cstr(json, "event_id", or_null(seen->event_id));
    serve_json_cstr(json, "event_type",
                    seen->is_decoded ? schemas_event_type_name(seen->type) : NULL);
    serve_json_cstr(json, "user", or_null(seen->user));
    serve_json_cstr(json, "items", or_null(seen->items));
    serve_json_int(json, "event_time_ms", seen->time_ms);
    serve_json_cstr(json, "replayed_from", or_null(seen->replayed_from));
    place_json(json, "dead_letter", &seen->letter);
    serve_json_cstr(json, "reason", or_null(seen->reason));
    serve_json_cstr(json, "error", or_null(seen->text[0] ? seen->text : seen->why));
    serve_json_cstr(json, "replayed_to", or_null(seen->replayed_to));
    place_json(json, "list", &seen->list);
    serve_json_cstr(json, "recommendation_id", or_null(seen->recommendation_id));
    serve_json_cstr(json, "model_version", or_null(seen->model_version));
    serve_json_int(json, "listed", seen->n_listed);
    serve_json_cstr(json, "newest_list_of", or_null(seen->newest_list));
}

static void seen_json(const struct trace *trace, const struct trace_seen *seen, struct buf *out)
{
    struct serve_json json = serve_json_begin(out);
    serve_json_object(&json, NULL);
    event_json(&json, seen);
    if (seen->duplicate_of >= 0)
        place_json(&json, "duplicate_of", &trace->seen[seen->duplicate_of].at);
    place_json(&json, "pairs", &seen->pairs);
    serve_json_object(&json, "pair_counts");
    for (int kind = 0; kind < PAIRS_KINDS; kind++)
        if (seen->n_pairs[kind]) serve_json_int(&json, kind_name(kind), seen->n_pairs[kind]);
    serve_json_end(&json);
    serve_json_array(&json, "related");
    for (int r = 0; r < seen->n_rows; r++) {
        if (seen->rows[r].at.offset < 0) continue;
        serve_json_object(&json, NULL);
        serve_json_cstr(&json, "key", seen->rows[r].key);
        place_json(&json, "at", &seen->rows[r].at);
        serve_json_end(&json);
    }
    serve_json_end(&json);
    if (seen->has_store) serve_json_int(&json, "store_next", seen->next);
    serve_json_bool(&json, "store_remembers", seen->remembers);
    serve_json_int(&json, "in_window", seen->in_window);
    serve_json_end(&json);
    buf_push_byte(out, '\n');
}

/* ---- the verb ---- */

static void answer(const struct trace *trace, bool as_json)
{
    struct buf out;
    buf_init(&out, ANSWER_MAX);
    for (int s = 0; s < trace->n_seen; s++) {
        if (as_json)
            seen_json(trace, &trace->seen[s], &out);
        else
            seen_tell(trace, &trace->seen[s]);
    }
    if (out.len > 0) (void)fwrite(out.data, 1, out.len, stdout);
    buf_fini(&out);
    fflush(stdout);
    if (trace->n_seen == TRACE_SEEN_MAX)
        fprintf(stderr, "the first %d places; there may be more\n", TRACE_SEEN_MAX);
}

/* An argument of the form topic/partition/offset, with one of the events topics, is a place. */
static bool question_read(const struct settings *settings, const struct app *app,
                          struct trace_question *question, char *topic, struct err *err)
{
    struct clock clock = {0};
    const char *since = options_text(app->flags, "since");
    *question =
        (struct trace_question){.id = app->args[0], .last = options_int(app->flags, "last")};
    if (strlen(question->id) > SCHEMAS_ID_MAX)
        return err_fatal(err, ERR_EXIT_USAGE, "an event id has at most %d bytes", SCHEMAS_ID_MAX);
    if (since[0] && question->last > 0)
        return err_fatal(err, ERR_EXIT_USAGE, "give --since or --last, not both");
    if (since[0] && !when_parse("--since", since, clock_wall_ms(&clock), &question->since_ms, err))
        return false;
    if (!place_parse(app->args[0], topic, &question->partition, &question->offset)) return true;
    for (int i = 0; i < settings->n_topics; i++)
        if (strcmp(settings->topics[i], topic) == 0) question->topic = topic;
    return true;
}

static bool work(const struct settings *settings, struct app *app, struct err *err)
{
    struct trace_question question;
    char topic[LETTER_SOURCE_MAX];
    struct trace *trace = mem_zalloc(sizeof *trace);
    trace->settings = settings;
    bool ok =
        question_read(settings, app, &question, topic, err) && trace_run(trace, &question, err);
    if (ok && trace->n_seen == 0)
        ok = err_fatal(
            err, ERR_EXIT_USAGE,
            "no event with id '%.80s' among %" PRId64
            " records of events.topics: check the id, --since and --last; a record that is no "
            "event is found by its place, topic/partition/offset",
            app->args[0], trace->n_looked);
    if (ok) answer(trace, options_bool(app->flags, "json"));
    trace_fini(trace);
    mem_free(trace);
    return ok;
}

static bool run(struct app *app, struct err *err)
{
    struct settings settings;
    if (app->n_args != 1 || app->args[0][0] == '\0')
        return err_fatal(err, ERR_EXIT_USAGE,
                         "say which event: `freshet trace EVENT_ID` or `freshet trace "
                         "TOPIC/PARTITION/OFFSET`");
    bool ok = settings_init(&settings, app->config, err) && work(&settings, app, err);
    settings_fini(&settings);
    return ok;
}

/* {name, type, default, min, max, unit, values, help, group} */
static const struct option_spec flags[] = {
    /* clang-format off */
    {"since", OPTION_TEXT, "", 0, 0, "", NULL, "Look at records of events topics from this time on: 2026-11-22, 2026-11-22T08:30:15Z, 2h (ago), or ms since 1970. Default: all.", "Where"},
    {"last", OPTION_INT, "0", 0, 1e15, "records", NULL, "Look at the last so many of each partition only; 0 all.", "Where"},
    {"json", OPTION_BOOL, "false", 0, 0, "", NULL, "One JSON object a place instead of text.", "Output"},
    /* clang-format on */
};

const struct verb verb_trace = {
    .name = "trace",
    .summary = "what became of one event",
    .usage =
        "freshet trace EVENT_ID | TOPIC/PARTITION/OFFSET --config shop.properties [--since T | "
        "--last N] [--json]",
    .help = "Reads the events topics for the id (or looks at one record), then what it led to: the "
            "list that carries it, its pairs\n"
            "and the related lists that hold them, the dead letter and why, where it was replayed "
            "to; and in the store of this\n"
            "machine whether it was read and whether the user remembers it. One of seven verdicts "
            "ends each place:\n"
            "applied, replaced (a newer list stands), duplicate, dead_letter, quiet, waiting, "
            "unknown. It changes nothing. Topics\n"
            "are read whole unless --since or --last narrows it: some 400,000 records a second.\n\n"
            "  freshet trace 7f3c-2291 --config shop.properties --since 2h\n"
            "  freshet trace shop.events/3/41873 --config shop.properties --json",
    .flags = flags,
    .n_flags = sizeof(flags) / sizeof(flags[0]),
    .uses_config = true,
    .takes_args = true,
    .run = run,
};
