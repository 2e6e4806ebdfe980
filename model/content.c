/* Items by what a catalogue says of them: names of features, and a vector made of what training learnt for them. */

#include "model/internal.h"

#include <assert.h>
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "schemas/schemas.h"

struct model__content {
    struct map_str *index; /* name -> feature + 1, as a pointer */
    char *bytes;           /* all names, one behind the other */
    size_t *ends;          /* (n_content) where each ends in bytes */
    size_t *start;         /* (N + 1) into features; NULL: no item's are known */
    int32_t *features;     /* of item i: [start[i], start[i + 1]) */
};

/* ---- names ---- */

/* Adds kind and text as one name, unless it is there, too long or no UTF-8, or there is no room. lower: A-Z made small. */
static void add_feature(struct model_features *features, const char *kind, struct str text,
                        bool lower)
{
    int n = features->n;
    size_t len = strlen(kind);
    if (n == MODEL_CONTENT_MAX || text.len == 0 || len + text.len > MODEL_CONTENT_NAME ||
        !model__is_utf8(text))
        return;
    char *name = features->bytes + (size_t)n * MODEL_CONTENT_NAME;
    memcpy(name, kind, len);
    for (size_t i = 0; i < text.len; i++, len++)
        name[len] = lower ? (char)tolower((unsigned char)text.ptr[i]) : text.ptr[i];
    features->name[n] = (struct str){name, len};
    for (int i = 0; i < n; i++)
        if (str_equal(features->name[i], features->name[n])) return;
    features->n++;
}

static bool is_word_byte(char byte)
{
    return isalnum((unsigned char)byte) || (unsigned char)byte >= 0x80;
}

static void add_words(struct model_features *features, struct str title)
{
    for (size_t at = 0; at < title.len;) {
        size_t n = 0;
        while (at + n < title.len && is_word_byte(title.ptr[at + n]))
            n++;
        if (n >= 2) add_feature(features, "word:", (struct str){title.ptr + at, n}, true);
        at += n + 1;
    }
}

void model_content_features(const struct model_content *content, struct model_features *features)
{
    features->n = 0;
    for (size_t i = 0; i < content->n_categories; i++)
        add_feature(features, "category:", content->categories[i], false);
    add_feature(features, "brand:", content->brand, false);
    if (isfinite(content->price) && content->price > 0) {
        char step[16];
        (void)snprintf(step, sizeof step, "%d", (int)floor(2 * log2(content->price)));
        add_feature(features, "price:", str_of(step), false);
    }
    add_words(features, content->title);
}

/* ---- what a model knows ---- */

static bool add_name(struct model *model, int f, struct str name, struct err *err)
{
    struct model__content *c = model->content;
    size_t start = f == 0 ? 0 : c->ends[f - 1];
    if (name.len < 1 || name.len > MODEL_CONTENT_NAME || !model__is_utf8(name))
        return err_fatal(err, ERR_EXIT_MODEL,
                         "feature %d: the name must be 1 to %d bytes of UTF-8, has %zu bytes", f,
                         MODEL_CONTENT_NAME, name.len);
    char *own = c->bytes + start;
    memcpy(own, name.ptr, name.len);
    c->ends[f] = start + name.len;
    if (map_str_get(c->index, (struct str){own, name.len}) != NULL)
        return err_fatal(err, ERR_EXIT_MODEL, "feature \"%.*s\" is there twice", STR_ARG(name));
    (void)map_str_set(c->index, (struct str){own, name.len}, (void *)((uintptr_t)f + 1));
    return true;
}

static bool is_twice(const int32_t *features, int n)
{
    for (int i = 1; i < n; i++)
        for (int j = 0; j < i; j++)
            if (features[i] == features[j]) return true;
    return false;
}

static bool copy_features(struct model *model, const struct model_parts *parts, struct err *err)
{
    struct model__content *c = model->content;
    size_t N = (size_t)model->config.N, total = 0;
    for (size_t i = 0; i < N; i++) {
        size_t n = parts->feature_start[i + 1] - parts->feature_start[i];
        if (n > MODEL_CONTENT_MAX)
            return err_fatal(err, ERR_EXIT_MODEL, "item %zu: over %d features", i,
                             MODEL_CONTENT_MAX);
        for (size_t j = total; j < total + n; j++)
            if (parts->features[j] < 0 || parts->features[j] >= model->config.n_content)
                return err_fatal(err, ERR_EXIT_MODEL, "item %zu: feature %d of %d", i,
                                 (int)parts->features[j], model->config.n_content);
        if (is_twice(parts->features + total, (int)n))
            return err_fatal(err, ERR_EXIT_MODEL, "item %zu: a feature is there twice", i);
        total += n;
    }
    c->start = mem_alloc((N + 1) * sizeof *c->start);
    c->features = mem_alloc(total * sizeof *c->features + 1);
    memcpy(c->start, parts->feature_start, (N + 1) * sizeof *c->start);
    memcpy(c->features, parts->features, total * sizeof *c->features);
    return true;
}

bool model__content_new(struct model *model, const struct model_parts *parts, struct err *err)
{
    const struct str *names = parts->content;
    size_t n = (size_t)model->config.n_content, bytes = 0;
    if (n == 0) return true;
    assert(names != NULL);
    for (size_t f = 0; f < n; f++)
        bytes += names[f].len;
    struct model__content *c = model->content = mem_zalloc(sizeof *c);
    c->bytes = mem_alloc(bytes + 1);
    c->ends = mem_alloc(n * sizeof *c->ends);
    c->index = map_str_new(n, MAP_KEYS_BORROWED);
    for (size_t f = 0; f < n; f++)
        if (!add_name(model, (int)f, names[f], err)) return false;
    return parts->feature_start == NULL || copy_features(model, parts, err);
}

void model__content_free(struct model__content *content)
{
    if (content == NULL) return;
    if (content->index != NULL) map_str_free(content->index);
    mem_free(content->bytes);
    mem_free(content->ends);
    mem_free(content->start);
    mem_free(content->features);
    mem_free(content);
}

uint64_t model__content_hash(const struct model *model)
{
    const struct model__content *c = model->content;
    if (c == NULL) return 0;
    size_t n = (size_t)model->config.n_content, N = (size_t)model->config.N;
    uint64_t hash = schemas_id_hash((struct str){c->bytes, c->ends[n - 1]}) ^
                    schemas_id_hash((struct str){(const char *)c->ends, n * sizeof *c->ends});
    if (c->start == NULL) return hash;
    const uint64_t parts[] = {
        hash, schemas_id_hash((struct str){(const char *)c->start, (N + 1) * sizeof *c->start}),
        schemas_id_hash(
            (struct str){(const char *)c->features, c->start[N] * sizeof *c->features})};
    return schemas_id_hash((struct str){(const char *)parts, sizeof parts});
}

bool model__content_knows_items(const struct model *model)
{
    return model->content != NULL && model->content->start != NULL;
}

int model_item_features(const struct model *model, int32_t index, const int32_t **features)
{
    const struct model__content *c = model->content;
    assert(index >= 0 && index < model->config.N);
    *features = NULL;
    if (!model__content_knows_items(model)) return 0;
    *features = c->features + c->start[index];
    return (int)(c->start[index + 1] - c->start[index]);
}

struct str model_content_name(const struct model *model, int f)
{
    assert(f >= 0 && f < model->config.n_content);
    const struct model__content *c = model->content;
    size_t start = f == 0 ? 0 : c->ends[f - 1];
    return (struct str){c->bytes + start, c->ends[f] - start};
}

int model_content_vector(const struct model *model, const struct model_content *content,
                         float *vector)
{
    size_t D = (size_t)model->config.D;
    struct model_features features = {.n = 0};
    int known = 0;
    memset(vector, 0, D * sizeof *vector);
    if (model->content != NULL) model_content_features(content, &features);
    for (int i = 0; i < features.n; i++) {
        void *found = map_str_get(model->content->index, features.name[i]);
        if (found == NULL) continue;
        const float *row =
            model__tensor(model, MODEL_CONTENT_EMBEDDING, 0) + ((uintptr_t)found - 1) * D;
        for (size_t d = 0; d < D; d++)
            vector[d] += row[d];
        known++;
    }
    float scale = known > 0 ? 1.0f / sqrtf((float)known) : 0.0f;
    for (size_t d = 0; d < D; d++)
        vector[d] *= scale;
    return known;
}

float model_tail_bias(const struct model *model)
{
    const float *bias = model__tensor(model, MODEL_ITEM_BIAS, 0);
    int N = model->config.N, n = (N + 9) / 10;
    double sum = 0;
    for (int i = N - n; i < N; i++)
        sum += (double)bias[i];
    return (float)(sum / n);
}

void model_content_score(const struct model *model, const float *vector, int n,
                         const float *const *item, float bias, float *score)
{
    int D = model->config.D;
    const float *usable = model__usable_vector(D, vector);
    for (int i = 0; i < n; i++)
        score[i] = model__score_of(model->kernels->dot(D, usable, item[i]), bias);
}
