/* Bytes of erased users leave RocksDB's files. A deleted row stays in the log, in table files below its deletion, and as the first or
 * last key of a file in the manifest. So: every memtable is flushed, which ends the log; the range of each key is compacted down to
 * the last level; one more flush makes a manifest without the files that are gone.
 *
 * Between an epoch's write and its purge the process may end. The row `purge` of the identity's family, which is written with the epoch,
 * says so: then all of users and sessions are compacted, since who was erased is no longer known, on purpose. */
#include "state/internal.h"

#include <string.h>

enum { BOTTOMMOST_FORCE = 2 }; /* rocksdb::BottommostLevelCompaction::kForce */

static const char purge_key[] = "purge";

void state__purge_write(struct state *state, struct state_epoch *epoch, char **error)
{
    rocksdb_writebatch_put_cf(epoch->batch, state->family[FAMILY_META], purge_key,
                              sizeof purge_key - 1, "", 0);
    mutex_lock(&state->lock);
    rocksdb_write(state->db, state->write, epoch->batch, error);
    if (!*error) buf_push(&state->purgable, epoch->erased.data, epoch->erased.len);
    mutex_unlock(&state->lock);
}

bool state__purge_open(struct state *state, struct err *err)
{
    char *error = NULL;
    size_t len;
    char *value = rocksdb_get_cf(state->db, state->read, state->family[FAMILY_META], purge_key,
                                 sizeof purge_key - 1, &len, &error);
    if (error) return state__rocksdb_error(state, error, "looking for erasures", err);
    state->purge_all = value != NULL;
    if (value) rocksdb_free(value);
    return true;
}

/* ---- the work ---- */

void state__files_flush(rocksdb_t *db, rocksdb_column_family_handle_t *family, char **error)
{
    rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(options, 1);
    rocksdb_flush_cf(db, options, family, error);
    rocksdb_flushoptions_destroy(options);
}

void state__files_compact(rocksdb_t *db, rocksdb_column_family_handle_t *family, struct str from,
                          struct str to)
{
    rocksdb_compactoptions_t *options = rocksdb_compactoptions_create();
    rocksdb_compactoptions_set_bottommost_level_compaction(options, BOTTOMMOST_FORCE);
    rocksdb_compactoptions_set_exclusive_manual_compaction(options, 0);
    rocksdb_compact_range_cf_opt(db, family, options, from.ptr, from.len, to.ptr, to.len);
    rocksdb_compactoptions_destroy(options);
}

static bool flush(struct state *state, enum state__family family, struct err *err)
{
    char *error = NULL;
    if (!state__room_check_flush(&state->room, err)) return false;
    state__files_flush(state->db, state->family[family], &error);
    return !error || state__rocksdb_error(state, error, "flushing", err);
}

static void compact(struct state *state, enum state__family family, struct str from, struct str to)
{
    state__files_compact(state->db, state->family[family], from, to);
}

/* The user's row, and the rows of its sessions. */
static void user_compact(struct state *state, struct str stored)
{
    char from[12], to[12];
    uint64_t user = schemas_id_hash((struct str){stored.ptr + 4, stored.len - 4});
    compact(state, FAMILY_USERS, stored, stored);
    memcpy(from, stored.ptr, 4);
    memcpy(to, stored.ptr, 4);
    for (int i = 0; i < 8; i++) {
        from[4 + i] = (char)((user & SCHEMAS_SESSION_USER) >> 8 * (7 - i));
        to[4 + i] = (char)((user | ~SCHEMAS_SESSION_USER) >> 8 * (7 - i));
    }
    compact(state, FAMILY_SESSIONS, (struct str){from, sizeof from}, (struct str){to, sizeof to});
}

/* Returns how many. */
static int users_compact(struct state *state, const struct buf *keys)
{
    struct cursor c = {.ptr = keys->data, .left = keys->len};
    int n = 0;
    while (c.left > 0 && !c.failed) {
        size_t len = cursor_u16(&c);
        const uint8_t *key = cursor_bytes(&c, len);
        if (!key) break;
        user_compact(state, (struct str){(const char *)key, len});
        n++;
    }
    return n;
}

/* Nothing came meanwhile: the note goes. The flush that follows writes the manifest anew. */
static bool note_end(struct state *state, struct err *err)
{
    char *error = NULL;
    if (!state__room_check_flush(&state->room, err)) return false;
    mutex_lock(&state->lock); /* no epoch notes another one meanwhile */
    if (state->purgable.len == 0)
        rocksdb_delete_cf(state->db, state->write, state->family[FAMILY_META], purge_key,
                          sizeof purge_key - 1, &error);
    mutex_unlock(&state->lock);
    if (error) return state__write_error(state, error, "ending a purge", err);
    return flush(state, FAMILY_META, err);
}

/* After a write that found no room: in a shop that stands still no event's write would come to end that. */
static bool log_try(struct state *state, struct err *err)
{
    char *error = NULL;
    if (!flag_is_raised(&state->room.is_log_broken)) return true;
    if (!state__room_check(&state->room, 0, err)) return false;
    rocksdb_put_cf(state->db, state->write, state->family[FAMILY_META], purge_key,
                   sizeof purge_key - 1, "", 0, &error);
    if (error) return state__write_error(state, error, "noting a purge", err);
    state__room_written(&state->room, NULL);
    return true;
}

bool state_purge(struct state *state, int *n, struct err *err)
{
    struct buf keys;
    *n = 0;
    mutex_lock(&state->lock);
    keys = state->purgable;
    bool is_all = state->purge_all;
    buf_init(&state->purgable, SIZE_MAX);
    state->purge_all = false;
    mutex_unlock(&state->lock);
    if (keys.len == 0 && !is_all) {
        buf_fini(&keys);
        return true;
    }
    bool ok = log_try(state, err);
    for (int family = 0; ok && family < FAMILY_COUNT; family++)
        ok = flush(state, (enum state__family)family, err);
    if (ok && is_all) {
        compact(state, FAMILY_USERS, (struct str){0}, (struct str){0});
        compact(state, FAMILY_SESSIONS, (struct str){0}, (struct str){0});
    }
    if (ok) *n = users_compact(state, &keys);
    ok = ok && note_end(state, err);
    buf_fini(&keys);
    if (!ok) state->purge_all = true; /* again, and all of it */
    return ok;
}
