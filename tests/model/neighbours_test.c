/* Session neighbours against a twin that keeps plain lists and follows the definition, also under eviction. */
#include "tests/test.h"

#include "base/mem.h"
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
    int64_t newest_ms; /* of all adds */
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
    if (now > t->newest_ms) t->newest_ms = now;
    int64_t since = t->newest_ms - t->options.max_age_ms;
    while (t->options.max_age_ms > 0 && t->n > 0 && t->sessions[oldest_of(t)].last_ms < since)
        drop(t, oldest_of(t));
    if (t->options.max_age_ms > 0 && now < since) return;
    int at = place_of(t, id);
    if (at < 0) {
        if (t->n == t->options.sessions_max) drop(t, oldest_of(t));
        at = t->n++;
        t->sessions[at] = (struct twin_session){.id = id, .last_ms = now};
    }
    struct twin_session *s = &t->sessions[at];
    s->recency = ++t->adds;
    s->last_ms = now > s->last_ms ? now : s->last_ms;
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

static double similarity(const struct twin *t, int p, int n)
{
    const double shapes[] = {[NEIGHBOURS_SAME] = 1.0,
                             [NEIGHBOURS_LINEAR] = fmax(0.0, 1.0 - 0.1 * (n - p)),
                             [NEIGHBOURS_DIV] = (double)p / n,
                             [NEIGHBOURS_LOG] = 1.0 / log10((n - p) + 1.7),
                             [NEIGHBOURS_QUADRATIC] = ((double)p / n) * ((double)p / n)};
    return shapes[t->options.similarity];
}

static double position(const struct twin *t, int steps)
{
    const double shapes[] = {[NEIGHBOURS_SAME] = 1.0,
                             [NEIGHBOURS_LINEAR] = fmax(0.0, 1.0 - 0.1 * steps),
                             [NEIGHBOURS_DIV] = 1.0 / steps,
                             [NEIGHBOURS_LOG] = 1.0 / log10(steps + 1.7),
                             [NEIGHBOURS_QUADRATIC] = 1.0 / ((double)steps * steps)};
    return shapes[t->options.position];
}

/* How near a session is, by the definition. steps: 0 when it holds none of the items. */
static double sim_of(const struct twin *t, const struct twin_session *s, const uint64_t *items,
                     int n, int *steps)
{
    double sim = 0;
    *steps = 0;
    for (int i = n - 1; i >= 0; i--) {
        bool again = false;
        for (int j = i + 1; j < n; j++)
            again = again || items[j] == items[i];
        if (again || !holds(s, items[i])) continue;
        sim += similarity(t, i + 1, n);
        if (*steps == 0) *steps = n - i;
    }
    double age = (double)(t->newest_ms - s->last_ms);
    return t->options.half_life_ms > 0 ? sim * exp2(-age / t->options.half_life_ms) : sim;
}

/* e ^ (-places between the two items / reach). */
static double nearness(const struct twin *t, const struct twin_session *s, uint64_t a, uint64_t b)
{
    int at_a = 0, at_b = 0;
    for (int i = 0; i < s->n; i++) {
        if (s->items[i] == a) at_a = i;
        if (s->items[i] == b) at_b = i;
    }
    return t->options.reach > 0 ? exp(-abs(at_a - at_b) / t->options.reach) : 1.0;
}

static double idf_of(const struct twin *t, uint64_t key)
{
    int with = 0;
    for (int i = 0; i < t->n; i++)
        with += holds(&t->sessions[i], key);
    double idf = with > 0 ? t->options.idf_weight * log((double)t->n / with) : 0.0;
    const double forms[] = {[NEIGHBOURS_IDF_NONE] = 1.0,
                            [NEIGHBOURS_IDF_TIMES] = idf,
                            [NEIGHBOURS_IDF_PLUS] = 1.0 + idf};
    return forms[t->options.idf];
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

/* What the neighbours give to an item, before its idf. items (last) */
static double sum_of(const struct twin *t, const bool *marked, const double *sim, const int *steps,
                     const uint64_t *items, int last, uint64_t key)
{
    double sum = 0;
    uint64_t below = UINT64_MAX;
    for (;;) { /* newest first: the order of the sum is part of the result */
        int at = -1;
        for (int i = 0; i < t->n; i++) {
            const struct twin_session *s = &t->sessions[i];
            if (!marked[i] || s->recency >= below) continue;
            if (at < 0 || s->recency > t->sessions[at].recency) at = i;
        }
        if (at < 0) break;
        below = t->sessions[at].recency;
        const struct twin_session *s = &t->sessions[at];
        double weight = sim[at] * position(t, steps[at]);
        if (holds(s, key)) sum += weight * nearness(t, s, key, items[last - steps[at]]);
    }
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
        sim[i] = sim_of(t, &t->sessions[i], items + n - last, last, &steps[i]);
        marked[i] = steps[i] > 0 && t->sessions[i].id != own;
    }
    keep_best(t, zero, marked, t->options.m);
    keep_best(t, sim, marked, t->options.k);
    for (uint64_t key = 0; key < ITEMS; key++)
        expected += sum_of(t, marked, sim, steps, items + n - last, last, key) > 0;
    CHECK_INT(count, expected);
    for (int i = 0; i < count; i++) {
        double sum = sum_of(t, marked, sim, steps, items + n - last, last, out[i].key);
        CHECK_NEAR(out[i].score, sum * idf_of(t, out[i].key), 0.0);
        if (i == 0) continue;
        CHECK(out[i].score < out[i - 1].score ||
              (out[i].score == out[i - 1].score && out[i].key > out[i - 1].key));
    }
    *found += count;
}

/* ---- a store: sessions by id, as model_neighbours_changes tells of them ---- */

struct store {
    struct twin_session sessions[SESSIONS];
    int n, puts;
};

static void store_take(void *context, const struct model_neighbours_session *session)
{
    struct store *store = context;
    int at = 0;
    while (at < store->n && store->sessions[at].id != session->id)
        at++;
    if (session->n == 0) {
        CHECK(at < store->n); /* only sessions that were told of are told to have left */
        store->sessions[at] = store->sessions[--store->n];
        return;
    }
    CHECK(at < SESSIONS && session->n <= LENGTH);
    if (at == store->n) store->n++;
    struct twin_session *s = &store->sessions[at];
    *s = (struct twin_session){.id = session->id,
                               .recency = session->recency,
                               .last_ms = session->last_ms,
                               .n = session->n};
    memcpy(s->items, session->items, (size_t)session->n * sizeof *s->items);
    store->puts++;
}

static int by_recency(const void *a, const void *b)
{
    uint64_t x = ((const struct twin_session *)a)->recency;
    uint64_t y = ((const struct twin_session *)b)->recency;
    return (x > y) - (x < y);
}

/* The index goes; what the store has makes a new one under these options. */
static struct model_neighbours *rebuild(struct model_neighbours *index, struct store *store,
                                        const struct model_neighbours_options *options)
{
    model_neighbours_changes(index, store_take, store);
    CHECK_INT(store->n, model_neighbours_sessions(index));
    struct model_neighbours_head head = model_neighbours_head(index);
    model_neighbours_free(index);
    index = model_neighbours_new(options);
    qsort(store->sessions, (size_t)store->n, sizeof *store->sessions, by_recency);
    for (int i = 0; i < store->n; i++) {
        const struct twin_session *s = &store->sessions[i];
        model_neighbours_restore(index, &(struct model_neighbours_session){
                                            s->id, s->recency, s->last_ms, s->items, s->n});
    }
    model_neighbours_resume(index, &head);
    return index;
}

/* late_ms: how far behind its turn a click may come. Now and then the index is made anew from a store, which must change
 * nothing. */
static void run(struct rng *rng, struct model_neighbours_options options, uint32_t late_ms)
{
    static struct twin twin;
    static struct store store;
    twin = (struct twin){.options = options, .newest_ms = INT64_MIN};
    store.n = store.puts = 0;
    struct model_neighbours *index = model_neighbours_new(&options);
    uint64_t items[QUERY];
    int found = 0;
    for (int add = 0; add < 1500; add++) {
        uint64_t id = (uint64_t)add / 8 + rng_below(rng, 8);
        uint64_t item = rng_below(rng, rng_below(rng, 4) ? 8 : ITEMS);
        int64_t time = add * 10 - (int64_t)rng_below(rng, late_ms + 1);
        twin_add(&twin, id, item, time);
        model_neighbours_add(index, id, item, time);
        CHECK_INT(model_neighbours_sessions(index), twin.n);
        CHECK_INT(model_neighbours_clicks(index), twin.clicks);
        if (rng_below(rng, 20) == 0) model_neighbours_changes(index, store_take, &store);
        if (rng_below(rng, 100) == 0) index = rebuild(index, &store, &options);
        if (add % 15 != 0) continue;
        int n = 1 + (int)rng_below(rng, QUERY);
        for (int i = 0; i < n; i++)
            items[i] = rng_below(rng, ITEMS);
        compare(&twin, index, id, items, n, &found);
    }
    CHECK(found > 100);
    CHECK(store.puts > 100);
    model_neighbours_free(index);
}

/* A store that was written under larger bounds: the newest sessions stay, shortened, and those left out are told of. */
static void case_restore_smaller(void)
{
    static struct store store;
    struct model_neighbours_options o = {
        .sessions_max = 50, .clicks_max = 400, .items_max = 8, .m = 50, .k = 50, .last_n = 4};
    struct model_neighbours *index = model_neighbours_new(&o);
    for (uint64_t id = 0; id < 50; id++)
        for (uint64_t item = 0; item < 8; item++)
            model_neighbours_add(index, id, id * 8 + item, 0);
    o.sessions_max = 10;
    o.clicks_max = 30;
    o.items_max = 4;
    store.n = 0;
    index = rebuild(index, &store, &o);
    CHECK_INT(model_neighbours_sessions(index), 7); /* 7 times 4 of 30 clicks */
    CHECK_INT(model_neighbours_clicks(index), 28);
    CHECK_INT(store.n, 50);
    model_neighbours_changes(index, store_take, &store);
    CHECK_INT(store.n, 7);
    uint64_t item = 49 * 8 + 7;
    struct model_neighbour out[9];
    CHECK_INT(model_neighbours_query(index, UINT64_MAX, &item, 1, 9, NULL, NULL, out), 4);
    model_neighbours_free(index);
}

/* The bounds of a byte limit hold, and use most of it. */
static void case_bytes(void)
{
    struct model_neighbours_options o = {.items_max = 64, .m = 500, .k = 200, .last_n = 10};
    for (size_t bytes = 1 << 17; bytes < (size_t)1 << 34; bytes = bytes * 5 / 3) {
        model_neighbours_bound(&o, bytes);
        CHECK(model_neighbours_bytes_max(&o) <= bytes);
        CHECK(model_neighbours_bytes_max(&o) > bytes / 2);
    }
    model_neighbours_bound(&o, 1);
    CHECK_INT(o.clicks_max, 64);
    model_neighbours_bound(&o, 1 << 20);
    struct model_neighbours *index = model_neighbours_new(&o);
    size_t empty = model_neighbours_bytes(index), most = model_neighbours_bytes_max(&o);
    CHECK(empty < most / 10);
    for (uint64_t i = 0; i < 100000; i++)
        model_neighbours_add(index, i / 2, i, 0);
    CHECK(model_neighbours_bytes(index) <= most);
    CHECK(model_neighbours_bytes(index) > most / 2);
    model_neighbours_free(index);
}

static void case_random(void)
{
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    struct model_neighbours_options o = {400,
                                         9000,
                                         64,
                                         0,
                                         20,
                                         7,
                                         4,
                                         .similarity = NEIGHBOURS_DIV,
                                         .position = NEIGHBOURS_LINEAR,
                                         .idf = NEIGHBOURS_IDF_PLUS,
                                         .idf_weight = 2.0};
    run(&rng, o, 0);
    o.m = 500, o.k = 100, o.last_n = 2, o.sessions_max = 50;
    run(&rng, o, 0);
    o.clicks_max = 60, o.items_max = 5, o.last_n = 6, o.idf = NEIGHBOURS_IDF_NONE;
    run(&rng, o, 0);
    o.clicks_max = 25, o.items_max = 64, o.m = o.k = 5;
    run(&rng, o, 0);
}

/* Each shape of each weight. */
static void case_random_weights(void)
{
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    for (int i = 0; i < 15; i++) {
        struct model_neighbours_options o = {400,
                                             9000,
                                             8,
                                             0,
                                             60,
                                             15,
                                             16,
                                             .similarity = (enum model_neighbours_decay)(i % 5),
                                             .position = (enum model_neighbours_decay)((i + 2) % 5),
                                             .idf = (enum model_neighbours_idf)(i / 5),
                                             .idf_weight = 0.5,
                                             .half_life_ms = i % 2 ? 700 : 0,
                                             .reach = i % 3 ? 1.5 : 0};
        run(&rng, o, 0);
    }
}

static void case_random_late(void)
{
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    struct model_neighbours_options o = {400,
                                         9000,
                                         3,
                                         900,
                                         30,
                                         10,
                                         16,
                                         .idf_weight = 2.0,
                                         .similarity = NEIGHBOURS_LOG,
                                         .position = NEIGHBOURS_DIV,
                                         .half_life_ms = 500};
    run(&rng, o, 0);
    run(&rng, o, 600);
    run(&rng, o, 1500);
}

/* ---- expiry: what the header promises, without a twin ---- */

enum { AGE = 1000, LIVES = 60 };

/* Session i holds item i alone, so that a query for item i says whether it is held. */
static bool is_held(struct model_neighbours *index, uint64_t i)
{
    struct model_neighbour out[1];
    return model_neighbours_query(index, UINT64_MAX, &i, 1, 1, NULL, NULL, out) == 1;
}

static void expiry_run(struct rng *rng, uint32_t late_ms, int *stayed, int *refused)
{
    struct model_neighbours_options o = {LIVES, LIVES, 1, AGE, 5, 5, 1, .idf_weight = 1.0};
    struct model_neighbours *index = model_neighbours_new(&o);
    int64_t last[LIVES], newest = INT64_MIN;
    for (int i = 0; i < LIVES; i++)
        last[i] = -100 * AGE;
    *stayed = *refused = 0;
    for (int add = 0; add < 3000; add++) {
        uint64_t id = rng_below(rng, LIVES);
        int64_t time = add * 20 - (int64_t)rng_below(rng, late_ms + 1);
        model_neighbours_add(index, id, id, time);
        newest = time > newest ? time : newest;
        if (time < newest - AGE) (*refused)++;
        if (time >= newest - AGE && time > last[id]) last[id] = time;
        for (uint64_t i = 0; i < LIVES; i++) {
            bool held = is_held(index, i);
            CHECK(held || last[i] < newest - AGE);
            CHECK(!held || last[i] >= newest - 2 * AGE);
            *stayed += held && last[i] < newest - AGE;
        }
    }
    model_neighbours_free(index);
}

static void case_expiry(void)
{
    struct rng rng;
    int stayed, refused;
    rng_init(&rng, TEST_SEED());
    expiry_run(&rng, 0, &stayed, &refused);
    CHECK_INT(stayed, 0);
    CHECK_INT(refused, 0);
    expiry_run(&rng, AGE / 2, &stayed, &refused);
    CHECK(stayed > 0);
    CHECK_INT(refused, 0);
    expiry_run(&rng, AGE * 3 / 2, &stayed, &refused);
    CHECK(stayed > 0);
    CHECK(refused > 0);
}

/* ---- the heap ---- */

static void churn(struct model_neighbours *index, struct rng *rng, int *add, int most)
{
    struct model_neighbour out[20];
    uint64_t items[QUERY];
    for (; *add < most; ++*add) {
        model_neighbours_add(index, (uint64_t)*add / 6 + rng_below(rng, 9), rng_below(rng, 5000),
                             *add);
        for (int i = 0; i < QUERY; i++)
            items[i] = rng_below(rng, 5000);
        (void)model_neighbours_query(index, 0, items, QUERY, 20, NULL, NULL, out);
    }
}

/* Sessions and items come and go for ever; once every bound was met nothing is allocated. */
static void case_no_heap_calls(void)
{
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    struct model_neighbours_options o = {
        300, 1500, 10, 2500, 100, 30, 6, .idf_weight = 1.0, .half_life_ms = 1000, .reach = 2.0};
    struct model_neighbours *index = model_neighbours_new(&o);
    int add = 0;
    churn(index, &rng, &add, 5000);
    uint64_t before = mem_thread_count();
    churn(index, &rng, &add, 60000);
    CHECK_INT(mem_thread_count(), before);
    CHECK(model_neighbours_bytes(index) <= model_neighbours_bytes_max(&o));
    model_neighbours_free(index);
}

/* Two sessions; scores by hand. */
static void case_known_values(void)
{
    struct model_neighbours_options options = {
        10, 100, 10, 0, 10, 10, 4, .similarity = NEIGHBOURS_DIV, .position = NEIGHBOURS_LINEAR};
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
    CASE(case_restore_smaller);
    CASE(case_bytes);
    CASE(case_random_weights);
    CASE(case_random_late);
    CASE(case_expiry);
    CASE(case_no_heap_calls);
    return 0;
}
