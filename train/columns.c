/* The header of a CSV file: which column means what, as a map says or by the names that files usually have. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "train/internal.h"

/* Takes the text up to `separator` (or the end) off the front. */
static struct str take_until(struct str *text, char separator)
{
    size_t n = 0;
    while (n < text->len && text->ptr[n] != separator)
        n++;
    struct str part = {text->ptr, n};
    size_t used = n < text->len ? n + 1 : n;
    text->ptr += used;
    text->len -= used;
    return part;
}

/* The fields of a header record. */
struct header {
    const char *path;
    const struct str *names; /* (n) */
    int n;
};

static int column_find(const struct header *header, struct str name)
{
    for (int i = 0; i < header->n; i++) {
        if (str_equal(header->names[i], name)) return i;
    }
    return -1;
}

/* "a, b, c" for messages; cut when long. */
static void list_texts(const struct str *texts, int n, char *out, size_t size)
{
    size_t at = 0;
    out[0] = '\0';
    for (int i = 0; i < n && at + 1 < size; i++) {
        int len = snprintf(out + at, size - at, "%s%.*s", i ? ", " : "", STR_ARG(texts[i]));
        if (len < 0) return;
        at += (size_t)len;
    }
}

/* "Name" or "Name|Other" of one target. strict: a name that the header lacks is an error. */
static bool map_columns(struct train__columns *c, const struct header *header, int target,
                        struct str names, bool strict, struct err *err)
{
    struct train__mapping *m = &c->mappings[target];
    while (names.len > 0) {
        struct str name = take_until(&names, '|');
        int column = column_find(header, name);
        if (column < 0 && strict) {
            char has[240];
            list_texts(header->names, header->n, has, sizeof has);
            return err_fatal(err, ERR_EXIT_USAGE,
                             "%s:1: no column \"%.*s\" (%s %s=); the header has: %s", header->path,
                             STR_ARG(name), c->flag, c->names[target], has);
        }
        if (column < 0) continue;
        if (m->n == TRAIN__ALTERNATIVES_MAX)
            return err_fatal(err, ERR_EXIT_USAGE, "%s %s=: more than %d columns", c->flag,
                             c->names[target], TRAIN__ALTERNATIVES_MAX);
        m->columns[m->n++] = column;
    }
    return true;
}

static bool map_entry(struct train__columns *c, const struct header *header, struct str entry,
                      bool strict, struct err *err)
{
    struct str value = entry;
    struct str name = take_until(&value, '=');
    struct str known[TRAIN__TARGETS_MAX];
    char fields[160];
    for (int i = 0; i < c->n; i++) {
        known[i] = str_of(c->names[i]);
        if (!str_equal(name, known[i])) continue;
        if (value.len > 0 && value.ptr[0] == '=') {
            c->mappings[i].literal = (struct str){value.ptr + 1, value.len - 1};
            return true;
        }
        return map_columns(c, header, i, value, strict, err);
    }
    list_texts(known, c->n, fields, sizeof fields);
    return err_fatal(err, ERR_EXIT_USAGE,
                     "%s: \"%.*s\" is no field; fields are %s (field=column, field=column|other, "
                     "field==literal)",
                     c->flag, STR_ARG(name), fields);
}

static bool map_parse(struct train__columns *c, const struct header *header, const char *map,
                      struct err *err)
{
    bool strict = map != NULL && map[0] != '\0';
    c->map = mem_strdup(strict ? map : c->usual);
    struct str rest = str_of(c->map);
    while (rest.len > 0) {
        struct str entry = take_until(&rest, ',');
        if (entry.len > 0 && !map_entry(c, header, entry, strict, err)) return false;
    }
    for (int i = 0; i < c->n_required; i++) {
        if (c->mappings[i].n > 0 || c->mappings[i].literal.ptr) continue;
        char has[240];
        list_texts(header->names, header->n, has, sizeof has);
        return err_fatal(err, ERR_EXIT_USAGE,
                         "%s:1: which column is the %s? Say %s %s=COLUMN; the header has: %s",
                         header->path, c->names[i], c->flag, c->names[i], has);
    }
    return true;
}

bool train__columns_read(struct train__columns *columns, struct train__records *records,
                         const char *map, struct err *err)
{
    struct train__columns *c = columns;
    struct str names[TRAIN__FIELDS_MAX];
    const char *path = train__records_path(records);
    char *text;
    size_t len;
    if (!train__records_next(records, &text, &len, err)) {
        if (err->class == ERR_NONE)
            return err_fatal(err, ERR_EXIT_USAGE,
                             "%s: is empty; a header with column names is expected", path);
        err->class = ERR_FATAL;
        err->exit_code = ERR_EXIT_USAGE;
        return false;
    }
    static const char byte_order_mark[] = "\xEF\xBB\xBF";
    if (len >= 3 && memcmp(text, byte_order_mark, 3) == 0) {
        text += 3;
        len -= 3;
    }
    c->delimiter = memchr(text, ',', len)    ? ','
                   : memchr(text, '\t', len) ? '\t'
                   : memchr(text, ';', len)  ? ';'
                                             : ',';
    train__records_delimiter(records, c->delimiter);
    c->n_columns = train__split(text, len, c->delimiter, names);
    if (c->n_columns < 0)
        return err_fatal(err, ERR_EXIT_USAGE, "%s:1: more than %d columns", path,
                         TRAIN__FIELDS_MAX);
    const struct header header = {path, names, c->n_columns};
    return map_parse(c, &header, map, err);
}

/* Without the spaces around it: exports pad their fields, ids are compared byte for byte. */
static struct str trimmed(struct str text)
{
    while (text.len > 0 && (text.ptr[0] == ' ' || text.ptr[0] == '\t')) {
        text.ptr++;
        text.len--;
    }
    while (text.len > 0 && strchr(" \t\r", text.ptr[text.len - 1]) && text.ptr[text.len - 1])
        text.len--;
    return text;
}

struct str train__columns_get(const struct train__columns *columns, int target,
                              const struct str *fields)
{
    const struct train__mapping *m = &columns->mappings[target];
    if (m->literal.ptr) return m->literal;
    for (int i = 0; i < m->n; i++) {
        struct str value = trimmed(fields[m->columns[i]]);
        if (value.len > 0) return value;
    }
    return (struct str){NULL, 0};
}

void train__columns_free(struct train__columns *columns)
{
    mem_free(columns->map);
}
