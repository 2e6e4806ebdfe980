/* The table of options as text: for a terminal and as the page in docs/. Both go through the groups in the order in which
 * the table first names them, so that the table alone decides what the reader sees. */
#include "base/options.h"

#include <string.h>

#include "base/options_internal.h"

enum {
    HELP_WIDTH = 96,
    HELP_INDENT = 6,
};

/* A table of flags may do without groups. */
static const char *group_of(const struct option_spec *spec)
{
    return spec->group != NULL ? spec->group : "";
}

/* Is spec i the first of its group? Groups come in the order of their first option. */
static bool opens_group(const struct option_spec *specs, size_t i)
{
    for (size_t j = 0; j < i; j++) {
        if (strcmp(group_of(&specs[j]), group_of(&specs[i])) == 0) return false;
    }
    return true;
}

/* ---- terminal ---- */

static void push_spaces(struct buf *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        buf_push_byte(out, ' ');
}

/* Words of text, wrapped and indented, a line end behind. */
static void push_wrapped(struct buf *out, const char *text)
{
    size_t column = 0;
    while (*text != '\0') {
        size_t n = strcspn(text, " ");
        if (column > 0 && column + 1 + n > HELP_WIDTH) {
            buf_push_byte(out, '\n');
            column = 0;
        }
        if (column == 0) {
            push_spaces(out, HELP_INDENT);
            column = HELP_INDENT;
        } else {
            buf_push_byte(out, ' ');
            column++;
        }
        buf_push(out, text, n);
        column += n;
        text += n;
        text += strspn(text, " ");
    }
    buf_push_byte(out, '\n');
}

/* What stands behind "--name"; NULL for a switch, which takes no value. */
static const char *placeholder(const struct option_spec *spec)
{
    const char *unit = spec->unit != NULL ? spec->unit : "";
    switch (spec->type) {
    case OPTION_INT:
        if (strcmp(unit, "bytes") == 0) return "SIZE";
        return strcmp(unit, "ms") == 0 || strcmp(unit, "s") == 0 ? "TIME" : "N";
    case OPTION_NUMBER:
        return "NUMBER";
    case OPTION_ENUM:
        return spec->values;
    case OPTION_LIST:
        return "A,B,...";
    case OPTION_TEXT:
        return "TEXT";
    case OPTION_BOOL:
        break;
    }
    return NULL;
}

/* "(default 7d, from 1s to 36500d)" or "(required)". */
static void push_facts(struct buf *out, const struct option_spec *spec)
{
    if (spec->fallback == NULL) {
        buf_push_text(out, "  (required");
    } else if (spec->fallback[0] == '\0') {
        buf_push_text(out, "  (default: empty");
    } else {
        buf_push_format(out, "  (default %s", spec->fallback);
    }
    size_t before = out->len;
    buf_push_text(out, ", ");
    size_t comma = out->len;
    options__bounds(spec, out);
    if (out->len == comma) out->len = before;
    buf_push_text(out, ")\n");
}

/* One option: name, facts, and the help text wrapped below. */
static void push_option(struct buf *out, const struct option_spec *spec, bool as_flag)
{
    const char *value = placeholder(spec);
    buf_push_format(out, "  %s%s", as_flag ? "--" : "", spec->name);
    if (as_flag && value != NULL) buf_push_format(out, " %s", value);
    if (!as_flag) buf_push_format(out, " = %s", value != NULL ? value : "true|false");
    push_facts(out, spec);
    push_wrapped(out, spec->help != NULL ? spec->help : "");
}

void options_help(const struct option_spec *specs, size_t n, bool as_flags, struct buf *out)
{
    for (size_t i = 0; i < n; i++) {
        if (!opens_group(specs, i)) continue;
        if (group_of(&specs[i])[0] != '\0') {
            buf_push_format(out, "%s%s\n", i > 0 ? "\n" : "", group_of(&specs[i]));
        }
        for (size_t j = i; j < n; j++) {
            if (strcmp(group_of(&specs[i]), group_of(&specs[j])) != 0) continue;
            push_option(out, &specs[j], as_flags);
        }
    }
}

/* ---- markdown ---- */

/* Text of a table's cell: a '|' would end it, and a '<' outside of code would begin a tag. */
static void push_cell(struct buf *out, const char *text)
{
    bool in_code = false;
    for (; *text != '\0'; text++) {
        if (*text == '`') in_code = !in_code;
        if (*text == '|' || (*text == '<' && !in_code)) buf_push_byte(out, '\\');
        buf_push_byte(out, (uint8_t)*text);
    }
}

/* "time from 1s to 7d", "from 1 to 64 threads". */
static void push_quantities(struct buf *out, const struct option_spec *spec)
{
    const char *unit = spec->unit != NULL ? spec->unit : "";
    bool is_size = strcmp(unit, "bytes") == 0;
    bool is_time = strcmp(unit, "ms") == 0 || strcmp(unit, "s") == 0;
    if (is_size || is_time) buf_push_text(out, is_size ? "size " : "time ");
    options__bounds(spec, out);
    if (!is_size && !is_time && unit[0] != '\0') buf_push_format(out, " %s", unit);
}

/* What the option takes. */
static void push_values(struct buf *out, const struct option_spec *spec)
{
    switch (spec->type) {
    case OPTION_BOOL:
        buf_push_text(out, "`true`, `false`");
        break;
    case OPTION_ENUM:
        for (const char *at = spec->values; at != NULL;) {
            size_t n = strcspn(at, "|");
            buf_push_format(out, "`%.*s`", (int)n, at);
            at = at[n] == '|' ? at + n + 1 : NULL;
            if (at != NULL) buf_push_text(out, ", ");
        }
        break;
    case OPTION_LIST:
        buf_push_text(out, "list");
        break;
    case OPTION_TEXT:
        buf_push_text(out, "text");
        break;
    case OPTION_INT:
    case OPTION_NUMBER:
        push_quantities(out, spec);
        break;
    }
}

/* One row of a table. */
static void push_row(struct buf *out, const struct option_spec *spec)
{
    buf_push_format(out, "| `%s` | ", spec->name);
    if (spec->fallback == NULL) {
        buf_push_text(out, "required");
    } else if (spec->fallback[0] != '\0') {
        buf_push_format(out, "`%s`", spec->fallback);
    }
    buf_push_text(out, " | ");
    push_values(out, spec);
    buf_push_text(out, " | ");
    push_cell(out, spec->help != NULL ? spec->help : "");
    buf_push_text(out, " |\n");
}

void options_markdown(const struct option_spec *specs, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n; i++) {
        if (!opens_group(specs, i)) continue;
        buf_push_format(out,
                        "%s## %s\n\n| Option | Default | Values | Meaning |\n|---|---|---|---|\n",
                        i > 0 ? "\n" : "", group_of(&specs[i]));
        for (size_t j = i; j < n; j++) {
            if (strcmp(group_of(&specs[i]), group_of(&specs[j])) == 0) push_row(out, &specs[j]);
        }
    }
}
