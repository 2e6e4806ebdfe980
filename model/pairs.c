/* Rule 13 of docs/STATE.md. Everything is found by looking at the user's window from its end; windows are short. */
#include "model/pairs.h"

#include <assert.h>

#include "model/model.h"

/* Distinct items bought that are looked at, the newest first. */
enum { PURCHASES_MAX = 256 };

struct purchase {
    uint64_t key;
    int64_t time_ms;
    int place; /* in the window */
};

struct look {
    const struct model_pairs_rules *rules;
    const struct model_pairs_user *user;
    struct model_pairs_found *found;
    struct purchase
        past[PURCHASES_MAX]; /* (n_past) newest purchase of each item that is not refunded */
    int n_past;
};

static bool is_in(const uint64_t *keys, int n, uint64_t key)
{
    for (int i = 0; i < n; i++)
        if (keys[i] == key) return true;
    return false;
}

static int64_t distance(int64_t a, int64_t b)
{
    return a > b ? a - b : b - a;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* ---- what is found ---- */

/* The item's place in the table; -1: the table is full. */
static int item_place(struct model_pairs_found *found, uint64_t key)
{
    for (int i = 0; i < found->n_items; i++)
        if (found->items[i] == key) return i;
    if (found->n_items == MODEL_PAIRS_ITEMS_MAX) return -1;
    found->items[found->n_items] = key;
    return found->n_items++;
}

/* What a pair of an order of n items weighs, n at least 2. */
static float basket_weight(int n)
{
    return (float)model_basket_weight(n);
}

static void pair_add(struct model_pairs_found *found, int subject, int other, struct model_pair as)
{
    if (subject < 0 || other < 0 || found->n_pairs == MODEL_PAIRS_MAX) return;
    as.subject = (uint16_t)subject;
    as.other = (uint16_t)other;
    found->pairs[found->n_pairs++] = as;
}

static void both_add(struct model_pairs_found *found, int a, int b, struct model_pair as)
{
    pair_add(found, a, b, as);
    pair_add(found, b, a, as);
}

/* ---- sessions ---- */

static bool is_look(int type)
{
    return type == EVENT_CLICK || type == EVENT_VIEW || type == EVENT_ADD_TO_CART;
}

/* Where the session begins that goes on at `place` of the window with something at time_ms. */
static int session_first(const struct look *look, int place, int64_t time_ms)
{
    const struct interaction *window = look->user->window;
    int first = place;
    while (first > 0 && time_ms - window[first - 1].time_ms <= look->rules->session_gap_ms)
        time_ms = window[--first].time_ms;
    return first;
}

/* The newest items looked at in window[first, place) that are not among `without` (n): their places in the table. */
static int looked_at(const struct look *look, int first, int place, const uint64_t *without, int n,
                     int *places)
{
    uint64_t seen[MODEL_PAIRS_SESSION_LIMIT];
    int count = 0;
    for (int i = place - 1; i >= first && count < look->rules->session_items; i--) {
        const struct interaction *at = &look->user->window[i];
        if (!is_look(at->type) || is_in(seen, count, at->item) || is_in(without, n, at->item))
            continue;
        places[count] = item_place(look->found, at->item);
        seen[count++] = at->item;
    }
    return count;
}

static bool was_looked_at(const struct look *look, int first, uint64_t key)
{
    for (int i = first; i < look->user->n_window; i++)
        if (look->user->window[i].item == key && is_look(look->user->window[i].type)) return true;
    return false;
}

/* What a pair of items looked at weighs that has k others between it in the session: those close to each other say more. Flat weights cost
 * the arm of related items 7 % of its MRR on serenade and 23 % on retailrocket-buyers (docs/QUALITY.md). */
static float steps_weight(int k)
{
    return 1.0F / (float)(k + 1);
}

/* ---- also_viewed ---- */

/* An item that the session meets for the first time goes with those before it, both ways. */
static void views_find(struct look *look, int first, int64_t time_ms, const uint64_t *keys, int n)
{
    struct model_pair as = {.kind = RELATED_ALSO_VIEWED, .time_ms = time_ms};
    int before[MODEL_PAIRS_SESSION_LIMIT];
    int n_before = looked_at(look, first, look->user->n_window, keys, n, before);
    for (int i = 0; i < n; i++) {
        if (was_looked_at(look, first, keys[i])) continue;
        for (int k = 0; k < n_before; k++) {
            as.weight = steps_weight(k);
            both_add(look->found, i, before[k], as);
        }
    }
}

/* ---- purchases ---- */

static void past_find(struct look *look)
{
    const struct model_pairs_user *user = look->user;
    for (int i = user->n_window - 1; i >= 0 && look->n_past < PURCHASES_MAX; i--) {
        const struct interaction *at = &user->window[i];
        bool known = at->type != EVENT_PURCHASE ||
                     (user->bought && !is_in(user->bought, user->n_bought, at->item));
        for (int k = 0; k < look->n_past && !known; k++)
            known = look->past[k].key == at->item;
        if (!known) look->past[look->n_past++] = (struct purchase){at->item, at->time_ms, i};
    }
}

static const struct purchase *past_of(const struct look *look, uint64_t key)
{
    for (int i = 0; i < look->n_past; i++)
        if (look->past[i].key == key) return &look->past[i];
    return NULL;
}

/* An order: the items bought at one time, in one event or in several. */
struct order {
    uint64_t keys[MODEL_PAIRS_BASKET_LIMIT + PURCHASES_MAX]; /* (n) the event's items first */
    bool is_new[MODEL_PAIRS_BASKET_LIMIT + PURCHASES_MAX];   /* this event adds it */
    int n;
};

static void order_find(const struct look *look, int64_t time_ms, const uint64_t *keys, int n,
                       struct order *order)
{
    order->n = 0;
    for (int i = 0; i < n; i++) {
        const struct purchase *before = past_of(look, keys[i]);
        order->is_new[order->n] = !before || before->time_ms != time_ms;
        order->keys[order->n++] = keys[i];
    }
    for (int i = 0; i < look->n_past; i++) {
        const struct purchase *past = &look->past[i];
        if (past->time_ms != time_ms || is_in(keys, n, past->key)) continue;
        order->is_new[order->n] = false;
        order->keys[order->n++] = past->key;
    }
}

static void together_find(struct look *look, const struct order *order, int64_t time_ms)
{
    struct model_pair as = {.kind = RELATED_BOUGHT_TOGETHER, .time_ms = time_ms};
    if (order->n < 2) return;
    as.weight = basket_weight(order->n);
    for (int i = 0; i < order->n; i++) {
        int a = order->is_new[i] ? item_place(look->found, order->keys[i]) : -1;
        for (int k = 0; k < order->n && a >= 0; k++) {
            if (k == i) continue;
            int b = item_place(look->found, order->keys[k]);
            pair_add(look->found, a, b, as);
            if (!order->is_new[k]) pair_add(look->found, b, a, as);
        }
    }
}

/* Items of other orders, both ways, as of the later order. */
static void also_find(struct look *look, const struct order *order, int64_t time_ms)
{
    int n_earlier = 0;
    for (int i = 0; i < look->n_past && n_earlier < MODEL_PAIRS_EARLIER_MAX; i++) {
        const struct purchase *past = &look->past[i];
        struct model_pair as = {
            .kind = RELATED_ALSO_BOUGHT, .weight = 1, .time_ms = later(time_ms, past->time_ms)};
        if (distance(time_ms, past->time_ms) > look->rules->window_ms) continue;
        if (is_in(order->keys, order->n, past->key)) continue;
        int b = item_place(look->found, past->key);
        n_earlier++;
        for (int k = 0; k < order->n; k++)
            if (order->is_new[k])
                both_add(look->found, item_place(look->found, order->keys[k]), b, as);
    }
}

static void then_bought_find(struct look *look, const struct order *order, int first,
                             int64_t time_ms)
{
    struct model_pair as = {.kind = RELATED_VIEWED_THEN_BOUGHT, .time_ms = time_ms};
    int viewed[MODEL_PAIRS_SESSION_LIMIT];
    int n = looked_at(look, first, look->user->n_window, order->keys, order->n, viewed);
    for (int k = 0; k < order->n; k++)
        for (int i = 0; i < n && order->is_new[k]; i++) {
            as.weight = steps_weight(i);
            pair_add(look->found, viewed[i], item_place(look->found, order->keys[k]), as);
        }
}

/* ---- refunds ---- */

/* What the purchase gave, as far as the window still tells. keys (n): items of the same refund that took theirs back before. */
static void purchase_back(struct look *look, const struct purchase *bought, const uint64_t *keys,
                          int n)
{
    uint64_t order[PURCHASES_MAX];
    int viewed[MODEL_PAIRS_SESSION_LIMIT];
    int a = item_place(look->found, bought->key), n_order = 0, n_other = 0;
    int first = session_first(look, bought->place, bought->time_ms);
    for (int i = 0; i < look->user->n_window && n_order < PURCHASES_MAX; i++)
        if (look->user->window[i].type == EVENT_PURCHASE &&
            look->user->window[i].time_ms == bought->time_ms)
            order[n_order++] = look->user->window[i].item;
    if (n_order > look->rules->basket_max || bought->place - first >= look->rules->user_max) return;
    for (int i = 0; i < look->n_past; i++) {
        const struct purchase *past = &look->past[i];
        bool is_mate = past->time_ms == bought->time_ms;
        struct model_pair as = {.kind = is_mate ? RELATED_BOUGHT_TOGETHER : RELATED_ALSO_BOUGHT,
                                .is_back = true,
                                .weight = is_mate && n_order > 1 ? basket_weight(n_order) : 1,
                                .time_ms = later(past->time_ms, bought->time_ms)};
        if (past->key == bought->key || is_in(keys, n, past->key)) continue;
        if (!is_mate && (distance(past->time_ms, bought->time_ms) > look->rules->window_ms ||
                         n_other++ >= MODEL_PAIRS_EARLIER_MAX))
            continue;
        both_add(look->found, a, item_place(look->found, past->key), as);
    }
    int n_viewed = looked_at(look, first, bought->place, order, n_order, viewed);
    struct model_pair as = {
        .kind = RELATED_VIEWED_THEN_BOUGHT, .is_back = true, .time_ms = bought->time_ms};
    for (int i = 0; i < n_viewed; i++) {
        as.weight = steps_weight(i);
        pair_add(look->found, viewed[i], a, as);
    }
}

/* ---- all of it ---- */

static enum model_pairs_outcome purchase_find(struct look *look, int first, int64_t time_ms,
                                              const uint64_t *keys, int n)
{
    struct order order;
    past_find(look);
    order_find(look, time_ms, keys, n, &order);
    if (order.n > look->rules->basket_max) return MODEL_PAIRS_BASKET;
    together_find(look, &order, time_ms);
    also_find(look, &order, time_ms);
    then_bought_find(look, &order, first, time_ms);
    return MODEL_PAIRS_TAKEN;
}

static void refund_find(struct look *look, const uint64_t *keys, int n)
{
    past_find(look);
    for (int i = 0; i < n; i++) {
        const struct purchase *bought = past_of(look, keys[i]);
        if (bought) purchase_back(look, bought, keys, i);
    }
}

enum model_pairs_outcome model_pairs_find(const struct model_pairs_rules *rules,
                                          const struct model_pairs_user *user, enum event_type type,
                                          int64_t time_ms, const uint64_t *keys, int n,
                                          struct model_pairs_found *found)
{
    struct look look; /* field by field: most events need none of its table */
    look.rules = rules;
    look.user = user;
    look.found = found;
    look.n_past = 0;
    found->n_items = found->n_pairs = 0;
    assert(rules->basket_max <= MODEL_PAIRS_BASKET_LIMIT &&
           rules->session_items <= MODEL_PAIRS_SESSION_LIMIT);
    if (n == 0 || !(is_look(type) || type == EVENT_PURCHASE || type == EVENT_REFUND))
        return MODEL_PAIRS_TAKEN;
    if (n > rules->basket_max) return MODEL_PAIRS_BASKET;
    int first = session_first(&look, user->n_window, time_ms);
    if (type != EVENT_REFUND && user->n_window - first >= rules->user_max) return MODEL_PAIRS_USER;
    for (int i = 0; i < n; i++)
        found->items[found->n_items++] = keys[i];
    if (is_look(type)) views_find(&look, first, time_ms, keys, n);
    if (type == EVENT_REFUND) refund_find(&look, keys, n);
    return type == EVENT_PURCHASE ? purchase_find(&look, first, time_ms, keys, n)
                                  : MODEL_PAIRS_TAKEN;
}
