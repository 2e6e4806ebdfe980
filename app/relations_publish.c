/* Lists of partners to Kafka: which rows are looked at, which of those changed enough, the record. */
#include <math.h>
#include <string.h>

#include "app/pair_bytes.h"
#include "app/relations_internal.h"
#include "base/fault.h"

/* Nothing of the row's list can be out of date enough: of what is looked at (not bought) a row takes many pairs, of which each alone
 * changes little, and a look costs some 10 us; so it waits until they are a 64th of the row. Orders are looked at at once. */
static bool is_due(const struct row *row, int64_t interval_ms)
{
    static const double grown = 0.0225; /* log2(1 + 1/64) */
    bool is_order = row->kind != RELATED_ALSO_VIEWED;
    bool is_old = row->list.n > 0 && row->newest_ms - row->list.time_ms >= interval_ms;
    return is_order || is_old || !(row->partners.total < row->looked + grown);
}

static bool is_changed(const struct row *row, const struct model_scored *best, int n, double share)
{
    const struct row_list *list = &row->list;
    if (list->n != n) return true;
    for (int i = 0; i < n; i++)
        if (list->keys[i] != best[i].key ||
            fabs(best[i].score - (double)list->scores[i]) > share * (double)list->scores[i])
            return true;
    return false;
}

/* "tenant:item:kind", or "tenant:category"; without the first when there is no tenant. Never null: the topics are compacted. */
static struct str record_key(struct relations *relations, const struct row *row)
{
    buf_reset(&relations->key);
    buf_push_str(&relations->key, row_tenant(row));
    if (row_tenant(row).len > 0) buf_push_byte(&relations->key, ':');
    buf_push_str(&relations->key, row_subject(row));
    if (row->kind == ROW_NOW)
        return (struct str){relations->key.len ? (const char *)relations->key.data : "",
                            relations->key.len};
    buf_push_byte(&relations->key, ':');
    buf_push_text(&relations->key, schemas_related_name((enum related_kind)row->kind));
    return (struct str){(const char *)relations->key.data, relations->key.len};
}

/* The partners of the list with their ids and counts as of the row's newest add. */
static void items_fill(const struct row *row, const struct model_scored *best, int n,
                       struct counted_item *items)
{
    for (int i = 0; i < n; i++) {
        const struct model_partner *partner = model_partners_find(&row->partners, best[i].key);
        items[i] = (struct counted_item){.item_id = row_id_of(row, best[i].key),
                                         .score = (float)best[i].score,
                                         .count = exp2(partner->level - row->partners.newest)};
    }
}

static void record_encode(struct relations *relations, const struct row *row,
                          const struct model_scored *best, int n)
{
    struct counted_item items[RELATED_LIST_MAX];
    double newest = row->partners.newest;
    items_fill(row, best, n, items);
    struct related list = {.item_id = row_subject(row),
                           .tenant = row_tenant(row),
                           .kind = (enum related_kind)row->kind,
                           .items = items,
                           .n_items = (size_t)n,
                           .count = exp2(row->partners.total - newest),
                           .decay = {.half_life_ms = (int64_t)relations->half_life_ms[row->kind]},
                           .event_time_ms = row->newest_ms};
    buf_reset(&relations->bytes);
    schemas_related_encode(relations->env.schemas, &list, &relations->bytes);
}

/* Sends what relations->bytes hold; n 0: what stood there goes. */
static bool list_send(struct relations *relations, struct row *row, const struct model_scored *best,
                      int n, struct emit_epoch *epoch, struct err *err)
{
    bool is_trending = row->kind == ROW_NOW;
    struct emit_source source = {.topic = relations->env.settings->related.pairs_topic,
                                 .partition = row->partition,
                                 .offset = relations->parts[row->partition].offset};
    struct str value = {(const char *)relations->bytes.data, relations->bytes.len};
    if (n > 0 && relations->bytes.failed)
        return err_set(err, ERR_FATAL, "a list of %d items is too long", n);
    if (n == 0) value = (struct str){0};
    bool is_lost = is_trending && fault_mutant("trending_lost");
    if (!is_lost &&
        !emit_send(relations->env.emit, epoch, is_trending ? EMIT_TRENDING : EMIT_RELATED,
                   record_key(relations, row), value, source, 0, err))
        return false;
    row->list.n = n;
    row->list.time_ms = row->newest_ms;
    for (int i = 0; i < n; i++) {
        row->list.keys[i] = best[i].key;
        row->list.scores[i] = (float)best[i].score;
    }
    counters_add(relations->env.counters, METRIC_RELATED,
                 is_trending ? (int)PAIRS_COUNTED : (int)row->kind, 1);
    return true;
}

/* Lists that went out just before a crash may have left no trace in the store. So after a start every row that the records read
 * again change gets the list that follows from it, the same as is stored or not: also none, for what was given and taken back. The same
 * goes for the first change of a row behind a tail. */
static bool is_settling(const struct relations *relations, const struct row *row)
{
    return relations->parts[row->partition].settling > 0 || row->list.time_ms == ROW_LIST_UNKNOWN;
}

/* ---- what rises ---- */

/* A list is published at most once in TRENDING_MS of event time. */
enum { TRENDING_MS = 1000 };

static void trending_encode(struct relations *relations, const struct row *row,
                            const struct model_scored *best, int n)
{
    struct counted_item items[RELATED_LIST_MAX];
    items_fill(row, best, n, items);
    struct trending list = {.tenant = row_tenant(row),
                            .category = row_subject(row),
                            .items = items,
                            .n_items = (size_t)n,
                            .count = exp2(row->partners.total - row->partners.newest),
                            .decay = {.half_life_ms = (int64_t)relations->half_life_ms[ROW_NOW]},
                            .event_time_ms = row->newest_ms};
    buf_reset(&relations->bytes);
    schemas_trending_encode(relations->env.schemas, &list, &relations->bytes);
}

/* The row of what is usual was changed with this one, so it is in memory too and the pointer to this one stays. */
static bool trending_publish(struct relations *relations, struct row *now, struct emit_epoch *epoch,
                             struct err *err)
{
    const struct related_settings *settings = &relations->env.settings->related;
    struct model_rising_options rising = {relations->half_life_ms[ROW_NOW],
                                          relations->half_life_ms[ROW_USUAL], MODEL_RISING_PRIOR};
    struct model_scored best[RELATED_LIST_MAX];
    struct row *usual;
    bool settles = is_settling(relations, now);
    if (!settles && now->list.n > 0 && now->newest_ms - now->list.time_ms < TRENDING_MS)
        return true;
    if (!rows_get(relations->rows, now->partition, ROW_USUAL, now->key, row_tenant(now),
                  row_subject(now), &usual, err))
        return false;
    int n = model_partners_rising(&now->partners, &usual->partners, &rising, now->newest_ms,
                                  settings->list_size, NULL, NULL, best);
    if (!settles && !is_changed(now, best, n, settings->change)) return true;
    if (n > 0) trending_encode(relations, now, best, n);
    return list_send(relations, now, best, n, epoch, err);
}

static bool row_publish(struct relations *relations, struct row *row, struct emit_epoch *epoch,
                        struct err *err)
{
    const struct related_settings *settings = &relations->env.settings->related;
    struct model_score_options score = model_score_options_default();
    struct model_scored best[RELATED_LIST_MAX];
    if (row->kind == ROW_USUAL || row->is_told) return true;
    if (row->kind == ROW_NOW) return trending_publish(relations, row, epoch, err);
    bool settles = is_settling(relations, row);
    if (!settles && !is_due(row, settings->publish_interval_ms)) return true;
    row->looked = row->partners.total;
    int n = row->partners.n == 0
                ? 0
                : model_partners_best(&row->partners,
                                      relations->parts[row->partition].marginals[row->kind], &score,
                                      settings->list_size, NULL, NULL, best);
    bool is_old = n > 0 && row->list.n > 0 &&
                  row->newest_ms - row->list.time_ms >= settings->publish_interval_ms;
    if (!settles && !is_old && !is_changed(row, best, n, settings->change)) return true;
    if (n > 0) record_encode(relations, row, best, n);
    return list_send(relations, row, best, n, epoch, err);
}

bool relations_publish(struct relations *relations, struct emit_epoch *epoch, struct err *err)
{
    size_t n;
    struct row *const *rows = rows_changed(relations->rows, &n);
    for (size_t i = 0; i < n; i++)
        if (!row_publish(relations, rows[i], epoch, err)) return false;
    for (int32_t p = 0; p < relations->env.n_partitions; p++) {
        struct relations_part *part = &relations->parts[p];
        const struct relations_standing *before = &part->standing;
        bool is_past = part->offset + 1 >= before->end && part->offset >= before->tail;
        part->settling -= part->settling > 0 && is_past;
    }
    return true;
}
