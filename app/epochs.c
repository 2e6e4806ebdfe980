/* The commit protocol of a shard: seal, wait for acknowledgements, write, tell the group. */
#include "app/epochs.h"

#include <assert.h>
#include <string.h>

#include "app/waits.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sync.h"

/* A batch of fewer records, unless it is full, is a light load; then an epoch stays open for LIGHT_MS at most. */
enum { LIGHT_RECORDS = 32, LIGHT_MS = 50 };
enum { PARTITIONS_MAX = 4096, MOVES_FIRST = 64, DISK_RETRY_MS = 500, POLL_FINISH_MS = 20 };

/* Moves of an epoch: the partitions it touched, each once. */
struct moves {
    struct state_move *list; /* (cap) */
    int n, cap;
};

enum epoch_stage { EPOCH_OPEN, EPOCH_SEALED };

struct epoch {
    enum epoch_stage stage;
    struct emit_epoch *sent;
    struct state_epoch *values; /* set when sealed */
    int64_t number;             /* of its transaction; 0 with at_least_once */
    struct moves moves;
    /* With a changelog. at_least_once: `logged` is its part, sent once the lists are acknowledged. */
    bool is_logged;
    struct emit_epoch *logged;
    struct changelog_markers *markers;
    struct waits waits; /* set when sealed */
};

struct epochs {
    struct epochs_env env;
    struct clock clock;
    struct epoch *ring; /* (capacity): [first, first + n_sealed) sealed, the one behind is open */
    int capacity, first, n_sealed;
    int64_t number;        /* transaction of the open epoch; 0 with at_least_once */
    int64_t interval_ms;   /* how long the open epoch may stay open */
    int64_t opened_ms;     /* when the open epoch got its first record; 0 empty */
    int64_t disk_full_ms;  /* since when; 0 it is not */
    struct sync_int *next; /* (n_topics, PARTITIONS_MAX): offset + 1, 0 unknown */
};

static struct epoch *open_epoch(const struct epochs *epochs)
{
    return &epochs->ring[(epochs->first + epochs->n_sealed) % epochs->capacity];
}

/* What comes now belongs to this transaction. */
static void transaction_open(struct epochs *epochs, int64_t number)
{
    epochs->number = number;
    open_epoch(epochs)->number = number;
    emit_epoch_bind(open_epoch(epochs)->sent, number);
}

struct epochs *epochs_new(const struct epochs_env *env)
{
    struct epochs *epochs = mem_zalloc(sizeof *epochs);
    epochs->env = *env;
    epochs->capacity = env->settings->epochs_max + 1;
    epochs->ring = mem_zalloc((size_t)epochs->capacity * sizeof *epochs->ring);
    for (int i = 0; i < epochs->capacity; i++) {
        struct moves *moves = &epochs->ring[i].moves;
        epochs->ring[i].sent = emit_epoch_new(env->emit);
        if (env->changelog) epochs->ring[i].logged = emit_epoch_new(env->emit);
        if (env->changelog) epochs->ring[i].markers = changelog_markers_new(env->changelog);
        moves->cap = MOVES_FIRST;
        moves->list = mem_alloc((size_t)moves->cap * sizeof *moves->list);
    }
    epochs->next =
        mem_zalloc((size_t)env->settings->n_sources * PARTITIONS_MAX * sizeof *epochs->next);
    if (env->committer) transaction_open(epochs, committer_first(env->committer));
    return epochs;
}

/* What is out at the end stays: its acknowledgements may still come. */
static void epoch_fini(struct epoch *epoch)
{
    struct err ignored;
    bool is_out = emit_epoch_poll(epoch->sent, &ignored) == EMIT_PENDING;
    if (!is_out) emit_epoch_free(epoch->sent);
    if (!epoch->logged) return;
    bool is_log_out = emit_epoch_poll(epoch->logged, &ignored) == EMIT_PENDING;
    if (!is_log_out) emit_epoch_free(epoch->logged);
    if (!is_out && !is_log_out) changelog_markers_free(epoch->markers);
}

void epochs_free(struct epochs *epochs)
{
    if (!epochs) return;
    for (int i = 0; i < epochs->capacity; i++) {
        struct epoch *epoch = &epochs->ring[i];
        epoch_fini(epoch);
        mem_free(epoch->moves.list);
        waits_fini(&epoch->waits);
    }
    mem_free(epochs->ring);
    mem_free(epochs->next);
    mem_free(epochs);
}

struct emit_epoch *epochs_current(struct epochs *epochs)
{
    return open_epoch(epochs)->sent;
}

/* ---- positions ---- */

static void move_set(struct moves *moves, int topic, int32_t partition, int64_t next)
{
    for (int i = 0; i < moves->n; i++) {
        if (moves->list[i].topic != topic || moves->list[i].partition != partition) continue;
        moves->list[i].next = next;
        return;
    }
    if (moves->n == moves->cap) {
        moves->cap *= 2;
        moves->list = mem_realloc(moves->list, (size_t)moves->cap * sizeof *moves->list);
    }
    moves->list[moves->n++] =
        (struct state_move){.topic = topic, .partition = partition, .next = next};
}

static struct sync_int *next_of(const struct epochs *epochs, int topic, int32_t partition)
{
    return &epochs->next[(size_t)topic * PARTITIONS_MAX + (size_t)partition % PARTITIONS_MAX];
}

/* Something is in the open epoch. */
static void epoch_touch(struct epochs *epochs, int64_t interval_ms)
{
    epochs->interval_ms = interval_ms;
    if (!epochs->opened_ms) epochs->opened_ms = (int64_t)(clock_mono_us(&epochs->clock) / 1000);
    if (epochs->env.committer)
        committer_touch(epochs->env.committer, epochs->number, epochs->interval_ms);
}

void epochs_move(struct epochs *epochs, int topic, int32_t partition, int64_t next)
{
    move_set(&open_epoch(epochs)->moves, topic, partition, next);
    sync_int_set(next_of(epochs, topic, partition), next + 1);
    if (!epochs->opened_ms) epoch_touch(epochs, epochs->env.settings->commit_interval_ms);
}

void epochs_moved(struct epochs *epochs, const struct ingest_batch *in)
{
    int erasures = epochs->env.settings->erasures_at;
    for (int i = 0; i < in->n; i++) {
        const struct ingest_record *record = &in->records[i];
        bool is_last = i + 1 == in->n || in->records[i + 1].partition != record->partition ||
                       in->records[i + 1].topic != record->topic;
        if (is_last && record->topic != erasures)
            epochs_move(epochs, record->topic, record->partition, record->offset + 1);
    }
    /* Under load a user who comes back within the interval is written once; else nothing is gained by waiting, and short writes
     * stall the next events less. */
    bool is_busy = in->n >= LIGHT_RECORDS || in->n == epochs->env.settings->batch_max;
    int64_t interval_ms = epochs->env.settings->commit_interval_ms;
    epoch_touch(epochs, is_busy || interval_ms < LIGHT_MS ? interval_ms : LIGHT_MS);
}

int64_t epochs_next(const struct epochs *epochs, int topic, int32_t partition)
{
    return sync_int_get(next_of(epochs, topic, partition)) - 1;
}

static void moves_forget(struct moves *moves, int32_t partition)
{
    int kept = 0;
    for (int i = 0; i < moves->n; i++)
        if (moves->list[i].partition != partition) moves->list[kept++] = moves->list[i];
    moves->n = kept;
}

void epochs_partition_forget(struct epochs *epochs, int32_t partition)
{
    for (int i = 0; i < epochs->capacity; i++)
        moves_forget(&epochs->ring[i].moves, partition);
    for (int topic = 0; topic < epochs->env.settings->n_sources; topic++)
        sync_int_set(next_of(epochs, topic, partition), 0);
}

/* ---- the protocol ---- */

bool epochs_are_pending(const struct epochs *epochs)
{
    return epochs->n_sealed > 0 || epochs->opened_ms != 0;
}

static size_t pending_bytes(const struct epochs *epochs)
{
    return state_pending_bytes(epochs->env.state) +
           (epochs->env.relations ? relations_pending_bytes(epochs->env.relations) : 0);
}

bool epochs_has_room(const struct epochs *epochs)
{
    bool queue_full = epochs->n_sealed == epochs->capacity - 1;
    return !queue_full && pending_bytes(epochs) < epochs->env.settings->pending_bytes;
}

/* The epoch's part of the changelog. */
static bool log_send(struct epochs *epochs, struct epoch *epoch, struct emit_epoch *into,
                     struct err *err)
{
    if (!epochs->env.changelog || epoch->is_logged) return true;
    epoch->is_logged = true;
    return changelog_send(epochs->env.changelog, into, epoch->values, epoch->moves.list,
                          epoch->moves.n, epoch->markers, err);
}

/* OPEN -> SEALED: the values as they are now; the next slot of the ring becomes the open one. */
static bool seal(struct epochs *epochs, struct err *err)
{
    struct epoch *epoch = open_epoch(epochs);
    assert(epoch->stage == EPOCH_OPEN && epochs->n_sealed < epochs->capacity - 1);
    if (epochs->env.relations && !relations_publish(epochs->env.relations, epoch->sent, err))
        return false;
    int n_moves = fault_mutant("offset_in_second_write") ? 0 : epoch->moves.n;
    epoch->values = state_epoch_seal(epochs->env.state, epoch->moves.list, n_moves);
    if (epochs->env.neighbours && !fault_mutant("neighbours_not_stored"))
        neighbours_seal(epochs->env.neighbours, epoch->values);
    if (epochs->env.relations) relations_seal(epochs->env.relations, epoch->values);
    if (epochs->env.waits) waits_move(&epoch->waits, epochs->env.waits);
    epoch->stage = EPOCH_SEALED;
    epochs->n_sealed++;
    epochs->opened_ms = 0;
    return !epochs->env.committer || log_send(epochs, epoch, epoch->sent, err);
}

/* The planted bug "offset in a second write": positions follow in a WriteBatch of their own. */
static bool positions_write_apart(struct epochs *epochs, const struct epoch *epoch, struct err *err)
{
    if (!fault_mutant("offset_in_second_write")) return true;
    fault_point("between_writes");
    struct state_epoch *apart =
        state_epoch_seal(epochs->env.state, epoch->moves.list, epoch->moves.n);
    return state_epoch_write(epochs->env.state, apart, err);
}

static void oldest_free(struct epochs *epochs)
{
    struct epoch *epoch = &epochs->ring[epochs->first];
    epoch->moves.n = 0;
    epoch->waits.n = 0;
    epoch->values = NULL;
    epoch->is_logged = false;
    epoch->stage = EPOCH_OPEN;
    epochs->first = (epochs->first + 1) % epochs->capacity;
    epochs->n_sealed--;
}

/* A full disk is no reason to lose anything: the epoch waits, the shard stops taking records. */
static bool disk_full_wait(struct epochs *epochs, struct err *err)
{
    int64_t now_ms = (int64_t)(clock_mono_us(&epochs->clock) / 1000);
    if (!epochs->disk_full_ms) {
        epochs->disk_full_ms = now_ms;
        log_err(LOG_WARN, "state", err);
    }
    if (now_ms - epochs->disk_full_ms > epochs->env.settings->task_timeout_ms)
        return err_fatal(
            err, ERR_EXIT_DISK,
            "the disk of %s has been full for %lld s: make room and start again; nothing is lost",
            epochs->env.settings->state_folder, (long long)(now_ms - epochs->disk_full_ms) / 1000);
    err->class = ERR_NONE; /* handled: the epoch is tried again */
    sync_sleep_ms(DISK_RETRY_MS);
    return true;
}

/* Positions for the group: by the transaction, or when the epoch is written. One that the tail has not come to the end of stays: the
 * group's is ahead, and who read an older one would send again what is followed by newer lists. */
static void moves_hand_over(const struct epochs *epochs, const struct moves *moves)
{
    for (int i = 0; i < moves->n; i++) {
        const struct state_move *move = &moves->list[i];
        bool is_told = move->next < tail_end(epochs->env.tail, move->topic, move->partition);
        if (is_told && !fault_mutant("tail_committed")) continue;
        if (epochs->env.committer)
            committer_move(epochs->env.committer, move);
        else
            ingest_commit(epochs->env.ingest, move->topic, move->partition, move->next);
    }
}

/* Writes the oldest sealed epoch; its slot becomes free. */
static bool oldest_write(struct epochs *epochs, struct err *err)
{
    struct epoch *epoch = &epochs->ring[epochs->first];
    assert(epoch->stage == EPOCH_SEALED);
    fault_point("acked");
    waits_end(&epoch->waits, epochs->env.counters, clock_wall_ms(&epochs->clock));
    if (epochs->env.changelog)
        changelog_place(epochs->env.changelog, epoch->values, epoch->markers);
    if (!state_epoch_write(epochs->env.state, epoch->values, err))
        return err->class == ERR_RETRY && disk_full_wait(epochs, err);
    if (epochs->disk_full_ms) log_info("state", "the disk has room again", NULL);
    epochs->disk_full_ms = 0;
    if (!positions_write_apart(epochs, epoch, err)) return false;
    if (epochs->env.relations) relations_written(epochs->env.relations);
    fault_point("written");
    if (!epochs->env.committer) moves_hand_over(epochs, &epoch->moves);
    oldest_free(epochs);
    counters_add(epochs->env.counters, METRIC_COMMITS, 0, 1);
    return true;
}

/* ---- when to seal, when to write: at_least_once ---- */

static bool due_seal(struct epochs *epochs, struct err *err)
{
    int64_t now_ms = (int64_t)(clock_mono_us(&epochs->clock) / 1000);
    bool due = epochs->opened_ms && now_ms - epochs->opened_ms >= epochs->interval_ms;
    bool full =
        epochs->opened_ms && pending_bytes(epochs) >= epochs->env.settings->pending_bytes / 2;
    bool has_slot = epochs->n_sealed < epochs->capacity - 1;
    return !((due || full) && has_slot) || seal(epochs, err);
}

/* ---- the same: exactly_once_v2 ---- */

/* The committer wants the transaction: it gets the shard's part, be it nothing. There is a slot: nothing was taken while there was
 * none. */
static bool wanted_seal(struct epochs *epochs, struct err *err)
{
    struct committer *committer = epochs->env.committer;
    bool full = pending_bytes(epochs) >= epochs->env.settings->pending_bytes / 2;
    if (epochs->opened_ms && full) committer_touch(committer, epochs->number, 0);
    if (committer_wanted(committer) < epochs->number) return true;
    const struct moves *moves = &open_epoch(epochs)->moves;
    if (epochs->opened_ms && !seal(epochs, err)) return false;
    moves_hand_over(epochs, moves);
    committer_seal(committer, epochs->env.shard, epochs->number);
    transaction_open(epochs, epochs->number + 1);
    return true;
}

/* at_least_once: sealed epochs whose lists are acknowledged enter the changelog, in order. A marker says that the lists of
 * everything before it are there, so it goes last. */
static bool acked_log(struct epochs *epochs, struct err *err)
{
    for (int i = 0; i < epochs->n_sealed; i++) {
        struct epoch *epoch = &epochs->ring[(epochs->first + i) % epochs->capacity];
        if (epoch->is_logged) continue;
        enum emit_epoch_state sent = emit_epoch_poll(epoch->sent, err);
        if (sent == EMIT_FAILED) return false;
        if (sent == EMIT_PENDING && !fault_mutant("marker_before_lists")) return true;
        if (!log_send(epochs, epoch, epoch->logged, err)) return false;
    }
    return true;
}

/* Whether the oldest sealed epoch may be written. */
static enum emit_epoch_state oldest_state(struct epochs *epochs, struct err *err)
{
    const struct epoch *oldest = &epochs->ring[epochs->first];
    struct committer *committer = epochs->env.committer;
    if (!committer && !epochs->env.changelog) return emit_epoch_poll(oldest->sent, err);
    if (!committer && !acked_log(epochs, err)) return EMIT_FAILED;
    if (!committer) return oldest->is_logged ? emit_epoch_poll(oldest->logged, err) : EMIT_PENDING;
    if (committer_committed(committer) >= oldest->number) return EMIT_ACKED;
    return committer_check(committer, err) ? EMIT_PENDING : EMIT_FAILED;
}

void epochs_forget(struct epochs *epochs)
{
    while (epochs->n_sealed > 0) {
        state_epoch_forget(epochs->env.state, epochs->ring[epochs->first].values);
        if (epochs->env.relations) relations_written(epochs->env.relations);
        oldest_free(epochs);
    }
    open_epoch(epochs)->moves.n = 0;
    if (epochs->env.waits) epochs->env.waits->n = 0;
    epochs->opened_ms = epochs->disk_full_ms = 0;
}

void epochs_restart(struct epochs *epochs)
{
    for (int i = 0; i < epochs->capacity; i++) {
        emit_epoch_reset(epochs->ring[i].sent);
        if (epochs->ring[i].logged) emit_epoch_reset(epochs->ring[i].logged);
        epochs->ring[i].is_logged = false;
    }
    if (epochs->env.committer) transaction_open(epochs, committer_first(epochs->env.committer));
}

/* ---- both ---- */

bool epochs_advance(struct epochs *epochs, int wait_ms, struct err *err)
{
    bool ok = epochs->env.committer ? wanted_seal(epochs, err) : due_seal(epochs, err);
    if (!ok) return false;
    while (epochs->n_sealed > 0) {
        enum emit_epoch_state sent = oldest_state(epochs, err);
        if (sent == EMIT_FAILED) return false;
        if (sent == EMIT_PENDING && !fault_mutant("state_before_ack")) {
            if (wait_ms <= 0) return true;
            sync_sleep_ms(1);
            wait_ms--;
            continue;
        }
        if (!oldest_write(epochs, err)) return false;
        if (epochs->disk_full_ms) return true;
    }
    return true;
}

/* Does what makes the open epoch end soon. Errors: as seal; the committer's, which ends none any more. */
static bool end_soon(struct epochs *epochs, struct err *err)
{
    bool has_slot = epochs->n_sealed < epochs->capacity - 1;
    if (!epochs->opened_ms) return true;
    if (!epochs->env.committer) return !has_slot || seal(epochs, err);
    committer_touch(epochs->env.committer, epochs->number, 0);
    return committer_check(epochs->env.committer, err);
}

bool epochs_cut(struct epochs *epochs, bool *is_cut, struct err *err)
{
    if (!end_soon(epochs, err)) return false;
    *is_cut = !epochs->opened_ms;
    return true;
}

bool epochs_finish(struct epochs *epochs, int64_t wait_ms, struct err *err)
{
    int64_t start_ms = (int64_t)(clock_mono_us(&epochs->clock) / 1000);
    while (epochs_are_pending(epochs)) {
        if (!end_soon(epochs, err) || !epochs_advance(epochs, POLL_FINISH_MS, err)) return false;
        int64_t now_ms = (int64_t)(clock_mono_us(&epochs->clock) / 1000);
        if (epochs_are_pending(epochs) && now_ms - start_ms > wait_ms)
            return err_fatal(
                err, ERR_EXIT_UNREACHABLE,
                "lists are not acknowledged after %lld s; they are sent again at the next start",
                (long long)(now_ms - start_ms) / 1000);
        if (epochs->opened_ms) sync_sleep_ms(1);
    }
    return true;
}
