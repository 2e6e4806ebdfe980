/* Rows and marginals of a shard's partitions: from records of the pairs topic, from the store, into epochs. */
#include <math.h>
#include <string.h>

#include "app/pair_bytes.h"
#include "app/pairs.h"
#include "app/relations_internal.h"
#include "base/fault.h"

enum {
    ARENA_BLOCK = 1 << 16,
    RECORD_MAX = 1 << 20, /* bytes; pairs.c makes none of 900 KB */
    ARENA_MAX =
        16
        << 20, /* an empty id is 2 bytes of a record and 16 of the arena: no more than half of it is needed */
    HEAD_VERSION = 3,     /* 2: without the group's position */
    HEAD_VERSION_ONE = 1, /* the same, and one half-life, of all kinds */
    HEAD_TOLD = 9,        /* bytes of the version and the group's position */
    MARGINAL_BYTES = 8,
};

/* ---- life ---- */

void relations_half_lives(const struct related_settings *settings, double *half_life_ms)
{
    for (int kind = 0; kind < RELATED_KIND_COUNT; kind++)
        half_life_ms[kind] = settings->rules.half_life_ms[kind];
    half_life_ms[ROW_NOW] = settings->rules.trending_half_life_ms;
    half_life_ms[ROW_USUAL] = (double)settings->popular_half_life_ms;
}

struct relations *relations_new(const struct relations_env *env)
{
    const struct related_settings *settings = &env->settings->related;
    struct relations *relations = mem_zalloc(sizeof *relations);
    relations->env = *env;
    relations_half_lives(settings, relations->half_life_ms);
    /* Half of the memory is the rows', shared by the shards. */
    relations->rows =
        rows_new(env->state, settings->memory_bytes / 2 / (size_t)env->settings->shards,
                 settings->rules.partners_max, relations->half_life_ms);
    relations->parts = mem_zalloc((size_t)env->n_partitions * sizeof *relations->parts);
    relations->arena = arena_new(ARENA_BLOCK, ARENA_MAX);
    buf_init(&relations->bytes, STATE_RELATED_MAX);
    buf_init(&relations->key, SCHEMAS_MESSAGE_MAX);
    return relations;
}

void relations_free(struct relations *relations)
{
    if (!relations) return;
    for (int32_t p = 0; p < relations->env.n_partitions; p++)
        relations_close(relations, p);
    rows_free(relations->rows);
    arena_free(relations->arena);
    buf_fini(&relations->bytes);
    buf_fini(&relations->key);
    mem_free(relations->parts);
    mem_free(relations);
}

size_t relations_marginals_max(const struct related_settings *settings, int n_partitions)
{
    size_t share = settings->memory_bytes / 2 / (RELATED_OTHER * (size_t)n_partitions);
    size_t n = share / (model_marginals_bytes_max(1 << 16) >> 16);
    while (n > 2 && model_marginals_bytes_max(n) > share) /* its index doubles */
        n -= n / 64 + 1;
    return n < 2 ? 2 : n;
}

/* ---- the head ---- */

static size_t sources(const struct relations *relations)
{
    return (size_t)relations->env.settings->n_topics * (size_t)relations->env.n_partitions;
}

/* What the group is known to have, 0 when nothing is known of it; -1: with transactions it has what the store has. */
static int64_t told_of(const struct relations *relations, const struct relations_part *part)
{
    const struct settings *settings = relations->env.settings;
    if (!relations->env.ingest || settings->transactional_id) return -1;
    int64_t acked =
        ingest_acked(relations->env.ingest, settings->pairs_at, (int32_t)(part - relations->parts));
    return acked < 0 ? 0 : acked;
}

static void head_encode(const struct relations *relations, const struct relations_part *part,
                        struct buf *out)
{
    uint32_t n = 0;
    for (size_t i = 0; i < sources(relations); i++)
        n += part->last[i] >= 0;
    buf_push_byte(out, HEAD_VERSION);
    buf_push_u64(out, (uint64_t)told_of(relations, part));
    buf_push_byte(out, RELATED_KIND_COUNT);
    for (int kind = 0; kind < RELATED_KIND_COUNT; kind++) {
        double total = model_marginals_total(part->marginals[kind]);
        buf_push_double(out, relations->half_life_ms[kind]);
        buf_push_double(out, total);
    }
    buf_push_u32(out, n);
    for (size_t i = 0; i < sources(relations); i++) {
        if (part->last[i] < 0) continue;
        buf_push_u32(out, (uint32_t)i);
        buf_push_u64(out, (uint64_t)part->last[i]);
    }
}

/* half_life_ms (RELATED_KIND_COUNT): those that the marginals were stored with. */
static const char *head_decode(const struct relations *relations, struct str value,
                               struct relations_part *part, double *half_life_ms)
{
    struct cursor c = {.ptr = (const uint8_t *)value.ptr, .left = value.len};
    uint8_t version = cursor_u8(&c);
    if (version < HEAD_VERSION_ONE || version > HEAD_VERSION)
        return "version of the head is unknown";
    if (version == HEAD_VERSION) (void)cursor_u64(&c);
    double of_all = version == HEAD_VERSION_ONE ? cursor_double(&c) : 0;
    if (cursor_u8(&c) != RELATED_KIND_COUNT) return "the head has other kinds";
    for (int kind = 0; kind < RELATED_KIND_COUNT; kind++) {
        half_life_ms[kind] = version == HEAD_VERSION_ONE ? of_all : cursor_double(&c);
        double total = cursor_double(&c);
        if (isnan(total) || isnan(half_life_ms[kind])) return "a total is no number";
        model_marginals_resume(part->marginals[kind], total);
    }
    uint32_t n = cursor_u32(&c);
    for (uint32_t i = 0; i < n && !c.failed; i++) {
        uint32_t source = cursor_u32(&c);
        int64_t offset = (int64_t)cursor_u64(&c);
        if (source >= sources(relations) || offset < 0) return "a source is out of bounds";
        part->last[source] = offset;
    }
    return c.failed || c.left > 0 ? "the head has another length" : NULL;
}

bool relations_again(struct state *state, int32_t partition, int64_t begin, int64_t *from,
                     struct err *err)
{
    struct buf head;
    bool found;
    buf_init(&head, STATE_RELATED_MAX);
    bool ok = state_related_get(state, partition, RELATED_HEAD, 0, &head, &found, err);
    struct cursor c = {.ptr = head.data, .left = head.len};
    if (ok && found && head.len >= HEAD_TOLD && cursor_u8(&c) == HEAD_VERSION) {
        int64_t told = (int64_t)cursor_u64(&c);
        if (told >= 0 && told < begin) told = begin;
        if (told >= 0 && told < *from) *from = told;
    }
    buf_fini(&head);
    return ok;
}

/* ---- opening ---- */

struct marginals_walk {
    struct model_marginals *marginals;
    const char *why;
};

static bool marginal_take(void *context, uint64_t key, struct str value)
{
    struct marginals_walk *walk = context;
    struct cursor c = {.ptr = (const uint8_t *)value.ptr, .left = value.len};
    double level = cursor_double(&c);
    if (c.failed || c.left > 0 || !isfinite(level)) walk->why = "a marginal is no number";
    if (!walk->why) model_marginals_restore(walk->marginals, key, level);
    return !walk->why;
}

static bool newest_take(void *context, uint64_t key, struct str value)
{
    int64_t *newest_ms = context, row_ms = row_newest_ms(value);
    (void)key;
    if (row_ms > *newest_ms) *newest_ms = row_ms;
    return true;
}

/* Levels are in moments of the half-life that they were added with. The counts as of the newest event stay what they are, as those of a
 * row do when it is read (relations_bytes.c); that event's time is in the rows, which are read for it this once. */
static bool half_life_change(struct relations *relations, int32_t partition, int kind, double from,
                             struct err *err)
{
    struct relations_part *part = &relations->parts[partition];
    double to = relations->half_life_ms[kind];
    int64_t newest_ms = INT64_MIN;
    if (!(fabs(to - from) > 0)) return true;
    if (!state_related_each(relations->env.state, partition, (uint8_t)(RELATED_ROWS + kind),
                            newest_take, &newest_ms, err))
        return false;
    if (newest_ms == INT64_MIN) return true;
    model_marginals_shift(part->marginals[kind],
                          model_moment(newest_ms, to) - model_moment(newest_ms, from));
    part->is_changed = true;
    return true;
}

static bool marginals_read(struct relations *relations, int32_t partition, struct err *err)
{
    struct relations_part *part = &relations->parts[partition];
    for (int kind = 0; kind < RELATED_KIND_COUNT; kind++) {
        uint8_t table = (uint8_t)(RELATED_MARGINALS + kind);
        struct marginals_walk walk = {.marginals = part->marginals[kind]};
        if (!state_related_each(relations->env.state, partition, table, marginal_take, &walk, err))
            return false;
        if (walk.why)
            return state_related_damaged(relations->env.state, partition, table, 0, walk.why, err);
    }
    return true;
}

static bool part_read(struct relations *relations, int32_t partition, struct err *err)
{
    struct relations_part *part = &relations->parts[partition];
    double half_life_ms[RELATED_KIND_COUNT];
    bool found;
    if (!marginals_read(relations, partition, err)) return false;
    buf_reset(&relations->bytes);
    if (!state_related_get(relations->env.state, partition, RELATED_HEAD, 0, &relations->bytes,
                           &found, err))
        return false;
    if (!found) return true;
    struct str value = {(const char *)relations->bytes.data, relations->bytes.len};
    const char *why = head_decode(relations, value, part, half_life_ms);
    if (why)
        return state_related_damaged(relations->env.state, partition, RELATED_HEAD, 0, why, err);
    for (int kind = 0; kind < RELATED_KIND_COUNT; kind++)
        if (!half_life_change(relations, partition, kind, half_life_ms[kind], err)) return false;
    return true;
}

bool relations_open(struct relations *relations, int32_t partition,
                    const struct relations_standing *standing, struct err *err)
{
    struct relations_part *part = &relations->parts[partition];
    if (part->is_open) return true;
    part->is_open = true;
    /* With transactions nothing goes out that the group's offsets do not know of. */
    bool is_exact = relations->env.settings->transactional_id != NULL;
    part->settling = is_exact ? 0 : 2 * relations->env.settings->epochs_max;
    part->offset = -1;
    part->standing = *standing;
    part->last = mem_alloc(sources(relations) * sizeof *part->last);
    for (size_t i = 0; i < sources(relations); i++)
        part->last[i] = -1;
    size_t max =
        relations_marginals_max(&relations->env.settings->related, relations->env.n_partitions);
    for (int kind = 0; kind < RELATED_KIND_COUNT; kind++)
        part->marginals[kind] = model_marginals_new(max);
    if (part_read(relations, partition, err)) return true;
    relations_close(relations, partition);
    return false;
}

void relations_close(struct relations *relations, int32_t partition)
{
    struct relations_part *part = &relations->parts[partition];
    if (!part->is_open) return;
    rows_drop(relations->rows, partition);
    for (int kind = 0; kind < RELATED_KIND_COUNT; kind++)
        model_marginals_free(part->marginals[kind]);
    mem_free(part->last);
    *part = (struct relations_part){0};
}

/* ---- pairs ---- */

/* The record at hand was applied before, by whoever had the partition. */
static bool is_in_tail(const struct relations_part *part)
{
    return part->offset < part->standing.tail;
}

/* Before the row is changed. What was published of it when the record was told stands, whatever it was. */
static void row_told_note(struct row *row, bool is_told)
{
    row->is_told = is_told && (row->is_told || !row->is_dirty);
    if (is_told) row->list = (struct row_list){.time_ms = ROW_LIST_UNKNOWN};
}

static bool row_count(struct relations *relations, int32_t partition, uint8_t kind,
                      const struct pair_group *group, const uint64_t *keys,
                      const struct model_pair *pair, struct err *err)
{
    struct row *row;
    double weight = pair->is_back ? -(double)pair->weight : (double)pair->weight;
    if (!rows_get(relations->rows, partition, kind, keys[pair->subject], group->tenant,
                  group->items[pair->subject], &row, err))
        return false;
    row_told_note(row, is_in_tail(&relations->parts[partition]));
    rows_add(relations->rows, row, keys[pair->other], group->items[pair->other], weight,
             pair->time_ms);
    return true;
}

/* A group that comes again: another process may have published its rows. */
static bool group_doubt(struct relations *relations, int32_t partition,
                        const struct pair_group *group, struct err *err)
{
    struct row *row;
    for (int i = 0; i < group->n_pairs; i++) {
        const struct model_pair *pair = &group->pairs[i];
        uint8_t kind = pair->kind == PAIRS_COUNTED ? (uint8_t)ROW_NOW : pair->kind;
        struct str id = group->items[pair->subject];
        if (!rows_get(relations->rows, partition, kind, schemas_item_key(group->tenant, id),
                      group->tenant, id, &row, err))
            return false;
        row_told_note(row, true);
        rows_touch(relations->rows, row);
    }
    return true;
}

static bool pair_apply(struct relations *relations, int32_t partition,
                       const struct pair_group *group, const uint64_t *keys,
                       const struct model_pair *pair, struct err *err)
{
    if (pair->kind == PAIRS_COUNTED)
        return row_count(relations, partition, ROW_NOW, group, keys, pair, err) &&
               row_count(relations, partition, ROW_USUAL, group, keys, pair, err);
    double weight = pair->is_back ? -(double)pair->weight : (double)pair->weight;
    model_marginals_add(relations->parts[partition].marginals[pair->kind], keys[pair->other],
                        weight, model_moment(pair->time_ms, relations->half_life_ms[pair->kind]));
    return row_count(relations, partition, pair->kind, group, keys, pair, err);
}

/* Applies what was not applied before. */
static bool group_apply(struct relations *relations, int32_t partition,
                        const struct pair_group *group, struct err *err)
{
    struct relations_part *part = &relations->parts[partition];
    uint64_t keys[PAIRS_TABLE_MAX];
    size_t source =
        (size_t)group->topic * (size_t)relations->env.n_partitions + (size_t)group->partition;
    bool is_new = group->offset > part->last[source] || fault_mutant("no_dedupe_of_pairs");
    counters_add(relations->env.counters, METRIC_PAIR_GROUPS, is_new ? 0 : 1, 1);
    if (!is_new && part->offset < part->standing.applied)
        return group_doubt(relations, partition, group, err);
    if (!is_new) return true;
    part->last[source] = group->offset;
    for (int i = 0; i < group->n_items; i++)
        keys[i] = schemas_item_key(group->tenant, group->items[i]);
    for (int i = 0; i < group->n_pairs; i++)
        if (!pair_apply(relations, partition, group, keys, &group->pairs[i], err)) return false;
    return true;
}

static const char *group_check(const struct relations *relations, int32_t partition,
                               const struct pair_group *group)
{
    if (group->topic >= relations->env.settings->n_topics ||
        group->partition >= relations->env.n_partitions)
        return "a source that is none of ours";
    for (int i = 0; i < group->n_pairs; i++) {
        struct str id = group->items[group->pairs[i].subject];
        uint64_t key = schemas_item_key(group->tenant, id);
        if (pairs_partition_of(key, relations->env.n_partitions) != partition)
            return "a subject of another partition";
    }
    return NULL;
}

/* Reads the whole record before anything of it is applied. */
static const char *groups_read(struct relations *relations, const struct ingest_record *record,
                               struct pair_group **groups, int *n)
{
    struct cursor c = {.ptr = (const uint8_t *)record->value.ptr, .left = record->value.len};
    struct str left = record->value;
    const char *why = left.len == 0           ? "the value is empty"
                      : left.len > RECORD_MAX ? "the value is too long"
                                              : NULL;
    *n = 0;
    if (why) return why;
    for (size_t size; left.len > 0 && (size = pair_group_size(left)) > 0;
         left = (struct str){left.ptr + size, left.len - size})
        ++*n;
    *groups = arena_alloc(relations->arena, ((size_t)*n + 1) * sizeof **groups);
    for (int i = 0; i < *n && !why; i++)
        if (pair_group_get(&c, relations->arena, &(*groups)[i], &why))
            why = group_check(relations, record->partition, &(*groups)[i]);
    return why || left.len == 0 ? why : "it ends within a group";
}

bool relations_apply(struct relations *relations, const struct ingest_record *record,
                     struct err *err)
{
    struct relations_part *part = &relations->parts[record->partition];
    struct pair_group *groups;
    int n;
    counters_add(relations->env.counters, METRIC_PAIR_RECORDS, 0, 1);
    arena_reset(relations->arena);
    part->offset = record->offset;
    const char *why = groups_read(relations, record, &groups, &n);
    if (why) return err_set(err, ERR_DATA, "no pairs: %s", why);
    part->is_changed = true;
    for (int i = 0; i < n; i++)
        if (!group_apply(relations, record->partition, &groups[i], err)) return false;
    return true;
}

/* ---- into an epoch ---- */

struct sealing {
    struct relations *relations;
    struct state_epoch *epoch;
    int32_t partition;
    uint8_t table;
};

static void marginal_put(void *context, uint64_t key, double level)
{
    const struct sealing *sealing = context;
    char bytes[MARGINAL_BYTES];
    uint64_t bits;
    memcpy(&bits, &level, sizeof bits);
    for (int i = 0; i < MARGINAL_BYTES; i++)
        bytes[i] = (char)(bits >> 8 * i);
    struct str value = {isfinite(level) ? bytes : NULL, isfinite(level) ? MARGINAL_BYTES : 0};
    state_related_put(sealing->relations->env.shard, sealing->epoch, sealing->partition,
                      sealing->table, key, value);
}

static void bytes_count(const struct relations *relations)
{
    struct relations_counts counts = relations_counts(relations);
    counters_set(relations->env.counters, METRIC_RELATED_BYTES, 0, (int64_t)counts.row_bytes);
    counters_set(relations->env.counters, METRIC_RELATED_BYTES, 1, (int64_t)counts.marginal_bytes);
    counters_set(relations->env.counters, METRIC_RELATED_ROWS, 0, (int64_t)counts.rows);
}

void relations_seal(struct relations *relations, struct state_epoch *epoch)
{
    bytes_count(relations);
    rows_seal(relations->rows, relations->env.shard, epoch);
    for (int32_t p = 0; p < relations->env.n_partitions; p++) {
        struct relations_part *part = &relations->parts[p];
        if (!part->is_open || !part->is_changed) continue;
        for (int kind = 0; kind < RELATED_KIND_COUNT; kind++) {
            struct sealing sealing = {relations, epoch, p, (uint8_t)(RELATED_MARGINALS + kind)};
            model_marginals_changes(part->marginals[kind], marginal_put, &sealing);
        }
        buf_reset(&relations->bytes);
        head_encode(relations, part, &relations->bytes);
        state_related_put(relations->env.shard, epoch, p, RELATED_HEAD, 0,
                          (struct str){(const char *)relations->bytes.data, relations->bytes.len});
        part->is_changed = false;
    }
}

void relations_written(struct relations *relations)
{
    rows_written(relations->rows);
}

size_t relations_pending_bytes(const struct relations *relations)
{
    return rows_pending_bytes(relations->rows);
}

struct relations_counts relations_counts(const struct relations *relations)
{
    struct rows_counts rows = rows_counts(relations->rows);
    struct relations_counts counts = {
        .rows = rows.rows, .row_bytes = rows.bytes, .evicted = rows.evicted};
    for (int32_t p = 0; p < relations->env.n_partitions; p++)
        for (int kind = 0; kind < RELATED_KIND_COUNT && relations->parts[p].is_open; kind++) {
            const struct model_marginals *marginals = relations->parts[p].marginals[kind];
            counts.marginals += model_marginals_count(marginals);
            counts.marginal_bytes += model_marginals_bytes(marginals);
        }
    return counts;
}
