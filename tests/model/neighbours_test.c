/* Session neighbours against a twin that keeps plain lists and follows the definition, also under eviction. */
#include "tests/test.h"

#include "base/rng.h"
#include "model/model.h"

enum { SESSIONS = 400, ITEMS = 40, LENGTH = 64, QUERY = 6 };

struct twin_session {
    uint64_t id, recency;
    int64_t last_ms;
    uint64_t items[LENGTH]; /* oldest first */
    int n;
};

struct twin {
    struct model_neighbours_options options;
    struct twin_session sessions[SESSIONS]; /* in no order */
    int n, clicks;
    uint64_t adds;
};

static bool holds(const struct twin_session *s, uint64_t key)
{
    for (int i = 0; i < s->n; i++)
        if (s->items[i] == key) return true;
    return false;
}

static int oldest_of(const struct twin *t)
{
    int at = 0;
    for (int i = 1; i < t->n; i++)
        if (t->sessions[i].recency < t->sessions[at].recency) at = i;
    return at;
}

static void drop(struct twin *t, int at)
{
    t->clicks -= t->sessions[at].n;
    t->sessions[at] = t->sessions[--t->n];
}

static int place_of(const struct twin *t, uint64_t id)
{
    for (int i = 0; i < t->n; i++)
        if (t->sessions[i].id == id) return i;
    return -1;
}

static void twin_add(struct twin *t, uint64_t id, uint64_t key, int64_t now)
{
    while (t->options.max_age_ms > 0 && t->n > 0 &&
           t->sessions[oldest_of(t)].last_ms < now - t->options.max_age_ms)
        drop(t, oldest_of(t));
    int at = place_of(t, id);
    if (at < 0) {
        if (t->n == t->options.sessions_max) drop(t, oldest_of(t));
        at = t->n++;
        t->sessions[at] = (struct twin_session){.id = id};
    }
    struct twin_session *s = &t->sessions[at];
    s->recency = ++t->adds;
    s->last_ms = now;
    if (holds(s, key)) return;
    for (;;) {
        s = &t->sessions[place_of(t, id)];
        bool full = t->clicks == t->options.clicks_max, alone = t->n == 1;
        if (s->n < t->options.items_max && !full) break;
        if (s->n == t->options.items_max || alone) {
            memmove(s->items, s->items + 1, (size_t)--s->n * sizeof *s->items);
            t->clicks--;
        } else {
            drop(t, oldest_of(t));
        }
    }
    s->items[s->n++] = key;
    t->clicks++;
}

/* How near a session is, by the definition; 0: it holds none of the items. */
static double sim_of(const struct twin_session *s, const uint64_t *items, int n, int *steps)
{
    double sim = 0;
    *steps = 0;
    for (int i = n - 1; i >= 0; i--) {
        bool again = false;
        for (int j = i + 1; j < n; j++)
            again = again || items[j] == items[i];
        if (again || !holds(s, items[i])) continue;
        sim += (double)(i + 1) / n;
        if (*steps == 0) *steps = n - i;
    }
    return sim;
}

/* Marks the `most` sessions of those marked that have the largest (value, recency). */
static void keep_best(const struct twin *t, const double *value, bool *marked, int most)
{
    bool kept[SESSIONS] = {false};
    for (int k = 0; k < most; k++) {
        int best = -1;
        for (int i = 0; i < t->n; i++) {
            if (!marked[i] || kept[i]) continue;
            bool larger =
                best < 0 || value[i] > value[best] ||
                (value[i] == value[best] && t->sessions[i].recency > t->sessions[best].recency);
            if (larger) best = i;
        }
        if (best >= 0) kept[best] = true;
    }
    memcpy(marked, kept, sizeof kept);
}

static double score_of(const struct twin *t, const bool *marked, const double *sim,
                       const int *steps, uint64_t key)
{
    double sum = 0;
    int with = 0;
    uint64_t below = UINT64_MAX;
    for (int i = 0; i < t->n; i++)
        with += holds(&t->sessions[i], key);
    for (;;) { /* newest first: the order of the sum is part of the result */
        int at = -1;
        for (int i = 0; i < t->n; i++) {
            const struct twin_session *s = &t->sessions[i];
            if (!marked[i] || s->recency >= below) continue;
            if (at < 0 || s->recency > t->sessions[at].recency) at = i;
        }
        if (at < 0) break;
        below = t->sessions[at].recency;
        double weight = sim[at] * (1.0 - 0.1 * steps[at]);
        if (holds(&t->sessions[at], key) && weight > 0) sum += weight;
    }
    if (t->options.idf_weight > 0 && with > 0)
        sum *= 1.0 + t->options.idf_weight * log((double)t->n / with);
    return sum;
}

static void compare(struct twin *t, struct model_neighbours *index, uint64_t own,
                    const uint64_t *items, int n, int *found)
{
    struct model_neighbour out[ITEMS];
    double sim[SESSIONS], zero[SESSIONS] = {0};
    int steps[SESSIONS], expected = 0;
    bool marked[SESSIONS] = {false};
    int count = model_neighbours_query(index, own, items, n, ITEMS, NULL, NULL, out);
    int last = n < t->options.last_n ? n : t->options.last_n;
    for (int i = 0; i < t->n; i++) {
        sim[i] = sim_of(&t->sessions[i], items + n - last, last, &steps[i]);
        marked[i] = sim[i] > 0 && t->sessions[i].id != own;
    }
    keep_best(t, zero, marked, t->options.m);
    keep_best(t, sim, marked, t->options.k);
    for (uint64_t key = 0; key < ITEMS; key++)
        expected += score_of(t, marked, sim, steps, key) > 0;
    CHECK_INT(count, expected);
    for (int i = 0; i < count; i++) {
        CHECK_NEAR(out[i].score, score_of(t, marked, sim, steps, out[i].key), 0.0);
        if (i == 0) continue;
        CHECK(out[i].score < out[i - 1].score ||
              (out[i].score == out[i - 1].score && out[i].key > out[i - 1].key));
    }
    *found += count;
}

static void run(struct rng *rng, struct model_neighbours_options options)
{
    static struct twin twin;
    twin = (struct twin){.options = options};
    struct model_neighbours *index = model_neighbours_new(&options);
    uint64_t items[QUERY];
    int found = 0;
    for (int add = 0; add < 1500; add++) {
        uint64_t id = (uint64_t)add / 8 + rng_below(rng, 8);
        uint64_t item = rng_below(rng, rng_below(rng, 4) ? 8 : ITEMS);
        twin_add(&twin, id, item, add * 10);
        model_neighbours_add(index, id, item, add * 10);
        CHECK_INT(model_neighbours_sessions(index), twin.n);
        CHECK_INT(model_neighbours_clicks(index), twin.clicks);
        if (add % 15 != 0) continue;
        int n = 1 + (int)rng_below(rng, QUERY);
        for (int i = 0; i < n; i++)
            items[i] = rng_below(rng, ITEMS);
        compare(&twin, index, id, items, n, &found);
    }
    CHECK(found > 100);
    model_neighbours_free(index);
}

static void case_random(void)
{
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    run(&rng, (struct model_neighbours_options){400, 9000, 64, 0, 20, 7, 4, 2.0});
    run(&rng, (struct model_neighbours_options){50, 9000, 64, 0, 500, 100, 2, 1.0});
    run(&rng, (struct model_neighbours_options){400, 60, 5, 0, 30, 10, 6, 0.0});
    run(&rng, (struct model_neighbours_options){400, 9000, 3, 900, 30, 10, 16, 2.0});
    run(&rng, (struct model_neighbours_options){400, 25, 64, 0, 5, 5, 3, 0.5});
}

/* Two sessions; scores by hand. */
static void case_known_values(void)
{
    struct model_neighbours_options options = {10, 100, 10, 0, 10, 10, 4, 0.0};
    struct model_neighbours *index = model_neighbours_new(&options);
    model_neighbours_add(index, 1, 10, 0);
    model_neighbours_add(index, 1, 20, 1);
    model_neighbours_add(index, 2, 20, 2);
    model_neighbours_add(index, 2, 30, 3);
    struct model_neighbour out[5];
    const uint64_t items[] = {10, 20};
    /* Session 1 holds both (sim 0.5 + 1), session 2 the newest (sim 1); both are one step away: times 0.9. */
    CHECK_INT(model_neighbours_query(index, 9, items, 2, 5, NULL, NULL, out), 3);
    CHECK_INT(out[0].key, 20);
    CHECK_NEAR(out[0].score, 0.9 * 2.5, 1e-12);
    CHECK_INT(out[1].key, 10);
    CHECK_NEAR(out[1].score, 0.9 * 1.5, 1e-12);
    CHECK_INT(out[2].key, 30);
    CHECK_NEAR(out[2].score, 0.9, 1e-12);
    CHECK_INT(model_neighbours_query(index, 1, items, 2, 5, NULL, NULL, out), 2);
    model_neighbours_free(index);
}

int main(void)
{
    CASE(case_known_values);
    CASE(case_random);
    return 0;
}
