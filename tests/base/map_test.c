/* Maps against a plain array of all possible keys: random puts, sets and deletes, looked at after each step. */
#include "base/map.h"

#include "base/mem.h"
#include "base/rng.h"
#include "tests/test.h"

enum { KEYS = 300, STEPS = 60000, MAX = 200 };

static uint64_t seed;

/* Keys are spread, or in a row, or few that share their low bits. */
static uint64_t key_of(int i, int kind)
{
    if (kind == 0) return (uint64_t)i * 0x9e3779b97f4a7c15u;
    return kind == 1 ? (uint64_t)i : (uint64_t)i << 40;
}

static void check_all_u64(const struct map_u64 *map, const uint64_t *want, const bool *there,
                          int kind)
{
    size_t count = 0, seen = 0, at = 0;
    for (int i = 0; i < KEYS; i++) {
        const uint64_t *value = map_u64_get(map, key_of(i, kind));
        CHECK_INT(value != NULL, there[i]);
        if (value != NULL) CHECK_INT(*value, want[i]);
        count += there[i];
    }
    uint64_t key, *value, sum_keys = 0, sum_want = 0;
    while (map_u64_next(map, &at, &key, &value)) {
        sum_keys += key ^ *value;
        seen++;
    }
    for (int i = 0; i < KEYS; i++)
        sum_want += there[i] ? key_of(i, kind) ^ want[i] : 0;
    CHECK_INT(map_u64_count(map), count);
    CHECK_INT(seen, count);
    CHECK_HEX(sum_keys, sum_want);
    map_u64_verify(map);
}

static void random_u64(int kind)
{
    struct rng rng;
    rng_init(&rng, seed + (uint64_t)kind);
    struct map_u64 *map = map_u64_new(MAX);
    uint64_t want[KEYS] = {0};
    bool there[KEYS] = {false};
    size_t count = 0;
    for (int step = 0; step < STEPS; step++) {
        /* The share of deletes swings, so that the map fills to its maximum and empties again. */
        int i = (int)rng_below(&rng, KEYS);
        bool remove = rng_below(&rng, 100) < (step / 3000 % 2 ? 70u : 20u);
        if (remove) {
            CHECK_INT(map_u64_delete(map, key_of(i, kind)), there[i]);
            count -= there[i];
            there[i] = false;
        } else {
            uint64_t value = rng_u64(&rng);
            bool fits = there[i] || count < MAX;
            CHECK_INT(map_u64_set(map, key_of(i, kind), value), fits);
            if (fits) {
                count += !there[i];
                there[i] = true;
                want[i] = value;
            }
        }
        if (step % 97 == 0) check_all_u64(map, want, there, kind);
    }
    check_all_u64(map, want, there, kind);
    map_u64_clear(map);
    CHECK_INT(map_u64_count(map), 0);
    CHECK(map_u64_get(map, key_of(1, kind)) == NULL);
    map_u64_free(map);
}

static void test_random_u64(void)
{
    for (int kind = 0; kind < 3; kind++)
        random_u64(kind);
}

static void test_edges_u64(void)
{
    struct map_u64 *map = map_u64_new(2);
    bool added = false;
    int thing = 5;
    CHECK(map_u64_get(map, 0) == NULL);
    CHECK(map_u64_put(map, 0, &added) != NULL);
    CHECK_INT(added, true);
    CHECK_INT(*map_u64_get(map, 0), 0);
    CHECK(map_u64_put(map, 0, &added) != NULL);
    CHECK_INT(added, false);
    CHECK(map_u64_set_ptr(map, UINT64_MAX, &thing));
    CHECK(map_u64_get_ptr(map, UINT64_MAX) == &thing);
    CHECK(map_u64_get_ptr(map, 7) == NULL);
    CHECK(map_u64_put(map, 7, &added) == NULL);
    CHECK_INT(added, false);
    map_u64_free(map);
}

/* After reserve no put allocates, and the heap that the map says it holds does not change. */
static void test_reserve(void)
{
    struct map_u64 *map = map_u64_new(5000);
    map_u64_reserve(map, 5000);
    size_t bytes = map_u64_bytes(map);
    uint64_t before = mem_thread_count();
    for (uint64_t i = 0; i < 5000; i++)
        CHECK(map_u64_set(map, i, i));
    for (uint64_t i = 0; i < 5000; i += 2)
        CHECK(map_u64_delete(map, i));
    CHECK_INT(mem_thread_count(), before);
    CHECK_INT(map_u64_bytes(map), bytes);
    map_u64_verify(map);
    map_u64_free(map);
}

static void random_str(enum map_keys keys)
{
    static char texts[KEYS][24];
    static int values[KEYS];
    struct rng rng;
    rng_init(&rng, seed + 10 + (uint64_t)keys);
    for (int i = 0; i < KEYS; i++)
        snprintf(texts[i], sizeof(texts[i]), "%s%d", i % 3 ? "user-" : "", i);
    struct map_str *map = map_str_new(MAX, keys);
    int *want[KEYS] = {NULL};
    size_t count = 0;
    for (int step = 0; step < STEPS; step++) {
        int i = (int)rng_below(&rng, KEYS), v = (int)rng_below(&rng, KEYS);
        struct str key = str_of(texts[i]);
        /* A copied key must not depend on the caller's bytes. */
        char scratch[24];
        if (keys == MAP_KEYS_COPIED) {
            memcpy(scratch, texts[i], sizeof(scratch));
            key.ptr = scratch;
        }
        if (rng_below(&rng, 100) < (step / 3000 % 2 ? 70u : 20u)) {
            CHECK(map_str_delete(map, key) == want[i]);
            count -= want[i] != NULL;
            want[i] = NULL;
        } else {
            bool fits = want[i] != NULL || count < MAX;
            CHECK_INT(map_str_set(map, key, &values[v]), fits);
            count += fits && want[i] == NULL;
            if (fits) want[i] = &values[v];
        }
        memset(scratch, 0, sizeof(scratch));
        CHECK(map_str_get(map, str_of(texts[i])) == want[i]);
        if (step % 97 == 0) map_str_verify(map);
    }
    size_t at = 0, seen = 0;
    struct str key;
    void *value;
    while (map_str_next(map, &at, &key, &value)) {
        CHECK(map_str_get(map, key) == value);
        seen++;
    }
    CHECK_INT(seen, count);
    CHECK_INT(map_str_count(map), count);
    for (int i = 0; i < KEYS; i++)
        CHECK(map_str_get(map, str_of(texts[i])) == want[i]);
    map_str_free(map);
}

static void test_random_str(void)
{
    random_str(MAP_KEYS_COPIED);
    random_str(MAP_KEYS_BORROWED);
}

/* The empty key and keys with NUL bytes are keys like others. */
static void test_edges_str(void)
{
    struct map_str *map = map_str_new(10, MAP_KEYS_COPIED);
    int a = 1, b = 2, c = 3;
    CHECK(map_str_set(map, (struct str){NULL, 0}, &a));
    CHECK(map_str_set(map, (struct str){"x\0y", 3}, &b));
    CHECK(map_str_set(map, (struct str){"x", 1}, &c));
    CHECK(map_str_get(map, STR("")) == &a);
    CHECK(map_str_get(map, (struct str){"x\0y", 3}) == &b);
    CHECK(map_str_get(map, STR("x")) == &c);
    map_str_verify(map);
    map_str_clear(map);
    CHECK_INT(map_str_count(map), 0);
    map_str_free(map);
}

int main(void)
{
    seed = TEST_SEED();
    CASE(test_random_u64);
    CASE(test_edges_u64);
    CASE(test_reserve);
    CASE(test_random_str);
    CASE(test_edges_str);
    return 0;
}
