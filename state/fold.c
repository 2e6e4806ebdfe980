/* The fold: how one event changes a user. Rules 3 to 5, 7 and 8 of docs/STATE.md, in their order; pure arithmetic on
 * one struct user. */
#include "state/internal.h"

#include <assert.h>
#include <string.h>

/* ---- rule 4: event ids ---- */

/* Whether the id was met; otherwise it takes the oldest one's place. */
static bool recent_seen(struct user *user, struct str event_id)
{
    uint64_t hash = schemas_id_hash(event_id);
    for (int i = 0; i < USER_RECENT_IDS; i++)
        if (user->recent_ids[i] == hash) return true;
    user->recent_ids[user->recent_next] = hash;
    user->recent_next = (user->recent_next + 1) % USER_RECENT_IDS;
    return false;
}

/* ---- rule 7: sets, oldest first ---- */

static void set_remove(uint64_t *keys, int *n, uint64_t key)
{
    for (int i = 0; i < *n; i++) {
        if (keys[i] != key) continue;
        (*n)--;
        memmove(keys + i, keys + i + 1, (size_t)(*n - i) * sizeof *keys);
        return;
    }
}

/* The key moves to the newest place; over max the oldest leaves. */
static void set_add(uint64_t *keys, int *n, int max, uint64_t key)
{
    set_remove(keys, n, key);
    if (*n == max) {
        memmove(keys, keys + 1, (size_t)(max - 1) * sizeof *keys);
        (*n)--;
    }
    keys[(*n)++] = key;
}

static void apply_sets(struct user *user, enum event_type type, uint64_t key)
{
    if (type == EVENT_PURCHASE) set_add(user->bought, &user->n_bought, USER_BOUGHT_MAX, key);
    if (type == EVENT_REFUND) set_remove(user->bought, &user->n_bought, key);
    if (type == EVENT_DISLIKE) set_add(user->disliked, &user->n_disliked, USER_DISLIKED_MAX, key);
    if (type == EVENT_LIKE) set_remove(user->disliked, &user->n_disliked, key);
}

/* ---- rule 8: the window ---- */

static bool enters_window(enum event_type type)
{
    return type == EVENT_CLICK || type == EVENT_VIEW || type == EVENT_ADD_TO_CART ||
           type == EVENT_PURCHASE || type == EVENT_LIKE;
}

/* time_ms + tolerance < newest, without overflow. */
static bool is_late(const struct user *user, int64_t time_ms, int64_t tolerance_ms)
{
    if (user->newest_ms == INT64_MIN || time_ms >= user->newest_ms) return false;
    return (uint64_t)user->newest_ms - (uint64_t)time_ms > (uint64_t)tolerance_ms;
}

/* Before the first interaction such that it and all behind it are younger. */
static int place_of(const struct user *user, int64_t time_ms)
{
    int place = user->n_window;
    while (place > 0 && user->window[place - 1].time_ms > time_ms)
        place--;
    return place;
}

static void window_add(const struct state_options *options, struct user *user,
                       struct interaction added, struct fold_result *result)
{
    if (user->n_window == options->window_max) {
        int left = options->window_max / 2;
        memmove(user->window, user->window + (user->n_window - left),
                (size_t)left * sizeof *user->window);
        user->n_window = left;
        user->truncated = true;
        result->rebuild = true;
    }
    int place = user->n_window;
    if (is_late(user, added.time_ms, options->late_tolerance_ms))
        place = place_of(user, added.time_ms);
    if (place == 0 && user->n_window > 0 && user->truncated) {
        result->too_late++;
        return;
    }
    if (place < user->n_window) {
        memmove(user->window + place + 1, user->window + place,
                (size_t)(user->n_window - place) * sizeof *user->window);
        result->rebuild = true;
        result->late = true;
    } else {
        result->appended++;
    }
    user->window[place] = added;
    user->n_window++;
    if (added.time_ms > user->newest_ms) user->newest_ms = added.time_ms;
}

/* ---- all of it ---- */

struct fold_result state__fold(const struct state_options *options, struct user *user,
                               const struct event *event, int topic, int64_t offset)
{
    struct fold_result result = {.outcome = FOLD_APPLIED};
    assert(topic >= 0 && topic < USER_TOPICS_MAX);
    if (!event->consent) {
        result.outcome = FOLD_QUIET;
        return result;
    }
    if (event->time_ms <= user->erased_ms ||
        (user->is_gone && offset <= user->last_offset[topic])) {
        result.outcome = FOLD_ERASED;
        return result;
    }
    if (offset <= user->last_offset[topic]) {
        result.outcome = FOLD_REPLAYED;
        return result;
    }
    user->last_offset[topic] = offset;
    user->is_gone = false;
    if (event->event_id.len && recent_seen(user, event->event_id)) {
        result.outcome = FOLD_DUPLICATE;
        return result;
    }
    if (event->type == EVENT_IMPRESSION || event->type == EVENT_OTHER) {
        result.outcome = FOLD_QUIET;
        return result;
    }
    user->events++;
    bool in_window = enters_window(event->type);
    for (size_t i = 0; i < event->n_items; i++) {
        uint64_t key = schemas_item_key(event->tenant, event->items[i].item_id);
        apply_sets(user, event->type, key);
        if (in_window)
            window_add(options, user,
                       (struct interaction){key, event->time_ms, (uint8_t)event->type}, &result);
    }
    return result;
}

struct fold_result state_user_fold(struct state_shard *shard, struct user *user,
                                   const struct event *event, int topic, int64_t offset)
{
    struct fold_result result = state__fold(&shard->state->options, user, event, topic, offset);
    if (event->consent && result.outcome != FOLD_REPLAYED && result.outcome != FOLD_ERASED)
        state_user_dirty(shard, user);
    return result;
}
