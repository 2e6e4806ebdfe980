#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "model/pairs.h"    /* chapter: which items an event pairs */
#include "model/partners.h" /* chapter: what goes together */

/* model/: pure arithmetic. Encoder forward, exact top-k over the catalogue, blend of arms. No I/O but
 * load and save, no clock, no thread.
 *
 * Files, in reading order
 *   params.c       the parameter table             model.c     the model and its items
 *   encoder.c      step and prefill                encoder_<kind>.c  what is a kind's own
 *   content.c      items by what is known of them  similar.c   items like another      affinity.c  that, of an item and a session
 *   score.c        scores and lists by definition  topk.c, catalog.c   the same, fast  filter.c    items that no list may hold
 *   neighbours.c   the index of sessions           neighbours_query.c  its questions
 *   pairs.h        which items an event pairs      partners.h  what goes together: partners.c, marginals.c, partners_score.c,
 *                                                  partners_lists.c; related.c: those of the newest items, added up
 *   blend.c        arms into one list              ranker.c    its order               because.c   the reason of a listed item
 *   rerank.h       offers, rules, the last order
 *   kernels.c, kernels_*.c   the inner loops, one file an instruction set, chosen at run time (kernels_simd.h: what they share)
 *   folder.c, content_file.c, ranker_file.c, safetensors.c   files
 *
 * Letters: B batch (users), T steps, D dimension of item and user vectors, H width of what a block keeps
 *          (lru: complex numbers), F width of the feed-forward layer, L blocks, N items, S floats of encoder
 *          state, K list length.
 *
 * Invariant: a result depends only on its inputs, never on the batch it was computed in, the
 * instruction set or the users beside it (lists must be byte-equal on replay). So every float32 result
 * has one order of operations, which the kernels of each instruction set follow to the bit:
 *   matrix products  out[j] = fma(x[n-1], W[n-1,j], ... fma(x[1], W[1,j], fma(x[0], W[0,j], bias[j])))
 *   sums and dots    16 partial chains, element i into chain i % 16 by fma; then chains l and l+8 are
 *                    added, then l and l+4, l and l+2, l and l+1
 *   exp, erf         our own polynomials (kernels.h), written once as a list of fma
 * Vectors run over j or over the 16 chains, blocks over users; nothing else is reordered.
 *
 * Every encoder stands in one frame, that of LRURec (Yue, Wang, He, Zeng, McAuley, Wang: "Linear Recurrent Units for
 * Sequential Recommendation", WSDM 2024); only h, what a position takes from those before it, is the kind's own.
 *   x0   = norm(E[item] + type_emb[type] + gap_emb[bucket])  the last two only when the model has them
 *   for each block:
 *     u   = x A + a                    MODEL_MIX_IN
 *     h   = mix(u, what came before)
 *     z   = norm(h C + c + x)          MODEL_MIX_OUT, MODEL_MIX_NORM
 *     x   = norm(gelu(z W1 + b1) W2 + b2 + z)
 *   user vector = x of the last block; score[i] = dot(x, E[i]) + bias[i]
 *   norm(v) = (v - mean) / sqrt(variance + 1e-5) * weight + bias     (own weight and bias each time)
 *   gelu(v) = v/2 (1 + erf(v / sqrt 2))
 *
 * lru: the linear recurrent unit of Orvieto et al. 2023; complex (H), A (D,2H): columns 0..H-1 real, H..2H-1 imaginary.
 *     h   = lambda * h + gamma * u     lambda = exp(-exp(nu_log) + i exp(theta_log)), gamma = exp(gamma_log)
 *     Re(h C) is [Re h, Im h] C with C (2H,D): the rows H..2H-1 hold -Im C.
 * gru: the gated recurrent unit of Cho et al. 2014 as GRU4Rec uses it (Hidasi et al. 2016), in PyTorch's form; A (D,3H) and
 * R (H,3H) hold the parts r, z, n side by side, in this order.
 *     s   = h R + b
 *     r   = sigmoid(u_r + s_r)         z = sigmoid(u_z + s_z)
 *     n   = tanh(u_n + r * s_n)
 *     h   = n + z * (h - n)
 *
 * attention: causal self attention (Vaswani et al. 2017; on items SASRec: Kang, McAuley, ICDM 2018) in heads of d = H / heads
 * columns; A (D,3H): queries q, keys k, values v. t counts a user's steps from 0.
 *     h[t] = for each head: sum over s of softmax over s (q[t] k[s] / sqrt d) v[s],  s = max(0, t - window + 1) .. t
 *     rotary (Su et al. 2021): q[t] and k[t] turn with t, so that only t - s counts. Steps go on without end, the oldest key
 *     leaves for the newest: a vector is a function of the newest L (window - 1) + 1 inputs.
 *     learnt positions: x0 = norm(... + position.embedding[t]). A step that finds all `window` positions taken first has the
 *     newest window / 2 inputs (rounded down) taken again, as if they were the first: a vector is a function of the newest n
 *     inputs, n at most window. (A session window loses its older half likewise: docs/STATE.md, rule 8.)
 *     A state holds keys and values of `window` positions, some 2 L H window floats; those not in use may be anything, so two
 *     states that mean the same need not be equal bytes. Their vectors are.
 * Content features: a trained model may hold a vector G[f] for each category, brand, price step and title word that its items share.
 * E[item] then is what was learnt of the item alone plus sum over its features of G[f] / sqrt(their number), added up when the
 * model is made: nothing that runs looks at G, save for items that the model does not know (model_content_vector). Sums of
 * feature vectors for items are LightFM's (Kula 2015); the root keeps items with many words as long as those with few.
 * Departures: items count from 0 and there is no padding item; C is kept as the real matrix that acts
 * on [Re h, Im h], and the imaginary half of its bias, which never reaches the output, is left out. */

/* ---- parameters: one table drives load, save, gradients and tests ---- */

enum { MODEL_MAX_BATCH = 256, MODEL_MAX_K = 1024, MODEL_MAX_BLOCKS = 8, MODEL_MAX_WINDOW = 1024 };

enum model_encoder_kind { ENCODER_LRU, ENCODER_GRU, ENCODER_ATTENTION, ENCODER_KINDS };
extern const char *const model_encoder_names[ENCODER_KINDS]; /* as in model.json */

/* The shape of an encoder. D, H and F are multiples of 16, at most 1024, 1024 and 4096. */
struct model_config {
    int N; /* items, at least 1 */
    int D;
    int H;
    int L;         /* 1..MODEL_MAX_BLOCKS */
    int F;         /* 4 D by default */
    int n_types;   /* rows of the event type embedding; 0: the model has none */
    int n_gaps;    /* rows of the time gap embedding; 0: the model has none */
    int n_content; /* rows of the content embedding; 0: the model has none */
    enum model_encoder_kind encoder;
    /* Of attention alone, else 0. */
    int heads;     /* H is 16 times a multiple of it */
    int positions; /* rows of the learnt position embedding: window, or 0 and the model has none */
    int window;    /* steps that a step sees at most, itself included; 1..MODEL_MAX_WINDOW */
    bool rotary;   /* keys and queries are turned by their position */
};

/* One tensor of the table. All tensors lie in one block of float32, row-major, one behind the other. */
struct model_param {
    char name[40];
    int dims[3]; /* (n_dims) */
    int n_dims;
    size_t offset; /* in floats from the start of the block; a multiple of 16 */
    size_t count;  /* floats: the product of dims */
};

/* Which tensor a table entry is; those of a block are repeated for each of the L blocks. */
enum model_tensor {
    MODEL_ITEM_EMBEDDING,     /* (N,D)       item.embedding */
    MODEL_ITEM_BIAS,          /* (N)         item.bias */
    MODEL_TYPE_EMBEDDING,     /* (n_types,D) type.embedding; absent when n_types is 0 */
    MODEL_GAP_EMBEDDING,      /* (n_gaps,D)  gap.embedding; absent when n_gaps is 0 */
    MODEL_POSITION_EMBEDDING, /* (positions,D) position.embedding; absent when positions is 0 */
    MODEL_CONTENT_EMBEDDING,  /* (n_content,D) content.embedding: G; absent when n_content is 0 */
    MODEL_INPUT_NORM_WEIGHT,  /* (D)         input.norm.weight */
    MODEL_INPUT_NORM_BIAS,    /* (D)         input.norm.bias */
    MODEL_LRU_NU_LOG,    /* (H)         block.0.lru.nu_log, and so on for each block; lru alone */
    MODEL_LRU_THETA_LOG, /* (H)         block.0.lru.theta_log */
    MODEL_LRU_GAMMA_LOG, /* (H)         block.0.lru.gamma_log */
    MODEL_MIX_IN_WEIGHT, /* (D,2H) lru, (D,3H) gru and attention: block.0.<kind>.in.weight */
    MODEL_MIX_IN_BIAS,   /* (2H), (3H)       block.0.<kind>.in.bias */
    MODEL_GRU_STATE_WEIGHT, /* (H,3H)       block.0.gru.state.weight: R; gru alone */
    MODEL_GRU_STATE_BIAS,   /* (3H)       block.0.gru.state.bias: b */
    MODEL_MIX_OUT_WEIGHT,   /* (2H,D) lru, (H,D) gru and attention: block.0.<kind>.out.weight */
    MODEL_MIX_OUT_BIAS,     /* (D)         block.0.<kind>.out.bias */
    MODEL_MIX_NORM_WEIGHT,  /* (D)         block.0.<kind>.norm.weight */
    MODEL_MIX_NORM_BIAS,    /* (D)         block.0.<kind>.norm.bias */
    MODEL_FFN_IN_WEIGHT,    /* (D,F)       block.0.ffn.in.weight: W1 */
    MODEL_FFN_IN_BIAS,      /* (F)         block.0.ffn.in.bias */
    MODEL_FFN_OUT_WEIGHT,   /* (F,D)       block.0.ffn.out.weight: W2 */
    MODEL_FFN_OUT_BIAS,     /* (D)         block.0.ffn.out.bias */
    MODEL_FFN_NORM_WEIGHT,  /* (D)         block.0.ffn.norm.weight */
    MODEL_FFN_NORM_BIAS,    /* (D)         block.0.ffn.norm.bias */
    MODEL_TENSOR_COUNT,
    MODEL_FIRST_OF_BLOCK = MODEL_LRU_NU_LOG,
};

enum {
    MODEL_MAX_PARAMS =
        MODEL_FIRST_OF_BLOCK + MODEL_MAX_BLOCKS * (MODEL_TENSOR_COUNT - MODEL_FIRST_OF_BLOCK)
};

/* NULL when the shape is allowed, else what is wrong with it (static text). */
const char *model_config_check(const struct model_config *config);
/* Fills the table (at most MODEL_MAX_PARAMS entries), in the order of the block; returns how many.
 * config: one that model_config_check allows. */
int model_params(const struct model_config *config, struct model_param *table);
/* Floats in the block, gaps of alignment included. */
size_t model_params_floats(const struct model_config *config);
/* Where a tensor of a block starts in the parameter block, in floats; SIZE_MAX when the config has none.
 * block: 0..L-1; not looked at for tensors outside the blocks. */
size_t model_param_offset(const struct model_config *config, enum model_tensor tensor, int block);
/* The two dimensions of a tensor of each config, 0 when it has none; a vector has 1 column. */
int model_param_rows(const struct model_config *config, enum model_tensor tensor);
int model_param_cols(const struct model_config *config, enum model_tensor tensor);
/* Start values for training, as in LRURec: normal, deviation 0.02, cut at 0.04; biases and norms 0 and 1;
 * |lambda| uniform in the ring 0.8..0.99; A and R of gru uniform within 1 / sqrt(H) as in PyTorch. params (model_params_floats) written, gaps zeroed. */
void model_params_init(const struct model_config *config, uint64_t seed, float *params);
/* The row of gap.embedding for a time gap: 0 under one second, then one row for each doubling of the
 * seconds, the last row for all longer ones. n_gaps at least 1. */
int model_gap_bucket(int64_t gap_ms, int n_gaps);
/* By how many radians a position turns the pair (i, i + d/2) of a head of d columns: 10000^(-2i/d). */
double model_rotary_frequency(int i, int d);

/* ---- the model ---- */

struct model;
/* Working memory of one thread; grows to the largest batch seen, then never allocates again. */
struct model_scratch;

struct model_info {
    uint64_t id;         /* hash of the parameter file: two models differ in it */
    const char *version; /* text for model_version */
    const char *encoder; /* one of model_encoder_names */
    const char *tenant;  /* whose items: "" by default */
    int D, N, S;
    int max_batch; /* largest B of step and topk */
};

/* Reads <folder>/model.json, model.safetensors and items.json (folder.c has the format).
 * Errors: ERR_FATAL (exit 6) with what is wrong and where. */
MUST_USE bool model_load(struct model **model, const char *folder, struct err *err);
/* An lru model with random weights, for benches and tests: N items named "0".."N-1", D, H, L as given; F = 4 D,
 * tenant "", no type and gap embeddings. */
struct model *model_random(int N, int D, int H, int L, uint64_t seed);
/* The same of any shape that model_config_check allows. */
struct model *model_random_of(const struct model_config *config, uint64_t seed);

/* What a model is made of. */
struct model_parts {
    struct model_config config;
    const float *params;        /* (model_params_floats) one parameter block */
    const struct str *item_ids; /* (N) different UTF-8 texts of 1 to 256 bytes */
    const struct str
        *content; /* (n_content) different names of features; NULL when there are none */
    const size_t *feature_start; /* (N + 1), from 0, rising; NULL: no item's features are known */
    const int32_t *
        features; /* of item i, each once: [feature_start[i], feature_start[i + 1]), at most MODEL_CONTENT_MAX */
    const char *tenant;  /* whose items */
    const char *version; /* text for model_version; "": encoder and half of the id */
};
/* Copies the parts. Errors: ERR_FATAL exit 6: shape, an id twice or malformed, a value that is
 * not finite or over 1e12 in size. */
MUST_USE bool model_from_params(struct model **model, const struct model_parts *parts,
                                struct err *err);
/* The block that the model was made of, and its shape. Lives as long as the model. */
const float *model_raw_params(const struct model *model);
struct model_config model_shape(const struct model *model);

/* Writes a folder that model_load reads and Python's safetensors opens. */
MUST_USE bool model_save(const struct model *model, const char *folder, struct err *err);
void model_free(struct model *model);
struct model_info model_info(const struct model *model);

struct model_scratch *model_scratch_new(const struct model *model);
void model_scratch_free(struct model_scratch *scratch);

/* Items: index 0..N-1 in the model's order; -1 when the model does not know the key. */
int32_t model_item_index(const struct model *model, uint64_t item_key);
uint64_t model_item_key(const struct model *model, int32_t index);
struct str model_item_id(const struct model *model, int32_t index);

/* ---- content: items by what is known of them ---- */

/* What a catalogue says of an item. */
struct model_content {
    struct str title, brand;
    const struct str *categories; /* (n_categories) */
    size_t n_categories;
    double price; /* not over 0, or no number: not known */
};

enum { MODEL_CONTENT_MAX = 48, MODEL_CONTENT_NAME = 96 };

/* The features of an item. */
struct model_features {
    int n;
    struct str name[MODEL_CONTENT_MAX]; /* (n) different texts, in `bytes` */
    char bytes[MODEL_CONTENT_MAX * MODEL_CONTENT_NAME];
};

/* "category:Comedy" for each category, "brand:Acme", "price:6" (the whole number below 2 log2 of the price: two steps for each
 * doubling) and "word:comedy" for each word of the title, in this order. A word is a run of letters, digits and what is not ASCII, two
 * bytes or more, with A-Z made small. Features with longer names than MODEL_CONTENT_NAME and those behind MODEL_CONTENT_MAX are
 * left out. Thread: any. */
void model_content_features(const struct model_content *content, struct model_features *features);
/* An item from its content alone: vector (D) = sum of the known features' G / sqrt(their number). Returns how many are known; with
 * 0 the vector is zeros. */
int model_content_vector(const struct model *model, const struct model_content *content,
                         float *vector);
/* The mean bias of the last tenth of the items, which training met least: that of an item that it never met. */
float model_tail_bias(const struct model *model);
/* score[i] = dot(vector, item[i]) + bias, as model_topk scores its own: vector and each item (D), n items. */
void model_content_score(const struct model *model, const float *vector, int n,
                         const float *const *item, float bias, float *score);
/* The K items with the largest cosine of their vector and this one (D), above 0, that skip does not refuse (NULL refuses none), best first.
 * Returns how many; none for a vector of zeros. It looks at all items (similar.c): 1.3 ms for 50,000 of D 64. K at least 1. Thread: any. */
int model_similar(const struct model *model, const float *vector, int K,
                  bool (*skip)(void *context, uint64_t key), void *context,
                  struct model_scored *out);
/* Of a model with content features: name of feature f, 0..n_content-1. Lives as long as the model. */
struct str model_content_name(const struct model *model, int f);
/* The features (returned count) of an item of the model, 0 when they are not known. They live as long as the model. */
int model_item_features(const struct model *model, int32_t index, const int32_t **features);

/* One interaction, as the encoder sees it. */
struct model_input {
    int32_t item;   /* index, never -1: unknown items take no step */
    int32_t type;   /* enum event_type */
    int64_t gap_ms; /* since the interaction before it; 0 for the first */
};

/* The state of nobody: what a user has before the first step. state (S). */
void model_state_init(const struct model *model, float *state);
/* One step of one user, among the rows of model_advance. */
struct model_row {
    float *state; /* (S) of the user, updated in place */
    struct model_input input;
    bool fresh; /* the step is taken from the state of nobody, whatever `state` holds */
    /* Nobody reads the vector behind this row, since another of the same state follows: it is not made, and the one in
     * `state` stays as it was. */
    bool passing;
};

/* n steps in order, any users: rows with the same state are consecutive steps of one user. vectors (n,D): the user vector after
 * each row that is not passing, or NULL. n at most MODEL_MAX_BATCH. A type or gap that the model has no row for takes the last. Same bits however
 * steps are cut into calls; a call with many rows reads the weights once for all. */
void model_advance(const struct model *model, struct model_scratch *scratch, int n,
                   const struct model_row *rows, float *vectors);
/* One step for B users at once: model_advance for users that are distinct. */
void model_step(const struct model *model, struct model_scratch *scratch, int B,
                float *const *state, const struct model_input *input);
/* A whole window from the state of nobody: state (S) written. T = 0 is model_state_init. Same bits as T
 * steps. T has no maximum. */
void model_prefill(const struct model *model, struct model_scratch *scratch, int T,
                   const struct model_input *input, float *state);
/* Where the user vector (D) stands inside a state: the encoder's last output; zeros before the first
 * step. Lives as long as the state. */
const float *model_state_vector(const struct model *model, const float *state);

/* What no list may hold for a while (sold out, refused by a rule): a bit for each item, as the scan meets them, so that
 * refusing many items costs a list less than refusing few. Of one model alone. (filter.c) */
struct model_filter;
struct model_filter *model_filter_new(const struct model *model); /* refuses nothing */
void model_filter_free(struct model_filter *filter);              /* NULL is fine */
void model_filter_set(struct model_filter *filter, const struct model *model, int32_t item,
                      bool is_refused);
bool model_filter_refuses(const struct model_filter *filter, const struct model *model,
                          int32_t item);

/* Indices a list must not hold, ascending, no repeats; and what the filter refuses, when there is one. */
struct model_exclusions {
    const int32_t *items;
    int n;
    const struct model_filter *filter; /* NULL: none */
};

/* Exact top-k for B users: the K items with the largest score[i] = dot(vector[b], item[i]) + bias[i]
 * (float32, the fixed order of summation above) that are not excluded; ties by smaller index. out_item and
 * out_score are (B,K), best first; rows shorter than K (small catalogue) end in item -1, score -infinity.
 * B at most MODEL_MAX_BATCH, K 1..MODEL_MAX_K. A vector that is not finite or over 1e15 in size counts as zeros. exclusions (B), or NULL for none.
 * How: topk.c. */
void model_topk(const struct model *model, struct model_scratch *scratch, int B,
                const float *const *vector, const struct model_exclusions *exclusions, int K,
                int32_t *out_item, float *out_score);

/* The same by its definition, one dot after the other: the twin that tests and benches compare with. */
void model_topk_naive(const struct model *model, int B, const float *const *vector,
                      const struct model_exclusions *exclusions, int K, int32_t *out_item,
                      float *out_score);
/* All scores of one user vector, to the same bits. vector (D), score (N) written. */
void model_score(const struct model *model, const float *vector, float *score);

/* ---- because: which interaction an item of the encoder's list is there for ---- */

enum { MODEL_BECAUSE_MAX = 6 };

/* The user's newest items that may be named, each once; begins as zeros. */
struct model_because {
    int n;
    int32_t items[MODEL_BECAUSE_MAX]; /* (n) indices, as they were added */
    float scale[MODEL_BECAUSE_MAX];   /* (n) 1 / length of the item's vector */
};
/* Adds an item unless it is there or its index is -1. Returns whether there is room for another. */
bool model_because_add(const struct model *model, struct model_because *because, int32_t item);
/* The added item whose vector has the largest cosine with that of `item`, ties: added first; -1 when there is none.
 *
 * The exact answer, the item without which the score falls most, costs an encoding of the window for each item. What the
 * cosine names is mostly that one, and without it the item nearly always falls: docs/QUALITY.md has the shares. Thread: any. */
int32_t model_because(const struct model *model, const struct model_because *because, int32_t item);

/* ---- session neighbours ---- */

/* VMIS-kNN (Kersbergen, Sprangers, Schelter: "Serenade", SIGMOD 2022) over an index kept click by click.
 *
 *   sample      the m sessions with the newest last click among those that hold one of the query's last_n items
 *   sim(s)      age(s) * sum over the query's distinct items that s holds of similarity(their place, places)
 *   age(s)      2 ^ -((newest time seen - time of the last click of s) / half_life_ms), or 1
 *   neighbours  the k samples with the largest sim; of equals the newer
 *   score(i)    idf(i) * sum over neighbours that hold i of sim(s) position(steps(s)) near(places in s from i to match(s))
 *   match(s)    the newest of the query's items that s holds; steps(s) = 1 when that is the query's newest, 2 for the
 *               one before it, ...
 *   near(d)     e ^ (-d / reach), 0 from 64 places on; or 1    (after STAN: Garg et al., SIGIR 2019)
 *
 * Shapes of the weights, as session-rec's vsknn has them (Ludewig, Jannach 2018); p from 1, the oldest, to n:
 *
 *                  similarity(p, n)              position(steps)
 *     SAME         1                             1
 *     LINEAR       max(0, 1 - 0.1 (n - p))       max(0, 1 - 0.1 steps)
 *     DIV          p / n                         1 / steps
 *     LOG          1 / log10(n - p + 1.7)        1 / log10(steps + 1.7)
 *     QUADRATIC    (p / n)^2                     1 / steps^2
 *
 *   idf(i)      PLUS 1 + idf_weight l, TIMES idf_weight l, NONE 1, where l = log(sessions / sessions with i)
 *
 * VMIS-kNN as published: similarity DIV, position LINEAR, no age, no reach. An item twice in a query counts at its newest
 * place. Departures: the idf is counted over what the index holds now; LINEAR is never below 0; the query's own session
 * is left out.
 *
 * Expiry, A = max_age_ms, W = the newest time of all adds: a click older than W - A is not taken. Each add drops sessions
 * from the one whose last add is longest ago, up to the first whose newest click is not older than W - A. So none leaves
 * by age while its newest click is within A of W; clicks in the order of time leave as soon as they are older; a session
 * of late clicks may stay, but none whose newest click is more than 2 A behind W. A click with a time far ahead moves W:
 * the caller refuses such clicks.
 *
 * Invariant: the index is a function of the sequence of adds alone. Thread: one owner (a query writes scratch). */
struct model_neighbours;

enum model_neighbours_decay {
    NEIGHBOURS_SAME,
    NEIGHBOURS_LINEAR,
    NEIGHBOURS_DIV,
    NEIGHBOURS_LOG,
    NEIGHBOURS_QUADRATIC
};

enum model_neighbours_idf { NEIGHBOURS_IDF_NONE, NEIGHBOURS_IDF_TIMES, NEIGHBOURS_IDF_PLUS };

enum { MODEL_NEIGHBOURS_LAST_MAX = 16 };

struct model_neighbours_options {
    int sessions_max;   /* at least 1; the session not clicked for longest leaves first */
    int clicks_max;     /* at least 1: pairs of session and item, bounded likewise */
    int items_max;      /* at least 1, of one session: its oldest item leaves */
    int64_t max_age_ms; /* 0: no expiry */
    int m, k;           /* at least 1 */
    int last_n;         /* 1..MODEL_NEIGHBOURS_LAST_MAX */
    enum model_neighbours_decay similarity, position;
    enum model_neighbours_idf idf;
    double idf_weight;   /* at least 0 */
    double half_life_ms; /* of a session's weight; 0: none */
    double reach;        /* items, at least 0; 0: none */
};

struct model_neighbour {
    uint64_t key; /* item */
    double score;
    uint32_t follows; /* neighbours that went to it from the query's newest item */
};

struct model_neighbours *model_neighbours_new(const struct model_neighbours_options *options);
void model_neighbours_free(struct model_neighbours *index);
/* One click. The order of calls is the order of recency; time_ms serves expiry and age. No heap call once the maps have
 * grown to what the bounds allow; a query makes none. */
void model_neighbours_add(struct model_neighbours *index, uint64_t session, uint64_t item,
                          int64_t time_ms);
/* The K best items for a session with these items (n, newest last) that skip does not refuse (NULL refuses none), best
 * first, ties by smaller key; returns how many. session: whose neighbours are asked for; itself it is none. K at least 1. */
int model_neighbours_query(struct model_neighbours *index, uint64_t session, const uint64_t *items,
                           int n, int K, bool (*skip)(void *context, uint64_t key), void *context,
                           struct model_neighbour *out);
/* Sessions and clicks held now. */
/* Drops every session whose id has these bits under the mask; returns how many. The next model_neighbours_changes tells of them. */
int model_neighbours_forget(struct model_neighbours *index, uint64_t mask, uint64_t bits);
int model_neighbours_sessions(const struct model_neighbours *index);
int model_neighbours_clicks(const struct model_neighbours *index);
/* Heap held, in bytes: what was in use at some time, not what the bounds allow; and the most that they allow. While a map
 * doubles, its old half counts as well. */
size_t model_neighbours_bytes(const struct model_neighbours *index);
size_t model_neighbours_bytes_max(const struct model_neighbours_options *options);
/* Sets clicks_max and sessions_max (a third of it) to the largest that stay within so many bytes, but clicks_max at
 * least to items_max. */
void model_neighbours_bound(struct model_neighbours_options *options, size_t bytes);

/* The index is its sessions and its head; the lists of items follow from them. A session as a store keeps it: */
struct model_neighbours_session {
    uint64_t id;
    uint64_t recency;      /* number of the add that touched it last, from 1; all differ */
    int64_t last_ms;       /* its newest click */
    const uint64_t *items; /* (n) keys, oldest first, no repeats; lives until visit returns */
    int n;                 /* 0: the session left */
};

struct model_neighbours_head {
    uint64_t adds;     /* so far */
    int64_t newest_ms; /* of all adds; INT64_MIN none */
};

/* Tells of every session that left, is new or changed since the last call (or since it was restored): first those that left,
 * then the others, which may have the id of one that left. */
void model_neighbours_changes(struct model_neighbours *index,
                              void (*visit)(void *context,
                                            const struct model_neighbours_session *session),
                              void *context);
struct model_neighbours_head model_neighbours_head(const struct model_neighbours *index);
/* The way back: every session into a new index, by rising recency, then the head. Every later add and query does what it
 * would have done in the index that told. Under smaller bounds the newest sessions stay, and those that did not leave. */
void model_neighbours_restore(struct model_neighbours *index,
                              const struct model_neighbours_session *session);
void model_neighbours_resume(struct model_neighbours *index,
                             const struct model_neighbours_head *head);

/* ---- blend ---- */

enum { MODEL_MAX_CANDIDATES = 2048 };

enum model_arm { ARM_ENCODER, ARM_NEIGHBOURS, ARM_POPULAR, ARM_RELATED, ARM_TRENDING, ARM_COUNT };

struct model_candidates {
    const uint64_t *keys; /* (n) item keys, best first */
    int n;
    const float *scores; /* (n) falling; NULL: none. What model_rank alone looks at */
};

struct model_blended {
    uint64_t key;
    float score;
    uint32_t arms; /* bit a set: arm a proposed it */
};

/* Weighted reciprocal rank fusion (Cormack, Clarke, Buettcher 2009): score = sum over arms of
 * weight / (60 + rank), rank from 1. Ties: the item met first, arms in order. Writes at most K, returns
 * how many. The arms together hold at most MODEL_MAX_CANDIDATES; a key stands once in an arm. */
int model_blend(const struct model_candidates *arms, const float *weights, int n_arms, int K,
                struct model_blended *out);

/* ---- the learned ranker: takes the place of rank fusion when the model has one ---- */

/* What it knows of a candidate. A feature that is absent is 0.
 *
 *   <arm>.listed   1 when the arm proposes it
 *   <arm>.rank     60 / (60 + rank), rank from 1: a ranker that sums these is rank fusion
 *   <arm>.share    encoder: (score - the list's first score) / 4, a logit; neighbours, related and trending: ln(score / sum of the list's scores) / 4;
 *                  at least -5; popular: 0
 *   follows        ln(1 + f) / 4, f neighbours that went to it from the newest item (struct model_neighbour)
 *   follow.share   f / (3 + sum of f over the list)
 *   popularity     1 - ln(1 + i) / ln(1 + N), i its index in the model, whose items stand by falling count in the training part
 *   session.*      of the newest MODEL_RANKER_SESSION items: holds it; 1 / steps back to it, 1 for the newest; ln(how often);
 *                  it is the newest; length: ln(n) / 3
 *   category       of the item's categories the one that most of these items have: their number / n (affinity.c)
 *   price          1 / (1 + |p - mean p of these items|), p the steps of model_content_features
 *                  Both 0 where they are not known: for a model that learnt without a catalogue, for items it does not know */
enum model_feature {
    FEATURE_LISTED,                           /* of arm a at FEATURE_LISTED + a */
    FEATURE_RANK = ARM_COUNT,                 /* likewise */
    FEATURE_SHARE = FEATURE_RANK + ARM_COUNT, /* likewise */
    FEATURE_FOLLOWS = FEATURE_SHARE + ARM_COUNT,
    FEATURE_FOLLOW_SHARE,
    FEATURE_POPULARITY,
    FEATURE_SESSION_HOLDS,
    FEATURE_SESSION_STEPS,
    FEATURE_SESSION_TIMES,
    FEATURE_SESSION_NEWEST,
    FEATURE_SESSION_LENGTH,
    FEATURE_PRICE,
    FEATURE_CATEGORY,
    FEATURE_COUNT
};
extern const char *const model_feature_names[FEATURE_COUNT];

enum {
    MODEL_FEATURES = 32, /* places of a row; those from FEATURE_COUNT on are 0 */
    MODEL_RANKER_HIDDEN = 16,
    MODEL_RANKER_DEPTH = 50,   /* candidates that an arm should give: what a ranker is learnt on */
    MODEL_RANKER_SESSION = 20, /* items of the session that are looked at */
};

/* score(x) = linear . x + out . relu(x W + bias), x (MODEL_FEATURES). Starts as linear[rank of each arm] = 1: rank fusion. */
struct model_ranker {
    float linear[MODEL_FEATURES];
    float in_weight[MODEL_FEATURES * MODEL_RANKER_HIDDEN]; /* W, row-major */
    float in_bias[MODEL_RANKER_HIDDEN];
    float out_weight[MODEL_RANKER_HIDDEN];
};

/* What a ranking looks at of the user's newest items; made by model_session_note alone. */
struct model_session {
    uint64_t keys[MODEL_RANKER_SESSION]; /* (n) newest last */
    int n;
    uint64_t repeats
        [MODEL_RANKER_SESSION]; /* (n_repeats) what a list may hold again, each once, newest first */
    int n_repeats;
};
/* Notes the newest MODEL_RANKER_SESSION of keys (n, newest last); those that skip does not refuse (NULL refuses none) are repeats.
 * Pipeline and evaluation note through it alike. Thread: any. */
void model_session_note(struct model_session *session, const uint64_t *keys, int n,
                        bool (*skip)(void *context, uint64_t key), void *context);

/* What there is to rank: arms that propose nothing have n = 0. */
struct model_ranking {
    struct model_candidates arms[ARM_COUNT];
    const uint32_t *follows; /* (n of the neighbours) model_neighbour.follows; NULL: none */
    const uint64_t *session; /* (n_session) the user's newest items, newest last */
    int n_session;           /* more than MODEL_RANKER_SESSION are cut */
    struct model_candidates
        repeats; /* items of the session that may be listed again, each once, newest first; of no arm */
};
/* Sets session and repeats, which live as long as the session. */
void model_ranking_session(struct model_ranking *ranking, const struct model_session *session);

/* NULL when none was learnt. Lives until model_set_ranker or model_free. */
const struct model_ranker *model_ranker(const struct model *model);
/* Gives the model a copy; NULL takes the one it has. model_save and model_load keep it (ranker_file.c). */
void model_set_ranker(struct model *model, const struct model_ranker *ranker);
/* The features of every different candidate, in the order in which they are met, arms in order, then repeats. met and features
 * (n,MODEL_FEATURES) have room for all candidates of the arms together, at most MODEL_MAX_CANDIDATES. Returns n. Scores of
 * met are not set. Thread: any. */
int model_rank_features(const struct model *model, const struct model_ranking *ranking,
                        struct model_blended *met, float *features);
/* The K best by the model's ranker, which it has; an arm for which it has no weight (it was learnt without it) proposes nothing. Ties: the candidate met first. Returns how many. No heap call; the same bits
 * for a candidate wherever it stands. Thread: any. */
int model_rank(const struct model *model, const struct model_ranking *ranking, int K,
               struct model_blended *out);

#endif
