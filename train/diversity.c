/* How unlike each other the items of a list are.
 *
 *   diversity@k = mean over lists of the mean over pairs i, j of the first k items of 1 - cos(x(i), x(j))
 *
 * With a model x(i) is its item embedding; items that it does not know are left out. Without one x(i) has a place for each user of
 * the training part, 1 where the user met the item, so the cosine is users(i and j) / sqrt(users(i) users(j)); items that nobody
 * met are left out.
 *
 * Pairs are not walked: the sum over pairs of cosines is the sum over the list of x(j) times the sum of those before j, all of
 * length 1. Without a model that costs a list as many steps as its items have users, so of a large log every stride-th list is
 * measured. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "train/eval.h"

/* Steps that all lists of an arm may take together, about: a second. */
static const double steps_max = 1 << 29;

/* ---- who met what ---- */

/* Each item's users, in two passes over the training part: counted, then written. */
static void users_fill(struct train__vectors *v, const struct train__items *items,
                       const struct train_data *history, struct train_split split)
{
    size_t n = (size_t)items->n;
    int *last_user = mem_alloc(n * sizeof *last_user);
    size_t *next = mem_alloc(n * sizeof *next);
    v->start = mem_alloc((n + 1) * sizeof *v->start);
    v->start[0] = 0;
    for (size_t i = 0; i < n; i++) {
        next[i] = v->start[i];
        v->start[i + 1] = v->start[i] + (size_t)items->users[i];
    }
    v->users = mem_alloc((v->start[n] + 1) * sizeof *v->users);
    memset(last_user, -1, n * sizeof *last_user);
    for (int u = 0; u < history->n_users; u++) {
        size_t end = train_split_end(history, split, u);
        for (size_t e = history->user_start[u]; e < end; e++) {
            int32_t item = items->from_history[history->events[e].item];
            if (last_user[item] != u) v->users[next[item]++] = u;
            last_user[item] = u;
        }
    }
    mem_free(last_user);
    mem_free(next);
}

/* Lists are as long as K and hold popular items rather than others. */
static int stride_of(const struct train__items *items, int K, size_t lists)
{
    double visits = 0, squares = 0;
    for (int i = 0; i < items->n; i++) {
        visits += items->users[i];
        squares += items->users[i] * items->users[i];
    }
    double steps = visits > 0 ? squares / visits * K * (double)lists : 0;
    return 1 + (int)fmin(steps / steps_max, 1e6);
}

/* ---- vectors of a model ---- */

static void from_model(struct train__vectors *v, const struct train__items *items,
                       const struct model *model)
{
    struct model_config config = model_shape(model);
    size_t D = (size_t)v->D;
    const float *table =
        model_raw_params(model) + model_param_offset(&config, MODEL_ITEM_EMBEDDING, 0);
    v->x = mem_zalloc((size_t)items->n * D * sizeof *v->x);
    for (int i = 0; i < items->n; i++) {
        if (items->to_model[i] < 0) continue;
        const float *row = table + (size_t)items->to_model[i] * D;
        double squares = 0;
        for (size_t d = 0; d < D; d++)
            squares += (double)row[d] * (double)row[d];
        v->has[i] = squares > 0;
        for (size_t d = 0; d < D && squares > 0; d++)
            v->x[(size_t)i * D + d] = row[d] / (float)sqrt(squares);
    }
}

void train__vectors_init(struct train__vectors *vectors, const struct train__items *items,
                         const struct model *model, const struct train_data *history,
                         const struct eval_options *options, size_t lists)
{
    *vectors =
        (struct train__vectors){.D = model ? model_shape(model).D : history->n_users, .stride = 1};
    vectors->has = mem_zalloc((size_t)items->n);
    vectors->sum = mem_zalloc((size_t)vectors->D * sizeof *vectors->sum);
    if (model) {
        from_model(vectors, items, model);
        return;
    }
    users_fill(vectors, items, history, options->split);
    vectors->stride = stride_of(items, options->k[options->n_k - 1], lists);
    for (int i = 0; i < items->n; i++)
        vectors->has[i] = items->users[i] > 0;
}

void train__vectors_fini(struct train__vectors *vectors)
{
    mem_free(vectors->x);
    mem_free(vectors->start);
    mem_free(vectors->users);
    mem_free(vectors->sum);
    mem_free(vectors->has);
}

/* ---- lists ---- */

/* Adds the item's vector to the sum; returns its dot product with the sum before. */
static double take(const struct train__vectors *v, int32_t item)
{
    double dot = 0;
    if (v->x) {
        const float *x = v->x + (size_t)item * (size_t)v->D;
        for (int d = 0; d < v->D; d++) {
            dot += (double)x[d] * v->sum[d];
            v->sum[d] += (double)x[d];
        }
        return dot;
    }
    double one = 1 / sqrt((double)(v->start[item + 1] - v->start[item]));
    for (size_t u = v->start[item]; u < v->start[item + 1]; u++) {
        dot += one * v->sum[v->users[u]];
        v->sum[v->users[u]] += one;
    }
    return dot;
}

/* The sum is zeros again. */
static void give_back(const struct train__vectors *v, const int32_t *list, int n)
{
    if (v->x) memset(v->sum, 0, (size_t)v->D * sizeof *v->sum);
    for (int place = 0; !v->x && place < n; place++) {
        for (size_t u = v->start[list[place]]; u < v->start[list[place] + 1]; u++)
            v->sum[v->users[u]] = 0;
    }
}

void train__diversity_add(const struct train__vectors *v, const struct eval_options *options,
                          const int32_t *list, int n, struct train__diversity *sums)
{
    double cosines = 0;
    int met = 0, place = 0;
    if (sums->met++ % (uint64_t)v->stride != 0) return;
    for (int i = 0; i < options->n_k; i++) {
        for (; place < n && place < options->k[i] && list[place] >= 0; place++) {
            if (!v->has[list[place]]) continue;
            cosines += take(v, list[place]);
            met++;
        }
        if (met < 2) continue;
        sums->sum[i] += fmax(0, 1 - cosines / (met * (met - 1) / 2.0));
        sums->lists[i]++;
    }
    give_back(v, list, place);
}
