/* Intervals against the normal law: for many users the bootstrap's must come close to mean -+ 1.96 standard errors. */
#include "tests/test.h"

#include "base/mem.h"
#include "train/eval.h"

enum { RESAMPLES = 4000, TARGETS = 1000 };

/* Everything that an evaluation leaves behind, of three arms. */
struct scene {
    struct eval_options options;
    struct eval_result result;
    struct train__asked asked[TARGETS];
    struct train__tally tally[EVAL_ARMS];
    uint16_t rank[EVAL_ARMS][TARGETS];
};

/* per_user: targets of each user, one after the other. */
static struct scene *scene_new(int per_user, uint64_t seed)
{
    struct scene *s = mem_zalloc(sizeof *s);
    s->options = (struct eval_options){
        .k = {1, 4}, .n_k = 2, .resamples = RESAMPLES, .seed = seed, .against = EVAL_POPULAR};
    s->result.targets = TARGETS;
    for (int q = 0; q < TARGETS; q++)
        s->asked[q].user = q / per_user * 3; /* users without targets lie between */
    for (int arm = 0; arm < EVAL_ARMS; arm++) {
        s->tally[arm] = (struct train__tally){.rank = s->rank[arm], .n = TARGETS};
        s->result.asked[arm] = arm == EVAL_POPULAR || arm == EVAL_MARKOV || arm == EVAL_NEIGHBOURS;
    }
    return s;
}

/* The first `hits` targets of the arm get this rank. */
static void set_hits(struct scene *s, int arm, int hits, uint16_t rank)
{
    for (int q = 0; q < hits; q++)
        s->rank[arm][q] = rank;
}

static void run(struct scene *s)
{
    train__bootstrap(&s->options, s->asked, 3 * TARGETS, s->tally, &s->result);
}

/* mean -+ 1.96 standard errors, to a quarter of one: the bounds of 4,000 resamples vary by a twentieth, and steps of a
 * thousandth and the skew of a rare hit take them a tenth away from the normal law. */
static void check_normal(double low, double high, double mean, double error)
{
    CHECK_NEAR(low, mean - 1.96 * error, error / 4);
    CHECK_NEAR(high, mean + 1.96 * error, error / 4);
}

static void one_target_a_user(void)
{
    struct scene *s = scene_new(1, TEST_SEED());
    set_hits(s, EVAL_POPULAR, 300, 3);
    set_hits(s, EVAL_MARKOV, 400, 3);
    set_hits(s, EVAL_NEIGHBOURS, TARGETS, 1);
    run(s);
    const struct eval_interval *popular = &s->result.interval[EVAL_POPULAR];
    double error = sqrt(0.3 * 0.7 / TARGETS);
    check_normal(popular->low.hr[1], popular->high.hr[1], 0.3, error);
    check_normal(popular->low.mrr[1], popular->high.mrr[1], 0.3 / 3, error / 3);
    check_normal(popular->low.ndcg[1], popular->high.ndcg[1], 0.3 / 2, error / 2);
    CHECK_NEAR(popular->high.hr[0], 0, 0); /* rank 3 is beyond the first place */
    CHECK_NEAR(s->result.interval[EVAL_NEIGHBOURS].low.hr[0], 1, 0);
    CHECK_NEAR(s->result.interval[EVAL_NEIGHBOURS].high.mrr[1], 1, 0);
    /* The same users: only the hundred that one arm hits and the other does not make the difference. */
    const struct eval_interval *difference = &s->result.difference[EVAL_MARKOV];
    check_normal(difference->low.hr[1], difference->high.hr[1], 0.1, sqrt(0.1 * 0.9 / TARGETS));
    CHECK_NEAR(s->result.difference[EVAL_POPULAR].low.hr[1], 0, 0);
    CHECK_NEAR(s->result.interval[EVAL_ENCODER].high.hr[1], 0, 0); /* not asked */
    mem_free(s);
}

/* Ten targets of a user that share their fate are worth no more than one. */
static void ten_targets_a_user(void)
{
    struct scene *s = scene_new(10, TEST_SEED());
    set_hits(s, EVAL_POPULAR, 300, 1);
    run(s);
    const struct eval_interval *popular = &s->result.interval[EVAL_POPULAR];
    check_normal(popular->low.hr[1], popular->high.hr[1], 0.3, sqrt(0.3 * 0.7 / 100));
    mem_free(s);
}

static void a_seed_repeats(void)
{
    struct scene *a = scene_new(1, 5), *b = scene_new(1, 5), *c = scene_new(1, 6);
    struct scene *const all[] = {a, b, c};
    for (int i = 0; i < 3; i++) {
        for (int q = 0; q < TARGETS; q++)
            all[i]->rank[EVAL_MARKOV][q] =
                (uint16_t)(q % 5); /* many values, so that seeds differ */
        run(all[i]);
    }
    const struct eval_interval *x = &a->result.interval[EVAL_MARKOV],
                               *y = &b->result.interval[EVAL_MARKOV],
                               *z = &c->result.interval[EVAL_MARKOV];
    CHECK_NEAR(x->low.mrr[1], y->low.mrr[1], 0);
    CHECK_NEAR(x->high.ndcg[1], y->high.ndcg[1], 0);
    CHECK(fabs(x->low.mrr[1] - z->low.mrr[1]) > 0);
    for (int i = 0; i < 3; i++)
        mem_free(all[i]);
}

int main(void)
{
    CASE(one_target_a_user);
    CASE(ten_targets_a_user);
    CASE(a_seed_repeats);
    return 0;
}
