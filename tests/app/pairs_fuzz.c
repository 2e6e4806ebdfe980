/* What other processes and the disk give to the second step: groups of pairs, and stored rows of partners. The first byte chooses.
 * What is accepted encodes to the same bytes, or to bytes that are read again. */
#include <stdlib.h>
#include <string.h>

#include "app/pair_bytes.h"
#include "app/relations_rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PARTNERS = 16, IDS = 2 * PARTNERS, ARENA_MAX = 64 << 20 };

static struct arena *arena;
static struct buf out;

/* ---- groups of pairs ---- */

static void group_check(const struct pair_group *group)
{
    if (group->n_items > PAIRS_TABLE_MAX) abort();
    for (int i = 0; i < group->n_pairs; i++) {
        const struct model_pair *pair = &group->pairs[i];
        if (pair->subject >= group->n_items || pair->other >= group->n_items) abort();
        if ((int)pair->kind >= PAIRS_KINDS || !(pair->weight == pair->weight)) abort();
    }
}

static void groups(struct str bytes)
{
    struct cursor cursor = {.ptr = (const uint8_t *)bytes.ptr, .left = bytes.len};
    struct pair_group group, again;
    const char *why = NULL;
    while (cursor.left > 0 &&
           pair_group_size((struct str){(const char *)cursor.ptr, cursor.left})) {
        if (!pair_group_get(&cursor, arena, &group, &why)) {
            if (!why || !why[0]) abort();
            return;
        }
        group_check(&group);
        buf_reset(&out);
        pair_group_put(&group, &out);
        struct cursor back = {.ptr = out.data, .left = out.len};
        if (out.failed || !pair_group_get(&back, arena, &again, &why)) abort();
        if (back.left != 0 || again.n_pairs != group.n_pairs) abort();
    }
}

/* ---- rows of partners ---- */

static struct row *row_empty(void)
{
    size_t bytes =
        sizeof(struct row) + PARTNERS * sizeof(struct model_partner) + IDS * sizeof(struct row_id);
    struct row *row = mem_zalloc(bytes);
    row->partners.entries = row->entries;
    row->partners.max = PARTNERS;
    row->ids = (struct row_id *)(void *)(row->entries + PARTNERS);
    buf_init(&row->texts, (IDS + 2) * SCHEMAS_ID_MAX);
    return row;
}

static void row_free(struct row *row)
{
    buf_fini(&row->texts);
    mem_free(row);
}

static void stored_row(struct str bytes)
{
    struct row *row = row_empty(), *again = row_empty();
    (void)row_newest_ms(bytes);
    const char *why = row_decode(bytes, 86400000.0, row);
    if (!why) {
        if (row->partners.n > PARTNERS || row->list.n > RELATED_LIST_MAX) abort();
        buf_reset(&out);
        row_encode(row, 86400000.0, &out);
        if (out.failed ||
            row_decode((struct str){(const char *)out.data, out.len}, 86400000.0, again))
            abort();
        if (again->partners.n != row->partners.n || again->list.n != row->list.n) abort();
    }
    row_free(row);
    row_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!arena) {
        arena = arena_new(64 * 1024, ARENA_MAX);
        buf_init(&out, 16 << 20);
    }
    if (size == 0) return 0;
    struct str bytes = {(const char *)data + 1, size - 1};
    arena_reset(arena);
    if (data[0] % 2)
        stored_row(bytes);
    else
        groups(bytes);
    return 0;
}
