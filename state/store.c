/* The store: one RocksDB under <folder>/db, opened, checked (I5, I6), synced and closed; positions. */
#include "state/internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/mem.h"

enum {
    READONLY_TRIES = 5, /* the owner may remove a file between our listing and opening */
    READONLY_BYTES = 32 * 1024 * 1024, /* for RocksDB in a read-only store */
    TOPIC_MAX = 249,                   /* Kafka's bound on a topic's name */
    PATH_BYTES_MAX = 4096,
};

static const char identity_key[] = "identity";

/* ---- errors ---- */

bool state__write_error(struct state *state, char *error, const char *doing, struct err *err)
{
    state__room_written(&state->room, error);
    return state__rocksdb_error(state, error, doing, err);
}

bool state__rocksdb_error(struct state *state, char *error, const char *doing, struct err *err)
{
    bool is_damaged = strncmp(error, "Corruption", 10) == 0;
    if (state__room_is_full(error))
        (void)err_set(err, ERR_RETRY,
                      "state store %s: %s: the disk is full; make space, freshet goes on by itself",
                      state->folder, doing);
    else if (is_damaged)
        (void)err_fatal(
            err, ERR_EXIT_STORE,
            "state store %s is damaged: %s: %.200s; move the folder away and start again "
            "to rebuild it from the source topics",
            state->folder, doing, error);
    else
        (void)err_fatal(err, ERR_EXIT_DISK, "state store %s: %s: %.240s", state->folder, doing,
                        error);
    rocksdb_free(error);
    if (is_damaged) state__quarantine(state, err);
    return false;
}

bool state__corrupt(struct state *state, const char *table, uint64_t hash, const char *why,
                    struct err *err)
{
    (void)err_fatal(err, ERR_EXIT_STORE,
                    "state store %s is damaged: %s row %016llx: %s; move the folder away and start "
                    "again to rebuild it from the source topics",
                    state->folder, table, (unsigned long long)hash, why);
    state__quarantine(state, err);
    return false;
}

/* Why RocksDB did not open, in words that say what to do. */
static bool open_error(const struct state *state, char *error, struct err *err)
{
    if (strstr(error, "LOCK") && !state__room_is_full(error)) {
        (void)err_fatal(
            err, ERR_EXIT_STORE,
            "another process owns state store %s: stop it, or set state.dir to a folder "
            "of this process alone (%.160s)",
            state->folder, error);
    } else if (strstr(error, "Column families not opened")) {
        (void)err_fatal(
            err, ERR_EXIT_STORE,
            "state store %s has tables of a newer freshet (%.160s): run that one, or set "
            "state.dir to another folder",
            state->folder, error);
    } else if (state->readonly && strstr(error, "does not exist")) {
        (void)err_fatal(err, ERR_EXIT_STORE, "no state store in %s (%.160s): check state.dir",
                        state->folder, error);
    } else if (state__room_is_full(error)) {
        (void)err_fatal(err, ERR_EXIT_DISK,
                        "state store %s: no space to open it: make space and start again",
                        state->folder);
    } else if (strncmp(error, "IO error", 8) == 0 && !strstr(error, "No such file")) {
        (void)err_fatal(err, ERR_EXIT_DISK, "state store %s: open: %.300s", state->folder, error);
    } else {
        (void)err_fatal(
            err, ERR_EXIT_STORE,
            "state store %s does not open: %.200s; move the folder away and start again "
            "to rebuild it from the source topics",
            state->folder, error);
    }
    rocksdb_free(error);
    return false;
}

/* ---- folders ---- */

bool state__make_folders(const char *folder, struct err *err)
{
    char path[PATH_BYTES_MAX];
    size_t len = strlen(folder);
    if (len == 0 || len >= sizeof path)
        return err_fatal(err, ERR_EXIT_USAGE, "state.dir \"%.100s\" is empty or too long", folder);
    memcpy(path, folder, len + 1);
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != '\0') continue;
        char kept = path[i];
        path[i] = '\0';
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            return err_fatal(err, errno == ENOSPC ? ERR_EXIT_DISK : ERR_EXIT_STORE,
                             "state store %s cannot be made: %s: %s; set state.dir to a folder "
                             "that this user can write",
                             folder, path, strerror(errno));
        path[i] = kept;
    }
    return true;
}

static bool db_path(const struct state *state, char *path, struct err *err)
{
    int n = snprintf(path, PATH_BYTES_MAX, "%s/db", state->folder);
    if (n > 0 && n < PATH_BYTES_MAX) return true;
    return err_fatal(err, ERR_EXIT_USAGE, "state.dir is too long");
}

/* ---- open and close ---- */

/* Families of a store that is read as it is: an older one has no place for what came later. */
static int families_there(const struct state *state, const char *path)
{
    char *error = NULL;
    size_t n = 0;
    int there = FAMILY_SESSIONS;
    char **names =
        rocksdb_list_column_families(state->family_options[FAMILY_META], path, &n, &error);
    for (int family = FAMILY_SESSIONS; family < FAMILY_COUNT && there == family; family++)
        for (size_t i = 0; i < n; i++)
            if (strcmp(names[i], state__family_names[family]) == 0) there = family + 1;
    if (names) rocksdb_list_column_families_destroy(names, n);
    if (!error) return there;
    rocksdb_free(error);
    return FAMILY_COUNT; /* opening says what is wrong */
}

static bool open_database(struct state *state, struct err *err)
{
    char path[PATH_BYTES_MAX], *error = NULL;
    if (!db_path(state, path, err)) return false;
    const rocksdb_options_t *const *families =
        (const rocksdb_options_t *const *)state->family_options;
    int n = state->readonly ? families_there(state, path) : FAMILY_COUNT;
    for (int i = 0; i < (state->readonly ? READONLY_TRIES : 1); i++) {
        if (error) rocksdb_free(error);
        error = NULL;
        if (state->readonly)
            state->db = rocksdb_open_for_read_only_column_families(
                state->family_options[FAMILY_META], path, n, state__family_names, families,
                state->family, 0, &error);
        else
            state->db =
                rocksdb_open_column_families(state->family_options[FAMILY_META], path, FAMILY_COUNT,
                                             state__family_names, families, state->family, &error);
        if (!error) return true;
        state->db = NULL;
    }
    return open_error(state, error, err);
}

/* Whether nothing was ever written but, perhaps, nothing: a store that died between its making and its identity. */
static bool is_empty(struct state *state)
{
    bool empty = true;
    for (int i = FAMILY_POSITIONS; i < FAMILY_COUNT && empty; i++) {
        rocksdb_iterator_t *it =
            rocksdb_create_iterator_cf(state->db, state->read, state->family[i]);
        rocksdb_iter_seek_to_first(it);
        empty = !rocksdb_iter_valid(it);
        rocksdb_iter_destroy(it);
    }
    return empty;
}

static bool identity_write(struct state *state, const struct state_identity *identity,
                           struct err *err)
{
    struct buf value;
    char *error = NULL;
    buf_init(&value, 65536);
    state__identity_encode(identity, state->formats.newest, &value);
    rocksdb_writeoptions_t *sync = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(sync, 1);
    rocksdb_put_cf(state->db, sync, state->family[FAMILY_META], identity_key,
                   sizeof identity_key - 1, (const char *)value.data, value.len, &error);
    rocksdb_writeoptions_destroy(sync);
    buf_fini(&value);
    if (!error) return true;
    (void)state__rocksdb_error(state, error, "writing its identity", err);
    if (err->class == ERR_RETRY) {
        err->class = ERR_FATAL;
        err->exit_code = ERR_EXIT_DISK;
    }
    return false;
}

/* The stored bytes, freed by rocksdb_free; NULL: there are none. */
static bool identity_get(struct state *state, struct str *bytes, struct err *err)
{
    char *error = NULL;
    bytes->ptr = rocksdb_get_cf(state->db, state->read, state->family[FAMILY_META], identity_key,
                                sizeof identity_key - 1, &bytes->len, &error);
    if (!bytes->ptr) bytes->len = 0;
    return !error || state__rocksdb_error(state, error, "reading its identity", err);
}

static void identity_free(struct str bytes)
{
    union {
        const char *in;
        void *out;
    } ptr = {.in = bytes.ptr};
    if (bytes.ptr) rocksdb_free(ptr.out);
}

bool state__identity_read(struct state *state, struct state_backup *backup, struct err *err)
{
    struct str bytes;
    if (!identity_get(state, &bytes, err)) return false;
    bool ok = state__identity_decode(state, bytes, backup, err);
    identity_free(bytes);
    return ok;
}

bool state_belongs_to(struct state *state, const struct state_identity *identity, struct err *err)
{
    struct str bytes;
    uint16_t format;
    if (!identity_get(state, &bytes, err)) return false;
    bool ok = state__identity_check(state, bytes, identity, &format, err);
    identity_free(bytes);
    return ok;
}

/* From here on the store is of this program's format: one synced write before any value of it. */
static bool format_raise(struct state *state, const struct state_identity *identity, uint16_t from,
                         struct err *err)
{
    if (from == state->formats.newest) return true;
    if (!identity_write(state, identity, err)) return false;
    log_info("state", "the store is of a newer format now; an older freshet refuses it",
             "folder=\"%s\" from=%u to=%u", state->folder, from, state->formats.newest);
    return true;
}

/* identity NULL: only whether this program reads the store's format. */
static bool identity_check(struct state *state, const struct state_identity *identity,
                           struct err *err)
{
    struct str bytes;
    if (!identity_get(state, &bytes, err)) return false;
    if (!bytes.ptr && identity && is_empty(state)) return identity_write(state, identity, err);
    uint16_t format = state->formats.newest;
    bool ok = identity ? state__identity_check(state, bytes, identity, &format, err)
                       : state__identity_readable(state, bytes, err);
    identity_free(bytes);
    return ok && (!identity || format_raise(state, identity, format, err));
}

static const struct state__formats formats_now = {STATE_FORMAT_OLDEST, STATE_FORMAT};

static struct state *state_new(const char *folder, size_t rocksdb_bytes,
                               struct state__formats formats, bool readonly)
{
    struct state *state = mem_zalloc(sizeof *state);
    state->formats = formats;
    state->folder = mem_strdup(folder);
    state->room.what = "state store";
    state->room.folder = state->folder;
    state->room.memory = rocksdb_bytes / 8 * 3;
    state->readonly = readonly;
    state__setup_init(state, rocksdb_bytes);
    mutex_init(&state->lock);
    buf_init(&state->purgable, SIZE_MAX);
    return state;
}

static void take_identity(struct state *state, const struct state_identity *identity)
{
    state->n_topics = identity->n_topics + identity->n_internal;
    state->n_partitions = identity->n_partitions;
    state->topics = mem_zalloc(sizeof *state->topics * (size_t)state->n_topics);
    for (int i = 0; i < identity->n_topics; i++)
        state->topics[i] = mem_strdup(identity->topics[i]);
    for (int i = 0; i < identity->n_internal; i++)
        state->topics[identity->n_topics + i] = mem_strdup(identity->internal[i]);
    struct buf bytes;
    buf_init(&bytes, 65536);
    state__identity_encode(identity, 0, &bytes);
    state->belongs = schemas_id_hash((struct str){(const char *)bytes.data, bytes.len});
    buf_fini(&bytes);
}

bool state__open_as(struct state **out, const char *folder, const struct state_identity *identity,
                    const struct state_options *options, struct state__formats formats,
                    struct err *err)
{
    assert(options->window_max > 0 && options->shards > 0 && options->state_floats >= 0);
    assert(options->popularity_half_life_ms > 0 && options->popularity_max_items > 1);
    if (identity->n_topics < 1 || identity->n_topics > USER_TOPICS_MAX)
        return err_fatal(err, ERR_EXIT_USAGE,
                         "events.topics names %d topics; 1 to %d can be joined", identity->n_topics,
                         USER_TOPICS_MAX);
    if (!state__make_folders(folder, err) || !state__check_folder_sound(folder, err) ||
        !state__highwater_check_manifest(folder, err))
        return false;
    struct state *state = state_new(folder, options->rocksdb_bytes, formats, false);
    state->options = *options;
    take_identity(state, identity);
    if (!state__room_begin(&state->room, err) || !open_database(state, err) ||
        !identity_check(state, identity, err) || !state__purge_open(state, err)) {
        state_close(state);
        return false;
    }
    (void)state__highwater_check(state);
    state->ready = true;
    *out = state;
    return true;
}

bool state_open(struct state **out, const char *folder, const struct state_identity *identity,
                const struct state_options *options, struct err *err)
{
    return state__open_as(out, folder, identity, options, formats_now, err);
}

bool state__open_readonly_as(struct state **out, const char *folder, struct state__formats formats,
                             struct err *err)
{
    struct state *state = state_new(folder, READONLY_BYTES, formats, true);
    struct state_backup owner = {0};
    if (!open_database(state, err) || !identity_check(state, NULL, err) ||
        !state__identity_read(state, &owner, err)) {
        state_close(state);
        return false;
    }
    state->n_partitions = owner.n_partitions;
    *out = state;
    return true;
}

bool state_open_readonly(struct state **out, const char *folder, struct err *err)
{
    return state__open_readonly_as(out, folder, formats_now, err);
}

bool state_sync(struct state *state, struct err *err)
{
    char *error = NULL;
    if (!state__check_sound(state, err) || !state__room_check_log(&state->room, err)) return false;
    rocksdb_flush_wal(state->db, 1, &error);
    if (error) return state__rocksdb_error(state, error, "syncing its log", err);
    (void)state__highwater_save(state);
    return true;
}

void state_close(struct state *state)
{
    if (!state) return;
    if (state->ready && !flag_is_raised(&state->damaged)) {
        struct err err = ERR_INIT;
        if (!state_sync(state, &err)) log_err(LOG_WARN, "state", &err);
    }
    for (int i = 0; i < FAMILY_COUNT; i++)
        if (state->db && state->family[i]) rocksdb_column_family_handle_destroy(state->family[i]);
    if (state->db) rocksdb_close(state->db);
    state__setup_fini(state);
    for (int i = 0; i < state->n_topics; i++)
        mem_free(state->topics[i]);
    mem_free(state->topics);
    buf_fini(&state->purgable);
    mutex_fini(&state->lock);
    mem_free(state->folder);
    mem_free(state);
}

/* ---- positions ---- */

bool state_position(struct state *state, int topic, int32_t partition, int64_t *next,
                    struct err *err)
{
    char key[4 + TOPIC_MAX], *error = NULL;
    assert(topic >= 0 && topic < state->n_topics);
    size_t key_len = state__position_key(partition, str_of(state->topics[topic]), key, sizeof key),
           len = 0;
    char *value = rocksdb_get_cf(state->db, state->read, state->family[FAMILY_POSITIONS], key,
                                 key_len, &len, &error);
    if (error) return state__rocksdb_error(state, error, "reading a position", err);
    *next = -1;
    if (!value) return true;
    bool ok = state__position_decode((struct str){value, len}, next);
    rocksdb_free(value);
    if (ok) return true;
    return state__corrupt(state, "position", schemas_id_hash((struct str){key, key_len}),
                          "the bytes are no position", err);
}
