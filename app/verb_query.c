/* freshet query: what the store holds about a user, an item or the positions. Reads only. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "app/app.h"
#include "app/settings.h"
#include "base/buf.h"
#include "base/mem.h"
#include "model/model.h"
#include "schemas/schemas.h"
#include "state/state.h"

enum { RANKS_MAX = 10000, TEXT_MAX = 1 << 20 };

/* One question to one store. */
struct query {
    struct state *state;
    struct state_shard *shard; /* for the ids behind item keys */
    struct model *model;       /* likewise; NULL when none is configured */
    struct str id, tenant;
    bool json;
    struct buf out;
    int found;
    int32_t partitions[1024]; /* (n_partitions) that have a position */
    int n_partitions;
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

/* The id behind an item key, or the key in hex when neither the store nor the model knows it. */
static void push_item(struct query *query, int32_t partition, struct str tenant, uint64_t key)
{
    struct str id = state_item_id(query->shard, partition, tenant, key);
    int32_t index = query->model && id.len == 0 ? model_item_index(query->model, key) : -1;
    char hex[20];
    if (index >= 0) id = model_item_id(query->model, index);
    if (id.len == 0)
        id = (struct str){hex, (size_t)snprintf(hex, sizeof(hex), "#%016" PRIx64, key)};
    if (query->json) {
        push_json_text(&query->out, id);
    } else {
        buf_push_str(&query->out, id);
    }
}

static void push_keys(struct query *query, int32_t partition, struct str tenant, const char *name,
                      const uint64_t *keys, int n)
{
    buf_push_format(&query->out, query->json ? ",\"%s\":[" : "  %-9s ", name);
    for (int i = 0; i < n; i++) {
        if (i) buf_push_text(&query->out, query->json ? "," : " ");
        push_item(query, partition, tenant, keys[i]);
    }
    buf_push_text(&query->out, query->json ? "]" : n ? "\n" : "-\n");
}

/* ---- user ---- */

static void push_window(struct query *query, int32_t partition, struct str tenant,
                        const struct user *user)
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
            push_item(query, partition, tenant, w->item);
            buf_push_byte(out, '}');
        } else {
            buf_push_format(out, "  %13" PRId64 "  %-12s ", w->time_ms, type);
            push_item(query, partition, tenant, w->item);
            buf_push_byte(out, '\n');
        }
    }
    if (query->json) buf_push_byte(out, ']');
}

static void push_user(struct query *query, int32_t partition, struct str tenant, char kind,
                      const struct user *user)
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
        buf_push_format(out,
                        "%s %.*s  partition %d, %" PRIu64
                        " events, window of %d%s, model %016" PRIx64 "\n",
                        who, STR_ARG(query->id), (int)partition, user->events, user->n_window,
                        user->truncated ? " (older ones forgotten)" : "", user->model_id);
    }
    push_keys(query, partition, tenant, "list", user->last_list, user->n_last_list);
    push_keys(query, partition, tenant, "bought", user->bought, user->n_bought);
    push_keys(query, partition, tenant, "disliked", user->disliked, user->n_disliked);
    push_window(query, partition, tenant, user);
    if (query->json) buf_push_text(out, "}\n");
}

static bool visit_user(void *context, int32_t partition, struct str key, const struct user *user)
{
    struct query *query = context;
    struct err err = ERR_INIT;
    const char *end = key.len ? memchr(key.ptr, 0, key.len) : NULL;
    if (!end || (size_t)(end - key.ptr) + 2 > key.len) return true;
    struct str tenant = {key.ptr, (size_t)(end - key.ptr)};
    struct str id = {end + 2, key.len - tenant.len - 2};
    if (!str_equal(tenant, query->tenant) || !str_equal(id, query->id)) return true;
    /* Without its tables the ids stay hex: no reason to fail. */
    if (query->found == 0 && !state_partition_open(query->shard, partition, &err)) query->found = 0;
    query->found++;
    push_user(query, partition, tenant, end[1], user);
    return true;
}

static bool query_user(struct query *query, struct err *err)
{
    if (!state_users_each(query->state, visit_user, query, err)) return false;
    if (query->found) return true;
    return err_fatal(err, ERR_EXIT_USAGE, "the store knows no user or visitor '%.*s'%s",
                     STR_ARG(query->id),
                     query->tenant.len ? " of this tenant" : " (tenants: --tenant)");
}

/* ---- item and position ---- */

static bool visit_position(void *context, const char *topic, int32_t partition, int64_t next)
{
    struct query *query = context;
    bool known = false;
    for (int i = 0; i < query->n_partitions; i++)
        known = known || query->partitions[i] == partition;
    if (!known && query->n_partitions < 1024) query->partitions[query->n_partitions++] = partition;
    buf_push_format(&query->out,
                    query->json ? "{\"topic\":\"%s\",\"partition\":%d,\"next\":%" PRId64 "}\n"
                                : "%-32s %4d %12" PRId64 "\n",
                    topic, (int)partition, next);
    return true;
}

static bool query_position(struct query *query, struct err *err)
{
    if (!query->json)
        buf_push_format(&query->out, "%-32s %4s %12s\n", "topic", "part", "next offset");
    return state_positions_each(query->state, visit_position, query, err);
}

/* The item's place among the popular ones of each partition. */
static bool query_item(struct query *query, struct err *err)
{
    uint64_t key = schemas_item_key(query->tenant, query->id);
    uint64_t *keys = mem_alloc(RANKS_MAX * sizeof(*keys));
    bool ok = state_positions_each(query->state, visit_position, query, err);
    buf_reset(&query->out);
    buf_push_format(&query->out,
                    query->json ? "{\"key\":\"%016" PRIx64 "\",\"in_model\":%s,\"popularity\":["
                                : "key %016" PRIx64 ", in the model: %s\n",
                    key,
                    query->model && model_item_index(query->model, key) >= 0
                        ? (query->json ? "true" : "yes")
                        : (query->json ? "false" : "no"));
    for (int i = 0; ok && i < query->n_partitions; i++) {
        int32_t partition = query->partitions[i];
        int rank = 0, n = 0;
        ok = state_partition_open(query->shard, partition, err);
        if (ok)
            n = state_popularity_top(query->shard, partition, query->tenant, RANKS_MAX, keys, NULL,
                                     NULL);
        while (rank < n && keys[rank] != key)
            rank++;
        if (rank == n) continue;
        buf_push_format(&query->out,
                        query->json ? "%s{\"partition\":%d,\"rank\":%d}"
                                    : "%spartition %d: %d. in popularity\n",
                        query->json && query->found ? "," : "", (int)partition, rank + 1);
        query->found++;
        state_partition_close(query->shard, partition);
    }
    if (query->json) buf_push_text(&query->out, "]}\n");
    if (!query->json && !query->found)
        buf_push_text(&query->out, "not among the popular items of any partition\n");
    mem_free(keys);
    return ok;
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
                          .json = options_bool(app->flags, "json")};
    struct err ignored = ERR_INIT;
    if (!state_open_readonly(&query.state, settings->state_folder, err)) return false;
    if (settings->model_folder[0] && !model_load(&query.model, settings->model_folder, &ignored))
        query.model = NULL;
    query.shard = state_shard_new(query.state, 0);
    buf_init(&query.out, TEXT_MAX);
    bool ok = answer(&query, what, err);
    buf_fini(&query.out);
    state_shard_free(query.shard);
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
    .run = run,
};
