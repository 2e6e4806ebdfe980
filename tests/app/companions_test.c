/* The table of published lists: what was put last is found, what is taken is gone, the bound holds. */
#include "app/companions.h"

#include <stdio.h>

#include "base/rng.h"
#include "tests/test.h"

enum { ITEMS = 400, KINDS = 3, SMALL = 64 * 1024, LARGE = 16 * 1024 * 1024, STEPS = 20000 };

/* What the table should hold of an item and kind: the number of the list that was put last. */
static int twin[ITEMS][KINDS];

static uint64_t record_of(int item, int kind)
{
    return (uint64_t)(item * KINDS + kind + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

static uint64_t key_of(int item)
{
    char id[16];
    (void)snprintf(id, sizeof id, "i%d", item);
    return schemas_item_key(STR(""), str_of(id));
}

static void put(struct companions *c, int item, int kind, int number)
{
    char id[16], names[20][16];
    struct counted_item items[20];
    (void)snprintf(id, sizeof id, "i%d", item);
    int n = 1 + number % 20;
    for (int i = 0; i < n; i++) {
        (void)snprintf(names[i], sizeof names[i], "i%d", (item + number + i) % ITEMS);
        items[i] = (struct counted_item){.item_id = str_of(names[i]), .score = (float)(40 - i)};
    }
    struct related list = {.item_id = str_of(id),
                           .kind = (enum related_kind)kind,
                           .items = items,
                           .n_items = (size_t)n};
    companions_put(c, record_of(item, kind), &list);
}

static void check(const struct companions *c, int item, int kind, int number)
{
    const struct model_scored *list = NULL;
    int n = companions_find(c, key_of(item), (enum related_kind)kind, &list);
    int want = number == 0 ? 0 : 1 + number % 20;
    CHECK_INT(n, want < MODEL_RELATED_PARTNERS ? want : MODEL_RELATED_PARTNERS);
    for (int i = 0; i < n; i++) {
        char id[16];
        int other = (item + number + i) % ITEMS;
        (void)snprintf(id, sizeof id, "i%d", other);
        CHECK_HEX(list[i].key, key_of(other));
        CHECK_NEAR(list[i].score, 40.0 - i, 0);
        CHECK(str_equal(companions_item_id(c, list[i].key), str_of(id)));
    }
}

static void newest_list_counts(void)
{
    struct companions *c = companions_new(LARGE);
    struct rng rng;
    rng_init(&rng, test_seed());
    for (int step = 1; step <= STEPS; step++) {
        int item = (int)rng_below(&rng, ITEMS), kind = (int)rng_below(&rng, KINDS);
        bool takes = rng_below(&rng, 4) == 0;
        if (takes) companions_take(c, record_of(item, kind));
        if (!takes) put(c, item, kind, step);
        twin[item][kind] = takes ? 0 : step;
    }
    int lists = 0;
    for (int item = 0; item < ITEMS; item++)
        for (int kind = 0; kind < KINDS; kind++) {
            check(c, item, kind, twin[item][kind]);
            lists += twin[item][kind] > 0;
            companions_take(c, record_of(item, kind));
        }
    CHECK(lists > ITEMS);
    CHECK_INT(companions_counts(c).lists, 0);
    CHECK_INT(companions_item_id(c, key_of(1)).len, 0);
    companions_close(c);
}

static void oldest_makes_room(void)
{
    struct companions *c = companions_new(SMALL);
    for (int item = 0; item < ITEMS; item++)
        put(c, item, 0, item + 1);
    struct companions_counts counts = companions_counts(c);
    printf("  %d lists of %d in %d bytes of %d\n", (int)counts.lists, ITEMS, (int)counts.bytes,
           SMALL);
    CHECK(counts.lists > 50 && counts.lists < ITEMS);
    CHECK_INT(counts.lists + counts.evicted, ITEMS);
    CHECK(counts.bytes <= SMALL);
    for (int item = 0; item < ITEMS; item++)
        check(c, item, 0, item < counts.evicted ? 0 : item + 1);
    companions_close(c);
}

/* What rises in a category is apart from what goes with an item of that name, and fades by its half-life. */
static void rising_lists_fade(void)
{
    struct companions *c = companions_new(LARGE);
    const struct model_scored *list;
    double weight;
    struct counted_item hat = {.item_id = STR("hat"), .score = 3};
    struct related rising = {.item_id = STR("i7"),
                             .kind = (enum related_kind)COMPANIONS_RISING,
                             .items = &hat,
                             .n_items = 1,
                             .decay = {.half_life_ms = 1000},
                             .event_time_ms = 5000};
    put(c, 7, 0, 3);
    companions_put(c, 1, &rising);
    check(c, 7, 0, 3);
    CHECK_INT(companions_rising(c, key_of(8), 5000, &list, &weight), 0);
    CHECK_INT(companions_rising(c, key_of(7), 4000, &list, &weight), 1);
    CHECK_NEAR(weight, 1, 0);
    CHECK_INT(companions_rising(c, key_of(7), 7000, &list, &weight), 1);
    CHECK_NEAR(weight, 0.25, 1e-12);
    CHECK_HEX(list[0].key, schemas_item_key(STR(""), STR("hat")));
    companions_take(c, 1);
    CHECK_INT(companions_rising(c, key_of(7), 5000, &list, &weight), 0);
    companions_close(c);
}

int main(void)
{
    CASE(newest_list_counts);
    CASE(oldest_makes_room);
    CASE(rising_lists_fade);
    return 0;
}
