/* How right the reasons of the encoder's list are: what the item that model_because names is worth, on a real log.
 *
 *   because_bench MODEL LOG FORMAT [MAP]      FORMAT and MAP as for freshet train
 *   because_bench --quick                     a random model and log, to see that it runs
 *
 * For the newest 50 interactions of each user (at most USERS_MAX users, those with three different known items), the ten items of
 * the encoder's list that are not among them. Each is scored again without the named item in the history; it falls when its share (softmax
 * over all items) does. Beside model_because: the newest item, one by chance, and the best there is, which takes an encoding of the window for
 * each item of it. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "model/model.h"
#include "schemas/schemas.h"
#include "train/train.h"

enum { USERS_MAX = 1000, WINDOW = 50, K = 10 };
enum { BY_BECAUSE, BY_NEWEST, BY_CHANCE, BY_BEST, WAYS };

struct bench {
    const struct model *model;
    struct model_scratch *scratch;
    struct rng rng;
    int users;
    long items, falls[WAYS], best[WAYS];
    float *state;  /* (S) */
    float *scores; /* (N) */
    double shares[1 + MODEL_BECAUSE_MAX]
                 [K]; /* ln of the softmax: of the whole history, and without each item */
    int32_t listed[K];
};

/* Scores a history, and takes the shares of the listed items. */
static void shares_take(struct bench *bench, int T, const struct model_input *inputs,
                        double *shares)
{
    struct model_info info = model_info(bench->model);
    double sum = 0;
    model_prefill(bench->model, bench->scratch, T, inputs, bench->state);
    model_score(bench->model, model_state_vector(bench->model, bench->state), bench->scores);
    for (int i = 0; i < info.N; i++)
        sum += exp((double)bench->scores[i]);
    for (int k = 0; k < K; k++)
        if (bench->listed[k] >= 0) shares[k] = (double)bench->scores[bench->listed[k]] - log(sum);
}

static void without_take(struct bench *bench, int T, const struct model_input *inputs, int32_t gone,
                         double *shares)
{
    struct model_input rest[WINDOW];
    int n = 0;
    for (int t = 0; t < T; t++)
        if (inputs[t].item != gone) rest[n++] = inputs[t];
    shares_take(bench, n, rest, shares);
}

static int place_of(const struct model_because *because, int32_t item)
{
    int i = 0;
    while (because->items[i] != item)
        i++;
    return i;
}

static void item_count(struct bench *bench, const struct model_because *because, int k)
{
    int ways[WAYS] = {[BY_BECAUSE] =
                          place_of(because, model_because(bench->model, because, bench->listed[k])),
                      [BY_CHANCE] = (int)rng_below(&bench->rng, (uint64_t)because->n)};
    for (int i = 1; i < because->n; i++)
        if (bench->shares[1 + i][k] < bench->shares[1 + ways[BY_BEST]][k]) ways[BY_BEST] = i;
    bench->items++;
    for (int way = 0; way < WAYS; way++) {
        bench->falls[way] += bench->shares[1 + ways[way]][k] < bench->shares[0][k];
        bench->best[way] += ways[way] == ways[BY_BEST];
    }
}

static int by_index(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static void list_take(struct bench *bench, int T, const struct model_input *inputs)
{
    int32_t gone[WINDOW];
    float scores[K];
    int n = 0;
    for (int t = 0; t < T; t++)
        gone[n++] = inputs[t].item;
    qsort(gone, (size_t)n, sizeof *gone, by_index);
    int kept = 0;
    for (int i = 0; i < n; i++)
        if (kept == 0 || gone[kept - 1] != gone[i]) gone[kept++] = gone[i];
    struct model_exclusions exclusions = {.items = gone, .n = kept};
    model_prefill(bench->model, bench->scratch, T, inputs, bench->state);
    const float *vector = model_state_vector(bench->model, bench->state);
    model_topk(bench->model, bench->scratch, 1, &vector, &exclusions, K, bench->listed, scores);
}

static void user_count(struct bench *bench, int T, const struct model_input *inputs)
{
    struct model_because because = {0};
    for (int t = T - 1; t >= 0; t--)
        (void)model_because_add(bench->model, &because, inputs[t].item);
    if (because.n < 3) return;
    bench->users++;
    list_take(bench, T, inputs);
    shares_take(bench, T, inputs, bench->shares[0]);
    for (int i = 0; i < because.n; i++)
        without_take(bench, T, inputs, because.items[i], bench->shares[1 + i]);
    for (int k = 0; k < K; k++)
        if (bench->listed[k] >= 0) item_count(bench, &because, k);
}

static void log_count(struct bench *bench, const struct train_data *data)
{
    for (int u = data->n_users - 1; u >= 0 && bench->users < USERS_MAX; u--) {
        struct model_input inputs[WINDOW] = {0};
        size_t end = data->user_start[u + 1], begin = data->user_start[u];
        int T = 0;
        if (end - begin > WINDOW) begin = end - WINDOW;
        for (size_t e = begin; e < end; e++) {
            const struct train_event *event = &data->events[e];
            int32_t item = model_item_index(bench->model,
                                            schemas_item_key(STR(""), data->item_ids[event->item]));
            int64_t gap = e > begin ? event->time_ms - event[-1].time_ms : 0;
            if (item >= 0) inputs[T++] = (struct model_input){item, event->type, gap};
        }
        user_count(bench, T, inputs);
    }
}

static void report(const struct bench *bench)
{
    static const char *const names[WAYS] = {"model_because", "the newest", "one by chance",
                                            "the best there is"};
    printf("%d users, %ld listed items\n%-20s %22s %22s\n", bench->users, bench->items,
           "named item", "falls without it", "is the best there is");
    for (int way = 0; way < WAYS; way++)
        printf("%-20s %21.1f%% %21.1f%%\n", names[way],
               100.0 * (double)bench->falls[way] / (double)bench->items,
               100.0 * (double)bench->best[way] / (double)bench->items);
}

static void quick(struct bench *bench)
{
    for (int u = 0; u < 20; u++) {
        struct model_input inputs[WINDOW] = {0};
        for (int t = 0; t < WINDOW; t++)
            inputs[t].item = (int32_t)rng_below(&bench->rng, 1000);
        user_count(bench, WINDOW, inputs);
    }
}

static struct train_data *data_read(int argc, char **argv)
{
    struct err err = ERR_INIT;
    struct train_data *data = NULL;
    const char *paths[] = {argv[2]};
    struct train_source source = {.paths = paths, .n_paths = 1, .map = argc > 4 ? argv[4] : NULL};
    if (!log_format_parse(argv[3], &source.kind)) {
        (void)fprintf(stderr, "%s is no format: pairs, lines, sessions or events\n", argv[3]);
        exit(2);
    }
    if (!train_data_read(&data, &source, &err)) {
        (void)fprintf(stderr, "%s\n", err.text);
        exit(2);
    }
    return data;
}

int main(int argc, char **argv)
{
    bool is_quick = argc == 2 && strcmp(argv[1], "--quick") == 0;
    struct err err = ERR_INIT;
    struct model *model = NULL;
    if (!is_quick && (argc < 4 || argc > 5)) {
        (void)fprintf(stderr, "usage: because_bench MODEL LOG FORMAT [MAP] | --quick\n");
        return 2;
    }
    if (is_quick) model = model_random(1000, 32, 32, 1, 1);
    if (!is_quick && !model_load(&model, argv[1], &err)) {
        (void)fprintf(stderr, "%s\n", err.text);
        return 2;
    }
    struct bench bench = {.model = model, .scratch = model_scratch_new(model)};
    bench.state = mem_aligned(64, (size_t)model_info(model).S * sizeof(float));
    bench.scores = mem_alloc((size_t)model_info(model).N * sizeof(float));
    rng_init(&bench.rng, 1);
    struct train_data *data = is_quick ? NULL : data_read(argc, argv);
    if (is_quick) quick(&bench);
    if (data) log_count(&bench, data);
    report(&bench);
    train_data_free(data);
    mem_free(bench.state);
    mem_free(bench.scores);
    model_scratch_free(bench.scratch);
    model_free(model);
    return 0;
}
