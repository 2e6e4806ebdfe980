/* One popularity table: decayed counts of one partition and tenant, in memory.
 *
 *   L(item) = log2 of the sum over its events of  weight * 2^(t / H)          t event time, H half-life
 *
 * A count that halves every H is 2^(L - now/H), so the order of items never depends on "now" and nothing decays by a
 * sweep (forward decay: Cormode, Shkapenyuk, Srivastava, Xu 2009). Kept as a logarithm, it does not overflow.
 *
 * Levels only grow, so the best STATE_TOP_MAX rows are kept sorted at the price of a few moves an event: a row that did
 * not change cannot overtake. */
#include "state/internal.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct pop_table *state__pop_new(struct str tenant, uint32_t max)
{
    struct pop_table *table = mem_zalloc(sizeof *table);
    table->tenant = (struct str){mem_strndup(tenant.ptr, tenant.len), tenant.len};
    table->max = max;
    table->index = map_u64_new(max);
    buf_init(&table->ids, (size_t)max * SCHEMAS_ID_MAX);
    return table;
}

void state__pop_free(struct pop_table *table)
{
    if (!table) return;
    mem_free((char *)(uintptr_t)table->tenant.ptr);
    map_u64_free(table->index);
    buf_fini(&table->ids);
    mem_free(table->rows);
    mem_free(table->dirty);
    mem_free(table->removed);
    mem_free(table);
}

struct pop_row *state__pop_find(const struct pop_table *table, uint64_t key)
{
    const uint64_t *row = map_u64_get(table->index, key);
    return row ? table->rows + *row : NULL;
}

struct str state__pop_id(const struct pop_table *table, const struct pop_row *row)
{
    return (struct str){(const char *)table->ids.data + row->id_at, row->id_len};
}

size_t state__pop_bytes(const struct pop_table *table)
{
    return sizeof *table + table->cap * sizeof *table->rows + map_u64_bytes(table->index) +
           table->ids.cap + table->cap_dirty * sizeof(uint32_t) +
           table->cap_removed * sizeof(uint64_t);
}

static void *grow32(void *array, uint32_t n, uint32_t *cap, size_t element)
{
    size_t wide = *cap;
    array = state__grow(array, n, &wide, element);
    *cap = (uint32_t)wide;
    return array;
}

/* ---- order ---- */

static bool is_better(double level, uint64_t key, const struct pop_top *than)
{
    return level > than->level || (level == than->level && key < than->key);
}

/* Puts the row in its place of the top, or leaves it out. */
static void top_raise(struct pop_table *table, uint32_t at)
{
    struct pop_row *row = table->rows + at;
    int place = row->top;
    if (place < 0) {
        if (table->n_top == STATE_TOP_MAX) {
            if (!is_better(row->level, row->key, table->top + STATE_TOP_MAX - 1)) return;
            place = STATE_TOP_MAX - 1;
            table->rows[table->top[place].row].top = -1;
        } else {
            place = table->n_top++;
        }
    }
    while (place > 0 && is_better(row->level, row->key, table->top + place - 1)) {
        table->top[place] = table->top[place - 1];
        table->rows[table->top[place].row].top = (int16_t)place;
        place--;
    }
    table->top[place] = (struct pop_top){row->level, row->key, at};
    row->top = (int16_t)place;
}

/* Best first. */
static int compare_rows(const void *a, const void *b)
{
    const struct pop_row *x = a, *y = b;
    if (x->level != y->level) return x->level > y->level ? -1 : 1;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return 0;
}

/* ---- rows ---- */

static void mark_dirty(struct pop_table *table, uint32_t at)
{
    if (table->rows[at].dirty) return;
    table->rows[at].dirty = true;
    table->dirty = grow32(table->dirty, table->n_dirty, &table->cap_dirty, sizeof(uint32_t));
    table->dirty[table->n_dirty++] = at;
}

/* Moves the ids of the rows that are left together. */
static void pack_ids(struct pop_table *table)
{
    struct buf packed;
    buf_init(&packed, table->ids.max);
    for (uint32_t i = 0; i < table->n; i++) {
        struct str id = state__pop_id(table, table->rows + i);
        table->rows[i].id_at = packed.len;
        buf_push_str(&packed, id);
    }
    buf_fini(&table->ids);
    table->ids = packed;
}

/* Index, top and list of changed rows, made anew from rows that stand best first. */
static void rebuild(struct pop_table *table)
{
    map_u64_clear(table->index);
    table->n_dirty = 0;
    table->n_top = 0;
    for (uint32_t i = 0; i < table->n; i++) {
        struct pop_row *row = table->rows + i;
        (void)map_u64_set(table->index, row->key, i);
        row->top = -1;
        if (i < STATE_TOP_MAX) top_raise(table, i);
        bool dirty = row->dirty;
        row->dirty = false;
        if (dirty) mark_dirty(table, i);
    }
}

/* The worse half (n / 2 rounded down) leaves: lowest level first, of equals the larger key. */
static void drop_half(struct pop_table *table)
{
    uint32_t keep = table->n - table->n / 2;
    qsort(table->rows, table->n, sizeof *table->rows, compare_rows);
    for (uint32_t i = keep; i < table->n; i++) {
        if (!table->rows[i].stored) continue;
        table->removed =
            grow32(table->removed, table->n_removed, &table->cap_removed, sizeof(uint64_t));
        table->removed[table->n_removed++] = table->rows[i].key;
    }
    table->n = keep;
    pack_ids(table);
    rebuild(table);
}

static uint32_t row_new(struct pop_table *table, uint64_t key, struct str id, double level)
{
    table->rows = grow32(table->rows, table->n, &table->cap, sizeof *table->rows);
    uint32_t at = table->n++;
    table->rows[at] = (struct pop_row){
        .key = key, .level = level, .id_at = table->ids.len, .id_len = (uint16_t)id.len, .top = -1};
    buf_push_str(&table->ids, id);
    assert(!table->ids.failed);
    (void)map_u64_set(table->index, key, at);
    return at;
}

void state__pop_add(struct pop_table *table, uint64_t key, struct str id, double amount)
{
    struct pop_row *row = state__pop_find(table, key);
    uint32_t at;
    if (row) {
        double high = row->level > amount ? row->level : amount;
        double low = row->level > amount ? amount : row->level;
        row->level = high + log2(1.0 + exp2(low - high));
        at = (uint32_t)(row - table->rows);
    } else {
        if (table->n == table->max) drop_half(table);
        at = row_new(table, key, id, amount);
    }
    mark_dirty(table, at);
    top_raise(table, at);
}

bool state__pop_load(struct pop_table *table, uint64_t key, struct str id, double level)
{
    if (table->n == table->max) drop_half(table);
    if (state__pop_find(table, key)) return false;
    uint32_t at = row_new(table, key, id, level); /* may move the rows */
    table->rows[at].stored = true;
    return true;
}

void state__pop_loaded(struct pop_table *table)
{
    for (uint32_t i = 0; i < table->n; i++)
        top_raise(table, i);
}

/* ---- the best ---- */

/* The best rows outside the top that skip does not refuse, up to n: an insertion sort over one pass. */
static int scan_rest(const struct pop_table *table, int n, uint64_t *keys,
                     bool (*skip)(void *context, uint64_t key), void *context,
                     struct pop_top *found)
{
    int count = 0;
    for (uint32_t i = 0; i < table->n; i++) {
        const struct pop_row *row = table->rows + i;
        if (row->top >= 0) continue;
        if (count == n && !is_better(row->level, row->key, found + n - 1)) continue;
        if (skip && skip(context, row->key)) continue;
        int place = count < n ? count++ : n - 1;
        for (; place > 0 && is_better(row->level, row->key, found + place - 1); place--)
            found[place] = found[place - 1];
        found[place] = (struct pop_top){row->level, row->key, i};
    }
    for (int i = 0; i < count; i++)
        keys[i] = found[i].key;
    return count;
}

int state__pop_best(const struct pop_table *table, int n, uint64_t *keys,
                    bool (*skip)(void *context, uint64_t key), void *context,
                    struct pop_top *scratch)
{
    int count = 0;
    for (int i = 0; i < table->n_top && count < n; i++)
        if (!skip || !skip(context, table->top[i].key)) keys[count++] = table->top[i].key;
    if (count == n || (uint32_t)table->n_top == table->n) return count;
    return count + scan_rest(table, n - count, keys + count, skip, context, scratch);
}
