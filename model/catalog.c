/* The catalogue as the scan reads it: items sorted by promise, cut into tiles, in 8-bit codes.
 *
 * Promise: |item| times a typical length of user vectors, plus bias. Best first, the threshold of a search
 * is high early, and tiles far behind cannot hold anything that reaches it.
 *
 * An item's code q (D) is its vector over scale = max |vector[j]| / 127, rounded; 128 is added, because
 * the dot product instruction takes unsigned by signed bytes. Codes lie so that one 64-byte line holds
 * four neighbouring elements of 16 items:
 *
 *   tile:   group 0 | group 1 | ... | group 15           16 items each
 *   group:  line 0 | line 1 | ... | line D/4 - 1
 *   line k: item 0 [4k..4k+3] | item 1 [4k..4k+3] | ... | item 15 [4k..4k+3] */

#include "model/internal.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

enum { CODE_MAX = 127, CODE_ZERO = 128 };

/* Scales stay normal numbers, so that products with them do not lose bits by underflow. */
#define SCALE_MIN 1e-30

/* ---- order ---- */

struct promise {
    float value;
    int32_t item;
};

static int by_promise(const void *a, const void *b)
{
    const struct promise *x = a, *y = b;
    if (x->value != y->value) return x->value < y->value ? 1 : -1;
    return (x->item > y->item) - (x->item < y->item);
}

static double length(int D, const float *v)
{
    double square = 0.0;
    for (int j = 0; j < D; j++)
        square += (double)v[j] * (double)v[j];
    return sqrt(square);
}

/* User vectors leave the last norm: elements of deviation 1, times weight, plus bias. */
static double typical_length(const struct model *model)
{
    int last = model->config.L - 1;
    double weight = length(model->config.D, model__tensor(model, MODEL_FFN_NORM_WEIGHT, last));
    double bias = length(model->config.D, model__tensor(model, MODEL_FFN_NORM_BIAS, last));
    return sqrt(weight * weight + bias * bias);
}

static void sort_items(const struct model *model, struct model__catalog *catalog)
{
    int N = model->config.N, D = model->config.D;
    const float *item = model__tensor(model, MODEL_ITEM_EMBEDDING, 0);
    const float *bias = model__tensor(model, MODEL_ITEM_BIAS, 0);
    struct promise *order = mem_alloc((size_t)N * sizeof *order);
    double user = typical_length(model);
    for (int32_t i = 0; i < N; i++) {
        double value = length(D, item + (size_t)i * (size_t)D) * user + (double)bias[i];
        order[i] = (struct promise){(float)value, i};
    }
    qsort(order, (size_t)N, sizeof *order, by_promise);
    for (int32_t p = 0; p < N; p++) {
        catalog->item_at[p] = order[p].item;
        catalog->place_of[order[p].item] = p;
    }
    mem_free(order);
}

/* ---- codes ---- */

/* At least x after rounding to float, and never so small that a product with it underflows. */
static float round_up(double x)
{
    return (float)(x * (1.0 + 1e-6) + SCALE_MIN);
}

static float larger(float a, float b)
{
    return a > b ? a : b;
}

/* Codes of one item at lane l of its group; widens the tile's bound by it. Returns the scale. */
static float encode_item(int D, const float *v, float bias, uint8_t *group, int l,
                         struct model__tile_bound *bound)
{
    double largest = 0.0, residual = 0.0, quantised = 0.0;
    for (int j = 0; j < D; j++)
        largest = fmax(largest, fabs((double)v[j]));
    float scale = (float)fmax(largest / CODE_MAX, SCALE_MIN);
    for (int j = 0; j < D; j++) {
        double code = fmin(fmax(rint((double)v[j] / (double)scale), -CODE_MAX), CODE_MAX);
        double value = code * (double)scale;
        group[j / 4 * 64 + l * 4 + j % 4] = (uint8_t)((int)code + CODE_ZERO);
        residual += ((double)v[j] - value) * ((double)v[j] - value);
        quantised += value * value;
    }
    bound->norm = larger(bound->norm, round_up(length(D, v)));
    bound->residual = larger(bound->residual, round_up(sqrt(residual)));
    bound->quantised = larger(bound->quantised, round_up(sqrt(quantised)));
    bound->bias_size = larger(bound->bias_size, fabsf(bias));
    bound->bias_max = larger(bound->bias_max, bias);
    return scale;
}

static void encode_items(const struct model *model, struct model__catalog *catalog)
{
    int N = model->config.N, D = model->config.D;
    size_t group_bytes = 16 * (size_t)D;
    const float *item = model__tensor(model, MODEL_ITEM_EMBEDDING, 0);
    const float *bias = model__tensor(model, MODEL_ITEM_BIAS, 0);
    for (int t = 0; t < catalog->n_tiles; t++)
        catalog->bound[t].bias_max = -INFINITY;
    for (int p = 0; p < catalog->n_tiles * MODEL__SCAN_TILE; p++) {
        uint8_t *group = catalog->codes + (size_t)(p / 16) * group_bytes;
        if (p >= N) {
            for (int j = 0; j < D; j++)
                group[j / 4 * 64 + p % 16 * 4 + j % 4] = CODE_ZERO;
            catalog->bias[p] = -INFINITY;
            continue;
        }
        int32_t i = catalog->item_at[p];
        catalog->bias[p] = bias[i];
        catalog->scale[p] = encode_item(D, item + (size_t)i * (size_t)D, bias[i], group, p % 16,
                                        &catalog->bound[p / MODEL__SCAN_TILE]);
    }
}

/* ---- life ---- */

struct model__catalog *model__catalog_new(const struct model *model)
{
    struct model__catalog *catalog = mem_zalloc(sizeof *catalog);
    catalog->n_tiles = (model->config.N + MODEL__SCAN_TILE - 1) / MODEL__SCAN_TILE;
    size_t places = (size_t)catalog->n_tiles * MODEL__SCAN_TILE;
    catalog->item_at = mem_aligned(64, places * sizeof *catalog->item_at);
    catalog->place_of = mem_aligned(64, (size_t)model->config.N * sizeof *catalog->place_of);
    catalog->codes = mem_aligned(64, places * (size_t)model->config.D);
    catalog->scale = mem_aligned(64, places * sizeof *catalog->scale);
    catalog->bias = mem_aligned(64, places * sizeof *catalog->bias);
    catalog->bound = mem_zalloc((size_t)catalog->n_tiles * sizeof *catalog->bound);
    sort_items(model, catalog);
    encode_items(model, catalog);
    return catalog;
}

void model__catalog_free(struct model__catalog *catalog)
{
    if (catalog == NULL) return;
    mem_free(catalog->item_at);
    mem_free(catalog->place_of);
    mem_free(catalog->codes);
    mem_free(catalog->scale);
    mem_free(catalog->bias);
    mem_free(catalog->bound);
    mem_free(catalog);
}
