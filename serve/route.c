/* The table of routes: from method and path to a row, and from texts to checked parameters. */
#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "serve/internal.h"

enum { TEXT_MAX = 512, NUMBER_TEXT_MAX = 40 };

/* ---- parameters ---- */

static bool number_read(struct str text, double *number)
{
    char copy[NUMBER_TEXT_MAX], *end;
    if (text.len == 0 || text.len >= sizeof copy || text.ptr[0] == ' ') return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    *number = strtod(copy, &end);
    return *end == '\0' && isfinite(*number);
}

static bool integer_read(struct str text, int64_t *integer)
{
    char copy[NUMBER_TEXT_MAX], *end;
    if (text.len == 0 || text.len >= sizeof copy) return false;
    if (text.ptr[0] != '-' && (text.ptr[0] < '0' || text.ptr[0] > '9')) return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    errno = 0;
    *integer = strtoll(copy, &end, 10);
    return *end == '\0' && errno == 0;
}

/* The index of text in "a|b|c", or -1. */
static int value_find(const char *values, struct str text)
{
    for (int i = 0;; i++) {
        size_t len = strcspn(values, "|");
        if (str_equal((struct str){values, len}, text)) return i;
        if (values[len] == '\0') return -1;
        values += len + 1;
    }
}

static bool is_inside(const struct serve_param *param, double number)
{
    bool is_bounded = param->min != 0 || param->max != 0;
    return !is_bounded || (number >= param->min && number <= param->max);
}

static bool text_check(const struct serve_param *param, struct str text)
{
    double max = param->max > 0 ? param->max : TEXT_MAX;
    return (double)text.len >= param->min && (double)text.len <= max;
}

static bool value_read(const struct serve_param *param, struct str text, struct serve__value *value)
{
    switch (param->type) {
    case SERVE_TEXT:
        return text_check(param, text);
    case SERVE_INT:
        return integer_read(text, &value->integer) && is_inside(param, (double)value->integer);
    case SERVE_NUMBER:
        return number_read(text, &value->number) && is_inside(param, value->number);
    case SERVE_BOOL:
        value->integer = str_equal(text, STR("true")) || str_equal(text, STR("1"));
        return value->integer || str_equal(text, STR("false")) || str_equal(text, STR("0"));
    case SERVE_ENUM:
        value->integer = value_find(param->values, text);
        return value->integer >= 0;
    }
    return false;
}

static void wanted_push(const struct serve_param *param, struct buf *why)
{
    switch (param->type) {
    case SERVE_TEXT:
        buf_push_format(why, "%g to %g bytes", param->min,
                        param->max > 0 ? param->max : (double)TEXT_MAX);
        return;
    case SERVE_INT:
    case SERVE_NUMBER:
        buf_push_text(why, param->type == SERVE_INT ? "an integer" : "a number");
        if (param->min != 0 || param->max != 0)
            buf_push_format(why, " from %.15g to %.15g", param->min, param->max);
        return;
    case SERVE_BOOL:
        buf_push_text(why, "true or false");
        return;
    case SERVE_ENUM:
        buf_push_format(why, "one of %s", param->values);
        return;
    }
}

bool serve__param_check(const struct serve_param *param, struct str text,
                        struct serve__value *value, struct buf *why)
{
    enum { SHOWN = 40 };
    value->text = text;
    value->is_given = true;
    if (value_read(param, text, value)) return true;
    struct str shown = {text.ptr, text.len < SHOWN ? text.len : SHOWN};
    buf_push_format(why, "parameter %s: \"%.*s\" is not what is wanted: ", param->name,
                    STR_ARG(shown));
    wanted_push(param, why);
    return false;
}

/* ---- the table ---- */

static int param_find(const struct serve__row *row, struct str name)
{
    for (int i = 0; i < row->n_params; i++)
        if (str_equal(str_of(row->route->params[i].name), name)) return i;
    return -1;
}

/* A row of the table, taken apart. The asserts are about the table. */
static void row_init(struct serve__row *row, const struct serve_route *route)
{
    const char *at = route->path;
    *row = (struct serve__row){.route = route};
    assert(route->handle && at && at[0] == '/');
    while (row->n_params < SERVE_PARAMS_MAX && route->params[row->n_params].name)
        row->n_params++;
    while (*at == '/') {
        assert(row->n_segments < SERVE_SEGMENTS_MAX);
        struct serve__segment *segment = &row->segments[row->n_segments++];
        struct str text = {at + 1, strcspn(at + 1, "/")};
        at += 1 + text.len;
        *segment = (struct serve__segment){text, -1};
        if (text.len < 3 || text.ptr[0] != '{') continue;
        segment->literal = (struct str){NULL, 0};
        segment->param = param_find(row, (struct str){text.ptr + 1, text.len - 2});
        assert(segment->param >= 0 && "a name in the path is no parameter of the row");
    }
}

static void fallbacks_init(struct serve__row *row)
{
    char bytes[128];
    for (int i = 0; i < row->n_params; i++) {
        const struct serve_param *param = &row->route->params[i];
        struct buf why;
        row->fallbacks[i] = (struct serve__value){.text = {"", 0}};
        assert(param->type != SERVE_ENUM || param->values);
        if (param->fallback == NULL) continue;
        buf_init(&why, sizeof bytes);
        bool ok = serve__param_check(param, str_of(param->fallback), &row->fallbacks[i], &why);
        assert(ok && "the default of a parameter is not within its bounds");
        row->fallbacks[i].is_given = false;
        buf_fini(&why);
    }
}

void serve__routes_init(struct serve__routes *routes, const struct serve_route *table, int n)
{
    routes->n = n;
    routes->rows = mem_zalloc((size_t)n * sizeof *routes->rows);
    for (int i = 0; i < n; i++) {
        row_init(&routes->rows[i], &table[i]);
        fallbacks_init(&routes->rows[i]);
    }
}

void serve__routes_fini(struct serve__routes *routes)
{
    mem_free(routes->rows);
}

/* ---- matching ---- */

__attribute__((format(printf, 2, 3))) static int refuse(struct serve_request *request,
                                                        const char *format, ...)
{
    enum { ROOM = sizeof request->why_bytes };
    va_list args;
    va_start(args, format);
    int n = vsnprintf(request->why_bytes, ROOM, format, args);
    va_end(args);
    request->why = (struct str){request->why_bytes, n < 0 ? 0 : n < ROOM ? (size_t)n : ROOM - 1};
    return 400;
}

/* Number of segments, 0 when there are too many. */
static int split(struct str path, struct str *segments)
{
    int n = 0;
    size_t at = 0;
    while (at < path.len) {
        const char *from = path.ptr + at + 1;
        const char *slash = memchr(from, '/', path.len - at - 1);
        size_t len = slash ? (size_t)(slash - from) : path.len - at - 1;
        if (n == SERVE_SEGMENTS_MAX) return 0;
        segments[n++] = (struct str){from, len};
        at += 1 + len;
    }
    return n;
}

static bool is_fit(const struct serve__row *row, const struct str *segments, int n)
{
    if (row->n_segments != n) return false;
    for (int i = 0; i < n; i++) {
        const struct serve__segment *segment = &row->segments[i];
        if (segment->literal.ptr && !str_equal(segment->literal, segments[i])) return false;
    }
    return true;
}

/* The checks write into the request's own bytes. */
static bool param_take(struct serve_request *request, int param, struct str text)
{
    struct buf why = {.data = (uint8_t *)request->why_bytes,
                      .cap = sizeof request->why_bytes,
                      .max = sizeof request->why_bytes};
    if (serve__param_check(&request->row->route->params[param], text, &request->values[param],
                           &why))
        return true;
    request->why = (struct str){request->why_bytes, why.len};
    return false;
}

static int path_take(struct serve_request *request, const struct str *segments)
{
    const struct serve__row *row = request->row;
    for (int i = 0; i < row->n_segments; i++) {
        if (row->segments[i].literal.ptr) continue;
        if (segments[i].len == 0) return 404;
        if (!param_take(request, row->segments[i].param, segments[i])) return 400;
    }
    return 200;
}

int serve__route(const struct serve__routes *routes, struct serve_request *request,
                 enum serve_method method, struct str path)
{
    struct str segments[SERVE_SEGMENTS_MAX];
    int n = path.len && path.ptr[0] == '/' ? split(path, segments) : 0;
    request->allowed = 0;
    for (int i = 0; i < n; i++)
        if (!serve__decode(&segments[i], false))
            return refuse(request,
                          "the path has a broken percent code, or bytes that are no UTF-8");
    for (int i = 0; n && i < routes->n; i++) {
        const struct serve__row *row = &routes->rows[i];
        if (!is_fit(row, segments, n)) continue;
        request->allowed |= 1u << row->route->method;
        if (row->route->method != method || request->row) continue;
        request->row = row;
    }
    if (request->row == NULL) return request->allowed ? 405 : 404;
    memcpy(request->values, request->row->fallbacks,
           (size_t)request->row->n_params * sizeof request->values[0]);
    return path_take(request, segments);
}

static bool is_in_path(const struct serve__row *row, int param)
{
    for (int i = 0; i < row->n_segments; i++)
        if (row->segments[i].param == param) return true;
    return false;
}

static int pair_take(struct serve_request *request, struct str pair)
{
    const char *equals = memchr(pair.ptr, '=', pair.len);
    size_t len = equals ? (size_t)(equals - pair.ptr) : pair.len;
    struct str name = {pair.ptr, len}, text = {pair.ptr + pair.len, 0};
    if (equals) text = (struct str){equals + 1, pair.len - len - 1};
    if (!serve__decode(&name, true) || !serve__decode(&text, true))
        return refuse(request, "a parameter has a broken percent code, or bytes that are no UTF-8");
    int param = param_find(request->row, name);
    if (param < 0 || is_in_path(request->row, param))
        return refuse(request, "there is no parameter %.*s here; /openapi.json lists them",
                      STR_ARG(name));
    if (request->values[param].is_given)
        return refuse(request, "parameter %.*s is given twice", STR_ARG(name));
    return param_take(request, param, text) ? 200 : 400;
}

int serve__route_query(struct serve_request *request, struct str query)
{
    const struct serve__row *row = request->row;
    for (size_t at = 0; at < query.len;) {
        const char *from = query.ptr + at, *and = memchr(from, '&', query.len - at);
        size_t len = and? (size_t)(and-from) : query.len - at;
        int status = len ? pair_take(request, (struct str){from, len}) : 200;
        if (status != 200) return status;
        at += len + 1;
    }
    for (int i = 0; i < row->n_params; i++) {
        const struct serve_param *param = &row->route->params[i];
        if (param->is_required && !request->values[i].is_given)
            return refuse(request, "parameter %s is needed", param->name);
    }
    return 200;
}

/* ---- what a handler reads ---- */

static const struct serve__value *value_of(const struct serve_request *request, const char *name,
                                           enum serve_type type)
{
    int param = param_find(request->row, str_of(name));
    assert(param >= 0 && request->row->route->params[param].type == type);
    return &request->values[param];
}

struct str serve_text(const struct serve_request *request, const char *name)
{
    return value_of(request, name, SERVE_TEXT)->text;
}

int64_t serve_int(const struct serve_request *request, const char *name)
{
    return value_of(request, name, SERVE_INT)->integer;
}

double serve_number(const struct serve_request *request, const char *name)
{
    return value_of(request, name, SERVE_NUMBER)->number;
}

bool serve_bool(const struct serve_request *request, const char *name)
{
    return value_of(request, name, SERVE_BOOL)->integer != 0;
}

int serve_enum(const struct serve_request *request, const char *name)
{
    return (int)value_of(request, name, SERVE_ENUM)->integer;
}

struct str serve_body(const struct serve_request *request)
{
    return request->conn->parser.body;
}

struct str serve_header(const struct serve_request *request, const char *name)
{
    const struct str *value = serve__parser_header(&request->conn->parser, str_of(name));
    return value ? *value : (struct str){NULL, 0};
}
