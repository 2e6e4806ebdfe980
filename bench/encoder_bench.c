/* Microseconds of one event for a user with a history, by kind of encoder: what an incremental step costs, and whether the
 * length of the history matters.
 *
 *   encoder_bench [--quick]
 *
 * Default shape (D 64, two blocks, F 256; H 128 of lru and gru; attention H 64, 2 heads, window 200, rotary), 50,000 items, 64 users with as many events each before the
 * measured step. B users are stepped at once; times are for one user: the fastest tenth of the runs, and the median. The
 * prefill column is what the same history costs when it is computed anew. FRESHET_KERNELS=avx2 or plain chooses the kernels. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "model/model.h"

enum { USERS = 64, ITEMS = 50000, LONGEST = 1000, RUNS_MAX = 2000 };

static const struct model_config shapes[] = {
    {.N = ITEMS, .D = 64, .H = 128, .L = 2, .F = 256},
    {.N = ITEMS, .D = 64, .H = 128, .L = 2, .F = 256, .encoder = ENCODER_GRU},
    {.N = ITEMS,
     .D = 64,
     .H = 64,
     .L = 2,
     .F = 256,
     .encoder = ENCODER_ATTENTION,
     .heads = 2,
     .window = 200,
     .rotary = true},
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct bench {
    const struct model *model;
    struct model_scratch *scratch;
    struct rng rng;
    struct model_input history[LONGEST];
    float *state[USERS];
    uint64_t budget_ns;
    double us[RUNS_MAX]; /* of each run, sorted by finish */
    int runs;
};

static struct model_input random_input(struct bench *b)
{
    return (struct model_input){.item = (int32_t)rng_below(&b->rng, ITEMS), .gap_ms = 1000};
}

/* Has b->us filled by run, one number at a time, until the budget is spent. */
static void measure(struct bench *b, double (*run)(struct bench *b, int argument), int argument)
{
    uint64_t begin = clock_mono_ns();
    (void)run(b, argument);
    for (b->runs = 0; b->runs < RUNS_MAX; b->runs++) {
        if (b->runs >= 3 && clock_mono_ns() - begin > b->budget_ns) break;
        b->us[b->runs] = run(b, argument);
    }
    qsort(b->us, (size_t)b->runs, sizeof *b->us, by_value);
}

/* Microseconds for each of B users, other users from run to run. */
static double run_step(struct bench *b, int B)
{
    struct model_input input[USERS];
    int first = (int)rng_below(&b->rng, (uint64_t)(USERS - B + 1));
    for (int u = 0; u < B; u++)
        input[u] = random_input(b);
    uint64_t start = clock_mono_ns();
    model_step(b->model, b->scratch, B, b->state + first, input);
    return (double)(clock_mono_ns() - start) / 1e3 / B;
}

static double run_prefill(struct bench *b, int T)
{
    uint64_t start = clock_mono_ns();
    model_prefill(b->model, b->scratch, T, b->history, b->state[0]);
    return (double)(clock_mono_ns() - start) / 1e3;
}

static void bench_history(struct bench *b, int T)
{
    double fast[3], median[3];
    for (int t = 0; t < T; t++)
        b->history[t] = random_input(b);
    for (int u = 0; u < USERS; u++)
        model_prefill(b->model, b->scratch, T, b->history, b->state[u]);
    static const int batches[] = {1, USERS};
    for (int i = 0; i < 3; i++) {
        measure(b, i < 2 ? run_step : run_prefill, i < 2 ? batches[i] : T);
        fast[i] = b->us[b->runs / 10];
        median[i] = b->us[b->runs / 2];
    }
    struct model_info info = model_info(b->model);
    printf("%-9s %7d  %7.2f (%7.2f)  %7.2f (%7.2f)  %9.0f (%9.0f)  %7zu\n", info.encoder, T,
           fast[0], median[0], fast[1], median[1], fast[2], median[2],
           (size_t)info.S * sizeof(float));
    fflush(stdout);
}

static void bench_shape(const struct model_config *shape, bool quick)
{
    static struct bench b;
    struct model *model = model_random_of(shape, 1);
    b.model = model;
    b.scratch = model_scratch_new(model);
    b.budget_ns = quick ? 20000000 : 500000000;
    rng_init(&b.rng, 2);
    for (int u = 0; u < USERS; u++)
        b.state[u] = mem_alloc((size_t)model_info(model).S * sizeof(float));
    static const int lengths[] = {50, 200, LONGEST};
    for (int i = 0; i < 3; i++)
        bench_history(&b, lengths[i]);
    for (int u = 0; u < USERS; u++)
        mem_free(b.state[u]);
    model_scratch_free(b.scratch);
    model_free(model);
}

int main(int argc, char **argv)
{
    bool quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
    printf(
        "encoder   history   us a step: B 1 (median)     B 64 (median)    prefill anew (median)  "
        "state bytes\n");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        bench_shape(&shapes[i], quick);
    return 0;
}
