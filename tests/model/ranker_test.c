/* The learned ranker: features by their formulas, scores by the definition, its file. */

#include "tests/test.h"

#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "model/model.h"

enum { N = 50 };

static struct model_ranker random_ranker(struct rng *rng)
{
    struct model_ranker ranker = {0};
    for (int f = 0; f < FEATURE_COUNT; f++) {
        ranker.linear[f] = (float)(rng_unit(rng) - 0.5);
        for (int j = 0; j < MODEL_RANKER_HIDDEN; j++)
            ranker.in_weight[f * MODEL_RANKER_HIDDEN + j] = (float)(rng_unit(rng) - 0.5);
    }
    for (int j = 0; j < MODEL_RANKER_HIDDEN; j++) {
        ranker.in_bias[j] = (float)(rng_unit(rng) - 0.5);
        ranker.out_weight[j] = (float)(rng_unit(rng) - 0.5);
    }
    return ranker;
}

static double score_naive(const struct model_ranker *ranker, const float *x)
{
    double score = 0;
    for (int f = 0; f < FEATURE_COUNT; f++)
        score += (double)ranker->linear[f] * (double)x[f];
    for (int j = 0; j < MODEL_RANKER_HIDDEN; j++) {
        double h = (double)ranker->in_bias[j];
        for (int f = 0; f < FEATURE_COUNT; f++)
            h += (double)ranker->in_weight[f * MODEL_RANKER_HIDDEN + j] * (double)x[f];
        if (h > 0) score += h * (double)ranker->out_weight[j];
    }
    return score;
}

/* Lists of the model's items, with scores, counts and a session. */
struct lists {
    uint64_t keys[ARM_COUNT][N], session[30], repeats[2];
    float scores[ARM_COUNT][N];
    uint32_t follows[N];
    struct model_ranking ranking;
};

static void lists_draw(const struct model *model, struct rng *rng, int n, struct lists *lists)
{
    lists->ranking = (struct model_ranking){.session = lists->session, .n_session = 30};
    for (int a = 0; a < ARM_COUNT; a++) {
        int from = (int)rng_below(rng, N);
        for (int i = 0; i < n; i++) {
            lists->keys[a][i] = model_item_key(model, (from + i * 3) % N);
            lists->scores[a][i] = (float)(n - i) + (float)rng_unit(rng);
            lists->follows[i] = (uint32_t)rng_below(rng, 5);
        }
        lists->ranking.arms[a] = (struct model_candidates){
            .keys = lists->keys[a], .n = n, .scores = a == ARM_POPULAR ? NULL : lists->scores[a]};
    }
    for (int i = 0; i < 30; i++)
        lists->session[i] = model_item_key(model, (int32_t)rng_below(rng, 8));
    lists->repeats[0] = 12345; /* an item that the model does not know */
    lists->repeats[1] = lists->session[29];
    lists->ranking.follows = lists->follows;
    lists->ranking.repeats = (struct model_candidates){.keys = lists->repeats, .n = 2};
}

/* One candidate of each arm and a repeat, by hand. */
static void case_known_features(void)
{
    struct model *model = model_random(N, 16, 16, 1, 7);
    uint64_t key[3];
    for (int i = 0; i < 3; i++)
        key[i] = model_item_key(model, i);
    const uint64_t session[] = {key[2], key[1], key[2], key[0]};
    const float encoder[] = {3.0f, 1.0f}, neighbours[] = {6.0f, 2.0f};
    const uint32_t follows[] = {4, 1};
    const uint64_t first[] = {key[0], key[1]}, second[] = {key[1], 99};
    struct model_ranking ranking = {
        .arms = {[ARM_ENCODER] = {.keys = first, .n = 2, .scores = encoder},
                 [ARM_NEIGHBOURS] = {.keys = second, .n = 2, .scores = neighbours}},
        .follows = follows,
        .session = session,
        .n_session = 4,
        .repeats = {.keys = &key[2], .n = 1}};
    struct model_blended met[5];
    float x[5][MODEL_FEATURES];
    CHECK_INT(model_rank_features(model, &ranking, met, x[0]), 4);
    CHECK_HEX(met[1].key, key[1]);
    CHECK_HEX(met[1].arms, 1u << ARM_ENCODER | 1u << ARM_NEIGHBOURS);
    CHECK_NEAR(x[1][FEATURE_LISTED + ARM_ENCODER], 1, 0);
    CHECK_NEAR(x[1][FEATURE_LISTED + ARM_POPULAR], 0, 0);
    CHECK_NEAR(x[1][FEATURE_RANK + ARM_ENCODER], 60.0 / 62, 1e-7);
    CHECK_NEAR(x[1][FEATURE_RANK + ARM_NEIGHBOURS], 60.0 / 61, 1e-7);
    CHECK_NEAR(x[1][FEATURE_SHARE + ARM_ENCODER], -0.5, 1e-7);
    CHECK_NEAR(x[1][FEATURE_SHARE + ARM_NEIGHBOURS], log(0.75) / 4, 1e-6);
    CHECK_NEAR(x[1][FEATURE_FOLLOWS], log(5.0) / 4, 1e-6);
    CHECK_NEAR(x[1][FEATURE_FOLLOW_SHARE], 4.0 / 8, 1e-7);
    CHECK_NEAR(x[1][FEATURE_POPULARITY], 1 - log(2.0) / log(1.0 + N), 1e-6);
    CHECK_NEAR(x[1][FEATURE_SESSION_STEPS], 1.0 / 3, 1e-7);
    CHECK_NEAR(x[1][FEATURE_SESSION_LENGTH], log(4.0) / 3, 1e-6);
    CHECK_NEAR(x[0][FEATURE_SESSION_NEWEST], 1, 0);
    CHECK_HEX(met[2].key, 99);
    CHECK_NEAR(x[2][FEATURE_POPULARITY], 0, 0);
    CHECK_HEX(met[3].key, key[2]);
    CHECK_HEX(met[3].arms, 0);
    CHECK_NEAR(x[3][FEATURE_SESSION_HOLDS], 1, 0);
    CHECK_NEAR(x[3][FEATURE_SESSION_STEPS], 0.5, 0);
    CHECK_NEAR(x[3][FEATURE_SESSION_TIMES], log(2.0), 1e-6);
    CHECK_NEAR(x[3][FEATURE_SESSION_NEWEST], 0, 0);
    model_free(model);
}

static bool is_odd(void *context, uint64_t key)
{
    (void)context;
    return key % 2 == 1;
}

/* The newest of a long history; repeats without those that are skipped, newest first, each once. */
static void case_session(void)
{
    uint64_t history[30];
    struct model_session session;
    struct model_ranking ranking = {0};
    for (int i = 0; i < 30; i++)
        history[i] =
            i < 25 ? 100 + (uint64_t)i : 120 + (uint64_t)(i % 3); /* ends 121 122 120 121 122 */
    model_session_note(&session, history, 30, is_odd, NULL);
    model_ranking_session(&ranking, &session);
    CHECK_INT(ranking.n_session, MODEL_RANKER_SESSION);
    CHECK_HEX(ranking.session[0], 110);
    CHECK_HEX(ranking.session[MODEL_RANKER_SESSION - 1], history[29]);
    const uint64_t repeats[] = {122, 120, 124, 118, 116, 114, 112, 110};
    CHECK_INT(ranking.repeats.n, 8);
    for (int i = 0; i < 8; i++)
        CHECK_HEX(ranking.repeats.keys[i], repeats[i]);
    model_session_note(&session, history, 3, NULL, NULL);
    CHECK_INT(session.n, 3);
    CHECK_INT(session.n_repeats, 3);
    CHECK_HEX(session.repeats[0], 102);
    model_session_note(&session, history, 0, NULL, NULL);
    CHECK_INT(session.n + session.n_repeats, 0);
}

/* Lists against all candidates scored one by one in double precision, and sorted. */
static void case_scores_by_definition(void)
{
    struct rng rng;
    struct model *model = model_random(N, 16, 16, 1, 7);
    rng_init(&rng, TEST_SEED());
    struct model_ranker ranker = random_ranker(&rng);
    model_set_ranker(model, &ranker);
    for (int round = 0; round < 200; round++) {
        struct lists lists;
        struct model_blended met[ARM_COUNT * N + 2], out[10];
        float x[ARM_COUNT * N + 2][MODEL_FEATURES];
        lists_draw(model, &rng, 1 + (int)rng_below(&rng, N), &lists);
        uint64_t calls = mem_thread_count();
        int n = model_rank_features(model, &lists.ranking, met, x[0]);
        int kept = model_rank(model, &lists.ranking, 10, out);
        CHECK_INT(mem_thread_count() - calls, 0);
        CHECK_INT(kept, n < 10 ? n : 10);
        for (int k = 0; k < kept; k++) {
            int at = 0, better = 0;
            while (met[at].key != out[k].key)
                at++;
            double own = score_naive(&ranker, x[at]);
            CHECK_NEAR(out[k].score, own, 1e-5);
            CHECK_HEX(out[k].arms, met[at].arms);
            if (k > 0) CHECK(out[k].score <= out[k - 1].score);
            for (int i = 0; i < n; i++)
                better += score_naive(&ranker, x[i]) > own + 1e-5;
            CHECK(better <= k);
        }
    }
    model_free(model);
}

/* Equal features: the candidate met first. No candidates, or of an arm alone that the ranker was learnt without: no list. */
static void case_ties_and_nothing(void)
{
    struct model *model = model_random(N, 16, 16, 1, 7);
    struct model_ranker ranker = {0};
    const uint64_t keys[] = {5, 3, 9};
    struct model_ranking ranking = {.arms = {[ARM_POPULAR] = {.keys = keys, .n = 3}}};
    struct model_blended out[2];
    CHECK(model_ranker(model) == NULL);
    model_set_ranker(model, &ranker);
    CHECK_INT(model_rank(model, &ranking, 2, out), 0);
    ranker.linear[FEATURE_LISTED + ARM_POPULAR] = 1;
    model_set_ranker(model, &ranker);
    CHECK_INT(model_rank(model, &ranking, 2, out), 2);
    CHECK_INT(out[0].key, 5);
    CHECK_INT(out[1].key, 3);
    ranking.arms[ARM_POPULAR].n = 0;
    CHECK_INT(model_rank(model, &ranking, 2, out), 0);
    model_set_ranker(model, NULL);
    CHECK(model_ranker(model) == NULL);
    model_free(model);
}

/* ---- the file ---- */

static char folder[] = "/tmp/ranker_test.XXXXXX";

/* Replaces the first `from` in ranker.json. */
static void file_edit(const char *from, const char *to)
{
    char path[64], text[1 << 16];
    (void)snprintf(path, sizeof path, "%s/ranker.json", folder);
    FILE *file = fopen(path, "r");
    CHECK(file != NULL);
    size_t len = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[len] = '\0';
    char *at = strstr(text, from);
    CHECK(at != NULL);
    file = fopen(path, "w");
    CHECK(file != NULL);
    (void)fprintf(file, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    (void)fclose(file);
}

static void load_fails(const struct model *model, const char *from, const char *to,
                       const char *expected)
{
    struct err err = ERR_INIT;
    struct model *loaded;
    CHECK_OK(model_save(model, folder, &err), err);
    file_edit(from, to);
    CHECK_FAIL(model_load(&loaded, folder, &err), err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_MODEL);
    CHECK_CONTAINS(err.text, expected);
}

static void case_file(void)
{
    struct rng rng;
    struct err err = ERR_INIT;
    struct model *model = model_random(N, 16, 16, 1, 7), *loaded;
    rng_init(&rng, TEST_SEED());
    struct model_ranker ranker = random_ranker(&rng);
    CHECK(mkdtemp(folder) != NULL);
    model_set_ranker(model, &ranker);
    CHECK_OK(model_save(model, folder, &err), err);
    CHECK_OK(model_load(&loaded, folder, &err), err);
    CHECK(model_ranker(loaded) != NULL);
    CHECK_BYTES(model_ranker(loaded), sizeof ranker, &ranker, sizeof ranker);
    model_free(loaded);

    load_fails(model, "session.holds", "session.holes", "session.holes\" is unknown");
    load_fails(model, "follow.share", "follows", "named twice");
    load_fails(model, "\"hidden\": 16", "\"hidden\": 8", "\"hidden\" must be 16");
    load_fails(model, "\"model\": \"", "\"model\": \"0", "was learnt with model");
    load_fails(model, "\"in_bias\": [", "\"in_bias\": [1.0,", "must hold 16 numbers");
    load_fails(model, "\"in_bias\": [", "\"in_bias\": [\"x\",", "in_bias");
    load_fails(model, "{", "", "ranker.json");

    model_set_ranker(model, NULL);
    CHECK_OK(model_save(model, folder, &err), err);
    CHECK_OK(model_load(&loaded, folder, &err), err);
    CHECK(model_ranker(loaded) == NULL);
    model_free(loaded);
    model_free(model);
}

/* A file without a feature: it weighs nothing. */
static void case_file_of_fewer_features(void)
{
    struct err err = ERR_INIT;
    struct model *model = model_random(N, 16, 16, 1, 7), *loaded;
    struct model_ranker ranker = {0};
    ranker.linear[FEATURE_PRICE] = 3;
    model_set_ranker(model, &ranker);
    CHECK_OK(model_save(model, folder, &err), err);
    file_edit("\"linear\": [\n  0.0,", "\"linear\": [");
    file_edit("\"encoder.listed\",", "");
    CHECK_FAIL(model_load(&loaded, folder, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "in_weight");
    model_free(model);
}

static void folder_remove(void)
{
    static const char *const files[] = {"model.json", "model.safetensors", "items.json",
                                        "ranker.json"};
    char path[64];
    for (int i = 0; i < 4; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        (void)unlink(path);
    }
    (void)rmdir(folder);
}

int main(void)
{
    CASE(case_known_features);
    CASE(case_session);
    CASE(case_scores_by_definition);
    CASE(case_ties_and_nothing);
    CASE(case_file);
    CASE(case_file_of_fewer_features);
    folder_remove();
    return 0;
}
