#ifndef APP_SESSIONS_H
#define APP_SESSIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "app/models.h"
#include "app/settings.h"
#include "schemas/schemas.h"

/* Lists for a session that comes with the question, no user and no state: the arms of the pipeline (app/batch.h) over an index of
 * neighbours and a popularity of this process's own, which learn from events as they come.
 *
 * Rules of an answer: it depends on question, model, index, popularity and what is listed at the moment alone; it is empty
 * only while nothing at all is known; it holds an item of the session only when repeats are asked for. Nothing is allocated
 * for a question, nor for a click on a known item once the maps have grown. Thread: the server's. */
struct sessions;

/* models NULL: no encoder. */
struct sessions *sessions_new(const struct settings *settings, struct models *models);
void sessions_free(struct sessions *sessions);

/* One item of one event. */
struct session_click {
    uint64_t session; /* whose it is; 0: counts for popularity only */
    struct str tenant, item_id;
    int64_t time_ms;
    double weight; /* for popularity; 0: none */
};
void sessions_click(struct sessions *sessions, const struct session_click *click);

/* Forgets the sessions of a user: bits as in SCHEMAS_SESSION_USER. */
void sessions_forget(struct sessions *sessions, uint64_t user);

enum { SESSIONS_LIST_MAX = USER_LIST_MAX };

struct sessions_question {
    struct str tenant;
    const struct event_item *items; /* (n_items), newest last */
    size_t n_items;
    int n;                /* 1..SESSIONS_LIST_MAX */
    bool has_repeats;     /* items of the session may be listed */
    bool neighbours_only; /* neighbours alone, filled up from popularity */
    /* May this item be shown? */
    bool (*is_listed)(void *context, uint64_t key);
    void *context;
};

struct sessions_item {
    uint64_t key;
    struct str id; /* lives until the next click or model */
    float score;
    uint32_t arms; /* as in struct model_blended; 0: a repeat */
};

/* Best first; returns how many. out (SESSIONS_LIST_MAX) written. */
int sessions_answer(struct sessions *sessions, const struct sessions_question *question,
                    struct sessions_item *out);
/* Popular items alone. */
int sessions_popular(struct sessions *sessions, const struct sessions_question *question,
                     struct sessions_item *out);
/* Of the model in use; "none". Lives until the next answer. */
/* The one that answers now, NULL none. Lives until the next question. */
const struct model *sessions_model(struct sessions *sessions);
struct str sessions_model_version(const struct sessions *sessions);

/* The id behind a key; len 0: not known. Lives until the next click or model. */
struct str sessions_item_id(const struct sessions *sessions, uint64_t key);

struct sessions_size {
    int items, sessions;
    int64_t clicks;
};
struct sessions_size sessions_size(const struct sessions *sessions);

#endif
