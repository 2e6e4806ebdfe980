/* The shard's thread: commands, micro-batches. Its epochs are in app/epochs.c. */
#include "app/shard.h"

#include <string.h>

#include "app/epochs.h"
#include "app/pairs.h"
#include "app/relations.h"
#include "app/policy.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sync.h"

enum { POLL_IDLE_MS = 50, POLL_BUSY_MS = 5, CLOSE_WAIT_MS = 10000 };

enum command_kind { COMMAND_NONE, COMMAND_OPEN, COMMAND_CLOSE, COMMAND_STOP };

struct command {
    enum command_kind kind;
    int32_t partition;
    bool lost;
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
    struct policy *policy;         /* NULL: neither catalogue nor rules */
    struct batch *batch;
    struct epochs *epochs;
    struct counters_slot *counters;
    struct clock clock;
    bool is_fed; /* it has taken a record */
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
                                      .counters = shard->counters,
                                      .n_partitions = env->n_partitions};
    shard->relations = relations_new(&relations);
    shard->pairs = pairs_new(env->settings, env->n_partitions, env->emit, shard->counters);
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
    struct policy_env policy = {
        .settings = env->settings, .catalogue = env->catalogue, .rules = env->rules};
    shard->policy = policy_new(&policy);
    struct batch_env batch = {.settings = env->settings,
                              .schemas = env->schemas,
                              .state = shard->state,
                              .model = shard->model,
                              .neighbours = shard->neighbours,
                              .companions = env->companions,
                              .pairs = shard->pairs,
                              .relations = shard->relations,
                              .policy = shard->policy,
                              .emit = env->emit,
                              .counters = shard->counters,
                              .tap = env->tap};
    shard->batch = batch_new(&batch);
    shard->epochs = epochs_new(env->settings, shard->state, shard->neighbours, shard->relations,
                               env->ingest, env->emit, shard->counters);
    return shard;
}

void shard_free(struct shard *shard)
{
    if (!shard) return;
    batch_free(shard->batch);
    policy_free(shard->policy);
    epochs_free(shard->epochs);
    pairs_free(shard->pairs);
    relations_free(shard->relations);
    neighbours_free(shard->neighbours);
    state_shard_free(shard->state);
    if (shard->model) models_release(shard->env.models, shard->model);
    condition_fini(&shard->changed);
    mutex_fini(&shard->mutex);
    mem_free(shard);
}

/* ---- the shard's thread ---- */

static bool command_do(struct shard *shard, const struct command *command, struct err *err)
{
    if (command->kind == COMMAND_OPEN)
        return state_partition_open(shard->state, command->partition, err) &&
               (!shard->neighbours ||
                neighbours_open(shard->neighbours, command->partition, err)) &&
               (!shard->relations || relations_open(shard->relations, command->partition, err));
    if (command->kind == COMMAND_CLOSE && !command->lost &&
        !epochs_finish(shard->epochs, CLOSE_WAIT_MS, err))
        return false;
    epochs_partition_forget(shard->epochs, command->partition);
    if (shard->neighbours) neighbours_close(shard->neighbours, command->partition);
    if (shard->relations) relations_close(shard->relations, command->partition);
    state_partition_close(shard->state, command->partition);
    return true;
}

/* Does the waiting command, if any. Returns false at STOP or on an error (then err is set). */
static bool command_take(struct shard *shard, struct err *err)
{
    mutex_lock(&shard->mutex);
    struct command command = shard->command;
    mutex_unlock(&shard->mutex);
    if (command.kind == COMMAND_NONE) return true;
    if (command.kind == COMMAND_STOP) return false;
    if (!command_do(shard, &command, err)) return false;
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

/* A micro-batch that was taken. */
static bool batch_apply(struct shard *shard, struct ingest_batch *in, struct err *err)
{
    if (!shard->is_fed)
        counters_set(shard->counters, METRIC_FIRST_RECORD, 0, clock_wall_ms(&shard->clock));
    shard->is_fed = true;
    fault_point("fetched");
    bool ok = batch_run(shard->batch, in, epochs_current(shard->epochs), err);
    if (ok) epochs_moved(shard->epochs, in);
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
    bool ok = n == 0 || batch_apply(shard, &in, err);
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
    while (command_take(shard, &err) && round_run(shard, &err))
        continue;
    bool failed = err.class != ERR_NONE; /* else it was told to stop */
    if (!failed) (void)!epochs_finish(shard->epochs, shard->env.settings->task_timeout_ms, &err);
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

/* Hands a command over and waits until it is done or the shard has ended. */
static bool command_give(struct shard *shard, struct command command, struct err *err)
{
    mutex_lock(&shard->mutex);
    shard->command = command;
    while (shard->command.kind != COMMAND_NONE && !shard->is_ended)
        condition_wait(&shard->changed, &shard->mutex);
    bool ok = !shard->is_ended;
    if (!ok) *err = shard->err;
    mutex_unlock(&shard->mutex);
    if (!ok && err->class == ERR_NONE)
        return err_set(err, ERR_FATAL, "shard %d has stopped", shard->number);
    return ok;
}

bool shard_partition_open(struct shard *shard, int32_t partition, struct err *err)
{
    return command_give(shard, (struct command){.kind = COMMAND_OPEN, .partition = partition}, err);
}

void shard_partition_close(struct shard *shard, int32_t partition, bool lost)
{
    struct err err = ERR_INIT;
    (void)!command_give(
        shard, (struct command){.kind = COMMAND_CLOSE, .partition = partition, .lost = lost}, &err);
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
