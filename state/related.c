/* Rows of items that go together, in the epochs of the pairs that they come from. What a table is and what its values say is the
 * caller's (docs/STATE.md, "Related"); here a row is its place and its bytes. */
#include "state/internal.h"

#include <assert.h>
#include <string.h>

enum { PREFIX = 5, KEY = STATE__RELATED_KEY }; /* partition and table; and the key */

static struct str row_key(int32_t partition, uint8_t table, uint64_t key, char out[KEY])
{
    for (int i = 0; i < 4; i++)
        out[i] = (char)((uint32_t)partition >> (8 * (3 - i)));
    out[4] = (char)table;
    for (int i = 0; i < 8; i++)
        out[PREFIX + i] = (char)(key >> (8 * (7 - i)));
    return (struct str){out, KEY};
}

void state_related_put(struct state_shard *shard, struct state_epoch *epoch, int32_t partition,
                       uint8_t table, uint64_t key, struct str value)
{
    char bytes[KEY];
    size_t before = epoch->size;
    struct str at = row_key(partition, table, key, bytes);
    assert(value.len <= STATE_RELATED_MAX);
    if (!value.ptr) {
        state__epoch_delete(epoch, FAMILY_RELATED, partition, at);
    } else {
        state__epoch_begin(epoch, FAMILY_RELATED, partition, at);
        buf_push_str(&epoch->bytes, value);
        state__epoch_end(epoch);
    }
    shard->sealed_bytes += epoch->size - before;
}

bool state_related_get(struct state *state, int32_t partition, uint8_t table, uint64_t key,
                       struct buf *out, bool *found, struct err *err)
{
    char bytes[KEY], *error = NULL;
    size_t len = 0;
    *found = false;
    if (!state->family[FAMILY_RELATED]) return true;
    struct str at = row_key(partition, table, key, bytes);
    char *value = rocksdb_get_cf(state->db, state->read, state->family[FAMILY_RELATED], at.ptr,
                                 at.len, &len, &error);
    if (error) return state__rocksdb_error(state, error, "reading a related row", err);
    if (!value) return true;
    buf_push(out, value, len);
    rocksdb_free(value);
    *found = true;
    return true;
}

static uint64_t key_of(const char *bytes)
{
    uint64_t key = 0;
    for (int i = 0; i < 8; i++)
        key = key << 8 | (uint8_t)bytes[PREFIX + i];
    return key;
}

bool state_related_each(struct state *state, int32_t partition, uint8_t table,
                        bool (*visit)(void *context, uint64_t key, struct str value), void *context,
                        struct err *err)
{
    char prefix[KEY], *error = NULL;
    bool more = true;
    if (!state->family[FAMILY_RELATED]) return true;
    (void)row_key(partition, table, 0, prefix);
    rocksdb_iterator_t *it =
        rocksdb_create_iterator_cf(state->db, state->read, state->family[FAMILY_RELATED]);
    rocksdb_iter_seek(it, prefix, PREFIX);
    for (; more && rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        struct str key, value;
        key.ptr = rocksdb_iter_key(it, &key.len);
        value.ptr = rocksdb_iter_value(it, &value.len);
        if (key.len != KEY || memcmp(key.ptr, prefix, PREFIX) != 0) break;
        more = visit(context, key_of(key.ptr), value);
    }
    rocksdb_iter_get_error(it, &error);
    rocksdb_iter_destroy(it);
    if (error) return state__rocksdb_error(state, error, "reading related rows", err);
    return true;
}

bool state_related_damaged(struct state *state, int32_t partition, uint8_t table, uint64_t key,
                           const char *why, struct err *err)
{
    char bytes[KEY];
    return state__corrupt(state, "related", schemas_id_hash(row_key(partition, table, key, bytes)),
                          why, err);
}
