/* The oracle: after a run of freshet, was anything lost, doubled in effect, invented or put out of order?
 *
 *   oracle --config FILE [--set key=value]... [--also STATE.DIR]... [--stale counted]   (the configuration that freshet ran with)
 *
 * With `--stale counted` a related list that stands may be older than one before it, if that one is right.
 * With --also the stores of several processes are looked at: of each partition the one that is furthest counts.
 *
 * Reads the events, lists and dead-letter topics whole and the store read-only, folds the events with the reference, and
 * compares (RELIABILITY 4.1):
 *   a  store == reference at A_p, and A_p == end of each partition; encoder state == encode(window), bit for bit
 *   b  every list expected is there, every list there is expected, byte for byte, repeats too; first appearances ascend
 *   c  dead letters: exactly the poison, with the reason and the original bytes; who is to be forgotten may have none
 *   e  with related.topic: tests/oracle/pairs_check.h
 *   d  conservation: records = lists + quiet + duplicates + poison + erased
 *   f  with exactly_once_v2: no list, dead letter or group of pairs twice; C_p == A_p
 *   g  with erasures.topic: tests/oracle/erasures.h. Without transactions a list that an erasure overtook may be missing
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
#include "tests/oracle/erasures.h"
#include "tests/oracle/pairs_check.h"
#include "tests/oracle/reference.h"
#include "tests/oracle/topic.h"

enum { SHOWN_MAX = 20, STORES_MAX = 16 };

struct oracle {
    struct settings settings;
    char *folders[STORES_MAX]; /* (n_stores) */
    struct state *stores[STORES_MAX];
    int n_stores;
    int looking;       /* the store that is walked now */
    int *store_of;     /* (events.partitions) whose the partition is */
    int64_t *standing; /* (n_stores, events.partitions) sum of its positions there */
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
    struct erasures *erasures; /* NULL: none */
    bool *is_overtaken;        /* (events.n) the user was erased later */
    int64_t records, quiet, duplicates, poison, erased, expected_lists, repeats, wrong, users,
        sessions;
    int64_t stale_lists; /* users whose last list is of an older event than one before it */
    bool counts_stale;   /* --stale counted */
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

/* The lists of the user so far may be missing. */
static void user_gone(void *context, const struct reference_user *user)
{
    struct oracle *o = context;
    for (int i = 0; i < o->records; i++)
        o->is_overtaken[i] = o->is_overtaken[i] || o->expected[i].user == user;
}

/* Erases what stands before the i-th event, or behind the last one of its partition. */
static void erase_until(struct oracle *o, int32_t partition, int64_t offset)
{
    if (o->erasures) erasures_apply(o->erasures, o->reference, partition, offset, user_gone, o);
}

static void fold_all(struct oracle *o)
{
    o->expected = mem_zalloc((size_t)o->events.n * sizeof *o->expected + 1);
    o->seen = mem_zalloc((size_t)o->events.n * sizeof *o->seen + 1);
    o->is_overtaken = mem_zalloc((size_t)o->events.n * sizeof *o->is_overtaken + 1);
    o->end = mem_zalloc((size_t)o->events.partitions * sizeof *o->end);
    for (int i = 0; i < o->events.n; i++) {
        const struct topic_record *record = &o->events.records[i];
        erase_until(o, record->partition, record->offset);
        o->expected[i] = reference_apply(o->reference, record->partition, record->offset,
                                         record->timestamp_ms, record->value);
        o->end[record->partition] = record->offset + 1;
        o->records++;
        o->expected_lists += o->expected[i].outcome == REFERENCE_LIST;
        o->quiet += o->expected[i].outcome == REFERENCE_QUIET;
        o->duplicates += o->expected[i].outcome == REFERENCE_DUPLICATE;
        o->poison += o->expected[i].outcome == REFERENCE_POISON;
        o->erased += o->expected[i].outcome == REFERENCE_ERASED;
    }
    for (int32_t p = 0; p < o->events.partitions; p++)
        erase_until(o, p, o->end[p]);
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

static void repeat_note(struct oracle *o, const char *what, const struct topic_record *record)
{
    o->repeats++;
    if (o->settings.transactional_id)
        WRONG(o, "doubled: a %s from %s comes again", what, record->source.ptr);
}

/* ---- b lists ---- */

static void list_check(struct oracle *o, const struct topic_record *list, int64_t *newest)
{
    int i = event_of(o, list->source);
    if (!list->value.ptr && o->erasures) return; /* erasures_check */
    if (i < 0 || o->expected[i].outcome != REFERENCE_LIST) {
        WRONG(o, "list %d/%lld from %s: no list was expected from there", (int)list->partition,
              (long long)list->offset, list->source.ptr);
        return;
    }
    if (!str_equal(list->value, o->expected[i].value) || !str_equal(list->key, o->expected[i].key))
        WRONG(o, "list from %s differs from the reference (%zu bytes, expected %zu; key %.*s)",
              list->source.ptr, list->value.len, o->expected[i].value.len, STR_ARG(list->key));
    if (o->seen[i]++) {
        repeat_note(o, "list", list);
        return;
    }
    int64_t *last = &newest[(size_t)o->events.records[i].partition * (size_t)o->lists.partitions +
                            (size_t)list->partition];
    if (o->events.records[i].offset < *last)
        WRONG(o, "list from %s appears first after one from offset %lld", list->source.ptr,
              (long long)*last);
    *last = o->events.records[i].offset;
}

/* A reader who takes the last record of a key for the newest is wrong about these. */
static void stale_count(struct oracle *o)
{
    struct map_str *newest = map_str_new((size_t)o->lists.n + 1, MAP_KEYS_BORROWED);
    struct map_str *last = map_str_new((size_t)o->lists.n + 1, MAP_KEYS_BORROWED);
    for (int i = 0; i < o->lists.n; i++) {
        struct str key = o->lists.records[i].key;
        int event = event_of(o, o->lists.records[i].source);
        if (event < 0) continue;
        const struct topic_record *at = &o->events.records[event], *before;
        before = map_str_get(newest, key);
        if (!before || before->offset < at->offset)
            (void)map_str_set(newest, key, &o->events.records[event]);
        (void)map_str_set(last, key, &o->events.records[event]);
    }
    for (int i = 0; i < o->lists.n; i++) {
        struct str key = o->lists.records[i].key;
        void *end = map_str_get(last, key);
        if (!end) continue; /* tombstones alone: of somebody who was forgotten */
        o->stale_lists += map_str_get(newest, key) != end;
        (void)map_str_set(newest, key, end); /* counted */
    }
    map_str_free(newest);
    map_str_free(last);
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
        if (o->expected[i].outcome == REFERENCE_LIST && !o->seen[i] &&
            (!o->is_overtaken[i] || o->settings.transactional_id))
            WRONG(o, "lost: no list from %s/%d/%lld", o->settings.topics[0],
                  (int)o->events.records[i].partition, (long long)o->events.records[i].offset);
    mem_free(newest);
}

/* ---- c dead letters ---- */

/* The reference does not tell kinds of undecodable bytes apart. */
static bool is_same_reason(const char *expected, struct str found)
{
    bool is_either = strcmp(expected, "decode") == 0 && str_equal(found, STR("unknown_schema"));
    return is_either || str_equal(found, str_of(expected));
}

static void letters_check(struct oracle *o)
{
    for (int k = 0; k < o->letters.n; k++) {
        const struct topic_record *letter = &o->letters.records[k];
        if (letter->is_mark) continue;
        int i = event_of(o, letter->source);
        if (i < 0 || o->expected[i].outcome != REFERENCE_POISON) {
            WRONG(o, "dead letter from %s was not expected", letter->source.ptr);
            continue;
        }
        if (!is_same_reason(o->expected[i].reason, letter->reason))
            WRONG(o, "dead letter from %s: reason %s, expected %s", letter->source.ptr,
                  letter->reason.ptr, o->expected[i].reason);
        const struct topic_record *event = &o->events.records[i];
        bool is_kept = letter->key.len > 0 || letter->value.len > 0;
        if ((is_kept || !erasures_may_begin(o->erasures, event)) &&
            (!str_equal(letter->value, event->value) || !str_equal(letter->key, event->key)))
            WRONG(o, "dead letter from %s: not the original bytes", letter->source.ptr);
        if (letter->is_moved && o->seen[i]) continue; /* where it was is not deleted yet */
        if (o->seen[i]++) repeat_note(o, "dead letter", letter);
    }
    for (int i = 0; i < o->events.n; i++)
        if (o->expected[i].outcome == REFERENCE_POISON && !o->seen[i] &&
            !erasures_may_name(o->erasures, &o->events.records[i]))
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
    if (o->store_of[partition] != o->looking) return true;
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

/* Where a topic that is read ends. */
static int64_t end_of(const struct oracle *o, const char *topic, int32_t partition)
{
    const char *pairs = o->settings.related.pairs_topic;
    if (pairs && strcmp(topic, pairs) == 0) return o->pairs.end[partition];
    if (o->erasures && strcmp(topic, o->settings.erasures_topic) == 0)
        return erasures_end(o->erasures, partition);
    return o->end[partition];
}

/* f: what the group has committed is what the store holds; a topic that nothing came from has neither. */
static bool committed_check(struct oracle *o, struct err *err)
{
    int n = o->events.partitions;
    const char *bootstrap = o->settings.kafka.bootstrap_servers;
    int64_t *next = mem_alloc((size_t)n * sizeof *next);
    bool ok = true;
    for (int t = 0; ok && t < o->settings.n_sources; t++) {
        ok = topic_committed(bootstrap, o->settings.application_id, o->settings.topics[t], n, next,
                             err);
        for (int p = 0; ok && p < n; p++) {
            int64_t end = end_of(o, o->settings.topics[t], p);
            if (next[p] != end && end > 0)
                WRONG(o, "the group has committed %lld of %s/%d, the topic ends at %lld",
                      (long long)next[p], o->settings.topics[t], p, (long long)end);
        }
    }
    mem_free(next);
    return ok;
}

static bool position_check(void *context, const char *topic, int32_t partition, int64_t next)
{
    struct oracle *o = context;
    bool is_known = partition < o->events.partitions;
    if (is_known && o->store_of[partition] != o->looking) return true;
    int64_t end = is_known ? end_of(o, topic, partition) : -1;
    if (next != end)
        WRONG(o, "store: position of %s/%d is %lld, the topic ends at %lld", topic, (int)partition,
              (long long)next, (long long)end);
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
static bool sessions_check(struct oracle *o, struct err *err)
{
    for (int32_t p = 0; o->settings.neighbours && p < o->events.partitions; p++) {
        struct sessions_walk walk = {.expected = reference_index_of(o->reference, p)};
        struct state_sessions_head head;
        if (!walk.expected) continue;
        if (!state_sessions_each(o->stores[o->store_of[p]], p, &head, session_check, &walk, err))
            return false;
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

static bool owner_see(void *context, const char *topic, int32_t partition, int64_t next)
{
    struct oracle *o = context;
    (void)topic;
    if (partition < o->events.partitions)
        o->standing[o->looking * o->events.partitions + partition] += next;
    return true;
}

static bool stores_open(struct oracle *o, struct err *err)
{
    int n = o->events.partitions;
    o->store_of = mem_zalloc((size_t)n * sizeof *o->store_of);
    o->standing = mem_zalloc((size_t)(o->n_stores * n) * sizeof *o->standing);
    for (int i = o->looking = 0; i < o->n_stores; o->looking = ++i)
        if (!state_open_readonly(&o->stores[i], o->folders[i], err) ||
            !state_positions_each(o->stores[i], owner_see, o, err))
            return false;
    for (int i = 1; i < o->n_stores; i++)
        for (int p = 0; p < n; p++)
            if (o->standing[i * n + p] > o->standing[o->store_of[p] * n + p]) o->store_of[p] = i;
    return true;
}

static bool stores_walk(struct oracle *o, struct err *err)
{
    for (int i = o->looking = 0; i < o->n_stores; o->looking = ++i)
        if (!state_users_each(o->stores[i], user_check, o, err) ||
            !state_positions_each(o->stores[i], position_check, o, err))
            return false;
    return sessions_check(o, err);
}

static bool store_check(struct oracle *o, struct err *err)
{
    if (!stores_open(o, err)) return false;
    struct state **states = mem_alloc((size_t)o->events.partitions * sizeof *states);
    for (int p = 0; p < o->events.partitions; p++)
        states[p] = o->stores[o->store_of[p]];
    struct pairs_input pairs = {&o->settings, o->schemas,  states,
                                &o->events,   o->expected, o->counts_stale};
    bool ok = !o->settings.related.pairs_topic || pairs_check(&pairs, &o->pairs, err);
    o->wrong += o->pairs.wrong;
    if (o->settings.transactional_id && o->pairs.repeats)
        WRONG(o, "doubled: %lld groups of pairs", (long long)o->pairs.repeats);
    ok = ok && (!o->settings.transactional_id || committed_check(o, err));
    ok = ok && stores_walk(o, err);
    if (ok && o->users != reference_user_count(o->reference))
        WRONG(o, "store: %lld users, the reference has %d", (long long)o->users,
              reference_user_count(o->reference));
    for (int i = 0; i < o->n_stores; i++)
        state_close(o->stores[i]);
    mem_free(states);
    return ok;
}

/* ---- the whole ---- */

/* also (n_also): folders that --also names. */
static bool options_read(struct options *options, int argc, char **argv, const char **also,
                         int *n_also, bool *counts_stale, struct err *err)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--also") == 0 && *n_also < STORES_MAX - 1) {
            also[(*n_also)++] = argv[i + 1];
            continue;
        }
        if (strcmp(argv[i], "--stale") == 0) {
            *counts_stale = strcmp(argv[i + 1], "counted") == 0;
            continue;
        }
        if (strcmp(argv[i], "--config") == 0) {
            if (!options_load_file(options, argv[i + 1], err)) return false;
            continue;
        }
        char *equals = strchr(argv[i + 1], '=');
        if (strcmp(argv[i], "--set") != 0 || !equals)
            return err_set(
                err, ERR_FATAL,
                "usage: oracle --config FILE [--set key=value]... [--also STATE.DIR]... [--stale "
                "counted]");
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
    struct reference_options options = {
        .window_max = state.window_max,
        .list_size = settings->list_size,
        .reasons_name_items = settings->reasons_name_items,
        .late_tolerance_ms = state.late_tolerance_ms,
        .max_future_ms = ingest.max_future_ms,
        .half_life_ms = state.popularity_half_life_ms,
        .has_neighbours = settings->neighbours,
        .session_gap_ms = settings->session_gap_ms,
        .neighbours = settings_neighbours(settings, n_partitions),
        .has_trending = settings->related.trending_topic[0] != 0,
        .has_pairs = settings->related.pairs_topic != NULL,
        .related_basket_max = settings->related.rules.pairs.basket_max,
        .related_session_items = settings->related.rules.pairs.session_items,
        .related_user_max = settings->related.rules.pairs.user_max,
        .related_window_ms = settings->related.rules.pairs.window_ms,
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
    if (settings->erasures_at >= 0 &&
        !erasures_read(&o->erasures, settings, o->schemas, o->events.partitions, err))
        return false;
    fold_all(o);
    lists_check(o);
    stale_count(o);
    letters_check(o);
    if (o->erasures) erasures_check(o->erasures, &o->lists);
    if (o->records != o->expected_lists + o->quiet + o->duplicates + o->poison + o->erased)
        WRONG(o, "the reference lost a record");
    return store_check(o, err);
}

static void folders_take(struct oracle *o, const char *const *also, int n_also)
{
    o->folders[o->n_stores++] = mem_strdup(o->settings.state_folder);
    for (int i = 0; i < n_also; i++) {
        size_t size = strlen(also[i]) + strlen(o->settings.application_id) + 2;
        char *folder = o->folders[o->n_stores++] = mem_alloc(size);
        (void)snprintf(folder, size, "%s/%s", also[i], o->settings.application_id);
    }
}

static void verdict_print(struct oracle *o)
{
    struct erasures_counts erasures = {0};
    if (o->erasures) erasures = erasures_counts(o->erasures);
    o->wrong += erasures.wrong;
    const struct {
        const char *name;
        int64_t value;
    } counts[] = {{"records", o->records},
                  {"lists", o->expected_lists},
                  {"quiet", o->quiet},
                  {"duplicates", o->duplicates},
                  {"poison", o->poison},
                  {"erased", o->erased},
                  {"repeats", o->repeats},
                  {"users", o->users},
                  {"sessions", o->sessions},
                  {"erasures", erasures.requests},
                  {"users_erased", erasures.erased},
                  {"pair_groups", o->pairs.groups},
                  {"pair_repeats", o->pairs.repeats},
                  {"related_rows", o->pairs.rows},
                  {"related_lists", o->pairs.lists},
                  {"trending_lists", o->pairs.trending},
                  {"unknown_lists", o->pairs.unknown},
                  {"stale_lists", o->stale_lists},
                  {"stale_related", o->pairs.stale},
                  {"wrong", o->wrong}};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        printf("%s\"%s\":%lld", i ? "," : "{", counts[i].name, (long long)counts[i].value);
    printf("}\n");
}

int main(int argc, char **argv)
{
    static struct oracle oracle;
    const char *also[STORES_MAX];
    int n_also = 0;
    struct err err = ERR_INIT;
    struct options *options = options_new(app_config_specs, app_config_count);
    app_config_prefixes(options);
    bool ok = options_read(options, argc, argv, also, &n_also, &oracle.counts_stale, &err) &&
              settings_init(&oracle.settings, options, &err) &&
              settings_erasures_settle(&oracle.settings, &err);
    if (ok) folders_take(&oracle, also, n_also);
    ok = ok && look(&oracle, &err);
    if (!ok) {
        (void)fprintf(stderr, "oracle: cannot look: %s\n", err.text);
        return 2;
    }
    verdict_print(&oracle);
    return oracle.wrong ? 1 : 0;
}
