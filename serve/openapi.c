/* The OpenAPI 3.0 document, made from the table of routes: what is checked is what is documented. */
#include <stdio.h>

#include "serve/internal.h"

static const char *const type_names[] = {"string", "integer", "number", "boolean", "string"};
static const char *const method_names[SERVE_METHODS] = {"get", "post", "put", "delete"};

static bool is_in_path(const struct serve_route *route, const char *name)
{
    char part[80];
    (void)snprintf(part, sizeof part, "{%s}", name);
    return strstr(route->path, part) != NULL;
}

static void values_write(struct serve_json *json, const char *values)
{
    serve_json_array(json, "enum");
    while (*values) {
        size_t len = strcspn(values, "|");
        serve_json_text(json, NULL, (struct str){values, len});
        values += len + (values[len] == '|');
    }
    serve_json_end(json);
}

static void bounds_write(struct serve_json *json, const struct serve_param *param)
{
    if (param->type == SERVE_TEXT) {
        if (param->min > 0) serve_json_number(json, "minLength", param->min);
        serve_json_number(json, "maxLength", param->max > 0 ? param->max : 512);
    } else if (param->min != 0 || param->max != 0) {
        serve_json_number(json, "minimum", param->min);
        serve_json_number(json, "maximum", param->max);
    }
}

static void fallback_write(struct serve_json *json, const struct serve_param *param,
                           const char *key, const char *text)
{
    bool is_quoted = param->type == SERVE_TEXT || param->type == SERVE_ENUM;
    if (text == NULL) return;
    if (is_quoted)
        serve_json_cstr(json, key, text);
    else
        serve_json_raw(json, key, str_of(text));
}

static void param_write(struct serve_json *json, const struct serve_route *route,
                        const struct serve_param *param)
{
    bool in_path = is_in_path(route, param->name);
    serve_json_object(json, NULL);
    serve_json_cstr(json, "name", param->name);
    serve_json_cstr(json, "in", in_path ? "path" : "query");
    serve_json_bool(json, "required", in_path || param->is_required);
    if (param->help) serve_json_cstr(json, "description", param->help);
    serve_json_object(json, "schema");
    serve_json_cstr(json, "type", type_names[param->type]);
    if (param->type == SERVE_ENUM) values_write(json, param->values);
    bounds_write(json, param);
    fallback_write(json, param, "default", param->fallback);
    serve_json_end(json);
    fallback_write(json, param, "example", param->example);
    serve_json_end(json);
}

/* {"content": {TYPE: {"schema": {"$ref": ...}}}} */
static void content_write(struct serve_json *json, const char *type, const char *schema)
{
    char ref[160];
    (void)snprintf(ref, sizeof ref, "#/components/schemas/%s", schema ? schema : "");
    serve_json_object(json, "content");
    serve_json_object(json, type);
    serve_json_object(json, "schema");
    if (schema)
        serve_json_cstr(json, "$ref", ref);
    else
        serve_json_cstr(json, "type", strncmp(type, "text/", 5) == 0 ? "string" : "object");
    serve_json_end(json);
    serve_json_end(json);
    serve_json_end(json);
}

static void answers_write(struct serve_json *json, const struct serve_route *route)
{
    serve_json_object(json, "responses");
    serve_json_object(json, route->is_accepting ? "202" : "200");
    serve_json_cstr(json, "description", route->summary ? route->summary : "answer");
    content_write(json, route->type ? route->type : "application/json", route->answer);
    serve_json_end(json);
    serve_json_object(json, "default");
    serve_json_cstr(json, "description", "what went wrong, and what to do");
    content_write(json, "application/json", "Error");
    serve_json_end(json);
    serve_json_end(json);
}

static void route_write(struct serve_json *json, const struct serve_options *options,
                        const struct serve_route *route)
{
    serve_json_object(json, method_names[route->method]);
    if (route->summary) serve_json_cstr(json, "summary", route->summary);
    if (route->tag) {
        serve_json_array(json, "tags");
        serve_json_cstr(json, NULL, route->tag);
        serve_json_end(json);
    }
    serve_json_array(json, "parameters");
    for (int i = 0; i < SERVE_PARAMS_MAX && route->params[i].name; i++)
        param_write(json, route, &route->params[i]);
    serve_json_end(json);
    if (route->body) {
        serve_json_object(json, "requestBody");
        serve_json_bool(json, "required", true);
        content_write(json, "application/json", route->body);
        serve_json_end(json);
    }
    answers_write(json, route);
    if (options->token[0] && route->is_open) serve_json_raw(json, "security", STR("[]"));
    serve_json_end(json);
}

static bool is_new_path(const struct serve_options *options, int route)
{
    for (int i = 0; i < route; i++)
        if (!options->routes[i].is_undocumented &&
            strcmp(options->routes[i].path, options->routes[route].path) == 0)
            return false;
    return true;
}

static void paths_write(struct serve_json *json, const struct serve_options *options)
{
    serve_json_object(json, "paths");
    for (int i = 0; i < options->n_routes; i++) {
        const char *path = options->routes[i].path;
        if (options->routes[i].is_undocumented || !is_new_path(options, i)) continue;
        serve_json_object(json, path);
        for (int j = i; j < options->n_routes; j++)
            if (!options->routes[j].is_undocumented && strcmp(options->routes[j].path, path) == 0)
                route_write(json, options, &options->routes[j]);
        serve_json_end(json);
    }
    serve_json_end(json);
}

static void components_write(struct serve_json *json, const struct serve_options *options)
{
    static const char error[] = "{\"Error\":{\"type\":\"object\",\"required\":[\"error\"],"
                                "\"properties\":{\"error\":{\"type\":\"object\","
                                "\"required\":[\"code\",\"message\"],\"properties\":{\"code\":{"
                                "\"type\":\"string\"},\"message\":{\"type\":"
                                "\"string\"}}}}}";
    const char *schemas = options->schemas ? options->schemas : "{}";
    serve_json_object(json, "components");
    /* The given object goes on where ours ends. */
    serve_json_raw(json, "schemas", (struct str){error, sizeof error - 1});
    if (schemas[1] != '}') buf_push_byte(json->out, ',');
    buf_push_text(json->out, schemas + 1);
    if (options->token[0])
        serve_json_raw(json, "securitySchemes",
                       STR("{\"token\":{\"type\":\"http\",\"scheme\":\"bearer\"}}"));
    serve_json_end(json);
}

void serve__openapi_write(const struct serve_options *options, struct buf *out)
{
    struct serve_json json = serve_json_begin(out);
    serve_json_object(&json, NULL);
    serve_json_cstr(&json, "openapi", "3.0.3");
    serve_json_object(&json, "info");
    serve_json_cstr(&json, "title", options->title ? options->title : "freshet");
    serve_json_cstr(&json, "version", FRESHET_VERSION);
    serve_json_end(&json);
    paths_write(&json, options);
    components_write(&json, options);
    if (options->token[0]) serve_json_raw(&json, "security", STR("[{\"token\":[]}]"));
    serve_json_end(&json);
}
