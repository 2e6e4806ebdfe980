/* Popularity: against a naive list, its bound, what skip refuses, collisions of keys, tenants, and what is stored. */
#include "tests/state/fixture.h"

#include "base/mem.h"

enum { ITEMS = 400 };

static char folder[256];

/* ---- the naive list ---- */

struct naive_row {
    uint64_t key;
    double level;
    int item;
};

struct naive_table {
    struct naive_row rows[ITEMS];
    int n, max;
};

static int naive_order(const void *a, const void *b)
{
    const struct naive_row *x = a, *y = b;
    if (x->level != y->level) return x->level < y->level ? 1 : -1;
    return x->key < y->key ? -1 : x->key > y->key;
}

static void naive_add(struct naive_table *table, int item, double amount)
{
    for (int i = 0; i < table->n; i++) {
        struct naive_row *row = table->rows + i;
        if (row->item != item) continue;
        double high = fmax(row->level, amount), low = fmin(row->level, amount);
        row->level = high + log2(1.0 + exp2(low - high));
        return;
    }
    if (table->n == table->max) {
        qsort(table->rows, (size_t)table->n, sizeof *table->rows, naive_order);
        table->n -= table->n / 2;
    }
    table->rows[table->n++] = (struct naive_row){fixture_item(item), amount, item};
}

static bool skip_some(void *context, uint64_t key)
{
    uint64_t modulus = *(uint64_t *)context;
    return modulus && key % modulus != 0;
}

static void compare(struct naive_table *want, struct state_shard *shard, int n, uint64_t modulus)
{
    uint64_t keys[ITEMS];
    int expected = 0;
    struct str tenant = {NULL, 0};
    int got = state_popularity_top(shard, 0, tenant, n, keys, skip_some, &modulus);
    qsort(want->rows, (size_t)want->n, sizeof *want->rows, naive_order);
    for (int i = 0; i < want->n && expected < n; i++) {
        if (skip_some(&modulus, want->rows[i].key)) continue;
        CHECK(expected < got);
        CHECK_HEX(keys[expected], want->rows[i].key);
        expected++;
    }
    CHECK_INT(got, expected);
    for (int i = 0; i < want->n; i++) {
        char id[24];
        (void)snprintf(id, sizeof id, "item-%d", want->rows[i].item);
        struct str known = state_item_id(shard, 0, tenant, want->rows[i].key);
        CHECK_BYTES(known.ptr, known.len, id, strlen(id));
    }
}

static struct state_shard *shard_of(struct state *state)
{
    struct err err = ERR_INIT;
    struct state_shard *shard = state_shard_new(state, 0);
    CHECK_OK(state_partition_open(shard, 0, &err), err);
    return shard;
}

static void commit(struct state_shard *shard)
{
    struct err err = ERR_INIT;
    CHECK_OK(state_epoch_write(shard, state_epoch_seal(shard, NULL, 0), &err), err);
}

static void add_random(struct state_shard *shard, struct naive_table *naive, struct rng *rng,
                       int64_t i, const struct state_options *options)
{
    struct fixture_event e;
    struct err err = ERR_INIT;
    int item = (int)(rng_unit(rng) * rng_unit(rng) * ITEMS);
    enum event_type type = rng_below(rng, 2) ? EVENT_VIEW : EVENT_PURCHASE;
    /* Coarse times make equal levels. */
    int64_t time_ms = 1700000000000 + i / 50 * 3600000;
    fixture_event(&e, type, 1, time_ms, 0, &item, 1);
    CHECK_OK(state_popularity_add(shard, 0, &e.event, &err), err);
    naive_add(naive, item,
              (double)time_ms / (double)options->popularity_half_life_ms +
                  log2(options->popularity_weight[type]));
}

/* max 0 to 400: with and without dropping; the store is reopened on the way. */
static void test_random(void)
{
    uint64_t seed = TEST_SEED();
    static const int bounds[] = {2, 7, 64, 300, ITEMS};
    for (size_t b = 0; b < sizeof bounds / sizeof *bounds; b++) {
        struct state_options options = fixture_options();
        struct naive_table *naive = mem_zalloc(sizeof *naive);
        struct rng rng;
        rng_init(&rng, seed + b);
        options.popularity_max_items = naive->max = bounds[b];
        fixture_folder(folder, sizeof folder);
        struct state *state = fixture_open(folder, &options);
        struct state_shard *shard = shard_of(state);
        for (int64_t i = 0; i < 3000; i++) {
            add_random(shard, naive, &rng, i, &options);
            if (i % 10 == 0) compare(naive, shard, 1 + (int)rng_below(&rng, 30), 0);
            if (i % 50 == 0) compare(naive, shard, 20, 1 + rng_below(&rng, 40));
            if (i % 100 == 0) compare(naive, shard, ITEMS, 0);
            if (i % 70 == 0) commit(shard);
            if (i % 700 != 0) continue;
            state_shard_free(shard); /* all is written */
            shard = shard_of(state);
            compare(naive, shard, ITEMS, 0);
        }
        state_shard_free(shard);
        state_close(state);
        fixture_remove(folder);
        mem_free(naive);
    }
}

/* Half lives: one purchase (5) a half-life ago is worth 2.5 views now. */
static void test_decay(void)
{
    struct state_options options = fixture_options();
    struct err err = ERR_INIT;
    struct fixture_event e;
    uint64_t keys[4];
    int64_t now = 1700000000000;
    fixture_folder(folder, sizeof folder);
    struct state *state = fixture_open(folder, &options);
    struct state_shard *shard = shard_of(state);
    fixture_event(&e, EVENT_PURCHASE, 1, now - options.popularity_half_life_ms, 0, (int[]){1}, 1);
    CHECK_OK(state_popularity_add(shard, 0, &e.event, &err), err);
    fixture_event(&e, EVENT_VIEW, 1, now, 0, (int[]){2}, 1);
    for (int views = 1; views <= 4; views++) {
        CHECK_OK(state_popularity_add(shard, 0, &e.event, &err), err);
        CHECK_INT(state_popularity_top(shard, 0, (struct str){NULL, 0}, 4, keys, NULL, NULL), 2);
        CHECK_HEX(keys[0], fixture_item(views > 2 ? 2 : 1));
    }
    fixture_event(&e, EVENT_IMPRESSION, 1, now, 0, (int[]){3}, 1); /* no weight */
    CHECK_OK(state_popularity_add(shard, 0, &e.event, &err), err);
    CHECK_INT(state_popularity_top(shard, 0, (struct str){NULL, 0}, 4, keys, NULL, NULL), 2);
    state_shard_free(shard);
    state_close(state);
    fixture_remove(folder);
}

/* A planted row makes "item-1" collide: the whole event is refused and nothing of it counted. */
static void test_collision(void)
{
    struct state_options options = fixture_options();
    struct err err = ERR_INIT;
    struct fixture_event e;
    fixture_folder(folder, sizeof folder);
    struct state *state = fixture_open(folder, &options);
    struct state_shard *shard = shard_of(state);
    fixture_event(&e, EVENT_VIEW, 1, 1000, 0, (int[]){7}, 1);
    CHECK_OK(state_popularity_add(shard, 0, &e.event, &err), err);
    state__pop_add(shard->partitions[0]->tables[0], fixture_item(1), STR("other"), 1.0);
    fixture_event(&e, EVENT_VIEW, 1, 1000, 0, (int[]){2, 1}, 2);
    CHECK_FAIL(state_items_check(shard, 0, &e.event, &err), err, ERR_DATA);
    CHECK_CONTAINS(err.text, "\"other\"");
    CHECK_CONTAINS(err.text, "\"item-1\"");
    CHECK_FAIL(state_popularity_add(shard, 0, &e.event, &err), err, ERR_DATA);
    CHECK_INT(state_item_id(shard, 0, (struct str){NULL, 0}, fixture_item(2)).len, 0);
    fixture_event(&e, EVENT_VIEW, 1, 1000, 0, (int[]){2, 3}, 2);
    CHECK_OK(state_items_check(shard, 0, &e.event, &err), err);
    state_shard_free(shard);
    state_close(state);
    fixture_remove(folder);
}

/* Tenants have lists of their own; one more than the bound is refused; all come back from the store. */
static void test_tenants(void)
{
    struct state_options options = fixture_options();
    struct err err = ERR_INIT;
    struct fixture_event e;
    char name[16];
    uint64_t keys[4];
    fixture_folder(folder, sizeof folder);
    struct state *state = fixture_open(folder, &options);
    struct state_shard *shard = shard_of(state);
    for (int i = 0; i < STATE_TENANTS_MAX; i++) {
        (void)snprintf(name, sizeof name, "t%d", i);
        fixture_event(&e, EVENT_VIEW, 1, 1000, 0, &i, 1);
        e.event.tenant = str_of(name);
        CHECK_OK(state_popularity_add(shard, 0, &e.event, &err), err);
    }
    commit(shard);
    state_shard_free(shard);
    shard = shard_of(state);
    for (int i = 0; i < STATE_TENANTS_MAX; i++) {
        char id[24];
        (void)snprintf(name, sizeof name, "t%d", i);
        (void)snprintf(id, sizeof id, "item-%d", i);
        CHECK_INT(state_popularity_top(shard, 0, str_of(name), 4, keys, NULL, NULL), 1);
        CHECK_HEX(keys[0], schemas_item_key(str_of(name), str_of(id)));
    }
    fixture_event(&e, EVENT_VIEW, 1, 1000, 0, (int[]){1}, 1);
    e.event.tenant = STR("one-more");
    CHECK_FAIL(state_items_check(shard, 0, &e.event, &err), err, ERR_DATA);
    CHECK_FAIL(state_popularity_add(shard, 0, &e.event, &err), err, ERR_DATA);
    CHECK_CONTAINS(err.text, "one-more");
    CHECK_INT(state_popularity_top(shard, 0, STR("one-more"), 4, keys, NULL, NULL), 0);
    state_shard_free(shard);
    state_close(state);
    fixture_remove(folder);
}

int main(void)
{
    CASE(test_random);
    CASE(test_decay);
    CASE(test_collision);
    CASE(test_tenants);
    return 0;
}
