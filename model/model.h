#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/* model/: pure arithmetic. Encoders forward, exact top-k over the catalogue, blend of arms. No I/O but model_load, no
 * clock, no thread.
 *
 * Invariant: a result depends only on its inputs, never on the batch it was computed in, the instruction set or the
 * number of users beside it: each output element is a chain of fused multiply-adds in ascending order of the inner
 * index, so AVX-512, AVX2 and plain C (fmaf) give the same bits. (Lists must be byte-equal on replay.)
 *
 * Letters: B batch (users), T steps, D dimension of item and user vectors, H complex width of a recurrent layer,
 *          F width of the feed-forward layer, L blocks, N items, S floats of encoder state, K list length. */

struct model;
struct model_scratch; /* one per thread; grows to the largest batch seen, then never allocates again */

struct model_info {
    uint64_t id;          /* hash of the parameter file: two models differ in it */
    const char *version;  /* text for model_version */
    const char *encoder;  /* "lru" */
    const char *tenant;   /* whose items: "" by default */
    int D, N, S;
    int max_batch;        /* largest B of step and topk */
};

/* Reads <folder>/model.safetensors and <folder>/model.json. Errors: ERR_FATAL (exit 6) with what is wrong and where. */
MUST_USE bool model_load(struct model **model, const char *folder, struct err *err);
/* A model with random weights, for benches and tests: N items named "0".."N-1", D, H, L as given. */
struct model *model_random(int N, int D, int H, int L, uint64_t seed);
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

/* One interaction, as the encoder sees it. */
struct model_input {
    int32_t item;  /* index, never -1: unknown items take no step */
    int32_t type;  /* enum event_type */
    int64_t gap_ms; /* since the interaction before it; 0 for the first */
};

/* The state of nobody: what a user has before the first step. state (S). */
void model_state_init(const struct model *model, float *state);
/* One step for B users at once: state[b] (S floats, updated in place) <- state[b], input[b]. The users are distinct. */
void model_step(const struct model *model, struct model_scratch *scratch, int B, float *const *state,
                const struct model_input *input);
/* A whole window from the state of nobody: state (S) written. T = 0 is model_state_init. Same bits as T steps. */
void model_prefill(const struct model *model, struct model_scratch *scratch, int T, const struct model_input *input,
                   float *state);
/* Where the user vector (D) stands inside a state: the encoder's last output; zeros before the first step. */
const float *model_state_vector(const struct model *model, const float *state);

/* Indices a list must not hold, ascending, no repeats. */
struct model_exclusions {
    const int32_t *items;
    int n;
};

/* Exact top-k for B users: the K items with the largest score[i] = dot(vector[b], item[i]) + bias[i] (float32, the
 * fixed order of summation above) that are not excluded; ties by smaller index. out_item and out_score are (B,K), best
 * first; rows shorter than K (small catalogue) end in -1. */
void model_topk(const struct model *model, struct model_scratch *scratch, int B, const float *const *vector,
                const struct model_exclusions *exclusions, int K, int32_t *out_item, float *out_score);

/* ---- blend ---- */

enum model_arm { ARM_ENCODER, ARM_POPULAR, ARM_COUNT };

struct model_candidates {
    const uint64_t *keys; /* (n) item keys, best first */
    int n;
};

struct model_blended {
    uint64_t key;
    float score;
    uint32_t arms; /* bit a set: arm a proposed it */
};

/* Weighted reciprocal rank fusion (Cormack, Clarke, Buettcher 2009): score = sum over arms of weight / (60 + rank),
 * rank from 1. Ties: the item met first, arms in order. Writes at most K, returns how many. */
int model_blend(const struct model_candidates *arms, const float *weights, int n_arms, int K, struct model_blended *out);

#endif
