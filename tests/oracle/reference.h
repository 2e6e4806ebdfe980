#ifndef TESTS_ORACLE_REFERENCE_H
#define TESTS_ORACLE_REFERENCE_H

#include "base/err.h"
#include "model/model.h"
#include "schemas/schemas.h"

/* The reference fold: docs/STATE.md, "The rules of the fold", as plainly as it can be written. One thread, no RocksDB, no
 * consumer group, no cache, no batches, no incremental encoder: every list encodes the whole window again and sorts everything.
 * Shares with the pipeline the codec (it has differential tests of its own) and the model's plain functions; shares no code of
 * ingest/, state/ or app/. */

/* ---- the catalogue, which does not change meanwhile: reference_catalogue.c ---- */

struct topic;
struct reference_catalogue;
/* Of a whole items topic, which outlives it. */
struct reference_catalogue *reference_catalogue_new(struct schemas *schemas,
                                                    const struct topic *topic);
void reference_catalogue_free(struct reference_catalogue *catalogue); /* NULL is fine */
/* docs/RULES.md, "The catalogue", with items.required. */
bool reference_catalogue_refuses(const struct reference_catalogue *catalogue, struct str tenant,
                                 uint64_t key, int64_t time_ms);
/* The categories of an item (returned count), as its newest record has them; they live as long as the catalogue, which may be NULL. */
int reference_catalogue_categories(const struct reference_catalogue *catalogue, uint64_t key,
                                   const struct str **categories);

struct reference_options {
    const struct reference_catalogue *catalogue; /* NULL: none */
    int window_max, list_size;
    bool reasons_name_items;
    int64_t late_tolerance_ms, max_future_ms, half_life_ms;
    double weight[EVENT_TYPE_COUNT];
    float blend[ARM_COUNT];
    const char *events_topic;
    bool has_neighbours;
    int64_t session_gap_ms;
    struct model_neighbours_options neighbours; /* of one partition */
    bool has_pairs, has_trending;
    int related_basket_max, related_session_items, related_user_max;
    int64_t related_window_ms;
};

/* Rule 13: what an event pairs; rule 16: what it counts, `other` in the category `subject`. */
enum { REFERENCE_COUNTED = RELATED_KIND_COUNT };
struct reference_pair {
    uint64_t subject, other;
    int kind;
    bool is_back;
    float weight;
    int64_t time_ms;
};
struct reference_pairs {
    struct reference_pair *pairs; /* (n) */
    int n, cap;
};

enum reference_outcome {
    REFERENCE_LIST,      /* a list follows: value holds its bytes */
    REFERENCE_QUIET,     /* applied, no list */
    REFERENCE_DUPLICATE, /* dropped */
    REFERENCE_POISON,    /* a dead letter follows: reason says which */
    REFERENCE_ERASED,    /* dropped: from before its user was erased */
};

/* What one record must lead to. */
struct expectation {
    enum reference_outcome outcome;
    const char *reason;           /* POISON: as in __connect.errors.exception.class.name; static */
    struct str key;               /* LIST: Kafka key; lives until reference_free */
    struct str value;             /* LIST: Kafka value; likewise */
    struct reference_pairs pairs; /* LIST: sorted; the caller's */
    const struct reference_user *user; /* not of QUIET without consent and POISON */
};

struct reference_interaction {
    uint64_t item;
    int64_t time_ms;
    int type;
};

struct reference_user {
    int32_t partition;
    char *key; /* schemas_user_key's bytes, key_len of them */
    size_t key_len;
    int64_t erased_ms;   /* newest moment up to which it was forgotten; INT64_MIN none */
    bool is_gone;        /* and nothing came since, or ever */
    int64_t events;      /* that changed it */
    int64_t last_offset; /* of the one events topic */
    uint64_t recent[32]; /* newest last */
    int n_recent;
    struct reference_interaction *window; /* (n_window) */
    int n_window;
    bool truncated;
    int64_t newest_ms;
    uint64_t bought[128], disliked[64]; /* oldest first */
    int n_bought, n_disliked;
    uint64_t last_list[64];
    int n_last_list;
};

/* ---- all users: reference_users.c ---- */

struct reference_users {
    struct reference_user **list; /* (n) gone ones, too */
    int n, cap;
};

struct reference_user *reference_users_find(const struct reference_users *users, int32_t partition,
                                            struct str key); /* NULL: none */
/* A new one is gone until something came of it. */
struct reference_user *reference_users_get(struct reference_users *users, int32_t partition,
                                           struct str key);
int reference_users_here(const struct reference_users *users); /* that are not gone */
void reference_users_free(struct reference_users *users);

/* What an erasure found. */
struct reference_erased {
    bool is_repeated; /* one as new was there before: nothing changed */
    bool is_found;
    int64_t events, window, bought, disliked, sessions;
    const struct reference_user *user;
};
/* Rule 17 for one name, but its sessions. */
struct reference_erased reference_user_erase(struct reference_user *user, int64_t erased_ms);

/* ---- session neighbours of one partition: reference_neighbours.c ---- */

enum { REFERENCE_SESSION_MAX = 64, REFERENCE_CANDIDATES_MAX = 4096 };

struct reference_session {
    uint64_t id, recency;
    int64_t last_ms;
    uint64_t items[REFERENCE_SESSION_MAX]; /* oldest first */
    int n;
};

struct reference_index {
    struct model_neighbours_options options;
    struct reference_session *sessions; /* (n) by recency, oldest first */
    int n, cap, n_clicks;
    uint64_t adds;
    int64_t newest_ms; /* of all adds */
};

struct reference_index *reference_index_new(const struct model_neighbours_options *options);
void reference_index_free(struct reference_index *index);
void reference_index_add(struct reference_index *index, uint64_t session, uint64_t item,
                         int64_t time_ms);
/* Drops the sessions of a user, by the hash of its key. Returns how many. */
int reference_index_forget(struct reference_index *index, uint64_t user);
struct reference_neighbour {
    uint64_t key;
    double score;
    uint32_t follows;
};
/* All items that the neighbours of session `own` with these items (n, newest last) give, best first; found
 * (REFERENCE_CANDIDATES_MAX) written. Returns how many. */
int reference_index_query(const struct reference_index *index, uint64_t own, const uint64_t *items,
                          int n, struct reference_neighbour *found);

/* Rule 7: reference_sets.c. */
void reference_sets_change(struct reference_user *user, enum event_type type, uint64_t key);

/* ---- pairs: reference_pairs.c ---- */

/* The pairs of an event by a user as before it, in no order; none when a cap refuses it. */
void reference_pairs_find(const struct reference_options *options,
                          const struct reference_user *user, const struct event *event,
                          struct reference_pairs *out);
/* Leaves out pairs of items that nobody can name after the event. */
void reference_pairs_named(struct reference_pairs *pairs, const struct event *event,
                           bool (*is_named)(void *context, uint64_t key), void *context);
/* Adds what the event counts in the whole shop and in the categories of its items. */
void reference_pairs_count(const struct reference_options *options, const struct event *event,
                           struct reference_pairs *out);
void reference_pairs_sort(struct reference_pairs *pairs);
/* Both are sorted; ids do not count. */
bool reference_pairs_equal(const struct reference_pairs *a, const struct reference_pairs *b);

/* ---- the fold ---- */

struct reference;

struct reference *reference_new(const struct reference_options *options, const struct model *model,
                                struct schemas *schemas);
void reference_free(struct reference *reference);
/* Applies one record. Records of one partition come in offset order. value.ptr NULL: null value. */
struct expectation reference_apply(struct reference *reference, int32_t partition, int64_t offset,
                                   int64_t timestamp_ms, struct str value);
/* Forgets what the user of that key did up to erased_ms, between two records of the partition. */
struct reference_erased reference_erase(struct reference *reference, int32_t partition,
                                        struct str key, int64_t erased_ms);
/* NULL when the reference has no such user. */
const struct reference_user *reference_user_find(const struct reference *reference,
                                                 int32_t partition, struct str key);
/* NULL when the partition had no click. */
const struct reference_index *reference_index_of(const struct reference *reference,
                                                 int32_t partition);
int reference_user_count(const struct reference *reference);
/* Encoder state (S) of the user's window; zeros of nobody without a known item. */
void reference_encode(const struct reference *reference, const struct reference_user *user,
                      float *state);

/* The twin of ingest_clean: NULL, or why the event is poison. Changes the event in place. */
const char *reference_clean(struct event *event, int64_t timestamp_ms, int64_t max_future_ms);

#endif
