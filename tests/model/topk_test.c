/* Lists against their definition, item by item and bit by bit, for random and for hostile catalogues, on
 * every instruction set of this processor. */

#include "tests/test.h"

#include "base/mem.h"
#include "base/rng.h"
#include "model/internal.h"

static uint64_t seed;

/* How a catalogue is drawn. */
enum shape {
    SHAPE_NORMAL,
    SHAPE_EQUAL, /* all items the same: every score ties */
    SHAPE_FEW,   /* seven different items: many ties */
    SHAPE_ZERO,  /* all zeros */
    SHAPE_HUGE,  /* around 1e11 */
    SHAPE_SMALL, /* around 1e-33: products underflow */
    SHAPE_MIXED, /* each item of another size, 1e-20 to 1e10 */
    SHAPE_CLOSE, /* equal but for the last bits: the scan cannot tell them apart */
    SHAPE_SPIKE, /* one large element each: bad for codes */
    SHAPE_COUNT,
};

static double draw(struct rng *rng, enum shape shape, int i, int j, double size)
{
    switch (shape) {
    case SHAPE_EQUAL:
        return 0.1 * (j % 7) - 0.3;
    case SHAPE_FEW:
        return 0.1 * ((i % 7 + 1) * (j % 5) % 11) - 0.4;
    case SHAPE_ZERO:
        return 0.0;
    case SHAPE_HUGE:
        return 1e11 * rng_normal(rng);
    case SHAPE_SMALL:
        return 1e-33 * rng_normal(rng);
    case SHAPE_MIXED:
        return size * rng_normal(rng);
    case SHAPE_CLOSE:
        return 0.5 + 1e-7 * (double)rng_below(rng, 3);
    case SHAPE_SPIKE:
        return j == i % 16 ? 100.0 * rng_normal(rng) : 0.01 * rng_normal(rng);
    default:
        return rng_normal(rng);
    }
}

static struct model *catalogue(int N, int D, enum shape shape, struct rng *rng)
{
    struct model *plain = model_random(N, D, 16, 1, 1);
    struct model_config config = model_shape(plain);
    size_t floats = model_params_floats(&config);
    float *params = mem_alloc(floats * sizeof *params);
    memcpy(params, model_raw_params(plain), floats * sizeof *params);
    float *item = params + model_param_offset(&config, MODEL_ITEM_EMBEDDING, 0);
    float *bias = params + model_param_offset(&config, MODEL_ITEM_BIAS, 0);
    for (int i = 0; i < N; i++) {
        double size = pow(10.0, 30.0 * rng_unit(rng) - 20.0);
        for (int j = 0; j < D; j++)
            item[i * D + j] = (float)draw(rng, shape, i, j, size);
        bias[i] = shape == SHAPE_NORMAL || shape == SHAPE_SPIKE ? (float)rng_normal(rng) : 0.0f;
    }
    struct str *ids = mem_alloc((size_t)N * sizeof *ids);
    for (int i = 0; i < N; i++)
        ids[i] = model_item_id(plain, i);
    struct model_parts parts = {
        .config = config, .params = params, .item_ids = ids, .tenant = "", .version = "test"};
    struct model *model;
    struct err err = ERR_INIT;
    CHECK_OK(model_from_params(&model, &parts, &err), err);
    mem_free(ids);
    mem_free(params);
    model_free(plain);
    return model;
}

/* User vectors: mostly normal; some zero, huge, tiny or not finite. */
static void draw_users(struct rng *rng, int B, int D, float *users)
{
    for (int b = 0; b < B; b++) {
        double size = 1.0;
        if (b % 9 == 3) size = 0.0;
        if (b % 9 == 5) size = 1e14;
        if (b % 9 == 7) size = 1e-34;
        for (int j = 0; j < D; j++)
            users[b * D + j] = (float)(size * rng_normal(rng));
        if (b % 19 == 11) users[b * D] = NAN;
        if (b % 19 == 13) users[b * D + D - 1] = -INFINITY;
    }
}

enum { B_MAX = 40, K_MAX = 200 };

struct lists {
    int32_t item[B_MAX * K_MAX];
    float score[B_MAX * K_MAX];
};

/* Random ascending indices, about `share` of all. out (N) room. */
static struct model_exclusions draw_exclusions(struct rng *rng, int N, double share, int32_t *out)
{
    int n = 0;
    for (int32_t i = 0; i < N; i++)
        if (rng_unit(rng) < share) out[n++] = i;
    return (struct model_exclusions){.items = out, .n = n};
}

/* Refuses some items, most of them or all but a few; a part of the bits is set and taken back. */
static struct model_filter *draw_filter(const struct model *model, struct rng *rng)
{
    static const double shares[] = {0.0, 0.02, 0.6, 0.98, 0.999};
    struct model_filter *filter = model_filter_new(model);
    double share = shares[rng_below(rng, 5)];
    for (int32_t i = 0; i < model->config.N; i++) {
        bool is_refused = rng_unit(rng) < share;
        model_filter_set(filter, model, i, !is_refused && rng_unit(rng) < 0.5);
        model_filter_set(filter, model, i, is_refused);
        CHECK_INT(model_filter_refuses(filter, model, i), is_refused);
    }
    return filter;
}

/* One batch by topk and by definition. */
static void compare(const struct model *model, struct model_scratch *scratch, struct rng *rng,
                    int B, int K, double share)
{
    static struct lists got, want;
    int N = model->config.N, D = model->config.D;
    float *users = mem_aligned(64, (size_t)B * (size_t)D * sizeof *users);
    int32_t *room = mem_alloc((size_t)B * (size_t)N * sizeof *room);
    const float *vector[B_MAX];
    struct model_exclusions out[B_MAX];
    struct model_filter *filter = draw_filter(model, rng);
    draw_users(rng, B, D, users);
    for (int b = 0; b < B; b++) {
        vector[b] = users + b * D;
        out[b] = draw_exclusions(rng, N, b % 3 == 0 ? share : 0.0, room + b * N);
        if (b % 4 >= 2) out[b].filter = filter;
    }
    model_topk(model, scratch, B, vector, out, K, got.item, got.score);
    model_topk_naive(model, B, vector, out, K, want.item, want.score);
    size_t n = (size_t)B * (size_t)K;
    CHECK_BYTES(got.item, n * sizeof(int32_t), want.item, n * sizeof(int32_t));
    CHECK_BYTES(got.score, n * sizeof(float), want.score, n * sizeof(float));
    model_filter_free(filter);
    mem_free(room);
    mem_free(users);
}

static const char *const kernel_names[] = {"plain", "avx2", "avx512", "amx"};

static void case_random_and_hostile_catalogues(void)
{
    static const int sizes[] = {1, 16, 100, 257, 1000, 5003};
    struct rng rng;
    rng_init(&rng, seed);
    for (int s = 0; s < 6; s++)
        for (int shape = 0; shape < SHAPE_COUNT; shape++) {
            int D = 16 * (1 + (int)rng_below(&rng, 8));
            struct model *model = catalogue(sizes[s], D, (enum shape)shape, &rng);
            struct model_scratch *scratch = model_scratch_new(model);
            for (int k = 0; k < 4; k++) {
                const struct model__kernels *kernels = model__kernels_named(kernel_names[k], D);
                if (kernels == NULL) continue;
                model->kernels = kernels;
                int B = 1 + (int)rng_below(&rng, sizes[s] > 1000 ? 12 : B_MAX);
                compare(model, scratch, &rng, B, 20, 0.01);
                compare(model, scratch, &rng, 1 + B / 4, 1 + (int)rng_below(&rng, K_MAX), 0.5);
            }
            model_scratch_free(scratch);
            model_free(model);
        }
}

static void case_everything_excluded(void)
{
    struct rng rng;
    rng_init(&rng, seed + 1);
    struct model *model = catalogue(700, 32, SHAPE_NORMAL, &rng);
    struct model_scratch *scratch = model_scratch_new(model);
    compare(model, scratch, &rng, 7, 20, 1.0);
    compare(model, scratch, &rng, 7, 20, 0.97);
    model_scratch_free(scratch);
    model_free(model);
}

/* The best of the seed tiles are excluded: the first floor must not count on them. */
static void case_best_excluded(void)
{
    struct rng rng;
    rng_init(&rng, seed + 2);
    struct model *model = catalogue(9000, 64, SHAPE_NORMAL, &rng);
    struct model_scratch *scratch = model_scratch_new(model);
    float user[64];
    const float *vector = user;
    draw_users(&rng, 1, 64, user);
    static int32_t top[256], sorted[256], item[20], want[20];
    static float top_score[256], score[20], want_score[20];
    model_topk_naive(model, 1, &vector, NULL, 256, top, top_score);
    int n = 0;
    for (int32_t i = 0; i < 9000; i++)
        for (int k = 0; k < 256; k++)
            if (top[k] == i) sorted[n++] = i;
    CHECK_INT(n, 256);
    struct model_exclusions out = {.items = sorted, .n = 256};
    model_topk(model, scratch, 1, &vector, &out, 20, item, score);
    model_topk_naive(model, 1, &vector, &out, 20, want, want_score);
    CHECK_BYTES(item, sizeof item, want, sizeof want);
    CHECK_BYTES(score, sizeof score, want_score, sizeof want_score);
    CHECK(score[0] < top_score[255] || (score[0] <= top_score[255] && item[0] > top[255]));
    model_scratch_free(scratch);
    model_free(model);
}

/* A user's list is the same alone and among others. */
static void case_batch_does_not_matter(void)
{
    enum { B = 37, K = 20, D = 64 };
    struct rng rng;
    rng_init(&rng, seed + 3);
    struct model *model = catalogue(6000, D, SHAPE_NORMAL, &rng);
    struct model_scratch *scratch = model_scratch_new(model);
    static float users[B * D], score[B * K], score_alone[K];
    static int32_t item[B * K], item_alone[K];
    const float *vector[B];
    draw_users(&rng, B, D, users);
    for (int b = 0; b < B; b++)
        vector[b] = users + b * D;
    model_topk(model, scratch, B, vector, NULL, K, item, score);
    for (int b = 0; b < B; b++) {
        model_topk(model, scratch, 1, &vector[b], NULL, K, item_alone, score_alone);
        CHECK_BYTES(item + b * K, sizeof item_alone, item_alone, sizeof item_alone);
        CHECK_BYTES(score + b * K, sizeof score_alone, score_alone, sizeof score_alone);
    }
    model_scratch_free(scratch);
    model_free(model);
}

/* The vector kernels' scan against plain C's: the same numbers wherever the codes fit both. */
static void case_scans_agree(void)
{
    struct rng rng;
    rng_init(&rng, seed + 4);
    struct model *model = catalogue(1000, 64, SHAPE_NORMAL, &rng);
    const struct model__catalog *c = model->catalog;
    int8_t codes[16][64];
    struct model__scan_user user[16];
    for (int u = 0; u < 16; u++) {
        user[u] = (struct model__scan_user){.codes = codes[u], .scale = 0.01f, .threshold = 1.0f};
        for (int j = 0; j < 64; j++) {
            codes[u][j] = (int8_t)(u == 0 ? (j % 2 ? 63 : -63) : (int)rng_below(&rng, 127) - 63);
            user[u].start -= 128 * codes[u][j];
        }
    }
    static float got[16 * MODEL__SCAN_TILE], want[16 * MODEL__SCAN_TILE];
    uint16_t got_hits[256], want_hits[256];
    for (int k = 1; k < 4; k++) {
        const struct model__kernels *kernels = model__kernels_named(kernel_names[k], 64);
        if (kernels == NULL) continue;
        if (kernels->scan_begin != NULL) kernels->scan_begin(64, 16);
        for (int t = 0; t < c->n_tiles; t++) {
            size_t first = (size_t)t * MODEL__SCAN_TILE;
            struct model__scan_tile tile = {c->codes + first * 64, c->scale + first,
                                            c->bias + first};
            for (int n = 1; n <= kernels->scan_users; n += 3) {
                size_t floats = (size_t)n * MODEL__SCAN_TILE;
                model__kernels_plain.scan_scores(64, &tile, n, user, want);
                kernels->scan_scores(64, &tile, n, user, got);
                CHECK_BYTES(got, floats * sizeof(float), want, floats * sizeof(float));
                model__kernels_plain.scan_hits(64, &tile, n, user, want_hits);
                kernels->scan_hits(64, &tile, n, user, got_hits);
                CHECK_BYTES(got_hits, floats / 8, want_hits, floats / 8);
            }
        }
        if (kernels->scan_end != NULL) kernels->scan_end(16);
    }
    model_free(model);
}

static void case_no_allocation_once_warm(void)
{
    enum { B = 16, K = 20 };
    struct rng rng;
    rng_init(&rng, seed + 5);
    struct model *model = catalogue(5000, 64, SHAPE_NORMAL, &rng);
    struct model_scratch *scratch = model_scratch_new(model);
    static float users[B * 64], score[B * K];
    static int32_t item[B * K];
    const float *vector[B];
    draw_users(&rng, B, 64, users);
    for (int b = 0; b < B; b++)
        vector[b] = users + b * 64;
    model_topk(model, scratch, B, vector, NULL, K, item, score);
    uint64_t before = mem_thread_count();
    for (int b = 1; b <= B; b++)
        model_topk(model, scratch, b, vector, NULL, 1 + b, item, score);
    CHECK_INT(mem_thread_count() - before, 0);
    model_scratch_free(scratch);
    model_free(model);
}

int main(void)
{
    seed = TEST_SEED();
    CASE(case_scans_agree);
    CASE(case_random_and_hostile_catalogues);
    CASE(case_everything_excluded);
    CASE(case_best_excluded);
    CASE(case_batch_does_not_matter);
    CASE(case_no_allocation_once_warm);
    return 0;
}
