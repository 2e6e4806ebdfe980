/* The end of a micro-batch, in record order: dead letters, live quality, the blend, lists to Kafka. */
#include "app/batch_internal.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "app/waits.h"
#include "base/clock.h"
#include "base/fault.h"

/* Records older than this are a log being read, not a shop being served: their age is no latency. */
enum { LIVE_MS = 600000 };

static struct emit_source source_of(const struct batch *batch, const struct ingest_record *record)
{
    return (struct emit_source){.topic = batch->env.settings->topics[record->topic],
                                .partition = record->partition,
                                .offset = record->offset};
}

/* ---- dead letters ---- */

/* Counts one record. At the end of each window of POISON_WINDOW records: ERR_FATAL exit 9 when more than poison.max.share
 * of them were dead-lettered. The batch is then not sealed, so the store's position stays before the record. */
static bool poison_share_check(struct batch *batch, const struct work *work, struct err *err)
{
    const struct settings *settings = batch->env.settings;
    struct poison_window window = batch->recent;
    window.records++;
    window.poison += work->reason != REASON_NONE;
    batch->recent = window.records < POISON_WINDOW ? window : (struct poison_window){0};
    if (window.records < POISON_WINDOW ||
        window.poison <= settings->poison_max_share * POISON_WINDOW)
        return true;
    return err_fatal(
        err, ERR_EXIT_DATA,
        "%d of the last %d records of topic %s were no events and went to %s, more than "
        "poison.max.share=%g: likely a wrong topic or value.format; read the headers there, then "
        "correct it, or set poison.max.share=1 to go on",
        window.poison, POISON_WINDOW, settings->topics[work->record->topic], settings->dlq_topic,
        settings->poison_max_share);
}

/* Errors: ERR_FATAL exit 9 by poison.policy=stop. */
static bool dead_letter_send(struct batch *batch, struct emit_epoch *epoch, const struct work *work,
                             struct err *err)
{
    const struct ingest_record *record = work->record;
    const struct settings *settings = batch->env.settings;
    const char *text = work->text ? work->text : "";

    counters_add(batch->env.counters, METRIC_DEAD_LETTERS, (int)(work->reason - POISON_DECODE), 1);
    if (settings->poison_stop)
        return err_fatal(
            err, ERR_EXIT_DATA,
            "%s partition %d offset %lld is no event (%s: %s); poison.policy=stop: repair or skip "
            "it, or set poison.policy=dlq",
            settings->topics[record->topic], (int)record->partition, (long long)record->offset,
            ingest_reason_name(work->reason), text);
    if (fault_mutant("skip_on_decode_error")) return true;
    struct emit_dead_letter letter = {
        .source = source_of(batch, record),
        .key = record->key,
        .value = record->value,
        .timestamp_ms = record->timestamp_ms,
        .stage = work->reason == POISON_KEY_COLLISION  ? "state"
                 : work->reason >= POISON_MISSING_USER ? "clean"
                                                       : "decode",
        .reason = ingest_reason_name(work->reason),
        .text = text,
        .message = record->message,
        .is_bare = settings->pseudonyms != NULL,
    };
    return emit_dead_letter(batch->env.emit, epoch, &letter, err);
}

/* ---- live quality ---- */

static void rank_count(struct counters_slot *counters, int label, int rank)
{
    if (rank < 1 || rank > QUALITY_K) return;
    counters_add(counters, METRIC_QUALITY_HITS, label, 1);
    counters_add(counters, METRIC_QUALITY_INVERSE, label, RANK_UNIT / rank);
}

/* Scores the event against the user's list as it stood before (rule 11). A user without a list yet is not counted. */
static void quality_count(struct batch *batch, const struct work *work)
{
    const struct user *user = work->user;
    struct counters_slot *counters = batch->env.counters;
    enum event_type type = work->record->event.type;
    if (user->n_last_list == 0) return;
    for (int i = 0; i < work->n_keys; i++) {
        int place = 0;
        for (int r = 0; r < user->n_last_list && !place; r++)
            if (user->last_list[r] == work->keys[i]) place = r + 1;
        counters_add(counters, METRIC_QUALITY_EVENTS, (int)type, 1);
        rank_count(counters, metrics_quality_label(type, QUALITY_LIST), place);
        rank_count(counters, metrics_quality_label(type, QUALITY_POPULAR), work->popular_rank[i]);
    }
}

/* ---- lists ---- */

/* The encoder arm: the model's items and the new ones, by score. keys, scores (USER_LIST_MAX) written; returns how many. */
static int encoder_arm(const struct batch *batch, const struct work *work, uint64_t *keys,
                       float *scores)
{
    int n = 0, own = 0, new = 0;
    while (n < batch->depth) {
        bool has_own = work->top && own < batch->depth && work->top[own] >= 0;
        bool has_new = new < work->n_content;
        if (!has_own && !has_new) break;
        if (has_new && (!has_own || work->content_score[new] > work->top_score[own])) {
            keys[n] = work->content[new];
            scores[n++] = work->content_score[new ++];
        } else {
            keys[n] = model_item_key(batch->env.model, work->top[own]);
            scores[n++] = work->top_score[own++];
        }
    }
    return n;
}

/* The K best by the model's ranker, or by rank fusion when it has none. To a ranker an arm of weight 0 proposes nothing, as in
 * freshet eval. */
static int blend(const struct batch *batch, const struct work *work, int K,
                 struct model_blended *out)
{
    const struct settings *settings = batch->env.settings;
    uint64_t encoder[USER_LIST_MAX];
    float scores[USER_LIST_MAX];
    int n = encoder_arm(batch, work, encoder, scores);
    struct model_ranking ranking = {
        .arms = {[ARM_ENCODER] = {encoder, n, scores},
                 [ARM_NEIGHBOURS] = {work->neighbours, work->n_neighbours, work->neighbour_scores},
                 [ARM_POPULAR] = {.keys = work->popular, .n = work->n_popular},
                 [ARM_RELATED] = {work->related.keys, work->related.n, work->related.scores},
                 [ARM_TRENDING] = {work->trending.keys, work->trending.n, work->trending.scores}},
        .follows = work->follows,
    };
    if (!work->noted) return model_blend(ranking.arms, settings->blend_weights, ARM_COUNT, K, out);
    model_ranking_session(&ranking, work->noted);
    for (int arm = 0; arm < ARM_COUNT; arm++)
        if (settings->blend_weights[arm] <= 0) ranking.arms[arm].n = 0;
    return model_rank(batch->env.model, &ranking, K, out);
}

static int32_t item_index(const struct batch *batch, uint64_t key)
{
    return batch->env.model ? model_item_index(batch->env.model, key) : -1;
}

/* index: item_index of the key. */
static struct str item_id(struct batch *batch, const struct work *work, uint64_t key, int32_t index)
{
    const struct ingest_record *record = work->record;
    if (index >= 0) return model_item_id(batch->env.model, index);
    struct str id = state_item_id(batch->env.state, record->partition, record->event.tenant, key);
    if (id.len == 0 && batch->env.policy) id = policy_item_id(batch->env.policy, key);
    if (id.len == 0 && batch->env.companions) id = companions_item_id(batch->env.companions, key);
    return arena_str(batch->arena, id);
}

struct str batch__item_id(struct batch *batch, const struct work *work, uint64_t key)
{
    return item_id(batch, work, key, item_index(batch, key));
}

static const enum reason_kind arm_reasons[ARM_COUNT] = {
    [ARM_ENCODER] = REASON_ENCODER,
    [ARM_NEIGHBOURS] = REASON_SIMILAR_SESSIONS,
    [ARM_POPULAR] = REASON_POPULAR,
    [ARM_RELATED] = REASON_BECAUSE_VIEWED, /* or REASON_BOUGHT_TOGETHER: batch__related_reason */
    [ARM_TRENDING] = REASON_TRENDING,
};

/* Of what no arm proposed. */
static const enum reason_kind other_reasons[] = {
    [POLICY_FOUND] = REASON_REPEAT,
    [POLICY_PINNED] = REASON_PINNED,
    [POLICY_NEW] = REASON_NEW,
};

/* What is listed: the best of the blend, or with rules that move items what they make of a deeper one. */
static int choose(struct batch *batch, struct work *work, uint64_t seed, struct policy_listed *out)
{
    struct model_blended blended[POLICY_FOUND_MAX];
    int K = batch->env.settings->list_size;
    if (work->gate.is_reranked) {
        int n = blend(batch, work, POLICY_FOUND_MAX, blended);
        return policy_rerank(batch->env.policy, &work->gate, blended, n, K, seed, batch__is_refused,
                             work, out);
    }
    int n = blend(batch, work, K, blended);
    for (int i = 0; i < n; i++)
        out[i] = (struct policy_listed){.blended = blended[i], .origin = POLICY_FOUND};
    return n;
}

/* Sets no more of the item than is read again: clearing all of it costs a list 0.2 us. */
static void list_item_make(struct batch *batch, const struct work *work,
                           const struct policy_listed *listed, struct list_item *item)
{
    const struct model_blended *blended = &listed->blended;
    const struct model *model = batch->env.model;
    int32_t index = item_index(batch, blended->key);
    item->item_id = item_id(batch, work, blended->key, index);
    item->score = blended->score;
    item->n_reasons = 0;
    for (int arm = 0; arm < ARM_COUNT; arm++) {
        if (!(blended->arms & (1u << arm))) continue;
        struct reason *reason = &item->reasons[item->n_reasons++];
        bool is_new = arm == ARM_ENCODER && index < 0;
        *reason = (struct reason){.kind = is_new ? REASON_CONTENT : arm_reasons[arm]};
        if (arm == ARM_ENCODER && !is_new && batch->env.settings->reasons_name_items)
            reason->item_id = model_item_id(model, model_because(model, &work->because, index));
        if (arm == ARM_RELATED) *reason = batch__related_reason(batch, work, blended->key);
        if (arm == ARM_TRENDING) *reason = batch__trending_reason(batch, work, blended->key);
    }
    if (blended->arms == 0)
        item->reasons[item->n_reasons++] = (struct reason){.kind = other_reasons[listed->origin]};
}

static void tap_copy(struct batch *batch, const struct work *work,
                     const struct recommendations *list, int64_t now_ms)
{
    const struct event *event = &work->record->event;
    struct tap_list copy = {.type = event->type,
                            .event_time_ms = event->time_ms,
                            .published_ms = now_ms,
                            .record_ms = work->record->timestamp_ms,
                            .n = list->n_items < TAP_LIST ? (int)list->n_items : TAP_LIST};
    (void)snprintf(copy.user, sizeof copy.user, "%.*s", STR_ARG(list->user_id));
    if (event->n_items)
        (void)snprintf(copy.item, sizeof copy.item, "%.*s", STR_ARG(event->items[0].item_id));
    (void)snprintf(copy.query, sizeof copy.query, "%.*s", STR_ARG(event->query));
    for (int i = 0; i < copy.n; i++)
        (void)snprintf(copy.list[i], sizeof copy.list[i], "%.*s", STR_ARG(list->items[i].item_id));
    tap_put(batch->env.tap, &copy);
}

/* The Kafka key of a user's list: the user id, behind "tenant:" when there is a tenant. */
static struct str list_key(struct batch *batch, struct str tenant, struct str user_id)
{
    if (tenant.len == 0) return user_id;
    char *key = arena_alloc(batch->arena, tenant.len + 1 + user_id.len);
    memcpy(key, tenant.ptr, tenant.len);
    key[tenant.len] = ':';
    memcpy(key + tenant.len + 1, user_id.ptr, user_id.len);
    return (struct str){key, tenant.len + 1 + user_id.len};
}

static bool list_send(struct batch *batch, struct emit_epoch *epoch, struct work *work,
                      int64_t now_ms, struct err *err)
{
    const struct settings *settings = batch->env.settings;
    const struct ingest_record *record = work->record;
    const struct event *event = &record->event;
    struct policy_listed listed[USER_LIST_MAX];
    struct list_item items[USER_LIST_MAX];
    char id[33];
    schemas_recommendation_id(str_of(settings->topics[record->topic]), record->partition,
                              record->offset, id);
    int n = choose(batch, work, schemas_id_hash((struct str){id, 32}), listed);

    for (int i = 0; i < n; i++) {
        list_item_make(batch, work, &listed[i], &items[i]);
        work->user->last_list[i] = listed[i].blended.key;
    }
    work->user->n_last_list = n;
    if (work->is_told || work->is_hushed) return true;
    struct recommendations list = {
        .recommendation_id = {id, 32},
        .tenant = event->tenant,
        .user_id = event->user_id.len ? event->user_id : event->anonymous_id,
        .scenario = STR("default"),
        .items = items,
        .n_items = (size_t)n,
        .model_version = batch->env.model ? str_of(batch->info.version) : STR("none"),
        .trigger = {.topic = str_of(settings->topics[record->topic]),
                    .partition = record->partition,
                    .offset = record->offset,
                    .event_id = event->event_id,
                    .event_time_ms = event->time_ms},
    };
    buf_reset(&batch->bytes);
    schemas_recommendations_encode(batch->env.schemas, &list, &batch->bytes);
    if (batch->bytes.failed)
        return err_set(err, ERR_FATAL, "a list of %d items is over %zu bytes", n, batch->bytes.max);
    if (!emit_send(batch->env.emit, epoch, EMIT_RECOMMENDATIONS,
                   list_key(batch, list.tenant, list.user_id),
                   (struct str){(const char *)batch->bytes.data, batch->bytes.len},
                   source_of(batch, record), 0, err))
        return false;
    counters_add(batch->env.counters, METRIC_LISTS, 0, 1);
    int64_t age_ms = now_ms - record->timestamp_ms;
    bool is_live = age_ms > -LIVE_MS && age_ms < LIVE_MS;
    if (is_live && batch->env.waits)
        waits_add(batch->env.waits, record->timestamp_ms);
    else if (is_live)
        counters_observe(batch->env.counters, METRIC_EVENT_TO_LIST, 0, age_ms * 1000);
    if (batch->env.tap) tap_copy(batch, work, &list, now_ms);
    return true;
}

/* The user has another name now. */
static bool former_end(struct batch *batch, struct emit_epoch *epoch, const struct work *work,
                       struct err *err)
{
    return emit_send(batch->env.emit, epoch, EMIT_RECOMMENDATIONS,
                     list_key(batch, work->record->event.tenant, work->former_id), (struct str){0},
                     source_of(batch, work->record), 0, err);
}

bool batch__publish(struct batch *batch, struct emit_epoch *epoch, struct err *err)
{
    struct clock clock = {0};
    int64_t now_ms = clock_wall_ms(&clock);
    for (int i = 0; i < batch->n_work; i++) {
        struct work *work = &batch->work[i];
        if (work->is_told) fault_point("tail");
        if (work->reason != REASON_NONE && !work->is_told &&
            !dead_letter_send(batch, epoch, work, err))
            return false;
        if (!poison_share_check(batch, work, err)) return false;
        if (work->reason != REASON_NONE) continue;
        if (work->erasure && !work->is_told && !batch__erasure_send(batch, epoch, work, err))
            return false;
        if (work->is_scored) quality_count(batch, work);
        if (work->former_id.len && !work->is_told && !former_end(batch, epoch, work, err))
            return false;
        if (work->has_list && !list_send(batch, epoch, work, now_ms, err)) return false;
        if (i == batch->n_work / 2) fault_point("some_produced");
    }
    return true;
}
