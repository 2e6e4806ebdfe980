/* A list of items for each category, and the categories of each item. An item that leaves a category stays in its list and is
 * seen through by the item's own categories, so nothing is searched for when it goes. */
#include "app/aisles.h"

#include <string.h>

#include "base/map.h"
#include "base/mem.h"

enum { ITEM_CATEGORIES = 4, AISLES_MAX = 4096, LIST_MAX = 1 << 15 };

struct place {
    struct aisle aisle; /* its texts lie behind the struct */
    uint64_t *keys;     /* (n) items that came into it, once each */
    int n, cap;
};

/* Of an item: where it stands. Kept when the item is removed, so that its return is not a second entry in a list. */
struct stand {
    uint64_t record; /* hash of the Kafka key that it came by last */
    int n, n_ever;
    uint16_t aisles[ITEM_CATEGORIES]; /* (n) */
    uint16_t ever[ITEM_CATEGORIES];   /* (n_ever) lists that hold it */
};

struct aisles {
    struct map_u64 *stands;  /* item key to struct stand */
    struct map_u64 *records; /* hash of the Kafka key to the item key */
    struct map_u64 *names;   /* hash of tenant and name to the index in all */
    struct place *all[AISLES_MAX];
    int n;
};

struct aisles *aisles_new(int max)
{
    struct aisles *aisles = mem_zalloc(sizeof *aisles);
    aisles->stands = map_u64_new((size_t)max);
    aisles->records = map_u64_new((size_t)max);
    aisles->names = map_u64_new(AISLES_MAX);
    return aisles;
}

void aisles_clear(struct aisles *aisles)
{
    size_t at = 0;
    uint64_t key, *value;
    while (map_u64_next(aisles->stands, &at, &key, &value))
        mem_free(map_u64_get_ptr(aisles->stands, key));
    for (int i = 0; i < aisles->n; i++) {
        mem_free(aisles->all[i]->keys);
        mem_free(aisles->all[i]);
    }
    aisles->n = 0;
    map_u64_clear(aisles->stands);
    map_u64_clear(aisles->records);
    map_u64_clear(aisles->names);
}

void aisles_free(struct aisles *aisles)
{
    if (!aisles) return;
    aisles_clear(aisles);
    map_u64_free(aisles->stands);
    map_u64_free(aisles->records);
    map_u64_free(aisles->names);
    mem_free(aisles);
}

/* ---- categories ---- */

static int aisle_find(const struct aisles *aisles, struct str tenant, struct str name)
{
    const uint64_t *at = map_u64_get(aisles->names, schemas_item_key(tenant, name));
    return at ? (int)*at : -1;
}

/* -1: there are too many, or the name is empty. */
static int aisle_make(struct aisles *aisles, struct str tenant, struct str name)
{
    int found = aisle_find(aisles, tenant, name);
    if (found >= 0 || name.len == 0 || aisles->n == AISLES_MAX) return found;
    struct place *place = mem_zalloc(sizeof *place + tenant.len + name.len);
    char *texts = (char *)(place + 1);
    if (tenant.len) memcpy(texts, tenant.ptr, tenant.len);
    memcpy(texts + tenant.len, name.ptr, name.len);
    place->aisle.tenant = (struct str){texts, tenant.len};
    place->aisle.name = (struct str){texts + tenant.len, name.len};
    aisles->all[aisles->n] = place;
    (void)map_u64_set(aisles->names, schemas_item_key(tenant, name), (uint64_t)aisles->n);
    return aisles->n++;
}

static bool is_in(const uint16_t *list, int n, int aisle)
{
    for (int i = 0; i < n; i++)
        if (list[i] == aisle) return true;
    return false;
}

static void list_add(struct place *place, uint64_t key)
{
    if (place->n == place->cap) {
        place->cap = place->cap ? 2 * place->cap : 16;
        place->keys = mem_realloc(place->keys, (size_t)place->cap * sizeof *place->keys);
    }
    place->keys[place->n++] = key;
}

/* ---- items ---- */

static void stand_leave(struct aisles *aisles, struct stand *stand)
{
    for (int i = 0; i < stand->n; i++)
        aisles->all[stand->aisles[i]]->aisle.items--;
    stand->n = 0;
}

/* An item that was in four other lists before is in no fifth one: it would have to be searched for to be there once. */
static void stand_enter(struct aisles *aisles, struct stand *stand, uint64_t key, int aisle)
{
    struct place *place = aisles->all[aisle];
    if (is_in(stand->aisles, stand->n, aisle)) return;
    if (!is_in(stand->ever, stand->n_ever, aisle)) {
        if (stand->n_ever == ITEM_CATEGORIES || place->n == LIST_MAX) return;
        stand->ever[stand->n_ever++] = (uint16_t)aisle;
        list_add(place, key);
    }
    stand->aisles[stand->n++] = (uint16_t)aisle;
    place->aisle.items++;
}

void aisles_put(struct aisles *aisles, struct str record_key, const struct item *item)
{
    uint64_t key = schemas_item_key(item->tenant, item->item_id);
    uint64_t record = schemas_id_hash(record_key);
    const uint64_t *was = map_u64_get(aisles->records, record);
    if (was && *was != key) aisles_remove(aisles, record_key);
    struct stand *stand = map_u64_get_ptr(aisles->stands, key);
    if (!stand) {
        stand = mem_zalloc(sizeof *stand);
        if (!map_u64_set_ptr(aisles->stands, key, stand)) {
            mem_free(stand);
            return;
        }
    }
    stand_leave(aisles, stand);
    (void)map_u64_delete(aisles->records, stand->record);
    stand->record = record;
    for (size_t i = 0; i < item->n_categories; i++) {
        int aisle = aisle_make(aisles, item->tenant, item->categories[i]);
        if (aisle >= 0) stand_enter(aisles, stand, key, aisle);
    }
    (void)map_u64_set(aisles->records, record, key);
}

void aisles_remove(struct aisles *aisles, struct str record_key)
{
    uint64_t record = schemas_id_hash(record_key);
    const uint64_t *key = map_u64_get(aisles->records, record);
    if (!key) return;
    stand_leave(aisles, map_u64_get_ptr(aisles->stands, *key));
    (void)map_u64_delete(aisles->records, record);
}

/* ---- questions ---- */

int aisles_count(const struct aisles *aisles)
{
    return aisles->n;
}

const struct aisle *aisles_get(const struct aisles *aisles, int i)
{
    return &aisles->all[i]->aisle;
}

static bool stands_in(const struct aisles *aisles, uint64_t item_key, int aisle)
{
    const struct stand *stand = map_u64_get_ptr(aisles->stands, item_key);
    return stand && is_in(stand->aisles, stand->n, aisle);
}

bool aisles_has(const struct aisles *aisles, struct str tenant, struct str name, uint64_t item_key)
{
    int aisle = aisle_find(aisles, tenant, name);
    return aisle >= 0 && stands_in(aisles, item_key, aisle);
}

bool aisles_next(const struct aisles *aisles, struct str tenant, struct str name, int *place,
                 uint64_t *item_key)
{
    int aisle = aisle_find(aisles, tenant, name);
    if (aisle < 0 || *place >= aisles->all[aisle]->n) return false;
    uint64_t key = aisles->all[aisle]->keys[(*place)++];
    *item_key = stands_in(aisles, key, aisle) ? key : 0;
    return true;
}
