/* Records of a log put back into the store: in steps, each whole, or in bulk under a mark. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/mem.h"
#include "state/image.h"
#include "state/internal.h"

enum {
    BULK_BYTES = 4 << 20, /* rows in bulk that wait to be sorted and written together */
    ROWS_BYTES_MAX = 64 << 20,
    VALUE_MAX =
        8
        << 20, /* far over any row: a user of 10,000 interactions has 170 KB and its encoder state */
    KEYS_MAX = 256 << 20,
};

/* A row in bulk that waits. */
struct waiting {
    uint64_t prefix; /* of the key behind the partition, big-endian: most comparisons end here */
    const char *key; /* while they are sorted */
    uint32_t at;     /* in rows: the stored key, then the value */
    uint32_t n;      /* place in the order they came */
    uint32_t value_len;
    uint16_t key_len;
    uint8_t family;
    bool is_gone;
};

struct state_image {
    struct state *state;
    int32_t partition;
    bool is_bulk;
    rocksdb_writebatch_t *batch;
    size_t bytes;       /* rows since the last commit */
    struct buf rows;    /* in bulk: bytes of those that wait */
    struct buf waiting; /* in bulk: struct waiting of each */
    struct buf keys;    /* in steps: keys since the last commit, each behind its length (2) */
    struct user user;   /* scratch, with no room for a window: a value is checked by its shape */
    uint64_t items[STATE_SESSION_ITEMS_MAX];
};

/* ---- writing ---- */

bool state__batch_write(struct state *state, rocksdb_writebatch_t *batch, enum state__write how,
                        struct err *err)
{
    char *error = NULL;
    size_t size = 0;
    (void)rocksdb_writebatch_data(batch, &size);
    if (!state__check_sound(state, err) || !state__room_check(&state->room, size, err))
        return false;
    rocksdb_writeoptions_t *options = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(options, how == WRITE_SYNCED);
    rocksdb_writeoptions_disable_WAL(options, how == WRITE_UNLOGGED);
    rocksdb_write(state->db, options, batch, &error);
    rocksdb_writeoptions_destroy(options);
    if (error) return state__write_error(state, error, "writing what the log says", err);
    state__room_written(&state->room, NULL);
    return true;
}

static bool families_flush(struct state *state, struct err *err)
{
    char *error = NULL;
    if (!state__room_check_flush(&state->room, err)) return false;
    rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(options, 1);
    for (int i = 0; !error && i < FAMILY_COUNT; i++)
        rocksdb_flush_cf(state->db, options, state->family[i], &error);
    rocksdb_flushoptions_destroy(options);
    return !error || state__rocksdb_error(state, error, "writing tables", err);
}

/* While rows pour in, RocksDB would compact the same tables again and again, and slow the writer down for it. */
static void compactions_set(struct state *state, bool are_on)
{
    const char *const names[] = {"disable_auto_compactions"};
    const char *const values[] = {are_on ? "false" : "true"};
    for (int i = FAMILY_USERS; i < FAMILY_COUNT; i++) {
        char *error = NULL;
        rocksdb_set_options_cf(state->db, state->family[i], 1, names, values, &error);
        if (error) rocksdb_free(error); /* slower, no more */
    }
}

/* ---- life ---- */

struct state_image *state_image_new(struct state *state, int32_t partition)
{
    struct state_image *image = mem_zalloc(sizeof *image);
    image->state = state;
    image->partition = partition;
    image->batch = rocksdb_writebatch_create();
    buf_init(&image->keys, KEYS_MAX);
    buf_init(&image->rows, ROWS_BYTES_MAX);
    buf_init(&image->waiting, ROWS_BYTES_MAX);
    return image;
}

static void bulk_end(struct state_image *image)
{
    if (image->is_bulk && sync_int_add(&image->state->bulks, -1) == 0)
        compactions_set(image->state, true);
    image->is_bulk = false;
}

void state_image_free(struct state_image *image)
{
    if (!image) return;
    bulk_end(image);
    rocksdb_writebatch_destroy(image->batch);
    buf_fini(&image->keys);
    buf_fini(&image->rows);
    buf_fini(&image->waiting);
    mem_free(image);
}

static void batch_clear(struct state_image *image)
{
    rocksdb_writebatch_clear(image->batch);
    buf_reset(&image->rows);
    buf_reset(&image->waiting);
}

size_t state_image_bytes(const struct state_image *image)
{
    return image->bytes;
}

void state_image_drop(struct state_image *image, void (*visit)(void *context, struct str key),
                      void *context)
{
    struct cursor c = {.ptr = image->keys.data, .left = image->keys.len};
    while (c.left > 0) {
        uint16_t len = cursor_u16(&c);
        visit(context, (struct str){(const char *)cursor_bytes(&c, len), len});
    }
    buf_reset(&image->keys);
    batch_clear(image);
    image->bytes = 0;
}

/* ---- taking away ---- */

static bool has_rows(struct state *state, enum state__family family, int32_t partition)
{
    char prefix[4];
    size_t len = 0;
    (void)state__user_key(partition, (struct str){NULL, 0}, prefix);
    rocksdb_iterator_t *it =
        rocksdb_create_iterator_cf(state->db, state->read, state->family[family]);
    rocksdb_iter_seek(it, prefix, sizeof prefix);
    bool has = rocksdb_iter_valid(it);
    const char *key = has ? rocksdb_iter_key(it, &len) : NULL;
    has = has && len >= sizeof prefix && memcmp(key, prefix, sizeof prefix) == 0;
    rocksdb_iter_destroy(it);
    return has;
}

bool state_image_wipe(struct state *state, int32_t partition, struct err *err)
{
    char first[4], behind[4];
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    (void)state__user_key(partition, (struct str){NULL, 0}, first);
    (void)state__user_key(partition + 1, (struct str){NULL, 0}, behind);
    for (int family = FAMILY_POSITIONS; family < FAMILY_COUNT; family++)
        if (has_rows(state, (enum state__family)family, partition))
            rocksdb_writebatch_delete_range_cf(batch, state->family[family], first, sizeof first,
                                               behind, sizeof behind);
    bool ok = state__batch_write(state, batch, WRITE_SYNCED, err);
    rocksdb_writebatch_destroy(batch);
    return ok;
}

/* ---- rows ---- */

/* NULL, or why the bytes are no row of the table. */
static const char *row_check(struct state_image *image, enum state__family family,
                             struct str stored, struct str value)
{
    struct state__row row;
    if (value.len > VALUE_MAX) return "the value is too long";
    switch (family) {
    case FAMILY_USERS:
        return state__user_decode(value, 0, 0, &image->user);
    case FAMILY_POPULARITY:
        return state__row_decode(stored, value, &row);
    case FAMILY_SESSIONS:
        return state__session_check(stored, value, image->items);
    case FAMILY_RELATED:
        return value.len > STATE_RELATED_MAX || stored.len != STATE__RELATED_KEY
                   ? "a related row has another length"
                   : NULL;
    case FAMILY_GUARDS:
        return state__guard_check(stored, value);
    default:
        return NULL;
    }
}

static void row_put(struct state_image *image, enum state__family family, struct str key,
                    struct str value)
{
    rocksdb_column_family_handle_t *handle = image->state->family[family];
    if (value.ptr)
        rocksdb_writebatch_put_cf(image->batch, handle, key.ptr, key.len, value.ptr, value.len);
    else
        rocksdb_writebatch_delete_cf(image->batch, handle, key.ptr, key.len);
}

/* ---- in bulk ---- */

/* Rows come in the order of time; a memtable takes them faster by key, each beside the one before (bench/restore.py). */
static int waiting_compare(const void *left, const void *right)
{
    const struct waiting *a = left, *b = right;
    if (a->family != b->family) return a->family < b->family ? -1 : 1;
    if (a->prefix != b->prefix) return a->prefix < b->prefix ? -1 : 1;
    size_t len = a->key_len < b->key_len ? a->key_len : b->key_len;
    int order = memcmp(a->key, b->key, len);
    if (order) return order;
    if (a->key_len != b->key_len) return a->key_len < b->key_len ? -1 : 1;
    return a->n < b->n ? -1 : 1;
}

static bool is_same_key(const struct waiting *a, const struct waiting *b)
{
    return a->family == b->family && a->key_len == b->key_len &&
           memcmp(a->key, b->key, a->key_len) == 0;
}

/* Of rows with one key the last counts. */
static void bulk_sort(struct state_image *image)
{
    union {
        uint8_t *bytes;
        struct waiting *list;
    } waiting = {.bytes = image->waiting.data};
    size_t n = image->waiting.len / sizeof *waiting.list;
    for (size_t i = 0; i < n; i++)
        waiting.list[i].key = (const char *)image->rows.data + waiting.list[i].at;
    if (n > 0) qsort(waiting.list, n, sizeof *waiting.list, waiting_compare);
    for (size_t i = 0; i < n; i++) {
        const struct waiting *row = &waiting.list[i];
        if (i + 1 < n && is_same_key(row, row + 1)) continue;
        struct str key = {row->key, row->key_len},
                   value = {row->key + row->key_len, row->value_len};
        row_put(image, (enum state__family)row->family, key,
                row->is_gone ? (struct str){0} : value);
    }
}

static bool bulk_write(struct state_image *image, struct err *err)
{
    fault_point("restore_rows");
    rocksdb_writebatch_clear(image->batch);
    bulk_sort(image);
    if (!state__batch_write(image->state, image->batch, WRITE_UNLOGGED, err)) return false;
    batch_clear(image);
    return true;
}

static bool bulk_add(struct state_image *image, enum state__family family, struct str key,
                     struct str value, struct err *err)
{
    uint8_t first[sizeof(uint64_t)] = {0};
    size_t behind = key.len - 4 < sizeof first ? key.len - 4 : sizeof first;
    struct waiting row = {.at = (uint32_t)image->rows.len,
                          .n = (uint32_t)(image->waiting.len / sizeof row),
                          .value_len = (uint32_t)value.len,
                          .key_len = (uint16_t)key.len,
                          .family = (uint8_t)family,
                          .is_gone = !value.ptr};
    memcpy(first, key.ptr + 4, behind);
    for (size_t i = 0; i < sizeof first; i++)
        row.prefix = row.prefix << 8 | first[i];
    buf_push_str(&image->rows, key);
    if (value.ptr) buf_push_str(&image->rows, value);
    buf_push(&image->waiting, &row, sizeof row);
    if (image->rows.failed || image->waiting.failed)
        return err_fatal(err, ERR_EXIT_DISK, "rows wait too long for the disk");
    return image->rows.len < BULK_BYTES || bulk_write(image, err);
}

bool state_image_row(struct state_image *image, struct str key, struct str value, struct err *err)
{
    struct state__stored stored;
    enum state__family family;
    bool is_key = state__image_key(key, image->partition, &family, &stored);
    struct str at = {stored.bytes, stored.len};
    const char *why = !is_key     ? "its key names no table"
                      : value.ptr ? row_check(image, family, at, value)
                                  : NULL;
    if (why) return err_fatal(err, ERR_EXIT_STORE, "a record of the changelog is no row: %s", why);
    image->bytes += key.len + value.len;
    if (image->is_bulk) return bulk_add(image, family, at, value, err);
    row_put(image, family, at, value);
    buf_push_u16(&image->keys, (uint16_t)key.len);
    buf_push_str(&image->keys, key);
    return !image->keys.failed ||
           err_fatal(err, ERR_EXIT_STORE, "the changelog has no marker for too many records");
}

/* ---- bulk and commit ---- */

bool state_image_bulk(struct state_image *image, int64_t from, int64_t wall_ms, struct err *err)
{
    struct state *state = image->state;
    const struct state_log mark = {.next = from, .wall_ms = wall_ms, .is_restoring = true};
    if (!state_log_put(state, image->partition, &mark, true, err)) return false;
    fault_point("restore_marked");
    if (from < 0 && !state_image_wipe(state, image->partition, err)) return false;
    if (!image->is_bulk && sync_int_add(&state->bulks, 1) == 1) compactions_set(state, false);
    image->is_bulk = true;
    buf_reset(&image->keys);
    batch_clear(image);
    image->bytes = 0;
    return true;
}

/* Positions and the log's place, which end the mark. */
static void places_add(struct state_image *image, const int64_t *next, const struct state_log *log)
{
    struct state *state = image->state;
    struct buf value;
    buf_init(&value, 64);
    for (int i = 0; i < state->n_topics; i++) {
        char key[STATE_KEY_MAX];
        size_t len =
            state__position_key(image->partition, str_of(state->topics[i]), key, sizeof key);
        buf_reset(&value);
        state__position_encode(next[i], &value);
        if (next[i] >= 0)
            rocksdb_writebatch_put_cf(image->batch, state->family[FAMILY_POSITIONS], key, len,
                                      (const char *)value.data, value.len);
        else
            rocksdb_writebatch_delete_cf(image->batch, state->family[FAMILY_POSITIONS], key, len);
    }
    struct state_log place = *log;
    place.sum = state_log_sum(state, next);
    state__log_add(state, image->batch, image->partition, &place);
    buf_fini(&value);
}

bool state_image_commit(struct state_image *image, const int64_t *next, const struct state_log *log,
                        struct err *err)
{
    struct state *state = image->state;
    if (image->is_bulk) {
        if (image->waiting.len > 0 && !bulk_write(image, err)) return false;
        if (!families_flush(state, err)) return false;
        fault_point("restore_flushed");
    }
    places_add(image, next, log);
    if (!state__batch_write(state, image->batch, image->is_bulk ? WRITE_SYNCED : WRITE_LOGGED, err))
        return false;
    bulk_end(image);
    buf_reset(&image->keys);
    batch_clear(image);
    image->bytes = 0;
    return true;
}
