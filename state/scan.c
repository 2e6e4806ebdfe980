/* Reading a whole store in key order: for query and the oracle. */
#include "state/internal.h"

#include <string.h>

#include "base/mem.h"

/* Walks a family; false stops it. visit gets raw rows and sets err when it fails. */
static bool each(struct state *state, enum state__family family,
                 bool (*visit)(void *context, struct str key, struct str value, bool *more,
                               struct err *err),
                 void *context, struct err *err)
{
    char *error = NULL;
    bool ok = true, more = true;
    rocksdb_iterator_t *it =
        rocksdb_create_iterator_cf(state->db, state->read, state->family[family]);
    rocksdb_iter_seek_to_first(it);
    for (; ok && more && rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        struct str key, value;
        key.ptr = rocksdb_iter_key(it, &key.len);
        value.ptr = rocksdb_iter_value(it, &value.len);
        ok = visit(context, key, value, &more, err);
    }
    if (ok) rocksdb_iter_get_error(it, &error);
    rocksdb_iter_destroy(it);
    if (error) return state__rocksdb_error(state, error, "reading it whole", err);
    return ok;
}

static int32_t key_partition(struct str key)
{
    struct cursor c = {.ptr = (const uint8_t *)key.ptr, .left = key.len};
    return (int32_t)cursor_be32(&c);
}

/* ---- users ---- */

struct user_walk {
    struct state *state;
    bool (*visit)(void *context, int32_t partition, struct str key, const struct user *user);
    void *context;
    struct user user;
    uint32_t cap_window, cap_encoder;
};

/* Room for a user of any shape: a reader does not know the window or the model of the writer. */
static void make_room(struct user_walk *walk, uint32_t n_window, uint32_t n_encoder)
{
    if (n_window > walk->cap_window || !walk->user.window) {
        walk->cap_window = n_window + 64;
        walk->user.window =
            mem_realloc(walk->user.window, walk->cap_window * sizeof *walk->user.window);
    }
    if (n_encoder > walk->cap_encoder || !walk->user.encoder) {
        walk->cap_encoder = n_encoder + 64;
        walk->user.encoder =
            mem_realloc(walk->user.encoder, walk->cap_encoder * sizeof *walk->user.encoder);
    }
}

static bool visit_user(void *context, struct str key, struct str value, bool *more, struct err *err)
{
    struct user_walk *walk = context;
    uint32_t n_window, n_encoder;
    const char *why = "the head is damaged";
    if (key.len >= 4 && state__user_shape(value, &n_window, &n_encoder)) {
        make_room(walk, n_window, n_encoder);
        why = state__user_decode(value, (int)n_window, (int)n_encoder, &walk->user);
    }
    if (why) return state__corrupt(walk->state, "user", schemas_id_hash(key), why, err);
    *more = walk->visit(walk->context, key_partition(key), (struct str){key.ptr + 4, key.len - 4},
                        &walk->user);
    return true;
}

bool state_users_each(struct state *state,
                      bool (*visit)(void *context, int32_t partition, struct str key,
                                    const struct user *user),
                      void *context, struct err *err)
{
    struct user_walk walk = {.state = state, .visit = visit, .context = context};
    bool ok = each(state, FAMILY_USERS, visit_user, &walk, err);
    mem_free(walk.user.window);
    mem_free(walk.user.encoder);
    return ok;
}

bool state_user_find(struct state *state, struct str key,
                     bool (*visit)(void *context, int32_t partition, struct str key,
                                   const struct user *user),
                     void *context, struct err *err)
{
    struct user_walk walk = {.state = state, .visit = visit, .context = context};
    char stored[STATE_KEY_MAX];
    bool ok = true, more = true;
    for (int32_t partition = 0; ok && more && partition < state->n_partitions; partition++) {
        char *error = NULL;
        struct str value = {0}, row = {stored, state__user_key(partition, key, stored)};
        rocksdb_pinnableslice_t *found = rocksdb_get_pinned_cf(
            state->db, state->read, state->family[FAMILY_USERS], row.ptr, row.len, &error);
        if (error) ok = state__rocksdb_error(state, error, "reading a user", err);
        if (!found) continue;
        value.ptr = rocksdb_pinnableslice_value(found, &value.len);
        ok = visit_user(&walk, row, value, &more, err);
        rocksdb_pinnableslice_destroy(found);
    }
    mem_free(walk.user.window);
    mem_free(walk.user.encoder);
    return ok;
}

/* ---- positions ---- */

struct position_walk {
    struct state *state;
    bool (*visit)(void *context, const char *topic, int32_t partition, int64_t next);
    void *context;
};

static bool visit_position(void *context, struct str key, struct str value, bool *more,
                           struct err *err)
{
    struct position_walk *walk = context;
    char topic[STATE_KEY_MAX];
    int64_t next;
    if (key.len < 4 || key.len - 4 >= sizeof topic || !state__position_decode(value, &next))
        return state__corrupt(walk->state, "position", schemas_id_hash(key),
                              "the bytes are no position", err);
    memcpy(topic, key.ptr + 4, key.len - 4);
    topic[key.len - 4] = '\0';
    *more = walk->visit(walk->context, topic, key_partition(key), next);
    return true;
}

bool state_positions_each(struct state *state,
                          bool (*visit)(void *context, const char *topic, int32_t partition,
                                        int64_t next),
                          void *context, struct err *err)
{
    struct position_walk walk = {.state = state, .visit = visit, .context = context};
    return each(state, FAMILY_POSITIONS, visit_position, &walk, err);
}

/* ---- items ---- */

struct item_walk {
    struct state *state;
    bool (*visit)(void *context, int32_t partition, struct str tenant, uint64_t key, struct str id,
                  double level);
    void *context;
};

static bool visit_item(void *context, struct str key, struct str value, bool *more, struct err *err)
{
    struct item_walk *walk = context;
    struct state__row row;
    const char *why = key.len < 4 ? "the key is too short" : state__row_decode(key, value, &row);
    if (why) return state__corrupt(walk->state, "popularity", schemas_id_hash(key), why, err);
    *more = walk->visit(walk->context, key_partition(key), row.tenant, row.key, row.id, row.level);
    return true;
}

bool state_items_each(struct state *state,
                      bool (*visit)(void *context, int32_t partition, struct str tenant,
                                    uint64_t key, struct str id, double level),
                      void *context, struct err *err)
{
    struct item_walk walk = {.state = state, .visit = visit, .context = context};
    return each(state, FAMILY_POPULARITY, visit_item, &walk, err);
}
