/* Training as a whole: it learns, it is the same twice, and what it learnt is what the pipeline computes. */
#include "tests/test.h"

#include "base/mem.h"
#include "base/rng.h"
#include "tests/train/support.h"
#include "train/encoder.h"
#include "train/plan.h"
#include "train/train.h"

enum { ITEMS = 40 };

static const char *const loss_names[] = {"full", "sampled", "gbce"};

static struct train_options small_options(void)
{
    struct train_options options = support_options();
    options.heads = 1;
    options.dropout = 0.1;
    options.epochs = 12;
    return options;
}

static struct train_data *ring(uint64_t seed)
{
    return support_ring_data(300, ITEMS, 12, 0.1, seed);
}

static void check_learns_a_ring(enum model_encoder_kind kind, enum train_positions positions)
{
    struct train_data *data = ring(TEST_SEED());
    struct train_options options = small_options();
    options.encoder = kind;
    options.positions = positions;
    options.split.protocol = TRAIN_LEAVE_ONE_OUT;
    /* Binary cross-entropy first learns that everything is unlikely, which takes long: one encoder stands for all. */
    int last = kind == ENCODER_LRU ? TRAIN_GBCE : TRAIN_SAMPLED;
    for (int loss = TRAIN_FULL; loss <= last; loss++) {
        options.loss = (enum train_loss)loss;
        options.negatives = 8;
        if (loss == TRAIN_GBCE) options.epochs = options.patience = 30;
        struct train_result result;
        struct model *model = support_learn(data, &options, &result);
        struct eval_options eval = {
            .split = options.split, .k = {1, 5}, .n_k = 2, .window = 50, .half_life_ms = 1000};
        struct eval_result got;
        struct err err = ERR_INIT;
        CHECK_OK(eval_run(model, data, data, &eval, &got, &err), err);
        printf("  %s %s: HR@1 %.3f, of popularity %.3f, best epoch %d\n", model_encoder_names[kind],
               loss_names[loss], got.arms[EVAL_ENCODER].hr[0], got.arms[EVAL_POPULAR].hr[0],
               result.best_epoch);
        CHECK_INT(got.targets, 300);
        CHECK_INT(result.n_validation, 300);
        CHECK(got.arms[EVAL_ENCODER].hr[0] > 0.8);
        CHECK(got.arms[EVAL_POPULAR].hr[0] < 0.2);
        CHECK(result.hr10 > 0.8);
        model_free(model);
    }
    train_data_free(data);
}

/* On a ring the next item is known nine times of ten; popularity finds one in ITEMS. */
static void learns_a_ring(void)
{
    check_learns_a_ring(ENCODER_LRU, POSITIONS_ROTARY);
    check_learns_a_ring(ENCODER_GRU, POSITIONS_ROTARY);
    check_learns_a_ring(ENCODER_ATTENTION, POSITIONS_ROTARY);
    check_learns_a_ring(ENCODER_ATTENTION, POSITIONS_LEARNT);
}

/* Users who go round three items of their own: only who looks two steps back knows the next one. Who knows the three but not their
 * order has an MRR of 0.75. (Learnt positions take far more examples to get there than rotary ones.) */
static void attention_learns_a_cycle(void)
{
    enum { USERS = 500, LENGTH = 13, LINE = 16 };
    char *text = mem_zalloc(USERS * LENGTH * LINE), *at = text;
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    for (int u = 0; u < USERS; u++) {
        int first = (int)rng_below(&rng, ITEMS), second = (int)rng_below(&rng, ITEMS);
        int own[3] = {first, (first + 1 + second) % ITEMS, (first + 17) % ITEMS};
        for (int t = 0; t < LENGTH; t++)
            at += snprintf(at, LINE, "%d %d\n", u, own[t % 3]);
    }
    struct train_data *data = support_data(text, LOGFILE_PAIRS, NULL);
    mem_free(text);
    struct train_options options = small_options();
    struct train_result result;
    options.encoder = ENCODER_ATTENTION;
    options.dim = options.hidden = 32;
    options.heads = 2;
    options.max_len = 20;
    options.split.protocol = TRAIN_LEAVE_ONE_OUT;
    struct model *model = support_learn(data, &options, &result);
    printf("  validation HR@10 %.3f, MRR@20 %.3f\n", result.hr10, result.mrr20);
    CHECK(result.mrr20 > 0.9);
    model_free(model);
    train_data_free(data);
}

static void same_twice(void)
{
    struct train_data *data = ring(7);
    struct train_options options = small_options();
    options.epochs = 2;
    struct train_result first, second;
    struct model *a = support_learn(data, &options, &first);
    options.threads = 1;
    struct model *b = support_learn(data, &options, &second);
    CHECK_HEX(model_info(a).id, model_info(b).id);
    CHECK_NEAR(first.ndcg10, second.ndcg10, 0);
    options.seed++;
    struct model *c = support_learn(data, &options, &second);
    CHECK(model_info(a).id != model_info(c).id);
    model_free(a);
    model_free(b);
    model_free(c);
    train_data_free(data);
}

/* The forward pass of training and model_prefill give the same user vectors. */
static void check_forward_is_prefill(enum model_encoder_kind kind)
{
    struct train_data *data = ring(8);
    struct train_options options = small_options();
    options.encoder = kind;
    options.epochs = 2;
    options.blocks = 2;
    options.use_types = options.use_gaps = true;
    struct train_result result;
    struct model *model = support_learn(data, &options, &result);
    struct model_config config = model_shape(model);
    enum { T = 30 };
    static const int start[] = {0, T};
    int32_t items[T], types[T], gaps[T], targets[T] = {0};
    struct model_input inputs[T];
    for (int t = 0; t < T; t++) {
        inputs[t] =
            (struct model_input){t * 7 % ITEMS, t % 6, t == 0 ? 0 : (int64_t)1000 << (t % 20)};
        items[t] = inputs[t].item;
        types[t] = inputs[t].type;
        gaps[t] = model_gap_bucket(inputs[t].gap_ms, config.n_gaps);
    }
    struct train__batch batch = {.n = 1,
                                 .start = start,
                                 .P = T,
                                 .item = items,
                                 .type = types,
                                 .gap = gaps,
                                 .target = targets};
    struct train__encoder *encoder = train__encoder_new(&config);
    const float *x = train__encoder_forward(encoder, model_raw_params(model), &batch, 0, 0);
    struct model_scratch *scratch = model_scratch_new(model);
    float *state = mem_aligned(64, (size_t)model_info(model).S * sizeof(float));
    for (int t = 1; t <= T; t++) {
        model_prefill(model, scratch, t, inputs, state);
        const float *vector = model_state_vector(model, state);
        for (int d = 0; d < config.D; d++)
            CHECK_NEAR(x[(t - 1) * config.D + d], vector[d], 1e-4);
    }
    mem_free(state);
    model_scratch_free(scratch);
    train__encoder_free(encoder);
    model_free(model);
    train_data_free(data);
}

static void forward_is_prefill(void)
{
    check_forward_is_prefill(ENCODER_LRU);
    check_forward_is_prefill(ENCODER_GRU);
    check_forward_is_prefill(ENCODER_ATTENTION);
}

/* Each mask takes its items out of the validation's lists, and no more: whoever walks round a ring meets old items again. */
static void validation_masks(void)
{
    char *text = support_ring(200, 20, 30, 0.3, TEST_SEED());
    struct train_data *data = support_data(text, LOGFILE_PAIRS, NULL);
    mem_free(text);
    struct train_options options = small_options();
    options.split.protocol = TRAIN_LEAVE_ONE_OUT;
    options.epochs = 3;
    options.max_len = 8;
    double hr[EVAL_MASK_HISTORY + 1];
    for (int mask = EVAL_MASK_NONE; mask <= EVAL_MASK_HISTORY; mask++) {
        options.mask = (enum eval_mask)mask;
        struct train_result result;
        model_free(support_learn(data, &options, &result));
        hr[mask] = result.hr10;
        printf("  mask %d: HR@10 %.3f\n", mask, hr[mask]);
    }
    /* 30 steps on 20 items: most targets were met before, fewer of them in the last 8. */
    CHECK(hr[EVAL_MASK_HISTORY] < hr[EVAL_MASK_WINDOW]);
    CHECK(hr[EVAL_MASK_WINDOW] <= hr[EVAL_MASK_CURRENT] + 0.1);
    CHECK(hr[EVAL_MASK_HISTORY] < 0.7 * hr[EVAL_MASK_NONE]);
    train_data_free(data);
}

static bool stop_in_second_epoch(void *context, const struct train_progress *progress)
{
    int *calls = context;
    (*calls)++;
    return progress->epoch < 2;
}

static void stops_when_asked(void)
{
    struct train_data *data = ring(9);
    struct train_options options = small_options();
    struct model *model = NULL;
    struct train_result result;
    struct err err = ERR_INIT;
    int calls = 0;
    CHECK_OK(train_model(data, &options, stop_in_second_epoch, &calls, &model, &result, &err), err);
    CHECK_INT(result.epochs, 2);
    CHECK(calls > 3);
    model_free(model);
    options.dim = 17;
    CHECK_FAIL(train_model(data, &options, NULL, NULL, &model, &result, &err), err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_USAGE);
    options = small_options();
    options.loss = TRAIN_GBCE;
    options.label_smoothing = 0.1;
    CHECK_FAIL(train_model(data, &options, NULL, NULL, &model, &result, &err), err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_USAGE);
    options = small_options();
    options.rate = 1e30;
    options.clip = 0;
    CHECK_FAIL(train_model(data, &options, NULL, NULL, &model, &result, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "no number");
    train_data_free(data);
}

static bool count_calls(void *context, const struct train_progress *progress)
{
    int *calls = context;
    if (!progress->epoch_is_over) (*calls)++;
    return true;
}

/* 30 users of 21 events: 20 positions each, of which the newest 8 may be all that is learnt. */
static void sequences_and_batches(void)
{
    char *text = support_ring(30, ITEMS, 21, 0.1, TEST_SEED());
    struct train_data *data = support_data(text, LOGFILE_PAIRS, NULL);
    mem_free(text);
    struct train_options options = small_options();
    options.max_len = 8;
    options.validation = 0;
    options.epochs = 1;
    static const struct {
        enum train_sequences sequences;
        int batch, batch_users, n_sequences, n_positions, steps;
    } cases[] = {
        {SEQUENCES_ALL, 1, 0, 90, 600, 90},      {SEQUENCES_ALL, 1, 40, 90, 600, 3},
        {SEQUENCES_NEWEST, 80, 0, 30, 240, 3},   {SEQUENCES_NEWEST, 1, 7, 30, 240, 5},
        {SEQUENCES_NEWEST, 1000, 0, 30, 240, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        options.sequences = cases[i].sequences;
        options.batch = cases[i].batch;
        options.batch_users = cases[i].batch_users;
        struct model *model = NULL;
        struct train_result result;
        struct err err = ERR_INIT;
        int steps = 0;
        CHECK_OK(train_model(data, &options, count_calls, &steps, &model, &result, &err), err);
        CHECK_INT(result.n_sequences, cases[i].n_sequences);
        CHECK_INT(result.n_positions, cases[i].n_positions);
        CHECK_INT(steps, cases[i].steps);
        model_free(model);
    }
    train_data_free(data);
}

/* The newest sequence ends where the history does. */
static void newest_is_newest(void)
{
    struct train_data *data = support_data("u a\nu b\nu c\nu d\nu e\n", LOGFILE_PAIRS, NULL);
    struct train_options options = small_options();
    options.sequences = SEQUENCES_NEWEST;
    options.max_len = 2;
    options.validation = 0;
    struct train__plan plan;
    struct err err = ERR_INIT;
    CHECK_OK(train__plan_make(&plan, data, &options, &err), err);
    CHECK_INT(plan.n_sequences, 1);
    CHECK_INT(plan.sequences[0].begin, 2);
    CHECK_INT(plan.sequences[0].end, 5);
    train__plan_free(&plan);
    train_data_free(data);
}

/* Users of one event, ids with any bytes, one item only: no crash, a model. */
static void odd_data(void)
{
    struct train_data *data =
        support_data("u \xC3\xA9!#\nw x\nu \xC3\xA9!#\nv x\n", LOGFILE_PAIRS, NULL);
    struct train_options options = small_options();
    struct train_result result;
    struct model *model = support_learn(data, &options, &result);
    CHECK_INT(model_info(model).N, 2);
    CHECK_INT(result.n_positions, 1);
    CHECK_INT(result.n_validation, 0);
    options.loss = TRAIN_SAMPLED;
    model_free(model);
    model = support_learn(data, &options, &result);
    model_free(model);
    train_data_free(data);
    data = support_data("u x\nu x\n", LOGFILE_PAIRS, NULL);
    for (int loss = TRAIN_FULL; loss <= TRAIN_GBCE; loss++) {
        options.loss = (enum train_loss)loss;
        model = support_learn(data, &options, &result);
        CHECK_INT(model_info(model).N, 1);
        model_free(model);
    }
    train_data_free(data);
}

int main(void)
{
    CASE(learns_a_ring);
    CASE(attention_learns_a_cycle);
    CASE(same_twice);
    CASE(forward_is_prefill);
    CASE(validation_masks);
    CASE(stops_when_asked);
    CASE(sequences_and_batches);
    CASE(newest_is_newest);
    CASE(odd_data);
    return 0;
}
