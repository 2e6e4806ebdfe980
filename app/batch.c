/* The micro-batch: fold, then the encoder (app/encode.c), then ranking; app/publish.c sends what came out. */
#include "app/batch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "app/batch_internal.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"
#include "base/sync.h"

/* A record that has SLICE_STEPS encoder steps before it in its batch waits for the next slice. After a start or with another
 * model each user's window is encoded whole, up to session.window steps: a batch of 1,024 of them in one piece would hold its
 * first list back for seconds. At 1 to 5 us a step (bench/encoder_bench) a slice takes 3 to 10 ms; much smaller ones gain
 * nothing more, since an encoder call takes up to 256 steps. The encoder states of a slice are all in memory: SLICE_FLOATS bounds them. */
enum {
    ARENA_BLOCK = 1 << 20,
    SLICE_STEPS = 2048,
    ROWS_FIRST = 2 * SLICE_STEPS,
    SLICE_FLOATS = 16 << 20,
    DEPTH_MAX = USER_LIST_MAX,
    WHY_LOOK = 12
};
_Static_assert((int)MODEL_RANKER_DEPTH <= (int)DEPTH_MAX, "arms fit");

/* Candidates of each arm. */
static int depth_of(const struct batch *batch)
{
    bool has_ranker = batch->env.model && model_ranker(batch->env.model);
    return has_ranker ? MODEL_RANKER_DEPTH : batch->env.settings->list_size;
}

/* What depends on the model: its numbers, and working memory of its shape. */
static void model_use(struct batch *batch, const struct model *model)
{
    int max = batch->env.settings->batch_max;
    batch->env.model = model;
    batch->info = model_info(model);
    batch->depth = depth_of(batch);
    size_t row = (size_t)batch->info.D * sizeof(float);
    bool is_large = batch->info.S > SLICE_FLOATS / max;
    batch->slice_max = is_large ? 1 + SLICE_FLOATS / batch->info.S : max;
    batch->scratch = model_scratch_new(model);
    batch->advanced = mem_aligned(64, (size_t)batch->info.max_batch * row);
    batch->vectors = mem_aligned(64, (size_t)max * row);
}

struct batch *batch_new(const struct batch_env *env)
{
    struct batch *batch = mem_zalloc(sizeof *batch);
    int max = env->settings->batch_max;
    batch->env = *env;
    batch->depth = env->settings->list_size;
    batch->work = mem_zalloc((size_t)max * sizeof *batch->work);
    batch->arena = arena_new(ARENA_BLOCK, SIZE_MAX);
    buf_init(&batch->bytes, 1 << 20);
    buf_init(&batch->names, 1 << 20);
    batch__asked_new(batch);
    batch->seen =
        mem_alloc((size_t)(env->settings->n_topics * env->n_partitions) * sizeof *batch->seen);
    for (int32_t p = 0; p < env->n_partitions; p++)
        batch_partition_forget(batch, p);
    batch->slice_max = max;
    batch->rows_cap = ROWS_FIRST;
    batch->rows = mem_alloc((size_t)batch->rows_cap * sizeof *batch->rows);
    if (env->model) {
        model_use(batch, env->model);
        batch->top_item = mem_alloc((size_t)max * DEPTH_MAX * sizeof *batch->top_item);
        batch->top_score = mem_alloc((size_t)max * DEPTH_MAX * sizeof *batch->top_score);
    }
    batch->ranked = mem_zalloc((size_t)max * sizeof *batch->ranked);
    batch->vector_of = mem_zalloc((size_t)max * sizeof *batch->vector_of);
    batch->exclusions = mem_zalloc((size_t)max * sizeof *batch->exclusions);
    return batch;
}

void batch_model_set(struct batch *batch, const struct model *model)
{
    model_scratch_free(batch->scratch);
    mem_free(batch->advanced);
    mem_free(batch->vectors);
    model_use(batch, model);
}

void batch_free(struct batch *batch)
{
    if (!batch) return;
    if (batch->scratch) model_scratch_free(batch->scratch);
    arena_free(batch->arena);
    buf_fini(&batch->bytes);
    buf_fini(&batch->names);
    batch__asked_free(batch);
    mem_free(batch->seen);
    mem_free(batch->work);
    mem_free(batch->rows);
    mem_free(batch->advanced);
    mem_free(batch->vectors);
    mem_free(batch->top_item);
    mem_free(batch->top_score);
    mem_free(batch->ranked);
    mem_free(batch->vector_of);
    mem_free(batch->exclusions);
    mem_free(batch);
}

/* ---- 1 fold ---- */

static bool is_key_in(const uint64_t *keys, int n, uint64_t key)
{
    for (int i = 0; i < n; i++)
        if (keys[i] == key) return true;
    return false;
}

/* What a list for this user and event must not hold. */
struct skip {
    const struct user *user;
    const uint64_t *trigger; /* (n_trigger) keys of the triggering event's items */
    int n_trigger;
    struct policy *policy; /* NULL: none */
    const struct policy_gate *gate;
};

/* Bought, and not to be listed again. */
static bool is_bought(const struct skip *skip, uint64_t key)
{
    return is_key_in(skip->user->bought, skip->user->n_bought, key) &&
           !(skip->policy && policy_may_repeat(skip->policy, skip->gate, skip->user, key));
}

static bool is_skipped(void *context, uint64_t key)
{
    const struct skip *skip = context;
    return is_key_in(skip->trigger, skip->n_trigger, key) || is_bought(skip, key) ||
           is_key_in(skip->user->disliked, skip->user->n_disliked, key) ||
           (skip->policy && !policy_allows(skip->policy, skip->gate, key));
}

static int compare_index(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Adds the indices of keys that the model knows; returns the new count. */
static int add_indices(const struct model *model, const uint64_t *keys, int n_keys, int32_t *out,
                       int n)
{
    for (int i = 0; i < n_keys; i++) {
        int32_t index = model_item_index(model, keys[i]);
        if (index >= 0) out[n++] = index;
    }
    return n;
}

/* The same as indices for the exact top-k: ascending, no repeats. */
static struct model_exclusions exclusions_make(struct batch *batch, const struct skip *skip)
{
    const struct user *user = skip->user;
    size_t most = (size_t)(user->n_bought + user->n_disliked + skip->n_trigger);
    int32_t *items = arena_alloc(batch->arena, most * sizeof *items + 1);
    int n = 0, kept = 0;
    n = add_indices(batch->env.model, skip->trigger, skip->n_trigger, items, n);
    for (int i = 0; i < user->n_bought; i++)
        if (!skip->policy || is_bought(skip, user->bought[i]))
            n = add_indices(batch->env.model, &user->bought[i], 1, items, n);
    n = add_indices(batch->env.model, user->disliked, user->n_disliked, items, n);
    if (n > 1) qsort(items, (size_t)n, sizeof *items, compare_index);
    for (int i = 0; i < n; i++)
        if (kept == 0 || items[kept - 1] != items[i]) items[kept++] = items[i];
    return (struct model_exclusions){
        .items = items, .n = kept, .filter = skip->policy ? skip->gate->filter : NULL};
}

/* The newest known items of the window, among its last WHY_LOOK interactions or the first that is known; only the newest one when
 * lists name none. */
static void because_note(const struct batch *batch, struct work *work)
{
    const struct user *user = work->user;
    bool has_room = true, one = !batch->env.settings->reasons_name_items;
    work->because.n = 0;
    for (int i = user->n_window - 1; i >= 0 && has_room; i--) {
        if (work->because.n > 0 && (one || i < user->n_window - WHY_LOOK)) break;
        has_room = model_because_add(batch->env.model, &work->because,
                                     model_item_index(batch->env.model, user->window[i].item));
    }
}

static bool is_scored(enum event_type type)
{
    return type == EVENT_CLICK || type == EVENT_VIEW || type == EVENT_ADD_TO_CART ||
           type == EVENT_PURCHASE;
}

/* Where each item of the event stood in the popular arm before it (rule 11): rank from 1, 0 = not in it. The item met last is
 * left out, as it is from the list that the arm is compared with. */
static void popular_ranks_note(struct batch *batch, struct work *work)
{
    const struct user *user = work->user;
    struct skip skip = {.user = user};
    const struct ingest_record *record = work->record;
    uint64_t keys[USER_LIST_MAX];
    if (user->n_window > 0) {
        skip.trigger = &user->window[user->n_window - 1].item;
        skip.n_trigger = 1;
    }
    int n = state_popularity_top(batch->env.state, record->partition, record->event.tenant,
                                 QUALITY_K, keys, is_skipped, &skip);
    work->popular_rank =
        arena_alloc(batch->arena, (size_t)work->n_keys * sizeof *work->popular_rank + 1);
    for (int i = 0; i < work->n_keys; i++) {
        work->popular_rank[i] = 0;
        for (int r = 0; r < n; r++)
            if (keys[r] == work->keys[i]) work->popular_rank[i] = r + 1;
    }
}

/* A candidate of the neighbours and a repeat must also have an id: popularity may have forgotten it. */
struct id_skip {
    struct skip skip;
    struct batch *batch;
    const struct work *work;
};

static bool is_skipped_or_lost(void *context, uint64_t key)
{
    struct id_skip *skip = context;
    return is_skipped(&skip->skip, key) || batch__item_id(skip->batch, skip->work, key).len == 0;
}

/* Rule 12: the event's items enter the index of its partition when they went to the end of the user's window. */
static void session_note(struct batch *batch, struct work *work, struct str user_key,
                         const struct fold_result *folded)
{
    const struct ingest_record *record = work->record;
    uint64_t since = clock_mono_ns();
    work->session = neighbours_session(batch->env.neighbours, user_key, work->user);
    if (folded->appended > 0 && folded->appended == work->n_keys)
        neighbours_add(batch->env.neighbours, record->partition, work->session.id, work->keys,
                       work->n_keys, record->event.time_ms);
    batch->neighbours_ns += clock_mono_ns() - since;
}

static void neighbours_note(struct batch *batch, struct work *work, struct id_skip *skip)
{
    struct model_neighbour found[DEPTH_MAX];
    uint64_t since = clock_mono_ns();
    int n = neighbours_top(batch->env.neighbours, work->record->partition, &work->session,
                           batch->depth, is_skipped_or_lost, skip, found);
    work->neighbours = arena_alloc(batch->arena, (size_t)n * sizeof *work->neighbours + 1);
    work->neighbour_scores =
        arena_alloc(batch->arena, (size_t)n * sizeof *work->neighbour_scores + 1);
    work->follows = arena_alloc(batch->arena, (size_t)n * sizeof *work->follows + 1);
    for (int i = 0; i < n; i++) {
        work->neighbours[i] = found[i].key;
        work->neighbour_scores[i] = (float)found[i].score;
        work->follows[i] = found[i].follows;
    }
    work->n_neighbours = n;
    batch->neighbours_ns += clock_mono_ns() - since;
}

/* The end of the window, as the ranker looks at it. */
static void session_end_note(struct batch *batch, struct work *work, struct id_skip *skip)
{
    const struct user *user = work->user;
    uint64_t keys[MODEL_RANKER_SESSION];
    int n = user->n_window < MODEL_RANKER_SESSION ? user->n_window : MODEL_RANKER_SESSION;
    for (int i = 0; i < n; i++)
        keys[i] = user->window[user->n_window - n + i].item;
    work->noted = arena_alloc(batch->arena, sizeof *work->noted);
    model_session_note(work->noted, keys, n, is_skipped_or_lost, skip);
}

bool batch__is_refused(void *context, uint64_t key)
{
    const struct work *work = context;
    return is_key_in(work->refused, work->n_refused, key);
}

/* What the list may hold by catalogue and rules, and the user's own exclusions for who asks after the fold. */
static void gate_note(struct batch *batch, struct work *work, struct skip *skip)
{
    const struct user *user = work->user;
    policy_gate(batch->env.policy, &work->record->event, &work->gate);
    skip->policy = batch->env.policy;
    skip->gate = &work->gate;
    size_t most = (size_t)(user->n_bought + user->n_disliked + work->n_keys);
    uint64_t *keys = work->refused = arena_alloc(batch->arena, most * sizeof *keys + 1);
    int n = 0;
    for (int i = 0; i < work->n_keys; i++)
        keys[n++] = work->keys[i];
    for (int i = 0; i < user->n_bought; i++)
        if (is_bought(skip, user->bought[i])) keys[n++] = user->bought[i];
    for (int i = 0; i < user->n_disliked; i++)
        keys[n++] = user->disliked[i];
    work->n_refused = n;
}

/* Everything the list needs that later records may change: exclusions and the other arms as they are now. */
static void list_note(struct batch *batch, struct work *work)
{
    const struct ingest_record *record = work->record;
    struct skip skip = {.user = work->user, .trigger = work->keys, .n_trigger = work->n_keys};
    if (batch->env.policy) gate_note(batch, work, &skip);
    struct id_skip with_id = {.skip = skip, .batch = batch, .work = work};
    int n = batch->depth;
    work->has_list = true;
    work->popular = arena_alloc(batch->arena, (size_t)n * sizeof *work->popular);
    work->n_popular =
        state_popularity_top(batch->env.state, record->partition, record->event.tenant, n,
                             work->popular, is_skipped, &skip);
    if (batch->env.neighbours) neighbours_note(batch, work, &with_id);
    if (batch->env.companions) batch__lists_note(batch, work, is_skipped_or_lost, &with_id);
    if (!batch->env.model) return;
    if (model_ranker(batch->env.model)) session_end_note(batch, work, &with_id);
    because_note(batch, work);
    work->has_vector = work->because.n > 0;
    work->row = work->user->batch_row;
    if (work->has_vector && work->row <= batch->rows_first) batch__vector_take(batch, work, NULL);
    work->exclusions = exclusions_make(batch, &skip);
}

static void outcome_count(struct counters_slot *counters, const struct fold_result *folded)
{
    counters_add(counters, METRIC_EVENTS, (int)folded->outcome, 1);
    if (folded->late) counters_add(counters, METRIC_LATE, 0, 1);
    if (folded->too_late) counters_add(counters, METRIC_TOO_LATE, 0, folded->too_late);
}

static void keys_make(struct batch *batch, struct work *work)
{
    const struct event *event = &work->record->event;
    work->n_keys = (int)event->n_items;
    work->keys = arena_alloc(batch->arena, event->n_items * sizeof *work->keys + 1);
    for (size_t i = 0; i < event->n_items; i++)
        work->keys[i] = schemas_item_key(event->tenant, event->items[i].item_id);
}

static struct str known_id(void *context, uint64_t key)
{
    struct id_skip *ids = context;
    return batch__item_id(ids->batch, ids->work, key);
}

static int known_categories(void *context, uint64_t key, const struct str **categories)
{
    struct id_skip *ids = context;
    const struct policy *policy = ids->batch->env.policy;
    return policy ? policy_categories(policy, key, categories) : 0;
}

/* Errors: as fold_record. */
static bool pairs_apply(struct batch *batch, struct work *work, struct err *err)
{
    uint64_t since = clock_mono_ns();
    bool ok = relations_apply(batch->env.relations, work->record, err);
    batch->relations_ns += clock_mono_ns() - since;
    return ok;
}

/* Under another key of pseudonyms the user may be known by the name of before; the list under it goes. */
static bool former_move(struct batch *batch, struct work *work, struct str to, struct err *err)
{
    const struct event *event = &work->record->event;
    char bytes[SCHEMAS_USER_KEY_MAX];
    struct event former = {.tenant = event->tenant};
    bool is_moved;
    *(event->user_id.len ? &former.user_id : &former.anonymous_id) = event->former_id;
    if (!state_user_move(batch->env.state, work->record->partition,
                         schemas_user_key(&former, bytes), to, &is_moved, err))
        return false;
    if (is_moved) work->former_id = event->former_id;
    return true;
}

/* One good record. Errors: ERR_DATA: the record is poison after all (key collision); ERR_FATAL. */
static bool fold_record(struct batch *batch, struct work *work, struct err *err)
{
    const struct ingest_record *record = work->record;
    if (record->topic == batch->env.settings->erasures_at) return batch__erase(batch, work, err);
    if (record->topic >= batch->env.settings->n_topics) return pairs_apply(batch, work, err);
    struct event event = record->event;
    struct state_shard *state = batch->env.state;
    char key[SCHEMAS_USER_KEY_MAX];

    if (fault_mutant("no_dedupe")) event.event_id = (struct str){0};
    if (!state_items_check(state, record->partition, &event, err)) return false;
    struct str user_key = schemas_user_key(&event, key);
    if (event.former_id.len && !former_move(batch, work, user_key, err)) return false;
    if (!state_user_get(state, record->partition, user_key, &work->user, err)) return false;
    work->is_hushed = batch->n_waiting > 0 && batch__asked_hushes(batch, record, user_key);
    if (work->user->batch != batch->number) {
        work->user->batch = batch->number;
        work->user->batch_row = 0;
    }
    keys_make(batch, work);
    if (is_scored(event.type)) popular_ranks_note(batch, work);
    if (batch->env.pairs)
        pairs_note(batch->env.pairs, work->user, &event, work->keys, work->n_keys);
    struct fold_result folded =
        state_user_fold(state, work->user, &event, record->topic, record->offset);
    outcome_count(batch->env.counters, &folded);
    work->is_scored = is_scored(event.type) && folded.outcome == FOLD_APPLIED;
    if (folded.outcome == FOLD_APPLIED &&
        !state_popularity_add(state, record->partition, &event, err))
        return false;
    if (folded.outcome == FOLD_ERASED) work->user = NULL;
    if (folded.outcome == FOLD_ERASED) return true;
    if (folded.outcome != FOLD_REPLAYED && event.consent) state_user_dirty(state, work->user);
    if (folded.outcome == FOLD_APPLIED && batch->env.pairs && !work->is_told) {
        struct id_skip ids = {.batch = batch, .work = work};
        struct pairs_asks asks = {&ids, known_id, known_categories};
        pairs_take(batch->env.pairs, record, &asks);
    }
    if (folded.outcome == FOLD_DUPLICATE || folded.outcome == FOLD_QUIET) return true;
    if (batch->env.neighbours) session_note(batch, work, user_key, &folded);
    if (batch->env.model) batch__encode_note(batch, work->user, &folded);
    list_note(batch, work);
    return true;
}

/* ---- 3 rank ---- */

/* New items beside the encoder's own. */
static void content_note(struct batch *batch, struct work *work, const float *vector)
{
    int K = batch->depth;
    work->content = arena_alloc(batch->arena, (size_t)K * sizeof *work->content);
    work->content_score = arena_alloc(batch->arena, (size_t)K * sizeof *work->content_score);
    work->n_content = policy_content(batch->env.policy, &work->gate, vector, K, batch__is_refused,
                                     work, work->content, work->content_score);
}

static void rank(struct batch *batch)
{
    int n = 0, K = batch->depth;
    for (int i = 0; i < batch->n_work; i++) {
        if (!batch->work[i].has_vector) continue;
        batch->vector_of[n] = batch->vectors + (size_t)i * (size_t)batch->info.D;
        batch->exclusions[n] = batch->work[i].exclusions;
        batch->ranked[n++] = i;
    }
    for (int at = 0; at < n; at += batch->info.max_batch) {
        int B = n - at < batch->info.max_batch ? n - at : batch->info.max_batch;
        model_topk(batch->env.model, batch->scratch, B, batch->vector_of + at,
                   batch->exclusions + at, K, batch->top_item + (size_t)at * (size_t)K,
                   batch->top_score + (size_t)at * (size_t)K);
    }
    for (int r = 0; r < n; r++) {
        struct work *work = &batch->work[batch->ranked[r]];
        work->top = batch->top_item + (size_t)r * (size_t)K;
        work->top_score = batch->top_score + (size_t)r * (size_t)K;
        if (batch->env.policy) content_note(batch, work, batch->vector_of[r]);
    }
}

/* ---- the whole ---- */

static void stage_add(struct batch *batch, enum stage stage, uint64_t *since)
{
    uint64_t now = clock_mono_ns();
    counters_add(batch->env.counters, METRIC_STAGE, (int)stage, (int64_t)(now - *since));
    *since = now;
}

/* What cleaning changed in the batch's records. */
static void cleaning_count(struct counters_slot *counters, const struct ingest_batch *in)
{
    for (int i = CLEAN_TIME_MISSING; i < INGEST_REASON_COUNT; i++)
        if (in->changed[i])
            counters_add(counters, METRIC_CLEANED, i - CLEAN_TIME_MISSING, (int64_t)in->changed[i]);
}

/* An erasure comes, or came: nothing of its user may be under way then. */
static bool is_cut(struct batch *batch, const struct ingest_record *record)
{
    int erasures = batch->env.settings->erasures_at;
    return record->topic == erasures || record[-1].topic == erasures ||
           (batch->n_waiting > 0 && batch__asked_due(batch, record));
}

/* Folds records until the batch ends, it is cut or enough steps wait for the encoder; returns how many, -1 with err. */
static int slice_fold(struct batch *batch, const struct ingest_record *records, int n,
                      struct err *err)
{
    int i = 0;
    while (i < n && (i == 0 || !is_cut(batch, &records[i])) && i < batch->slice_max &&
           batch->rows_first + batch->n_rows < SLICE_STEPS &&
           (!batch->env.policy || policy_has_room(batch->env.policy))) {
        struct work *work = &batch->work[batch->n_work++];
        const struct ingest_record *record = &records[i++];
        *work = (struct work){.record = record, .reason = record->reason, .text = record->text};
        work->is_told =
            tail_holds(batch->env.tail, record->topic, record->partition, record->offset);
        if (work->reason != REASON_NONE || fold_record(batch, work, err)) continue;
        if (err->class != ERR_DATA) return -1;
        bool is_event = record->topic < batch->env.settings->n_topics;
        work->reason = is_event ? POISON_KEY_COLLISION : POISON_DECODE;
        work->text = arena_str(batch->arena, str_of(err->text)).ptr;
        err->class = ERR_NONE; /* handled: it becomes a dead letter */
    }
    return i;
}

int batch__slice(struct batch *batch, const struct ingest_record *records, int n,
                 struct emit_epoch *epoch, struct err *err)
{
    uint64_t since = clock_mono_ns();
    arena_reset(batch->arena);
    state_encoders_trim(batch->env.state);
    batch->number++;
    if (batch->env.policy) policy_slice(batch->env.policy);
    batch->n_rows = batch->rows_first = 0;
    batch->n_work = 0;
    batch->neighbours_ns = batch->relations_ns = 0;
    int taken = slice_fold(batch, records, n, err);
    if (taken < 0) return -1;
    since += batch->neighbours_ns + batch->relations_ns;
    counters_add(batch->env.counters, METRIC_STAGE, STAGE_RELATE, (int64_t)batch->relations_ns);
    counters_add(batch->env.counters, METRIC_STAGE, STAGE_NEIGHBOURS,
                 (int64_t)batch->neighbours_ns);
    stage_add(batch, STAGE_FOLD, &since);
    if (batch->env.model) {
        batch__encode(batch);
        stage_add(batch, STAGE_ENCODE, &since);
        rank(batch);
        stage_add(batch, STAGE_RANK, &since);
    }
    fault_point("inferred");
    bool ok = batch__publish(batch, epoch, err) &&
              (!batch->env.pairs || pairs_send(batch->env.pairs, epoch, err));
    stage_add(batch, STAGE_PUBLISH, &since);
    return ok ? taken : -1;
}

/* Catalogue and rules as they are now, and how deep the arms must go for them. */
static bool policy_take(struct batch *batch, const struct ingest_batch *in, struct err *err)
{
    uint64_t since = clock_mono_ns();
    bool has_events = false;
    for (int i = 0; i < in->n && !has_events; i++)
        has_events = in->records[i].topic < batch->env.settings->n_topics;
    if (!policy_begin(batch->env.policy, batch->env.model, has_events, err)) return false;
    batch->depth = policy_depth(batch->env.policy, depth_of(batch));
    stage_add(batch, STAGE_CATALOGUE, &since);
    return true;
}

/* Receipts are there before anything that comes behind them. Errors: as emit_epoch_poll. */
static bool settle(struct batch *batch, const struct emit_epoch *epoch, struct err *err)
{
    enum emit_epoch_state sent = EMIT_ACKED;
    while (batch->is_unsettled && (sent = emit_epoch_poll(epoch, err)) == EMIT_PENDING)
        sync_sleep_ms(1);
    batch->is_unsettled = false;
    return sent != EMIT_FAILED;
}

/* What comes next: a request that waited for its place, or a slice of the n records. Returns how many of these, -1 with err. */
static int part_run(struct batch *batch, const struct ingest_record *records, int n,
                    struct emit_epoch *epoch, struct err *err)
{
    struct asked_request *due = batch->n_waiting > 0 ? batch__asked_due(batch, records) : NULL;
    if (due) return batch__asked_run(batch, due, epoch, err) ? 0 : -1;
    bool is_event = records->topic < batch->env.settings->n_topics;
    if (is_event && !settle(batch, epoch, err)) return -1;
    return batch__slice(batch, records, n, epoch, err);
}

bool batch__run_alone(struct batch *batch, struct asked_request *request, struct emit_epoch *epoch,
                      struct err *err)
{
    const struct ingest_batch none = {0};
    if (batch->env.policy && !policy_take(batch, &none, err)) return false;
    bool ok = batch__asked_run(batch, request, epoch, err);
    if (batch->env.policy) policy_end(batch->env.policy);
    return ok && settle(batch, epoch, err);
}

bool batch_run(struct batch *batch, const struct ingest_batch *in, struct emit_epoch *epoch,
               struct err *err)
{
    assert(in->n <= batch->env.settings->batch_max);
    counters_add(batch->env.counters, METRIC_BATCHES, 0, 1);
    cleaning_count(batch->env.counters, in);
    if (batch->env.policy && !policy_take(batch, in, err)) return false;
    int at = 0;
    batch->in = in;
    for (int taken = 0; taken >= 0 && at < in->n; at += taken) {
        if (batch->env.companions) companions_hold(batch->env.companions);
        taken = part_run(batch, in->records + at, in->n - at, epoch, err);
        if (batch->env.companions) companions_release(batch->env.companions);
    }
    if (batch->env.policy) policy_end(batch->env.policy);
    if (at == in->n) batch__seen_note(batch, in);
    return at == in->n && settle(batch, epoch, err);
}
