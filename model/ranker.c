/* The learned ranker: features of candidates (model.h has the formulas), a layer of hidden units, the K best.
 *
 * All is written in operations of one result (IEEE 754 sums, products, quotients and fma) in one order, so that lists do not
 * depend on the C library: the logarithm is our own. Candidates go through the layer in blocks on the stack. */

#include "model/internal.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"

enum { BLOCK = 64, RANK_OFFSET = 60, FOLLOW_PRIOR = 3 };

#define SHARE_LEAST (-5.0f)

const char *const model_feature_names[FEATURE_COUNT] = {
    [FEATURE_LISTED + ARM_ENCODER] = "encoder.listed",
    [FEATURE_LISTED + ARM_NEIGHBOURS] = "neighbours.listed",
    [FEATURE_LISTED + ARM_POPULAR] = "popular.listed",
    [FEATURE_LISTED + ARM_RELATED] = "related.listed",
    [FEATURE_LISTED + ARM_TRENDING] = "trending.listed",
    [FEATURE_RANK + ARM_ENCODER] = "encoder.rank",
    [FEATURE_RANK + ARM_NEIGHBOURS] = "neighbours.rank",
    [FEATURE_RANK + ARM_POPULAR] = "popular.rank",
    [FEATURE_RANK + ARM_RELATED] = "related.rank",
    [FEATURE_RANK + ARM_TRENDING] = "trending.rank",
    [FEATURE_SHARE + ARM_ENCODER] = "encoder.share",
    [FEATURE_SHARE + ARM_NEIGHBOURS] = "neighbours.share",
    [FEATURE_SHARE + ARM_POPULAR] = "popular.share",
    [FEATURE_SHARE + ARM_RELATED] = "related.share",
    [FEATURE_SHARE + ARM_TRENDING] = "trending.share",
    [FEATURE_FOLLOWS] = "follows",
    [FEATURE_FOLLOW_SHARE] = "follow.share",
    [FEATURE_POPULARITY] = "popularity",
    [FEATURE_SESSION_HOLDS] = "session.holds",
    [FEATURE_SESSION_STEPS] = "session.steps",
    [FEATURE_SESSION_TIMES] = "session.times",
    [FEATURE_SESSION_NEWEST] = "session.newest",
    [FEATURE_SESSION_LENGTH] = "session.length",
    [FEATURE_PRICE] = "price",
    [FEATURE_CATEGORY] = "category",
};
_Static_assert((int)FEATURE_COUNT <= (int)MODEL_FEATURES, "a row has a place for each feature");

/* ---- the session ---- */

static bool is_key_in(const uint64_t *keys, int n, uint64_t key)
{
    for (int i = 0; i < n; i++)
        if (keys[i] == key) return true;
    return false;
}

void model_session_note(struct model_session *session, const uint64_t *keys, int n,
                        bool (*skip)(void *context, uint64_t key), void *context)
{
    session->n = n < MODEL_RANKER_SESSION ? n : MODEL_RANKER_SESSION;
    session->n_repeats = 0;
    for (int i = 0; i < session->n; i++)
        session->keys[i] = keys[n - session->n + i];
    for (int i = session->n - 1; i >= 0; i--) {
        uint64_t key = session->keys[i];
        if (is_key_in(session->repeats, session->n_repeats, key)) continue;
        if (!skip || !skip(context, key)) session->repeats[session->n_repeats++] = key;
    }
}

void model_ranking_session(struct model_ranking *ranking, const struct model_session *session)
{
    ranking->session = session->keys;
    ranking->n_session = session->n;
    ranking->repeats = (struct model_candidates){.keys = session->repeats, .n = session->n_repeats};
}

/* ---- features ---- */

/* ln(x) for positive, normal x: x = m 2^e, m within sqrt(2) of 1, t = (m - 1) / (m + 1), ln(m) = 2 (t + t^3/3 + t^5/5 + ...).
 * |t| is at most 0.172, so the first term left out is 1e-9 of t. */
static float ln_of(float x)
{
    int e;
    float m = frexpf(x, &e);
    if (m < 0.70710678f) {
        m *= 2.0f;
        e--;
    }
    float t = (m - 1.0f) / (m + 1.0f), s = t * t;
    float p = fmaf(s, fmaf(s, fmaf(s, fmaf(s, 1.0f / 9.0f, 1.0f / 7.0f), 0.2f), 1.0f / 3.0f), 1.0f);
    return fmaf((float)e, 0.69314718f, 2.0f * t * p);
}

/* What all candidates of a list have in common. */
struct common {
    const struct model_ranking *ranking;
    const uint64_t *session; /* (n_session) newest last */
    int n_session;
    float score_sum[ARM_COUNT]; /* of each arm's list */
    float follow_sum;
    float length;
    float per_ln_items;              /* 1 / ln(1 + N) */
    struct model__affinity affinity; /* only of a model that has facts */
};

static void common_make(const struct model *model, const struct model_ranking *ranking,
                        struct common *common)
{
    const struct model_candidates *neighbours = &ranking->arms[ARM_NEIGHBOURS];
    common->ranking = ranking;
    common->session = ranking->session;
    common->n_session = ranking->n_session;
    if (common->n_session > MODEL_RANKER_SESSION) {
        common->session += common->n_session - MODEL_RANKER_SESSION;
        common->n_session = MODEL_RANKER_SESSION;
    }
    common->follow_sum = 0.0f;
    for (int i = 0; i < neighbours->n && ranking->follows; i++)
        common->follow_sum += (float)ranking->follows[i];
    for (int a = 0; a < ARM_COUNT; a++) {
        common->score_sum[a] = 0.0f;
        for (int i = 0; i < ranking->arms[a].n && ranking->arms[a].scores; i++)
            common->score_sum[a] += ranking->arms[a].scores[i];
    }
    common->length = common->n_session > 0 ? ln_of((float)common->n_session) / 3.0f : 0.0f;
    common->per_ln_items = 1.0f / ln_of(1.0f + (float)model->config.N);
    if (model->facts)
        model__affinity_note(model, common->session, common->n_session, &common->affinity);
}

/* Of an arm, for the candidate at this rank in its list. */
static float share_of(const struct common *common, int arm, int rank)
{
    const struct model_candidates *list = &common->ranking->arms[arm];
    float share = 0.0f;
    if (!list->scores) return share;
    if (arm == ARM_ENCODER) share = (list->scores[rank - 1] - list->scores[0]) / 4.0f;
    if (arm == ARM_NEIGHBOURS || arm == ARM_RELATED || arm == ARM_TRENDING) {
        float part = list->scores[rank - 1] / common->score_sum[arm];
        share = part > 1e-9f ? ln_of(part) / 4.0f : SHARE_LEAST;
    }
    return share > SHARE_LEAST ? share : SHARE_LEAST;
}

static void session_write(const struct common *common, uint64_t key, float *x)
{
    int times = 0, steps = 0;
    for (int back = 1; back <= common->n_session; back++) {
        if (common->session[common->n_session - back] != key) continue;
        if (times++ == 0) steps = back;
    }
    x[FEATURE_SESSION_LENGTH] = common->length;
    if (times == 0) return;
    x[FEATURE_SESSION_HOLDS] = 1.0f;
    x[FEATURE_SESSION_STEPS] = 1.0f / (float)steps;
    x[FEATURE_SESSION_TIMES] = ln_of((float)times);
    x[FEATURE_SESSION_NEWEST] = steps == 1 ? 1.0f : 0.0f;
}

/* x (MODEL_FEATURES) written. */
static void features_write(const struct model *model, const struct common *common,
                           const struct model__met *met, float *x)
{
    memset(x, 0, MODEL_FEATURES * sizeof *x);
    for (int a = 0; a < ARM_COUNT; a++) {
        if (met->rank[a] == 0) continue;
        x[FEATURE_LISTED + a] = 1.0f;
        x[FEATURE_RANK + a] = (float)RANK_OFFSET / (float)(RANK_OFFSET + met->rank[a]);
        x[FEATURE_SHARE + a] = share_of(common, a, met->rank[a]);
    }
    if (common->ranking->follows && met->rank[ARM_NEIGHBOURS] > 0) {
        float follows = (float)common->ranking->follows[met->rank[ARM_NEIGHBOURS] - 1];
        x[FEATURE_FOLLOWS] = ln_of(1.0f + follows) / 4.0f;
        x[FEATURE_FOLLOW_SHARE] = follows / ((float)FOLLOW_PRIOR + common->follow_sum);
    }
    int32_t index = model_item_index(model, met->key);
    if (index >= 0)
        x[FEATURE_POPULARITY] = 1.0f - ln_of(1.0f + (float)index) * common->per_ln_items;
    if (index >= 0 && model->facts) {
        x[FEATURE_PRICE] = model__affinity_price(model, &common->affinity, index);
        x[FEATURE_CATEGORY] = model__affinity_category(model, &common->affinity, index);
    }
    session_write(common, met->key, x);
}

static uint32_t arms_of(const struct model__met *met)
{
    uint32_t arms = 0;
    for (int a = 0; a < ARM_COUNT; a++)
        if (met->rank[a] > 0) arms |= UINT32_C(1) << a;
    return arms;
}

/* All candidates: those of the arms that `knows` does not leave out (NULL leaves out none) and the repeats. Returns how many. */
static int meet(const struct model_ranking *ranking, const bool *knows, struct model__met *met)
{
    struct model_candidates lists[ARM_COUNT + 1];
    memcpy(lists, ranking->arms, sizeof ranking->arms);
    for (int a = 0; knows && a < ARM_COUNT; a++)
        if (!knows[a]) lists[a].n = 0;
    lists[ARM_COUNT] = ranking->repeats;
    return model__candidates_meet(lists, ARM_COUNT + 1, met);
}

int model_rank_features(const struct model *model, const struct model_ranking *ranking,
                        struct model_blended *met, float *features)
{
    struct model__met all[MODEL_MAX_CANDIDATES];
    struct common common;
    common_make(model, ranking, &common);
    int n = meet(ranking, NULL, all);
    for (int i = 0; i < n; i++) {
        met[i] = (struct model_blended){.key = all[i].key, .arms = arms_of(&all[i])};
        features_write(model, &common, &all[i], features + (size_t)i * MODEL_FEATURES);
    }
    return n;
}

/* ---- scores ---- */

/* score (n) of features (n,MODEL_FEATURES); n at most BLOCK. */
static void block_score(const struct model *model, int n, const float *features, float *score)
{
    const struct model__ranker *ranker = model->ranker;
    float hidden[BLOCK * MODEL_RANKER_HIDDEN];
    model->kernels->matmul(n, MODEL_FEATURES, MODEL_RANKER_HIDDEN, features, ranker->packed,
                           ranker->params.in_bias, hidden);
    for (int i = 0; i < n * MODEL_RANKER_HIDDEN; i++)
        hidden[i] = hidden[i] > 0.0f ? hidden[i] : 0.0f;
    for (int i = 0; i < n; i++)
        score[i] = model->kernels->dot(MODEL_FEATURES, features + i * MODEL_FEATURES,
                                       ranker->params.linear) +
                   model->kernels->dot(MODEL_RANKER_HIDDEN, hidden + i * MODEL_RANKER_HIDDEN,
                                       ranker->params.out_weight);
}

int model_rank(const struct model *model, const struct model_ranking *ranking, int K,
               struct model_blended *out)
{
    struct model__met met[MODEL_MAX_CANDIDATES];
    struct common common;
    common_make(model, ranking, &common);
    assert(model->ranker != NULL);
    int n = meet(ranking, model->ranker->knows, met), kept = 0;
    for (int at = 0; at < n; at += BLOCK) {
        float features[BLOCK * MODEL_FEATURES], score[BLOCK];
        int size = n - at < BLOCK ? n - at : BLOCK;
        for (int i = 0; i < size; i++)
            features_write(model, &common, &met[at + i], features + i * MODEL_FEATURES);
        block_score(model, size, features, score);
        for (int i = 0; i < size; i++)
            kept = model__best_keep(out, kept, K,
                                    (struct model_blended){.key = met[at + i].key,
                                                           .score = score[i] + 0.0f,
                                                           .arms = arms_of(&met[at + i])});
    }
    return kept;
}

/* ---- the model's ranker ---- */

const struct model_ranker *model_ranker(const struct model *model)
{
    return model->ranker ? &model->ranker->params : NULL;
}

static bool has_weight(const struct model_ranker *ranker, int feature)
{
    bool has = ranker->linear[feature] != 0.0f;
    for (int j = 0; j < MODEL_RANKER_HIDDEN; j++)
        has = has || ranker->in_weight[feature * MODEL_RANKER_HIDDEN + j] != 0.0f;
    return has;
}

void model_set_ranker(struct model *model, const struct model_ranker *ranker)
{
    mem_free(model->ranker);
    model->ranker = NULL;
    if (!ranker) return;
    model->ranker = mem_aligned(64, sizeof *model->ranker);
    model->ranker->params = *ranker;
    for (int a = 0; a < ARM_COUNT; a++)
        model->ranker->knows[a] = has_weight(ranker, FEATURE_LISTED + a) ||
                                  has_weight(ranker, FEATURE_RANK + a) ||
                                  has_weight(ranker, FEATURE_SHARE + a);
    model__pack(MODEL_FEATURES, MODEL_RANKER_HIDDEN, ranker->in_weight, model->ranker->packed);
}
