#ifndef STATE_INTERNAL_H
#define STATE_INTERNAL_H

#include <rocksdb/c.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/sync.h"
#include "state/room.h"
#include "state/state.h"

/* Shared inside state/ and with its tests. Chapters by the file that defines. */

enum state__family {
    FAMILY_META,       /* "default": the identity */
    FAMILY_POSITIONS,  /* A_p */
    FAMILY_USERS,      /* struct user */
    FAMILY_POPULARITY, /* decayed counts with item ids */
    FAMILY_SESSIONS,   /* of session neighbours */
    FAMILY_RELATED,    /* items that go together */
    FAMILY_GUARDS, /* users that were erased; the last three are not in stores from before them */
    FAMILY_COUNT,
};

enum {
    STATE_FORMAT = 1,        /* version of the whole store, in the identity: what is written */
    STATE_FORMAT_OLDEST = 1, /* and the oldest that is read */
    STATE_TENANTS_MAX = 64,  /* popularity tables of one partition */
    STATE_TOP_MAX = 256,     /* rows kept sorted in each popularity table */
    STATE_KEY_MAX = 4 + SCHEMAS_USER_KEY_MAX,
    STATE_KEY_INLINE = 60, /* bytes of a stored key kept in a slot; longer ones have a block */
};

/* ---- store.c ---- */

enum { STATE__PATH_MAX = 4096 };
/* Makes the folder and those above it, 0700. Errors: ERR_FATAL. */
MUST_USE bool state__make_folders(const char *folder, struct err *err);

/* ---- folder.c: files of a store and of its backups. Errors: ERR_FATAL exit 7 ---- */

/* folder/name; too long a path becomes "", which nothing opens. */
void state__path(char out[STATE__PATH_MAX], const char *folder, const char *name);
/* The process's lock on a file, which is made. false: *is_owned by another process, or errno says why. */
MUST_USE bool state__lock_file(struct state_lock **lock, const char *path, bool *is_owned);
/* A new file with the same bytes and time of its last change, synced. */
MUST_USE bool state__file_copy(const char *from, const char *to, struct err *err);
MUST_USE bool state__folder_sync(const char *folder, struct err *err);
/* The names in a folder, until visit returns false; then false, with no err of its own. */
MUST_USE bool state__folder_each(const char *folder, bool (*visit)(void *context, const char *name),
                                 void *context, struct err *err);
/* With the files in it; not there: nothing to do. */
MUST_USE bool state__folder_remove(const char *folder, struct err *err);

/* A new folder, 0700. Errors: ERR_FATAL exit 2, 7. */
MUST_USE bool state__folder_make(const char *path, struct err *err);

/* ---- backup.c: the manifest, for backups and snapshots ---- */

struct state__file {
    const char *name; /* in db/ */
    uint64_t size, hash;
};

/* RocksDB's text logs and the lock are no part of the database. */
bool state__file_is_data(const char *name);
/* XXH3-64 of a file's bytes; false: it cannot be read, errno says why. */
bool state__file_hash(const char *path, uint64_t *hash, uint64_t *size);
/* The file in db is the manifest's. Errors: ERR_FATAL exit 3. */
MUST_USE bool state__file_check(const char *db, const struct state__file *file, struct err *err);
/* A manifest: begin, owner and file in any order, end, which writes it into the folder, synced. owner and file fill backup, too. */
void state__backup_begin(struct buf *manifest);
MUST_USE bool state__backup_owner(struct buf *manifest, struct state *state, int64_t now_ms,
                                  struct state_backup *backup, struct err *err);
void state__backup_file(struct buf *manifest, struct state_backup *backup,
                        const struct state__file *file);
MUST_USE bool state__backup_end(struct buf *manifest, const char *folder, struct err *err);
/* Reads one; visit (may be NULL) is shown its files until it returns false, which is no error here. Errors: ERR_FATAL exit 2, 3. */
MUST_USE bool state__backup_read(const char *folder, struct state_backup *backup,
                                 bool (*visit)(void *context, const struct state__file *file),
                                 void *context, struct err *err);

/* The formats of a program. A store of an older one is raised to the newest when it is opened for writing, before anything else is
 * written: each value carries its own version, so nothing is converted, and a program of before refuses the store from then
 * on. Tests pass those of programs to come. */
struct state__formats {
    uint16_t oldest, newest;
};

struct state {
    char *folder;
    struct state__formats formats;
    struct state_options options;
    char **topics; /* (n_topics) source topics, then the internal ones */
    int n_topics;
    int n_partitions;
    bool readonly;
    struct flag damaged; /* something in it did not read: nothing is written any more */
    struct state__room room;
    bool
        ready; /* opened for writing, identity checked: closing may sync and write the high-water file */
    uint64_t belongs;      /* hash of what it belongs to, in markers of the changelog */
    struct sync_int bulks; /* partitions that are put back in bulk */
    rocksdb_t *db;
    rocksdb_column_family_handle_t *family[FAMILY_COUNT];
    rocksdb_options_t *family_options[FAMILY_COUNT];
    rocksdb_block_based_table_options_t *table;
    rocksdb_cache_t *cache;
    rocksdb_readoptions_t *read;
    rocksdb_writeoptions_t *write;
    struct mutex lock;   /* guards the next */
    struct buf purgable; /* stored keys as in state_epoch.erased, of epochs that are written */
    bool purge_all; /* which ones is not known any more: the process ended before their purge */
};

/* state_open and state_open_readonly of a program with these formats. */
MUST_USE bool state__open_as(struct state **state, const char *folder,
                             const struct state_identity *identity,
                             const struct state_options *options, struct state__formats formats,
                             struct err *err);
MUST_USE bool state__open_readonly_as(struct state **state, const char *folder,
                                      struct state__formats formats, struct err *err);
/* Makes the error of a RocksDB call: class by its text, `doing` says what failed. Frees error. Returns false. */
bool state__rocksdb_error(struct state *state, char *error, const char *doing, struct err *err);
/* The same of a write. */
bool state__write_error(struct state *state, char *error, const char *doing, struct err *err);
/* A stored value that does not decode: ERR_FATAL, exit 3. hash names the row without naming a user. Returns false. */
bool state__corrupt(struct state *state, const char *table, uint64_t hash, const char *why,
                    struct err *err);

/* ---- quarantine.c: a store that was found damaged is not written any more, by this process or a later one ---- */

/* err says what was found. A file in the folder keeps it, so that a start refuses until the folder is moved away. */
void state__quarantine(struct state *state, const struct err *err);
/* Errors: ERR_FATAL exit 3, it was found damaged by this process. Thread: any. */
MUST_USE bool state__check_sound(const struct state *state, struct err *err);
/* Errors: the same, by an earlier process. */
MUST_USE bool state__check_folder_sound(const char *folder, struct err *err);

/* ---- setup.c: how RocksDB is opened ---- */

/* Fills the options of the database and its column families; state__setup_fini frees them. */
void state__setup_init(struct state *state, size_t bytes);
void state__setup_fini(struct state *state);
extern const char *const state__family_names[FAMILY_COUNT];

/* ---- identity.c ---- */

void state__identity_encode(const struct state_identity *identity, uint16_t format,
                            struct buf *out);
/* Compares what the store holds with what the configuration says; format: the store's. Errors: ERR_FATAL exit 3, one line. */
MUST_USE bool state__identity_check(const struct state *state, struct str stored,
                                    const struct state_identity *identity, uint16_t *format,
                                    struct err *err);
/* What the store belongs to, into backup. Errors: ERR_FATAL exit 3. */
MUST_USE bool state__identity_decode(const struct state *state, struct str stored,
                                     struct state_backup *backup, struct err *err);
/* The same of an open store; in store.c. */
MUST_USE bool state__identity_read(struct state *state, struct state_backup *backup,
                                   struct err *err);
/* Errors: ERR_FATAL exit 3 not an identity, or a format that this program does not read. */
MUST_USE bool state__identity_readable(const struct state *state, struct str stored,
                                       struct err *err);

/* ---- manifest.c ---- */

enum { STATE__MANIFEST_MAX = 64 };
/* The name of the MANIFEST in use and how far its whole records go; false: it cannot be told. */
bool state__manifest_now(const char *folder, char name[STATE__MANIFEST_MAX], int64_t *bytes);
/* Errors: ERR_FATAL exit 3, whole records of the file end before so many bytes. Another file in use is none. */
MUST_USE bool state__manifest_check(const char *folder, const char *name, int64_t bytes,
                                    struct err *err);

/* ---- highwater.c: a copy of the positions beside the database ---- */

/* Writes <folder>/high-water. false: could not (logged there, never fatal). */
bool state__highwater_save(struct state *state);
/* What the file says of RocksDB's MANIFEST, before the database is opened. Errors: ERR_FATAL exit 3, it is damaged. */
MUST_USE bool state__highwater_check_manifest(const char *folder, struct err *err);
/* Compares the file with the database; logs an error for each position that went back. Returns how many did. */
int state__highwater_check(struct state *state);

/* ---- value.c: keys and values as bytes; docs/STATE.md has the tables ---- */

/* Stored key of a user: partition big-endian, then the user's key. out (STATE_KEY_MAX). Returns its length. */
size_t state__user_key(int32_t partition, struct str key, char *out);
size_t state__position_key(int32_t partition, struct str topic, char *out, size_t cap);

size_t state__user_size(const struct user *user, int state_floats);
void state__user_encode(const struct user *user, int state_floats, struct buf *out);
/* How many interactions and floats a value holds, from its head alone; false: too short or another version. */
bool state__user_shape(struct str value, uint32_t *n_window, uint32_t *n_encoder);
/* Fills user, whose window has room for window_max interactions and encoder, unless it is NULL, for state_floats. A longer
 * window loses its oldest; another number of floats, or no room, loses the encoder state (model_id 0). NULL, or why the
 * bytes are no user (static). */
const char *state__user_decode(struct str value, int window_max, int state_floats,
                               struct user *user);
/* What a user is before the first event; window and encoder pointers stay, and what the encoder points to. */
void state__user_clear(struct user *user);

void state__position_encode(int64_t next, struct buf *out);
bool state__position_decode(struct str value, int64_t *next);

/* ---- fold.c ---- */

/* Rules 3 to 5, 7 and 8, on a user alone. */
struct fold_result state__fold(const struct state_options *options, struct user *user,
                               const struct event *event, int topic, int64_t offset);

/* ---- popularity.c: tables in memory ---- */

struct pop_row {
    uint64_t key;   /* item key */
    double level;   /* L: log2 of the decayed count, at time 0 */
    uint64_t id_at; /* offset of the id's text in the table's ids */
    uint16_t id_len;
    int16_t top; /* place in the sorted top, -1 none */
    bool dirty;  /* changed since the last seal */
    bool stored; /* a sealed epoch has it: removing it must delete a row */
};

struct pop_top {
    double level;
    uint64_t key;
    uint32_t row;
};

struct pop_table {
    struct str tenant; /* owned */
    struct pop_row *rows;
    uint32_t n, cap;
    uint32_t max;
    struct map_u64 *index; /* item key to row */
    struct buf ids;
    struct pop_top top[STATE_TOP_MAX]; /* best first: exactly the best min(STATE_TOP_MAX, n) rows */
    int n_top;
    uint32_t *dirty; /* rows changed since the last seal */
    uint32_t n_dirty, cap_dirty;
    uint64_t *removed; /* keys of stored rows that were dropped since the last seal */
    uint32_t n_removed, cap_removed;
};

struct pop_partition {
    struct pop_table *tables[STATE_TENANTS_MAX];
    int n_tables;
};

struct pop_table *state__pop_new(struct str tenant, uint32_t max);
void state__pop_free(struct pop_table *table);
/* The row of the key, or NULL. Lives until the next add. */
struct pop_row *state__pop_find(const struct pop_table *table, uint64_t key);
struct str state__pop_id(const struct pop_table *table, const struct pop_row *row);
/* level <- log2(2^level + 2^amount); a new row gets level = amount, after a full table lost its worse half. */
void state__pop_add(struct pop_table *table, uint64_t key, struct str id, double amount);
/* A row read from the store; the top is sorted by state__pop_loaded when all are in. false: key met twice or full. */
bool state__pop_load(struct pop_table *table, uint64_t key, struct str id, double level);
void state__pop_loaded(struct pop_table *table);
/* The n best rows that skip does not refuse. */
int state__pop_best(const struct pop_table *table, int n, uint64_t *keys,
                    bool (*skip)(void *context, uint64_t key), void *context,
                    struct pop_top *scratch);
size_t state__pop_bytes(const struct pop_table *table);

/* ---- ranking.c: popularity tables of a shard and their rows in the store ---- */

MUST_USE bool state__popularity_load(struct state_shard *shard, int32_t partition,
                                     struct pop_partition *tables, struct err *err);
void state__popularity_seal(struct state_shard *shard, struct state_epoch *epoch);
void state__popularity_free(struct pop_partition *tables);

/* A stored row of popularity. */
struct state__row {
    struct str tenant;
    uint64_t key;
    double level;
    struct str id;
};
/* NULL, or why the bytes are no row. The texts point into the bytes. */
const char *state__row_decode(struct str key, struct str value, struct state__row *row);

/* ---- sessions.c ---- */

/* NULL, or why the bytes are none. items (STATE_SESSION_ITEMS_MAX) is filled; session->items points to it. */
const char *state__session_decode(struct str key, struct str value, uint64_t *items,
                                  struct state_session *session);
const char *state__sessions_head_decode(struct str value, struct state_sessions_head *head);

/* ---- users in memory ---- */

/* A user in memory: one block of fixed size, [slot][window (window_max)]. The encoder state is a block of its own. */
struct slot {
    struct user user;   /* first: state_user_dirty gets it back from the pointer */
    struct slot *chain; /* next in the bucket */
    struct slot *newer; /* LRU neighbours; only clean users are in the list */
    struct slot *older;
    uint64_t hash;
    uint64_t used; /* generation of the last state_user_get */
    int32_t partition;
    uint16_t key_len; /* of the stored key */
    bool dirty;       /* changed since the last seal: in shard->dirty */
    int sealed;       /* epochs that hold it and are not written */
    /* of the encoder state, when user.encoder is not NULL */
    int floats;            /* what it has room for */
    bool is_warm;          /* asked for since the hand came by */
    uint32_t holder;       /* place in encoders.holders */
    uint64_t encoder_used; /* generation of the last state_user_encoder */
    char *
        long_key; /* (STATE_KEY_MAX) once the slot met a key over STATE_KEY_INLINE; kept with the slot */
    char key[STATE_KEY_INLINE];
};

struct cache {
    struct slot **buckets; /* (bucket_mask + 1) */
    size_t bucket_mask;
    struct slot *newest, *oldest; /* of the clean users */
    struct slot *free;            /* linked by chain */
    size_t n_slots;               /* users and free ones together */
    size_t n_free;
    size_t slot_bytes;   /* one block */
    size_t extra_bytes;  /* long keys */
    size_t limit;        /* bytes */
    uint64_t generation; /* rises at each trim */
};

/* Encoder states in memory: blocks of one size each, for as many users as hold one. */
struct encoders {
    int floats;   /* S of the model in use; blocks of another size are those of a model before it */
    bool rebuild; /* states are not stored */
    int window_min; /* and those of windows with fewer interactions not either */
    void *free;     /* blocks of this S, each beginning with a pointer to the next */
    size_t block_bytes;
    size_t bytes;          /* of all blocks, held and free */
    size_t limit;          /* of bytes, when states are not stored */
    struct slot **holders; /* (n_holders) users with a block */
    size_t n_holders, cap_holders;
    size_t hand;         /* of the clock, in holders */
    uint64_t generation; /* rises at each state_encoders_trim */
};

struct state_shard {
    struct state *state;
    int number;
    struct cache cache;
    struct encoders encoders;
    struct slot **dirty; /* (n_dirty), in the order of the first change */
    size_t n_dirty, cap_dirty;
    struct pop_partition **partitions; /* (state->n_partitions), NULL when not ours */
    bool *guarded;                     /* (state->n_partitions) the partition may have guards */
    double log2_weight[EVENT_TYPE_COUNT];
    struct pop_top *scratch; /* (n_scratch) of state_popularity_top */
    int n_scratch;
    struct state_epoch *first, *last; /* sealed, oldest first */
    struct state_epoch *spare;        /* written ones, kept for their buffers */
    size_t sealed_bytes;
    struct buf key; /* scratch of seal */
};

/* ---- encoders.c ---- */

void state__encoders_init(struct state_shard *shard);
void state__encoders_fini(struct state_shard *shard); /* after the cache */
/* The user has no encoder state any more; its block is kept for another, or freed. */
void state__encoder_drop(struct state_shard *shard, struct slot *slot);
/* Frees one block that nobody holds; false: there is none. */
bool state__encoders_shrink(struct state_shard *shard);

/* ---- cache.c ---- */

void state__cache_init(struct state_shard *shard);
void state__cache_fini(struct state_shard *shard);
struct str state__slot_key(const struct slot *slot);
/* The slot is no longer in an epoch or dirty: it may be dropped from now on. */
void state__cache_release(struct state_shard *shard, struct slot *slot);
/* Drops every user of the partition, changed or not. */
void state__cache_drop(struct state_shard *shard, int32_t partition);

/* ---- epoch.c ---- */

/* One row of an epoch's batch: to put, or to delete when value_len is STATE_DELETE. */
struct epoch_row {
    size_t end; /* of the row in the batch's bytes */
    uint32_t key_len;
    uint32_t value_len;
    int32_t partition;
    uint8_t family;
};

#define STATE_DELETE UINT32_MAX

struct state_epoch {
    struct state_epoch *next;
    rocksdb_column_family_handle_t *const *family; /* the state's */
    rocksdb_writebatch_t *batch;
    size_t size;            /* bytes of all keys and values */
    struct buf bytes;       /* the row that is being made: key and value */
    struct epoch_row *rows; /* (n_rows) what stands in the batch, in its order */
    size_t n_rows, cap_rows;
    struct slot **users; /* (n_users) whose values are in rows; NULL when dropped */
    struct buf
        erased; /* stored keys of users that the epoch deletes, each behind its length (2 bytes) */
    size_t n_users, cap_users;
};

/* Starts a row: the key is given, the value is what the caller pushes to epoch->bytes until state__epoch_end. */
void state__epoch_begin(struct state_epoch *epoch, enum state__family family, int32_t partition,
                        struct str key);
void state__epoch_end(struct state_epoch *epoch);
void state__epoch_delete(struct state_epoch *epoch, enum state__family family, int32_t partition,
                         struct str key);
/* The row's key in the batch's bytes; *value: its value, ptr NULL when it is deleted. */
struct str state__row_place(const char *data, const struct epoch_row *row, struct str *value);
/* Takes the partition's rows out of what is sealed and not written. */
void state__epochs_drop(struct state_shard *shard, int32_t partition);
void state__epochs_fini(struct state_shard *shard);

/* ---- guards.c ---- */

/* Looks whether the partition has any. */
MUST_USE bool state__guards_open(struct state_shard *shard, int32_t partition, struct err *err);
/* What the store has of the slot's user, whose row was read or is not there (is_new). */
MUST_USE bool state__guard_load(struct state_shard *shard, struct slot *slot, bool is_new,
                                struct err *err);
/* The rows of a dirty slot that was erased. */
void state__guard_seal(struct state_epoch *epoch, struct slot *slot);

/* ---- purge.c ---- */

/* Writes an epoch that erases users, and that their purge is due, also when the process ends before it. error as RocksDB's. */
void state__purge_write(struct state *state, struct state_epoch *epoch, char **error);
/* Whether one is due from before. */
MUST_USE bool state__purge_open(struct state *state, struct err *err);
/* Of any database: a memtable is written out; the range of keys, all when the texts have no ptr, is compacted down to the last level. */
void state__files_flush(rocksdb_t *db, rocksdb_column_family_handle_t *family, char **error);
void state__files_compact(rocksdb_t *db, rocksdb_column_family_handle_t *family, struct str from,
                          struct str to);

/* ---- image.c, image_write.c ---- */

struct state__stored {
    size_t len;
    char bytes[STATE_KEY_MAX];
};
/* The family and stored key of a record's key; false: it names no table. */
bool state__image_key(struct str key, int32_t partition, enum state__family *family,
                      struct state__stored *stored);
void state__log_encode(const struct state_log *log, struct buf *out);
/* false: the bytes are no place in a log. */
bool state__log_decode(struct str value, struct state_log *log);
void state__log_add(struct state *state, rocksdb_writebatch_t *batch, int32_t partition,
                    const struct state_log *log);
enum state__write {
    WRITE_LOGGED,   /* as epochs are */
    WRITE_SYNCED,   /* and on the disk when it returns */
    WRITE_UNLOGGED, /* in memory until it is flushed */
};
/* Errors: ERR_RETRY disk full; ERR_FATAL. */
MUST_USE bool state__batch_write(struct state *state, rocksdb_writebatch_t *batch,
                                 enum state__write how, struct err *err);

/* sessions.c: NULL, or why the bytes are no session and no head. items (STATE_SESSION_ITEMS_MAX): scratch. */
const char *state__session_check(struct str key, struct str value, uint64_t *items);
/* guards.c: NULL, or why the bytes are no guard. */
const char *state__guard_check(struct str key, struct str value);
enum { STATE__RELATED_KEY = 13 }; /* bytes of a stored key of related rows */

/* ---- view.c ---- */

struct state_view_row;
/* The head of a stored value of the view; false: it is none. row->value points into it. */
bool state__view_row_decode(struct str stored, int32_t *partition, struct state_view_row *row);

/* ---- arrays that double; in cache.c ---- */

/* Room for one more element: doubles. Returns the array, which may have moved. */
void *state__grow(void *array, size_t n, size_t *cap, size_t element);

#endif
