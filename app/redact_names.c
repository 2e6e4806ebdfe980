/* Names of users looked for in records. Ids are looked up in a map, never searched one by one: a topic of letters is read once for any
 * number of requests. */
#include "app/redact_names.h"

#include <stdlib.h>
#include <string.h>

#include "app/redact_strings.h"
#include "base/map.h"
#include "ingest/ingest.h"

enum { NAMES_MAX = 16 << 20, ARENA_BLOCK = 1 << 16 };
enum { FRAMING = 5 }; /* of an Avro record: a zero and the schema's id */

/* Users of one id, each of another tenant. */
struct named {
    struct str tenant;
    int64_t moment_ms;
    struct named *next;
};

struct redact_names {
    struct redact_reading reading;
    struct arena *arena, *scratch;
    struct map_str *ids; /* to struct named */
    size_t longest;      /* id */
    int64_t before_ms;   /* names of an earlier moment do not count */
    struct str *sorted;  /* (n_sorted) ids, for cut ones; made when one is looked for */
    int n_sorted;        /* 0: to be made */
};

struct redact_names *redact_names_new(const struct redact_reading *reading)
{
    struct redact_names *names = mem_zalloc(sizeof *names);
    names->reading = *reading;
    names->arena = arena_new(ARENA_BLOCK, SIZE_MAX);
    names->scratch = arena_new(ARENA_BLOCK, SIZE_MAX);
    names->ids = map_str_new(NAMES_MAX, MAP_KEYS_BORROWED);
    names->before_ms = INT64_MIN;
    return names;
}

void redact_names_free(struct redact_names *names)
{
    if (!names) return;
    map_str_free(names->ids);
    arena_free(names->arena);
    arena_free(names->scratch);
    mem_free(names->sorted);
    mem_free(names);
}

void redact_names_clear(struct redact_names *names)
{
    map_str_clear(names->ids);
    arena_reset(names->arena);
    names->longest = 0;
    names->n_sorted = 0;
}

int redact_names_count(const struct redact_names *names)
{
    return (int)map_str_count(names->ids);
}

void redact_names_expire(struct redact_names *names, int64_t before_ms)
{
    names->before_ms = before_ms;
}

static struct named *named_find(const struct redact_names *names, struct str tenant, struct str id)
{
    struct named *named = map_str_get(names->ids, id);
    while (named && !str_equal(named->tenant, tenant))
        named = named->next;
    return named;
}

static void name_add(struct redact_names *names, struct str tenant, struct str id,
                     int64_t moment_ms)
{
    if (id.len == 0) return;
    struct named *named = named_find(names, tenant, id);
    if (named) {
        if (moment_ms > named->moment_ms) named->moment_ms = moment_ms;
        return;
    }
    named = arena_alloc(names->arena, sizeof *named);
    *named =
        (struct named){arena_str(names->arena, tenant), moment_ms, map_str_get(names->ids, id)};
    if (!map_str_set(names->ids, arena_str(names->arena, id), named)) return;
    if (id.len > names->longest) names->longest = id.len;
    names->n_sorted = 0;
}

void redact_names_add(struct redact_names *names, const struct erasure *request, int64_t moment_ms)
{
    name_add(names, request->tenant, request->user_id, moment_ms);
    if (!str_equal(request->user_id, request->anonymous_id))
        name_add(names, request->tenant, request->anonymous_id, moment_ms);
}

/* ---- one id ---- */

/* The moment up to which somebody was forgotten; INT64_MIN: nobody was. */
static int64_t moment_if(const struct redact_names *names, int64_t moment_ms)
{
    return moment_ms >= names->before_ms ? moment_ms : INT64_MIN;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Of the user of that name. */
static int64_t named_moment(const struct redact_names *names, struct str tenant, struct str id)
{
    if (id.len == 0 || id.len > names->longest) return INT64_MIN;
    const struct named *named = named_find(names, tenant, id);
    return named ? moment_if(names, named->moment_ms) : INT64_MIN;
}

/* The last one, of users of that name of whatever tenant. */
static int64_t called_moment(const struct redact_names *names, struct str id)
{
    int64_t moment = INT64_MIN;
    if (id.len == 0 || id.len > names->longest) return moment;
    for (const struct named *named = map_str_get(names->ids, id); named; named = named->next)
        moment = later(moment, moment_if(names, named->moment_ms));
    return moment;
}

/* The id, or what it is called under one of the keys. */
static int64_t user_moment(const struct redact_names *names, struct str tenant, struct str id)
{
    const struct pseudonyms *pseudonyms = names->reading.pseudonyms;
    char bytes[PSEUDONYM_MAX];
    int64_t moment = named_moment(names, tenant, id);
    if (!pseudonyms || id.len == 0 || id.len > SCHEMAS_ID_MAX) return moment;
    for (int k = 0; k < pseudonyms_keys(pseudonyms); k++)
        moment = later(moment,
                       named_moment(names, tenant, pseudonym_of(pseudonyms, k, tenant, id, bytes)));
    return moment;
}

static int64_t text_moment(const struct redact_names *names, struct str text)
{
    return later(called_moment(names, text), user_moment(names, (struct str){0}, text));
}

bool redact_names_is_called(const struct redact_names *names, struct str text)
{
    return text_moment(names, text) != INT64_MIN;
}

/* ---- strings of a value that cannot be read ---- */

struct seeking {
    const struct redact_names *names;
    size_t least; /* bytes of a telling id */
    int64_t timestamp_ms;
    enum redact_claim claim;
};

/* By when it was written. */
static enum redact_claim claim_at(int64_t timestamp_ms, int64_t moment_ms)
{
    if (moment_ms == INT64_MIN) return REDACT_NONE;
    return timestamp_ms <= moment_ms ? REDACT_THEIRS : REDACT_MAYBE;
}

static bool whole_see(void *context, struct str string)
{
    struct seeking *seeking = context;
    enum redact_claim claim = claim_at(seeking->timestamp_ms, text_moment(seeking->names, string));
    if (claim == REDACT_THEIRS && string.len < seeking->least) claim = REDACT_MAYBE;
    if (claim > seeking->claim) seeking->claim = claim;
    return claim == REDACT_THEIRS;
}

static bool word_see(void *context, struct str word)
{
    const struct seeking *seeking = context;
    return redact_names_is_called(seeking->names, word);
}

static int compare(struct str a, struct str b)
{
    int order = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int ids_compare(const void *a, const void *b)
{
    return compare(*(const struct str *)a, *(const struct str *)b);
}

static void ids_sort(struct redact_names *names)
{
    size_t at = 0, n = map_str_count(names->ids);
    void *named;
    if (names->n_sorted > 0 || n == 0) return;
    names->sorted = mem_realloc(names->sorted, n * sizeof *names->sorted);
    while (map_str_next(names->ids, &at, &names->sorted[names->n_sorted], &named))
        names->n_sorted++;
    qsort(names->sorted, n, sizeof *names->sorted, ids_compare);
}

/* Some id is longer and begins so. */
static bool is_beginning(const struct redact_names *names, struct str bytes)
{
    int low = 0, high = names->n_sorted;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (compare(names->sorted[middle], bytes) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < names->n_sorted; low++) {
        struct str id = names->sorted[low];
        if (id.len <= bytes.len || memcmp(id.ptr, bytes.ptr, bytes.len) != 0) return false;
        if (called_moment(names, id) != INT64_MIN) return true;
    }
    return false;
}

static bool is_cut(struct redact_names *names, struct str value)
{
    ids_sort(names);
    for (size_t n = NAMES_BROKEN; n < names->longest && n <= value.len; n++)
        if (is_beginning(names, (struct str){value.ptr + value.len - n, n})) return true;
    return false;
}

static enum redact_claim value_claim(struct redact_names *names, const struct redact_record *record)
{
    struct seeking seeking = {.names = names,
                              .least = record->key.len == 0 ? 1 : NAMES_TELLING,
                              .timestamp_ms = record->timestamp_ms};
    if (redact_strings_whole(record->value, whole_see, &seeking)) return REDACT_THEIRS;
    bool is_maybe = record->is_called || seeking.claim == REDACT_MAYBE ||
                    redact_strings_words(record->value, word_see, &seeking) ||
                    is_cut(names, record->value);
    return is_maybe ? REDACT_MAYBE : REDACT_NONE;
}

/* ---- a record ---- */

struct key_strings {
    const struct redact_names *names;
    int64_t moment_ms;
};

static bool key_see(void *context, struct str string)
{
    struct key_strings *strings = context;
    strings->moment_ms = later(strings->moment_ms, called_moment(strings->names, string));
    return false;
}

static int64_t key_moment(const struct redact_names *names, struct str key)
{
    struct key_strings strings = {names, INT64_MIN};
    if (key.len == 0) return INT64_MIN;
    const char *colon = memchr(key.ptr, ':', key.len);
    int64_t moment = user_moment(names, (struct str){0}, key);
    if (colon) {
        size_t n = (size_t)(colon - key.ptr);
        moment = later(moment, user_moment(names, (struct str){key.ptr, n},
                                           (struct str){colon + 1, key.len - n - 1}));
    }
    bool is_quoted = key.ptr[0] == '"', is_framed = key.len > FRAMING && key.ptr[0] == '\0';
    struct str inner = is_framed ? (struct str){key.ptr + FRAMING, key.len - FRAMING} : key;
    if (is_quoted || is_framed) (void)redact_strings_whole(inner, key_see, &strings);
    return later(moment, strings.moment_ms);
}

/* The value's users, named as the pipeline would. */
static int64_t event_moment(struct redact_names *names, const struct redact_record *record,
                            struct event *event)
{
    struct err ignored = ERR_INIT;
    uint64_t changed[INGEST_REASON_COUNT] = {0};
    (void)ingest_clean(event, record->timestamp_ms, names->reading.max_future_ms, names->scratch,
                       changed, &ignored);
    return later(user_moment(names, event->tenant, event->user_id),
                 user_moment(names, event->tenant, event->anonymous_id));
}

enum redact_claim redact_names_claim(struct redact_names *names, const struct redact_record *record)
{
    struct err ignored = ERR_INIT;
    struct event event;
    if (names->longest == 0) return REDACT_NONE;
    int64_t moment = key_moment(names, record->key);
    arena_reset(names->scratch);
    bool is_event =
        record->value.len > 0 && schemas_event_decode(names->reading.schemas, record->value,
                                                      names->scratch, &event, &ignored);
    if (!is_event)
        return moment != INT64_MIN ? claim_at(record->timestamp_ms, moment)
                                   : value_claim(names, record);
    moment = later(moment, event_moment(names, record, &event));
    bool is_before =
        record->timestamp_ms <= moment || (event.time_ms > 0 && event.time_ms <= moment);
    return moment != INT64_MIN && is_before ? REDACT_THEIRS : REDACT_NONE;
}
