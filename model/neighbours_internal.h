#ifndef MODEL_NEIGHBOURS_INTERNAL_H
#define MODEL_NEIGHBOURS_INTERNAL_H

#include "base/map.h"
#include "model/model.h"

/* What neighbours.c (the index) and neighbours_query.c share.
 *
 * A click is a node in two lists: that of its session (newest item first) and that of its item (session clicked last
 * first). A click moves all nodes of its session to the front of their items' lists, so each of these is always sorted by
 * recency. A query is then one merge of at most last_n sorted lists: it meets sessions newest first, all shares of one
 * session at once, and stops behind m.
 *
 * Nodes, sessions and items lie in arrays of their largest size, of which a place is touched when it is first needed: the
 * system gives memory to what was in use, not to what the bounds allow. */

#define MODEL__NONE UINT32_MAX

enum { MODEL__RECENT = 8 }; /* items that a session holds itself: all, of most sessions */
enum { MODEL__LANES = 16 }; /* sessions whose items a query reads at once */
enum { MODEL__NEAR = 64 };  /* places; behind them e ^ (-d / reach) counts as nothing */

struct model__node {
    uint32_t session, item;
    uint32_t newer, older; /* in the item's list */
    uint32_t next;         /* in the session's list, or in that of free nodes */
};

struct model__session {
    uint64_t id;
    uint64_t recency;      /* number of the add that touched it last */
    int64_t last_ms;       /* its newest click */
    uint32_t first;        /* node of the newest item */
    int n;                 /* 0: the place is free */
    uint32_t newer, older; /* among sessions; older links free ones */
    uint32_t changed;      /* next place in the list of changes, which may hold free places too */
    bool is_listed;        /* the place stands in the list of changes */
    bool is_stored;        /* model_neighbours_changes told of it */
    uint32_t recent
        [MODEL__RECENT]; /* (min(n, RECENT)) items, newest first: what a query reads of a short session */
};

struct model__item {
    uint64_t key;
    uint32_t newest; /* node of the session clicked last; links free items */
    int n;           /* sessions that hold it */
};

struct model__sample {
    double sim;
    int steps; /* 1 when it holds the query's newest item */
    uint32_t session;
    uint32_t match; /* item: the newest of the query's that it holds */
};

struct model_neighbours {
    struct model_neighbours_options options;
    struct model__node *nodes;                      /* (clicks_max) */
    struct model__session *sessions;                /* (sessions_max) */
    struct model__item *items;                      /* (clicks_max): no item without a click */
    struct map_u64 *session_of;                     /* id to place */
    struct map_u64 *item_of;                        /* key to place */
    uint32_t free_node, free_session, free_item;    /* places that were in use */
    uint32_t used_nodes, used_sessions, used_items; /* places from here on never were */
    uint32_t newest, oldest;                        /* session */
    int n_clicks;
    uint64_t adds;
    int64_t newest_ms; /* of all adds */
    uint32_t changed;  /* session places touched since the last model_neighbours_changes */
    uint64_t *left;    /* (cap_left) ids of stored sessions that left since then */
    int n_left, cap_left;
    uint64_t *told; /* (items_max) scratch of model_neighbours_changes */
    double position[MODEL_NEIGHBOURS_LAST_MAX + 1]; /* by steps */
    double near[MODEL__NEAR];                       /* by places from the match; 0 behind */
    struct model__sample *samples;                  /* (m) newest session first */
    int *best;          /* (k) heap of places in samples, the worst on top */
    double *sum;        /* (clicks_max) by item, 0 between queries */
    uint32_t *follows;  /* (clicks_max) by item, 0 between queries */
    uint32_t *touched;  /* (clicks_max) items whose sum is set */
    uint32_t *gathered; /* (LANES,items_max) items of the neighbours that are being summed */
};

/* neighbours_query.c: fills position and near from the options. */
void model__neighbours_weights(struct model_neighbours *x);

#endif
