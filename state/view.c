/* The view: families of raw records, and positions, in one small RocksDB. Reads come from the serving thread while the view's
 * own thread writes; RocksDB orders the two.
 *
 * Its options are simpler than the store's: rows are small and read by key, so half of the memory is block cache and the rest
 * memtables, most of it for lists, which change all the time. */
#include "state/view.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "state/internal.h"

enum {
    FAMILY_META_AT = VIEW_FAMILIES, /* "default": identity and positions */
    FAMILIES = VIEW_FAMILIES + 1,
    FORMAT = 1,
    HEAD = 1 + 4 + 8, /* version, partition, timestamp in front of each value */
    VERSION = 1,
    IDENTITY_MAX = 4096,
    PATH_BYTES_MAX = 4096,
    KEY_MAX = 300,
};

static const char identity_key[] = "identity";
static const char purge_key[] = "purge"; /* deleted lists may still stand in the files */
static const char *const family_names[FAMILIES] = {"lists", "related", "trending", "items",
                                                   "default"};

struct state_view {
    char *folder;
    struct state__room room;
    char *topics[VIEW_FAMILIES]; /* "" none */
    rocksdb_t *db;
    rocksdb_options_t *options[FAMILIES];
    rocksdb_column_family_handle_t *families[FAMILIES];
    rocksdb_block_based_table_options_t *table;
    rocksdb_cache_t *cache;
    rocksdb_readoptions_t *read;
    rocksdb_writeoptions_t *write;
    rocksdb_writebatch_t *batch; /* view's thread, as the next ones */
    struct buf value;
    struct buf gone; /* keys of lists that were deleted, each behind its length (2 bytes) */
    bool purge_all;  /* the process ended before a purge */
};

/* ---- errors ---- */

/* Frees error. Returns false. */
static bool failed(const struct state_view *view, char *error, const char *doing, struct err *err)
{
    if (state__room_is_full(error))
        (void)err_set(err, ERR_RETRY, "view %s: %s: the disk is full; make room", view->folder,
                      doing);
    else if (strstr(error, "LOCK"))
        (void)err_fatal(err, ERR_EXIT_STORE,
                        "another process owns the view %s: stop it, or set another state.dir",
                        view->folder);
    else
        (void)err_fatal(err, strncmp(error, "IO error", 8) == 0 ? ERR_EXIT_DISK : ERR_EXIT_STORE,
                        "view %s: %s: %.200s; the folder may be moved away, it is filled from the "
                        "topics again",
                        view->folder, doing, error);
    rocksdb_free(error);
    return false;
}

/* ---- opening ---- */

static void options_make(struct state_view *view, size_t bytes)
{
    enum { FILES = 128, BITS = 10 };
    view->cache = rocksdb_cache_create_lru(bytes / 2);
    view->table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(view->table, view->cache);
    rocksdb_block_based_options_set_filter_policy(view->table,
                                                  rocksdb_filterpolicy_create_bloom_full(BITS));
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(view->table, 1);
    for (int f = 0; f < FAMILIES; f++) {
        rocksdb_options_t *options = rocksdb_options_create();
        rocksdb_options_set_block_based_table_factory(options, view->table);
        rocksdb_options_set_compression(options, rocksdb_lz4_compression);
        rocksdb_options_set_write_buffer_size(options, f == VIEW_LISTS ? bytes / 8 : bytes / 32);
        view->options[f] = options;
    }
    rocksdb_options_t *database = view->options[FAMILY_META_AT];
    rocksdb_options_set_create_if_missing(database, 1);
    rocksdb_options_set_create_missing_column_families(database, 1);
    rocksdb_options_set_max_open_files(database, FILES);
    rocksdb_options_set_max_manifest_file_size(database, 1); /* as state/setup.c has it, and why */
    state__room_set(database);
    rocksdb_options_set_stats_dump_period_sec(database, 0);
    rocksdb_options_set_stats_persist_period_sec(database, 0);
    view->read = rocksdb_readoptions_create();
    view->write = rocksdb_writeoptions_create();
}

static bool database_open(struct state_view *view, struct err *err)
{
    char path[PATH_BYTES_MAX], *error = NULL;
    int n = snprintf(path, sizeof path, "%s/db", view->folder);
    if (n < 0 || (size_t)n >= sizeof path)
        return err_fatal(err, ERR_EXIT_USAGE, "state.dir is too long");
    const rocksdb_options_t *const *options = (const rocksdb_options_t *const *)view->options;
    view->db = rocksdb_open_column_families(view->options[FAMILY_META_AT], path, FAMILIES,
                                            family_names, options, view->families, &error);
    return !error || failed(view, error, "open", err);
}

static void identity_make(const struct state_view *view, const char *cluster_id, struct buf *out)
{
    buf_push_text(out, "frsv");
    buf_push_u16(out, FORMAT);
    buf_push_u16(out, (uint16_t)strlen(cluster_id));
    buf_push_text(out, cluster_id);
    for (int f = 0; f < VIEW_FAMILIES; f++) {
        buf_push_u16(out, (uint16_t)strlen(view->topics[f]));
        buf_push_text(out, view->topics[f]);
    }
}

/* Equal bytes, or none yet. */
static bool identity_check(struct state_view *view, const char *cluster_id, struct err *err)
{
    struct buf wanted;
    char *error = NULL;
    size_t len = 0;
    bool ok = true;
    buf_init(&wanted, IDENTITY_MAX);
    identity_make(view, cluster_id, &wanted);
    char *stored = rocksdb_get_cf(view->db, view->read, view->families[FAMILY_META_AT],
                                  identity_key, sizeof identity_key - 1, &len, &error);
    if (!error && !stored)
        rocksdb_put_cf(view->db, view->write, view->families[FAMILY_META_AT], identity_key,
                       sizeof identity_key - 1, (const char *)wanted.data, wanted.len, &error);
    if (error)
        ok = failed(view, error, "its identity", err);
    else if (stored && (len != wanted.len || memcmp(stored, wanted.data, len) != 0))
        ok = err_fatal(err, ERR_EXIT_STORE,
                       "view %s is of another cluster, of other topics or of another format than "
                       "the configuration's (cluster %s): set them back, or move the folder away: "
                       "it is filled from the topics again",
                       view->folder, cluster_id);
    if (stored) rocksdb_free(stored);
    buf_fini(&wanted);
    return ok;
}

static bool purge_open(struct state_view *view, struct err *err)
{
    char *error = NULL;
    size_t len;
    char *value = rocksdb_get_cf(view->db, view->read, view->families[FAMILY_META_AT], purge_key,
                                 sizeof purge_key - 1, &len, &error);
    if (error) return failed(view, error, "looking for erasures", err);
    view->purge_all = value != NULL;
    if (value) rocksdb_free(value);
    return true;
}

bool state_view_open(struct state_view **out, const char *folder,
                     const struct state_view_options *options, struct err *err)
{
    if (!state__make_folders(folder, err)) return false;
    struct state_view *view = mem_zalloc(sizeof *view);
    view->folder = mem_strdup(folder);
    for (int f = 0; f < VIEW_FAMILIES; f++)
        view->topics[f] = mem_strdup(options->topics[f] ? options->topics[f] : "");
    options_make(view, options->rocksdb_bytes);
    view->room.what = "view";
    view->room.folder = view->folder;
    view->room.memory = options->rocksdb_bytes / 2;
    view->batch = rocksdb_writebatch_create();
    buf_init(&view->value, SIZE_MAX);
    buf_init(&view->gone, SIZE_MAX);
    if (state__room_begin(&view->room, err) && database_open(view, err) &&
        identity_check(view, options->cluster_id, err) && purge_open(view, err)) {
        *out = view;
        return true;
    }
    if (err->class == ERR_RETRY) err->class = ERR_FATAL, err->exit_code = ERR_EXIT_DISK;
    state_view_close(view);
    return false;
}

void state_view_close(struct state_view *view)
{
    if (!view) return;
    for (int f = 0; f < FAMILIES; f++)
        if (view->families[f]) rocksdb_column_family_handle_destroy(view->families[f]);
    if (view->db) rocksdb_close(view->db);
    rocksdb_writebatch_destroy(view->batch);
    rocksdb_writeoptions_destroy(view->write);
    rocksdb_readoptions_destroy(view->read);
    for (int f = 0; f < FAMILIES; f++)
        rocksdb_options_destroy(view->options[f]);
    rocksdb_block_based_options_destroy(view->table);
    rocksdb_cache_destroy(view->cache);
    for (int f = 0; f < VIEW_FAMILIES; f++)
        mem_free(view->topics[f]);
    buf_fini(&view->value);
    buf_fini(&view->gone);
    mem_free(view->folder);
    mem_free(view);
}

/* ---- writing; view's thread ---- */

static size_t position_key(const struct state_view *view, enum state_view_family family,
                           int32_t partition, char key[KEY_MAX])
{
    key[0] = 'p';
    return 1 + state__position_key(partition, str_of(view->topics[family]), key + 1, KEY_MAX - 1);
}

bool state_view_position(struct state_view *view, enum state_view_family family, int32_t partition,
                         int64_t *next, struct err *err)
{
    char key[KEY_MAX], *error = NULL;
    size_t len = 0, key_len = position_key(view, family, partition, key);
    char *value = rocksdb_get_cf(view->db, view->read, view->families[FAMILY_META_AT], key, key_len,
                                 &len, &error);
    if (error) return failed(view, error, "reading a position", err);
    *next = -1;
    if (!value) return true;
    bool ok = state__position_decode((struct str){value, len}, next);
    rocksdb_free(value);
    return ok || err_fatal(err, ERR_EXIT_STORE,
                           "view %s is damaged: a position does not decode; move the folder away",
                           view->folder);
}

/* A list that is there, or was put a moment ago, and goes: whose it was is an id of a user. */
static void gone_note(struct state_view *view, const struct state_view_record *record)
{
    if (record->family != VIEW_LISTS || record->key.len > UINT16_MAX) return;
    rocksdb_writebatch_put_cf(view->batch, view->families[FAMILY_META_AT], purge_key,
                              sizeof purge_key - 1, "", 0);
    buf_push_u16(&view->gone, (uint16_t)record->key.len);
    buf_push_str(&view->gone, record->key);
}

void state_view_put(struct state_view *view, const struct state_view_record *record)
{
    char key[KEY_MAX];
    rocksdb_column_family_handle_t *family = view->families[record->family];
    struct buf *value = &view->value;
    buf_reset(value);
    if (record->value.ptr) {
        buf_push_byte(value, VERSION);
        buf_push_u32(value, (uint32_t)record->partition);
        buf_push_u64(value, (uint64_t)record->timestamp_ms);
        buf_push_str(value, record->value);
        rocksdb_writebatch_put_cf(view->batch, family, record->key.ptr, record->key.len,
                                  (const char *)value->data, value->len);
    } else {
        gone_note(view, record);
        rocksdb_writebatch_delete_cf(view->batch, family, record->key.ptr, record->key.len);
    }
    size_t key_len = position_key(view, record->family, record->partition, key);
    buf_reset(value);
    state__position_encode(record->offset + 1, value);
    rocksdb_writebatch_put_cf(view->batch, view->families[FAMILY_META_AT], key, key_len,
                              (const char *)value->data, value->len);
}

bool state__view_row_decode(struct str stored, int32_t *partition, struct state_view_row *row)
{
    struct cursor c = {.ptr = (const uint8_t *)stored.ptr, .left = stored.len};
    uint8_t version = cursor_u8(&c);
    *partition = (int32_t)cursor_u32(&c);
    row->timestamp_ms = (int64_t)cursor_u64(&c);
    row->value = (struct str){(const char *)c.ptr, c.left};
    return !c.failed && version == VERSION;
}

static bool damaged(const struct state_view *view, enum state_view_family family, struct err *err)
{
    return err_fatal(err, ERR_EXIT_STORE,
                     "view %s is damaged: a row of %s does not decode; move the folder away: it is "
                     "filled from the topics again",
                     view->folder, family_names[family]);
}

bool state_view_forget(struct state_view *view, enum state_view_family family, int32_t partition,
                       struct err *err)
{
    char key[KEY_MAX], *error = NULL;
    if (!state_view_write(view, err)) return false; /* rows that wait are of the old log, too */
    rocksdb_iterator_t *it =
        rocksdb_create_iterator_cf(view->db, view->read, view->families[family]);
    for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        struct state_view_row row;
        int32_t from;
        size_t len, n;
        const char *stored = rocksdb_iter_value(it, &len);
        const char *name = rocksdb_iter_key(it, &n);
        bool is_row = state__view_row_decode((struct str){stored, len}, &from, &row);
        if (is_row && from != partition) continue;
        rocksdb_writebatch_delete_cf(view->batch, view->families[family], name, n);
    }
    rocksdb_iter_get_error(it, &error);
    rocksdb_iter_destroy(it);
    size_t key_len = position_key(view, family, partition, key);
    rocksdb_writebatch_delete_cf(view->batch, view->families[FAMILY_META_AT], key, key_len);
    return !error || failed(view, error, "forgetting a partition", err);
}

bool state_view_write(struct state_view *view, struct err *err)
{
    char *error = NULL;
    size_t size;
    if (rocksdb_writebatch_count(view->batch) == 0) return true;
    (void)rocksdb_writebatch_data(view->batch, &size);
    if (!state__room_check(&view->room, size, err)) return false;
    rocksdb_write(view->db, view->write, view->batch, &error);
    state__room_written(&view->room, error);
    if (error) return failed(view, error, "writing", err);
    rocksdb_writebatch_clear(view->batch);
    return true;
}

/* Too many keys, or not known which: all lists. */
static void gone_compact(struct state_view *view)
{
    enum { RANGES_BYTES = 4096 };
    rocksdb_column_family_handle_t *lists = view->families[VIEW_LISTS];
    struct cursor c = {.ptr = view->gone.data, .left = view->gone.len};
    if (view->purge_all || view->gone.len > RANGES_BYTES) {
        state__files_compact(view->db, lists, (struct str){0}, (struct str){0});
        return;
    }
    while (c.left > 0) {
        size_t len = cursor_u16(&c);
        struct str key = {(const char *)cursor_bytes(&c, len), len};
        if (key.ptr) state__files_compact(view->db, lists, key, key);
    }
}

static bool flush(struct state_view *view, int family, struct err *err)
{
    char *error = NULL;
    if (!state__room_check_flush(&view->room, err)) return false;
    state__files_flush(view->db, view->families[family], &error);
    return !error || failed(view, error, "purging", err);
}

/* A purge is due, or no more. */
static bool purge_note(struct state_view *view, bool is_due, struct err *err)
{
    char *error = NULL;
    rocksdb_column_family_handle_t *meta = view->families[FAMILY_META_AT];
    if (!state__room_check(&view->room, 0, err)) return false;
    if (is_due)
        rocksdb_put_cf(view->db, view->write, meta, purge_key, sizeof purge_key - 1, "", 0, &error);
    else
        rocksdb_delete_cf(view->db, view->write, meta, purge_key, sizeof purge_key - 1, &error);
    state__room_written(&view->room, error);
    return !error || failed(view, error, "noting a purge", err);
}

bool state_view_purge(struct state_view *view, struct err *err)
{
    if (view->gone.len == 0 && !view->purge_all) return true;
    /* After a write that found no room another one has to go well first; where no records come, this one. */
    bool ok = !flag_is_raised(&view->room.is_log_broken) || purge_note(view, true, err);
    for (int f = 0; f < FAMILIES && ok; f++)
        ok = flush(view, f, err);
    if (ok) gone_compact(view);
    if (!ok || !purge_note(view, false, err) || !flush(view, FAMILY_META_AT, err)) return false;
    buf_reset(&view->gone);
    view->purge_all = false;
    return true;
}

/* ---- reading; any thread ---- */

bool state_view_get(struct state_view *view, enum state_view_family family, struct str key,
                    bool *found, struct state_view_row *row, struct err *err)
{
    char *error = NULL;
    int32_t partition;
    struct str stored = {0};
    rocksdb_pinnableslice_t *pin = rocksdb_get_pinned_cf(
        view->db, view->read, view->families[family], key.ptr, key.len, &error);
    *found = false;
    if (error) return failed(view, error, "reading a row", err);
    if (!pin) return true;
    stored.ptr = rocksdb_pinnableslice_value(pin, &stored.len);
    if (!state__view_row_decode(stored, &partition, row)) {
        rocksdb_pinnableslice_destroy(pin);
        return damaged(view, family, err);
    }
    row->pin = pin;
    *found = true;
    return true;
}

void state_view_release(struct state_view_row *row)
{
    rocksdb_pinnableslice_destroy(row->pin);
    row->pin = NULL;
}

bool state_view_each(struct state_view *view, enum state_view_family family,
                     bool (*visit)(void *context, struct str key, struct str value,
                                   int64_t timestamp_ms),
                     void *context, struct err *err)
{
    char *error = NULL;
    bool ok = true, more = true;
    rocksdb_iterator_t *it =
        rocksdb_create_iterator_cf(view->db, view->read, view->families[family]);
    for (rocksdb_iter_seek_to_first(it); more && ok && rocksdb_iter_valid(it);
         rocksdb_iter_next(it)) {
        struct state_view_row row;
        struct str key, stored;
        int32_t partition;
        key.ptr = rocksdb_iter_key(it, &key.len);
        stored.ptr = rocksdb_iter_value(it, &stored.len);
        ok = state__view_row_decode(stored, &partition, &row) || damaged(view, family, err);
        more = ok && visit(context, key, row.value, row.timestamp_ms);
    }
    if (ok) rocksdb_iter_get_error(it, &error);
    rocksdb_iter_destroy(it);
    return ok && (!error || failed(view, error, "reading rows", err));
}
