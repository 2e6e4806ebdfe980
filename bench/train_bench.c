/* Positions learnt a second: full and sampled softmax, one and two threads, by catalogue size.
 *
 *   train_bench [--quick] [ITEMS]    only the runs of so many items
 *
 * Default shape (D 64, H 128, L 2, F 256), sequences of 20 events of Zipf items, one epoch, no validation. Where the time
 * goes: perf record train_bench; on a machine with AVX-512 half of it is sgemm, a tenth the exponentials. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "schemas/schemas.h"
#include "train/train.h"

enum { LENGTH = 20, ID_BYTES = 12 };

static const char *const names[] = {"full", "sampled", "gbce"};

/* Users of LENGTH events, n_items at least in all: each item once, then item i about as often as 1 / (i + 1). Freed by
 * train_data_free. */
static struct train_data *make_data(int n_users, int n_items)
{
    struct rng rng;
    rng_init(&rng, 1);
    struct train_data *data = mem_zalloc(sizeof *data);
    data->n_items = n_items;
    data->n_users = n_users;
    data->n_events = (size_t)n_users * LENGTH;
    data->item_ids = mem_alloc((size_t)n_items * sizeof *data->item_ids);
    for (int i = 0; i < n_items; i++) {
        char id[ID_BYTES];
        int len = snprintf(id, sizeof id, "%d", i);
        data->item_ids[i] = (struct str){mem_strndup(id, (size_t)len), (size_t)len};
    }
    data->user_start = mem_alloc(((size_t)n_users + 1) * sizeof *data->user_start);
    data->events = mem_alloc(data->n_events * sizeof *data->events);
    for (int u = 0; u <= n_users; u++)
        data->user_start[u] = (size_t)u * LENGTH;
    for (size_t e = 0; e < data->n_events; e++) {
        double item = exp(rng_unit(&rng) * log((double)n_items + 1)) - 1;
        if (e < (size_t)n_items) item = (double)e;
        data->events[e] = (struct train_event){
            .time_ms = (int64_t)e,
            .item = item < n_items ? (int32_t)item : n_items - 1,
            .type = EVENT_CLICK,
        };
    }
    return data;
}

static void bench(int n_items, enum train_loss loss, int threads, int n_users)
{
    struct train_data *data = make_data(n_users, n_items);
    struct train_options options = train_options_default();
    options.epochs = 1;
    options.batch = 4096;
    options.validation = 0;
    options.loss = loss;
    options.threads = threads;
    struct model *model;
    struct train_result result;
    struct err err = ERR_INIT;
    uint64_t begin = clock_mono_ns();
    clock_t cpu = clock();
    if (!train_model(data, &options, NULL, NULL, &model, &result, &err)) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    double seconds = (double)(clock_mono_ns() - begin) / 1e9;
    double cpu_s = (double)(clock() - cpu) / CLOCKS_PER_SEC, positions = (double)result.n_positions;
    printf("%8d  %-8s %d  %9.0f  %8.1f  %8.1f\n", result.n_items, names[loss], threads,
           positions / seconds, seconds / positions * 1e6, cpu_s / positions * 1e6);
    fflush(stdout);
    model_free(model);
    train_data_free(data);
}

int main(int argc, char **argv)
{
    bool quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
    int only = argc > 1 && !quick ? (int)strtol(argv[1], NULL, 10) : 0;
    static const struct {
        int items;
        enum train_loss loss;
        int users;
    } runs[] = {
        {1000, TRAIN_FULL, 2000},     {1000, TRAIN_SAMPLED, 2000},   {16000, TRAIN_FULL, 1000},
        {16000, TRAIN_SAMPLED, 2000}, {100000, TRAIN_SAMPLED, 6000}, {57000, TRAIN_FULL, 2900},
        {57000, TRAIN_GBCE, 3000},
    };
    printf("   items  loss     threads  positions/s  us each  us of CPU\n");
    for (size_t i = 0; i < (quick ? 2 : sizeof runs / sizeof runs[0]); i++) {
        if (only > 0 && runs[i].items != only) continue;
        for (int threads = 1; threads <= 2; threads++)
            bench(runs[i].items, runs[i].loss, threads, quick ? 100 : runs[i].users);
    }
    return 0;
}
