/* Turns: which requests are new, what of the letters waits. */
#include "app/redactor.h"

#include <stdio.h>
#include <string.h>

#include "app/redact_letters.h"
#include "app/sweep.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sync.h"

enum { STEP_MS = 50, PAUSE_MS = 3000, PAUSE_TIMES = 9 };
enum { CALL_MS = 10000, BATCH_MAX = 1000, ARENA_BLOCK = 1 << 16 };

struct redactor {
    struct redactor_env env;
    char *name; /* of the group and of the transactions */
    struct thread thread;
    struct flag stop;
    struct sync_int count;
    char said[ERR_TEXT_MAX]; /* the newest complaint */
    struct redact_names *names;
    struct arena *scratch;
    /* (n_partitions) requests that are answered, those that are done with, those whose letters were looked for */
    int64_t *told, *done, *looked;
    int64_t due_ms; /* when bytes can go of letters that were found */
};

/* ---- requests ---- */

static int64_t start_of(void *context, int topic, int32_t partition)
{
    const struct redactor *redactor = context;
    (void)topic;
    return redactor->done[partition];
}

static bool request_take(void *context, const struct ingest_follow_batch *batch, struct err *err)
{
    struct redactor *redactor = context;
    struct err ignored = ERR_INIT;
    struct erasure request;
    (void)err;
    for (int i = 0; i < batch->n; i++) {
        const struct ingest_follow_record *record = &batch->records[i];
        bool is_new = record->kind == FOLLOW_RECORD && record->value.ptr &&
                      record->offset < redactor->told[record->partition];
        arena_reset(redactor->scratch);
        if (is_new && schemas_erasure_decode(redactor->env.schemas, record->value,
                                             redactor->scratch, &request, &ignored))
            redact_names_add(redactor->names, &request);
    }
    return !flag_is_raised(&redactor->stop);
}

static bool requests_read(struct redactor *redactor, struct err *err)
{
    const struct settings *settings = redactor->env.settings;
    const char *topic = settings->erasures_topic;
    const struct ingest_follow_options options = {.topics = &topic,
                                                  .n_topics = 1,
                                                  .batch_max = BATCH_MAX,
                                                  .timeout_ms = CALL_MS,
                                                  .start = start_of,
                                                  .context = redactor};
    redact_names_clear(redactor->names);
    return sweep(&settings->kafka, &options, request_take, redactor, err);
}

static bool group_read(const struct redactor *redactor, const char *group, int64_t *places,
                       struct err *err)
{
    const struct settings *settings = redactor->env.settings;
    int n = redactor->env.n_partitions;
    if (!kafka_group_offsets(&settings->kafka, group, settings->erasures_topic, n, places, CALL_MS,
                             err))
        return false;
    for (int p = 0; p < n; p++)
        if (places[p] < 0) places[p] = 0;
    return true;
}

/* Positions that were set back are followed. is_due: there is something to do now. */
static bool places_learn(struct redactor *redactor, bool *is_due, struct err *err)
{
    struct clock clock = {0};
    bool is_open = false, is_new = false;
    if (!group_read(redactor, redactor->env.settings->application_id, redactor->told, err) ||
        !group_read(redactor, redactor->name, redactor->done, err))
        return false;
    for (int p = 0; p < redactor->env.n_partitions; p++) {
        is_open = is_open || redactor->done[p] != redactor->told[p];
        is_new = is_new || redactor->looked[p] != redactor->told[p];
        if (redactor->done[p] > redactor->told[p]) redactor->done[p] = redactor->told[p];
    }
    *is_due = is_open && (is_new || clock_wall_ms(&clock) >= redactor->due_ms);
    return true;
}

static bool places_note(struct redactor *redactor, struct err *err)
{
    const struct settings *settings = redactor->env.settings;
    int n = redactor->env.n_partitions;
    struct kafka_place *places = mem_alloc((size_t)n * sizeof *places);
    for (int p = 0; p < n; p++)
        places[p] = (struct kafka_place){settings->erasures_topic, p, redactor->told[p]};
    bool ok = kafka_group_move(&settings->kafka, redactor->name, places, n, CALL_MS, err);
    mem_free(places);
    return ok;
}

/* ---- turns ---- */

static bool letters_take(struct redactor *redactor, struct err *err)
{
    const struct settings *settings = redactor->env.settings;
    struct redact_letters redact = {.settings = settings,
                                    .schemas = redactor->env.schemas,
                                    .names = redactor->names,
                                    .transactional_id = redactor->name,
                                    .stop = &redactor->stop};
    if (!redact_letters(&redact, err)) return false;
    (void)sync_int_add(&redactor->count, redact.found);
    redactor->due_ms = redact.due_ms;
    if (redact.found > 0)
        log_info("app", "dead letters of forgotten users are gone",
                 "topic=%s letters=%lld moved=%lld", settings->dlq_topic, (long long)redact.found,
                 (long long)redact.moved);
    else if (redact.moved > 0)
        log_info("app", "the bytes of erased dead letters can leave the broker's files",
                 "topic=%s moved=%lld", settings->dlq_topic, (long long)redact.moved);
    return true;
}

static bool turn(struct redactor *redactor, struct err *err)
{
    bool is_due;
    if (!places_learn(redactor, &is_due, err)) return false;
    if (!is_due) return true;
    if (!requests_read(redactor, err) || flag_is_raised(&redactor->stop)) return false;
    if (!letters_take(redactor, err)) return false;
    memcpy(redactor->looked, redactor->told,
           (size_t)redactor->env.n_partitions * sizeof *redactor->looked);
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

/* Returns how long it took, ms. */
static int64_t turn_take(struct redactor *redactor)
{
    struct err err = ERR_INIT;
    uint64_t since = clock_mono_ns();
    if (!redactor->env.leads(redactor->env.context)) return 0;
    if (turn(redactor, &err)) redactor->said[0] = '\0';
    if (!flag_is_raised(&redactor->stop)) complain(redactor, &err);
    return (int64_t)((clock_mono_ns() - since) / 1000000);
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
    redact_names_free(redactor->names);
    arena_free(redactor->scratch);
    mem_free(redactor->told);
    mem_free(redactor->done);
    mem_free(redactor->looked);
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
    redactor->names = redact_names_new();
    redactor->scratch = arena_new(ARENA_BLOCK, SIZE_MAX);
    redactor->told = mem_zalloc(n * sizeof *redactor->told);
    redactor->done = mem_zalloc(n * sizeof *redactor->done);
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
