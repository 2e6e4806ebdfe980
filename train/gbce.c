/* Generalised binary cross-entropy. Each position looks at K + 1 rows of the item embedding only. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "train/kernels.h"
#include "train/loss.h"

/* candidate[0..K) <- negatives, candidate[K] <- the target. */
static void draw(const struct train__gbce *args, int32_t target, struct rng *rng)
{
    for (int j = 0; j < args->K; j++) {
        int32_t item = (int32_t)rng_below(rng, (uint64_t)args->C - 1);
        args->candidate[j] = item + (item >= target);
    }
    args->candidate[args->K] = target;
}

/* Logits become the gradients of one position's loss by them, without scale; returns the loss. */
static double turn(const struct train__gbce *args, float beta)
{
    float share = 1.0f / (float)(args->K + 1);
    double total = 0;
    for (int j = 0; j <= args->K; j++) {
        float s = args->logit[j] + args->bias[args->candidate[j]];
        float weight = share;
        if (j == args->K) { /* -log sigma(s) = -log(1 - sigma(-s)) */
            s = -s;
            weight = -share * beta;
        }
        float e = expf(-fabsf(s)); /* no overflow on either side */
        float missed = log1pf(e) + (s > 0 ? s : 0);
        args->logit[j] = weight * (s > 0 ? 1 : e) / (1 + e);
        total += (double)fabsf(weight) * (double)missed;
    }
    return total;
}

double train__loss_gbce(const struct train__gbce *args, struct rng *rng)
{
    assert(args->C > 1 || args->K == 0);
    size_t D = (size_t)args->D;
    int n = args->K + 1;
    double alpha = args->C > 1 ? (double)args->K / (args->C - 1) : 1;
    double beta = 1 - args->t * (1 - (alpha < 1 ? alpha : 1)), total = 0;
    for (int p = 0; p < args->P; p++) {
        const float *x = args->x + (size_t)p * D;
        draw(args, args->target[p], rng);
        if (args->before) args->before(args->context, args->candidate, n);
        args->kernels->gather_dots(n, args->D, args->candidate, args->weight, x, args->logit);
        total += turn(args, (float)beta);
        for (int j = 0; j < n; j++) {
            args->logit[j] *= args->scale;
            args->dbias[args->candidate[j]] += args->logit[j];
            args->touched[args->candidate[j]] = 1;
        }
        float *dx = args->dx + (size_t)p * D;
        memset(dx, 0, D * sizeof(float));
        args->kernels->scatter_products(n, args->D, args->candidate, args->logit, args->weight, x,
                                        dx, args->dweight);
    }
    return total;
}
