/* The demo's simulated shop: past to a file, present to Kafka. */
#include "app/demo_feed.h"

#include <stdio.h>
#include <string.h>

#include "app/keys.h"
#include "app/shop.h"
#include "app/sink.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/sync.h"
#include "emit/emit.h"

enum { RECORD_MAX = 1 << 20, CLOSE_WAIT_MS = 5000 };

struct demo_feed {
    struct demo_feed_options options;
    struct shop *shop;
    struct schemas *schemas;
    struct emit_feed *events, *items; /* items NULL: no catalogue */
    struct thread thread;
    bool is_started;
    struct flag stop;
    struct mutex mutex;
    struct map_str *titles; /* item id -> char *; guarded by mutex */
    bool has_failed;        /* guarded by mutex */
    struct err err;         /* guarded by mutex */
};

static struct shop *shop_make(const struct demo_feed_options *options)
{
    struct shop_options shop = shop_options_default();
    shop.seed = options->seed;
    shop.users = options->users;
    shop.items = options->items;
    return shop_new(&shop);
}

struct demo_feed *demo_feed_new(const struct demo_feed_options *options)
{
    struct demo_feed *feed = mem_zalloc(sizeof *feed);
    feed->options = *options;
    feed->shop = shop_make(options);
    feed->titles = map_str_new(1 << 24, MAP_KEYS_COPIED);
    mutex_init(&feed->mutex);
    return feed;
}

static void title_keep(struct demo_feed *feed, const struct item *item)
{
    mutex_lock(&feed->mutex);
    if (!map_str_get(feed->titles, item->item_id)) {
        char *title = mem_strndup(item->title.ptr, item->title.len);
        if (!map_str_set(feed->titles, item->item_id, title)) mem_free(title);
    }
    mutex_unlock(&feed->mutex);
}

void demo_feed_title(struct demo_feed *feed, struct str item_id, char *out, size_t size)
{
    mutex_lock(&feed->mutex);
    const char *title = map_str_get(feed->titles, item_id);
    (void)snprintf(out, size, "%s", title ? title : "");
    mutex_unlock(&feed->mutex);
}

/* ---- the past ---- */

bool demo_feed_past(struct demo_feed *feed, const char *log, struct err *err)
{
    struct shop_output output;
    struct sink *sink = NULL;
    struct sink_options options = {.target = SINK_TO_FILE, .path = log, .format = SINK_SESSIONS};
    if (log && !sink_open(&sink, &options, err)) return false;
    for (int64_t n = 0; n < feed->options.past_events;) {
        shop_next(feed->shop, &output);
        if (output.kind == SHOP_ITEM) {
            title_keep(feed, &output.item);
            continue;
        }
        n++;
        if (!sink || sink_event(sink, &output.event, err)) continue;
        sink_free(sink);
        return false;
    }
    bool ok = !sink || sink_finish(sink, err);
    sink_free(sink);
    return ok;
}

/* ---- the present ---- */

/* Sends the shop's next event as of now: the simulated clock gives the order, the real one the time. */
static bool event_send(struct demo_feed *feed, struct event *event, struct buf *bytes,
                       struct err *err)
{
    struct clock clock = {0};
    struct str user = event->user_id.len ? event->user_id : event->anonymous_id;
    event->time_ms = clock_wall_ms(&clock);
    buf_reset(bytes);
    schemas_event_encode(feed->schemas, event, bytes);
    return emit_feed_send(feed->events, user, (struct str){(const char *)bytes->data, bytes->len},
                          event->time_ms, err);
}

static bool item_send(struct demo_feed *feed, const struct item *item, struct buf *bytes,
                      struct err *err)
{
    struct clock clock = {0};
    char key[KEYS_MAX];
    if (!feed->items) return true;
    buf_reset(bytes);
    schemas_item_encode(feed->schemas, item, bytes);
    return emit_feed_send(feed->items, keys_pair(item->tenant, item->item_id, key),
                          (struct str){(const char *)bytes->data, bytes->len},
                          clock_wall_ms(&clock), err);
}

/* The catalogue as the past leaves it: a second shop lives through the same past, which takes less than keeping its records. */
static bool catalogue_send(struct demo_feed *feed, struct buf *bytes, struct err *err)
{
    struct shop_output output;
    struct shop *again = shop_make(&feed->options);
    bool ok = true;
    for (int64_t n = 0; ok && n < feed->options.past_events && !flag_is_raised(&feed->stop);) {
        shop_next(again, &output);
        if (output.kind == SHOP_ITEM)
            ok = item_send(feed, &output.item, bytes, err);
        else
            n++;
    }
    shop_free(again);
    return ok;
}

static bool present_run(struct demo_feed *feed, struct err *err)
{
    struct shop_output output;
    struct pacer pacer;
    struct buf bytes;
    bool ok = true;
    buf_init(&bytes, RECORD_MAX);
    ok = catalogue_send(feed, &bytes, err);
    pacer_start(&pacer, feed->options.events_per_second);
    for (double sent = 0; ok && !flag_is_raised(&feed->stop);) {
        shop_next(feed->shop, &output);
        if (output.kind == SHOP_ITEM) {
            title_keep(feed, &output.item);
            ok = item_send(feed, &output.item, &bytes, err);
            continue;
        }
        pacer_wait(&pacer, sent++);
        ok = event_send(feed, &output.event, &bytes, err);
    }
    buf_fini(&bytes);
    return ok;
}

static void feed_run(void *context)
{
    struct demo_feed *feed = context;
    struct err err = ERR_INIT;
    if (present_run(feed, &err)) return;
    mutex_lock(&feed->mutex);
    feed->has_failed = true;
    feed->err = err;
    mutex_unlock(&feed->mutex);
}

bool demo_feed_start(struct demo_feed *feed, const struct settings *settings,
                     struct schemas *schemas, struct err *err)
{
    feed->schemas = schemas;
    if (!emit_feed_open(&feed->events, &settings->kafka, settings->topics[0], err)) return false;
    if (settings->items_topic[0] &&
        !emit_feed_open(&feed->items, &settings->kafka, settings->items_topic, err))
        return false;
    feed->is_started = thread_start(&feed->thread, "shop", feed_run, feed, err);
    return feed->is_started;
}

bool demo_feed_is_running(struct demo_feed *feed, struct err *err)
{
    mutex_lock(&feed->mutex);
    bool failed = feed->has_failed;
    if (failed) *err = feed->err;
    mutex_unlock(&feed->mutex);
    return !failed;
}

void demo_feed_stop(struct demo_feed *feed)
{
    flag_raise(&feed->stop);
    if (feed->is_started) thread_join(&feed->thread);
    feed->is_started = false;
}

void demo_feed_free(struct demo_feed *feed)
{
    struct err ignored;
    size_t at = 0;
    struct str key;
    void *title;
    if (!feed) return;
    demo_feed_stop(feed);
    if (feed->events) (void)!emit_feed_close(feed->events, CLOSE_WAIT_MS, &ignored);
    if (feed->items) (void)!emit_feed_close(feed->items, CLOSE_WAIT_MS, &ignored);
    while (map_str_next(feed->titles, &at, &key, &title))
        mem_free(title);
    map_str_free(feed->titles);
    shop_free(feed->shop);
    mutex_fini(&feed->mutex);
    mem_free(feed);
}
