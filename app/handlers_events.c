/* POST /v1/events: one event or an array of them. They are decoded and cleaned by the pipeline's own code, all of them before the
 * first is sent; the answer is held until the broker has acknowledged every one. */
#include "app/http_internal.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "ingest/ingest.h"

enum { ID_BYTES = 40, ANSWER_MAX = 256 * 1024, TAG_SHIFT = 16 };

/* ---- acknowledgements ---- */

static void post_finish(struct http *http, struct http_post *post)
{
    struct serve_request *request = serve_held(http->serve, post->ticket);
    if (request && post->failed > 0) {
        serve_reply_error(request, 503, "%d records were not acknowledged: %s; send them again",
                          post->failed, post->why);
    } else if (request) {
        buf_push(serve_reply_body(request), post->body.data, post->body.len);
        serve_reply(request, 202);
    }
    post->ticket = 0;
}

void http__posted(void *context, const struct emit_posted *posted)
{
    struct http *http = context;
    struct http_post *post = &http->posts[posted->tag];
    if (!posted->ok) {
        post->failed++;
        post->why = posted->why;
    }
    if (--post->left == 0) post_finish(http, post);
}

struct http_post *http__post_new(struct http *http)
{
    for (int i = 0; i < HTTP_POSTS_MAX; i++)
        if (http->posts[i].ticket == 0 && http->posts[i].left == 0) {
            struct http_post *post = &http->posts[i];
            if (post->body.max == 0) buf_init(&post->body, ANSWER_MAX);
            buf_reset(&post->body);
            post->failed = 0;
            post->why = NULL;
            return post;
        }
    return NULL;
}

/* ---- from text to events ---- */

/* An event without an id gets one, so that a client may send it again, and without a time the server's. */
static void event_complete(struct http *http, struct event *event)
{
    char id[ID_BYTES];
    if (event->event_id.len == 0) {
        int n = snprintf(id, sizeof id, "http-%" PRIx64 "-%" PRIx64, http->started_ns,
                         http->event_number++);
        event->event_id = arena_str(http->arena, (struct str){id, (size_t)n});
    }
    if (event->time_ms == 0) event->time_ms = http__now_ms();
}

/* A type that nobody knows is `other` in a topic, where a newer writer may be ahead of us; a page that sends one has a typing error, and
 * would wait for lists that never change. text: JSON that decoded. Errors: ERR_DATA. */
static bool type_check(struct str text, struct err *err)
{
    enum event_type type;
    json_t *root = json_loadb(text.ptr, text.len, 0, NULL);
    const char *name = json_string_value(json_object_get(root, "event_type"));
    bool ok = !name || schemas_event_type_parse(str_of(name), &type);
    if (!ok)
        err_set(err, ERR_DATA, "event_type \"%.40s\" is not known; /openapi.json has the names",
                name);
    json_decref(root);
    return ok;
}

/* Errors: ERR_DATA. */
static bool event_read(struct http *http, struct str text, struct event *event, struct err *err)
{
    uint64_t changed[INGEST_REASON_COUNT] = {0};
    int64_t future_ms = options_int(http->options.settings->options, "events.max.future.ms");
    if (text.len > SCHEMAS_MESSAGE_MAX) return err_set(err, ERR_DATA, "the event is too large");
    if (!schemas_event_decode(http->json, text, http->arena, event, err)) return false;
    if (event->type == EVENT_OTHER && !type_check(text, err)) return false;
    if (ingest_clean(event, http__now_ms(), future_ms, http->arena, changed, err) != REASON_NONE)
        return false;
    event_complete(http, event); /* an id of blanks is none by now */
    return true;
}

/* The texts of an array's elements. The strings live in the arena. Returns how many; -1 with err. */
static int array_split(struct http *http, struct str body, struct str *texts, struct err *err)
{
    json_error_t why;
    json_t *root = json_loadb(body.ptr, body.len, JSON_REJECT_DUPLICATES, &why);
    int n = 0;
    if (!root || json_array_size(root) > HTTP_POST_EVENTS_MAX || json_array_size(root) == 0) {
        err_set(err, ERR_DATA, root ? "an array of 1 to %d events is expected" : "no JSON",
                (int)HTTP_POST_EVENTS_MAX);
        n = -1;
    }
    for (size_t i = 0; n >= 0 && i < json_array_size(root); i++) {
        char *text = json_dumps(json_array_get(root, i), JSON_COMPACT | JSON_ENCODE_ANY);
        texts[n++] = arena_str(http->arena, str_of(text ? text : ""));
        free(text); /* foreign: jansson allocated it */
    }
    json_decref(root);
    return n;
}

static bool is_array(struct str body)
{
    size_t at = 0;
    while (at < body.len && strchr(" \t\r\n", body.ptr[at]) && body.ptr[at])
        at++;
    return at < body.len && body.ptr[at] == '[';
}

int http__events_read(struct http *http, struct str body, struct event *events, struct err *err)
{
    static struct str texts[HTTP_POST_EVENTS_MAX]; /* one thread, one request at a time */
    int n = 1;
    texts[0] = body;
    if (is_array(body)) n = array_split(http, body, texts, err);
    for (int i = 0; i < n; i++)
        if (!event_read(http, texts[i], &events[i], err)) {
            if (is_array(body)) (void)err_wrap(err, "event %d", i);
            return -1;
        }
    return n;
}

/* ---- to the topic ---- */

static bool event_send(struct http *http, const struct event *event, int place, struct err *err)
{
    struct buf *value = &http->text;
    const struct settings *settings = http->options.settings;
    struct str user = event->user_id.len ? event->user_id : event->anonymous_id;
    char key[KEYS_MAX];
    buf_reset(value);
    if (settings->schemas.events_format == FORMAT_JSON)
        schemas_event_encode_json(event, value);
    else
        schemas_event_encode(http->schemas, event, value);
    if (value->failed) return err_set(err, ERR_DATA, "the event cannot be written");
    return emit_post_send(http->post, keys_pair(event->tenant, user, key),
                          (struct str){(const char *)value->data, value->len}, http__now_ms(),
                          (uint64_t)place, err);
}

static void answer_write(struct buf *body, const struct event *events, int n)
{
    struct serve_json json = serve_json_begin(body);
    serve_json_object(&json, NULL);
    serve_json_int(&json, "accepted", n);
    serve_json_array(&json, "event_ids");
    for (int i = 0; i < n; i++)
        serve_json_text(&json, NULL, events[i].event_id);
    serve_json_end(&json);
    serve_json_end(&json);
}

void http__events(void *context, struct serve_request *request)
{
    static struct event events[HTTP_POST_EVENTS_MAX]; /* one thread, one request at a time */
    struct http *http = context;
    struct err err = ERR_INIT;
    arena_reset(http->arena);
    int n = http__events_read(http, serve_body(request), events, &err), sent = 0;
    if (n < 0) {
        serve_reply_error(request, 400, "%s", err.text);
        return;
    }
    struct http_post *post = http__post_new(http);
    if (!post) {
        serve_reply_error(request, 503, "%d requests wait for the broker: try again",
                          HTTP_POSTS_MAX);
        return;
    }
    answer_write(&post->body, events, n);
    while (sent < n && event_send(http, &events[sent], (int)(post - http->posts), &err))
        sent++;
    post->left = sent;
    post->failed = n - sent;
    post->why = "the producer's queue is full";
    if (sent < n) log_err(LOG_WARN, "app", &err);
    if (sent == 0)
        serve_reply_error(request, 503, "%s", err.text);
    else
        post->ticket = serve_hold(request);
}
