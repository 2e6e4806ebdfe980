/* GET /v1/users/{user}: what the store holds of a user, as of the last epoch written; `freshet run` alone has it. */
#include "app/http_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"

enum { HEX_BYTES = 20 };

struct asked_user {
    struct http *http;
    struct serve_request *request;
    bool is_found;
};

/* The id behind a key as the catalogue or the clicks have it, else the key in hex, as `freshet query` shows it. */
static void item_write(struct http *http, struct serve_json *json, uint64_t key)
{
    const struct shelf_item *item = shelf_get(http->shelf, key);
    struct str id = item ? item->id : sessions_item_id(http->sessions, key);
    char hex[HEX_BYTES];
    if (id.len == 0) id = (struct str){hex, (size_t)snprintf(hex, sizeof hex, "#%016" PRIx64, key)};
    http__item_facts(json, id, item);
}

static void items_write(struct http *http, struct serve_json *json, const char *name,
                        const uint64_t *keys, int n)
{
    serve_json_array(json, name);
    for (int i = 0; i < n; i++) {
        serve_json_object(json, NULL);
        item_write(http, json, keys[i]);
        serve_json_end(json);
    }
    serve_json_end(json);
}

/* Newest first, as a person wants to see it. */
static void window_write(struct http *http, struct serve_json *json, const struct user *user)
{
    serve_json_array(json, "window");
    for (int i = user->n_window - 1; i >= 0; i--) {
        const struct interaction *one = &user->window[i];
        serve_json_object(json, NULL);
        item_write(http, json, one->item);
        serve_json_cstr(json, "event_type", schemas_event_type_name((enum event_type)one->type));
        serve_json_int(json, "event_time", one->time_ms);
        serve_json_end(json);
    }
    serve_json_end(json);
}

static bool user_write(void *context, int32_t partition, struct str key, const struct user *user)
{
    struct asked_user *asked = context;
    struct http *http = asked->http;
    struct serve_json json = serve_json_begin(serve_reply_body(asked->request));
    char model[HEX_BYTES];
    (void)key;
    (void)snprintf(model, sizeof model, "%016" PRIx64, user->model_id);
    serve_json_object(&json, NULL);
    serve_json_text(&json, "user_id", serve_text(asked->request, "user"));
    serve_json_text(&json, "tenant", serve_text(asked->request, "tenant"));
    serve_json_int(&json, "partition", partition);
    serve_json_int(&json, "events", (int64_t)user->events);
    if (user->newest_ms != INT64_MIN) serve_json_int(&json, "newest_event_time", user->newest_ms);
    window_write(http, &json, user);
    items_write(http, &json, "bought", user->bought, user->n_bought);
    items_write(http, &json, "disliked", user->disliked, user->n_disliked);
    items_write(http, &json, "list", user->last_list, user->n_last_list);
    serve_json_object(&json, "encoder_state");
    serve_json_cstr(&json, "model_id", user->model_id ? model : NULL);
    serve_json_end(&json);
    serve_json_end(&json);
    asked->is_found = true;
    return false;
}

/* As a user and as an anonymous id, under each key that pseudonyms may be of. */
static bool user_look(struct http *http, struct state *state, struct asked_user *asked,
                      struct err *err)
{
    const struct pseudonyms *pseudonyms = http->options.settings->pseudonyms;
    struct str user = serve_text(asked->request, "user"),
               tenant = serve_text(asked->request, "tenant");
    char key[SCHEMAS_USER_KEY_MAX], name[PSEUDONYM_MAX];
    bool ok = true;
    for (int i = 0; ok && !asked->is_found && i < 2 * pseudonyms_keys(pseudonyms); i++) {
        struct str id = pseudonym_of(pseudonyms, i / 2, tenant, user, name);
        const struct event who = {
            .tenant = tenant, .user_id = i % 2 ? (struct str){0} : id, .anonymous_id = id};
        ok = state_user_find(state, schemas_user_key(&who, key), user_write, asked, err);
    }
    return ok;
}

void http__user(void *context, struct serve_request *request)
{
    struct http *http = context;
    struct asked_user asked = {.http = http, .request = request};
    struct err err = ERR_INIT;
    struct str user = serve_text(request, "user");
    if (!http->options.pipeline) {
        serve_reply_error(request, 404, "this process keeps no users: ask a `freshet run`");
        return;
    }
    struct state *state = pipeline_state(http->options.pipeline);
    bool ok = user_look(http, state, &asked, &err);
    if (!ok) {
        log_err(LOG_ERROR, "app", &err);
        serve_reply_error(request, 500, "the user cannot be read");
    } else if (asked.is_found) {
        serve_reply(request, 200);
    } else {
        serve_reply_error(
            request, 404,
            "no user %.*s here: the events of a user are with the owner of its partition",
            STR_ARG(user));
    }
}
