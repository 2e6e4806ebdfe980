/* The catalogue as the reference has it: the newest record of each key, in a list sorted by item once all are read. */
#include "tests/oracle/reference.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tests/oracle/topic.h"

enum { REFERENCE_CATEGORIES_MAX = 64 };

struct reference_item_record {
    struct str record_key; /* lives as long as the topic that was read */
    bool is_gone;
    uint64_t key;
    char tenant[SCHEMAS_ID_MAX + 1];
    bool is_hidden;
    int64_t stock, from_ms, until_ms;
    struct str categories[REFERENCE_CATEGORIES_MAX]; /* (n_categories) */
    int n_categories;
};

struct reference_catalogue {
    struct reference_item_record *items; /* (n) */
    int n;
    struct str *tenants; /* (n_tenants): those that have an item */
    int n_tenants;
    struct arena *arena; /* of names */
};

static struct reference_item_record *place_of(struct reference_catalogue *catalogue,
                                              struct str record_key)
{
    for (int i = 0; i < catalogue->n; i++)
        if (str_equal(catalogue->items[i].record_key, record_key)) return &catalogue->items[i];
    return &catalogue->items[catalogue->n++];
}

static int by_key(const void *left, const void *right)
{
    const struct reference_item_record *a = left, *b = right;
    return (a->key > b->key) - (a->key < b->key);
}

static bool has_tenant(const struct reference_catalogue *catalogue, struct str tenant)
{
    for (int i = 0; i < catalogue->n_tenants; i++)
        if (str_equal(catalogue->tenants[i], tenant)) return true;
    return false;
}

/* Items that are gone leave the list; the others get their order. */
static void catalogue_sort(struct reference_catalogue *catalogue)
{
    int n = 0;
    for (int i = 0; i < catalogue->n; i++)
        if (!catalogue->items[i].is_gone) catalogue->items[n++] = catalogue->items[i];
    catalogue->n = n;
    qsort(catalogue->items, (size_t)n, sizeof *catalogue->items, by_key);
    catalogue->tenants = mem_zalloc((size_t)(n + 1) * sizeof *catalogue->tenants);
    for (int i = 0; i < n; i++) {
        struct str tenant = str_of(catalogue->items[i].tenant);
        if (!has_tenant(catalogue, tenant)) catalogue->tenants[catalogue->n_tenants++] = tenant;
    }
}

/* NULL when there is none. */
static const struct reference_item_record *item_of(const struct reference_catalogue *catalogue,
                                                   uint64_t key)
{
    struct reference_item_record wanted = {.key = key};
    return bsearch(&wanted, catalogue->items, (size_t)catalogue->n, sizeof wanted, by_key);
}

struct reference_catalogue *reference_catalogue_new(struct schemas *schemas,
                                                    const struct topic *topic)
{
    struct reference_catalogue *catalogue = mem_zalloc(sizeof *catalogue);
    struct arena *arena = arena_new(1 << 20, SIZE_MAX);
    catalogue->arena = arena_new(1 << 20, SIZE_MAX);
    catalogue->items = mem_zalloc((size_t)(topic->n + 1) * sizeof *catalogue->items);
    for (int i = 0; i < topic->n; i++) {
        const struct topic_record *record = &topic->records[i];
        struct reference_item_record *place = place_of(catalogue, record->key);
        struct item item;
        struct err err = ERR_INIT;
        arena_reset(arena);
        place->record_key = record->key;
        place->is_gone = record->value.ptr == NULL;
        if (place->is_gone || !schemas_item_decode(schemas, record->value, arena, &item, &err))
            continue;
        place->key = schemas_item_key(item.tenant, item.item_id);
        memset(place->tenant, 0, sizeof place->tenant);
        if (item.tenant.len) memcpy(place->tenant, item.tenant.ptr, item.tenant.len);
        place->is_hidden = item.hidden;
        place->stock = item.stock;
        place->from_ms = item.available_from_ms;
        place->until_ms = item.available_until_ms;
        place->n_categories = 0;
        for (size_t k = 0; k < item.n_categories && k < REFERENCE_CATEGORIES_MAX; k++)
            place->categories[place->n_categories++] =
                arena_str(catalogue->arena, item.categories[k]);
    }
    arena_free(arena);
    catalogue_sort(catalogue);
    return catalogue;
}

void reference_catalogue_free(struct reference_catalogue *catalogue)
{
    if (!catalogue) return;
    arena_free(catalogue->arena);
    mem_free(catalogue->tenants);
    mem_free(catalogue->items);
    mem_free(catalogue);
}

int reference_catalogue_categories(const struct reference_catalogue *catalogue, uint64_t key,
                                   const struct str **categories)
{
    const struct reference_item_record *item = catalogue ? item_of(catalogue, key) : NULL;
    if (!item) return 0;
    *categories = item->categories;
    return item->n_categories;
}

bool reference_catalogue_refuses(const struct reference_catalogue *catalogue, struct str tenant,
                                 uint64_t key, int64_t time_ms)
{
    const struct reference_item_record *item = item_of(catalogue, key);
    if (!item) return has_tenant(catalogue, tenant);
    return item->is_hidden || item->stock == 0 || (item->from_ms && time_ms < item->from_ms) ||
           (item->until_ms && time_ms >= item->until_ms);
}
