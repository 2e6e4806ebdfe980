/* Diversity against its definition, pair by pair. */
#include "tests/test.h"

#include "base/mem.h"
#include "base/rng.h"
#include "schemas/schemas.h"
#include "tests/train/support.h"
#include "train/eval.h"

enum { ITEMS = 40, LISTS = 400, K = 10 };

static struct train_data *random_log(struct rng *rng)
{
    static char text[65536];
    size_t at = 0;
    for (int i = 0; i < 3000; i++) {
        double u = rng_unit(rng);
        at += (size_t)snprintf(text + at, sizeof text - at, "u%d %d\n", (int)rng_below(rng, 200),
                               (int)(u * u * ITEMS));
    }
    return support_data(text, LOGFILE_PAIRS, NULL);
}

static void random_list(struct rng *rng, int n_items, int32_t *list)
{
    bool used[2 * ITEMS] = {false};
    for (int i = 0; i < K; i++) {
        do {
            list[i] = (int32_t)rng_below(rng, (uint64_t)n_items);
        } while (used[list[i]]);
        used[list[i]] = true;
    }
}

static bool has_met(const struct train_data *data, int user, int32_t item)
{
    for (size_t e = data->user_start[user]; e < data->user_start[user + 1]; e++)
        if (data->events[e].item == item) return true;
    return false;
}

/* cosine (ITEMS,ITEMS) of the sets of users. */
static void cosines_of_users(const struct train_data *data, double (*cosine)[ITEMS])
{
    double users[ITEMS][ITEMS] = {{0}};
    for (int u = 0; u < data->n_users; u++) {
        bool met[ITEMS];
        for (int i = 0; i < data->n_items; i++)
            met[i] = has_met(data, u, i);
        for (int i = 0; i < data->n_items; i++)
            for (int j = 0; j < data->n_items; j++)
                users[i][j] += met[i] && met[j];
    }
    for (int i = 0; i < data->n_items; i++)
        for (int j = 0; j < data->n_items; j++)
            cosine[i][j] = users[i][j] / sqrt(users[i][i] * users[j][j]);
}

static double unlike(double (*cosine)[ITEMS], const int32_t *list, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++)
            sum += 1 - cosine[list[i]][list[j]];
    return sum / (n * (n - 1) / 2.0);
}

static const struct eval_options options = {.split = {TRAIN_ALL, 1}, .k = {1, 4, K}, .n_k = 3};

static void sets_of_users(void)
{
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    struct train_data *data = random_log(&rng);
    double cosine[ITEMS][ITEMS], want[2] = {0};
    struct train__items items;
    struct train__vectors vectors;
    struct train__diversity sums = {0};
    cosines_of_users(data, cosine);
    train__items_init(&items, NULL, data, data, options.split);
    train__vectors_init(&vectors, &items, NULL, data, &options, LISTS);
    CHECK_INT(vectors.stride, 1);
    for (int l = 0; l < LISTS; l++) {
        int32_t list[K];
        random_list(&rng, data->n_items, list);
        want[0] += unlike(cosine, list, 4) / LISTS;
        want[1] += unlike(cosine, list, K) / LISTS;
        train__diversity_add(&vectors, &options, list, K, &sums);
    }
    CHECK_INT(sums.lists[0], 0); /* one item has no pair */
    CHECK_INT(sums.lists[2], LISTS);
    CHECK_NEAR(sums.sum[1] / sums.lists[1], want[0], 1e-9);
    CHECK_NEAR(sums.sum[2] / sums.lists[2], want[1], 1e-9);
    CHECK(want[1] > 0.3 && want[1] < 0.95);
    /* So many lists that only some can be measured. */
    train__vectors_fini(&vectors);
    train__vectors_init(&vectors, &items, NULL, data, &options, (size_t)1 << 30);
    CHECK(vectors.stride > 1);
    sums = (struct train__diversity){0};
    for (int l = 0; l < 3 * vectors.stride; l++)
        train__diversity_add(&vectors, &options, (const int32_t[]){0, 1}, 2, &sums);
    CHECK_INT(sums.lists[1], 3);
    train__vectors_fini(&vectors);
    train__items_fini(&items);
    train_data_free(data);
}

static void vectors_of_a_model(void)
{
    uint64_t seed = TEST_SEED();
    struct rng rng;
    rng_init(&rng, seed);
    struct train_data *data = random_log(&rng);
    struct model *model = model_random(30, 16, 16, 1, seed); /* items "0" to "29" of 40 */
    double cosine[ITEMS][ITEMS];
    struct train__items items;
    struct train__vectors vectors;
    train__items_init(&items, model, data, data, options.split);
    train__vectors_init(&vectors, &items, model, data, &options, LISTS);
    const float *table = model_raw_params(model); /* item.embedding is the first tensor */
    for (int i = 0; i < data->n_items; i++) {
        for (int j = 0; j < data->n_items; j++) {
            double dot = 0, ii = 0, jj = 0;
            if (items.to_model[i] < 0 || items.to_model[j] < 0) continue;
            const float *x = table + items.to_model[i] * 16, *y = table + items.to_model[j] * 16;
            for (int d = 0; d < 16; d++) {
                dot += (double)x[d] * (double)y[d];
                ii += (double)x[d] * (double)x[d];
                jj += (double)y[d] * (double)y[d];
            }
            cosine[i][j] = dot / sqrt(ii * jj);
        }
    }
    for (int l = 0; l < LISTS; l++) {
        struct train__diversity sums = {0};
        int32_t list[K + 1], known[K];
        int n = 0, length = 2 + l % (K - 1);
        random_list(&rng, data->n_items, list);
        list[length] = -1;
        train__diversity_add(&vectors, &options, list, K, &sums);
        for (int i = 0; i < length; i++)
            if (items.to_model[list[i]] >= 0) known[n++] = list[i];
        CHECK_INT(sums.lists[2], n >= 2);
        if (n >= 2) CHECK_NEAR(sums.sum[2], unlike(cosine, known, n), 1e-5);
    }
    train__vectors_fini(&vectors);
    train__items_fini(&items);
    model_free(model);
    train_data_free(data);
}

/* Twenty items, item i met by 20 - i users: the tail is items 18 and 19. */
static void tail(void)
{
    char text[4096];
    size_t at = 0;
    for (int i = 0; i < 20; i++)
        for (int u = 0; u < 20 - i; u++)
            at += (size_t)snprintf(text + at, sizeof text - at, "u%d item%d\n", u, i);
    struct train_data *data = support_data(text, LOGFILE_PAIRS, NULL);
    const struct eval_options two = {.split = {TRAIN_ALL, 1}, .k = {1, 2}, .n_k = 2};
    struct train__items items;
    struct train__vectors vectors;
    struct train__tally tally;
    struct eval_metrics metrics;
    train__items_init(&items, NULL, data, data, two.split);
    train__vectors_init(&vectors, &items, NULL, data, &two, 2);
    train__tally_init(&tally, &two, &items, &vectors);
    const int32_t first[] = {0, 19}, second[] = {18, 17};
    train__tally_add(&tally, first, 2, 19);
    train__tally_add(&tally, second, 2, 18);
    train__tally_finish(&tally, &metrics);
    CHECK_NEAR(metrics.tail[0], 0.5, 1e-12);
    CHECK_NEAR(metrics.tail[1], 0.5, 1e-12);
    /* 18 stands at place 1 and is 19th by count; 19 at place 2 and 20th. */
    CHECK_NEAR(metrics.serendipity[0], 18.0 / (20 * 2), 1e-12);
    CHECK_NEAR(metrics.serendipity[1], (18.0 + 18.0) / (20 * 2 * 2), 1e-12);
    train__tally_free(&tally);
    train__vectors_fini(&vectors);
    train__items_fini(&items);
    train_data_free(data);
}

int main(void)
{
    CASE(sets_of_users);
    CASE(vectors_of_a_model);
    CASE(tail);
    return 0;
}
