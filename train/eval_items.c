/* The items of an evaluation in one numbering, and how often the training part holds each. */
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "schemas/schemas.h"
#include "train/eval.h"

/* from_history written; items that data does not have are numbered on from items->n. */
static void unite(struct train__items *items, const struct train_data *data,
                  const struct train_data *history)
{
    struct map_str *map = map_str_new((size_t)data->n_items, MAP_KEYS_BORROWED);
    for (int i = 0; i < data->n_items; i++)
        (void)map_str_set(map, data->item_ids[i], &data->item_ids[i]);
    for (int i = 0; i < history->n_items; i++) {
        const struct str *known = map_str_get(map, history->item_ids[i]);
        items->from_history[i] = known ? (int32_t)(known - data->item_ids) : items->n++;
    }
    map_str_free(map);
}

/* Writes the keys of a log's items. item_of: NULL when they are numbered alike. */
static void make_keys(struct train__items *items, struct str tenant, const struct train_data *log,
                      const int32_t *item_of)
{
    for (int i = 0; i < log->n_items; i++)
        items->key[item_of ? item_of[i] : i] = schemas_item_key(tenant, log->item_ids[i]);
}

/* Finds the model's items among those of the logs; those that no log has are numbered on. */
static void match_model(struct train__items *items, const struct model *model,
                        const struct train_data *data, const struct train_data *history)
{
    struct model_info info = model ? model_info(model) : (struct model_info){.tenant = ""};
    items->key = mem_alloc((size_t)(items->n + info.N) * sizeof *items->key);
    items->to_model = mem_alloc((size_t)(items->n + info.N) * sizeof *items->to_model);
    make_keys(items, str_of(info.tenant), data, NULL);
    make_keys(items, str_of(info.tenant), history, items->from_history);
    for (int i = 0; i < items->n; i++)
        items->to_model[i] = model ? model_item_index(model, items->key[i]) : -1;
    if (!model) return;
    items->from_model = mem_alloc((size_t)info.N * sizeof *items->from_model);
    memset(items->from_model, -1, (size_t)info.N * sizeof *items->from_model);
    for (int i = 0; i < items->n; i++)
        if (items->to_model[i] >= 0) items->from_model[items->to_model[i]] = i;
    for (int m = 0; m < info.N; m++) {
        if (items->from_model[m] >= 0) continue;
        items->key[items->n] = model_item_key(model, m);
        items->to_model[items->n] = m;
        items->from_model[m] = items->n++;
    }
}

static void count(struct train__items *items, const struct train_data *history,
                  struct train_split split)
{
    size_t n = (size_t)items->n;
    int *last_user = mem_alloc(n * sizeof *last_user);
    memset(last_user, -1, n * sizeof *last_user);
    items->count = mem_zalloc(n * sizeof *items->count);
    items->users = mem_zalloc(n * sizeof *items->users);
    for (int u = 0; u < history->n_users; u++) {
        size_t begin = history->user_start[u], end = train_split_end(history, split, u);
        items->n_users += end > begin;
        for (size_t e = begin; e < end; e++) {
            int32_t item = items->from_history[history->events[e].item];
            items->count[item] += 1;
            items->users[item] += last_user[item] != u;
            last_user[item] = u;
        }
    }
    mem_free(last_user);
}

struct counted {
    double count;
    int32_t item;
};

static int by_count(const void *left, const void *right)
{
    const struct counted *a = left, *b = right;
    if (a->count > b->count) return -1;
    if (a->count < b->count) return 1;
    return a->item < b->item ? -1 : a->item > b->item;
}

static void sort_counted(struct train__items *items)
{
    struct counted *counted = mem_alloc((size_t)items->n * sizeof *counted);
    for (int i = 0; i < items->n; i++) {
        if (items->count[i] > 0) counted[items->n_counted++] = (struct counted){items->count[i], i};
    }
    qsort(counted, (size_t)items->n_counted, sizeof *counted, by_count);
    items->by_count = mem_alloc(((size_t)items->n_counted + 1) * sizeof *items->by_count);
    items->popular_rank = mem_alloc((size_t)items->n * sizeof *items->popular_rank);
    for (int i = 0; i < items->n; i++)
        items->popular_rank[i] = items->n_counted + 1;
    for (int i = 0; i < items->n_counted; i++) {
        items->by_count[i] = counted[i].item;
        items->popular_rank[counted[i].item] = i + 1;
    }
    mem_free(counted);
}

void train__items_init(struct train__items *items, const struct model *model,
                       const struct train_data *data, const struct train_data *history,
                       struct train_split split)
{
    *items = (struct train__items){.n = data->n_items};
    items->from_history = mem_alloc((size_t)history->n_items * sizeof *items->from_history);
    unite(items, data, history);
    match_model(items, model, data, history);
    count(items, history, split);
    sort_counted(items);
    items->catalogue = model ? model_info(model).N : items->n_counted;
}

void train__items_fini(struct train__items *items)
{
    void *const arrays[] = {items->from_history, items->from_model,  items->to_model,
                            items->key,          items->count,       items->users,
                            items->by_count,     items->popular_rank};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++)
        mem_free(arrays[i]);
}
