/* A model in memory: its parameters in one block, what is derived from them once, and its items. */

#include "model/internal.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "schemas/schemas.h"

/* ---- parameters ---- */

static void find_tensors(struct model *model)
{
    for (int block = 0; block < MODEL_MAX_BLOCKS; block++)
        for (int t = 0; t < MODEL_TENSOR_COUNT; t++)
            model->offset[block][t] =
                model_param_offset(&model->config, (enum model_tensor)t, block);
}

/* Copies tensor by tensor, so that the gaps between them are zero whatever stood there. */
static bool copy_params(struct model *model, const float *params, struct err *err)
{
    struct model_param table[MODEL_MAX_PARAMS];
    int n = model_params(&model->config, table);
    model->params = mem_aligned(64, model_params_floats(&model->config) * sizeof(float));
    for (int p = 0; p < n; p++) {
        const float *from = params + table[p].offset;
        for (size_t i = 0; i < table[p].count; i++)
            if (!(fabsf(from[i]) <= MODEL__PARAM_MAX))
                return err_fatal(err, ERR_EXIT_MODEL,
                                 "tensor %s holds %g at element %zu: not finite or over %g",
                                 table[p].name, (double)from[i], i, (double)MODEL__PARAM_MAX);
        memcpy(model->params + table[p].offset, from, table[p].count * sizeof *from);
    }
    return true;
}

/* Every matrix of the blocks. */
static void pack_weights(struct model *model)
{
    struct model_param table[MODEL_MAX_PARAMS];
    int n = model_params(&model->config, table), first = 0;
    while (strncmp(table[first].name, "block.", 6) != 0)
        first++;
    model->packed_from = table[first].offset;
    size_t floats = model_params_floats(&model->config) - model->packed_from;
    model->packed = mem_aligned(64, floats * sizeof(float));
    for (int p = first; p < n; p++)
        if (table[p].n_dims == 2)
            model__pack(table[p].dims[0], table[p].dims[1], model->params + table[p].offset,
                        model->packed + (table[p].offset - model->packed_from));
}

/* ---- items ---- */

bool model__is_utf8(struct str s)
{
    const uint8_t *p = (const uint8_t *)s.ptr, *end = p + s.len;
    while (p < end) {
        int more = *p < 0x80   ? 0
                   : *p < 0xC2 ? -1
                   : *p < 0xE0 ? 1
                   : *p < 0xF0 ? 2
                   : *p < 0xF5 ? 3
                               : -1;
        if (more < 0 || end - p <= more) return false;
        uint8_t low = *p == 0xE0 ? 0xA0 : *p == 0xF0 ? 0x90 : 0x80;
        uint8_t high = *p == 0xED ? 0x9F : *p == 0xF4 ? 0x8F : 0xBF;
        for (int i = 1; i <= more; i++, low = 0x80, high = 0xBF)
            if (p[i] < low || p[i] > high) return false;
        p += more + 1;
    }
    return true;
}

static bool add_item(struct model *model, int32_t index, struct str id, struct err *err)
{
    if (id.len < 1 || id.len > SCHEMAS_ID_MAX || !model__is_utf8(id))
        return err_fatal(err, ERR_EXIT_MODEL,
                         "item %d: the id must be 1 to %d bytes of UTF-8, has %zu bytes", index,
                         SCHEMAS_ID_MAX, id.len);
    uint64_t key = schemas_item_key(str_of(model->tenant), id);
    bool added;
    uint64_t *value = map_u64_put(model->index, key, &added);
    if (!added)
        return err_fatal(err, ERR_EXIT_MODEL, "items %d and %d have the same id or key: \"%.*s\"",
                         (int)*value, index, STR_ARG(id));
    *value = (uint64_t)index;
    model->keys[index] = key;
    size_t start = index == 0 ? 0 : model->id_ends[index - 1];
    memcpy(model->id_bytes + start, id.ptr, id.len);
    model->id_ends[index] = (uint32_t)(start + id.len);
    return true;
}

static bool copy_items(struct model *model, const struct str *ids, struct err *err)
{
    size_t N = (size_t)model->config.N, bytes = 0;
    for (size_t i = 0; i < N; i++)
        bytes += ids[i].len;
    if (bytes > UINT32_MAX) return err_fatal(err, ERR_EXIT_MODEL, "item ids over 4 GiB in all");
    model->keys = mem_alloc(N * sizeof *model->keys);
    model->id_bytes = mem_alloc(bytes);
    model->id_ends = mem_alloc(N * sizeof *model->id_ends);
    model->index = map_u64_new(N);
    map_u64_reserve(model->index, N);
    for (size_t i = 0; i < N; i++)
        if (!add_item(model, (int32_t)i, ids[i], err)) return false;
    return true;
}

/* One hash over shape, tenant, parameters and items. */
static uint64_t identify(const struct model *model)
{
    uint64_t part[5];
    size_t floats = model_params_floats(&model->config);
    const struct model_config *c = &model->config;
    const int shape[] = {c->N,     c->D,         c->H,      c->L,
                         c->F,     c->n_types,   c->n_gaps, (int)c->encoder,
                         c->heads, c->positions, c->window, c->rotary};
    enum { LRU_INTS = 7 }; /* the rest is 0 */
    size_t ints = c->encoder == ENCODER_LRU ? LRU_INTS : sizeof shape / sizeof *shape;
    size_t parts = c->n_content > 0 ? 5 : 4;
    part[0] = schemas_id_hash((struct str){(const char *)shape, ints * sizeof *shape});
    part[1] = schemas_id_hash(str_of(model->tenant));
    part[2] =
        schemas_id_hash((struct str){(const char *)model->params, floats * sizeof *model->params});
    part[3] = schemas_id_hash(
        (struct str){(const char *)model->keys, (size_t)model->config.N * sizeof *model->keys});
    part[4] = model__content_hash(model);
    return schemas_id_hash((struct str){(const char *)part, parts * sizeof *part});
}

static bool derive(struct model *model, struct err *err)
{
    return model->encoder->derive == NULL || model->encoder->derive(model, err);
}

/* The text given, or one that tells this model from others: "lru-1a2b3c4d". */
static char *version_of(const struct model *model, const char *given)
{
    char text[64];
    (void)snprintf(text, sizeof text, "%s-%08" PRIx32, model_encoder_names[model->config.encoder],
                   (uint32_t)(model->id >> 32));
    return mem_strdup(given[0] ? given : text);
}

/* ---- public ---- */

bool model_from_params(struct model **out, const struct model_parts *parts, struct err *err)
{
    const char *wrong = model_config_check(&parts->config);
    if (wrong != NULL) return err_fatal(err, ERR_EXIT_MODEL, "shape of the model: %s", wrong);
    struct model *model = mem_zalloc(sizeof *model);
    model->config = parts->config;
    model->encoder = model__encoders[parts->config.encoder];
    model->S = model->encoder->state_floats(&parts->config) + parts->config.D;
    model->tenant = mem_strdup(parts->tenant);
    model->kernels = model__kernels_best(parts->config.D);
    model->mix_in = model_param_cols(&parts->config, MODEL_MIX_IN_WEIGHT);
    model->mix_out = model_param_rows(&parts->config, MODEL_MIX_OUT_WEIGHT);
    find_tensors(model);
    if (!copy_params(model, parts->params, err) || !derive(model, err) ||
        !copy_items(model, parts->item_ids, err) || !model__content_new(model, parts, err)) {
        model_free(model);
        return false;
    }
    pack_weights(model);
    model->facts = model__facts_new(model);
    model->catalog = model__catalog_new(model);
    model->id = identify(model);
    model->version = version_of(model, parts->version);
    *out = model;
    return true;
}

struct model *model_random(int N, int D, int H, int L, uint64_t seed)
{
    struct model_config config = {.N = N, .D = D, .H = H, .L = L, .F = 4 * D};
    return model_random_of(&config, seed);
}

struct model *model_random_of(const struct model_config *config, uint64_t seed)
{
    assert(model_config_check(config) == NULL);
    int N = config->N > config->n_content ? config->N : config->n_content; /* texts */
    float *params = mem_aligned(64, model_params_floats(config) * sizeof *params);
    model_params_init(config, seed, params);
    enum { DIGITS = 12 };
    char *texts = mem_alloc((size_t)N * DIGITS);
    struct str *ids = mem_alloc((size_t)N * sizeof *ids);
    for (int i = 0; i < N; i++) {
        char *text = texts + (size_t)i * DIGITS;
        ids[i] = (struct str){text, (size_t)snprintf(text, DIGITS, "%d", i)};
    }
    struct model_parts parts = {.config = *config,
                                .params = params,
                                .item_ids = ids,
                                .content = ids,
                                .tenant = "",
                                .version = "random"};
    struct model *model = NULL;
    struct err err = ERR_INIT;
    bool ok = model_from_params(&model, &parts, &err);
    assert(ok);
    (void)ok;
    mem_free(ids);
    mem_free(texts);
    mem_free(params);
    return model;
}

void model_free(struct model *model)
{
    if (model == NULL) return;
    mem_free(model->params);
    mem_free(model->packed);
    model__catalog_free(model->catalog);
    mem_free(model->ranker);
    model__content_free(model->content);
    model__facts_free(model->facts);
    mem_free(model->derived);
    mem_free(model->version);
    mem_free(model->tenant);
    mem_free(model->keys);
    mem_free(model->id_bytes);
    mem_free(model->id_ends);
    if (model->index != NULL) map_u64_free(model->index);
    mem_free(model);
}

struct model_info model_info(const struct model *model)
{
    return (struct model_info){
        .id = model->id,
        .version = model->version,
        .encoder = model_encoder_names[model->config.encoder],
        .tenant = model->tenant,
        .D = model->config.D,
        .N = model->config.N,
        .S = model->S,
        .max_batch = MODEL_MAX_BATCH,
    };
}

const float *model_raw_params(const struct model *model)
{
    return model->params;
}

struct model_config model_shape(const struct model *model)
{
    return model->config;
}

int32_t model_item_index(const struct model *model, uint64_t item_key)
{
    const uint64_t *value = map_u64_get(model->index, item_key);
    return value != NULL ? (int32_t)*value : -1;
}

uint64_t model_item_key(const struct model *model, int32_t index)
{
    assert(index >= 0 && index < model->config.N);
    return model->keys[index];
}

struct str model_item_id(const struct model *model, int32_t index)
{
    assert(index >= 0 && index < model->config.N);
    size_t start = index == 0 ? 0 : model->id_ends[index - 1];
    return (struct str){model->id_bytes + start, model->id_ends[index] - start};
}
