/* Answers from the view: lists of users, what goes with items, what trends. */
#include "app/http_internal.h"

#include <string.h>

#include "app/similar.h"
#include "base/log.h"
#include "model/model.h"

/* An item with fewer partners gets items like it. */
enum { FEW_PARTNERS = 4, CART_MAX = 50, POOL_MAX = CART_MAX * HTTP_LIST_MAX };
_Static_assert((int)HTTP_LIST_MAX <= (int)SIMILAR_MAX, "a whole list may be like it");

/* ---- parts of answers ---- */

void http__item_facts(struct serve_json *json, struct str id, const struct shelf_item *item)
{
    serve_json_text(json, "item_id", id);
    if (item && item->title.len) serve_json_text(json, "title", item->title);
    if (item && item->has_price) serve_json_number(json, "price", item->price);
}

static void reasons_write(struct serve_json *json, const struct list_item *item)
{
    serve_json_array(json, "reasons");
    for (int i = 0; i < item->n_reasons; i++) {
        const struct reason *reason = &item->reasons[i];
        serve_json_object(json, NULL);
        serve_json_cstr(json, "kind", schemas_reason_name(reason->kind));
        if (reason->item_id.len)
            serve_json_text(json, reason->kind == REASON_TRENDING ? "category" : "item_id",
                            reason->item_id);
        serve_json_end(json);
    }
    serve_json_end(json);
}

static void trigger_write(struct serve_json *json, const struct trigger *trigger)
{
    serve_json_object(json, "trigger");
    serve_json_text(json, "topic", trigger->topic);
    serve_json_int(json, "partition", trigger->partition);
    serve_json_int(json, "offset", trigger->offset);
    serve_json_text(json, "event_id", trigger->event_id);
    serve_json_int(json, "event_time", trigger->event_time_ms);
    serve_json_end(json);
}

/* The item as the shelf has it; false: it must not be shown. */
static bool facts_of(struct http *http, struct str tenant, struct str id, int64_t now_ms,
                     const struct shelf_item **item)
{
    *item = shelf_get(http->shelf, schemas_item_key(tenant, id));
    return shelf_is_listed(*item, now_ms);
}

static void counted_write(struct http *http, struct serve_json *json, struct str tenant,
                          const struct counted_item *items, size_t n_items, int n)
{
    int64_t now_ms = http__now_ms();
    serve_json_array(json, "items");
    for (size_t i = 0; i < n_items && n > 0; i++) {
        const struct shelf_item *item;
        if (!facts_of(http, tenant, items[i].item_id, now_ms, &item)) continue;
        serve_json_object(json, NULL);
        http__item_facts(json, items[i].item_id, item);
        serve_json_number(json, "score", (double)items[i].score);
        serve_json_number(json, "count", items[i].count);
        serve_json_end(json);
        n--;
    }
    serve_json_end(json);
}

void http__related_write(struct http *http, struct serve_json *json, const struct related *related,
                         int64_t published_ms, int n, size_t own)
{
    size_t filled = related->n_items - own;
    serve_json_object(json, NULL);
    serve_json_text(json, "item_id", related->item_id);
    serve_json_text(json, "tenant", related->tenant);
    serve_json_cstr(json, "kind", schemas_related_name(related->kind));
    counted_write(http, json, related->tenant, related->items, related->n_items, n);
    serve_json_number(json, "count", related->count);
    serve_json_int(json, "event_time", related->event_time_ms);
    serve_json_int(json, "published_at", published_ms);
    serve_json_cstr(json, "fallback", own == 0 && filled > 0 ? "content" : NULL);
    serve_json_int(json, "filled", own > 0 ? (int64_t)filled : 0);
    serve_json_end(json);
}

void http__trending_write(struct http *http, struct serve_json *json,
                          const struct trending *trending, int64_t published_ms, int n,
                          const char *fallback)
{
    serve_json_object(json, NULL);
    serve_json_text(json, "tenant", trending->tenant);
    serve_json_text(json, "category", trending->category);
    counted_write(http, json, trending->tenant, trending->items, trending->n_items, n);
    serve_json_number(json, "count", trending->count);
    serve_json_int(json, "event_time", trending->event_time_ms);
    serve_json_int(json, "published_at", published_ms);
    serve_json_cstr(json, "fallback", fallback);
    serve_json_end(json);
}

/* ---- rows ---- */

bool http__row_get(struct http *http, enum state_view_family family, struct str key,
                   struct state_view_row *row)
{
    struct err err = ERR_INIT;
    bool found = false;
    if (!state_view_get(mirror_view(http->mirror), family, key, &found, row, &err))
        log_err(LOG_ERROR, "app", &err);
    return found;
}

/* Ends the use of a row that does not decode. */
static bool row_refuse(struct state_view_row *row, const struct err *err)
{
    log_warn("app", "a record of the view does not decode", "error=\"%s\"", err->text);
    state_view_release(row);
    return false;
}

/* The list of a user by id, whatever it is kept under. */
static bool list_get(struct http *http, struct str tenant, struct str user,
                     struct recommendations *list, struct state_view_row *row)
{
    const struct pseudonyms *pseudonyms = http->options.settings->pseudonyms;
    char key[KEYS_MAX], name[PSEUDONYM_MAX];
    struct err err = ERR_INIT;
    bool is_found = false;
    for (int k = 0; k < pseudonyms_keys(pseudonyms) && !is_found; k++) {
        struct str id = pseudonym_of(pseudonyms, k, tenant, user, name);
        is_found = http__row_get(http, VIEW_LISTS, keys_pair(tenant, id, key), row);
    }
    if (!is_found) return false;
    return schemas_recommendations_decode(http->schemas, row->value, http->arena, list, &err) ||
           row_refuse(row, &err);
}

static bool related_get(struct http *http, struct str tenant, struct str item,
                        enum related_kind kind, struct related *related, struct state_view_row *row)
{
    char key[KEYS_MAX];
    struct err err = ERR_INIT;
    if (!http__row_get(http, VIEW_RELATED, keys_related(tenant, item, kind, key), row))
        return false;
    return schemas_related_decode(http->schemas, row->value, http->arena, related, &err) ||
           row_refuse(row, &err);
}

static bool trending_get(struct http *http, struct str tenant, struct str category,
                         struct trending *trending, struct state_view_row *row)
{
    char key[KEYS_MAX];
    struct err err = ERR_INIT;
    if (!http__row_get(http, VIEW_TRENDING, keys_pair(tenant, category, key), row)) return false;
    return schemas_trending_decode(http->schemas, row->value, http->arena, trending, &err) ||
           row_refuse(row, &err);
}

/* ---- lists ---- */

/* The items of an answer, one after the other. */
struct showing {
    struct http *http;
    const struct recommendations *list;
    int64_t now_ms;
    int n, want;
    const struct list_item *items[HTTP_LIST_MAX];  /* (n) */
    const struct shelf_item *facts[HTTP_LIST_MAX]; /* (n) */
    struct list_item made[HTTP_LIST_MAX];          /* those that are not the list's own */
    const char *source;                            /* of the first of these; NULL: there are none */
};

static bool is_shown(const struct showing *showing, struct str id)
{
    for (int i = 0; i < showing->n; i++)
        if (str_equal(showing->items[i]->item_id, id)) return true;
    return false;
}

static bool show(struct showing *showing, const struct list_item *item)
{
    const struct shelf_item **facts = &showing->facts[showing->n];
    bool is_listed =
        facts_of(showing->http, showing->list->tenant, item->item_id, showing->now_ms, facts);
    if (is_listed) showing->items[showing->n++] = item;
    return is_listed;
}

/* Items from elsewhere, behind what is shown already. */
static void fill(struct showing *showing, const struct counted_item *items, size_t n_items,
                 enum reason_kind reason, const char *source)
{
    for (size_t i = 0; i < n_items && showing->n < showing->want; i++) {
        struct list_item *made = &showing->made[showing->n];
        uint64_t key = schemas_item_key(showing->list->tenant, items[i].item_id);
        if (is_shown(showing, items[i].item_id) || !http__may_list(showing->http, key)) continue;
        *made = (struct list_item){.item_id = items[i].item_id,
                                   .score = items[i].score,
                                   .n_reasons = 1,
                                   .reasons = {{.kind = reason}}};
        if (show(showing, made) && !showing->source) showing->source = source;
    }
}

/* Popular items, as the server has learnt them, or else any of the catalogue, for what http__ask said. Returns how many; sets what they are. */
static int popular_find(struct http *http, struct str tenant, int n, struct counted_item *items,
                        const char **source)
{
    struct sessions_item found[SESSIONS_LIST_MAX];
    uint64_t keys[HTTP_LIST_MAX];
    const struct sessions_question question = {
        .tenant = tenant, .n = n, .is_listed = http__may_list, .context = http};
    int n_found = sessions_popular(http->sessions, &question, found);
    *source = "popular";
    for (int i = 0; i < n_found; i++)
        items[i] = (struct counted_item){.item_id = found[i].id, .score = found[i].score};
    if (n_found > 0) return n_found;
    n_found = shelf_some(http->shelf, tenant, http->now_ms, http->refusing, n, keys);
    *source = "catalogue";
    for (int i = 0; i < n_found; i++)
        items[i] = (struct counted_item){.item_id = shelf_get(http->shelf, keys[i])->id};
    return n_found;
}

static void fill_popular(struct showing *showing)
{
    struct counted_item items[HTTP_LIST_MAX];
    const char *source;
    int n = popular_find(showing->http, showing->list->tenant, HTTP_LIST_MAX, items, &source);
    fill(showing, items, (size_t)n, REASON_POPULAR, source);
}

static void list_write(const struct showing *showing, struct serve_json *json, int own,
                       int64_t published_ms)
{
    const struct recommendations *list = showing->list;
    serve_json_object(json, NULL);
    serve_json_text(json, "recommendation_id", list->recommendation_id);
    serve_json_text(json, "user_id", list->user_id);
    serve_json_text(json, "tenant", list->tenant);
    serve_json_text(json, "scenario", list->scenario);
    serve_json_array(json, "items");
    for (int i = 0; i < showing->n; i++) {
        serve_json_object(json, NULL);
        http__item_facts(json, showing->items[i]->item_id, showing->facts[i]);
        serve_json_number(json, "score", (double)showing->items[i]->score);
        reasons_write(json, showing->items[i]);
        serve_json_end(json);
    }
    serve_json_end(json);
    serve_json_text(json, "model_version", list->model_version);
    serve_json_text(json, "variant", list->variant);
    trigger_write(json, &list->trigger);
    serve_json_int(json, "published_at", published_ms);
    serve_json_cstr(json, "fallback", own ? NULL : showing->source);
    serve_json_int(json, "filled", own ? showing->n - own : 0);
    serve_json_end(json);
}

bool http__list_write(struct http *http, struct serve_json *json,
                      const struct recommendations *list, int64_t published_ms, int n,
                      bool is_filled)
{
    struct showing showing;
    struct trending trending;
    struct state_view_row row;
    bool has_row = false;
    showing.http = http;
    showing.list = list;
    http__ask(http, list->tenant, NULL);
    showing.now_ms = http->now_ms;
    showing.n = 0;
    showing.source = NULL;
    showing.want = n;
    for (size_t i = 0; i < list->n_items && showing.n < n; i++)
        (void)show(&showing, &list->items[i]);
    int own = showing.n;
    /* A list that has lost items gets as many others; one that has none is another list. */
    if (own && list->n_items < (size_t)n) showing.want = (int)list->n_items;
    if (is_filled && own < showing.want)
        has_row = trending_get(http, list->tenant, STR(""), &trending, &row);
    if (has_row) fill(&showing, trending.items, trending.n_items, REASON_TRENDING, "trending");
    if (has_row && !own) published_ms = row.timestamp_ms;
    if (is_filled && showing.n < showing.want) fill_popular(&showing);
    if (own || is_filled) list_write(&showing, json, own, published_ms);
    if (has_row) state_view_release(&row);
    return own || is_filled;
}

void http__recommend(void *context, struct serve_request *request)
{
    struct http *http = context;
    struct str user = serve_text(request, "user"), tenant = serve_text(request, "tenant");
    struct recommendations none = {.user_id = user, .tenant = tenant, .scenario = STR("default")};
    struct recommendations list;
    struct state_view_row row = {.timestamp_ms = 0};
    struct serve_json json = serve_json_begin(serve_reply_body(request));
    arena_reset(http->arena);
    bool has_row = list_get(http, tenant, user, &list, &row);
    if (http__list_write(http, &json, has_row ? &list : &none, row.timestamp_ms,
                         (int)serve_int(request, "n"), serve_bool(request, "fallback")))
        serve_reply(request, 200);
    else
        serve_reply_error(request, 404, "no list for user %.*s", STR_ARG(user));
    if (has_row) state_view_release(&row);
}

void http__explain(void *context, struct serve_request *request)
{
    struct http *http = context;
    struct str user = serve_text(request, "user"), item = serve_text(request, "item");
    struct recommendations list;
    struct state_view_row row;
    size_t at = 0;
    arena_reset(http->arena);
    if (!list_get(http, serve_text(request, "tenant"), user, &list, &row)) {
        serve_reply_error(request, 404, "no list for user %.*s", STR_ARG(user));
        return;
    }
    while (at < list.n_items && !str_equal(list.items[at].item_id, item))
        at++;
    if (at == list.n_items) {
        serve_reply_error(request, 404, "item %.*s is not in the list of user %.*s", STR_ARG(item),
                          STR_ARG(user));
    } else {
        const struct shelf_item *facts;
        struct serve_json json = serve_json_begin(serve_reply_body(request));
        serve_json_object(&json, NULL);
        serve_json_text(&json, "user_id", user);
        serve_json_text(&json, "recommendation_id", list.recommendation_id);
        bool is_listed = facts_of(http, list.tenant, item, http__now_ms(), &facts);
        http__item_facts(&json, item, facts);
        serve_json_int(&json, "rank", (int64_t)at + 1);
        serve_json_number(&json, "score", (double)list.items[at].score);
        reasons_write(&json, &list.items[at]);
        serve_json_bool(&json, "is_listed", is_listed);
        serve_json_text(&json, "model_version", list.model_version);
        trigger_write(&json, &list.trigger);
        serve_json_int(&json, "published_at", row.timestamp_ms);
        serve_json_end(&json);
        serve_reply(request, 200);
    }
    state_view_release(&row);
}

void http__trending(void *context, struct serve_request *request)
{
    struct http *http = context;
    struct str tenant = serve_text(request, "tenant"), category = serve_text(request, "category");
    int n = (int)serve_int(request, "n");
    struct serve_json json = serve_json_begin(serve_reply_body(request));
    struct trending trending = {.tenant = tenant, .category = category};
    struct counted_item items[HTTP_LIST_MAX];
    struct state_view_row row;
    arena_reset(http->arena);
    if (trending_get(http, tenant, category, &trending, &row)) {
        http__trending_write(http, &json, &trending, row.timestamp_ms, n, NULL);
        state_view_release(&row);
    } else {
        const char *fallback = NULL;
        http__ask(http, tenant, NULL);
        if (category.len == 0)
            trending.n_items = (size_t)popular_find(http, tenant, n, items, &fallback);
        trending.items = items;
        http__trending_write(http, &json, &trending, 0, n, fallback);
    }
    serve_reply(request, 200);
}

/* ---- what goes with items ---- */

/* What the catalogue says of an item, as far as there is a record; it lives in the request's arena. */
static struct item item_of(struct http *http, struct str tenant, struct str id)
{
    char key[KEYS_MAX];
    struct err err = ERR_INIT;
    struct state_view_row row;
    struct item item = {.tenant = tenant, .item_id = id};
    if (!http__row_get(http, VIEW_ITEMS, keys_pair(tenant, id, key), &row)) return item;
    struct str bytes = arena_str(http->arena, row.value);
    state_view_release(&row);
    if (!schemas_item_decode(http->schemas, bytes, http->arena, &item, &err))
        return (struct item){.tenant = tenant, .item_id = id};
    return item;
}

struct filling {
    struct http *http;
    const struct counted_item *items; /* (n) are there */
    size_t n;
    struct str tenant;
};

static bool is_fit(void *context, uint64_t key)
{
    const struct filling *filling = context;
    for (size_t i = 0; i < filling->n; i++)
        if (schemas_item_key(filling->tenant, filling->items[i].item_id) == key) return false;
    return http__is_listed(filling->http, key);
}

/* An item that has few partners to show gets items like it behind them, up to n; items (HTTP_LIST_MAX) is where they stand then.
 * Returns how many of them are partners. */
static size_t related_fill(struct http *http, struct related *related, struct counted_item *items,
                           int n)
{
    const struct model *model = sessions_model(http->sessions);
    struct filling filling = {.http = http, .items = items, .tenant = related->tenant};
    const struct shelf_item *facts;
    http->now_ms = http__now_ms();
    for (size_t i = 0; i < related->n_items && filling.n < (size_t)n; i++)
        if (facts_of(http, related->tenant, related->items[i].item_id, http->now_ms, &facts))
            items[filling.n++] = related->items[i];
    size_t own = filling.n;
    if (!model || own >= FEW_PARTNERS || own >= (size_t)n) return related->n_items;
    struct item item = item_of(http, related->tenant, related->item_id);
    related->items = items;
    related->n_items =
        own + (size_t)similar_find(model, &item, n - (int)own, is_fit, &filling, items + own);
    return own;
}

void http__related(void *context, struct serve_request *request)
{
    struct http *http = context;
    struct str tenant = serve_text(request, "tenant"), item = serve_text(request, "item");
    int asked = serve_enum(request, "kind"); /* 0: any, else the kind behind it */
    struct serve_json json = serve_json_begin(serve_reply_body(request));
    struct related related = {
        .item_id = item, .tenant = tenant, .kind = (enum related_kind)(asked > 0 ? asked - 1 : 0)};
    struct counted_item items[HTTP_LIST_MAX];
    struct state_view_row row;
    bool found = false;
    arena_reset(http->arena);
    for (int kind = 0; kind < RELATED_OTHER && !found; kind++)
        if (asked == 0 || asked - 1 == kind)
            found = related_get(http, tenant, item, (enum related_kind)kind, &related, &row);
    size_t own = related.n_items;
    if (serve_bool(request, "fallback"))
        own = related_fill(http, &related, items, (int)serve_int(request, "n"));
    http__related_write(http, &json, &related, found ? row.timestamp_ms : 0,
                        (int)serve_int(request, "n"), own);
    if (found) state_view_release(&row);
    serve_reply(request, 200);
}

/* The lists of all items of a cart, one behind the other. */
struct pool {
    struct model_scored scored[POOL_MAX]; /* (n) */
    struct str ids[POOL_MAX]; /* (n) in the order in which they were met; copies in the arena */
    uint64_t keys[POOL_MAX];
    int n;
};

static void pool_add(struct http *http, struct pool *pool, const struct related *related)
{
    const struct shelf_item *facts;
    int64_t now_ms = http__now_ms();
    for (size_t i = 0; i < related->n_items && pool->n < POOL_MAX && i < HTTP_LIST_MAX; i++) {
        struct str id = related->items[i].item_id;
        if (!facts_of(http, related->tenant, id, now_ms, &facts)) continue;
        pool->keys[pool->n] = schemas_item_key(related->tenant, id);
        pool->ids[pool->n] = arena_str(http->arena, id);
        pool->scored[pool->n] = (struct model_scored){.key = pool->keys[pool->n],
                                                      .score = (double)related->items[i].score};
        pool->n++;
    }
}

static struct str pool_id(const struct pool *pool, uint64_t key)
{
    int i = 0;
    while (pool->keys[i] != key)
        i++;
    return pool->ids[i];
}

void http__cart(void *context, struct serve_request *request)
{
    static struct pool pool; /* one thread, one request at a time */
    struct http *http = context;
    struct err err = ERR_INIT;
    struct event cart;
    uint64_t given[CART_MAX];
    struct model_scored best[HTTP_LIST_MAX];
    struct counted_item items[HTTP_LIST_MAX];
    arena_reset(http->arena);
    if (!schemas_event_decode(http->json, serve_body(request), http->arena, &cart, &err)) {
        serve_reply_error(request, 400, "%s", err.text);
        return;
    }
    int n_given = cart.n_items < CART_MAX ? (int)cart.n_items : CART_MAX;
    struct related answer = {.tenant = cart.tenant,
                             .kind = (enum related_kind)serve_enum(request, "kind")};
    pool.n = 0;
    for (int i = 0; i < n_given; i++) {
        struct related related;
        struct state_view_row row;
        struct str id = cart.items[i].item_id;
        given[i] = schemas_item_key(cart.tenant, id);
        if (!related_get(http, cart.tenant, id, answer.kind, &related, &row)) continue;
        pool_add(http, &pool, &related);
        state_view_release(&row);
    }
    int n = model_cart(pool.scored, pool.n, given, n_given, (int)serve_int(request, "n"), NULL,
                       NULL, best);
    for (int i = 0; i < n; i++)
        items[i] = (struct counted_item){.item_id = pool_id(&pool, best[i].key),
                                         .score = (float)best[i].score};
    answer.items = items;
    answer.n_items = (size_t)n;
    struct serve_json json = serve_json_begin(serve_reply_body(request));
    http__related_write(http, &json, &answer, 0, HTTP_LIST_MAX, answer.n_items);
    serve_reply(request, 200);
}
