#ifndef APP_PAIR_BYTES_H
#define APP_PAIR_BYTES_H

#include "base/buf.h"
#include "base/mem.h"
#include "model/model.h"
#include "base/str.h"

/* A value of the pairs topic: groups, one for each event that has pairs there (docs/STATE.md, "Pairs, version 1"). */

/* Beside enum related_kind: `other` is counted in the category `subject` (rule 16). An event has so many categories at most. */
enum { PAIRS_COUNTED = RELATED_KIND_COUNT, PAIRS_KINDS, PAIRS_CATEGORIES_MAX = 16 };
enum {
    PAIRS_TABLE_MAX = MODEL_PAIRS_ITEMS_MAX + PAIRS_CATEGORIES_MAX
}; /* items and categories of a group */

struct pair_group {
    int topic; /* of the event, as in events.topics */
    int32_t partition;
    int64_t offset;
    int64_t time_ms; /* event time */
    struct str tenant;
    struct str *items; /* (n_items) ids */
    int n_items;
    struct model_pair *pairs; /* (n_pairs) places are in items */
    int n_pairs;
};

/* Appends the group. */
void pair_group_put(const struct pair_group *group, struct buf *out);
/* Bytes of the group that begins here, at least 32; 0: no group is so short, or fewer are left than it says. */
size_t pair_group_size(struct str bytes);
/* Reads the next group, which borrows from the bytes and the arena. false: not a group, why says what (static). */
bool pair_group_get(struct cursor *from, struct arena *arena, struct pair_group *group,
                    const char **why);

#endif
