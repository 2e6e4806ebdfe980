#ifndef APP_RELATIONS_ROWS_H
#define APP_RELATIONS_ROWS_H

#include "base/buf.h"
#include "base/err.h"
#include "model/model.h"
#include "schemas/schemas.h"
#include "state/state.h"

/* Rows of partners of a shard, in memory under a limit, over the store. A row that was changed stays until the epoch that holds it
 * is written; the others leave by the clock algorithm. Bytes: docs/STATE.md, "Row of partners". */

enum { RELATED_LIST_MAX = 50 };

/* Kinds of rows: enum related_kind, and of a category what its items count now and as usual. */
enum { ROW_NOW = RELATED_KIND_COUNT, ROW_USUAL, ROW_KINDS };

/* The id of a partner, in the row's texts. */
struct row_id {
    uint64_t key;
    uint32_t at;
    uint16_t len;
};

/* What was published of a row last. Another process may have published since (the tail, app/tail.h): then it is not known. */
#define ROW_LIST_UNKNOWN INT64_MAX
struct row_list {
    int64_t time_ms; /* the row's newest then; ROW_LIST_UNKNOWN, and n is 0 */
    int n;           /* 0: nothing stands there */
    uint64_t keys[RELATED_LIST_MAX];
    float scores[RELATED_LIST_MAX];
};

struct row {
    uint64_t key; /* the subject's item key */
    struct row *chain;
    uint64_t sealed; /* number of the last seal that took it */
    int32_t partition;
    uint8_t kind;
    bool is_dirty, is_used, is_stored;
    bool is_told; /* all that changed it since the last seal is of a tail (app/tail.h) */
    struct model_partners partners;
    int64_t newest_ms; /* largest event time of what was added */
    double looked;     /* partners.total when the list was looked at last */
    struct row_list list;
    struct buf texts; /* tenant, subject id, ids of partners */
    uint16_t tenant_len, subject_len;
    int n_ids;
    struct row_id *ids; /* (ids_max) by rising key; those of partners that left stay a while */
    struct model_partner entries[]; /* (partners.max), ids behind them */
};

struct rows;

/* bytes_max: of rows that may leave the memory. partners_max: entries of a row. half_life_ms (ROW_KINDS): what levels are in; rows stored under another are brought over. */
struct rows *rows_new(struct state *state, size_t bytes_max, int partners_max,
                      const double *half_life_ms);
void rows_free(struct rows *rows);
/* The row, from the store or new. The pointer lives until the next call. Errors: ERR_FATAL. */
MUST_USE bool rows_get(struct rows *rows, int32_t partition, uint8_t kind, uint64_t key,
                       struct str tenant, struct str subject, struct row **row, struct err *err);
/* Counts a partner and keeps its id; the row goes into the next seal. A row of which all was taken back is as if new, whether it was
 * stored meanwhile or not. No heap call once the row's texts and the table of changed rows have their size. */
void rows_add(struct rows *rows, struct row *row, uint64_t key, struct str id, double weight,
              int64_t time_ms);
/* What is known of its list changed: the row goes into the next seal. */
void rows_touch(struct rows *rows, struct row *row);
/* The changed rows (n), in the order of their first change. */
struct row *const *rows_changed(const struct rows *rows, size_t *n);
/* Puts the changed rows into the epoch; they are clean then. */
void rows_seal(struct rows *rows, struct state_shard *shard, struct state_epoch *epoch);
void rows_written(struct rows *rows);                 /* one more seal is written, in order */
void rows_drop(struct rows *rows, int32_t partition); /* changed or not */
size_t rows_pending_bytes(const struct rows *rows);
struct rows_counts {
    size_t rows, bytes; /* in memory */
    uint64_t evicted;   /* so far */
};
struct rows_counts rows_counts(const struct rows *rows);

/* The id of a partner that the row holds; lives until the row's next change. */
struct str row_id_of(const struct row *row, uint64_t key);
struct str row_tenant(const struct row *row);
struct str row_subject(const struct row *row);

/* ---- bytes: relations_bytes.c ---- */

void row_encode(const struct row *row, double half_life_ms, struct buf *out);
/* Into an empty row. NULL, or why the bytes are none (static). */
const char *row_decode(struct str value, double half_life_ms, struct row *row);
/* Of the bytes of a row its newest event time, INT64_MIN none; also of bytes that are no row. */
int64_t row_newest_ms(struct str value);

#endif
