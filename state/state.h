#ifndef STATE_STATE_H
#define STATE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "schemas/schemas.h"
#include "state/backup.h"   /* chapter: copies of a store */
#include "state/image.h"    /* chapter: a partition as records of a log */
#include "state/snapshot.h" /* chapter: copies that a running store takes of itself */
#include "state/view.h"     /* chapter: a copy of the output topics */

/* state/: what freshet remembers, in RocksDB: users, item popularity, positions; each shard's cache over it; commits.
 *
 * It does not know Kafka, the model or the clock: it is told of events with their offsets, keeps the encoder's floats as
 * they are, and writes when it is asked to. It refuses a store of another cluster, application, set of topics, number of
 * partitions or format, and never repairs one: state can be rebuilt from the source topics.
 *
 * Files, in reading order
 *   value.c       keys and values as bytes (docs/STATE.md, "Bytes")
 *   fold.c        how one event changes a user (docs/STATE.md, "The rules of the fold")
 *   cache.c       a shard's users in memory under a byte limit; encoders.c: their encoder states
 *   popularity.c  one table of decayed counts; ranking.c: the tables of a shard, collisions, rows in the store
 *   sessions.c    rows of session neighbours; related.c: rows of items that go together
 *   guards.c      users that were erased: what keeps their late events out; purge.c: their bytes leave the files
 *   epoch.c       shards, partitions, seal and write
 *   store.c       open, sync, close, positions; setup.c: options of RocksDB; identity.c: I5; highwater.c: rewinds noticed
 *   room.h, room.c  what a full disk asks of the store and of the view
 *   manifest.c    RocksDB's list of its files against what was synced; quarantine.c: a store in which something did not read
 *   scan.c        reading a store from outside
 *   image.h, image.c, image_write.c  a partition as records of the changelog, and back
 *   backup.h, backup.c, folder.c  a store copied while it runs, checked, put back
 *   snapshot.h, snapshot.c  copies that a running store takes of itself, and that take its place when it is lost
 *   view.h, view.c  beside it: a copy of the output topics, for answers
 *
 * Life of an event here
 *   state_items_check -> state_user_get -> state_user_fold -> state_popularity_add, state_popularity_top
 *   ... then for many events at once: state_epoch_seal -> (outputs acknowledged) -> state_epoch_write -> state_shard_trim
 *
 * Invariants (DESIGN 4): I1 an epoch is one WriteBatch of users, popularity and positions as they were at seal. I2 a user
 * holds the last offset applied for each topic. I4 nothing here depends on the wall clock, on chance or on threads.
 * I5 the identity. I6 one owner: RocksDB's lock.
 *
 * Words: A_p = next offset of a partition to apply, in the store. dirty = changed since the last seal. sealed = copied
 * into an epoch that is not written. clean = neither: may be dropped from memory. level = log2 of a decayed count. */

struct state;       /* the store of one process: one RocksDB */
struct state_shard; /* one shard thread's part: cache, dirty users, partitions it owns */

/* I5: what the store must belong to. */
struct state_identity {
    const char *application_id;
    const char *cluster_id;
    const char *const *topics; /* (n_topics) source topics, co-partitioned */
    int n_topics;
    int n_partitions;
    const char *const
        *internal; /* (n_internal) topics of our own that are read too: positions, no identity */
    int n_internal;
};

struct state_options {
    int window_max; /* session.window: most interactions of a user; the older half goes when full */
    int64_t late_tolerance_ms; /* events this much older than the newest are still appended */
    size_t cache_bytes;        /* statestore.cache.max.bytes, split over shards */
    size_t rocksdb_bytes;      /* memtables and block cache together */
    int popularity_max_items;  /* each partition and tenant */
    int64_t popularity_half_life_ms;
    double popularity_weight[EVENT_TYPE_COUNT]; /* by event type; 0 = does not count */
    int list_size;                              /* n of last_list */
    int shards;
    int state_floats; /* S of the first model; a store written with another S is fine: those encoder states are dropped */
    /* Do not store encoder states: for states that are large. A user read from the store then has model_id 0 and its window
     * must be encoded again: a read costs one prefill more, each user written 4 S bytes less (docs/STATE.md, "What it
     * costs"). In memory the users asked for last keep theirs, within 3/4 of cache_bytes. */
    bool rebuild_encoders;
};

enum {
    USER_RECENT_IDS = 32,
    USER_BOUGHT_MAX = 128,
    USER_DISLIKED_MAX = 64,
    USER_TOPICS_MAX = 8,
    USER_LIST_MAX = 64
};

/* A user in a shard's cache. The pointer lives until the next state_shard_trim; changes are kept by state_user_dirty. */
struct user {
    uint64_t model_id;                    /* whose encoder state this is; 0 none */
    int64_t last_offset[USER_TOPICS_MAX]; /* last applied of each source topic, -1 none (I2) */
    uint64_t recent_ids[USER_RECENT_IDS]; /* ring of event id hashes; 0 empty */
    uint32_t recent_next;
    uint64_t events; /* applied so far */
    int64_t
        erased_ms; /* guard: events up to this time were erased and do not come back; INT64_MIN none */
    bool is_gone;               /* erased, and nothing came since: no row, only the guard */
    bool is_guard_new;          /* the guard changed since the last seal */
    int64_t newest_ms;          /* largest event time applied; INT64_MIN none */
    struct interaction *window; /* (n_window) oldest first */
    int n_window;
    bool truncated;                   /* older interactions were forgotten */
    uint64_t bought[USER_BOUGHT_MAX]; /* oldest first */
    int n_bought;
    uint64_t disliked[USER_DISLIKED_MAX];
    int n_disliked;
    uint64_t last_list[USER_LIST_MAX]; /* item keys of the list published last */
    int n_last_list;
    float *encoder; /* (S) state by model_id; NULL: none in memory, and model_id is 0 */
    uint64_t batch; /* scratch of the caller, not stored: the micro-batch that last met the user */
    int batch_row;  /* and the user's last encoder row there, from 1; 0 none */
};

/* Opens, or makes (folders 0700), the store in <folder>: the database in <folder>/db, the high-water file beside it.
 * Logs an error when the database is behind the high-water file (a lost log: the events since are read again).
 * Errors: ERR_FATAL exit 2 too many topics; exit 3 another owner, another identity (I5), damaged; exit 7 disk. Each text
 * says what the store has, what the configuration says and what to do.
 * Owns: copies identity and options. Thread: the one that closes it. */
MUST_USE bool state_open(struct state **state, const char *folder,
                         const struct state_identity *identity, const struct state_options *options,
                         struct err *err);
/* Syncs the write-ahead log and writes the high-water file beside the database. Called every few seconds by the owner: it
 * bounds how far a power failure takes the store back (a killed process loses nothing that was written).
 * Errors: ERR_RETRY disk full; ERR_FATAL. Thread: any, one at a time. */
MUST_USE bool state_sync(struct state *state, struct err *err);
/* Syncs and closes. Every shard was freed before. */
void state_close(struct state *state);

/* A_p: the next offset to apply; -1 when the store has none. Thread: any (reads RocksDB). */
MUST_USE bool state_position(struct state *state, int topic, int32_t partition, int64_t *next,
                             struct err *err);

/* Thread: all functions of a shard are called by one thread at a time; several shards share the store. */
struct state_shard *state_shard_new(struct state *state, int shard);
/* Drops everything that was not written. */
void state_shard_free(struct state_shard *shard);
/* Loads the partition's popularity tables; after it the partition's users may be asked for. Open already: nothing to do.
 * Errors: ERR_FATAL read failed, a row is corrupt, or more than 64 tenants (exit 3). */
MUST_USE bool state_partition_open(struct state_shard *shard, int32_t partition, struct err *err);
/* Drops the partition from memory: what was not written is forgotten (it will be replayed), also out of epochs that are
 * sealed and not written. Not open: nothing to do. */
void state_partition_close(struct state_shard *shard, int32_t partition);

/* The user, loaded or made new (nothing is stored until it is dirty). key = schemas_user_key. The partition is open.
 * The pointer lives until the next state_shard_trim or the partition's close. No heap call once the cache is full.
 * Errors: ERR_FATAL read failed (exit 7) or value corrupt (exit 3, names a hash of the key, not the user). */
MUST_USE bool state_user_get(struct state_shard *shard, int32_t partition, struct str key,
                             struct user **user, struct err *err);
/* Room (S) for the user's encoder state, and the state itself when model_id is not 0: a user without one gets room with
 * model_id 0 and arbitrary floats, to be encoded from the window. The pointer, and every user's `encoder` that was asked for
 * here, lives until the next state_encoders_trim. No heap call once the bounds are reached. */
float *state_user_encoder(struct state_shard *shard, struct user *user);
/* Ends the life of encoder pointers; when states are not stored, takes them from the users not asked for longest until they
 * are within their bound. state_shard_trim does it too. */
void state_encoders_trim(struct state_shard *shard);
/* Another model from now on: states have so many floats and are stored or not; those of windows with fewer than window_min
 * interactions never are (0 at first). Users keep states of the model before only until they are asked for one with another
 * size. No epoch needs to be written first. */
void state_shard_model(struct state_shard *shard, int state_floats, bool rebuild_encoders,
                       int window_min);
/* What the user holds goes into the next epoch. */
void state_user_dirty(struct state_shard *shard, struct user *user);

/* ---- the fold: how an event changes a user (docs/STATE.md) ---- */

enum fold_outcome {
    FOLD_APPLIED,   /* window or sets changed; a list follows */
    FOLD_REPLAYED,  /* at or below last_offset: nothing changed; a list follows (D2) */
    FOLD_DUPLICATE, /* event id seen: only last_offset moved; no list */
    FOLD_QUIET, /* impression, other: remembered for dedupe only; no consent: not at all; no list */
    FOLD_ERASED, /* from before the user was erased: nothing changed; no list */
};

struct fold_result {
    enum fold_outcome outcome;
    int appended; /* interactions added at the end of the window: steps to take, the last `appended` entries */
    bool rebuild; /* the window changed elsewhere: encode it whole instead */
    int too_late; /* items dropped as older than all that is left */
    bool late;    /* some item was put in its place */
};

/* topic: index of the source topic. Does not touch encoder, model_id, last_list. The user is dirty after it, but for
 * FOLD_REPLAYED, FOLD_ERASED and events without consent, which change nothing. */
struct fold_result state_user_fold(struct state_shard *shard, struct user *user,
                                   const struct event *event, int topic, int64_t offset);

/* ---- erasure: a user goes, a guard stays (docs/PRIVACY.md) ---- */

struct state_erasure {
    int64_t erased_ms; /* what happened up to then is forgotten */
    const int64_t *
        next; /* (n_next) the shard's next offset of each events topic: events below were seen; -1 none */
    int n_next;
};

/* What was there. */
struct state_erased {
    bool is_repeated; /* an erasure as new as this one was applied before: nothing changed */
    bool is_found;
    int window, bought, disliked;
    uint64_t events;
};

/* Forgets the user: its row is deleted with the next epoch, and a guard is put there under a hash of the key. An event at or below
 * erased_ms, or below next, changes nothing from then on (FOLD_ERASED); a newer one begins the user anew. The partition is open; no
 * pointer of the user that is still to be published to may be out. Errors: as state_user_get. */
MUST_USE bool state_user_erase(struct state_shard *shard, int32_t partition, struct str key,
                               const struct state_erasure *erasure, struct state_erased *what,
                               struct err *err);
/* What the store holds under the key `from`, a guard too, stands under `to` from now on, unless there is something already: the key of
 * pseudonyms changed. The encoder state is made again from the window. is_moved: there was something. Errors: as state_user_get. */
MUST_USE bool state_user_move(struct state_shard *shard, int32_t partition, struct str from,
                              struct str to, bool *is_moved, struct err *err);
/* Deletes the partition's guards of erasures before this moment. n: how many. Errors: as state_user_get. */
MUST_USE bool state_guards_expire(struct state_shard *shard, int32_t partition, int64_t before_ms,
                                  int *n, struct err *err);
/* That events of the partition may have been read, before any position says so: `offset` is where the erasures topic ended then; -1 never
 * noted. Not with an epoch, but at once. Errors: as state_user_get, of state_begin also ERR_FATAL exit 7 disk full. Thread: any. */
MUST_USE bool state_begun(struct state *state, int32_t partition, int64_t *offset, struct err *err);
MUST_USE bool state_begin(struct state *state, int32_t partition, int64_t offset, struct err *err);
/* Brings what was erased and written out of RocksDB's files: flush, compaction of the keys' ranges, a new manifest. Some 100 ms.
 * n: users whose bytes are gone. Errors: ERR_RETRY disk full; ERR_FATAL. Thread: any, one at a time. */
MUST_USE bool state_purge(struct state *state, int *n, struct err *err);

/* ---- popularity: decayed counts of one partition and tenant ---- */

/* Whether every item id of the event is the one its key already stands for here (or is new). Changes nothing. Called before
 * the fold, so that a colliding event is poison as a whole.
 * Errors: ERR_DATA names both ids; an id over 256 bytes; a tenant over the 64 that a partition holds. */
MUST_USE bool state_items_check(struct state_shard *shard, int32_t partition,
                                const struct event *event, struct err *err);
/* Counts every item of the event by its type's weight (0: nothing happens). A full table first loses its worse half.
 * Errors: ERR_DATA as state_items_check (nothing counted). */
MUST_USE bool state_popularity_add(struct state_shard *shard, int32_t partition,
                                   const struct event *event, struct err *err);
/* The up to n best item keys that skip() does not refuse, best first; returns how many. skip NULL refuses none. Exact: the
 * best 256 are kept sorted, and when skip refuses too many of them the whole table is searched. */
int state_popularity_top(struct state_shard *shard, int32_t partition, struct str tenant, int n,
                         uint64_t *keys, bool (*skip)(void *context, uint64_t key), void *context);
/* The id behind a key of this partition and tenant; len 0 when unknown. Lives until the next popularity call. */
struct str state_item_id(struct state_shard *shard, int32_t partition, struct str tenant,
                         uint64_t key);

/* ---- commits ---- */

/* What one commit will write: users, popularity, positions, all as they were at seal. */
struct state_epoch;

struct state_move {
    int topic;
    int32_t partition;
    int64_t next; /* A_p after this epoch */
};

/* Takes the values of all dirty users and counts as they are now; what changes later goes into the next epoch. The epoch
 * is owned by the shard until it is written or the shard freed. */
struct state_epoch *state_epoch_seal(struct state_shard *shard, const struct state_move *moves,
                                     int n_moves);
/* One WriteBatch, no fsync; then the epoch is gone. Epochs are written in the order they were sealed.
 * Errors: ERR_RETRY disk full (epoch kept, call again); ERR_FATAL anything else. */
MUST_USE bool state_epoch_write(struct state_shard *shard, struct state_epoch *epoch,
                                struct err *err);
/* The oldest epoch goes unwritten; all partitions are closed. */
void state_epoch_forget(struct state_shard *shard, struct state_epoch *epoch);

/* ---- sessions: what a partition's index of session neighbours holds ---- */

enum { STATE_SESSION_ITEMS_MAX = 4096 };

struct state_session {
    uint64_t id;
    uint64_t recency; /* number of the partition's click that touched it last, from 1 */
    int64_t last_ms;
    const uint64_t *items; /* (n) item keys, oldest first */
    int n;                 /* at most STATE_SESSION_ITEMS_MAX */
};

struct state_sessions_head {
    uint64_t clicks;   /* of the partition so far */
    int64_t newest_ms; /* of all of them; INT64_MIN none */
};

/* Adds a session's row to an epoch that is sealed and not written; n = 0 takes the row away. A session left and made
 * anew within an epoch is first taken away, then put. */
void state_session_put(struct state_shard *shard, struct state_epoch *epoch, int32_t partition,
                       const struct state_session *session);
void state_sessions_head_put(struct state_shard *shard, struct state_epoch *epoch,
                             int32_t partition, const struct state_sessions_head *head);
/* The head (zero clicks when there is none) and then each session of the partition, by id, until visit returns false. A
 * store from before there were sessions has none. Errors: ERR_FATAL, as state_user_get. */
MUST_USE bool state_sessions_each(struct state *state, int32_t partition,
                                  struct state_sessions_head *head,
                                  bool (*visit)(void *context, const struct state_session *session),
                                  void *context, struct err *err);

/* ---- related: rows of items that go together, of a pairs partition and one of its tables (app/relations.h) ---- */

enum { STATE_RELATED_MAX = 1 << 20 }; /* bytes of a value */

/* Puts a row into an epoch that is sealed and not written; value ptr NULL takes it away. */
void state_related_put(struct state_shard *shard, struct state_epoch *epoch, int32_t partition,
                       uint8_t table, uint64_t key, struct str value);
/* Appends the stored value to out; found says whether there is one. A store from before there were such rows has none.
 * Errors: ERR_FATAL, as state_user_get. Thread: any. */
MUST_USE bool state_related_get(struct state *state, int32_t partition, uint8_t table, uint64_t key,
                                struct buf *out, bool *found, struct err *err);
/* Each row of a table of the partition, by key, until visit returns false. Errors: the same. */
MUST_USE bool state_related_each(struct state *state, int32_t partition, uint8_t table,
                                 bool (*visit)(void *context, uint64_t key, struct str value),
                                 void *context, struct err *err);
/* What a row is that its reader cannot read: ERR_FATAL exit 3. Returns false. */
bool state_related_damaged(struct state *state, int32_t partition, uint8_t table, uint64_t key,
                           const char *why, struct err *err);

/* Bytes waiting: dirty values not sealed yet plus sealed epochs not written. For the bound on memory. */
size_t state_pending_bytes(const struct state_shard *shard);
/* Brings the cache under its byte limit by dropping clean users, oldest use first; users with unwritten changes stay,
 * however many (the caller bounds them by state_pending_bytes). Between batches only: it ends the life of pointers. */
void state_shard_trim(struct state_shard *shard);
/* Heap held by the cache: users, free blocks, the map. */
size_t state_cache_bytes(const struct state_shard *shard);

/* ---- reading a store from outside the pipeline (query, oracle) ---- */

/* Sees the store as it was when it was opened, also while its owner writes on. Errors: ERR_FATAL exit 3 no store there,
 * another format, damaged. */
MUST_USE bool state_open_readonly(struct state **state, const char *folder, struct err *err);
/* Whether a store, however it was opened, belongs to this. Errors: ERR_FATAL exit 3, as state_open. */
MUST_USE bool state_belongs_to(struct state *state, const struct state_identity *identity,
                               struct err *err);
/* Calls visit for every user of the store in key order until it returns false; key and user live until visit returns.
 * Works on any store, whatever its window and S. Errors: ERR_FATAL, as state_user_get. The same for the others. */
MUST_USE bool state_users_each(struct state *state,
                               bool (*visit)(void *context, int32_t partition, struct str key,
                                             const struct user *user),
                               void *context, struct err *err);
/* The user of this key as the last epoch written left it, wherever it is, until visit returns false. Of a store that is open
 * for writing, too. Any thread. */
MUST_USE bool state_user_find(struct state *state, struct str key,
                              bool (*visit)(void *context, int32_t partition, struct str key,
                                            const struct user *user),
                              void *context, struct err *err);
MUST_USE bool state_positions_each(struct state *state,
                                   bool (*visit)(void *context, const char *topic,
                                                 int32_t partition, int64_t next),
                                   void *context, struct err *err);
/* Every item that popularity counts, with the id behind its key, by partition, tenant, key. level: log2 of its decayed
 * count, comparable within a partition and tenant. */
MUST_USE bool state_items_each(struct state *state,
                               bool (*visit)(void *context, int32_t partition, struct str tenant,
                                             uint64_t key, struct str id, double level),
                               void *context, struct err *err);

#endif
