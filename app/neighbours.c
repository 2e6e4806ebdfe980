/* An index of session neighbours for each partition of a shard: from the store and into its epochs; sessions of users. */
#include "app/neighbours.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"

enum { PROGRESS_EVERY = 1 << 18, ROWS_BYTES_FIRST = 1 << 16 };

struct part {
    struct model_neighbours *index; /* NULL: the partition is not open */
    uint64_t sealed;                /* adds that the epochs sealed so far tell of */
    bool is_erased;                 /* sessions were dropped since */
};

struct neighbours {
    const struct settings *settings;
    struct state *state;
    struct state_shard *shard;
    struct part *parts; /* (n_partitions) */
    int n_partitions;
};

struct neighbours *neighbours_new(const struct settings *settings, struct state *state,
                                  struct state_shard *shard, int n_partitions)
{
    struct neighbours *neighbours = mem_zalloc(sizeof *neighbours);
    neighbours->settings = settings;
    neighbours->state = state;
    neighbours->shard = shard;
    neighbours->n_partitions = n_partitions;
    neighbours->parts = mem_zalloc((size_t)n_partitions * sizeof *neighbours->parts);
    return neighbours;
}

void neighbours_free(struct neighbours *neighbours)
{
    if (!neighbours) return;
    for (int32_t p = 0; p < neighbours->n_partitions; p++)
        neighbours_close(neighbours, p);
    mem_free(neighbours->parts);
    mem_free(neighbours);
}

/* ---- from the store ---- */

struct row {
    uint64_t id, recency;
    int64_t last_ms;
    size_t items_at; /* in the items of all rows */
    int n;
};

/* All sessions of a partition, while they are sorted. */
struct rows {
    int32_t partition;
    struct row *all;
    uint64_t *items;
    size_t n, cap, n_items, cap_items;
};

static bool row_take(void *context, const struct state_session *session)
{
    struct rows *rows = context;
    if (rows->n == rows->cap) {
        rows->cap *= 2;
        rows->all = mem_realloc(rows->all, rows->cap * sizeof *rows->all);
    }
    while (rows->n_items + (size_t)session->n > rows->cap_items) {
        rows->cap_items *= 2;
        rows->items = mem_realloc(rows->items, rows->cap_items * sizeof *rows->items);
    }
    rows->all[rows->n++] = (struct row){.id = session->id,
                                        .recency = session->recency,
                                        .last_ms = session->last_ms,
                                        .items_at = rows->n_items,
                                        .n = session->n};
    memcpy(rows->items + rows->n_items, session->items, (size_t)session->n * sizeof *rows->items);
    rows->n_items += (size_t)session->n;
    if (rows->n % PROGRESS_EVERY == 0)
        log_info("app", "reading session neighbours", "partition=%d sessions=%zu clicks=%zu",
                 (int)rows->partition, rows->n, rows->n_items);
    return true;
}

static int by_recency(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    return (x->recency > y->recency) - (x->recency < y->recency);
}

/* Every session by rising recency, then the head. Errors: ERR_FATAL exit 3: two sessions were touched by one click. */
static bool index_fill(struct model_neighbours *index, struct rows *rows,
                       const struct state_sessions_head *head, struct err *err)
{
    qsort(rows->all, rows->n, sizeof *rows->all, by_recency);
    for (size_t i = 0; i < rows->n; i++) {
        const struct row *row = &rows->all[i];
        if (i > 0 && row->recency == rows->all[i - 1].recency)
            return err_fatal(err, ERR_EXIT_STORE,
                             "state store is damaged: sessions %016llx and %016llx of partition %d "
                             "were touched by one click; move the folder away and start again to "
                             "rebuild it from the source topics",
                             (unsigned long long)row->id, (unsigned long long)rows->all[i - 1].id,
                             (int)rows->partition);
        struct model_neighbours_session session = {.id = row->id,
                                                   .recency = row->recency,
                                                   .last_ms = row->last_ms,
                                                   .items = rows->items + row->items_at,
                                                   .n = row->n};
        model_neighbours_restore(index, &session);
    }
    struct model_neighbours_head resumed = {.adds = head->clicks, .newest_ms = head->newest_ms};
    model_neighbours_resume(index, &resumed);
    return true;
}

bool neighbours_open(struct neighbours *neighbours, int32_t partition, struct err *err)
{
    struct part *part = &neighbours->parts[partition];
    struct state_sessions_head head;
    struct model_neighbours_options options =
        settings_neighbours(neighbours->settings, neighbours->n_partitions);
    uint64_t since = clock_mono_ns();
    if (part->index) return true;
    struct rows rows = {.partition = partition,
                        .cap = ROWS_BYTES_FIRST / sizeof *rows.all,
                        .cap_items = ROWS_BYTES_FIRST / sizeof *rows.items};
    rows.all = mem_alloc(rows.cap * sizeof *rows.all);
    rows.items = mem_alloc(rows.cap_items * sizeof *rows.items);
    part->index = model_neighbours_new(&options);
    bool ok = state_sessions_each(neighbours->state, partition, &head, row_take, &rows, err) &&
              index_fill(part->index, &rows, &head, err);
    part->sealed = ok ? head.clicks : 0;
    if (ok && rows.n > 0)
        log_info("app", "session neighbours read",
                 "partition=%d sessions=%d clicks=%d bytes=%zu bytes_max=%zu ms=%llu",
                 (int)partition, model_neighbours_sessions(part->index),
                 model_neighbours_clicks(part->index), model_neighbours_bytes(part->index),
                 model_neighbours_bytes_max(&options),
                 (unsigned long long)((clock_mono_ns() - since) / 1000000));
    if (!ok) neighbours_close(neighbours, partition);
    mem_free(rows.all);
    mem_free(rows.items);
    return ok;
}

void neighbours_close(struct neighbours *neighbours, int32_t partition)
{
    struct part *part = &neighbours->parts[partition];
    model_neighbours_free(part->index);
    *part = (struct part){0};
}

struct neighbours_size neighbours_size(const struct neighbours *neighbours)
{
    struct neighbours_size sum = {0};
    struct model_neighbours_options options =
        settings_neighbours(neighbours->settings, neighbours->n_partitions);
    for (int32_t p = 0; p < neighbours->n_partitions; p++) {
        const struct model_neighbours *index = neighbours->parts[p].index;
        if (!index) continue;
        sum.sessions += model_neighbours_sessions(index);
        sum.clicks += model_neighbours_clicks(index);
        sum.bytes += model_neighbours_bytes(index);
        sum.bytes_max += model_neighbours_bytes_max(&options);
    }
    return sum;
}

/* ---- into an epoch ---- */

struct sealing {
    struct state_shard *shard;
    struct state_epoch *epoch;
    int32_t partition;
};

static void session_put(void *context, const struct model_neighbours_session *session)
{
    const struct sealing *sealing = context;
    struct state_session row = {.id = session->id,
                                .recency = session->recency,
                                .last_ms = session->last_ms,
                                .items = session->items,
                                .n = session->n};
    state_session_put(sealing->shard, sealing->epoch, sealing->partition, &row);
}

void neighbours_seal(struct neighbours *neighbours, struct state_epoch *epoch)
{
    for (int32_t p = 0; p < neighbours->n_partitions; p++) {
        struct part *part = &neighbours->parts[p];
        if (!part->index) continue;
        struct model_neighbours_head head = model_neighbours_head(part->index);
        if (head.adds == part->sealed && !part->is_erased) continue;
        struct sealing sealing = {neighbours->shard, epoch, p};
        model_neighbours_changes(part->index, session_put, &sealing);
        struct state_sessions_head row = {.clicks = head.adds, .newest_ms = head.newest_ms};
        state_sessions_head_put(neighbours->shard, epoch, p, &row);
        part->sealed = head.adds;
        part->is_erased = false;
    }
}

/* ---- events ---- */

struct neighbours_session neighbours_session(const struct neighbours *neighbours,
                                             struct str user_key, const struct user *user)
{
    int64_t gap_ms = neighbours->settings->session_gap_ms;
    int first = user->n_window - 1;
    if (first < 0) return (struct neighbours_session){0};
    while (first > 0 && user->window[first].time_ms - user->window[first - 1].time_ms <= gap_ms)
        first--;
    return (struct neighbours_session){
        .id = schemas_session_id(user_key, user->window[first].time_ms),
        .items = user->window + first,
        .n = user->n_window - first};
}

int neighbours_erase(struct neighbours *neighbours, int32_t partition, struct str user_key)
{
    struct part *part = &neighbours->parts[partition];
    assert(part->index);
    if (fault_mutant("neighbours_kept")) return 0;
    int n = model_neighbours_forget(part->index, SCHEMAS_SESSION_USER,
                                    schemas_id_hash(user_key) & SCHEMAS_SESSION_USER);
    part->is_erased = part->is_erased || n > 0;
    return n;
}

void neighbours_add(struct neighbours *neighbours, int32_t partition, uint64_t session,
                    const uint64_t *items, int n, int64_t time_ms)
{
    struct model_neighbours *index = neighbours->parts[partition].index;
    assert(index);
    for (int i = 0; i < n; i++)
        model_neighbours_add(index, session, items[i], time_ms);
}

int neighbours_top(struct neighbours *neighbours, int32_t partition,
                   const struct neighbours_session *session, int K,
                   bool (*skip)(void *context, uint64_t key), void *context,
                   struct model_neighbour *found)
{
    struct model_neighbours *index = neighbours->parts[partition].index;
    uint64_t items[MODEL_NEIGHBOURS_LAST_MAX];
    int n = session->n < MODEL_NEIGHBOURS_LAST_MAX ? session->n : MODEL_NEIGHBOURS_LAST_MAX;
    assert(index);
    for (int i = 0; i < n; i++)
        items[i] = session->items[session->n - n + i].item;
    return model_neighbours_query(index, session->id, items, n, K, skip, context, found);
}
