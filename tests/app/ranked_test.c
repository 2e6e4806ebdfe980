/* The lists of the pipeline with a ranker are those that `freshet eval` judges: users who come one after the other, so that a list
 * is from the same past as the question of the event behind it.
 *
 * LINK: rdkafka */
#include <stdlib.h>
#include <string.h>

#include "app/config.h"
#include "app/settings.h"
#include "base/mem.h"
#include "base/rng.h"
#include "emit/emit.h"
#include "schemas/schemas.h"
#include "tests/app/live.h"
#include "train/train.h"

enum { USERS = 60, CLICKS = 26, EVENTS = USERS * CLICKS, NAMES = LIVE_ITEMS + 30, K = 20 };
#define START_MS INT64_C(1700000000000)

/* The log, and what the evaluation's blend lists before each event. */
struct log {
    struct train_data data;
    char names[NAMES][16];
    struct str ids[NAMES];
    size_t user_start[USERS + 1];
    struct train_event events[EVENTS];
    const struct model *model;
    struct model_blended list[EVENTS][K]; /* (n_list of the event) */
    int n_list[EVENTS];
    size_t asked; /* questions so far */
    int repeats;  /* items of the lists that no arm proposes */
};

/* More clicks than a ranker looks at. Users look at one corner of the catalogue, often again; some pause midway; a tenth of the
 * items the model does not know. */
static void log_draw(struct log *log, uint64_t seed)
{
    struct rng rng;
    int64_t now_ms = START_MS;
    rng_init(&rng, seed);
    for (int i = 0; i < NAMES; i++) {
        (void)snprintf(log->names[i], sizeof log->names[i], i < LIVE_ITEMS ? "%d" : "new-%d", i);
        log->ids[i] = str_of(log->names[i]);
    }
    for (int e = 0; e < EVENTS; e++) {
        int corner = (int)(e / CLICKS * 7 % 11) * 30;
        now_ms += rng_below(&rng, 12) == 0 ? 7200000 : 1000 + (int64_t)rng_below(&rng, 5000);
        log->events[e] = (struct train_event){.time_ms = now_ms,
                                              .item = (corner + (int)rng_below(&rng, 12)) % NAMES,
                                              .type = EVENT_CLICK};
    }
    for (int u = 0; u <= USERS; u++)
        log->user_start[u] = (size_t)u * CLICKS;
    log->data = (struct train_data){.n_items = NAMES,
                                    .item_ids = log->ids,
                                    .n_users = USERS,
                                    .user_start = log->user_start,
                                    .events = log->events,
                                    .n_events = EVENTS,
                                    .has_times = true,
                                    .first_ms = log->events[0].time_ms,
                                    .last_ms = now_ms};
}

/* ---- the evaluation ---- */

/* Events are asked in the order of time, but for the first of each user and those before the split. */
static void listen(void *listener, const struct model_ranking *ranking, uint64_t key, int user)
{
    struct log *log = listener;
    size_t e = log->asked;
    while (e % CLICKS == 0 || (int)(e / CLICKS) != user)
        e++;
    CHECK(e < EVENTS);
    CHECK_HEX(key, schemas_item_key(STR(""), log->ids[log->events[e].item]));
    log->n_list[e] = model_rank(log->model, ranking, K, log->list[e]);
    log->asked = e + 1;
    for (int i = 0; i < log->n_list[e]; i++)
        log->repeats += log->list[e][i].arms == 0;
}

static struct eval_result *evaluate(struct log *log, const struct settings *settings)
{
    struct err err = ERR_INIT;
    struct eval_result *result = mem_alloc(sizeof *result);
    struct model_neighbours_options neighbours = settings_neighbours(settings, 1);
    struct eval_options walk = {.split = {.protocol = TRAIN_NEXT_ITEM, .share = 1e-9},
                                .mask = EVAL_MASK_CURRENT,
                                .k = {K},
                                .n_k = 1,
                                .window = (int)options_int(settings->options, "session.window"),
                                .half_life_ms =
                                    options_int(settings->options, "popularity.half.life.ms"),
                                .neighbours = &neighbours,
                                .session_gap_ms = settings->session_gap_ms,
                                .neighbours_live = true,
                                .listen = listen,
                                .listener = log,
                                .arms = 1u << EVAL_BLEND,
                                .against = -1};
    walk.blend[EVAL_ENCODER] = walk.blend[EVAL_NEIGHBOURS] = walk.blend[EVAL_RECENT] = 1;
    CHECK_OK(eval_run(log->model, &log->data, &log->data, &walk, result, &err), err);
    CHECK_INT(result->targets, EVENTS - USERS);
    return result;
}

/* ---- the pipeline ---- */

static void events_send(const struct log *log)
{
    struct err err = ERR_INIT;
    struct emit_feed *feed;
    struct buf bytes;
    struct kafka_config config = {.bootstrap_servers = kafka_embedded_bootstrap(live_shop.broker),
                                  .client_id = "feed"};
    buf_init(&bytes, 1 << 16);
    CHECK_OK(emit_feed_open(&feed, &config, "solo.events", &err), err);
    for (int e = 0; e < EVENTS; e++) {
        char user[16];
        struct event_item item = {
            .item_id = log->ids[log->events[e].item], .quantity = 1, .position = -1};
        struct event event = {.type = EVENT_CLICK,
                              .items = &item,
                              .n_items = 1,
                              .consent = true,
                              .time_ms = log->events[e].time_ms};
        (void)snprintf(user, sizeof user, "u%d", e / CLICKS);
        event.user_id = str_of(user);
        buf_reset(&bytes);
        schemas_event_encode(live_shop.schemas, &event, &bytes);
        struct str value = {(const char *)bytes.data, bytes.len};
        CHECK_OK(emit_feed_send(feed, event.user_id, value, event.time_ms, &err), err);
    }
    CHECK_OK(emit_feed_close(feed, LIVE_WAIT_MS, &err), err);
    buf_fini(&bytes);
}

static bool has_reason(const struct list_item *item, enum reason_kind kind)
{
    for (int i = 0; i < item->n_reasons; i++)
        if (item->reasons[i].kind == kind) return true;
    return false;
}

/* The list after an event is the evaluation's before the next one. Returns whether it holds the next one's item. */
static bool list_check(const struct log *log, const struct recommendations *list, size_t next)
{
    struct str target = log->ids[log->events[next].item];
    bool is_hit = false;
    CHECK_INT(list->n_items, log->n_list[next]);
    for (size_t i = 0; i < list->n_items; i++) {
        const struct model_blended *expected = &log->list[next][i];
        const struct list_item *item = &list->items[i];
        CHECK_HEX(schemas_item_key(STR(""), item->item_id), expected->key);
        CHECK_NEAR((float)item->score, expected->score, 0);
        CHECK_INT(has_reason(item, REASON_ENCODER), expected->arms >> ARM_ENCODER & 1);
        CHECK_INT(has_reason(item, REASON_SIMILAR_SESSIONS), expected->arms >> ARM_NEIGHBOURS & 1);
        CHECK_INT(has_reason(item, REASON_POPULAR), expected->arms >> ARM_POPULAR & 1);
        CHECK_INT(has_reason(item, REASON_REPEAT), expected->arms == 0);
        CHECK(item->n_reasons > 0);
        is_hit = is_hit || str_equal(item->item_id, target);
    }
    return is_hit;
}

/* Returns how many lists hold the item of their user's next event. */
static int lists_check(const struct log *log, const char *topic)
{
    struct err err = ERR_INIT;
    struct arena *arena = arena_new(1 << 16, SIZE_MAX);
    struct live_list *lists;
    int n = live_lists_read(topic, &lists), hits = 0;
    CHECK_INT(n, EVENTS);
    for (int i = 0; i < n; i++) {
        struct recommendations list;
        size_t e = (size_t)strtoull(strrchr(lists[i].source, '/') + 1, NULL, 10);
        if ((e + 1) % CLICKS == 0) continue; /* the user's last */
        arena_reset(arena);
        CHECK_OK(schemas_recommendations_decode(
                     live_shop.schemas, (struct str){(const char *)lists[i].value, lists[i].len},
                     arena, &list, &err),
                 err);
        hits += list_check(log, &list, e + 1);
    }
    mem_free(lists);
    arena_free(arena);
    return hits;
}

static void lists_compare(const char *name, const char *window, bool is_first)
{
    struct err err = ERR_INIT;
    struct settings settings;
    struct model *model;
    char path[96], lists[32];
    struct log *log = mem_zalloc(sizeof *log);
    log_draw(log, TEST_SEED());
    (void)snprintf(path, sizeof path, "%s/ranked", live_shop.folder);
    CHECK_OK(model_load(&model, path, &err), err);
    CHECK(model_ranker(model) != NULL);
    log->model = model;

    (void)snprintf(lists, sizeof lists, "lists-%s", name);
    struct options *options = live_options(name, lists, "64");
    live_model_set(options, "ranked");
    live_set(options, "events.topics", "solo.events");
    live_set(options, "session.window", window);
    CHECK_OK(settings_init(&settings, options, &err), err);
    struct eval_result *result = evaluate(log, &settings);
    settings_fini(&settings);
    if (is_first) events_send(log);
    (void)live_run(options, EVENTS, METRIC_RECORDS);
    int hits = lists_check(log, lists);

    printf("  window %s: %d of %d lists hold the next item, %d items of no arm\n", window, hits,
           EVENTS - USERS, log->repeats);
    CHECK(log->repeats > 0);
    CHECK_NEAR(result->arms[EVAL_BLEND].hr[0], (double)hits / (EVENTS - USERS), 1e-12);
    mem_free(result);
    model_free(model);
    mem_free(log);
}

static void lists_are_those_of_the_evaluation(void)
{
    lists_compare("a", "200", true);
}

/* Windows that forget their older half, and with it the beginning of a session: it goes on as another one. */
static void windows_forget_as_those_of_the_evaluation(void)
{
    lists_compare("b", "12", false);
}

int main(void)
{
    live_open();
    live_lru_put("ranked", 32, 32, 2, 10, true);
    CASE(lists_are_those_of_the_evaluation);
    CASE(windows_forget_as_those_of_the_evaluation);
    live_close();
    return 0;
}
