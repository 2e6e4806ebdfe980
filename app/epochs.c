/* The commit protocol of a shard: seal, wait for acknowledgements, write, tell the group. */
#include "app/epochs.h"

#include <assert.h>
#include <string.h>

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
    struct moves moves;
};

struct epochs {
    const struct settings *settings;
    struct state_shard *state;
    struct neighbours *neighbours; /* NULL: none */
    struct relations *relations;   /* NULL: none */
    struct ingest *ingest;
    struct emit *emit;
    struct counters_slot *counters;
    struct clock clock;
    struct epoch *ring; /* (capacity): [first, first + n_sealed) sealed, the one behind is open */
    int capacity, first, n_sealed;
    int64_t interval_ms;   /* how long the open epoch may stay open */
    int64_t opened_ms;     /* when the open epoch got its first record; 0 empty */
    int64_t disk_full_ms;  /* since when; 0 it is not */
    struct sync_int *next; /* (n_topics, PARTITIONS_MAX): offset + 1, 0 unknown */
};

struct epochs *epochs_new(const struct settings *settings, struct state_shard *state,
                          struct neighbours *neighbours, struct relations *relations,
                          struct ingest *ingest, struct emit *emit, struct counters_slot *counters)
{
    struct epochs *epochs = mem_zalloc(sizeof *epochs);
    epochs->settings = settings;
    epochs->state = state;
    epochs->neighbours = neighbours;
    epochs->relations = relations;
    epochs->ingest = ingest;
    epochs->emit = emit;
    epochs->counters = counters;
    epochs->capacity = settings->epochs_max + 1;
    epochs->ring = mem_zalloc((size_t)epochs->capacity * sizeof *epochs->ring);
    for (int i = 0; i < epochs->capacity; i++) {
        struct moves *moves = &epochs->ring[i].moves;
        epochs->ring[i].sent = emit_epoch_new(emit);
        moves->cap = MOVES_FIRST;
        moves->list = mem_alloc((size_t)moves->cap * sizeof *moves->list);
    }
    epochs->next = mem_zalloc((size_t)settings->n_sources * PARTITIONS_MAX * sizeof *epochs->next);
    return epochs;
}

void epochs_free(struct epochs *epochs)
{
    struct err ignored;
    if (!epochs) return;
    for (int i = 0; i < epochs->capacity; i++) {
        struct epoch *epoch = &epochs->ring[i];
        if (emit_epoch_poll(epoch->sent, &ignored) != EMIT_PENDING) emit_epoch_free(epoch->sent);
        mem_free(epoch->moves.list);
    }
    mem_free(epochs->ring);
    mem_free(epochs->next);
    mem_free(epochs);
}

static struct epoch *open_epoch(const struct epochs *epochs)
{
    return &epochs->ring[(epochs->first + epochs->n_sealed) % epochs->capacity];
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

void epochs_moved(struct epochs *epochs, const struct ingest_batch *in)
{
    struct moves *moves = &open_epoch(epochs)->moves;
    for (int i = 0; i < in->n; i++) {
        const struct ingest_record *record = &in->records[i];
        bool is_last = i + 1 == in->n || in->records[i + 1].partition != record->partition ||
                       in->records[i + 1].topic != record->topic;
        if (!is_last) continue;
        move_set(moves, record->topic, record->partition, record->offset + 1);
        sync_int_set(next_of(epochs, record->topic, record->partition), record->offset + 2);
    }
    /* Under load a user who comes back within the interval is written once; else nothing is gained by waiting, and short writes
     * stall the next events less. */
    bool is_busy = in->n >= LIGHT_RECORDS || in->n == epochs->settings->batch_max;
    epochs->interval_ms = epochs->settings->commit_interval_ms;
    if (!is_busy && epochs->interval_ms > LIGHT_MS) epochs->interval_ms = LIGHT_MS;
    if (!epochs->opened_ms) epochs->opened_ms = (int64_t)(clock_mono_us(&epochs->clock) / 1000);
}

int64_t epochs_next(const struct epochs *epochs, int topic, int32_t partition)
{
    return sync_int_get(next_of(epochs, topic, partition)) - 1;
}

void epochs_partition_forget(struct epochs *epochs, int32_t partition)
{
    struct moves *moves = &open_epoch(epochs)->moves;
    int kept = 0;
    for (int i = 0; i < moves->n; i++)
        if (moves->list[i].partition != partition) moves->list[kept++] = moves->list[i];
    moves->n = kept;
    for (int topic = 0; topic < epochs->settings->n_sources; topic++)
        sync_int_set(next_of(epochs, topic, partition), 0);
}

/* ---- the protocol ---- */

bool epochs_are_pending(const struct epochs *epochs)
{
    return epochs->n_sealed > 0 || epochs->opened_ms != 0;
}

static size_t pending_bytes(const struct epochs *epochs)
{
    return state_pending_bytes(epochs->state) +
           (epochs->relations ? relations_pending_bytes(epochs->relations) : 0);
}

bool epochs_has_room(const struct epochs *epochs)
{
    bool queue_full = epochs->n_sealed == epochs->capacity - 1;
    return !queue_full && pending_bytes(epochs) < epochs->settings->pending_bytes;
}

/* OPEN -> SEALED: the values as they are now; the next slot of the ring becomes the open one. */
static bool seal(struct epochs *epochs, struct err *err)
{
    struct epoch *epoch = open_epoch(epochs);
    assert(epoch->stage == EPOCH_OPEN && epochs->n_sealed < epochs->capacity - 1);
    if (epochs->relations && !relations_publish(epochs->relations, epoch->sent, err)) return false;
    int n_moves = fault_mutant("offset_in_second_write") ? 0 : epoch->moves.n;
    epoch->values = state_epoch_seal(epochs->state, epoch->moves.list, n_moves);
    if (epochs->neighbours && !fault_mutant("neighbours_not_stored"))
        neighbours_seal(epochs->neighbours, epoch->values);
    if (epochs->relations) relations_seal(epochs->relations, epoch->values);
    epoch->stage = EPOCH_SEALED;
    epochs->n_sealed++;
    epochs->opened_ms = 0;
    return true;
}

/* The planted bug "offset in a second write": positions follow in a WriteBatch of their own. */
static bool positions_write_apart(struct epochs *epochs, const struct epoch *epoch, struct err *err)
{
    if (!fault_mutant("offset_in_second_write")) return true;
    fault_point("between_writes");
    struct state_epoch *apart = state_epoch_seal(epochs->state, epoch->moves.list, epoch->moves.n);
    return state_epoch_write(epochs->state, apart, err);
}

/* A full disk is no reason to lose anything: the epoch waits, the shard stops taking records. */
static bool disk_full_wait(struct epochs *epochs, struct err *err)
{
    int64_t now_ms = (int64_t)(clock_mono_us(&epochs->clock) / 1000);
    if (!epochs->disk_full_ms) {
        epochs->disk_full_ms = now_ms;
        log_err(LOG_WARN, "state", err);
    }
    if (now_ms - epochs->disk_full_ms > epochs->settings->task_timeout_ms)
        return err_fatal(
            err, ERR_EXIT_DISK,
            "the disk of %s has been full for %lld s: make room and start again; nothing is lost",
            epochs->settings->state_folder, (long long)(now_ms - epochs->disk_full_ms) / 1000);
    err->class = ERR_NONE; /* handled: the epoch is tried again */
    sync_sleep_ms(DISK_RETRY_MS);
    return true;
}

/* Writes the oldest sealed epoch; its slot becomes free. */
static bool oldest_write(struct epochs *epochs, struct err *err)
{
    struct epoch *epoch = &epochs->ring[epochs->first];
    assert(epoch->stage == EPOCH_SEALED);
    fault_point("acked");
    if (!state_epoch_write(epochs->state, epoch->values, err))
        return err->class == ERR_RETRY && disk_full_wait(epochs, err);
    if (epochs->disk_full_ms) log_info("state", "the disk has room again", NULL);
    epochs->disk_full_ms = 0;
    if (!positions_write_apart(epochs, epoch, err)) return false;
    if (epochs->relations) relations_written(epochs->relations);
    fault_point("written");
    for (int i = 0; i < epoch->moves.n; i++)
        ingest_commit(epochs->ingest, epoch->moves.list[i].topic, epoch->moves.list[i].partition,
                      epoch->moves.list[i].next);
    epoch->moves.n = 0;
    epoch->values = NULL;
    epoch->stage = EPOCH_OPEN;
    epochs->first = (epochs->first + 1) % epochs->capacity;
    epochs->n_sealed--;
    counters_add(epochs->counters, METRIC_COMMITS, 0, 1);
    return true;
}

bool epochs_advance(struct epochs *epochs, int wait_ms, struct err *err)
{
    int64_t now_ms = (int64_t)(clock_mono_us(&epochs->clock) / 1000);
    bool due = epochs->opened_ms && now_ms - epochs->opened_ms >= epochs->interval_ms;
    bool full = epochs->opened_ms && pending_bytes(epochs) >= epochs->settings->pending_bytes / 2;
    bool has_slot = epochs->n_sealed < epochs->capacity - 1;
    if ((due || full) && has_slot && !seal(epochs, err)) return false;
    while (epochs->n_sealed > 0) {
        const struct epoch *oldest = &epochs->ring[epochs->first];
        enum emit_epoch_state sent = emit_epoch_poll(oldest->sent, err);
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

bool epochs_cut(struct epochs *epochs, bool *is_cut, struct err *err)
{
    *is_cut = !epochs->opened_ms || epochs->n_sealed < epochs->capacity - 1;
    return !*is_cut || !epochs->opened_ms || seal(epochs, err);
}

bool epochs_finish(struct epochs *epochs, int64_t wait_ms, struct err *err)
{
    int64_t start_ms = (int64_t)(clock_mono_us(&epochs->clock) / 1000);
    while (epochs_are_pending(epochs)) {
        bool has_slot = epochs->n_sealed < epochs->capacity - 1;
        if (epochs->opened_ms && has_slot && !seal(epochs, err)) return false;
        if (!epochs_advance(epochs, POLL_FINISH_MS, err)) return false;
        int64_t now_ms = (int64_t)(clock_mono_us(&epochs->clock) / 1000);
        if (epochs_are_pending(epochs) && now_ms - start_ms > wait_ms)
            return err_fatal(
                err, ERR_EXIT_UNREACHABLE,
                "lists are not acknowledged after %lld s; they are sent again at the next start",
                (long long)(now_ms - start_ms) / 1000);
    }
    return true;
}
