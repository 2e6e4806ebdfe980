#ifndef TRAIN_TRAIN_H
#define TRAIN_TRAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/map.h"
#include "base/str.h"
#include "model/model.h"
#include "train/baskets.h" /* chapter: evaluation of orders */

/* train/: log files, data sets, the encoders' backward pass, the optimiser, evaluation.
 *
 * Refuses: anything online (the pipeline never calls it), accelerators.
 *
 * Files, in reading order
 *   log files    timestamp.c, records.c, columns.c, logfile.c
 *   data sets    dataset.c (rows as users' sequences), catalogue.c (what is known of items), content.c (features in a model's item
 *                vectors), plan.c (what is learnt from and what is held out)
 *   backward     kernels.c, kernels_simd.h (inner loops), encoder.c (forward and backward), encoder_<kind>.c, attention.c and mix.h
 *                (what is a kind's own), loss.c (softmax), gbce.c, loss_kinds.c (what is done for each --loss)
 *   training     worker.c (one thread's share of a batch), adamw.c, checkpoint.c and outfile.c (files that a run goes on from),
 *                trainer.c (epochs, early stop), curve.c (how it went); ranker_lists.c and ranker.c (the order of a blend's lists)
 *   evaluation   eval.c (the walk over what is predicted), eval_items.c, eval_steps.c, eval_groups.c; arms: eval_encoder.c,
 *                eval_neighbours.c, eval_related.c, eval_trending.c, popularity.c, markov.c, eval_blend.c; orders: eval_baskets.c,
 *                baskets.h, baskets_tally.c; metrics: tally.c, diversity.c, bootstrap.c
 *
 * Invariant: a training run depends on data, options and seed only: not on time, nor on the number of threads.
 *
 * Words: user = user or session, whoever a sequence belongs to; interaction = an event of a type that enters the
 * window (docs/STATE.md, rule 8); position = a place in a sequence that has a next interaction, its target. */

/* ---- data sets: the four log file formats ---- */

enum log_format_kind { LOGFILE_PAIRS, LOGFILE_LINES, LOGFILE_SESSIONS, LOGFILE_EVENTS };

/* One row of a log file. Strings live until the next row. */
struct log_row {
    struct str user; /* user or session id */
    struct str item;
    struct str type;  /* "" when the format has none */
    int64_t time_ms;  /* 0 when the format has none: order is the time */
    struct str order; /* events: order id, if mapped */
    double quantity;  /* 1 when none */
    double price;     /* NaN when none */
    uint64_t line;    /* from 1, for messages */
};

struct log_reader;
/* Opens a log file; gzip is told by the content.
 *
 *   pairs     "user item" a line, in time order
 *   lines     one session a line, items separated by spaces; its user is the line's number
 *   sessions  SessionId ItemId Time, separated by tabs or spaces; a header is skipped; order in the file does not matter
 *   events    CSV (comma, tab or semicolon; RFC 4180 quotes) with a header
 *
 * map: for events, or NULL for the names that logs usually have: "user=visitorid,item=itemid,type=event,time=timestamp"
 * and order=, quantity=, price=. user=CustomerID|InvoiceNo takes the first that is not empty; type==purchase is a literal.
 * Times: seconds, milliseconds, microseconds or "YYYY-MM-DD HH:MM:SS" (UTC), told by their look.
 * Errors: ERR_FATAL exit 2 with file:line and what is expected. Thread: one owner. */
MUST_USE bool log_reader_open(struct log_reader **reader, const char *path,
                              enum log_format_kind kind, const char *map, struct err *err);
/* false with err->class ERR_NONE at the end; ERR_DATA for a bad row (the next call goes on behind it); ERR_FATAL exit 2 for a
 * damaged file. */
bool log_reader_next(struct log_reader *reader, struct log_row *row, struct err *err);
double log_reader_progress(const struct log_reader *reader); /* 0..1, by bytes */
void log_reader_close(struct log_reader *reader);
bool log_format_parse(const char *name, enum log_format_kind *kind);

/* ---- data sets ---- */

struct train_event {
    int64_t time_ms; /* the row's number when the format has no times */
    int32_t item;    /* index into item_ids */
    uint8_t type;    /* enum event_type; EVENT_CLICK when the format has none */
};

/* The interactions of log files, by user, each user's in time order (rows of one time in file order). */
struct train_data {
    int n_items;
    struct str *item_ids; /* (n_items) in order of first appearance */
    int n_users;
    size_t *user_start; /* (n_users + 1) into events */
    struct train_event *events;
    size_t n_events;
    bool has_times;
    int64_t first_ms, last_ms;
    uint64_t rows;    /* of the files */
    uint64_t bad;     /* rows that could not be read; the first is in first_bad */
    uint64_t skipped; /* rows that are no interaction: other types, returns (quantity <= 0) */
    char first_bad[ERR_TEXT_MAX];
};

struct train_source {
    const char *const *paths; /* (n_paths) read as one log */
    int n_paths;
    enum log_format_kind kind;
    const char *map; /* as in log_reader_open */
    uint32_t types;  /* bit t: event type t is kept; 0: all that enter the window */
    const char *const
        *skip; /* (n_skip) ids that are no products; one that ends in '*' is a beginning */
    int n_skip;
    /* Called now and then with the share of the bytes read; may be NULL. */
    void (*progress)(void *context, double share);
    void *context;
};

/* The bit set of the types that enter the window. */
uint32_t train_window_types(void);
/* Errors: ERR_FATAL exit 2 from the readers; no interaction at all; more than half of the rows bad. */
MUST_USE bool train_data_read(struct train_data **data, const struct train_source *source,
                              struct err *err);
void train_data_free(struct train_data *data);

/* ---- catalogues: what is known of items ---- */

/* The content features (model.h) of items. */
struct train_catalogue {
    uint64_t rows; /* of the file */
    uint64_t bad;  /* that could not be read, or have no item; the first is in first_bad */
    char first_bad[ERR_TEXT_MAX];
    struct map_str *items; /* id -> number + 1, as a pointer */
    int n_items, items_cap;
    size_t *start; /* (items_cap) of item i: features[start[i] .. start[i] + count[i]) */
    int *count;    /* (items_cap) */
    int32_t *
        features; /* (n_entries) numbers of features; those of rows that newer ones replaced are among them */
    size_t n_entries, entries_cap;
    struct map_str *names; /* name -> number + 1, as a pointer */
    struct str *name;      /* (n_names) in order of first appearance */
    int *holders;          /* (n_names) items that have it */
    int n_names, names_cap;
};

/* Reads a file, plain or gzip, of JSON lines (records of freshet.items: item_id, title, categories, brand, price) or CSV with a header
 * (categories are separated by '|'). Of several rows of an item the last that says anything counts.
 * map: for CSV, or NULL for the names that catalogues usually have: "item=item_id,title=title,categories=genres,brand=brand,
 * price=price". tenant: records of others are left out, unless they name none.
 * Errors: ERR_FATAL exit 2: unreadable, a bad map, more than half of the rows bad, no item. */
MUST_USE bool train_catalogue_read(struct train_catalogue **catalogue, const char *path,
                                   const char *map, const char *tenant, struct err *err);
void train_catalogue_free(struct train_catalogue *catalogue);

/* Which events a model may learn from. */
enum train_protocol {
    TRAIN_ALL,           /* every event */
    TRAIN_LEAVE_ONE_OUT, /* all but each user's last (users with one event: that one too) */
    TRAIN_NEXT_ITEM,     /* those before a moment */
};

struct train_split {
    enum train_protocol protocol;
    double share; /* NEXT_ITEM: of the time from the first to the last event, (0,1) */
};

/* The first moment that does not belong to the training part; INT64_MAX unless NEXT_ITEM. */
int64_t train_split_ms(const struct train_data *data, struct train_split split);
/* The events [user_start[user], end) of a user that belong to the training part: returns end. */
size_t train_split_end(const struct train_data *data, struct train_split split, int user);

/* ---- training ---- */

/* What may not stand in a list. */
enum eval_mask {
    EVAL_MASK_NONE,
    EVAL_MASK_CURRENT, /* the newest item */
    EVAL_MASK_WINDOW,  /* the items of the window */
    EVAL_MASK_HISTORY, /* all items of the user so far */
};

enum train_loss { TRAIN_FULL, TRAIN_SAMPLED, TRAIN_GBCE }; /* loss.h */
/* What an epoch is judged by. */
enum train_watch { WATCH_HR10, WATCH_NDCG10, WATCH_MRR20 };
/* How the learning rate falls after warm-up, along the epochs. */
enum train_schedule { SCHEDULE_COSINE, SCHEDULE_CONSTANT, SCHEDULE_LINEAR };

/* How attention knows the order of what it sees (model/model.h). */
enum train_positions { POSITIONS_ROTARY, POSITIONS_LEARNT };

/* SEQUENCES_ALL: a history is cut into several sequences. NEWEST: what is older than max_len inputs is not learnt from. */
enum train_sequences { SEQUENCES_ALL, SEQUENCES_NEWEST };

/* What changes the result stands in train__settings (checkpoint.c) too. */
struct train_options {
    struct train_split split;
    enum model_encoder_kind encoder;
    int heads;                               /* of attention */
    enum train_positions positions;          /* of attention; its window is max_len */
    int dim;                                 /* D */
    int hidden;                              /* H */
    int feed;                                /* F */
    int blocks;                              /* L */
    bool use_types;                          /* event type embedding */
    bool use_gaps;                           /* time gap embedding */
    const struct train_catalogue *catalogue; /* content features; NULL: none. Outlives the call */
    int epochs;                              /* at most */
    int patience; /* epochs without a better validation before it stops, behind the first quarter */
    int batch;    /* positions in one step; sequences are kept whole */
    int batch_users; /* sequences in one step, however long; 0: batch counts */
    double rate;     /* AdamW's, after warm-up */
    enum train_schedule schedule;
    double warmup;   /* share of the way over which the rate rises from a fiftieth, [0,1) */
    double min_rate; /* what it falls to, as a share of rate, [0,1] */
    double dropout;
    double weight_decay;
    double clip; /* largest norm of a gradient; 0 none */
    enum train_loss loss;
    int negatives; /* SAMPLED: uniform ones a micro-batch, beside the other targets of the micro-batch. GBCE: for each position */
    double label_smoothing;         /* [0,1); not with GBCE */
    double gbce_t;                  /* GBCE: calibration, [0,1] */
    int max_len;                    /* positions of a sequence */
    enum train_sequences sequences; /* what becomes of longer histories */
    int min_item_count;
    int validation; /* at most so many users' last training events are held out; 0 none; -1: plan.c's choice */
    enum eval_mask mask; /* of the validation's lists; the window is max_len */
    enum train_watch watch;
    int threads; /* 1 or 2 */
    uint64_t seed;
    const char *tenant;
    const char *version; /* of the model; "": made from its id */
    /* A file that an interrupted run can go on from, in a folder that is there; NULL: none. It is written at each epoch's end
     * and in between, and stays when training is over: the caller removes it once the model is safe. */
    const char *checkpoint;
    double checkpoint_minutes; /* between two within an epoch; 0: after each step */
    /* Go on from the checkpoint, if the file is there, to the same bits as a run that was never interrupted. */
    bool resume;
};

/* Defaults that work without tuning. */
struct train_options train_options_default(void);

/* What an epoch came to. */
struct train_epoch {
    double loss;                /* mean over the epoch, in nats */
    double rate;                /* of its last step */
    double hr10, ndcg10, mrr20; /* on the validation users; 0 without */
    double seconds;             /* validation included */
    uint64_t positions;         /* learnt from */
};

struct train_progress {
    int epoch, epochs;  /* from 1 */
    double loss;        /* mean of the epoch so far, in nats */
    uint64_t positions; /* learnt from since the start */
    uint64_t resumed;   /* of these, before the checkpoint that the run went on from */
    uint64_t to_come;   /* when no epoch is saved by early stop */
    bool epoch_is_over; /* the metrics below are new */
    bool is_best;
    const struct train_epoch *history; /* (n_history) the epochs that are over; lives as the call */
    int n_history;
    int best_epoch; /* of these, from 1; 0: none yet */
};

struct train_result {
    int n_items, n_sequences;
    int n_content;        /* features that items share */
    uint64_t n_positions; /* an epoch */
    int n_validation;     /* events held out */
    int epochs, best_epoch;
    double loss; /* of the best epoch */
    double hr10, ndcg10, mrr20;
};

/* Trains an encoder. progress may be NULL; it returns false to stop early (what is best so far is kept).
 * Errors: ERR_FATAL exit 2 nothing to learn from, a bad option, a checkpoint of another run or a damaged one; ERR_FATAL exit 1
 * the loss is no number. A checkpoint that cannot be written is a warning in the log.
 * Owns: the caller frees *model. Thread: one call a process at a time (it sets OpenBLAS to one thread). */
MUST_USE bool train_model(const struct train_data *data, const struct train_options *options,
                          bool (*progress)(void *context, const struct train_progress *progress),
                          void *context, struct model **model, struct train_result *result,
                          struct err *err);

/* What is told of a run. */
struct train_curve {
    const struct train_epoch *history; /* (n) */
    int n;
    int best_epoch; /* from 1; 0: none */
    enum train_watch watch;
};

/* Writes, in a folder that is there, training.jsonl (a JSON object an epoch) and learning_curve.svg (loss and the watched metric
 * by epoch, the best one marked). Nothing without an epoch. Errors: ERR_FATAL a file cannot be written. (curve.c) */
MUST_USE bool train_curve_write(const char *folder, const struct train_curve *curve,
                                struct err *err);

/* ---- evaluation ---- */

enum { EVAL_K_MAX = 8, EVAL_GROUPS_MAX = 16 };

enum eval_arm {
    EVAL_ENCODER, /* only with a model */
    EVAL_POPULAR, /* counts of the training part */
    EVAL_RECENT, /* counts that halve every half-life, up to the event before; LEAVE_ONE_OUT has no use for it */
    EVAL_NEIGHBOURS, /* session neighbours (model.h) */
    EVAL_MARKOV, /* what followed the newest item most often in the training part; popularity fills the rest */
    EVAL_RELATED,  /* what goes with the newest items (model/partners.h) */
    EVAL_TRENDING, /* what rises in their categories, and in the whole shop */
    EVAL_BLEND,    /* the lists of the others merged as the pipeline merges its own */
    EVAL_ARMS
};
extern const char *const eval_arm_names[EVAL_ARMS]; /* keys of the JSON object */

struct eval_options {
    struct train_split split; /* LEAVE_ONE_OUT or NEXT_ITEM; TRAIN_ALL with a test file */
    bool
        is_frozen; /* NEXT_ITEM: of each user the first event behind the split alone; what lies behind it teaches nothing */
    enum eval_mask mask;
    int k[EVAL_K_MAX]; /* ascending, 1..MODEL_MAX_K */
    int n_k;
    int window;           /* session.window: as the pipeline, the older half goes when it is full */
    int min_events;       /* LEAVE_ONE_OUT: users with fewer events are not predicted; 0: 2 */
    uint32_t targets;     /* bit t: events of type t are predicted; 0: all */
    int64_t half_life_ms; /* of the recent popularity */
    /* sessions_max and clicks_max: 0 for as many as the logs hold. NULL: the arm is not asked. */
    const struct model_neighbours_options *neighbours;
    int64_t
        session_gap_ms; /* neighbours: a user who did nothing for longer begins a new session; 0, or a log without times: a
                             * session is the whole history */
    bool
        neighbours_live; /* the index learns each event once it was predicted; else it holds the training part alone */
    /* How the arms of related items and of what rises count; session.gap.ms is the one above. NULL: they are not asked. */
    const struct model_related_rules *related;
    float blend[EVAL_ARMS]; /* weights of the arms in the blend; all 0: no such arm */
    bool fusion; /* the blend is rank fusion with these weights even where the model has a ranker */
    /* Called for each target with what a ranker would see; NULL: nobody listens. key: the target's. */
    void (*listen)(void *listener, const struct model_ranking *ranking, uint64_t key, int user);
    void *listener;
    uint32_t arms;      /* bit a: arm a is asked; 0: all that the protocol has use for */
    int resamples;      /* of users, for the intervals; 0: none */
    uint64_t seed;      /* of the resamples */
    size_t state_bytes; /* of all encoder states at a time; 0: 1 GiB */
    int against;        /* arm that the others' differences are measured from; -1: none */
    /* Called now and then with the share done; may be NULL. */
    void (*progress)(void *context, double share);
    void *context;
};

/* rank: of the target, from 1, among what may stand in the list. count(i), users(i): events and users of the training part
 * that hold item i (users(i) at least 1). N: items of the model; without one, of the training part. n(i): lists that hold i
 * within the first k.
 * Sources: Gini as RecBole, novelty (MIUF) as RecTools. */
struct eval_metrics {
    /* Means over the targets. */
    double hr[EVAL_K_MAX];        /* rank <= k; with one target recall is the same */
    double ndcg[EVAL_K_MAX];      /* 1 / log2(rank + 1) if rank <= k */
    double mrr[EVAL_K_MAX];       /* 1 / rank if rank <= k */
    double precision[EVAL_K_MAX]; /* HR / k */
    double f1[EVAL_K_MAX];        /* 2 precision recall / (precision + recall) = 2 HR / (k + 1) */
    /* Of all lists. */
    double coverage
        [EVAL_K_MAX]; /* distinct items / N (N or, with more of them, their number: an arm may list what is new) */
    double gini
        [EVAL_K_MAX]; /* sum over items j = 1..N, n ascending, of (2j - N - 1) n(j) / (N sum n): 0 even, 1 unfair */
    double novelty[EVAL_K_MAX];    /* mean over the places of -log2(users(i) / users), bits */
    double popularity[EVAL_K_MAX]; /* mean over the places of count(i), events */
    double tail
        [EVAL_K_MAX]; /* share of the places whose item is of the tenth of the training part's items with the
                                    * smallest count, or not in it */
    double diversity[EVAL_K_MAX]; /* diversity.c; mean over the lists with two items or more */
    /* Mean over the targets of max(0, popular rank of the target - rank) / (N k) if rank <= k (after RecTools; the popular rank
     * counts from 1, by count). */
    double serendipity[EVAL_K_MAX];
};

/* The first three alone. */
struct eval_accuracy {
    double hr[EVAL_K_MAX], ndcg[EVAL_K_MAX], mrr[EVAL_K_MAX];
};

/* 95 % of the means over resampled users (bootstrap.c). */
struct eval_interval {
    struct eval_accuracy low, high;
};

/* What targets can have in common: events of their user before them; the item's popularity in the training part (head: items
 * that together hold the first half of its events, most popular first; mid: the next 30 %; tail: the rest; unseen); the
 * event's type. */
enum eval_by { EVAL_BY_LENGTH, EVAL_BY_POPULARITY, EVAL_BY_TYPE, EVAL_BYS };
extern const char *const eval_by_names[EVAL_BYS];
/* Static text; NULL: there is no such group. */
const char *eval_group_name(enum eval_by by, int group);

struct eval_group {
    uint64_t targets;
    struct eval_accuracy arms[EVAL_ARMS];
};

struct eval_result {
    uint64_t targets; /* predicted events: of users with at least one event before */
    uint64_t
        unseen; /* of these, items that the model (without one: the training part) does not know */
    uint64_t cold;  /* of these, users with no item that the model knows: misses of the encoder */
    uint64_t first; /* not predicted: first events of their user */
    int items;      /* N */
    bool asked[EVAL_ARMS];
    struct eval_metrics arms[EVAL_ARMS]; /* zeros where not asked, as all below */
    struct eval_interval interval[EVAL_ARMS];
    struct eval_interval
        difference[EVAL_ARMS]; /* of the arm's metric less that of `against`, paired */
    struct eval_group by[EVAL_BYS][EVAL_GROUPS_MAX];
};

/* Evaluates through model_step, model_prefill and model_topk, as the pipeline does. model: NULL for the baselines alone.
 * LEAVE_ONE_OUT: each user's last event from all before. NEXT_ITEM: every event at or after the moment of the
 * split, from all before it; is_frozen: of each user with an event before the split the first behind it, from what was known at
 * the split. history: where the baselines count; data itself unless there is a test file (then every event
 * of data with one before it is predicted).
 * Errors: ERR_FATAL exit 2 nothing to predict. */
MUST_USE bool eval_run(const struct model *model, const struct train_data *data,
                       const struct train_data *history, const struct eval_options *options,
                       struct eval_result *result, struct err *err);

/* ---- the ranker ---- */

/* Ends the threads that OpenBLAS starts, one for each further core, when the program is loaded. They look for work for a tenth of
 * a second each before they sleep, and train/ gives them none (its own threads share the work). Call it first in main. */
void train_threads_end(void);

struct train_ranker_options {
    const struct train_options
        *train; /* how the model was trained, with its split, mask and seed */
    const struct model_neighbours_options *neighbours; /* as in eval_options */
    int64_t session_gap_ms;                            /* likewise */
    int window;                                        /* likewise */
    int64_t half_life_ms;                              /* likewise */
    const struct model_related_rules *related;         /* likewise */
    /* Lists will be made with the arm of related items, of what rises; never with leave-one-out. */
    bool has_related, has_trending;
};

struct train_ranker_result {
    bool is_learnt;
    const char *why; /* it was not; static text */
    uint64_t asked;  /* held-out events */
    int lists;       /* of these, those whose item an arm proposes: learnt from */
    int epochs;
    double fusion,
        ranked; /* NDCG@20 of rank fusion and of the ranker on lists of a fifth of the users, who were not learnt from */
};

/* Learns a ranker (model.h) for a model that train_model made of data and gives it to the model; without enough held-out
 * events, or when it is no better than rank fusion, the model has none afterwards. Unless the split is leave-one-out this trains a second
 * encoder, on the older nine tenths (ranker_lists.c says why); progress is of that, and its checkpoint is the model's with .past behind.
 * Errors: those of train_model. */
MUST_USE bool train_ranker(struct model *model, const struct train_data *data,
                           const struct train_ranker_options *options,
                           bool (*progress)(void *context, const struct train_progress *progress),
                           void *context, struct train_ranker_result *result, struct err *err);

#endif
