#ifndef TRAIN_EVAL_H
#define TRAIN_EVAL_H

#include "train/train.h"

/* Shared by the arms of an evaluation.
 *
 * eval.c walks all events in time order. Each one that is predicted is put to every arm as a query, in batches of up to
 * TRAIN__QUERIES: an arm writes its list at once or, where it is cheaper for many, when the batch ends. Then the event
 * itself is learnt from. One tally for each arm counts its lists. */

enum { TRAIN__QUERIES = 256 };

/* ---- eval_items.c: one numbering of the items of both logs and of the model ---- */

/* Items: those of data by their index there, then what only history has, then what only the model has. */
struct train__items {
    int n;
    int32_t *from_history; /* (history n_items) */
    int32_t *from_model;   /* (N); NULL without a model */
    int32_t *to_model;     /* (n) -1 not in the model */
    uint64_t *key;         /* (n) the item's key, of the model's tenant */
    double *count;         /* (n) events of the training part */
    double *users;         /* (n) users of the training part that met the item */
    int n_users;           /* users with an event in the training part */
    int catalogue; /* items that lists are measured against: the model's, else those with a count */
    int32_t *by_count;     /* (n_counted) by count, largest first, then by index */
    int32_t *popular_rank; /* (n) place in by_count, from 1; n_counted + 1 behind it */
    int n_counted;
};

void train__items_init(struct train__items *items, const struct model *model,
                       const struct train_data *data, const struct train_data *history,
                       struct train_split split);
void train__items_fini(struct train__items *items);

/* ---- diversity.c: how unlike each other the items of a list are ---- */

struct train__vectors {
    int D;         /* without a model: users of the history */
    float *x;      /* (items n, D) of length 1; NULL without a model */
    size_t *start; /* (items n + 1) into users; NULL with a model */
    int32_t *users;
    bool *has;   /* (items n) the item has a vector */
    double *sum; /* (D) scratch, zeros between lists */
    int stride;
};

struct train__diversity {
    double sum[EVAL_K_MAX], lists[EVAL_K_MAX];
    uint64_t met; /* lists, measured or not */
};

/* lists: at most so many are added for one arm. */
void train__vectors_init(struct train__vectors *vectors, const struct train__items *items,
                         const struct model *model, const struct train_data *history,
                         const struct eval_options *options, size_t lists);
void train__vectors_fini(struct train__vectors *vectors);
/* Adds one list (n; -1 ends it early) at each k. */
void train__diversity_add(const struct train__vectors *vectors, const struct eval_options *options,
                          const int32_t *list, int n, struct train__diversity *sums);

/* ---- tally.c: lists against targets ---- */

struct train__tally {
    const struct eval_options *options;
    const struct train__items *items;
    const struct train__vectors *vectors;
    struct train__diversity diversity;
    double serendipity[EVAL_K_MAX]; /* sums */
    uint32_t *listed; /* (n_k, items n) lists that hold the item at a place in (k[i-1], k[i]] */
    uint16_t *rank;   /* (n) of each target, from 1; 0: not in its list */
    size_t n, room;
};

/* All are borrowed until the tally is freed. */
void train__tally_init(struct train__tally *tally, const struct eval_options *options,
                       const struct train__items *items, const struct train__vectors *vectors);
/* One target and its list (n, best first; -1 ends it early). */
void train__tally_add(struct train__tally *tally, const int32_t *list, int n, int32_t target);
/* The means of targets. hist (K+1): how many have this rank, 0 for those in no list; n: how many in all. */
void train__accuracy(const struct eval_options *options, const double *hist, double n,
                     struct eval_accuracy *mean);
/* Writes the means. */
void train__tally_finish(struct train__tally *tally, struct eval_metrics *metrics);
void train__tally_free(struct train__tally *tally);

/* A target, whatever the arms made of it. */
struct train__asked {
    int32_t user, item;
    uint32_t before; /* events of the user before it */
    uint8_t type;
};

/* ---- bootstrap.c ---- */

/* Writes interval and difference of the arms that are asked. asked (result->targets), tallies (EVAL_ARMS). */
void train__bootstrap(const struct eval_options *options, const struct train__asked *asked,
                      int n_users, const struct train__tally *tallies, struct eval_result *result);

/* ---- eval.c: which events are predicted, from what ---- */

/* What the arms share. */
struct train__eval {
    const struct model *model; /* NULL: no encoder */
    const struct train_data *data, *history;
    const struct eval_options *options;
    int K; /* length of lists: the largest k, or MODEL_RANKER_DEPTH where that is more and the blend ranks */
    bool ranks; /* the blend is the model's ranker, or somebody listens to what it would see */
    bool is_running[EVAL_ARMS]; /* asked, or a source of the blend */
    int32_t *list[EVAL_ARMS];   /* (QUERIES,K) of the batch, by query */
    float *score
        [EVAL_ARMS]; /* (QUERIES,K) likewise; only encoder, neighbours, related and trending write theirs */
    uint32_t *follows; /* (QUERIES,K) of the neighbours: model_neighbour.follows */
    struct train__items items;
    uint64_t *mark; /* (items n) equal to stamp: may not stand in the list that is asked for */
    uint64_t stamp;
    struct eval_result *result;
};

/* An event as the walk meets it. */
struct train__query {
    int user;
    size_t event;
    size_t window; /* where the user's window begins before the event */
    size_t mask;   /* events [mask, event) are those whose items may not be listed */
};

/* Where the window begins once event `at` is in it: the older half goes when it is full (docs/STATE.md, rule 8). */
size_t train__eval_window(const struct eval_options *options, size_t window_start, size_t at);
bool train__eval_is_masked(const struct train__eval *eval, int32_t item);
/* The newest different items of the window, at most MODEL_RELATED_ITEMS; returns how many. */
int train__query_newest(const struct train__query *query, const struct train_data *data,
                        int32_t *items);
/* The events of all users in time order: user and event of each. The caller frees it with mem_free. */
struct train__moment {
    int64_t time_ms;
    size_t event;
    int user;
};
struct train__moment *train__eval_moments(const struct train_data *data);
/* The training part of the history, event by event in time order; event and window are of the history, mask is 0. */
void train__eval_training(const struct train__eval *eval,
                          void (*visit)(void *context, const struct train__query *query),
                          void *context);

/* ---- eval_groups.c ---- */

/* Writes by of the result. */
void train__group(const struct train__eval *eval, const struct train__asked *asked,
                  const struct train__tally *tallies);

/* ---- eval_steps.c: encoder steps of many users, taken together ---- */

struct train__steps;
/* One user's state and what is noted for it. Stays where it is while steps are noted. */
struct train__lane {
    float *state;         /* (S); NULL: stopped. Holds what the steps taken so far left */
    bool fresh;           /* the next step is taken from the state of nobody */
    int n, newest, order; /* of its noted steps */
};

struct train__steps *train__steps_new(const struct model *model, struct model_scratch *scratch);
void train__steps_free(struct train__steps *steps);
/* The state of nobody: the next step is a first one. */
void train__lane_start(struct train__steps *steps, struct train__lane *lane);
/* The state is not needed behind what is noted. */
void train__lane_stop(struct train__steps *steps, struct train__lane *lane);
/* Notes one step; takes all noted ones when they are many. */
void train__lane_step(struct train__steps *steps, struct train__lane *lane,
                      struct model_input input);
/* vector (D) is written behind the lane's newest step, of which there is one since its start, by the time that
 * train__steps_take returns. */
void train__lane_want(struct train__steps *steps, const struct train__lane *lane, float *vector);
/* Takes what is noted. */
void train__steps_take(struct train__steps *steps);

/* ---- the arms: popularity.c, markov.c, eval_neighbours.c, eval_related.c, eval_trending.c, eval_encoder.c, eval_blend.c ---- */

struct train__arm {
    /* What the training part teaches. */
    void *(*start)(struct train__eval *eval);
    /* Writes list (K, -1 behind the last), now or at the end of the batch. */
    void (*ask)(void *arm, const struct train__query *query, int32_t *list);
    void (*end_batch)(void *arm); /* or NULL */
    /* The event happened; NULL: the arm learns no more. */
    void (*learn)(void *arm, const struct train__query *query);
    void (*stop)(void *arm);
};

extern const struct train__arm train__arm_encoder, train__arm_popular, train__arm_recent,
    train__arm_markov, train__arm_neighbours, train__arm_blend, train__arm_related,
    train__arm_trending;

#endif
