/* A catalogue's file as content features of items. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "schemas/schemas.h"
#include "train/internal.h"
#include "train/train.h"

/* What a column can be mapped to. The order is that of map_names. */
enum target { TARGET_ITEM, TARGET_TITLE, TARGET_CATEGORIES, TARGET_BRAND, TARGET_PRICE, TARGETS };

static const char *const map_names[TARGETS] = {"item", "title", "categories", "brand", "price"};

/* Used when no map is given: the names that catalogues usually have. */
static const char default_map[] =
    "item=item_id|item|itemid|movieId|id,title=title|name|description,"
    "categories=categories|category|genres,brand=brand,price=price";

enum { CATEGORIES_MAX = 64 };
static const size_t TEXTS_MAX = (size_t)1 << 31;

struct reader {
    struct train_catalogue *catalogue;
    struct train__records *records;
    struct str tenant;
    /* CSV */
    struct train__columns columns;
    struct str fields[TRAIN__FIELDS_MAX];
    struct str categories[CATEGORIES_MAX];
    /* JSON */
    struct schemas *schemas;
    struct arena *arena;
    struct model_features features; /* of the item under way */
};

/* ---- items ---- */

static int feature_number(struct train_catalogue *c, struct str name)
{
    void *known = map_str_get(c->names, name);
    if (known) return (int)((uintptr_t)known - 1);
    if (c->n_names == c->names_cap) {
        c->names_cap = c->names_cap ? c->names_cap * 2 : 1024;
        c->name = mem_realloc(c->name, (size_t)c->names_cap * sizeof *c->name);
    }
    c->name[c->n_names] = (struct str){mem_strndup(name.ptr, name.len), name.len};
    (void)map_str_set(c->names, c->name[c->n_names], (void *)((uintptr_t)c->n_names + 1));
    return c->n_names++;
}

static int item_number(struct train_catalogue *c, struct str id)
{
    void *known = map_str_get(c->items, id);
    if (known) return (int)((uintptr_t)known - 1);
    if (c->n_items == c->items_cap) {
        c->items_cap = c->items_cap ? c->items_cap * 2 : 1024;
        c->start = mem_realloc(c->start, (size_t)c->items_cap * sizeof *c->start);
        c->count = mem_realloc(c->count, (size_t)c->items_cap * sizeof *c->count);
    }
    c->count[c->n_items] = 0;
    (void)map_str_set(c->items, id, (void *)((uintptr_t)c->n_items + 1));
    return c->n_items++;
}

/* Gives the item these features, instead of those of an older row, unless the newer one says nothing: logs that serve as a catalogue have
 * rows of stock corrections without a title. */
static void take_item(struct reader *r, struct str id, const struct model_content *content)
{
    struct train_catalogue *c = r->catalogue;
    int item = item_number(c, id);
    model_content_features(content, &r->features);
    size_t n = (size_t)r->features.n;
    if (n == 0) return;
    if (r->features.n > c->count[item]) {
        if (c->n_entries + n > c->entries_cap) {
            c->entries_cap = 2 * (c->n_entries + n) + 1024;
            c->features = mem_realloc(c->features, c->entries_cap * sizeof *c->features);
        }
        c->start[item] = c->n_entries;
        c->n_entries += n;
    }
    c->count[item] = r->features.n;
    for (size_t i = 0; i < n; i++)
        c->features[c->start[item] + i] = feature_number(c, r->features.name[i]);
}

static void count_holders(struct train_catalogue *c)
{
    c->holders = mem_zalloc((size_t)c->n_names * sizeof *c->holders + 1);
    for (int i = 0; i < c->n_items; i++) {
        for (int j = 0; j < c->count[i]; j++)
            c->holders[c->features[c->start[i] + (size_t)j]]++;
    }
}

/* ---- rows ---- */

/* The parts of text between '|', at most CATEGORIES_MAX. */
static size_t split_categories(struct reader *r, struct str text)
{
    size_t n = 0;
    for (size_t at = 0; at < text.len && n < CATEGORIES_MAX;) {
        size_t len = 0;
        while (at + len < text.len && text.ptr[at + len] != '|')
            len++;
        if (len > 0) r->categories[n++] = (struct str){text.ptr + at, len};
        at += len + 1;
    }
    return n;
}

static bool bad_row(const struct reader *r, struct err *err, const char *what)
{
    return err_set(err, ERR_DATA, "%s:%llu: %s", train__records_path(r->records),
                   (unsigned long long)train__records_line(r->records), what);
}

static bool csv_row(struct reader *r, char *text, size_t len, struct err *err)
{
    if (train__split(text, len, r->columns.delimiter, r->fields) != r->columns.n_columns)
        return bad_row(r, err, "not as many fields as the header");
    struct str value[TARGETS];
    for (int t = 0; t < TARGETS; t++)
        value[t] = train__columns_get(&r->columns, t, r->fields);
    struct str id = value[TARGET_ITEM];
    struct model_content content = {.title = value[TARGET_TITLE],
                                    .brand = value[TARGET_BRAND],
                                    .categories = r->categories,
                                    .n_categories = split_categories(r, value[TARGET_CATEGORIES]),
                                    .price = (double)NAN};
    if (id.len == 0 || id.len > SCHEMAS_ID_MAX) return bad_row(r, err, "no item id");
    if (value[TARGET_PRICE].len > 0 && !train__number_parse(value[TARGET_PRICE], &content.price))
        return bad_row(r, err, "the price is no number");
    take_item(r, id, &content);
    return true;
}

static bool json_row(struct reader *r, char *text, size_t len, struct err *err)
{
    struct item item;
    arena_reset(r->arena);
    if (!schemas_item_decode(r->schemas, (struct str){text, len}, r->arena, &item, err)) {
        struct err why = *err;
        return bad_row(r, err, why.text);
    }
    if (item.item_id.len == 0) return bad_row(r, err, "no item_id");
    if (item.tenant.len > 0 && !str_equal(item.tenant, r->tenant)) return true;
    struct model_content content = {.title = item.title,
                                    .brand = item.brand,
                                    .categories = item.categories,
                                    .n_categories = item.n_categories,
                                    .price = item.has_price ? item.price : (double)NAN};
    take_item(r, item.item_id, &content);
    return true;
}

/* ---- the file ---- */

/* Is the first record an object of JSON? An empty file is none. */
static bool looks_like_json(const char *path, bool *is_json, struct err *err)
{
    struct train__records *records;
    char *text;
    size_t len, at = 0;
    *is_json = false;
    if (!train__records_open(&records, path, false, err)) return false;
    if (train__records_next(records, &text, &len, err)) {
        while (at < len && (text[at] == ' ' || text[at] == '\t'))
            at++;
        *is_json = at < len && text[at] == '{';
    }
    train__records_close(records);
    return err->class != ERR_FATAL;
}

static bool read_rows(struct reader *r, struct err *err)
{
    struct train_catalogue *c = r->catalogue;
    char *text;
    size_t len;
    for (;;) {
        bool ok = train__records_next(r->records, &text, &len, err);
        if (!ok && err->class == ERR_NONE) return true;
        if (!ok && err->class != ERR_DATA) return false;
        c->rows++;
        if (ok) ok = r->schemas ? json_row(r, text, len, err) : csv_row(r, text, len, err);
        if (ok) continue;
        if (c->bad++ == 0) memcpy(c->first_bad, err->text, sizeof c->first_bad);
    }
}

static bool read_catalogue(struct reader *r, const char *path, const char *map, struct err *err)
{
    struct train_catalogue *c = r->catalogue;
    bool is_json;
    if (!looks_like_json(path, &is_json, err)) return false;
    if (is_json && map != NULL && map[0] != '\0')
        return err_fatal(err, ERR_EXIT_USAGE, "--items-map: %s is no CSV but JSON", path);
    if (!train__records_open(&r->records, path, !is_json, err)) return false;
    if (is_json) {
        struct schemas_options options = {.events_format = FORMAT_JSON};
        if (!schemas_open(&r->schemas, &options, err)) return false;
        r->arena = arena_new(SCHEMAS_MESSAGE_MAX, SCHEMAS_ARENA_MAX);
    } else if (!train__columns_read(&r->columns, r->records, map, err)) {
        return false;
    }
    if (!read_rows(r, err)) return false;
    if (c->bad * 2 > c->rows)
        return err_fatal(err, ERR_EXIT_USAGE, "%llu of %llu rows cannot be read; the first: %s",
                         (unsigned long long)c->bad, (unsigned long long)c->rows, c->first_bad);
    if (c->n_items == 0) return err_fatal(err, ERR_EXIT_USAGE, "%s: no item in it", path);
    count_holders(c);
    return true;
}

bool train_catalogue_read(struct train_catalogue **catalogue, const char *path, const char *map,
                          const char *tenant, struct err *err)
{
    struct reader *r = mem_zalloc(sizeof *r);
    r->tenant = str_of(tenant);
    r->columns = (struct train__columns){.flag = "--items-map",
                                         .names = map_names,
                                         .n = TARGETS,
                                         .n_required = TARGET_ITEM + 1,
                                         .usual = default_map};
    struct train_catalogue *c = r->catalogue = mem_zalloc(sizeof *c);
    c->items = map_str_new(TEXTS_MAX, MAP_KEYS_COPIED);
    c->names = map_str_new(TEXTS_MAX, MAP_KEYS_BORROWED);
    bool ok = read_catalogue(r, path, map, err);
    train__records_close(r->records);
    train__columns_free(&r->columns);
    schemas_close(r->schemas);
    arena_free(r->arena);
    mem_free(r);
    if (!ok) train_catalogue_free(c);
    if (ok) *catalogue = c;
    return ok;
}

void train_catalogue_free(struct train_catalogue *catalogue)
{
    struct train_catalogue *c = catalogue;
    if (!c) return;
    map_str_free(c->items);
    map_str_free(c->names);
    for (int f = 0; f < c->n_names; f++)
        mem_free((char *)(uintptr_t)c->name[f].ptr);
    mem_free(c->name);
    mem_free(c->start);
    mem_free(c->count);
    mem_free(c->features);
    mem_free(c->holders);
    mem_free(c);
}
