#ifndef MODEL_INTERNAL_H
#define MODEL_INTERNAL_H

#include "base/buf.h"
#include "base/map.h"
#include "model/model.h"

/* Shared inside model/ only. */

/* ---- kernels.c and kernels_*.c: the inner loops, one table of functions an instruction set ---- */

/* All tables give the same bits; the orders of operations are those of the invariant in model.h. Arrays
 * of a kernel do not overlap. n, m, D, H are multiples of 16. Thread: any. */
struct model__kernels {
    const char *name; /* "avx512", "avx2", "plain" */
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
    /* The dot product in 16 chains. a, b (D). */
    float (*dot)(int D, const float *a, const float *b);
};

extern const struct model__kernels model__kernels_plain;
#ifdef __x86_64__
extern const struct model__kernels model__kernels_avx2;
extern const struct model__kernels model__kernels_avx512;
#endif

/* The best table for this processor; with FRESHET_KERNELS=plain, avx2 or avx512 in the environment that
 * one, if the processor has it. */
const struct model__kernels *model__kernels_best(void);
/* The table of that name; NULL when this processor or build does not have it. */
const struct model__kernels *model__kernels_named(const char *name);

/* Copies W (n,m) so that 64 columns lie together: packed (m/64, n, 64), the last tile narrower when m is
 * no multiple of 64. A pass over one tile then reads memory in order. */
void model__pack(int n, int m, const float *W, float *packed);

/* ---- model.c ---- */

struct model {
    struct model_config config;
    int S;
    float *params; /* (model_params_floats), aligned to 64 bytes */
    float
        *packed; /* the weight matrices of the blocks, packed, at the offsets they have in params */
    float *lambda;      /* (L,3,H) real part, imaginary part, gamma of each block */
    size_t packed_from; /* where the first block begins in params: packed begins there */
    size_t offset[MODEL_MAX_BLOCKS][MODEL_TENSOR_COUNT]; /* into params; SIZE_MAX absent */
    uint64_t id;
    char *version;
    char *tenant;
    uint64_t *keys;        /* (N) item keys */
    char *id_bytes;        /* all item ids, one behind the other */
    uint32_t *id_ends;     /* (N) where each ends in id_bytes */
    struct map_u64 *index; /* item key -> index */
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

/* Largest magnitude that a parameter and an element of a user vector may have: their dot products stay
 * far from overflow, so that scores and the bounds of topk.c are finite. A vector beyond it, or not finite
 * (only a model made to break things gives one), counts as zeros. */
#define MODEL__PARAM_MAX  1e12f
#define MODEL__VECTOR_MAX 1e20f

/* ---- scratch: encoder.c ---- */

struct model_scratch {
    int rows;    /* of the arrays below */
    float *x;    /* (rows,D) the row that goes through the blocks */
    float *z;    /* (rows,D) */
    float *u;    /* (rows,2H) */
    float *h;    /* (rows,2H) */
    float *wide; /* (rows,F) */
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
