/* Guards: what is left of a user that was erased. A guard says up to when events were erased and which offsets had been seen; it is
 * kept under a hash of the user's key, so that no id stays in the store. docs/STATE.md has the bytes.
 *
 *   a user in memory: here --erase--> gone (guard) --event after the guard--> here, with the guard still in force */
#include "state/internal.h"

#include <string.h>

#include "base/fault.h"

enum { GUARD_VERSION = 1, GUARD_KEY = 4 + SCHEMAS_GUARD_BYTES };

/* slot_key: partition and user key, as a user is stored. */
static struct str guard_key(struct str slot_key, char out[GUARD_KEY])
{
    struct str user = {slot_key.ptr + 4, slot_key.len - 4};
    memcpy(out, slot_key.ptr, 4);
    schemas_guard_key(user, out + 4);
    return (struct str){out, GUARD_KEY};
}

/* ---- bytes ---- */

static void guard_encode(const struct user *user, struct buf *out)
{
    int n = USER_TOPICS_MAX;
    while (n > 0 && user->last_offset[n - 1] < 0)
        n--;
    buf_push_byte(out, GUARD_VERSION);
    buf_push_u64(out, (uint64_t)user->erased_ms);
    buf_push_byte(out, (uint8_t)n);
    for (int i = 0; i < n; i++)
        buf_push_u64(out, (uint64_t)user->last_offset[i]);
}

/* offsets (USER_TOPICS_MAX). NULL, or why the bytes are no guard. */
static const char *guard_decode(struct str value, int64_t *erased_ms, int64_t *offsets)
{
    struct cursor c = {.ptr = (const uint8_t *)value.ptr, .left = value.len};
    if (cursor_u8(&c) != GUARD_VERSION) return "version of the value is unknown";
    *erased_ms = (int64_t)cursor_u64(&c);
    int n = cursor_u8(&c);
    if (n > USER_TOPICS_MAX) return "too many offsets";
    for (int i = 0; i < USER_TOPICS_MAX; i++)
        offsets[i] = i < n ? (int64_t)cursor_u64(&c) : -1;
    return c.failed || c.left > 0 ? "length does not fit its counts" : NULL;
}

const char *state__guard_check(struct str key, struct str value)
{
    int64_t erased_ms, offsets[USER_TOPICS_MAX];
    return key.len == GUARD_KEY ? guard_decode(value, &erased_ms, offsets)
                                : "the key has another length";
}

/* ---- from the store ---- */

/* At the partition's first guard. */
static rocksdb_iterator_t *iterate(struct state *state, int32_t partition, char prefix[4])
{
    rocksdb_iterator_t *it =
        rocksdb_create_iterator_cf(state->db, state->read, state->family[FAMILY_GUARDS]);
    (void)state__user_key(partition, (struct str){NULL, 0}, prefix);
    rocksdb_iter_seek(it, prefix, 4);
    return it;
}

static bool is_within(const rocksdb_iterator_t *it, const char prefix[4])
{
    size_t len;
    if (!rocksdb_iter_valid(it)) return false;
    const char *key = rocksdb_iter_key(it, &len);
    return len == GUARD_KEY && memcmp(key, prefix, 4) == 0;
}

static bool iterate_end(struct state *state, rocksdb_iterator_t *it, struct err *err)
{
    char *error = NULL;
    rocksdb_iter_get_error(it, &error);
    rocksdb_iter_destroy(it);
    return !error || state__rocksdb_error(state, error, "reading guards", err);
}

bool state__guards_open(struct state_shard *shard, int32_t partition, struct err *err)
{
    char prefix[4];
    rocksdb_iterator_t *it = iterate(shard->state, partition, prefix);
    shard->guarded[partition] = is_within(it, prefix);
    return iterate_end(shard->state, it, err);
}

bool state__guard_load(struct state_shard *shard, struct slot *slot, bool is_new, struct err *err)
{
    struct state *state = shard->state;
    struct user *user = &slot->user;
    int64_t offsets[USER_TOPICS_MAX];
    char bytes[GUARD_KEY], *error = NULL;
    size_t len = 0;
    if (!shard->guarded[slot->partition]) return true;
    struct str key = guard_key(state__slot_key(slot), bytes);
    char *value = rocksdb_get_cf(state->db, state->read, state->family[FAMILY_GUARDS], key.ptr,
                                 key.len, &len, &error);
    if (error) return state__rocksdb_error(state, error, "reading a guard", err);
    if (!value) return true;
    const char *why = guard_decode((struct str){value, len}, &user->erased_ms, offsets);
    rocksdb_free(value);
    if (why) return state__corrupt(state, "guard", schemas_id_hash(key), why, err);
    user->is_gone = is_new;
    if (is_new) memcpy(user->last_offset, offsets, sizeof offsets);
    return true;
}

/* ---- the first opening ---- */

enum { BEGUN_KEY = 5 + 4 };

static void begun_key(int32_t partition, char key[BEGUN_KEY])
{
    memcpy(key, "begun", 5);
    (void)state__user_key(partition, (struct str){NULL, 0}, key + 5);
}

bool state_begun(struct state *state, int32_t partition, int64_t *offset, struct err *err)
{
    char key[BEGUN_KEY], *error = NULL;
    size_t len = 0;
    begun_key(partition, key);
    char *value = rocksdb_get_cf(state->db, state->read, state->family[FAMILY_META], key,
                                 sizeof key, &len, &error);
    *offset = -1;
    if (error) return state__rocksdb_error(state, error, "reading a beginning", err);
    if (!value) return true;
    bool ok = state__position_decode((struct str){value, len}, offset);
    rocksdb_free(value);
    return ok || state__corrupt(state, "beginning", (uint64_t)partition, "the bytes are none", err);
}

bool state_begin(struct state *state, int32_t partition, int64_t offset, struct err *err)
{
    char key[BEGUN_KEY], *error = NULL;
    struct buf value;
    if (!state__room_check(&state->room, 0, err)) {
        err->class = ERR_FATAL;
        err->exit_code = ERR_EXIT_DISK;
        return false;
    }
    begun_key(partition, key);
    buf_init(&value, 64);
    state__position_encode(offset, &value);
    rocksdb_put_cf(state->db, state->write, state->family[FAMILY_META], key, sizeof key,
                   (const char *)value.data, value.len, &error);
    buf_fini(&value);
    return !error || state__write_error(state, error, "noting a beginning", err);
}

/* ---- erasing ---- */

/* Without its row the user is as nobody; what was seen of the log stays known. */
static void user_forget(struct user *user, const struct state_erasure *erasure)
{
    int64_t offsets[USER_TOPICS_MAX];
    memcpy(offsets, user->last_offset, sizeof offsets);
    for (int i = 0; i < erasure->n_next && i < USER_TOPICS_MAX; i++)
        if (erasure->next[i] - 1 > offsets[i]) offsets[i] = erasure->next[i] - 1;
    state__user_clear(user);
    memcpy(user->last_offset, offsets, sizeof offsets);
    user->is_gone = true;
    if (fault_mutant("guard_not_written")) return;
    user->erased_ms = erasure->erased_ms;
    user->is_guard_new = true;
}

bool state_user_erase(struct state_shard *shard, int32_t partition, struct str key,
                      const struct state_erasure *erasure, struct state_erased *what,
                      struct err *err)
{
    struct user *user;
    *what = (struct state_erased){0};
    if (!state_user_get(shard, partition, key, &user, err)) return false;
    what->is_repeated = user->erased_ms >= erasure->erased_ms;
    if (what->is_repeated) return true;
    for (int i = 0; i < USER_TOPICS_MAX && !user->is_gone; i++)
        what->is_found = what->is_found || user->last_offset[i] >= 0;
    what->window = user->n_window;
    what->bought = user->n_bought;
    what->disliked = user->n_disliked;
    what->events = user->events;
    state__encoder_drop(shard, (struct slot *)(void *)user);
    user_forget(user, erasure);
    shard->guarded[partition] = true;
    state_user_dirty(shard, user);
    return true;
}

/* Nothing was ever seen of it, and nothing erased. */
static bool is_blank(const struct user *user)
{
    for (int i = 0; i < USER_TOPICS_MAX; i++)
        if (user->last_offset[i] >= 0) return false;
    return user->erased_ms == INT64_MIN;
}

bool state_user_move(struct state_shard *shard, int32_t partition, struct str from, struct str to,
                     bool *is_moved, struct err *err)
{
    struct user *before, *after;
    *is_moved = false;
    if (!state_user_get(shard, partition, to, &after, err)) return false;
    if (!is_blank(after) || str_equal(from, to)) return true;
    if (!state_user_get(shard, partition, from, &before, err)) return false;
    *is_moved = !is_blank(before);
    if (!*is_moved) return true;
    /* All but the block's own pointers. */
    struct interaction *window = after->window;
    float *encoder = after->encoder;
    *after = *before;
    after->window = window;
    after->encoder = encoder;
    after->model_id = 0;
    after->batch = 0;
    memcpy(window, before->window, (size_t)before->n_window * sizeof *window);
    after->is_guard_new = after->erased_ms != INT64_MIN;
    if (after->is_guard_new) shard->guarded[partition] = true;
    state__encoder_drop(shard, (struct slot *)(void *)before);
    state__user_clear(before);
    before->is_gone = true;
    state_user_dirty(shard, before);
    state_user_dirty(shard, after);
    return true;
}

void state__guard_seal(struct state_epoch *epoch, struct slot *slot)
{
    char bytes[GUARD_KEY];
    struct str user = state__slot_key(slot);
    state__epoch_begin(epoch, FAMILY_GUARDS, slot->partition, guard_key(user, bytes));
    guard_encode(&slot->user, &epoch->bytes);
    state__epoch_end(epoch);
    slot->user.is_guard_new = false;
    buf_push_u16(&epoch->erased, (uint16_t)user.len);
    buf_push_str(&epoch->erased, user);
}

bool state_guards_expire(struct state_shard *shard, int32_t partition, int64_t before_ms, int *n,
                         struct err *err)
{
    struct state *state = shard->state;
    int64_t erased_ms, offsets[USER_TOPICS_MAX];
    char prefix[4], *error = NULL;
    rocksdb_iterator_t *it = iterate(state, partition, prefix);
    for (*n = 0; !error && is_within(it, prefix); rocksdb_iter_next(it)) {
        struct str key, value;
        key.ptr = rocksdb_iter_key(it, &key.len);
        value.ptr = rocksdb_iter_value(it, &value.len);
        if (guard_decode(value, &erased_ms, offsets) || erased_ms >= before_ms) continue;
        rocksdb_delete_cf(state->db, state->write, state->family[FAMILY_GUARDS], key.ptr, key.len,
                          &error);
        *n += !error;
    }
    bool ok = iterate_end(state, it, err);
    return ok && (!error || state__rocksdb_error(state, error, "deleting a guard", err));
}
