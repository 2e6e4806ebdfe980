/* Microseconds of the encoder and of exact lists, beside sgemm and a heap as one would write them first.
 * LINK: openblas
 *
 *   model_bench [--quick]
 *
 * Shapes of the default model: D 64, H 128, L 2, F 256; K 20. Times are for one user or one window:
 * the fastest tenth of repeated runs, and their median. FRESHET_KERNELS=avx2 or plain chooses the kernels. */

#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "model/model.h"

enum { D = 64, H = 128, L = 2, K = 20, USERS = 512, CENTERS = 256, RUNS_MAX = 400 };

static bool quick;

void openblas_set_num_threads(int n);

/* ---- timing ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Microseconds of run(context, i), called for about half a second: the fastest tenth is what a machine
 * that does nothing else gives, the median what this one gave. */
struct times {
    double fast, median;
};

static struct times measure(void (*run)(void *context, int i), void *context, double per)
{
    static double us[RUNS_MAX];
    uint64_t budget = quick ? 20000000 : 500000000, begin = clock_mono_ns();
    int n = 0;
    run(context, 0);
    while (n < RUNS_MAX && (n < 3 || clock_mono_ns() - begin < budget)) {
        uint64_t start = clock_mono_ns();
        run(context, n);
        us[n++] = (double)(clock_mono_ns() - start) / 1e3;
    }
    qsort(us, (size_t)n, sizeof *us, by_value);
    return (struct times){us[n / 10] / per, us[n / 2] / per};
}

/* ---- encoder ---- */

struct encoder_run {
    const struct model *model;
    struct model_scratch *scratch;
    int B, T;
    float **state; /* (USERS) */
    struct model_input *input;
};

static void run_step(void *context, int i)
{
    struct encoder_run *run = context;
    int from = (i * run->B) % (USERS - run->B + 1);
    model_step(run->model, run->scratch, run->B, run->state + from, run->input + from);
}

static void run_prefill(void *context, int i)
{
    struct encoder_run *run = context;
    model_prefill(run->model, run->scratch, run->T, run->input, run->state[i % USERS]);
}

static void bench_encoder(void)
{
    struct model *model = model_random(50000, D, H, L, 1);
    struct encoder_run run = {.model = model, .scratch = model_scratch_new(model)};
    struct rng rng;
    rng_init(&rng, 2);
    run.state = mem_alloc(USERS * sizeof *run.state);
    run.input = mem_zalloc(USERS * sizeof *run.input);
    for (int u = 0; u < USERS; u++) {
        run.state[u] = mem_alloc((size_t)model_info(model).S * sizeof(float));
        model_state_init(model, run.state[u]);
        run.input[u].item = (int32_t)rng_below(&rng, 50000);
    }
    static const int batches[] = {1, 16, 64, 256}, lengths[] = {50, 200};
    for (int i = 0; i < 4; i++) {
        run.B = batches[i];
        struct times t = measure(run_step, &run, run.B);
        printf("step     B %3d  %8.2f us a user (median %.2f)\n", run.B, t.fast, t.median);
    }
    for (int i = 0; i < 2; i++) {
        run.T = lengths[i];
        struct times t = measure(run_prefill, &run, 1.0);
        printf("prefill  T %3d  %8.2f us a window, %.2f a step (median %.2f)\n", run.T, t.fast,
               t.fast / run.T, t.median);
    }
    for (int u = 0; u < USERS; u++)
        mem_free(run.state[u]);
    mem_free(run.state);
    mem_free(run.input);
    model_scratch_free(run.scratch);
    model_free(model);
}

/* ---- lists ---- */

struct list_run {
    const struct model *model;
    struct model_scratch *scratch;
    int N, B;
    float *users; /* (USERS,D) */
    const float *vector[USERS];
    const float *items, *bias; /* (N,D), (N) */
    float *score;              /* (256,N) of the baseline */
    int32_t item[256 * K];
    float best[256 * K];
};

static void run_topk(void *context, int i)
{
    struct list_run *run = context;
    int from = (i * run->B) % (USERS - run->B + 1);
    model_topk(run->model, run->scratch, run->B, run->vector + from, NULL, K, run->item, run->best);
}

/* The K largest scores by a heap whose root is the smallest of them. */
static void heap_topk(int N, const float *score, const float *bias, float *heap)
{
    int n = 0;
    for (int i = 0; i < K; i++)
        heap[i] = -INFINITY;
    for (int i = 0; i < N; i++) {
        float s = score[i] + bias[i];
        if (!(s > heap[0])) continue;
        n = 0;
        for (int child; (child = 2 * n + 1) < K; n = child) {
            if (child + 1 < K && heap[child + 1] < heap[child]) child++;
            if (heap[child] >= s) break;
            heap[n] = heap[child];
        }
        heap[n] = s;
    }
}

static void run_sgemm(void *context, int i)
{
    struct list_run *run = context;
    int from = (i * run->B) % (USERS - run->B + 1);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, run->B, run->N, D, 1.0f,
                run->users + (size_t)from * D, D, run->items, D, 0.0f, run->score, run->N);
    for (int b = 0; b < run->B; b++)
        heap_topk(run->N, run->score + (size_t)b * (size_t)run->N, run->bias,
                  run->best + (size_t)b * K);
}

/* Random: independent normal numbers. Clustered, as training leaves them: items around centers with a
 * popularity that shows in length and bias; users near a center. */
static struct model *catalogue(int N, bool clustered, float *users, struct rng *rng)
{
    struct model *seed = model_random(N, D, H, L, 3);
    struct model_config config = model_shape(seed);
    float *params = mem_aligned(64, model_params_floats(&config) * sizeof *params);
    memcpy(params, model_raw_params(seed), model_params_floats(&config) * sizeof *params);
    float *items = params + model_param_offset(&config, MODEL_ITEM_EMBEDDING, 0);
    float *bias = params + model_param_offset(&config, MODEL_ITEM_BIAS, 0);
    float *center = mem_alloc(CENTERS * D * sizeof *center);
    for (int i = 0; i < CENTERS * D; i++)
        center[i] = (float)rng_normal(rng);
    for (int i = 0; i < N; i++) {
        const float *c = center + rng_below(rng, CENTERS) * D;
        double size = clustered ? 0.15 * exp(0.25 * rng_normal(rng)) : 0.15;
        bias[i] = clustered ? (float)(0.3 * rng_normal(rng)) : 0.0f;
        for (int j = 0; j < D; j++)
            items[i * D + j] =
                (float)(size *
                        (clustered ? 0.8 * (double)c[j] + 0.6 * rng_normal(rng) : rng_normal(rng)));
    }
    for (int u = 0; u < USERS; u++) {
        const float *c = center + rng_below(rng, CENTERS) * D;
        for (int j = 0; j < D; j++)
            users[u * D + j] =
                (float)(clustered ? 0.7 * (double)c[j] + 0.7 * rng_normal(rng) : rng_normal(rng));
    }
    struct str *ids = mem_alloc((size_t)N * sizeof *ids);
    for (int i = 0; i < N; i++)
        ids[i] = model_item_id(seed, i);
    struct model_parts parts = {
        .config = config, .params = params, .item_ids = ids, .tenant = "", .version = "bench"};
    struct model *model = NULL;
    struct err err = ERR_INIT;
    if (!model_from_params(&model, &parts, &err)) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    mem_free(ids);
    mem_free(center);
    mem_free(params);
    model_free(seed);
    return model;
}

static void bench_lists(int N, bool clustered)
{
    static struct list_run run;
    struct rng rng;
    rng_init(&rng, 4);
    run.users = mem_aligned(64, USERS * D * sizeof *run.users);
    uint64_t begin = clock_mono_ns();
    struct model *model = catalogue(N, clustered, run.users, &rng);
    double seconds = (double)(clock_mono_ns() - begin) / 1e9;
    struct model_config config = model_shape(model);
    run.model = model;
    run.N = N;
    run.scratch = model_scratch_new(model);
    run.items = model_raw_params(model) + model_param_offset(&config, MODEL_ITEM_EMBEDDING, 0);
    run.bias = model_raw_params(model) + model_param_offset(&config, MODEL_ITEM_BIAS, 0);
    run.score = mem_aligned(64, 256 * (size_t)N * sizeof *run.score);
    for (int u = 0; u < USERS; u++)
        run.vector[u] = run.users + (size_t)u * D;
    printf("%s, N %d (made in %.1f s)\n", clustered ? "clustered" : "random", N, seconds);
    static const int batches[] = {1, 16, 64, 256};
    for (int i = 0; i < 4; i++) {
        run.B = batches[i];
        struct times own = measure(run_topk, &run, run.B), blas = measure(run_sgemm, &run, run.B);
        printf("  list   B %3d  %8.2f us a user (median %.2f), sgemm and heap %.2f (median %.2f)\n",
               run.B, own.fast, own.median, blas.fast, blas.median);
    }
    mem_free(run.score);
    mem_free(run.users);
    model_scratch_free(run.scratch);
    model_free(model);
}

int main(int argc, char **argv)
{
    static const int sizes[] = {1000, 50000, 500000};
    quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
    openblas_set_num_threads(1);
    bench_encoder();
    for (int i = 0; i < (quick ? 2 : 3); i++)
        for (int clustered = 0; clustered < 2; clustered++)
            bench_lists(sizes[i], clustered);
    return 0;
}
