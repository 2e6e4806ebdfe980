/* GET /v1/stream: what changes, as server-sent events. A change is written once as JSON and given to every reader that wants it. */
#include "app/http_internal.h"

#include <string.h>

#include "base/mem.h"

/* What one event is, for the readers' filters. */
struct sending {
    struct http *http;
    const char *event;
    struct str tenant, user; /* ptr NULL: of no tenant, of no user */
    bool is_wanted;
};

/* Whether `word` stands in the comma-separated list. */
static bool is_in_list(struct str list, const char *word)
{
    size_t len = strlen(word), at = 0;
    while (at < list.len) {
        size_t end = at;
        while (end < list.len && list.ptr[end] != ',')
            end++;
        if (end - at == len && memcmp(list.ptr + at, word, len) == 0) return true;
        at = end + 1;
    }
    return false;
}

static bool is_wanted_by(const struct sending *sending, struct serve_request *request)
{
    char name[PSEUDONYM_MAX];
    struct str tenant = serve_text(request, "tenant");
    struct str user = pseudonym_of(sending->http->options.settings->pseudonyms, 0, tenant,
                                   serve_text(request, "user"), name);
    if (!is_in_list(serve_text(request, "types"), sending->event)) return false;
    if (sending->user.ptr && user.len && !str_equal(user, sending->user)) return false;
    return !sending->tenant.ptr || str_equal(tenant, sending->tenant);
}

static void reader_send(void *context, struct serve_request *request)
{
    const struct sending *sending = context;
    const struct buf *text = &sending->http->text;
    if (!is_wanted_by(sending, request)) return;
    (void)serve_stream_send(request, sending->event, NULL,
                            (struct str){(const char *)text->data, text->len});
}

static void reader_ask(void *context, struct serve_request *request)
{
    struct sending *sending = context;
    sending->is_wanted = sending->is_wanted || is_wanted_by(sending, request);
}

/* Whether any reader wants it: most lists are nobody's, and are not written for that. */
static bool is_wanted(struct sending *sending)
{
    serve_stream_each(sending->http->serve, "/v1/stream", reader_ask, sending);
    return sending->is_wanted;
}

static void readers_send(struct sending *sending)
{
    if (sending->http->text.failed) return;
    serve_stream_each(sending->http->serve, "/v1/stream", reader_send, sending);
}

static void list_send(struct http *http, struct serve_json *json,
                      const struct mirror_change *change, struct err *err)
{
    struct recommendations list;
    if (!schemas_recommendations_decode(http->schemas, change->value, http->arena, &list, err))
        return;
    struct sending sending = {
        .http = http, .event = "list", .tenant = list.tenant, .user = list.user_id};
    if (!is_wanted(&sending)) return;
    if (!http__list_write(http, json, &list, change->timestamp_ms, HTTP_LIST_MAX, true)) return;
    readers_send(&sending);
}

static void related_send(struct http *http, struct serve_json *json,
                         const struct mirror_change *change, struct err *err)
{
    struct related related;
    if (!schemas_related_decode(http->schemas, change->value, http->arena, &related, err)) return;
    struct sending sending = {.http = http, .event = "related", .tenant = related.tenant};
    if (!is_wanted(&sending)) return;
    http__related_write(http, json, &related, change->timestamp_ms, HTTP_LIST_MAX, related.n_items);
    readers_send(&sending);
}

static void trending_send(struct http *http, struct serve_json *json,
                          const struct mirror_change *change, struct err *err)
{
    struct trending trending;
    if (!schemas_trending_decode(http->schemas, change->value, http->arena, &trending, err)) return;
    struct sending sending = {.http = http, .event = "trending", .tenant = trending.tenant};
    if (!is_wanted(&sending)) return;
    http__trending_write(http, json, &trending, change->timestamp_ms, HTTP_LIST_MAX, NULL);
    readers_send(&sending);
}

static void item_send(struct http *http, struct serve_json *json,
                      const struct mirror_change *change, struct err *err)
{
    struct item item;
    if (!schemas_item_decode(http->schemas, change->value, http->arena, &item, err)) return;
    const struct shelf_item *facts =
        shelf_get(http->shelf, schemas_item_key(item.tenant, item.item_id));
    serve_json_object(json, NULL);
    http__item_facts(json, item.item_id, facts);
    serve_json_bool(json, "is_listed", shelf_is_listed(facts, http__now_ms()));
    serve_json_end(json);
    readers_send(&(struct sending){.http = http, .event = "item", .tenant = item.tenant});
}

void http__stream_change(struct http *http, const struct mirror_change *change)
{
    static void (*const senders[VIEW_FAMILIES])(struct http *, struct serve_json *,
                                                const struct mirror_change *,
                                                struct err *) = {[VIEW_LISTS] = list_send,
                                                                 [VIEW_RELATED] = related_send,
                                                                 [VIEW_TRENDING] = trending_send,
                                                                 [VIEW_ITEMS] = item_send};
    struct err err = ERR_INIT; /* what does not decode is not sent on */
    if (!change->value.ptr) return;
    arena_reset(http->arena);
    buf_reset(&http->text);
    struct serve_json json = serve_json_begin(&http->text);
    senders[change->family](http, &json, change, &err);
}

/* ---- numbers, once a second ---- */

static void quality_write(struct serve_json *json, const struct counters *counters)
{
    serve_json_object(json, "quality");
    for (int type = 0; type < EVENT_TYPE_COUNT; type++) {
        struct quality quality = metrics_quality(counters, (enum event_type)type);
        if (quality.events == 0) continue;
        serve_json_object(json, schemas_event_type_name((enum event_type)type));
        serve_json_int(json, "events", quality.events);
        serve_json_number(json, "hr20", quality.hr[QUALITY_LIST]);
        serve_json_number(json, "mrr20", quality.mrr[QUALITY_LIST]);
        serve_json_number(json, "popularity_hr20", quality.hr[QUALITY_POPULAR]);
        serve_json_number(json, "popularity_mrr20", quality.mrr[QUALITY_POPULAR]);
        serve_json_end(json);
    }
    serve_json_end(json);
}

static void pipeline_write(struct http *http, struct serve_json *json, double seconds)
{
    const struct counters *counters = pipeline_counters(http->options.pipeline);
    int64_t records = counters_get(counters, METRIC_RECORDS, 0);
    double rate = seconds > 0 ? (double)(records - http->streamed_records) / seconds : 0;
    http->streamed_records = records;
    serve_json_int(json, "records", records);
    serve_json_number(json, "events_per_s", rate);
    serve_json_int(json, "lists", counters_get(counters, METRIC_LISTS, 0));
    serve_json_int(json, "dead_letters", counters_sum(counters, METRIC_DEAD_LETTERS));
    serve_json_int(json, "lag", counters_get(counters, METRIC_LAG, 0));
    serve_json_number(json, "p50_ms",
                      1e3 * counters_value(counters, METRIC_EVENT_TO_LIST_RECENT, RECENT_P50));
    serve_json_number(json, "p99_ms",
                      1e3 * counters_value(counters, METRIC_EVENT_TO_LIST_RECENT, RECENT_P99));
    quality_write(json, counters);
}

void http__stream_metrics(struct http *http)
{
    int64_t now_ms = http__now_ms();
    double seconds = http->streamed_ms ? (double)(now_ms - http->streamed_ms) / 1000 : 0;
    struct serve_numbers numbers = serve_numbers(http->serve);
    buf_reset(&http->text);
    struct serve_json json = serve_json_begin(&http->text);
    serve_json_object(&json, NULL);
    serve_json_int(&json, "time", now_ms);
    if (http->options.pipeline) pipeline_write(http, &json, seconds);
    serve_json_int(&json, "view_records", mirror_records(http->mirror));
    serve_json_int(&json, "view_lag", mirror_lag(http->mirror));
    serve_json_int(&json, "items", shelf_count(http->shelf));
    serve_json_int(&json, "http_requests", numbers.requests);
    serve_json_int(&json, "http_connections", numbers.connections);
    serve_json_end(&json);
    http->streamed_ms = now_ms;
    readers_send(&(struct sending){.http = http, .event = "metrics"});
}

void http__stream(void *context, struct serve_request *request)
{
    struct http *http = context;
    serve_stream_open(request);
    http->is_watched = true;
    mirror_tell_all(http->mirror, true);
}
