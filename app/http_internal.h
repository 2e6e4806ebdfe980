#ifndef APP_HTTP_INTERNAL_H
#define APP_HTTP_INTERNAL_H

#include <uv.h>

#include "app/aisles.h"
#include "app/clicks.h"
#include "app/http.h"
#include "app/keys.h"
#include "app/mirror.h"
#include "app/sessions.h"
#include "app/shelf.h"
#include "base/counters.h"
#include "emit/emit.h"
#include "serve/serve.h"

/* What app/http.c and app/handlers_*.c share. */

enum { HTTP_LIST_MAX = USER_LIST_MAX, HTTP_POSTS_MAX = 1024, HTTP_POST_EVENTS_MAX = 1000 };

/* A POST /v1/events whose records are under way. */
struct http_post {
    uint64_t ticket; /* 0: the place is free */
    int left, failed;
    const char *why; /* of the first failure; static */
    struct buf body; /* of the answer */
};

struct http {
    struct http_options options;
    uv_loop_t *loop;
    uv_async_t wake;
    uv_timer_t timer; /* once a second */
    uv_poll_t acks;
    int handles; /* open ones of ours */
    struct serve *serve;
    struct schemas *schemas; /* decodes what the view holds, encodes events */
    struct schemas *json;    /* decodes bodies */
    struct mirror *mirror;
    struct shelf *shelf;
    struct aisles *aisles;
    struct sessions *sessions;
    struct clicks *clicks;  /* NULL: sessions learn from a file, or from nothing */
    struct emit_post *post; /* NULL until the first event */
    struct http_post posts[HTTP_POSTS_MAX];
    struct arena *arena;       /* of one request */
    int64_t now_ms;            /* when the request came whose candidates are looked at */
    struct buf text;           /* of one event of the streams */
    struct buf document;       /* http__schemas_write */
    struct counters *counters; /* handlers_health.c has the table */
    uint64_t event_number;     /* for ids of events that have none */
    uint64_t started_ns;
    int64_t streamed_ms, streamed_records; /* at the last event `metrics` */
    bool is_watched;                       /* some stream is open */
    void (*done)(void *context);
    void *done_context;
};

/* ---- http.c ---- */

enum { HTTP_ROUTES = 16 };
extern const struct serve_route http__routes[HTTP_ROUTES];
/* The schemas of bodies and answers, NUL behind them; http_schemas.c. */
void http__schemas_write(struct buf *out);
int64_t http__now_ms(void);
/* Does the item stand in answers, at http->now_ms? */
bool http__is_listed(void *context, uint64_t key);

/* ---- handlers_lists.c ---- */

void http__recommend(void *context, struct serve_request *request);
void http__related(void *context, struct serve_request *request);
void http__cart(void *context, struct serve_request *request);
void http__trending(void *context, struct serve_request *request);
void http__explain(void *context, struct serve_request *request);
/* The object of a list, with at most n items that are listed. fallback NULL: none. */
void http__list_write(struct http *http, struct serve_json *json,
                      const struct recommendations *list, int64_t published_ms, int n,
                      const char *fallback);
void http__related_write(struct http *http, struct serve_json *json, const struct related *related,
                         int64_t published_ms, int n);
void http__trending_write(struct http *http, struct serve_json *json,
                          const struct trending *trending, int64_t published_ms, int n,
                          const char *fallback);
/* Members item_id, title, price of an item object that is open. */
void http__item_facts(struct serve_json *json, struct str id, const struct shelf_item *item);

/* ---- handlers_session.c ---- */

void http__session(void *context, struct serve_request *request);
/* Items of an array `items`, from what the sessions found. */
void http__found_write(struct http *http, struct serve_json *json,
                       const struct sessions_item *found, int n);

/* ---- handlers_items.c ---- */

void http__item(void *context, struct serve_request *request);
void http__search(void *context, struct serve_request *request);
void http__categories(void *context, struct serve_request *request);

/* ---- handlers_users.c ---- */

void http__user(void *context, struct serve_request *request);

/* ---- handlers_events.c ---- */

void http__events(void *context, struct serve_request *request);
void http__posted(void *context, const struct emit_posted *posted);

/* ---- handlers_stream.c ---- */

void http__stream(void *context, struct serve_request *request);
void http__stream_change(struct http *http, const struct mirror_change *change);
void http__stream_metrics(struct http *http);

/* ---- handlers_health.c ---- */

void http__metrics(void *context, struct serve_request *request);
void http__health(void *context, struct serve_request *request);
void http__livez(void *context, struct serve_request *request);
void http__readyz(void *context, struct serve_request *request);
struct counters *http__counters_new(void);
void http__observe(void *context, int route, int status, int64_t us);
/* Why answers are not complete yet; NULL: they are. */
const char *http__why_not_ready(struct http *http);

#endif
