/* Learning the ranker (model.h) from lists of candidates.
 *
 * Softmax cross-entropy over each list, mini-batches, Adam, a rate that falls as a cosine, small weights by L2. Twice: from four
 * fifths of the users, watching the others, which tells for how many epochs, and whether the lists get better than rank
 * fusion's; then from all of them for as many epochs. Pairwise losses (LambdaRank with the change of MRR) were no better. */
#include "train/ranker.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"

enum {
    HIDDEN = MODEL_RANKER_HIDDEN,
    EPOCHS = 16,
    BATCH = 32, /* lists */
    FOLDS = 5,
    FLOATS = sizeof(struct model_ranker) / sizeof(float),
};
_Static_assert(sizeof(struct model_ranker) % sizeof(float) == 0, "a ranker is a row of floats");

static const double RATE = 0.01, DECAY = 1e-5, BETA1 = 0.9, BETA2 = 0.999;
/* Of fusion's scores, so that the first gradients are neither flat nor steep. */
#define START_SCALE   5.0f
#define START_POPULAR 0.03f

/* ---- forward and backward of one list ---- */

struct pass {
    float hidden[TRAIN__CANDIDATES * HIDDEN]; /* (n,HIDDEN) behind the relu */
    float score[TRAIN__CANDIDATES];
};

/* The ranker by its formula; sums in BLAS's order, so the last bits may differ from model_rank. */
static void forward(const struct model_ranker *ranker, const float *x, int n, struct pass *pass)
{
    for (int i = 0; i < n; i++)
        memcpy(pass->hidden + i * HIDDEN, ranker->in_bias, sizeof ranker->in_bias);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, HIDDEN, FEATURE_COUNT, 1.0f, x,
                FEATURE_COUNT, ranker->in_weight, HIDDEN, 1.0f, pass->hidden, HIDDEN);
    for (int i = 0; i < n * HIDDEN; i++)
        pass->hidden[i] = pass->hidden[i] > 0 ? pass->hidden[i] : 0;
    cblas_sgemv(CblasRowMajor, CblasNoTrans, n, FEATURE_COUNT, 1.0f, x, FEATURE_COUNT,
                ranker->linear, 1, 0.0f, pass->score, 1);
    cblas_sgemv(CblasRowMajor, CblasNoTrans, n, HIDDEN, 1.0f, pass->hidden, HIDDEN,
                ranker->out_weight, 1, 1.0f, pass->score, 1);
}

/* d: (n) the loss's derivative by each score. pass->hidden is used up. */
static void backward(const struct model_ranker *ranker, const float *x, int n, const float *d,
                     struct pass *pass, struct model_ranker *grads)
{
    cblas_sgemv(CblasRowMajor, CblasTrans, n, FEATURE_COUNT, 1.0f, x, FEATURE_COUNT, d, 1, 1.0f,
                grads->linear, 1);
    cblas_sgemv(CblasRowMajor, CblasTrans, n, HIDDEN, 1.0f, pass->hidden, HIDDEN, d, 1, 1.0f,
                grads->out_weight, 1);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < HIDDEN; j++) {
            float *h = &pass->hidden[i * HIDDEN + j];
            *h = *h > 0 ? d[i] * ranker->out_weight[j] : 0;
            grads->in_bias[j] += *h;
        }
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, FEATURE_COUNT, HIDDEN, n, 1.0f, x,
                FEATURE_COUNT, pass->hidden, HIDDEN, 1.0f, grads->in_weight, HIDDEN);
}

double train__ranker_loss(const struct model_ranker *ranker, const struct train__lists *lists,
                          int list, struct model_ranker *grads)
{
    const struct train__ranked *at = &lists->lists[list];
    const float *x = lists->x + at->first * FEATURE_COUNT;
    struct pass pass;
    float d[TRAIN__CANDIDATES];
    double sum = 0, largest = -(double)INFINITY;
    forward(ranker, x, at->n, &pass);
    for (int i = 0; i < at->n; i++)
        largest = fmax(largest, (double)pass.score[i]);
    for (int i = 0; i < at->n; i++)
        sum += exp((double)pass.score[i] - largest);
    double loss = log(sum) + largest - (double)pass.score[at->target];
    if (!grads) return loss;
    for (int i = 0; i < at->n; i++)
        d[i] = (float)(exp((double)pass.score[i] - largest) / sum - (i == at->target));
    backward(ranker, x, at->n, d, &pass, grads);
    return loss;
}

/* ---- watching ---- */

static bool is_watched(const struct train__ranked *list)
{
    return list->user % FOLDS == 0;
}

static int rank_of(const float *score, const struct train__ranked *list)
{
    int rank = 1;
    for (int i = 0; i < list->n; i++)
        rank +=
            score[i] > score[list->target] || (score[i] >= score[list->target] && i < list->target);
    return rank;
}

/* Means over the watched lists: of the loss, and of NDCG@20, 1 / log2(rank + 1) for ranks up to 20. */
static void watch(const struct model_ranker *ranker, const struct train__lists *lists, double *loss,
                  double *ndcg)
{
    int n = 0;
    *loss = *ndcg = 0;
    for (int l = 0; l < lists->n; l++) {
        const struct train__ranked *at = &lists->lists[l];
        struct pass pass;
        if (!is_watched(at)) continue;
        *loss += train__ranker_loss(ranker, lists, l, NULL);
        forward(ranker, lists->x + at->first * FEATURE_COUNT, at->n, &pass);
        int rank = rank_of(pass.score, at);
        if (rank <= 20) *ndcg += 1 / log2(rank + 1.0);
        n++;
    }
    if (n == 0) return;
    *loss /= n;
    *ndcg /= n;
}

/* ---- learning ---- */

static bool is_of_arm(int feature, int arm)
{
    return feature == FEATURE_LISTED + arm || feature == FEATURE_RANK + arm ||
           feature == FEATURE_SHARE + arm;
}

/* Arms that a log need not have. */
static bool is_optional(int feature)
{
    return is_of_arm(feature, ARM_RELATED) || is_of_arm(feature, ARM_TRENDING);
}

static void in_weight_draw(struct model_ranker *ranker, bool of_optional, struct rng *rng)
{
    for (int i = 0; i < FEATURE_COUNT * HIDDEN; i++)
        if (is_optional(i / HIDDEN) == of_optional)
            ranker->in_weight[i] = (float)(rng_unit(rng) - 0.5);
}

void train__ranker_start(struct model_ranker *ranker, uint64_t seed)
{
    struct rng rng;
    *ranker = (struct model_ranker){0};
    rng_init(&rng, seed ^ 0x72616e6b6572u);
    ranker->linear[FEATURE_RANK + ARM_ENCODER] = START_SCALE;
    ranker->linear[FEATURE_RANK + ARM_NEIGHBOURS] = START_SCALE;
    ranker->linear[FEATURE_RANK + ARM_POPULAR] = START_SCALE * START_POPULAR;
    ranker->linear[FEATURE_RANK + ARM_RELATED] = START_SCALE;
    ranker->linear[FEATURE_RANK + ARM_TRENDING] = START_SCALE * START_POPULAR;
    /* Optional arms draw last: without them the others start from the same weights. */
    in_weight_draw(ranker, false, &rng);
    for (int j = 0; j < HIDDEN; j++)
        ranker->out_weight[j] = (float)(0.2 * (rng_unit(&rng) - 0.5));
    in_weight_draw(ranker, true, &rng);
}

/* An arm that proposes nothing in any list gets no weights: the ranker knows nothing of it. */
static void unmet_forget(struct model_ranker *ranker, const struct train__lists *lists)
{
    for (int a = 0; a < ARM_COUNT; a++) {
        const int features[] = {FEATURE_LISTED + a, FEATURE_RANK + a, FEATURE_SHARE + a};
        bool is_met = false;
        for (size_t r = 0; r < lists->n_rows && !is_met; r++)
            is_met = lists->x[r * FEATURE_COUNT + (size_t)features[0]] > 0;
        for (int f = 0; f < 3 && !is_met; f++) {
            ranker->linear[features[f]] = 0;
            memset(ranker->in_weight + features[f] * HIDDEN, 0, HIDDEN * sizeof(float));
        }
    }
}

struct learner {
    const struct train__lists *lists;
    struct model_ranker *ranker;
    double first[FLOATS], second[FLOATS]; /* Adam's moments */
    int steps, steps_planned;
    int *order; /* (n) lists that are learnt from */
    int n;
    struct rng rng;
};

static void learner_init(struct learner *learner, const struct train__lists *lists,
                         struct model_ranker *ranker, bool all, uint64_t seed)
{
    *learner = (struct learner){.lists = lists, .ranker = ranker};
    learner->order = mem_alloc((size_t)lists->n * sizeof *learner->order);
    for (int l = 0; l < lists->n; l++)
        if (all || !is_watched(&lists->lists[l])) learner->order[learner->n++] = l;
    learner->steps_planned = EPOCHS * ((learner->n + BATCH - 1) / BATCH);
    rng_init(&learner->rng, seed);
    train__ranker_start(ranker, seed);
    unmet_forget(ranker, lists);
}

/* Kingma, Ba 2015, algorithm 1. grads: summed over n lists. */
static void step(struct learner *learner, const struct model_ranker *grads, int n)
{
    double along = (double)learner->steps++ / learner->steps_planned;
    double rate = RATE * (0.02 + 0.98 * 0.5 * (1 + cos(3.14159265358979 * along)));
    double left1 = 1 - pow(BETA1, learner->steps), left2 = 1 - pow(BETA2, learner->steps);
    float *weight = learner->ranker->linear;
    const float *grad = grads->linear;
    for (size_t i = 0; i < FLOATS; i++) {
        double g = (double)grad[i] / n + DECAY * (double)weight[i];
        learner->first[i] = BETA1 * learner->first[i] + (1 - BETA1) * g;
        learner->second[i] = BETA2 * learner->second[i] + (1 - BETA2) * g * g;
        weight[i] -=
            (float)(rate * (learner->first[i] / left1) / (sqrt(learner->second[i] / left2) + 1e-8));
    }
}

static void epoch(struct learner *learner)
{
    for (int i = learner->n - 1; i > 0; i--) {
        int j = (int)rng_below(&learner->rng, (uint64_t)i + 1), list = learner->order[i];
        learner->order[i] = learner->order[j];
        learner->order[j] = list;
    }
    for (int at = 0; at < learner->n; at += BATCH) {
        int n = learner->n - at < BATCH ? learner->n - at : BATCH;
        struct model_ranker grads = {0};
        for (int i = 0; i < n; i++)
            (void)train__ranker_loss(learner->ranker, learner->lists, learner->order[at + i],
                                     &grads);
        step(learner, &grads, n);
    }
}

/* Rank fusion's quality on the watched lists. ranker: as it starts. */
static double fusion_quality(const struct model_ranker *ranker, const struct train__lists *lists)
{
    struct model_ranker fusion = *ranker;
    double loss, ndcg;
    memset(fusion.out_weight, 0, sizeof fusion.out_weight);
    watch(&fusion, lists, &loss, &ndcg);
    return ndcg;
}

void train__ranker_learn(const struct train__lists *lists, uint64_t seed,
                         struct model_ranker *ranker, struct train_ranker_result *result)
{
    struct learner *learner = mem_alloc(sizeof *learner);
    double least = (double)INFINITY;
    learner_init(learner, lists, ranker, false, seed);
    result->fusion = fusion_quality(ranker, lists);
    for (int e = 1; e <= EPOCHS; e++) {
        double loss, ndcg;
        epoch(learner);
        watch(ranker, lists, &loss, &ndcg);
        if (loss >= least) continue;
        least = loss;
        result->ranked = ndcg;
        result->epochs = e;
    }
    mem_free(learner->order);
    learner_init(learner, lists, ranker, true, seed);
    for (int e = 1; e <= result->epochs; e++)
        epoch(learner);
    mem_free(learner->order);
    mem_free(learner);
}
