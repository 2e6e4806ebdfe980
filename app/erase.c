/* Requests to forget somebody: applied by the shard that owns the user's partition, in the order of the log, and answered with
 * tombstones and a receipt in the same epoch. docs/PRIVACY.md says what is reached by it.
 *
 * A request may come twice (a position that was set back): its guard is then in force, and what the user did since stays. Where it
 * stands between the events is app/asked.c's. */
#include <stdio.h>
#include <string.h>

#include "app/batch_internal.h"
#include "app/keys.h"
#include "base/fault.h"
#include "serve/serve.h"

struct work_erasure {
    struct erasure request;
    int64_t erased_ms;
    int64_t
        next[USER_TOPICS_MAX]; /* (n_topics) offsets of the partition that were seen before it */
    struct state_erased what;  /* of all names of the user together */
    int sessions;
    enum erasure_outcome outcome;
};

/* ---- where the partition stands ---- */

static int64_t *seen_of(const struct batch *batch, int topic, int32_t partition)
{
    return &batch->seen[topic * batch->env.n_partitions + partition];
}

void batch_partition_forget(struct batch *batch, int32_t partition)
{
    for (int topic = 0; topic < batch->env.settings->n_topics; topic++)
        *seen_of(batch, topic, partition) = -1;
    batch__asked_forget(batch, partition);
}

void batch__seen_note(struct batch *batch, const struct ingest_batch *in)
{
    for (int i = 0; i < in->n; i++)
        if (in->records[i].topic < batch->env.settings->n_topics)
            *seen_of(batch, in->records[i].topic, in->records[i].partition) =
                in->records[i].offset + 1;
}

bool batch_standing(const struct batch *batch, int topic, int32_t partition, int64_t *next,
                    struct err *err)
{
    int64_t seen = *seen_of(batch, topic, partition);
    if (!state_position(batch->env.store, topic, partition, next, err)) return false;
    if (seen > *next) *next = seen;
    return true;
}

/* The next offset of each events topic: by this batch before the request, by those before, or by the store. */
static bool next_find(const struct batch *batch, const struct ingest_record *record, int64_t *next,
                      struct err *err)
{
    for (int topic = 0; topic < batch->env.settings->n_topics; topic++) {
        if (!batch_standing(batch, topic, record->partition, &next[topic], err)) return false;
        for (const struct ingest_record *r = batch->in->records; r < record; r++)
            if (r->topic == topic && r->partition == record->partition) next[topic] = r->offset + 1;
    }
    return true;
}

/* ---- applying ---- */

static bool name_erase(struct batch *batch, const struct work *work, struct str key,
                       struct err *err)
{
    struct work_erasure *erasure = work->erasure;
    int32_t partition = work->record->partition;
    struct state_erased what;
    const struct state_erasure how = {erasure->erased_ms, erasure->next,
                                      batch->env.settings->n_topics};
    if (!state_user_erase(batch->env.state, partition, key, &how, &what, err)) return false;
    erasure->what.is_repeated = erasure->what.is_repeated && what.is_repeated;
    if (what.is_repeated) return true;
    erasure->what.is_found = erasure->what.is_found || what.is_found;
    erasure->what.window += what.window;
    erasure->what.bought += what.bought;
    erasure->what.disliked += what.disliked;
    erasure->what.events += what.events;
    if (batch->env.neighbours)
        erasure->sessions += neighbours_erase(batch->env.neighbours, partition, key);
    return true;
}

/* The k-th name that an id may be kept under; an id that is a pseudonym already has one. */
static struct str name_of(const struct batch *batch, const struct erasure *request, struct str id,
                          int k, char out[PSEUDONYM_MAX])
{
    const struct pseudonyms *pseudonyms = batch->env.settings->pseudonyms;
    if (pseudonym_is(pseudonyms, id)) return k == 0 ? id : (struct str){0};
    return pseudonym_of(pseudonyms, k, request->tenant, id, out);
}

static void key_push(const struct event *who, struct buf *keys)
{
    char bytes[SCHEMAS_USER_KEY_MAX];
    struct str key = schemas_user_key(who, bytes);
    if (key.len == 0) return;
    buf_push_u16(keys, (uint16_t)key.len);
    buf_push_str(keys, key);
}

static void names_push(const struct batch *batch, const struct erasure *request, struct buf *keys)
{
    char bytes[PSEUDONYM_MAX];
    for (int k = 0; k < pseudonyms_keys(batch->env.settings->pseudonyms); k++) {
        struct event user = {.tenant = request->tenant}, anonymous = user;
        user.user_id = name_of(batch, request, request->user_id, k, bytes);
        key_push(&user, keys);
        anonymous.anonymous_id = name_of(batch, request, request->anonymous_id, k, bytes);
        key_push(&anonymous, keys);
    }
}

static bool names_erase(struct batch *batch, struct work *work, struct err *err)
{
    bool ok = true;
    buf_reset(&batch->names);
    names_push(batch, &work->erasure->request, &batch->names);
    struct cursor c = {.ptr = batch->names.data, .left = batch->names.len};
    while (ok && c.left > 0) {
        size_t len = cursor_u16(&c);
        ok = name_erase(batch, work, (struct str){(const char *)cursor_bytes(&c, len), len}, err);
    }
    return ok;
}

static bool request_read(struct batch *batch, const struct ingest_record *record,
                         struct erasure *request, struct err *err)
{
    if (!schemas_erasure_decode(batch->env.schemas, record->value, batch->arena, request, err))
        return false;
    if (request->user_id.len > SCHEMAS_ID_MAX || request->anonymous_id.len > SCHEMAS_ID_MAX ||
        request->tenant.len > SCHEMAS_ID_MAX)
        return err_set(err, ERR_DATA, "an id is over %d bytes", SCHEMAS_ID_MAX);
    if (request->user_id.len == 0 && request->anonymous_id.len == 0)
        return err_set(err, ERR_DATA, "neither user_id nor anonymous_id is set");
    return true;
}

bool batch__names(struct batch *batch, const struct ingest_record *record, struct buf *keys)
{
    struct err err = ERR_INIT;
    struct erasure request;
    if (!request_read(batch, record, &request, &err)) return false;
    names_push(batch, &request, keys);
    return true;
}

static bool request_apply(struct batch *batch, struct work *work, const struct erasure *request,
                          const int64_t *next, struct err *err)
{
    struct work_erasure *erasure = arena_alloc(batch->arena, sizeof *erasure);
    *erasure = (struct work_erasure){.request = *request, .what.is_repeated = true};
    work->erasure = erasure;
    erasure->erased_ms = schemas_erasure_moment(request, work->record->timestamp_ms);
    memcpy(erasure->next, next, (size_t)batch->env.settings->n_topics * sizeof *next);
    if (!names_erase(batch, work, err)) return false;
    erasure->outcome = erasure->what.is_repeated ? ERASURE_REPEATED
                       : erasure->what.is_found  ? ERASURE_DONE
                                                 : ERASURE_NOTHING;
    counters_add(batch->env.counters, METRIC_ERASURES, (int)erasure->outcome, 1);
    return true;
}

bool batch__erase(struct batch *batch, struct work *work, struct err *err)
{
    const struct ingest_record *record = work->record;
    int64_t next[USER_TOPICS_MAX];
    struct erasure request;
    bool is_new = !batch->due && batch__asked_note(batch, record);
    if (!record->value.ptr) return true; /* a request that was taken back */
    if (!request_read(batch, record, &request, err)) return false;
    if (batch->due) return request_apply(batch, work, &request, batch->due, err);
    if (!is_new) return true;
    if (!next_find(batch, record, next, err)) return false;
    if (batch__asked_waits(batch, record, next)) return true;
    return request_apply(batch, work, &request, next, err);
}

/* ---- what is said ---- */

static struct emit_source source_of(const struct batch *batch, const struct work *work)
{
    const struct ingest_record *record = work->record;
    return (struct emit_source){batch->env.settings->topics[record->topic], record->partition,
                                record->offset};
}

static void receipt_write(struct batch *batch, const struct work *work, struct str id)
{
    const struct work_erasure *erasure = work->erasure;
    const struct settings *settings = batch->env.settings;
    buf_reset(&batch->bytes);
    struct serve_json json = serve_json_begin(&batch->bytes);
    serve_json_object(&json, NULL);
    serve_json_text(&json, "request_id", id);
    serve_json_cstr(&json, "application_id", settings->application_id);
    serve_json_cstr(&json, "outcome", metrics_erasure_name((int)erasure->outcome));
    serve_json_int(&json, "partition", work->record->partition);
    serve_json_int(&json, "offset", work->record->offset);
    serve_json_int(&json, "erased_at", erasure->erased_ms);
    serve_json_int(&json, "events", (int64_t)erasure->what.events);
    serve_json_int(&json, "window", erasure->what.window);
    serve_json_int(&json, "bought", erasure->what.bought);
    serve_json_int(&json, "disliked", erasure->what.disliked);
    serve_json_int(&json, "sessions", erasure->sessions);
    serve_json_object(&json, "next");
    for (int topic = 0; topic < settings->n_topics; topic++)
        serve_json_int(&json, settings->topics[topic], erasure->next[topic]);
    serve_json_end(&json);
    serve_json_end(&json);
}

/* For each name that the list may stand under. */
static bool tombstone_send(struct batch *batch, struct emit_epoch *epoch, const struct work *work,
                           struct str id, struct err *err)
{
    char bytes[KEYS_MAX], name[PSEUDONYM_MAX];
    int keys = pseudonyms_keys(batch->env.settings->pseudonyms);
    if (id.len == 0 || work->erasure->outcome == ERASURE_REPEATED) return true;
    if (fault_mutant("lists_kept")) return true;
    for (int k = 0; k < keys; k++) {
        struct str one = name_of(batch, &work->erasure->request, id, k, name);
        struct str key = keys_pair(work->erasure->request.tenant, one, bytes);
        if (one.len > 0 && !emit_send(batch->env.emit, epoch, EMIT_RECOMMENDATIONS, key,
                                      (struct str){0}, source_of(batch, work), 0, err))
            return false;
    }
    return true;
}

bool batch__erasure_send(struct batch *batch, struct emit_epoch *epoch, const struct work *work,
                         struct err *err)
{
    batch->is_unsettled = !batch->env.settings->transactional_id;
    const struct erasure *request = &work->erasure->request;
    struct str other = str_equal(request->user_id, request->anonymous_id) ? (struct str){0}
                                                                          : request->anonymous_id;
    struct str id = request->request_id;
    char place[400];
    if (id.len == 0) {
        struct emit_source source = source_of(batch, work);
        int n = snprintf(place, sizeof place, "%s/%d/%lld", source.topic, (int)source.partition,
                         (long long)source.offset);
        id = (struct str){place, (size_t)n};
    }
    receipt_write(batch, work, id);
    struct str receipt = {(const char *)batch->bytes.data, batch->bytes.len};
    return tombstone_send(batch, epoch, work, request->user_id, err) &&
           tombstone_send(batch, epoch, work, other, err) &&
           emit_send(batch->env.emit, epoch, EMIT_RECEIPTS, id, receipt, source_of(batch, work), 0,
                     err);
}
