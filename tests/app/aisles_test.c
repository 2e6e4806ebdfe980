/* Categories and their items, against a plain table: items that come, move, go and come back. */
#include "app/aisles.h"
#include "base/rng.h"
#include "tests/test.h"

enum { ITEMS = 40, NAMES = 4, STEPS = 20000 };

static const char *const names[NAMES] = {"audio", "books", "audio/radios", "toys"};

/* The item's categories as bits; 0: it is gone. */
static void put(struct aisles *aisles, int which, unsigned bits)
{
    char id[8];
    struct str categories[NAMES];
    struct item item = {.tenant = STR(""), .categories = categories};
    item.item_id = (struct str){id, (size_t)snprintf(id, sizeof id, "i%d", which)};
    for (int c = 0; c < NAMES; c++)
        if (bits >> c & 1) categories[item.n_categories++] = str_of(names[c]);
    if (bits)
        aisles_put(aisles, item.item_id, &item);
    else
        aisles_remove(aisles, item.item_id);
}

static uint64_t key_of(int which)
{
    char id[8];
    return schemas_item_key(STR(""),
                            (struct str){id, (size_t)snprintf(id, sizeof id, "i%d", which)});
}

static void same(const struct aisles *aisles, const unsigned *bits)
{
    for (int c = 0; c < NAMES; c++) {
        int expected = 0, found = 0, place = 0, counted = 0;
        uint64_t key;
        for (int i = 0; i < ITEMS; i++) {
            bool is_there = bits[i] >> c & 1;
            expected += is_there;
            CHECK_INT(aisles_has(aisles, STR(""), str_of(names[c]), key_of(i)), is_there);
        }
        while (aisles_next(aisles, STR(""), str_of(names[c]), &place, &key))
            found += key != 0;
        CHECK_INT(found, expected);
        for (int a = 0; a < aisles_count(aisles); a++)
            if (str_equal(aisles_get(aisles, a)->name, str_of(names[c])))
                counted = aisles_get(aisles, a)->items;
        CHECK_INT(counted, expected);
    }
}

/* A key that names another item takes the one before away; a key that an item has left says nothing of it. */
static void keys_change_hands(void)
{
    struct str toys = STR("toys");
    struct item one = {.item_id = STR("one"), .categories = &toys, .n_categories = 1};
    struct item two = {.item_id = STR("two"), .categories = &toys, .n_categories = 1};
    uint64_t first = schemas_item_key(STR(""), one.item_id);
    uint64_t second = schemas_item_key(STR(""), two.item_id);
    struct aisles *aisles = aisles_new(ITEMS);
    aisles_put(aisles, STR("k"), &one);
    aisles_put(aisles, STR("k"), &two);
    CHECK(!aisles_has(aisles, STR(""), toys, first));
    CHECK(aisles_has(aisles, STR(""), toys, second));
    aisles_put(aisles, STR("other"), &two);
    aisles_remove(aisles, STR("k"));
    CHECK(aisles_has(aisles, STR(""), toys, second));
    aisles_remove(aisles, STR("other"));
    CHECK(!aisles_has(aisles, STR(""), toys, second));
    CHECK_INT(aisles_get(aisles, 0)->items, 0);
    aisles_free(aisles);
}

int main(void)
{
    struct rng rng;
    unsigned bits[ITEMS] = {0};
    CASE(keys_change_hands);
    struct aisles *aisles = aisles_new(ITEMS);
    rng_init(&rng, TEST_SEED());
    for (int step = 0; step < STEPS; step++) {
        int which = (int)rng_below(&rng, ITEMS);
        bits[which] = (unsigned)rng_below(&rng, 1 << NAMES);
        put(aisles, which, bits[which]);
        if (step % 500 == 0) same(aisles, bits);
    }
    same(aisles, bits);
    CHECK_INT(aisles_has(aisles, STR("other"), STR("toys"), key_of(0)), false);
    aisles_clear(aisles);
    CHECK_INT(aisles_count(aisles), 0);
    aisles_free(aisles);
    return 0;
}
