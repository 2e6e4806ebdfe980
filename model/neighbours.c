/* The index of session neighbours: adds, bounds, expiry; what a store must know of it. neighbours_internal.h has the lists. */
#include "model/neighbours_internal.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

/* Sessions have about so many items: what a byte limit leaves to clicks and to sessions. */
enum { ITEMS_PER_SESSION = 3 };

/* Entries that the maps have room for at once: a small index never allocates again. */
enum { MAP_FIRST = 1024 };

/* ---- bounds ---- */

static size_t bytes_of(const struct model_neighbours_options *o, size_t nodes, size_t sessions,
                       size_t items)
{
    const struct model_neighbours *x = NULL;
    return sizeof *x + nodes * sizeof *x->nodes +
           sessions * (sizeof *x->sessions + sizeof *x->left) +
           items * (sizeof *x->items + sizeof *x->sum + sizeof *x->follows + sizeof *x->touched) +
           (size_t)o->items_max * (sizeof *x->told + MODEL__LANES * sizeof *x->gathered) +
           (size_t)o->m * sizeof *x->samples + (size_t)o->k * sizeof *x->best;
}

size_t model_neighbours_bytes_max(const struct model_neighbours_options *o)
{
    size_t clicks = (size_t)o->clicks_max, sessions = (size_t)o->sessions_max;
    return bytes_of(o, clicks, sessions, clicks) + map_u64_bytes_for(clicks) +
           map_u64_bytes_for(sessions);
}

void model_neighbours_bound(struct model_neighbours_options *options, size_t bytes)
{
    struct model_neighbours_options o = *options;
    int low = o.items_max, high = INT32_MAX / 2;
    while (low < high) {
        int middle = low + (high - low + 1) / 2;
        o.clicks_max = middle;
        o.sessions_max = 1 + middle / ITEMS_PER_SESSION;
        if (model_neighbours_bytes_max(&o) <= bytes)
            low = middle;
        else
            high = middle - 1;
    }
    options->clicks_max = low;
    options->sessions_max = 1 + low / ITEMS_PER_SESSION;
}

/* ---- life ---- */

struct model_neighbours *model_neighbours_new(const struct model_neighbours_options *options)
{
    struct model_neighbours *x = mem_zalloc(sizeof *x);
    size_t clicks = (size_t)options->clicks_max, sessions = (size_t)options->sessions_max;
    assert(clicks > 0 && sessions > 0 && options->items_max > 0 && options->m > 0);
    assert(options->k > 0 && options->last_n > 0);
    assert(options->last_n <= MODEL_NEIGHBOURS_LAST_MAX);
    x->options = *options;
    x->nodes = mem_alloc(clicks * sizeof *x->nodes);
    x->sessions = mem_zalloc(sessions * sizeof *x->sessions);
    x->items = mem_alloc(clicks * sizeof *x->items);
    x->session_of = map_u64_new(sessions);
    x->item_of = map_u64_new(clicks);
    map_u64_reserve(x->session_of, sessions < MAP_FIRST ? sessions : MAP_FIRST);
    map_u64_reserve(x->item_of, clicks < MAP_FIRST ? clicks : MAP_FIRST);
    x->samples = mem_alloc((size_t)options->m * sizeof *x->samples);
    x->best = mem_alloc((size_t)options->k * sizeof *x->best);
    x->sum = mem_zalloc(clicks * sizeof *x->sum);
    x->follows = mem_zalloc(clicks * sizeof *x->follows);
    x->touched = mem_alloc(clicks * sizeof *x->touched);
    x->cap_left = options->sessions_max;
    x->left = mem_alloc(sessions * sizeof *x->left);
    x->gathered = mem_alloc(MODEL__LANES * (size_t)options->items_max * sizeof *x->gathered);
    x->told = mem_alloc((size_t)options->items_max * sizeof *x->told);
    x->free_node = x->free_session = x->free_item = MODEL__NONE;
    x->newest = x->oldest = x->changed = MODEL__NONE;
    x->newest_ms = INT64_MIN;
    model__neighbours_weights(x);
    return x;
}

void model_neighbours_free(struct model_neighbours *x)
{
    if (!x) return;
    map_u64_free(x->session_of);
    map_u64_free(x->item_of);
    mem_free(x->nodes);
    mem_free(x->sessions);
    mem_free(x->items);
    mem_free(x->samples);
    mem_free(x->best);
    mem_free(x->sum);
    mem_free(x->follows);
    mem_free(x->touched);
    mem_free(x->left);
    mem_free(x->told);
    mem_free(x->gathered);
    mem_free(x);
}

/* ---- the index ---- */

static void node_unlink(struct model_neighbours *x, uint32_t at)
{
    const struct model__node *node = &x->nodes[at];
    if (node->newer != MODEL__NONE)
        x->nodes[node->newer].older = node->older;
    else
        x->items[node->item].newest = node->older;
    if (node->older != MODEL__NONE) x->nodes[node->older].newer = node->newer;
}

static void node_to_front(struct model_neighbours *x, uint32_t at)
{
    struct model__node *node = &x->nodes[at];
    struct model__item *item = &x->items[node->item];
    node->newer = MODEL__NONE;
    node->older = item->newest;
    if (item->newest != MODEL__NONE) x->nodes[item->newest].newer = at;
    item->newest = at;
}

/* Takes a node out of its item's list and frees it, and the item when it was the last. */
static void node_drop(struct model_neighbours *x, uint32_t at)
{
    uint32_t place = x->nodes[at].item;
    struct model__item *item = &x->items[place];
    node_unlink(x, at);
    if (--item->n == 0) {
        (void)map_u64_delete(x->item_of, item->key);
        item->newest = x->free_item;
        x->free_item = place;
    }
    x->nodes[at].next = x->free_node;
    x->free_node = at;
    x->n_clicks--;
}

static void session_unlink(struct model_neighbours *x, uint32_t at)
{
    const struct model__session *s = &x->sessions[at];
    *(s->newer != MODEL__NONE ? &x->sessions[s->newer].older : &x->newest) = s->older;
    *(s->older != MODEL__NONE ? &x->sessions[s->older].newer : &x->oldest) = s->newer;
}

static void session_to_front(struct model_neighbours *x, uint32_t at)
{
    struct model__session *s = &x->sessions[at];
    s->newer = MODEL__NONE;
    s->older = x->newest;
    *(x->newest != MODEL__NONE ? &x->sessions[x->newest].newer : &x->oldest) = at;
    x->newest = at;
}

/* More than sessions_max can leave at once only when a store of larger bounds is restored. */
static void left_note(struct model_neighbours *x, uint64_t id)
{
    if (x->n_left == x->cap_left) {
        x->cap_left *= 2;
        x->left = mem_realloc(x->left, (size_t)x->cap_left * sizeof *x->left);
    }
    x->left[x->n_left++] = id;
}

static void session_drop(struct model_neighbours *x, uint32_t at)
{
    struct model__session *s = &x->sessions[at];
    for (uint32_t node = s->first, next; node != MODEL__NONE; node = next) {
        next = x->nodes[node].next;
        node_drop(x, node);
    }
    session_unlink(x, at);
    (void)map_u64_delete(x->session_of, s->id);
    if (s->is_stored) left_note(x, s->id);
    s->n = 0;
    s->older = x->free_session;
    x->free_session = at;
}

/* Drops the session's oldest item. */
static void session_shorten(struct model_neighbours *x, struct model__session *s)
{
    uint32_t *link = &s->first;
    while (x->nodes[*link].next != MODEL__NONE)
        link = &x->nodes[*link].next;
    uint32_t last = *link;
    *link = MODEL__NONE;
    s->n--;
    node_drop(x, last);
}

/* A free place, which keeps its place in the list of changes. The caller made room. */
static uint32_t session_place(struct model_neighbours *x)
{
    uint32_t at = x->free_session;
    if (at == MODEL__NONE) return x->used_sessions++;
    x->free_session = x->sessions[at].older;
    return at;
}

/* The session's place; made when it is new. */
static uint32_t session_take(struct model_neighbours *x, uint64_t id)
{
    const uint64_t *known = map_u64_get(x->session_of, id);
    if (known) {
        session_unlink(x, (uint32_t)*known);
        session_to_front(x, (uint32_t)*known);
        return (uint32_t)*known;
    }
    if (map_u64_count(x->session_of) == (size_t)x->options.sessions_max) session_drop(x, x->oldest);
    uint32_t at = session_place(x);
    struct model__session *s = &x->sessions[at];
    *s = (struct model__session){.id = id,
                                 .last_ms = INT64_MIN,
                                 .first = MODEL__NONE,
                                 .changed = s->changed,
                                 .is_listed = s->is_listed};
    (void)map_u64_set(x->session_of, id, at);
    session_to_front(x, at);
    return at;
}

static uint32_t item_take(struct model_neighbours *x, uint64_t key)
{
    const uint64_t *known = map_u64_get(x->item_of, key);
    if (known) return (uint32_t)*known;
    uint32_t at = x->free_item;
    if (at == MODEL__NONE)
        at = x->used_items++;
    else
        x->free_item = x->items[at].newest;
    x->items[at] = (struct model__item){.key = key, .newest = MODEL__NONE};
    (void)map_u64_set(x->item_of, key, at);
    return at;
}

static bool is_full(const struct model_neighbours *x)
{
    return x->n_clicks == x->options.clicks_max;
}

/* Makes room for one more item of session `at`, which is the newest. */
static void room_make(struct model_neighbours *x, uint32_t at)
{
    if (x->sessions[at].n == x->options.items_max) session_shorten(x, &x->sessions[at]);
    while (is_full(x) && x->oldest != at)
        session_drop(x, x->oldest);
    if (is_full(x)) session_shorten(x, &x->sessions[at]);
}

static uint32_t node_place(struct model_neighbours *x)
{
    uint32_t at = x->free_node;
    if (at == MODEL__NONE) return x->used_nodes++;
    x->free_node = x->nodes[at].next;
    return at;
}

/* Gives session `at`, which is the newest, a new newest item. */
static void item_push(struct model_neighbours *x, uint32_t at, uint64_t key)
{
    room_make(x, at);
    struct model__session *s = &x->sessions[at];
    uint32_t item = item_take(x, key), node = node_place(x);
    x->nodes[node] = (struct model__node){.session = at, .item = item, .next = s->first};
    s->first = node;
    s->n++;
    memmove(s->recent + 1, s->recent, sizeof s->recent - sizeof *s->recent);
    s->recent[0] = item;
    x->items[item].n++;
    x->n_clicks++;
    node_to_front(x, node);
}

static void change_note(struct model_neighbours *x, uint32_t at)
{
    struct model__session *s = &x->sessions[at];
    if (s->is_listed) return;
    s->is_listed = true;
    s->changed = x->changed;
    x->changed = at;
}

static bool session_holds(const struct model_neighbours *x, const struct model__session *s,
                          uint64_t key)
{
    for (uint32_t at = s->first; at != MODEL__NONE; at = x->nodes[at].next)
        if (x->items[x->nodes[at].item].key == key) return true;
    return false;
}

/* False when a click of this time is itself too old. */
static bool expire(struct model_neighbours *x, int64_t time_ms)
{
    if (time_ms > x->newest_ms) x->newest_ms = time_ms;
    if (x->options.max_age_ms == 0) return true;
    int64_t since = x->newest_ms - x->options.max_age_ms;
    while (x->oldest != MODEL__NONE && x->sessions[x->oldest].last_ms < since)
        session_drop(x, x->oldest);
    return time_ms >= since;
}

void model_neighbours_add(struct model_neighbours *x, uint64_t id, uint64_t key, int64_t time_ms)
{
    if (!expire(x, time_ms)) return;
    uint32_t at = session_take(x, id);
    struct model__session *s = &x->sessions[at];
    s->recency = ++x->adds;
    if (time_ms > s->last_ms) s->last_ms = time_ms;
    for (uint32_t node = s->first; node != MODEL__NONE; node = x->nodes[node].next) {
        node_unlink(x, node);
        node_to_front(x, node);
    }
    change_note(x, at);
    if (!session_holds(x, s, key)) item_push(x, at, key);
}

int model_neighbours_forget(struct model_neighbours *x, uint64_t mask, uint64_t bits)
{
    int n = 0;
    for (uint32_t at = x->newest, older; at != MODEL__NONE; at = older) {
        older = x->sessions[at].older;
        if ((x->sessions[at].id & mask) != bits) continue;
        session_drop(x, at);
        n++;
    }
    return n;
}

/* ---- what a store must know ---- */

/* The items of a session, oldest first. */
static void items_tell(const struct model_neighbours *x, const struct model__session *s,
                       uint64_t *out)
{
    int at = s->n;
    for (uint32_t node = s->first; node != MODEL__NONE; node = x->nodes[node].next)
        out[--at] = x->items[x->nodes[node].item].key;
}

void model_neighbours_changes(struct model_neighbours *x,
                              void (*visit)(void *context,
                                            const struct model_neighbours_session *session),
                              void *context)
{
    for (int i = 0; i < x->n_left; i++)
        visit(context, &(struct model_neighbours_session){.id = x->left[i]});
    x->n_left = 0;
    while (x->changed != MODEL__NONE) {
        struct model__session *s = &x->sessions[x->changed];
        x->changed = s->changed;
        s->is_listed = false;
        if (s->n == 0) continue;
        items_tell(x, s, x->told);
        s->is_stored = true;
        visit(context, &(struct model_neighbours_session){.id = s->id,
                                                          .recency = s->recency,
                                                          .last_ms = s->last_ms,
                                                          .items = x->told,
                                                          .n = s->n});
    }
}

struct model_neighbours_head model_neighbours_head(const struct model_neighbours *x)
{
    return (struct model_neighbours_head){.adds = x->adds, .newest_ms = x->newest_ms};
}

void model_neighbours_resume(struct model_neighbours *x, const struct model_neighbours_head *head)
{
    assert(head->adds >= x->adds && head->newest_ms >= x->newest_ms);
    x->adds = head->adds;
    x->newest_ms = head->newest_ms;
}

void model_neighbours_restore(struct model_neighbours *x,
                              const struct model_neighbours_session *from)
{
    assert(from->n > 0 && from->recency > x->adds && !map_u64_get(x->session_of, from->id));
    uint32_t at = session_take(x, from->id);
    struct model__session *s = &x->sessions[at];
    s->recency = x->adds = from->recency;
    s->last_ms = from->last_ms;
    s->is_stored = true;
    if (s->last_ms > x->newest_ms) x->newest_ms = s->last_ms;
    int first = from->n > x->options.items_max ? from->n - x->options.items_max : 0;
    for (int i = first; i < from->n; i++)
        if (!session_holds(x, s, from->items[i])) item_push(x, at, from->items[i]);
}

/* ---- numbers ---- */

int model_neighbours_sessions(const struct model_neighbours *x)
{
    return (int)map_u64_count(x->session_of);
}

int model_neighbours_clicks(const struct model_neighbours *x)
{
    return x->n_clicks;
}

size_t model_neighbours_bytes(const struct model_neighbours *x)
{
    return bytes_of(&x->options, x->used_nodes, x->used_sessions, x->used_items) +
           map_u64_bytes(x->session_of) + map_u64_bytes(x->item_of);
}
