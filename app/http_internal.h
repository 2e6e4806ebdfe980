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
    struct clicks *clicks;      /* NULL: sessions learn from a file, or from nothing */
    struct emit_post *post;     /* NULL until the first event */
    struct emit_post *erasures; /* NULL until the first request to forget somebody */
    uv_poll_t erasure_acks;
    struct http_post posts[HTTP_POSTS_MAX];
    struct arena *arena;       /* of one request */
    int64_t now_ms;            /* http__ask: when the request came whose candidates are looked at */
    uint64_t refusing;         /* http__ask: the hard rules that are active for it */
    const struct rules *rules; /* those in use; NULL: none */
    struct rules_watch *own_rules; /* NULL: the pipeline's, or none */
    struct buf text;               /* of one event of the streams */
    struct buf document;           /* http__schemas_write */
    struct counters *counters;     /* handlers_health.c has the table */
    uint64_t event_number;         /* for ids of events that have none */
    uint64_t started_ns;
    int64_t streamed_ms, streamed_records; /* at the last event `metrics` */
    bool is_watched;                       /* some stream is open */
    void (*done)(void *context);
    void *done_context;
};

/* ---- http.c ---- */

enum { HTTP_ROUTES = 17 };
extern const struct serve_route http__routes[HTTP_ROUTES];
/* The schemas of bodies and answers, NUL behind them; http_schemas.c. */
void http__schemas_write(struct buf *out);
int64_t http__now_ms(void);
/* Does the item stand in answers, at http->now_ms? */
bool http__is_listed(void *context, uint64_t key);

/* ---- http_rules.c ---- */

MUST_USE bool http__rules_open(struct http *http, struct err *err);
void http__rules_close(struct http *http);
/* True when other rules are in use now: what they say of the items is to be found anew. */
bool http__rules_follow(struct http *http);
/* The hard rules that refuse the item, as bits. */
uint64_t http__rules_refuse(struct http *http, const struct item *item);
/* A request for a list begins: its time, and the rules that are active then. event: tenant and context; NULL: the tenant alone. */
void http__ask(struct http *http, struct str tenant, const struct event *event);
/* May the server put the item into a list by itself, by what http__ask said? */
bool http__may_list(void *context, uint64_t key);

/* ---- handlers_lists.c ---- */

void http__recommend(void *context, struct serve_request *request);
void http__related(void *context, struct serve_request *request);
void http__cart(void *context, struct serve_request *request);
void http__trending(void *context, struct serve_request *request);
void http__explain(void *context, struct serve_request *request);
/* The view's row of a key; false: there is none, or it cannot be read (then it was logged). */
bool http__row_get(struct http *http, enum state_view_family family, struct str key,
                   struct state_view_row *row);
/* The object of a list, with at most n items, none of which is hidden now. is_filled: what is missing for that is made up from
 * what trends, is popular or stands in the catalogue, and the object says so; without it a list that has no item left to show
 * writes nothing and returns false. */
bool http__list_write(struct http *http, struct serve_json *json,
                      const struct recommendations *list, int64_t published_ms, int n,
                      bool is_filled);
/* own: so many of the items are partners, those behind them are like it. */
void http__related_write(struct http *http, struct serve_json *json, const struct related *related,
                         int64_t published_ms, int n, size_t own);
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
/* Every event of a body, into events (HTTP_POST_EVENTS_MAX), which point into the body and http->arena; -1 with err ERR_DATA, which names
 * the one that is none. */
int http__events_read(struct http *http, struct str body, struct event *events, struct err *err);
void http__posted(void *context, const struct emit_posted *posted);
/* A free place for records that are waited for; NULL: none. */
struct http_post *http__post_new(struct http *http);

/* ---- handlers_forget.c ---- */

void http__forget(void *context, struct serve_request *request);

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
