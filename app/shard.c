/* The shard's thread: commands, micro-batches. Its epochs are in app/epochs.c. */
#include "app/shard.h"

#include <string.h>

#include "app/epochs.h"
#include "app/pairs.h"
#include "app/relations.h"
#include "app/policy.h"
#include "app/waits.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sync.h"

enum { POLL_IDLE_MS = 50, POLL_BUSY_MS = 5, CLOSE_WAIT_MS = 10000 };

enum command_kind {
    COMMAND_NONE,
    COMMAND_OPEN,
    COMMAND_CLOSE,
    COMMAND_RESET,
    COMMAND_RESUME,
    COMMAND_STOP
};

struct command {
    enum command_kind kind;
    int32_t partition;
    bool lost;
    const struct shard_opening *opening; /* OPEN */
};

struct shard {
    struct shard_env env;
    int number;
    struct thread thread;
    bool is_started;
    /* the shard's thread alone */
    struct state_shard *state;
    const struct model *model;     /* of the epoch that is open; NULL: none */
    struct neighbours *neighbours; /* NULL: neighbours.enabled=false */
    struct pairs *pairs;           /* NULL: nothing needs them */
    struct relations *relations;   /* likewise */
    struct changelog *changelog;   /* NULL: none */
    struct tail tail;
    struct waits waits;    /* of the open epoch, with exactly_once_v2 */
    struct policy *policy; /* NULL: neither catalogue nor rules */
    struct batch *batch;
    struct epochs *epochs;
    struct counters_slot *counters;
    struct clock clock;
    bool is_fed;  /* it has taken a record */
    bool is_held; /* it takes none: what was under way is lost, the group's thread sees to it */
    /* shared, guarded by mutex */
    struct mutex mutex;
    struct condition changed;
    struct command command; /* one at a time; NONE when done */
    bool is_ended;
    struct err err; /* why it ended; ERR_NONE after a stop */
};

/* The newest model, and room for its states. */
static void model_take(struct shard *shard)
{
    shard->model = models_take(shard->env.models);
    struct model_info info = model_info(shard->model);
    struct state_options options = settings_state(shard->env.settings, info.S);
    state_shard_model(shard->state, options.state_floats, options.rebuild_encoders,
                      settings_stored_window(info.D));
}

/* Both steps of what goes together: pairs out, pairs in. */
static void relations_start(struct shard *shard)
{
    const struct shard_env *env = &shard->env;
    struct relations_env relations = {.settings = env->settings,
                                      .schemas = env->schemas,
                                      .state = env->state,
                                      .shard = shard->state,
                                      .emit = env->emit,
                                      .ingest = env->ingest,
                                      .counters = shard->counters,
                                      .n_partitions = env->n_partitions};
    shard->relations = relations_new(&relations);
    shard->pairs = pairs_new(env->settings, env->n_partitions, env->emit, shard->counters);
}

static void changelog_start(struct shard *shard)
{
    const struct shard_env *env = &shard->env;
    struct changelog_env changelog = {.state = env->state,
                                      .shard = shard->state,
                                      .emit = env->emit,
                                      .counters = shard->counters,
                                      .n_partitions = env->n_partitions};
    if (env->settings->changelog_topic) shard->changelog = changelog_new(&changelog);
}

static struct epochs *epochs_make(struct shard *shard)
{
    const struct shard_env *env = &shard->env;
    struct epochs_env epochs = {.settings = env->settings,
                                .state = shard->state,
                                .neighbours = shard->neighbours,
                                .relations = shard->relations,
                                .changelog = shard->changelog,
                                .ingest = env->ingest,
                                .emit = env->emit,
                                .waits = env->committer ? &shard->waits : NULL,
                                .committer = env->committer,
                                .tail = &shard->tail,
                                .shard = shard->number,
                                .counters = shard->counters};
    return epochs_new(&epochs);
}

/* Nothing was told before. */
static void tail_start(struct shard *shard)
{
    size_t n = (size_t)shard->env.settings->n_sources * (size_t)shard->env.n_partitions;
    shard->tail = (struct tail){mem_alloc(n * sizeof *shard->tail.told), shard->env.n_partitions};
    for (size_t i = 0; i < n; i++)
        shard->tail.told[i] = -1;
}

struct shard *shard_new(const struct shard_env *env, int number)
{
    struct shard *shard = mem_zalloc(sizeof *shard);
    shard->env = *env;
    shard->number = number;
    shard->counters = counters_slot(env->counters, number);
    mutex_init(&shard->mutex);
    condition_init(&shard->changed);
    shard->state = state_shard_new(env->state, number);
    if (env->models) model_take(shard);
    if (env->settings->neighbours)
        shard->neighbours =
            neighbours_new(env->settings, env->state, shard->state, env->n_partitions);
    if (env->settings->related.pairs_topic) relations_start(shard);
    changelog_start(shard);
    tail_start(shard);
    struct policy_env policy = {
        .settings = env->settings, .catalogue = env->catalogue, .rules = env->rules};
    shard->policy = policy_new(&policy);
    struct batch_env batch = {.settings = env->settings,
                              .schemas = env->schemas,
                              .store = env->state,
                              .state = shard->state,
                              .model = shard->model,
                              .neighbours = shard->neighbours,
                              .companions = env->companions,
                              .pairs = shard->pairs,
                              .relations = shard->relations,
                              .policy = shard->policy,
                              .tail = &shard->tail,
                              .emit = env->emit,
                              .counters = shard->counters,
                              .n_partitions = env->n_partitions,
                              .waits = env->committer ? &shard->waits : NULL,
                              .tap = env->tap};
    shard->batch = batch_new(&batch);
    shard->epochs = epochs_make(shard);
    return shard;
}

void shard_free(struct shard *shard)
{
    if (!shard) return;
    batch_free(shard->batch);
    policy_free(shard->policy);
    epochs_free(shard->epochs);
    changelog_free(shard->changelog);
    pairs_free(shard->pairs);
    relations_free(shard->relations);
    neighbours_free(shard->neighbours);
    state_shard_free(shard->state);
    if (shard->model) models_release(shard->env.models, shard->model);
    mem_free(shard->tail.told);
    waits_fini(&shard->waits);
    condition_fini(&shard->changed);
    mutex_fini(&shard->mutex);
    mem_free(shard);
}

/* ---- the shard's thread ---- */

/* Where the partition of the pairs stands. The store being behind what was told, or knowing nothing, says that somebody else may have
 * had it, and published from more than was told. */
static bool pairs_standing(const struct shard *shard, const struct command *command,
                           struct relations_standing *standing, struct err *err)
{
    int topic = shard->env.settings->pairs_at;
    int64_t next = 0;
    *standing = (struct relations_standing){0};
    if (topic < 0) return true;
    if (!state_position(shard->env.state, topic, command->partition, &next, err)) return false;
    if (!shard->env.committer) standing->applied = next;
    if (command->opening->told[topic] > next) standing->tail = command->opening->told[topic];
    if (command->opening->told[topic] > next || next < 0)
        standing->end = ingest_log_end(shard->env.ingest, topic, command->partition);
    return true;
}

/* Those of erasures that no late event can be of any more. */
static bool guards_expire(struct shard *shard, int32_t partition, struct err *err)
{
    int64_t before_ms = clock_wall_ms(&shard->clock) - shard->env.settings->guard_ms;
    int n;
    if (!state_guards_expire(shard->state, partition, before_ms, &n, err)) return false;
    if (n > 0) log_info("app", "guards expired", "partition=%d count=%d", (int)partition, n);
    return true;
}

/* Without transactions lists may be out before any position is known, so that it has begun is noted. With them they are not seen. */
static bool begin_note(struct shard *shard, int32_t partition, struct batch_opening *opening,
                       struct err *err)
{
    int64_t end = ingest_log_end(shard->env.ingest, shard->env.settings->erasures_at, partition);
    if (shard->env.committer) {
        opening->first_below = opening->is_new ? end : 0;
        return true;
    }
    if (!state_begun(shard->env.state, partition, &opening->first_below, err)) return false;
    if (!opening->is_new) return true;
    opening->is_new = opening->first_below < 0;
    if (!opening->is_new) return true;
    opening->first_below = end;
    return state_begin(shard->env.state, partition, end, err);
}

/* Requests to forget somebody, before any event. */
static bool requests_open(struct shard *shard, const struct command *command, struct err *err)
{
    const struct settings *settings = shard->env.settings;
    int64_t ends[SETTINGS_SOURCES_MAX], next;
    struct batch_opening opening = {.requests = command->opening->requests,
                                    .told = command->opening->told,
                                    .ends = ends,
                                    .is_new = true};
    if (settings->erasures_at < 0) return true;
    for (int t = 0; t < settings->n_topics; t++) {
        ends[t] = ingest_log_end(shard->env.ingest, t, command->partition);
        if (!state_position(shard->env.state, t, command->partition, &next, err)) return false;
        opening.is_new = opening.is_new && next < 0 && opening.told[t] < 0;
    }
    return begin_note(shard, command->partition, &opening, err) &&
           batch_partition_open(shard->batch, command->partition, &opening, err);
}

static bool partition_open(struct shard *shard, const struct command *command, struct err *err)
{
    int32_t partition = command->partition;
    struct relations_standing standing;
    if (!pairs_standing(shard, command, &standing, err)) return false;
    for (int topic = 0; topic < shard->env.settings->n_sources; topic++)
        shard->tail.told[topic * shard->tail.n_partitions + partition] =
            command->opening->told[topic];
    return guards_expire(shard, partition, err) && requests_open(shard, command, err) &&
           state_partition_open(shard->state, partition, err) &&
           (!shard->neighbours || neighbours_open(shard->neighbours, partition, err)) &&
           (!shard->relations || relations_open(shard->relations, partition, &standing, err)) &&
           (!shard->changelog || changelog_open(shard->changelog, partition, err));
}

static bool partition_close(struct shard *shard, const struct command *command, struct err *err)
{
    bool is_dropped = command->lost || shard->is_held;
    int64_t wait_ms = shard->env.settings->task_timeout_ms;
    if (command->lost && fault_mutant("lost_is_kept")) return true;
    if (!is_dropped && !epochs_finish(shard->epochs, wait_ms, err)) return false;
    epochs_partition_forget(shard->epochs, command->partition);
    batch_partition_forget(shard->batch, command->partition);
    if (shard->changelog) changelog_close(shard->changelog, command->partition);
    if (shard->neighbours) neighbours_close(shard->neighbours, command->partition);
    if (shard->relations) relations_close(shard->relations, command->partition);
    state_partition_close(shard->state, command->partition);
    return true;
}

static bool command_do(struct shard *shard, const struct command *command, struct err *err)
{
    switch (command->kind) {
    case COMMAND_OPEN:
        return partition_open(shard, command, err);
    case COMMAND_CLOSE:
        return partition_close(shard, command, err);
    case COMMAND_RESET:
        shard->is_held = true;
        epochs_forget(shard->epochs);
        if (shard->pairs) pairs_reset(shard->pairs);
        return true;
    case COMMAND_RESUME:
        epochs_restart(shard->epochs);
        shard->is_held = false;
        return true;
    default:
        return true;
    }
}

/* What the shard holds is worth nothing, as its transaction is lost or the process stood still; it waits for the group's thread.
 * Another error ends it. */
static bool is_survived(struct shard *shard, struct err *err)
{
    if (err->class != ERR_ABORT) return false;
    if (shard->env.committer)
        committer_break(shard->env.committer, err);
    else
        shard->env.failed(shard->env.failed_context);
    shard->is_held = true;
    err->class = ERR_NONE;
    return true;
}

/* Does the waiting command, if any. Returns false at STOP or on an error (then err is set). */
static bool command_take(struct shard *shard, struct err *err)
{
    mutex_lock(&shard->mutex);
    while (shard->is_held && shard->command.kind == COMMAND_NONE)
        condition_wait(&shard->changed, &shard->mutex);
    struct command command = shard->command;
    mutex_unlock(&shard->mutex);
    if (command.kind == COMMAND_NONE) return true;
    if (command.kind == COMMAND_STOP) return false;
    while (!command_do(shard, &command, err))
        if (!is_survived(shard, err)) return false;
    mutex_lock(&shard->mutex);
    shard->command.kind = COMMAND_NONE;
    condition_broadcast(&shard->changed);
    mutex_unlock(&shard->mutex);
    return true;
}

/* Between two epochs the newest model takes the place of the one in use; users' states follow at their next events. */
static bool model_follow(struct shard *shard, struct err *err)
{
    const struct model *before = shard->model;
    bool is_cut;
    if (!before || !models_has_newer(shard->env.models, before)) return true;
    if (!epochs_cut(shard->epochs, &is_cut, err)) return false;
    if (!is_cut) return true;
    model_take(shard);
    batch_model_set(shard->batch, shard->model);
    models_release(shard->env.models, before);
    log_info("app", "model in use", "shard=%d version=%s", shard->number,
             model_info(shard->model).version);
    return true;
}

/* Reading goes no further, but what was read is good: it is written, so that the next start begins at what stopped us and
 * repeats nothing. Returns false. */
static bool input_ended(struct shard *shard)
{
    struct err second = ERR_INIT;
    if (!epochs_finish(shard->epochs, CLOSE_WAIT_MS, &second)) log_err(LOG_WARN, "app", &second);
    return false;
}

static void stage_count(struct shard *shard, enum stage stage, uint64_t since_ns)
{
    counters_add(shard->counters, METRIC_STAGE, (int)stage, (int64_t)(clock_mono_ns() - since_ns));
}

/* Positions in the erasures topic stay before the first request that waits. */
static void requests_moved(struct shard *shard)
{
    int64_t next;
    int32_t partition;
    while (batch_requests_moved(shard->batch, &partition, &next))
        epochs_move(shard->epochs, shard->env.settings->erasures_at, partition, next);
}

/* Nothing comes: requests that wait for events which are all read, or never were, are applied. */
static bool requests_run(struct shard *shard, struct err *err)
{
    const struct settings *settings = shard->env.settings;
    for (int32_t p = 0; p < shard->env.n_partitions; p++) {
        bool is_at_end = true;
        int64_t next;
        if (!batch_requests_wait(shard->batch, p)) continue;
        for (int t = 0; t < settings->n_topics; t++) {
            if (!batch_standing(shard->batch, t, p, &next, err)) return false;
            is_at_end = is_at_end && ingest_lag(shard->env.ingest, t, p, next) == 0;
        }
        if (!batch_requests_run(shard->batch, p, is_at_end, epochs_current(shard->epochs), err))
            return false;
    }
    requests_moved(shard);
    return true;
}

/* A micro-batch that was taken. */
static bool batch_apply(struct shard *shard, struct ingest_batch *in, struct err *err)
{
    if (!shard->is_fed)
        counters_set(shard->counters, METRIC_FIRST_RECORD, 0, clock_wall_ms(&shard->clock));
    shard->is_fed = true;
    fault_point("fetched");
    bool ok = batch_run(shard->batch, in, epochs_current(shard->epochs), err);
    if (ok) epochs_moved(shard->epochs, in);
    if (ok) requests_moved(shard);
    ingest_batch_release(shard->env.ingest, shard->number, in);
    return ok;
}

/* Of the batch's records, those of events topics. */
static int events_in(const struct shard *shard, const struct ingest_batch *in)
{
    int n = 0;
    for (int i = 0; i < in->n; i++)
        n += in->records[i].topic < shard->env.settings->n_topics;
    return n;
}

/* The end of a round with n records of events, whether it went well or not. */
static void round_count(struct shard *shard, int n, uint64_t allocations)
{
    counters_set(shard->counters, METRIC_LAST_BATCH, 0, clock_wall_ms(&shard->clock));
    counters_add(shard->counters, METRIC_ALLOCATIONS, 0,
                 (int64_t)(mem_thread_count() - allocations));
    counters_add(shard->counters, METRIC_RECORDS, 0, n);
}

/* One round: a micro-batch, if there is one, and whatever the epochs need. */
static bool round_run(struct shard *shard, struct err *err)
{
    struct ingest_batch in = {0};
    if (!model_follow(shard, err)) return false;
    uint64_t allocations = mem_thread_count(), since = clock_mono_ns();
    int wait_ms = epochs_are_pending(shard->epochs) ? POLL_BUSY_MS : POLL_IDLE_MS;
    if (!epochs_has_room(shard->epochs)) return epochs_advance(shard->epochs, POLL_BUSY_MS, err);
    if (!ingest_poll(shard->env.ingest, shard->number, wait_ms, &in, err))
        return input_ended(shard);
    int n = in.n;
    int n_events = events_in(shard, &in);
    if (n > 0) stage_count(shard, STAGE_POLL, since);
    bool ok = n > 0 ? batch_apply(shard, &in, err) : requests_run(shard, err);
    since = clock_mono_ns();
    ok = ok && epochs_advance(shard->epochs, 0, err);
    if (ok) state_shard_trim(shard->state);
    if (n > 0) {
        stage_count(shard, STAGE_COMMIT, since);
        round_count(shard, n_events, allocations);
    }
    return ok;
}

static void shard_run(void *context)
{
    struct shard *shard = context;
    struct err err = ERR_INIT;
    while (command_take(shard, &err) &&
           (shard->is_held || round_run(shard, &err) || is_survived(shard, &err)))
        continue;
    bool failed = err.class != ERR_NONE; /* else it was told to stop */
    if (!failed && !shard->is_held)
        (void)!epochs_finish(shard->epochs, shard->env.settings->task_timeout_ms, &err);
    if (shard->env.committer && err.class != ERR_NONE)
        committer_break(shard->env.committer, &err);
    else if (shard->env.committer)
        committer_leave(shard->env.committer, shard->number);
    mutex_lock(&shard->mutex);
    shard->is_ended = true;
    shard->err = err;
    condition_broadcast(&shard->changed);
    mutex_unlock(&shard->mutex);
    if (failed) shard->env.failed(shard->env.failed_context);
}

/* ---- the main thread ---- */

bool shard_start(struct shard *shard, struct err *err)
{
    char name[16] = "shard-0";
    if (shard->number < 10) name[6] = (char)('0' + shard->number);
    shard->is_started = thread_start(&shard->thread, name, shard_run, shard, err);
    return shard->is_started;
}

/* Hands a command over and waits until it is done or the shard has ended; a shard that waits for records is woken. */
static bool command_give(struct shard *shard, struct command command, struct err *err)
{
    mutex_lock(&shard->mutex);
    shard->command = command;
    condition_broadcast(&shard->changed);
    ingest_wake(shard->env.ingest, shard->number);
    while (shard->command.kind != COMMAND_NONE && !shard->is_ended)
        condition_wait(&shard->changed, &shard->mutex);
    bool ok = !shard->is_ended;
    if (!ok) *err = shard->err;
    mutex_unlock(&shard->mutex);
    if (!ok && err->class == ERR_NONE)
        return err_set(err, ERR_FATAL, "shard %d has stopped", shard->number);
    return ok;
}

bool shard_partition_open(struct shard *shard, int32_t partition,
                          const struct shard_opening *opening, struct err *err)
{
    struct command command = {.kind = COMMAND_OPEN, .partition = partition, .opening = opening};
    return command_give(shard, command, err);
}

void shard_partition_close(struct shard *shard, int32_t partition, bool lost)
{
    struct err err = ERR_INIT;
    (void)!command_give(
        shard, (struct command){.kind = COMMAND_CLOSE, .partition = partition, .lost = lost}, &err);
}

bool shard_reset(struct shard *shard, struct err *err)
{
    return command_give(shard, (struct command){.kind = COMMAND_RESET}, err);
}

bool shard_resume(struct shard *shard, struct err *err)
{
    return command_give(shard, (struct command){.kind = COMMAND_RESUME}, err);
}

bool shard_stop(struct shard *shard, struct err *err)
{
    if (!shard->is_started) return true;
    (void)!command_give(shard, (struct command){.kind = COMMAND_STOP}, err);
    thread_join(&shard->thread);
    shard->is_started = false;
    *err = shard->err;
    return err->class == ERR_NONE;
}

bool shard_is_running(struct shard *shard, struct err *err)
{
    mutex_lock(&shard->mutex);
    bool running = !shard->is_ended;
    if (!running) *err = shard->err;
    mutex_unlock(&shard->mutex);
    return running;
}

int64_t shard_next(struct shard *shard, int topic, int32_t partition)
{
    return epochs_next(shard->epochs, topic, partition);
}
