/* See pairs_check.h. */
#include "tests/oracle/pairs_check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/pair_bytes.h"
#include "app/pairs.h"
#include "app/relations.h"
#include "app/relations_rows.h"
#include "base/map.h"
#include "base/mem.h"

enum { SHOWN_MAX = 20, ROWS_MAX = 1 << 20, ARENA_MAX = 1 << 30 };

/* A row of the fold. */
struct twin {
    uint64_t key;
    int32_t partition;
    int kind;
    struct str tenant, id;
    struct model_partners partners;
    int64_t newest_ms;
    double sum;      /* of weights, as of base_ms */
    int64_t base_ms; /* of the first pair */
    bool was_refunded;
};

struct check {
    const struct pairs_input *input;
    struct pairs_result *result;
    struct topic pairs, lists, trending;
    struct arena *arena;
    int n_partitions;
    double half_life_ms[ROW_KINDS];
    bool *seen;         /* (events, partitions) the event's group is there */
    struct twin *twins; /* (n_twins) */
    int n_twins, cap_twins;
    struct map_u64 *places[ROW_KINDS];  /* item key -> twin + 1 */
    struct model_marginals **marginals; /* (partitions, RELATED_KIND_COUNT) */
};

#define WRONG(check, ...)                                                                          \
    do {                                                                                           \
        if ((check)->result->wrong++ < SHOWN_MAX) {                                                \
            (void)fprintf(stderr, "oracle: " __VA_ARGS__);                                         \
            (void)fputc('\n', stderr);                                                             \
        }                                                                                          \
    } while (0)

/* ---- the fold ---- */

static struct twin *twin_of(struct check *c, int32_t partition, int kind, uint64_t key,
                            struct str tenant, struct str id)
{
    uint64_t *place = map_u64_put(c->places[kind], key, NULL);
    int max = c->input->settings->related.rules.partners_max;
    if (*place) return &c->twins[*place - 1];
    if (c->n_twins == c->cap_twins) {
        c->cap_twins = c->cap_twins ? 2 * c->cap_twins : 1024;
        c->twins = mem_realloc(c->twins, (size_t)c->cap_twins * sizeof *c->twins);
    }
    struct twin *twin = &c->twins[c->n_twins++];
    *place = (uint64_t)c->n_twins;
    *twin = (struct twin){.key = key,
                          .partition = partition,
                          .kind = kind,
                          .tenant = tenant,
                          .id = id,
                          .newest_ms = INT64_MIN};
    model_partners_init(&twin->partners, mem_alloc((size_t)max * sizeof(struct model_partner)),
                        max);
    return twin;
}

static void row_fold(struct check *c, int32_t partition, int kind, const struct pair_group *group,
                     const struct model_pair *pair)
{
    struct str id = group->items[pair->subject];
    uint64_t subject = schemas_item_key(group->tenant, id);
    uint64_t other = schemas_item_key(group->tenant, group->items[pair->other]);
    struct twin *twin = twin_of(c, partition, kind, subject, group->tenant, id);
    double moment = model_moment(pair->time_ms, c->half_life_ms[kind]);
    double weight = pair->is_back ? -(double)pair->weight : (double)pair->weight;
    model_partners_add(&twin->partners, other, weight, moment);
    twin->was_refunded = twin->was_refunded || pair->is_back;
    if (!(fabs(twin->sum) > 0)) twin->base_ms = pair->time_ms;
    twin->sum += weight * exp2(moment - model_moment(twin->base_ms, c->half_life_ms[kind]));
    if (!pair->is_back && pair->time_ms > twin->newest_ms) twin->newest_ms = pair->time_ms;
    if (kind < RELATED_KIND_COUNT)
        model_marginals_add(c->marginals[partition * RELATED_KIND_COUNT + kind], other, weight,
                            moment);
    if (twin->partners.n > 0 || isfinite(twin->partners.total)) return;
    twin->partners.newest = -(double)INFINITY; /* all was taken back: as if new */
    twin->newest_ms = INT64_MIN;
}

static void pair_fold(struct check *c, int32_t partition, const struct pair_group *group,
                      const struct model_pair *pair)
{
    bool is_counted = pair->kind == PAIRS_COUNTED;
    row_fold(c, partition, is_counted ? ROW_NOW : pair->kind, group, pair);
    if (is_counted) row_fold(c, partition, ROW_USUAL, group, pair);
}

/* ---- the pairs topic ---- */

static int event_of(const struct check *c, int32_t partition, int64_t offset)
{
    int low = 0, high = c->input->events->n - 1;
    while (low <= high) {
        int middle = (low + high) / 2;
        const struct topic_record *at = &c->input->events->records[middle];
        if (at->partition == partition && at->offset == offset) return middle;
        bool before =
            at->partition < partition || (at->partition == partition && at->offset < offset);
        if (before)
            low = middle + 1;
        else
            high = middle - 1;
    }
    return -1;
}

/* Those of the expected pairs whose subject belongs to the partition. */
static struct reference_pairs part_of(const struct check *c, int event, int32_t partition)
{
    const struct reference_pairs *all = &c->input->expected[event].pairs;
    struct reference_pairs part = {0};
    part.pairs = arena_alloc(c->arena, (size_t)all->n * sizeof *part.pairs + 1);
    for (int i = 0; i < all->n; i++)
        if (pairs_partition_of(all->pairs[i].subject, c->n_partitions) == partition)
            part.pairs[part.n++] = all->pairs[i];
    return part;
}

static struct reference_pairs pairs_of(const struct check *c, const struct pair_group *group)
{
    struct reference_pairs found = {0};
    found.pairs = arena_alloc(c->arena, (size_t)group->n_pairs * sizeof *found.pairs + 1);
    for (int i = 0; i < group->n_pairs; i++) {
        const struct model_pair *pair = &group->pairs[i];
        found.pairs[found.n++] = (struct reference_pair){
            .subject = schemas_item_key(group->tenant, group->items[pair->subject]),
            .other = schemas_item_key(group->tenant, group->items[pair->other]),
            .kind = pair->kind,
            .is_back = pair->is_back,
            .weight = pair->weight,
            .time_ms = pair->time_ms};
    }
    reference_pairs_sort(&found);
    return found;
}

static void group_check(struct check *c, int32_t partition, const struct pair_group *group,
                        int64_t *newest)
{
    int event = group->topic == 0 ? event_of(c, group->partition, group->offset) : -1;
    c->result->groups++;
    if (event < 0) {
        WRONG(c, "pairs %d: a group from %d/%lld, which is no event", (int)partition,
              (int)group->partition, (long long)group->offset);
        return;
    }
    struct reference_pairs expected = part_of(c, event, partition), found = pairs_of(c, group);
    if (!reference_pairs_equal(&expected, &found))
        WRONG(c, "pairs %d from %d/%lld: %d pairs, not the %d expected", (int)partition,
              (int)group->partition, (long long)group->offset, found.n, expected.n);
    bool *seen = &c->seen[(size_t)event * (size_t)c->n_partitions + (size_t)partition];
    if (*seen) {
        c->result->repeats++;
        return;
    }
    *seen = true;
    int64_t *last = &newest[group->partition];
    if (group->offset < *last)
        WRONG(c, "pairs %d from %d/%lld appear first after those of %lld", (int)partition,
              (int)group->partition, (long long)group->offset, (long long)*last);
    *last = group->offset;
    for (int i = 0; i < group->n_pairs; i++)
        pair_fold(c, partition, group, &group->pairs[i]);
}

static void topic_check(struct check *c)
{
    int64_t *newest = mem_zalloc((size_t)c->n_partitions * sizeof *newest);
    int32_t partition = -1;
    for (int i = 0; i < c->pairs.n; i++) {
        const struct topic_record *record = &c->pairs.records[i];
        struct cursor cursor = {.ptr = (const uint8_t *)record->value.ptr,
                                .left = record->value.len};
        struct pair_group group;
        const char *why = NULL;
        c->result->end[record->partition] = record->offset + 1;
        if (record->partition != partition)
            for (int p = 0; p < c->n_partitions; p++)
                newest[p] = -1;
        partition = record->partition;
        while (cursor.left > 0 && pair_group_get(&cursor, c->arena, &group, &why))
            group_check(c, partition, &group, newest);
        if (why) WRONG(c, "pairs %d/%lld: %s", (int)partition, (long long)record->offset, why);
    }
    mem_free(newest);
}

static void losses_check(struct check *c)
{
    for (int i = 0; i < c->input->events->n; i++)
        for (int32_t p = 0; p < c->n_partitions; p++) {
            if (c->seen[(size_t)i * (size_t)c->n_partitions + (size_t)p]) continue;
            int n = part_of(c, i, p).n;
            if (n > 0)
                WRONG(c, "lost: %d pairs from %d/%lld for partition %d", n,
                      (int)c->input->events->records[i].partition,
                      (long long)c->input->events->records[i].offset, (int)p);
        }
}

/* ---- the store ---- */

static bool is_same_double(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static const char *row_differs(const struct check *c, const struct row *row,
                               const struct twin *twin)
{
    const struct model_partners *a = &row->partners, *b = &twin->partners;
    if (!is_same_double(a->total, b->total)) return "total";
    if (!is_same_double(a->newest, b->newest) || row->newest_ms != twin->newest_ms)
        return "newest time";
    if (a->n != b->n) return "number of partners";
    for (int i = 0; i < a->n; i++) {
        if (a->entries[i].key != b->entries[i].key ||
            !is_same_double(a->entries[i].level, b->entries[i].level))
            return "partners";
        if (schemas_item_key(twin->tenant, row_id_of(row, a->entries[i].key)) != a->entries[i].key)
            return "id of a partner";
    }
    if (a->n > 0 && !str_equal(row_subject(row), twin->id)) return "id";
    /* Each add rounds at the level's size, which is half a million at a half-life of an hour. */
    double near = twin->kind < RELATED_KIND_COUNT ? 1e-9 : 1e-6;
    double sum = log2(twin->sum) + model_moment(twin->base_ms, c->half_life_ms[twin->kind]);
    if (!twin->was_refunded && fabs(sum - b->total) > near) return "count against the plain sum";
    return NULL;
}

/* "tenant:item:kind" */
static struct str list_key(const struct check *c, const struct twin *twin)
{
    size_t max = twin->tenant.len + twin->id.len + 40;
    char *text = arena_alloc(c->arena, max);
    int n = snprintf(text, max, "%.*s%s%.*s:%s", STR_ARG(twin->tenant), twin->tenant.len ? ":" : "",
                     STR_ARG(twin->id),
                     twin->kind < RELATED_KIND_COUNT
                         ? schemas_related_name((enum related_kind)twin->kind)
                         : "trending");
    return (struct str){text, (size_t)n};
}

static const char *items_differ(const struct row *row, struct str tenant,
                                const struct counted_item *items, size_t n)
{
    if ((int)n != row->list.n) return "its length";
    for (int i = 0; i < row->list.n; i++)
        if (schemas_item_key(tenant, items[i].item_id) != row->list.keys[i] ||
            memcmp(&items[i].score, &row->list.scores[i], sizeof(float)) != 0)
            return "its items";
    return NULL;
}

/* The record that stands under the row's key is what the row says was published last, if it says so: behind a tail it does not know. */
static const char *list_differs(struct check *c, const struct row *row, const struct twin *twin,
                                const struct topic_record *record)
{
    struct related list = {0};
    struct err err = ERR_INIT;
    bool stands = record && record->value.ptr;
    bool is_unknown = row->list.time_ms == ROW_LIST_UNKNOWN;
    c->result->unknown += is_unknown;
    if (is_unknown && !stands) return NULL;
    if (row->list.n == 0 && !is_unknown)
        return stands ? "a list stands that the store knows nothing of" : NULL;
    if (!stands) return "no list stands";
    if (!schemas_related_decode(c->input->schemas, record->value, c->arena, &list, &err))
        return "it does not decode";
    c->result->lists++;
    if (!str_equal(list.item_id, twin->id) || !str_equal(list.tenant, twin->tenant) ||
        (int)list.kind != twin->kind)
        return "its item or kind";
    if (is_unknown) return NULL;
    if (list.event_time_ms != row->list.time_ms) return "its time";
    return items_differ(row, list.tenant, list.items, list.n_items);
}

/* ---- trending ---- */

/* "tenant:category" */
static struct str trending_key(const struct check *c, const struct twin *twin)
{
    size_t max = twin->tenant.len + twin->id.len + 2;
    char *text = arena_alloc(c->arena, max);
    int n = snprintf(text, max, "%.*s%s%.*s", STR_ARG(twin->tenant), twin->tenant.len ? ":" : "",
                     STR_ARG(twin->id));
    return (struct str){text, (size_t)n};
}

static const struct twin *twin_find(const struct check *c, int kind, uint64_t key)
{
    const uint64_t *place = map_u64_get(c->places[kind], key);
    return place ? &c->twins[*place - 1] : NULL;
}

/* Deviations of a Poisson count, from the definition (model/partners.h). */
static double rising(const struct check *c, const struct twin *now, const struct twin *usual,
                     uint64_t key)
{
    double fast = c->half_life_ms[ROW_NOW], slow = c->half_life_ms[ROW_USUAL];
    const struct model_partner *s = model_partners_find(&now->partners, key);
    const struct model_partner *old = model_partners_find(&usual->partners, key);
    double seen = exp2(s->level - model_moment(now->newest_ms, fast));
    double expected = old ? exp2(old->level - model_moment(now->newest_ms, slow)) * fast / slow : 0;
    return (seen - expected) / sqrt(expected + 3);
}

/* What stands is what the rows say, within related.change; or the newest event is less than a second younger than it. */
static const char *rising_differs(const struct check *c, const struct row *row,
                                  const struct twin *now)
{
    const struct related_settings *settings = &c->input->settings->related;
    const struct twin *usual = twin_find(c, ROW_USUAL, now->key);
    double last = (double)INFINITY;
    int n = 0;
    if (row->list.n > 0 && now->newest_ms - row->list.time_ms < 1000) return NULL;
    if (!usual) return "no usual counts";
    for (int i = 0; i < now->partners.n; i++)
        n += rising(c, now, usual, now->partners.entries[i].key) > 0;
    if (row->list.n != (n < settings->list_size ? n : settings->list_size)) return "its length";
    for (int i = 0; i < row->list.n; i++) {
        if (!model_partners_find(&now->partners, row->list.keys[i]))
            return "an item is not counted";
        double score = rising(c, now, usual, row->list.keys[i]),
               stands = (double)row->list.scores[i];
        if (score > last + 1e-9 || fabs(score - stands) > settings->change * stands + 1e-6)
            return "its scores";
        last = score;
    }
    return NULL;
}

static const char *trending_differs(struct check *c, const struct row *row, const struct twin *twin,
                                    const struct topic_record *record)
{
    struct trending list = {0};
    struct err err = ERR_INIT;
    bool stands = record && record->value.ptr;
    bool is_unknown = row->list.time_ms == ROW_LIST_UNKNOWN;
    const char *what = is_unknown ? NULL : rising_differs(c, row, twin);
    c->result->unknown += is_unknown;
    if (what || is_unknown) return what;
    if (row->list.n == 0) return stands ? "a list stands that the store knows nothing of" : NULL;
    if (!stands) return "no list stands";
    if (!schemas_trending_decode(c->input->schemas, record->value, c->arena, &list, &err))
        return "it does not decode";
    c->result->trending++;
    if (!str_equal(list.category, twin->id) || !str_equal(list.tenant, twin->tenant) ||
        list.event_time_ms != row->list.time_ms)
        return "its category or time";
    return items_differ(row, list.tenant, list.items, list.n_items);
}

/* ---- all rows ---- */

static struct map_str *newest_of(const struct topic *topic)
{
    struct map_str *newest = map_str_new(ROWS_MAX, MAP_KEYS_BORROWED);
    for (int i = 0; i < topic->n; i++)
        (void)map_str_set(newest, topic->records[i].key, &topic->records[i]);
    return newest;
}

static const char *record_differs(struct check *c, const struct row *row, const struct twin *twin,
                                  const struct topic_record *record)
{
    return twin->kind == ROW_NOW ? trending_differs(c, row, twin, record)
                                 : list_differs(c, row, twin, record);
}

/* Whether any record of the key is what the row says. */
static bool is_stale(struct check *c, const struct row *row, const struct twin *twin,
                     struct str key)
{
    const struct topic *topic = twin->kind == ROW_NOW ? &c->trending : &c->lists;
    for (int i = 0; i < topic->n; i++)
        if (str_equal(topic->records[i].key, key) &&
            !record_differs(c, row, twin, &topic->records[i]))
            return true;
    return false;
}

static const char *published_differs(struct check *c, const struct row *row,
                                     const struct twin *twin, const struct map_str *lists,
                                     const struct map_str *trending)
{
    bool is_trending = twin->kind == ROW_NOW;
    if (twin->kind == ROW_USUAL) return NULL;
    struct str key = is_trending ? trending_key(c, twin) : list_key(c, twin);
    const char *what =
        record_differs(c, row, twin, map_str_get(is_trending ? trending : lists, key));
    if (!what || !c->input->counts_stale || !is_stale(c, row, twin, key)) return what;
    c->result->stale++;
    return NULL;
}

static bool twins_check(struct check *c, struct err *err)
{
    const struct related_settings *settings = &c->input->settings->related;
    struct map_str *lists = newest_of(&c->lists), *trending = newest_of(&c->trending);
    struct rows **rows = mem_zalloc((size_t)c->n_partitions * sizeof *rows);
    bool ok = true;
    for (int32_t p = 0; p < c->n_partitions; p++)
        rows[p] = rows_new(c->input->states[p], settings->memory_bytes,
                           settings->rules.partners_max, c->half_life_ms);
    for (int i = 0; i < c->n_twins && ok; i++) {
        const struct twin *twin = &c->twins[i];
        struct row *row;
        ok = rows_get(rows[twin->partition], twin->partition, (uint8_t)twin->kind, twin->key,
                      twin->tenant, twin->id, &row, err);
        if (!ok) break;
        const char *what = row_differs(c, row, twin);
        struct str key = list_key(c, twin);
        if (what)
            WRONG(c, "store: related row %.*s of %d: %s differs", STR_ARG(key),
                  (int)twin->partition, what);
        what = published_differs(c, row, twin, lists, trending);
        if (what) WRONG(c, "related list %.*s: %s", STR_ARG(key), what);
    }
    for (int32_t p = 0; p < c->n_partitions; p++)
        rows_free(rows[p]);
    mem_free(rows);
    map_str_free(lists);
    map_str_free(trending);
    return ok;
}

/* ---- what should not be there ---- */

struct walk {
    struct check *check;
    int kind;
    const struct model_marginals *marginals;
    int64_t n, wrong;
};

static bool row_visit(void *context, uint64_t key, struct str value)
{
    struct walk *walk = context;
    (void)value;
    walk->n++;
    walk->wrong += !map_u64_get(walk->check->places[walk->kind], key);
    return true;
}

static bool marginal_visit(void *context, uint64_t key, struct str value)
{
    struct walk *walk = context;
    struct cursor cursor = {.ptr = (const uint8_t *)value.ptr, .left = value.len};
    uint64_t bits = cursor_u64(&cursor);
    double level;
    memcpy(&level, &bits, sizeof level);
    walk->n++;
    walk->wrong += !is_same_double(level, model_marginals_level(walk->marginals, key));
    return true;
}

static bool tables_check(struct check *c, struct err *err)
{
    for (int32_t p = 0; p < c->n_partitions; p++)
        for (int kind = 0; kind < RELATED_KIND_COUNT; kind++) {
            const struct model_marginals *marginals = c->marginals[p * RELATED_KIND_COUNT + kind];
            struct walk rows = {c, kind, NULL, 0, 0}, partners = {c, kind, marginals, 0, 0};
            if (!state_related_each(c->input->states[p], p, (uint8_t)(RELATED_ROWS + kind),
                                    row_visit, &rows, err) ||
                !state_related_each(c->input->states[p], p, (uint8_t)(RELATED_MARGINALS + kind),
                                    marginal_visit, &partners, err))
                return false;
            c->result->rows += rows.n;
            if (rows.wrong)
                WRONG(c, "store: %lld rows of %s in partition %d are of no pair",
                      (long long)rows.wrong, schemas_related_name((enum related_kind)kind), (int)p);
            if (partners.wrong || partners.n != (int64_t)model_marginals_count(marginals))
                WRONG(c, "store: %lld marginals of kind %d in partition %d, %lld wrong, %zu wanted",
                      (long long)partners.n, kind, (int)p, (long long)partners.wrong,
                      model_marginals_count(marginals));
        }
    return true;
}

/* ---- the whole ---- */

static void check_start(struct check *c)
{
    size_t n = (size_t)c->n_partitions * RELATED_KIND_COUNT;
    c->arena = arena_new(1 << 20, ARENA_MAX);
    c->seen = mem_zalloc((size_t)c->input->events->n * (size_t)c->n_partitions + 1);
    c->result->end = mem_zalloc((size_t)c->n_partitions * sizeof *c->result->end);
    c->marginals = mem_zalloc(n * sizeof(struct model_marginals *));
    for (size_t i = 0; i < n; i++)
        c->marginals[i] = model_marginals_new(
            relations_marginals_max(&c->input->settings->related, c->n_partitions));
    for (int kind = 0; kind < ROW_KINDS; kind++)
        c->places[kind] = map_u64_new(ROWS_MAX);
}

bool pairs_check(const struct pairs_input *input, struct pairs_result *result, struct err *err)
{
    static struct check check;
    const struct related_settings *related = &input->settings->related;
    const char *bootstrap = input->settings->kafka.bootstrap_servers;
    check = (struct check){
        .input = input,
        .result = result,
        .n_partitions = input->events->partitions,
    };
    relations_half_lives(related, check.half_life_ms);
    *result = (struct pairs_result){0};
    check_start(&check);
    if (!topic_read(&check.pairs, bootstrap, related->pairs_topic, err)) return false;
    if (!topic_read(&check.lists, bootstrap, related->topic, err)) return false;
    if (related->trending_topic[0] &&
        !topic_read(&check.trending, bootstrap, related->trending_topic, err))
        return false;
    topic_check(&check);
    losses_check(&check);
    return twins_check(&check, err) && tables_check(&check, err);
}
