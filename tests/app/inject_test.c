/* Faults on purpose: good records stay good, every kind of poison is refused by the decoder or by
 * cleaning. */
#include "app/inject.h"

#include "app/shop.h"
#include "base/mem.h"
#include "ingest/ingest.h"
#include "tests/test.h"

enum { EVENTS = 20000 };

struct sent {
    struct schemas *schemas;
    struct arena *arena;
    uint64_t good, duplicates, late, future, poison[INJECT_POISON_COUNT],
        accepted[INJECT_POISON_COUNT];
    uint64_t behind; /* records whose event is older than one sent before */
    int64_t newest_ms;
};

/* Whether the pipeline would take the record. */
static bool is_taken(struct sent *sent, struct str value, int64_t timestamp_ms, struct event *event)
{
    uint64_t changed[INGEST_REASON_COUNT] = {0};
    struct err err = ERR_INIT;
    if (!value.ptr) return false;
    if (!schemas_event_decode(sent->schemas, value, sent->arena, event, &err)) return false;
    return ingest_clean(event, timestamp_ms, 300000, sent->arena, changed, &err) == REASON_NONE;
}

static bool take(void *context, struct str key, struct str value, int64_t timestamp_ms,
                 const char *mark, struct err *err)
{
    struct sent *sent = context;
    struct event event;
    (void)err;
    arena_reset(sent->arena);
    CHECK(key.len > 0);
    bool taken = is_taken(sent, value, timestamp_ms, &event);
    if (strncmp(mark, "poison:", 7) == 0) {
        for (int k = 0; k < INJECT_POISON_COUNT; k++) {
            if (strcmp(mark + 7, inject_poison_name(k)) != 0) continue;
            sent->poison[k]++;
            sent->accepted[k] += taken;
        }
        return true;
    }
    CHECK(taken);
    sent->good += mark[0] == '\0';
    sent->duplicates += strcmp(mark, "duplicate") == 0;
    sent->late += strcmp(mark, "late") == 0;
    sent->future += strcmp(mark, "future") == 0;
    sent->behind += event.time_ms < sent->newest_ms;
    if (mark[0] == '\0' && event.time_ms > sent->newest_ms) sent->newest_ms = event.time_ms;
    return true;
}

static struct sent play(const struct inject_options *options, bool json)
{
    struct err err = ERR_INIT;
    struct sent sent = {0};
    struct schemas_options schemas = {.events_format = json ? FORMAT_JSON : FORMAT_AVRO};
    struct shop_options shop_options = shop_options_default();
    struct shop_output output;
    CHECK_OK(schemas_open(&sent.schemas, &schemas, &err), err);
    sent.arena = arena_new(1 << 16, 8 << 20);
    struct inject *inject =
        inject_new(options, sent.schemas, json, (struct inject_target){&sent, take});
    struct shop *shop = shop_new(&shop_options);
    for (int i = 0; i < EVENTS;) {
        shop_next(shop, &output);
        if (output.kind == SHOP_ITEM) continue;
        i++;
        struct event *event = &output.event;
        struct str key = event->user_id.len ? event->user_id : event->anonymous_id;
        CHECK_OK(inject_event(inject, event, key, event->time_ms, &err), err);
    }
    CHECK_OK(inject_flush(inject, &err), err);
    struct inject_counts counts = inject_counts(inject);
    CHECK_INT(sent.duplicates, counts.duplicates);
    CHECK_INT(sent.late, counts.late);
    for (int k = 0; k < INJECT_POISON_COUNT; k++)
        CHECK_INT(sent.poison[k], counts.poison[k]);
    /* Nothing is lost: every event is there once, beside what was sent again. */
    CHECK_INT(sent.good + sent.late + sent.future, EVENTS);
    inject_free(inject);
    shop_free(shop);
    arena_free(sent.arena);
    schemas_close(sent.schemas);
    return sent;
}

static void without_faults_nothing_changes(void)
{
    struct inject_options options = {.seed = 1};
    struct sent sent = play(&options, false);
    CHECK_INT(sent.good, EVENTS);
    CHECK_INT(sent.behind, 0);
}

static void every_poison_is_refused(void)
{
    struct inject_options options = {.seed = TEST_SEED(), .poison = 0.05};
    struct sent sent = play(&options, false);
    for (int k = 0; k < INJECT_POISON_COUNT; k++) {
        printf("  %-16s %" PRIu64 "\n", inject_poison_name(k), sent.poison[k]);
        CHECK(sent.poison[k] > 20);
        CHECK_INT(sent.accepted[k], 0);
    }
}

static void every_json_poison_is_refused(void)
{
    struct inject_options options = {.seed = TEST_SEED(), .poison = 0.05};
    struct sent sent = play(&options, true);
    for (int k = 0; k < INJECT_POISON_COUNT; k++)
        CHECK_INT(sent.accepted[k], 0);
    CHECK(sent.poison[INJECT_GARBAGE] > 100);
    CHECK_INT(sent.poison[INJECT_BAD_MAGIC], 0);
}

static void shares_are_as_asked(void)
{
    struct inject_options options = {
        .seed = TEST_SEED(), .duplicates = 0.05, .late = 0.1, .future = 0.02};
    struct sent sent = play(&options, false);
    printf("  duplicates %" PRIu64 " late %" PRIu64 " future %" PRIu64 " behind %" PRIu64 "\n",
           sent.duplicates, sent.late, sent.future, sent.behind);
    CHECK_NEAR((double)sent.duplicates / EVENTS, 0.05, 0.01);
    CHECK_NEAR((double)sent.late / EVENTS, 0.1, 0.015);
    CHECK_NEAR((double)sent.future / EVENTS, 0.02, 0.005);
    CHECK(sent.behind > sent.late / 2);
}

int main(void)
{
    CASE(without_faults_nothing_changes);
    CASE(every_poison_is_refused);
    CASE(every_json_poison_is_refused);
    CASE(shares_are_as_asked);
    return 0;
}
