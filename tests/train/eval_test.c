/* Metrics against a naive twin: each target's list from the definition, one user at a time. */
#include "tests/test.h"

#include "base/mem.h"
#include "base/rng.h"
#include "schemas/schemas.h"
#include "tests/train/support.h"

enum { N = 60, KNOWN = 50, K = 20, EVENTS = 1200 };

/* The training part, counted by its definition. */
struct part {
    double count[2 * N], users[2 * N], follows[N][N];
    int n_users;
};

/* What the twin computes for one arm. */
struct twin {
    double hr, ndcg, mrr;
    uint64_t targets;
    double times[2 * N]; /* lists that hold the item */
    int32_t list[K];     /* (n) the newest */
    int n;
};

static void twin_list(struct twin *twin, const int32_t *list, int n, int32_t target)
{
    twin->targets++;
    twin->n = 0;
    for (int i = 0; i < n; i++) {
        if (list[i] < 0) return;
        twin->list[twin->n++] = list[i];
        twin->times[list[i]] += 1;
        if (list[i] != target) continue;
        twin->hr += 1;
        twin->ndcg += 1 / log2(i + 2.0);
        twin->mrr += 1 / (i + 1.0);
    }
}

/* Half the mean absolute difference of all pairs over the mean: the Gini coefficient before it is sorted. */
static double twin_gini(const double *times, int n)
{
    double sum = 0, differences = 0;
    for (int i = 0; i < 2 * N; i++)
        sum += times[i];
    double listed[2 * N] = {0};
    int m = 0;
    for (int i = 0; i < 2 * N; i++) {
        if (times[i] > 0) listed[m++] = times[i];
    }
    if (n < m) n = m;
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++)
            differences += fabs(listed[i] - listed[j]);
    }
    return differences / (2.0 * n * sum);
}

static void twin_check(const struct twin *twin, const struct part *part,
                       const struct eval_metrics *got, int catalogue)
{
    double distinct = 0, places = 0, novelty = 0, popularity = 0;
    for (int i = 0; i < 2 * N; i++) {
        double users = part->users[i] > 1 ? part->users[i] : 1;
        distinct += twin->times[i] > 0;
        places += twin->times[i];
        popularity += twin->times[i] * part->count[i];
        novelty += twin->times[i] * -log2(users / part->n_users);
    }
    double hr = twin->hr / (double)twin->targets, precision = hr / K;
    CHECK_NEAR(got->hr[1], hr, 1e-12);
    CHECK_NEAR(got->ndcg[1], twin->ndcg / (double)twin->targets, 1e-12);
    CHECK_NEAR(got->mrr[1], twin->mrr / (double)twin->targets, 1e-12);
    CHECK_NEAR(got->precision[1], precision, 1e-12);
    CHECK_NEAR(got->f1[1], 2 * precision * hr / (precision + hr), 1e-12);
    CHECK_NEAR(got->coverage[1], distinct / (distinct > catalogue ? distinct : catalogue), 1e-12);
    CHECK_NEAR(got->gini[1], twin_gini(twin->times, catalogue), 1e-12);
    CHECK_NEAR(got->novelty[1], novelty / places, 1e-9);
    CHECK_NEAR(got->popularity[1], popularity / places, 1e-9);
    CHECK(got->hr[0] <= got->hr[1] && got->coverage[0] <= got->coverage[1]);
}

/* The model names its items "0".."49"; the log holds "0".."59". */
static int32_t index_in_model(const struct model *model, const struct train_data *data,
                              int32_t item)
{
    return model_item_index(model, schemas_item_key(STR(""), data->item_ids[item]));
}

/* The log's index of a model's item; N + index when the log has none. */
static int32_t item_of_model(const struct model *model, const struct train_data *data, int32_t m)
{
    for (int i = 0; i < data->n_items; i++) {
        if (index_in_model(model, data, i) == m) return i;
    }
    return N + m;
}

/* Marks in masked (by data item) what the list before event e may not hold. */
static void mark_mask(const struct train_data *data, const struct eval_options *options,
                      size_t begin, size_t window, size_t e, bool *masked)
{
    memset(masked, 0, N * sizeof *masked);
    size_t from = options->mask == EVAL_MASK_NONE      ? e
                  : options->mask == EVAL_MASK_CURRENT ? e - 1
                  : options->mask == EVAL_MASK_WINDOW  ? window
                                                       : begin;
    for (size_t i = from; i < e; i++)
        masked[data->events[i].item] = true;
}

static void twin_encoder(const struct model *model, struct model_scratch *scratch,
                         const struct train_data *data, const bool *masked, size_t window, size_t e,
                         struct twin *twin)
{
    struct model_input inputs[512];
    int32_t excluded[N], list[K];
    float score[K];
    int T = 0, n = 0;
    int64_t before_ms = 0;
    for (size_t i = window; i < e; i++) {
        int32_t item = index_in_model(model, data, data->events[i].item);
        if (item < 0) continue;
        int64_t time_ms = data->events[i].time_ms;
        inputs[T] = (struct model_input){item, data->events[i].type, T ? time_ms - before_ms : 0};
        before_ms = time_ms;
        T++;
    }
    if (T == 0) {
        twin_list(twin, NULL, 0, 0);
        return;
    }
    for (int32_t m = 0; m < KNOWN; m++) {
        for (int i = 0; i < data->n_items; i++) {
            if (masked[i] && index_in_model(model, data, i) == m) excluded[n++] = m;
        }
    }
    float *state = mem_aligned(64, (size_t)model_info(model).S * sizeof(float));
    model_prefill(model, scratch, T, inputs, state);
    const float *vector = model_state_vector(model, state);
    struct model_exclusions exclusions = {.items = excluded, .n = n};
    model_topk_naive(model, 1, &vector, &exclusions, K, list, score);
    for (int i = 0; i < K; i++)
        list[i] = list[i] < 0 ? -1 : item_of_model(model, data, list[i]);
    twin_list(twin, list, K, data->events[e].item);
    mem_free(state);
}

/* The K best by score (ties: smaller index) that have one and are not masked. */
static void twin_popular(const double *score, const bool *masked, int32_t target, struct twin *twin)
{
    int32_t list[K];
    bool used[N] = {false};
    int n = 0;
    while (n < K) {
        int best = -1;
        for (int i = 0; i < N; i++) {
            if (used[i] || masked[i] || score[i] <= 0) continue;
            if (best < 0 || score[i] > score[best]) best = i;
        }
        if (best < 0) break;
        used[best] = true;
        list[n++] = best;
    }
    twin_list(twin, list, n, target);
}

/* Decayed counts at event e: all earlier events of the log, by its definition. */
static void twin_recent(const struct train_data *data, const struct eval_options *options, size_t e,
                        double *score)
{
    memset(score, 0, N * sizeof *score);
    const struct train_event *at = &data->events[e];
    for (size_t i = 0; i < data->n_events; i++) {
        const struct train_event *event = &data->events[i];
        bool is_before = event->time_ms < at->time_ms || (event->time_ms == at->time_ms && i < e);
        if (options->is_frozen && event->time_ms >= train_split_ms(data, options->split)) continue;
        if (is_before)
            score[event->item] +=
                exp2((double)(event->time_ms - at->time_ms) / (double)options->half_life_ms);
    }
}

/* Whether event i is in the index that is asked before event e: by its time, or by the part it belongs to. */
static bool is_indexed(const struct train_data *data, const struct eval_options *options,
                       const int *user, size_t i, size_t e)
{
    const struct train_event *event = &data->events[i], *at = &data->events[e];
    if (options->neighbours_live) return event->time_ms < at->time_ms;
    if (options->split.protocol == TRAIN_LEAVE_ONE_OUT)
        return i + 1 != data->user_start[user[i] + 1];
    return event->time_ms < train_split_ms(data, options->split);
}

/* The first event of the session that event e is in: a pause ends one, and so does a live window that forgets its older half. */
static size_t first_of_session(const struct train_data *data, const struct eval_options *options,
                               size_t begin, size_t e)
{
    bool forgets = options->neighbours_live && options->split.protocol != TRAIN_LEAVE_ONE_OUT;
    size_t first = begin, window = begin, size = (size_t)options->window;
    for (size_t i = begin + 1; i <= e; i++) {
        int64_t pause_ms = data->events[i].time_ms - data->events[i - 1].time_ms;
        if (options->session_gap_ms > 0 && pause_ms > options->session_gap_ms) first = i;
        if (i - window == size) window = i - size / 2;
    }
    return forgets && window > first ? window : first;
}

struct refusal {
    const struct train_data *data;
    const bool *masked;
};

static bool is_refused(void *context, uint64_t key)
{
    const struct refusal *refusal = context;
    for (int i = 0; i < refusal->data->n_items; i++) {
        if (schemas_item_key(STR(""), refusal->data->item_ids[i]) == key) return refusal->masked[i];
    }
    return true;
}

/* A new index for each target. Each second of the log has one event. */
static void twin_neighbours(const struct train_data *data, const struct eval_options *options,
                            const bool *masked, size_t window, size_t e, struct twin *twin)
{
    size_t order[EVENTS];
    int user[EVENTS];
    struct model_neighbours_options bounds = *options->neighbours;
    if (options->session_gap_ms == 0) bounds.items_max = options->window;
    struct model_neighbours *index = model_neighbours_new(&bounds);
    struct model_neighbour found[K];
    uint64_t keys[EVENTS];
    int32_t list[K];
    int n = 0;
    for (int u = 0; u < data->n_users; u++) {
        for (size_t i = data->user_start[u]; i < data->user_start[u + 1]; i++) {
            order[(data->events[i].time_ms - data->first_ms) / 1000] = i;
            user[i] = u;
        }
    }
    for (int t = 0; t < EVENTS; t++) {
        const struct train_event *event = &data->events[order[t]];
        if (is_indexed(data, options, user, order[t], e))
            model_neighbours_add(
                index,
                1 + first_of_session(data, options, data->user_start[user[order[t]]], order[t]),
                schemas_item_key(STR(""), data->item_ids[event->item]), event->time_ms);
    }
    size_t first = first_of_session(data, options, data->user_start[user[e]], e - 1);
    for (size_t i = window > first ? window : first; i < e; i++)
        keys[n++] = schemas_item_key(STR(""), data->item_ids[data->events[i].item]);
    struct refusal refusal = {data, masked};
    n = model_neighbours_query(index, 1 + first, keys, n, K, is_refused, &refusal, found);
    for (int i = 0; i < n; i++) {
        list[i] = 0;
        while (schemas_item_key(STR(""), data->item_ids[list[i]]) != found[i].key)
            list[i]++;
    }
    twin_list(twin, list, n, data->events[e].item);
    model_neighbours_free(index);
}

static struct train_data *random_log(uint64_t seed)
{
    struct rng rng;
    rng_init(&rng, seed);
    char text[32768];
    size_t at = (size_t)snprintf(text, sizeof text, "SessionId ItemId Time\n");
    for (int i = 0; i < EVENTS; i++) {
        double u = rng_unit(&rng);
        at += (size_t)snprintf(text + at, sizeof text - at, "u%d %d %d\n",
                               (int)rng_below(&rng, 150) * (int)rng_below(&rng, 2) +
                                   (int)rng_below(&rng, 5),
                               (int)(u * u * N), 1000 + i);
    }
    return support_data(text, LOGFILE_SESSIONS, NULL);
}

static bool is_test(const struct train_data *data, const struct eval_options *options, int user,
                    size_t e)
{
    if (options->split.protocol == TRAIN_LEAVE_ONE_OUT) return e + 1 == data->user_start[user + 1];
    return data->events[e].time_ms >= train_split_ms(data, options->split);
}

static bool is_asked(const struct train_data *data, const struct eval_options *options, int user,
                     size_t e)
{
    if (e == data->user_start[user] || !is_test(data, options, user, e)) return false;
    return !options->is_frozen || !is_test(data, options, user, e - 1);
}

static void count_part(const struct train_data *data, const struct eval_options *options,
                       struct part *part)
{
    for (int u = 0; u < data->n_users; u++) {
        bool met[N] = {false};
        size_t begin = data->user_start[u];
        part->n_users += !is_test(data, options, u, begin);
        for (size_t e = begin; e < data->user_start[u + 1]; e++) {
            int32_t item = data->events[e].item;
            if (is_test(data, options, u, e)) continue;
            part->count[item] += 1;
            part->users[item] += !met[item];
            met[item] = true;
            if (e > begin) part->follows[data->events[e - 1].item][item] += 1;
        }
    }
}

static void twin_predict(const struct train_data *data, const struct eval_options *options,
                         const struct part *part, const bool *masked, size_t e, struct twin *twins)
{
    double score[N];
    int32_t target = data->events[e].item;
    twin_popular(part->count, masked, target, &twins[EVAL_POPULAR]);
    twin_recent(data, options, e, score);
    twin_popular(score, masked, target, &twins[EVAL_RECENT]);
    for (int i = 0; i < N; i++)
        score[i] = part->follows[data->events[e - 1].item][i] * 1e6 + part->count[i];
    twin_popular(score, masked, target, &twins[EVAL_MARKOV]);
}

/* Rank fusion of the lists of three arms, the best one picked K times. Ties: whom the lists name first. */
static void twin_blend(struct twin *twins, const struct eval_options *options, int32_t target)
{
    const int sources[] = {EVAL_ENCODER, EVAL_RECENT, EVAL_NEIGHBOURS};
    float score[2 * N] = {0};
    int32_t met[3 * K], list[K];
    int n_met = 0, n = 0;
    for (int s = 0; s < 3; s++) {
        const struct twin *source = &twins[sources[s]];
        for (int i = 0; i < source->n; i++) {
            score[source->list[i]] += options->blend[sources[s]] / (float)(61 + i);
            met[n_met++] = source->list[i];
        }
    }
    while (n < K) {
        int best = -1;
        for (int i = 0; i < n_met; i++) {
            bool is_better = best < 0 || score[met[i]] > score[met[best]];
            if (score[met[i]] > 0 && is_better) best = i;
        }
        if (best < 0) break;
        list[n++] = met[best];
        score[met[best]] = 0;
    }
    twin_list(&twins[EVAL_BLEND], list, n, target);
}

static void against_twin(const struct model *model, const struct train_data *data,
                         const struct eval_options *options)
{
    struct twin twins[EVAL_ARMS] = {0};
    struct part part = {0};
    bool masked[N];
    struct model_scratch *scratch = model_scratch_new(model);
    bool is_last = options->split.protocol == TRAIN_LEAVE_ONE_OUT;
    count_part(data, options, &part);
    for (int u = 0; u < data->n_users; u++) {
        size_t begin = data->user_start[u], end = data->user_start[u + 1], window = begin;
        for (size_t e = begin; e < end; e++) {
            if (is_asked(data, options, u, e)) {
                mark_mask(data, options, begin, window, e, masked);
                twin_neighbours(data, options, masked, window, e, &twins[EVAL_NEIGHBOURS]);
                twin_encoder(model, scratch, data, masked, window, e, &twins[EVAL_ENCODER]);
                twin_predict(data, options, &part, masked, e, twins);
                twin_blend(twins, options, data->events[e].item);
            }
            size_t size = (size_t)options->window;
            if (e - window == size) window = is_last ? e + 1 - size : e - size / 2;
        }
    }
    struct eval_result got, alone;
    struct err err = ERR_INIT;
    CHECK_OK(eval_run(model, data, data, options, &got, &err), err);
    CHECK_OK(eval_run(NULL, data, data, options, &alone, &err), err);
    CHECK_INT(got.targets, twins[EVAL_ENCODER].targets);
    CHECK_INT(alone.targets, got.targets);
    CHECK(got.targets > (options->is_frozen ? 20 : 50));
    CHECK(got.unseen > 0);
    int counted = 0;
    for (int i = 0; i < N; i++)
        counted += part.count[i] > 0;
    CHECK_INT(alone.items, counted);
    for (int arm = 0; arm < EVAL_ARMS; arm++) {
        bool is_alone = arm != EVAL_ENCODER && arm != EVAL_BLEND;
        if (arm == EVAL_RELATED || arm == EVAL_TRENDING)
            continue; /* sums in another order have other bits: eval_arms_test.c */
        twin_check(&twins[arm], &part, &got.arms[arm], KNOWN);
        if (is_alone) twin_check(&twins[arm], &part, &alone.arms[arm], counted);
    }
    CHECK_NEAR(alone.arms[EVAL_ENCODER].coverage[1], 0, 0);
    model_scratch_free(scratch);
}

static void every_mask_and_protocol(void)
{
    uint64_t seed = TEST_SEED();
    struct train_data *data = random_log(seed);
    struct model *model = model_random(KNOWN, 16, 16, 1, seed);
    struct model_neighbours_options neighbours = {.sessions_max = 40,
                                                  .clicks_max = 400,
                                                  .items_max = 20,
                                                  .m = 30,
                                                  .k = 10,
                                                  .last_n = 4,
                                                  .similarity = NEIGHBOURS_DIV,
                                                  .idf = NEIGHBOURS_IDF_PLUS,
                                                  .idf_weight = 2,
                                                  .reach = 2};
    for (int mask = EVAL_MASK_NONE; mask <= EVAL_MASK_HISTORY; mask++) {
        struct eval_options options = {
            .split = {TRAIN_NEXT_ITEM, 0.6},
            .mask = (enum eval_mask)mask,
            .k = {5, K},
            .n_k = 2,
            .window = 12,
            .half_life_ms = 100000,
            .neighbours = &neighbours,
            .blend = {[EVAL_ENCODER] = 1, [EVAL_RECENT] = 0.3F, [EVAL_NEIGHBOURS] = 0.7F},
            .session_gap_ms = mask / 2 * 30000,
            .neighbours_live = mask % 2 == 0,
            .state_bytes = mask % 2 == 0 ? 0 : 3000, /* a few users' */
            .arms = (1u << EVAL_ARMS) - 1,
        };
        against_twin(model, data, &options);
        options.is_frozen = true;
        options.neighbours_live = false;
        against_twin(model, data, &options);
        options.is_frozen = false;
        options.neighbours_live = mask % 2 == 0;
        options.split = (struct train_split){TRAIN_LEAVE_ONE_OUT, 1};
        against_twin(model, data, &options);
    }
    model_free(model);
    train_data_free(data);
}

/* Three users, whose training parts are 1 2 3, 1 2 and 2 4; the last item of each is asked for. Counts: 2 three times, 1
 * twice, 3 and 4 once. 3 and 4 are followed by nothing; 2 by 3 and by 4 once each, 3 first since it has the smaller index. */
static void by_hand(void)
{
    struct train_data *data =
        support_data("a 1\na 2\na 3\na 2\nb 1\nb 2\nb 3\nc 2\nc 4\nc 1\n", LOGFILE_PAIRS, NULL);
    struct eval_options options = {.split = {TRAIN_LEAVE_ONE_OUT, 1},
                                   .k = {1, 2},
                                   .n_k = 2,
                                   .window = 9,
                                   .half_life_ms = 1000};
    struct eval_result got;
    struct err err = ERR_INIT;
    CHECK_OK(eval_run(NULL, data, data, &options, &got, &err), err);
    CHECK_INT(got.targets, 3);
    CHECK_INT(got.items, 4);
    /* Lists of popularity: 2 1, for all. Of Markov: after 3 (a) 2 1, after 2 (b) 3 4, after 4 (c) 2 1. */
    const struct eval_metrics *popular = &got.arms[EVAL_POPULAR], *markov = &got.arms[EVAL_MARKOV];
    CHECK_NEAR(popular->hr[0], 1.0 / 3, 1e-12);
    CHECK_NEAR(popular->hr[1], 2.0 / 3, 1e-12);
    CHECK_NEAR(popular->mrr[1], (1 + 0.5) / 3, 1e-12);
    CHECK_NEAR(popular->precision[1], 1.0 / 3, 1e-12);
    CHECK_NEAR(popular->f1[1], 4.0 / 9, 1e-12);
    CHECK_NEAR(popular->coverage[1], 0.5, 1e-12);
    CHECK_NEAR(popular->gini[0], 0.75, 1e-12); /* all on one of four */
    CHECK_NEAR(popular->gini[1], 0.5, 1e-12);
    CHECK_NEAR(popular->novelty[0], 0, 1e-12); /* every user met 2 */
    CHECK_NEAR(popular->popularity[1], 2.5, 1e-12);
    CHECK_NEAR(markov->hr[0], 2.0 / 3, 1e-12);
    CHECK_NEAR(markov->mrr[1], (1 + 1 + 0.5) / 3, 1e-12);
    CHECK_NEAR(markov->ndcg[1], (2 + 1 / log2(3)) / 3, 1e-12);
    CHECK_NEAR(markov->coverage[1], 1, 1e-12);
    /* b's 3 is the third by count and stands first; the others stand where popularity has them. */
    CHECK_NEAR(markov->serendipity[0], 2.0 / (4 * 3), 1e-12);
    CHECK_NEAR(markov->serendipity[1], 2.0 / (4 * 2 * 3), 1e-12);
    CHECK_NEAR(popular->serendipity[1], 0, 0);
    CHECK_NEAR(markov->tail[1], 0, 0); /* a tenth of four items is none */
    CHECK_NEAR(markov->popularity[0], (3 + 1 + 3) / 3.0, 1e-12);
    CHECK_NEAR(markov->novelty[0], log2(3) / 3, 1e-12); /* 3 was met by one of three */
    options.mask = EVAL_MASK_HISTORY;
    /* a met 1 2 3: 4, a miss. b met 1 2: 3. c met 2 4: 1. */
    CHECK_OK(eval_run(NULL, data, data, &options, &got, &err), err);
    CHECK_NEAR(got.arms[EVAL_MARKOV].hr[0], 2.0 / 3, 1e-12);
    CHECK_NEAR(got.arms[EVAL_POPULAR].hr[0], 2.0 / 3, 1e-12);
    /* Only a has four events; it is still the training part of the others that counts. */
    options.min_events = 4;
    CHECK_OK(eval_run(NULL, data, data, &options, &got, &err), err);
    CHECK_INT(got.targets, 1);
    CHECK_INT(got.items, 4);
    CHECK_NEAR(got.arms[EVAL_POPULAR].hr[0], 0, 0);
    train_data_free(data);
}

/* The three targets of by_hand in parts. Of the seven events of the training part items 2 and 1 hold five, so they are head; 3 is
 * mid, as five of seven are less than four fifths; 4 is tail. */
static void parts(void)
{
    struct train_data *data =
        support_data("a 1\na 2\na 3\na 2\nb 1\nb 2\nb 3\nc 2\nc 4\nc 1\n", LOGFILE_PAIRS, NULL);
    struct eval_options options = {.split = {TRAIN_LEAVE_ONE_OUT, 1},
                                   .k = {1, 2},
                                   .n_k = 2,
                                   .window = 9,
                                   .half_life_ms = 1000,
                                   .resamples = 2000,
                                   .against = EVAL_POPULAR};
    struct eval_result got;
    struct err err = ERR_INIT;
    CHECK_OK(eval_run(NULL, data, data, &options, &got, &err), err);
    const struct eval_group *head = &got.by[EVAL_BY_POPULARITY][0], *mid = head + 1;
    CHECK_STR(eval_group_name(EVAL_BY_POPULARITY, 0), "head");
    CHECK_INT(head->targets, 2);
    CHECK_INT(mid->targets, 1);
    CHECK_INT((head + 2)->targets, 0);
    CHECK_NEAR(head->arms[EVAL_POPULAR].hr[1], 1, 1e-12);
    CHECK_NEAR(head->arms[EVAL_POPULAR].mrr[1], 0.75, 1e-12);
    CHECK_NEAR(mid->arms[EVAL_POPULAR].hr[1], 0, 0);
    CHECK_NEAR(mid->arms[EVAL_MARKOV].ndcg[0], 1, 1e-12);
    CHECK_STR(eval_group_name(EVAL_BY_LENGTH, 1), "2-4");
    CHECK_INT(got.by[EVAL_BY_LENGTH][1].targets, 3);
    CHECK_NEAR(got.by[EVAL_BY_LENGTH][1].arms[EVAL_MARKOV].hr[0], 2.0 / 3, 1e-12);
    CHECK_STR(eval_group_name(EVAL_BY_TYPE, EVENT_CLICK), "click");
    CHECK_INT(got.by[EVAL_BY_TYPE][EVENT_CLICK].targets, 3);
    CHECK(eval_group_name(EVAL_BY_TYPE, EVENT_TYPE_COUNT) == NULL);
    /* Three users: some resample has only hits, some only misses. */
    CHECK_NEAR(got.interval[EVAL_MARKOV].low.hr[0], 0, 1e-12);
    CHECK_NEAR(got.interval[EVAL_MARKOV].high.hr[0], 1, 1e-12);
    CHECK_NEAR(got.difference[EVAL_MARKOV].low.hr[0], 0, 1e-12);
    options.against = EVAL_ENCODER;
    CHECK_FAIL(eval_run(NULL, data, data, &options, &got, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "encoder");
    train_data_free(data);
}

static void test_file_and_types(void)
{
    struct train_data *past =
        support_data("u 1\nu 2\nu 2\nw 77\nw 77\nw 77\n", LOGFILE_PAIRS, NULL);
    struct train_data *data = support_data("a 1\na 2\nb 2\nb 1\nb 99\nc 1\n", LOGFILE_PAIRS, NULL);
    struct model *model = model_random(KNOWN, 16, 16, 1, 1);
    struct eval_options options = {
        .split = {TRAIN_ALL, 1}, .k = {1, 2}, .n_k = 2, .window = 10, .half_life_ms = 1000};
    struct eval_result got;
    struct err err = ERR_INIT;
    CHECK_OK(eval_run(model, data, past, &options, &got, &err), err);
    CHECK_INT(got.targets, 3);
    CHECK_INT(got.unseen, 1);
    CHECK_INT(got.first, 3);
    CHECK_NEAR(got.arms[EVAL_POPULAR].hr[0], 0, 0);           /* 77 first, then 2, 1 */
    CHECK_NEAR(got.arms[EVAL_POPULAR].hr[1], 1.0 / 3, 1e-12); /* a's 2 */
    options.targets = 1u << EVENT_PURCHASE;
    CHECK_FAIL(eval_run(model, data, past, &options, &got, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "nothing to predict");
    model_free(model);
    train_data_free(data);
    train_data_free(past);
}

int main(void)
{
    CASE(by_hand);
    CASE(parts);
    CASE(every_mask_and_protocol);
    CASE(test_file_and_types);
    return 0;
}
