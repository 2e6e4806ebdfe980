/* Rows of partners and marginals against twins that keep plain lists and follow the definition, under eviction, refunds and
 * restores. */
#include "tests/test.h"

#include "base/mem.h"
#include "base/rng.h"
#include "model/model.h"

enum { KEYS = 300, ADDS = 20000, MOST = 64 };

static const double NONE = -(double)INFINITY;

/* ---- the twin: entries in no order ---- */

struct twin {
    double total;
    int n, max;
    struct model_partner entries[KEYS];
};

static double twin_level(double level, double weight, double moment)
{
    double amount = moment + log2(fabs(weight));
    if (weight > 0 && level == NONE) return amount;
    if (weight > 0) return fmax(level, amount) + log2(1.0 + exp2(-fabs(level - amount)));
    double left = level == NONE ? 0 : 1.0 - exp2(amount - level);
    return left > 0x1p-20 ? level + log2(left) : NONE;
}

static int twin_find(const struct twin *t, uint64_t key)
{
    for (int i = 0; i < t->n; i++)
        if (t->entries[i].key == key) return i;
    return -1;
}

static void twin_drop_weakest(struct twin *t)
{
    int weakest = 0;
    for (int i = 1; i < t->n; i++) {
        struct model_partner a = t->entries[i], b = t->entries[weakest];
        if (a.level < b.level || (a.level == b.level && a.key > b.key)) weakest = i;
    }
    t->entries[weakest] = t->entries[--t->n];
}

static void twin_add(struct twin *t, uint64_t key, double weight, double moment, int leave)
{
    t->total = twin_level(t->total, weight, moment);
    int at = twin_find(t, key);
    if (at < 0 && weight < 0) return;
    if (at < 0) {
        int n = t->n == t->max ? leave : 0;
        for (int i = 0; i < n; i++)
            twin_drop_weakest(t);
        t->entries[t->n++] = (struct model_partner){key, twin_level(NONE, weight, moment)};
        return;
    }
    double level = twin_level(t->entries[at].level, weight, moment);
    if (level == NONE)
        t->entries[at] = t->entries[--t->n];
    else
        t->entries[at].level = level;
}

static void check_row(const struct model_partners *row, const struct twin *t)
{
    CHECK(model_partners_is_valid(row));
    CHECK_INT(row->n, t->n);
    CHECK(row->total == t->total);
    for (int i = 0; i < t->n; i++) {
        const struct model_partner *entry = model_partners_find(row, t->entries[i].key);
        CHECK(entry != NULL);
        CHECK(entry->level == t->entries[i].level);
    }
}

/* A key of few, so that equal levels and refunds of what is there are common. */
static uint64_t some_key(struct rng *rng, int keys)
{
    uint64_t a = rng_below(rng, (uint64_t)keys), b = rng_below(rng, (uint64_t)keys);
    return (a < b ? a : b) * 0x9e3779b97f4a7c15u;
}

/* Weights 1, 2, 0.5, and what takes one back. */
static double some_weight(struct rng *rng)
{
    static const double weights[] = {1, 1, 1, 2, 0.5, -1, -0.5, 0};
    return weights[rng_below(rng, sizeof weights / sizeof *weights)];
}

static void case_row_against_twin(void)
{
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    static const int maxima[] = {4, 5, 17, MOST};
    for (int m = 0; m < 4; m++) {
        struct model_partner entries[MOST];
        struct model_partners row;
        struct twin twin = {.total = NONE, .max = maxima[m]};
        model_partners_init(&row, entries, maxima[m]);
        CHECK_INT(row.n, 0);
        for (int i = 0; i < ADDS; i++) {
            uint64_t key = some_key(&rng, 1 + 3 * maxima[m] / 2);
            double weight = some_weight(&rng), moment = 600 + (double)rng_below(&rng, 5) / 4;
            model_partners_add(&row, key, weight, moment);
            if (weight != 0) twin_add(&twin, key, weight, moment, maxima[m] / 4);
            if (i % 8 == 0) check_row(&row, &twin);
        }
        check_row(&row, &twin);
        CHECK_NEAR(row.newest, 601, 0);
    }
}

/* Levels are logarithms of sums, whatever the order of the events. */
static void case_levels_are_sums(void)
{
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    struct model_partner entries[MOST];
    struct model_partners row;
    long double sums[10] = {0}, total = 0;
    model_partners_init(&row, entries, MOST);
    double half_life = 3600e3;
    int64_t now = 1700000000000;
    for (int i = 0; i < ADDS; i++) {
        int64_t time = now - (int64_t)rng_below(&rng, 36000000);
        uint64_t key = rng_below(&rng, 10);
        double weight = 0.5 + rng_unit(&rng);
        model_partners_add(&row, key, weight, model_moment(time, half_life));
        long double age = (long double)(time - now) / (long double)half_life;
        long double amount = (long double)weight * exp2l(age);
        sums[key] += amount;
        total += amount;
    }
    double at = model_moment(now, half_life);
    for (int k = 0; k < 10; k++) {
        const struct model_partner *entry = model_partners_find(&row, (uint64_t)k);
        CHECK(entry != NULL);
        CHECK_NEAR(exp2(entry->level - at) / (double)sums[k], 1, 1e-6);
    }
    CHECK_NEAR(exp2(row.total - at) / (double)total, 1, 1e-6);
    CHECK(model_moment(now, 0) == 0);
}

/* A row whose every add was taken back, in another order, is empty. */
static void case_refunds(void)
{
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    enum { EVENTS = 200 };
    for (int round = 0; round < 50; round++) {
        struct model_partner entries[MOST];
        struct model_partners row;
        model_partners_init(&row, entries, MOST);
        uint64_t keys[EVENTS];
        double moments[EVENTS];
        for (int i = 0; i < EVENTS; i++) {
            keys[i] = rng_below(&rng, 40);
            moments[i] = model_moment(1700000000000 + (int64_t)rng_below(&rng, 86400000), 86400e3);
            model_partners_add(&row, keys[i], 0.25, moments[i]);
        }
        CHECK(row.n > 30);
        for (int i = EVENTS; i > 0; i--) {
            size_t at = (size_t)rng_below(&rng, (uint64_t)i);
            model_partners_add(&row, keys[at], -0.25, moments[at]);
            keys[at] = keys[i - 1];
            moments[at] = moments[i - 1];
        }
        CHECK_INT(row.n, 0);
        CHECK(row.total == NONE);
        model_partners_add(&row, 1, -5, 0);
        CHECK_INT(row.n, 0);
    }
}

/* The strong outlive any number of passers-by, and a newcomer that comes back gets in. */
static void case_eviction_keeps_the_strong(void)
{
    struct model_partner entries[MOST];
    struct model_partners row;
    model_partners_init(&row, entries, MOST);
    for (uint64_t key = 1; key <= 10; key++)
        model_partners_add(&row, key, 3, 0);
    for (uint64_t i = 0; i < 10000; i++) {
        model_partners_add(&row, 1000 + i, 1, 0);
        if (i % 10 == 0) model_partners_add(&row, 77, 1, 0);
    }
    for (uint64_t key = 1; key <= 10; key++)
        CHECK(model_partners_find(&row, key) != NULL);
    const struct model_partner *newcomer = model_partners_find(&row, 77);
    CHECK(newcomer != NULL);
    CHECK_NEAR(newcomer->level, log2(1000), 1e-9);
    CHECK_NEAR(row.total, log2(30 + 10000 + 1000), 1e-9);
    model_partners_trim(&row, 11);
    CHECK_INT(row.n, 11);
    CHECK(model_partners_is_valid(&row));
    CHECK(model_partners_find(&row, 77) != NULL && model_partners_find(&row, 10) != NULL);
}

static void case_what_no_row_is(void)
{
    struct model_partner entries[4] = {{1, 0}, {5, 1}, {9, 2}};
    struct model_partners row = {.total = 3, .newest = 0, .n = 3, .max = 4, .entries = entries};
    CHECK(model_partners_is_valid(&row));
    row.n = 5;
    CHECK(!model_partners_is_valid(&row));
    row.n = 3;
    entries[1].key = 9;
    CHECK(!model_partners_is_valid(&row));
    entries[1] = (struct model_partner){5, NONE};
    CHECK(!model_partners_is_valid(&row));
    entries[1].level = 1;
    row.total = (double)NAN;
    CHECK(!model_partners_is_valid(&row));
    row.total = (double)INFINITY;
    CHECK(!model_partners_is_valid(&row));
}

/* ---- marginals ---- */

/* What a store would hold: written by changes alone. */
static void write_down(void *context, uint64_t key, double level)
{
    struct twin *store = context;
    int at = twin_find(store, key);
    if (level == NONE) {
        CHECK(at >= 0);
        store->entries[at] = store->entries[--store->n];
        return;
    }
    if (at < 0) at = store->n++;
    store->entries[at] = (struct model_partner){key, level};
}

static void check_marginals(const struct model_marginals *m, const struct twin *t)
{
    CHECK_INT(model_marginals_count(m), t->n);
    for (int i = 0; i < t->n; i++)
        CHECK(model_marginals_level(m, t->entries[i].key) == t->entries[i].level);
}

static struct model_marginals *reopened(struct model_marginals *m, const struct twin *store)
{
    struct model_marginals *other = model_marginals_new((size_t)store->max);
    for (int i = 0; i < store->n; i++)
        model_marginals_restore(other, store->entries[i].key, store->entries[i].level);
    model_marginals_resume(other, model_marginals_total(m));
    model_marginals_free(m);
    return other;
}

static void case_marginals_against_twin(void)
{
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    static const int maxima[] = {2, 5, 40, 120};
    for (int i = 0; i < 4; i++) {
        int max = maxima[i];
        struct model_marginals *m = model_marginals_new((size_t)max);
        struct twin twin = {.total = NONE, .max = max}, store = {.max = max};
        for (int a = 0; a < ADDS; a++) {
            uint64_t key = some_key(&rng, 1 + 3 * max / 2);
            double weight = some_weight(&rng), moment = 600 + (double)rng_below(&rng, 5) / 4;
            model_marginals_add(m, key, weight, moment);
            if (weight != 0) twin_add(&twin, key, weight, moment, max / 2);
            CHECK(model_marginals_total(m) == twin.total);
            if (rng_below(&rng, 40) != 0) continue;
            check_marginals(m, &twin);
            model_marginals_changes(m, write_down, &store);
            check_marginals(m, &store);
            if (rng_below(&rng, 10) == 0) m = reopened(m, &store);
        }
        CHECK(model_marginals_level(m, 12345) == NONE);
        CHECK(model_marginals_bytes(m) <= model_marginals_bytes_max((size_t)max));
        model_marginals_free(m);
    }
}

/* A million items pass through a table of few, and the heap rests but for evictions. */
static void case_bounds(void)
{
    enum { FEW = 5000 };
    struct model_marginals *m = model_marginals_new(FEW);
    struct model_partner entries[MOST];
    struct model_partners row;
    model_partners_init(&row, entries, MOST);
    for (uint64_t key = 0; key < FEW; key++)
        model_marginals_add(m, key, 2, 0);
    uint64_t before = mem_thread_count();
    for (uint64_t i = 0; i < 100000; i++) {
        model_marginals_add(m, i % FEW, 1, 0);
        model_partners_add(&row, i % 1000, 1, 0);
    }
    struct model_score_options options = model_score_options_default();
    struct model_scored best[10];
    CHECK_INT(model_partners_best(&row, m, &options, 10, NULL, NULL, best), 10);
    CHECK_INT(mem_thread_count() - before, 0);
    for (uint64_t i = 0; i < 1000000; i++)
        model_marginals_add(m, 1000000 + i, 1, 0);
    CHECK(mem_thread_count() - before < 1000);
    CHECK(model_marginals_count(m) <= FEW);
    CHECK(model_marginals_bytes(m) <= model_marginals_bytes_max(FEW));
    model_marginals_free(m);
}

int main(void)
{
    CASE(case_row_against_twin);
    CASE(case_levels_are_sums);
    CASE(case_refunds);
    CASE(case_eviction_keeps_the_strong);
    CASE(case_what_no_row_is);
    CASE(case_marginals_against_twin);
    CASE(case_bounds);
    return 0;
}
