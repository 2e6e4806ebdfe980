/* Exact lists by a scan of 8-bit codes with a proven bound, and float32 scores of what it leaves.
 *
 * Let e = q s + r be an item's vector by its code q, scale s and rest r (catalog.c), u = p t + w the same
 * of a user vector, and b the item's bias. In real numbers
 *
 *   u.e + b  =  (p.q) t s + b  +  w.(q s)  +  u.r      so, by Cauchy and Schwarz,
 *   |u.e + b - ((p.q) t s + b)|  <=  |w| |q s| + |u| |r|
 *
 * p.q is an exact integer (at most 1024 * 127 * 127 < 2^24, so exact as a float too). The scan computes
 * a = fma(p.q * s, t, b), two roundings: off by at most 2.1 eps (|p t| |q s| + |b|), eps = 2^-24; as |w| is
 * at most a quarter of |u| and |r| an eighth of |e|, that is 3.1 eps (|u| |e| + |b|). (For vectors so small
 * that catalog.c lifts their scale, the factor 1.0001 on |u| |r| below covers it.) The score of the
 * definition is a chain of D/16 fma, four additions and the bias: off by at most
 * 1.01 (D/16 + 6) eps (|u| |e| + |b|). Together
 *
 *   |score - a|  <=  margin = |w| |q s| + |u| |r| + (D/16 + 16) 2^-23 (|u| |e| + |b|) + 1e-35
 *
 * where the last term covers products that underflow (catalog.c keeps scales normal), and a tile's
 * largest |q s|, |r|, |e|, |b| stand for those of its items. Lengths are rounded up when they are made, and
 * 1.0001 on the first two terms covers the rounding of the margin itself.
 *
 * Each user has a floor: a number that at least K items, none excluded, are known to reach. An item
 * with a < floor - margin scores below the floor and cannot be in the list; the same holds for all items of
 * a tile with |u| |e| + b below the floor. All others are scored by the definition and kept if they are
 * among the K best so far, whose last is the next floor. Items equal to the floor are looked at, so ties
 * fall as the definition says. The first floor comes from the first SEED_TILES tiles: the K-th largest of
 * a - margin over 256 or more groups of their items is reached by K items. */

#include "model/internal.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"

enum {
    TILE = MODEL__SCAN_TILE,
    GROUPS = TILE / 16,
    SEED_TILES = 16,  /* 4,096 items; bench/model_bench.c */
    QUEUE_MAX = 4096, /* hits that wait for their score */
    QUEUE_FLUSH = 16, /* enough of them that their items' memory latencies overlap */
    BISECTIONS = 12,  /* to 1/2000 of the largest score that the seed could hold */
    SOME = 64,        /* hits scored at a time */
};

/* One user of the batch. */
struct seeker {
    const float *vector; /* (D) */
    float length;        /* |u|, rounded up */
    float residual;      /* |w|, rounded up */
    float floor;
    int n;          /* kept so far */
    uint64_t *best; /* (K) keys, descending */
    struct model_exclusions out;
};

struct hit {
    int32_t seeker;
    int32_t item;
};

struct model__search {
    int B, K;                       /* room */
    struct seeker *seekers;         /* (B) */
    struct model__scan_user *users; /* (B) */
    int8_t *codes;                  /* (B,D) */
    uint64_t *best;                 /* (B,K) */
    float *approx;                  /* (SEED_TILES, MODEL__SCAN_USERS_MAX, TILE) */
    float *lanes;                   /* (SEED_TILES * TILE) */
    struct hit *queue;              /* (QUEUE_MAX) */
    int n_queue;
};

/* What the functions below work on. */
struct job {
    const struct model *model;
    struct model__search *search;
    int B, K;
};

/* ---- room ---- */

void model__search_free(struct model__search *search)
{
    if (search == NULL) return;
    mem_free(search->seekers);
    mem_free(search->users);
    mem_free(search->codes);
    mem_free(search->best);
    mem_free(search->approx);
    mem_free(search->lanes);
    mem_free(search->queue);
    mem_free(search);
}

static struct model__search *search_room(struct model_scratch *scratch, int D, int B, int K)
{
    struct model__search *old = scratch->search;
    if (old != NULL && old->B >= B && old->K >= K) return old;
    struct model__search *search = mem_zalloc(sizeof *search);
    search->B = old != NULL && old->B > B ? old->B : B;
    search->K = old != NULL && old->K > K ? old->K : K;
    model__search_free(old);
    size_t users = (size_t)search->B;
    search->seekers = mem_zalloc(users * sizeof *search->seekers);
    search->users = mem_zalloc(users * sizeof *search->users);
    search->codes = mem_aligned(64, users * (size_t)D);
    search->best = mem_alloc(users * (size_t)search->K * sizeof *search->best);
    search->approx =
        mem_aligned(64, (size_t)SEED_TILES * MODEL__SCAN_USERS_MAX * TILE * sizeof(float));
    search->lanes = mem_aligned(64, (size_t)SEED_TILES * TILE * sizeof(float));
    search->queue = mem_alloc(QUEUE_MAX * sizeof *search->queue);
    scratch->search = search;
    return search;
}

/* ---- users ---- */

/* At least the length whose float32 value x is. Squares that underflow are made up for by the sum. */
static float round_up(float x)
{
    return x * (1.0f + 1e-5f) + 1e-18f;
}

/* The largest |vector[j]|. Sixteen at a time, for the compiler to put side by side. */
static float largest_size(int D, const float *vector)
{
    float largest[16] = {0};
    for (int j = 0; j < D; j += 16)
        for (int l = 0; l < 16; l++)
            largest[l] = fabsf(vector[j + l]) > largest[l] ? fabsf(vector[j + l]) : largest[l];
    for (int l = 1; l < 16; l++)
        largest[0] = largest[l] > largest[0] ? largest[l] : largest[0];
    return largest[0];
}

/* Codes, scale and lengths of one user vector. codes (D) written. */
static void prepare_user(const struct job *job, int b, const float *vector, int8_t *codes)
{
    struct seeker *seeker = &job->search->seekers[b];
    int D = job->model->config.D, code_max = job->model->kernels->user_code_max;
    float scale = largest_size(D, vector) / (float)code_max;
    if (scale < 1e-30f) scale = 1e-30f;
    float inverse = 1.0f / scale;
    float *rest = job->search->lanes; /* w */
    int32_t sum = 0;
    for (int j = 0; j < D; j++) {
        /* Half away from zero; |vector| * inverse is at most code_max + a rounding. */
        float x = vector[j] * inverse;
        int code = (int)(x + (x < 0.0f ? -0.5f : 0.5f));
        codes[j] = (int8_t)code;
        sum += code;
        rest[j] = vector[j] - scale * (float)code;
    }
    /* The roundings of rest are under 2^-23 of the vector, those of the dots under 1e-5 of themselves. */
    const struct model__kernels *kernels = job->model->kernels;
    seeker->vector = vector;
    seeker->length = round_up(sqrtf(kernels->dot(D, vector, vector)));
    seeker->residual = round_up(sqrtf(kernels->dot(D, rest, rest))) + seeker->length * 0x1p-22f;
    seeker->floor = -INFINITY;
    seeker->n = 0;
    job->search->users[b] =
        (struct model__scan_user){.codes = codes, .start = -128 * sum, .scale = scale};
}

/* ---- keys: descending score, then ascending item, as one number ---- */

static uint64_t key_of(float score, int32_t item)
{
    uint32_t bits;
    memcpy(&bits, &score, sizeof bits);
    bits ^= (bits >> 31) != 0 ? UINT32_MAX : UINT32_C(1) << 31;
    return (uint64_t)bits << 32 | (UINT32_MAX - (uint32_t)item);
}

static float key_score(uint64_t key)
{
    uint32_t bits = (uint32_t)(key >> 32);
    bits ^= (bits >> 31) != 0 ? UINT32_C(1) << 31 : UINT32_MAX;
    float score;
    memcpy(&score, &bits, sizeof score);
    return score;
}

static int32_t key_item(uint64_t key)
{
    return (int32_t)(UINT32_MAX - (uint32_t)key);
}

/* ---- hits ---- */

static bool is_excluded(struct model_exclusions out, int32_t item)
{
    int low = 0, high = out.n;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (out.items[middle] < item)
            low = middle + 1;
        else
            high = middle;
    }
    return low < out.n && out.items[low] == item;
}

/* Keeps the item if it is among the K best so far; raises the floor when there are K. */
static void keep(struct seeker *seeker, int K, float score, int32_t item)
{
    uint64_t key = key_of(score, item);
    if (seeker->n == K && key <= seeker->best[K - 1]) return;
    if (is_excluded(seeker->out, item)) return;
    int at = seeker->n < K ? seeker->n++ : K - 1;
    for (; at > 0 && seeker->best[at - 1] < key; at--)
        seeker->best[at] = seeker->best[at - 1];
    seeker->best[at] = key;
    if (seeker->n < K) return;
    float last = key_score(seeker->best[K - 1]);
    if (last > seeker->floor) seeker->floor = last;
}

/* Scores of n hits, 1 to SOME. */
static void score_hits(const struct job *job, int n, const struct hit *hit, float *score)
{
    size_t D = (size_t)job->model->config.D;
    const float *items = model__tensor(job->model, MODEL_ITEM_EMBEDDING, 0);
    const float *bias = model__tensor(job->model, MODEL_ITEM_BIAS, 0);
    const float *user[SOME], *item[SOME];
    assert(n >= 1 && n <= SOME);
    for (int i = 0; i < n; i++) {
        user[i] = job->search->seekers[hit[i].seeker].vector;
        item[i] = items + (size_t)hit[i].item * D;
    }
    job->model->kernels->dots((int)D, n, user, item, score);
    for (int i = 0; i < n; i++)
        score[i] = model__score_of(score[i], bias[hit[i].item]);
}

/* Scores what waits in the queue, some at a time, and keeps what is good enough. */
static void flush_queue(const struct job *job)
{
    struct model__search *search = job->search;
    float score[SOME];
    for (int from = 0; from < search->n_queue; from += SOME) {
        const struct hit *hit = search->queue + from;
        int n = search->n_queue - from < SOME ? search->n_queue - from : SOME;
        score_hits(job, n, hit, score);
        for (int i = 0; i < n; i++)
            keep(&search->seekers[hit[i].seeker], job->K, score[i], hit[i].item);
    }
    search->n_queue = 0;
}

/* The same when all that waits, at most SOME, belongs to one user who has nothing yet: each key goes
 * straight to its rank, which is cheaper than one insertion after the other. */
static void flush_first(const struct job *job, struct seeker *seeker)
{
    struct model__search *search = job->search;
    if (search->n_queue == 0) return;
    float score[SOME];
    uint64_t key[SOME];
    uint8_t rank[SOME];
    int n = 0;
    score_hits(job, search->n_queue, search->queue, score);
    for (int i = 0; i < search->n_queue; i++)
        if (!is_excluded(seeker->out, search->queue[i].item))
            key[n++] = key_of(score[i], search->queue[i].item);
    search->n_queue = 0;
    job->model->kernels->rank(n, key, rank);
    for (int i = 0; i < n; i++)
        if (rank[i] < job->K) seeker->best[rank[i]] = key[i];
    seeker->n = n < job->K ? n : job->K;
    if (seeker->n < job->K) return;
    float last = key_score(seeker->best[job->K - 1]);
    if (last > seeker->floor) seeker->floor = last;
}

static const uint16_t none[GROUPS];

/* Queues the items of one tile whose bit is set and which the user's filter does not refuse, and starts to fetch their vectors. hits (GROUPS). */
static void queue_hits(const struct job *job, int seeker, int tile, const uint16_t *hits)
{
    struct model__search *search = job->search;
    const struct model__catalog *catalog = job->model->catalog;
    size_t D = (size_t)job->model->config.D;
    const float *vectors = model__tensor(job->model, MODEL_ITEM_EMBEDDING, 0);
    if (search->n_queue > QUEUE_MAX - TILE) flush_queue(job);
    const struct model_filter *filter = search->seekers[seeker].out.filter;
    const uint16_t *refused = filter != NULL ? filter->refused + (size_t)tile * GROUPS : none;
    for (int g = 0; g < GROUPS; g++) {
        for (unsigned mask = hits[g] & ~(unsigned)refused[g]; mask != 0; mask &= mask - 1) {
            int place = tile * TILE + 16 * g + __builtin_ctz(mask);
            if (place >= job->model->config.N) return;
            int32_t item = catalog->item_at[place];
            search->queue[search->n_queue++] = (struct hit){seeker, item};
            for (size_t j = 0; j < D; j += 16)
                __builtin_prefetch(vectors + (size_t)item * D + j);
        }
    }
}

/* ---- bounds ---- */

static float margin_of(const struct job *job, const struct seeker *seeker,
                       const struct model__tile_bound *bound)
{
    int chain = job->model->config.D / 16 + 16; /* additions behind one another */
    float rounding = (float)chain * 0x1p-23f;
    return 1.0001f * (seeker->residual * bound->quantised + seeker->length * bound->residual) +
           rounding * (seeker->length * bound->norm + bound->bias_size) + 1e-35f;
}

/* x lowered by more than the rounding of the few operations around it. */
static float lowered(float x)
{
    return x - fabsf(x) * 0x1p-21f;
}

static struct model__scan_tile tile_at(const struct model *model, int tile)
{
    const struct model__catalog *catalog = model->catalog;
    size_t first = (size_t)tile * TILE;
    return (struct model__scan_tile){.codes = catalog->codes + first * (size_t)model->config.D,
                                     .scale = catalog->scale + first,
                                     .bias = catalog->bias + first};
}

/* ---- the first tiles ---- */

static float *seed_scores(const struct job *job, int tile, int u)
{
    return job->search->approx + ((size_t)tile * MODEL__SCAN_USERS_MAX + (size_t)u) * TILE;
}

/* The largest number, to a few digits, that at least K of the lanes reach; -infinity when they are fewer. */
static float reached_by(const struct model *model, int K, int n, const float *lanes, float limit)
{
    float low = -limit, high = limit;
    if (model->kernels->count_reaching(n, lanes, low) < K) return -INFINITY;
    for (int i = 0; i < BISECTIONS; i++) {
        float middle = 0.5f * (low + high);
        if (model->kernels->count_reaching(n, lanes, middle) >= K)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* What the filter refuses of the first tiles reaches nothing. */
static void seed_refuse(const struct job *job, const struct model_filter *filter, int u,
                        int n_tiles)
{
    for (int w = 0; w < n_tiles * GROUPS; w++)
        for (unsigned mask = filter->refused[w]; mask != 0; mask &= mask - 1) {
            int lane = w % GROUPS * 16 + __builtin_ctz(mask);
            seed_scores(job, w / GROUPS, u)[lane] = -INFINITY;
        }
}

/* The first floor of user u of those whose approximate scores lie in search->approx. */
static void seed_floor(const struct job *job, int b, int u, int n_tiles)
{
    struct seeker *seeker = &job->search->seekers[b];
    const struct model__catalog *catalog = job->model->catalog;
    for (int e = 0; e < seeker->out.n; e++) {
        int32_t place = catalog->place_of[seeker->out.items[e]];
        if (place < n_tiles * TILE) seed_scores(job, place / TILE, u)[place % TILE] = -INFINITY;
    }
    if (seeker->out.filter != NULL) seed_refuse(job, seeker->out.filter, u, n_tiles);
    /* Few groups of many items for a short list, each item its own group for a long one. */
    int segments = (job->K + 31) / 32 < n_tiles ? (job->K + 31) / 32 : n_tiles;
    float limit = 0.0f;
    for (int i = 0; i < segments * TILE; i++)
        job->search->lanes[i] = -INFINITY;
    for (int t = 0; t < n_tiles; t++) {
        const struct model__tile_bound *bound = &catalog->bound[t];
        float margin = margin_of(job, seeker, bound);
        float *lanes = job->search->lanes + (size_t)(t % segments) * TILE;
        job->model->kernels->raise(TILE, seed_scores(job, t, u), margin, lanes);
        limit = fmaxf(limit, 1.01f * seeker->length * bound->norm + bound->bias_size + margin);
    }
    float floor = reached_by(job->model, job->K, segments * TILE, job->search->lanes, limit);
    seeker->floor = lowered(floor);
}

/* Scores and floors of the n users from b on, then their hits, on the first tiles. */
static void seed_users(const struct job *job, int b, int n, int n_tiles)
{
    const struct model *model = job->model;
    for (int t = 0; t < n_tiles; t++) {
        struct model__scan_tile tile = tile_at(model, t);
        model->kernels->scan_scores(model->config.D, &tile, n, job->search->users + b,
                                    seed_scores(job, t, 0));
    }
    for (int u = 0; u < n; u++) {
        struct seeker *seeker = &job->search->seekers[b + u];
        seed_floor(job, b + u, u, n_tiles);
        for (int t = 0; t < n_tiles; t++) {
            uint16_t hits[GROUPS];
            float margin = margin_of(job, seeker, &model->catalog->bound[t]);
            float threshold = lowered(seeker->floor) - margin;
            if (model->kernels->find_reaching(TILE, seed_scores(job, t, u), threshold, hits) > 0)
                queue_hits(job, b + u, t, hits);
        }
        if (seeker->n == 0 && job->search->n_queue <= SOME)
            flush_first(job, seeker);
        else
            flush_queue(job);
    }
}

/* ---- the other tiles ---- */

/* Scans one tile for the n users picked and queues their hits. */
static void scan_picked(const struct job *job, int tile, int n, const struct model__scan_user *user,
                        const int *seeker)
{
    uint16_t hits[MODEL__SCAN_USERS_MAX][GROUPS];
    struct model__scan_tile at = tile_at(job->model, tile);
    job->model->kernels->scan_hits(job->model->config.D, &at, n, user, hits[0]);
    for (int u = 0; u < n; u++) {
        uint64_t words[GROUPS / 4];
        memcpy(words, hits[u], sizeof words);
        if ((words[0] | words[1] | words[2] | words[3]) != 0)
            queue_hits(job, seeker[u], tile, hits[u]);
    }
    if (job->search->n_queue >= QUEUE_FLUSH) flush_queue(job);
}

/* One tile for every user whose floor it may reach, as many at a time as the kernel takes. */
static void scan_tile(const struct job *job, int tile)
{
    const struct model__tile_bound *bound = &job->model->catalog->bound[tile];
    struct model__scan_user picked[MODEL__SCAN_USERS_MAX];
    int owner[MODEL__SCAN_USERS_MAX], n = 0, full = job->model->kernels->scan_users;
    for (int b = 0; b < job->B; b++) {
        const struct seeker *seeker = &job->search->seekers[b];
        float margin = margin_of(job, seeker, bound), floor = lowered(seeker->floor);
        if (seeker->length * bound->norm + bound->bias_max + margin < floor) continue;
        picked[n] = job->search->users[b];
        picked[n].threshold = floor - margin;
        owner[n++] = b;
        if (n == full) {
            scan_picked(job, tile, n, picked, owner);
            n = 0;
        }
    }
    if (n > 0) scan_picked(job, tile, n, picked, owner);
}

/* ---- public ---- */

static void prepare(const struct job *job, const float *const *vector,
                    const struct model_exclusions *exclusions)
{
    int D = job->model->config.D;
    for (int b = 0; b < job->B; b++) {
        struct seeker *seeker = &job->search->seekers[b];
        prepare_user(job, b, model__usable_vector(D, vector[b]),
                     job->search->codes + (size_t)b * (size_t)D);
        seeker->best = job->search->best + (size_t)b * (size_t)job->K;
        seeker->out = exclusions != NULL ? exclusions[b] : (struct model_exclusions){.n = 0};
    }
}

void model_topk(const struct model *model, struct model_scratch *scratch, int B,
                const float *const *vector, const struct model_exclusions *exclusions, int K,
                int32_t *out_item, float *out_score)
{
    assert(B <= MODEL_MAX_BATCH && K >= 1 && K <= MODEL_MAX_K);
    struct job job = {model, search_room(scratch, model->config.D, B, K), B, K};
    int n_tiles = model->catalog->n_tiles, n_seed = n_tiles < SEED_TILES ? n_tiles : SEED_TILES;
    const struct model__kernels *kernels = model->kernels;
    prepare(&job, vector, exclusions);
    if (kernels->scan_begin != NULL) kernels->scan_begin(model->config.D, B);
    for (int b = 0; b < B; b += kernels->scan_users)
        seed_users(&job, b, B - b < kernels->scan_users ? B - b : kernels->scan_users, n_seed);
    for (int t = n_seed; t < n_tiles; t++)
        scan_tile(&job, t);
    if (kernels->scan_end != NULL) kernels->scan_end(B);
    flush_queue(&job);
    for (int b = 0; b < B; b++) {
        const struct seeker *seeker = &job.search->seekers[b];
        for (int k = 0; k < K; k++) {
            bool is_kept = k < seeker->n;
            out_item[b * K + k] = is_kept ? key_item(seeker->best[k]) : -1;
            out_score[b * K + k] = is_kept ? key_score(seeker->best[k]) : -INFINITY;
        }
    }
}
