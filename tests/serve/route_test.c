/* Routes, parameters, refusals, token and CORS, over real sockets; and what the OpenAPI document says of them. */
#include <jansson.h>
#include <unistd.h>

#include "tests/serve/support.h"
#include "tests/test.h"

/* LINK: libuv jansson */

#define GET(path)            "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define WITH(start, headers) start " HTTP/1.1\r\nHost: a\r\n" headers "\r\n"

struct expectation {
    const char *request;
    const char *status;
    const char *part; /* of the answer */
};

static const struct expectation expectations[] = {
    {GET("/hello/ann"), "200", "\"n\":3,\"kind\":1,\"word\":\"\",\"ratio\":0.5,\"is\":false"},
    {GET("/hello/ann?n=1&kind=a&word=x+y%26z&ratio=-1&is=true"), "200",
     "\"n\":1,\"kind\":0,\"word\":\"x y&z\",\"ratio\":-1,\"is\":true"},
    {GET("/hello/ann?kind=long_one&is=0&ratio=1e-1"), "200",
     "\"kind\":2,\"word\":\"\",\"ratio\":0.1,\"is\":false"},
    {GET("/hello/%61%2Fnn%20%C3%A4"), "200", "\"name\":\"a/nn \xc3\xa4\""},
    {GET("/hello/a?&&n=2&"), "200", "\"n\":2"},
    {GET("http://elsewhere/hello/ann?n=2"), "200", "\"n\":2"},
    /* No such thing. */
    {GET("/hello"), "404", "not_found"},
    {GET("/hello/"), "404", "not_found"},
    {GET("/hello/ann/"), "404", "not_found"},
    {GET("/hello/ann/x"), "404", "not_found"},
    {GET("/HELLO/ann"), "404", "not_found"},
    {GET("//hello/ann"), "404", "not_found"},
    {GET("/hello/../open"), "404", "not_found"},
    {GET("/a/b/c/d/e/f/g/h/i"), "404", "not_found"},
    {GET("*"), "404", "not_found"},
    /* Parameters. */
    {GET("/hello/ann?n=0"), "400",
     "parameter n: \\\"0\\\" is not what is wanted: an integer from 1 to 9"},
    {GET("/hello/ann?n=10"), "400", "an integer from 1 to 9"},
    {GET("/hello/ann?n="), "400", "an integer"},
    {GET("/hello/ann?n=1x"), "400", "an integer"},
    {GET("/hello/ann?n=%201"), "400", "an integer"},
    {GET("/hello/ann?n=99999999999999999999"), "400", "an integer"},
    {GET("/hello/ann?kind=c"), "400", "one of a|b|long_one"},
    {GET("/hello/ann?kind=long"), "400", "one of"},
    {GET("/hello/ann?ratio=nan"), "400", "a number from -1 to 1"},
    {GET("/hello/ann?ratio=1.01"), "400", "a number"},
    {GET("/hello/ann?is=yes"), "400", "true or false"},
    {GET("/hello/ann?n=1&n=1"), "400", "given twice"},
    {GET("/hello/ann?m=1"), "400", "no parameter m here"},
    {GET("/hello/ann?name=x"), "400", "no parameter name here"},
    {GET("/hello/ann?word=%"), "400", "broken percent code"},
    {GET("/hello/ann?word=%4"), "400", "broken percent code"},
    {GET("/hello/ann?word=%0g"), "400", "broken percent code"},
    {GET("/hello/ann?word=%00"), "400", "broken percent code"},
    {GET("/hello/ann?word=%ff"), "400", "no UTF-8"},
    {GET("/hello/%80"), "400", "no UTF-8"},
    {GET("/hello/123456789012345678901"), "400", "0 to 20 bytes"},
    {GET("/big"), "400", "parameter n is needed"},
    /* Methods. */
    {WITH("POST /open", "Content-Length: 0\r\n"), "405", "Allow: GET, HEAD\r\n"},
    {WITH("PUT /hello/ann", "Content-Length: 0\r\n"), "405", "Allow: GET, HEAD, DELETE\r\n"},
    {WITH("DELETE /hello/ann", ""), "200", "{\"deleted\":\"ann\"}"},
    {WITH("PATCH /open", ""), "501", "not_implemented"},
    {WITH("OPTIONS /hello/ann", ""), "204", "Allow: GET, HEAD, DELETE\r\n"},
    {WITH("CONNECT a:80", ""), "501", "not_implemented"},
    /* Bodies. */
    {WITH("POST /echo", "Content-Length: 2\r\n") "{}", "415", "application/json"},
    {WITH("POST /echo", "Content-Type: text/plain\r\nContent-Length: 2\r\n") "{}", "415",
     "unsupported_media_type"},
    {WITH("POST /echo", "Content-Type: application/jsonp\r\nContent-Length: 2\r\n") "{}", "415",
     "unsupported_media_type"},
    {WITH("POST /echo",
          "Content-Type: Application/JSON; charset=utf-8\r\nContent-Length: 2\r\n") "{}",
     "202", "\"{}\""},
    {WITH("POST /echo", "Content-Type: application/json\r\nContent-Length: 0\r\n"), "202",
     "\"body\":\"\""},
    {WITH("GET /open", "Content-Length: 2\r\n") "{}", "413", "no body is taken here"},
    {WITH("POST /echo",
          "Content-Type: application/json\r\nExpect: 200-ok\r\nContent-Length: 2\r\n"),
     "417", "expectation_failed"},
    /* Bugs of handlers. */
    {GET("/mute"), "500", "no answer was found"},
};

static void answers_as_expected(void)
{
    struct rig rig;
    rig_init(&rig);
    rig_open(&rig);
    for (size_t i = 0; i < sizeof expectations / sizeof expectations[0]; i++) {
        const struct expectation *want = &expectations[i];
        const char *got = rig_once(&rig, want->request);
        if (strncmp(got, "HTTP/1.1 ", 9) != 0 || strncmp(got + 9, want->status, 3) != 0 ||
            !strstr(got, want->part))
            test_fail(__FILE__, __LINE__, "%s\n gave\n%s\n, not %s with %s", want->request, got,
                      want->status, want->part);
    }
    CHECK_INT(rig.observed, sizeof expectations / sizeof expectations[0]);
    rig_stop(&rig);
}

/* The same head as of GET, with the length of the body that does not come. */
static void head_has_no_body(void)
{
    struct rig rig;
    rig_init(&rig);
    rig_open(&rig);
    int fd = rig_connect(&rig);
    rig_text(&rig, fd, WITH("HEAD /open", "") GET("/fixed"));
    const char *got = rig_until(&rig, fd, "as it is");
    CHECK_CONTAINS(got, "Content-Length: 2\r\n");
    CHECK_CONTAINS(got, "\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n");
    close(fd);
    rig_stop(&rig);
}

static void continue_is_said(void)
{
    struct rig rig;
    rig_init(&rig);
    rig_open(&rig);
    int fd = rig_connect(&rig);
    rig_text(
        &rig, fd,
        WITH("POST /echo",
             "Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 2\r\n"));
    CHECK_STR(rig_until(&rig, fd, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    rig_text(&rig, fd, "{}");
    CHECK_CONTAINS(rig_answer(&rig, fd), "202 Accepted");
    close(fd);
    /* A body that would be refused is not asked for. */
    fd = rig_connect(&rig);
    rig_text(
        &rig, fd,
        WITH("POST /nothing",
             "Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 2\r\n"));
    CHECK_CONTAINS(rig_end(&rig, fd, 3000), "HTTP/1.1 404 ");
    close(fd);
    rig_stop(&rig);
}

static void keeps_alive_or_not(void)
{
    struct rig rig;
    rig_init(&rig);
    rig_open(&rig);
    int fd = rig_connect(&rig);
    rig_text(&rig, fd, WITH("GET /open", "Connection: close\r\n"));
    CHECK_CONTAINS(rig_end(&rig, fd, 3000), "Connection: close\r\n");
    close(fd);
    fd = rig_connect(&rig);
    rig_text(&rig, fd, "GET /open HTTP/1.0\r\n\r\n");
    CHECK_CONTAINS(rig_end(&rig, fd, 3000), "\r\n\r\n{}");
    close(fd);
    fd = rig_connect(&rig);
    rig_text(&rig, fd, GET("/nothing") GET("/open"));
    CHECK_CONTAINS(rig_until(&rig, fd, "\r\n\r\n{}"), "200 OK");
    close(fd);
    rig_stop(&rig);
}

/* ---- token ---- */

static void token_is_wanted(void)
{
    struct rig rig;
    rig_init(&rig);
    rig.options.token = "s3cret";
    rig_open(&rig);
    static const struct expectation wanted[] = {
        {GET("/hello/ann"), "401", "WWW-Authenticate: Bearer\r\n"},
        {GET("/nothing"), "401", "unauthorized"},
        {WITH("GET /hello/ann", "Authorization: Bearer s3cre\r\n"), "401", "unauthorized"},
        {WITH("GET /hello/ann", "Authorization: Bearer s3crets\r\n"), "401", "unauthorized"},
        {WITH("GET /hello/ann", "Authorization: Bearer s3creT\r\n"), "401", "unauthorized"},
        {WITH("GET /hello/ann", "Authorization: Bearer \r\n"), "401", "unauthorized"},
        {WITH("GET /hello/ann", "Authorization: Basic s3cret\r\n"), "401", "unauthorized"},
        {WITH("GET /hello/ann", "Authorization: bearer s3cret\r\n"), "200", "ann"},
        {WITH("GET /hello/ann?n=x", "Authorization: Bearer s3cret\r\n"), "400", "integer"},
        {GET("/open"), "200", "{}"},
        {GET("/openapi.json"), "200", "\"bearer\""},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        const char *got = rig_once(&rig, wanted[i].request);
        CHECK_CONTAINS(got, wanted[i].part);
        CHECK_BYTES(got + 9, 3, wanted[i].status, 3);
    }
    CHECK_INT(rig.handled, 2);
    rig_stop(&rig);
}

/* ---- CORS ---- */

static void pages_elsewhere(void)
{
    struct rig rig;
    const char *origin = "Access-Control-Allow-Origin: https://shop.example\r\nVary: Origin\r\n";
    rig_init(&rig);
    rig.options.cors_origin = "https://shop.example";
    rig.options.token = "t";
    rig_open(&rig);
    const char *got = rig_once(
        &rig, WITH("OPTIONS /hello/ann",
                   "Origin: https://shop.example\r\nAccess-Control-Request-Method: DELETE\r\n"));
    CHECK_CONTAINS(got, "HTTP/1.1 204 ");
    CHECK_CONTAINS(got, origin);
    CHECK_CONTAINS(got, "Access-Control-Allow-Methods: GET, HEAD, DELETE\r\n");
    CHECK_CONTAINS(got, "Access-Control-Allow-Headers: authorization, content-type\r\n");
    CHECK_CONTAINS(rig_once(&rig, WITH("GET /open", "Origin: https://shop.example\r\n")), origin);
    CHECK_CONTAINS(rig_once(&rig, WITH("GET /hello/ann", "Origin: https://shop.example\r\n")),
                   origin);
    CHECK(strstr(rig_once(&rig, GET("/open")), "Access-Control") == NULL);
    rig_stop(&rig);
    rig_init(&rig);
    rig_open(&rig);
    CHECK(strstr(rig_once(&rig, WITH("GET /open", "Origin: https://shop.example\r\n")),
                 "Access-Control") == NULL);
    rig_stop(&rig);
}

/* ---- the document ---- */

static json_t *document(struct rig *rig)
{
    struct str text = serve_openapi(rig->serve);
    json_error_t error;
    json_t *json = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, &error);
    if (!json)
        test_fail(__FILE__, __LINE__, "%s at %d: %.*s", error.text, error.position, STR_ARG(text));
    return json;
}

static json_t *param_of(json_t *operation, const char *name)
{
    size_t i;
    json_t *param;
    json_array_foreach(json_object_get(operation, "parameters"), i,
                       param) if (strcmp(json_string_value(json_object_get(param, "name")), name) ==
                                  0) return param;
    test_fail(__FILE__, __LINE__, "no parameter %s", name);
}

/* Every row but the undocumented one is there, with all its parameters; every schema that is named exists. */
static void document_has_every_row(void)
{
    struct rig rig;
    rig_init(&rig);
    rig_open(&rig);
    json_t *json = document(&rig), *paths = json_object_get(json, "paths");
    static const char *const methods[] = {"get", "post", "put", "delete"};
    CHECK_STR(json_string_value(json_object_get(json, "openapi")), "3.0.3");
    for (int i = 0; i < RIG_ROUTES; i++) {
        const struct serve_route *row = &rig_routes[i];
        json_t *operation =
            json_object_get(json_object_get(paths, row->path), methods[row->method]);
        CHECK_INT(operation != NULL, !row->is_undocumented);
        for (int p = 0; operation && p < SERVE_PARAMS_MAX && row->params[p].name; p++) {
            json_t *param = param_of(operation, row->params[p].name);
            bool in_path = strcmp(json_string_value(json_object_get(param, "in")), "path") == 0;
            CHECK_INT(in_path, strcmp(row->params[p].name, "name") == 0);
            CHECK_INT(json_is_true(json_object_get(param, "required")),
                      in_path || row->params[p].is_required);
        }
    }
    json_t *schemas = json_object_get(json_object_get(json, "components"), "schemas");
    CHECK(json_object_get(schemas, "Hello") && json_object_get(schemas, "Error"));
    json_decref(json);
    rig_stop(&rig);
}

/* What the document says of a number is what the handler gets: its bounds are taken, one beyond is refused. */
static void document_and_checks_agree(void)
{
    struct rig rig;
    char text[200];
    rig_init(&rig);
    rig_open(&rig);
    json_t *json = document(&rig);
    json_t *hello =
        json_object_get(json_object_get(json_object_get(json, "paths"), "/hello/{name}"), "get");
    json_t *n = json_object_get(param_of(hello, "n"), "schema"),
           *kind = json_object_get(param_of(hello, "kind"), "schema");
    int low = (int)json_integer_value(json_object_get(n, "minimum")),
        high = (int)json_integer_value(json_object_get(n, "maximum"));
    CHECK_STR(json_string_value(json_object_get(n, "type")), "integer");
    CHECK_INT(json_integer_value(json_object_get(n, "default")), 3);
    const int tried[] = {low - 1, low, high, high + 1};
    for (int i = 0; i < 4; i++) {
        (void)snprintf(text, sizeof text, "GET /hello/ann?n=%d HTTP/1.1\r\nHost: a\r\n\r\n",
                       tried[i]);
        CHECK_CONTAINS(rig_once(&rig, text), i == 1 || i == 2 ? "200 OK" : "400 Bad Request");
    }
    size_t i;
    json_t *value;
    CHECK_INT(json_array_size(json_object_get(kind, "enum")), 3);
    json_array_foreach(json_object_get(kind, "enum"), i, value)
    {
        (void)snprintf(text, sizeof text, "GET /hello/ann?kind=%s HTTP/1.1\r\nHost: a\r\n\r\n",
                       json_string_value(value));
        CHECK_CONTAINS(rig_once(&rig, text), "200 OK");
    }
    json_decref(json);
    rig_stop(&rig);
}

int main(void)
{
    CASE(answers_as_expected);
    CASE(head_has_no_body);
    CASE(continue_is_said);
    CASE(keeps_alive_or_not);
    CASE(token_is_wanted);
    CASE(pages_elsewhere);
    CASE(document_has_every_row);
    CASE(document_and_checks_agree);
    return 0;
}
