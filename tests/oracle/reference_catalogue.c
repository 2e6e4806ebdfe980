/* The catalogue as the reference has it: the newest record of each key, in a list that is walked. */
#include "tests/oracle/reference.h"

#include <string.h>

#include "base/mem.h"
#include "tests/oracle/topic.h"

struct reference_item_record {
    struct str record_key; /* lives as long as the topic that was read */
    bool is_gone;
    uint64_t key;
    char tenant[SCHEMAS_ID_MAX + 1];
    bool is_hidden;
    int64_t stock, from_ms, until_ms;
};

struct reference_catalogue {
    struct reference_item_record *items; /* (n) */
    int n;
};

static struct reference_item_record *place_of(struct reference_catalogue *catalogue,
                                              struct str record_key)
{
    for (int i = 0; i < catalogue->n; i++)
        if (str_equal(catalogue->items[i].record_key, record_key)) return &catalogue->items[i];
    return &catalogue->items[catalogue->n++];
}

struct reference_catalogue *reference_catalogue_new(struct schemas *schemas,
                                                    const struct topic *topic)
{
    struct reference_catalogue *catalogue = mem_zalloc(sizeof *catalogue);
    struct arena *arena = arena_new(1 << 20, SIZE_MAX);
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
    }
    arena_free(arena);
    return catalogue;
}

void reference_catalogue_free(struct reference_catalogue *catalogue)
{
    if (!catalogue) return;
    mem_free(catalogue->items);
    mem_free(catalogue);
}

bool reference_catalogue_refuses(const struct reference_catalogue *catalogue, struct str tenant,
                                 uint64_t key, int64_t time_ms)
{
    bool is_required = false;
    for (int i = 0; i < catalogue->n; i++) {
        const struct reference_item_record *item = &catalogue->items[i];
        if (item->is_gone) continue;
        is_required = is_required || str_equal(str_of(item->tenant), tenant);
        if (item->key != key) continue;
        return item->is_hidden || item->stock == 0 || (item->from_ms && time_ms < item->from_ms) ||
               (item->until_ms && time_ms >= item->until_ms);
    }
    return is_required;
}
