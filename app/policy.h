#ifndef APP_POLICY_H
#define APP_POLICY_H

#include "app/catalogue.h"
#include "app/rules_watch.h"
#include "app/settings.h"
#include "base/mem.h"
#include "model/model.h"
#include "state/state.h"

/* What a shard's lists may hold, and their last order: catalogue and rules, as the micro-batch uses them.
 *
 *   policy_begin    confirm, hold the catalogue, newest rules; filters and new items brought up to both
 *     policy_slice  filters of the slice before may be replaced
 *     policy_gate   for each list, while its event is folded: rules that are active, the filter of its model arm
 *     policy_allows ... for every candidate of the other arms
 *     policy_rerank at the end
 *   policy_end      the catalogue is let go
 *
 * A filter holds for one set of active hard rules and one stretch of event time in which no item's availability changes; it follows the
 * catalogue's changes item by item. Event time that passes such a change makes it anew: 1.5 ms for 50,000 items.
 *
 * Invariant: a list is a function of the gate's event, the candidates, the catalogue and the rules; not of the batch.
 * Thread: the shard's. */
struct policy;

struct policy_env {
    const struct settings *settings;
    struct catalogue *catalogue; /* NULL: none */
    struct rules_watch *rules;   /* NULL: none */
};

/* NULL when there is neither catalogue nor rules. */
struct policy *policy_new(const struct policy_env *env);
void policy_free(struct policy *policy); /* NULL is fine */

/* Before a micro-batch; model NULL: none. With confirm, for a batch that makes lists, it waits for the catalogue, at most
 * task.timeout.ms. Errors: ERR_FATAL. */
MUST_USE bool policy_begin(struct policy *policy, const struct model *model, bool confirm,
                           struct err *err);
void policy_end(struct policy *policy);
/* A slice begins: filters noted before are used no more. */
void policy_slice(struct policy *policy);
/* One more gate can be made in this slice. */
bool policy_has_room(const struct policy *policy);

/* What one list may hold. Lives until policy_end. */
struct policy_gate {
    uint64_t active;   /* rules */
    int64_t time_ms;   /* of the event */
    struct str tenant; /* the event's */
    bool is_required;  /* items without a record are refused */
    bool is_reranked;  /* some rule moves items: candidates are wanted deeper than the list */
    const struct model_filter *filter; /* NULL: the model's items are all allowed */
};
void policy_gate(struct policy *policy, const struct event *event, struct policy_gate *gate);

/* By every hard rule but `most`, and the catalogue. */
bool policy_allows(const struct policy *policy, const struct policy_gate *gate, uint64_t key);
/* The user bought the item; it may be listed again: by a repeat rule, or as it is rules.bought.days ago. */
bool policy_may_repeat(const struct policy *policy, const struct policy_gate *gate,
                       const struct user *user, uint64_t key);
/* The item's categories, which live until policy_end; returns how many, 0 for an item that is not in the catalogue. */
int policy_categories(const struct policy *policy, uint64_t key, const struct str **categories);
/* The catalogue's id of an item, or that of a pin rule; len 0: not known. */
struct str policy_item_id(const struct policy *policy, uint64_t key);
/* Candidates that an arm should give when there are rules. */
int policy_depth(const struct policy *policy, int depth);

/* ---- new items: in the catalogue, unknown to the model ---- */

/* The best K new items by dot(vector, own vector) + the model's tail bias, of those the gate allows and skip does not refuse, best first. Returns how many; 0
 * without content in the model. */
int policy_content(struct policy *policy, const struct policy_gate *gate, const float *vector,
                   int K, bool (*skip)(void *context, uint64_t key), void *context, uint64_t *keys,
                   float *scores);

/* ---- the last order ---- */

enum policy_origin { POLICY_FOUND, POLICY_PINNED, POLICY_NEW };

struct policy_listed {
    struct model_blended blended; /* arms 0 for pinned and new ones */
    enum policy_origin origin;
};

/* Candidates of all arms together. */
enum { POLICY_FOUND_MAX = ARM_COUNT * USER_LIST_MAX };
_Static_assert((int)POLICY_FOUND_MAX <= (int)MODEL_RERANK_MAX, "all are looked at");

/* From found (n, at most POLICY_FOUND_MAX), best first, the list of at most K. skip refuses pins and new items (bought, disliked, the event's own). seed: of
 * this list. Returns how many. */
int policy_rerank(struct policy *policy, const struct policy_gate *gate,
                  const struct model_blended *found, int n, int K, uint64_t seed,
                  bool (*skip)(void *context, uint64_t key), void *context,
                  struct policy_listed *out);

#endif
