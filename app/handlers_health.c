/* Metrics and health. */
#include "app/http_internal.h"

#include <string.h>

enum http_metric {
    HTTP_REQUESTS,
    HTTP_SECONDS,
    HTTP_CONNECTIONS,
    HTTP_STREAMS,
    HTTP_BAD,
    HTTP_DROPPED,
    HTTP_SENT,
    HTTP_VIEW_RECORDS,
    HTTP_VIEW_LAG,
    HTTP_VIEW_READY,
    HTTP_ITEMS,
    HTTP_ITEMS_REFUSED,
    HTTP_SESSION_CLICKS,
    HTTP_SESSIONS,
    HTTP_EVENTS_REFUSED,
    HTTP_METRICS
};

enum { STATUS_CLASSES = 4, STATUS_FIRST = 2, PLACES = HTTP_ROUTES + 1 };

/* The first row of a route's path: methods of one path are counted together. */
static int place_of(int route)
{
    int first = 0;
    if (route < 0 || route >= HTTP_ROUTES) return HTTP_ROUTES;
    while (strcmp(http__routes[first].path, http__routes[route].path) != 0)
        first++;
    return first;
}

static const char *route_value(int place)
{
    if (place == HTTP_ROUTES) return "other";
    return place_of(place) == place ? http__routes[place].path : NULL;
}

static const char *class_value(int class)
{
    static const char *const names[STATUS_CLASSES] = {"2xx", "3xx", "4xx", "5xx"};
    return names[class];
}

/* clang-format off */
#define NONE {{NULL, NULL, 0}}
static const struct counter_spec table[HTTP_METRICS] = {
    [HTTP_REQUESTS] = {"freshet_http_requests_total", "Answers by route and class of status.", COUNTER_TOTAL,
        {{"route", route_value, PLACES}, {"status", class_value, STATUS_CLASSES}}, 0},
    [HTTP_SECONDS] = {"freshet_http_request_seconds", "From the last byte of a request to its answer's hand-over.",
        COUNTER_LATENCY, NONE, 0},
    [HTTP_CONNECTIONS] = {"freshet_http_connections", "Connections now.", COUNTER_GAUGE, NONE, 0},
    [HTTP_STREAMS] = {"freshet_http_streams", "Open streams of events now.", COUNTER_GAUGE, NONE, 0},
    [HTTP_BAD] = {"freshet_http_bad_requests_total", "Requests refused by the protocol's rules.", COUNTER_TOTAL, NONE, 0},
    [HTTP_DROPPED] = {"freshet_http_streams_dropped_total", "Streams closed for a slow reader.", COUNTER_TOTAL, NONE, 0},
    [HTTP_SENT] = {"freshet_http_sent_bytes_total", "Bytes handed to sockets.", COUNTER_TOTAL, NONE, 0},
    [HTTP_VIEW_RECORDS] = {"freshet_view_records_total", "Records of the output topics read into the view.", COUNTER_TOTAL, NONE, 0},
    [HTTP_VIEW_LAG] = {"freshet_view_lag_records", "Records of the output topics that the view has not read.", COUNTER_GAUGE, NONE, 0},
    [HTTP_VIEW_READY] = {"freshet_view_ready", "1 when all that was there at the start is read.", COUNTER_GAUGE, NONE, 0},
    [HTTP_ITEMS] = {"freshet_view_items", "Items of the catalogue in memory.", COUNTER_GAUGE, NONE, 0},
    [HTTP_ITEMS_REFUSED] = {"freshet_view_items_refused_total",
        "Item records for which http.items.max had no room: such items count as unknown, and are shown when hidden, too.", COUNTER_TOTAL, NONE, 0},
    [HTTP_SESSION_CLICKS] = {"freshet_session_clicks_total", "Clicks that POST /v1/session has learnt from.", COUNTER_TOTAL, NONE, 0},
    [HTTP_SESSIONS] = {"freshet_session_neighbours", "Sessions that it compares with.", COUNTER_GAUGE, NONE, 0},
    [HTTP_EVENTS_REFUSED] = {"freshet_session_events_refused_total", "Records of the events topics that are no events.", COUNTER_TOTAL, NONE, 0},
};
/* clang-format on */

struct counters *http__counters_new(void)
{
    return counters_new(table, HTTP_METRICS, 1);
}

void http__observe(void *context, int route, int status, int64_t us)
{
    struct http *http = context;
    struct counters_slot *slot = counters_slot(http->counters, 0);
    int place = place_of(route);
    int class = status / 100 < STATUS_FIRST ? 0 : status / 100 - STATUS_FIRST;
    counters_add(slot, HTTP_REQUESTS, place * STATUS_CLASSES + class % STATUS_CLASSES, 1);
    counters_observe(slot, HTTP_SECONDS, 0, us);
}

static void levels_set(struct http *http)
{
    struct counters_slot *slot = counters_slot(http->counters, 0);
    struct serve_numbers numbers = serve_numbers(http->serve);
    struct sessions_size size = sessions_size(http->sessions);
    counters_set(slot, HTTP_CONNECTIONS, 0, numbers.connections);
    counters_set(slot, HTTP_STREAMS, 0, numbers.streams);
    counters_set(slot, HTTP_BAD, 0, numbers.bad);
    counters_set(slot, HTTP_DROPPED, 0, numbers.streams_dropped);
    counters_set(slot, HTTP_SENT, 0, numbers.sent_bytes);
    counters_set(slot, HTTP_VIEW_RECORDS, 0, mirror_records(http->mirror));
    counters_set(slot, HTTP_VIEW_LAG, 0, mirror_lag(http->mirror));
    counters_set(slot, HTTP_VIEW_READY, 0, mirror_is_caught_up(http->mirror));
    counters_set(slot, HTTP_ITEMS, 0, shelf_count(http->shelf));
    counters_set(slot, HTTP_ITEMS_REFUSED, 0, shelf_refused(http->shelf));
    counters_set(slot, HTTP_SESSION_CLICKS, 0, size.clicks);
    counters_set(slot, HTTP_SESSIONS, 0, size.sessions);
    if (http->clicks) counters_set(slot, HTTP_EVENTS_REFUSED, 0, clicks_refused(http->clicks));
}

void http__metrics(void *context, struct serve_request *request)
{
    struct http *http = context;
    struct buf *body = serve_reply_body(request);
    levels_set(http);
    if (http->options.pipeline) counters_render(pipeline_counters(http->options.pipeline), body);
    counters_render(http->counters, body);
    serve_reply_as(request, 200, "text/plain; version=0.0.4");
}

/* ---- health ---- */

const char *http__why_not_ready(struct http *http)
{
    const struct pipeline *pipeline = http->options.pipeline;
    if (pipeline && pipeline_restoring(pipeline) > 0)
        return "partitions are restored from the changelog";
    if (pipeline && pipeline_partitions(pipeline) == 0) return "no partition is assigned yet";
    if (pipeline && pipeline_is_behind(pipeline))
        return "what was committed before is applied again";
    if (!mirror_is_caught_up(http->mirror)) return "the output topics are being read";
    if (http->clicks && !clicks_is_caught_up(http->clicks)) return "events are being read";
    return NULL;
}

void http__health(void *context, struct serve_request *request)
{
    struct http *http = context;
    struct err err = ERR_INIT;
    bool is_running = mirror_is_running(http->mirror, &err);
    const char *why = is_running ? http__why_not_ready(http) : err.text;
    struct serve_json json = serve_json_begin(serve_reply_body(request));
    serve_json_object(&json, NULL);
    serve_json_cstr(&json, "status", !is_running ? "unhealthy" : why ? "starting" : "healthy");
    serve_json_cstr(&json, "message", why ? why : "");
    serve_json_end(&json);
    serve_reply(request, !is_running ? 500 : why ? 503 : 200);
}

void http__livez(void *context, struct serve_request *request)
{
    (void)context;
    serve_reply_static(request, 200, "text/plain", STR("ok\n"));
}

void http__readyz(void *context, struct serve_request *request)
{
    const char *why = http__why_not_ready(context);
    buf_push_text(serve_reply_body(request), why ? why : "ok");
    buf_push_byte(serve_reply_body(request), '\n');
    serve_reply_as(request, why ? 503 : 200, "text/plain");
}
