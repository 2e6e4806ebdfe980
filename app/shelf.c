/* Items in memory, and an index of their titles.
 *
 * The index is a map from the first one, two and three letters of a word to the items that have such a word: a query takes the
 * shortest of the lists that its words name and looks at the titles themselves. Entries of titles that changed stay and are seen
 * through there, so nothing is searched for when an item goes. Lists are bounded: of a beginning that too many items share, the
 * first ones are found. */
#include "app/shelf.h"

#include <string.h>

#include "base/map.h"
#include "base/mem.h"

enum { PREFIX = 3, LIST_MAX = 1 << 15, PREFIXES_MAX = 1 << 20, WORDS_MAX = 16, WORD_MAX = 64 };

/* Texts lie behind it, in one block. */
struct place {
    struct shelf_item item;
    uint64_t record; /* hash of the Kafka key */
    int at;          /* in all */
};

struct list {
    uint64_t *keys; /* (n) items with a word that begins so */
    int n, cap;
};

struct shelf {
    int max;
    struct map_u64 *items;   /* item key to struct place */
    struct map_u64 *records; /* hash of the Kafka key to the item key */
    struct map_u64 *words;   /* a beginning to struct list */
    struct place **all;      /* (n) */
    int n, cap;
    int64_t refused;
};

struct shelf *shelf_new(int max)
{
    struct shelf *shelf = mem_zalloc(sizeof *shelf);
    shelf->max = max;
    shelf->items = map_u64_new((size_t)max);
    shelf->records = map_u64_new((size_t)max);
    shelf->words = map_u64_new(PREFIXES_MAX);
    return shelf;
}

void shelf_clear(struct shelf *shelf)
{
    size_t at = 0;
    uint64_t key, *value;
    while (map_u64_next(shelf->words, &at, &key, &value)) {
        struct list *list = map_u64_get_ptr(shelf->words, key);
        mem_free(list->keys);
        mem_free(list);
    }
    for (int i = 0; i < shelf->n; i++)
        mem_free(shelf->all[i]);
    shelf->n = 0;
    map_u64_clear(shelf->words);
    map_u64_clear(shelf->records);
    map_u64_clear(shelf->items);
}

void shelf_free(struct shelf *shelf)
{
    if (!shelf) return;
    shelf_clear(shelf);
    map_u64_free(shelf->words);
    map_u64_free(shelf->records);
    map_u64_free(shelf->items);
    mem_free(shelf->all);
    mem_free(shelf);
}

/* ---- words ---- */

struct word {
    char text[WORD_MAX]; /* (n) small letters */
    size_t n;
};

static bool is_letter(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0x80;
}

/* The letter c, behind `before`, made small: ASCII, and U+00C0 to U+00DE, whose second bytes are 0x80 to 0x9e behind 0xc3. */
static char small(unsigned char before, unsigned char c)
{
    if (c >= 'A' && c <= 'Z') return (char)(c + 32);
    if (before == 0xc3 && c >= 0x80 && c <= 0x9e && c != 0x97) return (char)(c + 32);
    return (char)c;
}

/* The next word of the text, from *at on; a long one is cut. */
static bool word_next(struct str text, size_t *at, struct word *word)
{
    const unsigned char *bytes = (const unsigned char *)text.ptr;
    while (*at < text.len && !is_letter(bytes[*at]))
        (*at)++;
    word->n = 0;
    for (; *at < text.len && is_letter(bytes[*at]); (*at)++)
        if (word->n < WORD_MAX) word->text[word->n++] = small(*at ? bytes[*at - 1] : 0, bytes[*at]);
    return word->n > 0;
}

static uint64_t beginning_of(const struct word *word, size_t n)
{
    uint64_t key = n;
    for (size_t i = 0; i < n; i++)
        key = key << 8 | (unsigned char)word->text[i];
    return key;
}

static void list_add(struct shelf *shelf, uint64_t beginning, uint64_t item)
{
    struct list *list = map_u64_get_ptr(shelf->words, beginning);
    if (!list) {
        list = mem_zalloc(sizeof *list);
        if (!map_u64_set_ptr(shelf->words, beginning, list)) {
            mem_free(list);
            return;
        }
    }
    if (list->n == LIST_MAX || (list->n > 0 && list->keys[list->n - 1] == item)) return;
    if (list->n == list->cap) {
        list->cap = list->cap ? 2 * list->cap : 4;
        list->keys = mem_realloc(list->keys, (size_t)list->cap * sizeof *list->keys);
    }
    list->keys[list->n++] = item;
}

static void title_index(struct shelf *shelf, const struct shelf_item *item)
{
    struct word word;
    size_t at = 0;
    while (word_next(item->title, &at, &word))
        for (size_t n = 1; n <= PREFIX && n <= word.n; n++)
            list_add(shelf, beginning_of(&word, n), item->key);
}

/* ---- items ---- */

static struct str text_copy(char **at, struct str text)
{
    char *to = *at;
    if (text.len) memcpy(to, text.ptr, text.len);
    *at += text.len;
    return (struct str){to, text.len};
}

static struct place *place_new(uint64_t key, uint64_t record, const struct item *from)
{
    size_t texts = from->tenant.len + from->item_id.len + from->title.len + from->brand.len;
    struct place *place = mem_alloc(sizeof *place + texts);
    char *at = (char *)(place + 1);
    place->record = record;
    place->item = (struct shelf_item){.key = key,
                                      .tenant = text_copy(&at, from->tenant),
                                      .id = text_copy(&at, from->item_id),
                                      .title = text_copy(&at, from->title),
                                      .brand = text_copy(&at, from->brand),
                                      .price = from->price,
                                      .stock = from->stock,
                                      .from_ms = from->available_from_ms,
                                      .until_ms = from->available_until_ms,
                                      .has_price = from->has_price,
                                      .hidden = from->hidden};
    return place;
}

static void all_add(struct shelf *shelf, struct place *place)
{
    if (shelf->n == shelf->cap) {
        shelf->cap = shelf->cap ? 2 * shelf->cap : 256;
        shelf->all = mem_realloc(shelf->all, (size_t)shelf->cap * sizeof(struct place *));
    }
    place->at = shelf->n;
    shelf->all[shelf->n++] = place;
}

bool shelf_put(struct shelf *shelf, struct str record_key, const struct item *item)
{
    uint64_t key = schemas_item_key(item->tenant, item->item_id);
    uint64_t record = schemas_id_hash(record_key);
    const uint64_t *was = map_u64_get(shelf->records, record);
    if (was && *was != key) shelf_remove(shelf, record_key);
    struct place *before = map_u64_get_ptr(shelf->items, key);
    if (!before && shelf->n == shelf->max) {
        shelf->refused++;
        return false;
    }
    struct place *place = place_new(key, record, item);
    bool is_titled = !before || !str_equal(before->item.title, place->item.title);
    if (before) {
        (void)map_u64_delete(shelf->records, before->record);
        place->at = before->at;
        shelf->all[place->at] = place;
        mem_free(before);
    } else {
        all_add(shelf, place);
    }
    (void)map_u64_set_ptr(shelf->items, key, place);
    (void)map_u64_set(shelf->records, record, key);
    if (is_titled) title_index(shelf, &place->item);
    return true;
}

void shelf_remove(struct shelf *shelf, struct str record_key)
{
    uint64_t record = schemas_id_hash(record_key);
    const uint64_t *key = map_u64_get(shelf->records, record);
    struct place *place = key ? map_u64_get_ptr(shelf->items, *key) : NULL;
    if (!place) return;
    struct place *last = shelf->all[--shelf->n];
    last->at = place->at;
    shelf->all[last->at] = last;
    (void)map_u64_delete(shelf->items, place->item.key);
    (void)map_u64_delete(shelf->records, record);
    mem_free(place);
}

void shelf_refuse(struct shelf *shelf, uint64_t key, uint64_t rules)
{
    struct place *place = map_u64_get_ptr(shelf->items, key);
    if (place) place->item.refused = rules;
}

int shelf_count(const struct shelf *shelf)
{
    return shelf->n;
}

int64_t shelf_refused(const struct shelf *shelf)
{
    return shelf->refused;
}

const struct shelf_item *shelf_get(const struct shelf *shelf, uint64_t key)
{
    const struct place *place = map_u64_get_ptr(shelf->items, key);
    return place ? &place->item : NULL;
}

bool shelf_is_listed(const struct shelf_item *item, int64_t now_ms)
{
    if (!item) return true;
    return !item->hidden && item->stock != 0 && (item->from_ms == 0 || item->from_ms <= now_ms) &&
           (item->until_ms == 0 || now_ms < item->until_ms);
}

int shelf_some(const struct shelf *shelf, struct str tenant, int64_t now_ms, uint64_t refusing,
               int n, uint64_t *keys)
{
    int found = 0;
    for (int i = 0; i < shelf->n && found < n; i++) {
        const struct shelf_item *item = &shelf->all[i]->item;
        if ((item->refused & refusing) == 0 && str_equal(item->tenant, tenant) &&
            shelf_is_listed(item, now_ms))
            keys[found++] = item->key;
    }
    return found;
}

/* ---- searching ---- */

static bool title_has(struct str title, const struct word *wanted)
{
    struct word word;
    size_t at = 0;
    while (word_next(title, &at, &word))
        if (word.n >= wanted->n && memcmp(word.text, wanted->text, wanted->n) == 0) return true;
    return false;
}

static bool is_new(const uint64_t *keys, int n, uint64_t key)
{
    for (int i = 0; i < n; i++)
        if (keys[i] == key) return false;
    return true;
}

int shelf_find(const struct shelf *shelf, struct str tenant, struct str query, int64_t now_ms,
               int n, uint64_t *keys)
{
    struct word words[WORDS_MAX];
    const struct list *shortest = NULL;
    size_t at = 0;
    int n_words = 0, found = 0;
    while (n_words < WORDS_MAX && word_next(query, &at, &words[n_words])) {
        const struct word *word = &words[n_words++];
        const struct list *list =
            map_u64_get_ptr(shelf->words, beginning_of(word, word->n < PREFIX ? word->n : PREFIX));
        if (!list) return 0;
        if (!shortest || list->n < shortest->n) shortest = list;
    }
    for (int i = 0; shortest && i < shortest->n && found < n; i++) {
        const struct shelf_item *item = shelf_get(shelf, shortest->keys[i]);
        bool fits = item && str_equal(item->tenant, tenant) && shelf_is_listed(item, now_ms);
        for (int w = 0; w < n_words && fits; w++)
            fits = title_has(item->title, &words[w]);
        if (fits && is_new(keys, found, item->key)) keys[found++] = item->key;
    }
    return found;
}
