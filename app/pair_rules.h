#ifndef APP_PAIR_RULES_H
#define APP_PAIR_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/schemas.h"
#include "state/state.h"

/* Which items an event says go together (rule 13 of docs/STATE.md): pure, from the user as before the event and the event. */

/* PAIRS_BASKET_LIMIT, PAIRS_SESSION_LIMIT: bounds of options. PAIRS_EARLIER_MAX: orders are compared with so many items of earlier
 * ones, the newest. PAIRS_ITEMS_MAX, PAIRS_MAX: of one event; what is over them is left out. */
enum {
    PAIRS_BASKET_LIMIT = 100,
    PAIRS_SESSION_LIMIT = 32,
    PAIRS_EARLIER_MAX = 50,
    PAIRS_ITEMS_MAX = 512,
    PAIRS_MAX = 40000
};

struct pairs_rules {
    int basket_max;         /* an order, or an event, of more items gives nothing */
    int session_items;      /* newest items looked at in a session that are paired */
    int user_max;           /* a session of so many events gives nothing more */
    int64_t window_ms;      /* orders further apart are not paired */
    int64_t session_gap_ms; /* a longer pause begins a new session */
};

/* `subject` is the item whose list `other` may enter. */
struct pair {
    uint16_t subject, other; /* places in the items beside them */
    uint8_t kind;            /* enum related_kind */
    bool is_back;            /* a refund takes back what was given at time_ms */
    float weight;
    int64_t time_ms;
};

enum pairs_outcome { PAIRS_TAKEN, PAIRS_BASKET, PAIRS_USER, PAIRS_OUTCOME_COUNT };

struct pairs_found {
    uint64_t items[PAIRS_ITEMS_MAX]; /* (n_items) item keys, the event's first */
    int n_items;
    struct pair *pairs; /* (n_pairs) of room for PAIRS_MAX; the caller's */
    int n_pairs;
};

/* Fills found. PAIRS_BASKET, PAIRS_USER: the event gives none, by which rule. user: as before the event. keys (n): the event's items,
 * each once. Thread: any. */
enum pairs_outcome pairs_find(const struct pairs_rules *rules, const struct user *user,
                              enum event_type type, int64_t time_ms, const uint64_t *keys, int n,
                              struct pairs_found *found);

#endif
