#ifndef TESTS_STATE_FIXTURE_H
#define TESTS_STATE_FIXTURE_H

#include "base/rng.h"
#include "state/internal.h"
#include "tests/test.h"

/* What the tests of state/ share: folders that go away, options, events made from numbers, and a plain second
 * implementation of the fold. */

/* A new empty folder under TMPDIR, removed with all in it when the test ends well. static, one at a time in use by name. */
void fixture_folder(char *out, size_t size);
void fixture_remove(const char *folder);

struct state_identity fixture_identity(void); /* topics clicks, purchases; 4 partitions */
struct state_options fixture_options(void);   /* window 8, S 6, one shard, small memory */
struct state *fixture_open(const char *folder, const struct state_options *options);

/* An event with its own storage. */
struct fixture_event {
    struct event event;
    struct event_item items[8];
    char ids[8][24];
    char event_id[24];
    char user[24];
};

/* user 7 is "user-7"; items are numbers; event_id 0 is none. */
void fixture_event(struct fixture_event *out, enum event_type type, int user, int64_t time_ms,
                   uint64_t event_id, const int *items, int n_items);
struct str fixture_user_key(const struct fixture_event *event, char *out);
uint64_t fixture_item(int item); /* its key */

/* Deterministic event number i of a stream: the same for each seed and i. */
void fixture_random_event(struct fixture_event *out, uint64_t seed, uint64_t i, int users);

/* ---- the naive second implementation of the fold: docs/STATE.md rules 3 to 5, 7, 8, written for clearness ---- */

enum { NAIVE_WINDOW = 512 };

struct naive_user {
    int64_t last_offset[2];
    uint64_t ids[USER_RECENT_IDS]; /* newest last */
    int n_ids;
    struct interaction window[NAIVE_WINDOW];
    int n_window;
    bool truncated;
    int64_t newest;
    uint64_t bought[USER_BOUGHT_MAX + 1];
    int n_bought;
    uint64_t disliked[USER_DISLIKED_MAX + 1];
    int n_disliked;
    uint64_t events;
};

void naive_init(struct naive_user *user);
struct fold_result naive_fold(const struct state_options *options, struct naive_user *user,
                              const struct event *event, int topic, int64_t offset);
/* Fails the test where they differ. */
void naive_compare(const struct naive_user *want, const struct user *got);

/* A struct user with room of its own. */
struct user *fixture_user_new(int window_max, int state_floats);
void fixture_user_free(struct user *user);

/* User `number` of the partition; an applied view by him; a shard that has the partition open; seal and write with A_p = next;
 * A_p as stored. Each fails the test on an error. */
struct user *fixture_get(struct state_shard *shard, int32_t partition, int number);
void fixture_view(struct state_shard *shard, struct user *user, int item, int64_t time_ms,
                  int64_t offset);
struct state_shard *fixture_shard_of(struct state *state, int32_t partition);
void fixture_commit(struct state_shard *shard, int32_t partition, int64_t next);
int64_t fixture_position(struct state *state, int topic, int32_t partition);

/* Turns a bit of the byte at `at` of a file; a second time turns it back. */
void fixture_byte_turn(const char *path, long at);

#endif
