/* Epochs: batches in random order, gradients by two workers, AdamW, validation, early stop. */
#include "train/train.h"

#include <assert.h>
#include <cblas.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/sync.h"
#include "schemas/schemas.h"
#include "train/adamw.h"
#include "train/plan.h"
#include "train/worker.h"

/* A batch is always cut into as many parts, whatever the number of threads, so that the result does not depend on it. */
enum { PARTS = 2 };

struct part {
    struct train__worker worker;
    /* The order to a thread. */
    struct trainer *trainer;
    const struct train__span *spans;
    int n;
    float scale;
    uint64_t seed;
    int32_t *ranks; /* NULL: learn; else write ranks here */
};

struct trainer {
    const struct train_options *options;
    struct train__plan plan;
    struct model_config config;
    struct train__adamw adamw;
    struct part parts[PARTS];
    struct rng rng;
    float *params, *best;
    struct train__span *order; /* (n_sequences) shuffled */
    uint64_t positions_done;
    struct train_progress progress;
};

struct train_options train_options_default(void)
{
    return (struct train_options){
        .dim = 64,
        .hidden = 128,
        .feed = 256,
        .blocks = 2,
        .epochs = 20,
        .patience = 5,
        .batch = 512,
        .rate = 1e-3,
        .schedule = SCHEDULE_COSINE,
        .warmup = 0.05,
        .min_rate = 0.1,
        .dropout = 0.2,
        .weight_decay = 0.01,
        .clip = 5,
        .loss = TRAIN_FULL,
        .negatives = 1024,
        .max_len = 200,
        .min_item_count = 1,
        .validation = -1,
        .mask = EVAL_MASK_NONE,
        .watch = WATCH_NDCG10,
        .threads = 2,
        .seed = 1,
        .tenant = "",
        .version = "lru",
    };
}

/* ---- one batch ---- */

static void run_part(void *context)
{
    struct part *part = context;
    const float *params = part->trainer->params;
    if (part->ranks) {
        (void)train__worker_ranks(&part->worker, params, part->spans, part->n, part->ranks);
    } else {
        train__worker_run(&part->worker, params, part->spans, part->n, part->scale, part->seed);
    }
}

/* Runs all parts, on a thread each when there are two. */
static bool run_parts(struct trainer *t, struct err *err)
{
    struct thread thread;
    bool is_parallel = t->options->threads > 1;
    if (is_parallel && !thread_start(&thread, "train", run_part, &t->parts[1], err)) return false;
    run_part(&t->parts[0]);
    if (is_parallel) {
        thread_join(&thread);
    } else {
        run_part(&t->parts[1]);
    }
    return true;
}

/* Cuts spans into two parts of about as many positions; returns the positions of both. */
static uint64_t share_out(struct trainer *t, const struct train__span *spans, int n)
{
    uint64_t total = 0, first = 0;
    for (int i = 0; i < n; i++)
        total += spans[i].end - spans[i].begin - 1;
    int cut = 0;
    while (cut < n && 2 * first < total) {
        first += spans[cut].end - spans[cut].begin - 1;
        cut++;
    }
    t->parts[0].spans = spans;
    t->parts[0].n = cut;
    t->parts[1].spans = spans + cut;
    t->parts[1].n = n - cut;
    return total;
}

/* Linear warm-up, then down to min_rate as the schedule says. along: positions done of those to come, 0..1. */
static double rate_at(const struct train_options *options, double along)
{
    double warm = options->warmup, low = options->min_rate;
    if (along < warm) return options->rate * (0.02 + 0.98 * along / warm);
    double rest = (along - warm) / (1 - warm);
    double share = 1;
    if (options->schedule == SCHEDULE_COSINE) share = 0.5 * (1 + cos(3.14159265358979 * rest));
    if (options->schedule == SCHEDULE_LINEAR) share = 1 - rest;
    return options->rate * (low + (1 - low) * share);
}

/* One step; the loss summed over positions is added to *loss, the positions to *positions. */
static bool step(struct trainer *t, const struct train__span *spans, int n, double *loss,
                 uint64_t *positions, struct err *err)
{
    uint64_t P = share_out(t, spans, n);
    double along = (double)t->positions_done / (double)t->progress.to_come;
    for (int p = 0; p < PARTS; p++) {
        t->parts[p].scale = (float)(1.0 / (double)P);
        t->parts[p].seed = rng_u64(&t->rng);
        t->parts[p].ranks = NULL;
    }
    if (!run_parts(t, err)) return false;
    struct train__worker *first = &t->parts[0].worker, *second = &t->parts[1].worker;
    if (t->options->loss == TRAIN_SAMPLED) {
        for (int i = 0; i < t->plan.N; i++)
            first->touched[i] |= second->touched[i];
    }
    train__adamw_merge(&t->adamw, first->grads, second->grads, first->touched);
    train__adamw_step(&t->adamw, t->params, first->grads, first->touched,
                      rate_at(t->options, along), t->options->weight_decay, t->options->clip);
    t->positions_done += P;
    if (t->options->loss == TRAIN_SAMPLED) {
        memset(first->touched, 0, (size_t)t->plan.N);
        memset(second->touched, 0, (size_t)t->plan.N);
    }
    *loss += first->sum + second->sum;
    *positions += P;
    return true;
}

/* ---- validation ---- */

static bool validate(struct trainer *t, struct err *err)
{
    int n = t->plan.n_held_targets;
    struct train_progress *p = &t->progress;
    p->hr10 = p->ndcg10 = p->mrr20 = 0;
    if (n == 0) return true;
    int32_t *ranks = mem_alloc((size_t)n * sizeof *ranks);
    (void)share_out(t, t->plan.held_out, t->plan.n_held_out);
    t->parts[0].ranks = t->parts[1].ranks = ranks;
    for (int i = 0; i < t->parts[0].n; i++)
        t->parts[1].ranks += t->parts[0].spans[i].tail;
    bool ok = run_parts(t, err);
    for (int i = 0; i < n && ok; i++) {
        if (ranks[i] <= 10) p->hr10 += 1.0 / n;
        if (ranks[i] <= 10) p->ndcg10 += 1 / log2(ranks[i] + 1.0) / n;
        if (ranks[i] <= 20) p->mrr20 += 1.0 / ranks[i] / n;
    }
    mem_free(ranks);
    return ok;
}

/* ---- epochs ---- */

static void shuffle(struct trainer *t)
{
    for (int i = t->plan.n_sequences - 1; i > 0; i--) {
        int j = (int)rng_below(&t->rng, (uint64_t)i + 1);
        struct train__span span = t->order[i];
        t->order[i] = t->order[j];
        t->order[j] = span;
    }
}

/* How many sequences from `first` on make a batch: whole ones, as many as have at least options->batch positions. */
static int batch_at(const struct trainer *t, int first)
{
    uint64_t positions = 0;
    int n = 0;
    while (first + n < t->plan.n_sequences && positions < (uint64_t)t->options->batch) {
        positions += t->order[first + n].end - t->order[first + n].begin - 1;
        n++;
    }
    return n;
}

/* *go_on: false when the caller wants to stop. */
static bool run_epoch(struct trainer *t, bool (*report)(void *, const struct train_progress *),
                      void *context, bool *go_on, struct err *err)
{
    struct train_progress *p = &t->progress;
    double loss = 0;
    uint64_t positions = 0;
    shuffle(t);
    p->epoch_is_over = false;
    for (int first = 0; first < t->plan.n_sequences && *go_on;) {
        int n = batch_at(t, first);
        if (!step(t, t->order + first, n, &loss, &positions, err)) return false;
        first += n;
        p->loss = loss / (double)positions;
        p->positions = t->positions_done;
        if (!isfinite(p->loss))
            return err_fatal(err, ERR_EXIT_INTERNAL,
                             "the loss is no number any more (epoch %d); try a smaller --lr",
                             p->epoch);
        if (report) *go_on = report(context, p);
    }
    return true;
}

/* What an epoch is judged by: the validation, or the loss when nothing is held out. Larger is better. */
static double quality(const struct trainer *t)
{
    const struct train_progress *p = &t->progress;
    if (t->plan.n_held_targets == 0) return -p->loss;
    const double watched[] = {
        [WATCH_HR10] = p->hr10, [WATCH_NDCG10] = p->ndcg10, [WATCH_MRR20] = p->mrr20};
    return watched[t->options->watch] + 1e-3 * p->mrr20;
}

static bool run_epochs(struct trainer *t, bool (*report)(void *, const struct train_progress *),
                       void *context, struct train_result *result, struct err *err)
{
    struct train_progress *p = &t->progress;
    double best = -(double)INFINITY;
    bool go_on = true;
    size_t bytes = model_params_floats(&t->config) * sizeof(float);
    for (p->epoch = 1; p->epoch <= t->options->epochs && go_on; p->epoch++) {
        if (!run_epoch(t, report, context, &go_on, err) || !validate(t, err)) return false;
        double now = quality(t);
        p->epoch_is_over = true;
        p->is_best = now > best;
        result->epochs = p->epoch;
        if (p->is_best) {
            best = now;
            memcpy(t->best, t->params, bytes);
            result->best_epoch = p->epoch;
            result->loss = p->loss;
            result->hr10 = p->hr10;
            result->ndcg10 = p->ndcg10;
            result->mrr20 = p->mrr20;
        }
        if (report && !report(context, p)) go_on = false;
        /* Early on a model that only repeats the newest item may look good for a while: the first quarter is always run. */
        int since = result->best_epoch > p->epochs / 4 ? result->best_epoch : p->epochs / 4;
        if (p->epoch - since >= t->options->patience) go_on = false;
    }
    return true;
}

/* ---- the whole ---- */

static struct model_config config_of(const struct train_options *options, int N)
{
    return (struct model_config){
        .N = N,
        .D = options->dim,
        .H = options->hidden,
        .L = options->blocks,
        .F = options->feed,
        .n_types = options->use_types ? EVENT_TYPE_COUNT : 0,
        .n_gaps = options->use_gaps ? 24 : 0,
        .encoder = options->encoder,
    };
}

static void trainer_init(struct trainer *t)
{
    const struct train_options *options = t->options;
    size_t floats = model_params_floats(&t->config);
    rng_init(&t->rng, options->seed);
    train__adamw_init(&t->adamw, &t->config);
    t->params = mem_aligned(64, floats * sizeof(float));
    t->best = mem_aligned(64, floats * sizeof(float));
    model_params_init(&t->config, options->seed, t->params);
    for (int p = 0; p < PARTS; p++) {
        t->parts[p].trainer = t;
        train__worker_init(&t->parts[p].worker, &t->config, &t->plan, options);
    }
    size_t n = (size_t)t->plan.n_sequences;
    t->order = mem_alloc(n * sizeof *t->order);
    memcpy(t->order, t->plan.sequences, n * sizeof *t->order);
    t->progress = (struct train_progress){
        .epochs = options->epochs,
        .to_come = t->plan.n_positions * (uint64_t)options->epochs,
    };
}

static void trainer_fini(struct trainer *t)
{
    for (int p = 0; p < PARTS; p++)
        train__worker_fini(&t->parts[p].worker);
    train__adamw_fini(&t->adamw);
    mem_free(t->params);
    mem_free(t->best);
    mem_free(t->order);
}

/* What training left in the padding behind a tensor is no part of the model. */
static void clear_padding(const struct train__adamw *adamw, float *params)
{
    for (int i = 0; i < adamw->n; i++) {
        const struct model_param *param = &adamw->table[i];
        for (size_t j = param->count; j % 16 != 0; j++)
            params[param->offset + j] = 0.0f;
    }
}

bool train_model(const struct train_data *data, const struct train_options *options,
                 bool (*progress)(void *context, const struct train_progress *progress),
                 void *context, struct model **model, struct train_result *result, struct err *err)
{
    assert(options->epochs >= 1 && options->batch >= 1 && options->max_len >= 1);
    struct model_config shape = config_of(options, 1);
    const char *wrong = model_config_check(&shape);
    if (wrong) return err_fatal(err, ERR_EXIT_USAGE, "the shape of the model: %s", wrong);
    struct trainer t = {.options = options};
    *result = (struct train_result){0};
    if (!train__plan_make(&t.plan, data, options, err)) return false;
    openblas_set_num_threads(1);
    t.config = config_of(options, t.plan.N);
    trainer_init(&t);
    result->n_items = t.plan.N;
    result->n_sequences = t.plan.n_sequences;
    result->n_positions = t.plan.n_positions;
    result->n_validation = t.plan.n_held_targets;
    bool ok = run_epochs(&t, progress, context, result, err);
    if (ok) {
        clear_padding(&t.adamw, t.best);
        struct model_parts parts = {.config = t.config,
                                    .params = t.best,
                                    .item_ids = t.plan.ids,
                                    .tenant = options->tenant,
                                    .version = options->version};
        ok = model_from_params(model, &parts, err);
    }
    trainer_fini(&t);
    train__plan_free(&t.plan);
    return ok;
}
