/* Rows of session neighbours: what a partition's index holds, one row a session and one head, in the epochs of the users that
 * they come from. The index itself is the caller's. docs/STATE.md, "Session" and "Sessions' head". */
#include "state/internal.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

enum {
    SESSION_VERSION = 1,
    HEAD_VERSION = 1,
    KEY_HEAD = 4, /* bytes: the partition alone, which sorts before its sessions */
};

/* ---- bytes ---- */

static struct str session_key(int32_t partition, uint64_t id, struct buf *out)
{
    buf_reset(out);
    buf_push_be32(out, (uint32_t)partition);
    buf_push_be64(out, id);
    return (struct str){(const char *)out->data, out->len};
}

const char *state__session_decode(struct str key, struct str value, uint64_t *items,
                                  struct state_session *session)
{
    struct cursor k = {.ptr = (const uint8_t *)key.ptr, .left = key.len};
    struct cursor v = {.ptr = (const uint8_t *)value.ptr, .left = value.len};
    (void)cursor_be32(&k);
    session->id = cursor_be64(&k);
    if (k.failed || k.left > 0) return "the key has another length";
    if (cursor_u8(&v) != SESSION_VERSION) return "version of the value is unknown";
    session->recency = cursor_u64(&v);
    session->last_ms = (int64_t)cursor_u64(&v);
    if (v.failed || v.left == 0 || v.left % 8 != 0 || v.left / 8 > STATE_SESSION_ITEMS_MAX)
        return "the value has another length";
    session->n = (int)(v.left / 8);
    session->items = items;
    for (int i = 0; i < session->n; i++)
        items[i] = cursor_u64(&v);
    return session->recency == 0 ? "no click made it" : NULL;
}

const char *state__sessions_head_decode(struct str value, struct state_sessions_head *head)
{
    struct cursor v = {.ptr = (const uint8_t *)value.ptr, .left = value.len};
    if (cursor_u8(&v) != HEAD_VERSION) return "version of the head is unknown";
    head->clicks = cursor_u64(&v);
    head->newest_ms = (int64_t)cursor_u64(&v);
    return v.failed || v.left > 0 ? "the head has another length" : NULL;
}

const char *state__session_check(struct str key, struct str value, uint64_t *items)
{
    struct state_sessions_head head;
    struct state_session session;
    return key.len == KEY_HEAD ? state__sessions_head_decode(value, &head)
                               : state__session_decode(key, value, items, &session);
}

/* ---- into an epoch ---- */

void state_session_put(struct state_shard *shard, struct state_epoch *epoch, int32_t partition,
                       const struct state_session *session)
{
    size_t before = epoch->size;
    struct str key = session_key(partition, session->id, &shard->key);
    assert(session->n >= 0 && session->n <= STATE_SESSION_ITEMS_MAX);
    if (session->n == 0) {
        state__epoch_delete(epoch, FAMILY_SESSIONS, partition, key);
    } else {
        state__epoch_begin(epoch, FAMILY_SESSIONS, partition, key);
        buf_push_byte(&epoch->bytes, SESSION_VERSION);
        buf_push_u64(&epoch->bytes, session->recency);
        buf_push_u64(&epoch->bytes, (uint64_t)session->last_ms);
        for (int i = 0; i < session->n; i++)
            buf_push_u64(&epoch->bytes, session->items[i]);
        state__epoch_end(epoch);
    }
    shard->sealed_bytes += epoch->size - before;
}

void state_sessions_head_put(struct state_shard *shard, struct state_epoch *epoch,
                             int32_t partition, const struct state_sessions_head *head)
{
    size_t before = epoch->size;
    buf_reset(&shard->key);
    buf_push_be32(&shard->key, (uint32_t)partition);
    state__epoch_begin(epoch, FAMILY_SESSIONS, partition,
                       (struct str){(const char *)shard->key.data, shard->key.len});
    buf_push_byte(&epoch->bytes, HEAD_VERSION);
    buf_push_u64(&epoch->bytes, head->clicks);
    buf_push_u64(&epoch->bytes, (uint64_t)head->newest_ms);
    state__epoch_end(epoch);
    shard->sealed_bytes += epoch->size - before;
}

/* ---- reading ---- */

struct session_walk {
    struct state *state;
    bool (*visit)(void *context, const struct state_session *session);
    void *context;
    struct state_sessions_head *head;
    uint64_t *items; /* (STATE_SESSION_ITEMS_MAX) */
};

static bool visit_row(struct session_walk *walk, struct str key, struct str value, bool *more,
                      struct err *err)
{
    struct state_session session;
    bool is_head = key.len == KEY_HEAD;
    const char *why = is_head ? state__sessions_head_decode(value, walk->head)
                              : state__session_decode(key, value, walk->items, &session);
    if (!why && !is_head && session.recency > walk->head->clicks) why = "newer than the head";
    if (why) return state__corrupt(walk->state, "session", schemas_id_hash(key), why, err);
    if (!is_head) *more = walk->visit(walk->context, &session);
    return true;
}

bool state_sessions_each(struct state *state, int32_t partition, struct state_sessions_head *head,
                         bool (*visit)(void *context, const struct state_session *session),
                         void *context, struct err *err)
{
    char prefix[KEY_HEAD], *error = NULL;
    bool ok = true, more = true;
    struct session_walk walk = {.state = state, .visit = visit, .context = context, .head = head};
    *head = (struct state_sessions_head){.newest_ms = INT64_MIN};
    if (!state->family[FAMILY_SESSIONS]) return true;
    walk.items = mem_alloc(STATE_SESSION_ITEMS_MAX * sizeof *walk.items);
    (void)state__user_key(partition, (struct str){NULL, 0}, prefix);
    rocksdb_iterator_t *it =
        rocksdb_create_iterator_cf(state->db, state->read, state->family[FAMILY_SESSIONS]);
    rocksdb_iter_seek(it, prefix, sizeof prefix);
    for (; ok && more && rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        struct str key, value;
        key.ptr = rocksdb_iter_key(it, &key.len);
        value.ptr = rocksdb_iter_value(it, &value.len);
        if (key.len < sizeof prefix || memcmp(key.ptr, prefix, sizeof prefix) != 0) break;
        ok = visit_row(&walk, key, value, &more, err);
    }
    if (ok) rocksdb_iter_get_error(it, &error);
    rocksdb_iter_destroy(it);
    mem_free(walk.items);
    if (error) return state__rocksdb_error(state, error, "reading sessions", err);
    return ok;
}
