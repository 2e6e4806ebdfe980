/* Items like another, by their vectors. */
#include "app/similar.h"

#include <assert.h>
#include <math.h>

#include "base/mem.h"

struct asked {
    uint64_t own;
    bool (*is_listed)(void *context, uint64_t key);
    void *context;
};

static bool is_refused(void *context, uint64_t key)
{
    const struct asked *asked = context;
    return key == asked->own || !asked->is_listed(asked->context, key);
}

/* Writes the item's vector (D); false: there is none. */
static bool vector_make(const struct model *model, const struct item *item, uint64_t key,
                        float *vector)
{
    struct model_config shape = model_shape(model);
    int32_t index = model_item_index(model, key);
    if (index >= 0) {
        const float *row = model_raw_params(model) +
                           model_param_offset(&shape, MODEL_ITEM_EMBEDDING, 0) +
                           (size_t)index * (size_t)shape.D;
        for (int d = 0; d < shape.D; d++)
            vector[d] = row[d];
        return true;
    }
    struct model_content content = {.title = item->title,
                                    .brand = item->brand,
                                    .categories = item->categories,
                                    .n_categories = item->n_categories,
                                    .price = item->has_price ? item->price : (double)NAN};
    return model_content_vector(model, &content, vector) > 0;
}

int similar_find(const struct model *model, const struct item *item, int K,
                 bool (*is_listed)(void *context, uint64_t key), void *context,
                 struct counted_item *out)
{
    struct model_scored found[SIMILAR_MAX];
    struct asked asked = {schemas_item_key(item->tenant, item->item_id), is_listed, context};
    assert(K >= 1 && K <= SIMILAR_MAX);
    if (!str_equal(item->tenant, str_of(model_info(model).tenant))) return 0;
    float *vector = mem_aligned(64, (size_t)model_info(model).D * sizeof *vector);
    int n = 0;
    if (vector_make(model, item, asked.own, vector))
        n = model_similar(model, vector, K, is_refused, &asked, found);
    for (int i = 0; i < n; i++)
        out[i] = (struct counted_item){
            .item_id = model_item_id(model, model_item_index(model, found[i].key)),
            .score = (float)found[i].score};
    mem_free(vector);
    return n;
}
