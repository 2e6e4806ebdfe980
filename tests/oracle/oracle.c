/* The oracle: after a run of freshet, was anything lost, doubled in effect, invented or put out of order?
 *
 *   oracle --config FILE [--set key=value]...      (the configuration that freshet ran with)
 *
 * Reads the events, lists and dead-letter topics whole and the store read-only, folds the events with the reference, and
 * compares (RELIABILITY 4.1):
 *   a  store == reference at A_p, and A_p == end of each partition; encoder state == encode(window), bit for bit
 *   b  every list expected is there, every list there is expected, byte for byte, repeats too; first appearances ascend
 *   c  dead letters: exactly the poison, with the reason and the original bytes
 *   e  with related.topic: tests/oracle/pairs_check.h
 *   d  conservation: records = lists + quiet + duplicates + poison
 * Prints one JSON object; exit 0 when all agree, 1 when something differs, 2 when it could not look. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/app.h"
#include "app/config.h"
#include "app/settings.h"
#include "base/map.h"
#include "base/mem.h"
#include "state/state.h"
#include "tests/oracle/pairs_check.h"
#include "tests/oracle/reference.h"
#include "tests/oracle/topic.h"

enum { SHOWN_MAX = 20 };

struct oracle {
    struct settings settings;
    struct model *model;
    struct topic items;
    struct reference_catalogue *catalogue; /* NULL: none */
    struct schemas *schemas;
    struct reference *reference;
    struct topic events, lists, letters;
    struct expectation *expected; /* (events.n) */
    int *seen;                    /* (events.n) how often its list or dead letter appeared */
    int64_t *end;                 /* (events.partitions) next offset after the last record */
    struct pairs_result pairs;
    int64_t records, quiet, duplicates, poison, expected_lists, repeats, wrong, users, sessions;
};

struct sessions_walk {
    const struct reference_index *expected;
    int n, same;
};

/* One line for a person about a difference; the first few are shown, all are counted. */
#define WRONG(oracle, ...)                                                                         \
    do {                                                                                           \
        if ((oracle)->wrong++ < SHOWN_MAX) {                                                       \
            (void)fprintf(stderr, "oracle: " __VA_ARGS__);                                         \
            (void)fputc('\n', stderr);                                                             \
        }                                                                                          \
    } while (0)

/* ---- expected ---- */

static void fold_all(struct oracle *o)
{
    o->expected = mem_zalloc((size_t)o->events.n * sizeof *o->expected + 1);
    o->seen = mem_zalloc((size_t)o->events.n * sizeof *o->seen + 1);
    o->end = mem_zalloc((size_t)o->events.partitions * sizeof *o->end);
    for (int i = 0; i < o->events.n; i++) {
        const struct topic_record *record = &o->events.records[i];
        o->expected[i] = reference_apply(o->reference, record->partition, record->offset,
                                         record->timestamp_ms, record->value);
        o->end[record->partition] = record->offset + 1;
        o->records++;
        o->expected_lists += o->expected[i].outcome == REFERENCE_LIST;
        o->quiet += o->expected[i].outcome == REFERENCE_QUIET;
        o->duplicates += o->expected[i].outcome == REFERENCE_DUPLICATE;
        o->poison += o->expected[i].outcome == REFERENCE_POISON;
    }
}

/* Index of the event that a freshet-src header names; -1 when there is none. */
static int event_of(const struct oracle *o, struct str source)
{
    char topic[256];
    int partition;
    long long offset;
    if (sscanf(source.ptr, "%255[^/]/%d/%lld", topic, &partition, &offset) != 3) return -1;
    if (strcmp(topic, o->settings.topics[0]) != 0) return -1;
    int low = 0, high = o->events.n - 1;
    while (low <= high) {
        int middle = (low + high) / 2;
        const struct topic_record *at = &o->events.records[middle];
        if (at->partition == partition && at->offset == offset) return middle;
        bool before =
            at->partition < partition || (at->partition == partition && at->offset < offset);
        if (before)
            low = middle + 1;
        else
            high = middle - 1;
    }
    return -1;
}

/* ---- b lists ---- */

static void list_check(struct oracle *o, const struct topic_record *list, int64_t *newest)
{
    int i = event_of(o, list->source);
    if (i < 0 || o->expected[i].outcome != REFERENCE_LIST) {
        WRONG(o, "list %d/%lld from %s: no list was expected from there", (int)list->partition,
              (long long)list->offset, list->source.ptr);
        return;
    }
    if (!str_equal(list->value, o->expected[i].value) || !str_equal(list->key, o->expected[i].key))
        WRONG(o, "list from %s differs from the reference (%zu bytes, expected %zu; key %.*s)",
              list->source.ptr, list->value.len, o->expected[i].value.len, STR_ARG(list->key));
    if (o->seen[i]++) {
        o->repeats++;
        return;
    }
    int64_t *last = &newest[(size_t)o->events.records[i].partition * (size_t)o->lists.partitions +
                            (size_t)list->partition];
    if (o->events.records[i].offset < *last)
        WRONG(o, "list from %s appears first after one from offset %lld", list->source.ptr,
              (long long)*last);
    *last = o->events.records[i].offset;
}

static void lists_check(struct oracle *o)
{
    size_t cells = (size_t)o->events.partitions * (size_t)o->lists.partitions;
    int64_t *newest = mem_zalloc(cells * sizeof *newest);
    for (size_t i = 0; i < cells; i++)
        newest[i] = -1;
    for (int i = 0; i < o->lists.n; i++)
        list_check(o, &o->lists.records[i], newest);
    for (int i = 0; i < o->events.n; i++)
        if (o->expected[i].outcome == REFERENCE_LIST && !o->seen[i])
            WRONG(o, "lost: no list from %s/%d/%lld", o->settings.topics[0],
                  (int)o->events.records[i].partition, (long long)o->events.records[i].offset);
    mem_free(newest);
}

/* ---- c dead letters ---- */

static bool is_same_reason(const char *expected, struct str found)
{
    bool decode = strcmp(expected, "decode") ==
                  0; /* the reference does not tell kinds of undecodable bytes apart */
    if (decode) return str_equal(found, STR("decode")) || str_equal(found, STR("unknown_schema"));
    return str_equal(found, str_of(expected));
}

static void letters_check(struct oracle *o)
{
    for (int k = 0; k < o->letters.n; k++) {
        const struct topic_record *letter = &o->letters.records[k];
        int i = event_of(o, letter->source);
        if (i < 0 || o->expected[i].outcome != REFERENCE_POISON) {
            WRONG(o, "dead letter from %s was not expected", letter->source.ptr);
            continue;
        }
        if (!is_same_reason(o->expected[i].reason, letter->reason))
            WRONG(o, "dead letter from %s: reason %s, expected %s", letter->source.ptr,
                  letter->reason.ptr, o->expected[i].reason);
        if (!str_equal(letter->value, o->events.records[i].value) ||
            !str_equal(letter->key, o->events.records[i].key))
            WRONG(o, "dead letter from %s: not the original bytes", letter->source.ptr);
        o->repeats += o->seen[i]++ > 0;
    }
    for (int i = 0; i < o->events.n; i++)
        if (o->expected[i].outcome == REFERENCE_POISON && !o->seen[i])
            WRONG(o, "lost: no dead letter from %s/%d/%lld (%s)", o->settings.topics[0],
                  (int)o->events.records[i].partition, (long long)o->events.records[i].offset,
                  o->expected[i].reason);
}

/* ---- a store ---- */

static bool is_same_window(const struct user *user, const struct reference_user *expected)
{
    if (user->n_window != expected->n_window) return false;
    for (int i = 0; i < user->n_window; i++) {
        const struct interaction *a = &user->window[i];
        const struct reference_interaction *b = &expected->window[i];
        if (a->item != b->item || a->time_ms != b->time_ms || a->type != b->type) return false;
    }
    return true;
}

static bool is_same_keys(const uint64_t *a, int n, const uint64_t *b, int m)
{
    return n == m && (n == 0 || memcmp(a, b, (size_t)n * sizeof *a) == 0);
}

/* Bit for bit; of attention, whose states have room that is not in use, the vector. States that are not stored are judged by the
 * lists. */
static bool is_same_encoder(const struct oracle *o, const struct user *user,
                            const struct reference_user *expected)
{
    struct model_info info = model_info(o->model);
    if (settings_state(&o->settings, info.S).rebuild_encoders) return true;
    if (expected->n_window < settings_stored_window(info.D)) return true;
    if (user->model_id != info.id) return false;
    float *state = mem_aligned(64, (size_t)info.S * sizeof *state);
    bool is_attention = model_shape(o->model).encoder == ENCODER_ATTENTION;
    size_t from = is_attention ? (size_t)(info.S - info.D) : 0;
    reference_encode(o->reference, expected, state);
    bool same =
        memcmp(state + from, user->encoder + from, ((size_t)info.S - from) * sizeof *state) == 0;
    mem_free(state);
    return same;
}

static bool user_check(void *context, int32_t partition, struct str key, const struct user *user)
{
    struct oracle *o = context;
    const struct reference_user *expected = reference_user_find(o->reference, partition, key);
    o->users++;
    if (!expected) {
        WRONG(o, "store: user %.*s of partition %d is not in the reference", STR_ARG(key),
              (int)partition);
        return true;
    }
    const char *what =
        user->last_offset[0] != expected->last_offset ? "last offset"
        : !is_same_window(user, expected)             ? "window"
        : user->truncated != expected->truncated      ? "truncated"
        : !is_same_keys(user->bought, user->n_bought, expected->bought, expected->n_bought)
            ? "bought"
        : !is_same_keys(user->disliked, user->n_disliked, expected->disliked, expected->n_disliked)
            ? "disliked"
        : !is_same_keys(user->last_list, user->n_last_list, expected->last_list,
                        expected->n_last_list)
            ? "last list"
        : !is_same_encoder(o, user, expected) ? "encoder state"
                                              : NULL;
    if (what)
        WRONG(o, "store: user %.*s of partition %d: %s differs", STR_ARG(key), (int)partition,
              what);
    return true;
}

static bool position_check(void *context, const char *topic, int32_t partition, int64_t next)
{
    struct oracle *o = context;
    const char *pairs = o->settings.related.pairs_topic;
    const int64_t *end = pairs && strcmp(topic, pairs) == 0 ? o->pairs.end : o->end;
    if (partition >= o->events.partitions || next != end[partition])
        WRONG(o, "store: position of %s/%d is %lld, the topic ends at %lld", topic, (int)partition,
              (long long)next, partition < o->events.partitions ? (long long)end[partition] : -1LL);
    return true;
}

static bool session_check(void *context, const struct state_session *session)
{
    struct sessions_walk *walk = context;
    for (int i = 0; i < walk->expected->n; i++) {
        const struct reference_session *s = &walk->expected->sessions[i];
        if (s->id != session->id) continue;
        if (s->recency == session->recency && s->last_ms == session->last_ms &&
            is_same_keys(session->items, session->n, s->items, s->n))
            walk->same++;
        break;
    }
    walk->n++;
    return true;
}

/* The rows of session neighbours, by partition. */
static bool sessions_check(struct oracle *o, struct state *state, struct err *err)
{
    for (int32_t p = 0; o->settings.neighbours && p < o->events.partitions; p++) {
        struct sessions_walk walk = {.expected = reference_index_of(o->reference, p)};
        struct state_sessions_head head;
        if (!walk.expected) continue;
        if (!state_sessions_each(state, p, &head, session_check, &walk, err)) return false;
        o->sessions += walk.n;
        if (walk.n != walk.expected->n || walk.same != walk.n)
            WRONG(o, "store: partition %d: %d sessions of neighbours, %d expected, %d as expected",
                  (int)p, walk.n, walk.expected->n, walk.same);
        if (head.clicks != walk.expected->adds || head.newest_ms != walk.expected->newest_ms)
            WRONG(o, "store: partition %d: %llu clicks of sessions, expected %llu", (int)p,
                  (unsigned long long)head.clicks, (unsigned long long)walk.expected->adds);
    }
    return true;
}

static bool store_check(struct oracle *o, struct err *err)
{
    struct state *state;
    if (!state_open_readonly(&state, o->settings.state_folder, err)) return false;
    struct pairs_input pairs = {&o->settings, o->schemas, state, &o->events, o->expected};
    bool ok = !o->settings.related.pairs_topic || pairs_check(&pairs, &o->pairs, err);
    o->wrong += o->pairs.wrong;
    ok = ok && state_users_each(state, user_check, o, err) &&
         state_positions_each(state, position_check, o, err) && sessions_check(o, state, err);
    if (ok && o->users != reference_user_count(o->reference))
        WRONG(o, "store: %lld users, the reference has %d", (long long)o->users,
              reference_user_count(o->reference));
    state_close(state);
    return ok;
}

/* ---- the whole ---- */

static bool options_read(struct options *options, int argc, char **argv, struct err *err)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--config") == 0) {
            if (!options_load_file(options, argv[i + 1], err)) return false;
            continue;
        }
        char *equals = strchr(argv[i + 1], '=');
        if (strcmp(argv[i], "--set") != 0 || !equals)
            return err_set(err, ERR_FATAL, "usage: oracle --config FILE [--set key=value]...");
        *equals = '\0';
        if (!options_set(options, argv[i + 1], equals + 1, "--set", err)) return false;
    }
    return true;
}

static struct reference_options reference_options_of(const struct settings *settings,
                                                     int n_partitions)
{
    struct state_options state = settings_state(settings, 0);
    struct ingest_options ingest = settings_ingest(settings);
    struct reference_options options = {.window_max = state.window_max,
                                        .list_size = settings->list_size,
                                        .reasons_name_items = settings->reasons_name_items,
                                        .late_tolerance_ms = state.late_tolerance_ms,
                                        .max_future_ms = ingest.max_future_ms,
                                        .half_life_ms = state.popularity_half_life_ms,
                                        .has_neighbours = settings->neighbours,
                                        .session_gap_ms = settings->session_gap_ms,
                                        .neighbours = settings_neighbours(settings, n_partitions),
                                        .has_pairs = settings->related.pairs_topic != NULL,
                                        .related_basket_max = settings->related.rules.basket_max,
                                        .related_session_items =
                                            settings->related.rules.session_items,
                                        .related_user_max = settings->related.rules.user_max,
                                        .related_window_ms = settings->related.rules.window_ms,
                                        .events_topic = settings->topics[0]};
    memcpy(options.blend, settings->blend_weights, sizeof options.blend);
    memcpy(options.weight, state.popularity_weight, sizeof options.weight);
    return options;
}

static bool look(struct oracle *o, struct err *err)
{
    const struct settings *settings = &o->settings;
    const char *bootstrap = settings->kafka.bootstrap_servers;
    if (!model_load(&o->model, settings->model_folder, err)) return false;
    if (!schemas_open(&o->schemas, &settings->schemas, err)) return false;
    if (!topic_read(&o->events, bootstrap, settings->topics[0], err)) return false;
    if (!topic_read(&o->lists, bootstrap, settings->recommendations_topic, err)) return false;
    if (!topic_read(&o->letters, bootstrap, settings->dlq_topic, err)) return false;
    if (settings->items_topic[0]) {
        if (!topic_read(&o->items, bootstrap, settings->items_topic, err)) return false;
        o->catalogue = reference_catalogue_new(o->schemas, &o->items);
    }
    struct reference_options options = reference_options_of(settings, o->events.partitions);
    options.catalogue = o->catalogue;
    o->reference = reference_new(&options, o->model, o->schemas);
    fold_all(o);
    lists_check(o);
    letters_check(o);
    if (o->records != o->expected_lists + o->quiet + o->duplicates + o->poison)
        WRONG(o, "the reference lost a record");
    return store_check(o, err);
}

int main(int argc, char **argv)
{
    static struct oracle oracle;
    struct err err = ERR_INIT;
    struct options *options = options_new(app_config_specs, app_config_count);
    app_config_prefixes(options);
    bool ok = options_read(options, argc, argv, &err) &&
              settings_init(&oracle.settings, options, &err) && look(&oracle, &err);
    if (!ok) {
        (void)fprintf(stderr, "oracle: cannot look: %s\n", err.text);
        return 2;
    }
    printf("{\"records\":%lld,\"lists\":%lld,\"quiet\":%lld,\"duplicates\":%lld,\"poison\":%lld,"
           "\"repeats\":%lld,"
           "\"users\":%lld,\"sessions\":%lld,\"pair_groups\":%lld,\"pair_repeats\":%lld,"
           "\"related_rows\":%lld,\"related_lists\":%lld,\"wrong\":%lld}\n",
           (long long)oracle.records, (long long)oracle.expected_lists, (long long)oracle.quiet,
           (long long)oracle.duplicates, (long long)oracle.poison, (long long)oracle.repeats,
           (long long)oracle.users, (long long)oracle.sessions, (long long)oracle.pairs.groups,
           (long long)oracle.pairs.repeats, (long long)oracle.pairs.rows,
           (long long)oracle.pairs.lists, (long long)oracle.wrong);
    return oracle.wrong ? 1 : 0;
}
