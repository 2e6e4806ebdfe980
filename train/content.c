/* Content features while a model learns: which there are, and the way of item vectors and gradients through them. */
#include "train/content.h"

#include <math.h>
#include <string.h>
#include <xxhash.h>

#include "base/mem.h"

static int catalogue_number(const struct train_catalogue *catalogue, struct str id)
{
    return (int)(uintptr_t)map_str_get(catalogue->items, id) - 1;
}

/* Numbers the shared features in the order in which the items have them. index_of (n_names) written, -1 for the others. Returns
 * how many entries the items have in all. */
static size_t choose_features(struct train__content *c, const struct train_catalogue *catalogue,
                              const struct str *ids, int N, int32_t *index_of)
{
    size_t entries = 0;
    for (int f = 0; f < catalogue->n_names; f++)
        index_of[f] = -1;
    for (int i = 0; i < N; i++) {
        int item = catalogue_number(catalogue, ids[i]);
        c->n_known += item >= 0;
        for (int j = 0; item >= 0 && j < catalogue->count[item]; j++) {
            int32_t f = catalogue->features[catalogue->start[item] + (size_t)j];
            if (catalogue->holders[f] < 2) continue;
            if (index_of[f] < 0) index_of[f] = c->n++;
            entries++;
        }
    }
    return entries;
}

void train__content_init(struct train__content *content, const struct train_catalogue *catalogue,
                         const struct str *ids, int N)
{
    struct train__content *c = content;
    *c = (struct train__content){.n = 0};
    if (catalogue == NULL) return;
    int32_t *index_of = mem_alloc((size_t)catalogue->n_names * sizeof *index_of + 1);
    size_t entries = choose_features(c, catalogue, ids, N, index_of), at = 0;
    c->names = mem_alloc((size_t)c->n * sizeof *c->names + 1);
    c->start = mem_alloc(((size_t)N + 1) * sizeof *c->start);
    c->feature = mem_alloc(entries * sizeof *c->feature + 1);
    for (int i = 0; i < N; i++) {
        int item = catalogue_number(catalogue, ids[i]);
        c->start[i] = at;
        for (int j = 0; item >= 0 && j < catalogue->count[item]; j++) {
            int32_t f = catalogue->features[catalogue->start[item] + (size_t)j];
            if (index_of[f] < 0) continue;
            c->names[index_of[f]] = catalogue->name[f];
            c->feature[at++] = index_of[f];
        }
    }
    c->start[N] = at;
    mem_free(index_of);
}

void train__content_fini(struct train__content *content)
{
    mem_free(content->names);
    mem_free(content->start);
    mem_free(content->feature);
}

uint64_t train__content_hash(const struct train__content *content, int N)
{
    const struct train__content *c = content;
    if (c->n == 0) return 0;
    uint64_t hash =
        XXH3_64bits_withSeed(c->start, ((size_t)N + 1) * sizeof *c->start, (uint64_t)c->n);
    hash = XXH3_64bits_withSeed(c->feature, c->start[N] * sizeof *c->feature, hash);
    for (int f = 0; f < c->n; f++)
        hash = XXH3_64bits_withSeed(c->names[f].ptr, c->names[f].len, hash);
    return hash;
}

/* The weight of each of an item's features. */
static float share_of(const struct train__content *c, int item)
{
    size_t n = c->start[item + 1] - c->start[item];
    return n > 0 ? 1.0f / sqrtf((float)n) : 0.0f;
}

void train__content_mix_item(const struct train__content *content,
                             const struct model_config *config, const float *params, int item,
                             float *mixed)
{
    const struct train__content *c = content;
    const struct train__kernels *k = train__kernels_best();
    size_t D = (size_t)config->D;
    size_t own = model_param_offset(config, MODEL_ITEM_EMBEDDING, 0) + (size_t)item * D;
    const float *shared = params + model_param_offset(config, MODEL_CONTENT_EMBEDDING, 0);
    float weight = share_of(c, item);
    memcpy(mixed + own, params + own, D * sizeof *mixed);
    for (size_t e = c->start[item]; e < c->start[item + 1]; e++)
        k->add_scaled(D, shared + (size_t)c->feature[e] * D, weight, mixed + own);
}

void train__content_copy(const struct model_config *config, const float *params, float *mixed)
{
    struct model_param table[MODEL_MAX_PARAMS];
    int n = model_params(config, table);
    size_t shared = model_param_offset(config, MODEL_CONTENT_EMBEDDING, 0);
    for (int p = 1; p < n; p++) /* item.embedding stands first in the table */
        if (table[p].offset != shared)
            memcpy(mixed + table[p].offset, params + table[p].offset,
                   table[p].count * sizeof *mixed);
}

void train__content_mix(const struct train__content *content, const struct model_config *config,
                        const float *params, float *mixed, struct train__adamw_share share)
{
    int64_t N = config->N;
    int first = (int)(N * share.index / share.n), end = (int)(N * (share.index + 1) / share.n);
    for (int i = first; i < end; i++)
        train__content_mix_item(content, config, params, i, mixed);
    if (share.index == 0) train__content_copy(config, params, mixed);
}

void train__content_gather(const struct train__content *content, const struct model_config *config,
                           const uint8_t *touched, float *grads)
{
    const struct train__content *c = content;
    if (c->n == 0) return;
    const struct train__kernels *k = train__kernels_best();
    size_t D = (size_t)config->D;
    const float *items = grads + model_param_offset(config, MODEL_ITEM_EMBEDDING, 0);
    float *shared = grads + model_param_offset(config, MODEL_CONTENT_EMBEDDING, 0);
    for (int i = 0; i < config->N; i++) {
        if (!touched[i]) continue;
        float weight = share_of(c, i);
        for (size_t e = c->start[i]; e < c->start[i + 1]; e++)
            k->add_scaled(D, items + (size_t)i * D, weight, shared + (size_t)c->feature[e] * D);
    }
}
