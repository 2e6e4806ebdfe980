/* Folders, events and the naive fold for the tests of state/. */
#include "tests/state/fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

/* ---- folders ---- */

void fixture_folder(char *out, size_t size)
{
    const char *base = getenv("TMPDIR");
    (void)snprintf(out, size, "%s/freshet-state-XXXXXX", base ? base : "/tmp");
    CHECK(mkdtemp(out) != NULL);
}

void fixture_remove(const char *folder)
{
    DIR *dir = opendir(folder);
    CHECK(dir != NULL);
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        char path[1024];
        struct stat info;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (lstat(path, &info) != 0) continue;
        if (S_ISDIR(info.st_mode))
            fixture_remove(path);
        else
            (void)unlink(path);
    }
    (void)closedir(dir);
    (void)rmdir(folder);
}

/* ---- stores ---- */

struct state_identity fixture_identity(void)
{
    static const char *const topics[] = {"clicks", "purchases"};
    return (struct state_identity){.application_id = "shop",
                                   .cluster_id = "cluster-1",
                                   .topics = topics,
                                   .n_topics = 2,
                                   .n_partitions = 4};
}

struct state_options fixture_options(void)
{
    struct state_options options = {.window_max = 8,
                                    .late_tolerance_ms = 1000,
                                    .cache_bytes = 1 << 20,
                                    .rocksdb_bytes = 4 << 20,
                                    .popularity_max_items = 1000,
                                    .popularity_half_life_ms = 86400000,
                                    .list_size = 10,
                                    .shards = 1,
                                    .state_floats = 6};
    options.popularity_weight[EVENT_CLICK] = 1;
    options.popularity_weight[EVENT_VIEW] = 1;
    options.popularity_weight[EVENT_ADD_TO_CART] = 3;
    options.popularity_weight[EVENT_PURCHASE] = 5;
    return options;
}

struct state *fixture_open(const char *folder, const struct state_options *options)
{
    struct state_identity identity = fixture_identity();
    struct state *state = NULL;
    struct err err = ERR_INIT;
    CHECK_OK(state_open(&state, folder, &identity, options, &err), err);
    return state;
}

/* ---- events ---- */

void fixture_event(struct fixture_event *out, enum event_type type, int user, int64_t time_ms,
                   uint64_t event_id, const int *items, int n_items)
{
    memset(out, 0, sizeof *out);
    out->event = (struct event){.type = type, .time_ms = time_ms, .consent = true};
    (void)snprintf(out->user, sizeof out->user, "user-%d", user);
    out->event.user_id = str_of(out->user);
    if (event_id) {
        (void)snprintf(out->event_id, sizeof out->event_id, "e%" PRIu64, event_id);
        out->event.event_id = str_of(out->event_id);
    }
    for (int i = 0; i < n_items; i++) {
        (void)snprintf(out->ids[i], sizeof out->ids[i], "item-%d", items[i]);
        out->items[i] = (struct event_item){.item_id = str_of(out->ids[i]), .quantity = 1};
    }
    out->event.items = out->items;
    out->event.n_items = (size_t)n_items;
}

struct str fixture_user_key(const struct fixture_event *event, char *out)
{
    return schemas_user_key(&event->event, out);
}

uint64_t fixture_item(int item)
{
    char id[24];
    (void)snprintf(id, sizeof id, "item-%d", item);
    return schemas_item_key((struct str){NULL, 0}, str_of(id));
}

void fixture_random_event(struct fixture_event *out, uint64_t seed, uint64_t i, int users)
{
    struct rng rng;
    int items[4];
    rng_init(&rng, seed * 1000003 + i);
    int n = 1 + (int)rng_below(&rng, 4);
    for (int k = 0; k < n; k++)
        items[k] = (int)rng_below(&rng, 60);
    enum event_type type = (enum event_type)rng_below(&rng, EVENT_TYPE_COUNT);
    if (rng_below(&rng, 3) > 0) type = EVENT_VIEW;
    /* Mostly forward, some a little back, some far back. */
    int64_t time_ms = 1700000000000 + (int64_t)i * 400;
    uint64_t back = rng_below(&rng, 10);
    if (back < 2) time_ms -= (int64_t)rng_below(&rng, 1200);
    if (back == 2) time_ms -= (int64_t)rng_below(&rng, 60000);
    uint64_t id = rng_below(&rng, 5) == 0 ? 0 : 1 + i;
    if (id && rng_below(&rng, 8) == 0 && i > 40) id = 1 + i - rng_below(&rng, 40);
    fixture_event(out, type, (int)rng_below(&rng, (uint64_t)users), time_ms, id, items, n);
    out->event.consent = rng_below(&rng, 20) != 0;
}

/* ---- the naive fold ---- */

void naive_init(struct naive_user *user)
{
    memset(user, 0, sizeof *user);
    user->last_offset[0] = user->last_offset[1] = -1;
    user->newest = INT64_MIN;
}

static void naive_take(uint64_t *set, int *n, uint64_t key)
{
    int kept = 0;
    for (int i = 0; i < *n; i++)
        if (set[i] != key) set[kept++] = set[i];
    *n = kept;
}

static void naive_put(uint64_t *set, int *n, int max, uint64_t key)
{
    naive_take(set, n, key);
    set[(*n)++] = key;
    if (*n <= max) return;
    for (int i = 1; i < *n; i++)
        set[i - 1] = set[i];
    (*n)--;
}

static void naive_insert(struct naive_user *user, int place, struct interaction added)
{
    for (int i = user->n_window; i > place; i--)
        user->window[i] = user->window[i - 1];
    user->window[place] = added;
    user->n_window++;
}

static void naive_window(const struct state_options *options, struct naive_user *user,
                         struct interaction added, struct fold_result *result)
{
    if (user->n_window == options->window_max) {
        int forget = options->window_max - options->window_max / 2;
        for (int i = forget; i < user->n_window; i++)
            user->window[i - forget] = user->window[i];
        user->n_window -= forget;
        user->truncated = true;
        result->rebuild = true;
    }
    int place = user->n_window;
    if (user->newest != INT64_MIN && added.time_ms + options->late_tolerance_ms < user->newest) {
        for (place = 0; place < user->n_window; place++) {
            bool all_younger = true;
            for (int i = place; i < user->n_window; i++)
                if (user->window[i].time_ms <= added.time_ms) all_younger = false;
            if (all_younger) break;
        }
    }
    if (place == 0 && user->n_window > 0 && user->truncated) {
        result->too_late++;
        return;
    }
    if (place == user->n_window) result->appended++;
    if (place < user->n_window) result->late = result->rebuild = true;
    naive_insert(user, place, added);
    if (added.time_ms > user->newest) user->newest = added.time_ms;
}

struct fold_result naive_fold(const struct state_options *options, struct naive_user *user,
                              const struct event *event, int topic, int64_t offset)
{
    struct fold_result result = {.outcome = event->consent ? FOLD_REPLAYED : FOLD_QUIET};
    if (!event->consent) return result;
    if (offset <= user->last_offset[topic]) return result;
    user->last_offset[topic] = offset;
    if (event->event_id.len > 0) {
        result.outcome = FOLD_DUPLICATE;
        uint64_t hash = schemas_id_hash(event->event_id);
        for (int i = 0; i < user->n_ids; i++)
            if (user->ids[i] == hash) return result;
        if (user->n_ids == USER_RECENT_IDS) naive_take(user->ids, &user->n_ids, user->ids[0]);
        user->ids[user->n_ids++] = hash;
    }
    result.outcome = FOLD_QUIET;
    if (event->type == EVENT_OTHER || event->type == EVENT_IMPRESSION) return result;
    result.outcome = FOLD_APPLIED;
    user->events++;
    for (size_t i = 0; i < event->n_items; i++) {
        uint64_t key = schemas_item_key(event->tenant, event->items[i].item_id);
        struct interaction added = {key, event->time_ms, (uint8_t)event->type};
        switch (event->type) {
        case EVENT_REFUND:
            naive_take(user->bought, &user->n_bought, key);
            break;
        case EVENT_DISLIKE:
            naive_put(user->disliked, &user->n_disliked, USER_DISLIKED_MAX, key);
            break;
        case EVENT_PURCHASE:
            naive_put(user->bought, &user->n_bought, USER_BOUGHT_MAX, key);
            naive_window(options, user, added, &result);
            break;
        case EVENT_LIKE:
            naive_take(user->disliked, &user->n_disliked, key);
            naive_window(options, user, added, &result);
            break;
        case EVENT_CLICK:
        case EVENT_VIEW:
        case EVENT_ADD_TO_CART:
            naive_window(options, user, added, &result);
            break;
        default:
            break;
        }
    }
    return result;
}

void naive_compare(const struct naive_user *want, const struct user *got)
{
    for (int i = 0; i < 2; i++)
        CHECK_INT(got->last_offset[i], want->last_offset[i]);
    CHECK_INT(got->events, want->events);
    CHECK_INT(got->newest_ms, want->newest);
    CHECK_INT(got->truncated, want->truncated);
    CHECK_INT(got->n_window, want->n_window);
    for (int i = 0; i < want->n_window; i++) {
        CHECK_HEX(got->window[i].item, want->window[i].item);
        CHECK_INT(got->window[i].time_ms, want->window[i].time_ms);
        CHECK_INT(got->window[i].type, want->window[i].type);
    }
    CHECK_BYTES(got->bought, 8 * got->n_bought, want->bought, 8 * want->n_bought);
    CHECK_BYTES(got->disliked, 8 * got->n_disliked, want->disliked, 8 * want->n_disliked);
    /* The ring, from its newest back. */
    for (int i = 0; i < want->n_ids; i++) {
        uint32_t at = (got->recent_next + 2 * USER_RECENT_IDS - 1 - (uint32_t)i) % USER_RECENT_IDS;
        CHECK_HEX(got->recent_ids[at], want->ids[want->n_ids - 1 - i]);
    }
}

/* ---- users ---- */

struct user *fixture_user_new(int window_max, int state_floats)
{
    struct user *user = mem_zalloc(sizeof *user);
    user->window = mem_zalloc((size_t)(window_max + 1) * sizeof *user->window);
    user->encoder = mem_zalloc((size_t)(state_floats + 1) * sizeof *user->encoder);
    state__user_clear(user);
    return user;
}

void fixture_user_free(struct user *user)
{
    mem_free(user->window);
    mem_free(user->encoder);
    mem_free(user);
}

/* ---- a shard at work ---- */

struct user *fixture_get(struct state_shard *shard, int32_t partition, int number)
{
    struct fixture_event e;
    char key[SCHEMAS_USER_KEY_MAX];
    struct user *user = NULL;
    struct err err = ERR_INIT;
    fixture_event(&e, EVENT_VIEW, number, 0, 0, NULL, 0);
    CHECK_OK(state_user_get(shard, partition, fixture_user_key(&e, key), &user, &err), err);
    return user;
}

void fixture_view(struct state_shard *shard, struct user *user, int item, int64_t time_ms,
                  int64_t offset)
{
    struct fixture_event e;
    struct err err = ERR_INIT;
    fixture_event(&e, EVENT_VIEW, 0, time_ms, 0, &item, 1);
    struct fold_result result = state_user_fold(shard, user, &e.event, 0, offset);
    CHECK_INT(result.outcome, FOLD_APPLIED);
    CHECK_OK(state_popularity_add(shard, 1, &e.event, &err), err);
}

struct state_shard *fixture_shard_of(struct state *state, int32_t partition)
{
    struct err err = ERR_INIT;
    struct state_shard *shard = state_shard_new(state, 0);
    CHECK_OK(state_partition_open(shard, partition, &err), err);
    return shard;
}

void fixture_commit(struct state_shard *shard, int32_t partition, int64_t next)
{
    struct err err = ERR_INIT;
    struct state_move move = {.topic = 0, .partition = partition, .next = next};
    struct state_epoch *epoch = state_epoch_seal(shard, &move, 1);
    CHECK_OK(state_epoch_write(shard, epoch, &err), err);
}

int64_t fixture_position(struct state *state, int topic, int32_t partition)
{
    int64_t next = -7;
    struct err err = ERR_INIT;
    CHECK_OK(state_position(state, topic, partition, &next, &err), err);
    return next;
}

void fixture_byte_turn(const char *path, long at)
{
    char byte;
    int file = open(path, O_RDWR);
    CHECK(file >= 0 && pread(file, &byte, 1, at) == 1);
    byte ^= 0x10;
    CHECK_INT(pwrite(file, &byte, 1, at), 1);
    (void)close(file);
}
