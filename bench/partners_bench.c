/* What also-bought costs: adding a pair to a row and to the marginals, and the best 20 of a row.
 *
 *   partners_bench [--quick]
 *
 * Rows are full; keys of a row come back by Zipf's law (the item of rank r every 1 / r), marginals hold as many items as named. Rows
 * are asked in turn out of many, so that they come from memory. The fastest tenth of repeated runs. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "model/model.h"

enum { ROWS = 2000, TOP = 20, RUNS_MAX = 300, STEPS = 1000 };

static int runs = RUNS_MAX;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct shop {
    struct rng rng;
    int max, items;
    struct model_partners *rows; /* (ROWS) */
    struct model_marginals *marginals;
    double moment;
    int at;
};

/* An item, those with small numbers more often. */
static uint64_t some_item(struct shop *shop)
{
    double rank = exp2(rng_unit(&shop->rng) * log2(shop->items));
    return (uint64_t)rank * 0x9e3779b97f4a7c15u;
}

static void add_to_row(struct shop *shop)
{
    shop->moment += 1e-7;
    model_partners_add(&shop->rows[shop->at++ % ROWS], some_item(shop), 0.5, shop->moment);
}

static void add_to_marginals(struct shop *shop)
{
    shop->moment += 1e-7;
    model_marginals_add(shop->marginals, some_item(shop), 0.5, shop->moment);
}

static void ask(struct shop *shop)
{
    struct model_scored best[TOP];
    struct model_score_options options = model_score_options_default();
    (void)model_partners_best(&shop->rows[shop->at++ % ROWS], shop->marginals, &options, TOP, NULL,
                              NULL, best);
}

/* Microseconds of a step. */
static double measure(struct shop *shop, void (*step)(struct shop *shop))
{
    static double us[RUNS_MAX];
    for (int r = 0; r < runs; r++) {
        uint64_t start = clock_mono_ns();
        for (int i = 0; i < STEPS; i++)
            step(shop);
        us[r] = (double)(clock_mono_ns() - start) / 1e3 / STEPS;
    }
    qsort(us, (size_t)runs, sizeof *us, by_value);
    return us[runs / 10];
}

static void run(int max, int items)
{
    struct shop shop = {.max = max, .items = items, .moment = 600};
    rng_init(&shop.rng, 1);
    shop.rows = mem_alloc(ROWS * sizeof *shop.rows);
    shop.marginals = model_marginals_new((size_t)items + 1);
    for (int i = 0; i < ROWS; i++)
        model_partners_init(&shop.rows[i], mem_alloc((size_t)max * sizeof(struct model_partner)),
                            max);
    for (int i = 0; i <= items; i++)
        model_marginals_add(shop.marginals, (uint64_t)i * 0x9e3779b97f4a7c15u, 1.0, shop.moment);
    for (int i = 0; i < ROWS * max * 2; i++)
        add_to_row(&shop);
    double row = measure(&shop, add_to_row), marginal = measure(&shop, add_to_marginals);
    printf("%8d %9d %10.3f %14.3f %10.2f %12.1f\n", max, items, row, marginal, measure(&shop, ask),
           (double)model_marginals_bytes(shop.marginals) / 1e6);
    for (int i = 0; i < ROWS; i++)
        mem_free(shop.rows[i].entries);
    mem_free(shop.rows);
    model_marginals_free(shop.marginals);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--quick") == 0) runs = 10;
    printf("%8s %9s %10s %14s %10s %12s\n", "partners", "items", "add, us", "marginal, us",
           "best, us", "marginals MB");
    run(64, 50000);
    run(256, 50000);
    run(256, 1000000);
    return 0;
}
