#ifndef TRAIN_MIX_H
#define TRAIN_MIX_H

#include "train/encoder.h"
#include "train/kernels.h"

/* What encoder.c (the frame) and encoder_<kind>.c (what a position takes from those before it) share.
 *
 * Letters as in train/encoder.h, and U: columns of MODEL_MIX_IN_WEIGHT, W: rows of MODEL_MIX_OUT_WEIGHT. */

/* Which dropout of a pass; with the block it makes the seed. WITHIN is the kind's own. */
enum train__place {
    PLACE_EMBEDDING,
    PLACE_MIXED,
    PLACE_ACTIVE,
    PLACE_FEED_FORWARD,
    PLACE_COUNT,
    PLACE_WITHIN = MODEL_MAX_BLOCKS * PLACE_COUNT,
};

/* What one pass leaves behind for the backward pass of one block; (P, ...) each. */
struct train__layer {
    float *h;          /* (P,W) what mix made */
    float *own;        /* (P,layer_floats) the kind's */
    float *norm1_hat;  /* (P,D) */
    float *norm1_rstd; /* (P) */
    float *z;          /* (P,D) output of the first half */
    float *wide;       /* (P,F) before gelu */
    float *active;     /* (P,F) behind gelu and dropout */
    float *norm2_hat;  /* (P,D) */
    float *norm2_rstd; /* (P) */
    float *out;        /* (P,D) */
};

struct train__mix;

struct train__encoder {
    struct model_config config;
    int U, W;
    const struct train__mix *mix;
    void *own; /* the kind's, from mix->make */
    const struct train__kernels *kernels;
    size_t offset[MODEL_MAX_BLOCKS][MODEL_TENSOR_COUNT]; /* SIZE_MAX: the model has none */
    int rows;                                            /* room, in positions */
    float *memory;                                       /* all arrays below */
    float *norm0_hat, *norm0_rstd, *x0;                  /* (P,D), (P), (P,D) */
    struct train__layer layers[MODEL_MAX_BLOCKS];
    float *scratch_d;    /* (P,D) */
    float *scratch_wide; /* (P, max(F,U,W)) */
    float rate;          /* dropout of the forward pass under way */
    uint32_t seed;
};

/* One kind of encoder. Functions that may be NULL do nothing then. */
struct train__mix {
    /* Working memory that does not depend on the batch, or grows in begin; freed by drop. May be NULL. */
    void *(*make)(const struct model_config *config);
    void (*drop)(void *own);
    /* Floats of layer->own for a position. May be NULL: none. */
    int (*layer_floats)(const struct model_config *config);
    /* Once before the blocks of a forward pass. May be NULL. */
    void (*begin)(struct train__encoder *e, const float *params, const struct train__batch *batch);
    /* Adds to the embedded x (P,D), before dropout and norm, what the kind has beside item, type and gap. May be NULL. */
    void (*embed)(struct train__encoder *e, const float *params, const struct train__batch *batch,
                  float *x);
    /* The same backward: grad (P,D) of that sum, added to grads. May be NULL. */
    void (*embed_backward)(struct train__encoder *e, const struct train__batch *batch,
                           const float *grad, float *grads);
    /* layer->h (P,W) of block l from x (P,D); scratch_d and scratch_wide are free. */
    void (*forward)(struct train__encoder *e, const float *params, const struct train__batch *batch,
                    int l, const float *x);
    /* dh (P,W), which is scratch_wide and may be overwritten: the gradient of layer->h. Adds that of x to grad (P,D) and those of
     * the parameters to grads. scratch_d is free; layer->h and layer->own are not needed afterwards. */
    void (*backward)(struct train__encoder *e, const float *params,
                     const struct train__batch *batch, int l, const float *x, float *dh,
                     float *grad, float *grads);
};

extern const struct train__mix train__mix_lru;
extern const struct train__mix train__mix_gru;
extern const struct train__mix train__mix_attention;

/* ---- encoder.c: what the kinds use too ---- */

uint32_t train__place_seed(const struct train__encoder *e, enum train__place place, int block);
const float *train__tensor(const struct train__encoder *e, const float *params,
                           enum model_tensor which, int block);
float *train__tensor_grad(const struct train__encoder *e, float *grads, enum model_tensor which,
                          int block);
/* out (P,m) = x (P,n) weight (n,m) + bias (m), the tensors of block l; n and m are their shape. */
void train__affine(const struct train__encoder *e, const float *params, int P,
                   enum model_tensor weight, enum model_tensor bias, int l, const float *x,
                   float *out);
/* Its backward pass from dout (P,m): dx (P,n) = beta dx + its gradient; those of weight and bias are added to grads. */
void train__affine_backward(const struct train__encoder *e, const float *params, int P,
                            enum model_tensor weight, enum model_tensor bias, int l, const float *x,
                            const float *dout, float beta, float *dx, float *grads);
/* sum[j] += sum over p of x[p,j], x (P,n). */
void train__column_sums(int P, int n, const float *x, float *sum);
/* to[i] += x[i], n of them. */
void train__add(size_t n, const float *x, float *to);

#endif
