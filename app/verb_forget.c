/* freshet forget USER: asks for an erasure and waits for its receipt. The work is done by the process that owns the user's partition
 * (app/erase.c); who waits in vain here has asked all the same. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/app.h"
#include "app/forget.h"
#include "app/letters.h"
#include "app/redact_letters.h"
#include "app/settings.h"
#include "app/sweep.h"
#include "base/clock.h"
#include "base/progress.h"
#include "emit/emit.h"
#include "ingest/ingest.h"
#include "state/state.h"

enum { CONNECT_MS = 15000, POLL_MS = 100, ACK_MS = 30000, VALUE_MAX = 4096, BATCH_MAX = 100 };

/* One call of the verb. */
struct forget {
    const struct settings *settings;
    struct schemas *schemas;
    struct ingest_follow *receipts;
    struct str tenant, user;
    struct forget_request requests[PSEUDONYM_KEYS_MAX]; /* (n) one for each name of the user */
    int n;
    int partitions; /* that each goes to: the user's, or all */
    int expected, answered;
};

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    (void)signal(number, SIG_DFL);
    stopped = 1;
}

/* ---- what is there ---- */

static bool user_show(void *context, int32_t partition, struct str key, const struct user *user)
{
    int *n = context;
    (void)key;
    printf("  this machine's store, partition %d: %" PRIu64
           " events, %d in the window, %d bought, %d disliked\n",
           (int)partition, user->events, user->n_window, user->n_bought, user->n_disliked);
    (*n)++;
    return true;
}

/* What the store of this machine holds; another process may own the user. */
static bool store_show(const struct forget *forget, struct err *err)
{
    const struct pseudonyms *pseudonyms = forget->settings->pseudonyms;
    char name[PSEUDONYM_MAX];
    char key[SCHEMAS_USER_KEY_MAX];
    struct err none = ERR_INIT;
    struct state *state;
    int n = 0;
    if (!state_open_readonly(&state, forget->settings->state_folder, &none)) {
        printf("  no store on this machine\n");
        return true;
    }
    bool ok = true;
    for (int i = 0; ok && i < 2 * forget->n; i++) {
        struct str id = pseudonym_of(pseudonyms, i / 2, forget->tenant, forget->user, name);
        const struct event who = {
            .tenant = forget->tenant, .user_id = i % 2 ? (struct str){0} : id, .anonymous_id = id};
        ok = state_user_find(state, schemas_user_key(&who, key), user_show, &n, err);
    }
    state_close(state);
    if (ok && n == 0) printf("  this machine's store has no such user\n");
    return ok;
}

struct counting {
    struct redact_names *names;
    int64_t n, n_maybe;
};

static bool letter_count(void *context, const struct ingest_follow_batch *batch, struct err *err)
{
    struct counting *counting = context;
    (void)err;
    struct letter letter;
    for (int i = 0; i < batch->n; i++) {
        const struct ingest_follow_record *record = &batch->records[i];
        if (record->kind != FOLLOW_RECORD) continue;
        letter_read(record, &letter);
        enum redact_claim claim = redact_letter_claim(counting->names, &letter);
        counting->n += claim == REDACT_THEIRS;
        counting->n_maybe += claim == REDACT_MAYBE;
    }
    return !stopped;
}

/* How many dead letters are the user's. */
static bool letters_show(const struct forget *forget, struct err *err)
{
    const struct settings *settings = forget->settings;
    const char *topic = settings->dlq_topic;
    const struct ingest_follow_options options = {
        .topics = &topic, .n_topics = 1, .batch_max = SWEEP_BATCH, .timeout_ms = SWEEP_TIMEOUT_MS};
    char name[PSEUDONYM_MAX];
    struct kafka_topic_info info;
    if (!kafka_topic_describe(&settings->kafka, &topic, 1, &info, CONNECT_MS, err)) return false;
    if (info.partitions == 0) return true;
    const struct redact_reading reading = {settings->pseudonyms, forget->schemas,
                                           options_int(settings->options, "events.max.future.ms")};
    struct counting counting = {.names = redact_names_new(&reading)};
    struct clock clock = {0};
    int64_t now_ms = clock_wall_ms(&clock);
    for (int k = 0; k < forget->n; k++) {
        const struct erasure request = {
            .tenant = forget->tenant,
            .user_id = pseudonym_of(settings->pseudonyms, k, forget->tenant, forget->user, name)};
        redact_names_add(counting.names, &request, now_ms);
    }
    bool ok = sweep(&settings->kafka, &options, letter_count, &counting, err);
    if (ok)
        printf("  dead letters: %" PRId64 " in %s go, %" PRId64
               " that may be the user's lose their bytes\n",
               counting.n, topic, counting.n_maybe);
    redact_names_free(counting.names);
    return ok;
}

static bool dry_run(const struct forget *forget, struct err *err)
{
    for (int k = 0; k < forget->n; k++)
        printf(
            "would ask in %s%s, with key %.*s, to forget the user and anonymous id of that name; "
            "the receipt would come in %s\n",
            forget->settings->erasures_topic, forget->partitions > 1 ? ", all partitions" : "",
            STR_ARG(forget->requests[k].key), forget->settings->receipts_topic);
    return store_show(forget, err) && letters_show(forget, err);
}

/* ---- asking and waiting ---- */

/* One name's request, to each partition that is asked. */
static bool request_send(struct forget *forget, struct emit_feed *feed, int k, const char *source,
                         struct err *err)
{
    struct clock clock = {0};
    struct forget_request *request = &forget->requests[k];
    int64_t now_ms = clock_wall_ms(&clock);
    struct buf value;
    buf_init(&value, VALUE_MAX);
    bool ok = forget_make(request, forget->settings, k, forget->schemas, forget->tenant,
                          forget->user, source, now_ms, &value, err);
    for (int p = 0; ok && feed && p < forget->partitions; p++)
        ok = emit_feed_send_to(feed, forget->partitions > 1 ? p : request->partition, request->key,
                               (struct str){(const char *)value.data, value.len}, now_ms, err);
    buf_fini(&value);
    forget->expected += forget->partitions;
    return ok;
}

/* feed NULL: nothing is sent. */
static bool requests_send(struct forget *forget, struct emit_feed *feed, const char *source,
                          struct err *err)
{
    bool ok = true;
    forget->n = pseudonyms_keys(forget->settings->pseudonyms);
    for (int k = 0; ok && k < forget->n; k++)
        ok = request_send(forget, feed, k, source, err);
    return ok;
}

static bool ask(struct forget *forget, const char *source, struct err *err)
{
    struct emit_feed *feed;
    const struct settings *settings = forget->settings;
    if (!emit_feed_open(&feed, &settings->kafka, settings->erasures_topic, err)) return false;
    bool sent = requests_send(forget, feed, source, err);
    struct err closing = ERR_INIT;
    bool closed = emit_feed_close(feed, ACK_MS, &closing);
    if (sent && !closed) *err = closing;
    return sent && closed;
}

static void receipts_look(struct forget *forget, const struct ingest_follow_batch *batch)
{
    for (int i = 0; i < batch->n; i++) {
        const struct ingest_follow_record *record = &batch->records[i];
        for (int k = 0; k < forget->n; k++) {
            if (!str_equal(record->key, str_of(forget->requests[k].request_id))) continue;
            printf("%.*s\n", STR_ARG(record->value));
            forget->answered++;
        }
    }
}

static bool wait(struct forget *forget, int64_t limit_s, bool quiet, struct err *err)
{
    uint64_t since = clock_mono_ns(), limit_ns = (uint64_t)limit_s * 1000000000;
    struct progress_options options = {.what = "forget",
                                       .unit = "s",
                                       .total = (uint64_t)limit_s,
                                       .quiet = quiet,
                                       .fd = STDERR_FILENO};
    struct progress *progress = progress_new(&options);
    bool ok = true;
    while (ok && forget->answered < forget->expected && !stopped &&
           clock_mono_ns() - since < limit_ns) {
        struct ingest_follow_batch batch;
        progress_update(progress, (clock_mono_ns() - since) / 1000000000,
                        "asked; waiting for the owner's receipt");
        ok = ingest_follow_poll(forget->receipts, POLL_MS, &batch, err);
        if (!ok) break;
        receipts_look(forget, &batch);
        ingest_follow_release(forget->receipts, &batch);
    }
    progress_end(progress);
    if (!ok || forget->answered >= forget->expected) return ok;
    return err_fatal(err, ERR_EXIT_UNREACHABLE,
                     "the request %s stands in %s, but no receipt came in %s within %" PRId64
                     " s: is `freshet run` of %s up? It is done when it is; do not ask again",
                     forget->requests[0].request_id, forget->settings->erasures_topic,
                     forget->settings->receipts_topic, limit_s, forget->settings->application_id);
}

/* ---- the verb ---- */

static bool receipts_open(struct forget *forget, struct err *err)
{
    const char *topic = forget->settings->receipts_topic;
    const struct ingest_follow_options options = {.topics = &topic,
                                                  .n_topics = 1,
                                                  .batch_max = BATCH_MAX,
                                                  .timeout_ms = CONNECT_MS,
                                                  .tail = 1};
    return ingest_follow_open(&forget->receipts, &forget->settings->kafka, &options, err);
}

static bool work(struct forget *forget, const struct app *app, struct err *err)
{
    struct schemas_options schemas = forget->settings->schemas;
    const char *source = options_text(app->flags, "source");
    int64_t limit_s = options_int(app->flags, "wait");
    bool dry = options_bool(app->flags, "dry-run"), ok;
    schemas.recommendations_topic = schemas.related_topic = schemas.trending_topic = NULL;
    schemas.erasures_topic = forget->settings->erasures_topic;
    forget->partitions =
        options_bool(app->flags, "everywhere") ? forget->settings->erasures_partitions : 1;
    if (!schemas_open(&forget->schemas, &schemas, err)) return false;
    if (dry)
        ok = requests_send(forget, NULL, source, err) && dry_run(forget, err);
    else
        ok = (limit_s == 0 || receipts_open(forget, err)) && ask(forget, source, err) &&
             (limit_s == 0 || wait(forget, limit_s, options_bool(app->flags, "quiet"), err));
    for (int k = 0; ok && !dry && limit_s == 0 && k < forget->n; k++)
        printf("{\"request_id\":\"%s\"}\n", forget->requests[k].request_id);
    if (err->class == ERR_DATA) err->class = ERR_FATAL, err->exit_code = ERR_EXIT_USAGE;
    return ok;
}

static bool topic_check(const struct settings *settings, struct err *err)
{
    if (settings->erasures_at >= 0) return true;
    return err_fatal(
        err, ERR_EXIT_TOPIC,
        "erasures.topic=%s does not exist: create it with `freshet topics create`, and "
        "start `freshet run` again so that it reads it",
        settings->erasures_topic);
}

static bool run(struct app *app, struct err *err)
{
    struct settings settings;
    struct forget forget = {.settings = &settings,
                            .tenant = str_of(options_text(app->flags, "tenant"))};
    if (app->n_args != 1)
        return err_fatal(err, ERR_EXIT_USAGE, "say who: freshet forget USER --config FILE");
    forget.user = str_of(app->args[0]);
    (void)signal(SIGINT, on_signal);
    (void)signal(SIGTERM, on_signal);
    bool ok = settings_init(&settings, app->config, err) &&
              settings_erasures_settle(&settings, err) && topic_check(&settings, err) &&
              work(&forget, app, err);
    ingest_follow_close(forget.receipts);
    if (forget.schemas) schemas_close(forget.schemas);
    settings_fini(&settings);
    return ok;
}

static const char group_forget[] = "Forget";

/* {name, type, default, min, max, unit, values, help, group} */
static const struct option_spec flags[] = {
    /* clang-format off */
    {"tenant", OPTION_TEXT, "", 0, 0, "", NULL, "Whose shop; empty where there is one.", group_forget},
    {"everywhere", OPTION_BOOL, "false", 0, 0, "", NULL, "Ask every partition, where events are not keyed by their user.", group_forget},
    {"wait", OPTION_INT, "60", 0, 86400, "s", NULL, "How long to wait for the receipt; 0: only ask.", group_forget},
    {"source", OPTION_TEXT, "freshet forget", 0, 0, "", NULL, "Who asks; stands in the request.", group_forget},
    {"dry-run", OPTION_BOOL, "false", 0, 0, "", NULL, "Only say what would be done, and what the store here has.", group_forget},
    {"quiet", OPTION_BOOL, "false", 0, 0, "", NULL, "No progress line.", group_forget},
    /* clang-format on */
};

const struct verb verb_forget = {
    .name = "forget",
    .summary = "forget a user: state, sessions, lists",
    .usage =
        "freshet forget USER --config shop.properties [--tenant T] [--wait SECONDS] [--dry-run]",
    .help = "Writes a request into erasures.topic; the process that owns the user's partition "
            "deletes the "
            "user's state and sessions,\n"
            "publishes a tombstone for the lists and answers with a receipt, which is printed; the "
            "user's dead letters go some\n"
            "seconds later. Events from before do not bring the user back. docs/PRIVACY.md says "
            "what is reached and what is not.\n\n"
            "  freshet forget u42 --config shop.properties\n"
            "  freshet forget u42 --dry-run --config shop.properties",
    .flags = flags,
    .n_flags = sizeof(flags) / sizeof(flags[0]),
    .uses_config = true,
    .takes_args = true,
    .run = run,
};
