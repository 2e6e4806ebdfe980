/* Items that no list may hold, by their places in the scan's order, so that topk.c takes them out of its hits word by word. */

#include "model/internal.h"

#include "base/mem.h"

struct model_filter *model_filter_new(const struct model *model)
{
    struct model_filter *filter = mem_alloc(sizeof *filter);
    size_t words = (size_t)model->catalog->n_tiles * (MODEL__SCAN_TILE / 16);
    filter->refused = mem_zalloc(words * sizeof *filter->refused);
    return filter;
}

void model_filter_free(struct model_filter *filter)
{
    if (filter == NULL) return;
    mem_free(filter->refused);
    mem_free(filter);
}

void model_filter_set(struct model_filter *filter, const struct model *model, int32_t item,
                      bool is_refused)
{
    int32_t place = model->catalog->place_of[item];
    uint16_t bit = (uint16_t)(1u << (place % 16)), *word = &filter->refused[place / 16];
    *word = (uint16_t)(is_refused ? *word | bit : *word & ~bit);
}

bool model_filter_refuses(const struct model_filter *filter, const struct model *model,
                          int32_t item)
{
    int32_t place = model->catalog->place_of[item];
    return (filter->refused[place / 16] >> (place % 16) & 1) != 0;
}
