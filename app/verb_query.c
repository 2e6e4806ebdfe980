/* freshet query: what the store holds about a user, an item or the positions. Reads only. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "app/app.h"
#include "app/settings.h"
#include "base/buf.h"
#include "base/map.h"
#include "model/model.h"
#include "schemas/schemas.h"
#include "state/state.h"

enum {
    TEXT_MAX = 64 << 20,      /* bytes of one answer */
    NAMES_MAX = 16 << 20,     /* items whose ids are looked up */
    NAMES_TEXT_MAX = 1 << 30, /* bytes of their ids */
    PARTITIONS_MAX = 1024,    /* shown for an item */
};

/* Where an item stands in one partition. */
struct place {
    int32_t partition;
    double level;
    int rank; /* from 1 */
};

/* One question to one store. */
struct query {
    struct state *state;
    struct model *model; /* knows ids, too; NULL when none is configured */
    struct str id, tenant;
    const struct pseudonyms *pseudonyms; /* under which users are kept; NULL: under their ids */
    bool json;
    struct buf out;
    int found;
    struct map_u64
        *names; /* item key to the place of its id in `texts`, its length (2 bytes) before it */
    struct buf texts;
    uint64_t key;                        /* of the item that is asked for */
    struct place places[PARTITIONS_MAX]; /* (n_places) */
    int n_places;
    uint64_t in_windows, in_lists, buyers; /* users */
};

/* ---- words ---- */

static void push_json_text(struct buf *out, struct str text)
{
    buf_push_byte(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c == '"' || c == '\\') buf_push_byte(out, '\\');
        if (c < 0x20) {
            buf_push_format(out, "\\u%04x", c);
        } else {
            buf_push_byte(out, c);
        }
    }
    buf_push_byte(out, '"');
}

/* Keeps the id behind an item key. */
static bool take_name(void *context, int32_t partition, struct str tenant, uint64_t key,
                      struct str id, double level)
{
    struct query *query = context;
    bool added = false;
    uint64_t *at = map_u64_put(query->names, key, &added);
    (void)partition;
    (void)tenant;
    (void)level;
    if (!at || !added) return true;
    *at = query->texts.len;
    buf_push_u16(&query->texts, (uint16_t)id.len);
    buf_push_str(&query->texts, id);
    return !query->texts.failed;
}

/* Empty when neither the store nor the model knows the key. */
static struct str name_of(const struct query *query, uint64_t key)
{
    const uint64_t *at = map_u64_get(query->names, key);
    int32_t index = !at && query->model ? model_item_index(query->model, key) : -1;
    if (index >= 0) return model_item_id(query->model, index);
    if (!at) return (struct str){NULL, 0};
    struct cursor c = {.ptr = query->texts.data + *at, .left = query->texts.len - *at};
    size_t len = cursor_u16(&c);
    return (struct str){(const char *)c.ptr, len};
}

/* The id behind an item key, or the key in hex when neither the store nor the model knows it. */
static void push_item(struct query *query, uint64_t key)
{
    struct str id = name_of(query, key);
    char hex[20];
    if (id.len == 0)
        id = (struct str){hex, (size_t)snprintf(hex, sizeof(hex), "#%016" PRIx64, key)};
    if (query->json) {
        push_json_text(&query->out, id);
    } else {
        buf_push_str(&query->out, id);
    }
}

static void push_keys(struct query *query, const char *name, const uint64_t *keys, int n)
{
    buf_push_format(&query->out, query->json ? ",\"%s\":[" : "  %-9s ", name);
    for (int i = 0; i < n; i++) {
        if (i) buf_push_text(&query->out, query->json ? "," : " ");
        push_item(query, keys[i]);
    }
    buf_push_text(&query->out, query->json ? "]" : n ? "\n" : "-\n");
}

/* ---- user ---- */

static void push_window(struct query *query, const struct user *user)
{
    struct buf *out = &query->out;
    if (query->json) buf_push_text(out, ",\"window\":[");
    for (int i = 0; i < user->n_window; i++) {
        const struct interaction *w = &user->window[i];
        const char *type = schemas_event_type_name((enum event_type)w->type);
        if (query->json) {
            buf_push_format(out,
                            "%s{\"time_ms\":%" PRId64 ",\"type\":\"%s\",\"item_id\":", i ? "," : "",
                            w->time_ms, type);
            push_item(query, w->item);
            buf_push_byte(out, '}');
        } else {
            buf_push_format(out, "  %13" PRId64 "  %-12s ", w->time_ms, type);
            push_item(query, w->item);
            buf_push_byte(out, '\n');
        }
    }
    if (query->json) buf_push_byte(out, ']');
}

static void push_user(struct query *query, int32_t partition, char kind, const struct user *user)
{
    struct buf *out = &query->out;
    const char *who = kind == 'u' ? "user" : "anonymous";
    if (query->json) {
        buf_push_format(out, "{\"%s\":", who);
        push_json_text(out, query->id);
        buf_push_format(out,
                        ",\"partition\":%d,\"events\":%" PRIu64 ",\"model_id\":\"%016" PRIx64
                        "\",\"truncated\":%s",
                        (int)partition, user->events, user->model_id,
                        user->truncated ? "true" : "false");
    } else {
        char model[20] = "none";
        if (user->model_id) (void)snprintf(model, sizeof model, "%016" PRIx64, user->model_id);
        buf_push_format(out,
                        "%s %.*s  partition %d, %" PRIu64 " events, window of %d%s, model %s\n",
                        who, STR_ARG(query->id), (int)partition, user->events, user->n_window,
                        user->truncated ? " (older ones forgotten)" : "", model);
    }
    push_keys(query, "list", user->last_list, user->n_last_list);
    push_keys(query, "bought", user->bought, user->n_bought);
    push_keys(query, "disliked", user->disliked, user->n_disliked);
    push_window(query, user);
    if (query->json) buf_push_text(out, "}\n");
}

/* The stored key is tenant, 0x00, u or a, id (schemas_user_key). A user may be in several
 * partitions when the number of partitions was changed; each is shown. */
static bool visit_user(void *context, int32_t partition, struct str key, const struct user *user)
{
    struct query *query = context;
    const char *end = key.len ? memchr(key.ptr, 0, key.len) : NULL;
    if (!end || (size_t)(end - key.ptr) + 2 > key.len) return true;
    struct str tenant = {key.ptr, (size_t)(end - key.ptr)};
    struct str id = {end + 2, key.len - tenant.len - 2};
    char name[PSEUDONYM_MAX];
    bool is_asked = false;
    for (int k = 0; k < pseudonyms_keys(query->pseudonyms) && !is_asked; k++)
        is_asked = str_equal(id, pseudonym_of(query->pseudonyms, k, tenant, query->id, name));
    if (!str_equal(tenant, query->tenant) || !is_asked) return true;
    query->found++;
    push_user(query, partition, end[1], user);
    return true;
}

static bool query_user(struct query *query, struct err *err)
{
    if (!state_items_each(query->state, take_name, query, err)) return false;
    if (!state_users_each(query->state, visit_user, query, err)) return false;
    if (query->found) return true;
    return err_fatal(err, ERR_EXIT_USAGE, "the store knows no user or visitor '%.*s'%s",
                     STR_ARG(query->id),
                     query->tenant.len ? " of this tenant" : " (tenants: --tenant)");
}

/* ---- item ---- */

/* First walk: where the item is counted. */
static bool find_places(void *context, int32_t partition, struct str tenant, uint64_t key,
                        struct str id, double level)
{
    struct query *query = context;
    (void)tenant;
    (void)id;
    if (key == query->key && query->n_places < PARTITIONS_MAX) {
        query->places[query->n_places++] = (struct place){partition, level, 1};
    }
    return true;
}

/* Second walk: how many are ahead of it there. Ties go to the smaller key, as in lists. */
static bool count_better(void *context, int32_t partition, struct str tenant, uint64_t key,
                         struct str id, double level)
{
    struct query *query = context;
    (void)id;
    if (!str_equal(tenant, query->tenant)) return true;
    for (int i = 0; i < query->n_places; i++) {
        struct place *place = &query->places[i];
        if (place->partition != partition) continue;
        place->rank += level > place->level || (!(level < place->level) && key < query->key);
    }
    return true;
}

static bool holds(const uint64_t *keys, int n, uint64_t key)
{
    for (int i = 0; i < n; i++) {
        if (keys[i] == key) return true;
    }
    return false;
}

/* Third walk, over the users: who saw it, bought it, has it on the list. */
static bool count_user(void *context, int32_t partition, struct str user_key,
                       const struct user *user)
{
    struct query *query = context;
    bool seen = false;
    (void)partition;
    (void)user_key;
    for (int i = 0; i < user->n_window; i++)
        seen = seen || user->window[i].item == query->key;
    query->in_windows += seen;
    query->buyers += holds(user->bought, user->n_bought, query->key);
    query->in_lists += holds(user->last_list, user->n_last_list, query->key);
    return true;
}

static void push_item_answer(struct query *query)
{
    struct buf *out = &query->out;
    bool known = query->model && model_item_index(query->model, query->key) >= 0;
    if (query->json) {
        buf_push_text(out, "{\"item_id\":");
        push_json_text(out, query->id);
        buf_push_format(out,
                        ",\"key\":\"%016" PRIx64 "\",\"in_model\":%s,\"users_seen\":%" PRIu64
                        ",\"users_bought\":%" PRIu64 ",\"lists\":%" PRIu64 ",\"popularity\":[",
                        query->key, known ? "true" : "false", query->in_windows, query->buyers,
                        query->in_lists);
    } else {
        buf_push_format(out,
                        "item %.*s  key %016" PRIx64 ", model %s\n  in the windows of %" PRIu64
                        " users, bought by %" PRIu64 ", on the newest lists of %" PRIu64 "\n",
                        STR_ARG(query->id), query->key, known ? "knows it" : "does not know it",
                        query->in_windows, query->buyers, query->in_lists);
    }
    for (int i = 0; i < query->n_places; i++) {
        const struct place *place = &query->places[i];
        if (query->json) {
            buf_push_format(out, "%s{\"partition\":%d,\"rank\":%d,\"level\":%.6f}", i ? "," : "",
                            (int)place->partition, place->rank, place->level);
        } else {
            buf_push_format(out, "  partition %d: popularity rank %d\n", (int)place->partition,
                            place->rank);
        }
    }
    if (query->json) buf_push_text(out, "]}\n");
}

static bool query_item(struct query *query, struct err *err)
{
    query->key = schemas_item_key(query->tenant, query->id);
    if (!state_items_each(query->state, find_places, query, err) ||
        !state_items_each(query->state, count_better, query, err) ||
        !state_users_each(query->state, count_user, query, err)) {
        return false;
    }
    if (query->n_places == 0 && query->in_windows == 0 && query->buyers == 0) {
        return err_fatal(err, ERR_EXIT_USAGE, "the store knows no item '%.*s'%s",
                         STR_ARG(query->id),
                         query->tenant.len ? " of this tenant" : " (tenants: --tenant)");
    }
    push_item_answer(query);
    return true;
}

/* ---- position ---- */

static bool visit_position(void *context, const char *topic, int32_t partition, int64_t next)
{
    struct query *query = context;
    if (query->json) {
        buf_push_format(&query->out, "{\"topic\":\"%s\",\"partition\":%d,\"next\":%" PRId64 "}\n",
                        topic, (int)partition, next);
    } else {
        buf_push_format(&query->out, "%-32s %9d %12" PRId64 "\n", topic, (int)partition, next);
    }
    return true;
}

static bool query_position(struct query *query, struct err *err)
{
    if (!query->json)
        buf_push_format(&query->out, "%-32s %9s %12s\n", "topic", "partition", "next offset");
    return state_positions_each(query->state, visit_position, query, err);
}

/* ---- the verb ---- */

static bool answer(struct query *query, const char *what, struct err *err)
{
    bool ok = strcmp(what, "user") == 0   ? query_user(query, err)
              : strcmp(what, "item") == 0 ? query_item(query, err)
                                          : query_position(query, err);
    if (ok) (void)fwrite(query->out.data, 1, query->out.len, stdout);
    return ok;
}

static bool ask(struct app *app, const struct settings *settings, const char *what, struct err *err)
{
    struct query query = {.id = app->n_args > 1 ? str_of(app->args[1]) : (struct str){0},
                          .tenant = str_of(options_text(app->flags, "tenant")),
                          .pseudonyms = settings->pseudonyms,
                          .json = options_bool(app->flags, "json")};
    struct err ignored = ERR_INIT;
    if (!state_open_readonly(&query.state, settings->state_folder, err)) return false;
    if (settings->model_folder[0] && !model_load(&query.model, settings->model_folder, &ignored))
        query.model = NULL;
    query.names = map_u64_new(NAMES_MAX);
    buf_init(&query.texts, NAMES_TEXT_MAX);
    buf_init(&query.out, TEXT_MAX);
    bool ok = answer(&query, what, err);
    buf_fini(&query.out);
    buf_fini(&query.texts);
    map_u64_free(query.names);
    if (query.model) model_free(query.model);
    state_close(query.state);
    return ok;
}

static bool run(struct app *app, struct err *err)
{
    const char *what = app->n_args > 0 ? app->args[0] : "";
    bool named = strcmp(what, "user") == 0 || strcmp(what, "item") == 0;
    struct settings settings;
    if (!(named && app->n_args == 2) && !(strcmp(what, "position") == 0 && app->n_args == 1)) {
        return err_fatal(
            err, ERR_EXIT_USAGE,
            "say what to look up: `freshet query user ID`, `query item ID` or `query position`");
    }
    bool ok = settings_init(&settings, app->config, err) && ask(app, &settings, what, err);
    settings_fini(&settings);
    return ok;
}

/* {name, type, default, min, max, unit, values, help, group} */
static const struct option_spec flags[] = {
    /* clang-format off */
    {"json", OPTION_BOOL, "false", 0, 0, "", NULL, "One JSON object a line instead of text.", "Output"},
    {"tenant", OPTION_TEXT, "", 0, 0, "", NULL, "Tenant of the user or item.", "Which"},
    /* clang-format on */
};

const struct verb verb_query = {
    .name = "query",
    .summary = "what the store holds about a user, an item, or the positions",
    .usage = "freshet query user ID | item ID | position --config shop.properties [--json]",
    .help = "Reads the store of this configuration, also beside a running process (then as it was "
            "at its last commit on disk).\n\n"
            "  freshet query user u42 --config shop.properties\n"
            "  freshet query item p17 --config shop.properties --json\n"
            "  freshet query position --config shop.properties",
    .flags = flags,
    .n_flags = sizeof(flags) / sizeof(flags[0]),
    .uses_config = true,
    .takes_args = true,
    .run = run,
};
