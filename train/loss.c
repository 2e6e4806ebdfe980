/* Softmax cross-entropy in tiles of positions: the logits of a tile are made, turned into their gradient in place, and used up
 * by two matrix products, so that memory does not grow with positions times candidates. */
#include "train/loss.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "train/encoder.h"
#include "train/kernels.h"

enum { TILE_MAX = 128 };

struct train__loss {
    const struct train__kernels *kernels;
    size_t memory_max;
    size_t room;   /* floats in logits */
    float *logits; /* (tile, stride) */
    size_t bias_room;
    float *bias; /* (stride) with padding that no candidate reaches */
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
    mem_free(loss);
}

/* Rows are padded to 16 floats: the padding's bias makes its probability nothing. */
static int stride_of(const struct train__softmax *args)
{
    return (args->C + 15) / 16 * 16;
}

/* Room for a tile; returns its rows. */
static int prepare(struct train__loss *loss, const struct train__softmax *args)
{
    size_t stride = (size_t)stride_of(args);
    size_t rows = loss->memory_max / (stride * sizeof(float));
    if (rows > TILE_MAX) rows = TILE_MAX;
    if (rows < 1) rows = 1;
    if (rows * stride > loss->room) {
        mem_free(loss->logits);
        loss->logits = mem_aligned(64, rows * stride * sizeof(float));
        loss->room = rows * stride;
    }
    if (stride > loss->bias_room) {
        mem_free(loss->bias);
        loss->bias = mem_aligned(64, stride * sizeof(float));
        loss->bias_room = stride;
    }
    memcpy(loss->bias, args->bias, (size_t)args->C * sizeof(float));
    for (size_t c = (size_t)args->C; c < stride; c++)
        loss->bias[c] = -1e9f;
    return (int)rows;
}

/* logits (rows,C) of positions first .. first+rows-1, without bias. */
static void tile_logits(struct train__loss *loss, const struct train__softmax *args, int first,
                        int rows)
{
    int stride = stride_of(args);
    train__matmul(rows, args->C, args->D, args->x + (size_t)first * (size_t)args->D, args->D, false,
                  args->weight, args->D, true, 0.0f, loss->logits, stride);
    for (int r = 0; r < rows; r++) {
        for (int c = args->C; c < stride; c++)
            loss->logits[(size_t)r * (size_t)stride + (size_t)c] = 0.0f;
    }
}

/* One row of logits becomes its gradient; returns the loss. */
static double row_backward(struct train__loss *loss, const struct train__softmax *args, int p,
                           float *row)
{
    const struct train__kernels *k = loss->kernels;
    size_t n = (size_t)stride_of(args);
    int32_t target = args->target[p];
    float max = k->bias_max(n, row, loss->bias);
    if (args->boost) {
        row[target] += args->boost[target];
        if (row[target] > max) max = row[target];
    }
    double target_logit = (double)row[target] - (double)max;
    float sum = k->exp_sum(n, row, max);
    k->scale_add(n, row, args->scale / sum, args->dbias);
    row[target] -= args->scale;
    args->dbias[target] -= args->scale;
    return log((double)sum) - target_logit;
}

double train__loss_softmax(struct train__loss *loss, const struct train__softmax *args)
{
    double total = 0;
    int tile = prepare(loss, args);
    int stride = stride_of(args);
    for (int first = 0; first < args->P; first += tile) {
        int rows = args->P - first < tile ? args->P - first : tile;
        tile_logits(loss, args, first, rows);
        for (int r = 0; r < rows; r++)
            total += row_backward(loss, args, first + r, loss->logits + (size_t)r * (size_t)stride);
        size_t at = (size_t)first * (size_t)args->D;
        train__matmul(rows, args->D, args->C, loss->logits, stride, false, args->weight, args->D,
                      false, 0.0f, args->dx + at, args->D);
        train__matmul(args->C, args->D, rows, loss->logits, stride, true, args->x + at, args->D,
                      false, 1.0f, args->dweight, args->D);
    }
    return total;
}

/* The rank of a row's target; what is masked is below everything. */
static int32_t rank_of(int C, float *row, int32_t target, const struct train__masked *masked)
{
    for (int m = 0; masked && m < masked->n; m++)
        row[masked->events[m].item] = -INFINITY;
    if (row[target] == -INFINITY) return C + 1;
    int32_t above = 0;
    for (int c = 0; c < C; c++)
        above += row[c] > row[target] || (c < target && !(row[c] < row[target]));
    return 1 + above;
}

void train__loss_ranks(struct train__loss *loss, const struct train__softmax *args,
                       const struct train__masked *masked, int32_t *rank)
{
    int tile = prepare(loss, args);
    int stride = stride_of(args);
    for (int first = 0; first < args->P; first += tile) {
        int rows = args->P - first < tile ? args->P - first : tile;
        tile_logits(loss, args, first, rows);
        for (int p = first; p < first + rows; p++) {
            float *row = loss->logits + (size_t)(p - first) * (size_t)stride;
            (void)loss->kernels->bias_max((size_t)stride, row, loss->bias);
            rank[p] = rank_of(args->C, row, args->target[p], masked ? &masked[p] : NULL);
        }
    }
}
