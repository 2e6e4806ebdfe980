/* One thread's share of a batch. */
#include "train/worker.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

static const size_t LOGITS_BYTES = 64 << 20;

void train__worker_init(struct train__worker *worker, const struct model_config *config,
                        const struct train__plan *plan, const struct train_options *options)
{
    *worker = (struct train__worker){.config = config, .plan = plan, .options = options};
    struct train__worker *w = worker;
    w->encoder = train__encoder_new(config);
    w->loss = train__loss_new(LOGITS_BYTES);
    w->grads = mem_aligned(64, model_params_floats(config) * sizeof(float));
    w->touched = mem_zalloc((size_t)plan->N);
    w->kind = &train__loss_kinds[options->loss];
    if (!w->kind->is_sparse) memset(w->touched, 1, (size_t)plan->N);
    w->positions_max = w->kind->positions;
    if (w->positions_max < options->max_len) w->positions_max = options->max_len;
    if (w->kind->is_sparse && plan->content.n > 0) {
        w->seen = mem_aligned(64, model_params_floats(config) * sizeof(float));
        w->seen_at = mem_zalloc((size_t)plan->N * sizeof *w->seen_at);
    }
    size_t P = (size_t)w->positions_max;
    w->start = mem_alloc((P + 1) * sizeof(int));
    w->columns = mem_alloc(4 * P * sizeof(int32_t));
    w->batch = (struct train__batch){.start = w->start,
                                     .item = w->columns,
                                     .type = w->columns + P,
                                     .gap = w->columns + 2 * P,
                                     .target = w->columns + 3 * P};
    w->dx = mem_aligned(64, P * (size_t)config->D * sizeof(float));
    w->masked = mem_alloc(P * sizeof *w->masked);
    if (w->kind->init) w->kind->init(w);
}

void train__worker_fini(struct train__worker *worker)
{
    struct train__worker *w = worker;
    train__encoder_free(w->encoder);
    train__loss_free(w->loss);
    void *const arrays[] = {w->grads,  w->touched, w->start,  w->columns, w->dx,   w->candidate,
                            w->target, w->place,   w->weight, w->dweight, w->bias, w->boost,
                            w->dbias,  w->masked,  w->spread, w->logit,   w->seen, w->seen_at};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++)
        mem_free(arrays[i]);
}

/* ---- micro-batches ---- */

/* Adds a span's inputs [begin, end - 1) and targets. */
static void push_span(struct train__worker *w, struct train__span span)
{
    struct train__batch *b = &w->batch;
    for (size_t e = span.begin; e + 1 < span.end; e++) {
        const struct train_event *event = &w->plan->events[e];
        int p = b->P++;
        b->item[p] = event->item;
        b->type[p] = event->type;
        b->gap[p] = e > span.begin && w->config->n_gaps
                        ? model_gap_bucket(event->time_ms, w->config->n_gaps)
                        : 0;
        b->target[p] = w->plan->events[e + 1].item;
    }
    w->start[++b->n] = b->P;
}

/* Takes spans from *at on while they fit; at least one. */
static void fill(struct train__worker *w, const struct train__span *spans, int n, int *at)
{
    w->batch.n = 0;
    w->batch.P = 0;
    w->start[0] = 0;
    while (*at < n) {
        int inputs = (int)(spans[*at].end - spans[*at].begin) - 1;
        if (w->batch.P > 0 && w->batch.P + inputs > w->positions_max) return;
        push_span(w, spans[*at]);
        (*at)++;
    }
}

/* ---- public ---- */

void train__worker_see(struct train__worker *worker, const int32_t *items, int n)
{
    struct train__worker *w = worker;
    for (int i = 0; i < n && w->seen; i++) {
        if (w->seen_at[items[i]] == w->batches) continue;
        w->seen_at[items[i]] = w->batches;
        train__content_mix_item(&w->plan->content, w->config, w->params, items[i], w->seen);
    }
}

/* The block that encoder and loss see in a new batch. */
static const float *see_nothing(struct train__worker *w, const float *params)
{
    if (!w->seen) return params;
    w->params = params;
    w->batches++;
    train__content_copy(w->config, params, w->seen);
    return w->seen;
}

void train__worker_run(struct train__worker *worker, const float *params,
                       const struct train__span *sequences, int n, float scale, uint64_t seed)
{
    struct train__worker *w = worker;
    rng_init(&w->rng, seed);
    w->sum = 0;
    params = see_nothing(w, params);
    for (int at = 0; at < n;) {
        fill(w, sequences, n, &at);
        train__worker_see(w, w->batch.item, w->batch.P);
        uint32_t dropout_seed = (uint32_t)rng_u64(&w->rng);
        const float *x = train__encoder_forward(w->encoder, params, &w->batch,
                                                (float)w->options->dropout, dropout_seed);
        w->sum += w->kind->run(w, params, x, scale);
        for (int p = 0; p < w->batch.P && w->kind->is_sparse; p++)
            w->touched[w->batch.item[p]] = 1;
        train__encoder_backward(w->encoder, params, &w->batch, w->dx, w->grads);
    }
    train__content_gather(&w->plan->content, w->config, w->touched, w->grads);
}

/* What the list after event `last` leaves out. begin: the user's first event; window: the first that is an input. */
static struct train__masked mask_of(const struct train__worker *w, size_t begin, size_t window,
                                    size_t last)
{
    size_t from = last + 1;
    if (w->options->mask == EVAL_MASK_CURRENT) from = last;
    if (w->options->mask == EVAL_MASK_WINDOW) from = window;
    if (w->options->mask == EVAL_MASK_HISTORY) from = begin;
    return (struct train__masked){w->plan->events + from, (int)(last + 1 - from)};
}

/* Moves the vectors and targets of the tails of spans to the front of dx and batch.target and writes masked; returns how many.
 * whole: the same spans before they were cut. */
static int gather_tails(struct train__worker *w, const struct train__span *spans,
                        const struct train__span *whole, const float *x)
{
    size_t D = (size_t)w->config->D;
    int n = 0;
    for (int s = 0; s < w->batch.n; s++) {
        for (int p = w->start[s + 1] - spans[s].tail; p < w->start[s + 1]; p++, n++) {
            memcpy(w->dx + (size_t)n * D, x + (size_t)p * D, D * sizeof(float));
            w->batch.target[n] = w->batch.target[p]; /* n <= p: not read again */
            size_t last = spans[s].begin + (size_t)(p - w->start[s]);
            w->masked[n] = mask_of(w, whole[s].begin, spans[s].begin, last);
        }
    }
    return n;
}

int train__worker_ranks(struct train__worker *worker, const float *params,
                        const struct train__span *spans, int n, int32_t *rank)
{
    struct train__worker *w = worker;
    size_t max = (size_t)w->options->max_len + 1;
    struct train__span *cut = mem_alloc((size_t)n * sizeof *cut);
    int ranked = 0;
    for (int i = 0; i < n; i++) {
        cut[i] = spans[i];
        if (cut[i].end - cut[i].begin > max) cut[i].begin = cut[i].end - max;
    }
    for (int at = 0; at < n;) {
        int first = at;
        fill(w, cut, n, &at);
        const float *x = train__encoder_forward(w->encoder, params, &w->batch, 0, 0);
        struct train__softmax args = train__softmax_of_all(w, params, w->dx, 1);
        args.P = gather_tails(w, cut + first, spans + first, x);
        train__loss_ranks(w->loss, &args, w->masked, rank + ranked);
        ranked += args.P;
    }
    mem_free(cut);
    return ranked;
}
