/* Rule 13 of docs/STATE.md once more, from the words: every question is asked of the whole window. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tests/oracle/reference.h"

struct asked {
    const struct reference_options *options;
    const struct reference_user *user;
    const uint64_t *keys; /* (n) the event's items */
    int n;
    struct reference_pairs *out;
};

static bool holds(const uint64_t *keys, int n, uint64_t key)
{
    for (int i = 0; i < n; i++)
        if (keys[i] == key) return true;
    return false;
}

static void give(struct reference_pairs *out, uint64_t subject, uint64_t other, int kind,
                 bool is_back, float weight, int64_t time_ms)
{
    if (out->n == out->cap) {
        out->cap = out->cap ? 2 * out->cap : 64;
        out->pairs = mem_realloc(out->pairs, (size_t)out->cap * sizeof *out->pairs);
    }
    struct reference_pair *pair = &out->pairs[out->n++];
    memset(pair, 0, sizeof *pair);
    pair->subject = subject;
    pair->other = other;
    pair->kind = kind;
    pair->is_back = is_back;
    pair->weight = weight;
    pair->time_ms = time_ms;
}

static bool is_viewing(int type)
{
    return type == EVENT_VIEW || type == EVENT_CLICK || type == EVENT_ADD_TO_CART;
}

/* Whether all pauses from interaction i up to `end`, at time_ms, are no longer than the gap. */
static bool in_session(const struct asked *a, int i, int end, int64_t time_ms)
{
    for (; i < end; i++) {
        int64_t next = i + 1 < end ? a->user->window[i + 1].time_ms : time_ms;
        if (next - a->user->window[i].time_ms > a->options->session_gap_ms) return false;
    }
    return true;
}

static int session_length(const struct asked *a, int end, int64_t time_ms)
{
    int n = 0;
    while (n < end && in_session(a, end - n - 1, end, time_ms))
        n++;
    return n;
}

/* Distinct items viewed in the session before `end`, newest first, without those of `without`. */
static int viewed(const struct asked *a, int end, int64_t time_ms, const uint64_t *without, int n,
                  uint64_t *out)
{
    int count = 0;
    for (int i = end - 1; i >= 0 && count < a->options->related_session_items; i--) {
        const struct reference_interaction *x = &a->user->window[i];
        if (!in_session(a, i, end, time_ms) || !is_viewing(x->type)) continue;
        if (!holds(out, count, x->item) && !holds(without, n, x->item)) out[count++] = x->item;
    }
    return count;
}

/* Place of the newest purchase of an item that is still bought; -1 none. */
static int bought_at(const struct asked *a, uint64_t key)
{
    if (!holds(a->user->bought, a->user->n_bought, key)) return -1;
    for (int i = a->user->n_window - 1; i >= 0; i--)
        if (a->user->window[i].item == key && a->user->window[i].type == EVENT_PURCHASE) return i;
    return -1;
}

static bool is_newest_purchase(const struct asked *a, int i)
{
    return bought_at(a, a->user->window[i].item) == i;
}

/* ---- what is viewed ---- */

static void view(const struct asked *a, int64_t time_ms)
{
    uint64_t before[64];
    int end = a->user->n_window;
    int n = viewed(a, end, time_ms, a->keys, a->n, before);
    for (int k = 0; k < a->n; k++) {
        bool is_known = false;
        for (int i = 0; i < end; i++)
            if (a->user->window[i].item == a->keys[k] && is_viewing(a->user->window[i].type) &&
                in_session(a, i, end, time_ms))
                is_known = true;
        for (int i = 0; i < n && !is_known; i++) {
            float weight = 1 / (float)(i + 1);
            give(a->out, a->keys[k], before[i], RELATED_ALSO_VIEWED, false, weight, time_ms);
            give(a->out, before[i], a->keys[k], RELATED_ALSO_VIEWED, false, weight, time_ms);
        }
    }
}

/* ---- what is bought ---- */

static bool is_mate(const struct asked *a, int i, int64_t time_ms)
{
    return a->user->window[i].time_ms == time_ms && is_newest_purchase(a, i);
}

static bool purchase(const struct asked *a, int64_t time_ms)
{
    uint64_t order[600] = {0}, seen[64];
    bool is_new[600];
    int n = 0, n_other = 0, end = a->user->n_window;
    for (int k = 0; k < a->n; k++) {
        int at = bought_at(a, a->keys[k]);
        is_new[n] = at < 0 || a->user->window[at].time_ms != time_ms;
        order[n++] = a->keys[k];
    }
    for (int i = 0; i < end; i++) {
        if (!is_mate(a, i, time_ms) || holds(a->keys, a->n, a->user->window[i].item)) continue;
        is_new[n] = false;
        order[n++] = a->user->window[i].item;
    }
    if (n > a->options->related_basket_max) return false;
    for (int x = 0; x < n; x++)
        for (int y = 0; y < n; y++)
            if (x != y && (is_new[x] || is_new[y]))
                give(a->out, order[x], order[y], RELATED_BOUGHT_TOGETHER, false,
                     (float)model_basket_weight(n), time_ms);
    for (int i = end - 1; i >= 0 && n_other < 50; i--) {
        const struct reference_interaction *other = &a->user->window[i];
        int64_t apart = llabs(other->time_ms - time_ms);
        if (!is_newest_purchase(a, i) || holds(order, n, other->item)) continue;
        if (apart > a->options->related_window_ms) continue;
        n_other++;
        for (int x = 0; x < n; x++) {
            int64_t at = other->time_ms > time_ms ? other->time_ms : time_ms;
            if (!is_new[x]) continue;
            give(a->out, order[x], other->item, RELATED_ALSO_BOUGHT, false, 1, at);
            give(a->out, other->item, order[x], RELATED_ALSO_BOUGHT, false, 1, at);
        }
    }
    int n_seen = viewed(a, end, time_ms, order, n, seen);
    for (int x = 0; x < n; x++)
        for (int i = 0; i < n_seen && is_new[x]; i++)
            give(a->out, seen[i], order[x], RELATED_VIEWED_THEN_BOUGHT, false, 1 / (float)(i + 1),
                 time_ms);
    return true;
}

/* ---- what is given back ---- */

static void refund_one(const struct asked *a, int which)
{
    uint64_t order[600] = {0}, seen[64], key = a->keys[which];
    int n = 0, n_other = 0, at = bought_at(a, key);
    if (at < 0) return;
    int64_t time_ms = a->user->window[at].time_ms;
    for (int i = 0; i < a->user->n_window; i++)
        if (a->user->window[i].type == EVENT_PURCHASE && a->user->window[i].time_ms == time_ms)
            order[n++] = a->user->window[i].item;
    if (n > a->options->related_basket_max ||
        session_length(a, at, time_ms) >= a->options->related_user_max)
        return;
    for (int i = a->user->n_window - 1; i >= 0; i--) {
        const struct reference_interaction *other = &a->user->window[i];
        int64_t apart = llabs(other->time_ms - time_ms);
        if (!is_newest_purchase(a, i) || other->item == key) continue;
        if (holds(a->keys, which, other->item)) continue;
        if (apart > 0 && (apart > a->options->related_window_ms || n_other++ >= 50)) continue;
        int kind = apart > 0 ? RELATED_ALSO_BOUGHT : RELATED_BOUGHT_TOGETHER;
        float weight = apart > 0 ? 1 : (float)model_basket_weight(n);
        int64_t when = other->time_ms > time_ms ? other->time_ms : time_ms;
        give(a->out, key, other->item, kind, true, weight, when);
        give(a->out, other->item, key, kind, true, weight, when);
    }
    int n_seen = viewed(a, at, time_ms, order, n, seen);
    for (int i = 0; i < n_seen; i++)
        give(a->out, seen[i], key, RELATED_VIEWED_THEN_BOUGHT, true, 1 / (float)(i + 1), time_ms);
}

static bool find(const struct asked *a, enum event_type type, int64_t time_ms)
{
    bool is_asked = is_viewing((int)type) || type == EVENT_PURCHASE || type == EVENT_REFUND;
    if (!is_asked || a->n > a->options->related_basket_max) return false;
    for (int i = 0; i < a->n && type == EVENT_REFUND; i++)
        refund_one(a, i);
    if (type == EVENT_REFUND) return true;
    if (session_length(a, a->user->n_window, time_ms) >= a->options->related_user_max) return false;
    if (is_viewing((int)type)) view(a, time_ms);
    return type != EVENT_PURCHASE || purchase(a, time_ms);
}

static int keys_of(const struct event *event, uint64_t *keys)
{
    for (size_t i = 0; i < event->n_items; i++)
        keys[i] = schemas_item_key(event->tenant, event->items[i].item_id);
    return (int)event->n_items;
}

void reference_pairs_find(const struct reference_options *options,
                          const struct reference_user *user, const struct event *event,
                          struct reference_pairs *out)
{
    uint64_t keys[SCHEMAS_ITEMS_MAX];
    struct asked a = {options, user, keys, keys_of(event, keys), out};
    out->n = 0;
    if (!find(&a, event->type, event->time_ms)) out->n = 0;
}

static int compare(const void *x, const void *y)
{
    const struct reference_pair *a = x, *b = y;
    if (a->kind != b->kind) return a->kind - b->kind;
    if (a->subject != b->subject) return a->subject < b->subject ? -1 : 1;
    if (a->other != b->other) return a->other < b->other ? -1 : 1;
    if (a->time_ms != b->time_ms) return a->time_ms < b->time_ms ? -1 : 1;
    return (int)a->is_back - (int)b->is_back;
}

void reference_pairs_sort(struct reference_pairs *pairs)
{
    if (pairs->n > 1) qsort(pairs->pairs, (size_t)pairs->n, sizeof *pairs->pairs, compare);
}

void reference_pairs_named(struct reference_pairs *pairs, const struct event *event,
                           bool (*is_named)(void *context, uint64_t key), void *context)
{
    uint64_t keys[SCHEMAS_ITEMS_MAX];
    int n = keys_of(event, keys), kept = 0;
    for (int i = 0; i < pairs->n; i++) {
        struct reference_pair pair = pairs->pairs[i];
        if (!holds(keys, n, pair.subject) && !is_named(context, pair.subject)) continue;
        if (holds(keys, n, pair.other) || is_named(context, pair.other))
            pairs->pairs[kept++] = pair;
    }
    pairs->n = kept;
}

/* The first 16 different categories that the event meets, the whole shop among them: the others are left out. */
static bool is_met(struct str *met, int *n, struct str category)
{
    for (int i = 0; i < *n; i++)
        if (str_equal(met[i], category)) return true;
    if (*n == 16) return false;
    met[(*n)++] = category;
    return true;
}

void reference_pairs_count(const struct reference_options *options, const struct event *event,
                           struct reference_pairs *out)
{
    uint64_t keys[SCHEMAS_ITEMS_MAX];
    struct str met[16];
    int n = keys_of(event, keys), n_met = 0;
    float weight = (float)options->weight[event->type];
    if (!(weight > 0) || n > 100) return;
    for (int i = 0; i < n; i++) {
        const struct str *categories;
        int n_categories = reference_catalogue_categories(options->catalogue, keys[i], &categories);
        for (int k = -1; k < n_categories; k++) {
            struct str category = k < 0 ? STR("") : categories[k];
            if (is_met(met, &n_met, category))
                give(out, schemas_item_key(event->tenant, category), keys[i], REFERENCE_COUNTED,
                     false, weight, event->time_ms);
        }
    }
}

bool reference_pairs_equal(const struct reference_pairs *a, const struct reference_pairs *b)
{
    if (a->n != b->n) return false;
    for (int i = 0; i < a->n; i++)
        if (compare(&a->pairs[i], &b->pairs[i]) != 0 ||
            fabsf(a->pairs[i].weight - b->pairs[i].weight) > 0)
            return false;
    return true;
}
