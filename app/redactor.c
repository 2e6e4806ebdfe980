/* Turns: which requests are new, which letters, what of them waits. */
#include "app/redactor.h"

#include <stdio.h>
#include <string.h>

#include "app/redact_letters.h"
#include "app/sweep.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sync.h"

enum { STEP_MS = 50, PAUSE_MS = 3000, PAUSE_TIMES = 9, LATE_MS = 10000, NAMES_MS = 86400000 };
enum { CALL_MS = 10000, BATCH_MAX = 1000, ARENA_BLOCK = 1 << 16 };

struct redactor {
    struct redactor_env env;
    char *name; /* of the group and of the transactions */
    struct thread thread;
    struct flag stop;
    struct sync_int count;
    char said[ERR_TEXT_MAX]; /* the newest complaint */
    struct arena *scratch;
    struct clock clock;
    struct kafka_committed *answered; /* by the application; NULL: not asked yet */
    struct redact_names *names;       /* of all requests below `known` */
    int64_t named_ms;                 /* since when they are gathered */
    bool has_begun;                   /* what the group says is known */
    /* (n_partitions) requests that are answered, that are among the names, whose letters were looked for */
    int64_t *told, *known, *looked;
    /* (n_letters) partitions of the letters: their ends, and up to where they were looked at */
    int64_t *ends, *seen;
    int n_letters;
    int64_t asked_ms; /* when the ends were */
    int64_t due_ms;   /* when bytes can go of letters that were found; INT64_MAX: none wait */
};

static int64_t now_ms(struct redactor *redactor)
{
    return clock_wall_ms(&redactor->clock);
}

/* ---- requests ---- */

static int64_t start_of(void *context, int topic, int32_t partition)
{
    const struct redactor *redactor = context;
    (void)topic;
    return redactor->known[partition];
}

static bool request_take(void *context, const struct ingest_follow_batch *batch, struct err *err)
{
    struct redactor *redactor = context;
    struct err ignored = ERR_INIT;
    struct erasure request;
    (void)err;
    for (int i = 0; i < batch->n; i++) {
        const struct ingest_follow_record *record = &batch->records[i];
        bool is_told = record->kind == FOLLOW_RECORD && record->value.ptr &&
                       record->offset < redactor->told[record->partition];
        arena_reset(redactor->scratch);
        if (is_told && schemas_erasure_decode(redactor->env.schemas, record->value,
                                              redactor->scratch, &request, &ignored))
            redact_names_add(redactor->names, &request,
                             schemas_erasure_moment(&request, record->timestamp_ms));
    }
    return !flag_is_raised(&redactor->stop);
}

/* Those that came since the last look. Once a day all are read anew, to be rid of those that are no more. */
static bool names_read(struct redactor *redactor, struct err *err)
{
    const struct settings *settings = redactor->env.settings;
    const char *topic = settings->erasures_topic;
    const struct ingest_follow_options options = {.topics = &topic,
                                                  .n_topics = 1,
                                                  .batch_max = BATCH_MAX,
                                                  .timeout_ms = CALL_MS,
                                                  .start = start_of,
                                                  .context = redactor};
    size_t bytes = (size_t)redactor->env.n_partitions * sizeof *redactor->known;
    int64_t now = now_ms(redactor);
    redact_names_expire(redactor->names, now - settings->guard_ms);
    if (now - redactor->named_ms > NAMES_MS) {
        redact_names_clear(redactor->names);
        memset(redactor->known, 0, bytes);
        redactor->named_ms = now;
    }
    if (memcmp(redactor->known, redactor->told, bytes) == 0) return true;
    if (!sweep(&settings->kafka, &options, request_take, redactor, err) ||
        flag_is_raised(&redactor->stop))
        return false;
    memcpy(redactor->known, redactor->told, bytes);
    return true;
}

/* ---- places ---- */

/* What a group has committed of a topic; nothing is 0. */
static bool group_read(struct kafka_committed *group, const char *topic, int64_t *places, int n,
                       struct err *err)
{
    if (!kafka_committed_read(group, topic, n, places, CALL_MS, err)) return false;
    for (int p = 0; p < n; p++)
        if (places[p] < 0) places[p] = 0;
    return true;
}

/* The partitions of the letters; new ones begin to be looked at. */
static bool letters_count(struct redactor *redactor, struct err *err)
{
    const struct settings *settings = redactor->env.settings;
    const char *topic = settings->dlq_topic;
    struct kafka_topic_info info;
    if (!kafka_topic_describe(&settings->kafka, &topic, 1, &info, CALL_MS, err)) return false;
    if (info.partitions <= redactor->n_letters) return true;
    size_t n = (size_t)info.partitions;
    redactor->ends = mem_realloc(redactor->ends, n * sizeof *redactor->ends);
    redactor->seen = mem_realloc(redactor->seen, n * sizeof *redactor->seen);
    for (; redactor->n_letters < info.partitions; redactor->n_letters++)
        redactor->seen[redactor->n_letters] = 0;
    return true;
}

/* Where the ends of the letters are now. */
static bool ends_ask(struct redactor *redactor, struct err *err)
{
    const struct settings *settings = redactor->env.settings;
    redactor->asked_ms = now_ms(redactor);
    return letters_count(redactor, err) &&
           (redactor->n_letters == 0 ||
            kafka_offsets(&settings->kafka, settings->dlq_topic, redactor->n_letters, KAFKA_AT_END,
                          redactor->ends, CALL_MS, err));
}

static bool places_read(struct redactor *redactor, struct kafka_committed *own, struct err *err)
{
    const struct settings *settings = redactor->env.settings;
    return group_read(own, settings->erasures_topic, redactor->looked, redactor->env.n_partitions,
                      err) &&
           (redactor->n_letters == 0 ||
            group_read(own, settings->dlq_topic, redactor->seen, redactor->n_letters, err));
}

/* Where this process or the one before had come to. */
static bool begin(struct redactor *redactor, struct err *err)
{
    struct kafka_committed *own;
    if (redactor->has_begun) return true;
    if (!letters_count(redactor, err) ||
        !kafka_committed_open(&own, &redactor->env.settings->kafka, redactor->name, err))
        return false;
    redactor->has_begun = places_read(redactor, own, err);
    kafka_committed_close(own);
    return redactor->has_begun;
}

static void places_of(struct kafka_place *places, int *n, const char *topic, const int64_t *offsets,
                      int n_offsets)
{
    for (int p = 0; p < n_offsets; p++)
        places[(*n)++] = (struct kafka_place){topic, p, offsets[p]};
}

/* What was found before is done with, its bytes too. */
static bool places_note(struct redactor *redactor, struct err *err)
{
    const struct settings *settings = redactor->env.settings;
    int n = 0, n_most = redactor->env.n_partitions + redactor->n_letters;
    struct kafka_place *places = mem_alloc((size_t)n_most * sizeof *places);
    places_of(places, &n, settings->erasures_topic, redactor->looked, redactor->env.n_partitions);
    places_of(places, &n, settings->dlq_topic, redactor->seen, redactor->n_letters);
    bool ok = kafka_group_move(&settings->kafka, redactor->name, places, n, CALL_MS, err);
    mem_free(places);
    return ok;
}

/* ---- turns ---- */

/* Positions that were set back are followed. */
static bool requests_came(struct redactor *redactor, bool *is_new, bool *is_any, struct err *err)
{
    const struct settings *settings = redactor->env.settings;
    if (!redactor->answered &&
        !kafka_committed_open(&redactor->answered, &settings->kafka, settings->application_id, err))
        return false;
    if (!group_read(redactor->answered, settings->erasures_topic, redactor->told,
                    redactor->env.n_partitions, err)) {
        kafka_committed_close(redactor->answered);
        redactor->answered = NULL; /* the next turn begins anew */
        return false;
    }
    *is_new = *is_any = false;
    for (int p = 0; p < redactor->env.n_partitions; p++) {
        *is_new = *is_new || redactor->looked[p] != redactor->told[p];
        *is_any = *is_any || redactor->told[p] > 0;
    }
    return true;
}

/* Late ones may be of somebody who was forgotten before. */
static bool letters_came(struct redactor *redactor, bool *is_new, struct err *err)
{
    *is_new = false;
    if (now_ms(redactor) - redactor->asked_ms < LATE_MS) return true;
    if (!ends_ask(redactor, err)) return false;
    for (int p = 0; p < redactor->n_letters; p++)
        *is_new = *is_new || redactor->seen[p] != redactor->ends[p];
    return true;
}

/* from: as in struct redact_letters. */
static bool letters_take(struct redactor *redactor, const int64_t *from, struct err *err)
{
    const struct settings *settings = redactor->env.settings;
    struct redact_letters redact = {.settings = settings,
                                    .names = redactor->names,
                                    .transactional_id = redactor->name,
                                    .stop = &redactor->stop,
                                    .from = from,
                                    .n_partitions = redactor->n_letters,
                                    .due_ms = redactor->due_ms};
    if (!redact_letters(&redact, err)) return false;
    (void)sync_int_add(&redactor->count, redact.found + redact.emptied);
    redactor->due_ms = redact.due_ms;
    if (redact.found + redact.emptied > 0)
        log_info("app", "dead letters of forgotten users are gone",
                 "topic=%s letters=%lld emptied=%lld moved=%lld", settings->dlq_topic,
                 (long long)redact.found, (long long)redact.emptied, (long long)redact.moved);
    else if (redact.moved > 0)
        log_info("app", "the bytes of erased dead letters can leave the broker's files",
                 "topic=%s moved=%lld", settings->dlq_topic, (long long)redact.moved);
    return true;
}

/* Requests that are new, and bytes that can go: all letters are looked at; else those that are new. */
static bool turn(struct redactor *redactor, struct err *err)
{
    bool is_new, is_any, is_late = false;
    if (!begin(redactor, err) || !requests_came(redactor, &is_new, &is_any, err)) return false;
    bool is_all = is_new || now_ms(redactor) >= redactor->due_ms;
    if (is_all && !ends_ask(redactor, err)) return false;
    if (!is_all && is_any && !letters_came(redactor, &is_late, err)) return false;
    if (!is_all && !is_late) return true;
    if (!names_read(redactor, err) || !letters_take(redactor, is_all ? NULL : redactor->seen, err))
        return false;
    memcpy(redactor->looked, redactor->told,
           (size_t)redactor->env.n_partitions * sizeof *redactor->looked);
    if (redactor->n_letters > 0)
        memcpy(redactor->seen, redactor->ends,
               (size_t)redactor->n_letters * sizeof *redactor->seen);
    return redactor->due_ms < INT64_MAX || places_note(redactor, err);
}

/* Each complaint once: the next turn tries again. */
static void complain(struct redactor *redactor, struct err *err)
{
    if (err->class == ERR_NONE || strcmp(redactor->said, err->text) == 0) return;
    (void)snprintf(redactor->said, sizeof redactor->said, "%s", err->text);
    (void)err_wrap(err, "dead letters of forgotten users stay for now");
    log_err(LOG_WARN, "app", err);
}

/* Returns for how long this thread was at work, ms. */
static int64_t turn_take(struct redactor *redactor)
{
    struct err err = ERR_INIT;
    uint64_t since = clock_thread_ns();
    if (!redactor->env.leads(redactor->env.context)) return 0;
    if (turn(redactor, &err)) redactor->said[0] = '\0';
    if (!flag_is_raised(&redactor->stop)) complain(redactor, &err);
    return (int64_t)((clock_thread_ns() - since) / 1000000);
}

static void run(void *context)
{
    struct redactor *redactor = context;
    while (!flag_is_raised(&redactor->stop)) {
        int64_t pause_ms = turn_take(redactor) * PAUSE_TIMES;
        if (pause_ms < PAUSE_MS) pause_ms = PAUSE_MS;
        for (; pause_ms > 0 && !flag_is_raised(&redactor->stop); pause_ms -= STEP_MS)
            sync_sleep_ms(STEP_MS);
    }
}

static void redactor_free(struct redactor *redactor)
{
    kafka_committed_close(redactor->answered);
    redact_names_free(redactor->names);
    arena_free(redactor->scratch);
    mem_free(redactor->told);
    mem_free(redactor->known);
    mem_free(redactor->looked);
    mem_free(redactor->ends);
    mem_free(redactor->seen);
    mem_free(redactor->name);
    mem_free(redactor);
}

bool redactor_start(struct redactor **out, const struct redactor_env *env, struct err *err)
{
    static const char suffix[] = "-dead-letters";
    struct redactor *redactor = mem_zalloc(sizeof *redactor);
    size_t n = (size_t)env->n_partitions, len = strlen(env->settings->application_id);
    redactor->env = *env;
    redactor->name = mem_alloc(len + sizeof suffix);
    (void)snprintf(redactor->name, len + sizeof suffix, "%s%s", env->settings->application_id,
                   suffix);
    const struct redact_reading reading = {
        env->settings->pseudonyms, env->schemas,
        options_int(env->settings->options, "events.max.future.ms")};
    redactor->names = redact_names_new(&reading);
    redactor->scratch = arena_new(ARENA_BLOCK, SIZE_MAX);
    redactor->told = mem_zalloc(n * sizeof *redactor->told);
    redactor->known = mem_zalloc(n * sizeof *redactor->known);
    redactor->looked = mem_zalloc(n * sizeof *redactor->looked);
    redactor->due_ms = INT64_MAX;
    if (!thread_start(&redactor->thread, "redactor", run, redactor, err)) {
        redactor_free(redactor);
        return false;
    }
    *out = redactor;
    return true;
}

int64_t redactor_count(const struct redactor *redactor)
{
    return sync_int_get(&redactor->count);
}

void redactor_stop(struct redactor *redactor)
{
    if (!redactor) return;
    flag_raise(&redactor->stop);
    thread_join(&redactor->thread);
    redactor_free(redactor);
}
