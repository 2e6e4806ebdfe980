/* What became of an event. */
#include "app/trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "app/sweep.h"
#include "base/mem.h"
#include "ingest/ingest.h"
#include "state/state.h"

enum { ARENA_BLOCK = 1 << 16, ARENA_MAX = 16 << 20, EARLIER_MS = 3600000 };

const char *trace_verdict_name(enum trace_verdict verdict)
{
    static const char *const names[] = {"applied", "replaced", "duplicate", "dead_letter",
                                        "quiet",   "waiting",  "unknown"};
    return names[verdict];
}

/* One walk over topics. */
struct looking {
    struct trace *trace;
    const struct trace_question *question;
    struct str id; /* NULL while a place is looked for */
    bool is_plain; /* the id stands in an event's bytes as it is */
    struct arena *arena;
    const char *const *topics;
    const int64_t *ends; /* (n_partitions) of the place's topic */
};

/* ---- where it stands ---- */

/* Whether the bytes hold the id; cheaper than decoding each record. */
static bool holds(struct str bytes, struct str id)
{
    const char *at = bytes.ptr, *end = bytes.ptr + bytes.len;
    while (at && (size_t)(end - at) >= id.len) {
        at = memchr(at, id.ptr[0], (size_t)(end - at) - id.len + 1);
        if (at && memcmp(at, id.ptr, id.len) == 0) return true;
        if (at) at++;
    }
    return false;
}

/* JSON may write other characters in several ways. */
static bool is_plain_id(struct str id)
{
    for (size_t i = 0; i < id.len; i++)
        if (id.ptr[i] < 0x20 || id.ptr[i] > 0x7e || strchr("\"\\/", id.ptr[i])) return false;
    return id.len > 0;
}

static bool origin_see(void *context, const char *name, struct str value)
{
    struct trace_seen *seen = context;
    if (strcmp(name, LETTERS_ORIGIN) == 0)
        (void)snprintf(seen->replayed_from, sizeof seen->replayed_from, "%.*s", STR_ARG(value));
    return true;
}

static void event_keep(struct trace_seen *seen, const struct event *event)
{
    struct str user = event->user_id.len ? event->user_id : event->anonymous_id;
    size_t len = 0;
    if (seen->is_decoded) seen->key_len = schemas_user_key(event, seen->key).len;
    seen->type = event->type;
    seen->time_ms = event->time_ms;
    seen->consent = event->consent;
    (void)snprintf(seen->event_id, sizeof seen->event_id, "%.*s", STR_ARG(event->event_id));
    (void)snprintf(seen->user, sizeof seen->user, "%.*s%s%.*s", STR_ARG(event->tenant),
                   event->tenant.len ? ":" : "", STR_ARG(user));
    for (size_t i = 0; i < event->n_items && len < sizeof seen->items; i++)
        len += (size_t)snprintf(seen->items + len, sizeof seen->items - len, "%s%.*s", i ? " " : "",
                                STR_ARG(event->items[i].item_id));
}

static void seen_make(const struct looking *looking, const struct ingest_follow_record *record,
                      struct trace_seen *seen)
{
    struct event event;
    struct err err = ERR_INIT;
    uint64_t changed[INGEST_REASON_COUNT] = {0};
    struct ingest_options ingest = settings_ingest(looking->trace->settings);
    *seen = (struct trace_seen){.topic = record->topic,
                                .at = {.partition = record->partition,
                                       .offset = record->offset,
                                       .timestamp_ms = record->timestamp_ms},
                                .letter = {.offset = -1},
                                .list = {.offset = -1},
                                .pairs = {.offset = -1},
                                .next = -1,
                                .duplicate_of = -1};
    (void)snprintf(seen->at.topic, sizeof seen->at.topic, "%s", looking->topics[record->topic]);
    ingest_follow_headers(record, origin_see, seen);
    if (!record->value.ptr) {
        (void)snprintf(seen->why, sizeof seen->why, "it has no value");
        return;
    }
    if (schemas_event_decode(looking->trace->schemas, record->value, looking->arena, &event,
                             &err)) {
        seen->is_decoded = ingest_clean(&event, record->timestamp_ms, ingest.max_future_ms,
                                        looking->arena, changed, &err) == REASON_NONE;
        pseudonyms_apply(looking->trace->settings->pseudonyms, &event, looking->arena);
        event_keep(seen, &event);
    }
    if (!seen->is_decoded) (void)snprintf(seen->why, sizeof seen->why, "%s", err.text);
}

static bool event_see(void *context, const struct ingest_follow_batch *batch, struct err *err)
{
    struct looking *looking = context;
    struct trace *trace = looking->trace;
    const struct trace_question *question = looking->question;
    (void)err;
    for (int i = 0; i < batch->n && trace->n_seen < TRACE_SEEN_MAX; i++) {
        const struct ingest_follow_record *record = &batch->records[i];
        struct trace_seen *seen = &trace->seen[trace->n_seen];
        if (record->kind != FOLLOW_RECORD) continue;
        trace->n_looked++;
        arena_reset(looking->arena);
        if (looking->id.ptr) {
            if (looking->is_plain && !holds(record->value, looking->id)) continue;
            seen_make(looking, record, seen);
            trace->n_seen += str_equal(str_of(seen->event_id), looking->id);
        } else if (record->partition == question->partition && record->offset == question->offset &&
                   strcmp(looking->topics[record->topic], question->topic) == 0) {
            seen_make(looking, record, seen);
            trace->n_seen++;
            return false;
        }
    }
    return trace->n_seen < TRACE_SEEN_MAX;
}

static struct ingest_follow_options sweep_of(const char *const *topics, int n, int64_t since_ms)
{
    return (struct ingest_follow_options){.topics = topics,
                                          .n_topics = n,
                                          .batch_max = SWEEP_BATCH,
                                          .timeout_ms = SWEEP_TIMEOUT_MS,
                                          .since_ms = since_ms > 0 ? since_ms : 0};
}

static int64_t place_start(void *context, int topic, int32_t partition)
{
    const struct looking *looking = context;
    (void)topic;
    return partition == looking->question->partition ? looking->question->offset
                                                     : looking->ends[partition];
}

/* Only the place's own partition is read. */
static bool place_find(struct looking *looking, struct err *err)
{
    const struct kafka_config *kafka = &looking->trace->settings->kafka;
    const struct trace_question *question = looking->question;
    struct ingest_follow_options options = sweep_of(&question->topic, 1, 0);
    struct kafka_topic_info info;
    if (!kafka_topic_describe(kafka, &question->topic, 1, &info, SWEEP_TIMEOUT_MS, err))
        return false;
    if (question->partition >= info.partitions)
        return err_fatal(err, ERR_EXIT_USAGE, "topic %s has %d partitions, no partition %d",
                         question->topic, info.partitions, (int)question->partition);
    int64_t *ends = mem_alloc((size_t)info.partitions * sizeof *ends);
    bool ok = kafka_offsets(kafka, question->topic, info.partitions, KAFKA_AT_END, ends,
                            SWEEP_TIMEOUT_MS, err);
    if (ok && question->offset >= ends[question->partition])
        ok = err_fatal(
            err, ERR_EXIT_USAGE, "%s partition %d ends at %" PRId64 ": there is no offset %" PRId64,
            question->topic, (int)question->partition, ends[question->partition], question->offset);
    looking->ends = ends;
    looking->topics = &question->topic;
    options.start = place_start;
    options.context = looking;
    ok = ok && sweep(kafka, &options, event_see, looking, err);
    mem_free(ends);
    return ok;
}

static bool id_find(struct looking *looking, struct str id, struct err *err)
{
    struct trace *trace = looking->trace;
    const struct settings *settings = trace->settings;
    struct ingest_follow_options options =
        sweep_of(settings->topics, settings->n_topics, looking->question->since_ms);
    options.tail = looking->question->last;
    looking->id = id;
    looking->is_plain = is_plain_id(id);
    looking->topics = settings->topics;
    trace->n_seen = 0;
    return sweep(&settings->kafka, &options, event_see, looking, err);
}

/* ---- what followed: records whose source is such a place ---- */

struct source {
    char text[LETTER_SOURCE_MAX];
};

static bool source_see(void *context, const char *name, struct str value)
{
    struct source *source = context;
    if (strcmp(name, "freshet-src") == 0)
        (void)snprintf(source->text, sizeof source->text, "%.*s", STR_ARG(value));
    return true;
}

static void place_text(const struct trace_place *at, char out[LETTER_SOURCE_MAX])
{
    (void)snprintf(out, LETTER_SOURCE_MAX, "%.249s/%d/%" PRId64, at->topic, (int)at->partition,
                   at->offset);
}

static void place_set(struct trace_place *at, const char *topic,
                      const struct ingest_follow_record *record)
{
    *at = (struct trace_place){.partition = record->partition,
                               .offset = record->offset,
                               .timestamp_ms = record->timestamp_ms};
    (void)snprintf(at->topic, sizeof at->topic, "%s", topic);
}

static void list_see(struct looking *looking, const char *topic,
                     const struct ingest_follow_record *record)
{
    struct trace *trace = looking->trace;
    struct source source = {""};
    ingest_follow_headers(record, source_see, &source);
    for (int s = 0; s < trace->n_seen; s++) {
        struct trace_seen *seen = &trace->seen[s];
        struct recommendations list;
        struct err bad = ERR_INIT;
        char place[LETTER_SOURCE_MAX];
        place_text(&seen->at, place);
        if (seen->is_decoded && str_equal(record->key, str_of(seen->user)))
            (void)snprintf(seen->newest_list, sizeof seen->newest_list, "%s", source.text);
        if (strcmp(source.text, place) != 0 || !record->value.ptr) continue;
        place_set(&seen->list, topic, record);
        if (!schemas_recommendations_decode(trace->schemas, record->value, looking->arena, &list,
                                            &bad))
            continue;
        seen->n_listed = (int)list.n_items;
        (void)snprintf(seen->recommendation_id, sizeof seen->recommendation_id, "%.*s",
                       STR_ARG(list.recommendation_id));
        (void)snprintf(seen->model_version, sizeof seen->model_version, "%.*s",
                       STR_ARG(list.model_version));
    }
}

static void letter_see(struct looking *looking, const char *topic,
                       const struct ingest_follow_record *record)
{
    struct trace *trace = looking->trace;
    struct letter letter;
    letter_read(record, &letter);
    for (int s = 0; s < trace->n_seen; s++) {
        struct trace_seen *seen = &trace->seen[s];
        char place[LETTER_SOURCE_MAX];
        if (letter.kind == LETTER && strcmp(letter.topic, seen->at.topic) == 0 &&
            letter.partition == seen->at.partition && letter.offset == seen->at.offset) {
            place_set(&seen->letter, topic, record);
            (void)snprintf(seen->reason, sizeof seen->reason, "%.60s", letter.reason);
            (void)snprintf(seen->text, sizeof seen->text, "%s", letter.text);
        }
        place_text(&seen->letter, place);
        if (letter.kind == LETTER_NOTE && strcmp(letter.note_of, place) == 0)
            (void)snprintf(seen->replayed_to, sizeof seen->replayed_to, "%s", letter.note_to);
    }
}

/* ---- pairs, and the lists that they went into ---- */

/* The row's list is looked for; beyond TRACE_ROWS_MAX rows of an event only some are. */
static void row_add(struct trace_seen *seen, const struct pair_group *group,
                    const struct model_pair *pair, const struct ingest_follow_record *record)
{
    struct trace_row row = {.is_trending = pair->kind == PAIRS_COUNTED,
                            .pairs_partition = record->partition,
                            .pairs_offset = record->offset,
                            .at = {.offset = -1}};
    struct str subject = group->items[pair->subject];
    (void)snprintf(row.key, sizeof row.key, "%.*s%s%.*s%s%s", STR_ARG(group->tenant),
                   group->tenant.len ? ":" : "", STR_ARG(subject), row.is_trending ? "" : ":",
                   row.is_trending ? "" : schemas_related_name((enum related_kind)pair->kind));
    for (int i = 0; i < seen->n_rows; i++)
        if (seen->rows[i].is_trending == row.is_trending && strcmp(seen->rows[i].key, row.key) == 0)
            return;
    if (seen->n_rows < TRACE_ROWS_MAX) seen->rows[seen->n_rows++] = row;
}

static void group_see(struct looking *looking, const char *topic, const struct pair_group *group,
                      const struct ingest_follow_record *record)
{
    struct trace *trace = looking->trace;
    for (int s = 0; s < trace->n_seen; s++) {
        struct trace_seen *seen = &trace->seen[s];
        if (group->topic != seen->topic || group->partition != seen->at.partition ||
            group->offset != seen->at.offset)
            continue;
        if (seen->pairs.offset < 0) place_set(&seen->pairs, topic, record);
        for (int p = 0; p < group->n_pairs; p++) {
            seen->n_pairs[group->pairs[p].kind]++;
            row_add(seen, group, &group->pairs[p], record);
        }
    }
}

static void pairs_see(struct looking *looking, const char *topic,
                      const struct ingest_follow_record *record)
{
    struct cursor c = {.ptr = (const uint8_t *)record->value.ptr, .left = record->value.len};
    struct pair_group group;
    const char *why;
    while (c.left > 0 && pair_group_get(&c, looking->arena, &group, &why))
        group_see(looking, topic, &group, record);
}

/* Lists carry as their source the newest pairs that they hold. */
static void row_see(struct trace_row *row, bool is_trending, const char *topic,
                    const struct ingest_follow_record *record)
{
    char pairs_topic[LETTER_SOURCE_MAX];
    struct source source = {""};
    int32_t partition;
    int64_t offset;
    if (row->at.offset >= 0 || row->is_trending != is_trending ||
        !str_equal(record->key, str_of(row->key)))
        return;
    ingest_follow_headers(record, source_see, &source);
    if (place_parse(source.text, pairs_topic, &partition, &offset) &&
        partition == row->pairs_partition && offset >= row->pairs_offset)
        place_set(&row->at, topic, record);
}

static void rows_see(struct looking *looking, const char *topic,
                     const struct ingest_follow_record *record)
{
    struct trace *trace = looking->trace;
    bool is_trending = strcmp(topic, trace->settings->related.trending_topic) == 0;
    for (int s = 0; s < trace->n_seen; s++)
        for (int r = 0; r < trace->seen[s].n_rows; r++)
            row_see(&trace->seen[s].rows[r], is_trending, topic, record);
}

/* ---- the store of this machine ---- */

struct remembering {
    struct trace_seen *seen;
};

static bool user_see(void *context, int32_t partition, struct str key, const struct user *user)
{
    struct trace_seen *seen = ((struct remembering *)context)->seen;
    (void)key;
    if (partition != seen->at.partition) return true;
    seen->has_user = true;
    uint64_t hash = schemas_id_hash(str_of(seen->event_id));
    for (int i = 0; i < USER_RECENT_IDS && seen->event_id[0]; i++)
        seen->remembers = seen->remembers || user->recent_ids[i] == hash;
    for (int i = 0; i < user->n_window; i++)
        seen->in_window +=
            user->window[i].time_ms == seen->time_ms && user->window[i].type == seen->type;
    return true;
}

static bool position_see(void *context, const char *topic, int32_t partition, int64_t next)
{
    struct trace *trace = context;
    for (int s = 0; s < trace->n_seen; s++)
        if (strcmp(trace->seen[s].at.topic, topic) == 0 && trace->seen[s].at.partition == partition)
            trace->seen[s].next = next;
    return true;
}

/* No store here is no error: it may be on another machine. */
static bool store_look(struct trace *trace, struct err *err)
{
    struct err none = ERR_INIT;
    struct state *state;
    if (!state_open_readonly(&state, trace->settings->state_folder, &none)) return true;
    bool ok = state_positions_each(state, position_see, trace, err);
    for (int s = 0; ok && s < trace->n_seen; s++) {
        struct trace_seen *seen = &trace->seen[s];
        struct remembering remembering = {seen};
        seen->has_store = seen->next >= 0;
        if (!seen->is_decoded) continue;
        ok = state_user_find(state, (struct str){seen->key, seen->key_len}, user_see, &remembering,
                             err);
    }
    state_close(state);
    return ok;
}

/* ---- the verdict ---- */

static bool is_same_user(const struct trace_seen *a, const struct trace_seen *b)
{
    return a->is_decoded && b->is_decoded && a->at.partition == b->at.partition &&
           str_equal((struct str){a->key, a->key_len}, (struct str){b->key, b->key_len});
}

/* Its own list is gone; a later event's, which compaction keeps, says that it was read. */
static enum trace_verdict newest_verdict(const struct trace_seen *seen)
{
    char topic[LETTER_SOURCE_MAX];
    int32_t partition;
    int64_t offset;
    bool is_later = place_parse(seen->newest_list, topic, &partition, &offset) &&
                    strcmp(topic, seen->at.topic) == 0 && offset > seen->at.offset;
    return is_later ? TRACE_REPLACED : TRACE_UNKNOWN;
}

static enum trace_verdict verdict_of(const struct trace_seen *seen)
{
    char place[LETTER_SOURCE_MAX];
    if (seen->letter.offset >= 0) return TRACE_DEAD_LETTER;
    if (seen->has_store && seen->next <= seen->at.offset) return TRACE_WAITING;
    place_text(&seen->at, place);
    if (seen->list.offset >= 0)
        return strcmp(seen->newest_list, place) == 0 ? TRACE_APPLIED : TRACE_REPLACED;
    if (seen->duplicate_of >= 0) return TRACE_DUPLICATE;
    if (seen->is_decoded &&
        (seen->type == EVENT_IMPRESSION || seen->type == EVENT_OTHER || !seen->consent))
        return TRACE_QUIET;
    return seen->has_user && (seen->remembers || seen->in_window > 0) ? TRACE_REPLACED
                                                                      : newest_verdict(seen);
}

static void verdicts_find(struct trace *trace)
{
    for (int s = 0; s < trace->n_seen; s++) {
        for (int e = 0; e < s && trace->seen[s].duplicate_of < 0; e++)
            if (is_same_user(&trace->seen[e], &trace->seen[s])) trace->seen[s].duplicate_of = e;
        trace->seen[s].verdict = verdict_of(&trace->seen[s]);
    }
}

/* ---- the walk over what followed ---- */

struct follower {
    const char *topic; /* "" or NULL: none */
    void (*see)(struct looking *looking, const char *topic,
                const struct ingest_follow_record *record);
};

enum { FOLLOWERS_MAX = 3 };

struct following {
    struct looking *looking;
    struct follower followers[FOLLOWERS_MAX]; /* (n) that are there, as in the options' topics */
    int n;
};

static bool follower_see(void *context, const struct ingest_follow_batch *batch, struct err *err)
{
    struct following *following = context;
    (void)err;
    for (int i = 0; i < batch->n; i++) {
        const struct ingest_follow_record *record = &batch->records[i];
        const struct follower *follower = &following->followers[record->topic];
        if (record->kind != FOLLOW_RECORD) continue;
        arena_reset(following->looking->arena);
        follower->see(following->looking, follower->topic, record);
    }
    return true;
}

/* All of them at once. A topic that is not there has nothing to say. */
static bool followers_walk(struct looking *looking, const struct follower *followers, int n,
                           int64_t since_ms, struct err *err)
{
    const struct kafka_config *kafka = &looking->trace->settings->kafka;
    struct following following = {.looking = looking};
    const char *topics[FOLLOWERS_MAX];
    struct kafka_topic_info info[FOLLOWERS_MAX];
    for (int i = 0; i < n; i++) {
        if (!followers[i].topic || !followers[i].topic[0]) continue;
        topics[following.n] = followers[i].topic;
        following.followers[following.n++] = followers[i];
    }
    if (following.n == 0) return true;
    if (!kafka_topic_describe(kafka, topics, following.n, info, SWEEP_TIMEOUT_MS, err))
        return false;
    int there = 0;
    for (int i = 0; i < following.n; i++) {
        if (info[i].partitions == 0) continue;
        topics[there] = topics[i];
        following.followers[there++] = following.followers[i];
    }
    struct ingest_follow_options options = sweep_of(topics, there, since_ms);
    return there == 0 || sweep(kafka, &options, follower_see, &following, err);
}

/* What is published of an event is not much older than its record, and a letter has its time. Rows are known when all pairs are. */
static bool follow_up(struct looking *looking, struct err *err)
{
    struct trace *trace = looking->trace;
    const struct settings *settings = trace->settings;
    const struct follower direct[] = {{settings->dlq_topic, letter_see},
                                      {settings->recommendations_topic, list_see},
                                      {settings->related.pairs_topic, pairs_see}},
                          after[] = {{settings->related.topic, rows_see},
                                     {settings->related.trending_topic, rows_see}};
    int64_t first_ms = INT64_MAX;
    bool has_rows = false;
    for (int s = 0; s < trace->n_seen; s++)
        if (trace->seen[s].at.timestamp_ms < first_ms) first_ms = trace->seen[s].at.timestamp_ms;
    first_ms -= EARLIER_MS;
    if (!followers_walk(looking, direct, 3, first_ms, err)) return false;
    for (int s = 0; s < trace->n_seen; s++)
        has_rows = has_rows || trace->seen[s].n_rows > 0;
    if (has_rows && !followers_walk(looking, after, 2, first_ms, err)) return false;
    return store_look(trace, err);
}

/* ---- public ---- */

bool trace_run(struct trace *trace, const struct trace_question *question, struct err *err)
{
    struct looking looking = {.trace = trace, .question = question};
    struct schemas_options schemas = trace->settings->schemas;
    char id[TRACE_ID_MAX];
    schemas.auto_register = false;
    schemas.recommendations_topic = schemas.related_topic = schemas.trending_topic = NULL;
    if (!schemas_open(&trace->schemas, &schemas, err)) return false;
    looking.arena = arena_new(ARENA_BLOCK, ARENA_MAX);
    bool ok =
        question->topic ? place_find(&looking, err) : id_find(&looking, str_of(question->id), err);
    if (ok && question->topic && trace->n_seen == 1 && trace->seen[0].event_id[0]) {
        memcpy(id, trace->seen[0].event_id, sizeof id);
        ok = id_find(&looking, str_of(id), err);
    }
    if (ok && trace->n_seen > 0) ok = follow_up(&looking, err);
    arena_free(looking.arena);
    if (ok) verdicts_find(trace);
    return ok;
}

void trace_fini(struct trace *trace)
{
    if (trace->schemas) schemas_close(trace->schemas);
}
