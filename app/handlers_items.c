/* The catalogue: one item, and search in titles. */
#include "app/http_internal.h"

#include "base/mem.h"

enum { SEARCH_MAX = 1024 }; /* titles that are looked at when a category is wanted, too */

static void item_write(struct http *http, struct serve_json *json, const struct item *item,
                       int64_t published_ms)
{
    serve_json_object(json, NULL);
    serve_json_text(json, "item_id", item->item_id);
    serve_json_text(json, "tenant", item->tenant);
    serve_json_text(json, "title", item->title);
    serve_json_array(json, "categories");
    for (size_t i = 0; i < item->n_categories; i++)
        serve_json_text(json, NULL, item->categories[i]);
    serve_json_end(json);
    serve_json_text(json, "brand", item->brand);
    if (item->has_price) serve_json_number(json, "price", item->price);
    if (item->stock >= 0) serve_json_int(json, "stock", item->stock);
    if (item->available_from_ms) serve_json_int(json, "available_from", item->available_from_ms);
    if (item->available_until_ms) serve_json_int(json, "available_until", item->available_until_ms);
    serve_json_object(json, "attributes");
    for (size_t i = 0; i < item->n_attributes; i++)
        serve_json_text(json, arena_str(http->arena, item->attributes[i].key).ptr,
                        item->attributes[i].value);
    serve_json_end(json);
    serve_json_bool(json, "hidden", item->hidden);
    serve_json_int(json, "published_at", published_ms);
    serve_json_end(json);
}

void http__item(void *context, struct serve_request *request)
{
    struct http *http = context;
    char key[KEYS_MAX];
    struct err err = ERR_INIT;
    struct state_view_row row;
    struct item item;
    struct str id = serve_text(request, "item");
    arena_reset(http->arena);
    if (!http__row_get(http, VIEW_ITEMS, keys_pair(serve_text(request, "tenant"), id, key), &row)) {
        serve_reply_error(request, 404, "no item %.*s in the catalogue", STR_ARG(id));
        return;
    }
    if (schemas_item_decode(http->schemas, row.value, http->arena, &item, &err)) {
        struct serve_json json = serve_json_begin(serve_reply_body(request));
        item_write(http, &json, &item, row.timestamp_ms);
        serve_reply(request, 200);
    } else {
        serve_reply_error(request, 500, "the record of item %.*s does not decode", STR_ARG(id));
    }
    state_view_release(&row);
}

/* Items of the category in the order in which they came. */
static int category_items(struct http *http, struct str tenant, struct str category, int64_t now_ms,
                          int n, uint64_t *keys)
{
    int found = 0, place = 0;
    uint64_t key;
    while (found < n && aisles_next(http->aisles, tenant, category, &place, &key))
        if (key && shelf_is_listed(shelf_get(http->shelf, key), now_ms)) keys[found++] = key;
    return found;
}

/* Keys of listed items that the question names; writes at most SEARCH_MAX. */
static int search(struct http *http, struct serve_request *request, int n, uint64_t *keys)
{
    struct str tenant = serve_text(request, "tenant"), query = serve_text(request, "query");
    struct str category = serve_text(request, "category");
    int64_t now_ms = http__now_ms();
    int kept = 0;
    if (query.len == 0)
        return category.len ? category_items(http, tenant, category, now_ms, n, keys)
                            : shelf_some(http->shelf, tenant, now_ms, 0, n, keys);
    int found = shelf_find(http->shelf, tenant, query, now_ms, category.len ? SEARCH_MAX : n, keys);
    for (int i = 0; i < found; i++)
        if (category.len == 0 || aisles_has(http->aisles, tenant, category, keys[i]))
            keys[kept++] = keys[i];
    return kept < n ? kept : n;
}

void http__search(void *context, struct serve_request *request)
{
    struct http *http = context;
    uint64_t keys[SEARCH_MAX];
    int n = search(http, request, (int)serve_int(request, "n"), keys);
    struct serve_json json = serve_json_begin(serve_reply_body(request));
    serve_json_object(&json, NULL);
    serve_json_array(&json, "items");
    for (int i = 0; i < n; i++) {
        const struct shelf_item *item = shelf_get(http->shelf, keys[i]);
        serve_json_object(&json, NULL);
        http__item_facts(&json, item->id, item);
        if (item->brand.len) serve_json_text(&json, "brand", item->brand);
        serve_json_end(&json);
    }
    serve_json_end(&json);
    serve_json_end(&json);
    serve_reply(request, 200);
}

void http__categories(void *context, struct serve_request *request)
{
    struct http *http = context;
    struct serve_json json = serve_json_begin(serve_reply_body(request));
    serve_json_object(&json, NULL);
    serve_json_array(&json, "categories");
    for (int i = 0; i < aisles_count(http->aisles); i++) {
        const struct aisle *aisle = aisles_get(http->aisles, i);
        if (aisle->items == 0 || !str_equal(aisle->tenant, serve_text(request, "tenant"))) continue;
        serve_json_object(&json, NULL);
        serve_json_text(&json, "category", aisle->name);
        serve_json_int(&json, "items", aisle->items);
        serve_json_end(&json);
    }
    serve_json_end(&json);
    serve_json_end(&json);
    serve_reply(request, 200);
}
