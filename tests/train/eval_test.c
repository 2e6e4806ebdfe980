/* Metrics against a naive twin: each target's list from the definition, one user at a time. */
#include "tests/test.h"

#include "base/mem.h"
#include "base/rng.h"
#include "schemas/schemas.h"
#include "tests/train/support.h"

enum { N = 60, KNOWN = 50, K = 20 };

/* What the twin computes for one arm. */
struct twin {
    double hr, ndcg, mrr;
    uint64_t targets;
    bool listed[2 * N];
};

static void twin_list(struct twin *twin, const int32_t *list, int n, int32_t target)
{
    twin->targets++;
    for (int i = 0; i < n; i++) {
        if (list[i] < 0) return;
        twin->listed[list[i]] = true;
        if (list[i] != target) continue;
        twin->hr += 1;
        twin->ndcg += 1 / log2(i + 2.0);
        twin->mrr += 1 / (i + 1.0);
    }
}

static void twin_check(const struct twin *twin, const struct eval_metrics *got, int catalogue)
{
    int distinct = 0;
    for (int i = 0; i < 2 * N; i++)
        distinct += twin->listed[i];
    CHECK_NEAR(got->hr[1], twin->hr / (double)twin->targets, 1e-12);
    CHECK_NEAR(got->ndcg[1], twin->ndcg / (double)twin->targets, 1e-12);
    CHECK_NEAR(got->mrr[1], twin->mrr / (double)twin->targets, 1e-12);
    CHECK_NEAR(got->coverage[1], (double)distinct / catalogue, 1e-12);
    CHECK(got->hr[0] <= got->hr[1] && got->coverage[0] <= got->coverage[1]);
}

/* The model names its items "0".."49"; the log holds "0".."59". */
static int32_t index_in_model(const struct model *model, const struct train_data *data,
                              int32_t item)
{
    return model_item_index(model, schemas_item_key(STR(""), data->item_ids[item]));
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
        twin->targets++;
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
    struct model_exclusions exclusions = {excluded, n};
    model_topk_naive(model, 1, &vector, &exclusions, K, list, score);
    twin_list(twin, list, K, index_in_model(model, data, data->events[e].item));
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
        if (is_before)
            score[event->item] +=
                exp2((double)(event->time_ms - at->time_ms) / (double)options->half_life_ms);
    }
}

static struct train_data *random_log(uint64_t seed)
{
    struct rng rng;
    rng_init(&rng, seed);
    char text[32768];
    size_t at = (size_t)snprintf(text, sizeof text, "SessionId ItemId Time\n");
    for (int i = 0; i < 1200; i++) {
        double u = rng_unit(&rng);
        at += (size_t)snprintf(text + at, sizeof text - at, "u%d %d %d\n",
                               (int)rng_below(&rng, 150) * (int)rng_below(&rng, 2) +
                                   (int)rng_below(&rng, 5),
                               (int)(u * u * N), 1000 + i);
    }
    return support_data(text, LOGFILE_SESSIONS, NULL);
}

static void against_twin(const struct model *model, const struct train_data *data,
                         const struct eval_options *options)
{
    struct twin encoder = {0}, popular = {0}, recent = {0};
    double counts[N] = {0}, decayed[N];
    bool masked[N];
    struct model_scratch *scratch = model_scratch_new(model);
    int64_t cut_ms = train_split_ms(data, options->split);
    bool is_last = options->split.protocol == TRAIN_LEAVE_ONE_OUT;
    for (int pass = 0; pass < 2; pass++) {
        for (int u = 0; u < data->n_users; u++) {
            size_t begin = data->user_start[u], end = data->user_start[u + 1], window = begin;
            for (size_t e = begin; e < end; e++) {
                bool is_test = is_last ? e + 1 == end : data->events[e].time_ms >= cut_ms;
                if (pass == 0 && !is_test) counts[data->events[e].item] += 1;
                if (pass == 1 && is_test && e > begin) {
                    mark_mask(data, options, begin, window, e, masked);
                    twin_encoder(model, scratch, data, masked, window, e, &encoder);
                    twin_popular(counts, masked, data->events[e].item, &popular);
                    twin_recent(data, options, e, decayed);
                    twin_popular(decayed, masked, data->events[e].item, &recent);
                }
                size_t size = (size_t)options->window;
                if (e - window == size) window = is_last ? e + 1 - size : e - size / 2;
            }
        }
    }
    struct eval_result got;
    struct err err = ERR_INIT;
    CHECK_OK(eval_run(model, data, data, options, &got, &err), err);
    CHECK_INT(got.targets, encoder.targets);
    CHECK(got.targets > 50);
    CHECK(got.unseen > 0);
    twin_check(&encoder, &got.encoder, KNOWN);
    twin_check(&popular, &got.popular, KNOWN);
    twin_check(&recent, &got.popular_recent, KNOWN);
    model_scratch_free(scratch);
}

static void every_mask_and_protocol(void)
{
    uint64_t seed = TEST_SEED();
    struct train_data *data = random_log(seed);
    struct model *model = model_random(KNOWN, 16, 16, 1, seed);
    for (int mask = EVAL_MASK_NONE; mask <= EVAL_MASK_HISTORY; mask++) {
        struct eval_options options = {
            .split = {TRAIN_NEXT_ITEM, 0.6},
            .mask = (enum eval_mask)mask,
            .k = {5, K},
            .n_k = 2,
            .window = 12,
            .half_life_ms = 100000,
        };
        against_twin(model, data, &options);
        options.split = (struct train_split){TRAIN_LEAVE_ONE_OUT, 1};
        against_twin(model, data, &options);
    }
    model_free(model);
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
    CHECK_NEAR(got.popular.hr[0], 0, 0);           /* 77 first, then 2, 1 */
    CHECK_NEAR(got.popular.hr[1], 1.0 / 3, 1e-12); /* a's 2 */
    options.targets = 1u << EVENT_PURCHASE;
    CHECK_FAIL(eval_run(model, data, past, &options, &got, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "nothing to predict");
    model_free(model);
    train_data_free(data);
    train_data_free(past);
}

int main(void)
{
    CASE(every_mask_and_protocol);
    CASE(test_file_and_types);
    return 0;
}
