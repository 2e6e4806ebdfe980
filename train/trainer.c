/* Epochs: batches in random order, gradients by two workers, AdamW, validation, early stop, checkpoints. */
#include "train/train.h"

#include <assert.h>
#include <cblas.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sync.h"
#include "schemas/schemas.h"
#include "train/adamw.h"
#include "train/checkpoint.h"
#include "train/plan.h"
#include "train/worker.h"

/* A batch is always cut into as many parts, whatever the number of threads, so that the result does not depend on it. */
enum { PARTS = 2, SETTINGS_MAX = 1 << 16 };
/* Floats: a step over fewer takes less time than the start of a thread. */
enum { SMALL_MODEL = 1 << 16 };

/* What the parts of a batch, and then of the parameters, go through. */
enum work { WORK_LEARN, WORK_RANK, WORK_MERGE, WORK_STEP, WORK_MIX };

struct part {
    struct train__worker worker;
    int index;
    /* The order to a thread. */
    enum work work;
    struct trainer *trainer;
    const struct train__span *spans;
    int n;
    float scale;
    uint64_t seed;
    int32_t *ranks; /* RANK: written */
    double squares; /* MERGE: of the gradient, written */
};

/* How far a run has come; stored in checkpoints as it is. */
struct state {
    struct rng rng; /* of the order of sequences, and of the seeds of the workers */
    uint64_t positions_done;
    double best;              /* quality of the best epoch */
    double epoch_loss;        /* of the epoch under way: summed over its positions */
    double epoch_seconds;     /* before its newest start */
    uint64_t epoch_positions; /* done */
    int32_t epoch;            /* under way, from 1 */
    int32_t next;             /* its next sequence in the order; 0: not shuffled yet */
    int32_t best_epoch;       /* 0: none */
    int32_t unused;
};

struct trainer {
    const struct train_options *options;
    struct train__plan plan;
    struct model_config config;
    struct train__adamw adamw;
    struct part parts[PARTS];
    struct state state;
    float *params, *best;
    /* What encoder and losses see (content.h): params where no item has content. With a sparse loss only when an epoch is judged:
     * what is learnt from the workers mix themselves. */
    float *seen;
    int32_t *order;              /* (n_sequences) shuffled */
    struct train__span *batch;   /* (n_sequences) room for the spans of one step */
    struct train_epoch *history; /* (epochs) */
    struct train_progress progress;
    bool (*report)(void *context, const struct train_progress *progress);
    void *context;
    uint64_t started_ns; /* the epoch, or the run when it began inside one */
    uint64_t saved_ns;   /* the newest checkpoint */
    struct buf settings; /* what the checkpoint must agree with */
};

struct train_options train_options_default(void)
{
    return (struct train_options){
        .dim = 64,
        .hidden = 128,
        .heads = 2,
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
        .gbce_t = 0.75,
        .max_len = 200,
        .min_item_count = 1,
        .validation = -1,
        .mask = EVAL_MASK_NONE,
        .watch = WATCH_NDCG10,
        .threads = 2,
        .seed = 1,
        .tenant = "",
        .version = "",
        .checkpoint_minutes = 5,
    };
}

/* ---- one batch ---- */

static void run_part(void *context)
{
    struct part *part = context;
    struct trainer *t = part->trainer;
    struct train__worker *first = &t->parts[0].worker, *second = &t->parts[1].worker;
    const struct train__adamw_share share = {part->index, PARTS};
    switch (part->work) {
    case WORK_LEARN:
        train__worker_run(&part->worker, part->worker.seen ? t->params : t->seen, part->spans,
                          part->n, part->scale, part->seed);
        break;
    case WORK_RANK:
        (void)train__worker_ranks(&part->worker, t->seen, part->spans, part->n, part->ranks);
        break;
    case WORK_MERGE:
        part->squares =
            train__adamw_merge(&t->adamw, first->grads, second->grads, first->touched, share);
        break;
    case WORK_STEP:
        train__adamw_step(&t->adamw, t->params, first->grads, first->touched, share);
        break;
    case WORK_MIX:
        train__content_mix(&t->plan.content, &t->config, t->params, t->seen, share);
        break;
    }
}

/* Runs all parts, on a thread each when there are two and the work is worth one. */
static bool run_parts(struct trainer *t, enum work work, struct err *err)
{
    struct thread thread;
    bool is_small = work >= WORK_MERGE && model_params_floats(&t->config) < SMALL_MODEL;
    bool is_parallel = t->options->threads > 1 && !is_small;
    for (int p = 0; p < PARTS; p++)
        t->parts[p].work = work;
    if (is_parallel && !thread_start(&thread, "train", run_part, &t->parts[1], err)) return false;
    run_part(&t->parts[0]);
    if (is_parallel) {
        thread_join(&thread);
    } else {
        run_part(&t->parts[1]);
    }
    return true;
}

/* Brings t->seen up to date. */
static bool mix(struct trainer *t, struct err *err)
{
    return t->seen == t->params || run_parts(t, WORK_MIX, err);
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

static double rate_now(const struct trainer *t)
{
    return rate_at(t->options, (double)t->state.positions_done / (double)t->progress.to_come);
}

/* One step over the first n spans of t->batch. */
static bool step(struct trainer *t, int n, struct err *err)
{
    uint64_t P = share_out(t, t->batch, n);
    for (int p = 0; p < PARTS; p++) {
        t->parts[p].scale = (float)(1.0 / (double)P);
        t->parts[p].seed = rng_u64(&t->state.rng);
    }
    if (!run_parts(t, WORK_LEARN, err)) return false;
    struct train__worker *first = &t->parts[0].worker, *second = &t->parts[1].worker;
    if (first->kind->is_sparse) {
        for (int i = 0; i < t->plan.N; i++)
            first->touched[i] |= second->touched[i];
    }
    if (!run_parts(t, WORK_MERGE, err)) return false;
    train__adamw_begin(&t->adamw, t->parts[0].squares + t->parts[1].squares, rate_now(t),
                       t->options->weight_decay, t->options->clip);
    if (!run_parts(t, WORK_STEP, err)) return false;
    if (!first->seen && !mix(t, err)) return false;
    if (first->kind->is_sparse) {
        memset(first->touched, 0, (size_t)t->plan.N);
        memset(second->touched, 0, (size_t)t->plan.N);
    }
    t->state.positions_done += P;
    t->state.epoch_positions += P;
    t->state.epoch_loss += first->sum + second->sum;
    return true;
}

/* ---- validation ---- */

/* The metrics of *epoch written, which were 0. */
static bool validate(struct trainer *t, struct train_epoch *epoch, struct err *err)
{
    int n = t->plan.n_held_targets;
    if (n == 0) return true;
    if (!mix(t, err)) return false;
    int32_t *ranks = mem_alloc((size_t)n * sizeof *ranks);
    (void)share_out(t, t->plan.held_out, t->plan.n_held_out);
    t->parts[0].ranks = t->parts[1].ranks = ranks;
    for (int i = 0; i < t->parts[0].n; i++)
        t->parts[1].ranks += t->parts[0].spans[i].tail;
    bool ok = run_parts(t, WORK_RANK, err);
    for (int i = 0; i < n && ok; i++) {
        if (ranks[i] <= 10) epoch->hr10 += 1.0 / n;
        if (ranks[i] <= 10) epoch->ndcg10 += 1 / log2(ranks[i] + 1.0) / n;
        if (ranks[i] <= 20) epoch->mrr20 += 1.0 / ranks[i] / n;
    }
    mem_free(ranks);
    return ok;
}

/* ---- checkpoints ---- */

enum { PIECES = 8 };

/* All that the rest of a run depends on, and that its files tell of. */
static int pieces_of(struct trainer *t, struct train__piece pieces[PIECES])
{
    size_t block = model_params_floats(&t->config) * sizeof(float);
    const struct train__piece all[] = {
        {&t->state, sizeof t->state},
        {&t->adamw.steps, sizeof t->adamw.steps},
        {t->history, (size_t)t->options->epochs * sizeof *t->history},
        {t->order, (size_t)t->plan.n_sequences * sizeof *t->order},
        {t->params, block},
        {t->best, block},
        {t->adamw.mean, block},
        {t->adamw.square, block},
    };
    memcpy(pieces, all, sizeof all);
    return (int)(sizeof all / sizeof all[0]);
}

static double seconds_since(uint64_t start_ns)
{
    return (double)(clock_mono_ns() - start_ns) / 1e9;
}

/* At the end of a step or an epoch. One that cannot be written must not end the work of hours. */
static void save_checkpoint(struct trainer *t)
{
    struct train__piece pieces[PIECES];
    struct err err = ERR_INIT;
    if (t->options->checkpoint == NULL) return;
    double earlier = t->state.epoch_seconds;
    t->state.epoch_seconds += seconds_since(t->started_ns);
    struct str settings = {(const char *)t->settings.data, t->settings.len};
    if (!train__checkpoint_write(t->options->checkpoint, settings, pieces, pieces_of(t, pieces),
                                 &err))
        log_warn("train", "checkpoint not written", "why=\"%s\"", err.text);
    t->state.epoch_seconds = earlier;
    t->saved_ns = clock_mono_ns();
}

/* Is what was read a state that a run can be in? */
static bool state_is_sound(const struct trainer *t)
{
    const struct state *s = &t->state;
    int n = t->plan.n_sequences;
    if (s->epoch < 1 || s->epoch > t->options->epochs + 1 || s->next < 0 || s->next > n ||
        s->best_epoch < 0 || s->best_epoch >= s->epoch)
        return false;
    bool *seen = mem_zalloc((size_t)n);
    bool ok = true;
    for (int i = 0; i < n && ok; i++) {
        ok = t->order[i] >= 0 && t->order[i] < n && !seen[t->order[i]];
        if (ok) seen[t->order[i]] = true;
    }
    mem_free(seen);
    return ok;
}

static bool load_checkpoint(struct trainer *t, struct err *err)
{
    struct train__piece pieces[PIECES];
    const char *path = t->options->checkpoint;
    if (path == NULL || !t->options->resume || access(path, F_OK) != 0) return true;
    struct str settings = {(const char *)t->settings.data, t->settings.len};
    if (!train__checkpoint_read(path, settings, pieces, pieces_of(t, pieces), err)) return false;
    if (!state_is_sound(t))
        return err_fatal(err, ERR_EXIT_USAGE, "%s holds a state that no run can be in", path);
    t->progress.positions = t->progress.resumed = t->state.positions_done;
    t->progress.n_history = t->state.epoch - 1;
    t->progress.best_epoch = t->state.best_epoch;
    return true;
}

/* ---- epochs ---- */

static void shuffle(struct trainer *t)
{
    for (int i = t->plan.n_sequences - 1; i > 0; i--) {
        int j = (int)rng_below(&t->state.rng, (uint64_t)i + 1);
        int32_t index = t->order[i];
        t->order[i] = t->order[j];
        t->order[j] = index;
    }
}

/* Puts the sequences from the state's next on into t->batch: whole ones, as many as have at least options->batch positions, or
 * options->batch_users. Returns how many. */
static int next_batch(struct trainer *t)
{
    const struct train_options *o = t->options;
    uint64_t positions = 0;
    int n = 0;
    for (int i = t->state.next; i < t->plan.n_sequences; i++, n++) {
        if (o->batch_users ? n >= o->batch_users : positions >= (uint64_t)o->batch) break;
        t->batch[n] = t->plan.sequences[t->order[i]];
        positions += t->batch[n].end - t->batch[n].begin - 1;
    }
    return n;
}

/* The rest of the epoch under way. *go_on: false when the caller wants to stop. */
static bool run_epoch(struct trainer *t, bool *go_on, struct err *err)
{
    struct state *s = &t->state;
    struct train_progress *p = &t->progress;
    p->epoch = s->epoch;
    p->epoch_is_over = false;
    if (s->next == 0) shuffle(t);
    while (s->next < t->plan.n_sequences && *go_on) {
        int n = next_batch(t);
        if (!step(t, n, err)) return false;
        s->next += n;
        p->loss = s->epoch_loss / (double)s->epoch_positions;
        p->positions = s->positions_done;
        if (!isfinite(p->loss))
            return err_fatal(err, ERR_EXIT_INTERNAL,
                             "the loss is no number any more (epoch %d); try a smaller --lr",
                             p->epoch);
        if (t->report) *go_on = t->report(t->context, p);
        if (seconds_since(t->saved_ns) >= 60 * t->options->checkpoint_minutes) save_checkpoint(t);
    }
    return true;
}

/* What an epoch is judged by: the validation, or the loss when nothing is held out. Larger is better. */
static double quality(const struct trainer *t, const struct train_epoch *epoch)
{
    if (t->plan.n_held_targets == 0) return -epoch->loss;
    const double watched[] = {
        [WATCH_HR10] = epoch->hr10, [WATCH_NDCG10] = epoch->ndcg10, [WATCH_MRR20] = epoch->mrr20};
    return watched[t->options->watch] + 1e-3 * epoch->mrr20;
}

/* Judges the epoch whose steps are done; afterwards the next one is under way. */
static bool end_epoch(struct trainer *t, struct err *err)
{
    struct state *s = &t->state;
    struct train_epoch *epoch = &t->history[s->epoch - 1];
    *epoch = (struct train_epoch){.loss = s->epoch_loss / (double)s->epoch_positions,
                                  .rate = rate_now(t),
                                  .positions = s->epoch_positions};
    if (!validate(t, epoch, err)) return false;
    epoch->seconds = s->epoch_seconds + seconds_since(t->started_ns);
    double now = quality(t, epoch);
    t->progress.is_best = now > s->best;
    if (t->progress.is_best) {
        s->best = now;
        s->best_epoch = s->epoch;
        memcpy(t->best, t->params, model_params_floats(&t->config) * sizeof(float));
    }
    t->progress.epoch_is_over = true;
    t->progress.n_history = s->epoch;
    t->progress.best_epoch = s->best_epoch;
    s->epoch++;
    s->next = 0;
    s->epoch_loss = s->epoch_seconds = 0;
    s->epoch_positions = 0;
    t->started_ns = clock_mono_ns();
    return true;
}

/* Early on a model that only repeats the newest item may look good for a while: the first quarter is always run. */
static bool is_over(const struct trainer *t)
{
    int epochs = t->options->epochs, done = t->state.epoch - 1;
    int since = t->state.best_epoch > epochs / 4 ? t->state.best_epoch : epochs / 4;
    return done >= epochs || done - since >= t->options->patience;
}

static bool run_epochs(struct trainer *t, struct err *err)
{
    bool go_on = true;
    t->started_ns = t->saved_ns = clock_mono_ns();
    while (go_on && !is_over(t)) {
        if (!run_epoch(t, &go_on, err) || !end_epoch(t, err)) return false;
        if (t->report && !t->report(t->context, &t->progress)) go_on = false;
        /* After the report, so that what the caller makes of an epoch is never missing behind a resume. */
        save_checkpoint(t);
    }
    return true;
}

/* ---- the whole ---- */

static struct model_config config_of(const struct train_options *options, int N, int n_content)
{
    bool is_attention = options->encoder == ENCODER_ATTENTION;
    return (struct model_config){
        .N = N,
        .D = options->dim,
        .H = options->hidden,
        .L = options->blocks,
        .F = options->feed,
        .n_types = options->use_types ? EVENT_TYPE_COUNT : 0,
        .n_gaps = options->use_gaps ? 24 : 0,
        .n_content = n_content,
        .encoder = options->encoder,
        .heads = is_attention ? options->heads : 0,
        .positions = is_attention && options->positions == POSITIONS_LEARNT ? options->max_len : 0,
        .window = is_attention ? options->max_len : 0,
        .rotary = is_attention && options->positions == POSITIONS_ROTARY,
    };
}

static void trainer_init(struct trainer *t)
{
    const struct train_options *options = t->options;
    size_t floats = model_params_floats(&t->config);
    t->state = (struct state){.best = -(double)INFINITY, .epoch = 1};
    rng_init(&t->state.rng, options->seed);
    train__adamw_init(&t->adamw, &t->config);
    t->params = mem_aligned(64, floats * sizeof(float));
    t->best = mem_aligned(64, floats * sizeof(float));
    t->seen = t->config.n_content ? mem_aligned(64, floats * sizeof(float)) : t->params;
    model_params_init(&t->config, options->seed, t->params);
    for (int p = 0; p < PARTS; p++) {
        t->parts[p].trainer = t;
        t->parts[p].index = p;
        train__worker_init(&t->parts[p].worker, &t->config, &t->plan, options);
    }
    size_t n = (size_t)t->plan.n_sequences;
    t->order = mem_alloc(n * sizeof *t->order);
    for (size_t i = 0; i < n; i++)
        t->order[i] = (int32_t)i;
    t->batch = mem_alloc(n * sizeof *t->batch);
    t->history = mem_zalloc((size_t)options->epochs * sizeof *t->history);
    t->progress = (struct train_progress){
        .epochs = options->epochs,
        .to_come = t->plan.n_positions * (uint64_t)options->epochs,
        .history = t->history,
    };
    buf_init(&t->settings, SETTINGS_MAX);
    if (options->checkpoint) train__settings(options, &t->plan, &t->settings);
}

static void trainer_fini(struct trainer *t)
{
    for (int p = 0; p < PARTS; p++)
        train__worker_fini(&t->parts[p].worker);
    train__adamw_fini(&t->adamw);
    if (t->seen != t->params) mem_free(t->seen);
    mem_free(t->params);
    mem_free(t->best);
    mem_free(t->order);
    mem_free(t->batch);
    mem_free(t->history);
    buf_fini(&t->settings);
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

/* Of the best epoch. */
static bool make_model(struct trainer *t, struct model **model, struct err *err)
{
    const struct train__adamw_share whole = {0, 1};
    clear_padding(&t->adamw, t->best);
    struct model_parts parts = {.config = t->config,
                                .params = t->best,
                                .item_ids = t->plan.ids,
                                .content = t->plan.content.names,
                                .feature_start = t->plan.content.start,
                                .features = t->plan.content.feature,
                                .tenant = t->options->tenant,
                                .version = t->options->version};
    if (t->seen != t->params) {
        size_t items = model_param_offset(&t->config, MODEL_ITEM_EMBEDDING, 0);
        train__content_mix(&t->plan.content, &t->config, t->best, t->seen, whole);
        memcpy(t->best + items, t->seen + items,
               (size_t)t->config.N * (size_t)t->config.D * sizeof(float));
    }
    return model_from_params(model, &parts, err);
}

static void tell_result(const struct trainer *t, struct train_result *result)
{
    *result = (struct train_result){
        .n_items = t->plan.N,
        .n_content = t->plan.content.n,
        .n_sequences = t->plan.n_sequences,
        .n_positions = t->plan.n_positions,
        .n_validation = t->plan.n_held_targets,
        .epochs = t->state.epoch - 1,
        .best_epoch = t->state.best_epoch,
    };
    if (t->state.best_epoch == 0) return;
    const struct train_epoch *best = &t->history[t->state.best_epoch - 1];
    result->loss = best->loss;
    result->hr10 = best->hr10;
    result->ndcg10 = best->ndcg10;
    result->mrr20 = best->mrr20;
}

bool train_model(const struct train_data *data, const struct train_options *options,
                 bool (*progress)(void *context, const struct train_progress *progress),
                 void *context, struct model **model, struct train_result *result, struct err *err)
{
    assert(options->epochs >= 1 && options->batch >= 1 && options->max_len >= 1);
    struct model_config shape = config_of(options, 1, 0);
    const char *wrong = model_config_check(&shape);
    if (wrong) return err_fatal(err, ERR_EXIT_USAGE, "the shape of the model: %s", wrong);
    if (options->loss == TRAIN_GBCE && options->label_smoothing > 0)
        return err_fatal(err, ERR_EXIT_USAGE,
                         "label smoothing is for the softmax losses, not for gbce");
    struct trainer t = {.options = options, .report = progress, .context = context};
    if (!train__plan_make(&t.plan, data, options, err)) return false;
    openblas_set_num_threads(1);
    t.config = config_of(options, t.plan.N, t.plan.content.n);
    trainer_init(&t);
    bool ok = load_checkpoint(&t, err) && mix(&t, err) && run_epochs(&t, err);
    *result = (struct train_result){0};
    if (ok) {
        tell_result(&t, result);
        ok = make_model(&t, model, err);
    }
    trainer_fini(&t);
    train__plan_free(&t.plan);
    return ok;
}

/* OpenBLAS calls it before a fork; its headers do not have it. */
int blas_thread_shutdown_(void);

void train_threads_end(void)
{
    (void)blas_thread_shutdown_();
}
