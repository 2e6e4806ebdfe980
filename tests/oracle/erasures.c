/* See erasures.h. */
#include "tests/oracle/erasures.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum { SHOWN_MAX = 20, NAMES = 2, ARENA_MAX = 1 << 28 };

/* A name of a request: what it is called in lists, and its user. */
struct name {
    struct str id;  /* len 0: none */
    struct str key; /* of its lists */
    struct event who;
};

struct request {
    const struct topic_record *record;
    struct name names[NAMES];
    int64_t erased_ms;
    int64_t place; /* the first event behind it; -1 no receipt */
    struct receipt {
        char outcome[16];
        int64_t events, window, bought, disliked, sessions;
    } told;
    int receipts;
    struct reference_erased found; /* all names together */
    bool is_applied;
};

struct erasures {
    const struct settings *settings;
    struct arena *arena;
    struct topic asked, receipts;
    struct request *requests; /* (n) by partition, then offset */
    int n;
    int64_t *end; /* (partitions) */
    struct erasures_counts counts;
};

#define WRONG(erasures, ...)                                                                       \
    do {                                                                                           \
        if ((erasures)->counts.wrong++ < SHOWN_MAX) {                                              \
            (void)fprintf(stderr, "oracle: " __VA_ARGS__);                                         \
            (void)fputc('\n', stderr);                                                             \
        }                                                                                          \
    } while (0)

/* ---- requests ---- */

static struct str list_key(struct erasures *e, struct str tenant, struct str id)
{
    char *key = arena_alloc(e->arena, tenant.len + 1 + id.len);
    size_t at = tenant.len ? tenant.len + 1 : 0;
    if (tenant.len) memcpy(key, tenant.ptr, tenant.len);
    if (tenant.len) key[tenant.len] = ':';
    memcpy(key + at, id.ptr, id.len);
    return (struct str){key, at + id.len};
}

/* False: it asks for nothing. */
static bool request_take(struct erasures *e, struct schemas *schemas,
                         const struct topic_record *record, struct request *out)
{
    struct err err = ERR_INIT;
    struct erasure asked;
    *out = (struct request){.record = record, .place = -1, .erased_ms = record->timestamp_ms};
    if (!record->value.ptr ||
        !schemas_erasure_decode(schemas, record->value, e->arena, &asked, &err))
        return false;
    if (asked.requested_at_ms > 0 && asked.requested_at_ms < out->erased_ms)
        out->erased_ms = asked.requested_at_ms;
    const struct str ids[NAMES] = {asked.user_id, asked.anonymous_id};
    for (int i = 0; i < NAMES; i++) {
        struct name *name = &out->names[i];
        if (ids[i].len == 0) continue;
        name->id = arena_str(e->arena, ids[i]);
        name->key = list_key(e, asked.tenant, ids[i]);
        name->who.tenant = arena_str(e->arena, asked.tenant);
        *(i == 0 ? &name->who.user_id : &name->who.anonymous_id) = name->id;
    }
    return out->names[0].id.len + out->names[1].id.len > 0;
}

/* What a freshet-src header names; NULL: no request. */
static struct request *request_of(struct erasures *e, struct str source)
{
    char topic[256];
    int partition;
    long long offset;
    if (sscanf(source.ptr, "%255[^/]/%d/%lld", topic, &partition, &offset) != 3) return NULL;
    if (strcmp(topic, e->settings->erasures_topic) != 0) return NULL;
    for (int i = 0; i < e->n; i++)
        if (e->requests[i].record->partition == partition &&
            e->requests[i].record->offset == offset)
            return &e->requests[i];
    return NULL;
}

/* ---- receipts ---- */

static int64_t number(const json_t *object, const char *name)
{
    return (int64_t)json_integer_value(json_object_get(object, name));
}

static void receipt_take(struct erasures *e, const struct topic_record *record)
{
    struct request *request = request_of(e, record->source);
    json_t *json = json_loadb(record->value.ptr, record->value.len, 0, NULL);
    if (!request || !json) {
        WRONG(e, "receipt from %s: there is no such request, or it is no receipt",
              record->source.ptr);
        json_decref(json);
        return;
    }
    int64_t place = number(json_object_get(json, "next"), e->settings->topics[0]);
    if (request->receipts++) e->counts.repeats++;
    if (request->receipts > 1 && e->settings->transactional_id)
        WRONG(e, "doubled: a receipt from %s comes again", record->source.ptr);
    if (place < 0) place = 0;
    if (place > request->place) {
        struct receipt told = {.events = number(json, "events"),
                               .window = number(json, "window"),
                               .bought = number(json, "bought"),
                               .disliked = number(json, "disliked"),
                               .sessions = number(json, "sessions")};
        (void)snprintf(told.outcome, sizeof told.outcome, "%s",
                       json_string_value(json_object_get(json, "outcome")));
        request->told = told;
        request->place = place;
    }
    json_decref(json);
}

bool erasures_read(struct erasures **out, const struct settings *settings, struct schemas *schemas,
                   int partitions, struct err *err)
{
    const char *bootstrap = settings->kafka.bootstrap_servers;
    struct erasures *e = *out = mem_zalloc(sizeof *e);
    e->settings = settings;
    e->arena = arena_new(1 << 16, ARENA_MAX);
    e->end = mem_zalloc((size_t)partitions * sizeof *e->end);
    if (!topic_read(&e->asked, bootstrap, settings->erasures_topic, err) ||
        !topic_read(&e->receipts, bootstrap, settings->receipts_topic, err))
        return false;
    e->requests = mem_zalloc((size_t)e->asked.n * sizeof *e->requests + 1);
    for (int i = 0; i < e->asked.n; i++) {
        const struct topic_record *record = &e->asked.records[i];
        e->end[record->partition] = record->offset + 1;
        e->n += request_take(e, schemas, record, &e->requests[e->n]);
    }
    for (int i = 0; i < e->receipts.n; i++)
        receipt_take(e, &e->receipts.records[i]);
    return true;
}

/* ---- applying ---- */

static void request_apply(struct request *request, struct reference *reference,
                          void (*gone)(void *context, const struct reference_user *user),
                          void *context)
{
    char key[SCHEMAS_USER_KEY_MAX];
    struct reference_erased all = {.is_repeated = true};
    for (int i = 0; i < NAMES; i++) {
        if (request->names[i].id.len == 0) continue;
        struct reference_erased one =
            reference_erase(reference, request->record->partition,
                            schemas_user_key(&request->names[i].who, key), request->erased_ms);
        if (one.is_repeated) continue;
        gone(context, one.user);
        all.is_repeated = false;
        all.is_found = all.is_found || one.is_found;
        all.events += one.events;
        all.window += one.window;
        all.bought += one.bought;
        all.disliked += one.disliked;
        all.sessions += one.sessions;
    }
    request->found = all;
    request->is_applied = true;
}

void erasures_apply(struct erasures *e, struct reference *reference, int32_t partition,
                    int64_t offset, void (*gone)(void *context, const struct reference_user *user),
                    void *context)
{
    for (int i = 0; i < e->n; i++) {
        struct request *request = &e->requests[i];
        if (request->record->partition != partition || request->is_applied) continue;
        if (request->place > offset) break; /* in the order of the requests */
        request_apply(request, reference, gone, context);
        e->counts.erased += request->found.is_found;
    }
}

/* ---- checks ---- */

static void receipt_check(struct erasures *e, const struct request *request)
{
    const struct reference_erased *found = &request->found;
    const struct receipt *told = &request->told;
    const char *outcome = found->is_repeated ? "repeated" : found->is_found ? "erased" : "nothing";
    int partition = request->record->partition;
    long long offset = request->record->offset;
    if (request->receipts == 0)
        WRONG(e, "request %d/%lld has no receipt", partition, offset);
    else if (!request->is_applied)
        WRONG(e, "request %d/%lld was not applied", partition, offset);
    else if (strcmp(outcome, told->outcome) != 0)
        WRONG(e, "request %d/%lld: outcome %s, expected %s", partition, offset, told->outcome,
              outcome);
    else if (told->events != found->events || told->window != found->window ||
             told->bought != found->bought || told->disliked != found->disliked ||
             told->sessions != found->sessions)
        WRONG(e,
              "request %d/%lld: %lld events, %lld in the window, %lld sessions, expected %lld, "
              "%lld, %lld",
              partition, offset, (long long)told->events, (long long)told->window,
              (long long)told->sessions, (long long)found->events, (long long)found->window,
              (long long)found->sessions);
}

/* Whether the list came from an event that the request was behind. */
static bool is_before(const struct erasures *e, const struct request *request,
                      const struct topic_record *list)
{
    char topic[256];
    int partition;
    long long offset;
    return sscanf(list->source.ptr, "%255[^/]/%d/%lld", topic, &partition, &offset) == 3 &&
           strcmp(topic, e->settings->topics[0]) == 0 && partition == request->record->partition &&
           offset < request->place;
}

static void tombstones_check(struct erasures *e, struct request *request, struct str key,
                             const struct topic *lists)
{
    int tombstones = 0, last_tombstone = -1, last_list = -1;
    for (int i = 0; i < lists->n; i++) {
        const struct topic_record *list = &lists->records[i];
        if (!str_equal(list->key, key)) continue;
        if (list->value.ptr && is_before(e, request, list)) last_list = i;
        if (list->value.ptr || request_of(e, list->source) != request) continue;
        last_tombstone = i;
        tombstones++;
    }
    int partition = request->record->partition;
    long long offset = request->record->offset;
    if (request->found.is_repeated) {
        if (tombstones)
            WRONG(e, "request %d/%lld changed nothing, and has a tombstone", partition, offset);
        return;
    }
    if (last_tombstone < 0)
        WRONG(e, "request %d/%lld: no tombstone for a list", partition, offset);
    else if (last_list > last_tombstone)
        WRONG(e, "request %d/%lld: a list from before it comes after its tombstone", partition,
              offset);
    if (tombstones > 1 && e->settings->transactional_id)
        WRONG(e, "doubled: the tombstone of request %d/%lld comes again", partition, offset);
}

void erasures_check(struct erasures *e, const struct topic *lists)
{
    for (int i = 0; i < e->n; i++) {
        struct request *request = &e->requests[i];
        receipt_check(e, request);
        bool is_one = str_equal(request->names[0].key, request->names[1].key);
        for (int k = 0; k < NAMES; k++)
            if (request->names[k].id.len && !(k == 1 && is_one))
                tombstones_check(e, request, request->names[k].key, lists);
    }
    for (int i = 0; i < lists->n; i++)
        if (!lists->records[i].value.ptr && !request_of(e, lists->records[i].source))
            WRONG(e, "a tombstone from %s, which is no request", lists->records[i].source.ptr);
}

static bool holds(struct str bytes, struct str id)
{
    for (size_t at = 0; at + id.len <= bytes.len; at++)
        if (memcmp(bytes.ptr + at, id.ptr, id.len) == 0) return true;
    return false;
}

bool erasures_may_name(const struct erasures *e, const struct topic_record *record)
{
    for (int i = 0; e && i < e->n; i++)
        for (int k = 0; k < NAMES; k++) {
            const struct name *name = &e->requests[i].names[k];
            if (name->id.len == 0) continue;
            if (str_equal(record->key, name->key) || holds(record->value, name->id)) return true;
        }
    return false;
}

enum { CUT_MIN = 4 }; /* docs/PRIVACY.md: shorter ends name nobody */

static bool is_cut_in(struct str bytes, struct str id)
{
    for (size_t n = CUT_MIN; n < id.len && n <= bytes.len; n++)
        if (memcmp(bytes.ptr + bytes.len - n, id.ptr, n) == 0) return true;
    return false;
}

bool erasures_may_begin(const struct erasures *e, const struct topic_record *record)
{
    bool may = erasures_may_name(e, record);
    for (int i = 0; e && i < e->n && !may; i++)
        for (int k = 0; k < NAMES && !may; k++)
            may = is_cut_in(record->value, e->requests[i].names[k].id);
    return may;
}

int64_t erasures_end(const struct erasures *e, int32_t partition)
{
    return e->end[partition];
}

struct erasures_counts erasures_counts(const struct erasures *e)
{
    struct erasures_counts counts = e->counts;
    counts.requests = e->n;
    return counts;
}
