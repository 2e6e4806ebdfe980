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

/* The list that a related item comes from most. */
struct work_why {
    uint64_t item; /* of the window */
    enum related_kind kind;
};

/* One record on its way through the batch. Arrays are in the batch's arena. */
struct work {
    const struct ingest_record *record;
    enum ingest_reason reason; /* REASON_NONE, or why it is a dead letter */
    const char *text;          /* of the dead letter */
    struct user *user;         /* NULL for a dead letter and a record of pairs */
    uint64_t *keys;            /* (n_keys) item keys of the event */
    int n_keys;
    bool is_scored; /* live quality looks at it */
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
    uint64_t *related;            /* (n_related) the arm of related items */
    float *related_scores;        /* (n_related) */
    struct work_why *related_why; /* (n_related) */
    int n_related;
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
    struct buf bytes;  /* the record being encoded */
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

/* ---- related_arm.c ---- */

/* Notes the arm of related items as it is now: the companions are held. skip refuses items. */
void batch__related_note(struct batch *batch, struct work *work,
                         bool (*skip)(void *context, uint64_t key), void *context);
/* Why that arm proposed an item. */
struct reason batch__related_reason(struct batch *batch, const struct work *work, uint64_t key);

/* ---- publish.c ---- */

/* The id behind an item key, from the model or from what the partition counts; len 0 when neither knows it. Lives until the
 * batch's next slice. */
struct str batch__item_id(struct batch *batch, const struct work *work, uint64_t key);
/* Dead letters, live quality, lists, in record order. */
MUST_USE bool batch__publish(struct batch *batch, struct emit_epoch *epoch, struct err *err);

#endif
