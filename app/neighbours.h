#ifndef APP_NEIGHBOURS_H
#define APP_NEIGHBOURS_H

#include <stdint.h>

#include "app/settings.h"
#include "base/err.h"
#include "model/model.h"
#include "state/state.h"

/* The session neighbours of a shard (rule 12 of docs/STATE.md): an index for each of its partitions, a function of that
 * partition's events alone, so that lists are the same on replay and an index moves with its partition. What changed in an
 * index goes into the epoch of the events that changed it; when a partition is opened its index is made from the store.
 * Thread: the shard's. */
struct neighbours;

/* n_partitions: of the events topics; each index may take its share of neighbours.memory.max.bytes. */
struct neighbours *neighbours_new(const struct settings *settings, struct state *state,
                                  struct state_shard *shard, int n_partitions);
void neighbours_free(struct neighbours *neighbours);
/* Makes the partition's index from the store. Open already: nothing to do. Errors: ERR_FATAL exit 3 damaged, exit 7 read. */
MUST_USE bool neighbours_open(struct neighbours *neighbours, int32_t partition, struct err *err);
/* Drops the index; what was not sealed is forgotten. */
void neighbours_close(struct neighbours *neighbours, int32_t partition);
/* What changed since the last call goes into the epoch, which is sealed and not written. */
void neighbours_seal(struct neighbours *neighbours, struct state_epoch *epoch);

/* What all indices of the shard hold together, and the most that their bounds allow. */
struct neighbours_size {
    int sessions, clicks;
    size_t bytes, bytes_max;
};
struct neighbours_size neighbours_size(const struct neighbours *neighbours);

/* A user's current session: the interactions at the end of the window without a gap over session.gap.ms. */
struct neighbours_session {
    uint64_t id;                     /* of the user and the time of its first interaction */
    const struct interaction *items; /* (n) oldest first, in the user's window */
    int n;                           /* 0: the window is empty */
};
/* user_key: schemas_user_key. */
struct neighbours_session neighbours_session(const struct neighbours *neighbours,
                                             struct str user_key, const struct user *user);
/* The session clicked these items (n). */
void neighbours_add(struct neighbours *neighbours, int32_t partition, uint64_t session,
                    const uint64_t *items, int n, int64_t time_ms);
/* Drops all sessions of the user: an erasure. Returns how many. */
int neighbours_erase(struct neighbours *neighbours, int32_t partition, struct str user_key);
/* The K best items for the session that skip does not refuse, best first; returns how many. found (K) written. */
int neighbours_top(struct neighbours *neighbours, int32_t partition,
                   const struct neighbours_session *session, int K,
                   bool (*skip)(void *context, uint64_t key), void *context,
                   struct model_neighbour *found);

#endif
