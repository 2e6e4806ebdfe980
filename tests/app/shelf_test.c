/* The server's items: what may be shown, tombstones by record key, search against a search by definition. */
#include <ctype.h>

#include "app/shelf.h"
#include "base/rng.h"
#include "tests/test.h"

enum { NOW = 1000 };

static struct item item_of(const char *id, const char *title)
{
    return (struct item){.item_id = str_of(id), .title = str_of(title), .stock = -1};
}

static uint64_t key_of(const char *id)
{
    return schemas_item_key(STR(""), str_of(id));
}

static void put(struct shelf *shelf, const char *id, const char *title)
{
    struct item item = item_of(id, title);
    CHECK(shelf_put(shelf, str_of(id), &item));
}

static void items_come_change_and_go(void)
{
    struct shelf *shelf = shelf_new(3);
    struct item item = item_of("a", "Red shoe");
    item.price = 12.5;
    item.has_price = true;
    CHECK(shelf_put(shelf, STR("record-a"), &item));
    CHECK_NEAR(shelf_get(shelf, key_of("a"))->price, 12.5, 0);
    item.price = 9;
    CHECK(shelf_put(shelf, STR("record-a"), &item));
    CHECK_INT(shelf_count(shelf), 1);
    CHECK_NEAR(shelf_get(shelf, key_of("a"))->price, 9, 0);
    put(shelf, "b", "Blue shoe");
    put(shelf, "c", "Green hat");
    item = item_of("d", "too many");
    CHECK(!shelf_put(shelf, STR("d"), &item));
    CHECK_INT(shelf_refused(shelf), 1);
    shelf_remove(shelf, STR("a")); /* no record has this key */
    CHECK_INT(shelf_count(shelf), 3);
    shelf_remove(shelf, STR("record-a"));
    CHECK(shelf_get(shelf, key_of("a")) == NULL);
    CHECK_BYTES(shelf_get(shelf, key_of("c"))->title.ptr, 9, "Green hat", 9);
    shelf_clear(shelf);
    CHECK_INT(shelf_count(shelf), 0);
    put(shelf, "a", "again");
    shelf_free(shelf);
}

/* A key that names another item takes the one before away. */
static void keys_change_hands(void)
{
    struct shelf *shelf = shelf_new(10);
    struct item one = {.item_id = STR("one")}, two = {.item_id = STR("two")};
    CHECK(shelf_put(shelf, STR("k"), &one));
    CHECK(shelf_put(shelf, STR("k"), &two));
    CHECK(shelf_get(shelf, schemas_item_key(STR(""), one.item_id)) == NULL);
    CHECK(shelf_get(shelf, schemas_item_key(STR(""), two.item_id)) != NULL);
    shelf_remove(shelf, STR("k"));
    CHECK_INT(shelf_count(shelf), 0);
    shelf_free(shelf);
}

static void what_may_be_shown(void)
{
    const struct shelf_item plain = {.stock = -1}, hidden = {.stock = -1, .hidden = true},
                            sold_out = {.stock = 0}, last_one = {.stock = 1},
                            coming = {.stock = -1, .from_ms = 100},
                            gone = {.stock = -1, .until_ms = 100};
    CHECK(shelf_is_listed(NULL, 100)); /* unknown */
    CHECK(shelf_is_listed(&plain, 100));
    CHECK(!shelf_is_listed(&hidden, 100));
    CHECK(!shelf_is_listed(&sold_out, 100));
    CHECK(shelf_is_listed(&last_one, 100));
    CHECK(!shelf_is_listed(&coming, 99));
    CHECK(shelf_is_listed(&coming, 100));
    CHECK(shelf_is_listed(&gone, 99));
    CHECK(!shelf_is_listed(&gone, 100));
}

static int found(const struct shelf *shelf, const char *query)
{
    uint64_t keys[64];
    return shelf_find(shelf, STR(""), str_of(query), NOW, 64, keys);
}

static void words_and_their_beginnings(void)
{
    struct shelf *shelf = shelf_new(100);
    put(shelf, "a", "Red running-shoe, size 42");
    put(shelf, "b", "Redwood table");
    put(shelf, "c",
        "\xc3\x89"
        "clair au chocolat"); /* with U+00C9 */
    CHECK_INT(found(shelf, "red"), 2);
    CHECK_INT(found(shelf, "RED sh"), 1);
    CHECK_INT(found(shelf, "shoe red"), 1);
    CHECK_INT(found(shelf, "hoe"), 0);
    CHECK_INT(found(shelf, "4"), 1);
    CHECK_INT(found(shelf, "redwoods"), 0);
    CHECK_INT(found(shelf, "\xc3\xa9"
                           "cl"),
              1); /* with U+00E9 */
    CHECK_INT(found(shelf, "  ,. "), 0);
    put(shelf, "a", "Blue boot"); /* the old title is forgotten */
    CHECK_INT(found(shelf, "running"), 0);
    CHECK_INT(found(shelf, "blue"), 1);
    shelf_remove(shelf, STR("b"));
    CHECK_INT(found(shelf, "redwood"), 0);
    uint64_t keys[4];
    CHECK_INT(shelf_find(shelf, STR("other"), STR("blue"), NOW, 4, keys), 0);
    shelf_free(shelf);
}

/* What is hidden takes no place among the first n. */
static void hidden_items_are_not_found(void)
{
    struct shelf *shelf = shelf_new(10);
    uint64_t keys[2];
    for (int i = 0; i < 6; i++) {
        char id[8];
        (void)snprintf(id, sizeof id, "i%d", i);
        struct item item = item_of(id, "Red shoe");
        item.hidden = i < 2;
        if (i == 2) item.stock = 0;
        if (i == 3) item.available_from_ms = NOW + 1;
        CHECK(shelf_put(shelf, str_of(id), &item));
    }
    CHECK_INT(shelf_find(shelf, STR(""), STR("red"), NOW, 2, keys), 2);
    CHECK_HEX(keys[0], key_of("i4"));
    CHECK_HEX(keys[1], key_of("i5"));
    CHECK_INT(found(shelf, "shoe"), 2);
    shelf_free(shelf);
}

enum { ITEMS = 200, WORDS = 3 };

static void random_word(struct rng *rng, char out[8])
{
    int n = 1 + (int)rng_below(rng, 4);
    for (int i = 0; i < n; i++)
        out[i] = (char)((rng_below(rng, 2) ? 'a' : 'A') + (int)rng_below(rng, 3));
    out[n] = '\0';
}

/* The definition, for titles of words and single spaces. */
static bool begins_a_word(const char *title, const char *word)
{
    for (const char *at = title; *at; at++) {
        size_t i = 0;
        if (at > title && at[-1] != ' ') continue;
        while (word[i] && tolower((unsigned char)at[i]) == tolower((unsigned char)word[i]))
            i++;
        if (!word[i]) return true;
    }
    return false;
}

static void searches_agree_with_the_definition(void)
{
    static char titles[ITEMS][64];
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    struct shelf *shelf = shelf_new(ITEMS);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < ITEMS; i++) {
            char words[WORDS][8], id[16];
            for (int w = 0; w < WORDS; w++)
                random_word(&rng, words[w]);
            (void)snprintf(id, sizeof id, "i%d", i);
            if (rng_below(&rng, 2)) continue;
            (void)snprintf(titles[i], sizeof titles[i], "%s %s %s", words[0], words[1], words[2]);
            put(shelf, id, titles[i]);
        }
        for (int q = 0; q < 50; q++) {
            uint64_t keys[ITEMS];
            char a[8], b[8], query[32];
            int want = 0;
            random_word(&rng, a);
            random_word(&rng, b);
            (void)snprintf(query, sizeof query, "%s %s", a, b);
            for (int i = 0; i < ITEMS; i++)
                want += titles[i][0] && begins_a_word(titles[i], a) && begins_a_word(titles[i], b);
            int got = shelf_find(shelf, STR(""), str_of(query), NOW, ITEMS, keys);
            if (got != want) test_fail(__FILE__, __LINE__, "%s: %d, not %d", query, got, want);
        }
    }
    shelf_free(shelf);
}

int main(void)
{
    CASE(items_come_change_and_go);
    CASE(keys_change_hands);
    CASE(what_may_be_shown);
    CASE(words_and_their_beginnings);
    CASE(hidden_items_are_not_found);
    CASE(searches_agree_with_the_definition);
    return 0;
}
