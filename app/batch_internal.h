#ifndef APP_BATCH_INTERNAL_H
#define APP_BATCH_INTERNAL_H

#include "app/batch.h"
#include "app/neighbours.h"
#include "app/pairs.h"
#include "app/relations.h"
#include "app/policy.h"
#include "app/tap.h"
#include "base/buf.h"
#include "base/mem.h"

/* What app/batch.c, app/encode.c and app/publish.c share. */

/* The published list that a candidate comes from most. */
struct work_why {
    uint64_t item; /* of the window, whose related items it is */
    enum related_kind kind;
    struct str category; /* or of what rises; len 0: in the whole shop. Lives until policy_end */
};

/* Candidates out of published lists. */
struct work_arm {
    uint64_t *keys;       /* (n) best first */
    float *scores;        /* (n) */
    struct work_why *why; /* (n) */
    int n;
};

/* What an erasure came to, and what is said of it; in erase.c. */
struct work_erasure;

/* One record on its way through the batch. Arrays are in the batch's arena. */
struct work {
    const struct ingest_record *record;
    enum ingest_reason reason; /* REASON_NONE, or why it is a dead letter */
    const char *text;          /* of the dead letter */
    struct user *user;         /* NULL for a dead letter and a record of pairs */
    uint64_t *keys;            /* (n_keys) item keys of the event */
    int n_keys;
    struct str former_id;         /* the list under it goes; len 0: none */
    struct work_erasure *erasure; /* NULL: the record is none */
    bool is_told;                 /* its outputs are committed: none is sent */
    bool is_hushed;               /* of a user who was forgotten later: no list is sent */
    bool is_scored;               /* live quality looks at it */
    int *
        popular_rank; /* (n_keys) rank in the popular arm before the event, 0 none; set when the type is scored */
    bool has_list;
    bool has_vector;
    int row; /* the user vector is the one after this row of the batch, from 1; 0: taken already */
    uint64_t *popular; /* (n_popular) the popular arm */
    int n_popular;
    struct neighbours_session session; /* the user's, while the record is folded */
    uint64_t *neighbours;              /* (n_neighbours) the arm of session neighbours */
    float *neighbour_scores;           /* (n_neighbours) */
    uint32_t *follows;                 /* (n_neighbours) as in model_neighbour */
    int n_neighbours;
    struct work_arm related, trending; /* what goes with the newest items, what rises */
    struct model_session *noted;  /* what the ranker looks at of the window; NULL without one */
    struct model_because because; /* what items of the encoder arm may be there for */
    struct model_exclusions exclusions;
    const int32_t *top;     /* (depth) the encoder arm, -1 behind its end; NULL: empty */
    const float *top_score; /* (depth) */
    /* With a policy alone. */
    struct policy_gate gate;
    uint64_t *
        refused; /* (n_refused) what the user bought, dislikes, and the event's own, as it was in record order */
    int n_refused;
    uint64_t *content; /* (n_content) new items that the encoder arm proposes beside its own */
    float *content_score;
    int n_content;
};

/* Share of dead letters among the last records: counted over POISON_WINDOW records, then anew. */
enum { POISON_WINDOW = 1000 };
struct poison_window {
    int records, poison;
};

struct batch {
    struct batch_env env;
    struct poison_window recent; /* what poison.max.share looks at */
    struct model_info info;      /* zeros without a model */
    int depth; /* candidates of each arm: what the model's ranker is learnt on, list_size without one */
    struct model_scratch *scratch;
    struct arena *arena;
    struct buf bytes;              /* the record being encoded */
    struct buf names;              /* of a request to forget somebody, as batch__names */
    const struct ingest_batch *in; /* that is being run */
    int64_t *seen;       /* (n_topics, n_partitions) next offset by the batches so far; -1 none */
    struct asked *asked; /* (n_partitions) requests to forget somebody */
    int n_waiting;       /* of them all */
    bool is_moved;       /* positions of requests are to be taken (batch_requests_moved) */
    bool is_unsettled;   /* a receipt was sent that must be acknowledged before the next event */
    const int64_t
        *due; /* (n_topics) where the request stands that is applied out of its turn; else NULL */
    uint64_t number;   /* of this batch, from 1 */
    struct work *work; /* (batch_max), n_work in use */
    int n_work;
    uint64_t neighbours_ns; /* of this slice; it is within the fold */
    uint64_t relations_ns;  /* likewise */
    int slice_max;          /* most records of a slice */
    struct model_row *rows; /* (rows_cap) steps that wait for the encoder, rows_first + 1 onwards */
    int n_rows, rows_cap, rows_first;
    float *advanced;                     /* (max_batch,D) vectors behind one call's rows */
    float *vectors;                      /* (batch_max,D) of each record's list */
    const float **vector_of;             /* (batch_max) the same, without gaps */
    struct model_exclusions *exclusions; /* (batch_max) */
    int *ranked;                         /* (batch_max) record of each top-k row */
    int32_t *top_item; /* (batch_max,depth), with room for the depth of any model */
    float *top_score;  /* likewise */
};

/* ---- encode.c ---- */

/* Notes what brings the user's encoder state up to the window after the fold: a step for each appended interaction, or the
 * whole window. The state is as noted once batch__encode has run. */
void batch__encode_note(struct batch *batch, struct user *user, const struct fold_result *folded);
/* Takes all steps that wait, as many at once as the model can, and hands out the vectors on the way: a later step of the
 * same user moves its state on. */
void batch__encode(struct batch *batch);
/* Copies the user vector that the record's list needs: from `vector` (D), or, when it is NULL, as it stands in the state. */
void batch__vector_take(struct batch *batch, struct work *work, const float *vector);

/* The record's list must not hold the key: the user's own reasons, by work->refused. */
bool batch__is_refused(void *work, uint64_t key);

/* ---- batch.c ---- */

/* A slice: as many of the n records as belong together, through all stages. Returns how many, -1 with err. */
int batch__slice(struct batch *batch, const struct ingest_record *records, int n,
                 struct emit_epoch *epoch, struct err *err);

struct asked_request;
/* A request that waited, while no batch is. */
MUST_USE bool batch__run_alone(struct batch *batch, struct asked_request *request,
                               struct emit_epoch *epoch, struct err *err);

/* ---- asked.c ---- */

void batch__asked_new(struct batch *batch);
void batch__asked_free(struct batch *batch);
void batch__asked_forget(struct batch *batch, int32_t partition);
/* The request that comes before this record; NULL: none. */
struct asked_request *batch__asked_due(struct batch *batch, const struct ingest_record *record);
/* Applies the first request of its partition: a slice of its own. Errors: as batch_run. */
MUST_USE bool batch__asked_run(struct batch *batch, struct asked_request *request,
                               struct emit_epoch *epoch, struct err *err);
/* A record of the erasures topic came. False: it is known already. */
bool batch__asked_note(struct batch *batch, const struct ingest_record *record);
/* Whether the request, which would stand at `next` (n_topics), has to wait; then it is kept. */
bool batch__asked_waits(struct batch *batch, const struct ingest_record *record,
                        const int64_t *next);
/* The event is of a user whose erasure was answered, and stands before it. */
bool batch__asked_hushes(const struct batch *batch, const struct ingest_record *record,
                         struct str user_key);

/* ---- erase.c ---- */

/* The keys of all users that a request names, each as length (2 bytes) and bytes, behind what is in keys. False: it is no request. */
bool batch__names(struct batch *batch, const struct ingest_record *record, struct buf *keys);
/* Applies a request to forget somebody: state, sessions. Alone in its slice. Errors: ERR_DATA the record is no request; ERR_FATAL. */
MUST_USE bool batch__erase(struct batch *batch, struct work *work, struct err *err);
/* Its tombstones and its receipt. */
MUST_USE bool batch__erasure_send(struct batch *batch, struct emit_epoch *epoch,
                                  const struct work *work, struct err *err);
/* The batch is applied: where each partition stands. */
void batch__seen_note(struct batch *batch, const struct ingest_batch *in);

/* ---- related_arm.c ---- */

/* Notes the arms of published lists as they are now: the companions are held. skip refuses items. */
void batch__lists_note(struct batch *batch, struct work *work,
                       bool (*skip)(void *context, uint64_t key), void *context);
/* Why they proposed an item. */
struct reason batch__related_reason(struct batch *batch, const struct work *work, uint64_t key);
struct reason batch__trending_reason(struct batch *batch, const struct work *work, uint64_t key);

/* ---- publish.c ---- */

/* The id behind an item key, from the model or from what the partition counts; len 0 when neither knows it. Lives until the
 * batch's next slice. */
struct str batch__item_id(struct batch *batch, const struct work *work, uint64_t key);
/* Dead letters, live quality, lists, in record order. */
MUST_USE bool batch__publish(struct batch *batch, struct emit_epoch *epoch, struct err *err);

#endif
