/* From events to clicks. */
#include "app/clicks.h"

#include <string.h>

#include "app/import.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/ring.h"
#include "base/sync.h"
#include "ingest/ingest.h"

enum {
    BATCH_MAX = 256,
    POLL_MS = 500,
    CONNECT_MS = 15000,
    WAITING = 256,
    USERS_MAX = 1 << 20, /* whose sessions are told apart; then all begin new ones */
    ARENA_BLOCK = 1 << 20,
    BLOCK_FIRST = 1 << 16
};

/* A user's current session. */
struct person {
    uint64_t session;
    int64_t last_ms;
};

struct clicks {
    const struct settings *settings;
    struct schemas *schemas;
    struct ingest_follow *follow;
    void (*wake)(void *context);
    void *context;
    struct thread thread;
    bool is_started;
    struct flag stop;
    struct flag is_read; /* what was there at the start has been handed over */
    struct ring *blocks; /* of struct buf *: clicks, one behind the other */
    struct sync_int refused;
    double weights[EVENT_TYPE_COUNT];
    /* own thread */
    struct arena *arena;
    struct map_u64 *people; /* hash of the user key to its place */
    struct map_u64 *erased; /* hash of the user key to up to when it was erased, ms */
    struct person *places;  /* (n_places) */
    size_t n_places, cap_places;
    /* server's thread */
    bool is_caught_up;
};

/* ---- sessions of users; own thread ---- */

static struct person *person_of(struct clicks *clicks, uint64_t user)
{
    bool is_new = false;
    uint64_t *at = map_u64_put(clicks->people, user, &is_new);
    if (!at) {
        map_u64_clear(clicks->people);
        clicks->n_places = 0;
        at = map_u64_put(clicks->people, user, &is_new);
    }
    if (!is_new) return &clicks->places[*at];
    if (clicks->n_places == clicks->cap_places) {
        clicks->cap_places = clicks->cap_places ? 2 * clicks->cap_places : 1024;
        clicks->places = mem_realloc(clicks->places, clicks->cap_places * sizeof *clicks->places);
    }
    *at = clicks->n_places;
    clicks->places[clicks->n_places] = (struct person){0, INT64_MIN};
    return &clicks->places[clicks->n_places++];
}

/* The id of the session that the event belongs to: of the user and the time of its first event. */
static uint64_t session_of(struct clicks *clicks, const struct event *event)
{
    char key[SCHEMAS_USER_KEY_MAX];
    struct str named = schemas_user_key(event, key);
    uint64_t user = schemas_id_hash(named);
    struct person *person = person_of(clicks, user);
    bool has_paused = person->last_ms == INT64_MIN ||
                      event->time_ms - person->last_ms > clicks->settings->session_gap_ms;
    if (has_paused) {
        person->session = schemas_session_id((struct str){key, named.len}, event->time_ms);
    }
    if (event->time_ms > person->last_ms) person->last_ms = event->time_ms;
    return person->session;
}

static bool is_click(enum event_type type)
{
    return type == EVENT_CLICK || type == EVENT_VIEW || type == EVENT_ADD_TO_CART ||
           type == EVENT_PURCHASE || type == EVENT_LIKE;
}

/* ---- blocks: clicks as bytes between the two threads ---- */

static void click_push(struct buf *block, const struct session_click *click)
{
    buf_push(block, click, sizeof *click);
    buf_push_str(block, click->tenant);
    buf_push_str(block, click->item_id);
}

static bool click_pop(struct cursor *from, struct session_click *click)
{
    const uint8_t *head = cursor_bytes(from, sizeof *click);
    if (!head) return false;
    memcpy(click, head, sizeof *click);
    click->tenant.ptr = (const char *)cursor_bytes(from, click->tenant.len);
    click->item_id.ptr = (const char *)cursor_bytes(from, click->item_id.len);
    return true;
}

/* ---- own thread ---- */

static bool is_erased(const struct clicks *clicks, const struct event *event)
{
    char key[SCHEMAS_USER_KEY_MAX];
    if (map_u64_count(clicks->erased) == 0) return false;
    const uint64_t *until =
        map_u64_get(clicks->erased, schemas_id_hash(schemas_user_key(event, key)));
    return until && event->time_ms <= (int64_t)*until;
}

/* The user's sessions go; what is read of it later, from before, is passed over. */
static void user_forget(struct clicks *clicks, const struct event *who, int64_t until_ms,
                        struct buf *block)
{
    char key[SCHEMAS_USER_KEY_MAX];
    struct str named = schemas_user_key(who, key);
    if (named.len == 0) return;
    uint64_t user = schemas_id_hash(named);
    const struct session_click click = {.session = user & SCHEMAS_SESSION_USER, .weight = -1};
    (void)map_u64_delete(clicks->people, user);
    if (!map_u64_set(clicks->erased, user, (uint64_t)until_ms))
        log_warn("app", "erased users are too many to keep their old sessions out", NULL);
    click_push(block, &click);
}

static void erasure_read(struct clicks *clicks, const struct ingest_follow_record *record,
                         struct buf *block)
{
    struct err err = ERR_INIT;
    struct erasure request;
    if (record->kind != FOLLOW_RECORD || record->value.len == 0 ||
        !schemas_erasure_decode(clicks->schemas, record->value, clicks->arena, &request, &err))
        return;
    const struct pseudonyms *pseudonyms = clicks->settings->pseudonyms;
    char bytes[2][PSEUDONYM_MAX];
    struct event user = {.tenant = request.tenant, .user_id = request.user_id}, anonymous = user;
    anonymous.anonymous_id = request.anonymous_id;
    anonymous.user_id = (struct str){0};
    if (!pseudonym_is(pseudonyms, user.user_id))
        user.user_id = pseudonym_of(pseudonyms, 0, request.tenant, user.user_id, bytes[0]);
    if (!pseudonym_is(pseudonyms, anonymous.anonymous_id))
        anonymous.anonymous_id =
            pseudonym_of(pseudonyms, 0, request.tenant, anonymous.anonymous_id, bytes[1]);
    user_forget(clicks, &user, record->timestamp_ms, block);
    user_forget(clicks, &anonymous, record->timestamp_ms, block);
}

static void event_push(struct clicks *clicks, const struct event *event, struct buf *block)
{
    if (event->type == EVENT_IMPRESSION || event->type == EVENT_OTHER || !event->consent) return;
    if (is_erased(clicks, event)) return;
    uint64_t session = is_click(event->type) ? session_of(clicks, event) : 0;
    for (size_t i = 0; i < event->n_items; i++) {
        const struct session_click click = {.session = session,
                                            .tenant = event->tenant,
                                            .item_id = event->items[i].item_id,
                                            .time_ms = event->time_ms,
                                            .weight = clicks->weights[event->type]};
        if (click.session || click.weight > 0) click_push(block, &click);
    }
}

static void record_read(struct clicks *clicks, const struct ingest_follow_record *record,
                        struct buf *block)
{
    uint64_t changed[INGEST_REASON_COUNT] = {0};
    struct err err = ERR_INIT;
    struct event event;
    int64_t future_ms = options_int(clicks->settings->options, "events.max.future.ms");
    bool ok = record->kind == FOLLOW_RECORD && record->value.len > 0 &&
              record->value.len <= SCHEMAS_MESSAGE_MAX &&
              schemas_event_decode(clicks->schemas, record->value, clicks->arena, &event, &err) &&
              ingest_clean(&event, record->timestamp_ms, future_ms, clicks->arena, changed, &err) ==
                  REASON_NONE;
    if (ok) pseudonyms_apply(clicks->settings->pseudonyms, &event, clicks->arena);
    if (ok)
        event_push(clicks, &event, block);
    else
        (void)sync_int_add(&clicks->refused, 1);
}

static void block_push(struct clicks *clicks, struct buf *block)
{
    while (!ring_push(clicks->blocks, &block)) {
        if (flag_is_raised(&clicks->stop)) {
            buf_fini(block);
            mem_free(block);
            return;
        }
        sync_sleep_ms(1);
    }
    clicks->wake(clicks->context);
}

static void batch_read(struct clicks *clicks, const struct ingest_follow_batch *batch)
{
    if (batch->n == 0) return;
    struct buf *block = mem_alloc(sizeof *block);
    buf_init(block, SIZE_MAX);
    (void)buf_reserve(block, BLOCK_FIRST);
    for (int i = 0; i < batch->n; i++) {
        if (batch->records[i].topic < clicks->settings->n_topics)
            record_read(clicks, &batch->records[i], block);
        else
            erasure_read(clicks, &batch->records[i], block);
        arena_reset(clicks->arena);
    }
    block_push(clicks, block);
}

static void run(void *context)
{
    struct clicks *clicks = context;
    struct err err = ERR_INIT;
    struct ingest_follow_batch batch;
    bool ok = true;
    while (ok && !flag_is_raised(&clicks->stop)) {
        ok = ingest_follow_poll(clicks->follow, POLL_MS, &batch, &err);
        if (!ok) break;
        batch_read(clicks, &batch);
        ingest_follow_release(clicks->follow, &batch);
        if (ingest_follow_is_caught_up(clicks->follow)) flag_raise(&clicks->is_read);
    }
    if (!ok) {
        log_err(LOG_ERROR, "app", &err);
        log_warn("app", "sessions learn nothing more from the events topics", NULL);
        flag_raise(&clicks->is_read);
    }
}

/* ---- opening ---- */

static void weights_read(const struct settings *settings, double weights[EVENT_TYPE_COUNT])
{
    struct state_options state = settings_state(settings, 0);
    memcpy(weights, state.popularity_weight, sizeof state.popularity_weight);
}

bool clicks_open(struct clicks **out, const struct settings *settings, struct schemas *schemas,
                 void (*wake)(void *context), void *context, struct err *err)
{
    struct clicks *clicks = mem_zalloc(sizeof *clicks);
    const char *topics[SETTINGS_SOURCES_MAX];
    int n_topics = settings->n_topics;
    memcpy(topics, settings->topics, (size_t)n_topics * sizeof *topics);
    if (settings->erasures_at >= 0) topics[n_topics++] = settings->erasures_topic;
    const struct ingest_follow_options follow = {
        .topics = topics,
        .n_topics = n_topics,
        .batch_max = BATCH_MAX,
        .timeout_ms = CONNECT_MS,
        .tail = options_int(settings->options, "http.sessions.events")};
    clicks->settings = settings;
    clicks->schemas = schemas;
    clicks->wake = wake;
    clicks->context = context;
    clicks->arena = arena_new(ARENA_BLOCK, SIZE_MAX);
    clicks->people = map_u64_new(USERS_MAX);
    clicks->erased = map_u64_new(USERS_MAX);
    clicks->blocks = ring_new(sizeof(struct buf *), WAITING);
    weights_read(settings, clicks->weights);
    if (ingest_follow_open(&clicks->follow, &settings->kafka, &follow, err)) {
        clicks->is_started = thread_start(&clicks->thread, "clicks", run, clicks, err);
        *out = clicks;
        if (clicks->is_started) return true;
    }
    clicks_close(clicks);
    return false;
}

void clicks_close(struct clicks *clicks)
{
    struct buf *block;
    if (!clicks) return;
    flag_raise(&clicks->stop);
    if (clicks->is_started) {
        ingest_follow_wake(clicks->follow);
        thread_join(&clicks->thread);
    }
    while (ring_pop(clicks->blocks, &block)) {
        buf_fini(block);
        mem_free(block);
    }
    ring_free(clicks->blocks);
    ingest_follow_close(clicks->follow);
    map_u64_free(clicks->people);
    map_u64_free(clicks->erased);
    mem_free(clicks->places);
    arena_free(clicks->arena);
    mem_free(clicks);
}

/* ---- the server's side ---- */

bool clicks_give(struct clicks *clicks, struct sessions *sessions, uint64_t max_ns)
{
    uint64_t until = clock_mono_ns() + max_ns;
    struct buf *block;
    while (ring_pop(clicks->blocks, &block)) {
        struct cursor from = {.ptr = block->data, .left = block->len};
        struct session_click click;
        while (from.left > 0 && click_pop(&from, &click)) {
            if (click.weight < 0)
                sessions_forget(sessions, click.session);
            else
                sessions_click(sessions, &click);
        }
        buf_fini(block);
        mem_free(block);
        if (clock_mono_ns() > until) return ring_count(clicks->blocks) > 0;
    }
    return false;
}

bool clicks_is_caught_up(struct clicks *clicks)
{
    bool is_given = flag_is_raised(&clicks->is_read) && ring_count(clicks->blocks) == 0;
    clicks->is_caught_up = clicks->is_caught_up || is_given;
    return clicks->is_caught_up;
}

int64_t clicks_refused(const struct clicks *clicks)
{
    return sync_int_get(&clicks->refused);
}

/* ---- from a file ---- */

bool clicks_load(struct sessions *sessions, const struct settings *settings, const char *path,
                 const char *format, struct err *err)
{
    struct import_options options = {.path = path, .type = EVENT_VIEW, .tenant = "", .start_ms = 1};
    double weights[EVENT_TYPE_COUNT];
    struct import *import;
    struct event event;
    weights_read(settings, weights);
    if (!log_format_parse(format, &options.kind))
        return err_fatal(
            err, ERR_EXIT_USAGE,
            "the format of --sessions is pairs, lines, sessions or events, not '%.40s'", format);
    if (!import_open(&import, &options, NULL, NULL, err)) return false;
    while (import_next(import, &event))
        for (size_t i = 0; i < event.n_items; i++) {
            const struct session_click click = {.session = schemas_id_hash(event.user_id),
                                                .tenant = event.tenant,
                                                .item_id = event.items[i].item_id,
                                                .time_ms = event.time_ms,
                                                .weight = weights[event.type]};
            sessions_click(sessions, &click);
        }
    import_close(import);
    struct sessions_size size = sessions_size(sessions);
    log_info("app", "sessions read", "file=%s sessions=%d items=%d clicks=%lld", path,
             size.sessions, size.items, (long long)size.clicks);
    return true;
}
