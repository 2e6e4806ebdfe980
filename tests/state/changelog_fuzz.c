/* Records of the changelog from outside, put back into a real store: what is taken for rows is readable from then on, by the walk over
 * the partition, by a shard that opens it and as users and guards; the rest is refused with exit 3 and nothing of it stays.
 *
 * Input: records one behind the other, each a length (1) and key, flags (1: a value follows, 2: a marker's store becomes ours), a length
 * (2, little-endian) and value. */
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "state/image.h"
#include "tests/state/fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PARTITION = 1, HAS_VALUE = 1, IS_OURS = 2, BELONGS_AT = 1, RECORDS_MAX = 64 };

static char folder[128];
static struct state *state;
static struct state_log place = {.next = 5, .wall_ms = 1000};

struct record {
    struct str key, value;
};

static void store_remove(void)
{
    state_close(state);
    fixture_remove(folder);
}

static void start(void)
{
    struct state_options options = fixture_options();
    if (state) return;
    log_init(LOG_LOGFMT, LOG_ERROR, "");
    fixture_folder(folder, sizeof folder);
    state = fixture_open(folder, &options);
    if (atexit(store_remove) != 0) abort();
}

/* A row that nobody could read has marked the store: not for the next input. */
static void sound_again(void)
{
    char path[256];
    flag_lower(&state->damaged);
    (void)snprintf(path, sizeof path, "%s/damaged", folder);
    (void)unlink(path);
}

/* ---- records ---- */

static bool record_take(struct cursor *c, struct record *record)
{
    static char marker[512];
    uint8_t key_len = cursor_u8(c);
    record->key = (struct str){(const char *)cursor_bytes(c, key_len), key_len};
    uint8_t flags = cursor_u8(c);
    uint16_t len = flags & HAS_VALUE ? cursor_u16(c) : 0;
    const char *value = (const char *)cursor_bytes(c, len);
    record->value = flags & HAS_VALUE ? (struct str){value, len} : (struct str){NULL, 0};
    if (c->failed) return false;
    if (flags & IS_OURS && len > BELONGS_AT + sizeof state->belongs && len < sizeof marker) {
        memcpy(marker, value, len);
        memcpy(marker + BELONGS_AT, &state->belongs, sizeof state->belongs);
        record->value.ptr = marker;
    }
    return true;
}

/* false: refused. */
static bool record_apply(struct state_image *image, const struct record *record, bool *is_committed)
{
    struct err err = ERR_INIT;
    int64_t next[8];
    bool ok = true;
    if (state_topics(state) > (int)(sizeof next / sizeof next[0])) abort();
    switch (state_record_kind(record->key)) {
    case STATE_RECORD_MARKER:
        ok = state_marker_decode(state, record->value, next, &err);
        if (!ok) break;
        CHECK_OK(state_image_commit(image, next, &place, &err), err);
        *is_committed = true;
        break;
    case STATE_RECORD_ROW:
        ok = state_image_row(image, record->key, record->value, &err);
        break;
    default:
        break;
    }
    if (!ok && (err.exit_code != ERR_EXIT_STORE || err.text[0] == '\0')) abort();
    return ok;
}

/* ---- what was put back ---- */

struct again {
    struct state_image *image;
    struct state_shard *shard; /* NULL: the partition is not opened */
    int rows;
};

/* Each row that stands is taken again, and each user is one. */
static bool row_again(void *context, const struct state_change *change)
{
    struct again *again = context;
    struct err err = ERR_INIT;
    struct user *user;
    again->rows++;
    CHECK_OK(state_image_row(again->image, change->key, change->value, &err), err);
    if (!again->shard || change->key.ptr[0] != 0x10) return true;
    struct str key = {change->key.ptr + 1, change->key.len - 1};
    CHECK_OK(state_user_get(again->shard, PARTITION, key, &user, &err), err);
    return true;
}

static bool row_delete(void *context, const struct state_change *change)
{
    struct err err = ERR_INIT;
    CHECK_OK(state_image_row(context, change->key, (struct str){NULL, 0}, &err), err);
    return true;
}

static bool session_see(void *context, const struct state_session *session)
{
    (void)context;
    if (session->n < 1 || session->n > STATE_SESSION_ITEMS_MAX) abort();
    return true;
}

static void partition_read(struct state_image *image)
{
    struct err err = ERR_INIT, other = ERR_INIT;
    struct state_sessions_head head;
    struct state_log log;
    int n;
    struct state_shard *shard = state_shard_new(state, 0);
    /* Rows that are sound one by one may not go together (a key twice). */
    bool is_open = state_partition_open(shard, PARTITION, &err);
    if (!is_open && err.exit_code != ERR_EXIT_STORE) abort();
    struct again again = {.image = image, .shard = is_open ? shard : NULL};
    CHECK_OK(state_image_each(state, PARTITION, row_again, &again, &err), err);
    if (!state_sessions_each(state, PARTITION, &head, session_see, NULL, &other) &&
        other.exit_code != ERR_EXIT_STORE)
        abort();
    CHECK_OK(state_log_get(state, PARTITION, &log, &err), err);
    CHECK_INT(log.next, place.next);
    sound_again();
    if (is_open) CHECK_OK(state_guards_expire(shard, PARTITION, INT64_MAX, &n, &err), err);
    state_shard_free(shard);
}

static void partition_empty(void)
{
    struct err err = ERR_INIT;
    const int64_t none[8] = {-1, -1, -1, -1, -1, -1, -1, -1};
    struct state_image *image = state_image_new(state, PARTITION);
    CHECK_OK(state_image_each(state, PARTITION, row_delete, image, &err), err);
    CHECK_OK(state_image_commit(image, none, &place, &err), err);
    state_image_free(image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cursor c = {.ptr = data, .left = size};
    struct record record;
    bool is_committed = false, ok = true;
    start();
    struct state_image *image = state_image_new(state, PARTITION);
    for (int i = 0; i < RECORDS_MAX && ok && c.left > 0 && record_take(&c, &record); i++)
        ok = record_apply(image, &record, &is_committed);
    if (is_committed) partition_read(image);
    state_image_free(image);
    if (is_committed) partition_empty();
    return 0;
}
