#ifndef APP_TRACE_H
#define APP_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "app/letters.h"
#include "app/pair_bytes.h"
#include "app/settings.h"
#include "base/err.h"
#include "schemas/schemas.h"

/* Where an event came in and what became of it, from what stands in the topics and in the store of this machine.
 *
 *     events topics -> places where it stands (trace_seen)
 *     dead letters, lists, pairs, related items, what rises: records whose source is such a place
 *     store -> is it read, does its user remember it
 *     verdict: from all of it */

enum {
    TRACE_SEEN_MAX = 16,
    TRACE_ID_MAX = SCHEMAS_ID_MAX + 1,
    TRACE_USER_MAX = 2 * SCHEMAS_ID_MAX + 4,
    TRACE_ITEMS_MAX = 512,
    TRACE_ROWS_MAX = 32, /* rows of items whose lists are looked for */
    TRACE_ROW_MAX = 2 * SCHEMAS_ID_MAX + 32
};

enum trace_verdict {
    TRACE_APPLIED,     /* its list stands */
    TRACE_REPLACED,    /* a later event of the user has the list that stands now */
    TRACE_DUPLICATE,   /* the user had an event with this id before */
    TRACE_DEAD_LETTER, /* it could not become an event */
    TRACE_QUIET,       /* its type or missing consent changes nothing */
    TRACE_WAITING,     /* not read yet */
    TRACE_UNKNOWN,     /* the topics say nothing (any more) */
};
const char *trace_verdict_name(enum trace_verdict verdict); /* "applied"; static */

/* A record that stands somewhere. offset -1: none. */
struct trace_place {
    char topic[LETTER_SOURCE_MAX];
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms;
};

/* The list of an item that the event's pairs went into. */
struct trace_row {
    char key[TRACE_ROW_MAX]; /* of the record: "item:kind", or a category */
    bool is_trending;
    int32_t pairs_partition; /* the pairs' place; lists from there on hold them */
    int64_t pairs_offset;
    struct trace_place at; /* the first such list that still stands */
};

/* The event in one place of an events topic. */
struct trace_seen {
    struct trace_place at;
    int topic; /* in settings.topics */
    bool
        is_decoded; /* else `why` says what is wrong with it; of what follows only that can be told which decodes */
    char why[LETTER_TEXT_MAX];
    char event_id[TRACE_ID_MAX], items[TRACE_ITEMS_MAX];
    char user[TRACE_USER_MAX];      /* "tenant:id", the key of the user's lists */
    char key[SCHEMAS_USER_KEY_MAX]; /* (key_len) of the user in the store */
    size_t key_len;
    enum event_type type;
    int64_t time_ms;
    bool consent;
    char replayed_from[LETTER_SOURCE_MAX]; /* the dead letter that it was; "" none */
    /* what followed */
    struct trace_place letter;
    char reason[64], text[LETTER_TEXT_MAX], replayed_to[LETTER_SOURCE_MAX];
    struct trace_place list;
    char recommendation_id[40], model_version[TRACE_ID_MAX];
    int n_listed;
    char newest_list[LETTER_SOURCE_MAX]; /* the event that the user's newest list is of; "" none */
    struct trace_place pairs;            /* the first record */
    int n_pairs[PAIRS_KINDS];
    struct trace_row rows[TRACE_ROWS_MAX]; /* (n_rows) */
    int n_rows;
    /* the store of this machine */
    bool has_store;
    int64_t next; /* its position in the partition; -1 none */
    bool has_user, remembers;
    int in_window;    /* interactions of the event in the user's window */
    int duplicate_of; /* an earlier seen; -1 none */
    enum trace_verdict verdict;
};

struct trace_question {
    const char *id;    /* event id */
    const char *topic; /* or a place: topic NULL for none */
    int32_t partition;
    int64_t offset;
    int64_t since_ms; /* 0 all of the topics */
    int64_t last;     /* over 0: only so many of each partition */
};

struct trace {
    const struct settings *settings;
    struct schemas *schemas;
    struct trace_seen seen[TRACE_SEEN_MAX]; /* (n_seen), by topic, partition and offset */
    int n_seen;
    int64_t n_looked; /* records of events topics */
};

/* trace is zeroed but for settings. Errors: ERR_FATAL, as sweep; nothing found is none. Owns: trace_fini, also after an error. */
MUST_USE bool trace_run(struct trace *trace, const struct trace_question *question,
                        struct err *err);
void trace_fini(struct trace *trace);

#endif
