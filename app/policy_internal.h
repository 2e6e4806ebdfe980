#ifndef APP_POLICY_INTERNAL_H
#define APP_POLICY_INTERNAL_H

#include "app/policy.h"

/* What app/policy.c and app/policy_list.c share. */

enum {
    FILTERS_MAX = 64,
    FRESH_MAX =
        1024, /* new items that are looked at, the newest; a scan of them takes some 20 us a list */
};

/* One filter, and for what it holds. */
struct policy_filter {
    struct model_filter *filter; /* NULL: the place is free */
    uint64_t hard;               /* active exclude and include rules */
    int64_t anchor_ms;           /* the event time it was made for */
    int64_t from_ms, until_ms;   /* no item opens or closes within */
    uint64_t slice;              /* that used it last */
};

/* A new item. */
struct policy_fresh {
    uint64_t key;
    int64_t since_ms;
    float *vector; /* (D); NULL: nothing is known that the model has learnt */
};

struct policy {
    struct policy_env env;
    int64_t bought_ms; /* rules.bought.days; 0: for ever */
    bool is_required;  /* items.required */
    const struct rules *rules;
    struct rules *no_rules;    /* stands in when there is no file */
    const struct model *model; /* NULL: none */
    struct model_info info;
    const float *item_vectors; /* (N,D) */
    float tail_bias;
    bool is_model_required; /* the model's items need a record */
    uint64_t version;       /* of the catalogue, as filters and fresh are */
    bool is_stale;          /* filters and fresh must be made anew */
    uint64_t moving;        /* rules that move items */
    uint64_t slice;
    struct policy_filter filters[FILTERS_MAX];
    struct policy_fresh fresh[FRESH_MAX]; /* (n_fresh) newest first, then by key */
    int n_fresh;
    bool is_fresh_cut;   /* there were more */
    bool is_fresh_short; /* one of them may have the place of one that left */
};

/* What is known of an item; NULL: it has no record and needs one. none is filled when it is needed. Lives until policy_end. */
const struct model_offer *policy__offer(const struct policy *policy, bool is_required, uint64_t key,
                                        struct model_offer *none);
const struct rules *policy__rules(const struct policy *policy);

/* ---- policy_list.c ---- */

/* The item changed, or is seen for the first time. Behind all changes policy__fresh_make, when is_fresh_short says so. */
void policy__fresh_update(struct policy *policy, uint64_t key);
/* All of the catalogue's. */
void policy__fresh_make(struct policy *policy);
void policy__fresh_clear(struct policy *policy);

#endif
