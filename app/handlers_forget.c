/* DELETE /v1/users/{user}: a request to forget somebody, answered when the broker has acknowledged it. The work is done by the owner
 * of the user's partition (app/erase.c). It takes a token: without one anybody who reaches the port could erase everybody. */
#include "app/http_internal.h"

#include "app/forget.h"
#include "base/log.h"

static void on_acks(uv_poll_t *handle, int status, int events)
{
    struct http *http = handle->data;
    (void)status;
    (void)events;
    emit_post_take(http->erasures, http__posted, http);
}

/* With the first request. */
static bool producer_make(struct http *http, struct err *err)
{
    const struct settings *settings = http->options.settings;
    if (http->erasures) return true;
    if (!emit_post_open(&http->erasures, &settings->kafka, settings->erasures_topic, err))
        return false;
    http->erasure_acks.data = http;
    (void)uv_poll_init(http->loop, &http->erasure_acks, emit_post_event_fd(http->erasures));
    (void)uv_poll_start(&http->erasure_acks, UV_READABLE, on_acks);
    http->handles++;
    return true;
}

static bool is_allowed(struct http *http, struct serve_request *request)
{
    const struct settings *settings = http->options.settings;
    if (!options_text(settings->options, "http.token")[0])
        serve_reply_error(request, 403, "set http.token: forgetting users takes one");
    else if (settings->erasures_at < 0)
        serve_reply_error(request, 503, "erasures.topic=%s was not there at the start",
                          settings->erasures_topic);
    else
        return true;
    return false;
}

/* One for each name that the user may be kept under. Those that went out count, also when the next does not. */
static bool requests_send(struct http *http, struct serve_request *request, struct http_post *post,
                          struct err *err)
{
    const struct settings *settings = http->options.settings;
    struct forget_request forget;
    struct buf *value = &http->text;
    int64_t now_ms = http__now_ms();
    struct serve_json json = serve_json_begin(&post->body);
    serve_json_object(&json, NULL);
    serve_json_array(&json, "request_ids");
    post->left = 0;
    for (int k = 0; k < pseudonyms_keys(settings->pseudonyms); k++) {
        if (!forget_make(&forget, settings, k, http->schemas, serve_text(request, "tenant"),
                         serve_text(request, "user"), "http", now_ms, value, err) ||
            !emit_post_send_to(http->erasures, forget.partition, forget.key,
                               (struct str){(const char *)value->data, value->len}, now_ms,
                               (uint64_t)(post - http->posts), err))
            return false;
        serve_json_cstr(&json, NULL, forget.request_id);
        post->left++;
    }
    serve_json_end(&json);
    serve_json_cstr(&json, "receipts", settings->receipts_topic);
    serve_json_end(&json);
    return true;
}

void http__forget(void *context, struct serve_request *request)
{
    struct http *http = context;
    struct err err = ERR_INIT;
    if (!is_allowed(http, request)) return;
    struct http_post *post = http__post_new(http);
    if (!post) {
        serve_reply_error(request, 503, "%d requests wait for the broker: try again",
                          HTTP_POSTS_MAX);
        return;
    }
    if (!producer_make(http, &err) || !requests_send(http, request, post, &err)) {
        bool is_data = err.class == ERR_DATA;
        if (!is_data) log_err(LOG_WARN, "app", &err);
        serve_reply_error(request, is_data ? 400 : 503, "%s", err.text);
        return;
    }
    post->ticket = serve_hold(request);
}
