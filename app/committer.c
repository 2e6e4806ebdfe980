/* The process's transactions: when one ends, and that all shards end it together. */
#include "app/committer.h"

#include <assert.h>
#include <stdio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sync.h"

enum {
    LOOK_MS = 100,
    WATCH_MS = 1000,
    STILL_MS = 3000,
    OFFSETS_FIRST = 64,
    GROUP_BYTES_MAX = 4096,
    FENCE_MS = 15000,
    TRANSACTIONAL_ID_MAX = 520
};

struct committer {
    struct committer_env env;
    struct ingest *ingest;
    struct thread thread, watchdog;
    bool is_started, is_watched;
    struct buf group;
    struct sync_int wanted, committed;
    /* guarded by mutex */
    struct mutex mutex;
    struct condition changed;
    int64_t number;    /* of the transaction that is open or comes next */
    int64_t due_ms[2]; /* when it and its successor are due, by number % 2; 0: nothing is in it */
    bool is_stopping, is_over;
    bool *is_in;                 /* (shards) takes part */
    int64_t *sealed;             /* (shards) newest transaction sealed */
    struct emit_offset *offsets; /* (n_offsets) of the transaction that is being sealed */
    int n_offsets, cap_offsets;
    struct err err; /* why it goes no further; ERR_NONE: it goes */
};

static int64_t now_ms(void)
{
    return (int64_t)(clock_mono_ns() / 1000000);
}

struct committer *committer_new(const struct committer_env *env)
{
    struct committer *c = mem_zalloc(sizeof *c);
    size_t shards = (size_t)env->settings->shards;
    c->env = *env;
    c->number = 1;
    c->is_in = mem_zalloc(shards * sizeof *c->is_in);
    c->sealed = mem_zalloc(shards * sizeof *c->sealed);
    for (size_t i = 0; i < shards; i++)
        c->is_in[i] = true;
    c->cap_offsets = OFFSETS_FIRST;
    c->offsets = mem_alloc((size_t)c->cap_offsets * sizeof *c->offsets);
    buf_init(&c->group, GROUP_BYTES_MAX);
    mutex_init(&c->mutex);
    condition_init(&c->changed);
    return c;
}

void committer_free(struct committer *c)
{
    if (!c) return;
    committer_stop(c);
    mutex_lock(&c->mutex);
    c->is_over = true;
    condition_broadcast(&c->changed);
    mutex_unlock(&c->mutex);
    if (c->is_watched) thread_join(&c->watchdog);
    condition_fini(&c->changed);
    mutex_fini(&c->mutex);
    buf_fini(&c->group);
    mem_free(c->is_in);
    mem_free(c->sealed);
    mem_free(c->offsets);
    mem_free(c);
}

/* ---- the committer's thread ---- */

static bool is_going(const struct committer *c)
{
    return !c->is_stopping && c->err.class == ERR_NONE;
}

/* Until the transaction has something in it and its time is over. false: no further. */
static bool due_wait(struct committer *c)
{
    mutex_lock(&c->mutex);
    for (int64_t left = 1; is_going(c) && left > 0;) {
        int64_t due = c->due_ms[c->number % 2];
        left = due ? due - now_ms() : LOOK_MS;
        if (left > 0) (void)condition_wait_ms(&c->changed, &c->mutex, left);
    }
    bool is_due = is_going(c);
    mutex_unlock(&c->mutex);
    return is_due;
}

static bool is_sealed(const struct committer *c, int64_t number)
{
    for (int i = 0; i < c->env.settings->shards; i++)
        if (c->is_in[i] && c->sealed[i] < number) return false;
    return true;
}

/* Until every shard has sealed it; shards that wait for records are woken. */
static bool shards_seal(struct committer *c, int64_t number)
{
    sync_int_set_release(&c->wanted, number);
    for (int i = 0; i < c->env.settings->shards; i++)
        ingest_wake(c->ingest, i);
    mutex_lock(&c->mutex);
    while (is_going(c) && !is_sealed(c, number))
        (void)condition_wait_ms(&c->changed, &c->mutex, LOOK_MS);
    bool ok = is_going(c);
    mutex_unlock(&c->mutex);
    return ok;
}

/* Nobody touches the offsets meanwhile: all shards are ahead of this transaction and its successor is not wanted. */
static bool transaction_commit(struct committer *c, int64_t number, struct err *err)
{
    if (c->n_offsets > 0 && !ingest_group(c->ingest, &c->group, err)) return false;
    struct str group = {(const char *)c->group.data, c->group.len};
    fault_point("sealed");
    if (!emit_transaction_commit(c->env.emit, c->offsets, c->n_offsets, group, err)) return false;
    fault_point("committed");
    for (int i = 0; i < c->n_offsets && fault_mutant("offsets_outside"); i++)
        ingest_commit(c->ingest, 0, c->offsets[i].partition, c->offsets[i].next);
    c->n_offsets = 0;
    sync_int_set_release(&c->committed, number);
    return true;
}

static void next_begin(struct committer *c)
{
    mutex_lock(&c->mutex);
    c->due_ms[c->number % 2] = 0;
    c->number++;
    mutex_unlock(&c->mutex);
}

static bool transactions_run(struct committer *c, struct err *err)
{
    for (;; next_begin(c)) {
        if (!emit_transaction_begin(c->env.emit, c->number, err)) return false;
        if (!due_wait(c) || !shards_seal(c, c->number)) return true;
        if (!transaction_commit(c, c->number, err)) return false;
    }
}

static void committer_run(void *context)
{
    struct committer *c = context;
    struct err err = ERR_INIT;
    if (transactions_run(c, &err)) return;
    committer_break(c, &err);
}

/* ---- the watchdog's thread ---- */

/* Nobody can get a thread back that hangs in the client: the process ends at once, which is a crash like any other. A process that
 * was stopped for a while (its watchdog, too) has all its time from then on. */
static void watchdog_run(void *context)
{
    struct committer *c = context;
    int64_t awake = 0, looked = now_ms();
    mutex_lock(&c->mutex);
    while (!c->is_over) {
        int64_t now = now_ms();
        if (now - looked > STILL_MS) awake = now;
        looked = now;
        if (emit_transaction_hangs(c->env.emit, awake)) {
            log_error(
                "app",
                "a call of the Kafka client does not return: the process ends, start it again",
                NULL);
            _exit(ERR_EXIT_UNREACHABLE);
        }
        (void)condition_wait_ms(&c->changed, &c->mutex, WATCH_MS);
    }
    mutex_unlock(&c->mutex);
}

/* ---- life ---- */

bool committer_start(struct committer *c, struct ingest *ingest, struct err *err)
{
    c->ingest = ingest;
    if (!c->is_watched)
        c->is_watched = thread_start(&c->watchdog, "watchdog", watchdog_run, c, err);
    c->is_started = c->is_watched && thread_start(&c->thread, "committer", committer_run, c, err);
    return c->is_started;
}

void committer_stop(struct committer *c)
{
    if (!c->is_started) return;
    mutex_lock(&c->mutex);
    c->is_stopping = true;
    condition_broadcast(&c->changed);
    mutex_unlock(&c->mutex);
    thread_join(&c->thread);
    c->is_started = false;
}

void committer_reset(struct committer *c)
{
    c->number++;
    c->due_ms[0] = c->due_ms[1] = 0;
    c->n_offsets = 0;
    c->is_stopping = false;
    c->err.class = ERR_NONE;
    sync_int_set_release(&c->wanted, c->number - 1);
}

bool committer_check(struct committer *c, struct err *err)
{
    mutex_lock(&c->mutex);
    bool ok = c->err.class == ERR_NONE;
    if (!ok) *err = c->err;
    mutex_unlock(&c->mutex);
    return ok;
}

void committer_fence(const struct settings *settings, const char *instance)
{
    char id[TRANSACTIONAL_ID_MAX];
    struct err err = ERR_INIT;
    (void)snprintf(id, sizeof id, "%s-%s", settings->application_id, instance);
    log_info("app", "a process is in the group no more: its transaction is ended", "instance=%s",
             instance);
    if (!kafka_transaction_end(&settings->kafka, id, FENCE_MS, &err))
        log_err(LOG_WARN, "app", &err);
}

/* ---- shards ---- */

int64_t committer_first(const struct committer *c)
{
    return c->number; /* before the committer runs */
}

int64_t committer_wanted(const struct committer *c)
{
    return sync_int_get_acquire(&c->wanted);
}

int64_t committer_committed(const struct committer *c)
{
    return fault_mutant("write_before_commit") ? INT64_MAX : sync_int_get_acquire(&c->committed);
}

void committer_touch(struct committer *c, int64_t number, int64_t interval_ms)
{
    int64_t due = now_ms() + interval_ms;
    mutex_lock(&c->mutex);
    int64_t *slot = &c->due_ms[number % 2];
    bool is_sooner = !*slot || due < *slot;
    if (is_sooner) *slot = due;
    if (is_sooner) condition_broadcast(&c->changed);
    mutex_unlock(&c->mutex);
}

void committer_move(struct committer *c, const struct state_move *move)
{
    mutex_lock(&c->mutex);
    if (c->n_offsets == c->cap_offsets) {
        c->cap_offsets *= 2;
        c->offsets = mem_realloc(c->offsets, (size_t)c->cap_offsets * sizeof *c->offsets);
    }
    c->offsets[c->n_offsets++] =
        (struct emit_offset){c->env.settings->topics[move->topic], move->partition, move->next};
    mutex_unlock(&c->mutex);
}

void committer_seal(struct committer *c, int shard, int64_t number)
{
    mutex_lock(&c->mutex);
    assert(number == c->number && c->sealed[shard] < number);
    c->sealed[shard] = number;
    condition_broadcast(&c->changed);
    mutex_unlock(&c->mutex);
}

void committer_leave(struct committer *c, int shard)
{
    mutex_lock(&c->mutex);
    c->is_in[shard] = false;
    condition_broadcast(&c->changed);
    mutex_unlock(&c->mutex);
}

void committer_break(struct committer *c, const struct err *why)
{
    emit_transaction_break(c->env.emit, why);
    mutex_lock(&c->mutex);
    bool is_first = c->err.class == ERR_NONE;
    if (is_first) c->err = *why;
    condition_broadcast(&c->changed);
    mutex_unlock(&c->mutex);
    if (is_first) c->env.failed(c->env.failed_context);
}
