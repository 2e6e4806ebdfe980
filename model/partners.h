#ifndef MODEL_PARTNERS_H
#define MODEL_PARTNERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Partners: what goes together, counted as it happens. A chapter of model/model.h, which includes it.
 *
 * A row holds the partners of one subject: of an item and a kind the other items that were bought (or viewed) with it, of a
 * category its items. Marginals hold how often each item was anybody's partner. Both count as docs/STATE.md's popularity does,
 * by forward decay (Cormode, Shkapenyuk, Srivastava, Xu 2009):
 *
 *   level = log2 of the sum over its adds of  weight * 2^(t / H)      t event time, H half-life, t / H the moment
 *
 * so the count as of a moment is 2^(level - moment), and nothing decays by a sweep. A negative weight takes back what an add of
 * the same moment gave; of a count, less than 2^-20 of what was is nothing, and below nothing it never goes.
 *
 * Files: partners.c (rows), marginals.c, partners_score.c (the best of a row), partners_lists.c (carts, rising items),
 * related.c (an arm of the lists of users).
 *
 * Invariant: rows and marginals are functions of the sequence of their adds alone, to the bit on one C library.
 * Thread: one owner for what is changed; reading from any, while nobody changes it. */

/* t / H; 0 when half_life_ms is 0, then nothing decays. */
double model_moment(int64_t time_ms, double half_life_ms);

/* What a pair in an order of n different items weighs: 1 / sqrt(n - 1). Between 1, where one large order outweighs hundreds of small
 * ones, and 1 / (n - 1), where every order gives each of its items one partner in all; measured best of these (docs/QUALITY.md). n at
 * least 2. */
double model_basket_weight(int n);

/* ---- rows ---- */

enum { MODEL_PARTNERS_MAX = 4096 };

struct model_partner {
    uint64_t key;
    double level; /* log2; finite */
};

/* A row, in the caller's storage. Stored as it is (total, newest, entries), it goes on where it was. */
struct model_partners {
    double total;  /* level of all adds, of entries that left too; -infinity: none */
    double newest; /* moment of the newest add; -infinity: none */
    int n, max;    /* entries held; at most, 4..MODEL_PARTNERS_MAX */
    struct model_partner *entries; /* (max) the first n by rising key */
};

/* An empty row. entries (max) are the caller's, and live as long as the row. */
void model_partners_init(struct model_partners *row, struct model_partner *entries, int max);
/* Counts a partner. A new one in a full row: first the weakest quarter (max / 4) leaves, lowest level first, of equals the larger
 * key, so that newcomers have time to grow; what left is as if never counted, but in the total. Taking back what the row does
 * not hold changes its total alone. weight: finite, 0 changes nothing. No heap call. */
void model_partners_add(struct model_partners *row, uint64_t key, double weight, double moment);
/* The entry, or NULL. Lives until the next add. */
const struct model_partner *model_partners_find(const struct model_partners *row, uint64_t key);
/* Keeps the `keep` strongest: for a row that was stored under a larger maximum. */
void model_partners_trim(struct model_partners *row, int keep);
/* Could adds have made this row? For what comes from a file: keys rise, levels are finite, n <= max. */
bool model_partners_is_valid(const struct model_partners *row);

/* ---- marginals ---- */

/* How much every item is a partner: its own level and that of all. One table for each kind and partition; a partition sees
 * those partners that its own subjects have, a sample of all that is fair because subjects are spread by hash. */
struct model_marginals;

/* max: items, at least 2. When it is full and a new item comes, the worse half (rounded down) leaves first, lowest level first, of
 * equals the larger key. */
struct model_marginals *model_marginals_new(size_t max);
void model_marginals_free(struct model_marginals *marginals);
/* Counts, and takes back, as model_partners_add. No heap call while no more items are held than ever before and none has to leave. */
void model_marginals_add(struct model_marginals *marginals, uint64_t key, double weight,
                         double moment);
double model_marginals_level(const struct model_marginals *marginals, uint64_t key);
double model_marginals_total(const struct model_marginals *marginals); /* both: -infinity: none */
size_t model_marginals_count(const struct model_marginals *marginals);
size_t model_marginals_bytes(const struct model_marginals *marginals); /* of heap */
size_t model_marginals_bytes_max(size_t max); /* the most that so many items may take */

/* Tells of every item that left (level -infinity), then of every other that is new or changed, since the last call or its
 * restore. A key that left and came again is told of twice: gone, then its new level. Between two calls what left is remembered:
 * at most what was stored, so call it. */
void model_marginals_changes(struct model_marginals *marginals,
                             void (*visit)(void *context, uint64_t key, double level),
                             void *context);
/* The way back, into a new table: every item once, in any order, then the total. Under a smaller max than before, items that should stay
 * may leave. */
void model_marginals_restore(struct model_marginals *marginals, uint64_t key, double level);
void model_marginals_resume(struct model_marginals *marginals, double total);
/* Levels in moments of another half-life: all move by so many moments, and count as changed. */
void model_marginals_shift(struct model_marginals *marginals, double moments);

/* ---- the best of a row ---- */

/* How strongly a partner belongs to the subject. c, r, m, g: counts of the pair, the row, the partner and all, as of the newest add
 * of the row; e = r m / g is what c would be by chance; k = prior, a = damping.
 *
 *   COUNT    c / r                               the raw count: returns best-sellers
 *   COSINE   (c + k m / g) / ((r + k)^(1 - a) (m + k)^a)     k = 0, a = 1/2: cosine; a = 0: conditional probability
 *   LIFT     c / (e + k)
 *   LLR      G^2 / (2 r), 0 where c <= e         log-likelihood ratio (Dunning 1993)
 *
 * COSINE takes a row to have had k adds more that went to partners as all adds do (a Dirichlet prior: c + k m / g over r + k is
 * the mean of what it leaves), so that of partners met once or twice the more usual ones come first, and what a row knows
 * outweighs that as it grows. Only partners that the row holds are listed.
 *
 * All are comparable between rows, so that a cart may add them. A partner that the marginals do not hold has m = c. */
enum model_measure { MEASURE_COUNT, MEASURE_COSINE, MEASURE_LIFT, MEASURE_LLR, MEASURES };
extern const char *const model_measure_names[MEASURES];

struct model_score_options {
    enum model_measure measure;
    double prior;   /* k, at least 0; in adds */
    double damping; /* a, 0..1 */
};
/* What docs/QUALITY.md chose for orders. */
struct model_score_options model_score_options_default(void);

struct model_scored {
    uint64_t key;
    double score;
};

/* The K best partners that skip does not refuse (NULL refuses none), best first, ties by smaller key, scores of 0 left out; returns
 * how many. K at least 1. No heap call. */
int model_partners_best(const struct model_partners *row, const struct model_marginals *marginals,
                        const struct model_score_options *options, int K,
                        bool (*skip)(void *context, uint64_t key), void *context,
                        struct model_scored *out);

/* ---- lists ---- */

/* Complements of a cart: of each key the sum of its scores, less what the cart holds; the K best that skip does not refuse, best
 * first, ties by smaller key. pool (n): the lists of all the cart's items one behind the other, in any order; it is reordered.
 * given (n_given): the cart. Returns how many. No heap call. */
int model_cart(struct model_scored *pool, int n, const uint64_t *given, int n_given, int K,
               bool (*skip)(void *context, uint64_t key), void *context, struct model_scored *out);

/* Candidates for a user, from the lists that belong to the newest items of the window: score = sum of weight * score over the
 * lists that hold it. */
enum {
    MODEL_RELATED_ITEMS = 5,     /* newest different items whose lists are looked at */
    MODEL_RELATED_PARTNERS = 16, /* of a list; what is behind them is not looked at */
    MODEL_RELATED_SOURCES = 20,  /* at most: items times kinds */
    MODEL_RELATED_MAX = 64,      /* K */
};
/* What a list counts, the less the further its item is back: 1, 1/2, 1/4, ... for the newest, the one before it, ... */
#define MODEL_RELATED_FADE 0.5
/* The same of what rises, by the lists of categories: at most so many of each of the newest items, and the whole shop. */
enum { MODEL_TRENDING_CATEGORIES = 3 };
#define MODEL_TRENDING_SHOP 0.125

struct model_related_source {
    const struct model_scored *list; /* (n) best first, each key once */
    int n;
    double weight;
};
struct model_related_item {
    uint64_t key;
    float score;
    int source; /* the one that gave most; of equals the first */
};
/* The K best that skip does not refuse, best first, ties by smaller key; scores of 0 are left out. K 1..MODEL_RELATED_MAX. Returns
 * how many. No heap call. */
int model_related(const struct model_related_source *sources, int n_sources, int K,
                  bool (*skip)(void *context, uint64_t key), void *context,
                  struct model_related_item *out);

/* Rising items of a category: of two rows of the same events, `fast` with a short half-life and `slow` with a long one,
 *
 *   score = (s - e) / sqrt(e + prior)      s count of fast as of now_ms; e = count of slow * H_fast / H_slow: what s would be
 *                                          if the item went on as it did; so deviations of a Poisson count
 *
 * The K best above 0, as in model_partners_best. Half-lives in ms, above 0; prior above 0, in events. */
#define MODEL_RISING_PRIOR 3.0
struct model_rising_options {
    double fast_half_life_ms, slow_half_life_ms;
    double prior;
};
int model_partners_rising(const struct model_partners *fast, const struct model_partners *slow,
                          const struct model_rising_options *options, int64_t now_ms, int K,
                          bool (*skip)(void *context, uint64_t key), void *context,
                          struct model_scored *out);

#endif
