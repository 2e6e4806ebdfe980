/* Rows of partners as bytes; docs/STATE.md has the table. */
#include <math.h>
#include <string.h>

#include "app/relations_rows.h"

enum { ROW_VERSION = 1 };

static void push_text(struct buf *out, struct str text)
{
    buf_push_u16(out, (uint16_t)text.len);
    buf_push_str(out, text);
}

void row_encode(const struct row *row, double half_life_ms, struct buf *out)
{
    const struct model_partners *partners = &row->partners;
    buf_push_byte(out, ROW_VERSION);
    push_text(out, row_tenant(row));
    push_text(out, row_subject(row));
    buf_push_double(out, half_life_ms);
    buf_push_double(out, partners->total);
    buf_push_double(out, partners->newest);
    buf_push_double(out, row->looked);
    buf_push_u64(out, (uint64_t)row->newest_ms);
    buf_push_u16(out, (uint16_t)partners->n);
    for (int i = 0; i < partners->n; i++) {
        buf_push_u64(out, partners->entries[i].key);
        buf_push_double(out, partners->entries[i].level);
        push_text(out, row_id_of(row, partners->entries[i].key));
    }
    buf_push_u64(out, (uint64_t)row->list.time_ms);
    buf_push_byte(out, (uint8_t)row->list.n);
    for (int i = 0; i < row->list.n; i++) {
        uint32_t bits;
        memcpy(&bits, &row->list.scores[i], sizeof bits);
        buf_push_u64(out, row->list.keys[i]);
        buf_push_u32(out, bits);
    }
}

/* ---- reading ---- */

static struct str take_text(struct cursor *c)
{
    size_t len = cursor_u16(c);
    const uint8_t *bytes = cursor_bytes(c, len);
    return (struct str){(const char *)bytes, bytes ? len : 0};
}

/* Entries in the order of their keys, with their ids. What is over the row's maximum leaves, the weakest first. */
static const char *entries_take(struct cursor *c, struct row *row, int n)
{
    struct model_partner all[MODEL_PARTNERS_MAX];
    struct model_partners stored = row->partners;
    size_t ids_from = row->texts.len;
    struct cursor again = *c;
    if (n > MODEL_PARTNERS_MAX) return "too many partners";
    stored.entries = all;
    stored.max = MODEL_PARTNERS_MAX;
    stored.n = n;
    for (int i = 0; i < n; i++) {
        all[i].key = cursor_u64(c);
        all[i].level = cursor_double(c);
        if (take_text(c).len == 0) return "a partner without an id";
    }
    if (c->failed || !model_partners_is_valid(&stored)) return "partners that no row can hold";
    model_partners_trim(&stored, row->partners.max);
    memcpy(row->entries, all, (size_t)stored.n * sizeof *all);
    row->partners.n = stored.n;
    for (int i = 0; i < n; i++) {
        uint64_t key = cursor_u64(&again);
        (void)cursor_u64(&again);
        struct str id = take_text(&again);
        if (!model_partners_find(&row->partners, key)) continue;
        row->ids[row->n_ids++] = (struct row_id){key, (uint32_t)row->texts.len, (uint16_t)id.len};
        buf_push_str(&row->texts, id);
    }
    return row->texts.failed || row->texts.len < ids_from ? "ids are too long" : NULL;
}

/* Levels are in moments of the half-life that they were added with: the counts as of the newest add stay what they are. */
static void half_life_change(struct row *row, double from, double to)
{
    if (from == to || !isfinite(row->partners.newest)) return;
    double moment = model_moment(row->newest_ms, to), shift = moment - row->partners.newest;
    row->partners.newest = moment;
    row->partners.total += shift;
    row->looked += shift;
    for (int i = 0; i < row->partners.n; i++)
        row->partners.entries[i].level += shift;
}

int64_t row_newest_ms(struct str value)
{
    enum { LEVELS = 4 * sizeof(double) };
    struct cursor c = {.ptr = (const uint8_t *)value.ptr, .left = value.len};
    bool is_row = cursor_u8(&c) == ROW_VERSION;
    (void)take_text(&c);
    (void)take_text(&c);
    (void)cursor_bytes(&c, LEVELS);
    int64_t newest_ms = (int64_t)cursor_u64(&c);
    return is_row && !c.failed ? newest_ms : INT64_MIN;
}

static const char *list_take(struct cursor *c, struct row_list *list)
{
    list->time_ms = (int64_t)cursor_u64(c);
    list->n = cursor_u8(c);
    if (list->n > RELATED_LIST_MAX) return "a list that is too long";
    for (int i = 0; i < list->n; i++) {
        list->keys[i] = cursor_u64(c);
        uint32_t bits = cursor_u32(c);
        memcpy(&list->scores[i], &bits, sizeof bits);
    }
    return c->failed || c->left > 0 ? "it has another length" : NULL;
}

const char *row_decode(struct str value, double half_life_ms, struct row *row)
{
    struct cursor c = {.ptr = (const uint8_t *)value.ptr, .left = value.len};
    if (cursor_u8(&c) != ROW_VERSION) return "version of the value is unknown";
    struct str tenant = take_text(&c), subject = take_text(&c);
    row->tenant_len = (uint16_t)tenant.len;
    row->subject_len = (uint16_t)subject.len;
    buf_push_str(&row->texts, tenant);
    buf_push_str(&row->texts, subject);
    double from = cursor_double(&c);
    row->partners.total = cursor_double(&c);
    row->partners.newest = cursor_double(&c);
    row->looked = cursor_double(&c);
    row->newest_ms = (int64_t)cursor_u64(&c);
    int n = cursor_u16(&c);
    const char *why = c.failed || isnan(row->looked) ? "it is too short" : entries_take(&c, row, n);
    if (!why) why = list_take(&c, &row->list);
    if (!why && !(from > 0 && isfinite(from))) why = "a half-life is no time";
    if (!why) half_life_change(row, from, half_life_ms);
    if (!why && !model_partners_is_valid(&row->partners)) why = "partners that no row can hold";
    return why;
}
