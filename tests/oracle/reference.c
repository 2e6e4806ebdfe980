/* The reference fold. Slow and plain on purpose. */
#include "tests/oracle/reference.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/model.h"

struct reference_item {
    int32_t partition;
    bool is_counted;
    uint64_t key;
    double log_count; /* L; counted only when is_counted */
    char tenant[260];
    char id[260];
};

struct reference {
    struct reference_options options;
    const struct model *model;
    struct model_info info;
    struct model_scratch *scratch;
    struct schemas *schemas;
    struct arena *arena;
    struct buf bytes;
    struct reference_users users;
    struct reference_item *items; /* of all partitions */
    int n_items, cap_items;
    struct reference_index **indices; /* (n_indices) of session neighbours, by partition */
    int n_indices, cap_indices;
    char **kept; /* list bytes given out */
    int n_kept, cap_kept;
};

struct reference *reference_new(const struct reference_options *options, const struct model *model,
                                struct schemas *schemas)
{
    struct reference *r = mem_zalloc(sizeof *r);
    r->options = *options;
    r->model = model;
    r->info = model_info(model);
    r->scratch = model_scratch_new(model);
    r->schemas = schemas;
    r->arena = arena_new(1 << 20, SIZE_MAX);
    buf_init(&r->bytes, 1 << 20);
    return r;
}

void reference_free(struct reference *r)
{
    reference_users_free(&r->users);
    for (int i = 0; i < r->n_kept; i++)
        mem_free(r->kept[i]);
    for (int i = 0; i < r->n_indices; i++)
        reference_index_free(r->indices[i]);
    mem_free(r->indices);
    mem_free(r->items);
    mem_free(r->kept);
    model_scratch_free(r->scratch);
    arena_free(r->arena);
    buf_fini(&r->bytes);
    mem_free(r);
}

/* What an arm proposes, best first. */
struct reference_arm {
    uint64_t keys[64];
    float scores[64];     /* not of the popular */
    uint32_t follows[64]; /* of the neighbours */
    int n;
};

static void *grow(void *list, int n, int *cap, size_t size)
{
    if (n < *cap) return list;
    *cap = *cap ? *cap * 2 : 64;
    return mem_realloc(list, (size_t)*cap * size);
}

static struct str keep(struct reference *r, const void *bytes, size_t len)
{
    char *copy = mem_strndup(bytes, len);
    r->kept = grow(r->kept, r->n_kept, &r->cap_kept, sizeof *r->kept);
    r->kept[r->n_kept++] = copy;
    return (struct str){copy, len};
}

/* ---- users ---- */

const struct reference_user *reference_user_find(const struct reference *r, int32_t partition,
                                                 struct str key)
{
    const struct reference_user *user = reference_users_find(&r->users, partition, key);
    return user && !user->is_gone ? user : NULL;
}

int reference_user_count(const struct reference *r)
{
    return reference_users_here(&r->users);
}

/* ---- items and popularity ---- */

static struct reference_item *item_find(struct reference *r, int32_t partition, struct str tenant,
                                        uint64_t key)
{
    for (int i = 0; i < r->n_items; i++) {
        struct reference_item *item = &r->items[i];
        if (item->key == key && item->partition == partition &&
            str_equal(str_of(item->tenant), tenant))
            return item;
    }
    return NULL;
}

static void popularity_count(struct reference *r, int32_t partition, const struct event *event)
{
    double w = r->options.weight[event->type];
    if (w <= 0) return;
    for (size_t i = 0; i < event->n_items; i++) {
        uint64_t key = schemas_item_key(event->tenant, event->items[i].item_id);
        struct reference_item *item = item_find(r, partition, event->tenant, key);
        double now = log2(w) + (double)event->time_ms / (double)r->options.half_life_ms;
        if (!item) {
            r->items = grow(r->items, r->n_items, &r->cap_items, sizeof *r->items);
            item = &r->items[r->n_items++];
            *item = (struct reference_item){.partition = partition, .key = key};
            memcpy(item->tenant, event->tenant.ptr ? event->tenant.ptr : "", event->tenant.len);
            memcpy(item->id, event->items[i].item_id.ptr, event->items[i].item_id.len);
        }
        double high = item->is_counted && item->log_count > now ? item->log_count : now;
        double low = item->is_counted && item->log_count > now ? now : item->log_count;
        item->log_count = item->is_counted ? high + log2(1.0 + exp2(low - high)) : now;
        item->is_counted = true;
    }
}

static bool is_in(const uint64_t *keys, int n, uint64_t key)
{
    for (int i = 0; i < n; i++)
        if (keys[i] == key) return true;
    return false;
}

static bool is_more_popular(const struct reference_item *a, const struct reference_item *b)
{
    return a->log_count > b->log_count || (a->log_count == b->log_count && a->key < b->key);
}

/* The best n of the partition and tenant that are not excluded: each item is put in its place among the best so far. */
static int popular_top(const struct reference *r, int32_t partition, struct str tenant,
                       const uint64_t *excluded, int n_excluded, int n, uint64_t *keys)
{
    const struct reference_item *best[64];
    int found = 0;
    assert(n <= (int)(sizeof best / sizeof *best));
    for (int i = 0; i < r->n_items; i++) {
        const struct reference_item *item = &r->items[i];
        int place = found;
        if (item->partition != partition || !str_equal(str_of(item->tenant), tenant)) continue;
        while (place > 0 && is_more_popular(item, best[place - 1]))
            place--;
        if (place == n || is_in(excluded, n_excluded, item->key)) continue;
        if (found < n) found++;
        memmove(best + place + 1, best + place, (size_t)(found - 1 - place) * sizeof *best);
        best[place] = item;
    }
    for (int i = 0; i < found; i++)
        keys[i] = best[i]->key;
    return found;
}

/* ---- rule 8 ---- */

/* Whether the interaction went to the end. */
static bool window_insert(const struct reference *r, struct reference_user *user,
                          struct reference_interaction in)
{
    int W = r->options.window_max, n = user->n_window, place;
    if (n == W) {
        int keep_n = W / 2;
        memmove(user->window, user->window + n - keep_n, (size_t)keep_n * sizeof in);
        n = user->n_window = keep_n;
        user->truncated = true;
    }
    place = n;
    if (n > 0 && in.time_ms + r->options.late_tolerance_ms < user->newest_ms)
        while (place > 0 && user->window[place - 1].time_ms > in.time_ms)
            place--;
    if (place == 0 && n > 0 && user->truncated) return false;
    user->window = mem_realloc(user->window, (size_t)(n + 1) * sizeof in);
    memmove(user->window + place + 1, user->window + place, (size_t)(n - place) * sizeof in);
    user->window[place] = in;
    user->n_window = n + 1;
    if (in.time_ms > user->newest_ms) user->newest_ms = in.time_ms;
    return place == n;
}

static bool is_windowed(enum event_type type)
{
    return type == EVENT_CLICK || type == EVENT_VIEW || type == EVENT_ADD_TO_CART ||
           type == EVENT_PURCHASE || type == EVENT_LIKE;
}

/* ---- rules 9 and 10 ---- */

static int known_inputs(const struct reference *r, const struct reference_user *user,
                        struct model_input *inputs)
{
    int n = 0;
    int64_t before_ms = 0;
    for (int i = 0; i < user->n_window; i++) {
        int32_t index = model_item_index(r->model, user->window[i].item);
        if (index < 0) continue;
        int64_t gap = n ? user->window[i].time_ms - before_ms : 0;
        inputs[n++] = (struct model_input){index, user->window[i].type, gap > 0 ? gap : 0};
        before_ms = user->window[i].time_ms;
    }
    return n;
}

void reference_encode(const struct reference *r, const struct reference_user *user, float *state)
{
    struct model_input *inputs = mem_alloc((size_t)user->n_window * sizeof *inputs + 1);
    int n = known_inputs(r, user, inputs);
    model_state_init(r->model, state);
    for (int i = 0; i < n; i++)
        model_step(r->model, r->scratch, 1, &state, &inputs[i]);
    mem_free(inputs);
}

/* How many candidates each arm gives. */
static int depth_of(const struct reference *r)
{
    return model_ranker(r->model) ? 50 : r->options.list_size;
}

static void encoder_top(struct reference *r, const struct reference_user *user,
                        const uint64_t *excluded, int n_excluded, struct reference_arm *arm)
{
    int K = depth_of(r);
    int32_t top[64], *without = mem_alloc((size_t)r->info.N * sizeof *without);
    float *state = mem_aligned(64, (size_t)r->info.S * sizeof *state);
    struct model_input *inputs = mem_alloc((size_t)user->n_window * sizeof *inputs + 1);
    bool any = known_inputs(r, user, inputs) > 0;
    reference_encode(r, user, state);
    const float *vector = model_state_vector(r->model, state);
    int n_without = 0;
    for (int32_t i = 0; i < r->info.N; i++)
        if (is_in(excluded, n_excluded, model_item_key(r->model, i))) without[n_without++] = i;
    struct model_exclusions exclusions = {.items = without, .n = n_without};
    if (any) model_topk_naive(r->model, 1, &vector, &exclusions, K, top, arm->scores);
    for (int i = 0; any && i < K && top[i] >= 0; i++)
        arm->keys[arm->n++] = model_item_key(r->model, top[i]);
    mem_free(without);
    mem_free(inputs);
    mem_free(state);
}

/* ---- rule 12 ---- */

const struct reference_index *reference_index_of(const struct reference *r, int32_t partition)
{
    return partition < r->n_indices ? r->indices[partition] : NULL;
}

static struct reference_index *index_get(struct reference *r, int32_t partition)
{
    while (r->n_indices <= partition) {
        r->indices =
            grow(r->indices, r->n_indices, &r->cap_indices, sizeof(struct reference_index *));
        r->indices[r->n_indices++] = reference_index_new(&r->options.neighbours);
    }
    return r->indices[partition];
}

/* Where the user's current session begins in the window, and its id. */
static int session_of(const struct reference *r, const struct reference_user *user, uint64_t *id)
{
    char name[1024];
    int first = user->n_window - 1;
    while (first > 0 && user->window[first].time_ms - user->window[first - 1].time_ms <=
                            r->options.session_gap_ms)
        first--;
    memcpy(name, user->key, user->key_len);
    for (int i = 0; i < 8; i++)
        name[user->key_len + (size_t)i] =
            (char)(((uint64_t)user->window[first].time_ms >> (8 * i)) & 255);
    *id = schemas_id_hash((struct str){name, user->key_len}) >> 32 << 32 |
          (schemas_id_hash((struct str){name, user->key_len + 8}) & 0xffffffffu);
    return first;
}

static void session_click(struct reference *r, const struct reference_user *user, int32_t partition,
                          const struct event *event)
{
    uint64_t id;
    (void)session_of(r, user, &id);
    for (size_t i = 0; i < event->n_items; i++)
        reference_index_add(index_get(r, partition), id,
                            schemas_item_key(event->tenant, event->items[i].item_id),
                            event->time_ms);
}

static struct str id_of(struct reference *r, int32_t partition, struct str tenant, uint64_t key);

static void neighbours_top(struct reference *r, const struct reference_user *user,
                           int32_t partition, struct str tenant, const uint64_t *excluded,
                           int n_excluded, struct reference_arm *arm)
{
    struct reference_neighbour found[REFERENCE_CANDIDATES_MAX];
    uint64_t id;
    if (!r->options.has_neighbours || user->n_window == 0) return;
    int first = session_of(r, user, &id), n_items = user->n_window - first;
    uint64_t *items = mem_alloc((size_t)n_items * sizeof *items);
    for (int i = 0; i < n_items; i++)
        items[i] = user->window[first + i].item;
    int count = reference_index_query(index_get(r, partition), id, items, n_items, found);
    for (int i = 0; i < count && arm->n < depth_of(r); i++) {
        if (is_in(excluded, n_excluded, found[i].key)) continue;
        if (id_of(r, partition, tenant, found[i].key).len == 0) continue;
        arm->keys[arm->n] = found[i].key;
        arm->scores[arm->n] = (float)found[i].score;
        arm->follows[arm->n++] = found[i].follows;
    }
    mem_free(items);
}

struct fused {
    uint64_t key;
    float score;
    unsigned arms;
};

static int fuse(struct reference *r, const struct reference_arm *arms, struct fused *out)
{
    int n = 0;
    for (int arm = 0; arm < ARM_COUNT; arm++) {
        for (int rank = 1; rank <= arms[arm].n; rank++) {
            int at = 0;
            while (at < n && out[at].key != arms[arm].keys[rank - 1])
                at++;
            if (at == n) out[n++] = (struct fused){.key = arms[arm].keys[rank - 1]};
            out[at].score += r->options.blend[arm] / (60.0F + (float)rank);
            out[at].arms |= 1u << arm;
        }
    }
    for (int i = 1; i < n;
         i++) /* insertion sort: stable, so ties stay in the order they were met */
        for (int j = i; j > 0 && out[j].score > out[j - 1].score; j--) {
            struct fused swap = out[j];
            out[j] = out[j - 1];
            out[j - 1] = swap;
        }
    return n < r->options.list_size ? n : r->options.list_size;
}

/* The model's ranker has its arithmetic from model/, and what it looks at from here. */
static int rank(struct reference *r, const struct reference_user *user, int32_t partition,
                struct str tenant, const uint64_t *excluded, int n_excluded,
                const struct reference_arm *arms, struct fused *out)
{
    uint64_t session[20], repeats[20];
    struct model_blended best[64];
    int n_session = 0, n_repeats = 0;
    for (int i = 0; i < user->n_window; i++)
        if (user->n_window - i <= 20) session[n_session++] = user->window[i].item;
    for (int i = n_session - 1; i >= 0; i--) {
        bool fits = !is_in(excluded, n_excluded, session[i]) &&
                    !is_in(repeats, n_repeats, session[i]) &&
                    id_of(r, partition, tenant, session[i]).len > 0;
        if (fits) repeats[n_repeats++] = session[i];
    }
    struct model_ranking ranking = {.follows = arms[ARM_NEIGHBOURS].follows,
                                    .session = session,
                                    .n_session = n_session,
                                    .repeats = {.keys = repeats, .n = n_repeats}};
    for (int arm = 0; arm < ARM_COUNT; arm++) {
        if (r->options.blend[arm] <= 0) continue;
        ranking.arms[arm].keys = arms[arm].keys;
        ranking.arms[arm].n = arms[arm].n;
        ranking.arms[arm].scores = arm == ARM_POPULAR ? NULL : arms[arm].scores;
    }
    int n = model_rank(r->model, &ranking, r->options.list_size, best);
    for (int i = 0; i < n; i++)
        out[i] = (struct fused){best[i].key, best[i].score, best[i].arms};
    return n;
}

static struct str id_of(struct reference *r, int32_t partition, struct str tenant, uint64_t key)
{
    int32_t index = model_item_index(r->model, key);
    if (index >= 0) return model_item_id(r->model, index);
    const struct reference_item *item = item_find(r, partition, tenant, key);
    return item ? str_of(item->id) : (struct str){0};
}

/* The up to 6 newest known items, each once, of the last 12 interactions; without any there, the newest known one of all. What is
 * nearest has its arithmetic from model/. */
static struct model_because because_of(const struct reference *r, const struct reference_user *user)
{
    struct model_because because = {0};
    for (int i = user->n_window - 1; i >= 0; i--) {
        bool is_near = user->n_window - i <= 12;
        if (!is_near && because.n > 0) break;
        (void)model_because_add(r->model, &because,
                                model_item_index(r->model, user->window[i].item));
    }
    return because;
}

static void reasons_fill(const struct reference *r, const struct model_because *because,
                         const struct fused *fused, struct list_item *item)
{
    static const enum reason_kind reasons[ARM_COUNT] = {[ARM_ENCODER] = REASON_ENCODER,
                                                        [ARM_NEIGHBOURS] = REASON_SIMILAR_SESSIONS,
                                                        [ARM_POPULAR] = REASON_POPULAR};
    for (int arm = 0; arm < ARM_COUNT; arm++) {
        if (!(fused->arms & (1u << arm))) continue;
        int32_t why = -1;
        if (arm == ARM_ENCODER && r->options.reasons_name_items)
            why = model_because(r->model, because, model_item_index(r->model, fused->key));
        struct str id = why >= 0 ? model_item_id(r->model, why) : (struct str){0};
        item->reasons[item->n_reasons++] = (struct reason){reasons[arm], id};
    }
    if (fused->arms == 0) item->reasons[item->n_reasons++].kind = REASON_REPEAT;
}

/* Adds what the catalogue refuses of all that an arm may propose; returns the new number. */
static int refused_add(const struct reference *r, const struct event *event, uint64_t *excluded,
                       int n)
{
    for (int i = 0; r->options.catalogue && i < r->info.N + r->n_items; i++) {
        uint64_t key = i < r->info.N ? model_item_key(r->model, i) : r->items[i - r->info.N].key;
        if (reference_catalogue_refuses(r->options.catalogue, event->tenant, key, event->time_ms))
            excluded[n++] = key;
    }
    return n;
}

static void list_make(struct reference *r, struct reference_user *user, int32_t partition,
                      int64_t offset, const struct event *event, struct expectation *expected)
{
    size_t most = 1300 + (size_t)r->info.N + (size_t)r->n_items;
    uint64_t *excluded = mem_alloc(most * sizeof *excluded);
    int n_excluded = 0;
    struct reference_arm arms[ARM_COUNT] = {0};
    struct fused fused[ARM_COUNT * 64];
    struct list_item items[64] = {0};
    char id[33], key[600];
    for (size_t i = 0; i < event->n_items; i++)
        excluded[n_excluded++] = schemas_item_key(event->tenant, event->items[i].item_id);
    for (int i = 0; i < user->n_bought; i++)
        excluded[n_excluded++] = user->bought[i];
    for (int i = 0; i < user->n_disliked; i++)
        excluded[n_excluded++] = user->disliked[i];
    n_excluded = refused_add(r, event, excluded, n_excluded);
    encoder_top(r, user, excluded, n_excluded, &arms[ARM_ENCODER]);
    neighbours_top(r, user, partition, event->tenant, excluded, n_excluded, &arms[ARM_NEIGHBOURS]);
    arms[ARM_POPULAR].n = popular_top(r, partition, event->tenant, excluded, n_excluded,
                                      depth_of(r), arms[ARM_POPULAR].keys);
    int n = model_ranker(r->model)
                ? rank(r, user, partition, event->tenant, excluded, n_excluded, arms, fused)
                : fuse(r, arms, fused);
    mem_free(excluded);
    struct model_because because = because_of(r, user);
    for (int i = 0; i < n; i++) {
        items[i].item_id = id_of(r, partition, event->tenant, fused[i].key);
        items[i].score = fused[i].score;
        reasons_fill(r, &because, &fused[i], &items[i]);
        user->last_list[i] = fused[i].key;
    }
    user->n_last_list = n;
    schemas_recommendation_id(str_of(r->options.events_topic), partition, offset, id);
    struct recommendations list = {.recommendation_id = {id, 32},
                                   .tenant = event->tenant,
                                   .user_id =
                                       event->user_id.len ? event->user_id : event->anonymous_id,
                                   .scenario = STR("default"),
                                   .items = items,
                                   .n_items = (size_t)n,
                                   .model_version = str_of(r->info.version),
                                   .trigger = {str_of(r->options.events_topic), partition, offset,
                                               event->event_id, event->time_ms}};
    buf_reset(&r->bytes);
    schemas_recommendations_encode(r->schemas, &list, &r->bytes);
    expected->value = keep(r, r->bytes.data, r->bytes.len);
    size_t at = 0;
    if (event->tenant.len) {
        memcpy(key, event->tenant.ptr, event->tenant.len);
        at = event->tenant.len;
        key[at++] = ':';
    }
    memcpy(key + at, list.user_id.ptr, list.user_id.len);
    expected->key = keep(r, key, at + list.user_id.len);
}

/* ---- the rules in order ---- */

static bool is_duplicate(struct reference_user *user, struct str event_id)
{
    if (event_id.len == 0) return false;
    uint64_t hash = schemas_id_hash(event_id);
    if (is_in(user->recent, user->n_recent, hash)) return true;
    if (user->n_recent == 32) {
        memmove(user->recent, user->recent + 1, 31 * sizeof *user->recent);
        user->n_recent = 31;
    }
    user->recent[user->n_recent++] = hash;
    return false;
}

static void event_apply(struct reference *r, struct reference_user *user, int32_t partition,
                        const struct event *event)
{
    bool at_end = is_windowed(event->type) && event->n_items > 0;
    user->events++;
    popularity_count(r, partition, event);
    for (size_t i = 0; i < event->n_items; i++) {
        uint64_t key = schemas_item_key(event->tenant, event->items[i].item_id);
        reference_sets_change(user, event->type, key);
        struct reference_interaction in = {key, event->time_ms, (int)event->type};
        if (is_windowed(event->type) && !window_insert(r, user, in)) at_end = false;
    }
    if (at_end && r->options.has_neighbours) session_click(r, user, partition, event);
}

static const char *event_take(struct reference *r, int64_t timestamp_ms, struct str value,
                              struct event *event)
{
    struct err err = ERR_INIT;
    if (!value.ptr || value.len == 0) return "empty";
    if (value.len > 65536) return "too_large";
    if (!schemas_event_decode(r->schemas, value, r->arena, event, &err)) return "decode";
    return reference_clean(event, timestamp_ms, r->options.max_future_ms);
}

struct naming {
    struct reference *r;
    int32_t partition;
    struct str tenant;
};

static bool is_named(void *context, uint64_t key)
{
    const struct naming *naming = context;
    return id_of(naming->r, naming->partition, naming->tenant, key).len > 0;
}

struct expectation reference_apply(struct reference *r, int32_t partition, int64_t offset,
                                   int64_t timestamp_ms, struct str value)
{
    struct expectation expected = {.outcome = REFERENCE_POISON};
    struct event event;
    char key[SCHEMAS_USER_KEY_MAX];
    arena_reset(r->arena);
    expected.reason = event_take(r, timestamp_ms, value, &event);
    if (expected.reason) return expected;
    if (!event.consent) return (struct expectation){.outcome = REFERENCE_QUIET};
    struct reference_user *user =
        reference_users_get(&r->users, partition, schemas_user_key(&event, key));
    expected.user = user;
    expected.outcome = REFERENCE_ERASED;
    if (event.time_ms <= user->erased_ms) return expected;
    if (offset <= user->last_offset) abort(); /* the reader feeds records in order */
    user->last_offset = offset;
    user->is_gone = false;
    expected.outcome = REFERENCE_DUPLICATE;
    if (is_duplicate(user, event.event_id)) return expected;
    expected.outcome = REFERENCE_QUIET;
    if (event.type == EVENT_IMPRESSION || event.type == EVENT_OTHER) return expected;
    struct naming naming = {r, partition, event.tenant};
    if (r->options.has_pairs) reference_pairs_find(&r->options, user, &event, &expected.pairs);
    event_apply(r, user, partition, &event);
    reference_pairs_named(&expected.pairs, &event, is_named, &naming);
    if (r->options.has_trending) reference_pairs_count(&r->options, &event, &expected.pairs);
    reference_pairs_sort(&expected.pairs);
    expected.outcome = REFERENCE_LIST;
    list_make(r, user, partition, offset, &event, &expected);
    return expected;
}

struct reference_erased reference_erase(struct reference *r, int32_t partition, struct str key,
                                        int64_t erased_ms)
{
    struct reference_user *user = reference_users_get(&r->users, partition, key);
    struct reference_erased erased = reference_user_erase(user, erased_ms);
    if (!erased.is_repeated && r->options.has_neighbours)
        erased.sessions = reference_index_forget(index_get(r, partition), schemas_id_hash(key));
    return erased;
}
