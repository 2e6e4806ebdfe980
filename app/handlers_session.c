/* POST /v1/session: a list for the items in the body. The body is read by the decoder of events: {"items":["a","b"]}, newest last. */
#include "app/http_internal.h"

#include "base/mem.h"

static void reasons_write(struct serve_json *json, uint32_t arms)
{
    static const enum reason_kind kinds[ARM_COUNT] = {[ARM_ENCODER] = REASON_ENCODER,
                                                      [ARM_NEIGHBOURS] = REASON_SIMILAR_SESSIONS,
                                                      [ARM_POPULAR] = REASON_POPULAR};
    serve_json_array(json, "reasons");
    for (int arm = 0; arm < ARM_COUNT; arm++) {
        if (arms && !(arms & 1u << arm)) continue;
        serve_json_object(json, NULL);
        serve_json_cstr(json, "kind", schemas_reason_name(arms ? kinds[arm] : REASON_REPEAT));
        serve_json_end(json);
        if (!arms) break;
    }
    serve_json_end(json);
}

void http__found_write(struct http *http, struct serve_json *json,
                       const struct sessions_item *found, int n)
{
    serve_json_array(json, "items");
    for (int i = 0; i < n; i++) {
        serve_json_object(json, NULL);
        http__item_facts(json, found[i].id, shelf_get(http->shelf, found[i].key));
        serve_json_number(json, "score", (double)found[i].score);
        reasons_write(json, found[i].arms);
        serve_json_end(json);
    }
    serve_json_end(json);
}

static bool is_in(const struct sessions_item *found, int n, uint64_t key)
{
    for (int i = 0; i < n; i++)
        if (found[i].key == key) return true;
    return false;
}

static bool is_asked_with(const struct sessions_question *question, struct str id)
{
    for (size_t i = 0; i < question->n_items; i++)
        if (str_equal(question->items[i].item_id, id)) return true;
    return false;
}

/* Any items of the catalogue, when nothing else is known: an answer is never empty for want of events. */
static int catalogue_fill(struct http *http, const struct sessions_question *question,
                          struct sessions_item *found, int n)
{
    uint64_t keys[2 * HTTP_LIST_MAX];
    int some = shelf_some(http->shelf, question->tenant, http->now_ms, http->refusing,
                          2 * HTTP_LIST_MAX, keys);
    for (int i = 0; i < some && n < question->n; i++) {
        struct str id = shelf_get(http->shelf, keys[i])->id;
        bool is_asked = !question->has_repeats && is_asked_with(question, id);
        if (is_asked || is_in(found, n, keys[i])) continue;
        found[n++] = (struct sessions_item){.key = keys[i], .id = id, .arms = 1u << ARM_POPULAR};
    }
    return n;
}

void http__session(void *context, struct serve_request *request)
{
    struct http *http = context;
    struct err err = ERR_INIT;
    struct event body;
    struct sessions_item found[SESSIONS_LIST_MAX];
    arena_reset(http->arena);
    if (!schemas_event_decode(http->json, serve_body(request), http->arena, &body, &err)) {
        serve_reply_error(request, 400, "%s", err.text);
        return;
    }
    const struct sessions_question question = {.tenant = body.tenant,
                                               .items = body.items,
                                               .n_items = body.n_items,
                                               .n = (int)serve_int(request, "n"),
                                               .has_repeats = serve_bool(request, "repeats"),
                                               .neighbours_only = serve_enum(request, "arms") == 1,
                                               .is_listed = http__may_list,
                                               .context = http};
    http__ask(http, body.tenant, &body);
    int n = sessions_answer(http->sessions, &question, found);
    const char *fallback = n == 0 ? "catalogue" : NULL;
    if (n == 0) n = catalogue_fill(http, &question, found, n);
    struct serve_json json = serve_json_begin(serve_reply_body(request));
    serve_json_object(&json, NULL);
    serve_json_text(&json, "tenant", body.tenant);
    http__found_write(http, &json, found, n);
    serve_json_text(&json, "model_version", sessions_model_version(http->sessions));
    serve_json_cstr(&json, "fallback", fallback);
    serve_json_end(&json);
    serve_reply(request, 200);
}
