/* Shards and commits. An epoch is a WriteBatch of rows (users, popularity, positions) as they were at seal, so that what
 * changes later cannot leak in; it is written as it is (I1).
 *
 *   user: clean -> dirty (state_user_dirty) -> sealed (seal: value copied) -> clean (write)
 *                    ^------- changed again: dirty and sealed at once -----'
 */
#include "state/internal.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/fault.h"
#include "base/mem.h"

/* Bounds that no row and no epoch reaches: the first far over the largest user, the second over the caller's own limit on
 * state_pending_bytes; a WriteBatch ends at 4 GiB. */
#define ROW_BYTES_MAX   ((size_t)256 << 20)
#define ROW_BYTES_FIRST ((size_t)64 << 10) /* most rows fit: no growth while events come */
#define EPOCH_BYTES_MAX ((size_t)2 << 30)

/* ---- shards ---- */

struct state_shard *state_shard_new(struct state *state, int number)
{
    struct state_shard *shard = mem_zalloc(sizeof *shard);
    shard->state = state;
    shard->number = number;
    shard->partitions = mem_zalloc((size_t)state->n_partitions * sizeof(struct pop_partition *));
    shard->guarded = mem_zalloc((size_t)state->n_partitions * sizeof *shard->guarded);
    for (int i = 0; i < EVENT_TYPE_COUNT; i++)
        if (state->options.popularity_weight[i] > 0)
            shard->log2_weight[i] = log2(state->options.popularity_weight[i]);
    buf_init(&shard->key, STATE_KEY_MAX);
    state__encoders_init(shard);
    state__cache_init(shard);
    return shard;
}

void state_shard_free(struct state_shard *shard)
{
    if (!shard) return;
    state__epochs_fini(shard);
    state__cache_fini(shard);
    state__encoders_fini(shard);
    for (int32_t p = 0; p < shard->state->n_partitions; p++)
        state__popularity_free(shard->partitions[p]);
    mem_free(shard->partitions);
    mem_free(shard->guarded);
    mem_free(shard->dirty);
    mem_free(shard->scratch);
    buf_fini(&shard->key);
    mem_free(shard);
}

bool state_partition_open(struct state_shard *shard, int32_t partition, struct err *err)
{
    assert(partition >= 0 && partition < shard->state->n_partitions);
    if (shard->partitions[partition]) return true;
    if (!state__guards_open(shard, partition, err)) return false;
    struct pop_partition *tables = mem_zalloc(sizeof *tables);
    if (!state__popularity_load(shard, partition, tables, err)) {
        state__popularity_free(tables);
        return false;
    }
    shard->partitions[partition] = tables;
    return true;
}

void state_partition_close(struct state_shard *shard, int32_t partition)
{
    if (!shard->partitions[partition]) return;
    state__epochs_drop(shard, partition);
    state__cache_drop(shard, partition);
    state__popularity_free(shard->partitions[partition]);
    shard->partitions[partition] = NULL;
}

/* ---- rows ---- */

void state__epoch_begin(struct state_epoch *epoch, enum state__family family, int32_t partition,
                        struct str key)
{
    epoch->rows =
        state__grow(epoch->rows, epoch->n_rows, &epoch->cap_rows, sizeof(struct epoch_row));
    epoch->rows[epoch->n_rows++] = (struct epoch_row){
        .key_len = (uint32_t)key.len, .partition = partition, .family = (uint8_t)family};
    buf_reset(&epoch->bytes);
    buf_push_str(&epoch->bytes, key);
}

/* Puts the row into the batch, from bytes that hold its key and, unless it is deleted, its value. */
static void row_add(struct state_epoch *epoch, struct epoch_row *row, const char *bytes)
{
    bool is_put = row->value_len != STATE_DELETE;
    rocksdb_column_family_handle_t *family = epoch->family[row->family];
    if (is_put)
        rocksdb_writebatch_put_cf(epoch->batch, family, bytes, row->key_len, bytes + row->key_len,
                                  row->value_len);
    else
        rocksdb_writebatch_delete_cf(epoch->batch, family, bytes, row->key_len);
    (void)rocksdb_writebatch_data(epoch->batch, &row->end);
    epoch->size += row->key_len + (is_put ? row->value_len : 0);
}

void state__epoch_end(struct state_epoch *epoch)
{
    struct epoch_row *row = epoch->rows + epoch->n_rows - 1;
    assert(!epoch->bytes.failed);
    row->value_len = (uint32_t)(epoch->bytes.len - row->key_len);
    row_add(epoch, row, (const char *)epoch->bytes.data);
}

void state__epoch_delete(struct state_epoch *epoch, enum state__family family, int32_t partition,
                         struct str key)
{
    state__epoch_begin(epoch, family, partition, key);
    struct epoch_row *row = epoch->rows + epoch->n_rows - 1;
    row->value_len = STATE_DELETE;
    row_add(epoch, row, (const char *)epoch->bytes.data);
}

/* ---- the life of an epoch ---- */

static struct state_epoch *epoch_take(struct state_shard *shard)
{
    struct state_epoch *epoch = shard->spare;
    if (!epoch) {
        epoch = mem_zalloc(sizeof *epoch);
        epoch->family = shard->state->family;
        epoch->batch = rocksdb_writebatch_create();
        buf_init(&epoch->bytes, ROW_BYTES_MAX);
        (void)buf_reserve(&epoch->bytes, ROW_BYTES_FIRST);
        buf_init(&epoch->erased, EPOCH_BYTES_MAX);
        return epoch;
    }
    shard->spare = epoch->next;
    epoch->next = NULL;
    rocksdb_writebatch_clear(epoch->batch);
    buf_reset(&epoch->erased);
    epoch->size = epoch->n_rows = epoch->n_users = 0;
    return epoch;
}

static void epoch_free(struct state_epoch *epoch)
{
    rocksdb_writebatch_destroy(epoch->batch);
    buf_fini(&epoch->bytes);
    buf_fini(&epoch->erased);
    mem_free(epoch->rows);
    mem_free(epoch->users);
    mem_free(epoch);
}

void state__epochs_fini(struct state_shard *shard)
{
    for (int list = 0; list < 2; list++)
        for (struct state_epoch *epoch = list ? shard->spare : shard->first, *next; epoch;
             epoch = next) {
            next = epoch->next;
            epoch_free(epoch);
        }
}

/* In a batch's bytes, as in RocksDB's log, a row that is deleted ends with its key, and one that is put with key, length of the value
 * (7 bits a byte) and value. */
struct str state__row_place(const char *data, const struct epoch_row *row, struct str *value)
{
    size_t value_len = row->value_len == STATE_DELETE ? 0 : row->value_len, length_bytes = 0;
    if (row->value_len != STATE_DELETE)
        for (size_t left = value_len; left || length_bytes == 0; left >>= 7)
            length_bytes++;
    const char *at = data + row->end - value_len;
    *value = (struct str){row->value_len == STATE_DELETE ? NULL : at, value_len};
    return (struct str){at - length_bytes - row->key_len, row->key_len};
}

/* Key and, behind it, value of the row, copied out of a batch's bytes. */
static const char *row_bytes(const char *data, const struct epoch_row *row, struct buf *out)
{
    struct str value, key = state__row_place(data, row, &value);
    buf_reset(out);
    buf_push_str(out, key);
    buf_push_str(out, value);
    return (const char *)out->data;
}

/* A batch cannot lose rows: the others are put into a new one. */
static void epoch_drop(struct state_epoch *epoch, int32_t partition)
{
    rocksdb_writebatch_t *before = epoch->batch;
    const char *data = rocksdb_writebatch_data(before, &(size_t){0});
    size_t n = epoch->n_rows;
    epoch->batch = rocksdb_writebatch_create();
    epoch->size = epoch->n_rows = 0;
    for (size_t i = 0; i < n; i++) {
        struct epoch_row row = epoch->rows[i];
        if (row.partition == partition) continue;
        row_add(epoch, &row, row_bytes(data, &row, &epoch->bytes));
        epoch->rows[epoch->n_rows++] = row;
    }
    rocksdb_writebatch_destroy(before);
}

void state__epochs_drop(struct state_shard *shard, int32_t partition)
{
    for (struct state_epoch *epoch = shard->first; epoch; epoch = epoch->next) {
        shard->sealed_bytes -= epoch->size;
        epoch_drop(epoch, partition);
        shard->sealed_bytes += epoch->size;
        for (size_t i = 0; i < epoch->n_users; i++)
            if (epoch->users[i] && epoch->users[i]->partition == partition) epoch->users[i] = NULL;
    }
}

static void seal_users(struct state_shard *shard, struct state_epoch *epoch)
{
    for (size_t i = 0; i < shard->n_dirty; i++) {
        struct slot *slot = shard->dirty[i];
        bool is_stored = slot->user.encoder && !shard->encoders.rebuild &&
                         slot->user.n_window >= shard->encoders.window_min;
        if (slot->user.is_guard_new) state__guard_seal(epoch, slot);
        if (slot->user.is_gone) {
            state__epoch_delete(epoch, FAMILY_USERS, slot->partition, state__slot_key(slot));
        } else {
            state__epoch_begin(epoch, FAMILY_USERS, slot->partition, state__slot_key(slot));
            state__user_encode(&slot->user, is_stored ? slot->floats : 0, &epoch->bytes);
            state__epoch_end(epoch);
        }
        slot->dirty = false;
        slot->sealed++;
        epoch->users =
            state__grow(epoch->users, epoch->n_users, &epoch->cap_users, sizeof(struct slot *));
        epoch->users[epoch->n_users++] = slot;
    }
    shard->n_dirty = 0;
}

static void seal_position(struct state_shard *shard, struct state_epoch *epoch,
                          const struct state_move *move)
{
    char key[STATE_KEY_MAX];
    struct str topic = str_of(shard->state->topics[move->topic]);
    size_t len = state__position_key(move->partition, topic, key, sizeof key);
    assert(move->next >= 0);
    state__epoch_begin(epoch, FAMILY_POSITIONS, move->partition, (struct str){key, len});
    state__position_encode(move->next, &epoch->bytes);
    state__epoch_end(epoch);
}

struct state_epoch *state_epoch_seal(struct state_shard *shard, const struct state_move *moves,
                                     int n_moves)
{
    struct state_epoch *epoch = epoch_take(shard);
    seal_users(shard, epoch);
    state__popularity_seal(shard, epoch);
    for (int i = 0; i < n_moves; i++)
        seal_position(shard, epoch, moves + i);
    assert(epoch->size < EPOCH_BYTES_MAX);
    *(shard->last ? &shard->last->next : &shard->first) = epoch;
    shard->last = epoch;
    shard->sealed_bytes += epoch->size;
    return epoch;
}

/* The oldest epoch is over: its users are clean, unless they were dropped. */
static void epoch_end(struct state_shard *shard, struct state_epoch *epoch)
{
    for (size_t i = 0; i < epoch->n_users; i++) {
        struct slot *slot = epoch->users[i];
        if (!slot) continue;
        slot->sealed--;
        state__cache_release(shard, slot);
    }
    shard->first = epoch->next;
    if (!shard->first) shard->last = NULL;
    shard->sealed_bytes -= epoch->size;
    epoch->next = shard->spare;
    shard->spare = epoch;
}

void state_epoch_forget(struct state_shard *shard, struct state_epoch *epoch)
{
    assert(epoch == shard->first && epoch->n_rows == 0);
    epoch_end(shard, epoch);
}

bool state_epoch_write(struct state_shard *shard, struct state_epoch *epoch, struct err *err)
{
    struct state *state = shard->state;
    char *error = NULL;
    assert(epoch == shard->first);
    if (!state__check_sound(state, err) || !state__room_check(&state->room, epoch->size, err))
        return false;
    fault_point("state.write.before");
    fault_point_within("in_write", 500);
    if (epoch->erased.len > 0)
        state__purge_write(state, epoch, &error);
    else
        rocksdb_write(state->db, state->write, epoch->batch, &error);
    fault_point("state.write.after");
    if (error) return state__write_error(state, error, "writing an epoch", err);
    state__room_written(&state->room, NULL);
    epoch_end(shard, epoch);
    return true;
}

size_t state_pending_bytes(const struct state_shard *shard)
{
    size_t floats = shard->encoders.rebuild ? 0 : shard->encoders.block_bytes;
    return shard->sealed_bytes + shard->n_dirty * (shard->cache.slot_bytes + floats);
}
