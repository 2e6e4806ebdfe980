/* How near a candidate is to the items of a session, by categories and prices: two features of the ranker. */

#include "model/internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum { COUNT_BITS = 5, COUNT_MASK = (1 << COUNT_BITS) - 1 };
_Static_assert((int)MODEL_RANKER_SESSION <= (int)COUNT_MASK, "a count has room for a session");
_Static_assert((int)MODEL__AFFINITY_SLOTS > 2 * (int)MODEL_RANKER_SESSION * (int)MODEL_CONTENT_MAX,
               "at most half of the slots are taken");

struct model__facts {
    size_t *start;     /* (N + 1) into categories */
    int32_t *category; /* features that are categories, of item i: [start[i], start[i + 1]) */
    float *price;      /* (N) steps; no number: not known */
};

/* ---- what is known of the items ---- */

static bool has_kind(struct str name, const char *kind)
{
    return name.len > strlen(kind) && memcmp(name.ptr, kind, strlen(kind)) == 0;
}

/* The step that a feature "price:6" tells, no number when it is none. */
static float price_of(struct str name)
{
    char digits[16];
    int step;
    size_t skip = strlen("price:");
    if (!has_kind(name, "price:") || name.len - skip >= sizeof digits) return NAN;
    memcpy(digits, name.ptr + skip, name.len - skip);
    digits[name.len - skip] = '\0';
    return sscanf(digits, "%d", &step) == 1 ? (float)step : NAN;
}

static bool is_known(const struct model *model)
{
    const int32_t *features;
    for (int32_t i = 0; i < model->config.N; i++)
        if (model_item_features(model, i, &features) > 0) return true;
    return false;
}

struct model__facts *model__facts_new(const struct model *model)
{
    if (!is_known(model)) return NULL;
    size_t N = (size_t)model->config.N, total = 0;
    const int32_t *features;
    for (int32_t i = 0; i < model->config.N; i++)
        total += (size_t)model_item_features(model, i, &features);
    struct model__facts *facts = mem_zalloc(sizeof *facts);
    facts->start = mem_alloc((N + 1) * sizeof *facts->start);
    facts->category = mem_alloc(total * sizeof *facts->category);
    facts->price = mem_alloc(N * sizeof *facts->price);
    size_t at = 0;
    for (size_t i = 0; i < N; i++) {
        int n = model_item_features(model, (int32_t)i, &features);
        facts->start[i] = at;
        facts->price[i] = NAN;
        for (int j = 0; j < n; j++) {
            struct str name = model_content_name(model, features[j]);
            if (has_kind(name, "category:")) facts->category[at++] = features[j];
            if (has_kind(name, "price:")) facts->price[i] = price_of(name);
        }
    }
    facts->start[N] = at;
    return facts;
}

void model__facts_free(struct model__facts *facts)
{
    if (facts == NULL) return;
    mem_free(facts->start);
    mem_free(facts->category);
    mem_free(facts->price);
    mem_free(facts);
}

/* ---- a session ---- */

/* Where a category stands, or the free slot that it would take. */
static uint32_t slot_of(const struct model__affinity *affinity, int32_t category)
{
    uint32_t at = (uint32_t)category * UINT32_C(2654435769) >> 21;
    _Static_assert(UINT32_MAX >> 21 == MODEL__AFFINITY_SLOTS - 1, "the shift reaches every slot");
    while (affinity->slots[at] != 0 && affinity->slots[at] >> COUNT_BITS != (uint32_t)category + 1)
        at = (at + 1) % MODEL__AFFINITY_SLOTS;
    return at;
}

void model__affinity_note(const struct model *model, const uint64_t *session, int n,
                          struct model__affinity *affinity)
{
    const struct model__facts *facts = model->facts;
    float sum = 0.0f;
    int priced = 0;
    memset(affinity->slots, 0, sizeof affinity->slots);
    for (int i = 0; i < n; i++) {
        int32_t index = model_item_index(model, session[i]);
        if (index < 0) continue;
        for (size_t j = facts->start[index]; j < facts->start[index + 1]; j++) {
            uint32_t at = slot_of(affinity, facts->category[j]);
            if (affinity->slots[at] == 0)
                affinity->slots[at] = ((uint32_t)facts->category[j] + 1) << COUNT_BITS;
            affinity->slots[at]++;
        }
        if (isnan(facts->price[index])) continue;
        sum += facts->price[index];
        priced++;
    }
    affinity->n = n;
    affinity->price = priced > 0 ? sum / (float)priced : NAN;
}

float model__affinity_category(const struct model *model, const struct model__affinity *affinity,
                               int32_t index)
{
    const struct model__facts *facts = model->facts;
    uint32_t most = 0;
    for (size_t j = facts->start[index]; j < facts->start[index + 1]; j++) {
        uint32_t count = affinity->slots[slot_of(affinity, facts->category[j])] & COUNT_MASK;
        if (count > most) most = count;
    }
    return most > 0 ? (float)most / (float)affinity->n : 0.0f;
}

float model__affinity_price(const struct model *model, const struct model__affinity *affinity,
                            int32_t index)
{
    float apart = fabsf(model->facts->price[index] - affinity->price);
    return isnan(apart) ? 0.0f : 1.0f / (1.0f + apart);
}
