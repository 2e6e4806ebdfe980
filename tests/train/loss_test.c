/* Each loss and its gradients against a naive reference in double and its central differences; the sampled softmax against the full
 * one as the sample grows. */
#include "tests/test.h"

#include "base/mem.h"
#include "base/rng.h"
#include "tests/train/support.h"
#include "train/kernels.h"
#include "train/loss.h"
#include "train/worker.h"

enum { P = 7, D = 16, C_MAX = 1100, K = 5 };

/* A case and its result. Everything that a loss reads lies in one array, so that one loop can move each number. */
struct sample {
    int C;
    float smoothing, scale;
    bool has_boost, has_spread;
    int32_t target[P];
    float *all; /* x (P,D), W (C,D), bias (C) */
    float boost[C_MAX], spread[C_MAX];
};

static size_t count_of(const struct sample *s)
{
    return (size_t)(P * D + s->C * D + s->C);
}

static struct sample *sample_new(struct rng *rng, int C)
{
    struct sample *s = mem_zalloc(sizeof *s);
    s->C = C;
    s->scale = 0.25f;
    s->all = mem_aligned(64, (count_of(s) + 16) * sizeof(float));
    for (size_t i = 0; i < count_of(s); i++)
        s->all[i] = (float)rng_normal(rng);
    for (int p = 0; p < P; p++)
        s->target[p] = (int32_t)rng_below(rng, (uint64_t)C);
    float total = 0;
    for (int c = 0; c < C; c++) {
        s->boost[c] = -3 * (float)rng_unit(rng);
        s->spread[c] = (float)rng_unit(rng);
        total += s->spread[c];
    }
    for (int c = 0; c < C; c++)
        s->spread[c] /= total;
    return s;
}

static void sample_free(struct sample *s)
{
    mem_free(s->all);
    mem_free(s);
}

/* ---- softmax ---- */

static double logit(const struct sample *s, const double *all, int p, int c)
{
    double sum = all[P * D + s->C * D + c];
    for (int d = 0; d < D; d++)
        sum += all[p * D + d] * all[P * D + c * D + d];
    return sum;
}

static double ref_softmax(const struct sample *s, const double *all)
{
    double total = 0, *own = mem_alloc((size_t)s->C * sizeof(double));
    for (int p = 0; p < P; p++) {
        double sum = 0, even = 0, smoothing = (double)s->smoothing;
        for (int c = 0; c < s->C; c++) {
            double boost = s->has_boost ? (double)s->boost[c] : 0;
            own[c] = logit(s, all, p, c);
            even += (s->has_spread ? (double)s->spread[c] : 1.0 / s->C) * (own[c] + boost);
            if (c == s->target[p]) own[c] += boost;
            sum += exp(own[c]);
        }
        total += log(sum) - (1 - smoothing) * own[s->target[p]] - smoothing * even;
    }
    mem_free(own);
    return total;
}

/* Loss, and its gradient by all in grad, scaled. memory: how many bytes of logits. */
static double got_softmax(const struct sample *s, size_t memory, float *grad)
{
    memset(grad, 0, (count_of(s) + 16) * sizeof(float));
    struct train__loss *loss = train__loss_new(memory);
    struct train__softmax args = {
        .P = P,
        .C = s->C,
        .D = D,
        .x = s->all,
        .weight = s->all + P * D,
        .bias = s->all + P * D + s->C * D,
        .boost = s->has_boost ? s->boost : NULL,
        .target = s->target,
        .smoothing = s->smoothing,
        .spread = s->has_spread ? s->spread : NULL,
        .scale = s->scale,
        .dx = grad,
        .dweight = grad + P * D,
        .dbias = grad + P * D + s->C * D,
    };
    double total = train__loss_softmax(loss, &args);
    train__loss_free(loss);
    return total;
}

/* Compares grad with central differences of reference at about 60 places. */
static void check_gradient(const struct sample *s, const float *grad,
                           double (*reference)(const struct sample *, const double *))
{
    size_t n = count_of(s), stride = n / 25 | 1;
    double *all = mem_alloc(n * sizeof(double)), largest = 0;
    for (size_t i = 0; i < n; i++)
        all[i] = (double)s->all[i];
    for (size_t i = 0; i < n; i += i < P * D ? 7 : stride) {
        double value = all[i], step = 1e-5;
        all[i] = value + step;
        double above = reference(s, all);
        all[i] = value - step;
        double want = (double)s->scale * (above - reference(s, all)) / (2 * step);
        all[i] = value;
        if (fabs((double)grad[i] - want) > 2e-5 + 1e-3 * fabs(want))
            test_fail(__FILE__, __LINE__, "%zu of %zu: gradient %.9g, by differences %.9g", i, n,
                      (double)grad[i], want);
        largest = fmax(largest, fabs(want));
    }
    CHECK(largest > 1e-3);
    mem_free(all);
}

static void softmax_gradients(void)
{
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    /* One candidate, one chunk, several; tiles of one row and of all. */
    static const int sizes[] = {1, 17, 512, C_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct sample *s = sample_new(&rng, sizes[i]);
        float *grad = mem_aligned(64, (count_of(s) + 16) * sizeof(float));
        double *all = mem_alloc(count_of(s) * sizeof(double));
        for (size_t a = 0; a < count_of(s); a++)
            all[a] = (double)s->all[a];
        for (int variant = 0; variant < 8; variant += sizes[i] == C_MAX ? 7 : 1) {
            s->has_boost = variant & 1;
            s->smoothing = variant & 2 ? 0.2f : 0;
            s->has_spread = variant & 4;
            double want = ref_softmax(s, all);
            CHECK_NEAR(got_softmax(s, variant & 1 ? 1 : 1 << 20, grad), want, 1e-4 + 1e-5 * want);
            if (sizes[i] > 1) check_gradient(s, grad, ref_softmax);
        }
        printf("  %d candidates\n", sizes[i]);
        mem_free(grad);
        mem_free(all);
        sample_free(s);
    }
}

/* Logits of some hundreds: nothing overflows where the largest comes late. */
static void softmax_of_large_logits(void)
{
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    struct sample *s = sample_new(&rng, C_MAX);
    float *grad = mem_aligned(64, (count_of(s) + 16) * sizeof(float));
    for (int c = 0; c < C_MAX; c++)
        s->all[P * D + C_MAX * D + c] = -300.0f + (float)c;
    for (int p = 0; p < P; p++)
        s->target[p] = p % 2 ? C_MAX - 1 - p : p;
    double *all = mem_alloc(count_of(s) * sizeof(double));
    for (size_t a = 0; a < count_of(s); a++)
        all[a] = (double)s->all[a];
    double max = -1e30;
    for (int c = 0; c < C_MAX; c++)
        max = fmax(max, logit(s, all, 0, c));
    CHECK(max > 750);
    double want = 0;
    for (int p = 0; p < P; p++) {
        double top = -1e30, sum = 0;
        for (int c = 0; c < C_MAX; c++)
            top = fmax(top, logit(s, all, p, c));
        for (int c = 0; c < C_MAX; c++)
            sum += exp(logit(s, all, p, c) - top);
        want += log(sum) + top - logit(s, all, p, s->target[p]);
    }
    CHECK_NEAR(got_softmax(s, 1 << 20, grad), want, 1e-5 * want);
    for (size_t i = 0; i < count_of(s); i++)
        CHECK(isfinite(grad[i]));
    mem_free(all);
    mem_free(grad);
    sample_free(s);
}

/* ---- gBCE ---- */

static uint64_t gbce_seed;
static double gbce_t;

static double ref_gbce(const struct sample *s, const double *all)
{
    struct rng rng;
    rng_init(&rng, gbce_seed);
    double alpha = (double)K / (s->C - 1), total = 0;
    double beta = alpha * (gbce_t * (1 - 1 / alpha) + 1 / alpha); /* as in the paper */
    for (int p = 0; p < P; p++) {
        double sum = 0;
        for (int j = 0; j < K; j++) {
            int c = (int)rng_below(&rng, (uint64_t)s->C - 1);
            c += c >= s->target[p];
            CHECK(c != s->target[p] && c < s->C);
            sum += log(1 - 1 / (1 + exp(-logit(s, all, p, c))));
        }
        sum += log(pow(1 / (1 + exp(-logit(s, all, p, s->target[p]))), beta));
        total -= sum / (K + 1);
    }
    return total;
}

static double got_gbce(const struct sample *s, float *grad, uint8_t *touched)
{
    struct rng rng;
    rng_init(&rng, gbce_seed);
    memset(grad, 0, (count_of(s) + 16) * sizeof(float));
    memset(touched, 0, (size_t)s->C);
    int32_t candidate[K + 1];
    float logits[K + 1];
    const struct train__gbce args = {
        .P = P,
        .C = s->C,
        .D = D,
        .K = K,
        .t = gbce_t,
        .x = s->all,
        .weight = s->all + P * D,
        .bias = s->all + P * D + s->C * D,
        .target = s->target,
        .scale = s->scale,
        .dx = grad,
        .dweight = grad + P * D,
        .dbias = grad + P * D + s->C * D,
        .touched = touched,
        .candidate = candidate,
        .logit = logits,
        .kernels = train__kernels_best(),
    };
    return train__loss_gbce(&args, &rng);
}

static void gbce_gradients(void)
{
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    for (int trial = 0; trial < 6; trial++) {
        struct sample *s = sample_new(&rng, trial % 2 ? 23 : K + 1);
        float *grad = mem_aligned(64, (count_of(s) + 16) * sizeof(float));
        double *all = mem_alloc(count_of(s) * sizeof(double));
        uint8_t touched[32];
        gbce_seed = rng_u64(&rng);
        gbce_t = (double[]){0, 0.75, 1}[trial / 2];
        for (size_t i = 0; i < count_of(s); i++)
            all[i] = (double)s->all[i];
        CHECK_NEAR(got_gbce(s, grad, touched), ref_gbce(s, all), 1e-5);
        check_gradient(s, grad, ref_gbce);
        for (int c = 0; c < s->C; c++) {
            bool any = grad[P * D + s->C * D + c] != 0;
            CHECK_INT(touched[c], any);
        }
        mem_free(grad);
        mem_free(all);
        sample_free(s);
    }
}

/* ---- the sampled softmax against the full one ---- */

enum { ITEMS = 250, USERS = 1500, BATCH = 32, DRAWS = 500 };

/* Users of two events, so of one position each: items of few are frequent. */
static struct train_data *pairs_of_items(struct rng *rng)
{
    size_t room = USERS * 2 * 32, at = 0;
    char *text = mem_alloc(room);
    for (int i = 0; i < USERS * 2; i++) {
        double u = rng_unit(rng);
        at += (size_t)snprintf(text + at, room - at, "u%d i%d\n", i / 2, (int)(ITEMS * u * u));
    }
    struct train_data *data = support_data(text, LOGFILE_PAIRS, NULL);
    mem_free(text);
    return data;
}

/* The mean gradient (a parameter block) over DRAWS random batches, the same for each loss. */
static void mean_gradient(const struct train__plan *plan, const struct train_options *options,
                          const struct model_config *config, const float *params, double *mean)
{
    size_t n = model_params_floats(config);
    struct train__worker worker;
    train__worker_init(&worker, config, plan, options);
    memset(mean, 0, n * sizeof *mean);
    struct rng rng;
    rng_init(&rng, 5);
    for (int draw = 0; draw < DRAWS; draw++) {
        struct train__span batch[BATCH];
        for (int i = 0; i < BATCH; i++)
            batch[i] = plan->sequences[rng_below(&rng, (uint64_t)plan->n_sequences)];
        memset(worker.grads, 0, n * sizeof(float));
        train__worker_run(&worker, params, batch, BATCH, 1.0f / BATCH, rng_u64(&rng));
        for (size_t i = 0; i < n; i++)
            mean[i] += (double)worker.grads[i] / DRAWS;
    }
    train__worker_fini(&worker);
}

static double distance(size_t n, const double *a, const double *b)
{
    double apart = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        apart += (a[i] - b[i]) * (a[i] - b[i]);
        size += b[i] * b[i];
    }
    return sqrt(apart / size);
}

static float *random_params(const struct model_config *config, struct rng *rng)
{
    float *params = mem_aligned(64, model_params_floats(config) * sizeof(float));
    model_params_init(config, 3, params);
    size_t bias = model_param_offset(config, MODEL_ITEM_BIAS, 0);
    for (int i = 0; i < config->N * config->D; i++)
        params[i] += 0.1f * (float)rng_normal(rng);
    for (int i = 0; i < config->N; i++)
        params[bias + (size_t)i] = 0.3f * (float)rng_normal(rng);
    return params;
}

/* What remains between the mean of many samples and the full gradient is the bias of a ratio of estimates, which falls with
 * the sample, and the noise of the mean. Looked at by item.bias, whose gradient is that of the logits alone. */
static void sampled_becomes_full(void)
{
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    struct train_data *data = pairs_of_items(&rng);
    struct train_options options = train_options_default();
    options.dropout = 0;
    options.validation = 0;
    struct train__plan plan;
    struct err err = ERR_INIT;
    CHECK_OK(train__plan_make(&plan, data, &options, &err), err);
    struct model_config config = {.N = plan.N, .D = 16, .H = 16, .L = 1, .F = 16};
    size_t n = model_params_floats(&config), bias = model_param_offset(&config, MODEL_ITEM_BIAS, 0);
    float *params = random_params(&config, &rng);
    double *full = mem_alloc(n * sizeof(double)), *sampled = mem_alloc(n * sizeof(double));
    for (int smooth = 0; smooth < 2; smooth++) {
        options.label_smoothing = smooth ? 0.3 : 0;
        options.loss = TRAIN_FULL;
        mean_gradient(&plan, &options, &config, params, full);
        options.loss = TRAIN_SAMPLED;
        double apart[4] = {0};
        static const int negatives[4] = {10, 50, 250, 5000};
        for (int i = smooth ? 2 : 0; i < 4; i++) {
            options.negatives = negatives[i];
            mean_gradient(&plan, &options, &config, params, sampled);
            apart[i] = distance((size_t)plan.N, sampled + bias, full + bias);
            printf("  %4d negatives of %d items, smoothing %.1f: apart %.5f\n", negatives[i],
                   plan.N, options.label_smoothing, apart[i]);
        }
        CHECK(apart[0] < 0.15); /* .11; without correction .5 */
        CHECK(apart[1] < 0.09); /* .06; .25 */
        CHECK(apart[2] < 0.04); /* .028; .05 */
        CHECK(apart[3] < 1e-3);
    }
    mem_free(full);
    mem_free(sampled);
    mem_free(params);
    train__plan_free(&plan);
    train_data_free(data);
}

int main(void)
{
    CASE(softmax_gradients);
    CASE(softmax_of_large_logits);
    CASE(gbce_gradients);
    CASE(sampled_becomes_full);
    return 0;
}
