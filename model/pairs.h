#ifndef MODEL_PAIRS_H
#define MODEL_PAIRS_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/schemas.h"

/* Which items an event says go together (rule 13 of docs/STATE.md). A chapter of model/model.h, which includes it: pure, from the user as
 * before the event and the event. Pipeline and evaluation find them through it alike. */

/* MODEL_PAIRS_BASKET_LIMIT, MODEL_PAIRS_SESSION_LIMIT: bounds of options. MODEL_PAIRS_EARLIER_MAX: orders are compared with so many items of earlier
 * ones, the newest. MODEL_PAIRS_ITEMS_MAX, MODEL_PAIRS_MAX: of one event; what is over them is left out. */
enum {
    MODEL_PAIRS_BASKET_LIMIT = 100,
    MODEL_PAIRS_SESSION_LIMIT = 32,
    MODEL_PAIRS_EARLIER_MAX = 50,
    MODEL_PAIRS_ITEMS_MAX = 512,
    MODEL_PAIRS_MAX = 40000
};

struct model_pairs_rules {
    int basket_max;         /* an order, or an event, of more items gives nothing */
    int session_items;      /* newest items looked at in a session that are paired */
    int user_max;           /* a session of so many events gives nothing more */
    int64_t window_ms;      /* orders further apart are not paired */
    int64_t session_gap_ms; /* a longer pause begins a new session */
};

/* `subject` is the item whose list `other` may enter. */
struct model_pair {
    uint16_t subject, other; /* places in the items beside them */
    uint8_t kind;            /* enum related_kind */
    bool is_back;            /* a refund takes back what was given at time_ms */
    float weight;
    int64_t time_ms;
};

/* What is known of the user. */
struct model_pairs_user {
    const struct interaction *window; /* (n_window) oldest first */
    int n_window;
    const uint64_t *
        bought; /* (n_bought) a purchase of the window that is not among them was refunded; NULL: none was */
    int n_bought;
};

/* How they are found and counted. */
struct model_related_rules {
    struct model_pairs_rules pairs;
    double half_life_ms[RELATED_KIND_COUNT]; /* of the counts of a kind; 0: nothing decays */
    double trending_half_life_ms;            /* of what a category counts now */
    int partners_max;                        /* of a row */
};

enum model_pairs_outcome {
    MODEL_PAIRS_TAKEN,
    MODEL_PAIRS_BASKET,
    MODEL_PAIRS_USER,
    MODEL_PAIRS_OUTCOME_COUNT
};

struct model_pairs_found {
    uint64_t items[MODEL_PAIRS_ITEMS_MAX]; /* (n_items) item keys, the event's first */
    int n_items;
    struct model_pair *pairs; /* (n_pairs) of room for MODEL_PAIRS_MAX; the caller's */
    int n_pairs;
};

/* Fills found. MODEL_PAIRS_BASKET, MODEL_PAIRS_USER: the event gives none, by which rule. user: as before the event. keys (n): the event's items,
 * each once. Thread: any. */
enum model_pairs_outcome model_pairs_find(const struct model_pairs_rules *rules,
                                          const struct model_pairs_user *user, enum event_type type,
                                          int64_t time_ms, const uint64_t *keys, int n,
                                          struct model_pairs_found *found);

#endif
