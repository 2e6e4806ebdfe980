/* Opening and closing the HTTP API, its table of routes, and what comes from the other threads. */
#include "app/http.h"

#include <stdio.h>
#include <string.h>

#include "app/http_internal.h"
#include "app/page.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum {
    TICK_MS = 1000,
    CHANGES_NS = 2000000, /* how long changes may keep requests waiting before it is their turn */
    ARENA_BLOCK = 1 << 20,
    TEXT_MAX = 1 << 20,
    PATH_BYTES = 4096
};

int64_t http__now_ms(void)
{
    struct clock clock = {0};
    return clock_wall_ms(&clock);
}

bool http__is_listed(void *context, uint64_t key)
{
    const struct http *http = context;
    return shelf_is_listed(shelf_get(http->shelf, key), http->now_ms);
}

/* ---- routes ---- */

/* clang-format off */
#define TENANT {.name = "tenant", .help = "Whose shop; empty where there is one."}
#define COUNT  {.name = "n", .type = SERVE_INT, .fallback = "20", .min = 1, .max = HTTP_LIST_MAX, .help = "Items at most."}
#define KINDS  "bought_together|also_bought|also_viewed|viewed_then_bought"

const struct serve_route http__routes[HTTP_ROUTES] = {
    {.method = SERVE_GET, .path = "/v1/recommend/{user}", .handle = http__recommend, .tag = "Lists", .answer = "List",
     .summary = "The user's list; without one, what trends or is popular (fallback says so).",
     .params = {{.name = "user", .min = 1, .max = SCHEMAS_ID_MAX, .help = "User id or anonymous id.", .example = "u1"}, COUNT, TENANT,
                {.name = "fallback", .type = SERVE_BOOL, .fallback = "true", .help = "false: nothing but the user's own list, else 404."}}},
    {.method = SERVE_POST, .path = "/v1/session", .handle = http__session, .tag = "Lists", .body = "Session", .answer = "List",
     .summary = "A list for the items in the body, newest last: no user, no state.",
     .params = {COUNT,
                {.name = "repeats", .type = SERVE_BOOL, .help = "Items of the session may be listed."},
                {.name = "arms", .type = SERVE_ENUM, .values = "all|neighbours", .help = "neighbours: similar sessions alone."}}},
    {.method = SERVE_GET, .path = "/v1/related/{item}", .handle = http__related, .tag = "Lists", .answer = "Related",
     .summary = "What goes with an item.",
     .params = {{.name = "item", .min = 1, .max = SCHEMAS_ID_MAX, .help = "Item id.", .example = "i1"},
                {.name = "kind", .type = SERVE_ENUM, .values = "any|" KINDS, .help = "any: the first of the others that there is."}, COUNT, TENANT,
                {.name = "fallback", .type = SERVE_BOOL, .fallback = "true", .help = "false: nothing but what was counted; else an item with fewer than four partners gets items like it behind them."}}},
    {.method = SERVE_POST, .path = "/v1/related", .handle = http__cart, .tag = "Lists", .body = "Session", .answer = "Related",
     .summary = "What goes with all items of a cart together.",
     .params = {{.name = "kind", .type = SERVE_ENUM, .values = KINDS, .help = "Which tables are added up."}, COUNT}},
    {.method = SERVE_GET, .path = "/v1/trending", .handle = http__trending, .tag = "Lists", .answer = "Trending",
     .summary = "What rises in a category, or in the whole shop.",
     .params = {{.name = "category", .help = "Empty: the whole shop."}, COUNT, TENANT}},
    {.method = SERVE_GET, .path = "/v1/explain/{user}/{item}", .handle = http__explain, .tag = "Lists", .answer = "Explanation",
     .summary = "Why an item stands in a user's list, and where.",
     .params = {{.name = "user", .min = 1, .max = SCHEMAS_ID_MAX, .help = "User id or anonymous id."},
                {.name = "item", .min = 1, .max = SCHEMAS_ID_MAX, .help = "Item id."}, TENANT}},
    {.method = SERVE_GET, .path = "/v1/items/{item}", .handle = http__item, .tag = "Catalogue", .answer = "Item",
     .summary = "An item of the catalogue.",
     .params = {{.name = "item", .min = 1, .max = SCHEMAS_ID_MAX, .help = "Item id."}, TENANT}},
    {.method = SERVE_GET, .path = "/v1/items", .handle = http__search, .tag = "Catalogue", .answer = "Items",
     .summary = "Items whose titles have words that begin with those of the query, or all of a category.",
     .params = {{.name = "query", .max = 200, .help = "Words or their beginnings; empty: every title.", .example = "red sh"},
                {.name = "category", .max = SCHEMAS_ID_MAX, .help = "Only items of it; empty: the whole shop."}, COUNT, TENANT}},
    {.method = SERVE_GET, .path = "/v1/categories", .handle = http__categories, .tag = "Catalogue", .answer = "Categories",
     .summary = "The categories and how many items each has.", .params = {TENANT}},
    {.method = SERVE_GET, .path = "/v1/users/{user}", .handle = http__user, .tag = "Operation", .answer = "User",
     .summary = "A user's history and state, in the process that owns the user's partition (freshet run).",
     .params = {{.name = "user", .min = 1, .max = SCHEMAS_ID_MAX, .help = "User id or anonymous id."}, TENANT}},
    {.method = SERVE_DELETE, .path = "/v1/users/{user}", .handle = http__forget, .tag = "Operation", .answer = "Forgetting", .is_accepting = true,
     .summary = "Asks to forget a user (docs/PRIVACY.md); answered when the broker has acknowledged it. Takes http.token; the receipt comes in a topic.",
     .params = {{.name = "user", .min = 1, .max = SCHEMAS_ID_MAX, .help = "User id or anonymous id."}, TENANT}},
    {.method = SERVE_POST, .path = "/v1/events", .handle = http__events, .tag = "Events", .body = "Events", .answer = "Accepted", .is_accepting = true,
     .summary = "One event or an array of them into the events topic; answered when the broker has acknowledged all."},
    {.method = SERVE_GET, .path = "/v1/stream", .handle = http__stream, .tag = "Events", .type = "text/event-stream",
     .summary = "Server-sent events: list, related, trending, item, metrics.",
     .params = {{.name = "user", .help = "Lists of this user alone."},
                {.name = "types", .fallback = "list,related,trending,item,metrics", .help = "Which events, separated by commas."}, TENANT}},
    {.method = SERVE_GET, .path = "/metrics", .handle = http__metrics, .tag = "Operation", .type = "text/plain; version=0.0.4",
     .summary = "Prometheus metrics.", .is_open = true},
    {.method = SERVE_GET, .path = "/health", .handle = http__health, .tag = "Operation", .answer = "Health",
     .summary = "200 healthy, 503 starting, 500 unhealthy.", .is_open = true},
    {.method = SERVE_GET, .path = "/livez", .handle = http__livez, .tag = "Operation", .type = "text/plain",
     .summary = "The process turns.", .is_open = true},
    {.method = SERVE_GET, .path = "/readyz", .handle = http__readyz, .tag = "Operation", .type = "text/plain",
     .summary = "Answers are complete: topics are read, partitions assigned.", .is_open = true},
};
/* clang-format on */

/* ---- what comes from the other threads ---- */

static void item_change(struct http *http, struct str key, struct str value)
{
    struct err err = ERR_INIT;
    struct item item;
    arena_reset(http->arena);
    if (!value.ptr) {
        shelf_remove(http->shelf, key);
        aisles_remove(http->aisles, key);
    } else if (schemas_item_decode(http->schemas, value, http->arena, &item, &err)) {
        if (!shelf_put(http->shelf, key, &item)) return;
        aisles_put(http->aisles, key, &item);
        if (http->rules)
            shelf_refuse(http->shelf, schemas_item_key(item.tenant, item.item_id),
                         http__rules_refuse(http, &item));
    } else
        log_debug("app", "a catalogue record does not decode", "error=\"%s\"", err.text);
}

static bool item_read(void *context, struct str key, struct str value, int64_t timestamp_ms)
{
    (void)timestamp_ms;
    item_change(context, key, value);
    return true;
}

static bool shelf_fill(struct http *http, struct err *err)
{
    shelf_clear(http->shelf);
    aisles_clear(http->aisles);
    return state_view_each(mirror_view(http->mirror), VIEW_ITEMS, item_read, http, err);
}

static void change_take(struct http *http, const struct mirror_change *change)
{
    struct err err = ERR_INIT;
    if (change->family == VIEW_ITEMS && change->kind == MIRROR_RELOAD) {
        if (!shelf_fill(http, &err)) log_err(LOG_WARN, "app", &err);
    } else if (change->family == VIEW_ITEMS) {
        item_change(http, change->key, change->value);
    }
    if (http->is_watched && change->kind == MIRROR_RECORD) http__stream_change(http, change);
}

/* A share of what waits; the rest after the requests that came meanwhile. */
static void on_wake(uv_async_t *handle)
{
    struct http *http = handle->data;
    uint64_t until = clock_mono_ns() + CHANGES_NS;
    struct mirror_change *changes;
    bool has_more = false;
    int n;
    while (!has_more && mirror_take(http->mirror, &changes, &n)) {
        for (int i = 0; i < n; i++)
            change_take(http, &changes[i]);
        mirror_done(changes);
        has_more = clock_mono_ns() > until;
    }
    if (http->clicks) has_more = clicks_give(http->clicks, http->sessions, CHANGES_NS) || has_more;
    if (has_more) (void)uv_async_send(&http->wake);
}

static void wake(void *context)
{
    struct http *http = context;
    (void)uv_async_send(&http->wake);
}

static void on_timer(uv_timer_t *handle)
{
    struct http *http = handle->data;
    struct err err = ERR_INIT;
    http->is_watched = serve_numbers(http->serve).streams > 0;
    if (http__rules_follow(http) && !shelf_fill(http, &err)) log_err(LOG_WARN, "app", &err);
    mirror_tell_all(http->mirror, http->is_watched);
    if (http->is_watched) http__stream_metrics(http);
    on_wake(&http->wake);
}

static void on_acks(uv_poll_t *handle, int status, int events)
{
    struct http *http = handle->data;
    (void)status;
    (void)events;
    emit_post_take(http->post, http__posted, http);
}

/* ---- opening ---- */

static bool schemas_make(struct http *http, struct err *err)
{
    const struct settings *settings = http->options.settings;
    struct schemas_options options = settings->schemas;
    const struct schemas_options json = {.events_format = FORMAT_JSON,
                                         .recommendations_topic = "none"};
    options.events_topic = settings->topics[0];
    if (settings->erasures_at >= 0) options.erasures_topic = settings->erasures_topic;
    return schemas_open(&http->schemas, &options, err) && schemas_open(&http->json, &json, err);
}

static bool view_make(struct http *http, struct err *err)
{
    char folder[PATH_BYTES];
    const struct settings *settings = http->options.settings;
    (void)snprintf(folder, sizeof folder, "%s/view", settings->state_folder);
    const struct mirror_options options = {
        .settings = settings, .folder = folder, .wake = wake, .context = http};
    if (!mirror_open(&http->mirror, &options, err)) return false;
    return shelf_fill(http, err) && mirror_start(http->mirror, err);
}

static bool sessions_make(struct http *http, struct err *err)
{
    const struct http_options *options = &http->options;
    const struct settings *settings = options->settings;
    http->sessions = sessions_new(settings, options->models);
    if (options->sessions_file)
        return clicks_load(http->sessions, settings, options->sessions_file,
                           options->sessions_format, err);
    if (options_enum(settings->options, "http.sessions") != 0) return true;
    return clicks_open(&http->clicks, settings, http->schemas, wake, http, err);
}

static bool server_make(struct http *http, struct err *err)
{
    const struct options *config = http->options.settings->options;
    int n_files;
    const struct serve_file *files = page_files(&n_files);
    const struct serve_options options = {
        .listen = http->options.listen,
        .token = options_text(config, "http.token"),
        .cors_origin = options_text(config, "http.cors.origin"),
        .routes = http__routes,
        .n_routes = HTTP_ROUTES,
        .files = files,
        .n_files = n_files,
        .context = http,
        .limits = {.connections = (int)options_int(config, "http.max.connections")},
        .title = "freshet",
        .schemas = (const char *)http->document.data,
        .observe = http__observe,
    };
    return serve_open(&http->serve, &options, http->loop, err);
}

static bool producer_make(struct http *http, struct err *err)
{
    const struct settings *settings = http->options.settings;
    if (!emit_post_open(&http->post, &settings->kafka, settings->topics[0], err)) return false;
    http->acks.data = http;
    (void)uv_poll_init(http->loop, &http->acks, emit_post_event_fd(http->post));
    (void)uv_poll_start(&http->acks, UV_READABLE, on_acks);
    http->handles++;
    return true;
}

bool http_open(struct http **out, const struct http_options *options, struct uv_loop_s *loop,
               struct err *err)
{
    struct http *http = mem_zalloc(sizeof *http);
    http->options = *options;
    http->loop = loop;
    http->arena = arena_new(ARENA_BLOCK, SIZE_MAX);
    http->started_ns = clock_mono_ns();
    buf_init(&http->text, TEXT_MAX);
    buf_init(&http->document, TEXT_MAX);
    http__schemas_write(&http->document);
    http->shelf = shelf_new((int)options_int(options->settings->options, "http.items.max"));
    http->aisles = aisles_new((int)options_int(options->settings->options, "http.items.max"));
    http->counters = http__counters_new();
    *out = http;
    http->wake.data = http->timer.data = http;
    (void)uv_async_init(loop, &http->wake, on_wake);
    (void)uv_timer_init(loop, &http->timer);
    http->handles = 2;
    if (!http__rules_open(http, err) || !schemas_make(http, err) || !view_make(http, err) ||
        !sessions_make(http, err) || !producer_make(http, err) || !server_make(http, err))
        return false;
    (void)uv_timer_start(&http->timer, on_timer, TICK_MS, TICK_MS);
    log_info("app", "HTTP open", "port=%d items=%d", serve_port(http->serve),
             shelf_count(http->shelf));
    return true;
}

int http_port(const struct http *http)
{
    return serve_port(http->serve);
}

bool http_check(struct http *http, struct err *err)
{
    return mirror_is_running(http->mirror, err);
}

/* ---- closing ---- */

static void on_closed(uv_handle_t *handle)
{
    struct http *http = handle->data;
    if (--http->handles == 0 && http->done) http->done(http->done_context);
}

/* The threads that wake the loop end before its handle does, and after the last handler that reads the view. */
static void handles_close(void *context)
{
    struct http *http = context;
    mirror_close(http->mirror);
    clicks_close(http->clicks);
    if (http->post) uv_close((uv_handle_t *)&http->acks, on_closed);
    if (http->erasures) uv_close((uv_handle_t *)&http->erasure_acks, on_closed);
    uv_close((uv_handle_t *)&http->timer, on_closed);
    uv_close((uv_handle_t *)&http->wake, on_closed);
}

void http_stop(struct http *http, int64_t grace_ms, void (*done)(void *context), void *context)
{
    http->done = done;
    http->done_context = context;
    if (http->serve)
        serve_stop(http->serve, grace_ms, handles_close, http);
    else
        handles_close(http);
}

void http_close(struct http *http)
{
    if (!http) return;
    serve_free(http->serve);
    emit_post_close(http->post);
    emit_post_close(http->erasures);
    for (int i = 0; i < HTTP_POSTS_MAX; i++)
        buf_fini(&http->posts[i].body);
    sessions_free(http->sessions);
    http__rules_close(http);
    shelf_free(http->shelf);
    aisles_free(http->aisles);
    if (http->schemas) schemas_close(http->schemas);
    if (http->json) schemas_close(http->json);
    counters_free(http->counters);
    buf_fini(&http->text);
    buf_fini(&http->document);
    arena_free(http->arena);
    mem_free(http);
}
