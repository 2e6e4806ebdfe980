/* Pairs of a shard on their way into the pairs topic: one buffer for each of its partitions, sent at the end of a slice. */
#include "app/pairs.h"

#include <string.h>

#include "app/pair_bytes.h"
#include "base/fault.h"
#include "base/mem.h"

/* A record takes groups until it has RECORD_BYTES; one event's group has at most MODEL_PAIRS_ITEMS_MAX ids and MODEL_PAIRS_MAX pairs, 700 KB. */
enum { RECORD_BYTES = 128 * 1024, OUT_BYTES_MAX = 1 << 28 };

struct out {
    struct buf groups;
    struct emit_source source; /* of the newest group */
};

struct pairs {
    const struct settings *settings;
    struct emit *emit;
    struct counters_slot *counters;
    int n_partitions;
    enum model_pairs_outcome outcome; /* of the event noted last */
    struct model_pairs_found found;   /* likewise */
    struct model_pair *part;          /* (MODEL_PAIRS_MAX) of found's, those of one partition */
    struct out *outs;                 /* (n_partitions) */
    int32_t *touched;                 /* (n_touched) partitions that the event has pairs for */
    int n_touched;
    double weights[EVENT_TYPE_COUNT]; /* what an event counts in its categories */
};

struct pairs *pairs_new(const struct settings *settings, int n_partitions, struct emit *emit,
                        struct counters_slot *counters)
{
    struct pairs *pairs = mem_zalloc(sizeof *pairs);
    pairs->settings = settings;
    pairs->emit = emit;
    pairs->counters = counters;
    pairs->n_partitions = n_partitions;
    struct state_options options = settings_state(settings, 0);
    memcpy(pairs->weights, options.popularity_weight, sizeof pairs->weights);
    pairs->found.pairs = mem_alloc(MODEL_PAIRS_MAX * sizeof *pairs->found.pairs);
    pairs->part = mem_alloc(MODEL_PAIRS_MAX * sizeof *pairs->part);
    pairs->outs = mem_zalloc((size_t)n_partitions * sizeof *pairs->outs);
    pairs->touched = mem_alloc((size_t)n_partitions * sizeof *pairs->touched);
    for (int i = 0; i < n_partitions; i++) {
        buf_init(&pairs->outs[i].groups, OUT_BYTES_MAX);
        (void)buf_reserve(&pairs->outs[i].groups, RECORD_BYTES);
    }
    return pairs;
}

void pairs_free(struct pairs *pairs)
{
    if (!pairs) return;
    for (int i = 0; i < pairs->n_partitions; i++)
        buf_fini(&pairs->outs[i].groups);
    mem_free(pairs->outs);
    mem_free(pairs->touched);
    mem_free(pairs->found.pairs);
    mem_free(pairs->part);
    mem_free(pairs);
}

/* ---- events ---- */

void pairs_note(struct pairs *pairs, const struct user *user, const struct event *event,
                const uint64_t *keys, int n)
{
    pairs->outcome = MODEL_PAIRS_TAKEN;
    pairs->found.n_items = pairs->found.n_pairs = 0;
    if (!pairs->settings->related.topic[0]) return;
    struct model_pairs_user known = {.window = user->window,
                                     .n_window = user->n_window,
                                     .bought = user->bought,
                                     .n_bought = user->n_bought};
    pairs->outcome = model_pairs_find(&pairs->settings->related.rules.pairs, &known, event->type,
                                      event->time_ms, keys, n, &pairs->found);
    if (pairs->outcome != MODEL_PAIRS_TAKEN) pairs->found.n_items = pairs->found.n_pairs = 0;
}

/* Items, then categories, by their places in the pairs. */
struct named {
    uint64_t keys[PAIRS_TABLE_MAX]; /* (n) */
    struct str ids[PAIRS_TABLE_MAX];
    int n, n_items;
};

static bool is_known(const struct named *named, int place)
{
    return place >= named->n_items || named->ids[place].len > 0;
}

/* The partitions of the event's subjects, each once. */
static void partitions_find(struct pairs *pairs, const struct named *named)
{
    const struct model_pairs_found *found = &pairs->found;
    pairs->n_touched = 0;
    for (int i = 0; i < found->n_pairs; i++) {
        int32_t p = pairs_partition_of(named->keys[found->pairs[i].subject], pairs->n_partitions);
        int k = 0;
        while (k < pairs->n_touched && pairs->touched[k] != p)
            k++;
        if (k == pairs->n_touched) pairs->touched[pairs->n_touched++] = p;
    }
}

/* The item's place in the group; UINT16_MAX in `place` marks one that has none yet. */
static uint16_t place_in(struct pair_group *group, uint16_t *place, const struct str *ids, int item)
{
    if (place[item] == UINT16_MAX) {
        place[item] = (uint16_t)group->n_items;
        group->items[group->n_items++] = ids[item];
    }
    return place[item];
}

/* Fills the group with the pairs of one partition's subjects, renumbered. */
static void group_fill(struct pairs *pairs, int32_t partition, const struct named *named,
                       struct pair_group *group)
{
    const struct model_pairs_found *found = &pairs->found;
    uint16_t place[PAIRS_TABLE_MAX];
    memset(place, 0xff, (size_t)named->n * sizeof *place);
    for (int i = 0; i < found->n_pairs; i++) {
        struct model_pair pair = found->pairs[i];
        uint64_t subject = named->keys[pair.subject];
        if (pairs_partition_of(subject, pairs->n_partitions) != partition) continue;
        if (!is_known(named, pair.subject) || !is_known(named, pair.other)) continue;
        pair.subject = place_in(group, place, named->ids, pair.subject);
        pair.other = place_in(group, place, named->ids, pair.other);
        group->pairs[group->n_pairs++] = pair;
        counters_add(pairs->counters, METRIC_PAIRS, pair.kind, 1);
    }
}

/* The category's place; -1: there are too many. */
static int category_place(struct named *named, struct str tenant, struct str category)
{
    for (int i = named->n_items; i < named->n; i++)
        if (str_equal(named->ids[i], category)) return i;
    if (named->n == named->n_items + PAIRS_CATEGORIES_MAX || category.len > SCHEMAS_ID_MAX)
        return -1;
    named->keys[named->n] = schemas_item_key(tenant, category);
    named->ids[named->n] = category;
    return named->n++;
}

static void count_add(struct pairs *pairs, int category, int item, struct model_pair as)
{
    struct model_pairs_found *found = &pairs->found;
    if (category < 0 || found->n_pairs == MODEL_PAIRS_MAX) return;
    as.subject = (uint16_t)category;
    as.other = (uint16_t)item;
    found->pairs[found->n_pairs++] = as;
}

/* Each item of the event counts in the whole shop, category "", and in its own categories. */
static void counts_find(struct pairs *pairs, const struct event *event,
                        const struct pairs_asks *asks, struct named *named)
{
    struct model_pair as = {.kind = PAIRS_COUNTED,
                            .weight = (float)pairs->weights[event->type],
                            .time_ms = event->time_ms};
    if (!pairs->settings->related.trending_topic[0] || !(as.weight > 0)) return;
    for (int i = 0; i < (int)event->n_items; i++) {
        const struct str *categories;
        int n = asks->categories_of(asks->context, named->keys[i], &categories);
        count_add(pairs, category_place(named, event->tenant, STR("")), i, as);
        for (int k = 0; k < n && !fault_mutant("categories_not_counted"); k++)
            count_add(pairs, category_place(named, event->tenant, categories[k]), i, as);
    }
}

/* Keys and ids of what the pairs are of: the event's own items come first, in its order. An event of too many says nothing. */
static void named_fill(const struct pairs *pairs, const struct event *event,
                       const struct pairs_asks *asks, struct named *named)
{
    const struct model_pairs_found *found = &pairs->found;
    int n_own = event->n_items <= MODEL_PAIRS_BASKET_LIMIT ? (int)event->n_items : 0;
    named->n_items = named->n = found->n_items > n_own ? found->n_items : n_own;
    for (int i = 0; i < named->n_items; i++) {
        named->ids[i] =
            i < n_own ? event->items[i].item_id : asks->id_of(asks->context, found->items[i]);
        named->keys[i] =
            i < found->n_items ? found->items[i] : schemas_item_key(event->tenant, named->ids[i]);
    }
}

void pairs_take(struct pairs *pairs, const struct ingest_record *record,
                const struct pairs_asks *asks)
{
    const struct event *event = &record->event;
    struct named named;
    struct str used[PAIRS_TABLE_MAX];
    if (pairs->outcome != MODEL_PAIRS_TAKEN)
        counters_add(pairs->counters, METRIC_PAIRS_REFUSED,
                     (int)pairs->outcome - MODEL_PAIRS_BASKET, 1);
    named_fill(pairs, event, asks, &named);
    if (event->n_items <= MODEL_PAIRS_BASKET_LIMIT) counts_find(pairs, event, asks, &named);
    partitions_find(pairs, &named);
    for (int k = 0; k < pairs->n_touched; k++) {
        struct out *out = &pairs->outs[pairs->touched[k]];
        struct pair_group group = {.topic = record->topic,
                                   .partition = record->partition,
                                   .offset = record->offset,
                                   .time_ms = event->time_ms,
                                   .tenant = event->tenant,
                                   .items = used,
                                   .pairs = pairs->part};
        group_fill(pairs, pairs->touched[k], &named, &group);
        if (group.n_pairs == 0) continue;
        pair_group_put(&group, &out->groups);
        out->source = (struct emit_source){.topic = pairs->settings->topics[record->topic],
                                           .partition = record->partition,
                                           .offset = record->offset};
    }
}

/* ---- out ---- */

/* Whole groups in records of RECORD_BYTES or so. */
static bool out_send(struct pairs *pairs, int32_t partition, struct emit_epoch *epoch,
                     struct err *err)
{
    struct out *out = &pairs->outs[partition];
    if (out->groups.failed)
        return err_set(err, ERR_FATAL, "the pairs of one batch are over %d bytes", OUT_BYTES_MAX);
    struct str left = {(const char *)out->groups.data, out->groups.len};
    while (left.len > 0) {
        struct str record = {left.ptr, 0};
        while (left.len > 0 && record.len < RECORD_BYTES) {
            size_t size = pair_group_size(left);
            record.len += size;
            left = (struct str){left.ptr + size, left.len - size};
        }
        if (!emit_send_to(pairs->emit, epoch, EMIT_PAIRS, partition, record, out->source, err))
            return false;
    }
    buf_reset(&out->groups);
    return true;
}

bool pairs_send(struct pairs *pairs, struct emit_epoch *epoch, struct err *err)
{
    bool is_half = false;
    for (int32_t p = 0; p < pairs->n_partitions; p++) {
        if (pairs->outs[p].groups.len == 0) continue;
        if (is_half) fault_point("some_pairs");
        is_half = true;
        if (!out_send(pairs, p, epoch, err)) return false;
    }
    return true;
}

void pairs_reset(struct pairs *pairs)
{
    for (int32_t p = 0; p < pairs->n_partitions; p++)
        buf_reset(&pairs->outs[p].groups);
}
