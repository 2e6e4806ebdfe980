/* Where requests to forget somebody stand between the events of their partition.
 *
 * Two topics have no order between them, but what comes out depends on it: an event before the request counted its items, one behind it
 * from the same time does not. So the order that was once made known holds, whatever dies afterwards:
 *
 *   - A request is answered by a receipt that says where it stood. Without transactions the receipt is acknowledged before the next event
 *     of its shard is touched; with them it is committed with the lists before it. Who applies these events again finds the receipt
 *     (app/requests.h) and keeps the place.
 *   - One without a receipt comes behind all events that may have been told of without it: without transactions those that the log held
 *     when the partition was opened, with them those that the group had committed (the floor). So of two receipts for one request the
 *     one that is further stood last.
 *   - A partition that nothing is known of (a new application, or all was set back) forgets first and reads its events then; that it has
 *     begun is noted before (state_begin). First comes, too, a request that was told long ago and whose receipt is gone.
 *
 * While an answered request waits for its place, no list of its user goes out. */
#include <string.h>

#include "app/batch_internal.h"
#include "base/fault.h"
#include "base/mem.h"

struct asked_request {
    struct ingest_record record;    /* the value is ours */
    int64_t place[USER_TOPICS_MAX]; /* (n_topics) it stands before the first event from there on */
    bool is_answered;
    struct buf keys; /* of its user, as batch__names; when it was answered */
};

struct asked {
    struct asked_request *list; /* (n), the first `first` are done */
    int first, n, cap;
    int64_t through; /* requests below are done or in the list */
    int64_t floor[USER_TOPICS_MAX];
    bool is_moved;
};

void batch__asked_new(struct batch *batch)
{
    batch->asked = mem_zalloc((size_t)batch->env.n_partitions * sizeof *batch->asked);
}

void batch__asked_free(struct batch *batch)
{
    for (int32_t p = 0; p < batch->env.n_partitions; p++) {
        batch__asked_forget(batch, p);
        mem_free(batch->asked[p].list);
    }
    mem_free(batch->asked);
}

static void first_drop(struct batch *batch, struct asked *asked)
{
    struct asked_request *request = &asked->list[asked->first++];
    mem_free((void *)(uintptr_t)request->record.value.ptr);
    buf_fini(&request->keys);
    batch->n_waiting--;
    if (asked->first == asked->n) asked->first = asked->n = 0;
}

void batch__asked_forget(struct batch *batch, int32_t partition)
{
    struct asked *asked = &batch->asked[partition];
    while (asked->n > 0)
        first_drop(batch, asked);
    asked->through = 0;
    asked->is_moved = false;
}

/* ---- waiting ---- */

static struct asked_request *request_add(struct batch *batch, int32_t partition, int64_t offset,
                                         int64_t timestamp_ms, struct str value)
{
    struct asked *asked = &batch->asked[partition];
    if (asked->n == asked->cap) {
        asked->cap = asked->cap ? 2 * asked->cap : 16;
        asked->list = mem_realloc(asked->list, (size_t)asked->cap * sizeof *asked->list);
    }
    struct asked_request *request = &asked->list[asked->n++];
    *request =
        (struct asked_request){.record = {.topic = batch->env.settings->erasures_at,
                                          .partition = partition,
                                          .offset = offset,
                                          .timestamp_ms = timestamp_ms,
                                          .value = {mem_strndup(value.ptr, value.len), value.len}}};
    buf_init(&request->keys, SIZE_MAX);
    batch->n_waiting++;
    return request;
}

/* Before the first event with an offset from its place on; a request does not pass the one before it. */
struct asked_request *batch__asked_due(struct batch *batch, const struct ingest_record *record)
{
    const struct asked *asked = &batch->asked[record->partition];
    if (asked->first == asked->n || record->topic >= batch->env.settings->n_topics) return NULL;
    struct asked_request *request = &asked->list[asked->first];
    return record->offset >= request->place[record->topic] ? request : NULL;
}

/* Where it stands now. */
static bool next_find(const struct batch *batch, const struct asked_request *request, int64_t *next,
                      struct err *err)
{
    for (int t = 0; t < batch->env.settings->n_topics; t++) {
        if (!batch_standing(batch, t, request->record.partition, &next[t], err)) return false;
        if (request->place[t] > next[t]) next[t] = request->place[t];
    }
    return true;
}

bool batch__asked_run(struct batch *batch, struct asked_request *request, struct emit_epoch *epoch,
                      struct err *err)
{
    struct asked *asked = &batch->asked[request->record.partition];
    int64_t next[USER_TOPICS_MAX];
    if (!next_find(batch, request, next, err)) return false;
    batch->due = next;
    bool ok = batch__slice(batch, &request->record, 1, epoch, err) == 1;
    batch->due = NULL;
    if (!ok) return false;
    first_drop(batch, asked);
    asked->is_moved = batch->is_moved = true;
    return true;
}

bool batch__asked_note(struct batch *batch, const struct ingest_record *record)
{
    struct asked *asked = &batch->asked[record->partition];
    if (record->offset < asked->through) return false;
    asked->through = record->offset + 1;
    asked->is_moved = batch->is_moved = true;
    return true;
}

bool batch__asked_waits(struct batch *batch, const struct ingest_record *record,
                        const int64_t *next)
{
    struct asked *asked = &batch->asked[record->partition];
    int n_topics = batch->env.settings->n_topics;
    bool waits = asked->n > 0;
    for (int t = 0; t < n_topics; t++)
        waits = waits || asked->floor[t] > (next[t] > 0 ? next[t] : 0);
    if (!waits || fault_mutant("floor_ignored")) return false;
    struct asked_request *request =
        request_add(batch, record->partition, record->offset, record->timestamp_ms, record->value);
    for (int t = 0; t < n_topics; t++)
        request->place[t] = asked->floor[t] > next[t] ? asked->floor[t] : next[t];
    return true;
}

bool batch__asked_hushes(const struct batch *batch, const struct ingest_record *record,
                         struct str user_key)
{
    const struct asked *asked = &batch->asked[record->partition];
    for (int i = asked->first; i < asked->n; i++) {
        const struct asked_request *request = &asked->list[i];
        struct cursor c = {.ptr = request->keys.data, .left = request->keys.len};
        while (request->is_answered && c.left > 0) {
            size_t len = cursor_u16(&c);
            struct str key = {(const char *)cursor_bytes(&c, len), len};
            if (str_equal(key, user_key)) return true;
        }
    }
    return false;
}

/* ---- a partition is opened ---- */

/* Its receipt says a place that the logs have. */
static bool is_answered(const struct batch *batch, const struct request_known *request,
                        const struct batch_opening *opening)
{
    bool is_within = request->is_answered;
    for (int t = 0; t < batch->env.settings->n_topics; t++)
        is_within = is_within && request->next[t] <= opening->ends[t];
    return is_within;
}

/* Where the request stands, if that is known: answered ones say it; one without an answer took effect with the answered one behind it,
 * at the latest (behind; NULL none). */
static bool place_find(const struct batch *batch, const struct request_known *request,
                       const struct batch_opening *opening, const int64_t *behind, int64_t *place)
{
    const struct settings *settings = batch->env.settings;
    bool has_answer = is_answered(batch, request, opening);
    bool was_told = request->offset < opening->told[settings->erasures_at];
    bool is_first = request->offset < opening->first_below || (!has_answer && was_told);
    for (int t = 0; t < settings->n_topics; t++)
        place[t] = is_first ? 0 : has_answer ? request->next[t] : behind ? behind[t] : 0;
    return is_first || has_answer || behind;
}

/* places (n). Returns how many of the requests [at, at + n) have a place: those behind them come as new ones. */
static int places_find(const struct batch *batch, const struct batch_opening *opening, int at,
                       int n, int64_t (*places)[USER_TOPICS_MAX])
{
    int32_t partition;
    int known = n;
    for (int k = n - 1; k >= 0; k--) {
        const int64_t *behind = k + 1 < known ? places[k + 1] : NULL;
        const struct request_known *request = requests_at(opening->requests, at + k, &partition);
        if (!place_find(batch, request, opening, behind, places[k])) known = k;
    }
    return known;
}

static void known_add(struct batch *batch, int32_t partition, const struct request_known *known,
                      const int64_t *place, bool is_answered)
{
    struct asked *asked = &batch->asked[partition];
    asked->through = known->offset + 1;
    if (!known->value.ptr) return;
    struct asked_request *request =
        request_add(batch, partition, known->offset, known->timestamp_ms, known->value);
    memcpy(request->place, place, sizeof request->place);
    request->is_answered = is_answered;
    if (!batch__names(batch, &request->record, &request->keys))
        buf_reset(&request->keys); /* no request: it will say so */
}

/* The requests of the partition from `from` on, and what is known of their places. */
static void known_take(struct batch *batch, int32_t partition, int64_t from,
                       const struct batch_opening *opening)
{
    const struct requests *requests = opening->requests;
    int32_t of = -1;
    int at = 0, n = 0, all = requests_count(requests);
    while (at < all && (requests_at(requests, at, &of)->offset < from || of != partition))
        at++;
    while (at + n < all && requests_at(requests, at + n, &of) && of == partition)
        n++;
    int64_t(*places)[USER_TOPICS_MAX] = mem_zalloc((size_t)n * sizeof *places + 1);
    int known = places_find(batch, opening, at, n, places);
    for (int k = 0; k < known; k++) {
        const struct request_known *request = requests_at(requests, at + k, &of);
        known_add(batch, partition, request, places[k],
                  !opening->is_new && is_answered(batch, request, opening));
    }
    mem_free(places);
}

bool batch_partition_open(struct batch *batch, int32_t partition,
                          const struct batch_opening *opening, struct err *err)
{
    const struct settings *settings = batch->env.settings;
    struct asked *asked = &batch->asked[partition];
    int64_t from;
    if (settings->erasures_at < 0) return true;
    for (int t = 0; t < settings->n_topics; t++)
        asked->floor[t] = opening->is_new              ? 0
                          : settings->transactional_id ? opening->told[t]
                                                       : opening->ends[t];
    if (!state_position(batch->env.store, settings->erasures_at, partition, &from, err))
        return false;
    asked->through = from;
    if (opening->requests && !fault_mutant("requests_unknown"))
        known_take(batch, partition, from, opening);
    return true;
}

/* ---- while nothing comes ---- */

bool batch_requests_wait(const struct batch *batch, int32_t partition)
{
    return batch->asked[partition].n > 0;
}

bool batch_requests_run(struct batch *batch, int32_t partition, bool is_at_end,
                        struct emit_epoch *epoch, struct err *err)
{
    struct asked *asked = &batch->asked[partition];
    bool is_due = true;
    int64_t next;
    for (int t = 0; asked->n > 0 && t < batch->env.settings->n_topics; t++) {
        int64_t *place = &asked->list[asked->first].place[t];
        if (!batch_standing(batch, t, partition, &next, err)) return false;
        if (next < 0) next = 0;
        is_due = is_due && (next >= *place || is_at_end);
        if (is_due && next < *place) *place = next; /* marks of transactions stand between */
    }
    if (asked->n == 0 || !is_due) return true;
    return batch__run_alone(batch, &asked->list[asked->first], epoch, err);
}

bool batch_requests_moved(struct batch *batch, int32_t *partition, int64_t *next)
{
    for (int32_t p = 0; batch->is_moved && p < batch->env.n_partitions; p++) {
        struct asked *asked = &batch->asked[p];
        if (!asked->is_moved) continue;
        asked->is_moved = false;
        *partition = p;
        *next = asked->n > 0 ? asked->list[asked->first].record.offset : asked->through;
        return true;
    }
    batch->is_moved = false;
    return false;
}
