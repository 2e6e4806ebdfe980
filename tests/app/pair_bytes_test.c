/* Groups of pairs as bytes: there and back, cut and changed at every byte, records that no shard would have made. */
#include "app/pair_bytes.h"

#include "app/app.h"
#include "app/config.h"
#include "app/relations.h"
#include "base/rng.h"
#include "tests/test.h"

static struct str groups_put(struct buf *out)
{
    static struct str items[] = {{"a", 1}, {"bc", 2}, {"", 0}};
    static struct model_pair pairs[] = {
        {.subject = 0, .other = 1, .kind = RELATED_ALSO_BOUGHT, .weight = 1, .time_ms = 7},
        {.subject = 1, .other = 0, .is_back = true, .weight = 0.5F, .time_ms = 9},
        {.subject = 2, .other = 1, .kind = PAIRS_COUNTED, .weight = 4, .time_ms = 7}};
    struct pair_group group = {.topic = 1,
                               .partition = 2,
                               .offset = 3,
                               .time_ms = 7,
                               .tenant = {"t", 1},
                               .items = items,
                               .n_items = 3,
                               .pairs = pairs,
                               .n_pairs = 3};
    pair_group_put(&group, out);
    return (struct str){(const char *)out->data, out->len};
}

static void there_and_back(void)
{
    struct buf bytes, again;
    struct arena *arena = arena_new(1 << 12, 1 << 20);
    struct pair_group group;
    const char *why;
    buf_init(&bytes, 1 << 12);
    buf_init(&again, 1 << 12);
    struct str value = groups_put(&bytes);
    struct cursor cursor = {.ptr = bytes.data, .left = bytes.len};
    CHECK_INT(pair_group_size(value), value.len);
    CHECK(pair_group_get(&cursor, arena, &group, &why));
    CHECK_INT(cursor.left, 0);
    CHECK_INT(group.n_pairs, 3);
    CHECK_NEAR(group.pairs[1].weight, 0.5, 0);
    pair_group_put(&group, &again);
    CHECK_BYTES(again.data, again.len, bytes.data, bytes.len);
    arena_free(arena);
    buf_fini(&bytes);
    buf_fini(&again);
}

/* A part is refused; of changed bytes what is read names items that are there. */
static void cut_and_changed(uint64_t seed)
{
    struct buf bytes;
    struct arena *arena = arena_new(1 << 16, 1 << 20);
    struct pair_group group;
    struct rng rng;
    const char *why;
    int n_read = 0, n_refused = 0;
    rng_init(&rng, seed);
    buf_init(&bytes, 1 << 12);
    size_t len = groups_put(&bytes).len;
    for (size_t cut = 0; cut < len; cut++) {
        struct cursor cursor = {.ptr = bytes.data, .left = cut};
        CHECK_INT(pair_group_size((struct str){(const char *)bytes.data, cut}), 0);
        CHECK(!pair_group_get(&cursor, arena, &group, &why) && why != NULL);
    }
    for (int i = 0; i < 20000; i++) {
        size_t at = rng_below(&rng, len);
        uint8_t was = bytes.data[at];
        bytes.data[at] = (uint8_t)rng_below(&rng, 256);
        struct cursor cursor = {.ptr = bytes.data, .left = len};
        arena_reset(arena);
        bool is_read = pair_group_get(&cursor, arena, &group, &why);
        n_read += is_read;
        n_refused += !is_read;
        for (int p = 0; is_read && p < group.n_pairs; p++)
            CHECK(group.pairs[p].subject < group.n_items && group.pairs[p].other < group.n_items);
        bytes.data[at] = was;
    }
    printf("  %d read, %d refused\n", n_read, n_refused);
    CHECK(n_read > 0 && n_refused > 0);
    arena_free(arena);
    buf_fini(&bytes);
}

static void is_refused(struct relations *relations, struct str value)
{
    struct ingest_record record = {.topic = 1, .value = value};
    struct err err = ERR_INIT;
    CHECK(!relations_apply(relations, &record, &err));
    CHECK_INT(err.class, ERR_DATA);
    printf("  %zu bytes: %s\n", value.len, err.text);
}

/* Bytes that ask for much memory are no pairs: the process must not end by them. */
static void long_records_are_refused(void)
{
    enum { BYTES = 4 << 20, LARGEST = 1 << 20 };
    struct options *options = options_new(app_config_specs, app_config_count);
    struct settings settings;
    struct err err = ERR_INIT;
    CHECK_OK(options_set(options, "application.id", "test", "test", &err), err);
    CHECK_OK(options_set(options, "bootstrap.servers", "127.0.0.1:1", "test", &err), err);
    CHECK_OK(settings_init(&settings, options, &err), err);
    struct counters *counters = counters_new(metrics_table, METRIC_COUNT, 1);
    struct relations_env env = {
        .settings = &settings, .counters = counters_slot(counters, 0), .n_partitions = 1};
    struct relations *relations = relations_new(&env);
    char *bytes = mem_zalloc(BYTES);
    is_refused(relations, (struct str){bytes, 0});
    is_refused(relations, (struct str){bytes, LARGEST}); /* of groups without a byte */
    is_refused(relations, (struct str){bytes, BYTES});
    for (size_t at = 0; at + 32 <= LARGEST;
         at += 32) { /* of the shortest, in version 1, of no items */
        bytes[at] = 28;
        bytes[at + 4] = 1;
    }
    bytes[5] = 99; /* a source topic that is none */
    is_refused(relations, (struct str){bytes, LARGEST});
    mem_free(bytes);
    relations_free(relations);
    counters_free(counters);
    settings_fini(&settings);
    options_free(options);
}

int main(void)
{
    CASE(there_and_back);
    cut_and_changed(TEST_SEED());
    CASE(long_records_are_refused);
    return 0;
}
