#ifndef MODEL_INTERNAL_H
#define MODEL_INTERNAL_H

#include <stdio.h>

#include "base/buf.h"
#include "base/map.h"
#include "model/model.h"

/* Shared inside model/ only. */

/* ---- kernels.c and kernels_*.c: the inner loops, one table of functions an instruction set ---- */

enum { MODEL__SCAN_TILE = 256, MODEL__SCAN_USERS = 4, MODEL__SCAN_USERS_MAX = 16 };

/* Items of one tile of the catalogue, MODEL__SCAN_TILE of them (catalog.c). */
struct model__scan_tile {
    const uint8_t *codes; /* (TILE/16, D/4, 16, 4): 128 + code of item 16 g + l at 4 k + c */
    const float *scale;   /* (TILE) */
    const float *bias;    /* (TILE) */
};

/* A user vector, quantised: vector[j] is about scale * codes[j]. */
struct model__scan_user {
    const int8_t *codes; /* (D) */
    int32_t start;       /* -128 times the sum of codes: takes the 128 of the items' codes away */
    float scale;
    float threshold; /* scan_hits only */
};

/* Keys and values of one head of attention, as one user has them (encoder_attention.c): n columns and rows in use. */
struct model__head {
    int d;               /* columns of a head */
    int n;               /* positions, at least 1 */
    int stride;          /* of keys, a multiple of 16 and at least n */
    int width;           /* from one row of values to the next */
    const float *keys;   /* (d,stride): a column for each position; any bits behind the n */
    const float *values; /* (n,width): the first d columns are this head's */
};

/* All tables give the same bits, and for the scan the same numbers up to user_code_max; the orders of operations are those of the invariant in model.h. Arrays
 * of a kernel do not overlap. n, m, D, H are multiples of 16. Thread: any. */
struct model__kernels {
    const char *name; /* "amx", "avx512", "avx2", "plain" */
    /* out[b,j] = bias[j] + sum over k of x[b,k] W[k,j]. x (B,n), W (n,m) packed, bias (m), out (B,m). */
    void (*matmul)(int B, int n, int m, const float *x, const float *W, const float *bias,
                   float *out);
    /* out[b,:] = norm(a[b,:] + c[b,:]), c NULL for zeros; all (B,D), out may be a or c. weight, bias (D). */
    void (*norm)(int B, int D, const float *a, const float *c, const float *weight,
                 const float *bias, float *out);
    /* x[i] = gelu(x[i]), n of them. */
    void (*gelu)(size_t n, float *x);
    /* One step of one user's recurrence: h <- lambda h + gamma u. h, u (2H): real then imaginary parts;
     * lambda (3H): real, imaginary, gamma. */
    void (*recur)(int H, const float *lambda, const float *u, float *h);
    /* One step of one user's gated recurrent unit, the formulas in model.h: u = x A + a and s = h R + b, both (3H) with the
     * parts r, z, n; h (H) moves on. 1 / (1 + exp(-v)) takes -v at most 40, tanh(v) is 2 / (1 + exp(-2v)) - 1. */
    void (*gate)(int H, const float *u, const float *s, float *h);
    /* out = softmax over the n positions of (query * scale) keys, times values; query, out (d). weight (stride) is
     * overwritten. In this order of operations:
     *   weight[s] = fma over j = 0..d-1 of (query[j] * scale) keys[j,s], from 0
     *   weight[s] = exp(weight[s] - largest); their sum in 16 chains
     *   out[j]    = weight[s] values[s,j] in 4 chains, s into chain s % 4 by fma, ((0 + 2) + (1 + 3)) * (1 / sum) */
    void (*attend)(const struct model__head *head, float scale, const float *query, float *weight,
                   float *out);
    /* out[r,i] = fma(x[r,i], turn[i], other[r,i] * turn[n + i]): rows of n, turned. turn (2,n); x, other,
     * out (rows,n); out may be x. */
    void (*turn)(int rows, int n, const float *turn, const float *x, const float *other,
                 float *out);
    /* The dot product in 16 chains. a, b (D). */
    float (*dot)(int D, const float *a, const float *b);
    /* out[i] = dot of a[i] (D) and b[i] (D), n of them. */
    void (*dots)(int D, int n, const float *const *a, const float *const *b, float *out);
    /* Approximate scores of one tile of the catalogue for n users, 1 to scan_users:
     *   a = (acc * scale[i]) * user.scale + bias[i] by one product and one fma,
     *   acc = user.start + sum over j of codes[i,j] * user.codes[j], exact.
     * approx (n,MODEL__SCAN_TILE) written. */
    void (*scan_scores)(int D, const struct model__scan_tile *tile, int n,
                        const struct model__scan_user *user, float *approx);
    /* The same, compared: bit i % 16 of hits[u, i / 16] is set when a >= user.threshold.
     * hits (n,MODEL__SCAN_TILE/16) written. */
    void (*scan_hits)(int D, const struct model__scan_tile *tile, int n,
                      const struct model__scan_user *user, uint16_t *hits);
    /* lanes[i] = max(lanes[i], a[i] - shift). n a multiple of 16; a, lanes (n). */
    void (*raise)(int n, const float *a, float shift, float *lanes);
    /* How many of a (n) are >= x. n a multiple of 16. */
    int (*count_reaching)(int n, const float *a, float x);
    /* The same; bit i % 16 of hits[i / 16] tells which. */
    int (*find_reaching)(int n, const float *a, float x, uint16_t *hits);
    /* rank[i] = how many of the n keys, 64 at most, are larger than key[i]. The keys differ. */
    void (*rank)(int n, const uint64_t *key, uint8_t *rank);
    int scan_users; /* at most so many in a call of scan_*; full calls are the fastest */
    /* Called before the first and behind the last scan_* of B lists, if they are not NULL. */
    void (*scan_begin)(int D, int B);
    void (*scan_end)(int B);
    int user_code_max; /* codes of user vectors lie in -max..max */
};

extern const struct model__kernels model__kernels_plain;
#ifdef __x86_64__
extern const struct model__kernels model__kernels_avx2;
extern const struct model__kernels model__kernels_avx512;
extern const struct model__kernels model__kernels_amx; /* avx512 with the scan in AMX */
/* The processor has AMX and the kernel lets this process use it. */
bool model__has_amx(void);
#endif

/* The best table for this processor and D; with FRESHET_KERNELS=plain, avx2, avx512 or amx in the
 * environment that one, if it can be used. */
const struct model__kernels *model__kernels_best(int D);
/* The table of that name; NULL when this processor or build does not have it or D does not suit it. */
const struct model__kernels *model__kernels_named(const char *name, int D);

/* Copies W (n,m) so that 64 columns lie together: packed (m/64, n, 64), the last tile narrower when m is
 * no multiple of 64. A pass over one tile then reads memory in order. */
void model__pack(int n, int m, const float *W, float *packed);

/* ---- encoder_*.c: what is different between the kinds of encoder, one table of functions each ---- */

struct model__encoder {
    /* Floats that a state holds before the user vector. They are 0 in the state of nobody. */
    int (*state_floats)(const struct model_config *config);
    /* Floats of scratch->own for each row, a multiple of 16; NULL: none. */
    int (*row_floats)(const struct model_config *config);
    /* Sets model->derived, from model->params and config, to what is computed once (mem_aligned); NULL: nothing.
     * Errors: ERR_FATAL exit 6 a parameter out of range. */
    bool (*derive)(struct model *model, struct err *err);
    /* Looks at n rows before a pass and returns how many of them, from the first on, it can take at once, at least 1. It may
     * move states on by passes of its own. NULL: it takes all. */
    int (*admit)(const struct model *model, struct model_scratch *scratch, int n,
                 const struct model_row *rows);
    /* Adds what the kind has beside item, type and gap to the n embedded rows, scratch->z (n,D), before their norm; NULL:
     * nothing. The rows are those that admit took. */
    void (*embed)(const struct model *model, struct model_scratch *scratch, int n);
    /* The part of a block in which a row meets the rows before it: scratch->h (n,W) <- from scratch->u (n,U) = x A + a and each
     * row's state, which moves on, rows in order. A fresh row begins from the state of nobody. W are the rows of
     * MODEL_MIX_OUT_WEIGHT, U the columns of MODEL_MIX_IN_WEIGHT. */
    void (*mix)(const struct model *model, struct model_scratch *scratch, int block, int n,
                const struct model_row *rows);
};

extern const struct model__encoder model__encoder_lru;
extern const struct model__encoder model__encoder_gru;
extern const struct model__encoder model__encoder_attention;
/* By kind; NULL for those that are not built in. (encoder.c) */
extern const struct model__encoder *const model__encoders[ENCODER_KINDS];

/* ---- model.c ---- */

struct model {
    struct model_config config;
    const struct model__encoder *encoder;
    int S;
    int mix_in, mix_out; /* U and W: see struct model__encoder */
    float *params;       /* (model_params_floats), aligned to 64 bytes */
    float
        *packed; /* the weight matrices of the blocks, packed, at the offsets they have in params */
    float *derived;     /* the encoder's; see its file */
    size_t packed_from; /* where the first block begins in params: packed begins there */
    size_t offset[MODEL_MAX_BLOCKS][MODEL_TENSOR_COUNT]; /* into params; SIZE_MAX absent */
    uint64_t id;
    char *version;
    char *tenant;
    uint64_t *keys;        /* (N) item keys */
    char *id_bytes;        /* all item ids, one behind the other */
    uint32_t *id_ends;     /* (N) where each ends in id_bytes */
    struct map_u64 *index; /* item key -> index */
    struct model__catalog *catalog;
    struct model__ranker *ranker;   /* NULL: none */
    struct model__content *content; /* NULL: none */
    struct model__facts *facts;     /* NULL: none */
    const struct model__kernels *kernels;
};

/* A tensor of the model; NULL when it has none. Lives as long as the model. */
static inline const float *model__tensor(const struct model *model, enum model_tensor tensor,
                                         int block)
{
    size_t offset = model->offset[block][tensor];
    return offset == SIZE_MAX ? NULL : model->params + offset;
}

/* The same for a weight matrix of a block, packed. */
static inline const float *model__packed(const struct model *model, enum model_tensor tensor,
                                         int block)
{
    return model->packed + (model->offset[block][tensor] - model->packed_from);
}

/* ---- catalog.c: the items once more, sorted and quantised for the scan ---- */

/* What holds for every item of a tile; the floats are rounded up. */
struct model__tile_bound {
    float norm;      /* length of the vector */
    float residual;  /* length of vector - scale * code */
    float quantised; /* length of scale * code */
    float bias_size; /* |bias| */
    float bias_max;  /* bias */
};

/* Places 0..n_tiles * TILE - 1 hold the items by descending promise; those from N on are empty. */
struct model__catalog {
    int n_tiles;
    int32_t *item_at;                /* (places) item index */
    int32_t *place_of;               /* (N) */
    uint8_t *codes;                  /* (n_tiles) times the codes of a tile */
    float *scale;                    /* (places) */
    float *bias;                     /* (places); -infinity at empty places */
    struct model__tile_bound *bound; /* (n_tiles) */
};

struct model__catalog *model__catalog_new(const struct model *model);
void model__catalog_free(struct model__catalog *catalog);

/* ---- filter.c ---- */

struct model_filter {
    uint16_t *refused; /* (places / 16) by place: bit p % 16 of word p / 16, as hits of a scan */
};

/* ---- topk.c ---- */

struct model__search; /* its working memory */
void model__search_free(struct model__search *search);

/* ---- score.c ---- */

/* vector (D), or zeros in its place when it is not finite or over MODEL__VECTOR_MAX. */
const float *model__usable_vector(int D, const float *vector);
/* A score from its dot product. -0 becomes 0, so that equal scores have equal bits. */
static inline float model__score_of(float dot, float bias)
{
    return dot + bias + 0.0f;
}
float model__item_score(const struct model *model, const float *vector, int32_t item);

/* Largest magnitude that a parameter and an element of a user vector may have: their dot products stay
 * far from overflow, so that scores and the bounds of topk.c are finite. A vector beyond it, or not finite
 * (only a model made to break things gives one), counts as zeros. */
#define MODEL__PARAM_MAX  1e12f
#define MODEL__VECTOR_MAX 1e15f

/* ---- blend.c ---- */

/* A key that one arm or several propose. */
struct model__met {
    uint64_t key;
    uint16_t rank
        [ARM_COUNT +
         1]; /* from 1; 0: the arm does not propose it. One more list than arms: ranker.c's repeats */
};

/* The different keys of the arms, in the order in which they are met. n_arms at most ARM_COUNT + 1, met (MODEL_MAX_CANDIDATES).
 * Returns how many. */
int model__candidates_meet(const struct model_candidates *arms, int n_arms, struct model__met *met);
/* Puts one more into the best n of at most K; of equal scores the earlier one stays before. Returns the new n. */
int model__best_keep(struct model_blended *best, int n, int K, struct model_blended one);

/* ---- ranker.c, ranker_file.c ---- */

struct model__ranker {
    struct model_ranker params;
    float packed[MODEL_FEATURES * MODEL_RANKER_HIDDEN]; /* in_weight as the kernels want it */
    bool knows[ARM_COUNT];                              /* it has a weight for the arm */
};

struct json_t;
/* The file's content; the caller frees it. The model has a ranker. */
struct json_t *model__ranker_write(const struct model *model);
/* Gives the model the ranker of the file's content. Errors: ERR_FATAL exit 6. */
MUST_USE bool model__ranker_read(struct model *model, const struct json_t *json, struct err *err);

/* ---- content.c ---- */

/* Copies the names of the features and the items' features; nothing when the model has none. Errors: ERR_FATAL exit 6: malformed,
 * or twice. */
MUST_USE bool model__content_new(struct model *model, const struct model_parts *parts,
                                 struct err *err);
void model__content_free(struct model__content *content);
bool model__content_knows_items(const struct model *model);
/* Of names and items' features; 0 without. */
uint64_t model__content_hash(const struct model *model);

/* ---- content_file.c ---- */

/* What content.json holds. */
struct model__content_file {
    struct str *names; /* (n_content) borrowed from the json */
    size_t *start;     /* (N + 1); NULL: the file says nothing of items */
    int32_t *features; /* of item i: [start[i], start[i + 1]) */
};
/* content holds zeros before, and is to be freed also with err. Errors: ERR_FATAL exit 6. */
MUST_USE bool model__content_read(const struct json_t *json, const struct model_config *config,
                                  struct model__content_file *content, struct err *err);
void model__content_file_free(struct model__content_file *content);
void model__content_write(const struct model *model, FILE *stream);
/* The n texts of an array that is called `what`, borrowed from json; to be freed by mem_free; NULL with err. */
struct str *model__texts_read(const struct json_t *json, const char *what, int n, struct err *err);
/* An array of n texts, the i-th of which is text_of(model, i). */
void model__texts_write(const struct model *model, int n,
                        struct str (*text_of)(const struct model *model, int i), FILE *stream);

/* ---- affinity.c: how near candidates are to a session, by what a catalogue says ---- */

/* Categories and prices of the items, taken from their features. NULL when no item's features are known. */
struct model__facts *model__facts_new(const struct model *model);
void model__facts_free(struct model__facts *facts);

enum { MODEL__AFFINITY_SLOTS = 2048 }; /* a power of two, over twice the categories of a session */
struct model__affinity {
    uint32_t slots
        [MODEL__AFFINITY_SLOTS]; /* category + 1, 27 bits, and how many items have it, 5 bits */
    int n;                       /* items of the session, at most MODEL_RANKER_SESSION */
    float price;                 /* mean step; no number: not known */
};
/* Of a session's items by key (n). The model has facts. */
void model__affinity_note(const struct model *model, const uint64_t *session, int n,
                          struct model__affinity *affinity);
/* For an item of the model; 0 what is not known. */
float model__affinity_category(const struct model *model, const struct model__affinity *affinity,
                               int32_t index);
float model__affinity_price(const struct model *model, const struct model__affinity *affinity,
                            int32_t index);

/* RFC 3629: no overlong forms, no surrogates, at most U+10FFFF. (model.c) */
bool model__is_utf8(struct str s);

/* ---- scratch: encoder.c ---- */

struct model_scratch {
    int rows;                     /* of the arrays below */
    float *x;                     /* (rows,D) the row that goes through the blocks */
    float *z;                     /* (rows,D) */
    float *u;                     /* (rows,U) what goes into mix: see struct model__encoder */
    float *h;                     /* (rows,W) what comes out */
    float *own;                   /* (rows,row_floats) the encoder's; NULL when it has none */
    float *wide;                  /* (rows,F) */
    struct model__search *search; /* topk.c */
};

/* Room for so many rows; never shrinks. */
void model__scratch_rows(const struct model *model, struct model_scratch *scratch, int rows);

/* ---- safetensors.c: the container, without knowledge of the model ---- */

/* One tensor of a parsed header. */
struct model__tensor_entry {
    char name[40];
    int dims[3];
    int n_dims;
    uint64_t begin; /* bytes, from the start of the file */
    uint64_t end;
};

enum { MODEL__SAFETENSORS_MAX_HEADER = 1 << 20 };

/* Checks and reads a header: see safetensors.c. bytes: the whole file. table: room for max entries.
 * Errors: ERR_FATAL exit 6, the text begins with what is wrong. */
MUST_USE bool model__safetensors_parse(struct str bytes, struct model__tensor_entry *table, int max,
                                       int *n, struct err *err);
/* Appends the 8-byte length and the header for these tensors, whose data follow in table order. */
void model__safetensors_header(const struct model_param *table, int n, struct buf *out);

#endif
