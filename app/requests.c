/* Both topics are read whole, by a client of its own; receipts are joined to their requests at the end. A receipt may stand behind the
 * first record of another process's open transaction, which hides it from a reader of committed records: that one is waited for. */
#include "app/requests.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "app/letters.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/sync.h"
#include "ingest/ingest.h"

enum { BATCH_MAX = 512, POLL_MS = 100, OPEN_MS = 10000, AGAIN_MS = 200, ARENA_BLOCK = 1 << 16 };
enum { ERASURES, RECEIPTS, TOPICS };

struct row {
    int32_t partition;
    struct request_known request;
};

struct rows {
    struct row *list; /* (n) */
    int n, cap;
};

struct requests {
    const struct settings *settings;
    struct arena *arena;
    struct rows asked, answered; /* of the second only offset and next are set */
};

static struct row *row_add(struct rows *rows, int32_t partition, int64_t offset)
{
    if (rows->n == rows->cap) {
        rows->cap = rows->cap ? 2 * rows->cap : 64;
        rows->list = mem_realloc(rows->list, (size_t)rows->cap * sizeof *rows->list);
    }
    rows->list[rows->n] = (struct row){.partition = partition, .request.offset = offset};
    return &rows->list[rows->n++];
}

static int row_compare(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (x->partition != y->partition) return x->partition < y->partition ? -1 : 1;
    return (x->request.offset > y->request.offset) - (x->request.offset < y->request.offset);
}

/* ---- records ---- */

struct place {
    char topic[LETTER_SOURCE_MAX];
    int32_t partition;
    int64_t offset;
    bool is_found;
};

static bool place_take(void *context, const char *name, struct str value)
{
    struct place *place = context;
    char text[LETTER_SOURCE_MAX];
    if (strcmp(name, "freshet-src") != 0 || !value.ptr || value.len >= sizeof text) return true;
    memcpy(text, value.ptr, value.len);
    text[value.len] = '\0';
    place->is_found = place_parse(text, place->topic, &place->partition, &place->offset);
    return false;
}

/* One that cannot be read is as none: its request is answered once more. */
static void receipt_take(struct requests *requests, const struct ingest_follow_record *record)
{
    const struct settings *settings = requests->settings;
    struct place place = {.is_found = false};
    ingest_follow_headers(record, place_take, &place);
    if (!place.is_found || strcmp(place.topic, settings->erasures_topic) != 0) return;
    json_t *json = json_loadb(record->value.ptr, record->value.len, 0, NULL);
    const json_t *next = json_object_get(json, "next");
    if (json_is_object(next)) {
        struct row *row = row_add(&requests->answered, place.partition, place.offset);
        for (int t = 0; t < settings->n_topics; t++) {
            const json_t *value = json_object_get(next, settings->topics[t]);
            row->request.next[t] = json_is_integer(value) ? (int64_t)json_integer_value(value) : -1;
        }
    }
    json_decref(json);
}

static void record_take(struct requests *requests, const struct ingest_follow_record *record)
{
    if (record->kind != FOLLOW_RECORD) return;
    if (record->topic == RECEIPTS) {
        if (record->value.ptr) receipt_take(requests, record);
        return;
    }
    struct row *row = row_add(&requests->asked, record->partition, record->offset);
    row->request.timestamp_ms = record->timestamp_ms;
    if (record->value.ptr) row->request.value = arena_str(requests->arena, record->value);
}

static bool is_further(const struct requests *requests, const struct request_known *a,
                       const struct request_known *b)
{
    for (int t = 0; t < requests->settings->n_topics; t++)
        if (a->next[t] != b->next[t]) return a->next[t] > b->next[t];
    return false;
}

static void join(struct requests *requests)
{
    struct rows *asked = &requests->asked;
    if (asked->n > 1) qsort(asked->list, (size_t)asked->n, sizeof *asked->list, row_compare);
    for (int i = 0; asked->n > 0 && i < requests->answered.n; i++) {
        const struct row *answer = &requests->answered.list[i];
        struct row *row =
            bsearch(answer, asked->list, (size_t)asked->n, sizeof *asked->list, row_compare);
        if (!row) continue;
        if (row->request.is_answered && !is_further(requests, &answer->request, &row->request))
            continue;
        row->request.is_answered = true;
        memcpy(row->request.next, answer->request.next, sizeof row->request.next);
    }
}

/* ---- reading ---- */

struct requests_keeper {
    const struct settings *settings;
    struct state *state;
    struct requests *requests; /* NULL: none were wanted since the last partition went */
    struct flag stop;
};

/* Requests below are of no use; with a changelog what is put back may be older than the store. */
static int64_t start_of(void *context, int topic, int32_t partition)
{
    const struct requests_keeper *keeper = context;
    struct err ignored = ERR_INIT;
    int64_t next = -1;
    if (topic != ERASURES || keeper->settings->changelog_topic) return -1;
    bool ok =
        state_position(keeper->state, keeper->settings->erasures_at, partition, &next, &ignored);
    return ok ? next : -1;
}

static bool follow_open(struct ingest_follow **follow, struct requests_keeper *keeper,
                        uint64_t until_ns, struct err *err)
{
    const struct settings *settings = keeper->settings;
    const char *topics[TOPICS] = {
        [ERASURES] = settings->erasures_topic, [RECEIPTS] = settings->receipts_topic};
    const struct ingest_follow_options options = {.topics = topics,
                                                  .n_topics = TOPICS,
                                                  .batch_max = BATCH_MAX,
                                                  .timeout_ms = OPEN_MS,
                                                  .waits_for_open = true,
                                                  .start = start_of,
                                                  .context = keeper};
    for (;;) {
        if (ingest_follow_open(follow, &settings->kafka, &options, err)) return true;
        bool is_over = clock_mono_ns() > until_ns || flag_is_raised(&keeper->stop);
        if (!err_passes(err) || is_over) return false;
        err->class = ERR_NONE;
        sync_sleep_ms(AGAIN_MS);
    }
}

static bool records_read(struct requests *requests, struct ingest_follow *follow,
                         struct requests_keeper *keeper, uint64_t until_ns, struct err *err)
{
    struct ingest_follow_batch batch;
    while (!ingest_follow_is_caught_up(follow)) {
        if (clock_mono_ns() > until_ns || flag_is_raised(&keeper->stop))
            return err_fatal(err, ERR_EXIT_UNREACHABLE, "%s or %s cannot be read to its end",
                             keeper->settings->erasures_topic, keeper->settings->receipts_topic);
        if (!ingest_follow_poll(follow, POLL_MS, &batch, err)) return false;
        for (int i = 0; i < batch.n; i++)
            record_take(requests, &batch.records[i]);
        ingest_follow_release(follow, &batch);
    }
    return true;
}

static void requests_free(struct requests *requests)
{
    if (!requests) return;
    arena_free(requests->arena);
    mem_free(requests->asked.list);
    mem_free(requests->answered.list);
    mem_free(requests);
}

static bool requests_read(struct requests_keeper *keeper, struct err *err)
{
    struct requests *requests = mem_zalloc(sizeof *requests);
    struct ingest_follow *follow = NULL;
    uint64_t until = clock_mono_ns() + (uint64_t)keeper->settings->task_timeout_ms * 1000000;
    requests->settings = keeper->settings;
    requests->arena = arena_new(ARENA_BLOCK, SIZE_MAX);
    bool ok = follow_open(&follow, keeper, until, err) &&
              records_read(requests, follow, keeper, until, err);
    ingest_follow_close(follow);
    if (ok) {
        join(requests);
        keeper->requests = requests;
        return true;
    }
    requests_free(requests);
    err->class = ERR_FATAL;
    return false;
}

bool requests_find(struct requests_keeper *keeper, int32_t partition, struct ingest *ingest,
                   const struct requests **found, struct err *err)
{
    int erasures = keeper->settings->erasures_at;
    int64_t next;
    *found = NULL;
    if (!state_position(keeper->state, erasures, partition, &next, err)) return false;
    if (next < 0) next = 0;
    if (next >= ingest_log_end(ingest, erasures, partition)) return true;
    if (!keeper->requests && !requests_read(keeper, err)) return false;
    *found = keeper->requests;
    return true;
}

struct requests_keeper *requests_keeper_new(const struct settings *settings, struct state *state)
{
    if (settings->erasures_at < 0) return NULL;
    struct requests_keeper *keeper = mem_zalloc(sizeof *keeper);
    keeper->settings = settings;
    keeper->state = state;
    return keeper;
}

void requests_keeper_free(struct requests_keeper *keeper)
{
    if (keeper) requests_free(keeper->requests);
    mem_free(keeper);
}

void requests_drop(struct requests_keeper *keeper)
{
    if (!keeper) return;
    requests_free(keeper->requests);
    keeper->requests = NULL;
}

void requests_stop(struct requests_keeper *keeper)
{
    if (keeper) flag_raise(&keeper->stop);
}

/* ---- asking ---- */

int requests_count(const struct requests *requests)
{
    return requests->asked.n;
}

const struct request_known *requests_at(const struct requests *requests, int i, int32_t *partition)
{
    *partition = requests->asked.list[i].partition;
    return &requests->asked.list[i].request;
}
