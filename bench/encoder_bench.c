/* Microseconds of one encoder step by the length of the history behind it, for each kind of encoder.
 *
 *   encoder_bench [--quick]
 *
 * Shapes of the defaults: D 64, L 2, F 256; H 128 for lru (complex) and gru, 64 for attention in 2 heads with a window as long as the
 * history. "alone" is one user a call, always the same: everything is in the caches. "64 users" is a call for 64 users of
 * 512, whose states come from memory. "rebuild" is a whole window from the state of nobody, for a user who comes back without a
 * state. The fastest tenth of repeated runs; FRESHET_KERNELS=avx2 or plain chooses the kernels. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "model/model.h"

enum { USERS = 512, BATCH = 64, N = 20000, LONGEST = 1000, RUNS_MAX = 2000 };

static bool quick;

struct subject {
    const struct model *model;
    struct model_scratch *scratch;
    float *state[USERS];
    struct model_input *input; /* (LONGEST) */
    int T;
};

/* ---- timing ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double measure(void (*run)(struct subject *subject, int i), struct subject *subject,
                      double per)
{
    static double us[RUNS_MAX];
    uint64_t budget = quick ? 5000000 : 300000000, begin = clock_mono_ns();
    int n = 0;
    run(subject, 0);
    while (n < RUNS_MAX && (n < 3 || clock_mono_ns() - begin < budget)) {
        uint64_t start = clock_mono_ns();
        run(subject, n);
        us[n++] = (double)(clock_mono_ns() - start) / 1e3;
    }
    qsort(us, (size_t)n, sizeof *us, by_value);
    return us[n / 10] / per;
}

static void run_alone(struct subject *s, int i)
{
    model_step(s->model, s->scratch, 1, s->state, s->input + i % s->T);
}

static void run_batch(struct subject *s, int i)
{
    int from = i * BATCH % USERS;
    struct model_input input[BATCH];
    for (int b = 0; b < BATCH; b++)
        input[b] = s->input[(i + b) % s->T];
    model_step(s->model, s->scratch, BATCH, s->state + from, input);
}

static void run_rebuild(struct subject *s, int i)
{
    model_prefill(s->model, s->scratch, s->T, s->input, s->state[i % USERS]);
}

/* ---- kinds ---- */

struct kind {
    const char *name;
    struct model_config config;
};

static void bench(const struct kind *kind, int T)
{
    struct model_config config = kind->config;
    if (config.encoder == ENCODER_ATTENTION) config.window = T;
    if (config.positions > 0) config.positions = T;
    struct model *model = model_random_of(&config, 1);
    struct subject s = {.model = model, .scratch = model_scratch_new(model), .T = T};
    struct rng rng;
    rng_init(&rng, 2);
    int S = model_info(model).S, users = quick ? BATCH : USERS;
    s.input = mem_zalloc((size_t)T * sizeof *s.input);
    for (int t = 0; t < T; t++)
        s.input[t].item = (int32_t)rng_below(&rng, N);
    float *whole = mem_aligned(64, (size_t)S * sizeof *whole);
    model_prefill(model, s.scratch, T, s.input, whole);
    for (int u = 0; u < USERS; u++) {
        s.state[u] = u < users ? mem_aligned(64, (size_t)S * sizeof(float)) : s.state[u % users];
        memcpy(s.state[u], whole, (size_t)S * sizeof(float));
    }
    double alone = measure(run_alone, &s, 1), batch = measure(run_batch, &s, BATCH);
    double rebuild = measure(run_rebuild, &s, 1);
    printf("%-18s %8d %10.1f %10.2f %10.2f %12.0f\n", kind->name, T, S * 4 / 1024.0, alone, batch,
           rebuild);
    for (int u = 0; u < users; u++)
        mem_free(s.state[u]);
    mem_free(whole);
    mem_free(s.input);
    model_scratch_free(s.scratch);
    model_free(model);
}

int main(int argc, char **argv)
{
    static const struct model_config lru = {.N = N, .D = 64, .H = 128, .L = 2, .F = 256};
    static const struct model_config rotary = {.N = N,
                                               .D = 64,
                                               .H = 64,
                                               .L = 2,
                                               .F = 256,
                                               .encoder = ENCODER_ATTENTION,
                                               .heads = 2,
                                               .rotary = true};
    struct kind kinds[] = {
        {"lru", lru}, {"gru", lru}, {"attention rotary", rotary}, {"attention learnt", rotary}};
    kinds[1].config.encoder = ENCODER_GRU;
    kinds[3].config.rotary = false;
    kinds[3].config.positions = 1;
    static const int lengths[] = {50, 200, LONGEST};
    quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
    printf("%-18s %8s %10s %10s %10s %12s\n", "us", "history", "state KiB", "alone", "64 users",
           "rebuild");
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
        for (int l = 0; l < 3; l++)
            bench(&kinds[k], lengths[l]);
    return 0;
}
