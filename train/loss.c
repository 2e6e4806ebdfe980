/* Softmax cross-entropy in tiles of positions by chunks of candidates.
 *
 * A block of logits (positions of a tile, candidates of a chunk) stays in the cache of the second level while it is made by a matrix
 * product, turned into exponentials and used up by the product for dx. The exponentials are relative to the largest logit
 * of the row so far, and what was summed before is made smaller when that rises (Milakov and Gimelshein 2018, Dao et al. 2022). The
 * gradient of the weights needs the whole sum of a row, so the blocks of one tile are kept, and read once more for the last
 * product; what is left to scale is scaled in its other operand. So memory does not grow with positions times candidates, and each
 * exponential goes to memory once and comes back once. */
#include "train/loss.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "train/encoder.h"
#include "train/kernels.h"

/* Measured with D 64 and OpenBLAS 0.3.21 on AVX-512, three products: 120 GFLOPS with tiles of 256 and chunks of 512, 110 with
 * 128 and 1,024, 70 with 256 and all of 54,000. */
enum { TILE_MAX = 256, CHUNK = 512 };

struct train__loss {
    const struct train__kernels *kernels;
    size_t memory_max;
    size_t room;        /* floats in logits */
    float *logits;      /* (chunks, rows, CHUNK) */
    size_t chunks_room; /* of bias and top */
    float *bias;        /* (chunks, CHUNK) with padding that no candidate reaches */
    float *top;         /* (chunks, TILE_MAX) the largest logit of a row up to and with a chunk */
    int D_room;
    float *scaled;       /* (TILE_MAX,D) */
    float *mean;         /* (D) sum over c of spread[c] W[c] */
    double mean_bias;    /* sum over c of spread[c] (bias[c] + boost[c]) */
    float own[TILE_MAX]; /* the target's logit */
    double sum[TILE_MAX];
};

/* Positions [first, first + rows) of a call. */
struct tile {
    const struct train__softmax *args;
    int first, rows;
    int chunks;
};

struct train__loss *train__loss_new(size_t memory_max)
{
    struct train__loss *loss = mem_zalloc(sizeof *loss);
    loss->kernels = train__kernels_best();
    loss->memory_max = memory_max;
    return loss;
}

void train__loss_free(struct train__loss *loss)
{
    if (!loss) return;
    mem_free(loss->logits);
    mem_free(loss->bias);
    mem_free(loss->top);
    mem_free(loss->scaled);
    mem_free(loss->mean);
    mem_free(loss);
}

/* Room for a tile of a call; returns its rows. */
static int prepare(struct train__loss *loss, const struct train__softmax *args)
{
    size_t chunks = ((size_t)args->C + CHUNK - 1) / CHUNK;
    size_t rows = loss->memory_max / (chunks * CHUNK * sizeof(float));
    if (rows > TILE_MAX) rows = TILE_MAX;
    if (rows < 1) rows = 1;
    if (rows * chunks * CHUNK > loss->room) {
        mem_free(loss->logits);
        loss->room = rows * chunks * CHUNK;
        loss->logits = mem_aligned(64, loss->room * sizeof(float));
    }
    if (chunks > loss->chunks_room) {
        mem_free(loss->bias);
        mem_free(loss->top);
        loss->bias = mem_aligned(64, chunks * CHUNK * sizeof(float));
        loss->top = mem_aligned(64, chunks * TILE_MAX * sizeof(float));
        loss->chunks_room = chunks;
    }
    if (args->D > loss->D_room) {
        mem_free(loss->scaled);
        mem_free(loss->mean);
        loss->scaled = mem_aligned(64, TILE_MAX * (size_t)args->D * sizeof(float));
        loss->mean = mem_aligned(64, (size_t)args->D * sizeof(float));
        loss->D_room = args->D;
    }
    memcpy(loss->bias, args->bias, (size_t)args->C * sizeof(float));
    for (size_t c = (size_t)args->C; c < chunks * CHUNK; c++)
        loss->bias[c] = -1e9f;
    return (int)rows;
}

static struct tile tile_at(const struct train__softmax *args, int first, int rows)
{
    int left = args->P - first;
    return (struct tile){.args = args,
                         .first = first,
                         .rows = left < rows ? left : rows,
                         .chunks = (args->C + CHUNK - 1) / CHUNK};
}

/* Candidates of a chunk. */
static int width_of(const struct tile *t, int chunk)
{
    int left = t->args->C - chunk * CHUNK;
    return left < CHUNK ? left : CHUNK;
}

/* The same with padding to whole vectors. */
static size_t padded(int width)
{
    return (size_t)(width + 15) / 16 * 16;
}

static float *row_of(const struct train__loss *loss, const struct tile *t, int chunk, int r)
{
    return loss->logits + ((size_t)chunk * (size_t)t->rows + (size_t)r) * CHUNK;
}

static const float *weight_of(const struct tile *t, int chunk)
{
    return t->args->weight + (size_t)chunk * CHUNK * (size_t)t->args->D;
}

static const float *x_of(const struct tile *t, int r)
{
    return t->args->x + (size_t)(t->first + r) * (size_t)t->args->D;
}

static float *dx_of(const struct tile *t, int r)
{
    return t->args->dx + (size_t)(t->first + r) * (size_t)t->args->D;
}

/* The block's logits: a product onto the bias, since one onto nothing would begin by zeros that cost as much. */
static void block_logits(struct train__loss *loss, const struct tile *t, int chunk)
{
    int D = t->args->D, width = width_of(t, chunk);
    for (int r = 0; r < t->rows; r++)
        memcpy(row_of(loss, t, chunk, r), loss->bias + (size_t)chunk * CHUNK,
               padded(width) * sizeof(float));
    train__matmul(t->rows, width, D, x_of(t, 0), D, false, weight_of(t, chunk), D, true, 1.0f,
                  row_of(loss, t, chunk, 0), CHUNK);
}

/* A row of a block becomes exponentials relative to the largest logit so far. */
static void row_exponentials(struct train__loss *loss, const struct tile *t, int chunk, int r)
{
    const struct train__kernels *k = loss->kernels;
    size_t n = padded(width_of(t, chunk));
    float *row = row_of(loss, t, chunk, r);
    float top = k->largest(n, row);
    int32_t target = t->args->target[t->first + r], place = target - chunk * CHUNK;
    if (place >= 0 && place < CHUNK) {
        if (t->args->boost) row[place] += t->args->boost[target];
        if (row[place] > top) top = row[place];
        loss->own[r] = row[place];
    }
    if (chunk > 0) {
        float before = loss->top[(size_t)(chunk - 1) * TILE_MAX + (size_t)r];
        if (top > before) {
            float less = expf(before - top), *dx = dx_of(t, r);
            loss->sum[r] *= (double)less;
            for (int d = 0; d < t->args->D; d++)
                dx[d] *= less;
        } else {
            top = before;
        }
    }
    loss->top[(size_t)chunk * TILE_MAX + (size_t)r] = top;
    loss->sum[r] += (double)k->exp_sum(n, row, top);
}

/* dx becomes the mean of the weights by probability, but for its division by the sum. */
static void tile_forward(struct train__loss *loss, const struct tile *t)
{
    int D = t->args->D;
    memset(loss->sum, 0, sizeof loss->sum);
    for (int chunk = 0; chunk < t->chunks; chunk++) {
        block_logits(loss, t, chunk);
        for (int r = 0; r < t->rows; r++)
            row_exponentials(loss, t, chunk, r);
        train__matmul(t->rows, D, width_of(t, chunk), row_of(loss, t, chunk, 0), CHUNK, false,
                      weight_of(t, chunk), D, false, chunk == 0 ? 0.0f : 1.0f, dx_of(t, 0), D);
    }
}

/* What the target and the smoothing take from a row's gradient; returns its loss. */
static double row_target(struct train__loss *loss, const struct tile *t, int r)
{
    const struct train__softmax *args = t->args;
    const struct train__kernels *k = loss->kernels;
    size_t D = (size_t)args->D;
    int32_t target = args->target[t->first + r];
    const float *x = x_of(t, r), *weight = args->weight + (size_t)target * D;
    float *dx = dx_of(t, r), by_sum = (float)((double)args->scale / loss->sum[r]);
    float own = args->scale * (1 - args->smoothing), even = args->scale * args->smoothing;
    for (size_t d = 0; d < D; d++)
        dx[d] = dx[d] * by_sum - own * weight[d];
    k->add_scaled(D, x, -own, args->dweight + (size_t)target * D);
    args->dbias[target] -= own;
    double top = (double)loss->top[(size_t)(t->chunks - 1) * TILE_MAX + (size_t)r];
    double log_sum = log(loss->sum[r]) + top;
    double wanted = (1 - (double)args->smoothing) * (double)loss->own[r];
    if (even > 0) {
        double mean = loss->mean_bias;
        for (size_t d = 0; d < D; d++)
            mean += (double)x[d] * (double)loss->mean[d];
        wanted += (double)args->smoothing * mean;
        k->add_scaled(D, loss->mean, -even, dx);
    }
    return log_sum - wanted;
}

/* dweight, dbias of the exponentials. */
static void tile_backward(struct train__loss *loss, const struct tile *t)
{
    const struct train__softmax *args = t->args;
    const struct train__kernels *k = loss->kernels;
    size_t D = (size_t)args->D;
    const float *last = loss->top + (size_t)(t->chunks - 1) * TILE_MAX;
    for (int chunk = 0; chunk < t->chunks; chunk++) {
        const float *top = loss->top + (size_t)chunk * TILE_MAX;
        int width = width_of(t, chunk);
        for (int r = 0; r < t->rows; r++) {
            float by_sum = (float)((double)args->scale / loss->sum[r]) * expf(top[r] - last[r]);
            const float *x = x_of(t, r);
            for (size_t d = 0; d < D; d++)
                loss->scaled[(size_t)r * D + d] = by_sum * x[d];
            k->add_scaled(padded(width), row_of(loss, t, chunk, r), by_sum,
                          args->dbias + (size_t)chunk * CHUNK);
        }
        train__matmul(width, args->D, t->rows, row_of(loss, t, chunk, 0), CHUNK, true, loss->scaled,
                      args->D, false, 1.0f, args->dweight + (size_t)chunk * CHUNK * D, args->D);
    }
}

/* ---- label smoothing ----
 *
 * The part of q that is the same for all positions takes from the gradient one vector for all of dx, and for dweight one vector
 * by spread: nothing for each logit. */

static float spread_of(const struct train__softmax *args, int c)
{
    return args->spread ? args->spread[c] : 1.0f / (float)args->C;
}

static void smooth_forward(struct train__loss *loss, const struct train__softmax *args)
{
    size_t D = (size_t)args->D;
    memset(loss->mean, 0, D * sizeof(float));
    loss->mean_bias = 0;
    for (int c = 0; c < args->C; c++) {
        float boost = args->boost ? args->boost[c] : 0.0f;
        loss->kernels->add_scaled(D, args->weight + (size_t)c * D, spread_of(args, c), loss->mean);
        loss->mean_bias += (double)spread_of(args, c) * (double)(args->bias[c] + boost);
    }
}

static void smooth_backward(struct train__loss *loss, const struct train__softmax *args)
{
    size_t D = (size_t)args->D;
    float *sum = loss->mean; /* over p of x[p,:]; the forward pass is over */
    float even = args->scale * args->smoothing;
    memset(sum, 0, D * sizeof(float));
    for (int p = 0; p < args->P; p++)
        loss->kernels->add_scaled(D, args->x + (size_t)p * D, 1.0f, sum);
    for (int c = 0; c < args->C; c++) {
        float less = -even * spread_of(args, c);
        loss->kernels->add_scaled(D, sum, less, args->dweight + (size_t)c * D);
        args->dbias[c] += less * (float)args->P;
    }
}

double train__loss_softmax(struct train__loss *loss, const struct train__softmax *args)
{
    double total = 0;
    int rows = prepare(loss, args);
    if (args->smoothing > 0) smooth_forward(loss, args);
    for (int first = 0; first < args->P; first += rows) {
        struct tile tile = tile_at(args, first, rows);
        tile_forward(loss, &tile);
        for (int r = 0; r < tile.rows; r++)
            total += row_target(loss, &tile, r);
        tile_backward(loss, &tile);
    }
    if (args->smoothing > 0) smooth_backward(loss, args);
    return total;
}

/* ---- ranks ---- */

static int32_t rank_of(const struct train__loss *loss, const struct tile *t, int r,
                       const struct train__masked *masked)
{
    int32_t target = t->args->target[t->first + r], rank = 1;
    for (int m = 0; masked && m < masked->n; m++) {
        int32_t item = masked->events[m].item;
        row_of(loss, t, item / CHUNK, r)[item % CHUNK] = -INFINITY;
    }
    float own = row_of(loss, t, target / CHUNK, r)[target % CHUNK];
    if (own == -INFINITY) return t->args->C + 1;
    for (int chunk = 0; chunk < t->chunks; chunk++)
        rank += loss->kernels->count_above(padded(width_of(t, chunk)), row_of(loss, t, chunk, r),
                                           own, target - chunk * CHUNK);
    return rank;
}

void train__loss_ranks(struct train__loss *loss, const struct train__softmax *args,
                       const struct train__masked *masked, int32_t *rank)
{
    int rows = prepare(loss, args);
    for (int first = 0; first < args->P; first += rows) {
        struct tile tile = tile_at(args, first, rows);
        for (int chunk = 0; chunk < tile.chunks; chunk++)
            block_logits(loss, &tile, chunk);
        for (int r = 0; r < tile.rows; r++)
            rank[first + r] = rank_of(loss, &tile, r, masked ? &masked[first + r] : NULL);
    }
}
