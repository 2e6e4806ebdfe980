/* A partition's rows as records: from epochs and from the store; markers; the log's place. */
#include "state/image.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "state/internal.h"

enum {
    TABLE_FIRST = 0x10, /* tables of the keys: families of rows, in this order */
    MARKER_VERSION = 1,
    MARKER_BYTES_MAX = 1 << 16,
    LOG_VERSION = 1,
    LOG_RESTORING = 1,
    LOG_SIZE = 26,
};

static const enum state__family tables[] = {FAMILY_USERS, FAMILY_POPULARITY, FAMILY_SESSIONS,
                                            FAMILY_RELATED, FAMILY_GUARDS};

enum { TABLES = sizeof tables / sizeof tables[0] };

/* ---- keys ---- */

/* -1: not in the log. */
static int table_of(enum state__family family)
{
    for (int i = 0; i < TABLES; i++)
        if (tables[i] == family) return i;
    return -1;
}

enum state_record state_record_kind(struct str key)
{
    if (str_equal(key, STATE_MARKER_KEY)) return STATE_RECORD_MARKER;
    return str_equal(key, STATE_RESET_KEY) ? STATE_RECORD_RESET : STATE_RECORD_ROW;
}

bool state__image_key(struct str key, int32_t partition, enum state__family *family,
                      struct state__stored *stored)
{
    if (key.len < 1 || key.len - 1 + 4 > sizeof stored->bytes) return false;
    int table = (uint8_t)key.ptr[0] - TABLE_FIRST;
    if (table < 0 || table >= TABLES) return false;
    *family = tables[table];
    stored->len = state__user_key(partition, (struct str){key.ptr + 1, key.len - 1}, stored->bytes);
    return true;
}

/* A stored key as a record's, in room of the caller. */
static struct str record_key(int table, struct str stored, char *room)
{
    room[0] = (char)(TABLE_FIRST + table);
    memcpy(room + 1, stored.ptr + 4, stored.len - 4);
    return (struct str){room, stored.len - 3};
}

/* ---- from epochs ---- */

bool state_epoch_changes(const struct state_epoch *epoch,
                         bool (*visit)(void *context, const struct state_change *change),
                         void *context)
{
    char room[STATE_KEY_MAX];
    const char *data = rocksdb_writebatch_data(epoch->batch, &(size_t){0});
    for (size_t i = 0; i < epoch->n_rows; i++) {
        const struct epoch_row *row = &epoch->rows[i];
        int table = table_of((enum state__family)row->family);
        if (table < 0) continue;
        struct str value, key = state__row_place(data, row, &value);
        const struct state_change change = {
            .partition = row->partition, .key = record_key(table, key, room), .value = value};
        if (!visit(context, &change)) return false;
    }
    return true;
}

/* ---- from the store ---- */

/* Rows of one table; *more false: visit has had enough. */
static bool table_each(struct state *state, int table, int32_t partition, bool *more,
                       bool (*visit)(void *context, const struct state_change *change),
                       void *context, struct err *err)
{
    char prefix[4], room[STATE_KEY_MAX], *error = NULL;
    (void)state__user_key(partition, (struct str){NULL, 0}, prefix);
    rocksdb_iterator_t *it =
        rocksdb_create_iterator_cf(state->db, state->read, state->family[tables[table]]);
    rocksdb_iter_seek(it, prefix, sizeof prefix);
    for (; *more && rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        struct str key, value;
        key.ptr = rocksdb_iter_key(it, &key.len);
        value.ptr = rocksdb_iter_value(it, &value.len);
        if (key.len < 4 || key.len > STATE_KEY_MAX || memcmp(key.ptr, prefix, 4) != 0) break;
        const struct state_change change = {
            .partition = partition, .key = record_key(table, key, room), .value = value};
        *more = visit(context, &change);
    }
    rocksdb_iter_get_error(it, &error);
    rocksdb_iter_destroy(it);
    return !error || state__rocksdb_error(state, error, "reading a partition", err);
}

bool state_image_each(struct state *state, int32_t partition,
                      bool (*visit)(void *context, const struct state_change *change),
                      void *context, struct err *err)
{
    bool ok = true, more = true;
    for (int table = 0; ok && more && table < TABLES; table++)
        if (state->family[tables[table]])
            ok = table_each(state, table, partition, &more, visit, context, err);
    return ok;
}

bool state_image_get(struct state *state, int32_t partition, struct str key, struct buf *out,
                     bool *found, struct err *err)
{
    struct state__stored stored;
    enum state__family family;
    char *error = NULL;
    size_t len = 0;
    *found = false;
    if (!state__image_key(key, partition, &family, &stored)) return true;
    char *value = rocksdb_get_cf(state->db, state->read, state->family[family], stored.bytes,
                                 stored.len, &len, &error);
    if (error) return state__rocksdb_error(state, error, "reading a row", err);
    if (!value) return true;
    buf_push(out, value, len);
    rocksdb_free(value);
    *found = true;
    return true;
}

/* ---- markers ---- */

int state_topics(const struct state *state)
{
    return state->n_topics;
}

void state_marker_encode(const struct state *state, const int64_t *next, int64_t wall_ms,
                         struct buf *out)
{
    uint16_t n = 0;
    for (int i = 0; i < state->n_topics; i++)
        n = (uint16_t)(n + (next[i] >= 0));
    buf_push_byte(out, MARKER_VERSION);
    buf_push_u64(out, state->belongs);
    buf_push_u64(out, (uint64_t)wall_ms);
    buf_push_u16(out, n);
    for (int i = 0; i < state->n_topics; i++) {
        struct str topic = str_of(state->topics[i]);
        if (next[i] < 0) continue;
        buf_push_u64(out, (uint64_t)next[i]);
        buf_push_u16(out, (uint16_t)topic.len);
        buf_push_str(out, topic);
    }
}

static void marker_topic(const struct state *state, struct str topic, int64_t offset, int64_t *next)
{
    for (int i = 0; i < state->n_topics; i++)
        if (str_equal(str_of(state->topics[i]), topic)) next[i] = offset;
}

static const char *marker_read(const struct state *state, struct str value, int64_t *next,
                               uint64_t *belongs)
{
    struct cursor c = {.ptr = (const uint8_t *)value.ptr, .left = value.len};
    for (int i = 0; i < state->n_topics; i++)
        next[i] = -1;
    if (value.len > MARKER_BYTES_MAX) return "it is too long";
    if (cursor_u8(&c) != MARKER_VERSION) return "its version is unknown";
    *belongs = cursor_u64(&c);
    (void)cursor_u64(&c);
    uint16_t n = cursor_u16(&c);
    for (uint16_t i = 0; i < n && !c.failed; i++) {
        int64_t offset = (int64_t)cursor_u64(&c);
        uint16_t len = cursor_u16(&c);
        const char *topic = (const char *)cursor_bytes(&c, len);
        if (offset < 0) return "a position is negative";
        if (!c.failed) marker_topic(state, (struct str){topic, len}, offset, next);
    }
    return c.failed || c.left > 0 ? "it has another length" : NULL;
}

bool state_marker_decode(const struct state *state, struct str value, int64_t *next,
                         struct err *err)
{
    uint64_t belongs = 0;
    const char *why = marker_read(state, value, next, &belongs);
    if (why) return err_fatal(err, ERR_EXIT_STORE, "a marker of the changelog is damaged: %s", why);
    if (belongs == state->belongs) return true;
    return err_fatal(err, ERR_EXIT_STORE,
                     "the changelog is of another cluster, other events topics or another number "
                     "of partitions: delete it and `freshet topics create`, or take another "
                     "application.id");
}

/* ---- the log's place ---- */

static struct str log_key(int32_t partition, char room[16])
{
    memcpy(room, "changelog", 9);
    (void)state__user_key(partition, (struct str){NULL, 0}, room + 9);
    return (struct str){room, 13};
}

/* A time of its own: the row above is of the epochs, whoever else wrote it could put an older one back. */
static struct str touch_key(int32_t partition, char room[16])
{
    struct str key = log_key(partition, room);
    room[key.len] = 't';
    return (struct str){room, key.len + 1};
}

int64_t state_log_sum(const struct state *state, const int64_t *next)
{
    int64_t sum = 0;
    for (int topic = 0; topic < state->n_topics; topic++)
        sum += next[topic] > 0 ? next[topic] : 0;
    return sum;
}

bool state_positions_get(struct state *state, int32_t partition, int64_t *next, struct err *err)
{
    for (int topic = 0; topic < state->n_topics; topic++)
        if (!state_position(state, topic, partition, &next[topic], err)) return false;
    return true;
}

void state__log_encode(const struct state_log *log, struct buf *out)
{
    buf_push_byte(out, LOG_VERSION);
    buf_push_byte(out, log->is_restoring ? LOG_RESTORING : 0);
    buf_push_u64(out, (uint64_t)log->next);
    buf_push_u64(out, (uint64_t)log->wall_ms);
    buf_push_u64(out, (uint64_t)log->sum);
}

bool state__log_decode(struct str value, struct state_log *log)
{
    struct cursor c = {.ptr = (const uint8_t *)value.ptr, .left = value.len};
    uint8_t version = cursor_u8(&c), flags = cursor_u8(&c);
    log->next = (int64_t)cursor_u64(&c);
    log->wall_ms = (int64_t)cursor_u64(&c);
    log->sum = (int64_t)cursor_u64(&c);
    log->is_restoring = flags == LOG_RESTORING;
    return value.len == LOG_SIZE && version == LOG_VERSION && flags <= LOG_RESTORING &&
           log->next >= -1;
}

/* value NULL: there is none. */
static bool meta_get(struct state *state, struct str key, char **value, size_t *len,
                     struct err *err)
{
    char *error = NULL;
    *value = rocksdb_get_cf(state->db, state->read, state->family[FAMILY_META], key.ptr, key.len,
                            len, &error);
    return !error || state__rocksdb_error(state, error, "reading its place in the log", err);
}

bool state_log_get(struct state *state, int32_t partition, struct state_log *log, struct err *err)
{
    char room[16], *value;
    size_t len = 0;
    struct str key = log_key(partition, room);
    *log = (struct state_log){.next = -1};
    if (!meta_get(state, key, &value, &len, err)) return false;
    if (!value) return true;
    bool ok = state__log_decode((struct str){value, len}, log);
    rocksdb_free(value);
    if (!ok)
        return state__corrupt(state, "changelog", schemas_id_hash(key),
                              "the bytes are no place in a log", err);
    if (!meta_get(state, touch_key(partition, room), &value, &len, err)) return false;
    if (!value) return true;
    int64_t touched_ms;
    ok = state__position_decode((struct str){value, len}, &touched_ms);
    rocksdb_free(value);
    if (ok && touched_ms > log->wall_ms) log->wall_ms = touched_ms;
    return true;
}

bool state_log_touch(struct state *state, int32_t partition, int64_t wall_ms, struct err *err)
{
    char room[16];
    struct buf value;
    struct str key = touch_key(partition, room);
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    buf_init(&value, LOG_SIZE);
    state__position_encode(wall_ms, &value);
    rocksdb_writebatch_put_cf(batch, state->family[FAMILY_META], key.ptr, key.len,
                              (const char *)value.data, value.len);
    bool ok = state__batch_write(state, batch, WRITE_LOGGED, err);
    buf_fini(&value);
    rocksdb_writebatch_destroy(batch);
    return ok;
}

bool state_log_put(struct state *state, int32_t partition, const struct state_log *log, bool sync,
                   struct err *err)
{
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    state__log_add(state, batch, partition, log);
    bool ok = state__batch_write(state, batch, sync ? WRITE_SYNCED : WRITE_LOGGED, err);
    rocksdb_writebatch_destroy(batch);
    return ok;
}

void state__log_add(struct state *state, rocksdb_writebatch_t *batch, int32_t partition,
                    const struct state_log *log)
{
    char room[16];
    struct buf value;
    struct str key = log_key(partition, room);
    buf_init(&value, LOG_SIZE);
    state__log_encode(log, &value);
    rocksdb_writebatch_put_cf(batch, state->family[FAMILY_META], key.ptr, key.len,
                              (const char *)value.data, value.len);
    buf_fini(&value);
}

void state_epoch_log_put(struct state_shard *shard, struct state_epoch *epoch, int32_t partition,
                         const struct state_log *log)
{
    char room[16];
    size_t before = epoch->size;
    state__epoch_begin(epoch, FAMILY_META, partition, log_key(partition, room));
    state__log_encode(log, &epoch->bytes);
    state__epoch_end(epoch);
    shard->sealed_bytes += epoch->size - before;
}
